package xmpp

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// item is what the roster of a client's account says of an address, as "subscription ask approved name groups"; "" if nothing.
func (p *peer) item(jid string) string {
	p.t.Helper()
	q := p.ask("get", "", "<query xmlns='jabber:iq:roster'/>").Child(nsRoster, "query")
	if q == nil {
		p.t.Fatal("no roster")
	}
	for _, i := range q.Children() {
		if i.Attr("jid") == jid {
			return itemText(i)
		}
	}
	return ""
}

func itemText(i *stanza.Element) string {
	text := []string{i.Attr("subscription")}
	if i.Attr("ask") != "" {
		text = append(text, "ask="+i.Attr("ask"))
	}
	if i.Attr("approved") != "" {
		text = append(text, "approved="+i.Attr("approved"))
	}
	if i.Attr("name") != "" {
		text = append(text, "name="+i.Attr("name"))
	}
	for _, g := range i.Children() {
		text = append(text, "group="+g.Text())
	}
	return strings.Join(text, " ")
}

// pushed waits for the push of an item and returns what it says.
func (p *peer) pushed(jid string) string {
	p.t.Helper()
	for {
		e := p.next()
		q := e.Child(nsRoster, "query")
		if e.Attr("type") != "set" || q == nil {
			continue
		}
		if i := q.First(); i.Attr("jid") == jid {
			if q.Attr("ver") == "" || e.Attr("to") != p.jid {
				p.t.Error(e)
			}
			return itemText(i)
		}
	}
}

// presenceFrom waits for presence and returns its type, "" being that of one who is there.
func (p *peer) presenceFrom(from string) string {
	p.t.Helper()
	for {
		if e := p.next(); e.Is(stanza.NSClient, "presence") && e.Attr("from") == from {
			return e.Attr("type")
		}
	}
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %q, not %q", what, got, want)
	}
}

const rosterGet = "<query xmlns='jabber:iq:roster'/>"

func rosterSet(attrs, groups string) string {
	return "<query xmlns='jabber:iq:roster'><item " + attrs + ">" + groups + "</item></query>"
}

func TestContactsAreKeptAndPushed(t *testing.T) {
	r := newRig(t)
	p, other, deaf := r.client("one", "a", ""), r.client("one", "b", ""), r.client("one", "c", "")
	p.ask("get", "", rosterGet)
	empty := other.ask("get", "", rosterGet).Child(nsRoster, "query")
	if len(empty.Children()) != 0 || empty.Attr("ver") == "" {
		t.Error(empty)
	}
	if e := p.ask("set", "", rosterSet("jid='two@localhost' name='Zwei &amp; drei'", "<group>x</group><group>y</group>")); e.Attr("type") != "result" {
		t.Fatal(e)
	}
	want(t, "the push", other.pushed("two@localhost"), "none name=Zwei & drei group=x group=y")
	want(t, "the item", p.item("two@localhost"), "none name=Zwei & drei group=x group=y")
	p.ask("set", "", rosterSet("jid='two@localhost' name='2' subscription='both' ask='subscribe'", ""))
	want(t, "the push", other.pushed("two@localhost"), "none name=2")

	ver := p.ask("get", "", rosterGet).Child(nsRoster, "query").Attr("ver")
	if e := p.ask("get", "", "<query xmlns='jabber:iq:roster' ver='"+ver+"'/>"); e.First() != nil || e.Attr("type") != "result" {
		t.Error(e)
	}
	p.ask("set", "", rosterSet("jid='three@elsewhere.example'", ""))
	if e := p.ask("get", "", "<query xmlns='jabber:iq:roster' ver='"+ver+"'/>"); len(e.First().Children()) != 2 {
		t.Error(e)
	}
	p.ask("set", "", rosterSet("jid='two@localhost' subscription='remove'", ""))
	want(t, "the push", other.pushed("two@localhost"), "remove")
	want(t, "the item", p.item("two@localhost"), "")
	want(t, "the other item", p.item("three@elsewhere.example"), "none")
	deaf.nothing()
	r.client("two", "a", "").nothing()

	for set, condition := range map[string]string{
		rosterSet("jid='two@localhost' subscription='remove'", ""):                            "item-not-found",
		rosterSet("jid='two@localhost/r'", ""):                                                "bad-request",
		rosterSet("jid='@'", ""):                                                              "bad-request",
		rosterSet("jid='one@localhost'", ""):                                                  "not-allowed",
		rosterSet("jid='two@localhost'", "<group/>"):                                          "not-acceptable",
		rosterSet("jid='two@localhost'", "<group>x</group><group>x</group>"):                  "bad-request",
		rosterSet("jid='two@localhost' name='"+strings.Repeat("x", maxContactName+1)+"'", ""): "not-acceptable",
		"<query xmlns='jabber:iq:roster'/>":                                                   "bad-request",
		"<query xmlns='jabber:iq:roster'><item jid='a@b'/><item jid='c@b'/></query>":          "bad-request",
	} {
		p.refused(p.ask("set", "", set), condition)
	}
	p.refused(p.ask("get", "two@localhost", rosterGet), "service-unavailable")
}

