package broker

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// TestNamesAreAsInAMap, however many come and go.
func TestNamesAreAsInAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	id := func(n uint64) (id messageID) {
		binary.BigEndian.PutUint64(id[:], n*0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(id[8:], n)
		return id
	}
	var m nameMap[int]
	want := map[messageID]int{}
	check := func(n uint64) {
		t.Helper()
		v, ok := m.get(id(n))
		if w, there := want[id(n)]; v != w || ok != there || m.n != len(want) {
			t.Fatalf("%d is %d, %v of %d; want %d, %v of %d", n, v, ok, m.n, w, there, len(want))
		}
	}
	for _, most := range []uint64{10, fewNames, 20 * fewNames, 50, 1} {
		for i := range 60_000 {
			n := rng.Uint64N(most)
			if rng.IntN(3) == 0 {
				m.remove(id(n))
				delete(want, id(n))
			} else {
				m.set(id(n), i)
				want[id(n)] = i
			}
			check(rng.Uint64N(most))
		}
		odd := func(v int) bool { return v%2 == 1 }
		removed := 0
		for i := range nameShards {
			removed += m.sweep(i, 1<<30, odd)
		}
		for id, v := range want {
			if odd(v) {
				delete(want, id)
				removed--
			}
		}
		if removed != 0 {
			t.Errorf("of %d, %d were removed too many", most, removed)
		}
		check(rng.Uint64N(most))
	}
	for _, s := range m.shards {
		if s.peak > smallShard && len(s.names) < s.peak/4 {
			t.Errorf("%d names in room for %d", len(s.names), s.peak)
		}
	}
	for id := range want {
		m.remove(id)
	}
	if m.n != 0 || m.shards != nil {
		t.Errorf("%d names, %d maps are left", m.n, len(m.shards))
	}
}
