package amqp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// inTx is a client whose channel 1 is in tx mode, and has a queue "q".
func (r *rig) inTx() *peer {
	r.t.Helper()
	p := r.connect()
	p.queue("q")
	p.call(1, &wire.TxSelect{}, wire.IDTxSelectOk)
	return p
}

// bodies takes everything that is in a queue.
func (p *peer) bodies(queue string) (all []string) {
	p.t.Helper()
	for {
		p.send(1, &wire.BasicGet{Queue: queue, NoAck: true})
		_, m, err := p.next()
		if err != nil {
			p.t.Fatal(err)
		}
		if m.method.ID() != wire.IDBasicGetOk {
			return all
		}
		all = append(all, string(m.body))
	}
}

func TestATransactionIsSeenWhenItIsCommitted(t *testing.T) {
	for _, mode := range []store.Mode{store.ModeOS, store.ModeGroup} {
		t.Run(mode.String(), func(t *testing.T) {
			r := newRig(t, rigOptions{mode: mode})
			p, other := r.inTx(), r.connect()
			other.queue("r")
			other.call(1, &wire.ExchangeDeclare{Exchange: "x", Type: "fanout"}, wire.IDExchangeDeclareOk)
			for _, q := range []string{"q", "r"} {
				other.call(1, &wire.QueueBind{Queue: q, Exchange: "x"}, wire.IDQueueBindOk)
			}
			var want []string
			for i := range 3 {
				p.publish(1, wire.Publish{Key: []byte("q"), Body: []byte(fmt.Sprint("q", i)), Properties: props(wire.Properties{DeliveryMode: 2})})
				p.publish(1, wire.Publish{Exchange: []byte("x"), Body: []byte(fmt.Sprint("x", i))})
				p.publish(1, wire.Publish{Key: []byte("none"), Mandatory: i == 1, Body: []byte(fmt.Sprint("n", i))})
				want = append(want, fmt.Sprint("q", i), fmt.Sprint("x", i))
			}
			p.call(1, &wire.BasicQos{}, wire.IDBasicQosOk) // which is not part of it
			if got := other.ready(1, "q") + other.ready(1, "r"); got != 0 {
				t.Errorf("%d messages before the commit", got)
			}
			if m := p.call(1, &wire.TxCommit{}, wire.IDBasicReturn); string(m.body) != "n1" {
				t.Errorf("%q came back", m.body)
			}
			p.expect(1, wire.IDTxCommitOk)
			if got := other.bodies("q"); !slices.Equal(got, want) {
				t.Errorf("q got %q, want %q", got, want)
			}
			if got := other.bodies("r"); !slices.Equal(got, []string{"x0", "x1", "x2"}) {
				t.Errorf("r got %q", got)
			}
			p.publish(1, text("q", "dropped"))
			p.publish(1, wire.Publish{Key: []byte("none"), Mandatory: true})
			p.call(1, &wire.TxRollback{}, wire.IDTxRollbackOk)
			p.publish(1, text("q", "kept"))
			p.call(1, &wire.TxCommit{}, wire.IDTxCommitOk)
			p.call(1, &wire.TxCommit{}, wire.IDTxCommitOk) // of nothing
			if got := other.bodies("q"); !slices.Equal(got, []string{"kept"}) {
				t.Errorf("q got %q", got)
			}
		})
	}
}

// What is not committed is not there, however the channel ends.
func TestATransactionEndsWithItsChannel(t *testing.T) {
	r := newRig(t, rigOptions{})
	other := r.connect()
	for _, c := range []struct {
		name string
		end  func(*peer)
	}{
		{"channel.close", func(p *peer) { p.call(1, &wire.ChannelClose{ReplyCode: 200}, wire.IDChannelCloseOk) }},
		{"an exchange that is missing", func(p *peer) {
			p.publish(1, wire.Publish{Exchange: []byte("none")})
			p.expect(1, wire.IDChannelClose)
		}},
		{"connection.close", func(p *peer) { p.call(0, &wire.ConnectionClose{ReplyCode: 200}, wire.IDConnectionCloseOk) }},
		{"an error of the connection", func(p *peer) { p.send(1, &wire.BasicQos{PrefetchSize: 1}); p.expect(0, wire.IDConnectionClose) }},
		{"the end of the socket", func(p *peer) { p.nc.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := r.inTx()
			p.t = t
			other.publish(1, text("q", "held"))
			other.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
			m := p.call(1, &wire.BasicGet{Queue: "q"}, wire.IDBasicGetOk)
			p.publish(1, text("q", "lost"))
			p.send(1, &wire.BasicAck{DeliveryTag: m.method.(*wire.BasicGetOk).DeliveryTag})
			c.end(p)
			for other.ready(1, "q") == 0 {
				time.Sleep(time.Millisecond)
			}
			if got := other.bodies("q"); !slices.Equal(got, []string{"held"}) {
				t.Errorf("the queue has %q", got)
			}
		})
	}
}

