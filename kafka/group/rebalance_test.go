package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// lookAt reads a group under its lock.
func lookAt[T any](t *testing.T, c *Coordinator, read func(g *group) T) T {
	t.Helper()
	g := c.lock("g")
	if g == nil {
		t.Fatal("the group is gone")
	}
	defer g.mu.Unlock()
	return read(g)
}

func TestChoosingAProtocolIsLinear(t *testing.T) {
	const members, protocols = 1500, 100
	began := time.Now()
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{InitialDelay: time.Second})
		var joins []chan JoinReply
		for i := range members {
			m := &client{t: t, c: c}
			joins = append(joins, m.startJoin(func(r *JoinRequest) {
				r.Protocols = nil
				for p := range protocols - 1 {
					r.Protocols = append(r.Protocols, Protocol{Name: fmt.Sprintf("%d's %d", i, p)})
				}
				r.Protocols = append(r.Protocols, Protocol{Name: "common"})
			}))
		}
		for _, ch := range joins {
			if r := <-ch; r.Protocol != "common" {
				t.Fatalf("%+v", r.Err)
			}
		}
	})
	if took := time.Since(began); took > time.Minute { // it takes a fifth of a second, and twenty times that on a busy machine
		t.Errorf("%d members with %d protocols took %v", members, protocols, took)
	}
}

func TestWhoKnowsAProtocolIsCountedRight(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		dice := rand.New(rand.NewPCG(7, 7))
		names := []string{"a", "b", "c", "d"}
		var ids []string
		for range 400 {
			m := &client{t: t, c: c}
			if len(ids) > 0 && dice.IntN(3) > 0 {
				m.id = ids[dice.IntN(len(ids))]
			}
			ch := m.startJoin(func(r *JoinRequest) {
				r.Protocols = []Protocol{{Name: "all"}}
				for range dice.IntN(5) {
					r.Protocols = append(r.Protocols, Protocol{Name: names[dice.IntN(len(names))]})
				}
			})
			time.Sleep(time.Duration(dice.IntN(3000)) * time.Millisecond)
			select {
			case r := <-ch:
				ids = append(ids, r.MemberID)
			default:
			}
			g := c.lock("g")
			if g == nil {
				continue // all sessions have ended
			}
			want, joined := map[string]int{}, 0
			for _, x := range g.members {
				for _, p := range x.protocols {
					want[p.Name]++
				}
				if x.join != nil {
					joined++
				}
			}
			if fmt.Sprint(want) != fmt.Sprint(g.knowing) || joined != g.joined {
				t.Errorf("counted %v and %d joined, there are %v and %d", g.knowing, g.joined, want, joined)
			}
			g.mu.Unlock()
		}
	})
}

func TestABusyGroupKeepsNoOtherWaiting(t *testing.T) {
	c := newCoordinator(t, Options{})
	busy, _ := c.lockOrMake("busy")
	defer busy.mu.Unlock()
	go c.Heartbeat(Identity{Group: "busy"}) // waits for the group's lock
	go c.List()
	time.Sleep(10 * time.Millisecond)
	done := make(chan struct{})
	go func() {
		defer close(done)
		m := &client{t: t, c: c}
		<-m.startJoin(func(r *JoinRequest) { r.Group = "other" })
		c.Commit(nil, Identity{Group: "third", Generation: -1}, nil)
		c.Describe("other")
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("others wait for a group that is busy")
	}
}

func TestARebalanceThatNobodyJoinsCostsNothing(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		short := func(r *JoinRequest) { r.RebalanceTimeout = time.Millisecond }
		static := &client{t: t, c: c, instance: "i"}
		static.took(<-static.startJoin(short))
		settle([]*client{static})
		guest := &client{t: t, c: c}
		ch := guest.startJoin(short)
		synctest.Wait()
		time.Sleep(time.Second) // the rebalance is over without the static member
		guest.took(<-ch)
		if code := c.Leave("g", []Leaver{{MemberID: guest.id}}); code != wire.None {
			t.Fatal(code)
		}
		before := lookAt(t, c, func(g *group) int { return g.round })
		time.Sleep(5 * time.Second)
		if n := lookAt(t, c, func(g *group) int { return g.round }) - before; n > 5 {
			t.Errorf("%d timers in five seconds, for a member that is not there", n)
		}
		back := &client{t: t, c: c, instance: "i"}
		r := <-back.startJoin(short)
		if r.Err != wire.None || r.Leader != r.MemberID {
			t.Errorf("who comes back then gets %+v", r)
		}
	})
}

