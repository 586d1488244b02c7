package amqp

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/internal/deliver"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
)

// delivery reads the next delivery and checks its body.
func (p *peer) delivery(channel uint16, body string) *wire.BasicDeliver {
	p.t.Helper()
	m := p.expect(channel, wire.IDBasicDeliver)
	if string(m.body) != body {
		p.t.Fatalf("got %q, want %q", m.body, body)
	}
	return m.method.(*wire.BasicDeliver)
}

// fill publishes "0", "1" … to a queue.
func (p *peer) fill(queue string, n int) {
	for i := range n {
		p.publish(1, text(queue, fmt.Sprint(i)))
	}
}

// nothing checks that no frame is on its way: what a later call is answered with comes next.
func (p *peer) nothing() { p.t.Helper(); p.call(1, &wire.AccessRequest{}, wire.IDAccessRequestOk) }

func TestConsumeOkComesFirstAndTagsGrow(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	q := p.declare(1)
	p.fill(q, 3)
	ok := p.call(1, &wire.BasicConsume{Queue: q}, wire.IDBasicConsumeOk).method.(*wire.BasicConsumeOk)
	if !strings.HasPrefix(ok.ConsumerTag, "amq.ctag-") {
		t.Errorf("tag %q", ok.ConsumerTag)
	}
	for i := range 3 {
		d := p.delivery(1, fmt.Sprint(i))
		if d.DeliveryTag != uint64(i+1) || d.ConsumerTag != ok.ConsumerTag || d.Redelivered || d.RoutingKey != q || d.Exchange != "" {
			t.Errorf("%+v", d)
		}
	}
}

func TestPrefetchHoldsDeliveriesBack(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	q := p.declare(1)
	p.fill(q, 6)
	p.call(1, &wire.BasicQos{PrefetchCount: 2}, wire.IDBasicQosOk)
	p.call(1, &wire.BasicConsume{Queue: q}, wire.IDBasicConsumeOk)
	p.delivery(1, "0")
	p.delivery(1, "1")
	p.nothing()
	p.send(1, &wire.BasicAck{DeliveryTag: 1})
	p.delivery(1, "2")
	p.nothing()
	p.send(1, &wire.BasicAck{Multiple: true})
	p.delivery(1, "3")
	p.delivery(1, "4")
	p.nothing()
}

func TestPrefetchOfTheChannelIsShared(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	a, b := p.declare(1), p.declare(1)
	p.fill(a, 2)
	p.fill(b, 2)
	p.call(1, &wire.BasicQos{PrefetchCount: 3, Global: true}, wire.IDBasicQosOk)
	p.send(1, &wire.BasicConsume{Queue: a, NoWait: true}, &wire.BasicConsume{Queue: b, NoWait: true})
	for range 3 {
		p.expect(1, wire.IDBasicDeliver)
	}
	p.nothing()
	// What the new limit lets out may overtake the answer: both must come.
	p.send(1, &wire.BasicQos{PrefetchCount: 4, Global: true})
	got := map[wire.MethodID]int{}
	for range 2 {
		_, m, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		got[m.method.ID()]++
	}
	if got[wire.IDBasicQosOk] != 1 || got[wire.IDBasicDeliver] != 1 {
		t.Fatalf("got %v", got)
	}
}

func TestRequeuedMessagesGoBackToTheirPlaces(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	q := p.declare(1)
	p.fill(q, 4)
	for range 3 {
		p.call(1, &wire.BasicGet{Queue: q}, wire.IDBasicGetOk)
	}
	p.send(1, &wire.BasicNack{DeliveryTag: 2, Multiple: true, Requeue: true}, &wire.BasicReject{DeliveryTag: 3})
	if n := p.ready(1, q); n != 3 {
		t.Errorf("%d ready, want 3", n)
	}
	for i, want := range []struct {
		body  string
		again bool
		left  uint32
	}{{"0", true, 2}, {"1", true, 1}, {"3", false, 0}} {
		m := p.call(1, &wire.BasicGet{Queue: q}, wire.IDBasicGetOk)
		got := m.method.(*wire.BasicGetOk)
		if string(m.body) != want.body || got.Redelivered != want.again || got.MessageCount != want.left || got.DeliveryTag != uint64(4+i) {
			t.Errorf("got %q %+v, want %+v", m.body, got, want)
		}
	}
	p.call(1, &wire.BasicGet{Queue: q}, wire.IDBasicGetEmpty)
	p.call(1, &wire.BasicRecover{Requeue: true}, wire.IDBasicRecoverOk)
	if n := p.ready(1, q); n != 3 {
		t.Errorf("%d ready after recover, want 3", n)
	}
}

