package wire

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func BenchmarkParseProduceOnePartition(b *testing.B) {
	q := kmsg.NewPtrProduceRequest()
	q.Version = 9
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "logs"
	part := kmsg.NewProduceRequestTopicPartition()
	part.Records = make([]byte, 1<<20)
	topic.Partitions = append(topic.Partitions, part)
	q.Topics = append(q.Topics, topic)
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, q, 1)[4:]
	var parsed ProduceRequest
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		h, body, err := ParseHeader(frame)
		if err != nil || parsed.Parse(h.Version, body) != nil {
			b.Fatal("parse failed")
		}
		out = Finish(parsed.AppendResponse(AppendResponseHeader(out[:0], h)), 0, 0)
	}
}

func BenchmarkFetchResponse100Partitions(b *testing.B) {
	h := Header{Key: Fetch, Version: 12}
	var res FetchResponse
	data, name := make([]byte, 16<<10), []byte("logs")
	b.ReportAllocs()
	for b.Loop() {
		res.Begin(h, None, 0, 1)
		res.Topic(name, TopicID{}, 100)
		for i := range int32(100) {
			res.Partition(FetchState{Index: i, HighWatermark: 1, Records: len(data)})
			res.Records(data)
			res.EndPartition()
		}
		res.EndTopic()
		if len(res.Finish()) == 0 {
			b.Fatal("no pieces")
		}
	}
}
