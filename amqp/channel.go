package amqp

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/unacked"
)

// channel is one channel of a connection. Fields belong to the read loop unless they stand under a lock.
type channel struct {
	c       *conn
	number  uint16
	closing bool // channel.close was sent; only its answer counts
	content content

	uncounted uint64        // messages published since the last count
	published atomic.Uint64 // all of them but those

	lastQueue string // declared last; what an empty queue name means

	confirm      bool
	confirmLast  uint64 // number of the last publish since confirm.select
	confirmFirst uint64 // of the first one since the last endRead; 0 if there was none

	prefetch int            // of consumers that start from now on
	shared   *broker.Credit // see credit

	tx *transaction // in tx mode; then confirm is not set

	shown shown

	replies *replyConsumer // of direct reply-to, if there is one; changed under mu

	gone bool // guarded by conn.outMu: no confirm may follow

	// answering holds the notices of cancelled consumers back until the answer of the method that cancelled them stands
	// in the outbox: clients take a notice that comes in between for a failure of their own call.
	answering atomic.Bool

	mu        sync.Mutex // guards the fields below and every consumer's subscription
	consumers map[string]*consumer
	unacked   unacked.Set
	gotten    unacked.Near  // of what basic.get took
	isDirty   bool          // in conn.dirty: it has verdicts that the broker was not told yet
	marks     []tagMark     // of tags, oldest first; see overdue
	longest   time.Duration // that something may be held, where that is limited; 0: nowhere
	unsaid    int           // answers in the outbox that leave before anything more is delivered
}

func newChannel(c *conn, number uint16) *channel {
	ch := &channel{c: c, number: number}
	ch.unacked.Failed = ch.settleFailed
	return ch
}

// openChannel handles a frame on a number where no channel is open.
func (c *conn) openChannel(f wire.Frame) *closeError {
	if f.Type != wire.FrameMethod {
		return refuse(wire.ChannelError, "expected 'channel.open'")
	}
	id := wire.PayloadID(f.Payload)
	if id == wire.IDChannelCloseOk {
		return nil // the answer to a close that crossed with the client's own
	}
	m, err := wire.Decode(f.Payload)
	if err != nil {
		return decodeError(err, id)
	}
	if id != wire.IDChannelOpen {
		return &closeError{code: wire.ChannelError, text: "expected 'channel.open'", method: m.ID()}
	}
	if c.channels.open >= c.channelMax {
		return &closeError{code: wire.NotAllowed, method: id,
			text: refuse(0, "number of channels opened (%d) has reached the negotiated channel_max (%d)", c.channels.open, c.channelMax).text}
	}
	if err := c.session.OpenChannel(); err != nil {
		return notAllowed(err, id)
	}
	c.outMu.Lock()
	c.channels.add(newChannel(c, f.Channel))
	c.outMu.Unlock()
	c.send(f.Channel, &wire.ChannelOpenOk{})
	return nil
}

// forget frees the channel's number.
func (ch *channel) forget() {
	ch.c.outMu.Lock()
	ch.c.channels.remove(ch)
	ch.c.outMu.Unlock()
	ch.c.session.CloseChannel()
}

// blame fills in where an exception happened.
func (ch *channel) blame(e *closeError) *closeError {
	if e != nil {
		e.channel = ch
	}
	return e
}

// release cancels the consumers, returns what they hold, and lets go of a half-read message.
func (ch *channel) release() { depart(ch.clear()) }

// clear is release but for what depart does for the consumers that it returns.
func (ch *channel) clear() (left []*consumer) {
	ch.dropContent()
	ch.cancelReplies()
	if ch.tx != nil {
		ch.endTx()
	}
	ch.mu.Lock()
	for _, k := range ch.consumers {
		k.Sub.Stop()
	}
	ch.forgetOverdue()
	ch.requeueAll() // before a consumer that waits for its turn gets it
	for _, k := range ch.consumers {
		k.Close()
		if k.Sub.Last() {
			left = append(left, k)
		}
	}
	ch.consumers = nil
	ch.mu.Unlock()
	return left
}

// depart deletes the queues of which consumers were the last, all at a time: who waits for the disk waits once.
func depart(left []*consumer) {
	var all sync.WaitGroup
	for _, k := range left {
		all.Go(k.Sub.DeleteUnused)
	}
	all.Wait()
}

// fail closes the channel from our side and waits for the client's answer.
func (ch *channel) fail(e *closeError) {
	ch.c.refused(e, "channel", ch.number)
	ch.closing = true
	ch.release()
	ch.leave(&wire.ChannelClose{ReplyCode: e.code, ReplyText: wire.ReplyText(e.code, e.text),
		ClassID: e.method.Class(), MethodID: e.method.Number()})
}

// leave puts the last method of the channel into the outbox, behind the confirms of what is stored by
// now; none follows it.
func (ch *channel) leave(m wire.Method) {
	c := ch.c
	c.outMu.Lock()
	c.out = c.appendConfirms(c.out)
	ch.gone = true
	c.out = wire.AppendMethod(c.out, ch.number, m)
	c.outMu.Unlock()
	c.signal()
}