func TestASubscriptionGoesThroughItsStates(t *testing.T) {
	r := newRig(t)
	one, two := r.client("one", "a", "<presence><show>dnd</show></presence>"), r.client("two", "b", "<presence/>")
	one.ask("get", "", rosterGet)
	two.ask("get", "", rosterGet)
	one.send("<presence type='subscribe' to='two@localhost' id='s'><status>hi</status></presence>")
	want(t, "the push", one.pushed("two@localhost"), "none ask=subscribe")
	want(t, "the request", two.presenceFrom("one@localhost"), "subscribe")
	want(t, "what is listed of one who only asks", two.item("one@localhost"), "")
	one.send("<presence type='subscribe' to='two@localhost'/>") // which two has heard
	one.nothing()
	two.nothing()
	later := r.client("two", "later", "<presence/>") // it is asked, too
	want(t, "the request, again", later.presenceFrom("one@localhost"), "subscribe")

	two.send("<presence type='subscribed' to='one@localhost/a'/>")
	want(t, "the push", two.pushed("one@localhost"), "from")
	want(t, "the answer", one.presenceFrom("two@localhost"), "subscribed")
	want(t, "the presence", one.presenceFrom("two@localhost/b"), "")
	want(t, "the item", one.item("two@localhost"), "to")
	two.send("<presence><show>away</show></presence>")
	want(t, "the presence", one.presenceFrom("two@localhost/b"), "")
	one.send("<presence/>") // which two does not see
	two.nothing()

	two.send("<presence type='subscribe' to='one@localhost'/>")
	want(t, "the request", one.presenceFrom("two@localhost"), "subscribe")
	one.send("<presence type='subscribed' to='two@localhost'/>")
	want(t, "the presence", two.presenceFrom("one@localhost/a"), "")
	want(t, "the item", one.item("two@localhost"), "both")
	want(t, "the item", two.item("one@localhost"), "both")
	one.send("<presence type='subscribe' to='two@localhost'/>") // again: it is shown already
	one.nothingBut("presence")
	want(t, "the item", one.item("two@localhost"), "both")

	one.send("</stream:stream>")
	one.ends("")
	want(t, "the presence", two.presenceFrom("one@localhost/a"), "unavailable")
	one = r.client("one", "a", "<presence/>")
	want(t, "the presence", two.presenceFrom("one@localhost/a"), "")
	want(t, "who is there", one.presenceFrom("two@localhost/b"), "")

	one.send("<presence type='unsubscribe' to='two@localhost'/>")
	want(t, "the end", two.presenceFrom("one@localhost"), "unsubscribe")
	want(t, "the presence", one.presenceFrom("two@localhost/b"), "unavailable")
	want(t, "the item", one.item("two@localhost"), "from")
	want(t, "the item", two.item("one@localhost"), "to")
	one.send("<presence type='unsubscribed' to='two@localhost'/>")
	want(t, "the end", two.presenceFrom("one@localhost"), "unsubscribed")
	want(t, "the presence", two.presenceFrom("one@localhost/a"), "unavailable")
	want(t, "the item", one.item("two@localhost"), "none")
	want(t, "the item", two.item("one@localhost"), "none")
	one.send("<presence/>")
	one.send("<presence type='probe' to='two@localhost'/>")
	one.nothing()
	two.nothingBut("presence of one", "one@localhost/a")
}

// nothingBut checks that no presence of that client comes, and passes over the rest.
func (p *peer) nothingBut(_ string, not ...string) {
	p.t.Helper()
	p.send("<iq type='get' id='nothing'><ping xmlns='urn:xmpp:ping'/></iq>")
	for {
		e := p.next()
		if e.Attr("id") == "nothing" {
			return
		}
		for _, from := range not {
			if e.Attr("from") == from {
				p.t.Errorf("there was %s", e)
			}
		}
	}
}

