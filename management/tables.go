package management

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/definitions"
	"github.com/leveret-mq/leveret/internal/field"
)

// arguments makes an AMQP table of what stands in a body.
func arguments(text json.RawMessage) ([]byte, error) {
	if string(text) == "null" || string(text) == "[]" { // the latter as languages have it that know one empty thing
		return nil, nil
	}
	table, err := definitions.ParseTable(text, "arguments")
	if err != nil {
		return nil, badRequest("%v", err)
	}
	return table, nil
}

// tableObject shows an AMQP table, without its length. What JSON can't say is shown as near as it can.
func tableObject(table []byte) object {
	o := object{}
	for t := field.NewIterator(table); t.Next(); {
		o = append(o, pair{readable(t.Name()), fieldValue(&t)})
	}
	return o
}

func fieldValue(t *field.Iterator) any {
	if n, ok := t.Int(); ok {
		return n
	}
	if b, ok := t.Bool(); ok {
		return b
	}
	if f, ok := t.Float(); ok {
		return f
	}
	switch t.Tag() {
	case field.TagTable:
		return tableObject(t.Raw())
	case field.TagArray:
		list := []any{}
		for inner := field.NewArrayIterator(t.Raw()); inner.Next(); {
			list = append(list, fieldValue(&inner))
		}
		return list
	case field.TagVoid:
		return nil
	case field.TagString, field.TagBytes:
		return readable(t.Raw())
	}
	if text, ok := t.AppendValueText(nil); ok { // a time, or a decimal number
		return json.RawMessage(text)
	}
	return nil
}

// readable is text that may not be UTF-8.
func readable(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// appendTextArg adds a text to a table.
func appendTextArg(table []byte, name, value string) []byte {
	return field.AppendString(field.AppendName(table, name), []byte(value))
}
