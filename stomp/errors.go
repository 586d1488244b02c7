package stomp

import (
	"errors"
	"fmt"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/stomp/frame"
)

// failure is what an ERROR frame says. It ends the connection.
type failure struct {
	message      string // the header message: RabbitMQ's words, or the name of an AMQP exception
	detail       string // the body
	what         string // the client did; "" for a frame that is none
	receipt      string // that the client asked for; "" if it did not
	subscription string // that it is about; "" if it is about none
	login        error  // why a login was refused, which the client is not to know
	denied       bool   // the client's user has no right to it
	advice       string // to whom reads the log
}

func (f *failure) Error() string { return f.message + ": " + f.detail }

// fail makes a failure.
func fail(message, format string, args ...any) *failure {
	return &failure{message: message, detail: fmt.Sprintf(format, args...)}
}

// asFailure is the one place where the broker's kinds of error become ERROR frames.
func asFailure(err error) *failure {
	var f *failure
	if err == nil || errors.As(err, &f) {
		return f
	}
	message, advice := named(broker.KindOf(err))
	return &failure{message: message, detail: err.Error(), advice: advice, denied: broker.RefusedOn(err) != 0}
}

// named is what RabbitMQ calls a kind of error, and what an operator can do about it.
func named(k broker.Kind) (name, advice string) {
	switch k {
	case broker.NotFound:
		return "not_found", "declare it before it is used, or correct the destination or the virtual host"
	case broker.Refused:
		return "access_refused", "use a destination or a user for which it is allowed"
	case broker.Locked:
		return "resource_locked", "close the connection that owns the queue, or declare it without exclusive"
	case broker.Precondition, broker.Exists, broker.TooLarge, broker.UnknownType, broker.BadSetting, broker.Timeout:
		return "precondition_failed", "compare what the client's headers ask for with what is there; /amq/queue/NAME uses a queue as it is"
	case broker.LimitReached:
		return "precondition_failed", "raise the limit of the queue, the user or the virtual host, or make room"
	case broker.Unsupported:
		return "not_implemented", "do without it: it is not supported here"
	case broker.Full:
		return "resource_error", "look at the broker's disk and memory, and at the lines before"
	case broker.Closed:
		return "connection_forced", "connect again when the broker has started"
	}
	return "internal_error", "look at the lines before"
}

// decodeFailure is about bytes that are no frame, or too large a one.
func decodeFailure(err error) *failure {
	f := &failure{detail: err.Error(), advice: "mend or update the client: it does not speak STOMP as agreed"}
	switch {
	case errors.Is(err, frame.ErrCommand):
		f.message = "Bad command"
	case errors.Is(err, frame.ErrManyHeads), errors.Is(err, frame.ErrLongHead):
		f.message, f.advice = "Too many headers", "have the client send less in headers, and the rest in the body"
	case errors.Is(err, frame.ErrLargeBody):
		f.message, f.advice = "Message too large", "send smaller messages, or raise --max-message-bytes, or the limit of the user or the virtual host"
	default:
		f.message = "Invalid frame"
	}
	return f
}

// appendError appends the ERROR frame.
func (f *failure) append(buf []byte, v frame.Version) []byte {
	w := frame.Writer{Buf: buf, Version: v}
	w.Begin("ERROR")
	w.Add("message", f.message)
	w.Add("content-type", "text/plain")
	w.Add("version", frame.Versions)
	if f.receipt != "" {
		w.Add("receipt-id", f.receipt)
	}
	if f.subscription != "" {
		w.Add("subscription", f.subscription)
	}
	w.End(f.detail + "\n")
	return w.Buf
}
