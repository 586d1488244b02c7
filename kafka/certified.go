package kafka

import (
	"crypto/x509"

	"github.com/leveret-mq/leveret/internal/netx"
)

// certificate is the client's that was verified, when there may be a login by it; else nil.
func (c *conn) certificate() *x509.Certificate {
	if c.s.opts.CertifiedName == nil {
		return nil
	}
	return netx.Verified(c.nc)
}

// enterCertified lets a client in as the user of its certificate. A later login with SASL wins, as it does on
// Kafka, and one whose certificate names nobody must log in: it is not whom clients are without a login. The name is
// taken whole: whoever signed ann@shop has not said that it is ann.
func (c *conn) enterCertified(cert *x509.Certificate) error {
	name, err := c.s.opts.CertifiedName(cert)
	if err != nil {
		c.nobody = err
		return nil
	}
	who, err := c.s.opts.Users.Certified(name, c.nc.RemoteAddr())
	if err != nil {
		c.nobody = err
		return nil
	}
	if err := c.admit(who, ""); err != nil {
		c.nobody = err // it may log in as somebody else, or name another virtual host
	}
	return nil
}
