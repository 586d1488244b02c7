package broker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// faultyStore fails appends of the logs, or writes of the tables, that it is told to.
type faultyStore struct {
	store.Store
	mu     sync.Mutex // guards append in tests that change it while others append
	append map[store.LogID]error
	flush  error        // of all commits
	puts   atomic.Int64 // writes of the definitions from here on that succeed
	busy   atomic.Bool
	broken atomic.Int64 // reads at or behind this offset fail; 0: none does
}

type faultyLog struct {
	store.Log
	s *faultyStore
}

type faultyTable struct {
	store.Table
	s *faultyStore
}

func (s *faultyStore) OpenLog(id store.LogID, o store.LogOptions) (store.Log, error) {
	l, err := s.Store.OpenLog(id, o)
	return &faultyLog{l, s}, err
}

func (s *faultyStore) Commit(logs []store.Log, done func(error)) {
	s.mu.Lock()
	err := s.flush
	s.mu.Unlock()
	if err != nil {
		done(err)
		return
	}
	var inner []store.Log
	for _, l := range logs {
		inner = append(inner, l.(*faultyLog).Log)
	}
	s.Store.Commit(inner, done)
}

func (s *faultyStore) Table(ctx context.Context, name string) (store.Table, error) {
	t, err := s.Store.Table(ctx, name)
	return &faultyTable{t, s}, err
}

func (l *faultyLog) Append(b []byte) (store.Position, error) {
	l.s.mu.Lock()
	err := l.s.append[l.ID()]
	l.s.mu.Unlock()
	if err != nil {
		return store.Position{}, err
	}
	return l.Log.Append(b)
}

func (l *faultyLog) Read(from message.Offset, maxBytes int) (store.View, error) {
	if at := l.s.broken.Load(); at > 0 && from >= message.Offset(at) {
		return store.View{}, store.ErrUnavailable
	}
	return l.Log.Read(from, maxBytes)
}

func (l *faultyLog) Progress(floor, handed message.Offset) error {
	if l.s.busy.Load() {
		return store.ErrBusy
	}
	return l.Log.Progress(floor, handed)
}

func (l *faultyLog) ProgressNow(floor, handed message.Offset) error {
	if l.s.busy.Load() {
		return store.ErrNotYet
	}
	return l.Log.ProgressNow(floor, handed)
}

func (t *faultyTable) Put(ctx context.Context, e ...store.Entry) error {
	if t.s.puts.Add(-1) < 0 {
		t.s.puts.Store(0)
		return store.ErrFull
	}
	return t.Table.Put(ctx, e...)
}

// fail has appends of a log fail, or with nil succeed again.
func (s *faultyStore) fail(id store.LogID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.append[id] = err
}

// failFlush has every flush fail, or with nil succeed again.
func (s *faultyStore) failFlush(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush = err
}

// startFaulty is a broker over a store whose faults the test sets.
func startFaulty(t *testing.T) (*rig, *faultyStore) { return startFaultyWith(t, Options{}) }

