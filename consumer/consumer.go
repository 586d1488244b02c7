package consumer

import (
	"cmp"
	"container/list"
	"slices"
	"sync/atomic"

	"github.com/leveret-mq/leveret/message"
)

// inboxLimit is how many messages may wait in a consumer's inbox.
const inboxLimit = 256

// ConsumerOptions say what a consumer may take.
type ConsumerOptions struct {
	Priority  int     // higher ones are served first
	Prefetch  int     // most unacked messages at a time; 0: no limit
	NoAck     bool    // messages count as acked when taken; prefetch does not apply
	Exclusive bool    // be the only consumer or fail
	Shared    *Credit // a further limit, shared with others; nil: none. With NoAck it takes none, and waits while there is none
	// Ranked says that the client takes from several cursors, the highest Rank first: it takes
	// nothing at one, nor deals to others there, while something is ready at a higher one.
	Ranked bool
	Rank   int
	// Wake says that there may be something to Take. It must not block nor call
	// into this package; a send to a channel of capacity one is right. It is
	// called at most once between two Takes, and maybe before Add returns.
	Wake func()
	// Busy, if there is one, says that a consumer which is woken now may not come for
	// a while; others are woken instead. It must not block nor call into this package.
	Busy func() bool
	// Drained, if there is one, is called after Cancel when the last message that the
	// consumer held is settled. It may call into this package.
	Drained func()
}

// Consumer is one consumer of a cursor. Its fields belong to the cursor's mutex.
type Consumer struct {
	cursor   *Cursor
	opts     ConsumerOptions
	level    *level
	held     int64 // messages that count against the prefetch, inbox included
	inbox    []Run // dealt by others, not yet taken: inbox[first:]
	first    int
	boxed    int64           // messages in the inbox
	links    [2]link         // in the rings of its level
	seats    []*list.Element // in the shared credit and those around it; of who adds and cancels
	inRing   bool            // in that of those whose turn comes
	full     bool            // out of the ring for a full inbox alone
	noShared bool            // out of the ring until the shared credit has some again
	waiting  bool            // its last Take found nothing; Wake will be called
	closed   bool
	paused   bool        // takes no part, and keeps what it took
	hasty    bool        // its last Take left what was ready to others; of its own goroutine
	took     atomic.Bool // shared credit, since the credit's members were put in order

	freeFrom message.Offset // where the log ended when it could take more again
	tookFrom message.Offset // what that was at its last Take; of its own goroutine
}

// level is the consumers of one priority. Those that can take more are in the ring
// of turns, whose head is next; one without credit or with a full inbox is out. Of
// these, the ones that wait are in the ring of waits too, the longest first.
type level struct {
	priority int
	members  int
	turns    ring
	waits    ring
	full     int    // out of the ring of turns for a full inbox alone
	lap      int    // turns left in this round
	turn     int64  // messages a turn in this round
	at       [2]int // places on the ladders; 0: not on it
}

// ring is the level's of that kind.
func (l *level) ring(kind int) *ring {
	if kind == turns {
		return &l.turns
	}
	return &l.waits
}

// Add makes a consumer. It is woken when there is something for it; it may as
// well Take at once. ErrExclusive and ErrInUse refuse it.
func (c *Cursor) Add(o ConsumerOptions) (*Consumer, error) {
	k := &Consumer{cursor: c, opts: o}
	if o.Shared != nil {
		o.Shared.join(k) // first, so that it hears of every release
	}
	c.mu.Lock()
	if err := c.admit(o); err != nil {
		c.mu.Unlock()
		if o.Shared != nil {
			o.Shared.leave(k)
		}
		return nil, err
	}
	k.level = c.levelOf(o.Priority)
	k.level.members++
	c.consumers++
	c.exclusive = o.Exclusive
	k.setWaiting(true)
	k.starves() // or it would be taken for free from now on, and have what expires before it is
	var w wakes
	c.untold = false // k tries again
	c.look()
	c.kick(&w)
	c.mu.Unlock()
	w.fire()
	return k, nil
}

func (c *Cursor) admit(o ConsumerOptions) error {
	if c.exclusive {
		return ErrExclusive
	}
	if o.Exclusive && c.consumers > 0 {
		return ErrInUse
	}
	return nil
}

func (c *Cursor) levelOf(priority int) *level {
	i, ok := slices.BinarySearchFunc(c.levels, priority, func(l *level, p int) int { return cmp.Compare(p, l.priority) })
	if !ok {
		c.levels = slices.Insert(c.levels, i, &level{priority: priority, turns: ring{kind: turns}, waits: ring{kind: waits}})
	}
	return c.levels[i]
}

// Cursor is what the consumer is one of.
func (k *Consumer) Cursor() *Cursor { return k.cursor }

// Cancel ends the consumer. What it was dealt and did not take is ready again in
// its place; what it took can still be settled with it. Canceling twice is fine.
func (k *Consumer) Cancel() {
	c := k.cursor
	var w wakes
	c.mu.Lock()
	if k.closed || k == &c.getter {
		c.mu.Unlock()
		return
	}
	k.closed = true
	k.setWaiting(false)
	k.place()
	freed := k.emptyInbox()
	if k.level.members--; k.level.members == 0 {
		c.levels = slices.DeleteFunc(c.levels, func(l *level) bool { return l == k.level })
		c.turning.remove(k.level)
		c.waiting.remove(k.level)
	}
	c.consumers--
	c.exclusive = false
	c.look()
	c.kick(&w)
	c.mu.Unlock()
	if k.opts.Shared != nil {
		k.opts.Shared.leave(k)
		k.freeShared(freed)
	}
	w.fire()
}

