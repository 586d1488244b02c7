package local

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/leveret-mq/leveret/segment"
	"github.com/leveret-mq/leveret/store"
)

// Whether all is there that the last checkpoint says, before anything builds on it:
//
//	what                           is missing when                                noticed
//	─────────────────────────────  ─────────────────────────────────────────────  ────────────────
//	a table                        its revision is below the checkpoint's; after  Open
//	                               a clean end also when its keys are others;
//	                               bytes in its middle that were on disk can't
//	                               be read
//	a log's directory              it is not there and the log is opened          OpenLog
//	a log's last segment           no segment from it on is there                 Open, for the
//	                                                                              first startChecks
//	a log's first segment          it is not there after a clean end              logs; else when
//	records at either end          package log does not find them                 the log is opened
//
// Each of them refuses the directory, unless Options.Recover says to go on with what is
// left. What is only found when a log is opened is told as an error, with its messages.

// startChecks is how many logs are looked at by name when the store opens: two look-ups
// each, some 5 µs while the system knows the directories.
const startChecks = 4_000

// recall joins what the checkpoint says of the logs with the directories that are there.
func (s *Store) recall(saved map[LogNumber]*rest) {
	for id, r := range saved {
		if _, found := s.onDisk[id]; found {
			s.onDisk[id] = r
		} else {
			s.lost[id] = r
		}
	}
}

