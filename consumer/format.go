package consumer

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/leveret-mq/leveret/message"
)

// The saved state, version 1. Integers are little-endian, varints are unsigned
// LEB128.
//
//	 0   4  magic "LVCS"
//	 4   1  version, 1
//	 5   1  number of sets that follow, 2 to 18
//	 6   2  zero
//	 8   8  next: offsets from here on were not dealt when this was written
//	16   …  sets: open · returned at least once · bits 0, 1, … of further returns
//	 n   8  xxhash64 of everything before
//
// A set is the number of its entries (varint), then entries in order of their
// pages of 4,096 offsets:
//
//	varint  pages skipped since the end of the entry before (from page 0 at first)
//	1       kind: 1 full, 2 runs, 3 bits
//	full    varint: how many pages are full, one after the other
//	runs    varint: how many runs; each: varint clear bits before it, varint its length - 1
//	bits    512 bytes, bit 0 of byte 0 is the first offset
//
// What is in [floor, next) and not open was acked, or is no message.
const (
	stateMagic   = "LVCS"
	stateVersion = 1
	stateHeader  = 16
	stateTrailer = 8

	kindFull = 1
	kindRuns = 2
	kindBits = 3

	minSets = 2
	maxSets = minSets + maxDigits

	// maxStatePages bounds what a damaged state can make us allocate: a thousand
	// million open messages, 24 bytes for 4,096 of them.
	maxStatePages = 1 << 18
	// runsWorthBits is the number of runs above which a page is written as bits.
	runsWorthBits = 100
)

// savedState is a decoded state.
type savedState struct {
	next message.Offset
	sets []set
}

// AppendState appends what New needs beside Floor and Handed. A cursor that was
// worked on in order writes some 30 bytes.
func (c *Cursor) AppendState(buf []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	start := len(buf)
	sets := minSets + len(c.returned.digits)
	for sets > minSets && c.setAt(sets-1).count == 0 {
		sets--
	}
	buf = append(buf, stateMagic...)
	buf = append(buf, stateVersion, byte(sets), 0, 0)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(c.next))
	for i := range sets {
		buf = c.setAt(i).appendTo(buf)
	}
	return binary.LittleEndian.AppendUint64(buf, xxhash.Sum64(buf[start:]))
}

func (s *set) appendTo(buf []byte) []byte {
	live := s.all[s.head:]
	entries := 0
	for i := 0; i < len(live); i += fullRun(live[i:]) {
		entries++
	}
	buf = binary.AppendUvarint(buf, uint64(entries))
	page := int64(0)
	for i := 0; i < len(live); {
		buf = binary.AppendUvarint(buf, uint64(live[i].no-page))
		n := fullRun(live[i:])
		buf = live[i].appendTo(buf, n)
		page = live[i].no + int64(n)
		i += n
	}
	return buf
}

// fullRun is how many entries are written as one: neighbours that are full.
func fullRun(live []entry) int {
	if live[0].bits != nil {
		return 1
	}
	n := 1
	for n < len(live) && live[n].bits == nil && live[n].no == live[0].no+int64(n) {
		n++
	}
	return n
}

func (e *entry) appendTo(buf []byte, pages int) []byte {
	if e.bits == nil {
		return binary.AppendUvarint(append(buf, kindFull), uint64(pages))
	}
	runs := 0
	for bit := e.scan(0, true); bit < pageBits && runs <= runsWorthBits; bit = e.scan(e.scan(bit, false), true) {
		runs++
	}
	if runs > runsWorthBits {
		buf = append(buf, kindBits)
		for _, w := range e.bits {
			buf = binary.LittleEndian.AppendUint64(buf, w)
		}
		return buf
	}
	buf = binary.AppendUvarint(append(buf, kindRuns), uint64(runs))
	at := 0
	for bit := e.scan(0, true); bit < pageBits; bit = e.scan(at, true) {
		end := e.scan(bit, false)
		buf = binary.AppendUvarint(buf, uint64(bit-at))
		buf = binary.AppendUvarint(buf, uint64(end-bit-1))
		if at = end; at == pageBits {
			break
		}
	}
	return buf
}

