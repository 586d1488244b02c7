package main

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func produce(t *talk) {
	name := t.topic(t.n("t"), 2)
	stamped := t.topic(t.n("stamped"), 1, "message.timestamp.type", "LogAppendTime")
	compact := t.topic(t.n("compact"), 1, "cleanup.policy", "compact")
	small := t.topic(t.n("small"), 1, "max.message.bytes", "100")
	strict := t.topic(t.n("strict"), 1, "message.timestamp.before.max.ms", "1000")
	plain := func(topic string, partition int32, acks int16, b batch) func(int16) *kmsg.ProduceRequest {
		return func(int16) *kmsg.ProduceRequest { return t.produce(topic, partition, acks, t.batch(b)) }
	}
	good := batch{records: values("a", "b")}
	v3 := from(3)
	ask(t, "with acks of all", plain(name, 0, -1, good), v3)
	ask(t, "with acks of one", plain(name, 0, 1, good), v3)
	ask(t, "with acks of two", plain(name, 0, 2, good), v3, last)
	ask(t, "with acks of minus two", plain(name, 0, -2, good), v3)
	ask(t, "with the time of the log", plain(stamped, 0, -1, good), v3)
	ask(t, "to a partition that is not there", plain(name, 2, -1, good), v3)
	ask(t, "to a partition below zero", plain(name, -1, -1, good), v3)
	ask(t, "to a topic that is not there", plain(t.n("none"), 0, -1, good), v3)
	ask(t, "to a bad name", plain("a b", 0, -1, good), v3, to(12))
	ask(t, "to an id that is not there", func(int16) *kmsg.ProduceRequest {
		r := t.produce(name, 0, -1, t.batch(good))
		r.Topics[0].TopicID = [16]byte{7}
		return r
	}, from(13))
	ask(t, "without a key for a compacted topic", plain(compact, 0, -1, batch{records: []record{{"", "a", 0}}}), v3)
	ask(t, "with and without a key for a compacted topic", plain(compact, 0, -1, batch{records: []record{{"k", "a", 0}, {"", "b", 0}}}), v3)
	ask(t, "too large", plain(small, 0, -1, batch{records: values(strings.Repeat("x", 60))}), v3)
	ask(t, "too early", plain(strict, 0, -1, good), v3)
	ask(t, "much too late", plain(name, 0, -1, batch{records: []record{{"k", "a", 7_300_000}}}), v3)
	ask(t, "without a time", plain(name, 0, -1, batch{records: values("a"), header: func(r *kmsg.RecordBatch) { r.FirstTimestamp, r.MaxTimestamp = -1, -1 }}), v3)
	ask(t, "with a wrong checksum", plain(name, 0, -1, batch{records: values("a"), spoil: func(b []byte) []byte { b[17]++; return b }}), v3)
	ask(t, "of magic 1", plain(name, 0, -1, batch{records: values("a"), spoil: func(b []byte) []byte { b[16] = 1; return b }}), v3)
	ask(t, "of magic 3", plain(name, 0, -1, batch{records: values("a"), spoil: func(b []byte) []byte { b[16] = 3; return b }}), v3)
	ask(t, "cut", plain(name, 0, -1, batch{records: values("a"), spoil: func(b []byte) []byte { return b[:len(b)-3] }}), v3)
	ask(t, "with bytes behind it", plain(name, 0, -1, batch{records: values("a"), spoil: func(b []byte) []byte { return append(b, 0) }}), v3, without("BaseOffset"))
	ask(t, "twice in one", plain(name, 0, -1, batch{records: values("a"), spoil: func(b []byte) []byte { return append(b, b...) }}), v3)
	ask(t, "with nothing", func(int16) *kmsg.ProduceRequest { return t.produce(name, 0, -1, []byte{}) }, v3)
	for _, bad := range []struct {
		title  string
		change func(*kmsg.RecordBatch)
	}{
		{"of more records than there are", func(r *kmsg.RecordBatch) { r.NumRecords++ }},
		{"of a wrong last offset", func(r *kmsg.RecordBatch) { r.LastOffsetDelta++ }},
		{"of no record", func(r *kmsg.RecordBatch) { r.NumRecords, r.LastOffsetDelta, r.Records = 0, -1, nil }},
		{"of no record, with a place", func(r *kmsg.RecordBatch) { r.NumRecords, r.LastOffsetDelta, r.Records = 0, 0, nil }},
		{"as a control batch", func(r *kmsg.RecordBatch) { r.Attributes |= 1 << 5 }},
		{"with the log's time itself", func(r *kmsg.RecordBatch) { r.Attributes |= 1 << 3 }},
		{"of a transaction without an id", func(r *kmsg.RecordBatch) { r.Attributes |= 1 << 4 }},
		{"of an unknown codec", func(r *kmsg.RecordBatch) { r.Attributes |= 7 }},
		{"of records that are no gzip", func(r *kmsg.RecordBatch) { r.Attributes |= 1 }},
		{"of a first offset of its own", func(r *kmsg.RecordBatch) { r.FirstOffset = 1000 }},
		{"of records that are cut", func(r *kmsg.RecordBatch) { r.Records = r.Records[:len(r.Records)-1] }},
	} {
		ask(t, bad.title, plain(name, 0, -1, batch{records: values("a"), header: bad.change}), v3, without("BaseOffset"))
	}
	ask(t, "to two partitions, one of which is not there", func(int16) *kmsg.ProduceRequest {
		r := t.produce(name, 0, -1, t.batch(good))
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, kmsg.ProduceRequestTopicPartition{Partition: 9, Records: t.batch(good)})
		return r
	}, v3)
	ask(t, "to one partition twice", func(int16) *kmsg.ProduceRequest {
		r := t.produce(name, 1, -1, t.batch(good))
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, r.Topics[0].Partitions[0])
		return r
	}, last)
	ask(t, "to none", func(int16) *kmsg.ProduceRequest { r := t.produce(name, 0, -1, nil); r.Topics = nil; return r }, v3)
	ask(t, "to a topic of the broker's", plain("__consumer_offsets", 0, -1, good), v3, to(12))
	ask(t, "for a transaction that is not there", func(int16) *kmsg.ProduceRequest {
		r := t.produce(name, 0, -1, t.batch(batch{records: values("a"), idempotent: true, producer: 4711, attributes: 1 << 4}))
		r.TransactionID = ptr(t.n("none"))
		return r
	}, v3)
	ask(t, "all of it", func(int16) *kmsg.FetchRequest { return t.fetch(name, 1, 0) }, last)
}

