package broker

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// Partition is one log of a queue with its work cursor. The cursor is made when
// the first consumer, get or count needs it: a log that is only read by offset has none.
type Partition struct {
	q      *Queue
	index  int32
	serial uint64 // tells it from every other of this process
	log    store.Log

	makeCursor sync.Mutex
	cursor     atomic.Pointer[consumer.Cursor]
	expiry     atomic.Pointer[expiry] // made by the first message that expires
	inUse      atomic.Pointer[activePart]
	dirty      atomic.Bool // in Broker.dirty
	removed    atomic.Bool
}

// activePart is what a partition has from its first use on: see Partition.active. A broker may
// have very many that nobody uses, of which each byte counts, so whatever else a
// feature has to know of a partition stands here; behind a pointer made by its own
// first use, if most of those in use do without.
type activePart struct {
	notes    notes                       // of the cursor's progress
	saves    saves                       // of the rest of its state
	errands  errands                     // what has to be waited for
	unwatch  func()                      // guarded by makeCursor
	getter   Lease                       // settles what Get took; set with cursor
	unpacker atomic.Pointer[unpacker]    // made by the first reader of a compressed batch
	guide    atomic.Pointer[guide]       // made by the first reader that stops within a batch
	letters  atomic.Pointer[deadLetters] // made by the first dead letter
	limiter  atomic.Pointer[limiter]     // made by the first publish to a limited queue

	producers producers
	txns      atomic.Pointer[partTxns] // made by the first transaction of a Kafka producer

	retry *look // when messages that came back are ready again; punctual.mu guards it

	spent     atomic.Int64 // left for their delivery limit, and nobody was told yet
	spentTold int64        // when somebody was, in ms

	missed     atomic.Int64 // by a stream's consumers, and nobody was told yet
	missedTold atomic.Int64 // when somebody was, in ms
}

func openPartition(q *Queue, index int, id store.LogID, o store.LogOptions) (*Partition, error) {
	l, err := q.vhost.b.store.OpenLog(id, o)
	if err != nil {
		return nil, fmt.Errorf("open log of queue '%s': %w", q.Name, err)
	}
	return &Partition{q: q, index: int32(index), serial: q.vhost.b.serials.Add(1), log: l}, nil
}

// active is what the partition has in use, made if there is none.
func (p *Partition) active() *activePart {
	if a := p.inUse.Load(); a != nil {
		return a
	}
	p.inUse.CompareAndSwap(nil, new(activePart))
	return p.inUse.Load()
}

// guided is the guide, made if there is none.
func (a *activePart) guided() *guide {
	if g := a.guide.Load(); g != nil {
		return g
	}
	a.guide.CompareAndSwap(nil, new(guide))
	return a.guide.Load()
}

// Queue is whose partition this is.
func (p *Partition) Queue() *Queue { return p.q }

// Index numbers the partition in its queue from 0.
func (p *Partition) Index() int32 { return p.index }

// work returns the work cursor, and makes it at first use.
func (p *Partition) work() (*consumer.Cursor, error) {
	if c := p.cursor.Load(); c != nil {
		return c, nil
	}
	p.makeCursor.Lock()
	defer p.makeCursor.Unlock()
	if c := p.cursor.Load(); c != nil {
		return c, nil
	}
	if p.removed.Load() { // a cursor made now would watch the log for ever
		return nil, fail(NotFound, "no queue '%s' in vhost '%s'", p.q.Name, p.q.vhost.Name)
	}
	ctx, cancel := asking()
	defer cancel()
	st, err := p.log.LoadCursor(ctx)
	if err != nil {
		return nil, fmt.Errorf("load cursor of queue '%s': %w", p.q.Name, err)
	}
	if _, err := p.knowTxns(); err != nil {
		return nil, fmt.Errorf("open cursor of queue '%s': %w", p.q.Name, err)
	}
	src := &source{part: p, log: p.log, errands: &p.active().errands}
	if src.start, src.end, err = p.bounds(); err != nil {
		return nil, fmt.Errorf("open cursor of queue '%s': %w", p.q.Name, err)
	}
	end := src.end // which is the cursor's from here on
	c, err := consumer.New(src, consumer.State{Floor: st.Floor, Handed: st.Handed, Data: st.Data})
	if err != nil {
		// Acks that can't be read any more are forgotten: messages come twice rather than never.
		p.q.vhost.b.opts.Log.Error("a queue's cursor is damaged; messages above its floor are delivered again",
			"queue", p.q.Name, "floor", st.Floor, "error", err)
		if c, err = consumer.New(src, consumer.State{Floor: st.Floor, Handed: max(st.Handed, st.Floor)}); err != nil {
			return nil, fmt.Errorf("open cursor of queue '%s': %w", p.q.Name, err)
		}
	}
	a := p.active()
	a.getter = Lease{part: p, member: c.Getter()}
	a.unwatch = p.log.Watch(c.Notify)
	if p.q.restored && !p.q.Topic && st.Floor < end {
		p.expects(false) // it may be; nobody knows until it was empty once
	}
	p.cursor.Store(c)
	return c, nil
}

