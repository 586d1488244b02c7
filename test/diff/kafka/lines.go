package main

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// lines writes answers down, a field a line. Fields that have their default are left out; what differs from run to
// run for no reason that matters is made the same.
type lines struct {
	name    string
	base    int64
	tokens  map[string]map[string]string // numbers of what is random, by kind and value
	topics  map[[16]byte]string          // names by ids
	mine    bool
	without []string
	out     []string
}

func newLines(name string, base int64) *lines {
	return &lines{name: name, base: base, tokens: map[string]map[string]string{}, topics: map[[16]byte]string{}}
}

// of are the lines of an answer.
func (l *lines) of(res kmsg.Response) []string {
	l.out = nil
	v := reflect.ValueOf(res).Elem()
	l.walk("", "", v, standard(v.Type()))
	if len(l.out) == 0 {
		return []string{"ok"}
	}
	return l.out
}

// standard is a struct with the defaults of its fields.
func standard(t reflect.Type) reflect.Value {
	p := reflect.New(t)
	if d, ok := p.Interface().(interface{ Default() }); ok {
		d.Default()
	}
	return p.Elem()
}

// keyFields name an element of a list.
var keyFields = []string{"Topic", "Group", "GroupID", "TransactionalID", "ResourceName", "Principal", "User", "Name", "Key", "ApiKey", "Partition", "PartitionIndex", "ProducerID", "ReplicaID", "NodeID", "Type", "MemberID", "TopicID", "Dir", "Index", "Mechanism"}

// key is the name of an element, and the field that has it; "" of one without.
func (l *lines) key(v reflect.Value) (key, field string) {
	for _, name := range keyFields {
		f := v.FieldByName(name)
		if f.IsValid() && f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		if f.IsValid() && !f.IsZero() || f.IsValid() && f.CanInt() {
			return strings.ReplaceAll(l.value(name, f), " ", "_"), name
		}
	}
	return "", ""
}

// others tells whether an element is another conversation's.
func (l *lines) others(v reflect.Value) bool {
	for _, name := range []string{"Topic", "Group", "TransactionalID", "ResourceName", "User", "Name"} {
		f := v.FieldByName(name)
		if f.IsValid() && f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		if f.IsValid() && f.Kind() == reflect.String {
			return !strings.HasPrefix(strings.TrimPrefix(f.String(), "User:"), l.name)
		}
	}
	return false
}

// about is what tells access lists of one principal apart, which come in no order.
func about(v reflect.Value) string {
	host := v.FieldByName("Host")
	if !v.FieldByName("PermissionType").IsValid() || !host.IsValid() {
		return ""
	}
	return fmt.Sprint(host, v.FieldByName("Operation"), v.FieldByName("PermissionType"))
}

// walk writes down the fields of a struct but the one that named it.
func (l *lines) walk(path, named string, v, standard reflect.Value) {
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if name == "Version" || name == "ThrottleMillis" || name == named || slices.Contains(l.without, name) {
			continue
		}
		l.field(path+name, name, v.Field(i), standard.Field(i))
	}
}

