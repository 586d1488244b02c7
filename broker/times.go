package broker

import (
	"cmp"
	"errors"
	"math"
	"sort"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// OffsetForTime finds the first record of a partition with a timestamp at or after
// ms, exactly to the record; ok is false when there is none.
func (s *Session) OffsetForTime(p *Partition, ms int64) (offset message.Offset, timestamp int64, ok bool, err error) {
	if err := s.May(Look, OnQueue, p.q.Name); err != nil {
		return 0, 0, false, err
	}
	return p.offsetForTime(ms)
}

func (p *Partition) offsetForTime(ms int64) (offset message.Offset, timestamp int64, ok bool, err error) {
	ctx, cancel := asking()
	defer cancel()
	from, _, ok, err := p.log.OffsetForTime(ctx, ms)
	for ok && err == nil {
		var start, end message.Offset
		if start, end, err = p.log.Bounds(); err != nil {
			break
		}
		if from >= end {
			return 0, 0, false, nil
		}
		var v store.View
		if v, err = await(p.log, max(from, start), timeBytes); errors.Is(err, store.ErrOutOfRange) {
			err = nil // retention took it meanwhile
			continue
		}
		if err == nil {
			offset, timestamp, from, err = recordIn(v, max(from, start), ms)
		}
		if err == nil && offset != message.NoOffset {
			return offset, timestamp, true, nil
		}
	}
	if err != nil {
		return 0, 0, false, p.unreadable(err)
	}
	return 0, 0, false, nil
}

// timeBytes is how much is read at a time while a record of a time is looked for. The
// first batch has it, unless the log was cut within that: only then there are more.
const timeBytes = 16 << 10

// recordIn finds the first record in a view, at or after an offset, with a timestamp
// at or after ms. Without one it returns NoOffset and where the view ends.
func recordIn(v store.View, from message.Offset, ms int64) (offset message.Offset, timestamp int64, next message.Offset, err error) {
	defer v.Done()
	offset, next = message.NoOffset, from
	if v.Len() == 0 {
		return offset, 0, math.MaxInt64, nil
	}
	err = v.Use(func(data []byte) error {
		for len(data) > 0 && offset == message.NoOffset {
			var b batch.Batch
			var err error
			if b, data, err = batch.Next(data); err != nil {
				return err
			}
			next = max(next, message.Offset(b.LastOffset())+1)
			if b.MaxTimestamp() >= ms && b.Messages() > 0 {
				offset, timestamp = recordAt(b, from, ms)
			}
		}
		return nil
	})
	return offset, timestamp, next, err
}

// maxTimestampMs is later than any timestamp that is taken for a real one: the
// year 5138.
const maxTimestampMs = 100_000_000_000_000

// LatestOffset finds the record with the largest timestamp by halving the time in
// which it can lie: a log only tells whether there is anything at or after one.
func (s *Session) LatestOffset(p *Partition) (offset message.Offset, timestamp int64, ok bool, err error) {
	if err := s.May(Look, OnQueue, p.q.Name); err != nil {
		return 0, 0, false, err
	}
	ctx, cancel := asking()
	defer cancel()
	n, err := latestTime(func(ms int64) (bool, error) {
		_, _, ok, err := p.log.OffsetForTime(ctx, ms)
		return ok, err
	})
	if err != nil {
		return 0, 0, false, p.unreadable(err)
	}
	if offset, timestamp, ok, err = p.offsetForTime(n); ok || err != nil {
		return offset, timestamp, ok, err
	}
	// The log begins within the batch that has it, and behind the record itself.
	n, err = latestTime(func(ms int64) (bool, error) {
		_, _, ok, err := p.offsetForTime(ms)
		return ok, err
	})
	if err != nil {
		return 0, 0, false, err
	}
	return p.offsetForTime(n)
}

// latestTime is the largest of the times for which reaches says yes, or 0.
func latestTime(reaches func(ms int64) (bool, error)) (int64, error) {
	var failed error
	n := sort.Search(maxTimestampMs, func(ms int) bool {
		ok, err := reaches(int64(ms) + 1)
		failed = cmp.Or(failed, err)
		return !ok
	})
	return int64(n), failed
}

// recordAt finds the first record of a batch, at or after an offset, with a timestamp
// at or after ms, or else NoOffset. Of a batch that can't be looked into, or only with
// much memory, its first record must do.
func recordAt(b batch.Batch, from message.Offset, ms int64) (offset message.Offset, timestamp int64) {
	base := message.Offset(b.BaseOffset())
	first := max(from, base)
	if b.Attributes()&batch.LogAppendTime != 0 {
		return first, b.MaxTimestamp()
	}
	s := message.Seek{BaseMs: b.BaseTimestamp(), Number: int32(first - base), Ms: ms}
	_, err := message.Walk(&s, b.Codec(), b.Records(), message.MaxUnpackedBytes, message.OrdinaryBytes)
	switch {
	case s.Found:
		return base + message.Offset(s.At), s.TimeMs
	case err != nil:
		return first, b.MaxTimestamp()
	}
	return message.NoOffset, 0
}
