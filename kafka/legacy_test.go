package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

// oldMessage is one message in franz-go's types, the independent encoder.
func oldMessage(magic int8, attributes int8, offset, ms int64, key, value []byte) []byte {
	if magic == 0 {
		m := kmsg.MessageV0{Offset: offset, Magic: 0, Attributes: attributes, Key: key, Value: value}
		m.MessageSize = int32(len(m.AppendTo(nil)) - 12)
		m.CRC = int32(crc32.ChecksumIEEE(m.AppendTo(nil)[16:]))
		return m.AppendTo(nil)
	}
	m := kmsg.MessageV1{Offset: offset, Magic: 1, Attributes: attributes, Timestamp: ms, Key: key, Value: value}
	m.MessageSize = int32(len(m.AppendTo(nil)) - 12)
	m.CRC = int32(crc32.ChecksumIEEE(m.AppendTo(nil)[16:]))
	return m.AppendTo(nil)
}

// oldSet holds the values, packed if codec is not 0.
func oldSet(t *testing.T, magic int8, codec int, values ...string) []byte {
	t.Helper()
	var set []byte
	for i, v := range values {
		set = append(set, oldMessage(magic, 0, int64(i), 1000+int64(i), []byte{'k', byte('0' + i)}, []byte(v))...)
	}
	if codec == message.CodecNone {
		return set
	}
	return oldMessage(magic, int8(codec), int64(len(values)-1), 1000, nil, pack(codec, set))
}

// oldMessages reads a message set.
func oldMessages(t *testing.T, set []byte) (out []kmsg.MessageV1) {
	t.Helper()
	for len(set) > 0 {
		var m kmsg.MessageV1
		size := 12 + int(set[8])<<24 + int(set[9])<<16 + int(set[10])<<8 + int(set[11])
		one := set[:size]
		if one[16] == 0 {
			var old kmsg.MessageV0
			if err := old.ReadFrom(one); err != nil {
				t.Fatal(err)
			}
			m = kmsg.MessageV1{Offset: old.Offset, CRC: old.CRC, Attributes: old.Attributes, Timestamp: -1, Key: old.Key, Value: old.Value}
		} else if err := m.ReadFrom(one); err != nil {
			t.Fatal(err)
		}
		if m.CRC != int32(crc32.ChecksumIEEE(one[16:])) {
			t.Errorf("message %d: checksum", m.Offset)
		}
		out = append(out, m)
		set = set[size:]
	}
	return out
}

func (c *raw) produceIn(version int16, topic string, records []byte) kmsg.ProduceResponseTopicPartition {
	c.t.Helper()
	c.send(produceRequest(topic, 0, -1, records), version)
	var res kmsg.ProduceResponse
	c.receive(&res, version)
	return res.Topics[0].Partitions[0]
}

func (c *raw) fetchIn(version int16, topic string, offset int64, maxBytes int32) kmsg.FetchResponseTopicPartition {
	c.t.Helper()
	q := kmsg.NewPtrFetchRequest()
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes = 0, 1, 1<<20
	one := kmsg.NewFetchRequestTopic()
	one.Topic = topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes = offset, maxBytes
	one.Partitions = append(one.Partitions, p)
	q.Topics = append(q.Topics, one)
	c.send(q, version)
	var res kmsg.FetchResponse
	c.receive(&res, version)
	return res.Topics[0].Partitions[0]
}

