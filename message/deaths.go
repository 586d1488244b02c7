package message

import (
	"bytes"
	"encoding/binary"

	"github.com/leveret-mq/leveret/internal/field"
)

// What a message died of stands in its headers, as RabbitMQ 4 has it:
//
//	x-death    array of tables, the newest first, one for each queue and reason:
//	           queue, reason, count, time (of the first), exchange, routing-keys,
//	           original-expiration if it had one
//	x-first-death-queue, -reason, -exchange    of the first death of all
//	x-last-death-queue,  -reason, -exchange    of the newest
//
// A client may send headers of these names. They mean nothing to the broker, and the
// first death replaces them: what the broker wrote itself is marked in the envelope.

const (
	// maxDeathsBytes bounds the deaths that a message tells of; the oldest are forgotten.
	maxDeathsBytes = 48 << 10
	// maxDeadBytes bounds the properties of a dead letter: they are delivered in one frame, and
	// most clients take none above 128 KiB. Where the message's own leave less than
	// minDeathsBytes, that is told of its deaths all the same, or nobody would see a circle.
	maxDeadBytes   = 128<<10 - 64
	minDeathsBytes = 4 << 10
	// endsBytes is more than the headers of the first and the last death take, and the names
	// in a death.
	endsBytes = 3 << 10
)

// Rejected is the one reason of a death that is somebody's decision.
const Rejected = "rejected"

// Death says how a message ended in a queue.
type Death struct {
	Queue    []byte
	Reason   []byte   // rejected, expired, maxlen or delivery_limit
	Exchange []byte   // that the message was published to
	Keys     [][]byte // routing keys that it was published with
	Seconds  int64    // when it ended, since 1970
}

// DeathWriter writes deaths into properties. It keeps its buffers.
type DeathWriter struct{ headers, entry []byte }

// Append appends the properties of a dead letter: those of the message, with the death in
// the headers and without the expiration. died says that its headers tell of deaths
// already. Properties that can't be read are taken for none.
func (w *DeathWriter) Append(dst, properties []byte, died bool, d *Death) []byte {
	var p field.Properties
	if p.Parse(properties) != nil {
		p = field.Properties{}
	}
	earlier := earlierDeaths(p.Headers, died)
	room := max(minDeathsBytes, min(maxDeathsBytes, maxDeadBytes-endsBytes-(len(properties)-len(earlier))))
	w.headers = w.entries(w.headers[:0], earlier, d, trimZeros(p.Expiration), room)
	w.headers = appendEnds(w.headers, p.Headers, died, d)
	for t := p.Headers; ; {
		name, _, rest, ok := t.Next()
		if !ok {
			break
		}
		if !isDeathHeader(name) {
			w.headers = append(w.headers, t[:len(t)-len(rest)]...)
		}
		t = rest
	}
	p.Headers = w.headers
	p.Flags = p.Flags&^field.FlagExpiration | field.FlagHeaders
	return p.Append(dst)
}

