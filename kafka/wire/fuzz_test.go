package wire

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func FuzzProduceRequest(f *testing.F) {
	for v := int16(0); v <= 13; v++ {
		f.Add(v, produceSample(v).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		version = version & 0xff % 14
		var q ProduceRequest
		if q.Parse(version, body) != nil {
			return
		}
		var res kmsg.ProduceResponse
		res.Version = version
		if err := res.ReadFrom(q.AppendResponse(nil)); err != nil {
			t.Fatalf("the answer to a parsed request is malformed: %v", err)
		}
		if len(res.Topics) != len(q.Topics) {
			t.Fatalf("%d topics became %d", len(q.Topics), len(res.Topics))
		}
		theirs := kmsg.ProduceRequest{Version: version}
		if err := theirs.ReadFrom(body); err != nil {
			return // kmsg refuses some lengths that we read as null
		}
		if len(theirs.Topics) != len(q.Topics) {
			t.Fatalf("%d topics, another decoder sees %d", len(q.Topics), len(theirs.Topics))
		}
	})
}

func FuzzFetchRequest(f *testing.F) {
	for v := int16(0); v <= 18; v++ {
		f.Add(v, fetchSample(v).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		version = version & 0xff % 19
		var q FetchRequest
		if q.Parse(version, body) != nil {
			return
		}
		var b FetchResponse
		h := Header{Key: Fetch, Version: version}
		b.Begin(h, None, q.SessionID, len(q.Topics))
		for _, topic := range q.Topics {
			b.Topic(topic.Name, topic.ID, topic.Len)
			for _, p := range q.Of(topic) {
				b.Partition(FetchState{Index: p.Index, Records: 3})
				b.Records([]byte("abc"))
				b.EndPartition()
			}
			b.EndTopic()
		}
		frame := bytes.Join(b.Finish(), nil)[8:]
		if version >= 12 {
			frame = frame[1:]
		}
		res := kmsg.FetchResponse{Version: version}
		if err := res.ReadFrom(frame); err != nil {
			t.Fatalf("the answer to a parsed request is malformed: %v", err)
		}
	})
}

func FuzzFrame(f *testing.F) {
	format := kmsg.NewRequestFormatter(kmsg.FormatterClientID("seed"))
	for _, s := range Supported {
		for v := s.Min; v <= s.Max; v++ {
			req := kmsg.RequestForKey(int16(s.Key))
			req.SetVersion(v)
			f.Add(format.AppendRequest(nil, req, 1)[4:])
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > MaxPlainBytes {
			return
		}
		h, body, err := ParseHeader(frame)
		if err != nil {
			return
		}
		if _, err := Measure(h, body); err != nil {
			return
		}
		req, err := Decode(h, body)
		if err == nil && req.Key() != int16(h.Key) {
			t.Fatalf("key %d became %d", h.Key, req.Key())
		}
	})
}
