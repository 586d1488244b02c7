package xmpp

import (
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

func TestMessagesGoToWhoIsThere(t *testing.T) {
	r := newRig(t)
	sender := r.client("two", "s", "<presence/>")
	a := r.client("one", "a", "<presence/>")
	b := r.client("one", "b", "<presence><priority>5</priority></presence>")
	low := r.client("one", "low", "<presence><priority>-1</priority></presence>")
	silent := r.client("one", "silent", "")
	say(sender, "one@localhost", "bare")
	for _, p := range []*peer{a, b} {
		if m := p.message(); body(m) != "bare" || m.Attr("from") != sender.jid || m.Attr("to") != "one@localhost" {
			t.Error(m)
		}
	}
	low.nothing()
	silent.nothing()
	for _, p := range []*peer{low, silent} {
		say(sender, p.jid, "full")
		wantBodies(t, p.got(1), "full")
	}
	say(sender, "one@localhost/gone", "chat to nobody")
	wantBodies(t, a.got(1), "chat to nobody")
	wantBodies(t, b.got(1), "chat to nobody")
	for _, kind := range []string{"normal", "groupchat"} {
		sender.send("<message id='m' type='" + kind + "' to='one@localhost/gone'><body>x</body></message>")
		sender.refused(sender.message(), "service-unavailable")
	}
	sender.send("<message type='headline' to='one@localhost/gone'><body>x</body></message><message type='error' to='one@localhost'/><message type='error' to='nobody@localhost'/>")
	sender.nothing()
	a.nothing()
	sender.send("<message id='m' type='chat' to='nobody@localhost'><body>x</body></message>")
	sender.refused(sender.message(), "service-unavailable")
	sender.send("<message id='m' to='one@example.org'><body>x</body></message>")
	sender.refused(sender.message(), "remote-server-not-found")
	sender.send("<message id='m' to='o ne@localhost'><body>x</body></message>")
	sender.refused(sender.message(), "jid-malformed")
}

func TestAForgedSenderIsReplaced(t *testing.T) {
	r := newRig(t)
	p := r.client("one", "a", "<presence/>")
	p.send("<message type='chat' from='guest@localhost/x' to='one@localhost'><body>x</body></message>")
	if m := p.message(); m.Attr("from") != p.jid {
		t.Error(m)
	}
}

func TestAMessageIsCarriedWhole(t *testing.T) {
	r := newRig(t)
	p := r.client("one", "a", "<presence/>")
	inside := "<subject xml:lang='de'>S</subject><body>one</body><body xml:lang='de'>eins</body><thread parent='p'>t</thread><x xmlns='urn:x' a:b='c' xmlns:a='urn:a'><y xmlns=''>&lt;</y>text</x>"
	want, err := stanza.Parse([]byte("<message xmlns='jabber:client' xml:lang='fr'>" + inside + "</message>"))
	if err != nil {
		t.Fatal(err)
	}
	check := func(m *stanza.Element) {
		t.Helper()
		if m.Lang() != "fr" {
			t.Error(m)
		}
		for i, c := range want.Children() {
			if i >= len(m.Children()) || m.Children()[i].String() != c.String() {
				t.Fatalf("%s, not %s", m, want)
			}
		}
	}
	send := "<message id='i' type='chat' xml:lang='fr' to='TO'>" + inside + "</message>"
	p.send(strings.Replace(send, "TO", p.jid, 1))
	check(p.message())
	// Through the offline queue.
	p.send(strings.Replace(send, "TO", "two@localhost", 1))
	p.nothing()
	other := r.client("two", "b", "<presence/>")
	m := other.message()
	check(m)
	if m.Attr("id") != "i" || m.Attr("from") != p.jid || m.Attr("type") != "chat" {
		t.Error(m)
	}
	// Through a queue.
	r.declare("q")
	p.send(strings.Replace(send, "TO", "q@queues.localhost", 1))
	p.send("<presence to='q@queues.localhost'/>")
	check(p.message())
}

func TestMessagesWaitForAUserWhoIsNotThere(t *testing.T) {
	r := newRig(t)
	sender := r.client("two", "s", "")
	sender.send("<message type='headline' to='one@localhost'><body>dropped</body></message>")
	sender.send("<message id='g' type='groupchat' to='one@localhost'><body>x</body></message>")
	sender.refused(sender.message(), "service-unavailable")
	sender.send("<message id='n' to='one@localhost'><subject>S</subject><body>first</body><thread>T</thread></message>")
	sender.send("<message type='chat' to='one@localhost'><gone xmlns='http://jabber.org/protocol/chatstates'/></message>")
	say(sender, "one@localhost", "second")
	sender.nothing()
	p := r.client("one", "a", "")
	p.nothing()
	p.send("<presence><priority>-1</priority></presence>")
	p.next()
	p.nothing()
	p.send("<presence/>")
	p.next()
	m := p.message()
	if body(m) != "first" || m.ChildText(stanza.NSClient, "subject") != "S" || m.ChildText(stanza.NSClient, "thread") != "T" || m.Attr("id") != "n" || m.Attr("from") != sender.jid || m.Child(nsDelay, "delay") == nil {
		t.Error(m)
	}
	wantBodies(t, p.got(1), "second")
	p.nothing()
}

// Who has put a message there looks who is there, who may say that it is not before it is told.
func TestAClientThatHasJustGoneAwayGetsNoOfflineMessages(t *testing.T) {
	r := newRig(t)
	sender := r.client("two", "s", "")
	say(sender, "one@localhost", "x")
	sender.nothing()
	p := r.client("one", "a", "<presence><priority>-1</priority></presence>")
	p.nothing()
	k := r.server.Client(stanza.JID{Local: "one", Domain: "localhost", Resource: "a"})
	k.wantOffline()
	if k.Get(offlineKey{}) != nil {
		t.Error("it consumes the messages that wait")
	}
}

func TestTheOfflineMessagesOfAUserAreLimited(t *testing.T) {
	r := newRig(t)
	sender := r.client("two", "s", "")
	for range maxOffline {
		say(sender, "one@localhost", "x")
	}
	sender.nothing()
	sender.send("<message id='m' type='chat' to='one@localhost'><body>x</body></message>")
	sender.refused(sender.message(), "service-unavailable")
}

func TestAQueueIsAnAddress(t *testing.T) {
	r := newRig(t)
	q := r.declare(`a b/c@d`)
	p := r.client("one", "a", "")
	to := stanza.Escape(q.Name) + "@queues.localhost"
	p.send("<message id='m' type='normal' to='" + to + "'><body>x</body><headers xmlns='" + nsSHIM + "'><header name='k'>v</header><header name='priority'>3</header><header name='xmpp-from'>forged</header></headers><request xmlns='" + nsReceipts + "'/></message>")
	m := p.message()
	if m.Attr("from") != to || m.Child(nsReceipts, "received") == nil || m.Child(nsReceipts, "received").Attr("id") != "m" {
		t.Fatal(m)
	}
	got, err := r.session.Get(q.Name, true)
	if err != nil {
		t.Fatal(err)
	}
	var props field.Properties
	if err := props.Parse(got.Properties); err != nil {
		t.Fatal(err)
	}
	header := func(name string) string { f, _ := field.Find(props.Headers, name); return string(f.Text()) }
	if string(got.Body) != "x" || string(props.ContentType) != "text/plain" || string(props.MessageID) != "m" || string(props.UserID) != "one" || props.Priority != 3 || props.DeliveryMode != 2 ||
		header("k") != "v" || header("xmpp-from") != p.jid || string(props.ReplyTo) != p.jid {
		t.Errorf("%+v, %q", props, got.Body)
	}
	p.send("<message id='m' to='none@queues.localhost'><body>x</body></message>")
	p.refused(p.message(), "item-not-found")
	p.refused(p.ask("get", "none@queues.localhost", "<query xmlns='"+nsInfo+"'/>"), "item-not-found")
	contains(t, p.ask("get", to, "<query xmlns='"+nsInfo+"'/>").String(), "type='queue'")
	contains(t, p.ask("get", "queues.localhost", "<query xmlns='"+nsItems+"'/>").String(), `a\20b\2fc\40d@queues.localhost`)
	p.send("<message to='" + to + "'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
	p.nothing()
	if n := q.Ready(); n != 0 {
		t.Error(n)
	}
}

func TestAQueueThatIsFullRefuses(t *testing.T) {
	r := newRig(t)
	args := field.AppendTableString(field.AppendTableInt(nil, "x-max-length", 1), "x-overflow", "reject-publish")
	if _, err := r.session.DeclareQueue("q", broker.QueueOptions{Durable: true, Args: args}); err != nil {
		t.Fatal(err)
	}
	p := r.client("one", "a", "")
	say(p, "q@queues.localhost", "1")
	p.nothing()
	p.send("<message id='m' to='q@queues.localhost'><body>2</body></message>")
	p.refused(p.message(), "resource-constraint")
}

func TestAnExchangeIsAnAddress(t *testing.T) {
	r := newRig(t)
	r.declare("q")
	for _, name := range []string{"ex", "with.dot"} {
		if _, err := r.session.DeclareExchange(name, broker.ExchangeOptions{Type: "topic", Durable: true}); err != nil {
			t.Fatal(err)
		}
		if err := r.session.Bind(broker.Binding{Source: name, Dest: "q", Key: "a.#"}); err != nil {
			t.Fatal(err)
		}
	}
	p := r.client("one", "a", "")
	for _, to := range []string{"a.b@ex.exchanges.localhost", "ex@exchanges.localhost/a.b", "a.b@with.dot.exchanges.localhost", "ex@localhost/a.b"} {
		p.send("<message to='" + to + "'><body>" + to + "</body></message>")
		p.nothing()
		got, err := r.session.Get("q", true)
		if err != nil || got == nil || string(got.Key) != "a.b" || string(got.Body) != to {
			t.Errorf("%s: %+v, %v", to, got, err)
		}
	}
	p.send("<message to='b@ex.exchanges.localhost'><body>x</body></message>") // to nobody
	p.nothing()
	p.send("<message id='m' to='b@none.exchanges.localhost'><body>x</body></message>")
	p.refused(p.message(), "item-not-found")
}

func TestWhatComesFromAQueueSaysWhatItIs(t *testing.T) {
	r := newRig(t)
	r.declare("q")
	pub := r.session.NewPublisher()
	publish := func(body string, props field.Properties) {
		t.Helper()
		in := broker.Inbound{Key: []byte("q"), Body: []byte(body), Properties: props.Append(nil), Headers: props.Headers, TimestampMs: 1}
		if _, err := pub.Publish(&in); err != nil {
			t.Fatal(err)
		}
	}
	table := field.AppendTableInt(field.AppendTableString(nil, "k", "<v>"), "n", 7)
	publish("<body> & more", field.Properties{Headers: table, ContentType: []byte("text/x"), CorrelationID: []byte("c"), MessageID: []byte("mid"), Flags: field.FlagHeaders | field.FlagContentType | field.FlagCorrelationID | field.FlagMessageID})
	publish("\x00\xff", field.Properties{})
	pub.Store()
	if err := pub.Commit(nil); err != nil {
		t.Fatal(err)
	}
	p := r.client("one", "a", "")
	p.send("<presence to='q@queues.localhost'/>")
	m := p.message()
	text := m.String()
	if body(m) != "<body> & more" || m.ChildText(stanza.NSClient, "thread") != "c" || m.Attr("id") != "mid" {
		t.Error(m)
	}
	contains(t, text, "<header name='k'>&lt;v&gt;</header>")
	contains(t, text, "<header name='n'>7</header>")
	contains(t, text, "<header name='content-type'>text/x</header>")
	contains(t, text, "offset='0'")
	contains(t, text, "key='q'")
	m = p.message()
	if c := m.Child(NSLeveret, "payload"); c == nil || c.Text() != "AP8=" || m.Child("urn:xmpp:fallback:0", "fallback") == nil || m.Attr("id") != "1" {
		t.Error(m)
	}
}

func TestReceiptsSettleWhereTheyAreAskedFor(t *testing.T) {
	r := newRig(t)
	q := r.declare("q")
	p := r.client("one", "a", "")
	say(p, "q@queues.localhost", "1", "2", "3")
	p.send("<presence to='q@queues.localhost'><consume xmlns='" + NSLeveret + "' ack='receipt' prefetch='2'/></presence>")
	first, second := p.message(), p.message()
	if first.Child(nsReceipts, "request") == nil || body(second) != "2" {
		t.Fatal(first)
	}
	p.nothing() // two are held
	p.send("<message to='" + first.Attr("from") + "'><received xmlns='" + nsReceipts + "' id='" + first.Attr("id") + "'/></message>")
	wantBodies(t, p.got(1), "3")
	p.send("<message type='error' to='" + second.Attr("from") + "'><error type='wait'/></message>")
	if m := p.message(); body(m) != "2" || m.Child(NSLeveret, "record").Attr("redelivered") != "true" {
		t.Error(m)
	}
	p.send("<presence to='q@queues.localhost' type='unavailable'/>")
	for p.next().Attr("type") != "unavailable" {
	}
	r.ready(q, 2)
	if n := q.Consumers(); n != 0 {
		t.Error(n)
	}
}

func TestAQueueThatIsDeletedTellsItsConsumers(t *testing.T) {
	r := newRig(t)
	r.declare("q")
	p := r.client("one", "a", "")
	p.send("<presence to='q@queues.localhost'/>")
	p.next()
	if _, err := r.session.DeleteQueue("q", false, false); err != nil {
		t.Fatal(err)
	}
	if e := p.next(); e.Attr("type") != "unavailable" || e.Attr("from") != "q@queues.localhost" {
		t.Error(e)
	}
	p.send("<presence to='q@queues.localhost' id='x'/>")
	p.refused(p.next(), "item-not-found")
}

func TestRequestsAreAnsweredOnce(t *testing.T) {
	r := newRig(t)
	p := r.client("one", "a", "<presence/>")
	other := r.client("two", "b", "<presence/>")
	for name, c := range map[string]struct{ kind, to, payload, condition string }{
		"unknown to the domain":        {"get", "localhost", "<x xmlns='urn:x'/>", "service-unavailable"},
		"unknown to the account":       {"get", "", "<x xmlns='urn:x'/>", "service-unavailable"},
		"another's account":            {"get", "two@localhost", "<query xmlns='jabber:iq:roster'/>", "service-unavailable"},
		"a resource that is not there": {"get", "two@localhost/x", "<ping xmlns='urn:xmpp:ping'/>", "service-unavailable"},
		"no such user":                 {"get", "nobody@localhost", "<ping xmlns='urn:xmpp:ping'/>", "service-unavailable"},
		"no such service":              {"get", "x.localhost", "<ping xmlns='urn:xmpp:ping'/>", "remote-server-not-found"},
		"below a service":              {"get", "x.queues.localhost", "<ping xmlns='urn:xmpp:ping'/>", "remote-server-not-found"},
		"type":                         {"ask", "", "<ping xmlns='urn:xmpp:ping'/>", "bad-request"},
		"two payloads":                 {"get", "", "<ping xmlns='urn:xmpp:ping'/><ping xmlns='urn:xmpp:ping'/>", "bad-request"},
		"no payload":                   {"get", "", "", "bad-request"},
		"bind":                         {"set", "", "<bind xmlns='" + nsBind + "'/>", "not-allowed"},
		"node":                         {"get", "localhost", "<query xmlns='" + nsInfo + "' node='x'/>", "item-not-found"},
	} {
		t.Log(name)
		p.refused(p.ask(c.kind, c.to, c.payload), c.condition)
	}
	p.send("<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
	p.refused(p.next(), "bad-request")
	r.declare("q")
	p.send("<iq type='result' id='r' to='q@queues.localhost'/><iq type='error' id='r' to='queues.localhost'/><iq type='result' id='r' to='exchanges.localhost'/>")
	p.nothing()
	p.send("<iq type='result' id='r'/><iq type='error' id='r' to='localhost'/><iq type='result' id='r' to='two@localhost/none'/>")
	p.nothing()
	p.send("<iq type='get' id='7' to='" + other.jid + "'><x xmlns='urn:x'/></iq>")
	got := other.next()
	if got.Attr("from") != p.jid || got.Child("urn:x", "x") == nil {
		t.Fatal(got)
	}
	other.send("<iq type='result' id='7' to='" + p.jid + "'/>")
	if e := p.next(); e.Attr("id") != "7" || e.Attr("from") != other.jid {
		t.Error(e)
	}
	for _, payload := range []string{"<query xmlns='jabber:iq:version'/>", "<time xmlns='urn:xmpp:time'/>", "<query xmlns='jabber:iq:last'/>", "<query xmlns='" + nsInfo + "'/>"} {
		if e := p.ask("get", "localhost", payload); e.Attr("type") != "result" || e.First() == nil {
			t.Error(e)
		}
	}
}

func TestCapsAreThoseOfTheDomain(t *testing.T) {
	r := newRig(t)
	p := r.dial()
	c := p.signIn("one").Child(nsCaps, "c")
	p.send("<iq type='set' id='b'><bind xmlns='" + nsBind + "'/></iq>")
	p.next()
	e := p.ask("get", "localhost", "<query xmlns='"+nsInfo+"' node='"+c.Attr("node")+"#"+c.Attr("ver")+"'/>")
	q := e.Child(nsInfo, "query")
	var features []string
	for _, f := range q.Children() {
		if f.Local == "feature" {
			features = append(features, f.Attr("var"))
		}
	}
	if q.Attr("node") == "" || len(features) != len(serverFeatures) {
		t.Error(e)
	}
}
