package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/kafka/wire"
)

func TestNamesOfKafkasOwnTopicsAreNotMadeByAsking(t *testing.T) {
	r := newRig(t, nil)
	for _, name := range internalTopics {
		c := r.raw()
		for _, version := range []int16{1, 4, 9, 12} {
			req := kmsg.NewPtrMetadataRequest()
			topic := kmsg.NewMetadataRequestTopic()
			topic.Topic = &name
			req.Topics, req.AllowAutoTopicCreation = append(req.Topics, topic), true
			for range 2 {
				c.send(req, version)
				var res kmsg.MetadataResponse
				if c.receive(&res, version); res.Topics[0].ErrorCode != int16(wire.UnknownTopicOrPartition) {
					t.Errorf("%s, Metadata %d: %d", name, version, res.Topics[0].ErrorCode)
				}
			}
		}
		if got := c.produce(name, -1, makeBatch(nil, "a")); wire.Code(got.ErrorCode) != wire.InvalidTopic {
			t.Errorf("%s, Produce: %d", name, got.ErrorCode)
		}
		create := kmsg.NewPtrCreateTopicsRequest()
		one := kmsg.NewCreateTopicsRequestTopic()
		one.Topic, one.NumPartitions, one.ReplicationFactor = name, 1, 1
		create.Topics = append(create.Topics, one)
		c.send(create, 5)
		var created kmsg.CreateTopicsResponse
		if c.receive(&created, 5); created.Topics[0].ErrorCode != int16(wire.InvalidTopic) {
			t.Errorf("%s, CreateTopics: %d", name, created.Topics[0].ErrorCode)
		}
	}
	if got := r.raw().produce("unknown", -1, makeBatch(nil, "a")); wire.Code(got.ErrorCode) != wire.UnknownTopicOrPartition {
		t.Errorf("any other: %d", got.ErrorCode)
	}
}

func TestATopicIsNamedByItsIDWhateverStandsBeside(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	v, err := r.broker.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	q, err := v.Queue("t")
	if err != nil {
		t.Fatal(err)
	}
	c := r.raw()
	for _, beside := range []*string{nil, kmsg.StringPtr(""), kmsg.StringPtr("other")} {
		for _, version := range []int16{10, 12} {
			req := kmsg.NewPtrMetadataRequest()
			topic := kmsg.NewMetadataRequestTopic()
			topic.Topic, topic.TopicID = beside, q.TopicID
			req.Topics = append(req.Topics, topic)
			c.send(req, version)
			var res kmsg.MetadataResponse
			if c.receive(&res, version); res.Topics[0].ErrorCode != 0 || deref(res.Topics[0].Topic) != "t" {
				t.Errorf("Metadata %d, name %v: %+v", version, beside, res.Topics[0])
			}
		}
	}
	for _, d := range []struct {
		name *string
		want wire.Code
	}{{kmsg.StringPtr("t"), wire.InvalidRequest}, {kmsg.StringPtr(""), wire.None}, {nil, wire.UnknownTopicID}} {
		req := kmsg.NewPtrDeleteTopicsRequest()
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic, topic.TopicID = d.name, q.TopicID
		req.Topics = append(req.Topics, topic)
		c.send(req, 6)
		var res kmsg.DeleteTopicsResponse
		if c.receive(&res, 6); wire.Code(res.Topics[0].ErrorCode) != d.want {
			t.Errorf("DeleteTopics, name %v: %d, want %d", d.name, res.Topics[0].ErrorCode, d.want)
		}
	}
}
