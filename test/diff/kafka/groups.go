package main

import (
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func (t *talk) commit(group, topic string, partition int32, offset int64, change ...func(*kmsg.OffsetCommitRequest)) func(int16) *kmsg.OffsetCommitRequest {
	return func(int16) *kmsg.OffsetCommitRequest {
		r := kmsg.NewPtrOffsetCommitRequest()
		r.Group, r.Generation = group, -1
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.Metadata = partition, offset, ptr("said")
		r.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, TopicID: t.ids[topic], Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
		for _, f := range change {
			f(r)
		}
		return r
	}
}

// committed asks for what a group has committed for partitions of a topic, for all of it without one.
func (t *talk) committed(group, topic string, partitions ...int32) func(int16) *kmsg.OffsetFetchRequest {
	return func(int16) *kmsg.OffsetFetchRequest {
		r := kmsg.NewPtrOffsetFetchRequest()
		one := kmsg.NewOffsetFetchRequestGroup()
		one.Group, one.MemberEpoch, r.Group = group, -1, group
		if topic != "" {
			r.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: topic, Partitions: partitions}}
			one.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, TopicID: t.ids[topic], Partitions: partitions}}
		}
		r.Groups = append(r.Groups, one)
		return r
	}
}

func offsets(t *talk) {
	name := t.topic(t.n("t"), 3)
	g := t.n("g")
	ask(t, "before anything", t.committed(g, name, 0, 1))
	ask(t, "one", t.commit(g, name, 0, 5))
	ask(t, "of one", t.committed(g, name, 0, 1))
	ask(t, "of all", t.committed(g, ""), from(2))
	ask(t, "without words", t.commit(g, name, 1, 6, func(r *kmsg.OffsetCommitRequest) { r.Topics[0].Partitions[0].Metadata = nil }))
	ask(t, "with an epoch", t.commit(g, name, 2, 7, func(r *kmsg.OffsetCommitRequest) { r.Topics[0].Partitions[0].LeaderEpoch = 3 }))
	ask(t, "of three", t.committed(g, name, 0, 1, 2))
	ask(t, "below zero", t.commit(g, name, 1, -1))
	ask(t, "with long words", t.commit(g, name, 1, 1, func(r *kmsg.OffsetCommitRequest) { r.Topics[0].Partitions[0].Metadata = ptr(strings.Repeat("x", 4097)) }))
	ask(t, "of a partition that is not there", t.commit(g, name, 7, 1))
	ask(t, "of a topic that is not there", t.commit(g, t.n("none"), 0, 1), to(9))
	ask(t, "of an id that is not there", t.commit(g, name, 0, 1, func(r *kmsg.OffsetCommitRequest) { r.Topics[0].TopicID = [16]byte{7} }), from(10))
	ask(t, "of a bad name", t.commit(g, "a b", 0, 1), to(9))
	ask(t, "by a member that is not there", t.commit(g, name, 0, 1, func(r *kmsg.OffsetCommitRequest) { r.MemberID, r.Generation = "nobody", 3 }))
	ask(t, "of a generation that is not there", t.commit(g, name, 0, 1, func(r *kmsg.OffsetCommitRequest) { r.Generation = 3 }))
	ask(t, "to a group that is not there, by a member", t.commit(t.n("none"), name, 0, 1, func(r *kmsg.OffsetCommitRequest) { r.MemberID, r.Generation = "nobody", 3 }))
	ask(t, "without a group", t.commit("", name, 0, 1), last)
	ask(t, "of no topic", t.commit(g, name, 0, 1, func(r *kmsg.OffsetCommitRequest) { r.Topics = nil }))
	ask(t, "of a partition that is not there", t.committed(g, name, 7))
	ask(t, "of a topic that is not there", t.committed(g, t.n("none"), 0), to(9))
	ask(t, "of an id that is not there", func(int16) *kmsg.OffsetFetchRequest {
		r := t.committed(g, name, 0)(0)
		r.Groups[0].Topics[0].TopicID = [16]byte{7}
		return r
	}, from(10))
	ask(t, "of a group that is not there", t.committed(t.n("none"), ""), from(2))
	ask(t, "by a member that is not there", func(int16) *kmsg.OffsetFetchRequest {
		r := t.committed(g, name, 0)(0)
		r.Groups[0].MemberID, r.Groups[0].MemberEpoch = ptr("nobody"), 3
		return r
	}, from(9))
	ask(t, "of two groups", func(int16) *kmsg.OffsetFetchRequest {
		r := t.committed(g, name, 0)(0)
		r.Groups = append(r.Groups, t.committed(t.n("none"), name, 0)(0).Groups...)
		return r
	}, from(8))
	ask(t, "that is stable", func(int16) *kmsg.OffsetFetchRequest {
		r := t.committed(g, name, 0)(0)
		r.RequireStable = true
		return r
	}, from(7))
	describe := func(names ...string) func(int16) *kmsg.DescribeGroupsRequest {
		return func(int16) *kmsg.DescribeGroupsRequest {
			r := kmsg.NewPtrDescribeGroupsRequest()
			r.Groups, r.IncludeAuthorizedOperations = names, true
			return r
		}
	}
	ask(t, "with offsets alone", describe(g))
	ask(t, "that is not there", describe(t.n("none")))
	ask(t, "without a name", describe(""))
	ask(t, "of two and one twice", describe(g, t.n("none"), g))
	list := func(states []string, types ...string) func(int16) *kmsg.ListGroupsRequest {
		return func(int16) *kmsg.ListGroupsRequest {
			r := kmsg.NewPtrListGroupsRequest()
			r.StatesFilter, r.TypesFilter = states, types
			return r
		}
	}
	ask(t, "that there are", list(nil), mine)
	ask(t, "that are empty", list([]string{"Empty"}), mine, from(4))
	ask(t, "that are in use", list([]string{"Stable", "PreparingRebalance"}), mine, from(4))
	ask(t, "of an unknown state", list([]string{"Happy"}), mine, from(4))
	ask(t, "of classic ones", list(nil, "classic"), mine, from(5))
	ask(t, "of others", list(nil, "Consumer", "share"), mine, from(5))
	ask(t, "of an unknown type", list(nil, "happy"), mine, from(5))
	drop := func(group, topic string, partitions ...int32) func(int16) *kmsg.OffsetDeleteRequest {
		return func(int16) *kmsg.OffsetDeleteRequest {
			r := kmsg.NewPtrOffsetDeleteRequest()
			r.Group = group
			one := kmsg.OffsetDeleteRequestTopic{Topic: topic}
			for _, p := range partitions {
				one.Partitions = append(one.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
			}
			r.Topics = append(r.Topics, one)
			return r
		}
	}
	ask(t, "one", drop(g, name, 0))
	ask(t, "one that is gone", drop(g, name, 0))
	ask(t, "of a partition that is not there", drop(g, name, 1, 7))
	ask(t, "of a topic that is not there", drop(g, t.n("none"), 0))
	ask(t, "of a group that is not there", drop(t.n("none"), name, 0))
	ask(t, "without a group", drop("", name, 0))
	ask(t, "after some are gone", t.committed(g, name, 0, 1, 2), last)
	remove := func(names ...string) func(int16) *kmsg.DeleteGroupsRequest {
		return func(v int16) *kmsg.DeleteGroupsRequest {
			r := kmsg.NewPtrDeleteGroupsRequest()
			r.Groups = names
			return r
		}
	}
	ask(t, "that is not there", remove(t.n("none")))
	ask(t, "without a name", remove(""))
	ask(t, "one", remove(g), last)
	ask(t, "one that is gone", remove(g))
	find := func(kind int8, names ...string) func(int16) *kmsg.FindCoordinatorRequest {
		return func(int16) *kmsg.FindCoordinatorRequest {
			r := kmsg.NewPtrFindCoordinatorRequest()
			r.CoordinatorType, r.CoordinatorKey, r.CoordinatorKeys = kind, names[0], names
			return r
		}
	}
	ask(t, "of a group", find(0, g))
	ask(t, "of two groups", find(0, g, t.n("h")), from(4))
	ask(t, "of one group twice", find(0, g, g), from(4))
	ask(t, "of a transaction", find(1, t.n("x")), from(1))
	ask(t, "of no name", find(0, ""))
	ask(t, "of a transaction of no name", find(1, ""), from(1))
	ask(t, "of an unknown kind", find(9, g), from(1))
}

// join is a member's request to be one.
func (t *talk) join(group, member string, change ...func(*kmsg.JoinGroupRequest)) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Group, r.MemberID, r.ProtocolType, r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = group, member, "consumer", 30_000, 5_000
	r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("about")}}
	for _, f := range change {
		f(r)
	}
	return r
}

