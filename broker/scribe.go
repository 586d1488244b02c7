package broker

import (
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
)

// scribe reads messages that ended and publishes them as dead letters. Most in a row have the
// same head, so that it is written once. It keeps its buffers.
type scribe struct {
	p    *Partition
	pub  *Publisher
	set  *Settings
	out  *carried
	room int  // bytes of bodies
	torn bool // left in the middle of a message

	in     Inbound
	why    Reason
	heads  uint64
	head   uint64 // of the message before; 0: another
	died   bool   // it had died before
	routed bool   // somewhere
	cycled int64  // of its queues, those that it would go round to
	loss   Loss   // why it went nowhere

	writer     message.DeathWriter
	death      message.Death
	properties []byte // of a dead letter
	theirs     []byte // of the message; our own copy, as are the following
	exchange   []byte
	key        []byte
	keys       [][]byte
	parsed     field.Properties
}

func (s *scribe) begin(p *Partition, pub *Publisher) {
	s.p, s.pub, s.set = p, pub, p.q.Settings()
	s.out, s.room, s.torn, s.head = &carried{}, turnBytes, false, 0
	now := p.q.vhost.b.opts.Now()
	s.in = Inbound{Exchange: s.set.DeadLetterExchange, Persistent: true, Died: true, TimestampMs: now.UnixMilli()}
	s.death = message.Death{Queue: []byte(p.q.Name), Seconds: now.Unix()}
	pub.avoid = s.cycles
	pub.fates.keepRefused = s.set.KeepDeadLetters
}

// beginReason begins with messages that ended for a reason.
func (s *scribe) beginReason(why Reason) {
	s.why, s.head, s.death.Reason = why, 0, deathNames[why]
}

// copy publishes runs until there is no room in this turn, and returns the rest.
func (s *scribe) copy(list []ended) (rest []ended, err error) {
	for i, e := range list {
		if e.cursor != s.p.cursor.Load() {
			continue // the queue was worked by another process since: they are ready
		}
		next := e.last + 1
		if s.set.copied(e.why) {
			s.beginReason(e.why)
			next, err = s.run(e)
		} else {
			s.out.unplaced[e.why] += int64(e.last-e.first) + 1
			s.out.runs = append(s.out.runs, e)
		}
		if next <= e.last {
			e.first = next
			return append([]ended{e}, list[i+1:]...), err
		}
	}
	return nil, nil
}

// run publishes the messages of one run, as many as there is room for, and returns the
// first that is left.
func (s *scribe) run(e ended) (next message.Offset, err error) {
	if s.room <= 0 {
		return e.first, nil
	}
	r := reader{part: s.p, heads: &s.heads, late: true, wait: true}
	next, _, size, err := r.read(e.first, e.last, s.room, s.emit)
	s.room -= size
	r.release()
	first := e.first
	for _, g := range r.gone { // which can't be read
		if first < g.first {
			s.out.runs = append(s.out.runs, ended{e.cursor, first, g.first - 1, e.why})
		}
		n := int64(g.last-g.first) + 1
		s.out.unplaced[g.why] += n
		s.out.runs = append(s.out.runs, ended{e.cursor, g.first, g.last, g.why})
		first = g.last + 1
	}
	if first < next {
		s.out.runs = append(s.out.runs, ended{e.cursor, first, next - 1, e.why})
	}
	return next, err
}

func (s *scribe) emit(d *Delivery) {
	s.torn = true
	s.publish(d)
	s.torn = false
}

// publish sends one message on. What lies in the log may be looked at once: the read is left
// where it stands when that fails.
func (s *scribe) publish(d *Delivery) {
	same := d.Head == s.head
	if !same {
		s.write(d)
	}
	s.in.Body, s.in.Ref, s.in.SameHead = d.Body, uint64(d.Offset), same
	if !same || s.routed { // what has no place now has none for the rest of the turn
		cycled := s.cycled
		s.cycled = -1
		var err error
		s.routed, err = s.pub.Publish(&s.in)
		if s.cycled < 0 { // nobody asked: it goes where the one before went
			s.cycled = cycled
		}
		switch {
		case err == nil:
			s.loss = LostUnbound
		case KindOf(err) == NotFound:
			s.loss = LostExchange
		default:
			s.loss = LostRefused
		}
	}
	if !s.routed && s.cycled > 0 {
		s.loss = LostCycle
	}
	if !s.routed && s.set.KeepDeadLetters {
		s.pub.fates.keep(s.in.Ref, s.loss)
		return
	}
	s.out.lost[LostCycle] += s.cycled
	switch {
	case s.routed:
	case s.cycled > 0:
		s.out.unplaced[s.why]++
	default:
		s.out.lost[s.loss]++
		s.out.unplaced[s.why]++
	}
}

// write makes the head of the dead letter.
func (s *scribe) write(d *Delivery) {
	s.head, s.died, s.cycled = d.Head, d.died, 0
	s.theirs = append(s.theirs[:0], d.Properties...)
	s.exchange = append(s.exchange[:0], d.Exchange...)
	s.key = append(s.key[:0], d.Key...)
	s.keys = message.FurtherKeys(append(s.keys[:0], s.key), s.theirs, s.key, s.died)
	s.death.Exchange, s.death.Keys = s.exchange, s.keys
	s.properties = s.writer.Append(s.properties[:0], s.theirs, s.died, &s.death)
	s.in.Properties, s.in.Headers = s.properties, nil
	if s.parsed.Parse(s.properties) == nil {
		s.in.Headers = s.parsed.Headers
	}
	s.in.Key, s.in.MoreKeys = s.key, nil
	switch {
	case s.set.DeadLetterKey != nil:
		s.in.Key = s.set.DeadLetterKey
	case len(s.keys) > 1:
		s.in.MoreKeys = s.keys[1:]
	}
}

// cycles says whether a queue is one to which the message must not come back.
func (s *scribe) cycles(q *Queue) bool {
	s.cycled = max(s.cycled, 0)
	if s.why == Rejected || q.Name != s.p.q.Name && !(s.died && message.Cycles(s.properties, q.Name)) {
		return false
	}
	s.cycled++
	return true
}
