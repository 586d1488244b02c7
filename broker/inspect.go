package broker

import (
	"cmp"
	"slices"
	"time"
)

// What whoever looks at a queue or an exchange is told of it: who shows it asks Session.May, or whether the user may look at everything.

// Type is what the queue's type is called in x-queue-type; what a Kafka client has made is a stream.
func (q *Queue) Type() string {
	if k := q.Settings().kind; k != topic {
		return k.name
	}
	return stream.name
}

// Predeclared says that the exchange is there in every virtual host.
func (x *Exchange) Predeclared() bool { return x.predeclared }

// BindingsTo lists the bindings that lead to a queue, but for the one that every queue has.
func (v *VHost) BindingsTo(q *Queue) []Binding { return v.bindingsIn(&q.incoming) }

// BindingsToExchange lists the bindings that lead to an exchange.
func (v *VHost) BindingsToExchange(x *Exchange) []Binding { return v.bindingsIn(&x.incoming) }

func (v *VHost) bindingsIn(l *boundList) (out []Binding) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for b := range l.all() {
		out = append(out, b.def.exported())
	}
	return out
}

// ConsumerInfo is one consumer of a queue at a moment.
type ConsumerInfo struct {
	Queue      *Queue
	Tag        string
	Channel    int
	Connection *ConnectionInfo // without what its listener knows; nil: the broker's own
	Acks       bool
	Exclusive  bool
	Prefetch   int
	Priority   int
	Args       []byte // as it was asked for, AMQP field table without its length
	Waits      bool   // for its turn at a queue with one active consumer
	Single     bool   // the queue is one
	Timeout    time.Duration
}

// ConsumerInfos describes who consumes the queue.
func (q *Queue) ConsumerInfos() []ConsumerInfo {
	q.mu.Lock()
	subs := make([]*Subscription, 0, len(q.subs))
	for s := range q.subs {
		subs = append(subs, s)
	}
	q.mu.Unlock()
	out := make([]ConsumerInfo, 0, len(subs))
	for _, s := range subs {
		i := ConsumerInfo{Queue: q, Tag: s.o.Tag, Channel: s.o.Channel, Acks: !s.o.NoAck, Exclusive: s.o.Exclusive, Prefetch: s.asked, Priority: s.o.Priority, Args: s.o.Args,
			Waits: s.waits.Load(), Single: q.Settings().SingleActive, Timeout: s.Timeout()}
		if s.begunBy != nil && s.begunBy.connection != nil {
			k := s.begunBy.connection
			i.Connection = &ConnectionInfo{ID: k.id, Protocol: k.list.protocol, Peer: k.peer, Local: k.local, User: s.begunBy.who.Name, VHost: q.vhost.Name}
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b ConsumerInfo) int {
		return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Channel, b.Channel))
	})
	return out
}

// ActiveConsumer is the tag of the exclusive consumer of the queue, and of the one that is active of several; "" for none.
func (q *Queue) ActiveConsumer() (exclusive, single string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.alone(); s != nil {
		exclusive = s.o.Tag
	}
	if x := q.extra.Load(); x != nil && x.turn.active != nil {
		single = x.turn.active.o.Tag
	}
	return exclusive, single
}

// Owner is the connection that an exclusive queue belongs to; nil of any other.
func (q *Queue) Owner() *ConnectionInfo {
	s := q.owner()
	if s == nil || s.connection == nil {
		return nil
	}
	k := s.connection
	return &ConnectionInfo{ID: k.id, Protocol: k.list.protocol, Peer: k.peer, Local: k.local, User: s.who.Name, VHost: q.vhost.Name}
}

// NormalArgs is the one form of all tables of arguments that say the same: a binding's are kept so.
func NormalArgs(args []byte) ([]byte, error) {
	d := bindingDef{Args: args}
	err := d.normalise()
	return d.Args, err
}
