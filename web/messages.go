package web

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// storedMessage is a message that was looked at.
type storedMessage struct {
	gotMessage
	Partition int
	Offset    int64
	Timestamp int64
	Truncated bool
	State     *string
}

// Where is the message's place in its queue.
func (m *storedMessage) Where(several bool) string {
	if several {
		return strconv.Itoa(m.Partition) + ":" + strconv.FormatInt(m.Offset, 10)
	}
	return strconv.FormatInt(m.Offset, 10)
}

// Shown is what has become of it, in a word; "" where nobody knows.
func (m *storedMessage) Shown() string {
	if m.State == nil {
		return ""
	}
	return *m.State
}

// All are its properties, and by which exchange it came.
func (m *storedMessage) All() []setting {
	list := m.Properties()
	if m.Exchange != "" {
		list = append([]setting{{"exchange", m.Exchange}}, list...)
	}
	return list
}

// Gist is the beginning of the body, in a line.
func (m *storedMessage) Gist() string {
	return cut(140, strings.Join(strings.Fields(m.Payload[:min(len(m.Payload), 1000)]), " "))
}

// search is what of a queue is looked for: fields of a form, as they were written.
type search struct {
	From, Value, Until, State, Key, Exchange, Header, Contains, Reason, Origin string
}

// searchOf reads the fields.
func searchOf(values url.Values) search {
	get := func(name string) string { return strings.TrimSpace(values.Get(name)) }
	return search{get("from"), get("value"), get("until"), get("state"), values.Get("key"), values.Get("exchange"), get("header"), values.Get("contains"), get("reason"), values.Get("origin")}
}

// Filtered says that not every message is meant.
func (s *search) Filtered() bool {
	return cmp.Or(s.Key, s.Exchange, s.Header, s.Contains, s.Reason, s.Origin) != ""
}

// Narrowed says that something was asked for.
func (s *search) Narrowed() bool { return *s != search{} }

// moment is a time as people write it, as the API reads it: what has no zone is UTC, and T and seconds may be left out.
func moment(text string) string {
	if text == "" || strings.Trim(text, "0123456789") == "" {
		return text
	}
	text = strings.Replace(strings.TrimSuffix(text, " UTC"), " ", "T", 1)
	date, clock, timed := strings.Cut(text, "T")
	if !timed {
		return date + "T00:00:00Z"
	}
	if strings.ContainsAny(clock, "Zz+-") {
		return text
	}
	if strings.Count(clock, ":") == 1 {
		clock += ":00"
	}
	return date + "T" + clock + "Z"
}

// query is the search as the parameters of the API.
func (s *search) query() url.Values {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	switch s.From {
	case "last":
		q.Set("last", cmp.Or(s.Value, "50"))
	case "time":
		set("time", moment(s.Value))
	case "offset":
		set("offset", s.Value)
	}
	set("until", moment(s.Until))
	set("state", s.State)
	for _, t := range []struct{ name, value string }{{"routing_key", s.Key}, {"exchange", s.Exchange}, {"header", s.Header}, {"contains", s.Contains}, {"reason", s.Reason}, {"origin", s.Origin}} {
		set(t.name, t.value)
	}
	return q
}

// body is the search as the filter of a job.
func (s *search) body() map[string]any {
	filter := map[string]any{}
	for _, t := range []struct{ name, value string }{{"routing_key", s.Key}, {"exchange", s.Exchange}, {"contains", s.Contains}, {"reason", s.Reason}, {"origin", s.Origin}} {
		if t.value != "" {
			filter[t.name] = t.value
		}
	}
	if name, value, _ := strings.Cut(s.Header, ":"); name != "" {
		filter["headers"] = map[string]string{name: value}
	}
	return filter
}

// messagesData is what the page of a queue's messages shows.
type messagesData struct {
	VHost, Name string
	Search      search
	Wrong       string
	Items       []storedMessage
	Looked      int `json:"looked_at"`
	Complete    bool
	Next        *string
	Partitions  []extent
	States      []string `json:"-"`
	Reasons     []string `json:"-"`
}

// extent is where a log of a queue begins and ends.
type extent struct {
	Partition  int
	First, End int64
}

// Several says that the queue has more than one log.
func (d *messagesData) Several() bool { return len(d.Partitions) > 1 }

// BrokenOff says that the search ended before it had found a page of messages or come to the end.
func (d *messagesData) BrokenOff() bool { return !d.Complete && len(d.Items) < messagesShown }

// More is the address of what follows; "" for nothing.
func (d *messagesData) More(at url.Values) string {
	if d.Next == nil {
		return ""
	}
	at.Set("at", *d.Next)
	return "/messages?" + at.Encode()
}

var (
	messageStates = []string{"ready", "unacked", "waiting", "acked", "all"}
	deathReasons  = []string{"rejected", "expired", "maxlen", "delivery_limit"}
)

// messagesShown is how many messages a page has.
const messagesShown = 50

func (v *visit) messages() (string, any, error) {
	vhost, name := v.at()
	at := v.r.URL.Query()
	d := &messagesData{VHost: vhost, Name: name, Search: searchOf(at), States: messageStates, Reasons: deathReasons}
	q := d.Search.query()
	if next := at.Get("at"); next != "" {
		for _, begin := range []string{"last", "time", "offset"} {
			q.Del(begin)
		}
		q.Set("at", next)
	}
	q.Set("count", strconv.Itoa(messagesShown))
	q.Set("truncate", strconv.Itoa(maxShown))
	err := v.get(d, api("queues", vhost, name, "messages")+"?"+q.Encode())
	if err != nil && statusOf(err) != 400 {
		return "", nil, err
	}
	if err != nil {
		d.Wrong = sentence(err)
	}
	if d.Search.From == "last" { // the newest first
		slices.Reverse(d.Items)
	}
	return name, &messagesPage{d, d.More(at)}, nil
}

// messagesPage is the same with what follows.
type messagesPage struct {
	*messagesData
	Following string
}