// Pause has a consumer take no part until Resume: what it was dealt and did not take is ready again in its place, and nothing
// is dealt to it. What it took stays its own.
func (k *Consumer) Pause() {
	c := k.cursor
	var w wakes
	c.mu.Lock()
	if k.closed || k.paused {
		c.mu.Unlock()
		return
	}
	k.paused = true
	k.setWaiting(false)
	freed := k.emptyInbox()
	k.place()
	c.look()
	c.kick(&w)
	c.mu.Unlock()
	k.freeShared(freed)
	w.fire()
}

// Resume ends Pause. Take at once after it: nothing wakes a consumer before that.
func (k *Consumer) Resume() {
	k.cursor.mu.Lock()
	defer k.cursor.mu.Unlock()
	if k.paused && !k.closed {
		k.paused = false
		k.place()
	}
}

// emptyInbox puts the inbox back and returns how many messages of it had credit.
func (k *Consumer) emptyInbox() int64 {
	c := k.cursor
	for _, r := range k.inbox[k.first:] {
		c.dealt.remove(r.First, r.Last)
		c.back.add(r.First, r.Last)
	}
	n := k.boxed
	k.inbox, k.first, k.boxed = nil, 0, 0
	if k.opts.NoAck {
		return 0
	}
	k.held -= n
	return n
}

// freeShared gives back shared credit; no mutex is held.
func (k *Consumer) freeShared(n int64) {
	if k.opts.Shared != nil && n > 0 && !k.opts.NoAck {
		k.opts.Shared.release(n)
		k.opts.Shared.wakeStarved()
	}
}

// room is how many more messages this consumer's own limits allow.
func (k *Consumer) room() int64 {
	if k.opts.Prefetch <= 0 || k.opts.NoAck {
		return 1 << 40
	}
	return int64(k.opts.Prefetch) - k.held
}

// TookFrom is from which offset on what the last Take gave came while the consumer could take it. Only who calls
// Take may ask.
func (k *Consumer) TookFrom() message.Offset { return k.tookFrom }

// place puts the consumer into its level's ring or takes it out, as its state says.
func (k *Consumer) place() {
	l := k.level
	can := !k.closed && !k.paused && !k.noShared && k.room() > 0
	if full := can && k.boxed >= inboxLimit; full != k.full {
		k.full = full
		if full {
			l.full++
		} else {
			l.full--
		}
	}
	can = can && !k.full
	if can == k.inRing {
		return
	}
	k.inRing = can
	if can {
		if k.boxed == 0 { // what is in the inbox it could take before
			_, k.freeFrom = k.cursor.src.Bounds()
		}
		l.turns.push(k)
		k.cursor.turning.add(l)
	} else {
		l.turns.pull(k)
	}
	if k.waiting {
		k.setHungry(can)
	}
}

// setHungry notes whether k waits and could take more.
func (k *Consumer) setHungry(yes bool) {
	if yes {
		k.level.waits.push(k)
		k.cursor.waiting.add(k.level)
		k.cursor.hungry.Add(1)
	} else {
		k.level.waits.pull(k)
		k.cursor.hungry.Add(-1)
	}
}

func (k *Consumer) setWaiting(on bool) {
	if k.waiting == on {
		return
	}
	k.waiting = on
	if k.inRing {
		k.setHungry(on)
	}
}

// creditBack lets the consumer try its shared credit again.
func (k *Consumer) creditBack() {
	var w wakes
	c := k.cursor
	c.mu.Lock()
	if k.noShared {
		k.noShared = false
		k.place()
		c.look()
		c.kick(&w)
	}
	c.mu.Unlock()
	w.fire()
}

// wakes are the consumers to be woken once the mutex is released.
type wakes struct {
	n    int
	list [8]*Consumer
}

// add wakes k if it waits: now, when the list is full.
func (w *wakes) add(k *Consumer) {
	if !k.waiting {
		return
	}
	k.setWaiting(false)
	if w.n == len(w.list) {
		k.wake()
		return
	}
	w.list[w.n] = k
	w.n++
}

func (w *wakes) fire() {
	for _, k := range w.list[:w.n] {
		k.wake()
	}
	w.n = 0
}

func (k *Consumer) wake() {
	if k.opts.Wake != nil {
		k.opts.Wake()
	}
}

// kick wakes one consumer if there is something to take: of those that wait, can and
// are not busy, the longest waiting of the highest priority. It will deal to the others.
// When all are busy all are woken, and the first that comes is the one.
func (c *Cursor) kick(w *wakes) {
	if c.hungry.Load() == 0 || !c.ready() {
		return
	}
	if l := c.waiting.top(); l != nil && !l.waits.head.busy() {
		w.add(l.waits.head)
		return
	}
	for _, l := range c.levels {
		for range l.waits.len {
			k := l.waits.head
			if !k.busy() {
				w.add(k)
				return
			}
			l.waits.head = l.waits.next(k) // the others first, also the next time
		}
	}
	for l := c.waiting.top(); l != nil; l = c.waiting.top() {
		w.add(l.waits.head)
	}
}

func (k *Consumer) busy() bool { return k.opts.Busy != nil && k.opts.Busy() }

// Pass has another consumer that waits woken in the place of this one, which was woken and
// can't come soon. It may come all the same.
func (k *Consumer) Pass() {
	c := k.cursor
	var w wakes
	c.mu.Lock()
	if !k.closed {
		k.setWaiting(true)
		c.look()
		c.kick(&w)
	}
	c.mu.Unlock()
	w.fire()
}

// Held is how many messages count against the consumer's prefetch.
func (k *Consumer) Held() int64 {
	k.cursor.mu.Lock()
	defer k.cursor.mu.Unlock()
	return k.held
}
