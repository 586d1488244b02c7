package group

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// client drives one member against a coordinator, in the fake time of a bubble.
type client struct {
	t        *testing.T
	c        *Coordinator
	id       string
	instance string
	topics   string
	gen      int32
}

func newCoordinator(t *testing.T, o Options) *Coordinator {
	n := 0
	o.NewID = func() string { n++; return fmt.Sprint(n) }
	c := New(o)
	t.Cleanup(c.Close)
	return c
}

func (m *client) joinRequest() JoinRequest {
	return JoinRequest{
		Group: "g", MemberID: m.id, InstanceID: m.instance, ClientID: "c", ProtocolType: "consumer",
		Protocols:      []Protocol{{"range", []byte(m.topics)}},
		SessionTimeout: 10 * time.Second, RebalanceTimeout: 60 * time.Second, MaySkipAssignment: true,
	}
}

// startJoin begins a join; the channel gets the answer.
func (m *client) startJoin(edit func(*JoinRequest)) chan JoinReply {
	ch := make(chan JoinReply, 1)
	r := m.joinRequest()
	if edit != nil {
		edit(&r)
	}
	m.c.Join(r, func(reply JoinReply) { ch <- reply })
	return ch
}

func (m *client) took(r JoinReply) JoinReply {
	m.t.Helper()
	if r.Err != wire.None {
		m.t.Fatalf("join: %v", r.Err)
	}
	m.id, m.gen = r.MemberID, r.Generation
	return r
}

func (m *client) startSync(assign map[string][]byte) chan SyncReply {
	ch := make(chan SyncReply, 1)
	m.c.Sync(SyncRequest{Group: "g", MemberID: m.id, InstanceID: m.instance, Generation: m.gen, Assignments: assign}, func(r SyncReply) { ch <- r })
	return ch
}

func (m *client) beat() wire.Code {
	return m.c.Heartbeat(Identity{Group: "g", MemberID: m.id, InstanceID: m.instance, Generation: m.gen})
}

// form makes a stable group of n members and returns them, the leader first.
func form(t *testing.T, c *Coordinator, n int, edit func(i int, m *client)) []*client {
	t.Helper()
	var ms []*client
	var joins []chan JoinReply
	for i := range n {
		m := &client{t: t, c: c}
		if edit != nil {
			edit(i, m)
		}
		ms = append(ms, m)
		joins = append(joins, m.startJoin(nil))
	}
	for i, ch := range joins {
		r := ms[i].took(<-ch)
		if (len(r.Members) == n) != (i == 0) {
			t.Fatalf("member %d of %d sees members %v", i, n, r.Members)
		}
	}
	settle(ms)
	return ms
}

// settle has every member sync; the first one leads and gives each its own id.
func settle(ms []*client) {
	var syncs []chan SyncReply
	assign := map[string][]byte{}
	for _, m := range ms {
		assign[m.id] = []byte("for " + m.id)
	}
	for i := len(ms) - 1; i >= 0; i-- { // the leader last, so that the others park
		a := assign
		if i > 0 {
			a = nil
		}
		syncs = append(syncs, ms[i].startSync(a))
	}
	for i, ch := range syncs {
		m := ms[len(ms)-1-i]
		if r := <-ch; r.Err != wire.None || string(r.Assignment) != "for "+m.id {
			m.t.Fatalf("sync of %s: %+v", m.id, r)
		}
	}
}

func waiting[T any](t *testing.T, ch chan T, what string) {
	t.Helper()
	synctest.Wait()
	select {
	case v := <-ch:
		t.Fatalf("%s answered early: %+v", what, v)
	default:
	}
}

