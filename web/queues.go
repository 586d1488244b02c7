package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// paged is a list of the API, by the page.
type paged[T any] struct {
	Items    []T
	Page     int
	Pages    int `json:"page_count"`
	Size     int `json:"page_size"`
	Filtered int `json:"filtered_count"`
	Total    int `json:"total_count"`
}

// First and Last are the numbers of the rows that are shown.
func (p *paged[T]) First() int { return (p.Page-1)*p.Size + 1 }

// Last is the number of the last row that is shown.
func (p *paged[T]) Last() int { return (p.Page-1)*p.Size + len(p.Items) }

// queueRow is a queue as lists show it.
type queueRow struct {
	Name, VHost, Type, Policy string
	Durable                   bool
	AutoDelete                bool `json:"auto_delete"`
	Exclusive                 bool
	Arguments                 map[string]any
	Messages                  float64
	Ready                     float64 `json:"messages_ready"`
	Unacked                   float64 `json:"messages_unacknowledged"`
	Consumers                 int
	Disk                      float64 `json:"disk_bytes"`
	Oldest                    int64   `json:"oldest_message_at"`
	Stats                     flow    `json:"message_stats"`
}

const rowColumns = "name,vhost,type,policy,durable,auto_delete,exclusive,arguments,messages,messages_ready,messages_unacknowledged,consumers,disk_bytes,message_stats,oldest_message_at"

// Features are what a queue is, in short words.
func (q *queueRow) Features() (list []string) {
	if q.Type != "" && q.Type != "classic" {
		list = append(list, q.Type)
	}
	if !q.Durable {
		list = append(list, "transient")
	}
	if q.AutoDelete {
		list = append(list, "auto-delete")
	}
	if q.Exclusive {
		list = append(list, "exclusive")
	}
	return list
}

// Neglected says that messages wait and nobody takes them. A stream's are there to be read again.
func (q *queueRow) Neglected() bool { return q.Ready > 0 && q.Consumers == 0 && q.Type != "stream" }

