package amqp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/leveret-mq/leveret/amqp/wire"
)

// Most publishes are like the one before, and take a short path then. A stream of publishes that are
// nearly alike, on two channels, whole or in pieces, under bindings that come and go, must end up in the
// queues that each was meant for, as it was sent.
func TestPublishesThatLookAlikeArriveAsTheyWereSent(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { publishAlike(t, rand.New(rand.NewPCG(seed, 7))) })
	}
}

type alike struct {
	exchange, key, body string
	props               wire.RawProperties
}

func publishAlike(t *testing.T, r *rand.Rand) {
	rig := newRig(t, rigOptions{})
	p := rig.connect()
	p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	p.call(1, &wire.ExchangeDeclare{Exchange: "x", Type: "direct"}, wire.IDExchangeDeclareOk)
	queues := []string{p.declare(1), p.declare(1), p.declare(1)}
	expiring := props(wire.Properties{Flags: wire.FlagExpiration, Expiration: []byte("3600000")})
	copied := props(wire.Properties{Headers: appendCC(nil, queues[0])})
	lists := []wire.RawProperties{{0, 0}, {0x10, 0, 2}, {0x10, 0, 1}, expiring, copied}
	var bound [3][3]bool // key, queue
	want := map[string][]alike{}
	var b []byte
	m := alike{key: queues[0], props: lists[0]}
	channel, mandatory, returns := uint16(1), false, 0
	for i := range 5000 {
		if r.IntN(4) == 0 {
			m = alike{key: queues[r.IntN(3)], props: lists[r.IntN(len(lists))]}
			channel, mandatory = uint16(1+r.IntN(2)), r.IntN(5) == 0
			if r.IntN(2) == 0 {
				m.exchange, m.key = "x", fmt.Sprint("k", r.IntN(3))
			}
		}
		if r.IntN(20) == 0 { // the next one like the last may go elsewhere
			k, q := r.IntN(3), r.IntN(3)
			bind := fmt.Sprint("k", k)
			if bound[k][q] {
				b = wire.AppendMethod(b, 1, &wire.QueueUnbind{Queue: queues[q], Exchange: "x", RoutingKey: bind})
			} else {
				b = wire.AppendMethod(b, 1, &wire.QueueBind{Queue: queues[q], Exchange: "x", RoutingKey: bind, NoWait: true})
			}
			bound[k][q] = !bound[k][q]
		}
		m.body = string(bytes.Repeat([]byte{byte('a' + i%26)}, []int{0, 12, 100, 5000}[r.IntN(4)]))
		b = appendPieces(b, r, &wire.Publish{Channel: channel, Mandatory: mandatory, Exchange: []byte(m.exchange), Key: []byte(m.key), Properties: m.props, Body: []byte(m.body)})
		routed := false
		for q, name := range queues {
			direct := m.exchange == "" && (m.key == name || q == 0 && bytes.Equal(m.props, copied))
			if direct || m.exchange != "" && bound[m.key[1]-'0'][q] {
				want[name] = append(want[name], m)
				routed = true
			}
		}
		if mandatory && !routed {
			returns++
		}
	}
	p.raw(b)
	for _, q := range queues {
		got := p.takeAlike(t, q, len(want[q]), &returns)
		for i, w := range want[q] {
			g := got[i]
			if g.exchange != w.exchange || g.key != w.key || g.body != w.body || !bytes.Equal(g.props, w.props) {
				t.Fatalf("message %d of queue %s: %q %q %x, %d bytes; want %q %q %x, %d bytes", i, q, g.exchange, g.key, g.props, len(g.body), w.exchange, w.key, w.props, len(w.body))
			}
		}
	}
	if returns != 0 {
		t.Errorf("%d messages were not returned, or too many", returns)
	}
}

// What is published on a channel that is on its way out is dropped, and nothing may be taken to be like it.
func TestAPublishThatWasDroppedIsNotTheLastOne(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	a, b := p.declare(1), p.declare(1)
	p.publish(1, text(a, "first"))
	p.send(2, &wire.QueueDeclare{Queue: "missing", Passive: true})
	p.publish(2, text(b, "dropped"))
	p.expect(2, wire.IDChannelClose)
	p.send(2, &wire.ChannelCloseOk{})
	p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	p.publish(2, text(b, "second"))
	p.call(2, &wire.QueueDeclare{Queue: b, Passive: true}, wire.IDQueueDeclareOk)
	for queue, body := range map[string]string{a: "first", b: "second"} {
		if m := p.call(1, &wire.BasicGet{Queue: queue, NoAck: true}, wire.IDBasicGetOk); string(m.body) != body {
			t.Errorf("got %q, want %q", m.body, body)
		}
		p.call(1, &wire.BasicGet{Queue: queue}, wire.IDBasicGetEmpty)
	}
}

