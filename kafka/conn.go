package kafka

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/txn"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// conn is one client connection. Everything in it belongs to the goroutine of
// Handle; the outbox alone is shared with its writer.
type conn struct {
	s        *Server
	nc       net.Conn
	entry    *broker.Connection // in the registry
	about    atomic.Pointer[about]
	client   string          // as the last request named it
	memory   *budget.Account // of what requests take; see package budget
	frames   *frames
	requests atomic.Uint64
	out      *outbox
	log      *netx.Client

	who     auth.Identity
	in      bool  // logged in, or let in without
	nobody  error // why it is not let in as it is, by its certificate or without a name
	over    bool  // the login was refused: the answer is the last one
	sasl    saslState
	vhost   *broker.VHost
	session *broker.Session
	groups  *group.Coordinator
	txns    *txn.Coordinator

	topics        map[string]*topic // of this connection's producing and fetching
	byID          map[wire.TopicID][]byte
	noID          map[wire.TopicID]time.Time // ids that there are not, and when that was looked for
	scans         int                        // of all topics for an id, by the request under way
	allIDs        map[wire.TopicID]string    // the names of all, once there were many
	produce       wire.ProduceRequest
	entered       *entered // the transaction of the Produce request under way, nil if it has none
	fetch         fetcher
	fed           bool                     // records went to publisher since its last flush
	routed        []*wire.ProducePartition // of the request under way, those whose records went there
	told          endpoint                 // what it is told to connect to
	requireStable bool                     // of the OffsetFetch under way
	publisher     *broker.Publisher        // for topics that lead into an exchange; nil until used
	body          []byte                   // memory of encoded answers
	bill          bill
	share         sharing
}

// Handle serves one connection until it ends.
func (s *Server) Handle(nc net.Conn) { s.newConn(nc).live() }

func (s *Server) newConn(nc net.Conn) *conn {
	c := &conn{s: s, nc: nc, memory: s.opts.Budget.Open(), topics: map[string]*topic{}}
	c.frames = newFrames(nc, c.memory, s.opts.IdleTimeout)
	c.out = newOutbox(nc, c.memory, c.unstored)
	c.log = s.log.Client(nc.RemoteAddr())
	return c
}

// live runs the connection from its first byte to its last.
func (c *conn) live() {
	defer c.close()
	if c.entry = c.s.clients.Connect(c.nc, c); c.entry == nil {
		return
	}
	defer c.entry.Close()
	if err := c.enter(); err != nil {
		c.log.Refused("connection", err, "let the clients log in, with a user of the virtual host that they need")
		return
	}
	c.end(c.run())
}

// end closes the connection. Unless it is the client that is gone, what was answered before goes out first.
func (c *conn) end(why error) {
	switch {
	case errors.Is(why, io.EOF), errors.Is(why, net.ErrClosed), errors.Is(why, os.ErrDeadlineExceeded) && !c.s.closed.Load(),
		errors.Is(why, auth.ErrBusy): // clients take that for something to try again
		c.log.Debug("connection ended", "error", why)
		return
	case errors.Is(why, errBeforeLogin) && c.nobody != nil:
		c.log.LoginRefused(c.nobody)
	case errors.Is(why, errBeforeLogin):
		c.log.Denied("request", "", why, "let the client log in: sasl.mechanism, and a user who may come from there")
	case errors.Is(why, netx.ErrSpeaksTLS):
		c.log.Refused("connection", why, netx.TLSAdvice)
	case errors.As(why, new(*wire.Refused)), errors.Is(why, wire.ErrMalformed):
		c.log.Refused("request", why, "mend or update the client, or send it to the port of its protocol")
	default:
		c.log.Debug("connection ended", "error", why)
	}
	if c.out.drain() == nil && c.out.send() == nil {
		netx.Part(c.s.stopping, c.nc, 0)
	}
}

