package server

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// alive is the pulse of a broker that is asked for no longer than a moment.
func alive(t *testing.T, s *Server, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	return s.Pulse(ctx)
}

// A listener that has ended by itself is a fault, and its name is told; one that is stopped is none.
func TestThePulseTellsOfAListenerThatEnded(t *testing.T) {
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := alive(t, s, time.Minute); err != nil {
		t.Fatal(err)
	}
	l := s.listeners[len(s.listeners)-1]
	down := func(is bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		l.up = !is
	}
	down(true)
	if err := alive(t, s, time.Minute); err == nil || !strings.Contains(err.Error(), "the "+l.name+" listener does not accept") {
		t.Errorf("without the %s listener: %v", l.name, err)
	}
	s.phase.Store(stopping)
	if err := alive(t, s, time.Minute); err != nil {
		t.Errorf("while it stops: %v", err)
	}
	s.phase.Store(serving)
	down(false)
	if err := alive(t, s, time.Minute); err != nil {
		t.Errorf("with all: %v", err)
	}
}

// A lock that is held for good, the broker's or the server's, is a fault; who asks does not wait for it.
func TestThePulseDoesNotWaitForALockForEver(t *testing.T) {
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	err = alive(t, s, 50*time.Millisecond)
	s.mu.Unlock()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with the server's lock held: %v", err)
	}
	if err := alive(t, s, time.Minute); err != nil {
		t.Errorf("with it free: %v", err)
	}
	held, free, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.broker.CountLogins("stuck", func() (uint64, uint64) { // is asked under a lock of the broker's
		held <- struct{}{}
		<-free
		return 0, 0
	})
	go func() {
		s.broker.Logins()
		close(gone)
	}()
	<-held
	if err := alive(t, s, 50*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a lock of the broker's held: %v", err)
	}
	close(free)
	<-gone
}
