package consumer

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leveret-mq/leveret/message"
)

// fakeLog is a Source over batches of existing offsets, with gaps where the test
// wants them. It is safe for concurrent use.
type fakeLog struct {
	mu    sync.Mutex
	runs  []Run // ordered
	start offset
	end   offset
	fail  error
	cold  bool     // it takes the disk to know what comes next
	asked []func() // what Later was given
}

// always is a purge that is wanted to its end.
func always() bool { return true }

// Later notes what is to be asked, for answer.
func (l *fakeLog) Later(ask func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, ask)
}

// answer does what was put off, and says how much that was.
func (l *fakeLog) answer() int {
	l.mu.Lock()
	asked := l.asked
	l.asked = nil
	l.mu.Unlock()
	for _, ask := range asked {
		ask()
	}
	return len(asked)
}

// add appends n records after a gap.
func (l *fakeLog) add(n, gap int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.end + offset(gap)
	l.end = first
	if n > 0 {
		l.runs = append(l.runs, Run{First: first, Last: first + offset(n) - 1})
		l.end = first + offset(n)
	}
}

func (l *fakeLog) Next(from message.Offset, wait bool) (first, last message.Offset, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cold && !wait {
		return 0, 0, false, ErrWait
	}
	if l.fail != nil {
		return 0, 0, false, l.fail
	}
	i, _ := slices.BinarySearchFunc(l.runs, from, func(r Run, o offset) int { return int(r.Last - o) })
	if i == len(l.runs) {
		return 0, 0, false, nil
	}
	return max(from, l.runs[i].First), l.runs[i].Last, true, nil
}

func (l *fakeLog) Bounds() (start, end message.Offset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start, l.end
}

func (l *fakeLog) Records(from, to message.Offset, wait bool) (n int64, exact bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cold && !wait {
		return int64(to - from), false
	}
	for _, r := range l.runs {
		if f, t := max(r.First, from), min(r.Last, to-1); f <= t {
			n += int64(t-f) + 1
		}
	}
	return n, true
}

