package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// produceSample is a request in franz-go's types, the independent encoder that
// our parser is held against.
func produceSample(version int16) *kmsg.ProduceRequest {
	q := kmsg.NewPtrProduceRequest()
	q.Version = version
	q.Acks, q.TimeoutMillis = -1, 1500
	for t := range 2 {
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic = fmt.Sprintf("topic-%d", t)
		topic.TopicID = [16]byte{byte(t), 7}
		for p := range 3 {
			part := kmsg.NewProduceRequestTopicPartition()
			part.Partition = int32(p)
			part.Records = bytes.Repeat([]byte{byte(t), byte(p)}, 50*p)
			topic.Partitions = append(topic.Partitions, part)
		}
		q.Topics = append(q.Topics, topic)
	}
	return q
}

func TestProduceRequestParsesWhatAnotherEncoderWrote(t *testing.T) {
	for version := int16(0); version <= 13; version++ {
		want := produceSample(version)
		var got ProduceRequest
		if err := got.Parse(version, want.AppendTo(nil)); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if got.TransactionID != nil || got.Acks != -1 || got.TimeoutMillis != 1500 || len(got.Topics) != 2 {
			t.Fatalf("version %d: %+v", version, got)
		}
		for i, topic := range got.Topics {
			if version < 13 && string(topic.Name) != want.Topics[i].Topic || version >= 13 && (topic.Name != nil || topic.ID != want.Topics[i].TopicID) {
				t.Errorf("version %d: topic %q", version, topic.Name)
			}
			for j, p := range got.Of(topic) {
				if p.Index != int32(j) || !bytes.Equal(p.Records, want.Topics[i].Partitions[j].Records) {
					t.Errorf("version %d topic %d partition %d: %+v", version, i, j, p)
				}
			}
		}
	}
}

func TestProduceRequestWithTransactionID(t *testing.T) {
	for _, version := range []int16{3, 9} {
		q := produceSample(version)
		q.TransactionID = kmsg.StringPtr("tx")
		var got ProduceRequest
		if err := got.Parse(version, q.AppendTo(nil)); err != nil || string(got.TransactionID) != "tx" {
			t.Errorf("version %d: %q %v", version, got.TransactionID, err)
		}
	}
}

func TestProduceResponseIsReadByAnotherDecoder(t *testing.T) {
	for version := int16(0); version <= 13; version++ {
		var q ProduceRequest
		if err := q.Parse(version, produceSample(version).AppendTo(nil)); err != nil {
			t.Fatal(err)
		}
		for i := range q.Partitions {
			q.Partitions[i].BaseOffset, q.Partitions[i].LogAppendTimeMillis, q.Partitions[i].LogStartOffset = int64(100+i), -1, 7
		}
		q.Partitions[4].Fail(InvalidRecord, "why")
		var got kmsg.ProduceResponse
		got.Version = version
		if err := got.ReadFrom(q.AppendResponse(nil)); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		p := got.Topics[1].Partitions[2]
		named := got.Topics[0].Topic == "topic-0"
		if version >= 13 {
			named = got.Topics[1].TopicID == [16]byte{1, 7}
		}
		if !named || p.BaseOffset != 105 || version >= 2 && p.LogAppendTime != -1 || p.ErrorCode != 0 {
			t.Errorf("version %d: %+v", version, p)
		}
		if p = got.Topics[1].Partitions[1]; p.ErrorCode != 87 || p.BaseOffset != -1 {
			t.Errorf("version %d: failed partition %+v", version, p)
		}
		if version >= 8 && *p.ErrorMessage != "why" {
			t.Errorf("version %d: message %v", version, p.ErrorMessage)
		}
	}
}

func fetchSample(version int16) *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.Version = version
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes, q.IsolationLevel = 500, 1, 1<<20, 1
	q.SessionID, q.SessionEpoch, q.Rack = 3, 4, "r1"
	for i := range 2 {
		topic := kmsg.NewFetchRequestTopic()
		topic.Topic = fmt.Sprintf("topic-%d", i)
		topic.TopicID = [16]byte{byte(i), 7}
		for p := range 3 {
			part := kmsg.NewFetchRequestTopicPartition()
			part.Partition, part.FetchOffset, part.PartitionMaxBytes = int32(p), int64(p*1000), 1<<16
			part.CurrentLeaderEpoch = 0
			topic.Partitions = append(topic.Partitions, part)
		}
		q.Topics = append(q.Topics, topic)
	}
	forgotten := kmsg.NewFetchRequestForgottenTopic()
	forgotten.Topic, forgotten.TopicID, forgotten.Partitions = "gone", [16]byte{6}, []int32{1, 2}
	q.ForgottenTopics = append(q.ForgottenTopics, forgotten)
	return q
}

