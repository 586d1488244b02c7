package stomp

import (
	"bytes"
	"hash/maphash"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/stomp/frame"
)

// inbound is the message under way and what is remembered of earlier ones' headers: most clients send the same
// again and again, or a few by turns, which then need no second look.
type inbound struct {
	broker.Inbound
	sig   []byte    // of the frame under way
	last  *prepared // that was sent last, if it is remembered
	known [8]likes  // each in the place of its hash
	own   prepared  // of one that is not remembered
	good  bool      // the last Publish made no error
	props field.Properties
	table []byte // scratch
	whole []byte // scratch: the properties
}

// likes are those of one place, the newest first: a few by turns fit, however their hashes fall.
type likes [4]*prepared

// prepared is what the headers of a SEND come to.
type prepared struct {
	sig        []byte // the headers as they came, but those that differ from frame to frame
	dest       destination
	exchange   []byte
	key        []byte
	properties []byte
	headers    []byte // the table in properties
	persistent bool
}

// maxKnownBytes is the longest head that is remembered.
const maxKnownBytes = 512

// knownSeed places heads in inbound.known.
var knownSeed = maphash.MakeSeed()

// sign makes the signature of a frame, and finds the headers that are not in it.
func (in *inbound) sign(f *frame.Frame) (receipt, transaction []byte, asked, inTransaction bool) {
	sig := in.sig[:0]
	for i := range f.Headers {
		h := &f.Headers[i]
		switch len(h.Name) {
		case len("content-length"):
			if string(h.Name) == "content-length" {
				continue
			}
		case len("receipt"):
			if string(h.Name) == "receipt" {
				if !asked {
					receipt, asked = h.Value, true
				}
				continue
			}
		case len("transaction"):
			if string(h.Name) == "transaction" {
				if !inTransaction {
					transaction, inTransaction = h.Value, true
				}
				continue
			}
		}
		sig = append(append(append(append(sig, h.Name...), ':'), h.Value...), '\n')
	}
	in.sig = sig
	return receipt, transaction, asked, inTransaction
}

// recall finds what is remembered of a frame with that signature. same says that it is that of the last one.
func (in *inbound) recall() (p *prepared, same bool) {
	if in.last != nil && bytes.Equal(in.last.sig, in.sig) {
		return in.last, true
	}
	for _, p := range in.place() {
		if p == nil {
			break
		}
		if bytes.Equal(p.sig, in.sig) {
			return p, false
		}
	}
	return nil, false
}

func (in *inbound) place() *likes {
	return &in.known[maphash.Bytes(knownSeed, in.sig)%uint64(len(in.known))]
}

// remember keeps what a frame came to, unless it is too long for that.
func (in *inbound) remember(p *prepared) *prepared {
	if len(in.sig) > maxKnownBytes || len(p.properties) > maxKnownBytes {
		return p
	}
	place := in.place()
	kept := *p
	kept.sig = bytes.Clone(in.sig)
	kept.properties = bytes.Clone(p.properties)
	if p.headers != nil {
		var props field.Properties
		if props.Parse(kept.properties) == nil { // it was written a moment ago
			kept.headers = props.Headers
		}
	}
	copy(place[1:], place[:])
	place[0] = &kept
	return &kept
}

// fill fills in the message, but for its body.
func (in *inbound) fill(p *prepared) {
	in.Exchange, in.Key = p.exchange, p.key
	in.Properties, in.Headers = p.properties, p.headers
}
