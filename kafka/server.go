package kafka

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/kafka/acl"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/txn"
)

// Options are the listener's settings; a zero field gets its default.
type Options struct {
	// Broker is what is served. Required.
	Broker *broker.Broker
	// Users checks logins; nil lets everybody in as nobody.
	Users *auth.Users
	// Credentials are those of the users for Kafka's tools; nil has none to show or change.
	Credentials Credentials
	// Quotas are the limits of the users for Kafka's tools; nil has none to show or change.
	Quotas Quotas
	// Home is the virtual host of a user who names none, "" where nothing says which; nil
	// knows of none.
	Home func(user string) string
	// VHost is where clients are that have no home either; default broker.DefaultVHost.
	VHost string
	// ACLs are the access lists that clients see and change; nil: there are none.
	ACLs *acl.Lists
	// CertifiedName reads the user's name from a client's certificate that was verified: such a client need not
	// log in. nil lets nobody in by one.
	CertifiedName func(*x509.Certificate) (string, error)
	// NoAutoCreate refuses to make a topic when a client first names it.
	NoAutoCreate bool
	// Partitions is the number of partitions of a new topic that is made
	// without saying how many; default 1.
	Partitions int
	// InitialRebalanceDelay is how long an empty group waits for more members;
	// default 20 ms.
	InitialRebalanceDelay time.Duration
	// ShareLock is how long a member of a share group may keep what it was handed; default 30 s.
	ShareLock time.Duration
	// MaxTransactionTimeout is the longest for which a transaction may be open; default 15 min.
	MaxTransactionTimeout time.Duration
	// TransactionalIDExpiration is how long a transactional id is remembered that nobody uses; default 7 days.
	TransactionalIDExpiration time.Duration
	// IdleTimeout closes connections on which nothing was asked; default 10 min.
	IdleTimeout time.Duration
	// MaxFrameBytes bounds a Produce request; default wire.MaxFrameBytes.
	MaxFrameBytes int
	// TrustCompressed stores compressed batches without looking into them.
	TrustCompressed bool
	// Budget bounds the memory of requests and answers; default one of the server's own.
	Budget *budget.Budget
	// Disk is where the data is, for tools that ask; default one that does not say.
	Disk func() (Disk, error)
	// Logger takes what an operator should read; default slog.Default().
	Logger *slog.Logger
}

// Topics is how topics come to be and what is stored in them unseen.
type Topics struct {
	NoAutoCreate    bool
	Partitions      int
	TrustCompressed bool
}

// Adjust changes what the Options of the same names say, for requests from now on.
func (s *Server) Adjust(t Topics) {
	t.Partitions = max(t.Partitions, 1)
	s.made.Store(&t)
}

// NodeID is the id of the one broker that clients see.
const NodeID = 1

// Server serves Kafka clients. Handle, or what Listener returns, is to be called for each connection.
type Server struct {
	opts   Options
	broker *broker.Broker

	made atomic.Pointer[Topics]

	shares        shares
	fetchSessions fetchSessions
	members       *budget.Account // of what members of groups say of themselves
	wide          wide
	largeFetches  atomic.Int32 // answers that are being written

	mu     sync.Mutex // guards the rest of this block
	groups map[*broker.VHost]*group.Coordinator
	txns   map[*broker.VHost]*txn.Coordinator

	clients *broker.Clients

	unsubscribe func() // from deletions of queues and of virtual hosts

	log *netx.Log

	stopping context.Context // ends with stop
	leave    context.CancelFunc
	stop     <-chan struct{}
	closed   atomic.Bool
}

// New reads the committed offsets and returns a server.
func New(o Options) (*Server, error) {
	if o.Broker == nil {
		return nil, errors.New("kafka: no broker")
	}
	o.defaults()
	log := netx.NewLog("kafka", o.Logger)
	o.Broker.CountLogins("kafka", log.Logins)
	s := &Server{opts: o, broker: o.Broker, groups: map[*broker.VHost]*group.Coordinator{}, txns: map[*broker.VHost]*txn.Coordinator{}, clients: o.Broker.Clients("kafka"), wide: make(wide, 1), log: log}
	s.Adjust(Topics{o.NoAutoCreate, o.Partitions, o.TrustCompressed})
	s.members = o.Budget.OpenCommon()
	s.stopping, s.leave = context.WithCancel(context.Background())
	s.stop = s.stopping.Done()
	queues, vhosts := s.broker.OnDeleted(s.forgetTopic), s.broker.OnVHostDeleted(s.forgetVHost)
	s.unsubscribe = func() { queues(); vhosts() }
	if err := errors.Join(s.restoreSettings(), s.restoreOffsets(), s.restoreGroups(), s.restoreTransactions()); err != nil {
		s.unsubscribe()
		return nil, fmt.Errorf("kafka: read the groups and what they committed: %w", err)
	}
	return s, nil
}

func (o *Options) defaults() {
	if o.VHost == "" {
		o.VHost = broker.DefaultVHost
	}
	if o.Partitions == 0 {
		o.Partitions = 1
	}
	if o.InitialRebalanceDelay == 0 {
		o.InitialRebalanceDelay = 20 * time.Millisecond
	}
	if o.ShareLock == 0 {
		o.ShareLock = 30 * time.Second
	}
	if o.MaxTransactionTimeout == 0 {
		o.MaxTransactionTimeout = 15 * time.Minute
	}
	if o.TransactionalIDExpiration == 0 {
		o.TransactionalIDExpiration = 7 * 24 * time.Hour
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 10 * time.Minute
	}
	if o.MaxFrameBytes == 0 {
		o.MaxFrameBytes = maxFrameBytes
	}
	if o.Budget == nil {
		o.Budget = budget.New(budget.Options{})
	}
	if o.Disk == nil {
		o.Disk = func() (Disk, error) { return Disk{}, errors.New("the broker was not told where its data is") }
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// Close has parked requests answered and every connection end. It does not wait
// for them: the listener's Shutdown does.
func (s *Server) Close() {
	if s.closed.Swap(true) {
		return
	}
	s.leave()
	s.unsubscribe()
	s.mu.Lock()
	for _, g := range s.groups {
		g.Close()
	}
	for _, t := range s.txns {
		t.Close()
	}
	s.mu.Unlock()
	s.clients.Close("the server is stopping")
}

// groupsOf is the coordinator of a virtual host; of one that is gone one that is closed.
func (s *Server) groupsOf(v *broker.VHost) *group.Coordinator {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.groups[v]
	if c == nil {
		c = group.New(group.Options{InitialDelay: s.opts.InitialRebalanceDelay, Journal: housekeeper{s, v}, Keeper: housekeeper{s, v}, Memory: memory{s.members}, Topics: assignable{v}, ShareLock: s.opts.ShareLock,
			MaxOffsetBytes: s.members.Share()})
		if s.closed.Load() || v.Gone() {
			c.Close()
			return c
		}
		s.groups[v] = c
	}
	return c
}

// forgetVHost ends the groups of a virtual host that is deleted. What they have committed goes
// with it.
func (s *Server) forgetVHost(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for v, c := range s.groups {
		if v.Name == name && v.Gone() {
			delete(s.groups, v)
			c.Close()
		}
	}
	for v, c := range s.txns {
		if v.Name == name && v.Gone() {
			delete(s.txns, v)
			c.Close()
		}
	}
	return nil
}