func TestMembersThatStartTogetherShareTheFirstGeneration(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{InitialDelay: 50 * time.Millisecond})
		start := time.Now()
		ms := form(t, c, 3, nil)
		if d := time.Since(start); d < 50*time.Millisecond || d > 100*time.Millisecond {
			t.Errorf("the first rebalance took %v", d)
		}
		for _, m := range ms {
			if m.gen != 1 || m.beat() != wire.None {
				t.Errorf("%s generation %d heartbeat %v", m.id, m.gen, m.beat())
			}
		}
		if d := c.Describe("g"); d.State != Stable || d.Protocol != "range" || len(d.Members) != 3 {
			t.Errorf("%+v", d)
		}
		if l := c.List(); len(l) != 1 || l[0] != (Listed{"g", "consumer", Stable, Classic, 3}) {
			t.Errorf("%+v", l)
		}
	})
}

func TestJoinWithoutIDIsGivenOneAndComesBack(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		m := &client{t: t, c: c}
		r := <-m.startJoin(func(r *JoinRequest) { r.MustKnowID = true })
		if r.Err != wire.MemberIDRequired || r.MemberID != "c-1" {
			t.Fatalf("%+v", r)
		}
		m.id = r.MemberID
		m.took(<-m.startJoin(nil))
		settle([]*client{m})
	})
}

func TestPromisedIDThatNeverComesDoesNotHoldUpTheGroup(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		ms := form(t, c, 1, nil)
		stranger := &client{t: t, c: c}
		if r := <-stranger.startJoin(func(r *JoinRequest) { r.MustKnowID = true }); r.Err != wire.MemberIDRequired {
			t.Fatalf("%+v", r)
		}
		ch := ms[0].startJoin(nil) // the leader joins again: a rebalance
		waiting(t, ch, "join")
		if r := <-ch; r.Err != wire.None || r.Generation != 2 {
			t.Errorf("%+v", r)
		}
	})
}

func TestJoinRefusals(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*JoinRequest)
		want wire.Code
	}{
		{"no group", func(r *JoinRequest) { r.Group = "" }, wire.InvalidGroupID},
		{"short session", func(r *JoinRequest) { r.SessionTimeout = time.Second }, wire.InvalidSessionTimeout},
		{"long session", func(r *JoinRequest) { r.SessionTimeout = time.Hour }, wire.InvalidSessionTimeout},
		{"unknown member", func(r *JoinRequest) { r.MemberID = "nobody" }, wire.UnknownMemberID},
		{"unknown member of unknown group", func(r *JoinRequest) { r.Group, r.MemberID = "none", "nobody" }, wire.UnknownMemberID},
		{"no protocols", func(r *JoinRequest) { r.Protocols = nil }, wire.InconsistentGroupProtocol},
		{"no protocol in common", func(r *JoinRequest) { r.Protocols = []Protocol{{"other", nil}} }, wire.InconsistentGroupProtocol},
		{"other protocol type", func(r *JoinRequest) { r.ProtocolType = "connect" }, wire.InconsistentGroupProtocol},
		{"group is full", func(r *JoinRequest) {}, wire.GroupMaxSizeReached},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				c := newCoordinator(t, Options{MaxMembers: 2})
				form(t, c, 2, nil)
				m := &client{t: t, c: c}
				if r := <-m.startJoin(tc.edit); r.Err != tc.want || r.Generation != -1 {
					t.Errorf("%+v, want %v", r, tc.want)
				}
			})
		})
	}
}

func TestNewcomerMakesTheOthersJoinAgain(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		ms := form(t, c, 2, nil)
		late := &client{t: t, c: c}
		lateJoin := late.startJoin(nil)
		waiting(t, lateJoin, "newcomer's join")
		if code := ms[0].beat(); code != wire.RebalanceInProgress {
			t.Fatalf("heartbeat during the rebalance: %v", code)
		}
		again := []chan JoinReply{ms[0].startJoin(nil)}
		waiting(t, lateJoin, "newcomer's join")
		again = append(again, ms[1].startJoin(nil))
		for i, ch := range again {
			ms[i].took(<-ch)
		}
		late.took(<-lateJoin)
		settle(append(ms, late))
		if late.gen != 2 {
			t.Errorf("generation %d", late.gen)
		}
	})
}

