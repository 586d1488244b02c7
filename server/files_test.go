package server

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/config"
)

func TestConnectionsLeaveDescriptorsForTheStore(t *testing.T) {
	for _, limit := range []int{256, 1024, 4096, 20_000, 65_536, 1 << 20, 1 << 30} {
		f := shareFiles(limit)
		if f.segments+f.connections+otherFiles > limit || f.connections < minConnections || f.segments < minSegmentFiles {
			t.Errorf("of %d: %+v", limit, f)
		}
	}
	if f := shareFiles(1 << 20); f.connections < 65_536 {
		t.Errorf("of a million files %d connections", f.connections)
	}
}

func TestFewerConnectionsAreAWarningToWhoAskedForMore(t *testing.T) {
	for asked, level := range map[int]string{config.Default().MaxConnections: "INFO", 5000: "WARN", 10: ""} {
		var out strings.Builder
		s := &Server{files: shareFiles(1024), logger: slog.New(slog.NewTextHandler(&out, nil))}
		c := config.Default()
		c.MaxConnections = asked
		s.tellOfFewSlots(c)
		s.tellOfFewSlots(c)
		if got := out.String(); strings.Count(got, "\n") != min(len(level), 1) || level != "" && !strings.Contains(got, "level="+level) {
			t.Errorf("%d connections of 1024 files: %q; want one line of level %q", asked, got, level)
		}
	}
}
