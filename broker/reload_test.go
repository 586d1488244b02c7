package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRoutesAreTheSameAfterEachReload binds and unbinds at random, and checks each
// key's queues against the list of bindings, live and after restarts.
func TestRoutesAreTheSameAfterEachReload(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	r := startWith(t, 0)
	r.exchange("x", "topic")
	bound := map[[2]string]bool{} // queue, key
	names := []string{}
	for i := range 12 {
		names = append(names, fmt.Sprint("q", i))
	}
	keys := []string{"#", "p0.#", "p1.#", "p2.#", "p3.#", "p0.k1", "p1.*", "*.k2"}
	matches := func(pattern, key string) bool {
		switch pattern {
		case "#", key:
			return true
		case "*.k2":
			return key[2:] == ".k2"
		case "p0.k1":
			return false
		}
		return pattern[:3] == key[:3]
	}
	for life := range 8 {
		for range 15 {
			name, key := names[rng.IntN(len(names))], keys[rng.IntN(len(keys))]
			if _, err := r.v.Queue(name); err != nil {
				r.queue(name, QueueOptions{Durable: true})
			}
			b := Binding{Source: "x", Dest: name, Key: key}
			var err error
			switch at := [2]string{name, key}; {
			case rng.IntN(10) == 0:
				_, err = r.s.DeleteQueue(name, false, false)
				for k := range bound {
					if k[0] == name {
						delete(bound, k)
					}
				}
			case bound[at]:
				err = r.s.Unbind(b)
				delete(bound, at)
			default:
				err = r.s.Bind(b)
				bound[at] = true
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		p := r.s.NewPublisher()
		for n := range 4 {
			for k := range 4 {
				key := fmt.Sprintf("p%d.k%d", n, k)
				publish(t, p, "x", key+"="+key)
				for _, name := range names {
					expect := []string{}
					for b := range bound {
						if b[0] == name && matches(b[1], key) {
							expect = []string{key}
						}
					}
					q, err := r.v.Queue(name)
					if err != nil {
						if len(expect) > 0 {
							t.Fatalf("life %d: queue %s is gone", life, name)
						}
						continue
					}
					if got := drain(t, q); !slices.Equal(got, expect) {
						t.Fatalf("life %d: key %s in %s: got %q, want %q", life, key, name, got, expect)
					}
				}
			}
		}
		r.restart()
	}
}

// TestARouteThatWasResolvedBeforeAChangeIsNotKept has the topology change while a
// publish is between the tables and the cache, at the moment when the cache is full.
func TestARouteThatWasResolvedBeforeAChangeIsNotKept(t *testing.T) {
	r := startWith(t, 0)
	a, b := r.queue("a", QueueOptions{}), r.queue("b", QueueOptions{})
	r.exchange("x", "fanout")
	r.bind("x", "a", "")
	r.bind("x", "b", "")
	p := r.s.NewPublisher()
	for i := range maxRoutes {
		p.sets[fmt.Sprint(i)] = &targetSet{}
	}
	// What resolve does, with a change in the middle.
	p.parts = append(p.parts[:0], a.Partitions()[0], b.Partitions()[0])
	if err := r.s.Unbind(Binding{Source: "x", Dest: "b"}); err != nil {
		t.Fatal(err)
	}
	stale := &route{set: p.setOf(p.parts), plain: true}
	p.routes[string(appendRouteKey(nil, &Inbound{Exchange: []byte("x"), Key: []byte("k")}))] = stale
	publish(t, p, "x", "k=1")
	want(t, "a", drain(t, a), []string{"1"})
	want(t, "b", drain(t, b), nil)
}
