package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// spec is a job over all of a queue.
func spec(queue string, target *JobTarget) JobSpec {
	return JobSpec{Queue: queue, Target: target, FromMs: -1, ToMs: -1, From: -1, To: -1, Partition: -1}
}

func intoQueue(name string) *JobTarget    { return &JobTarget{Queue: &name} }
func intoExchange(name string) *JobTarget { return &JobTarget{Exchange: &name} }

// job runs a job to its end.
func (r *rig) job(kind JobKind, s JobSpec) Job {
	r.t.Helper()
	j, err := r.s.StartJob(kind, s)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.ended(j.ID)
}

func (r *rig) ended(id string) Job {
	r.t.Helper()
	_, _, over, err := r.Job(id)
	if err != nil {
		r.t.Fatal(err)
	}
	select {
	case <-over:
	case <-time.After(patience):
		r.t.Fatal("the job does not end")
	}
	j, _, _, err := r.Job(id)
	if err != nil {
		r.t.Fatal(err)
	}
	return j
}

// send publishes one message with properties.
func (r *rig) sendWith(exchange, key, body string, p field.Properties) {
	r.t.Helper()
	pub := r.s.NewPublisher()
	in := &Inbound{Exchange: []byte(exchange), Key: []byte(key), Body: []byte(body), Properties: p.AppendTo(nil), Headers: p.Headers, Persistent: true, TimestampMs: time.Now().UnixMilli()}
	if routed, err := pub.Publish(in); err != nil || !routed {
		r.t.Fatal(routed, err)
	}
	flush(r.t, pub)
}

// got is what a message is to whom it is delivered to.
func (r *rig) got(queue string) (list []string) {
	r.t.Helper()
	list = []string{}
	for {
		g, err := r.s.Get(queue, true)
		if err != nil {
			r.t.Fatal(err)
		}
		if g == nil {
			return list
		}
		var p field.Properties
		if err := p.Parse(g.Properties); err != nil {
			r.t.Fatal(err)
		}
		var names []string
		for t := p.Headers; ; {
			name, f, rest, ok := t.Next()
			if !ok {
				break
			}
			v, _ := field.Find(p.Headers, string(name))
			text, _ := v.AppendValueText(nil)
			if f.Tag == field.TagArray {
				text = []byte("[]")
			}
			names = append(names, string(name)+":"+string(text))
			t = rest
		}
		slices.Sort(names)
		list = append(list, fmt.Sprintf("%s/%s %s %s%v", g.Exchange, g.Key, g.Body, p.Type, names))
	}
}

func TestAReplayCopiesWhatIsStored(t *testing.T) {
	r := startWith(t, 0)
	r.queue("jobs", QueueOptions{Durable: true, Args: arguments(argRetention, "1h")})
	r.queue("copy", QueueOptions{Durable: true})
	r.exchange("shop", "topic")
	r.bind("shop", "jobs", "#")
	headers := field.AppendTableString(nil, "tenant", "acme")
	for i := range 4 {
		r.sendWith("shop", fmt.Sprintf("order.%d", i), fmt.Sprint(i), field.Properties{Type: []byte("t"), Headers: headers, DeliveryMode: 2})
	}
	want(t, "worked off", r.got("jobs")[:1], []string{"shop/order.0 0 t[tenant:acme]"}) // and the others
	j := r.job(ReplayJob, spec("jobs", intoQueue("copy")))
	if j.State != JobDone || j.Copied != 4 || j.Matched != 4 || j.LookedAt != 4 || j.Total != 4 || j.Bytes != 4 || len(j.Places) != 0 {
		t.Errorf("%+v", j)
	}
	want(t, "copies", r.got("copy"), []string{"shop/order.0 0 t[tenant:acme x-replayed-from:jobs x-replayed-offset:0]", "shop/order.1 1 t[tenant:acme x-replayed-from:jobs x-replayed-offset:1]",
		"shop/order.2 2 t[tenant:acme x-replayed-from:jobs x-replayed-offset:2]", "shop/order.3 3 t[tenant:acme x-replayed-from:jobs x-replayed-offset:3]"})

	s := spec("jobs", intoQueue("jobs")) // into itself: it ends where the queue ended
	s.From, s.To = 1, 3
	if j = r.job(ReplayJob, s); j.Copied != 2 || j.State != JobDone {
		t.Errorf("%+v", j)
	}
	want(t, "into itself", r.got("jobs"), []string{"shop/order.1 1 t[tenant:acme x-replayed-from:jobs x-replayed-offset:1]", "shop/order.2 2 t[tenant:acme x-replayed-from:jobs x-replayed-offset:2]"})

	s = spec("jobs", intoQueue("copy"))
	s.DryRun, s.Filter.Contains = true, []byte("2")
	if j = r.job(ReplayJob, s); j.Copied != 0 || j.Matched != 2 || j.LookedAt != 6 || j.Bytes != 2 {
		t.Errorf("%+v", j)
	}
	s.DryRun, s.Filter, s.Limit = false, Filter{}, 3
	if j = r.job(ReplayJob, s); j.Copied != 3 || j.State != JobDone || len(j.Places) != 1 || j.Places[0].Next != 3 {
		t.Errorf("%+v", j)
	}
	if n := len(r.got("copy")); n != 3 {
		t.Errorf("%d copies", n)
	}
}