func sequences(t *talk) {
	name := t.topic(t.n("t"), 1)
	send := func(title string, id int64, epoch int16, sequence int32, v ...string) {
		t.lines.token("producer", fmt.Sprint(id))
		ask(t, title, func(int16) *kmsg.ProduceRequest {
			return t.produce(name, 0, -1, t.batch(batch{records: values(v...), idempotent: true, producer: id, epoch: epoch, sequence: sequence}))
		}, last)
	}
	one := t.producer(nil)
	id := one.ProducerID
	send("the first", id, 0, 0, "a", "b")
	send("the second", id, 0, 2, "c")
	send("the second again", id, 0, 2, "c")
	send("the first again", id, 0, 0, "a", "b")
	send("half of the first again", id, 0, 0, "a")
	send("more than the first", id, 0, 0, "a", "b", "c")
	send("one too far", id, 0, 4, "d")
	send("one that overlaps", id, 0, 1, "d")
	for i := range int32(5) {
		send("further ones", id, 0, 3+i, "e")
	}
	send("the second, which is forgotten", id, 0, 2, "c")
	send("an older epoch", id, -1, 8, "f")
	send("a new epoch not from the start", id, 1, 5, "f")
	send("a new epoch", id, 1, 0, "f")
	send("the epoch before", id, 0, 8, "g")
	send("a later one of the new epoch", id, 3, 0, "g")
	send("a sequence below zero", id, 3, -1, "g")
	send("an unknown producer", id+1000, 0, 0, "h")
	send("an unknown producer not from the start", id+2000, 0, 7, "h")
	send("an unknown producer near the last number", id+3000, 0, 2147483646, "h", "i")
	send("an unknown producer over the last number", id+3000, 0, 0, "h")
	send("no producer, with a sequence", -1, -1, 5, "h")
	send("no producer, with an epoch", -1, 2, -1, "h")
	ask(t, "without a producer again", func(int16) *kmsg.InitProducerIDRequest {
		r := kmsg.NewPtrInitProducerIDRequest()
		r.ProducerID, r.ProducerEpoch = -1, -1
		return r
	})
	ask(t, "without a producer but with a number", func(int16) *kmsg.InitProducerIDRequest {
		r := kmsg.NewPtrInitProducerIDRequest()
		r.ProducerID, r.ProducerEpoch = id, 3
		return r
	}, from(3))
	ask(t, "with half of a number", func(int16) *kmsg.InitProducerIDRequest {
		r := kmsg.NewPtrInitProducerIDRequest()
		r.ProducerID, r.ProducerEpoch = id, -1
		return r
	}, from(3))
	producers := func(topic string, partition int32) func(int16) *kmsg.DescribeProducersRequest {
		return func(int16) *kmsg.DescribeProducersRequest {
			r := kmsg.NewPtrDescribeProducersRequest()
			r.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: topic, Partitions: []int32{partition}}}
			return r
		}
	}
	ask(t, "of a partition", producers(name, 0))
	ask(t, "of one that is not there", producers(name, 1))
	ask(t, "of a topic that is not there", producers(t.n("none"), 0))
	ask(t, "of a bad name", producers("a b", 0))
}

