package broker

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/store"
)

// alarm says that no messages are taken, and why: because the disk as a whole takes none,
// or because the process has more memory than it should. One log that is damaged is none:
// the others go on.
//
//	an append finds the disk full             raised at once
//	a log turned read-only by a fault         raised if the disk fails a probe, too
//	raised, and the disk passes the probe     over
//	raised, and what failed is stored now     over: space came back inside a log
//	Options.Memory fails, or does no more     raised, or over
type alarm struct {
	disk    atomic.Pointer[string] // nil: none
	memory  atomic.Pointer[string] // the same
	suspect atomic.Bool            // a log turned read-only since the last probe

	mu     sync.Mutex // guards the rest, and changes of the reasons; a leaf
	part   *Partition // whose append raised that of the disk; nil: a probe did
	bytes  int        // of that append
	notify map[*func(string)]struct{}
}

// Alarm is the reason for which no messages are taken, or "".
func (b *Broker) Alarm() string {
	disk, memory := b.Alarms()
	if disk != "" && memory != "" {
		return disk + "; " + memory
	}
	return disk + memory
}

// Alarms are the two reasons there may be. While the disk takes no messages, those that
// can be refused are; while there is no memory, who publishes is not read, since messages
// that are refused come again.
func (b *Broker) Alarms() (disk, memory string) {
	return text(&b.alarm.disk), text(&b.alarm.memory)
}

func text(reason *atomic.Pointer[string]) string {
	if r := reason.Load(); r != nil {
		return *r
	}
	return ""
}

// OnAlarm has fn called when there is an alarm where there was none, with its reason, and
// with "" when none is left. It runs where that was noticed, so it must not block.
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
		if a.disk.Load() != nil && a.isOver(p, bytes) {
			a.change(b, nil, 0, "")
		}
	case errors.Is(err, store.ErrFull):
		if a.disk.Load() == nil {
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

// change raises the alarm of the disk or ends it.
func (a *alarm) change(b *Broker, p *Partition, bytes int, reason string) {
	a.mu.Lock()
	told, changed := a.set(&a.disk, reason)
	if changed {
		a.part, a.bytes = p, bytes
	}
	a.mu.Unlock()
	if changed {
		b.announce(reason, "the disk takes no messages", "the disk takes messages again")
	}
	for _, fn := range told {
		fn(reason)
	}
}

// announce says in the log that an alarm was raised, or with no reason that it ended.
func (b *Broker) announce(reason, raised, ended string) {
	if reason == "" {
		b.opts.Log.Warn(ended)
		return
	}
	b.opts.Log.Error(raised, "error", reason)
}

// changeMemory raises the alarm of the memory or ends it.
func (a *alarm) changeMemory(b *Broker, reason string) {
	a.mu.Lock()
	told, changed := a.set(&a.memory, reason)
	a.mu.Unlock()
	if changed {
		b.announce(reason, "there is no memory for messages: publishers wait", "there is memory for messages again")
	}
	for _, fn := range told {
		fn(reason)
	}
}

// set raises one of the two or ends it, and tells whether it was otherwise. told is who must
// hear of it, because there is an alarm where there was none, or none is left. mu is held.
func (a *alarm) set(one *atomic.Pointer[string], reason string) (told []func(string), changed bool) {
	if (one.Load() == nil) == (reason == "") {
		return nil, false
	}
	if reason == "" {
		one.Store(nil)
	} else {
		one.Store(&reason)
	}
	other := &a.disk
	if other == one {
		other = &a.memory
	}
	if other.Load() != nil {
		return nil, true
	}
	told = make([]func(string), 0, len(a.notify))
	for fn := range a.notify {
		told = append(told, *fn)
	}
	return told, true
}

// watchMemory looks at the memory every now and then until the broker closes.
func (b *Broker) watchMemory() {
	t := time.NewTicker(b.opts.SaveEvery)
	defer t.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-t.C:
			reason := ""
			if err := b.opts.Memory(); err != nil {
				reason = err.Error()
			}
			b.alarm.changeMemory(b, reason)
		}
	}
}

// probe looks at the disk when there is an alarm, or may have to be one.
func (a *alarm) probe(b *Broker) {
	raised, suspect := a.disk.Load() != nil, a.suspect.Swap(false)
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
