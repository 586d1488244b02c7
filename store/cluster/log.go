package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// Log is one partition of a topic.
type Log struct {
	s         *Store
	id        logID
	name      store.LogID
	transient bool
	consumed  atomic.Bool // only what lies below Release's floor goes
	gone      atomic.Bool // deleted by this process

	sending   sync.Mutex // held over giving the records of an append to the client
	mu        sync.Mutex // guards the following
	known     bool       // start and end were asked for
	start     message.Offset
	end       message.Offset
	used      time.Time // asked for last
	watchers  []*watcher
	pipe      pipe
	fetched   fetched
	cursor    cursor
	released  message.Offset // floor of Release
	truncated message.Offset // what of it the cluster was told
	bytes     int64          // appended by this process, for the size of a record
	records   int64
}

var _ store.Log = (*Log)(nil)

func newLog(s *Store, id logID, transient bool) *Log {
	return &Log{s: s, id: id, name: store.LogID(id.String()), transient: transient}
}

// ID is the log's id.
func (l *Log) ID() store.LogID { return l.name }

// Err is what its last failure was, if nobody can append.
func (l *Log) Err() error { return nil }

// usable says why the log can't be used.
func (l *Log) usable() error {
	switch {
	case l.s.closed.Load():
		return store.ErrClosed
	case l.gone.Load():
		return fmt.Errorf("log %s was deleted: %w", l.name, store.ErrNotFound)
	}
	return nil
}

// askTimeout bounds a request that nobody gave a context for.
const askTimeout = 10 * time.Second