func TestAcksOfATransactionWaitForItsCommit(t *testing.T) {
	r := newRig(t, rigOptions{})
	p, other := r.inTx(), r.connect()
	for i := range 6 {
		other.publish(1, text("q", fmt.Sprint(i)))
	}
	other.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
	p.call(1, &wire.BasicQos{PrefetchCount: 4}, wire.IDBasicQosOk)
	p.call(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"}, wire.IDBasicConsumeOk)
	for range 4 {
		p.expect(1, wire.IDBasicDeliver)
	}
	p.send(1, &wire.BasicAck{DeliveryTag: 1}, &wire.BasicNack{DeliveryTag: 2, Requeue: true}, &wire.BasicReject{DeliveryTag: 4})
	p.call(1, &wire.TxRollback{}, wire.IDTxRollbackOk) // it can be said once more, and otherwise
	p.send(1, &wire.BasicReject{DeliveryTag: 1}, &wire.BasicAck{DeliveryTag: 3, Multiple: true})
	p.call(1, &wire.BasicQos{PrefetchCount: 4}, wire.IDBasicQosOk) // no delivery comes before: the window is still used up
	if got := other.ready(1, "q"); got != 2 {
		t.Errorf("%d ready before the commit", got)
	}
	p.call(1, &wire.TxCommit{}, wire.IDTxCommitOk)
	for _, want := range []string{"4", "5"} {
		if m := p.expect(1, wire.IDBasicDeliver); string(m.body) != want {
			t.Errorf("got %q", m.body)
		}
	}
	p.send(1, &wire.BasicAck{Multiple: true}) // all three that are left
	p.call(1, &wire.BasicRecover{Requeue: true}, wire.IDBasicRecoverOk)
	p.call(1, &wire.TxCommit{}, wire.IDTxCommitOk)
	p.call(1, &wire.BasicCancel{ConsumerTag: "c"}, wire.IDBasicCancelOk)
	if got := other.bodies("q"); got != nil {
		t.Errorf("left: %q", got)
	}
	p.send(1, &wire.BasicAck{DeliveryTag: 5})
	if code, text, _ := p.closing(false); code != wire.PreconditionFailed || text != "PRECONDITION_FAILED - unknown delivery tag 5" {
		t.Errorf("%d %q", code, text)
	}
	// Within one transaction, a verdict is given once.
	p.call(1, &wire.TxSelect{}, wire.IDTxSelectOk)
	p.publish(1, text("q", "x"))
	p.call(1, &wire.TxCommit{}, wire.IDTxCommitOk)
	p.call(1, &wire.BasicGet{Queue: "q"}, wire.IDBasicGetOk)
	p.send(1, &wire.BasicAck{DeliveryTag: 1}, &wire.BasicAck{DeliveryTag: 1})
	if code, text, _ := p.closing(false); code != wire.PreconditionFailed || text != "PRECONDITION_FAILED - unknown delivery tag 1" {
		t.Errorf("%d %q", code, text)
	}
}

// A recover in a transaction brings back what was not acked in it.
func TestRecoverInATransactionLeavesWhatWasAcked(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.inTx()
	for _, body := range []string{"a", "b", "c"} {
		p.publish(1, text("q", body))
	}
	p.call(1, &wire.TxCommit{}, wire.IDTxCommitOk)
	for range 3 {
		p.call(1, &wire.BasicGet{Queue: "q"}, wire.IDBasicGetOk)
	}
	p.send(1, &wire.BasicAck{DeliveryTag: 2})
	p.call(1, &wire.BasicRecover{Requeue: true}, wire.IDBasicRecoverOk)
	if got := p.bodies("q"); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("came back: %q", got)
	}
	p.call(1, &wire.TxRollback{}, wire.IDTxRollbackOk)
	p.call(1, &wire.BasicRecover{Requeue: true}, wire.IDBasicRecoverOk)
	if got := p.bodies("q"); !slices.Equal(got, []string{"b"}) {
		t.Errorf("came back after the rollback: %q", got)
	}
}

