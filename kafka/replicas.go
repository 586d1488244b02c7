package kafka

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// What tools ask of where partitions are and who leads them. There is one broker with one directory: what is there is where it
// is to be, nothing is under way, and what asks for more is refused as Kafka refuses it of a broker that is not there.

// partitionThere tells whether there is a partition, to who may ask this of all of them.
func (c *conn) partitionThere(topic string, index int32) error {
	if broker.LegalTopicName(topic) {
		if q, err := c.vhost.Queue(topic); err == nil && q.Readable() && partitionOf(q, index) != nil {
			return nil
		}
	}
	return faultf(wire.UnknownTopicOrPartition, "there is no partition %d of a topic '%s'", index, topic[:min(len(topic), maxTopicBytes)])
}

// Key 43, ElectLeaders, versions 0 to 2. A null list asks for all, of which nothing is told that is as it should be.
func (c *conn) electLeaders(r *kmsg.ElectLeadersRequest) kmsg.Response {
	res := kmsg.NewPtrElectLeadersResponse()
	denied := c.session.May(broker.Alter, broker.OnCluster, "")
	if denied == nil && (r.ElectionType < 0 || r.ElectionType > 1) {
		denied = faultf(wire.InvalidRequest, "there is no kind %d of elections", r.ElectionType)
	}
	res.ErrorCode = int16(codeOf(denied))
	if r.Topics == nil && denied == nil {
		if err := c.allElected(res); err != nil {
			res.ErrorCode, res.Topics = int16(codeOf(err)), nil
		}
		return res
	}
	for _, t := range r.Topics {
		out := kmsg.NewElectLeadersResponseTopic()
		out.Topic = t.Topic
		if err := c.charge(topicBytes + len(t.Topic) + placedBytes*len(t.Partitions)); err != nil {
			res.ErrorCode = int16(codeOf(err))
			return res
		}
		for _, n := range t.Partitions {
			err := denied
			if err == nil {
				err = c.partitionThere(t.Topic, n)
			}
			if err == nil {
				err = faultf(wire.ElectionNotNeeded, "the only broker leads it")
			}
			one := kmsg.NewElectLeadersResponseTopicPartition()
			one.Partition = n
			one.ErrorCode, one.ErrorMessage = outcome(err)
			out.Partitions = append(out.Partitions, one)
		}
		res.Topics = append(res.Topics, out)
	}
	return res
}

// placedBytes is about what one partition takes in these answers.
const placedBytes = 160

// allElected names all topics, without partitions: none needed an election.
func (c *conn) allElected(res *kmsg.ElectLeadersResponse) error {
	for _, q := range c.session.Queues() {
		if !q.Readable() {
			continue
		}
		if err := c.charge(topicBytes + len(q.Name)); err != nil {
			return err
		}
		one := kmsg.NewElectLeadersResponseTopic()
		one.Topic = q.Name
		res.Topics = append(res.Topics, one)
	}
	return nil
}

// Key 45, AlterPartitionReassignments, versions 0 and 1.
func (c *conn) alterAssignments(r *kmsg.AlterPartitionAssignmentsRequest) kmsg.Response {
	res := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	res.AllowReplicationFactorChange = r.AllowReplicationFactorChange
	denied := c.session.May(broker.Alter, broker.OnCluster, "")
	res.ErrorCode, res.ErrorMessage = outcome(denied)
	for _, t := range r.Topics {
		out := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		out.Topic = t.Topic
		if err := c.charge(topicBytes + len(t.Topic) + placedBytes*len(t.Partitions)); err != nil {
			res.ErrorCode, res.ErrorMessage = outcome(err)
			res.Topics = nil
			return res
		}
		for _, p := range t.Partitions {
			one := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			one.Partition = p.Partition
			err := denied
			if err == nil {
				err = c.reassign(t.Topic, &p)
			}
			one.ErrorCode, one.ErrorMessage = outcome(err)
			out.Partitions = append(out.Partitions, one)
		}
		res.Topics = append(res.Topics, out)
	}
	return res
}

// reassign tells whether a partition is where it is to be. Null replicas end what is under way.
func (c *conn) reassign(topic string, p *kmsg.AlterPartitionAssignmentsRequestTopicPartition) error {
	if err := c.partitionThere(topic, p.Partition); err != nil {
		return err
	}
	switch {
	case p.Replicas == nil:
		return faultf(wire.NoReassignment, "partition %d of '%s' is not being moved", p.Partition, topic)
	case !slices.Equal(p.Replicas, onlyNode):
		return faultf(wire.InvalidReplicaAssignment, "there is one broker, number %d", NodeID)
	}
	return nil
}

