package xmpp

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

const (
	nsTLS  = "urn:ietf:params:xml:ns:xmpp-tls"
	nsSASL = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsBind = "urn:ietf:params:xml:ns:xmpp-bind"
	nsSess = "urn:ietf:params:xml:ns:xmpp-session"

	// maxTries is how often a client may try to sign in on one connection.
	maxTries = 3
	plain    = "PLAIN"
	external = "EXTERNAL"
)

// mechanisms are those that are offered, the best first. None of them binds to the channel.
var mechanisms = []string{string(auth.ScramSHA256), string(auth.ScramSHA1), plain}

// signIn goes from the first byte to a resource that is bound, or a stream that is resumed.
func (c *conn) signIn() error {
	if err := c.bound(); err != nil {
		return err
	}
	if err := c.firstByte(); err != nil {
		return err
	}
	for {
		c.newStream(earlyLimits)
		if err := c.header(); err != nil {
			return err
		}
		if c.secure {
			break
		}
		if err := c.startTLS(); err != nil {
			return err
		}
	}
	if err := c.authenticate(); err != nil {
		return err
	}
	c.newStream(stanza.Limits{Bytes: c.s.opts.MaxStanzaBytes, Depth: maxDepth, Elements: maxElements, Attrs: maxAttrs})
	if err := c.header(); err != nil {
		return err
	}
	if err := c.enter(); err != nil {
		return err
	}
	return c.bindResource()
}

// bound has the sign-in end in time.
func (c *conn) bound() error { return c.until(time.Now().Add(c.s.opts.ConnectTimeout)) }

// firstByte waits for the client to say something, and makes the handshake of one that begins with TLS.
func (c *conn) firstByte() error {
	if c.secure {
		return nil
	}
	rb := c.rb()
	for len(rb.Unread()) < 3 {
		if _, err := rb.Fill(0); err != nil {
			return err
		}
		if rb.Unread()[0] != 0x16 {
			return nil
		}
	}
	if !netx.SpeaksTLS(rb.Unread()) {
		return nil
	}
	return c.handshake(rb.Unread())
}

// handshake puts TLS between us and the client, who may have sent the beginning of it.
func (c *conn) handshake(read []byte) error {
	secured, err := netx.StartTLS(c.raw, read, c.s.opts.TLS())
	if err != nil {
		c.raw.Close()
		return errTold // the log has it
	}
	c.use(secured)
	c.reader = nil
	c.secure = true
	c.entry.Secured(secured)
	return c.bound()
}

// startTLS offers TLS, and nothing else.
func (c *conn) startTLS() error {
	if err := c.write("<stream:features><starttls xmlns='" + nsTLS + "'><required/></starttls></stream:features>"); err != nil {
		return err
	}
	e, err := c.reader.Next()
	if err != nil {
		return err
	}
	if !e.Is(nsTLS, "starttls") {
		return &stanza.StreamError{Condition: c.notYet(e), Text: "TLS comes first"}
	}
	if err := c.write("<proceed xmlns='" + nsTLS + "'/>"); err != nil {
		return err
	}
	return c.handshake(nil) // what came behind it without TLS is dropped with the old read buffer
}

// notYet is the condition for an element that comes before the client has signed in.
func (c *conn) notYet(e *stanza.Element) string {
	if e.Space == stanza.NSClient || e.Space == nsSASL {
		return "not-authorized"
	}
	return "unsupported-stanza-type"
}

// header reads the header of a stream and answers it.
func (c *conn) header() error {
	h, err := c.reader.Header()
	if err != nil {
		return err
	}
	to, jidErr := stanza.ParseJID(h.Attr("to"))
	d := c.s.domains[to.Domain]
	if c.lang = h.Lang(); len(c.lang) > 35 {
		c.lang = ""
	}
	switch {
	case h.Local != "stream" || h.Space != stanza.NSStream:
		if h.Local == "stream" {
			return &stanza.StreamError{Condition: "invalid-namespace", Text: "the stream is in the namespace " + stanza.NSStream}
		}
		return &stanza.StreamError{Condition: "bad-format", Text: "a stream begins with <stream:stream>"}
	case c.reader.Default() != stanza.NSClient:
		return &stanza.StreamError{Condition: "invalid-namespace", Text: "this is a server for clients: stanzas are in the namespace " + stanza.NSClient}
	case jidErr != nil || d == nil || to.Local != "" || to.Resource != "":
		return &stanza.StreamError{Condition: "host-unknown", Text: "the attribute 'to' has to be a domain that is served here"}
	case c.user.Name != "" && d != c.domain:
		return &stanza.StreamError{Condition: "host-unknown", Text: "the client has signed in to another domain"}
	}
	c.domain = d
	major, _, _ := strings.Cut(h.Attr("version"), ".")
	if major != "1" {
		return &stanza.StreamError{Condition: "unsupported-version", Text: "the version of the stream has to be 1.0"}
	}
	from, _ := stanza.ParseJID(h.Attr("from"))
	return c.open(from)
}

