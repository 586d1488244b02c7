package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func ptr[T any](v T) *T { return &v }

// versionedName is a name for one version of a request. All are the same in the record.
func versionedName(name string, v int16) string { return fmt.Sprintf("%s-v%d", name, v) }

// n is a name of this conversation's own.
func (t *talk) n(suffix string) string { return t.name + "-" + suffix }

// wake has a broker get ready what it gets ready when it is first asked for. It may have begun to listen just now.
func wake(address string, settle time.Duration) (err error) {
	if settle == 0 {
		return nil
	}
	for end := time.Now().Add(6 * patience); ; time.Sleep(settle) {
		if err = waken(address, settle); err == nil || time.Now().After(end) {
			return err
		}
	}
}

func waken(address string, settle time.Duration) (err error) {
	t := newTalk("wake", address, settle)
	defer t.close()
	defer func() {
		if why, ok := recover().(lost); ok {
			err = why
		}
	}()
	for kind := int8(0); kind < 2; kind++ {
		r := kmsg.NewPtrFindCoordinatorRequest()
		r.CoordinatorType, r.CoordinatorKey = kind, "wake"
		quietly[*kmsg.FindCoordinatorResponse](t, r, 3)
	}
	t.topic(fmt.Sprintf("wake-%d", time.Now().UnixNano()), 1)
	t.producer(ptr("wake"))
	c := kmsg.NewPtrOffsetCommitRequest()
	c.Group, c.Generation = "wake", -1
	c.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "wake", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{}}}}
	quietly[*kmsg.OffsetCommitResponse](t, c, 8)
	time.Sleep(5 * settle)
	return nil
}

// topic makes a topic, and waits until the broker knows it.
func (t *talk) topic(name string, partitions int32, settings ...string) string {
	r := kmsg.NewPtrCreateTopicsRequest()
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = name, partitions, 1
	for i := 0; i+1 < len(settings); i += 2 {
		one.Configs = append(one.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: settings[i], Value: &settings[i+1]})
	}
	r.Topics, r.TimeoutMillis = append(r.Topics, one), 10_000
	if res := quietly[*kmsg.CreateTopicsResponse](t, r, 5); len(res.Topics) != 1 || res.Topics[0].ErrorCode != 0 {
		panic(lost{fmt.Errorf("can't create %s: %v", name, res.Topics)})
	}
	t.await(name)
	return name
}

// await waits until the broker knows a topic.
func (t *talk) await(name string) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if m := t.metadata(name); m.ErrorCode == 0 && len(m.Partitions) > 0 && m.Partitions[0].ErrorCode == 0 {
			t.ids[name] = m.TopicID
			t.lines.topics[m.TopicID] = versioned.ReplaceAllString(name, "-v*")
			t.rest()
			return
		}
	}
	panic(lost{fmt.Errorf("%s did not come", name)})
}

func (t *talk) metadata(name string) *kmsg.MetadataResponseTopic {
	r := kmsg.NewPtrMetadataRequest()
	r.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
	res := quietly[*kmsg.MetadataResponse](t, r, 12)
	if len(res.Topics) != 1 {
		panic(lost{fmt.Errorf("%d topics for %s", len(res.Topics), name)})
	}
	return &res.Topics[0]
}

// batch is a record batch to be made.
type batch struct {
	records    []record
	producer   int64
	epoch      int16
	sequence   int32
	attributes int16
	idempotent bool
	spoil      func([]byte) []byte // after the checksum
	header     func(*kmsg.RecordBatch)
}

type record struct {
	key, value string
	at         int64 // after the conversation's base
}

// values are records one millisecond apart.
func values(v ...string) []record {
	out := make([]record, len(v))
	for i := range v {
		out[i] = record{"k", v[i], int64(i)}
	}
	return out
}

func (t *talk) batch(b batch) []byte {
	r := kmsg.RecordBatch{Magic: 2, PartitionLeaderEpoch: -1, Attributes: b.attributes, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		FirstTimestamp: t.base, LastOffsetDelta: int32(len(b.records)) - 1, NumRecords: int32(len(b.records))}
	if b.idempotent {
		r.ProducerID, r.ProducerEpoch, r.FirstSequence = b.producer, b.epoch, b.sequence
	}
	for i, one := range b.records {
		rec := kmsg.Record{TimestampDelta64: one.at, OffsetDelta: int32(i), Key: []byte(one.key), Value: []byte(one.value)}
		if one.key == "" {
			rec.Key = nil
		}
		rec.Length = int32(len(rec.AppendTo(nil))) - 1 // of a length that fits a byte
		r.Records = rec.AppendTo(r.Records)
		r.MaxTimestamp = max(r.MaxTimestamp, t.base+one.at)
	}
	if b.header != nil {
		b.header(&r)
	}
	r.Length = int32(49 + len(r.Records))
	out := r.AppendTo(nil)
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], crc32.MakeTable(crc32.Castagnoli)))
	if b.spoil != nil {
		out = b.spoil(out)
	}
	return out
}

// produce is a request for one partition.
func (t *talk) produce(topic string, partition int32, acks int16, records []byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = acks, 5000
	r.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, TopicID: t.ids[topic], Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: partition, Records: records}}}}
	return r
}

// fill puts records into a partition.
func (t *talk) fill(topic string, partition int32, v ...string) {
	res := quietly[*kmsg.ProduceResponse](t, t.produce(topic, partition, -1, t.batch(batch{records: values(v...)})), 9)
	if code := res.Topics[0].Partitions[0].ErrorCode; code != 0 {
		panic(lost{fmt.Errorf("can't fill %s: %d", topic, code)})
	}
}

// fetch is a request for one partition that does not wait.
func (t *talk) fetch(topic string, partition int32, offset int64) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.SessionEpoch = 100, 1, 1<<20, -1
	r.Topics = []kmsg.FetchRequestTopic{t.fetchTopic(topic, partition, offset)}
	return r
}

func (t *talk) fetchTopic(topic string, partition int32, offset int64) kmsg.FetchRequestTopic {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, offset, 1<<20, -1
	return kmsg.FetchRequestTopic{Topic: topic, TopicID: t.ids[topic], Partitions: []kmsg.FetchRequestTopicPartition{p}}
}

// producer gets a producer id.
func (t *talk) producer(transactional *string) *kmsg.InitProducerIDResponse {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		r := kmsg.NewPtrInitProducerIDRequest()
		r.TransactionalID, r.TransactionTimeoutMillis, r.ProducerID, r.ProducerEpoch = transactional, 60_000, -1, -1
		if res := quietly[*kmsg.InitProducerIDResponse](t, r, 4); res.ErrorCode == 0 || time.Now().After(end) {
			t.lines.token("producer", fmt.Sprint(res.ProducerID))
			return res
		}
	}
}
