package broker

import (
	"slices"

	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// A message has the time to live that its queue had when it was published: a policy that
// changes it changes nothing for what is there. So that this need not stand in each message,
// what is in a log at a change is written down as one step: below that offset, that time.
//
//	 ttl -1          ttl 60000               ttl 5000, as the settings say
//	├───────────────┼───────────────────────┼─────────►
//	                before 812              before 4711
//
// A step is written before the policy that makes it, of what held until then: a kill between
// the two leaves a step that says what the settings say anyway. Those that all messages have
// passed go with the next change, the next start, or the queue.
type ttlStep struct {
	Before message.Offset `json:"before"`
	TTL    int64          `json:"ttl"` // ms; negative: for ever
}

// ttlDef are the steps of a queue in the definitions, by log: another queue of its name has others.
type ttlDef struct {
	VHost string        `json:"vhost"`
	Queue string        `json:"queue"`
	Logs  []ttlLogSteps `json:"logs"`
}

type ttlLogSteps struct {
	Log   store.LogID `json:"log"`
	Steps []ttlStep   `json:"steps"`
}

func (q *Queue) ttlKey() string { return store.Key(prefixTTL, q.vhost.Name, q.Name) }

// ttlSteps are the log's; who asks for them takes the queue's settings before.
func (p *Partition) ttlSteps() []ttlStep {
	e := p.expiry.Load()
	if e == nil {
		return nil
	}
	if steps := e.steps.Load(); steps != nil {
		return *steps
	}
	return nil
}

// ttlAt is the time to live of what has an offset, of a queue whose settings say ttl.
func ttlAt(steps []ttlStep, o message.Offset, ttl int64) int64 {
	for _, s := range steps {
		if o < s.Before {
			return s.TTL
		}
	}
	return ttl
}

// stepped says whether any of the queue's logs has steps.
func (q *Queue) stepped() bool {
	return slices.ContainsFunc(q.Partitions(), func(p *Partition) bool { return len(p.ttlSteps()) > 0 })
}

// ttlStepsAtOnce is how many queues' steps share a write.
const ttlStepsAtOnce = 1024

// keepTTLs has what is in the queues keep the time to live that it has, where the new policies
// say another.
func (w *policyWalk) keepTTLs() error {
	var c change
	flush := func() error {
		if len(c.entries) == 0 {
			return nil
		}
		err := w.v.b.putDef(c.entries...)
		c.entries = c.entries[:0]
		return err
	}
	for _, q := range w.v.Queues() {
		old, next := q.Settings(), w.next(q)
		if old.MessageTTL == next.MessageTTL || q.Deleted() {
			continue
		}
		if err := q.keepTTL(&c, old.MessageTTL); err != nil {
			return err
		}
		if len(c.entries) >= ttlStepsAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// keepTTL notes what time to live what is in the queue has.
func (q *Queue) keepTTL(c *change, ttl int64) error {
	had := q.stepped()
	d := ttlDef{VHost: q.vhost.Name, Queue: q.Name}
	for _, p := range q.Partitions() {
		if steps := p.keepTTL(ttl); len(steps) > 0 {
			d.Logs = append(d.Logs, ttlLogSteps{p.log.ID(), steps})
		}
	}
	switch {
	case !q.lives():
	case len(d.Logs) > 0:
		return c.put(q.ttlKey(), d)
	case had:
		c.drop(q.ttlKey())
	}
	return nil
}

// keepTTL adds a step to the log's, if something is in it, and drops those that are passed.
func (p *Partition) keepTTL(ttl int64) []ttlStep {
	f := p.log.Figures()
	if f.Certain && f.Waiting == 0 {
		if e := p.expiry.Load(); e != nil {
			e.steps.Store(nil)
		}
		return nil
	}
	end := f.End
	if !f.Certain {
		var err error
		if _, end, err = p.log.Bounds(); err != nil {
			p.q.vhost.b.opts.Log.Error("can't tell what is in a queue whose time to live changes; what is there may get the new one", "queue", p.q.Name, "error", err)
			return nil
		}
	}
	steps := slices.Clone(p.passed(p.ttlSteps(), f.Start))
	if n := len(steps); n == 0 || steps[n-1].Before < end {
		if n > 0 && steps[n-1].TTL == ttl {
			steps = steps[:n-1]
		}
		steps = append(steps, ttlStep{Before: end, TTL: ttl})
	}
	e := p.expiring()
	e.steps.Store(&steps)
	return steps
}

// passed drops the steps below the start of the log and the floor of its cursor.
func (p *Partition) passed(steps []ttlStep, start message.Offset) []ttlStep {
	floor := start
	if c := p.cursor.Load(); c != nil {
		f, _ := c.Progress()
		floor = max(floor, f)
	}
	for len(steps) > 0 && steps[0].Before <= floor {
		steps = steps[1:]
	}
	return steps
}

// takeTTLs takes over what another process has written.
func (v *VHost) takeTTLs(e store.Entry) error {
	var d ttlDef
	if e.Value == nil {
		return nil // they are passed here too
	}
	if err := decodeDef(e, &d); err != nil {
		return err
	}
	v.b.restoreTTLs(d)
	return nil
}

// restoreTTLs takes up what was written down; ok is false for what is of no use any more.
func (b *Broker) restoreTTLs(d ttlDef) (ok bool) {
	v, err := b.VHost(d.VHost)
	if err != nil {
		return false
	}
	q, err := v.Queue(d.Queue)
	if err != nil {
		return false
	}
	for _, l := range d.Logs {
		for _, p := range q.Partitions() {
			if p.log.ID() != l.Log {
				continue
			}
			steps := p.passed(l.Steps, p.log.Figures().Start)
			if len(steps) == 0 {
				continue
			}
			ok = true
			p.expiring().steps.Store(&steps)
			if slices.ContainsFunc(steps, func(s ttlStep) bool { return s.TTL >= 0 }) {
				p.expects(true)
			}
		}
	}
	return ok
}
