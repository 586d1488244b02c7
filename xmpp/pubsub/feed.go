package pubsub

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// feed sends the items of one subscription. It belongs to its agent's goroutine, but for what is said otherwise.
type feed struct {
	a     *agent
	sub   *subscription
	src   source
	since int64 // ms; what is older has waited

	mu        sync.Mutex // guards the rest
	held      int        // events that are not resolved
	heldBytes int
	retry     *time.Timer
	closed    bool
}

// source is where a feed's items come from. pull belongs to the agent's goroutine; ack and back come from any.
type source interface {
	// pull hands up to max items, and about maxBytes of them, to emit. Fewer than that mean that the agent is woken when there
	// are more.
	pull(max, maxBytes int, emit func(it *item, lease *broker.Lease)) error
	// done says that an item was acknowledged, or with again that it has to be sent once more.
	done(it *item, lease *broker.Lease, again bool)
	// halt has nothing taken any more, from any goroutine: what is given back from here on is for others, in its order.
	// A pull begins anew.
	halt()
	close()
}

func (f *feed) source() source {
	if f.sub.Queue != "" || f.sub.Mode == modeOne {
		return &queueSource{f: f}
	}
	return &logSource{f: f}
}

// turn sends what there is and what there is room for; more says that there may be something left.
func (f *feed) turn() (more bool) {
	f.mu.Lock()
	room, bytes := maxHeld-f.held, maxHeldBytes-f.heldBytes
	resting := f.retry != nil || f.closed
	f.mu.Unlock()
	f.a.mu.Lock()
	room, bytes = min(room, accountHeld-f.a.held), min(bytes, accountHeldBytes-f.a.bytes)
	f.a.mu.Unlock()
	if room <= 0 || bytes <= 0 || resting {
		return false
	}
	targets := f.a.targets(f.sub.JID)
	if len(targets) == 0 {
		return false
	}
	of := f.a.h.settingsOf(f.sub.node)
	n := 0
	if f.a.memory.Await(turnBytes*treeBytes, f.a.stop) != nil {
		return false
	}
	defer f.a.memory.Give(turnBytes * treeBytes)
	err := f.src.pull(room, min(bytes, turnBytes), func(it *item, lease *broker.Lease) {
		n++
		f.send(it, lease, targets, &of)
	})
	if err != nil {
		f.rest(err)
		return false
	}
	return n > 0 // the next one comes for nothing, or for what there was no room for
}

// turnBytes is about how much of items is read at a time.
const turnBytes = 128 << 10