// decodeState reads what AppendState wrote; nothing at all is an empty state.
func decodeState(data []byte) (savedState, error) {
	if len(data) == 0 {
		return savedState{}, nil
	}
	if len(data) < stateHeader+stateTrailer || string(data[:4]) != stateMagic {
		return savedState{}, fmt.Errorf("%w: %d bytes without its magic", ErrDamaged, len(data))
	}
	if data[4] > stateVersion {
		return savedState{}, fmt.Errorf("%w: version %d, this program reads up to %d", ErrNewerState, data[4], stateVersion)
	}
	body := data[:len(data)-stateTrailer]
	if xxhash.Sum64(body) != binary.LittleEndian.Uint64(data[len(body):]) {
		return savedState{}, fmt.Errorf("%w: checksum", ErrDamaged)
	}
	st, err := decodeBody(body)
	if err != nil {
		return savedState{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return st, nil
}

func decodeBody(body []byte) (savedState, error) {
	sets := int(body[5])
	next := int64(binary.LittleEndian.Uint64(body[8:]))
	if body[4] != stateVersion || sets < minSets || sets > maxSets || body[6] != 0 || body[7] != 0 || next < 0 {
		return savedState{}, errors.New("bad header")
	}
	d := stateDecoder{buf: body[stateHeader:], pages: maxStatePages, next: next}
	st := savedState{next: message.Offset(next), sets: make([]set, sets)}
	for i := range st.sets {
		st.sets[i].pages = new(pages)
		if err := d.set(&st.sets[i]); err != nil {
			return savedState{}, fmt.Errorf("set %d: %w", i, err)
		}
	}
	if len(d.buf) > 0 {
		return savedState{}, errors.New("bytes left over")
	}
	return st, nil
}

// stateDecoder decodes sets, within the offsets below next and a budget of pages.
type stateDecoder struct {
	buf   []byte
	pages int64
	next  int64
}

var (
	errShort = errors.New("ends early")
	errBound = errors.New("value out of bounds")
)

// uvarint reads a number of at most limit.
func (d *stateDecoder) uvarint(limit int64) (int64, error) {
	v, n := binary.Uvarint(d.buf)
	if n <= 0 {
		return 0, errShort
	}
	if limit < 0 || v > uint64(limit) {
		return 0, errBound
	}
	d.buf = d.buf[n:]
	return int64(v), nil
}

func (d *stateDecoder) set(s *set) error {
	entries, err := d.uvarint(maxStatePages)
	if err != nil {
		return err
	}
	page := int64(0)
	for range entries {
		skip, err := d.uvarint(d.next>>pageShift - page)
		if err != nil {
			return err
		}
		page += skip
		n, err := d.entry(s, page)
		if err != nil {
			return err
		}
		page += n
	}
	if top := len(s.all) - 1; top >= 0 && s.size(offset(d.next), offset(s.all[top].no+1)<<pageShift) > 0 {
		return errBound
	}
	return nil
}

// entry decodes one entry at page and says how many pages it covers.
func (d *stateDecoder) entry(s *set, page int64) (int64, error) {
	if len(d.buf) == 0 {
		return 0, errShort
	}
	kind := d.buf[0]
	d.buf = d.buf[1:]
	first := offset(page << pageShift)
	if d.pages--; d.pages < 0 {
		return 0, errBound
	}
	switch kind {
	case kindFull:
		n, err := d.uvarint(min(d.pages+1, d.next>>pageShift-page))
		if err != nil || n == 0 {
			return 0, errors.Join(err, errBound)
		}
		d.pages -= n - 1
		s.add(first, first+offset(n<<pageShift)-1)
		return n, nil
	case kindRuns:
		return 1, d.runs(s, first)
	case kindBits:
		return 1, d.bits(s, page)
	}
	return 0, fmt.Errorf("unknown kind %d", kind)
}

func (d *stateDecoder) runs(s *set, first offset) error {
	runs, err := d.uvarint(pageBits / 2)
	if err != nil || runs == 0 {
		return errors.Join(err, errBound)
	}
	at := int64(0)
	for range runs {
		gap, err := d.uvarint(pageBits - 1 - at)
		if err != nil {
			return err
		}
		at += gap
		more, err := d.uvarint(pageBits - 1 - at)
		if err != nil {
			return err
		}
		s.add(first+offset(at), first+offset(at+more))
		at += more + 1
	}
	return nil
}

func (d *stateDecoder) bits(s *set, page int64) error {
	if len(d.buf) < pageBits/8 {
		return errShort
	}
	first := offset(page << pageShift)
	for w := range pageWords {
		word := binary.LittleEndian.Uint64(d.buf[8*w:])
		for b := 0; b < 64; b++ {
			if word>>b&1 == 1 {
				s.add(first+offset(64*w+b), first+offset(64*w+b))
			}
		}
	}
	d.buf = d.buf[pageBits/8:]
	return nil
}
