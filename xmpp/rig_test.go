package xmpp

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/devcert"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/internal/logged"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// rig is a server over a real broker and a store in memory. Clients reach it through sockets, or pipes on a fake clock.
type rig struct {
	t       testing.TB
	store   *local.Store
	broker  *broker.Broker
	server  *Server
	users   *auth.Users
	vhost   *broker.VHost
	session *broker.Session // to look at the broker with
	log     *logged.Lines
	listen  *netx.Listener // once somebody has dialled
	addr    string
	served  sync.WaitGroup
	piped   bool // clients come through pipes
	stopped bool
}

// oneCertificate is that of all rigs: making one takes time.
var oneCertificate = sync.OnceValues(func() (tls.Certificate, error) {
	dir := tempDir()
	pair, _, err := devcert.ForDomain(dir, "localhost")
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.LoadX509KeyPair(pair.Cert, pair.Key)
})

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func newRig(t testing.TB, change ...func(*Options)) *rig {
	t.Helper()
	return newRigOver(t, broker.Options{}, change...)
}

// newRigOver is newRig with a broker of those options.
func newRigOver(t testing.TB, over broker.Options, change ...func(*Options)) *rig {
	t.Helper()
	return newRigOn(t, fs.NewMem(1), store.ModeOS, []string{"guest", "one", "two", "three"}, over, change...)
}

// newRigOn is newRigOver on a disk, with those users.
func newRigOn(t testing.TB, disk fs.FS, mode store.Mode, users []string, over broker.Options, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, log: &logged.Lines{}, users: auth.NewUsers()}
	var err error
	if r.store, err = local.Open(local.Options{Dir: "data", FS: disk, Mode: mode, SegmentBytes: 4 << 20, Logger: quiet()}); err != nil {
		t.Fatal(err)
	}
	over.Log, over.Probe = quiet(), r.store.Probe
	if r.broker, err = broker.Open(r.store, over); err != nil {
		t.Fatal(err)
	}
	for _, name := range users {
		if err := r.users.PutPassword(auth.User{Name: name}, name); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := oneCertificate()
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	o := Options{Broker: r.broker, Users: r.users, Logger: r.log.Logger(), TLS: func() *tls.Config { return config }}
	for _, f := range change {
		f(&o)
	}
	if r.server, err = New(o); err != nil {
		t.Fatal(err)
	}
	if r.vhost, err = r.broker.VHost("/"); err != nil {
		t.Fatal(err)
	}
	r.session = r.vhost.NewSession(auth.Identity{Name: "guest"})
	t.Cleanup(r.stop)
	return r
}

// listens has the server be reached by sockets.
func (r *rig) listens() {
	r.t.Helper()
	if r.listen != nil {
		return
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.addr = inner.Addr().String()
	r.listen = netx.Wrap(inner, netx.Options{Name: "xmpp", Logger: r.log.Logger()})
	r.served.Go(func() {
		if err := r.listen.Serve(r.server.Handle); err != nil {
			r.t.Error(err)
		}
	})
}

func (r *rig) stop() {
	if r.stopped {
		return
	}
	r.stopped = true
	if r.listen != nil {
		_ = r.listen.Close()
	}
	r.server.CloseAll("test")
	if r.listen != nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = r.listen.Shutdown(ctx)
	}
	r.served.Wait()
	r.session.Close()
	if err := r.broker.Close(); err != nil {
		r.t.Error(err)
	}
	if err := r.store.Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) declare(name string) *broker.Queue {
	r.t.Helper()
	q, err := r.session.DeclareQueue(name, broker.QueueOptions{Durable: true})
	if err != nil {
		r.t.Fatal(err)
	}
	return q
}

// ready waits until so many messages are ready in a queue.
func (r *rig) ready(q *broker.Queue, n int64) {
	r.t.Helper()
	r.wait(func() bool { return q.Ready() == n }, func() any { return q.Ready() })
}

func (r *rig) wait(holds func() bool, is func() any) {
	r.t.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			r.t.Fatalf("it is %v still", is())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// peer is a client, by its bytes.
type peer struct {
	t      testing.TB
	nc     net.Conn
	reader *stanza.Reader
	buf    [64 << 10]byte
	jid    string
	asks   int // how often it was asked what it got
	counts int // stanzas since stream management was enabled
}

// More implements stanza.Source.
func (p *peer) More() ([]byte, error) {
	n, err := p.nc.Read(p.buf[:])
	if n > 0 {
		return p.buf[:n], nil
	}
	return nil, err
}

const header = "<stream:stream to='localhost' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"

// patience is for what should be there at once: a slow machine is no fault.
const patience = time.Minute

func (r *rig) dial() *peer {
	r.t.Helper()
	if r.piped {
		return r.pipe()
	}
	r.listens()
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.peer(nc)
}

// pipe is a connection without a system, for tests on a fake clock.
func (r *rig) pipe() *peer {
	client, server := net.Pipe()
	r.served.Go(func() { r.server.Handle(server) })
	return r.peer(client)
}

func (r *rig) peer(nc net.Conn) *peer {
	r.t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	return &peer{t: r.t, nc: nc}
}

func (p *peer) send(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.nc, text); err != nil {
		p.t.Fatal(err)
	}
}

