package group

import (
	"fmt"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/internal/pattern"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// EpochHeartbeat is what a member says whose group is assigned by the broker: it joins, goes on or leaves.
type EpochHeartbeat struct {
	Type                 Type // Consumer or Share
	Group, MemberID      string
	InstanceID, RackID   string
	ClientID, ClientHost string
	Epoch                int32         // 0 joins, -1 leaves, -2 leaves for now
	RebalanceTimeout     time.Duration // negative: as before
	Names                []string      // nil: as before
	Regex                *string       // nil: as before, "": none
	Assignor             *string       // nil: as before
	Owned                Partitions    // nil: as before
	MayMakeID            bool          // a member without an id is given one
	Match                func(*regexp.Regexp) []string
	resolved             []string // what the member's expression stands for, if
	resolvedAt           uint64   // the topics' version is not 0
	resolvedOf           string
}

// EpochReply is the answer to an EpochHeartbeat.
type EpochReply struct {
	Err        wire.Code
	Why        string
	MemberID   string
	Epoch      int32
	Interval   time.Duration
	Assigned   Partitions // if
	Assignment bool       // it is told
	Begins     []string   // topics that the Share group has not begun with: see BeginShare
}

func refused(code wire.Code, format string, args ...any) EpochReply {
	return EpochReply{Err: code, Why: fmt.Sprintf(format, args...)}
}

// check holds it against what can be told without the group.
func (r *EpochHeartbeat) check() EpochReply {
	invalid := func(why string) EpochReply { return refused(wire.InvalidRequest, "%s", why) }
	switch {
	case r.Group == "":
		return invalid("GroupId can't be empty.")
	case r.MemberID == "" && (r.Epoch != 0 || !r.MayMakeID):
		return invalid("MemberId can't be empty.")
	case r.Type == Share && LongMember(r.MemberID):
		return invalid("MemberId can't be longer than 36 characters.")
	case r.Epoch < leftForNow:
		return invalid("MemberEpoch is invalid.")
	case r.Epoch == leftForNow && r.InstanceID == "":
		return invalid("InstanceId can't be null or empty when a static member leaves for a while.")
	case r.Assignor != nil && assignorOf(*r.Assignor) == nil:
		return refused(wire.UnsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %v.", wire.Text(*r.Assignor), AssignorNames())
	case r.Epoch != 0:
		return EpochReply{}
	case r.Type == Consumer && r.RebalanceTimeout < 0:
		return invalid("RebalanceTimeoutMs must be provided in first request.")
	case r.Type == Consumer && (r.Owned == nil || len(r.Owned) > 0):
		return invalid("TopicPartitions must be empty when (re-)joining.")
	case r.Names == nil && r.Regex == nil, r.Type == Share && len(r.Names) == 0:
		return invalid("SubscribedTopicNames must be set in first request.")
	}
	return EpochReply{}
}

// LongMember tells whether an id is longer than those of Share members, which are UUIDs, may be.
func LongMember(id string) bool { return utf8.RuneCountInString(id) > 36 }

// EpochHeartbeat has a member join, go on or leave. It returns when what changed by it is durable.
func (c *Coordinator) EpochHeartbeat(r EpochHeartbeat) EpochReply {
	if refused := r.check(); refused.Err != wire.None {
		return refused
	}
	if r.Epoch >= 0 {
		if refused := c.resolve(&r); refused.Err != wire.None {
			return refused
		}
	}
	g, refused := c.lockFor(&r)
	if g == nil {
		return refused
	}
	var reply EpochReply
	if r.Epoch < 0 {
		reply = g.leaveEpochs(&r)
	} else {
		reply = g.heartbeat(&r)
	}
	if reply.Err != wire.None {
		g.settleKind() // it may have been made another kind of group for who did not get in
	}
	reply.Interval = g.interval(reply.MemberID)
	wanted := g.changes
	g.mu.Unlock()
	if err := c.keepUpTo(g, wanted); err != nil && reply.Err == wire.None {
		return EpochReply{Err: wire.CoordinatorNotAvailable, Why: "The members of the group can't be stored."}
	}
	return reply
}

// lockFor locks the group of a heartbeat, made if it joins.
func (c *Coordinator) lockFor(r *EpochHeartbeat) (*group, EpochReply) {
	missing := func(code wire.Code) (*group, EpochReply) {
		if code = c.missing(code); code != wire.CoordinatorNotAvailable {
			return nil, refused(code, "Group %s not found.", wire.Text(r.Group))
		}
		return nil, EpochReply{Err: code}
	}
	g := c.lock(r.Group)
	switch {
	case g == nil && r.Epoch != 0:
		return missing(wire.GroupIDNotFound)
	case g == nil:
		var code wire.Code
		if g, code = c.lockOrMake(r.Group); code != wire.None {
			return nil, EpochReply{Err: code}
		}
	}
	if g.kind() == r.Type {
		return g, EpochReply{}
	}
	if r.Epoch == 0 && g.size() == 0 && (r.Type == Consumer || len(g.pending) == 0 && len(g.offsets) == 0) {
		if g.modern != nil {
			g.becomeClassic()
		}
		g.becomeModern(r.Type)
		return g, EpochReply{}
	}
	if r.Type == Consumer && g.modern == nil && g.protocolType == ConsumerProtocol {
		upgraded, code := false, wire.UnknownMemberID // of a member that was in it before it became a classic one: it is to join anew
		if r.Epoch == 0 {
			upgraded, code = g.upgrade()
		}
		switch {
		case upgraded:
			return g, EpochReply{}
		case code == wire.CoordinatorLoadInProgress:
			g.mu.Unlock()
			return nil, refused(code, "Group %s is in a rebalance. Try again when it is over.", wire.Text(r.Group))
		case code == wire.UnknownMemberID:
			g.mu.Unlock()
			return nil, refused(code, "Member %s is not a member of group %s.", wire.Text(r.MemberID), wire.Text(r.Group))
		}
	}
	is := g.kind()
	g.mu.Unlock()
	return nil, refused(wire.GroupIDNotFound, "Group %s has members of another protocol, or offsets: it is a %s group.", wire.Text(r.Group), is)
}

// resolve finds the topics that the member's expression stands for, if it is new or the topics are. It is done without the
// group's lock: who sees which topics is asked of others.
func (c *Coordinator) resolve(r *EpochHeartbeat) EpochReply {
	text, at := "", uint64(0)
	if r.Regex != nil {
		text = *r.Regex
	}
	if g := c.lock(r.Group); g != nil {
		if g.modern != nil {
			if x := g.modern.members[r.MemberID]; x != nil && (r.Regex == nil || x.regex == text) {
				text, at = x.regex, x.matched
			}
		}
		g.mu.Unlock()
	}
	if text == "" || r.Match == nil || c.opts.Topics == nil {
		return EpochReply{}
	}
	now := c.opts.Topics.Version()
	if at == now {
		return EpochReply{}
	}
	re, err := pattern.CompileWhole(text)
	if err != nil {
		return refused(wire.InvalidRegularExpression, "%s", wire.Text("SubscribedTopicRegex is not a valid regular expression: "+err.Error()))
	}
	r.resolved, r.resolvedAt, r.resolvedOf = r.Match(re), now, text
	return EpochReply{}
}

// heartbeat is EpochHeartbeat of a member that joins or goes on.
func (g *group) heartbeat(r *EpochHeartbeat) EpochReply {
	x, anew, refusal := g.callerOf(r)
	if refusal.Err != wire.None {
		return refusal
	}
	m := g.modern
	before := x.assigned
	changed, code := g.hear(x, r)
	if code != wire.None {
		if anew {
			x.expiry = time.AfterFunc(time.Hour, func() {})
			g.unlist(x)
			if g.size() == 0 {
				g.state, g.since = Empty, time.Now()
			}
		}
		return refused(code, "There is no room for the member.")
	}
	g.beat(x)
	if changed = changed || anew; changed || g.opts.Topics != nil && m.version != g.opts.Topics.Version() {
		g.refreshTopics(changed)
	}
	var begins []string
	if m.kind == Share {
		begins = m.unbegun()
	}
	g.assignTargets()
	has := r.Owned
	if r.Epoch == 0 && m.kind == Consumer {
		has = Partitions{}
	}
	g.reconcile(x, has)
	reply := EpochReply{MemberID: x.id, Epoch: x.epoch, Begins: begins}
	full := r.Owned != nil && r.RebalanceTimeout >= 0 && (r.Names != nil || r.Regex != nil)
	if r.Epoch == 0 || full || !before.equal(x.assigned) {
		reply.Assigned, reply.Assignment = x.assigned, true
	}
	return reply
}

// callerOf finds the member that a heartbeat is of, or makes it. Where its epoch is not the member's it is sent back to the
// beginning, unless it missed an answer only.
func (g *group) callerOf(r *EpochHeartbeat) (x *epochMember, anew bool, _ EpochReply) {
	m := g.modern
	x = m.members[r.MemberID]
	if r.InstanceID != "" {
		at := m.static[r.InstanceID]
		switch {
		case at == nil && r.Epoch != 0:
			return nil, false, refused(wire.UnknownMemberID, "Instance id %s is unknown.", wire.Text(r.InstanceID))
		case at == nil && x != nil: // a dynamic member that says otherwise now
			return nil, false, refused(wire.InvalidRequest, "The instance id of a member can't change.")
		case at != nil && at.id != r.MemberID && r.Epoch != 0:
			return nil, false, refused(wire.FencedInstanceID, "Static member with instance id %s has been replaced by another.", wire.Text(r.InstanceID))
		case at != nil && at.id != r.MemberID && at.epoch != leftForNow && at.classic == nil:
			return nil, false, refused(wire.UnreleasedInstanceID, "Static member with instance id %s is held by another: it has to leave first.", wire.Text(r.InstanceID))
		case at != nil && at.id != r.MemberID:
			delete(m.members, at.id)
			at.id = r.MemberID
			if at.id == "" {
				at.id = g.opts.NewID()
			}
			m.members[at.id] = at
		}
		x = at
	}
	if x != nil && x.classic != nil && r.Epoch == 0 { // it speaks the other protocol from now on
		x.stopPatience()
		x.classic = nil
	}
	switch {
	case x == nil && r.Epoch != 0:
		return nil, false, refused(wire.UnknownMemberID, "Member %s is not a member of group %s.", wire.Text(r.MemberID), wire.Text(r.Group))
	case x == nil && len(m.members) >= g.opts.MaxMembers:
		return nil, false, refused(wire.GroupMaxSizeReached, "The group has %d members, and may not have more.", len(m.members))
	case x == nil:
		x = &epochMember{id: r.MemberID, instance: r.InstanceID}
		if x.id == "" {
			x.id = g.opts.NewID()
		}
		g.enlist(x)
		return x, true, EpochReply{}
	case r.Epoch == 0:
		if x.epoch != 0 { // it begins anew, and what it had was taken from it by its end
			x.previous, x.epoch, x.progress = x.epoch, 0, settled
			x.stopSlow()
			g.modern.own(x, x.assigned, nil, x.epoch)
		}
		return x, false, EpochReply{}
	case r.Epoch > x.epoch:
		return nil, false, refused(wire.FencedMemberEpoch, "The consumer group member has a greater member epoch (%d) than the one known by the group coordinator (%d). "+
			"The member must abandon all its partitions and rejoin.", r.Epoch, x.epoch)
	case r.Epoch < x.epoch && (r.Epoch != x.previous || m.kind == Consumer && (r.Owned == nil || !r.Owned.within(x.assigned))):
		return nil, false, refused(wire.FencedMemberEpoch, "The consumer group member has a smaller member epoch (%d) than the one known by the group coordinator (%d). "+
			"The member must abandon all its partitions and rejoin.", r.Epoch, x.epoch)
	}
	return x, false, EpochReply{}
}

// hear takes over what a member says of itself; changed is whether the target depends on it.
func (g *group) hear(x *epochMember, r *EpochHeartbeat) (changed bool, _ wire.Code) {
	names, regex, match := x.names, x.regex, x.match
	if r.Names != nil {
		names = slices.Clone(r.Names)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	if r.Regex != nil && *r.Regex != regex {
		regex, match = *r.Regex, nil
	}
	if r.resolvedAt != 0 && r.resolvedOf == regex {
		match = r.resolved
		slices.Sort(match)
	}
	said := *x
	said.names, said.regex, said.match, said.clientID = names, regex, match, r.ClientID
	if r.RackID != "" {
		said.rack = r.RackID
	}
	bytes := said.size()
	if code := g.opts.take(bytes - x.bytes); code != wire.None {
		return false, code
	}
	x.bytes = bytes
	changed = !slices.Equal(names, x.names) || regex != x.regex || !slices.Equal(match, x.match)
	x.names, x.regex, x.match = names, regex, match
	if r.resolvedAt != 0 {
		x.matched = r.resolvedAt
	}
	if r.Assignor != nil && *r.Assignor != x.assignor {
		x.assignor, changed = *r.Assignor, true
	}
	if r.RebalanceTimeout >= 0 {
		x.rebalance = max(r.RebalanceTimeout, minRebalance)
	}
	x.rack = said.rack
	if x.clientID != r.ClientID || x.clientHost != r.ClientHost {
		x.clientID, x.clientHost = r.ClientID, r.ClientHost
		g.changedNow()
	}
	return changed, wire.None
}

// leaveEpochs is EpochHeartbeat of a member that leaves.
func (g *group) leaveEpochs(r *EpochHeartbeat) EpochReply {
	m := g.modern
	x := m.members[r.MemberID]
	if r.InstanceID != "" {
		at := m.static[r.InstanceID]
		if at != nil && at.id != r.MemberID {
			return refused(wire.FencedInstanceID, "Static member with instance id %s has been replaced by another.", wire.Text(r.InstanceID))
		}
		x = at
	}
	if x == nil {
		return refused(wire.UnknownMemberID, "Member %s is not a member of group %s.", wire.Text(r.MemberID), wire.Text(r.Group))
	}
	if r.Epoch == leftForNow {
		x.previous, x.epoch, x.progress = x.epoch, leftForNow, settled
		x.stopSlow()
		m.own(x, x.assigned, nil, x.epoch)
		g.changedNow()
	} else {
		g.dismiss(x)
	}
	return EpochReply{MemberID: x.id, Epoch: r.Epoch}
}

// mayCommitByEpoch is mayCommit of a group that is assigned by the broker. A member that does not know of its newest epoch yet may
// commit for the partitions that it had before that, and has.
func (g *group) mayCommitByEpoch(id Identity, positions []Position) wire.Code {
	m := g.modern
	switch {
	case m.kind == Share:
		return wire.GroupIDNotFound // it has none
	case id.Generation < 0 && len(m.members) == 0:
		return wire.None
	}
	x, code := m.memberFor(id.MemberID, id.InstanceID, id.Generation)
	if code == wire.StaleMemberEpoch && id.Generation >= 0 && id.Generation < x.epoch && m.allHad(x, id.Generation, positions) {
		return wire.None
	}
	if code == wire.StaleMemberEpoch && x.classic != nil {
		return wire.IllegalGeneration
	}
	if code == wire.StaleMemberEpoch && id.NoEpochs {
		code = wire.UnsupportedVersion
	}
	return code
}

// allHad says whether a member has all of these partitions since that epoch or before.
func (m *modern) allHad(x *epochMember, epoch int32, positions []Position) bool {
	for i := range positions {
		p := &positions[i]
		if o := m.owners[owned{p.Offset.TopicID, p.Partition}]; p.Err == wire.None && (o.of != x || o.since > epoch) {
			return false
		}
	}
	return len(positions) > 0
}

// MayFetch says whether a member may see what its group has committed: one that says who it is and does not know that its epoch
// is over is told so.
func (c *Coordinator) MayFetch(group, member string, epoch int32) wire.Code {
	if member == "" && epoch < 0 {
		return wire.None
	}
	g := c.lock(group)
	if g == nil {
		return wire.None
	}
	defer g.mu.Unlock()
	if g.kind() != Consumer {
		return wire.None
	}
	_, code := g.modern.memberFor(member, "", epoch)
	return code
}

// interval is when a member is to be heard again: the larger the group, the later, and soon if it waits for others.
func (g *group) interval(id string) time.Duration {
	const least, each = time.Second, 10 * time.Millisecond
	most := g.opts.EpochInterval
	if g.modern == nil { // it is a classic one now
		return most
	}
	set := g.c.Settings(g.id).interval(g.modern.kind)
	if x := g.modern.members[id]; x != nil && x.progress == receiving {
		return min(least/2, most)
	}
	if set > 0 {
		return set
	}
	return min(max(least, time.Duration(len(g.modern.members))*each), most)
}

// EpochDescription is a group that is assigned by the broker, as it is shown.
type EpochDescription struct {
	State                  State
	Epoch, AssignmentEpoch int32
	Assignor               string
	Members                []EpochMember
	Topics                 map[TopicID]string // names of those that are assigned
}

// EpochMember is a member of it. Its slices and maps must not be changed.
type EpochMember struct {
	ID, InstanceID, RackID string
	ClientID, ClientHost   string
	Epoch                  int32
	Names                  []string
	Regex                  string
	Assigned, Target       Partitions
	Classic                bool // it speaks the classic protocol
}

// DescribeEpochs shows a group of that type; ok is false if there is none.
func (c *Coordinator) DescribeEpochs(id string, kind Type) (d EpochDescription, ok bool) {
	g := c.lock(id)
	if g == nil {
		return d, false
	}
	defer g.mu.Unlock()
	m := g.modern
	if m == nil || m.kind != kind {
		return d, false
	}
	d = EpochDescription{State: g.shown(), Epoch: m.epoch, AssignmentEpoch: m.targetEpoch, Assignor: m.assignor, Topics: map[TopicID]string{}}
	if kind == Share {
		d.Assignor = "simple"
	}
	for name, t := range m.topics {
		d.Topics[t.ID] = name
	}
	for _, x := range m.order {
		d.Members = append(d.Members, EpochMember{ID: x.id, InstanceID: x.instance, RackID: x.rack, ClientID: x.clientID, ClientHost: x.clientHost,
			Epoch: x.epoch, Names: x.names, Regex: x.regex, Assigned: x.assigned, Target: x.target, Classic: x.classic != nil})
	}
	return d, true
}

// sendAway has an administrator remove a member.
func (g *group) sendAway(l Leaver) wire.Code {
	m := g.modern
	x := m.members[l.MemberID]
	if at := m.static[l.InstanceID]; l.InstanceID != "" {
		if at != nil && l.MemberID != "" && at.id != l.MemberID {
			return wire.FencedInstanceID
		}
		x = at
	}
	if x == nil || m.kind == Share {
		return wire.UnknownMemberID
	}
	g.dismiss(x)
	return wire.None
}