// whileClosing drops everything until the client has seen our channel.close.
func (ch *channel) whileClosing(f wire.Frame) *closeError {
	if f.Type != wire.FrameMethod {
		return nil
	}
	switch wire.PayloadID(f.Payload) {
	case wire.IDChannelClose:
		ch.forget()
		ch.c.send(ch.number, &wire.ChannelCloseOk{})
	case wire.IDChannelCloseOk:
		ch.forget()
	case wire.IDChannelOpen:
		// A client that waits for open-ok without having answered would wait for ever.
		return &closeError{code: wire.ChannelError, method: wire.IDChannelOpen,
			text: refuse(0, "channel %d was closed by the server and channel.close-ok has not come: expected 'channel.close-ok', got 'channel.open'", ch.number).text}
	}
	return nil
}

// method handles a method frame of an open channel.
func (ch *channel) method(payload []byte) *closeError {
	id := wire.PayloadID(payload)
	if ch.content.pending {
		return ch.content.unexpected()
	}
	m, err := wire.Decode(payload)
	if err != nil {
		return decodeError(err, id)
	}
	if p, ok := m.(*wire.BasicPublish); ok {
		ch.beginContent(p)
		return nil
	}
	// What came before must be seen by what comes now: a publish by a get, an ack by a count.
	if err := ch.c.endRead(); err != nil {
		return asClose(err, wire.IDBasicPublish)
	}
	ch.c.waitOutbox()
	if err := ch.call(m); err != nil {
		return asClose(err, id)
	}
	return nil
}

// call is the table of verbs.
func (ch *channel) call(m wire.Method) error {
	switch m := m.(type) {
	case *wire.ChannelOpen:
		return refuse(wire.ChannelError, "second 'channel.open' seen")
	case *wire.ChannelClose:
		return ch.close()
	case *wire.ChannelFlow:
		return ch.flow(m)
	case *wire.AccessRequest:
		return ch.reply(&wire.AccessRequestOk{Ticket: 1})
	case *wire.ExchangeDeclare:
		return ch.exchangeDeclare(m)
	case *wire.ExchangeDelete:
		return ch.exchangeDelete(m)
	case *wire.ExchangeBind:
		return ch.exchangeBind(m)
	case *wire.ExchangeUnbind:
		return ch.exchangeUnbind(m)
	case *wire.QueueDeclare:
		return ch.queueDeclare(m)
	case *wire.QueueBind:
		return ch.queueBind(m)
	case *wire.QueueUnbind:
		return ch.queueUnbind(m)
	case *wire.QueuePurge:
		return ch.queuePurge(m)
	case *wire.QueueDelete:
		return ch.queueDelete(m)
	case *wire.BasicQos:
		return ch.qos(m)
	case *wire.BasicConsume:
		return ch.consume(m)
	case *wire.BasicCancel:
		return ch.cancel(m)
	case *wire.BasicGet:
		return ch.get(m)
	case *wire.BasicAck:
		return ch.settle(&wire.Settle{Tag: m.DeliveryTag, Method: m.ID(), Multiple: m.Multiple})
	case *wire.BasicNack:
		return ch.settle(&wire.Settle{Tag: m.DeliveryTag, Method: m.ID(), Multiple: m.Multiple, Requeue: m.Requeue})
	case *wire.BasicReject:
		return ch.settle(&wire.Settle{Tag: m.DeliveryTag, Method: m.ID(), Requeue: m.Requeue})
	case *wire.BasicRecover:
		return ch.recover(m.Requeue, &wire.BasicRecoverOk{})
	case *wire.BasicRecoverAsync:
		return ch.recover(m.Requeue, nil)
	case *wire.ConfirmSelect:
		return ch.confirmSelect(m)
	case *wire.TxSelect:
		return ch.txSelect()
	case *wire.TxCommit:
		return ch.txCommit()
	case *wire.TxRollback:
		return ch.txRollback()
	}
	return refuse(wire.CommandInvalid, "unimplemented method") // a server's, a connection's, or an answer that nobody waits for
}

// reply answers a method; nil, which is what nowait asks for, answers nothing.
func (ch *channel) reply(m wire.Method) error {
	if m != nil {
		ch.c.send(ch.number, m)
	}
	return nil
}

// answer is m, or nothing when the client asked for no answer.
func answer(noWait bool, m wire.Method) wire.Method {
	if noWait {
		return nil
	}
	return m
}

func (ch *channel) close() error {
	ch.release()
	ch.forget() // before the client can know: who asks for the list behind close-ok does not find it
	ch.leave(&wire.ChannelCloseOk{})
	return nil
}

func (ch *channel) flow(m *wire.ChannelFlow) error {
	if !m.Active {
		return refuse(wire.NotImplemented, "active=false")
	}
	return ch.reply(&wire.ChannelFlowOk{Active: true})
}

func (ch *channel) confirmSelect(m *wire.ConfirmSelect) error {
	if ch.tx != nil {
		return refuse(wire.PreconditionFailed, "cannot switch from tx to confirm mode")
	}
	ch.confirm = true
	ch.shown.confirms.Store(true)
	return ch.reply(answer(m.NoWait, &wire.ConfirmSelectOk{}))
}
