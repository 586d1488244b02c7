package stomp

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/stomp/frame"
)

// signIn goes from the first byte to CONNECTED. A *failure is for the client to hear.
func (c *conn) signIn() error {
	if err := c.bound(time.Now().Add(c.s.opts.ConnectTimeout)); err != nil {
		return err
	}
	if c.web != nil {
		if err := c.upgrade(); err != nil {
			return err
		}
	}
	n, err := c.firstFrame()
	if err != nil {
		return err
	}
	f := &c.dec.Frame
	if f.Command != frame.Connect && f.Command != frame.Stomp {
		return c.blame(f, fail("Illegal command", "You must log in using CONNECT first"))
	}
	if err := c.connect(f); err != nil {
		var e *failure
		if errors.As(err, &e) {
			e.what = f.Command.String()
		}
		return err
	}
	c.rb.Advance(n)
	return nil
}

// firstFrame waits for a whole frame, which takes n bytes of the buffer.
func (c *conn) firstFrame() (n int, err error) {
	for {
		n, found, err := c.dec.Next(c.rb.Unread(), netx.MaxReadBytes)
		switch {
		case err != nil && netx.SpeaksTLS(c.rb.Unread()):
			return 0, &failure{message: "Bad command", detail: netx.ErrSpeaksTLS.Error(), advice: netx.TLSAdvice}
		case err != nil:
			return 0, decodeFailure(err)
		case found == frame.Whole:
			c.frames++
			return n, nil
		}
		c.rb.Advance(n)
		c.rb.Want(c.dec.Need)
		if _, err := c.rb.Fill(0); err != nil {
			return 0, err
		}
	}
}

// bound has what is read and written end at a time; the zero time lifts that.
func (c *conn) bound(at time.Time) error {
	if err := c.rb.Until(at); err != nil {
		return err
	}
	return c.w.Net().Until(at)
}

// connect signs the client in and answers.
func (c *conn) connect(f *frame.Frame) error {
	version := frame.V10
	if list, ok := f.Get("accept-version"); ok {
		if version = frame.Newest(list); version == 0 {
			return fail("Version mismatch", "Supported versions are %s", frame.Versions)
		}
	}
	c.version = version
	if version == frame.V10 {
		for i := range f.Headers {
			f.Headers[i].Value = frame.TrimLeft(f.Headers[i].Value)
		}
	}
	beat, silence, err := readBeats(f)
	if err != nil {
		return err
	}
	c.introduce(f)
	c.clientID = header(f, "client-id")
	if err := c.login(f); err != nil {
		return err
	}
	if err := c.enter(f); err != nil {
		return err
	}
	c.beat, c.silence = beat, allowance(silence)
	var random [12]byte
	rand.Read(random[:]) // never fails (crypto/rand)
	c.id = "session-" + base64.RawURLEncoding.EncodeToString(random[:])
	w := frame.Writer{Version: version}
	w.Begin("CONNECTED")
	w.Buf = append(w.Buf, "version:"+version.String()+"\nsession:"+c.id+"\nserver:Leveret/"+c.s.opts.Version+"\nheart-beat:"...)
	w.Buf = strconv.AppendInt(w.Buf, beat.Milliseconds(), 10)
	w.Buf = append(strconv.AppendInt(append(w.Buf, ','), silence.Milliseconds(), 10), '\n')
	w.End("")
	w.Buf = c.seal(w.Buf, 0)
	c.w.Frames++
	if err := c.bound(time.Time{}); err != nil {
		return err
	}
	c.running.Store(true) // from here on who is sent away hears why
	return c.w.Net().Write(w.Buf)
}

const (
	// leastBeat is the shortest time between two heart-beats that we send or ask for.
	leastBeat = 100 * time.Millisecond
	// leastSilence is the shortest silence that ends a connection: clients are busy, or collect garbage.
	leastSilence = time.Second
)

// readBeats reads the header heart-beat: what the client can send and what it wants. We do as it wishes, within
// bounds; 0 is none.
func readBeats(f *frame.Frame) (send, receive time.Duration, err error) {
	value, ok := f.Get("heart-beat")
	if !ok {
		return 0, 0, nil
	}
	x, y, ok := bytes.Cut(value, []byte(","))
	receive, ok1 := milliseconds(x)
	send, ok2 := milliseconds(y)
	if !ok || !ok1 || !ok2 {
		return 0, 0, fail("Bad CONNECT", "'heart-beat' is not two numbers of milliseconds: '%s'", clip(value))
	}
	return send, receive, nil
}

