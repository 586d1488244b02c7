package broker

import (
	"sync"
	"time"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/message"
)

// What expires, is rejected or goes for a limit in a queue with a dead-letter exchange is
// copied there before it leaves: through the log, a run after the other, by a few
// goroutines of the broker's own.
//
//	who ends it ── depart ─► on hold ─► waiting ─► undertaker ─► read, written, stored ─► committed ─► leaves
//	                                       ▲                                                │
//	                                       └──── aside: what could not be stored, a while ◄─┘
//
// Until it leaves, a message is in its queue: after a kill it is ready there again, and
// there may be a copy. The letters of one log are copied one turn at a time, so that their
// order is kept; logs take turns. Nobody who ends messages waits for any of this.
//
// A message for which there is no place (the exchange is missing, nothing is bound, the
// queue there refuses it) is dropped as in RabbitMQ, counted and told in the log; the
// quorum queue's at-least-once strategy keeps it. What could not be stored always stays,
// and is tried again; it is in nobody's way: see aside.go.

// deadLetters are those of one log.
type deadLetters struct {
	mu      sync.Mutex // a leaf
	waiting []ended    // in the order in which they ended
	throng  *throng    // behind these, if they are many runs; nil: none
	busy    bool       // an undertaker comes, is here, or waits for the commit or another try
	carried *carried   // stored, and to leave
	tries   int        // that failed since the last that did not
	givenUp bool       // their queue is gone, and its log
	aside   aside
	added   int64 // how many came to wait
	turned  int64 // how many of these had their turn and do not wait again

	lost     [Losses]int64 // letters that nobody was told of yet
	lostTold time.Time     // when somebody was; the saver's
}

// ended is a run of messages on hold.
type ended struct {
	cursor      *consumer.Cursor
	first, last message.Offset
	why         Reason
}

func (e *ended) len() int64 { return int64(e.last-e.first) + 1 }

// lenOf is how many messages runs have.
func lenOf(list []ended) (n int64) {
	for i := range list {
		n += list[i].len()
	}
	return n
}

// Loss says why a dead letter, or a delayed message, has no place.
type Loss uint8

// The losses.
const (
	LostExchange Loss = iota // the dead-letter exchange does not exist
	LostUnbound              // no queue is bound to it for the key
	LostCycle                // it would go round in a circle in which nobody rejects it
	LostRefused              // a queue there did not take it
	LostSource               // its queue was deleted before it could be stored

	Losses // how many there are
)

var lossNames = [Losses]string{"no_exchange", "no_queue", "cycle", "refused", "source_deleted"}

// String is the loss's name in metrics.
func (l Loss) String() string { return lossNames[l] }

// deathNames are the reasons for which messages become dead letters, as x-death has them.
var deathNames = [Reasons][]byte{Expired: []byte("expired"), Rejected: []byte(message.Rejected),
	LengthLimit: []byte("maxlen"), DeliveryLimit: []byte("delivery_limit")}

// DelayLosses are those for which delayed messages are dropped.
func DelayLosses() []Loss { return []Loss{LostUnbound, LostRefused} }

// DeathReasons are those for which messages become dead letters.
func DeathReasons() []Reason { return []Reason{Expired, Rejected, LengthLimit, DeliveryLimit} }

// copied says whether messages that end for a reason are dead letters.
func (s *Settings) copied(why Reason) bool {
	return s.DeadLetterExchange != nil && deathNames[why] != nil
}

// lettersOf are the dead letters, made if there are none.
func (a *activePart) lettersOf() *deadLetters {
	if l := a.letters.Load(); l != nil {
		return l
	}
	a.letters.CompareAndSwap(nil, new(deadLetters))
	return a.letters.Load()
}

// die hands messages that are on hold to the undertakers.
func (d *departure) die() (n int64) {
	if len(d.runs) == 0 {
		return 0
	}
	p := d.part
	l := p.active().lettersOf()
	l.mu.Lock()
	for _, r := range d.runs {
		l.add(ended{d.cursor, r.First, r.Last, d.why})
		n += r.Len()
	}
	begin := !l.busy
	l.busy = true
	l.mu.Unlock()
	if begin {
		p.q.vhost.b.undertakers.call(p)
	}
	return n
}

// add puts a run behind the others; mu is held.
func (l *deadLetters) add(e ended) {
	l.added += e.len()
	if l.throng != nil || len(l.waiting) >= maxWaiting {
		l.throngIn(e)
		return
	}
	if n := len(l.waiting); n > 0 {
		if at := &l.waiting[n-1]; at.cursor == e.cursor && at.why == e.why && at.last+1 == e.first {
			at.last = e.last
			return
		}
	}
	l.waiting = append(l.waiting, e)
}

// take takes up to limit messages from the front.
func (l *deadLetters) take(limit int64, into []ended) []ended {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.throngOut()
	}
	for limit > 0 && len(l.waiting) > 0 {
		e := l.waiting[0]
		if e.len() > limit {
			e.last = e.first + message.Offset(limit) - 1
			l.waiting[0].first = e.last + 1
		} else {
			l.waiting = l.waiting[1:]
		}
		limit -= e.len()
		into = append(into, e)
	}
	if len(l.waiting) == 0 {
		l.waiting = nil
	}
	return into
}

// putBack puts runs before all others again, of which so many messages had their turn in vain.
func (l *deadLetters) putBack(list []ended, had int64) {
	if len(list) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(append(make([]ended, 0, len(list)+len(l.waiting)), list...), l.waiting...)
	l.turned -= had
}

// hadTurn notes that so many messages had their turn.
func (l *deadLetters) hadTurn(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turned += n
}