// Direct replies are published as all else.
func TestRepliesOfATransactionWaitForItsCommit(t *testing.T) {
	r := newRig(t, rigOptions{})
	server, client := r.inTx(), r.requester()
	address := client.address(1, "q", server)
	server.publish(1, wire.Publish{Key: []byte(address), Body: []byte("dropped")})
	server.call(1, &wire.TxRollback{}, wire.IDTxRollbackOk)
	server.publish(1, wire.Publish{Key: []byte(address), Body: []byte("one")})
	server.publish(1, wire.Publish{Key: []byte(address), Body: []byte("two"), Properties: props(wire.Properties{CorrelationID: []byte("7")})})
	server.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
	if client.call(1, &wire.BasicQos{}, wire.IDBasicQosOk); r.broker.Counters().Replies.Load() != 0 {
		t.Error("a reply was sent before the commit")
	}
	server.call(1, &wire.TxCommit{}, wire.IDTxCommitOk)
	for _, want := range []string{"one", "two"} {
		if m := client.expect(1, wire.IDBasicDeliver); string(m.body) != want || want == "two" && m.properties(t).CorrelationID != "7" {
			t.Errorf("got %q", m.body)
		}
	}
}

// A client that publishes and does not commit takes no more memory than others may.
func TestATransactionTakesBoundedMemory(t *testing.T) {
	b := budget.New(budget.Options{Bytes: 32 << 20, Share: 16 << 20})
	r := newRig(t, rigOptions{server: func(o *Options) { o.Budget = b }})
	for name, m := range map[string]wire.Publish{
		"stored":   {Key: []byte("q"), Body: make([]byte, 1<<20)},
		"returned": {Key: []byte("none"), Mandatory: true, Body: make([]byte, 1<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			p := r.inTx()
			p.t = t
			for range 3 {
				p.publish(1, m)
			}
			p.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
			if used := b.Stats().Used; used < 3<<20 {
				t.Errorf("%d bytes are counted", used)
			}
			p.call(1, &wire.TxRollback{}, wire.IDTxRollbackOk)
			if used := b.Stats().Used; used != 0 {
				t.Errorf("%d bytes after a rollback", used)
			}
			for range 3 {
				p.publish(1, m)
			}
			p.send(1, &wire.TxCommit{})
			for done := false; !done; {
				_, m, err := p.next()
				if err != nil {
					t.Fatal(err)
				}
				done = m.method.ID() == wire.IDTxCommitOk
			}
			if used := b.Stats().Used; used != 0 {
				t.Errorf("%d bytes after a commit", used)
			}
			go func() {
				for range 40 {
					p.nc.Write(wire.AppendPublish(nil, &wire.Publish{Channel: 1, Key: m.Key, Mandatory: m.Mandatory, Body: m.Body}, p.max))
				}
			}()
			c := p.expect(1, wire.IDChannelClose).method.(*wire.ChannelClose)
			if c.ReplyCode != wire.PreconditionFailed || !bytes.Contains([]byte(c.ReplyText), []byte("finds no room in memory: commit it in parts")) {
				t.Errorf("%+v", c)
			}
			for b.Stats().Used != 0 {
				time.Sleep(time.Millisecond)
			}
			if peak := b.Stats().Peak; peak > 20<<20 {
				t.Errorf("%d bytes at most", peak)
			}
		})
	}
	if n := r.connect().ready(1, "q"); n != 3 {
		t.Errorf("%d messages stored", n)
	}
}

// A commit that could not store everything says so, in RabbitMQ's words; what was acked in it comes again.
func TestACommitThatFailsIsRolledBack(t *testing.T) {
	var broken atomic.Bool
	r := newRig(t, rigOptions{mode: store.ModeGroup, fs: fs.Failing(fs.NewMem(1), func(op fs.Op, _ string) error {
		if broken.Load() && (op == fs.OpSync || op == fs.OpSyncAll) {
			return errors.New("the disk fails")
		}
		return nil
	})})
	p, other := r.inTx(), r.connect()
	other.queue("in")
	other.publish(1, wire.Publish{Key: []byte("in"), Body: []byte("work")})
	other.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
	p.call(1, &wire.BasicGet{Queue: "in"}, wire.IDBasicGetOk)
	p.send(1, &wire.BasicAck{DeliveryTag: 1})
	p.publish(1, wire.Publish{Key: []byte("q"), Properties: props(wire.Properties{DeliveryMode: 2})})
	p.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
	broken.Store(true)
	p.send(1, &wire.TxCommit{})
	code, text, id := p.closing(false)
	if code != wire.PreconditionFailed || text != "PRECONDITION_FAILED - partial tx completion" || id != wire.IDTxCommit {
		t.Errorf("%d %q of %s", code, text, id)
	}
	if got := other.bodies("in"); !slices.Equal(got, []string{"work"}) {
		t.Errorf("left: %q", got)
	}
	broken.Store(false)
}