// entries appends x-death: the new death, or an earlier one of the same queue and reason
// counted on, and the others behind it, as many as there is room for.
func (w *DeathWriter) entries(dst []byte, earlier deathList, d *Death, expiration []byte, room int) []byte {
	dst = append(field.AppendName(dst, "x-death"), field.TagArray)
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	var e death
	w.entry = w.entry[:0]
	for rest := earlier; rest.next(&e); {
		if e.same(d) {
			w.entry = appendCounted(w.entry, &e)
			break
		}
	}
	if len(w.entry) == 0 {
		w.entry = appendNew(w.entry, d, expiration, room/4)
	}
	dst = field.AppendTable(dst, w.entry)
	for rest := earlier; rest.next(&e) && len(dst)-at+len(e.table) <= room; {
		if !e.same(d) {
			dst = field.AppendTable(dst, e.table)
		}
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// appendNew appends a first death. Keys for which there is no room are not told.
func appendNew(dst []byte, d *Death, expiration []byte, room int) []byte {
	dst = field.AppendInt(field.AppendName(dst, "count"), 1)
	dst = field.AppendString(field.AppendName(dst, "reason"), d.Reason)
	dst = field.AppendString(field.AppendName(dst, "queue"), d.Queue)
	dst = append(field.AppendName(dst, "time"), field.TagTimestamp)
	dst = binary.BigEndian.AppendUint64(dst, uint64(d.Seconds))
	dst = field.AppendString(field.AppendName(dst, "exchange"), d.Exchange)
	dst = append(field.AppendName(dst, "routing-keys"), field.TagArray)
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	for _, key := range d.Keys {
		if len(dst)+len(key) > room {
			break
		}
		dst = field.AppendString(dst, key)
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	if len(expiration) > 0 {
		dst = field.AppendString(field.AppendName(dst, "original-expiration"), expiration)
	}
	return dst
}

// appendCounted appends an earlier death with one more counted.
func appendCounted(dst []byte, e *death) []byte {
	for t := e.table; ; {
		name, _, rest, ok := t.Next()
		if !ok {
			return dst
		}
		if string(name) == "count" {
			dst = field.AppendInt(field.AppendName(dst, "count"), e.count+1)
		} else {
			dst = append(dst, t[:len(t)-len(rest)]...)
		}
		t = rest
	}
}

// appendEnds appends the headers of the first and the last death.
func appendEnds(dst []byte, headers field.Table, died bool, d *Death) []byte {
	now := [3][]byte{d.Queue, d.Reason, d.Exchange}
	for i, name := range deathHeaders[1:] {
		value := now[i%3]
		if i < 3 && died {
			if f, ok := headers.Get(name); ok && f.Tag == field.TagString {
				value = f.Value
			}
		}
		dst = field.AppendString(field.AppendName(dst, name), value)
	}
	return dst
}

// deathHeaders are the names of the headers that tell of deaths.
var deathHeaders = [...]string{"x-death",
	"x-first-death-queue", "x-first-death-reason", "x-first-death-exchange",
	"x-last-death-queue", "x-last-death-reason", "x-last-death-exchange"}

func isDeathHeader(name []byte) bool {
	if len(name) < len("x-death") || name[0] != 'x' {
		return false
	}
	for _, n := range deathHeaders {
		if string(name) == n {
			return true
		}
	}
	return false
}

// death is one table of x-death.
type death struct {
	table         field.Table
	queue, reason []byte
	count         int64
	keys          []byte // the entries of routing-keys
}

// earlierDeaths are the tables of x-death, if it is the broker's.
func earlierDeaths(headers field.Table, died bool) deathList {
	if !died {
		return nil
	}
	if f, ok := headers.Get("x-death"); ok && f.Tag == field.TagArray {
		return f.Value
	}
	return nil
}

// deathList is the tables of x-death that were not read yet.
type deathList []byte

// next reads the next one, the newest first.
func (l *deathList) next(d *death) bool {
	for {
		f, rest, ok := field.NextElement(*l)
		if !ok {
			return false
		}
		*l = rest
		if table, ok := f.Table(); ok {
			d.read(table)
			return true
		}
	}
}

func (d *death) same(as *Death) bool {
	return bytes.Equal(d.queue, as.Queue) && bytes.Equal(d.reason, as.Reason)
}

func (d *death) read(table field.Table) {
	*d = death{table: table}
	for t := table; ; {
		name, f, rest, ok := t.Next()
		if !ok {
			return
		}
		switch string(name) {
		case "queue":
			d.queue = f.Value
		case "reason":
			d.reason = f.Value
		case "count":
			d.count, _ = f.Int()
		case "routing-keys":
			if f.Tag == field.TagArray {
				d.keys = f.Value
			}
		}
		t = rest
	}
}

// Cycles says whether a dead letter with these properties, which Append made, would come
// back to a queue in a circle in which nobody rejected it.
func Cycles(properties []byte, queue string) bool {
	var p field.Properties
	if p.Parse(properties) != nil {
		return false
	}
	var d death
	for rest := earlierDeaths(p.Headers, true); rest.next(&d) && string(d.reason) != Rejected; {
		if string(d.queue) == queue {
			return true
		}
	}
	return false
}

// FurtherKeys appends the keys by which a message is routed beside its own: those of its
// header CC. In a dead letter that died of something else before that is so only if it
// kept its keys then.
func FurtherKeys(into [][]byte, properties, key []byte, died bool) [][]byte {
	var p field.Properties
	if !mayHaveHeaders(properties) || p.Parse(properties) != nil {
		return into
	}
	if !died {
		f, ok := p.Headers.Get("CC")
		if !ok || f.Tag != field.TagArray {
			return into
		}
		return appendKeys(into, f.Value)
	}
	var d death
	list := earlierDeaths(p.Headers, true)
	if !list.next(&d) {
		return into
	}
	if first, rest, ok := field.NextElement(d.keys); ok && string(first.Value) == string(key) {
		into = appendKeys(into, rest)
	}
	return into
}

func appendKeys(into [][]byte, array []byte) [][]byte {
	for {
		f, rest, ok := field.NextElement(array)
		if !ok {
			return into
		}
		if f.Tag == field.TagString {
			into = append(into, f.Value)
		}
		array = rest
	}
}

func mayHaveHeaders(properties []byte) bool {
	return len(properties) > 0 && properties[0]&(field.FlagHeaders>>8) != 0
}

// trimZeros writes a number without zeros before it.
func trimZeros(number []byte) []byte {
	for len(number) > 1 && number[0] == '0' {
		number = number[1:]
	}
	return number
}

// Origin is where and why a message died once, and what it had been before. Its slices alias the properties.
type Origin struct {
	Queue, Reason, Exchange []byte // nil: it did not die
	Key                     []byte // the routing key that it had; nil: not known
}

// DeathsOf are the first death and the newest of a message with these properties. What a client wrote itself (died is
// false then) is none.
func DeathsOf(properties []byte, died bool) (first, last Origin) {
	var p field.Properties
	if !died || p.Parse(properties) != nil {
		return first, last
	}
	text := func(name string) []byte {
		f, ok := p.Headers.Get(name)
		if !ok || f.Tag != field.TagString {
			return nil
		}
		return f.Value[:len(f.Value):len(f.Value)]
	}
	first = Origin{Queue: text(deathHeaders[1]), Reason: text(deathHeaders[2]), Exchange: text(deathHeaders[3])}
	last = Origin{Queue: text(deathHeaders[4]), Reason: text(deathHeaders[5]), Exchange: text(deathHeaders[6])}
	var d death
	for rest := earlierDeaths(p.Headers, true); rest.next(&d); { // the newest first
		key, _, ok := field.NextElement(d.keys)
		for _, o := range []*Origin{&first, &last} {
			if ok && key.Tag == field.TagString && bytes.Equal(d.queue, o.Queue) && bytes.Equal(d.reason, o.Reason) {
				o.Key = key.Value
			}
		}
	}
	return first, last
}

// AppendWithoutDeaths appends properties without the headers that tell of deaths, and with more headers (entries of a
// table) in place of those of the same names. keepDeaths leaves the former. Properties that can't be read are taken for none.
func AppendWithoutDeaths(dst, properties, more []byte, keepDeaths bool) []byte {
	var p field.Properties
	if p.Parse(properties) != nil {
		p = field.Properties{}
	}
	headers := append(make([]byte, 0, len(p.Headers)+len(more)), more...)
	for t := p.Headers; ; {
		name, _, rest, ok := t.Next()
		if !ok {
			break
		}
		_, replaced := field.Table(more).Get(string(name))
		if !replaced && (keepDeaths || !isDeathHeader(name)) {
			headers = append(headers, t[:len(t)-len(rest)]...)
		}
		t = rest
	}
	p.Headers = headers
	if p.Flags &^= field.FlagHeaders; len(headers) > 0 {
		p.Flags |= field.FlagHeaders
	}
	return p.Append(dst)
}
