package broker

import (
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/consumer"
)

// Got is one message taken with Get. Its bytes are the caller's own.
type Got struct {
	Delivery
	Remaining int64 // messages still ready
}

// take copies a delivery out of what the reader borrowed.
func (g *Got) take(d *Delivery) {
	g.Delivery = *d
	b := make([]byte, 0, len(d.Exchange)+len(d.Key)+len(d.Properties)+len(d.Body))
	for _, s := range []*[]byte{&g.Exchange, &g.Key, &g.Properties, &g.Body} {
		at := len(b)
		b = append(b, *s...)
		*s = b[at:len(b):len(b)]
	}
}

// Get takes the first message of a queue that is ready, without a consumer. It is nil when
// there is none. Without noAck the caller acks or requeues it with its lease.
func (s *Session) Get(name string, noAck bool) (*Got, error) {
	q, err := s.Queue(Consume, name)
	if err != nil {
		return nil, err
	}
	if q.Settings().SingleActive && q.Settings().kind == quorum {
		return nil, fail(Locked, "cannot obtain access to locked queue '%s' in vhost '%s'. basic.get operations are not supported by quorum queues with single active consumer", q.Name, q.vhost.Name)
	}
	q.use()
	if q.idle() {
		return nil, nil
	}
	if x := q.extra.Load(); x != nil && x.stuck.Load() > 0 { // one more would only wait, too
		return nil, q.unanswered()
	}
	g := &getting{q: q, noAck: noAck, done: make(chan struct{})}
	go g.run()
	return g.wait(s)
}

// getting is one Get. It reads on a goroutine of its own, because nothing else ends
// a read of a disk that hangs: who asked waits for a while and is told.
type getting struct {
	q     *Queue
	noAck bool
	state atomic.Int32
	done  chan struct{}
	got   *Got
	err   error
}

// States of a getting.
const (
	getReading int32 = iota
	getWanted        // there is an answer, which is waited for
	getGivenUp       // nobody waits any more
)

// wanted decides that the answer is for who asked, unless that one gave up.
func (g *getting) wanted() bool {
	return g.state.CompareAndSwap(getReading, getWanted) || g.state.Load() == getWanted
}

func (g *getting) run() {
	g.got, g.err = g.q.get(g.noAck, g.wanted)
	if g.wanted() {
		close(g.done)
		return
	}
	g.q.extras().stuck.Add(-1)
}

// wait returns with the answer, or without when it takes too long or the session or
// the broker ends. What is read then goes back to its place.
func (g *getting) wait(s *Session) (*Got, error) {
	b := s.vhost.b
	timer := time.NewTimer(b.opts.ReadTimeout)
	defer timer.Stop()
	var why error
	select {
	case <-g.done:
		return g.got, g.err
	case <-timer.C:
		why = g.q.unanswered()
	case <-s.givenUp:
		why = fail(Closed, "the connection is closing")
	case <-b.stop:
		why = fail(Closed, "the broker is stopping")
	}
	g.q.extras().stuck.Add(1)
	if !g.state.CompareAndSwap(getReading, getGivenUp) {
		g.q.extras().stuck.Add(-1)
		<-g.done
		return g.got, g.err
	}
	return nil, why
}

// unanswered is the error of a read for which nobody waits any longer.
func (q *Queue) unanswered() error {
	return fail(Timeout, "queue '%s' in vhost '%s' can't be read: the disk does not answer (waited %v)", q.Name, q.vhost.Name, q.vhost.b.opts.ReadTimeout)
}

// idle reports whether it is known, without a look at the disk, that nothing is ready.
func (q *Queue) idle() bool {
	for _, p := range q.inTurn() {
		if c := p.cursor.Load(); c == nil || !c.Idle() {
			return false
		}
	}
	return true
}

// unused reports whether the log holds nothing and nobody worked on it yet: whoever asks
// such queues in turn makes nothing that would stay.
func (p *Partition) unused() bool {
	if p.cursor.Load() != nil {
		return false
	}
	f := p.log.Figures()
	return f.Certain && f.Start == f.End
}

func (q *Queue) get(noAck bool, wanted func() bool) (*Got, error) {
	for _, p := range q.inTurn() {
		if g, err := p.get(noAck, wanted); g != nil || err != nil {
			return g, err
		}
	}
	return nil, nil
}

// get takes messages until one can be delivered: those that expired, or can't be
// decoded, are settled on the way. One that is not wanted any more goes back.
func (p *Partition) get(noAck bool, wanted func() bool) (*Got, error) {
	if !p.q.vhost.b.store.Caps().Shared && p.unused() { // what others put into it would not show
		return nil, nil
	}
	cursor, err := p.work()
	if err == nil {
		err = p.noted()
	}
	if err != nil {
		return nil, err
	}
	g := &Got{}
	r := reader{part: p, lease: &p.active().getter, heads: new(uint64)}
	defer r.release()
	for {
		run, ok := cursor.Get()
		if !ok {
			return nil, cursor.Err()
		}
		if err := p.note(); err != nil {
			_ = r.lease.member.ReturnRuns([]consumer.Run{run}) // it is held, so this can't fail
			return nil, err
		}
		r.tell(&run)
		next, n, _, err := r.read(run.First, run.Last, 1<<62, g.take)
		if n > 0 && err == nil {
			g.Remaining = p.q.Ready()
			if !wanted() {
				return nil, r.lease.member.ReturnRuns([]consumer.Run{run})
			}
		}
		if e := r.settle(noAck, run.First, min(next, run.Last+1)); err == nil {
			err = e
		}
		switch {
		case err != nil:
			_ = r.lease.member.ReturnRuns([]consumer.Run{run}) // not held any more when the Ack failed
			return nil, err
		case n == 0:
			r.release()
			continue
		}
		c := &p.q.vhost.b.counters
		c.Delivered.Add(1)
		c.DeliveredBytes.Add(uint64(len(g.Body)))
		c.Redelivered.Add(r.flagged)
		return g, nil
	}
}
