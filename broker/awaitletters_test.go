package broker

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/store"
)

// holdLetters keeps undertakers from coming until release is called.
func (r *rig) holdLetters() (release func()) {
	u := &r.undertakers
	u.mu.Lock()
	defer u.mu.Unlock()
	u.crew.working = maxUndertakers
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.crew.working = 1
		go u.work()
	}
}

// looks are the questions that a dead letter under way decides, and what they say to three of them
// and to none.
var looks = map[string]struct {
	ask       func(r *rig) (int64, error)
	yes, none int64
}{
	"get": {func(r *rig) (int64, error) {
		g, err := r.s.Get("dead", true)
		if g == nil {
			return 0, err
		}
		return g.Remaining + 1, err
	}, 3, 0},
	"count": {func(r *rig) (int64, error) {
		q, err := r.s.LookAt("dead")
		if err != nil {
			return 0, err
		}
		return r.s.Count(q)
	}, 3, 0},
	"purge": {func(r *rig) (int64, error) { return r.s.Purge("dead") }, 3, 0},
	"delete if empty": {func(r *rig) (int64, error) {
		_, err := r.s.DeleteQueue("dead", false, true)
		if KindOf(err) == Precondition {
			return 1, nil
		}
		return 0, err
	}, 1, 0},
}

// look asks on a goroutine of its own, and says what came of it: -1 as long as nothing did.
func (r *rig) look(name string) func() int64 {
	var got atomic.Int64
	got.Store(-1)
	go func() {
		n, err := looks[name].ask(r)
		if err != nil {
			r.t.Error(err)
		}
		got.Store(n)
	}()
	return func() int64 {
		synctest.Wait()
		return got.Load()
	}
}

// waysToDead lead dead letters of the queue q to the queue dead.
var waysToDead = map[string]func(r *rig){
	"named by the default exchange": func(r *rig) { r.dying("q", "dead") },
	"by its own key": func(r *rig) {
		r.dying("q", "", argDeadLetterExchange, "")
		r.exchange("in", "fanout")
		r.bind("in", "q", "")
	},
	"bound": func(r *rig) {
		r.exchange("dlx", "direct")
		r.bind("dlx", "dead", "dead")
		r.dying("q", "", argDeadLetterExchange, "dlx", argDeadLetterKey, "dead")
	},
	"bound behind another exchange": func(r *rig) {
		r.exchange("dlx", "direct")
		r.exchange("next", "fanout")
		r.bind("next", "dead", "")
		if err := r.s.Bind(Binding{Source: "dlx", Dest: "next", ToExchange: true, Key: "dead"}); err != nil {
			r.t.Fatal(err)
		}
		r.dying("q", "", argDeadLetterExchange, "dlx", argDeadLetterKey, "dead")
	},
	"bound to the alternate exchange": func(r *rig) {
		r.exchange("next", "fanout")
		r.bind("next", "dead", "")
		if _, err := r.s.DeclareExchange("dlx", ExchangeOptions{Type: "direct", Args: arguments(argAlternate, "next")}); err != nil {
			r.t.Fatal(err)
		}
		r.dying("q", "", argDeadLetterExchange, "dlx")
	},
	"bound to the alternate exchange of a policy": func(r *rig) {
		r.exchange("next", "fanout")
		r.bind("next", "dead", "")
		r.exchange("dlx", "direct")
		r.policy("p", "dlx", `{"alternate-exchange":"next"}`)
		r.dying("q", "", argDeadLetterExchange, "dlx")
	},
}

// rejectThree puts three messages into q, by the key dead, and rejects them.
func (r *rig) rejectThree() {
	r.t.Helper()
	p := r.s.NewPublisher()
	in := Inbound{Key: []byte("q"), Properties: field.NoProperties, Body: []byte("m"), TimestampMs: time.Now().UnixMilli()}
	if _, there := r.v.exchanges.Load("in"); there {
		in.Exchange, in.Key = []byte("in"), []byte("dead")
	}
	for range 3 {
		if routed, err := p.Publish(&in); err != nil || !routed {
			r.t.Fatal(routed, err)
		}
	}
	flush(r.t, p)
	r.reject("q", 3)
}

