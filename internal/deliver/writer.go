package deliver

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
)

// Writer is the part of a connection's writer that delivers. One goroutine uses it, but for Busy and Written.
type Writer struct {
	// Turn is what was gathered of deliveries.
	Turn netx.Gathered
	// Frames are those that were written, or are to be by this turn. The protocol counts them.
	Frames uint64
	// Wrote says that more than a sign of life was written since the protocol set it to false.
	Wrote bool

	log     *netx.Client
	net     *netx.Writer
	signal  func()
	outMu   *sync.Mutex // guards listed, and the connection's outbox
	listed  []*Lane     // that the writer should look at
	ready   netx.Turns[*Lane]
	lenders []*Lane
	writing atomic.Bool // a write is under way, and takes as long as the client lets it
	written atomic.Uint64
	pulled  atomic.Uint64 // messages
	outflow broker.Outflow
	sized   int  // bytes of the turn's bodies
	small   bool // the last deliveries were few
}

// Open says where the writer writes, which lock guards the connection's outbox, and how the writer's goroutine is woken.
func (w *Writer) Open(net *netx.Writer, log *netx.Client, outMu *sync.Mutex, signal func()) {
	w.net, w.log, w.outMu, w.signal = net, log, outMu, signal
	w.outflow.Wake = signal
	net.OnStall(w.passOn)
}

// Net is what writes the socket.
func (w *Writer) Net() *netx.Writer { return w.net }

// Busy says whether a delivery would have to wait for something else than its turn. Any goroutine may ask.
func (w *Writer) Busy() bool { return w.writing.Load() || w.outflow.IsLate() }

// Written is how many frames were written when the writer last had nothing to do. Any goroutine may ask.
func (w *Writer) Written() uint64 { return w.written.Load() }

// Delivered is how many messages were put into turns. Any goroutine may ask.
func (w *Writer) Delivered() uint64 { return w.pulled.Load() }

// Rest is to be called when the writer has nothing to do.
func (w *Writer) Rest() { w.written.Store(w.Frames) }

// Take takes over which lanes are to be looked at. The lock of the outbox is held.
func (w *Writer) Take() {
	w.ready.Add(w.listed...)
	clear(w.listed)
	w.listed = w.listed[:0]
}

// Deliver gives each lane that may have something a turn, and writes what comes of it. more says that there may be more
// already.
func (w *Writer) Deliver(s *broker.Session) (more bool, err error) {
	if w.small && w.ready.Len() > 0 {
		runtime.Gosched()
	}
	p := s.Pacer()
	late := w.outflow.Late(p)
	if late {
		w.passOn()
	}
	for range w.ready.Len() {
		k := w.ready.First()
		switch {
		case k.cancelled.Load():
			if k.consumer.Cancelled() {
				more = true
			} else {
				w.ready.Add(k) // the writer is woken when it can be told
			}
		case k.ready.Load() && late:
			w.ready.Add(k)
		case k.ready.Load():
			more = w.pull(k) || more
			if k.cancelled.Load() && !k.ready.Swap(true) {
				w.ready.Add(k) // while it was pulled, when it was not listed once more
				more = true
			}
		}
		if w.Turn.Len() >= writeBytes-writeBytes/4 {
			if err := w.send(s); err != nil {
				return false, err
			}
			more = true
			break // what answers there are first, again
		}
	}
	if err := w.send(s); err != nil {
		return false, err
	}
	return more, nil
}

// pull has the lane's messages encoded that it may have now, and says if it may have more. It waits for no disk.
func (w *Writer) pull(k *Lane) (more bool) {
	w.Turn.Begin()
	k.lock.Lock()
	defer k.lock.Unlock()
	if k.consumer.Held() {
		w.ready.Add(k) // for when the answer leaves the outbox, into which it comes with a signal
		return false
	}
	k.ready.Store(false)
	if k.closed {
		return false
	}
	w.sized = 0
	before := w.Turn.Len()
	room := max(writeBytes-before, 1)
	most := pullMessages
	if k.mean > 0 {
		most = min(most, max(room/k.mean, pullFewest))
	}
	n, err := k.Sub.Pull(most, room, k.emit)
	if n > 0 {
		k.mean = (w.Turn.Len() - before) / n
		w.pulled.Add(uint64(n))
	}
	if err != nil {
		w.log.Error("can't read messages", "queue", k.Sub.Queue().Name, "error", err)
		k.retryLater() // no wake-up need come for what can't be read
	}
	if k.borrowed {
		w.lenders = append(w.lenders, k)
	} else {
		k.Sub.Release()
	}
	if n < most && w.sized < room {
		return false
	}
	if !k.ready.Swap(true) {
		w.ready.Add(k) // behind the others
	}
	return true
}

// Sized counts the body of a message that was put into the turn.
func (w *Writer) Sized(body []byte) { w.sized += len(body) }

// send writes the turn's deliveries and gives back what they borrowed.
func (w *Writer) send(s *broker.Session) error {
	if w.Turn.Buf == nil {
		return nil
	}
	var err error
	size := w.Turn.Len()
	w.small = size < smallTurnBytes
	if size > 0 {
		w.Wrote = true
		w.writing.Store(true)
		err = w.Turn.WriteTo(w.net)
		w.writing.Store(false)
	}
	if errors.Is(err, syscall.EFAULT) {
		w.unreadable(err)
	}
	if p := s.Pacer(); p != nil {
		p.Left(size, time.Now())
	}
	w.Turn.Free()
	for i, k := range w.lenders {
		k.lock.Lock()
		k.borrowed = false
		k.Sub.Release()
		k.lock.Unlock()
		w.lenders[i] = nil
	}
	w.lenders = w.lenders[:0]
	return err
}

// unreadable finds out and says whose body the kernel could not read. What the client has of it can't be taken back,
// so its connection ends; it gets the message again, or what becomes of it.
func (w *Writer) unreadable(err error) {
	for _, k := range w.lenders { // what they lent stays lent: it is looked at without the lock, which may take the disk
		if cause := k.Sub.Check(); cause != nil {
			err = cause
		}
	}
	w.log.Error("can't read a message while it is sent; the connection is closed", "error", err)
}

// Write writes what stands in no turn.
func (w *Writer) Write(b []byte) error {
	w.writing.Store(true)
	err := w.net.Write(b)
	w.writing.Store(false)
	return err
}

// passOn has others woken in the place of the lanes that were woken and wait for a write to end: theirs would be what
// the client, which does not read, has no room for.
func (w *Writer) passOn() {
	w.outMu.Lock()
	w.Take()
	w.outMu.Unlock()
	for _, k := range w.ready.Waiting() {
		k.lock.Lock()
		if !k.closed {
			k.Sub.Pass()
		}
		k.lock.Unlock()
	}
}
