package consumer

import "cmp"

const (
	maxTurn   = 64   // messages a turn under a large backlog
	fairTake  = 256  // most for one Take while the others' inboxes are full
	dealLimit = 1024 // most for others in one Take
)

// Take gives this consumer its turn and appends what it may deliver now, at most
// max messages, to into. First comes what others dealt to it; then it deals, to
// others too. Its caller goes on to Take until it gets nothing: only then will
// Wake be called, once, when there is something again.
//
// What is appended is handed out: it counts against the prefetch until it is
// settled, or is settled already for a NoAck consumer. Runs of one call are joined
// where they meet. Take does not allocate unless into grows.
//
// When nothing that is ready is known, one of the consumers asks the source, without
// the mutex; the others find nothing and are woken with the answer. So is that one,
// when the source would have to wait for a disk. Nobody asks who has something to
// deliver.
func (k *Consumer) Take(max int, into []Run) []Run {
	if max <= 0 {
		return into
	}
	c := k.cursor
	var w wakes
	c.mu.Lock()
	if k.closed || k == &c.getter {
		c.mu.Unlock()
		return into
	}
	k.setWaiting(false)
	k.hasty = false
	d := dealing{c: c, k: k, want: int64(max), into: into, base: len(into)}
	if !c.untold {
		c.err = nil // try again
	}
	c.untold = false
	c.look()
	k.tookFrom = k.freeFrom
	d.collect()
	if k.opts.Ranked && k.starves() {
		k.setWaiting(d.taken == 0)
		c.kick(&w)
		c.mu.Unlock()
		w.fire()
		return d.into
	}
	d.deal(&w)
	for d.taken == 0 && !k.closed {
		if k.inRing && c.looking == 0 && c.unknown() && !k.starves() { // who may have nothing asks no disk
			c.asker = k
			if !c.lookUp(&w, false) {
				c.askLater()
			}
			c.asker = nil
			if k.boxed > 0 { // dealt by others before they saw it ask
				d.collect()
			}
			d.deal(&w)
			continue
		}
		k.setWaiting(true)
		if !k.inRing {
			break
		}
		if _, end := c.src.Bounds(); end <= c.end { // a later append sees that we wait
			break
		}
		k.setWaiting(false)
		c.look()
		d.deal(&w)
	}
	k.hasty = d.others >= dealLimit || k.opts.Ranked && k.waiting && k.inRing && c.looking > 0
	c.kick(&w)
	c.mu.Unlock()
	w.fire()
	return d.into
}

// starves says whether a consumer has no shared credit, before anything is dealt: one of
// several ranks that has none must leave what is here to those who look at higher ranks first.
func (k *Consumer) starves() bool {
	s := k.opts.Shared
	k.noShared = s != nil && s.short()
	k.place()
	return k.noShared
}

// Hasty says whether the last Take ended although something was ready that the consumer
// could have taken: it had dealt much to others, or, where it is of several ranks, the source
// is being asked. It is woken again. Only who calls Take may ask.
func (k *Consumer) Hasty() bool { return k.hasty }

// dealing is one call of Take.
type dealing struct {
	c      *Cursor
	k      *Consumer
	want   int64 // messages that k still takes
	taken  int64
	others int64 // messages dealt to others
	into   []Run
	base   int   // length of into before this call
	inbox  int64 // most that an inbox takes, if it is not inboxLimit
}

// collect takes what is in the inbox.
func (d *dealing) collect() {
	k := d.k
	for k.boxed > 0 && d.want > 0 {
		r := k.inbox[k.first]
		if r.Len() > d.want {
			r.Last = r.First + offset(d.want) - 1
			k.inbox[k.first].First = r.Last + 1
		} else {
			k.first++
		}
		k.boxed -= r.Len()
		d.c.dealt.remove(r.First, r.Last)
		if k.opts.NoAck {
			d.c.forget(r.First, r.Last)
		}
		d.hand(r)
	}
	if k.boxed == 0 || k.first > len(k.inbox)/2 {
		k.inbox, k.first = k.inbox[:copy(k.inbox, k.inbox[k.first:])], 0
	}
	k.place()
}

// hand gives a run to the caller.
func (d *dealing) hand(r Run) {
	d.c.handed = max(d.c.handed, r.Last+1)
	d.into = appendRun(d.into, d.base, r)
	d.taken += r.Len()
	d.want -= r.Len()
}

