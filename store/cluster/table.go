package cluster

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// A table is a compacted topic of one partition that every process reads from its start
// and keeps in memory. A key's revision is the offset behind its last record. All
// entries of one Put are one record batch, which is there whole or not at all.
//
//	record   key: the key · value: the value, null deletes · headers:
//	         by   which process wrote it, and the number of its write
//	         if   of a Swap: the revision that the key must have
//
// The records of a topic have one order, and everybody applies them in it: a record
// whose if does not hold by then counts for nobody, so all agree on who won. What such
// a record leaves behind is repaired by whoever wrote it, since compaction would keep it
// and drop the one that counts: it writes the key again as it is.
type table struct {
	s    *Store
	name string
	id   logID

	swapping sync.Mutex // one Swap of this process at a time

	mu      sync.Mutex // guards the following
	entries map[string]store.Entry
	swaps   map[string]*swapped // of this process under way, by what stands in by
	writes  uint64              // numbers this process's
	next    int64               // all records before it were applied
	changed chan struct{}       // closed when next moves
	watch   []*tableWatcher
	behind  int64 // where watchers begin
}

type tableWatcher struct{ fn func(store.Entry) }

// swapped is what became of a Swap, whose record may have been written more than once.
type swapped struct {
	revision uint64 // of the record that counted; 0: none did
	last     bool   // the last one counted
}

const (
	headerBy = "by"
	headerIf = "if"
)

// Table opens a table.
func (s *Store) Table(ctx context.Context, name string) (store.Table, error) {
	if s.closed.Load() {
		return nil, store.ErrClosed
	}
	if !validTableName(name) {
		return nil, fmt.Errorf("open table %q: not a name for a table", name)
	}
	s.mu.Lock()
	t := s.tables[name]
	s.mu.Unlock()
	if t != nil {
		return t, nil
	}
	topic := s.o.Prefix + ".table." + name
	compact := "compact"
	r, err := s.admin.CreateTopic(ctx, 1, int16(s.o.Replicas), map[string]*string{"cleanup.policy": &compact}, topic)
	if err = errors.Join(err, r.Err); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return nil, fmt.Errorf("create topic %s: %w", topic, asStoreError(err))
	}
	info, err := s.awaitTopic(ctx, topic, 1)
	if err != nil {
		return nil, err
	}
	t = &table{s: s, name: name, id: logID{topic: topic, gen: info.id}, entries: map[string]store.Entry{}, swaps: map[string]*swapped{}, changed: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.tables[name]; other != nil {
		return other, nil
	}
	s.tables[name] = t
	s.work.Go(t.follow)
	return t, nil
}

// validTableName allows lower-case letters, digits and '-'.
func validTableName(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return name != ""
}