func TestWhoJoinsAStalledRebalanceWaitsNoLongerThanForItsTime(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		one, two := &client{t: t, c: c, instance: "1"}, &client{t: t, c: c, instance: "2"}
		ms := []*client{one, two}
		patient := func(r *JoinRequest) { r.SessionTimeout = 30 * time.Minute }
		a, b := one.startJoin(patient), two.startJoin(patient)
		one.took(<-a)
		two.took(<-b)
		settle(ms)
		long := func(r *JoinRequest) { r.SessionTimeout, r.RebalanceTimeout = 10*time.Minute, 10*time.Second }
		guest := &client{t: t, c: c}
		ch := guest.startJoin(long)
		time.Sleep(2 * time.Minute) // the static members stay, and do not join again
		guest.took(<-ch)
		_ = c.Leave("g", []Leaver{{MemberID: guest.id}})
		time.Sleep(2 * time.Minute)
		if stalled := lookAt(t, c, func(g *group) bool { return g.stalled }); !stalled {
			t.Fatal("not stalled")
		}
		began := time.Now()
		back := &client{t: t, c: c, id: one.id, instance: "1"}
		if r := back.took(<-back.startJoin(patient)); r.Leader != one.id {
			t.Errorf("%s leads", r.Leader)
		}
		if waited := time.Since(began); waited > 70*time.Second {
			t.Errorf("waited %v", waited)
		}
	})
}

func TestAMemberThatNeverSyncsIsDroppedAndTheOthersRebalance(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{InitialDelay: 50 * time.Millisecond})
		leader, silent := &client{t: t, c: c}, &client{t: t, c: c}
		a, b := leader.startJoin(nil), silent.startJoin(nil)
		leader.took(<-a)
		silent.took(<-b)
		if r := <-leader.startSync(nil); r.Err != wire.None {
			t.Fatal(r.Err)
		}
		for range 13 { // longer than the rebalance timeout; both are alive
			time.Sleep(5 * time.Second)
			leader.beat()
			silent.beat()
		}
		if code := silent.beat(); code != wire.UnknownMemberID {
			t.Errorf("the member that never asked for its assignment hears %v", code)
		}
		if code := leader.beat(); code != wire.RebalanceInProgress {
			t.Errorf("the other hears %v", code)
		}
	})
}

func TestWhoseClientIsGoneIsWaitedForAsItDeserves(t *testing.T) {
	for _, c := range []struct {
		name     string
		instance string
		known    bool // was in a generation before
		want     int  // members right after
	}{
		{"a member that never learnt its id", "", false, 1},
		{"a static member", "i", false, 2},
		{"a member of the last generation", "", true, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				co := newCoordinator(t, Options{InitialDelay: 50 * time.Millisecond})
				stays, leaves := &client{t: t, c: co}, &client{t: t, c: co, instance: c.instance}
				if c.known {
					a, b := stays.startJoin(nil), leaves.startJoin(nil)
					stays.took(<-a)
					leaves.took(<-b)
					settle([]*client{stays, leaves})
				} else {
					stays.took(<-stays.startJoin(nil))
					settle([]*client{stays})
				}
				answered := false
				r := leaves.joinRequest()
				r.Protocols[0].Metadata = []byte("changed")
				parked := co.Join(r, func(JoinReply) { answered = true })
				if parked == nil {
					t.Fatal("the join did not wait")
				}
				parked.Abandon()
				parked.Abandon()
				if n := len(co.Describe("g").Members); n != c.want {
					t.Errorf("%d members, want %d", n, c.want)
				}
				stays.took(<-stays.startJoin(nil)) // at the latest when the rebalance's time is up
				time.Sleep(11 * time.Second)
				if answered {
					t.Error("a call that was taken back was answered")
				}
			})
		})
	}
	t.Run("a sync", func(t *testing.T) {
		fakeclock.Test(t, func(t *testing.T) {
			co := newCoordinator(t, Options{InitialDelay: 50 * time.Millisecond})
			one, two := &client{t: t, c: co}, &client{t: t, c: co}
			a, b := one.startJoin(nil), two.startJoin(nil)
			one.took(<-a)
			two.took(<-b)
			parked := co.Sync(SyncRequest{Group: "g", MemberID: two.id, Generation: two.gen}, func(SyncReply) { t.Error("answered") })
			parked.Abandon()
			if r := <-one.startSync(nil); r.Err != wire.None {
				t.Error(r.Err)
			}
			if r := <-two.startSync(nil); r.Err != wire.None {
				t.Errorf("who comes back gets %v", r.Err)
			}
		})
	})
}

func TestACommitDuringTheHandOverIsRefused(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		m := &client{t: t, c: c}
		m.took(<-m.startJoin(nil))
		at := []Position{{Topic: "t", Offset: Offset{Offset: 5}}}
		if code := c.Commit(&memoryJournal{}, Identity{Group: "g", MemberID: m.id, Generation: m.gen}, at); code != wire.RebalanceInProgress {
			t.Errorf("%v between the join and the assignment", code)
		}
		settle([]*client{m})
		if code := c.Commit(&memoryJournal{}, Identity{Group: "g", MemberID: m.id, Generation: m.gen}, at); code != wire.None {
			t.Errorf("%v after it", code)
		}
	})
}