// open begins a stream and returns what is offered.
func (p *peer) open() *stanza.Element {
	p.t.Helper()
	p.send(header)
	p.opened()
	return p.next()
}

func (p *peer) opened() *stanza.Element {
	p.t.Helper()
	p.reader = stanza.NewReader(p, stanza.Limits{Bytes: 1 << 20, Depth: 100, Elements: 1 << 20, Attrs: 100})
	h, err := p.reader.Header()
	if err != nil {
		p.t.Fatal(err)
	}
	return h
}

func (p *peer) next() *stanza.Element {
	p.t.Helper()
	e, err := p.reader.Next()
	if err != nil {
		p.t.Fatal(err)
	}
	switch {
	case e.Is(nsSM, "r"):
		p.asks++
	case e.Is(nsSM, "enabled"):
		p.counts = 0
	case e.Space == stanza.NSClient:
		p.counts++
	}
	return e
}

// ends waits for the end of the stream, after an error with that condition, "" being none.
func (p *peer) ends(condition string) *stanza.Element {
	p.t.Helper()
	for {
		e, err := p.reader.Next()
		if errors.Is(err, stanza.ErrEnd) && condition == "" {
			return nil
		}
		if err != nil {
			p.t.Fatalf("no %s: %v", condition, err)
		}
		if e.Is(stanza.NSStream, "error") {
			if e.Child(stanza.NSStreams, condition) == nil {
				p.t.Fatalf("%s, not %s", e, condition)
			}
			if _, err := p.reader.Next(); !errors.Is(err, stanza.ErrEnd) {
				p.t.Fatal(err)
			}
			return e
		}
	}
}

// secure begins TLS.
func (p *peer) secure() {
	p.t.Helper()
	f := p.open()
	if f.Child(nsTLS, "starttls") == nil || f.Child(nsSASL, "mechanisms") != nil {
		p.t.Fatal(f)
	}
	p.send("<starttls xmlns='" + nsTLS + "'/>")
	if e := p.next(); !e.Is(nsTLS, "proceed") {
		p.t.Fatal(e)
	}
	p.tls()
}

func (p *peer) tls() {
	p.t.Helper()
	c := tls.Client(p.nc, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	p.nc = c
}

func plainToken(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

// signIn goes as far as the features after signing in.
func (p *peer) signIn(user string) *stanza.Element {
	p.t.Helper()
	p.secure()
	p.open()
	p.send("<auth xmlns='" + nsSASL + "' mechanism='PLAIN'>" + plainToken(user, user) + "</auth>")
	if e := p.next(); !e.Is(nsSASL, "success") {
		p.t.Fatal(e)
	}
	return p.open()
}

// client is a client with a resource; it sends presence unless that is "".
func (r *rig) client(user, resource, presence string) *peer {
	r.t.Helper()
	p := r.dial()
	p.signIn(user)
	p.send("<iq type='set' id='bind'><bind xmlns='" + nsBind + "'><resource>" + resource + "</resource></bind></iq>")
	e := p.next()
	p.jid = e.Child(nsBind, "bind").ChildText(nsBind, "jid")
	if want := user + "@localhost/" + resource; e.Attr("type") != "result" || p.jid != want {
		r.t.Fatal(e)
	}
	if presence != "" {
		p.send(presence)
		for {
			e := p.next()
			if e.Attr("from") == p.jid {
				break
			}
			if !e.Is(stanza.NSClient, "presence") {
				r.t.Fatal(e)
			}
		}
	}
	return p
}

// nothing checks that nothing came before the answer to a ping, but for presence of the account's other clients.
func (p *peer) nothing() {
	p.t.Helper()
	p.send("<iq type='get' id='nothing'><ping xmlns='urn:xmpp:ping'/></iq>")
	for {
		e := p.next()
		if e.Attr("id") == "nothing" {
			return
		}
		own, _, _ := strings.Cut(p.jid, "/")
		if e.Is(nsSM, "r") || e.Is(stanza.NSClient, "presence") && e.Attr("type") != "subscribe" && strings.HasPrefix(e.Attr("from"), own+"/") {
			continue
		}
		p.t.Fatalf("there was %s", e)
	}
}

// ask sends an iq to an address, "" being none, and returns the answer.
func (p *peer) ask(kind, to, payload string) *stanza.Element {
	p.t.Helper()
	if to != "" {
		to = " to='" + to + "'"
	}
	p.send("<iq type='" + kind + "' id='ask'" + to + ">" + payload + "</iq>")
	for {
		if e := p.next(); e.Attr("id") == "ask" {
			return e
		}
	}
}

// refused checks that it is an error with a condition.
func (p *peer) refused(e *stanza.Element, condition string) {
	p.t.Helper()
	if c := e.Child(stanza.NSClient, "error"); e.Attr("type") != "error" || c == nil || c.Child(stanza.NSStanzas, condition) == nil {
		p.t.Fatalf("%s, not %s", e, condition)
	}
}

func (p *peer) message() *stanza.Element {
	p.t.Helper()
	for {
		if e := p.next(); e.Is(stanza.NSClient, "message") {
			return e
		}
	}
}

func body(e *stanza.Element) string { return e.ChildText(stanza.NSClient, "body") }

func contains(t testing.TB, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%q is not in %q", part, text)
	}
}
