package log

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

var damageSeeds = flag.Int("damage.seeds", 150, "how many damaged last segments to try")

// hurt is damage to one of the batches of a file, in bytes from its beginning.
type hurt struct {
	name string
	do   func(rng *rand.Rand, b []byte)
}

var hurts = []hurt{
	{"base offset", func(rng *rand.Rand, b []byte) { b[rng.IntN(8)] ^= byte(1 + rng.IntN(255)) }},
	{"length", func(rng *rand.Rand, b []byte) { b[8+rng.IntN(4)] ^= byte(1 + rng.IntN(255)) }},
	{"magic", func(rng *rand.Rand, b []byte) { b[16] ^= byte(1 + rng.IntN(255)) }},
	{"checksum", func(rng *rand.Rand, b []byte) { b[17+rng.IntN(4)] ^= 1 << rng.IntN(8) }},
	{"rest of the header", func(rng *rand.Rand, b []byte) { b[21+rng.IntN(40)] ^= 1 << rng.IntN(8) }},
	{"body", func(rng *rand.Rand, b []byte) { b[61+rng.IntN(len(b)-61)] ^= 1 << rng.IntN(8) }},
	{"header zero", func(_ *rand.Rand, b []byte) { clear(b[:61]) }},
	{"all zero", func(_ *rand.Rand, b []byte) { clear(b) }},
}

// TestDamageInTheLastSegmentCostsTheDamagedBatchesAlone damages batches of the last
// segment, in a file that may have had a former life and with bodies that may hold
// batches of their own, after a clean end, a kill and a power cut. What was not damaged
// must be there, and whatever is not must have been told, with its bytes and records.
func TestDamageInTheLastSegmentCostsTheDamagedBatchesAlone(t *testing.T) {
	for seed := uint64(1); seed <= uint64(*damageSeeds); seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { damageLastSegment(t, rand.New(rand.NewPCG(seed, 7))) })
	}
}

