package broker

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/exchange"
	"github.com/leveret-mq/leveret/store"
)

// Queue is a named log, or several: a work queue to those who consume it with
// acks, a topic to those who read it by offset.
type Queue struct {
	Name       string
	Durable    bool
	AutoDelete bool   // goes with its last consumer
	Exclusive  bool   // belongs to one session
	Topic      bool   // kept by time and bytes, not by consumption
	Args       []byte // as declared, AMQP field table without its length
	TopicID    [16]byte

	vhost    *VHost
	owner    *Session // of an exclusive queue
	settings atomic.Pointer[Settings]
	target   exchange.Target       // guarded by VHost.mu
	bindings map[string]bindingDef // that lead here; guarded by VHost.mu
	deleted  atomic.Bool

	mu    sync.Mutex // guards subs, had, and changes of parts
	subs  map[*Subscription]struct{}
	had   bool // had a consumer, so that auto-delete may act
	parts atomic.Pointer[[]*Partition]
}

// QueueOptions are what a client declares.
type QueueOptions struct {
	Durable    bool
	AutoDelete bool
	Exclusive  bool
	Args       []byte // AMQP field table, without its length
}

// VHost is where the queue lives.
func (q *Queue) VHost() *VHost { return q.vhost }

// Partitions are the queue's logs in order. The slice must not be changed.
func (q *Queue) Partitions() []*Partition { return *q.parts.Load() }

// Settings are what the queue obeys now.
func (q *Queue) Settings() *Settings { return q.settings.Load() }

// Deleted reports whether the queue is gone.
func (q *Queue) Deleted() bool { return q.deleted.Load() }

// allow checks the exclusive lock.
func (q *Queue) allow(s *Session) error {
	if q.Exclusive && q.owner != s {
		return fail(Locked, "cannot obtain exclusive access to locked queue '%s' in vhost '%s'", q.Name, q.vhost.Name)
	}
	return nil
}

// Queue finds a queue that the session may use, for a verb that is to come: whoever may not
// do that does not learn whether there is such a queue.
func (s *Session) Queue(verb Verb, name string) (*Queue, error) {
	if err := s.May(verb, OnQueue, name); err != nil {
		return nil, err
	}
	q, err := s.vhost.Queue(name)
	if err != nil {
		return nil, err
	}
	return q, q.allow(s)
}