// classic is a group whose members assign partitions themselves, in each version of JoinGroup.
func classic(t *talk) {
	name := t.topic(t.n("t"), 2)
	for v := range offered[11][1] + 1 {
		clear(t.lines.tokens) // members are told alike in all versions
		g := versionedName(t.n("g"), v)
		sync, beat, leave := min(v, 5), min(v, 4), min(v, 5)
		bad := func(title string, change func(*kmsg.JoinGroupRequest)) {
			ask(t, title, func(int16) *kmsg.JoinGroupRequest { return t.join(t.n("bad"), "", change) }, only(v))
		}
		bad("with a session that is too short", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 10 })
		bad("with a session that is too long", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 10_000_000 })
		bad("without a group", func(r *kmsg.JoinGroupRequest) { r.Group = "" })
		bad("without a protocol", func(r *kmsg.JoinGroupRequest) { r.Protocols = nil })
		bad("without a kind of protocol", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" })
		bad("as a member that is not there", func(r *kmsg.JoinGroupRequest) { r.MemberID = "nobody" })
		member := ""
		first := ask(t, "for the first time", func(int16) *kmsg.JoinGroupRequest { return t.join(g, "") }, only(v), without("Reason"))
		res := first.(*kmsg.JoinGroupResponse)
		member = res.MemberID
		if res.ErrorCode == 79 {
			res = ask(t, "with an id", func(int16) *kmsg.JoinGroupRequest { return t.join(g, member) }, only(v)).(*kmsg.JoinGroupResponse)
		}
		generation := res.Generation
		syncOf := func(change ...func(*kmsg.SyncGroupRequest)) func(int16) *kmsg.SyncGroupRequest {
			return func(int16) *kmsg.SyncGroupRequest {
				r := kmsg.NewPtrSyncGroupRequest()
				r.Group, r.MemberID, r.Generation, r.ProtocolType, r.Protocol = g, member, generation, ptr("consumer"), ptr("range")
				r.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: member, MemberAssignment: []byte("all")}}
				for _, f := range change {
					f(r)
				}
				return r
			}
		}
		beatOf := func(change ...func(*kmsg.HeartbeatRequest)) func(int16) *kmsg.HeartbeatRequest {
			return func(int16) *kmsg.HeartbeatRequest {
				r := kmsg.NewPtrHeartbeatRequest()
				r.Group, r.MemberID, r.Generation = g, member, generation
				for _, f := range change {
					f(r)
				}
				return r
			}
		}
		ask(t, "before a sync", beatOf(), only(beat))
		ask(t, "of a generation to come", syncOf(func(r *kmsg.SyncGroupRequest) { r.Generation += 5 }), only(sync))
		ask(t, "of nobody", syncOf(func(r *kmsg.SyncGroupRequest) { r.MemberID = "nobody" }), only(sync))
		ask(t, "of a group that is not there", syncOf(func(r *kmsg.SyncGroupRequest) { r.Group = t.n("none") }), only(sync))
		if sync >= 5 {
			ask(t, "of another protocol", syncOf(func(r *kmsg.SyncGroupRequest) { r.Protocol = ptr("roundrobin") }), only(sync))
		}
		ask(t, "with an assignment", syncOf(), only(sync))
		ask(t, "again", syncOf(), only(sync))
		ask(t, "after a sync", beatOf(), only(beat))
		ask(t, "of a generation that was", beatOf(func(r *kmsg.HeartbeatRequest) { r.Generation-- }), only(beat))
		ask(t, "of nobody", beatOf(func(r *kmsg.HeartbeatRequest) { r.MemberID = "nobody" }), only(beat))
		ask(t, "of a group that is not there", beatOf(func(r *kmsg.HeartbeatRequest) { r.Group = t.n("none") }), only(beat))
		ask(t, "without a group", beatOf(func(r *kmsg.HeartbeatRequest) { r.Group = "" }), only(beat))
		if beat >= 3 {
			ask(t, "with another instance", beatOf(func(r *kmsg.HeartbeatRequest) { r.InstanceID = ptr("i") }), only(beat))
		}
		ask(t, "by its member", t.commit(g, name, 0, 3, func(r *kmsg.OffsetCommitRequest) { r.MemberID, r.Generation = member, generation }), last)
		ask(t, "of a generation that was", t.commit(g, name, 0, 3, func(r *kmsg.OffsetCommitRequest) { r.MemberID, r.Generation = member, generation-1 }), last)
		ask(t, "without a member", t.commit(g, name, 0, 3), last)
		ask(t, "in use", func(int16) *kmsg.DescribeGroupsRequest {
			r := kmsg.NewPtrDescribeGroupsRequest()
			r.Groups = []string{g}
			return r
		}, last)
		ask(t, "in use", func(int16) *kmsg.DeleteGroupsRequest {
			r := kmsg.NewPtrDeleteGroupsRequest()
			r.Groups = []string{g}
			return r
		}, last)
		ask(t, "with another kind of protocol", func(int16) *kmsg.JoinGroupRequest {
			return t.join(g, "", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" })
		}, only(3))
		ask(t, "with protocols that nobody has", func(int16) *kmsg.JoinGroupRequest {
			return t.join(g, "", func(r *kmsg.JoinGroupRequest) { r.Protocols[0].Name = "sticky" })
		}, only(3))
		// A second member, which has the first join again.
		other := ""
		if v >= 4 {
			other = ask(t, "of a second", func(int16) *kmsg.JoinGroupRequest { return t.join(g, "") }, only(v)).(*kmsg.JoinGroupResponse).MemberID
		}
		second := t.begin(1, t.join(g, other), v)
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) { // until it has come
			h := beatOf()(0)
			if quietly[*kmsg.HeartbeatResponse](t, h, beat).ErrorCode == 27 {
				break
			}
		}
		ask(t, "during a rebalance", beatOf(), only(beat))
		ask(t, "during a rebalance", syncOf(), only(sync))
		again := ask(t, "again, with a second", func(int16) *kmsg.JoinGroupRequest { return t.join(g, member) }, only(v))
		joined := second.end("of the second").(*kmsg.JoinGroupResponse)
		generation = again.(*kmsg.JoinGroupResponse).Generation
		follow := kmsg.NewPtrSyncGroupRequest()
		follow.Group, follow.MemberID, follow.Generation, follow.ProtocolType, follow.Protocol = g, joined.MemberID, generation, ptr("consumer"), ptr("range")
		waits := t.begin(1, follow, sync)
		ask(t, "with two assignments", syncOf(func(r *kmsg.SyncGroupRequest) {
			r.GroupAssignment = append(r.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: joined.MemberID, MemberAssignment: []byte("some")})
		}), only(sync))
		waits.end("of the second")
		leaveOf := func(members ...string) func(int16) *kmsg.LeaveGroupRequest {
			return func(int16) *kmsg.LeaveGroupRequest {
				r := kmsg.NewPtrLeaveGroupRequest()
				r.Group, r.MemberID = g, members[0]
				for _, m := range members {
					r.Members = append(r.Members, kmsg.LeaveGroupRequestMember{MemberID: m})
				}
				return r
			}
		}
		ask(t, "of nobody", leaveOf("nobody"), only(leave))
		ask(t, "of the second", leaveOf(joined.MemberID), only(leave))
		ask(t, "after one left", beatOf(), only(beat))
		ask(t, "of the first, and of nobody", leaveOf(member, "nobody"), only(leave))
		ask(t, "after all left", func(int16) *kmsg.DescribeGroupsRequest {
			r := kmsg.NewPtrDescribeGroupsRequest()
			r.Groups = []string{g}
			return r
		}, last)
		ask(t, "after all left", beatOf(), only(beat))
	}
	// Static members.
	g := t.n("static")
	static := func(member, instance string) *kmsg.JoinGroupRequest {
		return t.join(g, member, func(r *kmsg.JoinGroupRequest) { r.InstanceID = ptr(instance) })
	}
	first := ask(t, "of an instance", func(int16) *kmsg.JoinGroupRequest { return static("", "one") }, last).(*kmsg.JoinGroupResponse)
	s := kmsg.NewPtrSyncGroupRequest()
	s.Group, s.MemberID, s.Generation, s.InstanceID, s.ProtocolType, s.Protocol = g, first.MemberID, first.Generation, ptr("one"), ptr("consumer"), ptr("range")
	s.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: first.MemberID, MemberAssignment: []byte("all")}}
	ask(t, "of an instance", func(int16) *kmsg.SyncGroupRequest { return s }, last)
	second := ask(t, "of the instance again", func(int16) *kmsg.JoinGroupRequest { return static("", "one") }, last).(*kmsg.JoinGroupResponse)
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.MemberID, beat.InstanceID, beat.Generation = g, first.MemberID, ptr("one"), first.Generation
	ask(t, "of the member that the instance was", func(int16) *kmsg.HeartbeatRequest { return beat }, last)
	ask(t, "of the member that the instance was", func(int16) *kmsg.JoinGroupRequest { return static(first.MemberID, "one") }, last)
	ask(t, "of another instance as that member", func(int16) *kmsg.JoinGroupRequest { return static(second.MemberID, "two") }, last)
	ask(t, "of an instance", func(int16) *kmsg.LeaveGroupRequest {
		r := kmsg.NewPtrLeaveGroupRequest()
		r.Group = g
		r.Members = []kmsg.LeaveGroupRequestMember{{InstanceID: ptr("one")}, {InstanceID: ptr("nobody")}}
		return r
	}, last)
}

