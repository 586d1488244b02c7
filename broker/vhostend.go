package broker

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/store"
)

// A virtual host is deleted by one write, in which its definition goes and the mark "w/VHOST"
// comes in its place. From then on it is not there any more: nobody finds it, its clients are
// told to go, and its name is taken until the rest is gone as well, which one goroutine sees
// to piece by piece:
//
//	shut ─► write the mark ─► out of memory ─► definitions ─► what groups committed ─► hooks ─► the mark goes
//	                          └ at the next start, after a kill: from here on ────────────────────┘
//
// Logs go as those of deleted queues do: with a queue's definition it is written that they
// are to be removed (removal.go).
//
// What hangs on a virtual host, so that it goes with it:
//
//	in the table "defs"    each key whose second part is the virtual host: see ofVHost
//	in the table "groups"  the same
//	in memory              queues and exchanges, see forgetVHost; sessions, by Client.Evict
//	elsewhere              whoever says so by OnVHostDeleted
type vhostEnd struct {
	done chan struct{} // closed when all is gone
}

const (
	// vhostStep is how many queues leave the memory, or entries the tables, at a time: others
	// get their turn between.
	vhostStep = 256
	// vhostRetry is the time between two tries of what could not be written.
	vhostRetry = time.Second
)

// errVHostGone is behind the errors of those who come too late.
var errVHostGone = errors.New("nothing can be changed in it any more")

// ofVHost says whether an entry of the definitions or of the groups goes with a virtual host:
// all do whose key has its name as the second part, but for what says that something is to be
// removed. Who keeps something more of a virtual host gives it such a key.
func ofVHost(key, name string) bool {
	kind, _, _ := strings.Cut(key, "/")
	if kind+"/" == prefixRemoval || kind+"/" == prefixVHost || kind+"/" == prefixVHostEnd || kind == "m" {
		return false
	}
	vhost, err := vhostOf(key)
	return err == nil && vhost == name
}

// vhostOf is the second part of a key.
func vhostOf(key string) (string, error) {
	_, rest, _ := strings.Cut(key, "/")
	name, _, _ := strings.Cut(rest, "/")
	name, err := url.PathUnescape(name)
	if err != nil {
		return "", fmt.Errorf("definition %q: %w", key, err)
	}
	return name, nil
}

// OnVHostDeleted has fn called for every virtual host that is deleted from now on, when its
// clients were told to go and before there can be another of its name. What fails is tried
// again, and after a kill at the next start too, so whoever keeps something by names of virtual
// hosts drops, when it opens, what is of one that does not exist. fn may write to a disk.
func (b *Broker) OnVHostDeleted(fn func(name string) error) (stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.vhostHooks == nil {
		b.vhostHooks = map[*func(string) error]struct{}{}
	}
	b.vhostHooks[&fn] = struct{}{}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.vhostHooks, &fn)
	}
}

// endVHost has nobody find a virtual host of which it is written that it goes, and sends its
// clients away. It was shut.
func (b *Broker) endVHost(v *VHost) {
	b.mu.Lock()
	delete(b.vhosts, v.Name)
	if b.goingVHosts[v.Name] == nil {
		b.goVHost(v.Name)
	}
	b.mu.Unlock()
	v.open.decide(true)
	b.evict(v)
}

// goVHost notes that a virtual host is on its way out. Broker.mu is held.
func (b *Broker) goVHost(name string) {
	b.goingVHosts[name] = &vhostEnd{done: make(chan struct{})}
}

// wentVHost ends that.
func (b *Broker) wentVHost(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.goingVHosts[name]; e != nil {
		delete(b.goingVHosts, name)
		close(e.done)
	}
}

// evict tells the clients of a virtual host to go.
func (b *Broker) evict(v *VHost) {
	for _, k := range b.entered() {
		if k.session.vhost == v {
			k.sendAway(v.deletedText())
		}
	}
}

// forget takes out of memory what was in a virtual host that is gone: nobody changes it any
// more, so VHost.mu is held for a few of its queues at a time.
func (v *VHost) forget() {
	queues := v.Queues()
	for len(queues) > 0 {
		n := min(len(queues), vhostStep)
		v.forgetQueues(queues[:n])
		queues = queues[n:]
	}
	for _, x := range v.Exchanges() {
		x.end()
		if !x.Durable {
			v.b.removals.add(x.lanesOf(), false)
		}
	}
}

func (v *VHost) forgetQueues(list []*Queue) {
	v.mu.Lock()
	for _, q := range list {
		q.end(false)
		v.b.deletions.add(deleted{queue: q, vhost: v})
		q.dropMaker()
		q.leave()
	}
	v.changed()
	v.mu.Unlock()
	for _, q := range list {
		if !q.lives() {
			v.b.removals.add(q.Partitions(), false)
		}
	}
}

// goes says at a start whether a virtual host that is not there is on its way out, and keeps
// in mind whose logs are not claimed for that. Where others use the store too they may have
// declared something in it while it went, which goes when there is one of its name again.
func (b *Broker) goes(name string, logs []store.LogID) bool {
	if b.goingVHosts[name] == nil && !b.store.Caps().Shared {
		return false
	}
	b.goingLogs = append(b.goingLogs, logs...)
	return true
}

