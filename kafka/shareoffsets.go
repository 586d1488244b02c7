package kafka

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

// A share group is as far as the work cursor of its topics, which AMQP consumers and other share groups have a part in.

// beginShare has the work of topics that a share group has not begun with begin where the group's settings say, if nobody has taken
// anything of them before.
func (c *conn) beginShare(name string, topics []string) wire.Code {
	reset := c.groups.Settings(name).Reset
	return c.groups.BeginShare(name, topics, func(topic string) bool {
		if reset == (group.Reset{}) {
			return true
		}
		t, err := c.lookup(broker.Consume, topic)
		if err != nil || t.queue == nil {
			return false // its fetches are told; the next member may be one who may
		}
		for _, p := range t.queue.Partitions() {
			err := c.session.BeginWork(p, func() (message.Offset, error) { return c.resetOffset(p, reset) })
			if err != nil {
				c.log.Warn("a share group can't begin where its share.auto.offset.reset says; it begins with the first message",
					"group", name, "topic", topic, "partition", p.Index(), "error", err)
			}
		}
		return true
	})
}

// resetOffset is where a share group begins.
func (c *conn) resetOffset(p *broker.Partition, reset group.Reset) (message.Offset, error) {
	end, err := c.session.StableOffset(p)
	if err != nil || reset.Latest {
		return end, err
	}
	return offsetSince(c.session, p, time.Now().Add(-reset.Since).UnixMilli(), end)
}

// Key 90, DescribeShareGroupOffsets, versions 0 and 1: how far share groups are. Of a partition that the group has not begun with
// that is -1, and so it is of one that is not there. Without topics all are meant that it has begun with.
func (c *conn) describeShareOffsets(r *kmsg.DescribeShareGroupOffsetsRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeShareGroupOffsetsResponse()
	for _, asked := range onlyOnce(r.Groups, func(g *kmsg.DescribeShareGroupOffsetsRequestGroup) string { return g.GroupID }) {
		out := kmsg.NewDescribeShareGroupOffsetsResponseGroup()
		out.GroupID = asked.GroupID
		code := c.mayGroup(broker.Look, asked.GroupID)
		switch {
		case code != wire.None:
		case asked.GroupID == "":
			code = wire.InvalidGroupID
		default:
			var err error
			if out.Topics, err = c.shareOffsets(asked); err != nil {
				code, out.Topics = groupCode(err), nil
			}
		}
		out.ErrorCode, out.ErrorMessage = int16(code), notShare(asked.GroupID, code, c.groups)
		res.Groups = append(res.Groups, out)
	}
	return res
}

func (c *conn) shareOffsets(asked kmsg.DescribeShareGroupOffsetsRequestGroup) (out []kmsg.DescribeShareGroupOffsetsResponseGroupTopic, _ error) {
	ids, _ := c.groups.ShareTopics(asked.GroupID) // one that is not there has begun with none
	topics := onlyOnce(asked.Topics, func(t *kmsg.DescribeShareGroupOffsetsRequestGroupTopic) string { return t.Topic })
	if asked.Topics == nil {
		if err := c.charge(topicBytes * len(ids)); err != nil {
			return nil, err
		}
		for _, id := range ids {
			t, err := c.topicNamed(broker.Look, nil, id)
			if err != nil || t.queue == nil {
				continue // gone, or not for this client to see
			}
			one := kmsg.NewDescribeShareGroupOffsetsRequestGroupTopic()
			one.Topic = t.name
			for _, p := range t.queue.Partitions() {
				one.Partitions = append(one.Partitions, p.Index())
			}
			topics = append(topics, one)
		}
	}
	for _, ask := range topics {
		if err := c.charge(topicBytes + offsetBytes*len(ask.Partitions)); err != nil {
			return nil, err
		}
		t, err := c.lookup(broker.Look, ask.Topic)
		one := kmsg.NewDescribeShareGroupOffsetsResponseGroupTopic()
		one.Topic = ask.Topic
		if err == nil {
			one.TopicID = t.id
		}
		for _, n := range onlyOnce(ask.Partitions, func(n *int32) int32 { return *n }) {
			part := kmsg.NewDescribeShareGroupOffsetsResponseGroupTopicPartition()
			part.Partition, part.StartOffset, part.Lag = n, -1, -1
			switch {
			case err != nil && codeOf(err) != wire.UnknownTopicOrPartition:
				part.ErrorCode, part.ErrorMessage = outcome(err)
			case err == nil && t.partition(n) != nil && slices.Contains(ids, group.TopicID(t.id)):
				place, err := c.session.WorkPlace(t.partition(n))
				if part.ErrorCode, part.ErrorMessage = outcome(err); err == nil {
					part.StartOffset, part.Lag = int64(place.Start), place.Left
				}
			}
			one.Partitions = append(one.Partitions, part)
		}
		out = append(out, one)
	}
	return out, nil
}

