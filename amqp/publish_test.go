package amqp

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// confirms reads acks and nacks until all publishes from next to last have one, and gives those refused.
func (p *peer) confirms(channel uint16, next, last uint64) (refused []uint64) {
	p.t.Helper()
	for next <= last {
		ch, m, err := p.next()
		if err != nil || ch != channel {
			p.t.Fatal(ch, err)
		}
		tag, multiple, nack := uint64(0), false, false
		switch m := m.method.(type) {
		case *wire.BasicAck:
			tag, multiple = m.DeliveryTag, m.Multiple
		case *wire.BasicNack:
			tag, multiple, nack = m.DeliveryTag, m.Multiple, true
		default:
			p.t.Fatalf("got %s", m.ID())
		}
		if tag < next || tag > next && !multiple {
			p.t.Fatalf("confirm of %d (multiple %v) when %d is next", tag, multiple, next)
		}
		for ; next <= tag; next++ {
			if nack {
				refused = append(refused, next)
			}
		}
	}
	return refused
}

func TestConfirmsCoverEveryPublish(t *testing.T) {
	for _, mode := range []store.Mode{store.ModeOS, store.ModeGroup, store.ModeAlways} {
		t.Run(mode.String(), func(t *testing.T) {
			r := newRig(t, rigOptions{mode: mode})
			p := r.connect()
			p.call(1, &wire.QueueDeclare{Queue: "kept", Durable: true}, wire.IDQueueDeclareOk)
			p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
			const n = 500
			var b []byte
			for i := range n {
				m := wire.Publish{Channel: 1, Key: []byte("kept"), Body: []byte(fmt.Sprint(i)), Properties: wire.RawProperties{0x10, 0, byte(1 + i%2)}}
				if i%7 == 0 {
					m.Key = []byte("nowhere") // unroutable ones are confirmed, too
				}
				b = wire.AppendPublish(b, &m, p.max)
				if len(b) > 3000 {
					p.raw(b)
					b = b[:0]
				}
			}
			p.raw(b)
			if refused := p.confirms(1, 1, n); refused != nil {
				t.Errorf("refused %v", refused)
			}
			if got, want := p.ready(1, "kept"), n-(n+6)/7; got != want {
				t.Errorf("%d messages, want %d", got, want)
			}
		})
	}
}

func TestWhatIsStoredIsConfirmedBeforeItsChannelCloses(t *testing.T) {
	closes := []struct {
		name     string
		channel  uint16
		m        wire.Method
		answer   wire.MethodID
		answered uint16
	}{
		{"channel.close", 1, &wire.ChannelClose{}, wire.IDChannelCloseOk, 1},
		{"connection.close", 0, &wire.ConnectionClose{}, wire.IDConnectionCloseOk, 0},
		{"an error of the channel", 1, &wire.BasicAck{DeliveryTag: 9}, wire.IDChannelClose, 1},
		{"an error of the connection", 1, &wire.BasicGetEmpty{}, wire.IDConnectionClose, 0},
	}
	for _, c := range closes {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, rigOptions{})
			p := r.connect()
			p.call(1, &wire.QueueDeclare{Queue: "kept", Durable: true}, wire.IDQueueDeclareOk)
			p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
			b := wire.AppendPublish(nil, &wire.Publish{Channel: 1, Key: []byte("kept"), Properties: wire.RawProperties{0x10, 0, 2}}, p.max)
			p.raw(wire.AppendMethod(b, c.channel, c.m))
			if ack := p.expect(1, wire.IDBasicAck).method.(*wire.BasicAck); ack.DeliveryTag != 1 {
				t.Errorf("%+v", ack)
			}
			p.expect(c.answered, c.answer)
		})
	}
}

