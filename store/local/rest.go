package local

import (
	"github.com/leveret-mq/leveret/log"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// Figures are what is known of the log without opening it; see store.Log.
func (l *Log) Figures() store.Figures {
	inner := l.inner.Load()
	if inner == nil {
		return l.figuresAtRest()
	}
	f := store.Figures{Waiting: l.waiting(inner), Certain: l.counted()}
	start, end := inner.Bounds()
	f.Start, f.End = message.Offset(start), message.Offset(end)
	f.Bytes, f.Segments = inner.Size()
	return f
}

func (l *Log) figuresAtRest() store.Figures {
	if r := l.rest.Load(); r != nil {
		return store.Figures{
			Start: message.Offset(r.Start), End: message.Offset(r.End), Bytes: r.Bytes, Segments: int(r.Segments),
			Waiting: r.Waiting, Certain: !r.Uncertain, Cold: true,
		}
	}
	if l.fresh { // and its first append may be on its way
		return store.Figures{Certain: true}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return store.Figures{Certain: !l.onDisk, Cold: l.onDisk}
}

// waiting is how many messages consumers have before them.
func (l *Log) waiting(inner *log.Log) int64 {
	for {
		left := l.left.Load()
		n := l.waitingBehind(inner, left)
		if l.left.Load() == left { // else what was acked may have gone since, and what is there now would be counted as open
			return n
		}
	}
}

// counted says whether waiting is right: not where all that is known of acks ahead of the floor is that there may be some.
func (l *Log) counted() bool { return l.left.Load() != nil || !l.ahead.Load() }

func (l *Log) waitingBehind(inner *log.Log, left *left) int64 {
	start, end := inner.Bounds()
	floor := max(l.floor.Load(), start)
	if left != nil && floor < left.next {
		n, _ := inner.Records(left.next, end) // with an error what can be read
		return left.open + n
	}
	n, _ := inner.Records(floor, end)
	return n
}

// left is what the consumer had before it when it saved its state: open messages below
// next, and all from there on.
type left struct{ open, next int64 }

// restNow is what a checkpoint says of the log; nil when it never had a message.
func (l *Log) restNow() *rest {
	if l.transient() {
		return nil
	}
	r := l.rest.Load()
	if inner := l.inner.Load(); inner != nil && (l.unsaved.Swap(false) || r == nil || r.Flushed < r.End) {
		r = l.atRest(inner, l.waiting(inner))
	}
	if r == nil || r.Segments == 0 && r.End == 0 {
		return nil
	}
	return r
}

// atRest notes what the log consists of.
func (l *Log) atRest(inner *log.Log, waiting int64) *rest {
	e := inner.Extent()
	r := &rest{
		First: e.First, Last: e.Last, Start: e.Start, End: e.End, Flushed: e.Flushed,
		Bytes: e.Bytes, Segments: int64(e.Segments), Oldest: e.Oldest, Waiting: waiting, Uncertain: !l.counted(),
	}
	l.rest.Store(r)
	return r
}

// known is what package log is told of before it opens the files.
func (l *Log) known() *log.Known {
	r := l.rest.Load()
	if r == nil {
		return nil
	}
	return &log.Known{Flushed: r.Flushed, Start: r.Start, Exact: r.startNoted || l.store.checkpoints.holds(r)}
}

// opened takes over what the checkpoint says of a log that has just been opened. What
// it did not know for certain is written down with the next one.
func (l *Log) opened() {
	r := l.rest.Load()
	if r == nil || r.Uncertain {
		l.touch()
		return
	}
	l.left.CompareAndSwap(nil, &left{open: r.Waiting, next: r.End})
}

// hasDir says whether the log has a directory that outlives the process.
func (l *Log) hasDir() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.onDisk && !l.transient()
}
