package web

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// job is a replay or a redrive.
type job struct {
	ID, Kind, State, VHost, Queue, User, Reason string
	Target                                      *struct {
		Queue, Exchange *string
		Key             *string `json:"routing_key"`
	}
	DryRun         bool `json:"dry_run"`
	Rate, Limit    int64
	Filter         map[string]any
	Started, Ended int64
	Total          int64
	Looked         int64 `json:"looked_at"`
	Matched        int64
	Copied         int64
	Bytes          float64
	Unroutable     int64
	Skipped        map[string]int64
	Reasons        map[string]int64
	Origins        map[string]int64
}

// Title is what the job does, in words.
func (j *job) Title() string {
	what := map[string]string{"replay": "Replay of ", "redrive": "Redrive of "}[j.Kind]
	if j.DryRun {
		what = "Dry run: " + strings.ToLower(what[:1]) + what[1:]
	}
	return what + j.Queue
}

// To is where it copies to.
func (j *job) To() string {
	switch t := j.Target; {
	case t == nil:
		return "where each message came from"
	case t.Queue != nil:
		return "the queue " + *t.Queue
	case t.Exchange != nil && t.Key != nil:
		return fmt.Sprintf("the exchange %s with the key %s", cmp.Or(*t.Exchange, "(default)"), *t.Key)
	case t.Exchange != nil:
		return "the exchange " + cmp.Or(*t.Exchange, "(default)")
	}
	return ""
}

// Took is how long it took.
func (j *job) Took() string { return age(time.Duration(j.Ended-j.Started) * time.Millisecond) }

// Running says that it goes on.
func (j *job) Running() bool { return j.State == "running" }

// Stopped says that it can go on.
func (j *job) Stopped() bool {
	return slices.Contains([]string{"cancelled", "failed", "interrupted"}, j.State)
}

// Again is the address of the form for another job that means the same messages.
func (j *job) Again() string {
	text := func(name string) string { s, _ := j.Filter[name].(string); return s }
	header := ""
	if all, ok := j.Filter["headers"].(map[string]any); ok && len(all) == 1 { // the form has one
		for name, value := range all {
			if header = name; value != "" {
				header += ":" + plainText(value)
			}
		}
	}
	return query("/"+j.Kind, "vhost", j.VHost, "name", j.Queue, "key", text("routing_key"), "exchange", text("exchange"), "header", header, "contains", text("contains"), "reason", text("reason"), "origin", text("origin"))
}

// Settings are what of the queue is meant.
func (j *job) Settings() []setting { return settingsOf(j.Filter) }

// tally is how many messages have something in common.
type tally struct {
	Name  string
	Count int64
}

