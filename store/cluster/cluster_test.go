package cluster

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/storetest"
)

// fakeCluster is a cluster of three brokers in this process.
func fakeCluster(t testing.TB) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.GroupMinSessionTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// openStore opens a store over the cluster, which the test closes.
func openStore(t testing.TB, c *kfake.Cluster) *Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := Open(ctx, Options{
		Brokers: c.ListenAddrs(), Replicas: 3, Slots: 4, Linger: time.Microsecond, PollEvery: 20 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		c := fakeCluster(t)
		return func() store.Store { return openStore(t, c) }
	})
}
