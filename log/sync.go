package log

import (
	"fmt"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

// Dirty reports whether Sync has something to do.
func (l *Log) Dirty() bool {
	if l.o.Transient || l.failed.Load() {
		return false
	}
	return l.syncedTo.Load() != l.end.Load() || l.dirtyDir.Load() || l.unsynced.Load()
}

// Sync makes everything that was appended before the call durable. Appends and
// reads go on meanwhile. An error makes the log read-only for good: what the
// disk holds is unknown, and a second try could succeed without the bytes.
func (l *Log) Sync() error {
	if l.o.Transient {
		return nil
	}
	return l.sync()
}

func (l *Log) sync() error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	p, err := l.beginSync()
	if err != nil || l.o.Transient {
		return err
	}
	for _, d := range p.dirty {
		if !p.all {
			if err := d.segment.Sync(); err != nil {
				return l.endSync(p, err)
			}
		}
	}
	return l.endSync(p, l.syncDirs(p))
}

// syncPoint is what one Sync covers.
type syncPoint struct {
	dirty    []dirtySegment
	end      int64
	dir      bool     // the folder has new names
	above    []string // folders above with new names
	unsynced bool
	all      bool
}

type dirtySegment struct {
	segment *segment.Segment
	mark    segment.Mark
}

// beginSync notes what is dirty. The caller holds syncMu.
func (l *Log) beginSync() (syncPoint, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil {
		return syncPoint{}, fmt.Errorf("sync %s: %w: %w", l.o.Dir, ErrReadOnly, l.failure)
	}
	p := syncPoint{end: l.end.Load(), dir: l.dirtyDir.Swap(false), above: l.newNames, unsynced: l.unsynced.Swap(false)}
	list := l.segments()
	for i := len(list) - 1; i >= 0; i-- {
		m := list[i].Mark()
		if list[i].Clean(m) {
			if list[i].Finished() && !p.unsynced {
				break // those before were finished earlier
			}
			continue
		}
		p.dirty = append(p.dirty, dirtySegment{list[i], m})
	}
	return p, nil
}

func (l *Log) syncDirs(p syncPoint) error {
	for _, dir := range p.above {
		if err := l.o.FS.SyncDir(dir); err != nil {
			return err
		}
	}
	if p.dir {
		return l.o.FS.SyncDir(l.o.Dir)
	}
	return nil
}

// endSync notes the outcome. The caller holds syncMu.
func (l *Log) endSync(p syncPoint, err error) error {
	if err != nil && l.deleted.Load() {
		return fmt.Errorf("sync %s: %w", l.o.Dir, ErrClosed)
	}
	if err != nil {
		err = fmt.Errorf("sync %s: %w", l.o.Dir, err)
		if fs.OutOfFiles(err) {
			// Something could not be opened to be flushed: nothing is known to be lost,
			// and the next Sync does all of it again.
			l.dirtyDir.Store(true)
			l.unsynced.Store(l.unsynced.Load() || p.unsynced)
			return fmt.Errorf("%w: %w", ErrTooManyOpen, err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.fail(err)
		return err
	}
	l.syncedTo.Store(p.end)
	if p.above != nil {
		l.mu.Lock()
		l.newNames = nil // made once a process, with the first segment
		l.mu.Unlock()
	}
	failing := false
	for _, d := range p.dirty {
		// The index is a help for the next start: without it more is read. It is
		// tried again with each Sync, but told once, not for each while a disk is full.
		if err := d.segment.Synced(d.mark); err != nil {
			if !l.indexFailing && !failing {
				l.report(Event{Kind: IndexFailed, Segment: d.segment.Name(), Err: err})
			}
			failing = true
		}
	}
	l.indexFailing = failing
	return nil
}
