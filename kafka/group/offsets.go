package group

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// Position is one partition of a commit or a fetch, with the outcome.
type Position struct {
	Topic     string
	Partition int32
	Offset    Offset
	Err       wire.Code
}

// Restore puts back an offset that was committed before a restart.
func (c *Coordinator) Restore(ch Change) {
	g, code := c.lockKept(ch.Group)
	if code != wire.None {
		return
	}
	defer g.mu.Unlock()
	g.apply(ch)
}

// Commit stores offsets for a group. The code refuses all of them; positions
// refused one by one have theirs in Err. Positions whose Err is set already
// are left out. It returns when the offsets are durable.
func (c *Coordinator) Commit(j Journal, id Identity, positions []Position) wire.Code {
	g, code := c.lockForCommit(id)
	if code != wire.None {
		return code
	}
	if code = g.mayCommit(id, positions); code == wire.None {
		g.fit(positions)
	}
	g.mu.Unlock()
	if code != wire.None {
		return code
	}
	now := time.Now()
	changes := make([]Change, 0, len(positions))
	for i := range positions {
		p := &positions[i]
		if p.Err == wire.None {
			p.Offset.Committed = now
			changes = append(changes, Change{Group: id.Group, Topic: p.Topic, Partition: p.Partition, Offset: p.Offset})
		}
	}
	return c.save(j, g, changes)
}

// fit refuses what is too large: a text, or what all groups have committed by now. A
// group goes on where it has committed already.
func (g *group) fit(positions []Position) {
	left := g.opts.MaxOffsetBytes - g.c.offsetBytes.Load()
	for i := range positions {
		p := &positions[i]
		if p.Err != wire.None {
			continue
		}
		if len(p.Offset.Metadata) > g.opts.MaxMetadataBytes {
			p.Err = wire.OffsetMetadataTooLarge
			continue
		}
		more := p.Offset.Bytes()
		if old, ok := g.offsets[p.Topic][p.Partition]; ok {
			more -= old.Bytes()
		}
		if more > 0 && more > left {
			p.Err = wire.InvalidCommitOffsetSize
			continue
		}
		left -= more
	}
}

// Bytes is about what an offset takes in memory, here and in the table that keeps it.
func (o *Offset) Bytes() int64 { return int64(400 + 2*len(o.Metadata)) }

// lockForCommit locks the group that a commit is for. Whoever is no member may
// commit to a group that does not exist yet.
func (c *Coordinator) lockForCommit(id Identity) (*group, wire.Code) {
	if g := c.lock(id.Group); g != nil {
		return g, wire.None
	}
	if id.Generation >= 0 {
		return nil, c.missing(wire.IllegalGeneration)
	}
	return c.lockOrMake(id.Group)
}

// MayCommit says whether a member may commit, without a commit.
func (c *Coordinator) MayCommit(id Identity, positions []Position) wire.Code {
	g, code := c.lockForCommit(id)
	if code != wire.None {
		return code
	}
	defer g.mu.Unlock()
	return g.mayCommit(id, positions)
}

// Fit refuses those of the positions that are too large to be committed.
func (c *Coordinator) Fit(group string, positions []Position) {
	g, code := c.lockOrMake(group)
	for i := range positions {
		if code != wire.None && positions[i].Err == wire.None {
			positions[i].Err = code
		}
	}
	if code == wire.None {
		g.fit(positions)
		g.mu.Unlock()
	}
}

// CommitAll commits offsets of several groups at once: save writes all of them or none.
func (c *Coordinator) CommitAll(changes []Change, save func() error) error {
	byName := map[string]*group{}
	for i := range changes {
		name := changes[i].Group
		if byName[name] != nil {
			continue
		}
		g, code := c.lockOrMake(name)
		if code != wire.None {
			return code
		}
		g.mu.Unlock()
		byName[name] = g
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) { // in one order, or two could wait for each other
		g := byName[name]
		g.commit.Lock()
		defer g.commit.Unlock()
	}
	if err := save(); err != nil {
		return err
	}
	for _, ch := range changes {
		g := byName[ch.Group]
		g.mu.Lock()
		dead := g.dead
		if !dead {
			g.apply(ch)
		}
		g.mu.Unlock()
		if dead { // it was forgotten meanwhile: it is there again
			c.Restore(ch)
		}
	}
	return nil
}

