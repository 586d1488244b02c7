package broker

import (
	"sync"
	"sync/atomic"

	"github.com/leveret-mq/leveret/auth"
)

// Session is one client connection as the broker sees it: who it is and which
// exclusive queues are its own. It is the one door: whatever a client causes goes
// through a method of its session, which asks May first.
type Session struct {
	who   auth.Identity
	vhost *VHost
	inner bool // the broker's own, which may do everything

	connection *Connection // whose it is; nil: nobody's in the registry

	givenUp   chan struct{} // closed by GiveUp
	giveUp    sync.Once
	mu        sync.Mutex
	queues    map[*Queue]struct{}        // exclusive ones; guarded by mu
	closed    bool                       // guarded by mu
	subs      map[*Subscription]struct{} // guarded by mu
	fresh     freshPermits               // guarded by mu
	standings map[standing]func()        // guarded by mu
	permits   atomic.Pointer[permits]

	clientID atomic.Pointer[string]

	user      atomic.Pointer[account] // nil before Enter and after Close
	left      bool                    // it was closed or shut out; guarded by accounts.mu
	visits    bool                    // it counts as no connection; guarded by accounts.mu
	pacer     atomic.Pointer[Pacer]   // nil: nothing slows it down
	mostBytes atomic.Int64            // see MaxMessageBytes
	channels  atomic.Int64            // that are open
	publishes atomic.Bool             // it has published, and is counted among those that do
}

// NewSession begins a connection of that user to the virtual host.
func (v *VHost) NewSession(who auth.Identity) *Session {
	s := &Session{who: who, vhost: v, queues: map[*Queue]struct{}{}, givenUp: make(chan struct{})}
	s.mostBytes.Store(v.b.maxMessage.Load())
	return s
}

// VHost is the virtual host that the session is in.
func (s *Session) VHost() *VHost { return s.vhost }

// GiveUp ends what the session waits for on a disk, now and from now on, with an
// error of kind Closed. Any goroutine may call it, while others use the session.
func (s *Session) GiveUp() { s.giveUp.Do(func() { close(s.givenUp) }) }

// own notes an exclusive queue, unless the session was closed. VHost.mu is held.
func (s *Session) own(q *Queue) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.queues[q] = struct{}{}
	return true
}

// disown forgets an exclusive queue that was deleted. VHost.mu is held.
func (s *Session) disown(q *Queue) {
	s.mu.Lock()
	delete(s.queues, q)
	s.mu.Unlock()
}

// Close deletes the session's exclusive queues. Its subscriptions must be closed
// before, so that what they held is back in its queue.
func (s *Session) Close() {
	s.mu.Lock()
	list := s.queues
	s.queues = map[*Queue]struct{}{}
	s.closed = true
	s.mu.Unlock()
	s.leaveAccounts()
	if s.publishes.Swap(false) {
		s.vhost.b.churn.publishers.Add(-1)
	}
	s.vhost.deleteOwned(list)
}

// published notes that the session has a publisher that publishes.
func (s *Session) published() {
	if !s.publishes.Load() && s.publishes.CompareAndSwap(false, true) {
		s.vhost.b.churn.publishers.Add(1)
	}
}
