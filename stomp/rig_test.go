package stomp

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/internal/logged"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// rig is a server over a real broker and a store in memory.
type rig struct {
	t         testing.TB
	store     *local.Store
	broker    *broker.Broker
	server    *Server
	vhost     *broker.VHost
	session   *broker.Session // to look at the broker with
	log       *logged.Lines
	socket    net.Listener
	web       bool         // clients connect over WebSocket
	piped     bool         // they come through pipes, so that time is the test's
	scratches atomic.Int32 // open now
	stopped   bool
	served    sync.WaitGroup
}

type rigOptions struct {
	server func(*Options)
	broker broker.Options
	fs     fs.FS
	mode   store.Mode
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func newRig(t testing.TB, o rigOptions) *rig {
	t.Helper()
	r := &rig{t: t, log: &logged.Lines{}}
	if o.fs == nil {
		o.fs = fs.NewMem(1)
	}
	if o.mode == store.ModeDefault {
		o.mode = store.ModeOS
	}
	var err error
	if r.store, err = local.Open(local.Options{Dir: "data", FS: o.fs, Mode: o.mode, SegmentBytes: 4 << 20, Logger: quiet()}); err != nil {
		t.Fatal(err)
	}
	o.broker.Log = quiet()
	o.broker.Scratch = r.scratch
	if o.broker.Probe == nil {
		o.broker.Probe = r.store.Probe
	}
	if r.broker, err = broker.Open(r.store, o.broker); err != nil {
		t.Fatal(err)
	}
	users := auth.NewUsers()
	if err := users.PutPassword(auth.User{Name: "guest"}, "guest"); err != nil {
		t.Fatal(err)
	}
	options := Options{Broker: r.broker, Users: users, Logger: r.log.Logger()}
	if o.server != nil {
		o.server(&options)
	}
	r.server = New(options)
	v, err := r.broker.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	r.vhost = v
	r.session = v.NewSession(auth.Identity{Name: "guest"})
	t.Cleanup(r.stop)
	return r
}

func (r *rig) stop() {
	if r.stopped {
		return
	}
	r.stopped = true
	if r.socket != nil {
		r.socket.Close()
	}
	r.server.CloseAll("test")
	r.served.Wait()
	r.session.Close()
	if err := r.broker.Close(); err != nil {
		r.t.Error(err)
	}
	if err := r.store.Close(); err != nil {
		r.t.Error(err)
	}
}

// scratch opens a file of the store and counts it while it is open.
func (r *rig) scratch() (broker.Scratch, error) {
	f, err := r.store.Scratch()
	if err != nil {
		return nil, err
	}
	r.scratches.Add(1)
	return &countedFile{f, &r.scratches}, nil
}

type countedFile struct {
	broker.Scratch
	open *atomic.Int32
}

func (f *countedFile) Close() error {
	f.open.Add(-1)
	return f.Scratch.Close()
}

// handle serves a connection.
func (r *rig) handle(nc net.Conn) {
	r.served.Go(func() {
		if r.web {
			r.server.HandleWeb(nc)
		} else {
			r.server.Handle(nc)
		}
	})
}

// dial connects through the loopback interface, or by a pipe.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	if r.piped {
		client, server := net.Pipe()
		r.handle(server)
		return client
	}
	if r.socket == nil {
		var err error
		if r.socket, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			r.t.Fatal(err)
		}
		r.served.Add(1)
		go func() {
			defer r.served.Done()
			for {
				nc, err := r.socket.Accept()
				if err != nil {
					return
				}
				r.handle(nc)
			}
		}()
	}
	nc, err := net.Dial("tcp", r.socket.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	return nc
}

// patience is for what should be there at once: a slow machine is no fault.
const patience = time.Minute

// peer is a client by hand: it sends what it is told, well formed or not.
type peer struct {
	t  testing.TB
	nc net.Conn
	in []byte
}

// got is a frame of the server's, its headers as they came.
type got struct {
	command string
	headers []string
	body    string
}

func (g got) get(name string) string {
	for _, h := range g.headers {
		if value, ok := strings.CutPrefix(h, name+":"); ok {
			return value
		}
	}
	return ""
}