func damageLastSegment(t *testing.T, rng *rand.Rand) {
	m := fs.NewMem(rng.Uint64())
	if rng.IntN(2) == 0 {
		m.Evict(true)
	}
	pool, err := segment.NewPool(segment.PoolOptions{FS: m, Dir: "/pool", FreeBytes: 4 << 20, MinBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{FS: m, Dir: "/q", Pool: pool, FirstSegmentBytes: 1 << 20, SegmentBytes: 1 << 20, NextOffset: formerLife(t, rng, m, pool)}
	l := open(t, o)
	wrote := writeLog(t, rng, l)
	ends := []func() error{l.Close, l.Sync, func() error { return nil }}
	how := rng.IntN(len(ends))
	if err := ends[how](); err != nil {
		t.Fatal(err)
	}
	if err := m.SyncAll("/"); err != nil {
		t.Fatal(err)
	}
	pool.Wait()
	m = m.Crash(rand.New(rand.NewPCG(1, 1)))
	lost := damageSome(t, rng, m, wrote)
	if t.Failed() {
		return
	}
	o.FS, o.Pool = m, memPool(t, m)
	var told toldLoss
	o.Report = told.note
	for range 2 { // a second start says no more and finds no less
		l = open(t, o)
		compareWithout(t, l, wrote, lost)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		told.check(t, lost)
	}
}

// formerLife fills and drops a segment of another log, which leaves a file to be used
// again, and returns the offset from which on it may be.
func formerLife(t *testing.T, rng *rand.Rand, m *fs.Mem, pool *segment.Pool) int64 {
	if rng.IntN(2) == 0 {
		return int64(rng.IntN(1000))
	}
	l := open(t, Options{FS: m, Dir: "/other", Pool: pool, FirstSegmentBytes: 1 << 20, SegmentBytes: 1 << 20})
	for l.DataBytes() < 1<<20 {
		appendBatch(t, l, makeBatch(1+rng.IntN(9), 10+rng.IntN(3000), byte(rng.Uint32()), 1))
	}
	_, end := l.Bounds()
	if err := l.Truncate(end); err != nil {
		t.Fatal(err)
	}
	pool.Wait()
	return end
}

// writeLog appends less than a segment and returns the batches as they stand in it.
func writeLog(t *testing.T, rng *rand.Rand, l *Log) (wrote []batch.Batch) {
	t.Helper()
	for range 20 + rng.IntN(60) {
		body := makeBatch(1+rng.IntN(20), 20+rng.IntN(6000), byte(rng.Uint32()), int64(rng.IntN(1000)))
		if rng.IntN(4) == 0 {
			body = foreign(rng, body)
		}
		b := batch.Batch(makeBatch(1+rng.IntN(20), len(body), 0, 1))
		copy(b.Records(), body)
		b.Seal(batch.Header{LastOffsetDelta: b.LastOffsetDelta(), Count: b.Count(), ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1})
		b.SetBaseOffset(appendBatch(t, l, bytes.Clone(b)))
		wrote = append(wrote, b)
		if rng.IntN(20) == 0 {
			if err := l.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return wrote
}

// foreign is a body that holds whole batches of some other log.
func foreign(rng *rand.Rand, one []byte) (body []byte) {
	base := rng.Int64N(1 << 31)
	for range 1 + rng.IntN(3) {
		b := batch.Batch(bytes.Clone(one))
		b.SetBaseOffset(base)
		base = b.LastOffset() + 1
		body = append(body, b...)
	}
	return append(body, "and more"...)
}

// damageSome hurts a few batches in the log's last file and returns which.
func damageSome(t *testing.T, rng *rand.Rand, m *fs.Mem, wrote []batch.Batch) (lost []int) {
	t.Helper()
	at := make([]int64, len(wrote))
	where := int64(segment.HeaderBytes)
	for i, b := range wrote {
		at[i], where = where, where+int64(len(b))
	}
	for range 1 + rng.IntN(3) {
		i := []int{0, len(wrote) - 1, rng.IntN(len(wrote)), rng.IntN(len(wrote))}[rng.IntN(4)]
		if slices.Contains(lost, i) {
			continue
		}
		h := hurts[rng.IntN(len(hurts))]
		change(t, m, "/q/"+segment.FileName(wrote[0].BaseOffset()), func(b []byte) []byte {
			h.do(rng, b[at[i]:at[i]+int64(len(wrote[i]))])
			return b
		})
		t.Logf("batch %d of %d at %d, offset %d: %s", i, len(wrote), at[i], wrote[i].BaseOffset(), h.name)
		lost = append(lost, i)
	}
	return lost
}

// compareWithout reads the whole log, which must be what was written without the lost batches.
func compareWithout(t *testing.T, l *Log, wrote []batch.Batch, lost []int) {
	t.Helper()
	var want []batch.Batch
	for i, b := range wrote {
		if !slices.Contains(lost, i) {
			want = append(want, b)
		}
	}
	start, _ := l.Bounds()
	got := readAll(t, l, start, 50_000)
	if !slices.EqualFunc(got, want, func(a, b batch.Batch) bool { return bytes.Equal(a, b) }) {
		t.Fatalf("read %s, want %s", ranges(got), ranges(want))
	}
}

// toldLoss adds up what a log reported.
type toldLoss struct{ events []Event }

func (l *toldLoss) note(e Event) {
	if e.Kind == Damaged || e.Kind == TornTail {
		l.events = append(l.events, e)
	}
}

// check wants that damage was told with what it cost, and only where there was some.
func (l *toldLoss) check(t *testing.T, lost []int) {
	t.Helper()
	var bytes int64
	for _, e := range l.events {
		bytes += e.Bytes
	}
	if len(lost) > 0 && (len(l.events) == 0 || bytes == 0) && !t.Failed() {
		t.Errorf("%d batches are lost and was told %v", len(lost), l.events)
	}
}

// DataBytes returns the bytes of the batches in the log's segments.
func (l *Log) DataBytes() int64 {
	var n int64
	for _, s := range l.segments() {
		n += s.Position() - segment.HeaderBytes
	}
	return n
}
