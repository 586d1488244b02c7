package group

import (
	"encoding/binary"
	"slices"
)

// What members of classic groups say to their leader, and are told by it, is theirs to understand but where they are in one group with
// members that the broker assigns. Their words, all integers big-endian:
//
//	subscription  version i16, topics: a number i32 and names, user data
//	              from 1 on  owned: a number i32, and each a name, and partitions: a number i32 and i32 each
//	              from 2 on  generation i32
//	              from 3 on  rack, nullable
//	assignment    version i16, partitions as owned, user data
//
// A name has its length in 16 bits before it, user data its in 32, -1 for none. What follows is of later versions, and not looked at.
const maxSubscription = 3 // the newest version of a subscription that is known

// subscription is what a member says.
type subscription struct {
	version    int16
	topics     []string // sorted, each once
	owned      []ownedTopic
	generation int32 // that owned is of; -1: it does not say
	rack       string
}

type ownedTopic struct {
	name       string
	partitions []int32
}

// words takes values off the front; the first that does not fit sets bad.
type words struct {
	rest []byte
	bad  bool
}

func (w *words) take(n int) []byte {
	if n < 0 || n > len(w.rest) {
		w.bad, w.rest = true, nil
		return nil
	}
	b := w.rest[:n]
	w.rest = w.rest[n:]
	return b
}

func (w *words) i16() int16 {
	if b := w.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (w *words) i32() int32 {
	if b := w.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// count is how many follow, each of at least so many bytes; a null list has none.
func (w *words) count(least int) int {
	n := w.i32()
	if n < -1 || int(n) > len(w.rest)/least {
		w.bad, w.rest = true, nil
		return 0
	}
	return int(max(n, 0))
}

func (w *words) name() string { return string(w.take(int(w.i16()))) }

// nullable is a name, or "".
func (w *words) nullable() string {
	if n := w.i16(); n >= 0 {
		return string(w.take(int(n)))
	}
	return ""
}

func (w *words) userData() {
	if n := w.i32(); n >= 0 {
		w.take(int(n))
	}
}

func (w *words) partitions() (out []ownedTopic) {
	for n := w.count(6); n > 0 && !w.bad; n-- {
		t := ownedTopic{name: w.name()}
		for n := w.count(4); n > 0 && !w.bad; n-- {
			t.partitions = append(t.partitions, w.i32())
		}
		out = append(out, t)
	}
	return out
}

// parseSubscription reads what a member says; ok is false where that is not understood.
func parseSubscription(b []byte) (s subscription, ok bool) {
	w := words{rest: b}
	s.version, s.generation = w.i16(), -1
	for n := w.count(2); n > 0 && !w.bad; n-- {
		s.topics = append(s.topics, w.name())
	}
	slices.Sort(s.topics)
	s.topics = slices.Compact(s.topics)
	w.userData()
	if s.version >= 1 {
		s.owned = w.partitions()
	}
	if s.version >= 2 {
		s.generation = w.i32()
	}
	if s.version >= 3 {
		s.rack = w.nullable()
	}
	return s, !w.bad && s.version >= 0
}

// parseAssignment reads what a member was assigned.
func parseAssignment(b []byte) (out []ownedTopic, ok bool) {
	if len(b) == 0 {
		return nil, true
	}
	w := words{rest: b}
	version := w.i16()
	out = w.partitions()
	w.userData()
	return out, !w.bad && version >= 0
}

// appendAssignment writes an assignment.
func appendAssignment(dst []byte, version int16, list []ownedTopic) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(min(version, maxSubscription)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(list)))
	for _, t := range list {
		dst = appendShort(dst, t.name)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(t.partitions)))
		for _, n := range t.partitions {
			dst = binary.BigEndian.AppendUint32(dst, uint32(n))
		}
	}
	return binary.BigEndian.AppendUint32(dst, 0xffff_ffff)
}