func TestOldProducersAndOldConsumersMeetNewOnes(t *testing.T) {
	r := newRig(t, nil)
	for version := int16(0); version <= 2; version++ {
		for codec := message.CodecNone; codec <= message.CodecLZ4; codec++ {
			magic := int8(min(version, 1))
			topic := fmt.Sprintf("t-%d-%d", version, codec)
			r.topic(topic, 1, nil)
			c := r.raw()
			big := string(bytes.Repeat([]byte("x"), 100_000))
			values := []string{"one", "two", big}
			if p := c.produceIn(version, topic, oldSet(t, magic, codec, values...)); p.ErrorCode != 0 || p.BaseOffset != 0 {
				t.Fatalf("%s: %+v", topic, p)
			}
			if p := c.produceIn(version, topic, oldSet(t, magic, codec, "four")); p.ErrorCode != 0 || p.BaseOffset != 3 {
				t.Fatalf("%s: second set: %+v", topic, p)
			}
			records := consume(t, r.client(kgo.ConsumeTopics(topic)), 4)
			for i, want := range append(values, "four") {
				rec := records[i]
				ms := int64(-1)
				if magic == 1 {
					ms = 1000 + int64(i%3)
				}
				if string(rec.Value) != want || rec.Key[0] != 'k' || rec.Timestamp.UnixMilli() != ms {
					t.Errorf("%s: record %d: %.20q %q at %d", topic, i, rec.Value, rec.Key, rec.Timestamp.UnixMilli())
				}
			}
			for fetch := int16(0); fetch < 4; fetch++ {
				got := c.fetchIn(fetch, topic, 1, 1<<20)
				old := oldMessages(t, got.RecordBatches)
				if got.ErrorCode != 0 || got.HighWatermark != 4 || len(old) != 3 || old[0].Offset != 1 || string(old[0].Value) != "two" || string(old[1].Value) != big || string(old[2].Value) != "four" {
					t.Errorf("%s by fetch %d: %d %+.60v", topic, fetch, got.ErrorCode, old)
				}
				if cut := oldMessages(t, c.fetchIn(fetch, topic, 0, 100).RecordBatches); len(cut) != 2 {
					t.Errorf("%s by fetch %d: %d messages in 100 bytes", topic, fetch, len(cut))
				}
				if whole := oldMessages(t, c.fetchIn(fetch, topic, 2, 10).RecordBatches); len(whole) != 1 || string(whole[0].Value) != big {
					t.Errorf("%s by fetch %d: the first message is not there as a whole", topic, fetch)
				}
			}
			if !packedWith(r, topic, codec) {
				t.Errorf("%s: is not stored as it was packed", topic)
			}
		}
	}
}

// packedWith says whether the first batch of a topic is.
func packedWith(r *rig, topic string, codec int) bool {
	raw := r.raw().fetchIn(4, topic, 0, 1<<20).RecordBatches
	return int(raw[22]&7) == codec
}

func TestOldMessagesThatAreWrongAreRefused(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, map[string]string{"max.message.bytes": "10000"})
	c := r.raw()
	good := oldSet(t, 1, 0, "one")
	crc := bytes.Clone(good)
	crc[len(crc)-1]++
	long := bytes.Clone(good)
	long[11]++
	magic := bytes.Clone(good)
	magic[16] = 5
	nested := oldMessage(1, message.CodecGzip, 0, 0, nil, pack(message.CodecGzip, oldSet(t, 1, message.CodecGzip, "deep")))
	for name, set := range map[string][]byte{
		"checksum": crc, "two packed": append(oldSet(t, 1, 1, "a"), oldSet(t, 1, 1, "b")...), "packed in packed": nested,
		"a length beyond the set": long, "magic 5": magic, "cut": good[:len(good)-1], "zstd": oldMessage(1, message.CodecZstd, 0, 0, nil, []byte("x")),
		"packed without a value": oldMessage(1, message.CodecGzip, 0, 0, nil, nil), "too large": oldSet(t, 1, 0, string(make([]byte, 10001))),
		"packed into nothing": oldMessage(1, message.CodecGzip, 0, 0, nil, pack(message.CodecGzip, nil)),
	} {
		want := map[string]int16{"checksum": 2, "magic 5": 2, "too large": 10}[name]
		if want == 0 {
			want = 87
		}
		if p := c.produceIn(2, "t", set); p.ErrorCode != want {
			t.Errorf("%s: code %d, want %d", name, p.ErrorCode, want)
		}
	}
	if p := c.produceIn(3, "t", good); p.ErrorCode != 87 {
		t.Errorf("an old set in a new request: %d", p.ErrorCode)
	}
	if p := c.produceIn(2, "t", makeBatch(nil, "new")); p.ErrorCode != 0 {
		t.Errorf("a batch in an old request: %d", p.ErrorCode)
	}
}

