package amqp

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// flushes are the operations that make something durable.
func flushes(op fs.Op, _ string) bool {
	return op == fs.OpSync || op == fs.OpSyncAll || op == fs.OpSyncDir
}

// silent fails if the server says anything in a tenth of a second of the bubble's clock, which
// stands still while anybody has work to do. Background flushes are a second apart.
func (p *peer) silent(when string) {
	p.t.Helper()
	if len(p.in) > 0 {
		p.t.Fatalf("%s: the server had answered already", when)
	}
	p.nc.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	buf := make([]byte, 64<<10)
	n, err := p.nc.Read(buf)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		f, _, _, _ := wire.ParseFrame(buf[:n], 1<<20)
		p.t.Fatalf("%s: the server sent %v (%v)", when, f, err)
	}
}

// frozen runs f in a bubble with a client over a disk that can stop answering.
func frozen(t *testing.T, mode store.Mode, f func(p *peer, disk *fs.Freezer)) {
	frozenRig(t, mode, func(_ *rig, p *peer, disk *fs.Freezer) { f(p, disk) })
}

// frozenRig is frozen with the server at hand.
func frozenRig(t *testing.T, mode store.Mode, f func(r *rig, p *peer, disk *fs.Freezer)) {
	fakeclock.Test(t, func(t *testing.T) {
		disk := fs.NewFreezer()
		r := newRig(t, rigOptions{fs: fs.Failing(fs.NewMem(1), disk.Hook), mode: mode})
		p := r.handshakeOver(r.pipe(), &wire.ConnectionTuneOk{ChannelMax: 10, FrameMax: 131072})
		p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
		p.call(1, &wire.QueueDeclare{Queue: "q", Durable: true}, wire.IDQueueDeclareOk)
		defer p.nc.Close()
		defer disk.Thaw()
		// The first message makes a log's files, which are flushed in every mode: only what
		// comes after it shows what a flush is for.
		p.store("q")
		f(r, p, disk)
	})
}

// store puts a message into a queue, and returns when it is stored.
func (p *peer) store(queue string) {
	p.t.Helper()
	p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	p.call(2, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
	p.publish(2, persistent(queue, "first"))
	p.expect(2, wire.IDBasicAck)
	p.call(2, &wire.ChannelClose{}, wire.IDChannelCloseOk)
}

func persistent(queue, body string) wire.Publish {
	m := text(queue, body)
	m.Properties = props(wire.Properties{DeliveryMode: 2})
	return m
}

// What the broker answers for good must be on the disk before, in the modes that promise it.
func TestAnAnswerThatPromisesWaitsForItsFlush(t *testing.T) {
	cases := []struct {
		name   string
		before func(p *peer)
		ask    func(p *peer)
		answer wire.MethodID
	}{
		{"confirm of a persistent message", func(p *peer) { p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk) },
			func(p *peer) { p.publish(1, persistent("q", "m")) }, wire.IDBasicAck},
		{"confirm of a persistent message before a transient one", func(p *peer) { p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk) },
			func(p *peer) {
				kept := persistent("q", "m")
				kept.Channel = 1
				transient := text("q", "m")
				transient.Channel = 1
				p.raw(wire.AppendPublish(wire.AppendPublish(nil, &kept, p.max), &transient, p.max))
			}, wire.IDBasicAck},
		{"confirm of one that fans out", func(p *peer) {
			p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
			for _, q := range []string{"a", "b"} {
				p.call(1, &wire.QueueDeclare{Queue: q, Durable: true}, wire.IDQueueDeclareOk)
				p.call(1, &wire.QueueBind{Queue: q, Exchange: "amq.fanout"}, wire.IDQueueBindOk)
				p.store(q)
			}
		}, func(p *peer) {
			m := persistent("", "m")
			m.Exchange = []byte("amq.fanout")
			p.publish(1, m)
		}, wire.IDBasicAck},
		{"declare of a durable queue", nil, func(p *peer) { p.send(1, &wire.QueueDeclare{Queue: "r", Durable: true}) }, wire.IDQueueDeclareOk},
		{"declare of a durable exchange", nil, func(p *peer) { p.send(1, &wire.ExchangeDeclare{Exchange: "x", Type: "topic", Durable: true}) }, wire.IDExchangeDeclareOk},
		{"binding of durable ends", nil, func(p *peer) {
			p.send(1, &wire.QueueBind{Queue: "q", Exchange: "amq.topic", RoutingKey: "k"})
		}, wire.IDQueueBindOk},
		{"deletion of a durable queue", nil, func(p *peer) { p.send(1, &wire.QueueDelete{Queue: "q"}) }, wire.IDQueueDeleteOk},
	}
	for _, c := range cases {
		for _, mode := range []store.Mode{store.ModeGroup, store.ModeAlways} {
			t.Run(c.name+", "+mode.String(), func(t *testing.T) {
				frozen(t, mode, func(p *peer, disk *fs.Freezer) {
					if c.before != nil {
						c.before(p)
					}
					disk.Freeze(flushes)
					c.ask(p)
					disk.AwaitWaiting(1)
					p.silent("before the flush")
					disk.Thaw()
					p.expect(1, c.answer)
				})
			})
		}
	}
}

