package amqp

import (
	"crypto/x509"
	"fmt"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/netx"
)

const external = "EXTERNAL"

// mechanisms are those that the client may log in with: EXTERNAL only with a certificate that was verified.
func (c *conn) mechanisms() string {
	if c.certificate() != nil {
		return "PLAIN AMQPLAIN " + external
	}
	return "PLAIN AMQPLAIN"
}

// certificate is the client's that was verified, when there may be a login by it; else nil.
func (c *conn) certificate() *x509.Certificate {
	if c.s.opts.CertifiedName == nil {
		return nil
	}
	return netx.Verified(c.nc)
}

// external is a login by the client's certificate. What else the client says of itself counts for nothing.
func (c *conn) external() (auth.Identity, error) {
	name, err := c.s.opts.CertifiedName(c.certificate())
	if err != nil {
		return auth.Identity{}, fmt.Errorf("%w: %w", auth.ErrRefused, err)
	}
	return c.s.opts.Users.Certified(name, c.nc.RemoteAddr())
}