func fetch(t *talk) {
	name := t.topic(t.n("t"), 2)
	t.fill(name, 0, "a", "b", "c")
	t.fill(name, 0, "d", "e")
	t.fill(name, 0, strings.Repeat("x", 50))
	of := func(topic string, partition int32, offset int64, change ...func(*kmsg.FetchRequest)) func(int16) *kmsg.FetchRequest {
		return func(int16) *kmsg.FetchRequest {
			r := t.fetch(topic, partition, offset)
			for _, f := range change {
				f(r)
			}
			return r
		}
	}
	ask(t, "from the start", of(name, 0, 0))
	ask(t, "from within a batch", of(name, 0, 1))
	ask(t, "from the second batch", of(name, 0, 3))
	ask(t, "at the end", of(name, 0, 6), to(5))
	ask(t, "at the end", of(name, 0, 6), last)
	ask(t, "beyond the end", of(name, 0, 7))
	ask(t, "below zero", of(name, 0, -1))
	ask(t, "of nothing", of(name, 1, 0), last)
	ask(t, "of a partition that is not there", of(name, 2, 0))
	ask(t, "of a partition below zero", of(name, -1, 0))
	ask(t, "of a topic that is not there", of(t.n("none"), 0, 0))
	ask(t, "of an id that is not there", of(name, 0, 0, func(r *kmsg.FetchRequest) { r.Topics[0].TopicID = [16]byte{7} }), from(13))
	ask(t, "of a bad name", of("a b", 0, 0), to(12))
	ask(t, "of what is committed", of(name, 0, 0, func(r *kmsg.FetchRequest) { r.IsolationLevel = 1 }))
	ask(t, "of another isolation", of(name, 0, 0, func(r *kmsg.FetchRequest) { r.IsolationLevel = 9 }))
	ask(t, "of few bytes", of(name, 0, 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].PartitionMaxBytes = 10 }))
	ask(t, "of no bytes", of(name, 0, 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].PartitionMaxBytes = 0 }))
	ask(t, "of few bytes in all", of(name, 0, 0, func(r *kmsg.FetchRequest) { r.MaxBytes = 10 }))
	ask(t, "of no bytes in all", of(name, 0, 0, func(r *kmsg.FetchRequest) { r.MaxBytes = 0 }))
	ask(t, "in an epoch to come", of(name, 0, 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 5 }), from(9))
	ask(t, "in this epoch", of(name, 0, 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 0 }), from(9))
	ask(t, "after an epoch to come", of(name, 0, 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].LastFetchedEpoch = 5 }), from(12))
	ask(t, "after this epoch", of(name, 0, 3, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].LastFetchedEpoch = 0 }), from(12))
	ask(t, "after this epoch, from beyond its end", of(name, 0, 9, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].LastFetchedEpoch = 0 }), from(12))
	ask(t, "from another rack", of(name, 0, 0, func(r *kmsg.FetchRequest) { r.Rack = "r" }), from(11))
	ask(t, "as a replica", of(name, 0, 0, func(r *kmsg.FetchRequest) { r.ReplicaID = 5 }), to(14))
	ask(t, "of two partitions, one of which is not there", of(name, 0, 0, func(r *kmsg.FetchRequest) {
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, t.fetchTopic(name, 7, 0).Partitions...)
	}))
	ask(t, "of one partition twice", of(name, 0, 0, func(r *kmsg.FetchRequest) {
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, t.fetchTopic(name, 0, 3).Partitions...)
	}))
	ask(t, "of none", of(name, 0, 0, func(r *kmsg.FetchRequest) { r.Topics = nil }), last)
}

