package management

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/message"
)

// browseRows are about looking through a queue.
var browseRows = []row{
	{path: "queues/{vhost}/{name}/messages", method: get, who: management, scope: worked, do: (*call).browse, query: browseQuery,
		about: "The messages of a queue, a topic or a stream from a place on, without taking any"},
}

// browseQuery are the parameters of browse.
var browseQuery = slices.Concat([]string{"offset", "time", "last", "at", "until", "partition", "count", "truncate", "encoding", "state"}, filterParameters)

// Bounds of one look through a queue.
const (
	maxBrowsed      = 1000     // messages that are shown
	browseTruncate  = 16 << 10 // bytes of a payload that are shown where nothing is said
	maxTruncate     = 1 << 20
	maxBrowseBytes  = 8 << 20 // of an answer, after which no message is added
	maxLooked       = 100_000 // messages that are looked at,
	maxLookedBytes  = 64 << 20
	maxBrowseTime   = 5 * time.Second
	browseStepBytes = 1 << 20 // of bodies, after which it is asked whether anybody still waits
)

// browsing is one look through a queue.
type browsing struct {
	c        *call
	s        *broker.Session
	q        *broker.Queue
	wants    func(*broker.Delivery) bool
	filter   broker.Filter
	states   string // which are shown; "" is those that have not left, and all of a queue that keeps them
	untilMs  int64  // later ones are not meant; -1: all are
	fromMs   int64  // the same of earlier ones
	count    int
	truncate int64
	encoding string
	until    time.Time

	places []place
	buf    []byte // the items
	items  int
	looked int
	bytes  int64 // of bodies that were looked at
	held   int64 // bytes of what is to be shown
	room   int64 // of memory that was charged
	short  bool  // what is newest was not found in time
}

// place is how far a partition was looked through.
type place struct {
	part       int
	first, end message.Offset // of what there is
	next, stop message.Offset // of what is left to be looked at
}

func (c *call) browse() error {
	q, err := c.queue()
	if err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	if _, err := s.Queue(broker.Consume, q.Name); err != nil { // also one that is another connection's alone
		return err
	}
	b := &browsing{c: c, s: s, q: q, until: time.Now().Add(maxBrowseTime)}
	query := c.r.URL.Query()
	if err := b.read(query); err != nil {
		return err
	}
	last, err := b.stand(query)
	if err != nil {
		return err
	}
	if last > 0 {
		err = b.lookBack(last)
	} else {
		err = b.look()
	}
	if err != nil {
		return err
	}
	return b.answer()
}

// read takes over what the query says of how to look.
func (b *browsing) read(query url.Values) (err error) {
	if err := onlyQuery(query, browseQuery); err != nil {
		return err
	}
	count, err := numberIn(query, "count", 50, 1, maxBrowsed)
	if err != nil {
		return err
	}
	b.count = int(count)
	if b.truncate, err = numberIn(query, "truncate", browseTruncate, 0, maxTruncate); err != nil {
		return err
	}
	if b.encoding = query.Get("encoding"); b.encoding == "" {
		b.encoding = "auto"
	}
	if b.encoding != "auto" && b.encoding != "base64" {
		return badRequest("unsupported_encoding: encoding must be auto or base64, it is %q", shortName(b.encoding))
	}
	b.states = query.Get("state")
	if !slices.Contains([]string{"", "all", "ready", "unacked", "waiting", "acked"}, b.states) {
		return badRequest("'state' must be all, ready, unacked, waiting or acked, it is %q", shortName(b.states))
	}
	if b.states == "" && b.q.KeepsAcked() {
		b.states = "all"
	}
	b.untilMs = -1
	if text := query.Get("until"); text != "" {
		if b.untilMs, err = readTime("until", text); err != nil {
			return err
		}
	}
	b.filter, err = filterIn(query)
	return err
}

// numberIn reads a number of a query.
func numberIn(query url.Values, name string, otherwise, least, most int64) (int64, error) {
	if !query.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(query.Get(name), 10, 64)
	if err != nil || n < least || n > most {
		return 0, badRequest("'%s' must be a number from %d to %d, it is %q", name, least, most, shortName(query.Get(name)))
	}
	return n, nil
}

