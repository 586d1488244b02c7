package kafka

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// Key 8, OffsetCommit, versions 0 to 10. Answered when the offsets are durable.
// The retention that versions up to 4 may ask for is the broker's own instead, and so are
// the times of version 1. Version 0 meant another place once; nobody can tell it from a
// commit of somebody who is no member.
func (c *conn) offsetCommit(r *kmsg.OffsetCommitRequest) kmsg.Response {
	var positions []group.Position
	if r.Version == 0 {
		r.Generation = -1
	}
	for i := range r.Topics {
		t := &r.Topics[i]
		known, err := c.topicAsked(broker.Consume, r.Version >= 10, &t.Topic, t.TopicID)
		for _, p := range t.Partitions {
			pos := group.Position{Topic: t.Topic, Partition: p.Partition,
				Offset: group.Offset{Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: deref(p.Metadata)}}
			switch pos.Err = codeOf(err); {
			case err != nil:
			case known.partition(p.Partition) == nil:
				pos.Err = wire.UnknownTopicOrPartition
			default:
				pos.Offset.TopicID = known.queue.TopicID
			}
			positions = append(positions, pos)
		}
	}
	denied, code := c.mayGroup(broker.Consume, r.Group), wire.None
	if denied == wire.None && slices.ContainsFunc(positions, good) {
		code = c.groups.Commit(c.journal(), group.Identity{
			Group: r.Group, MemberID: r.MemberID, InstanceID: deref(r.InstanceID), Generation: r.Generation, NoEpochs: r.Version < 9,
		}, positions)
	}
	if r.Version >= 9 && code == wire.IllegalGeneration && !c.groups.Known(r.Group) {
		code = wire.GroupIDNotFound
	}
	res := kmsg.NewPtrOffsetCommitResponse()
	at := 0
	for _, t := range r.Topics {
		out := kmsg.NewOffsetCommitResponseTopic()
		out.Topic, out.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			one := kmsg.NewOffsetCommitResponseTopicPartition()
			one.Partition, one.ErrorCode = p.Partition, int16(cmp.Or(denied, positions[at].Err, code))
			at++
			out.Partitions = append(out.Partitions, one)
		}
		res.Topics = append(res.Topics, out)
	}
	return res
}

// good tells whether there is such a partition for the group to commit.
func good(p group.Position) bool { return p.Err == wire.None }

// topicAsked is lookup for a topic that some versions name by its id. name is then set to
// what it is called, unless there is none.
func (c *conn) topicAsked(verb broker.Verb, byID bool, name *string, id wire.TopicID) (*topic, error) {
	if !byID {
		return c.lookup(verb, *name)
	}
	t, err := c.topicNamed(verb, nil, id)
	if err == nil {
		*name = t.name
	}
	return t, err
}

// Key 9, OffsetFetch, versions 0 to 10; version 8 asks for several groups.
// Who requires stable offsets gets 88 for those that wait for a transaction's end. A
// null list of topics asks for all that were committed; a partition that never
// was has offset -1 and no error. From version 10 on topics are named by their ids.
func (c *conn) offsetFetch(r *kmsg.OffsetFetchRequest) kmsg.Response {
	res := kmsg.NewPtrOffsetFetchResponse()
	c.requireStable = r.RequireStable
	if r.Version >= 8 {
		for _, g := range mergeGroups(r.Groups) {
			out := kmsg.NewOffsetFetchResponseGroup()
			out.Group = g.Group
			if code := cmp.Or(c.mayGroup(broker.Look, g.Group), c.mayFetchAs(r.Version, g)); code != wire.None {
				out.ErrorCode = int16(code)
				res.Groups = append(res.Groups, out)
				continue
			}
			topics, code := c.fetchGroupByID(r.Version >= 10, g)
			out.Topics, out.ErrorCode = topics, int16(code)
			res.Groups = append(res.Groups, out)
		}
		return res
	}
	asked := kmsg.OffsetFetchRequestGroup{Group: r.Group}
	for _, t := range r.Topics {
		asked.Topics = append(asked.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions})
	}
	if r.Topics != nil && asked.Topics == nil {
		asked.Topics = []kmsg.OffsetFetchRequestGroupTopic{} // a list, and nothing on it
	}
	topics, code := c.fetchGroup(asked)
	if code != wire.None {
		return c.refuseOffsets(r, res, code)
	}
	for _, t := range topics {
		out := kmsg.NewOffsetFetchResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			one := kmsg.NewOffsetFetchResponseTopicPartition()
			one.Partition, one.Offset, one.LeaderEpoch, one.Metadata, one.ErrorCode = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode
			out.Partitions = append(out.Partitions, one)
		}
		res.Topics = append(res.Topics, out)
	}
	return res
}