func (l *lines) field(path, name string, v, std reflect.Value) {
	switch {
	case name == "UnknownTags":
		if tags := v.Addr().Interface().(*kmsg.Tags); tags.Len() > 0 {
			l.say(path, fmt.Sprint(tags.Len()))
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		l.list(path, v)
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct:
		if !v.IsNil() {
			l.say(path, "there")
			l.walk(path+".", "", v.Elem(), standard(v.Type().Elem()))
		}
	case v.Kind() == reflect.Struct:
		l.walk(path+".", "", v, std)
	case reflect.DeepEqual(v.Interface(), std.Interface()):
	case strings.HasSuffix(name, "ErrorMessage") && v.Elem().String() == "":
	default:
		l.say(path, l.value(name, v))
	}
}

func (l *lines) say(path, value string) {
	l.out = append(l.out, path+"="+strings.ReplaceAll(value, "\n", `\n`))
}

// list walks a list whose elements are named by their keys, in the order of these.
func (l *lines) list(path string, v reflect.Value) {
	if v.IsNil() {
		return
	}
	type element struct {
		key, field string
		v          reflect.Value
	}
	var all []element
	for i := range v.Len() {
		e := v.Index(i)
		if l.mine && l.others(e) {
			continue
		}
		key, field := l.key(e)
		all = append(all, element{key, field, e})
	}
	if len(all) == 0 && v.Len() > 0 {
		return // all are others'
	}
	slices.SortStableFunc(all, func(a, b element) int {
		return cmp.Or(strings.Compare(a.key, b.key), strings.Compare(about(a.v), about(b.v)))
	})
	names := make([]string, len(all))
	times := map[string]int{}
	for i := range all {
		times[all[i].key]++
		if n := times[all[i].key]; n > 1 || all[i].key == "" {
			all[i].key += "#" + strconv.Itoa(n)
		}
		names[i] = all[i].key
	}
	l.say(path, "<"+strings.Join(names, " ")+">")
	for _, e := range all {
		l.walk(path+"["+e.key+"].", e.field, e.v, standard(e.v.Type()))
	}
}

var (
	versioned = regexp.MustCompile(`-v\d+\b`)
	uuid      = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|^[A-Za-z0-9_-]{22}$`)
)

// value is a leaf in words.
func (l *lines) value(name string, v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "null"
		}
		v = v.Elem()
	}
	switch x := v.Interface().(type) {
	case [16]byte:
		if x == [16]byte{} {
			return "none"
		}
		if l.topics[x] != "" {
			return "id(" + l.topics[x] + ")"
		}
		return "id"
	case []byte:
		if name == "RecordBatches" || name == "Records" {
			return l.batches(x)
		}
		return fmt.Sprintf("%q", x)
	case string:
		return l.text(name, x)
	}
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String {
		v = reflect.ValueOf(slices.Sorted(slices.Values(v.Interface().([]string)))) // the order of such lists means nothing
	}
	if v.Kind() == reflect.Slice {
		each := make([]string, v.Len())
		for i := range each {
			each[i] = l.value(name, v.Index(i))
		}
		return "[" + strings.Join(each, " ") + "]"
	}
	if v.CanUint() && name == "Port" && v.Uint() > 0 {
		return "port"
	}
	if !v.CanInt() {
		return fmt.Sprint(v.Interface())
	}
	return l.number(name, v.Int())
}

func (l *lines) text(name, s string) string {
	switch name {
	case "ErrorMessage", "AcknowledgeErrorMessage":
		return "words"
	case "Host", "ClientHost", "ClusterID", "Dir":
		if s == "" || s == "*" {
			return strconv.Quote(s)
		}
		return strings.ToLower(name)
	case "MemberID", "LeaderID":
		if uuid.MatchString(s) {
			return l.token("member", s)
		}
	}
	s = versioned.ReplaceAllString(s, "-v*")
	if len(s) > 100 {
		return fmt.Sprintf("%d bytes", len(s))
	}
	if s == "" || strings.ContainsAny(s, " =[]<>") || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return strconv.QuoteToASCII(s)
	}
	return s
}

func (l *lines) number(name string, n int64) string {
	switch {
	case name == "ErrorCode":
		if err := kerr.TypedErrorForCode(int16(n)); err != nil {
			return fmt.Sprintf("%d %s", n, err.Message)
		}
	case name == "FinalizedFeaturesEpoch" && n >= 0:
		return "some"
	case name == "Port" && n > 0:
		return "port"
	case name == "ProducerID" && n >= 0:
		return l.token("producer", fmt.Sprint(n))
	case name == "SessionID" && n != 0:
		return l.token("session", fmt.Sprint(n))
	case (name == "TotalBytes" || name == "UsableBytes" || name == "Size") && n > 0:
		return "some"
	case strings.Contains(name, "Timestamp") || name == "LogAppendTime":
		return l.time(n)
	}
	return strconv.FormatInt(n, 10)
}

func (l *lines) time(ms int64) string {
	switch {
	case ms >= l.base && ms < l.base+30_000:
		return fmt.Sprintf("base+%d", ms-l.base)
	case ms > time.Now().Add(-time.Hour).UnixMilli() && ms < time.Now().Add(time.Hour).UnixMilli():
		return "now"
	}
	return strconv.FormatInt(ms, 10)
}

// token is what stands for a random value: the n-th of its kind.
func (l *lines) token(kind, value string) string {
	known := l.tokens[kind]
	if known == nil {
		known = map[string]string{}
		l.tokens[kind] = known
	}
	if known[value] == "" {
		known[value] = fmt.Sprintf("%s#%d", kind, len(known)+1)
	}
	return known[value]
}

// batches tells what record batches say of themselves.
func (l *lines) batches(b []byte) string {
	if b == nil {
		return "null"
	}
	var out []string
	for len(b) >= 61 && len(b) >= 12+int(binary.BigEndian.Uint32(b[8:])) {
		size := 12 + int(binary.BigEndian.Uint32(b[8:]))
		var r kmsg.RecordBatch
		if err := r.ReadFrom(b[:size]); err != nil {
			out = append(out, "a batch that can't be read")
			break
		}
		b = b[size:]
		out = append(out, fmt.Sprintf("{offset %d records %d to +%d magic %d attributes %d times %s %s %s epoch %d sequence %d of %d bytes: %s}", r.FirstOffset, r.NumRecords, r.LastOffsetDelta, r.Magic,
			r.Attributes, l.time(r.FirstTimestamp), l.time(r.MaxTimestamp), l.number("ProducerID", r.ProducerID), r.ProducerEpoch, r.FirstSequence, size, content(&r)))
	}
	if len(b) > 0 {
		out = append(out, fmt.Sprintf("and %d bytes", len(b)))
	}
	return "[" + strings.Join(out, " ") + "]"
}

// content is what is in a batch: of each record its offset, time, key and value, of a compressed batch the length alone.
func content(b *kmsg.RecordBatch) string {
	if b.Attributes&7 != 0 {
		return fmt.Sprintf("%d bytes", len(b.Records))
	}
	var out []string
	for rest := b.Records; len(rest) > 0; {
		size, n := binary.Varint(rest)
		var r kmsg.Record
		if n <= 0 || size < 0 || int(size) > len(rest)-n || r.ReadFrom(rest[:n+int(size)]) != nil {
			return strings.Join(append(out, fmt.Sprintf("and %d bytes", len(rest))), " ")
		}
		rest = rest[n+int(size):]
		out = append(out, fmt.Sprintf("+%d +%d %s %s", r.OffsetDelta, r.TimestampDelta64, quoted(r.Key), quoted(r.Value)))
	}
	return strings.Join(out, " ")
}

func quoted(b []byte) string {
	switch {
	case b == nil:
		return "null"
	case len(b) > 16:
		return fmt.Sprintf("%d bytes", len(b))
	}
	return strconv.QuoteToASCII(string(b))
}
