package broker

import (
	"errors"
	"math/bits"
	"sync/atomic"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// The lanes' waits are the digits of a number of laneUnitMs, in base 8.
const (
	laneUnitMs = 16
	laneDigits = 7  // other than 0
	laneLevels = 10 // up to 7·8⁹ units, 174 days: what is longer stands in the last lane again
	lanes      = laneDigits * laneLevels
)

// laneOf is the lane with the longest wait that is not longer than left; the first one
// takes what has less.
func laneOf(leftMs int64) int {
	units := max(leftMs/laneUnitMs, 1)
	level := (bits.Len64(uint64(units)) - 1) / 3
	if level >= laneLevels {
		return lanes - 1
	}
	return level*laneDigits + int(units>>(3*level)) - 1
}

// laneWaitMs is how long messages stand in a lane.
func laneWaitMs(n int) int64 {
	return int64(n%laneDigits+1) << (3 * (n / laneDigits)) * laneUnitMs
}

// lane is one log of delayed messages as the mover goes through it. The mover has all of
// it to itself but hungry.
type lane struct {
	part   *Partition
	number int
	waitMs int64
	hungry atomic.Bool // the mover has seen all of it, and is to be woken by more

	loaded bool           // its floor is known
	floor  message.Offset // noted: what is below has moved on
	next   message.Offset // to be read
	moved  message.Offset // as floor, of the round under way

	buf     []byte // whole batches, our own copy
	rest    []byte // of buf, not begun
	batch   batch.Batch
	records message.Records // of batch, not decoded
	some    bool            // head is one
	fresh   bool            // something was put here in the round under way
	head    waiting

	// Without a head there may be one that has time, or that could not be read.
	sleepMs int64 // until when nobody looks at it
	sinceMs int64 // and since when, to see the clock set back
}

// waiting is one message of a lane; rec lies in the lane's buffer.
type waiting struct {
	rec    message.Record
	offset message.Offset
	putMs  int64 // since when it stands in the lane, which it may have come to later
	delay  message.Delay
	dueMs  int64
	extra  message.Headers // record headers behind lv.d
}

// A message's ref is the number of its lane and its offset there.
const refOffsetBits = 56

func (l *lane) ref(o message.Offset) uint64 { return uint64(l.number)<<refOffsetBits | uint64(o) }

func refOffset(ref uint64) message.Offset { return message.Offset(ref & (1<<refOffsetBits - 1)) }

const (
	laneReadBytes = 256 << 10
	keepLaneBytes = 1 << 20 // a larger buffer is given back when it was read
)

// readyMs is when the head is to be looked at: when it has stood for the lane's wait, or
// when it is due if that is little more.
func (l *lane) readyMs() int64 {
	stood := l.head.putMs + l.waitMs
	if l.head.dueMs < stood+laneUnitMs {
		return l.head.dueMs
	}
	return stood
}

// sleep leaves the lane alone until a time.
func (l *lane) sleep(nowMs, untilMs int64) { l.sleepMs, l.sinceMs = untilMs, nowMs }

// asleep says that there is nothing to do in the lane yet.
func (l *lane) asleep(nowMs int64) bool {
	return !l.some && (l.hungry.Load() || l.sleepMs > nowMs && l.sinceMs <= nowMs)
}

// fill makes the next message the head, if there is one.
func (l *lane) fill() error {
	l.sleepMs = 0
	for !l.some {
		more, err := l.decode()
		if err != nil {
			return err
		}
		if more {
			continue
		}
		if len(l.batch) > 0 {
			l.next = max(l.next, message.Offset(l.batch.LastOffset())+1)
		}
		if len(l.rest) == 0 {
			if more, err := l.load(); err != nil || !more {
				return err
			}
		}
		b, rest, err := batch.Next(l.rest)
		if err != nil {
			return err
		}
		l.batch, l.rest, l.records = b, rest, message.NewRecords(b.Records())
	}
	return nil
}

// decode takes a record from the batch; more says that there may be further ones.
func (l *lane) decode() (more bool, err error) {
	h := &l.head
	more, err = l.records.Next(&h.rec)
	if err != nil || !more {
		return more, err
	}
	h.offset = message.Offset(l.batch.BaseOffset()) + message.Offset(h.rec.OffsetDelta)
	if h.offset < l.next {
		return true, nil // has moved on, in an earlier process
	}
	h.putMs = l.batch.BaseTimestamp() + h.rec.TimestampDelta
	if h.delay, h.extra, err = h.rec.Delay(); err != nil {
		h.delay = message.Delay{DueMs: h.putMs} // can't be; nothing is kept for ever
	}
	h.dueMs = h.delay.DueMs
	if h.dueMs == 0 {
		h.dueMs = h.putMs + h.delay.AfterMs
	}
	l.next, l.some = h.offset+1, true
	return true, nil
}

// load reads what comes next in the log. Whoever appends after it found nothing wakes the mover.
func (l *lane) load() (some bool, err error) {
	if !l.loaded {
		if err := l.loadFloor(); err != nil {
			return false, err
		}
	}
	for range 2 {
		v, err := l.part.log.Read(l.next, laneReadBytes)
		if errors.Is(err, store.ErrOutOfRange) {
			start, end, err := l.part.log.Bounds()
			if err != nil || l.next >= start && l.next <= end {
				return false, err
			}
			l.next = min(max(l.next, start), end)
			continue
		}
		if err != nil {
			return false, err
		}
		if some, err = l.keep(v); some || err != nil || l.hungry.Swap(true) {
			return some, err
		}
	}
	return false, nil
}

// keep copies what was read, so that several lanes can be looked at side by side.
func (l *lane) keep(v store.View) (some bool, err error) {
	defer v.Done()
	if cap(l.buf) > keepLaneBytes {
		l.buf = nil
	}
	err = v.Use(func(data []byte) error {
		l.buf = append(l.buf[:0], data...)
		return nil
	})
	l.rest = l.buf
	return len(l.rest) > 0, err
}

// loadFloor finds how far an earlier process came.
func (l *lane) loadFloor() error {
	ctx, cancel := asking()
	defer cancel()
	st, err := l.part.log.LoadCursor(ctx)
	if err != nil {
		return err
	}
	l.loaded, l.floor, l.next, l.moved = true, st.Floor, st.Floor, st.Floor
	l.part.log.Release(l.floor)
	return nil
}

// take ends the head: it has moved on, when the round is committed.
func (l *lane) take() {
	l.moved, l.some = l.head.offset+1, false
}

// letGo gives back the memory of what was read. The head is read again when it has stood
// long enough; since it was put there the clock was not set back.
func (l *lane) letGo() {
	if l.some {
		l.sleep(l.head.putMs, l.readyMs())
		l.next = l.head.offset
	}
	l.buf, l.rest, l.batch, l.records, l.head, l.some = nil, nil, nil, message.Records{}, waiting{}, false
}

// giveUp forgets what was read and did not move on.
func (l *lane) giveUp() {
	l.letGo()
	l.next = l.moved
}

// rewind forgets what was read and not noted.
func (l *lane) rewind() {
	if l.hungry.Load() && l.moved == l.floor {
		return
	}
	l.letGo()
	l.next, l.moved = l.floor, l.floor
	l.hungry.Store(false)
	l.sleepMs = 0
}

// note has the store know how far the lane is.
func (l *lane) note() error {
	if l.moved == l.floor {
		return nil
	}
	err := l.part.log.Progress(l.moved, l.moved)
	if errors.Is(err, store.ErrFenced) {
		l.loaded = false // another process moves the rest
		return err
	}
	l.floor = l.moved
	l.part.log.Release(l.floor)
	return nil // the log tells of any other failure itself; what is not noted comes again after a crash
}
