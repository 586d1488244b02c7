package cli_test

import (
	"bufio"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/leveret-mq/leveret/cli"
)

// What makes no sense is said so with what to do, and nobody is asked.
func TestMisuseIsSaidBeforeAnybodyIsAsked(t *testing.T) {
	alone(t)
	asked := false
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer s.Close()
	t.Setenv("LEVERET_HTTP", s.URL)
	for _, c := range []struct{ line, want string }{
		{"lst", "did you mean list?"},
		{"list", "list what?"},
		{"list quues", "did you mean queues? leveret list --help"},
		{"list queues --colour", "unknown flag: --colour; leveret list queues --help"},
		{"list queues --output yaml", `"yaml" is none of table, json`},
		{"list queues --match (", "--match"},
		{"list queues --timeout soon", "--timeout"},
		{"list queues --http ftp://x", `"ftp://x" is no address`},
		{"list queues --http http://", "is no address"},
		{"list queues --cert a", "--cert and --cert-key go together"},
		{"show queue", "the name is missing; leveret show queue --help"},
		{"show queue a b", `"b" is one word too many`},
		{"delete queue", "the name is missing"},
		{"purge", "the name of a queue is missing"},
		{"declare", "declare what?"},
		{"declare queue", "the name is missing"},
		{"declare queue q --ttl soon", `--ttl: "soon" is no length of time`},
		{"declare queue q --max-length many", `--max-length: "many" is no whole number`},
		{"declare queue q --max-bytes 10Mib", `--max-bytes: "10Mib" is no size`},
		{"declare queue q --single-active-consumer maybe", "neither true nor false"},
		{"declare queue q -a x", `"x" should be NAME=VALUE`},
		{"declare policy p .", "a setting is missing"},
		{"declare policy p . {", "no JSON object"},
		{"declare policy p . message-ttl=soon", "message-ttl"},
		{"bind x", "the name of the queue is missing"},
		{"publish", "the name of the queue is missing, or --exchange"},
		{"publish q x --file f", "given twice"},
		{"publish q x --key k", "--key goes with --exchange"},
		{"publish -x x a b", `"b" is too many`},
		{"publish q x -P colour=red", "there is none called \"colour\""},
		{"publish q x -P colour", "should be NAME=VALUE"},
		{"publish q x -P priority=high", "priority must be a number"},
		{"publish q x --priority 256", "not between 0 and 255"},
		{"publish q x --expiration soon", "--expiration"},
		{"publish q x --delay soon", "--delay"},
		{"publish q x --count 0", "--count is from 1"},
		{"publish q x --at-once 100", "--at-once from 1 to 64"},
		{"consume", "the name of the queue is missing"},
		{"consume q --requeue", "goes with a --count"},
		{"consume q --requeue --reject -n 1", "exclude each other"},
		{"consume q --count -1", "negative"},
		{"consume q --output xml", "none of body, full, json"},
		{"tail q --first --offset 3", "exclude each other"},
		{"browse q --from soon", `--from: "soon" is no time`},
		{"browse q --to soon", "--to"},
		{"browse q --from 10m --offset 3", "exclude each other"},
		{"browse q --last 2000", "--last is 1000 at most"},
		{"browse q --count -1", "not negative"},
		{"browse q --state late", `"late" is none of all, ready, unacked, acked`},
		{"browse q --header =x", "should be NAME=VALUE"},
		{"replay q", "where should they go?"},
		{"replay q --into a --into-exchange b", "exclude each other"},
		{"replay q --into a --into-key b", "--into-key goes with --into-exchange"},
		{"replay q --into a --from soon", "--from"},
		{"replay q --into a --from 10m --from-offset 3", "exclude each other"},
		{"replay q --into a --rate -1", "not negative"},
		{"redrive q --header =x", "should be NAME=VALUE"},
		{"redrive", "the name of the queue of dead letters is missing"},
		{"job", "job what?"},
		{"job cancel", "the id of the job is missing"},
		{"list jobs --sort id", "in one order only"},
		{"import", "the file"},
		{"completion tcsh", "there is no command \"tcsh\" of leveret completion"},
		{"status now", `"now" is one word too many`},
		{"list queues --user ann", "the password of user ann is missing"},
	} {
		if s := do(t, c.line); s.status != cli.Usage || !strings.Contains(s.err, c.want) || s.out != "" && !strings.HasSuffix(c.want, "what?") {
			t.Errorf("%s: status %d, %q, want %q\n%s", c.line, s.status, s.err, c.want, s.out)
		}
	}
	if asked {
		t.Error("somebody was asked")
	}
}

