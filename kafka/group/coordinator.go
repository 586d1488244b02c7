package group

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// Coordinator holds the groups of one virtual host. All methods may be called
// from any goroutine. What one group does keeps no other waiting.
type Coordinator struct {
	opts        Options
	offsetBytes atomic.Int64 // of what groups have committed
	log         atomic.Pointer[OffsetLog]

	altering     sync.Mutex // one who alters settings at a time; before settingsMu and mu; guards settingsHeld
	settingsHeld int64      // bytes that are counted for settings

	settingsMu sync.RWMutex // guards settings; a leaf
	settings   map[string]*Settings
	standard   *Settings // of groups that have none of their own

	mu     sync.Mutex // guards groups, sweep and closed; never held while a group's is waited for
	groups map[string]*group
	sweep  *time.Timer
	closed bool
}

// New returns a coordinator without groups. Restore fills in what was committed
// before, Close ends it.
func New(o Options) *Coordinator {
	o.defaults()
	c := &Coordinator{opts: o, groups: map[string]*group{}, settings: map[string]*Settings{}}
	c.standard = c.opts.settingsOf(nil)
	c.sweep = time.AfterFunc(o.SweepEvery, c.sweepAndRearm)
	return c
}

func (o *Options) defaults() {
	setDuration(&o.InitialDelay, 20*time.Millisecond)
	setDuration(&o.MinSession, 6*time.Second)
	setDuration(&o.MaxSession, 30*time.Minute)
	setDuration(&o.OffsetRetention, 7*24*time.Hour)
	setDuration(&o.SweepEvery, 10*time.Minute)
	setDuration(&o.EpochSession, 45*time.Second)
	setDuration(&o.EpochInterval, 5*time.Second)
	setDuration(&o.ShareLock, 30*time.Second)
	if o.MaxMembers == 0 {
		o.MaxMembers = 5000
	}
	if o.MaxGroups == 0 {
		o.MaxGroups = 100_000
	}
	if o.MaxOffsetBytes == 0 {
		o.MaxOffsetBytes = 1 << 30
	}
	if o.MaxMetadataBytes == 0 {
		o.MaxMetadataBytes = 4096
	}
	if o.NewID == nil {
		o.NewID = randomID
	}
}

func setDuration(d *time.Duration, standard time.Duration) {
	if *d == 0 {
		*d = standard
	}
}

// randomID is 128 random bits written as a UUID, as Kafka's member ids end.
func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// Close answers everyone who waits with CoordinatorNotAvailable and stops all
// timers. Calls after it get the same answer.
func (c *Coordinator) Close() {
	c.mu.Lock()
	c.closed = true
	c.sweep.Stop()
	groups := c.groups
	c.groups = map[string]*group{}
	c.mu.Unlock()
	for _, g := range groups {
		g.mu.Lock()
		g.close()
		c.opts.give(g.bytes)
		g.mu.Unlock()
	}
	c.altering.Lock()
	defer c.altering.Unlock()
	c.opts.give(c.settingsHeld)
	c.settingsHeld = 0
}

// lock finds a group and locks it; nil when it is not there.
func (c *Coordinator) lock(id string) *group {
	c.mu.Lock()
	g := c.groups[id]
	c.mu.Unlock()
	if g == nil {
		return nil
	}
	g.mu.Lock()
	if g.dead {
		g.mu.Unlock()
		return nil
	}
	return g
}

// lockOrMake finds or makes a group and locks it.
func (c *Coordinator) lockOrMake(id string) (*group, wire.Code) { return c.lockNamed(id, false) }

// lockKept is lockOrMake for a group of which something is kept: it is there, whether there is memory for it or not.
func (c *Coordinator) lockKept(id string) (*group, wire.Code) { return c.lockNamed(id, true) }

func (c *Coordinator) lockNamed(id string, kept bool) (*group, wire.Code) {
	for {
		g, code := c.findOrMake(id, kept)
		if code != wire.None {
			return nil, code
		}
		g.mu.Lock()
		if !g.dead {
			return g, wire.None
		}
		g.mu.Unlock()
		g.over()
	}
}

// over waits until whoever ended the group has dropped it, and what was kept of it.
func (g *group) over() {
	g.commit.Lock()
	defer g.commit.Unlock()
}

func (c *Coordinator) findOrMake(id string, kept bool) (*group, wire.Code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, wire.CoordinatorNotAvailable
	}
	g := c.groups[id]
	if g == nil {
		if len(c.groups) >= c.opts.MaxGroups {
			return nil, wire.CoordinatorNotAvailable
		}
		bytes := int64(groupBytes + len(id))
		if code := c.opts.take(bytes); code != wire.None {
			if !kept {
				return nil, code
			}
			bytes = 0
		}
		g = newGroup(id, c)
		g.bytes = bytes
		c.groups[id] = g
	}
	return g, wire.None
}

