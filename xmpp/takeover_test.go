package xmpp

import (
	"sync"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// holdService keeps whoever sends it a message until it is told to go on, and publishes that to a queue then.
type holdService struct {
	entered, goOn chan struct{}
	err           error
}

func (h *holdService) Label() string          { return "hold" }
func (h *holdService) Open(*Server)           {}
func (h *holdService) Presence(*Client, bool) {}
func (h *holdService) Stanza(k *Client, _ stanza.JID, _ *stanza.Element) error {
	h.entered <- struct{}{}
	<-h.goOn
	in := broker.Inbound{Key: []byte("work"), Body: []byte("held"), TimestampMs: k.Now()}
	_, h.err = k.Publish(&in, nil)
	return nil
}

// A stream is resumed while its old connection serves a stanza: that one is served to its end and counted, and one
// connection has the client afterwards, however many ask for it.
func TestAStreamIsTakenOverInTheMiddleOfAStanza(t *testing.T) {
	hold := &holdService{entered: make(chan struct{}), goOn: make(chan struct{})}
	r := newRig(t, func(o *Options) { o.Services = []Service{hold} })
	q := r.declare("work")
	old := r.client("one", "a", "")
	id := old.enable(" resume='true'").Attr("id")
	old.send("<message to='hold.localhost'/>")
	<-hold.entered

	p := r.dial()
	p.signIn("one")
	p.send("<resume xmlns='" + nsSM + "' previd='" + id + "' h='0'/>")
	r.wait(func() bool {
		r.server.registry.mu.Lock()
		defer r.server.registry.mu.Unlock()
		return r.server.registry.streams[id] == nil
	}, func() any { return "not taken" })
	second, e := r.resume("one", id, 0)
	if !e.Is(nsSM, "failed") || e.Child(stanza.NSStanzas, "item-not-found") == nil {
		t.Errorf("who resumes it as the second got %s", e)
	}
	second.send("<iq type='set' id='b'><bind xmlns='" + nsBind + "'/></iq>")
	if e := second.next(); e.Attr("type") != "result" {
		t.Error(e)
	}
	close(hold.goOn)
	if e := p.next(); !e.Is(nsSM, "resumed") || e.Attr("h") != "1" {
		t.Fatal(e)
	}
	if hold.err != nil {
		t.Error(hold.err)
	}
	old.ends("conflict")
	r.ready(q, 1)
	say(p, "one@localhost/a", "self")
	wantBodies(t, p.got(1), "self")
	p.nc.Close() // and it can be resumed again, for a while
	r.wait(func() bool {
		r.server.registry.mu.Lock()
		defer r.server.registry.mu.Unlock()
		return len(r.server.registry.waiting) == 1
	}, func() any { return "not waiting" })
	if p, e = r.resume("one", id, 0); !e.Is(nsSM, "resumed") {
		t.Error(e)
	}
	p.send("</stream:stream>")
	p.ends("")
}

// Who asks for one address at once with others has it, or hears that another has.
func TestOneOfThoseWhoBindAtOnceHasTheAddress(t *testing.T) {
	r := newRig(t)
	const n = 8
	var clients [n]*peer
	for i := range clients {
		clients[i] = r.dial()
		clients[i].signIn("one")
	}
	var all sync.WaitGroup
	for _, p := range clients {
		all.Go(func() {
			p.send("<iq type='set' id='b'><bind xmlns='" + nsBind + "'><resource>a</resource></bind></iq>")
		})
	}
	all.Wait()
	kept := 0
	for _, p := range clients {
		_ = p.nc.SetDeadline(time.Now().Add(patience))
		p.send("<iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>")
		for {
			e, err := p.reader.Next()
			if err != nil {
				t.Fatalf("it hears nothing: %v", err)
			}
			if e.Attr("id") == "ping" {
				kept++
				break
			}
			if e.Is(stanza.NSStream, "error") {
				break
			}
		}
	}
	if kept == 0 || len(r.server.registry.of(stanza.JID{Local: "one", Domain: "localhost"})) != 1 {
		t.Errorf("%d were served", kept)
	}
}

// A stream that could be resumed goes with its user, and so does what it held.
func TestABrokenStreamEndsWithItsUser(t *testing.T) {
	r := newRig(t)
	q := r.declare("work")
	sender := r.client("two", "s", "<presence/>")
	p := r.client("one", "a", "<presence/>")
	id := p.enable(" resume='true'").Attr("id")
	p.send("<presence to='work@queues.localhost'/>")
	if e := p.next(); !e.Is(stanza.NSClient, "presence") {
		t.Fatal(e)
	}
	say(sender, "work@queues.localhost", "job")
	say(sender, "one@localhost", "private")
	p.got(2)
	p.nc.Close()
	r.wait(func() bool { return q.Consumers() == 0 }, func() any { return q.Consumers() })
	r.wait(func() bool {
		r.server.registry.mu.Lock()
		defer r.server.registry.mu.Unlock()
		return len(r.server.registry.waiting) == 1
	}, func() any { return "not waiting" })
	r.users.Remove("one")
	r.ready(q, 1)
	sender.send("<message to='one@localhost/a' type='chat' id='late'><body>late</body></message>")
	for {
		if e := sender.next(); e.Attr("id") == "late" {
			sender.refused(e, "service-unavailable")
			break
		}
	}
	if _, err := r.vhost.Queue(offlinePrefix + "one"); err == nil {
		t.Error("messages wait for a user who is deleted")
	}
	if err := r.users.PutPassword(auth.User{Name: "one"}, "one"); err != nil {
		t.Fatal(err)
	}
	if _, e := r.resume("one", id, 0); !e.Is(nsSM, "failed") {
		t.Errorf("another user of the name has it: %s", e)
	}
}

// What a stream holds that breaks behind the deletion of its user waits for nobody.
func TestAStreamThatBreaksBehindItsUserLeavesNothing(t *testing.T) {
	r := newRig(t)
	sender := r.client("two", "s", "<presence/>")
	p := r.client("one", "a", "<presence/>")
	p.enable(" resume='true'")
	say(sender, "one@localhost", "private")
	p.got(1)
	k := r.server.Client(stanza.JID{Local: "one", Domain: "localhost", Resource: "a"})
	r.users.Remove("one")
	r.server.userDeleted("one")
	p.nc.Close()
	r.wait(k.isGone, func() any { return "waiting to be resumed" })
	r.wait(func() bool { return r.server.Client(k.jid) == nil }, func() any { return "there" })
	r.server.behind.Wait()
	sender.nothing()
	if _, err := r.vhost.Queue(offlinePrefix + "one"); err == nil {
		t.Error("messages wait for a user who is deleted")
	}
}

// A stream of a virtual host that is gone is not gone on with in the one that its domain has instead.
func TestAStreamStaysInItsVirtualHost(t *testing.T) {
	r := newRig(t)
	if _, err := r.broker.PutVHost(audit.Actor{}, "localhost", broker.VHostMeta{}); err != nil {
		t.Fatal(err)
	}
	p := r.client("one", "a", "")
	id := p.enable(" resume='true'").Attr("id")
	p.nc.Close()
	k := r.server.Client(stanza.JID{Local: "one", Domain: "localhost", Resource: "a"})
	r.wait(func() bool { return k.live.Load() == nil }, func() any { return "connected" })
	if err := r.broker.DeleteVHost(audit.Actor{}, "localhost"); err != nil {
		t.Fatal(err)
	}
	if _, e := r.resume("one", id, 0); !e.Is(nsSM, "failed") || e.Child(stanza.NSStanzas, "item-not-found") == nil {
		t.Error(e)
	}
}

// Whose connection is over is either kept for a while or gone already: what is resumed in between would be ended with it.
func TestAStreamThatBrokeIsKeptBeforeItIsFound(t *testing.T) {
	r := newRig(t)
	q := r.declare("work")
	p := r.client("one", "a", "<presence/>")
	id := p.enable(" resume='true'").Attr("id")
	p.send("<presence to='work@queues.localhost'/>")
	if e := p.next(); !e.Is(stanza.NSClient, "presence") {
		t.Fatal(e)
	}
	k := r.server.Client(stanza.JID{Local: "one", Domain: "localhost", Resource: "a"})
	func() {
		r.server.registry.mu.Lock() // who keeps it comes to here
		defer r.server.registry.mu.Unlock()
		p.nc.Close()
		r.wait(func() bool { return q.Consumers() == 0 }, func() any { return q.Consumers() })
		for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if k.live.Load() == nil {
				t.Fatal("nobody has it")
			}
		}
	}()
	r.wait(func() bool { return k.live.Load() == nil }, func() any { return "connected" })
	if _, e := r.resume("one", id, 1); !e.Is(nsSM, "resumed") {
		t.Error(e)
	}
}
