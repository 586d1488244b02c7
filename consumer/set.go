package consumer

import (
	"slices"

	"math/bits"
	"sort"

	"github.com/leveret-mq/leveret/message"
)

const (
	pageShift = 12             // a page covers 4,096 offsets
	pageBits  = 1 << pageShift // its bits
	pageWords = pageBits / 64  // its words: 512 bytes

	keptPages = 8 // pages a cursor keeps for reuse
)

// page has one bit for each of pageBits consecutive offsets.
type page [pageWords]uint64

// pages is the free list that the sets of one cursor share, so that a window of
// offsets that slides along the log allocates nothing.
type pages struct{ free []*page }

func (p *pages) get() *page {
	if n := len(p.free); n > 0 {
		pg := p.free[n-1]
		p.free = p.free[:n-1]
		*pg = page{}
		return pg
	}
	return new(page)
}

func (p *pages) put(pg *page) {
	if len(p.free) < keptPages {
		p.free = append(p.free, pg)
	}
}

// shrink gives all but keep pages back to the garbage collector; called when the
// cursor holds nothing, so that an idle queue stays small.
func (p *pages) shrink(keep int) {
	if len(p.free) > keep {
		clear(p.free[keep:])
		p.free = p.free[:keep]
	}
}

// entry is one page of a set that has at least one bit.
type entry struct {
	no   int64 // offset >> pageShift
	bits *page // nil: every bit is set
	n    int32 // bits that are set
}

// set is a set of offsets: one bit an offset where it is mixed, one entry for
// 4,096 offsets where it is full, nothing where it is empty. Adding at its end
// and removing at its front, the life of a queue in order, moves no memory.
// It is guarded by its cursor's mutex.
type set struct {
	pages *pages
	all   []entry // the live entries are all[head:], in order of no
	head  int
	count int64
	low   message.Offset // the smallest member while lowOK
	lowOK bool

	touched map[int64]struct{} // pages that changed, of a set that is tracked; see Readiness
}

// find gives the index of the entry of page no, or where it would stand.
func (s *set) find(no int64) (int, bool) {
	live := s.all[s.head:]
	if len(live) == 0 || no < live[0].no {
		return s.head, false
	}
	if d := no - live[0].no; d < int64(len(live)) && live[d].no == no {
		return s.head + int(d), true // without holes the distance is the index
	}
	last := len(live) - 1
	if no > live[last].no {
		return len(s.all), false
	}
	i := sort.Search(len(live), func(i int) bool { return live[i].no >= no })
	return s.head + i, live[i].no == no
}

func (s *set) insert(i int, e entry) {
	if len(s.all) == cap(s.all) && s.head > len(s.all)/2 {
		n := copy(s.all, s.all[s.head:])
		clear(s.all[n:])
		s.all = s.all[:n]
		i -= s.head
		s.head = 0
	}
	if i == s.head && s.head > 0 {
		s.head--
		s.all[s.head] = e
		return
	}
	s.all = append(s.all, entry{})
	copy(s.all[i+1:], s.all[i:])
	s.all[i] = e
}

func (s *set) delete(i int) {
	if s.all[i].bits != nil {
		s.pages.put(s.all[i].bits)
	}
	if i == s.head {
		s.all[i] = entry{}
		s.head++
		if s.head == len(s.all) {
			s.all, s.head = s.all[:0], 0
		}
		return
	}
	copy(s.all[i:], s.all[i+1:])
	s.all[len(s.all)-1] = entry{}
	s.all = s.all[:len(s.all)-1]
}

// within gives the first and last bit of page no that lie in first..last.
func within(no int64, first, last message.Offset) (lo, hi int) {
	lo, hi = 0, pageBits-1
	if int64(first)>>pageShift == no {
		lo = int(first & (pageBits - 1))
	}
	if int64(last)>>pageShift == no {
		hi = int(last & (pageBits - 1))
	}
	return lo, hi
}

// wordMask has the bits of word w that lie in lo..hi, which touch that word.
func wordMask(w, lo, hi int) uint64 {
	m := ^uint64(0)
	if w == lo>>6 {
		m &= ^uint64(0) << (lo & 63)
	}
	if w == hi>>6 {
		m &= ^uint64(0) >> (63 - hi&63)
	}
	return m
}

// add puts first..last into the set.
func (s *set) add(first, last message.Offset) {
	if s.touched != nil {
		s.touch(first, last)
	}
	if !s.lowOK && s.count == 0 || s.lowOK && first < s.low {
		s.low, s.lowOK = first, true
	}
	for no := int64(first) >> pageShift; no <= int64(last)>>pageShift; no++ {
		lo, hi := within(no, first, last)
		i, ok := s.find(no)
		if !ok && hi-lo == pageBits-1 {
			s.insert(i, entry{no: no, n: pageBits})
			s.count += pageBits
			continue
		}
		if !ok {
			s.insert(i, entry{no: no, bits: s.pages.get()})
			i, _ = s.find(no) // insert may have moved everything down
		}
		s.fill(&s.all[i], lo, hi)
	}
}

