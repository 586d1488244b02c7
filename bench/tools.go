package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Programs that the peers' own makers measure with, in the directories below --tools in
// which their jars lie.
const (
	kafkaTools = "kafka"
	perfTest   = "perftest"
)

// tools are those programs that are there: directory name → name and version.
type tools struct {
	dir      string
	versions map[string]string
}

// findTools looks below dir.
func findTools(dir string) (tools, error) {
	t := tools{dir, map[string]string{}}
	for name, jar := range map[string]string{kafkaTools: "kafka-tools", perfTest: "perf-test"} {
		found, err := filepath.Glob(filepath.Join(dir, name, jar+"-[0-9]*.jar"))
		if err != nil {
			return t, fmt.Errorf("--tools: %w", err)
		}
		if len(found) > 0 {
			t.versions[name] = strings.TrimSuffix(strings.Replace(filepath.Base(found[0]), jar+"-", jar+" ", 1), ".jar")
		}
	}
	if len(t.versions) == 0 {
		return t, fmt.Errorf("--tools: there is neither kafka/kafka-tools-*.jar nor perftest/perf-test-*.jar in %s; `bench/peers/run install tools` fetches them", dir)
	}
	if _, err := exec.LookPath("java"); err != nil {
		return t, errors.New("--tools: java is missing. Install it: apt-get install openjdk-17-jre-headless")
	}
	return t, nil
}

// has tells whether a row's program is there; most rows need none.
func (t tools) has(tool string) bool { return tool == "" || t.versions[tool] != "" }

// stopDelay is how long a program that was told to end may take for it.
const stopDelay = 5 * time.Second

// run runs a class of a tool and returns what it printed. When ctx ends, so does the program.
func (t tools) run(ctx context.Context, tool, class string, args ...string) (string, error) {
	java := []string{"-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", filepath.Join(t.dir, tool, "*"), class}
	c := exec.CommandContext(ctx, "java", append(java, args...)...)
	var out bytes.Buffer
	c.Stdout, c.Stderr, c.WaitDelay = &out, &out, stopDelay
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s: %w; it printed:\n%s", t.versions[tool], err, lastLines(out.String(), 20))
	}
	return out.String(), nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// payloadLines is how many different records a payload file holds.
const payloadLines = 1024

// writePayload makes a file of records of that size, a line each, because making them up as
// it goes costs Kafka's producer tool more than sending them. The caller removes it.
func writePayload(dir string, bodyBytes int) (string, error) {
	f, err := os.CreateTemp(dir, "leveret-bench-payload-")
	if err != nil {
		return "", fmt.Errorf("write records for a tool: %w", err)
	}
	var b bytes.Buffer
	for i := range payloadLines {
		line := fmt.Sprintf("%08d", i)
		for j := 0; len(line) < bodyBytes; j++ {
			line += string(rune('a' + (i*31+j*7)%26))
		}
		b.WriteString(line[:bodyBytes])
		b.WriteByte('\n')
	}
	_, err = f.Write(b.Bytes())
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("write records for a tool: %w", err)
	}
	return f.Name(), nil
}
