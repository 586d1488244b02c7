package broker

import (
	"github.com/leveret-mq/leveret/store"
	"iter"
)

// leaving is what goes together: queues or an exchange, the bindings from and to
// them, and the auto-delete exchanges that lose their last binding with these. All of
// it is taken out of the table in one write, so that a kill leaves all or nothing,
// and only then out of memory. Its methods need VHost.mu held.
//
// Very many bindings may leave at a time. Those from an exchange that goes are all in its map, and nobody changes
// them while its name is claimed alone, so they are not listed nor claimed one by one, nor taken out of a routing table
// that goes as a whole. The others leave a few at a time, between which others have VHost.mu.
type leaving struct {
	c         *change
	bindings  map[string]bindingDef // but for those from what is gone
	exchanges map[*Exchange]int     // of those that bindings leave, how many
	gone      map[*Exchange]struct{}
	queues    []*Queue
	spare     bool        // auto-delete exchanges stay
	spared    []*Exchange // that have no binding any more
}

// leaving begins a change that removes something.
func (c *change) leaving() *leaving {
	l := &leaving{c: c, bindings: map[string]bindingDef{}, exchanges: map[*Exchange]int{}, gone: map[*Exchange]struct{}{}}
	c.gather = l.gather
	c.show = l.forget
	c.finish = l.bury
	return l
}

// binding adds a binding that exists. An exchange that goes with its last binding
// is claimed alone, so that two who take one each do not both leave it the other's.
func (l *leaving) binding(key string, d bindingDef) error {
	if _, have := l.bindings[key]; have {
		return nil
	}
	src, q, x, err := l.c.v.endsOf(d)
	if err != nil {
		return err // can't be: what is bound is claimed
	}
	if _, gone := l.gone[src]; gone {
		return nil
	}
	claim := l.c.along
	if src.AutoDelete {
		claim = l.c.alone
	}
	if err := claim(exchangeClaim(d.Source)); err != nil {
		return err
	}
	if err := l.c.along(d.destClaim()); err != nil {
		return err
	}
	l.bindings[key] = d
	if stored(src, q, x) {
		l.c.drop(key)
	}
	switch l.exchanges[src]++; {
	case !src.AutoDelete || l.exchanges[src] < len(src.bindings):
		return nil
	case l.spare:
		l.spared = append(l.spared, src)
		return nil
	}
	return l.exchange(src)
}

// exchange adds an exchange with its bindings.
func (l *leaving) exchange(x *Exchange) error {
	if _, gone := l.gone[x]; gone {
		return nil
	}
	if err := l.c.alone(exchangeClaim(x.Name)); err != nil {
		return err
	}
	l.gone[x] = struct{}{}
	if x.Durable {
		l.attachments(attachedTo{exchange: true, name: x.Name})
		l.c.drop(store.Key(prefixEx, l.c.v.Name, x.Name))
		if err := l.logs(x.Name, x.lanesOf()); err != nil {
			return err
		}
	}
	return l.all(x.incoming.all())
}

// gather has the definitions of the bindings go that are from exchanges that go. VHost.mu is not held.
func (l *leaving) gather() error {
	for x := range l.gone {
		for key, b := range x.bindings {
			if _, have := l.bindings[key]; have {
				continue
			}
			_, q, to, err := l.c.v.endsOf(b.def)
			if err != nil {
				return err // can't be: what it leads to goes with its bindings, which needs the claim of x
			}
			if stored(x, q, to) {
				l.c.drop(key)
			}
		}
	}
	return nil
}

// queue adds a queue with its bindings, and notes that its logs are to be removed.
func (l *leaving) queue(q *Queue) error {
	if err := l.c.alone(queueClaim(q.Name)); err != nil {
		return err
	}
	l.queues = append(l.queues, q)
	if q.lives() {
		l.attachments(attachedTo{name: q.Name})
		l.c.drop(store.Key(prefixQueue, l.c.v.Name, q.Name))
		if q.expires.Load() {
			l.c.drop(q.expiryKey())
		}
		if q.stepped() {
			l.c.drop(q.ttlKey())
		}
		if err := l.logs(q.Name, q.Partitions()); err != nil {
			return err
		}
	}
	return l.all(q.incoming.all())
}

// logs notes logs that are to be removed.
func (l *leaving) logs(owner string, parts []*Partition) error {
	for _, p := range parts {
		if err := l.c.put(removalKey(p.log.ID()), removalDef{VHost: l.c.v.Name, Queue: owner, Log: p.log.ID()}); err != nil {
			return err
		}
	}
	return nil
}

func (l *leaving) all(bindings iter.Seq[*bound]) error {
	for b := range bindings {
		if err := l.binding(b.key, b.def); err != nil {
			return err
		}
	}
	return nil
}

// forgetStep is how many bindings are taken out of memory at a time.
const forgetStep = 64

// forget takes out of memory what is not defined any more.
func (l *leaving) forget() error {
	v := l.c.v
	n := 0
	pause := func() { // all that is left is claimed
		if n++; n%forgetStep == 0 {
			v.mu.Unlock()
			v.mu.Lock()
		}
	}
	for x := range l.gone {
		x.table.Store(x.table.Load().Empty())
		for key, b := range x.bindings {
			v.dropBinding(key, b.def)
			pause()
		}
	}
	for key, d := range l.bindings {
		v.dropBinding(key, d)
		pause()
	}
	for x := range l.gone {
		v.exchanges.Delete(x.Name)
		delete(v.attached, attachedTo{exchange: true, name: x.Name})
		v.b.deletions.add(deleted{exchange: x, vhost: v})
		if x.feedTopic != "" {
			v.feeds.Delete(x.feedTopic)
		}
		v.freeEnd(x.target)
		x.end()
	}
	for _, q := range l.queues {
		v.hide(q)
		delete(v.attached, attachedTo{name: q.Name})
		v.b.deletions.add(deleted{queue: q, vhost: v})
		v.freeEnd(q.target)
		q.leave()
	}
	v.changed()
	return nil
}

// end stops what an exchange that is gone does by itself.
func (x *Exchange) end() {
	if x.delays != nil {
		x.delays.end()
	}
	if x.seen != nil {
		x.seen.end()
	}
	if x.feedTopic != "" {
		go x.producers.drop() // who publishes to it has its lock for as long as that takes
	}
}

// leave has everybody let go of a queue that is gone. VHost.mu is held.
func (q *Queue) leave() {
	if s := q.owner(); s != nil {
		s.disown(q)
	}
	for _, p := range q.Partitions() {
		p.removed.Store(true)
		q.vhost.b.punctual.remove(p)
	}
	q.vhost.b.lapses.remove(q)
	q.cancelAll()
}

// bury has the logs of what is gone removed, behind everybody's back.
func (l *leaving) bury() {
	for x := range l.gone {
		l.c.v.b.removals.add(x.lanesOf(), x.Durable)
	}
	for _, q := range l.queues {
		l.c.v.b.removals.add(q.Partitions(), q.lives())
	}
}
