package pubsub

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// rig is a service over a broker in a directory of the test's.
type rig struct {
	t      testing.TB
	dir    string
	store  store.Store
	b      *broker.Broker
	s      *Service
	policy broker.Policy
}

func start(t *testing.T) *rig { return startFuzz(t) }

func startFuzz(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	r.open()
	t.Cleanup(r.close)
	return r
}

func (r *rig) open() {
	r.t.Helper()
	st, err := local.Open(local.Options{Dir: r.dir, Mode: store.ModeOS})
	if err != nil {
		r.t.Fatal(err)
	}
	b, err := broker.Open(st, broker.Options{Policy: func(q broker.Request) error {
		if r.policy == nil {
			return nil
		}
		return r.policy(q)
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.store, r.b, r.s = st, b, New(Options{Broker: b})
}

func (r *rig) close() {
	r.s.Close()
	r.b.Close()
	r.store.Close()
}

func (r *rig) restart() {
	r.close()
	r.open()
}

func (r *rig) vhost() *broker.VHost {
	v, err := r.b.VHost("/")
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// peer is a stream that a test has.
type peer struct {
	r         *rig
	jid       stanza.JID
	session   *broker.Session
	publisher *broker.Publisher

	mu     sync.Mutex
	lost   bool // what is sent is lost
	slow   bool // nothing is settled by itself
	unsaid []func(bool)
	events chan *stanza.Element
	answer chan *stanza.Element
}

func (r *rig) peer(jid string) *peer {
	r.t.Helper()
	j, err := stanza.ParseJID(jid)
	if err != nil {
		r.t.Fatal(err)
	}
	s := r.vhost().NewSession(auth.Identity{Name: j.Local})
	return &peer{r: r, jid: j, session: s, publisher: s.NewPublisher(), events: make(chan *stanza.Element, 10_000), answer: make(chan *stanza.Element, 100)}
}

func (p *peer) JID() stanza.JID             { return p.jid }
func (p *peer) User() string                { return p.jid.Local }
func (p *peer) Session() *broker.Session    { return p.session }
func (p *peer) Now() int64                  { return time.Now().UnixMilli() }
func (p *peer) Flush()                      {}
func (p *peer) Send(e *stanza.Element) bool { p.answer <- e; return true }
func (p *peer) Publish(in *broker.Inbound, then func(error)) (bool, error) {
	routed, err := p.publisher.Publish(in)
	if err != nil {
		return routed, err
	}
	p.publisher.Store()
	_ = p.publisher.Commit(then)
	return routed, nil
}

func (p *peer) Event(e *stanza.Element, settled func(bool)) {
	p.mu.Lock()
	slow, lost := p.slow, p.lost
	if slow {
		p.unsaid = append(p.unsaid, settled)
	}
	p.mu.Unlock()
	p.events <- e
	if !slow {
		settled(!lost)
	}
}

// say settles what was not.
func (p *peer) say(ok bool) {
	p.mu.Lock()
	list := p.unsaid
	p.unsaid = nil
	p.mu.Unlock()
	for _, settled := range list {
		settled(ok)
	}
}

// patience is for what should be there at once: a slow machine is no fault.
const patience = time.Minute

// ask sends an iq and returns the answer.
func (p *peer) ask(kind, payload string) *stanza.Element {
	p.r.t.Helper()
	iq, err := stanza.Parse([]byte("<iq xmlns='jabber:client' type='" + kind + "' id='1' to='pubsub.localhost' from='" + p.jid.String() + "'>" + payload + "</iq>"))
	if err != nil {
		p.r.t.Fatalf("%v: %s", err, payload)
	}
	if err := p.r.s.Answer(p, iq); err != nil {
		return stanza.Refusal(iq, asError(err))
	}
	select {
	case e := <-p.answer:
		return e
	case <-time.After(patience):
		p.r.t.Fatal("no answer")
		return nil
	}
}

func pub(in string) string   { return "<pubsub xmlns='" + nsPubsub + "'>" + in + "</pubsub>" }
func owner(in string) string { return "<pubsub xmlns='" + nsOwner + "'>" + in + "</pubsub>" }

// must asks, and wants a result.
func (p *peer) must(kind, payload string) *stanza.Element {
	p.r.t.Helper()
	e := p.ask(kind, payload)
	if e.Attr("type") != "result" {
		p.r.t.Fatalf("%s: %s", payload, e)
	}
	return e
}

// refused asks, and wants an error with that condition, and that one of XEP-0060's if it is not "".
func (p *peer) refused(kind, payload, condition, more string) {
	p.r.t.Helper()
	e := p.ask(kind, payload)
	ee := e.Child(stanza.NSClient, "error")
	if ee == nil || ee.Child(stanza.NSStanzas, condition) == nil || more != "" && ee.Child(nsErrors, more) == nil {
		p.r.t.Errorf("%s: want %s %s, got %s", payload, condition, more, e)
	}
}

// event is the next one.
func (p *peer) event() *stanza.Element {
	p.r.t.Helper()
	select {
	case e := <-p.events:
		return e
	case <-time.After(patience):
		p.r.t.Fatal("no event")
		return nil
	}
}

// none wants no event for a moment.
func (p *peer) none() {
	p.r.t.Helper()
	select {
	case e := <-p.events:
		p.r.t.Errorf("an event that nobody wanted: %s", e)
	case <-time.After(100 * time.Millisecond):
	}
}

// ids are those of the items in an answer or an event.
func ids(e *stanza.Element) string {
	var out []string
	var walk func(*stanza.Element)
	walk = func(e *stanza.Element) {
		for _, c := range e.Children() {
			if c.Local == "item" {
				out = append(out, c.Attr("id")+c.Attr("name"))
			}
			walk(c)
		}
	}
	walk(e)
	return strings.Join(out, " ")
}

func (p *peer) publish(node string, idPayload ...string) {
	p.r.t.Helper()
	for _, ip := range idPayload {
		id, payload, _ := strings.Cut(ip, "=")
		p.must("set", pub("<publish node='"+node+"'><item id='"+id+"'><p xmlns='t'>"+payload+"</p></item></publish>"))
	}
}

func (p *peer) wantIDs(what, payload, want string) {
	p.r.t.Helper()
	if got := ids(p.must("get", payload)); got != want {
		p.r.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}
