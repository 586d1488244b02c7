package broker

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// Jobs are work over the messages of a queue that somebody asked for and that goes on behind their back: a replay (replay.go) or
// a redrive (redrive.go). What a job has done is told by Job, and written down every second while it runs:
//
//	running ──► done, failed, cancelled            what it was asked for, a mistake, or somebody's word ended it
//	   ▲  └───► interrupted                        the broker ended
//	   └──────── ResumeJob, which goes on at the job's places
//
// A job goes on by the rights of who began it, or took it up again, as they are now. What it copies counts when it
// is committed. A kill costs what was written down last: up to a second of copies are made once more by who resumes a replay; a redrive
// looks at what is still in the queue.
type jobs struct {
	mu      sync.Mutex
	loaded  bool            // what the table holds
	all     map[string]*job // by id
	running int
	stopped bool
}

// The bounds of jobs.
const (
	maxJobs        = 100 // that are remembered; the oldest that are over are forgotten
	maxRunningJobs = 4
	maxOrigins     = 100         // queues that are counted by name
	jobSaveEvery   = time.Second // while it runs
	jobPatience    = time.Minute // how long a commit may take
)

// JobKind is what a job does.
type JobKind string

// The kinds.
const (
	ReplayJob  JobKind = "replay"
	RedriveJob JobKind = "redrive"
)

// JobState is how far a job is.
type JobState string

// The states.
const (
	JobRunning     JobState = "running"
	JobDone        JobState = "done"
	JobFailed      JobState = "failed"
	JobCancelled   JobState = "cancelled"
	JobInterrupted JobState = "interrupted"
)

// JobTarget is where copies go: into a queue, past all exchanges, or to an exchange.
type JobTarget struct {
	Queue    *string `json:"queue,omitempty"`
	Exchange *string `json:"exchange,omitempty"`
	Key      *string `json:"routing_key,omitempty"` // nil: each message's own
}

// JobSpec says what is to be done.
type JobSpec struct {
	Queue      string         `json:"queue"`
	Target     *JobTarget     `json:"target"` // nil: of a redrive, the queue in which each message died first
	Filter     Filter         `json:"filter"`
	FromMs     int64          `json:"from_ms"` // negative: open; so are the following
	ToMs       int64          `json:"to_ms"`   // exclusive
	From       message.Offset `json:"from"`
	To         message.Offset `json:"to"` // exclusive
	Partition  int            `json:"partition"`
	Limit      int64          `json:"limit"` // of messages that are copied; 0: none
	Rate       int64          `json:"rate"`  // messages a second; 0: as fast as it goes
	DryRun     bool           `json:"dry_run"`
	KeepDeaths bool           `json:"keep_deaths"` // of a redrive: the headers that tell of deaths stay
}

// JobPlace is what is left to be looked at in a partition.
type JobPlace struct {
	Partition int            `json:"partition"`
	Next      message.Offset `json:"next"`
	End       message.Offset `json:"end"`
}

// Job is a job at a moment. It is the receiver's own.
type Job struct {
	ID      string   `json:"id"`
	Kind    JobKind  `json:"kind"`
	State   JobState `json:"state"`
	VHost   string   `json:"vhost"`
	User    string   `json:"user"`
	Spec    JobSpec  `json:"spec"`
	Started int64    `json:"started"` // ms since 1970
	Ended   int64    `json:"ended"`   // 0: not yet
	Reason  string   `json:"reason"`  // why it failed, or what it waits for

	Total      int64            `json:"total"` // offsets that there were to look at, of which some may be no messages
	LookedAt   int64            `json:"looked_at"`
	Matched    int64            `json:"matched"`
	Copied     int64            `json:"copied"` // committed
	Bytes      int64            `json:"bytes"`  // of the bodies of those; of a dry run, of those that matched
	Unroutable int64            `json:"unroutable"`
	Skipped    map[string]int64 `json:"skipped"` // matched and not copied, by why
	Reasons    map[string]int64 `json:"reasons"` // of a redrive: why they died, of those that matched
	Origins    map[string]int64 `json:"origins"` // the same: where
	Places     []JobPlace       `json:"places"`
}

