package broker

import (
	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
)

// A redrive sends dead letters back to the queue in which they died first, with the exchange and the routing key that they had there. Each is
// on hold while it is copied, so that no consumer gets it meanwhile, and leaves when the copy is committed; what could not be copied
// is ready again, in its place.
//
//	ready ── HoldOnly ──► on hold ──► copy ──► commit ──► leaves
//	  ▲                                 │ refused, no queue, error
//	  └──────────────────────────────── ┘

// heldLetter is a message on hold.
type heldLetter struct {
	cursor *consumer.Cursor
	part   *Partition
	offset message.Offset
	to     *Queue // that gets the copy; nil: it went to an exchange
}

const (
	headerRedrivenFrom   = "x-redriven-from"
	headerRedrivenReason = "x-redriven-reason"
	headerRedrivenCount  = "x-redriven-count"
)

// redrive copies one message.
func (w *worker) redrive(part *Partition, d *Delivery) error {
	state := w.states(d.Offset)
	if state == StateAcked {
		return nil // it is not in the queue any more
	}
	first, _ := message.DeathsOf(d.Properties, d.died)
	w.delta.Matched++
	w.count(first)
	switch {
	case state != StateReady:
		w.delta.Skipped[SkippedHeld]++
		return nil
	case first.Queue == nil && w.spec.Target == nil:
		w.delta.Skipped[SkippedNoOrigin]++
		return nil
	}
	to, err := w.origin(first)
	switch {
	case KindOf(err) == NotFound && w.spec.Target == nil, KindOf(err) == Locked:
		w.delta.Skipped[SkippedNoQueue]++
		return nil
	case err != nil:
		return err
	}
	if w.spec.DryRun {
		w.delta.Bytes += int64(len(d.Body))
		w.n++
		return nil
	}
	c := part.cursor.Load()
	if c == nil || !c.HoldOnly(d.Offset) {
		w.delta.Skipped[SkippedHeld]++
		return nil
	}
	letter := heldLetter{c, part, d.Offset, to}
	w.held = append(w.held, letter)
	in := w.letter(d, first)
	routed, err := w.publish(to, &in)
	if err == nil && routed {
		w.delta.Bytes += int64(len(d.Body))
		w.n++
		return nil
	}
	w.held = w.held[:len(w.held)-1]
	c.Unhold(d.Offset, d.Offset)
	switch {
	case err == nil:
		w.delta.Unroutable++
		return nil
	case KindOf(err) == TooLarge:
		w.delta.Skipped[SkippedRefused]++
		return nil
	}
	return err
}

// count counts why and where a message that matches died.
func (w *worker) count(first message.Origin) {
	if first.Queue != nil {
		w.delta.Reasons[string(first.Reason)]++
		w.delta.Origins[string(first.Queue)]++
	}
}

// origin is the queue that a message goes to; nil where it goes to an exchange.
func (w *worker) origin(first message.Origin) (*Queue, error) {
	switch t := w.spec.Target; {
	case t == nil:
		return w.targetQueue(string(first.Queue))
	case t.Queue != nil:
		return w.targetQueue(*t.Queue)
	}
	return nil, nil
}

// letter is the copy.
func (w *worker) letter(d *Delivery, first message.Origin) Inbound {
	times := int64(1)
	var p field.Properties
	if p.Parse(d.Properties) == nil {
		if f, ok := p.Headers.Get(headerRedrivenCount); ok {
			if n, ok := f.Int(); ok && n > 0 && n < 1<<31 {
				times = n + 1
			}
		}
	}
	h := field.AppendTableString(w.headers[:0], headerRedrivenFrom, w.q.Name)
	if first.Reason != nil {
		h = field.AppendTableString(h, headerRedrivenReason, string(first.Reason))
	}
	w.headers = field.AppendTableInt(h, headerRedrivenCount, times)
	w.props = message.AppendWithoutDeaths(w.props[:0], d.Properties, w.headers, w.spec.KeepDeaths)
	in := Inbound{Exchange: d.Exchange, Key: d.Key, Properties: w.props, Body: d.Body, Died: d.died && w.spec.KeepDeaths, Ref: uint64(d.Offset)}
	if first.Queue != nil {
		in.Exchange = first.Exchange
		if first.Key != nil {
			in.Key = first.Key
		}
	}
	if t := w.spec.Target; t != nil && t.Exchange != nil {
		in.Exchange = []byte(*t.Exchange)
		if t.Key != nil {
			in.Key = []byte(*t.Key)
		}
	}
	return in
}

// letGo has what was copied leave, but for what was refused, and for copies that went with their queue.
func (w *worker) letGo() {
	for i, next := 0, 0; i < len(w.held); i++ {
		h := w.held[i]
		for next < len(w.refused) && w.refused[next] < uint64(h.offset) {
			next++
		}
		if next < len(w.refused) && w.refused[next] == uint64(h.offset) {
			h.cursor.Unhold(h.offset, h.offset)
			continue
		}
		if h.to != nil && h.to.Deleted() {
			h.cursor.Unhold(h.offset, h.offset)
			w.delta.Copied--
			w.delta.Skipped[SkippedNoQueue]++
			continue
		}
		d := departure{part: h.part, cursor: h.cursor, why: Redriven, runs: []consumer.Run{{First: h.offset, Last: h.offset}}}
		d.leave()
	}
	w.held = w.held[:0]
}

// letBack makes what is on hold ready again.
func (w *worker) letBack() {
	for _, h := range w.held {
		h.cursor.Unhold(h.offset, h.offset)
	}
	w.held = w.held[:0]
}
