package amqpload

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
	"github.com/leveret-mq/leveret/internal/testkit"
)

// growingLoad is a load against a broker of the test's own, and a connection to meddle with.
func growingLoad(t *testing.T) (Load, *Conn) {
	t.Helper()
	s := testkit.Start(t)
	l := Load{Address: Address{HostPort: s.Addr("amqp"), User: "guest", Password: "guest", VHost: "/"},
		Name: "q", BodyBytes: 20, Window: 10, Prefetch: 20, AckEvery: 3}
	c, err := Dial(t.Context(), l.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return l, c
}

// publishOne publishes a stamped message behind the back of a load.
func publishOne(t *testing.T, c *Conn, queue string, seq uint64) {
	t.Helper()
	b, err := NewBlock(BlockOptions{Keys: []string{queue}, BodyBytes: 20, FrameMaxBytes: c.FrameMaxBytes}, 1)
	if err != nil {
		t.Fatal(err)
	}
	b.Stamp(seq, 0)
	if _, err := c.Write(b.Frames); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Call(method(basicQos).u32(0).u16(1).u8(0), basicQosOk); err != nil { // answered behind the publish
		t.Fatal(err)
	}
}

func TestSlicesGoOnWhereTheLastOneEnded(t *testing.T) {
	l, _ := growingLoad(t)
	s, err := l.OpenSlices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 3 {
		if r, err := s.Publish(t.Context(), 100); err != nil || r.Published != 100 || r.Confirm.Count() == 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		if r, err := s.Take(t.Context(), 40); err != nil || r.Delivered < 40 {
			t.Fatalf("%+v, %v", r, err)
		}
		if r, err := s.Both(t.Context(), 30); err != nil || r.Delivered < 30 || r.Published != 30 {
			t.Fatalf("%+v, %v", r, err)
		}
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Take(t.Context(), s.Waiting()); err != nil || s.Waiting() != 0 {
		t.Fatalf("%d are left, %v", s.Waiting(), err)
	}
}

func TestSlicesNoticeAMessageThatIsNotTheirs(t *testing.T) {
	l, c := growingLoad(t)
	s, err := l.OpenSlices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Publish(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	publishOne(t, c, "q", 6) // 5 is due
	if _, err := s.Take(t.Context(), 6); err == nil || !strings.Contains(err.Error(), "message 6 where 5 was due") {
		t.Fatalf("got %v", err)
	}
}

func TestSlicesRouteByTheirBindingAlone(t *testing.T) {
	l, _ := growingLoad(t)
	l.Exchange, l.ExchangeType = "x", "topic"
	s, err := l.OpenSlices(t.Context(), []string{"k.1.x", "k.2.x"}, []string{"k.1000001.x"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if r, err := s.Bind(t.Context(), 25); err != nil || r.Published != 25 {
		t.Fatalf("%+v, %v", r, err)
	}
	for i := range 2 {
		s.Use(i)
		if r, err := s.Both(t.Context(), 50); err != nil || r.Delivered < 50 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
}

func TestFleetFindsEachQueueWithItsOwnMessages(t *testing.T) {
	l, c := growingLoad(t)
	f, err := l.OpenFleet(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if r, err := f.Grow(t.Context(), 25); err != nil || r.Published != 25 || len(f.names) != 25 {
		t.Fatalf("%+v, %v", r, err)
	}
	fill := func() {
		t.Helper()
		p, err := f.Publisher(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if r, err := p.Publish(t.Context(), 4); err != nil || r.Published != 100 || r.Confirmed != 100 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	fill()
	if err := f.Check(10, 4); err != nil {
		t.Fatal(err)
	}
	if err := f.Purge(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	fill()
	publishOne(t, c, "q.7", 0)
	if err := f.Purge(t.Context(), 4); err == nil || !strings.Contains(err.Error(), "q.7 holds 5") {
		t.Fatalf("got %v", err)
	}
	publishOne(t, c, "q.0", 5)
	if err := f.Check(1, 1); err == nil || !strings.Contains(err.Error(), "message 5") {
		t.Fatalf("got %v", err)
	}
}

func TestConnectionsTrickleInOrder(t *testing.T) {
	l, _ := growingLoad(t)
	c := NewConnections(l.Address)
	defer c.Close()
	if r, err := c.Grow(t.Context(), 7); err != nil || r.Published != 7 || len(c.conns) != 7 {
		t.Fatalf("%+v, %v", r, err)
	}
	l.Rate, l.For = 2000, 100*time.Millisecond
	for range 2 {
		if r, err := c.Trickle(t.Context(), l); err != nil || r.Published != 200 || r.Delivered != 200 || r.Latency.Count() != 200 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
}

func TestCrowdGetsEveryMessageOnce(t *testing.T) {
	l, _ := growingLoad(t)
	l.Messages, l.For = 1000, time.Minute
	for _, conns := range []int{1, 3, 10} {
		c, err := l.OpenCrowd(t.Context(), 10, conns)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := c.PublishAndConsume(t.Context()); err != nil || r.Delivered != 1000 || r.Latency.Count() != 1000 {
			t.Fatalf("%d connections: %+v, %v", conns, r, err)
		}
		if err := c.CheckEmpty(); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

func TestCrowdRefusesWhatIsWrong(t *testing.T) {
	member := func() *crowdConn {
		c := &Crowd{run: &Run{load: Load{BodyBytes: 20}}}
		c.seen = make([]atomic.Uint64, 1)
		return &crowdConn{crowd: c, first: 4, last: make([]uint64, 2), late: measure.NewLatencies()}
	}
	deliver := func(to string, tag uint64, redelivered byte) []byte {
		return method(basicDeliver).short(to).u64(tag).u8(redelivered).short("").short("q")
	}
	for _, c := range []struct {
		name, want string
		do         func(*crowdConn) error
	}{
		{"another's consumer", "not here", func(m *crowdConn) error { return m.method(deliver("6", 1, 0)) }},
		{"a tag that is skipped", "delivery tag 2 after 0", func(m *crowdConn) error { return m.method(deliver("4", 2, 0)) }},
		{"redelivered", "redelivered 1", func(m *crowdConn) error { return m.method(deliver("4", 1, 1)) }},
		{"a message that came", "came twice", func(m *crowdConn) error {
			if err := m.message(stamped(20, 3, 0), 0); err != nil {
				return err
			}
			m.to = 1
			return m.message(stamped(20, 3, 0), 0)
		}},
		{"backwards", "got message 2 after 3", func(m *crowdConn) error {
			if err := m.message(stamped(20, 3, 0), 0); err != nil {
				return err
			}
			return m.message(stamped(20, 2, 0), 0)
		}},
		{"never published", "never published", func(m *crowdConn) error { return m.message(stamped(20, 64, 0), 0) }},
		{"another size", "body of 19", func(m *crowdConn) error {
			_, err := m.frame(frameHeader, args(nil).u16(60).u16(0).u64(19), 0)
			return err
		}},
	} {
		if err := c.do(member()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	c := Crowd{seen: make([]atomic.Uint64, 1)}
	c.got.Store(3)
	c.seen[0].Store(0b11)
	if c.check(3) == nil || c.check(2) == nil {
		t.Error("a message that came twice for one that was lost was not noticed")
	}
}

func TestGrowingEndsWithItsContext(t *testing.T) {
	l, _ := growingLoad(t)
	f, err := l.OpenFleet(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Grow(ctx, 100_000); err == nil {
		t.Fatal("it went on")
	}
}

// A large body comes in many frames; its message is there only with the last of them.
func TestLargeBodyIsCompleteWithItsLastFrame(t *testing.T) {
	l, _ := growingLoad(t)
	l.BodyBytes, l.Window, l.Prefetch, l.AckEvery, l.Messages, l.For = 8<<20, 2, 2, 1, 6, time.Minute
	r, err := l.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Attach(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := r.PublishAndConsume(t.Context()); err != nil || got.Delivered != 6 {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := r.CheckEmpty(); err != nil {
		t.Fatal(err)
	}
}

func TestConsumerWaitsForTheEndOfTheLastBody(t *testing.T) {
	k := scanner(Load{BodyBytes: 9000, AckEvery: 1})
	k.scan.consuming = true
	k.want.Store(1)
	wire := delivery(1, 0, stamped(9000, 0, 0), 4096)
	cut := len(wire) - 10
	taken, err := k.scanFrames(wire[:cut], 0)
	if err != nil || k.check.Count != 1 || k.complete() {
		t.Fatalf("%d counted, complete %v, %v", k.check.Count, k.complete(), err)
	}
	if _, err := k.scanFrames(wire[taken:], 0); err != nil || !k.complete() || len(k.acks) == 0 {
		t.Fatalf("complete %v, %d bytes of acks, %v", k.complete(), len(k.acks), err)
	}
}
