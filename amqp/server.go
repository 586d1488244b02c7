package amqp

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/internal/spool"
)

// Options are a server's settings. Broker and Users are required; the zero value of the rest is its default.
type Options struct {
	Broker *broker.Broker
	Users  *auth.Users
	// CertifiedName reads the user's name from a client's certificate that was verified; nil takes no login by one.
	CertifiedName func(*x509.Certificate) (string, error)
	// FrameMaxBytes is the largest frame that is offered; default 128 KiB, never below 8 KiB.
	FrameMaxBytes int
	// ChannelMax is the highest channel number that is offered; default 2047.
	ChannelMax int
	// Heartbeat is what is offered; default 60 s, negative is none.
	Heartbeat time.Duration
	// HandshakeTimeout is how long a client may take from connecting to connection.open; default 10 s.
	HandshakeTimeout time.Duration
	// Version and ClusterName are told to clients in server-properties; see serverProperties.
	Version     string
	ClusterName string
	// Budget bounds the memory of unfinished bodies; default one of the server's own.
	Budget *budget.Budget
	// Logger takes what an operator should read; default slog.Default().
	Logger *slog.Logger
}

func (o *Options) offerDefaults() {
	if o.FrameMaxBytes == 0 {
		o.FrameMaxBytes = 128 << 10
	}
	o.FrameMaxBytes = min(max(o.FrameMaxBytes, 8<<10), netx.MaxReadBytes)
	if o.ChannelMax <= 0 || o.ChannelMax > 65535 {
		o.ChannelMax = 2047
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 60 * time.Second
	}
}

func (o *Options) defaults() {
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = 10 * time.Second
	}
	if o.Version == "" {
		o.Version = "0.0.0"
	}
	if o.ClusterName == "" {
		o.ClusterName = "leveret"
	}
	if o.Budget == nil {
		o.Budget = budget.New(budget.Options{})
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// Offer is what connections that open are offered.
type Offer struct {
	FrameMaxBytes int
	ChannelMax    int
	Heartbeat     time.Duration // negative is none
}

// Offer changes what connections are offered that open from now on. A zero field
// is the default.
func (s *Server) Offer(offer Offer) {
	o := Options{FrameMaxBytes: offer.FrameMaxBytes, ChannelMax: offer.ChannelMax, Heartbeat: offer.Heartbeat}
	o.offerDefaults()
	s.offer.Store(&Offer{o.FrameMaxBytes, o.ChannelMax, o.Heartbeat})
}

// Server serves AMQP 0-9-1 connections. All methods may be called from any goroutine.
type Server struct {
	opts        Options
	offer       atomic.Pointer[Offer]
	properties  wire.Table // server-properties, the same for everyone
	log         *netx.Log
	scratch     func() (spool.Scratch, error)
	stopping    context.Context
	stop        context.CancelFunc
	clients     *broker.Clients
	unsubscribe func() // from alarms
	overdue     overdue
}

// New makes a server. It owns no listener: give its Handle to one.
func New(o Options) *Server {
	o.defaults()
	s := &Server{opts: o, properties: serverProperties(&o), clients: o.Broker.Clients("amqp")}
	s.Offer(Offer{o.FrameMaxBytes, o.ChannelMax, o.Heartbeat})
	s.log = netx.NewLog("amqp", o.Logger)
	o.Broker.CountLogins("amqp", s.log.Logins)
	s.unsubscribe = o.Broker.OnAlarm(s.alarmChanged)
	s.scratch = func() (spool.Scratch, error) { return o.Broker.Scratch() }
	s.stopping, s.stop = context.WithCancel(context.Background())
	return s
}

// Handle serves one connection until it ends, and closes it.
func (s *Server) Handle(nc net.Conn) {
	c := newConn(s, nc)
	if c.entry = s.clients.Connect(nc, c); c.entry == nil {
		c.rb.Free()
		nc.Close()
		return
	}
	defer c.entry.Close()
	c.serve()
}

// CloseAll asks every client to go, with connection.close 320 and the reason, and refuses new ones. It
// returns at once; Handle returns for a connection when its client answered or a second has passed.
func (s *Server) CloseAll(reason string) {
	s.unsubscribe()
	s.stop()
	s.clients.Close(reason)
}
