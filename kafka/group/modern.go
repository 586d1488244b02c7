package group

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// Type is which protocol the members of a group speak; the strings are Kafka's own.
type Type string

// The types of groups.
const (
	Classic  Type = "Classic"  // JoinGroup and SyncGroup: a member assigns
	Consumer Type = "Consumer" // KIP-848: the broker assigns, and each partition has one reader
	Share    Type = "Share"    // KIP-932: the broker assigns, and several read a partition
)

// The states that only groups have for whose members the broker assigns.
const (
	Assigning   State = "Assigning"   // the target is not made yet
	Reconciling State = "Reconciling" // members go over to it
)

// TopicInfo is a topic that may be assigned.
type TopicInfo struct {
	ID         TopicID
	Partitions int
}

// Topics is what there is to be assigned. It is asked with a group's lock held, and does not wait.
type Topics interface {
	// Version changes whenever a topic comes, goes or gets partitions.
	Version() uint64
	// Topic finds a topic by its name.
	Topic(name string) (TopicInfo, bool)
}

// modern is what a group has that is assigned by the broker, in the terms of KIP-848: a group's epoch counts changes of what
// the target depends on, the target's is the group's when it was made, and a member's is that of the target that it is in.
// The group's mutex guards it.
type modern struct {
	kind        Type
	epoch       int32
	targetEpoch int32
	assignor    string // that made the target
	members     map[string]*epochMember
	order       []*epochMember          // in order of joining
	static      map[string]*epochMember // by instance id
	topics      map[string]TopicInfo    // that members read, and that were there when the epoch was counted
	version     uint64                  // of the topics, when that was looked at
	begun       map[TopicID]bool        // topics that a Share group has begun with
	owners      map[owned]ownership     // who has a partition, or has still to give it back; of a Consumer group
}

type owned struct {
	id        TopicID
	partition int32
}

// ownership is whose a partition is, and since which of its epochs.
type ownership struct {
	of    *epochMember
	since int32
}

// progress is how far a member is on its way to the target.
type progress uint8

const (
	settled   progress = iota // it has what it can have
	revoking                  // it has to give partitions back first
	receiving                 // it waits for what others have to give back
)

// epochMember is a member of such a group.
type epochMember struct {
	id, instance, rack   string
	clientID, clientHost string
	epoch, previous      int32
	progress             progress
	rebalance            time.Duration
	assignor             string // that it wishes for
	names                []string
	regex                string
	match                []string // topics that regex stood for when it was looked at, and
	matched              uint64   // the version of the topics then
	topics               []string // of both that are there
	assigned             Partitions
	revoked              Partitions // to be given back
	target               Partitions
	bytes                int64 // of memory that it takes
	deadline             time.Time
	expiry               *time.Timer // of the session
	slow                 *time.Timer // of the time for giving back; nil: none
	gone                 bool
	classic              *spoken // of one that speaks the classic protocol
}

// size is about how many bytes it takes with what it said.
func (x *epochMember) size() int64 {
	n := memberBytes + len(x.id) + len(x.instance) + len(x.clientID) + len(x.rack) + 2*len(x.regex)
	for _, list := range [2][]string{x.names, x.match} {
		for _, name := range list {
			n += 2*len(name) + 64
		}
	}
	if x.classic != nil {
		for _, p := range x.classic.protocols {
			n += len(p.Name) + len(p.Metadata)
		}
	}
	return int64(n)
}

// leftForNow is the epoch of a static member that has left, and whose place is kept.
const leftForNow = -2

func (g *group) becomeModern(kind Type) *modern {
	g.modern = &modern{kind: kind, epoch: g.generation, members: map[string]*epochMember{}, static: map[string]*epochMember{},
		topics: map[string]TopicInfo{}, owners: map[owned]ownership{}}
	g.protocolType, g.protocol, g.leader = "", "", ""
	return g.modern
}

// becomeClassic ends an empty group's being another one.
func (g *group) becomeClassic() {
	g.generation = max(g.generation, g.modern.epoch)
	g.modern = nil
	g.changedNow()
}

// size is how many members there are.
func (g *group) size() int {
	if g.modern != nil {
		return len(g.modern.members)
	}
	return len(g.members)
}

// kind is the type that a group has.
func (g *group) kind() Type {
	if g.modern != nil {
		return g.modern.kind
	}
	return Classic
}

