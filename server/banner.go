package server

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/config"
)

// modes says in a few words what a confirm means.
var modes = map[string]string{
	config.SyncOS:     "os: a confirm means in the page cache, flushed every second",
	config.SyncGroup:  "group: a confirm means on disk; one flush serves all who wait",
	config.SyncAlways: "always: a confirm means on disk; a flush for each",
}

// Banner is what a person reads at the start: what runs, where the data is,
// what a confirm means, where to connect, and something to paste.
func (s *Server) Banner() string {
	var b strings.Builder
	dir, err := filepath.Abs(s.config.DataDir)
	if err != nil {
		dir = s.config.DataDir
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "Leveret %s (%s %s/%s)\n", s.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	line("data", "%s", dir)
	if file := s.config.File(); file != "" {
		line("settings", "%s", file)
	}
	line("durability", "%s", modes[s.config.Sync])
	for _, r := range s.store.Stats().Recovered {
		line("recovered", "%s", r)
	}
	s.mu.Lock()
	for _, l := range s.listeners {
		at := l.addr.String()
		if l.told != "" {
			at += ", clients are told " + l.told
		}
		line(l.name, "%s", at)
	}
	s.mu.Unlock()
	for _, text := range s.whoGetsIn() {
		line("user", "%s", text)
	}
	if at := reachable(s.Addr("http")); at != "" {
		line("page", "http://%s/ in a browser shows and does it all", at)
	}
	b.WriteString(s.examples())
	fmt.Fprintf(&b, "\nReady after %v. Ctrl-C stops it.\n", s.took.Round(time.Millisecond))
	return b.String()
}

// whoGetsIn tells of the default user, as it is stored.
func (s *Server) whoGetsIn() []string {
	name := s.config.DefaultUser
	u, err := s.access.User(name)
	switch {
	case err != nil:
		return []string{fmt.Sprintf("%d users are stored, none of them is %s", len(s.access.Users()), name)}
	case !u.WellKnown && !u.LoopbackOnly:
		return []string{name + ", from anywhere"}
	case !u.WellKnown:
		return []string{name + ", from this machine only"}
	case !u.LoopbackOnly:
		return []string{name + " with the well-known password, from ANYWHERE"}
	}
	lines := []string{name + "/guest, from this machine only"}
	if s.public() && len(s.access.Users()) == 1 {
		lines = append(lines, "nobody from elsewhere gets in: begin with LEVERET_DEFAULT_USER and LEVERET_DEFAULT_PASSWORD and a new data directory, or add users with --definitions")
	}
	return lines
}

// public tells whether clients of other machines reach a listener where they log in.
func (s *Server) public() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		if tcp, ok := l.addr.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() && (strings.HasPrefix(l.name, "amqp") || strings.HasPrefix(l.name, "kafka")) {
			return true
		}
	}
	return false
}

// examples are lines to paste that publish and consume one message.
func (s *Server) examples() string {
	var b strings.Builder
	if u, err := s.access.User("guest"); err != nil || !u.WellKnown {
		return "" // a password must not be printed, and the lines would not work without it
	}
	if at := reachable(s.Addr("amqp")); at != "" {
		fmt.Fprintf(&b, `
Try it with AMQP (pip install pika):
  python3 -c 'import pika; c = pika.BlockingConnection(pika.URLParameters("amqp://guest:guest@%s/%s")); h = c.channel(); h.queue_declare("hello", durable=True); h.basic_publish("", "hello", b"Hello from AMQP"); print(h.basic_get("hello", auto_ack=True)[2].decode()); c.close()'
`, at, url.PathEscape(s.config.DefaultVHost))
	}
	if at := reachable(s.Addr("kafka")); at != "" {
		fmt.Fprintf(&b, `
and with Kafka (apt install kcat):
  echo 'Hello from Kafka' | kcat -b %s -t greetings -P
  kcat -b %s -t greetings -C -o beginning -e -q
`, at, at)
	}
	return b.String()
}

// reachable turns a bound address into one that a client on this machine can use.
func reachable(bound string) string {
	host, port, err := net.SplitHostPort(bound)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
