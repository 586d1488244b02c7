package netx

import (
	"net"
	"testing"
	"time"
)

// ender is what an accepted connection can tell.
type ender interface{ Gone() <-chan struct{} }

func goneSoon(t *testing.T, gone <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Errorf("%s: nobody was told", what)
	}
}

func TestTheEndOfAClientIsSeenWhileNobodyReads(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(accepted, client net.Conn)
	}{
		{"the client closes", func(_, client net.Conn) { client.Close() }},
		{"the client closes behind bytes that nobody reads", func(_, client net.Conn) {
			_, _ = client.Write(make([]byte, 100<<10))
			client.Close()
		}},
		{"the client resets", func(_, client net.Conn) {
			_ = client.(*net.TCPConn).SetLinger(0)
			client.Close()
		}},
		{"the client says that it will send no more", func(_, client net.Conn) { _ = client.(*net.TCPConn).CloseWrite() }},
		{"we close", func(accepted, _ net.Conn) { accepted.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			accepted, client := pair(t)
			gone := accepted.(ender).Gone()
			if gone == nil {
				t.Fatal("it can't be seen")
			}
			if _, err := client.Write([]byte("not the end")); err != nil {
				t.Fatal(err)
			}
			select {
			case <-gone:
				t.Error("told while the client is there")
			case <-time.After(20 * time.Millisecond):
			}
			c.end(accepted, client)
			goneSoon(t, gone, "asked before")
			goneSoon(t, accepted.(ender).Gone(), "asked again")
		})
		t.Run(c.name+", then somebody asks", func(t *testing.T) {
			accepted, client := pair(t)
			if c.name == "we close" {
				return // the handler itself knows
			}
			c.end(accepted, client)
			goneSoon(t, accepted.(ender).Gone(), "asked after")
		})
	}
}

func TestAClosedConnectionIsForgotten(t *testing.T) {
	l := quiet(t, Options{Name: "test"})
	told := make(chan (<-chan struct{}))
	go func() {
		_ = l.Serve(func(c net.Conn) { told <- c.(ender).Gone() })
	}()
	for range 3 {
		dial(t, l)
		goneSoon(t, <-told, "the handler returned")
	}
	l.hangups.mu.Lock()
	defer l.hangups.mu.Unlock()
	if n := len(l.hangups.waiting); n != 0 {
		t.Errorf("%d connections are waited for", n)
	}
}
