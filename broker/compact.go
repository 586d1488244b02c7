package broker

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// A topic with compact in its cleanup.policy keeps of each key the last record, as in Kafka. One goroutine looks after all
// such topics, and after one log at a time:
//
//	start              clean            to           being written, too young, or not decided
//	├────────────────────┼───────────────┼──────────────────────────────┤
//	 each key once        dirty           left alone
//	                     └─ collect ────┘   where the last record of each key stands: keymap.go
//	└─────────── rewrite ───────────────┘   what is not a key's last record goes: compactbatch.go
//
// A log is due when more than min.cleanable.dirty.ratio of what could be compacted is dirty, when the first of it is older than
// max.compaction.lag.ms, or when what ends a key (a tombstone) has been kept for delete.retention.ms. Keys for which there
// is no memory at once are done in several passes, each of which begins where the one before has ended, be it within a batch.
//
// Offsets stay: a batch keeps its first and last one, and where nothing is left of it an empty one stands in its place. The
// last batch of each producer leaves its header, so that what is known of producers can be made again from the log.
// How the files are replaced is for package log to say.

const (
	compactEvery  = 15 * time.Second // between two looks
	compactMemory = 64 << 20         // of a keyMap
	compactShare  = 25               // percent
	compactRest   = time.Minute      // behind a failure
	compactName   = "compaction"
)

// compactor looks after the compacted topics.
type compactor struct {
	b    *Broker
	wake chan struct{} // there is a first topic

	mu     sync.Mutex // guards topics; a leaf
	topics map[*Queue]struct{}

	// Of the goroutine alone.
	parts  map[*Partition]*compacted
	memory []byte // for keys, of one round
	free   func() // gives it back

	mostUnpacked int // bytes that the records of a batch may come to
	looks        int // at logs
}

// compacted is what is known of one log.
type compacted struct {
	clean   message.Offset // below it each key stands once
	horizon int64          // ms from which on what ends a key, or a transaction, may go; MaxInt64: there is none
	rest    time.Time      // not before
}

func (c *compactor) start(b *Broker) {
	c.b, c.wake, c.topics, c.parts = b, make(chan struct{}, 1), map[*Queue]struct{}{}, map[*Partition]*compacted{}
	c.mostUnpacked = message.MaxUnpackedBytes
}

