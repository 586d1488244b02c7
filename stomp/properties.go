package stomp

import (
	"strconv"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/stomp/frame"
)

// Headers and AMQP's properties. What stands in neither list is a header of the headers table, text both ways.
//
//	content-type, content-encoding, correlation-id, reply-to, expiration, type, user-id, app-id   the same
//	amqp-message-id        message-id
//	priority, timestamp    numbers
//	persistent:true        delivery-mode 2
//
// Those of the protocol itself are not the message's: they are dropped on the way in, and on the way out a header
// of AMQP that is called so would be taken for one of them.
func ofProtocol(name []byte) bool {
	switch string(name) {
	case "destination", "content-length", "receipt", "transaction", "message-id", "ack", "subscription", "redelivered":
		return true
	}
	return false
}

// maxShort is the longest text of a property, and the longest name of a header.
const maxShort = 255

// readProperties makes AMQP's properties of a SEND's headers, unescaped; table is room for the headers table.
func readProperties(f *frame.Frame, p *field.Properties, table []byte) ([]byte, error) {
	*p = field.Properties{}
	for i := range f.Headers {
		name, value := f.Headers[i].Name, f.Headers[i].Value
		if ofProtocol(name) {
			continue
		}
		if first, _ := f.Get(string(name)); len(first) != len(value) || len(value) > 0 && &first[0] != &value[0] {
			continue // the first one counts
		}
		known, err := takeProperty(p, name, value)
		if err != nil {
			return table, err
		}
		if known {
			continue
		}
		if len(name) > maxShort {
			return table, fail("Invalid header", "the name of a header is longer than %d bytes: '%s...'", maxShort, name[:40])
		}
		table = append(append(table, byte(len(name))), name...)
		table = field.AppendString(table, value)
	}
	if len(table) > 0 {
		p.Headers, p.Flags = table, p.Flags|field.FlagHeaders
	}
	return table, nil
}

// takeProperty takes a header that is a property.
func takeProperty(p *field.Properties, name, value []byte) (known bool, err error) {
	text := func(into *[]byte, flag uint16) (bool, error) {
		if len(value) > maxShort {
			return true, fail("Invalid header", "'%s' is longer than %d bytes", name, maxShort)
		}
		*into, p.Flags = value, p.Flags|flag
		return true, nil
	}
	switch string(name) {
	case "content-type":
		return text(&p.ContentType, field.FlagContentType)
	case "content-encoding":
		return text(&p.ContentEncoding, field.FlagContentEncoding)
	case "correlation-id":
		return text(&p.CorrelationID, field.FlagCorrelationID)
	case "reply-to":
		return text(&p.ReplyTo, field.FlagReplyTo)
	case "expiration":
		if err := broker.CheckExpiration(value); err != nil {
			return true, err
		}
		return text(&p.Expiration, field.FlagExpiration)
	case "amqp-message-id":
		return text(&p.MessageID, field.FlagMessageID)
	case "type":
		return text(&p.Type, field.FlagType)
	case "user-id":
		return text(&p.UserID, field.FlagUserID)
	case "app-id":
		return text(&p.AppID, field.FlagAppID)
	case "priority":
		n, err := strconv.ParseUint(trim(value), 10, 8)
		if err != nil {
			return true, fail("Invalid header", "'priority' is not a number from 0 to 255: '%s'", clip(value))
		}
		p.Priority, p.Flags = uint8(n), p.Flags|field.FlagPriority
		return true, nil
	case "timestamp":
		n, err := strconv.ParseUint(trim(value), 10, 63)
		if err != nil {
			return true, fail("Invalid header", "'timestamp' is not a number: '%s'", clip(value))
		}
		p.Timestamp, p.Flags = n, p.Flags|field.FlagTimestamp
		return true, nil
	case "persistent":
		if isTrue(value) {
			p.DeliveryMode, p.Flags = 2, p.Flags|field.FlagDeliveryMode
		}
		return true, nil
	}
	return false, nil
}

// appendProperties writes the properties of a message as headers.
func appendProperties(buf []byte, v frame.Version, raw []byte) []byte {
	var p field.Properties
	if len(raw) == 0 || p.Parse(raw) != nil {
		return buf // can't be: it was checked when it came
	}
	text := func(flag uint16, name string, value []byte) {
		if p.Flags&flag != 0 {
			buf = frame.AppendHeader(buf, v, name, value)
		}
	}
	number := func(flag uint16, name string, value uint64) {
		if p.Flags&flag != 0 {
			buf = append(append(buf, name...), ':')
			buf = append(strconv.AppendUint(buf, value, 10), '\n')
		}
	}
	text(field.FlagContentType, "content-type", p.ContentType)
	text(field.FlagContentEncoding, "content-encoding", p.ContentEncoding)
	if p.DeliveryMode == 2 {
		buf = append(buf, "persistent:true\n"...)
	}
	number(field.FlagPriority, "priority", uint64(p.Priority))
	text(field.FlagCorrelationID, "correlation-id", p.CorrelationID)
	if p.Flags&field.FlagReplyTo != 0 {
		buf = appendReplyTo(buf, v, p.ReplyTo)
	}
	text(field.FlagExpiration, "expiration", p.Expiration)
	text(field.FlagMessageID, "amqp-message-id", p.MessageID)
	number(field.FlagTimestamp, "timestamp", p.Timestamp)
	text(field.FlagType, "type", p.Type)
	text(field.FlagUserID, "user-id", p.UserID)
	text(field.FlagAppID, "app-id", p.AppID)
	return appendTable(buf, v, p.Headers)
}

// appendReplyTo makes a destination of the name of a queue, which AMQP's clients give.
func appendReplyTo(buf []byte, v frame.Version, to []byte) []byte {
	buf = append(buf, "reply-to:"...)
	if len(to) > 0 && to[0] != '/' {
		buf = append(buf, replyPrefix...)
	}
	return append(frame.AppendEscaped(buf, v, to, false), '\n')
}

// appendTable writes the headers table. What is not a scalar has no place in a header.
func appendTable(buf []byte, v frame.Version, table []byte) []byte {
	var space [64]byte
	for t := field.NewIterator(table); t.Next(); {
		if len(t.Name()) == 0 || ofProtocol(t.Name()) {
			continue
		}
		text, ok := t.AppendValueText(space[:0])
		if !ok {
			continue
		}
		buf = frame.AppendEscaped(buf, v, t.Name(), true)
		buf = append(buf, ':')
		buf = append(frame.AppendEscaped(buf, v, text, false), '\n')
	}
	return buf
}
