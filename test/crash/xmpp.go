package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// One XMPP stream in each life: it sends messages to a queue with receipts, works that queue off by the count of stream
// management, and publishes to a pubsub node whose every item it is told of.
const (
	queueXMPP = "crash.xmpp"
	nodeXMPP  = "crash.node"
	// xmppMax is how many messages and items a life sends at most.
	xmppMax = 400
	// xmppDeadline bounds what a stream waits for.
	xmppDeadline = 30 * time.Second
)

// xmppMessage is what is known of a message to the queue.
type xmppMessage struct {
	confirmed bool // its receipt came
	acked     bool // it was acknowledged, which the broker may know or not
	gone      bool // it was, and the broker has answered something since
	seen      int  // in which life it came last; 0 never
}

// xmppModel knows what must hold: what has its receipt comes, until it was acknowledged and never after; again only in another
// life, and marked; in the order in which it was sent. Items whose publishing was answered are told to the subscriber. Its
// methods may be called from any goroutine; the first violation is kept.
type xmppModel struct {
	mu       sync.Mutex
	messages []xmppMessage
	items    []xmppMessage // confirmed and seen
	life     int
	last     int // number that came last in this life
	again    int
	wrong    error
}

func (m *xmppModel) fail(format string, args ...any) {
	if m.wrong == nil {
		m.wrong = fmt.Errorf("xmpp: "+format, args...)
	}
}

func (m *xmppModel) violation() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrong
}

// begin is that of a stream.
func (m *xmppModel) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life++
	m.last = -1
}

func (m *xmppModel) send(to *[]xmppMessage) (number int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*to = append(*to, xmppMessage{})
	return len(*to) - 1
}

func (m *xmppModel) confirm(of *[]xmppMessage, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n, err := strconv.Atoi(text); err != nil || n < 0 || n >= len(*of) {
		m.fail("%q was confirmed, which was never sent", text)
	} else {
		(*of)[n].confirmed = true
	}
}

// deliver checks a message of the queue.
func (m *xmppModel) deliver(text string, redelivered bool) (number int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	number, err := strconv.Atoi(text)
	if err != nil || number < 0 || number >= len(m.messages) {
		m.fail("a message %q came, which was never sent", text)
		return 0
	}
	msg := &m.messages[number]
	switch {
	case msg.gone:
		m.fail("message %d came, which was acknowledged", number)
	case msg.seen == m.life:
		m.fail("message %d came twice", number)
	case msg.seen > 0 && !redelivered:
		m.fail("message %d came again and does not say so", number)
	case number < m.last:
		m.fail("message %d came behind message %d", number, m.last)
	}
	if msg.seen > 0 {
		m.again++
	}
	msg.seen, m.last = m.life, number
	return number
}

// acked notes what is acknowledged, and what is known to be.
func (m *xmppModel) acked(numbers []int, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range numbers {
		m.messages[n].acked, m.messages[n].gone = true, known
	}
}

// item notes an event.
func (m *xmppModel) item(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n, err := strconv.Atoi(text); err != nil || n < 0 || n >= len(m.items) {
		m.fail("an item %q came, which was never published", text)
	} else {
		m.items[n].seen = m.life
	}
}

// missing is a message or an item that was confirmed and has not come yet; "" when there is none.
func (m *xmppModel) missing() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := range m.messages {
		if msg := &m.messages[n]; msg.confirmed && !msg.acked && msg.seen != m.life {
			return fmt.Sprintf("message %d", n)
		}
	}
	for n := range m.items {
		if it := &m.items[n]; it.confirmed && it.seen == 0 {
			return fmt.Sprintf("item %d", n)
		}
	}
	return ""
}

func (m *xmppModel) summary() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("XMPP: %d messages, %d of them again, %d items", len(m.messages), m.again, len(m.items))
}

// xmppStream is a client's. Reading belongs to one goroutine, writing to whoever holds mu.
type xmppStream struct {
	m      *xmppModel
	conn   *tls.Conn
	reader *stanza.Reader
	rng    *rand.Rand

	mu      sync.Mutex // guards writing, and the rest
	handled int
	held    []xmppHeld
	acks    map[string][]int // by the id of a ping, what is acknowledged when that is answered
	all     bool             // everything is acknowledged
	answers chan *stanza.Element
}

