package group

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// classicClient is a member of the classic protocol as clients are: it gives all back before it joins again, or if it cooperates,
// what it was not assigned any more, and joins once more then.
type classicClient struct {
	c          *Coordinator
	catalog    *catalog
	id         string
	instance   string
	names      []string
	cooperates bool
	generation int32
	held       Partitions
	stage      string // "", joining, syncing, stable
	joined     atomic.Pointer[JoinReply]
	synced     atomic.Pointer[SyncReply]
	parked     *Parked
	session    time.Duration
}

// subscription is what the client says.
func (m *classicClient) subscription() []byte {
	b := binary.BigEndian.AppendUint16(nil, 2)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.names)))
	for _, name := range m.names {
		b = appendShort(b, name)
	}
	b = binary.BigEndian.AppendUint32(b, 0xffff_ffff)
	owned := appendAssignment(nil, 2, m.named(m.held))
	b = append(b, owned[2:len(owned)-4]...)
	return binary.BigEndian.AppendUint32(b, uint32(m.generation))
}

func (m *classicClient) named(p Partitions) (out []ownedTopic) {
	for _, id := range p.Topics() {
		out = append(out, ownedTopic{strings.TrimRight(string(id[:]), "."), p[id]})
	}
	return out
}

// step does the next thing that the client does, if it waits for nothing.
func (m *classicClient) step() {
	switch m.stage {
	case "":
		if !m.cooperates {
			m.held = Partitions{}
		}
		m.joined.Store(nil)
		m.stage = "joining"
		m.parked = m.c.Join(JoinRequest{Group: "g", MemberID: m.id, InstanceID: m.instance, ClientID: "k", ProtocolType: ConsumerProtocol,
			Protocols: []Protocol{{Name: "p", Metadata: m.subscription()}}, SessionTimeout: max(m.session, 30*time.Second), RebalanceTimeout: max(m.session, time.Minute),
			MustKnowID: true}, func(r JoinReply) { m.joined.Store(&r) })
		m.step()
	case "joining":
		r := m.joined.Load()
		if r == nil {
			return
		}
		m.stage = ""
		switch r.Err {
		case wire.None:
			m.id, m.generation, m.stage = r.MemberID, r.Generation, "syncing"
			m.synced.Store(nil)
			q := SyncRequest{Group: "g", MemberID: m.id, InstanceID: m.instance, Generation: m.generation, ProtocolType: ConsumerProtocol, Protocol: r.Protocol}
			if r.Leader == r.MemberID {
				q.Assignments = m.lead(r.Members)
			}
			m.parked = m.c.Sync(q, func(r SyncReply) { m.synced.Store(&r) })
			m.step()
		case wire.MemberIDRequired:
			m.id = r.MemberID
		case wire.UnknownMemberID:
			m.lost()
		}
	case "syncing":
		r := m.synced.Load()
		if r == nil {
			return
		}
		m.stage = ""
		switch r.Err {
		case wire.None:
			list, ok := parseAssignment(r.Assignment)
			if !ok {
				panic("an assignment that can't be read")
			}
			now := m.c.opts.numbered(list)
			if m.stage = "stable"; len(m.held.without(now)) > 0 {
				m.stage = "" // it has given that back, and joins again
			}
			m.held = now
		case wire.UnknownMemberID:
			m.lost()
		case wire.IllegalGeneration:
			m.held, m.generation = Partitions{}, -1
		}
	case "stable":
		switch m.c.Heartbeat(Identity{Group: "g", MemberID: m.id, InstanceID: m.instance, Generation: m.generation}) {
		case wire.None:
		case wire.RebalanceInProgress:
			m.stage = ""
		case wire.UnknownMemberID:
			m.lost()
		case wire.IllegalGeneration:
			m.held, m.stage = Partitions{}, ""
		}
	}
}

func (m *classicClient) lost() {
	m.id, m.held, m.stage, m.generation = "", Partitions{}, "", -1
}

