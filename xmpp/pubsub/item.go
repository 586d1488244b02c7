package pubsub

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// Namespaces.
const (
	nsPubsub  = "http://jabber.org/protocol/pubsub"
	nsOwner   = nsPubsub + "#owner"
	nsEvent   = nsPubsub + "#event"
	nsErrors  = nsPubsub + "#errors"
	nsShim    = "http://jabber.org/protocol/shim"
	nsRSM     = "http://jabber.org/protocol/rsm"
	nsDelay   = "urn:xmpp:delay"
	nsMessage = "urn:leveret:0"
)

const (
	typeXML      = "application/xml"
	headerFrom   = "xmpp-from"
	headerStanza = "xmpp-stanza" // of a message that was sent to an address of the queue's
	maxShort     = 255           // bytes of a property that is text, and of the name of a header
)

// item is a message as an item of a node. It owns what is in it.
type item struct {
	id          string
	partition   int
	offset      message.Offset
	timestampMs int64
	payload     *stanza.Element // nil: none
	headers     *stanza.Element // SHIM; nil: none
	size        int             // about what it takes in memory
}

// itemBytes is about what an item takes besides, and treeBytes what a byte of it takes while it is built and sent.
const (
	itemBytes = 512
	treeBytes = 6
)

// maxBodyBytes is the largest body, and the largest properties, that an item has: others come without, since few clients take a stanza
// of that size. Who wants them reads the queue by another protocol.
const maxBodyBytes = 1 << 20

// read makes an item of a message. Its id is the message's, or where it stands in the log.
//
// An XML element that an XMPP client published, or who says so by its content type, is the payload as it is. All else is put into a
// message of nsMessage:
//
//	<message xmlns='urn:leveret:0' offset='7' key='a.b' content-type='text/plain' persistent='true'>
//	  <header name='n' type='I'>1</header>
//	  <body>text</body>                        or <body encoding='base64'>…</body>
//	</message>
func read(d *broker.Delivery, partition int) *item {
	it := &item{partition: partition, offset: d.Offset, timestampMs: d.TimestampMs, size: min(len(d.Body), maxBodyBytes) + min(len(d.Properties), maxBodyBytes) + len(d.Key) + itemBytes}
	var p field.Properties
	if len(d.Properties) > 0 && p.Parse(d.Properties) != nil {
		p = field.Properties{}
	}
	if len(d.Properties) > maxBodyBytes {
		p.Headers = nil
	}
	if p.Flags&field.FlagMessageID != 0 && len(p.MessageID) > 0 && stanza.Carries(p.MessageID) {
		it.id = string(p.MessageID)
	} else {
		it.id = strconv.Itoa(partition) + "-" + strconv.FormatInt(int64(d.Offset), 10)
	}
	if p.Flags&field.FlagContentType != 0 && len(d.Body) <= maxBodyBytes && isXML(string(p.ContentType)) {
		if len(d.Body) == 0 {
			it.headers = shim(&p, d.Redelivered)
			return it
		}
		if e, err := stanza.Parse(d.Body); err == nil {
			it.payload, it.headers = e, shim(&p, d.Redelivered)
			return it
		}
	}
	it.payload = wrap(d, &p)
	it.headers = shimOf(p.Headers, nil)
	return it
}

// isXML tells whether a body of that type may be an element.
func isXML(contentType string) bool {
	base, _, _ := strings.Cut(contentType, ";")
	base = strings.ToLower(strings.TrimSpace(base))
	return base == typeXML || base == "text/xml" || strings.HasSuffix(base, "+xml")
}

