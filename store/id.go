package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/leveret-mq/leveret/message"
)

// LogID names a log for good: it is never reused, unlike a queue's name. What it is
// made of is the store's matter; it is never empty.
type LogID string

// MarshalJSON writes an id of digits as the number that ids once were.
func (id LogID) MarshalJSON() ([]byte, error) {
	if n, err := strconv.ParseUint(string(id), 10, 64); err == nil && strconv.FormatUint(n, 10) == string(id) {
		return []byte(id), nil
	}
	return json.Marshal(string(id))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (id *LogID) UnmarshalJSON(data []byte) error {
	var n uint64
	if json.Unmarshal(data, &n) == nil {
		*id = LogID(strconv.FormatUint(n, 10))
		return nil
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("id of a log: %w", err)
	}
	*id = LogID(s)
	return nil
}

// Position is where an append went, which a store may learn only later.
type Position struct {
	base  message.Offset
	later Later
}

// Later is a place that is not known yet.
type Later interface {
	// Base waits for the first record's offset, or for the error that took its place.
	Base(ctx context.Context) (message.Offset, error)
}

// At is a position that is known.
func At(base message.Offset) Position { return Position{base: base} }

// Awaited is a position that will be known.
func Awaited(l Later) Position { return Position{later: l} }

// Known is the first record's offset if it is known already.
func (p Position) Known() (base message.Offset, ok bool) { return p.base, p.later == nil }

// Base is the first record's offset. It waits if that is not known yet; after an
// error the records may be there or not.
func (p Position) Base(ctx context.Context) (message.Offset, error) {
	if p.later == nil {
		return p.base, nil
	}
	return p.later.Base(ctx)
}
