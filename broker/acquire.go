package broker

import (
	"cmp"
	"slices"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
)

// A consumer that reads whole batches and takes messages all the same, of Kafka's share groups, is a subscription like others:
// it is on one partition, and takes part in turns only while it asks.

// origin is where a record that is emitted comes from.
type origin struct {
	batch  batch.Batch
	record []byte // as it stands in the batch's records, unpacked
}

// Acquired is what a consumer was handed at a time: a run of messages that were delivered as often.
type Acquired struct {
	Lease       *Lease // settles them
	First, Last message.Offset
	Deliveries  int32 // how often they were, this time included
}

// Acquisition is what Acquire gathers. Its memory can be used again.
type Acquisition struct {
	Batches []byte // whole batches, numbered as they are stored, with nothing in them that was not acquired
	Runs    []Acquired

	open   int          // where the last batch begins,
	count  int32        // how many records of it there are; 0: none is open
	of     int32        // of how many
	base   int64        // its base offset
	header batch.Header // and the rest, but for the count
	whole  bool         // it is all of it, as it is stored
}

// Reset forgets everything.
func (a *Acquisition) Reset() { *a = Acquisition{Batches: a.Batches[:0], Runs: a.Runs[:0]} }

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

// Acquire takes part in turns, from now on until Pause, and appends up to max messages, and about maxBytes, to into. Fewer means
// what it means for Pull; nothing is borrowed.
func (s *Subscription) Acquire(max, maxBytes int, into *Acquisition) (n int, err error) {
	for _, pc := range s.partitions {
		pc.member.Resume()
	}
	n, err = s.Pull(max, maxBytes, func(d *Delivery) { into.add(s.readerOf(d.Lease), d) })
	s.Release()
	into.seal()
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

// add appends a record. The bytes may turn out to be unreadable while they are copied: then nothing was added.
func (a *Acquisition) add(r *reader, d *Delivery) {
	b := r.src.batch
	if a.count > 0 && a.base != b.BaseOffset() {
		a.seal()
	}
	dst, fresh := a.Batches, a.count == 0
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
	a.Batches, a.open, a.base, a.of = dst, open, b.BaseOffset(), of
	a.whole = whole // its own header stands before it, checksum and all
	a.count++
	a.header.LastOffsetDelta = int32(int64(d.Offset) - a.base)
	deliveries := r.times + 1
	if n := len(a.Runs); n > 0 && a.Runs[n-1].Last+1 == d.Offset && a.Runs[n-1].Deliveries == deliveries && a.Runs[n-1].Lease == d.Lease {
		a.Runs[n-1].Last = d.Offset
		return
	}
	a.Runs = append(a.Runs, Acquired{d.Lease, d.Offset, d.Offset, deliveries})
}

// seal ends the batch that is gathered.
func (a *Acquisition) seal() {
	if a.count > 0 && !a.whole {
		a.header.Count = a.count
		b := batch.Batch(a.Batches[a.open:])
		b.Seal(a.header)
		b.SetBaseOffset(a.base)
	}
	a.count, a.whole = 0, false
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
