package local

import (
	"errors"
	"fmt"

	"github.com/leveret-mq/leveret/store"
)

// Commit calls done when everything appended to the logs before is as durable as
// their modes promise; see store.Store. What it does depends on the strictest
// mode among the logs and on whether commits of one of them still wait, behind
// which it must queue:
//
//	logs' modes             one of them has commits waiting   otherwise
//	──────────────────────  ────────────────────────────────  ─────────────────────────────
//	all os or transient     with the next round               done at once
//	at least one group      with the next round               with the next round
//	always, none group      with the next round               flushed here, one by one; done
func (s *Store) Commit(logs []store.Log, done func(error)) {
	group, always, pending := false, false, false
	for _, l := range logs {
		l, ok := l.(*Log)
		if !ok || l.store != s {
			done(errors.New("commit: a log of another store"))
			return
		}
		switch l.mode() {
		case store.ModeGroup:
			group = true
		case store.ModeAlways:
			always = true
		case store.ModeOS, store.ModeDefault:
		}
		pending = pending || l.state.pending.Load() > 0
	}
	switch {
	case group || pending:
		w := waiter{done: done}
		for _, l := range logs {
			w.add(l.(*Log))
		}
		s.syncer.commit(w)
	case always:
		done(s.syncEach(logs))
	default:
		done(faultOf(logs))
	}
}

// faultOf is the error of a commit that flushes nothing.
func faultOf(logs []store.Log) error {
	for _, l := range logs {
		if err := l.Err(); err != nil {
			return err
		}
	}
	return nil
}

// syncEach flushes each log on its own.
func (s *Store) syncEach(logs []store.Log) error {
	var first error
	for _, l := range logs {
		l := l.(*Log)
		if l.mode() != store.ModeAlways {
			if err := l.Err(); err != nil && first == nil {
				first = err
			}
			continue
		}
		if err := s.syncer.timed(l.sync); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (l *Log) syncState() *syncState { return &l.state }

// sync makes the appended batches durable, with the names of new files and
// directories. It holds no lock that an append takes. A log whose mode asks for
// no flush is left alone.
func (l *Log) sync() error {
	if l.mode() == store.ModeOS {
		return l.Err()
	}
	return l.syncData()
}

// syncData flushes whatever the mode is.
func (l *Log) syncData() error {
	if err := l.Err(); err != nil {
		return err
	}
	inner := l.inner.Load()
	if inner == nil {
		return nil
	}
	if err := inner.Sync(); err != nil {
		if l.isGone() {
			return nil
		}
		if scarce(err) {
			return l.fail(err)
		}
		return readOnly(l, err)
	}
	if l.newDirs.Load() {
		if err := l.syncDirs(); err != nil {
			if l.isGone() {
				return nil
			}
			return l.fail(fmt.Errorf("flush directories: %w", err))
		}
		l.newDirs.Store(false)
	}
	return nil
}

// isGone says whether the log was deleted or closed, under a flush perhaps.
func (l *Log) isGone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

// syncDirs makes the names of the log's files and of its directory durable.
func (l *Log) syncDirs() error {
	hash, _ := l.store.hashDir(l.id, l.transient())
	if err := l.store.fs.SyncDir(l.dir()); err != nil {
		return err
	}
	return l.store.fs.SyncDir(hash)
}

// flushAll is the background's flush: the batches in any mode, and the cursor.
func (l *Log) flushAll() error {
	if l.transient() || l.isGone() {
		return nil
	}
	err := l.syncData()
	if err == nil {
		if err = l.madeCursor().flush(l); err != nil {
			if l.isGone() {
				return nil
			}
			err = l.fail(fmt.Errorf("flush the cursor: %w", err))
		}
	}
	return err
}
