package kafka

import (
	"sort"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

// Timestamps of ListOffsets that are questions of their own.
const (
	askEnd        = -1
	askStart      = -2
	askLatest     = -3 // the record with the largest timestamp
	askLocalStart = -4 // of tiered storage: the same as the start
)

// Key 2, ListOffsets, versions 1 to 7.
//
//	-1  the end; the same in both isolation levels
//	-2  the start
//	-3  the record with the largest timestamp (version 7), else offset -1
//	t   the first record with a timestamp at or after t, else offset -1
func (c *conn) listOffsets(r *kmsg.ListOffsetsRequest) kmsg.Response {
	res := kmsg.NewPtrListOffsetsResponse()
	for _, t := range r.Topics {
		out := kmsg.NewListOffsetsResponseTopic()
		out.Topic = t.Topic
		known, err := c.lookup(broker.Look, t.Topic)
		for _, p := range t.Partitions {
			one := kmsg.NewListOffsetsResponseTopicPartition()
			one.Partition, one.Timestamp, one.Offset = p.Partition, -1, -1
			if one.ErrorCode = int16(codeOf(err)); err == nil {
				one.ErrorCode = int16(c.listOne(known, &p, &one))
			}
			out.Partitions = append(out.Partitions, one)
		}
		res.Topics = append(res.Topics, out)
	}
	return res
}

func (c *conn) listOne(t *topic, p *kmsg.ListOffsetsRequestTopicPartition, out *kmsg.ListOffsetsResponseTopicPartition) wire.Code {
	part := t.partition(p.Partition)
	switch {
	case t.feed != nil && p.Partition == 0:
		out.Offset, out.LeaderEpoch = 0, leaderEpoch // nothing to read there
		return wire.None
	case part == nil:
		return wire.UnknownTopicOrPartition
	case p.CurrentLeaderEpoch > leaderEpoch:
		return wire.UnknownLeaderEpoch
	}
	start, end, err := part.Bounds()
	if err != nil {
		return wire.StorageError
	}
	out.LeaderEpoch = leaderEpoch
	switch {
	case p.Timestamp == askEnd:
		out.Offset = int64(end)
	case p.Timestamp == askStart, p.Timestamp == askLocalStart:
		out.Offset = int64(start)
	case p.Timestamp == askLatest:
		return latest(part, out)
	case p.Timestamp < 0:
		return wire.UnsupportedVersion
	default:
		return offsetAt(part, p.Timestamp, out)
	}
	return wire.None
}

// offsetAt looks a timestamp up, exactly to the record.
func offsetAt(part *broker.Partition, ms int64, out *kmsg.ListOffsetsResponseTopicPartition) wire.Code {
	base, timestamp, ok, err := part.Log().OffsetForTime(ms)
	if err != nil {
		return wire.StorageError
	}
	if !ok {
		out.LeaderEpoch = -1
		return wire.None
	}
	out.Offset, out.Timestamp = int64(base), timestamp
	v, err := part.Log().Read(base, 1)
	if err != nil || len(v.Data) == 0 {
		return wire.None // retention took it meanwhile: the batch's start must do
	}
	defer v.Done()
	if b, _, err := batch.Next(v.Data); err == nil {
		if offset, at, ok := recordAt(b, ms); ok {
			out.Offset, out.Timestamp = offset, at
		}
	}
	return wire.None
}

// latest finds the record with the largest timestamp by halving the time in
// which it can lie: a log only tells whether there is anything at or after one.
func latest(part *broker.Partition, out *kmsg.ListOffsetsResponseTopicPartition) wire.Code {
	var failed error
	n := sort.Search(maxTimestampMs, func(ms int) bool {
		_, _, ok, err := part.Log().OffsetForTime(int64(ms) + 1)
		if err != nil {
			failed = err
		}
		return !ok
	})
	if failed != nil {
		return wire.StorageError
	}
	return offsetAt(part, int64(n), out)
}

// maxTimestampMs is later than any timestamp that is taken for a real one: the
// year 5138.
const maxTimestampMs = 100_000_000_000_000

// recordAt finds the first record of a batch with a timestamp at or after ms.
func recordAt(b batch.Batch, ms int64) (offset, timestamp int64, ok bool) {
	if b.Attributes()&batch.LogAppendTime != 0 {
		return b.BaseOffset(), b.MaxTimestamp(), b.MaxTimestamp() >= ms
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
			return b.BaseOffset() + int64(rec.OffsetDelta), at, true
		}
	}
}
