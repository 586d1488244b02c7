package pubsub

import (
	"errors"
	"testing"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// Whatever a client asks for, it gets one answer, which is an element again.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		pub("<create node='n'/>"), pub("<create/><configure><x xmlns='jabber:x:data' type='submit'><field var='pubsub#max_items'><value>9</value></field></x></configure>"),
		pub("<publish node='n'><item id='a'><p xmlns='t'/></item></publish><publish-options><x xmlns='jabber:x:data'/></publish-options>"),
		pub("<publish node='n'><item><message xmlns='" + nsMessage + "' priority='300' key='k'><header name='a' type='I'>1</header><body encoding='base64'>AA==</body></message></item></publish>"),
		pub("<subscribe node='n' jid='one@localhost'/><options><x xmlns='jabber:x:data'><field var='leveret#mode'><value>one</value></field></x></options>"),
		pub("<subscribe node='x/amq.topic' jid='one@localhost/r'/><headers xmlns='" + nsShim + "'><header name='key'>a.#</header></headers>"),
		pub("<unsubscribe node='n' jid='one@localhost'/>"), pub("<items node='n' max_items='3'/><set xmlns='" + nsRSM + "'><max>1</max><before/></set>"),
		pub("<items node='n'><item id='0-0'/></items>"), pub("<options node='n' jid='one@localhost'/>"), pub("<subscriptions/>"), pub("<affiliations node='n'/>"),
		owner("<configure node='n'/>"), owner("<purge node='n'/>"), owner("<delete node='n'/>"), owner("<subscriptions node='n'><subscription jid='one@localhost' subscription='none'/></subscriptions>"),
		"<query xmlns='" + nsDiscoItems + "'><set xmlns='" + nsRSM + "'><after>n</after></set></query>", "<query xmlns='" + nsDiscoInfo + "' node='n'/>",
	} {
		f.Add(true, []byte(s))
		f.Add(false, []byte(s))
	}
	r := startFuzz(f)
	p := r.peer("one@localhost/r")
	r.s.Join(p, true)
	f.Fuzz(func(t *testing.T, set bool, payload []byte) {
		in, err := stanza.Parse(payload)
		if err != nil {
			return
		}
		kind := map[bool]string{true: "set", false: "get"}[set]
		iq := stanza.New(stanza.NSClient, "iq", "type", kind, "id", "1", "to", "pubsub.localhost", "from", p.jid.String()).Add(in)
		for len(p.events) > 0 {
			<-p.events
		}
		var answer *stanza.Element
		if err := r.s.Answer(p, iq); err != nil {
			var own *stanza.Error
			if e := asError(err); errors.As(err, &own) && own != e {
				t.Error("another error")
			}
			answer = stanza.Refusal(iq, asError(err))
		} else {
			answer = <-p.answer
		}
		if _, err := stanza.Parse(answer.AppendTo(nil, "")); err != nil {
			t.Errorf("%v: %s", err, answer)
		}
	})
}

// Whatever a message of another protocol holds, it is an item that XML can carry; and what was published here comes back
// as it was.
func FuzzItem(f *testing.F) {
	f.Add([]byte("text/plain"), []byte("id"), []byte("name"), []byte("value"), []byte("body"))
	f.Add([]byte("application/xml"), []byte(""), []byte("\x00"), []byte("\xff"), []byte("<a xmlns='b'><c/>t</a>"))
	f.Add([]byte("application/atom+xml; charset=utf-8"), []byte("\xff"), []byte("n"), []byte("v"), []byte("<a"))
	f.Fuzz(func(t *testing.T, contentType, id, name, value, body []byte) {
		table := field.AppendString(field.AppendName(nil, string(name)), value)
		props := field.Properties{ContentType: short(contentType), MessageID: short(id), Headers: table, DeliveryMode: 2}
		d := &broker.Delivery{Offset: 7, Key: name, Properties: props.AppendTo(nil), Body: body, Redelivered: true}
		it := read(d, 0)
		e := it.element(nsEvent)
		e.Add(it.headers)
		text := e.AppendTo(nil, "")
		back, err := stanza.Parse(text)
		if err != nil {
			t.Fatalf("%v: %q", err, text)
		}
		m := back.First()
		if m == nil || !m.Is(nsMessage, "message") {
			return
		}
		out, refused := write("i", m, nil, stanza.JID{Local: "u", Domain: "d"}, m.Attr("user-id"), false)
		if refused != nil {
			return
		}
		if string(out.body) != string(body) {
			t.Errorf("%q became %q", body, out.body)
		}
	})
}

func short(b []byte) []byte { return b[:min(len(b), 255)] }