// Why messages that match are not copied.
const (
	SkippedHeld     = "held"      // a consumer has them, or they are on their way
	SkippedNoOrigin = "no_origin" // they are no dead letters
	SkippedNoQueue  = "no_queue"  // their queue is not there any more
	SkippedRefused  = "refused"   // the queue does not take them
)

// OtherOrigins counts the queues for which there was no room.
const OtherOrigins = "…"

// job is one that is remembered.
type job struct {
	mu      sync.Mutex
	now     Job
	cancel  context.CancelCauseFunc // nil: it does not run
	over    chan struct{}           // closed when it does not run any more
	changes atomic.Int64
}

var errCancelled = fmt.Errorf("it was cancelled")

// snapshot copies what is told.
func (j *job) snapshot() Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.now
	out.Skipped, out.Reasons, out.Origins = maps.Clone(out.Skipped), maps.Clone(out.Reasons), maps.Clone(out.Origins)
	out.Places = slices.Clone(out.Places)
	return out
}

// runs says whether it does, or its end is still to be written down: who forgot it before would find it again.
func (j *job) runs() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cancel != nil
}

// settled waits until the end of a job that is over is written down; false is that it runs.
func (j *job) settled() bool {
	j.mu.Lock()
	running, over := j.now.State == JobRunning, j.over
	j.mu.Unlock()
	if !running {
		<-over
	}
	return !running
}

// change changes what is told.
func (j *job) change(fn func(*Job)) {
	j.mu.Lock()
	fn(&j.now)
	j.mu.Unlock()
	j.changes.Add(1)
}

const jobPrefix = "j/" // of the table of groups

// load reads what earlier processes knew; mu is held.
func (l *jobs) load(b *Broker) error {
	if l.loaded {
		return nil
	}
	ctx, cancel := asking()
	defer cancel()
	all := map[string]*job{}
	err := b.groups.Load(ctx, func(e store.Entry) error {
		id, ok := strings.CutPrefix(e.Key, jobPrefix)
		if !ok {
			return nil
		}
		j := &job{over: make(chan struct{})}
		close(j.over)
		if err := json.Unmarshal(e.Value, &j.now); err != nil {
			b.opts.Log.Error("what was written down of a job can't be read; it is forgotten", "job", id, "error", err)
			return nil
		}
		if j.now.State == JobRunning { // the process was killed
			j.now.State = JobInterrupted
		}
		all[id] = j
		return nil
	})
	if err == nil {
		l.all, l.loaded = all, true
	}
	return err
}

// save writes down what is known of a job.
func (b *Broker) saveJob(j *job) error {
	now := j.snapshot()
	text, err := json.Marshal(&now)
	if err != nil {
		return err
	}
	ctx, cancel := asking()
	defer cancel()
	return b.groups.Put(ctx, store.Entry{Key: jobPrefix + now.ID, Value: text})
}

// Jobs lists the jobs that are remembered, the newest first.
func (b *Broker) Jobs() ([]Job, error) {
	l := &b.jobs
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.load(b); err != nil {
		return nil, err
	}
	var out []Job
	for _, j := range l.all {
		out = append(out, j.snapshot())
	}
	slices.SortFunc(out, func(x, y Job) int { return cmp.Or(cmp.Compare(y.Started, x.Started), strings.Compare(x.ID, y.ID)) })
	return out, nil
}

// job finds one.
func (b *Broker) job(id string) (*job, error) {
	b.jobs.mu.Lock()
	defer b.jobs.mu.Unlock()
	if err := b.jobs.load(b); err != nil {
		return nil, err
	}
	if j := b.jobs.all[id]; j != nil {
		return j, nil
	}
	return nil, fail(NotFound, "no job '%s'", id)
}