// rest has a feed wait whose source can't be read.
func (f *feed) rest(err error) {
	switch broker.KindOf(err) {
	case broker.NotFound, broker.Closed: // gone, which is told otherwise
	case broker.Refused:
		f.a.h.s.log.Debug("a pubsub subscriber may not read its node", "account", f.a.account.String(), "node", f.sub.Node, "error", err)
	default:
		f.a.h.s.log.Error("can't read for a pubsub subscriber; it is tried again", "account", f.a.account.String(), "node", f.sub.Node, "error", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.retry == nil && !f.closed {
		f.retry = time.AfterFunc(retryAfter, func() {
			f.mu.Lock()
			f.retry = nil
			f.mu.Unlock()
			f.a.signal()
		})
	}
}

func (f *feed) close() {
	f.mu.Lock()
	f.closed = true
	if f.retry != nil {
		f.retry.Stop()
	}
	f.mu.Unlock()
	f.src.close()
}

// event is one item on its way to an account's streams.
type event struct {
	f     *feed
	it    *item
	lease *broker.Lease
	id    string // of its message, if a receipt is asked for

	mu   sync.Mutex // guards the rest; a leaf
	left []Peer     // that have not said
	got  bool       // one of them has it
	over bool
}

func (f *feed) send(it *item, lease *broker.Lease, targets []Peer, of *settings) {
	f.mu.Lock()
	f.held++
	f.heldBytes += it.size
	f.mu.Unlock()
	f.a.hold(1, it.size)
	e := &event{f: f, it: it, lease: lease, left: slices.Clone(targets)}
	if of.NoEvents {
		for _, p := range targets {
			e.resolve(p, true)
		}
		return
	}
	receipts := f.sub.Receipts
	if receipts {
		e.id = newID()
		f.a.mu.Lock()
		f.a.waiting[e.id] = e
		f.a.mu.Unlock()
	}
	in := f.content(it, of)
	for _, p := range targets {
		m := f.a.message(p, of.notificationType()).Add(in...)
		if receipts {
			m.Set("id", e.id)
			m.Add(stanza.New(nsReceipts, "request"))
		}
		p.Event(m, func(ok bool) {
			if !receipts || !ok {
				e.resolve(p, ok)
			}
		})
	}
}

// content is what stands in the message of an item.
func (f *feed) content(it *item, of *settings) []*stanza.Element {
	shown := it
	if of.NoPayloads {
		shown = &item{id: it.id}
	}
	out := []*stanza.Element{stanza.New(nsEvent, "event").Add(stanza.New(nsEvent, "items", "node", f.sub.Node).Add(shown.element(nsEvent)))}
	if it.headers != nil && !of.NoPayloads {
		out = append(out, it.headers)
	}
	if it.timestampMs > 0 && it.timestampMs < f.since {
		at := time.UnixMilli(it.timestampMs).UTC().Format("2006-01-02T15:04:05.000Z")
		out = append(out, stanza.New(nsDelay, "delay", "from", Label+"."+f.a.account.Domain, "stamp", at))
	}
	return out
}

// receipt takes a stream's receipt.
func (e *event) receipt(p Peer) {
	e.mu.Lock()
	known := slices.Contains(e.left, p)
	if known {
		e.left, e.got = nil, true // one of an account's is enough
	}
	e.mu.Unlock()
	if known {
		e.check()
	}
}

// resolve says whether a stream has the event.
func (e *event) resolve(p Peer, ok bool) {
	e.mu.Lock()
	i := slices.Index(e.left, p)
	if i >= 0 {
		e.left = slices.Delete(e.left, i, i+1)
		e.got = e.got || ok
	}
	e.mu.Unlock()
	if i < 0 {
		return
	}
	if !ok { // its stream has ended; what it leaves is not for it
		e.f.a.lost(p)
	}
	e.check()
}

// check ends the event when all have said.
func (e *event) check() {
	e.mu.Lock()
	over := len(e.left) == 0 && !e.over
	e.over = e.over || over
	got := e.got
	e.mu.Unlock()
	if !over {
		return
	}
	f := e.f
	if e.id != "" {
		f.a.mu.Lock()
		delete(f.a.waiting, e.id)
		f.a.mu.Unlock()
	}
	f.src.done(e.it, e.lease, !got)
	f.mu.Lock()
	full := f.held >= maxHeld || f.heldBytes >= maxHeldBytes
	f.held--
	f.heldBytes -= e.it.size
	f.mu.Unlock()
	full = f.a.hold(-1, -e.it.size) || full
	if full || !got {
		f.a.signal()
	}
}

// queueSource consumes a queue: the subscriber's own, or one for which others compete.
type queueSource struct {
	f    *feed
	lost atomic.Bool // the queue is gone, or the right to it, or nobody is there

	mu  sync.Mutex // held over calls of sub
	sub *broker.Subscription
}

func (q *queueSource) pull(max, maxBytes int, emit func(*item, *broker.Lease)) error {
	if q.lost.Swap(false) {
		q.close()
	}
	if err := q.f.a.session.May(broker.Consume, broker.OnQueue, q.name()); err != nil {
		q.close() // its session is no connection's, so nobody cancels it
		return err
	}
	if q.sub == nil {
		if err := q.open(); err != nil {
			return err
		}
	}
	var items []*item
	var leases []*broker.Lease
	q.mu.Lock()
	_, err := q.sub.Pull(max, maxBytes, func(d *broker.Delivery) {
		items = append(items, read(d, int(d.Lease.Partition().Index())))
		leases = append(leases, d.Lease)
	})
	q.sub.Release()
	q.mu.Unlock()
	for i, it := range items { // a settled event may call the broker, which emitting must not
		emit(it, leases[i])
	}
	return err
}

// name is the queue's.
func (q *queueSource) name() string {
	if name := q.f.sub.Queue; name != "" {
		return name
	}
	return q.f.sub.node.name
}

func (q *queueSource) open() error {
	sub, err := q.f.a.session.Subscribe(q.name(), broker.SubscribeOptions{Prefetch: maxHeld, Wake: q.f.a.signal, Cancelled: func() {
		q.lost.Store(true)
		q.f.a.signal()
	}})
	if err != nil {
		return err
	}
	q.mu.Lock()
	q.sub = sub
	q.mu.Unlock()
	return nil
}

func (q *queueSource) done(it *item, lease *broker.Lease, again bool) {
	var err error
	if again {
		err = lease.Fail(it.offset, it.offset)
	} else {
		err = lease.Ack(it.offset, it.offset)
	}
	if err != nil && broker.KindOf(err) != broker.NotFound {
		q.f.a.h.s.log.Error("can't settle a message of a pubsub subscriber", "node", q.f.sub.Node, "offset", it.offset, "error", err)
	}
}

func (q *queueSource) halt() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.sub != nil {
		q.sub.Stop()
		q.lost.Store(true)
	}
}

func (q *queueSource) close() {
	q.mu.Lock()
	sub := q.sub
	if q.sub = nil; sub != nil {
		sub.Leave()
		sub.Release()
	}
	q.mu.Unlock()
	if sub != nil {
		sub.DeleteUnused()
	}
}

// logSource reads a queue's log by offset, from the subscriber's place on.
type logSource struct {
	f    *feed
	stop []func() // of the watches

	mu    sync.Mutex // guards the rest
	parts []logPart
	turn  int
}

// logPart is the place in one partition.
type logPart struct {
	next message.Offset // the first that was not sent
	sent message.Offset // the first that was never sent
	out  []sending      // those that were and are not acknowledged, in order
	back bool           // one of them has to be sent again, once all of them are resolved
}

// sending is an item that was sent.
type sending struct {
	offset message.Offset
	over   bool
	got    bool
}

// watch begins to be woken by partitions that are not watched yet.
func (l *logSource) watch() []*broker.Partition {
	h, sub := l.f.a.h, l.f.sub
	parts := sub.node.queue.Partitions()
	h.mu.Lock()
	positions, sent := slices.Clone(sub.positions), slices.Clone(sub.sent)
	h.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.parts); i < len(parts); i++ {
		at := message.Offset(0) // one that came since
		if i < len(positions) {
			at = positions[i]
		}
		p := logPart{next: at, sent: at}
		if i < len(sent) {
			p.sent = max(at, sent[i])
		}
		l.parts = append(l.parts, p)
		l.stop = append(l.stop, l.f.a.session.Watch(parts[i], l.f.a.signal))
	}
	return parts
}