func TestReturnComesBeforeItsConfirm(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
	p.publish(1, wire.Publish{Exchange: []byte("amq.direct"), Key: []byte("k"), Mandatory: true, Properties: wire.RawProperties{0x10, 0, 2}, Body: []byte("back")})
	m := p.expect(1, wire.IDBasicReturn)
	ret := m.method.(*wire.BasicReturn)
	if ret.ReplyCode != wire.NoRoute || ret.ReplyText != "NO_ROUTE" || ret.Exchange != "amq.direct" || ret.RoutingKey != "k" {
		t.Errorf("%+v", ret)
	}
	if string(m.body) != "back" || !bytes.Equal(m.header.Properties, []byte{0x10, 0, 2}) {
		t.Errorf("%q %x", m.body, m.header.Properties)
	}
	p.expect(1, wire.IDBasicAck)
	p.publish(1, wire.Publish{Exchange: []byte("amq.direct"), Key: []byte("k"), Body: []byte("gone")})
	p.expect(1, wire.IDBasicAck)
}

func TestPublishesAreSeenByWhatFollowsThem(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	q := p.declare(1)
	b := wire.AppendPublish(nil, &wire.Publish{Channel: 1, Key: []byte(q), Body: []byte("x")}, p.max)
	b = wire.AppendMethod(b, 1, &wire.QueueDeclare{Queue: q, Passive: true})
	b = wire.AppendMethod(b, 1, &wire.BasicGet{Queue: q})
	b = wire.AppendMethod(b, 1, &wire.BasicAck{DeliveryTag: 1})
	b = wire.AppendMethod(b, 1, &wire.QueueDeclare{Queue: q, Passive: true})
	p.raw(b)
	if m := p.expect(1, wire.IDQueueDeclareOk).method.(*wire.QueueDeclareOk); m.MessageCount != 1 {
		t.Errorf("%d ready after the publish", m.MessageCount)
	}
	if m := p.expect(1, wire.IDBasicGetOk); string(m.body) != "x" {
		t.Errorf("got %q", m.body)
	}
	if m := p.expect(1, wire.IDQueueDeclareOk).method.(*wire.QueueDeclareOk); m.MessageCount != 0 {
		t.Errorf("%d ready after the get", m.MessageCount)
	}
}

// The same message must arrive whatever pieces it is cut into: whole in one write, byte by byte, frame by
// frame with heartbeats in between, in frames of any size.
func TestMessagesArriveHoweverTheyAreCut(t *testing.T) {
	r := newRig(t, rigOptions{})
	table := wire.AppendTableString(nil, "k", "v")
	for _, size := range []int{0, 1, 100, 4088, 4089, 10_000, 300_000} {
		want := wire.Publish{Channel: 1, Properties: props(wire.Properties{ContentType: []byte("a/b"), Headers: table, DeliveryMode: 1}), Body: bytes.Repeat([]byte("0123456"), size/7+1)[:size]}
		cuts := map[string]func(p *peer, b []byte){
			"whole":      func(p *peer, b []byte) { p.raw(b) },
			"in two":     func(p *peer, b []byte) { p.raw(b[:len(b)/2]); p.raw(b[len(b)/2:]) },
			"by 1000":    func(p *peer, b []byte) { byPieces(p, b, 1000) },
			"heartbeats": func(p *peer, b []byte) { withHeartbeats(p, b) },
		}
		if size <= 100 {
			cuts["by byte"] = func(p *peer, b []byte) { byPieces(p, b, 1) }
		}
		for name, send := range cuts {
			t.Run(fmt.Sprintf("%d %s", size, name), func(t *testing.T) {
				p := r.handshake(&wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 4096})
				p.t = t
				p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
				m := want
				m.Key = []byte(p.declare(1))
				send(p, wire.AppendPublish(nil, &m, p.max))
				got := p.call(1, &wire.BasicGet{}, wire.IDBasicGetOk)
				if !bytes.Equal(got.body, m.Body) || !bytes.Equal(got.header.Properties, m.Properties) {
					t.Errorf("%d bytes with properties %x", len(got.body), got.header.Properties)
				}
				p.nc.Close()
			})
		}
	}
}

