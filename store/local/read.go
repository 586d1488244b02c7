package local

import (
	"errors"
	"fmt"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fault"
	"github.com/leveret-mq/leveret/log"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/segment"
	"github.com/leveret-mq/leveret/store"
)

// Read returns whole batches, borrowed until the view is done; see store.Log.
func (l *Log) Read(from message.Offset, maxBytes int) (store.View, error) {
	inner, err := l.useWithRoom()
	if err != nil {
		return store.View{}, err
	}
	if inner == nil {
		if from != 0 {
			return store.View{}, fmt.Errorf("log %d: read %d of an empty log: %w", l.id, from, store.ErrOutOfRange)
		}
		return store.View{}, nil
	}
	view, err := inner.Read(int64(from), maxBytes)
	if scarce(err) {
		l.store.makeRoom()
		view, err = inner.Read(int64(from), maxBytes)
	}
	if err != nil {
		return store.View{}, l.readError(err)
	}
	if holder := view.Holder(); holder != nil {
		return store.NewView(view.Bytes(), holder, l), nil
	}
	return store.View{}, nil
}

// ReadNow is Read of what is in memory; see store.Log.
func (l *Log) ReadNow(from message.Offset, maxBytes int) (store.View, error) {
	inner := l.inner.Load()
	if inner == nil {
		return store.View{}, store.ErrNotYet
	}
	view, ok := inner.ReadNow(int64(from), maxBytes)
	if !ok {
		return store.View{}, store.ErrNotYet
	}
	if holder := view.Holder(); holder != nil {
		return store.NewView(view.Bytes(), holder, l), nil
	}
	return store.View{}, nil
}

// Distrust is told that lent bytes can't be read, or are not what was stored.
func (l *Log) Distrust(reason error) error {
	if inner := l.inner.Load(); inner != nil {
		inner.Distrust(reason)
	}
	return fmt.Errorf("log %d (%s): read: %w", l.id, l.name(), reason)
}

// readError turns package log's errors into the store's.
func (l *Log) readError(err error) error {
	switch {
	case errors.Is(err, log.ErrOutOfRange):
		return fmt.Errorf("log %d: %w: %w", l.id, store.ErrOutOfRange, err)
	case errors.Is(err, log.ErrClosed):
		return fmt.Errorf("log %d: %w", l.id, store.ErrClosed)
	case errors.Is(err, fault.Err), errors.Is(err, segment.ErrCorrupt):
		return l.Distrust(err)
	}
	return fmt.Errorf("log %d (%s): %w", l.id, l.name(), err)
}

// appendError does the same for appends and truncations.
func (l *Log) appendError(inner *log.Log, err error) error {
	switch {
	case errors.Is(err, log.ErrTooLarge):
		return fmt.Errorf("log %d: %w: %w", l.id, store.ErrTooLarge, err)
	case errors.Is(err, log.ErrReadOnly), inner.Err() != nil:
		return readOnly(l, err)
	}
	if err := storeError(err); errors.Is(err, store.ErrFull) {
		return fmt.Errorf("log %d (%s): %w", l.id, l.name(), err)
	}
	return l.readError(err)
}

// withGap is a copy of the batches, each with its last offset delta raised by
// gap, as a compaction that removed the last records leaves them: the offsets
// behind its records stay unused. Bytes that are no batches come back as they are.
func withGap(batches []byte, gap int32) []byte {
	out := append([]byte(nil), batches...)
	for rest := out; len(rest) > 0; {
		var b batch.Batch
		var err error
		if b, rest, err = batch.Next(rest); err != nil || b.LastOffsetDelta() > 1<<30 {
			return batches
		}
		b.Seal(batch.Header{
			Attributes: b.Attributes(), LastOffsetDelta: b.LastOffsetDelta() + gap,
			BaseTimestamp: b.BaseTimestamp(), MaxTimestamp: b.MaxTimestamp(),
			ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(),
			BaseSequence: b.BaseSequence(), Count: b.Count(),
		})
	}
	return out
}

// report passes on what package log met while it recovered, or later.
func (l *Log) report(e log.Event) {
	kind := eventNotice
	switch e.Kind {
	case log.TornTail:
		kind = eventTorn
		if e.To > e.From {
			kind = eventDamaged // it may have been confirmed
		}
		if l.inner.Load() == nil {
			l.cut = true // told by Open, under mu
		}
	case log.Damaged, log.Missing, log.BadHeader, log.SetAside:
		kind = eventDamaged
	case log.Scanned, log.BadIndex:
		kind = eventRecovered
	case log.Failed:
		kind = eventFault
	default: // an empty file removed, an index not written: nothing was lost
	}
	l.store.note(event{Kind: kind, Name: l.name(), Bytes: e.Bytes, Messages: e.To - e.From,
		Text: fmt.Sprintf("log %d (%s): %s", l.id, l.name(), e)})
}
