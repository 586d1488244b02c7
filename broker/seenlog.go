package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// The names that a durable exchange remembers stand in a log of its own, one in the value of
// each record, in the order in which they were remembered. What is below the floor of its
// cursor is forgotten, and its segments go. A name, version 1; integers are little-endian:
//
//	0      1                 17        25
//	┌──────┬─────────────────┬─────────┐
//	│ vers │ id              │ free    │   id: half of the SHA-256 of the name
//	│ u8   │ 16 bytes        │ i64     │   free: when the name is free again, ms since 1970
//	└──────┴─────────────────┴─────────┘
//
// A name is written when its message is as durable as its confirm says, and not before: what
// a crash takes was not confirmed, and its name is free.
const (
	seenVersion = 1
	seenBytes   = 25

	// seenRecordBytes is about what a name takes in the log that comes with others.
	seenRecordBytes = 40

	// noteNames is how many names are forgotten before the floor is noted.
	noteNames = 1024
)

var errSeen = errors.New("a remembered name is damaged")

func appendSeen(buf []byte, id messageID, freeMs int64) []byte {
	buf = append(append(buf, seenVersion), id[:]...)
	return binary.LittleEndian.AppendUint64(buf, uint64(freeMs))
}

func decodeSeen(value []byte) (id messageID, freeMs int64, err error) {
	switch {
	case len(value) > 0 && value[0] > seenVersion:
		return id, 0, fmt.Errorf("version %d, this program reads up to %d", value[0], seenVersion)
	case len(value) != seenBytes || value[0] != seenVersion:
		return id, 0, fmt.Errorf("%w: %d bytes", errSeen, len(value))
	}
	copy(id[:], value[1:])
	if freeMs = int64(binary.LittleEndian.Uint64(value[17:])); freeMs < 0 {
		return id, 0, fmt.Errorf("%w: free at %d", errSeen, freeMs)
	}
	return id, freeMs, nil
}

// seenLog says how the log of an exchange's names is kept. No queue is made of it when
// definitions are lost.
type seenLog struct{ vhost, exchange string }

// LogName has no space, behind which a queue's name would be looked for.
func (o seenLog) LogName() string {
	return strings.ReplaceAll("deduplication:"+o.vhost+"/"+o.exchange, " ", "_")
}

// Definition is of no queue.
func (o seenLog) Definition() string { return "" }

func (s *seen) logOptions(v *VHost) store.LogOptions {
	return store.LogOptions{Owner: seenLog{v.Name, s.x.Name}, Retention: store.Retention{Consumed: true},
		SegmentBytes: min(max(int64(s.size)*seenRecordBytes, 64<<10), 16<<20)}
}

// make makes the log of a new exchange.
func (s *seen) make(v *VHost) error {
	if !s.lasting {
		return nil
	}
	ctx, cancel := asking()
	defer cancel()
	ids, err := v.b.store.NewLogs(ctx, s.logOptions(v), nil, 1)
	if err != nil {
		return err
	}
	return s.open(v, ids)
}

// open opens the log of an earlier start, or a new one.
func (s *seen) open(v *VHost, ids []store.LogID) error {
	if !s.lasting {
		return nil
	}
	if len(ids) != 1 {
		return fail(Internal, "exchange '%s' in vhost '%s' has %d logs for its names, not 1", s.x.Name, v.Name, len(ids))
	}
	q := v.newQueue("deduplication." + s.x.Name)
	q.Durable, q.hidden = true, true
	q.settings.Store(v.b.settingsOf(classic, nil, matched{}))
	part, err := openPartition(q, 0, ids[0], s.logOptions(v))
	if err != nil {
		return err
	}
	q.parts.Store(&[]*Partition{part})
	s.log = part
	return nil
}

// load reads what an earlier start remembered, at the first use. mu is held.
func (s *seen) load(nowMs int64) error {
	if s.loaded || s.log == nil {
		return nil
	}
	ctx, cancel := asking()
	defer cancel()
	st, err := s.log.log.LoadCursor(ctx)
	if err != nil {
		return err
	}
	start, end, err := s.log.log.Bounds()
	if err != nil {
		return err
	}
	s.ids, s.ring, s.bad = nameMap[remembered]{}, slots{}, 0
	s.noted = max(st.Floor, start)
	err = s.log.records(s.noted, end-1, func(o message.Offset, _ int64, rec *message.Record) {
		id, freeMs, err := decodeSeen(rec.Value)
		if err != nil {
			s.bad++
		} else if freeMs > nowMs {
			s.remember(slot{id, freeMs, o}, nowMs)
		}
	})
	if err != nil {
		return err
	}
	if s.bad > 0 {
		s.b.opts.Log.Error("names that an exchange remembers can't be read; their messages may come again", "exchange", s.x.Name, "names", s.bad)
	}
	s.loaded = true
	return nil
}

// write writes names down and remembers them. It may wait for a disk.
func (s *seen) write(names []newName, under *naming) error {
	var b message.Builder
	var value []byte
	nowMs := s.b.opts.Now().UnixMilli()
	for _, n := range names {
		value = appendSeen(value[:0], n.id, n.dueMs)
		b.AddRecord(&message.Record{Value: value}, nowMs)
	}
	at, err := s.log.log.Append(b.Seal())
	if err != nil {
		if s.log.removed.Load() {
			return nil // the exchange is gone, and its messages are where they belong
		}
		return fmt.Errorf("names of exchange '%s': %w", s.x.Name, err)
	}
	ctx, cancel := asking()
	defer cancel()
	base, err := at.Base(ctx)
	if err != nil {
		return err
	}
	s.keep(names, under, base, nowMs)
	s.note(base + message.Offset(len(names)))
	return nil
}

// note lets go of what is forgotten, of a log that ends there.
func (s *seen) note(end message.Offset) {
	s.mu.Lock()
	floor := end
	if s.ring.n > 0 {
		floor = s.ring.first().offset
	}
	due := floor >= s.noted+noteNames
	if due {
		s.noted = floor
	}
	s.mu.Unlock()
	if due && s.log.log.Progress(floor, floor) == nil { // or the next time; the log tells of failures itself
		s.log.log.Release(floor)
	}
}

// noteForgotten is note for what is forgotten while nothing is remembered.
func (s *seen) noteForgotten() {
	if s.log == nil {
		return
	}
	s.mu.Lock()
	loaded := s.loaded
	s.mu.Unlock()
	if _, end, err := s.log.log.Bounds(); loaded && err == nil {
		s.note(end)
	}
}
