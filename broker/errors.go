package broker

import (
	"errors"
	"fmt"

	"github.com/leveret-mq/leveret/store"
)

// Kind says what sort of failure an Error is; each listener maps it to its
// protocol's code in one place.
type Kind uint8

// The kinds, with the AMQP 0-9-1 reply code that fits in brackets.
const (
	NotFound     Kind = iota + 1 // no such vhost, exchange or queue (404)
	Refused                      // not allowed, reserved name, internal exchange (403)
	Locked                       // another connection's exclusive queue (405)
	Precondition                 // exists with other settings, in use, not empty, bad argument (406)
	UnknownType                  // no such exchange type (406, as RabbitMQ 4; the specification has 503)
	Unsupported                  // known but not there yet (540)
	Full                         // no space (506)
	TooLarge                     // message over the limit (501)
	Closed                       // the broker is stopping, or the thing is gone (320)
	Internal                     // ours (541)
	Exists                       // a Kafka topic of that name is there (Kafka 36)
	BadSetting                   // no such setting, or a value that it does not take (406; Kafka 40)
	Collides                     // a Kafka topic differs only in "." and "_" (Kafka 17)
	OutOfRange                   // no such offset in the log (Kafka 1)
	Unreadable                   // what is stored can't be read (Kafka 56)
	Unavailable                  // not now, or not by this process: another try may succeed (541; Kafka 5)
	LimitReached                 // a limit of the user or the virtual host (406, 530 where it is about connections; Kafka 44); of a queue, which AMQP tells by basic.nack
	Timeout                      // the disk did not answer in time (406, as RabbitMQ's other time-outs; Kafka 7)
)

// Error is a failure of a few kinds, for people in Text, with its cause.
type Error struct {
	Kind Kind
	Text string
	Err  error
	On   ResourceKind // of a refusal by the policy: what was refused
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return e.Text + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func fail(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Text: fmt.Sprintf(format, args...)}
}

// RefusedOn is what a refusal by the policy was about, 0 for any other error.
func RefusedOn(err error) ResourceKind {
	var e *Error
	if errors.As(err, &e) {
		return e.On
	}
	return 0
}

// KindOf is the kind of any error: of an Error its own, of a store's error the
// one that fits, and Internal for everything else. It is 0 for nil.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, store.ErrFull), errors.Is(err, store.ErrReadOnly), errors.Is(err, store.ErrBusy):
		return Full
	case store.Retryable(err), errors.Is(err, store.ErrFenced):
		return Unavailable
	case errors.Is(err, store.ErrTooLarge):
		return TooLarge
	case errors.Is(err, store.ErrClosed):
		return Closed
	case errors.Is(err, store.ErrNotFound):
		return NotFound
	case errors.Is(err, store.ErrOutOfRange):
		return OutOfRange
	}
	return Internal
}