func TestClosingReturnsWhatIsUnacked(t *testing.T) {
	ends := map[string]func(p *peer){
		"channel.close":    func(p *peer) { p.call(2, &wire.ChannelClose{}, wire.IDChannelCloseOk) },
		"channel error":    func(p *peer) { p.call(2, &wire.BasicAck{DeliveryTag: 99}, wire.IDChannelClose) },
		"connection.close": func(p *peer) { p.call(0, &wire.ConnectionClose{}, wire.IDConnectionCloseOk); p.nc.Close() },
		"connection error": func(p *peer) { p.send(2, &wire.BasicQos{PrefetchSize: 1}); p.expect(0, wire.IDConnectionClose) },
		"socket cut":       func(p *peer) { p.nc.Close() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{})
			watcher := r.connect()
			q := "returned"
			watcher.call(1, &wire.QueueDeclare{Queue: q}, wire.IDQueueDeclareOk)
			watcher.fill(q, 5)
			watcher.ready(1, q)
			p := r.connect()
			p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
			p.call(2, &wire.BasicConsume{Queue: q}, wire.IDBasicConsumeOk)
			for i := range 5 {
				p.delivery(2, fmt.Sprint(i))
			}
			p.send(2, &wire.BasicAck{DeliveryTag: 2})
			end(p)
			deadline := time.Now().Add(patience)
			for watcher.ready(1, q) != 4 && time.Now().Before(deadline) {
				time.Sleep(time.Millisecond)
			}
			for _, want := range []string{"0", "2", "3", "4"} {
				m := watcher.call(1, &wire.BasicGet{Queue: q, NoAck: true}, wire.IDBasicGetOk)
				if string(m.body) != want || !m.method.(*wire.BasicGetOk).Redelivered {
					t.Errorf("got %q %+v, want %q again", m.body, m.method, want)
				}
			}
		})
	}
}

func TestNoDeliveryFollowsCancelOk(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	feeder := r.connect()
	q := "busy"
	feeder.call(1, &wire.QueueDeclare{Queue: q}, wire.IDQueueDeclareOk)
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				feeder.publish(1, text(q, "x"))
			}
		}
	}()
	for range 50 {
		p.send(1, &wire.BasicConsume{Queue: q, ConsumerTag: "c", NoAck: true})
		p.expect(1, wire.IDBasicConsumeOk)
		p.expect(1, wire.IDBasicDeliver)
		p.send(1, &wire.BasicCancel{ConsumerTag: "c"})
		for {
			_, m, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			if m.method.ID() == wire.IDBasicCancelOk {
				break
			}
		}
		p.nothing()
	}
	close(stop)
	<-stopped
}

func TestConsumersAreToldWhenTheirQueueGoes(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	p.call(1, &wire.QueueDeclare{Queue: "going"}, wire.IDQueueDeclareOk)
	p.call(1, &wire.BasicConsume{Queue: "going", ConsumerTag: "me"}, wire.IDBasicConsumeOk)
	p.publish(1, text("going", "x"))
	p.delivery(1, "x")
	other := r.connect()
	other.call(1, &wire.QueueDelete{Queue: "going"}, wire.IDQueueDeleteOk)
	if m := p.expect(1, wire.IDBasicCancel).method.(*wire.BasicCancel); m.ConsumerTag != "me" || !m.NoWait {
		t.Errorf("%+v", m)
	}
	p.send(1, &wire.BasicAck{DeliveryTag: 1}) // of a queue that is gone: no error
	p.call(1, &wire.BasicCancel{ConsumerTag: "me"}, wire.IDBasicCancelOk)
	p.nothing()
}

