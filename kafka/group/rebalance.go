package group

import (
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
	for _, m := range g.members {
		if m.join == nil {
			return
		}
	}
	g.complete()
}

// complete begins the next generation with those who joined. Static members who
// did not come keep their place until their session ends.
func (g *group) complete() {
	for _, m := range append([]*member(nil), g.members...) {
		if m.join == nil && m.instance == "" {
			g.remove(m)
		}
	}
	if len(g.members) > 0 && !g.electJoinedLeader() {
		g.after(g.longestRebalance(), g.complete)
		return
	}
	g.stopTimer()
	g.generation++
	if len(g.members) == 0 {
		g.state, g.protocol, g.leader, g.since = Empty, "", "", time.Now()
		return
	}
	g.state = Completing
	g.protocol = g.choose()
	for _, m := range g.members {
		g.touch(m)
		m.answerJoin(g.currentReply(m))
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
	dropped := false
	for _, m := range append([]*member(nil), g.members...) {
		if !m.synced && m.instance == "" {
			g.remove(m)
			dropped = true
		}
	}
	if dropped || g.state == Completing {
		g.prepare()
	}
}

// choose is the protocol that most members prefer among those all know.
func (g *group) choose() string {
	votes := map[string]int{}
	best := ""
	for _, m := range g.members {
		for _, p := range m.protocols {
			if !g.allKnow(p.Name) {
				continue
			}
			votes[p.Name]++
			if best == "" || votes[p.Name] > votes[best] {
				best = p.Name
			}
			break
		}
	}
	return best
}
