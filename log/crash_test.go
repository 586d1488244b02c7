package log

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

var crashSeeds = flag.Int("crash.seeds", 150, "how many crash histories to run")
var crashSeed = flag.Uint64("crash.seed", 0, "run this one history only")

// A history is random work on a few logs that share a pool, cut by power cuts.
// After each cut the logs are opened from what the disk kept, and must have
// everything that was synced, in order, and nothing that was not appended to
// that very log at that very offset.
type history struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand

	// uniform histories have batches of 128 bytes only, so that those of
	// different lives line up, also at the borders of pages.
	uniform bool

	mem  *fs.Mem
	pool *segment.Pool
	logs []*Log

	mu     sync.Mutex // guards what the hook reads
	model  []model
	cuts   []cut
	armed  int // file operations until the next cut; 0 is off
	cutRng *rand.Rand
	serial int
	events []string
}

// model is what one log must hold.
type model struct {
	batches map[int64][]byte // by base offset
	done    map[int64]bool   // base offsets of batches that Thin may have removed
	short   map[int64]bool   // base offsets of batches that Compact may have made shorter
	start   int64            // nothing below is needed
	synced  int64            // nothing in [start, synced) may be missing
	end     int64
}

// cut is a disk at one moment and what it must hold.
type cut struct {
	mem  *fs.Mem
	need []model
}

const logsInHistory = 3

func TestCrashesLoseNothingSyncedAndShowNothingForeign(t *testing.T) {
	if *crashSeed != 0 {
		runHistory(t, *crashSeed)
		return
	}
	for seed := uint64(1); seed <= uint64(*crashSeeds); seed++ {
		runHistory(t, seed)
	}
	if (thinned.Load() == 0 || merged.Load() == 0 || compacted.Load() == 0) && !t.Failed() {
		t.Error("no history thinned anything, or none merged, or none compacted")
	}
	t.Logf("%d bytes were freed by thinning, %d files by merging", thinned.Load(), merged.Load())
}

func runHistory(t *testing.T, seed uint64) {
	h := &history{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), cutRng: rand.New(rand.NewPCG(seed, 2))}
	h.uniform = seed%2 == 0
	h.mem = fs.NewMem(seed)
	h.mem.Evict(seed%3 == 0) // what is closed is read by pread, and no file is recycled
	if err := errors.Join(h.mem.MkdirAll("/queues"), h.mem.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	h.model = make([]model, logsInHistory)
	for i := range h.model {
		h.model[i].batches = make(map[int64][]byte)
		h.model[i].done = make(map[int64]bool)
		h.model[i].short = make(map[int64]bool)
	}
	for range 4 {
		h.start()
		h.work(60 + h.rng.IntN(120))
		h.powerCut()
	}
	h.start()
	h.verify()
	h.stop()
}

func (h *history) fatalf(format string, args ...any) {
	h.t.Helper()
	for _, e := range h.events {
		h.t.Log(e)
	}
	h.t.Fatalf("seed %d (-crash.seed=%d): %s", h.seed, h.seed, fmt.Sprintf(format, args...))
}

// start opens pool and logs on the disk as it is.
func (h *history) start() {
	h.armed = 0
	disk := fs.Failing(h.mem, h.hook)
	p, err := segment.NewPool(segment.PoolOptions{FS: disk, Dir: "/pool", FreeBytes: 64 << 10, MinBytes: 4 << 10, Sweep: time.Hour})
	if err != nil {
		h.fatalf("pool: %v", err)
	}
	h.pool, h.logs = p, nil
	for i := range logsInHistory {
		h.logs = append(h.logs, h.open(disk, i))
	}
}

func (h *history) open(disk fs.FS, i int) *Log {
	l, err := Open(Options{
		FS: disk, Dir: fmt.Sprintf("/queues/%d", i), Pool: h.pool, FirstSegmentBytes: 4 << 10, SegmentBytes: 16 << 10,
		IndexIntervalBytes: 512, Report: func(e Event) { h.note("log %d: %v", i, e) },
	})
	if err != nil {
		h.fatalf("open log %d: %v", i, err)
	}
	l.mergeLeast = 2 + i
	if err := l.Sync(); err != nil { // as asked for after a power cut
		h.fatalf("sync log %d: %v", i, err)
	}
	return l
}

