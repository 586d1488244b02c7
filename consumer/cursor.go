package consumer

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/leveret-mq/leveret/message"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrNotHeld    = errors.New("message was not handed out, or is settled already")
	ErrExclusive  = errors.New("queue has an exclusive consumer")
	ErrInUse      = errors.New("queue has other consumers")
	ErrDamaged    = errors.New("damaged cursor state")
	ErrNewerState = errors.New("cursor state of a newer version")
	// ErrWait is a Source's answer that it would have to wait for.
	ErrWait = errors.New("it would have to be waited for")
)

// Source is what a cursor needs of its log. Next and Records are called without the
// cursor's mutex, by several goroutines at a time, and wait for a disk only if they may.
// Bounds and Later are called with it, so they take no lock that is held around a
// cursor's method or over a read or a write, and return at once.
type Source interface {
	// Next is the first run of offsets at or after from that all exist: one
	// batch's worth or several. ok is false when there is none yet. When it may not
	// wait, ErrWait says that it would have to.
	Next(from message.Offset, wait bool) (first, last message.Offset, ok bool, err error)
	// Bounds are the first offset that can be read and the one after the last.
	Bounds() (start, end message.Offset)
	// Records counts the records in [from, to), of which to is the border of a batch.
	// exact is false, and n about right, when it may not wait and would have to.
	Records(from, to message.Offset, wait bool) (n int64, exact bool)
	// Later calls ask on another goroutine, for what Next would have to wait for.
	Later(ask func())
}

// State is a cursor at rest. Data may be older than Floor and Handed: they are
// cheap to keep for every turn, Data is not.
type State struct {
	Floor  message.Offset // everything below is acked
	Handed message.Offset // nothing from here on was ever handed out
	Data   []byte         // what AppendState wrote; empty: nothing was acked ahead
}

// Run is a run of messages without a hole between their offsets.
type Run struct {
	First, Last message.Offset // inclusive
	Redelivered bool           // someone may have seen all of them before
	Returned    int32          // how often each of them was returned
}

// Len is the number of messages in the run.
func (r Run) Len() int64 { return int64(r.Last-r.First) + 1 }

// Cursor is the one work cursor of a log: each message goes to one consumer. All
// methods are safe for concurrent use.
type Cursor struct {
	src Source
	// hungry counts the consumers that wait and could take more. Notify reads it
	// without the mutex; a consumer counts itself before it looks at the log's end
	// for the last time, so that no append is missed.
	hungry atomic.Int32
	lost   atomic.Int64 // see Lost

	mu       sync.Mutex // guards everything below
	pages    pages
	open     set            // in [floor, next) and not acked
	back     set            // subset of open: ready again
	dealt    set            // subset of open: in an inbox, not yet taken
	holding  set            // subset of open: on hold
	retries  *retries       // those that were and wait; nil: none
	returned returns        // how often open messages were returned
	next     message.Offset // first fresh offset
	end      message.Offset // of the log, as of this call
	handed   message.Offset // first offset that was never handed out
	old      message.Offset // below: possibly seen before New

	run     Run            // the run of the source that next is in, if runOK
	runOK   bool           //
	looking int            // calls of the source's Next that are under way
	asker   *Consumer      // whose Take waits for one of them; nil: nobody's
	fresh   int64          // messages in [next, counted)
	counted message.Offset //
	dealtN  int64          // fresh messages that were dealt since New
	skips   int64          // times that fresh messages were passed over

	levels    []*level // by priority, highest first; each has a member
	turning   ladder   // those with a consumer whose turn comes
	waiting   ladder   // those with one that waits and could take more
	consumers int
	exclusive bool
	getter    Consumer
	err       error // what the source failed with last
	untold    bool  // err came behind everybody's back: a Take is to tell it
}