func TestMemberThatDoesNotJoinAgainIsDropped(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		ms := form(t, c, 2, nil)
		ch := ms[0].startJoin(nil)
		start := time.Now()
		stop := make(chan struct{})
		go func() { // the other one only sends heartbeats
			for {
				select {
				case <-stop:
					return
				case <-time.After(3 * time.Second):
					ms[1].beat()
				}
			}
		}()
		r := ms[0].took(<-ch)
		close(stop)
		if d := time.Since(start); d != 60*time.Second || len(r.Members) != 1 {
			t.Errorf("after %v: %+v", d, r)
		}
		if code := ms[1].beat(); code != wire.UnknownMemberID {
			t.Errorf("heartbeat of the dropped member: %v", code)
		}
	})
}

func TestMemberThatNeverSyncsIsDropped(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		a, b := &client{t: t, c: c}, &client{t: t, c: c}
		ja, jb := a.startJoin(nil), b.startJoin(nil)
		a.took(<-ja)
		b.took(<-jb)
		if r := <-a.startSync(map[string][]byte{}); r.Err != wire.None {
			t.Fatal(r.Err)
		}
		for range 20 {
			time.Sleep(4 * time.Second)
			a.beat()
			b.beat()
		}
		if d := c.Describe("g"); len(d.Members) != 1 || d.Members[0].ID != a.id {
			t.Errorf("%+v", d)
		}
	})
}

func TestSilentMemberExpires(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		ms := form(t, c, 2, nil)
		for range 3 {
			time.Sleep(6 * time.Second)
			ms[0].beat()
		}
		if code := ms[0].beat(); code != wire.RebalanceInProgress {
			t.Fatalf("heartbeat after the other one expired: %v", code)
		}
		if r := ms[0].took(<-ms[0].startJoin(nil)); len(r.Members) != 1 {
			t.Errorf("%+v", r)
		}
		time.Sleep(11 * time.Second)
		if d := c.Describe("g"); d.State != Empty {
			t.Errorf("%+v", d)
		}
	})
}

func TestRequestsOfAnotherGeneration(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		m := form(t, c, 1, nil)[0]
		m.gen++
		if code := m.beat(); code != wire.IllegalGeneration {
			t.Errorf("heartbeat: %v", code)
		}
		if r := <-m.startSync(nil); r.Err != wire.IllegalGeneration {
			t.Errorf("sync: %v", r.Err)
		}
		if code := c.Commit(c.opts.Journal, Identity{Group: "g", MemberID: m.id, InstanceID: "", Generation: m.gen}, []Position{{Topic: "t"}}); code != wire.IllegalGeneration {
			t.Errorf("commit: %v", code)
		}
		if code := c.Commit(c.opts.Journal, Identity{Group: "g", MemberID: "nobody", InstanceID: "", Generation: m.gen}, nil); code != wire.UnknownMemberID {
			t.Errorf("commit of a stranger: %v", code)
		}
		if code := c.Commit(c.opts.Journal, Identity{Group: "g", MemberID: "", InstanceID: "", Generation: -1}, nil); code != wire.UnknownMemberID {
			t.Errorf("commit without membership to a group with members: %v", code)
		}
	})
}

func TestSyncChecksTheProtocol(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		m := form(t, c, 1, nil)[0]
		ch := make(chan SyncReply, 1)
		c.Sync(SyncRequest{Group: "g", MemberID: m.id, Generation: m.gen, ProtocolType: "consumer", Protocol: "sticky"}, func(r SyncReply) { ch <- r })
		if r := <-ch; r.Err != wire.InconsistentGroupProtocol {
			t.Errorf("%+v", r)
		}
	})
}

func TestLostJoinAnswerIsGivenAgain(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		ms := form(t, c, 2, nil)
		if r := <-ms[1].startJoin(nil); r.Err != wire.None || r.Generation != 1 {
			t.Errorf("%+v", r)
		}
		if code := ms[0].beat(); code != wire.None {
			t.Errorf("a follower's repeated join started a rebalance: %v", code)
		}
	})
}

func TestChangedSubscriptionStartsARebalance(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		ms := form(t, c, 2, nil)
		ms[1].topics = "another"
		ch := ms[1].startJoin(nil)
		waiting(t, ch, "join")
		if code := ms[0].beat(); code != wire.RebalanceInProgress {
			t.Errorf("%v", code)
		}
	})
}

