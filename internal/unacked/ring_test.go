package unacked

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/leveret-mq/leveret/message"
)

func TestUnackedEntryTakesSixteenBytes(t *testing.T) {
	if n := unsafe.Sizeof(entry{}); n != 16 {
		t.Fatal(n)
	}
}

// The ring must agree with a plain map under any order of deliveries and verdicts.
func TestUnackedAgreesWithAMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var u ring
	u.last = 1<<32 - 500 // so that the low half of the tags wraps
	want := map[uint64]message.Offset{}
	oldest := u.last + 1
	for step := range 200_000 {
		switch r.IntN(7) {
		case 0, 1, 2:
			o := message.Offset(step)
			want[u.push(o, 3)] = o
		case 3:
			u.skip()
		case 4, 5:
			tag := oldest + r.Uint64N(u.last-oldest+3)
			e, ok := u.take(tag)
			o, there := want[tag]
			if ok != there || ok && e.offset != o {
				t.Fatalf("step %d: take %d is %v %v, want %v %v", step, tag, e, ok, o, there)
			}
			delete(want, tag)
		case 6:
			if r.IntN(50) != 0 {
				continue
			}
			upTo := oldest + r.Uint64N(u.last-oldest+2)
			n := 0
			for tag := range want {
				if tag <= upTo {
					n++
				}
			}
			before := message.Offset(-1)
			for {
				e, ok := u.pop(upTo)
				if !ok {
					break
				}
				if e.offset <= before {
					t.Fatalf("step %d: popped %d after %d", step, e.offset, before)
				}
				before = e.offset
				n--
			}
			if n != 0 {
				t.Fatalf("step %d: %d not popped", step, n)
			}
			for tag := range want {
				if tag <= upTo {
					delete(want, tag)
				}
			}
			oldest = min(upTo, u.last) + 1
		}
		if u.live != len(want) {
			t.Fatalf("step %d: %d live, want %d", step, u.live, len(want))
		}
	}
}

func TestOneOldUnackedDeliveryKeepsNoMemoryForLaterOnes(t *testing.T) {
	var u ring
	first := u.push(1, 0)
	for i := range 1_000_000 {
		tag := u.push(message.Offset(i), 0)
		if _, ok := u.take(tag); !ok {
			t.Fatal(tag)
		}
	}
	if len(u.entries) > 4*minRing {
		t.Fatalf("ring of %d for one unacked delivery", len(u.entries))
	}
	if e, ok := u.take(first); !ok || e.offset != 1 {
		t.Fatal(e, ok)
	}
}

func TestUnackedRefusesTagsItDoesNotKnow(t *testing.T) {
	var u ring
	u.push(1, 0)
	two := u.push(2, 0)
	for _, tag := range []uint64{0, 3, 1 << 60} {
		if _, ok := u.take(tag); ok {
			t.Errorf("tag %d taken", tag)
		}
	}
	if _, ok := u.take(two); !ok {
		t.Error("tag 2 not taken")
	}
	if _, ok := u.take(two); ok {
		t.Error("tag 2 taken twice")
	}
}

func BenchmarkUnackedInOrder(b *testing.B) {
	var u ring
	for range 200 {
		u.push(0, 0)
	}
	for i := range b.N {
		u.push(message.Offset(i), 0)
		u.take(uint64(i + 1))
	}
}
