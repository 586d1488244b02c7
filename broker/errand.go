package broker

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// A consumer never waits for a disk, because its connection does much else. What has to be
// waited for is an errand: one goroutine of the partition does them, one after the other,
// while there are any, and wakes the consumer with what came of it. Nothing else of the
// consumer is touched meanwhile.
//
//	Pull ── not in memory ─► send ─► errands ─► run (the disk) ─► wake ─► Pull
//	Leave ─► drop: what comes of it is given back
type errands struct {
	mu      sync.Mutex // guards the rest; a leaf
	list    []*errand
	running bool
}

// errand is one thing that is done behind a consumer's back, or behind everybody's.
type errand struct {
	in    *errands
	do    func(e *errand) error
	wake  func() // nil: nobody waits for it
	state atomic.Int32

	// What came of it, for who sees it done.
	err  error
	view store.View

	reads bool           // it is a read,
	from  message.Offset // from there on
}

// States of an errand.
const (
	errandOpen int32 = iota
	errandDone
	errandDropped // nobody wants what comes of it
)

// send has something done.
func (x *errands) send(wake func(), do func(e *errand) error) *errand {
	e := &errand{in: x, do: do, wake: wake}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.list = append(x.list, e)
	if !x.running {
		x.running = true
		go x.run()
	}
	return e
}

func (x *errands) run() {
	for {
		x.mu.Lock()
		if len(x.list) == 0 {
			x.running = false
			x.mu.Unlock()
			return
		}
		e := x.list[0]
		x.list = slices.Delete(x.list, 0, 1)
		x.mu.Unlock()
		e.run()
	}
}

func (e *errand) run() {
	e.err = e.do(e)
	switch {
	case !e.state.CompareAndSwap(errandOpen, errandDone):
		e.view.Done()
	case e.wake != nil:
		e.wake()
	}
}

// done reports whether what came of it is there.
func (e *errand) done() bool { return e.state.Load() == errandDone }

// drop ends the wish for it. One that was not begun is forgotten, and nil is none.
func (e *errand) drop() {
	if e == nil {
		return
	}
	if !e.state.CompareAndSwap(errandOpen, errandDropped) {
		e.view.Done()
		return
	}
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	if i := slices.Index(e.in.list, e); i >= 0 {
		e.in.list = slices.Delete(e.in.list, i, i+1)
	}
}

// fetch has batches read for a consumer.
func (p *Partition) fetch(wake func(), from message.Offset, maxBytes int) *errand {
	e := p.active().errands.send(wake, func(e *errand) (err error) {
		e.view, err = await(p.log, from, maxBytes)
		return err
	})
	e.reads, e.from = true, from
	return e
}

// joinNew joins partitions that came since, when their cursors are there.
func (s *Subscription) joinNew() error {
	if e := s.opening; e != nil {
		if !e.done() {
			return nil
		}
		if s.opening = nil; e.err != nil {
			return e.err
		}
	}
	for _, p := range s.served() {
		if p.cursor.Load() == nil {
			s.opening = p.active().errands.send(s.o.Wake, func(*errand) error {
				_, err := p.work()
				return err
			})
			return nil
		}
	}
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	return s.join()
}

// served takes over what the consumer has waited for; ok is false while it waits, and when
// it waited in vain.
func (pc *partitionConsumer) served() (ok bool, err error) {
	e := pc.errand
	if e == nil {
		return true, nil
	}
	if !e.done() {
		return false, nil
	}
	pc.errand = nil
	if e.reads {
		pc.reader.fetched = e
		return true, nil
	}
	if e.err != nil && pc.unnoted {
		pc.giveBack()
	}
	return e.err == nil, e.err
}

// first says whether there is something on the partition that the consumer has not got
// yet, and is woken for.
func (pc *partitionConsumer) first() bool { return pc.errand != nil || pc.member.Hasty() }
