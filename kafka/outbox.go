package kafka

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
)

const (
	// maxWaiting bounds the Produce answers of one connection that wait for
	// their flush; the reader waits when there are as many.
	maxWaiting = 128
	// flushBytes is how many bytes of ready answers are gathered at most.
	flushBytes = 32 << 10
	// writePieceBytes is what one write call may take: larger ones fall out of
	// the processor's cache.
	writePieceBytes = 512 << 10
	// writeTimeout is how long a client may take to accept one piece.
	writeTimeout = 2 * time.Minute
)

// slot is one Produce answer that may have to wait for its flush.
type slot struct {
	out   *outbox
	frame []byte // the encoded answer, which says success
	body  int    // where in frame the body begins
	ver   int16
	wrote broker.Writes // what an acks=all answer waits for
	done  func(error)   // committed, bound once
	// pending counts the calls of done that are still to come; the answer is
	// ready at 0. The reader holds one of them while it builds the answer.
	pending atomic.Int32
	failed  atomic.Bool
}

func (s *slot) ready() bool { return s.pending.Load() == 0 }

var slotPool = sync.Pool{New: func() any {
	s := &slot{}
	s.done = s.committed
	return s
}}

// committed is called once for each thing that was waited for: on the store's
// goroutine when a flush is done.
func (s *slot) committed(err error) {
	if err != nil {
		s.failed.Store(true)
	}
	out := s.out
	if s.pending.Add(-1) == 0 {
		out.kick()
	}
}

// finish returns the frame to be written.
func (s *slot) finish() []byte {
	if s.failed.Load() {
		wire.FailResponse(s.frame[s.body:], s.ver, wire.StorageError)
	}
	return s.frame
}

func (s *slot) recycle() {
	s.wrote.Reset()
	s.out, s.frame = nil, s.frame[:0]
	s.failed.Store(false)
	slotPool.Put(s)
}

// outbox writes a connection's answers in order. The reader's goroutine writes
// itself while nothing waits; a writer goroutine, started at the first need,
// writes answers that had to wait. Only one of the two touches the socket:
//
//	waiting is empty and writing is false   the reader
//	otherwise                               the writer
type outbox struct {
	nc    net.Conn
	ready []byte   // answers that are complete and not written; the reader's own
	call  [][]byte // memory of vectored writes; the reader's own

	woken   chan struct{} // of capacity 1
	stopped chan struct{} // closed when the writer has ended
	closing atomic.Bool

	mu      sync.Mutex // guards the rest
	cond    sync.Cond  // signalled when waiting shrinks
	waiting []*slot
	writing bool
	started bool
	err     error
}

func newOutbox(nc net.Conn) *outbox {
	o := &outbox{nc: nc, woken: make(chan struct{}, 1), stopped: make(chan struct{})}
	o.cond.L = &o.mu
	return o
}

func (o *outbox) kick() {
	select {
	case o.woken <- struct{}{}:
	default:
	}
}

// produce hands over a Produce answer after its commit was asked for.
func (o *outbox) produce(s *slot) error {
	o.mu.Lock()
	direct := len(o.waiting) == 0 && !o.writing
	if direct && s.ready() {
		o.mu.Unlock()
		o.ready = append(o.ready, s.finish()...)
		s.recycle()
		return o.flushIfLarge()
	}
	if direct && len(o.ready) > 0 {
		o.mu.Unlock()
		if err := o.flush(); err != nil {
			return err
		}
		o.mu.Lock()
	}
	if !o.started {
		o.started = true
		go o.run()
	}
	for len(o.waiting) >= maxWaiting && o.err == nil {
		o.cond.Wait()
	}
	o.waiting = append(o.waiting, s)
	err := o.err
	late := s.ready()
	o.mu.Unlock()
	if late {
		o.kick() // its own may have come before the slot was in the list
	}
	return err
}

// drain waits until no answer waits, so that the reader may write.
func (o *outbox) drain() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (len(o.waiting) > 0 || o.writing) && o.err == nil {
		o.cond.Wait()
	}
	return o.err
}

// add hands over a complete answer. Nothing may wait: call drain before.
func (o *outbox) add(frame []byte) error {
	o.ready = append(o.ready, frame...)
	return o.flushIfLarge()
}

func (o *outbox) flushIfLarge() error {
	if len(o.ready) >= flushBytes {
		return o.flush()
	}
	return nil
}

// flush writes what add gathered.
func (o *outbox) flush() error {
	if len(o.ready) == 0 {
		return nil
	}
	_ = o.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := o.nc.Write(o.ready)
	if cap(o.ready) > 4*flushBytes {
		o.ready = nil
	}
	o.ready = o.ready[:0]
	return err
}

// vector writes one answer that stands in pieces, behind what add gathered.
func (o *outbox) vector(pieces [][]byte) error {
	if err := o.flush(); err != nil {
		return err
	}
	return o.writePieces(pieces)
}

// writePieces writes pieces in calls of about writePieceBytes each, so that a
// slow client is noticed by the piece and not by the answer.
func (o *outbox) writePieces(pieces [][]byte) error {
	for len(pieces) > 0 {
		call := net.Buffers(o.call[:0])
		for bytes := 0; len(pieces) > 0 && bytes < writePieceBytes; {
			p := pieces[0]
			if room := writePieceBytes - bytes; len(p) > room+room/2 {
				pieces[0] = p[room:]
				p = p[:room]
			} else {
				pieces = pieces[1:]
			}
			call = append(call, p)
			bytes += len(p)
		}
		o.call = call
		_ = o.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := call.WriteTo(o.nc); err != nil {
			return err
		}
	}
	return nil
}

// run is the writer: it sleeps until the oldest answers are complete.
func (o *outbox) run() {
	defer close(o.stopped)
	var gathered []byte
	for {
		<-o.woken
		gathered = o.takeReady(gathered[:0])
		for len(gathered) > 0 {
			_ = o.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
			_, err := o.nc.Write(gathered)
			if err != nil {
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
	n := 0
	for n < len(o.waiting) && len(dst) < flushBytes && o.waiting[n].ready() {
		dst = append(dst, o.waiting[n].finish()...)
		o.waiting[n].recycle()
		n++
	}
	rest := copy(o.waiting, o.waiting[n:])
	clear(o.waiting[rest:])
	o.waiting = o.waiting[:rest]
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
	_ = o.nc.Close() // the reader may be waiting for a request
}

// close ends the writer. Slots that still wait are left to their commit, which
// finds nobody to wake.
func (o *outbox) close() {
	o.mu.Lock()
	started := o.started
	o.mu.Unlock()
	if !started {
		return
	}
	o.closing.Store(true)
	o.kick()
	<-o.stopped
}