func byPieces(p *peer, b []byte, n int) {
	for len(b) > 0 {
		k := min(n, len(b))
		p.raw(b[:k])
		b = b[k:]
	}
}

func withHeartbeats(p *peer, b []byte) {
	var out []byte
	for len(b) > 0 {
		_, n, _, err := wire.ParseFrame(b, 1<<20)
		if err != nil {
			p.t.Fatal(err)
		}
		out = append(out, b[:n]...)
		out = wire.AppendHeartbeat(out)
		b = b[n:]
	}
	p.raw(out)
}

func TestBodiesOfTwentyMebibytesComeBackWhole(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	q := p.declare(1)
	body := make([]byte, 20<<20)
	for i := range body {
		body[i] = byte(i >> 7)
	}
	p.publish(1, wire.Publish{Key: []byte(q), Body: body})
	if got := p.call(1, &wire.BasicGet{Queue: q}, wire.IDBasicGetOk); !bytes.Equal(got.body, body) {
		t.Error("get differs")
	}
	p.send(1, &wire.BasicReject{DeliveryTag: 1, Requeue: true}, &wire.BasicConsume{Queue: q, ConsumerTag: "c", NoAck: true})
	p.expect(1, wire.IDBasicConsumeOk)
	got := p.expect(1, wire.IDBasicDeliver)
	if !bytes.Equal(got.body, body) || !got.method.(*wire.BasicDeliver).Redelivered {
		t.Error("delivery differs")
	}
}

func TestCopiesGoToFurtherKeysAndBlindOnesAreHidden(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	to, cc, bcc := p.declare(1), p.declare(1), p.declare(1)
	names := func(queue string) []byte {
		return append([]byte{'S', 0, 0, 0, byte(len(queue))}, queue...)
	}
	headers := wire.AppendTableField(nil, "CC", wire.Field{Tag: 'A', Value: append([]byte{'B', 1}, names(cc)...)}) // a number is no key
	seen := headers
	headers = wire.AppendTableField(headers, "BCC", wire.Field{Tag: 'A', Value: names(bcc)})
	for range 2 {
		p.publish(1, wire.Publish{Key: []byte(to), Properties: props(wire.Properties{Headers: headers, Priority: 3}), Body: []byte("x")})
		for _, q := range []string{to, cc, bcc} {
			m := p.call(1, &wire.BasicGet{Queue: q, NoAck: true}, wire.IDBasicGetOk)
			if want := props(wire.Properties{Headers: seen, Priority: 3}); !bytes.Equal(m.header.Properties, want) {
				t.Errorf("properties %x, want %x", m.header.Properties, want)
			}
		}
	}
}

// full is a file system that can be told to have no space left.
func full(is *atomic.Bool) fs.FS {
	return fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
		if is.Load() && (op == fs.OpAllocate || op == fs.OpWrite) {
			return errors.New("no space left on device")
		}
		return nil
	})
}

func TestAFullStoreRefusesConfirmedPublishesAndClosesOthers(t *testing.T) {
	var noSpace atomic.Bool
	r := newRig(t, rigOptions{fs: full(&noSpace)})
	p := r.connect()
	q := p.declare(1)
	p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
	big := wire.Publish{Key: []byte(q), Properties: wire.RawProperties{0x10, 0, 2}, Body: make([]byte, 100<<10)}
	p.publish(1, big)
	p.confirms(1, 1, 1)
	noSpace.Store(true)
	for range 100 {
		p.publish(1, big)
	}
	if refused := p.confirms(1, 2, 101); len(refused) == 0 {
		t.Error("all publishes were confirmed on a full disk")
	}
	p.publish(2, big)
	m := p.expect(0, wire.IDConnectionClose).method.(*wire.ConnectionClose)
	if m.ReplyCode != wire.ResourceError && m.ReplyCode != wire.InternalError {
		t.Errorf("closed with %d %q", m.ReplyCode, m.ReplyText)
	}
	noSpace.Store(false)
}
