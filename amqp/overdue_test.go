package amqp

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/internal/fakeclock"
)

// timed runs a test with a queue "q" whose consumers may hold a message for so many ms, in a bubble.
func timed(t *testing.T, ms int64, test func(t *testing.T, r *rig, p *peer)) {
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		defer r.stop()
		p := r.through()
		var args wire.Table
		if ms != 0 {
			args = wire.AppendTableInt(nil, "x-consumer-timeout", ms)
		}
		p.call(1, &wire.QueueDeclare{Queue: "q", Durable: true, Arguments: args}, wire.IDQueueDeclareOk)
		test(t, r, p)
		p.nc.Close()
	})
}

// through connects by a pipe, which a bubble knows to wait for.
func (r *rig) through() *peer {
	r.t.Helper()
	p := r.handshakeOver(r.pipe(), &wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072})
	p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	return p
}

// after waits until what is overdue after d must be back, and not longer than that.
func after(d time.Duration) {
	time.Sleep(d + 2*overdueEvery)
	synctest.Wait()
}

func TestAMessageThatIsHeldForTooLongGoesBackAlone(t *testing.T) {
	timed(t, 60_000, func(t *testing.T, r *rig, p *peer) {
		p.fill("q", 3)
		p.call(1, &wire.BasicQos{PrefetchCount: 2}, wire.IDBasicQosOk)
		p.call(1, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
		p.delivery(1, "0")
		p.delivery(1, "1")
		time.Sleep(30 * time.Second)
		p.send(1, &wire.BasicAck{DeliveryTag: 2})
		p.delivery(1, "2") // tag 3, half a minute later
		time.Sleep(30*time.Second - overdueEvery)
		p.nothing()
		after(0)
		if d := p.delivery(1, "0"); d.DeliveryTag != 4 || !d.Redelivered {
			t.Errorf("%+v", d)
		}
		p.nothing()
		p.send(1, &wire.BasicNack{DeliveryTag: 1}) // late: the message is not rejected
		p.nothing()
		if n := r.broker.Counters().Overdue.Load(); n != 1 {
			t.Errorf("%d counted", n)
		}
		p.send(1, &wire.BasicAck{DeliveryTag: 4, Multiple: true})
		if n := p.ready(1, "q"); n != 0 {
			t.Errorf("%d ready", n)
		}
		after(2 * time.Minute)
		p.nothing()
		if n := r.broker.Counters().Overdue.Load(); n != 1 {
			t.Errorf("%d counted of which nothing was held", n)
		}
		p.call(1, &wire.ChannelClose{ReplyCode: 200}, wire.IDChannelCloseOk)
		after(0)
		if r.server.overdue.running {
			t.Error("channels are looked for that are gone")
		}
	})
}

func TestWhatOneConsumerHoldsForTooLongIsAnothers(t *testing.T) {
	timed(t, 5000, func(t *testing.T, r *rig, p *peer) {
		other := r.through()
		p.fill("q", 1)
		p.call(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"}, wire.IDBasicConsumeOk)
		p.delivery(1, "0")
		p.call(1, &wire.BasicCancel{ConsumerTag: "c"}, wire.IDBasicCancelOk)
		other.call(1, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
		after(5 * time.Second)
		other.delivery(1, "0")
		p.send(1, &wire.BasicAck{DeliveryTag: 1}) // late, and no ack of what the other one holds
		p.nothing()
		other.nc.Close()
		synctest.Wait()
		if n := p.ready(1, "q"); n != 1 {
			t.Errorf("%d ready", n)
		}
	})
}

func TestGetsAndConsumersOfTheirOwnTimeGiveBack(t *testing.T) {
	timed(t, 5000, func(t *testing.T, r *rig, p *peer) {
		p.fill("q", 2)
		p.call(1, &wire.BasicGet{Queue: "q"}, wire.IDBasicGetOk)
		p.call(1, &wire.BasicGet{Queue: "q"}, wire.IDBasicGetOk)
		after(5 * time.Second)
		if n := p.ready(1, "q"); n != 2 {
			t.Errorf("%d ready, want what was got", n)
		}
		p.send(1, &wire.BasicAck{DeliveryTag: 2, Multiple: true})
		if n := p.ready(1, "q"); n != 2 {
			t.Errorf("%d ready after late acks", n)
		}
		p.call(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c", Arguments: wire.AppendTableInt(nil, "x-consumer-timeout", 20_000)}, wire.IDBasicConsumeOk)
		p.delivery(1, "0")
		p.delivery(1, "1")
		p.call(1, &wire.BasicCancel{ConsumerTag: "c"}, wire.IDBasicCancelOk)
		after(15 * time.Second)
		if n := p.ready(1, "q"); n != 0 {
			t.Errorf("%d ready: the consumer's own time holds before the queue's", n)
		}
		after(5 * time.Second)
		if n := p.ready(1, "q"); n != 2 {
			t.Errorf("%d ready, want what a cancelled consumer held", n)
		}
	})
}

func TestWhoAsksForNoTimeoutHasNone(t *testing.T) {
	for _, ms := range []int64{0, -5} {
		timed(t, ms, func(t *testing.T, r *rig, p *peer) {
			p.fill("q", 1)
			p.call(1, &wire.BasicConsume{Queue: "q", Arguments: wire.AppendTableString(nil, "x-consumer-timeout", "5000")}, wire.IDBasicConsumeOk)
			p.delivery(1, "0")
			after(24 * time.Hour)
			p.nothing()
			if r.server.overdue.running {
				t.Error("channels are looked at for nothing")
			}
		})
	}
}

// However long the time is, few marks are kept, and it ends hardly late.
func TestMarksOfTagsAreFew(t *testing.T) {
	ch := &channel{longest: 30 * time.Minute}
	began := time.Unix(0, 0)
	var given []time.Time // when each tag was
	for now := began; now.Before(began.Add(2 * time.Hour)); now = now.Add(overdueEvery) {
		ch.unacked.Skip()
		given = append(given, now)
		ch.mark(now)
		if len(ch.marks) > 12*markShare {
			t.Fatalf("%d marks", len(ch.marks))
		}
		at := now.Add(-ch.longest)
		tag := ch.tagAt(at)
		if tag > 0 && given[tag-1].After(at) {
			t.Fatalf("tag %d is too young", tag)
		}
		if next := at.Sub(given[min(int(tag), len(given)-1)]); next > ch.longest/markShare+2*overdueEvery {
			t.Fatalf("tag %d is overdue for %v", tag+1, next)
		}
	}
}
