package broker

import (
	"encoding/binary"
	"strconv"

	"github.com/leveret-mq/leveret/exchange"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// An exchange of the type x-delayed-message keeps each message until its time has come,
// and then routes it as an exchange of the type that x-delayed-type names. A message
// waits in one of the exchange's lanes, each of which is a log:
//
//	lane   1    2   …  7    8    9    …  14   15   …
//	wait  16ms 32ms   112ms 128ms 256ms  896ms 1.024s …  to 174 days
//
// It is put at the end of the lane with the longest wait that is not longer than its own.
// When it has stood there for the lane's wait, it moves on to the one for what is left, and
// in the end to its queues. So every lane is first in, first out, however long its
// messages are delayed: there is no timer, no memory and no index for a message, none is
// in another's way, and segments go as those of any work queue do. A message is written
// again once for each digit of its delay in base 8 of 16 ms, of which there are few.
//
//	publish ─► walk ─► wait ─► lane ─┬─► lane … ─► exchange's table ─► queues
//	                                 └─ mover.run: copy, commit, then move the lane's floor
//
// What was moved and not noted when the broker was killed moves again: messages come at
// least once. A message comes at most the finest lane's wait late, and a little for the disk.
// What no queue takes when its time has come waits again: see delayagain.go.

const (
	typeDelayed    = "x-delayed-message"
	argDelayedType = "x-delayed-type"

	headerDelay     = "x-delay"      // ms from the arrival
	headerDeliverAt = "x-deliver-at" // ms since 1970, or a timestamp
)

// maxDelayMs bounds a delay: 100 years.
const maxDelayMs = 100 * 365 * 24 * 3600 * 1000

// delays is what an exchange has that delays messages.
type delays struct {
	x     *Exchange
	lanes *Queue        // whose partitions are the lanes; nobody finds it by its name
	wake  chan struct{} // capacity 1
	stop  chan struct{} // closed when the exchange is gone
}

// delayedKind is the type of exchange that a delaying one routes as.
func delayedKind(args []byte) (exchange.Kind, error) {
	f, ok := field.Find(args, argDelayedType)
	if name := string(f.Text()); ok && f.Text() != nil && name != typeDelayed {
		return exchangeKind(name)
	}
	return 0, fail(Precondition, "Invalid argument, '%s' must be an existing exchange type", argDelayedType)
}

// newDelays makes the lanes' queue, whose logs are still to be made or opened.
func (v *VHost) newDelays(x *Exchange) *delays {
	q := v.newQueue("delayed." + x.Name)
	q.Durable, q.hidden = x.Durable, true
	q.settings.Store(v.b.settingsOf(classic, nil, matched{}))
	return &delays{x: x, lanes: q, wake: make(chan struct{}, 1), stop: make(chan struct{})}
}

// makeDelays makes the logs of a new exchange's lanes. Nothing is on disk of those that
// were never used.
func (v *VHost) makeDelays(x *Exchange) error {
	d := v.newDelays(x)
	ctx, cancel := asking()
	defer cancel()
	ids, err := v.b.store.NewLogs(ctx, d.lanes.logOptions(), nil, lanes)
	if err != nil {
		return err
	}
	return d.open(ids)
}

// restoreDelays opens the lanes of an earlier start.
func (v *VHost) restoreDelays(x *Exchange, ids []store.LogID) error {
	if len(ids) != lanes {
		return fail(Internal, "exchange '%s' in vhost '%s' has %d lanes, not %d", x.Name, v.Name, len(ids), lanes)
	}
	return v.newDelays(x).open(ids)
}

func (d *delays) open(ids []store.LogID) error {
	parts, err := d.lanes.open(ids)
	if err != nil {
		return err
	}
	d.lanes.parts.Store(&parts)
	d.x.delays = d
	return nil
}

// start has messages move until the exchange is gone or the broker closes.
func (d *delays) start() {
	b := d.lanes.vhost.b
	m := newMover(d)
	b.stopped.Go(func() { m.run(b.stop) })
}

// startDelays begins with what an earlier process left, when all bindings are there.
func (b *Broker) startDelays() {
	for _, v := range b.VHosts() {
		for _, x := range v.Exchanges() {
			if x.delays != nil {
				x.delays.start()
			}
		}
	}
}

// wakeUp has the mover look what there is.
func (d *delays) wakeUp() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// end stops the mover of an exchange that is gone.
func (d *delays) end() {
	for _, p := range d.lanes.Partitions() {
		p.removed.Store(true)
	}
	close(d.stop)
}

// waiting counts the messages whose time has not come.
func (d *delays) waiting() (n int64) {
	for _, p := range d.lanes.Partitions() {
		n += p.log.Figures().Waiting
	}
	return n
}

// lanesOf are the exchange's logs.
func (x *Exchange) lanesOf() []*Partition {
	switch {
	case x.delays != nil:
		return x.delays.lanes.Partitions()
	case x.seen != nil && x.seen.log != nil:
		return []*Partition{x.seen.log}
	}
	return nil
}

// definition is what is written down of the exchange.
func (x *Exchange) definition(v *VHost) exchangeDef {
	return exchangeDef{v.Name, x.Name, x.Type, x.AutoDelete, x.Internal, x.Args, logsOf(x.lanesOf())}
}

// delayOf reads when a message that came at a time is to go on: so long after it, or at a
// time of its own. Both are 0 for at once. It reads x-delay as RabbitMQ's plugin does.
func delayOf(headers []byte, nowMs int64) (dueMs, afterMs int64, err error) {
	if f, ok := field.Find(headers, headerDelay); ok {
		ms, err := delayNumber(&f)
		switch {
		case err != nil:
			return 0, 0, err
		case ms > maxDelayMs:
			return 0, 0, fail(Precondition, "invalid %s %d: more than %d", headerDelay, ms, int64(maxDelayMs))
		}
		return 0, max(ms, 0), nil
	}
	f, ok := field.Find(headers, headerDeliverAt)
	if !ok {
		return 0, 0, nil
	}
	ms, err := delayNumber(&f)
	switch {
	case err != nil:
		return 0, 0, err
	case ms <= nowMs:
		return 0, 0, nil
	case ms-nowMs > maxDelayMs:
		return 0, 0, fail(Precondition, "invalid %s %d: more than %d ms from now", headerDeliverAt, ms, int64(maxDelayMs))
	}
	return ms, 0, nil
}

// delayNumber reads a number however it was sent. What is neither number nor text delays
// nothing.
func delayNumber(f *field.Iterator) (ms int64, err error) {
	if f.Tag() == field.TagTimestamp {
		return timestampMs(f), nil
	}
	if n, ok := f.Int(); ok {
		return n, nil
	}
	if x, ok := f.Float(); ok {
		if x != x || x > 1<<62 || x < -(1<<62) {
			return 0, fail(Precondition, "invalid %s: no such time", f.Name())
		}
		return int64(x), nil
	}
	text := f.Text()
	if text == nil {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, fail(Precondition, "invalid %s '%.64s': no integer", f.Name(), text)
	}
	return n, nil
}

// timestampMs is a timestamp field, which is in seconds.
func timestampMs(f *field.Iterator) int64 {
	if s := binary.BigEndian.Uint64(f.Raw()); s < 1<<52 {
		return int64(s) * 1000
	}
	return 1 << 62
}

// afterDelay appends the properties of a message whose time has come: x-delay is negative
// then, so that consumers see it and no further exchange delays it again.
func afterDelay(dst []byte, p *field.Properties, raw field.RawProperties, scratch *[]byte) []byte {
	f, ok := field.Find(p.Headers, headerDelay)
	if !ok {
		return append(dst, raw...)
	}
	ms, err := delayNumber(&f)
	if err != nil || ms <= 0 {
		return append(dst, raw...)
	}
	headers := p.Headers.AppendWithout((*scratch)[:0], headerDelay)
	headers = field.AppendName(headers, headerDelay)
	if ms <= 1<<31 {
		headers = field.AppendInt32(headers, int32(-ms))
	} else {
		headers = field.AppendInt(headers, -ms)
	}
	*scratch = headers
	return raw.AppendWithHeaders(dst, p, headers)
}

// delay has a message that comes to the exchange wait there if it is to; ok is false
// when it is not. The note of when it is due is made once a message.
func (p *Publisher) delay(d *delays, m *Inbound) (ok bool, decider exchange.Decider, err error) {
	nowMs := m.TimestampMs
	if p.arrivalMs != 0 {
		nowMs = p.arrivalMs
	}
	due, after, err := delayOf(m.Headers, nowMs)
	if err != nil || due == 0 && after == 0 {
		return false, exchange.Content, err
	}
	decider = exchange.Content
	left := after
	if due != 0 {
		decider = exchange.Chance // the next one like it has less time left
		left = due - nowMs
	}
	if len(p.late) == 0 {
		note := message.Delay{DueMs: due, AfterMs: after}
		p.keys = p.keys[:0]
		for _, key := range m.MoreKeys {
			p.keys = message.AppendKey(p.keys, key)
		}
		note.Keys = p.keys
		p.note = append(note.AppendTo(p.note[:0]), m.Raw.Raw...)
	}
	p.late = append(p.late, d.lanes.Partitions()[laneOf(left)])
	return true, decider, nil
}

// lateRoute is the route of a message that waits, and perhaps goes to queues at once too.
// There is one such route: it holds until the next message is routed.
func (p *Publisher) lateRoute(m *Inbound, plain bool) *route {
	p.waits = route{plain: plain, late: p.setOf(p.late), note: message.Headers{Count: 1 + m.Raw.Count, Raw: p.note}}
	if len(p.parts) > 0 {
		p.waits.set = p.setOf(p.parts)
	}
	return &p.waits
}

// addLate encodes a message for the lanes in which it is to wait.
func (p *Publisher) addLate(r *route, pub *message.Publish, ref uint64) {
	late := *pub
	late.Plain, late.Raw = false, r.note
	for _, set := range p.open(r.late, len(late.Body)) {
		set.batch.Add(&late)
		if set.tracked {
			set.refs = append(set.refs, ref)
		}
		p.same.set, p.same.batch = set, set.batch
	}
	if len(p.opened) > 1 {
		p.same.batch = nil // it is in several
	}
}
