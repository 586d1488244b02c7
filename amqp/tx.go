package amqp

import (
	"errors"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/internal/unacked"
)

// transaction is what a channel in tx mode holds back until tx.commit: publishes, which are routed and checked as they
// come, and what is to be returned of them. Acks wait in unacked.Set. It belongs to the read loop.
//
//	tx.commit   returns ─► publishes stored, and as durable as confirms would say ─► acks, and kept ─► commit-ok
//
// In this order nothing is acked for which the publishes of the same transaction may be lost, and nothing comes again
// after a kill of which the client heard that it is acked.
type transaction struct {
	publisher *broker.Publisher
	returns   []byte // frames
	taken     int64  // of conn.memory
}

func (ch *channel) txSelect() error {
	if ch.confirm {
		return refuse(wire.PreconditionFailed, "cannot switch from confirm to tx mode")
	}
	if ch.tx == nil {
		ch.tx = &transaction{publisher: ch.c.session.NewTransaction()}
		ch.shown.transactional.Store(true)
	}
	return ch.reply(&wire.TxSelectOk{})
}

// heldBack ends a publish in a transaction. What it holds for a client that may never commit is bounded as unfinished
// messages are.
func (ch *channel) heldBack(routed bool, p *wire.Publish) *closeError {
	c, t := ch.c, ch.tx
	if !routed && p.Mandatory {
		t.returns = wire.AppendContent(t.returns, ch.number, notRouted(p), c.in.Properties, p.Body, c.frameMax)
	}
	c.heldBack++
	ch.shown.heldBack.Add(1)
	held := t.bytes()
	if need := held - t.taken; need > 0 {
		if !c.memory.Stand(need) {
			return &closeError{code: wire.PreconditionFailed, method: wire.IDBasicPublish,
				text: refuse(0, "a transaction of %d bytes finds no room in memory: commit it in parts", held).text}
		}
		t.taken = held
	}
	return nil
}

// bytes is the memory that the transaction takes: what it holds grows by doubling.
func (t *transaction) bytes() int64 { return 2*t.publisher.HeldBytes() + int64(cap(t.returns)) }

// endTx lets go of what the transaction holds. The next one has begun.
func (ch *channel) endTx() {
	t := ch.tx
	t.publisher.Discard()
	ch.c.memory.Give(t.taken)
	ch.shown.heldBack.Store(0)
	t.returns, t.taken = nil, 0
}

func (ch *channel) txRollback() error {
	if ch.tx == nil {
		return refuse(wire.PreconditionFailed, "channel is not transactional")
	}
	ch.endTx()
	ch.mu.Lock()
	ch.unacked.Rollback()
	ch.mu.Unlock()
	return ch.reply(&wire.TxRollbackOk{})
}

func (ch *channel) txCommit() error {
	c, t := ch.c, ch.tx
	if t == nil {
		return refuse(wire.PreconditionFailed, "channel is not transactional")
	}
	c.outMu.Lock()
	c.out = append(c.out, t.returns...)
	c.outMu.Unlock()
	c.signal()
	if t.publisher.HeldBytes() > 0 {
		if c.s.opts.Broker.Alarm() != "" {
			c.tellBlocked()
			c.waitAlarm(true)
		}
		if err := c.store(t.publisher); err != nil {
			return ch.txFailed(err)
		}
	}
	ch.endTx()
	kept := unacked.Kept{}
	ch.mu.Lock()
	ch.unsaid++ // what the acks make room for is delivered behind commit-ok
	ch.unacked.Kept = kept
	ch.unacked.Commit()
	ch.tellBroker()
	ch.unacked.Kept = nil
	ch.mu.Unlock()
	err := kept.KeepBy(c.await)
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.unsaid--
	if err != nil {
		return ch.txFailed(err)
	}
	ch.sendFirst(&wire.TxCommitOk{})
	return nil
}

// txFailed is the end of a transaction that could not be stored, or not all of it; that of its channel rolls the acks back,
// unless they were what could not be kept.
func (ch *channel) txFailed(err error) error {
	ch.c.tellBlocked()
	if broker.KindOf(err) == broker.TooLarge || broker.RefusedOn(err) != 0 { // nothing was stored
		return err
	}
	ch.c.log.Refused(wire.IDTxCommit.String(), err, advice(codeOf(err)), "channel", ch.number)
	return refuse(wire.PreconditionFailed, "partial tx completion")
}

// errRefused says that a queue at its limit refused some of a transaction.
var errRefused = errors.New("a queue is full and refuses more")

// errUnheard says that nobody waits for an outcome any more.
var errUnheard = errors.New("the client or the broker ends")

// store stores what a publisher was given and waits until that is durable: nothing that the connection sends may
// overtake it. The wait ends with the client or the broker, too.
func (c *conn) store(p *broker.Publisher) error {
	done := make(chan error, 1)
	p.Store()
	refused := p.Refused()
	_ = p.Commit(func(err error) { done <- err }) // which says the same
	err := c.await(done)
	if err == nil && len(refused) > 0 {
		return errRefused
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