func (h *history) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, fmt.Sprintf(format, args...))
}

// hook runs before each file operation and cuts the power there when armed.
func (h *history) hook(fs.Op, string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.armed == 0 {
		return nil
	}
	if h.armed--; h.armed == 0 {
		h.cut()
	}
	return nil
}

// cut keeps a copy of the disk as the power cut leaves it. The caller holds mu.
func (h *history) cut() {
	h.cuts = append(h.cuts, cut{mem: h.mem.Crash(h.cutRng), need: slices.Clone(h.model)})
}

// work does random things. The power is cut in the middle of one of them, or
// at the end.
func (h *history) work(steps int) {
	h.mu.Lock()
	h.cuts = nil
	h.armed = h.rng.IntN(4 * steps)
	h.mu.Unlock()
	var views []heldView
	for range steps {
		i := h.rng.IntN(len(h.logs))
		switch n := h.rng.IntN(100); {
		case n < 60:
			h.append(i)
		case n < 72:
			h.sync(i)
		case n < 79:
			h.truncate(i)
		case n < 82:
			h.expire(i)
		case n < 88:
			h.mem.Writeback()
		case n < 92:
			h.pool.Sweep()
		case n < 94:
			h.thin(i)
		case n < 96:
			h.compact(i)
		case n < 98:
			views = append(views, h.hold(i)...)
		default:
			h.reopen(i)
		}
		if h.rng.IntN(3) > 0 {
			h.pool.Wait()
		}
		if len(views) > 4 {
			views[0].check(h)
			views = views[1:]
		}
	}
	for _, v := range views {
		v.check(h)
	}
	h.pool.Wait()
	h.mu.Lock()
	h.cut()
	h.mu.Unlock()
}

func (h *history) append(i int) {
	var run []byte
	h.mu.Lock()
	m := &h.model[i]
	base := m.end
	count := 1 + h.rng.IntN(3)
	if h.uniform {
		count = 8
	}
	for range count {
		h.serial++
		size, n := 8+h.rng.IntN(1500), 1+h.rng.IntN(3)
		if h.uniform {
			size, n = 128-batch.HeaderBytes, 1
		}
		b := batch.Batch(makeBatch(n, size, byte(h.serial), int64(h.serial)))
		b.SetBaseOffset(m.end)
		m.batches[m.end] = b
		delete(m.done, m.end)
		delete(m.short, m.end)
		m.end += int64(n)
		run = append(run, b...)
	}
	h.mu.Unlock()
	got, err := h.logs[i].Append(run)
	if err != nil || got != base {
		h.fatalf("append to log %d: base %d, want %d: %v", i, got, base, err)
	}
}

func (h *history) sync(i int) {
	h.mu.Lock()
	end := h.model[i].end
	h.mu.Unlock()
	if err := h.logs[i].Sync(); err != nil {
		h.fatalf("sync: %v", err)
	}
	h.mu.Lock()
	h.model[i].synced = max(h.model[i].synced, end)
	h.mu.Unlock()
}

func (h *history) truncate(i int) {
	h.mu.Lock()
	m := &h.model[i]
	before := m.start + h.rng.Int64N(m.end-m.start+1)
	m.start = before
	h.mu.Unlock()
	if err := h.logs[i].Truncate(before); err != nil {
		h.fatalf("truncate: %v", err)
	}
}

// expire drops everything, because it is old; where the end was stays known.
func (h *history) expire(i int) {
	h.mu.Lock()
	m := &h.model[i]
	m.start = m.end
	h.mu.Unlock()
	if _, err := h.logs[i].DropExpired(math.MaxInt64-1, 0, math.MaxInt64); err != nil {
		h.fatalf("expire: %v", err)
	}
	h.mu.Lock()
	m.synced = max(m.synced, m.end)
	h.mu.Unlock()
}

