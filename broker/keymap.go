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
	places []keyPlace
	keys   int
	most   int            // keys
	first  message.Offset // none is below
}

type keyPlace struct {
	digest [12]byte
	at     uint32
}

const keyPlaceBytes = 16

// keyPlaces is how many places a map for so many records has, in no more than memory bytes.
func keyPlaces(records, memory int64) int {
	return int(max(min(records+records/3, memory/keyPlaceBytes), 16))
}

// mostKeys is how many keys are noted in so many places: with more, looking for one takes long.
func mostKeys(places int) int { return places - places/4 }

// newKeyMap makes a map for records from an offset on, up to so many, that takes no more than memory bytes.
func newKeyMap(first message.Offset, records, memory int64) *keyMap {
	places := keyPlaces(records, memory)
	return &keyMap{places: make([]keyPlace, places), most: mostKeys(places), first: first}
}

// reset forgets all keys, for records from another offset on.
func (m *keyMap) reset(first message.Offset) {
	clear(m.places)
	m.keys, m.first = 0, first
}

// find returns the place of a key, or the free one where it would be.
func (m *keyMap) find(key *message.KeyDigest) *keyPlace {
	i := int(uint64(binary.LittleEndian.Uint32(key[:4])) * uint64(len(m.places)) >> 32)
	for {
		p := &m.places[i]
		if p.at == 0 || p.digest == [12]byte(key[4:]) {
			return p
		}
		if i++; i == len(m.places) {
			i = 0
		}
	}
}

// put notes that the last record of a key stands at an offset. It reports whether there was room.
func (m *keyMap) put(key *message.KeyDigest, o message.Offset) bool {
	at := int64(o-m.first) + 1
	if at > math.MaxUint32 {
		return false
	}
	p := m.find(key)
	if p.at == 0 {
		if m.keys == m.most {
			return false
		}
		m.keys++
		p.digest = [12]byte(key[4:])
	}
	p.at = uint32(at)
	return true
}

// behind says whether a key has a record behind an offset.
func (m *keyMap) behind(key *message.KeyDigest, o message.Offset) bool {
	p := m.find(key)
	return p.at != 0 && m.first+message.Offset(p.at)-1 > o
}
