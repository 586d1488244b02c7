package message

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// NoTime is the timestamp of a record that has none.
const NoTime = -1

// Errors of a Check, beside those of the codecs.
var (
	// ErrCount says that a batch does not have the records that its header promises.
	ErrCount = errors.New("not as many records as the batch's header says")
	// ErrNumber says that the records of a batch are not numbered 0, 1, 2 …
	ErrNumber = errors.New("the records are not numbered from 0 on")
	// ErrNoKey says that a record has none and must have.
	ErrNoKey = errors.New("record without a key")
	// ErrRecordSize says that a record is larger than it may be.
	ErrRecordSize = errors.New("a record is too large")
)

// A Check walks the records of one batch before it is stored, once, and holds them
// against what every reader will rely on: exactly as many as the header says,
// numbered 0, 1, 2 …, each with parts that fill it. It notes their times.
//
// Nothing of a record is kept or copied. The records may come in pieces.
type Check struct {
	baseMs int64
	next   uint32 // number of the next record
	count  uint32
	oldest int64 // the earliest time of a record that has one; MaxInt64 without
	latest int64
	keyed  bool // see WantKeys
	most   int  // see AtMost
}

// WantKeys has a record without a key be an error.
func (c *Check) WantKeys() { c.keyed = true }

// AtMost has a record of more bytes, without the number of them before it, be an error.
func (c *Check) AtMost(bytes int) { c.most = bytes }

// NewCheck begins with a batch of count records whose times count from baseMs.
func NewCheck(count int32, baseMs int64) Check {
	return Check{baseMs: baseMs, count: uint32(max(count, 0)), oldest: math.MaxInt64, latest: NoTime, most: math.MaxInt32}
}

// Claimed is a Check that was not made: it repeats what a header says of the times.
func Claimed(firstMs, latestMs int64) Check {
	c := NewCheck(0, 0)
	c.latest = max(latestMs, NoTime)
	for _, ms := range [...]int64{firstMs, latestMs} {
		if ms != NoTime {
			c.oldest = min(c.oldest, ms)
		}
	}
	return c
}

// Latest is the latest time of a record so far in ms, NoTime when none has one.
func (c *Check) Latest() int64 { return c.latest }

// Oldest is the earliest time of a record so far in ms. Those without one are not
// counted: it is beyond all times when none has one.
func (c *Check) Oldest() int64 { return c.oldest }

// Enough implements Walker.
func (c *Check) Enough() bool { return c.next == c.count }

// End implements Walker.
func (c *Check) End(rest int) error {
	switch {
	case c.next < c.count:
		return fmt.Errorf("%w: %d of %d", ErrCount, c.next, c.count)
	case rest > 0:
		return fmt.Errorf("%w: bytes follow the last of %d", ErrCount, c.count)
	}
	return nil
}

// Records implements Walker. It stops without an error where the rest of a record is missing, and
// behind the last record.
//
// Measured on a 2-core machine: kafka.BenchmarkCheckBatch.
func (c *Check) Records(b []byte) (used int, err error) {
	next, oldest, latest := c.next, c.oldest, c.latest
	for next < c.count {
		delta, n, ok := usual(b[used:], next)
		if !ok {
			if delta, n, err = c.any(b[used:], next); err != nil || n == 0 {
				break
			}
		}
		if c.keyed && !hasKey(b[used:used+n]) {
			err = c.noKey(next)
			break
		}
		if n > c.most {
			if size, _ := varint(b[used:]); size > int64(c.most) {
				err = c.tooLarge(next, size)
				break
			}
		}
		ms := c.baseMs + delta
		latest = max(latest, ms)
		if ms != NoTime {
			oldest = min(oldest, ms)
		}
		used += n
		next++
	}
	c.next, c.oldest, c.latest = next, oldest, latest
	return used, err
}

// usual is the short path through a record as nearly all are: without headers, and
// with numbers of one or two bytes wherever that is usual. It says nothing of others.
func usual(b []byte, number uint32) (ms int64, n int, ok bool) {
	if len(b) < 16 {
		return 0, 0, false
	}
	size, at := int(b[0]), 1
	if size >= 0x80 {
		if b[1] >= 0x80 {
			return 0, 0, false
		}
		size, at = size&0x7f|int(b[1])<<7, 2
	}
	end := at + size>>1
	if size&1 != 0 || end > len(b) || end < at+MinRecordBytes-1 {
		return 0, 0, false
	}
	b = b[:end]
	at++ // attributes: none is defined
	t := uint64(b[at])
	at++
	if t >= 0x80 {
		high := uint64(b[at])
		at++
		if high >= 0x80 {
			return 0, 0, false
		}
		t = t&0x7f | high<<7
	}
	for u := number << 1; ; u >>= 7 { // its zigzag form, byte by byte
		if at >= len(b) {
			return 0, 0, false
		}
		have := uint32(b[at])
		at++
		if u < 0x80 {
			if have != u {
				return 0, 0, false
			}
			break
		}
		if have != u&0x7f|0x80 {
			return 0, 0, false
		}
	}
	if at >= len(b) {
		return 0, 0, false
	}
	key := int(b[at])
	at++
	if key != 1 {
		if key&0x81 != 0 {
			return 0, 0, false
		}
		at += key >> 1
	}
	if at+2 > len(b) {
		return 0, 0, false
	}
	value := int(b[at])
	at++
	if value >= 0x80 {
		high := int(b[at])
		at++
		if high >= 0x80 {
			return 0, 0, false
		}
		value = value&0x7f | high<<7
	}
	if value&1 != 0 || at+value>>1 != len(b)-1 || b[len(b)-1] != 0 {
		return 0, 0, false
	}
	return int64(t>>1) ^ -int64(t&1), end, true
}

