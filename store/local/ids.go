package local

import (
	"encoding/binary"
	"fmt"
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
func (s *idSource) load(saved, seen map[store.LogID]*rest, now time.Time) error {
	found := false
	err := s.table.Load(func(e store.Entry) error {
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
	for _, known := range []map[store.LogID]*rest{saved, seen} {
		for id := range known {
			s.free = max(s.free, uint64(id)+1)
		}
	}
	s.limit = s.free
	return nil
}

// next gives out one id.
func (s *idSource) next() (store.LogID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free >= s.limit {
		limit := s.free + idChunk
		value := binary.LittleEndian.AppendUint64(nil, limit)
		if err := s.table.Put(store.Entry{Key: idKey, Value: value}); err != nil {
			return 0, fmt.Errorf("reserve log ids: %w", err)
		}
		if err := s.table.sync(); err != nil {
			return 0, fmt.Errorf("reserve log ids: %w", err)
		}
		s.limit = limit
	}
	id := s.free
	s.free++
	return store.LogID(id), nil
}
