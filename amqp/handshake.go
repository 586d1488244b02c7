package amqp

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/netx"
)

// maxEarlyPayloadBytes bounds a frame before a client has proved who it is and frame_max is agreed on: RabbitMQ's
// initial_frame_max since 4.1, so that a long token has room.
const maxEarlyPayloadBytes = 8<<10 - wire.FrameOverheadBytes

// errNoAMQP says that the peer speaks something else; it was told what we speak.
var errNoAMQP = errors.New("not an AMQP 0-9-1 client")

// handshake goes from the protocol header to connection.open-ok. A *closeError is for the client to hear.
func (c *conn) handshake() error {
	if err := c.bound(time.Now().Add(c.s.opts.HandshakeTimeout)); err != nil {
		return err
	}
	c.maxPayload = maxEarlyPayloadBytes
	if err := c.protocolHeader(); err != nil {
		return err
	}
	if err := c.start(); err != nil {
		return err
	}
	if err := c.tune(); err != nil {
		return err
	}
	if err := c.open(); err != nil {
		return err
	}
	return c.bound(time.Time{})
}

// bound has what is read and written end at a time; the zero time lifts that.
func (c *conn) bound(at time.Time) error {
	if err := c.rb.Until(at); err != nil {
		return err
	}
	return c.w.Net().Until(at)
}

func (c *conn) protocolHeader() error {
	for len(c.rb.Unread()) < len(wire.ProtocolHeader) {
		have := c.rb.Unread()
		if string(have) != wire.ProtocolHeader[:len(have)] {
			break // whatever it is, the rest of it will not help
		}
		if _, err := c.rb.Fill(0); err != nil {
			return err
		}
	}
	have := c.rb.Unread()
	if len(have) < len(wire.ProtocolHeader) || string(have[:len(wire.ProtocolHeader)]) != wire.ProtocolHeader {
		if netx.SpeaksTLS(have) {
			c.log.Refused("connection", netx.ErrSpeaksTLS, netx.TLSAdvice)
		}
		if _, err := io.WriteString(c.nc, wire.ProtocolHeader); err != nil {
			return err
		}
		return errNoAMQP
	}
	c.rb.Advance(len(wire.ProtocolHeader))
	return nil
}

// expect reads the one method that may come next; connection.close ends the handshake politely.
func (c *conn) expect(want wire.MethodID) (wire.Method, error) {
	for {
		f, n, need, err := wire.ParseFrame(c.rb.Unread(), c.maxPayload)
		if err != nil {
			return nil, refuse(wire.FrameError, "%v", err)
		}
		if n == 0 {
			c.rb.Want(need)
			if _, err := c.rb.Fill(0); err != nil {
				return nil, err
			}
			continue
		}
		c.rb.Advance(n)
		c.frames++
		switch {
		case f.Type == wire.FrameHeartbeat:
			continue
		case f.Type != wire.FrameMethod || f.Channel != 0:
			return nil, refuse(wire.UnexpectedFrame, "expected %s", want)
		}
		m, err := wire.Decode(f.Payload)
		if err != nil {
			return nil, decodeError(err, wire.PayloadID(f.Payload))
		}
		switch m.ID() {
		case want:
			return m, nil
		case wire.IDConnectionClose:
			c.closeOk = c.writeNow(&wire.ConnectionCloseOk{}) == nil
			return nil, io.EOF
		}
		return nil, &closeError{code: wire.CommandInvalid, text: "expected " + want.String() + ", got " + m.ID().String(), method: m.ID()}
	}
}

// writeNow writes a method of channel 0 directly: the writer goroutine does not run yet.
func (c *conn) writeNow(m wire.Method) error {
	c.w.Frames++
	return c.w.Net().Write(wire.AppendMethod(nil, 0, m))
}

func (c *conn) start() error {
	err := c.writeNow(&wire.ConnectionStart{
		VersionMajor: 0, VersionMinor: 9, ServerProperties: c.s.properties,
		Mechanisms: []byte(c.mechanisms()), Locales: []byte("en_US"),
	})
	if err != nil {
		return err
	}
	m, err := c.expect(wire.IDConnectionStartOk)
	if err != nil {
		return err
	}
	ok := m.(*wire.ConnectionStartOk)
	c.readCapabilities(ok.ClientProperties)
	c.introduce(ok.ClientProperties)
	return c.login(ok.Mechanism, ok.Response)
}

func (c *conn) readCapabilities(properties wire.Table) {
	if f, ok := properties.Get("capabilities"); ok {
		if caps, ok := f.Table(); ok {
			flag := func(name string) bool {
				f, _ := caps.Get(name)
				v, _ := f.Bool()
				return v
			}
			c.caps.authFailureClose = flag("authentication_failure_close")
			c.caps.cancelNotify = flag("consumer_cancel_notify")
			c.caps.blocked = flag("connection.blocked")
		}
	}
}

