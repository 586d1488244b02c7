package unacked

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leveret-mq/leveret/message"
)

// lease notes what it is told, in order.
type lease struct {
	told          []string
	err, cantKeep error
}

func (l *lease) tell(what string, first, last message.Offset) error {
	l.told = append(l.told, fmt.Sprintf("%s %d-%d", what, first, last))
	return l.err
}
func (l *lease) Ack(first, last message.Offset) error     { return l.tell("ack", first, last) }
func (l *lease) Requeue(first, last message.Offset) error { return l.tell("requeue", first, last) }
func (l *lease) Reject(first, last message.Offset) error  { return l.tell("reject", first, last) }
func (l *lease) Fail(first, last message.Offset) error    { return l.tell("fail", first, last) }

// Keep notes what it was asked for.
func (l *lease) Keep(upTo message.Offset, came bool) error {
	l.told = append(l.told, fmt.Sprintf("keep %d %t", upTo, came))
	return l.cantKeep
}

func (l *lease) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(l.told, want) {
		t.Errorf("told %q, want %q", l.told, want)
	}
}

func TestNeighboursBecomeOneRange(t *testing.T) {
	var s Set
	var near Near
	var a lease
	for o := range message.Offset(6) {
		if tag := s.Hold(&near, &a, 10+o); tag != uint64(o)+1 {
			t.Fatal(tag)
		}
	}
	for _, tag := range []uint64{2, 3, 1} { // forwards and backwards
		if !s.Settle(tag, Ack) {
			t.Fatal(tag)
		}
	}
	a.want(t)
	if !s.Waiting() || s.Len() != 3 {
		t.Fatal(s.Waiting(), s.Len())
	}
	s.Settle(4, Requeue) // another verdict: what waited goes first
	a.want(t, "ack 10-12")
	s.SettleUpTo(6, Requeue)
	s.Tell()
	a.want(t, "ack 10-12", "requeue 13-15")
	if s.Waiting() || s.Len() != 0 {
		t.Error(s.Waiting(), s.Len())
	}
	s.Tell()
	a.want(t, "ack 10-12", "requeue 13-15")
}

func TestVerdictsGoToTheLeaseOfTheirDelivery(t *testing.T) {
	var s Set
	var nearA, nearB Near
	var a, b lease
	for o := range message.Offset(4) {
		s.Hold(&nearA, &a, o)
		s.Skip() // a delivery that counts as acked
		s.Hold(&nearB, &b, 100+o)
	}
	if s.Last() != 12 {
		t.Fatal(s.Last())
	}
	if s.Settle(2, Ack) || s.Settle(13, Ack) || s.Settle(0, Ack) || s.SettleUpTo(5, Ack) || s.SettleUpTo(0, Ack) {
		t.Error("a tag that is not held was settled")
	}
	if !s.SettleUpTo(6, Reject) {
		t.Fatal("a tag that is held was not")
	}
	s.SettleAll(Requeue)
	s.Tell()
	a.want(t, "reject 0-1", "requeue 2-3")
	b.want(t, "reject 100-101", "requeue 102-103")
}

func TestAVerdictThatIsNotTakenIsReported(t *testing.T) {
	var failed []string
	s := Set{Failed: func(err error) { failed = append(failed, err.Error()) }}
	gone := lease{err: errors.New("gone")}
	s.Hold(new(Near), &gone, 7)
	s.SettleAll(Ack)
	s.Tell()
	if !slices.Equal(failed, []string{"offsets 7 to 7: gone"}) || s.Len() != 0 {
		t.Error(failed, s.Len())
	}
}

// Many leases come and go: none that still holds something is mixed up with
// another, and those that hold nothing keep no memory.
func TestLeasesComeAndGo(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s Set
	type held struct {
		lease *lease
		tag   uint64
		at    message.Offset
	}
	var open []held
	for i := range 20_000 {
		h := held{lease: &lease{}, at: message.Offset(i)}
		near := Near(r.Uint32N(8)) // as wrong as it gets
		h.tag = s.Hold(&near, h.lease, h.at)
		open = append(open, h)
		if len(open) > 50 {
			k := r.IntN(len(open))
			h := open[k]
			open = slices.Delete(open, k, k+1)
			if !s.Settle(h.tag, Ack) {
				t.Fatal(h.tag)
			}
			s.Tell()
			h.lease.want(t, fmt.Sprintf("ack %d-%d", h.at, h.at))
		}
	}
	if len(s.holders) > 300 || s.Len() != len(open) {
		t.Errorf("%d holders for %d deliveries", len(s.holders), s.Len())
	}
}

func BenchmarkHoldAndSettle(b *testing.B) {
	var s Set
	var near Near
	l := &lease{}
	for range 200 {
		s.Hold(&near, l, 0)
	}
	b.ReportAllocs()
	for i := range b.N {
		s.Hold(&near, l, message.Offset(i))
		s.Settle(uint64(i+1), Ack)
		if i%1000 == 999 {
			s.Tell()
			l.told = l.told[:0]
		}
	}
}

// Verdicts that wait to be told survive however many leases come after them.
func TestWaitingVerdictsOutliveNewLeases(t *testing.T) {
	var s Set
	leases := make([]lease, 10*minHolders)
	for i := range leases {
		tag := s.Hold(new(Near), &leases[i], message.Offset(i))
		if !s.Settle(tag, Ack) {
			t.Fatal(tag)
		}
	}
	s.Tell()
	for i := range leases {
		leases[i].want(t, fmt.Sprintf("ack %d-%d", i, i))
	}
}