// any checks a record of any shape. n is 0 when it is not whole in b.
func (c *Check) any(b []byte, number uint32) (ms int64, n int, err error) {
	size, w := varint(b)
	if w == 0 && len(b) < binary.MaxVarintLen32 {
		return 0, 0, nil
	}
	if w <= 0 || size < MinRecordBytes-1 || size > math.MaxInt32 {
		return 0, 0, c.malformed(number, "length")
	}
	if size > int64(len(b)-w) {
		return 0, 0, nil
	}
	rec := b[w : w+int(size)]
	ms, at, what := head(rec, number)
	if what == "" {
		what = tail(rec, at)
	}
	if what != "" {
		return 0, 0, c.malformed(number, what)
	}
	return ms, w + int(size), nil
}

// Long implements Walker.
func (c *Check) Long(s *Stretch) error {
	ms, keyed, err := c.long(s)
	switch {
	case err != nil:
		return err
	case c.keyed && !keyed:
		return c.noKey(c.next)
	}
	c.note(ms)
	c.next++
	return nil
}

// long checks a record that comes in pieces.
func (c *Check) long(s *Stretch) (ms int64, keyed bool, err error) {
	end := s.record()
	if size := end - s.taken; size > int64(c.most) && s.err == nil {
		return 0, false, c.tooLarge(c.next, size)
	}
	s.skip(1, end) // attributes
	ms = c.baseMs + s.varint()
	if s.varint() != int64(c.next) && s.err == nil {
		return 0, false, c.malformed(c.next, badNumber)
	}
	keyed = s.nullable(end)
	s.nullable(end) // value
	count := s.varint()
	if count < 0 || count > (end-s.taken)/2 {
		s.fail(ErrRecord)
	}
	for ; count > 0 && s.err == nil; count-- {
		s.skip(s.varint(), end)
		s.nullable(end)
	}
	if s.err == nil && s.taken != end {
		s.fail(ErrRecord)
	}
	if s.err != nil {
		return 0, false, fmt.Errorf("record %d: %w", c.next, s.err)
	}
	return ms, keyed, nil
}

func (c *Check) note(ms int64) {
	c.latest = max(c.latest, ms)
	if ms != NoTime {
		c.oldest = min(c.oldest, ms)
	}
}

// hasKey says whether a record that was checked has a key.
func hasKey(rec []byte) bool {
	_, w := varint(rec)
	at := w + 1   // attributes
	for range 2 { // time, number
		_, w = varint(rec[at:])
		at += w
	}
	return rec[at] != 1 // -1
}

func (c *Check) noKey(record uint32) error {
	return fmt.Errorf("%w: record %d of its batch", ErrNoKey, record)
}

func (c *Check) tooLarge(record uint32, bytes int64) error {
	return fmt.Errorf("%w: record %d of its batch, %d bytes of %d", ErrRecordSize, record, bytes, c.most)
}

const badNumber = "number"

func (c *Check) malformed(record uint32, what string) error {
	if what == badNumber {
		return fmt.Errorf("%w: see record %d", ErrNumber, record)
	}
	return fmt.Errorf("%w: %s of record %d", ErrRecord, what, record)
}

// MinRecordBytes is the size of a record without anything: its length, attributes, time,
// number, null key, null value and no headers.
const MinRecordBytes = 7

// head reads a record up to its key: attributes, time, number.
func head(rec []byte, number uint32) (ms int64, at int, what string) {
	ms, w := varint(rec[1:])
	if w <= 0 {
		return 0, 0, "time"
	}
	at = 1 + w
	delta, w := varint(rec[at:])
	if w <= 0 || delta != int64(number) {
		return 0, 0, badNumber
	}
	return ms, at + w, ""
}

// tail checks that key, value and headers fill the record. It names what does not.
func tail(rec []byte, at int) (what string) {
	n, w := varint(rec[at:])
	if w <= 0 || n < -1 || n > int64(len(rec)-at-w) {
		return "key"
	}
	at += w + int(max(n, 0))
	n, w = varint(rec[at:])
	if w <= 0 || n < -1 || n > int64(len(rec)-at-w) {
		return "value"
	}
	at += w + int(max(n, 0))
	count, w := varint(rec[at:])
	if w <= 0 || count < 0 || count > int64(len(rec)-at-w)/2 {
		return "header count"
	}
	at += w
	for ; count > 0; count-- {
		if n, w = varint(rec[at:]); w <= 0 || n < 0 || n > int64(len(rec)-at-w) {
			return "header name"
		}
		at += w + int(n)
		if n, w = varint(rec[at:]); w <= 0 || n < -1 || n > int64(len(rec)-at-w) {
			return "header value"
		}
		at += w + int(max(n, 0))
	}
	if at != len(rec) {
		return "bytes at the end"
	}
	return ""
}
