package pubsub

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// names are those of nodes that have to work as they are.
var names = []string{"plain", "with space", "a/b", "q/a", "x/a", "it's \"quoted\"", "a<b>&c", "a#b", "ñandú/日本", "10%2F"}

func quoted(name string) string { return string(stanza.AppendText(nil, name)) }

func TestANodeOfAnyNameLivesItsLife(t *testing.T) {
	r := start(t)
	p := r.peer("one@localhost/r")
	r.s.Join(p, true)
	for _, name := range names {
		if strings.HasPrefix(name, "x/") {
			continue
		}
		q := quoted(name)
		p.must("set", pub("<create node='"+q+"'/>"))
		p.refused("set", pub("<create node='"+q+"'/>"), "conflict", "")
		p.must("set", pub("<subscribe node='"+q+"' jid='one@localhost'/>"))
		p.publish(q, "first=1")
		e := p.event()
		items := e.Child(nsEvent, "event").Child(nsEvent, "items")
		if items.Attr("node") != name || ids(e) != "first" || items.First().First().Text() != "1" || items.First().First().Space != "t" {
			t.Errorf("%s", e)
		}
		p.wantIDs(name, pub("<items node='"+q+"'/>"), "first")
		p.must("set", owner("<delete node='"+q+"'/>"))
		if d := p.event().Child(nsEvent, "event").First(); d.Local != "delete" || d.Attr("node") != name {
			t.Errorf("%s", d)
		}
		p.refused("get", pub("<items node='"+q+"'/>"), "item-not-found", "")
	}
}

func TestItemsAreReadFromTheLog(t *testing.T) {
	r := start(t)
	p := r.peer("one@localhost/r")
	p.must("set", pub("<create node='n'/>"))
	var all []string
	for i := range 300 {
		all = append(all, fmt.Sprint("i", i))
		p.publish("n", fmt.Sprintf("i%d=%d", i, i))
	}
	p.wantIDs("all", pub("<items node='n'/>"), strings.Join(all, " "))
	p.wantIDs("the last", pub("<items node='n' max_items='2'/>"), "i298 i299")
	p.wantIDs("by id", pub("<items node='n'><item id='i7'/><item id='none'/><item id='i299'/><item id='i7'/></items>"), "i7 i299")
	page := func(rsm string) string {
		return pub("<items node='n'/><set xmlns='" + nsRSM + "'>" + rsm + "</set>")
	}
	p.wantIDs("first page", page("<max>2</max>"), "i0 i1")
	p.wantIDs("next page", page("<max>2</max><after>i1</after>"), "i2 i3")
	p.wantIDs("last page", page("<max>2</max><before/>"), "i298 i299")
	p.wantIDs("page before", page("<max>2</max><before>i298</before>"), "i296 i297")
	if e := p.must("get", page("<max>0</max>")); ids(e) != "" || !strings.Contains(e.String(), "<count>300</count>") {
		t.Errorf("%s", e)
	}
	p.refused("get", page("<after>none</after>"), "item-not-found", "")
	p.publish("n", "i5=again")
	p.wantIDs("the newest under an id", pub("<items node='n' max_items='2'/>"), "i299 i5")
	if e := p.must("get", pub("<items node='n'><item id='i5'/></items>")); !strings.Contains(e.String(), "again") {
		t.Errorf("%s", e)
	}
	p.wantIDs("a page without what has a newer one", page("<max>3</max><after>i3</after>"), "i4 i6 i7")
	if got := ids(p.must("get", pub("<items node='n'/>"))); strings.Count(got, "i5 ") != 0 || !strings.HasSuffix(got, " i5") {
		t.Errorf("i5 stands twice: %s", got)
	}
	p.must("set", owner("<purge node='n'/>"))
	p.wantIDs("purged", pub("<items node='n'/>"), "")
	p.wantIDs("purged, by id", pub("<items node='n'><item id='i7'/></items>"), "")
	p.publish("n", "new=1")
	p.wantIDs("after the purge", pub("<items node='n'><item id='new'/></items>"), "new")
	p.wantIDs("disco", "<query xmlns='"+nsDiscoItems+"' node='n'/>", "new")
}

