package broker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/logged"
	"github.com/leveret-mq/leveret/store"
)

// TestDelayedMessagesThatNobodyIsBoundForAreToldOf, as they are dropped, each once, in few lines.
func TestDelayedMessagesThatNobodyIsBoundForAreToldOf(t *testing.T) {
	var said logged.Lines
	fakeclock.Test(t, func(t *testing.T) {
		r := &rig{t: t, dir: t.TempDir(), lines: said.Logger()}
		r.open()
		defer func() {
			if err := errors.Join(r.Close(), r.store.Close()); err != nil {
				t.Error(err)
			}
		}()
		x, q, p := delayRig(r)
		for i := range 3 {
			r.at(p, delayedBy("later", "k", fmt.Sprint(i), 1000+int64(i)*100))
		}
		r.at(p, delayedBy("later", "k", "bound again", 5000))
		if err := r.s.Unbind(Binding{Source: "later", Dest: "q", Key: "#"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		r.bind("later", "q", "#")
		time.Sleep(2 * tellEvery)
		want(t, "q", drain(t, q), []string{"bound again"})
		if n := r.Counters().DelayedLost[LostUnbound].Load(); n != 3 || x.delays.waiting() != 0 {
			t.Errorf("%d are counted, %d wait", n, x.delays.waiting())
		}
	})
	told := strings.Count(said.String(), "messages=1 why=no_queue") + 2*strings.Count(said.String(), "messages=2 why=no_queue")
	if told != 3 || strings.Count(said.String(), "why=no_queue") > 2 {
		t.Errorf("%d are told of:\n%s", told, said.String())
	}
}

// TestADelayedMessageThatComesAgainIsLostOnce: what a round dropped counts when the round does.
func TestADelayedMessageThatComesAgainIsLostOnce(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r, s := startFaulty(t)
		r.delaying("later", "topic")
		r.queue("q", QueueOptions{Durable: true})
		r.bind("later", "q", "bound")
		p := r.s.NewPublisher()
		r.at(p, delayedBy("later", "unbound", "a", 100), delayedBy("later", "bound", "b", 100))
		s.failFlush(store.ErrFull)
		time.Sleep(5 * time.Second)
		s.failFlush(nil)
		time.Sleep(5 * time.Minute)
		if n := r.Counters().DelayedLost[LostUnbound].Load(); n != 1 {
			t.Errorf("one message is lost %d times", n)
		}
	})
}

// TestADeadLetterThatComesAgainIsLostOnce: those of a turn that could not be flushed count when
// they come again.
func TestADeadLetterThatComesAgainIsLostOnce(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r, s := startFaulty(t)
		r.exchange("dlx", "topic")
		r.queue("dead", QueueOptions{Durable: true})
		r.bind("dlx", "dead", "bound")
		r.dying("q", "", argDeadLetterExchange, "dlx")
		r.put("q", 3, field.NoProperties, time.Now()) // for which nobody is bound
		r.exchange("in", "fanout")
		r.bind("in", "q", "")
		publish(t, r.s.NewPublisher(), "in", "bound=d")
		s.failFlush(store.ErrFull)
		r.reject("q", 4)
		time.Sleep(3 * time.Second)
		s.failFlush(nil)
		time.Sleep(time.Minute)
		c := r.Counters()
		if lost := c.DeadLettersLost[LostUnbound].Load(); lost != 3 || c.DeadLettered[Rejected].Load() != 1 || r.leftBy()[Rejected] != 4 {
			t.Errorf("%d lost, %d copied, left %v", lost, c.DeadLettered[Rejected].Load(), r.leftBy())
		}
	})
}

// TestADeadLetterForAQueueThatGoesMeanwhileIsRoutedAgain: it was stored nowhere.
func TestADeadLetterForAQueueThatGoesMeanwhileIsRoutedAgain(t *testing.T) {
	r := start(t)
	r.exchange("fan", "fanout")
	gone, other := r.queue("gone", QueueOptions{Durable: true}), r.queue("other", QueueOptions{Durable: true})
	for _, tc := range []struct {
		name  string
		bound []*Queue
		stay  int
	}{
		{"its only queue", []*Queue{gone}, 1},
		{"one of two", []*Queue{gone, other}, 0},
	} {
		for _, q := range tc.bound {
			r.bind("fan", q.Name, "")
		}
		p := r.v.newDeadPublisher()
		in := Inbound{Exchange: []byte("fan"), Key: []byte{}, Properties: field.NoProperties, Body: []byte("m"), Persistent: true, Ref: 7}
		if routed, err := p.Publish(&in); err != nil || !routed {
			t.Fatal(routed, err)
		}
		gone.Partitions()[0].removed.Store(true)
		p.Store()
		gone.Partitions()[0].removed.Store(false)
		f := p.fates
		if len(f.stay) != tc.stay || f.lost+f.refused != 0 || tc.stay > 0 && KindOf(f.err) != NotFound {
			t.Errorf("%s: %d stay (%v), %d lost, %d refused", tc.name, len(f.stay), f.err, f.lost, f.refused)
		}
	}
}

// TestARefusalThatNobodyExpectedFailsTheCommit: a queue may begin to refuse after messages for
// it were taken, in a transaction long after.
func TestARefusalThatNobodyExpectedFailsTheCommit(t *testing.T) {
	for _, whole := range []bool{false, true} {
		r := start(t)
		q := r.limited("q", "x-max-length", 1)
		p := r.s.NewPublisher()
		if whole {
			p = r.s.NewTransaction()
		}
		publish := func(body string) {
			in := Inbound{Key: []byte("q"), Properties: field.NoProperties, Body: []byte(body), Persistent: true}
			if _, err := p.Publish(&in); err != nil {
				t.Fatal(err)
			}
		}
		publish("1")
		publish("2")
		set := *q.Settings()
		set.Overflow = RejectPublish
		q.settings.Store(&set)
		if whole {
			r.v.changed()
			publish("3")
		}
		p.Store()
		if err := p.Commit(nil); KindOf(err) != LimitReached {
			t.Errorf("transaction %v: %v", whole, err)
		}
		want(t, "q", drain(t, q), []string{"1"})
	}
}
