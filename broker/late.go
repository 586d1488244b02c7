package broker

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// late wakes consumers whose messages are on their way: what they were dealt is
// theirs, so the cursor has no reason to wake them.
type late struct {
	any   atomic.Bool
	mu    sync.Mutex // guards wakes; a leaf
	wakes []func()
}

// add has wake called once, when something has come.
func (l *late) add(wake func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wakes = append(l.wakes, wake)
	l.any.Store(true)
}

// arrived is called whenever something has come.
func (l *late) arrived() {
	if !l.any.Load() {
		return
	}
	l.mu.Lock()
	wakes := l.wakes
	l.wakes = nil
	l.any.Store(false)
	l.mu.Unlock()
	for _, wake := range wakes {
		wake()
	}
}

// readFor is Read for a consumer, which is woken when ErrNotYet is not so any more.
// Without wake it waits.
func (p *Partition) readFor(wake func(), from message.Offset, maxBytes int) (store.View, error) {
	v, err := p.log.Read(from, maxBytes)
	if !errors.Is(err, store.ErrNotYet) {
		return v, err
	}
	if wake == nil {
		return await(p.log, from, maxBytes)
	}
	p.active().late.add(wake)
	return p.log.Read(from, maxBytes) // it may have come before anybody knew of wake
}
