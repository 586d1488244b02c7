package group

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// catalog is what topics there are.
type catalog struct {
	mu      sync.Mutex
	version uint64
	topics  map[string]TopicInfo
}

func newCatalog() *catalog { return &catalog{version: 1, topics: map[string]TopicInfo{}} }

func (c *catalog) put(name string, partitions int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	c.topics[name] = TopicInfo{ID: TopicID([]byte((name + "................")[:16])), Partitions: partitions}
}

func (c *catalog) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	delete(c.topics, name)
}

func (c *catalog) Version() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version
}

func (c *catalog) Topic(name string) (TopicInfo, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.topics[name]
	return t, ok
}

func (c *catalog) match(re *regexp.Regexp) (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.topics {
		if re.MatchString(name) {
			out = append(out, name)
		}
	}
	return out
}

// epochClient is a member as clients are: what it holds is what it was last told, and what it is to give back it gives back with
// the next heartbeat.
type epochClient struct {
	t        testing.TB
	c        *Coordinator
	catalog  *catalog
	id       string
	instance string
	epoch    int32
	names    []string
	regex    *string
	assignor string
	held     Partitions
	say      bool // tell what it holds,
	all      bool // and all else, because an answer was lost
	kind     Type
}

func (m *epochClient) request() EpochHeartbeat {
	r := EpochHeartbeat{Type: Consumer, Group: "g", MemberID: m.id, InstanceID: m.instance, ClientID: "c", Epoch: m.epoch, RebalanceTimeout: -1, Match: m.catalog.match}
	if m.kind != "" {
		r.Type = m.kind
	}
	if m.epoch == 0 {
		m.held = Partitions{}
		r.RebalanceTimeout, r.Names, r.Regex, r.Owned = time.Minute, m.names, m.regex, Partitions{}
		if m.assignor != "" {
			r.Assignor = &m.assignor
		}
		if r.Names == nil && r.Regex == nil {
			r.Names = []string{}
		}
	} else if m.say || m.all {
		r.Owned = m.held
	}
	if m.all {
		r.RebalanceTimeout, r.Names, r.Regex = time.Minute, m.names, m.regex
	}
	return r
}

func (m *epochClient) beat() EpochReply {
	r := m.c.EpochHeartbeat(m.request())
	if r.Err == wire.None {
		m.id, m.epoch, m.say, m.all = r.MemberID, r.Epoch, false, false
		if r.Assignment {
			m.say = !m.held.equal(r.Assigned)
			m.held = r.Assigned
		}
	}
	return r
}

func (m *epochClient) mustBeat() EpochReply {
	m.t.Helper()
	r := m.beat()
	if r.Err != wire.None {
		m.t.Fatalf("%s: %+v", m.id, r)
	}
	return r
}

func (m *epochClient) leave() EpochReply {
	r := m.request()
	r.Epoch, r.Owned = -1, nil
	if m.instance != "" {
		r.Epoch = -2
	}
	return m.c.EpochHeartbeat(r)
}

func newEpochs(t testing.TB, o Options) (*Coordinator, *catalog) {
	topics := newCatalog()
	if o.Topics == nil {
		o.Topics = topics
	}
	c := New(o)
	t.Cleanup(c.Close)
	return c, topics
}

// converge has all members beat until nothing changes.
func converge(t testing.TB, ms ...*epochClient) {
	t.Helper()
	for range 20 {
		before := ""
		after := ""
		for _, m := range ms {
			before += fmt.Sprint(m.epoch, m.held, m.say)
			m.mustBeat()
			after += fmt.Sprint(m.epoch, m.held, m.say)
		}
		if before == after {
			return
		}
	}
	t.Fatal("the group does not come to rest")
}

func counts(ms []*epochClient) (out []int) {
	for _, m := range ms {
		out = append(out, m.held.Count())
	}
	slices.Sort(out)
	return out
}

// exclusive fails where a partition is held twice.
func exclusive(t testing.TB, ms []*epochClient) {
	t.Helper()
	by := map[owned]string{}
	for _, m := range ms {
		for id, list := range m.held {
			for _, n := range list {
				if other := by[owned{id, n}]; other != "" {
					t.Fatalf("partition %s-%d is held by %s and %s", id, n, other, m.id)
				}
				by[owned{id, n}] = m.id
			}
		}
	}
}

