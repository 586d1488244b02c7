package kafka

import (
	"testing"

	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/sasl"
	saslplain "github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/leveret-mq/leveret/auth"
)

func plainAuth(user, password string) sasl.Mechanism {
	return saslplain.Auth{User: user, Pass: password}.AsMechanism()
}

// codeIn is the Kafka code inside an error, 0 when there is none.
func codeIn(err error) int16 {
	var e *kerr.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func usersWith(t *testing.T, name, password string) *auth.Users {
	t.Helper()
	u := auth.NewUsers()
	if err := u.PutPassword(auth.User{Name: name}, password); err != nil {
		t.Fatal(err)
	}
	return u
}
