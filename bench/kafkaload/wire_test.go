package kafkaload

import (
	"bytes"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestProduceRequestAsAnotherCodecReadsIt(t *testing.T) {
	records := []byte("not really a batch")
	r := append(produceRequest("topic", 3, -1, len(records)), records...).done()
	want := kmsg.NewPtrProduceRequest()
	want.SetVersion(versionProduce)
	want.Acks, want.TimeoutMillis = -1, 30_000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "topic"
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = 3, records
	topic.Partitions = append(topic.Partitions, p)
	want.Topics = append(want.Topics, topic)
	if w := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, want, 0); !bytes.Equal(r, w) {
		t.Fatalf("got\n%x, want\n%x", []byte(r), w)
	}
}

// produced is an answer without its length.
func produced(correlation int32, code int16, base int64) []byte {
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(versionProduce)
	topic := kmsg.NewProduceResponseTopic()
	topic.Topic = "topic"
	p := kmsg.NewProduceResponseTopicPartition()
	p.ErrorCode, p.BaseOffset = code, base
	topic.Partitions = append(topic.Partitions, p)
	resp.Topics = append(resp.Topics, topic)
	return resp.AppendTo(request(nil).i32(correlation))
}

func TestProduceAnswer(t *testing.T) {
	c, base, err := produceAnswer(produced(9, 0, 1234))
	if c != 9 || base != 1234 || err != nil {
		t.Fatalf("got %d, %d, %v", c, base, err)
	}
	if _, _, err := produceAnswer(produced(9, 6, -1)); err == nil || !strings.Contains(err.Error(), "error code 6") {
		t.Fatalf("an error code gave %v", err)
	}
	whole := produced(9, 0, 1234)
	for n := range len("topic") + 28 {
		if _, _, err := produceAnswer(whole[:n]); err == nil {
			t.Fatalf("%d of %d bytes were enough", n, len(whole))
		}
	}
}

func FuzzProduceAnswer(f *testing.F) {
	f.Add(produced(9, 0, 1234))
	f.Add(produced(9, 6, -1))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _, _ = produceAnswer(b) // must not panic
	})
}
