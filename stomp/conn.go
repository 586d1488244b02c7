package stomp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/internal/spool"
	"github.com/leveret-mq/leveret/stomp/frame"
)

const (
	// maxOutboxBytes is what may wait to be written before the read loop stops reading.
	maxOutboxBytes = 1 << 20
	// lastWordTime is how long the last frames may take to be written.
	lastWordTime = 5 * time.Second

	maxHeaders   = 100
	maxHeadBytes = 64 << 10
	// Before the client has signed in: all of a frame fits 16 KiB of read buffer, as a handshake of WebSocket does.
	maxEarlyHeadBytes = 15 << 10
	maxEarlyBodyBytes = 1<<10 - 1
)

// conn is one connection. Fields belong to the read loop unless they stand under a lock.
type conn struct {
	s     *Server
	nc    net.Conn
	web   *web // over WebSocket; else nil
	log   *netx.Client
	entry *broker.Connection // in the registry
	about atomic.Pointer[about]
	user  auth.Identity

	version  frame.Version
	id       string        // of the session, as the client knows it
	clientID string        // that it gave itself; "" for none
	silence  time.Duration // that the client may keep; 0 is for ever
	beat     time.Duration // between signs of life of ours; 0 is none

	session   *broker.Session
	publisher *broker.Publisher

	rb         *netx.ReadBuffer
	dec        frame.Decoder
	frames     uint64        // read
	framesRead atomic.Uint64 // the same, for others
	published  atomic.Uint64

	memory       *budget.Account // of large bodies and of transactions
	spool        spool.Spool     // of the body of large
	large        *large          // a SEND that does not fit the read buffer, under way
	ended        bool            // nothing more is to be read
	running      atomic.Bool     // the client has signed in
	forced       atomic.Bool     // Close was called
	reason       atomic.Pointer[string]
	in           inbound
	inflow       broker.Inflow     // against the rates of the session
	toStore      int               // messages since the last endRead
	plain        int               // of these, without a receipt
	asked        receipts          // of these
	ensured      map[string]bool   // queues that were declared for SENDs
	temps        map[string]string // the client's names for queues of its own, and theirs
	transactions map[string]*transaction

	w          writer
	wake       chan struct{}
	drained    chan struct{}
	writerDone chan struct{}

	mu       sync.Mutex               // guards the fields below and every subscription
	subs     map[string]*subscription // by key
	byNumber map[uint64]*subscription // the same, and those that were ended and hold something
	lastSub  uint64                   // number of the newest
	settling bool                     // the read loop has mu, for a run of acks
	dirty    []*subscription          // with verdicts not yet told to the broker

	outMu    sync.Mutex // guards the fields below
	out      []byte     // frames for the writer, in order
	waiting  *netx.Answers[receipts]
	lastWord bool  // an ERROR stands in out; nothing may follow
	finish   bool  // the writer ends when all of out is written
	storeErr error // why messages could not be stored
}

func newConn(s *Server, nc net.Conn, log *netx.Log) *conn {
	c := &conn{s: s, nc: nc, log: log.Client(nc.RemoteAddr()), memory: s.opts.Budget.Open(), wake: make(chan struct{}, 1), drained: make(chan struct{}, 1), writerDone: make(chan struct{})}
	c.waiting = netx.NewAnswers[receipts](c.signal, c.unstored)
	c.spool.Memory, c.spool.Open = c.memory, s.scratch
	c.rb = netx.NewReadBuffer(nc, netx.MaxReadBytes)
	c.dec.Limits = frame.Limits{Headers: maxHeaders, HeadBytes: maxEarlyHeadBytes, BodyBytes: maxEarlyBodyBytes}
	c.version = frame.V10
	c.w.c = c
	c.w.Open(netx.NewWriter(nc, writeTimeout, c.patience), c.log, &c.outMu, c.signal)
	return c
}

// serve runs the connection from its first byte to its last.
func (c *conn) serve() {
	c.run()
	netx.Part(c.s.stopping, c.nc, 0)
}

// run serves the connection until its last word is written, or the socket is closed.
func (c *conn) run() {
	defer c.rb.Free()
	defer c.memory.Close()
	if err := c.signIn(); err != nil {
		c.turnedAway(err)
		if c.session != nil {
			c.session.Close()
		}
		return
	}
	go c.w.run()
	err := c.read()
	if err != nil && !netx.OrdinaryEnd(err) {
		c.log.Debug("connection ended", "error", err)
	}
	c.end(err == nil)
}

// end stops the writer, returns what subscriptions held, and lets go of the exclusive queues. A connection that
// ended in order has its last frames written first.
func (c *conn) end(inOrder bool) {
	if !inOrder {
		c.nc.Close()
	}
	c.outMu.Lock()
	c.finish = true
	c.outMu.Unlock()
	c.signal()
	if inOrder {
		c.w.Net().Until(time.Now().Add(lastWordTime))
	}
	<-c.writerDone
	c.dropLarge()
	c.endSubscriptions()
	c.endTransactions()
	c.publisher.Abandon()
	c.session.Close()
}