// open sends our header.
func (c *conn) open(to stanza.JID) error {
	c.opened = true
	domain := ""
	if c.domain != nil {
		domain = c.domain.name
	} else {
		domain = c.s.opts.Domains[0].Name
	}
	b := append([]byte(nil), "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='"...)
	b = append(append(append(b, randomID()...), "' from='"...), domain...)
	if to.Domain != "" {
		b = stanza.AppendText(append(b, "' to='"...), to.String())
	}
	b = append(b, "' version='1.0' xml:lang='en'>"...)
	return c.write(string(b))
}

// randomID is an identifier that nobody can guess.
func randomID() string {
	var b [15]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// randomResource is a resource for a client that asks for none.
func randomResource() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// write writes before there is a writer.
func (c *conn) write(text string) error { return c.link.Load().out.Write([]byte(text)) }

// authenticate offers the mechanisms until the client has signed in.
func (c *conn) authenticate() error {
	var b strings.Builder
	b.WriteString("<stream:features><mechanisms xmlns='" + nsSASL + "'>")
	if c.certificate() != nil {
		b.WriteString("<mechanism>" + external + "</mechanism>")
	}
	for _, m := range mechanisms {
		b.WriteString("<mechanism>" + m + "</mechanism>")
	}
	b.WriteString("</mechanisms></stream:features>")
	if err := c.write(b.String()); err != nil {
		return err
	}
	for {
		e, err := c.reader.Next()
		if err != nil {
			return err
		}
		if !e.Is(nsSASL, "auth") {
			return &stanza.StreamError{Condition: c.notYet(e), Text: "the client has to sign in first"}
		}
		who, answer, failed, err := c.login(e)
		if err != nil {
			return err
		}
		if failed == "" {
			return c.signedIn(who, answer)
		}
		c.tries++
		if err := c.write("<failure xmlns='" + nsSASL + "'><" + failed + "/></failure>"); err != nil {
			return err
		}
		if c.tries >= maxTries {
			return errTries
		}
	}
}

var errTries = &stanza.StreamError{Condition: "policy-violation", Text: "too many tries to sign in"}

// signedIn tells the client that it is in.
func (c *conn) signedIn(who auth.Identity, answer []byte) error {
	c.user = who
	c.log.LoggedIn(who.Name)
	netx.Known(c.nc())
	text := "<success xmlns='" + nsSASL + "'/>"
	if len(answer) > 0 {
		text = "<success xmlns='" + nsSASL + "'>" + base64.StdEncoding.EncodeToString(answer) + "</success>"
	}
	if err := c.bound(); err != nil { // a check may have waited for others
		return err
	}
	return c.write(text)
}

// login serves one mechanism to its end. failed is the condition for which it was refused.
func (c *conn) login(e *stanza.Element) (who auth.Identity, answer []byte, failed string, err error) {
	mechanism := e.Attr("mechanism")
	var exchange *auth.Exchange
	switch mechanism {
	case plain:
	case external:
		if c.certificate() == nil {
			return who, nil, "invalid-mechanism", nil
		}
	case string(auth.ScramSHA1), string(auth.ScramSHA256):
		if exchange, err = c.s.opts.Users.Scram(auth.Mechanism(mechanism), nil); err != nil {
			return who, nil, "", err
		}
	default:
		return who, nil, "invalid-mechanism", nil
	}
	text := e.Text()
	if text == "" { // without an initial response it is asked for
		if text, failed, err = c.challenge(nil); failed != "" || err != nil {
			return who, nil, failed, err
		}
	}
	for {
		token, ok := decode(text)
		if !ok {
			return who, nil, "incorrect-encoding", nil
		}
		if mechanism == external {
			return c.byCertificate(token)
		}
		in, out, refused := c.step(exchange, token)
		switch {
		case refused != nil:
			c.log.LoginRefused(refused)
			return who, nil, conditionOf(refused), nil
		case in != nil:
			return *in, out, "", nil
		}
		if text, failed, err = c.challenge(out); failed != "" || err != nil {
			return who, nil, failed, err
		}
	}
}

// certificate is the client's that was verified, when there may be a login by it; else nil.
func (c *conn) certificate() *x509.Certificate {
	if c.s.opts.CertifiedName == nil {
		return nil
	}
	return netx.Verified(c.nc())
}

// byCertificate signs in who has proved by a certificate who it is (XEP-0178). The client may name the address that it wants,
// which has to be the one that the certificate stands for.
func (c *conn) byCertificate(asked []byte) (who auth.Identity, answer []byte, failed string, err error) {
	name, refused := c.s.opts.CertifiedName(c.certificate())
	if refused == nil {
		who, refused = c.s.opts.Users.Certified(name, c.raw.RemoteAddr())
	}
	if refused != nil {
		c.log.LoginRefused(refused)
		return auth.Identity{}, nil, "not-authorized", nil
	}
	own := stanza.JID{Local: stanza.Escape(who.Name), Domain: c.domain.name}
	if jid, err := stanza.ParseJID(string(asked)); len(asked) > 0 && (err != nil || jid != own) {
		return auth.Identity{}, nil, "invalid-authzid", nil
	}
	return who, nil, "", nil
}

// challenge asks for the next token.
func (c *conn) challenge(token []byte) (text, failed string, err error) {
	if err := c.write("<challenge xmlns='" + nsSASL + "'>" + base64.StdEncoding.EncodeToString(token) + "</challenge>"); err != nil {
		return "", "", err
	}
	e, err := c.reader.Next()
	switch {
	case err != nil:
		return "", "", err
	case e.Is(nsSASL, "abort"):
		return "", "aborted", nil
	case !e.Is(nsSASL, "response"):
		return "", "", &stanza.StreamError{Condition: c.notYet(e), Text: "a response was expected"}
	}
	return e.Text(), "", nil
}

// decode reads a token; "=" is an empty one.
func decode(text string) ([]byte, bool) {
	if text == "=" {
		return nil, true
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	return b, err == nil && !strings.ContainsAny(text, "\r\n")
}

var errMalformed = errors.New("the message of PLAIN is malformed")

// step takes a token of the mechanism under way; exchange is nil for PLAIN.
func (c *conn) step(exchange *auth.Exchange, token []byte) (who *auth.Identity, answer []byte, err error) {
	stay, leave := netx.Stay(c.s.stopping, c.nc())
	defer leave()
	if exchange != nil {
		answer, who, err = exchange.Step(stay, token, c.raw.RemoteAddr())
		return who, answer, err
	}
	user, password, err := auth.SplitPlain(token)
	if err != nil {
		return nil, nil, errMalformed
	}
	in, err := c.s.opts.Users.Login(stay, user, password, c.raw.RemoteAddr())
	return &in, nil, err
}

// conditionOf is what a client is told of a refused login: nothing by which it could guess.
func conditionOf(err error) string {
	switch {
	case errors.Is(err, errMalformed):
		return "malformed-request"
	case errors.Is(err, auth.ErrBusy):
		return "temporary-auth-failure"
	}
	return "not-authorized"
}

// enter begins the session in the virtual host of the domain.
func (c *conn) enter() error {
	v, err := c.domain.vhostOf()
	if err != nil {
		c.log.Refused("domain", err, "make that virtual host, or name another one in --xmpp-domain")
		return &stanza.StreamError{Condition: "not-authorized", Text: "the domain has no virtual host"}
	}
	c.log.Entered(v.Name)
	c.session = c.entry.NewSession(v, c.user)
	if err := c.session.Enter(); err != nil {
		if broker.KindOf(err) == broker.LimitReached {
			c.log.Refused("sign-in", err, "close other connections, or raise the limit")
			return &stanza.StreamError{Condition: "resource-constraint", Text: err.Error()}
		}
		c.log.Denied("sign-in", "", err, "give the user a permission in the virtual host")
		return &stanza.StreamError{Condition: "not-authorized", Text: "Virtual host '" + v.Name + "' access denied"}
	}
	c.feed.open()
	return nil
}
