package wire

import "github.com/leveret-mq/leveret/internal/field"

// The tables and properties of the protocol are those of package field, by the names
// that the methods know them under.
type (
	// Table is a field table without its length.
	Table = field.Table
	// Field is one value of a table or an array.
	Field = field.Field
	// RawProperties are a message's property flags and list, as published.
	RawProperties = field.RawProperties
	// Properties are RawProperties decoded.
	Properties = field.Properties
)

// Errors of tables and properties (502 SYNTAX_ERROR; too deep is 406).
var (
	ErrTableDepth = field.ErrDepth
)

// NoProperties is the flag word of a message without properties.
var NoProperties = RawProperties(field.NoProperties)

// Flags of the properties that the listener looks at.
const (
	FlagExpiration = field.FlagExpiration
	FlagUserID     = field.FlagUserID
)

// AppendTableField appends an entry whose value is already encoded behind its tag.
func AppendTableField(buf []byte, name string, f Field) []byte {
	return field.AppendTableField(buf, name, f)
}

// AppendTableString appends an S entry.
func AppendTableString(buf []byte, name, value string) []byte {
	return field.AppendTableString(buf, name, value)
}

// AppendTableBool appends a t entry.
func AppendTableBool(buf []byte, name string, value bool) []byte {
	return field.AppendTableBool(buf, name, value)
}

// AppendTableInt appends the narrowest signed integer entry.
func AppendTableInt(buf []byte, name string, value int64) []byte {
	return field.AppendTableInt(buf, name, value)
}

// AppendTableTable appends an F entry.
func AppendTableTable(buf []byte, name string, value Table) []byte {
	return field.AppendTableTable(buf, name, value)
}

// NextElement takes the first value off the entries of an A value. ok is false at its end.
func NextElement(array []byte) (f Field, rest []byte, ok bool) { return field.NextElement(array) }
