package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// Opener opens the same store again and again: after a Close, a second call finds
// what the first one left. It ends the test when it can't.
type Opener func() store.Store

// Run runs the suite. fresh is called once a test and prepares an empty place.
func Run(t *testing.T, fresh func(t *testing.T) Opener) {
	for _, group := range []struct {
		name  string
		tests map[string]func(*testing.T, Opener)
	}{
		{"log", logTests}, {"read", readTests}, {"commit", commitTests}, {"cursor", cursorTests},
		{"table", tableTests}, {"store", storeTests},
	} {
		for name, test := range group.tests {
			t.Run(group.name+"/"+name, func(t *testing.T) { test(t, fresh(t)) })
		}
	}
}

// queue are the options of a work queue with small segments.
func queue(name string) store.LogOptions {
	return store.LogOptions{Name: name, SegmentBytes: 64 << 10, Retention: store.Retention{Consumed: true}}
}

// topic are the options of a log that keeps everything.
func topic(name string) store.LogOptions {
	return store.LogOptions{Name: name, SegmentBytes: 64 << 10}
}

// records makes one batch with the given bodies, all at that time.
func records(ms int64, bodies ...string) []byte {
	var b message.Builder
	for _, body := range bodies {
		b.Add(&message.Publish{Body: []byte(body), TimestampMs: ms})
	}
	return b.Seal()
}

// numbered makes one batch of n records of size bytes each.
func numbered(ms int64, n, size int) []byte {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = fmt.Sprintf("%0*d", size, i)
	}
	return records(ms, bodies...)
}

// ctx is for calls that nobody gives up.
var ctx = context.Background()

// open makes a log with a new id.
func open(t *testing.T, s store.Store, o store.LogOptions) store.Log {
	t.Helper()
	ids, err := s.NewLogs(ctx, o, nil, 1)
	if err != nil || len(ids) != 1 {
		t.Fatalf("NewLogs: %v, %v", ids, err)
	}
	return reopen(t, s, ids[0], o)
}

// bounds are the log's.
func bounds(t *testing.T, l store.Log) (start, end message.Offset) {
	t.Helper()
	start, end, err := l.Bounds()
	if err != nil {
		t.Fatalf("Bounds: %v", err)
	}
	return start, end
}

// count counts records.
func count(t *testing.T, l store.Log, from, to message.Offset) int64 {
	t.Helper()
	n, err := l.Records(from, to)
	if err != nil {
		t.Fatalf("Records: %v", err)
	}
	return n
}

// reopen opens the log with that id.
func reopen(t *testing.T, s store.Store, id store.LogID, o store.LogOptions) store.Log {
	t.Helper()
	l, err := s.OpenLog(id, o)
	if err != nil {
		t.Fatalf("OpenLog(%s): %v", id, err)
	}
	if l.ID() != id {
		t.Fatalf("log has id %s, opened as %s", l.ID(), id)
	}
	return l
}

// add appends and returns the base offset.
func add(t *testing.T, l store.Log, batches []byte) message.Offset {
	t.Helper()
	at, err := l.Append(batches)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	base, err := at.Base(ctx)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	return base
}

// commit waits for everything appended to be as durable as it gets.
func commit(t *testing.T, s store.Store, logs ...store.Log) {
	t.Helper()
	done := make(chan error, 1)
	s.Commit(logs, func(err error) { done <- err })
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("Commit: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Commit was never done")
	}
}

// shut closes the store.
func shut(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// seen is one record read back.
type seen struct {
	offset message.Offset
	body   string
}

// read is Read of what is there, which may take a moment to come.
func read(t *testing.T, l store.Log, from message.Offset, maxBytes int) store.View {
	t.Helper()
	view, err := readSoon(l, from, maxBytes)
	if err != nil {
		t.Fatalf("Read(%d): %v", from, err)
	}
	return view
}

// readSoon is Read that waits for what is on its way, as the contract says.
func readSoon(l store.Log, from message.Offset, maxBytes int) (store.View, error) {
	woken := make(chan struct{}, 1)
	defer l.Watch(func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})()
	for {
		view, err := l.Read(from, maxBytes)
		if !errors.Is(err, store.ErrNotYet) {
			return view, err
		}
		select {
		case <-woken:
		case <-time.After(30 * time.Second):
			return view, fmt.Errorf("nobody was woken: %w", err)
		}
	}
}

// readAll reads every batch from an offset to the end, maxBytes at a time, and
// checks that they are whole, in order and beyond what was read.
func readAll(t *testing.T, l store.Log, from message.Offset, maxBytes int) []batch.Batch {
	t.Helper()
	var all []batch.Batch
	for {
		view := read(t, l, from, maxBytes)
		if len(view.Raw()) == 0 {
			view.Done()
			return all
		}
		for rest := view.Raw(); len(rest) > 0; {
			var b batch.Batch
			var err error
			if b, rest, err = batch.Next(rest); err == nil {
				err = b.Check()
			}
			if err != nil {
				t.Fatalf("Read(%d): %v", from, err)
			}
			if message.Offset(b.LastOffset()) < from {
				t.Fatalf("Read(%d): batch [%d,%d] lies before", from, b.BaseOffset(), b.LastOffset())
			}
			all = append(all, append(batch.Batch(nil), b...))
			from = message.Offset(b.LastOffset()) + 1
		}
		view.Done()
	}
}

// bodies reads every record from an offset.
func bodies(t *testing.T, l store.Log, from message.Offset) []seen {
	t.Helper()
	var all []seen
	for _, b := range readAll(t, l, from, 1<<20) {
		all = append(all, decode(t, b)...)
	}
	for len(all) > 0 && all[0].offset < from {
		all = all[1:]
	}
	return all
}

// decode reads the records of one batch.
func decode(t *testing.T, b batch.Batch) []seen {
	t.Helper()
	var out []seen
	rest := message.NewRecords(b.Records())
	var rec message.Record
	for {
		ok, err := rest.Next(&rec)
		if err != nil {
			t.Fatalf("records of batch %d: %v", b.BaseOffset(), err)
		}
		if !ok {
			return out
		}
		out = append(out, seen{message.Offset(b.BaseOffset()) + message.Offset(rec.OffsetDelta), string(rec.Value)})
	}
}

// wantError fails unless err is the wanted one.
func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error is %v and should be %v", what, err, want)
	}
}
