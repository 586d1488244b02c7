package kafka

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// What is wrong with one verdict of a request is wrong with all of its partition: nothing of it is carried out.
func TestVerdictsThatContradictThemselvesSettleNothing(t *testing.T) {
	r := newRig(t, nil)
	r.filled(t, "t", 20)
	a, b := r.sharer(t, "a", "t"), r.sharer(t, "b", "t")
	a.got("ten", a.fetch(10), []string{"0-9:1"})
	b.got("the next", b.fetch(2), []string{"10-11:1"})
	accept, reject := []int8{1}, []int8{3}
	for _, tc := range []struct {
		what     string
		verdicts []verdictsAt
		want     wire.Code
	}{
		{"batches that overlap", []verdictsAt{{0, 5, accept}, {4, 9, accept}}, wire.InvalidRequest},
		{"batches that overlap and differ", []verdictsAt{{0, 5, accept}, {2, 3, reject}}, wire.InvalidRequest},
		{"batches that meet in a record", []verdictsAt{{0, 5, accept}, {5, 9, reject}}, wire.InvalidRecordState},
		{"a record twice", []verdictsAt{{3, 3, accept}, {3, 3, accept}}, wire.InvalidRecordState},
		{"batches in no order", []verdictsAt{{5, 9, accept}, {0, 4, accept}}, wire.InvalidRequest},
		{"what another holds", []verdictsAt{{0, 9, accept}, {10, 11, accept}}, wire.InvalidRecordState},
		{"what another holds in one batch", []verdictsAt{{8, 10, accept}}, wire.InvalidRecordState},
		{"what nobody holds", []verdictsAt{{0, 9, accept}, {15, 15, accept}}, wire.InvalidRecordState},
		{"what is not there", []verdictsAt{{0, 9, accept}, {1 << 40, 1<<40 + 5, accept}}, wire.InvalidRecordState},
		{"all there could be", []verdictsAt{{0, 1 << 62, accept}}, wire.InvalidRecordState},
		{"a kind that there is not", []verdictsAt{{0, 4, accept}, {5, 9, []int8{9}}}, wire.InvalidRequest},
	} {
		if p := a.fetch(0, tc.verdicts...); p.AcknowledgeErrorCode != int16(tc.want) {
			t.Errorf("%s: error %d, want %d", tc.what, p.AcknowledgeErrorCode, tc.want)
		}
	}
	q, _ := mustVHost(t, r).Queue("t")
	if ready, unacked := q.Ready(), q.Unacked(); ready != 8 || unacked != 12 {
		t.Errorf("%d ready, %d unacked", ready, unacked)
	}
	a.got("all that it held", a.fetch(0, verdictsAt{0, 3, accept}, verdictsAt{4, 4, reject}, verdictsAt{5, 9, accept}), nil)
	if ready, unacked := q.Ready(), q.Unacked(); ready != 8 || unacked != 2 {
		t.Errorf("%d ready, %d unacked", ready, unacked)
	}
}

