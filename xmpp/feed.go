package xmpp

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// feed is what a connection publishes through. It belongs to the read loop, but for due.
//
//	publish ─► Publisher ─┐
//	publish ─► Publisher ─┤ store, once a read buffer ─► Commit ─► durable ─► due: the thens, in order
//	after   ──────────────┘
type feed struct {
	c         *conn
	publisher *broker.Publisher // nil before the first message: an idle client has none
	inflow    broker.Inflow
	toStore   int
	then      []mark
	published atomic.Uint64

	mu      sync.Mutex // guards the rest
	waiting *netx.Answers[[]mark]
	err     error // why something was not stored
}

// mark is who wants to hear of something that is stored.
type mark struct {
	then    func(error)
	refused bool
}

// maxThen is how many may want to hear of one read buffer before it is stored.
const maxThen = 1024

func (f *feed) open() {
	f.waiting = netx.NewAnswers[[]mark](f.wake, f.failed)
}

// wake has the writer look whether somebody is to hear of what is stored; and who waits for that behind it.
func (f *feed) wake() {
	f.c.signal()
	select {
	case f.c.drained <- struct{}{}:
	default:
	}
}

// settle waits until all is stored that was published, and whoever wants to has heard of it. false is that it took
// too long. There is no writer any more.
func (f *feed) settle(patience time.Duration) bool {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		f.due()
		f.mu.Lock()
		left := f.waiting.Len()
		f.mu.Unlock()
		if left == 0 {
			return true
		}
		select {
		case <-f.c.drained:
		case <-late.C:
			return false
		}
	}
}

func (f *feed) failed(err error) {
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	f.c.log.Error("can't store messages", "error", err)
}

func (f *feed) publish(in *broker.Inbound, then func(error)) (bool, error) {
	if f.publisher == nil {
		f.publisher = f.c.session.NewPublisher()
	}
	in.Ref = 0
	if then != nil {
		in.Ref = uint64(len(f.then) + 1)
	}
	f.inflow.Fed = true
	routed, err := f.publisher.Publish(in)
	if err != nil {
		return routed, err
	}
	f.toStore++
	f.published.Add(1)
	if then != nil {
		f.then = append(f.then, mark{then: then})
		if len(f.then) >= maxThen {
			f.store()
		}
	}
	return routed, nil
}

// after has then called when all that was published before is stored, behind what else waits for that.
func (f *feed) after(then func(error)) {
	f.mu.Lock()
	idle := f.waiting.Len() == 0
	f.mu.Unlock()
	if idle && f.toStore == 0 && len(f.then) == 0 {
		then(nil)
		return
	}
	f.then = append(f.then, mark{then: then})
}

// store stores what was published since the last time.
func (f *feed) store() {
	if f.toStore == 0 && len(f.then) == 0 {
		return
	}
	if f.toStore > 0 {
		f.c.waitAlarm()
		f.publisher.Store()
	}
	stored := f.toStore > 0
	f.toStore = 0
	if len(f.then) == 0 {
		if err := f.publisher.Commit(nil); err != nil {
			f.failed(err)
		}
		return
	}
	if stored {
		for _, ref := range f.publisher.Refused() {
			if ref > 0 && ref <= uint64(len(f.then)) {
				f.then[ref-1].refused = true
			}
		}
	}
	f.mu.Lock()
	answer := f.waiting.New()
	answer.Value, f.then = f.then, answer.Value[:0]
	durable := answer.Wait()
	f.waiting.Push(answer)
	f.mu.Unlock()
	if !stored {
		durable(nil)
		return
	}
	_ = f.publisher.Commit(durable) // which is told of the error, too
}

var errRefused = stanza.Fail("resource-constraint", "a queue is at its limit and does not take the message")

// due calls those who wait for what is stored now. The writer does it.
func (f *feed) due() {
	for {
		f.mu.Lock()
		answer := f.waiting.Next()
		err := f.err
		f.mu.Unlock()
		if answer == nil {
			return
		}
		if !answer.Failed() {
			err = nil
		}
		for i := range answer.Value {
			m := &answer.Value[i]
			switch {
			case err == nil && m.refused:
				m.then(errRefused)
			default:
				m.then(err)
			}
			*m = mark{}
		}
		f.mu.Lock()
		if answer.Value = answer.Value[:0]; cap(answer.Value) > 64 {
			answer.Value = nil
		}
		f.waiting.Recycle(answer)
		f.mu.Unlock()
	}
}

func (f *feed) abandon() {
	if f.publisher != nil {
		f.publisher.Abandon()
	}
}

// waitAlarm holds the read loop up while the broker has too little memory. When the disk takes no messages they are
// refused, which their senders hear.
func (c *conn) waitAlarm() {
	b := c.s.opts.Broker
	if b.Alarm() == "" {
		return
	}
	netx.Hold(c.nc(), c.writerDone, 0, func() bool {
		_, memory := b.Alarms()
		return memory != "" && !c.isSentAway()
	})
}
