package broker

import (
	"errors"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// What stands behind an open transaction of a Kafka producer is not ready, and nobody knows how much of it ever will be. It
// is held against a limit all the same, or a queue would grow for as long as the transaction is open:
//
//	reject-publish  it takes room as what is ready does
//	drop-head       nothing of it can be dropped, and for it nothing that is ready is, since it may be aborted. So that
//	                one transaction can be larger than the limit, it may be undecidedMessages and undecidedBytes or the
//	                limit, whichever is more; what is published beyond that is refused until the transaction has ended
//
// Once that is decided, the limit is held against what was committed.
const (
	undecidedMessages = 1 << 20
	undecidedBytes    = 256 << 20 // as they are stored
)

// heldBytes are the bytes of a log's batches in [from, to).
type heldBytes struct {
	from, to message.Offset
	bytes    int64
}

// undecided is what stands behind open transactions, in messages, and in bytes where these are limited. The turn is the caller's.
func (l *limiter) undecided(p *Partition, s *Settings) (messages, bytes int64, err error) {
	for _, part := range p.q.inTurn() {
		t := part.txns()
		if t == nil || t.stable.Load() == undecided {
			continue
		}
		start, end, err := part.log.Bounds()
		if err != nil {
			return 0, 0, err
		}
		stable := t.committedEnd(start, end)
		n, err := part.log.Records(stable, end)
		if err != nil {
			return 0, 0, err
		}
		messages += n
		if s.MaxLengthBytes == noLimit {
			continue
		}
		for len(l.held) <= int(part.index) {
			l.held = append(l.held, heldBytes{})
		}
		h := &l.held[part.index]
		if err := h.count(part, stable, end); err != nil {
			return 0, 0, err
		}
		bytes += h.bytes
	}
	return messages, bytes, nil
}

// count makes them those in another range, and reads what is new in it and what is not in it any more.
func (h *heldBytes) count(p *Partition, from, to message.Offset) error {
	if from < h.from || from > h.to || to < h.to {
		*h = heldBytes{from: from, to: from}
	}
	gone, err := p.storedBytes(h.from, from)
	if err == nil {
		var came int64
		came, err = p.storedBytes(h.to, to)
		*h = heldBytes{from, to, max(h.bytes-gone, 0) + came}
	}
	if err != nil {
		*h = heldBytes{}
	}
	return err
}

// storedBytes is the sum of the batches in [from, to).
func (p *Partition) storedBytes(from, to message.Offset) (n int64, err error) {
	for from < to {
		v, err := await(p.log, from, 1<<20)
		if errors.Is(err, store.ErrOutOfRange) {
			return n, nil // they are gone
		}
		if err != nil {
			return 0, err
		}
		next := from
		err = v.Use(func(data []byte) error {
			for len(data) > 0 && next < to {
				b, rest, err := batch.Next(data)
				if err != nil {
					return err
				}
				n += int64(len(b))
				data, next = rest, message.Offset(b.LastOffset())+1
			}
			return nil
		})
		v.Done()
		if err != nil || next == from {
			return n, err
		}
		from = next
	}
	return n, nil
}

// heldUp says whether a queue that drops its oldest messages can't take more, since too much is undecided, and tells of it. The turn is
// the caller's.
func (l *limiter) heldUp(p *Partition, s *Settings) (bool, error) {
	if !s.limited() || s.Overflow != DropHead {
		return false, nil
	}
	messages, bytes, err := l.undecided(p, s)
	b := p.q.vhost.b
	if err != nil || messages <= max(s.MaxLength, undecidedMessages) && bytes <= max(s.MaxLengthBytes, undecidedBytes) {
		return false, err
	}
	if now := b.opts.Now(); now.Sub(l.heldTold) >= refusedEvery {
		l.heldTold = now
		b.opts.Log.Warn("a queue at its limit refuses what is published: more than the limit waits for the end of a transaction, and can't be dropped before",
			"queue", p.q.Name, "vhost", p.q.vhost.Name, "messages", messages)
	}
	return true, nil
}
