package notify

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hearing is a socket that hears what is sent to it.
func hearing(t *testing.T) (name string, next func() string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return name, func() string {
		buf := make([]byte, 4096)
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestSystemdIsToldWhatHappens(t *testing.T) {
	name, next := hearing(t)
	n, err := FromEnv(env("NOTIFY_SOCKET", name))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	before := monotonicMicros()
	n.Ready("Serving")
	n.Reloading()
	n.Alive()
	n.Trouble("line 1\nline 2")
	n.Stopping("")
	for _, want := range []string{"READY=1\nSTATUS=Serving", "RELOADING=1\nMONOTONIC_USEC=(\\d+)\nSTATUS=Reading the settings anew", "WATCHDOG=1", "STATUS=line 1; line 2", "STOPPING=1"} {
		got := next()
		found := regexp.MustCompile("^" + want + "$").FindStringSubmatch(got)
		if found == nil {
			t.Errorf("%q is not %q", got, want)
			continue
		}
		if strings.HasPrefix(want, "RELOADING") {
			if at, _ := strconv.ParseInt(found[1], 10, 64); at < before || at > monotonicMicros() || before == 0 {
				t.Errorf("%d is not the time of the reload", at)
			}
		}
	}
}

func TestTheWatchdogIsAskedForOfThisProcessOnly(t *testing.T) {
	name, _ := hearing(t)
	me := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		micros, pid string
		want        time.Duration
	}{
		{"", "", 0}, {"2000000", "", 2 * time.Second}, {"2000000", me, 2 * time.Second}, {"2000000", me + "1", 0}, {"0", me, 0}, {"-1", me, 0}, {"x", me, 0},
	} {
		n, err := FromEnv(env("NOTIFY_SOCKET", name, "WATCHDOG_USEC", c.micros, "WATCHDOG_PID", c.pid))
		if err != nil || n.Watchdog != c.want {
			t.Errorf("%+v: %v %+v", c, err, n)
		}
		n.Close()
	}
}

func TestOutsideOfSystemdNothingIsSaid(t *testing.T) {
	n, err := FromEnv(env())
	if n != nil || err != nil {
		t.Fatalf("%v %v", n, err)
	}
	n.Ready("x")
	n.Reloading()
	n.Alive()
	n.Stopping("x")
	n.Close()
	if _, err := FromEnv(env("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))); err == nil {
		t.Error("a socket that is not there is taken")
	}
}