func (s *set) fill(e *entry, lo, hi int) {
	if e.bits == nil {
		return
	}
	before := e.n
	for w := lo >> 6; w <= hi>>6; w++ {
		m := wordMask(w, lo, hi)
		e.n += int32(bits.OnesCount64(m &^ e.bits[w]))
		e.bits[w] |= m
	}
	s.count += int64(e.n - before)
	if e.n == pageBits {
		s.pages.put(e.bits)
		e.bits = nil
	}
}

// remove takes first..last out of the set and says how many members went.
func (s *set) remove(first, last message.Offset) int64 {
	if s.count == 0 || last < first {
		return 0
	}
	if s.lowOK && first <= s.low {
		s.lowOK = false
	}
	if s.touched != nil {
		s.touch(first, last)
	}
	before := s.count
	end := int64(last) >> pageShift
	for i, _ := s.find(int64(first) >> pageShift); i < len(s.all) && s.all[i].no <= end; {
		lo, hi := within(s.all[i].no, first, last)
		s.unfill(&s.all[i], lo, hi)
		if s.all[i].n > 0 {
			i++
			continue
		}
		atHead := i == s.head
		s.delete(i)
		if atHead {
			i = s.head
		}
	}
	return before - s.count
}

func (s *set) unfill(e *entry, lo, hi int) {
	if hi-lo == pageBits-1 {
		s.count -= int64(e.n)
		e.n = 0
		return
	}
	if e.bits == nil {
		e.bits = s.pages.get()
		for w := range e.bits {
			e.bits[w] = ^uint64(0)
		}
	}
	before := e.n
	for w := lo >> 6; w <= hi>>6; w++ {
		m := wordMask(w, lo, hi)
		e.n -= int32(bits.OnesCount64(m & e.bits[w]))
		e.bits[w] &^= m
	}
	s.count -= int64(before - e.n)
}

// clone is a copy, to be read only.
func (s *set) clone() set {
	all := slices.Clone(s.all[s.head:])
	for i := range all {
		if bits := all[i].bits; bits != nil {
			copied := *bits
			all[i].bits = &copied
		}
	}
	return set{all: all, count: s.count}
}

// size counts the members in first..last.
func (s *set) size(first, last message.Offset) int64 {
	if s.count == 0 || last < first {
		return 0
	}
	var n int64
	end := int64(last) >> pageShift
	for i, _ := s.find(int64(first) >> pageShift); i < len(s.all) && s.all[i].no <= end; i++ {
		e := &s.all[i]
		lo, hi := within(e.no, first, last)
		if e.bits == nil || hi-lo == pageBits-1 {
			n += min(int64(e.n), int64(hi-lo+1))
			continue
		}
		for w := lo >> 6; w <= hi>>6; w++ {
			n += int64(bits.OnesCount64(e.bits[w] & wordMask(w, lo, hi)))
		}
	}
	return n
}

// min is the smallest member.
func (s *set) min() (message.Offset, bool) {
	if s.count == 0 {
		return 0, false
	}
	if !s.lowOK {
		e := &s.all[s.head]
		s.low = message.Offset(e.no<<pageShift) + message.Offset(e.scan(0, true))
		s.lowOK = true
	}
	return s.low, true
}

// scan gives the first bit at or after lo that is set (or clear), pageBits when
// there is none.
func (e *entry) scan(lo int, want bool) int {
	if e.bits == nil {
		if want {
			return lo
		}
		return pageBits
	}
	for w := lo >> 6; w < pageWords; w++ {
		word := e.bits[w]
		if !want {
			word = ^word
		}
		if w == lo>>6 {
			word &= ^uint64(0) << (lo & 63)
		}
		if word != 0 {
			return w<<6 + bits.TrailingZeros64(word)
		}
	}
	return pageBits
}

// run gives the first members at or after from that follow each other without a
// hole, at most limit of them.
func (s *set) run(from message.Offset, limit int64) (first, last message.Offset, ok bool) {
	if s.count == 0 {
		return 0, 0, false
	}
	i, _ := s.find(int64(from) >> pageShift)
	bit := pageBits
	for ; i < len(s.all); i++ {
		bit = s.all[i].scan(firstBit(s.all[i].no, from), true)
		if bit < pageBits {
			break
		}
	}
	if i == len(s.all) {
		return 0, 0, false
	}
	first = message.Offset(s.all[i].no<<pageShift) + message.Offset(bit)
	for {
		end := s.all[i].scan(bit, false)
		last = message.Offset(s.all[i].no<<pageShift) + message.Offset(end) - 1
		joined := end == pageBits && i+1 < len(s.all) && s.all[i+1].no == s.all[i].no+1
		if !joined || int64(last-first)+1 >= limit || s.all[i+1].scan(0, true) != 0 {
			break
		}
		i, bit = i+1, 0
	}
	return first, min(last, first+message.Offset(limit)-1), true
}

// same says whether first is a member, and up to which offset, at most last, that
// holds for all.
func (s *set) same(first, last message.Offset) (has bool, end message.Offset) {
	from, to, ok := s.run(first, int64(last-first)+1)
	switch {
	case !ok || from > last:
		return false, last
	case from > first:
		return false, from - 1
	}
	return true, min(to, last)
}

func firstBit(no int64, from message.Offset) int {
	if int64(from)>>pageShift == no {
		return int(from & (pageBits - 1))
	}
	return 0
}
