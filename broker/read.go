package broker

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// reader turns ranges of offsets into deliveries. It remembers where in a batch it
// stopped, so that small credits do not walk a large batch from its start each time.
type reader struct {
	part        *Partition
	lease       *Lease
	wait        bool    // for what is not in memory; otherwise that is ErrNotYet
	fetched     *errand // what was read meanwhile; nil: nothing
	redelivered bool
	late        bool           // what has expired is emitted, too
	raw         bool           // emitted are the bytes of records; what they hold is looked at only where it decides
	src         origin         // of the record that is emitted, if raw
	took        int            // messages emitted since Acquire began
	cut         message.Offset // with which the last run ends, where it was cut for there were too many; else -1
	full        bool           // what comes next would have to be cut
	returned    int32          // to be told with each message; 0: nothing
	times       int32          // how often what is read was returned
	gone        []gone         // what was left out, until settle
	flagged     uint64         // messages emitted with redelivered set, until they are counted
	views       []store.View   // what was emitted lies in these

	id       batchID        // of the batch that was read last
	position int            // of the record after the last one read, in the records' bytes
	next     message.Offset // lower bound of that record's offset

	unpacked   *unpacked // the records of the last compressed batch
	unpackedID batchID
	props      []byte // made for records of Kafka producers
	nowMs      int64  // the time, once a message has asked for it
	ttlNow     int64  // the queue's own time to live; negative: none
	steps      []ttlStep
	queueTTL   int64          // what it was when the batch came
	freeFrom   message.Offset // one more than the first that came while it could; 0: nobody knows
	each       int            // bytes that a record of the last batch takes
	d          Delivery
	known      known
	heads      *uint64 // counts heads for all readers of a subscription
}

// known is what the last record with an envelope had beside body and time, found
// good. Most records of a queue have the same headers, and then need no second look.
type known struct {
	head    uint64 // its Delivery.Head; 0: nothing is known
	key     []byte // our own copy
	headers []byte // our own copy
	count   int    // of headers
	died    bool   // they tell of deaths
	// Where in headers the exchange begins, the properties begin and end.
	exchangeAt, propsAt, propsEnd int
}

// fits tells whether the record has the headers that are known.
func (k *known) fits(rec *message.Record) bool {
	return string(rec.Headers.Raw) == string(k.headers) && rec.Headers.Count == k.count && k.head != 0
}

// rename notes another key for the known headers.
func (k *known) rename(key []byte, head uint64) {
	k.head, k.key = head, append(k.key[:0], key...)
}

// remember takes over the head of a record, and the place of its envelope.
func (k *known) remember(rec *message.Record, e *message.Envelope, head uint64) {
	if len(rec.Headers.Raw) > maxKnownBytes || len(rec.Key) > maxKnownBytes {
		return
	}
	k.rename(rec.Key, head)
	k.headers = append(k.headers[:0], rec.Headers.Raw...)
	k.count, k.died = rec.Headers.Count, e.Died
	others := rec.Headers
	others.Next()
	k.propsEnd = len(k.headers) - len(others.Raw)
	k.propsAt = k.propsEnd - len(e.Properties)
	k.exchangeAt = k.propsAt - len(e.Exchange)
}

// maxKnownBytes is the longest key and the longest list of record headers that is remembered.
const maxKnownBytes = 1 << 10

// How much is borrowed from a log at a time: about what is wanted, so that a few messages
// out of a log that is not in memory do not cost a megabyte each time.
const (
	minViewBytes = 16 << 10
	maxViewBytes = 1 << 20
)

// viewBytes is how much to borrow for so many messages.
func (r *reader) viewBytes(messages int64) int {
	each := cmp.Or(int64(r.each), 1024) // before any was seen
	return int(min(max(minViewBytes, min(messages, maxViewBytes)*each*5/4), maxViewBytes))
}

// stretch is how far a read has come: next is the first offset that it did not emit.
type stretch struct {
	next, last message.Offset
	n, size    int // messages emitted, and bytes of their bodies
	maxBytes   int
}

// more says whether there is something to emit, and room for it.
func (s *stretch) more() bool { return s.next <= s.last && s.size < s.maxBytes }

// read emits the messages in [first, last] until maxBytes of bodies are reached.
// next is the first offset not emitted.
func (r *reader) read(first, last message.Offset, maxBytes int, emit func(*Delivery)) (next message.Offset, n, size int, err error) {
	r.nowMs, r.ttlNow = 0, r.part.q.Settings().MessageTTL
	r.steps = r.part.ttlSteps()
	s := stretch{next: first, last: last, maxBytes: maxBytes}
	for err == nil && s.more() {
		err = r.view(&s, emit)
	}
	return s.next, s.n, s.size, err
}

