package xmpp

import "github.com/leveret-mq/leveret/xmpp/stanza"

// Event sends what the client did not ask for, whatever else waits for it: the caller bounds how much of it is under way by
// what was not settled yet. settled is called once: with true when the client has acknowledged the stanza, on a stream without
// stream management when it was written; and with false when the client has gone before. It may be called before Event
// returns, under locks of the client's, so it must not block nor call the client. e is not kept.
func (k *Client) Event(e *stanza.Element, settled func(ok bool)) {
	k.mu.Lock()
	sent := k.put(e, entry{settled: settled})
	k.mu.Unlock()
	if !sent {
		settled(false)
	}
}

// settleAll calls those that wait for a stanza.
func settleAll(list []func(bool), ok bool) {
	for _, settled := range list {
		settled(ok)
	}
}

// tellGone tells those services that want to know that a client has ended, whether or not it was ever available.
func (k *Client) tellGone() {
	for _, label := range k.domain.order {
		if s, ok := k.domain.services[label].(interface{ Gone(*Client) }); ok {
			s.Gone(k)
		}
	}
}
