package broker

import (
	"time"

	"github.com/leveret-mq/leveret/message"
)

// A queue may have what comes back wait before it is ready again (x-delayed-retry-*), the
// longer the more often it came back. What waits is the cursor's (consumer/retries.go); the
// broker looks at such a queue when the first of it is due, by the one timer of punctual.go,
// whose clock nobody sets. After a restart all of it is ready at once.
//
//	Lease.Requeue, Fail ─► requeueLater ─► punctual ─► retryDue ─► ready
//	                          the cursor ───────────────┘

// retries says whether what comes back waits.
func (s *Settings) retries(failed bool) bool {
	return s.RetryMinMs > 0 && (failed && s.RetryFailed || !failed && s.RetryReturned)
}

// retryAfter is for how many ms, of what came back that often.
func (s *Settings) retryAfter(returns int) int64 {
	return min(s.RetryMinMs*int64(max(returns, 1)), max(s.RetryMaxMs, s.RetryMinMs))
}

// requeueLater has messages that came back wait.
func (l *Lease) requeueLater(first, last message.Offset) error {
	x := &l.part.q.vhost.b.punctual
	now := x.now().Milliseconds()
	next, err := l.member.RequeueLater(first, last, now, l.part.q.Settings().retryAfter)
	if err == nil {
		x.put(l.part, &l.part.active().retry, time.Duration(next-now)*time.Millisecond, (*Partition).retryDue)
	}
	return err
}

// retrying counts the messages that wait.
func (q *Queue) retrying() (n int64) {
	for _, p := range q.inTurn() {
		if c := p.cursor.Load(); c != nil {
			n += c.Retrying()
		}
	}
	return n
}

// retryDue makes ready what is due, and looks again when more is.
func (p *Partition) retryDue() {
	c := p.cursor.Load()
	if c == nil {
		return // another process has it, and all of it ready
	}
	x := &p.q.vhost.b.punctual
	next, more := c.RetryDue(x.now().Milliseconds())
	if more {
		x.put(p, &p.active().retry, time.Duration(next-x.now().Milliseconds())*time.Millisecond, (*Partition).retryDue)
	}
	if e := p.expiry.Load(); e != nil {
		e.headMoved(p)
	}
	p.cameBack()
}
