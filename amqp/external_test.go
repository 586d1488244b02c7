package amqp

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"testing"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/internal/fakeclock"
)

// certifiedConn is a connection with TLS, as a handler sees it.
type certifiedConn struct {
	net.Conn
	state tls.ConnectionState
}

func (c certifiedConn) ConnectionState() tls.ConnectionState { return c.state }

// EXTERNAL is for who has shown a certificate that was verified, and for nobody else.
func TestTheMechanismEXTERNALIsForWhoHasACertificate(t *testing.T) {
	named := func(name string) []*x509.Certificate {
		return []*x509.Certificate{{Subject: pkix.Name{CommonName: name}}}
	}
	verified := func(name string) tls.ConnectionState {
		return tls.ConnectionState{PeerCertificates: named(name), VerifiedChains: [][]*x509.Certificate{named(name)}}
	}
	commonName := func(c *x509.Certificate) (string, error) {
		if c.Subject.CommonName == "" {
			return "", errors.New("it has no name")
		}
		return c.Subject.CommonName, nil
	}
	for _, c := range []struct {
		name    string
		state   tls.ConnectionState
		read    func(*x509.Certificate) (string, error)
		offered bool
		code    wire.Code // 0: let in
	}{
		{"a user's", verified("guest"), commonName, true, 0},
		{"of who is no user", verified("stranger"), commonName, true, wire.AccessRefused},
		{"without a name", verified(""), commonName, true, wire.AccessRefused},
		{"that nobody verified", tls.ConnectionState{PeerCertificates: named("guest")}, commonName, false, wire.CommandInvalid},
		{"none", tls.ConnectionState{}, commonName, false, wire.CommandInvalid},
		{"logins by one are off", verified("guest"), nil, false, wire.CommandInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				r := newRig(t, rigOptions{server: func(o *Options) { o.CertifiedName = c.read }})
				client, server := net.Pipe()
				r.served.Add(1)
				go func() {
					defer r.served.Done()
					r.server.Handle(certifiedConn{server, c.state})
				}()
				p := r.peer(client)
				p.raw([]byte(wire.ProtocolHeader))
				start := p.expect(0, wire.IDConnectionStart).method.(*wire.ConnectionStart)
				if want := map[bool]string{false: "PLAIN AMQPLAIN", true: "PLAIN AMQPLAIN EXTERNAL"}[c.offered]; string(start.Mechanisms) != want {
					t.Errorf("offered %q, want %q", start.Mechanisms, want)
				}
				p.send(0, &wire.ConnectionStartOk{Mechanism: "EXTERNAL", Response: []byte("whatever"), ClientProperties: capabilities()})
				if c.code == 0 {
					p.expect(0, wire.IDConnectionTune)
				} else {
					p.refused(c.code)
				}
				p.nc.Close()
			})
		})
	}
}

func TestAClientWithTLSIsToldApart(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		p := r.peer(r.pipe())
		p.raw([]byte("\x16\x03\x01\x02\x00\x01\x00\x01"))
		got := make([]byte, 8)
		if n, _ := p.nc.Read(got); string(got[:n]) != wire.ProtocolHeader {
			t.Errorf("it was told %q, want what RabbitMQ says to who does not speak AMQP", got[:n])
		}
		p.closed()
	})
}
