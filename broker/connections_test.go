package broker

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/leveret-mq/leveret/auth"
)

// client is a listener's side of a connection.
type client struct {
	name   string
	closed chan string
}

func (c *client) Describe(i *ConnectionInfo) {
	i.Name, i.Traffic.BytesIn = c.name, 7
	i.Channels = append(i.Channels, ChannelInfo{Number: 1})
}

func (c *client) Close(reason string) { c.closed <- reason }
func (c *client) Evict(reason string) { c.closed <- reason }

func connect(t *testing.T, l *Clients, name string) (*client, *Connection) {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { here.Close(); there.Close() })
	c := &client{name, make(chan string, 1)}
	return c, l.Connect(here, c)
}

func TestConnectionsAreSeenFromTheFirstByteToTheLast(t *testing.T) {
	r := start(t)
	one, two := r.Clients("one"), r.Clients("two")
	a, ka := connect(t, one, "a")
	_, kb := connect(t, two, "b")
	_, kc := connect(t, one, "c")
	s := ka.NewSession(r.v, auth.Identity{Name: "ann"})
	if s.who.Name != "ann" || s.vhost != r.v {
		t.Error(s.who, s.vhost)
	}
	list := r.Connections()
	if len(list) != 3 || list[0].ID >= list[1].ID || list[1].ID >= list[2].ID {
		t.Fatalf("%+v", list)
	}
	got := list[0]
	if got.Protocol != "one" || got.Name != "a" || got.User != "ann" || got.VHost != "/" || got.Peer != "pipe" || got.Since.IsZero() ||
		got.Traffic.BytesIn != 7 || len(got.Channels) != 1 {
		t.Errorf("%+v", got)
	}
	if list[1].User != "" || list[1].Protocol != "two" {
		t.Errorf("before the login: %+v", list[1])
	}
	kb.Close()
	kb.Close()
	if n := r.ConnectionCounts(); n["one"] != 2 || n["two"] != 0 || len(n) != 2 {
		t.Error(n)
	}
	other, _ := connect(t, two, "other")
	one.Close("enough")
	if reason := <-a.closed; reason != "enough" {
		t.Error(reason)
	}
	if _, k := connect(t, one, "late"); k != nil {
		t.Error("connected to a listener that is closing")
	}
	if _, k := connect(t, two, "d"); k == nil {
		t.Error("the other listener is closed too")
	}
	if len(other.closed) != 0 {
		t.Error("a connection of the other listener was told to end")
	}
	ka.Close()
	kc.Close()
	if len(r.Connections()) != 2 {
		t.Error(r.Connections())
	}
}

func TestConnectionsComeAndGoWhileSomebodyLooks(t *testing.T) {
	r := start(t)
	l := r.Clients("x")
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 200 {
				_, k := connect(t, l, fmt.Sprint(g, i))
				k.NewSession(r.v, auth.Identity{Name: "u"}).Close()
				k.Close()
			}
		})
	}
	all.Go(func() {
		for range 200 {
			list := r.Connections()
			if !slices.IsSortedFunc(list, func(a, b ConnectionInfo) int { return int(a.ID) - int(b.ID) }) {
				t.Error("not in order")
			}
		}
	})
	all.Wait()
	if n := r.ConnectionCounts()["x"]; n != 0 {
		t.Error(n)
	}
}
