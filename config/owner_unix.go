//go:build unix

package config

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// trusted refuses a file that nobody named and that somebody else can write: a broker that
// is started in a directory for everybody must not obey whoever put a file there. As sshd
// does it takes a group for others, whoever is in it, but for root's.
func trusted(name string, info fs.FileInfo) error {
	const advice = "it was not named with --config, and is read only if nobody else can have written it; name it, or use --config none"
	if info.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("%s can be written by everybody: %s", name, advice)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if ok && info.Mode().Perm()&0o020 != 0 && stat.Gid != 0 {
		return fmt.Errorf("%s can be written by its group: %s; or take that from the group with chmod g-w", name, advice)
	}
	if ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user: %s", name, advice)
	}
	return nil
}
