//go:build unix

package server

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leveret-mq/leveret/internal/fs"
)

func TestTheLimitOfOpenFilesIsTheHardOne(t *testing.T) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		t.Fatal(err)
	}
	if r.Cur != r.Max || fs.OpenFileLimit() != int(min(r.Max, 1<<30)) {
		t.Errorf("the limit is %d, the hard one %d", r.Cur, r.Max)
	}
}
