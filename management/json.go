package management

import (
	"encoding/json"
	"math"
	"strconv"
)

// object is a JSON object with its fields in an order. Values are what appendJSON knows: strings, booleans, numbers, nil, objects,
// []object, []string, []any and json.RawMessage without reflection, and whatever else package json knows.
type object []pair

type pair struct {
	name  string
	value any
}

// get is a field's value.
func (o object) get(name string) (any, bool) {
	for _, p := range o {
		if p.name == name {
			return p.value, true
		}
	}
	return nil, false
}

// lookup follows a path of names.
func lookup(v any, path []string) any {
	for _, name := range path {
		o, ok := v.(object)
		if !ok {
			return nil
		}
		if v, ok = o.get(name); !ok {
			return nil
		}
	}
	return v
}

// appendJSON appends a value.
func appendJSON(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case string:
		return appendString(dst, v)
	case bool:
		return strconv.AppendBool(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case uint64:
		return strconv.AppendUint(dst, v, 10)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return append(dst, '0')
		}
		return strconv.AppendFloat(dst, v, 'f', -1, 64)
	case json.RawMessage:
		return append(dst, v...)
	case object:
		return v.append(dst)
	case []object:
		return appendList(dst, v)
	case []string:
		return appendList(dst, v)
	case []any:
		return appendList(dst, v)
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // a type of ours that can't be
	}
	return append(dst, text...)
}

func (o object) append(dst []byte) []byte {
	dst = append(dst, '{')
	for i, p := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, p.name), ':')
		dst = appendJSON(dst, p.value)
	}
	return append(dst, '}')
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) { return o.append(nil), nil }

func appendList[T any](dst []byte, list []T) []byte {
	dst = append(dst, '[')
	for i, v := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSON(dst, v)
	}
	return append(dst, ']')
}

// appendString appends a string; plain ones as they stand, and others with what could be taken for markup escaped.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if b := s[i]; b < ' ' || b >= 0x7f || b == '"' || b == '\\' || b == '<' || b == '>' || b == '&' {
			text, err := json.Marshal(s)
			if err != nil {
				panic(err) // strings can be
			}
			return append(dst, text...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}
