package netx

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/internal/logged"
)

// greetAll answers each byte; to an 'h' the client of a connection is known from then on.
func greetAll(c net.Conn) {
	b := make([]byte, 1)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
		if b[0] == 'h' {
			Known(c)
		}
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

func hello(c net.Conn) error {
	if _, err := c.Write([]byte("h")); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

// comeIn dials until somebody answers.
func comeIn(t *testing.T, l *Listener, say func(net.Conn) error) net.Conn {
	t.Helper()
	c := dial(t, l)
	if err := say(c); err != nil {
		t.Fatal(err)
	}
	return c
}

func gone(c net.Conn) bool {
	_, err := c.Read(make([]byte, 1))
	return err != nil
}

func TestListenersShareTheirSlots(t *testing.T) {
	slots := NewSlots(1)
	one, two := quiet(t, Options{Name: "one", Slots: slots}), quiet(t, Options{Name: "two", Slots: slots})
	go func() { _ = one.Serve(greetAll) }()
	go func() { _ = two.Serve(greetAll) }()
	first := comeIn(t, one, hello)
	if err := roundTrip(dial(t, two)); err == nil {
		t.Fatal("two connections, and one slot")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for range 1000 { // until the first handler has ended
		if roundTrip(dial(t, two)) == nil {
			return
		}
	}
	t.Error("the slot did not come back")
}

func TestWhoIsNotKnownMakesRoomOnAnotherListenerToo(t *testing.T) {
	var said logged.Lines
	slots := NewSlots(3)
	one, two := quiet(t, Options{Name: "one", Slots: slots, Logger: said.Logger()}), quiet(t, Options{Name: "two", Slots: slots, Logger: said.Logger()})
	go func() { _ = one.Serve(greetAll) }()
	go func() { _ = two.Serve(greetAll) }()
	known := comeIn(t, one, hello)
	idle := []net.Conn{comeIn(t, one, roundTrip), comeIn(t, two, roundTrip)}
	for range 20 {
		idle = append(idle, comeIn(t, two, roundTrip))
	}
	for _, c := range idle[:len(idle)-2] {
		if !gone(c) {
			t.Fatal("one that waited longer stayed")
		}
	}
	if roundTrip(idle[len(idle)-1]) != nil || roundTrip(idle[len(idle)-2]) != nil || roundTrip(known) != nil {
		t.Error("one that was in nobody's way, or is known, was closed")
	}
	if n := strings.Count(said.String(), errRoomMade.Error()); n != 2 {
		t.Errorf("%d lines say who made room, of two listeners:\n%s", n, said.String())
	}
}

func TestNobodyWhoIsKnownMakesRoom(t *testing.T) {
	var said logged.Lines
	l := quiet(t, Options{Name: "test", MaxConns: 2, Logger: said.Logger()})
	go func() { _ = l.Serve(greetAll) }()
	first, second := comeIn(t, l, hello), comeIn(t, l, hello)
	if err := roundTrip(dial(t, l)); err == nil {
		t.Fatal("a third of two was served")
	}
	if roundTrip(first) != nil || roundTrip(second) != nil {
		t.Error("one that is known was closed")
	}
	if !strings.Contains(said.String(), errNoRoom.Error()) {
		t.Errorf("nothing says why it was closed: %s", said.String())
	}
}

// from is a connection from an address.
type from struct {
	closing
	addr string
}

func (f *from) RemoteAddr() net.Addr {
	addr, _ := net.ResolveTCPAddr("tcp", f.addr)
	return addr
}

func guests(t *testing.T, l *Listener, addr string, n int) (list []*from) {
	t.Helper()
	for range n {
		f := &from{addr: addr}
		list = append(list, f)
		if err := newGuest(l, f).enter(l.own); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func count(list []*from) (open int) {
	for _, f := range list {
		if !f.closed.Load() {
			open++
		}
	}
	return open
}

func TestWhoFloodsMakesRoomForItself(t *testing.T) {
	quietly := slog.New(slog.DiscardHandler)
	for _, v := range []struct{ flood, also, other string }{
		{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"},
		{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8:0:1::1]:1"},
	} {
		l := &Listener{own: NewSlots(10), log: NewLog("test", quietly)}
		first := guests(t, l, v.flood, 5)
		honest := guests(t, l, v.other, 1)
		flood := guests(t, l, v.also, 100)
		if count(honest) != 1 || count(first) != 0 || count(flood) != 9 || l.own.used != 10 {
			t.Errorf("%v: of 1, 5 and 100 there are %d, %d and %d, and %d places are taken", v, count(honest), count(first), count(flood), l.own.used)
		}
		late := guests(t, l, "198.51.100.1:1", 1) // the one that has waited longest goes, whoever it is
		if count(honest) != 0 || count(late) != 1 {
			t.Errorf("%v: %d and %d", v, count(honest), count(late))
		}
	}
}

func TestWhoWaitsForUsMakesNoRoom(t *testing.T) {
	l := &Listener{own: NewSlots(2), log: NewLog("test", slog.New(slog.DiscardHandler))}
	var list []*guest
	enter := func() (*closing, error) {
		c := new(closing)
		g := newGuest(l, struct {
			*closing
			nowhere
		}{c, nowhere{}})
		err := g.enter(l.own)
		list = append(list, g)
		return c, err
	}
	first, _ := enter()
	second, _ := enter()
	nc := &watched{guest: list[0]}
	done, again := Busy(nc), Busy(nc)
	done()
	third, err := enter()
	if err != nil || first.closed.Load() || !second.closed.Load() {
		t.Fatalf("closed: %t, %t; %v", first.closed.Load(), second.closed.Load(), err)
	}
	Known(&watched{guest: list[2]})
	if _, err := enter(); !errors.Is(err, errNoRoom) {
		t.Errorf("one waits for us, one is known: %v", err)
	}
	again() // it is the only one that can go
	if _, err := enter(); err != nil || !first.closed.Load() || third.closed.Load() {
		t.Errorf("closed: %t, %t; %v", first.closed.Load(), third.closed.Load(), err)
	}
	for _, g := range list {
		g.leave()
		g.leave()
	}
	if l.own.used != 0 || l.own.spare.Len() != 0 || len(l.own.sources) != 0 {
		t.Error(fmt.Sprint(l.own.used, l.own.spare.Len(), l.own.sources))
	}
	done = Busy(nc) // whoever is gone takes no place any more
	done()
	if l.own.spare.Len() != 0 {
		t.Error("one that is gone can be given away")
	}
}

// nowhere is where a test's connection comes from.
type nowhere struct{}

func (nowhere) RemoteAddr() net.Addr { return nil }
