package management

import (
	"errors"
	"net/http"
)

// SignIn checks the name and the password of somebody who signs in at the web page by a request. The status is that of an answer, and
// the error what a person may be told, which does not say whether there is a user of that name. One that is wrong is answered late, as on
// every listener; when too many wait, the handler is aborted (http.ErrAbortHandler).
func (s *Server) SignIn(w http.ResponseWriter, r *http.Request, name, password string) (status int, err error) {
	c := newCall(s, w, r)
	defer c.end()
	if c.identify(name, password) != nil {
		return http.StatusUnauthorized, errors.New("the name or the password is wrong, or the user may not sign in from this address")
	}
	if !management.has(c.user.Tags) {
		return http.StatusForbidden, errors.New("this user has none of the tags management, policymaker, monitoring and administrator, which the page and the API ask for")
	}
	return http.StatusOK, nil
}

// ServeVisitor is ServeHTTP for who signed in at the page, which keeps the name and the password and brings them with each request. The
// request's path begins with /api/; its RemoteAddr and its context are those of the client for whom it is.
func (s *Server) ServeVisitor(w http.ResponseWriter, r *http.Request, name, password string) {
	c := newCall(s, w, r)
	c.visitor = &visitor{name, password}
	s.answer(c)
}

// visitor is who signed in at the page.
type visitor struct{ name, password string }