// In messages of format 0 clients have a wrong checksum in the header of an LZ4 frame: over its first four bytes too. Some
// have the right one.
func TestLZ4OfFormat0IsTakenWithTheChecksumThatItsClientsHave(t *testing.T) {
	r := newRig(t, nil)
	for name, tc := range map[string]struct {
		magic int8
		size  bool // the frame says how long it is unpacked
		sum   func(frame []byte, end int)
		want  wire.Code
	}{
		"as clients have it":            {0, false, func(f []byte, end int) { f[end] = byte(xxh32(f[:end]) >> 8) }, wire.None},
		"with a size":                   {0, true, func(f []byte, end int) { f[end] = byte(xxh32(f[:end]) >> 8) }, wire.None},
		"as it should be":               {0, false, func([]byte, int) {}, wire.None},
		"wrong in format 1":             {1, false, func(f []byte, end int) { f[end] = byte(xxh32(f[:end]) >> 8) }, wire.InvalidRecord},
		"too short to have a checksum":  {0, false, func(f []byte, end int) { clear(f[4:]) }, wire.InvalidRecord},
		"a header that is not complete": {0, false, func(f []byte, end int) { f[4] |= 0x09 }, wire.InvalidRecord},
	} {
		topic := strings.ReplaceAll(name, " ", "-")
		r.topic(topic, 1, nil)
		var packed bytes.Buffer
		w, set := lz4.NewWriter(&packed), oldSet(t, tc.magic, 0, "one", "two")
		options, end := []lz4.Option{lz4.BlockSizeOption(lz4.Block64Kb)}, 6
		if tc.size {
			options, end = append(options, lz4.SizeOption(uint64(len(set)))), 14
		}
		if err := w.Apply(options...); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(set)
		w.Close()
		frame := packed.Bytes()
		tc.sum(frame, end)
		c := r.raw()
		if p := c.produceIn(int16(tc.magic), topic, oldMessage(tc.magic, message.CodecLZ4, 1, 0, nil, frame)); wire.Code(p.ErrorCode) != tc.want {
			t.Errorf("%s: %+v", name, p)
		}
		if tc.want != wire.None {
			continue
		}
		for i, rec := range consume(t, r.client(kgo.ConsumeTopics(topic)), 2) {
			if string(rec.Value) != []string{"one", "two"}[i] {
				t.Errorf("%s: %q", name, rec.Value)
			}
		}
	}
}

// xxh32 is of one of the examples' headers, with four bytes before it or without: the LZ4 library's own, through a frame's
// checksum of what it holds.
func xxh32(b []byte) uint32 {
	var out bytes.Buffer
	w := lz4.NewWriter(&out)
	_ = w.Apply(lz4.ChecksumOption(true))
	_, _ = w.Write(b)
	w.Close()
	return binary.LittleEndian.Uint32(out.Bytes()[out.Len()-4:])
}

func TestMemoryOfConversionsIsGivenBack(t *testing.T) {
	for codec := message.CodecNone; codec <= message.CodecLZ4; codec++ {
		a := anArrival()
		a.version = 2
		before := a.memory.Held()
		if _, code, why := a.check(oldSet(t, 1, codec, "one", "two"), testSettings()); code != wire.None {
			t.Fatal(code, why)
		}
		if a.memory.Held() == before {
			t.Error("nothing was counted")
		}
		a.release()
		if now := a.memory.Held(); now != before {
			t.Errorf("codec %d: %d bytes are held, %d before", codec, now, before)
		}
	}
}

func (r *rig) idOf(topic string) [16]byte {
	r.t.Helper()
	v, err := r.broker.VHost("/")
	if err != nil {
		r.t.Fatal(err)
	}
	q, err := v.Queue(topic)
	if err != nil {
		r.t.Fatal(err)
	}
	return q.TopicID
}

func TestTopicsAreNamedByTheirIDs(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	old := r.idOf("t")
	c := r.raw()
	produceBy := func(id [16]byte) int16 {
		req := produceRequest("", 0, -1, makeBatch(nil, "one"))
		req.Topics[0].TopicID = id
		c.send(req, 13)
		var res kmsg.ProduceResponse
		c.receive(&res, 13)
		if res.Topics[0].TopicID != id {
			t.Errorf("the answer is of %x", res.Topics[0].TopicID)
		}
		return res.Topics[0].Partitions[0].ErrorCode
	}
	fetchBy := func(id [16]byte) kmsg.FetchResponseTopicPartition {
		req := kmsg.NewPtrFetchRequest()
		req.MinBytes, req.MaxBytes = 1, 1<<20
		one := kmsg.NewFetchRequestTopic()
		one.TopicID = id
		p := kmsg.NewFetchRequestTopicPartition()
		p.PartitionMaxBytes = 1 << 20
		one.Partitions = append(one.Partitions, p)
		req.Topics = append(req.Topics, one)
		c.send(req, 18)
		var res kmsg.FetchResponse
		c.receive(&res, 18)
		return res.Topics[0].Partitions[0]
	}
	if code := produceBy(old); code != 0 {
		t.Errorf("produce: %d", code)
	}
	if p := fetchBy(old); p.ErrorCode != 0 || len(p.RecordBatches) == 0 {
		t.Errorf("fetch: %+v", p)
	}
	if _, err := r.admin().DeleteTopics(testContext(t), "t"); err != nil {
		t.Fatal(err)
	}
	r.topic("t", 1, nil)
	for range 2 { // found out, and remembered
		if code := produceBy(old); code != 100 {
			t.Errorf("produce to a topic that was deleted: %d", code)
		}
		if p := fetchBy(old); p.ErrorCode != 100 {
			t.Errorf("fetch from a topic that was deleted: %+v", p)
		}
	}
	if code := produceBy(r.idOf("t")); code != 0 {
		t.Errorf("produce to the new one: %d", code)
	}
}
