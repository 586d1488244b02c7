package kafka

import (
	"fmt"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

// ResetGroup has a group that has no members go on elsewhere in a topic, for whoever the session is of, as
// kafka-consumer-groups --reset-offsets does. It returns when that is durable; its errors are the broker's.
func (s *Server) ResetGroup(session *broker.Session, r broker.GroupReset) error {
	if err := session.May(broker.Consume, broker.OnGroup, r.Group); err != nil {
		return err
	}
	v := session.VHost()
	groups := s.groupsOf(v)
	if !groups.Known(r.Group) {
		return noGroup(r.Group, v.Name)
	}
	q, err := session.Queue(broker.Consume, r.Topic)
	if err != nil {
		return err
	}
	parts := q.Partitions()
	if !q.Readable() || r.Partition >= len(parts) {
		return &broker.Error{Kind: broker.NotFound, Text: fmt.Sprintf("no partition %d of a topic '%s' in vhost '%s'", max(r.Partition, 0), r.Topic, v.Name)}
	}
	var positions []group.Position
	for i, p := range parts {
		if r.Partition >= 0 && i != r.Partition {
			continue
		}
		at, err := resetTo(session, p, i, &r)
		if err != nil {
			return err
		}
		positions = append(positions, group.Position{Topic: r.Topic, Partition: int32(i), Offset: group.Offset{Offset: int64(at), LeaderEpoch: -1, TopicID: q.TopicID}})
	}
	code := groups.Commit(journal{session, s.log}, group.Identity{Group: r.Group, Generation: -1}, positions)
	for i := range positions {
		if code == wire.None {
			code = positions[i].Err
		}
	}
	switch code {
	case wire.None:
		return nil
	case wire.UnknownMemberID, wire.RebalanceInProgress, wire.IllegalGeneration:
		return hasMembers(r.Group, v.Name)
	case wire.GroupIDNotFound:
		return noGroup(r.Group, v.Name) // a share group, which has no offsets
	}
	return &broker.Error{Kind: broker.Unavailable, Text: fmt.Sprintf("offsets of group '%s' in vhost '%s' can't be stored now: %s", r.Group, v.Name, code)}
}

// resetTo is the offset at which a group is to go on in a partition.
func resetTo(session *broker.Session, p *broker.Partition, index int, r *broker.GroupReset) (message.Offset, error) {
	start, end, err := session.Bounds(p)
	switch {
	case err != nil:
		return 0, err
	case r.To == broker.ResetToFirst:
		return start, nil
	case r.To == broker.ResetToLast:
		return end, nil
	case r.To == broker.ResetToTime:
		return offsetSince(session, p, r.At, end)
	case message.Offset(r.At) < start || message.Offset(r.At) > end:
		return 0, &broker.Error{Kind: broker.Precondition, Text: fmt.Sprintf("offset %d is not in partition %d of '%s', which goes from %d to %d", r.At, index, r.Topic, start, end)}
	}
	return message.Offset(r.At), nil
}

// offsetSince is that of the first message of a time in milliseconds since 1970 or later, or end where there is none before that.
func offsetSince(session *broker.Session, p *broker.Partition, ms int64, end message.Offset) (message.Offset, error) {
	at, _, found, err := session.OffsetForTime(p, ms)
	if err != nil || !found {
		return end, err
	}
	return min(at, end), nil
}

func noGroup(name, vhost string) error {
	return &broker.Error{Kind: broker.NotFound, Text: fmt.Sprintf("no group '%s' in vhost '%s'", name, vhost)}
}

func hasMembers(name, vhost string) error {
	return &broker.Error{Kind: broker.Precondition, Text: fmt.Sprintf("group '%s' in vhost '%s' has members: stop its consumers first", name, vhost)}
}
