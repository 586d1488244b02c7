package consumer

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/message"
)

// busyLog has something happen while it is asked, before it answers.
type busyLog struct {
	fakeLog
	meanwhile func()
}

func (l *busyLog) Next(from message.Offset, wait bool) (first, last message.Offset, ok bool, err error) {
	first, last, ok, err = l.fakeLog.Next(from, wait)
	if l.meanwhile != nil {
		l.meanwhile()
	}
	return first, last, ok, err
}

func (l *busyLog) Records(from, to message.Offset, wait bool) (int64, bool) {
	n, exact := l.fakeLog.Records(from, to, wait)
	if l.meanwhile != nil {
		l.meanwhile()
	}
	return n, exact
}

// frozenLog is a log on a disk that does not answer until thaw is closed.
type frozenLog struct {
	fakeLog
	thaw chan struct{}
}

// wouldWait reports whether the disk is frozen.
func (l *frozenLog) wouldWait() bool {
	select {
	case <-l.thaw:
		return false
	default:
		return true
	}
}

func (l *frozenLog) Next(from message.Offset, wait bool) (first, last message.Offset, ok bool, err error) {
	if !wait && l.wouldWait() {
		return 0, 0, false, ErrWait
	}
	<-l.thaw
	return l.fakeLog.Next(from, true)
}

func (l *frozenLog) Records(from, to message.Offset, wait bool) (int64, bool) {
	if !wait && l.wouldWait() {
		return int64(to - from), false
	}
	<-l.thaw
	return l.fakeLog.Records(from, to, true)
}

func (l *frozenLog) Later(ask func()) { go ask() }

// thawed makes a log that answers, of n messages.
func thawed(n int) *frozenLog {
	l := &frozenLog{thaw: make(chan struct{})}
	close(l.thaw)
	l.add(n, 0)
	return l
}

// TestNothingWaitsForADiskButWhoAsksIt: a Get, a Ready and a Purge wait for a read of
// the log; a Take has it read, and everything else goes on beside them.
func TestNothingWaitsForADiskButWhoAsksIt(t *testing.T) {
	asks := map[string]struct {
		waits bool
		ask   func(c *Cursor, k *Consumer)
	}{
		"take":  {false, func(_ *Cursor, k *Consumer) { k.Take(10, nil) }},
		"get":   {true, func(c *Cursor, _ *Consumer) { c.Get() }},
		"head":  {true, func(c *Cursor, _ *Consumer) { c.Head(1) }},
		"ready": {true, func(c *Cursor, _ *Consumer) { c.Ready() }},
		"purge": {true, func(c *Cursor, _ *Consumer) { c.Purge(always) }},
	}
	for name, tc := range asks {
		t.Run(name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				log := thawed(10)
				c := newCursor(t, log, State{})
				woken := 0
				k := add(t, c, ConsumerOptions{})
				other := add(t, c, ConsumerOptions{Wake: func() { woken++ }})
				for c.Unacked() < 10 {
					k.Take(10, nil)
				}
				mine := other.Take(10, nil)
				other.Take(10, nil)
				log.thaw = make(chan struct{})
				log.add(10, 0)
				done := make(chan struct{})
				go func() { defer close(done); tc.ask(c, k) }()
				synctest.Wait()
				select {
				case <-done:
					if tc.waits {
						t.Fatal("it did not wait for the log")
					}
				default:
					if !tc.waits {
						t.Fatal("it waited for the log")
					}
				}
				// A call that waited for the mutex would hang here: the bubble deadlocks.
				must(t, k.Ack(0, 0))
				must(t, other.Requeue(mine[0].First, mine[0].First))
				woken = 0
				c.Notify()
				c.Progress()
				if c.Unacked() != 8 || leftOpen(c) != 9 || !c.Holds(2, 2) || c.Err() != nil || len(c.AppendState(nil)) == 0 || k.Held() == 0 {
					t.Error("wrong figures beside a read")
				}
				if n, exact := c.ReadyNow(); n != 11 || exact {
					t.Errorf("about %d ready, for certain: %v, want about 11", n, exact)
				}
				late := add(t, c, ConsumerOptions{Priority: 1})
				wantRuns(t, late.Take(1, nil), Run{mine[0].First, mine[0].First, true, 1}) // what is back needs no disk
				if _, ok, known := c.GetNow(); ok || known {
					t.Error("a get that may not wait knows what the log was not asked")
				}
				if _, ok, known := c.HeadNow(1); ok || known {
					t.Error("the head is known, of which the log was not asked")
				}
				late.Cancel()
				other.Cancel()
				close(log.thaw)
				<-done
			})
		})
	}
}

