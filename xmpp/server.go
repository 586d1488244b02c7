package xmpp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/netx"
)

// Options are a server's settings. Broker, Users and TLS are required; the zero value of the rest is its default.
type Options struct {
	Broker *broker.Broker
	Users  *auth.Users
	// TLS is how to speak TLS with a connection that comes now.
	TLS func() *tls.Config
	// CertifiedName reads the user's name from a client's certificate that was verified; nil takes no login by one.
	CertifiedName func(*x509.Certificate) (string, error)
	// Domains are those that are served; default "localhost".
	Domains []Domain
	// VHost is the virtual host of domains that name none, and are called like none; default "/".
	VHost string
	// Services answer what is sent to addresses one label below each domain.
	Services []Service
	// ConnectTimeout is how long a client may take to sign in and to bind a resource; default 30 s.
	ConnectTimeout time.Duration
	// MaxStanzaBytes bounds one stanza of a client that has signed in; default 256 KiB.
	MaxStanzaBytes int
	// StanzaRate is how many stanzas a second a client may send for longer than a second; 0 is any number.
	StanzaRate int
	// ResumeTime is how long a stream that broke can be resumed; default 5 minutes.
	ResumeTime time.Duration
	// PingAfter is how long a client may be silent before it is asked whether it is there, and gets half as long to
	// answer; default 150 s.
	PingAfter time.Duration
	// Version is told to clients that ask.
	Version string
	// Budget bounds the memory of large stanzas and of what waits for clients; default one of the server's own.
	Budget *budget.Budget
	// Logger takes what an operator should read; default slog.Default().
	Logger *slog.Logger
}

// Domain is a domain that is served.
type Domain struct {
	Name  string // in lower case
	VHost string // "" is the virtual host that is called like the domain, and without one the server's
}

func (o *Options) defaults() {
	if len(o.Domains) == 0 {
		o.Domains = []Domain{{Name: "localhost"}}
	}
	if o.VHost == "" {
		o.VHost = "/"
	}
	for _, d := range []struct {
		is   *time.Duration
		then time.Duration
	}{{&o.ConnectTimeout, 30 * time.Second}, {&o.ResumeTime, 5 * time.Minute}, {&o.PingAfter, 150 * time.Second}} {
		if *d.is == 0 {
			*d.is = d.then
		}
	}
	if o.MaxStanzaBytes == 0 {
		o.MaxStanzaBytes = 256 << 10
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

// Server serves XMPP streams. All methods may be called from any goroutine.
type Server struct {
	opts     Options
	log      *netx.Log
	stopping context.Context
	stop     context.CancelFunc
	clients  *broker.Clients
	domains  map[string]*domain
	started  time.Time
	registry registry
	rosters  rosters
	behind   sync.WaitGroup // what goes on behind everybody's back
	ends     []func()       // of what others tell
}

// domain is one that is served.
type domain struct {
	s        *Server
	name     string
	vhost    string
	services map[string]Service // by the name below the domain
	order    []string           // of these, to be listed
}

// New makes a server. It owns no listener: give its Handle to one.
func New(o Options) (*Server, error) {
	o.defaults()
	if o.TLS == nil {
		return nil, errors.New("no certificate is known")
	}
	s := &Server{opts: o, clients: o.Broker.Clients("xmpp"), log: netx.NewLog("xmpp", o.Logger), domains: map[string]*domain{}, started: time.Now()}
	o.Broker.CountLogins("xmpp", s.log.Logins)
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.registry.init(s)
	for _, d := range o.Domains {
		own := &domain{s: s, name: d.Name, vhost: d.VHost, services: map[string]Service{}}
		for _, service := range append([]Service{&queueService{s}, &exchangeService{s}}, o.Services...) {
			own.services[service.Label()] = service
			own.order = append(own.order, service.Label())
		}
		s.domains[d.Name] = own
	}
	for _, service := range o.Services {
		service.Open(s)
	}
	s.ends = []func(){
		o.Users.OnRemoved(func(name string) { s.behind.Go(func() { s.userDeleted(name) }) }),
		o.Broker.OnVHostDeleted(func(name string) error {
			s.rosters.forget(func(key rosterKey) bool { return key.v.Name == name })
			return nil
		}),
	}
	s.behind.Go(s.sweep)
	return s, nil
}

// vhostOf is the virtual host that a domain stands for.
func (d *domain) vhostOf() (*broker.VHost, error) {
	if d.vhost != "" {
		return d.s.opts.Broker.VHost(d.vhost)
	}
	if v, err := d.s.opts.Broker.VHost(d.name); err == nil {
		return v, nil
	}
	return d.s.opts.Broker.VHost(d.s.opts.VHost)
}

// Handle serves one connection until it ends, and closes it.
func (s *Server) Handle(nc net.Conn) {
	c := newConn(s, nc)
	if c.entry = s.clients.Connect(nc, c); c.entry == nil {
		c.link.Load().rb.Free()
		nc.Close()
		return
	}
	defer c.entry.Close()
	c.serve()
}

// CloseAll ends every stream, and lets no new ones begin. It returns at once; Handle returns for a connection soon
// after.
func (s *Server) CloseAll(reason string) {
	for _, end := range s.ends {
		end()
	}
	s.stop()
	s.clients.Close(reason)
	s.registry.close()
}

// Wait waits for what goes on behind everybody's back. The broker may be closed then. Call CloseAll before.
func (s *Server) Wait() { s.behind.Wait() }
