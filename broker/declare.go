package broker

import (
	"crypto/rand"
	"strings"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/store"
)

// DeclareQueue makes a queue, or checks that the one of that name is the same.
// An empty name makes one up. Of two who declare a name at a time the second waits
// for what becomes of the first.
func (s *Session) DeclareQueue(name string, o QueueOptions) (*Queue, error) {
	given := name
	if given == "" {
		name = "amq.gen-" + randomName()
	}
	if err := s.May(Create, OnQueue, name); err != nil {
		return nil, err
	}
	v := s.vhost
	o.Args = v.withDefaultType(o)
	if kind, err := v.typeArg(name, o.Args); given == "" && err == nil && kind.lasting {
		return nil, fail(Precondition, "Cannot declare a server-named queue for type rabbit_%s_queue", kind.name)
	}
	var q *Queue
	err := v.change(func(c *change) error {
		if err := c.alone(queueClaim(name)); err != nil {
			return err
		}
		if q, _ = v.Queue(name); q != nil {
			if err := q.allow(s); err != nil {
				return err
			}
			q.use()
			return q.same(o)
		}
		if err := s.mayDeadLetter(name, o.Args); err != nil {
			return err
		}
		if strings.HasPrefix(given, "amq.") {
			return fail(Refused, "queue name '%s' contains reserved prefix 'amq.*'", name)
		}
		if len(name) > maxNameBytes {
			return tooLong("queue name", name)
		}
		var err error
		if q, err = v.declared(s, name, o); err != nil {
			return err
		}
		return c.create(s, q, q.Settings().logsToDeclare())
	})
	if err != nil {
		return nil, err
	}
	v.b.churn.declared.Add(1)
	return q, nil
}

// mayDeadLetter asks whether the session may make a queue whose messages go on to another
// exchange: whoever does reads from the one and writes to the other. It is asked when nobody else
// has the name: one that is there may be on its way out.
func (s *Session) mayDeadLetter(queue string, args []byte) error {
	f, ok := field.Find(args, argDeadLetterExchange)
	if !ok || f.Text() == nil {
		return nil
	}
	if err := s.May(Consume, OnQueue, queue); err != nil {
		return err
	}
	return s.May(Publish, OnExchange, string(f.Text()))
}

// declared makes the queue of a declaration. The name is free; mu is held.
func (v *VHost) declared(s *Session, name string, o QueueOptions) (*Queue, error) {
	if !utf8.ValidString(name) {
		return nil, fail(Precondition, "queue name %q is not valid UTF-8", name)
	}
	if v.FeedExchange(name) != nil {
		return nil, fail(Precondition, "'%s' is the Kafka topic of an exchange in vhost '%s'", name, v.Name)
	}
	kind, args, err := v.declaredArgs(name, o.Args)
	if err != nil {
		return nil, err
	}
	if err := kind.check(v, name, &o); err != nil {
		return nil, err
	}
	q := v.newQueue(name)
	rand.Read(q.TopicID[:]) // never fails (crypto/rand)
	q.Durable, q.AutoDelete, q.Exclusive, q.Topic = o.Durable, o.AutoDelete, o.Exclusive, kind.kept
	q.settings.Store(v.b.settingsOf(kind, args, matched{})) // create has the policies apply
	q.Args = v.b.argsOf(o.Args)
	if o.Exclusive {
		q.extras().owner = s
	}
	return q, nil
}

// CreateTopic makes a queue that is kept by time and bytes, with that many
// partitions and, of its settings, these configs under Kafka's names.
func (s *Session) CreateTopic(name string, partitions int, config map[string]*string) (*Queue, error) {
	if err := s.May(Create, OnQueue, name); err != nil {
		return nil, err
	}
	v := s.vhost
	set, err := v.b.TopicConfig(config)
	if err != nil {
		return nil, err
	}
	var q *Queue
	err = v.change(func(c *change) error {
		if err := c.alone(queueClaim(name)); err != nil {
			return err
		}
		if have, _ := v.Queue(name); have != nil || v.FeedExchange(name) != nil {
			return fail(Exists, "topic '%s' already exists", name)
		}
		if !LegalTopicName(name) {
			return fail(Precondition, "topic name '%s' is illegal", name)
		}
		if partitions < 1 {
			return fail(Precondition, "a topic needs a partition")
		}
		if like := likeness(name); like != "" {
			if err := c.alone("like/" + like); err != nil {
				return err
			}
		}
		if other := v.likeTopic(name); other != "" {
			return fail(Collides, "topic '%s' collides with existing topic '%s'", name, other)
		}
		q = v.newQueue(name)
		rand.Read(q.TopicID[:])
		q.Durable, q.Topic = true, true
		q.settings.Store(set)
		return c.create(s, q, partitions)
	})
	if err != nil {
		return nil, err
	}
	return q, nil
}

// noPartitions are those of a queue that is being made.
var noPartitions []*Partition

func (v *VHost) newQueue(name string) *Queue {
	q := &Queue{Name: name, vhost: v, target: noTarget}
	q.parts.Store(&noPartitions)
	return q
}

// show makes the queue known by its name; hide ends that. They need mu.
func (v *VHost) show(q *Queue) {
	v.queues.put(q)
	v.topicsVersion.Add(1)
	v.b.compactor.note(q)
	if like := likeness(q.Name); q.OfKafka() && like != "" {
		v.topics[like] = q.Name
	}
}

func (v *VHost) hide(q *Queue) {
	v.b.churn.deleted.Add(1)
	q.uncount()
	v.queues.remove(q.Name)
	v.topicsVersion.Add(1)
	if like := likeness(q.Name); q.OfKafka() && v.topics[like] == q.Name {
		delete(v.topics, like)
	}
}

