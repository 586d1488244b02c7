package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/internal/field"
)

// urgent are properties of a message with a priority and, if that is not "", an expiration.
func urgent(priority int, expiration string) []byte {
	p := field.Properties{Flags: field.FlagPriority, Priority: uint8(priority)}
	if expiration != "" {
		p.Flags |= field.FlagExpiration
		p.Expiration = []byte(expiration)
	}
	return p.Append(nil)
}

// levelled makes the durable queue "q" with so many priorities.
func (r *rig) levelled(highest int, args ...any) *Queue {
	r.t.Helper()
	return r.queue("q", QueueOptions{Durable: true, Args: arguments(append(args, "x-max-priority", highest)...)})
}

// send publishes a message "PRIORITY:N" of each priority, N counting from 0, in one Store;
// a negative priority is none.
func (r *rig) send(priorities ...int) {
	r.t.Helper()
	p := r.s.NewPublisher()
	for n, priority := range priorities {
		in := &Inbound{Key: []byte("q"), Body: fmt.Appendf(nil, "%d:%d", priority, n), Persistent: true, TimestampMs: time.Now().UnixMilli()}
		if priority >= 0 {
			in.Properties = urgent(priority, "")
		}
		if routed, err := p.Publish(in); err != nil || !routed {
			r.t.Fatal(routed, err)
		}
	}
	flush(r.t, p)
}

func bodies(list []Delivery) (out []string) {
	for _, d := range list {
		text := string(d.Body)
		if d.Redelivered {
			text += "!"
		}
		out = append(out, text)
	}
	return out
}

func TestTheHighestPriorityComesFirst(t *testing.T) {
	sent := []int{-1, 1, 9, 0, 5, 3, 3, 255, 1}
	order := []string{"9:2", "5:4", "255:7", "3:5", "3:6", "1:1", "1:8", "-1:0", "0:3"}
	for name, take := range map[string]func(r *rig) []string{
		"get": func(r *rig) []string { return r.drainQ() },
		"consumer": func(r *rig) []string {
			return bodies(pull(r.t, r.subscribe("q", SubscribeOptions{}), 100, 1<<20))
		},
		"consumer one by one": func(r *rig) []string { return oneByOne(r, SubscribeOptions{}) },
		"prefetch 1":          func(r *rig) []string { return oneByOne(r, SubscribeOptions{Prefetch: 1}) },
		"prefetch 2":          func(r *rig) []string { return oneByOne(r, SubscribeOptions{Prefetch: 2}) },
		"no acks": func(r *rig) []string {
			return bodies(pull(r.t, r.subscribe("q", SubscribeOptions{NoAck: true}), 100, 1<<20))
		},
		"after a restart": func(r *rig) []string {
			r.restart()
			return r.drainQ()
		},
		"after a kill": func(r *rig) []string {
			r.kill()
			return r.drainQ()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			q := r.levelled(5)
			r.send(sent...)
			if n := q.Ready(); n != int64(len(sent)) {
				t.Errorf("%d ready", n)
			}
			want(t, "order", take(r), order)
		})
	}
}

// drainQ gets everything out of the queue "q".
func (r *rig) drainQ() []string {
	r.t.Helper()
	q, err := r.v.Queue("q")
	if err != nil {
		r.t.Fatal(err)
	}
	return drain(r.t, q)
}

// oneByOne takes and acks one message after the other.
func oneByOne(r *rig, o SubscribeOptions) (out []string) {
	sub := r.subscribe("q", o)
	for {
		got := pull(r.t, sub, 1, 1<<20)
		if len(got) == 0 {
			return out
		}
		out = append(out, bodies(got)...)
		if err := got[0].Lease.Ack(got[0].Offset, got[0].Offset); err != nil {
			r.t.Fatal(err)
		}
	}
}

// kill opens the store anew as it is, without a last word of the former process.
func (r *rig) kill() {
	r.t.Helper()
	left := copied(r.t, r.dir)
	r.Close() // what it writes now is nobody's
	r.store.Close()
	r.dir = left
	r.open()
}

