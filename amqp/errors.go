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
	// login is why a login was refused, which the client is not to know; nil if it is about something else.
	login error
	// limited says that a limit of the user or the virtual host is in the way.
	limited bool
	// denied says that the client's user has no right to it.
	denied bool
}

// what names what the client asked for.
func (e *closeError) what() string {
	if e.method == 0 {
		return "frame"
	}
	return e.method.String()
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
	return &closeError{code: codeOf(err), text: err.Error(), method: method, denied: broker.RefusedOn(err) != 0,
		limited: broker.KindOf(err) == broker.LimitReached}
}

// notAllowed is asClose for what RabbitMQ answers with 530, whatever is in the way.
func notAllowed(err error, method wire.MethodID) *closeError {
	e := asClose(err, method)
	e.code = wire.NotAllowed
	return e
}

// codeOf maps the broker's kinds of error.
func codeOf(err error) wire.Code {
	code := wire.InternalError
	switch broker.KindOf(err) {
	case broker.NotFound:
		code = wire.NotFound
	case broker.Refused:
		code = wire.AccessRefused
	case broker.Locked:
		code = wire.ResourceLocked
	case broker.Precondition, broker.Exists, broker.TooLarge, broker.UnknownType, broker.BadSetting, broker.Timeout, broker.LimitReached:
		code = wire.PreconditionFailed
	case broker.Unsupported:
		code = wire.NotImplemented
	case broker.Full:
		code = wire.ResourceError
	case broker.Closed:
		code = wire.ConnectionForced
	}
	return code
}

// advice says what an operator can do about a code.
func advice(code wire.Code) string {
	switch code {
	case wire.NotFound:
		return "declare it before it is used, or correct its name or the virtual host"
	case wire.AccessRefused:
		return "use a name or a user for which it is allowed"
	case wire.ResourceLocked:
		return "close the connection that owns the queue, or declare it without exclusive"
	case wire.PreconditionFailed:
		return "compare what the client declares or sends with what is there; to change a setting delete it and declare it anew"
	case wire.ResourceError, wire.InternalError:
		return "look at the broker's disk and memory, and at the lines before"
	case wire.NotAllowed:
		return "correct the client's settings: limits, virtual host, consumer tags"
	case wire.NotImplemented:
		return "do without it: it is not supported here"
	case wire.ConnectionForced:
		return "connect again when the broker has started"
	}
	return "mend or update the client: it does not speak AMQP 0-9-1 as agreed"
}

// decodeError maps what the codec refuses.
func decodeError(err error, method wire.MethodID) *closeError {
	var unknown *wire.UnknownMethodError
	if errors.As(err, &unknown) {
		return &closeError{code: wire.CommandInvalid, text: err.Error(), method: unknown.ID}
	}
	if errors.Is(err, wire.ErrTableDepth) { // well-formed, but more than we take
		return &closeError{code: wire.PreconditionFailed, text: err.Error(), method: method}
	}
	return &closeError{code: wire.SyntaxError, text: err.Error(), method: method}
}
