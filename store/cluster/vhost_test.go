package cluster

import (
	"context"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/store"
)

// TestVirtualHostsComeAndGoEverywhere: what one process makes the others have, and when one deletes it, it
// is gone everywhere, and another of its name begins with nothing.
func TestVirtualHostsComeAndGoEverywhere(t *testing.T) {
	c := fakeCluster(t)
	a, b := startGateway(t, c), startGateway(t, c)
	defer a.stop()
	defer b.stop()
	by := audit.Process("test")
	for range 2 {
		if _, err := a.broker.PutVHost(by, "v", broker.VHostMeta{DefaultQueueType: "quorum"}); err != nil {
			t.Fatal(err)
		}
		var there *broker.VHost
		soon(t, "the virtual host", func() bool {
			there, _ = b.broker.VHost("v")
			return there != nil && there.Meta().DefaultQueueType == "quorum"
		})
		s := there.NewSession(auth.Identity{Name: "guest"})
		if n := len(there.Queues()); n != 0 {
			t.Fatalf("it has %d queues already", n)
		}
		if _, err := s.DeclareQueue("q", broker.QueueOptions{Durable: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.DeclareExchange("x", broker.ExchangeOptions{Type: "fanout", Durable: true}); err != nil {
			t.Fatal(err)
		}
		if err := s.Bind(broker.Binding{Source: "x", Dest: "q"}); err != nil {
			t.Fatal(err)
		}
		if err := a.broker.DeleteVHost(by, "v"); err != nil {
			t.Fatal(err)
		}
		soon(t, "its end", there.Gone)
		if _, err := s.DeclareQueue("late", broker.QueueOptions{Durable: true}); broker.KindOf(err) != broker.Closed {
			t.Errorf("a late declaration: %v", err)
		}
		if _, err := b.broker.PutVHost(by, "v", broker.VHostMeta{}); err != nil { // as soon as all of it is gone
			t.Fatal(err)
		}
		soon(t, "the new one", func() bool { v, _ := a.broker.VHost("v"); return v != nil })
		for _, g := range []*gateway{a, b} {
			v, err := g.broker.VHost("v")
			if err != nil || len(v.Queues()) != 0 || len(v.Exchanges()) != 6 {
				t.Errorf("the new one: %v", err)
			}
		}
		if err := b.broker.DeleteVHost(by, "v"); err != nil {
			t.Fatal(err)
		}
		soon(t, "the end of the new one", func() bool { _, err := a.broker.VHost("v"); return err != nil })
	}
	table, err := a.store.Table(t.Context(), "defs")
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "nothing to be left", func() bool {
		left := 0
		err := table.Load(context.Background(), func(e store.Entry) error {
			if strings.Contains(e.Key, "/v") || strings.HasPrefix(e.Key, "d/") {
				left++
			}
			return nil
		})
		return err == nil && left == 0
	})
}