func TestAReplayToAnExchangeIsRouted(t *testing.T) {
	r := startWith(t, 0)
	r.queue("jobs", QueueOptions{Durable: true})
	r.queue("a", QueueOptions{Durable: true})
	r.queue("b", QueueOptions{Durable: true})
	r.exchange("x", "direct")
	r.bind("x", "a", "jobs")
	r.bind("x", "b", "other")
	publish(t, r.s.NewPublisher(), "", "jobs=1", "jobs=2")
	if j := r.job(ReplayJob, spec("jobs", intoExchange("x"))); j.Copied != 2 || j.Unroutable != 0 {
		t.Errorf("%+v", j)
	}
	key := "other"
	s := spec("jobs", &JobTarget{Exchange: intoExchange("x").Exchange, Key: &key})
	s.Limit = 1
	if j := r.job(ReplayJob, s); j.Copied != 1 {
		t.Errorf("%+v", j)
	}
	key = "nowhere"
	if j := r.job(ReplayJob, spec("jobs", &JobTarget{Exchange: intoExchange("x").Exchange, Key: &key})); j.Copied != 0 || j.Unroutable != 2 || j.State != JobDone {
		t.Errorf("%+v", j)
	}
	want(t, "by its key", drain(t, r.queue("a", QueueOptions{Durable: true})), []string{"1", "2"})
	want(t, "by another", drain(t, r.queue("b", QueueOptions{Durable: true})), []string{"1"})
	want(t, "nothing was taken", drain(t, r.queue("jobs", QueueOptions{Durable: true})), []string{"1", "2"})
}

func TestAReplayTakesTheTimeThatItIsTold(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("jobs", QueueOptions{Durable: true})
		r.queue("copy", QueueOptions{Durable: true})
		var times []int64
		for i := range 5 {
			times = append(times, time.Now().UnixMilli())
			r.sendWith("", "jobs", fmt.Sprint(i), field.Properties{})
			time.Sleep(time.Second)
		}
		s := spec("jobs", intoQueue("copy"))
		s.FromMs, s.ToMs = times[1], times[4]
		if j := r.job(ReplayJob, s); j.Copied != 3 {
			t.Errorf("%+v", j)
		}
		want(t, "of a time", drain(t, r.queue("copy", QueueOptions{Durable: true})), []string{"1", "2", "3"})
		s = spec("jobs", intoQueue("copy"))
		s.Rate = 2
		before := time.Now()
		if j := r.job(ReplayJob, s); j.Copied != 5 {
			t.Errorf("%+v", j)
		}
		if took := time.Since(before); took < 2*time.Second || took > 3*time.Second {
			t.Errorf("5 at 2 a second took %v", took)
		}
	})
}

