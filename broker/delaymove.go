package broker

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

const (
	moveMessages = 4096                 // in a round, which is committed as a whole
	moveBytes    = 4 << 20              // of them, about
	movePause    = 4 * time.Millisecond // between two rounds, for the second to have more to do
	// clockPause is the time after which the clock is looked at again, which may have been set.
	clockPause = time.Second
	moveRetry  = time.Second // after a failure, doubled with each further one
	moveRetry2 = time.Minute // and no longer than that
)

// mover takes delayed messages from lane to lane and to their queues. It belongs to one
// goroutine.
type mover struct {
	d       *delays
	b       *Broker
	p       *Publisher
	lanes   [lanes]lane
	unwatch [lanes]func()
	ready   []*lane // those with a head that is to be looked at, of the round under way
	in      Inbound
	last    struct { // of the message that was published last
		envelope, keys, key, extra []byte
		same                       bool
	}
	properties, headers []byte // scratch
	moreKeys            [][]byte
	retry               time.Duration
	lost                [Losses]int // in the round under way
	dropped             [Losses]int // and nobody was told yet
	droppedTold         time.Time
	kept                int // that wait again, and nobody was told yet
	keptTold            time.Time
}

func newMover(d *delays) *mover {
	v := d.lanes.vhost
	m := &mover{d: d, b: v.b, p: v.newPublisher()}
	m.p.fates = &fates{}
	for i, part := range d.lanes.Partitions() {
		l := &m.lanes[i]
		l.part, l.number, l.waitMs = part, i, laneWaitMs(i)
		m.unwatch[i] = part.log.Watch(func() {
			if l.hungry.Load() && l.hungry.Swap(false) {
				d.wakeUp()
			}
		})
		f := part.log.Figures()
		l.hungry.Store(f.Certain && f.Waiting == 0)
		if f := part.log.Figures(); f.Waiting > 0 { // came in between
			l.hungry.Store(false)
		}
	}
	return m
}

// run moves messages until the exchange is gone or the broker closes.
func (m *mover) run(closed <-chan struct{}) {
	for _, unwatch := range m.unwatch {
		defer unwatch()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-m.d.stop:
			return
		case <-closed:
			return
		case <-m.d.wake:
		case <-timer.C:
		}
		timer.Stop()
		if pause := m.turn(closed); pause >= 0 {
			timer.Reset(pause)
		}
	}
}

// turn is one round, and for how long there is nothing to do after it; negative is until
// something comes.
func (m *mover) turn(closed <-chan struct{}) time.Duration {
	nowMs := m.b.opts.Now().UnixMilli()
	next, err := m.round(nowMs, closed)
	if err != nil {
		return m.failed(err)
	}
	m.retry = 0
	m.tellDropped()
	switch {
	case next == never && m.dropped != [Losses]int{}:
		return tellEvery
	case next == never:
		return -1
	case len(m.ready) > 0: // more than one round can take
		return 0
	}
	left := next - m.b.opts.Now().UnixMilli()
	return min(max(time.Duration(min(left, 1<<32))*time.Millisecond, movePause), clockPause)
}

// failed tells why messages wait for longer than they should, and says for how long.
func (m *mover) failed(err error) time.Duration {
	for i := range m.lanes {
		m.lanes[i].rewind()
	}
	m.last.same, m.lost = false, [Losses]int{}
	m.retry = min(max(2*m.retry, moveRetry), moveRetry2)
	select {
	case <-m.d.stop:
	default:
		m.b.opts.Log.Error("delayed messages can't move on; they are kept, and it is tried again", "vhost", m.p.v.Name, "exchange", m.d.x.Name, "after", m.retry, "error", err)
	}
	return m.retry
}

// round moves what is due, the earliest first, and returns when to look again.
func (m *mover) round(nowMs int64, closed <-chan struct{}) (next int64, err error) {
	for i := range m.lanes {
		m.lanes[i].fresh = false
	}
	m.find(nowMs)
	bytes := 0
	for n := 0; n < moveMessages && bytes < moveBytes && len(m.ready) > 0; n++ {
		i := m.first()
		l := m.ready[i]
		bytes += len(l.head.rec.Value)
		m.move(l, nowMs)
		l.take()
		if !m.look(l, nowMs) {
			m.ready[i] = m.ready[len(m.ready)-1]
			m.ready = m.ready[:len(m.ready)-1]
		}
	}
	if err := m.commit(closed); err != nil {
		return 0, err
	}
	return m.next(), nil
}

// find collects the lanes whose head is to be looked at.
func (m *mover) find(nowMs int64) {
	m.ready = m.ready[:0]
	for i := range m.lanes {
		if l := &m.lanes[i]; m.look(l, nowMs) {
			m.ready = append(m.ready, l)
		}
	}
}

