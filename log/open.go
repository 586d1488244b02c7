package log

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/segment"
)

// Open opens the log in o.Dir, or an empty one if there is none: nothing is
// made on disk before the first Append. Sealed segments are taken as they are;
// what no checkpoint covers is read and checked. Damage never keeps a log from
// opening: it is reported and stepped over.
//
// After a power cut, call Sync before the first append: it makes final where the
// last segment ends. Behind that may be batches, beyond a page that was lost, which
// a later Open would find again once another segment follows.
func Open(o Options) (*Log, error) {
	o.defaults()
	l := &Log{o: o, mergeLeast: mergeLeast}
	if o.Pool == nil {
		p, err := segment.NewPool(segment.PoolOptions{FS: o.FS, Dir: filepath.Join(o.Dir, "spare")})
		if err != nil {
			return nil, fmt.Errorf("open log %s: %w", o.Dir, err)
		}
		l.o.Pool, l.ownPool = p, true
	}
	l.so = segment.Options{
		FS: o.FS, Pool: l.o.Pool, IndexIntervalBytes: int64(o.IndexIntervalBytes), Transient: o.Transient,
		Owner: &l.mu, Damage: l.damaged, Now: l.o.Now,
	}
	if o.Known != nil {
		l.so.Flushed = o.Known.Flushed
	}
	if err := l.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open log %s: %w", o.Dir, err), l.closePool())
	}
	return l, nil
}

// recover opens the segments that are there.
func (l *Log) recover() error {
	bases, err := l.find()
	if err != nil {
		return err
	}
	var list []*segment.Segment
	var left []int64 // files whose place a merged segment has taken
	end, covered := int64(-1), int64(0)
	for i, base := range bases {
		if base < covered {
			left = append(left, base)
			continue
		}
		bound := int64(-1)
		if i+1 < len(bases) {
			bound = bases[i+1]
		}
		s, err := l.openSegment(base, bound, end)
		if err != nil {
			return err
		}
		end = max(end, base) // the name alone says that everything below was given out
		if s == nil {
			continue
		}
		end = max(end, s.Next())
		covered = s.Covers()
		list = append(list, s)
	}
	if err := l.removeMerged(left); err != nil {
		return err
	}
	l.adopt(list, l.compare(list, max(end, 0)))
	return nil
}

