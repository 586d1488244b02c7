package broker

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/leveret-mq/leveret/internal/field"
)

// A publisher may name its messages in a header. An exchange of the type
// x-message-deduplication routes one of each name only (seen.go), and a queue with
// x-message-deduplication takes none while it has one of that name (distinct.go): both as
// RabbitMQ's plugin of that name.

// Headers and arguments of deduplication.
const (
	headerDuplicate = "x-deduplication-header"
	headerCacheTTL  = "x-cache-ttl"

	argCacheSize        = "x-cache-size"
	argCacheTTL         = "x-cache-ttl"
	argCachePersistence = "x-cache-persistence"
	argDistinct         = "x-message-deduplication"
)

const (
	// maxCacheSize is the most names that an exchange or queue remembers.
	maxCacheSize = 100_000_000
	// defaultCacheSize is how many a queue does that says nothing of it.
	defaultCacheSize = 10_000_000
)

// messageID stands for a message's name: the first half of its SHA-256, so that every name
// takes the same memory, and nobody makes two that are taken for one.
type messageID [16]byte

// idOf is the id that a headers table gives its message; ok is false if it gives none. Names
// are equal as RabbitMQ's plugin has it: numbers of all widths by value, texts and bytes
// alike, and void is a name as any other. Lists and tables, which it can't read, are equal
// when their bytes are.
func idOf(headers []byte) (id messageID, ok bool) {
	f, ok := field.Find(headers, headerDuplicate)
	if !ok {
		return id, false
	}
	var scratch [64]byte
	name := scratch[:0]
	switch n, isInt := f.Int(); {
	case isInt:
		name = binary.BigEndian.AppendUint64(append(name, 'i'), uint64(n))
	case f.Tag() == field.TagTimestamp:
		name = append(append(name, 'i'), f.Raw()...)
	case f.Text() != nil:
		name = append(append(name, 's'), f.Text()...)
	default:
		if v, isFloat := f.Float(); isFloat {
			name = binary.BigEndian.AppendUint64(append(name, 'f'), math.Float64bits(v))
			break
		}
		name = append(append(name, 'o', f.Tag()), f.Raw()...)
	}
	sum := sha256.Sum256(name)
	copy(id[:], sum[:])
	return id, true
}