// mayFetchAs is what a client is told that says which member of the group it is.
func (c *conn) mayFetchAs(version int16, g kmsg.OffsetFetchRequestGroup) wire.Code {
	if version < 9 {
		return wire.None
	}
	return c.groups.MayFetch(g.Group, deref(g.MemberID), g.MemberEpoch)
}

// mergeGroups makes one of a group that is named more than once, with all that is
// asked of it.
func mergeGroups(list []kmsg.OffsetFetchRequestGroup) []kmsg.OffsetFetchRequestGroup {
	at := make(map[string]int, len(list))
	merged := list[:0]
	for _, g := range list {
		i, named := at[g.Group]
		switch {
		case !named:
			at[g.Group] = len(merged)
			merged = append(merged, g)
		case g.Topics == nil:
			merged[i].Topics = nil // all of them
		case merged[i].Topics != nil:
			merged[i].Topics = append(merged[i].Topics, g.Topics...)
		}
	}
	return merged
}

// refuseOffsets answers for a group that the client may not look at. Version 1 has
// no place for it but beside each partition.
func (c *conn) refuseOffsets(r *kmsg.OffsetFetchRequest, res *kmsg.OffsetFetchResponse, code wire.Code) kmsg.Response {
	if res.ErrorCode = int16(code); r.Version >= 2 {
		return res
	}
	for _, t := range r.Topics {
		out := kmsg.NewOffsetFetchResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			one := kmsg.NewOffsetFetchResponseTopicPartition()
			one.Partition, one.Offset, one.LeaderEpoch, one.Metadata, one.ErrorCode = p, -1, -1, kmsg.StringPtr(""), int16(code)
			out.Partitions = append(out.Partitions, one)
		}
		res.Topics = append(res.Topics, out)
	}
	return res
}

// fetchGroupByID is fetchGroup, with the ids of topics in place of their names if byID is set.
func (c *conn) fetchGroupByID(byID bool, g kmsg.OffsetFetchRequestGroup) ([]kmsg.OffsetFetchResponseGroupTopic, wire.Code) {
	if !byID {
		return c.fetchGroup(g)
	}
	var unknown []kmsg.OffsetFetchResponseGroupTopic
	var known []kmsg.OffsetFetchRequestGroupTopic
	ids := map[string]wire.TopicID{}
	for _, t := range g.Topics {
		_, err := c.topicAsked(broker.Look, true, &t.Topic, t.TopicID)
		if err == nil {
			ids[t.Topic] = t.TopicID
			known = append(known, t)
			continue
		}
		out := kmsg.NewOffsetFetchResponseGroupTopic()
		out.TopicID = t.TopicID
		for _, p := range t.Partitions {
			one := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			one.Partition, one.Offset, one.LeaderEpoch, one.Metadata, one.ErrorCode = p, -1, -1, kmsg.StringPtr(""), int16(codeOf(err))
			out.Partitions = append(out.Partitions, one)
		}
		unknown = append(unknown, out)
	}
	if g.Topics != nil && known == nil {
		known = []kmsg.OffsetFetchRequestGroupTopic{} // a list, and nothing on it
	}
	g.Topics = known
	topics, code := c.fetchGroup(g)
	for i := range topics {
		t := &topics[i]
		id, ok := ids[t.Topic]
		if q, err := c.vhost.Queue(t.Topic); !ok && err == nil {
			id = q.TopicID
		}
		t.TopicID = id
	}
	if code != wire.None {
		return topics, code
	}
	return append(topics, unknown...), code
}

