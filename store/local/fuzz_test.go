package local

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// rehash puts the right hash into a header, so that a test or the fuzzer gets past it.
func rehash(head []byte) []byte {
	binary.LittleEndian.PutUint64(head[24:], xxhash.Sum64(head[:24]))
	return head
}

// encodeLayoutText is a layout line with any words for a version and a right hash.
func encodeLayoutText(version string) []byte {
	text := layoutPrefix + version
	return fmt.Appendf(nil, "%s %016x\n", text, xxhash.Sum64String(text))
}

func FuzzDecodeLayout(f *testing.F) {
	f.Add(encodeLayout(1))
	f.Add(encodeLayout(9))
	f.Add([]byte("leveret layout \n"))
	f.Add([]byte("leveret layout  \n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := decodeLayout(data)
		if err == nil && !bytes.Equal(encodeLayout(v), data) && v != layoutVersion {
			t.Errorf("%q is version %d", data, v)
		}
	})
}

func FuzzDecodeMeta(f *testing.F) {
	f.Add(encodeMeta(sampleMeta()))
	f.Add(encodeMeta(Meta{}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeMeta(data)
		if err != nil {
			return
		}
		if again, err := decodeMeta(encodeMeta(m)); err != nil || again != m {
			t.Errorf("%+v comes back as %+v, %v", m, again, err)
		}
	})
}

func FuzzDecodeCheckpoint(f *testing.F) {
	f.Add(sampleCheckpoint(), true)
	f.Add(newCheckpoint(1, 2, 3).finish(), false)
	f.Fuzz(func(t *testing.T, data []byte, fix bool) {
		data = bytes.Clone(data)
		if fix && len(data) >= 8 {
			body := data[:len(data)-8]
			binary.LittleEndian.PutUint64(data[len(body):], xxhash.Sum64(body))
		}
		c, err := decodeCheckpoint(data)
		if err == nil && len(c.Logs) > len(c.order) {
			t.Errorf("%d logs of %d entries", len(c.Logs), len(c.order))
		}
	})
}

func FuzzDecodeState(f *testing.F) {
	f.Add(encodeState(42, 1, []byte("known")))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, state, err := decodeState(data); err == nil && len(state) != len(data)-headerBytes-8 {
			t.Errorf("%d bytes of %d", len(state), len(data))
		}
	})
}

func FuzzDecodeEnds(f *testing.F) {
	f.Add(sampleEnds())
	f.Fuzz(func(t *testing.T, data []byte) {
		if found, _, err := decodeEnds(data); err == nil && len(found) > endsSlots {
			t.Errorf("%d ends", len(found))
		}
	})
}

func FuzzDecodeChanges(f *testing.F) {
	f.Add(sampleChanges())
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := decodeChanges(data)
		if err == nil && len(all) > len(data)/changedBytes {
			t.Errorf("%d entries in %d bytes", len(all), len(data))
		}
	})
}

func FuzzDecodeCursorPage(f *testing.F) {
	f.Add(sampleCursor(), true)
	f.Add(encodeCursorPage(1, 2, nil), false)
	f.Add(make([]byte, cursorPageBytes), true)
	f.Fuzz(func(t *testing.T, data []byte, fix bool) {
		data = bytes.Clone(data)
		if fix {
			fixCursor(data)
		}
		page, err := decodeCursorPage(data)
		if err != nil {
			return
		}
		v := fitCursor(data, page, 1, 5, 500)
		if page.Found && (v.state.Floor < 5 || v.state.Floor > 500 || v.state.Handed < v.state.Floor || v.state.Handed > 500) {
			t.Errorf("%+v becomes %+v", page, v.state)
		}
	})
}

// fixCursor makes header hash and slot checks right, whatever else the bytes say.
func fixCursor(data []byte) {
	if len(data) < headerBytes {
		return
	}
	copy(data, magicCursor)
	data[4], data[5] = formatVersion, 0
	rehash(data)
	for _, at := range []int{cursorSlot0, cursorSlot1} {
		if len(data) < at+slotBytes {
			return
		}
		var w [slotWords]uint64
		for i := range w {
			w[i] = binary.LittleEndian.Uint64(data[at+8*i:])
		}
		binary.LittleEndian.PutUint64(data[at+8*(slotWords-1):], checkWords(&w))
	}
}

func FuzzScanTable(f *testing.F) {
	f.Add(sampleTable(), 0)
	f.Add(sampleTable()[:100], 40)
	f.Add(appendRecord(nil, recordUpsert, recordFirst, 1, "k", nil), 0)
	f.Fuzz(func(t *testing.T, data []byte, flip int) {
		data = bytes.Clone(data)
		if len(data) > 0 {
			data[uint(flip)%uint(len(data))] ^= 0x10
		}
		scan, err := scanTable(data)
		if err != nil {
			return
		}
		if scan.size+scan.torn != int64(len(data)) && len(data) >= headerBytes {
			t.Errorf("%d good and %d torn of %d bytes", scan.size, scan.torn, len(data))
		}
		var live int64
		for key, e := range scan.entries {
			live += int64(recordSize(len(key), len(e.value)))
		}
		if live != scan.live {
			t.Errorf("live is %d and should be %d", scan.live, live)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(appendRecord(nil, recordUpsert, recordFirst|recordLast, 9, "key", []byte("value")))
	f.Add(appendRecord(nil, recordTombstone, recordLast, 1, "", nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = bytes.Clone(data)
		if len(data) >= recordBytes {
			copy(data[8:], recordMark)
			if end := recordBytes + int(binary.LittleEndian.Uint32(data[16:])) + int(binary.LittleEndian.Uint32(data[20:])); end > 0 && end <= len(data) {
				binary.LittleEndian.PutUint64(data, xxhash.Sum64(data[8:end]))
			}
		}
		r, n, err := decodeRecord(data)
		if err != nil {
			return
		}
		if n < recordBytes || n > len(data) {
			t.Fatalf("%d of %d bytes", n, len(data))
		}
		again, _, err := decodeRecord(appendRecord(nil, r.Kind, r.Flags, r.Revision, string(r.Key), r.Value))
		if err != nil || !bytes.Equal(again.Key, r.Key) || !bytes.Equal(again.Value, r.Value) || again.Revision != r.Revision {
			t.Errorf("%+v comes back as %+v, %v", r, again, err)
		}
	})
}
