package management

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
)

// bodyStep is how a body's memory grows at first: what a client announces is not yet sent.
const bodyStep = 64 << 10

// expansion is how many times its size a JSON text takes while it is read, measured with many short fields.
const expansion = 4

// raw reads the body, of most bytes at most. Its memory is charged before it is used.
func (c *call) raw(most int64) ([]byte, error) {
	tooLarge := func() error {
		_, _ = io.CopyN(io.Discard, c.r.Body, most) // a client that is cut off while it sends does not read the answer
		return badRequest("Exceeded HTTP request body size limit: %d bytes", most)
	}
	if c.r.ContentLength > most {
		return nil, tooLarge()
	}
	var body []byte
	for {
		if len(body) == cap(body) {
			size := min(max(2*int64(cap(body)), bodyStep), most+1)
			if size <= int64(len(body)) {
				return nil, tooLarge()
			}
			if err := c.take((size - int64(cap(body))) * (1 + expansion)); err != nil {
				return nil, err
			}
			body = append(make([]byte, 0, size), body...)
		}
		n, err := c.r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > most:
			return nil, tooLarge()
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, badRequest("the body of the request did not come: %v", err)
		}
	}
}

// object is the body's fields. Nothing, null and undefined are no fields.
func (c *call) fields() (map[string]json.RawMessage, error) {
	body, err := c.raw(c.s.opts.MaxBody)
	if err != nil {
		return nil, err
	}
	return parseFields(body)
}

// parseFields reads a JSON object.
func parseFields(body []byte) (map[string]json.RawMessage, error) {
	notJSON := func(reason string) error {
		return &failure{status: http.StatusBadRequest, err: "bad_request", reason: "not_json: " + reason}
	}
	body = bytes.TrimSpace(body)
	switch string(body[:min(len(body), 16)]) {
	case "", "null", "undefined":
		return map[string]json.RawMessage{}, nil
	}
	if !json.Valid(body) {
		var v json.RawMessage
		return nil, notJSON(fmt.Sprint(json.Unmarshal(body, &v)))
	}
	switch body[0] {
	case '{':
	case '"':
		return nil, badRequest("not_json: the body is a JSON string where an object is wanted: is it doubly-JSON-encoded?")
	default:
		return nil, notJSON("the body is no JSON object")
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, notJSON(err.Error())
	}
	return fields, nil
}

// body reads the body into a struct with json tags, as fill does.
func (c *call) body(into any) error {
	fields, err := c.fields()
	if err != nil {
		return err
	}
	return fill(into, fields)
}

// fill sets what fields there are in a struct. A field tagged needed:"true" must be there; one that is null is as if it were
// not. Booleans and whole numbers may stand in strings, as RabbitMQ takes them; unknown fields are ignored.
func fill(into any, fields map[string]json.RawMessage) error {
	v := reflect.ValueOf(into).Elem()
	var lacking []string
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		text, there := fields[name]
		if there && string(text) == "null" && f.Type != rawType {
			there = false
		}
		if !there {
			if f.Tag.Get("needed") == "true" {
				lacking = append(lacking, "{key_missing,"+name+"}")
			}
			continue
		}
		if err := fillOne(v.Field(i), name, text); err != nil {
			return err
		}
	}
	if len(lacking) > 0 {
		return badRequest("[%s]", strings.Join(lacking, ",\n "))
	}
	return nil
}

var rawType = reflect.TypeFor[json.RawMessage]()

// fillOne sets one field.
func fillOne(v reflect.Value, name string, text json.RawMessage) error {
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		if err := fillOne(p.Elem(), name, text); err != nil {
			return err
		}
		v.Set(p)
		return nil
	}
	if v.Type() == rawType {
		v.SetBytes(text)
		return nil
	}
	switch v.Kind() {
	case reflect.Bool:
		b, ok := readBool(text)
		if !ok {
			return badRequest("'%s' must be true or false, it is %s", name, short(text))
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		n, ok := readInt(text)
		if !ok {
			return badRequest("not_int: '%s' must be a whole number, it is %s", name, short(text))
		}
		v.SetInt(n)
	case reflect.String:
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return badRequest("'%s' must be a string, it is %s", name, short(text))
		}
		v.SetString(s)
	case reflect.Slice:
		var items []json.RawMessage
		if err := json.Unmarshal(text, &items); err != nil {
			return badRequest("'%s' must be a list, it is %s", name, short(text))
		}
		list := reflect.MakeSlice(v.Type(), len(items), len(items))
		for i, item := range items {
			at := fmt.Sprintf("%s[%d]", name, i)
			if string(item) == "null" { // which package json would take for an empty one
				return badRequest("'%s' must not be null", at)
			}
			if err := fillOne(list.Index(i), at, item); err != nil {
				return err
			}
		}
		v.Set(list)
	default:
		if err := json.Unmarshal(text, v.Addr().Interface()); err != nil {
			return badRequest("'%s' has the wrong type: %s", name, short(text))
		}
	}
	return nil
}

func readBool(text json.RawMessage) (value, ok bool) {
	switch string(text) {
	case "true", `"true"`:
		return true, true
	case "false", `"false"`:
		return false, true
	}
	return false, false
}

// readInt reads a whole number, which may stand in a string or be written as 3.0.
func readInt(text json.RawMessage) (n int64, ok bool) {
	s := strings.Trim(string(text), `"`)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// short is a value as an error quotes it.
func short(text json.RawMessage) string {
	const most = 80
	if len(text) > most {
		return strings.ToValidUTF8(string(text[:most]), "") + "..."
	}
	return string(text)
}
