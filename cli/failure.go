package cli

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// failure is what a broker refused, or that there is none.
type failure struct {
	status int // of HTTP; 0 is that nobody answered
	reason string
	cause  error
	other  bool // it is no broker that answered
}

func (f *failure) Error() string { return f.reason }
func (f *failure) Unwrap() error { return f.cause }

// unavailable says that another time it may go well.
func (f *failure) unavailable() bool {
	return f.status == 0 || f.status == http.StatusServiceUnavailable || f.status == http.StatusBadGateway || f.status == http.StatusGatewayTimeout
}

// isStatus says whether a broker answered with a status.
func isStatus(err error, status int) bool {
	var f *failure
	return errors.As(err, &f) && f.status == status && !f.other
}

// unreached is why nobody answered, and what to do.
func (c *client) unreached(err error) error {
	at := c.base.Redacted()
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var timeout net.Error
	text := err.Error()
	switch {
	case errors.Is(err, context.Canceled):
		return &failure{reason: "interrupted", cause: err}
	case errors.As(err, &unknown):
		return &failure{reason: fmt.Sprintf("%s has a certificate of an authority that this machine does not know: name the authority's file with --ca", at), cause: err}
	case errors.As(err, &name):
		return &failure{reason: fmt.Sprintf("%s: %v; name the broker in --http as its certificate does", at, name), cause: err}
	case strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return &failure{reason: fmt.Sprintf("%s speaks no TLS: write http:// instead, or the port of https (15671)", at), cause: err}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &failure{reason: fmt.Sprintf("%s does not answer in time: --timeout gives it longer; leveret health says whether it is well", at), cause: err}
	}
	if strings.Contains(text, "malformed HTTP") {
		return &failure{reason: fmt.Sprintf("what listens at %s does not speak HTTP: name the port of the broker's HTTP API (15672) with --http or %s", at, envHTTP), cause: err}
	}
	if errors.Is(err, io.EOF) && c.base.Scheme == "http" {
		return &failure{reason: fmt.Sprintf("%s ends the connection without a word: where it speaks TLS, write https://", at), cause: err}
	}
	var asked *url.Error
	if errors.As(err, &asked) { // which is told already, without the query
		err = asked.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op
	}
	return &failure{reason: fmt.Sprintf("no broker answers at %s (%v): start one with leveret serve, or name it with --http or %s", at, err, envHTTP), cause: err}
}

// refused reads why a broker did not do it.
func (c *client) refused(res *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20)) // what there is of it
	var said struct{ Error, Reason any }
	_ = json.Unmarshal(text, &said) // an answer of something else has none
	word := func(v any) string {
		if s, ok := v.(string); ok {
			return s
		}
		if v == nil {
			return ""
		}
		raw, _ := json.Marshal(v) // it was read so
		return string(raw)
	}
	f := &failure{status: res.StatusCode, reason: word(said.Reason)}
	if f.reason == "" {
		f.reason = word(said.Error)
	}
	f.reason = strings.TrimSpace(strings.ReplaceAll(f.reason, "\n\n", ": "))
	at := c.base.Redacted()
	switch {
	case res.StatusCode == http.StatusUnauthorized && (f.reason == "Not_Authorized" || f.reason == ""):
		f.reason = fmt.Sprintf("%s does not know user %s with this password: give others with --user and --password, %s and %s, or in ~/.netrc", at, c.user, envUser, envPassword)
		if !c.userGiven {
			f.reason += "; guest works from the broker's own machine only, and not where there is another first user"
		}
	case res.StatusCode == http.StatusUnauthorized && f.reason == "Not management user":
		f.reason = fmt.Sprintf("user %s may not use the HTTP API: an administrator gives it with leveret set tags %s management", c.user, c.user)
	case res.StatusCode == http.StatusUnauthorized && strings.HasPrefix(f.reason, "Not ") && strings.HasSuffix(f.reason, " user"):
		f.reason = fmt.Sprintf("user %s may not do this: it takes one with the tag %s", c.user, strings.TrimSuffix(strings.TrimPrefix(f.reason, "Not "), " user"))
	case res.StatusCode == http.StatusBadRequest && strings.Contains(string(text), "HTTP request to an HTTPS server"):
		f.reason = fmt.Sprintf("%s speaks TLS only: write https://", at)
	case said.Error == nil && said.Reason == nil:
		f.other = true
		f.reason = fmt.Sprintf("%s answers, but not as a broker does (%s): its HTTP API is on port 15672, or where http-addr of its settings says", at, res.Status)
	}
	return f
}

// missing gives a thing that is not there its name, and says where to look.
func missing(err error, singular, name, vhost, plural string) error {
	if !isStatus(err, http.StatusNotFound) || strings.Contains(err.Error(), "'") { // what the broker names itself
		return err
	}
	where := ""
	if vhost != "" {
		where = fmt.Sprintf(" in virtual host %s", vhost)
	}
	return &failure{status: http.StatusNotFound, reason: fmt.Sprintf("there is no %s %s%s: leveret list %s shows what there is", singular, name, where, plural), cause: err}
}
