package netx

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
)

func within(t *testing.T, wait time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	t.Cleanup(cancel)
	return ctx
}

// closing is a socket that knows that it was closed.
type closing struct {
	net.Conn
	closed atomic.Bool
}

func (c *closing) Close() error { c.closed.Store(true); return nil }

func TestTheHandshakeThatWaitsLongestForItsClientMakesRoom(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		h := NewHandshakes()
		var conns []*closing
		var list []*greeting
		begin := func() *greeting {
			c := new(closing)
			g := h.begin(c)
			conns, list = append(conns, c), append(list, g)
			return g
		}
		for range maxHandshakes {
			begin()
		}
		begin()
		for n, c := range conns {
			if c.closed.Load() {
				t.Fatalf("%d of %d was closed, before it had waited", n, len(conns))
			}
		}
		time.Sleep(idleGrace)
		list[2].work() // its client has said something: it waits from here on
		list[2].rest()
		list[0].work() // it does not wait for its client
		begin()
		begin()
		for n, c := range conns {
			if want := n == 1 || n == 3; c.closed.Load() != want {
				t.Errorf("%d is closed: %t", n, c.closed.Load())
			}
		}
		list[1].work() // its read fails
		if !list[1].end() || list[0].end() || list[2].end() {
			t.Error("who made room is not known")
		}
		if len(h.computing) != 0 || h.open != maxHandshakes-1 {
			t.Errorf("%d compute, %d are open", len(h.computing), h.open)
		}
	})
}

func TestVeryManyHandshakesMakeRoomAtOnce(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		h := NewHandshakes()
		first := new(closing)
		h.begin(first)
		for range maxGreeted - 1 {
			h.begin(new(closing))
		}
		if first.closed.Load() {
			t.Error("the first was closed too soon")
		}
		h.begin(new(closing))
		if !first.closed.Load() || h.open != maxGreeted {
			t.Errorf("%d are open, and the first is closed: %t", h.open, first.closed.Load())
		}
	})
}

func TestNobodyIsAcceptedWhileAllHandshakesHaveWork(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		h := NewHandshakes()
		finish := make(chan struct{})
		for range maxGreeted {
			g := h.begin(new(closing))
			go func() {
				g.work()
				<-finish
				g.end()
			}()
		}
		synctest.Wait()
		if len(h.computing) != cap(h.computing) || h.idle.Len() != 0 {
			t.Fatalf("%d compute, %d wait for their clients", len(h.computing), h.idle.Len())
		}
		began := make(chan *greeting)
		go func() { began <- h.begin(new(closing)) }()
		synctest.Wait()
		select {
		case <-began:
			t.Fatal("one more was let in")
		default:
		}
		finish <- struct{}{}
		<-began
		close(finish)
		synctest.Wait()
		if len(h.computing) != 0 || h.open != 1 {
			t.Errorf("%d compute, %d are open", len(h.computing), h.open)
		}
	})
}
