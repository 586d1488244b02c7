package broker

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// Credit is a limit on unacked messages that several subscriptions share: AMQP's
// channel-wide prefetch.
type Credit = consumer.Credit

// NewCredit makes a Credit; 0 is no limit.
func NewCredit(limit int) *Credit { return consumer.NewCredit(limit) }

// SubscribeOptions are what a consumer asks for.
type SubscribeOptions struct {
	NoAck     bool    // messages count as acked when they are emitted
	Exclusive bool    // no other consumer on this queue
	Priority  int     // higher is served first while it has credit
	Prefetch  int     // unacked messages at most; 0 is no limit
	Shared    *Credit // a further limit, shared with other subscriptions; may be nil
	// Args are what an AMQP client says beyond that, a field table without its length;
	// what it asks for takes the place of the fields above.
	Args    []byte
	timeout time.Duration // of Args
	only    *Partition    // nil: all of the queue's
	stream  bool          // the queue is read as a stream,
	from    streamFrom    // from there,
	filter  *streamFilter // and of it these messages; nil: all
	// Tag is what its client calls the consumer, and Channel the number of the channel it is on, where the protocol has such: for who
	// looks.
	Tag     string
	Channel int
	// Wake is called when there may be something to pull. It must not block; a
	// wake-up that was not acted on yet may stand for many.
	Wake func()
	// Busy, if there is one, says that Pull may be a while off if it is woken now, so that
	// others are woken first. It must not block nor call into this package.
	Busy func() bool
	// Cancelled is called when the queue is deleted under the subscription, and when the
	// session may not read it any more. It must not block and must not call the
	// subscription's methods.
	Cancelled func()
	// Timeout is called when a policy has changed how long the consumer may hold a message, from
	// a goroutine of the broker that it must not keep for long.
	Timeout func(time.Duration)
}

// Subscription is one consumer of a queue. Its methods belong to one goroutine at a
// time, and do not wait for a disk, but for DeleteUnused and Close; the callbacks come
// from any.
type Subscription struct {
	q          *Queue
	session    *Session // that is asked again when the policy changes; nil: none is
	begunBy    *Session
	asked      int // as Prefetch, which may be in Shared
	o          SubscribeOptions
	partitions []*partitionConsumer // one for each partition; a topic that grows has more than this for a moment
	turn       int                  // whose turn it is among partitions
	opening    *errand              // the cursor of a partition that came since; nil: none
	stopped    bool                 // written under Queue.mu, too
	left       bool
	holder     *account // whose consumer it is counted as; nil: nobody's
	last       bool     // its queue is to go: see DeleteUnused
	head       uint64   // of Delivery.Head, given out last

	stream *streamConsumer // of a stream, whose consumers have none of the above; nil: of another queue

	waits atomic.Bool          // for its turn; see single
	place place                // among those that wait; guarded by Queue.mu
	joins bool                 // it is at the cursors of its partitions, and at those that come; guarded by Queue.mu
	ahead []*partitionConsumer // of those that came, until it pulls; guarded by Queue.mu
	past  []*partitionConsumer // that it stepped aside from; others read it under Queue.mu
}

// partitionConsumer is a subscription's consumer on one partition.
type partitionConsumer struct {
	Lease
	cursor *consumer.Cursor
	runs   []consumer.Run // taken, not emitted yet
	// unnoted says that the store was not told yet that runs were handed out: they stay here.
	unnoted bool
	errand  *errand // what the consumer waits for; nil: nothing
	reader  reader
}

// Delivery is one message on its way out. Its slices are borrowed until the
// subscription's Release, and may be looked at while they are emitted only: later
// they are for a system call, which Check explains when it fails with EFAULT. emit
// may be left where it stands when they can't be read, and the message comes again.
type Delivery struct {
	Lease       *Lease // settles it; nil when it counts as acked already
	Offset      message.Offset
	Redelivered bool
	Exchange    []byte
	Key         []byte
	Properties  []byte // AMQP flags and list
	Body        []byte
	TimestampMs int64
	died        bool // its headers tell of deaths
	// Head is the same in deliveries of one subscription only if they have the same
	// Exchange, Key and Properties.
	Head uint64
}

