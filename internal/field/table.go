package field

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Table is the bytes of a field table after its u32 length: entries back to back, kept as they were
// received so that every tag survives on its way to another client.
//
//	entry: name length u8, name, tag u8, value
//
//	t bool 1 · b i8 · B u8 · s i16 · u u16 · I i32 · i u32 · l, L i64 · f f32 · d f64 · D scale u8 + i32
//	S long string · x byte array (both u32 length + bytes) · T u64 seconds · F table · A array (both u32 length + entries) · V nothing
type Table []byte

// Field is one value of a table or an array. Value aliases the table: the fixed-size bytes of a number,
// the text of S and x, the entries of F and A (their u32 lengths taken off).
type Field struct {
	Tag   byte
	Value []byte
}

// Check reads the whole table, nested ones too. A table that passed can be iterated without errors.
func (t Table) Check() error { return checkTable(t, 0) }

func checkTable(t []byte, depth int) error {
	if depth > MaxDepth {
		return ErrDepth
	}
	for len(t) > 0 {
		n := int(t[0])
		if len(t) < 1+n {
			return fmt.Errorf("%w: name of %d bytes in %d", ErrTable, n, len(t)-1)
		}
		rest, err := checkField(t[1+n:], depth)
		if err != nil {
			return err
		}
		t = rest
	}
	return nil
}

func checkArray(a []byte, depth int) (err error) {
	if depth > MaxDepth {
		return ErrDepth
	}
	for len(a) > 0 {
		if a, err = checkField(a, depth); err != nil {
			return err
		}
	}
	return nil
}

func checkField(b []byte, depth int) (rest []byte, err error) {
	f, rest, err := nextField(b)
	if err != nil {
		return nil, err
	}
	switch f.Tag {
	case 'F':
		err = checkTable(f.Value, depth+1)
	case 'A':
		err = checkArray(f.Value, depth+1)
	}
	return rest, err
}

func nextField(b []byte) (f Field, rest []byte, err error) {
	if len(b) == 0 {
		return f, nil, fmt.Errorf("%w: name without a value", ErrTable)
	}
	f.Tag, b = b[0], b[1:]
	n := int(fixedBytes[f.Tag])
	switch n {
	case -2:
		return f, nil, fmt.Errorf("%w: unknown tag %q", ErrTable, f.Tag)
	case -1:
		if len(b) < 4 {
			return f, nil, fmt.Errorf("%w: cut length", ErrTable)
		}
		size := binary.BigEndian.Uint32(b)
		b = b[4:]
		if uint64(size) > uint64(len(b)) {
			return f, nil, fmt.Errorf("%w: value of %d bytes in %d", ErrTable, size, len(b))
		}
		n = int(size)
	}
	if n > len(b) {
		return f, nil, fmt.Errorf("%w: value of %d bytes in %d", ErrTable, n, len(b))
	}
	f.Value = b[:n:n]
	return f, b[n:], nil
}

// CheckTable is Table.Check for plain bytes.
func CheckTable(raw []byte) error { return checkTable(raw, 0) }

// Next takes the first entry off a table. ok is false at its end and where it is malformed.
func (t Table) Next() (name []byte, f Field, rest Table, ok bool) {
	if len(t) == 0 || len(t) < 1+int(t[0]) {
		return nil, f, nil, false
	}
	n := 1 + int(t[0])
	f, tail, err := nextField(t[n:])
	return t[1:n:n], f, tail, err == nil
}

// Get finds an entry by name; the first one if there are several.
func (t Table) Get(name string) (Field, bool) {
	for {
		key, f, rest, ok := t.Next()
		if !ok {
			return Field{}, false
		}
		if string(key) == name {
			return f, true
		}
		t = rest
	}
}

// AppendWithout appends the entries of t but those called name.
func (t Table) AppendWithout(buf []byte, name string) []byte {
	for {
		key, _, rest, ok := t.Next()
		if !ok {
			return buf
		}
		if string(key) != name {
			buf = append(buf, t[:len(t)-len(rest)]...)
		}
		t = rest
	}
}

// Table gives the entries of an F value.
func (f Field) Table() (Table, bool) { return Table(f.Value), f.Tag == 'F' }

// NextElement takes the first value off the entries of an A value. ok is false at its end.
func NextElement(array []byte) (f Field, rest []byte, ok bool) {
	if len(array) == 0 {
		return f, nil, false
	}
	f, rest, err := nextField(array)
	return f, rest, err == nil
}

// Bool gives a t value.
func (f Field) Bool() (value, ok bool) {
	if f.Tag != 't' || len(f.Value) != 1 {
		return false, false
	}
	return f.Value[0] != 0, true
}

// Float gives the value of either float tag.
func (f Field) Float() (value float64, ok bool) {
	switch {
	case f.Tag == TagFloat32 && len(f.Value) == 4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(f.Value))), true
	case f.Tag == TagFloat64 && len(f.Value) == 8:
		return math.Float64frombits(binary.BigEndian.Uint64(f.Value)), true
	}
	return 0, false
}

// Int gives the value of any integer tag; not of T, which is a time. Unsigned values fit: the widest is 32 bits.
func (f Field) Int() (value int64, ok bool) {
	if n := fixedBytes[f.Tag]; n >= 0 && len(f.Value) != int(n) {
		return 0, false
	}
	switch f.Tag {
	case 'b':
		return int64(int8(f.Value[0])), true
	case 'B':
		return int64(f.Value[0]), true
	case 's':
		return int64(int16(binary.BigEndian.Uint16(f.Value))), true
	case 'u':
		return int64(binary.BigEndian.Uint16(f.Value)), true
	case 'I':
		return int64(int32(binary.BigEndian.Uint32(f.Value))), true
	case 'i':
		return int64(binary.BigEndian.Uint32(f.Value)), true
	case 'l', 'L':
		return int64(binary.BigEndian.Uint64(f.Value)), true
	}
	return 0, false
}

// AppendTableField appends an entry whose value is already encoded behind tag: for S, x, F and A the
// u32 length is added here.
func AppendTableField(buf []byte, name string, f Field) []byte {
	buf = append(AppendName(buf, name), f.Tag)
	if fixedBytes[f.Tag] == -1 {
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(f.Value)))
	}
	return append(buf, f.Value...)
}

// AppendTableString appends an S entry.
func AppendTableString(buf []byte, name, value string) []byte {
	return AppendTableField(buf, name, Field{Tag: 'S', Value: []byte(value)})
}

// AppendTableBool appends a t entry.
func AppendTableBool(buf []byte, name string, value bool) []byte {
	return AppendTableField(buf, name, Field{Tag: TagBool, Value: boolBytes(value)})
}

// AppendTableInt appends the narrowest signed integer entry that RabbitMQ's clients read: I, or l where 32 bits do not do.
func AppendTableInt(buf []byte, name string, value int64) []byte {
	if value >= math.MinInt32 && value <= math.MaxInt32 {
		return AppendTableField(buf, name, Field{Tag: 'I', Value: binary.BigEndian.AppendUint32(nil, uint32(value))})
	}
	return AppendTableField(buf, name, Field{Tag: 'l', Value: binary.BigEndian.AppendUint64(nil, uint64(value))})
}

// AppendTableTable appends an F entry.
func AppendTableTable(buf []byte, name string, value Table) []byte {
	return AppendTableField(buf, name, Field{Tag: 'F', Value: value})
}

func boolBytes(v bool) []byte {
	if v {
		return []byte{1}
	}
	return []byte{0}
}
