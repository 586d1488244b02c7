package broker

import (
	"errors"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// readyBytes counts the bodies of what is ready in a log, for a queue with a limit in bytes.
// It keeps a sum for every page of 4,096 offsets in which something is ready: one of what
// was never dealt, to which is added what came, and one of what came back, which is counted
// anew where it changed. So nothing is read that may be gone, and memory does not grow with
// the messages. The limiter's turn guards it.
//
//	   came back       cursor                 end
//	──▓──▓▓───▓────────┼──────────────────────┼─ ─ came since
//	  pages counted    page of the cursor     └ added
//	  anew, if changed counted anew, or less what was dealt
type readyBytes struct {
	known bool
	next  message.Offset // of the cursor, as of the last count
	end   message.Offset // up to where was counted
	fresh pageSums
	back  pageSums
	now   consumer.Readiness
}

// pageSums are sums by page.
type pageSums struct {
	sums  map[int64]int64
	total int64
}

func (s *pageSums) add(page, n int64) {
	s.sums[page] += n
	s.total += n
}

func (s *pageSums) drop(page int64) {
	s.total -= s.sums[page]
	delete(s.sums, page)
}

// subtractAtOnce is how many dealt messages are read to take them off, rather than what is left.
const subtractAtOnce = 512

// count is how many bytes are ready.
func (r *readyBytes) count(p *Partition, c *consumer.Cursor) (int64, error) {
	if !r.known {
		c.TrackReadiness()
	}
	c.Readiness(&r.now)
	if !r.known {
		r.next, r.end = r.now.Next, r.now.Next
		r.fresh, r.back = pageSums{sums: map[int64]int64{}}, pageSums{sums: map[int64]int64{}}
	}
	err := r.dealt(p)
	if err == nil {
		err = r.came(p)
	}
	if err == nil {
		err = r.returned(p)
	}
	r.known = err == nil // or it begins anew
	return r.fresh.total + r.back.total, err
}

// dealt takes off what lies between the cursor then and now.
func (r *readyBytes) dealt(p *Partition) error {
	from, to := r.next, r.now.Next
	r.next = to
	if to == from {
		return nil
	}
	first, last := consumer.PageOf(from), consumer.PageOf(to)
	if n := int64(to - from); first == last && to <= r.end && n <= subtractAtOnce {
		var sum, found int64
		err := p.bodies(from, to-1, func(_ message.Offset, size int64) {
			sum += size
			found++
		})
		if err == nil && found == n { // or some of them are gone
			r.fresh.add(first, -sum)
			return nil
		}
	}
	for page := first; page <= last; page++ {
		r.fresh.drop(page)
	}
	if to >= r.end {
		r.end = to
		return nil
	}
	return p.bodies(to, min(r.end, consumer.PageStart(last+1))-1, func(_ message.Offset, size int64) { r.fresh.add(last, size) })
}

// came adds what was appended.
func (r *readyBytes) came(p *Partition) error {
	if r.now.End <= r.end {
		return nil
	}
	err := p.bodies(r.end, r.now.End-1, func(o message.Offset, size int64) { r.fresh.add(consumer.PageOf(o), size) })
	r.end = r.now.End
	return err
}

// returned counts the pages anew in which something came back, or went again.
func (r *readyBytes) returned(p *Partition) error {
	for _, page := range r.now.Pages {
		r.back.drop(page)
	}
	for _, run := range r.now.Back {
		page := consumer.PageOf(run.First)
		if err := p.bodies(run.First, run.Last, func(_ message.Offset, size int64) { r.back.add(page, size) }); err != nil {
			return err
		}
	}
	return nil
}

// first is how many of the first messages have together that many bytes, as far as they
// stand in one run and are no more than limit.
func (r *readyBytes) first(p *Partition, c *consumer.Cursor, bytes, limit int64) (n int64, err error) {
	run, ok := c.Head(limit)
	if !ok {
		return 0, c.Err()
	}
	err = p.bodies(run.First, run.Last, func(_ message.Offset, size int64) {
		if bytes > 0 {
			bytes -= size
			n++
		}
	})
	if bytes > 0 {
		n = run.Len() // there may be some that can't be read
	}
	return n, err
}

// bodies calls fn with the size of each message's body in [first, last].
func (p *Partition) bodies(first, last message.Offset, fn func(message.Offset, int64)) error {
	return p.records(first, last, func(o message.Offset, _ int64, rec *message.Record) { fn(o, int64(len(rec.Value))) })
}

// records calls fn with each record in [first, last], and the time at which it came, as far
// as they can be decoded.
func (p *Partition) records(first, last message.Offset, fn func(o message.Offset, ms int64, rec *message.Record)) error {
	for first <= last {
		v, err := await(p.log, first, 256<<10)
		if errors.Is(err, store.ErrOutOfRange) {
			return nil // they are gone
		}
		if err != nil {
			return err
		}
		next := first
		err = v.Use(func(data []byte) error {
			for len(data) > 0 && next <= last {
				b, rest, err := batch.Next(data)
				if err != nil {
					return err
				}
				data = rest
				if err := p.recordsOf(b, first, last, fn); err != nil {
					return err
				}
				next = message.Offset(b.LastOffset()) + 1
			}
			return nil
		})
		v.Done()
		if err != nil || next == first {
			return err
		}
		first = next
	}
	return nil
}

// recordsOf is records for one batch.
func (p *Partition) recordsOf(b batch.Batch, first, last message.Offset, fn func(message.Offset, int64, *message.Record)) error {
	if p.txns().hides(b) || message.Offset(b.LastOffset()) < first {
		return nil
	}
	raw := b.Records()
	if b.Codec() != message.CodecNone {
		u, err := p.unpack(b)
		if errors.Is(err, errUnpackMemory) {
			return err
		}
		if err != nil {
			return nil
		}
		raw = u.raw
	}
	baseMs, appendTime := b.BaseTimestamp(), b.Attributes()&batch.LogAppendTime != 0
	if appendTime {
		baseMs = b.MaxTimestamp()
	}
	records := message.NewRecords(raw)
	var rec message.Record
	for {
		more, err := records.Next(&rec)
		if err != nil || !more {
			return nil
		}
		ms := baseMs
		if !appendTime {
			ms += rec.TimestampDelta
		}
		o := message.Offset(b.BaseOffset() + int64(rec.OffsetDelta))
		if o > last {
			return nil
		}
		if o >= first {
			fn(o, ms, &rec)
		}
	}
}