// Subscribe adds a consumer to a queue. Pull at once after it: messages may
// wait, and the first wake-up may have come already.
func (s *Session) Subscribe(name string, o SubscribeOptions) (*Subscription, error) {
	sub, err := s.subscribe(name, o)
	if err != nil || s.vhost.b.opts.Policy == nil {
		return sub, err
	}
	if err := s.subscribed(sub); err != nil {
		sub.Close()
		return nil, err
	}
	return sub, nil
}

func (s *Session) subscribe(name string, o SubscribeOptions) (*Subscription, error) {
	q, err := s.Queue(Consume, name)
	if err != nil {
		return nil, err
	}
	if err := q.consumeArgs(&o); err != nil {
		return nil, err
	}
	sub := &Subscription{q: q, o: o, begunBy: s, asked: o.Prefetch}
	if err := s.holdConsumer(sub); err != nil {
		return nil, err
	}
	if _, err := s.subscribeTo(q, sub); err != nil {
		sub.leaveAccounts()
		return nil, err
	}
	return sub, nil
}

// subscribeTo is subscribe for a consumer that is counted.
func (s *Session) subscribeTo(q *Queue, sub *Subscription) (*Subscription, error) {
	o := &sub.o
	switch {
	case o.stream:
		return s.subscribeStream(sub)
	case o.NoAck: // what is shared is not used up by it, and holds it up all the same, as on RabbitMQ
		sub.o.Prefetch = 0
	case o.Prefetch > 0 && (q.Topic || q.levelled() || q.Settings().SingleActive): // one limit over all partitions, and all turns, of which there may be more later
		sub.o.Shared, sub.o.Prefetch = o.Shared.Within(o.Prefetch), 0
	}
	if err := s.open(q); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.deleted.Load() {
		return nil, fail(NotFound, "no queue '%s' in vhost '%s'", q.Name, q.vhost.Name)
	}
	if q.alone() != nil || o.Exclusive && (len(q.subs) > 0 || q.Settings().SingleActive) {
		return nil, fail(Refused, "queue '%s' in vhost '%s' in exclusive use", q.Name, q.vhost.Name)
	}
	single := q.Settings().SingleActive
	if single {
		q.extras().turn.arrive(sub).wakeUp()
	}
	if !sub.waits.Load() {
		if err := sub.join(); err != nil {
			leaveAll(sub.partitions)
			if single {
				q.extras().turn.depart(sub).wakeUp()
			}
			return nil, err
		}
	}
	if q.subs == nil {
		q.subs = map[*Subscription]struct{}{}
	}
	q.subs[sub] = struct{}{}
	q.had = true
	if o.Exclusive {
		q.extras().alone = sub
	}
	return sub, nil
}

// served are the partitions that the subscription is of, in turn.
func (s *Subscription) served() []*Partition {
	if s.o.only != nil {
		return []*Partition{s.o.only}
	}
	return s.q.inTurn()
}

// join adds a consumer on each partition that has none of this subscription yet. Queue.mu is held.
func (s *Subscription) join() error {
	s.joins = true
	for i, p := range s.served() {
		if i < len(s.partitions) && s.partitions[i].part == p {
			continue
		}
		var pc *partitionConsumer
		if at := slices.IndexFunc(s.ahead, func(pc *partitionConsumer) bool { return pc.part == p }); at >= 0 {
			pc = s.ahead[at]
			s.ahead = slices.Delete(s.ahead, at, at+1)
		} else {
			c, err := p.work()
			if err != nil {
				return err
			}
			if pc, err = s.joinAt(p, c); err != nil {
				return err
			}
		}
		s.partitions = slices.Insert(s.partitions, i, pc)
	}
	return nil
}

