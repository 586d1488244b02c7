package definitions

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxFileBytes bounds a file, and with it the memory that it takes.
const maxFileBytes = 1 << 30

// errTooLarge is a file that nobody reads.
var errTooLarge = fmt.Errorf("the file has more than %d bytes", maxFileBytes)

// Parse reads a file. It says where one is wrong as Error, and keeps r for Check to say so.
func Parse(r io.ReadSeeker) (*File, error) {
	f := &File{src: r}
	end, err := r.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = r.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, fmt.Errorf("read definitions: %w", err)
	}
	if end > maxFileBytes {
		return nil, &Error{Err: errTooLarge}
	}
	buffered := bufio.NewReaderSize(io.LimitReader(r, maxFileBytes), 64<<10)
	p := parser{f: f}
	if head, _ := buffered.Peek(3); string(head) == "\xef\xbb\xbf" {
		_, _ = buffered.Discard(3)
		p.base = 3
	}
	p.dec = json.NewDecoder(buffered)
	if err := p.file(); err != nil {
		return nil, err
	}
	f.tellUnknown()
	return f, nil
}

// parser goes through a file once.
type parser struct {
	f    *File
	dec  *json.Decoder
	base int64 // position at which dec begins
}

func (p *parser) at() int64 { return p.base + p.dec.InputOffset() }

// lists are the lists that a file may have, and who reads an item of each.
var lists = map[string]func(*File, item, object) error{
	"users":             (*File).addUser,
	"vhosts":            (*File).addVHost,
	"permissions":       (*File).addPermission,
	"topic_permissions": (*File).addTopicPermission,
	"parameters":        (*File).addParameter,
	"global_parameters": (*File).addGlobal,
	"policies":          (*File).addPolicy,
	"exchanges":         (*File).addExchange,
	"queues":            (*File).addQueue,
	"bindings":          (*File).addBinding,
}

// said are keys of a file that say what it is, and change nothing.
var said = map[string]bool{
	"rabbit_version": true, "rabbitmq_version": true, "product_name": true, "product_version": true, "rabbitmq_definition_format": true,
	"original_cluster_name": true, "explanation": true, "metadata": true, "description": true, "default_queue_type": true,
}

func (p *parser) file() error {
	t, err := p.dec.Token()
	if errors.Is(err, io.EOF) {
		return nil // nothing at all is nothing to do
	}
	if err != nil {
		return p.f.malformed(p.base, "", err)
	}
	if t != json.Delim('{') {
		e := &Error{Err: fmt.Errorf("failed_to_parse_json: definitions are an object of lists")}
		e.Line, e.Column = p.f.line(p.base)
		return e
	}
	for {
		at := p.at()
		t, err := p.dec.Token()
		if err != nil {
			return p.f.malformed(at, "", err)
		}
		key, ok := t.(string)
		if !ok {
			break
		}
		if err := p.key(key); err != nil {
			return err
		}
	}
	at := p.at()
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return p.f.malformed(at, "", errors.New("something follows the definitions"))
	}
	return nil
}

// key reads what a key of the file has.
func (p *parser) key(key string) error {
	at := p.at()
	if add := lists[key]; add != nil {
		return p.list(key, add)
	}
	var value json.RawMessage
	if err := p.dec.Decode(&value); err != nil {
		return p.f.malformed(at, short(key), err)
	}
	switch {
	case key == "original_vhost_name":
		if json.Unmarshal(value, &p.f.OneVHost) != nil {
			return p.f.failed(item{key, -1, at}, errors.New("should be a string"))
		}
	case key == "limits":
		return p.f.addLimits(item{key, -1, at}, value)
	case !said[key]:
		p.f.warn("%s is not known and has no effect", short(key))
	}
	return nil
}

func (p *parser) list(name string, add func(*File, item, object) error) error {
	at := p.at()
	t, err := p.dec.Token()
	switch {
	case err != nil:
		return p.f.malformed(at, name, err)
	case t == nil:
		return nil // null
	case t != json.Delim('['):
		e := &Error{Path: name, Err: errors.New("should be a list")}
		e.Line, e.Column = p.f.line(p.f.itemStart(at))
		return e
	}
	var text json.RawMessage
	for n := 0; p.dec.More(); n++ {
		i := item{name, n, p.at()}
		if err := p.dec.Decode(&text); err != nil {
			return p.f.malformed(i.at, i.path(), err)
		}
		var o object
		if len(text) == 0 || text[0] != '{' || json.Unmarshal(text, &o) != nil {
			return p.f.failed(i, errNoObject)
		}
		if err := add(p.f, i, o); err != nil {
			var w *wrong
			if errors.As(err, &w) {
				return p.f.failed(i, w.err, w.keys...)
			}
			return p.f.failed(i, err)
		}
	}
	at = p.at()
	if _, err := p.dec.Token(); err != nil {
		return p.f.malformed(at, name, err)
	}
	return nil
}

// wrong is an error of what stands under some keys of an item.
type wrong struct {
	keys []string
	err  error
}

func (w *wrong) Error() string { return w.err.Error() }

// object is an item, whose keys are taken out as they are read.
type object map[string]json.RawMessage

func wrongType(what string, keys ...string) error {
	return &wrong{keys, errors.New("should be " + what)}
}

// text takes a string out; without one it is "".
func (o object) text(key string) (s string, err error) {
	value, there := o.take(key)
	if there && (value[0] != '"' || json.Unmarshal(value, &s) != nil) {
		return "", wrongType("a string", key)
	}
	return s, nil
}

// needed is text of what must be there.
func (o object) needed(key string) (string, error) {
	if _, there := o[key]; !there {
		return "", &wrong{nil, fmt.Errorf("%q is missing", key)}
	}
	return o.text(key)
}

// flag takes a boolean out.
func (o object) flag(key string, without bool) (bool, error) {
	value, there := o.take(key)
	if !there {
		return without, nil
	}
	if s := string(value); s == "true" || s == "false" {
		return s == "true", nil
	}
	return false, wrongType("true or false", key)
}

// take takes any value out; null is none.
func (o object) take(key string) (value json.RawMessage, there bool) {
	value, there = o[key]
	delete(o, key)
	value = bytes.TrimSpace(value)
	return value, there && string(value) != "null"
}

// texts reads several strings, in the order of the keys.
func (o object) texts(into map[string]*string, needed ...string) error {
	for _, key := range needed {
		s, err := o.needed(key)
		if err != nil {
			return err
		}
		*into[key] = s
	}
	return nil
}

// asObject brings a list of pairs, as which RabbitMQ's command line exports some objects, into an object.
func asObject(value json.RawMessage) json.RawMessage {
	var pairs [][2]json.RawMessage
	if len(value) == 0 || value[0] != '[' || json.Unmarshal(value, &pairs) != nil {
		return value
	}
	out := []byte{'{'}
	for i, pair := range pairs {
		if len(pair[0]) == 0 || pair[0][0] != '"' || pair[1] == nil {
			return value
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, pair[0]...), ':'), pair[1]...)
	}
	return append(out, '}')
}