// dead makes a queue q with a dead letter queue dlq, and has bodies die in it.
func (r *rig) dead(bodies ...string) {
	r.t.Helper()
	r.queue("q", QueueOptions{Durable: true, Args: arguments("x-dead-letter-exchange", "", "x-dead-letter-routing-key", "dlq")})
	r.queue("dlq", QueueOptions{Durable: true})
	r.exchange("shop", "direct")
	r.bind("shop", "q", "k")
	for _, body := range bodies {
		r.sendWith("shop", "k", body, field.Properties{Type: []byte("t")})
		g, err := r.s.Get("q", false)
		if err != nil || g == nil {
			r.t.Fatal(g, err)
		}
		if err := g.Lease.Reject(g.Offset, g.Offset); err != nil {
			r.t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		q, err := r.v.Queue("dlq")
		if err != nil {
			r.t.Fatal(err)
		}
		if q.Ready() == int64(len(bodies)) {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatal("no dead letters")
		}
	}
}

func TestARedriveSendsDeadLettersBack(t *testing.T) {
	r := startWith(t, 0)
	r.dead("1", "2")
	s := spec("dlq", nil)
	s.DryRun = true
	if j := r.job(RedriveJob, s); j.Matched != 2 || j.Copied != 0 || j.Reasons["rejected"] != 2 || j.Origins["q"] != 2 {
		t.Errorf("%+v", j)
	}
	if j := r.job(RedriveJob, spec("dlq", nil)); j.State != JobDone || j.Copied != 2 {
		t.Errorf("%+v", j)
	}
	want(t, "left", r.got("dlq"), []string{})
	if n := r.counters.Left[Redriven].Load(); n != 2 {
		t.Errorf("%d are counted", n)
	}
	want(t, "back", r.got("q"), []string{"shop/k 1 t[x-redriven-count:1 x-redriven-from:dlq x-redriven-reason:rejected]", "shop/k 2 t[x-redriven-count:1 x-redriven-from:dlq x-redriven-reason:rejected]"})

	r.dead("3")
	s = spec("dlq", nil)
	s.KeepDeaths = true
	r.job(RedriveJob, s)
	got := r.got("q")
	if len(got) != 1 || !strings.Contains(got[0], "x-death:[]") || !strings.Contains(got[0], "x-first-death-queue:q") {
		t.Errorf("%q", got)
	}
}

// What dies again is counted, and its deaths begin anew.
func TestARedrivenMessageMayDieAgain(t *testing.T) {
	r := startWith(t, 0)
	r.dead("1")
	for i := range 2 {
		if j := r.job(RedriveJob, spec("dlq", nil)); j.Copied != 1 {
			t.Fatalf("%+v", j)
		}
		g, err := r.s.Get("q", false)
		if err != nil || g == nil {
			t.Fatal(g, err)
		}
		var p field.Properties
		if err := p.Parse(g.Properties); err != nil {
			t.Fatal(err)
		}
		if n, ok := p.Headers.Get(headerRedrivenCount); !ok {
			t.Error("no count")
		} else if v, _ := n.Int(); v != int64(i)+1 {
			t.Errorf("count %d in round %d", v, i)
		}
		if err := g.Lease.Reject(g.Offset, g.Offset); err != nil {
			t.Fatal(err)
		}
		for q, _ := r.v.Queue("dlq"); q.Ready() == 0; time.Sleep(time.Millisecond) {
		}
	}
	g, err := r.s.Get("dlq", true)
	if err != nil || g == nil {
		t.Fatal(err)
	}
	first, _ := message.DeathsOf(g.Properties, g.died)
	if string(first.Queue) != "q" || string(first.Exchange) != "shop" || string(first.Key) != "k" {
		t.Errorf("%s %s %s", first.Queue, first.Exchange, first.Key)
	}
}

// Messages in between stay where they are and as they were, for consumers and for the flag of redelivery.
func TestARedriveLeavesTheOthersAlone(t *testing.T) {
	r := startWith(t, 0)
	r.dead("a1", "b1", "a2", "b2", "a3")
	held, err := r.s.Get("dlq", false) // a1
	if err != nil || held == nil {
		t.Fatal(err)
	}
	r.sendWith("", "dlq", "a4 never died", field.Properties{})
	s := spec("dlq", nil)
	s.Filter.Contains = []byte("a")
	if j := r.job(RedriveJob, s); j.Matched != 4 || j.Copied != 2 || j.Skipped[SkippedHeld] != 1 || j.Skipped[SkippedNoOrigin] != 1 {
		t.Errorf("%+v", j)
	}
	var bodies []string
	for {
		g, err := r.s.Get("dlq", false)
		if err != nil {
			t.Fatal(err)
		}
		if g == nil {
			break
		}
		if g.Redelivered {
			t.Errorf("%s was never delivered", g.Body)
		}
		bodies = append(bodies, string(g.Body))
	}
	want(t, "left", bodies, []string{"b1", "b2", "a4 never died"})
	want(t, "back", drain(t, r.queue("q", QueueOptions{Durable: true, Args: arguments("x-dead-letter-exchange", "", "x-dead-letter-routing-key", "dlq")})), []string{"a2", "a3"})
}

// A letter stays where there is no queue for it, or the queue does not take it.
func TestWhatCanNotBeRedrivenStays(t *testing.T) {
	r := startWith(t, 0)
	r.dead("1", "2", "3")
	if _, err := r.s.DeleteQueue("q", false, false); err != nil {
		t.Fatal(err)
	}
	if j := r.job(RedriveJob, spec("dlq", nil)); j.Copied != 0 || j.Skipped[SkippedNoQueue] != 3 {
		t.Errorf("%+v", j)
	}
	r.queue("q", QueueOptions{Durable: true, Args: arguments("x-max-length", 2, "x-overflow", "reject-publish")})
	if j := r.job(RedriveJob, spec("dlq", nil)); j.Copied != 2 || j.Skipped[SkippedRefused] != 1 || j.State != JobDone {
		t.Errorf("%+v", j)
	}
	want(t, "left", drain(t, r.queue("dlq", QueueOptions{Durable: true})), []string{"3"})
	r.sendWith("", "dlq", "4", field.Properties{})
	r.exchange("void", "fanout")
	if j := r.job(RedriveJob, spec("dlq", intoExchange("void"))); j.Copied != 0 || j.Unroutable != 1 {
		t.Errorf("%+v", j)
	}
	if _, err := r.s.StartJob(RedriveJob, spec("dlq", intoQueue("none"))); KindOf(err) != NotFound {
		t.Error(err)
	}
}

func TestJobsAreCancelledAndResumed(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("jobs", QueueOptions{Durable: true})
		r.queue("copy", QueueOptions{Durable: true})
		for i := range 50 {
			publish(t, r.s.NewPublisher(), "", fmt.Sprint("jobs=", i))
		}
		s := spec("jobs", intoQueue("copy"))
		s.Rate = 10
		j, err := r.s.StartJob(ReplayJob, s)
		if err != nil {
			t.Fatal(err)
		}
		for now := j; now.Copied == 0; now, _, _, _ = r.Job(j.ID) {
			time.Sleep(time.Millisecond)
		}
		if _, err := r.s.ResumeJob(j.ID); KindOf(err) != Precondition {
			t.Error(err)
		}
		if err := r.DropJob(j.ID); KindOf(err) != Precondition {
			t.Error(err)
		}
		if err := r.CancelJob(j.ID); err != nil {
			t.Fatal(err)
		}
		now := r.ended(j.ID)
		if now.State != JobCancelled || now.Copied == 0 || now.Copied == 50 || now.Places[0].Next != message.Offset(now.Copied) {
			t.Errorf("%+v", now)
		}
		r.restart()
		now.Spec.Rate = 0
		if again := r.ended(j.ID); again.State != JobCancelled || again.Copied != now.Copied {
			t.Errorf("%+v", again)
		}
		if _, err := r.s.ResumeJob(j.ID); err != nil {
			t.Fatal(err)
		}
		for now, _, _, _ = r.Job(j.ID); now.Copied < 10; now, _, _, _ = r.Job(j.ID) {
			time.Sleep(time.Millisecond)
		}
		r.restart() // which interrupts it
		if now = r.ended(j.ID); now.State != JobInterrupted || now.Copied >= 50 {
			t.Errorf("%+v", now)
		}
		if _, err := r.s.ResumeJob(j.ID); err != nil {
			t.Fatal(err)
		}
		if now = r.ended(j.ID); now.State != JobDone || now.Copied != 50 {
			t.Errorf("%+v", now)
		}
		if got := drain(t, r.queue("copy", QueueOptions{Durable: true})); len(got) != 50 || got[49] != "49" {
			t.Errorf("%q", got)
		}
		if _, err := r.s.ResumeJob(j.ID); KindOf(err) != Precondition {
			t.Error(err)
		}
		if err := r.DropJob(j.ID); err != nil {
			t.Error(err)
		}
		if _, _, _, err := r.Job(j.ID); KindOf(err) != NotFound {
			t.Error(err)
		}
	})
}

