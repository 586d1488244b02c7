package pubsub

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

const (
	// maxHeld is how many events of a subscription may be under way that nobody has acknowledged.
	maxHeld = 256
	// maxHeldBytes is about how much of them may.
	maxHeldBytes = 512 << 10
	// accountHeld and accountHeldBytes are the same of an account.
	accountHeld      = 512
	accountHeldBytes = 1 << 20
	// retryAfter is when a subscription is looked at again whose queue could not be read.
	retryAfter = 2 * time.Second
)

// agent reads for an account while it has a stream here. One goroutine, which runs while there is something to read for,
// looks after its feeds.
//
//	woken by: a message in a log, a settled event, a stream that came or went, a subscription that did
type agent struct {
	h       *host
	account stanza.JID // bare
	session *broker.Session
	memory  *budget.Account // of items on their way
	wake    chan struct{}   // capacity 1
	stop    chan struct{}

	mu      sync.Mutex // guards the rest
	peers   map[Peer]*presence
	feeds   map[*subscription]*feed // of the goroutine, but looked up by others
	waiting map[string]*event       // for a receipt, by the id of their message
	held    int                     // events that are not resolved
	bytes   int                     // about what they take
	running bool
	ended   bool
}

// presence is how a stream may be reached.
type presence struct{ available bool }

// Join has the events of its account's subscriptions sent to a stream: those to the account while it is available, those
// to its full address in any case. It may be called again, when that changes.
func (s *Service) Join(p Peer, available bool) {
	s.host(p.Session().VHost()).join(p, available)
}

// Leave ends that. What the stream has not settled yet it settles itself.
func (s *Service) Leave(p Peer) {
	for _, h := range s.allHosts() {
		h.leave(p)
	}
}

func (h *host) join(p Peer, available bool) {
	bare := p.JID().Bare()
	key := bare.String()
	h.mu.Lock()
	a := h.agents[key]
	if a == nil {
		session := h.v.NewSession(auth.Identity{Name: p.User()})
		if session.Visit() != nil { // the stream is about to be ended, too
			h.mu.Unlock()
			session.Close()
			return
		}
		a = &agent{h: h, account: bare, session: session, memory: h.s.budget.Open(), wake: make(chan struct{}, 1), stop: make(chan struct{}),
			peers: map[Peer]*presence{}, feeds: map[*subscription]*feed{}, waiting: map[string]*event{}}
		h.agents[key] = a
	}
	a.mu.Lock() // below h.mu, so that the agent is not taken away in between
	if !a.ended {
		a.peers[p] = &presence{available}
	}
	a.mu.Unlock()
	h.mu.Unlock()
	a.look()
}

func (h *host) leave(p Peer) {
	key := p.JID().Bare().String()
	h.mu.Lock()
	a := h.agents[key]
	if a == nil {
		h.mu.Unlock()
		return
	}
	a.mu.Lock()
	delete(a.peers, p)
	last := len(a.peers) == 0
	var unanswered []*event
	for _, e := range a.waiting {
		unanswered = append(unanswered, e)
	}
	a.mu.Unlock()
	if last {
		delete(h.agents, key)
	}
	h.mu.Unlock()
	a.halt()
	for _, e := range unanswered {
		e.resolve(p, false)
	}
	if last {
		a.end()
	} else {
		a.look()
	}
}

// lost has a stream get nothing more.
func (a *agent) lost(p Peer) {
	a.mu.Lock()
	_, there := a.peers[p]
	delete(a.peers, p)
	a.mu.Unlock()
	if there {
		a.halt()
		a.signal()
	}
}

// halt has the feeds take nothing more that reach nobody.
func (a *agent) halt() {
	a.mu.Lock()
	feeds := slices.Collect(maps.Values(a.feeds))
	a.mu.Unlock()
	for _, f := range feeds {
		if len(a.targets(f.sub.JID)) == 0 {
			f.src.halt()
		}
	}
}

func (h *host) allAgents() []*agent {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.agents))
}

// look has the agent look at everything.
func (a *agent) look() {
	if a.h.hasSubscriptions(a.account.String()) && a.starts() {
		a.h.s.done.Go(a.run)
	}
	a.signal()
}

// starts says whether the goroutine is to be started, which counts as running then.
func (a *agent) starts() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running || a.ended {
		return false
	}
	a.running = true
	return true
}

func (h *host) hasSubscriptions(account string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.byAccount[account]) > 0
}

func (a *agent) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// end has the goroutine stop and close the feeds.
func (a *agent) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended {
		a.ended = true
		close(a.stop)
		if !a.running {
			a.close()
		}
	}
}

// close is the end of the agent's.
func (a *agent) close() {
	a.session.Close()
	a.memory.Close()
}

// run is the agent's goroutine.
func (a *agent) run() {
	for {
		select {
		case <-a.stop:
			a.closeFeeds(func(*feed) bool { return true })
			a.close()
			return
		case <-a.wake:
		}
		if !a.sync() {
			return // look starts it again
		}
		for a.turns() {
		}
	}
}

// turns lets each feed send what it may; more says that there may be something left.
func (a *agent) turns() (more bool) {
	select {
	case <-a.stop:
		return false
	default:
	}
	a.mu.Lock()
	feeds := slices.Collect(maps.Values(a.feeds))
	a.mu.Unlock()
	for _, f := range feeds {
		if f.turn() {
			more = true
		}
	}
	return more
}