// Known says whether there is a group of that name.
func (c *Coordinator) Known(name string) bool {
	_, known := c.TypeOf(name)
	return known
}

// TypeOf is the type of the group of that name; known is false if there is none.
func (c *Coordinator) TypeOf(name string) (_ Type, known bool) {
	g := c.lock(name)
	if g == nil {
		return "", false
	}
	defer g.mu.Unlock()
	return g.kind(), true
}

// mayCommit holds a commit against the group's state.
func (g *group) mayCommit(id Identity, positions []Position) wire.Code {
	if g.modern != nil {
		return g.mayCommitByEpoch(id, positions)
	}
	if id.Generation < 0 && g.state == Empty {
		return wire.None // an administrator, or somebody who assigns partitions by hand, whatever else he says
	}
	m, code := g.check(id.MemberID, id.InstanceID)
	switch {
	case code != wire.None:
		return code
	case !g.knows(m, id.Generation):
		return wire.IllegalGeneration
	}
	g.touch(m)
	if g.state == Completing {
		return wire.RebalanceInProgress
	}
	return wire.None
}

// save writes changes of one group to a journal, then to memory.
func (c *Coordinator) save(j Journal, g *group, changes []Change) wire.Code {
	g.commit.Lock()
	defer g.commit.Unlock()
	return c.write(j, g, changes)
}

