package local

import (
	"slices"
	"sync"
)

// watcher is one party that wants to hear of changes.
type watcher struct{ wake func() }

// Watch has wake called after every change until stop; see store.Log. An append
// to a log that nobody watches pays one load for it.
func (l *Log) Watch(wake func()) (stop func()) {
	w := &watcher{wake}
	l.changeWatchers(func(all []*watcher) []*watcher { return append(slices.Clone(all), w) })
	var once sync.Once
	return func() {
		once.Do(func() {
			l.changeWatchers(func(all []*watcher) []*watcher {
				return slices.DeleteFunc(slices.Clone(all), func(x *watcher) bool { return x == w })
			})
		})
	}
}

// changeWatchers replaces the list by a changed copy.
func (l *Log) changeWatchers(change func([]*watcher) []*watcher) {
	for {
		old := l.watch.Load()
		var all []*watcher
		if old != nil {
			all = *old
		}
		next := change(all)
		to := &next
		if len(next) == 0 {
			to = nil
		}
		if l.watch.CompareAndSwap(old, to) {
			return
		}
	}
}

// wake calls everybody who watches.
func (l *Log) wake() {
	if all := l.watch.Load(); all != nil {
		for _, w := range *all {
			w.wake()
		}
	}
}