// look says whether the lane's head is to be looked at now. One that stands in the future
// was put there before the clock was set back: it is put elsewhere, or it would be in the
// way of those behind it.
func (m *mover) look(l *lane, nowMs int64) bool {
	if l.asleep(nowMs) {
		return false
	}
	if err := l.fill(); err != nil {
		m.unreadable(l, nowMs, err)
		return false
	}
	return l.some && (l.readyMs() <= nowMs || l.head.putMs > nowMs)
}

// unreadable leaves a lane alone for a while that can't be read.
func (m *mover) unreadable(l *lane, nowMs int64, err error) {
	l.giveUp()
	if store.Retryable(err) || errors.Is(err, store.ErrFenced) {
		l.sleep(nowMs, nowMs+clockPause.Milliseconds())
		return
	}
	l.sleep(nowMs, nowMs+lookInterval.Milliseconds())
	if !l.part.removed.Load() && !errors.Is(err, store.ErrClosed) {
		m.b.opts.Log.Error("delayed messages can't be read; it is tried again in a minute", "vhost", m.p.v.Name, "exchange", m.d.x.Name, "error", err)
	}
}

// first is the ready lane whose head is due first: messages go on in the order in which
// they are due, also when they come late.
func (m *mover) first() int {
	best := 0
	for i, l := range m.ready {
		if l.head.dueMs < m.ready[best].head.dueMs {
			best = i
		}
	}
	return best
}

// move puts the lane's head where it belongs now. How late the mover is makes no difference to
// the lanes that a message stands in, so that equal delays lead through the same ones and keep
// their order; what is due may leave that path when nobody is ahead on it.
func (m *mover) move(l *lane, nowMs int64) {
	h := &l.head
	fromMs := h.putMs + l.waitMs
	if after := h.delay.AfterMs; h.putMs > nowMs && after > 0 {
		h.dueMs = min(h.dueMs, nowMs+after) // by a clock that was wrong
	}
	m.in.Ref = l.ref(h.offset)
	e, ok := h.rec.Envelope()
	switch {
	case !ok:
		m.damaged(h, message.ErrEnvelope)
	case h.dueMs > nowMs || h.dueMs >= fromMs+laneUnitMs && m.ahead(h.dueMs, fromMs):
		m.wait(h, &e, min(fromMs, nowMs))
	default:
		if err := m.publish(h, &e, nowMs); err != nil {
			m.damaged(h, err)
		}
	}
}

// ahead says whether anything stands in the lanes that are still before a message.
func (m *mover) ahead(dueMs, fromMs int64) bool {
	for dueMs >= fromMs+laneUnitMs {
		l := &m.lanes[laneOf(dueMs-fromMs)]
		if l.some || l.fresh || !l.hungry.Load() {
			return true
		}
		fromMs += l.waitMs
	}
	return false
}

// damaged tells of a message that can't be routed as it is, which it was checked for when it came.
func (m *mover) damaged(h *waiting, err error) {
	m.last.same = false
	m.b.counters.Left[Damaged].Add(1)
	m.b.opts.Log.Error("a delayed message is dropped", "vhost", m.p.v.Name, "exchange", m.d.x.Name, "offset", h.offset, "error", err)
}

// wait puts a message into the lane for the time that it has left from then on.
func (m *mover) wait(h *waiting, e *message.Envelope, fromMs int64) {
	m.last.same = false
	d := h.delay
	d.DueMs = h.dueMs
	m.headers = append(d.AppendTo(m.headers[:0]), h.extra.Raw...)
	l := &m.lanes[laneOf(h.dueMs-fromMs)]
	l.fresh = true
	m.p.put(l.part, &message.Publish{Exchange: e.Exchange, Key: h.rec.Key, Properties: e.Properties, Body: h.rec.Value,
		TimestampMs: fromMs, Died: e.Died, Raw: message.Headers{Count: 1 + h.extra.Count, Raw: m.headers}}, m.in.Ref)
}

// publish routes a message whose time has come.
func (m *mover) publish(h *waiting, e *message.Envelope, nowMs int64) error {
	in := &m.in
	in.Body, in.TimestampMs = h.rec.Value, nowMs
	in.SameHead = m.sameHead(h, e)
	if !in.SameHead {
		if err := m.head(h, e); err != nil {
			return err
		}
	}
	routed, err := m.p.Publish(in)
	m.last.same = err == nil
	if err == nil && !routed {
		m.lost[LostUnbound]++
	}
	return err
}