func newCursor(t testing.TB, src Source, st State) *Cursor {
	t.Helper()
	c, err := New(src, st)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func add(t fataler, c *Cursor, o ConsumerOptions) *Consumer {
	t.Helper()
	k, err := c.Add(o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// take takes until it has n messages or there are no more, as a connection does.
func take(k *Consumer, n int) (runs []Run) {
	for n > 0 {
		got := k.Take(n, nil)
		if len(got) == 0 {
			break
		}
		for _, r := range got {
			runs = appendRun(runs, 0, r)
		}
		n -= int(total(got))
	}
	return runs
}

func total(runs []Run) (n int64) {
	for _, r := range runs {
		n += r.Len()
	}
	return n
}

func wantRuns(t testing.TB, got []Run, want ...Run) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("runs %v, want %v", got, want)
	}
}

func wantCounts(t testing.TB, c *Cursor, ready, unacked int64, floor, handed offset) {
	t.Helper()
	f, h := c.Progress()
	if r, u := c.Ready(), c.Unacked(); r != ready || u != unacked || f != floor || h != handed {
		t.Fatalf("ready %d unacked %d floor %d handed %d, want %d %d %d %d", r, u, f, h, ready, unacked, floor, handed)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTakeGivesOneRunAcrossBatchesAndStepsOverGaps(t *testing.T) {
	log := &fakeLog{}
	log.add(10, 0)
	log.add(10, 0)
	log.add(5, 3) // 23..27
	log.add(0, 2) // a control batch at the end
	c := newCursor(t, log, State{})
	wantCounts(t, c, 25, 0, 0, 0)
	k := add(t, c, ConsumerOptions{})
	wantRuns(t, take(k, 12), Run{0, 11, false, 0})
	wantCounts(t, c, 13, 12, 0, 12)
	wantRuns(t, take(k, 100), Run{12, 19, false, 0}, Run{23, 27, false, 0})
	wantRuns(t, take(k, 100))
	wantCounts(t, c, 0, 25, 0, 28)
	must(t, k.Ack(0, 19))
	wantCounts(t, c, 0, 5, 23, 28)
	must(t, k.Ack(23, 27))
	wantCounts(t, c, 0, 0, 30, 28)
}

func TestRequeuedMessagesGoBackToTheirPlace(t *testing.T) {
	log := &fakeLog{}
	log.add(10, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	take(k, 6)
	must(t, k.Requeue(1, 1))
	must(t, k.Requeue(3, 4))
	wantCounts(t, c, 7, 3, 0, 6)
	wantRuns(t, take(k, 10), Run{1, 1, true, 1}, Run{3, 4, true, 1}, Run{6, 9, false, 0})
	if n := c.Returned(3); n != 1 {
		t.Fatalf("returned %d times", n)
	}
	for range 4 {
		must(t, k.Requeue(3, 3))
		take(k, 1)
	}
	if n := c.Returned(3); n != 5 {
		t.Fatalf("returned %d times, want 5", n)
	}
	must(t, k.Ack(3, 3))
	if n := c.Returned(3); n != 0 {
		t.Fatalf("an acked message is counted %d", n)
	}
	if n := c.Returned(4); n != 1 {
		t.Fatalf("returned %d times, want 1", n)
	}
}

func TestSettlingWhatIsNotHeldFailsAndChangesNothing(t *testing.T) {
	log := &fakeLog{}
	log.add(10, 0)
	log.add(10, 5)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	other := add(t, c, ConsumerOptions{Prefetch: 1})
	take(k, 12)
	other.Cancel() // what it was dealt goes back
	take(k, 1)
	held := c.Unacked()
	must(t, k.Ack(0, 2))
	for _, r := range []Run{{0, 0, false, 0}, {2, 3, false, 0}, {8, 16, false, 0}, {12, 12, false, 0}, {19, 19, false, 0}, {30, 30, false, 0}, {5, 4, false, 0}, {-1, 5, false, 0}, {3, 1 << 62, false, 0}} {
		if err := k.Ack(r.First, r.Last); !errors.Is(err, ErrNotHeld) {
			t.Errorf("ack %v: %v", r, err)
		}
		if err := k.Requeue(r.First, r.Last); !errors.Is(err, ErrNotHeld) {
			t.Errorf("requeue %v: %v", r, err)
		}
	}
	if err := c.Getter().Ack(4, 4); !errors.Is(err, ErrNotHeld) {
		t.Errorf("ack through another's handle: %v", err)
	}
	if n := c.Unacked(); n != held-3 {
		t.Fatalf("unacked %d, want %d", n, held-3)
	}
}

func TestWhatWasPutBackIsNotHeldAnyMore(t *testing.T) {
	log := &fakeLog{}
	log.add(10, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	take(k, 4)
	must(t, k.Requeue(1, 1))
	if err := k.Ack(1, 1); !errors.Is(err, ErrNotHeld) {
		t.Errorf("ack of a message that was put back: %v", err)
	}
	if err := k.Ack(0, 2); !errors.Is(err, ErrNotHeld) {
		t.Errorf("ack of a range with such a message: %v", err)
	}
	if n := c.Unacked(); n != 3 {
		t.Errorf("%d unacked, want 3", n)
	}
}

func TestRestartMarksExactlyWhatMayHaveBeenSeen(t *testing.T) {
	log := &fakeLog{}
	log.add(20, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	take(k, 10)
	must(t, k.Ack(0, 1))
	must(t, k.Ack(5, 6))
	must(t, k.Requeue(8, 8))
	floor, handed := c.Progress()
	data := c.AppendState(nil)

	c = newCursor(t, log, State{Floor: floor, Handed: handed, Data: data})
	wantCounts(t, c, 16, 0, 2, 10)
	if n := c.Returned(8); n != 1 {
		t.Fatalf("count of a returned message did not survive: %d", n)
	}
	k = add(t, c, ConsumerOptions{})
	wantRuns(t, take(k, 100), Run{2, 4, true, 0}, Run{7, 7, true, 0}, Run{8, 8, true, 1}, Run{9, 9, true, 0}, Run{10, 19, false, 0})

	// Data older than floor and handed.
	c = newCursor(t, log, State{Floor: 4, Handed: 15, Data: data})
	wantCounts(t, c, 14, 0, 4, 15)
	k = add(t, c, ConsumerOptions{})
	wantRuns(t, take(k, 100), Run{4, 4, true, 0}, Run{7, 7, true, 0}, Run{8, 8, true, 1}, Run{9, 14, true, 0}, Run{15, 19, false, 0})

	// No data: everything above the floor comes again.
	c = newCursor(t, log, State{Floor: 2, Handed: 10})
	k = add(t, c, ConsumerOptions{})
	wantRuns(t, take(k, 100), Run{2, 9, true, 0}, Run{10, 19, false, 0})

	// Floor moved past everything that the data knows.
	c = newCursor(t, log, State{Floor: 12, Handed: 14, Data: data})
	k = add(t, c, ConsumerOptions{})
	wantRuns(t, take(k, 100), Run{12, 13, true, 0}, Run{14, 19, false, 0})
}

func TestOffsetsBeyondALostTailAreNotTakenForAcked(t *testing.T) {
	log := &fakeLog{}
	log.add(20, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	take(k, 20)
	must(t, k.Ack(0, 14))
	must(t, k.Ack(16, 19))
	floor, handed := c.Progress()
	data := c.AppendState(nil)

	log = &fakeLog{}
	log.add(10, 0) // the disk lost ten
	c = newCursor(t, log, State{Floor: floor, Handed: handed, Data: data})
	wantCounts(t, c, 0, 0, 10, 10)
	log.add(10, 0)
	k = add(t, c, ConsumerOptions{})
	wantRuns(t, take(k, 100), Run{10, 19, false, 0})
}

func TestRetentionTakesReadyMessagesAway(t *testing.T) {
	log := &fakeLog{}
	log.add(20, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	take(k, 6)
	must(t, k.Requeue(2, 4))
	log.start = 4
	wantCounts(t, c, 15, 3, 0, 6)
	wantRuns(t, take(k, 1), Run{4, 4, true, 1})
	log.start = 10
	wantRuns(t, take(k, 100), Run{10, 19, false, 0})
	must(t, k.Ack(0, 1))
	must(t, k.Ack(4, 5))
	wantCounts(t, c, 0, 10, 10, 20)
}

func TestPurgeDropsReadyMessagesOnly(t *testing.T) {
	log := &fakeLog{}
	log.add(20, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	take(k, 6)
	must(t, k.Requeue(2, 3))
	if n := c.Purge(always); n != 16 {
		t.Fatalf("purged %d, want 16", n)
	}
	wantCounts(t, c, 0, 4, 0, 6)
	wantRuns(t, take(k, 10))
	must(t, k.Ack(0, 1))
	must(t, k.Ack(4, 5))
	wantCounts(t, c, 0, 0, 20, 6)
	if n := c.Purge(always); n != 0 {
		t.Fatalf("purged %d, want 0", n)
	}
}

func TestPurgeDropsWhatItCountsWhileTheLogGrows(t *testing.T) {
	log := &busyLog{}
	log.add(20, 0)
	c, err := New(log, State{})
	must(t, err)
	k := add(t, c, ConsumerOptions{})
	log.meanwhile = func() { log.add(1, 0) }
	if n := c.Purge(always); n != 20 {
		t.Fatalf("purged %d, want 20", n)
	}
	log.meanwhile = nil
	wantCounts(t, c, 1, 0, 20, 0)
	wantRuns(t, take(k, 10), Run{20, 20, false, 0})
}

func TestGetHandsOutTheFirstReadyMessage(t *testing.T) {
	log := &fakeLog{}
	log.add(3, 0)
	c := newCursor(t, log, State{})
	for want := range offset(2) {
		r, ok := c.Get()
		if !ok || r != (Run{want, want, false, 0}) {
			t.Fatalf("got %v %v", r, ok)
		}
	}
	must(t, c.Getter().Requeue(0, 0))
	if r, ok := c.Get(); !ok || r != (Run{0, 0, true, 1}) {
		t.Fatalf("got %v %v", r, ok)
	}
	must(t, c.Getter().AckRuns([]Run{{First: 0, Last: 1}}))
	wantCounts(t, c, 1, 0, 2, 2)
	c.Get()
	if r, ok := c.Get(); ok {
		t.Fatalf("got %v of an empty queue", r)
	}
}

func TestNoAckMessagesAreAckedWhenTaken(t *testing.T) {
	log := &fakeLog{}
	log.add(10, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{NoAck: true, Prefetch: 1})
	other := add(t, c, ConsumerOptions{NoAck: true})
	if n := total(take(k, 100)); n != 5 {
		t.Fatalf("took %d, want 5", n)
	}
	wantCounts(t, c, 0, 5, 1, 9)
	if n := total(take(other, 2)); n != 2 {
		t.Fatalf("took %d, want 2", n)
	}
	wantCounts(t, c, 0, 3, 5, 9)
	other.Cancel()
	wantRuns(t, take(k, 100), Run{5, 5, false, 0}, Run{7, 7, false, 0}, Run{9, 9, false, 0})
	wantCounts(t, c, 0, 0, 10, 10)
}

func TestPrefetchLimitsAndAcksFreeIt(t *testing.T) {
	log := &fakeLog{}
	log.add(10, 0)
	c := newCursor(t, log, State{})
	woken := 0
	k := add(t, c, ConsumerOptions{Prefetch: 3, Wake: func() { woken++ }})
	wantRuns(t, take(k, 100), Run{0, 2, false, 0})
	wantRuns(t, take(k, 100))
	woken = 0
	must(t, k.Ack(1, 1))
	must(t, k.Ack(0, 0))
	if woken != 1 {
		t.Fatalf("woken %d times, want once", woken)
	}
	wantRuns(t, take(k, 100), Run{3, 4, false, 0})
	must(t, k.Requeue(2, 2))
	wantRuns(t, take(k, 100), Run{2, 2, true, 1})
	if k.Held() != 3 {
		t.Fatalf("holds %d", k.Held())
	}
	k.Cancel()
	must(t, k.Ack(2, 4))
	wantCounts(t, c, 5, 0, 5, 5)
}

func TestSharedCreditHoldsAcrossCursors(t *testing.T) {
	logs := []*fakeLog{{}, {}}
	credit := NewCredit(4)
	var ks []*Consumer
	woken := make([]int, 2)
	for i, log := range logs {
		log.add(10, 0)
		ks = append(ks, add(t, newCursor(t, log, State{}), ConsumerOptions{Shared: credit, Wake: func() { woken[i]++ }}))
	}
	wantRuns(t, take(ks[0], 3), Run{0, 2, false, 0})
	wantRuns(t, take(ks[1], 3), Run{0, 0, false, 0})
	wantRuns(t, take(ks[1], 3))
	woken[1] = 0
	must(t, ks[0].Ack(0, 1))
	if woken[1] != 1 {
		t.Fatalf("the other queue's consumer was woken %d times", woken[1])
	}
	wantRuns(t, take(ks[1], 5), Run{1, 2, false, 0})
	wantRuns(t, take(ks[1], 5))
	credit.SetLimit(5)
	wantRuns(t, take(ks[1], 5), Run{3, 3, false, 0})
	credit.SetLimit(0)
	wantRuns(t, take(ks[1], 3), Run{4, 6, false, 0})
	ks[1].Cancel()
	must(t, ks[1].Requeue(0, 6))
	if credit.Used() != 1 {
		t.Fatalf("used %d, want 1", credit.Used())
	}
}

// TestSharedCreditGoesAround has consumers take what one of them acks: on one queue or on
// several, in the order in which they are woken, as a connection does.
func TestSharedCreditGoesAround(t *testing.T) {
	for _, tc := range []struct {
		name              string
		cursors, on, each int // consumers on each cursor
		limit             int
	}{
		{"on one queue", 1, 2, 10, 1},
		{"on three queues", 3, 1, 10, 1},
		{"several at a time", 4, 1, 10, 2},
		{"on three queues, two on each", 3, 2, 6, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			credit := NewCredit(tc.limit)
			var ks, awake []*Consumer
			for range tc.cursors {
				log := &fakeLog{}
				log.add(100, 0)
				c := newCursor(t, log, State{})
				for range tc.on {
					var k *Consumer
					k = add(t, c, ConsumerOptions{Shared: credit, Wake: func() { awake = append(awake, k) }})
					ks = append(ks, k)
				}
			}
			awake = slices.Clone(ks)
			got := make([]int, len(ks))
			type out struct {
				k *Consumer
				r Run
			}
			var held []out
			for taken := 0; taken < tc.each*len(ks); {
				if len(awake) == 0 {
					h := held[0]
					held = held[1:]
					must(t, h.k.Ack(h.r.First, h.r.Last))
					continue
				}
				k := awake[0]
				awake = awake[1:]
				for _, r := range k.Take(10, nil) {
					for o := r.First; o <= r.Last; o++ {
						held = append(held, out{k, Run{First: o, Last: o}})
						got[slices.Index(ks, k)]++
						taken++
					}
					awake = append(awake, k)
				}
			}
			for i, n := range got {
				if n < tc.each-tc.limit || n > tc.each+tc.limit {
					t.Errorf("consumer %d got %d of %v", i, n, got)
				}
			}
		})
	}
}

func TestWithoutAcksSharedCreditIsWaitedForAndNotTaken(t *testing.T) {
	credit := NewCredit(1)
	holder, free := &fakeLog{}, &fakeLog{}
	holder.add(2, 0)
	k := add(t, newCursor(t, holder, State{}), ConsumerOptions{Shared: credit})
	woken := 0
	c := newCursor(t, free, State{})
	noAck := add(t, c, ConsumerOptions{Shared: credit, NoAck: true, Wake: func() { woken++ }})
	free.add(3, 0)
	wantRuns(t, take(noAck, 1), Run{0, 0, false, 0})
	wantRuns(t, take(noAck, 1), Run{1, 1, false, 0})
	wantRuns(t, take(k, 1), Run{0, 0, false, 0})
	wantRuns(t, take(noAck, 1))
	if n := c.Appetite(); n != 0 {
		t.Errorf("an appetite for %d", n)
	}
	if c.DealOut(); c.Ready() != 1 {
		t.Errorf("%d ready", c.Ready())
	}
	woken = 0
	must(t, k.Ack(0, 0))
	if woken != 1 {
		t.Errorf("woken %d times", woken)
	}
	wantRuns(t, take(noAck, 1), Run{2, 2, false, 0})
	if credit.Used() != 0 {
		t.Errorf("used %d", credit.Used())
	}
}

func TestExclusiveConsumersAreAlone(t *testing.T) {
	c := newCursor(t, &fakeLog{}, State{})
	k := add(t, c, ConsumerOptions{})
	if _, err := c.Add(ConsumerOptions{Exclusive: true}); !errors.Is(err, ErrInUse) {
		t.Fatal(err)
	}
	k.Cancel()
	k.Cancel()
	k = add(t, c, ConsumerOptions{Exclusive: true})
	if _, err := c.Add(ConsumerOptions{}); !errors.Is(err, ErrExclusive) {
		t.Fatal(err)
	}
	k.Cancel()
	add(t, c, ConsumerOptions{})
	if c.Consumers() != 1 {
		t.Fatal("a canceled consumer is counted")
	}
}

func TestAFailingLogIsReportedAndTriedAgain(t *testing.T) {
	log := &fakeLog{}
	log.add(10, 0)
	log.fail = errors.New("disk on fire")
	c := newCursor(t, log, State{})
	woken := 0
	k := add(t, c, ConsumerOptions{Wake: func() { woken++ }})
	woken = 0
	wantRuns(t, take(k, 10))
	if c.Err() == nil || woken != 0 {
		t.Fatalf("err %v, woken %d: must not spin", c.Err(), woken)
	}
	log.fail = nil
	c.Notify()
	if woken != 1 {
		t.Fatalf("woken %d", woken)
	}
	wantRuns(t, take(k, 10), Run{0, 9, false, 0})
	if c.Err() != nil {
		t.Fatal(c.Err())
	}
}

// TestNoWakeIsMissed runs publishers and consumers against each other; a lost wake
// would hang it.
func TestNoWakeIsMissed(t *testing.T) {
	const messages = 20000
	log := &fakeLog{}
	c := newCursor(t, log, State{})
	credit := NewCredit(7)
	var got atomic.Int64
	done := make(chan struct{})
	var workers sync.WaitGroup
	for i := range 6 {
		wake := make(chan struct{}, 1)
		o := ConsumerOptions{Prefetch: i % 3 * 5, NoAck: i == 5, Wake: func() {
			select {
			case wake <- struct{}{}:
			default:
			}
		}}
		if i%2 == 0 {
			o.Shared = credit
		}
		k := add(t, c, o)
		workers.Go(func() {
			var runs []Run
			for {
				if runs = k.Take(50, runs[:0]); len(runs) == 0 {
					select {
					case <-wake:
					case <-done:
						return
					}
				}
				if !o.NoAck {
					if err := k.AckRuns(runs); err != nil {
						t.Error(err)
					}
				}
				if n := total(runs); n > 0 && got.Add(n) == messages {
					close(done)
				}
			}
		})
	}
	for range messages / 20 {
		log.add(20, 0)
		c.Notify()
	}
	workers.Wait()
	wantCounts(t, c, 0, 0, messages, messages)
}

// fataler is what tests, benchmarks and rapid's checks have in common.
type fataler interface {
	Helper()
	Fatal(args ...any)
}