func TestPartitionsAreGivenBackBeforeTheyAreGranted(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{})
		topics.put("t", 4)
		a := &epochClient{t: t, c: c, catalog: topics, id: "a", names: []string{"t"}}
		b := &epochClient{t: t, c: c, catalog: topics, id: "b", names: []string{"t"}}
		if r := a.mustBeat(); r.Epoch != 1 || a.held.Count() != 4 {
			t.Fatalf("%+v", r)
		}
		if r := b.mustBeat(); r.Epoch != 2 || !r.Assignment || b.held.Count() != 0 || r.Interval != 500*time.Millisecond {
			t.Fatalf("all are still held: %+v", r)
		}
		if r := a.mustBeat(); r.Epoch != 1 || a.held.Count() != 2 {
			t.Fatalf("it is told to give two back, and stays in its epoch: %+v", r)
		}
		if b.mustBeat(); b.held.Count() != 0 {
			t.Fatal("granted before they were given back")
		}
		if d, _ := c.DescribeEpochs("g", Consumer); d.State != Reconciling || d.Epoch != 2 || d.AssignmentEpoch != 2 {
			t.Errorf("%+v", d)
		}
		a.say = false
		if r := a.mustBeat(); r.Epoch != 1 {
			t.Fatalf("it does not say that it gave them back: %+v", r)
		}
		a.say = true
		if r := a.mustBeat(); r.Epoch != 2 || r.Assignment && a.held.Count() != 2 {
			t.Fatalf("%+v", r)
		}
		if b.mustBeat(); b.held.Count() != 2 {
			t.Fatal("not granted")
		}
		d, ok := c.DescribeEpochs("g", Consumer)
		if !ok || d.State != Stable || d.Assignor != "uniform" || len(d.Members) != 2 || d.Topics[topics.topics["t"].ID] != "t" {
			t.Errorf("%+v", d)
		}
		if l := c.List(); len(l) != 1 || l[0] != (Listed{"g", "consumer", Stable, Consumer, 2}) {
			t.Errorf("%+v", l)
		}
		if b.leave(); c.List()[0].State != Assigning {
			t.Errorf("%+v", c.List())
		}
		if r := a.mustBeat(); r.Epoch != 3 || a.held.Count() != 4 {
			t.Errorf("who stays takes all at once: %+v", r)
		}
		if code := c.Delete(nil, "g"); code != wire.GroupNotEmpty {
			t.Error(code)
		}
		a.leave()
		if l := c.List(); l[0].State != Empty {
			t.Error(l)
		}
		if code := c.Delete(nil, "g"); code != wire.None {
			t.Error(code)
		}
	})
}

func TestAnEpochThatIsNotTheMembersSendsItToTheBeginning(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{})
		topics.put("t", 2)
		a := &epochClient{t: t, c: c, catalog: topics, id: "a", names: []string{"t"}}
		a.mustBeat()
		topics.put("t", 3)
		had := a.held
		if r := a.mustBeat(); r.Epoch != 2 || a.held.Count() != 3 {
			t.Fatalf("a topic that grew: %+v", r)
		}
		beat := func(epoch int32, owned Partitions) wire.Code {
			return c.EpochHeartbeat(EpochHeartbeat{Type: Consumer, Group: "g", MemberID: "a", Epoch: epoch, RebalanceTimeout: -1, Owned: owned}).Err
		}
		for _, tc := range []struct {
			what  string
			epoch int32
			owned Partitions
			want  wire.Code
		}{
			{"its own", 2, nil, wire.None},
			{"the last one, with what it had then", 1, had, wire.None},
			{"the last one, without saying what it has", 1, nil, wire.FencedMemberEpoch},
			{"the last one, with what it never had", 1, Partitions{TopicID{9}: {1}}, wire.FencedMemberEpoch},
			{"one to come", 3, nil, wire.FencedMemberEpoch},
		} {
			if code := beat(tc.epoch, tc.owned); code != tc.want {
				t.Errorf("epoch %s: %v, want %v", tc.what, code, tc.want)
			}
		}
		if code := c.EpochHeartbeat(EpochHeartbeat{Type: Consumer, Group: "g", MemberID: "x", Epoch: 2, RebalanceTimeout: -1}).Err; code != wire.UnknownMemberID {
			t.Error(code)
		}
		if code := c.EpochHeartbeat(EpochHeartbeat{Type: Consumer, Group: "nobody's", MemberID: "a", Epoch: 2, RebalanceTimeout: -1}).Err; code != wire.GroupIDNotFound {
			t.Error(code)
		}
		a.epoch = 0
		if r := a.mustBeat(); r.Epoch != 2 || a.held.Count() != 3 {
			t.Errorf("who begins anew gets what it had: %+v", r)
		}
	})
}

func TestAMalformedHeartbeatSaysWhy(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{MaxMembers: 1})
		topics.put("t", 2)
		good := EpochHeartbeat{Type: Consumer, Group: "g", MemberID: "a", RebalanceTimeout: time.Second, Names: []string{"t"}, Owned: Partitions{}, Match: topics.match}
		text := func(s string) *string { return &s }
		for what, tc := range map[string]struct {
			edit func(*EpochHeartbeat)
			want wire.Code
		}{
			"no group":              {func(r *EpochHeartbeat) { r.Group = "" }, wire.InvalidRequest},
			"no member":             {func(r *EpochHeartbeat) { r.MemberID = "" }, wire.InvalidRequest},
			"no time":               {func(r *EpochHeartbeat) { r.RebalanceTimeout = -1 }, wire.InvalidRequest},
			"no topics":             {func(r *EpochHeartbeat) { r.Names = nil }, wire.InvalidRequest},
			"no list of partitions": {func(r *EpochHeartbeat) { r.Owned = nil }, wire.InvalidRequest},
			"partitions at once":    {func(r *EpochHeartbeat) { r.Owned = Partitions{TopicID{1}: {1}} }, wire.InvalidRequest},
			"an odd epoch":          {func(r *EpochHeartbeat) { r.Epoch = -3 }, wire.InvalidRequest},
			"nobody leaves":         {func(r *EpochHeartbeat) { r.Epoch = -2 }, wire.InvalidRequest},
			"assignor":              {func(r *EpochHeartbeat) { r.Assignor = text("mine") }, wire.UnsupportedAssignor},
			"expression":            {func(r *EpochHeartbeat) { r.Regex = text("(") }, wire.InvalidRegularExpression},
			"a large expression":    {func(r *EpochHeartbeat) { r.Regex = text(strings.Repeat("(a{100}){100}", 10)) }, wire.InvalidRegularExpression},
		} {
			r := good
			tc.edit(&r)
			if got := c.EpochHeartbeat(r); got.Err != tc.want || got.Why == "" {
				t.Errorf("%s: %+v, want %v", what, got, tc.want)
			}
		}
		if l := c.List(); len(l) != 0 {
			t.Errorf("groups were made: %+v", l)
		}
		if got := c.EpochHeartbeat(good); got.Err != wire.None {
			t.Error(got)
		}
		good.MemberID = "b"
		if got := c.EpochHeartbeat(good); got.Err != wire.GroupMaxSizeReached {
			t.Error(got)
		}
	})
}