// Key 46, ListPartitionReassignments, version 0: there are none.
func (c *conn) listReassignments(*kmsg.ListPartitionReassignmentsRequest) kmsg.Response {
	res := kmsg.NewPtrListPartitionReassignmentsResponse()
	res.ErrorCode, res.ErrorMessage = outcome(c.session.May(broker.Look, broker.OnCluster, ""))
	return res
}

// Key 34, AlterReplicaLogDirs, versions 1 and 2.
func (c *conn) alterLogDirs(r *kmsg.AlterReplicaLogDirsRequest) kmsg.Response {
	res := kmsg.NewPtrAlterReplicaLogDirsResponse()
	denied := c.session.May(broker.Alter, broker.OnCluster, "")
	disk, _ := c.s.opts.Disk() // whose directory is known, whatever else is wrong with it
	at := map[string]int{}
	for _, d := range r.Dirs {
		for _, t := range d.Topics {
			i, known := at[t.Topic]
			if !known {
				i = len(res.Topics)
				at[t.Topic] = i
				one := kmsg.NewAlterReplicaLogDirsResponseTopic()
				one.Topic = t.Topic
				res.Topics = append(res.Topics, one)
			}
			denied = cmp.Or(denied, c.charge(topicBytes+len(t.Topic)+placedBytes*len(t.Partitions)))
			for _, n := range t.Partitions {
				err := denied
				switch {
				case err != nil:
				case d.Dir != disk.Dir:
					err = faultf(wire.LogDirNotFound, "there is one directory, %s", disk.Dir)
				default:
					err = c.partitionThere(t.Topic, n)
				}
				one := kmsg.NewAlterReplicaLogDirsResponseTopicPartition()
				one.Partition, one.ErrorCode = n, int16(codeOf(err))
				res.Topics[i].Partitions = append(res.Topics[i].Partitions, one)
			}
		}
	}
	return res
}

const metadataTopic = "__cluster_metadata"

// Key 55, DescribeQuorum, versions 0 to 2: who keeps the metadata, and who leads them. It is this node alone, and behind nobody.
func (c *conn) describeQuorum(r *kmsg.DescribeQuorumRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeQuorumResponse()
	if err := c.session.May(broker.Look, broker.OnCluster, ""); err != nil {
		res.ErrorCode, res.ErrorMessage = outcome(err)
		return res
	}
	found := false
	for _, t := range r.Topics {
		out := kmsg.NewDescribeQuorumResponseTopic()
		out.Topic = t.Topic
		if err := c.charge(topicBytes + len(t.Topic) + 2*placedBytes*len(t.Partitions)); err != nil {
			res.ErrorCode, res.ErrorMessage = outcome(err)
			res.Topics = nil
			return res
		}
		for _, p := range t.Partitions {
			one := kmsg.NewDescribeQuorumResponseTopicPartition()
			one.Partition = p.Partition
			if t.Topic == metadataTopic && p.Partition == 0 {
				found = true
				one.LeaderID, one.LeaderEpoch = NodeID, 1
				now := c.frames.Now().UnixMilli()
				voter := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
				voter.ReplicaID, voter.LastFetchTimestamp, voter.LastCaughtUpTimestamp = NodeID, now, now
				one.CurrentVoters = append(one.CurrentVoters, voter)
			} else {
				one.ErrorCode, one.ErrorMessage = outcome(faultf(wire.UnknownTopicOrPartition, "only partition 0 of %s is kept by a quorum", metadataTopic))
			}
			out.Partitions = append(out.Partitions, one)
		}
		res.Topics = append(res.Topics, out)
	}
	if found {
		node := kmsg.NewDescribeQuorumResponseNode()
		node.NodeID = NodeID
		listener := kmsg.NewDescribeQuorumResponseNodeListener()
		host, port := c.address()
		listener.Name, listener.Host, listener.Port = "CONTROLLER", host, uint16(port)
		node.Listeners = append(node.Listeners, listener)
		res.Nodes = append(res.Nodes, node)
	}
	return res
}