// home is, at a start, the virtual host that something is in; nil without an error is one on its way out, as goes has it.
func (b *Broker) home(vhost string, logs []store.LogID, what, name string) (*VHost, error) {
	if v := b.vhosts[vhost]; v != nil || b.goes(vhost, logs) {
		return v, nil
	}
	return nil, fail(Internal, "%s '%s' is in vhost '%s', which does not exist", what, name, vhost)
}

// goOnWithVHosts takes up the deletions that an earlier process has not finished.
func (b *Broker) goOnWithVHosts() {
	b.goingLogs = nil
	for _, name := range slices.Sorted(maps.Keys(b.goingVHosts)) { // which loses each when it has ended
		b.opts.Log.Info("going on with the deletion of a virtual host", "vhost", name)
		b.stopped.Go(func() { b.finishVHost(name, nil) })
	}
}

// finishVHost removes what is written of a virtual host that is gone. v is nil at a start,
// when nothing of it was taken into memory.
func (b *Broker) finishVHost(name string, v *VHost) {
	for tries := 0; ; tries++ {
		err := b.removeVHost(name, v)
		if err == nil {
			break
		}
		if tries == 0 && !b.closed.Load() {
			b.opts.Log.Error("can't remove all of a deleted virtual host; it is tried again, also after a restart", "vhost", name, "error", err)
		}
		select {
		case <-b.stop:
			return
		case <-time.After(vhostRetry):
		}
	}
	b.wentVHost(name)
}

func (b *Broker) removeVHost(name string, v *VHost) error {
	if b.store.Caps().Shared { // another may have been quicker, and there may be one of the name again
		if mark, err := b.lookUp(store.Key(prefixVHostEnd, name)); err != nil || mark.Value == nil {
			return err
		}
	}
	if err := b.sweep(b.defs, name, v); err != nil {
		return err
	}
	if err := b.sweep(b.groups, name, nil); err != nil {
		return err
	}
	b.mu.RLock()
	hooks := make([]func(string) error, 0, len(b.vhostHooks))
	for fn := range b.vhostHooks {
		hooks = append(hooks, *fn)
	}
	b.mu.RUnlock()
	for _, fn := range hooks {
		if err := fn(name); err != nil {
			return err
		}
	}
	return b.putDef(store.Entry{Key: store.Key(prefixVHostEnd, name)})
}

// sweepVHost removes what the tables have of a virtual host that is not there.
func (b *Broker) sweepVHost(name string) error {
	if err := b.sweep(b.defs, name, nil); err != nil {
		return err
	}
	return b.sweep(b.groups, name, nil)
}

// sweep removes what a table has of a virtual host that is gone, a few entries at a time.
func (b *Broker) sweep(t store.Table, name string, v *VHost) error {
	ctx, cancel := asking()
	defer cancel()
	var list []store.Entry
	err := t.Load(ctx, func(e store.Entry) error {
		if ofVHost(e.Key, name) {
			list = append(list, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for len(list) > 0 {
		if b.closed.Load() {
			return fail(Closed, "the broker is stopping")
		}
		n := min(len(list), vhostStep)
		if err := b.sweepSome(t, list[:n], v); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// sweepSome removes entries in one write, which says too that their logs are to be removed.
func (b *Broker) sweepSome(t store.Table, list []store.Entry, v *VHost) error {
	var entries []store.Entry
	var logs []removal
	for _, e := range list {
		entries = append(entries, store.Entry{Key: e.Key})
		if t != b.defs {
			continue
		}
		owned, err := logsOfDef(e)
		if err != nil {
			return err
		}
		for _, d := range owned {
			entry, err := d.entry()
			if err != nil {
				return err
			}
			entries = append(entries, entry)
			logs = append(logs, removal{id: d.Log, kept: true, part: v.partOf(&d)})
		}
	}
	ctx, cancel := asking()
	defer cancel()
	if err := t.Put(ctx, entries...); err != nil {
		return err
	}
	if t == b.defs && b.store.Caps().Shared {
		for _, e := range list {
			b.follower.note(e.Key, 0)
		}
	}
	b.removals.addAll(logs)
	return nil
}

// logsOfDef are the logs of the queue or exchange of a definition.
func logsOfDef(e store.Entry) ([]removalDef, error) {
	var vhost, name string
	var ids []store.LogID
	switch {
	case strings.HasPrefix(e.Key, prefixQueue):
		var d queueDef
		if err := d.decode(e); err != nil {
			return nil, err
		}
		vhost, name, ids = d.VHost, d.Name, d.Logs
	case strings.HasPrefix(e.Key, prefixEx):
		var d exchangeDef
		if err := decodeDef(e, &d); err != nil {
			return nil, err
		}
		vhost, name, ids = d.VHost, d.Name, d.Lanes
	}
	out := make([]removalDef, len(ids))
	for i, id := range ids {
		out[i] = removalDef{VHost: vhost, Queue: name, Log: id}
	}
	return out, nil
}

// partOf is the log of a definition in a virtual host that was in memory, nil otherwise.
func (v *VHost) partOf(d *removalDef) *Partition {
	if v == nil {
		return nil
	}
	var parts []*Partition
	if q := v.queues.find(d.Queue); q != nil {
		parts = q.Partitions()
	}
	if x, err := v.Exchange(d.Queue); err == nil {
		parts = append(parts[:len(parts):len(parts)], x.lanesOf()...)
	}
	for _, p := range parts {
		if p.log.ID() == d.Log {
			return p
		}
	}
	return nil
}