func TestAStaticMemberKeepsItsPlaceUntilItsSessionEnds(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{})
		topics.put("t", 4)
		a := &epochClient{t: t, c: c, catalog: topics, id: "a", instance: "one", names: []string{"t"}}
		b := &epochClient{t: t, c: c, catalog: topics, id: "b", instance: "two", names: []string{"t"}}
		converge(t, a, b)
		held, epoch := a.held, a.epoch
		again := &epochClient{t: t, c: c, catalog: topics, id: "a2", instance: "one", names: []string{"t"}}
		if r := again.beat(); r.Err != wire.UnreleasedInstanceID {
			t.Fatalf("%+v", r)
		}
		if r := a.leave(); r.Err != wire.None || r.Epoch != -2 {
			t.Fatalf("%+v", r)
		}
		if r := b.mustBeat(); r.Epoch != epoch || b.held.Count() != 2 {
			t.Errorf("the other is disturbed: %+v", r)
		}
		if r := again.mustBeat(); r.Epoch != epoch || !again.held.equal(held) {
			t.Errorf("%+v, had %v in epoch %d", r, held, epoch)
		}
		if r := a.beat(); r.Err != wire.FencedInstanceID {
			t.Errorf("%+v", r)
		}
		if code := c.Commit(nil, Identity{Group: "g", MemberID: "a", InstanceID: "one", Generation: epoch}, nil); code != wire.FencedInstanceID {
			t.Error(code)
		}
		again.leave()
		time.Sleep(30 * time.Second)
		b.mustBeat()
		time.Sleep(16 * time.Second)
		synctest.Wait()
		if b.mustBeat(); b.held.Count() != 4 {
			t.Errorf("its place was kept for longer than its session: %v", b.held)
		}
		leaver := []Leaver{{InstanceID: "two"}}
		if code := c.Leave("g", leaver); code != wire.None || leaver[0].Err != wire.None {
			t.Errorf("an administrator removes it: %v %+v", code, leaver)
		}
		if r := b.beat(); r.Err != wire.UnknownMemberID {
			t.Errorf("%+v", r)
		}
	})
}

func TestWhoIsSilentOrKeepsPartitionsIsOut(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{})
		topics.put("t", 4)
		a := &epochClient{t: t, c: c, catalog: topics, id: "a", names: []string{"t"}}
		b := &epochClient{t: t, c: c, catalog: topics, id: "b", names: []string{"t"}}
		a.mustBeat()
		b.mustBeat()
		a.mustBeat()
		for range 6 { // it is heard, and gives nothing back within its minute
			time.Sleep(10 * time.Second)
			a.say = false
			a.beat()
			b.mustBeat()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if r := a.beat(); r.Err != wire.UnknownMemberID {
			t.Fatalf("%+v", r)
		}
		if b.mustBeat(); b.held.Count() != 4 {
			t.Errorf("%v", b.held)
		}
		time.Sleep(46 * time.Second)
		synctest.Wait()
		if l := c.List(); len(l) != 1 || l[0].State != Empty {
			t.Errorf("%+v", l)
		}
	})
}

