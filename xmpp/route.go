package xmpp

import (
	"errors"
	"strings"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// stanza takes a stanza of the client's to where it goes.
func (c *conn) stanza(k *Client, e *stanza.Element) {
	if err := c.deliver(k, e); err != nil {
		k.Refuse(e, err)
	}
}

// deliver finds who a stanza is for. An error is for the client.
func (c *conn) deliver(k *Client, e *stanza.Element) error {
	e.Set("from", k.full) // whatever it says
	text, has := e.Get("to")
	to := k.jid.Bare()
	if has {
		var err error
		if to, err = stanza.ParseJID(text); err != nil {
			return stanza.Fail("jid-malformed", "'to' is not an address")
		}
	}
	if e.Local == "iq" {
		if err := checkIQ(e); err != nil {
			return err
		}
		c.feed.store() // what was published before is there for whatever is asked
	}
	switch d := k.domain; {
	case e.Local == "presence" && !has:
		return c.broadcast(k, e)
	case to.Domain == d.name && to.Local == "":
		return d.own(k, e)
	case to.Domain == d.name:
		return c.toAccount(k, to, e)
	case strings.HasSuffix(to.Domain, "."+d.name):
		below := strings.TrimSuffix(to.Domain, "."+d.name)
		label := below[strings.LastIndexByte(below, '.')+1:]
		service := d.services[label]
		if _, deep := service.(deepService); service != nil && (deep || label == below) {
			return service.Stanza(k, to, e)
		}
	}
	return stanza.Fail("remote-server-not-found", "there is no '"+to.Domain+"' here, and messages are not passed on to other servers")
}

// deepService is a service with addresses more than one label below a domain.
type deepService interface{ deep() }

// checkIQ says what is wrong with an iq.
func checkIQ(e *stanza.Element) error {
	first := e.First()
	if _, ok := e.Get("id"); !ok {
		return stanza.Fail("bad-request", "an iq needs an id")
	}
	switch e.Attr("type") {
	case "get", "set":
		if first == nil || len(e.Children()) != 1 {
			return stanza.Fail("bad-request", "a request has exactly one element in it")
		}
	case "result", "error":
	default:
		return stanza.Fail("bad-request", "the type of an iq is get, set, result or error")
	}
	return nil
}

// asks tells whether a stanza is an iq that has to be answered.
func asks(e *stanza.Element) bool {
	return e.Local == "iq" && (e.Attr("type") == "get" || e.Attr("type") == "set")
}

var (
	errUnserved = stanza.Fail("service-unavailable", "")
	errNoQueue  = stanza.Fail("item-not-found", "there is no such queue")
)

// asError is the one place where the broker's kinds of error become stanza errors.
func (k *Client) asError(err error) *stanza.Error {
	var e *stanza.Error
	if errors.As(err, &e) {
		return e
	}
	e = FromBroker(err)
	if e.Condition == "internal-server-error" {
		k.s.opts.Logger.Error("a stanza could not be served", "listener", "xmpp", "client", k.full, "error", err)
	}
	if broker.RefusedOn(err) != 0 {
		if c := k.live.Load(); c != nil {
			c.log.Denied("stanza", "", err, "use an address or a user for which it is allowed")
		}
	}
	return e
}

// FromBroker is the stanza error for an error of the broker's.
func FromBroker(err error) *stanza.Error {
	condition := "internal-server-error"
	switch broker.KindOf(err) {
	case broker.NotFound:
		condition = "item-not-found"
	case broker.Refused:
		condition = "forbidden"
	case broker.Locked, broker.Exists, broker.Collides:
		condition = "conflict"
	case broker.Precondition, broker.UnknownType, broker.BadSetting, broker.OutOfRange:
		condition = "not-acceptable"
	case broker.TooLarge:
		condition = "policy-violation"
	case broker.Unsupported:
		condition = "feature-not-implemented"
	case broker.Full, broker.LimitReached, broker.Timeout, broker.Unavailable, broker.Unreadable:
		condition = "resource-constraint"
	case broker.Closed:
		condition = "gone"
	}
	return stanza.Fail(condition, err.Error())
}