func TestLeaving(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		ms := form(t, c, 3, nil)
		leavers := []Leaver{{MemberID: ms[0].id}, {MemberID: "nobody"}, {MemberID: ms[1].id}}
		if code := c.Leave("g", leavers); code != wire.None {
			t.Fatal(code)
		}
		for i, want := range []wire.Code{wire.None, wire.UnknownMemberID, wire.None} {
			if leavers[i].Err != want {
				t.Errorf("leaver %d: %v, want %v", i, leavers[i].Err, want)
			}
		}
		r := ms[2].took(<-ms[2].startJoin(nil))
		if r.Leader != ms[2].id || len(r.Members) != 1 {
			t.Errorf("the one who stayed: %+v", r)
		}
		c.Leave("g", []Leaver{{MemberID: ms[2].id}})
		if d := c.Describe("g"); d.State != Empty || len(d.Members) != 0 {
			t.Errorf("%+v", d)
		}
		unknown := []Leaver{{MemberID: "x"}}
		if c.Leave("none", unknown); unknown[0].Err != wire.UnknownMemberID {
			t.Errorf("leaving an unknown group: %v", unknown[0].Err)
		}
	})
}

func TestParkedMembersAreToldWhenARebalanceOvertakesThem(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		a, b := &client{t: t, c: c}, &client{t: t, c: c}
		ja, jb := a.startJoin(nil), b.startJoin(nil)
		a.took(<-ja)
		b.took(<-jb)
		parked := b.startSync(nil)
		waiting(t, parked, "sync")
		late := &client{t: t, c: c}
		late.startJoin(nil)
		if r := <-parked; r.Err != wire.RebalanceInProgress {
			t.Errorf("%+v", r)
		}
	})
}

func TestProtocolThatMostPreferIsChosen(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		var chans []chan JoinReply
		for _, names := range [][]string{{"range", "sticky"}, {"sticky", "range"}, {"sticky", "range", "extra"}} {
			m := &client{t: t, c: c}
			chans = append(chans, m.startJoin(func(r *JoinRequest) {
				r.Protocols = nil
				for _, n := range names {
					r.Protocols = append(r.Protocols, Protocol{n, nil})
				}
			}))
		}
		for _, ch := range chans {
			if r := <-ch; r.Protocol != "sticky" {
				t.Errorf("%+v", r)
			}
		}
	})
}

func TestStaticMemberKeepsItsAssignmentAcrossARestart(t *testing.T) {
	for _, skip := range []bool{true, false} {
		t.Run(fmt.Sprintf("may skip assignment %v", skip), func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				c := newCoordinator(t, Options{})
				ms := form(t, c, 2, func(i int, m *client) { m.instance = fmt.Sprintf("i%d", i) })
				for i, old := range ms {
					oldID := old.id
					next := &client{t: t, c: c, instance: old.instance}
					r := next.took(<-next.startJoin(func(r *JoinRequest) { r.MaySkipAssignment = skip }))
					if r.MemberID == oldID || r.Generation != 1 {
						t.Fatalf("%+v", r)
					}
					leads := i == 0
					if r.SkipAssignment != (leads && skip) || (len(r.Members) > 0) != (leads && skip) || (r.Leader == r.MemberID) != (leads && skip) {
						t.Errorf("member %d: %+v", i, r)
					}
					if s := <-next.startSync(nil); s.Err != wire.None || string(s.Assignment) != "for "+oldID {
						t.Errorf("sync after the restart: %+v", s)
					}
					if code := old.beat(); code != wire.FencedInstanceID {
						t.Errorf("the old process: %v", code)
					}
					if code := next.beat(); code != wire.None {
						t.Errorf("the new process: %v", code)
					}
				}
			})
		})
	}
}

