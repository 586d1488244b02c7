package consumer

import (
	"math/rand/v2"
	"testing"
)

// worker is a consumer that takes some ticks for a message and works on one at a time.
type worker struct {
	k     *Consumer
	ticks int
	held  []Run // taken, the first is worked on
	until int
}

// A thousand workers, of which the slowest takes a thousand times as long as the fastest: while
// something is ready nobody has less than his prefetch, so the work is done in the time that all of
// them together need for it, and what each still has of it.
func TestAThousandConsumersOfDifferentSpeedShareTheWork(t *testing.T) {
	for _, prefetch := range []int{1, 20} {
		const workers, messages = 1000, 60_000
		l := &fakeLog{}
		l.add(messages, 0)
		c := newCursor(t, l, State{})
		rng := rand.New(rand.NewPCG(5, uint64(prefetch)))
		woken := map[*worker]bool{}
		var all []*worker
		perTick := 0.0
		for range workers {
			w := &worker{ticks: 1 + rng.IntN(10)*rng.IntN(10)*rng.IntN(11)}
			w.k = add(t, c, ConsumerOptions{Prefetch: prefetch, Wake: func() { woken[w] = true }})
			all = append(all, w)
			woken[w] = true
			perTick += 1 / float64(w.ticks)
		}
		now, done := 0, 0
		for ; done < messages; now++ {
			for _, w := range all {
				if len(w.held) == 0 || now < w.until {
					continue
				}
				first := w.held[0].First
				must(t, w.k.Ack(first, first))
				if w.held[0].First++; w.held[0].Len() == 0 {
					w.held = w.held[1:]
				}
				done++
				w.until = now + w.ticks
			}
			for len(woken) > 0 {
				for w := range woken {
					delete(woken, w)
					if len(w.held) == 0 {
						w.until = now + w.ticks
					}
					w.held = append(w.held, take(w.k, 1<<20)...)
				}
			}
			ready := c.Ready()
			for _, w := range all {
				if n := total(w.held); n > int64(prefetch) || ready > 0 && n < int64(prefetch) {
					t.Fatalf("tick %d: one of %d ticks has %d with %d ready, its prefetch is %d", now, w.ticks, n, ready, prefetch)
				}
			}
			if ready == 0 {
				break
			}
		}
		ideal := float64(messages-workers*prefetch) / perTick
		if float64(now) > ideal*1.05+2000 {
			t.Errorf("prefetch %d: %d ticks until nothing was left, in %0.f all of them could do it", prefetch, now, ideal)
		}
		t.Logf("prefetch %d: %d ticks, %.0f at best", prefetch, now, ideal)
	}
}

// Consumers of thousands of priorities: each message goes to the highest that can take it.
func TestEachOfThousandsOfPrioritiesHasItsPlace(t *testing.T) {
	const n = 3000
	l := &fakeLog{}
	c := newCursor(t, l, State{})
	rng := rand.New(rand.NewPCG(5, 8))
	ks := make([]*Consumer, n)
	woken := map[int]bool{}
	for _, i := range rng.Perm(n) {
		ks[i] = add(t, c, ConsumerOptions{Priority: i * 1000, Prefetch: 1, Wake: func() { woken[i] = true }})
		take(ks[i], 10)
	}
	held := map[int]offset{}
	highest := func() int {
		for i := n - 1; i >= 0; i-- {
			if _, busy := held[i]; !busy && ks[i] != nil {
				return i
			}
		}
		return -1
	}
	for step := range 4 * n {
		switch {
		case rng.IntN(3) > 0 || len(held) == 0:
			want := highest()
			if want < 0 {
				continue
			}
			l.add(1, 0)
			c.Notify()
			for i := range woken {
				delete(woken, i)
				for _, r := range take(ks[i], 10) {
					if held[i] = r.First; i != want {
						t.Fatalf("step %d: priority %d got it, want %d", step, i, want)
					}
				}
			}
		default:
			for i, o := range held {
				must(t, ks[i].Ack(o, o))
				delete(held, i)
				if rng.IntN(4) == 0 {
					ks[i].Cancel()
					ks[i] = nil
				}
				break
			}
		}
	}
	if c.Ready() != 0 {
		t.Errorf("%d are left", c.Ready())
	}
}