// texts are the properties that are attributes of a message, in their order.
var texts = [...]struct {
	flag uint16
	name string
	of   func(*field.Properties) *[]byte
}{
	{field.FlagContentType, "content-type", func(p *field.Properties) *[]byte { return &p.ContentType }},
	{field.FlagContentEncoding, "content-encoding", func(p *field.Properties) *[]byte { return &p.ContentEncoding }},
	{field.FlagCorrelationID, "correlation-id", func(p *field.Properties) *[]byte { return &p.CorrelationID }},
	{field.FlagReplyTo, "reply-to", func(p *field.Properties) *[]byte { return &p.ReplyTo }},
	{field.FlagExpiration, "expiration", func(p *field.Properties) *[]byte { return &p.Expiration }},
	{field.FlagType, "type", func(p *field.Properties) *[]byte { return &p.Type }},
	{field.FlagUserID, "user-id", func(p *field.Properties) *[]byte { return &p.UserID }},
	{field.FlagAppID, "app-id", func(p *field.Properties) *[]byte { return &p.AppID }},
}

// wrap is a message that is no element.
func wrap(d *broker.Delivery, p *field.Properties) *stanza.Element {
	m := stanza.New(nsMessage, "message", "offset", strconv.FormatInt(int64(d.Offset), 10))
	attr := func(name string, value []byte) {
		if stanza.Carries(value) {
			m.Set(name, string(value))
		}
	}
	attr("key", d.Key)
	if len(d.Exchange) > 0 {
		attr("exchange", d.Exchange)
	}
	for i := range texts {
		if p.Flags&texts[i].flag != 0 {
			attr(texts[i].name, *texts[i].of(p))
		}
	}
	if p.Flags&field.FlagPriority != 0 {
		m.Set("priority", strconv.Itoa(int(p.Priority)))
	}
	if p.Flags&field.FlagTimestamp != 0 {
		m.Set("timestamp", strconv.FormatUint(p.Timestamp, 10))
	}
	if p.Flags&field.FlagDeliveryMode != 0 && p.DeliveryMode == 2 {
		m.Set("persistent", "true")
	}
	if d.Redelivered {
		m.Set("redelivered", "true")
	}
	for t := field.NewIterator(p.Headers); t.Next(); {
		if e := header(&t); e != nil {
			m.Add(e)
		}
	}
	if len(d.Body) > maxBodyBytes {
		return m.Set("size", strconv.Itoa(len(d.Body)))
	}
	body := stanza.New(nsMessage, "body")
	if stanza.Carries(d.Body) {
		body.AddText(string(d.Body))
	} else {
		body.Set("encoding", "base64").AddText(base64.StdEncoding.EncodeToString(d.Body))
	}
	return m.Add(body)
}

// header is a field of the headers table with its type; nil for what has no text.
func header(t *field.Iterator) *stanza.Element {
	if !stanza.Carries(t.Name()) || string(t.Name()) == headerStanza {
		return nil
	}
	e := stanza.New(nsMessage, "header", "name", string(t.Name()), "type", string(rune(t.Tag())))
	switch text, ok := t.AppendValueText(nil); {
	case ok && stanza.Carries(text):
		return e.AddText(string(text))
	case t.Tag() == field.TagBytes || t.Tag() == field.TagString:
		return e.Set("encoding", "base64").AddText(base64.StdEncoding.EncodeToString(t.Raw()))
	}
	return nil
}

// shim are the headers of a message whose payload is its body, in the form of XEP-0131, and what of its properties
// has no other place.
func shim(p *field.Properties, redelivered bool) *stanza.Element {
	var more []string
	if _, ours := field.Find(p.Headers, headerFrom); !ours {
		for i := range texts {
			if p.Flags&texts[i].flag != 0 && stanza.Carries(*texts[i].of(p)) {
				more = append(more, texts[i].name, string(*texts[i].of(p)))
			}
		}
		if p.Flags&field.FlagDeliveryMode != 0 && p.DeliveryMode == 2 {
			more = append(more, "persistent", "true")
		}
	}
	if redelivered {
		more = append(more, "redelivered", "true")
	}
	return shimOf(p.Headers, more)
}