// TestTheDiskIsAskedOnceAndOneIsWokenWithTheAnswer: a disk that hangs holds no
// consumer up, and is not asked again by each of them.
func TestTheDiskIsAskedOnceAndOneIsWokenWithTheAnswer(t *testing.T) {
	var log fakeLog
	c := newCursor(t, &log, State{})
	woken := make([]int, 3)
	var ks []*Consumer
	for i := range woken {
		ks = append(ks, add(t, c, ConsumerOptions{Wake: func() { woken[i]++ }}))
	}
	for _, k := range ks {
		k.Take(10, nil)
	}
	log.cold = true
	log.add(9, 0)
	woken = []int{0, 0, 0}
	for range 5 {
		c.Notify()
		for _, k := range ks {
			wantRuns(t, k.Take(10, nil))
		}
	}
	if woken[1] != 0 || woken[2] != 0 {
		t.Errorf("woken %v for what nobody knows yet", woken)
	}
	woken = []int{0, 0, 0}
	if n := log.answer(); n != 1 || woken[0]+woken[1]+woken[2] != 1 {
		t.Fatalf("asked %d times, woken %v", n, woken)
	}
	n := int64(0)
	for _, k := range ks {
		n += total(k.Take(10, nil))
	}
	for _, k := range ks {
		n += total(k.Take(10, nil))
	}
	if n != 9 || woken[0] == 0 || woken[1] == 0 || woken[2] == 0 {
		t.Errorf("dealt %d of 9, woken %v", n, woken)
	}
}

// TestAReadThatFailsBehindEverybodysBackIsToldOnce: one consumer is woken to hear of it,
// and the log is asked again when one takes after that.
func TestAReadThatFailsBehindEverybodysBackIsToldOnce(t *testing.T) {
	log := &fakeLog{cold: true, fail: errors.New("disk on fire")}
	log.add(3, 0)
	c := newCursor(t, log, State{})
	woken := 0
	k := add(t, c, ConsumerOptions{Wake: func() { woken++ }})
	for round := range 3 {
		woken = 0
		wantRuns(t, k.Take(10, nil))
		if c.Err() != nil || log.answer() != 1 || woken != 1 {
			t.Fatalf("round %d: woken %d times by the failure %v", round, woken, c.Err())
		}
		if wantRuns(t, k.Take(10, nil)); c.Err() == nil || log.answer() != 0 {
			t.Fatalf("round %d: it was not told, or tried at once", round)
		}
	}
	log.fail = nil
	wantRuns(t, k.Take(10, nil))
	log.answer()
	wantRuns(t, k.Take(10, nil), Run{0, 2, false, 0})
	if c.Err() != nil {
		t.Error(c.Err())
	}
}

