package main

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// shared is a share group's conversation (KIP-932).
func shared(t *talk) {
	name := t.topic(t.n("t"), 1)
	g := t.n("g")
	beat := func(group, member string, epoch int32, topics ...string) func(int16) *kmsg.ShareGroupHeartbeatRequest {
		return func(int16) *kmsg.ShareGroupHeartbeatRequest {
			r := kmsg.NewPtrShareGroupHeartbeatRequest()
			r.GroupID, r.MemberID, r.MemberEpoch, r.SubscribedTopicNames = group, member, epoch, topics
			return r
		}
	}
	random := without("HeartbeatIntervalMillis", "MemberEpoch", "Assignment")
	ask(t, "without a group", beat("", "m", 0, name), random)
	ask(t, "without a member", beat(g, "", 0, name), random)
	ask(t, "without topics", beat(g, "m", 0), random)
	ask(t, "of an epoch below", beat(g, "m", -3, name), random)
	ask(t, "of a member that is not there", beat(g, "m", 5), random)
	ask(t, "that joins", beat(g, "m", 0, name), random)
	describe := func(names ...string) func(int16) *kmsg.ShareGroupDescribeRequest {
		return func(int16) *kmsg.ShareGroupDescribeRequest {
			r := kmsg.NewPtrShareGroupDescribeRequest()
			r.GroupIDs = names
			return r
		}
	}
	ask(t, "that is not there", describe(t.n("none")))
	ask(t, "in use", describe(g), without("GroupEpoch", "AssignmentEpoch", "MemberEpoch", "Assignment"))
	ask(t, "in use", func(int16) *kmsg.ListGroupsRequest { return kmsg.NewPtrListGroupsRequest() }, mine, last)
	ask(t, "that is a share group", func(int16) *kmsg.DescribeGroupsRequest {
		r := kmsg.NewPtrDescribeGroupsRequest()
		r.Groups = []string{g}
		return r
	}, last)
	get := func(group, member *string, epoch int32, id [16]byte, partition int32) func(int16) *kmsg.ShareFetchRequest {
		return func(int16) *kmsg.ShareFetchRequest {
			r := kmsg.NewPtrShareFetchRequest()
			r.GroupID, r.MemberID, r.ShareSessionEpoch = group, member, epoch
			r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.MaxRecords, r.BatchSize = 50, 0, 1<<20, 100, 100
			p := kmsg.NewShareFetchRequestTopicPartition()
			p.Partition, p.PartitionMaxBytes = partition, 1<<20
			r.Topics = []kmsg.ShareFetchRequestTopic{{TopicID: id, Partitions: []kmsg.ShareFetchRequestTopicPartition{p}}}
			return r
		}
	}
	m := ptr("AAAAAAAAAAAAAAAAAAAAAA")
	lock := without("AcquisitionLockTimeoutMillis")
	ask(t, "without a group", get(ptr(""), m, 0, t.ids[name], 0), lock, last)
	ask(t, "of no session", get(&g, m, 7, t.ids[name], 0), lock, last)
	ask(t, "that ends no session", get(&g, m, -1, t.ids[name], 0), lock, last)
	ask(t, "of an id that is not there", get(&g, m, 0, [16]byte{7}, 0), lock, last)
	ask(t, "of a session's wrong epoch", get(&g, m, 9, t.ids[name], 0), lock, last)
	acknowledge := func(epoch int32, id [16]byte, first, last int64, kinds ...int8) func(int16) *kmsg.ShareAcknowledgeRequest {
		return func(int16) *kmsg.ShareAcknowledgeRequest {
			r := kmsg.NewPtrShareAcknowledgeRequest()
			r.GroupID, r.MemberID, r.ShareSessionEpoch = &g, m, epoch
			p := kmsg.NewShareAcknowledgeRequestTopicPartition()
			b := kmsg.NewShareAcknowledgeRequestTopicPartitionAcknowledgementBatch()
			b.FirstOffset, b.LastOffset, b.AcknowledgeTypes = first, last, kinds
			p.AcknowledgementBatches = append(p.AcknowledgementBatches, b)
			r.Topics = []kmsg.ShareAcknowledgeRequestTopic{{TopicID: id, Partitions: []kmsg.ShareAcknowledgeRequestTopicPartition{p}}}
			return r
		}
	}
	ask(t, "in no session", acknowledge(0, t.ids[name], 0, 0, 1), lock, last)
	ask(t, "in a session's wrong epoch", acknowledge(9, t.ids[name], 0, 0, 1), lock, last)
	ask(t, "that leaves", beat(g, "m", -1), random)
}