// find returns the base offsets of the segment files, rising.
func (l *Log) find() ([]int64, error) {
	names, err := l.o.FS.ReadDir(l.o.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var bases []int64
	for _, name := range names {
		if base, ok := segment.ParseName(name); ok {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	return bases, l.removeOrphans(names, bases)
}

// removeOrphans deletes index files without a segment.
func (l *Log) removeOrphans(names []string, bases []int64) error {
	for _, name := range names {
		stem, ok := strings.CutSuffix(name, segment.IndexSuffix)
		if !ok {
			continue
		}
		base, ok := segment.ParseName(stem + segment.LogSuffix)
		if _, found := slices.BinarySearch(bases, base); ok && !found {
			if err := l.o.FS.Remove(filepath.Join(l.o.Dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeMerged deletes files whose place a merged segment has taken, once it is certain that
// a power cut leaves that one.
func (l *Log) removeMerged(bases []int64) error {
	if len(bases) == 0 {
		return nil
	}
	err := l.o.FS.SyncDir(l.o.Dir)
	for _, base := range bases {
		if err != nil {
			return err
		}
		name := filepath.Join(l.o.Dir, segment.FileName(base))
		err = errors.Join(l.o.FS.Remove(name), ignoreMissing(l.o.FS.Remove(segment.IndexName(name))))
	}
	return err
}

// openSegment opens one and reports what was met. It returns nil for a file
// that does not belong to the log's content. end is where the segment before
// ends, -1 without one.
func (l *Log) openSegment(base, bound, end int64) (*segment.Segment, error) {
	name := filepath.Join(l.o.Dir, segment.FileName(base))
	if base < end {
		l.report(Event{Kind: SetAside, Segment: name, From: base, To: end, Err: errOverlap})
		return nil, l.o.FS.Rename(name, name+segment.DamagedSuffix)
	}
	s, found, err := segment.Open(&l.so, name, base, bound)
	if err != nil {
		return nil, err
	}
	if found.Empty {
		return nil, l.leaveEmpty(s, bound, found)
	}
	if end >= 0 && base > end {
		l.report(Event{Kind: Missing, Segment: name, From: end, To: base})
		l.sparse.Store(true)
	}
	l.tell(s, found)
	return s, nil
}

// leaveEmpty deals with a file without a batch. The last one of a log stays,
// because its name is what remembers the end; the next segment replaces it.
// Nothing here may be left to the pool's goroutine: the name may be used again at once.
func (l *Log) leaveEmpty(s *segment.Segment, bound int64, found segment.Found) error {
	l.report(Event{Kind: Emptied, Segment: s.Name(), Bytes: found.CutBytes, Position: segment.HeaderBytes, Err: found.HeaderErr})
	defer s.Close()
	err := l.o.FS.Remove(segment.IndexName(s.Name()))
	if bound >= 0 {
		err = l.o.FS.Remove(s.Name())
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) || bound >= 0 {
		return ignoreMissing(err)
	}
	return l.cutEmpty(s)
}

// cutEmpty makes durable that a file holds no batch. There may be good ones behind
// the page that was lost, and the next segment may have another name, because the
// log goes on at NextOffset: a later start would then look for what follows the damage.
func (l *Log) cutEmpty(s *segment.Segment) error {
	info, err := l.o.FS.Stat(s.Name())
	if err != nil || info.SizeBytes <= segment.HeaderBytes {
		return err
	}
	if err = s.Trim(); err == nil {
		err = s.Sync()
	}
	return err
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

var errOverlap = errors.New("its offsets belong to the segment before")

// tell reports what Open found in a segment.
func (l *Log) tell(s *segment.Segment, f segment.Found) {
	if f.HeaderErr != nil {
		l.report(Event{Kind: BadHeader, Segment: s.Name(), Err: f.HeaderErr})
	}
	if f.IndexErr != nil {
		l.report(Event{Kind: BadIndex, Segment: s.Name(), Err: f.IndexErr})
	}
	if f.ScannedBytes > 0 {
		l.report(Event{Kind: Scanned, Segment: s.Name(), Position: f.ScannedFrom, Bytes: f.ScannedBytes})
	}
	if f.CutBytes > 0 {
		l.cutTo = s.Next() + f.CutRecords
		l.report(Event{Kind: TornTail, Segment: s.Name(), Position: s.Position(), Bytes: f.CutBytes,
			From: s.Next(), To: l.cutTo, Err: f.CutErr})
	}
	if !s.Finished() {
		l.unsynced.Store(true)
		return
	}
	for _, d := range f.Damage { // a scan has told its own already
		l.damaged(s, d)
	}
}

// damaged is told by segments of ranges that readers skip.
func (l *Log) damaged(s *segment.Segment, d segment.Span) {
	l.report(Event{
		Kind: Damaged, Segment: s.Name(), Position: d.FromPosition, Bytes: d.ToPosition - d.FromPosition,
		From: d.FromOffset, To: d.ToOffset, Err: d.Err,
	})
}

// adopt sets the log's state from the segments found.
func (l *Log) adopt(list []*segment.Segment, end int64) {
	end = max(end, l.o.NextOffset)
	l.setSegments(list)
	l.end.Store(end)
	l.start.Store(end)
	if len(list) > 0 {
		l.start.Store(list[0].Base())
		l.lastBytes = l.classOf(list[len(list)-1].AllocatedBytes())
	}
	l.syncedTo.Store(end)
	for _, s := range list {
		if !s.Dense() {
			l.sparse.Store(true)
		}
	}
}

// classOf returns the segment size that holds n bytes.
func (l *Log) classOf(n int64) int64 {
	size := l.o.FirstSegmentBytes
	for size < n && size < l.o.SegmentBytes {
		size *= 2
	}
	return min(size, l.o.SegmentBytes)
}
