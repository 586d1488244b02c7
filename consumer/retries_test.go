package consumer

import (
	"runtime"
	"testing"

	"github.com/leveret-mq/leveret/message"
)

// for10 has messages wait ten for each return.
func for10(returns int) int64 { return 10 * int64(returns) }

func TestWhatWaitsIsReadyInItsPlaceInTime(t *testing.T) {
	log := &fakeLog{}
	log.add(6, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{Prefetch: 4})
	wantRuns(t, take(k, 10), Run{0, 3, false, 0})
	next, err := k.RequeueLater(1, 2, 100, for10)
	must(t, err)
	if next != 110 {
		t.Errorf("due at %d", next)
	}
	wantRuns(t, take(k, 10), Run{4, 5, false, 0}) // what waits counts against no prefetch
	if err := k.Ack(1, 1); err == nil {
		t.Error("acked what waits")
	}
	must(t, k.Ack(0, 0))
	if c.Floor() != 1 || c.Unacked() != 3 || c.Ready() != 0 || c.Retrying() != 2 {
		t.Errorf("floor %d, unacked %d, ready %d, waiting %d", c.Floor(), c.Unacked(), c.Ready(), c.Retrying())
	}
	if next, ok := c.RetryDue(109); !ok || next != 110 || c.Ready() != 0 {
		t.Errorf("too early: next %d %v, ready %d", next, ok, c.Ready())
	}
	must(t, k.Requeue(3, 3))
	if _, ok := c.RetryDue(110); ok || c.Ready() != 3 || c.Retrying() != 0 {
		t.Errorf("in time: more %v, ready %d, waiting %d", ok, c.Ready(), c.Retrying())
	}
	wantRuns(t, take(k, 2), Run{1, 2, true, 1})
	next, err = k.RequeueLater(1, 1, 200, for10)
	must(t, err)
	if next != 220 {
		t.Errorf("the second time it is due at %d", next)
	}
	c.RetryDue(220)
	wantRuns(t, take(k, 1), Run{1, 1, true, 2})
}

func TestWhoWaitsForAMessageIsWokenWhenItIsDue(t *testing.T) {
	log := &fakeLog{}
	log.add(1, 0)
	c := newCursor(t, log, State{})
	woken := 0
	k := add(t, c, ConsumerOptions{Wake: func() { woken++ }})
	take(k, 1)
	take(k, 1)
	woken = 0
	_, err := k.RequeueLater(0, 0, 0, for10)
	must(t, err)
	if take(k, 1); woken > 0 {
		t.Fatal("woken for what waits")
	}
	c.RetryDue(10)
	if woken != 1 {
		t.Errorf("woken %d times", woken)
	}
	wantRuns(t, take(k, 1), Run{0, 0, true, 1})
}