// lead assigns what nobody else claims, in turns.
func (m *classicClient) lead(members []JoinedMember) map[string][]byte {
	said := make([]subscription, len(members))
	claimed := map[owned]int{}
	for i, x := range members {
		said[i], _ = parseSubscription(x.Metadata)
		for id, list := range m.c.opts.numbered(said[i].owned) {
			for _, n := range list {
				claimed[owned{id, n}] = i
			}
		}
	}
	lists := make([]map[TopicID][]int32, len(members))
	turn := 0
	for _, name := range []string{"t", "u", "v"} {
		t, there := m.catalog.Topic(name)
		if !there {
			continue
		}
		var readers []int
		for i := range members {
			if slices.Contains(said[i].topics, name) {
				readers = append(readers, i)
			}
		}
		for n := range int32(t.Partitions) {
			if len(readers) == 0 {
				break
			}
			to := readers[turn%len(readers)]
			turn++
			if at, claimed := claimed[owned{t.ID, n}]; claimed && at != to {
				continue
			}
			if lists[to] == nil {
				lists[to] = map[TopicID][]int32{}
			}
			lists[to][t.ID] = append(lists[to][t.ID], n)
		}
	}
	out := map[string][]byte{}
	for i, x := range members {
		out[x.ID] = appendAssignment(nil, 2, m.named(NewPartitions(lists[i])))
	}
	return out
}

func (m *classicClient) leave() {
	m.parked.Abandon()
	if m.id != "" {
		m.c.Leave("g", []Leaver{{MemberID: m.id, InstanceID: m.instance}})
	}
}

// TestMembersOfBothProtocolsShareAGroup has clients of both come and go in one group, vanish, and the broker be restarted, by seed: at
// no time do two of them hold a partition, and when all is quiet every partition has a reader.
func TestMembersOfBothProtocolsShareAGroup(t *testing.T) {
	for seed := range uint64(120) {
		fakeclock.Test(t, func(t *testing.T) { bothProtocols(t, seed) })
	}
}