func TestErrorsAreThoseOfTheStandard(t *testing.T) {
	r := start(t)
	p := r.peer("one@localhost/r")
	p.must("set", pub("<create node='n'/>"))
	for _, c := range []struct{ kind, payload, condition, more string }{
		{"set", pub(""), "bad-request", ""},
		{"set", pub("<bogus/>"), "feature-not-implemented", ""},
		{"get", "<query xmlns='other'/>", "service-unavailable", ""},
		{"set", pub("<publish node='n'/>"), "bad-request", "item-required"},
		{"set", pub("<publish node='none'><item/></publish>"), "item-not-found", ""},
		{"set", pub("<publish><item/></publish>"), "bad-request", "nodeid-required"},
		{"set", pub("<publish node='n'><item><a xmlns='t'/><b xmlns='t'/></item></publish>"), "bad-request", "invalid-payload"},
		{"set", pub("<publish node='n'><item id='" + strings.Repeat("x", 256) + "'/></publish>"), "bad-request", ""},
		{"set", pub("<retract node='n'><item id='x'/></retract>"), "not-allowed", ""},
		{"set", pub("<retract node='none'><item id='x'/></retract>"), "item-not-found", ""},
		{"set", pub("<subscribe node='n' jid='two@localhost'/>"), "bad-request", "invalid-jid"},
		{"set", pub("<subscribe node='n'/>"), "bad-request", "jid-required"},
		{"set", pub("<subscribe node='none' jid='one@localhost'/>"), "item-not-found", ""},
		{"set", pub("<unsubscribe node='n' jid='one@localhost'/>"), "unexpected-request", "not-subscribed"},
		{"set", pub("<unsubscribe node='none' jid='one@localhost'/>"), "item-not-found", ""},
		{"set", owner("<delete node='none'/>"), "item-not-found", ""},
		{"set", owner("<purge node='none'/>"), "item-not-found", ""},
		{"set", owner("<purge node='x/amq.topic'/>"), "feature-not-implemented", "unsupported"},
		{"get", owner("<configure node='none'/>"), "item-not-found", ""},
		{"set", owner("<configure node='n'/>"), "bad-request", ""},
		{"get", pub("<items node='n' max_items='many'/>"), "bad-request", ""},
		{"set", pub("<create node='amq.x'/>"), "forbidden", ""},
		{"set", pub("<create node='" + strings.Repeat("x", 256) + "'/>"), "not-acceptable", ""},
		{"set", pub("<subscribe node='x/amq.direct' jid='one@localhost'/>"), "not-acceptable", "configuration-required"},
		{"get", "<query xmlns='" + nsDiscoInfo + "' node='none'/>", "item-not-found", ""},
		{"get", "<query xmlns='" + nsDiscoItems + "' node='none'/>", "item-not-found", ""},
	} {
		p.refused(c.kind, c.payload, c.condition, c.more)
	}
}

func TestSettingsAndSubscriptionsOutlastARestart(t *testing.T) {
	r := start(t)
	p := r.peer("one@localhost/r")
	p.must("set", pub("<create node='n'/><configure><x xmlns='jabber:x:data' type='submit'><field var='pubsub#title'><value>T &lt;</value></field>"+
		"<field var='pubsub#max_items'><value>2</value></field></x></configure>"))
	p.must("set", pub("<create node='x/e'/>"))
	p.must("set", pub("<subscribe node='n' jid='one@localhost'/>"))
	p.must("set", pub("<subscribe node='x/e' jid='one@localhost'/>"))
	p.publish("n", "a=1", "b=2", "c=3")
	p.publish("x/e", "d=4")
	r.restart()
	p = r.peer("one@localhost/other")
	if e := p.must("get", owner("<configure node='n'/>")).String(); !strings.Contains(e, "T &lt;") || !strings.Contains(e, "<value>2</value>") {
		t.Errorf("%s", e)
	}
	p.wantIDs("as many as the owner wants", pub("<items node='n'/>"), "b c")
	if e := p.must("get", pub("<subscriptions/>")).String(); strings.Count(e, "<subscription ") != 2 {
		t.Errorf("%s", e)
	}
	r.s.Join(p, true)
	got := map[string]bool{}
	for range 4 {
		e := p.event()
		got[ids(e)] = true
		if e.Child(nsDelay, "delay") == nil {
			t.Errorf("no delay: %s", e)
		}
	}
	if len(got) != 4 || !got["a"] || !got["d"] {
		t.Errorf("%v", got)
	}
	p.none()
	r.restart()
	p = r.peer("one@localhost/again")
	r.s.Join(p, true)
	p.none()
}

