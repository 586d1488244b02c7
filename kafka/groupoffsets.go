package kafka

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// Key 8, OffsetCommit, versions 2 to 8. Answered when the offsets are durable.
// The retention that versions up to 4 may ask for is the broker's own instead.
func (c *conn) offsetCommit(r *kmsg.OffsetCommitRequest) kmsg.Response {
	var positions []group.Position
	for _, t := range r.Topics {
		known := c.lookup(t.Topic)
		for _, p := range t.Partitions {
			pos := group.Position{Topic: t.Topic, Partition: p.Partition,
				Offset: group.Offset{Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: deref(p.Metadata)}}
			if known.partition(p.Partition) == nil {
				pos.Err = wire.UnknownTopicOrPartition
			}
			positions = append(positions, pos)
		}
	}
	code := c.groups.Commit(group.Identity{
		Group: r.Group, MemberID: r.MemberID, InstanceID: deref(r.InstanceID), Generation: r.Generation,
	}, positions)
	res := kmsg.NewPtrOffsetCommitResponse()
	at := 0
	for _, t := range r.Topics {
		out := kmsg.NewOffsetCommitResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			one := kmsg.NewOffsetCommitResponseTopicPartition()
			one.Partition, one.ErrorCode = p.Partition, int16(code)
			if code == wire.None {
				one.ErrorCode = int16(positions[at].Err)
			}
			at++
			out.Partitions = append(out.Partitions, one)
		}
		res.Topics = append(res.Topics, out)
	}
	return res
}

// Key 9, OffsetFetch, versions 1 to 8; version 8 asks for several groups. A
// null list of topics asks for all that were committed; a partition that never
// was has offset -1 and no error.
func (c *conn) offsetFetch(r *kmsg.OffsetFetchRequest) kmsg.Response {
	res := kmsg.NewPtrOffsetFetchResponse()
	if r.Version >= 8 {
		for _, g := range r.Groups {
			out := kmsg.NewOffsetFetchResponseGroup()
			out.Group = g.Group
			out.Topics = c.fetchGroup(g)
			res.Groups = append(res.Groups, out)
		}
		return res
	}
	asked := kmsg.OffsetFetchRequestGroup{Group: r.Group}
	for _, t := range r.Topics {
		asked.Topics = append(asked.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions})
	}
	if r.Topics != nil && asked.Topics == nil {
		return res // a list, and nothing on it
	}
	for _, t := range c.fetchGroup(asked) {
		out := kmsg.NewOffsetFetchResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			one := kmsg.NewOffsetFetchResponseTopicPartition()
			one.Partition, one.Offset, one.LeaderEpoch, one.Metadata = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata
			out.Partitions = append(out.Partitions, one)
		}
		res.Topics = append(res.Topics, out)
	}
	return res
}

func (c *conn) fetchGroup(g kmsg.OffsetFetchRequestGroup) []kmsg.OffsetFetchResponseGroupTopic {
	var positions []group.Position
	if g.Topics == nil {
		positions = c.groups.AllCommitted(g.Group)
		slices.SortFunc(positions, func(a, b group.Position) int {
			return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
		})
	} else {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				positions = append(positions, group.Position{Topic: t.Topic, Partition: p})
			}
		}
		c.groups.Committed(g.Group, positions)
	}
	var out []kmsg.OffsetFetchResponseGroupTopic
	for _, p := range positions {
		if len(out) == 0 || out[len(out)-1].Topic != p.Topic {
			t := kmsg.NewOffsetFetchResponseGroupTopic()
			t.Topic = p.Topic
			out = append(out, t)
		}
		one := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		one.Partition, one.Offset, one.LeaderEpoch = p.Partition, p.Offset.Offset, p.Offset.LeaderEpoch
		one.Metadata = &p.Offset.Metadata
		t := &out[len(out)-1]
		t.Partitions = append(t.Partitions, one)
	}
	return out
}

// Key 47, OffsetDelete, version 0.
func (c *conn) offsetDelete(r *kmsg.OffsetDeleteRequest) kmsg.Response {
	var positions []group.Position
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			pos := group.Position{Topic: t.Topic, Partition: p.Partition}
			if c.lookup(t.Topic).partition(p.Partition) == nil {
				pos.Err = wire.UnknownTopicOrPartition
			}
			positions = append(positions, pos)
		}
	}
	res := kmsg.NewPtrOffsetDeleteResponse()
	code := c.groups.DeleteOffsets(r.Group, positions)
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
