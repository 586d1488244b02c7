package stomp

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/internal/spool"
	"github.com/leveret-mq/leveret/internal/websocket"
)

// Options are a server's settings. Broker and Users are required; the zero value of the rest is its default.
type Options struct {
	Broker *broker.Broker
	Users  *auth.Users
	// VHost is the virtual host of clients that name none that is there; default "/".
	VHost string
	// CertifiedName reads the user's name from a client's certificate that was verified; nil takes no login by one.
	CertifiedName func(*x509.Certificate) (string, error)
	// ConnectTimeout is how long a client may take to sign in; default 10 s.
	ConnectTimeout time.Duration
	// Version is told to clients in the header server.
	Version string
	// Budget bounds the memory of large bodies and transactions; default one of the server's own.
	Budget *budget.Budget
	// Origins are from where pages may connect over WebSocket; none is anywhere.
	Origins []string
	// Logger takes what an operator should read; default slog.Default().
	Logger *slog.Logger
}

func (o *Options) defaults() {
	if o.VHost == "" {
		o.VHost = "/"
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 10 * time.Second
	}
	if o.Version == "" {
		o.Version = "0.0.0"
	}
	if o.Budget == nil {
		o.Budget = budget.New(budget.Options{})
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// Server serves STOMP connections. All methods may be called from any goroutine.
type Server struct {
	opts       Options
	webLog     *netx.Log
	log        *netx.Log
	scratch    func() (spool.Scratch, error)
	stopping   context.Context
	stop       context.CancelFunc
	clients    *broker.Clients
	webClients *broker.Clients // over WebSocket
	origins    atomic.Pointer[websocket.Origins]
}

// New makes a server. It owns no listener: give its Handle to one.
func New(o Options) *Server {
	o.defaults()
	s := &Server{opts: o, clients: o.Broker.Clients("stomp"), webClients: o.Broker.Clients("web-stomp"), log: netx.NewLog("stomp", o.Logger), webLog: netx.NewLog("web-stomp", o.Logger)}
	s.Origins(o.Origins)
	o.Broker.CountLogins("stomp", s.log.Logins)
	o.Broker.CountLogins("web-stomp", s.webLog.Logins)
	s.scratch = func() (spool.Scratch, error) { return o.Broker.Scratch() }
	s.stopping, s.stop = context.WithCancel(context.Background())
	return s
}

// Handle serves one connection until it ends, and closes it.
func (s *Server) Handle(nc net.Conn) { s.handle(newConn(s, nc, s.log), s.clients) }

func (s *Server) handle(c *conn, list *broker.Clients) {
	if c.entry = list.Connect(c.nc, c); c.entry == nil {
		c.rb.Free()
		c.nc.Close()
		return
	}
	defer c.entry.Close()
	c.serve()
}

// CloseAll sends every client an ERROR with the reason, and refuses new ones. It returns at once; Handle returns
// for a connection soon after.
func (s *Server) CloseAll(reason string) {
	s.stop()
	s.clients.Close(reason)
	s.webClients.Close(reason)
}
