package measure

import (
	"strings"
	"testing"
)

func TestStampRoundTrip(t *testing.T) {
	body := make([]byte, StampBytes+4)
	PutStamp(body, Seq(3, 1<<40+7), 4_000_000_001)
	seq, at := Stamp(body)
	if seq != 3<<48|1<<40|7 || at != 4_000_000_001 {
		t.Fatalf("got %#x, %d", seq, at)
	}
	for _, b := range body[StampBytes:] {
		if b != 0 {
			t.Fatal("the stamp wrote beyond its bytes")
		}
	}
}

func TestMessagesOfDifferentClassesMayOvertakeEachOther(t *testing.T) {
	for _, c := range []struct {
		numbers []uint64
		want    string // part of the error; empty: none
	}{
		{[]uint64{2, 1, 0, 5, 4, 3}, ""},
		{[]uint64{2, 5, 1, 4, 0, 3}, ""},
		{[]uint64{5, 2, 1, 4, 0, 3}, "1 missing, 1 repeated"},
		{[]uint64{2, 5, 1, 4, 0}, "sent 6 messages, 5 arrived"},
	} {
		s := NewClasses(2, 3)
		for _, n := range c.numbers {
			s.Add(Seq(1, n))
		}
		switch err := s.Err([]int64{0, 6}); {
		case err == nil && c.want != "", err != nil && (c.want == "" || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%v: %v, want %q", c.numbers, err, c.want)
		}
	}
}

func TestSequenceFindsWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name string
		seqs []uint64
		sent []int64
		want string // part of the error; empty: none
	}{
		{"in order", []uint64{0, 1, 2}, []int64{3}, ""},
		{"two publishers interleaved", []uint64{0, Seq(1, 0), 1, Seq(1, 1)}, []int64{2, 2}, ""},
		{"nothing sent, nothing seen", nil, []int64{0}, ""},
		{"the last is missing", []uint64{0, 1}, []int64{3}, "sent 3 messages, 2 arrived"},
		{"one in the middle is missing", []uint64{0, 2}, []int64{3}, "1 missing, 0 repeated"},
		{"one comes twice", []uint64{0, 1, 1, 2}, []int64{3}, "0 missing, 1 repeated"},
		{"two change places", []uint64{0, 2, 1}, []int64{3}, "1 missing, 1 repeated"},
		{"more than were sent", []uint64{0, 1}, []int64{1}, "sent 1 messages, 2 arrived"},
		{"an unknown publisher", []uint64{Seq(9, 0)}, []int64{0}, "does not exist"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSequence(len(c.sent))
			for _, q := range c.seqs {
				s.Add(q)
			}
			err := s.Err(c.sent)
			if c.want == "" && err != nil {
				t.Fatal(err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("error is %v, it should say %q", err, c.want)
			}
		})
	}
}

func TestSequenceInOrderDoesNotAllocate(t *testing.T) {
	s := NewSequence(1)
	var n uint64
	if got := testing.AllocsPerRun(1000, func() { s.Add(n); n++ }); got != 0 {
		t.Fatalf("%v allocations a message", got)
	}
}