// A message that can't be copied is where a job stands that failed at it.
func TestAJobThatFailedGoesOnWhereItFailed(t *testing.T) {
	r := startWith(t, 0)
	r.queue("jobs", QueueOptions{Durable: true})
	r.queue("copy", QueueOptions{Durable: true})
	publish(t, r.s.NewPublisher(), "", "jobs=1", "jobs=too large", "jobs=3")
	r.LimitMessages(5)
	j := r.job(ReplayJob, spec("jobs", intoQueue("copy")))
	if j.State != JobFailed || j.Copied != 1 || !strings.Contains(j.Reason, "larger") || j.Places[0].Next != 1 {
		t.Errorf("%+v", j)
	}
	r.LimitMessages(100)
	if _, err := r.s.ResumeJob(j.ID); err != nil {
		t.Fatal(err)
	}
	if j = r.ended(j.ID); j.State != JobDone || j.Copied != 3 {
		t.Errorf("%+v", j)
	}
	want(t, "copies", drain(t, r.queue("copy", QueueOptions{Durable: true})), []string{"1", "too large", "3"})
}

// After a kill a job is told to have been interrupted.
func TestAKilledJobIsInterrupted(t *testing.T) {
	files := fs.NewMem(1)
	bubbleOn(t, files, func(t *testing.T, r *rig) {
		r.queue("jobs", QueueOptions{Durable: true})
		r.queue("copy", QueueOptions{Durable: true})
		publish(t, r.s.NewPublisher(), "", "jobs=1", "jobs=2")
		s := spec("jobs", intoQueue("copy"))
		s.Rate = 1
		j, err := r.s.StartJob(ReplayJob, s)
		if err != nil {
			t.Fatal(err)
		}
		st, err := local.Open(local.Options{Dir: r.dir, FS: files.Kill(), Mode: store.ModeOS})
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(st, Options{})
		if err != nil {
			t.Fatal(err)
		}
		now, _, over, err := b.Job(j.ID)
		if err != nil || now.State != JobInterrupted || len(now.Places) != 1 {
			t.Errorf("%+v %v", now, err)
		}
		select {
		case <-over:
		default:
			t.Error("it is not over")
		}
		if err := errors.Join(b.Close(), st.Close(), r.CancelJob(j.ID)); err != nil {
			t.Error(err)
		}
	})
}