// lose forgets a cursor that another process has now. What consumers hold of it
// comes again, to them or to others; they are told to subscribe anew.
func (p *Partition) lose(c *consumer.Cursor) {
	p.makeCursor.Lock()
	mine := p.cursor.CompareAndSwap(c, nil)
	if mine {
		p.endWatch()
	}
	p.makeCursor.Unlock()
	if mine {
		p.q.vhost.b.opts.Log.Warn("a queue is worked by another process now; its consumers are cancelled", "queue", p.q.Name)
		p.q.cancelAll()
	}
}

// ready counts what waits, without making a cursor or opening a log of which that is
// known. The error is why it may be wrong: ErrNotYet when it takes a disk and may not wait.
func (p *Partition) ready(wait bool) (int64, error) {
	if p.q.Settings().kind == stream {
		return p.kept(wait)
	}
	c := p.cursor.Load()
	if c == nil {
		if f := p.log.Figures(); f.Certain && p.txns() == nil && p.expiry.Load() == nil && (f.Waiting == 0 || !p.q.Settings().limited()) {
			return f.Waiting, nil
		}
		if !wait {
			return 0, store.ErrNotYet
		}
		if start, end, err := p.bounds(); err != nil || start == end {
			return 0, err
		}
		var err error
		if c, err = p.work(); err != nil {
			return 0, err
		}
	}
	var err error
	if p.expiry.Load() != nil {
		err = p.expireIfDue(p.q.vhost.b.opts.Now().UnixMilli(), wait)
	}
	if e := p.trimNow(wait); err == nil {
		err = e
	}
	n, exact := int64(0), true
	if wait {
		n = c.Ready()
	} else if n, exact = c.ReadyNow(); !exact {
		err = store.ErrNotYet
	}
	p.leftWithStart(c)
	return n, err
}

// kept counts the messages of a stream.
func (p *Partition) kept(wait bool) (int64, error) {
	if f := p.log.Figures(); f.Certain {
		return f.Waiting, nil
	}
	if !wait {
		return 0, store.ErrNotYet
	}
	start, end, err := p.bounds()
	if err != nil {
		return 0, err
	}
	return p.log.Records(start, end)
}

// unwatchLog lets the cursor hear of the log no more; the queue is gone.
func (p *Partition) unwatchLog() {
	p.makeCursor.Lock()
	defer p.makeCursor.Unlock()
	p.endWatch()
}

// endWatch needs makeCursor held.
func (p *Partition) endWatch() {
	if a := p.inUse.Load(); a != nil && a.unwatch != nil {
		a.unwatch()
		a.unwatch = nil
	}
}

// source is what a cursor sees of a log. Next and Records read it; a cursor asks
// them without its mutex, and Bounds under it.
type source struct {
	part       *Partition
	log        store.Log
	errands    *errands
	start, end message.Offset // as last known
}

// headBytes is how much of a log is looked at to find the next run. Only batch
// headers in it are touched.
const headBytes = 256 << 10

// Bounds are those of the log, or the last known ones: who reads there gets the error.
func (s *source) Bounds() (start, end message.Offset) {
	if start, end, err := s.part.bounds(); err == nil {
		s.start, s.end = start, end
	}
	return s.start, s.end
}

// Later has ask called as an errand.
func (s *source) Later(ask func()) {
	s.errands.send(nil, func(*errand) error {
		ask()
		return nil
	})
}

// borrow reads what the log has from an offset on: ErrNotYet when that would have to be
// waited for, and may not be.
func borrow(l store.Log, from message.Offset, maxBytes int, wait bool) (store.View, error) {
	if !wait {
		return l.ReadNow(from, maxBytes)
	}
	return await(l, from, maxBytes)
}

// Records is exact also when from lies in a batch from which records were taken
// out: those are counted one by one.
func (s *source) Records(from, to message.Offset, wait bool) (n int64, exact bool) {
	if t := s.part.txns(); t != nil {
		return s.committed(t, from, to, wait)
	}
	v, err := borrow(s.log, from, 1, wait)
	if err != nil {
		return s.rest(from, to, wait, err)
	}
	defer v.Done()
	err = v.Use(func(data []byte) error { // the reader of the data gets the error
		var end message.Offset
		if n, end = recordsInside(data, from, to); end > from {
			from = end
		}
		return nil
	})
	rest, exact := s.rest(from, to, wait, err)
	return n + rest, exact
}

