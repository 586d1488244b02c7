package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
)

// read consumes n messages of a stream from a place on, settles each, and says which they are.
func (g *gateway) read(stream string, from []byte, n int, then func()) (bodies []string) {
	g.t.Helper()
	woken := make(chan struct{}, 1)
	sub, err := g.session.Subscribe(stream, broker.SubscribeOptions{Prefetch: 30, Args: from, Wake: func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	}})
	if err != nil {
		g.t.Fatal(err)
	}
	defer sub.Close()
	then()
	late := time.After(time.Minute)
	for len(bodies) < n {
		var turn []got
		if _, err := sub.Pull(n-len(bodies), 1<<20, func(d *broker.Delivery) {
			turn = append(turn, got{body: string(d.Body), lease: d.Lease, offset: d.Offset})
		}); err != nil {
			g.t.Fatal(err)
		}
		sub.Release()
		for _, one := range turn {
			ack(g.t)(one)
			bodies = append(bodies, one.body)
		}
		if len(turn) > 0 {
			continue
		}
		select {
		case <-woken:
		case <-late:
			g.t.Fatalf("%d of %d messages came from '%s'", len(bodies), n, stream)
		}
	}
	return bodies
}

// TestAStreamIsReadFromAnyPlace, by this process and by the next one over the same cluster, and
// nothing leaves it.
func TestAStreamIsReadFromAnyPlace(t *testing.T) {
	c := fakeCluster(t)
	offset := func(v any) []byte {
		if n, ok := v.(int64); ok {
			return field.AppendTableInt(nil, "x-stream-offset", n)
		}
		return field.AppendTableString(nil, "x-stream-offset", v.(string))
	}
	g := startGateway(t, c)
	_, err := g.session.DeclareQueue("s", broker.QueueOptions{Durable: true, Args: field.AppendTableString(nil, "x-queue-type", "stream")})
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, bodies []string, from int) {
		t.Helper()
		for i, b := range bodies {
			if b != fmt.Sprintf("%06d", from+i) {
				t.Fatalf("%s: message %d is %s", what, from+i, b)
			}
		}
	}
	nothing := func() {}
	g.publish("", "s", 0, 200)
	check("from the first", g.read("s", offset("first"), 200, nothing), 0)
	check("from the first again", g.read("s", offset("first"), 50, nothing), 0)
	g.stop()
	g = startGateway(t, c)
	defer g.stop()
	check("from an offset", g.read("s", offset(int64(120)), 80, nothing), 120)
	check("what comes next", g.read("s", offset("next"), 10, func() { g.publish("", "s", 200, 210) }), 200)
	check("from an offset, with what came since", g.read("s", offset(int64(195)), 15, nothing), 195)
}
