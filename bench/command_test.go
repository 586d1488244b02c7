package bench

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func bench(args ...string) (stdout string, err error) {
	c := Command()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	err = c.Execute()
	return out.String(), err
}

func TestRowNamesAreUniqueAndListed(t *testing.T) {
	out, err := bench("--list")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range rows() {
		if seen[r.name] || r.about == "" || r.run == nil {
			t.Errorf("row %q is there twice, or says nothing about itself", r.name)
		}
		seen[r.name] = true
		if !strings.Contains(out, r.name) {
			t.Errorf("%q is not listed", r.name)
		}
	}
}

func TestOnlyChoosesRows(t *testing.T) {
	out, err := bench("--list", "--only", "^kafka-ingest-1k-p8$")
	if err != nil || strings.Count(out, "\n") != 1 {
		t.Fatalf("got %q, %v", out, err)
	}
}

func TestBadFlagsAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--only", []string{"--only", "("}},
		{"no row matches", []string{"--only", "nothing-is-called-so"}},
		{"--runs", []string{"--runs", "0"}},
		{"--time", []string{"--time", "0s"}},
		{"--time", []string{"--time", "1h"}},
		{"--acks", []string{"--acks", "0"}},
		{"--in-flight", []string{"--in-flight", "0"}},
		{"--batch", []string{"--batch", "100"}},
		{"--fetch", []string{"--fetch", "512KiB"}},
		{"--max-bytes", []string{"--max-bytes", "1"}},
		{"is no size", []string{"--batch", "many"}},
		{"--start", []string{"--start", "--amqp", "127.0.0.1:1"}},
		{"unexpected argument", []string{"x"}},
		{"two result files", []string{"--compare", "x"}},
		{"read results", []string{"--compare", "/nowhere/a", "/nowhere/b"}},
		{"--setting", []string{"--setting", "=x"}},
		{"--sync", []string{"--sync", "os,never"}},
		{"--format", []string{"--format", "csv", "x"}},
		{"needs a result file", []string{"--format", "table"}},
		{"read results", []string{"--format", "benchstat", "/nowhere/a"}},
	} {
		if _, err := bench(c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error is %v, it should say %q", c.args, err, c.want)
		}
	}
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "4096": 4096, "512KiB": 512 << 10, "8MiB": 8 << 20, "4GiB": 4 << 30, "7B": 7} {
		var b bytesFlag
		if err := b.Set(s); err != nil || int64(b) != want {
			t.Errorf("%s is %d, %v", s, b, err)
		}
		var again bytesFlag
		if err := again.Set(b.String()); err != nil || again != b {
			t.Errorf("%s prints as %s", s, b.String())
		}
	}
	for _, s := range []string{"", "-1", "x", "1.5MiB", "9223372036854775807GiB", "KiB"} {
		var b bytesFlag
		if err := b.Set(s); err == nil {
			t.Errorf("%q was taken as %d", s, b)
		}
	}
}

func TestModeIsAskedOfTheBroker(t *testing.T) {
	for _, c := range []struct {
		name, path, body, want string
	}{
		{"a label of the metrics", "/metrics", "# HELP x\nleveret_info{version=\"1\",durability=\"group\"} 1\n", "group"},
		{"health", "/health", `{"status":"ok","durability":"always"}`, "always"},
		{"another broker", "/metrics", "process_cpu_seconds_total 1\n", ""},
		{"nothing there", "/else", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			mux := http.NewServeMux()
			mux.HandleFunc(c.path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(c.body)) })
			s := httptest.NewServer(mux)
			defer s.Close()
			if got := askMode(context.Background(), strings.TrimPrefix(s.URL, "http://")); got != c.want {
				t.Fatalf("got %q", got)
			}
		})
	}
}

func TestSyncsAreAskedOfTheBroker(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("leveret_store_sync_seconds_bucket{le=\"0.25\"} 3\nleveret_store_sync_seconds_count 42\n"))
	}))
	defer s.Close()
	if got := askSyncs(context.Background(), strings.TrimPrefix(s.URL, "http://")); got != 42 {
		t.Fatalf("got %d", got)
	}
	if got := askSyncs(context.Background(), "127.0.0.1:1"); got != 0 {
		t.Fatalf("nobody is there: got %d", got)
	}
}

func TestKafkaProducersAskForWhatTheModePromises(t *testing.T) {
	for _, c := range []struct {
		given, mode string
		want        int16
	}{{"", "os", 1}, {"", "group", -1}, {"", "always", -1}, {"", "", 1}, {"1", "group", 1}, {"all", "os", -1}} {
		if got := (&options{ackName: c.given}).acks(c.mode); got != c.want {
			t.Errorf("--acks %q in mode %q: %d, it should be %d", c.given, c.mode, got, c.want)
		}
	}
}

// A broker that does not start must be named with what it printed, and leave nothing.
func TestBrokerThatDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "broker")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no such luck >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	temp := filepath.Join(dir, "temp")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := bench("--start", "--binary", program, "--temp-dir", temp, "--only", "start", "--quiet")
	if err == nil || !strings.Contains(err.Error(), "no such luck") || !strings.Contains(err.Error(), "exit status 3") {
		t.Fatalf("got %v", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
}

func TestNothingListensAtTheAddress(t *testing.T) {
	if _, err := bench("--amqp", "127.0.0.1:1", "--quiet", "--only", "amqp-12b$"); err == nil || !strings.Contains(err.Error(), "connect") {
		t.Fatalf("got %v", err)
	}
}
