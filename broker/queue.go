package broker

import (
	"cmp"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"

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
	Args       []byte // as declared, AMQP field table without its length; never changed
	TopicID    [16]byte

	restored bool // of an earlier start
	hidden   bool // nobody finds it by its name, and nothing expires in it: an exchange's lanes
	had      bool // had a consumer, so that auto-delete may act; guarded by mu

	vhost    *VHost
	settings atomic.Pointer[Settings] // shared by queues that declare the same
	parts    atomic.Pointer[[]*Partition]
	incoming boundList       // bindings that lead here; guarded by VHost.mu
	target   exchange.Target // guarded by VHost.mu
	deleted  atomic.Bool
	expires  atomic.Bool // marked in the definitions as one that got messages that expire

	mu    sync.Mutex                 // guards subs, had, and of extra alone, turn and ends
	subs  map[*Subscription]struct{} // nil without any
	extra atomic.Pointer[queueExtra]
}

// queueExtra is what few queues have, or have only while somebody uses them: see
// Queue.extras. A broker may have very many queues that nobody uses, of which each byte
// counts: what a feature has to know of the queues that use it stands here.
type queueExtra struct {
	owner *Session                // of an exclusive queue
	maker atomic.Pointer[account] // of who declared it, where that counts
	lapse atomic.Pointer[lapse]   // of a queue that expires when nobody uses it
	flow  atomic.Pointer[flow]    // made by the first message that goes out
	stuck atomic.Int32            // reads of the disk that nobody waits for any longer
	alone *Subscription           // the exclusive one, if there is one
	turn  single                  // with x-single-active-consumer

	levels atomic.Pointer[[]*Partition] // those in use, the highest first; changed under Queue.mu
	ends   map[*func()]struct{}         // called when the queue is gone
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

// extras are what the queue has beyond others, made if there are none. Who only wants to
// know whether there is something loads extra.
func (q *Queue) extras() *queueExtra {
	if x := q.extra.Load(); x != nil {
		return x
	}
	q.extra.CompareAndSwap(nil, new(queueExtra))
	return q.extra.Load()
}

// owner is the session of an exclusive queue, nil of any other.
func (q *Queue) owner() *Session {
	if !q.Exclusive {
		return nil
	}
	return q.extras().owner
}

// alone is the exclusive subscription, if there is one. mu is held.
func (q *Queue) alone() *Subscription {
	if x := q.extra.Load(); x != nil {
		return x.alone
	}
	return nil
}

// lapse is when the queue is looked at, nil if it does not expire.
func (q *Queue) lapse() *lapse {
	if x := q.extra.Load(); x != nil {
		return x.lapse.Load()
	}
	return nil
}

// locked is how another connection's queue is refused, or a declaration of one's own
// that says otherwise.
func (q *Queue) locked() error {
	return fail(Locked, "cannot obtain exclusive access to locked queue '%s' in vhost '%s'. It could be originally declared on another "+
		"connection or the exclusive property value does not match that of the original declaration.", q.Name, q.vhost.Name)
}

// allow checks the exclusive lock.
func (q *Queue) allow(s *Session) error {
	if q.Exclusive && q.owner() != s {
		return q.locked()
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

// LookAt is a declaration that makes nothing: it finds a queue, whose time until it
// expires begins anew.
func (s *Session) LookAt(name string) (*Queue, error) {
	q, err := s.Queue(Look, name)
	if err == nil {
		q.use()
	}
	return q, err
}

// Purge removes the messages that are ready and returns how many they were.
func (s *Session) Purge(name string) (int64, error) {
	q, err := s.Queue(Purge, name)
	if err == nil && q.Settings().kind == stream {
		err = fail(Unsupported, "queue.purge not supported by stream queues queue '%s' in vhost '%s'", name, q.vhost.Name)
	}
	if err == nil {
		err = q.answers()
	}
	if err != nil {
		return 0, err
	}
	s.awaitLetters(q, allOfThem)
	n, err := inTime(q, s.givenUp, q.purge)
	if err == nil {
		q.vhost.b.deletions.add(deleted{purged: q})
	}
	return n, err
}

func (q *Queue) purge(wanted func() bool) (int64, error) {
	var n int64
	for _, p := range q.inTurn() {
		gone, err := p.purge(wanted)
		if err != nil {
			return n, err
		}
		n += gone
	}
	return n, nil
}

// Count counts the messages that wait for a consumer, as far as the logs can be read. The
// error is that nobody knows in time.
func (s *Session) Count(q *Queue) (int64, error) {
	s.awaitLetters(q, allOfThem)
	n, err := q.countLeft(false)
	if !errors.Is(err, store.ErrNotYet) {
		return n, nil
	}
	if err := q.answers(); err != nil {
		return n, err
	}
	return inTime(q, s.givenUp, func(func() bool) (int64, error) {
		n, _ := q.countLeft(true)
		return n, nil
	})
}

// countLeft is count after consumers that are free were dealt theirs: that does not wait for one.
func (q *Queue) countLeft(wait bool) (int64, error) {
	for _, p := range q.inTurn() {
		if c := p.cursor.Load(); c == nil {
			continue
		} else if wait {
			c.DealOut()
		} else if !c.DealOutNow() {
			return 0, store.ErrNotYet
		}
	}
	return q.count(wait)
}

// Ready counts the messages that wait for a consumer, as far as the logs can be read, and
// waits for that.
func (q *Queue) Ready() int64 {
	n, _ := q.count(true)
	return n
}

// count is Ready with the error for which it may be wrong: ErrNotYet when it may not wait.
func (q *Queue) count(wait bool) (n int64, err error) {
	for _, p := range q.inTurn() {
		ready, e := p.ready(wait)
		n += ready
		err = cmp.Or(err, e)
	}
	return n, err
}

// Unacked counts the messages that consumers hold.
func (q *Queue) Unacked() int64 {
	var n int64
	for _, p := range q.inTurn() {
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
		if e := errors.Join(p.saveCursor(), p.saveProducers(true)); e != nil && err == nil {
			err = e
		}
	}
	return err
}

// logOptions is how the queue's logs are kept.
func (q *Queue) logOptions() store.LogOptions {
	o := q.Settings().logOptions(!q.lives())
	o.Owner = q
	return o
}

// LogName is what its logs are called.
func (q *Queue) LogName() string { return q.vhost.Name + " " + q.Name }

// Definition is the queue's, which stands beside its messages for the day on which the
// table of definitions is lost.
func (q *Queue) Definition() string {
	def, err := json.Marshal(q.definition(logsOf(q.Partitions()), q.Settings()))
	if err != nil {
		return "" // putQueue fails too, and tells
	}
	return string(def)
}

// setLogOptions has the queue's logs kept as it is defined now.
func (q *Queue) setLogOptions() {
	o := q.logOptions()
	ctx, cancel := asking()
	defer cancel()
	for _, p := range q.Partitions() {
		if err := p.log.SetOptions(ctx, o); err != nil && !p.removed.Load() {
			q.vhost.b.opts.Log.Error("can't change how a log is kept; it is kept as it was until the next change or start", "queue", q.Name, "error", err)
		}
	}
}
