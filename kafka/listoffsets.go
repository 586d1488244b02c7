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
	askTiered     = -5 // the last that lies elsewhere: there is none
	askUpload     = -6 // the first that is to go there: there is none
)

// Key 2, ListOffsets, versions 0 to 11.
//
//	-1  the end; for who reads what is committed the last stable offset
//	-2  the start
//	-3  the record with the largest timestamp (version 7), else offset -1
//	-4  the start of what is kept here (version 8), which is all
//	-5  the end of what lies elsewhere (version 9), -6 the start of what is on its way there (version 11): -1
//	t   the first record with a timestamp at or after t, else offset -1
//
// Version 0 is told offsets at which a reader may begin, so many at most as it asks for: the one it means,
// and the start.
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
			switch n := named[place{t.Topic, p.Partition}]; {
			case n == answeredOnce:
				continue
			case err != nil:
				one.ErrorCode = int16(codeOf(err))
			case n > 1:
				named[place{t.Topic, p.Partition}] = answeredOnce
				one.ErrorCode = int16(wire.InvalidRequest) // as Kafka has it: which one is meant?
			default:
				one.ErrorCode = int16(c.listOne(r, known, &p, &one))
			}
			out.Partitions = append(out.Partitions, one)
		}
		if len(out.Partitions) > 0 || len(t.Partitions) == 0 {
			res.Topics = append(res.Topics, out)
		}
	}
	return res
}

// epochCode is what a client hears that takes the leader's epoch for that one; -1 is any. Only Fetch takes all below zero for that.
func epochCode(epoch int32) wire.Code {
	switch {
	case epoch > leaderEpoch:
		return wire.UnknownLeaderEpoch
	case epoch < -1:
		return wire.FencedLeaderEpoch
	}
	return wire.None
}

// askedSince is the first version of a question.
var askedSince = map[int64]int16{askLatest: 7, askLocalStart: 8, askTiered: 9, askUpload: 11}

func (c *conn) listOne(r *kmsg.ListOffsetsRequest, t *topic, p *kmsg.ListOffsetsRequestTopicPartition, out *kmsg.ListOffsetsResponseTopicPartition) wire.Code {
	part := t.partition(p.Partition)
	if t.offsets {
		at, code := c.boundsOfOffsets(p.Partition, p.Timestamp)
		out.Offset, out.LeaderEpoch = at, leaderEpoch
		if r.Version == 0 && at >= 0 && p.MaxNumOffsets > 0 {
			out.OldStyleOffsets = []int64{at}
		}
		return code
	}
	switch {
	case t.exchange != nil && p.Partition == 0:
		out.Offset, out.LeaderEpoch = 0, leaderEpoch // nothing to read there
		return wire.None
	case part == nil:
		return wire.UnknownTopicOrPartition
	case epochCode(p.CurrentLeaderEpoch) != wire.None:
		return epochCode(p.CurrentLeaderEpoch)
	case r.Version < askedSince[p.Timestamp], p.Timestamp < askUpload:
		return wire.UnsupportedVersion
	}
	start, end, err := c.session.Bounds(part)
	if err == nil && r.IsolationLevel == readCommitted {
		end, err = c.session.StableOffset(part)
	}
	if err != nil {
		return codeOf(err)
	}
	out.LeaderEpoch = leaderEpoch
	if r.Version == 0 {
		return c.listOld(part, p, out, int64(start), int64(end))
	}
	switch {
	case p.Timestamp == askEnd:
		out.Offset = int64(end)
	case p.Timestamp == askStart, p.Timestamp == askLocalStart:
		out.Offset = int64(start)
	case p.Timestamp == askLatest:
		return foundAt(out)(c.session.LatestOffset(part))
	case p.Timestamp < 0:
		out.LeaderEpoch = -1
	default:
		at, ms, ok, err := c.session.OffsetForTime(part, p.Timestamp)
		return foundAt(out)(at, ms, ok && at < end, err)
	}
	return wire.None
}

// listOld is listOne for version 0.
func (c *conn) listOld(part *broker.Partition, p *kmsg.ListOffsetsRequestTopicPartition, out *kmsg.ListOffsetsResponseTopicPartition, start, end int64) wire.Code {
	at := end
	switch {
	case p.Timestamp == askStart:
		at = start
	case p.Timestamp >= 0:
		offset, _, ok, err := c.session.OffsetForTime(part, p.Timestamp)
		if err != nil {
			return codeOf(err)
		}
		if ok {
			at = int64(offset)
		}
	}
	for _, o := range [...]int64{at, start} {
		if len(out.OldStyleOffsets) < int(p.MaxNumOffsets) && (len(out.OldStyleOffsets) == 0 || o < at) {
			out.OldStyleOffsets = append(out.OldStyleOffsets, o)
		}
	}
	return wire.None
}

// Key 23, OffsetForLeaderEpoch, versions 0 to 4. There was never more than one epoch.
func (c *conn) offsetForLeaderEpoch(r *kmsg.OffsetForLeaderEpochRequest) kmsg.Response {
	res := kmsg.NewPtrOffsetForLeaderEpochResponse()
	for _, t := range r.Topics {
		out := kmsg.NewOffsetForLeaderEpochResponseTopic()
		out.Topic = t.Topic
		known, err := c.lookup(broker.Look, t.Topic)
		for _, p := range t.Partitions {
			one := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			one.Partition, one.LeaderEpoch, one.EndOffset = p.Partition, -1, -1
			part := known.partition(p.Partition)
			code := codeOf(err)
			switch {
			case err != nil:
			case part == nil:
				code = wire.UnknownTopicOrPartition
			case epochCode(p.CurrentLeaderEpoch) != wire.None:
				code = epochCode(p.CurrentLeaderEpoch)
			case p.LeaderEpoch < -1: // before the first one: it ended where that began
				start, _, err := c.session.Bounds(part)
				if code = codeOf(err); err == nil {
					one.LeaderEpoch, one.EndOffset = p.LeaderEpoch, int64(start)
				}
			case p.LeaderEpoch == leaderEpoch:
				_, end, err := c.session.Bounds(part)
				if code = codeOf(err); err == nil {
					one.LeaderEpoch, one.EndOffset = leaderEpoch, int64(end)
				}
			}
			one.ErrorCode = int16(code)
			out.Partitions = append(out.Partitions, one)
		}
		res.Topics = append(res.Topics, out)
	}
	return res
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
