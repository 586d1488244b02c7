package management

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/netx"
)

// call is one request on its way. It is used by one goroutine.
type call struct {
	s       *Server
	w       http.ResponseWriter
	r       *http.Request
	from    net.Addr
	log     *netx.Client
	account *budget.Account
	charged int64 // of the account

	visitor *visitor // who signed in at the page; nil: the request says who

	row    *row
	values []string // of the row's arguments
	who    auth.Identity
	user   access.User
	vhost  *broker.VHost // of the path; nil where none is in it, or the row looks for itself

	sessions []*broker.Session
	begun    bool // the answer is
}

func newCall(s *Server, w http.ResponseWriter, r *http.Request) *call {
	c := &call{s: s, w: w, r: r, from: addressOf(r.RemoteAddr), account: s.opts.Budget.Open()}
	c.log = s.log.Client(c.from)
	return c
}

// addressOf is the address of a client, as package auth wants it. What is none is nobody's.
func addressOf(text string) net.Addr {
	tcp, err := net.ResolveTCPAddr("tcp", text) // numbers: nothing is asked
	if err != nil {
		return nil
	}
	return tcp
}

// end gives back what the call took.
func (c *call) end() {
	for _, s := range c.sessions {
		s.Close()
	}
	c.account.Give(c.charged)
	c.account.Close()
}

// bound has a client that is slow to send or to read end.
func (c *call) bound() {
	control, at := http.NewResponseController(c.w), time.Now().Add(requestTime)
	_ = control.SetReadDeadline(at) // a test's recorder has none
	_ = control.SetWriteDeadline(at)
}

// take charges the memory that the request is going to need, until its end.
func (c *call) take(bytes int64) error {
	if err := c.account.Take(bytes, c.r.Context().Done()); err != nil {
		return unavailable(err.Error())
	}
	c.charged += bytes
	return nil
}

// what names the request for the log, without its arguments.
func (c *call) what() string {
	if c.row == nil {
		return c.r.Method
	}
	return c.row.method + " " + c.row.path
}

const base = "/api"

// serve goes from the path to the row's function.
func (c *call) serve() error {
	c.commonHeaders()
	path := c.r.URL.EscapedPath()
	rest, ok := strings.CutPrefix(path, base+"/")
	if !ok || rest == "" {
		return c.outside(path)
	}
	if rest == "vhosts//" && c.r.Method != http.MethodDelete {
		rest = "vhosts/%2F" // rascal asserts the default one so. RabbitMQ makes one without a name then
	}
	segments, wrong := segmentsOf(rest)
	if wrong != "" {
		return &failure{status: http.StatusNotFound, err: "Object Not Found", reason: wrong}
	}
	found, values := c.s.routes.find(segments, nil)
	if found == nil {
		return missing()
	}
	if c.r.Method == http.MethodOptions {
		return c.options(found)
	}
	method := c.r.Method
	if method == http.MethodHead {
		method = get
	}
	if c.row = found.rows[method]; c.row == nil {
		return &failure{status: http.StatusMethodNotAllowed, empty: true, header: map[string]string{"Allow": found.allow()}}
	}
	if err := c.s.crossing.Check(c.r); err != nil {
		return notAuthorised("the request comes from another site's page (Origin %s); its origin would have to be among --http-cors-origins", c.r.Header.Get("Origin"))
	}
	if err := c.login(); err != nil {
		return err
	}
	c.values = values
	err := c.do()
	if again, other := spaced(segments, rest); other && method == get && isMissing(err) && !c.begun {
		if found, values := c.s.routes.find(again, nil); found != nil && found.rows[get] == c.row {
			c.values = values
			err = c.do()
		}
	}
	return err
}

// isMissing says whether an answer is that something is not there.
func isMissing(err error) bool { return err != nil && asFailure(err).status == http.StatusNotFound }

// do asks what the row asks of every request, and then the row.
func (c *call) do() error {
	if !c.row.free && !c.acceptsJSON() {
		return &failure{status: http.StatusNotAcceptable, err: "not_acceptable", reason: "the answer would be application/json, which the header Accept leaves out"}
	}
	if err := c.findVHost(); err != nil {
		return err
	}
	return c.row.do(c)
}

// findVHost looks for the virtual host of the path.
func (c *call) findVHost() error {
	c.vhost = nil
	if c.row.scope == unasked || !slices.Contains(c.row.args, "vhost") {
		return nil
	}
	v, err := c.s.opts.Broker.VHost(c.arg("vhost"))
	if err != nil && (c.row.method == put || c.row.method == post) {
		return notFound("vhost_not_found") // of which something is to be made
	}
	if err != nil {
		return missing()
	}
	if c.row.scope == worked && !c.mayEnter(v.Name) || !c.mayLook(v.Name, c.row.scope == seen) {
		return notAuthorised("User not authorised to access virtual host")
	}
	c.vhost = v
	return nil
}

// mayEnter says whether the user has a permission in the virtual host.
func (c *call) mayEnter(vhost string) bool {
	_, ok := c.s.opts.Access.Permission(vhost, c.user.Name)
	return ok
}

// mayLook says whether the user may be told of what there is in the virtual host: whoever may enter it, and administrators by
// requests that change nothing; where all is set, administrators by any, and by those that change nothing whoever may look at everything.
func (c *call) mayLook(vhost string, all bool) bool {
	looks := c.row.method == get
	return c.mayEnter(vhost) || (all || looks) && c.is(administrator) || all && looks && c.is(monitoring)
}

// arg is an argument of the path, decoded.
func (c *call) arg(name string) string {
	if i := slices.Index(c.row.args, name); i >= 0 {
		return c.values[i]
	}
	panic("no argument " + name + " in " + c.row.path)
}

// query is a parameter behind the question mark; "" where there is none.
func (c *call) query(name string) string { return c.r.URL.Query().Get(name) }

// flag is a parameter that is true or left out.
func (c *call) flag(name string) bool { return c.query(name) == "true" }

// is says whether the user has a role.
func (c *call) is(k role) bool { return k.has(c.user.Tags) }

// actor is who acts, for the records.
func (c *call) actor() audit.Actor {
	return audit.Actor{User: c.user.Name, From: c.r.RemoteAddr, Protocol: "http"}
}

// vhosts are those that a list is about: which the user may enter, or where all is set and the user may look at
// everything all, narrowed to the one that the header x-vhost names.
func (c *call) vhosts(all bool) []*broker.VHost {
	only, narrowed := c.r.Header["X-Vhost"]
	return slices.DeleteFunc(c.s.opts.Broker.VHosts(), func(v *broker.VHost) bool {
		if narrowed && only[0] != "" && only[0] != v.Name {
			return true
		}
		return !c.mayLook(v.Name, all)
	})
}

// session begins a session of the user in the virtual host of the path, through which all is done that a client of another
// protocol could do. It ends with the call.
func (c *call) session() (*broker.Session, error) { return c.sessionIn(c.vhost) }

// sessionIn is session in any virtual host.
func (c *call) sessionIn(v *broker.VHost) (*broker.Session, error) {
	s := v.NewSession(c.who)
	c.sessions = append(c.sessions, s)
	if err := s.Visit(); err != nil {
		return nil, err
	}
	c.log.Entered(v.Name)
	context.AfterFunc(c.r.Context(), s.GiveUp) // who does not wait for a disk any more; it is run at the latest when the request is over
	return s, nil
}
