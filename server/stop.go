package server

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Times of a stop.
const (
	patienceShare = 4           // connections get all of a stop's time but one in so many parts
	leastStop     = time.Second // what a stop gets to leave the disk in order, however little is given
)

// Stop ends every part in the reverse order of its start, and returns when that is
// done or, whatever clients and disks do, when ctx ends or a second has passed.
// Connections are asked to end and get most of the time to do so. When it was not
// enough, nothing that was confirmed is lost: the next start recovers, as after a
// kill. What goes on meanwhile can be waited for with another call.
func (s *Server) Stop(ctx context.Context) error {
	s.phase.Store(stopping)
	s.stopOnce.Do(func() {
		patience, cancel := patience(ctx)
		go s.stopAll(patience, cancel)
	})
	var over <-chan time.Time
	if deadline, ok := ctx.Deadline(); ok {
		timer := time.NewTimer(max(time.Until(deadline), leastStop))
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-s.stopped:
		return s.stopErr
	case <-over:
		part := "the first part"
		if name := s.ending.Load(); name != nil {
			part = *name
		}
		return fmt.Errorf("stop %s: it did not end in time; what was confirmed is safe, and the next start recovers the rest", part)
	}
}

// patience is how long connections get to end.
func patience(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(context.Background())
	}
	return context.WithDeadline(context.Background(), deadline.Add(-time.Until(deadline)/patienceShare))
}

// stopAll stops one part after the other.
func (s *Server) stopAll(ctx context.Context, cancel context.CancelFunc) {
	defer cancel()
	defer close(s.stopped)
	var errs []error
	for i := len(s.parts) - 1; i >= 0; i-- {
		s.ending.Store(&s.parts[i].name)
		if err := s.parts[i].stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.parts[i].name, err))
		}
	}
	s.stopErr = errors.Join(errs...)
}
