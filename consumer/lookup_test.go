package consumer

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/leveret-mq/leveret/message"
)

// busyLog has something happen while it is asked, before it answers.
type busyLog struct {
	fakeLog
	meanwhile func()
}

func (l *busyLog) Next(from message.Offset) (first, last message.Offset, ok bool, err error) {
	first, last, ok, err = l.fakeLog.Next(from)
	if l.meanwhile != nil {
		l.meanwhile()
	}
	return first, last, ok, err
}

func (l *busyLog) Records(from, to message.Offset) int64 {
	n := l.fakeLog.Records(from, to)
	if l.meanwhile != nil {
		l.meanwhile()
	}
	return n
}

// frozenLog is a log on a disk that does not answer until thaw is closed.
type frozenLog struct {
	fakeLog
	thaw chan struct{}
}

func (l *frozenLog) Next(from message.Offset) (first, last message.Offset, ok bool, err error) {
	<-l.thaw
	return l.fakeLog.Next(from)
}

func (l *frozenLog) Records(from, to message.Offset) int64 {
	<-l.thaw
	return l.fakeLog.Records(from, to)
}

// thawed makes a log that answers, of n messages.
func thawed(n int) *frozenLog {
	l := &frozenLog{thaw: make(chan struct{})}
	close(l.thaw)
	l.add(n, 0)
	return l
}

// TestNothingWaitsForADiskButWhoAsksIt: a Take, a Get, a Ready and a Purge wait for
// a read of the log, and everything else goes on beside them.
func TestNothingWaitsForADiskButWhoAsksIt(t *testing.T) {
	asks := map[string]func(c *Cursor, k *Consumer){
		"take":  func(_ *Cursor, k *Consumer) { k.Take(10, nil) },
		"get":   func(c *Cursor, _ *Consumer) { c.Get() },
		"ready": func(c *Cursor, _ *Consumer) { c.Ready() },
		"purge": func(c *Cursor, _ *Consumer) { c.Purge() },
	}
	for name, ask := range asks {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
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
				go func() { defer close(done); ask(c, k) }()
				synctest.Wait()
				select {
				case <-done:
					t.Fatal("it did not wait for the log")
				default:
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
				late := add(t, c, ConsumerOptions{Priority: 1})
				wantRuns(t, late.Take(1, nil), Run{mine[0].First, mine[0].First, true, 1}) // what is back needs no disk
				late.Cancel()
				other.Cancel()
				close(log.thaw)
				<-done
			})
		})
	}
}

// TestOneAsksAndTheOthersAreWokenWithTheAnswer: a disk that hangs holds one
// consumer, not all of the queue's.
func TestOneAsksAndTheOthersAreWokenWithTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := thawed(0)
		c := newCursor(t, log, State{})
		woken := make([]int, 3)
		var ks []*Consumer
		for i := range woken {
			ks = append(ks, add(t, c, ConsumerOptions{Wake: func() { woken[i]++ }}))
		}
		for _, k := range ks {
			k.Take(10, nil)
		}
		log.thaw = make(chan struct{})
		log.add(9, 0)
		c.Notify()
		got := make(chan []Run, 1)
		go func() { got <- ks[0].Take(10, nil) }()
		synctest.Wait()
		woken = []int{0, 0, 0}
		for range 5 {
			c.Notify()
			wantRuns(t, ks[1].Take(10, nil))
			wantRuns(t, ks[2].Take(10, nil))
		}
		if woken[1] != 0 || woken[2] != 0 {
			t.Errorf("woken %v for what nobody knows yet", woken)
		}
		close(log.thaw)
		n := total(<-got) + total(ks[1].Take(10, nil)) + total(ks[2].Take(10, nil))
		if n != 9 || woken[1] != 1 || woken[2] != 1 {
			t.Errorf("dealt %d of 9, woken %v", n, woken)
		}
	})
}

// TestWhoWaitsForADiskIsDealtNothing: it could not come for it.
func TestWhoWaitsForADiskIsDealtNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := thawed(2)
		c := newCursor(t, log, State{})
		k, other := add(t, c, ConsumerOptions{}), add(t, c, ConsumerOptions{})
		take(k, 2)
		take(other, 2)
		log.thaw = make(chan struct{})
		log.add(10, 0)
		done := make(chan struct{})
		go func() { defer close(done); k.Take(10, nil) }()
		synctest.Wait()
		must(t, other.Requeue(1, 1))
		must(t, k.Requeue(0, 0))
		if n := total(take(other, 2)); n != 2 {
			t.Errorf("took %d of 2 that came back", n)
		}
		close(log.thaw)
		<-done
	})
}

// TestWhatIsDealtToOthersDoesNotWaitForTheDisk: a Take that has dealt all that is
// known to another wakes that one before it asks.
func TestWhatIsDealtToOthersDoesNotWaitForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := thawed(2)
		c := newCursor(t, log, State{})
		woken := false
		first := add(t, c, ConsumerOptions{Priority: 1, Wake: func() { woken = true }})
		k := add(t, c, ConsumerOptions{})
		take(first, 2)
		take(k, 1)
		must(t, first.Requeue(0, 1))
		log.thaw = make(chan struct{})
		log.add(10, 0)
		woken = false
		first.setWaitingForTest()
		done := make(chan struct{})
		go func() { defer close(done); k.Take(10, nil) }()
		synctest.Wait()
		if !woken || first.Held() != 2 {
			t.Errorf("woken %v, holds %d of 2", woken, first.Held())
		}
		close(log.thaw)
		<-done
	})
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
		{"a purge", func(_ *busyLog, c *Cursor) { c.Purge() }, nil},
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
		{"a purge", func(_ *busyLog, c *Cursor, _ *Consumer) { c.Purge() }, 0},
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