// Its next process may come in the middle of a rebalance: then it is part of it, and the group gets one new
// generation, not the assignment of one that is over.
func TestStaticMemberThatComesBackInARebalanceTakesPart(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		ms := form(t, c, 2, func(i int, m *client) { m.instance = fmt.Sprintf("i%d", i) })
		late := &client{t: t, c: c}
		lateJoin := late.startJoin(nil)
		next := &client{t: t, c: c, instance: "i1"}
		nextJoin := next.startJoin(nil)
		waiting(t, nextJoin, "the next process")
		waiting(t, lateJoin, "the new member")
		leaderJoin := ms[0].startJoin(nil)
		all := []*client{ms[0], next, late}
		for i, ch := range []chan JoinReply{leaderJoin, nextJoin, lateJoin} {
			if r := all[i].took(<-ch); r.Generation != 2 || r.Protocol != "range" {
				t.Errorf("member %d: %+v", i, r)
			}
		}
		settle(all)
	})
}

// One that no longer knows the group's protocol makes the group choose again.
func TestStaticMemberThatDoesNotKnowTheProtocolMakesTheGroupRebalance(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		both := func(r *JoinRequest) { r.Protocols = []Protocol{{"range", nil}, {"sticky", nil}} }
		ms := []*client{{t: t, c: c, instance: "i0"}, {t: t, c: c, instance: "i1"}}
		joins := []chan JoinReply{ms[0].startJoin(both), ms[1].startJoin(both)}
		for i, ch := range joins {
			if r := ms[i].took(<-ch); r.Protocol != "range" {
				t.Fatalf("%+v", r)
			}
		}
		settle(ms)
		next := &client{t: t, c: c, instance: "i1"}
		nextJoin := next.startJoin(func(r *JoinRequest) { r.Protocols = []Protocol{{"sticky", nil}} })
		waiting(t, nextJoin, "the next process")
		leaderJoin := ms[0].startJoin(both)
		for i, ch := range []chan JoinReply{leaderJoin, nextJoin} {
			if r := <-ch; r.Err != wire.None || r.Generation != 2 || r.Protocol != "sticky" {
				t.Errorf("member %d: %+v", i, r)
			}
		}
	})
}

func TestStaticMemberThatIsAwayKeepsItsPlaceUntilItsSessionEnds(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		ms := form(t, c, 2, func(i int, m *client) { m.instance = fmt.Sprintf("i%d", i) })
		time.Sleep(9 * time.Second)
		if code := ms[0].beat(); code != wire.None {
			t.Fatalf("before the session ends: %v", code)
		}
		time.Sleep(2 * time.Second)
		if code := ms[0].beat(); code != wire.RebalanceInProgress {
			t.Errorf("after the other's session: %v", code)
		}
	})
}

func TestStaticMemberIsRemovedByItsInstanceID(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		form(t, c, 1, func(i int, m *client) { m.instance = "i" })
		leavers := []Leaver{{InstanceID: "other"}, {InstanceID: "i", MemberID: "wrong"}, {InstanceID: "i"}}
		c.Leave("g", leavers)
		for i, want := range []wire.Code{wire.UnknownMemberID, wire.FencedInstanceID, wire.None} {
			if leavers[i].Err != want {
				t.Errorf("leaver %d: %v, want %v", i, leavers[i].Err, want)
			}
		}
	})
}

func TestSecondProcessFencesAParkedOne(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{InitialDelay: time.Second})
		a := &client{t: t, c: c, instance: "i"}
		first := a.startJoin(nil)
		b := &client{t: t, c: c, instance: "i"}
		second := b.startJoin(nil)
		if r := <-first; r.Err != wire.FencedInstanceID {
			t.Errorf("%+v", r)
		}
		b.took(<-second)
	})
}

// memoryJournal keeps changes, and fails on demand.
type memoryJournal struct {
	changes []Change
	err     error
}

func (j *memoryJournal) Save(c []Change) error {
	if j.err == nil {
		j.changes = append(j.changes, c...)
	}
	return j.err
}

