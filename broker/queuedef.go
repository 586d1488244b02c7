package broker

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/store"
)

// queueDef is a queue in the definitions.
type queueDef struct {
	VHost      string            `json:"vhost"`
	Name       string            `json:"name"`
	AutoDelete bool              `json:"auto_delete,omitempty"`
	Args       []byte            `json:"args,omitempty"`
	Topic      bool              `json:"topic,omitempty"`
	TopicID    []byte            `json:"topic_id,omitempty"`
	Logs       []store.LogID     `json:"logs"`
	Config     map[string]string `json:"config,omitempty"`
}

// decode reads a queue's definition. What the slices have room for is used again, and the
// name is that in the key, which the table keeps anyway: of a hundred thousand queues each
// allocation is felt at the start.
func (d *queueDef) decode(e store.Entry) error {
	vhost := d.VHost // which is mostly the same
	*d = queueDef{Args: d.Args[:0], TopicID: d.TopicID[:0], Logs: d.Logs[:0]}
	if d.quick(e, vhost) {
		return nil
	}
	*d = queueDef{}
	return decodeDef(e, d)
}

// quick reads what json.Marshal writes of most queues: every field in its place, no
// escapes in texts, no configs. Whatever else it says false of is left to json, which
// reads the same of all that it reads.
func (d *queueDef) quick(e store.Entry, vhost string) bool {
	r := quickReader{rest: e.Value, ok: true}
	r.must(`{"vhost":"`)
	if d.VHost = vhost; !r.same(vhost) {
		d.VHost = string(r.text())
	}
	r.must(`,"name":"`)
	name := r.text()
	if at := len(e.Key) - len(name); at >= 0 && e.Key[at:] == string(name) {
		d.Name = e.Key[at:]
	} else {
		d.Name = string(name)
	}
	d.AutoDelete = r.take(`,"auto_delete":true`)
	if r.take(`,"args":"`) {
		d.Args = r.base64(d.Args)
	}
	d.Topic = r.take(`,"topic":true`)
	if r.take(`,"topic_id":"`) {
		d.TopicID = r.base64(d.TopicID)
	}
	r.must(`,"logs":[`)
	for r.ok {
		d.Logs = append(d.Logs, store.LogID(r.digits()))
		if !r.take(",") {
			break
		}
	}
	r.must("]}")
	return r.ok && len(r.rest) == 0
}

// quickReader reads a text from its front. Once something is not as expected ok is false
// for good, and what it returns means nothing.
type quickReader struct {
	rest []byte
	ok   bool
}

// take reads a word if it comes next.
func (r *quickReader) take(word string) bool {
	if !bytes.HasPrefix(r.rest, []byte(word)) {
		return false
	}
	r.rest = r.rest[len(word):]
	return true
}

func (r *quickReader) must(word string) { r.ok = r.take(word) && r.ok }

// same reads a text, behind its quotation mark, if it is this one.
func (r *quickReader) same(text string) bool {
	n := len(text)
	if n == 0 || len(r.rest) <= n || r.rest[n] != '"' || string(r.rest[:n]) != text {
		return false
	}
	r.rest = r.rest[n+1:]
	return true
}

// text reads to the end of a text, which stands for itself. The bytes are borrowed.
func (r *quickReader) text() []byte {
	n := bytes.IndexByte(r.rest, '"')
	if n < 0 {
		r.ok = false
		return nil
	}
	text := r.rest[:n]
	r.rest = r.rest[n+1:]
	r.ok = r.ok && utf8.Valid(text) && bytes.IndexByte(text, '\\') < 0 && !hasControls(text)
	return text
}

func hasControls(text []byte) bool {
	for _, c := range text {
		if c < ' ' {
			return true
		}
	}
	return false
}

// base64 reads bytes into dst.
func (r *quickReader) base64(dst []byte) []byte {
	text := r.text()
	dst, err := base64.StdEncoding.AppendDecode(dst, text)
	r.ok = r.ok && err == nil && len(text) > 0
	return dst
}

// digits reads a number as json writes one that is whole.
func (r *quickReader) digits() []byte {
	n := 0
	for n < len(r.rest) && r.rest[n] >= '0' && r.rest[n] <= '9' {
		n++
	}
	digits := r.rest[:n]
	r.rest = r.rest[n:]
	r.ok = r.ok && n > 0 && n < 20 && (n == 1 || digits[0] != '0') // and fits 64 bits
	return digits
}
