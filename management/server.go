package management

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/netx"
)

// Options are a server's settings. Broker, Access and Users are required; the zero value of the rest is its default.
type Options struct {
	Broker *broker.Broker
	Access *access.Keeper
	Users  *auth.Users
	// Budget bounds the memory of requests and answers; default one of the server's own.
	Budget *budget.Budget
	// Logger takes what an operator should read; default slog.Default().
	Logger *slog.Logger
	// Version is the broker's own.
	Version string
	// Node is what the broker is called; default rabbit@ and the name of the machine, as tools expect it.
	Node string
	// Started is when the broker was started; default when New is called.
	Started time.Time
	// Listeners reads what is listened on; nil is nothing.
	Listeners func() []Listener
	// Machine reads the figures of the process and its machine; nil is none.
	Machine func() Machine
	// Groups reads how far Kafka's consumer groups are; nil is none.
	Groups func() []broker.GroupStats
	// DeleteGroup removes a consumer group that has no members; nil has none.
	DeleteGroup func(s *broker.Session, name string) error
	// ResetGroup has one without members go on elsewhere in a topic; nil has none.
	ResetGroup func(s *broker.Session, r broker.GroupReset) error
	// Recent has the last lines of the log; nil is none.
	Recent *audit.Recent
	// Ready returns nil from when every listener accepts until the stop, else what the broker is about; nil is always ready.
	Ready func() error
	// CertificateEnd reads when the certificate of the listeners with TLS expires; nil without one.
	CertificateEnd func() time.Time
	// Origins are those of other sites' pages that may use the API from a browser.
	Origins []string
	// MaxBody bounds the body of a request in bytes; default 20 MB, as RabbitMQ's.
	MaxBody int64
}

// Listener is one address on which the broker listens.
type Listener struct {
	// Name is the protocol as this broker calls it, with -tls or s behind it where it is spoken over TLS.
	Name string
	Addr net.Addr
	TLS  bool
	Up   bool
}

// Machine is what the process takes of its machine, at a moment. Sizes are in bytes.
type Machine struct {
	Memory, MemoryLimit uint64
	DiskFree            uint64
	DiskFreeLimit       uint64
	OpenFiles, MaxFiles uint64
	Sockets             int
	SocketLimit         int // connections that are held at most; 0 is not known
	DataDir             string
	ConfigFile          string
}

// DefaultNode is rabbit@ and the name of the machine, as tools expect it of a node.
func DefaultNode() string {
	host, _ := os.Hostname() // the name of nobody is localhost
	host, _, _ = strings.Cut(host, ".")
	if host == "" {
		host = "localhost"
	}
	return "rabbit@" + host
}

func (o *Options) defaults() {
	if o.Budget == nil {
		o.Budget = budget.New(budget.Options{})
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Version == "" {
		o.Version = "0.0.0"
	}
	if o.Node == "" {
		o.Node = DefaultNode()
	}
	if o.Started.IsZero() {
		o.Started = time.Now()
	}
	if o.Listeners == nil {
		o.Listeners = func() []Listener { return nil }
	}
	if o.Groups == nil {
		o.Groups = func() []broker.GroupStats { return nil }
	}
	if o.DeleteGroup == nil {
		o.DeleteGroup = func(*broker.Session, string) error { return missing() }
	}
	if o.ResetGroup == nil {
		o.ResetGroup = func(*broker.Session, broker.GroupReset) error { return missing() }
	}
	if o.Recent == nil {
		o.Recent = &audit.Recent{}
	}
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
	if o.Machine == nil {
		o.Machine = func() Machine { return Machine{} }
	}
	if o.MaxBody == 0 {
		o.MaxBody = 20_000_000
	}
}

// Server answers the API. All methods may be called from any goroutine.
type Server struct {
	opts     Options
	log      *netx.Log
	routes   *node
	crossing *http.CrossOriginProtection
	rates    rates
	inOrder  inOrder
	// description is the API's, made when somebody asks.
	description func() object
	stopping    context.Context
	stop        context.CancelFunc
}

// New makes a server. It owns no listener: it is the http.Handler of one.
func New(o Options) (*Server, error) {
	o.defaults()
	s := &Server{opts: o, log: netx.NewLog("http", o.Logger), crossing: http.NewCrossOriginProtection()}
	o.Broker.CountLogins("http", s.log.Logins)
	s.stopping, s.stop = context.WithCancel(context.Background())
	for _, origin := range o.Origins {
		if err := s.crossing.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}
	rows := allRows()
	s.description = sync.OnceValue(func() object { return describeAll(rows) })
	var err error
	s.routes, err = newRouter(rows)
	return s, err
}

// Close has requests end that would last.
func (s *Server) Close() { s.stop() }

// requestTime is how long the body of a request may take to come, and its answer to be taken.
const requestTime = time.Minute

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := newCall(s, w, r)
	c.bound()
	s.answer(c)
}

// answer works a request off.
func (s *Server) answer(c *call) {
	defer c.end()
	defer func() {
		broken := recover()
		if broken == nil {
			return
		}
		if broken == http.ErrAbortHandler { // the connection is to be closed without a word
			panic(broken)
		}
		c.log.Error("a request's handler panicked", "request", c.what(), "panic", broken, "stack", string(debug.Stack()))
		c.fail(&failure{status: http.StatusInternalServerError, err: "internal_error", reason: "the request could not be worked off; the broker's log says why"})
	}()
	if err := c.serve(); err != nil {
		c.fail(asFailure(err))
	}
}
