package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func transactions(t *talk) {
	name := t.topic(t.n("t"), 2)
	id := t.n("x")
	start := func(id string, timeout int32, producer int64, epoch int16) func(int16) *kmsg.InitProducerIDRequest {
		return func(int16) *kmsg.InitProducerIDRequest {
			r := kmsg.NewPtrInitProducerIDRequest()
			r.TransactionalID, r.TransactionTimeoutMillis, r.ProducerID, r.ProducerEpoch = &id, timeout, producer, epoch
			return r
		}
	}
	ask(t, "with no id", start("", 60_000, -1, -1))
	ask(t, "with too long a time", start(id, 10_000_000, -1, -1))
	ask(t, "with no time", start(id, 0, -1, -1))
	ask(t, "with a time below zero", start(id, -1, -1, -1))
	ask(t, "of another's producer", start(id, 60_000, 987654, 3), from(3))
	p := t.producer(&id)
	if p.ErrorCode != 0 {
		panic(lost{fmt.Errorf("no producer: %d", p.ErrorCode)})
	}
	add := func(id string, producer int64, epoch int16, topic string, partition int32) func(int16) *kmsg.AddPartitionsToTxnRequest {
		return func(int16) *kmsg.AddPartitionsToTxnRequest {
			r := kmsg.NewPtrAddPartitionsToTxnRequest()
			r.TransactionalID, r.ProducerID, r.ProducerEpoch = id, producer, epoch
			r.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: []int32{partition}}}
			return r
		}
	}
	end := func(id string, producer int64, epoch int16, commit bool) func(int16) *kmsg.EndTxnRequest {
		return func(int16) *kmsg.EndTxnRequest {
			r := kmsg.NewPtrEndTxnRequest()
			r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Commit = id, producer, epoch, commit
			return r
		}
	}
	describe := func(ids ...string) func(int16) *kmsg.DescribeTransactionsRequest {
		return func(int16) *kmsg.DescribeTransactionsRequest {
			r := kmsg.NewPtrDescribeTransactionsRequest()
			r.TransactionalIDs = ids
			return r
		}
	}
	list := func(states ...string) func(int16) *kmsg.ListTransactionsRequest {
		return func(int16) *kmsg.ListTransactionsRequest {
			r := kmsg.NewPtrListTransactionsRequest()
			r.StateFilters, r.DurationFilterMillis = states, -1
			return r
		}
	}
	quiet := without("StartTimestamp", "ProducerID", "ProducerEpoch", "CoordinatorEpoch")
	ask(t, "before it begins", describe(id), quiet)
	ask(t, "that is not there", describe(t.n("none")))
	ask(t, "without a name", describe(""))
	ask(t, "that there are", list(), mine, quiet)
	ask(t, "that are going on", list("Ongoing"), mine, quiet)
	ask(t, "of an unknown state", list("Happy"), mine, quiet)
	ask(t, "by a pattern", func(int16) *kmsg.ListTransactionsRequest {
		r := list()(0)
		r.TransactionalIDPattern = ptr("transactions-.*")
		return r
	}, from(2), mine, quiet)
	ask(t, "by a bad pattern", func(int16) *kmsg.ListTransactionsRequest {
		r := list()(0)
		r.TransactionalIDPattern = ptr("[")
		return r
	}, from(2))
	ask(t, "before it begins", end(id, p.ProducerID, p.ProducerEpoch, true), to(4))
	ask(t, "of a topic that is not there", add(id, p.ProducerID, p.ProducerEpoch, t.n("none"), 0), to(3))
	ask(t, "of a partition that is not there", add(id, p.ProducerID, p.ProducerEpoch, name, 7), to(3))
	ask(t, "of another producer", add(id, p.ProducerID+999, p.ProducerEpoch, name, 0), to(3))
	ask(t, "of another epoch", add(id, p.ProducerID, p.ProducerEpoch+5, name, 0), to(3))
	ask(t, "of an id that is not there", add(t.n("none"), p.ProducerID, p.ProducerEpoch, name, 0), to(3))
	ask(t, "without an id", add("", p.ProducerID, p.ProducerEpoch, name, 0), to(3))
	ask(t, "of one", add(id, p.ProducerID, p.ProducerEpoch, name, 0), only(3))
	send := func(title string, epoch int16, sequence, partition int32, options ...option) {
		ask(t, title, func(int16) *kmsg.ProduceRequest {
			r := t.produce(name, partition, -1, t.batch(batch{records: values("a"), idempotent: true, producer: p.ProducerID, epoch: epoch, sequence: sequence, attributes: 1 << 4}))
			r.TransactionID = &id
			return r
		}, options...)
	}
	send("in it", p.ProducerEpoch, 0, 0, only(11))
	send("to a partition that is not in it", p.ProducerEpoch, 0, 1, only(11))
	send("in another epoch", p.ProducerEpoch+3, 0, 0, only(11))
	ask(t, "while it goes on", describe(id), quiet)
	ask(t, "while it goes on", list("Ongoing"), mine, quiet)
	ask(t, "while it goes on", func(int16) *kmsg.FetchRequest {
		r := t.fetch(name, 0, 0)
		r.IsolationLevel = 1
		return r
	}, last)
	ask(t, "while it goes on", func(int16) *kmsg.ListOffsetsRequest {
		r := kmsg.NewPtrListOffsetsRequest()
		one := kmsg.NewListOffsetsRequestTopicPartition()
		one.Timestamp = -1
		r.IsolationLevel, r.ReplicaID = 1, -1
		r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{one}}}
		return r
	}, last)
	g := t.n("g")
	group := func(group string, epoch int16) func(int16) *kmsg.AddOffsetsToTxnRequest {
		return func(int16) *kmsg.AddOffsetsToTxnRequest {
			r := kmsg.NewPtrAddOffsetsToTxnRequest()
			r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Group = id, p.ProducerID, epoch, group
			return r
		}
	}
	commit := func(epoch int16, partition int32) func(int16) *kmsg.TxnOffsetCommitRequest {
		return func(int16) *kmsg.TxnOffsetCommitRequest {
			r := kmsg.NewPtrTxnOffsetCommitRequest()
			r.TransactionalID, r.Group, r.ProducerID, r.ProducerEpoch, r.Generation = id, g, p.ProducerID, epoch, -1
			one := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			one.Partition, one.Offset, one.LeaderEpoch = partition, 5, -1
			r.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: name, TopicID: t.ids[name], Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{one}}}
			return r
		}
	}
	ask(t, "of a group, in another epoch", group(g, p.ProducerEpoch+3), to(3))
	ask(t, "of a group", group(g, p.ProducerEpoch), only(3))
	ask(t, "of a group without a name", group("", p.ProducerEpoch), only(3))
	ask(t, "in it", commit(p.ProducerEpoch, 0), only(3))
	ask(t, "of a partition that is not there", commit(p.ProducerEpoch, 7), only(3))
	ask(t, "while they are not decided", t.committed(g, name, 0), from(7))
	ask(t, "while they are not decided, stable", func(int16) *kmsg.OffsetFetchRequest {
		r := t.committed(g, name, 0)(0)
		r.RequireStable = true
		return r
	}, from(7))
	ask(t, "of another epoch", end(id, p.ProducerID, p.ProducerEpoch+3, true), to(4))
	ask(t, "of another producer", end(id, p.ProducerID+999, p.ProducerEpoch, true), to(4))
	ask(t, "of an id that is not there", end(t.n("none"), p.ProducerID, p.ProducerEpoch, true), to(4))
	ask(t, "with a commit", end(id, p.ProducerID, p.ProducerEpoch, true), only(3))
	t.rest()
	ask(t, "with a commit again", end(id, p.ProducerID, p.ProducerEpoch, true), only(3))
	ask(t, "with an abort after it", end(id, p.ProducerID, p.ProducerEpoch, false), only(3))
	ask(t, "after it", func(int16) *kmsg.FetchRequest {
		r := t.fetch(name, 0, 0)
		r.IsolationLevel = 1
		return r
	}, last, without("RecordBatches"))
	ask(t, "after it", t.committed(g, name, 0), last)
	ask(t, "after it", describe(id), quiet)
	// An abort.
	ask(t, "of one again", add(id, p.ProducerID, p.ProducerEpoch, name, 0), only(3))
	send("in the next", p.ProducerEpoch, 1, 0, only(11))
	ask(t, "with an abort", end(id, p.ProducerID, p.ProducerEpoch, false), only(3))
	t.rest()
	ask(t, "after an abort", func(int16) *kmsg.FetchRequest {
		r := t.fetch(name, 0, 0)
		r.IsolationLevel = 1
		return r
	}, last, without("RecordBatches"))
	// A producer that is fenced by a newer one.
	newer := t.producer(&id)
	send("of one that is fenced", p.ProducerEpoch, 2, 0, only(11))
	ask(t, "of one that is fenced", add(id, p.ProducerID, p.ProducerEpoch, name, 0), to(3))
	ask(t, "of one that is fenced", end(id, p.ProducerID, p.ProducerEpoch, true), to(4))
	ask(t, "of one that is fenced", start(id, 60_000, p.ProducerID, p.ProducerEpoch-5), from(3), quiet)
	if newer.ErrorCode != 0 {
		panic(lost{fmt.Errorf("no newer producer: %d", newer.ErrorCode)})
	}
}

