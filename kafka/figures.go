package kafka

import (
	"cmp"
	"slices"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/group"
)

// GroupStats are the figures of all groups, by virtual host and name. Nothing is opened for them, and no
// group waits for longer than its own are read.
func (s *Server) GroupStats() []broker.GroupStats {
	s.mu.Lock()
	type of struct {
		vhost  *broker.VHost
		groups *group.Coordinator
	}
	all := make([]of, 0, len(s.groups))
	for v, c := range s.groups {
		all = append(all, of{v, c})
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b of) int { return cmp.Compare(a.vhost.Name, b.vhost.Name) })
	var out []broker.GroupStats
	for _, of := range all {
		for _, listed := range of.groups.List() {
			g := broker.GroupStats{VHost: of.vhost.Name, Name: listed.Group, Members: listed.Members}
			for _, p := range of.groups.AllCommitted(listed.Group) {
				q, err := of.vhost.Queue(p.Topic)
				if err != nil || int(p.Partition) >= len(q.Partitions()) {
					continue // it is being deleted
				}
				start, end := q.Partitions()[p.Partition].Ends()
				g.Positions = append(g.Positions, broker.GroupPosition{Topic: p.Topic, Partition: p.Partition, Offset: p.Offset.Offset,
					Lag: max(0, end-max(start, p.Offset.Offset)), Age: q.Partitions()[p.Partition].Age(p.Offset.Offset)})
			}
			slices.SortFunc(g.Positions, func(a, b broker.GroupPosition) int {
				return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
			})
			out = append(out, g)
		}
	}
	return out
}
