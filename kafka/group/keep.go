package group

import (
	"fmt"
	"slices"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// Keeper keeps what is to be known of a group after a restart, beside its offsets.
type Keeper interface {
	// Keep replaces the state of a group; nil removes it. It returns when that is
	// durable.
	Keep(group string, state []byte) error
}

// keep has the state of a group kept as it is now. It holds commit, so that an older
// state can't follow a newer one.
func (c *Coordinator) keep(g *group) error {
	if c.opts.Keeper == nil {
		return nil
	}
	g.mu.Lock()
	g.changes++
	wanted := g.changes
	g.mu.Unlock()
	return c.keepUpTo(g, wanted)
}

// keepUpTo is keep, unless a later state than that after so many changes is kept already: those who change a group at a time
// are kept together.
func (c *Coordinator) keepUpTo(g *group, changes uint64) error {
	if c.opts.Keeper == nil {
		return nil
	}
	g.mu.Lock()
	kept := g.dead || g.keptChanges >= changes
	g.mu.Unlock()
	if kept { // a member that only says that it is there does not wait for others' commits
		return nil
	}
	g.commit.Lock()
	defer g.commit.Unlock()
	g.mu.Lock()
	if g.dead || g.keptChanges >= changes {
		g.mu.Unlock()
		return nil
	}
	state, upTo := g.appendState(nil), g.changes
	if l := c.log.Load(); l != nil {
		l.grouped(g)
	}
	g.changed, g.stored = false, true
	g.mu.Unlock()
	if len(state) > maxStateBytes {
		state = nil
	}
	err := c.opts.Keeper.Keep(g.id, state)
	if err == nil {
		g.mu.Lock()
		g.keptChanges = upTo
		g.mu.Unlock()
	}
	return err
}

// unlock ends a look at the group that may have changed what is kept of it, and
// sees to that. Nobody waits for it: of what could not be kept a member is left
// after a restart, whose session ends then.
func (c *Coordinator) unlock(g *group) {
	changed := g.changed
	g.mu.Unlock()
	if changed {
		_ = c.keep(g) // the Keeper has said so
	}
}

// RestoreGroup puts back a group's last generation. Its members get their session
// timeouts anew; those who ask first find the generation as they left it.
func (c *Coordinator) RestoreGroup(id string, state []byte) error {
	if len(state) > 0 && (state[0] == epochStateVersion || state[0] == mixedStateVersion) {
		return c.restoreEpochs(id, state)
	}
	k, err := parseState(state)
	if err != nil {
		return fmt.Errorf("group %q: %w", id, err)
	}
	g, code := c.lockKept(id)
	if code != wire.None {
		return fmt.Errorf("group %q: %w", id, code)
	}
	defer g.mu.Unlock()
	g.stored = true
	g.generation, g.protocolType, g.since = k.generation, k.protocolType, k.since
	for i := range k.members {
		if code := g.restore(&k.members[i]); code != wire.None {
			g.removeAll(func(*member) bool { return true })
			return fmt.Errorf("group %q with %d members: %w", id, len(k.members), code)
		}
	}
	if len(g.members) == 0 {
		return nil
	}
	g.state, g.protocol, g.leader = Stable, k.protocol, k.leader
	if g.byID[g.leader] == nil || !g.allKnow(g.protocol) {
		g.removeAll(func(*member) bool { return true })
		g.state, g.protocol = Empty, ""
		return fmt.Errorf("group %q: %w: no leader, or a protocol that not all know", id, errStateRecord)
	}
	if g.protocolType == ConsumerProtocol && !slices.ContainsFunc(g.members, func(m *member) bool { return len(m.assignment) > 0 }) {
		g.prepare() // it was in a rebalance, which goes on: nobody knows what they have
	}
	return nil
}

func (g *group) restore(k *keptMember) wire.Code {
	k.Protocols = distinct(k.Protocols)
	if g.byID[k.MemberID] != nil || k.SessionTimeout < g.opts.MinSession || k.SessionTimeout > g.opts.MaxSession {
		return wire.InvalidRequest
	}
	m := &member{id: k.MemberID, instance: k.InstanceID, told: true, synced: true, assignment: slices.Clip(k.assignment)}
	if code := g.update(m, &k.JoinRequest); code != wire.None {
		return code
	}
	if code := g.opts.take(int64(len(m.assignment))); code != wire.None {
		g.opts.give(m.bytes)
		return code
	}
	g.place(m)
	return wire.None
}
