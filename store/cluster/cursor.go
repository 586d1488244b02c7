package cluster

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// A cursor is a committed offset, below which everything is acked, and metadata in
// base64:
//
//	0         1          17       25     33     41
//	+---------+----------+--------+------+------+------ ...
//	| version | topic id | handed | open | next | the consumer's data
//	| 1, u8   | 16 bytes | int64  | i64  | i64  |
//	+---------+----------+--------+------+------+------ ...
//
// Integers are big-endian. Clusters take 4,096 bytes of metadata.
const (
	cursorVersion  = 1
	cursorHead     = 41
	maxMetadata    = 4096
	maxCursorData  = maxMetadata/4*3 - cursorHead
	reserveOffsets = 4096                  // are noted as handed out ahead of that
	commitEvery    = 50 * time.Millisecond // of cursors that changed
)

var errCursor = errors.New("malformed cursor")

// cursor is how far a log's consumers are. Log.mu guards it.
type cursor struct {
	loaded        bool
	floor, handed message.Offset
	reserved      message.Offset // what the cluster was told of handed
	data          []byte
	open          int64
	next          message.Offset
	dirty         bool
}

// encode is the metadata. clean says that nothing is handed out beyond handed.
func (c *cursor) encode(gen kadm.TopicID, clean bool) string {
	handed := max(c.reserved, c.handed)
	if clean {
		handed = c.handed
	}
	b := append([]byte{cursorVersion}, gen[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(handed))
	b = binary.BigEndian.AppendUint64(b, uint64(c.open))
	b = binary.BigEndian.AppendUint64(b, uint64(c.next))
	return base64.StdEncoding.EncodeToString(append(b, c.data...))
}

// decodeCursor reads what encode wrote for a log; ok is false when it was another's.
func decodeCursor(metadata string, gen kadm.TopicID) (c cursor, ok bool, err error) {
	b, err := base64.StdEncoding.DecodeString(metadata)
	switch {
	case err != nil:
		return c, false, fmt.Errorf("%w: %w", errCursor, err)
	case len(b) < cursorHead || b[0] != cursorVersion:
		return c, false, fmt.Errorf("%w: %d bytes", errCursor, len(b))
	case string(b[1:17]) != string(gen[:]):
		return c, false, nil
	}
	c.handed = message.Offset(binary.BigEndian.Uint64(b[17:]))
	c.open = int64(binary.BigEndian.Uint64(b[25:]))
	c.next = message.Offset(binary.BigEndian.Uint64(b[33:]))
	if c.handed < 0 || c.open < 0 || c.next < 0 {
		return c, false, fmt.Errorf("%w: negative offsets", errCursor)
	}
	if len(b) > cursorHead {
		c.data = b[cursorHead:]
	}
	return c, true, nil
}

// LoadCursor waits for the lease and asks for what was committed.
func (l *Log) LoadCursor(ctx context.Context) (store.CursorState, error) {
	start, _, err := l.Bounds()
	if err != nil {
		return store.CursorState{}, err
	}
	waiting, cancel := context.WithTimeout(ctx, max(askTimeout, l.s.o.Session))
	defer cancel()
	if err := l.s.leases.await(waiting, l.name); err != nil {
		return store.CursorState{}, err
	}
	l.mu.Lock()
	loaded := l.cursor.loaded
	l.mu.Unlock()
	if !loaded {
		c, err := l.askCursor(ctx)
		if err != nil {
			return store.CursorState{}, err
		}
		l.mu.Lock()
		if !l.cursor.loaded {
			l.cursor = c
		}
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.cursor
	floor := max(c.floor, start)
	return store.CursorState{Floor: floor, Handed: max(c.handed, floor), Data: append([]byte(nil), c.data...)}, nil
}

func (l *Log) askCursor(ctx context.Context) (cursor, error) {
	kept, err := l.s.admin.FetchOffsetsForTopics(ctx, l.s.ownersGroup(), l.id.topic)
	if err != nil {
		return cursor{}, fmt.Errorf("cursor of log %s: %w", l.name, asStoreError(err))
	}
	o, ok := kept.Lookup(l.id.topic, l.id.part)
	if ok && o.Err != nil {
		return cursor{}, fmt.Errorf("cursor of log %s: %w", l.name, asStoreError(o.Err))
	}
	none := cursor{loaded: true}
	if !ok || o.At < 0 || o.Metadata == "" {
		return none, nil
	}
	c, mine, err := decodeCursor(o.Metadata, l.id.gen)
	if err != nil {
		return cursor{}, fmt.Errorf("cursor of log %s: %w", l.name, err)
	}
	if !mine {
		return none, nil
	}
	c.loaded, c.floor, c.reserved = true, message.Offset(o.At), c.handed
	return c, nil
}

// Progress notes how far the cursor is. Beyond what is reserved it waits until the
// cluster has a new reservation.
func (l *Log) Progress(floor, handed message.Offset) error {
	if err := l.usable(); err != nil {
		return err
	}
	l.s.leases.join()
	handed = max(floor, handed)
	if err := l.ProgressNow(floor, handed); !errors.Is(err, store.ErrNotYet) {
		return err
	}
	l.mu.Lock()
	c := &l.cursor
	c.loaded, c.floor, c.handed, c.dirty = true, floor, handed, true
	c.reserved = handed + reserveOffsets
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(l.s.ctx, askTimeout)
	defer cancel()
	err := l.s.leases.await(ctx, l.name)
	if err == nil {
		err = l.s.commitCursorsOf(ctx, []*Log{l}, false)
	}
	if err != nil {
		l.mu.Lock()
		l.cursor.reserved = 0 // the next call tries again
		l.mu.Unlock()
		if !errors.Is(err, store.ErrFenced) {
			err = fmt.Errorf("%w: %w", store.ErrBusy, err)
		}
	}
	return err
}

// ProgressNow notes how far the cursor is, if that is within what is reserved.
func (l *Log) ProgressNow(floor, handed message.Offset) error {
	l.mu.Lock()
	c := &l.cursor
	handed = max(floor, handed)
	same, reserved := c.floor == floor && c.handed == handed, handed <= c.reserved
	if reserved && !same {
		c.loaded, c.floor, c.handed, c.dirty = true, floor, handed, true
	}
	l.mu.Unlock()
	switch {
	case !reserved:
		return store.ErrNotYet
	case same:
		return nil
	case !l.s.leases.has(l.name):
		return fmt.Errorf("log %s: %w", l.name, store.ErrFenced)
	}
	return nil
}

// SaveCursor keeps the consumer's data with the next commit.
func (l *Log) SaveCursor(_ context.Context, data []byte, open int64, next message.Offset) error {
	if err := l.usable(); err != nil {
		return err
	}
	if len(data) > maxCursorData {
		return fmt.Errorf("log %s: %d bytes of a cursor's data, at most %d: %w", l.name, len(data), maxCursorData, store.ErrTooLarge)
	}
	l.s.leases.join()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.cursor
	c.loaded, c.dirty = true, true
	c.data, c.open, c.next = append([]byte(nil), data...), open, next
	return nil
}

// commitCursors commits those that changed, until the store closes.
func (s *Store) commitCursors() {
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			ctx, cancel := context.WithTimeout(s.ctx, askTimeout)
			s.note("keep the cursors", s.flushCursors(ctx, false))
			cancel()
		}
	}
}

