package stomp

import (
	"errors"
	"net"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/internal/websocket"
)

// web is what a connection over WebSocket has besides; all else is as over TCP.
//
//	socket ─► websocket.Conn ─► ReadBuffer ─► …           the stream that it carries
//	… ─► a frame of STOMP, sealed as one message ─► socket
type web struct {
	*websocket.Conn
	code    uint16 // of the close; 0: none, the client is told nothing
	reason  string
	foreign bool // a page speaks for which nothing but a password does (websocket.Options.Accept)

	pinged bool   // guarded by conn.outMu
	ping   []byte // what the pong has to carry; of several pings the last, as the protocol allows
}

// webPath is where WebSocket is, as on RabbitMQ.
const webPath = "/ws"

// webProtocols are the names of the versions there, the newest first.
var webProtocols = []string{"v12.stomp", "v11.stomp", "v10.stomp"}

// HandleWeb is Handle for a connection that begins with a handshake of WebSocket.
func (s *Server) HandleWeb(nc net.Conn) {
	c := newConn(s, nc, s.webLog)
	c.web = &web{code: websocket.Normal}
	s.handle(c, s.webClients)
}

// Origins changes from where pages may connect over WebSocket; none is anywhere. Those that are connected stay.
func (s *Server) Origins(list []string) {
	o := websocket.Origins(list)
	s.origins.Store(&o)
}

// upgrade makes the handshake.
func (c *conn) upgrade() error {
	n, looked := 0, 0
	for n == 0 {
		if _, err := c.rb.Fill(0); err != nil {
			return err
		}
		buf := c.rb.Unread()
		if netx.SpeaksTLS(buf) {
			c.log.Refused("connection", netx.ErrSpeaksTLS, netx.TLSAdvice)
			return errNoHandshake
		}
		if n = websocket.RequestBytes(buf, looked); n > websocket.MaxRequestBytes || n == 0 && len(buf) >= websocket.MaxRequestBytes {
			_ = websocket.AnswerLong(c.nc) // who does not read it is gone anyway
			return c.noHandshake(websocket.ErrLongRequest)
		}
		if looked = len(buf); n == 0 {
			c.rb.Want(len(buf) + 1)
		}
	}
	o := websocket.Options{Path: webPath, Protocols: webProtocols, Origins: *c.s.origins.Load()}
	foreign, err := o.Accept(c.rb.Unread()[:n], c.nc)
	if err != nil {
		return c.noHandshake(err)
	}
	c.web.foreign = foreign
	c.rb.Advance(n)
	early := c.rb.Unread()
	c.web.Conn = websocket.NewConn(c.nc, early)
	c.rb.Advance(len(early))
	c.rb.Through(c.web)
	c.web.OnPing = c.pong
	return nil
}

// source is where a login comes from. A browser is on its owner's machine and shows the owner's certificate whichever page
// asks for it: what a page of another site signs in with has to be its own.
func (c *conn) source() net.Addr {
	if c.web != nil && c.web.foreign {
		return auth.Elsewhere(c.nc.RemoteAddr())
	}
	return c.nc.RemoteAddr()
}

// errNoHandshake is a handshake that was answered, and of which was told.
var errNoHandshake = errors.New("no WebSocket")

func (c *conn) noHandshake(err error) error {
	c.log.Refused("WebSocket handshake", err, "have the client speak WebSocket to "+webPath+", from a page that --stomp-ws-origins allows; STOMP without WebSocket has a port of its own")
	return errNoHandshake
}

// pong answers a ping: before the client has signed in at once, and then in its turn.
func (c *conn) pong(payload []byte) {
	if !c.running.Load() {
		_ = c.w.Net().Write(websocket.AppendPong(nil, payload)) // an error comes again
		return
	}
	c.outMu.Lock()
	c.web.pinged, c.web.ping = true, append(c.web.ping[:0], payload...)
	c.outMu.Unlock()
	c.signal()
}

// appendPong appends the pong that is due. conn.outMu is held.
func (c *conn) appendPong(buf []byte) []byte {
	if c.web == nil || !c.web.pinged {
		return buf
	}
	c.web.pinged = false
	return websocket.AppendPong(buf, c.web.ping)
}

// seal makes a message of WebSocket of the frame at buf[at:], if that is what carries it.
func (c *conn) seal(buf []byte, at int) []byte {
	if c.web == nil {
		return buf
	}
	return websocket.Seal(buf, at)
}

// appendClose appends the last word of WebSocket itself.
func (c *conn) appendClose(buf []byte) []byte {
	if c.web == nil || c.web.Conn == nil {
		return buf
	}
	return websocket.AppendClose(buf, c.web.code, c.web.reason)
}

// webEnded tells whether the client ended the WebSocket, or has broken its rules: then it is still told so.
func (c *conn) webEnded(err error) bool {
	if c.web == nil {
		return false
	}
	var closed *websocket.Closed
	var bad *websocket.Violation
	switch {
	case errors.As(err, &closed):
		c.web.code = closed.Code
	case errors.As(err, &bad):
		c.web.code, c.web.reason = bad.Code, bad.Err.Error()
		c.log.Refused("WebSocket frame", err, "mend or update the client, or what stands between it and the broker")
	default:
		return false
	}
	return true
}