// view emits what one view of the log has of the stretch.
func (r *reader) view(s *stretch, emit func(*Delivery)) error {
	v, err := r.borrow(s.next, r.viewBytes(int64(s.last-s.next)+1))
	if errors.Is(err, store.ErrOutOfRange) {
		return r.skipLost(s)
	}
	if err != nil {
		return err
	}
	if v.Len() == 0 {
		v.Done()
		r.drop(s, s.last, Damaged)
		return nil
	}
	r.views = append(r.views, v)
	err = v.Use(func(data []byte) error { return r.batches(data, s, emit) })
	if err != nil {
		// What is remembered may be half written.
		r.id, r.known, r.unpacked = batchID{}, known{}, nil
		return fmt.Errorf("queue '%s': %w", r.part.q.Name, err)
	}
	return nil
}

// borrow reads on from an offset, unless that was done already.
func (r *reader) borrow(from message.Offset, maxBytes int) (store.View, error) {
	if e := r.fetched; e != nil {
		r.fetched = nil
		if e.from == from {
			return e.view, e.err
		}
		e.drop()
	}
	return borrow(r.part.log, from, maxBytes, r.wait)
}

// batches emits what whole batches have of the stretch.
func (r *reader) batches(data []byte, s *stretch, emit func(*Delivery)) error {
	for all := len(data); len(data) > 0 && s.more(); {
		at := all - len(data)
		var b batch.Batch
		var err error
		if b, data, err = batch.Next(data); err != nil {
			return err
		}
		base, end := message.Offset(b.BaseOffset()), message.Offset(b.LastOffset())
		if end < s.next || b.IsControl() { // of a run there is nothing else that is hidden
			continue
		}
		if base > s.next { // what lies between was damaged since it was handed out, as the store has told
			r.drop(s, min(s.last, base-1), Damaged)
		}
		switch {
		case base > s.last:
		case b.Count() == 0: // acked and thinned before a crash that lost the ack
			r.drop(s, min(s.last, end), r.part.emptied())
		case r.raw && r.asOne(b, at, s, emit):
		default:
			r.each = len(b)/int(b.Count()) + 1
			if err = r.batch(b, s, emit); err != nil && !errors.Is(err, errUnpackMemory) {
				err = r.skipBad(b, s, err)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// skipLost steps over messages that retention took while they were being handed out.
func (r *reader) skipLost(s *stretch) error {
	start, _, err := r.part.log.Bounds()
	if err != nil {
		return err
	}
	r.drop(s, min(s.last, max(start-1, s.next)), Retention)
	return nil
}

// errMissing says that a batch does not have a record that its header promises.
// The listener looks into no compressed batch before it is stored.
var errMissing = fmt.Errorf("%w: fewer than the batch's header says, or numbered otherwise", message.ErrRecord)

// skipBad steps over a batch whose records can't be read though its checksum holds,
// which only a producer can have made so. Waiting at it would stop the queue for
// ever. One whose checksum does not hold was damaged since.
func (r *reader) skipBad(b batch.Batch, s *stretch, cause error) error {
	if err := b.Check(); err != nil {
		return fmt.Errorf("batch %d: %w", b.BaseOffset(), err)
	}
	to := min(s.last, message.Offset(b.LastOffset()))
	r.part.q.vhost.b.opts.Log.Error("records can't be decoded and are left out; read them as raw batches by offset",
		"queue", r.part.q.Name, "from", s.next, "to", to, "error", cause)
	r.drop(s, to, Damaged)
	return nil
}

// gone is messages that are not delivered, and why.
type gone struct {
	first, last message.Offset
	why         Reason
}

// drop steps over the messages of the stretch up to one, which can't be delivered;
// settle ends them, a run at a time.
func (r *reader) drop(s *stretch, to message.Offset, why Reason) {
	first := s.next
	s.next = to + 1
	if n := len(r.gone); n > 0 && r.gone[n-1].why == why && r.gone[n-1].last+1 == first {
		r.gone[n-1].last = to
		return
	}
	r.gone = append(r.gone, gone{first, to, why})
}

// settle ends what a read of messages from first up to next left out and, without
// acks, what it emitted.
func (r *reader) settle(noAck bool, first, next message.Offset) error {
	list := r.gone
	r.gone = r.gone[:0]
	for _, g := range list {
		if noAck && first < g.first {
			if err := r.lease.Ack(first, g.first-1); err != nil {
				return err
			}
		}
		if _, err := r.part.retire(r.lease.member, g.first, g.last, g.why); err != nil {
			return err
		}
		first = g.last + 1
	}
	if noAck && first < next {
		return r.lease.Ack(first, next-1)
	}
	return nil
}

// sparse says whether records are missing of a batch, which compaction alone does.
func sparse(b batch.Batch) bool { return int64(b.Count()) != int64(b.LastOffsetDelta())+1 }

// emptied is why a batch of the log that was handed out has no records any more.
func (p *Partition) emptied() Reason {
	if p.q.Topic {
		return Compacted
	}
	return Acked
}

// batch emits the records of one batch that lie in the stretch, and notes how far
// it came in the batch.
func (r *reader) batch(b batch.Batch, s *stretch, emit func(*Delivery)) error {
	raw, err := r.records(b)
	if err != nil {
		return err
	}
	id := idOfBatch(b)
	r.enter(id, len(raw), s.next)
	records := message.NewRecords(raw[r.position:])
	if err := r.skip(b, &records, s.next); err != nil {
		return err
	}
	if err := r.walk(b, &records, s, emit); err != nil {
		return err
	}
	r.position = len(raw) - records.Len()
	if records.Len() == 0 {
		r.unpacked = nil // what an idle consumer must not keep
	} else {
		r.part.active().guided().note(id, mark{r.next, r.position})
	}
	return nil
}

// skip steps over the records before an offset if none is missing: their numbers are
// known without decoding then.
func (r *reader) skip(b batch.Batch, records *message.Records, to message.Offset) error {
	if sparse(b) {
		return nil
	}
	for ; r.next < to; r.next++ {
		if ok, err := records.Skip(); err != nil || !ok {
			return cmp.Or(err, errMissing)
		}
	}
	return nil
}

// walk emits the records from s.next on. All up to the batch's last were promised by
// its header.
func (r *reader) walk(b batch.Batch, records *message.Records, s *stretch, emit func(*Delivery)) error {
	base := message.Offset(b.BaseOffset())
	r.queueTTL = ttlAt(r.steps, base, r.ttlNow)
	r.d.Lease, r.d.Redelivered = r.lease, r.redelivered
	baseMs, appendTime := b.BaseTimestamp(), b.Attributes()&batch.LogAppendTime != 0
	if appendTime {
		baseMs = b.MaxTimestamp()
	}
	var rec message.Record
	var before []byte
	for s.more() {
		if r.raw {
			before = records.Rest()
		}
		more, err := records.Next(&rec)
		if err != nil {
			return fmt.Errorf("offset %d: %w", s.next, err)
		}
		if !more {
			if end := message.Offset(b.LastOffset()); s.next <= end {
				if !sparse(b) {
					return errMissing
				}
				r.drop(s, min(s.last, end), Compacted)
			}
			return nil
		}
		o := base + message.Offset(rec.OffsetDelta)
		r.next = o + 1
		if o < s.next {
			continue
		}
		if o > s.next {
			if !sparse(b) {
				return errMissing
			}
			if r.drop(s, min(s.last, o-1), Compacted); s.next < o || s.next > s.last {
				return nil
			}
		}
		ms := baseMs
		if !appendTime {
			ms += rec.TimestampDelta
		}
		if r.raw {
			r.src = origin{batch: b, record: before[:len(before)-records.Len()]}
		}
		r.deliver(&rec, o, ms)
		if (r.queueTTL >= 0 || mayExpire(r.d.Properties)) && !r.late && r.expired() {
			r.drop(s, o, Expired)
			continue
		}
		if r.returned > 0 && !r.raw {
			r.tellReturned()
		}
		emit(&r.d)
		r.took++
		if r.redelivered {
			r.flagged++
		}
		s.n++
		s.size += len(rec.Value)
		s.next++
	}
	return nil
}

// enter stands the reader in a batch before the record with an offset, as close as
// is known.
func (r *reader) enter(id batchID, rawBytes int, next message.Offset) {
	if r.id != id || r.next > next {
		r.id, r.next, r.position = id, id.base, 0
	}
	if g := r.part.active().guide.Load(); g != nil && r.next < next {
		if m := g.before(id, next); m.next > r.next {
			r.next, r.position = m.next, m.position
		}
	}
	if r.position > rawBytes {
		r.next, r.position = id.base, 0
	}
}

// records are the batch's records, unpacked if they are compressed.
func (r *reader) records(b batch.Batch) ([]byte, error) {
	if b.Codec() == message.CodecNone {
		return b.Records(), nil
	}
	id := idOfBatch(b)
	if r.unpacked == nil || r.unpackedID != id {
		u, err := r.part.unpack(b)
		if err != nil {
			return nil, err
		}
		r.unpacked, r.unpackedID = u, id
	}
	return r.unpacked.raw, nil
}

// deliver fills in the delivery for a record that came at a time.
func (r *reader) deliver(rec *message.Record, o message.Offset, ms int64) {
	d, k := &r.d, &r.known
	d.Offset, d.Body, d.TimestampMs = o, rec.Value, ms
	if !k.fits(rec) || len(rec.Key) > maxKnownBytes {
		r.examine(rec)
		return
	}
	same := string(rec.Key) == string(k.key)
	if same && d.Head == k.head {
		return // they are still those of the record before
	}
	if !same {
		*r.heads++
		k.rename(rec.Key, *r.heads)
	}
	v := rec.Headers.Raw
	d.Head, d.Key = k.head, rec.Key
	d.Exchange, d.Properties = v[k.exchangeAt:k.propsAt], v[k.propsAt:k.propsEnd]
	d.died = k.died
}

// examine fills in what a record has beside its body.
func (r *reader) examine(rec *message.Record) {
	d := &r.d
	*r.heads++
	d.Head = *r.heads
	if r.raw {
		d.Exchange, d.Key, d.Properties = nil, nil, nil
		if e, ok := rec.Envelope(); ok { // which may say when the message expires
			d.Exchange, d.Key, d.Properties, d.died = e.Exchange, rec.Key, e.Properties, e.Died
			r.known.remember(rec, &e, d.Head)
		}
		return
	}
	if e, ok := rec.Envelope(); ok {
		d.Exchange, d.Key, d.Properties, d.died = e.Exchange, rec.Key, e.Properties, e.Died
		r.known.remember(rec, &e, d.Head)
		return
	}
	partition := int32(-1)
	if r.part.q.Topic && len(r.part.q.Partitions()) > 1 {
		partition = r.part.index
	}
	at := len(r.props)
	r.props, d.Key = message.KafkaToAMQP(r.props, rec, d.TimestampMs, partition)
	d.Properties = r.props[at:]
	d.Exchange, d.died = nil, false
}

// tell takes over what is to be told with the messages of a run.
func (r *reader) tell(run *consumer.Run) {
	r.redelivered, r.returned, r.times = run.Redelivered, 0, run.Returned
	if run.Returned > 0 && r.part.q.Settings().countsDeliveries() {
		r.returned = run.Returned
	}
}

// tellReturned puts into the headers how often the message came back, as RabbitMQ's
// quorum queues do.
func (r *reader) tellReturned() {
	at := len(r.props)
	r.props = field.AppendWithHeader(r.props, r.d.Properties, "x-delivery-count", field.AppendInt(nil, int64(r.returned)))
	r.d.Properties = r.props[at:]
	*r.heads++
	r.d.Head, r.known.head = *r.heads, 0
}

// expired reports whether the message's time has passed since it came: at the head of its
// queue it is gone soon anyway, but must not be delivered before. What came while the
// consumer was free is not late for the moment that it took to be sent.
func (r *reader) expired() bool {
	ttl := lesser(r.queueTTL, expirationOf(r.d.Properties))
	if ttl < 0 || r.d.TimestampMs == message.NoTime {
		return false
	}
	if r.nowMs == 0 {
		r.nowMs = r.part.q.vhost.b.opts.Now().UnixMilli()
	}
	age := r.nowMs - r.d.TimestampMs
	if free := r.freeFrom != 0 && r.d.Offset+1 >= r.freeFrom; free && !r.redelivered && age <= ttl+transitMs {
		return false
	}
	return over(age, ttl)
}

// release ends the borrowing of what was emitted.
func (r *reader) release() {
	for i := range r.views {
		r.views[i].Done()
		r.views[i] = store.View{}
	}
	r.views = r.views[:0]
	if cap(r.props) > 64<<10 {
		r.props = nil
	}
	r.props = r.props[:0]
	r.d = Delivery{}
	if u := r.unpacked; u != nil && len(u.raw) > message.OrdinaryBytes && r.part.q.vhost.b.unpacking.scarce() {
		r.unpacked = nil
	}
}
