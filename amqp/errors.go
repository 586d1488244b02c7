package amqp

import (
	"errors"
	"fmt"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
)

// closeError is an exception of section 1.2 of the specification: it closes a channel or the connection,
// as its code says, and names the method that it is about.
type closeError struct {
	code   wire.Code
	text   string
	method wire.MethodID
	// channel is where it happened; nil if it is about the connection.
	channel *channel
}

func (e *closeError) Error() string { return wire.ReplyText(e.code, e.text) }

// refuse makes an exception; where it happens the method is filled in.
func refuse(code wire.Code, format string, args ...any) *closeError {
	return &closeError{code: code, text: fmt.Sprintf(format, args...)}
}

// asClose is the one place where the broker's kinds of error become reply codes.
func asClose(err error, method wire.MethodID) *closeError {
	var e *closeError
	if errors.As(err, &e) {
		if e.method == 0 {
			e.method = method
		}
		return e
	}
	code := wire.InternalError
	switch broker.KindOf(err) {
	case broker.NotFound:
		code = wire.NotFound
	case broker.Refused:
		code = wire.AccessRefused
	case broker.Locked:
		code = wire.ResourceLocked
	case broker.Precondition, broker.Exists, broker.TooLarge, broker.UnknownType, broker.BadSetting:
		code = wire.PreconditionFailed
	case broker.Unsupported:
		code = wire.NotImplemented
	case broker.Full:
		code = wire.ResourceError
	case broker.Closed:
		code = wire.ConnectionForced
	}
	return &closeError{code: code, text: err.Error(), method: method}
}

// decodeError maps what the codec refuses.
func decodeError(err error, method wire.MethodID) *closeError {
	var unknown *wire.UnknownMethodError
	if errors.As(err, &unknown) {
		return &closeError{code: wire.CommandInvalid, text: err.Error(), method: unknown.ID}
	}
	return &closeError{code: wire.SyntaxError, text: err.Error(), method: method}
}