func TestSubscriptionsAreAnsweredForThoseWhoAreAway(t *testing.T) {
	r := newRig(t)
	one := r.client("one", "a", "<presence/>")
	one.send("<presence type='subscribe' to='two@localhost'/><presence type='subscribe' to='nobody@localhost'/>")
	one.nothing()
	two := r.client("two", "b", "<presence/>")
	want(t, "the request", two.presenceFrom("one@localhost"), "subscribe")
	two.send("<presence type='unsubscribed' to='one@localhost'/>")
	want(t, "the refusal", one.presenceFrom("two@localhost"), "unsubscribed")
	want(t, "the item", one.item("two@localhost"), "none")
	want(t, "the item of one who is not there", one.item("nobody@localhost"), "none ask=subscribe")

	two.send("<presence type='subscribed' to='one@localhost'/>") // before it is asked
	want(t, "the item", two.item("one@localhost"), "none approved=true")
	one.nothing()
	two.send("</stream:stream>")
	two.ends("")
	r.wait(func() bool { return len(r.server.registry.of(stanza.JID{Local: "two", Domain: "localhost"})) == 0 }, func() any { return "there" })
	one.send("<presence type='subscribe' to='two@localhost'/>")
	want(t, "the answer", one.presenceFrom("two@localhost"), "subscribed")
	want(t, "the item", one.item("two@localhost"), "to")

	one.ask("set", "", rosterSet("jid='two@localhost' subscription='remove'", ""))
	two = r.client("two", "b", "<presence/>")
	want(t, "the item", two.item("one@localhost"), "none approved=true")
	one.nothing()
}

func TestDirectedPresenceIsTakenBack(t *testing.T) {
	r := newRig(t)
	one, two, three := r.client("one", "a", "<presence/>"), r.client("two", "b", "<presence/>"), r.client("three", "c", "<presence><priority>-1</priority></presence>")
	one.send("<presence to='two@localhost'/><presence to='three@localhost/c'/>")
	want(t, "the presence", two.presenceFrom("one@localhost/a"), "")
	want(t, "the presence", three.presenceFrom("one@localhost/a"), "")
	one.send("<presence to='three@localhost/c' type='unavailable'/>")
	want(t, "the presence", three.presenceFrom("one@localhost/a"), "unavailable")
	one.nc.Close()
	want(t, "the presence", two.presenceFrom("one@localhost/a"), "unavailable")
	three.nothing()
}

func TestAQueueShowsThatItIsThere(t *testing.T) {
	r := newRig(t)
	r.declare("jobs")
	one := r.client("one", "a", "<presence/>")
	one.send("<presence type='subscribe' to='jobs@queues.localhost'/>")
	want(t, "the answer", one.presenceFrom("jobs@queues.localhost"), "subscribed")
	want(t, "the presence", one.presenceFrom("jobs@queues.localhost"), "")
	want(t, "the item", one.item("jobs@queues.localhost"), "to")
	later := r.client("one", "b", "<presence/>")
	want(t, "the presence", later.presenceFrom("jobs@queues.localhost"), "")
	if q, err := r.vhost.Queue("jobs"); err != nil || q.Consumers() != 0 {
		t.Error("a subscription to presence consumes")
	}
	one.send("<presence id='no' type='subscribe' to='none@queues.localhost'/>")
	for e := one.next(); ; e = one.next() {
		if e.Attr("id") == "no" {
			one.refused(e, "item-not-found")
			break
		}
	}
	one.ask("set", "", rosterSet("jid='jobs@queues.localhost' subscription='remove'", ""))
	want(t, "the item", one.item("jobs@queues.localhost"), "")
}

