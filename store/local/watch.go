package local

import (
	"slices"
	"sync"
	"sync/atomic"
)

// watchers are those whom a log wakes when it changes. They come and go at the same cost
// however many there are: a Kafka client that waits for one is among them for a moment
// each time.
type watchers struct {
	mu    sync.Mutex // guards all, and the places in it
	all   []*watcher
	known atomic.Pointer[[]*watcher] // a copy of all for wake; nil: they have changed since
}

// watcher is one call of Watch.
type watcher struct {
	wake  func()
	place int // in all
}

// nobody is the copy of none.
var nobody = new([]*watcher)

// Watch has wake called after every change until stop; see store.Log. An append
// to a log that nobody ever watched pays one load for it.
func (l *Log) Watch(wake func()) (stop func()) {
	if l.watch.Load() == nil {
		l.watch.CompareAndSwap(nil, new(watchers))
	}
	ws, w := l.watch.Load(), &watcher{wake: wake}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w.place = len(ws.all)
	ws.all = append(ws.all, w)
	ws.known.Store(nil)
	return sync.OnceFunc(func() { ws.remove(w) })
}

// remove has the last one take the place of one that leaves.
func (ws *watchers) remove(w *watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	last := len(ws.all) - 1
	ws.all[w.place] = ws.all[last]
	ws.all[w.place].place = w.place
	ws.all[last] = nil
	if ws.all = ws.all[:last]; last == 0 {
		ws.all = nil
	}
	ws.known.Store(nil)
}

// list is who is to be woken.
func (ws *watchers) list() []*watcher {
	if all := ws.known.Load(); all != nil {
		return *all
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	all := nobody
	if len(ws.all) > 0 {
		copied := slices.Clone(ws.all)
		all = &copied
	}
	ws.known.Store(all)
	return *all
}

// wake calls everybody who watches.
func (l *Log) wake() {
	if ws := l.watch.Load(); ws != nil {
		for _, w := range ws.list() {
			w.wake()
		}
	}
}

// Wake has everybody look who watches; see store.Log.
func (l *Log) Wake() { l.wake() }