// shown is the state as clients see it.
func (g *group) shown() State {
	m := g.modern
	switch {
	case m == nil:
		return g.state
	case len(m.members) == 0:
		return Empty
	case m.kind == Share:
		return Stable
	case m.epoch > m.targetEpoch:
		return Assigning
	}
	for _, x := range m.order {
		if x.progress != settled || x.epoch != m.targetEpoch {
			return Reconciling
		}
	}
	return Stable
}

// changedNow says that what is kept of the group is not what it is.
func (g *group) changedNow() {
	g.changed = true
	g.changes++
}

// enlist puts a member on the lists.
func (g *group) enlist(x *epochMember) {
	m := g.modern
	m.members[x.id] = x
	m.order = append(m.order, x)
	if x.instance != "" {
		m.static[x.instance] = x
	}
	g.state = Stable
}

// dismiss takes a member out, for good; whoever is left gets what it had.
func (g *group) dismiss(x *epochMember) {
	m := g.modern
	g.unlist(x)
	if len(m.members) == 0 {
		g.state, g.since = Empty, time.Now()
	}
	g.refreshTopics(true)
	g.settleKind()
}

// unlist is dismiss without consequences.
func (g *group) unlist(x *epochMember) {
	m := g.modern
	x.gone = true
	x.expiry.Stop()
	x.stopSlow()
	x.stopPatience()
	g.opts.give(x.bytes)
	m.release(x)
	delete(m.members, x.id)
	if m.static[x.instance] == x {
		delete(m.static, x.instance)
	}
	m.order = slices.DeleteFunc(m.order, func(o *epochMember) bool { return o == x })
}

func (x *epochMember) stopSlow() {
	if x.slow != nil {
		x.slow.Stop()
		x.slow = nil
	}
}

// beat begins a member's session anew.
func (g *group) beat(x *epochMember) {
	session := g.c.Settings(g.id).session(g.modern.kind)
	if x.classic != nil {
		session = x.classic.session
	}
	x.deadline = time.Now().Add(session)
	if x.expiry == nil {
		x.expiry = time.AfterFunc(session, func() { g.modernExpiry(x) })
	}
}

func (g *group) modernExpiry(x *epochMember) {
	g.mu.Lock()
	defer g.c.unlock(g)
	if x.gone {
		return
	}
	if left := time.Until(x.deadline); left > 0 {
		x.expiry.Reset(left)
		return
	}
	g.dismiss(x)
}

// own notes that a member has these partitions, in place of what it had; what is new it has from that epoch on.
func (m *modern) own(x *epochMember, assigned, revoked Partitions, since int32) {
	if m.kind == Share {
		x.assigned = assigned
		return
	}
	for _, p := range [2]Partitions{x.assigned, x.revoked} {
		for id, list := range p {
			for _, n := range list {
				if at := (owned{id, n}); m.owners[at].of == x && !assigned.has(id, n) && !revoked.has(id, n) {
					delete(m.owners, at)
				}
			}
		}
	}
	for _, p := range [2]Partitions{assigned, revoked} {
		for id, list := range p {
			for _, n := range list {
				if at := (owned{id, n}); m.owners[at].of != x {
					m.owners[at] = ownership{x, since}
				}
			}
		}
	}
	x.assigned, x.revoked = assigned, revoked
}

func (m *modern) release(x *epochMember) {
	for _, p := range []Partitions{x.assigned, x.revoked} {
		for id, list := range p {
			for _, n := range list {
				if at := (owned{id, n}); m.owners[at].of == x {
					delete(m.owners, at)
				}
			}
		}
	}
}

// refreshTopics looks at the topics that members read, and counts an epoch if they are not what they were, or the members
// changed.
func (g *group) refreshTopics(changed bool) {
	m := g.modern
	if g.opts.Topics != nil && g.lookAtTopics() || changed {
		m.epoch++
		g.changedNow()
	}
}