func TestCommitsAreHeldAgainstTheMembersEpoch(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{})
		topics.put("t", 4)
		id := topics.topics["t"].ID
		a := &epochClient{t: t, c: c, catalog: topics, id: "a", names: []string{"t"}}
		b := &epochClient{t: t, c: c, catalog: topics, id: "b", names: []string{"t"}}
		a.mustBeat()
		old := a.epoch
		converge(t, a, b)
		kept, given := a.held[id][0], b.held[id][0]
		commit := func(i Identity, partition int32) wire.Code {
			i.Group = "g"
			return c.Commit(nil, i, []Position{{Topic: "t", Partition: partition, Offset: Offset{TopicID: id, Offset: 5}}})
		}
		for _, tc := range []struct {
			what      string
			id        Identity
			partition int32
			want      wire.Code
		}{
			{"now", Identity{MemberID: "a", Generation: a.epoch}, kept, wire.None},
			{"of before, for what it still has", Identity{MemberID: "a", Generation: old}, kept, wire.None},
			{"of before, for what another has now", Identity{MemberID: "a", Generation: old}, given, wire.StaleMemberEpoch},
			{"of before, by an old client", Identity{MemberID: "a", Generation: old, NoEpochs: true}, given, wire.UnsupportedVersion},
			{"to come", Identity{MemberID: "a", Generation: a.epoch + 1}, kept, wire.StaleMemberEpoch},
			{"of nobody", Identity{MemberID: "x", Generation: a.epoch}, kept, wire.UnknownMemberID},
			{"no member's", Identity{Generation: -1}, kept, wire.UnknownMemberID},
			{"granted since the epoch before", Identity{MemberID: "b", Generation: b.epoch - 1}, given, wire.StaleMemberEpoch},
		} {
			if code := commit(tc.id, tc.partition); code != tc.want {
				t.Errorf("epoch %s: %v, want %v", tc.what, code, tc.want)
			}
		}
		for epoch, want := range map[int32]wire.Code{a.epoch: wire.None, old: wire.StaleMemberEpoch} {
			if code := c.MayFetch("g", "a", epoch); code != want {
				t.Errorf("fetch in epoch %d: %v", epoch, code)
			}
		}
		if code := c.MayFetch("g", "x", 1); code != wire.UnknownMemberID {
			t.Error(code)
		}
		if code := c.MayFetch("g", "", -1); code != wire.None {
			t.Error(code)
		}
		positions := []Position{{Topic: "t", Partition: kept}}
		if code := c.DeleteOffsets(nil, "g", positions); code != wire.None || positions[0].Err != wire.GroupSubscribedToTopic {
			t.Error(code, positions)
		}
		a.leave()
		b.leave()
		if code := commit(Identity{Generation: -1}, kept); code != wire.None {
			t.Errorf("an administrator, when all are gone: %v", code)
		}
	})
}

func TestAGroupIsOfOneTypeWhileItHasMembers(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{InitialDelay: time.Millisecond})
		topics.put("t", 1)
		old := form(t, c, 1, nil)[0]
		a := &epochClient{t: t, c: c, catalog: topics, id: "a", names: []string{"t"}}
		if r := a.beat(); r.Err != wire.GroupIDNotFound || r.Why == "" {
			t.Fatalf("%+v", r)
		}
		if code := c.Commit(nil, Identity{Group: "g", MemberID: old.id, Generation: old.gen}, []Position{{Topic: "t", Offset: Offset{Offset: 7}}}); code != wire.None {
			t.Fatal(code)
		}
		leaver := []Leaver{{MemberID: old.id}}
		c.Leave("g", leaver)
		if r := a.mustBeat(); r.Epoch <= old.gen {
			t.Errorf("epochs go on from the generation: %+v after %d", r, old.gen)
		}
		if d := c.Describe("g"); d.State != Dead {
			t.Errorf("as a classic group it is not there: %+v", d)
		}
		if kind, _ := c.TypeOf("g"); kind != Consumer {
			t.Error(kind)
		}
		b := &client{t: t, c: c}
		if r := <-b.startJoin(nil); r.Err != wire.InconsistentGroupProtocol {
			t.Errorf("%+v", r)
		}
		if code := old.beat(); code != wire.UnknownMemberID {
			t.Error(code)
		}
		epoch := a.epoch
		a.leave()
		if r := <-old.startJoin(nil); r.Err != wire.UnknownMemberID {
			t.Errorf("a member of the group before: %+v", r)
		}
		if r := b.took(<-b.startJoin(nil)); r.Generation <= epoch {
			t.Errorf("%+v", r)
		}
		got := []Position{{Topic: "t"}}
		if c.Committed("g", got); got[0].Offset.Offset != 7 {
			t.Errorf("the offsets stay: %+v", got)
		}
		if _, ok := c.DescribeEpochs("g", Consumer); ok {
			t.Error("it is described as what it is not")
		}
	})
}

func TestAnExpressionStandsForTopicsThatCome(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{})
		topics.put("logs.a", 1)
		topics.put("other", 1)
		text := `logs\..*`
		a := &epochClient{t: t, c: c, catalog: topics, id: "a", regex: &text}
		if a.mustBeat(); a.held.Count() != 1 {
			t.Fatalf("%v", a.held)
		}
		topics.put("logs.b", 2)
		topics.put("not.logs.b", 2)
		if a.mustBeat(); a.held.Count() != 3 {
			t.Errorf("a topic that came: %v", a.held)
		}
		topics.drop("logs.a")
		if a.mustBeat(); a.held.Count() != 2 {
			t.Errorf("a topic that went: %v", a.held)
		}
		r := a.request()
		r.Names, r.Regex = []string{"other"}, new(string)
		got := c.EpochHeartbeat(r)
		if got.Err != wire.None || got.Assigned.Count() != 0 {
			t.Errorf("names in place of it; what it had is to be given back first: %+v", got)
		}
		a.held, a.say, a.epoch = got.Assigned, true, got.Epoch
		if a.mustBeat(); a.held.Count() != 1 || a.held[topics.topics["other"].ID] == nil {
			t.Errorf("%v", a.held)
		}
		bad := "("
		r = a.request()
		r.Regex = &bad
		if got := c.EpochHeartbeat(r); got.Err != wire.InvalidRegularExpression {
			t.Errorf("%+v", got)
		}
		a.mustBeat()
	})
}

// stateKeeper keeps states in memory.
type stateKeeper struct {
	mu     sync.Mutex
	states map[string][]byte
	fail   error
	writes int
}

