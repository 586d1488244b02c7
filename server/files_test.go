package server

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leveret-mq/leveret/internal/fs"
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

func TestTheLimitOfOpenFilesIsTheHardOne(t *testing.T) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		t.Fatal(err)
	}
	if r.Cur != r.Max || fs.OpenFileLimit() != int(min(r.Max, 1<<30)) {
		t.Errorf("the limit is %d, the hard one %d", r.Cur, r.Max)
	}
}