func TestWhatIsWrongWithTheBrokerIsSaid(t *testing.T) {
	alone(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	_ = free.Close()
	answer := func(status int, kind, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	secret := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "[]") }))
	defer secret.Close()
	ca := write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secret.Certificate().Raw})))
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "[{")
	}))
	defer broken.Close()
	for _, c := range []struct {
		name, line string
		status     int
		want       string
	}{
		{"nobody there", "list queues --http " + nobody, 69, "no broker answers at http://" + nobody + " (dial tcp"},
		{"what to do", "status --http " + nobody, 69, "start one with leveret serve, or name it with --http or LEVERET_HTTP"},
		{"tail of nobody", "tail q --http " + nobody, 69, "no broker answers"},
		{"a password is not shown", "list queues --http http://ann:s3cret@" + nobody, 69, "no broker answers at http://" + nobody},
		{"no such host", "list queues --http nowhere.invalid", 69, "no broker answers at http://nowhere.invalid:15672"},
		{"silence", "list queues --timeout 50ms --http " + silent.Addr().String(), 69, "does not answer in time"},
		{"unavailable", "list queues --http " + answer(503, "application/json", `{"error":"service_unavailable","reason":"disk full"}`), 69, "disk full"},
		{"a page", "list queues --http " + answer(200, "text/html", "<html>"), 1, "answers, but not as a broker does (200 OK, text/html)"},
		{"another page", "list queues --http " + answer(404, "text/html", "<html>"), 1, "not as a broker does (404"},
		{"elsewhere", "list queues --http " + answer(302, "text/html", ""), 1, "not as a broker does (302"},
		{"another list", "list queues --http " + answer(200, "application/json", "[1]"), 1, "no list of objects"},
		{"half an answer", "list queues --http " + broken.URL, 1, "not as a broker does"},
		{"no events", "tail q --http " + answer(200, "text/event-stream", "id: 1\ndata: nonsense\n\n"), 1, "no message"},
		{"wrong password", "list queues --http " + answer(401, "application/json", `{"error":"not_authorized","reason":"Not_Authorized"}`), 1, "guest works from the broker's own machine only"},
		{"TLS only", "list queues --http " + hangsUp(t), 69, "where it speaks TLS, write https://"},
		{"another program", "list queues --http " + other(t), 69, "does not speak HTTP"},
		{"no TLS", "list queues --http " + strings.Replace(answer(200, "text/html", ""), "http", "https", 1), 69, "speaks no TLS"},
		{"TLS", "list queues --http " + strings.Replace(secret.URL, "https", "http", 1), 1, "write https://"},
		{"unknown authority", "list queues --http " + secret.URL, 69, "name the authority's file with --ca"},
		{"known authority", "list queues --output json --http " + secret.URL + " --ca " + ca, 0, "[]"},
		{"unchecked", "list queues --output json --insecure --http " + secret.URL, 0, "[]"},
		{"another name", "list queues --http " + strings.Replace(secret.URL, "127.0.0.1", "localhost", 1) + " --ca " + ca, 69, "as its certificate does"},
		{"no authority", "list queues --http " + secret.URL + " --ca " + write(t, "nothing"), 1, "there is no certificate in"},
		{"no file of one", "list queues --http " + secret.URL + " --ca nowhere", 1, "--ca"},
		{"no netrc", "list queues --netrc nowhere", 1, "nowhere"},
	} {
		t.Run(c.name, func(t *testing.T) {
			do(t, c.line).ends(c.status, c.want).lacks("s3cret")
		})
	}
}

// What comes from a broker can't steer the terminal by way of an error.
func TestErrorsDoNotSteerATerminal(t *testing.T) {
	alone(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(400)
		fmt.Fprint(w, `{"error":"x","reason":"\u001b]0;owned\u0007"}`)
	}))
	defer s.Close()
	do(t, "list queues --http "+s.URL).ends(1, `\x1b]0;owned\x07`).lacks("\x1b")
}

