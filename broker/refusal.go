package broker

import (
	"slices"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
)

// What a queue at its limit refuses is told by its publisher: Refused lists it, and nothing
// else of the publish fails. In a queue with reject-publish-dlx it becomes a dead letter, too.
// What a queue has already (distinct.go) is refused as well, and is a dead letter wherever
// there is a place for it, as RabbitMQ has it; so is what has no key, by a compacted topic.

// Refused lists the Refs of messages that a queue refused because of its limit since the last
// Commit, of what was stored. The list is valid until the next Store.
func (p *Publisher) Refused() []uint64 {
	if len(p.refused) == 0 {
		return nil
	}
	list := p.refused
	p.refused = p.refused[:0]
	slices.Sort(list)
	return slices.Compact(list)
}

// appendLimited appends to a limited log what it takes of a batch, and says how many that are.
func (p *Publisher) appendLimited(t *target, set *targetSet, data []byte) (n int, err error) {
	n, refused, dead, err := t.part.turns().append(t.part, data, p)
	if err != nil || len(refused) == 0 {
		return n, err
	}
	if p.bury(t.part, batch.Batch(data), dead) && p.fates != nil { // dead letters, which go on from there
		refused = slices.DeleteFunc(refused, func(i int) bool { return slices.Contains(dead, i) })
		if len(refused) == 0 {
			return n, nil
		}
	}
	if set.missed == nil {
		set.missed = make([]int32, set.batch.Len())
	}
	for _, i := range refused {
		set.missed[i]++
	}
	return n, nil
}

// append appends what there is room for and is not there already, in one turn. It lists the
// rest by its place in the batch, and of that again what is to be a dead letter.
func (l *limiter) append(p *Partition, data []byte, pub *Publisher) (n int, refused, dead []int, err error) {
	s, err := l.beginAppend(p.q, pub)
	if err != nil {
		return 0, nil, nil, err
	}
	defer l.mu.Unlock()
	b := batch.Batch(data)
	n = int(b.Count())
	l.sizes = l.sizes[:0]
	full, err := l.heldUp(p, s)
	if err != nil {
		return 0, nil, nil, err
	}
	switch {
	case full:
		data, refused = nil, places(n)
		n = 0
	case s.Distinct || s.Compact || s.refuses():
		if n, err = l.choose(p, s, b); err != nil {
			l.names.drop()
			return 0, nil, nil, err
		}
		if n < len(l.sizes) {
			data, refused = pub.admitted(b, l.sizes)
			dead = l.toBury(s, refused)
		}
	}
	if n > 0 {
		at, err := p.log.Append(data)
		if err == nil && s.Distinct {
			err = l.names.stored(p, l.sizes, at)
			l.listNames(p.q)
		}
		if err != nil {
			l.names.drop()
			return 0, nil, nil, err
		}
		if s.limited() {
			l.appended(p)
		}
	}
	l.names.drop()
	return n, refused, dead, nil
}