// TestAFailureThatNobodyHeardOfIsForgotten when a consumer comes, when the log grows, and
// when somebody gets a message: what is asked then has its own answer.
func TestAFailureThatNobodyHeardOfIsForgotten(t *testing.T) {
	for name, try := range map[string]func(l *fakeLog, c *Cursor, k *Consumer){
		"a consumer comes": func(_ *fakeLog, c *Cursor, k *Consumer) { k.Cancel(); add(t, c, ConsumerOptions{}).Take(1, nil) },
		"the log grows": func(l *fakeLog, c *Cursor, k *Consumer) {
			other := add(t, c, ConsumerOptions{})
			c.untold = true // as if it had come since
			other.setWaitingForTest()
			l.add(1, 0)
			c.Notify()
			k.Take(1, nil)
		},
		"a get": func(l *fakeLog, c *Cursor, k *Consumer) { l.cold = false; c.Get(); l.cold = true },
	} {
		t.Run(name, func(t *testing.T) {
			log := &fakeLog{cold: true, fail: errors.New("disk on fire")}
			log.add(300, 0)
			c := newCursor(t, log, State{})
			k := add(t, c, ConsumerOptions{})
			k.Take(1, nil)
			log.answer()
			log.fail = nil
			try(log, c, k)
			if c.Err() != nil {
				t.Error(c.Err())
			}
		})
	}
}

// TestACountThatMayNotWaitIsRightWhereNothingHasToBeRead, and says when it is not certain.
func TestACountThatMayNotWaitIsRightWhereNothingHasToBeRead(t *testing.T) {
	var log fakeLog
	c := newCursor(t, &log, State{})
	log.add(10, 0)
	log.add(10, 5)
	log.cold = true
	if n, exact := c.ReadyNow(); n != 25 || exact {
		t.Errorf("%d, %v before anything was read", n, exact)
	}
	if n := c.Ready(); n != 20 {
		t.Errorf("%d ready", n)
	}
	if n, exact := c.ReadyNow(); n != 20 || !exact {
		t.Errorf("%d, %v of what was counted", n, exact)
	}
	log.add(5, 0)
	if n, exact := c.ReadyNow(); n != 25 || exact {
		t.Errorf("%d, %v with what came since", n, exact)
	}
}

func TestAPurgeThatIsNotWantedAnyMoreDropsNothing(t *testing.T) {
	var log fakeLog
	log.add(10, 0)
	c := newCursor(t, &log, State{})
	k := add(t, c, ConsumerOptions{})
	take(k, 2)
	must(t, k.Requeue(0, 0))
	if n := c.Purge(func() bool { return false }); n != 0 || c.Ready() != 9 {
		t.Errorf("purged %d, %d ready", n, c.Ready())
	}
	if n := c.Purge(always); n != 9 || c.Ready() != 0 {
		t.Errorf("purged %d, %d ready", n, c.Ready())
	}
}

// TestWhatIsDealtToOthersDoesNotWaitForTheDisk: a Take that has dealt all that is
// known to another wakes that one before it asks.
func TestWhatIsDealtToOthersDoesNotWaitForTheDisk(t *testing.T) {
	log := &busyLog{}
	log.add(2, 0)
	c := newCursor(t, log, State{})
	woken := false
	first := add(t, c, ConsumerOptions{Priority: 1, Wake: func() { woken = true }})
	k := add(t, c, ConsumerOptions{})
	take(first, 2)
	take(k, 1)
	must(t, first.Requeue(0, 1))
	log.add(10, 0)
	woken = false
	first.setWaitingForTest()
	log.meanwhile = func() {
		log.meanwhile = nil
		if !woken || first.Held() != 2 {
			t.Errorf("woken %v, holds %d of 2", woken, first.Held())
		}
	}
	k.Take(10, nil)
	if log.meanwhile != nil {
		t.Error("the log was not asked")
	}
}

// TestWhoAsksTheDiskIsDealtNothing by others: it could not come for it.
func TestWhoAsksTheDiskIsDealtNothing(t *testing.T) {
	log := &busyLog{}
	log.add(2, 0)
	c := newCursor(t, log, State{})
	k, other := add(t, c, ConsumerOptions{}), add(t, c, ConsumerOptions{})
	take(k, 2)
	take(other, 2)
	log.add(10, 0)
	log.meanwhile = func() {
		log.meanwhile = nil
		must(t, other.Requeue(1, 1))
		must(t, k.Requeue(0, 0))
		if n := total(take(other, 2)); n != 2 {
			t.Errorf("took %d of 2 that came back", n)
		}
	}
	k.Take(10, nil)
	if log.meanwhile != nil {
		t.Error("the log was not asked")
	}
}

