package management

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/message"
)

// jobRows are about work that goes on behind whoever asked for it.
var jobRows = []row{
	{path: "queues/{vhost}/{name}/replay", method: post, who: management, do: (*call).replay, body: replayBody{}, gives: http.StatusAccepted, also: []int{http.StatusOK},
		about: "Copies messages of a queue, a topic or a stream into a queue or to an exchange; the answer is a job"},
	{path: "queues/{vhost}/{name}/redrive", method: post, who: management, do: (*call).redrive, body: redriveBody{}, gives: http.StatusAccepted, also: []int{http.StatusOK},
		about: "Sends dead letters back to where they came from; the answer is a job"},
	{path: "jobs", method: get, who: management, do: (*call).listJobs, about: "The user's replays and redrives, the newest first; everybody's for who may look at everything"},
	{path: "jobs/{id}", method: get, who: management, do: (*call).oneJob, about: "A job"},
	{path: "jobs/{id}", method: del, who: management, do: (*call).dropJob, about: "Forgets a job that is over"},
	{path: "jobs/{id}/events", method: get, who: management, free: true, do: (*call).watchJob, about: "A job as server-sent events, with each change until it is over"},
	{path: "jobs/{id}/cancel", method: post, who: management, do: (*call).cancelJob, gives: http.StatusNoContent, about: "Ends a job; what it has copied stays"},
	{path: "jobs/{id}/resume", method: post, who: management, do: (*call).resumeJob, gives: http.StatusAccepted, about: "Goes on with a job that was cancelled, failed or interrupted, where it was"},
}

// targetBody is where copies go.
type targetBody struct {
	Queue      *string `json:"queue"`
	Exchange   *string `json:"exchange"`
	RoutingKey *string `json:"routing_key"`
}

// replayBody is what is to be copied, and where.
type replayBody struct {
	Target     json.RawMessage `json:"target" needed:"true" schema:"object"`
	From       json.RawMessage `json:"from"`
	To         json.RawMessage `json:"to"`
	FromOffset *int64          `json:"from_offset"`
	ToOffset   *int64          `json:"to_offset"`
	Partition  *int64          `json:"partition"`
	Filter     json.RawMessage `json:"filter" schema:"object"`
	Limit      *int64          `json:"limit"`
	Rate       *int64          `json:"rate"`
	DryRun     bool            `json:"dry_run"`
	Wait       int64           `json:"wait"`
}

// redriveBody is what is to go back.
type redriveBody struct {
	Target     json.RawMessage `json:"target" schema:"object"`
	Filter     json.RawMessage `json:"filter" schema:"object"`
	Limit      *int64          `json:"limit"`
	Rate       *int64          `json:"rate"`
	DryRun     bool            `json:"dry_run"`
	KeepDeaths bool            `json:"keep_deaths"`
	Wait       int64           `json:"wait"`
}

// maxJobWait is how many seconds a request may wait for its job.
const maxJobWait = 30

func (c *call) replay() error {
	spec, wait, err := c.replaySpec()
	if err != nil {
		return err
	}
	return c.startJob(broker.ReplayJob, audit.ReplayQueue, spec, wait)
}

func (c *call) replaySpec() (spec broker.JobSpec, wait int64, err error) {
	fields, err := c.fields()
	if err != nil {
		return spec, 0, err
	}
	return replaySpec(fields)
}

func replaySpec(fields map[string]json.RawMessage) (spec broker.JobSpec, wait int64, err error) {
	var b replayBody
	if err := fillAll(&b, fields); err != nil {
		return spec, 0, err
	}
	if spec, err = newSpec(b.Target, b.Filter, b.Limit, b.Rate, b.Wait); err != nil {
		return spec, 0, err
	}
	if spec.Target == nil {
		return spec, 0, badRequest(`'target' must say where the copies go: {"queue": "NAME"}, or {"exchange": "NAME"} with a "routing_key" or the messages' own`)
	}
	spec.DryRun = b.DryRun
	for _, t := range []struct {
		name string
		text json.RawMessage
		into *int64
	}{{"from", b.From, &spec.FromMs}, {"to", b.To, &spec.ToMs}} {
		if t.text == nil || string(t.text) == "null" {
			continue
		}
		if *t.into, err = readTime(t.name, strings.Trim(string(t.text), `"`)); err != nil {
			return spec, 0, err
		}
	}
	for _, n := range []struct {
		name string
		from *int64
		into func(int64)
	}{
		{"from_offset", b.FromOffset, func(n int64) { spec.From = message.Offset(n) }}, {"to_offset", b.ToOffset, func(n int64) { spec.To = message.Offset(n) }},
		{"partition", b.Partition, func(n int64) { spec.Partition = int(n) }},
	} {
		if n.from == nil {
			continue
		}
		if *n.from < 0 || n.name == "partition" && *n.from > math.MaxInt32 {
			return spec, 0, badRequest("'%s' must not be negative nor very large, it is %d", n.name, *n.from)
		}
		n.into(*n.from)
	}
	return spec, b.Wait, nil
}