// acquiring is what a share group's members are handed and what they say of it.
func acquiring(t *talk) {
	reset := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for v := range int16(3) {
		reset.Resources = append(reset.Resources, kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: versionedName(t.n("g"), v),
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "share.auto.offset.reset", Value: ptr("earliest")}}})
	}
	quietly[*kmsg.IncrementalAlterConfigsResponse](t, reset, 1)
	t.rest()
	for v := int16(1); v <= 2; v++ {
		t.acquires(v)
	}
}

// sharer is a member of a share group, with its session.
type sharer struct {
	t         *talk
	v         int16
	group, id string
	topic     string
	member    int32 // its epoch
	epoch     int32 // its session's
}

type verdicts struct {
	first, last int64
	kinds       []int8
}

func (s *sharer) beat(epoch int32) *kmsg.ShareGroupHeartbeatResponse {
	r := kmsg.NewPtrShareGroupHeartbeatRequest()
	r.GroupID, r.MemberID, r.MemberEpoch = s.group, s.id, epoch
	if epoch == 0 {
		r.SubscribedTopicNames = []string{s.topic}
	}
	return quietly[*kmsg.ShareGroupHeartbeatResponse](s.t, r, 1)
}

// join waits until it is assigned the topic, and has it read as far as there is nothing.
func (s *sharer) join() {
	res := s.beat(0)
	for end := time.Now().Add(patience); time.Now().Before(end) && (res.Assignment == nil || len(res.Assignment.TopicPartitions) == 0); time.Sleep(20 * time.Millisecond) {
		res = s.beat(res.MemberEpoch)
	}
	s.member = res.MemberEpoch
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		r := s.fetch(0)
		r.MinBytes, r.MaxWaitMillis = 0, 0
		got := quietly[*kmsg.ShareFetchResponse](s.t, r, s.v)
		ready := len(got.Topics) == 1 && got.Topics[0].Partitions[0].ErrorCode == 0
		if got.ErrorCode == 0 && (ready || s.t.settle == 0) {
			s.epoch = 1
			return
		}
	}
}

// fetch is a request for its topic's one partition.
func (s *sharer) fetch(epoch int32, of ...verdicts) *kmsg.ShareFetchRequest {
	r := kmsg.NewPtrShareFetchRequest()
	r.GroupID, r.MemberID, r.ShareSessionEpoch = &s.group, &s.id, epoch
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.MaxRecords, r.BatchSize = 100, 1, 1<<20, 100, 100
	p := kmsg.NewShareFetchRequestTopicPartition()
	p.PartitionMaxBytes = 1 << 20
	for _, o := range of {
		p.AcknowledgementBatches = append(p.AcknowledgementBatches, kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{FirstOffset: o.first, LastOffset: o.last, AcknowledgeTypes: o.kinds})
	}
	r.Topics = []kmsg.ShareFetchRequestTopic{{TopicID: s.t.ids[s.topic], Partitions: []kmsg.ShareFetchRequestTopicPartition{p}}}
	return r
}

// gets asks for records in the session's turn.
func (s *sharer) gets(title string, change func(*kmsg.ShareFetchRequest), of ...verdicts) {
	res, _ := ask(s.t, title, func(int16) *kmsg.ShareFetchRequest {
		r := s.fetch(s.epoch, of...)
		if change != nil {
			change(r)
		}
		return r
	}, only(s.v), without("AcquisitionLockTimeoutMillis")).(*kmsg.ShareFetchResponse)
	s.counted(res != nil && (res.ErrorCode == 0 || res.ErrorCode == -1))
}

// counted moves the session on by a request that it has taken.
func (s *sharer) counted(taken bool) {
	if taken {
		s.epoch++
	}
}