func bothProtocols(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	keeper := &stateKeeper{}
	topics := newCatalog()
	// Who is slow is no zombie: sessions are longer than all of it takes.
	const session = 10 * time.Minute
	o := Options{Keeper: keeper, Topics: topics, EpochSession: session}
	c := New(o)
	defer func() { c.Close() }()
	names := []string{"t", "u", "v"}
	for _, name := range names {
		topics.put(name, 1+rng.IntN(8))
	}
	var old []*classicClient
	var anew []*epochClient
	check := func(when string) {
		holder := map[owned]string{}
		hold := func(who string, p Partitions) {
			for id, list := range p {
				for _, n := range list {
					if by, held := holder[owned{id, n}]; held {
						t.Fatalf("seed %d, %s: %d of %s is held by %s and %s", seed, when, n, id, by, who)
					}
					holder[owned{id, n}] = who
				}
			}
		}
		for i, m := range old {
			hold(fmt.Sprint("classic ", i), m.held)
		}
		for _, m := range anew {
			hold("new "+m.id, m.held)
		}
	}
	beat := func(m *epochClient) {
		switch r := m.beat(); r.Err {
		case wire.None, wire.CoordinatorLoadInProgress:
		case wire.UnknownMemberID, wire.FencedMemberEpoch:
			m.epoch, m.held = 0, Partitions{}
		default:
			t.Fatalf("seed %d: %+v", seed, r)
		}
	}
	next := 0
	kinds := map[Type]int{}
	for range 400 {
		switch k := rng.IntN(60); {
		case k < 2 && len(old) < 6:
			m := &classicClient{c: c, catalog: topics, names: names[:1+rng.IntN(3)], cooperates: seed%2 == 0, session: session, generation: -1, held: Partitions{}}
			old = append(old, m)
		case k < 4 && len(anew) < 6:
			next++
			anew = append(anew, &epochClient{t: t, c: c, catalog: topics, id: fmt.Sprint("n", next), names: names[:1+rng.IntN(3)], held: Partitions{}})
		case k < 6 && len(old) > 0:
			i := rng.IntN(len(old))
			if rng.IntN(3) > 0 {
				old[i].leave()
			} else {
				old[i].parked.Abandon()
			}
			old = slices.Delete(old, i, i+1)
		case k < 9 && len(anew) > 0:
			i := rng.IntN(len(anew))
			if rng.IntN(3) > 0 {
				anew[i].leave()
			}
			anew = slices.Delete(anew, i, i+1)
		case k == 9:
			topics.put(names[rng.IntN(3)], 1+rng.IntN(8)+8)
		case k == 10 && rng.IntN(4) == 0:
			c.Close()
			c = New(o)
			if state := keeper.states["g"]; state != nil {
				if err := c.RestoreGroup("g", state); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			for _, m := range old {
				if m.c = c; m.stage == "joining" || m.stage == "syncing" {
					m.stage, m.parked = "", nil
				}
			}
			for _, m := range anew {
				m.c = c
			}
		case k < 14:
			time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
		case k < 37 && len(old) > 0:
			old[rng.IntN(len(old))].step()
		case len(anew) > 0:
			beat(anew[rng.IntN(len(anew))])
		}
		synctest.Wait()
		check("on the way")
		if kind, known := c.TypeOf("g"); known {
			kinds[kind]++
		}
	}
	for range 200 { // those that vanished end, and all come to rest
		time.Sleep(30 * time.Second)
		for _, m := range old {
			m.step()
			synctest.Wait()
			check("at the end")
		}
		for _, m := range anew {
			beat(m)
			check("at the end")
		}
	}
	read := map[string]bool{}
	held := 0
	for _, m := range old {
		for _, name := range m.names {
			read[name] = true
		}
		held += m.held.Count()
	}
	for _, m := range anew {
		for _, name := range m.names {
			read[name] = true
		}
		held += m.held.Count()
	}
	want := 0
	for name := range read {
		info, _ := topics.Topic(name)
		want += info.Partitions
	}
	if held != want {
		t.Errorf("seed %d: %d partitions have a reader, of %d; %d classic and %d new members", seed, held, want, len(old), len(anew))
	}
	is, known := c.TypeOf("g")
	if wants := (map[bool]Type{true: Consumer, false: Classic})[len(anew) > 0]; known && len(old)+len(anew) > 0 && is != wants {
		t.Errorf("seed %d: it is a %s group, with %d classic and %d new members", seed, is, len(old), len(anew))
	}
}

// rest has all members go on until nothing changes.
func rest(old []*classicClient, anew ...*epochClient) {
	for range 20 {
		for _, m := range old {
			m.step()
			synctest.Wait()
		}
		for _, m := range anew {
			m.beat()
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func TestAGroupGoesOverToTheOtherProtocolAndBack(t *testing.T) {
	for _, cooperates := range []bool{false, true} {
		fakeclock.Test(t, func(t *testing.T) {
			c, topics := newEpochs(t, Options{Keeper: &stateKeeper{}})
			topics.put("t", 6)
			var old []*classicClient
			for range 2 {
				old = append(old, &classicClient{c: c, catalog: topics, names: []string{"t"}, cooperates: cooperates, generation: -1, held: Partitions{}})
			}
			rest(old)
			if old[0].held.Count() != 3 || old[1].held.Count() != 3 {
				t.Fatalf("%v and %v", old[0].held, old[1].held)
			}
			if code := c.Commit(nil, Identity{Group: "g", MemberID: old[0].id, Generation: old[0].generation}, []Position{{Topic: "t", Offset: Offset{Offset: 5}}}); code != wire.None {
				t.Fatal(code)
			}
			before := old[0].generation
			n := &epochClient{t: t, c: c, catalog: topics, id: "n", names: []string{"t"}}
			n.mustBeat()
			if n.epoch != before+1 || n.held.Count() != 0 {
				t.Errorf("the new one is in epoch %d after generation %d, with %v", n.epoch, before, n.held)
			}
			if d := c.Describe("g"); d.State != Dead {
				t.Errorf("%+v", d)
			}
			if code := c.Heartbeat(Identity{Group: "g", MemberID: old[0].id, Generation: before}); code != wire.RebalanceInProgress {
				t.Errorf("a classic member's heartbeat: %v", code)
			}
			if code := c.Commit(nil, Identity{Group: "g", MemberID: old[0].id, Generation: before}, []Position{{Topic: "t", Offset: Offset{Offset: 6}}}); code != wire.None {
				t.Errorf("a commit of what is still its own: %v", code)
			}
			for generation, want := range map[int32]wire.Code{before: wire.RebalanceInProgress, before + 1: wire.IllegalGeneration} {
				c.Sync(SyncRequest{Group: "g", MemberID: old[0].id, Generation: generation}, func(r SyncReply) {
					if r.Err != want {
						t.Errorf("a sync of generation %d while it is behind %d: %v", generation, before, r.Err)
					}
				})
			}
			rest(old, n)
			d, _ := c.DescribeEpochs("g", Consumer)
			if old[0].held.Count() != 2 || old[1].held.Count() != 2 || n.held.Count() != 2 || d.State != Stable || len(d.Members) != 3 || !d.Members[0].Classic || d.Members[2].Classic {
				t.Errorf("%v, %v and %v; %+v", old[0].held, old[1].held, n.held, d)
			}
			if code := c.Commit(nil, Identity{Group: "g", MemberID: old[0].id, Generation: before}, []Position{{Topic: "t", Offset: Offset{Offset: 6}}}); code != wire.IllegalGeneration {
				t.Errorf("a commit of an older generation: %v", code)
			}
			if got := c.AllCommitted("g"); len(got) != 1 || got[0].Offset.Offset != 6 {
				t.Errorf("%+v", got)
			}
			n.leave()
			if is, _ := c.TypeOf("g"); is != Classic {
				t.Errorf("it is a %s group", is)
			}
			if r := n.beat(); r.Err != wire.UnknownMemberID {
				t.Errorf("who has left goes on: %+v", r)
			}
			id := Identity{Group: "g", MemberID: old[0].id, Generation: old[0].generation}
			if code := c.Commit(nil, id, []Position{{Topic: "t", Offset: Offset{Offset: 7}}}); code != wire.None {
				t.Errorf("a commit before it has joined again: %v", code)
			}
			if code := c.Heartbeat(id); code != wire.RebalanceInProgress {
				t.Errorf("a heartbeat before it has joined again: %v", code)
			}
			epoch := d.Epoch
			rest(old)
			if old[0].held.Count() != 3 || old[1].held.Count() != 3 || old[0].generation <= epoch {
				t.Errorf("%v and %v in generation %d after epoch %d", old[0].held, old[1].held, old[0].generation, epoch)
			}
			if code := c.Heartbeat(id); code != wire.IllegalGeneration {
				t.Errorf("a heartbeat of the epoch before that: %v", code)
			}
		})
	}
}

func TestAClassicMemberThatDoesNotJoinAgainIsDismissed(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{Keeper: &stateKeeper{}})
		topics.put("t", 2)
		old := &classicClient{c: c, catalog: topics, names: []string{"t"}, generation: -1, held: Partitions{}}
		rest([]*classicClient{old})
		n := &epochClient{t: t, c: c, catalog: topics, id: "n", names: []string{"t"}}
		rest(nil, n)
		id := Identity{Group: "g", MemberID: old.id, Generation: old.generation}
		for range 55 { // it is heard, and does nothing else
			if code := c.Heartbeat(id); code != wire.RebalanceInProgress {
				t.Fatal(code)
			}
			time.Sleep(time.Second)
			n.beat()
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if code := c.Heartbeat(id); code != wire.UnknownMemberID {
			t.Error(code)
		}
		if rest(nil, n); n.held.Count() != 2 {
			t.Errorf("what it had: %v", n.held)
		}
	})
}

// What a cooperating member had when it joined last, and was not assigned again, is given to nobody before it has joined once more.
func TestWhatACooperatingMemberMayStillHoldIsNotGivenAway(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{Keeper: &stateKeeper{}})
		topics.put("t", 6)
		a := &classicClient{c: c, catalog: topics, names: []string{"t"}, cooperates: true, generation: -1, held: Partitions{}}
		b := &classicClient{c: c, catalog: topics, names: []string{"t"}, cooperates: true, generation: -1, held: Partitions{}}
		rest([]*classicClient{a})
		b.step()
		b.step()
		a.step()
		a.step() // leads, and is to give half of it back
		b.step()
		if a.held.Count() != 3 || b.held.Count() != 0 || a.stage != "" {
			t.Fatalf("%v and %v, %s", a.held, b.held, a.stage)
		}
		n := &epochClient{t: t, c: c, catalog: topics, id: "n", names: []string{"t"}}
		if n.mustBeat(); n.held.Count() != 0 {
			t.Errorf("%v of what may still be held is given away", n.held)
		}
		if rest([]*classicClient{a, b}, n); a.held.Count() != 2 || b.held.Count() != 2 || n.held.Count() != 2 {
			t.Errorf("%v, %v and %v", a.held, b.held, n.held)
		}
	})
}