// joinAhead adds a consumer on a partition of which the subscription's own goroutine does not know yet, so that
// what comes there finds it. Queue.mu is held.
func (s *Subscription) joinAhead(p *Partition) {
	c := p.cursor.Load()
	if !s.joins || c == nil {
		return // it does when it pulls
	}
	if pc, err := s.joinAt(p, c); err == nil {
		s.ahead = append(s.ahead, pc)
	}
}

// joinAt adds a consumer at a partition's cursor.
func (s *Subscription) joinAt(p *Partition, c *consumer.Cursor) (*partitionConsumer, error) {
	// Without acks a message is settled when it is emitted, not when it is taken:
	// what was taken and never left goes back.
	k, err := c.Add(consumer.ConsumerOptions{Priority: s.o.Priority, Exclusive: s.o.Exclusive,
		Prefetch: s.o.Prefetch, Shared: s.o.Shared, Wake: s.o.Wake, Busy: s.o.Busy, Drained: s.onDrained(), Ranked: s.q.levelled(), Rank: s.q.rank(p)})
	if err != nil {
		return nil, &Error{Kind: Refused, Text: "queue '" + s.q.Name + "'", Err: err}
	}
	pc := &partitionConsumer{Lease: Lease{part: p, member: k, timeout: s.o.timeout}, cursor: c}
	pc.reader.part, pc.reader.lease, pc.reader.heads, pc.reader.raw = p, &pc.Lease, &s.head, s.o.only != nil
	return pc, nil
}

// onDrained is what a cursor calls when it has no message of the subscription out any more.
func (s *Subscription) onDrained() func() {
	if s.q.Settings().SingleActive {
		return s.drained
	}
	return nil
}

// Timeout is how long the consumer may hold a message; 0 is for ever.
func (s *Subscription) Timeout() time.Duration {
	return cmp.Or(s.o.timeout, s.q.Settings().ConsumerTimeout)
}

// Queue is what is consumed.
func (s *Subscription) Queue() *Queue { return s.q }

// Pull hands up to max messages, and about maxBytes of bodies, to emit. It
// returns how many; fewer than asked for means that credit or messages are used
// up and a wake-up will come when that changes. After an error no wake-up need
// come: call again in a while.
func (s *Subscription) Pull(max, maxBytes int, emit func(*Delivery)) (int, error) {
	if s.stopped {
		return 0, nil
	}
	if s.stream != nil {
		return s.stream.pull(max, maxBytes, emit)
	}
	if s.waits.Load() {
		s.stepAside()
		return 0, nil
	}
	if len(s.partitions) < len(s.served()) {
		if err := s.joinNew(); err != nil {
			return 0, err
		}
	}
	n, room := 0, maxBytes
	var err error
	first := s.turn
	for i := 0; i < len(s.partitions) && n < max && maxBytes > 0 && err == nil; i++ {
		at := (first + i) % len(s.partitions)
		var got, size int
		got, size, err = s.partitions[at].serve(&s.o, max-n, maxBytes, emit)
		if got > 0 || err != nil {
			s.turn = s.q.nextTurn(at) // the others first the next time
		}
		n += got
		maxBytes -= size
		if s.q.levelled() && s.partitions[at].first() {
			break // what is ready here comes before what is further down
		}
	}
	s.count(n, room-maxBytes)
	return n, err
}

// Pass has others woken in the place of a subscription that was woken and can't Pull soon.
func (s *Subscription) Pass() {
	for _, pc := range s.partitions {
		pc.member.Pass()
	}
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	for _, pc := range s.ahead {
		pc.member.Pass()
	}
}

