package server

import "testing"

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