// DeclareQueue makes a queue, or checks that the one of that name is the same.
// An empty name makes one up.
func (s *Session) DeclareQueue(name string, o QueueOptions) (*Queue, error) {
	given := name
	if given == "" {
		name = "amq.gen-" + randomName()
	}
	if err := s.May(Create, OnQueue, name); err != nil {
		return nil, err
	}
	v := s.vhost
	v.mu.Lock()
	defer v.mu.Unlock()
	if q, _ := v.Queue(name); q != nil {
		if err := q.allow(s); err != nil {
			return nil, err
		}
		return q, q.same(o)
	}
	if !utf8.ValidString(name) {
		return nil, fail(Precondition, "queue name %q is not valid UTF-8", name)
	}
	if strings.HasPrefix(given, "amq.") {
		return nil, fail(Refused, "queue name '%s' contains reserved prefix 'amq.*'", name)
	}
	if _, taken := v.feeds.Load(name); taken {
		return nil, fail(Precondition, "'%s' is the Kafka topic of an exchange in vhost '%s'", name, v.Name)
	}
	kind, declared, err := v.declaredArgs(name, o.Args)
	if err != nil {
		return nil, err
	}
	q := v.newQueue(name)
	q.Durable, q.AutoDelete, q.Exclusive = o.Durable, o.AutoDelete, o.Exclusive
	q.settings.Store(v.b.settingsOf(kind, declared))
	q.Args = append([]byte(nil), o.Args...)
	if o.Exclusive {
		q.owner = s
	}
	if err := v.create(q, 1); err != nil {
		return nil, err
	}
	if o.Exclusive && !s.own(q) {
		q.retire(false)
		return nil, errors.Join(fail(Closed, "the session that declared queue '%s' is closed", name), v.removeQueue(q))
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
	v.mu.Lock()
	defer v.mu.Unlock()
	_, feed := v.feeds.Load(name)
	if q, _ := v.Queue(name); q != nil || feed {
		return nil, fail(Exists, "topic '%s' already exists", name)
	}
	if !LegalTopicName(name) {
		return nil, fail(Precondition, "topic name '%s' is illegal", name)
	}
	if other := v.likeTopic(name); other != "" {
		return nil, fail(Collides, "topic '%s' collides with existing topic '%s'", name, other)
	}
	q := v.newQueue(name)
	q.Durable, q.Topic = true, true
	q.settings.Store(set)
	if err := v.create(q, partitions); err != nil {
		return nil, err
	}
	return q, nil
}

func (v *VHost) newQueue(name string) *Queue {
	q := &Queue{Name: name, vhost: v, target: noTarget, bindings: map[string]bindingDef{}}
	rand.Read(q.TopicID[:]) // never fails (crypto/rand)
	q.parts.Store(&[]*Partition{})
	return q
}

// show makes the queue known by its name; hide ends that. They need mu.
func (v *VHost) show(q *Queue) {
	v.queues.Store(q.Name, q)
	if like := likeness(q.Name); q.Topic && like != "" {
		v.topics[like] = q.Name
	}
}

func (v *VHost) hide(q *Queue) {
	v.queues.Delete(q.Name)
	if like := likeness(q.Name); q.Topic && v.topics[like] == q.Name {
		delete(v.topics, like)
	}
}

// lives reports whether the queue comes back after a restart.
func (q *Queue) lives() bool { return q.Durable && !q.Exclusive }

// create gives a new queue its logs, writes it down and shows it to everyone.
func (v *VHost) create(q *Queue, partitions int) error {
	ids, err := v.newLogIDs(partitions)
	if err != nil {
		return err
	}
	parts, err := q.open(ids)
	if err != nil {
		return err
	}
	if err := q.write(parts, q.Settings()); err != nil {
		return errors.Join(err, removeAll(parts))
	}
	q.parts.Store(&parts)
	v.show(q)
	return nil
}

func (v *VHost) newLogIDs(n int) ([]store.LogID, error) {
	if n < 1 {
		return nil, fail(Precondition, "a topic needs a partition")
	}
	ids := make([]store.LogID, n)
	for i := range ids {
		id, err := v.b.store.NewLogID()
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	return ids, nil
}

// open opens further logs of the queue, which touches no file yet, and returns all
// of its partitions with them, which nobody sees until they are stored in parts.
func (q *Queue) open(ids []store.LogID) ([]*Partition, error) {
	have := q.Partitions()
	list := append(make([]*Partition, 0, len(have)+len(ids)), have...)
	for _, id := range ids {
		p, err := openPartition(q, len(list), id)
		if err != nil {
			return nil, errors.Join(err, removeAll(list[len(have):]))
		}
		list = append(list, p)
	}
	return list, nil
}

// write puts the definition of a queue that lives on, with these logs and settings,
// into the table.
func (q *Queue) write(parts []*Partition, set *Settings) error {
	if !q.lives() {
		return nil
	}
	d := queueDef{VHost: q.vhost.Name, Name: q.Name, AutoDelete: q.AutoDelete, Args: q.Args, Topic: q.Topic, TopicID: q.TopicID[:], Config: set.configs()}
	for _, p := range parts {
		d.Logs = append(d.Logs, p.log.ID())
	}
	return q.vhost.b.putJSON(defKey(prefixQueue, q.vhost.Name, q.Name), d)
}

func (v *VHost) restoreQueue(d queueDef) error {
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
	q.Durable, q.AutoDelete, q.Args, q.Topic = true, d.AutoDelete, d.Args, d.Topic
	q.settings.Store(v.b.settingsOf(kind, declared))
	if len(d.TopicID) == len(q.TopicID) {
		copy(q.TopicID[:], d.TopicID)
	}
	parts, err := q.open(d.Logs)
	if err != nil {
		return err
	}
	q.parts.Store(&parts)
	v.show(q)
	return nil
}

// AddPartitions grows a topic to n partitions.
func (s *Session) AddPartitions(q *Queue, n int) error {
	if err := s.May(Alter, OnQueue, q.Name); err != nil {
		return err
	}
	v := q.vhost
	v.mu.Lock()
	defer v.mu.Unlock()
	have := len(q.Partitions())
	if q.Deleted() {
		return fail(NotFound, "no topic '%s'", q.Name)
	}
	if !q.Topic || n <= have {
		return fail(Precondition, "topic '%s' has %d partitions already", q.Name, have)
	}
	ids, err := v.newLogIDs(n - have)
	if err != nil {
		return err
	}
	parts, err := q.open(ids)
	if err != nil {
		return err
	}
	if err := q.write(parts, q.Settings()); err != nil { // first: what lies in a log that is not written down is lost
		return errors.Join(err, removeAll(parts[have:]))
	}
	q.parts.Store(&parts)
	v.changed()
	q.mu.Lock()
	defer q.mu.Unlock()
	for sub := range q.subs { // their next Pull joins the new partitions
		if sub.o.Wake != nil {
			sub.o.Wake()
		}
	}
	return nil
}

func inUse(q *Queue) error {
	return fail(Precondition, "queue '%s' in vhost '%s' in use", q.Name, q.vhost.Name)
}

// DeleteQueue removes a queue with all its messages and returns how many were
// ready. One that is not there is no error.
func (s *Session) DeleteQueue(name string, ifUnused, ifEmpty bool) (int64, error) {
	if err := s.May(Delete, OnQueue, name); err != nil {
		return 0, err
	}
	v := s.vhost
	v.mu.Lock()
	defer v.mu.Unlock()
	q, _ := v.Queue(name)
	if q == nil {
		return 0, nil
	}
	if err := q.allow(s); err != nil {
		return 0, err
	}
	if ifUnused && q.Consumers() > 0 {
		return 0, inUse(q)
	}
	ready, err := q.count()
	if ifEmpty && err != nil {
		return 0, fmt.Errorf("is queue '%s' empty? %w", name, err)
	}
	if ifEmpty && ready > 0 {
		return 0, fail(Precondition, "queue '%s' in vhost '%s' is not empty", name, v.Name)
	}
	if !q.retire(ifUnused) {
		return 0, inUse(q)
	}
	return ready, v.removeQueue(q)
}

// removeQueue removes a queue that was retired. It needs mu held.
func (v *VHost) removeQueue(q *Queue) error {
	l := v.newLeaving()
	l.queue(q)
	if err := l.do(); err != nil {
		q.deleted.Store(false)
		return err
	}
	v.hide(q)
	v.b.deletions.add(q)
	v.freeEnd(q.target)
	v.changed()
	if q.owner != nil {
		q.owner.disown(q)
	}
	q.cancelAll()
	return removeAll(q.Partitions())
}

func removeAll(parts []*Partition) error {
	var errs []error
	for _, p := range parts {
		errs = append(errs, p.remove())
	}
	return errors.Join(errs...)
}

// Purge removes the messages that are ready and returns how many they were.
func (s *Session) Purge(name string) (int64, error) {
	q, err := s.Queue(Purge, name)
	if err != nil {
		return 0, err
	}
	return q.purge()
}

func (q *Queue) purge() (int64, error) {
	var n int64
	for _, p := range q.Partitions() {
		c, err := p.work()
		if err != nil {
			return n, err
		}
		n += c.Purge()
		p.progress()
	}
	return n, nil
}

// Ready counts the messages that wait for a consumer, as far as the logs can be read.
func (q *Queue) Ready() int64 {
	n, _ := q.count()
	return n
}

// count is Ready with the error for which it may be too few.
func (q *Queue) count() (n int64, err error) {
	for _, p := range q.Partitions() {
		ready, e := p.ready()
		n += ready
		err = cmp.Or(err, e)
	}
	return n, err
}

// Unacked counts the messages that consumers hold.
func (q *Queue) Unacked() int64 {
	var n int64
	for _, p := range q.Partitions() {
		if c := p.cursor.Load(); c != nil {
			n += c.Unacked()
		}
	}
	return n
}

// Consumers counts the subscriptions.
func (q *Queue) Consumers() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.subs)
}

func (q *Queue) saveCursors() error {
	var err error
	for _, p := range q.Partitions() {
		if e := p.saveCursor(); e != nil && err == nil {
			err = e
		}
	}
	return err
}

// logOptions is how the queue's logs are kept.
func (q *Queue) logOptions() store.LogOptions {
	return q.Settings().logOptions(q.vhost.Name+" "+q.Name, !q.lives())
}