// lookAtTopics finds the topics that members read, and says whether they are not what they were.
func (g *group) lookAtTopics() bool {
	m := g.modern
	m.version = g.opts.Topics.Version()
	now := make(map[string]TopicInfo, len(m.topics))
	gone := map[string]bool{}
	for _, x := range m.order {
		x.topics = x.topics[:0:0]
		for _, list := range [2][]string{x.names, x.match} {
			for _, name := range list {
				if gone[name] {
					continue
				}
				if _, known := now[name]; !known {
					t, there := g.opts.Topics.Topic(name)
					if !there {
						gone[name] = true
						continue
					}
					now[name] = t
				}
				x.topics = append(x.topics, name)
			}
		}
		slices.Sort(x.topics)
		x.topics = slices.Compact(x.topics)
	}
	same := maps.Equal(now, m.topics)
	m.topics = now
	return !same
}

// assignTargets makes the target of the group's epoch.
func (g *group) assignTargets() {
	m := g.modern
	if m.targetEpoch == m.epoch {
		return
	}
	list := make([]*assignee, len(m.order))
	for i, x := range m.order {
		list[i] = &assignee{id: x.id, instance: x.instance, topics: x.topics, had: x.target, target: map[TopicID][]int32{}}
	}
	assign := assignor(simple)
	if m.kind == Consumer {
		m.assignor = m.preferred()
		assign = assignorOf(m.assignor)
	}
	assign(m.topics, list)
	for i, x := range m.order {
		x.target = NewPartitions(list[i].target)
	}
	m.targetEpoch = m.epoch
	g.changedNow()
}

// preferred is the assignor that most members wish for, of those who wish.
func (m *modern) preferred() string {
	votes := map[string]int{}
	best := ""
	for _, x := range m.order {
		if x.assignor == "" {
			continue
		}
		votes[x.assignor]++
		if best == "" || votes[x.assignor] > votes[best] {
			best = x.assignor
		}
	}
	return cmp.Or(best, assignors[0].name)
}

// reconcile brings a member as near to its target as it can get: it gives back before it gets, and gets what nobody has. owned
// is what it says it has, nil if it does not say.
func (g *group) reconcile(x *epochMember, has Partitions) {
	m := g.modern
	switch {
	case m.kind == Share:
		if x.epoch != m.targetEpoch {
			x.previous, x.epoch = x.epoch, m.targetEpoch
			m.own(x, x.target, nil, m.targetEpoch)
			g.changedNow()
		}
		return
	case x.progress == settled && x.epoch == m.targetEpoch:
		return
	case x.progress == revoking && (has == nil || has.meets(x.revoked)):
		return
	}
	keep := x.assigned.and(x.target)
	revoke := x.assigned.without(x.target)
	if has != nil && !has.meets(revoke) || x.epoch == 0 {
		revoke = nil // it has none of that any more
	}
	if len(revoke) > 0 {
		m.own(x, keep, revoke, x.epoch)
		x.progress = revoking
		g.giveBackIn(x)
		g.changedNow()
		return
	}
	x.stopSlow()
	add := x.target.without(keep)
	free := add.filter(func(id TopicID, n int32) bool {
		o := m.owners[owned{id, n}].of
		return o == nil || o == x
	})
	next := settled
	if free.Count() < add.Count() {
		next = receiving
	}
	if next == x.progress && x.epoch == m.targetEpoch && len(free) == 0 && len(x.revoked) == 0 && keep.equal(x.assigned) {
		return
	}
	m.own(x, keep.or(free), nil, m.targetEpoch)
	x.progress = next
	if x.epoch != m.targetEpoch {
		x.previous, x.epoch = x.epoch, m.targetEpoch
	}
	g.changedNow()
}

// giveBackIn dismisses a member that does not give back in the time it has for that.
func (g *group) giveBackIn(x *epochMember) {
	x.stopSlow()
	epoch := x.epoch
	x.slow = time.AfterFunc(x.rebalance, func() {
		g.mu.Lock()
		defer g.c.unlock(g)
		if !x.gone && x.progress == revoking && x.epoch == epoch {
			g.dismiss(x)
		}
	})
}

// memberFor holds an epoch against the member that it is said to be of.
func (m *modern) memberFor(id, instance string, epoch int32) (*epochMember, wire.Code) {
	x := m.members[id]
	if instance != "" {
		at := m.static[instance]
		switch {
		case at == nil:
			return nil, wire.UnknownMemberID
		case at.id != id:
			return nil, wire.FencedInstanceID
		}
		x = at
	}
	switch {
	case x == nil:
		return nil, wire.UnknownMemberID
	case x.epoch != epoch:
		return x, wire.StaleMemberEpoch
	}
	return x, wire.None
}