// Bounds are those that are known, or else asked for.
func (l *Log) Bounds() (start, end message.Offset, err error) {
	if err := l.usable(); err != nil {
		return 0, 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = l.s.o.Now()
	if !l.known {
		l.mu.Unlock()
		ctx, cancel := context.WithTimeout(l.s.ctx, askTimeout)
		err := l.s.askBounds(ctx, l)
		cancel()
		l.mu.Lock()
		if err != nil {
			return 0, 0, err
		}
	}
	return l.start, l.end, nil
}

// askBounds asks the cluster where logs begin and end.
func (s *Store) askBounds(ctx context.Context, logs ...*Log) error {
	return errors.Join(s.lookAt(ctx, logs)...)
}

// lookAt is askBounds with an error for each log of which nothing was heard: the others
// are known all the same. It asks once for all of them.
func (s *Store) lookAt(ctx context.Context, logs []*Log) (errs []error) {
	topics := make([]string, 0, len(logs))
	there := make([]*Log, 0, len(logs))
	for _, l := range logs {
		if _, err := s.leader(ctx, l.id, false); err != nil {
			errs = append(errs, err)
			continue
		}
		there, topics = append(there, l), append(topics, l.id.topic)
	}
	if len(there) == 0 {
		return errs
	}
	slices.Sort(topics)
	topics = slices.Compact(topics)
	starts, err := s.admin.ListStartOffsets(ctx, topics...)
	if nothingOf(err) {
		return append(errs, asStoreError(err))
	}
	ends, err := s.admin.ListEndOffsets(ctx, topics...)
	if nothingOf(err) {
		return append(errs, asStoreError(err))
	}
	for _, l := range there {
		start, ok := starts.Lookup(l.id.topic, l.id.part)
		end, ok2 := ends.Lookup(l.id.topic, l.id.part)
		err := asStoreError(errors.Join(start.Err, end.Err))
		if err == nil && !(ok && ok2) {
			err = fmt.Errorf("no answer: %w", store.ErrUnavailable)
		}
		if err != nil {
			s.forgetTopic(l.id.topic)
			errs = append(errs, fmt.Errorf("bounds of log %s: %w", l.name, err))
			continue
		}
		l.learn(message.Offset(start.Offset), message.Offset(end.Offset))
	}
	return errs
}

// nothingOf reports whether a request that several brokers share was answered by none.
func nothingOf(err error) bool {
	var some *kadm.ShardErrors
	return err != nil && !(errors.As(err, &some) && !some.AllFailed)
}

// learn takes over bounds that the cluster told, and wakes who waits for more.
func (l *Log) learn(start, end message.Offset) {
	l.mu.Lock()
	more := !l.known || end > l.end || start > l.start
	l.known = true
	l.start, l.end = max(l.start, start), max(l.end, end)
	l.mu.Unlock()
	if more {
		l.wake()
	}
}

// Records estimates: offsets that hold no record, of transactions and what was
// compacted away, are counted too.
func (l *Log) Records(from, to message.Offset) (int64, error) {
	start, end, err := l.Bounds()
	return max(0, int64(min(to, end)-max(from, start))), err
}

// RecordsNow estimates too.
func (l *Log) RecordsNow(from, to message.Offset) (n int64, exact bool) {
	n, err := l.Records(from, to)
	return n, err == nil
}

// OffsetForTime asks the cluster.
func (l *Log) OffsetForTime(ctx context.Context, ms int64) (message.Offset, int64, bool, error) {
	if err := l.usable(); err != nil {
		return 0, 0, false, err
	}
	if _, err := l.s.leader(ctx, l.id, false); err != nil {
		return 0, 0, false, err
	}
	found, err := l.s.admin.ListOffsetsAfterMilli(ctx, ms, l.id.topic)
	if err != nil {
		return 0, 0, false, asStoreError(err)
	}
	o, ok := found.Lookup(l.id.topic, l.id.part)
	if !ok || o.Err != nil || o.Timestamp < 0 || o.Offset < 0 {
		return 0, 0, false, asStoreError(o.Err)
	}
	return message.Offset(o.Offset), o.Timestamp, true, nil
}

// Truncate deletes records.
func (l *Log) Truncate(ctx context.Context, before message.Offset) error {
	start, end, err := l.Bounds()
	if err != nil || before <= start {
		return err
	}
	if before > end {
		return fmt.Errorf("truncate log %s before %d of %d: %w", l.name, before, end, store.ErrOutOfRange)
	}
	if err := l.s.deleteRecords(ctx, map[*Log]message.Offset{l: before}); err != nil {
		return err
	}
	l.wake()
	return nil
}

// deleteRecords moves the starts of logs.
func (s *Store) deleteRecords(ctx context.Context, upTo map[*Log]message.Offset) error {
	var offsets kadm.Offsets
	for l, before := range upTo {
		if _, err := s.leader(ctx, l.id, false); err != nil {
			return err
		}
		offsets.AddOffset(l.id.topic, l.id.part, int64(before), -1)
	}
	answers, err := s.admin.DeleteRecords(ctx, offsets)
	if err != nil {
		return fmt.Errorf("delete records: %w", asStoreError(err))
	}
	var errs []error
	for l, before := range upTo {
		if a, ok := answers.Lookup(l.id.topic, l.id.part); !ok || a.Err != nil {
			errs = append(errs, fmt.Errorf("delete records of log %s: %w", l.name, asStoreError(a.Err)))
			continue
		}
		l.mu.Lock()
		l.start = max(l.start, before)
		l.fetched.forget(before)
		l.mu.Unlock()
	}
	return errors.Join(errs...)
}

// Release notes the floor; the cluster is told now and then.
func (l *Log) Release(floor message.Offset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released = max(l.released, floor)
}

// Thin does nothing: a cluster keeps records until all before them may go.
func (l *Log) Thin(message.Offset, func(first, last message.Offset) bool) error { return nil }

// Segments is empty: the cluster compacts its topics itself.
func (l *Log) Segments() ([]store.Segment, error) { return nil, nil }

// EndSegment has nothing to do: see Segments.
func (l *Log) EndSegment(time.Time) error { return nil }

// Compact has nothing to do: see Segments.
func (l *Log) Compact(message.Offset, func(batch.Batch) (batch.Batch, error)) (message.Offset, error) {
	return 0, nil
}

// SetOptions changes the topic's retention.
func (l *Log) SetOptions(ctx context.Context, o store.LogOptions) error {
	if err := l.usable(); err != nil {
		return err
	}
	l.consumed.Store(o.Retention.Consumed && o.Retention.Age == 0)
	if l.id.part > 0 {
		return nil
	}
	var alter []kadm.AlterConfig
	for name, value := range logConfigs(o) {
		alter = append(alter, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: value})
	}
	answers, err := l.s.admin.AlterTopicConfigs(ctx, alter, l.id.topic)
	for _, a := range answers {
		err = errors.Join(err, a.Err)
	}
	if err != nil {
		return fmt.Errorf("alter topic %s: %w", l.id.topic, asStoreError(err))
	}
	return nil
}

