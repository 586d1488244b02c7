package management

import (
	"context"
	"errors"
	"net/http"

	"github.com/leveret-mq/leveret/auth"
)

// login finds out who asks, where the row is not for anybody, and whether the row is for them.
func (c *call) login() error {
	if c.row.who == anybody {
		return nil
	}
	if c.visitor != nil {
		if err := c.identify(c.visitor.name, c.visitor.password); err != nil {
			return err
		}
	} else if err := c.challenge(); err != nil {
		return err
	}
	if !c.row.who.has(c.user.Tags) {
		if !management.has(c.user.Tags) {
			return notAuthorised("%s", management.refusal())
		}
		return notAuthorised("%s", c.row.who.refusal())
	}
	return nil
}

// challenge asks for a name and a password, and checks those that came.
func (c *call) challenge() error {
	name, password, given := c.r.BasicAuth()
	if !given {
		return &failure{status: http.StatusUnauthorized, empty: true, header: map[string]string{"WWW-Authenticate": `Basic realm="RabbitMQ Management"`}}
	}
	return c.identify(name, password)
}

// identify checks a name and a password. One that is wrong is answered late, as on every listener; when too many are waiting, not
// at all.
func (c *call) identify(name, password string) error {
	stay, leave := context.WithCancel(c.s.stopping)
	defer leave()
	defer context.AfterFunc(c.r.Context(), leave)()
	who, err := c.s.opts.Users.Login(stay, name, []byte(password), c.from)
	if errors.Is(err, auth.ErrBusy) {
		c.log.LoginRefused(err)
		panic(http.ErrAbortHandler)
	}
	if err == nil {
		c.who = who
		c.user, err = c.s.opts.Access.User(who.Name) // one that was deleted since
	}
	if err != nil {
		c.log.LoginRefused(err)
		return &failure{status: http.StatusUnauthorized, err: "not_authorized", reason: "Not_Authorized"}
	}
	c.log.LoggedIn(who.Name)
	c.bound() // a check may have waited for others
	return nil
}
