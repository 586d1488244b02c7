package definitions

import (
	"cmp"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
)

// declaresAtOnce is how many queues, or bindings, are declared at a time: they share flushes.
const declaresAtOnce = 256

// Apply does what was checked. An error is that of a disk or of somebody who changed something since: what
// was applied before stays, and another try goes on from there. Connections see all of it when it returns.
func (p *Plan) Apply(by audit.Actor) error {
	steps := []struct {
		what string
		do   func(audit.Actor) error
	}{
		{"virtual hosts", p.putVHosts}, {"users and permissions", p.putAccess}, {"limits", p.putLimits}, {"exchanges", p.putExchanges},
		{"global parameters", p.putGlobal}, {"policies", p.putPolicies}, {"parameters", p.putParameters}, {"queues", p.putQueues}, {"bindings", p.putBindings},
	}
	var err error
	for n, step := range steps {
		if err = step.do(by); err == nil {
			continue
		}
		done := "nothing was applied before"
		if n > 0 {
			done = "what was applied, up to " + steps[n-1].what + ", stays"
		}
		err = fmt.Errorf("apply %s: %w (%s)", step.what, err, done)
		break
	}
	audit.Acted(p.t.Log, by, audit.ImportDefinitions, p.t.Name, "", err)
	return err
}

// Prepare reads a file and checks all of it. It returns what the file says without effect.
func Prepare(r io.ReadSeeker, t Target) (p *Plan, warnings []string, err error) {
	f, err := Parse(r)
	if err != nil {
		return nil, nil, err
	}
	p, err = f.Check(t)
	return p, f.Warnings, err
}

// Size is how many things the file names, for people.
func (p *Plan) Size() string {
	f := p.f
	return fmt.Sprintf("%d users, %d virtual hosts, %d permissions, %d policies, %d exchanges, %d queues, %d bindings", len(f.users), len(f.vhosts),
		len(f.permissions)+len(f.topicPermissions), len(f.policies), len(f.exchanges), len(f.queues), len(f.bindings))
}

func (p *Plan) putVHosts(by audit.Actor) error {
	for i := range p.f.vhosts {
		v := &p.f.vhosts[i]
		if have, err := p.t.Broker.VHost(v.name); err == nil && sameMeta(have.Meta(), v.meta) {
			continue
		}
		if _, err := p.t.Broker.PutVHost(by, v.name, v.meta); err != nil {
			return p.f.failed(v.item, err)
		}
	}
	return nil
}

func (p *Plan) putAccess(by audit.Actor) error {
	var at item
	change := p.t.Access.Change
	if p.t.Starting {
		change = p.t.Access.ChangeBehind
	}
	if err := change(by, func(d *access.Draft) error { return p.f.access(d, &at) }); err != nil {
		return p.f.failed(at, err)
	}
	return nil
}

func (p *Plan) putGlobal(by audit.Actor) error {
	list := make([]broker.Parameter, len(p.f.global))
	for i, g := range p.f.global {
		list[i] = g.Parameter
	}
	return p.t.Broker.PutGlobalParameters(by, list...)
}

func (p *Plan) putPolicies(by audit.Actor) error {
	of := map[string][]broker.SettingPolicy{}
	for _, q := range p.f.policies {
		of[q.vhost] = append(of[q.vhost], q.SettingPolicy)
	}
	return eachVHost(p, of, func(v *broker.VHost) error { return v.PutPolicies(by, of[v.Name]...) })
}

func (p *Plan) putParameters(by audit.Actor) error {
	of := map[string][]broker.Parameter{}
	for _, q := range p.f.parameters {
		of[q.vhost] = append(of[q.vhost], q.Parameter)
	}
	return eachVHost(p, of, func(v *broker.VHost) error { return v.PutParameters(by, of[v.Name]...) })
}

// eachVHost does something in each virtual host that the file has something for.
func eachVHost[T any](p *Plan, of map[string]T, do func(*broker.VHost) error) error {
	for _, v := range p.t.Broker.VHosts() {
		if _, some := of[v.Name]; !some {
			continue
		}
		if err := do(v); err != nil {
			return fmt.Errorf("vhost '%s': %w", v.Name, err)
		}
	}
	return nil
}

func (p *Plan) putExchanges(audit.Actor) error {
	return p.declare(len(p.f.exchanges), func(i int, session func(string) (*broker.Session, *broker.VHost, error)) (item, error) {
		x := &p.f.exchanges[i]
		s, v, err := session(x.vhost)
		if err != nil {
			return x.item, err
		}
		if _, err := v.Exchange(x.Name); err == nil {
			return x.item, nil
		}
		_, err = s.DeclareExchange(x.Name, x.ExchangeOptions)
		return x.item, err
	})
}

func (p *Plan) putQueues(audit.Actor) error {
	return p.declare(len(p.f.queues), func(i int, session func(string) (*broker.Session, *broker.VHost, error)) (item, error) {
		q := &p.f.queues[i]
		s, v, err := session(q.vhost)
		if err != nil {
			return q.item, err
		}
		if _, err := v.Queue(q.Name); err == nil {
			return q.item, nil
		}
		if !q.Topic {
			_, err = s.DeclareQueue(q.Name, q.QueueOptions)
			return q.item, err
		}
		configs := map[string]*string{}
		for name, value := range q.Configs {
			configs[name] = &value
		}
		_, err = s.CreateTopic(q.Name, q.Partitions, configs)
		return q.item, err
	})
}

func (p *Plan) putBindings(audit.Actor) error {
	return p.declare(len(p.f.bindings), func(i int, session func(string) (*broker.Session, *broker.VHost, error)) (item, error) {
		b := &p.f.bindings[i]
		s, _, err := session(b.vhost)
		if err == nil {
			err = s.Bind(b.Binding)
		}
		return b.item, err
	})
}

// declare does n things, many at a time, until one fails.
func (p *Plan) declare(n int, do func(i int, session func(string) (*broker.Session, *broker.VHost, error)) (item, error)) error {
	var next atomic.Int64
	var mu sync.Mutex // guards failed
	var failed error
	var all sync.WaitGroup
	for range min(n, declaresAtOnce) {
		all.Go(func() {
			sessions := map[string]*broker.Session{}
			session := func(vhost string) (*broker.Session, *broker.VHost, error) {
				v, err := p.t.Broker.VHost(vhost)
				if err != nil {
					return nil, nil, err
				}
				s := sessions[vhost]
				if s == nil {
					s = v.NewInnerSession()
					sessions[vhost] = s
				}
				return s, v, nil
			}
			defer func() {
				for _, s := range sessions {
					s.Close()
				}
			}()
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if at, err := do(int(i), session); err != nil {
					next.Store(int64(n))
					mu.Lock()
					failed = cmp.Or(failed, p.f.failed(at, err))
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return failed
}
