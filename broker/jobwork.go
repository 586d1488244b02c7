package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
)

// How much a job copies before it waits for the commit.
const (
	chunkMessages = 512
	chunkBytes    = 1 << 20
	chunkLooked   = 16 << 10               // messages that are looked at, however few are meant
	alarmPause    = 250 * time.Millisecond // how often it is looked whether an alarm is over
)

// worker works off one job.
type worker struct {
	job  *job
	kind JobKind
	spec JobSpec
	s    *Session // the job's own
	ctx  context.Context
	q    *Queue
	pub  *Publisher

	wants   func(*Delivery) bool
	states  func(message.Offset) MessageState // of a redrive
	started time.Time                         // of this run
	copied  int64                             // in this run
	saved   time.Time

	// Of the chunk under way.
	place   JobPlace
	n       int
	torn    bool           // the publisher was left in the middle of a message
	held    []heldLetter   // of a redrive: on hold, and published
	refused []uint64       // offsets of which copies were refused
	delta   Job            // what is to be added to what is told
	failed  error          // for which the job ends behind what was published
	stop    message.Offset // where it failed

	props   []byte
	headers []byte
}

// newWorker checks what a job is to do, and that the user may.
func (s *Session) newWorker(kind JobKind, spec JobSpec) (*worker, error) {
	if err := spec.Filter.Check(); err != nil {
		return nil, err
	}
	q, err := s.Queue(Consume, spec.Queue)
	if err != nil {
		return nil, err
	}
	if spec.Partition >= len(q.Partitions()) {
		return nil, fail(OutOfRange, "queue '%s' has no partition %d", q.Name, spec.Partition)
	}
	if (spec.From >= 0 || spec.To >= 0) && spec.Partition < 0 && len(q.Partitions()) > 1 {
		return nil, fail(Precondition, "offsets need the number of a partition: queue '%s' has %d", q.Name, len(q.Partitions()))
	}
	if kind == RedriveJob && (q.Topic || q.Settings().kind == stream) {
		return nil, fail(Unsupported, "'%s' is not a queue: nothing leaves it when it is redriven; replay it", q.Name)
	}
	own, err := s.vhost.jobSession(s.who)
	if err != nil {
		return nil, err
	}
	w := &worker{kind: kind, spec: spec, s: own, q: q, wants: spec.Filter.Chooser()}
	if err := w.mayPublish(); err != nil {
		own.Close()
		return nil, err
	}
	w.pub = own.NewPublisher()
	return w, nil
}

// mayPublish asks for what the job writes to.
func (w *worker) mayPublish() error {
	t := w.spec.Target
	if t == nil || t.Queue != nil { // as if it were published to the default exchange
		if err := w.s.May(Publish, OnExchange, ""); err != nil {
			return err
		}
		if t != nil {
			_, err := w.s.vhost.Queue(*t.Queue)
			return err
		}
		return nil
	}
	_, err := w.s.Exchange(Publish, *t.Exchange)
	return err
}

// placesAtStart is what there is to look at, which does not grow: a queue may be replayed into itself.
func (w *worker) placesAtStart() (list []JobPlace, total int64, err error) {
	for i, p := range w.q.Partitions() {
		if w.spec.Partition >= 0 && i != w.spec.Partition {
			continue
		}
		first, end, err := w.s.Between(p, w.spec.FromMs, w.spec.ToMs)
		if err != nil {
			w.s.Close()
			return nil, 0, err
		}
		if w.spec.From >= 0 {
			first = max(first, w.spec.From)
		}
		if w.spec.To >= 0 {
			end = min(end, w.spec.To)
		}
		if first < end {
			list = append(list, JobPlace{i, first, end})
			total += int64(end - first)
		}
	}
	return list, total, nil
}

// run goes through what is left of all partitions.
func (w *worker) run() (err error) {
	done := context.AfterFunc(w.ctx, w.s.GiveUp)
	defer done()
	w.started, w.saved = time.Now(), time.Now()
	for {
		now := w.job.snapshot()
		if len(now.Places) == 0 || w.spec.Limit > 0 && now.Copied >= w.spec.Limit && !w.spec.DryRun || w.spec.DryRun && w.spec.Limit > 0 && now.Matched >= w.spec.Limit {
			return nil
		}
		if err := w.await(); err != nil {
			return err
		}
		if err := w.chunk(&now); err != nil {
			return err
		}
		if time.Since(w.saved) >= jobSaveEvery {
			if err := w.q.vhost.b.saveJob(w.job); err != nil {
				return fmt.Errorf("write down how far it is: %w", err)
			}
			w.saved = time.Now()
		}
	}
}

// await waits for what keeps the job from going on: its rate, and an alarm.
func (w *worker) await() error {
	b := w.q.vhost.b
	told := false
	for !w.spec.DryRun && b.Alarm() != "" {
		if !told {
			w.job.change(func(j *Job) { j.Reason = "it waits: " + b.Alarm() })
			told = true
		}
		if err := w.sleep(alarmPause); err != nil {
			return err
		}
	}
	if told {
		w.job.change(func(j *Job) { j.Reason = "" })
	}
	if w.spec.Rate > 0 && !w.spec.DryRun {
		if ahead := time.Duration(float64(w.copied)/float64(w.spec.Rate)*float64(time.Second)) - time.Since(w.started); ahead > 0 {
			return w.sleep(ahead)
		}
	}
	return context.Cause(w.ctx)
}

