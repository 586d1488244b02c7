package log

import (
	"errors"
	"fmt"
	"sort"

	"github.com/leveret-mq/leveret/segment"
)

// View is a range of whole batches, borrowed until Release.
type View = segment.View

// Read returns whole batches of one segment, beginning with the one that holds
// offset from: as many as fit maxBytes, but at least one. Where from does not
// exist (its batch is damaged, or offsets are missing) it begins with the next
// batch. At the end it returns an empty View. ErrOutOfRange says that from lies
// before the start or behind the end. Appends do not wait for it, nor it for them.
func (l *Log) Read(from int64, maxBytes int) (View, error) {
	for retried := false; ; {
		end := l.end.Load() // before the list: what ends there is in the list then
		if from < l.start.Load() || from > end {
			start, _ := l.Bounds()
			return View{}, fmt.Errorf("%w: %d is not in [%d, %d]", ErrOutOfRange, from, start, end)
		}
		if from == end {
			return View{}, nil
		}
		v, err := l.readFrom(l.segments(), from, maxBytes)
		if err == nil && len(v.Bytes()) == 0 {
			if !retried {
				retried = true
				l.awaitPublished()
				continue
			}
			if l.isClosed() {
				return View{}, ErrClosed // its segments went meanwhile: that is no gap
			}
		}
		if err == nil && from < l.start.Load() {
			v.Release() // the start moved on before the list was looked at: what holds from may be gone
			continue
		}
		if !errors.Is(err, segment.ErrDropped) {
			return v, err
		}
		if l.isClosed() {
			return View{}, ErrClosed
		}
	}
}

// awaitPublished returns when an append that has moved the end has published its bytes
// too: the two stores are a few instructions apart, under the mutex.
func (l *Log) awaitPublished() {
	l.mu.Lock()
	defer l.mu.Unlock()
}

func (l *Log) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// ReadNow is Read of what is in memory; ok is false for what Read may have to wait for,
// and for what it fails with.
func (l *Log) ReadNow(from int64, maxBytes int) (v View, ok bool) {
	end := l.end.Load() // before the list, as Read does it
	if from < l.start.Load() || from >= end {
		return View{}, from == end
	}
	list := l.segments()
	for i := at(list, from); i < len(list) && len(v.Bytes()) == 0; i++ {
		var err error
		if v, ok, err = list[i].ReadNow(from, maxBytes); !ok || err != nil {
			return View{}, false
		}
	}
	if from < l.start.Load() {
		v.Release()
		return View{}, false
	}
	return v, len(v.Bytes()) > 0 // without: an append is about to publish it
}

func (l *Log) readFrom(list []*segment.Segment, from int64, maxBytes int) (View, error) {
	for i := at(list, from); i < len(list); i++ {
		v, err := list[i].Read(from, maxBytes)
		if err != nil || len(v.Bytes()) > 0 {
			return v, err
		}
	}
	return View{}, nil
}

// at returns the index of the segment that holds offset, or else of the first
// one behind it.
func at(list []*segment.Segment, offset int64) int {
	if n := len(list); n > 0 && list[n-1].Base() <= offset {
		return n - 1
	}
	i := sort.Search(len(list), func(i int) bool { return list[i].Base() > offset })
	return max(i-1, 0)
}
