package amqp

import (
	"sync"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/unacked"
)

// Messages that a client holds for longer than its queue or its consumer allows (x-consumer-timeout) go back
// to their queue, and nothing else happens: the channel lives, and a verdict that comes later is taken and has
// no effect. There is no timer and no memory for a message. One goroutine of the server looks at the channels
// that have got such messages, while there are any, and notes each time how far their delivery tags are: what
// has a tag up to such a mark was handed out before it.
//
//	time   ──┬────────┬────────┬────────┬─► now
//	marks    40       70       70       95      what is unacked up to 70 is as old as the second mark at least
//
// So it costs a look at what is over its time, and nothing where nobody asks for it.
type overdue struct {
	mu       sync.Mutex // guards the rest; a leaf
	channels map[*channel]struct{}
	running  bool
}

const (
	// overdueEvery is the time between two looks.
	overdueEvery = 500 * time.Millisecond
	// markShare is how far apart marks stand: that share of their age, so that few do for any time and a
	// message goes back late by that share of it at most.
	markShare = 32
	// overdueTell is the time between two lines of the log.
	overdueTell = 10 * time.Second
)

// tagMark says that no tag above it was given out at a time.
type tagMark struct {
	at  time.Time
	tag uint64
}

// watch has a channel looked at from now on. mu is held, and at that the channel's alone.
func (ch *channel) watchOverdue(limit time.Duration) {
	if limit <= 0 {
		return
	}
	ch.longest = max(ch.longest, limit)
	s := ch.c.s
	o := &s.overdue
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.channels == nil {
		o.channels = map[*channel]struct{}{}
	}
	o.channels[ch] = struct{}{}
	if !o.running {
		o.running = true
		go s.lookForOverdue()
	}
}

// forgetOverdue is called when the channel is gone.
func (ch *channel) forgetOverdue() {
	if ch.longest == 0 {
		return
	}
	o := &ch.c.s.overdue
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.channels, ch)
}

// lookForOverdue looks until there is no channel to look at.
func (s *Server) lookForOverdue() {
	tick := time.NewTicker(overdueEvery)
	defer tick.Stop()
	var list []*channel
	var told time.Time
	untold := 0
	for {
		select {
		case <-s.stopping.Done():
			return
		case <-tick.C:
		}
		o := &s.overdue
		list = list[:0]
		o.mu.Lock()
		for ch := range o.channels {
			list = append(list, ch)
		}
		if len(list) == 0 {
			o.running = false
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		now := time.Now()
		for _, ch := range list {
			n, queue := ch.returnOverdue(now)
			if n == 0 {
				continue
			}
			s.opts.Broker.Counters().Overdue.Add(uint64(n))
			if untold += n; now.Sub(told) >= overdueTell {
				ch.c.log.Warn("messages were not acked in time (x-consumer-timeout) and are back in their queues", "messages", untold, "queue", queue)
				told, untold = now, 0
			}
		}
	}
}

// returnOverdue gives back what the channel holds for too long, and says how many messages they were, and of
// which queue one of them.
func (ch *channel) returnOverdue(now time.Time) (n int, queue string) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.mark(now)
	n = ch.unacked.Overdue(func(l unacked.Lease) uint64 {
		lease, ok := l.(*broker.Lease)
		if !ok || lease.Timeout() <= 0 {
			return 0
		}
		tag := ch.tagAt(now.Add(-lease.Timeout()))
		if tag > 0 {
			queue = lease.Partition().Queue().Name
		}
		return tag
	})
	ch.unacked.Tell()
	return n, queue
}

// mark notes how far the tags are. Of the marks that are older than any limit only the last is of use.
func (ch *channel) mark(now time.Time) {
	m := ch.marks
	if tag := ch.unacked.Last(); len(m) == 0 || m[len(m)-1].tag != tag {
		m = append(m, tagMark{now, tag})
	}
	kept := m[:0]
	for i, k := range m {
		last := i == len(m)-1
		switch {
		case !last && !m[i+1].at.After(now.Add(-ch.longest)):
		case !last && len(kept) > 0 && m[i+1].at.Sub(kept[len(kept)-1].at) <= now.Sub(m[i+1].at)/markShare:
		default:
			kept = append(kept, k)
		}
	}
	ch.marks = kept
}

// tagAt is the last tag that was given out at a time or before, as far as is known.
func (ch *channel) tagAt(at time.Time) (tag uint64) {
	for _, m := range ch.marks {
		if m.at.After(at) {
			break
		}
		tag = m.tag
	}
	return tag
}
