package broker

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
)

// Filter says which messages somebody means who looks through a queue. All that is set must hold; the zero
// value means every message.
type Filter struct {
	Key        *string           // the routing key, or a pattern as of a topic exchange
	Exchange   *string           // DefaultExchange and "" are the same
	Headers    map[string]string // name and value as text; "": it is there
	Properties map[string]string // the same of properties, by the names of the HTTP API
	Contains   []byte            // somewhere in the body
	Reason     *string           // why it died first or last; only dead letters have one
	Origin     *string           // the queue in which it died first or last
}

// propertyText appends each property as text.
var propertyText = map[string]func(dst []byte, p *field.Properties) (text []byte, there bool){
	"content_type":     textProperty(field.FlagContentType, func(p *field.Properties) []byte { return p.ContentType }),
	"content_encoding": textProperty(field.FlagContentEncoding, func(p *field.Properties) []byte { return p.ContentEncoding }),
	"correlation_id":   textProperty(field.FlagCorrelationID, func(p *field.Properties) []byte { return p.CorrelationID }),
	"reply_to":         textProperty(field.FlagReplyTo, func(p *field.Properties) []byte { return p.ReplyTo }),
	"expiration":       textProperty(field.FlagExpiration, func(p *field.Properties) []byte { return p.Expiration }),
	"message_id":       textProperty(field.FlagMessageID, func(p *field.Properties) []byte { return p.MessageID }),
	"type":             textProperty(field.FlagType, func(p *field.Properties) []byte { return p.Type }),
	"user_id":          textProperty(field.FlagUserID, func(p *field.Properties) []byte { return p.UserID }),
	"app_id":           textProperty(field.FlagAppID, func(p *field.Properties) []byte { return p.AppID }),
	"cluster_id":       textProperty(field.FlagClusterID, func(p *field.Properties) []byte { return p.ClusterID }),
	"delivery_mode":    numberProperty(field.FlagDeliveryMode, func(p *field.Properties) uint64 { return uint64(p.DeliveryMode) }),
	"priority":         numberProperty(field.FlagPriority, func(p *field.Properties) uint64 { return uint64(p.Priority) }),
	"timestamp":        numberProperty(field.FlagTimestamp, func(p *field.Properties) uint64 { return p.Timestamp }),
}

type propertyReader = func(dst []byte, p *field.Properties) ([]byte, bool)

func textProperty(flag uint16, of func(*field.Properties) []byte) propertyReader {
	return func(dst []byte, p *field.Properties) ([]byte, bool) { return append(dst, of(p)...), p.Flags&flag != 0 }
}

func numberProperty(flag uint16, of func(*field.Properties) uint64) propertyReader {
	return func(dst []byte, p *field.Properties) ([]byte, bool) {
		return strconv.AppendUint(dst, of(p), 10), p.Flags&flag != 0
	}
}

// Check says what of the filter makes no sense.
func (f *Filter) Check() error {
	for name := range f.Properties {
		if propertyText[name] == nil {
			return fail(BadSetting, "there is no property '%s'; there are %s", name, strings.Join(slices.Sorted(maps.Keys(propertyText)), ", "))
		}
	}
	if f.Key != nil && len(*f.Key) > maxPermitName {
		return fail(BadSetting, "the pattern of the routing key is longer than %d bytes", maxPermitName)
	}
	if n := f.size(); n > maxFilterBytes {
		return fail(BadSetting, "the filter has %d bytes; %d are the most", n, maxFilterBytes)
	}
	return nil
}

// maxFilterBytes bounds a filter: jobs keep theirs, and write it down as long as they run.
const maxFilterBytes = 64 << 10

// size is about how many bytes the filter has.
func (f *Filter) size() int {
	n := len(f.Contains)
	for _, t := range []*string{f.Key, f.Exchange, f.Reason, f.Origin} {
		if t != nil {
			n += len(*t)
		}
	}
	for _, m := range []map[string]string{f.Headers, f.Properties} {
		for name, value := range m {
			n += len(name) + len(value)
		}
	}
	return n
}

// chooser is a filter at work. Most messages in a row have the same head, which is looked at once.
type chooser struct {
	f       Filter
	words   []string // of Key, where it is a pattern
	head    uint64   // the Delivery.Head that was looked at last; 0: none
	want    bool     // what came of it
	props   field.Properties
	scratch []byte
}

// Chooser makes a function that says whether a message is meant. It belongs to one goroutine, and to deliveries of
// one partition.
func (f Filter) Chooser() func(*Delivery) bool {
	c := &chooser{f: f}
	if f.Key != nil && strings.ContainsAny(*f.Key, "*#") {
		c.words = strings.Split(*f.Key, ".")
	}
	return c.wants
}

func (c *chooser) wants(d *Delivery) bool {
	if d.Head == 0 || d.Head != c.head {
		c.head, c.want = d.Head, c.wantsHead(d)
	}
	return c.want && (len(c.f.Contains) == 0 || bytes.Contains(d.Body, c.f.Contains))
}

// wantsHead looks at all but the body.
func (c *chooser) wantsHead(d *Delivery) bool {
	f := &c.f
	switch {
	case f.Exchange != nil && string(d.Exchange) != *f.Exchange && !(len(d.Exchange) == 0 && *f.Exchange == DefaultExchange):
		return false
	case c.words != nil && !matchesWords(c.words, string(d.Key)):
		return false
	case c.words == nil && f.Key != nil && string(d.Key) != *f.Key:
		return false
	}
	if f.Reason != nil || f.Origin != nil {
		first, last := message.DeathsOf(d.Properties, d.died)
		if !isOneOf(f.Reason, first.Reason, last.Reason) || !isOneOf(f.Origin, first.Queue, last.Queue) {
			return false
		}
	}
	if len(f.Headers)+len(f.Properties) == 0 {
		return true
	}
	if c.props.Parse(d.Properties) != nil {
		return false
	}
	for name, want := range f.Properties {
		text, there := propertyText[name](c.scratch[:0], &c.props)
		if c.scratch = text; !there || want != "" && string(text) != want {
			return false
		}
	}
	for name, want := range f.Headers {
		v, there := field.Find(c.props.Headers, name)
		if !there {
			return false
		}
		text, _ := v.AppendValueText(c.scratch[:0])
		if c.scratch = text; want != "" && string(text) != want {
			return false
		}
	}
	return true
}

// isOneOf says whether what is wanted, if it is, is one of two.
func isOneOf(want *string, a, b []byte) bool {
	return want == nil || a != nil && *want == string(a) || b != nil && *want == string(b)
}

// matchesWords matches a key with the words of a topic pattern: * is one word, # any number of them. It takes time in the product
// of both lengths at most.
func matchesWords(pattern []string, key string) bool {
	words := strings.Split(key, ".")
	if key == "" {
		words = nil
	}
	at, star, from := 0, -1, 0
	for i := 0; i < len(words); {
		switch {
		case at < len(pattern) && pattern[at] == "#":
			star, from = at, i
			at++
		case at < len(pattern) && (pattern[at] == "*" || pattern[at] == words[i]):
			at++
			i++
		case star >= 0: // the last # takes one word more
			from++
			at, i = star+1, from
		default:
			return false
		}
	}
	for at < len(pattern) && pattern[at] == "#" {
		at++
	}
	return at == len(pattern)
}
