package group

import "github.com/leveret-mq/leveret/kafka/wire"

// Sync answers with the member's assignment once the leader has brought it.
// reply is called once; the result is nil when it was called already. The leader's
// call returns when the generation is durable, and only then do others hear of it.
func (c *Coordinator) Sync(r SyncRequest, reply func(SyncReply)) *Parked {
	if r.Group == "" {
		reply(SyncReply{Err: wire.InvalidGroupID})
		return nil
	}
	g := c.lock(r.Group)
	if g == nil {
		reply(SyncReply{Err: c.missing(wire.UnknownMemberID)})
		return nil
	}
	defer g.mu.Unlock()
	if g.mixes() {
		reply(g.syncMixed(&r))
		return nil
	}
	m, code := g.check(r.MemberID, r.InstanceID)
	if code == wire.None {
		code = g.checkSync(&r)
	}
	if code == wire.None && m.id == g.leader && g.state == Completing {
		code = c.establish(g, m, r.Assignments)
	}
	if code != wire.None {
		reply(SyncReply{Err: code})
		return nil
	}
	g.touch(m)
	m.synced = true
	m.answerSync(SyncReply{Err: wire.RebalanceInProgress}) // an older request of the same member
	if g.state == Stable {
		reply(g.syncReply(m))
		return nil
	}
	m.sync = &Parked{g: g, m: m, sync: reply}
	return m.sync
}

// establish makes the generation that is handed over the one that stands, with what
// the leader decided. The group is unlocked while that is kept, and may not be the
// same afterwards.
func (c *Coordinator) establish(g *group, leader *member, assignments map[string][]byte) wire.Code {
	switch code := g.assign(assignments); code {
	case wire.None:
	case wire.CoordinatorLoadInProgress:
		return wire.CoordinatorNotAvailable // clients do not expect the other of a sync
	default:
		return code
	}
	g.touch(leader)
	leader.synced = true
	generation := g.generation
	g.mu.Unlock()
	err := c.keep(g)
	g.mu.Lock()
	switch {
	case err != nil, g.dead:
		return wire.CoordinatorNotAvailable
	case leader.gone:
		return wire.UnknownMemberID
	case g.generation != generation, g.state != Completing && g.state != Stable:
		return wire.RebalanceInProgress
	}
	g.state = Stable
	for _, m := range g.members {
		if m.sync != nil {
			g.touch(m)
			m.answerSync(g.syncReply(m))
		}
	}
	return wire.None
}

// differs tells whether the member takes the group for another one.
func (r *SyncRequest) differs(said, is string) bool { return (r.Named || said != "") && said != is }

func (g *group) checkSync(r *SyncRequest) wire.Code {
	switch {
	case r.Generation != g.generation:
		return wire.IllegalGeneration
	case r.differs(r.ProtocolType, g.protocolType), r.differs(r.Protocol, g.protocol) && g.state != Preparing:
		return wire.InconsistentGroupProtocol
	case g.state == Preparing:
		return wire.RebalanceInProgress
	case g.state == Empty:
		return wire.UnknownMemberID
	}
	return wire.None
}

// assign stores what the leader decided. A member that it forgot gets nothing.
func (g *group) assign(assignments map[string][]byte) wire.Code {
	bytes := int64(0)
	for _, m := range g.members {
		bytes += int64(len(assignments[m.id]) - len(m.assignment))
	}
	if code := g.opts.take(bytes); code != wire.None {
		return code
	}
	for _, m := range g.members {
		m.assignment = assignments[m.id]
	}
	return wire.None
}

func (g *group) syncReply(m *member) SyncReply {
	return SyncReply{ProtocolType: g.protocolType, Protocol: g.protocol, Assignment: m.assignment}
}

// Heartbeat keeps a member's session alive and tells it of a rebalance.
func (c *Coordinator) Heartbeat(id Identity) wire.Code {
	if id.Group == "" {
		return wire.InvalidGroupID
	}
	g := c.lock(id.Group)
	if g == nil {
		return c.missing(wire.UnknownMemberID)
	}
	if g.mixes() {
		defer c.unlock(g)
		return g.beatMixed(id)
	}
	defer g.mu.Unlock()
	m, code := g.check(id.MemberID, id.InstanceID)
	if code != wire.None {
		return code
	}
	if !g.knows(m, id.Generation) {
		return wire.IllegalGeneration
	}
	g.touch(m)
	if g.state == Preparing {
		return wire.RebalanceInProgress
	}
	return wire.None
}

// Leave removes members, and fills in what became of each.
func (c *Coordinator) Leave(group string, leavers []Leaver) wire.Code {
	if group == "" {
		return wire.InvalidGroupID
	}
	g := c.lock(group)
	if g == nil {
		code := c.missing(wire.UnknownMemberID)
		for i := range leavers {
			leavers[i].Err = code
		}
		if code == wire.UnknownMemberID {
			code = wire.None
		}
		return code
	}
	defer c.unlock(g)
	for i := range leavers {
		leavers[i].Err = g.leave(leavers[i])
	}
	return wire.None
}

// Expel removes a member that may not be in the group any more, if it is.
func (c *Coordinator) Expel(group, member string) {
	g := c.lock(group)
	if g == nil {
		return
	}
	defer c.unlock(g)
	if m := g.byID[member]; m != nil {
		g.removeAndUpdate(m)
	}
	if g.modern != nil {
		if x := g.modern.members[member]; x != nil {
			g.dismiss(x)
		}
	}
}

func (g *group) leave(l Leaver) wire.Code {
	if g.modern != nil && !(l.InstanceID == "" && g.pending[l.MemberID] != nil) {
		return g.sendAway(l)
	}
	if l.InstanceID == "" && g.keepPromise(l.MemberID) {
		g.maybeComplete()
		return wire.None
	}
	if l.InstanceID != "" && l.MemberID == "" {
		// An administrator removes a static member by its instance id alone.
		if m := g.static[l.InstanceID]; m != nil {
			l.MemberID = m.id
		}
	}
	m, code := g.check(l.MemberID, l.InstanceID)
	if code != wire.None {
		return code
	}
	g.removeAndUpdate(m)
	return wire.None
}