func TestFetchRequestParsesWhatAnotherEncoderWrote(t *testing.T) {
	for version := int16(0); version <= 18; version++ {
		var got FetchRequest
		if err := got.Parse(version, fetchSample(version).AppendTo(nil)); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		maxBytes, isolation := int32(1<<20), int8(1)
		if version < 3 {
			maxBytes = math.MaxInt32
		}
		if version < 4 {
			isolation = 0
		}
		if got.MaxWaitMillis != 500 || got.MinBytes != 1 || got.MaxBytes != maxBytes || got.Isolation != isolation {
			t.Errorf("version %d: %+v", version, got)
		}
		if version >= 7 && (got.SessionID != 3 || got.SessionEpoch != 4) {
			t.Errorf("version %d: session %d %d", version, got.SessionID, got.SessionEpoch)
		}
		if version >= 7 && (len(got.Forgotten) != 1 || !slices.Equal(got.ForgottenOf, []int32{1, 2}) || got.Forgotten[0].Len != 2) {
			t.Errorf("version %d: forgets %+v of %v", version, got.Forgotten, got.ForgottenOf)
		}
		if f := got.Forgotten; version >= 7 && (version < 13 && string(f[0].Name) != "gone" || version >= 13 && f[0].ID != TopicID{6}) {
			t.Errorf("version %d: forgets of topic %+v", version, f)
		}
		wantEpoch := int32(-1)
		if version >= 9 {
			wantEpoch = 0
		}
		want := FetchPartition{Index: 2, LeaderEpoch: wantEpoch, Offset: 2000, MaxBytes: 1 << 16}
		if len(got.Topics) != 2 || (version < 13 && string(got.Topics[1].Name) != "topic-1") || (version >= 13 && got.Topics[1].ID != TopicID{1, 7}) || got.Of(got.Topics[1])[2] != want {
			t.Errorf("version %d: %+v", version, got.Partitions)
		}
	}
}

func TestFetchResponseIsReadByAnotherDecoder(t *testing.T) {
	for version := int16(0); version <= 18; version++ {
		h := Header{Key: Fetch, Version: version, Correlation: 99}
		var b FetchResponse
		for range 2 { // the second time over reused memory
			b.Begin(h, None, 77, 1)
			b.Topic([]byte("logs"), TopicID{9}, 3)
			b.Partition(FetchState{Index: 0, HighWatermark: 10, LastStableOffset: 8, LogStartOffset: 2, Records: 5, Aborted: []Aborted{{4, 3}, {5, 6}}})
			b.Records([]byte("abc"))
			b.Records([]byte("de"))
			b.EndPartition()
			b.Partition(FetchState{Index: 1, Err: OffsetOutOfRange, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1})
			b.EndPartition()
			b.Partition(FetchState{Index: 2, HighWatermark: 3, LastStableOffset: 3, Records: 1})
			b.Records([]byte("f"))
			b.EndPartition()
			b.EndTopic()
		}
		frame := bytes.Join(b.Finish(), nil)
		if n := binary.BigEndian.Uint32(frame); int(n) != len(frame)-4 {
			t.Fatalf("version %d: size %d of %d", version, n, len(frame)-4)
		}
		body := frame[8:]
		if version >= 12 {
			body = body[1:]
		}
		var got kmsg.FetchResponse
		got.Version = version
		if err := got.ReadFrom(body); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if version >= 7 && got.SessionID != 77 {
			t.Errorf("version %d: session %d", version, got.SessionID)
		}
		p := got.Topics[0].Partitions
		if len(p) != 3 || string(p[0].RecordBatches) != "abcde" || string(p[2].RecordBatches) != "f" {
			t.Errorf("version %d: %+v", version, p)
		}
		if a := p[0].AbortedTransactions; version >= 4 && (len(a) != 2 || a[1].ProducerID != 5 || a[1].FirstOffset != 6 || p[1].AbortedTransactions != nil || p[0].LastStableOffset != 8) {
			t.Errorf("version %d: aborted %+v", version, a)
		}
		if version >= 13 && got.Topics[0].TopicID != [16]byte{9} {
			t.Errorf("version %d: id %x", version, got.Topics[0].TopicID)
		}
		if p[1].ErrorCode != 1 || p[1].HighWatermark != -1 || p[1].RecordBatches == nil {
			t.Errorf("version %d: out of range %+v", version, p[1])
		}
		b.Forget()
	}
}