func milliseconds(text []byte) (time.Duration, bool) {
	n, err := strconv.ParseUint(trim(text), 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // what is too large is as large as can be
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	return max(time.Duration(min(n, math.MaxInt32))*time.Millisecond, leastBeat), true
}

// allowance is how long a client may be silent that promised a sign of life so often.
func allowance(every time.Duration) time.Duration {
	if every == 0 {
		return 0
	}
	return max(2*every, leastSilence)
}

func (c *conn) login(f *frame.Frame) error {
	name, named := f.Get("login")
	passcode, _ := f.Get("passcode")
	if cert := c.certificate(); cert != nil && !named {
		if c.web != nil && c.web.foreign {
			return &failure{
				message: "Bad CONNECT", detail: "a page of another site needs login and passcode, whatever certificate its browser has", login: errForeign,
			}
		}
		return c.byCertificate(cert)
	}
	if !named {
		return &failure{message: "Bad CONNECT", detail: "CONNECT must include the headers login and passcode", login: errors.New("no login was given")}
	}
	stay, leave := netx.Stay(c.s.stopping, c.nc)
	defer leave()
	user, err := c.s.opts.Users.Login(stay, string(name), passcode, c.source())
	switch {
	case errors.Is(err, auth.ErrBusy):
		c.log.LoginRefused(err)
		c.nc.Close() // nothing was said, so nothing need arrive
		return io.EOF
	case err != nil:
		return &failure{message: "Bad CONNECT", detail: "Access refused for user '" + clip(name) + "'", login: err}
	}
	c.user = user
	c.log.LoggedIn(user.Name)
	netx.Known(c.nc)
	return c.bound(time.Now().Add(c.s.opts.ConnectTimeout)) // a check may have waited for others
}

// errForeign is for the log.
var errForeign = errors.New("a page of another site may not sign in with the certificate of the browser that it is in; list its origin in --stomp-ws-origins if it may")

// certificate is the client's that was verified, when there may be a login by it; else nil.
func (c *conn) certificate() *x509.Certificate {
	if c.s.opts.CertifiedName == nil {
		return nil
	}
	return netx.Verified(c.nc)
}

// byCertificate signs in a client that gives no login.
func (c *conn) byCertificate(cert *x509.Certificate) error {
	name, err := c.s.opts.CertifiedName(cert)
	if err == nil {
		c.user, err = c.s.opts.Users.Certified(name, c.source())
	}
	if err != nil {
		return &failure{message: "Bad CONNECT", detail: "Access refused for the certificate of the client", login: err}
	}
	c.log.LoggedIn(c.user.Name)
	netx.Known(c.nc)
	return nil
}

// enter begins the session, in the virtual host that the client names if there is one of that name: many clients
// put the address there that they have dialled, as the protocol says.
func (c *conn) enter(f *frame.Frame) error {
	v, err := c.s.opts.Broker.VHost(header(f, "host"))
	if err != nil {
		if v, err = c.s.opts.Broker.VHost(c.s.opts.VHost); err != nil {
			return fail("Bad CONNECT", "Virtual host '%s' access denied", c.s.opts.VHost)
		}
	}
	c.log.Entered(v.Name)
	c.session = c.entry.NewSession(v, c.user)
	if err := c.session.Enter(); err != nil {
		if broker.KindOf(err) == broker.LimitReached {
			return &failure{message: "Bad CONNECT", detail: err.Error(), advice: "close other connections, or raise the limit"}
		}
		return &failure{message: "Bad CONNECT", detail: "Virtual host '" + v.Name + "' access denied", denied: broker.RefusedOn(err) != 0}
	}
	c.publisher = c.session.NewPublisher()
	return nil
}

// turnedAway ends a connection that is not signed in.
func (c *conn) turnedAway(err error) {
	var e *failure
	var last []byte
	switch {
	case errors.As(err, &e):
		c.refused(e)
		last = c.appendClose(c.seal(e.append(nil, c.version), 0))
	case c.webEnded(err):
		last = c.appendClose(nil)
	case err == errNoHandshake:
	case !netx.OrdinaryEnd(err):
		c.log.Debug("connection ended before it signed in", "error", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.nc.Close() // there is no last word
	}
	if last != nil && c.bound(time.Now().Add(2*time.Second)) == nil {
		_ = c.w.Net().Write(last) // who does not listen is gone anyway
	}
}