func TestOffsetsSurviveARestart(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		j := &memoryJournal{}
		c := newCoordinator(t, Options{Journal: j})
		m := form(t, c, 1, nil)[0]
		id := Identity{Group: "g", MemberID: m.id, InstanceID: "", Generation: m.gen}
		ps := []Position{{Topic: "t", Partition: 1, Offset: Offset{Offset: 7, LeaderEpoch: 0, Metadata: "note"}},
			{Topic: "t", Partition: 2, Offset: Offset{Offset: 8, Metadata: string(make([]byte, 5000))}},
			{Topic: "gone", Err: wire.UnknownTopicOrPartition}}
		if code := c.Commit(c.opts.Journal, id, ps); code != wire.None || ps[1].Err != wire.OffsetMetadataTooLarge {
			t.Fatalf("%v %+v", code, ps)
		}
		if len(j.changes) != 1 {
			t.Fatalf("journal: %+v", j.changes)
		}
		again := newCoordinator(t, Options{Journal: j})
		for _, ch := range j.changes {
			again.Restore(ch)
		}
		got := []Position{{Topic: "t", Partition: 1}, {Topic: "t", Partition: 2}, {Topic: "x"}}
		again.Committed("g", got)
		if got[0].Offset.Offset != 7 || got[0].Offset.Metadata != "note" || got[1].Offset.Offset != -1 || got[2].Offset.Offset != -1 {
			t.Errorf("%+v", got)
		}
		if d := again.Describe("g"); d.State != Empty {
			t.Errorf("%+v", d)
		}
		if all := again.AllCommitted("g"); len(all) != 1 {
			t.Errorf("%+v", all)
		}
	})
}

func TestCommitThatCannotBeKeptIsRefused(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{Journal: &memoryJournal{err: errors.New("disk")}})
		ps := []Position{{Topic: "t", Offset: Offset{Offset: 1}}}
		if code := c.Commit(c.opts.Journal, Identity{Group: "g", MemberID: "", InstanceID: "", Generation: -1}, ps); code != wire.CoordinatorNotAvailable {
			t.Fatal(code)
		}
		if c.Committed("g", ps); ps[0].Offset.Offset != -1 {
			t.Errorf("%+v", ps)
		}
	})
}

func TestDeletingGroupsAndOffsets(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		j := &memoryJournal{}
		c := newCoordinator(t, Options{Journal: j})
		subscription := "\x00\x00\x00\x00\x00\x01\x00\x01t"
		m := form(t, c, 1, func(_ int, m *client) { m.topics = subscription })[0]
		ps := []Position{{Topic: "t", Offset: Offset{Offset: 1}}, {Topic: "old", Offset: Offset{Offset: 2}}}
		if code := c.Commit(c.opts.Journal, Identity{Group: "g", MemberID: m.id, InstanceID: "", Generation: m.gen}, ps); code != wire.None {
			t.Fatal(code)
		}
		if code := c.Delete(c.opts.Journal, "g"); code != wire.GroupNotEmpty {
			t.Errorf("delete with members: %v", code)
		}
		if code := c.DeleteOffsets(c.opts.Journal, "g", ps); code != wire.None || ps[0].Err != wire.GroupSubscribedToTopic || ps[1].Err != wire.None {
			t.Errorf("%v %+v", code, ps)
		}
		gone := []Position{{Topic: "t", Partition: 9, Err: wire.UnknownTopicOrPartition}}
		if code := c.DeleteOffsets(c.opts.Journal, "g", gone); code != wire.None || gone[0].Err != wire.UnknownTopicOrPartition {
			t.Errorf("of a partition that is not there: %v %+v", code, gone)
		}
		c.Leave("g", []Leaver{{MemberID: m.id}})
		if code := c.Delete(c.opts.Journal, "g"); code != wire.None {
			t.Errorf("delete: %v", code)
		}
		if code := c.Delete(c.opts.Journal, "g"); code != wire.GroupIDNotFound {
			t.Errorf("delete again: %v", code)
		}
		if d := c.Describe("g"); d.State != Dead {
			t.Errorf("%+v", d)
		}
		if n := len(j.changes); n != 4 || !j.changes[3].Delete {
			t.Errorf("journal: %+v", j.changes)
		}
	})
}