// fetchGroup answers for one group, or says why not.
func (c *conn) fetchGroup(g kmsg.OffsetFetchRequestGroup) ([]kmsg.OffsetFetchResponseGroupTopic, wire.Code) {
	if code := c.mayGroup(broker.Look, g.Group); code != wire.None {
		return nil, code
	}
	find := c.namedOffsets
	if g.Topics == nil {
		find = c.allOffsets
	}
	positions, err := find(g)
	if err != nil {
		return nil, groupCode(err)
	}
	var out []kmsg.OffsetFetchResponseGroupTopic
	for i := range positions {
		p := &positions[i]
		if c.requireStable && p.Err == wire.None && c.txns.Unstable(g.Group, p.Topic, p.Partition) {
			p.Offset, p.Err = group.NoOffset, wire.UnstableOffsetCommit
		}
		if len(out) == 0 || out[len(out)-1].Topic != p.Topic {
			t := kmsg.NewOffsetFetchResponseGroupTopic()
			t.Topic = p.Topic
			out = append(out, t)
		}
		one := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		one.Partition, one.Offset, one.LeaderEpoch, one.ErrorCode = p.Partition, p.Offset.Offset, p.Offset.LeaderEpoch, int16(p.Err)
		one.Metadata = &p.Offset.Metadata
		t := &out[len(out)-1]
		t.Partitions = append(t.Partitions, one)
	}
	return out, wire.None
}

// allOffsets is everything that a group has committed, in order.
func (c *conn) allOffsets(g kmsg.OffsetFetchRequestGroup) ([]group.Position, error) {
	n, bytes := c.groups.CommittedSize(g.Group)
	if err := c.charge(n*offsetBytes + 2*bytes); err != nil {
		return nil, err
	}
	positions := slices.DeleteFunc(c.groups.AllCommitted(g.Group), func(p group.Position) bool {
		return !c.holds(&p) || c.session.May(broker.Look, broker.OnQueue, p.Topic) != nil
	})
	slices.SortFunc(positions, func(a, b group.Position) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return positions, nil
}

// namedOffsets are those that a request names, each once.
func (c *conn) namedOffsets(g kmsg.OffsetFetchRequestGroup) ([]group.Position, error) {
	var positions []group.Position
	for _, t := range g.Topics {
		refused := wire.InvalidTopic
		if len(t.Topic) <= maxTopicBytes {
			refused = codeOf(c.session.May(broker.Look, broker.OnQueue, t.Topic))
		}
		for _, p := range t.Partitions {
			positions = append(positions, group.Position{Topic: t.Topic, Partition: p, Err: refused})
		}
	}
	positions = onlyOnce(positions, func(p *group.Position) place { return place{p.Topic, p.Partition} })
	c.groups.Committed(g.Group, positions)
	size := 0
	for i := range positions {
		if !c.holds(&positions[i]) {
			positions[i].Offset = group.NoOffset
		}
		size += 2 * len(positions[i].Offset.Metadata)
	}
	return positions, c.charge(size)
}

// holds says whether the topic that the offset was committed for is there. Another of
// its name must not be begun where the first was left.
func (c *conn) holds(p *group.Position) bool {
	q, err := c.vhost.Queue(p.Topic)
	return err == nil && q.TopicID == p.Offset.TopicID
}

// Key 47, OffsetDelete, version 0.
func (c *conn) offsetDelete(r *kmsg.OffsetDeleteRequest) kmsg.Response {
	var positions []group.Position
	for _, t := range r.Topics {
		known, err := c.lookup(broker.Consume, t.Topic)
		for _, p := range t.Partitions {
			pos := group.Position{Topic: t.Topic, Partition: p.Partition}
			if pos.Err = codeOf(err); err == nil && known.partition(p.Partition) == nil {
				pos.Err = wire.UnknownTopicOrPartition
			}
			positions = append(positions, pos)
		}
	}
	res := kmsg.NewPtrOffsetDeleteResponse()
	code := c.mayGroup(broker.Delete, r.Group)
	if code == wire.None {
		code = c.groups.DeleteOffsets(c.journal(), r.Group, positions)
	}
	res.ErrorCode = int16(code)
	if code != wire.None {
		return res
	}
	at := 0
	for _, t := range r.Topics {
		out := kmsg.NewOffsetDeleteResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			one := kmsg.NewOffsetDeleteResponseTopicPartition()
			one.Partition, one.ErrorCode = p.Partition, int16(positions[at].Err)
			at++
			out.Partitions = append(out.Partitions, one)
		}
		res.Topics = append(res.Topics, out)
	}
	return res
}