// takeCarried is what a turn before has copied, nil if there is nothing.
func (l *deadLetters) takeCarried() *carried {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.carried
	l.carried = nil
	return c
}

// retryAfter is how long to wait when so many tries have failed.
func retryAfter(tries int) time.Duration {
	return min(firstRetry<<min(tries-1, 10), lastRetry)
}

// rest ends the work on the log, unless there is more of it.
func (l *deadLetters) rest() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = len(l.waiting) > 0 || l.throng != nil
	if !l.busy && len(l.aside.list) == 0 {
		l.aside.tries = 0
	}
	return !l.busy
}

// lettersUnderWay says whether letters of the log are still to be copied.
func (p *Partition) lettersUnderWay() bool {
	a := p.inUse.Load()
	if a == nil || a.letters.Load() == nil {
		return false
	}
	l := a.letters.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.busy || len(l.aside.list) > 0
}

// dropLetters gives up those of a queue that is gone, which could not be copied in time:
// what waits now, and what is under way when it comes back.
func (p *Partition) dropLetters() {
	l := p.active().letters.Load()
	l.mu.Lock()
	n := lenOf(l.aside.list) + lenOf(l.waiting) + l.throng.len()
	l.waiting, l.throng, l.aside.list, l.givenUp = nil, nil, nil, true
	l.mu.Unlock()
	if n > 0 && !p.q.vhost.Gone() { // with which their places went
		p.q.vhost.b.counters.DeadLettersLost[LostSource].Add(uint64(n))
		p.q.vhost.b.opts.Log.Error("a queue was deleted, and its dead letters that could not be stored went with it", "queue", p.q.Name, "messages", n)
	}
}

// areGivenUp says whether nobody may wait for the letters any more.
func (l *deadLetters) areGivenUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.givenUp
}

const (
	maxUndertakers = 4
	// firstRetry is how long a log waits whose letters could not be stored; it doubles up to lastRetry.
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	// buryTimeout is how long a broker that stops, and the log of a queue that is gone, wait for
	// its dead letters.
	buryTimeout = 5 * time.Second
)

// undertakers are the goroutines that copy dead letters. They come when there are any.
type undertakers struct {
	b *Broker

	mu     sync.Mutex // guards the rest
	crew   crew
	moving map[*Partition]int // logs that are listed, worked on or being committed; twice when called for while they leave
	closed bool               // none comes any more
	idle   chan struct{}      // closed when nothing is moving; nil: nobody waits
	turned chan struct{}      // closed when a turn is over; nil: nobody waits
}

// call has the letters of a log copied.
func (u *undertakers) call(p *Partition) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.moving == nil {
		u.moving = map[*Partition]int{}
	}
	u.moving[p]++
	u.enlist(p)
}

// enlist puts a log behind the others whose turn comes; mu is held.
func (u *undertakers) enlist(p *Partition) {
	if !u.closed && u.crew.enlist(p, maxUndertakers) {
		go u.work()
	}
}

// back is call for a log that is moving already.
func (u *undertakers) back(p *Partition) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.enlist(p)
}

// leave notes that a log rests.
func (u *undertakers) leave(p *Partition) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.moving[p]--; u.moving[p] == 0 {
		delete(u.moving, p)
	}
	u.tellTurn()
	if len(u.moving) == 0 && u.idle != nil {
		close(u.idle)
		u.idle = nil
	}
}

// retry calls for a log again in a while.
func (u *undertakers) retry(p *Partition, l *deadLetters) {
	after := retryAfter(l.tries)
	u.leave(p)
	if l.areGivenUp() {
		p.dropLetters()
		return
	}
	time.AfterFunc(after, func() { u.call(p) })
}

// work takes turns until none is left.
func (u *undertakers) work() {
	w := undertaker{of: u}
	for p := u.next(); p != nil; p = u.next() {
		w.turn(p)
	}
}

func (u *undertakers) next() *Partition {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.crew.next(u.closed)
}

// close lets what is under way be copied, for a while, and ends the work.
func (u *undertakers) close() {
	u.mu.Lock()
	idle := make(chan struct{})
	if len(u.moving) == 0 {
		close(idle)
	} else {
		u.idle = idle
	}
	u.mu.Unlock()
	t := time.NewTimer(buryTimeout)
	defer t.Stop()
	select {
	case <-idle:
	case <-t.C:
	}
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
}

// letterLost counts letters that have no place.
func (p *Partition) letterLost(why Loss, n int64) {
	if n == 0 {
		return
	}
	p.q.vhost.b.counters.DeadLettersLost[why].Add(uint64(n))
	l := p.active().lettersOf()
	l.mu.Lock()
	l.lost[why] += n
	l.mu.Unlock()
	p.q.vhost.b.markDirty(p)
}

// tellLost says how many dead letters were dropped since it said so last. It belongs to
// the saver, as tellSpent does.
func (p *Partition) tellLost(now time.Time) {
	l := p.active().letters.Load()
	if l == nil {
		return
	}
	l.mu.Lock()
	lost := l.lost
	due := now.Sub(l.lostTold) >= tellEvery
	if due {
		l.lost = [Losses]int64{}
	}
	l.mu.Unlock()
	if lost == [Losses]int64{} {
		return
	}
	b := p.q.vhost.b
	if !due {
		b.markDirty(p)
		return
	}
	l.lostTold = now
	for why, n := range lost {
		if n > 0 {
			b.opts.Log.Warn("dead letters are dropped: there is no place for them", "queue", p.q.Name,
				"exchange", string(p.q.Settings().DeadLetterExchange), "messages", n, "why", Loss(why).String())
		}
	}
}
