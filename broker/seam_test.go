package broker

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// farStore is a store whose logs behave as those of another machine do.
type farStore struct {
	store.Store
	away   atomic.Bool  // messages are on their way
	slow   atomic.Bool  // where appends went is not known at once
	silent atomic.Bool  // nor later
	refuse atomic.Bool  // what is appended is refused later
	fenced atomic.Bool  // another process has the cursors
	lent   atomic.Int32 // views of messages that are not done

	mu       sync.Mutex // guards watchers
	watchers []func()
}

type farLog struct {
	store.Log
	s *farStore
}

func (s *farStore) OpenLog(id store.LogID, o store.LogOptions) (store.Log, error) {
	l, err := s.Store.OpenLog(id, o)
	return &farLog{l, s}, err
}

func (s *farStore) Commit(logs []store.Log, done func(error)) {
	inner := make([]store.Log, len(logs))
	for i, l := range logs {
		inner[i] = l.(*farLog).Log
	}
	s.Store.Commit(inner, done)
}

// Read has the headers that cursors look at, and nothing else while messages are away.
func (l *farLog) Read(from message.Offset, maxBytes int) (store.View, error) {
	if maxBytes != headBytes && l.s.away.Load() {
		return store.View{}, store.ErrNotYet
	}
	v, err := l.Log.Read(from, maxBytes)
	if err != nil || maxBytes == headBytes || v.Len() == 0 {
		return v, err
	}
	l.s.lent.Add(1)
	return store.NewView(v.Raw(), &loan{v, &l.s.lent}, nil), nil
}

// loan counts a view until it is done.
type loan struct {
	v    store.View
	lent *atomic.Int32
}

func (l *loan) Release() {
	l.lent.Add(-1)
	l.v.Done()
}

func (l *farLog) ReadNow(from message.Offset, maxBytes int) (store.View, error) {
	return l.Read(from, maxBytes)
}

func (l *farLog) ProgressNow(floor, handed message.Offset) error {
	if l.s.fenced.Load() {
		return store.ErrFenced
	}
	return l.Log.ProgressNow(floor, handed)
}

// later is where an append went, for who asks when the other machine answers.
type later struct {
	s    *farStore
	base message.Offset
	err  error
}

func (a later) Base(context.Context) (message.Offset, error) {
	if a.s.silent.Load() {
		return 0, store.ErrUnavailable
	}
	return a.base, a.err
}

func (l *farLog) Append(batches []byte) (store.Position, error) {
	if l.s.refuse.Load() {
		return store.Awaited(later{l.s, 0, store.ErrTooLarge}), nil
	}
	at, err := l.Log.Append(batches)
	if base, _ := at.Known(); err == nil && l.s.slow.Load() {
		at = store.Awaited(later{l.s, base, nil})
	}
	return at, err
}

func (l *farLog) Watch(wake func()) (stop func()) {
	l.s.mu.Lock()
	l.s.watchers = append(l.s.watchers, wake)
	l.s.mu.Unlock()
	return l.Log.Watch(wake)
}

func (l *farLog) Progress(floor, handed message.Offset) error {
	if l.s.fenced.Load() {
		return store.ErrFenced
	}
	return l.Log.Progress(floor, handed)
}

// arrive has the messages be here.
func (s *farStore) arrive() {
	s.away.Store(false)
	s.mu.Lock()
	watchers := s.watchers
	s.mu.Unlock()
	for _, wake := range watchers {
		wake()
	}
}

func startFar(t *testing.T) (*farStore, *Session) {
	t.Helper()
	inner, err := local.Open(local.Options{Dir: t.TempDir(), Mode: store.ModeOS})
	if err != nil {
		t.Fatal(err)
	}
	s := &farStore{Store: inner}
	b, err := Open(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Close()
		inner.Close()
	})
	v, _ := b.VHost("/")
	return s, v.NewSession(auth.Identity{Name: "guest"})
}

func bodiesOf(sub *Subscription, t *testing.T) (got []string) {
	t.Helper()
	if _, err := sub.pull(100, 1<<20, func(d *Delivery) { got = append(got, string(d.Body)) }); err != nil {
		t.Fatal(err)
	}
	sub.Release()
	return got
}

