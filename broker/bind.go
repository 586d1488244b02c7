package broker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/leveret-mq/leveret/exchange"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/store"
)

// Binding leads from an exchange to a queue or to another exchange.
type Binding struct {
	Source     string
	Dest       string
	ToExchange bool
	Key        string
	Args       []byte // AMQP field table, without its length
}

// def is the definition of a binding, the same for all ways to write its arguments.
func (v *VHost) def(b Binding) (bindingDef, error) {
	d := bindingDef{VHost: v.Name, Source: b.Source, ToExchange: b.ToExchange, Dest: b.Dest, Key: []byte(b.Key), Args: b.Args}
	return d, d.normalise()
}

// normalise brings the arguments into the one form of all tables that say the same.
func (d *bindingDef) normalise() (err error) {
	if d.Args, err = field.Normal(d.Args); err != nil {
		return badBinding(err)
	}
	return nil
}

// argsHash stands for a binding's arguments, in normal form, where they would be too
// long: "" for none.
func argsHash(args []byte) string {
	if len(args) == 0 {
		return ""
	}
	sum := sha256.Sum256(args)
	return hex.EncodeToString(sum[:20])
}

// renamed are the entries that give a definition of an older version its present
// key; those of one binding, which it kept apart, become one.
func (d *bindingDef) renamed(key string) ([]store.Entry, error) {
	if d.kept == key {
		return nil, nil
	}
	value, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode definition %s: %w", key, err)
	}
	return []store.Entry{{Key: key, Value: value}, {Key: d.kept}}, nil
}

// ends of a binding; the caller holds mu.
func (v *VHost) endsOf(d bindingDef) (src *Exchange, q *Queue, x *Exchange, err error) {
	if !d.ToExchange {
		if q, err = v.Queue(d.Dest); err != nil {
			return nil, nil, nil, err
		}
	}
	if src, err = v.Exchange(d.Source); err != nil {
		return nil, nil, nil, err
	}
	if d.ToExchange {
		if x, err = v.Exchange(d.Dest); err != nil {
			return nil, nil, nil, err
		}
	}
	if d.Source == "" || d.ToExchange && d.Dest == "" {
		return nil, nil, nil, onDefault()
	}
	return src, q, x, nil
}

// targetOf is the number of a binding's destination; the caller holds mu.
func (v *VHost) targetOf(q *Queue, x *Exchange) exchange.Target {
	if x != nil {
		return x.target
	}
	if q.target == noTarget {
		q.target = v.addEnd(end{queue: q})
	}
	return q.target
}

// binding is what the table of the source knows of it.
func (d bindingDef) binding(t exchange.Target) exchange.Binding {
	return exchange.Binding{Key: string(d.Key), Target: t, Args: d.Args, Name: d.destClaim()}
}

// mayBind asks for both ends of a binding.
func (s *Session) mayBind(b Binding) error {
	kind := OnQueue
	if b.ToExchange {
		kind = OnExchange
	}
	if err := s.May(BindDest, kind, b.Dest); err != nil {
		return err
	}
	if b.Source == "" || b.ToExchange && b.Dest == "" {
		return onDefault()
	}
	if err := s.May(BindSource, OnExchange, b.Source); err != nil {
		return err
	}
	return s.mayBindKey(b.Source, b.Key)
}

// onDefault refuses to change the exchange without a name, which RabbitMQ does whatever one may do.
func onDefault() error { return fail(Refused, "operation not permitted on the default exchange") }

// Bind adds a binding; one that is there already is no error.
func (s *Session) Bind(b Binding) error {
	if err := s.mayBind(b); err != nil {
		return err
	}
	if len(b.Key) > maxNameBytes {
		return tooLong("routing key", b.Key)
	}
	v := s.vhost
	d, err := v.def(b)
	if err != nil {
		return err
	}
	key := d.key()
	return v.change(func(c *change) error {
		if err := c.binding(key, d); err != nil {
			return err
		}
		src, q, x, err := v.endsOf(d)
		if err != nil {
			return err
		}
		if q != nil {
			if err := q.allow(s); err != nil {
				return err
			}
		}
		if err := s.mayKey(s.keysOf(BindSource, src), BindSource, src, d.Key); err != nil { // it may be another than was asked for
			return err
		}
		if _, there := src.bindings[key]; there {
			return nil
		}
		if err := src.table.Load().Kind().Check(b.Key, d.Args); err != nil {
			return badBinding(err)
		}
		c.show = func() error { return v.addBinding(key, d, src, q, x, false) }
		if stored(src, q, x) {
			return c.put(key, d)
		}
		return nil
	})
}

// binding claims a binding with its ends, which have to stay until it is made or gone.
func (c *change) binding(key string, d bindingDef) error {
	if err := c.along(exchangeClaim(d.Source)); err != nil {
		return err
	}
	if err := c.along(d.destClaim()); err != nil {
		return err
	}
	return c.alone(bindingClaim(key))
}

