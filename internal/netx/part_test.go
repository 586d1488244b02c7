package netx

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
)

// loopback is the two ends of a connection over the loopback interface.
func loopback(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, new(Listener).ready(server, nil)
}

// A peer that reads only when it has sent everything still gets the last word.
func TestTheLastWordArrivesThoughBytesWereUnderWay(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Minute} {
		client, server := loopback(t)
		if _, err := client.Write(make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.WriteString(server, "bye")
			Part(t.Context(), server, wait)
		}()
		if _, err := client.Write(make([]byte, 4<<20)); err != nil {
			t.Fatalf("while it still sends: %v", err)
		}
		got := make([]byte, 3)
		if _, err := io.ReadFull(client, got); err != nil || string(got) != "bye" {
			t.Fatalf("got %q, %v", got, err)
		}
		if wait == 0 {
			if n, err := client.Read(got); !errors.Is(err, io.EOF) {
				t.Errorf("then %d bytes and %v, want the end", n, err)
			}
		}
		client.Close()
		<-done
	}
}

func TestPartingIsBounded(t *testing.T) {
	cases := []struct {
		name  string
		wait  time.Duration
		stop  time.Duration // after which the listener stops; 0: it does not
		close time.Duration // after which the peer closes; 0: it does not
		least time.Duration
		most  time.Duration
	}{
		{"the peer closes", 10 * time.Second, 0, 3 * time.Second, 3 * time.Second, 3 * time.Second},
		{"the peer never closes", 10 * time.Second, 0, 0, 10 * time.Second, 10*time.Second + lingerTime},
		{"the broker stops meanwhile", 10 * time.Second, 2 * time.Second, 0, 2 * time.Second, 2*time.Second + hurryTime},
		{"the broker stopped before", 10 * time.Second, time.Nanosecond, 0, 0, hurryTime},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.stop > 0 {
					time.AfterFunc(c.stop, cancel)
				}
				if c.close > 0 {
					time.AfterFunc(c.close, func() { client.Close() })
				}
				var sending sync.WaitGroup
				defer sending.Wait()
				sending.Go(func() { // a peer that goes on sending, and never reads
					for {
						if _, err := client.Write([]byte("more")); err != nil {
							return
						}
						time.Sleep(100 * time.Millisecond)
					}
				})
				time.Sleep(time.Millisecond)
				begun := time.Now()
				Part(ctx, server, c.wait)
				if took := time.Since(begun); took < c.least-2*time.Millisecond || took > c.most {
					t.Errorf("took %v, want %v to %v", took, c.least, c.most)
				}
				client.Close()
			})
		})
	}
}

// halfOpen is a pipe whose sides can be closed one by one, as a socket's can.
type halfOpen struct {
	net.Conn
	closed int
}

func (h *halfOpen) CloseWrite() error { h.closed++; return nil }

func TestPartingAfterOurSidesEndIsBounded(t *testing.T) {
	for _, stopping := range []bool{false, true} {
		fakeclock.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			want := lingerTime
			if stopping {
				cancel()
				want = hurryTime
			}
			begun := time.Now()
			h := &halfOpen{Conn: server}
			Part(ctx, h, 0)
			if took := time.Since(begun); took != want || h.closed != 1 {
				t.Errorf("took %v with %d ends of our side, want %v and 1", took, h.closed, want)
			}
		})
	}
}

// endless is a peer that sends as fast as it is read.
type endless struct {
	net.Conn
	read int
}

func (e *endless) Read(b []byte) (int, error) { e.read += len(b); return len(b), nil }

func TestPartingTakesSoManyBytes(t *testing.T) {
	_, server := net.Pipe()
	e := &endless{Conn: server}
	Part(t.Context(), e, time.Hour)
	if e.read < maxLeftBytes || e.read > maxLeftBytes+leftBytes {
		t.Errorf("took %d bytes", e.read)
	}
}