func (l *logSource) pull(max, maxBytes int, emit func(*item, *broker.Lease)) error {
	parts := l.watch()
	for range parts {
		if max <= 0 || maxBytes <= 0 {
			return nil
		}
		i := l.turn % len(parts)
		l.turn++
		n, size, err := l.pullPart(i, parts[i], max, maxBytes, emit)
		if max, maxBytes = max-n, maxBytes-size; err != nil {
			return err
		}
	}
	return nil
}

func (l *logSource) pullPart(i int, p *broker.Partition, limit, maxBytes int, emit func(*item, *broker.Lease)) (n, size int, err error) {
	l.mu.Lock()
	at := &l.parts[i]
	if at.back && len(at.out) > 0 {
		l.mu.Unlock()
		return 0, 0, nil // the rest has to be resolved before
	}
	at.back = false
	from, sent := at.next, at.sent
	l.mu.Unlock()
	var items []*item
	next, _, err := l.f.a.session.Browse(p, from, maxBytes, func(d *broker.Delivery) bool {
		d.Redelivered = d.Offset < sent
		it := read(d, i)
		items, size = append(items, it), size+it.size
		return len(items) < limit && size < maxBytes
	})
	l.mu.Lock()
	at = &l.parts[i]
	if at.next != from { // something before has to be sent again, and this behind it
		l.mu.Unlock()
		l.f.a.signal()
		return 0, 0, err
	}
	for _, it := range items {
		at.out = append(at.out, sending{offset: it.offset})
	}
	at.next = next
	at.sent = max(at.sent, next)
	idle := len(at.out) == 0
	l.mu.Unlock()
	if idle && next > from {
		l.f.a.h.moved(l.f.sub, i, next) // past what retention took
	}
	for _, it := range items {
		emit(it, nil)
	}
	return len(items), size, err
}

func (l *logSource) done(it *item, _ *broker.Lease, again bool) {
	l.mu.Lock()
	at := &l.parts[it.partition]
	unresolved := false
	for i := range at.out {
		s := &at.out[i]
		if s.offset == it.offset && !s.over {
			s.over, s.got = true, !again
		}
		unresolved = unresolved || !s.over
	}
	acked := message.NoOffset
	for len(at.out) > 0 && at.out[0].over && at.out[0].got {
		acked = at.out[0].offset + 1
		at.out = at.out[1:]
	}
	if again {
		at.back = true
	}
	if at.back && !unresolved {
		if len(at.out) > 0 {
			at.next = at.out[0].offset
		}
		at.out, at.back = nil, false
	}
	if len(at.out) == 0 && acked != message.NoOffset && !at.back {
		acked = max(acked, at.next) // past gaps
	}
	l.mu.Unlock()
	if acked != message.NoOffset {
		l.f.a.h.moved(l.f.sub, it.partition, acked)
	}
}

func (l *logSource) halt() {}

func (l *logSource) close() {
	for _, stop := range l.stop {
		stop()
	}
	l.stop = nil
	var sent []message.Offset
	l.mu.Lock()
	for i := range l.parts {
		sent = append(sent, l.parts[i].sent)
	}
	l.mu.Unlock()
	h := l.f.a.h
	h.mu.Lock()
	defer h.mu.Unlock()
	l.f.sub.sent = sent
}