// Messages that came over several connections may have been stored a moment out of order.
func TestAReplayOfATimeTakesWhatWasStoredOutOfOrder(t *testing.T) {
	r := startWith(t, 0)
	r.queue("jobs", QueueOptions{Durable: true})
	r.queue("copy", QueueOptions{Durable: true})
	p := r.s.NewPublisher()
	for body, ms := range []int64{1000, 9000, 5000} {
		if _, err := p.Publish(&Inbound{Key: []byte("jobs"), Body: []byte(fmt.Sprint(body)), Persistent: true, TimestampMs: ms}); err != nil {
			t.Fatal(err)
		}
		flush(t, p)
	}
	s := spec("jobs", intoQueue("copy"))
	s.FromMs, s.ToMs = 1000, 7000
	if j := r.job(ReplayJob, s); j.Copied != 2 {
		t.Errorf("%+v", j)
	}
	want(t, "copies", drain(t, r.queue("copy", QueueOptions{Durable: true})), []string{"0", "2"})
}

func TestJobsAreBounded(t *testing.T) {
	r := startWith(t, 0)
	r.queue("jobs", QueueOptions{Durable: true})
	r.queue("copy", QueueOptions{Durable: true})
	for range 5 {
		publish(t, r.s.NewPublisher(), "", "jobs=x")
	}
	s := spec("jobs", intoQueue("copy"))
	s.Rate = 1
	var ids []string
	start := func(by *Session) {
		t.Helper()
		j, err := by.StartJob(ReplayJob, s)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, j.ID)
	}
	refused := func(by *Session) {
		t.Helper()
		if _, err := by.StartJob(ReplayJob, s); KindOf(err) != LimitReached {
			t.Error(err)
		}
	}
	for range maxRunningJobs - 1 {
		start(r.s)
	}
	refused(r.s) // the last place is another user's
	other := r.v.NewSession(auth.Identity{Name: "other"})
	defer other.Close()
	start(other)
	refused(other)
	refused(r.s)
	for _, id := range ids {
		if err := r.CancelJob(id); err != nil {
			t.Error(err)
		}
	}
	r.accounts.mu.Lock()
	if n := len(r.accounts.list); n != 0 {
		t.Errorf("%d users are remembered for whom nothing runs", n)
	}
	r.accounts.mu.Unlock()
	large := spec("jobs", intoQueue("copy"))
	large.Filter.Contains = make([]byte, maxFilterBytes+1)
	if _, err := r.s.StartJob(ReplayJob, large); KindOf(err) != BadSetting {
		t.Errorf("a filter of any size is kept: %v", err)
	}
	s.Rate = 0
	s.DryRun = true
	var last string
	for range maxJobs {
		last = r.job(ReplayJob, s).ID
	}
	if all, err := r.Jobs(); err != nil || len(all) != maxJobs || !slices.ContainsFunc(all, func(j Job) bool { return j.ID == last }) {
		t.Errorf("%d jobs, %v", len(all), err)
	}
	r.restart()
	if all, err := r.Jobs(); err != nil || len(all) != maxJobs {
		t.Errorf("%d jobs after a restart, %v", len(all), err)
	}
}