func TestAutoDeleteQueueGoesWithItsLastConsumer(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	p.call(1, &wire.QueueDeclare{Queue: "auto", AutoDelete: true}, wire.IDQueueDeclareOk)
	p.call(1, &wire.BasicConsume{Queue: "auto", ConsumerTag: "a"}, wire.IDBasicConsumeOk)
	p.call(1, &wire.BasicConsume{Queue: "auto", ConsumerTag: "b"}, wire.IDBasicConsumeOk)
	p.call(1, &wire.BasicCancel{ConsumerTag: "a"}, wire.IDBasicCancelOk)
	p.ready(1, "auto")
	p.call(1, &wire.BasicCancel{ConsumerTag: "b"}, wire.IDBasicCancelOk)
	p.call(1, &wire.QueueDeclare{Queue: "auto", Passive: true}, wire.IDChannelClose)
}

func TestExclusiveQueueGoesWithItsConnection(t *testing.T) {
	r := newRig(t, rigOptions{})
	p, other := r.connect(), r.connect()
	p.call(1, &wire.QueueDeclare{Queue: "mine", Exclusive: true}, wire.IDQueueDeclareOk)
	m := other.call(1, &wire.QueueDeclare{Queue: "mine", Passive: true}, wire.IDChannelClose).method.(*wire.ChannelClose)
	if m.ReplyCode != wire.ResourceLocked {
		t.Errorf("%d %s", m.ReplyCode, m.ReplyText)
	}
	p.call(0, &wire.ConnectionClose{}, wire.IDConnectionCloseOk)
	other.send(1, &wire.ChannelCloseOk{}, &wire.ChannelOpen{})
	other.expect(1, wire.IDChannelOpenOk)
	m = other.call(1, &wire.QueueDeclare{Queue: "mine", Passive: true}, wire.IDChannelClose).method.(*wire.ChannelClose)
	if m.ReplyCode != wire.NotFound {
		t.Errorf("%d %s", m.ReplyCode, m.ReplyText)
	}
}

// A client that reads nothing stops its own consumer. Its publishes, its acks and everybody else go on.
func TestAClientThatDoesNotReadHoldsUpNobodyElse(t *testing.T) {
	r := newRig(t, rigOptions{})
	for _, size := range []int{1000, 100 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			deaf, other := r.connect(), r.connect()
			deaf.t, other.t = t, t
			q, results := fmt.Sprint("flood", size), fmt.Sprint("results", size)
			other.call(1, &wire.QueueDeclare{Queue: q}, wire.IDQueueDeclareOk)
			other.call(1, &wire.QueueDeclare{Queue: results}, wire.IDQueueDeclareOk)
			deaf.send(1, &wire.BasicConsume{Queue: q, ConsumerTag: "deaf", NoWait: true})
			total := 32 << 20 / size
			for range total {
				other.publish(1, wire.Publish{Key: []byte(q), Body: make([]byte, size)})
			}
			other.ready(1, q)
			deaf.fill(results, 100)
			deadline := time.Now().Add(patience)
			for other.ready(1, results) != 100 {
				if time.Now().After(deadline) {
					t.Fatal("the publishes of the deaf client are held up")
				}
			}
			if left := other.ready(1, q); left == 0 {
				t.Error("everything was sent to a client that does not read")
			}
			deaf.nc.Close()
			for other.ready(1, q) != total {
				if time.Now().After(deadline) {
					t.Fatalf("%d of %d messages came back", other.ready(1, q), total)
				}
			}
			other.call(1, &wire.QueuePurge{Queue: q}, wire.IDQueuePurgeOk)
		})
	}
}

func TestLargeBodiesAreWrittenInPlaceBetweenSmallOnes(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.handshake(&wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 8192})
	p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	q := p.declare(1)
	var want [][]byte
	for i := range 60 {
		body := bytes.Repeat([]byte{byte(i)}, []int{10, deliver.InPlaceBytes - 1, deliver.InPlaceBytes, 100 << 10, 8184, 16 << 10}[i%6])
		want = append(want, body)
		p.publish(1, wire.Publish{Key: []byte(q), Body: body})
	}
	p.call(1, &wire.BasicConsume{Queue: q}, wire.IDBasicConsumeOk)
	for i, body := range want {
		if m := p.expect(1, wire.IDBasicDeliver); !bytes.Equal(m.body, body) {
			t.Fatalf("message %d has %d bytes, want %d", i, len(m.body), len(body))
		}
	}
}

