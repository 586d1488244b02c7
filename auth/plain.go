package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
)

// MaxPlainBytes bounds a SASL PLAIN response. RFC 4616 allows 255 characters
// for each of its three parts, which UTF-8 makes at most four bytes each.
const MaxPlainBytes = 3*255*4 + 2

// SplitPlain takes a SASL PLAIN response apart (RFC 4616):
//
//	[authorisation identity] NUL user NUL password
//
// The slices point into response. An authorisation identity that differs from
// the user is an error: nobody acts for somebody else here.
func SplitPlain(response []byte) (user string, password []byte, err error) {
	if len(response) > MaxPlainBytes {
		return "", nil, fmt.Errorf("sasl plain response of %d bytes is longer than %d", len(response), MaxPlainBytes)
	}
	part := bytes.Split(response, []byte{0})
	if len(part) != 3 {
		return "", nil, fmt.Errorf("sasl plain response has %d parts, want 3", len(part))
	}
	if len(part[1]) == 0 {
		return "", nil, errors.New("sasl plain response has an empty user")
	}
	if len(part[0]) > 0 && !bytes.Equal(part[0], part[1]) {
		return "", nil, errors.New("sasl plain response asks to act for another user")
	}
	return string(part[1]), part[2], nil
}

// Plain checks a whole SASL PLAIN response, as AMQP and Kafka clients send it.
func (u *Users) Plain(ctx context.Context, response []byte, from net.Addr) (Identity, error) {
	user, password, err := SplitPlain(response)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", err, ErrRefused)
	}
	return u.Login(ctx, user, password, from)
}
