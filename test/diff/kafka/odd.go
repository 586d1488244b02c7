package main

import (
	"math"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// odd are values that no client sends, where they mean something else than the ones beside them.
func odd(t *talk) {
	name := t.topic(t.n("t"), 1)
	t.fill(name, 0, "a")
	for _, epoch := range []int32{-2, math.MinInt32} {
		ask(t, "in an epoch below -1", func(int16) *kmsg.ListOffsetsRequest {
			r := kmsg.NewPtrListOffsetsRequest()
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Timestamp, p.CurrentLeaderEpoch = -1, epoch
			r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
			r.ReplicaID = -1
			return r
		}, from(4))
		ask(t, "in an epoch below -1", func(int16) *kmsg.OffsetForLeaderEpochRequest {
			r := kmsg.NewPtrOffsetForLeaderEpochRequest()
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.CurrentLeaderEpoch = epoch
			r.ReplicaID = -1
			r.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: name, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
			return r
		})
		ask(t, "in an epoch below -1", func(int16) *kmsg.FetchRequest {
			r := t.fetch(name, 0, 0)
			r.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
			return r
		}, from(9))
		ask(t, "for a node below -1", func(int16) *kmsg.ApiVersionsRequest {
			r := kmsg.NewPtrApiVersionsRequest()
			r.ClientSoftwareName, r.ClientSoftwareVersion, r.NodeID = "diff", "1.0", epoch
			return r
		}, from(5))
	}
	none := t.n("none")
	ask(t, "one that is not there twice", func(v int16) *kmsg.DeleteTopicsRequest {
		r := kmsg.NewPtrDeleteTopicsRequest()
		r.TopicNames = []string{none, none}
		r.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &none}, {Topic: &none}}
		r.TimeoutMillis = 5000
		return r
	})
	ask(t, "an id that is not there twice", func(v int16) *kmsg.DeleteTopicsRequest {
		r := kmsg.NewPtrDeleteTopicsRequest()
		r.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: [16]byte{7}}, {TopicID: [16]byte{7}}}
		r.TimeoutMillis = 5000
		return r
	}, from(6))
	ask(t, "of members without a group", func(int16) *kmsg.LeaveGroupRequest {
		r := kmsg.NewPtrLeaveGroupRequest()
		r.Members = []kmsg.LeaveGroupRequestMember{{MemberID: "nobody"}}
		return r
	}, from(3))
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis, join.ProtocolType = t.n("h"), 10_000, 10_000, "consumer"
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: make([]byte, 14)}}
	joined := quietly[*kmsg.JoinGroupResponse](t, join, 3)
	for _, kind := range []struct {
		title          string
		kind, protocol *string
	}{
		{"without a kind and a protocol", nil, nil}, {"without a kind", nil, ptr("range")}, {"without a protocol", ptr("consumer"), nil}, {"with empty ones", ptr(""), ptr("")},
	} {
		sync := func(group, member string, generation int32) func(int16) *kmsg.SyncGroupRequest {
			return func(int16) *kmsg.SyncGroupRequest {
				r := kmsg.NewPtrSyncGroupRequest()
				r.Group, r.MemberID, r.Generation, r.ProtocolType, r.Protocol = group, member, generation, kind.kind, kind.protocol
				return r
			}
		}
		ask(t, kind.title+", by nobody", sync(t.n("g"), "nobody", 0))
		ask(t, kind.title, sync(t.n("h"), joined.MemberID, joined.Generation), last)
	}
	// What is wrong of one partition is told beside what is wrong of all.
	by := func(r *kmsg.OffsetCommitRequest) {
		r.MemberID, r.Generation = "nobody", 3
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, t.commit(r.Group, name, 7, 1)(0).Topics[0].Partitions...)
	}
	ask(t, "by a member that is not there, of a partition that is and one that is not", t.commit(t.n("g"), name, 0, 1, by))
	ask(t, "without a group, of a partition that is not there", t.commit("", name, 7, 1), last)

	id := t.n("x")
	p := t.producer(&id)
	commit := func(partitions ...int32) func(int16) *kmsg.TxnOffsetCommitRequest {
		return func(int16) *kmsg.TxnOffsetCommitRequest {
			r := kmsg.NewPtrTxnOffsetCommitRequest()
			r.TransactionalID, r.Group, r.ProducerID, r.ProducerEpoch, r.Generation = id, t.n("g"), p.ProducerID, p.ProducerEpoch, -1
			to := kmsg.TxnOffsetCommitRequestTopic{Topic: name, TopicID: t.ids[name]}
			for _, n := range partitions {
				one := kmsg.NewTxnOffsetCommitRequestTopicPartition()
				one.Partition, one.Offset, one.LeaderEpoch = n, 5, -1
				to.Partitions = append(to.Partitions, one)
			}
			r.Topics = append(r.Topics, to)
			return r
		}
	}
	ask(t, "of no transaction", commit(0), to(4))
	ask(t, "of no transaction, of a partition that is not there", commit(0, 7), to(4))
	ask(t, "of a partition that is not there alone", commit(7))

	// Share groups.
	beat := func(member string, rack *string, topics ...string) func(int16) *kmsg.ShareGroupHeartbeatRequest {
		return func(int16) *kmsg.ShareGroupHeartbeatRequest {
			r := kmsg.NewPtrShareGroupHeartbeatRequest()
			r.GroupID, r.MemberID, r.RackID = t.n("s"), member, rack
			r.SubscribedTopicNames = append([]string{}, topics...)
			return r
		}
	}
	long := strings.Repeat("m", 37)
	ask(t, "of a long member", beat(long, nil, name))
	ask(t, "of an empty rack", beat("m", ptr(""), name))
	ask(t, "of no topics", beat("m", nil))
	acks := func(member string, epoch int32) func(int16) *kmsg.ShareAcknowledgeRequest {
		return func(int16) *kmsg.ShareAcknowledgeRequest {
			r := kmsg.NewPtrShareAcknowledgeRequest()
			r.GroupID, r.MemberID, r.ShareSessionEpoch = ptr(t.n("s")), &member, epoch
			return r
		}
	}
	takes := func(member string, epoch int32) func(int16) *kmsg.ShareFetchRequest {
		return func(int16) *kmsg.ShareFetchRequest {
			r := kmsg.NewPtrShareFetchRequest()
			r.GroupID, r.MemberID, r.ShareSessionEpoch, r.MaxBytes, r.MaxRecords = ptr(t.n("s")), &member, epoch, 1<<20, 10
			return r
		}
	}
	for _, epoch := range []int32{-2, math.MinInt32} {
		ask(t, "of an epoch below -1", takes("m", epoch))
		ask(t, "of an epoch below -1", acks("m", epoch))
	}
	ask(t, "of a long member", takes(long, 1))
	ask(t, "of a long member", acks(long, 1))
	ask(t, "with an empty assignor", func(int16) *kmsg.ConsumerGroupHeartbeatRequest {
		r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		r.Group, r.MemberID, r.RebalanceTimeoutMillis, r.ServerAssignor = t.n("c"), "m", 5000, ptr("")
		r.SubscribedTopicNames, r.Topics = []string{name}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		return r
	})
}