// end is the first offset of the batch that was stored last.
func (s *sharer) end(v int16) int64 { return 9 + 3*int64(v-1) }

// says settles records in the session's turn.
func (s *sharer) says(title string, change func(*kmsg.ShareAcknowledgeRequest), of ...verdicts) {
	res, _ := ask(s.t, title, func(int16) *kmsg.ShareAcknowledgeRequest {
		r := kmsg.NewPtrShareAcknowledgeRequest()
		r.GroupID, r.MemberID, r.ShareSessionEpoch = &s.group, &s.id, s.epoch
		p := kmsg.NewShareAcknowledgeRequestTopicPartition()
		for _, o := range of {
			p.AcknowledgementBatches = append(p.AcknowledgementBatches, kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch{FirstOffset: o.first, LastOffset: o.last, AcknowledgeTypes: o.kinds})
		}
		r.Topics = []kmsg.ShareAcknowledgeRequestTopic{{TopicID: s.t.ids[s.topic], Partitions: []kmsg.ShareAcknowledgeRequestTopicPartition{p}}}
		if change != nil {
			change(r)
		}
		return r
	}, only(s.v), without("AcquisitionLockTimeoutMillis")).(*kmsg.ShareAcknowledgeResponse)
	s.counted(res != nil && (res.ErrorCode == 0 || res.ErrorCode == -1))
}

