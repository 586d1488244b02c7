package broker

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// keeping declares a queue whose dead letters go to the exchange dlx by their keys, and stay
// when they have no place there; in is bound to it by any key.
func (r *rig) keeping() *Queue {
	r.t.Helper()
	r.exchange("dlx", "direct")
	r.exchange("in", "fanout")
	q := r.dying("q", "", argDeadLetterExchange, "dlx", "x-message-ttl", 10, "x-queue-type", "quorum",
		"x-dead-letter-strategy", "at-least-once", "x-overflow", "reject-publish")
	r.bind("in", "q", "")
	return q
}

// sendKeys publishes so many messages with a key, numbered from a number on.
func (r *rig) sendKeys(key string, from, n int) {
	r.t.Helper()
	p := r.s.NewPublisher()
	for i := range n {
		in := &Inbound{Exchange: []byte("in"), Key: []byte(key), Properties: field.NoProperties, Body: fmt.Append(nil, from+i),
			Persistent: true, TimestampMs: r.opts.Now().UnixMilli()}
		if _, err := p.Publish(in); err != nil {
			r.t.Fatal(err)
		}
	}
	flush(r.t, p)
}

func numbered(from, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint(from+i))
	}
	return out
}

// TestDeadLettersWithoutAPlaceAreInNobodysWay, however many they are, and keep their order.
func TestDeadLettersWithoutAPlaceAreInNobodysWay(t *testing.T) {
	const many = 3*turnMessages + 7
	bubble(t, func(t *testing.T, r *rig) {
		q := r.keeping()
		dead, late := r.queue("dead", QueueOptions{Durable: true}), r.queue("late", QueueOptions{Durable: true})
		r.bind("dlx", "dead", "bound")
		r.sendKeys("unbound", 0, many)
		r.sendKeys("bound", many, 5)
		time.Sleep(5 * time.Second)
		want(t, "those behind", drain(t, dead), numbered(many, 5))
		for i := range 3 { // whatever waits for another try
			r.sendKeys("bound", i, 1)
			time.Sleep(time.Second)
			want(t, "one that came later", drain(t, dead), numbered(i, 1))
		}
		l := q.Partitions()[0].active().letters.Load()
		synctest.Wait()
		if n := len(l.aside.list); n > 4 {
			t.Errorf("%d messages in a row are %d runs", many, n)
		}
		r.bind("dlx", "late", "unbound")
		time.Sleep(2 * lastRetry)
		if got := drain(t, late); !slices.Equal(got, numbered(0, many)) {
			t.Errorf("%d of those in front came of %d, or in another order", len(got), many)
		}
		want(t, "the others", drain(t, dead), nil)
		synctest.Wait()
		if q.Partitions()[0].lettersUnderWay() || l.aside.tries != 0 || r.Counters().DeadLettered[Expired].Load() != many+8 {
			t.Errorf("under way %v after %d tries, %d copied", q.Partitions()[0].lettersUnderWay(), l.aside.tries, r.Counters().DeadLettered[Expired].Load())
		}
	})
}

// TestOneQueueThatFailsHoldsUpItsOwnDeadLettersOnly: another queue's go on past any number of them.
func TestOneQueueThatFailsHoldsUpItsOwnDeadLettersOnly(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r, s := startFaulty(t)
		r.keeping()
		broken, fine := r.queue("broken", QueueOptions{Durable: true}), r.queue("fine", QueueOptions{Durable: true})
		r.bind("dlx", "broken", "b")
		r.bind("dlx", "fine", "f")
		s.fail(broken.Partitions()[0].log.ID(), store.ErrFull)
		r.sendKeys("b", 0, turnMessages+1)
		r.sendKeys("f", 0, 3)
		time.Sleep(5 * time.Second)
		want(t, "the queue that works", drain(t, fine), numbered(0, 3))
		s.fail(broken.Partitions()[0].log.ID(), nil)
		time.Sleep(2 * lastRetry)
		if got := drain(t, broken); !slices.Equal(got, numbered(0, turnMessages+1)) {
			t.Errorf("%d came", len(got))
		}
	})
}

// TestTriesOfDeadLettersTakeAPartOfTheTime: those that find no place are not walked through all the time.
func TestTriesOfDeadLettersTakeAPartOfTheTime(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.keeping()
		r.sendKeys("unbound", 0, 3)
		l := q.Partitions()[0].active().lettersOf()
		time.Sleep(time.Hour)
		synctest.Wait()
		if least, most := 100, 130; l.aside.tries < least || l.aside.tries > most {
			t.Errorf("%d tries in an hour", l.aside.tries)
		}
	})
}

// TestWhatIsKeptAsideIsBounded: beyond that, all wait.
func TestWhatIsKeptAsideIsBounded(t *testing.T) {
	var l deadLetters
	l.add(ended{first: 1 << 30, last: 1 << 30})
	why := errors.New("no place")
	var list []ended
	for i := range message.Offset(maxAside) {
		list = append(list, ended{first: 2 * i, last: 2 * i})
	}
	if !l.setAside(list, why, time.Now()) || len(l.waiting) != 1 || l.aside.behind != 1 {
		t.Fatalf("%d runs find no room, %d wait, behind %d", len(list), len(l.waiting), l.aside.behind)
	}
	if l.setAside([]ended{{first: 2 * maxAside, last: 2 * maxAside}}, why, time.Now()) {
		t.Error("one more found room")
	}
	if len(l.aside.list) != 0 || len(l.waiting) != maxAside+2 || l.waiting[0].first != 0 || l.waiting[maxAside+1].first != 1<<30 {
		t.Errorf("%d runs are aside, %d wait", len(l.aside.list), len(l.waiting))
	}
}