func (k *stateKeeper) Keep(name string, state []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return k.fail
	}
	k.writes++
	if k.states == nil {
		k.states = map[string][]byte{}
	}
	if state == nil {
		delete(k.states, name)
	} else {
		k.states[name] = state
	}
	return nil
}

// That a share group has begun with a topic is kept behind the move of its work and not before: a kill in between has it begin again.
func TestAShareGroupHasBegunWhenItsWorkWasMoved(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		k := &stateKeeper{fail: errors.New("no disk")}
		c, topics := newEpochs(t, Options{Keeper: k})
		topics.put("t", 1)
		a := &epochClient{t: t, c: c, catalog: topics, kind: Share, id: "a", names: []string{"t"}}
		if r := a.beat(); r.Err != wire.CoordinatorNotAvailable || r.Begins != nil {
			t.Errorf("%+v", r)
		}
		k.mu.Lock()
		k.fail = nil
		k.mu.Unlock()
		if r := a.mustBeat(); !slices.Equal(r.Begins, []string{"t"}) {
			t.Errorf("%+v", r)
		}
		state := func() []byte {
			k.mu.Lock()
			defer k.mu.Unlock()
			return slices.Clone(k.states["g"])
		}
		moves, between, second := 0, []byte(nil), make(chan wire.Code)
		move := func(topic string) bool {
			if moves++; moves > 1 {
				return topic == "t" && moves > 2 // the first of two can't decide it
			}
			return false
		}
		if code := c.BeginShare("g", []string{"t", "nobody's"}, move); code != wire.None || moves != 1 {
			t.Errorf("error %d, %d moves", code, moves)
		}
		if r := a.mustBeat(); !slices.Equal(r.Begins, []string{"t"}) {
			t.Errorf("it was not moved, and yet: %+v", r)
		}
		moves = 0
		code := c.BeginShare("g", []string{"t"}, func(string) bool {
			moves++
			between = state()
			go func() { second <- c.BeginShare("g", []string{"t"}, func(string) bool { moves++; return true }) }()
			for range 100 { // it comes to wait for a mutex, which nobody sees
				runtime.Gosched()
			}
			return true
		})
		if between == nil {
			t.Fatal("it was not moved")
		}
		if other := <-second; code != wire.None || other != wire.None || moves != 1 {
			t.Errorf("errors %d and %d, %d moves", code, other, moves)
		}
		if r := a.mustBeat(); r.Begins != nil {
			t.Errorf("it has begun, and yet: %+v", r)
		}
		for _, tc := range []struct {
			state []byte
			want  []string
		}{{between, []string{"t"}}, {state(), nil}} {
			again, _ := newEpochs(t, Options{Topics: topics})
			if err := again.RestoreGroup("g", tc.state); err != nil {
				t.Fatal(err)
			}
			b := &epochClient{t: t, c: again, catalog: topics, kind: Share, id: "b", names: []string{"t"}}
			if r := b.mustBeat(); !slices.Equal(r.Begins, tc.want) {
				t.Errorf("after a kill it begins with %v, want %v", r.Begins, tc.want)
			}
		}
	})
}

// A share group without members stays, as long as there is a topic that it has begun with.
func TestAShareGroupWithoutMembersStays(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{OffsetRetention: time.Hour, SweepEvery: time.Minute})
		topics.put("t", 1)
		a := &epochClient{t: t, c: c, catalog: topics, kind: Share, id: "a", names: []string{"t"}}
		a.mustBeat()
		if code := c.BeginShare("g", []string{"t"}, func(string) bool { return true }); code != wire.None {
			t.Fatal(code)
		}
		a.leave()
		time.Sleep(30 * 24 * time.Hour)
		if list, code := c.ShareTopics("g"); code != wire.None || len(list) != 1 {
			t.Errorf("after a month: %v, error %d", list, code)
		}
		c.ForgetTopic("t", topics.topics["t"].ID)
		time.Sleep(2 * time.Hour)
		if _, code := c.ShareTopics("g"); code != wire.GroupIDNotFound {
			t.Errorf("without its topic: error %d", code)
		}
	})
}

// A member of a share group is refused where a classic group of its name is there, whatever that is about to do, as by Kafka.
func TestAShareMemberIsRefusedByAClassicGroup(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{})
		topics.put("t", 1)
		a := &epochClient{t: t, c: c, catalog: topics, kind: Share, id: "a", names: []string{"t"}}
		refused := func(when string) {
			t.Helper()
			if r := a.beat(); r.Err != wire.GroupIDNotFound {
				t.Errorf("%s: %+v", when, r)
			}
		}
		one := &client{t: t, c: c}
		if r := <-one.startJoin(func(r *JoinRequest) { r.MustKnowID = true }); r.Err != wire.MemberIDRequired {
			t.Fatal(r)
		} else {
			refused("of whose member the id is known alone")
			one.id = r.MemberID
		}
		joining := one.startJoin(nil)
		refused("in a rebalance")
		if r := <-joining; r.Err != wire.None {
			t.Fatal(r)
		}
		refused("in which nobody has an assignment")
		two := &client{t: t, c: c}
		_ = two.startJoin(nil)
		refused("in the next rebalance")
	})
}