// note has a topic looked after if it is compacted.
func (c *compactor) note(q *Queue) {
	compact := q.Settings().Compact
	c.mu.Lock()
	defer c.mu.Unlock()
	if !compact {
		delete(c.topics, q)
		return
	}
	c.topics[q] = struct{}{}
	if len(c.topics) == 1 {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// list is the topics, by their names, without those that are gone.
func (c *compactor) list() (list []*Queue) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for q := range c.topics {
		if q.Deleted() || !q.Settings().Compact {
			delete(c.topics, q)
			continue
		}
		list = append(list, q)
	}
	slices.SortFunc(list, func(a, b *Queue) int { return int(a.Partitions()[0].serial) - int(b.Partitions()[0].serial) })
	return list
}

func (c *compactor) run() {
	t := time.NewTicker(c.b.opts.CompactEvery)
	t.Stop()
	defer t.Stop()
	for {
		select {
		case <-c.b.stop:
			return
		case <-c.wake:
			t.Reset(c.b.opts.CompactEvery)
		case <-t.C:
			if c.round() == 0 {
				t.Stop() // until there is one again
			}
		}
	}
}

// round compacts what is due, the dirtiest first, and says how many topics there are. What becomes due meanwhile is for the next
// round, which is soon: looking at all of them again behind each would take the square of their number.
func (c *compactor) round() (topics int) {
	list := c.list()
	known := map[*Partition]*compacted{}
	var due []*cleaning
	for _, q := range list {
		for _, p := range q.Partitions() {
			if c.stopping() {
				return len(list)
			}
			st, w := c.look(p)
			if st != nil {
				known[p] = st
			}
			if w != nil {
				due = append(due, w)
			}
		}
	}
	c.parts = known
	slices.SortStableFunc(due, func(a, b *cleaning) int { return cmp.Compare(b.share, a.share) })
	for _, one := range due {
		if c.stopping() {
			break
		}
		if _, w := c.look(one.p); w != nil { // again: others took their time
			if err := w.run(); err != nil {
				c.failed(w.p, err)
			}
		}
	}
	c.giveBack()
	return len(list)
}

// keysFor is a map of a cleaning, in the memory of the one before in this round if that is enough. The memory is not the
// collector's: at 64 MiB that would let three times as much garbage gather beside it.
func (c *compactor) keysFor(first message.Offset, records int64) *keyMap {
	bytes := keyMapBytes(records, c.b.opts.CompactMemory)
	if len(c.memory) < bytes {
		c.giveBack()
		c.memory, c.free = c.b.opts.Pages(bytes)
	} else {
		clear(c.memory[:bytes])
	}
	return newKeyMap(first, c.memory[:bytes])
}

// giveBack ends the use of all maps that keysFor made.
func (c *compactor) giveBack() {
	if c.free != nil {
		c.free()
	}
	c.memory, c.free = nil, nil
}

func (c *compactor) stopping() bool {
	select {
	case <-c.b.stop:
		return true
	default:
		return false
	}
}

// failed tells of a log that could not be compacted, and leaves it alone for a while.
func (c *compactor) failed(p *Partition, err error) {
	if st := c.parts[p]; st != nil {
		st.rest = c.b.opts.Now().Add(compactRest)
	}
	if !p.removed.Load() && !c.stopping() && !errors.Is(err, store.ErrClosed) {
		c.b.counters.CompactionsFailed.Add(1)
		c.b.opts.Log.Error("a topic can't be compacted; it keeps older records of its keys until it can", "topic", p.q.Name, "partition", p.index, "error", err)
	}
}

// look says what is to be done about a log, nil for nothing.
func (c *compactor) look(p *Partition) (*compacted, *cleaning) {
	c.looks++
	now := c.b.opts.Now()
	st := c.parts[p]
	if p.removed.Load() || !p.q.Settings().Compact || st != nil && now.Before(st.rest) {
		return st, nil
	}
	if st == nil {
		st = p.loadCompacted()
	}
	w, err := c.due(p, st, now)
	if err != nil {
		c.parts[p] = st
		c.failed(p, err)
	}
	return st, w
}

// due says which part of a log is dirty, if that is enough to be compacted.
func (c *compactor) due(p *Partition, st *compacted, now time.Time) (*cleaning, error) {
	s := p.q.Settings()
	if err := p.log.EndSegment(now.Add(-min(s.SegmentAge, s.MostDirtyAge))); err != nil {
		return nil, err
	}
	segments, err := p.log.Segments()
	if err != nil || len(segments) == 0 {
		return nil, err
	}
	if _, err := p.knowTxns(); err != nil {
		return nil, err
	}
	start, end, err := p.log.Bounds()
	if err != nil {
		return nil, err
	}
	if st.clean > end {
		st.clean = 0 // the log has lost its end
	}
	st.clean = max(st.clean, segments[0].Start, start) // what was cut off may end within a segment, and within a batch
	w := &cleaning{c: c, p: p, st: st, set: s, now: now, from: st.clean, to: st.clean}
	stable := p.committedEnd(start, end)
	var clean, dirty int64
	var first time.Time
	for _, one := range segments {
		to := min(one.End, stable)
		if one.End <= st.clean {
			clean += one.Bytes
			continue
		}
		if to <= st.clean || s.LeastDirtyAge > 0 && one.Newest.After(now.Add(-s.LeastDirtyAge)) {
			break
		}
		if dirty == 0 {
			first = one.Begun
		}
		dirty += one.Bytes
		w.to = to
	}
	if dirty > 0 {
		w.share = float64(dirty) / float64(dirty+clean)
	}
	switch {
	case dirty > 0 && w.share > s.DirtyShare:
	case dirty > 0 && first.Before(now.Add(-s.MostDirtyAge)): // also when that is not known
		w.share = 1
	case clean > 0 && st.horizon <= now.UnixMilli():
	default:
		return nil, nil
	}
	return w, nil
}

// The state that is saved beside a log, version 1, little-endian. Without it all of the log counts as dirty.
//
//	0       4      5      8       16        24
//	┌───────┬──────┬──────┬───────┬─────────┐
//	│"LVCP" │ vers │ zero │ clean │ horizon │   clean: offset; horizon: ms since 1970, 2⁶³-1 for none
//	│       │ u8   │      │ i64   │ i64     │
//	└───────┴──────┴──────┴───────┴─────────┘
const (
	compactMagic   = "LVCP"
	compactVersion = 1
	compactBytes   = 24
)

func (st *compacted) appendState(buf []byte) []byte {
	buf = append(buf, compactMagic...)
	buf = append(buf, compactVersion, 0, 0, 0)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(st.clean))
	return binary.LittleEndian.AppendUint64(buf, uint64(st.horizon))
}

var errCompacted = errors.New("state of compaction is damaged")

func decodeCompacted(data []byte) (*compacted, error) {
	if len(data) != compactBytes || string(data[:4]) != compactMagic || data[4] != compactVersion {
		return nil, fmt.Errorf("%w: %d bytes are none of version %d", errCompacted, len(data), compactVersion)
	}
	st := &compacted{clean: message.Offset(binary.LittleEndian.Uint64(data[8:])), horizon: int64(binary.LittleEndian.Uint64(data[16:]))}
	if st.clean < 0 || st.horizon < 0 {
		return nil, fmt.Errorf("%w: clean up to %d, horizon %d", errCompacted, st.clean, st.horizon)
	}
	return st, nil
}

// loadCompacted is what was saved of a log, or nothing if that can't be read: it is compacted from its start then.
func (p *Partition) loadCompacted() *compacted {
	ctx, cancel := asking()
	defer cancel()
	data, err := p.log.LoadState(ctx, compactName)
	if err == nil && len(data) > 0 {
		var st *compacted
		if st, err = decodeCompacted(data); err == nil {
			return st
		}
	}
	if err != nil {
		p.q.vhost.b.opts.Log.Info("how far a topic was compacted can't be read; it is compacted from its start", "topic", p.q.Name, "partition", p.index, "error", err)
	}
	return &compacted{horizon: math.MaxInt64}
}

// wasCompacted says whether the log was compacted once.
func (p *Partition) wasCompacted() bool {
	ctx, cancel := asking()
	defer cancel()
	data, err := p.log.LoadState(ctx, compactName)
	return err != nil || len(data) > 0
}
