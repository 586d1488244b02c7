package kafka

import (
	"encoding/binary"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// offsetsTopic is the topic in which Kafka's brokers keep what groups commit. Here it can be read, and nothing else: it is made of
// what groups have. Who asks for all topics is not told of it.
const offsetsTopic = "__consumer_offsets"

var offsetsID = feedID(offsetsTopic)

// lookupOffsets finds it for what is to be done with it.
func (c *conn) lookupOffsets(verb broker.Verb) (*topic, error) {
	t := &topic{name: offsetsTopic, id: offsetsID, offsets: true}
	return t, t.allow(c, verb)
}

// boundsOfOffsets is listOne of it: of its beginning and its end.
func (c *conn) boundsOfOffsets(index int32, timestamp int64) (offset int64, code wire.Code) {
	if index < 0 || index >= group.OffsetPartitions {
		return -1, wire.UnknownTopicOrPartition
	}
	start, end := c.groups.OffsetLog().Bounds(int(index))
	switch timestamp {
	case askEnd:
		return end, wire.None
	case askStart, askLocalStart:
		return start, wire.None
	}
	return -1, wire.None
}

// readOffsets makes the batch that a fetch of it is answered.
func (c *conn) readOffsets(p wire.FetchPartition, left int, state *wire.FetchState) ([]byte, wire.Code) {
	switch {
	case p.Index < 0 || p.Index >= group.OffsetPartitions:
		return nil, wire.UnknownTopicOrPartition
	case c.fetch.req.Version < format2Since:
		return nil, wire.UnsupportedVersion
	}
	log := c.groups.OffsetLog()
	start, end := log.Bounds(int(p.Index))
	if p.Offset < start || p.Offset > end {
		return nil, wire.OffsetOutOfRange
	}
	state.HighWatermark, state.LastStableOffset, state.LogStartOffset = end, end, start
	list := log.Read(int(p.Index), p.Offset, min(left, int(p.MaxBytes), smallFetchBytes))
	c.fetch.count += int64(len(list))
	data := batchOf(list)
	state.Records = len(data)
	return data, wire.None
}

// batchOf makes a record batch.
func batchOf(list []group.LoggedOffset) []byte {
	if len(list) == 0 {
		return nil
	}
	data := make([]byte, batch.HeaderBytes)
	base, last := list[0].Offset, list[len(list)-1].Offset
	baseMs, maxMs := list[0].Time.UnixMilli(), int64(0)
	var rec []byte
	for i := range list {
		r := &list[i]
		ms := r.Time.UnixMilli()
		maxMs = max(maxMs, ms)
		rec = append(rec[:0], 0)
		rec = binary.AppendVarint(rec, ms-baseMs)
		rec = binary.AppendVarint(rec, r.Offset-base)
		rec = append(binary.AppendVarint(rec, int64(len(r.Key))), r.Key...)
		if r.Value == nil {
			rec = binary.AppendVarint(rec, -1)
		} else {
			rec = append(binary.AppendVarint(rec, int64(len(r.Value))), r.Value...)
		}
		rec = append(rec, 0) // headers
		data = append(binary.AppendVarint(data, int64(len(rec))), rec...)
	}
	b := batch.Batch(data)
	b.Seal(batch.Header{LastOffsetDelta: int32(last - base), BaseTimestamp: baseMs, MaxTimestamp: maxMs, ProducerID: batch.NoProducer,
		ProducerEpoch: -1, BaseSequence: -1, Count: int32(len(list))})
	b.SetBaseOffset(base)
	return data
}