func (c *call) redrive() error {
	fields, err := c.fields()
	if err != nil {
		return err
	}
	spec, wait, err := redriveSpec(fields)
	if err != nil {
		return err
	}
	return c.startJob(broker.RedriveJob, audit.RedriveQueue, spec, wait)
}

func redriveSpec(fields map[string]json.RawMessage) (spec broker.JobSpec, wait int64, err error) {
	var b redriveBody
	if err := fillAll(&b, fields); err != nil {
		return spec, 0, err
	}
	spec, err = newSpec(b.Target, b.Filter, b.Limit, b.Rate, b.Wait)
	spec.DryRun, spec.KeepDeaths = b.DryRun, b.KeepDeaths
	return spec, b.Wait, err
}

// newSpec reads what both have.
func newSpec(target, filter json.RawMessage, limit, rate *int64, wait int64) (spec broker.JobSpec, err error) {
	spec = broker.JobSpec{FromMs: -1, ToMs: -1, From: message.NoOffset, To: message.NoOffset, Partition: -1}
	if wait < 0 || wait > maxJobWait {
		return spec, badRequest("'wait' must be a number of seconds from 0 to %d, it is %d", maxJobWait, wait)
	}
	for _, n := range []struct {
		name string
		from *int64
		into *int64
	}{{"limit", limit, &spec.Limit}, {"rate", rate, &spec.Rate}} {
		if n.from == nil {
			continue
		}
		if *n.into = *n.from; *n.from < 1 {
			return spec, badRequest("'%s' must be a number above 0, or be left out, it is %d", n.name, *n.from)
		}
	}
	if spec.Filter, err = filterOf(filter); err != nil {
		return spec, err
	}
	if target == nil || string(target) == "null" {
		return spec, nil
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(target, &fields); err != nil || fields == nil {
		return spec, badRequest("'target' must be an object, it is %s", short(target))
	}
	var t targetBody
	if err := fillAll(&t, fields); err != nil {
		return spec, err
	}
	switch {
	case (t.Queue == nil) == (t.Exchange == nil):
		return spec, badRequest("'target' must name a 'queue' or an 'exchange', and not both")
	case t.Queue != nil && t.RoutingKey != nil:
		return spec, badRequest("'target' names a queue, which needs no 'routing_key'")
	case t.RoutingKey != nil && len(*t.RoutingKey) > 255:
		return spec, badRequest("'routing_key' of the target is longer than 255 bytes")
	}
	if t.Exchange != nil && *t.Exchange == broker.DefaultExchange {
		*t.Exchange = ""
	}
	spec.Target = &broker.JobTarget{Queue: t.Queue, Exchange: t.Exchange, Key: t.RoutingKey}
	return spec, nil
}

// startJob begins a job, and answers with it at once, or when it is over.
func (c *call) startJob(kind broker.JobKind, act audit.Act, spec broker.JobSpec, wait int64) error {
	q, err := c.queue()
	if err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	spec.Queue = q.Name
	j, err := s.StartJob(kind, spec)
	if !spec.DryRun {
		audit.Acted(c.s.opts.Logger, c.actor(), act, "queue '"+q.Name+"'", q.VHost().Name, err)
	}
	if err != nil {
		return err
	}
	return c.jobAfter(j, wait)
}

// jobAfter answers with a job when it is over, or after so many seconds.
func (c *call) jobAfter(j broker.Job, wait int64) error {
	status := http.StatusAccepted
	if wait > 0 {
		_, _, over, err := c.s.opts.Broker.Job(j.ID)
		if err != nil {
			return err
		}
		patience := time.NewTimer(time.Duration(wait) * time.Second)
		defer patience.Stop()
		select {
		case <-over:
			status = http.StatusOK
		case <-patience.C:
		case <-c.s.stopping.Done():
		case <-c.r.Context().Done():
		}
		if j, _, _, err = c.s.opts.Broker.Job(j.ID); err != nil {
			return err
		}
	}
	c.w.Header().Set("Location", base+"/jobs/"+j.ID)
	return c.stream(status, "application/json", func(o *output) { o.buf = jobObject(&j).append(o.buf) })
}

// jobObject is a job as it is shown.
func jobObject(j *broker.Job) object {
	var target any
	if t := j.Spec.Target; t != nil {
		o := object{}
		if t.Queue != nil {
			o = append(o, pair{"queue", *t.Queue})
		}
		if t.Exchange != nil {
			o = append(o, pair{"exchange", *t.Exchange})
		}
		if t.Key != nil {
			o = append(o, pair{"routing_key", *t.Key})
		}
		target = o
	}
	var ended any
	if j.Ended > 0 {
		ended = j.Ended
	}
	var position []byte
	for i, p := range j.Places {
		if i > 0 {
			position = append(position, ',')
		}
		position = fmt.Appendf(position, "%d-%d-%d", p.Partition, p.Next, p.End)
	}
	o := object{{"id", j.ID}, {"kind", string(j.Kind)}, {"state", string(j.State)}, {"vhost", j.VHost}, {"queue", j.Spec.Queue}, {"target", target}, {"user", j.User},
		{"dry_run", j.Spec.DryRun}, {"rate", j.Spec.Rate}, {"limit", j.Spec.Limit}, {"filter", filterObject(&j.Spec.Filter)}, {"started", j.Started}, {"ended", ended}, {"reason", j.Reason},
		{"total", j.Total}, {"looked_at", j.LookedAt}, {"matched", j.Matched}, {"copied", j.Copied}, {"bytes", j.Bytes}, {"unroutable", j.Unroutable}, {"skipped", j.Skipped},
		{"position", string(position)}}
	if j.Kind == broker.RedriveJob {
		o = append(o, pair{"keep_deaths", j.Spec.KeepDeaths}, pair{"reasons", j.Reasons}, pair{"origins", j.Origins})
	}
	return o
}

// filterObject is a filter as it is written in a body; nil is none.
func filterObject(f *broker.Filter) any {
	var o object
	for _, t := range []struct {
		name string
		text *string
	}{{"routing_key", f.Key}, {"exchange", f.Exchange}, {"reason", f.Reason}, {"origin", f.Origin}} {
		if t.text != nil {
			o = append(o, pair{t.name, *t.text})
		}
	}
	if len(f.Contains) > 0 {
		o = append(o, pair{"contains", string(f.Contains)})
	}
	if len(f.Headers) > 0 {
		o = append(o, pair{"headers", f.Headers})
	}
	if len(f.Properties) > 0 {
		o = append(o, pair{"properties", f.Properties})
	}
	if o == nil {
		return nil
	}
	return o
}

func (c *call) listJobs() error {
	all, err := c.s.opts.Broker.Jobs()
	if err != nil {
		return err
	}
	list := []object{}
	for _, j := range all {
		if j.User == c.user.Name || c.is(monitoring) {
			list = append(list, jobObject(&j))
		}
	}
	return c.json(list)
}

// job is the one of the path; those of others are for who may look at everything, and to change for administrators.
func (c *call) job(others role) (broker.Job, error) {
	j, _, _, err := c.s.opts.Broker.Job(c.arg("id"))
	if err != nil {
		return j, err
	}
	if j.User != c.user.Name && !c.is(others) {
		return j, notAuthorised("the job is another user's")
	}
	return j, nil
}

func (c *call) oneJob() error {
	j, err := c.job(monitoring)
	if err != nil {
		return err
	}
	return c.json(jobObject(&j))
}

func (c *call) cancelJob() error {
	j, err := c.job(administrator)
	if err != nil {
		return err
	}
	err = c.s.opts.Broker.CancelJob(j.ID)
	audit.Acted(c.s.opts.Logger, c.actor(), audit.CancelJob, "job '"+j.ID+"'", j.VHost, err)
	if err != nil {
		return err
	}
	return c.none()
}

func (c *call) dropJob() error {
	j, err := c.job(administrator)
	if err != nil {
		return err
	}
	err = c.s.opts.Broker.DropJob(j.ID)
	audit.Acted(c.s.opts.Logger, c.actor(), audit.DropJob, "job '"+j.ID+"'", j.VHost, err)
	if err != nil {
		return err
	}
	return c.none()
}

func (c *call) resumeJob() error {
	j, err := c.job(administrator)
	if err != nil {
		return err
	}
	v, err := c.s.opts.Broker.VHost(j.VHost)
	if err != nil {
		return err
	}
	s, err := c.sessionIn(v)
	if err != nil {
		return err
	}
	now, err := s.ResumeJob(j.ID)
	audit.Acted(c.s.opts.Logger, c.actor(), audit.ResumeJob, "job '"+j.ID+"'", j.VHost, err)
	if err != nil {
		return err
	}
	return c.jobAfter(now, 0)
}

// jobEventEvery is the least time between two events of a job.
const jobEventEvery = 250 * time.Millisecond

func (c *call) watchJob() error {
	if _, err := c.job(monitoring); err != nil {
		return err
	}
	if list := c.r.Header.Values("Accept"); len(list) > 0 && !accepts(list, "text/event-stream", "text/*", "*/*") {
		return &failure{status: http.StatusNotAcceptable, err: "not_acceptable", reason: "the answer would be text/event-stream, which the header Accept leaves out"}
	}
	e := c.beginEvents()
	turn := time.NewTicker(jobEventEvery)
	defer turn.Stop()
	told, quiet := int64(-1), time.Now()
	for {
		j, changes, over, err := c.s.opts.Broker.Job(c.arg("id"))
		if err != nil {
			return nil // it was forgotten meanwhile
		}
		switch {
		case changes != told:
			e.event(fmt.Sprint(changes), jobObject(&j))
			told, quiet = changes, time.Now()
		case time.Since(quiet) >= watchBeat:
			e.buf = append(e.buf, ": nothing new\n\n"...)
			quiet = time.Now()
		}
		if len(e.buf) > 0 && !e.send() || j.State != broker.JobRunning {
			return nil
		}
		select {
		case <-turn.C:
		case <-over:
		case <-c.r.Context().Done():
			return nil
		case <-c.s.stopping.Done():
			return nil
		}
	}
}
