package unacked

import (
	"errors"
	"testing"

	"github.com/leveret-mq/leveret/message"
)

// What leases took is to be kept, of each up to the last of it, and what one of them can't keep is an error.
func TestWhatLeasesTookIsKept(t *testing.T) {
	kept := Kept{}
	refuses := errors.New("refused")
	var s Set
	var near [3]Near
	var a, b, c lease
	for o := range message.Offset(4) {
		s.Hold(&near[0], &a, o)
		s.Hold(&near[1], &b, 100+o)
		s.Hold(&near[2], &c, 200+o)
	}
	s.Settle(1, Ack)
	s.Tell()
	s.Kept = kept
	if err := kept.Keep(); err != nil {
		t.Error(err)
	}
	c.err = refuses
	for _, tag := range []uint64{10, 4, 3} { // a 3, a 1, c 0
		s.Settle(tag, Ack)
	}
	s.Settle(5, Fail) // b 1
	s.Settle(2, Ack)  // b 0
	s.Tell()
	s.Kept = nil
	s.Settle(8, Ack) // b 2
	s.Tell()
	a.told, b.told, c.told = nil, nil, nil
	if err := kept.Keep(); err != nil {
		t.Error(err)
	}
	a.want(t, "keep 3 false")
	b.want(t, "keep 101 true")
	c.want(t)
	b.cantKeep = refuses
	if err := kept.Keep(); err != refuses {
		t.Error(err)
	}
}