// sessions are those of KIP-227.
func sessions(t *talk) {
	name := t.topic(t.n("t"), 3)
	other := t.topic(t.n("u"), 1)
	t.fill(name, 0, "a")
	t.fill(name, 1, "b")
	for _, v := range []int16{7, 12, 13, 18} {
		clear(t.lines.tokens) // sessions are told alike in all versions
		var session int32
		in := func(title string, epoch int32, change func(*kmsg.FetchRequest)) {
			res := ask(t, title, func(int16) *kmsg.FetchRequest {
				r := t.fetch(name, 0, 0)
				r.Topics, r.SessionID, r.SessionEpoch = nil, session, epoch
				if change != nil {
					change(r)
				}
				return r
			}, only(v))
			if res != nil && epoch == 0 {
				session = res.(*kmsg.FetchResponse).SessionID
			}
		}
		all := func(r *kmsg.FetchRequest) {
			one := t.fetchTopic(name, 0, 0)
			one.Partitions = append(one.Partitions, t.fetchTopic(name, 1, 0).Partitions[0], t.fetchTopic(name, 2, 0).Partitions[0])
			r.Topics = []kmsg.FetchRequestTopic{one}
		}
		in("that begins", 0, all)
		in("that goes on", 1, nil)
		in("from further on", 2, func(r *kmsg.FetchRequest) {
			one := t.fetchTopic(name, 0, 1)
			one.Partitions = append(one.Partitions, t.fetchTopic(name, 1, 1).Partitions[0])
			r.Topics = []kmsg.FetchRequestTopic{one}
		})
		in("with nothing new", 3, nil)
		t.fill(name, 2, "c")
		in("with something new", 4, nil)
		in("from beyond an end", 5, func(r *kmsg.FetchRequest) { r.Topics = []kmsg.FetchRequestTopic{t.fetchTopic(name, 2, 99)} })
		in("with another topic", 6, func(r *kmsg.FetchRequest) { r.Topics = []kmsg.FetchRequestTopic{t.fetchTopic(other, 0, 0)} })
		in("without a partition", 7, func(r *kmsg.FetchRequest) {
			r.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: name, TopicID: t.ids[name], Partitions: []int32{2}}}
		})
		in("without what is not in it", 8, func(r *kmsg.FetchRequest) {
			r.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: name, TopicID: t.ids[name], Partitions: []int32{2, 7}}}
		})
		in("with a topic that is not there", 9, func(r *kmsg.FetchRequest) {
			one := t.fetchTopic(t.n("none"), 0, 0)
			one.TopicID = [16]byte{7}
			r.Topics = []kmsg.FetchRequestTopic{one}
		})
		in("out of turn", 12, nil)
		in("again out of turn", 9, nil)
		in("in its turn again", 10, nil)
		mine := session
		session = mine + 12345
		in("that there is not", 1, nil)
		session = mine
		in("that ends", -1, all)
		in("that has ended", 11, nil)
		session = 0
		in("of none that goes on", 1, nil)
		in("of none that ends", -1, all)
		in("that begins with nothing", 0, nil)
		in("of an epoch below", -2, all)
	}
}