func TestProduceGoldenFrame(t *testing.T) {
	// One version 9 request, by hand from the layout in the protocol guide.
	frame, err := hex.DecodeString("0000" + "0009" + "00000007" + "0001" + "63" + "00" + // header v2: correlation 7, client "c", no tags
		"00" + "ffff" + "000005dc" + "02" + "02" + "74" + "02" + "00000003" + "04" + "aabbcc" + "00" + "00" + "00")
	if err != nil {
		t.Fatal(err)
	}
	h, body, err := ParseHeader(frame)
	if err != nil || h.Key != Produce || h.Version != 9 || h.Correlation != 7 || string(h.ClientID) != "c" {
		t.Fatalf("%+v %v", h, err)
	}
	var q ProduceRequest
	if err := q.Parse(h.Version, body); err != nil {
		t.Fatal(err)
	}
	if len(q.Partitions) != 1 || q.Partitions[0].Index != 3 || !bytes.Equal(q.Partitions[0].Records, []byte{0xaa, 0xbb, 0xcc}) {
		t.Errorf("%+v", q)
	}
	q.Partitions[0].BaseOffset, q.Partitions[0].LogAppendTimeMillis = 5, -1
	got := hex.EncodeToString(Finish(q.AppendResponse(AppendResponseHeader(nil, h)), 0, 0))
	want := "00000030" + "00000007" + "00" + "02" + "02" + "74" + "02" + "00000003" + "0000" + "0000000000000005" +
		"ffffffffffffffff" + "0000000000000000" + "01" + "00" + "00" + "00" + "00000000" + "00"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestHeaderOfEveryServedVersion(t *testing.T) {
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("tester"))
	for _, s := range Supported {
		for version := s.Min; version <= s.Max; version++ {
			req := kmsg.RequestForKey(int16(s.Key))
			req.SetVersion(version)
			if req.IsFlexible() != s.IsFlexible(version) {
				t.Errorf("%s version %d: flexible %v", s.Name, version, req.IsFlexible())
			}
			h, body, err := ParseHeader(f.AppendRequest(nil, req, 77)[4:])
			if err != nil || h.Correlation != 77 || string(h.ClientID) != "tester" || h.Key != s.Key || h.Version != version {
				t.Errorf("%s version %d: %+v %v", s.Name, version, h, err)
			}
			back, err := Decode(h, body)
			if err != nil || !bytes.Equal(back.AppendTo(nil), req.AppendTo(nil)) {
				t.Errorf("%s version %d: %+v %v", s.Name, version, back, err)
			}
		}
	}
}

