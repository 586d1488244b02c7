package management

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/leveret-mq/leveret/broker"
)

// failure is an answer that is none of success: its status, and what stands in its body, both strings, as RabbitMQ
// at its best has it.
type failure struct {
	status int
	err    string
	reason string
	header map[string]string
	empty  bool // no body
	denied bool // the user may not
}

func (f *failure) Error() string { return f.err + ": " + f.reason }

// badRequest is what is wrong with a request.
func badRequest(format string, args ...any) *failure {
	return &failure{status: http.StatusBadRequest, err: "bad_request", reason: fmt.Sprintf(format, args...)}
}

// missing is the object of the path, when there is none.
func missing() *failure {
	return &failure{status: http.StatusNotFound, err: "Object Not Found", reason: "Not Found"}
}

// notFound is something else that a request names, when it is not there.
func notFound(format string, args ...any) *failure {
	return &failure{status: http.StatusNotFound, err: "not_found", reason: fmt.Sprintf(format, args...)}
}

// parentMissing is what the path names before what is to be done with it, when it is not there: RabbitMQ says which, to who would do something.
func (c *call) parentMissing(reason string) *failure {
	if c.row.method == post {
		return notFound("%s", reason)
	}
	return missing()
}

// notAuthorised is what the user may not do.
func notAuthorised(format string, args ...any) *failure {
	return &failure{status: http.StatusUnauthorized, err: "not_authorised", reason: fmt.Sprintf(format, args...), denied: true}
}

// unavailable is what may go well another time.
func unavailable(reason string) *failure {
	return &failure{status: http.StatusServiceUnavailable, err: "service_unavailable", reason: reason}
}

// asFailure is the one place where the broker's kinds of error become answers.
func asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	switch broker.KindOf(err) {
	case broker.NotFound:
		return notFound("%s", err.Error())
	case broker.Refused:
		f := notAuthorised("%s", err.Error())
		f.denied = broker.RefusedOn(err) != 0
		return f
	case broker.Locked, broker.Precondition, broker.UnknownType, broker.Unsupported, broker.TooLarge, broker.Exists, broker.BadSetting,
		broker.Collides, broker.OutOfRange, broker.LimitReached:
		return badRequest("%s", err.Error())
	case broker.Full, broker.Closed, broker.Unavailable, broker.Timeout:
		return unavailable(err.Error())
	}
	return &failure{status: http.StatusInternalServerError, err: "internal_error", reason: err.Error()}
}
