package group

import (
	"slices"
	"time"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// prepare starts a rebalance: members are to join again.
//
//	before       waits for
//	Empty        the initial delay, prolonged by each newcomer
//	otherwise    all members, at most the largest rebalance timeout
func (g *group) prepare() {
	if g.state == Completing {
		for _, m := range g.members {
			m.answerSync(SyncReply{Err: wire.RebalanceInProgress})
		}
	}
	for _, m := range g.members {
		g.opts.give(int64(len(m.assignment)))
		m.assignment, m.synced = nil, false
	}
	wasEmpty := g.state == Empty
	g.state = Preparing
	longest := g.longestRebalance()
	if wasEmpty && g.opts.InitialDelay > 0 {
		delay := min(g.opts.InitialDelay, longest)
		g.initial, g.grew, g.remaining = true, false, longest-delay
		g.after(delay, g.initialDelayOver)
		return
	}
	g.initial = false
	g.after(longest, g.complete)
	g.maybeComplete()
}

func (g *group) longestRebalance() time.Duration {
	longest := time.Duration(0)
	for _, m := range g.members {
		longest = max(longest, m.rebalance)
	}
	return longest
}

// initialDelayOver waits once more if somebody came, else completes.
func (g *group) initialDelayOver() {
	if g.grew && g.remaining > 0 {
		delay := min(g.opts.InitialDelay, g.remaining)
		g.grew, g.remaining = false, g.remaining-delay
		g.after(delay, g.initialDelayOver)
		return
	}
	g.initial = false
	g.complete()
}

// maybeComplete completes the rebalance when there is nobody to wait for.
func (g *group) maybeComplete() {
	if g.state != Preparing || g.initial || len(g.pending) > 0 {
		return
	}
	if g.joined == len(g.members) {
		g.complete()
	}
}

// complete begins the next generation with those who joined. Static members who
// did not come keep their place until their session ends.
func (g *group) complete() {
	g.removeAll(func(m *member) bool { return m.join == nil && m.instance == "" })
	if len(g.members) > 0 && !g.electJoinedLeader() {
		g.stopTimer()
		g.stalled = true // until somebody joins, or the last session has ended
		return
	}
	g.stalled = false
	g.stopTimer()
	g.generation++
	if len(g.members) == 0 {
		g.state, g.protocol, g.leader, g.since = Empty, "", "", time.Now()
		g.changed = true
		return
	}
	g.state = Completing
	g.protocol = g.choose()
	for _, m := range g.members {
		m.epoch = 0
		g.touch(m)
		g.answerJoin(m, g.currentReply(m))
	}
	g.after(g.longestRebalance(), g.dropUnsynced)
}

// electJoinedLeader makes sure that the leader is somebody who is there.
func (g *group) electJoinedLeader() bool {
	if m := g.byID[g.leader]; m != nil && m.join != nil {
		return true
	}
	for _, m := range g.members {
		if m.join != nil {
			g.leader = m.id
			return true
		}
	}
	return false
}

// dropUnsynced removes members that took part in the join but never asked for
// their assignment: they would hold partitions without reading them.
func (g *group) dropUnsynced() {
	dropped := g.removeAll(func(m *member) bool { return !m.synced && m.instance == "" })
	if dropped || g.state == Completing {
		g.prepare()
	}
}

// choose is the protocol that most members prefer among those all know.
func (g *group) choose() string {
	votes := map[string]int{}
	best := ""
	for _, m := range g.members {
		i := slices.IndexFunc(m.protocols, func(p Protocol) bool { return g.allKnow(p.Name) })
		if i < 0 {
			continue
		}
		name := m.protocols[i].Name
		votes[name]++
		if best == "" || votes[name] > votes[best] {
			best = name
		}
	}
	return best
}
