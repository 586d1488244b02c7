package amqp

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// rig is a server over a real broker and a store in memory. Clients reach it through pipes or sockets.
type rig struct {
	t       testing.TB
	store   *local.Store
	broker  *broker.Broker
	server  *Server
	socket  net.Listener
	stopped bool
	served  sync.WaitGroup

	scratches atomic.Int32 // open now
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
	r := &rig{t: t}
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
	if o.broker.Probe == nil {
		o.broker.Probe = r.store.Probe
	}
	if o.broker.Scratch == nil {
		o.broker.Scratch = r.scratch
	}
	if r.broker, err = broker.Open(r.store, o.broker); err != nil {
		t.Fatal(err)
	}
	users := auth.NewUsers()
	if err := users.PutPassword(auth.User{Name: "guest"}, "guest"); err != nil {
		t.Fatal(err)
	}
	options := Options{Broker: r.broker, Users: users, Logger: quiet(), Heartbeat: -1}
	if o.server != nil {
		o.server(&options)
	}
	r.server = New(options)
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

// pipe is a connection without a system: it has no buffer, so a side that does not read stops the other.
func (r *rig) pipe() net.Conn {
	client, server := net.Pipe()
	r.served.Add(1)
	go func() {
		defer r.served.Done()
		r.server.Handle(server)
	}()
	return client
}

// dial connects through the loopback interface.
func (r *rig) dial() net.Conn {
	r.t.Helper()
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
				r.served.Add(1)
				go func() {
					defer r.served.Done()
					r.server.Handle(nc)
				}()
			}
		}()
	}
	nc, err := net.Dial("tcp", r.socket.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	return nc
}

// received is a method with its content, as a client sees it.
type received struct {
	method wire.Method
	header wire.ContentHeader
	body   []byte
}

// peer is a client by hand: it sends what it is told, well formed or not.
type peer struct {
	t   testing.TB
	nc  net.Conn
	in  []byte
	max int
}

// patience is for what should be there at once: a slow machine is no fault.
const patience = time.Minute

// connect opens a connection up to channel 1.
func (r *rig) connect() *peer {
	r.t.Helper()
	p := r.handshake(&wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072})
	p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	return p
}

// handshake opens a connection with these limits.
func (r *rig) handshake(tune *wire.ConnectionTuneOk) *peer {
	r.t.Helper()
	return r.handshakeOver(r.dial(), tune)
}

// handshakeOver does the same over a pipe or a socket that is there.
func (r *rig) handshakeOver(nc net.Conn, tune *wire.ConnectionTuneOk) *peer {
	r.t.Helper()
	p := r.peer(nc)
	p.login()
	p.expect(0, wire.IDConnectionTune)
	p.send(0, tune)
	p.max = int(tune.FrameMax) - wire.FrameOverheadBytes
	p.call(0, &wire.ConnectionOpen{VirtualHost: "/"}, wire.IDConnectionOpenOk)
	return p
}

func (r *rig) peer(nc net.Conn) *peer {
	p := &peer{t: r.t, nc: nc, max: 131064}
	r.t.Cleanup(func() { nc.Close() })
	return p
}

// capabilities are what a client of today announces.
func capabilities() wire.Table {
	caps := wire.AppendTableBool(nil, "authentication_failure_close", true)
	caps = wire.AppendTableBool(caps, "consumer_cancel_notify", true)
	caps = wire.AppendTableBool(caps, "connection.blocked", true)
	return wire.AppendTableTable(nil, "capabilities", caps)
}

func (p *peer) login() {
	p.t.Helper()
	p.raw([]byte(wire.ProtocolHeader))
	p.expect(0, wire.IDConnectionStart)
	p.send(0, &wire.ConnectionStartOk{ClientProperties: capabilities(), Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest"), Locale: "en_US"})
}

func (p *peer) raw(b []byte) {
	p.t.Helper()
	p.nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := p.nc.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

func (p *peer) send(channel uint16, methods ...wire.Method) {
	p.t.Helper()
	var b []byte
	for _, m := range methods {
		b = wire.AppendMethod(b, channel, m)
	}
	p.raw(b)
}

func (p *peer) publish(channel uint16, m wire.Publish) {
	p.t.Helper()
	m.Channel = channel
	p.raw(wire.AppendPublish(nil, &m, p.max))
}

// frame reads one frame; io errors are returned.
func (p *peer) frame() (wire.Frame, error) {
	p.nc.SetReadDeadline(time.Now().Add(patience))
	for {
		f, n, _, err := wire.ParseFrame(p.in, 1<<20)
		if err != nil {
			return f, err
		}
		if n > 0 {
			f.Payload = bytes.Clone(f.Payload)
			p.in = p.in[n:]
			return f, nil
		}
		buf := make([]byte, 64<<10)
		n, err = p.nc.Read(buf)
		p.in = append(p.in, buf[:n]...)
		if err != nil && n == 0 {
			return f, err
		}
	}
}

// next reads one method with its content, on any channel.
func (p *peer) next() (uint16, received, error) {
	var m received
	for {
		f, err := p.frame()
		if err != nil {
			return 0, m, err
		}
		if f.Type == wire.FrameHeartbeat {
			continue
		}
		if m.method, err = wire.Decode(f.Payload); err != nil {
			return 0, m, err
		}
		switch m.method.(type) {
		case *wire.BasicDeliver, *wire.BasicGetOk, *wire.BasicReturn:
			return f.Channel, m, p.content(&m)
		}
		return f.Channel, m, nil
	}
}

func (p *peer) content(m *received) error {
	f, err := p.frame()
	if err != nil {
		return err
	}
	if m.header, err = wire.ParseContentHeader(f.Payload); err != nil {
		return err
	}
	for uint64(len(m.body)) < m.header.BodySize {
		if f, err = p.frame(); err != nil {
			return err
		}
		if f.Type != wire.FrameBody {
			return errors.New("not a body frame")
		}
		m.body = append(m.body, f.Payload...)
	}
	return nil
}

// expect reads the next method and fails unless it is the wanted one.
func (p *peer) expect(channel uint16, want wire.MethodID) received {
	p.t.Helper()
	ch, m, err := p.next()
	if err != nil {
		p.t.Fatalf("waiting for %s: %v", want, err)
	}
	if ch != channel || m.method.ID() != want {
		p.t.Fatalf("got %s %+v on channel %d, want %s on %d", m.method.ID(), m.method, ch, want, channel)
	}
	return m
}

func (p *peer) call(channel uint16, m wire.Method, want wire.MethodID) received {
	p.t.Helper()
	p.send(channel, m)
	return p.expect(channel, want)
}

// closed reads until the peer's side is closed.
func (p *peer) closed() {
	p.t.Helper()
	for {
		if _, err := p.frame(); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				p.t.Fatal("still open")
			}
			return
		}
	}
}

// declare makes a queue of the connection's own and gives its name.
func (p *peer) declare(channel uint16) string {
	p.t.Helper()
	m := p.call(channel, &wire.QueueDeclare{Exclusive: true}, wire.IDQueueDeclareOk)
	return m.method.(*wire.QueueDeclareOk).Queue
}

// ready is the count of ready messages.
func (p *peer) ready(channel uint16, queue string) int {
	p.t.Helper()
	m := p.call(channel, &wire.QueueDeclare{Queue: queue, Passive: true}, wire.IDQueueDeclareOk)
	return int(m.method.(*wire.QueueDeclareOk).MessageCount)
}

// text is a publish to the default exchange.
func text(queue, body string) wire.Publish {
	return wire.Publish{Key: []byte(queue), Body: []byte(body)}
}
