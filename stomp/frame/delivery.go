package frame

import (
	"slices"
	"strconv"
)

// DeliveryEncoder appends the MESSAGE frames of one subscription. What is the same in each of them is made once,
// and the headers of messages that follow each other are mostly the same, too.
type DeliveryEncoder struct {
	prefix []byte // up to the delivery's tag in message-id
	ack    []byte // the same for the header ack; empty: there is none
	head   uint64 // what the caller calls the headers, 0: nothing is known
	extra  []byte // the headers, up to the value of content-length
}

// Separator stands between the parts of a delivery's identifier.
const Separator = "@@"

// NewDeliveryEncoder makes the encoder of a subscription. id is its identifier, "" if it has none, and mark what a
// delivery's tag stands behind in message-id, and with ack in the header of that name, too.
func NewDeliveryEncoder(v Version, id, mark string, ack bool) *DeliveryEncoder {
	e := &DeliveryEncoder{prefix: []byte("MESSAGE\n")}
	if id != "" {
		e.prefix = AppendHeader(e.prefix, v, "subscription", id)
	}
	e.prefix = append(append(e.prefix, "message-id:"...), mark...)
	if ack {
		e.ack = append([]byte("\nack:"), mark...)
	}
	return e
}

// Knows says whether the headers are those of that number, which is not 0.
func (e *DeliveryEncoder) Knows(head uint64) bool { return head != 0 && head == e.head }

// Headers gives the headers of the messages that follow, which make appends; head is their number, or 0.
func (e *DeliveryEncoder) Headers(head uint64, makeThem func([]byte) []byte) {
	e.head = head
	e.extra = append(makeThem(e.extra[:0]), "content-length:"...)
}

// AppendHead appends a frame up to its body.
func (e *DeliveryEncoder) AppendHead(buf []byte, tag uint64, redelivered bool, size int) []byte {
	buf = append(buf, e.prefix...)
	at := len(buf)
	buf = strconv.AppendUint(buf, tag, 10)
	if len(e.ack) > 0 {
		digits := len(buf) - at
		buf = append(buf, e.ack...)
		buf = append(buf, buf[at:at+digits]...)
	}
	if redelivered {
		buf = append(buf, "\nredelivered:true\n"...)
	} else {
		buf = append(buf, "\nredelivered:false\n"...)
	}
	buf = append(buf, e.extra...)
	buf = strconv.AppendUint(buf, uint64(size), 10)
	return append(buf, "\n\n"...)
}

// AppendEnd appends what is behind a body.
func AppendEnd(buf []byte) []byte { return append(buf, end...) }

// Append appends a frame.
func (e *DeliveryEncoder) Append(buf []byte, tag uint64, redelivered bool, body []byte) []byte {
	buf = slices.Grow(buf, len(e.prefix)+len(e.ack)+len(e.extra)+len(body)+80)
	buf = e.AppendHead(buf, tag, redelivered, len(body))
	return append(append(buf, body...), end...)
}
