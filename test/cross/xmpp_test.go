package cross

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/testkit"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// stream is an XMPP client's, signed in and with a resource.
type stream struct {
	t        testing.TB
	conn     *tls.Conn
	reader   *stanza.Reader
	jid      string
	stanzas  chan *stanza.Element // but those of stream management
	acks     bool                 // it acknowledges what it gets
	handled  atomic.Int64
	told     atomic.Int64 // of what it handled, when it was asked
	lastSent int
}

// source reads a connection for a stanza.Reader.
type source struct {
	r   io.Reader
	buf [64 << 10]byte
}

func (s *source) More() ([]byte, error) {
	n, err := s.r.Read(s.buf[:])
	if n > 0 {
		return s.buf[:n], nil
	}
	return nil, err
}

const streamHead = "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

// dialXMPP signs a user in, whose password is like the name. managed is with stream management.
func dialXMPP(t testing.TB, s *testkit.Server, user string, managed bool) *stream {
	t.Helper()
	conn, err := tls.Dial("tcp", s.Addr("xmpp"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	c := &stream{t: t, conn: conn, stanzas: make(chan *stanza.Element, 1<<16), acks: managed}
	t.Cleanup(c.cut)
	_ = conn.SetDeadline(time.Now().Add(limit))
	src := &source{r: conn}
	open := func() {
		c.send(streamHead)
		c.reader = stanza.NewReader(src, stanza.Limits{Bytes: 8 << 20, Depth: 100, Elements: 10_000, Attrs: 100})
		if _, err := c.reader.Header(); err != nil {
			t.Fatal(err)
		}
		c.next() // features
	}
	open()
	c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+user)) + "</auth>")
	if e := c.next(); e.Local != "success" {
		t.Fatalf("not signed in: %s", e)
	}
	open()
	c.send("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
	c.jid = c.next().First().First().Text()
	if managed {
		c.send("<enable xmlns='urn:xmpp:sm:3'/>")
		if e := c.next(); e.Local != "enabled" {
			t.Fatalf("%s", e)
		}
	}
	_ = conn.SetDeadline(time.Time{})
	go c.read()
	return c
}

func (c *stream) next() *stanza.Element {
	c.t.Helper()
	e, err := c.reader.Next()
	if err != nil {
		c.t.Fatal(err)
	}
	return e
}

func (c *stream) read() {
	defer close(c.stanzas)
	for {
		e, err := c.reader.Next()
		if err != nil {
			return
		}
		if e.Space == "urn:xmpp:sm:3" {
			if e.Local == "r" && c.acks {
				h := c.handled.Load()
				_, _ = fmt.Fprintf(c.conn, "<a xmlns='urn:xmpp:sm:3' h='%d'/>", h)
				c.told.Store(h)
			}
			continue
		}
		c.handled.Add(1)
		c.stanzas <- e
	}
}

func (c *stream) send(text string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// heard waits until the server has taken all that was sent before.
func (c *stream) heard() {
	c.t.Helper()
	c.send("<iq type='get' id='heard' to='pubsub.localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
	c.want(func(e *stanza.Element) bool { return e.Attr("id") == "heard" })
}

// cut ends the connection without a word.
func (c *stream) cut() { c.conn.NetConn().Close() }

// ask sends an iq to the service and waits for its result.
func (c *stream) ask(kind, payload string) *stanza.Element {
	c.t.Helper()
	c.lastSent++
	id := fmt.Sprint("q", c.lastSent)
	c.send("<iq type='" + kind + "' id='" + id + "' to='pubsub.localhost'>" + payload + "</iq>")
	var others []*stanza.Element
	e := c.want(func(e *stanza.Element) bool {
		if e.Local == "iq" && e.Attr("id") == id {
			return true
		}
		others = append(others, e)
		return false
	})
	for _, o := range others {
		if o.Local == "message" {
			c.stanzas <- o
		}
	}
	if e.Attr("type") != "result" {
		c.t.Fatalf("%s: %s", payload, e)
	}
	return e
}

func (c *stream) want(is func(*stanza.Element) bool) *stanza.Element {
	c.t.Helper()
	late := time.After(limit)
	for {
		select {
		case e, ok := <-c.stanzas:
			if !ok {
				c.t.Fatal("the stream has ended")
			}
			if is(e) {
				return e
			}
		case <-late:
			c.t.Fatal("nothing came")
		}
	}
}

func (c *stream) event() *stanza.Element {
	c.t.Helper()
	return c.want(func(e *stanza.Element) bool { return e.Local == "message" })
}

const nsPubsub = "http://jabber.org/protocol/pubsub"

func pubsub(in string) string { return "<pubsub xmlns='" + nsPubsub + "'>" + in + "</pubsub>" }

// work subscribes to a queue as one of its consumers.
func (c *stream) work(queue string) {
	c.t.Helper()
	c.send("<presence/>")
	c.ask("set", pubsub("<subscribe node='q/"+queue+"' jid='"+c.jid+"'/><options><x xmlns='jabber:x:data' type='submit'><field var='leveret#mode'><value>one</value></field></x></options>"))
}

func quoted(text string) string { return string(stanza.AppendText(nil, text)) }

func (c *stream) publish(queue string, m message) {
	c.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "<message xmlns='urn:leveret:0' content-type='%s' persistent='%v'>", quoted(m.contentType), m.persistent)
	for name, value := range m.headers {
		fmt.Fprintf(&b, "<header name='%s'>%s</header>", quoted(name), quoted(value))
	}
	if stanza.Carries([]byte(m.body)) {
		fmt.Fprintf(&b, "<body>%s</body></message>", quoted(m.body))
	} else {
		fmt.Fprintf(&b, "<body encoding='base64'>%s</body></message>", base64.StdEncoding.EncodeToString([]byte(m.body)))
	}
	c.ask("set", pubsub("<publish node='q/"+queue+"'><item>"+b.String()+"</item></publish>"))
}

// receive is the next item as a message.
func (c *stream) receive() message {
	c.t.Helper()
	e := c.event()
	const ns = "urn:leveret:0"
	wrapped := e.Child(nsPubsub+"#event", "event").First().First().First()
	if wrapped == nil || !wrapped.Is(ns, "message") {
		c.t.Fatalf("no message: %s", e)
	}
	m := message{contentType: wrapped.Attr("content-type"), persistent: wrapped.Attr("persistent") == "true", redelivered: wrapped.Attr("redelivered") == "true", headers: map[string]string{}}
	for _, h := range wrapped.Children() {
		if h.Local == "header" {
			m.headers[h.Attr("name")] = h.Text()
		}
	}
	b := wrapped.Child(ns, "body")
	if m.body = b.Text(); b.Attr("encoding") == "base64" {
		raw, err := base64.StdEncoding.DecodeString(m.body)
		if err != nil {
			c.t.Fatal(err)
		}
		m.body = string(raw)
	}
	return m
}
