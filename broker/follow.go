package broker

import (
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/store"
)

// follower takes over what other processes define, one change after the other. It is
// told by the store on a goroutine that must not wait for changes of this process,
// which wait for the store.
//
//	Table.Watch ─► pending ─► run ─► the change, as one of ours that is written already
type follower struct {
	b    *Broker
	wake chan struct{} // capacity 1

	mu        sync.Mutex // guards the rest; a leaf
	pending   []store.Entry
	revisions map[string]uint64 // of the definitions, in a store that others use
}

func newFollower(b *Broker) *follower {
	return &follower{b: b, wake: make(chan struct{}, 1), revisions: map[string]uint64{}}
}

// note remembers a definition's revision; 0 says that it is gone.
func (f *follower) note(key string, revision uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if revision == 0 {
		delete(f.revisions, key)
	} else {
		f.revisions[key] = max(f.revisions[key], revision)
	}
}

func (f *follower) revision(key string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.revisions[key]
}

// hear is the table's watcher.
func (f *follower) hear(e store.Entry) {
	f.mu.Lock()
	f.pending = append(f.pending, e)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run takes over what is heard until the broker closes.
func (f *follower) run() {
	for {
		select {
		case <-f.b.stop:
			return
		case <-f.wake:
		}
		f.mu.Lock()
		list := f.pending
		f.pending = nil
		f.mu.Unlock()
		for _, e := range list {
			if err := f.b.take(e); err != nil {
				f.b.opts.Log.Error("can't take over what another process has defined", "definition", e.Key, "error", err)
			}
			// Not before: a change of ours that has not seen it must not overwrite it.
			if e.Value == nil {
				f.note(e.Key, 0)
			} else {
				f.note(e.Key, e.Revision)
			}
		}
	}
}

// take makes a definition of another process hold here.
func (b *Broker) take(e store.Entry) error {
	parts := strings.Split(e.Key, "/")
	for i := range parts {
		var err error
		if parts[i], err = url.PathUnescape(parts[i]); err != nil {
			return err
		}
	}
	switch {
	case len(parts) == 2 && (parts[0]+"/" == prefixVHost || parts[0]+"/" == prefixVHostEnd):
		return b.takeVHost(parts[0]+"/", parts[1], e)
	case len(parts) == 2 && parts[0]+"/" == prefixVHostLimits:
		return b.takeVHostLimits(parts[1], e)
	case len(parts) < 3:
		return nil // the cluster's own, which is asked for when it is needed
	}
	v, err := b.VHost(parts[1])
	if err != nil {
		return nil // what is in a virtual host goes with it
	}
	switch parts[0] + "/" {
	case prefixEx:
		return v.takeExchange(parts[2], e)
	case prefixQueue:
		return v.takeQueue(parts[2], e)
	case prefixBinding:
		return v.takeBinding(parts[2], e)
	case prefixPolicy, prefixOperatorPolicy:
		return v.takePolicy(parts[2], parts[0]+"/" == prefixOperatorPolicy, e)
	case prefixTTL:
		return v.takeTTLs(e)
	case prefixAttachment:
		return v.takeAttachment(parts, e)
	case prefixParameter:
		return v.takeParameter(parts[2], parts[len(parts)-1], e)
	}
	return nil
}

// takeVHost takes over what becomes of a virtual host.
func (b *Broker) takeVHost(prefix, name string, e store.Entry) error {
	switch v, _ := b.VHost(name); {
	case prefix == prefixVHost && e.Value != nil:
		var d vhostDef
		if err := decodeDef(e, &d); err != nil {
			return err
		}
		b.showVHost(&d)
	case prefix == prefixVHost && v != nil:
		b.vhostChange.Lock() // a deletion of our own waits for nothing that comes this way
		defer b.vhostChange.Unlock()
		if v.Gone() {
			return nil
		}
		empty := v.open.shut()
		b.endVHost(v)
		b.stopped.Go(func() { <-empty; v.forget() }) // those inside wait for what comes after this
	case prefix == prefixVHostEnd && e.Value != nil:
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.goingVHosts[name] == nil {
			b.goVHost(name)
		}
	case prefix == prefixVHostEnd:
		b.wentVHost(name)
	}
	return nil
}

func (b *Broker) takeVHostLimits(name string, e store.Entry) error {
	v, err := b.VHost(name)
	if err != nil {
		return nil // what is of a virtual host goes with it
	}
	var said map[string]int64
	if e.Value != nil {
		if said, err = readVHostLimits(e); err != nil {
			return err
		}
	}
	v.obey(said)
	return nil
}

// written has a change leave the table alone: another process has written it.
func (c *change) written() { c.entries, c.gather, c.finish = nil, nil, nil }

func (v *VHost) takeExchange(name string, e store.Entry) error {
	return v.change(func(c *change) error {
		if err := c.alone(exchangeClaim(name)); err != nil {
			return err
		}
		x, _ := v.Exchange(name)
		defer c.written()
		if e.Value == nil {
			if x == nil || !x.Durable || x.predeclared {
				return nil
			}
			return c.leaving().exchange(x)
		}
		var d exchangeDef
		if err := decodeDef(e, &d); err != nil || x != nil {
			return err
		}
		c.show = func() error {
			err := v.restoreExchange(d)
			if x, _ := v.Exchange(name); err == nil && x.delays != nil {
				x.delays.start()
			}
			return err
		}
		return nil
	})
}

func (v *VHost) takeBinding(source string, e store.Entry) error {
	return v.change(func(c *change) error {
		defer c.written()
		if e.Value == nil {
			if err := c.along(exchangeClaim(source)); err != nil {
				return err
			}
			src, _ := v.Exchange(source)
			if src == nil {
				return nil
			}
			b, there := src.bindings[e.Key]
			if !there {
				return nil
			}
			return c.leaving().binding(e.Key, b.def)
		}
		var d bindingDef
		if err := decodeDef(e, &d); err != nil {
			return err
		}
		if err := c.binding(e.Key, d); err != nil {
			return err
		}
		c.show = func() error {
			_, err := v.restoreBinding(&d, false)
			return err
		}
		return nil
	})
}

func (v *VHost) takeQueue(name string, e store.Entry) error {
	return v.change(func(c *change) error {
		if err := c.alone(queueClaim(name)); err != nil {
			return err
		}
		defer c.written()
		q, _ := v.Queue(name)
		var d queueDef
		if e.Value != nil {
			if err := decodeDef(e, &d); err != nil {
				return err
			}
		}
		switch {
		case q == nil && e.Value == nil:
			return nil
		case q == nil:
			c.show = func() error { return v.restoreQueue(&d) }
			return nil
		case !q.lives():
			return fail(Precondition, "a queue '%s' that does not last is here too; it keeps the name until it goes", name)
		case e.Value != nil && string(d.TopicID) == string(q.TopicID[:]):
			c.show = func() error { return q.takeChange(d) }
			return nil
		}
		l := c.leaving()
		if err := l.queue(q); err != nil {
			return err
		}
		c.prepare = func() error {
			q.end(false)
			return nil
		}
		c.show = func() error {
			err := l.forget()
			if err == nil && e.Value != nil { // one of its name was made since
				err = v.restoreQueue(&d)
			}
			return err
		}
		return nil
	})
}

// takeChange takes over settings and further partitions. VHost.mu is held.
func (q *Queue) takeChange(d queueDef) error {
	if q.OfKafka() {
		q.settings.Store(q.vhost.settingsOf(q.Name, topic, q.vhost.keptConfigs(d.Name, d.Config)))
		q.vhost.b.compactor.note(q)
	}
	if have := len(q.Partitions()); len(d.Logs) > have {
		parts, err := q.open(d.Logs[have:])
		if err != nil {
			return err
		}
		q.parts.Store(&parts)
		q.vhost.topicsVersion.Add(1)
		q.vhost.changed()
		q.wakeAll()
	}
	return nil
}

const (
	overtakenPause = 10 * time.Millisecond // until what another process wrote has come
	overtakenTries = 500
)

// define writes definitions. Where others use the store too, a queue or an exchange is
// written only if it is what this process knows it to be; ErrConflict says that it is
// not. A binding and the end of anything mean the same whoever writes them first.
func (b *Broker) define(entries ...store.Entry) error {
	if !b.store.Caps().Shared {
		return b.putDef(entries...)
	}
	e := entries[0]
	if len(entries) > 1 || e.Value == nil || !strings.HasPrefix(e.Key, prefixQueue) && !strings.HasPrefix(e.Key, prefixEx) {
		err := b.putDef(entries...)
		for _, e := range entries {
			if err == nil && e.Value == nil {
				b.follower.note(e.Key, 0)
			}
		}
		return err
	}
	e.Revision = b.follower.revision(e.Key)
	ctx, cancel := asking()
	defer cancel()
	revision, err := b.defs.Swap(ctx, e)
	if err != nil {
		return &Error{Kind: KindOf(err), Text: "can't write definitions", Err: err}
	}
	b.follower.note(e.Key, revision)
	return nil
}

// overtaken reports whether another process has changed what a change was about.
func overtaken(err error) bool { return errors.Is(err, store.ErrConflict) }

// agree writes a value that all processes have to agree on, unless it is there:
// next makes it of the value that is there, nil if there is none. It returns what is
// there in the end.
func (b *Broker) agree(key string, next func(have []byte) ([]byte, error)) (value []byte, err error) {
	for {
		have, err := b.lookUp(key)
		if err != nil {
			return nil, err
		}
		value, err := next(have.Value)
		if err != nil || value == nil {
			return have.Value, err
		}
		ctx, cancel := asking()
		_, err = b.defs.Swap(ctx, store.Entry{Key: key, Value: value, Revision: have.Revision})
		cancel()
		switch {
		case err == nil:
			return value, nil
		case !overtaken(err):
			return nil, &Error{Kind: KindOf(err), Text: "can't write definitions", Err: err}
		}
	}
}

// lookUp finds one definition.
func (b *Broker) lookUp(key string) (found store.Entry, err error) {
	ctx, cancel := asking()
	defer cancel()
	if found, err = b.defs.Get(ctx, key); err != nil {
		return found, &Error{Kind: KindOf(err), Text: "can't read definitions", Err: err}
	}
	return found, nil
}
