package amqp

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/internal/netx"
)

// fullDisk is a file system that has no more room while full is set.
func fullDisk(full *atomic.Bool) fs.FS {
	return fs.Failing(fs.NewMem(1), func(op fs.Op, _ string) error {
		if full.Load() && op == fs.OpAllocate {
			return syscall.ENOSPC
		}
		return nil
	})
}

// The capability connection.blocked is announced, so it is kept: who publishes while the disk is full is told why, before
// the negative confirm, and told again when there is room; who does not publish, or did not ask, hears nothing.
func TestPublishersAreToldThatTheyAreBlocked(t *testing.T) {
	var full atomic.Bool
	r := newRig(t, rigOptions{fs: fullDisk(&full), broker: broker.Options{SaveEvery: 5 * time.Millisecond}})
	p, late, idle := r.connect(), r.connect(), r.connect()
	old := r.peer(r.dial())
	old.raw([]byte(wire.ProtocolHeader))
	old.expect(0, wire.IDConnectionStart)
	old.send(0, &wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest")})
	old.expect(0, wire.IDConnectionTune)
	old.send(0, &wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072}, &wire.ConnectionOpen{VirtualHost: "/"})
	old.expect(0, wire.IDConnectionOpenOk)
	old.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	p.call(1, &wire.QueueDeclare{Queue: "q", Durable: true}, wire.IDQueueDeclareOk)
	for _, who := range []*peer{p, late, old} {
		who.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
	}
	big := wire.Publish{Key: []byte("q"), Properties: props(wire.Properties{DeliveryMode: 2}), Body: bytes.Repeat([]byte("x"), 100_000)}
	full.Store(true)
	stored := 0
	for ; ; stored++ {
		p.publish(1, big)
		ch, m, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if m.method.ID() == wire.IDBasicAck {
			continue
		}
		if b, ok := m.method.(*wire.ConnectionBlocked); !ok || ch != 0 || !strings.Contains(b.Reason, "disk is full") {
			t.Fatalf("got %+v, want connection.blocked", m.method)
		}
		break
	}
	p.expect(1, wire.IDBasicNack)
	p.publish(1, big)
	p.expect(1, wire.IDBasicNack) // and is not told twice
	if p.ready(1, "q") != stored {
		t.Errorf("%d messages are stored, %d were confirmed", p.ready(1, "q"), stored)
	}
	late.publish(1, big)
	late.expect(0, wire.IDConnectionBlocked)
	late.expect(1, wire.IDBasicNack)
	old.publish(1, big)
	old.expect(1, wire.IDBasicNack)
	if r.broker.Alarm() == "" {
		t.Error("there is no alarm")
	}
	full.Store(false)
	p.expect(0, wire.IDConnectionUnblocked)
	late.expect(0, wire.IDConnectionUnblocked)
	if r.broker.Alarm() != "" {
		t.Errorf("the alarm is still there: %s", r.broker.Alarm())
	}
	p.publish(1, big)
	p.expect(1, wire.IDBasicAck)
	for _, who := range []*peer{idle, old} { // the next they hear is the answer to their own call
		who.call(1, &wire.ExchangeDeclare{Exchange: "amq.direct", Passive: true}, wire.IDExchangeDeclareOk)
	}
}

// Room may come back inside a log, where no probe sees it.
func TestAnAlarmIsOverWhenWhatWasRefusedIsStored(t *testing.T) {
	var full atomic.Bool
	probe := func() error { return syscall.ENOSPC }
	r := newRig(t, rigOptions{fs: fullDisk(&full), broker: broker.Options{SaveEvery: 5 * time.Millisecond, Probe: probe}})
	p := r.connect()
	q := p.declare(1)
	p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
	big := wire.Publish{Key: []byte(q), Body: make([]byte, 100_000)}
	full.Store(true)
	for blocked := false; !blocked; {
		p.publish(1, big)
		_, m, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		blocked = m.method.ID() == wire.IDConnectionBlocked
	}
	p.expect(1, wire.IDBasicNack)
	full.Store(false)
	time.Sleep(20 * time.Millisecond) // the probe still fails
	if r.broker.Alarm() == "" {
		t.Error("the alarm is over though the probe fails")
	}
	p.publish(1, text(q, "a small one proves nothing"))
	p.expect(1, wire.IDBasicAck)
	p.publish(1, big)
	p.expect(0, wire.IDConnectionUnblocked)
	p.expect(1, wire.IDBasicAck)
}

