package kafka

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/kafka/wire"
)

func TestRequestsWithAbsurdlyManyElementsCloseTheConnection(t *testing.T) {
	r := newRig(t, nil)
	flat := kmsg.NewPtrMetadataRequest()
	for range maxElements + 1 {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr("")
		flat.Topics = append(flat.Topics, topic)
	}
	groups := kmsg.NewPtrDescribeGroupsRequest()
	groups.Groups = make([]string, maxElements+1)
	nested := kmsg.NewPtrOffsetFetchRequest()
	topic := kmsg.NewOffsetFetchRequestTopic()
	topic.Topic = "t"
	topic.Partitions = make([]int32, maxElements)
	nested.Group, nested.Topics = "g", append(nested.Topics, topic)
	for _, c := range []struct {
		req     kmsg.Request
		version int16
	}{{flat, 1}, {groups, 0}, {nested, 1}} {
		client := r.raw()
		client.send(c.req, c.version)
		client.closed(kmsg.NameForKey(c.req.Key()))
	}
	// As many as are allowed are answered.
	flat.Topics = flat.Topics[:maxElements]
	client := r.raw()
	client.send(flat, 1)
	res := kmsg.NewPtrMetadataResponse()
	if client.receive(res, 1); len(res.Topics) != maxElements {
		t.Errorf("%d topics", len(res.Topics))
	}
}

func TestMembersWithAbsurdlyManyProtocolsAreRefused(t *testing.T) {
	client := newRig(t, nil).raw()
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = "g", "consumer", 10000, 10000
	for i := range maxProtocols + 1 {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name = fmt.Sprint("p", i)
		req.Protocols = append(req.Protocols, p)
	}
	client.send(req, 2)
	res := kmsg.NewPtrJoinGroupResponse()
	if client.receive(res, 2); res.ErrorCode != int16(wire.InconsistentGroupProtocol) {
		t.Errorf("error %d", res.ErrorCode)
	}
}
