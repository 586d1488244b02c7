package local

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/store"
)

const (
	idKey   = "next-log-id"
	idChunk = 256 // ids reserved by one write
)

// idSource gives out log ids. It writes ahead the first id that a later process
// may use, flushed in every mode: an id that came back after a power cut could
// meet the directory of a log that was deleted.
type idSource struct {
	table *table

	mu    sync.Mutex // guards both
	free  uint64     // next to give out
	limit uint64     // first that is not reserved
}

// load reads where the former process's reservation ended. When that is lost,
// although there were logs, ids go on from the seconds since 1970 in the upper
// bits, far above any that can have been given out.
func (s *idSource) load(saved, seen map[LogNumber]*rest, now time.Time) error {
	found := false
	err := s.table.Load(context.Background(), func(e store.Entry) error {
		if e.Key == idKey && len(e.Value) == 8 {
			found = true
			s.free = binary.LittleEndian.Uint64(e.Value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !found || s.table.damaged {
		s.free = max(s.free, 1)
		if s.table.damaged || len(seen) > 0 || len(saved) > 0 {
			s.free = max(s.free, uint64(now.Unix())<<24)
		}
	}
	for _, known := range []map[LogNumber]*rest{saved, seen} {
		for id := range known {
			s.free = max(s.free, uint64(id)+1)
		}
	}
	s.limit = s.free
	return nil
}

// next gives out one id.
func (s *idSource) next() (LogNumber, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free >= s.limit {
		limit := s.free + idChunk
		value := binary.LittleEndian.AppendUint64(nil, limit)
		if err := s.table.Put(context.Background(), store.Entry{Key: idKey, Value: value}); err != nil {
			return 0, fmt.Errorf("reserve log ids: %w", err)
		}
		if err := s.table.sync(); err != nil {
			return 0, fmt.Errorf("reserve log ids: %w", err)
		}
		s.limit = limit
	}
	id := s.free
	s.free++
	return LogNumber(id), nil
}

// LogNumber is a log's id in this store.
type LogNumber uint64

// ID is the number as others know it.
func (n LogNumber) ID() store.LogID { return store.LogID(strconv.FormatUint(uint64(n), 10)) }

// number reads what ID wrote.
func number(id store.LogID) (LogNumber, error) {
	n, err := strconv.ParseUint(string(id), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("log %q is not of this store: %w", id, store.ErrNotFound)
	}
	return LogNumber(n), nil
}