// notShare is what is said of a share group that can't be changed.
func notShare(name string, code wire.Code, groups *group.Coordinator) *string {
	var text string
	switch code {
	case wire.GroupAuthorizationFailed:
		text = "Access to the group is refused."
	case wire.InvalidGroupID:
		text = "The group id is empty."
	case wire.GroupNotEmpty:
		text = "The group is not empty."
	case wire.GroupIDNotFound:
		text = fmt.Sprintf("Group %s not found.", name)
		if _, known := groups.TypeOf(name); known {
			text = fmt.Sprintf("Group %s is not a share group.", name)
		}
	default:
		return nil
	}
	text = wire.Text(text)
	return &text
}

// Key 91, AlterShareGroupOffsets, version 0: the work of partitions goes on elsewhere; see broker.Session.MoveWork. The group must have no
// members, and is made if there is none.
func (c *conn) alterShareOffsets(r *kmsg.AlterShareGroupOffsetsRequest) kmsg.Response {
	res := kmsg.NewPtrAlterShareGroupOffsetsResponse()
	refuse := func(code wire.Code) kmsg.Response {
		res.ErrorCode, res.ErrorMessage = int16(code), notShare(r.GroupID, code, c.groups)
		return res
	}
	if code := c.mayGroup(broker.Consume, r.GroupID); code != wire.None {
		return refuse(code)
	}
	if r.GroupID == "" {
		return refuse(wire.InvalidGroupID)
	}
	topics := onlyOnce(r.Topics, func(t *kmsg.AlterShareGroupOffsetsRequestTopic) string { return t.Topic })
	found := make([]*topic, len(topics))
	faults := make([]error, len(topics))
	var ids []group.TopicID
	for i := range topics {
		if found[i], faults[i] = c.lookup(broker.Consume, topics[i].Topic); faults[i] == nil && found[i].queue == nil {
			faults[i] = faultf(wire.InvalidTopic, "'%s' leads into an exchange: nobody works it off", topics[i].Topic)
		}
		if faults[i] == nil {
			ids = append(ids, group.TopicID(found[i].id))
		}
	}
	if _, code := c.groups.ChangeShareTopics(r.GroupID, ids, false); code != wire.None {
		return refuse(code)
	}
	for i := range topics {
		one := kmsg.NewAlterShareGroupOffsetsResponseTopic()
		one.Topic = topics[i].Topic
		if faults[i] == nil {
			one.TopicID = found[i].id
		}
		for _, p := range onlyOnce(topics[i].Partitions, func(p *kmsg.AlterShareGroupOffsetsRequestTopicPartition) int32 { return p.Partition }) {
			part := kmsg.NewAlterShareGroupOffsetsResponseTopicPartition()
			part.Partition = p.Partition
			err := faults[i]
			if err == nil {
				err = c.moveShare(found[i], p)
			}
			part.ErrorCode, part.ErrorMessage = outcome(err)
			one.Partitions = append(one.Partitions, part)
		}
		res.Topics = append(res.Topics, one)
	}
	return res
}

func (c *conn) moveShare(t *topic, p kmsg.AlterShareGroupOffsetsRequestTopicPartition) error {
	part := t.partition(p.Partition)
	if part == nil {
		return noPartition(t, p.Partition)
	}
	return c.session.MoveWork(part, message.Offset(p.StartOffset))
}

// Key 92, DeleteShareGroupOffsets, version 0: a share group without members has nothing to do with topics any more. The work of
// these stays where it is.
func (c *conn) deleteShareOffsets(r *kmsg.DeleteShareGroupOffsetsRequest) kmsg.Response {
	res := kmsg.NewPtrDeleteShareGroupOffsetsResponse()
	refuse := func(code wire.Code) kmsg.Response {
		res.ErrorCode, res.ErrorMessage = int16(code), notShare(r.GroupID, code, c.groups)
		return res
	}
	if code := c.mayGroup(broker.Delete, r.GroupID); code != wire.None {
		return refuse(code)
	}
	if r.GroupID == "" {
		return refuse(wire.InvalidGroupID)
	}
	if _, code := c.groups.ShareTopics(r.GroupID); code != wire.None {
		return refuse(code)
	}
	topics := onlyOnce(r.Topics, func(t *kmsg.DeleteShareGroupOffsetsRequestTopic) string { return t.Topic })
	out := make([]kmsg.DeleteShareGroupOffsetsResponseTopic, len(topics))
	var ids []group.TopicID
	var at []int // places in out
	for i := range topics {
		out[i] = kmsg.NewDeleteShareGroupOffsetsResponseTopic()
		out[i].Topic = topics[i].Topic
		t, err := c.lookup(broker.Consume, topics[i].Topic)
		if out[i].ErrorCode, out[i].ErrorMessage = outcome(err); err == nil {
			out[i].TopicID = t.id
			ids, at = append(ids, group.TopicID(t.id)), append(at, i)
		}
	}
	known, code := c.groups.ChangeShareTopics(r.GroupID, ids, true)
	if code != wire.None {
		return refuse(code)
	}
	for i, was := range known {
		if !was {
			one := &out[at[i]]
			one.TopicID = wire.TopicID{}
			one.ErrorCode, one.ErrorMessage = int16(wire.UnknownTopicOrPartition), kmsg.StringPtr("There is no offset information to delete.")
		}
	}
	res.Topics = out
	return res
}