// A member that says nothing new does not wait for what others of its group have written.
func TestAHeartbeatThatChangesNothingWaitsForNobodysCommit(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c, topics := newEpochs(t, Options{Keeper: &stateKeeper{}})
		topics.put("t", 5)
		a := &epochClient{t: t, c: c, catalog: topics, id: "a", names: []string{"t"}}
		converge(t, a)
		g := c.groups["g"]
		g.commit.Lock() // a commit writes to the journal
		beaten := make(chan struct{})
		go func() {
			a.mustBeat()
			close(beaten)
		}()
		synctest.Wait()
		select {
		case <-beaten:
		default:
			t.Error("it waits")
		}
		g.commit.Unlock()
		<-beaten
	})
}

func TestMembersGoOnAfterARestart(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		keeper := &stateKeeper{}
		memory, again := &purse{limit: 1 << 20}, &purse{limit: 1 << 20}
		c, topics := newEpochs(t, Options{Keeper: keeper, Memory: memory})
		topics.put("t", 5)
		text := "t|u"
		a := &epochClient{t: t, c: c, catalog: topics, id: "a", names: []string{"t"}, assignor: "range"}
		b := &epochClient{t: t, c: c, catalog: topics, id: "b", instance: "i", regex: &text}
		converge(t, a, b)
		writes := keeper.writes
		a.mustBeat()
		b.mustBeat()
		if keeper.writes != writes {
			t.Error("a heartbeat that changes nothing is written")
		}
		before, _ := c.DescribeEpochs("g", Consumer)
		epochs, held, counted := []int32{a.epoch, b.epoch}, []Partitions{a.held, b.held}, memory.held()
		c.Close()

		o := Options{Keeper: keeper, Topics: topics, Memory: again}
		next := New(o)
		t.Cleanup(next.Close)
		if err := next.RestoreGroup("g", keeper.states["g"]); err != nil {
			t.Fatal(err)
		}
		if again.held() != counted {
			t.Errorf("%d bytes are counted for the same members, %d before", again.held(), counted)
		}
		if after, _ := next.DescribeEpochs("g", Consumer); !reflect.DeepEqual(before, after) {
			t.Errorf("before %+v\nafter %+v", before, after)
		}
		a.c, b.c = next, next
		a.mustBeat()
		b.mustBeat()
		if !slices.Equal(epochs, []int32{a.epoch, b.epoch}) || !held[0].equal(a.held) || !held[1].equal(b.held) {
			t.Errorf("epochs %v, now %d and %d", epochs, a.epoch, b.epoch)
		}
		time.Sleep(40 * time.Second)
		a.mustBeat()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if d, _ := next.DescribeEpochs("g", Consumer); len(d.Members) != 1 {
			t.Errorf("sessions go on: %+v", d)
		}
		a.leave()
		if err := next.RestoreGroup("g2", keeper.states["g"]); err != nil {
			t.Error(err)
		}
		if code := next.Delete(nil, "g"); code != wire.None || keeper.states["g"] != nil {
			t.Errorf("%v, %d bytes are left", code, len(keeper.states["g"]))
		}
	})
}

func TestAHeartbeatThatCantBeKeptIsNotAnsweredAsIfItWas(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		keeper := &stateKeeper{fail: errStateRecord}
		c, topics := newEpochs(t, Options{Keeper: keeper})
		topics.put("t", 1)
		a := &epochClient{t: t, c: c, catalog: topics, id: "a", names: []string{"t"}}
		if r := a.beat(); r.Err != wire.CoordinatorNotAvailable {
			t.Errorf("%+v", r)
		}
		keeper.fail = nil
		if r := a.mustBeat(); a.held.Count() != 1 || keeper.states["g"] == nil {
			t.Errorf("%+v, kept %d", r, len(keeper.states))
		}
	})
}

// TestNoPartitionHasTwoReaders has clients come, go, stall and be fenced, topics come and go and the broker be restarted, by seed:
// at no time do two clients hold a partition, and when all is quiet every partition has a reader, and who reads the same has as many.
func TestNoPartitionHasTwoReaders(t *testing.T) {
	for seed := range uint64(60) {
		fakeclock.Test(t, func(t *testing.T) { noTwoReaders(t, seed) })
	}
}