// serve takes and emits what the partition has, within the limits. What it would have to
// wait for it has done, and comes back when that wakes it.
func (pc *partitionConsumer) serve(o *SubscribeOptions, max, maxBytes int, emit func(*Delivery)) (n, size int, err error) {
	if pc.part.removed.Load() { // nothing more comes: who asked for it would be woken with an error again and again
		pc.dropErrands()
		return 0, 0, nil
	}
	if ok, err := pc.served(); !ok {
		return 0, 0, err
	}
	if pc.part.active().notes.failed.Load() && !pc.unnoted {
		pc.errand = pc.part.sendNote(o.Wake) // again, before anything more is handed out
		return 0, 0, nil
	}
	once := pc.reader.raw && len(pc.runs) > 0
	for n < max && size < maxBytes {
		if len(pc.runs) == 0 {
			if once {
				return n, size, nil
			}
			if pc.runs = pc.member.Take(max-n, pc.runs[:0]); pc.reader.raw {
				pc.gather(int64(max - n))
				once = true
			}
			if len(pc.runs) == 0 {
				if err := pc.cursor.Err(); err != nil && !pc.part.removed.Load() {
					return n, size, fmt.Errorf("queue '%s': %w", pc.part.q.Name, err)
				}
				return n, size, nil
			}
			pc.unnoted = !o.NoAck
			pc.reader.freeFrom = pc.member.TookFrom() + 1
		}
		if pc.unnoted {
			err := pc.part.note()
			if errors.Is(err, store.ErrNotYet) {
				pc.errand = pc.part.sendNote(o.Wake)
				return n, size, nil
			}
			if err != nil {
				pc.giveBack()
				return n, size, err
			}
			pc.unnoted = false
		}
		got, bytes, err := pc.emit(o.NoAck, max-n, maxBytes-size, emit)
		n += got
		size += bytes
		switch {
		case err == nil && pc.reader.full:
			return n, size, nil
		case err == nil:
		case pc.part.removed.Load():
			return n, size, nil // nothing more comes
		case errors.Is(err, store.ErrNotYet):
			run := &pc.runs[0]
			pc.errand = pc.part.fetch(o.Wake, run.First, pc.reader.viewBytes(run.Len()))
			return n, size, nil
		default:
			return n, size, err
		}
	}
	return n, size, nil
}

// dropErrands ends what the consumer waits for.
func (pc *partitionConsumer) dropErrands() {
	pc.errand.drop()
	pc.reader.fetched.drop()
	pc.errand, pc.reader.fetched = nil, nil
}

// giveBack returns what was taken and not emitted.
func (pc *partitionConsumer) giveBack() {
	if len(pc.runs) > 0 && !pc.part.removed.Load() {
		_ = pc.member.ReturnRuns(pc.runs) // they are held, so this can't fail
	}
	pc.runs, pc.unnoted = pc.runs[:0], false
}

func (s *Subscription) count(n, size int) {
	var again uint64
	for _, pc := range s.partitions {
		again += pc.reader.flagged
		pc.reader.flagged = 0
	}
	if n == 0 && again == 0 {
		return
	}
	c := &s.q.vhost.b.counters
	c.Delivered.Add(uint64(n))
	c.DeliveredBytes.Add(uint64(size))
	if again > 0 {
		c.Redelivered.Add(again)
	}
	s.q.countDelivered(n, s.o.NoAck, again)
}

// emit reads what was taken and hands it on.
func (pc *partitionConsumer) emit(noAck bool, max, maxBytes int, emit func(*Delivery)) (n, size int, err error) {
	run := &pc.runs[0]
	last := run.Last
	if int64(last-run.First) >= int64(max) {
		last = run.First + message.Offset(max) - 1
	}
	pc.reader.tell(run)
	next, n, size, err := pc.reader.read(run.First, last, maxBytes, emit)
	if e := pc.reader.settle(noAck, run.First, min(next, run.Last+1)); err == nil {
		err = e
	}
	if next > run.Last {
		copy(pc.runs, pc.runs[1:])
		pc.runs = pc.runs[:len(pc.runs)-1]
	} else {
		run.First = next
	}
	return n, size, err
}

