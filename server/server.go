package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/internal/tlsconf"
	"github.com/leveret-mq/leveret/kafka"
	"github.com/leveret-mq/leveret/store"
)

// Options are what a configuration does not hold.
type Options struct {
	// Version is shown to clients and people.
	Version string
	// Logger takes what the broker has to say; nil is slog.Default().
	Logger *slog.Logger
	// Files is the file system of the data directory; nil is the machine's.
	Files fs.FS
}

func (o *Options) files() fs.FS {
	if o.Files == nil {
		return fs.Real()
	}
	return o.Files
}

// Server is a running broker.
type Server struct {
	config  *config.Config // of the start
	version string
	logger  *slog.Logger
	recent  *audit.Recent // the last lines of logger
	started time.Time
	took    time.Duration // of the start

	dataFS    fs.FS
	store     store.Store
	probe     func() error                   // of the same, for a message of ordinary size
	watermark atomic.Int64                   // memory at which publishers wait; 0 is none
	kafka     atomic.Pointer[kafka.Server]   // once it listens
	scratch   func() (broker.Scratch, error) // of the store's file system
	broker    *broker.Broker
	access    *access.Keeper
	defined   *definitionsFile // until it is applied
	users     *auth.Users      // of the same
	budget    *budget.Budget   // of the memory that requests take
	slots     *netx.Slots      // for the connections of all listeners
	files     fileShares       // of the process's descriptors

	reloading sync.Mutex     // guards running, and the use of what follows
	running   *config.Config // what is in force
	adjusts   []func(*config.Config)
	rereads   []reread
	toldOf    int // --max-connections that are more than there can be

	tls        *tlsconf.Source  // nil without a certificate
	handshakes *netx.Handshakes // of all listeners with it

	phase  atomic.Int32
	parts  []part // in the order in which they were started
	failed chan error

	mu        sync.Mutex // guards listeners
	listeners []*listener

	stopOnce sync.Once
	ending   atomic.Pointer[string] // the part that is being stopped
	stopped  chan struct{}          // closed when all are
	stopErr  error                  // then
}

// Phases of a Server.
const (
	starting int32 = iota
	serving
	stopping
)

// part is something that was started and must be stopped.
type part struct {
	name string
	stop func(context.Context) error
}

// Start builds and starts everything. The configuration must not be changed
// afterwards. When it returns, every listener takes connections.
func Start(c *config.Config, o Options) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	kept := &audit.Recent{}
	s := &Server{config: c, running: c, version: o.Version, logger: slog.New(kept.Handler(o.Logger.Handler())), recent: kept, started: time.Now(), failed: make(chan error, 8), stopped: make(chan struct{}), dataFS: o.files()}
	s.adjustBy(s.setWatermark)
	s.files = shareFiles(fs.OpenFileLimit())
	s.slots = netx.NewSlots(s.files.connections)
	s.adjustBy(s.tellOfFewSlots)
	s.budget = budget.New(budget.Options{Bytes: requestMemory(int64(c.RequestMemory), memoryBytes())})
	for _, step := range []func() error{s.openTLS, s.readDefinitions, s.openStore, s.openUsers, s.openBroker, s.loadDefinitions, s.openAdmin, s.openPprof, s.openManagement, s.openProtocols} {
		if err := step(); err != nil {
			ctx, cancel := context.WithTimeout(context.Background(), c.ShutdownGrace)
			defer cancel()
			return nil, errors.Join(err, s.Stop(ctx))
		}
	}
	s.took = time.Since(s.started)
	s.phase.Store(serving)
	go s.giveBack()
	return s, nil
}

// push notes a part that runs, to be stopped before those that run already.
func (s *Server) push(name string, stop func(context.Context) error) {
	s.parts = append(s.parts, part{name, stop})
}

// Failed gets the error of a listener that ended by itself: the broker should
// be stopped then.
func (s *Server) Failed() <-chan error { return s.failed }

// Addr is the address that the listener of that name is bound to, with the port
// that the system chose; "" when it is off. The names are amqp, kafka, stomp, stomp-ws, xmpp, http and metrics,
// and with TLS amqps, kafka-tls, stomp-tls, stomp-wss, xmpps, https and metrics-tls;
// one of several listeners has its own name behind it, as in "kafka outside", and
// without it the first is meant.
func (s *Server) Addr(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		if first, _, _ := strings.Cut(l.name, " "); l.name == name || first == name {
			return l.addr.String()
		}
	}
	return ""
}

// listener is one bound address.
type listener struct {
	name   string
	addr   net.Addr
	tls    bool
	told   string // the address that its clients are told; "" is the one they used
	up     bool   // guarded by Server.mu
	accept *netx.Listener
}

// listen binds an address and names the flag that changes it when that fails.
func (s *Server) listen(name, flag, address string) (net.Listener, *listener, error) {
	inner, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("%s listener at %s: %w (another address: --%s or %s)", name, address, err, flag, envName(flag))
	}
	return inner, &listener{name: name, addr: inner.Addr()}, nil
}

// listens notes that a listener is there, and how it accepts.
func (s *Server) listens(l *listener, accept *netx.Listener) {
	l.accept = accept
	s.mu.Lock()
	defer s.mu.Unlock()
	l.up = true
	s.listeners = append(s.listeners, l)
}

// envName is the environment variable of a flag.
func envName(flag string) string { return config.Setting{Flag: flag}.Env() }

// run serves on a goroutine, and tells whoever waits when serving ended by
// itself. The channel is closed at the end.
func (s *Server) run(l *listener, serve func() error) (ended chan struct{}) {
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		err := serve()
		s.mu.Lock()
		l.up = false
		s.mu.Unlock()
		if err == nil {
			return
		}
		select {
		case s.failed <- fmt.Errorf("%s listener: %w", l.name, err):
		default: // one reason to stop is enough
		}
	}()
	return ended
}