func noTwoReaders(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	keeper := &stateKeeper{}
	topics := newCatalog()
	o := Options{Keeper: keeper, Topics: topics}
	c := New(o)
	names := []string{"t", "u", "v"}
	for _, name := range names {
		topics.put(name, 1+rng.IntN(8))
	}
	var ms []*epochClient
	next := 0
	join := func() {
		m := &epochClient{t: t, c: c, catalog: topics, id: fmt.Sprint("m", next), names: names[:1+rng.IntN(3)], assignor: []string{"", "uniform", "range"}[rng.IntN(3)]}
		next++
		ms = append(ms, m)
		m.mustBeat()
	}
	for range 300 {
		switch k := rng.IntN(40); {
		case k == 0 || len(ms) == 0:
			join()
		case k == 1:
			i := rng.IntN(len(ms))
			ms[i].leave()
			ms = slices.Delete(ms, i, i+1)
		case k == 2:
			topics.put(names[rng.IntN(3)], 1+rng.IntN(10))
		case k == 3:
			topics.drop(names[rng.IntN(3)])
		case k == 4 && len(ms) > 1: // a client is gone without a word
			i := rng.IntN(len(ms))
			ms[i].held = Partitions{}
			ms = slices.Delete(ms, i, i+1)
			for range 10 {
				time.Sleep(5 * time.Second)
				for _, m := range ms {
					if m.beat().Err != wire.None {
						m.epoch = 0
						m.mustBeat()
					}
				}
			}
		case k == 5:
			c.Close()
			c = New(o)
			if s := keeper.states["g"]; s != nil {
				if err := c.RestoreGroup("g", s); err != nil {
					t.Fatal(err)
				}
			}
			for _, m := range ms {
				m.c = c
			}
		default:
			m := ms[rng.IntN(len(ms))]
			time.Sleep(100 * time.Millisecond)
			if rng.IntN(10) == 0 { // the answer is lost
				c.EpochHeartbeat(m.request())
				m.all = true
			}
			if r := m.beat(); r.Err != wire.None {
				m.held, m.epoch = Partitions{}, 0
				m.mustBeat()
			}
		}
		exclusive(t, ms)
	}
	for len(ms) < 2 {
		join()
	}
	converge(t, ms...)
	total := 0
	for _, name := range names {
		for _, m := range ms {
			if slices.Contains(m.names, name) {
				total += topics.topics[name].Partitions
				break
			}
		}
	}
	got := 0
	for _, n := range counts(ms) {
		got += n
	}
	if got != total {
		t.Errorf("seed %d: %d partitions of %d have a reader", seed, got, total)
		d, _ := c.DescribeEpochs("g", Consumer)
		t.Log(topics.topics, d.Epoch, d.AssignmentEpoch)
		for _, m := range d.Members {
			t.Log(m)
		}
	}
	c.Close()
}

func TestAssignors(t *testing.T) {
	topics := map[string]TopicInfo{"t": {TopicID{1}, 7}, "u": {TopicID{2}, 7}, "w": {TopicID{3}, 2}}
	members := func(had []Partitions, reads ...[]string) []*assignee {
		var out []*assignee
		for i, r := range reads {
			m := &assignee{id: string(rune('a' + i)), topics: r, target: map[TopicID][]int32{}}
			if had != nil {
				m.had = had[i]
			}
			out = append(out, m)
		}
		return out
	}
	both := []string{"t", "u"}
	ms := members(nil, both, both, both)
	ranges(topics, ms)
	for i, want := range [][]int32{{0, 1, 2}, {3, 4}, {5, 6}} {
		if !slices.Equal(ms[i].target[TopicID{1}], want) || !slices.Equal(ms[i].target[TopicID{2}], want) {
			t.Errorf("range: member %d has %v", i, ms[i].target)
		}
	}
	ms = members(nil, both, both, both)
	uniform(topics, ms)
	target := func(ms []*assignee) (out []Partitions) {
		for _, m := range ms {
			out = append(out, NewPartitions(m.target))
		}
		return out
	}
	first := target(ms)
	if n := []int{first[0].Count(), first[1].Count(), first[2].Count()}; slices.Max(n) != 5 || slices.Min(n) != 4 {
		t.Errorf("uniform: %v", first)
	}
	// A fourth takes from the others and leaves them the rest.
	ms = members(append(slices.Clone(first), nil), both, both, both, both)
	uniform(topics, ms)
	for i, p := range target(ms)[:3] {
		if !p.within(first[i]) || p.Count() < 3 || p.Count() > 4 {
			t.Errorf("uniform: member %d had %v and gets %v", i, first[i], p)
		}
	}
	// One of three goes: the two keep all they had.
	ms = members(first[:2], both, both)
	uniform(topics, ms)
	for i, p := range target(ms) {
		if !first[i].within(p) || p.Count() != 7 {
			t.Errorf("uniform: member %d had %v and gets %v", i, first[i], p)
		}
	}
	// Who reads one topic alone leaves the other to the rest.
	ms = members(nil, []string{"t"}, both, []string{"u"})
	uniform(topics, ms)
	for i, p := range target(ms) {
		if p.Count() < 4 || p.Count() > 5 {
			t.Errorf("uniform: member %d of those that differ has %v", i, p)
		}
	}
	// What was had badly is made equal: b had nothing.
	ms = members([]Partitions{{TopicID{1}: {0, 1, 2, 3, 4, 5, 6}}, nil}, []string{"t", "w"}, []string{"t"})
	uniform(topics, ms)
	if got := target(ms); got[0].Count() != 5 && got[0].Count() != 4 {
		t.Errorf("uniform: %v", got)
	}
	ms = members(nil, []string{"w"}, []string{"w"}, []string{"w"})
	simple(topics, ms)
	for i, p := range target(ms) {
		if p.Count() != 1 {
			t.Errorf("simple: member %d has %v", i, p)
		}
	}
	ms = members(nil, []string{"t"}, []string{"t"})
	simple(topics, ms)
	if got := target(ms); got[0].Count()+got[1].Count() != 7 {
		t.Errorf("simple: %v", got)
	}
}