// What can't be understood stays a classic group, and what is not stable is to be asked later.
func TestAGroupThatCantGoOverSaysSo(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{Keeper: &stateKeeper{}})
		topics.put("t", 2)
		n := &epochClient{t: t, c: c, catalog: topics, id: "n", names: []string{"t"}}
		join := func(kind string, said []byte) string {
			var id atomic.Pointer[string]
			id.Store(new(string))
			c.Join(JoinRequest{Group: "g", ClientID: "k", ProtocolType: kind, Protocols: []Protocol{{Name: "p", Metadata: said}}, SessionTimeout: 30 * time.Second},
				func(r JoinReply) { id.Store(&r.MemberID) })
			if r := n.beat(); kind == ConsumerProtocol && len(said) > 8 && r.Err != wire.CoordinatorLoadInProgress {
				t.Errorf("while it is in a rebalance: %+v", r)
			}
			time.Sleep(time.Second)
			c.Sync(SyncRequest{Group: "g", MemberID: *id.Load(), Generation: 1}, func(SyncReply) {})
			synctest.Wait()
			return *id.Load()
		}
		for kind, said := range map[string][]byte{"connect": {0, 0, 0, 0, 0, 0}, ConsumerProtocol: {0, 0, 0, 0, 0, 9}} {
			id := join(kind, said)
			if r := n.beat(); r.Err != wire.GroupIDNotFound {
				t.Errorf("%s %x: %+v", kind, said, r)
			}
			c.Leave("g", []Leaver{{MemberID: id}})
			if code := c.Delete(nil, "g"); code != wire.None {
				t.Fatal(code)
			}
		}
		m := &classicClient{names: []string{"t"}, generation: -1}
		join(ConsumerProtocol, m.subscription())
		if r := n.beat(); r.Err != wire.None {
			t.Errorf("%+v", r)
		}
		c.Join(JoinRequest{Group: "g", ClientID: "k", ProtocolType: "connect", Protocols: []Protocol{{Name: "p"}}, SessionTimeout: 30 * time.Second}, func(r JoinReply) {
			if r.Err != wire.InconsistentGroupProtocol {
				t.Errorf("another kind of member: %+v", r)
			}
		})
		c.Join(JoinRequest{Group: "g", ClientID: "k", ProtocolType: ConsumerProtocol, Protocols: []Protocol{{Name: "other", Metadata: m.subscription()}}, SessionTimeout: 30 * time.Second}, func(r JoinReply) {
			if r.Err != wire.InconsistentGroupProtocol {
				t.Errorf("one that has no protocol of the other classic one: %+v", r)
			}
		})
	})
}