// setWaitingForTest is a consumer that found nothing and waits.
func (k *Consumer) setWaitingForTest() {
	k.cursor.mu.Lock()
	defer k.cursor.mu.Unlock()
	k.setWaiting(true)
}

// TestAnAnswerThatWasOvertakenIsNotBelieved: what happened to the offsets while the
// log was asked decides.
func TestAnAnswerThatWasOvertakenIsNotBelieved(t *testing.T) {
	for _, tc := range []struct {
		name      string
		meanwhile func(l *busyLog, c *Cursor)
		want      []Run
	}{
		{"nothing", func(*busyLog, *Cursor) {}, []Run{{0, 9, false, 0}, {15, 24, false, 0}}},
		{"retention within the run", func(l *busyLog, c *Cursor) { l.start = 4 }, []Run{{4, 9, false, 0}, {15, 24, false, 0}}},
		{"retention into the gap", func(l *busyLog, c *Cursor) { l.start = 12 }, []Run{{15, 24, false, 0}}},
		{"retention into the next run", func(l *busyLog, c *Cursor) { l.start = 20 }, []Run{{20, 24, false, 0}}},
		{"a purge", func(_ *busyLog, c *Cursor) { c.Purge(always) }, nil},
		{"another took first", func(_ *busyLog, c *Cursor) { c.Get(); c.Get() }, []Run{{2, 9, false, 0}, {15, 24, false, 0}}},
		{"the log grew", func(l *busyLog, c *Cursor) { l.add(5, 0); c.Notify() }, []Run{{0, 9, false, 0}, {15, 29, false, 0}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log := &busyLog{}
			log.add(10, 0)
			log.add(10, 5)
			c := newCursor(t, log, State{})
			k := add(t, c, ConsumerOptions{})
			log.meanwhile = func() {
				log.meanwhile = nil
				tc.meanwhile(log, c)
			}
			wantRuns(t, take(k, 100), tc.want...)
			want := total(tc.want)
			if got := c.Ready(); got != 0 || c.Unacked() < want {
				t.Errorf("ready %d, unacked %d, want 0 and %d or more", got, c.Unacked(), want)
			}
		})
	}
}

// TestAGapAtTheEndHidesNothingThatCame: the answer "nothing" is about the log as it
// was when it was asked.
func TestAGapAtTheEndHidesNothingThatCame(t *testing.T) {
	log := &busyLog{}
	log.add(0, 5)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	log.meanwhile = func() {
		log.meanwhile = nil
		log.add(3, 0)
		c.Notify()
	}
	wantRuns(t, take(k, 10), Run{5, 7, false, 0})
}

func TestACountThatWasOvertakenIsPutRight(t *testing.T) {
	for _, tc := range []struct {
		name      string
		meanwhile func(l *busyLog, c *Cursor, k *Consumer)
		want      int64
	}{
		{"some were taken", func(_ *busyLog, _ *Cursor, k *Consumer) { take(k, 7) }, 13},
		{"all were taken", func(_ *busyLog, _ *Cursor, k *Consumer) { take(k, 50) }, 0},
		{"more were taken than were asked for", func(l *busyLog, c *Cursor, k *Consumer) { l.add(5, 0); take(k, 50) }, 0},
		{"retention took some", func(l *busyLog, _ *Cursor, _ *Consumer) { l.start = 12 }, 10},
		{"a purge", func(_ *busyLog, c *Cursor, _ *Consumer) { c.Purge(always) }, 0},
		{"another counted more", func(l *busyLog, c *Cursor, _ *Consumer) { l.add(5, 0); c.Ready() }, 25},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log := &busyLog{}
			log.add(10, 0)
			log.add(10, 5)
			c := newCursor(t, log, State{})
			k := add(t, c, ConsumerOptions{})
			log.meanwhile = func() {
				log.meanwhile = nil
				tc.meanwhile(log, c, k)
			}
			if n := c.Ready(); n != tc.want {
				t.Errorf("ready %d, want %d", n, tc.want)
			}
			log.start = 0
			if n, left := c.Ready(), total(take(k, 100)); n != left {
				t.Errorf("ready %d, but %d came", n, left)
			}
		})
	}
}