// stand finds where to begin; last is how many of the newest are wanted, 0 where it is said otherwise.
func (b *browsing) stand(query url.Values) (last int, err error) {
	var ways []string
	for _, way := range []string{"offset", "time", "last", "at"} {
		if query.Has(way) {
			ways = append(ways, way)
		}
	}
	if len(ways) > 1 {
		return 0, badRequest("%s: only one of them says where to begin", strings.Join(ways, " and "))
	}
	parts := b.q.Partitions()
	only, err := numberIn(query, "partition", -1, 0, int64(len(parts))-1)
	if err != nil {
		return 0, err
	}
	b.fromMs = -1
	if text := query.Get("time"); text != "" {
		if b.fromMs, err = readTime("time", text); err != nil {
			return 0, err
		}
	}
	offset, err := numberIn(query, "offset", -1, 0, 1<<62)
	if err != nil {
		return 0, err
	}
	if offset >= 0 && only < 0 && len(parts) > 1 {
		return 0, badRequest("'offset' needs 'partition': the queue has %d", len(parts))
	}
	at, err := readPlaces(query.Get("at"), len(parts))
	if err != nil {
		return 0, err
	}
	for i, p := range parts {
		if only >= 0 && int(only) != i {
			continue
		}
		l := place{part: i}
		if l.first, l.end, err = b.s.Extent(p); err != nil {
			return 0, err
		}
		if l.next, l.stop, err = b.s.Between(p, b.fromMs, b.untilMs); err != nil {
			return 0, err
		}
		if offset >= 0 {
			l.next = message.Offset(offset)
		}
		if at != nil {
			if from, named := at[i]; named {
				l.next = from
			} else {
				l.next = l.stop
			}
		}
		l.next = max(l.next, l.first)
		b.places = append(b.places, l)
	}
	newest, err := numberIn(query, "last", 0, 1, maxBrowsed)
	return int(newest), err
}

// readPlaces reads where to go on: partitions and offsets, as answers have them; nil of an empty text.
func readPlaces(text string, parts int) (map[int]message.Offset, error) {
	if text == "" {
		return nil, nil
	}
	at := map[int]message.Offset{}
	for item := range strings.SplitSeq(text, ",") {
		part, offset, ok := strings.Cut(item, "-")
		p, err := strconv.Atoi(part)
		o, err2 := strconv.ParseInt(offset, 10, 64)
		if !ok || err != nil || err2 != nil || p < 0 || p >= parts || o < 0 {
			return nil, badRequest("'at' must be the 'next' of an earlier answer about this queue, it is %q", shortName(text))
		}
		at[p] = message.Offset(o)
	}
	return at, nil
}

// full says that there is no room for more in this answer.
func (b *browsing) full() bool {
	return b.looked >= maxLooked || b.bytes >= maxLookedBytes || len(b.buf) >= maxBrowseBytes
}

// spent says that nothing more is looked at for this answer.
func (b *browsing) spent() bool {
	return b.full() || time.Now().After(b.until) || b.c.r.Context().Err() != nil
}

