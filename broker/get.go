package broker

import (
	"errors"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/store"
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
	if q.Settings().kind == stream {
		return nil, fail(Unsupported, "basic.get not supported by stream queues queue '%s' in vhost '%s'", q.Name, q.vhost.Name)
	}
	if q.Settings().SingleActive && q.Settings().kind == quorum {
		return nil, fail(Locked, "cannot obtain access to locked queue '%s' in vhost '%s'. basic.get operations are not supported by quorum queues with single active consumer", q.Name, q.vhost.Name)
	}
	q.use()
	got, err := s.getSoon(q, noAck)
	if err == nil {
		q.countGot(got, noAck)
	}
	return got, err
}

// getSoon is get, and again when dead letters have come meanwhile.
func (s *Session) getSoon(q *Queue, noAck bool) (*Got, error) {
	got, err := s.get(q, noAck)
	if got != nil || err != nil {
		return got, err
	}
	s.awaitLetters(q, q.gotSome)
	if !q.gotSome() {
		return nil, nil
	}
	return s.get(q, noAck)
}

// get is Get from a queue that may be asked so, of what is there.
func (s *Session) get(q *Queue, noAck bool) (*Got, error) {
	if q.idle() {
		return nil, nil
	}
	got, err := q.get(noAck, false, func() bool { return true })
	if !errors.Is(err, store.ErrNotYet) {
		return got, err
	}
	if err := q.answers(); err != nil {
		return nil, err
	}
	return inTime(q, s.givenUp, func(wanted func() bool) (*Got, error) { return q.get(noAck, true, wanted) })
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

// gotSome reports whether there may be something ready in a queue in which nothing was.
func (q *Queue) gotSome() bool {
	for _, p := range q.inTurn() {
		if c := p.cursor.Load(); c == nil && !p.unused() || c != nil && !c.Idle() {
			return true
		}
	}
	return false
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

func (q *Queue) get(noAck, wait bool, wanted func() bool) (*Got, error) {
	for _, p := range q.inTurn() {
		if g, err := p.get(noAck, wait, wanted); g != nil || err != nil {
			return g, err
		}
	}
	return nil, nil
}

// get takes messages until one can be delivered: those that expired, or can't be
// decoded, are settled on the way. One that is not wanted any more goes back, and so
// does one that would have to be waited for when wait does not allow that: the error is
// ErrNotYet then.
func (p *Partition) get(noAck, wait bool, wanted func() bool) (*Got, error) {
	cursor := p.cursor.Load()
	if cursor == nil && !p.q.vhost.b.store.Caps().Shared && p.unused() { // what others put into it would not show
		return nil, nil
	}
	switch {
	case cursor != nil:
	case !wait:
		return nil, store.ErrNotYet
	default:
		var err error
		if cursor, err = p.work(); err != nil {
			return nil, err
		}
	}
	if err := p.trimNow(wait); err != nil {
		return nil, err
	}
	g := &Got{}
	r := reader{part: p, lease: &p.active().getter, heads: new(uint64), wait: wait}
	defer r.release()
	for {
		run, ok, err := p.getOne(cursor, wait)
		if !ok || err != nil {
			return nil, err
		}
		r.tell(&run)
		next, n, _, err := r.read(run.First, run.Last, 1<<62, g.take)
		if n > 0 && err == nil {
			if g.Remaining, err = p.q.count(wait); err == nil && !wanted() {
				return nil, r.lease.member.ReturnRuns([]consumer.Run{run})
			}
			if !errors.Is(err, store.ErrNotYet) {
				err = nil // as far as it can be counted
			}
		}
		if err == nil {
			err = r.settle(noAck, run.First, min(next, run.Last+1))
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

// getOne takes the first message, and notes that it was handed out.
func (p *Partition) getOne(c *consumer.Cursor, wait bool) (run consumer.Run, ok bool, err error) {
	known := true
	if wait {
		c.DealOut() // what came before the question is a consumer's that was free for it
		run, ok = c.Get()
	} else if known = c.DealOutNow(); known {
		run, ok, known = c.GetNow()
	}
	if !known {
		return run, false, store.ErrNotYet
	}
	if !ok {
		return run, false, c.Err()
	}
	if err = p.note(); wait && errors.Is(err, store.ErrNotYet) {
		err = p.noteSlowly()
	}
	if err != nil {
		_ = p.active().getter.member.ReturnRuns([]consumer.Run{run}) // it is held, so this can't fail
	}
	return run, true, err
}