// Who wants no confirms is held up instead of refused, and loses nothing but what found the disk full first.
func TestPublishersWithoutConfirmsWaitForTheEndOfAnAlarm(t *testing.T) {
	var full atomic.Bool
	r := newRig(t, rigOptions{fs: fullDisk(&full), broker: broker.Options{SaveEvery: 5 * time.Millisecond}})
	first, p, stays, leaves := r.connect(), r.connect(), r.connect(), r.connect()
	first.call(1, &wire.QueueDeclare{Queue: "q"}, wire.IDQueueDeclareOk)
	first.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
	big := wire.Publish{Key: []byte("q"), Body: make([]byte, 100_000)}
	full.Store(true)
	stored := 0
	for ; ; stored++ {
		first.publish(1, big)
		_, m, err := first.next()
		if err != nil {
			t.Fatal(err)
		}
		if m.method.ID() == wire.IDConnectionBlocked {
			break
		}
	}
	for _, who := range []*peer{p, stays, leaves} {
		who.publish(1, big)
		who.expect(0, wire.IDConnectionBlocked)
	}
	leaves.nc.Close()
	if n := first.callReady("q"); n != stored {
		t.Errorf("%d messages are stored, want %d", n, stored)
	}
	full.Store(false)
	p.expect(0, wire.IDConnectionUnblocked)
	p.publish(1, big)
	if n := p.ready(1, "q"); n < stored+2 || n > stored+4 {
		t.Errorf("%d messages are stored, want %d and what two or three publishers sent", n, stored)
	}
}

// callReady is ready on a connection that is told of things in between.
func (p *peer) callReady(queue string) int {
	p.t.Helper()
	p.send(1, &wire.QueueDeclare{Queue: queue, Passive: true})
	for {
		_, m, err := p.next()
		if err != nil {
			p.t.Fatal(err)
		}
		if ok, is := m.method.(*wire.QueueDeclareOk); is {
			return int(ok.MessageCount)
		}
	}
}

func TestAStopIsNotHeldUpByAnAlarm(t *testing.T) {
	var full atomic.Bool
	r := newRig(t, rigOptions{fs: fullDisk(&full), broker: broker.Options{SaveEvery: 5 * time.Millisecond}})
	p := r.connect()
	p.call(1, &wire.QueueDeclare{Queue: "q"}, wire.IDQueueDeclareOk)
	p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
	p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	big := wire.Publish{Key: []byte("q"), Body: make([]byte, 100_000)}
	full.Store(true)
	for blocked := false; !blocked; {
		p.publish(1, big)
		_, m, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		blocked = m.method.ID() == wire.IDConnectionBlocked
	}
	p.publish(2, big)
	var stop sync.WaitGroup
	stop.Go(r.stop)
	for told := false; !told; {
		_, m, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		told = m.method.ID() == wire.IDConnectionClose
	}
	p.nc.Close()
	stop.Wait()
}

// short is a memory that is short while it is set.
type short struct{ atomic.Bool }

func (s *short) check() error {
	if s.Load() {
		return errors.New("low on memory")
	}
	return nil
}