func TestBothExtremesOfAckingAgree(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	q := p.declare(1)
	const n = 1000
	p.fill(q, n)
	p.call(1, &wire.BasicConsume{Queue: q}, wire.IDBasicConsumeOk)
	for i := range n {
		p.delivery(1, fmt.Sprint(i))
	}
	for i := n / 2; i > 0; i-- { // single ones, backwards
		p.send(1, &wire.BasicAck{DeliveryTag: uint64(2 * i)})
	}
	p.send(1, &wire.BasicNack{DeliveryTag: n - 1, Multiple: true}) // the odd ones at once
	p.call(1, &wire.ChannelClose{}, wire.IDChannelCloseOk)
	p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	if left := p.ready(1, q); left != 0 {
		t.Errorf("%d messages came back", left)
	}
}

func TestForcedCloseIsTold(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	r.server.CloseAll("maintenance")
	m := p.expect(0, wire.IDConnectionClose).method.(*wire.ConnectionClose)
	if m.ReplyCode != wire.ConnectionForced || !strings.Contains(m.ReplyText, "maintenance") {
		t.Errorf("%+v", m)
	}
	p.send(0, &wire.ConnectionCloseOk{})
	p.closed()
	nc := r.dial()
	nc.SetReadDeadline(time.Now().Add(patience))
	if n, err := nc.Read(make([]byte, 1)); err == nil {
		t.Errorf("a new connection was served: %d bytes", n)
	}
}

func TestAClientThatDoesNotReadLeavesItsQueueWhenItSaysSo(t *testing.T) {
	r := newRig(t, rigOptions{})
	deaf, other := r.connect(), r.connect()
	other.call(1, &wire.QueueDeclare{Queue: "large"}, wire.IDQueueDeclareOk)
	deaf.send(1, &wire.BasicConsume{Queue: "large", ConsumerTag: "deaf", NoWait: true, Exclusive: true})
	const total = 320
	for range total {
		other.publish(1, wire.Publish{Key: []byte("large"), Body: make([]byte, 100<<10)})
	}
	deadline := time.Now().Add(patience)
	for before := -1; ; { // until the writer stands still with bytes of the log in its hands
		now := other.ready(1, "large")
		if now == before && now < total {
			break
		}
		before = now
		time.Sleep(50 * time.Millisecond)
	}
	deaf.send(1, &wire.ChannelClose{})
	for other.ready(1, "large") != total {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d messages came back", other.ready(1, "large"), total)
		}
	}
	other.call(1, &wire.BasicConsume{Queue: "large", ConsumerTag: "next", Exclusive: true}, wire.IDBasicConsumeOk)
}

func TestPrefetchOfTheChannelHoldsForConsumersThatWereThereBefore(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	q := p.declare(1)
	p.call(1, &wire.BasicConsume{Queue: q}, wire.IDBasicConsumeOk)
	p.fill(q, 2)
	p.delivery(1, "0")
	p.delivery(1, "1")
	p.call(1, &wire.BasicQos{PrefetchCount: 3, Global: true}, wire.IDBasicQosOk)
	p.fill(q, 3)
	p.delivery(1, "0") // what is out already counts
	p.nothing()
	p.send(1, &wire.BasicAck{DeliveryTag: 2, Multiple: true})
	p.delivery(1, "1")
	p.delivery(1, "2")
	p.nothing()
}

func TestConsumersWithoutAcksWaitForThePrefetchOfTheChannel(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	a, b := p.declare(1), p.declare(1)
	p.call(1, &wire.BasicQos{PrefetchCount: 1, Global: true}, wire.IDBasicQosOk)
	p.call(1, &wire.BasicConsume{Queue: a}, wire.IDBasicConsumeOk)
	p.fill(a, 1)
	p.delivery(1, "0")
	p.call(1, &wire.BasicConsume{Queue: b, NoAck: true}, wire.IDBasicConsumeOk)
	p.fill(b, 2)
	p.nothing()
	p.send(1, &wire.BasicAck{DeliveryTag: 1})
	p.delivery(1, "0")
	p.delivery(1, "1") // which use nothing up
	p.fill(a, 1)
	p.delivery(1, "0")
	p.nothing()
}

