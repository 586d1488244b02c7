package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The examples of docs/cli.md are true: a shell runs them, against a broker.
func TestTheExamplesOfTheCommandLineRun(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	script := "set -euo pipefail\nleveret() { \"$PROGRAM\" \"$@\"; }\n"
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(text, -1)
	for _, b := range blocks {
		script += string(b[1])
	}
	if len(blocks) < 4 {
		t.Fatalf("only %d examples are there", len(blocks))
	}
	_, out := serving(t, "--data-dir", t.TempDir(), "--http-addr", "127.0.0.1:0")
	addr := regexp.MustCompile(`(?m)^  http +(\S+)`).FindStringSubmatch(until(t, out, "Ready after"))
	if addr == nil {
		t.Fatal("no address of the API")
	}
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("bash", "-x")
	shell.Dir = t.TempDir()
	shell.Stdin = strings.NewReader(script)
	shell.Env = append(os.Environ(), asProgram+"=1", "PROGRAM="+program, "LEVERET_HTTP="+addr[1], "HOME="+shell.Dir)
	said, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for _, want := range []string{"1 message published", "2 messages published", "out of memory", "resize 17.png", "--- offset 0", "user ann: declared", "virtual host shop: declared", "vhost shop: deleted"} {
		if !strings.Contains(string(said), want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
}

func TestTheStatusSaysWhatWentWrong(t *testing.T) {
	for _, c := range []struct {
		line   string
		status int
	}{
		{"version", 0}, {"serve --port 1", 2}, {"server", 2}, {"list", 2}, {"inspect nowhere", 1}, {"inspect", 2}, {"list queues --http 127.0.0.1:1", 69}, {"cert --days 0 --dir " + t.TempDir(), 1},
	} {
		cmd := command(strings.Fields(c.line)...)
		cmd.Env = append(cmd.Env, "HOME="+t.TempDir())
		said, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != c.status {
			t.Errorf("%s: status %d, want %d: %s", c.line, got, c.status, said)
		}
	}
}