// Job is one of them. changes grows with each change; over is closed when the job does not run any more.
func (b *Broker) Job(id string) (now Job, changes int64, over <-chan struct{}, err error) {
	j, err := b.job(id)
	if err != nil {
		return Job{}, 0, nil, err
	}
	changes = j.changes.Load()
	now = j.snapshot()
	j.mu.Lock()
	defer j.mu.Unlock()
	return now, changes, j.over, nil
}

// StartJob begins a job of the session's user, for which the rights are asked now and as it goes on.
func (s *Session) StartJob(kind JobKind, spec JobSpec) (Job, error) {
	w, err := s.newWorker(kind, spec)
	if err != nil {
		return Job{}, err
	}
	places, total, err := w.placesAtStart()
	if err != nil {
		return Job{}, err
	}
	j := &job{now: Job{ID: newJobID(), Kind: kind, State: JobRunning, VHost: s.vhost.Name, User: s.who.Name, Spec: spec, Started: s.vhost.b.opts.Now().UnixMilli(),
		Total: total, Places: places, Skipped: map[string]int64{}, Reasons: map[string]int64{}, Origins: map[string]int64{}}}
	return s.begin(j, w)
}

// newJobID is a name that nobody guesses.
func newJobID() string { return strings.ToLower(rand.Text()[:12]) }

// ResumeJob goes on with a job that is over before it was done, by the rights of the session's user.
func (s *Session) ResumeJob(id string) (Job, error) {
	j, err := s.vhost.b.job(id)
	if err != nil {
		return Job{}, err
	}
	was := j.snapshot()
	switch {
	case was.VHost != s.vhost.Name:
		return Job{}, fail(NotFound, "no job '%s' in vhost '%s'", id, s.vhost.Name)
	case !j.settled():
		return Job{}, fail(Precondition, "job '%s' is running", id)
	case was.State == JobDone:
		return Job{}, fail(Precondition, "job '%s' is done: there is nothing to go on with", id)
	}
	w, err := s.newWorker(was.Kind, was.Spec)
	if err != nil {
		return Job{}, err
	}
	return s.begin(j, w)
}

