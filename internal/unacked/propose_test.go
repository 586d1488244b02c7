package unacked

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leveret-mq/leveret/message"
)

// told is a lease that writes down each verdict that reaches it.
type told struct{ verdicts map[message.Offset]Verdict }

func (l *told) note(v Verdict, first, last message.Offset) error {
	for o := first; o <= last; o++ {
		if _, twice := l.verdicts[o]; twice {
			return fmt.Errorf("%d twice", o)
		}
		l.verdicts[o] = v
	}
	return nil
}

func (l *told) Ack(first, last message.Offset) error     { return l.note(Ack, first, last) }
func (l *told) Requeue(first, last message.Offset) error { return l.note(Requeue, first, last) }
func (l *told) Reject(first, last message.Offset) error  { return l.note(Reject, first, last) }
func (l *told) Fail(first, last message.Offset) error    { return l.note(Fail, first, last) }

func (l *told) Keep(message.Offset, bool) error { return errors.New("nobody asked for it") }

// Proposals agree with a plain map: what is held, what a tag may still be given, and what Commit makes of them,
// whatever comes between.
func TestProposalsAgreeWithAMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	lease := &told{map[message.Offset]Verdict{}}
	s := Set{Failed: func(err error) { t.Fatal(err) }}
	held, wanted := map[uint64]bool{}, map[uint64]Verdict{} // by tag, which is the offset, too
	want := map[message.Offset]Verdict{}
	var near Near
	open := func() (tags []uint64) {
		for tag := range held {
			if _, has := wanted[tag]; !has {
				tags = append(tags, tag)
			}
		}
		slices.Sort(tags)
		return tags
	}
	settle := func(tags []uint64, v Verdict) {
		for _, tag := range tags {
			want[message.Offset(tag)] = v
			delete(held, tag)
		}
	}
	for step := range 100_000 {
		v := Verdict(r.IntN(4))
		tag := uint64(1)
		if last := s.Last(); last > 0 {
			tag = last - min(last-1, r.Uint64N(40))
		}
		free := open()
		isFree := slices.Contains(free, tag)
		switch r.IntN(9) {
		case 0, 1, 2:
			tag := s.Last() + 1
			if got := s.Hold(&near, lease, message.Offset(tag)); got != tag {
				t.Fatal(got, tag)
			}
			held[tag] = true
		case 3, 4:
			if s.Propose(tag, v) != isFree {
				t.Fatalf("step %d: propose %d, free %v", step, tag, isFree)
			}
			if isFree {
				wanted[tag] = v
			}
		case 5:
			if s.ProposeUpTo(tag, v) != isFree {
				t.Fatalf("step %d: propose up to %d, free %v", step, tag, isFree)
			}
			for _, f := range free {
				if isFree && f <= tag {
					wanted[f] = v
				}
			}
		case 6:
			if r.IntN(10) == 0 {
				s.ProposeAll(v)
				for _, f := range free {
					wanted[f] = v
				}
			}
		case 7:
			switch r.IntN(12) {
			case 0, 1:
				s.Commit()
				for tag, v := range wanted {
					settle([]uint64{tag}, v)
				}
				clear(wanted)
			case 2:
				s.Rollback()
				clear(wanted)
			case 3:
				s.SettleRest(Requeue)
				settle(free, Requeue)
			case 4:
				s.Rollback()
				s.SettleAll(Requeue)
				clear(wanted)
				settle(open(), Requeue)
			}
		case 8: // what was proposed on is not late
			if r.IntN(20) == 0 {
				if n := s.Overdue(func(Lease) uint64 { return tag }); n > len(free) {
					t.Fatal(n)
				}
				for _, f := range free {
					if f <= tag {
						settle([]uint64{f}, Requeue)
					}
				}
			}
			s.Tell()
		}
		s.Tell()
		// Tags that were taken back may still be named: they are forgotten here, so that the map need not know them.
		s.forgetLate(0)
		if s.Len() != len(held) || s.proposals != len(wanted) {
			t.Fatalf("step %d: %d held, want %d; %d proposals, want %d", step, s.Len(), len(held), s.proposals, len(wanted))
		}
	}
	s.Commit()
	s.Tell()
	for tag, v := range wanted {
		settle([]uint64{tag}, v)
	}
	if len(lease.verdicts) != len(want) {
		t.Fatalf("%d verdicts, want %d", len(lease.verdicts), len(want))
	}
	for o, v := range want {
		if lease.verdicts[o] != v {
			t.Fatalf("%d: %d, want %d", o, lease.verdicts[o], v)
		}
	}
}

// A verdict on what was taken back has no effect, proposed or not, and leaves nothing behind.
func TestAProposalOnWhatWasTakenBackHasNoEffect(t *testing.T) {
	lease := &told{map[message.Offset]Verdict{}}
	var s Set
	var near Near
	for o := range 4 {
		s.Hold(&near, lease, message.Offset(o))
	}
	s.Overdue(func(Lease) uint64 { return 2 })
	if !s.Propose(1, Ack) || s.Propose(1, Ack) || !s.ProposeUpTo(3, Ack) || s.ProposeUpTo(2, Ack) {
		t.Error("taken or refused wrongly")
	}
	s.Commit()
	s.Tell()
	if s.Len() != 1 || s.late != 0 || lease.verdicts[0] != Requeue || lease.verdicts[1] != Requeue || lease.verdicts[2] != Ack {
		t.Errorf("%d held, %d late, %v", s.Len(), s.late, lease.verdicts)
	}
	s.SettleAll(Requeue)
	if s.Len() != 0 {
		t.Error(s.Len())
	}
}

// Each delivery is looked at once by all the acks up to a tag of a transaction.
func TestManyProposalsUpToATagAreLinear(t *testing.T) {
	lease := &told{map[message.Offset]Verdict{}}
	var s Set
	var near Near
	const n = 300_000
	for o := range n {
		s.Hold(&near, lease, message.Offset(o))
	}
	for tag := range uint64(n) { // quadratic, this takes minutes
		if !s.ProposeUpTo(tag+1, Ack) {
			t.Fatal(tag)
		}
	}
	s.Commit()
	s.Tell()
	if len(lease.verdicts) != n || s.Len() != 0 {
		t.Error(len(lease.verdicts), s.Len())
	}
}
