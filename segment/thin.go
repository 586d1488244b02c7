package segment

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fault"
	"github.com/leveret-mq/leveret/internal/fs"
)

// thinShare is the part of a segment's bytes, one in so many, that may be worth
// keeping for the segment to be thinned: copying more frees too little.
const thinShare = 4

// Thinned is the smaller successor of a segment, or of several that follow one
// another: a whole and durable file under a name of the pool, that waits to take
// the first one's own name.
//
//	segment   │header│ batch 0‥9 │ batch 10‥19 │ batch 20‥29 │ batch 30‥39 │
//	                   removed     kept          removed       removed
//	Thinned   │header│ empty 0‥9 │ batch 10‥19 │     empty 20‥39           │
//
// An empty batch is a RecordBatch header with a record count of 0 and a last
// offset delta that covers the run, as compaction leaves them in Kafka. So base
// offsets rise without gaps in the new file too, and reading, recovery and the
// index need no rule of their own for it.
type Thinned struct {
	old   []*Segment
	new   *Segment
	spare string // the new file's name until Install
	file  fs.File
}

// Thin writes the batches of segments for which keep says yes to a new file, byte for byte,
// and empty batches in place of the others. Each segment begins where the one before ends.
// It returns nil when that is not worth it: when more than a quarter of their bytes would
// stay, or they are small already, or not all Whole, or dropped meanwhile.
//
// keep is asked for ranges of offsets, first of about an index entry each and
// then of the batches in those that it wants. It may be asked twice for the
// same, and may change its mind from yes to no, but not back.
//
// The segments stay as they are until Install. The caller ends every Thinned with
// Retire or Discard, and makes one at a time.
func Thin(list []*Segment, keep func(first, last int64) bool) (*Thinned, error) {
	var size int64
	for _, s := range list {
		size += s.position.Load()
	}
	if size <= fs.PageBytes {
		return nil, nil
	}
	return rewrite(list, keep, thinning{limit: size / thinShare, most: min(size/2, MaxBytes)})
}

// rewrite plans and writes the successor of segments; nil says that there is no use in it.
func rewrite(list []*Segment, keep func(first, last int64) bool, p thinning) (t *Thinned, err error) {
	if !joinable(list) {
		return nil, nil
	}
	pin(list, true)
	if t, err = p.rewrite(list, keep); t == nil {
		pin(list, false)
	}
	if errors.Is(err, ErrDropped) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("thin %s: %w", list[0].name, err)
	}
	return t, nil
}

// joinable says whether one file could take the place of segments.
func joinable(list []*Segment) bool {
	for i, s := range list {
		if !s.Whole() || i > 0 && s.base != list[i-1].Next() || s.Next()-list[0].base > MaxOffsets {
			return false
		}
	}
	return len(list) > 0
}

func (p *thinning) rewrite(list []*Segment, keep func(first, last int64) bool) (*Thinned, error) {
	for _, s := range list {
		if ok, err := p.plan(s, keep); !ok || err != nil {
			return nil, err
		}
	}
	if HeaderBytes+p.kept+p.emptyBytes() > p.most {
		return nil, nil
	}
	return p.write(list)
}

// Whole reports whether the segment could have a successor: all of it is on disk, nothing
// is appended any more, and no damage of it is known.
func (s *Segment) Whole() bool { return s.finished.Load() && len(s.Damage()) == 0 }

// pin keeps the sweep from closing segments. While one is pinned and its name
// belongs to its successor already, nobody opens the file by that name.
func pin(list []*Segment, on bool) {
	for _, s := range list {
		s.mu.Lock()
		s.pinned = on
		s.mu.Unlock()
	}
}

// thinning is one call of Thin or Merge.
type thinning struct {
	limit int64 // bytes of batches that may be kept
	most  int64 // bytes that the new file may have
	kept  int64
	runs  []thinRun
}

// thinRun is a run of batches that stay, or of batches that go.
type thinRun struct {
	keep    bool
	s       *Segment // the one that has them, if they stay
	first   int64    // offsets, inclusive
	last    int64
	maxTime int64 // latest time in the run and before it
}

