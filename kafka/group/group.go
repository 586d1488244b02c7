package group

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// group is one consumer group. mu guards every field below it; commit
// serialises writes to the journal, so that it and memory agree on the order.
type group struct {
	id     string
	bytes  int64 // of memory that it takes, beside members and offsets
	c      *Coordinator
	opts   *Options // of c
	commit sync.Mutex
	// beginning is held while a share group's work is moved to where it begins; before commit.
	beginning sync.Mutex

	mu           sync.Mutex
	state        State
	generation   int32
	protocolType string
	protocol     string
	leader       string             // id of a member
	members      []*member          // in order of joining
	byID         map[string]*member // the same members
	knowing      map[string]int     // how many members know a protocol, by its name
	joined       int                // how many members wait for the next generation
	static       map[string]*member // those with an instance id, by it
	pending      map[string]*time.Timer
	offsets      map[string]map[int32]Offset // by topic and partition
	since        time.Time                   // when the state became Empty
	dead         bool                        // closed: no longer in the coordinator
	changed      bool                        // what is kept of it is not what it is
	changes      uint64                      // how often that was so
	keptChanges  uint64                      // of them, those that are kept
	modern       *modern                     // of a group that is assigned by the broker; nil: a classic one
	stored       bool                        // something is kept of it

	round     int         // counts rebalances, so that a late timer knows that it is late
	timer     *time.Timer // of the rebalance: initial delay, join or sync
	initial   bool        // the initial delay runs
	grew      bool        // a member came during the initial delay
	stalled   bool        // the rebalance's time is up, and nobody has joined
	remaining time.Duration
}

// member is one member of a group.
type member struct {
	id, instance         string
	clientID, clientHost string
	protocols            []Protocol
	session, rebalance   time.Duration
	assignment           []byte
	bytes                int64       // of memory that it takes
	join                 *Parked     // waits for the generation; nil when not
	sync                 *Parked     // waits for the assignment; nil when not
	told                 bool        // the client knows its id
	synced               bool        // asked for this generation's assignment
	deadline             time.Time   // of the session
	expiry               *time.Timer // fires at or before deadline
	gone                 bool
	epoch                int32 // of one that was in a group which the broker assigned, until it has joined again; else 0
}

// knows says whether a generation is the one that the member is in.
func (g *group) knows(m *member, generation int32) bool {
	return generation == g.generation || m.epoch != 0 && generation == m.epoch
}

func newGroup(id string, c *Coordinator) *group {
	return &group{
		id: id, c: c, opts: &c.opts, state: Empty, since: time.Now(),
		byID: map[string]*member{}, knowing: map[string]int{}, static: map[string]*member{}, pending: map[string]*time.Timer{},
		offsets: map[string]map[int32]Offset{},
	}
}

// metadata is what the member said under a protocol.
func (m *member) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