// New makes the cursor of a log from the state it was left in. The zero State
// begins at the log's start. Offsets beyond the log's end, which a log that lost
// its tail leaves behind, are forgotten: they will be given out anew.
//
// With ErrDamaged or ErrNewerState the caller can report the damage and call New
// again without Data: everything above the floor is then delivered again.
func New(src Source, st State) (*Cursor, error) {
	saved, err := decodeState(st.Data)
	if err != nil {
		return nil, err
	}
	start, end := src.Bounds()
	floor := min(max(st.Floor, start), end)
	c := &Cursor{src: src, end: end}
	for _, s := range []*set{&c.open, &c.back, &c.dealt, &c.holding, &c.returned.once} {
		s.pages = &c.pages
	}
	c.returned.pages = &c.pages
	c.getter.cursor = c
	c.turning.kind, c.waiting.kind = turns, waits
	c.next = min(max(saved.next, floor), end)
	c.old = min(max(st.Handed, 0), end)
	c.handed = c.old
	c.restore(saved, floor)
	c.counted = c.next
	return c, nil
}

// restore takes over what of the saved sets lies in [floor, next).
func (c *Cursor) restore(saved savedState, floor message.Offset) {
	for i, s := range saved.sets {
		to := c.setAt(i)
		for first, last, ok := s.run(floor, 1<<62); ok && first < c.next; first, last, ok = s.run(last+1, 1<<62) {
			to.add(first, min(last, c.next-1))
			if i == 0 {
				c.back.add(first, min(last, c.next-1))
			}
		}
	}
}

// setAt is the i-th of the sets that AppendState writes.
func (c *Cursor) setAt(i int) *set {
	switch i {
	case 0:
		return &c.open
	case 1:
		return &c.returned.once
	}
	return c.returned.digit(i - 2)
}

// Ready is how many messages wait for a consumer. What was never counted is asked
// of the source, and the call may wait for that.
func (c *Cursor) Ready() int64 {
	n, _ := c.countReady(true)
	return n
}

// ReadyNow is Ready without waiting; exact is false when it is not known for certain.
func (c *Cursor) ReadyNow() (n int64, exact bool) { return c.countReady(false) }

func (c *Cursor) countReady(wait bool) (n int64, exact bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	n, exact = c.countFresh(wait)
	return c.back.count + n, exact
}

// Unacked is how many messages consumers hold, or have in their inboxes.
func (c *Cursor) Unacked() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open.count - c.back.count - c.holding.count - c.waitingCount()
}

// Progress is the offset below which everything is acked, and the one from which on
// nothing was ever handed out. It costs a few nanoseconds.
func (c *Cursor) Progress() (floor, handed message.Offset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	floor, ok := c.open.min()
	if !ok {
		floor = c.next
	}
	return floor, c.handed
}

// Err is what the source failed with when it was read last, nil if it did not.
// The next Take or Notify tries again.
func (c *Cursor) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Purge drops all messages that are ready or wait to be again, and says how many. What consumers hold
// or were dealt stays theirs. It counts as Ready does, and drops nothing when that is
// not wanted any more by the time it is done.
func (c *Cursor) Purge(wanted func() bool) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	fresh, _ := c.countFresh(true)
	if !wanted() {
		return 0
	}
	n := c.back.count + fresh + c.purgeRetries()
	for {
		first, last, ok := c.back.run(0, 1<<62)
		if !ok {
			break
		}
		c.back.remove(first, last)
		c.forget(first, last)
	}
	c.skipTo(c.counted)
	return n
}

// Get hands out the first ready message outside any consumer's turn (AMQP
// basic.get). It is settled with Getter. The call may wait for the source.
func (c *Cursor) Get() (Run, bool) {
	r, ok, _ := c.get(true)
	return r, ok
}

// GetNow is Get without waiting; known is false when Get would have to.
func (c *Cursor) GetNow() (r Run, ok, known bool) { return c.get(false) }

func (c *Cursor) get(wait bool) (r Run, ok, known bool) {
	var w wakes
	c.mu.Lock()
	c.err, c.untold = nil, false // try again
	if known = c.lookUpHead(&w, wait); known {
		r, ok = c.handOne()
	}
	c.kick(&w) // who came while the source was asked waits for the answer
	c.mu.Unlock()
	w.fire()
	return r, ok, known
}