// xmppHeld is a message that came, and the count with it.
type xmppHeld struct{ count, number int }

// More implements stanza.Source.
func (x *xmppStream) More() ([]byte, error) {
	b := make([]byte, 16<<10)
	n, err := x.conn.Read(b)
	if n > 0 {
		return b[:n], nil
	}
	return nil, err
}

func (x *xmppStream) write(format string, args ...any) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, err := fmt.Fprintf(x.conn, format, args...)
	return err
}

// dialXMPP signs in, and has a stream with stream management that consumes nothing yet.
func dialXMPP(addr string, m *xmppModel, rng *rand.Rand) (*xmppStream, error) {
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	x := &xmppStream{m: m, conn: conn, rng: rng, acks: map[string][]int{}, answers: make(chan *stanza.Element, 16)}
	_ = conn.SetDeadline(time.Now().Add(xmppDeadline))
	for _, step := range []struct{ send, want string }{
		{"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + base64.StdEncoding.EncodeToString([]byte("\x00guest\x00guest")) + "</auth>", "success"},
		{"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>crash</resource></bind></iq>", "iq"},
	} {
		if err := x.open(); err != nil {
			return nil, err
		}
		if err := x.exchange(step.send, step.want); err != nil {
			return nil, err
		}
	}
	if err := x.exchange("<enable xmlns='urn:xmpp:sm:3'/>", "enabled"); err != nil {
		return nil, err
	}
	return x, nil
}

func (x *xmppStream) open() error {
	if err := x.write("<stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"); err != nil {
		return err
	}
	x.reader = stanza.NewReader(x, stanza.Limits{Bytes: 1 << 20, Depth: 64, Elements: 10_000, Attrs: 64})
	if _, err := x.reader.Header(); err != nil {
		return err
	}
	_, err := x.reader.Next()
	return err
}

func (x *xmppStream) exchange(send, want string) error {
	if err := x.write("%s", send); err != nil {
		return err
	}
	e, err := x.reader.Next()
	if err != nil {
		return err
	}
	if e.Local != want || e.Attr("type") == "error" {
		return fmt.Errorf("xmpp: %s where %s was expected", e, want)
	}
	return nil
}

// declareXMPP makes the node, and subscribes to it. The queue is made by who declares the others.
func (h *harness) declareXMPP() error {
	x, err := dialXMPP(h.broker.XMPP, h.xmpp, h.fork())
	if err != nil {
		return err
	}
	defer func() { _ = x.conn.Close() }()
	for _, act := range []string{"<create node='" + nodeXMPP + "'/>", "<subscribe node='" + nodeXMPP + "' jid='guest@localhost'/>"} {
		if err := x.write("<iq type='set' id='act' to='pubsub.localhost'><pubsub xmlns='http://jabber.org/protocol/pubsub'>%s</pubsub></iq>", act); err != nil {
			return err
		}
		for e := new(stanza.Element); e.Attr("id") != "act"; {
			if e, err = x.reader.Next(); err != nil {
				return err
			}
			if e.Attr("id") == "act" && e.Attr("type") != "result" {
				return fmt.Errorf("xmpp: %s: %s", act, e)
			}
		}
	}
	return nil
}

// consume begins to consume.
func (x *xmppStream) consume() error {
	x.m.begin()
	return x.write("<presence/><presence to='%s@queues.localhost'/>", queueXMPP)
}

// read takes what comes until the stream ends.
func (x *xmppStream) read() {
	for {
		e, err := x.reader.Next()
		if err != nil {
			return
		}
		if e.Space == "urn:xmpp:sm:3" {
			if e.Local == "r" && x.acknowledge() != nil {
				return
			}
			continue
		}
		x.mu.Lock()
		x.handled++
		x.mu.Unlock()
		x.take(e)
		if x.m.violation() != nil {
			return
		}
	}
}

// acknowledge says what came, or in half of the cases not all of it.
func (x *xmppStream) acknowledge() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	h := x.handled
	if !x.all && len(x.held) > 1 && x.rng.IntN(2) == 0 {
		h = x.held[x.rng.IntN(len(x.held))].count
	}
	var numbers []int
	for len(x.held) > 0 && x.held[0].count <= h {
		numbers = append(numbers, x.held[0].number)
		x.held = x.held[1:]
	}
	id := "acked-" + strconv.Itoa(len(x.acks))
	x.acks[id] = numbers
	x.m.acked(numbers, false)
	_, err := fmt.Fprintf(x.conn, "<a xmlns='urn:xmpp:sm:3' h='%d'/><iq type='get' id='%s' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>", h, id)
	return err
}

