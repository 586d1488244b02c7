package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// peersRun runs bench/peers/run in an environment that has these commands only.
func peersRun(t *testing.T, commands []string, args ...string) (output string, err error) {
	t.Helper()
	dir := t.TempDir()
	for _, c := range append(commands, "bash", "cat", "date", "dirname", "mkdir", "readlink", "sed", "wc") {
		path, err := exec.LookPath(c)
		if err != nil {
			t.Fatalf("%s is missing; the scripts of bench/peers need it", c)
		}
		if err := os.Symlink(path, filepath.Join(dir, c)); err != nil {
			t.Fatal(err)
		}
	}
	script, err := filepath.Abs("peers/run")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(filepath.Join(dir, "bash"), append([]string{script}, args...)...)
	c.Env = []string{"PATH=" + dir, "PEERS_CACHE=" + filepath.Join(dir, "cache")}
	out, err := c.CombinedOutput()
	return string(out), err
}

func TestPeersNameWhatIsMissingAndHowToInstallIt(t *testing.T) {
	for peer, want := range map[string]string{
		"kafka": "java is missing. Install it: apt-get install openjdk",
		"mysql": "no broker is called mysql",
	} {
		if out, err := peersRun(t, nil, "install", peer); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, and it printed:\n%s", peer, err, out)
		}
	}
}

func TestPeersExplainThemselves(t *testing.T) {
	out, err := peersRun(t, nil, "--help")
	if err != nil || !strings.Contains(out, "PEERS ") || !strings.Contains(out, "MODE ") || strings.Contains(out, "lib.sh") {
		t.Fatalf("%v, and it printed:\n%s", err, out)
	}
}
