package amqp

import (
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/internal/deliver"
	"github.com/leveret-mq/leveret/internal/logged"
)

// unreadableConn is a connection whose writes the kernel can't read, from a moment on.
type unreadableConn struct {
	net.Conn
	from *atomic.Bool
}

func (c unreadableConn) Write(b []byte) (int, error) {
	if c.from.Load() {
		return 0, &net.OpError{Op: "writev", Net: "tcp", Err: syscall.EFAULT}
	}
	return c.Conn.Write(b)
}

// TestWhatCantBeReadWhileItIsSentIsTold: the connection ends, and the log says whose and why.
func TestWhatCantBeReadWhileItIsSentIsTold(t *testing.T) {
	var said logged.Lines
	r := newRig(t, rigOptions{server: func(o *Options) { o.Logger = said.Logger() }})
	var unreadable atomic.Bool
	client, server := net.Pipe()
	r.served.Go(func() { r.server.Handle(unreadableConn{server, &unreadable}) })
	p := r.handshakeOver(client, &wire.ConnectionTuneOk{ChannelMax: 10, FrameMax: 131072})
	p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	p.call(1, &wire.QueueDeclare{Queue: "q"}, wire.IDQueueDeclareOk)
	p.call(1, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
	unreadable.Store(true)
	p.publish(1, text("q", strings.Repeat("x", 2*deliver.InPlaceBytes)))
	p.closed()
	r.stop()
	got := said.String()
	for _, want := range []string{`level=ERROR msg="can't read a message while it is sent; the connection is closed"`, "listener=amqp client=pipe user=guest", `error="writev tcp: bad address"`} {
		if strings.Count(got, want) != 1 {
			t.Errorf("no single line says %s:\n%s", want, got)
		}
	}
}