// A group into which the member that it went over for did not get is a classic one again.
func TestAGroupDoesNotGoOverForWhoIsRefused(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{Keeper: &stateKeeper{}, MaxMembers: 2})
		topics.put("t", 4)
		a := &classicClient{c: c, catalog: topics, names: []string{"t"}, generation: -1, held: Partitions{}}
		b := &classicClient{c: c, catalog: topics, names: []string{"t"}, generation: -1, held: Partitions{}}
		rest([]*classicClient{a, b})
		n := &epochClient{t: t, c: c, catalog: topics, id: "n", names: []string{"t"}}
		if r := n.beat(); r.Err != wire.GroupMaxSizeReached {
			t.Fatalf("%+v", r)
		}
		if is, _ := c.TypeOf("g"); is != Classic {
			t.Errorf("it is a %s group", is)
		}
		if rest([]*classicClient{a, b}); a.held.Count() != 2 || b.held.Count() != 2 {
			t.Errorf("%v and %v", a.held, b.held)
		}
	})
}

// A member without an instance id may go over by the id that it has; nothing classic is left of it.
func TestAMemberGoesOverByItsOwnID(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{Keeper: &stateKeeper{}})
		topics.put("t", 4)
		a := &classicClient{c: c, catalog: topics, names: []string{"t"}, generation: -1, held: Partitions{}}
		b := &classicClient{c: c, catalog: topics, names: []string{"t"}, generation: -1, held: Partitions{}}
		rest([]*classicClient{a, b})
		n := &epochClient{t: t, c: c, catalog: topics, id: a.id, names: []string{"t"}}
		n.mustBeat()
		if rest([]*classicClient{b}, n); n.held.Count() != 2 || b.held.Count() != 2 {
			t.Errorf("%v and %v", n.held, b.held)
		}
		if code := c.Heartbeat(Identity{Group: "g", MemberID: a.id, Generation: a.generation}); code != wire.UnknownMemberID {
			t.Errorf("as a classic member it is heard: %v", code)
		}
	})
}