// thin gives up most batches below some offset for good and has the log thinned.
func (h *history) thin(i int) {
	h.mu.Lock()
	m := &h.model[i]
	below, salt := m.start+h.rng.Int64N(m.end-m.start+1), h.rng.Uint64()
	for base, b := range m.batches {
		if batch.Batch(b).LastOffset() < below && (uint64(base)^salt)*0x9e3779b97f4a7c15>>60 > 0 {
			m.done[base] = true
		}
	}
	needed := make([]int64, 0, len(m.batches)) // rising
	for base := range m.batches {
		if !m.done[base] {
			needed = append(needed, base)
		}
	}
	slices.Sort(needed)
	last := func(base int64) int64 { return batch.Batch(m.batches[base]).LastOffset() }
	h.mu.Unlock()
	_, segments := h.logs[i].Size()
	freed, err := h.logs[i].Thin(below, func(first, to int64) bool {
		n, _ := slices.BinarySearchFunc(needed, first, func(base, first int64) int { return cmp.Compare(last(base), first) })
		return n < len(needed) && needed[n] <= to
	})
	if err != nil {
		h.fatalf("thin: %v", err)
	}
	thinned.Add(freed)
	_, left := h.logs[i].Size()
	merged.Add(int64(segments - left))
}

// compact gives up some batches for good, and parts of others, and has the log compacted. What it did is on disk
// when it returns.
func (h *history) compact(i int) {
	h.mu.Lock()
	m := &h.model[i]
	before, salt := m.start+h.rng.Int64N(m.end-m.start+1), h.rng.Uint64()
	edits := map[int64]batch.Batch{}
	for base, b := range m.batches {
		if base >= before {
			continue
		}
		switch n := (uint64(base) ^ salt) * 0x9e3779b97f4a7c15 >> 62; {
		case m.done[base] || n == 0:
			m.done[base], edits[base] = true, nil
		case n == 1:
			m.short[base], edits[base] = true, shorter(b)
		}
	}
	h.mu.Unlock()
	reached, freed, err := h.logs[i].Compact(before, func(b batch.Batch) (batch.Batch, error) {
		if out, ok := edits[b.BaseOffset()]; ok {
			return out, nil
		}
		return b, nil
	})
	if err != nil && !errors.Is(err, segment.ErrCorrupt) { // a former cut may have damaged it
		h.fatalf("compact: %v", err)
	}
	compacted.Add(freed)
	h.note("log %d: compacted up to %d", i, reached)
}

// shorter is a batch with half of another's bytes, and of the same offsets.
func shorter(b batch.Batch) batch.Batch {
	out := bytes.Clone(b[:batch.HeaderBytes+(len(b)-batch.HeaderBytes)/2])
	short := batch.Batch(out)
	short.Seal(batch.Header{LastOffsetDelta: b.LastOffsetDelta(), BaseTimestamp: b.BaseTimestamp(), MaxTimestamp: b.MaxTimestamp(),
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(), Count: min(b.Count(), 1)})
	short.SetBaseOffset(b.BaseOffset())
	return short
}

// compacted is the bytes that compaction freed, thinned is the bytes that all histories together freed by thinning, merged the files.
var thinned, merged, compacted atomic.Int64

func (h *history) reopen(i int) {
	end := h.model[i].end
	if err := h.logs[i].Close(); err != nil {
		h.fatalf("close: %v", err)
	}
	h.mu.Lock()
	h.model[i].synced = end
	h.mu.Unlock()
	h.pool.Wait()
	h.logs[i] = h.open(fs.Failing(h.mem, h.hook), i)
	if err := h.logs[i].Truncate(h.model[i].start); err != nil {
		h.fatalf("truncate: %v", err)
	}
}

// heldView is a View kept while its segment may be dropped and recycled.
type heldView struct {
	view View
	copy []byte
}

func (h *history) hold(i int) []heldView {
	start, end := h.logs[i].Bounds()
	if start == end {
		return nil
	}
	v, err := h.logs[i].Read(start+h.rng.Int64N(end-start), 1+h.rng.IntN(8000))
	if err != nil {
		h.fatalf("read: %v", err)
	}
	h.compare(i, v.Bytes())
	return []heldView{{v, bytes.Clone(v.Bytes())}}
}

func (v heldView) check(h *history) {
	if !bytes.Equal(v.view.Bytes(), v.copy) {
		h.fatalf("a view changed while it was held")
	}
	v.view.Release()
}

// compare checks that every batch is the one that was appended there, and
// returns the offset behind the last.
func (h *history) compare(i int, b []byte) (next int64) {
	for len(b) > 0 {
		one, rest, err := batch.Next(b)
		if err != nil {
			h.fatalf("log %d: %v", i, err)
		}
		if want := h.model[i].batches[one.BaseOffset()]; !bytes.Equal(one, want) && !h.replaces(i, one) && !(h.model[i].short[one.BaseOffset()] && bytes.Equal(one, shorter(want))) {
			h.fatalf("log %d: batch %d is foreign: %d bytes, want %d", i, one.BaseOffset(), len(one), len(want))
		}
		next, b = one.LastOffset()+1, rest
	}
	return next
}