func TestWhoLogsIn(t *testing.T) {
	alone(t)
	var user, password string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ = r.BasicAuth()
		fmt.Fprint(w, "[]")
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		t.Fatal(err)
	}
	netrc := write(t, "machine other login no password no\nmachine 127.0.0.1 login net password rc\n")
	for _, c := range []struct {
		name, line string
		env        []string
		want       string
	}{
		{"nobody said", "list queues --http " + host, nil, "guest guest"},
		{"flags", "list queues --user ann --password p --http " + host, []string{"LEVERET_USER=no", "LEVERET_PASSWORD=no"}, "ann p"},
		{"address", "list queues --http http://ann:p%40@" + host, []string{"LEVERET_PASSWORD=no"}, "ann p@"},
		{"environment", "list queues --http " + host, []string{"LEVERET_USER=env", "LEVERET_PASSWORD=v"}, "env v"},
		{"a flag and the environment", "list queues --user ann --http " + host, []string{"LEVERET_PASSWORD=v"}, "ann v"},
		{"file", "list queues --http " + host + " --netrc " + netrc, nil, "net rc"},
		{"file named by the environment", "list queues --http " + host, []string{"NETRC=" + netrc}, "net rc"},
		{"a user of the file", "list queues --user net --http " + host + " --netrc " + netrc, nil, "net rc"},
		{"the environment before the file", "list queues --http " + host + " --netrc " + netrc, []string{"LEVERET_PASSWORD=v"}, "guest v"},
		{"guest", "list queues --user guest --http " + host, nil, "guest guest"},
		{"in the broker's container", "list queues", []string{"LEVERET_HTTP_ADDR=:" + port, "LEVERET_DEFAULT_USER=first", "LEVERET_DEFAULT_PASSWORD=p"}, "first p"},
		{"in one set up as RabbitMQ's", "list queues", []string{"LEVERET_HTTP_ADDR=0.0.0.0:" + port, "RABBITMQ_DEFAULT_USER=first", "RABBITMQ_DEFAULT_PASS=p"}, "first p"},
		{"in one with a file", "list queues", []string{"LEVERET_HTTP_ADDR=127.0.0.1:" + port, "LEVERET_DEFAULT_USER=first", "LEVERET_DEFAULT_PASSWORD_FILE=" + write(t, "p\n")}, "first p"},
		{"in one, as somebody else", "list queues --user guest", []string{"LEVERET_HTTP_ADDR=:" + port, "LEVERET_DEFAULT_USER=first", "LEVERET_DEFAULT_PASSWORD=p"}, "guest guest"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, e := range c.env {
				name, value, _ := strings.Cut(e, "=")
				t.Setenv(name, value)
			}
			do(t, c.line).ok()
			if got := user + " " + password; got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

var update = flag.Bool("update", false, "write testdata anew")

// The help of every command is looked at when it changes.
func TestHelpIsAsItStands(t *testing.T) {
	alone(t)
	var b strings.Builder
	var each func(c *cobra.Command)
	each = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "completion" || c.Name() == "help" && c.HasParent() {
			return
		}
		words := strings.Fields(c.CommandPath())[1:]
		s := run(t, "", append(words, "--help")...).ok()
		fmt.Fprintf(&b, "$ %s --help\n%s\n", c.CommandPath(), s.out)
		if !c.HasParent() || c.IsAdditionalHelpTopicCommand() {
			words = nil
		} else if !c.HasExample() {
			t.Errorf("the help of %s shows no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			each(sub)
		}
	}
	each(newRoot())
	const name = "testdata/help.txt"
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the help has changed: go test ./cli -run Help -update writes %s, and git diff shows it", name)
	}
	for i, line := range strings.Split(b.String(), "\n") {
		if len([]rune(line)) > 160 {
			t.Errorf("line %d is too wide: %s", i+1, line)
		}
	}
}

func TestShellsCompleteNames(t *testing.T) {
	start(t)
	for _, q := range []string{"jobs", "jobs.late", "mail"} {
		do(t, "declare queue "+q).ok()
	}
	run(t, "", "declare", "queue", "jo\x1b[31m").ok()
	do(t, "declare vhost shop").ok()
	do(t, "declare queue carts --vhost shop").ok()
	for _, c := range []struct{ line, want, lacks string }{
		{"__complete show queue jo", "jobs\njobs.late\n", "mail"},
		{"__complete purge jo", "jobs\n", "\x1b"},
		{"__complete consume --vhost shop c", "carts\n", "jobs"},
		{"__complete publish jobs.", "jobs.late\n", ""},
		{"__complete list qu", "queues\t", ""},
		{"__complete list queues --vhost s", "shop\n", ""},
		{"__complete list queues mess", "messages_ready\n", ""},
		{"__complete declare queue --type q", "quorum\n", ""},
		{"__complete show queue --output j", "json\n", ""},
		{"__complete bind amq.t", "amq.topic\n", ""},
		{"__complete bind amq.topic j", "jobs\n", "amq"},
		{"__complete show queue --http 127.0.0.1:1 jo", ":4\n", "jobs"},
		{"__complete show queue --user nobody jo", ":4\n", "jobs"},
	} {
		// The last word is what is being typed.
		if s := do(t, c.line).ok(); !strings.Contains(s.out, c.want) || c.lacks != "" && strings.Contains(s.out, c.lacks) {
			t.Errorf("%s: %q", c.line, s.out)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		do(t, "completion "+shell).ok("leveret")
	}
}

// hangsUp is the address of somebody who ends connections at the first byte, as this broker's ports for TLS do.
func hangsUp(t *testing.T) string {
	return greets(t, func(c net.Conn) { _, _ = bufio.NewReader(c).ReadString('\n') })
}

// other is the address of a program that speaks something else than HTTP.
func other(t *testing.T) string {
	return greets(t, func(c net.Conn) { _, _ = c.Write([]byte("AMQP\x00\x00\x09\x01")) })
}

// greets is the address of a listener that does one thing with each connection and ends it.
func greets(t *testing.T, greet func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			greet(c)
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}
