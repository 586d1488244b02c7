package kafka

import (
	"fmt"
	"net"
	"regexp"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// assignable are the topics of a virtual host that groups may be assigned: those that clients can find at all.
type assignable struct{ v *broker.VHost }

// Version implements group.Topics.
func (a assignable) Version() uint64 { return a.v.TopicsVersion() }

// Topic implements group.Topics.
func (a assignable) Topic(name string) (group.TopicInfo, bool) {
	if !broker.LegalTopicName(name) || a.v.FeedExchange(name) != nil {
		return group.TopicInfo{}, false
	}
	q, err := a.v.Queue(name)
	if err != nil || !q.Readable() || q.Deleted() {
		return group.TopicInfo{}, false
	}
	return group.TopicInfo{ID: q.TopicID, Partitions: len(q.Partitions())}, true
}

// matching are the topics that an expression stands for, of those that the client sees.
func (c *conn) matching(re *regexp.Regexp) []string {
	var out []string
	for _, q := range c.session.Queues() {
		if q.Readable() && re.MatchString(q.Name) {
			out = append(out, q.Name)
		}
	}
	return out
}

// mayAssign says whether the client may have the topics that it asks for by name. One that is not there may come.
func (c *conn) mayAssign(names []string) wire.Code {
	for _, name := range names {
		if len(name) > maxTopicBytes {
			return wire.InvalidTopic
		}
		if code := codeOf(c.session.May(broker.Look, broker.OnQueue, name)); code != wire.None {
			return code
		}
	}
	return wire.None
}

func (c *conn) clientHost() string {
	host, _, _ := net.SplitHostPort(c.nc.RemoteAddr().String())
	return "/" + host
}

// Key 68, ConsumerGroupHeartbeat, versions 0 and 1. Everything that a member of a consumer group says and hears (KIP-848): it
// joins with epoch 0, leaves with -1, or -2 if it is a static one that comes again. Answered when what changed is durable.
// From version 1 on members name themselves, and topics may be an expression.
func (c *conn) consumerGroupHeartbeat(h wire.Header, r *kmsg.ConsumerGroupHeartbeatRequest) kmsg.Response {
	res := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	for field, said := range map[string]*string{"InstanceId": r.InstanceID, "RackId": r.RackID} {
		if said != nil && *said == "" {
			res.ErrorCode, res.ErrorMessage = outcome(faultf(wire.InvalidRequest, "%s can't be empty.", field))
			return res
		}
	}
	code := c.mayGroup(broker.Consume, r.Group)
	if code == wire.None {
		code = c.mayAssign(r.SubscribedTopicNames)
	}
	if code != wire.None {
		res.ErrorCode = int16(code)
		return res
	}
	beat := group.EpochHeartbeat{
		Type: group.Consumer, Group: r.Group, MemberID: r.MemberID, InstanceID: deref(r.InstanceID), RackID: deref(r.RackID),
		ClientID: string(h.ClientID), ClientHost: c.clientHost(), Epoch: r.MemberEpoch,
		RebalanceTimeout: time.Duration(r.RebalanceTimeoutMillis) * time.Millisecond,
		Names:            r.SubscribedTopicNames, Regex: r.SubscribedTopicRegex, Assignor: r.ServerAssignor,
		MayMakeID: r.Version == 0, Match: c.matching,
	}
	if r.Topics != nil {
		owned := make(map[group.TopicID][]int32, len(r.Topics))
		for _, t := range r.Topics {
			owned[t.TopicID] = append(owned[t.TopicID], t.Partitions...)
		}
		beat.Owned = group.NewPartitions(owned)
	}
	got := c.heard(r.Group, r.MemberID, r.MemberEpoch, c.groups.EpochHeartbeat(beat))
	res.ErrorCode, res.ErrorMessage = int16(got.Err), ref(got.Why)
	if got.Err != wire.None {
		return res
	}
	res.MemberID, res.MemberEpoch, res.HeartbeatIntervalMillis = &got.MemberID, got.Epoch, int32(got.Interval.Milliseconds())
	if got.Assignment {
		a := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
		for _, id := range got.Assigned.Topics() {
			t := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
			t.TopicID, t.Partitions = id, got.Assigned[id]
			a.Topics = append(a.Topics, t)
		}
		res.Assignment = &a
	}
	return res
}

// heard is what a group answered, if the client may still be in it, and there is memory for it.
func (c *conn) heard(name, member string, epoch int32, got group.EpochReply) group.EpochReply {
	if epoch < 0 {
		c.session.Stopped(broker.Consume, broker.OnGroup, name, member)
	} else if code := c.stillMember(name, got.MemberID, got.Err); code != wire.None && got.Err == wire.None {
		return group.EpochReply{Err: code}
	}
	if err := c.charge(topicBytes*len(got.Assigned) + 16*got.Assigned.Count()); err != nil {
		return group.EpochReply{Err: groupCode(err)}
	}
	return got
}

// Key 69, ConsumerGroupDescribe, versions 0 and 1.
func (c *conn) consumerGroupDescribe(r *kmsg.ConsumerGroupDescribeRequest) kmsg.Response {
	res := kmsg.NewPtrConsumerGroupDescribeResponse()
	for _, name := range onlyOnce(r.Groups, itself) {
		out := kmsg.NewConsumerGroupDescribeResponseGroup()
		out.Group = name
		out.ErrorCode, out.AuthorizedOperations = c.describing(name, r.IncludeAuthorizedOperations, func() wire.Code { return c.describeConsumers(name, &out) })
		res.Groups = append(res.Groups, out)
	}
	return res
}

// described has the memory for the description of a group, or says what it is told in place of it.
func (c *conn) described(name string, kind group.Type) (d group.EpochDescription, code wire.Code, why *string) {
	if name == "" {
		return d, wire.InvalidGroupID, kmsg.StringPtr("The group id can't be empty.")
	}
	d, ok := c.groups.DescribeEpochs(name, kind)
	if !ok {
		text := fmt.Sprintf("Group %s not found.", name)
		if is, known := c.groups.TypeOf(name); known {
			text = fmt.Sprintf("Group %s is a %s group.", name, is)
		}
		text = wire.Text(text)
		return d, wire.GroupIDNotFound, &text
	}
	size := 0
	seen := map[string]bool{}
	for i := range d.Members {
		m := &d.Members[i]
		size += memberBytes + 2*(len(m.ID)+len(m.InstanceID)+len(m.ClientID)+len(m.RackID)+len(m.Regex)) +
			topicBytes*(len(m.Assigned)+len(m.Target)) + 16*(m.Assigned.Count()+m.Target.Count())
		for _, topic := range m.Names {
			size += 2*len(topic) + 32
			seen[topic] = true
		}
	}
	for _, topic := range d.Topics {
		seen[topic] = true
	}
	if err := c.charge(size); err != nil {
		return d, groupCode(err), nil
	}
	for topic := range seen {
		if code := codeOf(c.session.May(broker.Look, broker.OnQueue, topic)); code != wire.None {
			text := "The group has described topic(s) that the client is not authorized to describe."
			return d, code, &text
		}
	}
	return d, wire.None, nil
}

func (c *conn) describeConsumers(name string, out *kmsg.ConsumerGroupDescribeResponseGroup) (code wire.Code) {
	d, code, why := c.described(name, group.Consumer)
	if out.ErrorMessage = why; code != wire.None {
		return code
	}
	assignment := func(p group.Partitions) (a kmsg.Assignment) {
		for _, id := range p.Topics() {
			t := kmsg.NewAssignmentTopicPartition()
			t.TopicID, t.Topic, t.Partitions = id, d.Topics[id], p[id]
			a.TopicPartitions = append(a.TopicPartitions, t)
		}
		return a
	}
	out.State, out.Epoch, out.AssignmentEpoch, out.AssignorName = string(d.State), d.Epoch, d.AssignmentEpoch, d.Assignor
	for i := range d.Members {
		m := &d.Members[i]
		one := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		one.MemberID, one.InstanceID, one.RackID, one.MemberEpoch = m.ID, ref(m.InstanceID), ref(m.RackID), m.Epoch
		one.ClientID, one.ClientHost, one.SubscribedTopics, one.SubscribedTopicRegex = m.ClientID, m.ClientHost, m.Names, &m.Regex
		one.Assignment, one.TargetAssignment, one.MemberType = assignment(m.Assigned), assignment(m.Target), 1
		if m.Classic {
			one.MemberType = 0
		}
		out.Members = append(out.Members, one)
	}
	return wire.None
}
