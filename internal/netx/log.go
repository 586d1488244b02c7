package netx

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/internal/audit"
)

// Bounds on what a Log says and remembers.
const (
	// causeEvery is how often one cause of a refusal is said.
	causeEvery = time.Minute
	// loginEvery is how often refused logins of one address are said.
	loginEvery = time.Second
	// maxCauses is how many causes are told apart at a time, and maxCausesOf how
	// many of them may be of one address.
	maxCauses   = 1024
	maxCausesOf = 64
)

// Log writes what an operator should read about the clients of one listener, in
// the same words for every protocol. All methods may be called from any goroutine.
//
// Refusals are said once a cause and interval: people's tools try again for ever,
// and a client must not fill the disk with its mistakes. What was left out is
// counted in the next line of that cause. Those of logins and for want of a right
// are lines of audit.
type Log struct {
	logger   *slog.Logger
	audit    *slog.Logger // without the listener, which is the protocol there
	listener string

	loggedIn, loginsRefused atomic.Uint64

	mu     sync.Mutex // guards all below
	causes map[cause]*said
	hosts  map[string]int // causes of each address
	unsaid int            // refusals for which there was no room
	swept  time.Time
}

// cause is why a client was refused. The port is not in it: a client that tries
// again comes from another.
type cause struct{ host, user, what, why string }

// said is when a cause may be said again, and what was left out until then.
type said struct {
	next time.Time
	left int
}

// NewLog makes the log of a listener; nil is slog.Default().
func NewLog(listener string, logger *slog.Logger) *Log {
	if logger == nil {
		logger = slog.Default()
	}
	return &Log{logger: logger.With("listener", listener), audit: logger, listener: listener, causes: map[cause]*said{}, hosts: map[string]int{}}
}

// Client is how a connection is called in the log. Its user and virtual host are set
// at the login; its methods may be called from any goroutine afterwards.
type Client struct {
	log  *Log
	addr net.Addr

	user, vhost string
}

// Client makes the one of a connection.
func (l *Log) Client(addr net.Addr) *Client { return &Client{log: l, addr: addr} }

// LoggedIn notes who the client is.
func (c *Client) LoggedIn(user string) {
	c.user = user
	c.log.loggedIn.Add(1)
}

// Logins are how many clients have logged in, and how many logins were refused or not looked at.
func (l *Log) Logins() (in, refused uint64) { return l.loggedIn.Load(), l.loginsRefused.Load() }

// Entered notes its virtual host.
func (c *Client) Entered(vhost string) { c.vhost = vhost }

// Debug writes a line that few want to read.
func (c *Client) Debug(text string, args ...any) { c.write(slog.LevelDebug, text, args) }

// Warn writes a line about something that does not happen often.
func (c *Client) Warn(text string, args ...any) { c.write(slog.LevelWarn, text, args) }

// Error writes a line about what must not happen.
func (c *Client) Error(text string, args ...any) { c.write(slog.LevelError, text, args) }

func (c *Client) write(level slog.Level, text string, args []any) {
	if !c.log.logger.Enabled(context.Background(), level) {
		return
	}
	who := []any{"client", addressText(c.addr)}
	if c.user != "" {
		who = append(who, "user", c.user)
	}
	c.log.logger.Log(context.Background(), level, text, append(who, args...)...)
}

// Failed says that something that was asked for can't be kept, as on a disk that is full: once a cause and interval, whoever asks.
// Further arguments do not make another cause.
func (c *Client) Failed(what string, why error, args ...any) {
	c.log.Failed(what, why, append(args, "client", addressText(c.addr))...)
}

// Failed is that of a client, for what none asks for.
func (l *Log) Failed(what string, why error, args ...any) {
	text := clip(why.Error())
	if args, say := l.say(cause{what: what, why: text}, causeEvery, append(args, "error", text)); say {
		l.logger.Error(what, args...)
	}
}

// Refused says that something was refused to the client that ends its work: what
// it asked, why not, and what to do about it. Further arguments do not make
// another cause.
func (c *Client) Refused(what string, why error, advice string, args ...any) {
	text := clip(why.Error())
	c.refused(causeEvery, cause{host(c.addr), c.user, what, text}, append([]any{"what", what, "error", text, "do", advice}, args...))
}

// Denied is Refused of what the client's user may not do; on what, when why does not say it.
func (c *Client) Denied(what, on string, why error, advice string, args ...any) {
	on, text := clip(on), clip(why.Error())
	c.audit(causeEvery, cause{host(c.addr), c.user, what, on + text}, c.user,
		audit.Entry{Act: audit.Act(what), On: on, VHost: c.vhost, Reason: text}, append([]any{"do", advice}, args...))
}

// LoginRefused says that a login was refused or not looked at, and by which name, where why knows it.
func (c *Client) LoginRefused(why error) {
	c.log.loginsRefused.Add(1)
	user := ""
	var named interface {
		error
		LoginUser() string
		Unwrap() error
	}
	if errors.As(why, &named) {
		user, why = clip(named.LoginUser()), named.Unwrap()
	}
	c.audit(loginEvery, cause{host: host(c.addr), what: "login"}, user,
		audit.Entry{Act: audit.Login, Reason: clip(why.Error())}, []any{"do", "check the name and the password that this client is given"})
}

// refused says what was refused.
func (c *Client) refused(every time.Duration, what cause, args []any) {
	if args, say := c.log.say(what, every, args); say {
		c.write(slog.LevelWarn, "client refused", args)
	}
}

// audit is refused, as a line of audit.
func (c *Client) audit(every time.Duration, what cause, user string, e audit.Entry, args []any) {
	if args, say := c.log.say(what, every, args); say {
		e.By, e.Outcome = audit.Actor{User: user, From: addressText(c.addr), Protocol: c.log.listener}, audit.Refused
		audit.Write(c.log.audit, e, args...)
	}
}

// say is admit, with what was left out added to what is said.
func (l *Log) say(what cause, every time.Duration, args []any) ([]any, bool) {
	left, say := l.admit(what, every, time.Now())
	if left > 0 {
		args = append(args, "left_out", left)
	}
	return args, say
}

// admit decides whether a cause is said now, and how often it was not since.
func (l *Log) admit(what cause, every time.Duration, now time.Time) (left int, say bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.causes[what]
	if s != nil && now.Before(s.next) {
		s.left++
		return 0, false
	}
	if s == nil {
		l.sweep(now)
		if len(l.causes) >= maxCauses || l.hosts[what.host] >= maxCausesOf {
			l.unsaid++
			return 0, false
		}
		s = &said{}
		l.causes[what] = s
		l.hosts[what.host]++
	}
	left, s.left, s.next = s.left, 0, now.Add(every)
	return left, true
}

// sweep forgets causes that may be said again, not more often than every second,
// and says how many refusals had no room.
func (l *Log) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Second {
		return
	}
	l.swept = now
	for what, s := range l.causes {
		if now.Before(s.next.Add(causeEvery)) {
			continue
		}
		delete(l.causes, what)
		if l.hosts[what.host]--; l.hosts[what.host] == 0 {
			delete(l.hosts, what.host)
		}
	}
	if l.unsaid > 0 {
		l.logger.Warn("more refusals than are shown", "left_out", l.unsaid)
		l.unsaid = 0
	}
}

// clip bounds what a client's own words take in the log and in memory.
func clip(text string) string {
	const most = 400
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

// host is an address without its port.
func host(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return addressText(addr)
}

func addressText(addr net.Addr) string {
	if addr == nil {
		return "unknown"
	}
	return addr.String()
}
