package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/kafka/wire"
)

const plain = "PLAIN"

// mechanisms are those that clients are told.
var mechanisms = []string{plain, string(auth.ScramSHA256), string(auth.ScramSHA512)}

// saslState is a login under way.
type saslState struct {
	mech  string         // of a handshake whose tokens are awaited; "" is none
	raw   bool           // the tokens come without a request header (handshake v0)
	scram *auth.Exchange // begun with the first token
	vhost string         // that the name asks for
}

// Key 17, SaslHandshake, versions 0 and 1. After version 0 the tokens follow without a
// request around them.
func (c *conn) saslHandshake(r *kmsg.SASLHandshakeRequest) kmsg.Response {
	res := kmsg.NewPtrSASLHandshakeResponse()
	res.SupportedMechanisms = mechanisms
	c.sasl = saslState{}
	switch {
	case c.s.opts.Users == nil:
		res.SupportedMechanisms = nil
		res.ErrorCode = int16(wire.IllegalSASLState) // there is nobody to log in as
	case !slices.Contains(mechanisms, r.Mechanism):
		res.ErrorCode = int16(wire.UnsupportedSASLMechanism)
	default:
		c.sasl = saslState{mech: r.Mechanism, raw: r.Version == 0}
	}
	return res
}

// Key 36, SaslAuthenticate, versions 0 to 2.
func (c *conn) saslAuthenticate(r *kmsg.SASLAuthenticateRequest) (kmsg.Response, error) {
	res := kmsg.NewPtrSASLAuthenticateResponse()
	if c.sasl.mech == "" {
		res.ErrorCode = int16(wire.IllegalSASLState)
		res.ErrorMessage = kmsg.StringPtr("a SaslHandshake must come before")
		return res, nil
	}
	answer, err := c.login(r.SASLAuthBytes)
	if err != nil {
		c.log.LoginRefused(err)
		if errors.Is(err, auth.ErrBusy) {
			return nil, err
		}
		c.in, c.over = false, true
		res.ErrorCode = int16(wire.SASLAuthenticationFailed)
		res.ErrorMessage = kmsg.StringPtr(refusalText(err))
		return res, nil
	}
	res.SASLAuthBytes = answer
	return res, nil
}

// maxTokenBytes bounds the token of any mechanism.
const maxTokenBytes = max(auth.MaxPlainBytes, auth.MaxScramBytes)

// rawToken serves a token that follows a SaslHandshake of version 0: a size and the token,
// which the answer is, too. A refusal closes the connection.
func (c *conn) rawToken() error {
	token, err := c.frames.raw(maxTokenBytes)
	if err != nil {
		return err
	}
	answer, err := c.login(token)
	if err != nil {
		c.log.LoginRefused(err)
		return err
	}
	return c.out.add(append(binary.BigEndian.AppendUint32(nil, uint32(len(answer))), answer...))
}

// login takes a token of the mechanism. What it returns is for the client; the login is done
// when c.sasl awaits no more.
func (c *conn) login(token []byte) (answer []byte, err error) {
	stay, leave := netx.Stay(c.s.stopping, c.nc)
	defer leave()
	var who *auth.Identity
	if c.sasl.mech == plain {
		answer = []byte{}
		who, err = c.plain(stay, token)
	} else {
		answer, who, err = c.scram(stay, token)
	}
	if err == nil && who == nil {
		return answer, nil
	}
	vhost := c.sasl.vhost
	c.sasl = saslState{}
	if err != nil {
		return nil, err
	}
	if err = c.admit(*who, vhost); err == nil {
		netx.Known(c.nc)
	}
	return answer, err
}

func (c *conn) plain(stay context.Context, token []byte) (*auth.Identity, error) {
	user, password, err := auth.SplitPlain(token)
	if err != nil {
		return nil, err
	}
	user, c.sasl.vhost = c.s.splitUser(user)
	who, err := c.s.opts.Users.Login(stay, user, password, c.nc.RemoteAddr())
	return &who, err
}

func (c *conn) scram(stay context.Context, token []byte) (answer []byte, who *auth.Identity, err error) {
	if c.sasl.scram == nil {
		named := func(name string) (user string) {
			user, c.sasl.vhost = c.s.splitUser(name)
			return user
		}
		if c.sasl.scram, err = c.s.opts.Users.Scram(auth.Mechanism(c.sasl.mech), named); err != nil {
			return nil, nil, err
		}
	}
	return c.sasl.scram.Step(stay, token, c.nc.RemoteAddr())
}

// splitUser takes a name apart that may end in "@vhost"; without that vhost is "".
func (s *Server) splitUser(name string) (user, vhost string) {
	if at := strings.LastIndexByte(name, '@'); at > 0 && !s.opts.Users.Has(name) {
		return name[:at], name[at+1:]
	}
	return name, ""
}

// homeOf is the virtual host of a user who names none.
func (s *Server) homeOf(user string) string {
	if s.opts.Home != nil {
		if home := s.opts.Home(user); home != "" {
			return home
		}
	}
	return s.opts.VHost
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