func TestEverySubscriberGetsEveryItemUnlessTheyCompete(t *testing.T) {
	r := start(t)
	one, two := r.peer("one@localhost/r"), r.peer("two@localhost/r")
	one.must("set", pub("<create node='n'/>"))
	for _, p := range []*peer{one, two} {
		r.s.Join(p, true)
		p.must("set", pub("<subscribe node='n' jid='"+p.jid.Bare().String()+"'/>"))
	}
	for i := range 50 {
		one.publish("n", fmt.Sprint(i, "=x"))
	}
	for _, p := range []*peer{one, two} {
		for i := range 50 {
			if got := ids(p.event()); got != fmt.Sprint(i) {
				t.Fatalf("%s, want %d", got, i)
			}
		}
		p.none()
	}
	one.must("set", pub("<create node='work'/>"))
	for _, p := range []*peer{one, two} {
		p.must("set", pub("<subscribe node='work' jid='"+p.jid.Bare().String()+"'/><options><x xmlns='jabber:x:data' type='submit'><field var='leveret#mode'><value>one</value></field></x></options>"))
	}
	work, err := r.vhost().Queue("work")
	if err != nil {
		t.Fatal(err)
	}
	for work.Consumers() < 2 {
		time.Sleep(time.Millisecond)
	}
	for i := range 100 {
		one.publish("work", fmt.Sprint(i, "=x"))
	}
	seen := map[string]int{}
	mine := 0
	for range 100 {
		select {
		case e := <-one.events:
			seen[ids(e)]++
			mine++
		case e := <-two.events:
			seen[ids(e)]++
		case <-time.After(patience):
			t.Fatal("no event")
		}
	}
	if len(seen) != 100 || mine == 0 || mine == 100 {
		t.Errorf("%d items, %d of them to the first", len(seen), mine)
	}
	one.none()
	two.none()
}

// What a stream did not acknowledge comes again, marked as such, on another one.
func TestWhatWasNotAcknowledgedComesAgain(t *testing.T) {
	for _, mode := range []string{"all", "one", "exchange"} {
		t.Run(mode, func(t *testing.T) {
			r := start(t)
			p := r.peer("one@localhost/r")
			node, options := "n", ""
			switch mode {
			case "one":
				options = "<options><x xmlns='jabber:x:data' type='submit'><field var='leveret#mode'><value>one</value></field></x></options>"
			case "exchange":
				node = "x/n"
			}
			p.must("set", pub("<create node='"+node+"'/>"))
			p.must("set", pub("<subscribe node='"+node+"' jid='one@localhost'/>"+options))
			p.slow = true
			r.s.Join(p, true)
			p.publish(node, "a=1", "b=2", "c=3")
			for _, id := range []string{"a", "b", "c"} {
				if got := ids(p.event()); got != id {
					t.Fatal(got)
				}
			}
			p.mu.Lock()
			first := p.unsaid[0]
			p.unsaid = p.unsaid[1:]
			p.mu.Unlock()
			first(true)
			r.s.Leave(p)
			p.say(false)
			again := r.peer("one@localhost/other")
			r.s.Join(again, true)
			for _, id := range []string{"b", "c"} {
				e := again.event()
				if ids(e) != id {
					t.Errorf("got %s, want %s", ids(e), id)
				}
				if mode != "all" && !strings.Contains(e.String(), "redelivered") {
					t.Errorf("not marked: %s", e)
				}
			}
			again.none()
		})
	}
}

// What was purged is not sent to who was away, and who subscribes again without options keeps those that there are.
func TestWhatWasPurgedIsNotSent(t *testing.T) {
	r := start(t)
	p := r.peer("one@localhost/r")
	p.must("set", pub("<create node='n'/>"))
	one := "<options><x xmlns='jabber:x:data' type='submit'><field var='leveret#mode'><value>one</value></field></x></options>"
	p.must("set", pub("<subscribe node='n' jid='one@localhost/r'/>"+one))
	p.must("set", pub("<subscribe node='n' jid='one@localhost/r'/>"))
	if e := p.must("get", pub("<options node='n' jid='one@localhost/r'/>")).String(); !strings.Contains(e, "</option><value>one</value>") {
		t.Errorf("%s", e)
	}
	p.must("set", pub("<unsubscribe node='n' jid='one@localhost/r'/>"))
	p.must("set", pub("<subscribe node='n' jid='one@localhost'/>"))
	p.refused("set", pub("<subscribe node='n' jid='one@localhost'/>"+one), "not-acceptable", "")
	p.publish("n", "a=1", "b=2")
	p.must("set", owner("<purge node='n'/>"))
	p.publish("n", "c=3")
	r.s.Join(p, true)
	if got := ids(p.event()); got != "c" {
		t.Errorf("got %q", got)
	}
	p.none()
}

