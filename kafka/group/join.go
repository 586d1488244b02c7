package group

import (
	"slices"
	"time"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// Join adds a member, or has a member take part in the next generation. reply
// is called once, when the generation stands or the join is refused; the result is
// nil when it was called already.
func (c *Coordinator) Join(r JoinRequest, reply func(JoinReply)) *Parked {
	refuse := func(code wire.Code) *Parked {
		reply(JoinReply{Err: code, Generation: -1, MemberID: r.MemberID})
		return nil
	}
	if code := c.checkJoin(&r); code != wire.None {
		return refuse(code)
	}
	g, code := c.lockOrMake(r.Group)
	if code != wire.None {
		return refuse(code)
	}
	if g.mixes() {
		answer := g.joinMixed(&r)
		g.settleKind() // it may have taken the place of the last member of the other protocol
		wanted := g.changes
		g.mu.Unlock()
		if c.keepUpTo(g, wanted) != nil && answer.Err == wire.None {
			answer = JoinReply{Err: wire.CoordinatorNotAvailable, Generation: -1, MemberID: r.MemberID}
		}
		reply(answer)
		return nil
	}
	defer c.unlock(g)
	if code := g.admit(&r); code != wire.None {
		return refuse(code)
	}
	call := &Parked{g: g, join: reply}
	if r.MemberID == "" {
		code = g.joinUnknown(&r, call)
	} else {
		code = g.joinKnown(&r, call)
	}
	switch {
	case code != wire.None:
		return refuse(code)
	case call.m == nil || call.m.join != call:
		return nil
	}
	return call
}

// checkJoin holds a join against what can be told without the group, and brings
// its timeouts to what can be kept.
func (c *Coordinator) checkJoin(r *JoinRequest) wire.Code {
	switch {
	case r.Group == "":
		return wire.InvalidGroupID
	case r.SessionTimeout < c.opts.MinSession || r.SessionTimeout > c.opts.MaxSession:
		return wire.InvalidSessionTimeout
	}
	if r.RebalanceTimeout <= 0 {
		r.RebalanceTimeout = r.SessionTimeout
	}
	r.RebalanceTimeout = max(r.RebalanceTimeout, minRebalance)
	r.Protocols = distinct(r.Protocols)
	if r.MemberID != "" && !c.has(r.Group) {
		return c.missing(wire.UnknownMemberID)
	}
	return wire.None
}

// minRebalance is the shortest time that members get to join again, whatever they
// say: a group must not be busy with rebalances alone.
const minRebalance = 100 * time.Millisecond

// distinct leaves out protocols whose name came before.
func distinct(ps []Protocol) []Protocol {
	seen := make(map[string]bool, len(ps))
	return slices.DeleteFunc(ps, func(p Protocol) bool {
		named := seen[p.Name]
		seen[p.Name] = true
		return named
	})
}

// admit checks what holds for every join: protocols that fit the group's, and room.
func (g *group) admit(r *JoinRequest) wire.Code {
	if g.modern != nil {
		switch {
		case g.size() > 0:
			return wire.InconsistentGroupProtocol
		case r.MemberID != "" && g.pending[r.MemberID] == nil:
			return wire.UnknownMemberID // of the group before it: the member joins as a new one then
		}
		g.becomeClassic()
	}
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
	return slices.ContainsFunc(r.Protocols, func(p Protocol) bool { return g.allKnow(p.Name) })
}

// allKnow reports whether every member knows a protocol.
func (g *group) allKnow(protocol string) bool { return g.knowing[protocol] == len(g.members) }

// joinUnknown handles a join without a member id. A code other than None means
// that call was neither answered nor kept.
func (g *group) joinUnknown(r *JoinRequest, call *Parked) wire.Code {
	prefix := r.ClientID
	if r.InstanceID != "" {
		prefix = r.InstanceID
	}
	id := prefix + "-" + g.opts.NewID()
	if r.InstanceID != "" {
		if old := g.static[r.InstanceID]; old != nil {
			return g.replaceStatic(old, id, r, call)
		}
	} else if r.MustKnowID {
		if code := g.promise(id, r.SessionTimeout); code != wire.None {
			return code
		}
		call.join(JoinReply{Err: wire.MemberIDRequired, Generation: -1, MemberID: id})
		return wire.None
	}
	return g.add(id, r, call)
}

// promise remembers an id that was given out, until the member comes with it
// or the session timeout has passed.
func (g *group) promise(id string, session time.Duration) wire.Code {
	if code := g.opts.take(promiseBytes); code != wire.None {
		return code
	}
	g.pending[id] = time.AfterFunc(session, func() {
		g.mu.Lock()
		defer g.c.unlock(g)
		if g.keepPromise(id) {
			g.maybeComplete()
		}
	})
	return wire.None
}

// promiseBytes is about what an id takes that was given out.
const promiseBytes = 400

// keepPromise takes an id off the list of those that were given out.
func (g *group) keepPromise(id string) bool {
	t, ok := g.pending[id]
	if ok {
		t.Stop()
		delete(g.pending, id)
		g.opts.give(promiseBytes)
	}
	return ok
}

// rejoined starts a rebalance, or sees whether the one that runs is complete.
func (g *group) rejoined() {
	if g.state != Preparing {
		g.prepare()
		return
	}
	if g.stalled {
		g.stalled = false
		g.after(g.longestRebalance(), g.complete)
	}
	g.maybeComplete()
}

// replaceStatic gives a static member's place to a new process with the same
// instance id. The assignment stays as it is when nothing it depends on changed.
func (g *group) replaceStatic(m *member, id string, r *JoinRequest, call *Parked) wire.Code {
	if code := g.update(m, r); code != wire.None {
		return code
	}
	oldID, wasLeader := m.id, g.leader == m.id
	g.answerJoin(m, JoinReply{Err: wire.FencedInstanceID, Generation: -1, MemberID: oldID})
	m.answerSync(SyncReply{Err: wire.FencedInstanceID})
	delete(g.byID, oldID)
	m.id = id
	g.byID[id] = m
	if wasLeader {
		g.leader = id
	}
	g.touch(m)
	if g.state != Stable || g.choose() != g.protocol {
		g.park(m, call)
		g.rejoined()
		return wire.None
	}
	g.changed = true
	answer := g.currentReply(m)
	if wasLeader && !r.MaySkipAssignment {
		// Old clients would assign anew if they saw themselves as the leader.
		answer.Leader, answer.Members = oldID, nil
	}
	answer.SkipAssignment = wasLeader && r.MaySkipAssignment
	call.join(answer)
	return wire.None
}

// joinKnown handles a join of a member with an id.
func (g *group) joinKnown(r *JoinRequest, call *Parked) wire.Code {
	if r.InstanceID == "" && g.keepPromise(r.MemberID) {
		return g.add(r.MemberID, r, call)
	}
	m, code := g.check(r.MemberID, r.InstanceID)
	if code != wire.None {
		return code
	}
	same := m.sameProtocols(r.Protocols)
	if g.state == Completing && same || g.state == Stable && same && g.leader != m.id {
		// The answer to an earlier join was lost: give it again.
		g.touch(m)
		call.join(g.currentReply(m))
		return wire.None
	}
	if code := g.update(m, r); code != wire.None {
		return code
	}
	g.answerJoin(m, JoinReply{Err: wire.RebalanceInProgress, Generation: -1, MemberID: m.id})
	g.park(m, call)
	g.rejoined()
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