// A message that comes frame by frame may become whole between two of another channel, which are alike but not like it.
func TestAPublishIsNotLikeOneThatCameInPiecesOnAnotherChannel(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	one, two := p.declare(1), p.declare(1)
	p.begin(1, one, 8)
	p.piece(1, []byte("in "))
	p.publish(2, text(two, "first"))
	p.piece(1, []byte("parts"))
	p.publish(2, text(two, "second"))
	p.call(2, &wire.QueueDeclare{Queue: two, Passive: true}, wire.IDQueueDeclareOk)
	for _, want := range []struct{ queue, body string }{{one, "in parts"}, {two, "first"}, {two, "second"}} {
		p.send(1, &wire.BasicGet{Queue: want.queue, NoAck: true})
		_, m, err := p.next()
		if err != nil || string(m.body) != want.body {
			t.Errorf("got %T %q, want %q: %v", m.method, m.body, want.body, err)
		}
	}
}

// The second message with the same properties is routed by headers that were remembered, the third is of SameHead.
func TestRememberedHeadersRouteLikeThoseThatWereRead(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	q := p.declare(1)
	match := wire.AppendTableString(wire.AppendTableString(nil, "x-match", "all"), "colour", "red")
	p.call(1, &wire.QueueBind{Queue: q, Exchange: "amq.headers", Arguments: match}, wire.IDQueueBindOk)
	with := func(colour string) wire.Publish {
		table := wire.AppendTableString(wire.AppendTableInt(nil, "n", 1), "colour", colour)
		return wire.Publish{Exchange: []byte("amq.headers"), Properties: props(wire.Properties{ContentType: []byte("a/b"), Headers: table, Priority: 1}), Body: []byte(colour)}
	}
	for _, colour := range []string{"red", "red", "red", "blue", "blue", "red"} {
		p.publish(1, with(colour))
		m := with(colour)
		p.raw(wire.AppendHeartbeat(nil))
		m.Key = []byte("other") // another head, the same properties
		p.publish(1, m)
	}
	if got := p.ready(1, q); got != 8 {
		t.Errorf("%d messages, want 8", got)
	}
}

// appendCC appends the header that copies a message to one more key.
func appendCC(table wire.Table, key string) wire.Table {
	element := append([]byte{'S', 0, 0, 0, byte(len(key))}, key...)
	table = append(table, 2, 'C', 'C', 'A', 0, 0, 0, byte(len(element)))
	return append(table, element...)
}

// appendPieces appends a publish, now and then in several body frames or with a heartbeat between its frames.
func appendPieces(b []byte, r *rand.Rand, m *wire.Publish) []byte {
	switch r.IntN(8) {
	case 0:
		return wire.AppendPublish(b, m, 64)
	case 1:
		b = wire.AppendMethod(b, m.Channel, &wire.BasicPublish{Exchange: string(m.Exchange), RoutingKey: string(m.Key), Mandatory: m.Mandatory})
		b = wire.AppendHeartbeat(b)
		b = wire.AppendContentHeader(b, m.Channel, uint64(len(m.Body)), m.Properties)
		return wire.AppendBody(b, m.Channel, m.Body, 4000)
	}
	return wire.AppendPublish(b, m, 100_000)
}

// takeAlike gets n messages of a queue and no more, and counts returned messages and answers to unbinding down.
func (p *peer) takeAlike(t *testing.T, queue string, n int, returns *int) (got []alike) {
	t.Helper()
	for range n + 1 {
		p.send(1, &wire.BasicGet{Queue: queue, NoAck: true})
	}
	for {
		_, m, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		switch a := m.method.(type) {
		case *wire.BasicReturn:
			*returns--
		case *wire.QueueUnbindOk:
		case *wire.BasicGetOk:
			got = append(got, alike{a.Exchange, a.RoutingKey, string(m.body), m.header.Properties})
		case *wire.BasicGetEmpty:
			if len(got) != n {
				t.Fatalf("%d messages in queue %s, want %d", len(got), queue, n)
			}
			return got
		default:
			t.Fatalf("got %s %+v", a.ID(), a)
		}
	}
}
