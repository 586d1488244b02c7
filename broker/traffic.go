package broker

import "sync/atomic"

// flow counts what went through a queue or a virtual host since the start. Its owners add to it once for
// many messages, and who shows it reads it.
type flow struct {
	published, unroutable    atomic.Uint64 // of a virtual host alone: what came into a queue its log knows
	confirmed, returned      atomic.Uint64 // the same: what clients were told
	delivered, deliveredFree atomic.Uint64 // to consumers who ack, and to those who do not
	got, gotFree, gotNothing atomic.Uint64 // the same, of gets
	redelivered              atomic.Uint64
	settled                  atomic.Uint64 // acked, and with those that need no ack
}

// Flow is what went through a queue or a virtual host, in messages. That of a queue is of its whole life for Published, all
// else since the start of the broker.
type Flow struct {
	Published      uint64 // came in; into a queue, every copy
	Confirmed      uint64 // of these, with a confirm
	Returned       uint64 // went back, since no queue got them
	Dropped        uint64 // the same, of those that nobody wanted back
	Delivered      uint64 // to consumers who ack
	DeliveredNoAck uint64 // to those who do not
	Got            uint64 // by gets that ack
	GotNoAck       uint64
	GotNothing     uint64 // gets from an empty queue
	Redelivered    uint64 // of what was delivered and got, not for the first time
	Acked          uint64 // by clients
}

// Handed is all that went out, again and again.
func (f *Flow) Handed() uint64 { return f.Delivered + f.DeliveredNoAck + f.Got + f.GotNoAck }

// Add sums up.
func (f *Flow) Add(g Flow) {
	f.Published += g.Published
	f.Confirmed += g.Confirmed
	f.Returned += g.Returned
	f.Dropped += g.Dropped
	f.Delivered += g.Delivered
	f.DeliveredNoAck += g.DeliveredNoAck
	f.Got += g.Got
	f.GotNoAck += g.GotNoAck
	f.GotNothing += g.GotNothing
	f.Redelivered += g.Redelivered
	f.Acked += g.Acked
}

// read reads the counters. What is counted in two of them need not fit at a moment.
func (f *flow) read() Flow {
	out := Flow{
		Confirmed: f.confirmed.Load(), Returned: f.returned.Load(),
		Delivered: f.delivered.Load(), DeliveredNoAck: f.deliveredFree.Load(), Got: f.got.Load(), GotNoAck: f.gotFree.Load(),
		GotNothing: f.gotNothing.Load(), Redelivered: f.redelivered.Load(), Published: f.published.Load(),
	}
	out.Dropped = less0(f.unroutable.Load(), out.Returned)
	out.Acked = less0(f.settled.Load(), out.DeliveredNoAck+out.GotNoAck)
	return out
}

// less0 is a-b, or 0.
func less0(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

// Flow is what went through the virtual host.
func (v *VHost) Flow() Flow { return v.flow.read() }

// Flow is what went through the queue. Nothing is opened for it.
func (q *Queue) Flow() Flow {
	var out Flow
	if x := q.extra.Load(); x != nil {
		if f := x.flow.Load(); f != nil {
			out = f.read()
		}
	}
	for _, p := range q.inTurn() {
		out.Published += uint64(p.log.Figures().End)
	}
	return out
}

// flowOf is the counters of a queue that is used, made if there are none.
func (q *Queue) flowOf() *flow {
	x := q.extras()
	if f := x.flow.Load(); f != nil {
		return f
	}
	x.flow.CompareAndSwap(nil, new(flow))
	return x.flow.Load()
}

// countDelivered counts messages that went to a consumer, and of these those that were there before.
func (q *Queue) countDelivered(n int, noAck bool, again uint64) {
	for _, f := range [...]*flow{q.flowOf(), &q.vhost.flow} {
		if noAck {
			f.deliveredFree.Add(uint64(n))
		} else {
			f.delivered.Add(uint64(n))
		}
		if again > 0 {
			f.redelivered.Add(again)
		}
	}
}

// countGot counts a get; of nothing, too.
func (q *Queue) countGot(got *Got, noAck bool) {
	if got == nil && (q.extra.Load() == nil || q.extra.Load().flow.Load() == nil) {
		q.vhost.flow.gotNothing.Add(1) // whoever asks unused queues in turn makes nothing that would stay
		return
	}
	for _, f := range [...]*flow{q.flowOf(), &q.vhost.flow} {
		switch {
		case got == nil:
			f.gotNothing.Add(1)
			continue
		case noAck:
			f.gotFree.Add(1)
		default:
			f.got.Add(1)
		}
		if got.Redelivered {
			f.redelivered.Add(1)
		}
	}
}

// countSettled counts acks.
func (q *Queue) countSettled(n int64) {
	q.flowOf().settled.Add(uint64(n))
	q.vhost.flow.settled.Add(uint64(n))
}

// CountConfirmed counts messages that the client of the session is to have a confirm of, and CountReturned those that go back to it.
func (s *Session) CountConfirmed(n int) { s.vhost.flow.confirmed.Add(uint64(n)) }
func (s *Session) CountReturned(n int)  { s.vhost.flow.returned.Add(uint64(n)) }

// churn counts what came and went since the start.
type churn struct {
	opened, closed                 atomic.Uint64 // connections
	channelsOpened, channelsClosed atomic.Uint64
	declared, created, deleted     atomic.Uint64 // queues
	publishers                     atomic.Int64  // sessions that are open and have published
}

// Churn is what came and went since the start.
type Churn struct {
	ConnectionsOpened, ConnectionsClosed         uint64
	ChannelsOpened, ChannelsClosed               uint64
	QueuesDeclared, QueuesCreated, QueuesDeleted uint64
	Publishers                                   int64 // sessions that are open and have published
}

// Churn reads what came and went.
func (b *Broker) Churn() Churn {
	c := &b.churn
	return Churn{c.opened.Load(), c.closed.Load(), c.channelsOpened.Load(), c.channelsClosed.Load(), c.declared.Load(), c.created.Load(), c.deleted.Load(), c.publishers.Load()}
}