// TestALookRightBehindARejectionSeesTheDeadLetter, however it comes there: it waits for it.
func TestALookRightBehindARejectionSeesTheDeadLetter(t *testing.T) {
	for way, lead := range waysToDead {
		for name, l := range looks {
			t.Run(way+", "+name, func(t *testing.T) {
				bubble(t, func(t *testing.T, r *rig) {
					r.queue("dead", QueueOptions{Durable: true})
					lead(r)
					release := r.holdLetters()
					r.rejectThree()
					got := r.look(name)
					if n := got(); n >= 0 {
						t.Errorf("it says %d before the copy", n)
					}
					began := time.Now()
					release()
					if n := got(); n != l.yes || time.Since(began) != 0 {
						t.Errorf("it says %d after %v, want %d", n, time.Since(began), l.yes)
					}
				})
			})
		}
	}
}

// TestALookWaitsForNoOtherDeadLetters than those that may come to the queue.
func TestALookWaitsForNoOtherDeadLetters(t *testing.T) {
	for way, lead := range map[string]func(r *rig){
		"by another key of the default exchange": func(r *rig) { r.dying("q", "other") },
		"by another exchange": func(r *rig) {
			r.exchange("dlx", "fanout")
			r.exchange("next", "fanout")
			r.bind("next", "dead", "")
			r.bind("dlx", "other", "")
			r.dying("q", "", argDeadLetterExchange, "dlx")
		},
		"by an exchange that is not there": func(r *rig) { r.dying("q", "", argDeadLetterExchange, "none") },
	} {
		for name, l := range looks {
			t.Run(way+", "+name, func(t *testing.T) {
				bubble(t, func(t *testing.T, r *rig) {
					r.queue("dead", QueueOptions{Durable: true})
					r.queue("other", QueueOptions{Durable: true})
					lead(r)
					release := r.holdLetters()
					r.rejectThree()
					if n := r.look(name)(); n != l.none {
						t.Errorf("it says %d, want %d", n, l.none)
					}
					release()
				})
			})
		}
	}
}

// TestALookWaitsForDeadLettersForAWhile, and is given up with its session.
func TestALookWaitsForDeadLettersForAWhile(t *testing.T) {
	for name, l := range looks {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.queue("dead", QueueOptions{Durable: true})
				r.dying("q", "dead")
				release := r.holdLetters()
				defer release()
				r.rejectThree()
				got := r.look(name)
				time.Sleep(lettersPatience - time.Millisecond)
				if n := got(); n >= 0 {
					t.Errorf("it says %d too early", n)
				}
				time.Sleep(time.Millisecond)
				if n := got(); n != l.none {
					t.Errorf("it says %d, want %d", n, l.none)
				}
			})
		})
	}
}

// TestALookThatIsGivenUpWaitsForNoDeadLetters: by its session, by the broker, or when they do
// not come for a while.
func TestALookThatIsGivenUpWaitsForNoDeadLetters(t *testing.T) {
	for name, end := range map[string]func(r *rig) (release func()){
		"by its session": func(r *rig) func() {
			r.s.GiveUp()
			return func() {}
		},
		"by the broker": func(r *rig) func() {
			closed := make(chan struct{})
			go func() {
				r.Close()
				close(closed)
			}()
			return func() { <-closed }
		},
		"they wait for another try": func(r *rig) func() {
			q, _ := r.v.Queue("q")
			r.undertakers.leave(q.Partitions()[0])
			return func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.queue("dead", QueueOptions{Durable: true})
				r.dying("q", "dead")
				release := r.holdLetters()
				r.rejectThree()
				got := r.look("get")
				got()
				began := time.Now()
				ended := end(r)
				if n := got(); n != 0 || time.Since(began) != 0 {
					t.Errorf("it says %d after %v", n, time.Since(began))
				}
				release()
				ended()
			})
		})
	}
}