// handOne hands out the first message that is known to be ready.
func (c *Cursor) handOne() (Run, bool) {
	r, back, ok := c.peek(1)
	if !ok {
		return Run{}, false
	}
	c.step(r, back)
	if !back {
		c.open.add(r.First, r.Last)
	}
	c.handed = max(c.handed, r.Last+1)
	c.getter.held++
	return r, true
}

// Idle reports whether nothing is ready, as far as is known without the source.
func (c *Cursor) Idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	return !c.dealable() && c.next >= c.end
}

// Wanted reports whether some consumer could take a message: what is ready is on its way then.
func (c *Cursor) Wanted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turning.top() != nil
}

// Getter is the handle by which what Get gave is acked and requeued. It never takes.
func (c *Cursor) Getter() *Consumer { return &c.getter }

// Notify says that the log grew. It wakes a consumer that could take more; when
// none waits it costs one atomic load.
func (c *Cursor) Notify() {
	if c.hungry.Load() == 0 {
		return
	}
	var w wakes
	c.mu.Lock()
	c.err, c.untold = nil, false
	c.look()
	c.kick(&w)
	c.mu.Unlock()
	w.fire()
}

// look notes the log's bounds, and forgets what retention took.
func (c *Cursor) look() {
	start, end := c.src.Bounds()
	c.end = end
	if start > c.next {
		c.loseFresh(start)
		c.skipTo(start)
	}
	if c.back.count == 0 {
		return
	}
	for low, _ := c.back.min(); c.back.count > 0 && low < start; low, _ = c.back.min() {
		first, last, _ := c.back.run(low, int64(start-low))
		c.lost.Add(c.back.remove(first, last))
		c.forget(first, last)
	}
}

// skipTo passes over fresh offsets that will not be dealt.
func (c *Cursor) skipTo(o message.Offset) {
	if o <= c.next {
		return
	}
	c.skips++
	c.next, c.runOK = o, false
	c.counted, c.fresh = o, 0 // counted again when someone asks
}

// peek gives the first ready run of at most limit messages and leaves it there.
func (c *Cursor) peek(limit int64) (r Run, back, ok bool) {
	if c.back.count > 0 {
		low, _ := c.back.min()
		r.First, r.Last, _ = c.back.run(low, limit)
		return c.flagged(r), true, true
	}
	if !c.known() {
		return Run{}, false, false
	}
	r.First, r.Last = c.next, min(c.run.Last, c.next+message.Offset(limit)-1)
	if r.First < c.old {
		r.Last, r.Redelivered = min(r.Last, c.old-1), true
	}
	return r, false, true
}

// flagged cuts a run that is back where the redelivered flag or the count of returns
// changes, and sets both.
func (c *Cursor) flagged(r Run) Run {
	if r.First < c.old {
		r.Last, r.Redelivered = min(r.Last, c.old-1), true
	}
	if c.returned.once.count == 0 {
		return r
	}
	n, last := c.returned.same(r.First, r.Last)
	r.Last, r.Returned = last, int32(n)
	r.Redelivered = r.Redelivered || n > 0
	return r
}

// step takes the run that peek gave out of what is ready.
func (c *Cursor) step(r Run, back bool) {
	if back {
		c.back.remove(r.First, r.Last)
		return
	}
	c.next = r.Last + 1
	c.dealtN += r.Len()
	if c.next >= c.counted {
		c.counted, c.fresh = c.next, 0
	} else {
		c.fresh -= r.Len()
	}
}

// forget ends the life of open messages: acked, dropped, purged.
func (c *Cursor) forget(first, last message.Offset) {
	c.open.remove(first, last)
	c.returned.forget(first, last)
	if c.open.count == 0 {
		c.pages.shrink(max(min(c.consumers, 2), 1)) // several use two: open and dealt
	}
}