// A group or a topic that is deleted under its members takes nothing else with it, and what they say of its messages hits no other.
func TestDeletionsUnderWhatIsAcquired(t *testing.T) {
	r := newRig(t, nil)
	r.filled(t, "t", 10)
	r.filled(t, "other", 3)
	a := r.sharer(t, "a", "t")
	a.got("five", a.fetch(5), []string{"0-4:1"})
	c := r.raw()
	c.alterGroup("sg", "share.record.lock.duration.ms", "20000")
	gone := kmsg.NewPtrDeleteGroupsRequest()
	gone.Groups = []string{"sg"}
	c.send(gone, 2)
	var deleted kmsg.DeleteGroupsResponse
	if c.receive(&deleted, 2); deleted.Groups[0].ErrorCode != int16(wire.GroupIDNotFound) { // sessions make no group
		t.Errorf("%+v", deleted)
	}
	a.got("it holds what it held", a.fetch(0, verdictsAt{0, 1, []int8{1}}), nil)
	s := mustVHost(t, r).NewSession(auth.Identity{})
	defer s.Close()
	if _, err := s.DeleteQueue("t", false, false); err != nil {
		t.Fatal(err)
	}
	r.filled(t, "t", 4) // another of that name
	if p := a.fetch(0, verdictsAt{2, 3, []int8{1}}); p.AcknowledgeErrorCode != int16(wire.UnknownTopicID) {
		t.Errorf("what was held of a topic that is gone: %+v", p)
	}
	if p := a.fetch(5); p.ErrorCode != int16(wire.UnknownTopicID) {
		t.Errorf("a topic that is gone: %+v", p)
	}
	q, _ := mustVHost(t, r).Queue("t")
	if ready, unacked := q.Ready(), q.Unacked(); ready != 4 || unacked != 0 {
		t.Errorf("of the new one %d are ready, %d unacked", ready, unacked)
	}
	for _, topic := range []string{"other", "t"} {
		b := r.sharer(t, "b-"+topic, topic)
		if p := b.fetch(100); p.ErrorCode != 0 || len(p.AcquiredRecords) != 1 || p.AcquiredRecords[0].FirstOffset != 0 {
			t.Errorf("%s: %+v", topic, p)
		}
	}
}

// What members hold is not counted against a limit of length, and is not dropped for it.
func TestALimitOfLengthLeavesWhatIsAcquired(t *testing.T) {
	r := newRig(t, nil)
	s := mustVHost(t, r).NewSession(auth.Identity{})
	defer s.Close()
	args := field.AppendName(nil, "x-max-length")
	if _, err := s.DeclareQueue("work", broker.QueueOptions{Durable: true, Args: field.AppendInt(args, 10)}); err != nil {
		t.Fatal(err)
	}
	c := r.raw()
	put := func(n int) {
		for range n {
			if p := c.produce("work", -1, makeBatch(nil, "v")); p.ErrorCode != 0 {
				t.Fatal(p)
			}
		}
	}
	put(10)
	a := r.sharer(t, "a", "work")
	a.got("all", a.fetch(100), []string{"0-9:1"})
	put(12)
	q, _ := mustVHost(t, r).Queue("work")
	if ready, unacked := q.Ready(), q.Unacked(); ready != 10 || unacked != 10 {
		t.Errorf("%d ready, %d unacked", ready, unacked)
	}
	a.got("what is held is held", a.fetch(0, verdictsAt{0, 4, []int8{1}}), nil)
	a.got("and the newest are there", a.fetch(100), []string{"12-21:1"})
	a.got("done", a.fetch(0, verdictsAt{5, 9, []int8{1}}, verdictsAt{12, 21, []int8{1}}), nil)
	if ready, unacked := q.Ready(), q.Unacked(); ready != 0 || unacked != 0 {
		t.Errorf("%d ready, %d unacked", ready, unacked)
	}
}

