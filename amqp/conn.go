package amqp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/internal/spool"
)

// maxOutboxBytes is what may wait to be written before the read loop stops reading.
const maxOutboxBytes = 1 << 20

const (
	// closeTimeout is how long a client may take to answer a connection.close.
	closeTimeout = 5 * time.Second
	// closeWait is how long a client may take to close its socket after connection.close-ok. It is the one to do so:
	// many take the end of the stream for a failure when they read it before they have handled close-ok.
	closeWait = 10 * time.Second
)

// conn is one connection. Fields belong to the read loop unless they stand under a lock.
type conn struct {
	s         *Server
	nc        net.Conn
	log       *netx.Client
	entry     *broker.Connection // in the registry
	about     atomic.Pointer[about]
	agreed    atomic.Pointer[agreed]
	mechanism string
	user      auth.Identity
	caps      struct{ authFailureClose, cancelNotify, blocked bool }

	channelMax int
	frameMax   int
	maxPayload int
	heartbeat  time.Duration

	session   *broker.Session
	publisher *broker.Publisher

	rb         *netx.ReadBuffer
	frames     uint64        // read
	framesRead atomic.Uint64 // the same, for others

	channels channelTable
	memory   *budget.Account // of unfinished bodies
	spool    spool.Spool     // unfinished bodies
	closing  bool            // connection.close was sent; only its answer counts
	ended    bool            // nothing more is to be read
	closeOk  bool            // the client closed the connection, and got its answer
	running  atomic.Bool     // the handshake is done
	forced   atomic.Bool     // Close was called
	reason   atomic.Pointer[string]
	told     atomic.Bool // the client was sent connection.close for it
	parting  bool        // the same, or is about to be

	in         inbound       // the publish under way
	touched    []*channel    // confirm channels with publishes since the last endRead
	dirty      []*channel    // channels with verdicts not yet told to the broker
	publishing []*channel    // channels with publishes not yet counted
	toStore    int           // publishes since the last endRead
	heldBack   int           // the same, of transactions, which are not to be stored yet
	plain      int           // of these, on channels without confirms
	inflow     broker.Inflow // against the rates of the session
	pub        wire.PublishParser
	settle     wire.Settle // parsed last

	w          writer
	wake       chan struct{}
	drained    chan struct{}
	writerDone chan struct{}

	outMu    sync.Mutex // guards the fields below
	out      []byte     // frames for the writer, in order
	replies  replyBox   // of out
	confirms *netx.Answers[[]confirmMark]
	unsaid   []*channel // whose answers in out leave before more is delivered; see sendFirst
	blocked  bool       // the client was told so
	silent   bool       // the connection is closed; nothing is told any more
	finish   bool       // the writer ends when all of out is written
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{s: s, nc: nc, log: s.log.Client(nc.RemoteAddr()), memory: s.opts.Budget.Open(), wake: make(chan struct{}, 1), drained: make(chan struct{}, 1), writerDone: make(chan struct{})}
	c.confirms = netx.NewAnswers[[]confirmMark](c.signal, c.unstored)
	c.spool.Memory, c.spool.Open = c.memory, s.scratch
	c.rb = netx.NewReadBuffer(nc, netx.MaxReadBytes)
	c.w.c = c
	c.w.Open(netx.NewWriter(nc, writeTimeout, c.patience), c.log, &c.outMu, c.signal)
	return c
}

// serve runs the connection from its first byte to its last.
func (c *conn) serve() {
	c.run()
	wait := time.Duration(0)
	if c.closeOk {
		wait = closeWait
	}
	netx.Part(c.s.stopping, c.nc, wait)
}

// run serves the connection until its last word is written, or the socket is closed.
func (c *conn) run() {
	defer c.rb.Free()
	if err := c.handshake(); err != nil {
		var e *closeError
		switch {
		case errors.As(err, &e):
			c.refused(e)
			c.refuseHandshake(e)
		case !netx.OrdinaryEnd(err):
			c.log.Debug("connection ended in its handshake", "error", err)
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.nc.Close() // there is no last word
		}
		if c.session != nil {
			c.session.Close()
		}
		return
	}
	c.running.Store(true)
	go c.w.run()
	err := c.read()
	if err != nil && !netx.OrdinaryEnd(err) {
		c.log.Debug("connection ended", "error", err)
	}
	c.end(err == nil)
}