// follow reads and applies records until the store closes.
func (t *table) follow() {
	retry := false
	for t.s.ctx.Err() == nil {
		t.mu.Lock()
		next := t.next
		t.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.s.ctx, askTimeout)
		data, err := t.s.fetchRaw(ctx, t.id, next, retry)
		cancel()
		if err == nil {
			err = t.apply(data)
		}
		if retry = err != nil; retry {
			t.s.note("read table "+t.name, err)
			select {
			case <-t.s.ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// apply takes over whole batches.
func (t *table) apply(data []byte) error {
	for len(data) > 0 {
		b, rest, err := batch.Next(data)
		if errors.Is(err, batch.ErrShort) {
			return nil
		}
		if err == nil {
			err = b.Check()
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", t.name, err)
		}
		data = rest
		if err := t.applyBatch(b); err != nil {
			return fmt.Errorf("table %s: batch %d: %w", t.name, b.BaseOffset(), err)
		}
	}
	return nil
}

func (t *table) applyBatch(b batch.Batch) error {
	raw := b.Records()
	if b.Codec() != message.CodecNone {
		var err error
		if raw, err = message.Unpack(nil, b.Codec(), raw, message.MaxUnpackedBytes); err != nil {
			return err
		}
	}
	var told []store.Entry
	t.mu.Lock()
	records := message.NewRecords(raw)
	var rec message.Record
	for !b.IsControl() {
		ok, err := records.Next(&rec)
		if err != nil {
			t.mu.Unlock()
			return err
		}
		if !ok {
			break
		}
		offset := b.BaseOffset() + int64(rec.OffsetDelta)
		if offset < t.next {
			continue // applied already
		}
		if e, other := t.applyRecord(&rec, offset); other && offset >= t.behind {
			told = append(told, e)
		}
	}
	t.next = max(t.next, b.LastOffset()+1)
	close(t.changed)
	t.changed = make(chan struct{})
	watchers := slices.Clone(t.watch)
	t.mu.Unlock()
	for _, e := range told {
		for _, w := range watchers {
			w.fn(e)
		}
	}
	return nil
}

// applyRecord takes over one record; other says that it counts and another process
// wrote it. The caller holds mu.
func (t *table) applyRecord(rec *message.Record, offset int64) (e store.Entry, other bool) {
	e = store.Entry{Key: string(rec.Key), Revision: uint64(offset) + 1}
	if rec.Value != nil {
		e.Value = append([]byte{}, rec.Value...)
	}
	var by string
	counts := true
	for headers := rec.Headers; ; {
		name, value, ok := headers.Next()
		if !ok {
			break
		}
		switch string(name) {
		case headerBy:
			by = string(value)
		case headerIf:
			rev, err := strconv.ParseUint(string(value), 10, 64)
			counts = err == nil && t.entries[e.Key].Revision == rev
		}
	}
	if swap := t.swaps[by]; swap != nil {
		if swap.last = counts; counts {
			swap.revision = e.Revision
		}
	}
	if !counts {
		return e, false
	}
	if e.Value == nil {
		delete(t.entries, e.Key)
	} else {
		t.entries[e.Key] = e
	}
	return e, !strings.HasPrefix(by, t.s.self+"/")
}

// caughtUp waits until everything that is written now was applied.
func (t *table) caughtUp(ctx context.Context) error {
	ends, err := t.s.admin.ListEndOffsets(ctx, t.id.topic)
	if err != nil {
		return fmt.Errorf("table %s: %w", t.name, asStoreError(err))
	}
	end, ok := ends.Lookup(t.id.topic, 0)
	if !ok || end.Err != nil {
		return fmt.Errorf("table %s: its end is not known: %w", t.name, cmp.Or(asStoreError(end.Err), store.ErrUnavailable))
	}
	return t.applied(ctx, end.Offset)
}

// applied waits until the records before an offset were applied.
func (t *table) applied(ctx context.Context, end int64) error {
	for {
		t.mu.Lock()
		next, changed := t.next, t.changed
		t.mu.Unlock()
		if next >= end {
			return nil
		}
		select {
		case <-changed:
		case <-t.s.ctx.Done():
			return store.ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("table %s is not read to its end yet: %w", t.name, store.ErrUnavailable)
		}
	}
}

// Load calls fn with what the table has now.
func (t *table) Load(ctx context.Context, fn func(store.Entry) error) error {
	if t.s.closed.Load() {
		return store.ErrClosed
	}
	if err := t.caughtUp(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	t.behind = t.next
	all := make([]store.Entry, 0, len(t.entries))
	for _, e := range t.entries {
		all = append(all, e)
	}
	t.mu.Unlock()
	slices.SortFunc(all, func(a, b store.Entry) int { return cmp.Compare(a.Revision, b.Revision) })
	for _, e := range all {
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// Get is what one key has now.
func (t *table) Get(ctx context.Context, key string) (store.Entry, error) {
	if t.s.closed.Load() {
		return store.Entry{}, store.ErrClosed
	}
	if err := t.caughtUp(ctx); err != nil {
		return store.Entry{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[key]
	e.Key = key
	return e, nil
}

// Put writes entries whatever is there.
func (t *table) Put(ctx context.Context, entries ...store.Entry) error {
	if t.s.closed.Load() {
		return store.ErrClosed
	}
	if len(entries) == 0 {
		return nil
	}
	return t.write(ctx, entries, t.number(), false)
}

// Swap writes an entry if its key still has the revision.
func (t *table) Swap(ctx context.Context, e store.Entry) (uint64, error) {
	if t.s.closed.Load() {
		return 0, store.ErrClosed
	}
	t.swapping.Lock()
	defer t.swapping.Unlock()
	if err := t.caughtUp(ctx); err != nil {
		return 0, err
	}
	if have := t.revision(e.Key); have != e.Revision {
		return 0, fmt.Errorf("table %s: %q has revision %d, not %d: %w", t.name, e.Key, have, e.Revision, store.ErrConflict)
	}
	mine, err := t.swap(ctx, e)
	if err != nil {
		return 0, err
	}
	for last := mine; !last.last; { // what counts for nobody must not be what compaction keeps
		t.mu.Lock()
		repair, there := t.entries[e.Key]
		t.mu.Unlock()
		if !there {
			repair = store.Entry{Key: e.Key}
		}
		if last, err = t.swap(ctx, repair); err != nil {
			return 0, err
		}
	}
	if mine.revision == 0 {
		return 0, fmt.Errorf("table %s: another wrote %q first: %w", t.name, e.Key, store.ErrConflict)
	}
	return mine.revision, nil
}

// swap writes an entry that counts if its key has the revision, and says what became of it.
func (t *table) swap(ctx context.Context, e store.Entry) (swapped, error) {
	by := t.number()
	t.mu.Lock()
	t.swaps[by] = &swapped{}
	t.mu.Unlock()
	err := t.write(ctx, []store.Entry{e}, by, true)
	t.mu.Lock()
	defer t.mu.Unlock()
	mine := *t.swaps[by]
	delete(t.swaps, by)
	return mine, err
}

// number names the next write of this process.
func (t *table) number() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writes++
	return t.s.self + "/" + strconv.FormatUint(t.writes, 10)
}

func (t *table) revision(key string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.entries[key].Revision
}

// Watch has fn called for others' changes.
func (t *table) Watch(fn func(store.Entry)) (stop func()) {
	w := &tableWatcher{fn}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watch = append(t.watch, w)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.watch = slices.DeleteFunc(slices.Clone(t.watch), func(o *tableWatcher) bool { return o == w })
	}
}

// write appends the entries as one batch and waits until that was read back. After a
// failure it is written again: entries that are there twice say the same.
func (t *table) write(ctx context.Context, entries []store.Entry, by string, swap bool) error {
	b := encodeEntries(entries, by, swap, t.s.o.Now().UnixMilli())
	if len(b) > t.s.o.MaxBatchBytes {
		return fmt.Errorf("table %s: %d bytes, at most %d: %w", t.name, len(b), t.s.o.MaxBatchBytes, store.ErrTooLarge)
	}
	var offset int64
	var err error
	for retry := false; ; retry = true {
		offset, err = t.s.produceRaw(ctx, t.id, b, retry)
		if err == nil || ctx.Err() != nil || !errors.Is(err, store.ErrUnavailable) {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err != nil {
		return fmt.Errorf("table %s: %w", t.name, err)
	}
	return t.applied(ctx, offset+int64(len(entries)))
}

// produceRaw appends a batch as it is.
func (s *Store) produceRaw(ctx context.Context, id logID, b batch.Batch, retry bool) (offset int64, err error) {
	leader, err := s.leader(ctx, id, retry)
	if err != nil {
		return 0, err
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, int32(askTimeout.Milliseconds())
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = id.topic, id.gen
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = id.part, b
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	answer, err := req.RequestWith(ctx, s.client.Broker(int(leader)))
	if err != nil {
		return 0, fmt.Errorf("write to %s: %w", id.topic, asStoreError(err))
	}
	if len(answer.Topics) == 0 || len(answer.Topics[0].Partitions) == 0 {
		return 0, fmt.Errorf("write to %s: an empty answer: %w", id.topic, store.ErrUnavailable)
	}
	written := &answer.Topics[0].Partitions[0] // only one was sent
	if err := kerr.ErrorForCode(written.ErrorCode); err != nil {
		return 0, fmt.Errorf("write to %s: %w", id.topic, asStoreError(err))
	}
	return written.BaseOffset, nil
}

// encodeEntries is the record batch of entries.
func encodeEntries(entries []store.Entry, by string, swap bool, nowMs int64) batch.Batch {
	b := make([]byte, batch.HeaderBytes)
	for i, e := range entries {
		body := append([]byte{0}, 0) // attributes, timestamp delta
		body = binary.AppendVarint(body, int64(i))
		body = appendBytes(body, []byte(e.Key))
		body = appendBytes(body, e.Value)
		headers := [][2]string{{headerBy, by}}
		if swap {
			headers = append(headers, [2]string{headerIf, strconv.FormatUint(e.Revision, 10)})
		}
		body = binary.AppendVarint(body, int64(len(headers)))
		for _, h := range headers {
			body = appendBytes(body, []byte(h[0]))
			body = appendBytes(body, []byte(h[1]))
		}
		b = append(binary.AppendVarint(b, int64(len(body))), body...)
	}
	batch.Batch(b).Seal(batch.Header{
		LastOffsetDelta: int32(len(entries) - 1), BaseTimestamp: nowMs, MaxTimestamp: nowMs,
		ProducerID: batch.NoProducer, ProducerEpoch: batch.NoProducerEpoch, BaseSequence: batch.NoSequence, Count: int32(len(entries)),
	})
	return b
}

// appendBytes writes bytes behind their length; nil is null.
func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}