// destClaim is the claim of where the binding leads.
func (d bindingDef) destClaim() string {
	if d.ToExchange {
		return exchangeClaim(d.Dest)
	}
	return queueClaim(d.Dest)
}

func badBinding(err error) error {
	if errors.Is(err, exchange.ErrArgs) {
		return fail(Precondition, "%v", err)
	}
	return &Error{Kind: Precondition, Text: "can't bind", Err: err}
}

// stored reports whether a binding outlives a restart, as both of its ends must.
func stored(src *Exchange, q *Queue, x *Exchange) bool {
	return src.Durable && (q == nil || q.lives()) && (x == nil || x.Durable)
}

// addBinding adds a binding in memory. At the start nobody sees the tables yet.
func (v *VHost) addBinding(key string, d bindingDef, src *Exchange, q *Queue, x *Exchange, atStart bool) error {
	t, b := src.table.Load(), d.binding(v.targetOf(q, x))
	var err error
	if atStart {
		err = t.Add(b)
	} else {
		t, err = t.With(b)
	}
	if err != nil {
		return badBinding(err)
	}
	src.table.Store(t)
	bd := &bound{key: key, def: d}
	bd.def.VHost, bd.def.Source = v.Name, src.Name // each once in memory
	src.bindings[key] = bd
	if q != nil {
		bd.def.Dest = q.Name
		q.incoming.add(bd)
	} else {
		bd.def.Dest = x.Name
		x.incoming.add(bd)
	}
	v.changed()
	return nil
}

// restoreBinding makes a binding that is defined, and returns its key.
func (v *VHost) restoreBinding(d *bindingDef, atStart bool) (key string, err error) {
	if err := d.normalise(); err != nil {
		return "", err
	}
	src, q, x, err := v.endsOf(*d)
	if err != nil {
		return "", err
	}
	key = d.key()
	if key == d.kept {
		key = d.kept // which the table of definitions has in memory
	}
	kept := *d
	kept.kept = ""
	if _, there := src.bindings[key]; there { // kept apart by an older version
		return key, nil
	}
	return key, v.addBinding(key, kept, src, q, x, atStart)
}

// Unbind removes a binding; one that is not there is no error, a missing end is not either.
func (s *Session) Unbind(b Binding) error {
	if err := s.mayBind(b); err != nil {
		return err
	}
	v := s.vhost
	d, err := v.def(b)
	if err != nil {
		return err
	}
	key := d.key()
	return v.change(func(c *change) error {
		if err := c.binding(key, d); err != nil {
			return err
		}
		src, _ := v.Exchange(d.Source)
		if src == nil {
			return nil
		}
		if _, there := src.bindings[key]; !there {
			return nil
		}
		if !b.ToExchange { // whose it is matters only for what there is, as on RabbitMQ
			if q, _ := v.Queue(b.Dest); q != nil {
				if err := q.allow(s); err != nil {
					return err
				}
			}
		}
		return c.leaving().binding(key, d)
	})
}

// dropBinding takes a binding out of memory.
func (v *VHost) dropBinding(key string, d bindingDef) {
	src, _ := v.Exchange(d.Source)
	q, _ := v.Queue(d.Dest)
	x, _ := v.Exchange(d.Dest)
	if d.ToExchange {
		q = nil
	} else {
		x = nil
	}
	if src != nil && (q != nil || x != nil) {
		src.table.Store(src.table.Load().Without(d.binding(v.targetOf(q, x))))
	}
	if src != nil && src.bindings[key] != nil {
		bd := src.bindings[key]
		delete(src.bindings, key)
		if q != nil {
			q.incoming.remove(bd)
		} else if x != nil {
			x.incoming.remove(bd)
		}
	}
	v.changed()
}

// BindingsTo lists the bindings that lead to a queue, and none when there is no such queue, or it may not be seen.
func (s *Session) BindingsTo(queue string) (list []Binding) {
	if s.May(Look, OnQueue, queue) != nil {
		return nil
	}
	v := s.vhost
	v.mu.Lock()
	defer v.mu.Unlock()
	q := v.queueBytes([]byte(queue))
	if q == nil {
		return nil
	}
	for b := range q.incoming.all() {
		d := &b.def
		list = append(list, Binding{d.Source, d.Dest, d.ToExchange, string(d.Key), d.Args})
	}
	return list
}

// Bindings lists the bindings from the exchange.
func (v *VHost) Bindings(x *Exchange) []Binding {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make([]Binding, 0, len(x.bindings))
	for _, b := range x.bindings {
		d := &b.def
		out = append(out, Binding{d.Source, d.Dest, d.ToExchange, string(d.Key), d.Args})
	}
	return out
}
