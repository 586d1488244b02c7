package broker

import (
	"cmp"
	"slices"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// A consumer that reads whole batches and takes messages all the same, of Kafka's share groups, is a subscription like others:
// it is on one partition, and takes part in turns only while it asks.

// origin is where a record that is emitted comes from.
type origin struct {
	batch  batch.Batch
	record []byte // as it stands in the batch's records, unpacked; nil: all of the batch is emitted, as it is stored,
	view   int    // in this one of the reader's views,
	at     int    // from this byte on
}

// Acquired is what a consumer was handed at a time: a run of messages that were delivered as often.
type Acquired struct {
	Lease       *Lease // settles them
	First, Last message.Offset
	Deliveries  int32 // how often they were, this time included
}

// Acquisition is what Acquire gathers: whole batches, numbered as they are stored, with nothing in them that was not acquired. Those that
// the consumer gets all of are borrowed from the log until Reset. The zero value is ready, and its memory can be used again.
type Acquisition struct {
	// Runs are the messages, in the order of the batches.
	Runs []Acquired
	// Room, if there is one, is where the memory comes from for batches that have to be made: of so many bytes, all told.
	Room func() []byte

	bytes  int // of all batches
	pieces []piece
	views  []borrowedView
	own    []byte       // batches that were made
	cut    int          // what of them is in no piece yet begins here
	open   int          // where the last batch begins,
	count  int32        // how many records of it there are; 0: none is open
	of     int32        // of how many
	base   int64        // its base offset
	header batch.Header // and the rest, but for the count
	whole  bool         // it is all of it, as it is stored
}

// piece is batches that stand behind each other in memory: own[from:to], or bytes of a view.
type piece struct {
	view     int // -1: own
	from, to int
}

type borrowedView struct {
	part *Partition
	store.View
}

// Reset forgets everything, and ends the borrowing. It returns the memory of Room, if it was asked for any.
func (a *Acquisition) Reset() (room []byte) {
	for i := range a.views {
		a.views[i].Done()
	}
	clear(a.views)
	room = a.own
	*a = Acquisition{Runs: a.Runs[:0], Room: a.Room, pieces: a.pieces[:0], views: a.views[:0]}
	return room
}

// Bytes is how many bytes of batches there are.
func (a *Acquisition) Bytes() int { return a.bytes }

// Pieces is in how many pieces they stand.
func (a *Acquisition) Pieces() int { return len(a.pieces) }

// Piece is one of them, for a system call and nothing else: it may lie in a file that can't be read any more, which Check explains
// when the call fails with EFAULT. It is good until Acquire or Reset.
func (a *Acquisition) Piece(i int) []byte {
	p := a.pieces[i]
	if p.view < 0 {
		return a.own[p.from:p.to:p.to]
	}
	return a.views[p.view].Raw()[p.from:p.to:p.to]
}

// Check looks whether all bytes can be read. If not, it says what has failed.
func (a *Acquisition) Check() error {
	for _, v := range a.views {
		if err := v.Check(); err != nil {
			return v.part.unreadable(err)
		}
	}
	return nil
}

// SubscribePartition is Subscribe for one partition, for a consumer that calls Acquire. It is paused until then.
func (s *Session) SubscribePartition(p *Partition, wake func(), cancelled func()) (*Subscription, error) {
	if kind := p.q.Settings().kind; kind == stream {
		return nil, fail(Precondition, "queue '%s' is a stream: its messages are nobody's to take", p.q.Name)
	}
	sub, err := s.Subscribe(p.q.Name, SubscribeOptions{only: p, Wake: wake, Cancelled: cancelled})
	if err != nil {
		return nil, err
	}
	sub.Pause()
	return sub, nil
}

// Acquire takes part in turns, from now on until Pause, and appends up to max messages, and about maxBytes, to into: fewer also where
// the next batch would have to be cut for it. What was borrowed is into's.
func (s *Subscription) Acquire(max, maxBytes int, into *Acquisition) (n int, err error) {
	for _, pc := range s.partitions {
		pc.reader.took, pc.reader.full = 0, false
		pc.member.Resume()
	}
	n, err = s.Pull(max, maxBytes, func(d *Delivery) { into.add(s.readerOf(d.Lease), d) })
	into.seal()
	into.cutPiece()
	for _, pc := range s.partitions {
		for _, v := range pc.reader.views {
			into.views = append(into.views, borrowedView{pc.part, v})
		}
		clear(pc.reader.views)
		pc.reader.views = pc.reader.views[:0]
	}
	s.Release()
	return n, err
}

// gather takes on until there is nothing, or so much, and brings all of it into the order of offsets: what others dealt to the
// consumer and what came back is not in that of what is new.
func (pc *partitionConsumer) gather(max int64) {
	took := int64(0)
	for at := 0; ; {
		for ; at < len(pc.runs); at++ {
			took += pc.runs[at].Len()
		}
		if pc.runs = pc.member.Take(int(max-took), pc.runs); len(pc.runs) == at {
			break
		}
	}
	slices.SortFunc(pc.runs, func(a, b consumer.Run) int { return cmp.Compare(a.First, b.First) })
	if pc.reader.cut = -1; took >= max && len(pc.runs) > 0 {
		pc.reader.cut = pc.runs[len(pc.runs)-1].Last
	}
}

// Pause ends taking part in turns: what was not handed out yet goes to others, nothing is dealt to the consumer, and nothing
// wakes it.
func (s *Subscription) Pause() {
	for _, pc := range s.partitions {
		pc.dropErrands()
		pc.giveBack()
		pc.member.Pause()
	}
}

func (s *Subscription) readerOf(l *Lease) *reader {
	for _, pc := range s.partitions {
		if &pc.Lease == l {
			return &pc.reader
		}
	}
	return nil
}

// asOne emits a batch as it is stored, where the consumer gets all of it and nothing that its records say decides whether it does. done
// is false where they have to be looked at. What does not fit whole behind others is left where it is.
func (r *reader) asOne(b batch.Batch, at int, s *stretch, emit func(*Delivery)) (done bool) {
	if base := message.Offset(b.BaseOffset()); base < s.next || sparse(b) || r.ttlNow >= 0 || r.part.expiry.Load() != nil || r.late {
		return false
	}
	last := message.Offset(b.LastOffset())
	switch {
	case len(b) > s.maxBytes-s.size, last > s.last && s.last == r.cut:
		if r.took == 0 {
			return false
		}
		r.full, s.maxBytes = true, s.size
		return true
	case last > s.last || enveloped(b):
		return false
	}
	n := int(b.Count())
	r.src = origin{batch: b, view: len(r.views) - 1, at: at}
	r.d.Lease, r.d.Redelivered, r.d.Offset = r.lease, r.redelivered, last
	emit(&r.d)
	if r.redelivered {
		r.flagged += uint64(n)
	}
	r.took += n
	s.n += n
	s.size += len(b)
	s.next = last + 1
	return true
}

// enveloped says whether a batch's records are messages of publishers of other protocols, which may say when they expire: by the first of
// them, since a batch comes from one publisher. What is not a record is for who looks at all.
func enveloped(b batch.Batch) bool {
	if b.Codec() != message.CodecNone {
		return false // nobody compresses them
	}
	records := message.NewRecords(b.Records())
	var rec message.Record
	if ok, err := records.Next(&rec); err != nil || !ok {
		return true
	}
	_, ok := rec.Envelope()
	return ok
}

// add appends a record, or all of a batch. The bytes may turn out to be unreadable while they are copied: then nothing was added.
func (a *Acquisition) add(r *reader, d *Delivery) {
	if r.src.record == nil {
		a.addBatch(r, d)
		return
	}
	b := r.src.batch
	if a.count > 0 && a.base != b.BaseOffset() {
		a.seal()
	}
	if a.own == nil && a.Room != nil {
		a.own = a.Room()
	}
	dst, fresh := a.own, a.count == 0
	open, of := a.open, a.of
	if fresh {
		open, of = len(dst), b.Count()
		dst = append(dst, b[:batch.HeaderBytes]...)
	}
	dst = append(dst, r.src.record...)
	whole := a.count+1 == of
	if whole && b.Codec() != message.CodecNone {
		all := append(dst, b...)
		dst = append(all[:open], all[len(dst):]...)
	}
	if fresh {
		a.header = batch.Header{Attributes: b.Attributes() &^ batch.CodecMask, BaseTimestamp: b.BaseTimestamp(),
			MaxTimestamp: b.MaxTimestamp(), ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence()}
	}
	// What could fail is behind us: before, only the end of the batch before was noted.
	a.own, a.open, a.base, a.of = dst, open, b.BaseOffset(), of
	a.whole = whole // its own header stands before it, checksum and all
	a.count++
	a.header.LastOffsetDelta = int32(int64(d.Offset) - a.base)
	a.ran(r, d.Lease, d.Offset, d.Offset)
}

// addBatch appends a batch as it is stored, without a copy.
func (a *Acquisition) addBatch(r *reader, d *Delivery) {
	first, n := message.Offset(r.src.batch.BaseOffset()), len(r.src.batch) // it can be read
	a.seal()
	a.cutPiece()
	view, from := len(a.views)+r.src.view, r.src.at
	if k := len(a.pieces); k > 0 && a.pieces[k-1].view == view && a.pieces[k-1].to == from {
		a.pieces[k-1].to += n
	} else {
		a.pieces = append(a.pieces, piece{view, from, from + n})
	}
	a.bytes += n
	a.ran(r, d.Lease, first, d.Offset)
}

// ran notes that messages were added.
func (a *Acquisition) ran(r *reader, l *Lease, first, last message.Offset) {
	deliveries := r.times + 1
	if n := len(a.Runs); n > 0 && a.Runs[n-1].Last+1 == first && a.Runs[n-1].Deliveries == deliveries && a.Runs[n-1].Lease == l {
		a.Runs[n-1].Last = last
		return
	}
	a.Runs = append(a.Runs, Acquired{l, first, last, deliveries})
}

// seal ends the batch that is gathered.
func (a *Acquisition) seal() {
	if a.count > 0 && !a.whole {
		a.header.Count = a.count
		b := batch.Batch(a.own[a.open:])
		b.Seal(a.header)
		b.SetBaseOffset(a.base)
	}
	a.count, a.whole = 0, false
}

// cutPiece makes a piece of what was made since the last one.
func (a *Acquisition) cutPiece() {
	if a.cut < len(a.own) {
		a.pieces = append(a.pieces, piece{-1, a.cut, len(a.own)})
		a.bytes += len(a.own) - a.cut
		a.cut = len(a.own)
	}
}

// Release gives the messages in [first, last] back to whoever comes, but for those that were delivered limit times: these leave
// the queue, as when they come back too often for it. A limit of the queue's own takes the place of this one.
func (l *Lease) Release(first, last message.Offset, limit int) error {
	if s := l.part.q.Settings(); s.DeliveryLimit >= 0 || limit <= 0 || l.part.removed.Load() {
		return l.giveBack(first, last, false)
	}
	for _, spent := range l.member.Cursor().Spent(first, last, limit-1, nil) {
		if err := l.requeue(first, spent.First-1, false); err != nil {
			return err
		}
		if _, err := l.part.retire(l.member, spent.First, spent.Last, DeliveryLimit); err != nil {
			return err
		}
		first = spent.Last + 1
	}
	return l.requeue(first, last, false)
}