// Key 75, DescribeTopicPartitions, version 0: what Metadata tells of topics, in pieces of so many partitions, the next of
// which begins at a cursor. Topics come by name.
func (c *conn) describePartitions(r *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeTopicPartitionsResponse()
	names := c.namesOf(r)
	left := int(min(max(r.ResponsePartitionLimit, 1), maxDescribed))
	first := int32(0)
	if r.Cursor != nil {
		names = slices.DeleteFunc(names, func(n string) bool { return n < r.Cursor.Topic })
		first = r.Cursor.Partition
		var wrong error
		switch {
		case first < 0:
			wrong = faultf(wire.InvalidRequest, "a cursor at partition %d", first)
		case len(names) == 0 || names[0] != r.Cursor.Topic:
			wrong = faultf(wire.InvalidRequest, "a cursor at topic '%s', which is not asked for or not there", r.Cursor.Topic)
		}
		if wrong != nil {
			for _, n := range c.namesOf(r) {
				one := kmsg.NewDescribeTopicPartitionsResponseTopic()
				one.Topic, one.ErrorCode = kmsg.StringPtr(n), int16(codeOf(wrong))
				res.Topics = append(res.Topics, one)
			}
			return res
		}
	}
	for _, name := range names {
		if left == 0 {
			next := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
			next.Topic = name
			res.NextCursor = &next
			return res
		}
		t := c.describeNamed(name, false, 0)
		one := kmsg.NewDescribeTopicPartitionsResponseTopic()
		one.Topic, one.TopicID, one.ErrorCode, one.IsInternal = kmsg.StringPtr(name), t.TopicID, t.ErrorCode, t.IsInternal
		one.AuthorizedOperations = c.topicOperations(&t)
		if code := wire.Code(t.ErrorCode); len(name) <= maxTopicBytes && (code == wire.UnknownTopicOrPartition || code == wire.InvalidTopic) {
			one.AuthorizedOperations = c.operations(topicOperations, broker.OnQueue, name) // they may be asked for before there is one
		}
		if err := c.charge(placedBytes * min(left, len(t.Partitions))); err != nil {
			one.ErrorCode, t.Partitions = int16(codeOf(err)), nil
		}
		for _, p := range t.Partitions[min(int(first), len(t.Partitions)):] {
			if left == 0 {
				next := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
				next.Topic, next.Partition = name, p.Partition
				res.NextCursor = &next
				break
			}
			left--
			part := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
			part.Partition, part.LeaderID, part.LeaderEpoch, part.Replicas, part.ISR = p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR
			part.EligibleLeaderReplicas, part.LastKnownELR = []int32{}, []int32{}
			one.Partitions = append(one.Partitions, part)
		}
		first = 0
		res.Topics = append(res.Topics, one)
		if res.NextCursor != nil {
			return res
		}
	}
	return res
}

// maxDescribed is the most partitions that one answer has, as Kafka's max.request.partition.size.limit.
const maxDescribed = 2000

// namesOf are the topics that are asked for, by name; none are all.
func (c *conn) namesOf(r *kmsg.DescribeTopicPartitionsRequest) []string {
	var names []string
	for i := range r.Topics {
		names = append(names, r.Topics[i].Topic)
	}
	if len(names) == 0 {
		for _, q := range c.session.Queues() {
			if q.Readable() {
				names = append(names, q.Name)
			}
		}
		names = append(names, c.session.FeedTopics()...)
	}
	slices.SortFunc(names, strings.Compare)
	return slices.Compact(names)
}

// Key 74, ListConfigResources, versions 0 and 1: what DescribeConfigs knows something of. Version 0 asked for metrics that clients push, of which
// there are none; without types all are meant.
func (c *conn) listResources(r *kmsg.ListConfigResourcesRequest) kmsg.Response {
	res := kmsg.NewPtrListConfigResourcesResponse()
	if err := c.session.May(broker.Look, broker.OnCluster, ""); err != nil {
		res.ErrorCode = int16(codeOf(err))
		return res
	}
	if r.Version == 0 {
		return res
	}
	add := func(kind kmsg.ConfigResourceType, names ...string) error {
		for _, n := range names {
			if err := c.charge(groupBytes + len(n)); err != nil {
				return err
			}
			one := kmsg.NewListConfigResourcesResponseConfigResource()
			one.Name, one.Type = n, int8(kind)
			res.ConfigResources = append(res.ConfigResources, one)
		}
		return nil
	}
	types := onlyOnce(r.ResourceTypes, func(t *int8) int8 { return *t })
	if len(types) == 0 {
		types = []int8{int8(kmsg.ConfigResourceTypeTopic), int8(kmsg.ConfigResourceTypeBroker), int8(kmsg.ConfigResourceTypeGroupConfig)}
	}
	for _, kind := range types {
		var err error
		switch kind := kmsg.ConfigResourceType(kind); kind {
		case kmsg.ConfigResourceTypeTopic:
			err = add(kind, c.namesOf(&kmsg.DescribeTopicPartitionsRequest{})...)
		case kmsg.ConfigResourceTypeBroker:
			err = add(kind, fmt.Sprint(NodeID))
		case kmsg.ConfigResourceTypeGroupConfig:
			err = add(kind, c.groups.Configured()...)
		case kmsg.ConfigResourceTypeBrokerLogger, configMetrics:
			// None has any of its own.
		default:
			err = faultf(wire.UnsupportedVersion, "resources of type %d have no settings", kind)
		}
		if err != nil {
			res.ErrorCode, res.ConfigResources = int16(codeOf(err)), nil
			return res
		}
	}
	return res
}

// configMetrics are subscriptions to metrics of clients (KIP-714), which are not taken here.
const configMetrics kmsg.ConfigResourceType = 16
