package amqp

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// beforeAColdQueue runs f in a bubble, with a client over a disk that can stop answering. Nothing of the
// message in "cold" is in memory.
func beforeAColdQueue(t *testing.T, f func(r *rig, p *peer, disk *fs.Freezer)) {
	fakeclock.Test(t, func(t *testing.T) {
		mem, disk := fs.NewMem(1), fs.NewFreezer()
		files := fs.Failing(mem, disk.Hook)
		r := newRig(t, rigOptions{fs: files})
		p := r.piped()
		for _, q := range []string{"cold", "warm"} {
			p.call(1, &wire.QueueDeclare{Queue: q, Durable: true}, wire.IDQueueDeclareOk)
		}
		p.publish(1, text("cold", "first"))
		p.nothing()
		p.nc.Close()
		r.stop()
		mem.Evict(true)
		// Who waits gives up before anybody comes by who would wait for a mutex: then a bubble's clock stands still.
		r = newRig(t, rigOptions{fs: files, broker: broker.Options{ReadTimeout: 100 * time.Millisecond}})
		p = r.piped()
		// A consumer without credit opens the log, and reads no message.
		p.call(9, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
		p.call(9, &wire.BasicQos{PrefetchCount: 1, Global: true}, wire.IDBasicQosOk)
		p.call(9, &wire.BasicConsume{Queue: "warm"}, wire.IDBasicConsumeOk)
		p.publish(1, text("warm", "0"))
		p.delivery(9, "0")
		p.call(9, &wire.BasicConsume{Queue: "cold"}, wire.IDBasicConsumeOk)
		p.call(9, &wire.ChannelClose{}, wire.IDChannelCloseOk)
		p.call(1, &wire.QueuePurge{Queue: "warm"}, wire.IDQueuePurgeOk)
		defer p.nc.Close()
		defer disk.Thaw()
		f(r, p, disk)
	})
}

// piped is a client over a pipe, with a channel open.
func (r *rig) piped() *peer {
	r.t.Helper()
	p := r.handshakeOver(r.pipe(), &wire.ConnectionTuneOk{ChannelMax: 10, FrameMax: 131072})
	p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	return p
}

// reads are the operations without which what lies in no memory can't be read.
func reads(op fs.Op, name string) bool {
	return op == fs.OpRead && strings.HasSuffix(name, ".log")
}

// A consumer whose queue lies on a disk that hangs holds up nothing else: not its channel, its connection, nor
// its own end.
func TestAConsumerOfADiskThatHangsHoldsNothingUp(t *testing.T) {
	beforeAColdQueue(t, func(r *rig, p *peer, disk *fs.Freezer) {
		p.call(1, &wire.BasicQos{PrefetchCount: 1}, wire.IDBasicQosOk)
		p.call(1, &wire.BasicConsume{Queue: "warm", ConsumerTag: "warm"}, wire.IDBasicConsumeOk)
		disk.Freeze(reads)
		p.call(1, &wire.BasicConsume{Queue: "cold", ConsumerTag: "cold"}, wire.IDBasicConsumeOk)
		disk.AwaitWaiting(1)

		p.publish(1, text("warm", "1"))
		p.publish(1, text("warm", "2"))
		first := p.delivery(1, "1") // another queue's, on the same channel
		p.send(1, &wire.BasicAck{DeliveryTag: first.DeliveryTag})
		p.delivery(1, "2") // which the ack has let out
		p.call(1, &wire.BasicQos{PrefetchCount: 10, Global: true}, wire.IDBasicQosOk)
		p.call(1, &wire.BasicRecover{Requeue: true}, wire.IDBasicRecoverOk)
		p.delivery(1, "2")
		p.call(1, &wire.BasicCancel{ConsumerTag: "cold"}, wire.IDBasicCancelOk)

		p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
		p.call(2, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
		p.call(2, &wire.BasicConsume{Queue: "cold", ConsumerTag: "again"}, wire.IDBasicConsumeOk)
		p.publish(2, text("nobody", "x"))
		p.expect(2, wire.IDBasicAck)
		p.call(2, &wire.QueueDeclare{Queue: "new", Exclusive: true}, wire.IDQueueDeclareOk)
		p.call(2, &wire.ChannelClose{}, wire.IDChannelCloseOk)
		p.call(1, &wire.BasicConsume{Queue: "cold", ConsumerTag: "cold"}, wire.IDBasicConsumeOk)
		p.call(0, &wire.ConnectionClose{}, wire.IDConnectionCloseOk)
		p.nc.Close()

		disk.Thaw()
		p = r.piped()
		m := p.call(1, &wire.BasicGet{Queue: "cold"}, wire.IDBasicGetOk)
		if got := m.method.(*wire.BasicGetOk); string(m.body) != "first" || got.Redelivered || got.MessageCount != 0 {
			t.Errorf("%q, %+v", m.body, got)
		}
		p.nc.Close()
	})
}

// What a thaw brings goes to the consumer that waited for it.
func TestADeliveryComesWhenTheDiskAnswers(t *testing.T) {
	beforeAColdQueue(t, func(_ *rig, p *peer, disk *fs.Freezer) {
		disk.Freeze(reads)
		p.call(1, &wire.BasicConsume{Queue: "cold", ConsumerTag: "cold"}, wire.IDBasicConsumeOk)
		disk.AwaitWaiting(1)
		p.silent("before the thaw")
		disk.Thaw()
		if d := p.delivery(1, "first"); d.Redelivered || d.DeliveryTag != 1 {
			t.Errorf("%+v", d)
		}
	})
}

// A queue that is deleted while its disk hangs: its consumer hears of it at once.
func TestAConsumerOfADiskThatHangsIsToldOfItsQueuesEnd(t *testing.T) {
	beforeAColdQueue(t, func(r *rig, p *peer, disk *fs.Freezer) {
		disk.Freeze(reads)
		p.call(1, &wire.BasicConsume{Queue: "cold", ConsumerTag: "cold"}, wire.IDBasicConsumeOk)
		disk.AwaitWaiting(1)
		other := r.piped()
		defer other.nc.Close()
		other.send(1, &wire.QueueDelete{Queue: "cold", NoWait: true})
		p.expect(1, wire.IDBasicCancel)
	})
}

// What asks about such a queue fails in its time, on its channel alone.
func TestWhoAsksAboutADiskThatHangsIsRefused(t *testing.T) {
	for name, ask := range map[string]wire.Method{
		"passive declare": &wire.QueueDeclare{Queue: "cold", Passive: true},
		"declare":         &wire.QueueDeclare{Queue: "cold", Durable: true},
		"purge":           &wire.QueuePurge{Queue: "cold"},
		"delete if-empty": &wire.QueueDelete{Queue: "cold", IfEmpty: true},
		"get":             &wire.BasicGet{Queue: "cold"},
		"get, auto-acked": &wire.BasicGet{Queue: "cold", NoAck: true},
	} {
		t.Run(name, func(t *testing.T) {
			beforeAColdQueue(t, func(_ *rig, p *peer, disk *fs.Freezer) {
				disk.Freeze(reads)
				refused := p.call(1, ask, wire.IDChannelClose).method.(*wire.ChannelClose)
				want := "PRECONDITION_FAILED - queue 'cold' in vhost '/' can't be read: the disk does not answer (waited 100ms)"
				if refused.ReplyCode != wire.PreconditionFailed || !strings.HasSuffix(refused.ReplyText, want[len("PRECONDITION_FAILED - "):]) {
					t.Errorf("%+v", refused)
				}
				p.send(1, &wire.ChannelCloseOk{}, &wire.ChannelOpen{})
				p.expect(1, wire.IDChannelOpenOk)
				disk.Thaw()
				p.call(1, &wire.BasicConsume{Queue: "cold"}, wire.IDBasicConsumeOk)
				if d := p.delivery(1, "first"); d.Redelivered {
					t.Error("it is marked as redelivered")
				}
			})
		})
	}
}

// The auto-delete queues of a connection that ends go together: their end waits for the definitions once, and for
// no longer than clients do.
func TestTheEndOfAConnectionWaitsForADiskThatHangsOnce(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		disk := fs.NewFreezer()
		r := newRig(t, rigOptions{fs: fs.Failing(fs.NewMem(1), disk.Hook), mode: store.ModeGroup,
			broker: broker.Options{ReadTimeout: 100 * time.Millisecond}})
		p := r.piped()
		p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
		for i, q := range []string{"a", "b", "c", "d"} {
			ch := uint16(i%2 + 1)
			p.call(ch, &wire.QueueDeclare{Queue: q, Durable: true, AutoDelete: true}, wire.IDQueueDeclareOk)
			p.call(ch, &wire.BasicConsume{Queue: q, ConsumerTag: q}, wire.IDBasicConsumeOk)
		}
		disk.Freeze(func(op fs.Op, name string) bool { return op == fs.OpSync && strings.Contains(name, "/defs/") })
		began := time.Now()
		p.call(1, &wire.BasicCancel{ConsumerTag: "a"}, wire.IDBasicCancelOk)
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("a cancel took %v", took)
		}
		p.call(0, &wire.ConnectionClose{}, wire.IDConnectionCloseOk)
		if took := time.Since(began); took != 200*time.Millisecond {
			t.Errorf("the end took %v more", took-100*time.Millisecond)
		}
		p.nc.Close()
		disk.Thaw()
		synctest.Wait()
		p = r.piped()
		for _, q := range []string{"a", "b", "c", "d"} {
			p.call(1, &wire.QueueDeclare{Queue: q, Passive: true}, wire.IDChannelClose)
			p.send(1, &wire.ChannelCloseOk{}, &wire.ChannelOpen{})
			p.expect(1, wire.IDChannelOpenOk)
		}
		p.nc.Close()
	})
}
