package broker

import (
	"slices"

	"github.com/leveret-mq/leveret/internal/field"
)

// A queue with x-max-priority has a partition for each priority from 0 to that, its levels,
// which are numbered so. Each has its log and its work cursor, as those of a topic have: what is
// counted, purged, expired, given back and saved is so level by level. They differ from the
// partitions of a topic in three things:
//
//   - A message goes to the level of its priority and not to that of its key.
//   - Whoever takes messages begins with the highest level each time.
//   - A level is in use from just before its first message, for which consumers stand there. Until
//     then nothing looks at it, and it has no file; most queues use few of their levels.
//
// Who reads by offset would see one log of several, and in no order, so these queues are
// not among the topics.

// levelled says whether the queue has levels.
func (q *Queue) levelled() bool { return q.Settings().MaxPriority > 0 }

// inTurn are the partitions in the order in which messages are taken from them: of a queue
// with levels those in use, the highest first. The slice must not be changed.
func (q *Queue) inTurn() []*Partition {
	if !q.levelled() {
		return *q.parts.Load()
	}
	if x := q.extra.Load(); x != nil {
		if used := x.levels.Load(); used != nil {
			return *used
		}
	}
	return nil
}

// use puts a level in use, before its first message is there: whoever consumes the queue takes from it from here
// on, so that the message finds those who are free for it, as one in a plain queue does.
func (p *Partition) use() {
	q := p.q
	if slices.Contains(q.inTurn(), p) {
		return
	}
	q.mu.Lock()
	watched := len(q.subs) > 0
	q.mu.Unlock()
	if watched {
		_, _ = p.work() // what fails is tried again by who pulls
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if slices.Contains(q.inTurn(), p) {
		return
	}
	for s := range q.subs {
		s.joinAhead(p)
	}
	q.addLevel(p) // after that, since another publisher that sees it appends at once
	for s := range q.subs {
		s.wakeUp()
	}
}

// addLevel puts a level among those in use; false says that it was. mu is held, or nobody
// else has the queue yet.
func (q *Queue) addLevel(p *Partition) bool {
	have := q.inTurn()
	at, there := slices.BinarySearchFunc(have, p, func(a, b *Partition) int { return int(b.index - a.index) })
	if there {
		return false
	}
	list := slices.Insert(slices.Clone(have), at, p)
	q.extras().levels.Store(&list)
	return true
}

// findLevels finds the levels in use of a queue that nobody else has yet: those of an earlier
// start and, where others use the store too, all, since nobody tells of their messages.
func (q *Queue) findLevels() {
	if !q.levelled() {
		return
	}
	shared := q.vhost.b.store.Caps().Shared
	for _, p := range q.Partitions() {
		if f := p.log.Figures(); shared || !f.Certain || f.End > 0 || f.Bytes > 0 {
			q.addLevel(p)
		}
	}
}

// nextTurn is with which of its partitions a subscription begins after it was served at one.
func (q *Queue) nextTurn(at int) int {
	if q.levelled() {
		return 0
	}
	return (at + 1) % len(q.Partitions())
}

// rank is a partition's place among those that a consumer takes from.
func (q *Queue) rank(p *Partition) int {
	if q.levelled() {
		return int(p.index)
	}
	return 0
}

// logsToDeclare is how many logs a new work queue has.
func (s *Settings) logsToDeclare() int { return 1 + s.MaxPriority }

// levelSets are the sets of logs that stand for one another: which of them a message goes to
// says its priority. Only a set with a queue that has levels has one.
type levelSets struct {
	highest uint8        // priority that makes a difference
	sets    []*targetSet // by priority; nil until one of it comes
}

// levelsOf are those of a set of level 0; nil if it has none, or is one of them itself.
func levelsOf(targets []*target) *levelSets {
	var highest uint8
	for _, t := range targets {
		switch {
		case t.levels && t.part.index > 0:
			return nil
		case t.levels:
			highest = max(highest, uint8(len(t.part.q.Partitions())-1))
		}
	}
	if highest == 0 {
		return nil
	}
	return &levelSets{highest: highest, sets: make([]*targetSet, int(highest)+1)}
}

// level is the route for a message of its priority, of one that leads to level 0.
func (p *Publisher) level(r *route, properties []byte) *route {
	priority := min(field.RawProperties(properties).Priority(), r.set.levels.highest)
	if priority == 0 {
		return r
	}
	set := r.set.levels.sets[priority]
	if set == nil {
		parts := make([]*Partition, len(r.set.targets))
		for i, t := range r.set.targets {
			parts[i] = t.part
			if t.levels {
				all := t.part.q.Partitions()
				parts[i] = all[min(int(priority), len(all)-1)]
			}
		}
		set = p.setOf(parts)
		r.set.levels.sets[priority] = set
	}
	if r.late != nil { // which is of this message alone
		r.set = set
		return r
	}
	return set.route(r.plain)
}