func FuzzEpochState(f *testing.F) {
	c, topics := newEpochs(f, Options{Keeper: &stateKeeper{}})
	topics.put("t", 5)
	text := "t|u"
	for _, m := range []*epochClient{{t: f, c: c, catalog: topics, id: "a", names: []string{"t"}}, {t: f, c: c, catalog: topics, id: "b", instance: "i", regex: &text}} {
		m.mustBeat()
		f.Add(c.opts.Keeper.(*stateKeeper).states["g"])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, since, err := parseEpochs(b)
		if err != nil {
			return
		}
		g := newGroup("g", New(Options{}))
		defer g.c.Close()
		g.modern, g.since = m, since
		again, _, err := parseEpochs(g.appendEpochs(nil))
		if err != nil {
			t.Fatalf("what was read can't be read again: %v", err)
		}
		if len(again.order) != len(m.order) || again.epoch != m.epoch {
			t.Fatalf("%+v became %+v", m, again)
		}
		for i, x := range m.order {
			y := again.order[i]
			if x.id != y.id || !x.assigned.equal(y.assigned) || !x.revoked.equal(y.revoked) || !x.target.equal(y.target) || !slices.Equal(x.names, y.names) {
				t.Fatalf("%+v became %+v", x, y)
			}
		}
	})
}

// BenchmarkRebalance is the broker's time for a group of 100 members over 1,000 partitions that one member joins: every heartbeat of
// every member until all is at rest, with the state kept (in memory) each time.
func BenchmarkRebalance(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		c, topics := newEpochs(b, Options{Keeper: &stateKeeper{}})
		for i := range 10 {
			topics.put(fmt.Sprint("topic-", i), 100)
		}
		names := slices.Sorted(maps.Keys(topics.topics))
		var ms []*epochClient
		for i := range 99 {
			ms = append(ms, &epochClient{t: b, c: c, catalog: topics, id: fmt.Sprintf("member-%03d", i), names: names})
		}
		converge(b, ms...)
		ms = append(ms, &epochClient{t: b, c: c, catalog: topics, id: "new", names: names})
		b.StartTimer()
		converge(b, ms...)
		b.StopTimer()
		exclusive(b, ms)
		if n := counts(ms); n[0] != 10 || n[99] != 10 {
			b.Fatal(n)
		}
		c.Close()
		b.StartTimer()
	}
}

// BenchmarkClassicRebalance is the same for a classic group, whose leader brings the assignments: joins and syncs of all.
func BenchmarkClassicRebalance(b *testing.B) {
	c := New(Options{InitialDelay: time.Microsecond, Keeper: &stateKeeper{}})
	defer c.Close()
	const members = 100
	ids := make([]string, members)
	round := func() {
		var wg sync.WaitGroup
		wg.Add(members)
		replies := make([]JoinReply, members)
		for i := range members {
			c.Join(JoinRequest{Group: "g", MemberID: ids[i], ClientID: "c", ProtocolType: "consumer", Protocols: []Protocol{{"range", fmt.Append(nil, rand.Int())}},
				SessionTimeout: time.Minute, RebalanceTimeout: time.Minute}, func(r JoinReply) { replies[i] = r; wg.Done() })
		}
		wg.Wait()
		assignments := map[string][]byte{}
		for i, r := range replies {
			if r.Err != wire.None {
				b.Fatal(r.Err)
			}
			ids[i] = r.MemberID
			assignments[r.MemberID] = make([]byte, 80) // ten partitions
		}
		wg.Add(members)
		for i, r := range replies {
			s := SyncRequest{Group: "g", MemberID: ids[i], Generation: r.Generation}
			if r.Leader == r.MemberID {
				s.Assignments = assignments
			}
			c.Sync(s, func(SyncReply) { wg.Done() })
		}
		wg.Wait()
	}
	round()
	for b.Loop() {
		round()
	}
}

func TestWhatIsToBeGivenBackIsStillHeldAfterARestart(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		keeper := &stateKeeper{}
		c, topics := newEpochs(t, Options{Keeper: keeper})
		topics.put("t", 4)
		a := &epochClient{t: t, c: c, catalog: topics, id: "a", names: []string{"t"}}
		b := &epochClient{t: t, c: c, catalog: topics, id: "b", names: []string{"t"}}
		a.mustBeat()
		b.mustBeat()
		a.mustBeat() // it is told, and says nothing yet
		c.Close()
		next := New(Options{Keeper: keeper, Topics: topics})
		t.Cleanup(next.Close)
		if err := next.RestoreGroup("g", keeper.states["g"]); err != nil {
			t.Fatal(err)
		}
		a.c, b.c = next, next
		if b.mustBeat(); b.held.Count() != 0 {
			t.Error("it is granted what another holds")
		}
		a.mustBeat()
		if b.mustBeat(); b.held.Count() != 2 {
			t.Error("it is not granted what was given back")
		}
	})
}

// BenchmarkEpochState is what each change of a group with so many members costs, all of which is kept as one.
func BenchmarkEpochState(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			id := TopicID{1}
			g := &group{modern: &modern{kind: Consumer, members: map[string]*epochMember{}, topics: map[string]TopicInfo{"t": {ID: id, Partitions: n}}}}
			for i := range n {
				has := Partitions{id: {int32(i)}}
				x := &epochMember{id: fmt.Sprint("member-", i), names: []string{"t"}, epoch: 7, previous: 6, assigned: has, target: has}
				g.modern.members[x.id] = x
				g.modern.order = append(g.modern.order, x)
			}
			var state []byte
			b.ReportAllocs()
			for b.Loop() {
				state = g.appendEpochs(state[:0])
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/member")
		})
	}
}
