package web

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// groupRow is a consumer group as lists show it.
type groupRow struct {
	Name, VHost, State string
	Members            int
	Topics             []string
	Partitions         int
	Lag                float64
	Oldest             *float64 `json:"oldest_message_age"`
}

// Age is how old the oldest message is that the group has not read.
func (g *groupRow) Age() string { return ageText(g.Oldest) }

func ageText(ms *float64) string {
	if ms == nil {
		return "–"
	}
	return secondsText(*ms / 1000)
}

// groupsData is what the list of groups shows.
type groupsData struct {
	*listing
	List *paged[groupRow]
}

func (v *visit) groups() (string, any, error) {
	l, err := v.look("/groups", "name", "vhost", "state", "members", "lag", "oldest_message_age")
	if err != nil {
		return "", nil, err
	}
	list, err := pagedList[groupRow](v, l, "groups")
	return "Groups", &groupsData{listing: l, List: list}, err
}

// groupData is what the page of a group shows.
type groupData struct {
	groupRow
	Offsets []position
	Behind  *chart `json:"-"`
}

// position is how far a group is in a partition.
type position struct {
	Topic       string
	Partition   int
	Offset, Lag float64
	Oldest      *float64 `json:"oldest_message_age"`
}

// Age is how old the first message is that was not read.
func (p *position) Age() string { return ageText(p.Oldest) }

func (v *visit) group() (string, any, error) {
	vhost, name := v.at()
	d := &groupData{}
	if err := v.get(d, api("groups", vhost, name)); err != nil {
		return "", nil, err
	}
	read := 0.0
	for _, o := range d.Offsets {
		read += o.Offset
	}
	samples := v.note("group "+vhost+"\x00"+name, d.Lag, read)
	d.Behind = draw("Lag", func(f float64) string { return count(f) }, drawn{"messages behind", "c4", gauges(samples, 0)})
	return d.Name, d, nil
}

// resetGroup has a group go on elsewhere.
func (v *visit) resetGroup() (string, string, error) {
	vhost, name := v.at()
	body := map[string]any{"topic": v.r.PostFormValue("topic")}
	switch to := v.form("to"); to {
	case "time":
		body["to"] = moment(v.form("value"))
	case "offset":
		n, err := strconv.ParseInt(v.form("value"), 10, 64)
		if err != nil {
			return "", "", wrong("an offset is a whole number, it is %q", v.form("value"))
		}
		body["offset"] = n
	default:
		body["to"] = to
	}
	if err := v.act(http.MethodPost, api("groups", vhost, name, "reset"), body, nil); err != nil {
		return "", "", err
	}
	return query("/group", "vhost", vhost, "name", name), fmt.Sprintf("The group %s goes on there when its consumers start.", name), nil
}

func (v *visit) deleteGroup() (string, string, error) {
	vhost, name := v.at()
	if v.r.PostFormValue("confirm") != name {
		return "", "", wrong("type the group's name into the field to delete it")
	}
	if err := v.act(http.MethodDelete, api("groups", vhost, name), nil, nil); err != nil {
		return "", "", err
	}
	return "/groups", fmt.Sprintf("The group %s is deleted, with how far it was.", name), nil
}

// logLine is a line of the log or of audit.
type logLine struct {
	Timestamp      int64
	Level, Message string
	Fields         map[string]string
}

// Field is one of its fields.
func (l *logLine) Field(name string) string { return l.Fields[name] }

// Rest are the fields of a line but for some, in their order.
func (l *logLine) Rest(but ...string) (list []setting) {
	for name, value := range l.Fields {
		if !slices.Contains(but, name) {
			list = append(list, setting{name, value})
		}
	}
	slices.SortFunc(list, func(a, b setting) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// linesData is what the pages of the log and of audit show.
type linesData struct {
	*listing
	List  *paged[logLine]
	Audit bool
}

func (v *visit) logPage() (string, any, error)   { return v.lines("Log", "log") }
func (v *visit) auditPage() (string, any, error) { return v.lines("Audit", "audit") }

func (v *visit) lines(title, what string) (string, any, error) {
	l, err := v.look("/"+what, "timestamp", "level")
	if err != nil {
		return "", nil, err
	}
	if v.r.URL.Query().Get("sort") == "" { // the newest first
		l.Reverse = true
	}
	l.VHost, l.VHosts = "", nil
	list, err := pagedList[logLine](v, l, what)
	return title, &linesData{listing: l, List: list, Audit: what == "audit"}, err
}