// enter lets a client in that may come without a login.
func (c *conn) enter() error {
	if c.s.opts.Users == nil {
		return c.admit(auth.Identity{}, "")
	}
	if cert := c.certificate(); cert != nil {
		return c.enterCertified(cert)
	}
	who, err := c.s.opts.Users.Anonymous(c.nc.RemoteAddr())
	if err != nil {
		return nil // must log in
	}
	if err := c.admit(who, ""); broker.KindOf(err) != broker.Refused {
		c.nobody = err
	}
	return nil // if there is no place for it so, it may log in
}

// admit gives the connection its identity and its virtual host, that of the user if it names none.
func (c *conn) admit(who auth.Identity, vhost string) error {
	if vhost == "" {
		vhost = c.s.homeOf(who.Name)
	}
	v, err := c.s.broker.VHost(vhost)
	if err != nil {
		return err
	}
	if c.session != nil { // it has no place beside the next one
		c.s.shares.left(c)
		c.endFetchSessions()
		c.session.Close()
		c.session = nil
	}
	session := c.entry.NewSession(v, who) // which hears from here on when its right is lost
	if err := session.Enter(); err != nil {
		session.Close()
		return err
	}
	session.SetClientID(c.client)
	c.who, c.in, c.vhost, c.session = who, true, v, session
	c.log.LoggedIn(who.Name)
	c.log.Entered(v.Name)
	c.groups, c.txns = c.s.groupsOf(v), c.s.txnsOf(v)
	clear(c.topics)
	clear(c.byID)
	clear(c.noID)
	c.publisher = nil
	return nil
}

func (c *conn) close() {
	_ = c.nc.Close() // also ends a write that hangs
	c.out.close()
	c.frames.release()
	c.memory.Close()
	if c.publisher != nil {
		c.publisher.Abandon()
	}
	c.s.shares.left(c)
	c.endFetchSessions()
	if c.session != nil {
		c.session.Close()
	}
}

// run serves requests in order until one can't be answered.
func (c *conn) run() error {
	known := false
	for {
		if !c.frames.buffered() {
			if err := c.out.send(); err != nil {
				return err
			}
		}
		if c.sasl.raw {
			if err := c.rawToken(); err != nil {
				return err
			}
			continue
		}
		frame, err := c.frames.next(c.limit)
		if err != nil {
			return err
		}
		if c.in && !known { // not before it asks for something: it may be in without a login
			known = true
			netx.Known(c.nc)
		}
		if err := c.serve(frame); err != nil {
			// What was answered before still goes out.
			_ = c.out.send()
			return err
		}
	}
}

// limit is how large a frame may be, by its key.
func (c *conn) limit(k wire.Key) int {
	if !c.in {
		return wire.MaxUnauthenticatedBytes
	}
	return min(wire.LimitOf(k), c.s.opts.MaxFrameBytes)
}

// errBeforeLogin ends the connection of a client that asks before it has logged in.
var errBeforeLogin = errors.New("a request before the login")

// serve answers one request. An error ends the connection: the protocol has no
// answer to what is malformed.
func (c *conn) serve(frame []byte) error {
	h, body, err := wire.ParseHeader(frame)
	c.requests.Add(1)
	var refused *wire.Refused
	if errors.As(err, &refused) {
		return c.answerUnsupported(h, frame, refused)
	}
	if err != nil {
		return h.Malformed(err)
	}
	if !c.in && h.Key != wire.APIVersions && h.Key != wire.SASLHandshake && h.Key != wire.SASLAuthenticate {
		return fmt.Errorf("%s: %w", h.Key, errBeforeLogin)
	}
	if id := h.ClientID[:min(len(h.ClientID), maxAboutBytes)]; c.client != string(id) {
		c.introduce(string(id))
	}
	defer c.forgetIDs()
	if h.Key == wire.Produce {
		return c.serveProduce(h, body)
	}
	if err := c.out.drain(); err != nil {
		return err
	}
	if h.Key == wire.Fetch {
		return c.serveFetch(h, body)
	}
	return c.serveGenerated(h, body)
}