func (p *thinning) add(r thinRun) {
	if n := len(p.runs); n > 0 && p.runs[n-1].keep == r.keep && p.runs[n-1].s == r.s {
		l := &p.runs[n-1]
		l.last, l.maxTime = r.last, max(l.maxTime, r.maxTime)
		return
	}
	p.runs = append(p.runs, r)
}

// plan decides about every batch of a segment and reports whether the outcome may be
// worth writing. The index alone tells most of it: of the file, only what lies between two
// entries that keep wants is read.
func (p *thinning) plan(s *Segment, keep func(first, last int64) bool) (ok bool, err error) {
	x, h, err := s.openCold() // the pin keeps descriptor and index open from here on
	if err != nil {
		return false, err
	}
	defer h.release()
	var wanted int64
	rough := make([]thinRun, 0, 64)
	entries := x.Entries()
	for i, e := range entries {
		r := thinRun{first: s.base + int64(e.Relative), last: s.Next() - 1, maxTime: s.tail.maxTime}
		end := s.position.Load()
		if i+1 < len(entries) {
			n := entries[i+1]
			r.last, r.maxTime, end = s.base+int64(n.Relative)-1, n.TimeBefore, int64(n.Position)
		}
		if r.keep = keep(r.first, r.last); r.keep {
			wanted += end - int64(e.Position)
		}
		if wanted > 2*p.limit { // what is between entries may still be half acked
			return false, nil
		}
		if n := len(rough); !r.keep && n > 0 && !rough[n-1].keep {
			rough[n-1].last, rough[n-1].maxTime = r.last, r.maxTime
			continue
		}
		rough = append(rough, r)
	}
	next := s.base
	for _, r := range rough {
		if r.first != next { // the first batch has no entry: it is damaged
			return false, nil
		}
		if !r.keep {
			p.add(r)
		} else if !p.refine(s, r, keep) {
			return false, nil
		}
		next = r.last + 1
	}
	return next == s.Next(), nil
}

// refine decides about the batches of a range, reading them.
func (p *thinning) refine(s *Segment, r thinRun, keep func(first, last int64) bool) bool {
	next := r.first
	ok := s.walk(r.first, r.last, func(b batch.Batch) error {
		if b.BaseOffset() != next {
			return errOffset
		}
		one := thinRun{first: next, last: b.LastOffset(), maxTime: b.MaxTimestamp()}
		if one.keep = b.Count() > 0 && keep(one.first, one.last); one.keep {
			one.s = s
			p.kept += int64(len(b))
		}
		p.add(one)
		next = one.last + 1
		if p.kept > p.limit {
			return errOffset
		}
		return nil
	}) == nil
	return ok && next == r.last+1
}