// String is the frame without what differs from run to run.
func (g got) String() string {
	var b strings.Builder
	b.WriteString(g.command)
	for _, h := range g.headers {
		name, value, _ := strings.Cut(h, ":")
		switch name {
		case "message-id", "ack":
			_, value, _ = strings.Cut(value, "@@")
			_, value, _ = strings.Cut(value, "@@")
		case "session", "server", "content-length":
			continue
		}
		fmt.Fprintf(&b, " %s:%s", name, value)
	}
	if g.body != "" {
		fmt.Fprintf(&b, " [%s]", g.body)
	}
	return b.String()
}

// open connects without signing in.
func (r *rig) open() *peer {
	r.t.Helper()
	p := &peer{t: r.t, nc: r.dial()}
	_ = p.nc.SetDeadline(time.Now().Add(patience))
	if r.web {
		p.nc = upgraded(r.t, p.nc)
	}
	r.t.Cleanup(func() { p.nc.Close() })
	return p
}

// connect signs in with that version.
func (r *rig) connect(version string) *peer {
	r.t.Helper()
	p := r.open()
	p.send("CONNECT\naccept-version:" + version + "\nhost:localhost\nlogin:guest\npasscode:guest\n\n")
	if g := p.read(); g.command != "CONNECTED" || g.get("version") != version {
		r.t.Fatalf("not connected: %v", g)
	}
	return p
}

// send sends frames, each without its NUL.
func (p *peer) send(frames ...string) {
	p.t.Helper()
	var b []byte
	for _, f := range frames {
		b = append(append(b, f...), 0)
	}
	if _, err := p.nc.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// next reads a frame; ok is false at the end of the stream.
func (p *peer) next() (g got, ok bool) {
	p.t.Helper()
	for {
		p.in = bytes.TrimLeft(p.in, "\n")
		if head, rest, whole := bytes.Cut(p.in, []byte("\n\n")); whole {
			lines := strings.Split(string(head), "\n")
			g = got{command: lines[0], headers: lines[1:]}
			size := bytes.IndexByte(rest, 0)
			if text := g.get("content-length"); text != "" {
				size = 0
				fmt.Sscan(text, &size)
			}
			if size >= 0 && len(rest) > size {
				if rest[size] != 0 {
					p.t.Fatalf("no NUL behind %q", rest[:size])
				}
				g.body = string(rest[:size])
				p.in = rest[size+1:]
				return g, true
			}
		}
		buf := make([]byte, 64<<10)
		n, err := p.nc.Read(buf)
		p.in = append(p.in, buf[:n]...)
		if n == 0 && err != nil {
			if err != io.EOF {
				p.t.Fatalf("%v, with %q unread", err, p.in)
			}
			return g, false
		}
	}
}

func (p *peer) read() got {
	p.t.Helper()
	g, ok := p.next()
	if !ok {
		p.t.Fatal("the connection has ended")
	}
	return g
}

// expect reads frames that read so.
func (p *peer) expect(want ...string) (last got) {
	p.t.Helper()
	for _, w := range want {
		last = p.read()
		if last.String() != w {
			p.t.Fatalf("got  %s\nwant %s", last, w)
		}
	}
	return last
}

// call sends a frame with a receipt and waits for that.
func (p *peer) call(head string) {
	p.t.Helper()
	command, rest, _ := strings.Cut(head, "\n")
	p.send(command + "\nreceipt:call\n" + rest + "\n\n")
	p.expect("RECEIPT receipt-id:call")
}

// ended checks that the connection ends with an ERROR of that message and a body with that text.
func (p *peer) ended(message, text string) got {
	p.t.Helper()
	g := p.read()
	if g.command != "ERROR" || g.get("message") != message || !strings.Contains(g.body, text) {
		p.t.Errorf("got %s, want an ERROR of %q with %q", g, message, text)
	}
	if more, ok := p.next(); ok {
		p.t.Errorf("behind the ERROR comes %s", more)
	}
	return g
}

// ready is how many messages wait in a queue.
func (r *rig) ready(queue string) int64 {
	r.t.Helper()
	q, err := r.session.LookAt(queue)
	if err != nil {
		r.t.Fatal(err)
	}
	n, err := r.session.Count(q)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}
