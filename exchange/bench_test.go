package exchange

import (
	"fmt"
	"slices"
	"testing"
)

var sizes = []int{10, 100, 1000, 10_000, 100_000}

// manyBindings is n bindings of a plausible kind, and a message that a few of them match.
func manyBindings(kind Kind, n int) (list []Binding, key, headers []byte) {
	for i := range n {
		b := Binding{Target: Target(i)}
		switch kind {
		case Direct:
			b.Key = fmt.Sprintf("queue-%d", i)
		case Topic:
			b.Key = [...]string{"service-%d.*.error", "service-%d.#", "*.host-%d.#", "service-%d.host.info"}[i%4]
			b.Key = fmt.Sprintf(b.Key, i)
		case Headers:
			b.Args = fields("type", "report", "tenant", i, "x-match", [...]string{"all", "any"}[i/(n-1)])
		}
		list = append(list, b)
	}
	switch kind {
	case Direct:
		return list, []byte("queue-7"), nil
	case Topic:
		return list, []byte("service-1.host-2.error"), nil
	}
	return list, []byte("any"), fields("tenant", 4, "type", "report", "size", 17)
}

func BenchmarkRoute(b *testing.B) {
	for _, kind := range []Kind{Direct, Topic, Headers} {
		for _, n := range sizes {
			list, key, headers := manyBindings(kind, n)
			table := build(b, kind, list...)
			b.Run(fmt.Sprintf("%v/%d", kind, n), func(b *testing.B) {
				into := make([]Target, 0, 16)
				b.ReportAllocs()
				for b.Loop() {
					into = table.Route(Message{Key: key, Headers: headers}, into[:0])
				}
				if len(into) == 0 {
					b.Fatal("no target")
				}
			})
		}
	}
}

func BenchmarkFanout(b *testing.B) {
	for _, n := range []int{10, 1000} {
		list, key, _ := manyBindings(Fanout, n)
		table := build(b, Fanout, list...)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			into := make([]Target, 0, n)
			for b.Loop() {
				into = table.Route(Message{Key: key}, into[:0])
			}
		})
	}
}

// BenchmarkWith adds one binding to n and takes it away.
func BenchmarkWith(b *testing.B) {
	for _, kind := range []Kind{Direct, Fanout, Topic, Headers} {
		for _, n := range sizes {
			list, _, _ := manyBindings(kind, n)
			table := build(b, kind, list...)
			one := Binding{Key: "service-one.more", Target: 1 << 20, Args: fields("type", "report", "tenant", -1)}
			b.Run(fmt.Sprintf("%v/%d", kind, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					next, _ := table.With(one)
					next.Without(one)
				}
			})
		}
	}
}

func TestRouteAllocatesNothing(t *testing.T) {
	for _, kind := range []Kind{Direct, Fanout, Topic, Headers} {
		list, key, headers := manyBindings(kind, 1000)
		table := build(t, kind, list...)
		into := make([]Target, 0, 1000)
		if n := testing.AllocsPerRun(100, func() { into = table.Route(Message{Key: key, Headers: headers}, into[:0]) }); n != 0 {
			t.Errorf("%v: %v allocations", kind, n)
		}
		if len(into) == 0 {
			t.Errorf("%v: no target", kind)
		}
	}
}

func TestLargeSetsOfTargetsStayOrderedAndComplete(t *testing.T) {
	const n = 5000
	var s *targets
	for i := range n {
		s = s.with(Target(i * 7919 % n)) // every number once, out of order
	}
	got := s.appendTo(nil)
	if len(got) != n || !slices.IsSorted(got) {
		t.Fatalf("%d targets, sorted: %v", len(got), slices.IsSorted(got))
	}
	for i := range n {
		var found bool
		if s, found = s.without(Target(i * 7907 % n)); !found {
			t.Fatalf("target %d got lost", i)
		}
	}
	if s != nil {
		t.Fatal("something is left")
	}
}