// committed is Records where there may be some that are not to be seen: it looks at the headers of all batches.
func (s *source) committed(t *partTxns, from, to message.Offset, wait bool) (n int64, exact bool) {
	for from < to {
		v, err := borrow(s.log, from, headBytes, wait)
		if err != nil || v.Len() == 0 {
			if err == nil {
				v.Done()
			}
			rest, _ := s.rest(from, to, wait, err)
			return n + rest, wait
		}
		err = v.Use(func(data []byte) error {
			for len(data) > 0 && from < to {
				b, rest, err := batch.Next(data)
				if err != nil {
					return err
				}
				data = rest
				base, end := message.Offset(b.BaseOffset()), message.Offset(b.LastOffset())+1
				if overlap := min(end, to) - max(base, from); overlap > 0 && !t.hides(b) {
					n += min(int64(overlap), int64(b.Count()))
				}
				from = max(from, end)
			}
			return nil
		})
		v.Done()
		if err != nil {
			return n, wait
		}
	}
	return n, true
}

// rest counts the records in a range that begins with a batch; with an error what can be read.
func (s *source) rest(from, to message.Offset, wait bool, err error) (n int64, exact bool) {
	if !wait {
		n, exact = s.log.RecordsNow(from, to)
		return n, exact && err == nil
	}
	n, _ = s.log.Records(from, to)
	return n, true
}

// recordsInside counts the records from an offset on that lies within the first
// batch of data, if that one has gaps and ends before to; end is where it ends, and
// 0 if there is nothing to be counted so.
func recordsInside(data []byte, from, to message.Offset) (n int64, end message.Offset) {
	b, _, err := batch.Next(data)
	if err != nil {
		return 0, 0
	}
	end = message.Offset(b.LastOffset()) + 1
	if message.Offset(b.BaseOffset()) >= from || end > to || int64(b.Count()) == int64(b.LastOffsetDelta())+1 {
		return 0, 0
	}
	for at := from; at < end; {
		first, last, ok, err := runInside(b, at)
		if err != nil || !ok {
			break
		}
		n += int64(last-first) + 1
		at = last + 1
	}
	return n, end
}

// Next finds the first run of consecutive messages at or after from.
func (s *source) Next(from message.Offset, wait bool) (first, last message.Offset, ok bool, err error) {
	for {
		if from >= s.part.committedEnd(0, undecided) {
			return 0, 0, false, nil
		}
		v, err := borrow(s.log, from, headBytes, wait)
		if !wait && errors.Is(err, store.ErrNotYet) {
			return 0, 0, false, consumer.ErrWait
		}
		if errors.Is(err, store.ErrOutOfRange) {
			start, _, err := s.log.Bounds()
			if err != nil {
				return 0, 0, false, err
			}
			if from < start {
				from = start
				continue
			}
			return 0, 0, false, nil
		}
		if err != nil {
			return 0, 0, false, err
		}
		if v.Len() == 0 {
			v.Done()
			return 0, 0, false, nil
		}
		t, end := s.part.txns(), s.part.committedEnd(0, undecided) // as they are now: a transaction may have begun in what was read
		var past message.Offset
		err = v.Use(func(data []byte) (err error) {
			first, last, ok, past, err = nextRun(data, from, end, t)
			return err
		})
		v.Done()
		if ok || err != nil {
			return first, last, ok, err
		}
		from = past
	}
}

// nextRun looks for a run in whole batches that begin before stop, among those that t does not hide; past is where to go
// on when there is none.
func nextRun(data []byte, from, stop message.Offset, t *partTxns) (first, last message.Offset, ok bool, past message.Offset, err error) {
	past = from
	for len(data) > 0 {
		b, rest, err := batch.Next(data)
		if err != nil {
			return 0, 0, false, past, err
		}
		data = rest
		base, end := message.Offset(b.BaseOffset()), message.Offset(b.LastOffset())
		if base >= stop {
			past = stop
			break
		}
		if end < from || t.hides(b) {
			if ok {
				break
			}
			past = max(past, end+1)
			continue
		}
		dense := int64(b.Count()) == int64(b.LastOffsetDelta())+1
		switch {
		case !dense && ok:
			return first, last, true, past, nil
		case !dense:
			first, last, ok, err = runInside(b, from)
			if ok || err != nil {
				return first, last, ok, past, err
			}
			past = end + 1
		case !ok:
			first, last, ok = max(base, from), end, true
		case base != last+1:
			return first, last, true, past, nil
		default:
			last = end
		}
	}
	return first, last, ok, past, nil
}

// runInside finds a run in a batch from which records were taken out.
func runInside(b batch.Batch, from message.Offset) (first, last message.Offset, ok bool, err error) {
	raw := b.Records()
	if b.Codec() != message.CodecNone {
		if raw, err = message.Unpack(nil, b.Codec(), raw, message.MaxUnpackedBytes); err != nil {
			return 0, 0, false, err
		}
	}
	r := message.NewRecords(raw)
	var rec message.Record
	for {
		more, err := r.Next(&rec)
		if err != nil || !more {
			return first, last, ok, err
		}
		o := message.Offset(b.BaseOffset() + int64(rec.OffsetDelta))
		switch {
		case o < from:
		case !ok:
			first, last, ok = o, o, true
		case o == last+1:
			last = o
		default:
			return first, last, true, nil
		}
	}
}
