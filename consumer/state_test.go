package consumer

import "testing"

func TestAMessageSaysWhereItStands(t *testing.T) {
	log := &fakeLog{}
	log.add(8, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{Prefetch: 6})
	wantRuns(t, take(k, 10), Run{0, 5, false, 0})
	must(t, k.Ack(0, 0))
	must(t, k.Hold(3, 3))
	_, err := k.RequeueLater(4, 4, 0, func(int) int64 { return 1000 })
	must(t, err)
	k.Cancel()
	must(t, k.Requeue(2, 2))
	want := []MessageState{Settled, Unacked, Ready, Waiting, Waiting, Unacked, Ready, Ready}
	for o, w := range want {
		if got := c.StateOf(offset(o)); got != w {
			t.Errorf("%d is %d, want %d", o, got, w)
		}
	}
}
