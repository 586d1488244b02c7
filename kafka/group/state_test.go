package group

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/kafka/wire"
)

var update = flag.Bool("update", false, "write testdata")

// shelf is a Keeper in memory that fails on demand.
type shelf struct {
	mu     sync.Mutex
	states map[string][]byte
	err    error
	block  chan struct{} // Keep waits for it; nil does not
}

func (s *shelf) Keep(group string, state []byte) error {
	if s.block != nil {
		<-s.block
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.states == nil {
		s.states = map[string][]byte{}
	}
	if s.states[group] = bytes.Clone(state); state == nil {
		delete(s.states, group)
	}
	return nil
}

// restarted is a coordinator over what the shelf holds, in place of another.
func (s *shelf) restarted(t *testing.T, old *Coordinator) *Coordinator {
	old.Close()
	c := newCoordinator(t, Options{Keeper: s})
	for name, state := range s.states {
		if err := c.RestoreGroup(name, state); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestMembersGoOnAfterARestartWhereTheyWere(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		s := &shelf{}
		c := newCoordinator(t, Options{Keeper: s, InitialDelay: 50 * time.Millisecond})
		ms := form(t, c, 3, func(i int, m *client) {
			if i == 2 {
				m.instance = "i"
			}
		})
		c = s.restarted(t, c)
		time.Sleep(9 * time.Second) // nearly a session timeout
		for _, m := range ms {
			m.c = c
			if code := m.beat(); code != wire.None {
				t.Errorf("heartbeat of %s: %v", m.id, code)
			}
			at := []Position{{Topic: "t", Offset: Offset{Offset: 5}}}
			if code := c.Commit(&memoryJournal{}, Identity{Group: "g", MemberID: m.id, InstanceID: m.instance, Generation: m.gen}, at); code != wire.None {
				t.Errorf("commit of %s: %v", m.id, code)
			}
			if r := <-m.startSync(nil); r.Err != wire.None || string(r.Assignment) != "for "+m.id {
				t.Errorf("assignment of %s: %+v", m.id, r)
			}
		}
		d := c.Describe("g")
		if d.State != Stable || d.Protocol != "range" || d.ProtocolType != "consumer" || len(d.Members) != 3 || d.Members[2].InstanceID != "i" || d.Members[0].ClientID != "c" {
			t.Errorf("%+v", d)
		}
		// The static member's next process takes its place.
		next := &client{t: t, c: c, instance: "i"}
		if r := next.took(<-next.startJoin(nil)); r.Generation != ms[2].gen {
			t.Errorf("a new generation %d", r.Generation)
		}
		// And again after another restart.
		c = s.restarted(t, c)
		next.c = c
		if code := next.beat(); code != wire.None {
			t.Errorf("heartbeat of the next process: %v", code)
		}
		// Who does not come back is gone when its session has ended.
		ms[0].c = c
		for range 3 {
			time.Sleep(5 * time.Second)
			next.beat()
		}
		if code := next.beat(); code != wire.RebalanceInProgress {
			t.Errorf("%v after two members were silent for their session timeouts", code)
		}
	})
}

func TestAnEmptyGroupKeepsItsKindAcrossARestart(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		s := &shelf{}
		c := newCoordinator(t, Options{Keeper: s})
		m := form(t, c, 1, nil)[0]
		_ = c.Commit(&memoryJournal{}, Identity{Group: "g", MemberID: m.id, Generation: m.gen}, []Position{{Topic: "t"}})
		_ = c.Leave("g", []Leaver{{MemberID: m.id}})
		time.Sleep(time.Hour)
		c = s.restarted(t, c)
		if l := c.List(); len(l) != 1 || l[0] != (Listed{"g", "consumer", Empty, Classic, 0}) {
			t.Errorf("%+v", l)
		}
		if since := lookAt(t, c, func(g *group) time.Time { return g.since }); time.Since(since) < time.Hour-time.Second {
			t.Errorf("empty since %v", since)
		}
		m.id, m.c = "", c
		if r := m.took(<-m.startJoin(nil)); r.Generation <= 1 {
			t.Errorf("generation %d comes again", r.Generation)
		}
	})
}

