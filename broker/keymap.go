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
//
// Before it stands a filter of 8 bits a place: most of the keys that are looked for are not there, since a pass goes through all of the
// log and knows a part of its keys, and they would be looked for in as many as eight places, each of which is not in the processor's caches.
// A key has three bits in one word of the filter.
type keyMap struct {
	filter []byte
	places []byte
	keys   int
	most   int            // keys
	first  message.Offset // none is below
}

const (
	keyPlaceBytes = 16
	keyFilterWord = 8 // bytes; for as many places
	keyBlockBytes = keyFilterWord * (1 + keyPlaceBytes)
	keyPlaceAt    = 12 // where at is in it
)

// keyMapBytes is what a map for so many records takes, no more than memory but where that is very little.
func keyMapBytes(records, memory int64) int {
	return int(max(min((records+records/3)/keyFilterWord+1, memory/keyBlockBytes), 2)) * keyBlockBytes
}

// newKeyMap makes a map for records from an offset on in memory that is all zero. More than three quarters of its places are
// not filled: looking for a key would take long.
func newKeyMap(first message.Offset, memory []byte) *keyMap {
	blocks := len(memory) / keyBlockBytes
	filter, places := memory[:blocks*keyFilterWord], blocks*keyFilterWord
	return &keyMap{filter: filter, places: memory[len(filter):][:places*keyPlaceBytes], most: places - places/4, first: first}
}

// reset forgets all keys, for records from another offset on.
func (m *keyMap) reset(first message.Offset) {
	clear(m.filter)
	clear(m.places)
	m.keys, m.first = 0, first
}

// word is the word of the filter that a key has bits in, and these.
func (m *keyMap) word(key *message.KeyDigest) (at int, bits uint64) {
	at = int(uint64(binary.LittleEndian.Uint32(key[4:]))*uint64(len(m.filter)/keyFilterWord)>>32) * keyFilterWord
	h := binary.LittleEndian.Uint32(key[8:])
	return at, 1<<(h&63) | 1<<(h>>6&63) | 1<<(h>>12&63)
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
		at, bits := m.word(key)
		w := m.filter[at:]
		binary.LittleEndian.PutUint64(w, binary.LittleEndian.Uint64(w)|bits)
	}
	binary.LittleEndian.PutUint32(p[keyPlaceAt:], uint32(at))
	return true
}

// behind says whether a key has a record behind an offset.
func (m *keyMap) behind(key *message.KeyDigest, o message.Offset) bool {
	if at, bits := m.word(key); binary.LittleEndian.Uint64(m.filter[at:])&bits != bits {
		return false
	}
	p, free := m.find(key)
	return !free && m.first+message.Offset(binary.LittleEndian.Uint32(p[keyPlaceAt:]))-1 > o
}