// Figures are what is known here. Bytes are estimated from what this process appended.
func (l *Log) Figures() store.Figures {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := store.Figures{Start: l.start, End: l.end, Certain: l.known && (l.cursor.loaded || l.end == 0), Waiting: int64(l.end - max(l.start, l.cursor.floor))}
	if l.known && l.records > 0 {
		f.Bytes = int64(l.end-l.start) * (l.bytes/l.records + 1)
	}
	if l.end > l.start {
		f.Segments = 1
	}
	return f
}

// watcher is one call of Watch.
type watcher struct{ wake func() }

// Watch has wake called when the log changed.
func (l *Log) Watch(wake func()) (stop func()) {
	w := &watcher{wake}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchers = append(l.watchers, w)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if i := slices.Index(l.watchers, w); i >= 0 {
			l.watchers = slices.Delete(slices.Clone(l.watchers), i, i+1)
		}
	}
}

// wake tells all watchers.
func (l *Log) wake() {
	l.mu.Lock()
	watchers := l.watchers
	l.mu.Unlock()
	for _, w := range watchers {
		w.wake()
	}
}

// Wake has everybody look who watches; see store.Log.
func (l *Log) Wake() { l.wake() }

// restAfter is how long a log without watchers is looked at after it was used.
const restAfter = 10 * time.Second

// poll looks at the ends of logs for what others appended, and tells the cluster what
// was consumed, until the store closes.
func (s *Store) poll() {
	tick := time.NewTicker(s.o.PollEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		now := s.o.Now()
		var looked []*Log
		consumed := map[*Log]message.Offset{}
		for _, l := range s.everyLog() {
			l.mu.Lock()
			if l.known && (len(l.watchers) > 0 || now.Sub(l.used) < restAfter) {
				looked = append(looked, l)
			}
			if floor := min(l.released, l.end); l.consumed.Load() && floor > l.truncated && floor > l.start {
				l.truncated = floor
				consumed[l] = floor
			}
			l.mu.Unlock()
		}
		if len(looked) > 0 {
			s.look(looked)
		}
		if len(consumed) > 0 {
			s.note("delete what was consumed", s.deleteRecords(s.ctx, consumed))
		}
	}
}

// look asks for the bounds of logs, of which some may be gone.
func (s *Store) look(logs []*Log) {
	ctx, cancel := context.WithTimeout(s.ctx, askTimeout)
	defer cancel()
	errs := slices.DeleteFunc(s.lookAt(ctx, logs), func(err error) bool { return errors.Is(err, store.ErrNotFound) })
	if len(errs) > 0 {
		s.note("look for new messages", fmt.Errorf("%d of %d logs: %w", len(errs), len(logs), errs[0]))
	}
}

// note logs what failed in the background and is tried again.
func (s *Store) note(what string, err error) {
	if err != nil && s.ctx.Err() == nil {
		s.o.Logger.Warn("the cluster did not do as asked; it is asked again", "what", what, "error", err)
	}
}

// SaveState keeps nothing: it is of producers whose state the cluster keeps itself.
func (l *Log) SaveState(context.Context, string, []byte) error { return l.usable() }

// LoadState finds nothing.
func (l *Log) LoadState(context.Context, string) ([]byte, error) { return nil, l.usable() }
