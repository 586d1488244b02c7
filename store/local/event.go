package local

import (
	"context"
	"log/slog"
)

// event is something that an operator should hear of: what recovery did, or a fault.
type event struct {
	Kind     eventKind
	Name     string // which log or table
	Bytes    int64  // how many, where it is about bytes
	Messages int64  // how many of them are lost
	Text     string // for people
}

type eventKind uint8

const (
	eventNotice    eventKind = iota // nothing was lost
	eventRecovered                  // a log was opened after an unclean end
	eventTorn                       // an unfinished write was cut
	eventDamaged                    // bytes that had been written could not be read back
	eventFault                      // a log or table went read-only
)

// maxEvents bounds how many recovery lines are kept for Stats.
const maxEvents = 1000

// note logs the event and keeps it for Stats. Recovery lines are kept, and
// faults, because they are the ones somebody will ask for.
func (s *Store) note(e event) {
	level := slog.LevelInfo
	switch e.Kind {
	case eventDamaged, eventFault:
		level = slog.LevelError
	case eventTorn:
		level = slog.LevelWarn
	case eventNotice, eventRecovered:
	}
	s.logger.Log(context.Background(), level, e.Text, "name", e.Name, "bytes", e.Bytes, "messages", e.Messages)
	s.eventMu.Lock()
	defer s.eventMu.Unlock()
	if len(s.events) < maxEvents && e.Kind != eventNotice {
		s.events = append(s.events, e)
	}
}

// recovered lists the kept events for people.
func (s *Store) recovered() []string {
	s.eventMu.Lock()
	defer s.eventMu.Unlock()
	lines := make([]string, len(s.events))
	for i, e := range s.events {
		lines[i] = e.Text
	}
	return lines
}