// places are those of so many messages of a batch.
func places(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// beginAppend begins a turn of one who appends; pub is nil of a Kafka producer.
func (l *limiter) beginAppend(q *Queue, pub *Publisher) (*Settings, error) {
	return l.beginTurn(q, func(n *queueSearch) error { return l.awaitFor(q, n, pub) })
}

// toBury are those of the refused messages that become dead letters: all, if the queue does
// that with what it has no room for, or else what it has already.
func (l *limiter) toBury(s *Settings, refused []int) (dead []int) {
	if s.Overflow == RejectToDead {
		return refused
	}
	for _, i := range refused {
		if l.sizes[i] == duplicate {
			dead = append(dead, i)
		}
	}
	return dead
}

// choose says how many of a batch's messages are to be stored; the sizes of the others are
// negative.
func (l *limiter) choose(p *Partition, s *Settings, b batch.Batch) (n int, err error) {
	if _, err := l.bodySizes(p, b); err != nil {
		return 0, err
	}
	if s.Distinct {
		l.names.mark(p, b, l.sizes)
	}
	if s.Compact {
		l.markKeyless(p, b)
	}
	if s.refuses() {
		return l.admit(p, l.sizes)
	}
	for _, size := range l.sizes {
		if size >= 0 {
			n++
		}
	}
	return n, nil
}

// keyless is the size of a message that a compacted topic does not take.
const keyless = -3

// refusedEvery is how long nobody is told of further messages of a queue that were refused for the same reason.
const refusedEvery = time.Minute

// markKeyless has a compacted topic refuse what has no routing key, and so no key by which it could be compacted.
func (l *limiter) markKeyless(p *Partition, b batch.Batch) {
	records := message.NewRecords(b.Records())
	var rec message.Record
	for i := range l.sizes {
		if more, err := records.Next(&rec); err != nil || !more {
			break // can't be: it is our own
		}
		if rec.Key != nil {
			continue
		}
		l.sizes[i] = keyless
		if now := p.q.vhost.b.opts.Now(); now.Sub(l.keylessTold) >= refusedEvery {
			l.keylessTold = now
			p.q.vhost.b.opts.Log.Warn("a message without a routing key was refused: the topic is compacted and needs a key; "+
				"publish with a routing key, or set cleanup.policy=delete", "topic", p.q.Name)
		}
	}
}

// appended follows up on an append: what consumers are free for is theirs, and what is too
// much goes.
func (l *limiter) appended(p *Partition) {
	if p.q.Settings().Overflow == DropHead {
		l.trimAll(p)
	} else if c := p.cursor.Load(); c != nil {
		c.DealOut()
	}
}

// admitted makes a batch of those messages whose size is not negative, and lists the others.
func (p *Publisher) admitted(b batch.Batch, sizes []int64) (data []byte, refused []int) {
	if p.partial == nil {
		p.partial = new(message.Builder)
	}
	p.partial.Reset(keepBatchBytes)
	records := message.NewRecords(b.Records())
	var rec message.Record
	for i := range sizes {
		if more, err := records.Next(&rec); err != nil || !more {
			break // can't be: it is our own
		}
		if sizes[i] < 0 {
			refused = append(refused, i)
		} else {
			p.partial.AddRecord(&rec, b.BaseTimestamp()+rec.TimestampDelta)
		}
	}
	if p.partial.Len() == 0 {
		return nil, refused
	}
	return p.partial.Seal(), refused
}

// missed tells what became of a batch's messages that are not in all of its logs: some
// logs failed, some are gone with their queues, and some refused some of them. A queue that is
// gone takes nothing away from a message that another has.
func (p *Publisher) missed(set *targetSet, failed, gone int) {
	if p.fates == nil {
		p.missedByClient(set)
		return
	}
	for i, ref := range set.refs {
		n := failed
		if set.missed != nil {
			n += int(set.missed[i])
		}
		switch {
		case n+gone < len(set.targets):
			p.fates.lost += int64(n)
		case failed+gone > 0:
			p.unname(ref)
			p.fates.stay = append(p.fates.stay, ref)
		default:
			p.unname(ref)
			p.fates.refuse(ref)
		}
	}
}

// missedByClient is missed for a client, who is told which messages were refused, or of all
// of the Commit when its queue has begun to refuse since the batch was.
func (p *Publisher) missedByClient(set *targetSet) {
	if len(set.refs) < len(set.missed) {
		p.failed(fail(LimitReached, "messages were refused: a queue has reached its maximum length, has them already, or is a compacted topic and they have no routing key"))
		return
	}
	for i, n := range set.missed {
		if n > 0 {
			p.unname(set.refs[i])
			p.refused = append(p.refused, set.refs[i])
		}
	}
}

// maxRefusals is how many queues one after the other may refuse a message and make a dead
// letter of it for the next.
const maxRefusals = 16

// refusals makes dead letters of what is refused.
type refusals struct {
	pub    *Publisher
	scribe scribe
	parts  []*Partition // that refused something since the last store
}

// bury makes dead letters of messages that a queue refused, if it has a place for them.
func (p *Publisher) bury(part *Partition, b batch.Batch, refused []int) bool {
	if len(refused) == 0 || part.q.Settings().DeadLetterExchange == nil {
		return false
	}
	if p.depth == maxRefusals {
		part.letterLost(LostRefused, int64(len(refused)))
		return true
	}
	if p.refusals == nil {
		p.refusals = &refusals{pub: p.v.newDeadPublisher()}
		p.refusals.pub.depth = p.depth + 1
	}
	p.refusals.bury(part, b, refused)
	return true
}

func (r *refusals) bury(part *Partition, b batch.Batch, refused []int) {
	w := &r.scribe
	w.begin(part, r.pub)
	w.beginReason(LengthLimit)
	records := message.NewRecords(b.Records())
	var rec message.Record
	for i, at := 0, 0; at < len(refused); i++ {
		if more, err := records.Next(&rec); err != nil || !more {
			break // can't be: it is our own
		}
		if i != refused[at] {
			continue
		}
		at++
		e, ok := rec.Envelope()
		if !ok {
			continue // can't be
		}
		w.heads++
		w.publish(&Delivery{Exchange: e.Exchange, Key: rec.Key, Properties: e.Properties, Body: rec.Value, Head: w.heads, died: e.Died})
	}
	c := w.out
	part.q.vhost.b.counters.DeadLettered[LengthLimit].Add(uint64(int64(len(refused)) - c.unplaced[LengthLimit]))
	for why, n := range c.lost {
		part.letterLost(Loss(why), n)
	}
	r.parts = append(r.parts, part)
}

// store has the dead letters stored. Their publisher was told that they were refused, so
// that nobody waits for them.
func (r *refusals) store() {
	if len(r.parts) == 0 {
		return
	}
	r.pub.Store()
	f := r.pub.fates
	if n := f.lost + f.refused + int64(len(f.stay)); n > 0 {
		r.parts[len(r.parts)-1].letterLost(LostRefused, n)
	}
	*f = fates{}
	_ = r.pub.Commit(nil)
	r.parts = r.parts[:0]
}
