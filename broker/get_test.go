package broker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
)

// coldRig is a broker after a start, with a message in "q" that no memory holds, and
// an empty queue "empty".
func coldRig(t *testing.T) *frozenRig {
	t.Helper()
	r := startFrozen(t, fs.NewMem(1))
	for _, name := range []string{"q", "empty"} {
		if _, err := r.s.DeclareQueue(name, durable); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, r.s.NewPublisher(), "", "q=cold")
	r.close()
	r.mem.Evict(true)
	return startFrozen(t, r.mem)
}

func (r *frozenRig) freezeReads() {
	r.disk.Freeze(func(op fs.Op, name string) bool {
		return (op == fs.OpRead || op == fs.OpOpen) && strings.Contains(name, "/queues/")
	})
}

// warm opens the log of "q", so that only its batches have to be read.
func (r *frozenRig) warm() {
	q, _ := r.s.vhost.Queue("q")
	if n := q.Ready(); n != 1 {
		r.t.Fatalf("%d ready", n)
	}
}

func TestAGetOfADiskThatHangsFails(t *testing.T) {
	for _, tc := range []struct {
		name string
		noAck,
		warm bool
		end  func(r *frozenRig)
		want Kind
	}{
		{"in time", false, false, func(*frozenRig) { time.Sleep(15 * time.Second) }, Timeout},
		{"in time, of an open log", false, true, func(*frozenRig) { time.Sleep(15 * time.Second) }, Timeout},
		{"in time, without ack", true, true, func(*frozenRig) { time.Sleep(15 * time.Second) }, Timeout},
		{"when the connection goes", false, true, func(r *frozenRig) { r.s.GiveUp() }, Closed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				r := coldRig(t)
				defer r.close()
				if tc.warm {
					r.warm()
				}
				r.freezeReads()
				wait := begin(t, func() (*Got, error) { return r.s.Get("q", tc.noAck) })
				tc.end(r)
				if g, err := wait(); KindOf(err) != tc.want || g != nil {
					t.Fatalf("got %v, %v", g, err)
				}
				s := r.s.vhost.NewSession(r.s.who)
				if _, err := s.Get("q", false); KindOf(err) != Timeout {
					t.Errorf("another joined those that wait: %v", err)
				}
				r.disk.Thaw()
				synctest.Wait()
				g, err := s.Get("q", false)
				if err != nil || g == nil || string(g.Body) != "cold" || g.Redelivered {
					t.Fatalf("after the thaw: %v, %v", g, err)
				}
			})
		})
	}
}

func TestAStopEndsAGetOfADiskThatHangs(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := coldRig(t)
		r.freezeReads()
		wait := begin(t, func() (*Got, error) { return r.s.Get("q", false) })
		if err := r.b.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := wait(); KindOf(err) != Closed {
			t.Errorf("got %v", err)
		}
		r.close()
	})
}

func TestAGetOfAnEmptyQueueNeedsNoDisk(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := coldRig(t)
		defer r.close()
		for range 2 { // the first makes the cursor
			if g, err := r.s.Get("empty", false); g != nil || err != nil {
				t.Fatal(g, err)
			}
			r.disk.Freeze(nil)
		}
	})
}

// BenchmarkGet is a message in and out by basic.get.
func BenchmarkGet(b *testing.B) {
	s := benchRig(b)
	if _, err := s.DeclareQueue("q", durable); err != nil {
		b.Fatal(err)
	}
	p := s.NewPublisher()
	in := &Inbound{Key: []byte("q"), Properties: []byte{0x10, 0, 2}, Body: make([]byte, 100), TimestampMs: 1}
	for range b.N {
		if _, err := p.Publish(in); err != nil {
			b.Fatal(err)
		}
	}
	p.Store()
	p.Commit(nil)
	b.ResetTimer()
	b.ReportAllocs()
	for range b.N {
		if g, err := s.Get("q", true); g == nil || err != nil {
			b.Fatal(g, err)
		}
	}
}