// TestALookHasEnoughOfOneDeadLetter, and a count of all.
func TestALookHasEnoughOfOneDeadLetter(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("dead", QueueOptions{Durable: true})
		q, second := r.dying("q", "dead"), r.dying("second", "dead")
		release := r.holdLetters()
		r.rejectThree()
		r.put("second", 1, field.NoProperties, time.Now())
		r.reject("second", 1)
		get, count := r.look("get"), r.look("count")
		if get() >= 0 || count() >= 0 {
			t.Error("there was none yet")
		}
		w := undertaker{of: &r.undertakers}
		w.turn(q.Partitions()[0])
		if n, all := get(), count(); n != 3 || all >= 0 {
			t.Errorf("with the first three of four there get says %d, and a count %d", n, all)
		}
		w.turn(second.Partitions()[0])
		if n := count(); n != 3 { // get took one
			t.Errorf("a count says %d", n)
		}
		release()
	})
}

// TestLettersThatComeBackHaveTheirTurnBeforeThem, those that were aside and those that failed.
func TestLettersThatComeBackHaveTheirTurnBeforeThem(t *testing.T) {
	var l deadLetters
	turn := func() []ended {
		list := l.take(10, nil)
		l.hadTurn(lenOf(list))
		return list
	}
	l.add(ended{first: 0, last: 9})
	l.setAside(turn(), errors.New("no place"), time.Now())
	l.recall()
	if l.turned != 0 {
		t.Errorf("%d had their turn when they were recalled", l.turned)
	}
	list := turn()
	l.putBack(list, lenOf(list))
	if l.turned != 0 || l.added != 10 {
		t.Errorf("%d of %d had their turn when it failed", l.turned, l.added)
	}
}

// TestALookDoesNotWaitForDeadLettersThatFailed: nobody knows when they come.
func TestALookDoesNotWaitForDeadLettersThatFailed(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r, s := startFaulty(t)
		dead := r.queue("dead", QueueOptions{Durable: true})
		r.dying("q", "dead")
		s.fail(dead.Partitions()[0].log.ID(), store.ErrFull)
		r.rejectThree()
		synctest.Wait()
		began := time.Now()
		if g, err := r.s.Get("dead", true); g != nil || err != nil || time.Since(began) != 0 {
			t.Errorf("%v, %v after %v", g, err, time.Since(began))
		}
		s.fail(dead.Partitions()[0].log.ID(), nil)
		time.Sleep(lastRetry)
	})
}

// TestALookWaitsForWhatWasThereBeforeIt, and not for what ends from then on.
func TestALookWaitsForWhatWasThereBeforeIt(t *testing.T) {
	r := start(t)
	dead := r.queue("dead", QueueOptions{})
	elsewhere := newVHost(r.Broker, "elsewhere").newQueue("dead")
	p := r.dying("q", "dead").Partitions()[0]
	l := p.active().lettersOf()
	u := &r.undertakers
	u.moving = map[*Partition]int{p: 1}
	defer u.leave(p)
	l.add(ended{first: 0, last: 9})
	list := u.awaitedIn(dead)
	if n := len(u.awaitedIn(elsewhere)); n > 0 {
		t.Errorf("in another virtual host %d are waited for", n)
	}
	l.add(ended{first: 10, last: 19})
	for i, c := range []struct {
		turned int64
		waits  bool
	}{{9, true}, {-5, true}, {5, true}, {1, false}} { // five came back from where they were aside
		l.hadTurn(c.turned)
		if list = u.left(list); (len(list) > 0) != c.waits {
			t.Errorf("step %d: %d are waited for", i, len(list))
		}
	}
}

// TestALogThatIsCalledForWhileItLeavesIsUnderWay: who ends messages sees that it rests a moment
// before it has left.
func TestALogThatIsCalledForWhileItLeavesIsUnderWay(t *testing.T) {
	r := start(t)
	release := r.holdLetters()
	dead := r.queue("dead", QueueOptions{})
	p := r.dying("q", "dead").Partitions()[0]
	l := p.active().lettersOf()
	l.busy = true
	r.undertakers.call(p)
	if !l.rest() {
		t.Error("it does not rest")
	}
	l.mu.Lock()
	l.busy = true
	l.mu.Unlock()
	r.undertakers.call(p)
	r.undertakers.leave(p)
	r.undertakers.mu.Lock()
	r.undertakers.crew.next(false) // as who takes the second of its turns
	r.undertakers.mu.Unlock()
	if n := len(r.undertakers.awaitedIn(dead)); n != 1 {
		t.Errorf("%d are under way", n)
	}
	release()
	r.buried()
}