// flushCursors commits what changed. clean says that nobody hands out more.
func (s *Store) flushCursors(ctx context.Context, clean bool) error {
	var dirty []*Log
	for _, l := range s.everyLog() {
		l.mu.Lock()
		if l.cursor.dirty || clean && l.cursor.reserved > l.cursor.handed {
			dirty = append(dirty, l)
		}
		l.mu.Unlock()
	}
	err := s.commitCursorsOf(ctx, dirty, clean)
	if errors.Is(err, store.ErrFenced) {
		return nil // who works on them is told by Progress
	}
	return err
}

// commitCursorsOf commits cursors of which this process has the leases, in one request.
func (s *Store) commitCursorsOf(ctx context.Context, logs []*Log, clean bool) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = s.ownersGroup()
	req.MemberID, req.Generation = s.leases.generation()
	var asked []*Log
	topics := map[string]int{} // where in the request
	for _, l := range logs {
		if !s.leases.has(l.name) || l.gone.Load() {
			continue
		}
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition = l.id.part
		l.mu.Lock()
		c := &l.cursor
		c.dirty = false
		metadata := c.encode(l.id.gen, clean)
		p.Offset, p.Metadata = int64(c.floor), &metadata
		l.mu.Unlock()
		i, known := topics[l.id.topic]
		if !known {
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic, t.TopicID = l.id.topic, l.id.gen
			i = len(req.Topics)
			topics[l.id.topic] = i
			req.Topics = append(req.Topics, t)
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
		asked = append(asked, l)
	}
	if len(asked) == 0 {
		if len(logs) == 1 && !s.leases.has(logs[0].name) {
			return fmt.Errorf("log %s: %w", logs[0].name, store.ErrFenced)
		}
		return nil
	}
	answer, err := req.RequestWith(ctx, s.client)
	if err == nil {
		for _, t := range answer.Topics {
			for _, p := range t.Partitions {
				if e := kerr.ErrorForCode(p.ErrorCode); e != nil && !errors.Is(e, kerr.UnknownTopicOrPartition) && !errors.Is(e, kerr.UnknownTopicID) {
					err = e
				}
			}
		}
	}
	if err == nil {
		return nil
	}
	for _, l := range asked {
		l.mu.Lock()
		l.cursor.dirty = true
		l.mu.Unlock()
	}
	return fmt.Errorf("commit cursors: %w", asStoreError(err))
}