// shimOf are the scalar headers as text, and more of them: names and values by turns.
func shimOf(table []byte, more []string) *stanza.Element {
	var out *stanza.Element
	add := func(name, value string) {
		if out == nil {
			out = stanza.New(nsShim, "headers")
		}
		out.Add(stanza.New(nsShim, "header", "name", name).AddText(value))
	}
	for t := field.NewIterator(table); t.Next(); {
		if string(t.Name()) == headerFrom || string(t.Name()) == headerStanza || !stanza.Carries(t.Name()) {
			continue
		}
		if text, ok := t.AppendValueText(nil); ok && stanza.Carries(text) {
			add(string(t.Name()), string(text))
		}
	}
	for i := 0; i+1 < len(more); i += 2 {
		add(more[i], more[i+1])
	}
	return out
}

// element is the item in a namespace.
func (it *item) element(space string) *stanza.Element {
	e := stanza.New(space, "item", "id", it.id)
	return e.Add(it.payload)
}

// post is what a client publishes, as a message.
type post struct {
	id         string
	key        []byte
	properties []byte
	headers    []byte
	body       []byte
	persistent bool
}

// write makes a message of an item. payload is nil for one without; more are SHIM headers beside it.
func write(id string, payload *stanza.Element, more []*stanza.Element, from stanza.JID, user string, transient bool) (*post, *stanza.Error) {
	out := &post{id: id, persistent: !transient}
	p := field.Properties{Flags: field.FlagMessageID | field.FlagDeliveryMode, MessageID: []byte(id), DeliveryMode: 1}
	var table []byte
	switch {
	case len(id) > maxShort:
		return nil, withMore(stanza.Fail("bad-request", "the id of an item has at most 255 bytes"), "invalid-payload")
	case payload == nil:
		p.ContentType, p.Flags = []byte(typeXML), p.Flags|field.FlagContentType
	case payload.Is(nsMessage, "message"):
		var e *stanza.Error
		if table, e = unwrap(payload, &p, out); e != nil {
			return nil, e
		}
	default:
		p.ContentType, p.Flags = []byte(typeXML), p.Flags|field.FlagContentType
		out.body = payload.AppendTo(nil, "")
	}
	for _, h := range more {
		var e *stanza.Error
		if table, e = readShim(table, h, &p, out); e != nil {
			return nil, e
		}
	}
	if p.Flags&field.FlagUserID == 0 && len(user) <= maxShort {
		p.UserID, p.Flags = []byte(user), p.Flags|field.FlagUserID
	} else if string(p.UserID) != user {
		return nil, stanza.Fail("not-acceptable", "user-id must be the user who publishes")
	}
	table = field.AppendString(field.AppendName(table, headerFrom), []byte(from.String()))
	if out.persistent {
		p.DeliveryMode = 2
	}
	p.Headers, p.Flags = table, p.Flags|field.FlagHeaders
	out.headers = table
	out.properties = p.Append(nil)
	return out, nil
}

// readShim adds SHIM headers to a table. What names a property is the property.
func readShim(table []byte, headers *stanza.Element, p *field.Properties, out *post) ([]byte, *stanza.Error) {
	for _, h := range children(headers, nsShim, "header") {
		name := h.Attr("name")
		if name == "" || len(name) > maxShort {
			return nil, stanza.Fail("bad-request", "a header needs a name of 1 to 255 bytes")
		}
		known, e := property(p, out, name, h.Text())
		if e != nil {
			return nil, e
		}
		if !known && name != headerFrom {
			table = field.AppendString(field.AppendName(table, name), []byte(h.Text()))
		}
	}
	return table, nil
}

