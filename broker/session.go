package broker

import "sync"

// Session is one client connection as the broker sees it: who it is and which
// exclusive queues are its own.
type Session struct {
	User  string
	vhost *VHost

	mu     sync.Mutex
	queues map[*Queue]struct{} // exclusive ones; guarded by mu
	closed bool                // guarded by mu
}

// NewSession begins a connection of that user to the virtual host.
func (v *VHost) NewSession(user string) *Session {
	return &Session{User: user, vhost: v, queues: map[*Queue]struct{}{}}
}

// own notes an exclusive queue. VHost.mu is held.
func (s *Session) own(q *Queue) {
	s.mu.Lock()
	s.queues[q] = struct{}{}
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
	v := s.vhost
	for q := range list {
		v.mu.Lock()
		err := v.removeQueue(q)
		v.mu.Unlock()
		if err != nil {
			v.b.opts.Log.Error("can't delete an exclusive queue", "queue", q.Name, "error", err)
		}
	}
}