// A member that vanishes with thousands of messages, each settled by itself or not at all, leaves the rest to others at once; those
// that came too often are dead letters.
func TestAMemberVanishesWithThousands(t *testing.T) {
	r := newRigMode(t, store.ModeOS, nil)
	s := mustVHost(t, r).NewSession(auth.Identity{})
	defer s.Close()
	args := field.AppendString(field.AppendName(nil, "x-dead-letter-exchange"), nil)
	args = field.AppendString(field.AppendName(args, "x-dead-letter-routing-key"), []byte("dead"))
	for name, args := range map[string][]byte{"work": args, "dead": nil} {
		if _, err := s.DeclareQueue(name, broker.QueueOptions{Durable: true, Args: args}); err != nil {
			t.Fatal(err)
		}
	}
	const n = 5000
	r.produceNumbered(t, "work", n)
	q, _ := mustVHost(t, r).Queue("work")
	for round := 1; round <= 5; round++ { // five deliveries are what a share group allows
		a := r.sharer(t, fmt.Sprint("a", round), "work")
		want := n
		if round > 1 {
			want = n / 2
		}
		got := 0
		for got < want {
			p := a.fetch(1000)
			for _, run := range p.AcquiredRecords {
				got += int(run.LastOffset-run.FirstOffset) + 1
				if run.DeliveryCount != int16(round) {
					t.Fatalf("round %d: %v", round, runsOf(p))
				}
			}
			if len(p.AcquiredRecords) == 0 {
				t.Fatalf("round %d: %d of %d are there", round, got, want)
			}
		}
		if round == 1 { // every other one is settled
			var verdicts []verdictsAt
			for o := int64(0); o < n; o += 2 {
				verdicts = append(verdicts, verdictsAt{o, o, []int8{1}})
			}
			a.got("each by itself", a.fetch(0, verdicts...), nil)
		}
		a.nc.Close()
		eventually(t, "what it held is free", func() bool { return q.Unacked() == 0 })
	}
	dead, _ := mustVHost(t, r).Queue("dead")
	eventually(t, "all the others are dead letters", func() bool { return dead.Ready() == n/2 && q.Ready() == 0 })
}

// produceNumbered fills a queue with records of their own numbers, in batches of a hundred.
func (r *rig) produceNumbered(t *testing.T, queue string, n int) {
	t.Helper()
	c := r.raw()
	defer c.nc.Close()
	for i := 0; i < n; i += 100 {
		var values []string
		for k := range min(100, n-i) {
			values = append(values, fmt.Sprint(i+k))
		}
		if p := c.produce(queue, -1, makeBatch(nil, values...)); p.ErrorCode != 0 {
			t.Fatal(p)
		}
	}
}

// turns is members of a share group and consumers of AMQP on one queue, and what became of each of its messages.
type turns struct {
	*rig
	t       *testing.T
	rng     *rand.Rand
	q       *broker.Queue
	s       *broker.Session
	settled []uint8 // how often it was, as far as its consumer knows
	maybe   []bool  // its consumer was killed before it heard
	n       int     // settled once or more
	made    int
	members []*turnMember
	subs    []*turnSub
}

type turnMember struct {
	*sharer
	held []message.Offset
}

type turnSub struct {
	*broker.Subscription
	held []broker.Delivery
}

func (w *turns) settle(o message.Offset) {
	if w.settled[o]++; w.settled[o] == 1 {
		w.n++
	}
}

// member has one send a request with verdicts on what it holds, and then hear what came of it, unless it is killed before.
func (w *turns) member(i int) {
	m := w.members[i]
	if m == nil {
		w.made++
		m = &turnMember{sharer: w.sharer(w.t, fmt.Sprint("m", w.made), "work")}
		w.members[i] = m
	}
	var verdicts []verdictsAt
	var left, accepted []message.Offset
	for _, o := range m.held {
		switch k := w.rng.IntN(40); {
		case k == 0:
			left = append(left, o)
		case k == 1:
			verdicts = append(verdicts, verdictsAt{int64(o), int64(o), []int8{shareRelease}})
		default:
			accepted = append(accepted, o)
			if n := len(verdicts); n > 0 && verdicts[n-1].last+1 == int64(o) && verdicts[n-1].kinds[0] == shareAccept {
				verdicts[n-1].last = int64(o)
			} else {
				verdicts = append(verdicts, verdictsAt{int64(o), int64(o), []int8{shareAccept}})
			}
		}
	}
	q := m.request(int32(w.rng.IntN(300)), verdicts...)
	q.MaxWaitMillis = 0
	m.send(q, 2)
	if w.rng.IntN(15) == 0 {
		for _, o := range accepted {
			w.maybe[o] = true
		}
		m.nc.Close()
		w.members[i] = nil
		return
	}
	p := m.answer()
	if p.AcknowledgeErrorCode != 0 || p.ErrorCode != 0 {
		w.t.Fatalf("errors %d and %d for %v", p.AcknowledgeErrorCode, p.ErrorCode, verdicts)
	}
	for _, o := range accepted {
		w.settle(o)
	}
	m.held = left
	at := 0
	for _, run := range p.AcquiredRecords {
		for o := run.FirstOffset; o <= run.LastOffset; o++ {
			if want := fmt.Sprintf("%d=%d", o, o); at >= len(m.values) || m.values[at] != want {
				w.t.Fatalf("record %d of what was acquired is not %s", at, want)
			}
			at++
			m.held = append(m.held, message.Offset(o))
		}
	}
	if at != len(m.values) {
		w.t.Fatalf("%d records, %d of them acquired", len(m.values), at)
	}
	slices.Sort(m.held)
}

