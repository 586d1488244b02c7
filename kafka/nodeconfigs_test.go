package kafka

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/kafka/wire"
)

func alterNodeOf(name string, op kmsg.IncrementalAlterConfigOp) kmsg.Request {
	q := kmsg.NewPtrIncrementalAlterConfigsRequest()
	node := kmsg.NewIncrementalAlterConfigsRequestResource()
	node.ResourceType, node.ResourceName = kmsg.ConfigResourceTypeBroker, name
	for _, setting := range []string{"leader.replication.throttled.rate", "follower.replication.throttled.rate"} {
		one := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		one.Name, one.Op = setting, op
		if op != kmsg.IncrementalAlterConfigOpDelete {
			one.Value = kmsg.StringPtr("1000")
		}
		node.Configs = append(node.Configs, one)
	}
	q.Resources = append(q.Resources, node)
	return q
}

// What nobody has set of the broker can be taken away, as kafka-reassign-partitions does; nothing can be set.
func TestOfTheBrokerNothingCanBeSet(t *testing.T) {
	c := newRig(t, nil).raw()
	for _, at := range []struct {
		name string
		op   kmsg.IncrementalAlterConfigOp
		want wire.Code
		says string
	}{
		{"1", kmsg.IncrementalAlterConfigOpDelete, wire.None, ""},
		{"", kmsg.IncrementalAlterConfigOpDelete, wire.None, ""},
		{"2", kmsg.IncrementalAlterConfigOpDelete, wire.InvalidRequest, "there is one broker, number 1"},
		{"1", kmsg.IncrementalAlterConfigOpSet, wire.InvalidRequest, "leader.replication.throttled.rate"},
		{"", kmsg.IncrementalAlterConfigOpAppend, wire.InvalidRequest, "leader.replication.throttled.rate"},
	} {
		c.send(alterNodeOf(at.name, at.op), 1)
		var res kmsg.IncrementalAlterConfigsResponse
		c.receive(&res, 1)
		got := res.Resources[0]
		text := ""
		if got.ErrorMessage != nil {
			text = *got.ErrorMessage
		}
		if got.ErrorCode != int16(at.want) || !strings.Contains(text, at.says) || at.says == "" && text != "" {
			t.Errorf("broker %q, operation %d: %d %q", at.name, at.op, got.ErrorCode, text)
		}
	}
}
