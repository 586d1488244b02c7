package txn

import (
	"errors"
	"time"

	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// About what is taken in memory, here and in the table that keeps it.
const (
	idBytes   = 760 // by an id beside its name
	partBytes = 96  // by a partition that takes part; its topic's name is the topic's own

	// maxTxnBytes bounds one transaction: what is kept of it is written as a whole.
	maxTxnBytes = 32 << 20
	// fullEvery is the time between two lines of the log that there is no room.
	fullEvery = time.Minute
)

func groupBytes(name string) int64 { return int64(64 + len(name)) }

func offsetBytes(ch *group.Change) int64 {
	return ch.Offset.Bytes() + int64(100+2*len(ch.Group)+2*len(ch.Topic))
}

// size is about how many bytes an id takes with its transaction. A name is escaped in the table's key.
func (t *txn) size() int64 {
	n := int64(idBytes+4*len(t.id)) + int64(len(t.parts))*partBytes
	for name := range t.groups {
		n += groupBytes(name)
	}
	for _, ch := range t.offsets {
		n += offsetBytes(&ch)
	}
	return n
}

// take counts n bytes more for an id, or returns none if there is no room, and 14 if asking again helps. mu is held.
func (c *Coordinator) take(t *txn, n int64, none wire.Code) wire.Code {
	if c.closed {
		return wire.CoordinatorNotAvailable
	}
	if c.bytes+n > c.opts.MaxBytes || t.owner != nil && t.owner.bytes+n > t.owner.most(c.opts.MaxBytes) {
		c.refuses(t.id)
		return none
	}
	if c.opts.Memory != nil {
		if err := c.opts.Memory.Try(n); errors.Is(err, group.ErrLater) {
			return wire.CoordinatorLoadInProgress
		} else if err != nil {
			c.refuses(t.id)
			return none
		}
	}
	c.counts(t, n)
	return wire.None
}

// mayTake is take for one who has only the id's lock.
func (c *Coordinator) mayTake(t *txn, n int64, none wire.Code) wire.Code {
	if n == 0 {
		return wire.None
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.take(t, n, none)
}

// insist counts what was there before a restart, if there is room: it is there in any case. mu is held.
func (c *Coordinator) insist(t *txn) {
	n := t.size() - t.bytes
	if n <= 0 || c.opts.Memory != nil && c.opts.Memory.Try(n) != nil {
		return
	}
	c.counts(t, n)
}

// recount gives back what the id, which is locked, takes no more.
func (c *Coordinator) recount(t *txn) { c.give(t, t.bytes-t.size()) }

func (c *Coordinator) give(t *txn, n int64) {
	if n <= 0 {
		return
	}
	c.mu.Lock()
	c.counts(t, -n)
	c.mu.Unlock()
	if c.opts.Memory != nil {
		c.opts.Memory.Give(n)
	}
}

// refuses tells of what is refused. mu is held.
func (c *Coordinator) refuses(id string) {
	c.tell(&c.told, "a transactional id is refused, or has its transaction aborted: there are too many ids, or they take too much memory. "+
		"Those that nobody uses are forgotten after their time (--kafka-transactional-id-expiration)", id)
}

// tell says in the log, now and then, that there is no room. mu is held.
func (c *Coordinator) tell(told *time.Time, text, id string, more ...any) {
	if now := time.Now(); now.Sub(*told) >= fullEvery {
		*told = now
		c.opts.Logger.Warn(text, append([]any{"id", id, "ids", len(c.byID), "bytes", c.bytes}, more...)...)
	}
}
