package consumer

import "testing"

func TestACancelledConsumerTellsThatItHoldsNothingAnyMore(t *testing.T) {
	l := &fakeLog{}
	l.add(10, 0)
	c := newCursor(t, l, State{})
	told := 0
	k := add(t, c, ConsumerOptions{Prefetch: 4, Drained: func() {
		told++
		c.Ready() // it may call into the package
	}})
	take(k, 4)
	must(t, k.Ack(0, 3))
	take(k, 4)
	must(t, k.Ack(4, 5))
	k.Cancel()
	must(t, k.Requeue(6, 6))
	if told != 0 {
		t.Errorf("told %d times while it held something or was not cancelled", told)
	}
	must(t, k.Ack(7, 7))
	if told != 1 {
		t.Errorf("told %d times, want once", told)
	}
}