// A consumer learns of its queue's end behind the answer to its own channel's delete; the writer, which tells it,
// is given every chance to come first.
func TestDeleteOkComesBeforeTheNoticeToTheChannelsOwnConsumers(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	for n := range 200 {
		durable := n%2 == 0
		p.call(1, &wire.QueueDeclare{Queue: "q", Durable: durable}, wire.IDQueueDeclareOk)
		for range n % 4 {
			p.publish(1, text("q", "x"))
		}
		p.call(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "mine", NoAck: true}, wire.IDBasicConsumeOk)
		for range n % 4 {
			p.expect(1, wire.IDBasicDeliver)
		}
		p.call(1, &wire.QueueDelete{Queue: "q"}, wire.IDQueueDeleteOk)
		p.expect(1, wire.IDBasicCancel)
	}
}

// countingLog counts the messages of one text.
type countingLog struct {
	slog.Handler
	text string
	n    atomic.Int32
}

func (l *countingLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == l.text {
		l.n.Add(1)
	}
	return nil
}

func (l *countingLog) WithAttrs([]slog.Attr) slog.Handler { return l }

func TestALogThatCantBeReadIsTriedOnceASecond(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		var opens atomic.Int32
		disk := fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
			if broken.Load() && op == fs.OpOpen && strings.HasSuffix(name, ".log") && opens.Add(1) > 1 {
				return syscall.EIO // recovery may look at it, readers may not
			}
			return nil
		})
		first := newRig(t, rigOptions{fs: disk})
		p := first.handshakeOver(first.pipe(), &wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 131072})
		p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
		p.call(1, &wire.QueueDeclare{Queue: "q", Durable: true}, wire.IDQueueDeclareOk)
		p.publish(1, text("q", "old"))
		p.nothing()
		p.nc.Close()
		first.stop()

		failures := &countingLog{Handler: quiet().Handler(), text: "can't read messages"}
		r := newRig(t, rigOptions{fs: disk, server: func(o *Options) { o.Logger = slog.New(failures) }})
		p = r.handshakeOver(r.pipe(), &wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 131072})
		p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
		broken.Store(true)
		p.call(1, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
		for range 30 {
			p.publish(1, text("q", "new"))
			time.Sleep(20 * time.Millisecond)
		}
		failures.n.Store(0)
		time.Sleep(10 * time.Second)
		if n := failures.n.Load(); n < 9 || n > 11 {
			t.Errorf("tried %d times in 10 s", n)
		}
		broken.Store(false)
		p.delivery(1, "old")
		p.delivery(1, "new")
		p.nc.Close()
	})
}

// As on RabbitMQ: what recover-ok tells of comes behind it, also from a writer that has just emptied the outbox.
func TestRecoverOkComesBeforeWhatItGivesBack(t *testing.T) {
	b := newBench(t, 10, false, false)
	b.publish()
	for b.ch.unacked.Last() < uint64(b.n) { // the first of it waits for a disk
		b.deliver()
		runtime.Gosched()
	}
	before := b.ch.unacked.Last()
	b.c.w.collect()
	if err := b.ch.recover(true, &wire.BasicRecoverOk{}); err != nil {
		t.Fatal(err)
	}
	b.k.Look()
	b.c.outMu.Lock()
	b.c.w.Take()
	b.c.outMu.Unlock()
	if _, err := b.c.w.Deliver(b.c.session); err != nil {
		t.Fatal(err)
	}
	if got := b.ch.unacked.Last(); got != before || len(b.c.out) == 0 {
		t.Errorf("%d were delivered before the answer", got-before)
	}
	b.deliver()
	if got := b.ch.unacked.Last(); got == before || len(b.c.out) > 0 {
		t.Errorf("%d came again, and %d bytes wait", got-before, len(b.c.out))
	}
}
