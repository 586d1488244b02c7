package xmpp

import (
	"github.com/leveret-mq/leveret/broker"
)

// offlineKey is that of the consumer of offline messages in Client.Set.
type offlineKey struct{}

// wantOffline has a client that is available get the messages that wait for its user, if there is a queue of them: as
// one of its consumers, so that what is published there while it is online reaches it, too.
func (k *Client) wantOffline() {
	v, err := k.domain.vhostOf()
	if err != nil {
		return
	}
	name := offlinePrefix + k.user
	if _, err := v.Queue(name); err != nil {
		return
	}
	if k.Get(offlineKey{}) != nil {
		return
	}
	out := &outbound{to: k.full, domain: k.domain.name}
	q, err := k.Consume(ConsumerOptions{
		Queue: name, Session: v.NewInnerSession(), // it is the user's own, whatever else they may read
		Append:    func(buf []byte, d *broker.Delivery, _ uint64) []byte { return out.append(buf, d) },
		Cancelled: func(*Consumer) { k.Set(offlineKey{}, nil) },
	})
	if err != nil {
		k.s.opts.Logger.Error("can't read the messages that wait for a user", "listener", "xmpp", "queue", name, "error", err)
		return
	}
	if old := k.Set(offlineKey{}, q); old != nil {
		old.(*Consumer).Close()
	}
	if k.online() {
		return
	}
	k.leaveOffline() // it was there for who has just put a message into the queue, and went away
	if k.online() {  // and has come back, while this one stood for its own
		k.wantOffline()
	}
}

// leaveOffline ends it.
func (k *Client) leaveOffline() {
	if q, ok := k.Set(offlineKey{}, nil).(*Consumer); ok {
		q.Close()
	}
}