func TestAConsumerThatIsThereGetsTheHighestThereIs(t *testing.T) {
	r := start(t)
	r.levelled(9)
	woken := 0
	sub := r.subscribe("q", SubscribeOptions{Prefetch: 1, Wake: func() { woken++ }})
	step := func(what string, send []int, wants ...string) {
		t.Helper()
		r.send(send...)
		if got := bodies(pull(t, sub, 100, 1<<20)); !slices.Equal(got, wants) {
			t.Errorf("%s: %q, want %q", what, got, wants)
		}
	}
	var held Delivery
	settle := func(do func(l *Lease) error) {
		t.Helper()
		woken = 0
		if err := do(held.Lease); err != nil {
			t.Fatal(err)
		}
		if woken == 0 {
			t.Error("nobody was woken")
		}
	}
	take := func(what, body string) {
		t.Helper()
		list := pull(t, sub, 100, 1<<20)
		if got := bodies(list); !slices.Equal(got, []string{body}) {
			t.Fatalf("%s: %q, want %q", what, got, body)
		}
		held = list[0]
	}
	ack := func(l *Lease) error { return l.Ack(held.Offset, held.Offset) }
	step("nothing is there", nil)
	r.send(0)
	if woken == 0 {
		t.Error("nobody was woken for a level's first message")
	}
	take("the first", "0:0")
	step("no credit", []int{1, 5, 0, 9})
	settle(ack)
	take("the highest", "9:3")
	settle(func(l *Lease) error { return l.Requeue(held.Offset, held.Offset) })
	take("given back", "9:3!")
	settle(ack)
	take("the next", "5:1")
	r.send(9)
	settle(ack)
	take("came meanwhile", "9:0")
	settle(ack)
	take("the next", "1:0")
	settle(ack)
	take("the last", "0:2")
}

// Whatever was given back and whoever went: when everybody has taken what he may, nothing
// is left that stands above something that was taken, and nobody who could take is idle.
func TestPrioritiesAreStrictWhateverHappens(t *testing.T) {
	const levels = 5
	r := start(t)
	q := r.levelled(levels - 1)
	rng := rand.New(rand.NewPCG(3, 7))
	type worker struct {
		*Subscription
		prefetch int
		held     []Delivery
		woken    bool
	}
	var workers []*worker
	hire := func() {
		n := 1 + rng.IntN(3)
		w := &worker{prefetch: n}
		w.Subscription = r.subscribe("q", SubscribeOptions{Prefetch: n, Wake: func() { w.woken = true }})
		workers = append(workers, w)
	}
	for range 4 {
		hire()
	}
	ready := make([]int, levels) // by priority
	priorityOf := func(d Delivery) int { return int(field.RawProperties(d.Properties).Priority()) }
	giveBack := func(d Delivery) {
		ready[priorityOf(d)]++
		if err := d.Lease.Requeue(d.Offset, d.Offset); err != nil {
			t.Fatal(err)
		}
	}
	sent, done := 0, 0
	for step := 0; done < sent || step < 2000; step++ {
		w := workers[rng.IntN(len(workers))]
		switch k := rng.IntN(8); {
		case k < 4 && step < 2000:
			for range 1 + rng.IntN(3) {
				n := rng.IntN(levels)
				r.send(n)
				ready[n]++
				sent++
			}
		case k < 7 && len(w.held) > 0:
			i := rng.IntN(len(w.held))
			d := w.held[i]
			w.held = slices.Delete(w.held, i, i+1)
			if rng.IntN(4) == 0 {
				giveBack(d)
				break
			}
			done++
			if err := d.Lease.Ack(d.Offset, d.Offset); err != nil {
				t.Fatal(err)
			}
		case k == 7:
			w.Stop()
			for _, d := range w.held {
				giveBack(d)
			}
			w.Close()
			workers = slices.DeleteFunc(workers, func(o *worker) bool { return o == w })
			hire()
		}
		lowest, idle := levels, false
		for more := true; more; {
			more, idle = false, false
			rng.Shuffle(len(workers), func(i, j int) { workers[i], workers[j] = workers[j], workers[i] })
			for _, w := range workers {
				w.woken = false
				list := pull(t, w.Subscription, 1+rng.IntN(2), 1<<20)
				for _, d := range list {
					lowest = min(lowest, priorityOf(d))
					ready[priorityOf(d)]--
				}
				w.held = append(w.held, list...)
				more = more || len(list) > 0
			}
			for _, w := range workers {
				more = more || w.woken
				idle = idle || len(w.held) < w.prefetch
			}
		}
		for n, left := range ready {
			if left > 0 && (n > lowest || idle) {
				t.Fatalf("step %d: %d of priority %d are left, %d was taken, idle %v", step, left, n, lowest, idle)
			}
		}
	}
	if q.Ready() != 0 || q.Unacked() != 0 {
		t.Errorf("%d ready, %d unacked", q.Ready(), q.Unacked())
	}
}

