package server

import (
	"context"
	"log/slog"

	"github.com/leveret-mq/leveret/config"
)

// fileShares divides the descriptors that the process may have among those who hold many.
// The Go runtime has raised the process's limit to the hard one when this is asked for.
type fileShares struct {
	limit       int // of the process
	segments    int // files of segments: three fifths
	connections int // of all listeners together: what is left
}

// Bounds of the shares.
const (
	maxSegmentFiles = 30_000 // Linux lets a process have some 65,000 mappings
	minSegmentFiles = 64
	minConnections  = 16
	otherFiles      = 64 // tables, flushes, the reserve, listeners, scrapes
	othersShare     = 20 // and reads that exceed what segments may hold: one part in so many
)

func shareFiles(limit int) fileShares {
	f := fileShares{limit: limit, segments: min(max(limit*3/5, minSegmentFiles), maxSegmentFiles)}
	f.connections = max(limit-f.segments-otherFiles-limit/othersShare, minConnections)
	return f
}

// tellOfFewSlots says when less connections are held than there may be: those of all
// listeners together are bounded below what the process may open, so that what must be
// written always finds a descriptor. It is a warning to who has asked for a number.
func (s *Server) tellOfFewSlots(c *config.Config) {
	f := s.files
	if f.connections >= c.MaxConnections || s.toldOf == c.MaxConnections {
		return
	}
	s.toldOf = c.MaxConnections
	level := slog.LevelWarn
	if c.MaxConnections == config.Default().MaxConnections {
		level = slog.LevelInfo
	}
	s.logger.Log(context.Background(), level, "fewer connections are held than --max-connections, of all listeners together; let the process open more files (ulimit -n, LimitNOFILE)",
		"connections", f.connections, "max_connections", c.MaxConnections, "open_files", f.limit)
}
