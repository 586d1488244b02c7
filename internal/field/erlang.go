package field

import (
	"fmt"
	"strings"
	"unicode"
)

// typeNames are RabbitMQ's names of the types of a field.
var typeNames = map[byte]string{
	TagBool: "bool", TagInt8: "byte", TagUint8: "unsignedbyte", TagInt16: "short", TagUint16: "unsignedshort",
	TagInt32: "signedint", TagUint32: "unsignedint", TagInt64: "long", TagInt64Alt: "long", TagFloat32: "float",
	TagFloat64: "double", TagDecimal: "decimal", TagString: "longstr", TagBytes: "binary", TagTimestamp: "timestamp",
	TagTable: "table", TagArray: "array", TagVoid: "void",
}

// TypeName is what RabbitMQ calls the type of a tag.
func TypeName(tag byte) string { return typeNames[tag] }

// TypeName is what RabbitMQ calls the field's type.
func (f Field) TypeName() string { return TypeName(f.Tag) }

// Erlang writes a value as RabbitMQ's errors do.
func Erlang(t *Iterator) string {
	if t.Tag() == TagVoid {
		return "undefined"
	}
	if text := t.Text(); text != nil {
		return ErlangBinary(text)
	}
	text, _ := t.AppendValueText(nil)
	return string(text)
}

// ErlangBinary writes bytes as RabbitMQ's errors do: as text if they are that.
func ErlangBinary(b []byte) string {
	if len(b) == 0 {
		return "<<>>"
	}
	for _, c := range b {
		if c > unicode.MaxASCII || !unicode.IsPrint(rune(c)) {
			return "<<" + strings.Trim(strings.ReplaceAll(fmt.Sprint(b), " ", ","), "[]") + ">>"
		}
	}
	return `<<"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(string(b)) + `">>`
}

// ErlangAtom writes a name as RabbitMQ's errors do that know it as an atom: in quotes
// unless it is a word.
func ErlangAtom(name string) string {
	for i, c := range name {
		if c > unicode.MaxASCII || !(unicode.IsLower(c) || i > 0 && (unicode.IsLetter(c) || unicode.IsDigit(c) || c == '_' || c == '@')) {
			return "'" + name + "'"
		}
	}
	return name
}