// begin has a job run. The worker's session ends with the job, or here where the job does not begin.
func (s *Session) begin(j *job, w *worker) (now Job, err error) {
	b := s.vhost.b
	defer func() {
		if err != nil {
			w.s.Close()
		}
	}()
	l := &b.jobs
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.load(b); err != nil {
		return Job{}, err
	}
	switch {
	case l.stopped:
		return Job{}, fail(Closed, "the broker is stopping")
	case l.running >= maxRunningJobs:
		return Job{}, fail(LimitReached, "%d jobs are running; wait until one is over, or cancel one", l.running)
	case l.running == maxRunningJobs-1 && l.runsFor(s.who.Name):
		return Job{}, fail(LimitReached, "%d jobs are running, and the last place is for another user; wait until one is over, or cancel one", l.running)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	over := make(chan struct{})
	j.mu.Lock()
	if j.cancel != nil { // somebody else resumed it
		j.mu.Unlock()
		cancel(nil)
		return Job{}, fail(Precondition, "job '%s' is running", j.now.ID)
	}
	was := j.now
	j.cancel, j.over = cancel, over
	j.now.State, j.now.Ended, j.now.Reason, j.now.User = JobRunning, 0, "", s.who.Name
	j.mu.Unlock()
	j.changes.Add(1)
	if err := b.saveJob(j); err != nil {
		j.mu.Lock()
		j.cancel, j.now = nil, was
		j.mu.Unlock()
		close(over)
		cancel(nil)
		return Job{}, err
	}
	l.all[j.now.ID] = j
	l.forgetOldest(b)
	l.running++
	w.job, w.ctx = j, ctx
	b.opts.Log.Info("a job begins", "job", j.now.ID, "kind", string(j.now.Kind), "vhost", s.vhost.Name, "queue", w.spec.Queue, "user", s.who.Name, "dry_run", w.spec.DryRun)
	now = j.snapshot()
	go b.runJob(j, w, over)
	return now, nil
}

// runsFor says whether a job of the user is running; mu is held. Who has one leaves the last place to others, so that
// nobody keeps everybody else out.
func (l *jobs) runsFor(user string) bool {
	for _, j := range l.all {
		if j.runs() && j.snapshot().User == user {
			return true
		}
	}
	return false
}

// forgetOldest keeps the number of jobs bounded; mu is held.
func (l *jobs) forgetOldest(b *Broker) {
	for len(l.all) > maxJobs {
		var oldest *job
		var started int64
		for _, j := range l.all {
			if now := j.snapshot(); !j.runs() && (oldest == nil || now.Started < started) {
				oldest, started = j, now.Started
			}
		}
		if oldest == nil || l.forget(b, oldest) != nil {
			return
		}
	}
}

func (l *jobs) forget(b *Broker, j *job) error {
	ctx, cancel := asking()
	defer cancel()
	err := b.groups.Put(ctx, store.Entry{Key: jobPrefix + j.now.ID})
	if err == nil {
		delete(l.all, j.now.ID)
	}
	return err
}

// runJob works it off and notes how it ended.
func (b *Broker) runJob(j *job, w *worker, over chan struct{}) {
	err := w.run()
	cause := context.Cause(w.ctx)
	w.s.Close()
	j.change(func(now *Job) {
		now.Ended, now.Reason = b.opts.Now().UnixMilli(), ""
		switch {
		case err == nil:
			now.State = JobDone
		case cause == errCancelled:
			now.State = JobCancelled
		case cause != nil:
			now.State, now.Reason = JobInterrupted, "the broker was stopped"
		default:
			now.State, now.Reason = JobFailed, err.Error()
		}
	})
	if err := b.saveJob(j); err != nil {
		b.opts.Log.Error("how a job ended can't be written down; after a restart it is interrupted", "job", j.now.ID, "error", err)
	}
	now := j.snapshot()
	b.opts.Log.Info("a job is over", "job", now.ID, "kind", string(now.Kind), "vhost", now.VHost, "queue", now.Spec.Queue, "state", string(now.State), "looked_at", now.LookedAt,
		"matched", now.Matched, "copied", now.Copied, "reason", now.Reason)
	b.jobs.mu.Lock()
	b.jobs.running--
	b.jobs.mu.Unlock()
	j.mu.Lock()
	j.cancel(nil)
	j.cancel = nil
	j.mu.Unlock()
	close(over)
}

// CancelJob ends a job, and returns when it has ended. What it has copied stays.
func (b *Broker) CancelJob(id string) error {
	j, err := b.job(id)
	if err != nil {
		return err
	}
	j.mu.Lock()
	cancel, over := j.cancel, j.over
	j.mu.Unlock()
	if cancel == nil {
		return fail(Precondition, "job '%s' is not running", id)
	}
	cancel(errCancelled)
	<-over
	return nil
}

// DropJob has a job that is over not be remembered any more.
func (b *Broker) DropJob(id string) error {
	j, err := b.job(id)
	if err != nil {
		return err
	}
	settled := j.settled()
	b.jobs.mu.Lock()
	defer b.jobs.mu.Unlock()
	if !settled || j.runs() {
		return fail(Precondition, "job '%s' is running: cancel it first", id)
	}
	return b.jobs.forget(b, j)
}

// stopJobs interrupts all, and waits until they are written down.
func (b *Broker) stopJobs() {
	b.jobs.mu.Lock()
	b.jobs.stopped = true
	var waiting []chan struct{}
	for _, j := range b.jobs.all {
		j.mu.Lock()
		if j.cancel != nil {
			j.cancel(fail(Closed, "the broker is stopping"))
			waiting = append(waiting, j.over)
		}
		j.mu.Unlock()
	}
	b.jobs.mu.Unlock()
	for _, over := range waiting {
		<-over
	}
}

// jobSession is the session of a job, which outlives the request that began it.
func (v *VHost) jobSession(who auth.Identity) (*Session, error) {
	s := v.NewSession(who)
	if err := s.Visit(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}
