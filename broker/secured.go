package broker

import (
	"crypto/tls"
	"net"
	"time"
)

// TLS is how a connection is secured, and by what certificate its client is known.
type TLS struct {
	Version string       // "TLS 1.3"
	Cipher  string       // of the suite, as IANA has it
	Group   string       // of the key exchange
	Peer    *Certificate // nil when the client showed none
}

// Certificate is what is shown of a client's.
type Certificate struct {
	Subject, Issuer     string // as RFC 4514 has it
	NotBefore, NotAfter time.Time
	Verified            bool // somebody whom we trust signed it
}

// tlsOf reads how a connection is secured; nil when it is not.
func tlsOf(nc net.Conn) *TLS {
	s, ok := nc.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil
	}
	state := s.ConnectionState()
	t := &TLS{Version: tls.VersionName(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite), Group: state.CurveID.String()}
	if len(state.PeerCertificates) > 0 {
		c := state.PeerCertificates[0]
		t.Peer = &Certificate{
			Subject: c.Subject.ToRDNSequence().String(), Issuer: c.Issuer.ToRDNSequence().String(),
			NotBefore: c.NotBefore, NotAfter: c.NotAfter, Verified: len(state.VerifiedChains) > 0,
		}
	}
	return t
}
