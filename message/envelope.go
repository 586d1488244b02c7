package message

import (
	"errors"
	"fmt"
	"github.com/leveret-mq/leveret/internal/field"
)

// EnvelopeName is the header that carries what a publish had beside key and body.
// It is the first header of each record that did not come from a Kafka producer.
//
//	 0        1        2            2+n
//	┌────────┬────────┬────────────┬───────────────────────────────────────────┐
//	│version │ n: u8  │ exchange   │ AMQP property flags and property list,     │
//	│ 1 or 2 │        │ (n bytes)  │ byte for byte what the publisher sent      │
//	└────────┴────────┴────────────┴───────────────────────────────────────────┘
//
// Version 2 is the same of a dead letter: the headers among its properties tell of its
// deaths (deaths.go), and the broker itself wrote that there.
//
// The last part is the AMQP 0-9-1 content header after its body size (§4.2.6.1
// of the specification), so that a delivery copies it and decodes nothing.
const EnvelopeName = "lv.a"

const (
	envelopeVersion = 1
	envelopeDied    = 2
)

// ErrEnvelope says that an lv.a header is not one of ours, or damaged.
var ErrEnvelope = errors.New("malformed lv.a header")

// Envelope is the content of an lv.a header; its slices alias the input.
type Envelope struct {
	Exchange   []byte
	Properties []byte // flags and list; never empty
	Died       bool   // the headers tell of deaths
}

// parseEnvelope splits the value of an lv.a header and checks every length in
// it, since any Kafka producer can write one.
func parseEnvelope(v []byte) (Envelope, error) {
	if len(v) < 2 || v[0] != envelopeVersion && v[0] != envelopeDied {
		return Envelope{}, fmt.Errorf("%w: version", ErrEnvelope)
	}
	n := int(v[1])
	if len(v) < 2+n+2 {
		return Envelope{}, fmt.Errorf("%w: %d bytes", ErrEnvelope, len(v))
	}
	e := Envelope{Exchange: v[2 : 2+n], Properties: v[2+n:], Died: v[0] == envelopeDied}
	if !field.CheckProperties(e.Properties) {
		return Envelope{}, fmt.Errorf("%w: %w", ErrEnvelope, field.ErrProperties)
	}
	return e, nil
}

// Envelope returns the record's lv.a header; ok is false for a Kafka producer's
// record and for one whose lv.a is malformed, which then is an ordinary header.
func (rec *Record) Envelope() (Envelope, bool) {
	h := rec.Headers
	if h.Count == 0 || len(h.Raw) < 6 || h.Raw[0] != 2*byte(len(EnvelopeName)) || string(h.Raw[1:5]) != EnvelopeName {
		return Envelope{}, false
	}
	_, v, ok := h.Next()
	if !ok {
		return Envelope{}, false
	}
	e, err := parseEnvelope(v)
	return e, err == nil
}
