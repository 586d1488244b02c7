package server

import (
	"context"
	"fmt"
)

// Pulse tells whether the broker is alive: every listener accepts, and the locks can be
// had that every client needs. That a disk is full, slow or stuck does not count: a
// restart helps against none of these, and would cost the clients that are served.
func (s *Server) Pulse(ctx context.Context) error {
	beat := make(chan error, 1)
	go func() { beat <- s.pulse() }() // stays behind where a lock is held for good; its process ends soon
	select {
	case err := <-beat:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the broker does not answer: %w", ctx.Err())
	}
}

func (s *Server) pulse() error {
	s.broker.Pulse()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		if !l.up && s.phase.Load() == serving {
			return fmt.Errorf("the %s listener does not accept any more", l.name)
		}
		l.accept.Open() // takes the listener's lock
	}
	return nil
}
