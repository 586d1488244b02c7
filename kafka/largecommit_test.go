package kafka

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// A commit of 1.6 MB is no reason to end the connection: each partition has its answer.
func TestALargeCommitIsAnsweredByPartition(t *testing.T) {
	const partitions = 400
	r := newRig(t, nil)
	r.topic("t", partitions, nil)
	c := r.raw()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = "g", -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = "t"
	want := func(i int) wire.Code {
		switch {
		case i >= partitions:
			return wire.UnknownTopicOrPartition
		case i%10 == 0:
			return wire.OffsetMetadataTooLarge
		}
		return wire.None
	}
	for i := range partitions + 10 {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		note := strings.Repeat("n", 4000)
		if i%10 == 0 {
			note = strings.Repeat("n", 4097)
		}
		p.Partition, p.Offset, p.Metadata = int32(i), int64(i), &note
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	for _, version := range []int16{2, 7, 8} {
		c.send(req, version)
		var res kmsg.OffsetCommitResponse
		c.receive(&res, version)
		if len(res.Topics[0].Partitions) != partitions+10 {
			t.Fatalf("version %d: %d answers", version, len(res.Topics[0].Partitions))
		}
		for i, p := range res.Topics[0].Partitions {
			if got := wire.Code(p.ErrorCode); int(p.Partition) != i || got != want(i) {
				t.Fatalf("version %d, partition %d: %d, want %d", version, i, got, want(i))
			}
		}
	}
	all := kmsg.NewPtrOffsetFetchRequest()
	all.Group = "g"
	c.send(all, 5)
	var fetched kmsg.OffsetFetchResponse
	if c.receive(&fetched, 5); len(fetched.Topics) != 1 || len(fetched.Topics[0].Partitions) != partitions*9/10 {
		t.Errorf("%+v", fetched)
	}
}
