package broker

import (
	"errors"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/message"
)

// WorkPlace is how far the work cursor of a partition is.
type WorkPlace struct {
	Start message.Offset // the first message that is not settled
	Left  int64          // messages that are not, those that consumers hold included
}

// WorkPlace says how far a partition is worked off.
func (s *Session) WorkPlace(p *Partition) (WorkPlace, error) {
	if err := s.mayWork(Look, p); err != nil {
		return WorkPlace{}, err
	}
	return inTime(p.q, s.givenUp, func(func() bool) (w WorkPlace, err error) {
		c, err := p.work()
		if err != nil {
			return w, err
		}
		w.Left, err = p.ready(true)
		w.Left += c.Unacked()
		w.Start, _ = c.Progress()
		return w, err
	})
}

// MoveWork has a partition's work go on at an offset. What is ready before it leaves the queue, as by Purge. Only a topic, which
// keeps what is settled, goes back: all from there on is ready again then, settled or not, which fails while somebody holds any
// of it. It returns when that is kept.
func (s *Session) MoveWork(p *Partition, to message.Offset) error {
	if err := s.mayWork(Purge, p); err != nil {
		return err
	}
	_, err := inTime(p.q, s.givenUp, func(wanted func() bool) (struct{}, error) { return struct{}{}, p.moveWork(to, wanted) })
	return err
}

// BeginWork is MoveWork to an offset that where finds, on a partition of which nobody has ever taken or settled anything; on another it
// does nothing.
func (s *Session) BeginWork(p *Partition, where func() (message.Offset, error)) error {
	if err := s.mayWork(Consume, p); err != nil {
		return err
	}
	_, err := inTime(p.q, s.givenUp, func(wanted func() bool) (_ struct{}, err error) {
		c, err := p.work()
		if err != nil {
			return struct{}{}, err
		}
		start, _, err := p.bounds()
		if floor, handed := c.Progress(); err != nil || max(floor, handed) > start || c.Unacked() > 0 {
			return struct{}{}, err
		}
		to, err := where()
		if err != nil || to <= start {
			return struct{}{}, err
		}
		return struct{}{}, p.moveWork(to, wanted)
	})
	return err
}

func (s *Session) mayWork(verb Verb, p *Partition) error {
	if err := s.May(verb, OnQueue, p.q.Name); err != nil {
		return err
	}
	if p.q.Settings().kind == stream {
		return fail(Precondition, "queue '%s' is a stream: its messages are nobody's to take", p.q.Name)
	}
	return p.q.answers()
}

func (p *Partition) moveWork(to message.Offset, wanted func() bool) error {
	c, err := p.work()
	if err != nil {
		return err
	}
	start, end, err := p.bounds()
	if err != nil {
		return p.unreadable(err)
	}
	if to < start || to > end {
		return p.outOfRange(to)
	}
	floor, _ := c.Progress()
	back := to < floor
	switch {
	case back && !p.q.Topic:
		return fail(Precondition, "queue '%s' keeps nothing that was settled, so that its work can't go back from offset %d to %d", p.q.Name, floor, to)
	case back && p.q.Settings().limited():
		return fail(Precondition, "queue '%s' has a limit of length, so that its work can't go back from offset %d to %d", p.q.Name, floor, to)
	case !wanted():
		return nil
	case back:
		err = c.Rewind(to)
		if errors.Is(err, consumer.ErrHeld) {
			return fail(Precondition, "consumers hold messages of queue '%s': its work can't go back to offset %d while they do", p.q.Name, to)
		}
	default:
		var n int64
		n, err = c.SkipTo(to)
		p.left(Purged, n)
	}
	if err != nil {
		return p.unreadable(err)
	}
	if back { // what was kept of acks ahead must not outlive the floor
		if err := p.saveCursor(); err != nil {
			return err
		}
		return p.noteSlowly()
	}
	if err := p.noteSlowly(); err != nil {
		return err
	}
	return p.saveCursor()
}