func TestAQueueWithPrioritiesIsCountedPurgedAndDeletedAsOne(t *testing.T) {
	r := start(t)
	q := r.levelled(9)
	r.send(0, 3, 3, 9, 5)
	got, err := r.s.Get("q", false)
	if err != nil || string(got.Body) != "9:3" || got.Remaining != 4 {
		t.Fatalf("%+v, %v", got, err)
	}
	if s := q.Stats(); s.Ready != 4 || s.Unacked != 1 || s.Partitions != 4 || s.Bytes == 0 || s.Segments != 4 {
		t.Errorf("%+v", s)
	}
	_, err = r.s.DeleteQueue("q", false, true)
	kind(t, err, Precondition)
	if n, err := r.s.Purge("q"); n != 4 || err != nil {
		t.Errorf("%d purged, %v", n, err)
	}
	if left := r.leftBy(); left[Purged] != 4 {
		t.Error(left)
	}
	if n := q.Ready(); n != 0 {
		t.Errorf("%d ready", n)
	}
	if err := got.Lease.Requeue(got.Offset, got.Offset); err != nil {
		t.Fatal(err)
	}
	want(t, "what came back", drain(t, q), []string{"9:3"})
	if _, err := r.s.DeleteQueue("q", true, true); err != nil {
		t.Error(err)
	}
	again := r.levelled(9)
	r.send(1)
	want(t, "another of that name", drain(t, again), []string{"1:0"})
}

func TestMessagesOfEachPriorityExpire(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.levelled(9, "x-message-ttl", 60_000)
		p := r.s.NewPublisher()
		for _, m := range []struct {
			priority   int
			expiration string
		}{{1, "1000"}, {5, ""}, {5, "1000"}, {9, "1000"}} {
			in := &Inbound{Key: []byte("q"), Properties: urgent(m.priority, m.expiration), Body: fmt.Appendf(nil, "%d %s", m.priority, m.expiration), Persistent: true, TimestampMs: time.Now().UnixMilli()}
			if _, err := p.Publish(in); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, p)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := q.Ready(); n != 2 {
			t.Errorf("%d ready, want a priority's head and what stands behind it", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if left := r.leftBy(); left[Expired] != 4 {
			t.Error(left)
		}
	})
}

// A message reaches queues with and without priorities alike, and the same key leads each
// of its messages to the log of its own priority.
func TestOneMessageReachesQueuesOfDifferentPriorities(t *testing.T) {
	for _, names := range [][]string{{"plain", "q"}, {"q"}, {"few", "q"}, {"few", "plain", "q", "q2"}} {
		r := start(t)
		r.exchange("x", "fanout")
		orders := map[string][]string{"plain": {"0", "9", "2", "1", "9"}, "q": {"9", "9", "2", "1", "0"}, "q2": {"9", "9", "2", "1", "0"}, "few": {"9", "2", "1", "9", "0"}}
		for _, name := range names {
			args := map[string][]byte{"plain": nil, "q": arguments("x-max-priority", 9), "q2": arguments("x-max-priority", 255), "few": arguments("x-max-priority", 1)}[name]
			r.queue(name, QueueOptions{Durable: true, Args: args})
			r.bind("x", name, "")
		}
		p := r.s.NewPublisher()
		for range 2 {
			for _, priority := range []int{0, 9, 2, 1, 9} {
				in := &Inbound{Exchange: []byte("x"), Key: []byte("k"), Properties: urgent(priority, ""), Body: fmt.Append(nil, priority), Persistent: true, TimestampMs: 1}
				if routed, err := p.Publish(in); err != nil || !routed {
					t.Fatal(routed, err)
				}
			}
			flush(t, p)
			for _, name := range names {
				q, _ := r.v.Queue(name)
				want(t, fmt.Sprint(names, " ", name), drain(t, q), orders[name])
			}
		}
	}
}

func TestAPriorityThatIsNotUsedCostsNoLog(t *testing.T) {
	r := start(t)
	q := r.levelled(255)
	r.send(7)
	r.subscribe("q", SubscribeOptions{})
	made := 0
	for _, p := range q.Partitions() {
		if p.cursor.Load() != nil || p.log.Figures().Segments > 0 {
			made++
		}
	}
	if made != 1 || len(q.Partitions()) != 256 {
		t.Errorf("%d of %d logs are in use", made, len(q.Partitions()))
	}
	r.restart()
	q, _ = r.v.Queue("q")
	if n := len(q.inTurn()); n != 1 || q.inTurn()[0].index != 7 {
		t.Errorf("%d levels are in use after a start", n)
	}
}