// purse is a Memory with a limit.
type purse struct {
	mu          sync.Mutex
	used, limit int64
}

func (p *purse) Try(n int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used+n > p.limit {
		return fmt.Errorf("%d of %d bytes are used", p.used, p.limit)
	}
	p.used += n
	return nil
}

func (p *purse) Give(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= n
}

func (p *purse) held() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

func TestWhatMembersSayIsCounted(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		p := &purse{limit: 100 << 10}
		c := newCoordinator(t, Options{Memory: p})
		large := func(r *JoinRequest) { r.Protocols[0].Metadata = make([]byte, 40<<10) }
		one := &client{t: t, c: c, instance: "1"}
		one.took(<-one.startJoin(large))
		settle([]*client{one})
		if p.held() < 40<<10 || p.held() > 44<<10 {
			t.Errorf("%d bytes are counted", p.held())
		}
		huge := (&client{t: t, c: c}).startJoin(func(r *JoinRequest) { r.Protocols[0].Metadata = make([]byte, 80<<10) })
		if r := <-huge; r.Err != wire.GroupMaxSizeReached {
			t.Errorf("a member too large: %v", r.Err)
		}
		// The same static member again and again takes its place, not more.
		for range 10 {
			again := &client{t: t, c: c, instance: "1"}
			if r := <-again.startJoin(large); r.Err != wire.None {
				t.Fatal(r.Err)
			}
		}
		if p.held() > 44<<10 {
			t.Errorf("%d bytes are counted for one member", p.held())
		}
		time.Sleep(time.Minute) // its session ends
		synctest.Wait()
		if p.held() != groupBytes+1 { // the group is there still, and its name
			t.Errorf("%d bytes are counted for nobody", p.held())
		}
	})
}

func TestAssignmentsAreCounted(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		p := &purse{limit: 50 << 10}
		c := newCoordinator(t, Options{Memory: p})
		m := &client{t: t, c: c}
		m.took(<-m.startJoin(nil))
		if r := <-m.startSync(map[string][]byte{m.id: make([]byte, 60<<10)}); r.Err == wire.None {
			t.Error("more than there is was taken")
		}
		if r := <-m.startSync(map[string][]byte{m.id: make([]byte, 20<<10)}); r.Err != wire.None || len(r.Assignment) != 20<<10 {
			t.Fatalf("%v", r.Err)
		}
		if p.held() < 20<<10 {
			t.Errorf("%d bytes are counted", p.held())
		}
		other := &client{t: t, c: c}
		ch := other.startJoin(nil)
		if p.held() > 10<<10 {
			t.Errorf("%d bytes are counted once the generation is over", p.held())
		}
		_ = c.Leave("g", []Leaver{{MemberID: m.id}})
		m.id = other.took(<-ch).MemberID
		_ = c.Leave("g", []Leaver{{MemberID: m.id}})
		if p.held() != groupBytes+1 { // the group is there still, and its name
			t.Errorf("%d bytes are counted for nobody", p.held())
		}
	})
}

// busy has no memory for as long as others hold it.
type busy struct{ *purse }

func (b busy) Try(n int64) error {
	if err := b.purse.Try(n); err != nil {
		return fmt.Errorf("%w: %w", ErrLater, err)
	}
	return nil
}

// Clients end at the code for what never fits, and come again when others hold the memory.
func TestMembersComeAgainWhenOthersHoldTheMemory(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		p := &purse{}
		c := newCoordinator(t, Options{Memory: busy{p}})
		m := &client{t: t, c: c}
		for _, known := range []bool{true, false} {
			if r := <-m.startJoin(func(r *JoinRequest) { r.MustKnowID = known }); r.Err != wire.CoordinatorLoadInProgress {
				t.Errorf("a join: %v", r.Err)
			}
		}
		p.limit = 10 << 10
		m.took(<-m.startJoin(nil))
		assigned := map[string][]byte{m.id: make([]byte, 20<<10)}
		if r := <-m.startSync(assigned); r.Err != wire.CoordinatorNotAvailable {
			t.Errorf("a sync: %v", r.Err)
		}
		p.limit = 100 << 10
		if r := <-m.startSync(assigned); r.Err != wire.None {
			t.Errorf("the next sync: %v", r.Err)
		}
	})
}