// read takes frames until the connection ends. nil is an end in order. Some may have come with CONNECT.
func (c *conn) read() error {
	for n, err := len(c.rb.Unread()), error(nil); ; n, err = c.rb.Fill(c.silence) {
		if n > 0 {
			c.takeAll()
			if c.ended {
				return nil
			}
			if p := c.session.Pacer(); p != nil {
				c.rest(p, c.inflow.Read(p, n, len(c.rb.Unread()) > 0, c.rb.Now()))
			}
			c.waitOutbox()
		}
		if c.over() {
			return nil
		}
		if c.forced.Load() && (err == nil || errors.Is(err, os.ErrDeadlineExceeded)) {
			c.part()
			return nil
		}
		if c.webEnded(err) {
			return nil
		}
		if err != nil {
			return c.readFailed(err)
		}
	}
}

// over tells whether the last word was said by somebody else.
func (c *conn) over() bool {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	return c.lastWord
}

func (c *conn) readFailed(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.log.Refused("connection", fmt.Errorf("no sign of life for %v, twice what was agreed", c.silence),
			"look for a client that is stuck or a network that drops idle connections; a longer heart-beat helps who is only busy")
	}
	return err
}

// takeAll parses what the buffer holds, then stores and settles all of it at once.
func (c *conn) takeAll() {
	c.dec.Limits.HeadBytes = maxHeadBytes
	c.dec.Limits.BodyBytes = c.session.MaxMessageBytes() // a limit may have come since
	for !c.ended {
		more, err := c.takeOne()
		if err != nil {
			c.fail(err)
		}
		if !more {
			break
		}
	}
	c.settled()
	if err := c.endRead(); err != nil {
		c.fail(err)
	}
	c.framesRead.Store(c.frames)
}

// takeOne parses one frame from the front of the buffer. more is false when it takes more bytes to go on.
func (c *conn) takeOne() (more bool, _ *failure) {
	if c.large != nil {
		return c.takeRest()
	}
	n, found, err := c.dec.Next(c.rb.Unread(), netx.MaxReadBytes)
	if err != nil {
		return false, decodeFailure(err)
	}
	switch found {
	case frame.Nothing:
		c.rb.Advance(n)
		c.rb.Want(c.dec.Need)
		return false, nil
	case frame.Head:
		err := c.beginLarge(&c.dec.Frame, c.dec.Need)
		c.rb.Advance(n)
		return err == nil, err
	}
	c.frames++
	failed := c.frame(&c.dec.Frame)
	c.rb.Advance(n)
	return failed == nil, failed
}

// frame does what a frame asks for.
func (c *conn) frame(f *frame.Frame) *failure {
	if f.Command == frame.Send {
		c.settled()
		return c.blame(f, c.send(f))
	}
	if err := f.Unescape(c.version); err != nil {
		return c.blame(f, decodeFailure(err))
	}
	if f.Command == frame.Ack || f.Command == frame.Nack {
		return c.blame(f, c.settle(f))
	}
	// What came before must be seen by what comes now.
	c.settled()
	if err := c.endRead(); err != nil {
		return err
	}
	c.waitOutbox()
	return c.blame(f, c.call(f))
}

// call is the table of the other commands.
func (c *conn) call(f *frame.Frame) *failure {
	switch f.Command {
	case frame.Subscribe:
		return asFailure(c.subscribe(f))
	case frame.Unsubscribe:
		return asFailure(c.unsubscribe(f))
	case frame.Begin:
		return c.begin(f)
	case frame.Commit:
		return c.commit(f)
	case frame.Abort:
		return c.abort(f)
	case frame.Disconnect:
		c.disconnect(f)
		return nil
	}
	return fail("Illegal command", "%s on a connection that is signed in", f.Command)
}

// blame fills in what the client did, and the receipt that it will not get.
func (c *conn) blame(f *frame.Frame, e *failure) *failure {
	if e == nil {
		return nil
	}
	if e.what == "" {
		e.what = f.Command.String()
	}
	if e.receipt == "" {
		e.receipt = header(f, "receipt")
	}
	return e
}

// fail ends the connection with an ERROR, behind the receipts of what was done before.
func (c *conn) fail(e *failure) {
	if c.ended {
		return
	}
	c.ended = true
	c.settled()
	if earlier := c.endRead(); earlier != nil {
		e = earlier
	}
	c.awaitReceipts(receiptPatience)
	c.refused(e)
	c.lastFrame(e)
}

// refused logs an error that ends the connection.
func (c *conn) refused(e *failure) {
	what, advice := e.what, e.advice
	if what == "" {
		what = "frame"
	}
	if advice == "" {
		advice = "correct what the client sends"
	}
	switch {
	case e.login != nil:
		c.log.LoginRefused(e.login)
	case e.denied:
		c.log.Denied(what, "", e, "use a destination or a user for which it is allowed")
	default:
		c.log.Refused(what, e, advice)
	}
}

// disconnect ends the connection as the client wishes, all that it sent before being done.
func (c *conn) disconnect(f *frame.Frame) {
	c.endSubscriptions()
	if id, ok := f.Get("receipt"); ok {
		c.receipt(id)
	}
	c.awaitReceipts(lastWordTime)
	c.ended = true
}