// create has a new queue made, with its logs, and shown, if the session may have one more.
func (c *change) create(s *Session, q *Queue, partitions int) error {
	if err := s.holdQueue(q); err != nil {
		return err
	}
	var under *policySet
	c.grow(q, partitions, func() error {
		if now := c.v.policies.Load(); now != under {
			q.match(now)
		}
		if s := q.owner(); s != nil && !s.own(q) {
			return fail(Closed, "the session that declared queue '%s' is closed", q.Name)
		}
		c.v.b.lapses.add(q)
		c.v.show(q)
		c.v.b.churn.created.Add(1)
		return nil
	})
	grow := c.prepare
	c.prepare = func() error {
		under = c.v.policies.Load()
		q.match(under)
		return grow()
	}
	undo := c.undo
	c.undo = func() {
		undo()
		q.uncount()
	}
	return nil
}

// grow gives a queue so many logs more. They are written down before anybody can
// put something into them, and seen from show on, which mu is held for.
func (c *change) grow(q *Queue, more int, show func() error) {
	have := q.Partitions()
	var parts []*Partition
	c.prepare = func() error {
		ctx, cancel := asking()
		defer cancel()
		ids, err := c.v.b.store.NewLogs(ctx, q.logOptions(), logsOf(have), more)
		if err != nil {
			return err
		}
		if parts, err = q.open(ids); err != nil {
			return err
		}
		return c.putQueue(q, parts, q.Settings())
	}
	c.show = func() error {
		q.parts.Store(&parts)
		q.findLevels()
		return show()
	}
	c.undo = func() {
		if parts != nil {
			c.v.b.removals.add(parts[len(have):], false)
		}
	}
}

// open opens further logs of the queue and returns all of its partitions with them,
// which nobody sees until they are stored in parts.
func (q *Queue) open(ids []store.LogID) ([]*Partition, error) {
	have := q.Partitions()
	list := append(make([]*Partition, 0, len(have)+len(ids)), have...)
	o := q.logOptions()
	for _, id := range ids {
		p, err := openPartition(q, len(list), id, o)
		if err != nil {
			q.vhost.b.removals.add(list[len(have):], false)
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// lives reports whether the queue comes back after a restart.
func (q *Queue) lives() bool { return q.Durable && !q.Exclusive }

// putQueue has the definition of a queue that lives on written, with these logs and settings.
func (c *change) putQueue(q *Queue, parts []*Partition, set *Settings) error {
	if !q.lives() {
		return nil
	}
	return c.put(store.Key(prefixQueue, c.v.Name, q.Name), q.definition(logsOf(parts), set))
}

// definition is what is written down of a queue with these logs and settings.
func (q *Queue) definition(logs []store.LogID, set *Settings) queueDef {
	d := queueDef{
		VHost: q.vhost.Name, Name: q.Name, AutoDelete: q.AutoDelete, Args: q.Args, Topic: set.kind == topic,
		TopicID: q.TopicID[:], Logs: logs, Config: set.configs(),
	}
	if maker := q.maker(); maker != nil {
		d.User = maker.user
	}
	return d
}

func logsOf(parts []*Partition) []store.LogID {
	ids := make([]store.LogID, len(parts))
	for i, p := range parts {
		ids[i] = p.log.ID()
	}
	return ids
}

// restoreQueue makes a queue that is defined. It keeps nothing of d that could change.
func (v *VHost) restoreQueue(d *queueDef) error {
	if len(d.Logs) == 0 {
		return fail(Internal, "queue '%s' in vhost '%s' has no log", d.Name, v.Name)
	}
	kind, declared, err := v.keptArgs(d.Name, d.Args)
	if err != nil {
		return err
	}
	if d.Topic {
		kind, declared = topic, v.keptConfigs(d.Name, d.Config)
	}
	q := v.newQueue(d.Name)
	q.restored = true
	q.Durable, q.AutoDelete, q.Args, q.Topic = true, d.AutoDelete, v.b.argsOf(d.Args), kind.kept
	q.settings.Store(v.settingsOf(d.Name, kind, declared))
	if len(d.TopicID) == len(q.TopicID) {
		copy(q.TopicID[:], d.TopicID)
	} else {
		rand.Read(q.TopicID[:])
	}
	parts, err := q.open(d.Logs)
	if err != nil {
		return err
	}
	q.parts.Store(&parts)
	q.findLevels()
	for _, p := range parts {
		p.restoreTTL()
	}
	v.b.lapses.add(q)
	q.restoreMaker(d.User)
	v.show(q)
	return nil
}

// AddPartitions grows a topic to n partitions.
func (s *Session) AddPartitions(q *Queue, n int) error {
	if err := s.May(Alter, OnQueue, q.Name); err != nil {
		return err
	}
	v := q.vhost
	return v.change(func(c *change) error {
		if err := c.topic(q); err != nil {
			return err
		}
		have := len(q.Partitions())
		if !q.OfKafka() || n <= have {
			return fail(Precondition, "topic '%s' has %d partitions already", q.Name, have)
		}
		c.grow(q, n-have, func() error { return nil })
		c.finish = func() {
			q.setLogOptions()
			v.topicsVersion.Add(1)
			v.changed()
			q.wakeAll() // their next Pull joins the new partitions
		}
		return nil
	})
}

// topic claims a topic that is to be altered.
func (c *change) topic(q *Queue) error {
	if err := c.alone(queueClaim(q.Name)); err != nil {
		return err
	}
	if q.Deleted() { // or its definition would come back
		return fail(NotFound, "no topic '%s'", q.Name)
	}
	return nil
}