// has reports whether a group is there.
func (c *Coordinator) has(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.groups[id] != nil
}

// drop takes a group that has ended out of the list.
func (c *Coordinator) drop(g *group) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.groups[g.id] == g {
		delete(c.groups, g.id)
		c.opts.give(g.bytes)
	}
}

// missing is the answer of calls that name a group that is not there.
func (c *Coordinator) missing(code wire.Code) wire.Code {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return wire.CoordinatorNotAvailable
	}
	return code
}

// Listed is one line of List.
type Listed struct {
	Group        string
	ProtocolType string
	State        State
	Type         Type
	Members      int
}

// List returns all groups in order of their names.
func (c *Coordinator) List() []Listed {
	groups := c.all()
	out := make([]Listed, 0, len(groups))
	for _, g := range groups {
		g.mu.Lock()
		if !g.dead {
			out = append(out, g.listed())
		}
		g.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b Listed) int { return strings.Compare(a.Group, b.Group) })
	return out
}

func (g *group) listed() Listed {
	l := Listed{Group: g.id, ProtocolType: g.protocolType, State: g.shown(), Type: g.kind(), Members: g.size()}
	switch l.Type {
	case Consumer:
		l.ProtocolType = ConsumerProtocol
	case Share:
		l.ProtocolType = "share"
	}
	return l
}

// Description is a group as DescribeGroups shows it.
type Description struct {
	State        State
	ProtocolType string
	Protocol     string
	Members      []DescribedMember
}

// DescribedMember is a member as DescribeGroups shows it.
type DescribedMember struct {
	ID, InstanceID, ClientID, ClientHost string
	Metadata, Assignment                 []byte
}

// Describe shows a classic group; one that is not there, or is of another type, is Dead.
func (c *Coordinator) Describe(id string) Description {
	g := c.lock(id)
	if g == nil {
		return Description{State: Dead}
	}
	defer g.mu.Unlock()
	if g.modern != nil {
		return Description{State: Dead}
	}
	d := Description{State: g.state, ProtocolType: g.protocolType}
	if g.state == Stable {
		d.Protocol = g.protocol
	}
	for _, m := range g.members {
		dm := DescribedMember{ID: m.id, InstanceID: m.instance, ClientID: m.clientID, ClientHost: m.clientHost}
		if g.state == Stable {
			dm.Metadata, dm.Assignment = m.metadata(g.protocol), m.assignment
		}
		d.Members = append(d.Members, dm)
	}
	return d
}

// Delete removes a group without members, and its offsets.
func (c *Coordinator) Delete(j Journal, id string) wire.Code {
	g := c.lock(id)
	if g == nil {
		return c.missing(wire.GroupIDNotFound)
	}
	if g.size() > 0 || len(g.pending) > 0 {
		g.mu.Unlock()
		return wire.GroupNotEmpty
	}
	var begun map[TopicID]bool
	if g.modern != nil {
		begun, g.modern.begun = g.modern.begun, nil
	}
	g.mu.Unlock()
	if code := c.remove(j, g, func(string, int32, Offset) bool { return true }); code != wire.None {
		g.mu.Lock()
		if g.modern != nil && g.modern.begun == nil { // it is there still, as what is kept of it says
			g.modern.begun = begun
		}
		g.mu.Unlock()
		return code
	}
	return c.forgetIfUnused(id)
}

// forgetIfUnused drops a group that has neither members nor offsets, and what is kept
// of it. It holds commit, or a new group of that name could be kept in between.
func (c *Coordinator) forgetIfUnused(id string) wire.Code {
	g := c.lock(id)
	if g == nil {
		return wire.None
	}
	g.mu.Unlock()
	g.commit.Lock()
	defer g.commit.Unlock()
	g.mu.Lock()
	unused, stored := g.size() == 0 && len(g.pending) == 0 && len(g.offsets) == 0 && (g.modern == nil || len(g.modern.begun) == 0), g.stored
	if !unused || g.dead {
		g.mu.Unlock()
		return wire.None
	}
	g.close()
	if l := c.log.Load(); l != nil {
		l.ungrouped(id)
	}
	g.mu.Unlock()
	defer c.drop(g)
	if stored && c.opts.Keeper != nil && c.opts.Keeper.Keep(id, nil) != nil {
		return wire.CoordinatorNotAvailable
	}
	return wire.None
}
