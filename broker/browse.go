package broker

import (
	"errors"
	"fmt"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// Extent is where what a partition holds begins and ends: from the first message that its queue's consumers
// have not settled, or of a queue that keeps what was settled, and of a stream, from the beginning of its log; up to the first one of
// a transaction that is not decided.
func (s *Session) Extent(p *Partition) (start, end message.Offset, err error) {
	if start, end, err = s.Bounds(p); err != nil {
		return 0, 0, err
	}
	if _, err := p.knowTxns(); err != nil {
		return 0, 0, err
	}
	end = p.committedEnd(start, end)
	settings := p.q.Settings()
	if p.q.Topic || settings.kind == stream || settings.History > 0 {
		return start, end, nil
	}
	if err := s.open(p.q); err != nil {
		return 0, 0, err
	}
	if c := p.cursor.Load(); c != nil {
		floor, _ := c.Progress()
		start = min(max(start, floor), end)
	}
	return start, end, nil
}

// Browse hands emit the messages of a partition from an offset on, up to about maxBytes of bodies and until emit says
// no, and returns the offset behind the last one that it looked at. It takes nothing from anybody, waits
// for the disk as long as clients do, and returns end, where the log ends, when nothing follows. What retention took
// is passed over. The delivery and all in it are borrowed for the call of emit; there is nothing to settle.
func (s *Session) Browse(p *Partition, from message.Offset, maxBytes int, emit func(*Delivery) bool) (next, end message.Offset, err error) {
	if err := s.May(Consume, OnQueue, p.q.Name); err != nil {
		return from, from, err
	}
	r := reader{part: p, wait: true, late: true, heads: new(uint64)}
	defer r.release()
	if _, err := p.knowTxns(); err != nil {
		return from, from, err
	}
	src := source{part: p, log: p.log}
	for next = from; maxBytes > 0; {
		if p.q.Deleted() {
			return next, next, p.deleted()
		}
		start, e, err := p.bounds()
		if err != nil {
			return next, next, p.fetchFailed(next, err)
		}
		end, next = e, max(next, start)
		if next >= end {
			return end, end, nil
		}
		run, err := src.after(next, end, true)
		if err != nil {
			return next, end, p.browseFailed(err)
		}
		if run.Last < run.First {
			return run.First, end, nil
		}
		stopped := message.NoOffset
		var n, size int
		last := min(run.Last, run.First+browseRun-1)
		next, n, size, err = r.read(run.First, last, maxBytes, func(d *Delivery) {
			if stopped == message.NoOffset && !emit(d) {
				stopped = d.Offset
			}
		})
		s.browsed(n, size)
		maxBytes -= size
		r.gone = r.gone[:0]
		r.release()
		switch {
		case stopped != message.NoOffset:
			return stopped + 1, end, nil
		case err != nil && !errors.Is(err, store.ErrOutOfRange):
			return next, end, p.browseFailed(err)
		}
	}
	return next, end, nil
}

// browseRun is how many messages are handed to emit at a time, which may want few.
const browseRun = 64

func (s *Session) browsed(n, size int) {
	c := &s.vhost.b.counters
	c.Fetched.Add(uint64(n))
	c.FetchedBytes.Add(uint64(size))
}

func (p *Partition) browseFailed(err error) error {
	if p.q.Deleted() {
		return p.deleted()
	}
	return p.unreadable(fmt.Errorf("browse: %w", err))
}

// MessageState is where a message stands on its way through its queue.
type MessageState uint8

// The states.
const (
	StateUnknown MessageState = iota // nobody settles the messages of a stream or a topic
	StateReady                       // for the next consumer
	StateUnacked                     // a consumer holds it
	StateWaiting                     // it came back and is ready after a while, or is on its way to a dead-letter exchange
	StateAcked                       // it is done with, and still stored
)

var stateNames = [...]string{StateReady: "ready", StateUnacked: "unacked", StateWaiting: "waiting", StateAcked: "acked"}

// String is the state's name; of StateUnknown nothing.
func (m MessageState) String() string { return stateNames[m] }

var stateOf = [...]MessageState{consumer.Settled: StateAcked, consumer.Ready: StateReady, consumer.Unacked: StateUnacked, consumer.Waiting: StateWaiting}

// States is a function that tells where the messages of a partition stand, each at the moment of its call.
func (s *Session) States(p *Partition) (func(message.Offset) MessageState, error) {
	if err := s.May(Consume, OnQueue, p.q.Name); err != nil {
		return nil, err
	}
	if p.q.Settings().kind != stream && !p.q.Topic {
		if err := s.open(p.q); err != nil {
			return nil, err
		}
	}
	c := p.cursor.Load()
	if c == nil {
		return func(message.Offset) MessageState { return StateUnknown }, nil
	}
	return func(o message.Offset) MessageState { return stateOf[c.StateOf(o)] }, nil
}

// KeepsAcked says whether the queue keeps messages that are done with, so that who looks through it finds them.
func (q *Queue) KeepsAcked() bool {
	s := q.Settings()
	return q.Topic || s.kind == stream || s.History > 0
}

// Between is the stretch of a partition's offsets in which the messages of a time lie, from fromMs on and before toMs; a negative
// one is open. The times of a queue's messages are those of their arrival and rise, but for what came over several
// connections within a moment; those of a topic are what producers say, so all behind the first are in the stretch. Who wants the
// messages of that time alone looks at each.
func (s *Session) Between(p *Partition, fromMs, toMs int64) (first, end message.Offset, err error) {
	if first, end, err = s.Extent(p); err != nil {
		return 0, 0, err
	}
	if fromMs >= 0 {
		o, _, ok, err := s.OffsetForTime(p, fromMs)
		if err != nil {
			return 0, 0, err
		}
		if first = min(max(first, o), end); !ok {
			first = end
		}
	}
	if toMs >= 0 && !p.q.Topic {
		o, _, ok, err := s.OffsetForTime(p, toMs+outOfOrderMs)
		if err != nil {
			return 0, 0, err
		}
		if ok {
			end = max(min(end, o), first)
		}
	}
	return first, end, nil
}

// outOfOrderMs is how much later than a message another may have arrived that was stored before it.
const outOfOrderMs = 60_000