// TestWhatIsPutBackHadNoTurn: those behind, of large messages too, come before what is aside.
func TestWhatIsPutBackHadNoTurn(t *testing.T) {
	now := time.Now()
	var l deadLetters
	l.add(ended{first: 100, last: 199})
	l.setAside([]ended{{first: 1, last: 1}}, errors.New("no place"), now)
	for left := int64(100); left > 0; left -= 10 {
		if _, ok := l.aside.recall(now, l.turned); ok || l.aside.behind-l.turned != left {
			t.Fatalf("with %d before it, of which it counts %d: to be recalled is %v", left, l.aside.behind-l.turned, ok)
		}
		taken := l.take(50, nil) // of which ten were copied
		if rest := (ended{first: taken[0].first + 10, last: taken[len(taken)-1].last}); rest.first <= rest.last {
			l.putBack([]ended{rest}, 0)
		}
		l.hadTurn(10)
	}
	if _, ok := l.aside.recall(now, l.turned); !ok {
		t.Error("it is not recalled")
	}
}

// TestWhatIsAsideGoesWithItsQueue, and is told of.
func TestWhatIsAsideGoesWithItsQueue(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.keeping()
		r.sendKeys("unbound", 0, 9)
		time.Sleep(3 * time.Second)
		if _, err := r.s.DeleteQueue("q", false, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := r.Counters().DeadLettersLost[LostSource].Load(); n != 9 {
			t.Errorf("%d are told of", n)
		}
	})
}

// TestWhatIsAsideComesBackWhenTheOthersHadTheirTurn, and not while they have it.
func TestWhatIsAsideComesBackWhenTheOthersHadTheirTurn(t *testing.T) {
	came := time.Now()
	var l deadLetters
	l.add(ended{first: 10, last: 29})
	l.setAside([]ended{{first: 0, last: 9}}, errors.New("no place"), came)
	recall := func() time.Duration {
		after, ok := l.aside.recall(came.Add(time.Minute), l.turned)
		if !ok {
			return -1
		}
		return after
	}
	l.hadTurn(lenOf(l.take(10, nil)))
	if after := recall(); after >= 0 {
		t.Errorf("with 10 of 20 to come they are called for after %v", after)
	}
	l.add(ended{first: 30, last: 39})
	l.hadTurn(lenOf(l.take(10, nil)))
	if after := recall(); after != asideLongest {
		t.Errorf("after a walk of a minute they are called for after %v", after)
	}
	if after := recall(); after >= 0 {
		t.Error("they are called for twice")
	}
	l.aside.timed = false
	if after, ok := l.aside.recall(came.Add(500*time.Millisecond), l.turned); !ok || after != 10*time.Second {
		t.Errorf("after half a second: %v", after)
	}
	l.aside.list = nil
	l.aside.timed = false
	if recall() >= 0 {
		t.Error("nothing is called for")
	}
}

// TestWhoIsRecalledWhileOthersAreCopiedIsOneOfThem: a log has one undertaker.
func TestWhoIsRecalledWhileOthersAreCopiedIsOneOfThem(t *testing.T) {
	r := start(t)
	p := r.queue("q", QueueOptions{}).Partitions()[0]
	l := p.active().lettersOf()
	l.busy = true
	l.setAside([]ended{{first: 0, last: 9}}, errors.New("no place"), time.Now())
	p.recallNow(l)
	if len(r.undertakers.moving) != 0 || len(l.waiting) != 1 || len(l.aside.list) != 0 {
		t.Errorf("%d are called, %d wait, %d are aside", len(r.undertakers.moving), len(l.waiting), len(l.aside.list))
	}
	l.busy = false
}

// TestAFlushThatFailsStopsTheTurns: those behind would fail as well, and come before those in front.
func TestAFlushThatFailsStopsTheTurns(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r, s := startFaulty(t)
		q := r.keeping()
		dead := r.queue("dead", QueueOptions{Durable: true})
		r.bind("dlx", "dead", "k")
		r.sendKeys("k", 0, 2*turnMessages)
		s.failFlush(store.ErrFull)
		time.Sleep(800 * time.Millisecond)
		l := q.Partitions()[0].active().letters.Load()
		synctest.Wait()
		if len(l.aside.list) != 0 || l.tries != 1 {
			t.Errorf("%d are aside after %d tries", len(l.aside.list), l.tries)
		}
		s.failFlush(nil)
		time.Sleep(time.Minute)
		got := drain(t, dead) // twice, where only the flush failed
		if !slices.Equal(got[len(got)-2*turnMessages:], numbered(0, 2*turnMessages)) {
			t.Errorf("%d came, in another order", len(got))
		}
	})
}