// sameProtocols reports whether a join brings nothing new.
func (m *member) sameProtocols(ps []Protocol) bool {
	return slices.EqualFunc(m.protocols, ps, func(a, b Protocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

// touch starts the session anew.
func (g *group) touch(m *member) {
	m.deadline = time.Now().Add(m.session)
	if m.expiry == nil {
		m.expiry = time.AfterFunc(m.session, func() { g.sessionTimer(m) })
	}
}

// sessionTimer removes a member that was not heard of for its session timeout.
// A heartbeat only moves the deadline; the timer finds out here and is set anew.
func (g *group) sessionTimer(m *member) {
	g.mu.Lock()
	defer g.c.unlock(g)
	if m.gone {
		return
	}
	left := time.Until(m.deadline)
	if m.join != nil || m.sync != nil {
		left = m.session // it is we who keep it waiting
		m.deadline = time.Now().Add(left)
	}
	if left > 0 {
		m.expiry.Reset(left)
		return
	}
	g.removeAndUpdate(m)
}

// add makes a member of a join, parks the join and sees to the rebalance.
func (g *group) add(id string, r *JoinRequest, call *Parked) wire.Code {
	m := &member{id: id, instance: r.InstanceID, told: r.MemberID != ""}
	if code := g.update(m, r); code != wire.None {
		return code
	}
	if len(g.members) == 0 {
		g.protocolType = r.ProtocolType
		g.leader = id
	}
	g.place(m)
	g.grew = true
	g.park(m, call)
	g.rejoined()
	return wire.None
}

// place puts a member on the lists, and begins its session.
func (g *group) place(m *member) {
	g.members = append(g.members, m)
	g.byID[m.id] = m
	if m.instance != "" {
		g.static[m.instance] = m
	}
	g.touch(m)
}

// groupBytes is about what a group takes beside its name, members and offsets.
const groupBytes = 512

// memberBytes is about what a member takes beside what it says.
const memberBytes = 1 << 10

// update takes over what a member says of itself.
func (g *group) update(m *member, r *JoinRequest) wire.Code {
	bytes := int64(memberBytes + len(r.ClientID) + len(m.id) + len(m.instance))
	for _, p := range r.Protocols {
		bytes += int64(len(p.Name) + len(p.Metadata))
	}
	if code := g.opts.take(bytes - m.bytes); code != wire.None {
		return code
	}
	m.bytes = bytes
	g.unlearn(m)
	m.clientID, m.clientHost = r.ClientID, r.ClientHost
	m.protocols = r.Protocols
	for _, p := range m.protocols {
		g.knowing[p.Name]++
	}
	m.session, m.rebalance = r.SessionTimeout, r.RebalanceTimeout
	return wire.None
}

// unlearn forgets which protocols a member knows.
func (g *group) unlearn(m *member) {
	for _, p := range m.protocols {
		if g.knowing[p.Name]--; g.knowing[p.Name] == 0 {
			delete(g.knowing, p.Name)
		}
	}
	m.protocols = nil
}

// removeAll takes out the members for which which is true; whoever still waits in
// their name is told.
func (g *group) removeAll(which func(*member) bool) (removed bool) {
	before := len(g.members)
	g.members = slices.DeleteFunc(g.members, func(m *member) bool {
		if !which(m) {
			return false
		}
		g.forget(m)
		return true
	})
	if g.byID[g.leader] == nil {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
	return len(g.members) < before
}

// forget ends a member that is taken out of the list.
func (g *group) forget(m *member) {
	m.gone = true
	m.expiry.Stop()
	g.answerJoin(m, JoinReply{Err: wire.UnknownMemberID, Generation: -1, MemberID: m.id})
	m.answerSync(SyncReply{Err: wire.UnknownMemberID})
	g.unlearn(m)
	g.opts.give(m.bytes + int64(len(m.assignment)))
	delete(g.byID, m.id)
	if g.static[m.instance] == m {
		delete(g.static, m.instance)
	}
}

// removeAndUpdate takes a member out and starts or completes a rebalance.
func (g *group) removeAndUpdate(m *member) {
	g.removeAll(func(x *member) bool { return x == m })
	switch g.state {
	case Stable, Completing:
		g.prepare()
	case Preparing:
		g.maybeComplete()
	}
}

// check finds the member that an identity names, or the code that refuses it.
func (g *group) check(memberID, instance string) (*member, wire.Code) {
	if instance != "" {
		m := g.static[instance]
		if m == nil {
			return nil, wire.UnknownMemberID
		}
		if m.id != memberID {
			return nil, wire.FencedInstanceID
		}
	}
	m := g.byID[memberID]
	if m == nil {
		return nil, wire.UnknownMemberID
	}
	return m, wire.None
}

// close ends the group: timers stop and whoever waits is sent away.
func (g *group) close() {
	g.dead = true
	g.stopTimer()
	for id := range g.pending {
		g.keepPromise(id)
	}
	for _, m := range g.members {
		g.answerJoin(m, JoinReply{Err: wire.CoordinatorNotAvailable, Generation: -1, MemberID: m.id})
		m.answerSync(SyncReply{Err: wire.CoordinatorNotAvailable})
		g.forget(m)
	}
	g.members = nil
	if g.modern != nil {
		for _, x := range g.modern.order {
			x.gone = true
			x.expiry.Stop()
			x.stopSlow()
			g.opts.give(x.bytes)
		}
		g.modern.members, g.modern.order = nil, nil
	}
}

func (g *group) stopTimer() {
	g.round++
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
}

// after runs fn under the lock unless the round has ended by then.
func (g *group) after(d time.Duration, fn func()) {
	g.stopTimer()
	round := g.round
	g.timer = time.AfterFunc(d, func() {
		g.mu.Lock()
		defer g.c.unlock(g)
		if !g.dead && g.round == round {
			fn()
		}
	})
}
