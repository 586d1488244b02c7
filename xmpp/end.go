package xmpp

import (
	"errors"
	"time"

	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// errTold ends a connection whose client knows why, or need not.
var errTold = errors.New("the client was told")

// appendStreamError appends the error that ends a stream, with a condition of an extension as XML, and the end of the
// stream.
func appendStreamError(b []byte, e *stanza.StreamError, more string) []byte {
	b = append(append(append(b, "<stream:error><"...), e.Condition...), " xmlns='"+stanza.NSStreams+"'/>"...)
	if e.Text != "" {
		b = append(b, "<text xmlns='"+stanza.NSStreams+"' xml:lang='en'>"...)
		b = append(stanza.AppendText(b, e.Text), "</text>"...)
	}
	return append(append(b, more...), "</stream:error></stream:stream>"...)
}

// endEarly ends a connection that has no writer.
func (c *conn) endEarly(err error) error {
	if c.session != nil {
		c.feed.abandon()
		c.session.Close()
	}
	var e *stanza.StreamError
	ended := errors.Is(err, stanza.ErrEnd)
	if !ended && !errors.As(err, &e) {
		if !netx.OrdinaryEnd(err) || errors.Is(err, errTold) {
			return err
		}
		c.close()
		return err
	}
	if c.until(time.Now().Add(2*time.Second)) != nil {
		return err
	}
	if !c.opened && c.open(stanza.JID{}) != nil {
		return err // who does not listen is gone anyway
	}
	text := "</stream:stream>"
	if e != nil {
		text = string(appendStreamError(nil, e, c.undefined))
	}
	_ = c.write(text)
	return err
}

// sayWhy logs how a connection ended.
func (c *conn) sayWhy(err error) {
	var e *stanza.StreamError
	switch {
	case err == nil, errors.Is(err, errTold), errors.Is(err, stanza.ErrEnd):
	case errors.As(err, &e):
		c.log.Refused("stream", e, adviceFor(e))
	case !netx.OrdinaryEnd(err):
		c.log.Debug("connection ended", "error", err)
	}
}

// adviceFor is what to do about a stream that ended with an error.
func adviceFor(e *stanza.StreamError) string {
	if e == errTries {
		return "look at the lines before"
	}
	switch e.Condition {
	case "host-unknown":
		return "name the domain in --xmpp-domain, or have the client use one that is served"
	case "policy-violation":
		return "have the client send less in one stanza: docs/xmpp.md has the limits, and --xmpp-max-stanza-bytes is that of its length"
	case "conflict":
		return "give each client a resource of its own, or none"
	case "resource-constraint", "connection-timeout", "not-authorized":
		return "look at the lines before"
	}
	return "mend or update the client: it does not speak XMPP as agreed"
}
