package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// pipe is what was appended to a log and what became of it. Log.mu guards it.
type pipe struct {
	sent      uint64 // records given to the client
	completed uint64 // of these, those that the cluster took or refused
	commits   []*commit
	failed    struct { // the last one that the cluster refused
		seq uint64
		at  time.Time
		err error
	}
}

// failureKept is how long a refusal fails commits: everybody who appended before it
// asks for a commit by then, and whoever did not loses nothing but a confirm.
const failureKept = 10 * time.Second

// appended is one Append on its way.
type appended struct {
	l    *Log
	n    int // records
	left int // of them; the client's goroutine's, as are the following until done
	last message.Offset
	base message.Offset
	err  error
	done chan struct{}
}

// Base waits for the offset.
func (a *appended) Base(ctx context.Context) (message.Offset, error) {
	select {
	case <-a.done:
		return a.base, a.err
	case <-ctx.Done():
		return 0, fmt.Errorf("log %s: the cluster does not answer: %w", a.l.name, store.ErrUnavailable)
	}
}

// Append gives the records to the client, which keeps their order and batches them with
// others of the partition. It waits when too many are under way.
func (l *Log) Append(batches []byte) (store.Position, error) {
	if err := l.usable(); err != nil {
		return store.Position{}, err
	}
	records, err := l.decode(append([]byte(nil), batches...))
	if err != nil {
		return store.Position{}, fmt.Errorf("append to log %s: %w", l.name, err)
	}
	if len(records) == 0 {
		_, end, err := l.Bounds()
		return store.At(end), err
	}
	if _, _, err := l.Bounds(); err != nil { // asks once
		return store.Position{}, err
	}
	a := &appended{l: l, n: len(records), left: len(records), base: message.NoOffset, done: make(chan struct{})}
	l.sending.Lock() // keeps the records of one call together
	defer l.sending.Unlock()
	l.mu.Lock()
	l.pipe.sent += uint64(len(records))
	l.bytes += int64(len(batches))
	l.records += int64(len(records))
	l.mu.Unlock()
	for _, r := range records {
		l.s.client.Produce(l.s.ctx, r, a.answered)
	}
	l.s.appended.Add(uint64(len(batches)))
	return store.Awaited(a), nil
}

// answered hears of one record, in the order of the partition.
func (a *appended) answered(r *kgo.Record, err error) {
	if err != nil {
		a.err = errors.Join(a.err, asStoreError(err))
	} else {
		if a.base == message.NoOffset {
			a.base = message.Offset(r.Offset)
		}
		a.last = message.Offset(r.Offset)
	}
	if a.left--; a.left > 0 {
		return
	}
	a.l.completed(a)
}

// completed notes that an append is over, one way or the other.
func (l *Log) completed(a *appended) {
	l.mu.Lock()
	l.pipe.completed += uint64(a.n)
	if a.err != nil {
		l.pipe.failed.seq, l.pipe.failed.at, l.pipe.failed.err = l.pipe.completed, l.s.o.Now(), a.err
	} else if l.known {
		l.end = max(l.end, a.last+1)
	}
	waiting := len(l.pipe.commits) > 0
	l.mu.Unlock()
	close(a.done)
	l.wake()
	if waiting {
		l.s.finish(l)
	}
}

// commit is one call of Commit.
type commit struct {
	done   func(error)
	logs   []*Log
	wants  []uint64 // of each log: records that must be completed
	begun  time.Time
	told   bool
	result error
}

// Commit calls done when everything that was appended before is completed. Commits of a
// log are done in their order.
func (s *Store) Commit(logs []store.Log, done func(error)) {
	if s.closed.Load() {
		done(store.ErrClosed)
		return
	}
	c := &commit{done: done, logs: make([]*Log, len(logs)), wants: make([]uint64, len(logs)), begun: s.o.Now()}
	s.commitMu.Lock()
	for i, l := range logs {
		l := l.(*Log)
		c.logs[i] = l
		l.mu.Lock()
		c.wants[i] = l.pipe.sent
		l.pipe.commits = append(l.pipe.commits, c)
		l.mu.Unlock()
	}
	s.tell(s.ready(c))
}