func (c *conn) login(mechanism string, response []byte) error {
	var err error
	stay, leave := netx.Stay(c.s.stopping, c.nc)
	defer leave()
	switch mechanism {
	case "PLAIN":
		c.user, err = c.s.opts.Users.Plain(stay, response, c.nc.RemoteAddr())
	case "AMQPLAIN":
		c.user, err = c.amqPlain(stay, response)
	case external:
		if c.certificate() == nil {
			return &closeError{code: wire.CommandInvalid, text: "invalid authentication mechanism '" + mechanism + "'", method: wire.IDConnectionStartOk}
		}
		c.user, err = c.external()
	default:
		return &closeError{code: wire.CommandInvalid, text: "unknown authentication mechanism '" + mechanism + "'", method: wire.IDConnectionStartOk}
	}
	if err == nil {
		c.log.LoggedIn(c.user.Name)
		netx.Known(c.nc)
		c.mechanism = mechanism
		return c.bound(time.Now().Add(c.s.opts.HandshakeTimeout)) // a check may have waited for others
	}
	switch {
	case errors.Is(err, auth.ErrBusy):
		c.log.LoginRefused(err)
		c.nc.Close() // nothing was said, so nothing need arrive
		return io.EOF
	case !c.caps.authFailureClose: // an older client takes a closed socket for a refusal
		c.log.LoginRefused(err)
		return io.EOF
	}
	return &closeError{code: wire.AccessRefused, login: err, text: "Login was refused using authentication mechanism " + mechanism +
		". For details see the broker logfile."}
}

// amqPlain reads the older form of PLAIN: a field table without its length.
func (c *conn) amqPlain(ctx context.Context, response []byte) (auth.Identity, error) {
	t := wire.Table(response)
	if err := t.Check(); err != nil {
		return auth.Identity{}, err
	}
	login, _ := t.Get("LOGIN")
	password, _ := t.Get("PASSWORD")
	if login.Tag != 'S' || password.Tag != 'S' {
		return auth.Identity{}, errors.New("AMQPLAIN without LOGIN and PASSWORD")
	}
	return c.s.opts.Users.Login(ctx, string(login.Value), password.Value, c.nc.RemoteAddr())
}

func (c *conn) tune() error {
	ours := c.s.offer.Load()
	offer := wire.ConnectionTune{ChannelMax: uint16(ours.ChannelMax), FrameMax: uint32(ours.FrameMaxBytes)}
	if ours.Heartbeat > 0 {
		offer.Heartbeat = uint16(min(ours.Heartbeat/time.Second, 65535))
	}
	if err := c.writeNow(&offer); err != nil {
		return err
	}
	m, err := c.expect(wire.IDConnectionTuneOk)
	if err != nil {
		return err
	}
	ok := m.(*wire.ConnectionTuneOk)
	bad := func(what string, got, limit any) error {
		return &closeError{code: wire.NotAllowed, method: wire.IDConnectionTuneOk,
			text: refuse(wire.NotAllowed, "negotiated %s = %v is not within the limit of %v", what, got, limit).text}
	}
	switch {
	case ok.ChannelMax == 0 || ok.ChannelMax > offer.ChannelMax:
		return bad("channel_max", ok.ChannelMax, offer.ChannelMax)
	case ok.FrameMax == 0 || ok.FrameMax > offer.FrameMax:
		return bad("frame_max", ok.FrameMax, offer.FrameMax)
	case ok.FrameMax < wire.MinFrameMaxBytes:
		return bad("frame_max", ok.FrameMax, wire.MinFrameMaxBytes)
	}
	c.channelMax = int(ok.ChannelMax)
	c.frameMax = int(ok.FrameMax)
	c.maxPayload = c.frameMax - wire.FrameOverheadBytes
	c.heartbeat = time.Duration(ok.Heartbeat) * time.Second
	c.agreed.Store(&agreed{c.mechanism, c.channelMax, c.frameMax, c.heartbeat})
	return nil
}

func (c *conn) open() error {
	m, err := c.expect(wire.IDConnectionOpen)
	if err != nil {
		return err
	}
	name := m.(*wire.ConnectionOpen).VirtualHost
	v, err := c.s.opts.Broker.VHost(name)
	if err != nil {
		return &closeError{code: wire.NotAllowed, text: "vhost " + name + " not found", method: wire.IDConnectionOpen}
	}
	c.log.Entered(v.Name)
	c.session = c.entry.NewSession(v, c.user)
	if err := c.session.Enter(); err != nil {
		return notAllowed(err, wire.IDConnectionOpen)
	}
	c.publisher = c.session.NewPublisher()
	return c.writeNow(&wire.ConnectionOpenOk{})
}

// refuseHandshake tells the client why its handshake ends and waits a moment for it to hear.
func (c *conn) refuseHandshake(e *closeError) {
	if err := c.bound(time.Now().Add(2 * time.Second)); err != nil {
		return
	}
	err := c.writeNow(&wire.ConnectionClose{ReplyCode: e.code, ReplyText: wire.ReplyText(e.code, e.text),
		ClassID: e.method.Class(), MethodID: e.method.Number()})
	if err != nil {
		return
	}
	c.expect(wire.IDConnectionCloseOk)
}
