package kafka

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/internal/logged"
	"github.com/leveret-mq/leveret/kafka/wire"
)

func TestRefusalsStandInTheLogOnceACause(t *testing.T) {
	log := &logged.Lines{}
	r := newRig(t, func(o *Options) {
		o.Logger = log.Logger()
		o.NoAutoCreate = true
	})
	r.topic("t", 1, map[string]string{"max.message.bytes": "100"})
	for range 20 { // tools that try again for ever, each time anew
		c := r.raw()
		md := kmsg.NewPtrMetadataRequest()
		md.AllowAutoTopicCreation = true
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr("missing")
		md.Topics = append(md.Topics, topic)
		c.send(md, 9)
		var res kmsg.MetadataResponse
		c.receive(&res, 9)
		c.send(produceRequest("t", 0, -1, makeBatch(nil, strings.Repeat("x", 1000))), 9)
		var stored kmsg.ProduceResponse
		if c.receive(&stored, 9); stored.Topics[0].Partitions[0].ErrorCode != int16(wire.MessageTooLarge) {
			t.Fatalf("%+v", stored)
		}
		md.Topics[0].Topic = &internalTopics[0] // whether it is there is only asked
		c.send(md, 9)
		c.receive(&res, 9)
		heartbeat := kmsg.NewPtrHeartbeatRequest() // this one its client gets over
		heartbeat.Group = "g"
		c.send(heartbeat, 3)
		var beat kmsg.HeartbeatResponse
		if c.receive(&beat, 3); beat.ErrorCode == 0 {
			t.Fatalf("%+v", beat)
		}
	}
	got := log.Take()
	for _, want := range []string{
		`level=WARN msg="client refused" listener=kafka client=127.0.0.1:`,
		`what=Metadata error="'missing': UNKNOWN_TOPIC_OR_PARTITION" do="create the topic`,
		`what=Produce error="'t': `,
		`do="send smaller batches`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in the log:\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\n"); n != 2 {
		t.Errorf("%d lines about two causes:\n%s", n, got)
	}
}

func TestWhatAdministratorsAreRefusedStandsInTheLogWithItsReason(t *testing.T) {
	log := &logged.Lines{}
	r := newRig(t, func(o *Options) { o.Logger = log.Logger() })
	r.topic("t", 1, nil)
	c := r.raw()
	create := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range []string{"t", "new"} {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
		create.Topics = append(create.Topics, topic)
	}
	c.send(create, 4)
	c.receive(&kmsg.CreateTopicsResponse{}, 4)
	alter := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, "t"
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = "retention.ms", kmsg.StringPtr("never")
	resource.Configs = append(resource.Configs, config)
	alter.Resources = append(alter.Resources, resource)
	c.send(alter, 1)
	c.receive(&kmsg.IncrementalAlterConfigsResponse{}, 1)
	got := log.Take()
	for _, want := range []string{`what=CreateTopics error="'t': `, `do="use the topic that is there, or another name" code=36`, `what=IncrementalAlterConfigs error="'t': `, "never", `do="correct the setting" code=40`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in the log:\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\n"); n != 2 {
		t.Errorf("%d lines about two causes:\n%s", n, got)
	}
}

func TestATopicThatIsMadeByAskingIsNoRefusal(t *testing.T) {
	log := &logged.Lines{}
	r := newRig(t, func(o *Options) { o.Logger = log.Logger() })
	c := r.raw()
	md := kmsg.NewPtrMetadataRequest()
	md.AllowAutoTopicCreation = true
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr("new")
	md.Topics = append(md.Topics, topic)
	c.send(md, 9)
	var res kmsg.MetadataResponse
	c.receive(&res, 9)
	if got := log.Take(); got != "" {
		t.Errorf("the log says\n%s", got)
	}
}

func TestTheLogSaysWhichRequestWasMalformed(t *testing.T) {
	log := &logged.Lines{}
	r := newRig(t, func(o *Options) { o.Logger = log.Logger() })
	for want, head := range map[string][]byte{
		"Produce version 9: malformed request": {0, 0, 0, 9}, "Fetch version 12: malformed request": {0, 1, 0, 12}, "Metadata version 12: malformed request": {0, 3, 0, 12},
	} {
		for _, rest := range [][]byte{{0, 0, 0, 7, 0, 50, 'x'}, {0, 0, 0, 7, 0, 1, 'x', 0, 2}} { // within the header, and behind it
			c := r.raw()
			frame := append(bytes.Clone(head), rest...)
			if _, err := c.nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)); err != nil {
				t.Fatal(err)
			}
			if n, err := c.nc.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: %d bytes come back", want, n)
			}
		}
		eventually(t, want, func() bool { return strings.Contains(log.String(), want) })
	}
}
