package kafka

import (
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/group"
)

// restoreOffsets fills the coordinators with what was committed before.
func (s *Server) restoreOffsets() error {
	return s.broker.GroupOffsets(func(v *broker.VHost, o broker.GroupOffset) {
		s.groupsOf(v).Restore(group.Change{Group: o.Group, Topic: o.Topic, Partition: o.Partition, Offset: group.Offset{
			TopicID: o.TopicID, Offset: o.Offset, LeaderEpoch: o.LeaderEpoch, Committed: o.Committed, Metadata: o.Metadata}})
	})
}

// forgetTopic drops what groups committed for a queue that was deleted.
func (s *Server) forgetTopic(q *broker.Queue) {
	s.groupsOf(q.VHost()).ForgetTopic(q.Name, q.TopicID)
}

// committed are changes of one group as the broker keeps them.
func committed(changes []group.Change) []broker.GroupOffset {
	out := make([]broker.GroupOffset, len(changes))
	for i, ch := range changes {
		out[i] = broker.GroupOffset{Topic: ch.Topic, TopicID: ch.Offset.TopicID, Partition: ch.Partition, Offset: ch.Offset.Offset,
			LeaderEpoch: ch.Offset.LeaderEpoch, Committed: ch.Offset.Committed, Metadata: ch.Offset.Metadata}
	}
	return out
}

// journal has the broker keep what a client's groups committed, through its session.
type journal struct{ c *conn }

// Save implements group.Journal.
func (j journal) Save(changes []group.Change) error {
	verb := j.c.session.CommitOffsets
	if changes[0].Delete {
		verb = j.c.session.DeleteOffsets
	}
	err := verb(changes[0].Group, committed(changes))
	if err != nil {
		j.c.log.Error("can't store committed offsets", "group", changes[0].Group, "error", err)
	}
	return err
}

// sweeper forgets what the groups of a virtual host committed and nobody asks for
// any more.
type sweeper struct {
	s     *Server
	vhost *broker.VHost
}

// Save implements group.Journal.
func (w sweeper) Save(changes []group.Change) error {
	err := w.vhost.ForgetOffsets(changes[0].Group, committed(changes))
	if err != nil {
		w.s.opts.Logger.Error("can't forget committed offsets", "listener", "kafka", "group", changes[0].Group, "error", err)
	}
	return err
}