// replaces says whether a batch is one that Thin may have left in place of others.
func (h *history) replaces(i int, b batch.Batch) bool {
	if b.Count() != 0 || len(b) != batch.HeaderBytes || b.Check() != nil {
		return false
	}
	m := &h.model[i]
	next := b.BaseOffset()
	for next <= b.LastOffset() {
		old := batch.Batch(m.batches[next])
		if old == nil { // a former power cut damaged it, or it lies below what was read then
			next++
			continue
		}
		if !m.done[next] && old.Count() > 0 && old.LastOffset() >= m.start {
			return false
		}
		next = old.LastOffset() + 1
	}
	return next == b.LastOffset()+1
}

// powerCut goes on with one of the disks that the cuts left.
func (h *history) powerCut() {
	for _, l := range h.logs {
		l.mu.Lock()
		l.closed = true // the process is dead: nothing more reaches the disk
		l.mu.Unlock()
	}
	h.pool.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.cuts[h.rng.IntN(len(h.cuts))]
	h.note0("power cut; log ends %d %d %d, synced %d %d %d, started %d %d %d",
		c.need[0].end, c.need[1].end, c.need[2].end, c.need[0].synced, c.need[1].synced, c.need[2].synced,
		c.need[0].start, c.need[1].start, c.need[2].start)
	h.mem, h.armed = c.mem, 0
	for i := range h.model {
		h.model[i].start, h.model[i].synced = c.need[i].start, c.need[i].synced
	}
	defer h.adopt()
}

func (h *history) note0(format string, args ...any) {
	h.events = append(h.events, fmt.Sprintf(format, args...))
}

// adopt checks what is on the disk and makes it the model of the next round.
// It runs on a copy of the disk, so that the next round recovers for itself.
func (h *history) adopt() {
	h.mu.Unlock()
	defer h.mu.Lock()
	disk := h.mem
	h.mem = disk.Crash(rand.New(rand.NewPCG(1, 1)))
	h.start()
	for i := range h.logs {
		h.model[i].end, h.model[i].batches = h.content(i)
		h.model[i].start = min(h.model[i].start, h.model[i].end)
	}
	h.stop()
	h.mem = disk
}

// content reads a recovered log, compares it with the model, and checks that
// all that was synced is there.
func (h *history) content(i int) (end int64, batches map[int64][]byte) {
	l, m := h.logs[i], h.model[i]
	batches = make(map[int64][]byte)
	start, end := l.Bounds()
	if end < m.synced {
		h.fatalf("log %d: recovered [%d, %d), synced [%d, %d)", i, start, end, m.start, m.synced)
	}
	for from := start; ; {
		v, err := l.Read(from, 700)
		if err != nil {
			h.fatalf("log %d: read %d: %v", i, from, err)
		}
		if len(v.Bytes()) == 0 {
			break
		}
		next := h.compare(i, v.Bytes())
		for rest := bytes.Clone(v.Bytes()); len(rest) > 0; {
			var b batch.Batch
			b, rest, _ = batch.Next(rest)
			if b.LastOffset() < from {
				h.fatalf("log %d: batch %d comes after %d was asked for", i, b.BaseOffset(), from)
			}
			batches[b.BaseOffset()] = b
		}
		v.Release()
		from = next
	}
	for base, b := range m.batches {
		if batch.Batch(b).LastOffset() >= m.start && base < m.synced && batches[base] == nil &&
			!m.done[base] && batch.Batch(b).Count() > 0 {
			h.fatalf("log %d: batch %d is missing; synced [%d, %d)", i, base, m.start, m.synced)
		}
	}
	return end, batches
}

// verify checks what the last cut left.
func (h *history) verify() {
	for i := range h.logs {
		h.content(i)
	}
}

func (h *history) stop() {
	var err error
	for _, l := range h.logs {
		err = errors.Join(err, l.Close())
	}
	if err = errors.Join(err, h.pool.Close()); err != nil {
		h.fatalf("close: %v", err)
	}
}