func TestALookUpThatFailsLateDoesNotHideWhatAnotherFound(t *testing.T) {
	log := &busyLog{}
	log.add(10, 0)
	c := newCursor(t, log, State{})
	log.fail = errors.New("disk on fire")
	log.meanwhile = func() {
		log.meanwhile, log.fail = nil, nil
		c.Get()
	}
	if r, ok := c.Get(); !ok || r.First != 1 || c.Err() != nil {
		t.Fatalf("got %v %v, error %v", r, ok, c.Err())
	}
}

// TestTwoWhoFindNothingHaveTheDiskAskedOnce though both looked before either asked.
func TestTwoWhoFindNothingHaveTheDiskAskedOnce(t *testing.T) {
	log := &busyLog{}
	c := newCursor(t, log, State{})
	k, other := add(t, c, ConsumerOptions{}), add(t, c, ConsumerOptions{})
	log.add(3, 0)
	log.cold = true
	log.meanwhile = func() {
		log.meanwhile = nil
		c.mu.Lock()
		c.looking-- // as if other had looked a moment before k
		c.mu.Unlock()
		other.Take(1, nil)
		c.mu.Lock()
		c.looking++
		c.mu.Unlock()
	}
	k.Take(1, nil)
	if len(log.asked) != 1 {
		t.Errorf("it is asked %d times", len(log.asked))
	}
}

// TestConsumersOfSeveralRanksAreAllWokenWithTheAnswer: each of them has left what is ready at
// lower ranks for what it may be told here.
func TestConsumersOfSeveralRanksAreAllWokenWithTheAnswer(t *testing.T) {
	log := &fakeLog{cold: true}
	c := newCursor(t, log, State{})
	var woken [3]int
	var ks []*Consumer
	for i := range woken {
		ks = append(ks, add(t, c, ConsumerOptions{Ranked: true, Wake: func() { woken[i]++ }}))
		if ks[i].Take(1, nil); ks[i].Hasty() {
			t.Error("a consumer waits for a log that has nothing")
		}
	}
	log.add(1, 0)
	for _, k := range ks {
		if k.Take(1, nil); !k.Hasty() {
			t.Error("a consumer goes on to lower ranks, though the log is being asked")
		}
	}
	woken = [3]int{}
	if log.answer(); woken != [3]int{1, 1, 1} {
		t.Errorf("woken %v", woken)
	}
}

// A consumer whose channel may have no more has nothing read for it; when it may, it does.
func TestWhoHasNoSharedCreditAsksNoDisk(t *testing.T) {
	credit := NewCredit(1)
	other := add(t, newCursor(t, thawed(1), State{}), ConsumerOptions{Shared: credit})
	held := other.Take(1, nil)
	log := &fakeLog{cold: true}
	log.add(1, 0)
	woken := false
	k := add(t, newCursor(t, log, State{}), ConsumerOptions{Shared: credit, Wake: func() { woken = true }})
	if got := k.Take(1, nil); len(held) != 1 || len(got) != 0 || len(log.asked) != 0 {
		t.Fatalf("%v held, %v dealt, the disk asked %v", held, got, log.asked)
	}
	if err := other.Ack(held[0].First, held[0].Last); err != nil || !woken {
		t.Fatalf("woken %v, %v", woken, err)
	}
	if k.Take(1, nil); len(log.asked) != 1 {
		t.Errorf("the disk asked %v", log.asked)
	}
}
