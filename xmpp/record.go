package xmpp

import (
	"encoding/base64"
	"slices"
	"strconv"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// Messages as records, and back.
//
//	body               the body, content-type text/plain, content-encoding utf-8
//	id                 message-id
//	thread             correlation-id
//	subject            header subject
//	type               type
//	from               header xmpp-from, reply-to; the user's name is user-id
//	SHIM headers       headers; those with names of properties are properties
//	all children       header xmpp-stanza, where the rows above don't say all
const (
	nsSHIM     = "http://jabber.org/protocol/shim"
	nsReceipts = "urn:xmpp:receipts"
	nsDelay    = "urn:xmpp:delay"
	// NSLeveret is the namespace of what no standard has a word for.
	NSLeveret = "urn:leveret:0"

	headerFrom    = "xmpp-from"
	headerStanza  = "xmpp-stanza"
	headerSubject = "subject"

	stampFormat = "2006-01-02T15:04:05.000Z"
)

// now is the clock of what comes without one.
var now = time.Now

// errTooLong says that a name or a header does not fit into what it becomes.
var errTooLong = stanza.Fail("not-acceptable", "a name or a header of the message is longer than 255 bytes")

// inboundOf makes a record of a message, but for where it goes; user has sent it. It is the caller's own.
func inboundOf(e *stanza.Element, user string) *broker.Inbound {
	p := field.Properties{DeliveryMode: 2, Flags: field.FlagDeliveryMode}
	set := func(into *[]byte, flag uint16, value string) {
		if value != "" && len(value) <= 255 {
			*into, p.Flags = []byte(value), p.Flags|flag
		}
	}
	var table []byte
	from := e.Attr("from")
	table = field.AppendTableString(table, headerFrom, from)
	set(&p.ReplyTo, field.FlagReplyTo, from)
	set(&p.UserID, field.FlagUserID, user)
	set(&p.MessageID, field.FlagMessageID, e.Attr("id"))
	set(&p.Type, field.FlagType, e.Attr("type"))
	in := &broker.Inbound{}
	simple := e.Lang() == ""
	seen := 0
	for _, c := range e.Children() {
		bare := len(c.Attrs) == 0 && c.First() == nil
		switch {
		case c.Is(stanza.NSClient, "body") && bare && seen&1 == 0:
			in.Body = []byte(c.Text())
			set(&p.ContentType, field.FlagContentType, "text/plain")
			set(&p.ContentEncoding, field.FlagContentEncoding, "utf-8")
			seen |= 1
		case c.Is(stanza.NSClient, "subject") && bare && seen&2 == 0:
			table = field.AppendTableString(table, headerSubject, c.Text())
			seen |= 2
		case c.Is(stanza.NSClient, "thread") && bare && seen&4 == 0 && len(c.Text()) <= 255:
			set(&p.CorrelationID, field.FlagCorrelationID, c.Text())
			seen |= 4
		case c.Is(nsSHIM, "headers") && seen&8 == 0:
			table = appendSHIM(table, &p, c)
			seen |= 8
		case c.Is(nsReceipts, "request"):
		default:
			simple = false
		}
	}
	if !simple {
		whole := &stanza.Element{Space: stanza.NSClient, Local: "message", Nodes: e.Nodes}
		for _, a := range e.Attrs {
			if a.Space != "" {
				whole.Attrs = append(whole.Attrs, a)
			}
		}
		table = field.AppendTableString(table, headerStanza, whole.String())
		if seen&1 == 0 {
			in.Body, p.ContentType = firstContent(e)
			p.Flags |= field.FlagContentType
		}
	}
	p.Headers, p.Flags = table, p.Flags|field.FlagHeaders
	in.Properties = p.Append(nil)
	in.Headers = table
	return in
}

// firstContent is the body of a record of a message whose body is not simple.
func firstContent(e *stanza.Element) (body, contentType []byte) {
	if b := e.Child(stanza.NSClient, "body"); b != nil && b.First() == nil {
		return []byte(b.Text()), []byte("text/plain")
	}
	if first := e.First(); first != nil {
		return first.AppendTo(nil, ""), []byte("application/xml")
	}
	return nil, []byte("text/plain")
}

// appendSHIM takes the headers of XEP-0131.
func appendSHIM(table []byte, p *field.Properties, list *stanza.Element) []byte {
	for _, h := range list.Children() {
		name, value := h.Attr("name"), h.Text()
		if !h.Is(nsSHIM, "header") || name == "" || len(name) > 255 || ours(name) {
			continue
		}
		if len(value) <= 255 && takeProperty(p, name, value) {
			continue
		}
		table = field.AppendTableString(table, name, value)
	}
	return table
}

// ours tells whether a header is one that stands for something else of a message.
func ours(name string) bool {
	return name == headerFrom || name == headerStanza || name == headerSubject
}

// takeProperty takes a header that is called as a property is.
func takeProperty(p *field.Properties, name, value string) bool {
	switch name {
	case "content-type":
		p.ContentType, p.Flags = []byte(value), p.Flags|field.FlagContentType
	case "content-encoding":
		p.ContentEncoding, p.Flags = []byte(value), p.Flags|field.FlagContentEncoding
	case "correlation-id":
		p.CorrelationID, p.Flags = []byte(value), p.Flags|field.FlagCorrelationID
	case "reply-to":
		p.ReplyTo, p.Flags = []byte(value), p.Flags|field.FlagReplyTo
	case "app-id":
		p.AppID, p.Flags = []byte(value), p.Flags|field.FlagAppID
	case "expiration":
		if broker.CheckExpiration([]byte(value)) != nil {
			return false
		}
		p.Expiration, p.Flags = []byte(value), p.Flags|field.FlagExpiration
	case "priority":
		n, err := strconv.ParseUint(value, 10, 8)
		if err != nil {
			return false
		}
		p.Priority, p.Flags = uint8(n), p.Flags|field.FlagPriority
	case "timestamp":
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil {
			return false
		}
		p.Timestamp, p.Flags = n, p.Flags|field.FlagTimestamp
	default:
		return false
	}
	return true
}

// outbound is how the messages of a queue are written as stanzas.
type outbound struct {
	to      string
	from    string // of the queue, without the offset; "" is the one who has sent it
	domain  string // that stamps it
	receipt bool   // it is asked for
}

// append writes a record as a message.
func (o *outbound) append(buf []byte, d *broker.Delivery) []byte {
	var p field.Properties
	if len(d.Properties) > 0 && p.Parse(d.Properties) != nil {
		p = field.Properties{}
	}
	sender, whole, subject := "", []byte(nil), []byte(nil)
	for t := field.NewIterator(p.Headers); t.Next(); {
		switch string(t.Name()) {
		case headerFrom:
			sender = string(t.Text())
		case headerStanza:
			whole = t.Text()
		case headerSubject:
			subject = t.Text()
		}
	}
	buf = append(buf, "<message to='"...)
	buf = stanza.AppendText(buf, o.to)
	buf = append(buf, "' from='"...)
	if o.from != "" {
		buf = append(strconv.AppendUint(append(stanza.AppendText(buf, o.from), '/'), uint64(d.Offset), 10), '\'')
	} else if _, err := stanza.ParseJID(sender); err == nil {
		buf = append(stanza.AppendText(buf, sender), '\'')
	} else {
		buf = append(append(buf, o.domain...), '\'')
	}
	if kind := string(p.Type); kind == "chat" || kind == "normal" || kind == "headline" {
		buf = append(append(append(buf, " type='"...), kind...), '\'')
	} else if o.from == "" {
		buf = append(buf, " type='chat'"...)
	}
	buf = append(buf, " id='"...)
	if len(p.MessageID) > 0 && stanza.Carries(p.MessageID) {
		buf = stanza.AppendText(buf, p.MessageID)
	} else {
		buf = strconv.AppendUint(buf, uint64(d.Offset), 10)
	}
	buf = append(buf, '\'')
	if inner, err := stanza.Parse(whole); len(whole) > 0 && err == nil && inner.Is(stanza.NSClient, "message") {
		buf = o.appendWhole(buf, inner)
	} else {
		buf = appendParts(append(buf, '>'), &p, subject, d.Body)
	}
	if o.from != "" {
		buf = appendSHIMOf(buf, &p)
		buf = appendRecord(buf, d)
	} else {
		buf = appendDelay(buf, o.domain, d.TimestampMs)
	}
	if o.receipt {
		buf = append(buf, "<request xmlns='"+nsReceipts+"'/>"...)
	}
	return append(buf, "</message>"...)
}

// appendWhole writes what an XMPP client has sent, but for what is written anew.
func (o *outbound) appendWhole(buf []byte, inner *stanza.Element) []byte {
	if lang := inner.Lang(); lang != "" {
		buf = append(stanza.AppendText(append(buf, " xml:lang='"...), lang), '\'')
	}
	buf = append(buf, '>')
	for _, c := range inner.Children() {
		if o.from != "" && (c.Is(nsSHIM, "headers") || c.Is(nsReceipts, "request")) {
			continue
		}
		buf = c.AppendTo(buf, stanza.NSClient)
	}
	return buf
}

// appendParts writes what the properties and the body of a record say.
func appendParts(buf []byte, p *field.Properties, subject, body []byte) []byte {
	if len(subject) > 0 && stanza.Carries(subject) {
		buf = append(stanza.AppendText(append(buf, "<subject>"...), subject), "</subject>"...)
	}
	if stanza.Carries(body) {
		buf = append(stanza.AppendText(append(buf, "<body>"...), body), "</body>"...)
	} else {
		// Clients that know nothing of the payload show the body, and drop a message without one (XEP-0428).
		buf = strconv.AppendInt(append(buf, "<body>("...), int64(len(body)), 10)
		buf = append(buf, " bytes that are no text)</body><fallback xmlns='urn:xmpp:fallback:0' for='"+NSLeveret+"'><body/></fallback><payload xmlns='"+NSLeveret+"' encoding='base64'>"...)
		buf = append(base64.StdEncoding.AppendEncode(buf, body), "</payload>"...)
	}
	if p.Flags&field.FlagCorrelationID != 0 && stanza.Carries(p.CorrelationID) {
		buf = append(stanza.AppendText(append(buf, "<thread>"...), p.CorrelationID), "</thread>"...)
	}
	return buf
}

// appendSHIMOf writes headers and properties as XEP-0131 has them. What is not a scalar has no place there.
func appendSHIMOf(buf []byte, p *field.Properties) []byte {
	start := len(buf)
	buf = append(buf, "<headers xmlns='"+nsSHIM+"'>"...)
	empty := len(buf)
	header := func(name, value []byte) {
		if !stanza.Carries(name) || !stanza.Carries(value) {
			return
		}
		buf = append(stanza.AppendText(append(buf, "<header name='"...), name), "'>"...)
		buf = append(stanza.AppendText(buf, value), "</header>"...)
	}
	var space [64]byte
	for _, of := range []struct {
		flag  uint16
		name  string
		value []byte
	}{
		{field.FlagContentType, "content-type", p.ContentType}, {field.FlagContentEncoding, "content-encoding", p.ContentEncoding},
		{field.FlagReplyTo, "reply-to", p.ReplyTo}, {field.FlagExpiration, "expiration", p.Expiration},
		{field.FlagUserID, "user-id", p.UserID}, {field.FlagAppID, "app-id", p.AppID},
		{field.FlagPriority, "priority", strconv.AppendUint(space[:0:8], uint64(p.Priority), 10)},
		{field.FlagTimestamp, "timestamp", strconv.AppendUint(space[8:8], p.Timestamp, 10)},
	} {
		if p.Flags&of.flag != 0 {
			header([]byte(of.name), of.value)
		}
	}
	for t := field.NewIterator(p.Headers); t.Next(); {
		if string(t.Name()) == headerStanza || string(t.Name()) == headerSubject {
			continue
		}
		if text, ok := t.AppendValueText(space[:0]); ok {
			header(t.Name(), text)
		}
	}
	if len(buf) == empty {
		return buf[:start]
	}
	return append(buf, "</headers>"...)
}

// appendRecord writes where a message lies, and where it was published to.
func appendRecord(buf []byte, d *broker.Delivery) []byte {
	buf = append(buf, "<record xmlns='"+NSLeveret+"' offset='"...)
	buf = strconv.AppendUint(buf, uint64(d.Offset), 10)
	buf = append(stanza.AppendText(append(buf, "' exchange='"...), d.Exchange), "' key='"...)
	buf = append(stanza.AppendText(buf, d.Key), "' stamp='"...)
	buf = append(time.UnixMilli(d.TimestampMs).UTC().AppendFormat(buf, stampFormat), '\'')
	if d.Redelivered {
		buf = append(buf, " redelivered='true'"...)
	}
	return append(buf, "/>"...)
}

// appendDelay writes when a message was stored (XEP-0203).
func appendDelay(buf []byte, from string, ms int64) []byte {
	buf = append(stanza.AppendText(append(buf, "<delay xmlns='"+nsDelay+"' from='"...), from), "' stamp='"...)
	return append(time.UnixMilli(ms).UTC().AppendFormat(buf, stampFormat), "'/>"...)
}

// withNamespace gives a stanza that was written for a stream the namespace that it has there.
func withNamespace(b []byte) []byte {
	at := slices.IndexFunc(b, func(c byte) bool { return c == ' ' || c == '>' || c == '/' })
	return slices.Concat(b[:at], []byte(" xmlns='"+stanza.NSClient+"'"), b[at:])
}