func TestAPurgeEndsWhatWaits(t *testing.T) {
	log := &fakeLog{}
	log.add(5, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	take(k, 3)
	_, err := k.RequeueLater(0, 1, 0, for10)
	must(t, err)
	if n := c.Purge(always); n != 4 || c.Retrying() != 0 || c.Unacked() != 1 || c.Floor() != 2 {
		t.Errorf("purged %d, %d wait, %d unacked, floor %d", n, c.Retrying(), c.Unacked(), c.Floor())
	}
	if _, ok := c.RetryDue(1000); ok || c.Ready() != 0 {
		t.Errorf("%d ready after all that was purged was due", c.Ready())
	}
}

func TestAnAnewOpenedCursorHasReadyWhatWaited(t *testing.T) {
	log := &fakeLog{}
	log.add(3, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	take(k, 3)
	_, err := k.RequeueLater(1, 1, 0, for10)
	must(t, err)
	must(t, k.Ack(0, 0))
	must(t, k.Ack(2, 2))
	floor, handed := c.Progress()
	again, err := New(log, State{Floor: floor, Handed: handed, Data: c.AppendState(nil)})
	must(t, err)
	wantRuns(t, take(add(t, again, ConsumerOptions{}), 5), Run{1, 1, true, 1})
}

// Times are rounded up, and by a thousandth at most.
func TestLongWaitsShareTheirTimes(t *testing.T) {
	for wait := int64(1); wait < 1<<40; wait += wait/3 + 1 {
		step := retryStep(wait)
		if (step-1)*1000 > wait || wait/step > 4096 {
			t.Fatalf("a wait of %d is rounded to %d", wait, step)
		}
	}
	for _, wait := range []int64{2047, 2049, 100_001, 1 << 40} {
		log := &fakeLog{}
		log.add(1, 0)
		k := add(t, newCursor(t, log, State{}), ConsumerOptions{})
		take(k, 1)
		next, err := k.RequeueLater(0, 0, 12345, func(int) int64 { return wait })
		must(t, err)
		if took := next - 12345; took < wait || took > wait+wait/1000 {
			t.Errorf("a wait of %d takes %d", wait, took)
		}
	}
	r := retries{at: map[int64]*due{}}
	for i := range int64(1_000_000) { // one each ms, for a day
		step := retryStep(86_400_000)
		r.add((i+86_400_000+step-1)/step*step, span{2 * offset(i), 2 * offset(i)})
	}
	if len(r.dues) > 20 {
		t.Errorf("%d times", len(r.dues))
	}
}

// A million messages that wait take 16 bytes each at most where nothing is in order, and
// next to nothing where neighbours come back one by one.
func TestWhatWaitsTakesLittleMemory(t *testing.T) {
	const n = 1 << 20
	for name, c := range map[string]struct {
		at   func(i int) offset
		most int64 // bytes a message
	}{
		"in order":         {func(i int) offset { return offset(i) }, 1},
		"in two sequences": {func(i int) offset { return offset(i%2*n/2 + i/2) }, 1},
		"each second":      {func(i int) offset { return 2 * offset(i*7919%n) }, 24},
	} {
		t.Run(name, func(t *testing.T) {
			r := retries{waiting: set{pages: new(pages)}, at: map[int64]*due{}}
			before := int64(heapBytes())
			for i := range n {
				o := c.at(i)
				r.waiting.add(o, o)
				r.add(int64(i/100_000), span{o, o})
			}
			if took := int64(heapBytes()) - before; took > c.most*n {
				t.Errorf("%d bytes", took)
			}
			runtime.KeepAlive(&r)
		})
	}
}

// A queue of which one tracks what is ready counts what waits.
func TestWhatWaitsIsTracked(t *testing.T) {
	log := &fakeLog{}
	log.add(10, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	take(k, 6)
	_, err := k.RequeueLater(0, 1, 0, for10)
	must(t, err)
	c.TrackReadiness()
	var r Readiness
	want := func(back ...Run) {
		t.Helper()
		c.Readiness(&r)
		wantRuns(t, r.Back, back...)
	}
	want(Run{First: 0, Last: 1})
	_, err = k.RequeueLater(3, 4, 5, for10)
	must(t, err)
	want(Run{First: 0, Last: 1}, Run{First: 3, Last: 4})
	c.RetryDue(10)
	want(Run{First: 0, Last: 1}, Run{First: 3, Last: 4})
	c.Purge(always)
	if want(); len(r.Pages) != 1 {
		t.Errorf("pages %v", r.Pages)
	}
}

func TestWhatWaitsIsTrackedFromItsFirst(t *testing.T) {
	log := &fakeLog{}
	log.add(10, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	c.TrackReadiness()
	take(k, 6)
	_, err := k.RequeueLater(3, 4, 0, for10)
	must(t, err)
	var r Readiness
	c.Readiness(&r)
	wantRuns(t, r.Back, Run{First: 3, Last: 4})
}

// What has no time yet is not forgotten, and one that is due makes nothing else ready.
func TestALookBetweenARequeueAndItsTimeIsHarmless(t *testing.T) {
	log := &fakeLog{}
	log.add(6, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	take(k, 6)
	must(t, k.settle([]Run{{First: 2, Last: 5}}, later))
	c.RetryDue(1000)
	if c.Retrying() != 4 {
		t.Fatalf("%d wait", c.Retrying())
	}
	c.retries.add(10, span{0, 3}) // of which the first two were purged
	c.RetryDue(10)
	if c.Ready() != 2 || c.Retrying() != 2 {
		t.Errorf("%d ready, %d wait", c.Ready(), c.Retrying())
	}
}

// Much that is due at once is done in turns.
func TestMuchIsDueAtOnce(t *testing.T) {
	log := &fakeLog{}
	const n = 3 * retryTurn
	log.add(2*n, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	take(k, 2*n)
	for o := message.Offset(0); o < 2*n; o += 2 {
		_, err := k.RequeueLater(o, o, 0, for10)
		must(t, err)
	}
	if next, ok := c.retryTurn(10); !ok || next != 10 || c.Ready() > retryTurn {
		t.Errorf("after a turn %d are ready, next %d %v", c.Ready(), next, ok)
	}
	if _, ok := c.RetryDue(10); ok || c.Ready() != n {
		t.Errorf("%d ready, more %v", c.Ready(), ok)
	}
}

// Runs are sorted now and then, and not with each message where few of them meet.
func TestRunsAreJoinedNowAndThen(t *testing.T) {
	for scattered := range 200 {
		var d due
		for i := range scattered {
			d.add(span{offset(2 * i), offset(2 * i)})
		}
		const n = 10000
		joins := 0
		for i := range n { // of two consumers in turn
			before := len(d.runs)
			d.add(span{offset(1<<20 + i), offset(1<<20 + i)})
			d.add(span{offset(1<<30 + i), offset(1<<30 + i)})
			if len(d.runs) < before+2 {
				joins++
			}
		}
		if joins > n/8 {
			t.Errorf("beside %d runs, %d messages took %d joins", scattered, 2*n, joins)
		}
		if d.join(); len(d.runs) != scattered+2 {
			t.Errorf("%d runs, want %d", len(d.runs), scattered+2)
		}
	}
}
