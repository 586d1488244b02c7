package stomp

import (
	"errors"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/internal/unacked"
	"github.com/leveret-mq/leveret/stomp/frame"
)

const (
	// maxTransactions is how many a connection may have open.
	maxTransactions = 16
	// verdictBytes is about what an ack in a transaction takes.
	verdictBytes = 64
)

// transaction is what is held back between BEGIN and COMMIT.
//
//	COMMIT   acks looked at ─► messages stored, and as durable as receipts say ─► acks, and kept ─► receipt
//
// In this order nothing is acked for which the messages of the same transaction may be lost, and nothing comes again
// after a kill of which the client heard that it is acked.
type transaction struct {
	publisher *broker.Publisher
	verdicts  []verdict
	taken     int64 // of conn.memory
}

// named finds the open transaction that a frame is about.
func (c *conn) named(name string) (*transaction, *failure) {
	if t := c.transactions[name]; t != nil {
		return t, nil
	}
	return nil, fail("Bad transaction", "Invalid transaction identifier: '%s'", clip([]byte(name)))
}

// transactionOf is the name that BEGIN, COMMIT and ABORT must have.
func transactionOf(f *frame.Frame) (string, *failure) {
	if name, ok := f.Get("transaction"); ok {
		return string(name), nil
	}
	return "", fail("Missing transaction", "%s must include a 'transaction' header", f.Command)
}

func (c *conn) begin(f *frame.Frame) *failure {
	name, e := transactionOf(f)
	if e != nil {
		return e
	}
	if c.transactions[name] != nil {
		return fail("Bad transaction", "Transaction '%s' is open already", clip([]byte(name)))
	}
	if len(c.transactions) >= maxTransactions {
		return fail("Transaction limit exceeded", "Too many concurrent transactions (limit %d)", maxTransactions)
	}
	if c.transactions == nil {
		c.transactions = map[string]*transaction{}
	}
	c.transactions[name] = &transaction{publisher: c.session.NewTransaction()}
	c.done(f)
	return nil
}

// sendLater is a SEND in a transaction; its receipt says that it is taken into it.
func (c *conn) sendLater(name string, p *prepared, receipt []byte, asked bool) *failure {
	t, e := c.named(name)
	if e != nil {
		return e
	}
	in := &c.in
	in.SameHead, in.Persistent, in.Ref = false, p.persistent, 0
	routed, err := t.publisher.Publish(&in.Inbound)
	if err == nil && !routed && p.again() {
		err = c.again(p, t.publisher)
	}
	if err == nil && !c.hold(t) {
		err = fail("Transaction too large", "a transaction of %d bytes finds no room in memory: commit it in parts", t.bytes())
	}
	if err != nil {
		e := asFailure(err)
		e.receipt = string(receipt)
		return e
	}
	c.published.Add(1)
	if asked {
		if e := c.endRead(); e != nil { // receipts keep the order of their frames
			return e
		}
		c.receipt(receipt)
	}
	return nil
}

// settleLater is an ACK or NACK in a transaction. mu is held.
func (c *conn) settleLater(name string, v verdict) *failure {
	t, e := c.named(name)
	if e != nil {
		return e
	}
	if !v.k.unacked.Holds(v.tag) {
		return fail("Message not found", "unknown delivery tag %d", v.tag)
	}
	t.verdicts = append(t.verdicts, v)
	if !c.hold(t) {
		return fail("Transaction too large", "a transaction of %d bytes finds no room in memory: commit it in parts", t.bytes())
	}
	return nil
}

// bytes is the memory that the transaction takes: what it holds grows by doubling.
func (t *transaction) bytes() int64 {
	return 2*t.publisher.HeldBytes() + verdictBytes*int64(cap(t.verdicts))
}

// hold takes the memory that a transaction has grown by, which is bounded as unfinished messages are.
func (c *conn) hold(t *transaction) bool {
	need := t.bytes() - t.taken
	if need <= 0 {
		return true
	}
	if !c.memory.Stand(need) {
		return false
	}
	t.taken += need
	return true
}

func (c *conn) abort(f *frame.Frame) *failure {
	name, e := transactionOf(f)
	if e != nil {
		return e
	}
	t, e := c.named(name)
	if e != nil {
		return e
	}
	c.endTransaction(name, t)
	c.done(f)
	return nil
}

func (c *conn) endTransaction(name string, t *transaction) {
	t.publisher.Discard()
	c.memory.Give(t.taken)
	delete(c.transactions, name)
}

// endTransactions aborts those that are open.
func (c *conn) endTransactions() {
	for name, t := range c.transactions {
		c.endTransaction(name, t)
	}
}

func (c *conn) commit(f *frame.Frame) *failure {
	name, e := transactionOf(f)
	if e != nil {
		return e
	}
	t, e := c.named(name)
	if e != nil {
		return e
	}
	defer c.endTransaction(name, t)
	if e := c.stillHeld(t); e != nil {
		return e
	}
	if t.publisher.HeldBytes() > 0 {
		if c.s.opts.Broker.Alarm() != "" {
			c.waitAlarm(true)
		}
		if err := c.store(t.publisher); err != nil {
			return asFailure(err)
		}
	}
	if err := c.concludeAll(t.verdicts).KeepBy(c.await); err != nil {
		return asFailure(err)
	}
	c.done(f)
	return nil
}

// concludeAll takes the verdicts of a transaction.
func (c *conn) concludeAll(list []verdict) unacked.Kept {
	kept := unacked.Kept{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range list {
		v.k.unacked.Kept = kept
		_ = c.conclude(v) // what an earlier one of them has settled, too, is settled
	}
	c.tellBroker()
	for _, v := range list {
		v.k.unacked.Kept = nil
	}
	return kept
}

// stillHeld checks that everything that a transaction acks is still the client's to ack.
func (c *conn) stillHeld(t *transaction) *failure {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range t.verdicts {
		if !v.k.unacked.Holds(v.tag) {
			return fail("Message not found", "unknown delivery tag %d", v.tag)
		}
	}
	return nil
}

var (
	errRefused = errors.New("a queue is full and refuses more")
	errUnheard = errors.New("the client or the broker ends")
)

// store stores what a publisher was given and waits until that is durable: nothing that the connection does may
// overtake it. The wait ends with the client or the broker, too.
func (c *conn) store(p *broker.Publisher) error {
	done := make(chan error, 1)
	p.Store()
	refused := p.Refused()
	_ = p.Commit(func(err error) { done <- err }) // which says the same
	err := c.await(done)
	if err == nil && len(refused) > 0 {
		return &broker.Error{Kind: broker.LimitReached, Text: "a message of the transaction was refused", Err: errRefused}
	}
	return err
}

// await waits for an answer of the disk.
func (c *conn) await(done <-chan error) error {
	err, heard := netx.Await(c.nc, c.writerDone, done, func() bool { return !c.forced.Load() })
	if !heard {
		return errUnheard
	}
	return err
}
