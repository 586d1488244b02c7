package broker

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// What Progress does not keep of a cursor, acks ahead of the floor and how often messages came back, is saved once a second, and at once
// where a client is answered that has settled something (Lease.Keep).

// saves are what a partition knows of saving.
type saves struct {
	mu    sync.Mutex    // held over encoding the state and saving it, or an older one could be saved after a newer one; before notes.slowly; guards err
	begun atomic.Uint64 // how many there were
	err   error         // of the last one
}

// saveCursor keeps what Progress does not: acks ahead of the floor, delivery counts.
func (p *Partition) saveCursor() error { return p.saveSince(math.MaxUint64) }

// saveSince is saveCursor unless that was begun anew after so many times: those who wait for one share the next.
func (p *Partition) saveSince(begun uint64) error {
	c := p.cursor.Load()
	if c == nil || p.removed.Load() {
		return nil
	}
	s := &p.active().saves
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun.Load() > begun {
		return s.err
	}
	s.begun.Add(1)
	s.err = p.save(c)
	return s.err
}

func (p *Partition) save(c *consumer.Cursor) error {
	if p.active().notes.sent.Load() { // an errand may come too late at the end
		_ = p.noteSlowly() // the log tells of a failure, or the saver tries again
	}
	data := c.AppendState(nil)
	open, next := c.Left()
	ctx, cancel := asking()
	defer cancel()
	err := p.log.SaveCursor(ctx, data, open, next)
	switch {
	case err == nil, p.removed.Load():
		return nil
	case errors.Is(err, store.ErrFenced):
		p.lose(c)
		return nil
	case errors.Is(err, store.ErrTooLarge): // what was acked ahead comes again after a crash, and what is below the floor does not
		return p.log.SaveCursor(ctx, nil, open, next)
	}
	return err
}

// Keep returns when what was settled under the lease up to an offset, in any order, stays so after the process is killed, for who
// answers that it was settled. came says that messages came back, which is counted. An error says that it may come again; the saver goes on trying.
func (l *Lease) Keep(upTo message.Offset, came bool) error {
	p := l.part
	if l.stream != nil || p.removed.Load() {
		return nil
	}
	c := p.cursor.Load()
	if c == nil {
		return nil // another process has it
	}
	begun := p.active().saves.begun.Load()
	floor, _ := c.Progress()
	err := p.note()
	slow := errors.Is(err, store.ErrNotYet)
	if slow {
		err = p.noteSlowly()
	}
	if err == nil && (slow || came || upTo >= floor) { // slow: of a place that found no room, saving tells
		err = p.saveSince(begun)
	}
	if err != nil {
		p.q.vhost.b.markDirty(p)
		return fmt.Errorf("queue '%s': what was settled may come again if the broker is killed: %w", p.q.Name, err)
	}
	return nil
}
