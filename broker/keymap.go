package broker

import (
	"encoding/binary"
	"math"

	"github.com/leveret-mq/leveret/message"
)

// keyMap says where the last record of each key stands, for as many keys as there is memory for. It is one block of memory
// without pointers, of 16 bytes a key:
//
//	0          12     16
//	┌──────────┬──────┐   digest: the 12 bytes of the key's digest behind the 4 that say where its place is
//	│ digest   │ at   │   at: the record's offset less the first one, and 1; 0: the place is free
//	└──────────┴──────┘
type keyMap struct {
	places []byte
	keys   int
	most   int            // keys
	first  message.Offset // none is below
}

const (
	keyPlaceBytes = 16
	keyPlaceAt    = 12 // where at is in it
)

// keyPlaces is how many places a map for so many records has, in no more than memory bytes.
func keyPlaces(records, memory int64) int {
	return int(max(min(records+records/3, memory/keyPlaceBytes), 16))
}

// newKeyMap makes a map for records from an offset on in memory that is all zero. More than three quarters of its places are
// not filled: looking for a key would take long.
func newKeyMap(first message.Offset, memory []byte) *keyMap {
	places := len(memory) / keyPlaceBytes
	return &keyMap{places: memory, most: places - places/4, first: first}
}

// reset forgets all keys, for records from another offset on.
func (m *keyMap) reset(first message.Offset) {
	clear(m.places)
	m.keys, m.first = 0, first
}

// find returns the place of a key, or the free one where it would be.
func (m *keyMap) find(key *message.KeyDigest) (place []byte, free bool) {
	at := int(uint64(binary.LittleEndian.Uint32(key[:4]))*uint64(len(m.places)/keyPlaceBytes)>>32) * keyPlaceBytes
	for {
		p := m.places[at:][:keyPlaceBytes]
		if free = binary.LittleEndian.Uint32(p[keyPlaceAt:]) == 0; free || [keyPlaceAt]byte(p) == [keyPlaceAt]byte(key[4:]) {
			return p, free
		}
		if at += keyPlaceBytes; at == len(m.places) {
			at = 0
		}
	}
}

// put notes that the last record of a key stands at an offset. It reports whether there was room.
func (m *keyMap) put(key *message.KeyDigest, o message.Offset) bool {
	at := int64(o-m.first) + 1
	if at > math.MaxUint32 {
		return false
	}
	p, free := m.find(key)
	if free {
		if m.keys == m.most {
			return false
		}
		m.keys++
		copy(p, key[4:])
	}
	binary.LittleEndian.PutUint32(p[keyPlaceAt:], uint32(at))
	return true
}

// behind says whether a key has a record behind an offset.
func (m *keyMap) behind(key *message.KeyDigest, o message.Offset) bool {
	p, free := m.find(key)
	return !free && m.first+message.Offset(binary.LittleEndian.Uint32(p[keyPlaceAt:]))-1 > o
}
