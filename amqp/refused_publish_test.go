package amqp

import (
	"fmt"
	"slices"
	"testing"

	"github.com/leveret-mq/leveret/amqp/wire"
)

// limited declares a queue that takes n messages and refuses more.
func (p *peer) limited(channel uint16, name string, n int64) {
	p.t.Helper()
	args := wire.AppendTableInt(nil, "x-max-length", n)
	args = wire.AppendTableString(args, "x-overflow", "reject-publish")
	p.call(channel, &wire.QueueDeclare{Queue: name, Arguments: args}, wire.IDQueueDeclareOk)
}

// TestWhatAFullQueueRefusesHasANackOfItsOwn in one read, between publishes that are taken, on two channels by turns.
func TestWhatAFullQueueRefusesHasANackOfItsOwn(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	p.limited(1, "full", 3)
	free := p.declare(1)
	p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
	p.call(2, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
	var b []byte
	want := map[uint16][]uint64{}
	number := map[uint16]uint64{}
	taken := 0
	for i := range 40 {
		channel, key := uint16(1+i%2), "full"
		if i%5 == 4 {
			key = free
		}
		number[channel]++
		if key == "full" {
			if taken++; taken > 3 {
				want[channel] = append(want[channel], number[channel])
			}
		}
		b = wire.AppendPublish(b, &wire.Publish{Channel: channel, Key: []byte(key), Body: fmt.Append(nil, i), Properties: wire.RawProperties{0x10, 0, 2}}, p.max)
	}
	p.raw(b)
	got := map[uint16][]uint64{}
	settled := map[uint16]uint64{}
	for settled[1] < 20 || settled[2] < 20 {
		ch, m, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		first := settled[ch] + 1
		switch m := m.method.(type) {
		case *wire.BasicAck:
			settled[ch] = m.DeliveryTag
		case *wire.BasicNack:
			settled[ch] = m.DeliveryTag
			for n := first; n <= m.DeliveryTag; n++ {
				got[ch] = append(got[ch], n)
			}
		default:
			t.Fatalf("got %s", m.ID())
		}
	}
	for ch := uint16(1); ch <= 2; ch++ {
		if !slices.Equal(got[ch], want[ch]) {
			t.Errorf("channel %d: refused %v, want %v", ch, got[ch], want[ch])
		}
	}
	if full, rest := p.ready(1, "full"), p.ready(1, free); full != 3 || rest != 8 {
		t.Errorf("%d in the full queue, %d in the other", full, rest)
	}
	// Without confirms nobody is told, and the connection goes on.
	p.call(3, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	p.publish(3, wire.Publish{Key: []byte("full"), Body: []byte("unheard")})
	if n := p.ready(3, "full"); n != 3 {
		t.Errorf("%d in the full queue", n)
	}
}

func TestMarksOfRefusedPublishes(t *testing.T) {
	ch, other := &channel{number: 7}, &channel{number: 8}
	for _, c := range []struct {
		refused []uint64
		want    string
	}{
		{nil, "10-20"},
		{[]uint64{10}, "!10-10 11-20"},
		{[]uint64{20}, "10-19 !20-20"},
		{[]uint64{12, 13, 14, 17}, "10-11 !12-14 15-16 !17-17 18-20"},
		{[]uint64{9, 21}, "10-20"},
	} {
		refs := []uint64{other.ref(12), (&channel{number: 6}).ref(15)}
		for _, n := range c.refused {
			refs = append(refs, ch.ref(n))
		}
		slices.Sort(refs)
		got := ""
		for i, m := range ch.appendMarks(nil, 10, 20, refs) {
			if i > 0 {
				got += " "
			}
			if m.refused {
				got += "!"
			}
			got += fmt.Sprintf("%d-%d", m.first, m.last)
		}
		if got != c.want {
			t.Errorf("%v: %s, want %s", c.refused, got, c.want)
		}
	}
}
