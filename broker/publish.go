package broker

import (
	"slices"

	"github.com/leveret-mq/leveret/exchange"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// Inbound is one message that a client publishes. All slices are borrowed for the call.
type Inbound struct {
	Exchange   []byte
	Key        []byte
	MoreKeys   [][]byte // further routing keys (CC and BCC)
	Properties []byte   // AMQP property flags and list, checked by the caller
	Headers    []byte   // the headers table inside Properties; nil if there is none
	Body       []byte
	Persistent bool            // must be durable before Commit calls done
	Raw        message.Headers // record headers of a message that came from Kafka
	Died       bool            // a dead letter: its headers tell of its deaths
	Ref        uint64          // what the caller calls the message, for Refused
	// TimestampMs is the time of arrival. Take the clock once per read buffer.
	TimestampMs int64
	from        *Exchange // where to begin to route what waited there; else nil
	// SameHead says that all but Body, Persistent and TimestampMs are what they were in
	// the last call of Publish, which made no error. It saves routing and half of the encoding.
	SameHead bool
}

// Publisher is what one connection publishes through. Messages are encoded into one batch per
// set of queues and stored by Store, or before when order or size asks for it.
// It belongs to one goroutine.
type Publisher struct {
	s          *Session
	v          *VHost
	generation uint64
	routes     map[string]*route
	targets    map[*Partition]*target
	sets       map[string]*targetSet
	last       struct {
		exchange, key []byte
		route         *route
	}
	source struct { // the exchange that was looked up last
		name     []byte
		exchange *Exchange
		keys     Keys // which of its keys may be used; nil: all
	}
	clientID string   // that keys were asked for
	same     struct { // what the last Publish did, for one of SameHead
		route *route
		batch *message.Builder // that it was added to; nil if none, or if that was stored
		set   *targetSet       // whose batch that is
	}
	most    int // bytes of a body
	scratch []byte
	found   []exchange.Target
	parts   []*Partition
	replies []*ReplyAddress    // that the message under way goes to
	walked  []*Exchange        // by the message that is being routed
	visited map[*Exchange]bool // the same, if they are several
	late    []*Partition       // lanes in which the message that is being routed waits
	waits   route              // of the last message that waits
	note    []byte             // its record headers
	keys    []byte             // scratch of note

	refused    []uint64           // of messages that a queue did not take: see Refused
	partial    *message.Builder   // those of a batch that one log takes
	refusals   *refusals          // makes dead letters of what is refused; made by the first
	depth      int                // of a publisher of such, how many queues refused before
	mostLike   int                // bytes of a batch that one more like the last fits into
	fates      *fates             // of a publisher of dead letters; nil: the first error fails the Commit
	avoid      func(*Queue) bool  // queues that get nothing of what is routed; nil: all do
	only       *Queue             // gets all messages, past all exchanges; nil: they are routed
	pending    []*targetSet       // with messages not stored yet, oldest first
	size       int                // of what open let in of them
	opened     []*targetSet       // scratch of open
	free       []*message.Builder // not in use; shared by all sets
	used       []*target          // whose logs Commit must commit
	logs       []store.Log        // scratch of Commit
	needCommit bool
	err        error // of a batch that was stored since the last Commit
	fed        []routedBatch
	arrivalMs  int64 // the time of arrival while Inbound.TimestampMs is a Kafka producer's; else 0
	published  uint64
	routed     uint64
	unroutable uint64
	bytes      uint64
	tallies    []tally // never empty
	tally      int     // of the exchange that is published to

	naming  *naming   // names taken since the last Commit; nil: none
	awaited []*naming // of other publishers, of which there were duplicates since

	whole       bool // it is a transaction
	held        int64
	heldReplies []heldReply
	sources     map[string]struct{} // of a transaction: exchanges and keys, as appendRouteKey writes them
	allowedAt   uint64              // the generation of the policy that allowed the first of them,
	allowedBy   uint64              // and that of all routes that are remembered, or older
}

// route is where the messages of one exchange and key go.
type route struct {
	set   *targetSet // nil: nowhere
	plain bool
	late  *targetSet      // lanes in which the message waits for its time; mostly nil
	note  message.Headers // what goes with it there
}

// copies is in how many logs a message is put.
func (r *route) copies() (n int) {
	if r.set != nil {
		n = len(r.set.targets)
	}
	if r.late != nil {
		n += len(r.late.targets)
	}
	return n
}

// targetSet is a set of logs that get the same messages, and the batch for them.
type targetSet struct {
	routes  [2]route // of all keys that lead here: those of a plain exchange, and others
	targets []*target
	batch   *message.Builder // set while it is open, and in Publisher.pending
	tracked bool             // it matters which of its messages are stored
	refs    []uint64         // of the messages in it, if they are tracked
	missed  []int32          // how many of the logs refused each of these; nil: none did any
	levels  *levelSets       // of other priorities; nil if priorities make no difference
}

// target is one log as the publisher knows it.
type target struct {
	part *Partition
	open *targetSet // the open set that holds messages for it
	self *targetSet // the set of this target alone
	used bool       // in Publisher.used
	ttl  bool       // all its messages expire

	settings *Settings // of its queue, from which these are:
	chooses  bool      // what it takes: see limiter
	refuses  bool      // what it does not take
	levels   bool      // its queue has a log for each priority
}

const (
	maxRoutes      = 4096      // cached at most, then all are forgotten; so are sets
	batchBytes     = 256 << 10 // a batch of several messages is at most that long
	pendingBytes   = 1 << 20   // bodies of new sets or heads that wait to be stored, before all that waits is
	keepBatchBytes = 1 << 20   // a larger buffer is given back
	keepBuilders   = 4         // buffers that stay with a connection between two Commits,
	keepSmall      = 12        // and so many more of at most keepSmallBytes
	keepSmallBytes = 32 << 10
	// splitTargets is how many logs a message may go to and still be encoded for
	// each alone when sets of queues overlap and alternate. Storing at every
	// change of set instead would make one batch a message.
	splitTargets = 4
)

// NewPublisher makes a Publisher. It needs no closing: nothing is kept after a Commit.
func (s *Session) NewPublisher() *Publisher {
	p := s.vhost.newPublisher()
	p.s, p.most = s, s.MaxMessageBytes()
	return p
}

// newPublisher is NewPublisher for the broker itself, which says where messages come from.
func (v *VHost) newPublisher() *Publisher {
	p := &Publisher{v: v, generation: v.generation.Load(), most: v.b.MaxMessageBytes(), mostLike: batchBytes, tallies: make([]tally, 1)}
	p.forget()
	return p
}

// forget drops all routes. What generation the next ones are of is for the caller
// to say: a resolve that is under way looked at the tables before.
func (p *Publisher) forget() {
	p.allowedBy = p.v.b.policyGeneration.Load()
	p.routes, p.targets, p.sets = map[string]*route{}, map[*Partition]*target{}, map[string]*targetSet{}
	p.last.route, p.same.route, p.same.batch, p.source.exchange = nil, nil, nil, nil
	for i := range p.tallies {
		p.tallies[i].x = nil
	}
}

// Publish routes one message and encodes it. It reports whether any queue gets
// it. An error is about the message or its exchange (NotFound, Refused, TooLarge)
// and nothing was done then; errors of storing come from Commit.
func (p *Publisher) Publish(m *Inbound) (routed bool, err error) {
	r, b := p.same.route, p.same.batch
	like := m.SameHead && r != nil && b != nil && b.SizeBytes()+len(m.Body) <= p.mostLike && len(m.Body) <= p.most && p.v.generation.Load() == p.generation
	if !like { // few are not
		if r, err = p.find(m); err != nil {
			return false, err
		}
		if p.whole {
			p.noteSources(m)
		}
		if r.set == nil && r.late == nil {
			return false, nil
		}
	}
	if m.from == nil { // what waited was counted when it came
		p.published++
		p.routed++
		p.bytes += uint64(len(m.Body))
		t := &p.tallies[p.tally]
		t.in++
		t.out += uint64(r.copies())
	}
	if p.whole {
		p.holdBack(m, r)
	}
	p.needCommit = p.needCommit || m.Persistent
	if like {
		b.AddLike(m.Body, m.TimestampMs)
		if p.same.set.tracked {
			p.same.set.refs = append(p.same.set.refs, m.Ref)
		}
		return true, nil
	}
	if p.arrivalMs != 0 && (r.late != nil || r.set.countsTime()) {
		m.TimestampMs = p.arrivalMs
	}
	pub := message.Publish{Exchange: m.Exchange, Key: m.Key, Properties: m.Properties, Body: m.Body,
		TimestampMs: m.TimestampMs, Plain: r.plain, Raw: m.Raw, Died: m.Died}
	if r.late != nil {
		p.addLate(r, &pub, m.Ref)
	}
	if r.set != nil {
		for _, set := range p.open(r.set, len(m.Body)) {
			set.batch.Add(&pub)
			if set.tracked {
				set.refs = append(set.refs, m.Ref)
			}
			p.same.set, p.same.batch = set, set.batch
		}
		if len(p.opened) > 1 || r.late != nil {
			p.same.batch = nil // it is in several
		}
	}
	return true, nil
}

// find finds the route of a message that is not like the last one, or has no room beside it; nothing behind a
// route is for the caller to do when it leads nowhere.
func (p *Publisher) find(m *Inbound) (*route, error) {
	p.renew()
	if len(m.Body) > p.most && m.from == nil && p.fates == nil { // what was taken once is not refused later
		return nil, fail(TooLarge, "message size %d is larger than configured max size %d", len(m.Body), p.most)
	}
	r := p.same.route
	if r == nil || !m.SameHead {
		p.same.route, p.same.batch = nil, nil
		var decider exchange.Decider
		var err error
		if p.only != nil {
			r = p.straight(m)
		} else if r, decider, err = p.route(m); err != nil {
			return nil, err
		}
		if p.avoid != nil {
			if r = p.without(r); r.set == nil && r.late == nil {
				p.unname(m.Ref)
			}
		}
		if r.set != nil && r.set.levels != nil {
			r = p.level(r, m.Properties)
		}
		if decider < exchange.Chance {
			p.same.route = r
		}
	}
	if r.set == nil && r.late == nil {
		p.same.route = nil // its queue may be declared any time
		if m.from == nil {
			p.published++
			p.bytes += uint64(len(m.Body))
			p.tallies[p.tally].in++
		}
		p.unroutable++
	}
	return r, nil
}

// renew forgets routes that a change of topology may have made wrong.
func (p *Publisher) renew() {
	g := p.v.generation.Load()
	switch {
	case g == p.generation:
		return
	case p.whole:
		p.renewWhole()
	default:
		p.Store()
		p.forget()
	}
	p.generation = g
	if p.s != nil {
		p.most = p.s.MaxMessageBytes()
	}
}

// put has a message stored in one log; ref is what fates call it.
func (p *Publisher) put(part *Partition, pub *message.Publish, ref uint64) {
	p.renew()
	p.needCommit = true
	set := p.open(p.targetOf(part).self, len(pub.Body))[0]
	set.batch.Add(pub)
	if set.tracked {
		set.refs = append(set.refs, ref)
	}
	p.same.batch = nil
}

// open gives the sets to whose batches a message for a set of logs is to be added, with
// n bytes of body: the set, or each of its logs alone if some of them have messages in
// other sets. A log has messages in one open set at most, which keeps their order: what
// is in the way of that, or would make a batch too long, is stored first.
func (p *Publisher) open(set *targetSet, n int) []*targetSet {
	if p.whole {
		return p.openWhole(set)
	}
	p.opened = append(p.opened[:0], set)
	if p.size += n; p.size <= pendingBytes && set.batch != nil && set.batch.SizeBytes()+n <= batchBytes {
		return p.opened // mostly
	}
	// Not what is tracked: nobody knew who has a message of which a part fails.
	if len(set.targets) > 1 && len(set.targets) <= splitTargets && p.fates == nil && set.overlaps() {
		p.opened = p.opened[:0]
		for _, t := range set.targets {
			p.opened = append(p.opened, t.self)
		}
	}
	for _, set := range p.opened {
		if p.size > pendingBytes || set.overlaps() || set.batch != nil && set.batch.SizeBytes()+n > batchBytes {
			p.Store() // so a message that is too large for a log is refused alone
			p.size = n
			break
		}
	}
	for _, set := range p.opened {
		if set.batch != nil {
			continue
		}
		set.batch = p.builder()
		p.pending = append(p.pending, set)
		for _, t := range set.targets {
			t.open = set
		}
	}
	return p.opened
}

// overlaps says whether a log of the set has messages in another open set.
func (s *targetSet) overlaps() bool {
	return s.batch == nil && slices.ContainsFunc(s.targets, func(t *target) bool { return t.open != nil })
}

// countsTime says whether a log of the set has messages that expire from their arrival on.
func (s *targetSet) countsTime() bool {
	return slices.ContainsFunc(s.targets, func(t *target) bool { return t.ttl })
}
