package amqpload

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/internal/netx"
)

// readBufferBytes is a connection's read buffer: above the largest frame-max agreed to.
const (
	readBufferBytes  = 256 << 10
	frameMaxBytes    = 128 << 10
	handshakeTimeout = 10 * time.Second
)

// Address says where a broker is and who asks.
type Address struct {
	HostPort string
	User     string
	Password string
	VHost    string
	// TLS says to speak TLS, and to trust any broker: it is measured, and told nothing.
	TLS bool
}

// Conn is one connection with one open channel, number 1. It is owned by one goroutine at
// a time; a second one may write while the first reads.
type Conn struct {
	net.Conn
	// FrameMaxBytes is what was negotiated.
	FrameMaxBytes int
	// Product, Version and Platform are what the broker calls itself and runs on.
	Product, Version, Platform string

	buf        []byte
	start, end int // what of buf was read and not yet taken
}

// Dial connects, authenticates and opens channel 1.
func Dial(ctx context.Context, a Address) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", a.HostPort)
	if err != nil {
		return nil, fmt.Errorf("connect to amqp broker: %w", err)
	}
	deadline, _ := ctx.Deadline()
	_ = nc.SetDeadline(deadline)
	if a.TLS {
		secured, err := netx.Secured(nc, &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
		if err != nil {
			nc.Close()
			return nil, fmt.Errorf("connect to amqp broker with TLS: %w", err)
		}
		nc = secured
	}
	c := &Conn{Conn: nc, buf: make([]byte, readBufferBytes)}
	if err := c.handshake(a); err != nil {
		nc.Close()
		return nil, fmt.Errorf("open amqp connection to %s: %w", a.HostPort, err)
	}
	_ = nc.SetDeadline(time.Time{})
	return c, nil
}

func (c *Conn) handshake(a Address) error {
	if _, err := io.WriteString(c.Conn, "AMQP\x00\x00\x09\x01"); err != nil {
		return err
	}
	start, err := c.expect(connectionStart)
	if err != nil {
		return err
	}
	c.Product, c.Version, c.Platform = serverName(start)
	tune, err := c.Call(method(connectionStartOk).long(table("product", "leveret bench")).short("PLAIN").
		long("\x00"+a.User+"\x00"+a.Password).short("en_US"), connectionTune)
	if err != nil {
		return err
	}
	if len(tune) < 8 {
		return errors.New("tune method cut short")
	}
	c.FrameMaxBytes = int(binary.BigEndian.Uint32(tune[2:]))
	if c.FrameMaxBytes == 0 || c.FrameMaxBytes > frameMaxBytes {
		c.FrameMaxBytes = frameMaxBytes
	}
	tuneOk := method(connectionTuneOk).u16(binary.BigEndian.Uint16(tune)).u32(uint32(c.FrameMaxBytes)).u16(0)
	if err := c.send(0, tuneOk); err != nil {
		return err
	}
	if _, err := c.Call(method(connectionOpen).short(a.VHost).short("").u8(0), connectionOpenOk); err != nil {
		return err
	}
	_, err = c.Call(method(channelOpen).short(""), channelOpenOk)
	return err
}

func (c *Conn) send(channel uint16, m args) error {
	_, err := c.Write(appendFrame(nil, frameMethod, channel, m))
	return err
}

// Call sends a method and returns the arguments of the answer, good until the next read.
func (c *Conn) Call(m args, answer uint32) ([]byte, error) {
	channel := uint16(1)
	if m.id()>>16 == connectionStart>>16 {
		channel = 0
	}
	if err := c.send(channel, m); err != nil {
		return nil, err
	}
	return c.expect(answer)
}

// expect reads up to a method and skips all else; a close from the broker is an error.
func (c *Conn) expect(want uint32) ([]byte, error) {
	for {
		kind, p, err := c.next()
		if err != nil {
			return nil, err
		}
		if kind != frameMethod {
			continue
		}
		if len(p) < 4 {
			return nil, errors.New("method frame cut short")
		}
		id := args(p).id()
		if id == want {
			return p[4:], nil
		}
		if err := closed(id, p[4:]); err != nil {
			return nil, err
		}
	}
}

// closed is the error that a close method from the broker carries, or nil for any other.
func closed(id uint32, p []byte) error {
	if id != connectionClose && id != channelClose {
		return nil
	}
	if len(p) < 3 || len(p) < 3+int(p[2]) {
		return errors.New("closed by the broker")
	}
	return fmt.Errorf("closed by the broker: %d %s", binary.BigEndian.Uint16(p), p[3:3+int(p[2])])
}

// next takes one frame out of the read buffer; its payload is good until the next call.
func (c *Conn) next() (kind byte, payload []byte, err error) {
	for {
		kind, payload, n, err := splitFrame(c.buf[c.start:c.end])
		if err != nil {
			return 0, nil, err
		}
		if n > 0 {
			c.start += n
			return kind, payload, nil
		}
		if err := c.fill(); err != nil {
			return 0, nil, err
		}
	}
}

// splitFrame is the first frame of b and how many bytes it takes, 0 if it is not whole.
func splitFrame(b []byte) (kind byte, payload []byte, n int, err error) {
	if len(b) < frameOverhead {
		return 0, nil, 0, nil
	}
	size := int(binary.BigEndian.Uint32(b[3:]))
	if size > frameMaxBytes {
		return 0, nil, 0, fmt.Errorf("frame of %d bytes, above the agreed maximum", size)
	}
	n = size + frameOverhead
	if len(b) < n {
		return 0, nil, 0, nil
	}
	if b[n-1] != frameEnd {
		return 0, nil, 0, fmt.Errorf("frame ends with %#x", b[n-1])
	}
	return b[0], b[7 : n-1], n, nil
}

// fill reads more behind what was not taken yet, moving that to the front first.
func (c *Conn) fill() error {
	if c.start > 0 {
		c.end = copy(c.buf, c.buf[c.start:c.end])
		c.start = 0
	}
	n, err := c.Read(c.buf[c.end:])
	c.end += n
	if n > 0 {
		return nil
	}
	return err
}

// Shut closes the connection as the protocol wants it, without waiting long.
func (c *Conn) Shut() {
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, _ = c.Call(method(connectionClose).u16(200).short("").u32(0), connectionCloseOk)
	c.Close()
}

// serverName finds product, version and platform in the arguments of connection.start.
func serverName(p []byte) (product, version, platform string) {
	if len(p) < 6 {
		return "", "", ""
	}
	t := p[6:]
	if n := int(binary.BigEndian.Uint32(p[2:])); n < len(t) {
		t = t[:n]
	}
	if name := longString(t, "broker"); name != "" { // Leveret: its product is RabbitMQ, for client code that decides by it
		return name, longString(t, "broker_version"), longString(t, "platform")
	}
	return longString(t, "product"), longString(t, "version"), longString(t, "platform")
}

// longString is the value of a string field. It looks for the encoded name rather than
// walking the table, whose other values do not matter here.
func longString(t []byte, name string) string {
	s := string(t)
	i := strings.Index(s, string(args(nil).short(name).u8('S')))
	if i < 0 {
		return ""
	}
	s = s[i+len(name)+2:]
	if len(s) < 4 {
		return ""
	}
	n := int(binary.BigEndian.Uint32([]byte(s)))
	if s = s[4:]; n > len(s) {
		return ""
	}
	return s[:n]
}
