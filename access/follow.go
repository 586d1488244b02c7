package access

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/store"
)

// follower takes over what other processes change of the table. It is told by the store on a goroutine that must
// not wait for changes of this process, which wait for the store.
//
//	Table.Watch ─► keys ─► run, under Keeper.mu ─► what the table has of them now
//
// What was heard is a key only: a change of ours may have been written behind it, and is what counts then.
type follower struct {
	k *Keeper

	mu      sync.Mutex // guards the rest; a leaf
	keys    map[string]struct{}
	running bool
	closed  bool
	runs    sync.WaitGroup
}

// followRetry is how long it waits behind a table that can't be asked.
const followRetry = 100 * time.Millisecond

// hear is the table's watcher.
func (f *follower) hear(e store.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	if f.keys == nil {
		f.keys = map[string]struct{}{}
	}
	f.keys[e.Key] = struct{}{}
	if !f.running {
		f.running = true
		f.runs.Go(f.run)
	}
}

// close ends it, and waits for that. Keeper.mu must be free.
func (f *follower) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.runs.Wait()
}

// heard takes the keys; none when it is over.
func (f *follower) heard() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	keys := slices.Sorted(maps.Keys(f.keys))
	f.keys = nil
	if f.closed || len(keys) == 0 {
		f.running = false
		return nil
	}
	return keys
}

// run takes over what was heard, until there is no more of it.
func (f *follower) run() {
	for told := false; ; {
		keys := f.heard()
		if keys == nil {
			return
		}
		left, err := f.k.takeOver(keys)
		if err != nil && !told {
			told = true
			f.k.opts.Log.Error("can't take over what another process has changed of users; it is tried again", "records", left, "error", err)
		}
		if len(left) > 0 {
			for _, key := range left {
				f.hear(store.Entry{Key: key})
			}
			time.Sleep(followRetry)
		}
	}
}

// takeOver has what the table says of the keys hold. It returns those that could not be read.
func (k *Keeper) takeOver(keys []string) (left []string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	old := k.current.Load()
	p := old.copy()
	for i, key := range keys {
		var e store.Entry
		if e, err = k.table.Get(ctx, key); err != nil {
			left = keys[i:]
			break
		}
		if wrong := p.load(e); wrong != nil {
			k.opts.Log.Error("another process has written what this one can't read of users", "record", key, "error", wrong)
		}
	}
	if wrong := k.publish(old, p); wrong != nil {
		k.opts.Log.Error("another process has written what can't hold here of users", "records", keys, "error", wrong)
	}
	return left, err
}
