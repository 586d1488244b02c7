package xmpp

import (
	"sync"
	"time"

	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// registry is who is there: the clients of each account over all connections, and the streams that can be resumed.
type registry struct {
	s *Server

	mu       sync.RWMutex // guards all below, and account.clients
	accounts map[stanza.JID]*account
	streams  map[string]*Client
	waiting  map[*Client]*time.Timer // those whose stream broke
	closed   bool
}

// account is a user of a domain who has clients.
type account struct {
	jid     stanza.JID // bare
	domain  *domain
	user    string
	clients map[string]*Client // by resource
}

func (r *registry) init(s *Server) {
	r.s = s
	r.accounts, r.streams, r.waiting = map[stanza.JID]*account{}, map[string]*Client{}, map[*Client]*time.Timer{}
}

// bind enters a client with its full address; one that has it already ends with conflict. nil is that the server
// stops.
func (r *registry) bind(c *conn, jid stanza.JID) *Client {
	k := &Client{s: r.s, domain: c.domain, jid: jid, full: jid.String(), user: c.user.Name, memory: r.s.opts.Budget.Open()}
	for {
		old, ok := r.enter(k)
		if !ok {
			return nil
		}
		if old == nil {
			return k
		}
		old.finish()
		old.conflict()
	}
}

// enter enters k, or returns who has its address.
func (r *registry) enter(k *Client) (old *Client, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, false
	}
	bare := k.jid.Bare()
	a := r.accounts[bare]
	if a == nil {
		a = &account{jid: bare, domain: k.domain, user: k.user, clients: map[string]*Client{}}
		r.accounts[bare] = a
	}
	if old := a.clients[k.jid.Resource]; old != nil {
		return old, true
	}
	a.clients[k.jid.Resource] = k
	k.account = a
	return nil, true
}

// leave takes a client out.
func (r *registry) leave(k *Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := k.account
	if a.clients[k.jid.Resource] == k {
		delete(a.clients, k.jid.Resource)
		if len(a.clients) == 0 {
			delete(r.accounts, a.jid)
		}
	}
	if k.smID != "" {
		delete(r.streams, k.smID)
	}
	if t := r.waiting[k]; t != nil {
		t.Stop()
		delete(r.waiting, k)
	}
}

// resumable notes the identifier of a client's stream.
func (r *registry) resumable(id string, k *Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k.taken = false
	if !r.closed {
		k.smID = id
		r.streams[id] = k
	}
}

// forgetStream has a client's stream be resumed by nobody from now on.
func (r *registry) forgetStream(k *Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k.smID != "" {
		delete(r.streams, k.smID)
	}
}

// hold keeps a client whose stream broke for a while, unless another connection is about to have it. false is that it
// can't be.
func (r *registry) hold(k *Client, d time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k.taken {
		return true
	}
	if r.closed || r.streams[k.smID] != k || !r.s.opts.Users.Has(k.user) || len(r.waiting) >= maxWaiting || r.waitingOf(k.account) >= maxWaitingOf {
		return false
	}
	r.waiting[k] = time.AfterFunc(d, func() { k.expire() })
	return true
}

// endWaiting ends the broken streams of an account, which nobody may resume any more.
func (r *registry) endWaiting(bare stanza.JID) {
	var list []*Client
	r.mu.Lock()
	if a := r.accounts[bare]; a != nil {
		for _, k := range a.clients {
			if t := r.waiting[k]; t != nil {
				t.Stop()
				delete(r.waiting, k)
				list = append(list, k)
			}
		}
	}
	r.mu.Unlock()
	for _, k := range list {
		k.finish()
	}
}

// waitingOf is how many streams of an account are broken and kept. mu is held.
func (r *registry) waitingOf(a *account) (n int) {
	for _, k := range a.clients {
		if r.waiting[k] != nil {
			n++
		}
	}
	return n
}

// maxWaiting is how many broken streams are kept, and maxWaitingOf of one account: no limit of connections is about these.
const (
	maxWaiting   = 10_000
	maxWaitingOf = 32
)

// take finds the client of a stream that c may resume, which is one of the same user in the same virtual host, and takes
// it from the connection that still has it; nil if there is none. Nobody else finds it from then on until it is resumable
// again: one connection has it.
func (r *registry) take(id string, c *conn) *Client {
	r.mu.Lock()
	k := r.streams[id]
	if k == nil || k.user != c.user.Name || k.domain != c.domain || k.Session().VHost() != c.session.VHost() {
		r.mu.Unlock()
		return nil
	}
	delete(r.streams, id)
	k.taken = true
	if t := r.waiting[k]; t != nil {
		t.Stop()
		delete(r.waiting, k)
	}
	r.mu.Unlock()
	k.mu.Lock()
	old := k.conn
	if old != nil {
		old.replaced.Store(true)
	}
	k.mu.Unlock()
	if old != nil && !old.takenOver() {
		k.finish() // or it would be there for ever
		return nil
	}
	return k
}

// client finds who has a full address.
func (r *registry) client(jid stanza.JID) *Client {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if a := r.accounts[jid.Bare()]; a != nil {
		return a.clients[jid.Resource]
	}
	return nil
}

// of lists the clients of a bare address.
func (r *registry) of(bare stanza.JID) []*Client {
	r.mu.RLock()
	defer r.mu.RUnlock()
	a := r.accounts[bare.Bare()]
	if a == nil {
		return nil
	}
	list := make([]*Client, 0, len(a.clients))
	for _, k := range a.clients {
		list = append(list, k)
	}
	return list
}

// close ends those whose streams broke, and lets nobody in any more.
func (r *registry) close() {
	r.mu.Lock()
	r.closed = true
	var list []*Client
	for k, t := range r.waiting {
		t.Stop()
		list = append(list, k)
	}
	r.mu.Unlock()
	for _, k := range list {
		k.finish()
	}
}

// Online lists the clients of a bare address that are available with a priority that is not negative: those that get
// what is sent to it.
func (s *Server) Online(bare stanza.JID) []*Client {
	list := s.registry.of(bare)
	n := 0
	for _, k := range list {
		if k.online() {
			list[n] = k
			n++
		}
	}
	return list[:n]
}

// online tells whether the client gets what is sent to its bare address.
func (k *Client) online() bool {
	priority, ok := k.Available()
	return ok && priority >= 0
}

// Client finds who has a full address, available or not; nil is nobody.
func (s *Server) Client(full stanza.JID) *Client { return s.registry.client(full) }
