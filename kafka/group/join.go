package group

import (
	"time"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// Join adds a member, or has a member take part in the next generation. reply
// is called once, when the generation stands or the join is refused.
func (c *Coordinator) Join(r JoinRequest, reply func(JoinReply)) {
	refuse := func(code wire.Code, memberID string) {
		reply(JoinReply{Err: code, Generation: -1, MemberID: memberID})
	}
	if r.Group == "" {
		refuse(wire.InvalidGroupID, r.MemberID)
		return
	}
	if r.SessionTimeout < c.opts.MinSession || r.SessionTimeout > c.opts.MaxSession {
		refuse(wire.InvalidSessionTimeout, r.MemberID)
		return
	}
	if r.RebalanceTimeout <= 0 {
		r.RebalanceTimeout = r.SessionTimeout
	}
	if r.MemberID != "" {
		c.mu.Lock()
		known := c.groups[r.Group] != nil
		c.mu.Unlock()
		if !known {
			refuse(c.missing(r.Group, wire.UnknownMemberID), r.MemberID)
			return
		}
	}
	g, code := c.lockOrMake(r.Group)
	if code != wire.None {
		refuse(code, r.MemberID)
		return
	}
	defer g.mu.Unlock()
	if code := g.admit(&r); code != wire.None {
		refuse(code, r.MemberID)
		return
	}
	if r.MemberID == "" {
		code = g.joinUnknown(&r, reply)
	} else {
		code = g.joinKnown(&r, reply)
	}
	if code != wire.None {
		refuse(code, r.MemberID)
	}
}

// admit checks what holds for every join: protocols that fit the group's, and room.
func (g *group) admit(r *JoinRequest) wire.Code {
	if r.ProtocolType == "" || len(r.Protocols) == 0 || !g.supports(r) {
		return wire.InconsistentGroupProtocol
	}
	_, static := g.static[r.InstanceID]
	if r.MemberID == "" && !static && len(g.members)+len(g.pending) >= g.opts.MaxMembers {
		return wire.GroupMaxSizeReached
	}
	return wire.None
}

// supports reports whether one of the protocols is known to all members.
func (g *group) supports(r *JoinRequest) bool {
	if len(g.members) == 0 {
		return true
	}
	if g.protocolType != r.ProtocolType {
		return false
	}
	for _, p := range r.Protocols {
		if g.allKnow(p.Name) {
			return true
		}
	}
	return false
}

func (g *group) allKnow(protocol string) bool {
	for _, m := range g.members {
		if !m.knows(protocol) {
			return false
		}
	}
	return true
}

func (m *member) knows(protocol string) bool {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return true
		}
	}
	return false
}

// joinUnknown handles a join without a member id. A code other than None means
// that reply was not kept.
func (g *group) joinUnknown(r *JoinRequest, reply func(JoinReply)) wire.Code {
	prefix := r.ClientID
	if r.InstanceID != "" {
		prefix = r.InstanceID
	}
	id := prefix + "-" + g.opts.NewID()
	if r.InstanceID != "" {
		if old := g.static[r.InstanceID]; old != nil {
			g.replaceStatic(old, id, r, reply)
			return wire.None
		}
	} else if r.MustKnowID {
		g.promise(id, r.SessionTimeout)
		reply(JoinReply{Err: wire.MemberIDRequired, Generation: -1, MemberID: id})
		return wire.None
	}
	g.add(id, r, reply)
	g.rejoined()
	return wire.None
}

// promise remembers an id that was given out, until the member comes with it
// or the session timeout has passed.
func (g *group) promise(id string, session time.Duration) {
	g.pending[id] = time.AfterFunc(session, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if _, ok := g.pending[id]; ok && !g.dead {
			delete(g.pending, id)
			g.maybeComplete()
		}
	})
}

// rejoined starts a rebalance, or sees whether the one that runs is complete.
func (g *group) rejoined() {
	if g.state == Preparing {
		g.maybeComplete()
		return
	}
	g.prepare()
}

// replaceStatic gives a static member's place to a new process with the same
// instance id. The assignment stays as it is when nothing it depends on changed.
func (g *group) replaceStatic(m *member, id string, r *JoinRequest, reply func(JoinReply)) {
	oldID, wasLeader := m.id, g.leader == m.id
	m.answerJoin(JoinReply{Err: wire.FencedInstanceID, Generation: -1, MemberID: oldID})
	m.answerSync(SyncReply{Err: wire.FencedInstanceID})
	delete(g.byID, oldID)
	m.id = id
	g.byID[id] = m
	if wasLeader {
		g.leader = id
	}
	m.update(r)
	g.touch(m)
	if g.state != Stable || g.choose() != g.protocol {
		m.join = reply
		g.rejoined()
		return
	}
	answer := g.currentReply(m)
	if wasLeader && !r.MaySkipAssignment {
		// Old clients would assign anew if they saw themselves as the leader.
		answer.Leader, answer.Members = oldID, nil
	}
	answer.SkipAssignment = wasLeader && r.MaySkipAssignment
	reply(answer)
}

// joinKnown handles a join of a member with an id.
func (g *group) joinKnown(r *JoinRequest, reply func(JoinReply)) wire.Code {
	if t, ok := g.pending[r.MemberID]; ok && r.InstanceID == "" {
		t.Stop()
		delete(g.pending, r.MemberID)
		g.add(r.MemberID, r, reply)
		g.rejoined()
		return wire.None
	}
	m, code := g.check(r.MemberID, r.InstanceID)
	if code != wire.None {
		return code
	}
	same := m.sameProtocols(r.Protocols)
	switch {
	case g.state == Completing && same, g.state == Stable && same && g.leader != m.id:
		// The answer to an earlier join was lost: give it again.
		g.touch(m)
		reply(g.currentReply(m))
	default:
		m.answerJoin(JoinReply{Err: wire.RebalanceInProgress, Generation: -1, MemberID: m.id})
		m.update(r)
		m.join = reply
		g.rejoined()
	}
	return wire.None
}

// currentReply describes the generation to a member; the leader gets the members.
func (g *group) currentReply(m *member) JoinReply {
	r := JoinReply{Generation: g.generation, ProtocolType: g.protocolType, Protocol: g.protocol, Leader: g.leader, MemberID: m.id}
	if g.leader == m.id {
		for _, x := range g.members {
			r.Members = append(r.Members, JoinedMember{x.id, x.instance, x.metadata(g.protocol)})
		}
	}
	return r
}
