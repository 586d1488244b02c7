package netx

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/fakeclock"
)

// written is a log and what came into it.
func written() (*Log, *bytes.Buffer) {
	var b bytes.Buffer
	return NewLog("amqp", slog.New(slog.NewTextHandler(&b, nil))), &b
}

func at(ip string, port int) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: port} }

func TestARefusalIsSaidOnceACauseAndInterval(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		log, out := written()
		gone := errors.New("no queue 'q' in vhost '/'")
		refuse := func(ip string, port int, user, what string, why error) {
			c := log.Client(at(ip, port))
			c.LoggedIn(user)
			c.Refused(what, why, "declare it first", "channel", port)
		}
		for n := range 100 { // a tool that tries again, from another port each time
			refuse("192.0.2.7", 5000+n, "ann", "basic.consume", gone)
		}
		first := out.String()
		for _, want := range []string{`level=WARN msg="client refused" listener=amqp client=192.0.2.7:5000 user=ann what=basic.consume`, `error="no queue 'q' in vhost '/'"`, `do="declare it first"`, "channel=5000"} {
			if strings.Count(first, want) != 1 || strings.Count(first, "\n") != 1 {
				t.Fatalf("no single line with %s in %s", want, first)
			}
		}
		refuse("192.0.2.8", 1, "ann", "basic.consume", gone)
		refuse("192.0.2.7", 1, "bob", "basic.consume", gone)
		refuse("192.0.2.7", 1, "ann", "basic.get", gone)
		refuse("192.0.2.7", 1, "ann", "basic.consume", errors.New("another"))
		if n := strings.Count(out.String(), "\n"); n != 5 {
			t.Errorf("%d lines of 5 causes:\n%s", n, out)
		}
		time.Sleep(causeEvery)
		out.Reset()
		refuse("192.0.2.7", 1, "ann", "basic.consume", gone)
		if !strings.Contains(out.String(), "left_out=99") {
			t.Errorf("what was left out is not counted: %s", out)
		}
	})
}

func TestAFailureIsSaidOnceACauseWhoeverAsks(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		log, out := written()
		full := errors.New("no space left")
		for n := range 100 {
			log.Client(at(fmt.Sprintf("192.0.2.%d", n), 1)).Failed("can't store offsets", full, "group", n)
		}
		log.Failed("can't store offsets", full)
		log.Failed("can't store offsets", errors.New("the disk fails"))
		if n := strings.Count(out.String(), "\n"); n != 2 || !strings.Contains(out.String(), `level=ERROR msg="can't store offsets" listener=amqp group=0 client=192.0.2.0:1 error="no space left"`) {
			t.Errorf("%d lines of 2 causes:\n%s", n, out)
		}
		time.Sleep(causeEvery)
		out.Reset()
		if log.Failed("can't store offsets", full); !strings.Contains(out.String(), "left_out=100") {
			t.Errorf("what was left out is not counted: %s", out)
		}
	})
}

func TestRefusedLoginsAreSaidOnceASecondAndSource(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		log, out := written()
		for n := range 300 { // three seconds of guessing names
			log.Client(at("192.0.2.7", n)).LoginRefused(fmt.Errorf("user %d: no such user", n))
			time.Sleep(10 * time.Millisecond)
		}
		if n := strings.Count(out.String(), "act=login"); n != 3 {
			t.Errorf("%d lines in three seconds:\n%s", n, out)
		}
	})
}

// namedLogin is a refused login of eve.
type namedLogin struct{ why error }

func (n namedLogin) Error() string     { return "user eve: " + n.why.Error() }
func (n namedLogin) Unwrap() error     { return n.why }
func (n namedLogin) LoginUser() string { return "eve" }

func TestWhatAUserMayNotDoIsALineOfAudit(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := NewLog("amqp", slog.New(audit.NewHandler("text", slog.LevelError, &out, nil)))
		eve := log.Client(at("192.0.2.7", 5))
		eve.LoginRefused(namedLogin{errors.New("wrong password")})
		eve.LoggedIn("eve")
		eve.Entered("/")
		for range 3 {
			eve.Denied("basic.publish", "exchange 'x'", errors.New("may not write"), "grant it", "channel", 1)
		}
		time.Sleep(causeEvery)
		eve.Denied("basic.publish", "exchange 'x'", errors.New("may not write"), "grant it", "channel", 1)
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		for i, want := range []string{
			`level=AUDIT msg=audit act=login by=eve from=192.0.2.7:5 protocol=amqp outcome=refused reason="wrong password" do="check the name and the password that this client is given"`,
			`level=AUDIT msg=audit act=basic.publish on="exchange 'x'" vhost=/ by=eve from=192.0.2.7:5 protocol=amqp outcome=refused reason="may not write" do="grant it" channel=1`,
			`level=AUDIT msg=audit act=basic.publish on="exchange 'x'" vhost=/ by=eve from=192.0.2.7:5 protocol=amqp outcome=refused reason="may not write" do="grant it" channel=1 left_out=2`,
		} {
			if i >= len(lines) || !strings.HasSuffix(lines[i], want) {
				t.Errorf("line %d is not %s:\n%s", i, want, &out)
			}
		}
		if len(lines) != 3 {
			t.Errorf("%d lines:\n%s", len(lines), &out)
		}
	})
}

func TestRefusalsTakeBoundedMemoryAndLines(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		log, out := written()
		for n := range 100_000 {
			log.Client(at(fmt.Sprintf("10.0.%d.%d", n/256%256, n%256), 1)).Refused("x", fmt.Errorf("cause %d %s", n, strings.Repeat("y", 1000)), "z")
		}
		noisy := log.Client(at("192.0.2.7", 1))
		for n := range 1000 {
			noisy.Refused("x", fmt.Errorf("cause %d", n), "z")
		}
		if len(log.causes) > maxCauses || len(log.hosts) > maxCauses || strings.Count(out.String(), "\n") > maxCauses {
			t.Errorf("%d causes and %d hosts are remembered, %d lines", len(log.causes), len(log.hosts), strings.Count(out.String(), "\n"))
		}
		if out.Len() > maxCauses*1000 {
			t.Errorf("%d bytes were written", out.Len())
		}
		time.Sleep(3 * causeEvery)
		out.Reset()
		for n := range 1000 {
			noisy.Refused("x", fmt.Errorf("cause %d", n), "z")
		}
		if n := strings.Count(out.String(), "what=x"); n != maxCausesOf || !strings.Contains(out.String(), "left_out=") {
			t.Errorf("%d lines of one address:\n%s", n, out)
		}
	})
}

// A client may name what it wants at any length: no more of that is kept than is said.
func TestWhatIsDeniedIsRememberedAsItIsSaid(t *testing.T) {
	log, _ := written()
	log.Client(at("192.0.2.7", 1)).Denied("DescribeGroups", strings.Repeat("x", 1<<20), errors.New("may not"), "grant it")
	for c := range log.causes {
		if len(c.why) > 1000 {
			t.Errorf("%d bytes of a cause are remembered", len(c.why))
		}
	}
	if len(log.causes) != 1 {
		t.Errorf("%d causes", len(log.causes))
	}
}
