package amqpload

import (
	"math/rand/v2"
	"testing"
)

func TestConfirmsInAnyOrder(t *testing.T) {
	type ack struct {
		tag      uint64
		multiple bool
		settled  int64
		bad      bool
	}
	for _, c := range []struct {
		name string
		acks []ack
		low  uint64
	}{
		{"single, in order", []ack{{1, false, 1, false}, {2, false, 1, false}}, 2},
		{"multiple", []ack{{5, true, 5, false}, {7, true, 2, false}}, 7},
		{"single ahead, then the gap", []ack{{3, false, 1, false}, {1, false, 1, false}, {2, false, 1, false}}, 3},
		{"multiple over singles ahead", []ack{{3, false, 1, false}, {2, false, 1, false}, {4, true, 2, false}}, 4},
		{"multiple that meets singles ahead", []ack{{3, false, 1, false}, {2, true, 2, false}}, 3},
		{"twice below", []ack{{2, true, 2, false}, {1, false, 0, true}}, 2},
		{"twice ahead", []ack{{3, false, 1, false}, {3, false, 0, true}}, 0},
		{"far ahead of anything open", []ack{{1 << 20, false, 0, true}}, 0},
		{"tag 0", []ack{{0, false, 0, true}, {0, true, 0, true}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newConfirms(10)
			for _, a := range c.acks {
				n, err := s.ack(a.tag, a.multiple)
				if n != a.settled || (err != nil) != a.bad {
					t.Fatalf("ack %d: settled %d, %v", a.tag, n, err)
				}
			}
			if s.low != c.low {
				t.Fatalf("settled up to %d, should be %d", s.low, c.low)
			}
		})
	}
}

func TestConfirmsOfAShuffledWindowAllSettle(t *testing.T) {
	const window, rounds, seed = 1000, 50, 7
	r := rand.New(rand.NewPCG(seed, seed))
	s := newConfirms(window)
	var total int64
	for round := range rounds {
		for _, i := range r.Perm(window) {
			n, err := s.ack(uint64(round*window+i+1), false)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			total += n
		}
	}
	if total != window*rounds || s.low != window*rounds || s.above != 0 {
		t.Fatalf("seed %d: settled %d, low %d, %d above", seed, total, s.low, s.above)
	}
}
