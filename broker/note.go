package broker

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/store"
)

// How far a cursor is is noted in the store after everything that moves it, and before
// anything that was handed out leaves. That is a store into memory as a rule. Now and then
// it takes the disk: a reservation ahead that is flushed, a file that rests. Then one
// goroutine waits for it; nobody else does, but has it come again.
//
//	ack ─► progress ─► note ─────────────► ProgressNow
//	pull ─► note ─┘       └─ not now ─► errand ─► noteSlowly ─► Progress (the disk)

// notes are what a partition knows of noting.
type notes struct {
	mu     sync.Mutex // held over reading the cursor's progress and noting it, or an older state could be noted after a newer one; guards slow
	slow   bool       // noteSlowly does it
	slowly sync.Mutex // one noteSlowly at a time; before mu

	failed atomic.Bool // the store could not note it
	sent   atomic.Bool // an errand is on its way for nobody in particular
}

// progress tells the store how far the cursor is; called after everything that moves it.
// What can't be noted now is noted a little later, or by the saver.
func (p *Partition) progress() {
	if !errors.Is(p.note(), store.ErrNotYet) {
		return
	}
	a := p.active()
	if !a.notes.sent.Swap(true) {
		a.errands.send(nil, func(*errand) error {
			a.notes.sent.Store(false)
			return p.noteSlowly()
		})
	}
}

// note is progress for whoever is about to hand something out: with an error that must
// not leave, because after a crash it would come again as if nobody had had it. ErrNotYet
// says that it takes noteSlowly.
func (p *Partition) note() error {
	c := p.cursor.Load()
	if c == nil || p.removed.Load() {
		return nil
	}
	n := &p.active().notes
	n.mu.Lock()
	if n.slow {
		n.mu.Unlock()
		return store.ErrNotYet
	}
	floor, handed := c.Progress()
	err := p.log.ProgressNow(floor, handed)
	if err == nil {
		n.failed.Store(false)
		p.log.Release(floor)
	}
	n.mu.Unlock()
	if err != nil && errors.Is(err, store.ErrNotYet) {
		return err
	}
	return p.told(c, err)
}

// noteSlowly is note for who may wait for the disk.
func (p *Partition) noteSlowly() error {
	n := &p.active().notes
	n.slowly.Lock()
	defer n.slowly.Unlock()
	c := p.cursor.Load()
	if c == nil || p.removed.Load() {
		return nil
	}
	n.mu.Lock()
	n.slow = true
	floor, handed := c.Progress()
	n.mu.Unlock()
	err := p.log.Progress(floor, handed)
	n.mu.Lock()
	n.slow = false
	n.failed.Store(errors.Is(err, store.ErrBusy))
	p.log.Release(floor)
	n.mu.Unlock()
	return p.told(c, err)
}

// told does what follows when the store was told how far a cursor is.
func (p *Partition) told(c *consumer.Cursor, err error) error {
	if err != nil && errors.Is(err, store.ErrFenced) {
		p.lose(c)
		return err
	}
	if e := p.expiry.Load(); e != nil {
		e.headMoved(p)
	}
	p.leftWithStart(c)
	p.q.vhost.b.markDirty(p)
	if err != nil && errors.Is(err, store.ErrBusy) {
		return fmt.Errorf("queue '%s': %w", p.q.Name, err)
	}
	return nil // the log tells of any other failure itself
}

// noted tries again what could not be noted the last time, and may wait for it.
func (p *Partition) noted() error {
	if !p.active().notes.failed.Load() {
		return nil
	}
	return p.noteSlowly()
}

// sendNote has noteSlowly called for a consumer.
func (p *Partition) sendNote(wake func()) *errand {
	return p.active().errands.send(wake, func(*errand) error { return p.noteSlowly() })
}