// checkWhole opens every table that there was and looks for the logs' segments. It
// returns all that is missing as one error.
func (s *Store) checkWhole(saved map[LogNumber]*rest) error {
	var missing []error
	for name := range s.checkpoints.table {
		if !validTableName(name) {
			continue
		}
		_, err := s.openTable(name)
		if err != nil && !errors.Is(err, store.ErrMissing) {
			return err
		}
		if err != nil {
			missing = append(missing, err)
		}
	}
	missing = append(missing, s.checkSegments(saved)...)
	if len(missing) == 0 {
		return nil
	}
	slices.SortFunc(missing, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(missing...)
}

// checkTable compares what was found of a table with what the checkpoint says; scan is
// nil when there is no file.
func (s *Store) checkTable(name string, scan *tableScan) error {
	want, had := s.checkpoints.table[name]
	problem := ""
	switch {
	case scan == nil && had && want.Revision > 0:
		problem = fmt.Sprintf("its file is gone, with %d keys", want.Keys)
	case scan == nil:
	case had && scan.revision < want.Revision:
		problem = fmt.Sprintf("it was at revision %d with %d keys, and is at %d with %d", want.Revision, want.Keys, scan.revision, len(scan.entries))
	case had && s.checkpoints.exact && scan.revision == want.Revision && scan.digest() == want.Digest:
		return nil // damage hit nothing that counts
	case had && s.checkpoints.exact && scan.revision == want.Revision:
		problem = fmt.Sprintf("of its %d keys %d can be read", want.Keys, len(scan.entries))
	case scan.lost(want, s.checkpoints.boot == s.boot):
		problem = fmt.Sprintf("bytes in its middle can't be read: %s", describe(scan.damaged))
	}
	if problem == "" {
		return nil
	}
	if s.o.Recover {
		s.note(event{Kind: eventDamaged, Name: name, Text: fmt.Sprintf("table %s: %s; it goes on with what is there", name, problem)})
		return nil
	}
	s.checkpoints.refused.Store(true)
	return fmt.Errorf("table %s: %s: %w", name, problem, store.ErrMissing)
}

// lost reports whether damage hit what had been on disk: what stands below the file's flushed
// end, or anything at all if the machine ran on, whose page cache loses nothing.
func (t *tableScan) lost(want tableMark, sameBoot bool) bool {
	return slices.ContainsFunc(t.damaged, func(d damagedRange) bool {
		return d.To > headerBytes && (sameBoot || t.tag == want.File && d.From < want.Bytes)
	})
}

// checkSegments looks whether the first and last segments are there of some logs.
func (s *Store) checkSegments(saved map[LogNumber]*rest) []error {
	ids := make([]LogNumber, 0, min(len(saved), startChecks))
	for id := range saved {
		if _, found := s.onDisk[id]; found && len(ids) < startChecks {
			ids = append(ids, id)
		}
	}
	var mu sync.Mutex
	var missing []error
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(syncWorkers, len(ids)/100+1) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(ids); i = int(next.Add(1)) - 1 {
				if err := s.checkLog(ids[i], saved[ids[i]]); err != nil {
					mu.Lock()
					missing = append(missing, err)
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	return missing
}

// checkLog looks for one log's first and last segment.
func (s *Store) checkLog(id LogNumber, r *rest) error {
	dir := s.logDir(id, false)
	there := func(base int64) bool {
		_, err := s.fs.Stat(dir + "/" + segment.FileName(base))
		return err == nil
	}
	exact := s.checkpoints.holds(r)
	problem := ""
	switch {
	case r.Segments == 0:
		return nil
	case exact && !there(r.First):
		problem = fmt.Sprintf("its first segment %s is gone", segment.FileName(r.First))
	case !there(r.Last) && !s.segmentFrom(dir, r.Last):
		problem = fmt.Sprintf("its last segment %s is gone", segment.FileName(r.Last))
	default:
		return nil
	}
	name := s.nameOf(id)
	if s.o.Recover {
		s.note(event{Kind: eventDamaged, Name: name, Text: fmt.Sprintf("log %d (%s): %s; it goes on with what is there", id, name, problem)})
		return nil
	}
	return fmt.Errorf("log %d (%s): %s: %w", id, name, problem, store.ErrMissing)
}

// segmentFrom reports whether a directory has a segment at or behind an offset.
func (s *Store) segmentFrom(dir string, base int64) bool {
	names, err := s.fs.ReadDir(dir)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(names, func(name string) bool {
		at, ok := segment.ParseName(name)
		return ok && at >= base
	})
}

// openLost is OpenLog of a log whose directory is gone. With Recover it goes on empty, above
// all offsets that it gave out. Needs mu.
func (s *Store) openLost(id LogNumber, o store.LogOptions, r *rest) (store.Log, error) {
	if !s.o.Recover {
		s.checkpoints.refused.Store(true)
		return nil, fmt.Errorf("log %d (%s): its directory is gone, with offsets %d to %d: %w", id, o.Called(), r.Start, r.End, store.ErrMissing)
	}
	l := newLog(s, id, o, false, r)
	_, err := l.make()
	if err == nil {
		err = l.madeCursor().truncated(l, r.End)
	}
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	delete(s.lost, id)
	s.logs[id] = l
	return l, nil
}

// nameOf is what the log's meta file calls it.
func (s *Store) nameOf(id LogNumber) string {
	m, err := s.readMeta(id)
	if err != nil {
		return "no name known"
	}
	return m.Options.Name
}

func (s *Store) readMeta(id LogNumber) (Meta, error) {
	data, err := readFile(s.fs, s.logDir(id, false)+"/"+metaName)
	if err != nil {
		return Meta{}, err
	}
	return decodeMeta(data)
}

// Unclaimed lists the logs on disk that were not opened; see store.Store.
func (s *Store) Unclaimed(deleted ...store.LogID) []store.Unclaimed {
	s.mu.Lock()
	rests := maps.Clone(s.onDisk)
	s.mu.Unlock()
	for _, name := range deleted {
		if id, err := number(name); err == nil {
			delete(rests, id)
		}
	}
	ids := slices.Sorted(maps.Keys(rests))
	all := make([]store.Unclaimed, len(ids))
	for i, id := range ids {
		all[i].ID = id.ID()
		r := rests[id]
		all[i].Excused = s.checkpoints.boot != s.boot || r != nil && r.Unclaimed
		if !all[i].Excused && !s.o.Recover {
			s.checkpoints.refused.Store(true) // or what is missing would look as if it had been so before
		}
		if m, err := s.readMeta(id); err == nil && m.ID == id {
			all[i].Options, all[i].Definition = m.Options, m.Definition
		}
	}
	return all
}

// everyLog is the logs that were opened, and what is known of those that were not.
func (s *Store) everyLog() ([]*Log, map[LogNumber]*rest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	opened := make([]*Log, 0, len(s.logs))
	for _, l := range s.logs {
		opened = append(opened, l)
	}
	others := map[LogNumber]*rest{}
	for id, r := range s.onDisk {
		one := rest{First: -1, Last: -1, Uncertain: true}
		if r != nil {
			one = *r
		}
		one.Unclaimed = true
		others[id] = &one
	}
	return opened, others
}

// missedTables is the open tables whose loss a checkpoint tells, by name. That of the
// store's own costs nothing: see idSource.
func (s *Store) missedTables() []*table {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*table, 0, len(s.tables))
	for _, t := range s.tables {
		if t.name != ownTableName {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *table) int { return strings.Compare(a.name, b.name) })
	return all
}

// revisions is the sum of these tables' revisions: it changes when one of them does.
func (s *Store) revisions() (sum uint64) {
	for _, t := range s.missedTables() {
		t.mu.Lock()
		sum += t.revision
		t.mu.Unlock()
	}
	return sum
}
