package amqp

import (
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/internal/netx"
)

// sink is a socket that swallows what is written, and on which in comes in.
type sink struct {
	net.Conn
	in []byte
}

func (*sink) Write(b []byte) (int, error) { return len(b), nil }

func (s *sink) Read(b []byte) (int, error) {
	n := copy(b, s.in)
	if s.in = s.in[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// bench is a connection with one channel and one consumer, whose two goroutines are played by the caller.
type bench struct {
	c     *conn
	nc    *sink
	ch    *channel
	k     *consumer
	asked *int   // how often the policy, or about keys
	block []byte // publishes that fill a read buffer
	n     int    // how many
	acks  []byte
}

func newBench(t testing.TB, bodyBytes int, confirm, noAck bool) *bench {
	t.Helper()
	return newBenchOfKeys(t, bodyBytes, confirm, noAck, 0)
}

// newBenchOfKeys publishes through a topic exchange with keys that take turns, if there are any.
func newBenchOfKeys(t testing.TB, bodyBytes int, confirm, noAck bool, keys int) *bench {
	t.Helper()
	asked := 0
	r := newRig(t, rigOptions{broker: broker.Options{ // as a broker has that runs
		Policy:    func(broker.Request) error { asked++; return nil },
		KeyPolicy: func(broker.KeyRequest) broker.Keys { return countedKeys{&asked} },
	}})
	vhost, err := r.broker.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close(); server.Close() })
	nc := &sink{Conn: server}
	c := newConn(r.server, nc)
	c.session = vhost.NewSession(auth.Identity{Name: "guest"})
	c.publisher = c.session.NewPublisher()
	c.frameMax, c.maxPayload, c.channelMax = 131072, 131064, 2047
	ch := newChannel(c, 1)
	ch.confirm = confirm
	c.channels.add(ch)
	q, err := c.session.DeclareQueue("bench", broker.QueueOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{c: c, nc: nc, ch: ch, asked: &asked}
	if err := ch.consume(&wire.BasicConsume{Queue: q.Name, ConsumerTag: "ctag", NoAck: noAck, NoWait: true}); err != nil {
		t.Fatal(err)
	}
	b.k = ch.consumers["ctag"]
	m := wire.Publish{Channel: 1, Key: []byte("bench"), Properties: wire.RawProperties{0x10, 0, 2}, Body: make([]byte, bodyBytes)}
	if keys > 0 {
		if err := c.session.Bind(broker.Binding{Source: "amq.topic", Dest: q.Name, Key: "key.*"}); err != nil {
			t.Fatal(err)
		}
		m.Exchange = []byte("amq.topic")
	}
	for {
		if keys > 0 {
			m.Key = fmt.Appendf(nil, "key.%d", b.n%keys)
		}
		block := wire.AppendPublish(b.block, &m, c.maxPayload)
		if len(block) > netx.MaxReadBytes {
			break
		}
		b.block = block
		b.n++
	}
	return b
}

// take plays the read loop for what came in with one read.
func (b *bench) take(in []byte) {
	b.nc.in = in
	b.c.rb.Want(len(in))
	b.c.rb.Fill(0)
	b.c.takeAll()
}

// publish plays the read loop for one full buffer.
func (b *bench) publish() {
	b.take(b.block)
}

// deliver plays the writer until all is delivered.
func (b *bench) deliver() {
	b.k.Look()
	b.c.w.turns()
}

// ack plays the read loop for single acks of everything that was delivered.
func (b *bench) ack() {
	b.acks = b.acks[:0]
	for tag := b.ch.unacked.Last() - uint64(b.n) + 1; tag <= b.ch.unacked.Last(); tag++ {
		b.acks = wire.AppendConfirm(b.acks, 1, tag, false, false)
		if len(b.acks) > netx.MaxReadBytes-100 || tag == b.ch.unacked.Last() {
			b.take(b.acks)
			b.acks = b.acks[:0]
		}
	}
}

// countedKeys lets all keys through and counts them.
type countedKeys struct{ n *int }

func (k countedKeys) MatchBytes([]byte) bool { *k.n++; return true }

// Permissions are asked for where a route is found, and cost the messages behind it nothing.
func TestPermissionsCostNothingAMessage(t *testing.T) {
	const keys = 64
	b := newBenchOfKeys(t, 100, true, false, keys)
	b.publish()
	b.deliver()
	b.ack()
	if most := 2*keys + 10; *b.asked > most || *b.asked < keys {
		t.Errorf("asked %d times at first", *b.asked)
	}
	before := *b.asked
	for range 5 {
		b.publish()
		b.deliver()
		b.ack()
	}
	if *b.asked != before {
		t.Errorf("asked %d times more for %d messages", *b.asked-before, 5*b.n)
	}
	if b.c.ended || b.c.closing || b.ch.closing {
		t.Error("the connection did not survive")
	}
}

// A buffer of a thousand publishes, their deliveries, confirms and acks may cost a few allocations each,
// never one a message.
func TestPublishAndDeliveryStayInTheirAllocationBudgets(t *testing.T) {
	cases := []struct {
		name           string
		confirm, noAck bool
		run            func(*bench)
	}{
		{"publish and auto-acked delivery", false, true, func(b *bench) { b.publish(); b.deliver() }},
		{"confirmed publish, delivery, single acks", true, false, func(b *bench) { b.publish(); b.deliver(); b.ack() }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, 100, c.confirm, c.noAck)
			c.run(b)
			budget := float64(b.n) / 20
			perBuffer := alloc.Least(budget, 20, func() { c.run(b) })
			if perBuffer > budget {
				t.Errorf("%.0f allocations for %d messages", perBuffer, b.n)
			}
			t.Logf("%.0f allocations for %d messages", perBuffer, b.n)
			if b.c.ended || b.c.closing || b.ch.closing {
				t.Error("the connection did not survive")
			}
		})
	}
}

func BenchmarkPublishAndDeliver(b *testing.B) {
	for _, c := range []struct {
		name           string
		size           int
		confirm, noAck bool
		keys           int
	}{
		{"12B auto-ack", 12, false, true, 0}, {"100B auto-ack", 100, false, true, 0}, {"1KiB auto-ack", 1024, false, true, 0},
		{"12B confirm and acks", 12, true, false, 0}, {"12B auto-ack, 64 keys", 12, false, true, 64},
	} {
		b.Run(c.name, func(b *testing.B) {
			x := newBenchOfKeys(b, c.size, c.confirm, c.noAck, c.keys)
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += x.n {
				x.publish()
				x.deliver()
				if !c.noAck {
					x.ack()
				}
			}
		})
	}
}