// finish does the commits that a log's progress has made ready.
func (s *Store) finish(l *Log) {
	s.commitMu.Lock()
	var ready []*commit
	if first := l.oldest(); first != nil {
		ready = s.ready(first)
	}
	s.tell(ready)
}

// oldest is the log's first commit that is not done, nil if there is none.
func (l *Log) oldest() *commit {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pipe.commits) == 0 {
		return nil
	}
	return l.pipe.commits[0]
}

// tell calls done of commits, in the order in which they became ready, on whichever
// goroutine is at it already. The caller holds commitMu, which is let go.
func (s *Store) tell(ready []*commit) {
	s.toTell = append(s.toTell, ready...)
	if s.telling {
		s.commitMu.Unlock()
		return
	}
	s.telling = true
	for len(s.toTell) > 0 {
		list := s.toTell
		s.toTell = nil
		s.commitMu.Unlock()
		for _, c := range list {
			c.done(c.result)
		}
		s.commitMu.Lock()
	}
	s.telling = false
	s.commitMu.Unlock()
}

// ready takes a commit off its logs if it is done, and then those that stood behind it.
// The caller holds commitMu.
func (s *Store) ready(c *commit) (list []*commit) {
	if c.told || !c.isReady() {
		return nil
	}
	c.told = true
	list = append(list, c)
	for _, l := range c.logs {
		l.mu.Lock()
		l.pipe.commits = l.pipe.commits[1:]
		l.mu.Unlock()
	}
	for _, l := range c.logs {
		if next := l.oldest(); next != nil {
			list = append(list, s.ready(next)...)
		}
	}
	return list
}

// isReady says whether the commit is the oldest of all its logs and these have completed
// what it waits for. Its result is the last refusal of what it may be about.
func (c *commit) isReady() bool {
	var result error
	for i, l := range c.logs {
		l.mu.Lock()
		ok := l.pipe.commits[0] == c && l.pipe.completed >= c.wants[i]
		if f := &l.pipe.failed; ok && f.err != nil && f.seq <= c.wants[i] && c.begun.Sub(f.at) < failureKept {
			result = errors.Join(result, fmt.Errorf("log %s: %w", l.name, f.err))
		}
		l.mu.Unlock()
		if !ok {
			return false
		}
	}
	c.result = result
	return true
}

// decode makes the client's records of whole batches, which it keeps.
func (l *Log) decode(batches []byte) (records []*kgo.Record, err error) {
	for len(batches) > 0 {
		var b batch.Batch
		if b, batches, err = batch.Next(batches); err == nil {
			err = b.CheckHeader()
		}
		if err != nil {
			return nil, err
		}
		if len(b) > l.s.o.MaxBatchBytes && b.Count() == 1 {
			return nil, fmt.Errorf("%w: %d bytes, at most %d", store.ErrTooLarge, len(b), l.s.o.MaxBatchBytes)
		}
		raw := b.Records()
		if b.Codec() != message.CodecNone {
			if raw, err = message.Unpack(nil, b.Codec(), raw, message.MaxUnpackedBytes); err != nil {
				return nil, err
			}
		}
		in := message.NewRecords(raw)
		var rec message.Record
		for {
			ok, err := in.Next(&rec)
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			records = append(records, l.record(b, &rec))
		}
	}
	return records, nil
}

// record is one record as the client takes it. It shares the record's bytes.
func (l *Log) record(b batch.Batch, rec *message.Record) *kgo.Record {
	r := &kgo.Record{
		Topic: l.id.topic, Partition: l.id.part, Key: rec.Key, Value: rec.Value,
		Timestamp: time.UnixMilli(b.BaseTimestamp() + rec.TimestampDelta),
	}
	headers := rec.Headers
	for {
		name, value, ok := headers.Next()
		if !ok {
			return r
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: string(name), Value: value})
	}
}