func TestMessagesThatAreOnTheirWayAreNotLost(t *testing.T) {
	s, session := startFar(t)
	q, err := session.DeclareQueue("q", QueueOptions{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, session.NewPublisher(), "", "q=1", "q=2", "q=3")
	s.away.Store(true)
	woken := make(chan struct{}, 1)
	sub, err := session.Subscribe("q", SubscribeOptions{Wake: func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for range 3 {
		if n, err := sub.Pull(100, 1<<20, func(*Delivery) {}); n != 0 || err != nil {
			t.Fatalf("%d came from afar, %v", n, err)
		}
	}
	if n := q.Ready() + q.Unacked(); n != 3 {
		t.Errorf("%d messages are left of 3", n)
	}
	s.arrive()
	var got []string
	for timeout := time.After(patience); len(got) < 3; {
		select {
		case <-woken: // for its cursor, too, which may have been opened only now
			got = append(got, bodiesOf(sub, t)...)
		case <-timeout:
			t.Fatalf("nobody was woken when they had come; %q are here", got)
		}
	}
	want(t, "once they are here", got, []string{"1", "2", "3"})
}

func TestAGetWaitsForWhatIsOnItsWay(t *testing.T) {
	s, session := startFar(t)
	if _, err := session.DeclareQueue("q", QueueOptions{Durable: true}); err != nil {
		t.Fatal(err)
	}
	publish(t, session.NewPublisher(), "", "q=1")
	s.away.Store(true)
	timer := time.AfterFunc(50*time.Millisecond, s.arrive)
	defer timer.Stop()
	got, err := session.Get("q", true)
	if err != nil || got == nil || string(got.Body) != "1" {
		t.Fatalf("get: %v, %v", got, err)
	}
}

func TestACursorThatAnotherProcessHasIsForgotten(t *testing.T) {
	s, session := startFar(t)
	if _, err := session.DeclareQueue("q", QueueOptions{Durable: true}); err != nil {
		t.Fatal(err)
	}
	publish(t, session.NewPublisher(), "", "q=1", "q=2")
	cancelled := make(chan struct{})
	sub, err := session.Subscribe("q", SubscribeOptions{Cancelled: func() { close(cancelled) }})
	if err != nil {
		t.Fatal(err)
	}
	var held []Delivery
	if _, err := sub.pull(1, 1<<20, func(d *Delivery) { held = append(held, *d) }); err != nil || len(held) != 1 {
		t.Fatalf("%d deliveries, %v", len(held), err)
	}
	sub.Release()
	s.fenced.Store(true)
	if err := held[0].Lease.Ack(held[0].Offset, held[0].Offset); err != nil {
		t.Fatal(err)
	}
	select {
	case <-cancelled:
	case <-time.After(patience):
		t.Fatal("the consumer was not cancelled")
	}
	sub.Close()
	s.fenced.Store(false) // the lease came back
	again, err := session.Subscribe("q", SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := bodiesOf(again, t); len(got) != 2 || got[0] != "1" {
		t.Errorf("%v came, want both: the ack was of nobody's cursor", got)
	}
}

// What a producer sends again because nobody could tell it where the first went is not stored twice, and holds up no
// other producer.
func TestABatchWhosePlaceIsNotKnownIsTakenOnce(t *testing.T) {
	far, s := startFar(t)
	q, err := s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := q.Partitions()[0]
	end := func() message.Offset {
		_, end, _ := p.log.Bounds()
		return end
	}
	far.slow.Store(true)
	if out, err := s.Produce(p, produced(7, 0, 0, "a", "b")); err != nil || out.Base != 0 || out.Duplicate {
		t.Fatalf("%+v, %v", out, err)
	}
	far.silent.Store(true)
	for range 3 {
		if out, err := s.Produce(p, produced(7, 0, 2, "c")); KindOf(err) != Unavailable || end() != 3 {
			t.Fatalf("%+v, %v; the log ends at %d", out, err, end())
		}
	}
	far.slow.Store(false)
	if out, err := s.Produce(p, produced(8, 0, 0, "x")); err != nil || out.Base != 3 {
		t.Errorf("another producer: %+v, %v", out, err)
	}
	far.silent.Store(false)
	if out, err := s.Produce(p, produced(7, 0, 2, "c")); err != nil || !out.Duplicate || out.Base != 2 {
		t.Errorf("when it can be told: %+v, %v", out, err)
	}
	far.refuse.Store(true)
	if out, err := s.Produce(p, produced(7, 0, 3, "d")); KindOf(err) != TooLarge {
		t.Errorf("one that is refused later: %+v, %v", out, err)
	}
	far.refuse.Store(false)
	if out, err := s.Produce(p, produced(7, 0, 3, "d")); err != nil || out.Duplicate || out.Base != 4 || end() != 5 {
		t.Errorf("sent again: %+v, %v; the log ends at %d", out, err, end())
	}
}

// TestNothingIsReadForWhoHasLeft comes and goes while messages are on their way: no read
// waits for nobody, and what is read for nobody is given back.
func TestNothingIsReadForWhoHasLeft(t *testing.T) {
	s, session := startFar(t)
	q, err := session.DeclareQueue("q", QueueOptions{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, session.NewPublisher(), "", "q=1")
	s.away.Store(true)
	x := &q.Partitions()[0].active().errands
	waiting := func() int {
		x.mu.Lock()
		defer x.mu.Unlock()
		return len(x.list)
	}
	for i := range 100 {
		sub, err := session.Subscribe("q", SubscribeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for sub.partitions[0].errand == nil || !sub.partitions[0].errand.reads { // first what was handed out is noted
			if _, err := sub.Pull(1, 1<<20, func(*Delivery) {}); err != nil {
				t.Fatal(err)
			}
		}
		for i == 0 && waiting() > 0 {
			runtime.Gosched() // until it is being read for who leaves
		}
		sub.Close()
		if n := waiting(); n > 1 {
			t.Fatalf("%d reads wait for nobody", n)
		}
	}
	s.arrive()
	q.idleDisk()
	if lent := s.lent.Load(); lent != 0 {
		t.Errorf("%d views are lent to nobody", lent)
	}
	sub, err := session.Subscribe("q", SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "then", bodiesOf(sub, t), []string{"1"})
	s.away.Store(true)
	publish(t, session.NewPublisher(), "", "q=2")
	for sub.partitions[0].errand == nil || !sub.partitions[0].errand.reads {
		sub.Pull(1, 1<<20, func(*Delivery) {})
	}
	s.arrive()
	q.idleDisk() // it is there, and nobody has come for it
	sub.Close()
	if lent := s.lent.Load(); lent != 0 {
		t.Errorf("%d views are lent to who has left", lent)
	}
}