// appendRun appends r, or lets the last run grow if r continues it.
func appendRun(runs []Run, base int, r Run) []Run {
	if n := len(runs); n > base && runs[n-1].Last+1 == r.First && runs[n-1].Redelivered == r.Redelivered && runs[n-1].Returned == r.Returned {
		runs[n-1].Last = r.Last
		return runs
	}
	return append(runs, r)
}

// deal gives out turns until k has enough or nothing is left to give or to take.
func (d *dealing) deal(w *wakes) {
	for d.want > 0 && d.c.dealable() {
		l := d.c.topLevel()
		if l == nil {
			return
		}
		k := l.turns.head
		if !d.mayGive(l, k) {
			return
		}
		n := d.give(k, d.turn(l, k))
		if n > 0 && k != d.k {
			d.others += n
			w.add(k)
		}
		if n == 0 && k.inRing && !k.noShared {
			return // nothing was there after all
		}
		if k.inRing && l.turns.head == k {
			l.turns.head = l.turns.next(k) // the next one's turn
		}
	}
}

// mayGive bounds what one Take does for others, and what k takes while others have
// credit but had no time to empty their inboxes.
func (d *dealing) mayGive(l *level, k *Consumer) bool {
	if k != d.k {
		return d.others < dealLimit
	}
	return l.full == 0 || d.taken < fairTake
}

// topLevel is the highest priority at which someone can take, with that one at its
// head. Nothing is dealt to who waits for the source: it could not come for it.
func (c *Cursor) topLevel() *level {
	if l := c.turning.top(); l == nil || l.turns.head != c.asker {
		return l
	}
	for _, l := range c.levels {
		if l.turns.len > 1 && l.turns.head == c.asker {
			l.turns.head = l.turns.next(c.asker)
		}
		if l.turns.len > 0 && l.turns.head != c.asker {
			return l
		}
	}
	return nil
}

// turn is how many messages k may have before it is the next one's turn. It stays
// the same for a round, and shrinks to one as the backlog does, so that shares
// come out even.
func (d *dealing) turn(l *level, k *Consumer) int64 {
	if k == d.k && l.turns.len == 1 && l.full == 0 {
		return d.want
	}
	backlog := d.c.back.count + max(int64(d.c.end-d.c.next), 0)
	fair := min(max(backlog/int64(16*l.turns.len), 1), maxTurn)
	if l.lap <= 0 {
		l.lap, l.turn = l.turns.len, fair
	}
	l.lap--
	return min(l.turn, fair)
}

// give deals up to n messages to k: to the caller, or to another's inbox. It says
// how many, and takes k out of the ring when it can take no more.
func (d *dealing) give(k *Consumer, n int64) int64 {
	n = min(n, k.room())
	if k == d.k {
		n = min(n, d.want)
	} else {
		n = min(n, cmp.Or(d.inbox, inboxLimit)-k.boxed)
	}
	var given int64
	for given < n {
		r, back, ok := d.c.peek(n - given)
		if !ok {
			break
		}
		if !k.takeShared(&r) {
			break
		}
		d.c.step(r, back)
		d.put(k, r, back)
		given += r.Len()
	}
	if !k.opts.NoAck {
		k.held += given
	}
	k.place()
	return given
}

// takeShared takes credit for a run, which shrinks to what there is. It says whether there was any.
func (k *Consumer) takeShared(r *Run) bool {
	s := k.opts.Shared
	switch {
	case s == nil:
		return true
	case k.opts.NoAck:
		k.noShared = s.short()
	default:
		got := s.take(r.Len())
		r.Last = r.First + offset(got) - 1
		if k.noShared = got == 0; !k.noShared && !k.took.Load() {
			k.took.Store(true)
		}
	}
	return !k.noShared
}

// put books one run that was taken out of what is ready.
func (d *dealing) put(k *Consumer, r Run, back bool) {
	c := d.c
	if k != d.k {
		if !back {
			c.open.add(r.First, r.Last)
		}
		c.dealt.add(r.First, r.Last)
		k.inbox = appendRun(k.inbox, k.first, r)
		k.boxed += r.Len()
		return
	}
	switch {
	case k.opts.NoAck && back:
		c.forget(r.First, r.Last)
	case !k.opts.NoAck && !back:
		c.open.add(r.First, r.Last)
	}
	d.hand(r)
}
