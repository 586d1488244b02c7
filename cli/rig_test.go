package cli_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/leveret-mq/leveret/cli"
	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/testkit"
)

// rig is a broker, and a command line that finds it.
type rig struct {
	t *testing.T
	*testkit.Server
}

func start(t *testing.T, options ...testkit.Option) *rig {
	t.Helper()
	r := &rig{t, testkit.Start(t, append([]testkit.Option{func(c *config.Config) { c.Sync = config.SyncOS }}, options...)...)}
	alone(t)
	t.Setenv("LEVERET_HTTP", r.Addr("http"))
	return r
}

// alone takes away what of the environment a command line reads.
func alone(t *testing.T) {
	t.Helper()
	for _, name := range []string{"LEVERET_HTTP", "LEVERET_USER", "LEVERET_PASSWORD", "LEVERET_VHOST", "LEVERET_CA", "NETRC", "LEVERET_HTTP_ADDR", "LEVERET_DEFAULT_USER", "LEVERET_DEFAULT_PASSWORD", "LEVERET_DEFAULT_PASSWORD_FILE", "RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
}

// said is how a command line ended.
type said struct {
	t        *testing.T
	line     string
	status   int
	out, err string
}

// newRoot is the program, with a data directory's export that is none.
func newRoot() *cobra.Command {
	root := &cobra.Command{Use: "leveret", Short: "Message broker", SilenceUsage: true, SilenceErrors: true}
	cli.Add(root, cli.Offline{Export: func(out, _ io.Writer, dir, vhost string) error {
		_, err := io.WriteString(out, "directory "+dir+" vhost "+vhost)
		return err
	}})
	return root
}

// run runs a command line in this process.
func run(t *testing.T, in string, args ...string) said {
	t.Helper()
	root := newRoot()
	var out, errOut bytes.Buffer
	root.SetIn(strings.NewReader(in))
	root.SetOut(&out)
	root.SetErr(&errOut)
	status := cli.Execute(root, append([]string{"leveret"}, args...), &errOut)
	return said{t, "leveret " + strings.Join(args, " "), status, out.String(), errOut.String()}
}

// do is run with a line of words, of which none has a space.
func do(t *testing.T, line string) said {
	t.Helper()
	return run(t, "", strings.Fields(line)...)
}

// ok fails the test unless it went well and said these texts.
func (s said) ok(texts ...string) said {
	s.t.Helper()
	return s.ends(0, texts...)
}

// ends fails the test unless it ended so, with these texts on its output, or in its complaint.
func (s said) ends(status int, texts ...string) said {
	s.t.Helper()
	if s.status != status {
		s.t.Fatalf("%s: status %d, want %d\n%s%s", s.line, s.status, status, s.out, s.err)
	}
	for _, text := range texts {
		if status == 0 && !strings.Contains(s.out, text) || status != 0 && !strings.Contains(s.err, text) {
			s.t.Fatalf("%s: no %q in\n%s%s", s.line, text, s.out, s.err)
		}
	}
	return s
}

// lacks fails the test when a text is there.
func (s said) lacks(texts ...string) said {
	s.t.Helper()
	for _, text := range texts {
		if strings.Contains(s.out+s.err, text) {
			s.t.Fatalf("%s: %q is in\n%s%s", s.line, text, s.out, s.err)
		}
	}
	return s
}

// write makes a file.
func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// live is a command line that goes on beside the test.
type live struct {
	t    *testing.T
	out  shared
	done chan said
}

// shared is a buffer that is written while it is read.
type shared struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// begin starts one.
func begin(t *testing.T, args ...string) *live {
	t.Helper()
	l := &live{t: t, done: make(chan said, 1)}
	root := newRoot()
	var errOut bytes.Buffer
	root.SetOut(&l.out)
	root.SetErr(&errOut)
	go func() {
		status := cli.Execute(root, append([]string{"leveret"}, args...), &errOut)
		l.done <- said{t, strings.Join(args, " "), status, l.out.String(), errOut.String()}
	}()
	return l
}

// until waits until it said something.
func (l *live) until(text string) {
	l.t.Helper()
	for begun := time.Now(); !strings.Contains(l.out.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			l.t.Fatalf("no %q in %q", text, l.out.String())
		}
	}
}

// wait waits for its end.
func (l *live) wait() said {
	l.t.Helper()
	select {
	case s := <-l.done:
		return s
	case <-time.After(time.Minute):
		l.t.Fatalf("it goes on: %q", l.out.String())
		return said{}
	}
}
