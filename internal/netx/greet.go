package netx

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// greet makes the TLS handshake of a connection that was just accepted.
func (l *Listener) greet(conn net.Conn, g *greeting) (net.Conn, error) {
	c, err := greetWith(conn, g, l.tls(), nil)
	switch {
	case err != nil:
		return nil, err
	case !l.greeted(conn):
		return nil, net.ErrClosed
	}
	return c, conn.SetDeadline(time.Time{})
}

var (
	errMadeRoom = errors.New("very many handshakes were under way, and of these it waited longest for its client")
	errNoWord   = errors.New("the client closed the connection before it said anything")
	errTooLate  = fmt.Errorf("it was not over after %v", handshakeTime)
	errLeft     = errors.New("the client closed the connection in the middle of it")
)

// notGreeted is why a handshake failed, by what the client said first.
func notGreeted(err error, first []byte) error {
	var op *net.OpError
	late := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case len(first) == 0 && late:
		return fmt.Errorf("%w, and the client had said nothing", errTooLate)
	case len(first) == 0:
		return errNoWord
	case !startsTLS(first):
		return &strangerError{speaks(first)}
	case late:
		return errTooLate
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errLeft
	case errors.As(err, &op) && op.Addr != nil:
		return op.Err // without its port, which would make it another cause each time
	}
	return err
}

// refuse says in the log why a handshake failed.
func (l *Listener) refuse(conn net.Conn, err error) {
	client := l.log.Client(conn.RemoteAddr())
	if errors.Is(err, errNoWord) || errors.Is(err, net.ErrClosed) {
		client.Debug("connection ended before its TLS handshake", "error", err) // port scanners and probes
		return
	}
	client.Refused("TLS handshake", err, handshakeAdvice(err))
}

// handshakeAdvice is what to do about a handshake that failed.
func handshakeAdvice(err error) string {
	var stranger *strangerError
	var bad *tls.CertificateVerificationError
	text := err.Error()
	switch {
	case errors.As(err, &stranger):
		return "have the client use TLS, or send it to the port without"
	case errors.Is(err, errMadeRoom), errors.Is(err, errTooLate):
		return "look for a client that is stuck, a slow network, or somebody who means no good"
	case errors.As(err, &bad), strings.Contains(text, "client didn't provide a certificate"):
		return "give the client a certificate that is valid and signed by one of --tls-ca, or ask for none with --tls-verify"
	case strings.Contains(text, "remote error"):
		return "the client gave up: it has to trust who signed the certificate of --tls-cert, and connect by a name that stands in it"
	case strings.Contains(text, "unsupported versions"), strings.Contains(text, "cipher suite"), strings.Contains(text, "protocol version"):
		return "update the client: it takes TLS 1.2 or 1.3 with ciphers of today"
	case errors.Is(err, errLeft):
		return "look at the client's own log: it may not trust the certificate, or want what was not offered"
	}
	return "mend or update the client"
}

// strangerError is a client that does not speak TLS.
type strangerError struct{ speaks string }

func (e *strangerError) Error() string {
	return "the client speaks " + e.speaks + " without TLS, and this port is for TLS"
}

// speaks is a guess what somebody who does not begin with TLS speaks.
func speaks(first []byte) string {
	switch {
	case bytes.HasPrefix(first, []byte("AMQP")):
		return "AMQP"
	case httpMethod(first):
		return "HTTP"
	case bytes.HasPrefix(first, []byte("<?xml")), bytes.HasPrefix(first, []byte("<stream")):
		return "XMPP"
	case bytes.HasPrefix(first, []byte("CONNECT\n")), bytes.HasPrefix(first, []byte("CONNECT\r")), bytes.HasPrefix(first, []byte("STOMP")):
		return "STOMP"
	case len(first) >= 8 && first[0] == 0 && first[4] == 0 && first[5] < 128: // a size below 16 MiB, and one of the first API keys
		return "Kafka's protocol"
	}
	return fmt.Sprintf("something else (%q)", first)
}

func httpMethod(first []byte) bool {
	for _, m := range []string{"GET /", "HEAD /", "POST /", "PUT /", "OPTIONS ", "CONNECT "} {
		if bytes.HasPrefix(first, []byte(m)) {
			return true
		}
	}
	return false
}

// startsTLS tells whether these may be the first bytes of a TLS handshake.
func startsTLS(first []byte) bool {
	return len(first) == 0 || first[0] == 0x16 && (len(first) == 1 || first[1] == 3)
}

// SpeaksTLS tells whether somebody's first bytes are those of a TLS handshake. A listener without TLS says so
// in its log, and ends the connection.
func SpeaksTLS(first []byte) bool { return len(first) >= 3 && startsTLS(first) && first[2] <= 4 }

// ErrSpeaksTLS is the client of SpeaksTLS, and TLSAdvice what to do about it.
var ErrSpeaksTLS = errors.New("the client speaks TLS, and this port is without")

// TLSAdvice is what to do about ErrSpeaksTLS.
const TLSAdvice = "send the client to the port with TLS, or have it use none"
