package group

import (
	"slices"
	"time"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// A group may have members of both protocols while its clients go over from one to the other (KIP-848). It is assigned by the
// broker then. A classic member hears with its heartbeats that it is to join again whenever it is behind, and is told at its
// syncs what it has now, as a leader would have said it:
//
//	classic group ──── a member of the other protocol joins ───► assigned by the broker: the last generation is where all are
//	      ▲                                                                       │
//	      └──── the last member of the other protocol leaves; all join again ◄────┘
//
//	a classic member       Heartbeat: behind ───► JoinGroup: what it has ───► SyncGroup: what it is to have
//	                            ▲                  its epoch is its generation        │
//	                            └─────────────────────────────────────────────────────┘

// spoken is what is known of a classic member in such a group.
type spoken struct {
	protocols []Protocol
	version   int16 // of what it says
	session   time.Duration
	patience  *time.Timer // for its join or its sync; nil: none is waited for
}

func (x *epochMember) stopPatience() {
	if x.classic != nil && x.classic.patience != nil {
		x.classic.patience.Stop()
		x.classic.patience = nil
	}
}

// expect dismisses a classic member that does not do its part in the time it has for a rebalance.
func (g *group) expect(x *epochMember) {
	if x.classic.patience != nil {
		return
	}
	s := x.classic
	var timer *time.Timer
	timer = time.AfterFunc(x.rebalance, func() {
		g.mu.Lock()
		defer g.c.unlock(g)
		if !x.gone && x.classic == s && s.patience == timer {
			g.dismiss(x)
		}
	})
	s.patience = timer
}

// numbered are partitions by the ids of their topics, of those that are there.
func (o *Options) numbered(list []ownedTopic) Partitions {
	lists := map[TopicID][]int32{}
	for _, t := range list {
		if info, there := o.Topics.Topic(t.name); there {
			for _, n := range t.partitions {
				if n >= 0 && int(n) < info.Partitions {
					lists[info.ID] = append(lists[info.ID], n)
				}
			}
		}
	}
	return NewPartitions(lists)
}

// upgrade makes a classic group one that the broker assigns, with its members as they are. It is false if they don't all say what the
// broker understands, with the code for who wanted that: a group that is not stable is to be asked later, because nobody knows what
// its members have.
func (g *group) upgrade() (bool, wire.Code) {
	if g.protocolType != ConsumerProtocol || g.opts.Topics == nil {
		return false, wire.GroupIDNotFound
	}
	type said struct {
		subscription
		assigned, had Partitions
	}
	all := make([]said, len(g.members))
	taken := map[owned]bool{}
	first := func(id TopicID, n int32) bool {
		at := owned{id, n}
		before := taken[at]
		taken[at] = true
		return !before
	}
	for i, m := range g.members {
		s, ok := parseSubscription(m.metadata(g.choice(m)))
		list, fine := parseAssignment(m.assignment)
		if !ok || !fine {
			return false, wire.GroupIDNotFound
		}
		all[i] = said{subscription: s, assigned: g.opts.numbered(list).filter(first)} // a leader may have erred
	}
	for i := range all { // who cooperates may still have what it had when it joined, and is to give that back with its next join
		all[i].had = g.opts.numbered(all[i].owned).filter(first)
	}
	if g.state != Stable {
		return false, wire.CoordinatorLoadInProgress
	}
	g.stopTimer()
	members, generation := g.members, g.generation
	m := g.becomeModern(Consumer)
	m.epoch, m.targetEpoch = generation, generation
	g.members, g.byID, g.knowing, g.static = nil, map[string]*member{}, map[string]int{}, map[string]*member{}
	for i, old := range members {
		old.gone = true
		old.expiry.Stop()
		old.answerSync(SyncReply{Err: wire.RebalanceInProgress})
		g.opts.give(int64(len(old.assignment)))
		x := &epochMember{id: old.id, instance: old.instance, clientID: old.clientID, clientHost: old.clientHost, rack: all[i].rack,
			epoch: generation, previous: generation, rebalance: old.rebalance, names: all[i].topics, bytes: old.bytes,
			classic: &spoken{protocols: old.protocols, version: all[i].version, session: old.session}}
		g.enlist(x)
		m.own(x, all[i].assigned, all[i].had, generation)
		if x.target = all[i].assigned; len(all[i].had) > 0 {
			x.progress = revoking
			g.giveBackIn(x)
		}
		g.beat(x)
	}
	g.changedNow()
	return true, wire.None
}

// choice is the protocol by which a member is understood: the group's, or its first.
func (g *group) choice(m *member) string {
	if g.protocol != "" || len(m.protocols) == 0 {
		return g.protocol
	}
	return m.protocols[0].Name
}

// mixes says whether members of the other protocol are there, or were as long as there are some at all.
func (g *group) mixes() bool { return g.kind() == Consumer && len(g.modern.members) > 0 }

// settleKind makes the group a classic one when the last member of the other protocol has left: those that are left are to join
// again.
func (g *group) settleKind() {
	m := g.modern
	if m == nil || m.kind != Consumer || len(m.order) == 0 || slices.ContainsFunc(m.order, func(x *epochMember) bool { return x.classic == nil }) {
		return
	}
	g.modern = nil
	g.generation, g.protocolType = max(g.generation, m.epoch), ConsumerProtocol
	for _, x := range m.order {
		x.gone = true
		x.expiry.Stop()
		x.stopSlow()
		x.stopPatience()
		old := &member{id: x.id, instance: x.instance, clientID: x.clientID, clientHost: x.clientHost, protocols: x.classic.protocols,
			session: x.classic.session, rebalance: x.rebalance, bytes: x.bytes, epoch: x.epoch, told: true, synced: true}
		for _, p := range old.protocols {
			g.knowing[p.Name]++
		}
		g.place(old)
	}
	g.state, g.leader, g.protocol = Stable, g.members[0].id, g.choose()
	g.changedNow()
	g.prepare()
}

// joinMixed is a classic member's join in a group that the broker assigns.
func (g *group) joinMixed(r *JoinRequest) JoinReply {
	refuse := func(code wire.Code) JoinReply { return JoinReply{Err: code, Generation: -1, MemberID: r.MemberID} }
	if r.ProtocolType != ConsumerProtocol || len(r.Protocols) == 0 {
		return refuse(wire.InconsistentGroupProtocol)
	}
	said, ok := parseSubscription(r.Protocols[0].Metadata)
	if !ok || g.opts.Topics == nil {
		return refuse(wire.InconsistentGroupProtocol)
	}
	x, reply := g.joinerOf(r)
	if x == nil {
		return reply
	}
	if !g.shareProtocol(x, r.Protocols) {
		g.unenlist(x)
		return refuse(wire.InconsistentGroupProtocol)
	}
	changed, code := g.hearClassic(x, r, &said)
	if code != wire.None {
		g.unenlist(x)
		return refuse(code)
	}
	g.beat(x)
	m := g.modern
	if changed || m.version != g.opts.Topics.Version() {
		g.refreshTopics(changed)
	}
	g.assignTargets()
	has := Partitions{} // who says nothing of that has given back all
	if said.version >= 1 && (said.generation < 0 || said.generation == x.epoch) {
		has = g.opts.numbered(said.owned)
	}
	g.reconcile(x, has)
	x.stopPatience()
	g.expect(x)
	return JoinReply{Generation: x.epoch, ProtocolType: ConsumerProtocol, Protocol: r.Protocols[0].Name, MemberID: x.id}
}

// joinerOf finds the member that a join is of, or makes it; without one the reply is what is to be said.
func (g *group) joinerOf(r *JoinRequest) (*epochMember, JoinReply) {
	refuse := func(code wire.Code) (*epochMember, JoinReply) {
		return nil, JoinReply{Err: code, Generation: -1, MemberID: r.MemberID}
	}
	m := g.modern
	at := m.static[r.InstanceID]
	if r.InstanceID != "" && at != nil {
		switch {
		case r.MemberID != "" && at.id != r.MemberID:
			return refuse(wire.FencedInstanceID)
		case r.MemberID == "": // another process in its place, which has what the first one had
			delete(m.members, at.id)
			at.id = r.InstanceID + "-" + g.opts.NewID()
			m.members[at.id] = at
		}
		return at, JoinReply{}
	}
	if x := m.members[r.MemberID]; x != nil && r.MemberID != "" {
		return x, JoinReply{}
	}
	id := r.MemberID
	switch {
	case id != "" && (r.InstanceID != "" || !g.keepPromise(id)):
		return refuse(wire.UnknownMemberID)
	case id == "" && len(m.members)+len(g.pending) >= g.opts.MaxMembers:
		return refuse(wire.GroupMaxSizeReached)
	case id == "" && r.InstanceID != "":
		id = r.InstanceID + "-" + g.opts.NewID()
	case id == "":
		if id = r.ClientID + "-" + g.opts.NewID(); r.MustKnowID {
			if code := g.promise(id, r.SessionTimeout); code != wire.None {
				return refuse(code)
			}
			return nil, JoinReply{Err: wire.MemberIDRequired, Generation: -1, MemberID: id}
		}
	}
	x := &epochMember{id: id, instance: r.InstanceID}
	g.enlist(x)
	return x, JoinReply{}
}

// unenlist takes a member off the lists again that was made by a join which is refused.
func (g *group) unenlist(x *epochMember) {
	if x.expiry != nil {
		return // it was there before
	}
	x.expiry = time.AfterFunc(time.Hour, func() {})
	g.unlist(x)
}

// shareProtocol says whether a classic member has a protocol that all other classic members have: else they could not be a group of
// their own again.
func (g *group) shareProtocol(x *epochMember, list []Protocol) bool {
	return slices.ContainsFunc(list, func(p Protocol) bool {
		return !slices.ContainsFunc(g.modern.order, func(o *epochMember) bool {
			return o != x && o.classic != nil && !slices.ContainsFunc(o.classic.protocols, func(q Protocol) bool { return q.Name == p.Name })
		})
	})
}

// hearClassic takes over what a classic member says; changed is whether the target depends on it.
func (g *group) hearClassic(x *epochMember, r *JoinRequest, said *subscription) (changed bool, _ wire.Code) {
	speaks := &spoken{protocols: r.Protocols, version: said.version, session: r.SessionTimeout}
	bytes := (&epochMember{id: x.id, instance: x.instance, clientID: r.ClientID, rack: said.rack, names: said.topics, classic: speaks}).size()
	if code := g.opts.take(bytes - x.bytes); code != wire.None {
		return false, code
	}
	x.bytes = bytes
	changed = x.expiry == nil || !slices.Equal(x.names, said.topics) || x.regex != "" || x.assignor != ""
	x.stopPatience()
	x.names, x.regex, x.match, x.assignor, x.rack = said.topics, "", nil, "", said.rack
	x.rebalance = r.RebalanceTimeout
	x.clientID, x.clientHost = r.ClientID, r.ClientHost
	x.classic = speaks
	if x.epoch < 0 { // a static one that was away
		x.epoch = 0
	}
	g.changedNow()
	return changed, wire.None
}

// speaker finds the classic member that an identity names.
func (g *group) speaker(id, instance string) (*epochMember, wire.Code) {
	x, code := g.modern.memberFor(id, instance, 0)
	switch {
	case x == nil:
		return nil, code
	case x.classic == nil:
		return nil, wire.UnknownMemberID
	}
	return x, wire.None
}

// syncMixed is a classic member's sync in a group that the broker assigns.
func (g *group) syncMixed(r *SyncRequest) SyncReply {
	x, code := g.speaker(r.MemberID, r.InstanceID)
	switch {
	case code != wire.None:
	case r.Generation != x.epoch:
		code = wire.IllegalGeneration
	case r.differs(r.ProtocolType, ConsumerProtocol), r.differs(r.Protocol, x.classic.protocols[0].Name):
		code = wire.InconsistentGroupProtocol
	case g.modern.epoch > x.epoch && x.progress != revoking:
		code = wire.RebalanceInProgress
		g.expect(x)
	}
	if code != wire.None {
		return SyncReply{Err: code}
	}
	x.stopPatience()
	g.beat(x)
	names := make(map[TopicID]string, len(g.modern.topics))
	for name, t := range g.modern.topics {
		names[t.ID] = name
	}
	var list []ownedTopic
	for _, id := range x.assigned.Topics() {
		if name := names[id]; name != "" {
			list = append(list, ownedTopic{name, x.assigned[id]})
		}
	}
	return SyncReply{ProtocolType: ConsumerProtocol, Protocol: x.classic.protocols[0].Name, Assignment: appendAssignment(nil, x.classic.version, list)}
}

// beatMixed is a classic member's heartbeat in a group that the broker assigns.
func (g *group) beatMixed(id Identity) wire.Code {
	x, code := g.speaker(id.MemberID, id.InstanceID)
	if code != wire.None {
		return code
	}
	if id.Generation != x.epoch {
		return wire.IllegalGeneration
	}
	g.beat(x)
	m := g.modern
	if m.version != g.opts.Topics.Version() {
		g.refreshTopics(false)
		g.assignTargets()
	}
	behind := m.epoch > x.epoch || x.progress == revoking
	if !behind && x.progress == receiving {
		for id, list := range x.target.without(x.assigned) {
			for _, n := range list {
				behind = behind || m.owners[owned{id, n}].of == nil
			}
		}
	}
	if behind {
		g.expect(x)
		return wire.RebalanceInProgress
	}
	return wire.None
}
