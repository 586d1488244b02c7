package broker

import (
	"errors"
	"slices"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/message"
)

// How much of one log is copied before it is the next one's turn.
const (
	turnMessages = 1 << 13
	turnBytes    = 4 << 20
)

// undertaker is one goroutine that copies dead letters.
type undertaker struct {
	of         *undertakers
	publishers map[*VHost]*Publisher
	list       []ended
	scribe     scribe
}

// carried is what a turn has dealt with: messages that were copied, have no place, or
// can't be read.
type carried struct {
	runs     []ended
	stay     []uint64 // offsets of those among them that could not be stored
	err      error    // why
	failed   bool     // it was no fault of theirs: nothing else is tried for a while
	lost     [Losses]int64
	unplaced [Reasons]int64 // of those that ended for a reason, how many went nowhere
}

// fates are what became of tracked messages that were not stored everywhere.
type fates struct {
	stay []uint64 // no queue has them
	lost int64    // copies that one queue did not take and others did
	err  error

	refused     int64 // messages that all their queues refused
	keepRefused bool  // those are to stay instead
}

// refuse notes that every queue of a message refused it.
func (f *fates) refuse(ref uint64) {
	if f.keepRefused {
		f.keep(ref, LostRefused)
	} else {
		f.refused++
	}
}

// keep notes that a message stays because there is no place for it.
func (f *fates) keep(ref uint64, why Loss) {
	f.stay = append(f.stay, ref)
	if f.err == nil {
		f.err = errors.New("there is no place for them: " + why.String())
	}
}

// publisher is the undertaker's own for a virtual host.
func (w *undertaker) publisher(v *VHost) *Publisher {
	p := w.publishers[v]
	if p == nil {
		p = v.newDeadPublisher()
		if w.publishers == nil {
			w.publishers = map[*VHost]*Publisher{}
		}
		w.publishers[v] = p
	}
	return p
}

// newDeadPublisher makes one of dead letters, of a session that may everything.
func (v *VHost) newDeadPublisher() *Publisher {
	p := v.NewInnerSession().NewPublisher()
	p.fates = &fates{}
	return p
}

// turn has what was copied the last time leave, and copies more.
func (w *undertaker) turn(p *Partition) {
	l := p.active().letters.Load()
	if done := l.takeCarried(); done != nil && !p.finish(l, done) {
		w.of.retry(p, l)
		return
	}
	p.recallLater(l)
	w.list = l.take(turnMessages, w.list[:0])
	if len(w.list) == 0 {
		if l.rest() {
			w.of.leave(p)
		} else {
			w.of.back(p)
		}
		return
	}
	c := w.copy(p, l)
	if c == nil {
		w.of.retry(p, l)
		return
	}
	w.of.turnOver()
	_ = w.publisher(p.q.vhost).Commit(func(err error) {
		if err != nil {
			c.stay, c.err, c.failed = nil, err, true
			c.lost, c.unplaced = [Losses]int64{}, [Reasons]int64{} // they are counted when they come again
			for _, e := range c.runs {
				for o := e.first; o <= e.last; o++ {
					c.stay = append(c.stay, uint64(o))
				}
			}
		}
		l.mu.Lock()
		l.carried = c
		l.mu.Unlock()
		w.of.back(p)
	})
}

// copy publishes the messages of the list. It is nil when nothing can be said of them:
// they wait again.
func (w *undertaker) copy(p *Partition, l *deadLetters) *carried {
	pub := w.publisher(p.q.vhost)
	s := &w.scribe
	s.begin(p, pub)
	rest, err := s.copy(w.list)
	c := s.out
	if s.torn { // the publisher was left in the middle of a message
		pub.Abandon()
		delete(w.publishers, p.q.vhost)
		l.putBack(append(c.runs, rest...), 0)
		p.lettersFailed(l, err)
		return nil
	}
	pub.Store()
	f := pub.fates
	c.stay, c.err, c.failed = f.stay, err, err != nil
	c.lost[LostRefused] += f.lost + f.refused
	c.unplaced[s.why] += f.refused
	if len(f.stay) > 0 {
		c.err = errors.Join(err, f.err)
	}
	*f = fates{}
	l.putBack(rest, 0)
	l.hadTurn(lenOf(w.list) - lenOf(rest))
	return c
}

// finish has what was copied leave, and what was not wait again: aside, or with ok false in
// front of all others, of which none is tried for a while.
func (p *Partition) finish(l *deadLetters, c *carried) (ok bool) {
	slices.Sort(c.stay)
	var back []ended
	for _, e := range c.runs {
		d := departure{part: p, cursor: e.cursor, why: e.why}
		first := e.first
		i, _ := slices.BinarySearch(c.stay, uint64(first))
		for ; i < len(c.stay) && message.Offset(c.stay[i]) <= e.last; i++ {
			o := message.Offset(c.stay[i])
			if first < o {
				d.runs = append(d.runs, consumer.Run{First: first, Last: o - 1})
			}
			back = append(back, ended{e.cursor, o, o, e.why})
			first = o + 1
		}
		if first <= e.last {
			d.runs = append(d.runs, consumer.Run{First: first, Last: e.last})
		}
		n := d.leave()
		if deathNames[e.why] != nil {
			c.unplaced[e.why] -= n
		}
	}
	for why, n := range c.unplaced {
		if n < 0 {
			p.q.vhost.b.counters.DeadLettered[why].Add(uint64(-n))
		}
	}
	for why, n := range c.lost {
		p.letterLost(Loss(why), n)
	}
	if back = joined(back); c.failed {
		l.putBack(back, lenOf(back))
	} else if l.setAside(back, c.err, p.q.vhost.b.opts.Now()) {
		l.tries = 0
		return true
	}
	p.lettersFailed(l, c.err)
	return false
}

// joined joins runs that meet.
func joined(list []ended) []ended {
	out := list[:0]
	for _, e := range list {
		if n := len(out); n > 0 && out[n-1].cursor == e.cursor && out[n-1].why == e.why && out[n-1].last+1 == e.first {
			out[n-1].last = e.last
			continue
		}
		out = append(out, e)
	}
	return out
}

// lettersFailed notes that letters wait for another try.
func (p *Partition) lettersFailed(l *deadLetters, err error) {
	l.tries++
	p.tellFailed(l.tries, err)
}

// tellFailed tells now and then that so many tries have failed.
func (p *Partition) tellFailed(tries int, err error) {
	if tries > 1 && tries%10 != 0 {
		return
	}
	p.q.vhost.b.opts.Log.Error("dead letters can't be stored and stay in their queue; it is tried again", "queue", p.q.Name,
		"exchange", string(p.q.Settings().DeadLetterExchange), "error", err)
}
