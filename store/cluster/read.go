package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

const (
	chunkBytes    = 1 << 20                // is fetched at a time
	keptChunks    = 4                      // of a log
	fetchWait     = 500 * time.Millisecond // the broker's, for what is there any moment
	fetchMinBytes = 1
)

// chunk is whole batches that were fetched. It covers [from, next), in which offsets
// may be missing.
type chunk struct {
	from, next message.Offset
	data       []byte
}

// fetched is what of a log is here. Log.mu guards it.
type fetched struct {
	chunks  []chunk // used last at the end
	busy    bool    // a fetch is under way
	wanted  message.Offset
	failure error // of the last fetch, until somebody was told
}

// find returns the batches from the one that holds an offset on; nil if they are not here.
func (f *fetched) find(from message.Offset) []byte {
	for i, c := range f.chunks {
		if from < c.from || from >= c.next {
			continue
		}
		f.chunks = append(slices.Delete(f.chunks, i, i+1), c)
		for data := c.data; len(data) > 0; {
			b, rest, err := batch.Next(data)
			if err != nil {
				return nil
			}
			if message.Offset(b.LastOffset()) >= from {
				return data
			}
			data = rest
		}
	}
	return nil
}

func (f *fetched) keep(c chunk) {
	if len(f.chunks) == keptChunks {
		f.chunks = slices.Delete(f.chunks, 0, 1)
	}
	f.chunks = append(f.chunks, c)
}

// forget lets go of what lies before an offset.
func (f *fetched) forget(before message.Offset) {
	f.chunks = slices.DeleteFunc(f.chunks, func(c chunk) bool { return c.next <= before })
}

// Read returns what is here. What is not is fetched, and watchers are woken when it came.
func (l *Log) Read(from message.Offset, maxBytes int) (store.View, error) {
	start, end, err := l.Bounds()
	if err != nil {
		return store.View{}, err
	}
	if from < start || from > end {
		return store.View{}, fmt.Errorf("read %d of log %s, which is [%d, %d): %w", from, l.name, start, end, store.ErrOutOfRange)
	}
	if from == end {
		return store.View{}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if data := l.fetched.find(from); data != nil {
		return store.NewView(head(data, maxBytes), nil, nil), nil
	}
	if err := l.fetched.failure; err != nil {
		l.fetched.failure = nil
		return store.View{}, err
	}
	l.fetched.wanted = from
	if !l.fetched.busy {
		l.fetched.busy = true
		l.s.work.Go(l.fetch)
	}
	return store.View{}, store.ErrNotYet
}

// ReadNow is Read, which never waits.
func (l *Log) ReadNow(from message.Offset, maxBytes int) (store.View, error) {
	return l.Read(from, maxBytes)
}

// head is the whole batches that fit, at least one.
func head(data []byte, maxBytes int) []byte {
	n := 0
	for rest := data; len(rest) > 0; {
		b, more, err := batch.Next(rest)
		if err != nil || n > 0 && n+len(b) > maxBytes {
			break
		}
		n += len(b)
		rest = more
	}
	return data[:n:n]
}

// fetch gets what is wanted, and again if that changed meanwhile.
func (l *Log) fetch() {
	for {
		l.mu.Lock()
		from := l.fetched.wanted
		l.mu.Unlock()
		ctx, cancel := context.WithTimeout(l.s.ctx, askTimeout)
		c, err := l.fetchFrom(ctx, from)
		cancel()
		if errors.Is(err, store.ErrOutOfRange) {
			ctx, cancel := context.WithTimeout(l.s.ctx, askTimeout)
			err = l.s.askBounds(ctx, l) // the next Read says so
			cancel()
		}
		l.mu.Lock()
		if err != nil {
			l.fetched.failure = err
		} else if c.next > c.from {
			l.fetched.keep(c)
			l.end = max(l.end, c.next) // a reader goes on behind what it was given, whose append may not be answered yet
		}
		missing := err == nil && l.fetched.wanted != from && l.fetched.find(l.fetched.wanted) == nil
		l.fetched.busy = missing
		l.mu.Unlock()
		l.wake()
		if !missing {
			return
		}
	}
}

// fetchFrom gets the batches from an offset on.
func (l *Log) fetchFrom(ctx context.Context, from message.Offset) (chunk, error) {
	for retry := false; ; retry = true {
		data, err := l.s.fetchRaw(ctx, l.id, int64(from), retry)
		if retry && err != nil || err == nil && len(data) > 0 || ctx.Err() != nil {
			return chunkOf(from, data), err
		}
	}
}

// chunkOf is the whole batches of an answer, which may end within one.
func chunkOf(from message.Offset, data []byte) chunk {
	c := chunk{from: from, next: from}
	n := 0
	for rest := data; len(rest) > 0; {
		b, more, err := batch.Next(rest)
		if err != nil {
			break
		}
		n += len(b)
		c.next = max(c.next, message.Offset(b.LastOffset())+1)
		rest = more
	}
	c.data = data[:n:n]
	return c
}

// fetchRaw asks the leader of a partition for batches, and waits a little if there are
// none.
func (s *Store) fetchRaw(ctx context.Context, id logID, from int64, retry bool) ([]byte, error) {
	leader, err := s.leader(ctx, id, retry)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(fetchWait.Milliseconds()), fetchMinBytes, chunkBytes
	req.SessionEpoch = -1 // no session
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = id.topic, id.gen
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = id.part, from, chunkBytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	answer, err := req.RequestWith(ctx, s.client.Broker(int(leader)))
	if err != nil {
		return nil, fmt.Errorf("fetch from %s/%d: %w", id.topic, id.part, asStoreError(err))
	}
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return nil, fmt.Errorf("fetch from %s/%d: %w", id.topic, id.part, asStoreError(err))
	}
	if len(answer.Topics) == 0 || len(answer.Topics[0].Partitions) == 0 {
		return nil, nil
	}
	got := &answer.Topics[0].Partitions[0] // only one was asked for
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return nil, fmt.Errorf("fetch from %s/%d at %d: %w", id.topic, id.part, from, asStoreError(err))
	}
	return got.RecordBatches, nil
}
