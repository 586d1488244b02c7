package local

import (
	"errors"
	"fmt"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/log"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/segment"
	"github.com/leveret-mq/leveret/store"
)

// Segments lists what Compact could write anew; see store.Log.
func (l *Log) Segments() ([]store.Segment, error) {
	inner, err := l.useWithRoom()
	if err != nil || inner == nil || l.store.held.Load() { // the latter: an archive is being written
		return nil, err
	}
	whole := inner.WholeSegments()
	list := make([]store.Segment, len(whole))
	for i, w := range whole {
		s := store.Segment{Start: message.Offset(w.Start), End: message.Offset(w.End), Bytes: w.Bytes}
		if w.NewestMs > segment.NoRecordTime {
			s.Newest = time.UnixMilli(w.NewestMs)
		}
		if w.BegunMs > 0 {
			s.Begun = time.UnixMilli(w.BegunMs)
		}
		list[i] = s
	}
	return list, nil
}

// EndSegment begins another segment behind one that is old; see store.Log.
func (l *Log) EndSegment(begunBefore time.Time) error {
	inner, err := l.useWithRoom()
	if err != nil || inner == nil {
		return err
	}
	return l.compacted(inner, inner.Roll(begunBefore.UnixMilli()))
}

// Compact writes segments anew; see store.Log and package log.
func (l *Log) Compact(before message.Offset, edit func(b batch.Batch) (batch.Batch, error)) (message.Offset, error) {
	inner, err := l.useWithRoom()
	if err != nil || inner == nil {
		return 0, err
	}
	if fault := l.fault.Load(); fault != nil {
		return 0, readOnly(l, *fault)
	}
	if !l.store.thinning.TryRLock() { // an archive begins
		return 0, nil
	}
	defer l.store.thinning.RUnlock()
	if l.store.held.Load() {
		return 0, nil
	}
	reached, freed, err := inner.Compact(int64(before), edit)
	if freed != 0 {
		l.touch()
		l.store.logger.Debug("compacted a log", "log", l.id, "name", l.name(), "freed_bytes", freed)
	}
	return message.Offset(reached), l.compacted(inner, err)
}

// compacted is the error of work behind everybody's back as the store tells it.
func (l *Log) compacted(inner *log.Log, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, log.ErrReadOnly), inner.Err() != nil:
		return readOnly(l, err)
	case errors.Is(err, log.ErrClosed):
		return fmt.Errorf("log %d: %w", l.id, store.ErrClosed)
	}
	return fmt.Errorf("log %d (%s): compact: %w", l.id, l.name(), storeError(err)) // the log is as good as it was
}
