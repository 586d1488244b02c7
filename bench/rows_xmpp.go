package bench

import (
	"context"

	"github.com/leveret-mq/leveret/bench/xmppload"
)

// xmppWindow is how many messages are under way: a client that has not acknowledged 1000 gets no more.
const xmppWindow = 500

// xmppRows send over XMPP and take what was sent over XMPP: messages of a queue, and events of a pubsub node.
func xmppRows() []row {
	var out []row
	add := func(name, workload, about string, short bool, run func(context.Context, *running) error) {
		out = append(out, row{name: name, about: about, protocol: xmpp, run: run, workload: workload, short: short})
	}
	for _, s := range sizes {
		if s.bytes < 24 || s.bytes > 1024 {
			continue // the number and the time of a message take some, and a stanza is no place for large ones
		}
		queue := xmppload.Load{BodyBytes: s.bytes, Window: xmppWindow}
		add("xmpp-"+s.name, "confirm", "messages to a queue and from it, acknowledged both ways by stream management (window 500)", s.short("1k"),
			func(ctx context.Context, x *running) error { return xmppBoth(ctx, x, queue) })
		events := xmppload.Load{BodyBytes: s.bytes, Window: xmppWindow, Events: true}
		add("xmpp-event-"+s.name, "confirm", "items to a pubsub node, and its events to one subscriber, acknowledged both ways (window 500)", s.short("1k"),
			func(ctx context.Context, x *running) error { return xmppBoth(ctx, x, events) })
	}
	return out
}

func xmppBoth(ctx context.Context, x *running, l xmppload.Load) error {
	l.Address, l.Name, l.User, l.Password = x.xmpp, x.name, x.options.user, x.options.password
	l.Messages, l.For, _ = x.extent(0, x.messages(l.BodyBytes))
	run, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer run.Close()
	return x.measured(ctx, func() (work, error) {
		r, err := run.PublishAndConsume(ctx)
		return work{messages: r.Delivered, bodyBytes: l.BodyBytes, elapsed: r.Elapsed, latency: r.Latency, latencyName: "send to delivery"}, err
	})
}