// A virtual host that goes gives back what the settings of its groups took, and nothing that was there and found no room.
func TestTheMemoryOfSettingsIsGivenBackOnce(t *testing.T) {
	p := &purse{limit: 64 << 10}
	six := "6000"
	change := map[string]*string{"consumer.heartbeat.interval.ms": &six}
	for range 2 {
		c := newCoordinator(t, Options{Memory: p})
		p.limit = 64 << 10
		if err := c.AlterSettings("g", change, false); err != nil || p.held() == 0 {
			t.Fatal(err, p.held())
		}
		p.limit = 0
		if err := c.RestoreSettings("restored", appendSettings(map[string]string{"consumer.heartbeat.interval.ms": six})); err != nil {
			t.Fatal(err)
		}
		if err := c.AlterSettings("restored", map[string]*string{"consumer.heartbeat.interval.ms": nil}, false); err != nil {
			t.Fatal(err)
		}
		c.Close()
		p.limit = 64 << 10
		if err := c.AlterSettings("late", change, false); err == nil || p.held() != 0 {
			t.Errorf("%v, %d bytes are counted for what is closed", err, p.held())
		}
		c.Close()
		if p.held() != 0 {
			t.Errorf("%d bytes when it is closed once more", p.held())
		}
	}
}

func TestGroupsAndTheirSettingsAreCounted(t *testing.T) {
	p := &purse{limit: 64 << 10}
	c := newCoordinator(t, Options{Memory: p})
	long := strings.Repeat("g", 20<<10)
	var last error
	interval := func(value *string) map[string]*string {
		return map[string]*string{"consumer.heartbeat.interval.ms": value}
	}
	six := "6000"
	if err := c.AlterSettings(long, interval(&six), false); err != nil {
		t.Fatal(err)
	}
	one := p.held()
	if one < 20<<10 {
		t.Errorf("%d bytes are counted for settings", one)
	}
	if last = c.AlterSettings(long+"2", interval(&six), false); last == nil {
		t.Error("settings of any number of groups are kept")
	}
	if err := c.AlterSettings(long, interval(&six), false); err != nil || p.held() != one {
		t.Errorf("the same once more: %v, %d bytes of %d", err, p.held(), one)
	}
	if err := c.AlterSettings(long, interval(nil), false); err != nil || p.held() != 0 {
		t.Errorf("taken away: %v, %d bytes", err, p.held())
	}
	share := func(id string) wire.Code {
		_, code := c.ChangeShareTopics(id, []TopicID{{1}}, false)
		return code
	}
	codes := []wire.Code{share(long), share(long + "2"), share(long + "3"), share(long + "4")}
	if want := []wire.Code{0, 0, 0, wire.GroupMaxSizeReached}; !slices.Equal(codes, want) {
		t.Errorf("share groups that nobody is in: %v, want %v", codes, want)
	}
	for _, id := range []string{long, long + "2", long + "3"} {
		if code := c.Delete(nil, id); code != wire.None {
			t.Error(code)
		}
	}
	if p.held() != 0 {
		t.Errorf("%d bytes are counted for groups that are gone", p.held())
	}
}

func TestPromisedIDsAreCounted(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		p := &purse{limit: 10*promiseBytes + groupBytes + 1}
		c := newCoordinator(t, Options{Memory: p})
		ask := func(id string) JoinReply {
			m := &client{t: t, c: c, id: id}
			return <-m.startJoin(func(r *JoinRequest) { r.MustKnowID = true })
		}
		var ids []string
		for range 10 {
			ids = append(ids, ask("").MemberID)
		}
		if r := ask(""); r.Err != wire.GroupMaxSizeReached {
			t.Errorf("one more: %v", r.Err)
		}
		for _, id := range ids[:4] {
			_ = c.Leave("g", []Leaver{{MemberID: id}})
		}
		if p.held() != 6*promiseBytes+groupBytes+1 {
			t.Errorf("%d bytes after four were given back", p.held())
		}
		if r := ask(ids[5]); r.Err != wire.None {
			t.Error(r.Err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if p.held() != 0 {
			t.Errorf("%d bytes for ids that nobody brought", p.held())
		}
	})
}

func TestATimeoutOfAMillisecondIsTakenForOneThatCanBeKept(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{})
		m := &client{t: t, c: c}
		m.took(<-m.startJoin(func(r *JoinRequest) { r.RebalanceTimeout = time.Millisecond }))
		time.Sleep(minRebalance / 2)
		if r := <-m.startSync(nil); r.Err != wire.None {
			t.Errorf("dropped after %v: %v", minRebalance/2, r.Err)
		}
	})
}

func TestAProtocolThatAMemberNamesTwiceCountsOnce(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		c := newCoordinator(t, Options{InitialDelay: 50 * time.Millisecond})
		one, two := &client{t: t, c: c}, &client{t: t, c: c}
		a := one.startJoin(func(r *JoinRequest) { r.Protocols = []Protocol{{Name: "a"}, {Name: "a"}, {Name: "b"}} })
		two.startJoin(func(r *JoinRequest) { r.Protocols = []Protocol{{Name: "b"}} })
		if r := <-a; r.Protocol != "b" {
			t.Errorf("%q was chosen", r.Protocol)
		}
	})
}