// end stops the writer, returns what consumers held, and lets go of the exclusive queues. A connection
// that ended in order has its last frames written first.
func (c *conn) end(inOrder bool) {
	if !inOrder {
		c.nc.Close()
	}
	c.outMu.Lock()
	c.finish = true
	c.outMu.Unlock()
	c.signal()
	if inOrder {
		c.w.Net().Until(time.Now().Add(closeTimeout))
	}
	<-c.writerDone
	c.closeChannels()
	c.repliesLeft(c.replies.held)
	c.memory.Close()
	c.publisher.Abandon()
	c.session.Close()
}

// closeChannels takes every channel down as its own close would: what is stored by now is confirmed, and
// nothing after that.
func (c *conn) closeChannels() {
	c.outMu.Lock()
	c.silent = true
	c.out = c.appendConfirms(c.out)
	c.channels.each(func(ch *channel) { ch.gone = true })
	c.outMu.Unlock()
	var left []*consumer
	c.channels.each(func(ch *channel) { left = append(left, ch.clear()...) })
	depart(left)
}

// read takes frames until the connection ends. nil is an end in order. The client may be silent for two
// heartbeats.
func (c *conn) read() error {
	for {
		n, err := c.rb.Fill(2 * c.heartbeat)
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
		if c.forced.Load() && !c.parting && (err == nil || errors.Is(err, os.ErrDeadlineExceeded)) {
			c.part()
			continue
		}
		if err != nil {
			return c.readFailed(err)
		}
	}
}

func (c *conn) readFailed(err error) error {
	switch {
	case (c.closing || c.forced.Load()) && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF)):
		return nil // it was told, and does not answer
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.log.Refused("connection", fmt.Errorf("no sign of life for two heartbeats of %v", c.heartbeat),
			"look for a client that is stuck or a network that drops idle connections; a longer heartbeat helps who is only busy")
	}
	return err
}

// takeAll parses what the buffer holds, then stores, confirms and settles all of it at once.
func (c *conn) takeAll() {
	for !c.ended {
		more, err := c.takeOne()
		if err != nil {
			c.fail(err)
		}
		if !more {
			break
		}
	}
	if err := c.endRead(); err != nil {
		c.fail(asClose(err, wire.IDBasicPublish))
	}
	c.countPublished()
}

// takeOne parses one thing from the front of the buffer: a publish with its content, a run of
// acknowledgements, or any other frame. more is false when it takes more bytes to go on.
func (c *conn) takeOne() (more bool, err *closeError) {
	buf := c.rb.Unread()
	if wire.IsPublish(buf) {
		if n, done, err := c.takePublish(buf); done {
			c.rb.Advance(n)
			return n > 0, err
		}
	} else if wire.ParseSettle(buf, &c.settle) > 0 {
		if ch := c.live(c.settle.Channel); ch != nil && !ch.content.pending {
			return true, ch.blame(c.takeSettles(ch))
		}
	}
	f, n, need, ferr := wire.ParseFrame(buf, c.maxPayload)
	if ferr != nil {
		if c.closing {
			c.ended = true
		}
		return false, refuse(wire.FrameError, "%v", ferr)
	}
	if n == 0 {
		c.rb.Want(need)
		return false, nil
	}
	c.frames++
	err = c.frame(f)
	c.rb.Advance(n)
	return true, err
}

// takePublish parses a publish in place. done is false when it must go frame by frame.
func (c *conn) takePublish(buf []byte) (n int, done bool, err *closeError) {
	n, found := c.pub.Parse(buf, c.maxPayload)
	switch found {
	case wire.Short:
		if ch := c.live(wire.ChannelOf(buf)); n > netx.MaxReadBytes || ch == nil || ch.content.pending { // or the rest may never come
			return 0, false, nil
		}
		c.rb.Want(n)
		return 0, true, nil
	case wire.Other:
		return 0, false, nil
	}
	ch := c.live(c.pub.Channel)
	if ch == nil || ch.content.pending {
		c.pub.Forget() // this path does not publish it
		return 0, false, nil
	}
	c.frames += 2
	if len(c.pub.Body) > 0 {
		c.frames++
	}
	return n, true, ch.blame(ch.publish(&c.pub.Publish, c.pub.SameHead))
}