func TestAHighestPriorityOfZeroIsAsOne(t *testing.T) {
	for _, highest := range []int{0, 1} {
		r := start(t)
		q := r.levelled(highest)
		r.send(0, 5, 1)
		want(t, "order", drain(t, q), []string{"5:1", "1:2", "0:0"})
		if n := len(q.Partitions()); n != 2 || q.Readable() {
			t.Errorf("%d partitions, readable %v", n, q.Readable())
		}
	}
}

func TestOneActiveConsumerOfAQueueWithPriorities(t *testing.T) {
	r := start(t)
	c := r.single("x-max-priority", 3)
	c.come("a", 0)
	c.come("b", 0)
	r.send(0, 1, 3, 2)
	c.want("two of the highest", "a 3:2 2:3")
	c.ack("a", 1)
	r.send(2)
	c.want("and the next", "a 2:3 2:0")
	c.close("a")
	c.want("back in their places", "b 2:3! 2:0!")
}

// TestWhoStopsLeavesTheLevelsThatItNeverPulledFrom: what it was handed there is ready again, and nothing more is.
func TestWhoStopsLeavesTheLevelsThatItNeverPulledFrom(t *testing.T) {
	r := start(t)
	q := r.levelled(3, "x-max-length", 100) // so that what comes is handed out at once
	sub := r.subscribe("q", SubscribeOptions{})
	r.send(2)
	if n := q.Ready(); n != 0 {
		t.Fatalf("%d ready beside one who is free", n)
	}
	sub.Stop()
	r.send(1)
	want(t, "left", r.drainQ(), []string{"2:0", "1:0"})
	sub.Close()
}

// TestALevelIsInUseWhenEverybodyStandsThere: another publisher, which sees it in use, looks for nobody any more.
func TestALevelIsInUseWhenEverybodyStandsThere(t *testing.T) {
	r := start(t)
	q := r.levelled(3)
	var subs []*Subscription
	woken := 0
	for range 3 {
		subs = append(subs, r.subscribe("q", SubscribeOptions{Wake: func() { // under the queue's lock
			woken++
			for _, sub := range subs {
				if len(q.inTurn()) != len(sub.ahead) {
					t.Errorf("%d levels in use, and a consumer stands at %d", len(q.inTurn()), len(sub.ahead))
				}
			}
		}}))
	}
	woken = 0
	q.Partitions()[2].use()
	if woken != 3 {
		t.Errorf("%d were woken", woken)
	}
}

// TestWhoCantComeHasAnotherWokenAtALevelThatIsNew: also who has not pulled since the level is in use.
func TestWhoCantComeHasAnotherWokenAtALevelThatIsNew(t *testing.T) {
	r := start(t)
	q := r.levelled(3)
	woken := make([]bool, 2)
	var subs []*Subscription
	for i := range woken {
		subs = append(subs, r.subscribe("q", SubscribeOptions{Wake: func() { woken[i] = true }}))
	}
	q.Partitions()[2].use()
	clear(woken)
	r.send(2)
	busy := slices.Index(woken, true)
	if busy < 0 || woken[1-busy] {
		t.Fatalf("woken for one message: %v", woken)
	}
	subs[busy].Pass()
	if !woken[1-busy] {
		t.Error("nobody else was woken")
	}
}

// Messages of ten priorities, in and out with their acks, allocate nothing once all were used.
func TestPrioritiesAllocateNothing(t *testing.T) {
	s := benchRig(t)
	if _, err := s.DeclareQueue("q", QueueOptions{Durable: true, Args: arguments("x-max-priority", 9)}); err != nil {
		t.Fatal(err)
	}
	sub, err := s.Subscribe("q", SubscribeOptions{Prefetch: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	p := s.NewPublisher()
	var in []*Inbound
	for i := range 10 {
		in = append(in, &Inbound{Key: []byte("q"), Properties: urgent(i, ""), Body: make([]byte, 100), TimestampMs: 1})
	}
	emit := func(d *Delivery) {
		if err := d.Lease.Ack(d.Offset, d.Offset); err != nil {
			t.Error(err)
		}
	}
	n := alloc.Least(0, 200, func() {
		for i := range 50 {
			if _, err := p.Publish(in[i%len(in)]); err != nil {
				t.Fatal(err)
			}
		}
		p.Store()
		for got := 0; got < 50; {
			k, err := sub.Pull(1024, 1<<17, emit)
			if err != nil {
				t.Fatal(err)
			}
			got += k
			sub.Release()
		}
	})
	if n > 0 {
		t.Errorf("%v allocations for 50 messages", n)
	}
}
