package measure

import (
	"encoding/binary"
	"fmt"
	"time"
)

// StampBytes is the length of the stamp that begins every message body, and so the
// smallest body that a load can send.
const StampBytes = 12

const (
	numberBits = 48
	numberMask = 1<<numberBits - 1
)

// Seq joins a publisher and its running number into the sequence of a stamp.
func Seq(publisher int, number uint64) uint64 {
	return uint64(publisher)<<numberBits | number&numberMask
}

// PutStamp writes a stamp into the first StampBytes of body.
func PutStamp(body []byte, seq uint64, micros uint32) {
	_ = body[StampBytes-1]
	binary.LittleEndian.PutUint64(body, seq)
	binary.LittleEndian.PutUint32(body[8:], micros)
}

// Stamp reads what PutStamp wrote; body must be at least StampBytes long.
func Stamp(body []byte) (seq uint64, micros uint32) {
	_ = body[StampBytes-1]
	return binary.LittleEndian.Uint64(body), binary.LittleEndian.Uint32(body[8:])
}

// Micros is d in the unit of stamps.
func Micros(d time.Duration) uint32 { return uint32(d / time.Microsecond) }

// Sequence checks the messages that one reader gets from any number of publishers: of
// each publisher every number exactly once and in order. It is owned by that reader.
type Sequence struct {
	next    []uint64
	classes uint64 // of each publisher's numbers, in turn; each is in order by itself

	// Count is how many messages were seen, in order or not.
	Count int64
	// Missing counts numbers that were skipped, Repeated those below what had come already:
	// a repetition, or a message out of order (which then shows as missing too).
	Missing, Repeated int64
	first             string
}

// NewSequence expects messages of the given number of publishers, each from number 0 on.
func NewSequence(publishers int) *Sequence {
	return NewClasses(publishers, 1)
}

// NewClasses expects messages of so many classes from each publisher: its number n is the
// one n/classes of class n%classes, and messages of different classes may overtake each other.
func NewClasses(publishers, classes int) *Sequence {
	return &Sequence{next: make([]uint64, publishers*classes), classes: uint64(classes)}
}

// Add takes the sequence of one message.
func (s *Sequence) Add(seq uint64) {
	s.Count++
	p, number := seq>>numberBits, seq&numberMask
	if s.classes > 1 {
		p, number = p*s.classes+number%s.classes, number/s.classes
	}
	if p < uint64(len(s.next)) && s.next[p] == number {
		s.next[p]++
		return
	}
	s.odd(p, number)
}

func (s *Sequence) odd(p, number uint64) {
	if p >= uint64(len(s.next)) {
		s.Repeated++
		s.note("a message of publisher %d, which does not exist", p)
		return
	}
	want := s.next[p]
	if number < want {
		s.Repeated++
		s.note("publisher %d: message %d after %d", p, number, want-1)
		return
	}
	s.Missing += int64(number - want)
	s.note("publisher %d: message %d where %d was due", p, number, want)
	s.next[p] = number + 1
}

func (s *Sequence) note(format string, args ...any) {
	if s.first == "" {
		s.first = fmt.Sprintf(format, args...)
	}
}

// Err compares what was seen with the number of messages that each publisher sent.
func (s *Sequence) Err(sent []int64) error {
	if s.first != "" {
		return fmt.Errorf("order: %d missing, %d repeated or out of order of %d; first: %s", s.Missing, s.Repeated, s.Count, s.first)
	}
	for p, n := range sent {
		var got int64
		for _, next := range s.next[p*int(s.classes) : (p+1)*int(s.classes)] {
			got += int64(next)
		}
		if got != n {
			return fmt.Errorf("publisher %d sent %d messages, %d arrived", p, n, got)
		}
	}
	return nil
}