// Static members change the protocol in place, one process after the other, and keep what they have.
func TestAStaticMemberChangesItsProtocol(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{Keeper: &stateKeeper{}})
		topics.put("t", 4)
		a := &classicClient{c: c, catalog: topics, instance: "a", names: []string{"t"}, generation: -1, held: Partitions{}}
		b := &classicClient{c: c, catalog: topics, instance: "b", names: []string{"t"}, generation: -1, held: Partitions{}}
		rest([]*classicClient{a, b})
		n := &epochClient{t: t, c: c, catalog: topics, id: "n", instance: "a", names: []string{"t"}}
		n.mustBeat()
		if rest([]*classicClient{b}, n); n.held.Count() != 2 || !n.held.equal(a.held) {
			t.Errorf("it had %v, and has %v", a.held, n.held)
		}
		if code := c.Heartbeat(Identity{Group: "g", MemberID: a.id, InstanceID: "a", Generation: a.generation}); code != wire.FencedInstanceID {
			t.Errorf("the process before it: %v", code)
		}
		back := &classicClient{c: c, catalog: topics, instance: "a", names: []string{"t"}, generation: -1, held: Partitions{}}
		back.step()
		if is, _ := c.TypeOf("g"); is != Classic {
			t.Errorf("it is a %s group", is)
		}
		if rest([]*classicClient{back, b}); back.held.Count() != 2 || b.held.Count() != 2 {
			t.Errorf("%v and %v", back.held, b.held)
		}
	})
}

func FuzzSubscription(f *testing.F) {
	m := &classicClient{names: []string{"t", "u"}, generation: 7, held: Partitions{TopicID([]byte("t...............")): {0, 5}}}
	f.Add(m.subscription())
	f.Add(appendAssignment(nil, 2, []ownedTopic{{"t", []int32{1, 2}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := parseSubscription(b)
		if ok && (!slices.IsSorted(s.topics) || s.version < 0) {
			t.Errorf("%+v", s)
		}
		if list, ok := parseAssignment(b); ok {
			again, ok := parseAssignment(appendAssignment(nil, 1, list))
			if !ok || len(again) != len(list) {
				t.Errorf("%v became %v", list, again)
			}
		}
	})
}