func (t *talk) acquires(v int16) {
	const gap, accept, release, reject, renew int8 = 0, 1, 2, 3, 4
	name := t.topic(versionedName(t.n("t"), v), 1)
	g := versionedName(t.n("g"), v)
	s := &sharer{t: t, v: v, group: g, id: "AAAAAAAAAAAAAAAAAAAAAA", topic: name}
	s.join()
	for _, value := range []string{"a", "b", "c", "d", "e"} {
		t.fill(name, 0, value) // a batch each
	}
	few := func(n int32) func(*kmsg.ShareFetchRequest) {
		return func(r *kmsg.ShareFetchRequest) { r.MaxRecords = n }
	}
	s.gets("of three at most", few(3))
	s.gets("of nothing more to say, of two at most", few(2))
	s.gets("of what is all handed out", nil)
	s.says("of each of three", nil, verdicts{0, 2, []int8{accept, release, reject}})
	s.gets("of what came back", nil)
	s.says("of what was never handed out", nil, verdicts{20, 22, []int8{accept}})
	s.says("of what is settled", nil, verdicts{0, 0, []int8{accept}})
	s.says("the wrong way round", nil, verdicts{1, 0, []int8{accept}})
	s.says("below zero", nil, verdicts{-3, -2, []int8{accept}})
	s.says("of an unknown kind", nil, verdicts{1, 1, []int8{9}})
	s.says("of a kind below zero", nil, verdicts{1, 1, []int8{-1}})
	s.says("of no kind", nil, verdicts{1, 1, nil})
	s.says("of more kinds than records", nil, verdicts{1, 1, []int8{accept, accept}})
	s.says("of fewer kinds than records", nil, verdicts{1, 4, []int8{accept, accept}})
	s.says("of what overlaps", nil, verdicts{1, 3, []int8{accept}}, verdicts{3, 4, []int8{accept}})
	s.says("out of order", nil, verdicts{3, 3, []int8{release}}, verdicts{1, 1, []int8{release}})
	s.says("of a gap", nil, verdicts{3, 3, []int8{gap}})
	s.gets("after a gap", nil)
	s.says("that renews", func(r *kmsg.ShareAcknowledgeRequest) { r.IsRenewAck = true }, verdicts{1, 1, []int8{renew}})
	s.says("that renews and does not say so", nil, verdicts{1, 1, []int8{renew}})
	s.says("of none", nil)
	s.says("of no topic", func(r *kmsg.ShareAcknowledgeRequest) { r.Topics = nil })
	s.says("of a partition that is not there", func(r *kmsg.ShareAcknowledgeRequest) { r.Topics[0].Partitions[0].Partition = 7 }, verdicts{1, 1, []int8{accept}})
	s.says("with another id of a member", func(r *kmsg.ShareAcknowledgeRequest) { r.MemberID = ptr("BBBBBBBBBBBBBBBBBBBBBB") }, verdicts{1, 1, []int8{accept}})
	s.says("with an id that is none", func(r *kmsg.ShareAcknowledgeRequest) { r.MemberID = ptr("m") }, verdicts{1, 1, []int8{accept}})
	s.says("without a member", func(r *kmsg.ShareAcknowledgeRequest) { r.MemberID = nil }, verdicts{1, 1, []int8{accept}})
	s.says("without a group", func(r *kmsg.ShareAcknowledgeRequest) { r.GroupID = nil }, verdicts{1, 1, []int8{accept}})
	s.says("of a group that is not there", func(r *kmsg.ShareAcknowledgeRequest) { r.GroupID = ptr(t.n("none")) }, verdicts{1, 1, []int8{accept}})
	s.says("of an epoch to come", func(r *kmsg.ShareAcknowledgeRequest) { r.ShareSessionEpoch += 5 }, verdicts{1, 1, []int8{accept}})
	s.says("that begins", func(r *kmsg.ShareAcknowledgeRequest) { r.ShareSessionEpoch = 0 }, verdicts{1, 1, []int8{accept}})
	s.gets("that gives back what it had", nil, verdicts{1, 1, []int8{release}}, verdicts{4, 4, []int8{release}})
	s.gets("again, with what is given back", nil)
	s.gets("with verdicts of an unknown kind", nil, verdicts{1, 1, []int8{9}})
	s.gets("with verdicts of what was never handed out", nil, verdicts{50, 51, []int8{accept}})
	s.gets("that renews", func(r *kmsg.ShareFetchRequest) { r.IsRenewAck = true }, verdicts{1, 1, []int8{renew}})
	s.gets("that renews and asks for none", func(r *kmsg.ShareFetchRequest) {
		r.IsRenewAck, r.MaxBytes, r.MinBytes, r.MaxRecords, r.MaxWaitMillis = true, 0, 0, 0, 0
	}, verdicts{1, 1, []int8{renew}})
	s.gets("of no record", few(0))
	s.gets("of a number of records below zero", few(-1))
	s.gets("of no batch", func(r *kmsg.ShareFetchRequest) { r.BatchSize = 0 })
	s.gets("of no bytes", func(r *kmsg.ShareFetchRequest) { r.MaxBytes = 0 })
	s.gets("in another way", func(r *kmsg.ShareFetchRequest) { r.ShareAcquireMode = 7 })
	s.gets("without a member", func(r *kmsg.ShareFetchRequest) { r.MemberID = nil })
	s.gets("with an id that is none", func(r *kmsg.ShareFetchRequest) { r.MemberID = ptr("m") })
	s.gets("of a partition that is not there", func(r *kmsg.ShareFetchRequest) { r.Topics[0].Partitions[0].Partition = 7 })
	s.gets("without that partition", func(r *kmsg.ShareFetchRequest) {
		r.Topics = nil
		r.ForgottenTopicsData = []kmsg.ShareFetchRequestForgottenTopicsData{{TopicID: t.ids[name], Partitions: []int32{7}}}
	})
	s.gets("out of turn", func(r *kmsg.ShareFetchRequest) { r.ShareSessionEpoch += 3 })
	for _, value := range []string{"f", "g", "h", "i"} {
		t.fill(name, 0, value)
	}
	s.gets("in small batches", func(r *kmsg.ShareFetchRequest) { r.BatchSize = 2 })
	if v == 2 {
		t.fill(name, 0, "j", "k", "l")
		s.gets("of no more than one", func(r *kmsg.ShareFetchRequest) { r.MaxRecords, r.ShareAcquireMode = 1, 1 })
		s.gets("of the rest of that batch", nil)
		s.says("of that batch", nil, verdicts{9, 11, []int8{accept}})
	}
	t.fill(name, 0, "m", "n", "o")
	s.gets("of part of a batch", few(1))
	s.gets("of the rest of a batch", nil)
	s.says("of the batch", nil, verdicts{s.end(v), s.end(v) + 2, []int8{accept}})
	s.gets("that begins, with verdicts", func(r *kmsg.ShareFetchRequest) { r.ShareSessionEpoch = 0 }, verdicts{5, 5, []int8{accept}})
	s.says("of the rest but the first", nil, verdicts{4, 8, []int8{accept}})
	offsets := func(group, topic string, partitions ...int32) func(int16) *kmsg.DescribeShareGroupOffsetsRequest {
		return func(int16) *kmsg.DescribeShareGroupOffsetsRequest {
			r := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
			r.Groups = []kmsg.DescribeShareGroupOffsetsRequestGroup{{GroupID: group, Topics: []kmsg.DescribeShareGroupOffsetsRequestGroupTopic{{Topic: topic, Partitions: partitions}}}}
			return r
		}
	}
	t.rest()
	ask(t, "in use", offsets(g, name, 0))
	alter := func(group, topic string, partition int32, offset int64) func(int16) *kmsg.AlterShareGroupOffsetsRequest {
		return func(int16) *kmsg.AlterShareGroupOffsetsRequest {
			r := kmsg.NewPtrAlterShareGroupOffsetsRequest()
			r.GroupID = group
			r.Topics = []kmsg.AlterShareGroupOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.AlterShareGroupOffsetsRequestTopicPartition{{Partition: partition, StartOffset: offset}}}}
			return r
		}
	}
	drop := func(group string, topics ...string) func(int16) *kmsg.DeleteShareGroupOffsetsRequest {
		return func(int16) *kmsg.DeleteShareGroupOffsetsRequest {
			r := kmsg.NewPtrDeleteShareGroupOffsetsRequest()
			r.GroupID = group
			for _, n := range topics {
				r.Topics = append(r.Topics, kmsg.DeleteShareGroupOffsetsRequestTopic{Topic: n})
			}
			return r
		}
	}
	ask(t, "in use", alter(g, name, 0, 0))
	ask(t, "in use", drop(g, name))
	// Another member is handed what the first gives back by ending its session.
	o := &sharer{t: t.on(1), v: v, group: g, id: "CCCCCCCCCCCCCCCCCCCCCC", topic: name}
	o.join()
	o.gets("of another member, of what is handed out", nil)
	s.t.on(0)
	s.says("that ends", func(r *kmsg.ShareAcknowledgeRequest) { r.ShareSessionEpoch = -1 })
	t.on(1)
	o.gets("of another member, after the first ended", nil)
	o.gets("of another member, that ends", func(r *kmsg.ShareFetchRequest) { r.ShareSessionEpoch, r.Topics = -1, nil })
	o.beat(-1)
	t.on(0)
	s.beat(-1)
	t.rest()
	ask(t, "of a topic that is not there", offsets(g, t.n("none"), 0))
	ask(t, "of a group that is not there", offsets(t.n("none"), name, 0))
	ask(t, "without a group", offsets("", name, 0))
	ask(t, "of all", func(int16) *kmsg.DescribeShareGroupOffsetsRequest {
		r := offsets(g, name)(0)
		r.Groups[0].Topics = nil
		return r
	})
	ask(t, "of none", func(int16) *kmsg.DescribeShareGroupOffsetsRequest {
		return kmsg.NewPtrDescribeShareGroupOffsetsRequest()
	})
	ask(t, "to one", alter(g, name, 0, 1))
	ask(t, "below zero", alter(g, name, 0, -1))
	ask(t, "beyond the end", alter(g, name, 0, 99))
	ask(t, "of a partition that is not there", alter(g, name, 7, 1))
	ask(t, "of a topic that is not there", alter(g, t.n("none"), 0, 1))
	ask(t, "of a group that is not there", alter(t.n("none"), t.topic(versionedName(t.n("u"), v), 1), 0, 0))
	ask(t, "without a group", alter("", name, 0, 1))
	t.rest()
	ask(t, "after a change", offsets(g, name, 0))
	ask(t, "of a topic that is not there", drop(g, t.n("none")))
	ask(t, "of a group that is not there", drop(t.n("none"), name))
	ask(t, "without a group", drop("", name))
	ask(t, "of no topic", drop(g))
	ask(t, "of a topic twice", drop(g, name, name))
	t.rest()
	ask(t, "after a deletion", offsets(g, name, 0))
}
