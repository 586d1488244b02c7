package server

import (
	"errors"
	"fmt"

	"github.com/leveret-mq/leveret/config"
)

// reread is something besides the settings that a reload reads anew, such as
// certificates. prepare reads and checks it and changes nothing; what it returns puts
// it in force, and can't fail.
type reread struct {
	name    string
	prepare func(*config.Config) (apply func(), err error)
}

// adjustBy has adjust called with the settings now and after each reload.
func (s *Server) adjustBy(adjust func(*config.Config)) {
	s.adjusts = append(s.adjusts, adjust)
	adjust(s.config)
}

// rereadBy has a reload read something anew.
func (s *Server) rereadBy(name string, prepare func(*config.Config) (func(), error)) {
	s.rereads = append(s.rereads, reread{name, prepare})
}

// Reload puts in force what of the settings can change while the broker runs, and what
// they name is read anew: all of it or, when it returns an error, nothing. It returns the
// settings that differ from those in force before; those that are not live stay as they
// were until the next start.
func (s *Server) Reload(next *config.Config) ([]config.Change, error) {
	if err := next.Validate(); err != nil {
		return nil, err
	}
	s.reloading.Lock()
	defer s.reloading.Unlock()
	merged, changes := config.Merge(s.running, next)
	var errs []error
	applies := make([]func(), 0, len(s.rereads))
	for _, r := range s.rereads {
		apply, err := r.prepare(merged)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.name, err))
		}
		applies = append(applies, apply)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, apply := range applies {
		apply()
	}
	s.running = merged
	for _, adjust := range s.adjusts {
		adjust(merged)
	}
	return changes, nil
}
