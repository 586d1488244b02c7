package local

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

// A cursor file is one page that is mapped while the queue is in use, and behind
// it up to two blobs of what the consumer package wants kept:
//
//	0          512        1024       4096
//	┌────────┬─┬────────┬─┬────────┬──┬───────────┬───────────┐
//	│ header │0│ slot 0 │0│ slot 1 │0 │ blob      │ blob      │
//	│ tag=id │ │ 80     │ │ 80     │  │           │           │
//	└────────┴─┴────────┴─┴────────┴──┴───────────┴───────────┘
//
// A slot is ten words of 8 bytes, written by plain stores, the check last and atomically:
//
//	0     8       16       24         32      40     48        56        64        72
//	┌─────┬───────┬────────┬──────────┬───────┬──────┬─────────┬─────────┬─────────┬───────┐
//	│ seq │ floor │ handed │ reserved │ start │ boot │ blob at │ blob    │ blob    │ check │
//	│     │       │        │          │       │      │         │ bytes   │ hash    │       │
//	└─────┴───────┴────────┴──────────┴───────┴──────┴─────────┴─────────┴─────────┴───────┘
//
// start is where the log was truncated to last, which need not be where a segment
// begins.
//
// Slots alternate, and the valid one with the higher seq counts, so that a kill
// between two stores leaves the state before that one call. The check is a hash
// of the words before it. The slots lie in different sectors. A new blob never
// overwrites the one that the last slot points at.
//
// boot is a hash of the running kernel's boot id. When it still is the same, the
// page cache survived and handed is exact; after a power cut only what was
// flushed is there, and reserved counts, which is flushed before anything up to
// it is handed out. See recoverCursor for the table of outcomes.
const (
	cursorPageBytes = 4096
	cursorSlot0     = 512
	cursorSlot1     = 1024
	slotWords       = 10
	slotBytes       = slotWords * 8
	cursorBlobAt    = cursorPageBytes
	cursorMaxBlob   = 1 << 30
	reservedAll     = 1<<63 - 1 // everything may have been handed out
)

// slot is one decoded state of a cursor file.
type slot struct {
	Seq      uint64
	Floor    int64
	Handed   int64
	Reserved int64
	Start    int64
	Boot     uint64
	BlobAt   uint64 // position in the file; 0 without a blob
	BlobLen  uint64
	BlobHash uint64
}

// words is the slot as it stands in the file, without the check.
func (s *slot) words() [slotWords]uint64 {
	w := [slotWords]uint64{
		s.Seq, uint64(s.Floor), uint64(s.Handed), uint64(s.Reserved), uint64(s.Start),
		s.Boot, s.BlobAt, s.BlobLen, s.BlobHash,
	}
	w[slotWords-1] = checkWords(&w)
	return w
}

// checkWords hashes the words before the check: a multiply and a fold for
// each, as in the finish of xxhash64 but without its set-up, because it runs on
// every turn of a delivery. All zeros, a fresh page, do not check.
func checkWords(w *[slotWords]uint64) uint64 {
	const prime1, prime2 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F
	h := uint64(0x27D4EB2F165667C5)
	for _, v := range w[:slotWords-1] {
		h = (h ^ v*prime2) * prime1
		h ^= h >> 29
	}
	return h
}

// storeSlot writes the slot into the mapped page at position at, a multiple of 8.
func storeSlot(page []byte, at int, s *slot) {
	w := s.words()
	p := (*[slotWords]uint64)(unsafe.Pointer(&page[at : at+slotBytes][0]))
	*(*[slotWords - 1]uint64)(p[:]) = [slotWords - 1]uint64(w[:])
	atomic.StoreUint64(&p[slotWords-1], w[slotWords-1])
}

// decodeSlot reads one slot. empty is true for one that was never written.
func decodeSlot(data []byte) (s slot, empty bool, err error) {
	if len(data) < slotBytes {
		return slot{}, false, fmt.Errorf("slot has %d of %d bytes: %w", len(data), slotBytes, ErrCorrupt)
	}
	var w [slotWords]uint64
	var any uint64
	for i := range w {
		w[i] = binary.LittleEndian.Uint64(data[i*8:])
		any |= w[i]
	}
	if any == 0 {
		return slot{}, true, nil
	}
	if w[slotWords-1] != checkWords(&w) {
		return slot{}, false, fmt.Errorf("slot check differs: %w", ErrCorrupt)
	}
	s = slot{
		Seq: w[0], Floor: int64(w[1]), Handed: int64(w[2]), Reserved: int64(w[3]), Start: int64(w[4]),
		Boot: w[5], BlobAt: w[6], BlobLen: w[7], BlobHash: w[8],
	}
	if s.Floor < 0 || s.Handed < s.Floor || s.Reserved < 0 || s.Start < 0 || s.BlobLen > cursorMaxBlob ||
		(s.BlobLen > 0 && (s.BlobAt < cursorBlobAt || s.BlobAt > 1<<40)) {
		return slot{}, false, fmt.Errorf("slot %d holds impossible numbers: %w", s.Seq, ErrCorrupt)
	}
	return s, false, nil
}

// cursorPage is what the first page of a cursor file holds.
type cursorPage struct {
	ID      uint64
	Slot    slot
	Found   bool // a slot was valid
	Suspect bool // another slot was written and is not valid
}

// decodeCursorPage reads header and slots. An error means that nothing of it can be trusted.
func decodeCursorPage(data []byte) (cursorPage, error) {
	h, err := decodeHeader(data, magicCursor)
	if err != nil {
		return cursorPage{}, fmt.Errorf("cursor: %w", err)
	}
	if len(data) < cursorSlot1+slotBytes {
		return cursorPage{}, fmt.Errorf("cursor file of %d bytes: %w", len(data), ErrCorrupt)
	}
	page := cursorPage{ID: h.Tag}
	var failed error
	for _, at := range [2]int{cursorSlot0, cursorSlot1} {
		s, empty, err := decodeSlot(data[at:])
		switch {
		case err != nil:
			page.Suspect, failed = true, err
		case !empty && (!page.Found || s.Seq > page.Slot.Seq):
			page.Slot, page.Found = s, true
		}
	}
	if !page.Found && failed != nil {
		return cursorPage{}, fmt.Errorf("cursor: %w", failed)
	}
	return page, nil
}

// encodeCursorPage is a fresh first page with one slot in it.
func encodeCursorPage(id uint64, createdMs int64, s *slot) []byte {
	page := make([]byte, cursorPageBytes)
	header{Magic: magicCursor, Tag: id, CreatedMs: createdMs}.appendTo(page[:0])
	if s != nil {
		w := s.words()
		at := cursorSlotAt(s.Seq)
		for i := range w {
			binary.LittleEndian.PutUint64(page[at+i*8:], w[i])
		}
	}
	return page
}

// cursorSlotAt is where the slot with that sequence number is written.
func cursorSlotAt(seq uint64) int {
	if seq%2 == 0 {
		return cursorSlot0
	}
	return cursorSlot1
}

// blobHash is the hash that a slot keeps of its blob.
func blobHash(data []byte) uint64 { return xxhash.Sum64(data) }
