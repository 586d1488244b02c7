package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
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
	named := map[place]int{}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			named[place{t.Topic, p.Partition}]++
		}
	}
	for _, t := range r.Topics {
		out := kmsg.NewListOffsetsResponseTopic()
		out.Topic = t.Topic
		known, err := c.lookup(broker.Look, t.Topic)
		for _, p := range t.Partitions {
			one := kmsg.NewListOffsetsResponseTopicPartition()
			one.Partition, one.Timestamp, one.Offset = p.Partition, -1, -1
			switch {
			case err != nil:
				one.ErrorCode = int16(codeOf(err))
			case named[place{t.Topic, p.Partition}] > 1:
				one.ErrorCode = int16(wire.InvalidRequest) // as Kafka has it: which one is meant?
			default:
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
	case t.exchange != nil && p.Partition == 0:
		out.Offset, out.LeaderEpoch = 0, leaderEpoch // nothing to read there
		return wire.None
	case part == nil:
		return wire.UnknownTopicOrPartition
	case p.CurrentLeaderEpoch > leaderEpoch:
		return wire.UnknownLeaderEpoch
	}
	start, end, err := c.session.Bounds(part)
	if err != nil {
		return codeOf(err)
	}
	out.LeaderEpoch = leaderEpoch
	switch {
	case p.Timestamp == askEnd:
		out.Offset = int64(end)
	case p.Timestamp == askStart, p.Timestamp == askLocalStart:
		out.Offset = int64(start)
	case p.Timestamp == askLatest:
		return foundAt(out)(c.session.LatestOffset(part))
	case p.Timestamp < 0:
		return wire.UnsupportedVersion
	default:
		return foundAt(out)(c.session.OffsetForTime(part, p.Timestamp))
	}
	return wire.None
}

// foundAt fills in what a look-up by time found.
func foundAt(out *kmsg.ListOffsetsResponseTopicPartition) func(message.Offset, int64, bool, error) wire.Code {
	return func(offset message.Offset, timestamp int64, ok bool, err error) wire.Code {
		switch {
		case err != nil:
			return codeOf(err)
		case ok:
			out.Offset, out.Timestamp = int64(offset), timestamp
		default:
			out.LeaderEpoch = -1
		}
		return wire.None
	}
}
