package kafka

import (
	"slices"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/message"
)

// heldRun are messages that the member has, and has not settled.
type heldRun struct {
	first, last message.Offset
	lease       *broker.Lease
	until       time.Time
}

// heldRuns are runs that do not meet, in order. They stand in chunks, so that a change moves few of them, however many there are:
// who settles each message by itself, in any order, has a run for each.
type heldRuns struct {
	chunks [][]heldRun // none is empty
	n      int
}

// heldChunk is how many runs a chunk has at most. heldRunBytes is the memory for one.
const (
	heldChunk    = 256
	heldRunBytes = 64
)

// from is the place of the first run that ends at or behind an offset. It may be behind the last chunk.
func (l *heldRuns) from(first message.Offset) (chunk, at int) {
	behind := func(h heldRun, o message.Offset) int { return int(min(max(h.last-o, -1), 1)) }
	chunk, _ = slices.BinarySearchFunc(l.chunks, first, func(c []heldRun, o message.Offset) int { return behind(c[len(c)-1], o) })
	if chunk < len(l.chunks) {
		at, _ = slices.BinarySearchFunc(l.chunks[chunk], first, behind)
	}
	return chunk, at
}

// add puts a run in its place.
func (l *heldRuns) add(r heldRun) {
	chunk, at := l.from(r.first)
	l.n++
	if chunk == len(l.chunks) {
		if chunk == 0 || len(l.chunks[chunk-1]) >= heldChunk {
			l.chunks = append(l.chunks, []heldRun{r})
			return
		}
		chunk--
		at = len(l.chunks[chunk])
	}
	l.set(chunk, slices.Insert(l.chunks[chunk], at, r))
}

// set replaces a chunk, by two if it is too large.
func (l *heldRuns) set(chunk int, list []heldRun) {
	if l.chunks[chunk] = list; len(list) > heldChunk {
		half := len(list) / 2
		l.chunks[chunk] = list[:half:half]
		l.chunks = slices.Insert(l.chunks, chunk+1, slices.Clone(list[half:]))
	}
}

// holds says whether all of the messages are there.
func (l *heldRuns) holds(first, last message.Offset) bool {
	for chunk, at := l.from(first); chunk < len(l.chunks); chunk, at = chunk+1, 0 {
		for _, h := range l.chunks[chunk][at:] {
			if h.first > first {
				return false
			}
			if h.last >= last {
				return true
			}
			first = h.last + 1
		}
	}
	return false
}

// take takes those of the messages off the list that are on it, and appends them to into.
func (l *heldRuns) take(first, last message.Offset, into []heldRun) []heldRun {
	chunk, at := l.from(first)
	whole, gone := chunk, 0 // chunks of which nothing is left
	for ; chunk < len(l.chunks); chunk, at = chunk+1, 0 {
		list := l.chunks[chunk]
		var left []heldRun
		end, reached := at, false
		for ; end < len(list) && list[end].first <= last; end++ {
			h := list[end]
			if h.first < first {
				left = append(left, heldRun{h.first, first - 1, h.lease, h.until})
			}
			if h.last > last {
				left = append(left, heldRun{last + 1, h.last, h.lease, h.until})
			}
			reached = h.last >= last
			into = append(into, heldRun{max(h.first, first), min(h.last, last), h.lease, h.until})
		}
		reached = reached || end < len(list)
		l.n += len(left) - (end - at)
		switch list = slices.Replace(list, at, end, left...); {
		case len(list) == 0:
			gone++
		case gone == 0:
			whole++
			fallthrough
		default:
			l.set(chunk, list)
		}
		if reached {
			break
		}
	}
	l.chunks = slices.Delete(l.chunks, whole, whole+gone)
	return into
}

// takeLate takes those off the list whose time is up, and appends them to into; next is when the next one's is, zero for none.
func (l *heldRuns) takeLate(now time.Time, into []heldRun) (late []heldRun, next time.Time) {
	for i, list := range l.chunks {
		l.chunks[i] = slices.DeleteFunc(list, func(h heldRun) bool {
			if !h.until.After(now) {
				into = append(into, h)
				l.n--
				return true
			}
			if next.IsZero() || h.until.Before(next) {
				next = h.until
			}
			return false
		})
	}
	l.chunks = slices.DeleteFunc(l.chunks, func(list []heldRun) bool { return len(list) == 0 })
	return into, next
}
