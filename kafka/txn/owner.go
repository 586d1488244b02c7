package txn

import (
	"container/list"
	"time"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// owner is a user's ids: those that the user was the last to begin with (Init). Whose they are is not kept, so after a restart they are
// of nobody until their producers begin anew. Coordinator.mu guards it.
//
// Where there is no room for one more, the user who has most gives up the one that was not used for longest and has no transaction,
// as if its time were over: its producer hears 49 and begins anew. So one who fills a virtual host loses ids of one's own, and
// not others theirs. Where that one's have all got transactions it is one of the user's who asks.
type owner struct {
	user  string
	bytes int64
	ids   list.List // of *txn; the front one was not used for longest, about
}

const (
	// lookFor bounds the search for an id that may go.
	lookFor = 64
	// roomTries bounds how many go for one that comes: others may take the room.
	roomTries = 4
)

// most is the part of a limit that one user may have, so that the others have the rest. It does not hold for ids of nobody.
func (o *owner) most(limit int64) int64 {
	if o.user == "" {
		return limit
	}
	return limit * 3 / 4
}

// own makes an id one of a user's. mu is held.
func (c *Coordinator) own(t *txn, user string) {
	if t.owner != nil && t.owner.user == user {
		return
	}
	c.disown(t)
	o := c.owners[user]
	if o == nil {
		o = &owner{user: user}
		c.owners[user] = o
	}
	t.owner, t.place = o, o.ids.PushBack(t)
	o.bytes += t.bytes
}

// disown undoes own. mu is held.
func (c *Coordinator) disown(t *txn) {
	o := t.owner
	if o == nil {
		return
	}
	o.bytes -= t.bytes
	o.ids.Remove(t.place)
	t.owner, t.place = nil, nil
	if o.ids.Len() == 0 {
		delete(c.owners, o.user)
	}
}

// counts counts bytes of an id. mu is held.
func (c *Coordinator) counts(t *txn, n int64) {
	c.bytes += n
	t.bytes += n
	if t.owner != nil {
		t.owner.bytes += n
	}
}

// touch notes that an id, which is locked, is used.
func (c *Coordinator) touch(t *txn) {
	t.used = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.owner != nil {
		t.owner.ids.MoveToBack(t.place)
	}
}

// full says whose id goes before a fresh one of n bytes may come, nil if none has to. mu is held.
func (c *Coordinator) full(t *txn, n int64) *owner {
	o := t.owner
	if int64(o.ids.Len()) > o.most(int64(c.opts.MaxIDs)) || o.bytes+n > o.most(c.opts.MaxBytes) {
		return o
	}
	if len(c.byID) < c.opts.MaxIDs && c.bytes+n <= c.opts.MaxBytes*7/8 { // the rest is for transactions
		return nil
	}
	for _, other := range c.owners {
		if other.ids.Len() > o.ids.Len() {
			o = other
		}
	}
	return o
}

// makeRoom forgets an id of an owner, or one of the user's who asks for one, and says whether there was one that may go.
func (c *Coordinator) makeRoom(o *owner, user string) bool {
	c.mu.Lock()
	t := c.unused(o)
	if own := c.owners[user]; t == nil && own != nil {
		o, t = own, c.unused(own)
	}
	c.mu.Unlock()
	if t == nil {
		return false
	}
	defer t.mu.Unlock()
	if c.expire(t) != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tell(&c.toldGone, "a transactional id is forgotten before its time, for one that comes: there are too many ids, or they take too much memory, and its user has most, or asks for another", t.id, "user", o.user)
	return true
}

// unused finds an id that nobody is at work with and that has no transaction, locked. mu is held.
func (c *Coordinator) unused(o *owner) *txn {
	for range min(lookFor, o.ids.Len()) {
		e := o.ids.Front()
		o.ids.MoveToBack(e)
		t := e.Value.(*txn)
		if !t.mu.TryLock() {
			continue
		}
		if t.rests() {
			return t
		}
		t.mu.Unlock()
	}
	return nil
}

// rests says whether there is no transaction.
func (t *txn) rests() bool {
	return !t.dead && (t.state == CompleteCommit || t.state == CompleteAbort || t.state == Empty && t.producer >= 0)
}

// expire forgets an id that rests, and is locked.
func (c *Coordinator) expire(t *txn) error {
	if err := c.await(t); err != nil {
		return err
	}
	if err := c.opts.Keep(t.id, nil, nil); err != nil {
		return err
	}
	c.forget(t)
	return nil
}

// lockOrMake is lock for an id that may be new, and is the user's then. Where there is no room for it, it says so in the log, since the
// answer has no text.
func (c *Coordinator) lockOrMake(id, user string) (*txn, wire.Code) {
	for tries := 0; ; tries++ {
		if t := c.lock(id); t != nil {
			return t, wire.None
		}
		code, from := c.make(id, user)
		if from != nil && (tries >= roomTries || !c.makeRoom(from, user)) {
			c.mu.Lock()
			c.refuses(id)
			c.mu.Unlock()
			return nil, code
		}
		if code != wire.None && from == nil {
			return nil, code
		}
	}
}

// make makes an id. Where one of an owner has to go before it returns that one.
func (c *Coordinator) make(id, user string) (wire.Code, *owner) {
	t := newTxn()
	t.id = id
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[id] != nil {
		return wire.None, nil
	}
	c.own(t, user)
	code, from := wire.None, (*owner)(nil)
	if !c.closed {
		from = c.full(t, t.size())
	}
	if from != nil {
		code = wire.PolicyViolation
	} else {
		code = c.take(t, t.size(), wire.PolicyViolation)
	}
	if code != wire.None {
		c.disown(t)
		return code, from
	}
	c.byID[id] = t
	return wire.None, nil
}
