package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// Key 76, ShareGroupHeartbeat, version 1: a member of a share group joins (0), goes on, or leaves (-1), and hears which
// partitions it is to read. Several may read one.
func (c *conn) shareGroupHeartbeat(h wire.Header, r *kmsg.ShareGroupHeartbeatRequest) kmsg.Response {
	res := kmsg.NewPtrShareGroupHeartbeatResponse()
	code := c.mayGroup(broker.Consume, r.GroupID)
	if code == wire.None {
		code = c.mayAssign(r.SubscribedTopicNames)
	}
	if code != wire.None {
		res.ErrorCode = int16(code)
		return res
	}
	if r.RackID != nil && *r.RackID == "" {
		res.ErrorCode, res.ErrorMessage = int16(wire.InvalidRequest), ref("RackId can't be empty.")
		return res
	}
	got := c.groups.EpochHeartbeat(group.EpochHeartbeat{
		Type: group.Share, Group: r.GroupID, MemberID: r.MemberID, RackID: deref(r.RackID), ClientID: string(h.ClientID), ClientHost: c.clientHost(),
		Epoch: r.MemberEpoch, RebalanceTimeout: -1, Names: r.SubscribedTopicNames,
	})
	if got.Err == wire.None && len(got.Begins) > 0 {
		if code := c.beginShare(r.GroupID, got.Begins); code != wire.None {
			got = group.EpochReply{Err: code, Why: "Where the group begins can't be stored."}
		}
	}
	got = c.heard(r.GroupID, r.MemberID, r.MemberEpoch, got)
	res.ErrorCode, res.ErrorMessage = int16(got.Err), ref(got.Why)
	if got.Err != wire.None {
		return res
	}
	res.MemberID, res.MemberEpoch, res.HeartbeatIntervalMillis = &got.MemberID, got.Epoch, int32(got.Interval.Milliseconds())
	if got.Assignment {
		a := kmsg.NewShareGroupHeartbeatResponseAssignment()
		for _, id := range got.Assigned.Topics() {
			t := kmsg.NewShareGroupHeartbeatResponseAssignmentTopicPartition()
			t.TopicID, t.Partitions = id, got.Assigned[id]
			a.TopicPartitions = append(a.TopicPartitions, t)
		}
		res.Assignment = &a
	}
	return res
}

// Key 77, ShareGroupDescribe, version 1.
func (c *conn) shareGroupDescribe(r *kmsg.ShareGroupDescribeRequest) kmsg.Response {
	res := kmsg.NewPtrShareGroupDescribeResponse()
	for _, name := range onlyOnce(r.GroupIDs, itself) {
		out := kmsg.NewShareGroupDescribeResponseGroup()
		out.GroupID = name
		out.ErrorCode, out.AuthorizedOperations = c.describing(name, r.IncludeAuthorizedOperations, func() wire.Code { return c.describeShare(name, &out) })
		res.Groups = append(res.Groups, out)
	}
	return res
}

func (c *conn) describeShare(name string, out *kmsg.ShareGroupDescribeResponseGroup) (code wire.Code) {
	d, code, why := c.described(name, group.Share)
	if out.ErrorMessage = why; code != wire.None {
		return code
	}
	out.GroupState, out.GroupEpoch, out.AssignmentEpoch, out.Assignor = string(d.State), d.Epoch, d.AssignmentEpoch, d.Assignor
	for i := range d.Members {
		m := &d.Members[i]
		one := kmsg.NewShareGroupDescribeResponseGroupMember()
		one.MemberID, one.RackID, one.MemberEpoch, one.ClientID, one.ClientHost, one.SubscribedTopicNames = m.ID, ref(m.RackID), m.Epoch, m.ClientID, m.ClientHost, m.Names
		for _, id := range m.Assigned.Topics() {
			t := kmsg.NewShareGroupDescribeResponseGroupMemberAssignmentTopicPartition()
			t.TopicID, t.Topic, t.Partitions = id, d.Topics[id], m.Assigned[id]
			one.Assignment.TopicPartitions = append(one.Assignment.TopicPartitions, t)
		}
		out.Members = append(out.Members, one)
	}
	return wire.None
}
