package broker

import (
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/leveret-mq/leveret/exchange"
)

// VHost is one namespace of exchanges and queues.
type VHost struct {
	Name string
	b    *Broker
	meta atomic.Pointer[VHostMeta]
	open gate // whoever writes something of it down is inside

	account account
	flow    flow
	said    map[string]int64 // its limits; guarded by accounts.mu, and never changed

	// mu guards what is changed by changes of topology; see change. It is never held
	// over anything that may wait.
	mu        sync.Mutex
	claims    map[string]*claim // names of changes under way; guarded by mu
	queues    queueTable
	exchanges sync.Map // name → *Exchange
	feeds     sync.Map // Kafka topic name → *Exchange, of feed topics (x-kafka-topic)

	// topics are those that were created as such and whose names hold "." or "_", by
	// likeness; guarded by mu.
	topics map[string]string

	policies   atomic.Pointer[policySet]                 // nil: none; changed under mu
	parameters parameters                                // guarded by mu
	attached   map[attachedTo]map[string]json.RawMessage // what listeners keep; nil: nothing; guarded by mu

	replies replies // who waits for direct replies

	// ends are what a binding can lead to, by target number. The slice only grows
	// at its end under mu, so a reader's older copy of it stays right.
	ends     atomic.Pointer[[]*endSlot]
	freeEnds []exchange.Target // numbers given back, oldest first; guarded by mu
	// topicsVersion changes with every queue that comes, goes or gets partitions.
	topicsVersion atomic.Uint64
	// generation changes with every change that can make a cached route wrong.
	generation atomic.Uint64
}

// end is the destination of bindings: exactly one of the two is set.
type end struct {
	queue    *Queue
	exchange *Exchange
}

type endSlot struct{ atomic.Pointer[end] }

// endQuarantine is how many numbers must be free before one is used again. A
// publish that read a table before the change routes by the old number for a few
// microseconds more, and must not reach somebody else's queue.
const endQuarantine = 4096

// noTarget is a queue that was never bound and has no number yet.
const noTarget = ^exchange.Target(0)

func newVHost(b *Broker, name string) *VHost {
	v := &VHost{Name: name, b: b, topics: map[string]string{}, claims: map[string]*claim{}}
	v.ends.Store(&[]*endSlot{})
	v.meta.Store(new(VHostMeta))
	for _, d := range []struct{ name, kind string }{
		{"", "direct"}, {"amq.direct", "direct"}, {"amq.fanout", "fanout"},
		{"amq.topic", "topic"}, {"amq.headers", "headers"}, {"amq.match", "headers"},
	} {
		x := &Exchange{Name: d.name, Type: d.kind, Durable: true, predeclared: true}
		_ = x.configure(v) // without arguments there is nothing wrong with them
		v.addExchange(x)
	}
	return v
}

// addEnd numbers a new destination. The caller holds mu, or is the only one yet.
func (v *VHost) addEnd(e end) exchange.Target {
	if len(v.freeEnds) > endQuarantine {
		t := v.freeEnds[0]
		v.freeEnds = v.freeEnds[1:]
		(*v.ends.Load())[t].Store(&e)
		return t
	}
	slot := new(endSlot)
	slot.Store(&e)
	list := append(*v.ends.Load(), slot)
	v.ends.Store(&list)
	return exchange.Target(len(list) - 1)
}

// freeEnd gives a number back. The caller holds mu.
func (v *VHost) freeEnd(t exchange.Target) {
	if t == noTarget {
		return
	}
	(*v.ends.Load())[t].Store(nil)
	v.freeEnds = append(v.freeEnds, t)
}

// changed makes every cached route of this virtual host stale.
func (v *VHost) changed() { v.generation.Add(1) }

// TopicsVersion is never 0, and changes with every queue that comes, goes or gets partitions, when that can be seen.
func (v *VHost) TopicsVersion() uint64 { return v.topicsVersion.Load() + 1 }

// Queue finds a queue by name.
func (v *VHost) Queue(name string) (*Queue, error) {
	if q := v.queues.find(name); q != nil {
		return q, nil
	}
	return nil, fail(NotFound, "no queue '%s' in vhost '%s'", name, v.Name)
}

// queueBytes is Queue for a borrowed name.
func (v *VHost) queueBytes(name []byte) *Queue { return v.queues.findBytes(name) }

// Exchange finds an exchange by name; "" is the default exchange.
func (v *VHost) Exchange(name string) (*Exchange, error) {
	if x, ok := v.exchanges.Load(name); ok {
		return x.(*Exchange), nil
	}
	return nil, fail(NotFound, "no exchange '%s' in vhost '%s'", name, v.Name)
}

// Queues lists the queues that the session may see, in no order.
func (s *Session) Queues() []*Queue {
	all := s.vhost.Queues()
	return slices.DeleteFunc(all, func(q *Queue) bool {
		return q.allow(s) != nil || s.May(Look, OnQueue, q.Name) != nil
	})
}

// Queues lists the queues in no order.
func (v *VHost) Queues() []*Queue {
	var out []*Queue
	v.queues.all(func(q *Queue) { out = append(out, q) })
	return out
}

// Exchanges lists the exchanges in no order.
func (v *VHost) Exchanges() []*Exchange {
	var out []*Exchange
	v.exchanges.Range(func(_, x any) bool {
		out = append(out, x.(*Exchange))
		return true
	})
	return out
}
