package broker

import (
	"fmt"

	"github.com/leveret-mq/leveret/message"
)

// Store appends what was published since the last Store to its logs, in the order in
// which the batches were begun; Commit tells what went wrong. A queue that was deleted
// meanwhile takes its messages and forgets them, as if they had come just before the
// deletion.
func (p *Publisher) Store() {
	if p.whole {
		p.storeWhole()
	} else {
		p.storePending()
	}
}

func (p *Publisher) storePending() {
	p.same.batch = nil
	for _, set := range p.pending {
		p.append(set)
		p.close(set)
	}
	p.pending, p.size = p.pending[:0], 0
}

// append appends the batch of a set to each of its logs.
func (p *Publisher) append(set *targetSet) {
	data := set.batch.Seal()
	failed, gone := 0, 0
	for _, t := range set.targets {
		t.open = nil
		if t.part.removed.Load() {
			gone++
			p.gone(t)
			continue
		}
		if t.levels {
			t.part.use()
		}
		n, err := set.batch.Len(), error(nil)
		known := t.settings
		if known != t.part.q.Settings() {
			t.look() // a policy came since
		}
		if t.chooses {
			n, err = p.appendLimited(t, set, data)
		} else {
			_, err = t.part.log.Append(data)
		}
		p.v.b.alarm.appended(p.v.b, t.part, len(data), err)
		switch {
		case err == nil:
			p.stored(t, set.batch, n)
			if known != t.part.q.Settings() {
				t.part.settingsCame()
			}
		case !t.part.removed.Load():
			failed++
			p.failed(fmt.Errorf("queue '%s': %w", t.part.q.Name, err))
		default:
			gone++
			p.gone(t)
		}
	}
	if p.fates != nil && failed+gone > 0 || set.missed != nil {
		p.missed(set, failed, gone)
	}
}

// close lets go of a set's batch.
func (p *Publisher) close(set *targetSet) {
	set.batch.Reset(keepBatchBytes)
	p.free = append(p.free, set.batch)
	set.batch, set.refs, set.missed = nil, set.refs[:0], nil
}

// gone is what becomes of the messages for a queue that was deleted meanwhile: those of a transaction fail it, as on
// RabbitMQ, since the queue was there when they were published; those that are tracked are not stored there.
func (p *Publisher) gone(t *target) {
	if p.whole || p.fates != nil {
		p.failed(fail(NotFound, "no queue '%s' in vhost '%s'", t.part.q.Name, p.v.Name))
	}
}

// stored notes that a log has taken n messages of a batch.
func (p *Publisher) stored(t *target, batch *message.Builder, n int) {
	p.v.b.counters.Stored.Add(uint64(n))
	if (batch.MayExpire() || t.ttl) && !t.part.q.hidden {
		t.part.expects(true)
	}
	if !t.used {
		t.used = true
		p.used = append(p.used, t)
	}
}

// failed keeps the first error for Commit, or the last for who tracks messages.
func (p *Publisher) failed(err error) {
	if p.fates != nil {
		p.fates.err = err
	} else if p.err == nil {
		p.err = err
	}
}

func (p *Publisher) builder() *message.Builder {
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	return new(message.Builder)
}

// trimBuilders gives back what a connection is not to keep between two Commits.
func (p *Publisher) trimBuilders() {
	for i := keepBuilders; i < len(p.free); i++ {
		if i >= keepBuilders+keepSmall {
			p.free[i] = nil
			continue
		}
		p.free[i].Reset(keepSmallBytes)
	}
	p.free = p.free[:min(len(p.free), keepBuilders+keepSmall)]
}

// Commit ends what was stored since the last Commit. done, if there is one, is called
// when all of it is as durable as each queue promises, or with the error for which
// something of it may not have been stored; it may be called before Commit returns or
// later from another goroutine, and must not block. What Commit returns is the error
// that is known without waiting for a disk.
func (p *Publisher) Commit(done func(error)) error {
	c := &p.v.b.counters
	if p.published > 0 && p.fates == nil { // dead letters were published before
		c.Published.Add(p.published)
		c.Routed.Add(p.routed)
		c.Unroutable.Add(p.unroutable)
		p.v.flow.published.Add(p.published)
		p.v.flow.unroutable.Add(p.unroutable)
		c.PublishedBytes.Add(p.bytes)
		p.tell()
		if p.s != nil {
			p.s.published()
		}
	}
	p.published, p.routed, p.unroutable, p.bytes = 0, 0, 0, 0
	p.forgetTallies()
	if p.refusals != nil {
		p.refusals.store()
	}
	p.logs = p.logs[:0]
	for _, t := range p.used {
		t.used = false
		p.logs = append(p.logs, t.part.log)
	}
	err, commit := p.err, p.needCommit
	if err == nil && len(p.refused) > 0 {
		err = fail(LimitReached, "%d messages were refused: a queue has reached its maximum length, has them already, or is a compacted topic and they have no routing key", len(p.refused))
	}
	p.refused = p.refused[:0]
	done = p.endNames(err, p.forgetUnstored(err, commit, done))
	p.used, p.err, p.needCommit = p.used[:0], nil, false
	p.trimBuilders()
	switch {
	case done == nil:
	case err != nil, !commit, len(p.logs) == 0:
		done(err)
	default:
		p.v.b.store.Commit(p.logs, done)
	}
	return err
}
