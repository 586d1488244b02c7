package broker

import (
	"cmp"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/audit"
)

// Client is what a listener knows of one of its connections. Its methods are
// called from any goroutine, whenever somebody looks.
type Client interface {
	// Describe fills in what the listener counts and was told: Name, Properties,
	// Traffic and Channels.
	Describe(*ConnectionInfo)
	// Close asks the connection to end because the listener does, in its protocol's own way,
	// and does not wait.
	Close(reason string)
	// Evict is Close for a connection that has to go while the broker goes on: reason is all
	// that the client is told.
	Evict(reason string)
}

// ConnectionInfo is a connection at a moment.
type ConnectionInfo struct {
	ID       uint64 // no other has or had it since the start
	Protocol string
	Peer     string
	Local    string
	Since    time.Time
	User     string // "" before the login
	VHost    string
	TLS      *TLS // nil without

	Name       string     // what the client calls itself
	Properties []Property // what it says of itself besides
	Version    string     // of the protocol, as "0-9-1"
	Mechanism  string     // by which it logged in, as SASL has it; "" is the protocol's only one
	Heartbeat  time.Duration
	ChannelMax int
	FrameMax   int
	Traffic    Traffic
	Channels   []ChannelInfo // of protocols that have them, by number
}

// Label is what tools call the connection.
func (i *ConnectionInfo) Label() string { return i.Peer + " -> " + i.Local }

// Property is one thing that a client says of itself.
type Property struct{ Name, Value string }

// Traffic is what a connection has carried. Frames are what the protocol calls so: requests and
// answers, frames, stanzas.
type Traffic struct{ BytesIn, BytesOut, FramesIn, FramesOut uint64 }

// ChannelInfo is one channel of a connection.
type ChannelInfo struct {
	Number    int
	Consumers int
	Unacked   int    // delivered, and neither acked nor returned
	Published uint64 // messages that came in
	Delivered uint64 // messages that went out, gets included

	Confirms, Transactional  bool
	Prefetch, SharedPrefetch int // of a consumer that starts now, and of all together; 0 is no limit
	Unconfirmed, Uncommitted int // messages that came in
	UncommittedAcks          int
}

// connections is the registry.
type connections struct {
	mu   sync.Mutex // guards all below
	last uint64
	open map[uint64]*Connection
	of   map[string]int // how many, by protocol; of those that were never open too

	logins map[string]func() (in, refused uint64) // by protocol
}

// Clients are the connections of one listener.
type Clients struct {
	b        *Broker
	protocol string
	closed   bool // guarded by connections.mu
}

// Clients begins the list of a listener's connections.
func (b *Broker) Clients(protocol string) *Clients {
	r := &b.connections
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of[protocol] += 0
	return &Clients{b: b, protocol: protocol}
}

// Connection is one client connection in the registry.
type Connection struct {
	list        *Clients
	id          uint64
	peer, local string
	since       time.Time
	tls         *TLS // guarded by connections.mu
	client      Client
	session     *Session // the last one; guarded by connections.mu
}

// Connect enters a connection as soon as it is there, before its login. It is nil
// when the listener is closing.
func (l *Clients) Connect(nc net.Conn, c Client) *Connection {
	k := &Connection{list: l, client: c, since: l.b.opts.Now(), tls: tlsOf(nc), peer: nc.RemoteAddr().String(), local: nc.LocalAddr().String()}
	r := &l.b.connections
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.closed {
		return nil
	}
	r.last++
	k.id = r.last
	r.open[k.id] = k
	r.of[l.protocol]++
	l.b.churn.opened.Add(1)
	return k
}

// Close takes a connection that has ended out of the registry.
func (k *Connection) Close() {
	r := &k.list.b.connections
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open[k.id] == k {
		delete(r.open, k.id)
		r.of[k.list.protocol]--
		k.list.b.churn.closed.Add(1)
	}
}

// Secured says that the connection has TLS from now on, as after STARTTLS; nc is the connection with it.
func (k *Connection) Secured(nc net.Conn) {
	t := tlsOf(nc)
	r := &k.list.b.connections
	r.mu.Lock()
	defer r.mu.Unlock()
	k.tls = t
}

// NewSession begins a session on the connection, for one who has logged in.
func (k *Connection) NewSession(v *VHost, who auth.Identity) *Session {
	s := v.NewSession(who)
	s.connection = k
	r := &k.list.b.connections
	r.mu.Lock()
	k.session = s
	r.mu.Unlock()
	return s
}

// Close asks all connections of the listener to end, and lets no more in.
func (l *Clients) Close(reason string) {
	r := &l.b.connections
	r.mu.Lock()
	l.closed = true
	r.mu.Unlock()
	l.Each(func(c Client) { c.Close(reason) })
}

// Each calls fn for every connection of the listener that is open.
func (l *Clients) Each(fn func(Client)) {
	r := &l.b.connections
	r.mu.Lock()
	var list []Client
	for _, k := range r.open {
		if k.list == l {
			list = append(list, k.client)
		}
	}
	r.mu.Unlock()
	for _, c := range list {
		fn(c)
	}
}

// EvictConnection has a connection end, and tells its client the reason. One that is gone is no error.
func (b *Broker) EvictConnection(by audit.Actor, id uint64, reason string) {
	r := &b.connections
	r.mu.Lock()
	k := r.open[id]
	r.mu.Unlock()
	if k == nil {
		return
	}
	k.client.Evict(reason)
	audit.Acted(b.opts.Log, by, audit.CloseConnection, "connection '"+k.peer+" -> "+k.local+"'", "", nil)
}

// ConnectionCounts are how many connections are open, by protocol.
func (b *Broker) ConnectionCounts() map[string]int {
	r := &b.connections
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]int, len(r.of))
	for protocol, n := range r.of {
		out[protocol] = n
	}
	return out
}

// CountLogins has Logins tell of a protocol what its listener counts.
func (b *Broker) CountLogins(protocol string, of func() (in, refused uint64)) {
	r := &b.connections
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.logins == nil {
		r.logins = map[string]func() (uint64, uint64){}
	}
	r.logins[protocol] = of
}

// Logins are the logins of a protocol since the start.
type Logins struct{ In, Refused uint64 }

// Logins are how many logins were good and how many refused, by protocol.
func (b *Broker) Logins() map[string]Logins {
	r := &b.connections
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]Logins, len(r.logins))
	for protocol, of := range r.logins {
		in, refused := of()
		out[protocol] = Logins{in, refused}
	}
	return out
}

// Connections describes every connection that is open, oldest first. What it says of
// traffic and channels is read from their owners, one after the other.
func (b *Broker) Connections() []ConnectionInfo {
	r := &b.connections
	r.mu.Lock()
	list := make([]*Connection, 0, len(r.open))
	out := make([]ConnectionInfo, 0, len(r.open))
	for _, k := range r.open {
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b *Connection) int { return cmp.Compare(a.id, b.id) })
	for _, k := range list {
		i := ConnectionInfo{ID: k.id, Protocol: k.list.protocol, Peer: k.peer, Local: k.local, Since: k.since, TLS: k.tls}
		if k.session != nil {
			i.User, i.VHost = k.session.who.Name, k.session.vhost.Name
		}
		out = append(out, i)
	}
	r.mu.Unlock()
	for n, k := range list {
		k.client.Describe(&out[n])
	}
	return out
}