// Settings are the arguments of a queue in their order, as text.
func (q *queueRow) Settings() (list []setting) {
	for name, value := range q.Arguments {
		if name != "x-queue-type" || value != "classic" {
			list = append(list, setting{name, plainText(value)})
		}
	}
	slices.SortFunc(list, func(a, b setting) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// setting is a name and what it is set to.
type setting struct{ Name, Value string }

// plainText is a value without quotes where it is a text, and as JSON else.
func plainText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return jsonText(v)
}

// queueRows asks for a page of queues.
func (v *visit) queueRows(sort string, reverse bool, vhost, name string, page, size int) (*paged[queueRow], error) {
	path := "queues"
	if vhost != "" {
		path = api("queues", vhost)
	}
	query := []string{"page", strconv.Itoa(page), "page_size", strconv.Itoa(size), "columns", rowColumns, "sort", sort, "sort_reverse", strconv.FormatBool(reverse)}
	if name != "" {
		query = append(query, "name", name)
	}
	if v.r.URL.Query().Get("regex") == "on" {
		query = append(query, "use_regex", "true")
	}
	list := &paged[queueRow]{}
	return list, v.get(list, path, query...)
}

// vhosts are the names of the virtual hosts that the user sees.
func (v *visit) vhosts() ([]string, error) {
	var list []struct{ Name string }
	if err := v.get(&list, "vhosts", "columns", "name"); err != nil {
		return nil, err
	}
	names := make([]string, len(list))
	for i, l := range list {
		names[i] = l.Name
	}
	return names, nil
}

// listing is how a list is looked at: what the address of the page says.
type listing struct {
	At          string // the page's path
	Sort        string
	Reverse     bool
	VHost, Name string
	Regex       bool
	Number      int
	VHosts      []string
	Wrong       string // with the filter
	usual       string
}

// look reads how a list is looked at; sorts are what it may be sorted by, the usual one first.
func (v *visit) look(at string, sorts ...string) (*listing, error) {
	q := v.r.URL.Query()
	l := &listing{At: at, Sort: q.Get("sort"), Reverse: q.Get("down") != "", VHost: q.Get("vhost"), Name: q.Get("name"), Regex: q.Get("regex") == "on", Number: atoi(q.Get("page"), 1), usual: sorts[0]}
	if !slices.Contains(sorts, l.Sort) {
		l.Sort, l.Reverse = sorts[0], false
	}
	var err error
	l.VHosts, err = v.vhosts()
	return l, err
}

// By is the address of the list sorted by a column: the other way round when it is already.
func (l *listing) By(column string, downFirst bool) string {
	down := downFirst
	if l.Sort == column {
		down = !l.Reverse
	}
	return l.with(column, down, 1)
}

// To is the address of another page of the list.
func (l *listing) To(number int) string { return l.with(l.Sort, l.Reverse, number) }

func (l *listing) with(column string, down bool, number int) string {
	pick := func(yes bool, text string) string {
		if yes {
			return text
		}
		return ""
	}
	return query(l.At, "vhost", l.VHost, "name", l.Name, "regex", pick(l.Regex, "on"), "sort", pick(column != l.usual || down, column), "down", pick(down, "1"), "page", pick(number > 1, strconv.Itoa(number)))
}

// Arrow marks the column that the list is sorted by, for people and for screen readers.
func (l *listing) Arrow(column string) string {
	switch {
	case l.Sort != column:
		return "none"
	case l.Reverse:
		return "descending"
	}
	return "ascending"
}

// queuesData is what the list of queues shows.
type queuesData struct {
	*listing
	List *paged[queueRow]
	Host string
}

// rowsPerPage is how many rows a list has on a page.
const rowsPerPage = 50

func (v *visit) queues() (string, any, error) {
	l, err := v.look("/queues", "name", "messages_ready", "messages_unacknowledged", "messages", "consumers", "disk_bytes", "message_stats.publish_details.rate", "message_stats.deliver_get_details.rate", "type", "vhost")
	if err != nil {
		return "", nil, err
	}
	list, err := v.queueRows(l.Sort, l.Reverse, l.VHost, l.Name, l.Number, rowsPerPage)
	if statusOf(err) == http.StatusBadRequest && err != nil { // a pattern that is none, or a page that is not there any more
		l.Wrong = sentence(err)
		list, err = &paged[queueRow]{Page: 1}, nil
	}
	if err != nil {
		return "", nil, err
	}
	return "Queues", &queuesData{listing: l, List: list, Host: v.r.Host}, nil
}

// Look is how the list is looked at, for the parts of templates.
func (l *listing) Look() *listing { return l }

// Filtered says that not everything is asked for.
func (l *listing) Filtered() bool { return l.Name != "" || l.VHost != "" }

// Several says that there is more than one virtual host.
func (l *listing) Several() bool { return len(l.VHosts) > 1 }

// declareQueue makes a queue.
func (v *visit) declareQueue() (to, done string, err error) {
	name, vhost := v.r.PostFormValue("name"), v.r.PostFormValue("vhost")
	if name == "" {
		return "", "", wrong("a queue needs a name")
	}
	args, err := readSettings(v.r.PostFormValue("arguments"))
	if err != nil {
		return "", "", err
	}
	if kind := v.form("type"); kind != "" {
		args["x-queue-type"] = kind
	}
	body := map[string]any{"durable": v.form("durable") != "no", "auto_delete": v.form("auto_delete") == "on", "arguments": args}
	if err := v.act(http.MethodPut, api("queues", vhost, name), body, nil); err != nil {
		return "", "", err
	}
	return query("/queue", "vhost", vhost, "name", name), fmt.Sprintf("The queue %s is there.", name), nil
}

// readSettings reads lines of a name, an equals sign and a value. A value is JSON where it is that, and else a text.
func readSettings(text string) (map[string]any, error) {
	settings := map[string]any{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" {
			return nil, wrong("%q is no setting: each line is a name, an equals sign and a value, as x-max-length=1000", line)
		}
		var v any
		if json.Unmarshal([]byte(value), &v) != nil {
			v = value
		} else {
			v = json.RawMessage(value)
		}
		settings[name] = v
	}
	return settings, nil
}