// write is save for callers that hold commit.
func (c *Coordinator) write(j Journal, g *group, changes []Change) wire.Code {
	if len(changes) == 0 {
		return wire.None
	}
	if j != nil {
		if err := j.Save(changes); err != nil {
			return wire.CoordinatorNotAvailable
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead {
		return wire.CoordinatorNotAvailable
	}
	for _, ch := range changes {
		g.apply(ch)
	}
	return wire.None
}

// remove deletes the offsets for which which is true. It holds commit from the look
// to the deletion, or it would delete what was committed in between. which runs
// under the group's lock.
func (c *Coordinator) remove(j Journal, g *group, which func(topic string, partition int32, o Offset) bool) wire.Code {
	g.commit.Lock()
	defer g.commit.Unlock()
	g.mu.Lock()
	changes := g.removals(which)
	g.mu.Unlock()
	return c.write(j, g, changes)
}

func (g *group) apply(ch Change) {
	if l := g.c.log.Load(); l != nil {
		l.committed(&ch)
	}
	partitions := g.offsets[ch.Topic]
	if old, ok := partitions[ch.Partition]; ok {
		g.c.offsetBytes.Add(-old.Bytes())
	}
	if ch.Delete {
		delete(partitions, ch.Partition)
		if len(partitions) == 0 {
			delete(g.offsets, ch.Topic)
		}
		return
	}
	if partitions == nil {
		partitions = map[int32]Offset{}
		g.offsets[ch.Topic] = partitions
	}
	partitions[ch.Partition] = ch.Offset
	g.c.offsetBytes.Add(ch.Offset.Bytes())
}

// removals lists the deletions of all offsets for which which is true.
func (g *group) removals(which func(topic string, partition int32, o Offset) bool) []Change {
	var out []Change
	for topic, partitions := range g.offsets {
		for p, o := range partitions {
			if which(topic, p, o) {
				out = append(out, Change{Group: g.id, Topic: topic, Partition: p, Delete: true})
			}
		}
	}
	return out
}

// Committed fills in the offsets of positions; those never committed get -1, and so do
// those whose Err is set.
func (c *Coordinator) Committed(group string, positions []Position) {
	g := c.lock(group)
	if g != nil {
		defer g.mu.Unlock()
	}
	for i := range positions {
		p := &positions[i]
		p.Offset = NoOffset
		if g == nil || p.Err != wire.None {
			continue
		}
		if o, ok := g.offsets[p.Topic][p.Partition]; ok {
			p.Offset = o
		}
	}
}

// CommittedSize is how many offsets a group has, and the bytes of their texts and
// topics.
func (c *Coordinator) CommittedSize(group string) (offsets, bytes int) {
	g := c.lock(group)
	if g == nil {
		return 0, 0
	}
	defer g.mu.Unlock()
	for topic, partitions := range g.offsets {
		for _, o := range partitions {
			offsets++
			bytes += len(topic) + len(o.Metadata)
		}
	}
	return offsets, bytes
}

// AllCommitted returns every offset of a group.
func (c *Coordinator) AllCommitted(group string) []Position {
	g := c.lock(group)
	if g == nil {
		return nil
	}
	defer g.mu.Unlock()
	var out []Position
	for topic, partitions := range g.offsets {
		for p, o := range partitions {
			out = append(out, Position{Topic: topic, Partition: p, Offset: o})
		}
	}
	return out
}

// DeleteOffsets removes offsets of topics that no member is subscribed to.
func (c *Coordinator) DeleteOffsets(j Journal, group string, positions []Position) wire.Code {
	if group == "" {
		return wire.InvalidGroupID
	}
	g := c.lock(group)
	if g == nil {
		return c.missing(wire.GroupIDNotFound)
	}
	if len(g.members) > 0 && g.protocolType != ConsumerProtocol || g.kind() == Share {
		g.mu.Unlock()
		return wire.GroupNotEmpty
	}
	subscribed := g.subscribed()
	g.mu.Unlock()
	var changes []Change
	for i := range positions {
		p := &positions[i]
		if p.Err == wire.None && subscribed[p.Topic] {
			p.Err = wire.GroupSubscribedToTopic
		}
		if p.Err == wire.None {
			changes = append(changes, Change{Group: group, Topic: p.Topic, Partition: p.Partition, Delete: true})
		}
	}
	return c.save(j, g, changes)
}

// ForgetTopic removes what groups committed for a topic that was deleted, and leaves
// what they did for the next one of that name.
func (c *Coordinator) ForgetTopic(topic string, id [16]byte) {
	for _, g := range c.all() {
		c.remove(c.opts.Journal, g, func(t string, _ int32, o Offset) bool { return t == topic && o.TopicID == id })
		g.forgetShareTopic(id)
	}
}

func (c *Coordinator) all() []*group {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*group, 0, len(c.groups))
	for _, g := range c.groups {
		out = append(out, g)
	}
	return out
}

// sweepAndRearm forgets offsets of groups that were without members for
// OffsetRetention, and groups of which nothing is left.
func (c *Coordinator) sweepAndRearm() {
	for _, g := range c.all() {
		limit := time.Now().Add(-c.opts.OffsetRetention)
		c.remove(c.opts.Journal, g, func(_ string, _ int32, o Offset) bool {
			return g.state == Empty && o.Committed.Before(limit) && g.since.Before(limit)
		})
		c.forgetIfUnused(g.id) // but not a share group that has begun with topics, as in Kafka
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.sweep.Reset(c.opts.SweepEvery)
	}
}

// ConsumerProtocol is the protocol type of consumers, whose metadata begins
// with the topics they subscribe to.
const ConsumerProtocol = "consumer"

// subscribed is the set of topics that members of a consumer group read.
func (g *group) subscribed() map[string]bool {
	out := map[string]bool{}
	if g.modern != nil {
		for _, x := range g.modern.order {
			for _, name := range x.topics {
				out[name] = true
			}
		}
	}
	for _, m := range g.members {
		name := g.protocol
		if name == "" && len(m.protocols) > 0 {
			name = m.protocols[0].Name
		}
		addTopics(out, m.metadata(name))
	}
	return out
}

// addTopics reads the beginning of a consumer's subscription:
// version i16, topics i32, { name i16 + bytes }*. Damage ends the list.
func addTopics(into map[string]bool, b []byte) {
	if len(b) < 6 {
		return
	}
	n := int32(binary.BigEndian.Uint32(b[2:]))
	b = b[6:]
	for ; n > 0 && len(b) >= 2; n-- {
		l := int(binary.BigEndian.Uint16(b))
		if l > len(b)-2 {
			return
		}
		into[string(b[2:2+l])] = true
		b = b[2+l:]
	}
}