func TestRostersAreBounded(t *testing.T) {
	r := newRig(t)
	one := r.client("one", "a", "")
	d := r.server.domains["localhost"]
	if err := d.change(func(t *draft) error {
		for i := range maxContacts {
			t.put("one@localhost", fmt.Sprintf("c%d@localhost", i), contact{Listed: true})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	one.refused(one.ask("set", "", rosterSet("jid='more@localhost'", "")), "resource-constraint")
	if e := one.ask("set", "", rosterSet("jid='c1@localhost' name='c'", "")); e.Attr("type") != "result" {
		t.Error(e)
	}
	if err := d.change(func(t *draft) error {
		for i := range maxAskers {
			t.put("two@localhost", fmt.Sprintf("c%d@localhost", i), contact{Asked: true})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	three := r.client("three", "c", "")
	three.send("<presence id='s' type='subscribe' to='two@localhost'/>")
	for e := three.next(); ; e = three.next() {
		if e.Attr("id") == "s" {
			three.refused(e, "resource-constraint")
			break
		}
	}
	want(t, "what is kept of it", three.item("two@localhost"), "")
	groups := ""
	for i := range 60 {
		groups += fmt.Sprintf("<group>%d%s</group>", i, strings.Repeat("x", 1000))
	}
	for i := range 5 {
		e := three.ask("set", "", rosterSet(fmt.Sprintf("jid='c%d@localhost'", i), groups))
		if i < 4 && e.Attr("type") != "result" {
			t.Error(i, e)
		} else if i == 4 {
			three.refused(e, "resource-constraint")
		}
	}
	p := r.client("two", "b", "")
	p.send("<presence id='p'><status>" + strings.Repeat("x", maxPresenceBytes) + "</status></presence>")
	p.refused(p.next(), "policy-violation")
}

func TestWhatAUserHasGoesWithIt(t *testing.T) {
	r := newRig(t)
	one, two := r.client("one", "a", "<presence/>"), r.client("two", "b", "<presence/>")
	d := r.server.domains["localhost"]
	both := contact{Listed: true, To: true, From: true}
	if err := d.change(func(t *draft) error {
		t.put("one@localhost", "two@localhost", both)
		t.put("two@localhost", "one@localhost", both)
		t.put("two@localhost", "three@localhost", contact{Listed: true, Ask: true})
		t.put("three@localhost", "two@localhost", contact{Asked: true})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	one.ask("get", "", rosterGet)
	two.send("</stream:stream>")
	two.ends("")
	say(one, "two@localhost", "kept")
	one.nothingBut("")
	if _, err := r.vhost.Queue("xmpp.two"); err != nil {
		t.Fatal(err)
	}
	r.users.Remove("two")
	want(t, "the push", one.pushed("two@localhost"), "none")
	want(t, "its word", one.presenceFrom("two@localhost"), "unsubscribe")
	want(t, "its word", one.presenceFrom("two@localhost"), "unsubscribed")
	r.wait(func() bool { _, err := r.vhost.Queue("xmpp.two"); return err != nil }, func() any { return "there" })
	if n := len(r.vhost.Attached(rosterOf("two@localhost"))) + len(r.vhost.Attached(rosterOf("three@localhost"))); n != 0 {
		t.Errorf("%d contacts are left", n)
	}
}

// Rosters outlast a kill; those of users who are gone since, and the messages for them, do not outlast the start.
func TestRostersOutlastAKill(t *testing.T) {
	disk := fs.NewMem(7)
	open := func(users ...string) *rig {
		return newRigOn(t, disk, store.ModeGroup, users, broker.Options{})
	}
	r := open("one", "two")
	one := r.client("one", "a", "")
	one.ask("set", "", rosterSet("jid='two@localhost' name='n'", "<group>g</group>"))
	one.send("<presence type='subscribe' to='two@localhost'/>")
	say(one, "two@localhost", "kept")
	one.nothingBut("")
	ver := one.ask("get", "", rosterGet).First().Attr("ver")
	disk = disk.Crash(rand.New(rand.NewPCG(1, 2)))
	r.stop()

	r = open("one", "two")
	one = r.client("one", "a", "")
	want(t, "the item", one.item("two@localhost"), "none ask=subscribe name=n group=g")
	want(t, "the version", one.ask("get", "", rosterGet).First().Attr("ver"), ver)
	want(t, "the request", r.client("two", "b", "<presence/>").presenceFrom("one@localhost"), "subscribe")
	r.stop()

	r = open("one")
	r.server.Wait()
	one = r.client("one", "a", "")
	want(t, "the item", one.item("two@localhost"), "none name=n group=g")
	if _, err := r.vhost.Queue("xmpp.two"); err == nil {
		t.Error("the messages for a user who is gone are there")
	}
}

func TestAVirtualHostThatIsMadeAgainHasNoContacts(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Domains = []Domain{{Name: "localhost", VHost: "v"}} })
	make := func() {
		if _, err := r.broker.PutVHost(audit.Actor{}, "v", broker.VHostMeta{}); err != nil {
			t.Fatal(err)
		}
	}
	make()
	p := r.client("one", "a", "")
	p.ask("set", "", rosterSet("jid='two@localhost'", ""))
	if err := r.broker.DeleteVHost(audit.Actor{}, "v"); err != nil {
		t.Fatal(err)
	}
	p.ends("not-authorized")
	make()
	want(t, "the item", r.client("one", "a", "").item("two@localhost"), "")
}
