package field

import (
	"bytes"
	"slices"
)

// Normal is the one form of all tables that say the same: a table is a set of
// names with types and values, so its fields are put in order and what stands there
// twice is left out, in nested tables too. The values of an array keep their places.
// Tables are equal if their normal forms are, byte by byte.
func Normal(raw []byte) ([]byte, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	return appendNormal(nil, NewIterator(raw), 0)
}

// appendNormal appends the fields of a table, or the values of an array.
func appendNormal(dst []byte, t Iterator, depth int) ([]byte, error) {
	if depth > MaxDepth {
		return nil, ErrDepth
	}
	start := len(dst)
	var ends []int // of the fields
	for t.Next() {
		if !t.array {
			dst = append(append(dst, byte(len(t.name))), t.name...)
		}
		var err error
		if dst, err = appendNormalValue(dst, &t, depth); err != nil {
			return nil, err
		}
		ends = append(ends, len(dst))
	}
	if t.err != nil || t.array || inOrder(dst, start, ends) {
		return dst, t.err
	}
	fields := make([][]byte, len(ends))
	all := bytes.Clone(dst[start:])
	at := 0
	for i, end := range ends {
		fields[i] = all[at : end-start]
		at = end - start
	}
	slices.SortFunc(fields, bytes.Compare)
	dst = dst[:start]
	for _, f := range slices.CompactFunc(fields, bytes.Equal) {
		dst = append(dst, f...)
	}
	return dst, nil
}

// inOrder reports whether each field is behind the one before it, which saves the sorting.
func inOrder(b []byte, start int, ends []int) bool {
	var before []byte
	for i, end := range ends {
		f := b[start:end]
		if i > 0 && bytes.Compare(before, f) >= 0 {
			return false
		}
		before, start = f, end
	}
	return true
}

// appendNormalValue appends a tagged value: of two ways to write the same, the one that we write.
func appendNormalValue(dst []byte, t *Iterator, depth int) ([]byte, error) {
	switch t.tag {
	case TagTable, TagArray:
		inner := Iterator{rest: t.raw, array: t.tag == TagArray}
		nested, err := appendNormal(nil, inner, depth+1)
		if err != nil {
			return nil, err
		}
		return appendLong(append(dst, t.tag), nested), nil
	case TagString, TagBytes:
		return appendLong(append(dst, t.tag), t.raw), nil
	case TagInt64Alt:
		return append(append(dst, TagInt64), t.raw...), nil
	case TagBool:
		return AppendBool(dst, t.raw[0] != 0), nil
	}
	return append(append(dst, t.tag), t.raw...), nil
}