// take takes a stanza.
func (x *xmppStream) take(e *stanza.Element) {
	id := e.Attr("id")
	switch {
	case e.Local == "iq" && strings.HasPrefix(id, "acked-"):
		x.mu.Lock()
		numbers := x.acks[id]
		x.acks[id] = nil
		x.mu.Unlock()
		x.m.acked(numbers, true)
	case e.Local == "iq" && strings.HasPrefix(id, "pub-"):
		if e.Attr("type") == "result" {
			x.m.confirm(&x.m.items, strings.TrimPrefix(id, "pub-"))
		}
	case e.Local == "iq":
		select {
		case x.answers <- e:
		default:
		}
	case e.Local != "message" || e.Attr("type") == "error":
	case e.Child("urn:xmpp:receipts", "received") != nil:
		x.m.confirm(&x.m.messages, e.Child("urn:xmpp:receipts", "received").Attr("id"))
	case e.Child("http://jabber.org/protocol/pubsub#event", "event") != nil:
		if items := e.Child("http://jabber.org/protocol/pubsub#event", "event").First(); items != nil {
			for _, item := range items.Children() {
				x.m.item(item.Attr("id"))
			}
		}
	case e.Child("urn:leveret:0", "record") != nil:
		number := x.m.deliver(e.ChildText(stanza.NSClient, "body"), e.Child("urn:leveret:0", "record").Attr("redelivered") == "true")
		x.mu.Lock()
		x.held = append(x.held, xmppHeld{x.handled, number})
		x.mu.Unlock()
	}
}

// startXMPP lets the stream go.
func (l *load) startXMPP(ctx context.Context, h *harness) error {
	x, err := dialXMPP(h.broker.XMPP, h.xmpp, h.fork())
	if err != nil {
		return err
	}
	if err := x.consume(); err != nil {
		return err
	}
	l.others = append(l.others, x.conn)
	rng := h.fork()
	l.wg.Go(x.read)
	l.wg.Go(func() { x.publish(ctx, rng) })
	return nil
}

// publish sends messages and items in turn until the broker dies.
func (x *xmppStream) publish(ctx context.Context, rng *rand.Rand) {
	for sent := 0; sent < xmppMax; {
		for range 1 + rng.IntN(burst/2) {
			n := x.m.send(&x.m.messages)
			if x.write("<message to='%s@queues.localhost' id='%d'><body>%d</body><request xmlns='urn:xmpp:receipts'/></message>", queueXMPP, n, n) != nil {
				return
			}
			sent++
		}
		n := x.m.send(&x.m.items)
		if x.write("<iq type='set' id='pub-%d' to='pubsub.localhost'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='%s'><item id='%d'><p xmlns='urn:p'>%d</p></item></publish></pubsub></iq>", n, nodeXMPP, n, n) != nil {
			return
		}
		if !pause(ctx, time.Duration(rng.IntN(8))*time.Millisecond) {
			return
		}
	}
}

// drainXMPP takes everything, and checks that nothing is missing that was confirmed.
func (h *harness) drainXMPP(ctx context.Context) error {
	x, err := dialXMPP(h.broker.XMPP, h.xmpp, h.fork())
	if err != nil {
		return err
	}
	x.all = true
	if err := x.consume(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.read()
	}()
	defer func() {
		_ = x.conn.Close()
		<-done
	}()
	for end := time.Now().Add(xmppDeadline); ; {
		missing := h.xmpp.missing()
		if missing == "" || h.xmpp.violation() != nil {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("xmpp: %s was confirmed, and does not come", missing)
		}
		if !pause(ctx, 5*time.Millisecond) {
			return ctx.Err()
		}
	}
	return h.xmpp.violation()
}