// implicit are transactions of the newer protocol, into which partitions come by being written to (KIP-890).
func implicit(t *talk) {
	name := t.topic(t.n("t"), 2)
	id := t.n("x")
	start := kmsg.NewPtrInitProducerIDRequest()
	start.TransactionalID, start.TransactionTimeoutMillis, start.ProducerID, start.ProducerEpoch = &id, 60_000, -1, -1
	p := quietly[*kmsg.InitProducerIDResponse](t, start, 5)
	t.lines.token("producer", fmt.Sprint(p.ProducerID))
	send := func(title string, epoch int16, sequence int32) {
		ask(t, title, func(int16) *kmsg.ProduceRequest {
			r := t.produce(name, 0, -1, t.batch(batch{records: values("a"), idempotent: true, producer: p.ProducerID, epoch: epoch, sequence: sequence, attributes: 1 << 4}))
			r.TransactionID = &id
			return r
		}, last)
	}
	end := func(title string, epoch int16, commit bool) int16 {
		res, _ := ask(t, title, func(int16) *kmsg.EndTxnRequest {
			r := kmsg.NewPtrEndTxnRequest()
			r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Commit = id, p.ProducerID, epoch, commit
			return r
		}, last).(*kmsg.EndTxnResponse)
		t.rest()
		if res == nil || res.ErrorCode != 0 {
			return epoch
		}
		return res.ProducerEpoch
	}
	epoch := p.ProducerEpoch
	send("not from the start", epoch, 5)
	send("first", epoch, 0)
	send("second", epoch, 1)
	next := end("with a commit", epoch, true)
	send("of the epoch before", epoch, 2)
	send("of the next", next, 0)
	last1 := end("with an abort", next, false)
	end("with nothing in it, an abort", last1, false)
	ask(t, "all of it", func(int16) *kmsg.FetchRequest {
		r := t.fetch(name, 0, 0)
		r.IsolationLevel = 1
		return r
	}, last, without("RecordBatches"))
}