// A job that is forgotten just as it ends does not come back.
func TestAJobIsForgottenWhenItsEndIsWrittenDown(t *testing.T) {
	r := startWith(t, 0)
	r.queue("jobs", QueueOptions{Durable: true})
	id := r.job(ReplayJob, spec("jobs", intoQueue("jobs"))).ID
	j, err := r.Broker.job(id)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{}) // as while runJob ends
	j.mu.Lock()
	j.cancel, j.over = func(error) {}, over
	j.mu.Unlock()
	dropped := make(chan error)
	go func() { dropped <- r.DropJob(id) }()
	time.Sleep(10 * time.Millisecond)
	if err := r.saveJob(j); err != nil {
		t.Fatal(err)
	}
	j.mu.Lock()
	j.cancel = nil
	j.mu.Unlock()
	close(over)
	if err := <-dropped; err != nil {
		t.Fatal(err)
	}
	r.restart()
	if _, _, _, err := r.Job(id); KindOf(err) != NotFound {
		t.Errorf("it is there again: %v", err)
	}
}

// A letter stays when the queue of its copy is deleted before the copy is stored.
func TestALetterStaysWhoseQueueIsDeletedMeanwhile(t *testing.T) {
	r := startWith(t, 0)
	r.dead("1", "2")
	w, err := r.s.newWorker(RedriveJob, spec("dlq", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer w.s.Close()
	places, _, err := w.placesAtStart()
	if err != nil {
		t.Fatal(err)
	}
	w.wants = func(d *Delivery) bool {
		if string(d.Body) == "2" { // the copy of the other is made, and not stored
			if _, err := r.s.DeleteQueue("q", false, false); err != nil {
				t.Error(err)
			}
		}
		return true
	}
	w.job, w.ctx = &job{now: Job{Places: places, Skipped: map[string]int64{}, Reasons: map[string]int64{}, Origins: map[string]int64{}}}, t.Context()
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	if now := w.job.snapshot(); now.Copied != 0 || now.Skipped[SkippedNoQueue] != 2 {
		t.Errorf("%+v", now)
	}
	want(t, "left", drain(t, r.queue("dlq", QueueOptions{Durable: true})), []string{"1", "2"})
}

// A job that finds nothing in very many small messages ends when it is told to, and tells how far it is.
func TestAJobLooksAtSomeMessagesAtATime(t *testing.T) {
	r := startWith(t, 0)
	r.queue("jobs", QueueOptions{Durable: true})
	p := r.s.NewPublisher()
	for range chunkLooked + 10 {
		if _, err := p.Publish(&Inbound{Key: []byte("jobs")}); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, p)
	s := spec("jobs", intoQueue("jobs"))
	s.Filter.Contains = []byte("x")
	w, err := r.s.newWorker(ReplayJob, s)
	if err != nil {
		t.Fatal(err)
	}
	defer w.s.Close()
	places, _, err := w.placesAtStart()
	if err != nil {
		t.Fatal(err)
	}
	w.job, w.ctx = &job{now: Job{Places: places}}, t.Context()
	now := w.job.snapshot()
	if err := w.chunk(&now); err != nil {
		t.Fatal(err)
	}
	if now = w.job.snapshot(); now.LookedAt != chunkLooked || now.Places[0].Next != chunkLooked {
		t.Errorf("%+v", now)
	}
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	if now = w.job.snapshot(); now.LookedAt != chunkLooked+10 || len(now.Places) != 0 {
		t.Errorf("%+v", now)
	}
}

// What a killed process leaves has each letter: where it was, or where it goes, or in both places.
func TestAKillLosesNoLetterThatIsRedriven(t *testing.T) {
	r := startWith(t, 0)
	r.dead("1")
	part := r.queue("dlq", QueueOptions{Durable: true}).Partitions()[0]
	look := func(what string, inDLQ, inQ int) bool {
		t.Helper()
		st, err := local.Open(local.Options{Dir: copied(t, r.dir), Mode: store.ModeOS})
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(st, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(b.Close(), st.Close()); err != nil {
				t.Error(err)
			}
		}()
		v, _ := b.VHost("/")
		dlq, _ := v.Queue("dlq")
		q, _ := v.Queue("q")
		a, n := len(drain(t, dlq)), len(drain(t, q))
		if a+n == 0 {
			t.Errorf("%s: it is lost", what)
		}
		return a == inDLQ && n == inQ
	}
	if _, err := part.work(); err != nil {
		t.Fatal(err)
	}
	w, err := r.s.newWorker(RedriveJob, spec("dlq", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer w.s.Close()
	w.job = &job{now: Job{Places: []JobPlace{{0, 0, 1}}}}
	w.delta = Job{Skipped: map[string]int64{}, Reasons: map[string]int64{}, Origins: map[string]int64{}}
	if w.states, err = w.s.States(part); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.s.Browse(part, 0, 1<<20, func(d *Delivery) bool { return w.redrive(part, d) == nil }); err != nil || w.n != 1 {
		t.Fatal(w.n, err)
	}
	if g, err := r.s.Get("dlq", true); g != nil || err != nil {
		t.Error("a consumer gets what is being copied", err)
	}
	if !look("before it is stored", 1, 0) {
		t.Error("it has left before it was stored")
	}
	w.pub.Store()
	if !look("before it is committed", 1, 1) {
		t.Error("it has left before it was committed")
	}
	if err := w.commit(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); !look("behind it", 0, 1); time.Sleep(10 * time.Millisecond) { // acks are noted behind everybody's back
		if time.Now().After(deadline) {
			t.Fatal("it does not leave")
		}
	}
}
