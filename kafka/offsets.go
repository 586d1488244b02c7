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

// restoreGroups gives the groups their members back. One that can't be read begins
// anew: its members join again.
func (s *Server) restoreGroups() error {
	return s.broker.Groups(func(v *broker.VHost, name string, state []byte) {
		if err := s.groupsOf(v).RestoreGroup(name, state); err != nil {
			s.opts.Logger.Warn("a consumer group's members could not be restored; they will join again", "listener", "kafka", "vhost", v.Name, "error", err)
		}
	})
}

// restoreSettings gives the groups their settings back.
func (s *Server) restoreSettings() error {
	return s.broker.GroupSettings(func(v *broker.VHost, name string, settings []byte) {
		if err := s.groupsOf(v).RestoreSettings(name, settings); err != nil {
			s.opts.Logger.Warn("a group's settings could not be restored; it has the defaults", "listener", "kafka", "vhost", v.Name, "error", err)
		}
	})
}

// forgetTopic drops what groups committed for a queue that was deleted.
func (s *Server) forgetTopic(q *broker.Queue) {
	if v := q.VHost(); !v.Gone() { // else all that its groups have goes
		s.groupsOf(v).ForgetTopic(q.Name, q.TopicID)
	}
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
type journal struct {
	session *broker.Session
	log     failures
}

// failures is the log of a client, or the server's.
type failures interface {
	Failed(what string, why error, args ...any)
}

func (c *conn) journal() journal { return journal{c.session, c.log} }

// Save implements group.Journal.
func (j journal) Save(changes []group.Change) error {
	verb := j.session.CommitOffsets
	if changes[0].Delete {
		verb = j.session.DeleteOffsets
	}
	err := verb(changes[0].Group, committed(changes))
	if err != nil {
		j.log.Failed("can't store committed offsets", err, "group", changes[0].Group)
	}
	return err
}

// housekeeper keeps the groups of a virtual host, and forgets what they committed and
// nobody asks for any more.
type housekeeper struct {
	s     *Server
	vhost *broker.VHost
}

// Save implements group.Journal.
func (w housekeeper) Save(changes []group.Change) error {
	err := w.vhost.ForgetOffsets(changes[0].Group, committed(changes))
	if err != nil {
		w.s.log.Failed("can't forget committed offsets", err, "group", changes[0].Group)
	}
	return err
}

// Keep implements group.Keeper.
func (w housekeeper) Keep(name string, state []byte) error {
	err := w.vhost.KeepGroup(name, state)
	if err != nil {
		w.s.log.Failed("can't store the members of a consumer group", err, "group", name)
	}
	return err
}

// KeepSettings implements group.SettingsKeeper.
func (w housekeeper) KeepSettings(name string, settings []byte) error {
	err := w.vhost.KeepGroupSettings(name, settings)
	if err != nil {
		w.s.log.Failed("can't store the settings of a group", err, "group", name)
	}
	return err
}
