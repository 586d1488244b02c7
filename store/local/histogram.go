package local

import (
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/store"
)

// flushBounds are the upper bounds of the flush latency buckets. The last bucket,
// above them all, has none.
var flushBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, time.Second,
}

// histogram counts flushes by how long they took. It is all atomics: writers
// never wait, a reader sees counts that may be one flush apart.
type histogram struct {
	buckets [len(flushBounds) + 1]atomic.Uint64
	nanos   atomic.Uint64
	errors  atomic.Uint64
}

// observe counts one flush.
func (h *histogram) observe(took time.Duration, failed bool) {
	i := 0
	for i < len(flushBounds) && took > flushBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.nanos.Add(uint64(max(took, 0)))
	if failed {
		h.errors.Add(1)
	}
}

// fill puts the figures where Stats wants them, cumulative.
func (h *histogram) fill(s *store.Stats) {
	var total uint64
	s.SyncBuckets = make([]store.Bucket, 0, len(flushBounds))
	for i, bound := range flushBounds {
		total += h.buckets[i].Load()
		s.SyncBuckets = append(s.SyncBuckets, store.Bucket{Le: bound.Seconds(), Count: total})
	}
	s.Syncs = total + h.buckets[len(flushBounds)].Load()
	s.SyncErrors = h.errors.Load()
	s.SyncSeconds = time.Duration(h.nanos.Load()).Seconds()
}