func TestADeletedGroupStaysDeleted(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		s := &shelf{}
		c := newCoordinator(t, Options{Keeper: s})
		m := form(t, c, 1, nil)[0]
		_ = c.Leave("g", []Leaver{{MemberID: m.id}})
		if len(s.states) != 1 {
			t.Fatal("nothing was kept")
		}
		s.err = errors.New("the disk is full")
		if code := c.Delete(&memoryJournal{}, "g"); code == wire.None {
			t.Error("deleted, though that could not be kept")
		}
		s.err = nil
		c = s.restarted(t, c)
		if code := c.Delete(&memoryJournal{}, "g"); code != wire.None {
			t.Error(code)
		}
		if len(s.states) != 0 {
			t.Errorf("%d groups are kept", len(s.states))
		}
	})
}

func TestNobodyHearsOfAGenerationBeforeItIsKept(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		s := &shelf{block: make(chan struct{})}
		c := newCoordinator(t, Options{Keeper: s, InitialDelay: 50 * time.Millisecond})
		one, two := &client{t: t, c: c}, &client{t: t, c: c}
		a, b := one.startJoin(nil), two.startJoin(nil)
		one.took(<-a)
		two.took(<-b)
		follower := two.startSync(nil)
		leader := make(chan SyncReply, 1)
		go c.Sync(SyncRequest{Group: "g", MemberID: one.id, Generation: one.gen}, func(r SyncReply) { leader <- r })
		waiting(t, follower, "the follower")
		waiting(t, leader, "the leader")
		if code := two.beat(); code != wire.None {
			t.Errorf("a heartbeat meanwhile: %v", code)
		}
		close(s.block)
		if r := <-leader; r.Err != wire.None {
			t.Error(r.Err)
		}
		if r := <-follower; r.Err != wire.None {
			t.Error(r.Err)
		}
	})
}

func TestAGenerationThatCannotBeKeptIsBroughtAgain(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		s := &shelf{err: errors.New("the disk is full")}
		c := newCoordinator(t, Options{Keeper: s})
		m := &client{t: t, c: c}
		m.took(<-m.startJoin(nil))
		if r := <-m.startSync(map[string][]byte{m.id: []byte("x")}); r.Err != wire.CoordinatorNotAvailable {
			t.Errorf("%v", r.Err)
		}
		s.err = nil
		if r := <-m.startSync(map[string][]byte{m.id: []byte("x")}); r.Err != wire.None || string(r.Assignment) != "x" {
			t.Errorf("%+v", r)
		}
	})
}

func TestARebalanceThatOvertakesTheKeepingWins(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		s := &shelf{block: make(chan struct{})}
		c := newCoordinator(t, Options{Keeper: s})
		m := &client{t: t, c: c}
		m.took(<-m.startJoin(nil))
		leader := make(chan SyncReply, 1)
		go c.Sync(SyncRequest{Group: "g", MemberID: m.id, Generation: m.gen}, func(r SyncReply) { leader <- r })
		synctest.Wait()
		other := &client{t: t, c: c}
		ch := other.startJoin(nil)
		close(s.block)
		if r := <-leader; r.Err != wire.RebalanceInProgress {
			t.Errorf("%v", r.Err)
		}
		m.took(<-m.startJoin(nil))
		other.took(<-ch)
	})
}

func TestALargeGroupIsNotKept(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		s := &shelf{}
		c := newCoordinator(t, Options{Keeper: s})
		m := &client{t: t, c: c}
		m.took(<-m.startJoin(nil))
		if r := <-m.startSync(map[string][]byte{m.id: make([]byte, maxStateBytes)}); r.Err != wire.None {
			t.Error(r.Err)
		}
		if len(s.states) != 0 {
			t.Error("kept")
		}
	})
}

