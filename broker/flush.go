package broker

import (
	"fmt"

	"github.com/leveret-mq/leveret/message"
)

// appendSets appends the batches of sets to their logs, in that order, and closes them. A set
// that is not open has none. A queue that was deleted meanwhile takes its messages and
// forgets them, as if they had come just before the deletion.
func (p *Publisher) appendSets(sets ...*targetSet) {
	p.same.batch = nil
	for _, set := range sets {
		if !set.open {
			continue
		}
		p.appendBatch(set)
		set.open, set.expires = false, false
		set.batch.Reset(keepBatchBytes)
		p.free = append(p.free, set.batch)
		set.batch, set.refs = nil, set.refs[:0]
	}
}

// appendBatch appends the batch of a set to each of its logs.
func (p *Publisher) appendBatch(set *targetSet) {
	data := set.batch.Seal()
	stored, failed := 0, 0
	for _, t := range set.targets {
		t.open = nil
		err := p.append(t, set, data)
		if err == nil {
			stored++
			continue
		}
		failed++
		err = fmt.Errorf("queue '%s': %w", t.part.q.Name, err)
		if p.fates != nil {
			p.fates.err = err
		} else if p.err == nil {
			p.err = err
		}
	}
	if p.fates != nil && failed > 0 {
		p.fates.fail(set.refs, stored > 0, failed)
	}
}

// append appends a batch to one log of its set.
func (p *Publisher) append(t *target, set *targetSet, data []byte) error {
	if t.part.removed.Load() {
		return nil
	}
	_, err := t.part.log.Append(data)
	p.v.b.alarm.appended(p.v.b, t.part, len(data), err)
	if err != nil {
		if t.part.removed.Load() {
			return nil
		}
		return err
	}
	p.v.b.counters.Stored.Add(uint64(set.batch.Len()))
	if t.levels {
		t.part.used()
	}
	if (set.expires || t.ttl) && !t.part.q.hidden {
		t.part.expects(true)
	}
	if !t.used {
		t.used = true
		p.used = append(p.used, t)
	}
	return nil
}

// appendAll appends everything that is pending, oldest set first.
func (p *Publisher) appendAll() {
	p.appendSets(p.pending...)
	p.pending = p.pending[:0]
}

func (p *Publisher) builder() *message.Builder {
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	return new(message.Builder)
}

// trimBuilders gives back what a connection is not to keep between two Stores.
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

// Store appends what was published since the last Store to its logs. done, if there
// is one, is called when all of it is as durable as each queue promises, or with the
// error for which something of it may not have been stored; it may be called
// before Store returns or later from another goroutine, and must not block. What
// Store returns is the error that is known without waiting for a disk.
func (p *Publisher) Store(done func(error)) error {
	p.appendAll()
	c := &p.v.b.counters
	if p.published > 0 && p.fates == nil { // dead letters were published before
		c.Published.Add(p.published)
		c.Routed.Add(p.routed)
		c.Unroutable.Add(p.unroutable)
		c.PublishedBytes.Add(p.bytes)
	}
	p.published, p.routed, p.unroutable, p.bytes = 0, 0, 0, 0
	p.logs = p.logs[:0]
	for _, t := range p.used {
		t.used = false
		p.logs = append(p.logs, t.part.log)
	}
	err, commit := p.err, p.needCommit
	done = p.forgetUnstored(err, commit, done)
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