func TestHeaderRefusesWhatIsNotServed(t *testing.T) {
	for _, c := range []struct {
		name         string
		key, version int16
	}{{"unknown key", 999, 0}, {"negative key", -1, 0}, {"assignments between brokers", 73, 0}, {"streams groups", 88, 0}, {"version above the cap", 0, 14}, {"version above the cap", 1, 19}} {
		frame := binary.BigEndian.AppendUint16(nil, uint16(c.key))
		frame = binary.BigEndian.AppendUint16(frame, uint16(c.version))
		frame = append(frame, 0, 0, 0, 1, 0xff, 0xff)
		var refused *Refused
		if _, _, err := ParseHeader(frame); !errors.As(err, &refused) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestFrameSizesAreBounded(t *testing.T) {
	for _, c := range []struct {
		size  uint32
		limit int
		ok    bool
	}{{8, 100, true}, {100, 100, true}, {101, 100, false}, {7, 100, false}, {0, 100, false}, {1 << 31, MaxFrameBytes, false}, {MaxFrameBytes, MaxFrameBytes, true}, {0x47455420, MaxFrameBytes, false}} {
		if _, err := FrameBytes(binary.BigEndian.AppendUint32(nil, c.size), c.limit); (err == nil) != c.ok {
			t.Errorf("size %d limit %d: %v", c.size, c.limit, err)
		}
	}
}

func TestArrayClaimsBeyondTheFrameAreRefused(t *testing.T) {
	body := []byte{0xff, 0xff, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff}
	var q ProduceRequest
	if err := q.Parse(3, body); !errors.Is(err, ErrMalformed) {
		t.Errorf("produce: %v", err)
	}
	fetch := append(make([]byte, 17), 0x10, 0, 0, 0)
	var f FetchRequest
	if err := f.Parse(4, fetch); !errors.Is(err, ErrMalformed) {
		t.Errorf("fetch: %v", err)
	}
}

func TestParsersAllocateNothingWhenReused(t *testing.T) {
	produce, fetch := produceSample(9).AppendTo(nil), fetchSample(12).AppendTo(nil)
	var q ProduceRequest
	var f FetchRequest
	out := make([]byte, 0, 4096)
	n := testing.AllocsPerRun(100, func() {
		if q.Parse(9, produce) != nil || f.Parse(12, fetch) != nil {
			t.Fatal("parse failed")
		}
		out = q.AppendResponse(out[:0])
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestProduceResponseCanFailAfterwards(t *testing.T) {
	for version := int16(0); version <= 13; version++ {
		var q ProduceRequest
		if err := q.Parse(version, produceSample(version).AppendTo(nil)); err != nil {
			t.Fatal(err)
		}
		q.Partitions[2].Fail(CorruptMessage, "was wrong before")
		q.Partitions[2].Faults = []RecordFault{{3, "its time"}, {70_000, ""}}
		body := q.AppendResponse(nil)
		FailResponse(body, version, StorageError)
		got := kmsg.ProduceResponse{Version: version}
		if err := got.ReadFrom(body); err != nil {
			t.Fatal(err)
		}
		for i, topic := range got.Topics {
			for j, p := range topic.Partitions {
				want := int16(StorageError)
				if i == 0 && j == 2 {
					want = int16(CorruptMessage)
				}
				if told := len(p.ErrorRecords); told > 0 != (version >= 8 && want == int16(CorruptMessage)) || told > 0 && (p.ErrorRecords[0].RelativeOffset != 3 || *p.ErrorRecords[0].ErrorMessage != "its time") {
					t.Errorf("version %d topic %d partition %d: %+v", version, i, j, p.ErrorRecords)
				}
				if p.ErrorCode != want || p.BaseOffset != -1 {
					t.Errorf("version %d topic %d partition %d: %+v", version, i, j, p)
				}
			}
		}
	}
}

func TestShareFetchResponseIsWhatAnotherEncoderWrites(t *testing.T) {
	var b Pieces
	for version := int16(1); version <= 2; version++ {
		res := kmsg.NewPtrShareFetchResponse()
		res.Version, res.ThrottleMillis, res.ErrorCode, res.ErrorMessage, res.AcquisitionLockTimeoutMillis = version, 7, 3, kmsg.StringPtr("why"), 30_000
		for i := range 2 {
			topic := kmsg.NewShareFetchResponseTopic()
			topic.TopicID = [16]byte{byte(i), 9}
			for k := range 3 {
				part := kmsg.NewShareFetchResponseTopicPartition()
				part.Partition, part.ErrorCode, part.AcknowledgeErrorCode, part.AcknowledgeErrorMessage = int32(k), int16(i), 121, kmsg.StringPtr("not held")
				part.Records = bytes.Repeat([]byte{byte(k)}, 200*k)
				for n := range k {
					run := kmsg.NewShareFetchResponseTopicPartitionAcquiredRecord()
					run.FirstOffset, run.LastOffset, run.DeliveryCount = int64(10*n), int64(10*n+5), int16(n+1)
					part.AcquiredRecords = append(part.AcquiredRecords, run)
				}
				topic.Partitions = append(topic.Partitions, part)
			}
			res.Topics = append(res.Topics, topic)
		}
		h := Header{Key: ShareFetch, Version: version, Correlation: 5}
		records := func(topic, part int) []byte { return res.Topics[topic].Partitions[part].Records }
		got := bytes.Join(b.ShareFetch(h, res, func(topic, part int) int { return len(records(topic, part)) }, func(topic, part int) {
			if data := records(topic, part); len(data) > 0 {
				b.Records(data[:100])
				b.Records(data[100:])
			}
		}), nil)
		if want := Finish(res.AppendTo(AppendResponseHeader(nil, h)), 0, 0); !bytes.Equal(got, want) {
			t.Errorf("version %d:\n%x\n%x", version, got, want)
		}
	}
}