// walk calls fn for the batches from offset first to last.
func (s *Segment) walk(first, last int64, fn func(batch.Batch) error) error {
	for first <= last {
		v, err := s.Read(first, scanBytes)
		if err != nil {
			return err
		}
		if len(v.Bytes()) == 0 {
			v.Release()
			return errOffset
		}
		first, err = each(v.Bytes(), first, last, fn)
		v.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// each calls fn for the batches in b that begin at or before last, and returns
// where to go on.
func each(b []byte, first, last int64, fn func(batch.Batch) error) (int64, error) {
	err := fault.Guard(func() error {
		for len(b) > 0 && first <= last {
			one, rest, err := batch.Next(b)
			if err == nil {
				err = fn(one)
			}
			if err != nil {
				return err
			}
			first, b = one.LastOffset()+1, rest
		}
		return nil
	})
	return first, err
}

func (p *thinning) emptyBytes() (n int64) {
	for _, r := range p.runs {
		if !r.keep {
			n += (r.last - r.first + 1<<31) >> 31 * batch.HeaderBytes
		}
	}
	return n
}

// write makes the new file, whole and durable, and the segment that it will be.
func (p *thinning) write(list []*Segment) (*Thinned, error) {
	t, w, err := begin(list)
	if err != nil {
		return nil, err
	}
	for _, r := range p.runs {
		if err == nil {
			err = p.writeRun(w, r)
		}
	}
	return t.end(w, err)
}

// begin makes the new file of what is to take the place of segments.
func begin(list []*Segment) (*Thinned, *thinWriter, error) {
	old, end := list[0], list[len(list)-1].Next()
	n := &Segment{o: old.o, base: old.base, generation: newGeneration(), createdMs: old.createdMs, name: old.name}
	if len(list) > 1 || old.covers > 0 {
		n.covers = end
	}
	n.tail = tail{next: old.base, maxTime: index.NoTime}
	t := &Thinned{old: list, new: n, spare: old.o.Pool.spareName()}
	var err error
	if t.file, err = old.o.FS.Open(t.spare, os.O_RDWR|os.O_CREATE|os.O_EXCL); err != nil {
		return nil, nil, err
	}
	w := &thinWriter{file: t.file, s: n, x: new(index.Index), at: HeaderBytes}
	w.buf = make([]byte, HeaderBytes, thinBufferBytes)
	return t, w, nil
}

// end makes the new file whole and durable; with an error of what was written it removes it.
func (t *Thinned) end(w *thinWriter, err error) (*Thinned, error) {
	n, end := t.new, t.old[len(t.old)-1].Next()
	if err == nil {
		err = w.finish()
	}
	if err == nil && !n.o.Transient {
		err = t.file.Sync()
	}
	if err == nil && n.tail.next != end {
		err = fmt.Errorf("%w: the copy ends at %d of %d", errOffset, n.tail.next, end)
	}
	if err != nil {
		return nil, errors.Join(err, t.file.Close(), n.o.FS.Remove(t.spare))
	}
	t.seal(w)
	return t, nil
}

func (p *thinning) writeRun(w *thinWriter, r thinRun) error {
	if r.keep {
		return r.s.walk(r.first, r.last, w.add)
	}
	return w.addEmpty(r)
}

// addEmpty writes what takes the place of a run that goes.
func (w *thinWriter) addEmpty(r thinRun) error {
	for first := r.first; first <= r.last; {
		last := min(r.last, first+math.MaxInt32)
		if err := w.add(emptyBatch(first, last, r.maxTime)); err != nil {
			return err
		}
		first = last + 1
	}
	return nil
}

// emptyBatch is a batch without records in place of those from first to last.
func emptyBatch(first, last, maxTime int64) batch.Batch {
	b := make(batch.Batch, batch.HeaderBytes)
	b.Seal(batch.Header{
		LastOffsetDelta: int32(last - first), BaseTimestamp: maxTime, MaxTimestamp: maxTime,
		ProducerID: batch.NoProducer, ProducerEpoch: batch.NoProducerEpoch, BaseSequence: batch.NoSequence,
	})
	b.SetBaseOffset(first)
	return b
}

// thinBufferBytes is how much is written with one system call.
const thinBufferBytes = 64 << 10

// thinWriter writes the batches of a new file and builds their index, by the
// rule by which a scan would.
type thinWriter struct {
	file    fs.File
	s       *Segment
	x       *index.Index
	buf     []byte
	written int64 // bytes in the file; buf stands behind them
	at      int64 // position of the next batch
	// flushBytes, if not 0, is after how many bytes what was written is flushed, so that the disk
	// is not kept from others by the flush at the end.
	flushBytes, flushed int64
}

func (w *thinWriter) add(b batch.Batch) error {
	if b.BaseOffset() != w.s.tail.next {
		return fmt.Errorf("%w: %d follows %d", errOffset, b.BaseOffset(), w.s.tail.next)
	}
	if len(w.buf)+len(b) > cap(w.buf) {
		if err := w.writeOut(); err != nil {
			return err
		}
	}
	w.buf = append(w.buf, b...)
	t := &w.s.tail
	if w.at >= t.marked {
		w.x.Add(index.Entry{Relative: uint32(b.BaseOffset() - w.s.base), Position: uint32(w.at), TimeBefore: t.maxTime})
		t.marked = w.at + w.s.o.IndexIntervalBytes
	}
	t.next = b.LastOffset() + 1
	t.records += int64(b.Messages())
	t.maxTime = max(t.maxTime, b.MaxTimestamp())
	w.at += int64(len(b))
	return nil
}

func (w *thinWriter) writeOut() error {
	if _, err := w.file.WriteAt(w.buf, w.written); err != nil {
		return err
	}
	w.written += int64(len(w.buf))
	w.buf = w.buf[:0]
	if w.flushBytes > 0 && w.written-w.flushed >= w.flushBytes {
		w.flushed = w.written
		return w.file.Sync()
	}
	return nil
}

// finish writes what is left, and the header.
func (w *thinWriter) finish() error {
	if err := w.writeOut(); err != nil {
		return err
	}
	var head [HeaderBytes]byte
	Header{Generation: w.s.generation, BaseOffset: w.s.base, CreatedMs: w.s.createdMs, AllocatedBytes: w.written, Covers: w.s.covers}.Put(head[:])
	_, err := w.file.WriteAt(head[:], 0)
	return err
}

// seal makes the new segment what Open would: sealed, durable, read by pread.
func (t *Thinned) seal(w *thinWriter) {
	n := t.new
	n.next.Store(n.tail.next)
	n.position.Store(w.written)
	n.synced.Store(w.written)
	n.verified.Store(w.written) // copied from bytes that were checked when they were read
	n.finished.Store(true)      // Install writes the index; nothing is left for a Sync
	n.index.Store(w.x)
	n.used.Store(true)
	n.cold = newHandle(t.file, n.o.Pool)
}

// Segment is the successor. It is to be read only once Install has succeeded.
func (t *Thinned) Segment() *Segment { return t.new }

// FreedBytes is by how much less the successor occupies on disk.
func (t *Thinned) FreedBytes() (n int64) {
	for _, s := range t.old {
		n += s.AllocatedBytes()
	}
	return n - t.new.AllocatedBytes()
}

// Claim makes sure that a Drop of the first segment from here on removes whatever
// has its name, instead of recycling a file that lost it. The caller holds the
// log's mutex.
func (t *Thinned) Claim() { t.old[0].replaced = true }

// Install gives the file the first segment's name: after a power cut at any moment
// there is the old one or the new one, each whole. The index is written behind it:
// until then, the old one is there and of another generation, and so of no use.
// Its failure costs a scan at the next start and is indexErr. Install runs on the
// pool's goroutine behind Claim, so that it and the removals of a Drop come one
// after the other.
func (t *Thinned) Install() (indexErr, err error) {
	n := t.new
	if err := n.o.FS.Rename(t.spare, n.name); err != nil {
		return nil, fmt.Errorf("thin %s: %w", n.name, err)
	}
	t.spare = ""
	return n.writeIndex(n.Mark()), nil
}

// Settle makes durable, behind Install, that the name is the successor's of several
// segments: only then may the files of the others go.
func (t *Thinned) Settle() error {
	if len(t.old) == 1 || t.new.o.Transient {
		return nil
	}
	return t.new.o.FS.SyncDir(filepath.Dir(t.new.name))
}

// Retire lets go of the old segments, whose place the new one has taken in the
// log's list. Views of them stay valid; their blocks go back to the disk behind the last.
// If not settled, the files of all but the first one stay, for the next Open of the log to
// remove. The caller holds the log's mutex.
func (t *Thinned) Retire(settled bool) {
	t.old[0].Close()
	for _, s := range t.old[1:] {
		if settled {
			s.Drop()
		} else {
			s.Close()
		}
	}
	t.new.o.Pool.track(t.new)
}

// Discard lets go of the successor. The file goes unless it was installed.
func (t *Thinned) Discard() {
	pin(t.old, false)
	t.new.Close()
	if t.spare != "" {
		t.new.o.Pool.note(t.new.o.FS.Remove(t.spare))
	}
}
