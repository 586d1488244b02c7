package kafka

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/kafka/wire"
)

const (
	// maxWaiting bounds the Produce answers of one connection that wait for
	// their flush; the read loop waits when there are as many.
	maxWaiting = 128
	// sendBytes is how many bytes of ready answers are gathered at most.
	sendBytes = 32 << 10
	// writeTimeout is how long a client may take to accept one piece.
	writeTimeout = 2 * time.Minute
)

// slot is a Produce answer. One that may have to wait for its flush is an answer of
// the outbox; the read loop has it wait for itself while it builds it.
type slot struct {
	frame []byte // the encoded answer, which says success
	body  int    // where in frame the body begins
	ver   int16
	wrote broker.Writes // what an acks=all answer waits for
	taken int64         // of the connection's memory; 0 for most
}

type answer = netx.Answer[slot]

// finished returns the frame to be written.
func finished(a *answer) []byte {
	s := &a.Value
	if a.Failed() {
		wire.FailResponse(s.frame[s.body:], s.ver, wire.StorageError)
	}
	return s.frame
}

// outbox writes a connection's answers in order. The read loop writes
// itself while nothing waits; a writer goroutine, started at the first need,
// writes answers that had to wait. Only one of the two touches the socket:
//
//	waiting is empty and writing is false   the read loop
//	otherwise                               the writer
type outbox struct {
	nc      net.Conn
	w       *netx.Writer
	answers atomic.Uint64   // that were complete
	ready   []byte          // answers that are complete and not written; the read loop's own
	memory  *budget.Account // of the connection

	woken   chan struct{} // of capacity 1
	stopped chan struct{} // closed when the writer has ended
	closing atomic.Bool

	mu      sync.Mutex // guards the rest
	cond    sync.Cond  // signalled when waiting shrinks
	waiting *netx.Answers[slot]
	taken   int64 // of memory, by answers that are not written
	writing bool
	started bool
	err     error
}

func newOutbox(nc net.Conn, memory *budget.Account, unstored func(error)) *outbox {
	o := &outbox{nc: nc, memory: memory, w: netx.NewWriter(nc, writeTimeout, nil), woken: make(chan struct{}, 1), stopped: make(chan struct{})}
	o.waiting = netx.NewAnswers[slot](o.kick, unstored)
	o.cond.L = &o.mu
	return o
}

func (o *outbox) kick() {
	select {
	case o.woken <- struct{}{}:
	default:
	}
}

// answer is an empty answer to a Produce request.
func (o *outbox) answer() *answer {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.waiting.New()
}

// keptFrameBytes is the longest memory of an answer that is kept for the next one.
const keptFrameBytes = 64 << 10

// recycle gives an answer back that waits for nothing. mu is held.
func (o *outbox) recycle(a *answer) {
	s := &a.Value
	s.wrote.Reset()
	if s.frame = s.frame[:0]; cap(s.frame) > keptFrameBytes {
		s.frame = nil
	}
	o.memory.Give(s.taken)
	o.taken -= s.taken
	s.taken = 0
	o.waiting.Recycle(a)
}

// drop forgets an answer that nobody gets.
func (o *outbox) drop(a *answer) {
	o.mu.Lock()
	o.recycle(a)
	o.mu.Unlock()
}

// produce hands over a Produce answer after its commit was asked for.
func (o *outbox) produce(a *answer) error {
	o.mu.Lock()
	o.taken += a.Value.taken
	direct := o.waiting.Len() == 0 && !o.writing
	if direct && a.Ready() {
		o.answers.Add(1)
		o.ready = append(o.ready, finished(a)...)
		o.recycle(a)
		o.mu.Unlock()
		return o.sendIfLarge()
	}
	if direct && len(o.ready) > 0 {
		o.mu.Unlock()
		if err := o.send(); err != nil {
			return err
		}
		o.mu.Lock()
	}
	if !o.started {
		o.started = true
		go o.run()
	}
	for o.waiting.Len() >= maxWaiting && o.err == nil {
		o.cond.Wait()
	}
	o.waiting.Push(a)
	err := o.err
	late := a.Ready()
	o.mu.Unlock()
	if late {
		o.kick() // its own may have come before it was in the queue
	}
	return err
}

// drain waits until no answer waits, so that the read loop may write.
func (o *outbox) drain() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (o.waiting.Len() > 0 || o.writing) && o.err == nil {
		o.cond.Wait()
	}
	return o.err
}

// add hands over a complete answer. Nothing may wait: call drain before.
func (o *outbox) add(frame []byte) error {
	o.answers.Add(1)
	o.ready = append(o.ready, frame...)
	return o.sendIfLarge()
}

func (o *outbox) sendIfLarge() error {
	if len(o.ready) >= sendBytes {
		return o.send()
	}
	return nil
}

// send writes what add gathered.
func (o *outbox) send() error {
	if len(o.ready) == 0 {
		return nil
	}
	err := o.w.Write(o.ready)
	if cap(o.ready) > 4*sendBytes {
		o.ready = nil
	}
	o.ready = o.ready[:0]
	return err
}

// vector writes one answer that stands in pieces, behind what add gathered.
func (o *outbox) vector(pieces [][]byte) error { return o.placed(pieces, nil) }

// placed is vector of pieces some of which lie in files, as place says.
func (o *outbox) placed(pieces [][]byte, place netx.Place) error {
	if err := o.send(); err != nil {
		return err
	}
	o.answers.Add(1)
	return o.w.WritePlaced(pieces, place)
}

// run is the writer: it sleeps until the oldest answers are complete.
func (o *outbox) run() {
	defer close(o.stopped)
	var gathered []byte
	for {
		<-o.woken
		gathered = o.takeReady(gathered[:0])
		for len(gathered) > 0 {
			if err := o.w.Write(gathered); err != nil {
				o.fail(err)
			}
			gathered = o.takeReady(gathered[:0])
		}
		if o.closing.Load() {
			return
		}
	}
}

// takeReady moves the complete answers at the head of the line into dst.
func (o *outbox) takeReady(dst []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(dst) < sendBytes {
		a := o.waiting.Next()
		if a == nil {
			break
		}
		o.answers.Add(1)
		dst = append(dst, finished(a)...)
		o.recycle(a)
	}
	o.writing = len(dst) > 0
	o.cond.Broadcast()
	return dst
}

func (o *outbox) fail(err error) {
	o.mu.Lock()
	if o.err == nil {
		o.err = err
	}
	o.mu.Unlock()
	o.cond.Broadcast()
	_ = o.nc.Close() // the read loop may be waiting for a request
}

// close ends the writer. Answers that still wait are left to their commit,
// which finds nobody to wake; their memory counts no longer.
func (o *outbox) close() {
	o.mu.Lock()
	started := o.started
	o.mu.Unlock()
	if started {
		o.closing.Store(true)
		o.kick()
		<-o.stopped
	}
	o.memory.Give(o.taken)
}