// look goes forward through each partition until there are enough.
func (b *browsing) look() error {
	for i := range b.places {
		l := &b.places[i]
		states, err := b.begin(l)
		if err != nil {
			return err
		}
		for l.next < l.stop && b.items < b.count && !b.spent() {
			err := b.step(l, l.stop, states, func(d *broker.Delivery, state string) error {
				return b.show(d, l.part, state)
			}, func() bool { return b.items < b.count })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// begin begins with a partition.
func (b *browsing) begin(l *place) (func(message.Offset) broker.MessageState, error) {
	b.wants = b.filter.Chooser()
	return b.s.States(b.q.Partitions()[l.part])
}

// step looks at some messages before an offset and hands found those that are wanted, until more says no.
func (b *browsing) step(l *place, stop message.Offset, states func(message.Offset) broker.MessageState, found func(*broker.Delivery, string) error, more func() bool) error {
	var failed error
	end := false
	next, _, err := b.s.Browse(b.q.Partitions()[l.part], l.next, browseStepBytes, func(d *broker.Delivery) bool {
		if d.Offset >= stop {
			end = true
			return false
		}
		b.looked++
		b.bytes += int64(len(d.Body))
		if state, ok := b.meant(d, states); ok {
			failed = found(d, state)
		}
		return failed == nil && more() && !b.full() && (b.looked%browseLook > 0 || !b.spent())
	})
	if err == nil {
		err = failed
	}
	switch {
	case err != nil:
	case end, next <= l.next: // the latter: there is nothing there
		l.next = stop
	default:
		l.next = min(next, stop)
	}
	return err
}

// browseLook is after how many messages it is asked whether anybody still waits.
const browseLook = 1024

// meant says whether a message is to be shown, and where it stands.
func (b *browsing) meant(d *broker.Delivery, states func(message.Offset) broker.MessageState) (state string, ok bool) {
	if b.untilMs >= 0 && d.TimestampMs >= b.untilMs || b.fromMs >= 0 && d.TimestampMs < b.fromMs || !b.wants(d) {
		return "", false
	}
	state = states(d.Offset).String()
	switch b.states {
	case "all":
		return state, true
	case "":
		return state, state != "acked"
	}
	return state, state == b.states
}

// show adds a message to the answer.
func (b *browsing) show(d *broker.Delivery, part int, state string) error {
	item, err := b.item(d, part, state)
	if err != nil {
		return err
	}
	if b.items > 0 {
		b.buf = append(b.buf, ',')
	}
	b.buf = item.append(b.buf)
	b.held = int64(len(b.buf))
	b.items++
	return nil
}

// item is a message as it is shown.
func (b *browsing) item(d *broker.Delivery, part int, state string) (object, error) {
	body := d.Body[:min(int64(len(d.Body)), b.truncate)]
	cut := len(body) < len(d.Body)
	if cut && b.encoding == "auto" {
		body = wholeRunes(body)
	}
	if err := b.hold(6*int64(len(body)+len(d.Properties)+len(d.Key)) + gotBytes); err != nil { // a byte is written as \u0000 at worst
		return nil, err
	}
	o := object{{"partition", part}, {"offset", int64(d.Offset)}, {"timestamp", d.TimestampMs}, {"exchange", readable(d.Exchange)}, {"routing_key", readable(d.Key)},
		{"properties", propertiesObject(d.Properties)}, {"payload_bytes", len(d.Body)}, {"truncated", cut}, {"state", nil}}
	if state != "" {
		o[len(o)-1].value = state
	}
	return append(o, payload(body, b.encoding, nil)...), nil
}

// wholeRunes leaves out the part of a character at the end of a text that was cut.
func wholeRunes(text []byte) []byte {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if tail := text[len(text)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return text[:len(text)-n]
			}
			break
		}
	}
	return text
}

// hold charges the memory that one item more takes beside those that there are.
func (b *browsing) hold(bytes int64) error {
	need := 2 * (b.held + bytes)
	if need <= b.room {
		return nil
	}
	more := max(need-b.room, browseStepBytes)
	if err := b.c.take(more); err != nil {
		return err
	}
	b.room += more
	return nil
}

// kept is a message that is shown when no newer one takes its place.
type kept struct {
	ms   int64
	item []byte
}

// lookBack shows the newest messages that are wanted: of each partition the last n, and of these the last n by time.
func (b *browsing) lookBack(n int) error {
	var all []kept
	for i := range b.places {
		list, err := b.newest(&b.places[i], n)
		if err != nil {
			return err
		}
		all = append(all, list...)
	}
	slices.SortStableFunc(all, func(x, y kept) int { return cmp.Compare(x.ms, y.ms) })
	for _, k := range all[max(0, len(all)-n):] {
		if b.items > 0 {
			b.buf = append(b.buf, ',')
		}
		b.buf = append(b.buf, k.item...)
		b.items++
	}
	return nil
}

// newest finds the newest messages of a partition in windows that grow backwards. Of one that there was no time to go through,
// nothing counts: what is newest in it was not seen.
func (b *browsing) newest(l *place, n int) (list []kept, err error) {
	states, err := b.begin(l)
	if err != nil {
		return nil, err
	}
	begin, end := l.next, l.stop
	for width := message.Offset(2 * n); end > begin && len(list) < n && b.held < maxBrowseBytes; width *= 4 {
		from := max(begin, end-width)
		var window []kept
		for l.next = from; l.next < end; {
			if b.spent() {
				b.short, l.next = true, l.stop
				return list, nil
			}
			err := b.step(l, end, states, func(d *broker.Delivery, state string) error {
				item, err := b.item(d, l.part, state)
				if err != nil {
					return err
				}
				k := kept{d.TimestampMs, item.append(nil)}
				window = append(window, k)
				b.held += int64(len(k.item))
				for len(window)+len(list) > n || len(window) > 1 && b.held > maxBrowseBytes {
					b.short = b.short || len(window)+len(list) <= n
					b.held -= int64(len(window[0].item))
					window = slices.Delete(window, 0, 1)
				}
				return nil
			}, func() bool { return true })
			if err != nil {
				return nil, err
			}
		}
		list = append(window, list...)
		end = from
	}
	b.short = b.short || end > begin && len(list) < n
	l.next = l.stop
	return list, nil
}

// answer says what was found, and where to go on.
func (b *browsing) answer() error {
	var next any
	var places []object
	if text := placesText(b.places); text != "" {
		next = text
	}
	for _, l := range b.places {
		places = append(places, object{{"partition", l.part}, {"first", int64(l.first)}, {"end", int64(l.end)}})
	}
	rest := object{{"looked_at", b.looked}, {"complete", next == nil && !b.short}, {"next", next}, {"partitions", places}}.append(nil)
	return b.c.stream(200, "application/json", func(o *output) {
		o.buf = append(o.buf, `{"items":[`...)
		for text := b.buf; len(text) > 0 && o.room(); {
			n := min(len(text), outputBytes)
			o.buf = append(o.buf, text[:n]...)
			text = text[n:]
		}
		o.buf = append(append(o.buf, "],"...), rest[1:]...)
	})
}

// placesText says where to go on, for 'at'; "" when nothing is left.
func placesText(list []place) string {
	var text []byte
	for _, l := range list {
		if l.next >= l.stop {
			continue
		}
		if len(text) > 0 {
			text = append(text, ',')
		}
		text = fmt.Appendf(text, "%d-%d", l.part, l.next)
	}
	return string(text)
}
