package definitions

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/internal/field"
)

// An AMQP table and JSON say the same, but for types of numbers: what is exported as a number comes back
// as a 64-bit integer or a double, as in RabbitMQ.

const (
	argQueueType  = "x-queue-type"
	maxTableDepth = 32
	maxNameBytes  = 255
	maxTableBytes = 1 << 20
)

// ParseTable makes an AMQP table, without its length, of a JSON object, as in a file of definitions. Numbers become 64-bit integers and
// doubles; null, an empty list and nothing are an empty table. The error names what is wrong below the path under.
func ParseTable(text json.RawMessage, under ...string) ([]byte, error) {
	if len(text) == 0 {
		return nil, nil
	}
	table, err := tableOf(text, under...)
	var w *wrong
	if errors.As(err, &w) && len(w.keys) > 0 {
		err = fmt.Errorf("'%s' %w", strings.Join(w.keys, "."), w.err)
	}
	return table, err
}

// tableOf makes a table, without its length, of an object that stands under a key.
func tableOf(text json.RawMessage, under ...string) ([]byte, error) {
	if text = asObject(text); text[0] != '{' {
		return nil, wrongType("an object", under...)
	}
	table, err := appendTable(nil, text, 0, under)
	switch {
	case err != nil:
	case len(table) > maxTableBytes:
		err = &wrong{under, fmt.Errorf("has more than %d bytes", maxTableBytes)}
	case field.CheckTable(table) != nil:
		err = &wrong{under, field.CheckTable(table)}
	}
	return table, err
}

func appendTable(dst []byte, text json.RawMessage, depth int, path []string) ([]byte, error) {
	if depth > maxTableDepth {
		return nil, &wrong{path, errors.New("is nested too deeply")}
	}
	members, err := membersOf(text, 0)
	if err != nil {
		return nil, &wrong{path, err}
	}
	for _, m := range members {
		at := append(path[:len(path):len(path)], m.key)
		if len(m.key) > maxNameBytes {
			return nil, &wrong{at, fmt.Errorf("the name has more than %d bytes", maxNameBytes)}
		}
		if dst, err = appendValue(field.AppendName(dst, m.key), m.value, depth, at); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

func appendValue(dst []byte, text json.RawMessage, depth int, path []string) ([]byte, error) {
	text = bytes.TrimSpace(text)
	switch text[0] {
	case '"':
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return nil, &wrong{path, err}
		}
		return field.AppendString(dst, []byte(s)), nil
	case 't', 'f':
		return field.AppendBool(dst, text[0] == 't'), nil
	case 'n':
		return field.AppendVoid(dst), nil
	case '{':
		inner, err := appendTable(nil, text, depth+1, path)
		return field.AppendTable(dst, inner), err
	case '[':
		var list []json.RawMessage
		if err := json.Unmarshal(text, &list); err != nil || depth > maxTableDepth {
			return nil, &wrong{path, errors.New("is nested too deeply")}
		}
		var inner []byte
		for _, v := range list {
			var err error
			if inner, err = appendValue(inner, v, depth+1, path); err != nil {
				return nil, err
			}
		}
		return field.AppendArray(dst, inner), nil
	}
	return appendNumber(dst, string(text), path)
}

func appendNumber(dst []byte, text string, path []string) ([]byte, error) {
	if !strings.ContainsAny(text, ".eE") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, &wrong{path, errors.New("is no integer of 64 bits")}
		}
		return field.AppendInt(dst, n), nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, &wrong{path, errors.New("is no number of 64 bits")}
	}
	return binary.BigEndian.AppendUint64(append(dst, field.TagFloat64), math.Float64bits(v)), nil
}

func hasArg(table []byte, name string) bool {
	_, ok := field.Find(table, name)
	return ok
}

func withText(table []byte, name, value string) []byte {
	return field.AppendString(field.AppendName(table, name), []byte(value))
}

// errNoText is what JSON can't say.
var errNoText = errors.New("is not UTF-8")

// appendJSON writes a table as an object.
func appendJSON(dst []byte, table []byte) ([]byte, error) {
	t := field.NewIterator(table)
	dst = append(dst, '{')
	var err error
	for n := 0; t.Next(); n++ {
		if n > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendText(dst, t.Name()); err != nil {
			return nil, err
		}
		if dst, err = appendField(append(dst, ':'), &t); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), t.Err()
}

func appendField(dst []byte, t *field.Iterator) ([]byte, error) {
	if n, ok := t.Int(); ok {
		return strconv.AppendInt(dst, n, 10), nil
	}
	if v, ok := t.Bool(); ok {
		return strconv.AppendBool(dst, v), nil
	}
	if v, ok := t.Float(); ok {
		return appendFloat(dst, v)
	}
	switch t.Tag() {
	case field.TagTable:
		return appendJSON(dst, t.Raw())
	case field.TagArray:
		list := field.NewArrayIterator(t.Raw())
		dst = append(dst, '[')
		var err error
		for n := 0; list.Next(); n++ {
			if n > 0 {
				dst = append(dst, ',')
			}
			if dst, err = appendField(dst, &list); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), list.Err()
	case field.TagVoid:
		return append(dst, "null"...), nil
	case field.TagString, field.TagBytes:
		return appendText(dst, t.Raw())
	}
	if text, ok := t.AppendValueText(nil); ok { // a time, or a decimal number
		return append(dst, text...), nil
	}
	return nil, errNoText
}

func appendFloat(dst []byte, v float64) ([]byte, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil, errors.New("is no number that JSON has")
	}
	at := len(dst)
	dst = strconv.AppendFloat(dst, v, 'g', -1, 64)
	if !bytes.ContainsAny(dst[at:], ".e") {
		dst = append(dst, ".0"...) // or it would come back as an integer
	}
	return dst, nil
}

func appendText(dst, text []byte) ([]byte, error) {
	if !utf8.Valid(text) {
		return nil, errNoText
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(string(text)); err != nil {
		return nil, fmt.Errorf("encode JSON: %w", err)
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...), nil
}