// cursorWrites are the operations that keep acks ahead of what is unacked.
func cursorWrites(op fs.Op, name string) bool {
	return op == fs.OpWrite && strings.HasSuffix(name, "/cursor")
}

// What a commit acks does not come again after a kill of which the client has heard, and what it makes room for comes
// behind commit-ok.
func TestACommitWaitsUntilItsAcksAreKept(t *testing.T) {
	frozen(t, store.ModeOS, func(p *peer, disk *fs.Freezer) {
		p.publish(1, text("q", "second"))
		p.publish(1, text("q", "third"))
		p.call(1, &wire.TxSelect{}, wire.IDTxSelectOk)
		p.call(1, &wire.BasicQos{PrefetchCount: 2}, wire.IDBasicQosOk)
		p.call(1, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
		p.delivery(1, "first")
		second := p.delivery(1, "second")
		p.send(1, &wire.BasicAck{DeliveryTag: second.DeliveryTag})
		disk.Freeze(cursorWrites)
		p.send(1, &wire.TxCommit{})
		disk.AwaitWaiting(1)
		p.silent("before the acks are kept")
		disk.Thaw()
		p.expect(1, wire.IDTxCommitOk)
		p.delivery(1, "third")
	})
}

// Acks that can't be kept are no commit: the client hears that some of it may not hold.
func TestACommitWhoseAcksCantBeKeptFails(t *testing.T) {
	var full atomic.Bool
	r := newRig(t, rigOptions{fs: fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
		if full.Load() && cursorWrites(op, name) {
			return syscall.EIO
		}
		return nil
	})})
	p := r.inTx()
	for _, body := range []string{"a", "b", "c"} {
		p.publish(1, text("q", body))
	}
	p.call(1, &wire.TxCommit{}, wire.IDTxCommitOk)
	p.call(1, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
	p.delivery(1, "a")
	second := p.delivery(1, "b")
	p.delivery(1, "c")
	full.Store(true)
	defer full.Store(false)
	p.send(1, &wire.BasicAck{DeliveryTag: second.DeliveryTag}, &wire.TxCommit{})
	if code, text, _ := p.closing(false); code != wire.PreconditionFailed || text != "PRECONDITION_FAILED - partial tx completion" {
		t.Errorf("%d %q", code, text)
	}
}

// What promises no disk does not wait for one.
func TestAnAnswerThatPromisesNoDiskDoesNotWaitForOne(t *testing.T) {
	cases := []struct {
		name string
		mode store.Mode
		m    wire.Publish
	}{
		{"mode os", store.ModeOS, persistent("q", "m")},
		{"a transient message", store.ModeGroup, text("q", "m")},
		{"a message that no queue gets", store.ModeGroup, persistent("nobody", "m")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			frozen(t, c.mode, func(p *peer, disk *fs.Freezer) {
				p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
				disk.Freeze(flushes)
				p.publish(1, c.m)
				p.expect(1, wire.IDBasicAck)
			})
		})
	}
}
