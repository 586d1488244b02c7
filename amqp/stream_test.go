package amqp

import (
	"fmt"
	"testing"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/deliver"
)

// stream declares a stream with so many messages, "0", "1" …
func (p *peer) stream(name string, messages int) {
	p.t.Helper()
	p.call(1, &wire.QueueDeclare{Queue: name, Durable: true, Arguments: wire.AppendTableString(nil, "x-queue-type", "stream")}, wire.IDQueueDeclareOk)
	p.fill(name, messages)
}

// follow consumes a stream with a prefetch.
func (p *peer) follow(channel uint16, name string, prefetch int, from string) {
	p.t.Helper()
	p.call(channel, &wire.BasicQos{PrefetchCount: uint16(prefetch)}, wire.IDBasicQosOk)
	p.call(channel, &wire.BasicConsume{Queue: name, ConsumerTag: "c", Arguments: wire.AppendTableString(nil, "x-stream-offset", from)}, wire.IDBasicConsumeOk)
}

// at reads the next delivery of a stream and checks its body and offset.
func (p *peer) at(channel uint16, offset int) *wire.BasicDeliver {
	p.t.Helper()
	m := p.expect(channel, wire.IDBasicDeliver)
	var props wire.Properties
	if err := m.header.Properties.Parse(&props); err != nil {
		p.t.Fatal(err)
	}
	f, ok := props.Headers.Get("x-stream-offset")
	if n, isInt := f.Int(); !ok || !isInt || n != int64(offset) || string(m.body) != fmt.Sprint(offset) {
		p.t.Fatalf("got %q with %v, want %d", m.body, f, offset)
	}
	d := m.method.(*wire.BasicDeliver)
	if d.Redelivered {
		p.t.Errorf("%d is marked as redelivered", offset)
	}
	return d
}

func TestAcksOfAStreamAreCredit(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	p.stream("s", 12)
	p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	p.follow(1, "s", 3, "first")
	for i := range 3 {
		p.at(1, i)
	}
	p.nothing()
	for i, m := range []wire.Method{&wire.BasicAck{DeliveryTag: 2}, &wire.BasicNack{DeliveryTag: 1}, &wire.BasicNack{DeliveryTag: 4, Requeue: true}, &wire.BasicReject{DeliveryTag: 3, Requeue: true}} {
		p.send(1, m)
		p.at(1, 3+i)
		p.nothing()
	}
	p.send(1, &wire.BasicAck{Multiple: true})
	for i := range 3 {
		p.at(1, 7+i)
	}
	p.nothing()
	p.follow(2, "s", 100, "first") // another one, from the start
	for i := range 12 {
		p.at(2, i)
	}
	p.call(1, &wire.ChannelClose{}, wire.IDChannelCloseOk)
	p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	p.follow(1, "s", 1, "first") // as if nobody had been there
	p.at(1, 0)
	p.send(2, &wire.BasicRecover{Requeue: true})
	p.expect(2, wire.IDBasicRecoverOk)
	p.publish(1, text("s", "12"))
	p.at(2, 12)
}

func TestWhatAStreamRefusesEndsTheChannelOrTheConnection(t *testing.T) {
	for name, c := range map[string]struct {
		send wire.Method
		want wire.Code
	}{
		"consume without a prefetch": {&wire.BasicConsume{Queue: "s"}, wire.PreconditionFailed},
		"get":                        {&wire.BasicGet{Queue: "s"}, wire.NotImplemented},
		"purge":                      {&wire.QueuePurge{Queue: "s"}, wire.NotImplemented},
	} {
		t.Run(name, func(t *testing.T) {
			p := newRig(t, rigOptions{}).connect()
			p.stream("s", 1)
			p.send(1, c.send)
			_, m, err := p.next()
			switch got := m.method.(type) {
			case *wire.ChannelClose:
				if got.ReplyCode != c.want || c.want != wire.PreconditionFailed {
					t.Errorf("%+v", got)
				}
			case *wire.ConnectionClose:
				if got.ReplyCode != c.want || c.want != wire.NotImplemented {
					t.Errorf("%+v", got)
				}
			default:
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
}

// Large bodies leave from the log's own bytes, with their offsets.
func TestLargeMessagesOfAStreamComeWhole(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	p.stream("s", 0)
	body := make([]byte, 3*deliver.InPlaceBytes)
	for range 3 {
		p.publish(1, text("s", string(body)))
	}
	p.follow(1, "s", 10, "first")
	for i := range 3 {
		if m := p.expect(1, wire.IDBasicDeliver); len(m.body) != len(body) {
			t.Errorf("message %d has %d bytes", i, len(m.body))
		}
	}
	p.send(1, &wire.BasicAck{Multiple: true})
	p.call(1, &wire.BasicCancel{ConsumerTag: "c"}, wire.IDBasicCancelOk)
}

// A stream's deliveries allocate nothing, however they are encoded.
func TestDeliveriesOfAStreamAllocateNothing(t *testing.T) {
	b := newBench(t, 100, false, false)
	q, err := b.c.session.DeclareQueue("s", broker.QueueOptions{Durable: true, Args: wire.AppendTableString(nil, "x-queue-type", "stream")})
	if err != nil {
		t.Fatal(err)
	}
	b.ch.prefetch = 60_000
	if err := b.ch.consume(&wire.BasicConsume{Queue: q.Name, ConsumerTag: "s", NoWait: true}); err != nil {
		t.Fatal(err)
	}
	k := b.ch.consumers["s"]
	in := broker.Inbound{Key: []byte("s"), Properties: wire.RawProperties{0x10, 0, 2}, Body: make([]byte, 100)}
	for range 20_000 {
		if _, err := b.c.publisher.Publish(&in); err != nil {
			t.Fatal(err)
		}
	}
	b.c.publisher.Store()
	got := 0
	turn := func() {
		b.c.w.Turn.Buf = b.c.w.Turn.Buf[:0]
		n, err := k.Sub.Pull(100, 1<<20, k.Deliver)
		if err != nil {
			t.Fatal(err)
		}
		got += n
		k.Sub.Release()
		b.ch.unacked.SettleAll(0)
		b.ch.unacked.Tell()
	}
	turn()
	if n := testing.AllocsPerRun(100, turn); n > 0 || got < 5000 {
		t.Errorf("%v allocations in a turn of a hundred; %d messages", n, got)
	}
}
