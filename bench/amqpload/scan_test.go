package amqpload

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/bench/measure"
)

// delivery is the frames of one delivery as a broker sends them.
func delivery(tag uint64, redelivered byte, body []byte, frameMax int) []byte {
	b := appendFrame(nil, frameMethod, 1, method(basicDeliver).short("amq.ctag-1").u64(tag).u8(redelivered).short("x").short("key"))
	b = appendFrame(b, frameHeader, 1, args(nil).u16(60).u16(0).u64(uint64(len(body))).u16(0x1000).u8(2))
	for len(body) > 0 {
		n := min(len(body), frameMax-frameOverhead)
		b = appendFrame(b, frameBody, 1, body[:n])
		body = body[n:]
	}
	return b
}

func stamped(size int, seq uint64, micros uint32) []byte {
	b := make([]byte, size)
	measure.PutStamp(b, seq, micros)
	return b
}

func scanner(l Load) *consumer {
	l.defaults()
	return &consumer{load: &l, check: measure.NewSequence(1), latency: measure.NewLatencies()}
}

func TestScanTakesDeliveriesHoweverTheyAreCut(t *testing.T) {
	const messages, size, seed = 50, 9000, 11
	var wire []byte
	for i := range uint64(messages) {
		wire = append(wire, delivery(i+1, 0, stamped(size, i, 100), 4096)...)
		if i%7 == 0 {
			wire = appendFrame(wire, 8, 0, nil) // a heartbeat between deliveries
		}
	}
	r := rand.New(rand.NewPCG(seed, seed))
	k := scanner(Load{BodyBytes: size, AutoAck: true})
	var pending []byte
	for rest := wire; len(rest) > 0; {
		n := min(1+r.IntN(6000), len(rest))
		pending = append(pending, rest[:n]...)
		rest = rest[n:]
		taken, err := k.scanFrames(pending, 350)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		pending = pending[taken:]
	}
	if len(pending) != 0 {
		t.Fatalf("seed %d: %d bytes left", seed, len(pending))
	}
	if err := k.check.Err([]int64{messages}); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	if k.latency.Count() != messages || k.latency.Max().Microseconds() != 250 {
		t.Fatalf("%d latencies, max %v", k.latency.Count(), k.latency.Max())
	}
}

func TestScanRefusesWhatABrokerMustNotSend(t *testing.T) {
	good := stamped(20, 0, 0)
	for _, c := range []struct {
		name, want string
		wire       []byte
	}{
		{"redelivered", "redelivered 1", delivery(1, 1, good, 4096)},
		{"tag skipped", "delivery tag 2 after 0", delivery(2, 0, good, 4096)},
		{"body of another size", "body of 21 bytes", delivery(1, 0, stamped(21, 0, 0), 4096)},
		{"body without header", "out of place", appendFrame(nil, frameBody, 1, good)},
		{"header without delivery", "out of place", appendFrame(nil, frameHeader, 1, make([]byte, 14))},
		{"first body frame too short", "too short", delivery(1, 0, good, 16)},
		{"channel closed", "404 gone", appendFrame(nil, frameMethod, 1, method(channelClose).u16(404).short("gone").u32(0))},
		{"frame too large", "above the agreed", []byte{3, 0, 1, 0x7f, 0, 0, 0, 0}},
		{"method cut short", "cut short", appendFrame(nil, frameMethod, 1, []byte{0, 60})},
		{"delivery cut short", "cut short", appendFrame(nil, frameMethod, 1, method(basicDeliver).short("123456789").u8(1))},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := scanner(Load{BodyBytes: 20, AutoAck: true}).scanFrames(c.wire, 0)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error is %v, it should say %q", err, c.want)
			}
		})
	}
}

func TestAcksCoverWhatWasDelivered(t *testing.T) {
	for _, c := range []struct {
		name     string
		every    int
		tags     []uint64
		multiple byte
	}{
		{"each", 1, []uint64{1, 2, 3, 4, 5, 6, 7}, 0},
		{"three at a time, and the rest", 3, []uint64{3, 6, 7}, 1},
		{"fewer than one acknowledgement covers", 100, []uint64{7}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := scanner(Load{BodyBytes: 12, AckEvery: c.every})
			var wire []byte
			for i := range uint64(7) {
				wire = append(wire, delivery(i+1, 0, stamped(12, i, 0), 4096)...)
			}
			if _, err := k.scanFrames(wire, 0); err != nil {
				t.Fatal(err)
			}
			if k.unacked > 0 {
				k.appendAck()
			}
			for i, tag := range c.tags {
				kind, p, n, err := splitFrame(k.acks)
				if err != nil || n == 0 || kind != frameMethod || args(p).id() != basicAck || binary.BigEndian.Uint64(p[4:]) != tag {
					t.Fatalf("ack %d: kind %d, %x, %v; tag %d is due", i, kind, p, err, tag)
				}
				if last := i == len(c.tags)-1; !last && p[12] != c.multiple {
					t.Fatalf("ack %d: multiple is %d", i, p[12])
				}
				k.acks = k.acks[n:]
			}
			if len(k.acks) != 0 {
				t.Fatalf("%d bytes of acks too many", len(k.acks))
			}
		})
	}
}

func TestScanDoesNotAllocate(t *testing.T) {
	k := scanner(Load{BodyBytes: 12, AckEvery: 1})
	var n uint64
	one := delivery(1, 0, stamped(12, 0, 0), 4096)
	at := len(one) - frameOverhead - 12 + 7
	tagAt := 7 + 4 + 1 + len("amq.ctag-1")
	k.acks = make([]byte, 0, 1024)
	got := testing.AllocsPerRun(1000, func() {
		binary.BigEndian.PutUint64(one[tagAt:], n+1)
		measure.PutStamp(one[at:], n, uint32(n))
		if _, err := k.scanFrames(one, uint32(n)+5); err != nil {
			t.Fatal(err)
		}
		k.acks = k.acks[:0]
		n++
	})
	if got != 0 {
		t.Fatalf("%v allocations a delivery", got)
	}
}

func FuzzScan(f *testing.F) {
	f.Add(delivery(1, 0, stamped(20, 0, 0), 4096))
	f.Add(delivery(1, 0, stamped(9000, 0, 0), 4096))
	f.Add(appendFrame(nil, frameMethod, 1, method(channelClose).u16(404).short("gone").u32(0)))
	f.Add([]byte{1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 60, 0xCE})
	f.Fuzz(func(t *testing.T, b []byte) {
		k := scanner(Load{BodyBytes: 20})
		if taken, _ := k.scanFrames(b, 0); taken > len(b) || taken < 0 {
			t.Fatalf("took %d of %d bytes", taken, len(b))
		}
	})
}

func BenchmarkScan12B(b *testing.B) {
	const messages = 1000
	var wire []byte
	for i := range uint64(messages) {
		wire = append(wire, delivery(i+1, 0, stamped(12, i, 0), 4096)...)
	}
	k := scanner(Load{BodyBytes: 12, AutoAck: true})
	b.ReportAllocs()
	for i := 0; i < b.N; i += messages {
		k.scan, k.check = scanState{}, measure.NewSequence(1)
		if _, err := k.scanFrames(wire, 10); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStamp12B(b *testing.B) {
	const messages = 900
	block, err := NewBlock(BlockOptions{Keys: []string{"lb.abcdef"}, BodyBytes: 12, FrameMaxBytes: 4096}, messages)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < b.N; i += messages {
		block.Stamp(uint64(i), uint32(i))
	}
}