// sync opens and closes feeds, so that there is one for each subscription that somebody can be reached by. false says that there
// is nothing to read for, and that the goroutine ends.
func (a *agent) sync() bool {
	subs := a.h.subscriptions(a.account.String())
	wanted := map[*subscription]bool{}
	for _, sub := range subs {
		wanted[sub] = len(a.targets(sub.JID)) > 0
	}
	a.closeFeeds(func(f *feed) bool { return !wanted[f.sub] })
	for _, sub := range subs {
		a.mu.Lock()
		have := a.feeds[sub]
		a.mu.Unlock()
		if have != nil || !wanted[sub] {
			continue
		}
		f := &feed{a: a, sub: sub, since: time.Now().UnixMilli()}
		f.src = f.source()
		a.mu.Lock()
		a.feeds[sub] = f
		a.mu.Unlock()
	}
	if len(subs) > 0 {
		return true
	}
	a.mu.Lock()
	ended := a.ended
	a.running = ended
	a.mu.Unlock()
	return ended || a.h.hasSubscriptions(a.account.String()) && a.starts() // one that came meanwhile
}

// closeFeeds ends feeds.
func (a *agent) closeFeeds(which func(*feed) bool) {
	a.mu.Lock()
	var list []*feed
	for sub, f := range a.feeds {
		if which(f) {
			list = append(list, f)
			delete(a.feeds, sub)
		}
	}
	a.mu.Unlock()
	for _, f := range list {
		f.close()
	}
}

// targets are the streams that an address reaches: of a bare one those that are available.
func (a *agent) targets(jid string) []Peer {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []Peer
	bare := jid == a.account.String()
	for p, at := range a.peers {
		if bare && at.available || p.JID().String() == jid {
			out = append(out, p)
		}
	}
	return out
}

// hold counts events that are under way, and says whether there was no room before.
func (a *agent) hold(n, bytes int) (full bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	full = a.held >= accountHeld || a.bytes >= accountHeldBytes
	a.held += n
	a.bytes += bytes
	return full
}

// received takes a receipt.
func (a *agent) received(p Peer, id string) {
	a.mu.Lock()
	e := a.waiting[id]
	a.mu.Unlock()
	if e != nil {
		e.receipt(p)
	}
}

// tell sends what happened to a node to who is there of a subscription's account.
func (h *host) tell(sub *subscription, what func(node string) *stanza.Element) {
	h.mu.Lock()
	a := h.agents[bareOf(sub.JID)]
	h.mu.Unlock()
	if a == nil {
		return
	}
	for _, p := range a.targets(sub.JID) {
		m := a.message(p, sub.node.settings.notificationType()).Add(stanza.New(nsEvent, "event").Add(what(sub.Node)))
		p.Event(m, func(bool) {})
	}
}

// lookFor has the agent of a subscription's account look.
func (h *host) lookFor(sub *subscription) {
	h.mu.Lock()
	a := h.agents[bareOf(sub.JID)]
	h.mu.Unlock()
	if a != nil {
		a.look()
	}
}

// message is an empty one from the service to a stream.
func (a *agent) message(p Peer, kind string) *stanza.Element {
	to := p.JID()
	return stanza.New(stanza.NSClient, "message", "from", Label+"."+to.Domain, "to", to.String(), "type", kind, "id", newID())
}

// Label is the name of the service below a domain.
const Label = "pubsub"

// dropQueue deletes the queue of a subscriber to an exchange that is gone.
func (h *host) dropQueue(name string) {
	s := h.v.NewInnerSession()
	defer s.Close()
	if _, err := s.DeleteQueue(name, false, false); err != nil && !h.v.Gone() {
		h.s.log.Error("can't delete the queue of a pubsub subscriber to an exchange that is gone", "vhost", h.v.Name, "queue", name, "error", err)
	}
}

// purge purges a queue for a client, and tells its subscribers at once: not when the broker tells that it was.
func (h *host) purge(s *broker.Session, n *node) error {
	h.mu.Lock()
	h.purging[n.queue]++
	h.mu.Unlock()
	if _, err := s.Purge(n.name); err != nil {
		h.told(n.queue)
		return err
	}
	h.purged(n)
	return nil
}

// told says whether the subscribers to a queue hear of a purge already, once for each.
func (h *host) told(q *broker.Queue) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.purging[q] == 0 {
		return false
	}
	if h.purging[q]--; h.purging[q] == 0 {
		delete(h.purging, q)
	}
	return true
}

// purged has the subscribers to a queue that was purged go on behind that, and tells them.
func (h *host) purged(n *node) {
	s := h.v.NewInnerSession()
	defer s.Close()
	subs := h.subscribers(n)
	for i, p := range n.queue.Partitions() {
		start, _, err := s.Extent(p)
		if err != nil {
			continue
		}
		for _, sub := range subs {
			if sub.Mode == modeAll {
				h.moved(sub, i, message.Offset(start))
			}
		}
	}
	for _, sub := range subs {
		h.tell(sub, func(node string) *stanza.Element { return stanza.New(nsEvent, "purge", "node", node) })
	}
}
