package message

import (
	"bytes"
	"encoding/binary"
	"github.com/leveret-mq/leveret/internal/field"
	"unicode/utf8"
)

// Readable copies of AMQP properties carry these names among a record's headers.
var plainNames = [...]struct {
	flag uint16
	name string
}{
	{field.FlagContentType, "amqp.content-type"},
	{field.FlagMessageID, "amqp.message-id"},
	{field.FlagCorrelationID, "amqp.correlation-id"},
	{field.FlagReplyTo, "amqp.reply-to"},
	{field.FlagType, "amqp.type"},
	{field.FlagAppID, "amqp.app-id"},
}

// plain is the property of one of the plainNames. Functions in that table instead
// would put the Properties of each message on the heap.
func plain(p *field.Properties, flag uint16) []byte {
	switch flag {
	case field.FlagContentType:
		return p.ContentType
	case field.FlagMessageID:
		return p.MessageID
	case field.FlagCorrelationID:
		return p.CorrelationID
	case field.FlagReplyTo:
		return p.ReplyTo
	case field.FlagType:
		return p.Type
	}
	return p.AppID
}

// appendPlainHeaders appends record headers that a Kafka reader can read: the
// scalar user headers as text under their own names, then the properties worth
// reading. Nested values stay in the envelope alone. It returns how many there are.
func appendPlainHeaders(dst, props []byte) ([]byte, int) {
	var p field.Properties
	if p.Parse(props) != nil || len(p.Headers) == 0 {
		return dst, 0
	}
	n := 0
	t := field.NewIterator(p.Headers)
	var text [64]byte
	for t.Next() {
		var value []byte
		if t.Tag() == field.TagVoid {
			value = nil
		} else if s := t.Text(); s != nil {
			value = s
		} else if out, ok := t.AppendValueText(text[:0]); ok {
			value = out
		} else {
			continue
		}
		dst = appendBytes(appendBytes(dst, t.Name()), value)
		n++
	}
	for i := range plainNames {
		if f := &plainNames[i]; p.Flags&f.flag != 0 {
			dst = appendBytes(appendBytes(dst, []byte(f.name)), plain(&p, f.flag))
			n++
		}
	}
	return dst, n
}

const (
	maxShortBytes   = 255     // of an AMQP short string: routing keys and header names
	maxHeadersBytes = 1 << 20 // of a headers table made from record headers
)

// HeaderKafkaKey carries a record key that is no routing key because of its length.
const HeaderKafkaKey = "x-kafka-key"

// KafkaToAMQP appends the AMQP property bytes of a record that a Kafka producer
// wrote, and returns the routing key, which aliases the record.
//
//	key up to 255 bytes   routing key; a longer one is header x-kafka-key, null is ""
//	null value            header x-kafka-tombstone
//	headers               headers table: UTF-8 as string, else as bytes, null as void,
//	                      a repeated name as an array in order
//	timestamp             timestamp property in seconds, header timestamp_in_ms; none
//	                      of a record that has none
//	                      delivery-mode 2
func KafkaToAMQP(dst []byte, rec *Record, timestampMs int64, partition int32) (props, routingKey []byte) {
	const flags = field.FlagHeaders | field.FlagDeliveryMode
	timed := uint16(field.FlagTimestamp)
	if timestampMs == NoTime {
		timed = 0
	}
	dst = binary.BigEndian.AppendUint16(dst, flags|timed)
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = appendFields(dst, rec.Headers)
	if len(rec.Key) > maxShortBytes {
		dst = field.AppendByteArray(field.AppendName(dst, HeaderKafkaKey), rec.Key)
	} else {
		routingKey = rec.Key
	}
	if rec.Value == nil {
		dst = field.AppendBool(field.AppendName(dst, "x-kafka-tombstone"), true)
	}
	if timed != 0 {
		dst = field.AppendInt(field.AppendName(dst, "timestamp_in_ms"), timestampMs)
	}
	if partition >= 0 {
		dst = field.AppendInt(field.AppendName(dst, "x-kafka-partition"), int64(partition))
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	dst = append(dst, 2)
	if timed != 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(max(timestampMs, 0)/1000))
	}
	return dst, routingKey
}

// appendFields turns record headers into table fields. What is beyond
// maxHeadersBytes, and names that AMQP can't carry, are left out.
func appendFields(dst []byte, h Headers) []byte {
	start := len(dst)
	for rest := h; ; {
		here := rest
		name, value, ok := rest.Next()
		if !ok || len(dst)-start+len(value)+len(name) > maxHeadersBytes {
			return dst
		}
		if len(name) > maxShortBytes || seenBefore(h, here, name) {
			continue
		}
		dst = append(append(dst, byte(len(name))), name...)
		if !repeats(rest, name) {
			dst = appendFieldValue(dst, value)
			continue
		}
		dst = append(dst, field.TagArray)
		at := len(dst)
		dst = appendFieldValue(append(dst, 0, 0, 0, 0), value)
		for more := rest; ; {
			n, v, ok := more.Next()
			if !ok || len(dst)-start > maxHeadersBytes {
				break
			}
			if bytes.Equal(n, name) {
				dst = appendFieldValue(dst, v)
			}
		}
		binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	}
}

// maxRepeatSearch bounds the comparisons of header names, which are quadratic; a
// record with more headers has its repeated names as separate fields.
const maxRepeatSearch = 64

func seenBefore(all, upTo Headers, name []byte) bool {
	if all.Count > maxRepeatSearch {
		return false
	}
	for all.Count > upTo.Count {
		n, _, ok := all.Next()
		if !ok {
			return false
		}
		if bytes.Equal(n, name) {
			return true
		}
	}
	return false
}

func repeats(rest Headers, name []byte) bool {
	if rest.Count >= maxRepeatSearch {
		return false
	}
	for {
		n, _, ok := rest.Next()
		if !ok {
			return false
		}
		if bytes.Equal(n, name) {
			return true
		}
	}
}

func appendFieldValue(dst, v []byte) []byte {
	switch {
	case v == nil:
		return field.AppendVoid(dst)
	case utf8.Valid(v):
		return field.AppendString(dst, v)
	}
	return field.AppendByteArray(dst, v)
}