// A queue that goes between publish and commit had the message coming to it.
func TestACommitToADeletedQueueFails(t *testing.T) {
	r := newRig(t, rigOptions{})
	p, other := r.inTx(), r.connect()
	other.queue("other")
	p.publish(1, text("q", "x"))
	p.publish(1, text("other", "y"))
	p.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
	other.call(1, &wire.QueueDelete{Queue: "q"}, wire.IDQueueDeleteOk)
	p.send(1, &wire.TxCommit{})
	if code, text, _ := p.closing(false); code != wire.PreconditionFailed || text != "PRECONDITION_FAILED - partial tx completion" {
		t.Errorf("%d %q", code, text)
	}
}

// A queue at its limit that refuses a message fails the commit, as on RabbitMQ; what it takes is there.
func TestACommitThatAQueueRefusesFails(t *testing.T) {
	r := newRig(t, rigOptions{})
	p, other := r.inTx(), r.connect()
	limited := wire.AppendTableString(wire.AppendTableField(nil, "x-max-length", wire.Field{Tag: 'I', Value: []byte{0, 0, 0, 1}}), "x-overflow", "reject-publish")
	other.call(1, &wire.QueueDeclare{Queue: "limited", Arguments: limited}, wire.IDQueueDeclareOk)
	p.publish(1, text("limited", "fits"))
	p.call(1, &wire.TxCommit{}, wire.IDTxCommitOk)
	p.publish(1, text("limited", "does not fit"))
	p.publish(1, text("q", "x"))
	p.send(1, &wire.TxCommit{})
	if code, text, _ := p.closing(false); code != wire.PreconditionFailed || text != "PRECONDITION_FAILED - partial tx completion" {
		t.Errorf("%d %q", code, text)
	}
	if got := other.bodies("limited"); !slices.Equal(got, []string{"fits"}) {
		t.Errorf("it has %q", got)
	}
}

// commit-ok waits for the disk, as confirms do, and a client that leaves meanwhile is let go.
func TestCommitOkWaitsForTheFlush(t *testing.T) {
	frozen(t, store.ModeGroup, func(p *peer, disk *fs.Freezer) {
		p.call(1, &wire.TxSelect{}, wire.IDTxSelectOk)
		p.publish(1, persistent("q", "x"))
		p.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
		disk.Freeze(flushes)
		p.send(1, &wire.TxCommit{})
		p.silent("while the disk does not answer")
		disk.Thaw()
		p.expect(1, wire.IDTxCommitOk)
		p.publish(1, wire.Publish{Key: []byte("q")}) // which need not be durable
		disk.Freeze(flushes)
		p.call(1, &wire.TxCommit{}, wire.IDTxCommitOk)
		p.publish(1, persistent("q", "x"))
		p.send(1, &wire.TxCommit{})
		p.silent("while the disk does not answer")
	})
}

// While memory is short, who publishes in a transaction waits too.
func TestTransactionsWaitWhileMemoryIsShort(t *testing.T) {
	var memory short
	r := newRig(t, rigOptions{broker: broker.Options{SaveEvery: 5 * time.Millisecond, Memory: memory.check}})
	p := r.inTx()
	p.publish(1, text("q", "x"))
	p.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
	memory.Store(true)
	for r.broker.Alarm() == "" {
		time.Sleep(time.Millisecond)
	}
	p.send(1, &wire.TxCommit{})
	p.expect(0, wire.IDConnectionBlocked)
	memory.Store(false)
	p.expect(0, wire.IDConnectionUnblocked)
	p.expect(1, wire.IDTxCommitOk)
	memory.Store(true)
	for r.broker.Alarm() == "" {
		time.Sleep(time.Millisecond)
	}
	p.publish(1, text("q", "y"))
	p.expect(0, wire.IDConnectionBlocked)
	memory.Store(false)
	p.expect(0, wire.IDConnectionUnblocked)
	p.call(1, &wire.TxCommit{}, wire.IDTxCommitOk)
	if n := p.ready(1, "q"); n != 2 {
		t.Errorf("%d messages", n)
	}
}
