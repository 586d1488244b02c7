package netx

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/logged"
)

func quiet(t *testing.T, o Options) *Listener {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Wrap(inner, o)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func dial(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

func echo(c net.Conn) { _, _ = io.Copy(c, c) }

func roundTrip(c net.Conn) error {
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func TestPanicCostsOneConnection(t *testing.T) {
	var said logged.Lines
	l := quiet(t, Options{Name: "test", Logger: said.Logger()})
	go func() {
		_ = l.Serve(func(c net.Conn) {
			b := make([]byte, 1)
			_, _ = c.Read(b)
			if b[0] == '!' {
				panic("broken invariant")
			}
			_, _ = c.Write(b)
		})
	}()
	bad, good := dial(t, l), dial(t, l)
	_, _ = bad.Write([]byte("!"))
	if _, err := bad.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("got %v", err)
	}
	if err := roundTrip(good); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "broken invariant") {
		t.Fatalf("not logged: %s", said.String())
	}
}

func TestCloseLeavesOpenConnections(t *testing.T) {
	l := quiet(t, Options{Name: "test"})
	served := make(chan error, 1)
	go func() { served <- l.Serve(echo) }()
	c := dial(t, l)
	if err := roundTrip(c); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatalf("Serve ended with %v", err)
	}
	if err := roundTrip(c); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", l.inner.Addr().String()); err == nil {
		t.Fatal("still accepting")
	}
}

func TestShutdownWaitsThenCuts(t *testing.T) {
	l := quiet(t, Options{Name: "test"})
	go func() { _ = l.Serve(echo) }()
	c := dial(t, l)
	if err := roundTrip(c); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Shutdown(ended); err != nil {
		t.Fatal(err)
	}
	if err := roundTrip(c); err == nil {
		t.Fatal("the connection outlived the shutdown")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) != 0 {
		t.Fatalf("%d are open", len(l.conns))
	}
}
