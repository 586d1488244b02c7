// Package program is what the programs of this tree know of themselves and of each
// other. It imports nothing of ours.
package program

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
)

// Version is set, which comes from the build (-X main.version=…), else what go install
// knows of the module, else "dev".
func Version(set string) string {
	if set != "" {
		return set
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

// Find looks for another program of the tree: beside this one first, since they are built
// together, then on the PATH.
func Find(name string) (string, error) {
	if self, err := os.Executable(); err == nil {
		if beside, err := exec.LookPath(filepath.Join(filepath.Dir(self), name)); err == nil {
			return beside, nil
		}
	}
	found, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside this program nor on the PATH; build it: make build, or go install ./cmd/%s", name, name)
	}
	return found, nil
}
