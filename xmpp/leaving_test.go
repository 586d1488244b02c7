package xmpp

import (
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// A client that has signed in to a domain has to do with no other.
func TestAStreamStaysInItsDomain(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Domains = []Domain{{Name: "localhost"}, {Name: "other.example"}} })
	p := r.client("one", "a", "<presence/>")
	id := p.enable(" resume='true'").Attr("id")
	p.nc.Close()
	other := strings.Replace(header, "localhost", "other.example", 1)
	signIn := func(second string) *peer {
		p := r.dial()
		p.secure()
		p.send(other)
		p.opened()
		p.next()
		p.send("<auth xmlns='" + nsSASL + "' mechanism='PLAIN'>" + plainToken("one", "one") + "</auth>")
		p.next()
		p.send(second)
		p.opened()
		return p
	}
	signIn(header).ends("host-unknown")
	p = signIn(other)
	p.next()
	p.send("<resume xmlns='" + nsSM + "' previd='" + id + "' h='0'/>")
	if e := p.next(); !e.Is(nsSM, "failed") {
		t.Error(e)
	}
}

// What comes for a client whose stream is about to end is refused or kept, and not lost behind the last word.
func TestAClientThatLeavesGetsNothingMore(t *testing.T) {
	r := newRig(t)
	p := r.client("one", "a", "<presence/>")
	k := r.server.Client(stanza.JID{Local: "one", Domain: "localhost", Resource: "a"})
	m := stanza.New(stanza.NSClient, "message").Add(stanza.New(stanza.NSClient, "body"))
	if !k.Offer(m) || !k.offerMessage(m) {
		t.Error("it is refused before the end")
	}
	k.leave(k.live.Load())
	if k.Offer(m) || k.offerMessage(m) {
		t.Error("it is taken although the client leaves")
	}
	if !k.Send(m) {
		t.Error("an answer is refused")
	}
	if _, ok := k.Available(); ok || k.shown() != nil {
		t.Error("it is available")
	}
	p.send("</stream:stream>")
	p.ends("")
	r.wait(func() bool { return k.isGone() }, func() any { return "there" })
	said := ""
	k.Event(m, func(ok bool) {
		if said = "it has it"; !ok {
			said = "it has it not"
		}
	})
	if said != "it has it not" {
		t.Errorf("of an event for a client that is gone: %q", said)
	}
}