// An event that comes again on another stream of an account that stays is marked.
func TestWhatComesAgainIsMarked(t *testing.T) {
	r := start(t)
	a, b := r.peer("one@localhost/a"), r.peer("one@localhost/b")
	a.must("set", pub("<create node='n'/>"))
	a.must("set", pub("<subscribe node='n' jid='one@localhost'/>"))
	a.lost = true
	r.s.Join(a, true)
	r.s.Join(b, false)
	a.publish("n", "x=1")
	a.event()
	r.s.Join(b, true)
	e := b.event()
	if ids(e) != "x" || !strings.Contains(e.String(), "<header name='redelivered'>true</header>") {
		t.Errorf("%s", e)
	}
}

// What a stream leaves while its account's feed reads on comes again before what was read.
func TestWhatComesAgainIsNotPassedOver(t *testing.T) {
	r := start(t)
	var reading, held atomic.Pointer[chan struct{}]
	r.policy = func(q broker.Request) error {
		if wait := held.Load(); wait != nil && q.User == "one" && q.Verb == broker.Consume && held.CompareAndSwap(wait, nil) {
			close(*reading.Load())
			<-*wait
		}
		return nil
	}
	a, b, other := r.peer("one@localhost/a"), r.peer("one@localhost/b"), r.peer("two@localhost/r")
	other.must("set", pub("<create node='n'/>"))
	a.must("set", pub("<subscribe node='n' jid='one@localhost'/>"))
	a.slow = true
	r.s.Join(a, true)
	other.publish("n", "x=1")
	a.event()
	begun, wait := make(chan struct{}), make(chan struct{})
	reading.Store(&begun)
	held.Store(&wait)
	r.b.PolicyChanged() // the next read asks
	r.s.Join(b, true)
	<-begun
	other.publish("n", "y=2")
	r.s.Leave(a)
	a.say(false)
	close(wait)
	for _, id := range []string{"x", "y"} {
		if got := ids(b.event()); got != id {
			t.Fatalf("got %s, want %s", got, id)
		}
	}
	b.none()
}

func TestReceiptsAcknowledge(t *testing.T) {
	r := start(t)
	p := r.peer("one@localhost/r")
	p.must("set", pub("<create node='n'/>"))
	p.must("set", pub("<subscribe node='n' jid='one@localhost'/><options><x xmlns='jabber:x:data' type='submit'><field var='leveret#receipts'><value>true</value></field></x></options>"))
	r.s.Join(p, true)
	p.publish("n", "a=1", "b=2")
	a := p.event()
	if a.Child(nsReceipts, "request") == nil {
		t.Fatalf("no receipt is asked for: %s", a)
	}
	p.event()
	m := stanza.New(stanza.NSClient, "message").Add(stanza.New(nsReceipts, "received", "id", a.Attr("id")))
	r.s.Receipt(p, m)
	r.s.Leave(p)
	again := r.peer("one@localhost/r2")
	r.s.Join(again, true)
	if got := ids(again.event()); got != "b" {
		t.Errorf("got %s again", got)
	}
	again.none()
}

// A stream that does not settle gets only so much, and goes on when it does.
func TestASlowStreamHoldsUpItsOwnEvents(t *testing.T) {
	r := start(t)
	p, other := r.peer("one@localhost/r"), r.peer("two@localhost/r")
	p.must("set", pub("<create node='n'/>"))
	p.slow = true
	for _, p := range []*peer{p, other} {
		r.s.Join(p, true)
		p.must("set", pub("<subscribe node='n' jid='"+p.jid.Bare().String()+"'/>"))
	}
	for i := range 2 * maxHeld {
		other.publish("n", fmt.Sprint(i, "=x"))
	}
	for range 2 * maxHeld {
		other.event()
	}
	for range maxHeld {
		p.event()
	}
	p.none()
	p.mu.Lock()
	p.slow = false
	p.mu.Unlock()
	p.say(true)
	for range maxHeld {
		p.event()
	}
	p.none()
}

func TestAFullAddressGetsItsOwnEventsAlone(t *testing.T) {
	r := start(t)
	a, b := r.peer("one@localhost/a"), r.peer("one@localhost/b")
	r.s.Join(a, false) // it never says that it is available
	r.s.Join(b, true)
	a.must("set", pub("<create node='n'/>"))
	a.must("set", pub("<subscribe node='n' jid='one@localhost/a'/>"))
	a.publish("n", "x=1")
	a.event()
	b.none()
	a.must("set", pub("<unsubscribe node='n' jid='one@localhost/a'/>"))
	a.must("set", pub("<subscribe node='n' jid='one@localhost'/>"))
	a.must("set", pub("<subscribe node='n' jid='one@localhost'/>"))
	a.publish("n", "y=1")
	b.event()
	b.none()
	a.none()
}

