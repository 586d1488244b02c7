package alloc

import "testing"

var sink []byte

func TestLeastForgivesWhatHappensOnceAndNothingElse(t *testing.T) {
	calls := 0
	once := func() {
		if calls++; calls < 20 {
			sink = make([]byte, 100)
		}
	}
	if n := Least(0, 10, once); n != 0 {
		t.Errorf("%v allocations, all of them in the first measurements", n)
	}
	if n := Least(0, 10, func() { sink = make([]byte, 100) }); n != 1 {
		t.Errorf("%v allocations of 1", n)
	}
}
