package pubsub

import (
	"errors"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/xmpp"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// withMore adds a condition of XEP-0060 to an error.
func withMore(e *stanza.Error, condition string) *stanza.Error {
	e.More = stanza.New(nsErrors, condition)
	return e
}

// typed is an error of another type than RFC 6120 gives its condition.
func typed(kind string, e *stanza.Error) *stanza.Error {
	e.Type = kind
	return e
}

func unsupported(feature, text string) *stanza.Error {
	e := withMore(stanza.Fail("feature-not-implemented", text), "unsupported")
	e.More.Set("feature", feature)
	return e
}

var errNodeRequired = withMore(stanza.Fail("bad-request", "which node? The attribute node is missing"), "nodeid-required")

// asError is an error of the broker's as it is told to a client.
func asError(err error) *stanza.Error {
	var own *stanza.Error
	if errors.As(err, &own) {
		return own
	}
	if broker.KindOf(err) == broker.TooLarge {
		return withMore(stanza.Fail("not-acceptable", err.Error()), "payload-too-big")
	}
	return xmpp.FromBroker(err)
}