// batched is AddPartitionsToTxn as brokers ask it of each other: of several transactions, or whether something is part of one.
func batched(t *talk) {
	name := t.topic(t.n("t"), 2)
	x, y := t.n("x"), t.n("y")
	p, q := t.producer(&x), t.producer(&y)
	one := func(id string, producer int64, epoch int16, verify bool, topic string, partitions ...int32) kmsg.AddPartitionsToTxnRequestTransaction {
		return kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: id, ProducerID: producer, ProducerEpoch: epoch, VerifyOnly: verify,
			Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: topic, Partitions: partitions}}}
	}
	of := func(all ...kmsg.AddPartitionsToTxnRequestTransaction) func(int16) *kmsg.AddPartitionsToTxnRequest {
		return func(int16) *kmsg.AddPartitionsToTxnRequest {
			r := kmsg.NewPtrAddPartitionsToTxnRequest()
			r.Transactions = all
			return r
		}
	}
	v4 := from(4)
	mine := func(verify bool, partitions ...int32) kmsg.AddPartitionsToTxnRequestTransaction {
		return one(x, p.ProducerID, p.ProducerEpoch, verify, name, partitions...)
	}
	yours := func(verify bool, partitions ...int32) kmsg.AddPartitionsToTxnRequestTransaction {
		return one(y, q.ProducerID, q.ProducerEpoch, verify, name, partitions...)
	}
	ask(t, "before it begins, to see", of(mine(true, 0)), v4)
	ask(t, "of two, one of which is not there", of(mine(false, 0), one(t.n("none"), p.ProducerID, p.ProducerEpoch, false, name, 0)), v4)
	ask(t, "of two", of(mine(false, 0), yours(false, 1)), v4)
	ask(t, "of two, to see", of(mine(true, 0), yours(true, 0)), v4)
	ask(t, "of two, one to see", of(mine(true, 0, 1), yours(false, 0)), v4)
	ask(t, "of partitions that are in it and not, to see", of(mine(true, 0, 1)), v4)
	ask(t, "of no partition", of(mine(false)), v4)
	ask(t, "of a partition twice", of(mine(false, 1, 1)), v4)
	ask(t, "of a partition that is not there", of(mine(false, 0, 7)), v4)
	ask(t, "of a partition that is not there, to see", of(mine(true, 0, 7)), v4)
	ask(t, "of a topic that is not there", of(one(x, p.ProducerID, p.ProducerEpoch, false, t.n("none"), 0)), v4)
	ask(t, "of a bad name", of(one(x, p.ProducerID, p.ProducerEpoch, false, "a b", 0)), v4)
	ask(t, "of another producer", of(one(x, p.ProducerID+999, p.ProducerEpoch, false, name, 0)), v4)
	ask(t, "of another producer, to see", of(one(x, p.ProducerID+999, p.ProducerEpoch, true, name, 0)), v4)
	ask(t, "of a later epoch", of(one(x, p.ProducerID, p.ProducerEpoch+5, false, name, 0)), v4)
	ask(t, "of a later epoch, to see", of(one(x, p.ProducerID, p.ProducerEpoch+5, true, name, 0)), v4)
	ask(t, "without an id", of(one("", p.ProducerID, p.ProducerEpoch, false, name, 0)), v4)
	ask(t, "as two are now", func(int16) *kmsg.DescribeTransactionsRequest {
		r := kmsg.NewPtrDescribeTransactionsRequest()
		r.TransactionalIDs = []string{x, y}
		return r
	}, without("StartTimestamp", "ProducerID", "ProducerEpoch", "CoordinatorEpoch", "Partitions"))
}