func TestOffsetsOfAnAbandonedGroupAreForgotten(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{OffsetRetention: time.Hour, SweepEvery: time.Minute, Journal: &memoryJournal{}})
		for _, topic := range []string{"a", "b"} {
			if code := c.Commit(c.opts.Journal, Identity{Group: "g", MemberID: "", InstanceID: "", Generation: -1}, []Position{{Topic: topic}}); code != wire.None {
				t.Fatal(code)
			}
		}
		c.ForgetTopic("b", [16]byte{1})
		if len(c.AllCommitted("g")) != 2 {
			t.Error("forgotten with another topic of that name")
		}
		c.ForgetTopic("b", [16]byte{})
		if got := c.AllCommitted("g"); len(got) != 1 || got[0].Topic != "a" {
			t.Errorf("after the topic's end: %+v", got)
		}
		time.Sleep(59 * time.Minute)
		if len(c.AllCommitted("g")) != 1 {
			t.Error("forgotten early")
		}
		time.Sleep(3 * time.Minute)
		if l := c.List(); len(l) != 0 {
			t.Errorf("%+v", l)
		}
	})
}

func TestACommitOnItsWayIsNotSweptAway(t *testing.T) {
	c := newCoordinator(t, Options{})
	commit := func(at int64) Change {
		return Change{Group: "g", Topic: "t", Offset: Offset{Offset: at}}
	}
	c.Restore(commit(1))
	g := c.groups["g"]
	g.commit.Lock() // a commit writes to the journal
	swept := make(chan struct{})
	go func() {
		c.remove(c.opts.Journal, g, func(_ string, _ int32, o Offset) bool { return o.Offset == 1 })
		close(swept)
	}()
	g.mu.Lock()
	g.apply(commit(2))
	g.mu.Unlock()
	g.commit.Unlock()
	<-swept
	if got := c.AllCommitted("g"); len(got) != 1 || got[0].Offset.Offset != 2 {
		t.Errorf("%+v", got)
	}
}

func TestClosingAnswersWhoeverWaits(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{InitialDelay: time.Second})
		m := &client{t: t, c: c}
		ch := m.startJoin(nil)
		c.Close()
		if r := <-ch; r.Err != wire.CoordinatorNotAvailable {
			t.Errorf("%+v", r)
		}
		if r := <-m.startJoin(nil); r.Err != wire.CoordinatorNotAvailable {
			t.Errorf("join after the end: %+v", r)
		}
	})
}

func TestOffsetsOfAllGroupsAreBoundedAndThoseThereGoOn(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		j := &memoryJournal{}
		c := newCoordinator(t, Options{MaxOffsetBytes: 10_000})
		commit := func(group string, partition int32, text string) wire.Code {
			at := []Position{{Topic: "t", Partition: partition, Offset: Offset{Offset: 1, Metadata: text}}}
			if code := c.Commit(j, Identity{Group: group, Generation: -1}, at); code != wire.None {
				return code
			}
			return at[0].Err
		}
		taken := int32(0)
		for commit("a", taken, "") == wire.None {
			taken++
		}
		if taken < 10 || taken > 40 {
			t.Errorf("%d offsets were taken", taken)
		}
		if code := commit("b", 0, ""); code != wire.InvalidCommitOffsetSize {
			t.Errorf("another group's: %v", code)
		}
		if code := commit("a", 0, ""); code != wire.None {
			t.Errorf("one that is there goes on: %v", code)
		}
		if code := commit("a", 0, strings.Repeat("x", 4000)); code != wire.InvalidCommitOffsetSize {
			t.Errorf("one that is there and grows: %v", code)
		}
		if code := c.Delete(j, "a"); code != wire.None {
			t.Fatal(code)
		}
		if n := c.offsetBytes.Load(); n != 0 {
			t.Errorf("%d bytes are counted for nothing", n)
		}
		if code := commit("b", 0, ""); code != wire.None {
			t.Errorf("another group's afterwards: %v", code)
		}
	})
}
