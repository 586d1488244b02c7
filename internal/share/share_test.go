package share

import (
	"strconv"
	"testing"
)

func TestEqualKeysHaveOneValue(t *testing.T) {
	var s Values[string, *int]
	made := 0
	make := func() *int { made++; return new(int) }
	a, b := s.Of("a", make), s.Of("b", make)
	if a == b || s.Of("a", make) != a || s.Of("b", make) != b || made != 2 {
		t.Errorf("%d values for two keys", made)
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	var s Values[string, int]
	for i := range 10 * max {
		if v := s.Of(strconv.Itoa(i), func() int { return i }); v != i || len(s.by) > max {
			t.Fatalf("%d for %d, with %d kept", v, i, len(s.by))
		}
	}
	if v := s.Of(strconv.Itoa(10*max-1), func() int { return -1 }); v != 10*max-1 {
		t.Errorf("%d: the newest is forgotten", v)
	}
}