// sampleGroup has one of everything.
func sampleGroup(c *Coordinator) *group {
	g := newGroup("g", c)
	g.generation, g.since, g.protocolType, g.protocol, g.leader = 7, time.UnixMilli(0x1122334455), "consumer", "range", "m1"
	g.members = append(g.members, []*member{
		{id: "m1", clientID: "c1", clientHost: "/10.0.0.1", session: 10 * time.Second, rebalance: time.Minute,
			protocols: []Protocol{{"range", []byte{0, 1}}, {"sticky", nil}}, assignment: []byte("a1")},
		{id: "m2", instance: "i", clientID: "c2", clientHost: "/::1", session: 6 * time.Second, rebalance: 300 * time.Second,
			protocols: []Protocol{{"range", []byte("topics")}}},
	}...)
	return g
}

func TestAGroupIsKeptAsDrawn(t *testing.T) {
	const name = "testdata/state-1.hex"
	got := sampleGroup(New(Options{})).appendState(nil)
	if *update {
		if err := os.WriteFile(name, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("encoded as %x, want %x (%v)", got, want, err)
	}
	k, err := parseState(want)
	if err != nil {
		t.Fatal(err)
	}
	if k.generation != 7 || k.since.UnixMilli() != 0x1122334455 || k.protocolType != "consumer" || k.protocol != "range" || k.leader != "m1" || len(k.members) != 2 {
		t.Errorf("%+v", k)
	}
	m := k.members[1]
	if m.MemberID != "m2" || m.InstanceID != "i" || m.SessionTimeout != 6*time.Second || m.RebalanceTimeout != 300*time.Second || string(m.Protocols[0].Metadata) != "topics" || len(m.assignment) != 0 {
		t.Errorf("%+v", m)
	}
}

func TestDamagedStatesAreRefused(t *testing.T) {
	good := sampleGroup(New(Options{})).appendState(nil)
	for n := range good {
		if _, err := parseState(good[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were taken", n, len(good))
		}
	}
	if _, err := parseState(append([]byte{2}, good[1:]...)); !errors.Is(err, errStateVersion) {
		t.Errorf("a newer version: %v", err)
	}
	if _, err := parseState(append(bytes.Clone(good), 0)); !errors.Is(err, errStateRecord) {
		t.Errorf("a byte too many: %v", err)
	}
	c := newCoordinator(t, Options{})
	for name, edit := range map[string]func(g *group){
		"a leader that is no member":    func(g *group) { g.leader = "m3" },
		"a protocol that not all know":  func(g *group) { g.protocol = "sticky" },
		"a member twice":                func(g *group) { g.members[1].id = "m1" },
		"a session that is not allowed": func(g *group) { g.members[1].session = time.Millisecond },
	} {
		g := sampleGroup(c)
		edit(g)
		if err := c.RestoreGroup(name, g.appendState(nil)); err == nil {
			t.Errorf("%s was taken", name)
		}
		if d := c.Describe(name); d.State != Empty || len(d.Members) != 0 {
			t.Errorf("%s left %+v", name, d)
		}
	}
}

func FuzzState(f *testing.F) {
	f.Add(sampleGroup(New(Options{})).appendState(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := New(Options{})
		defer c.Close()
		if c.RestoreGroup("g", b) != nil {
			return
		}
		g := c.lock("g")
		again := g.appendState(nil)
		g.mu.Unlock()
		other := New(Options{})
		defer other.Close()
		if err := other.RestoreGroup("g", again); err != nil {
			t.Fatalf("what was restored is not taken again: %v", err)
		}
	})
}

func FuzzGroupSettings(f *testing.F) {
	f.Add(appendSettings(map[string]string{"share.auto.offset.reset": "by_duration:P1DT2H3M4.5S", "share.record.lock.duration.ms": "20000"}))
	f.Add([]byte{settingsVersion, 1, 1, 'x', 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		values, err := parseSettings(b)
		if err != nil {
			return
		}
		c := New(Options{})
		defer c.Close()
		c.set("g", values)
		again, err := parseSettings(appendSettings(values))
		if len(values) > 0 && (err != nil || !maps.Equal(values, again)) {
			t.Fatalf("%v became %v (%v)", values, again, err)
		}
	})
}

func TestPlacesToBeginAtAreUnderstoodAsKafkaDoes(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"by_duration:PT1H": time.Hour, "by_duration:P1DT2H3M4.5S": 26*time.Hour + 3*time.Minute + 4500*time.Millisecond, "by_duration:pt30m": 30 * time.Minute,
		"by_duration:P2D": 48 * time.Hour, "by_duration:PT0S": 1, "by_duration:-PT-5S": 5 * time.Second,
		"by_duration:PT1,5S": 1500 * time.Millisecond,
		"by_duration:P":      0, "by_duration:PT": 0, "by_duration:P1DT": 0, "by_duration:p1dt": 0, "by_duration:-P": 0, "by_duration:": 0, "by_duration:5s": 0, "by_duration:-PT1S": 0, "by_duration:PT1.5M": 0, "latest ": 0, "": 0,
	} {
		r, err := parseReset(value)
		if (err == nil) != (want != 0) || r.Since != want {
			t.Errorf("%q: %v (%v), want %v", value, r.Since, err, want)
		}
	}
}

// What is kept of settings is there after a restart, and only where it differs from the default.
func TestSettingsOfAGroupSurviveARestart(t *testing.T) {
	shelf := &settingsShelf{}
	c := New(Options{Keeper: shelf})
	defer c.Close()
	lock, none := "20000", "x"
	if err := c.AlterSettings("g", map[string]*string{"share.record.lock.duration.ms": &lock}, true); err != nil || c.Settings("g").ShareLock != 30*time.Second {
		t.Errorf("only validated: %v, %v", c.Settings("g").ShareLock, err)
	}
	if err := c.AlterSettings("g", map[string]*string{"share.record.lock.duration.ms": &lock}, false); err != nil {
		t.Fatal(err)
	}
	if err := c.AlterSettings("g", map[string]*string{"share.record.lock.duration.ms": nil, "share.delivery.count.limit": &none}, false); err == nil || c.Settings("g").ShareLock != 20*time.Second {
		t.Errorf("half of a change was made: %v, %v", c.Settings("g").ShareLock, err)
	}
	d := New(Options{})
	defer d.Close()
	if err := d.RestoreSettings("g", shelf.kept); err != nil || d.Settings("g").ShareLock != 20*time.Second || d.Settings("h").ShareLock != 30*time.Second {
		t.Errorf("%v, %v", d.Settings("g").ShareLock, err)
	}
	if err := c.AlterSettings("g", map[string]*string{"share.record.lock.duration.ms": nil}, false); err != nil || shelf.kept != nil || c.Settings("g").ShareLock != 30*time.Second {
		t.Errorf("taken back: %v, %v, %v", err, shelf.kept, c.Settings("g").ShareLock)
	}
	shelf.fails = true
	if err := c.AlterSettings("g", map[string]*string{"share.record.lock.duration.ms": &lock}, false); !errors.Is(err, ErrSettingsKept) || c.Settings("g").ShareLock != 30*time.Second {
		t.Errorf("what could not be written holds: %v, %v", err, c.Settings("g").ShareLock)
	}
}

type settingsShelf struct {
	kept  []byte
	fails bool
}

func (s *settingsShelf) Keep(string, []byte) error { return nil }

func (s *settingsShelf) KeepSettings(_ string, b []byte) error {
	if s.fails {
		return errors.New("disk")
	}
	s.kept = b
	return nil
}