// property takes what is a property of the message.
func property(p *field.Properties, out *post, name, value string) (known bool, e *stanza.Error) {
	for i := range texts {
		if texts[i].name != name {
			continue
		}
		if len(value) > maxShort || !utf8.ValidString(value) {
			return true, stanza.Fail("bad-request", "'"+name+"' has at most 255 bytes")
		}
		if name == "expiration" {
			if err := broker.CheckExpiration([]byte(value)); err != nil {
				return true, stanza.Fail("bad-request", err.Error())
			}
		}
		*texts[i].of(p), p.Flags = []byte(value), p.Flags|texts[i].flag
		return true, nil
	}
	number := func(bits int) (uint64, *stanza.Error) {
		n, err := strconv.ParseUint(value, 10, bits)
		if err != nil {
			return 0, stanza.Fail("bad-request", "'"+name+"' is not a number that fits")
		}
		return n, nil
	}
	switch name {
	case "priority":
		n, e := number(8)
		p.Priority, p.Flags = uint8(n), p.Flags|field.FlagPriority
		return true, e
	case "timestamp":
		n, e := number(63)
		p.Timestamp, p.Flags = n, p.Flags|field.FlagTimestamp
		return true, e
	case "persistent":
		on, ok := boolean(value)
		if !ok {
			return true, stanza.Fail("bad-request", "'persistent' is neither true nor false")
		}
		out.persistent = on
		return true, nil
	case "key":
		if len(value) > maxShort {
			return true, stanza.Fail("bad-request", "a routing key has at most 255 bytes")
		}
		out.key = []byte(value)
		return true, nil
	case "redelivered":
		return true, nil // not the publisher's to say
	}
	return false, nil
}

// unwrap reads a message of nsMessage: what wrap has written.
func unwrap(m *stanza.Element, p *field.Properties, out *post) (table []byte, e *stanza.Error) {
	for i := range m.Attrs {
		a := &m.Attrs[i]
		if a.Space != "" {
			continue
		}
		if _, e := property(p, out, a.Local, a.Value); e != nil {
			return nil, e
		}
	}
	for _, h := range children(m, nsMessage, "header") {
		if table, e = readHeader(table, h); e != nil {
			return nil, e
		}
	}
	if b := m.Child(nsMessage, "body"); b != nil {
		out.body, e = decoded(b)
	}
	return table, e
}

// readHeader adds a header with a type to a table.
func readHeader(table []byte, h *stanza.Element) ([]byte, *stanza.Error) {
	name := h.Attr("name")
	if name == "" || len(name) > maxShort {
		return nil, stanza.Fail("bad-request", "a header needs a name of 1 to 255 bytes")
	}
	value, e := decoded(h)
	if e != nil || name == headerFrom {
		return table, e
	}
	table = field.AppendName(table, name)
	switch kind := h.Attr("type"); kind {
	case "", "S":
		return field.AppendString(table, value), nil
	case "x":
		return field.AppendByteArray(table, value), nil
	case "V":
		return field.AppendVoid(table), nil
	case "t":
		on, ok := boolean(string(value))
		if !ok {
			return nil, stanza.Fail("bad-request", "header '"+name+"' is neither true nor false")
		}
		return field.AppendBool(table, on), nil
	case "b", "B", "s", "u", "I", "i", "l", "L":
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil {
			return nil, stanza.Fail("bad-request", "header '"+name+"' is not a whole number")
		}
		if kind == "I" && n == int64(int32(n)) {
			return field.AppendInt32(table, int32(n)), nil
		}
		return field.AppendInt(table, n), nil
	default:
		return nil, stanza.Fail("bad-request", "header '"+name+"' has a type that can't be published here: '"+clip(kind)+"'; take S, x, t, V or one of whole numbers")
	}
}

// decoded is the text of an element, or the bytes that it stands for.
func decoded(e *stanza.Element) ([]byte, *stanza.Error) {
	text := e.Text()
	if e.Attr("encoding") != "base64" {
		return []byte(text), nil
	}
	b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, stanza.Fail("bad-request", "a body or header that is called base64 is not")
	}
	return b, nil
}

// boolean reads xs:boolean.
func boolean(text string) (on, ok bool) {
	switch strings.TrimSpace(text) {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

// children are the elements in e that are called so.
func children(e *stanza.Element, space, local string) (out []*stanza.Element) {
	if e == nil {
		return nil
	}
	for i := range e.Nodes {
		if c := e.Nodes[i].Element; c != nil && c.Is(space, local) {
			out = append(out, c)
		}
	}
	return out
}

// clip bounds what is quoted of a client's words.
func clip(text string) string {
	if len(text) <= 64 {
		return text
	}
	return strings.ToValidUTF8(text[:64], "") + "..."
}