func (w *worker) sleep(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}

// room is how many messages the next chunk may copy.
func (w *worker) room(now *Job) int {
	n := int64(chunkMessages)
	if w.spec.Rate > 0 {
		n = min(n, max(1, w.spec.Rate/10))
	}
	if w.spec.Limit > 0 && !w.spec.DryRun {
		n = min(n, w.spec.Limit-now.Copied)
	} else if w.spec.Limit > 0 {
		n = min(n, w.spec.Limit-now.Matched)
	}
	return int(n)
}

// chunk works off some messages of the first partition that is left, and tells what came of them when that is committed.
func (w *worker) chunk(now *Job) error {
	w.place = now.Places[0]
	w.n, w.torn, w.failed, w.held, w.refused = 0, false, nil, w.held[:0], nil
	w.delta = Job{Skipped: map[string]int64{}, Reasons: map[string]int64{}, Origins: map[string]int64{}}
	part := w.q.Partitions()[w.place.Partition]
	if err := w.mayPublish(); err != nil { // it may be otherwise by now
		return err
	}
	if w.kind == RedriveJob {
		var err error
		if w.states, err = w.s.States(part); err != nil {
			return err
		}
	}
	room, from := w.room(now), w.place.Next
	size := 0
	next, _, err := w.s.Browse(part, from, chunkBytes, func(d *Delivery) bool {
		if d.Offset >= w.place.End {
			return false
		}
		w.delta.LookedAt++
		if w.inTime(d) && w.wants(d) {
			w.torn = true
			w.failed = w.take(part, d)
			w.torn = false
			w.stop = d.Offset
			size += len(d.Body)
		}
		return w.failed == nil && w.n < room && size < chunkBytes && w.delta.LookedAt < chunkLooked
	})
	switch {
	case w.torn: // what lies there can't be read
		w.pub.Abandon()
		w.letBack()
		return fmt.Errorf("offset %d: %w", next, err)
	case err != nil && !w.published():
		w.letBack()
		return err
	}
	if w.failed != nil {
		next = w.stop
	}
	if err := w.commit(); err != nil {
		return err
	}
	w.tell(min(next, w.place.End), next <= from && w.failed == nil && err == nil)
	if w.failed != nil {
		return w.failed
	}
	return err
}

// inTime says whether a message is of the time that is meant.
func (w *worker) inTime(d *Delivery) bool {
	return (w.spec.FromMs < 0 || d.TimestampMs >= w.spec.FromMs) && (w.spec.ToMs < 0 || d.TimestampMs < w.spec.ToMs)
}

// published says whether there is something to commit.
func (w *worker) published() bool { return w.n > 0 }

// take deals with one message that is meant.
func (w *worker) take(part *Partition, d *Delivery) error {
	if w.kind == RedriveJob {
		return w.redrive(part, d)
	}
	return w.replay(d)
}

// commit waits until what was published is as safe as a confirm says.
func (w *worker) commit() error {
	if w.spec.DryRun || !w.published() {
		return nil
	}
	w.pub.Store()
	w.refused = w.pub.Refused()
	done := make(chan error, 1)
	err := w.pub.Commit(func(err error) { done <- err })
	if err == nil {
		patience := time.NewTimer(jobPatience)
		defer patience.Stop()
		select {
		case err = <-done:
		case <-patience.C:
			err = fail(Timeout, "the disk did not confirm the copies in time; some may be stored all the same")
		}
	}
	if err != nil {
		w.letBack()
		return fmt.Errorf("copies could not be stored: %w", err)
	}
	refused := int64(len(w.refused))
	w.delta.Copied += int64(w.n) - refused
	if refused > 0 {
		w.delta.Skipped[SkippedRefused] += refused
	}
	w.copied += int64(w.n)
	w.letGo()
	return nil
}

// tell adds what a chunk did to what is told of the job.
func (w *worker) tell(next message.Offset, nothing bool) {
	if nothing {
		next = w.place.End
	}
	w.job.change(func(j *Job) {
		d := &w.delta
		j.LookedAt += d.LookedAt
		j.Matched += d.Matched
		j.Copied += d.Copied
		j.Bytes += d.Bytes
		j.Unroutable += d.Unroutable
		for _, m := range []struct{ to, from map[string]int64 }{{j.Skipped, d.Skipped}, {j.Reasons, d.Reasons}, {j.Origins, d.Origins}} {
			for name, n := range m.from {
				if _, known := m.to[name]; !known && len(m.to) >= maxOrigins {
					name = OtherOrigins
				}
				m.to[name] += n
			}
		}
		if j.Places[0].Next = next; next >= w.place.End {
			j.Places = j.Places[1:]
		}
	})
}

// publish sends a copy on: into a queue, or to an exchange.
func (w *worker) publish(to *Queue, in *Inbound) (routed bool, err error) {
	w.pub.only = to
	in.Persistent, in.TimestampMs = true, w.q.vhost.b.opts.Now().UnixMilli()
	var p field.Properties
	if p.Parse(in.Properties) == nil {
		in.Headers = p.Headers
	}
	return w.pub.Publish(in)
}

// targetQueue is the queue of that name.
func (w *worker) targetQueue(name string) (*Queue, error) {
	q, err := w.q.vhost.Queue(name)
	if err == nil {
		err = q.allow(w.s)
	}
	return q, err
}
