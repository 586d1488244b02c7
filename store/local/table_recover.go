package local

import (
	"errors"
	"fmt"
	"strings"
)

// tableScan is what reading a table file found.
//
//	what stands in the file              what happens
//	───────────────────────────────────  ──────────────────────────────────────────────
//	nothing, or less than a header       an empty table; reported when not quite empty
//	header damaged                       reported; the records are used
//	header of a newer version            refused (ErrVersion)
//	bad bytes, no good record after      a torn write: cut, reported
//	bad bytes, good records after        isolated: reported, a copy of the file is kept,
//	                                     the good records are used
//	part of a write at the end           a torn write: cut, reported
//	part of a write before other writes  not applied, reported as damage
type tableScan struct {
	entries  map[string]tableEntry
	tag      uint64 // of the header
	revision uint64 // the highest seen
	live     int64  // bytes of the records that count
	size     int64  // end of the last whole write
	torn     int64  // bytes after it
	damaged  []damagedRange
}

// digest is the digest of the keys that were found.
func (t *tableScan) digest() (sum uint64) {
	for key, e := range t.entries {
		sum += digestOf(key, e.revision)
	}
	return sum
}

// damagedRange is a range of positions in a file that could not be used.
type damagedRange struct{ From, To int64 }

// String is the range for people.
func (d damagedRange) String() string { return fmt.Sprintf("[%d,%d)", d.From, d.To) }

// describe lists ranges for people.
func describe(ranges []damagedRange) string {
	words := make([]string, len(ranges))
	for i, r := range ranges {
		words[i] = r.String()
	}
	return strings.Join(words, " ")
}

// scanTable reads a table file's content.
func scanTable(data []byte) (tableScan, error) {
	scan := tableScan{entries: map[string]tableEntry{}, size: headerBytes}
	if len(data) < headerBytes {
		scan.torn = int64(len(data))
		return scan, nil
	}
	h, err := decodeHeader(data, magicTable)
	switch {
	case errors.Is(err, ErrVersion):
		return tableScan{}, err
	case err != nil:
		scan.damaged = append(scan.damaged, damagedRange{0, headerBytes})
	default:
		scan.tag, scan.revision = h.Tag, h.Tag
	}
	s := tableScanner{data: data, at: headerBytes, scan: &scan}
	s.run()
	return scan, nil
}

// tableScanner walks the records of one file.
type tableScanner struct {
	data    []byte
	at      int
	scan    *tableScan
	pending []record // of a write whose last record was not met yet
	first   int      // where that write begins
}

func (s *tableScanner) run() {
	for s.at < len(s.data) {
		r, n, err := decodeRecord(s.data[s.at:])
		switch {
		case err != nil:
			s.pending = s.pending[:0]
			n = min(8, len(s.data)-s.at)
		case r.Flags&recordFirst != 0:
			s.pending, s.first = append(s.pending[:0], r), s.at
		case len(s.pending) > 0:
			s.pending = append(s.pending, r)
		}
		s.at += n
		if len(s.pending) > 0 && err == nil && r.Flags&recordLast != 0 {
			s.apply()
		}
	}
	s.scan.torn = int64(len(s.data)) - s.scan.size
}

// apply makes the pending write count. What lies between the last whole write and
// this one was not the torn end, so it is damage.
func (s *tableScanner) apply() {
	if good := int(s.scan.size); s.first > good {
		s.scan.damaged = append(s.scan.damaged, damagedRange{int64(good), int64(s.first)})
	}
	for _, r := range s.pending {
		s.scan.apply(r)
	}
	s.pending = s.pending[:0]
	s.scan.size = int64(s.at)
}

// apply takes one record over what is known of its key.
func (t *tableScan) apply(r record) {
	t.revision = max(t.revision, r.Revision)
	key := string(r.Key)
	old, had := t.entries[key]
	if had && old.revision > r.Revision {
		return
	}
	if had {
		t.live -= int64(recordSize(len(key), len(old.value)))
		delete(t.entries, key)
	}
	if r.Kind == recordUpsert {
		t.entries[key] = tableEntry{value: append([]byte{}, r.Value...), revision: r.Revision}
		t.live += int64(recordSize(len(key), len(r.Value)))
	}
}