// consumer has one of AMQP's settle what it holds, and take more, or end with it.
func (w *turns) consumer(i int) {
	c := w.subs[i]
	if c == nil {
		sub, err := w.s.Subscribe("work", broker.SubscribeOptions{Prefetch: 100, Wake: func() {}})
		if err != nil {
			w.t.Fatal(err)
		}
		c = &turnSub{Subscription: sub}
		w.subs[i] = c
	}
	killed := w.rng.IntN(25) == 0
	if killed {
		c.Leave()
	}
	for _, d := range c.held {
		var err error
		if killed || w.rng.IntN(40) == 0 {
			err = d.Lease.Requeue(d.Offset, d.Offset)
		} else if err = d.Lease.Ack(d.Offset, d.Offset); err == nil {
			w.settle(d.Offset)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	c.held = nil
	if killed {
		c.Close()
		w.subs[i] = nil
		return
	}
	if _, err := c.Pull(100, 1<<20, func(d *broker.Delivery) {
		if want := fmt.Sprint(d.Offset); string(d.Body) != want {
			w.t.Errorf("message %s is %q", want, d.Body)
		}
		c.held = append(c.held, broker.Delivery{Lease: d.Lease, Offset: d.Offset})
	}); err != nil {
		w.t.Fatal(err)
	}
	c.Release()
}

// Each message is settled by one of them, member or consumer, whoever of them is killed meanwhile.
func TestMembersAndConsumersSettleEachMessageOnce(t *testing.T) {
	r := newRigMode(t, store.ModeOS, nil)
	s := mustVHost(t, r).NewSession(auth.Identity{})
	defer s.Close()
	n := 100_000
	if testing.Short() {
		n = 20_000
	}
	args := field.AppendInt(field.AppendName(nil, "x-delivery-limit"), 100_000)
	if _, err := s.DeclareQueue("work", broker.QueueOptions{Durable: true, Args: args}); err != nil {
		t.Fatal(err)
	}
	r.produceNumbered(t, "work", n)
	w := &turns{rig: r, t: t, rng: rand.New(rand.NewPCG(7, 12)), s: s, settled: make([]uint8, n), maybe: make([]bool, n),
		members: make([]*turnMember, 4), subs: make([]*turnSub, 3)}
	w.q, _ = mustVHost(t, r).Queue("work")
	for end := time.Now().Add(2 * time.Minute); w.q.Ready() > 0 || w.q.Unacked() > 0; {
		if time.Now().After(end) {
			t.Fatalf("%d of %d are settled, %d ready, %d unacked", w.n, n, w.q.Ready(), w.q.Unacked())
		}
		if k := w.rng.IntN(len(w.members) + len(w.subs)); k < len(w.members) {
			w.member(k)
		} else {
			w.consumer(k - len(w.members))
		}
	}
	unknown := 0
	for o, times := range w.settled {
		switch {
		case times == 1:
		case times == 0 && w.maybe[o]:
			unknown++
		default:
			t.Errorf("message %d was settled %d times", o, times)
		}
	}
	t.Logf("%d messages, %d members; of %d the member was killed before it heard that they are settled", n, w.made, unknown)
	for _, c := range w.subs {
		if c != nil {
			c.Close()
		}
	}
}