func startFaultyWith(t *testing.T, o Options) (*rig, *faultyStore) {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	st, err := local.Open(local.Options{Dir: r.dir, Mode: store.ModeOS, MaxBatchBytes: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s := &faultyStore{Store: st, append: map[store.LogID]error{}}
	s.puts.Store(math.MaxInt64)
	if r.Broker, err = Open(s, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		st.Close()
	})
	r.store = s
	r.v, _ = r.VHost("/")
	r.s = r.v.NewSession(auth.Identity{Name: "guest"})
	return r, s
}

func result(p *Publisher) error {
	done := make(chan error, 1)
	p.Store()
	p.Commit(func(err error) { done <- err })
	return <-done
}

func TestAFullLogRefusesItsOwnMessagesOnly(t *testing.T) {
	for _, fault := range []error{store.ErrFull, store.ErrReadOnly} {
		r, s := startFaulty(t)
		full, fine := r.queue("full", QueueOptions{}), r.queue("fine", QueueOptions{})
		r.exchange("x", "fanout")
		r.bind("x", "full", "")
		r.bind("x", "fine", "")
		s.append[full.Partitions()[0].log.ID()] = fault
		p := r.s.NewPublisher()
		if _, err := p.Publish(&Inbound{Exchange: []byte("x"), Body: []byte("both"), Persistent: true}); err != nil {
			t.Fatal(err)
		}
		kind(t, result(p), Full)
		publish(t, p, "", "fine=next")
		want(t, "the other queue", drain(t, fine), []string{"both", "next"})
		clear(s.append)
		publish(t, p, "", "full=again")
		want(t, "the full queue", drain(t, full), []string{"again"})
	}
}

func TestAMessageTooLargeForALogTakesNoOtherWithIt(t *testing.T) {
	r, _ := startFaulty(t) // logs take 2 MiB, the broker more
	q := r.queue("q", QueueOptions{})
	p := r.s.NewPublisher()
	for _, body := range []string{"small", strings.Repeat("x", 2<<20), "small too"} {
		if _, err := p.Publish(&Inbound{Key: []byte("q"), Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	kind(t, result(p), TooLarge)
	want(t, "stored", drain(t, q), []string{"small", "small too"})
}

func TestAFeedsProducerMaySendAgainWhatWasNotStored(t *testing.T) {
	r, s := startFaulty(t)
	args := field.AppendString(field.AppendName(nil, "x-kafka-topic"), []byte("ingest"))
	x, err := r.s.DeclareExchange("logs", ExchangeOptions{Type: "fanout", Args: args})
	if err != nil {
		t.Fatal(err)
	}
	q := r.queue("q", QueueOptions{})
	r.bind("logs", "q", "")
	p := r.s.NewPublisher()
	s.append[q.Partitions()[0].log.ID()] = store.ErrFull
	if _, err := publishBatch(p, x, produced(3, 0, 0, "one")); err != nil {
		t.Fatal(err)
	}
	kind(t, result(p), Full)
	clear(s.append)
	if again, err := publishBatch(p, x, produced(3, 0, 0, "one")); err != nil || again.Duplicate {
		t.Errorf("sent again: %+v, %v", again, err)
	}
	flush(t, p)
	want(t, "stored", drain(t, q), []string{"one"})
}

func TestDeletingIsOneWrite(t *testing.T) {
	r, s := startFaulty(t)
	q := r.queue("q", QueueOptions{Durable: true})
	if _, err := r.s.DeclareExchange("auto", ExchangeOptions{Type: "fanout", Durable: true, AutoDelete: true}); err != nil {
		t.Fatal(err)
	}
	r.exchange("x", "fanout")
	for _, b := range []Binding{{Source: "auto", Dest: "q"}, {Source: "x", Dest: "q"}, {Source: "x", Dest: "auto", ToExchange: true}} {
		if err := r.s.Bind(b); err != nil {
			t.Fatal(err)
		}
	}
	s.puts.Store(0)
	if _, err := r.s.DeleteQueue("q", false, false); KindOf(err) != Full {
		t.Errorf("deleting without space: %v", err)
	}
	publish(t, r.s.NewPublisher(), "x", "k=m")
	want(t, "after a deletion that failed", drain(t, q), []string{"m"})
	s.puts.Store(1)
	if _, err := r.s.DeleteQueue("q", false, false); err != nil {
		t.Errorf("a queue with bindings takes more than one write: %v", err)
	}
	if _, err := r.v.Exchange("auto"); err == nil {
		t.Error("the auto-delete exchange is still there")
	}
	s.puts.Store(0) // what was never stored needs no write
	r.queue("mine", QueueOptions{Durable: true, Exclusive: true})
	r.bind("x", "mine", "k")
	if _, err := r.s.DeleteQueue("mine", false, false); err != nil {
		t.Error("deleting an exclusive queue:", err)
	}
	s.puts.Store(math.MaxInt64)
}

func TestALooseBindingDoesNotComeBack(t *testing.T) {
	r := startWith(t, 0)
	r.exchange("x", "direct")
	r.queue("q", QueueOptions{Durable: true})
	r.bind("x", "q", "k")
	defs, _ := r.store.Table(t.Context(), "defs")
	if err := defs.Put(t.Context(), store.Entry{Key: store.Key(prefixQueue, "/", "q")}); err != nil { // an older version's half of a deletion
		t.Fatal(err)
	}
	r.restart()
	r.queue("q", QueueOptions{Durable: true})
	r.restart()
	if x, err := r.v.Exchange("x"); err != nil || len(r.v.Bindings(x)) != 0 {
		t.Errorf("the new queue has the old one's binding (%v)", err)
	}
}

func TestExpiredMessagesBeforeAGetAreManyAndCostNoStack(t *testing.T) {
	r := startWith(t, 0)
	q := r.queue("q", QueueOptions{})
	p := r.s.NewPublisher()
	old := field.Properties{Flags: field.FlagExpiration, Expiration: []byte("1")}
	in := &Inbound{Key: []byte("q"), Properties: old.Append(nil), TimestampMs: 1}
	const many = 200_000 // a call for each would need far more than the stack of a test
	for range many {
		if _, err := p.Publish(in); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, p, "", "q=young")
	before := r.Counters().Delivered.Load()
	g, err := r.s.Get(q.Name, true)
	if err != nil || g == nil || string(g.Body) != "young" {
		t.Fatalf("got %v, %v", g, err)
	}
	if n := r.Counters().Delivered.Load() - before; n != 1 {
		t.Errorf("%d counted as delivered", n)
	}
}

// lying is a compressed batch whose header promises count records, numbered from 0.
func lying(count int32, deltas ...byte) batch.Batch {
	var raw []byte
	for _, d := range deltas {
		rec := []byte{0, 0, 2 * d, 1, 2, 'a' + d, 0} // attributes, time, number, no key, one byte, no headers
		raw = append(append(raw, 2*byte(len(rec))), rec...)
	}
	b := batch.Batch(append(make([]byte, batch.HeaderBytes), s2.EncodeSnappy(nil, raw)...))
	b.Seal(batch.Header{Attributes: message.CodecSnappy, LastOffsetDelta: count - 1, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, Count: count})
	return b
}

func TestBatchesThatLieHoldNothingUp(t *testing.T) {
	for name, c := range map[string]struct {
		b    batch.Batch
		want []string
	}{
		"fewer records than promised":        {lying(3, 0, 1), []string{"a", "b"}},
		"far fewer":                          {lying(100_000, 0), []string{"a"}},
		"numbers beyond the batch":           {lying(2, 0, 5), []string{"a"}},
		"numbers with a hole":                {lying(3, 0, 2, 3), []string{"a"}},
		"the same number again":              {lying(2, 0, 0), []string{"a"}},
		"numbers that fall":                  {lying(2, 1, 0), nil},
		"a batch that is as its header says": {lying(2, 0, 1), []string{"a", "b"}},
	} {
		for _, noAck := range []bool{false, true} {
			t.Run(fmt.Sprint(name, noAck), func(t *testing.T) {
				r := startWith(t, 0)
				q, err := r.s.CreateTopic("t", 1, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := r.s.Produce(q.Partitions()[0], c.b); err != nil {
					t.Fatal(err)
				}
				publish(t, r.s.NewPublisher(), "", "t=after")
				sub, err := r.s.Subscribe(q.Name, SubscribeOptions{Prefetch: 10, NoAck: noAck})
				if err != nil {
					t.Fatal(err)
				}
				defer sub.Close()
				var got []string
				for range 20 {
					if _, err := sub.pull(10, 1<<20, func(d *Delivery) {
						got = append(got, string(d.Body))
						if d.Lease != nil && !noAck {
							if err := d.Lease.Ack(d.Offset, d.Offset); err != nil {
								t.Error(err)
							}
						}
					}); err != nil {
						t.Fatal(err)
					}
					sub.Release()
				}
				want(t, "delivered", got, append(slices.Clone(c.want), "after"))
				if n := q.Ready() + q.Unacked(); n != 0 {
					t.Errorf("%d messages are left", n)
				}
			})
		}
	}
}

func TestRoutesOfNamesWithAnyBytesAreKeptApart(t *testing.T) {
	r := startWith(t, 0)
	p := r.s.NewPublisher()
	var queues []*Queue
	for i, x := range []string{"a", "a\x00"} {
		r.exchange(x, "direct")
		q := r.queue(fmt.Sprint("q", i), QueueOptions{})
		r.bind(x, q.Name, "\x00b")
		r.bind(x, q.Name, "b")
		queues = append(queues, q)
	}
	publish(t, p, "a", "\x00b=one")
	publish(t, p, "a\x00", "b=two")
	want(t, "of a", drain(t, queues[0]), []string{"one"})
	want(t, "of a and a zero", drain(t, queues[1]), []string{"two"})
}

func TestRoutesThatHeadersDecideAreBounded(t *testing.T) {
	r := startWith(t, 0)
	r.exchange("h", "headers")
	for i := range 14 {
		name := fmt.Sprint("h", i)
		r.queue(name, QueueOptions{})
		args := field.AppendBool(field.AppendName(nil, name), true)
		if err := r.s.Bind(Binding{Source: "h", Dest: name, Args: args}); err != nil {
			t.Fatal(err)
		}
	}
	p := r.s.NewPublisher()
	for set := range 1 << 14 {
		var headers []byte
		for i := range 14 {
			if set>>i&1 == 1 {
				headers = field.AppendBool(field.AppendName(headers, fmt.Sprint("h", i)), true)
			}
		}
		if _, err := p.Publish(&Inbound{Exchange: []byte("h"), Headers: headers, Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		if len(p.sets) > maxRoutes {
			t.Fatalf("%d sets of queues are kept", len(p.sets))
		}
	}
	flush(t, p)
	q, _ := r.v.Queue("h3")
	if n := q.Ready(); n != 1<<13 {
		t.Errorf("%d messages, want %d", n, 1<<13)
	}
}

func TestProducersAreBounded(t *testing.T) {
	ps := producers{byID: map[int64]*producer{}}
	now := time.Unix(1_000_000, 0)
	for id := range int64(maxProducers + 1000) {
		now = now.Add(time.Millisecond)
		ps.note(id, 0, sent{}, now)
		if ps.byID[id] == nil {
			t.Fatalf("producer %d was forgotten at once", id)
		}
	}
	if n := len(ps.byID); n > maxProducers {
		t.Errorf("%d producers are known", n)
	}
	for range 3000 { // some are looked at each time
		ps.note(now.UnixNano(), 0, sent{}, now.Add(2*producerExpiry))
		now = now.Add(1)
	}
	if n := len(ps.byID); n > maxProducers/2 {
		t.Errorf("%d producers are known after all fell silent", n)
	}
}

func TestASubscriptionSeesPartitionsThatAreAdded(t *testing.T) {
	r := startWith(t, 0)
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	var woken atomic.Int32
	sub, err := r.s.Subscribe(q.Name, SubscribeOptions{Prefetch: 3, Wake: func() { woken.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	p := r.s.NewPublisher()
	publish(t, p, "", "t=0") // the route is cached now
	pull := func() (n int) {
		n, err := sub.pull(100, 1<<20, func(*Delivery) {})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := pull(); n != 1 {
		t.Fatalf("pulled %d", n)
	}
	woken.Store(0)
	if err := r.s.AddPartitions(q, 8); err != nil {
		t.Fatal(err)
	}
	if woken.Load() == 0 {
		t.Error("nobody was woken")
	}
	for i := range 8 { // into each
		if _, err := r.s.Produce(q.Partitions()[i], produced(-1, -1, -1, "v")); err != nil {
			t.Fatal(err)
		}
	}
	if n := pull(); n != 2 {
		t.Errorf("pulled %d of 8 with room for 2 in the prefetch", n)
	}
	sub.Close()
	sub, _ = r.s.Subscribe(q.Name, SubscribeOptions{})
	defer sub.Close()
	if n := pull(); n != 6 {
		t.Errorf("pulled %d, want the other 6", n)
	}
}

func TestPrefetchAndSharedCreditHoldTogether(t *testing.T) {
	r := startWith(t, 0)
	q, _ := r.s.CreateTopic("t", 4, nil)
	for i := range 40 {
		if _, err := r.s.Produce(q.Partitions()[i%4], produced(-1, -1, -1, "v")); err != nil {
			t.Fatal(err)
		}
	}
	shared := NewCredit(5)
	var subs [2]*Subscription
	var held [2][]Delivery
	for i := range subs {
		subs[i], _ = r.s.Subscribe(q.Name, SubscribeOptions{Prefetch: 3, Shared: shared})
		defer subs[i].Close()
		if i == 0 { // alone
			n, err := subs[0].pull(100, 1<<20, func(d *Delivery) { held[0] = append(held[0], Delivery{Lease: d.Lease, Offset: d.Offset}) })
			if n != 3 || err != nil {
				t.Fatalf("pulled %d with a prefetch of 3, %v", n, err)
			}
		}
	}
	pull := func() {
		for i, sub := range subs {
			if _, err := sub.pull(100, 1<<20, func(d *Delivery) { held[i] = append(held[i], Delivery{Lease: d.Lease, Offset: d.Offset}) }); err != nil {
				t.Fatal(err)
			}
			sub.Release()
		}
	}
	for left := 40; left > 0; {
		pull()
		a, b := len(held[0]), len(held[1])
		if a > 3 || b > 3 || a+b > 5 || a+b < min(left, 5) {
			t.Fatalf("%d and %d are out, with %d left", a, b, left)
		}
		for i := range held {
			for _, d := range held[i] {
				if err := d.Lease.Ack(d.Offset, d.Offset); err != nil {
					t.Fatal(err)
				}
				left--
			}
			held[i] = held[i][:0]
		}
	}
	if shared.Used() != 0 {
		t.Errorf("%d of the shared credit are lost", shared.Used())
	}
}

func TestSessionsForgetTheirDeletedQueues(t *testing.T) {
	r := startWith(t, 0)
	for range 3 {
		r.queue("mine", QueueOptions{Exclusive: true})
		if _, err := r.s.DeleteQueue("mine", false, false); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.s.queues); n != 0 {
		t.Errorf("the session holds %d queues that are gone", n)
	}
	r.s.Close()
	_, err := r.s.DeclareQueue("late", QueueOptions{Exclusive: true})
	kind(t, err, Closed)
	if _, err := r.v.Queue("late"); err == nil {
		t.Error("a queue belongs to a session that is closed")
	}
}

func TestLeavingReturnsAtOnceWhatWasNotSent(t *testing.T) {
	r := startWith(t, 0)
	q := r.queue("q", QueueOptions{})
	publish(t, r.s.NewPublisher(), "", "q=one", "q=two", "q=three")
	sub, _ := r.s.Subscribe(q.Name, SubscribeOptions{Exclusive: true})
	var first Delivery
	if n, err := sub.pull(10, 1, func(d *Delivery) { first = *d }); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	sub.Leave()
	if string(first.Body) != "one" {
		t.Error("the body is gone while it is borrowed")
	}
	if q.Consumers() != 0 || q.Ready() != 2 || q.Unacked() != 1 {
		t.Errorf("%d consumers, %d ready, %d unacked", q.Consumers(), q.Ready(), q.Unacked())
	}
	sub.Close()
	if err := first.Lease.Requeue(first.Offset, first.Offset); err != nil {
		t.Error(err)
	}
	g, _ := r.s.Get(q.Name, true)
	if string(g.Body) != "one" || !g.Redelivered {
		t.Errorf("got %q, redelivered %v", g.Body, g.Redelivered)
	}
	g, _ = r.s.Get(q.Name, true)
	if string(g.Body) != "two" || g.Redelivered {
		t.Errorf("got %q, redelivered %v", g.Body, g.Redelivered)
	}
}

func TestADeletedTopicStaysDeleted(t *testing.T) {
	r := startWith(t, 0)
	q, _ := r.s.CreateTopic("t", 1, nil)
	if _, err := r.s.DeleteQueue("t", false, false); err != nil {
		t.Fatal(err)
	}
	kind(t, r.s.AddPartitions(q, 2), NotFound)
	kind(t, r.s.SetConfig(q, configs("retention.ms", "1")), NotFound)
	_, err := r.s.Purge(q.Name)
	kind(t, err, NotFound)
	_, err = r.s.CreateTopic("none", 0, nil)
	kind(t, err, Precondition)
	r.restart()
	if _, err := r.v.Queue("t"); err == nil {
		t.Error("the topic came back")
	}
}

func TestAQueueThatCantBeReadIsNotDeletedAsEmpty(t *testing.T) {
	var broken atomic.Bool
	disk := fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
		if broken.Load() && (op == fs.OpOpen || op == fs.OpReadDir) && strings.Contains(name, "queues") {
			return syscall.EIO
		}
		return nil
	})
	var st *local.Store
	var b *Broker
	start := func() *Session {
		var err error
		if st, err = local.Open(local.Options{Dir: "data", FS: disk, Mode: store.ModeOS}); err != nil {
			t.Fatal(err)
		}
		if b, err = Open(st, Options{}); err != nil {
			t.Fatal(err)
		}
		v, _ := b.VHost("/")
		return v.NewSession(auth.Identity{Name: "guest"})
	}
	s := start()
	if _, err := s.DeclareQueue("q", QueueOptions{Durable: true}); err != nil {
		t.Fatal(err)
	}
	publish(t, s.NewPublisher(), "", "q=kept")
	if err := errors.Join(b.Close(), st.Close()); err != nil {
		t.Fatal(err)
	}
	s = start()
	t.Cleanup(func() {
		b.Close()
		st.Close()
	})
	broken.Store(true)
	if n, err := s.DeleteQueue("q", false, true); err == nil {
		t.Fatalf("deleted as empty, with %d messages", n)
	}
	broken.Store(false)
	q, err := s.Queue(Look, "q")
	if err != nil {
		t.Fatal(err)
	}
	want(t, "afterwards", drain(t, q), []string{"kept"})
}