// sameHead says that the message differs from the last one in body and time only.
func (m *mover) sameHead(h *waiting, e *message.Envelope) bool {
	l := &m.last
	return l.same && m.in.Died == e.Died && bytes.Equal(l.key, h.rec.Key) && bytes.Equal(l.envelope, e.Properties) && bytes.Equal(m.in.Exchange, e.Exchange) &&
		bytes.Equal(l.keys, h.delay.Keys) && bytes.Equal(l.extra, h.extra.Raw)
}

// head fills in all that consecutive messages often have in common.
func (m *mover) head(h *waiting, e *message.Envelope) error {
	l, in := &m.last, &m.in
	l.key = append(l.key[:0], h.rec.Key...)
	l.envelope = append(l.envelope[:0], e.Properties...)
	l.keys = append(l.keys[:0], h.delay.Keys...)
	l.extra = append(l.extra[:0], h.extra.Raw...)
	var p field.Properties
	if err := p.Parse(e.Properties); err != nil {
		return fmt.Errorf("offset %d: %w", h.offset, err)
	}
	m.properties = afterDelay(m.properties[:0], &p, e.Properties, &m.headers)
	if err := p.Parse(m.properties); err != nil {
		return fmt.Errorf("offset %d: %w", h.offset, err)
	}
	m.moreKeys = m.moreKeys[:0]
	for d := h.delay; ; {
		key, ok := d.NextKey()
		if !ok {
			break
		}
		m.moreKeys = append(m.moreKeys, append([]byte(nil), key...))
	}
	*in = Inbound{Exchange: append(in.Exchange[:0], e.Exchange...), Key: l.key, Properties: m.properties, Headers: p.Headers, Body: in.Body,
		Persistent: true, TimestampMs: in.TimestampMs, Ref: in.Ref, Died: e.Died, Raw: message.Headers{Count: h.extra.Count, Raw: l.extra}, from: m.d.x}
	if len(m.moreKeys) > 0 {
		in.MoreKeys = m.moreKeys
	}
	return nil
}

// countLost counts what the round dropped, when it will not come again: there was no queue for
// it, or one that was at its limit, or failed where others did not. Nobody is there any more who
// could hear of it.
func (m *mover) countLost() {
	for why, n := range m.lost {
		m.b.counters.DelayedLost[why].Add(uint64(n))
		m.dropped[why] += n
	}
	m.lost = [Losses]int{}
}

// tellDropped says now and then that messages were dropped.
func (m *mover) tellDropped() {
	now := m.b.opts.Now()
	if since := now.Sub(m.droppedTold); since >= 0 && since < tellEvery {
		return
	}
	for why, n := range m.dropped {
		if n > 0 {
			m.b.opts.Log.Warn("delayed messages are dropped: there is no place for them when they are due", "vhost", m.p.v.Name,
				"exchange", m.d.x.Name, "messages", n, "why", Loss(why).String())
			m.droppedTold = now
		}
	}
	m.dropped = [Losses]int{}
}

// errClosing ends a round that nobody waits for any more.
var errClosing = errors.New("the broker is closing")

// commit makes what was moved last where it is now, and only then notes that it has
// left where it was.
func (m *mover) commit(closed <-chan struct{}) error {
	if !m.movedAny() {
		return nil
	}
	done := make(chan error, 1)
	m.p.Store()
	if err := m.again(); err != nil {
		_ = m.p.Commit(nil)
		return err
	}
	_ = m.p.Commit(func(err error) { done <- err })
	select {
	case err := <-done:
		if err != nil {
			return err
		}
	case <-closed:
		select {
		case err := <-done: // a clean stop leaves nothing to come twice, if the disk answers
			if err != nil {
				return err
			}
		case <-time.After(clockPause):
			return errClosing
		}
	case <-m.d.stop:
		return errClosing
	}
	m.countLost()
	for i := range m.lanes {
		if err := m.lanes[i].note(); err != nil {
			return err
		}
	}
	return nil
}

func (m *mover) movedAny() bool {
	for i := range m.lanes {
		if l := &m.lanes[i]; l.moved != l.floor {
			return true
		}
	}
	return false
}

// next is when the first head is to be looked at. Memory of those that have time is
// given back.
func (m *mover) next() int64 {
	next := int64(never)
	nowMs := m.b.opts.Now().UnixMilli()
	for i := range m.lanes {
		l := &m.lanes[i]
		if l.some {
			next = min(next, l.readyMs())
			if l.readyMs() > nowMs+clockPause.Milliseconds() {
				l.letGo()
			}
			continue
		}
		if l.hungry.Load() {
			l.letGo()
			continue
		}
		next = min(next, max(l.sleepMs, nowMs))
	}
	return next
}