// Check looks whether everything that Pull emitted can still be read, which a
// system call that was given it may have denied. If not, the error says what has failed.
func (s *Subscription) Check() error {
	var readers []*reader
	for _, pc := range slices.Concat(s.partitions, s.past) {
		readers = append(readers, &pc.reader)
	}
	if s.stream != nil {
		for _, p := range s.stream.parts {
			readers = append(readers, &p.reader)
		}
	}
	for _, r := range readers {
		for _, v := range r.views {
			if err := v.Check(); err != nil {
				return fmt.Errorf("queue '%s': %w", s.q.Name, err)
			}
		}
	}
	return nil
}

// Release ends the borrowing of everything that Pull emitted.
func (s *Subscription) Release() {
	if s.stream != nil {
		s.stream.release(s.left)
	}
	for _, pc := range s.partitions {
		pc.release(s.left)
	}
	s.releasePast()
}

func (pc *partitionConsumer) release(left bool) {
	pc.reader.release()
	if left {
		pc.reader.unpacked = nil // a lease that is still in use keeps its partitionConsumer alive
	}
}

// Close ends the subscription: Leave, Release and DeleteUnused.
func (s *Subscription) Close() {
	s.Leave()
	s.Release()
	s.DeleteUnused()
}

// Stop has nothing delivered any more, while the subscription is still its queue's:
// who waits for its turn to end waits on. What its holder gives back between Stop and
// Leave is before the next one's turn. Stopping twice is fine.
func (s *Subscription) Stop() {
	s.q.mu.Lock()
	s.stopped = true // takeOver may be about to have it come back
	s.q.mu.Unlock()
	s.leaveCursors()
}

// Leave takes the subscription off its queue at once, while what it emitted is
// still borrowed; Release and DeleteUnused, or Close, must follow. What was taken and
// not emitted goes back; what was emitted stays with its holder until it is acked or
// requeued. Leaving twice is fine.
func (s *Subscription) Leave() {
	if s.left {
		return
	}
	s.left = true
	if s.session != nil {
		s.session.unsubscribed(s)
	}
	s.leaveAccounts()
	s.Stop()
	q := s.q
	q.use() // before anybody sees the queue without its consumer
	var next *Subscription
	q.mu.Lock()
	_, was := q.subs[s]
	delete(q.subs, s)
	if q.alone() == s {
		q.extras().alone = nil
	}
	if was && q.Settings().SingleActive {
		next = q.extras().turn.depart(s)
	}
	s.last = was && q.AutoDelete && q.had && len(q.subs) == 0
	q.mu.Unlock()
	next.wakeUp()
}

// leaveAccounts ends holdConsumer.
func (s *Subscription) leaveAccounts() {
	if s.holder != nil {
		s.holder.give(limitConsumers, 1)
		s.q.vhost.account.give(limitConsumers, 1)
		s.holder = nil
	}
}

// Last reports whether DeleteUnused has something to do.
func (s *Subscription) Last() bool { return s.last }

// DeleteUnused deletes the queue if it is an auto-delete queue whose last consumer has
// left with the subscription. It waits until that is written, as long as clients wait.
func (s *Subscription) DeleteUnused() {
	if !s.last {
		return
	}
	s.last = false
	_, _ = inTime(s.q, nil, func(func() bool) (struct{}, error) { // an error is that it goes on behind our back
		s.q.vhost.deleteUnused(s.q)
		return struct{}{}, nil
	})
}

// leaveCursors takes the consumers off their cursors.
func (s *Subscription) leaveCursors() {
	if s.stream != nil {
		s.stream.leave()
	}
	s.opening.drop()
	s.q.mu.Lock()
	ahead := s.ahead
	s.joins, s.ahead = false, nil
	s.q.mu.Unlock()
	leaveAll(s.partitions)
	leaveAll(ahead)
}

func leaveAll(list []*partitionConsumer) {
	for _, pc := range list {
		pc.dropErrands()
		pc.giveBack()
		pc.runs = nil
		pc.member.Cancel()
		pc.part.cameBack()
	}
}