func tallies(of map[string]int64) (list []tally) {
	for name, n := range of {
		list = append(list, tally{name, n})
	}
	slices.SortFunc(list, func(a, b tally) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
	return list
}

// Why are the reasons for which messages died, From the queues in which they did, the most frequent first.
func (j *job) Why() []tally { return tallies(j.Reasons) }

// Left are the messages that were left where they are, and why.
func (j *job) Left() []tally {
	list := tallies(j.Skipped)
	for i := range list {
		if text, ok := skippedFor[list[i].Name]; ok {
			list[i].Name = text
		}
	}
	return list
}

// skippedFor are the API's words for why a message was left where it is, as people read them.
var skippedFor = map[string]string{
	"held": "a consumer has them, or they are on their way", "no_origin": "they are no dead letters", "no_queue": "their queue is not there any more", "refused": "the queue does not take them",
}

// From are the queues.
func (j *job) From() []tally { return tallies(j.Origins) }

// jobsData is what the list of jobs shows.
type jobsData struct {
	List []job
	More int
}

// maxJobs is how many jobs the list shows.
const maxJobs = 100

func (v *visit) jobs() (string, any, error) {
	d := &jobsData{}
	if err := v.get(&d.List, "jobs"); err != nil {
		return "", nil, err
	}
	if d.More = len(d.List) - maxJobs; d.More > 0 {
		d.List = d.List[:maxJobs]
	}
	return "Jobs", d, nil
}

// jobData is what the page of a job shows.
type jobData struct {
	job
	May bool // end it and go on with it
}

func (v *visit) job() (string, any, error) {
	d := &jobData{}
	if err := v.get(d, api("jobs", v.r.URL.Query().Get("id"))); err != nil {
		return "", nil, err
	}
	d.May = d.User == v.name || v.has("administrator")
	return d.Title(), d, nil
}

func jobPlace(id string) string { return query("/job", "id", id) }

func (v *visit) jobAct(method, below, done string) (string, string, error) {
	id := v.r.URL.Query().Get("id")
	if err := v.act(method, api("jobs", id)+below, nil, nil); err != nil {
		return "", "", err
	}
	if method == http.MethodDelete {
		return "/jobs", done, nil
	}
	return jobPlace(id), done, nil
}

func (v *visit) cancelJob() (string, string, error) {
	return v.jobAct(http.MethodPost, "/cancel", "It ends. What it has copied stays.")
}

func (v *visit) resumeJob() (string, string, error) {
	return v.jobAct(http.MethodPost, "/resume", "It goes on where it was.")
}

func (v *visit) dropJob() (string, string, error) {
	return v.jobAct(http.MethodDelete, "", "The job is forgotten.")
}

// copyData is what the pages to replay and to redrive show.
type copyData struct {
	VHost, Name string
	Search      search
	Reasons     []string
}

func (v *visit) copying(title string) (string, any, error) {
	vhost, name := v.at()
	var q queueRow
	if err := v.get(&q, api("queues", vhost, name), "columns", "name"); err != nil {
		return "", nil, err
	}
	values := v.r.URL.Query()
	if v.failed != nil {
		values = v.failed.values
	}
	return title + " " + name, &copyData{VHost: vhost, Name: name, Search: searchOf(values), Reasons: deathReasons}, nil
}

func (v *visit) replayPage() (string, any, error)  { return v.copying("Replay") }
func (v *visit) redrivePage() (string, any, error) { return v.copying("Redrive") }

// number is a field that holds a number above 0, or nothing.
func (v *visit) number(name, title string, into map[string]any) error {
	text := v.form(name)
	if text == "" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return wrong("%s must be a number above 0, or be left empty; it is %q", title, text)
	}
	into[name] = n
	return nil
}

// startJob begins a job, of what the forms have in common.
func (v *visit) startJob(kind string, body map[string]any) (string, string, error) {
	vhost, name := v.at()
	filter := searchOf(v.r.PostForm)
	if filter.Filtered() {
		body["filter"] = filter.body()
	}
	if err := v.number("limit", "how many at most", body); err != nil {
		return "", "", err
	}
	if err := v.number("rate", "the rate", body); err != nil {
		return "", "", err
	}
	body["dry_run"] = v.form("dry") != ""
	var started job
	if err := v.act(http.MethodPost, api("queues", vhost, name, kind), body, &started); err != nil {
		return "", "", err
	}
	return jobPlace(started.ID), "", nil
}

// target is where the form says that copies go; nil for nowhere in particular.
func (v *visit) target() any {
	queue, exchange, key := v.r.PostFormValue("queue"), v.r.PostFormValue("to_exchange"), v.r.PostFormValue("to_key")
	switch {
	case queue != "" && exchange != "":
		return map[string]any{"queue": queue, "exchange": exchange} // the API says what is wrong with it
	case queue != "":
		return map[string]any{"queue": queue}
	case exchange != "" && key != "":
		return map[string]any{"exchange": exchange, "routing_key": key}
	case exchange != "":
		return map[string]any{"exchange": exchange}
	}
	return nil
}

func (v *visit) replay() (string, string, error) {
	body := map[string]any{}
	if body["target"] = v.target(); body["target"] == nil {
		return "", "", wrong("say where the copies shall go: into a queue, or to an exchange")
	}
	for _, name := range []string{"begin", "end"} {
		if text := v.form(name); text != "" {
			body[map[string]string{"begin": "from", "end": "to"}[name]] = moment(text)
		}
	}
	return v.startJob("replay", body)
}

func (v *visit) redrive() (string, string, error) {
	body := map[string]any{"keep_deaths": v.form("keep_deaths") == "on"}
	if target := v.target(); target != nil {
		body["target"] = target
	}
	return v.startJob("redrive", body)
}