func TestDeletionByOtherProtocolsIsToldAndForgotten(t *testing.T) {
	r := start(t)
	p := r.peer("one@localhost/r")
	r.s.Join(p, true)
	for _, node := range []string{"n", "x/e"} {
		p.must("set", pub("<create node='"+node+"'/>"))
		p.must("set", pub("<subscribe node='"+node+"' jid='one@localhost'/>"))
	}
	amqp := r.vhost().NewInnerSession()
	if _, err := amqp.DeleteQueue("n", false, false); err != nil {
		t.Fatal(err)
	}
	if err := amqp.DeleteExchange("e", false); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"n", "x/e"} {
		if d := p.event().Child(nsEvent, "event").First(); d.Local != "delete" || d.Attr("node") != node {
			t.Errorf("%s", d)
		}
	}
	p.must("set", pub("<create node='n'/>"))
	if e := p.must("get", pub("<subscriptions/>")).String(); strings.Contains(e, "<subscription ") {
		t.Errorf("%s", e)
	}
	for len(r.vhost().Queues()) != 1 { // that of the subscriber to the exchange goes, too
		time.Sleep(time.Millisecond)
	}
}

func TestAPurgeByAnyProtocolIsTold(t *testing.T) {
	r := start(t)
	p := r.peer("one@localhost/r")
	p.must("set", pub("<create node='n'/>"))
	p.must("set", pub("<create node='other'/>"))
	p.must("set", pub("<subscribe node='n' jid='one@localhost'/>"))
	p.publish("n", "a=1", "b=2")
	amqp := r.vhost().NewInnerSession()
	purge := func(name string) {
		t.Helper()
		if _, err := amqp.Purge(name); err != nil {
			t.Fatal(err)
		}
	}
	purge("n") // while nobody is there
	h := r.s.host(r.vhost())
	for passed := false; !passed; {
		h.mu.Lock()
		for sub := range h.byAccount["one@localhost"] {
			passed = len(sub.positions) == 1 && sub.positions[0] == 2
		}
		h.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	p.publish("n", "c=3")
	r.s.Join(p, true)
	if got := ids(p.event()); got != "c" {
		t.Errorf("got %q", got)
	}
	for i, purge := range []func(){
		func() { purge("other"); purge("n") },
		func() { p.must("set", owner("<purge node='n'/>")) },
		func() { purge("n") },
	} {
		purge()
		if e := p.event().Child(nsEvent, "event").First(); e.Local != "purge" || e.Attr("node") != "n" {
			t.Errorf("%d: %s", i, e)
		}
	}
	p.none()
	p.publish("n", "d=4")
	if got := ids(p.event()); got != "d" {
		t.Errorf("got %q", got)
	}
}

// Other protocols' messages are items, with all that they have.
func TestMessagesOfOtherProtocolsAreItems(t *testing.T) {
	r := start(t)
	p := r.peer("one@localhost/r")
	p.must("set", pub("<create node='n'/>"))
	p.must("set", pub("<subscribe node='n' jid='one@localhost'/>"))
	r.s.Join(p, true)
	s := r.vhost().NewInnerSession()
	publisher := s.NewPublisher()
	table := field.AppendInt(field.AppendName(nil, "n"), 7)
	table = field.AppendString(field.AppendName(table, "s"), []byte("é<"))
	props := field.Properties{ContentType: []byte("text/plain"), Headers: table, DeliveryMode: 2, Priority: 3, CorrelationID: []byte("c")}
	for _, body := range []string{"text <&>", "\x00\xff"} {
		if _, err := publisher.Publish(&broker.Inbound{Key: []byte("n"), Properties: props.AppendTo(nil), Headers: table, Body: []byte(body), Persistent: true, TimestampMs: 1}); err != nil {
			t.Fatal(err)
		}
		publisher.Store()
		if err := publisher.Commit(nil); err != nil {
			t.Fatal(err)
		}
	}
	e := p.event()
	m := e.Child(nsEvent, "event").First().First().First()
	if !m.Is(nsMessage, "message") || m.Attr("content-type") != "text/plain" || m.Attr("persistent") != "true" || m.Attr("priority") != "3" ||
		m.Attr("correlation-id") != "c" || m.ChildText(nsMessage, "body") != "text <&>" || ids(e) != "0-0" {
		t.Errorf("%s", e)
	}
	if hs := children(m, nsMessage, "header"); len(hs) != 2 || hs[0].Attr("type") != "l" || hs[0].Text() != "7" || hs[1].Text() != "é<" {
		t.Errorf("%s", m)
	}
	if !strings.Contains(e.String(), "<headers xmlns='"+nsShim+"'><header name='n'>7</header>") {
		t.Errorf("%s", e)
	}
	b := p.event().Child(nsEvent, "event").First().First().First().Child(nsMessage, "body")
	if b.Attr("encoding") != "base64" || b.Text() != "AP8=" {
		t.Errorf("%s", b)
	}
	p.wantIDs("by its place", pub("<items node='n'><item id='0-1'/></items>"), "0-1")
	// and back again, as what it was
	p.must("set", pub("<create node='back'/>"))
	p.must("set", pub("<publish node='back'><item id='i'>"+m.String()+"</item></publish>"))
	got, err := s.Get("back", true)
	if err != nil || got == nil {
		t.Fatal(err)
	}
	var back field.Properties
	if err := back.Parse(got.Properties); err != nil {
		t.Fatal(err)
	}
	n, _ := back.Headers.Get("n")
	if v, _ := n.Int(); v != 7 || string(got.Body) != "text <&>" || string(back.ContentType) != "text/plain" || back.DeliveryMode != 2 || back.Priority != 3 || string(back.MessageID) != "i" {
		t.Errorf("%q %+v", got.Body, back)
	}
}

func TestPermissionsDecide(t *testing.T) {
	r := start(t)
	owns, p := r.peer("owner@localhost/r"), r.peer("one@localhost/r")
	owns.must("set", pub("<create node='n'/>"))
	owns.must("set", pub("<create node='x/e'/>"))
	denied := map[broker.Verb]bool{}
	r.policy = func(q broker.Request) error {
		if q.User == "one" && denied[q.Verb] {
			return broker.ErrDenied
		}
		return nil
	}
	for _, c := range []struct {
		verb          broker.Verb
		kind, payload string
	}{
		{broker.Create, "set", pub("<create node='m'/>")},
		{broker.Create, "set", pub("<create node='n'/>")},
		{broker.Delete, "set", owner("<delete node='n'/>")},
		{broker.Delete, "set", owner("<delete node='none'/>")},
		{broker.Purge, "set", owner("<purge node='n'/>")},
		{broker.Alter, "get", owner("<configure node='n'/>")},
		{broker.Alter, "get", owner("<subscriptions node='n'/>")},
		{broker.Consume, "get", pub("<items node='n'/>")},
		{broker.Consume, "get", pub("<items node='none'/>")},
		{broker.Consume, "set", pub("<subscribe node='n' jid='one@localhost'/>")},
		{broker.BindSource, "set", pub("<subscribe node='x/e' jid='one@localhost'/>")},
		{broker.Publish, "set", pub("<publish node='n'><item/></publish>")},
		{broker.Publish, "set", pub("<publish node='x/e'><item/></publish>")},
	} {
		denied = map[broker.Verb]bool{c.verb: true}
		r.b.PolicyChanged()
		p.refused(c.kind, c.payload, "forbidden", "")
	}
	denied = nil
	r.b.PolicyChanged()
	p.must("set", pub("<subscribe node='n' jid='one@localhost'/>"))
	owns.must("set", owner("<configure node='n'><x xmlns='jabber:x:data' type='submit'><field var='pubsub#access_model'><value>whitelist</value></field></x></configure>"))
	denied = map[broker.Verb]bool{broker.Alter: true}
	r.b.PolicyChanged()
	p.refused("get", pub("<items node='n'/>"), "not-allowed", "closed-node")
	owns.must("get", pub("<items node='n'/>"))
}

func TestPublishOptionsAreConditions(t *testing.T) {
	r := start(t)
	p := r.peer("one@localhost/r")
	p.must("set", pub("<create node='n'/>"))
	with := func(name, value string) string {
		return pub("<publish node='n'><item id='a'/></publish><publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>" + formPublish +
			"</value></field><field var='" + name + "'><value>" + value + "</value></field></x></publish-options>")
	}
	p.must("set", with("pubsub#access_model", "open"))
	p.must("set", with("pubsub#persist_items", "true"))
	p.refused("set", with("pubsub#access_model", "whitelist"), "conflict", "precondition-not-met")
	p.refused("set", with("pubsub#persist_items", "0"), "conflict", "precondition-not-met")
}

// A node that keeps nothing and sends no payloads takes no items (XEP-0060 section 7.1.3.6).
func TestANodeThatOnlyNotifiesTakesNoItems(t *testing.T) {
	r := start(t)
	p := r.peer("one@localhost/r")
	r.s.Join(p, true)
	field := func(name, value string) string {
		return "<field var='pubsub#" + name + "'><value>" + value + "</value></field>"
	}
	p.must("set", pub("<create node='n'/><configure><x xmlns='jabber:x:data' type='submit'>"+field("persist_items", "0")+field("deliver_payloads", "false")+field("publish_model", "open")+"</x></configure>"))
	p.must("set", pub("<subscribe node='n' jid='one@localhost'/>"))
	p.must("set", pub("<publish node='n'/>"))
	if items := p.event().Child(nsEvent, "event").First(); items.First().First() != nil {
		t.Errorf("%s", items)
	}
	p.refused("set", pub("<publish node='n'><item id='a'><x xmlns='t'/></item></publish>"), "bad-request", "item-forbidden")
	if e := p.must("get", owner("<configure node='n'/>")).String(); !strings.Contains(e, "<value>open</value></option><value>open</value>") {
		t.Errorf("%s", e)
	}
}

func TestNodesOutlastAKill(t *testing.T) {
	r := start(t)
	p := r.peer("one@localhost/r")
	p.must("set", pub("<create node='n'/><configure><x xmlns='jabber:x:data' type='submit'><field var='pubsub#title'><value>T</value></field></x></configure>"))
	p.must("set", pub("<subscribe node='n' jid='one@localhost'/>"))
	p.publish("n", "a=1")
	killed := &rig{t: t, dir: t.TempDir()}
	err := os.CopyFS(killed.dir, os.DirFS(r.dir))
	for errors.Is(err, os.ErrNotExist) { // a file may go meanwhile
		killed.dir = t.TempDir()
		err = os.CopyFS(killed.dir, os.DirFS(r.dir))
	}
	if err != nil {
		t.Fatal(err)
	}
	killed.open()
	defer killed.close()
	p = killed.peer("one@localhost/r")
	if e := p.must("get", owner("<configure node='n'/>")).String(); !strings.Contains(e, "<value>T</value>") {
		t.Errorf("%s", e)
	}
	killed.s.Join(p, true)
	if got := ids(p.event()); got != "a" {
		t.Errorf("got %q", got)
	}
}

func TestDiscoNamesWhatIsThere(t *testing.T) {
	r := start(t)
	p := r.peer("one@localhost/r")
	p.must("set", pub("<create node='n'/>"))
	p.must("set", pub("<create node='c'/><configure><x xmlns='jabber:x:data' type='submit'><field var='pubsub#type'><value>exchange-fanout</value></field></x></configure>"))
	p.must("set", pub("<subscribe node='c' jid='one@localhost'/>"))
	e := p.must("get", "<query xmlns='"+nsDiscoItems+"'/>").String()
	for _, want := range []string{"node='n'", "node='c'", "node='x/amq.topic'"} {
		if !strings.Contains(e, want) {
			t.Errorf("%s is missing: %s", want, e)
		}
	}
	if strings.Contains(e, subscriberQueue) {
		t.Errorf("%s", e)
	}
	if e := p.must("get", "<query xmlns='"+nsDiscoItems+"'><set xmlns='"+nsRSM+"'><max>1</max><after>c</after></set></query>"); !strings.Contains(e.String(), "node='n'") || strings.Count(e.String(), "<item ") != 1 {
		t.Errorf("%s", e)
	}
	for node, kind := range map[string]string{"n": "leaf", "c": "collection", "q/n": "leaf"} {
		if e := p.must("get", "<query xmlns='"+nsDiscoInfo+"' node='"+node+"'/>").String(); !strings.Contains(e, "type='"+kind+"'") {
			t.Errorf("%s", e)
		}
	}
	instant := p.must("set", pub("<create/>")).First().First().Attr("node")
	if instant == "" {
		t.Error("no name was made")
	}
	p.publish(instant, "a=1")
	if e := p.must("get", pub("<affiliations/>")).String(); strings.Count(e, "affiliation='owner'") != 3 {
		t.Errorf("%s", e)
	}
}

func TestAnErrorOfTheBrokersIsOneOfTheStandard(t *testing.T) {
	if e := asError(errors.New("x")); e.Condition != "internal-server-error" {
		t.Errorf("%+v", e)
	}
}

// put publishes as another protocol does.
func (r *rig) put(exchange, key, id string, body []byte) {
	r.t.Helper()
	p := r.vhost().NewInnerSession().NewPublisher()
	props := field.Properties{MessageID: []byte(id)}
	if _, err := p.Publish(&broker.Inbound{Exchange: []byte(exchange), Key: []byte(key), Properties: props.AppendTo(nil), Body: body, TimestampMs: 1}); err != nil {
		r.t.Fatal(err)
	}
	p.Store()
	if err := p.Commit(nil); err != nil {
		r.t.Fatal(err)
	}
}

// What no client takes comes without its body, and requests read only so much of large messages at a time.
func TestLargeMessagesAreBounded(t *testing.T) {
	r := start(t)
	p := r.peer("one@localhost/r")
	p.must("set", pub("<create node='n'/>"))
	p.must("set", pub("<subscribe node='n' jid='one@localhost'/>"))
	r.s.Join(p, true)
	r.put("", "n", "large", make([]byte, maxBodyBytes+1))
	m := p.event().Child(nsEvent, "event").First().First().First()
	if m.Attr("size") != fmt.Sprint(maxBodyBytes+1) || m.Child(nsMessage, "body") != nil {
		t.Errorf("%.300s", m.String())
	}
	for i := range 12 {
		r.put("", "n", fmt.Sprint("i", i), []byte(strings.Repeat("x", 200<<10)))
	}
	if got := ids(p.must("get", pub("<items node='n'/>"))); got != "i7 i8 i9 i10 i11" {
		t.Errorf("in one answer: %s", got)
	}
	if got := ids(p.must("get", pub("<items node='n'/><set xmlns='"+nsRSM+"'><before>i7</before></set>"))); got != "i2 i3 i4 i5 i6" {
		t.Errorf("before these: %s", got)
	}
	if got := ids(p.must("get", pub("<items node='n'><item id='i0'/></items>"))); got != "i0" {
		t.Errorf("by id: %q", got)
	}
}

// A kill between the end of an exchange and that of its subscribers' queues leaves nothing behind.
func TestQueuesOfSubscribersThatAreGoneAreDeletedAtTheStart(t *testing.T) {
	r := start(t)
	p := r.peer("one@localhost/r")
	p.must("set", pub("<create node='x/e'/>"))
	p.must("set", pub("<subscribe node='x/e' jid='one@localhost'/>"))
	if _, err := r.vhost().NewInnerSession().DeclareQueue(subscriberQueue+"orphan", broker.QueueOptions{Durable: true}); err != nil {
		t.Fatal(err)
	}
	r.restart()
	var names []string
	for _, q := range r.vhost().Queues() {
		names = append(names, q.Name)
	}
	if len(names) != 1 || names[0] != queueOf("e", "one@localhost") {
		t.Errorf("%q", names)
	}
}

func TestAStreamHasNoCompetingSubscribers(t *testing.T) {
	r := start(t)
	args := field.AppendString(field.AppendName(nil, "x-queue-type"), []byte("stream"))
	if _, err := r.vhost().NewInnerSession().DeclareQueue("s", broker.QueueOptions{Durable: true, Args: args}); err != nil {
		t.Fatal(err)
	}
	p := r.peer("one@localhost/r")
	one := "<options><x xmlns='jabber:x:data' type='submit'><field var='leveret#mode'><value>one</value></field></x></options>"
	p.refused("set", pub("<subscribe node='s' jid='one@localhost'/>"+one), "not-acceptable", "invalid-options")
	p.must("set", pub("<subscribe node='s' jid='one@localhost'/>"))
	r.s.Join(p, true)
	r.put("", "s", "a", []byte("x"))
	if got := ids(p.event()); got != "a" {
		t.Error(got)
	}
	p.wantIDs("items", pub("<items node='s'/>"), "a")
	p.must("set", owner("<purge node='s'/>"))
	if e := p.event().Child(nsEvent, "event").First(); e.Local != "purge" {
		t.Error(e)
	}
	p.wantIDs("purged", pub("<items node='s'/>"), "")
}

// A topic of several partitions is one node.
func TestATopicOfSeveralPartitionsIsOneNode(t *testing.T) {
	r := start(t)
	s := r.vhost().NewInnerSession()
	q, err := s.CreateTopic("t", 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := r.peer("one@localhost/r")
	p.must("set", pub("<subscribe node='t' jid='one@localhost'/>"))
	r.s.Join(p, true)
	for range 30 {
		p.publish("t", "i=x")
	}
	used := map[int]bool{}
	for range 30 {
		p.event()
	}
	for i, part := range q.Partitions() {
		if _, end, err := s.Bounds(part); err == nil && end > 0 {
			used[i] = true
		}
	}
	p.none()
	if got := ids(p.must("get", pub("<items node='t'/>"))); strings.Count(got, "i") != 1 {
		t.Errorf("%s, in %d partitions", got, len(used))
	}
	if len(used) > 1 {
		p.refused("get", pub("<items node='t'/><set xmlns='"+nsRSM+"'/>"), "feature-not-implemented", "")
	}
	p.must("set", owner("<purge node='t'/>"))
	p.wantIDs("purged", pub("<items node='t'/>"), "")
}