// While memory is short who publishes waits, with confirms too, and loses nothing; all others go on.
func TestPublishersWaitWhileMemoryIsShort(t *testing.T) {
	for name, confirm := range map[string]bool{"with confirms": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			var memory short
			r := newRig(t, rigOptions{broker: broker.Options{SaveEvery: 5 * time.Millisecond, Memory: memory.check}})
			p, other, consumer := r.connect(), r.connect(), r.connect()
			other.queue("q")
			other.publish(1, text("q", "before"))
			other.call(1, &wire.QueueDeclare{Queue: "q", Passive: true}, wire.IDQueueDeclareOk) // it is stored by then
			if confirm {
				p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
			}
			memory.Store(true)
			for r.broker.Alarm() == "" {
				time.Sleep(time.Millisecond)
			}
			p.publish(1, text("q", "during"))
			if m := p.expect(0, wire.IDConnectionBlocked).method.(*wire.ConnectionBlocked); m.Reason != "low on memory" {
				t.Errorf("reason %q", m.Reason)
			}
			p.send(1, &wire.QueueDeclare{Queue: "q", Passive: true}) // it is not read
			consumer.call(1, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
			if m := consumer.expect(1, wire.IDBasicDeliver); string(m.body) != "before" {
				t.Errorf("got %q", m.body)
			}
			consumer.send(1, &wire.BasicAck{DeliveryTag: 1})
			consumer.call(1, &wire.QueueDeclare{Queue: "q", Passive: true}, wire.IDQueueDeclareOk)
			time.Sleep(2 * netx.HoldPoll)
			if r.broker.Counters().Stored.Load() != 1 {
				t.Error("it was stored")
			}
			memory.Store(false)
			p.expect(0, wire.IDConnectionUnblocked)
			want := map[wire.MethodID]bool{wire.IDQueueDeclareOk: true}
			if confirm {
				want[wire.IDBasicAck] = true
			}
			for len(want) > 0 { // in any order
				_, m, err := p.next()
				if err != nil || !want[m.method.ID()] {
					t.Fatalf("%v %+v", err, m.method)
				}
				delete(want, m.method.ID())
			}
			if m := consumer.expect(1, wire.IDBasicDeliver); string(m.body) != "during" {
				t.Errorf("got %q", m.body)
			}
		})
	}
}

// The read loop may see the end of an alarm before it is told.
func TestTheEndOfAnAlarmIsToldBeforeWhatHasWaitedIsAnswered(t *testing.T) {
	var memory short
	r := newRig(t, rigOptions{broker: broker.Options{SaveEvery: 5 * time.Millisecond, Memory: memory.check}})
	p := r.connect()
	p.queue("q")
	p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
	memory.Store(true)
	for r.broker.Alarm() == "" {
		time.Sleep(time.Millisecond)
	}
	p.publish(1, text("q", "x"))
	p.expect(0, wire.IDConnectionBlocked)
	told := make(chan struct{})
	defer close(told)
	for range 20 { // those who are told are told in any order
		r.broker.OnAlarm(func(string) { <-told })
	}
	memory.Store(false)
	p.expect(0, wire.IDConnectionUnblocked)
	p.expect(1, wire.IDBasicAck)
}

// A connection that is not read because it publishes still gets what its consumers are free for, as on RabbitMQ.
func TestConsumersOfABlockedConnectionGoOn(t *testing.T) {
	var memory short
	r := newRig(t, rigOptions{broker: broker.Options{SaveEvery: 5 * time.Millisecond, Memory: memory.check}})
	p, other := r.connect(), r.connect()
	p.queue("q")
	p.fill("q", 1)
	p.ready(1, "q")
	other.call(1, &wire.BasicGet{Queue: "q"}, wire.IDBasicGetOk)
	p.call(1, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
	memory.Store(true)
	for r.broker.Alarm() == "" {
		time.Sleep(time.Millisecond)
	}
	p.publish(1, text("q", "x"))
	if m := p.expect(0, wire.IDConnectionBlocked).method.(*wire.ConnectionBlocked); m.Reason != "low on memory" {
		t.Errorf("reason %q", m.Reason)
	}
	other.send(1, &wire.BasicNack{DeliveryTag: 1, Requeue: true})
	p.delivery(1, "0")
	memory.Store(false)
	p.expect(0, wire.IDConnectionUnblocked)
	p.delivery(1, "x")
}

// One who waits for memory still gets heartbeats, and its end is seen.
func TestWhoWaitsForMemoryIsAlive(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var memory short
		r := newRig(t, rigOptions{broker: broker.Options{SaveEvery: 5 * time.Millisecond, Memory: memory.check}})
		p := r.handshakeOver(r.pipe(), &wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 1})
		p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
		memory.Store(true)
		until(t, func() bool { return r.broker.Alarm() != "" })
		p.publish(1, text("q", "x"))
		p.expect(0, wire.IDConnectionBlocked)
		for range 5 { // for longer than two intervals, in which nothing is read of it
			if f, err := p.frame(); err != nil || f.Type != wire.FrameHeartbeat {
				t.Fatal(f, err)
			}
		}
		p.nc.Close()
		until(t, func() bool { return len(r.broker.Connections()) == 0 })
		memory.Store(false)
	})
}