// live finds a channel that is open and not on its way out.
func (c *conn) live(number uint16) *channel {
	if ch := c.channels.get(number); ch != nil && !ch.closing && !c.closing {
		return ch
	}
	return nil
}

// frame handles one frame on the plain path.
func (c *conn) frame(f wire.Frame) *closeError {
	if f.Type == wire.FrameHeartbeat {
		if f.Channel != 0 {
			return refuse(wire.UnexpectedFrame, "heartbeat on channel %d", f.Channel)
		}
		return nil
	}
	if f.Channel == 0 {
		if f.Type != wire.FrameMethod {
			return refuse(wire.UnexpectedFrame, "content on channel 0")
		}
		return c.connectionMethod(f.Payload)
	}
	if c.closing {
		return nil
	}
	ch := c.channels.get(f.Channel)
	if ch == nil {
		return c.openChannel(f)
	}
	if ch.closing {
		return ch.whileClosing(f)
	}
	switch f.Type {
	case wire.FrameHeader:
		return ch.blame(ch.contentHeader(f.Payload))
	case wire.FrameBody:
		return ch.blame(ch.contentBody(f.Payload))
	}
	return ch.blame(ch.method(f.Payload))
}

// refused logs an error that ends the connection or a channel.
func (c *conn) refused(e *closeError, args ...any) {
	switch {
	case e.login != nil:
		c.log.LoginRefused(e.login)
	case e.denied:
		c.log.Denied(e.what(), "", e, "use a name or a user for which it is allowed", args...)
	case e.limited:
		c.log.Refused(e.what(), e, "raise the limit of the user or the virtual host, or find out why the client needs so many", args...)
	default:
		c.log.Refused(e.what(), e, advice(e.code), args...)
	}
}

// fail ends the channel or the connection, as the code says.
func (c *conn) fail(e *closeError) {
	if c.closing {
		return
	}
	if err := c.endRead(); err != nil { // what came before the error stands
		e = asClose(err, wire.IDBasicPublish)
	}
	if c.forced.Load() { // who is to go hears of nothing else
		c.part()
		c.closing = true
		return
	}
	if !e.code.Hard() && e.channel != nil {
		e.channel.fail(e)
		return
	}
	c.refused(e)
	c.closing = true
	c.closeChannels()
	if c.forced.Load() {
		return // it was told to go, and has less time
	}
	c.send(0, &wire.ConnectionClose{ReplyCode: e.code, ReplyText: wire.ReplyText(e.code, e.text),
		ClassID: e.method.Class(), MethodID: e.method.Number()})
	c.rb.Until(time.Now().Add(closeTimeout))
}

// connectionMethod handles the methods of channel 0 after the handshake.
func (c *conn) connectionMethod(payload []byte) *closeError {
	m, err := wire.Decode(payload)
	if err != nil {
		return decodeError(err, wire.PayloadID(payload))
	}
	switch m.(type) {
	case *wire.ConnectionClose:
		c.endRead()
		c.closeChannels()
		c.session.Close()
		c.send(0, &wire.ConnectionCloseOk{})
		c.ended, c.closeOk = true, true
		return nil
	case *wire.ConnectionCloseOk:
		if c.closing || c.told.Load() {
			c.ended = true
			return nil
		}
	case *wire.ConnectionUpdateSecret:
		return c.updateSecret()
	}
	if c.closing {
		return nil
	}
	return &closeError{code: wire.ChannelError, text: "unexpected method in connection state running", method: m.ID()}
}

// updateSecret answers a client that renews its credentials. A password does not run out, so there is
// nothing to renew: the connection goes on as the user that logged in, whatever the new secret is, as
// it does on RabbitMQ with users of its own.
func (c *conn) updateSecret() *closeError {
	c.send(0, &wire.ConnectionUpdateSecretOk{})
	return nil
}
