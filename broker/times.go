package broker

import (
	"sort"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
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
	base, timestamp, ok, err := p.log.OffsetForTime(ms)
	if err != nil {
		return 0, 0, false, p.unreadable(err)
	}
	if !ok {
		return 0, 0, false, nil
	}
	v, err := p.log.Read(base, 1)
	if err != nil || v.Len() == 0 {
		return base, timestamp, true, nil // retention took it meanwhile: the batch's start must do
	}
	defer v.Done()
	err = v.Use(func(data []byte) error {
		b, _, err := batch.Next(data)
		if err != nil {
			return err
		}
		if offset, ms, ok = recordAt(b, ms); !ok {
			offset, ms = base, timestamp
		}
		return nil
	})
	if err != nil {
		return 0, 0, false, p.unreadable(err)
	}
	return offset, ms, true, nil
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
	var failed error
	n := sort.Search(maxTimestampMs, func(ms int) bool {
		_, _, ok, err := p.log.OffsetForTime(int64(ms) + 1)
		if err != nil {
			failed = err
		}
		return !ok
	})
	if failed != nil {
		return 0, 0, false, p.unreadable(failed)
	}
	return p.offsetForTime(int64(n))
}

// recordAt finds the first record of a batch with a timestamp at or after ms.
func recordAt(b batch.Batch, ms int64) (offset message.Offset, timestamp int64, ok bool) {
	if b.Attributes()&batch.LogAppendTime != 0 {
		return message.Offset(b.BaseOffset()), b.MaxTimestamp(), b.MaxTimestamp() >= ms
	}
	raw := b.Records()
	if b.Codec() != message.CodecNone {
		var err error
		if raw, err = message.Unpack(nil, b.Codec(), raw); err != nil {
			return 0, 0, false
		}
	}
	records := message.NewRecords(raw)
	var rec message.Record
	for {
		more, err := records.Next(&rec)
		if err != nil || !more {
			return 0, 0, false
		}
		if at := b.BaseTimestamp() + rec.TimestampDelta; at >= ms {
			return message.Offset(b.BaseOffset() + int64(rec.OffsetDelta)), at, true
		}
	}
}
