package group

import (
	"bytes"
	"maps"
	"slices"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// A share group has no offsets of its own: how far it is, is how far the work of its topics is. What is known of it is which topics
// it has begun with.

// unbegun are the topics that members read and that the group has not begun with.
func (m *modern) unbegun() (names []string) {
	for name, t := range m.topics {
		if !m.begun[t.ID] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// BeginShare has a share group begin with those of the topics that it has not begun with: move has a topic's work go where the group
// begins, and says whether that was to be decided now. That is noted behind it, so that a kill in between has it decided again, and
// whoever else comes for the topics meanwhile waits for it. It returns when what it noted is durable.
func (c *Coordinator) BeginShare(id string, topics []string, move func(topic string) bool) wire.Code {
	g, code := c.lockShare(id)
	if code != wire.None {
		return code
	}
	g.mu.Unlock()
	g.beginning.Lock()
	defer g.beginning.Unlock()
	for _, name := range topics {
		if !g.begins(name) || !move(name) {
			continue
		}
		g.mu.Lock()
		if id, ok := g.unbegunNamed(name); ok { // still
			if g.modern.begun == nil {
				g.modern.begun = map[TopicID]bool{}
			}
			g.modern.begun[id] = true
			g.changedNow()
		}
		g.mu.Unlock()
	}
	g.mu.Lock()
	wanted := g.changes
	g.mu.Unlock()
	if c.keepUpTo(g, wanted) != nil {
		return wire.CoordinatorNotAvailable
	}
	return wire.None
}

// begins says whether the group is to begin with a topic.
func (g *group) begins(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.unbegunNamed(name)
	return ok
}

// unbegunNamed is the topic of a name that the share group has not begun with, if it is to. mu is held.
func (g *group) unbegunNamed(name string) (id TopicID, ok bool) {
	m := g.modern
	if m == nil || m.kind != Share || g.dead {
		return id, false
	}
	t, there := m.topics[name]
	return t.ID, there && !m.begun[t.ID]
}

func (m *modern) beginnings() []TopicID {
	return slices.SortedFunc(maps.Keys(m.begun), func(a, b TopicID) int { return bytes.Compare(a[:], b[:]) })
}

// ShareTopics are the topics that a share group has begun with. It is GroupIDNotFound if there is no such share group.
func (c *Coordinator) ShareTopics(id string) ([]TopicID, wire.Code) {
	g, code := c.lockShare(id)
	if code != wire.None {
		return nil, code
	}
	defer g.mu.Unlock()
	return g.modern.beginnings(), wire.None
}

func (c *Coordinator) lockShare(id string) (*group, wire.Code) {
	g := c.lock(id)
	if g == nil {
		return nil, c.missing(wire.GroupIDNotFound)
	}
	if g.kind() != Share {
		g.mu.Unlock()
		return nil, wire.GroupIDNotFound
	}
	return g, wire.None
}

// makeShare makes a share group, of one that has neither members nor offsets if there is one.
func (c *Coordinator) makeShare(id string) (*group, wire.Code) {
	g, code := c.lockOrMake(id)
	if code != wire.None {
		return nil, code
	}
	if g.kind() == Share {
		return g, wire.None
	}
	if g.size() > 0 || len(g.pending) > 0 || len(g.offsets) > 0 {
		g.mu.Unlock()
		return nil, wire.GroupIDNotFound
	}
	if g.modern != nil {
		g.becomeClassic()
	}
	g.becomeModern(Share)
	return g, wire.None
}

// ChangeShareTopics has a share group without members begin with topics, or have nothing to do with them any more. known are those
// of them that it had begun with. Who begins makes the group if there is none. It returns when that is durable.
func (c *Coordinator) ChangeShareTopics(id string, topics []TopicID, gone bool) (known []bool, _ wire.Code) {
	g, code := c.lockShare(id)
	if code == wire.GroupIDNotFound && !gone {
		g, code = c.makeShare(id)
	}
	if code != wire.None {
		return nil, code
	}
	m := g.modern
	if len(m.members) > 0 {
		g.mu.Unlock()
		return nil, wire.GroupNotEmpty
	}
	known = make([]bool, len(topics))
	if m.begun == nil {
		m.begun = map[TopicID]bool{}
	}
	for i, t := range topics {
		known[i] = m.begun[t]
		if gone {
			delete(m.begun, t)
		} else {
			m.begun[t] = true
		}
	}
	g.changedNow()
	wanted := g.changes
	g.mu.Unlock()
	if c.keepUpTo(g, wanted) != nil {
		return nil, wire.CoordinatorNotAvailable
	}
	return known, wire.None
}

// forgetShareTopic has share groups have nothing to do with a topic that is gone.
func (g *group) forgetShareTopic(id TopicID) {
	g.mu.Lock()
	defer g.c.unlock(g)
	if m := g.modern; m != nil && m.begun[id] {
		delete(m.begun, id)
		g.changedNow()
	}
}