// consumer is a group whose partitions the broker assigns (KIP-848).
func consumer(t *talk) {
	name := t.topic(t.n("t"), 2)
	g := t.n("g")
	beat := func(member string, epoch int32, change ...func(*kmsg.ConsumerGroupHeartbeatRequest)) func(int16) *kmsg.ConsumerGroupHeartbeatRequest {
		return func(int16) *kmsg.ConsumerGroupHeartbeatRequest {
			r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			r.Group, r.MemberID, r.MemberEpoch, r.RebalanceTimeoutMillis = g, member, epoch, -1
			if epoch == 0 {
				r.RebalanceTimeoutMillis, r.SubscribedTopicNames, r.Topics = 5000, []string{name}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			}
			for _, f := range change {
				f(r)
			}
			return r
		}
	}
	random := without("HeartbeatIntervalMillis")
	bad := func(title string, change func(*kmsg.ConsumerGroupHeartbeatRequest), options ...option) {
		ask(t, title, beat("m", 0, change), append(options, random)...)
	}
	bad("without a group", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "" })
	bad("without a member", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "" }, only(1))
	bad("without topics", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil })
	bad("without partitions", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Topics = nil })
	bad("with partitions", func(r *kmsg.ConsumerGroupHeartbeatRequest) {
		r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: t.ids[name], Partitions: []int32{0}}}
	})
	bad("without a time to rebalance", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 })
	bad("with an unknown assignor", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = ptr("best") })
	bad("with a bad expression", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = ptr("[") }, only(1))
	bad("with an empty instance", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = ptr("") })
	bad("with an empty rack", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = ptr("") })
	bad("of an epoch below", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -3 })
	bad("of an epoch that is not there", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 5 })
	bad("that leaves before it is there", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -1 })
	res := ask(t, "that joins", beat("m", 0), only(1), random, without("MemberEpoch"))
	epoch := int32(0)
	if joined, ok := res.(*kmsg.ConsumerGroupHeartbeatResponse); ok {
		epoch = joined.MemberEpoch
	}
	owned := func(r *kmsg.ConsumerGroupHeartbeatRequest) {
		r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: t.ids[name], Partitions: []int32{0, 1}}}
	}
	ask(t, "with what it has", beat("m", epoch, owned), only(1), random, without("MemberEpoch"))
	ask(t, "with nothing to say", beat("m", epoch), only(1), random, without("MemberEpoch"))
	ask(t, "of an epoch to come", beat("m", epoch+9), only(1), random)
	ask(t, "of a member that is not there", beat("nobody", epoch), only(1), random)
	describe := func(names ...string) func(int16) *kmsg.ConsumerGroupDescribeRequest {
		return func(int16) *kmsg.ConsumerGroupDescribeRequest {
			r := kmsg.NewPtrConsumerGroupDescribeRequest()
			r.Groups, r.IncludeAuthorizedOperations = names, true
			return r
		}
	}
	epochs := without("Epoch", "AssignmentEpoch", "MemberEpoch")
	ask(t, "in use", describe(g), epochs)
	ask(t, "that is not there", describe(t.n("none")))
	ask(t, "without a name", describe(""))
	ask(t, "in use", func(int16) *kmsg.DescribeGroupsRequest {
		r := kmsg.NewPtrDescribeGroupsRequest()
		r.Groups = []string{g}
		return r
	})
	ask(t, "in use", func(int16) *kmsg.ListGroupsRequest { return kmsg.NewPtrListGroupsRequest() }, mine)
	ask(t, "in use", func(int16) *kmsg.DeleteGroupsRequest {
		r := kmsg.NewPtrDeleteGroupsRequest()
		r.Groups = []string{g}
		return r
	}, last)
	ask(t, "by its member", t.commit(g, name, 0, 3, func(r *kmsg.OffsetCommitRequest) { r.MemberID, r.Generation = "m", epoch }), from(9))
	ask(t, "of an epoch to come", t.commit(g, name, 0, 3, func(r *kmsg.OffsetCommitRequest) { r.MemberID, r.Generation = "m", epoch+9 }))
	ask(t, "of nobody", t.commit(g, name, 0, 3, func(r *kmsg.OffsetCommitRequest) { r.MemberID, r.Generation = "nobody", epoch }))
	ask(t, "without a member", t.commit(g, name, 0, 3), last)
	ask(t, "of a member", func(int16) *kmsg.OffsetFetchRequest {
		r := t.committed(g, name, 0)(0)
		r.Groups[0].MemberID, r.Groups[0].MemberEpoch = ptr("m"), epoch
		return r
	}, from(9))
	ask(t, "of a member of an epoch to come", func(int16) *kmsg.OffsetFetchRequest {
		r := t.committed(g, name, 0)(0)
		r.Groups[0].MemberID, r.Groups[0].MemberEpoch = ptr("m"), epoch+9
		return r
	}, from(9))
	ask(t, "that leaves", beat("m", -1), only(1), random)
	ask(t, "that has left", beat("m", epoch), only(1), random)
	ask(t, "after all left", describe(g), epochs)
}
