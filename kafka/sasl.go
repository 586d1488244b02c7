package kafka

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/kafka/wire"
)

const plain = "PLAIN"

// Key 17, SaslHandshake, versions 0 and 1. PLAIN is the one mechanism. After
// version 0 the token follows without a request around it.
func (c *conn) saslHandshake(r *kmsg.SASLHandshakeRequest) kmsg.Response {
	res := kmsg.NewPtrSASLHandshakeResponse()
	res.SupportedMechanisms = []string{plain}
	switch {
	case c.s.opts.Users == nil:
		res.SupportedMechanisms = nil
		res.ErrorCode = int16(wire.IllegalSASLState) // there is nobody to log in as
	case r.Mechanism != plain:
		res.ErrorCode = int16(wire.UnsupportedSASLMechanism)
	default:
		c.mech = plain
		c.rawSASL = r.Version == 0
	}
	return res
}

// Key 36, SaslAuthenticate, versions 0 to 2.
func (c *conn) saslAuthenticate(r *kmsg.SASLAuthenticateRequest) (kmsg.Response, error) {
	res := kmsg.NewPtrSASLAuthenticateResponse()
	if c.mech == "" {
		res.ErrorCode = int16(wire.IllegalSASLState)
		res.ErrorMessage = kmsg.StringPtr("a SaslHandshake must come before")
		return res, nil
	}
	if err := c.login(r.SASLAuthBytes); err != nil {
		c.log.LoginRefused(err)
		if errors.Is(err, auth.ErrBusy) {
			return nil, err
		}
		c.in, c.over = false, true
		res.ErrorCode = int16(wire.SASLAuthenticationFailed)
		res.ErrorMessage = kmsg.StringPtr(refusalText(err))
		return res, nil
	}
	res.SASLAuthBytes = []byte{}
	return res, nil
}

// rawToken serves the token that follows a SaslHandshake of version 0: a size
// and the token; the answer is a size of 0. A refusal closes the connection.
func (c *conn) rawToken() error {
	token, err := c.frames.raw(auth.MaxPlainBytes)
	if err != nil {
		return err
	}
	c.rawSASL = false
	if err := c.login(token); err != nil {
		c.log.LoginRefused(err)
		return err
	}
	return c.out.add(binary.BigEndian.AppendUint32(nil, 0))
}

// login checks a PLAIN token. A user name may end in "@vhost", which names the
// virtual host to see; without it that is the default one.
func (c *conn) login(token []byte) error {
	c.mech = ""
	user, password, err := auth.SplitPlain(token)
	if err != nil {
		return err
	}
	vhost := broker.DefaultVHost
	if at := strings.LastIndexByte(user, '@'); at > 0 && !c.s.opts.Users.Has(user) {
		user, vhost = user[:at], user[at+1:]
	}
	stay, leave := netx.Stay(c.s.stopping, c.nc)
	defer leave()
	who, err := c.s.opts.Users.Login(stay, user, password, c.nc.RemoteAddr())
	if err != nil {
		return err
	}
	return c.admit(who, vhost)
}

// errLoginRefused ends the connection behind the answer that says so.
var errLoginRefused = errors.New("login refused")

// refusalText is what a client is told: nothing of names and passwords, which it is to guess.
func refusalText(err error) string {
	if errors.Is(err, auth.ErrRefused) {
		return "login refused: the name or the password is wrong, or not for this address"
	}
	return "login refused: " + err.Error()
}
