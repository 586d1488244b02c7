package deliver

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/broker"
)

// Consumer is what a protocol makes of a Lane.
type Consumer interface {
	// Deliver appends the frames of one message to the writer's Turn, and notes what the client holds. The lock is held.
	Deliver(*broker.Delivery)
	// Held says that an answer goes before its next delivery that waits to be written, or is to come: the writer is woken
	// when it stands in the outbox. The lock is held.
	Held() bool
	// Cancelled tells the client that the queue has gone, or the right to it; false is that something must be told
	// before, behind which the writer is woken.
	Cancelled() (told bool)
}

// Lane is a consumer as its connection's writer sees it.
type Lane struct {
	Sub *broker.Subscription // set before Show

	w        *Writer
	consumer Consumer
	emit     func(*broker.Delivery)
	lock     *sync.Mutex // the protocol's, which guards what it keeps of the consumer as well

	ready     atomic.Bool // there may be something to do for it: it is listed for the writer
	shown     bool        // the writer may deliver to it; guarded by Writer.outMu
	retrying  atomic.Bool // what could not be read is tried again in a while
	cancelled atomic.Bool // its queue is gone, or the right to it

	// Guarded by lock.
	closed   bool
	borrowed bool // bodies that it emitted are being written from the log's own bytes
	mean     int  // bytes of frames a delivery took in its last turn; 0 before the first
}

// Open says whose lane it is, where it leads, and which lock guards it.
func (k *Lane) Open(w *Writer, consumer Consumer, lock *sync.Mutex) {
	k.w, k.consumer, k.lock = w, consumer, lock
	k.emit = consumer.Deliver
}

// Show has the writer deliver to a new lane. The lock of the outbox is held, and what stands in the outbox comes first.
func (k *Lane) Show() {
	k.shown = true
	k.ready.Store(true)
	k.w.listed = append(k.w.listed, k)
}

// Look has the writer look at the lane, for which there may be something to do. It is listed once: what is done costs
// what there is to do, not how many consumers the connection has. It is what a broker.Subscription wakes.
func (k *Lane) Look() {
	if k.ready.Load() || k.ready.Swap(true) {
		return
	}
	k.w.outMu.Lock()
	if k.shown {
		k.w.listed = append(k.w.listed, k)
	}
	k.w.outMu.Unlock()
	k.w.signal()
}

// Gone has the client told that the queue is gone, or the right to it.
func (k *Lane) Gone() {
	k.cancelled.Store(true)
	k.Look()
}

// Close takes the lane off its queue at once; what it borrowed the writer gives back when it has written it, however
// slow the client reads. The lock is held.
func (k *Lane) Close() {
	if k.closed {
		return
	}
	k.closed = true
	k.Sub.Leave()
	if !k.borrowed {
		k.Sub.Release()
	}
}

// Closed says whether Close was called. The lock is held.
func (k *Lane) Closed() bool { return k.closed }

// Lend puts a body, or a piece of one, behind what its turn has gathered, without copying it. The lock is held.
func (k *Lane) Lend(piece []byte) {
	k.borrowed = true
	k.w.Turn.Lend(piece)
}

// retryLater has the lane looked at in a while, however often it is asked to: wake-ups of others lead to failures in
// between, and one timer for each would be more tries with every message that comes.
func (k *Lane) retryLater() {
	if !k.retrying.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(readRetry, func() {
		k.retrying.Store(false)
		k.Look()
	})
}
