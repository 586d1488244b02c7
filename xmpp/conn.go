package xmpp

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

const (
	// writeTimeout is how long a write may stand still before the peer's own traffic is looked at.
	writeTimeout = 30 * time.Second
	// storeTime is how long a disk may take for what came over a stream that broke, or it can't be resumed.
	storeTime = 3 * time.Second
	// lastWordTime is how long the last bytes may take to be written.
	lastWordTime = 5 * time.Second

	maxEarlyBytes = 10_000 // of an element before the client has signed in
	maxDepth      = 64
	maxElements   = 8192
	maxAttrs      = 128
	chargeStep    = 16 << 10
	// treeBytes is about what a byte of a stanza takes while it is worked on, as elements and again as bytes.
	treeBytes = 6
)

// link is a connection as it is now: STARTTLS puts another in its place.
type link struct {
	nc  net.Conn
	rb  *netx.ReadBuffer
	out *netx.Writer
}

// conn is one connection. Fields belong to the read loop unless it is said otherwise.
type conn struct {
	s     *Server
	raw   net.Conn // as it was accepted
	link  atomic.Pointer[link]
	log   *netx.Client
	entry *broker.Connection // in the registry

	secure bool // TLS is on
	domain *domain
	user   auth.Identity // once signed in
	tries  int           // of signing in that failed
	lang   string

	reader *stanza.Reader
	taken  int  // bytes of the read buffer that the reader has
	opened bool // our header was sent

	memory    *budget.Account // of large stanzas
	charged   int64           // of it, for the stanza under way
	undefined string          // XML, for a stream error of an extension
	session   *broker.Session
	feed      feed
	client    atomic.Pointer[Client] // once a resource is bound
	stanzas   atomic.Uint64          // read
	written   atomic.Uint64          // stanzas
	rate      rate
	running   atomic.Bool // there is a writer, which may tell the client to go
	forced    atomic.Bool // Close was called
	replaced  atomic.Bool // another connection has taken over
	told      atomic.Bool // somebody else has said the last word
	last      atomic.Pointer[[]byte]
	over      chan struct{} // closed when nothing of the client's is done here any more

	w          writer
	drained    chan struct{}
	writerDone chan struct{}
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{s: s, raw: nc, log: s.log.Client(nc.RemoteAddr()), memory: s.opts.Budget.Open(), drained: make(chan struct{}, 1), writerDone: make(chan struct{}), over: make(chan struct{})}
	c.use(nc)
	_, c.secure = netx.TLSState(nc) // a listener has made the handshake already
	c.w.c = c
	c.w.outflow.Wake = c.signal
	c.feed.c = c
	return c
}

// use has the connection be nc from now on.
func (c *conn) use(nc net.Conn) {
	l := &link{nc: nc, rb: netx.NewReadBuffer(nc, netx.MaxReadBytes), out: netx.NewWriter(nc, writeTimeout, c.patience)}
	if old := c.link.Swap(l); old != nil {
		old.rb.Free()
	}
	c.taken = 0
}

func (c *conn) nc() net.Conn          { return c.link.Load().nc }
func (c *conn) rb() *netx.ReadBuffer  { return c.link.Load().rb }
func (c *conn) close()                { c.nc().Close() }
func (c *conn) gone() <-chan struct{} { return netx.Gone(c.nc()) }
func (c *conn) until(at time.Time) error {
	l := c.link.Load()
	if err := l.rb.Until(at); err != nil {
		return err
	}
	return l.out.Until(at)
}

// patience decides about a client that does not read.
func (c *conn) patience() bool {
	return !c.w.finishing.Load() && time.Since(c.rb().Seen()) <= c.s.opts.PingAfter
}

// serve runs the connection from its first byte to its last.
func (c *conn) serve() {
	defer func() { c.rb().Free() }()
	defer c.memory.Close()
	err := c.run()
	c.uncharge()
	c.sayWhy(err)
	netx.Part(c.s.stopping, c.nc(), 0)
}

// run goes through the stages of a connection. The error is how it ended: nil and those of streamEnd have been told
// to the client or need not be.
func (c *conn) run() error {
	if err := c.signIn(); err != nil {
		return c.endEarly(err)
	}
	return c.converse()
}

// More implements stanza.Source. Before it waits, what came is dealt with to its end.
func (c *conn) More() ([]byte, error) {
	rb := c.rb()
	rb.Advance(c.taken)
	c.taken = 0
	for len(rb.Unread()) == 0 {
		if err := c.beforeWait(); err != nil {
			return nil, err
		}
		n, err := rb.Fill(c.silence())
		if n > 0 {
			c.w.pinged.Store(false)
			c.pace(n)
			break
		}
		if err = c.quiet(err); err != nil {
			return nil, err
		}
	}
	b := rb.Unread()
	c.taken = len(b)
	return b, nil
}

// silence is how long the client may say nothing; 0 is for ever, as while another limit holds.
func (c *conn) silence() time.Duration {
	if c.client.Load() == nil {
		return 0
	}
	if c.w.pinged.Load() {
		return c.s.opts.PingAfter / 2
	}
	return c.s.opts.PingAfter
}

// quiet decides about a read that brought nothing.
func (c *conn) quiet(err error) error {
	switch {
	case c.isSentAway():
		return errTold
	case err == nil:
		return io.EOF
	case !errors.Is(err, os.ErrDeadlineExceeded) || c.client.Load() == nil:
		return err
	case c.w.pinged.Load():
		c.log.Refused("stream", errors.New("no sign of life although it was asked for one"), "look for a client that is stuck or a network that drops idle connections")
		return &stanza.StreamError{Condition: "connection-timeout", Text: "no sign of life"}
	}
	c.w.pinged.Store(true)
	c.client.Load().ping()
	c.rb().Touch()
	return nil
}

// newStream has the next element be the header of a stream. What was read and not used is its beginning.
func (c *conn) newStream(limits stanza.Limits) {
	if c.reader != nil {
		c.rb().Advance(c.taken - len(c.reader.Unread()))
		c.taken = 0
	}
	limits.Step, limits.Charge = chargeStep, c.charge
	c.reader = stanza.NewReader(c, limits)
	c.opened = false
}

var earlyLimits = stanza.Limits{Bytes: maxEarlyBytes, Depth: 8, Elements: 64, Attrs: 32}

// charge counts n bytes more of the stanza under way against the memory of requests.
func (c *conn) charge(n int) error {
	if err := c.memory.Take(int64(n*treeBytes), c.gone()); err != nil {
		c.log.Refused("stanza", err, "send smaller stanzas, or raise --request-memory")
		return &stanza.StreamError{Condition: "resource-constraint", Text: "there is no memory for a stanza of this size now"}
	}
	c.charged += int64(n * treeBytes)
	return nil
}

// uncharge ends the stanza under way.
func (c *conn) uncharge() {
	c.memory.Give(c.charged)
	c.charged = 0
}
