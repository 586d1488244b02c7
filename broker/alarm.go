package broker

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/leveret-mq/leveret/store"
)

// alarm says that the disk as a whole takes no messages, and why. One log that is
// damaged is none: the others go on.
//
//	an append finds the disk full             raised at once
//	a log turned read-only by a fault         raised if the disk fails a probe, too
//	raised, and the disk passes the probe     over
//	raised, and what failed is stored now     over: space came back inside a log
type alarm struct {
	reason  atomic.Pointer[string] // nil: none
	suspect atomic.Bool            // a log turned read-only since the last probe

	mu     sync.Mutex // guards the rest, and changes of reason; a leaf
	part   *Partition // whose append raised it; nil: a probe did
	bytes  int        // of that append
	notify map[*func(string)]struct{}
}

// Alarm is the reason for which the disk takes no messages, or "".
func (b *Broker) Alarm() string {
	if r := b.alarm.reason.Load(); r != nil {
		return *r
	}
	return ""
}

// OnAlarm has fn called when an alarm is raised, with its reason, and with "" when
// it is over. It runs where that was noticed, so it must not block.
func (b *Broker) OnAlarm(fn func(reason string)) (stop func()) {
	a := &b.alarm
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.notify == nil {
		a.notify = map[*func(string)]struct{}{}
	}
	a.notify[&fn] = struct{}{}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.notify, &fn)
	}
}

// appended notes how an append of a partition went.
func (a *alarm) appended(b *Broker, p *Partition, bytes int, err error) {
	switch {
	case err == nil:
		if a.reason.Load() != nil && a.isOver(p, bytes) {
			a.change(b, nil, 0, "")
		}
	case errors.Is(err, store.ErrFull):
		if a.reason.Load() == nil {
			a.change(b, p, bytes, "the disk is full: messages are refused until some are consumed or deleted, or it is made larger")
		}
	case errors.Is(err, store.ErrReadOnly):
		a.suspect.Store(true)
	}
}

// isOver tells whether an append stored what could not be stored before.
func (a *alarm) isOver(p *Partition, bytes int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.part == p && bytes >= a.bytes
}

// change raises the alarm or ends it, and tells whoever wants to know.
func (a *alarm) change(b *Broker, p *Partition, bytes int, reason string) {
	a.mu.Lock()
	if (a.reason.Load() == nil) == (reason == "") {
		a.mu.Unlock()
		return
	}
	a.part, a.bytes = p, bytes
	if reason == "" {
		a.reason.Store(nil)
	} else {
		a.reason.Store(&reason)
	}
	told := make([]func(string), 0, len(a.notify))
	for fn := range a.notify {
		told = append(told, *fn)
	}
	a.mu.Unlock()
	if reason == "" {
		b.opts.Log.Warn("the disk takes messages again")
	} else {
		b.opts.Log.Error("the disk takes no messages", "error", reason)
	}
	for _, fn := range told {
		fn(reason)
	}
}

// probe looks at the disk when there is an alarm, or may have to be one.
func (a *alarm) probe(b *Broker) {
	raised, suspect := a.reason.Load() != nil, a.suspect.Swap(false)
	if b.opts.Probe == nil || !raised && !suspect {
		return
	}
	err := b.opts.Probe()
	switch {
	case err == nil && raised:
		a.change(b, nil, 0, "")
	case err != nil && !raised:
		a.change(b, nil, 0, "the disk fails: "+err.Error())
	}
}
