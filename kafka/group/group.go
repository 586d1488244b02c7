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
	opts   *Options
	commit sync.Mutex

	mu           sync.Mutex
	state        State
	generation   int32
	protocolType string
	protocol     string
	leader       string             // id of a member
	members      []*member          // in order of joining
	byID         map[string]*member // the same members
	static       map[string]*member // those with an instance id, by it
	pending      map[string]*time.Timer
	offsets      map[string]map[int32]Offset // by topic and partition
	since        time.Time                   // when the state became Empty
	dead         bool                        // closed: no longer in the coordinator

	round     int         // counts rebalances, so that a late timer knows that it is late
	timer     *time.Timer // of the rebalance: initial delay, join or sync
	initial   bool        // the initial delay runs
	grew      bool        // a member came during the initial delay
	remaining time.Duration
}

// member is one member of a group.
type member struct {
	id, instance         string
	clientID, clientHost string
	protocols            []Protocol
	session, rebalance   time.Duration
	assignment           []byte
	join                 func(JoinReply) // waits for the generation; nil when not
	sync                 func(SyncReply) // waits for the assignment; nil when not
	synced               bool            // asked for this generation's assignment
	deadline             time.Time       // of the session
	expiry               *time.Timer     // fires at or before deadline
	gone                 bool
}

func newGroup(id string, o *Options) *group {
	return &group{
		id: id, opts: o, state: Empty, since: time.Now(),
		byID: map[string]*member{}, static: map[string]*member{}, pending: map[string]*time.Timer{},
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

// answerJoin answers a parked join, if there is one.
func (m *member) answerJoin(r JoinReply) {
	if m.join != nil {
		m.join(r)
		m.join = nil
	}
}

// answerSync answers a parked sync, if there is one.
func (m *member) answerSync(r SyncReply) {
	if m.sync != nil {
		m.sync(r)
		m.sync = nil
	}
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
	defer g.mu.Unlock()
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

// add makes a member of a join and leaves the join parked.
func (g *group) add(id string, r *JoinRequest, reply func(JoinReply)) {
	m := &member{id: id, instance: r.InstanceID}
	m.update(r)
	m.join = reply
	if len(g.members) == 0 {
		g.protocolType = r.ProtocolType
		g.leader = id
	}
	g.members = append(g.members, m)
	g.byID[id] = m
	if m.instance != "" {
		g.static[m.instance] = m
	}
	g.grew = true
	g.touch(m)
}

func (m *member) update(r *JoinRequest) {
	m.clientID, m.clientHost = r.ClientID, r.ClientHost
	m.protocols = r.Protocols
	m.session, m.rebalance = r.SessionTimeout, r.RebalanceTimeout
}

// remove takes a member out; whoever still waits in its name is told.
func (g *group) remove(m *member) {
	m.gone = true
	m.expiry.Stop()
	m.answerJoin(JoinReply{Err: wire.UnknownMemberID, Generation: -1, MemberID: m.id})
	m.answerSync(SyncReply{Err: wire.UnknownMemberID})
	delete(g.byID, m.id)
	if g.static[m.instance] == m {
		delete(g.static, m.instance)
	}
	g.members = slices.DeleteFunc(g.members, func(x *member) bool { return x == m })
	if g.leader == m.id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
}

// removeAndUpdate takes a member out and starts or completes a rebalance.
func (g *group) removeAndUpdate(m *member) {
	g.remove(m)
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
	for _, t := range g.pending {
		t.Stop()
	}
	clear(g.pending)
	for _, m := range g.members {
		m.gone = true
		m.expiry.Stop()
		m.answerJoin(JoinReply{Err: wire.CoordinatorNotAvailable, Generation: -1, MemberID: m.id})
		m.answerSync(SyncReply{Err: wire.CoordinatorNotAvailable})
	}
	g.members = nil
	clear(g.byID)
	clear(g.static)
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
		defer g.mu.Unlock()
		if !g.dead && g.round == round {
			fn()
		}
	})
}
