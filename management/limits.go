package management

import (
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"slices"

	"github.com/leveret-mq/leveret/broker"
)

// limitRows are about what virtual hosts and users may have.
var limitRows = []row{
	{path: "vhost-limits", method: get, who: management, do: (*call).listVHostLimits, about: "The limits of all virtual hosts that the user may see"},
	{path: "vhost-limits/{vhost}", method: get, who: management, scope: seen, do: (*call).getVHostLimits, about: "The limits of a virtual host"},
	{path: "vhost-limits/{vhost}/{limit}", method: put, who: administrator, scope: seen, do: (*call).putVHostLimit, body: limitBody{}, gives: http.StatusNoContent, also: []int{http.StatusUnsupportedMediaType},
		about: "Sets a limit of a virtual host, such as max-connections or max-queues; -1 is none"},
	{path: "vhost-limits/{vhost}/{limit}", method: del, who: administrator, scope: seen, do: (*call).deleteVHostLimit, gives: http.StatusNoContent,
		about: "Takes a limit of a virtual host away"},
	{path: "user-limits", method: get, who: management, do: (*call).listUserLimits, about: "The limits of all users that the user may see"},
	{path: "user-limits/{user}", method: get, who: management, do: (*call).getUserLimits, about: "The limits of a user"},
	{path: "user-limits/{user}/{limit}", method: put, who: administrator, do: (*call).putUserLimit, body: limitBody{}, gives: http.StatusNoContent, also: []int{http.StatusUnsupportedMediaType},
		about: "Sets a limit of a user, such as max-connections or max-channels; -1 is none"},
	{path: "user-limits/{user}/{limit}", method: del, who: administrator, do: (*call).deleteUserLimit, gives: http.StatusNoContent, about: "Takes a limit of a user away"},
}

type limitBody struct {
	Value json.RawMessage `json:"value" needed:"true" schema:"integer"`
}

// readLimit reads the value of a limit.
func readLimit(kind string, text json.RawMessage) (int64, error) {
	n, ok := readInt(text)
	if !ok || text[0] == '"' {
		return 0, invalid("%s should be number, actually was %s", kind, term(text))
	}
	return n, nil
}

// limitOf reads the body of a limit. It must say that it is JSON, as on RabbitMQ.
func (c *call) limitOf(kind string) (int64, error) {
	if err := c.sentAs("application/json"); err != nil {
		return 0, err
	}
	var b limitBody
	if err := c.body(&b); err != nil {
		return 0, err
	}
	return readLimit(kind, b.Value)
}

// sentAs answers 415 unless the body is said to be of one of these types.
func (c *call) sentAs(kinds ...string) error {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err == nil && slices.Contains(kinds, kind) {
		return nil
	}
	return &failure{status: http.StatusUnsupportedMediaType, err: "unsupported_media_type", reason: "the body must be sent with Content-Type: " + kinds[0]}
}

// limitsObject are limits, by name.
func limitsObject(limits map[string]int64) object {
	out := make(object, 0, len(limits))
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		out = append(out, pair{name, limits[name]})
	}
	return out
}

// vhostLimits are those of virtual hosts that have some.
func vhostLimitsOf(hosts ...*broker.VHost) []object {
	out := []object{}
	for _, v := range hosts {
		if limits := v.Limits(); len(limits) > 0 {
			out = append(out, object{{"vhost", v.Name}, {"value", limitsObject(limits)}})
		}
	}
	return out
}

func (c *call) listVHostLimits() error { return c.list(vhostLimitsOf(c.vhosts(true)...)) }
func (c *call) getVHostLimits() error  { return c.list(vhostLimitsOf(c.vhost)) }

func (c *call) putVHostLimit() error {
	n, err := c.limitOf(c.arg("limit"))
	if err != nil {
		return err
	}
	if err := c.s.opts.Broker.SetVHostLimit(c.actor(), c.vhost.Name, c.arg("limit"), n); err != nil {
		return asInvalid(err)
	}
	return c.none()
}

func (c *call) deleteVHostLimit() error {
	if err := c.s.opts.Broker.ClearVHostLimit(c.actor(), c.vhost.Name, c.arg("limit")); err != nil {
		return asInvalid(err)
	}
	return c.none()
}

// userLimitsOf are the limits of users who have some. Who may not look at everything sees only the own ones.
func (c *call) userLimitsOf(users ...string) []object {
	out := []object{}
	for _, name := range users {
		if limits := c.s.opts.Access.Limits(name); len(limits) > 0 && (name == c.user.Name || c.is(monitoring)) {
			out = append(out, object{{"user", name}, {"value", limitsObject(limits)}})
		}
	}
	return out
}

func (c *call) listUserLimits() error { return c.list(c.userLimitsOf(c.s.opts.Access.Limited()...)) }

// userOf answers 404 unless the user of the path is there.
func (c *call) userOf() (string, error) {
	u, err := c.s.opts.Access.User(c.arg("user"))
	if err != nil {
		return "", notFound("user_not_found")
	}
	return u.Name, nil
}

func (c *call) getUserLimits() error {
	if c.arg("user") != c.user.Name && !c.is(monitoring) {
		return notAuthorised("%s", monitoring.refusal())
	}
	name, err := c.userOf()
	if err != nil {
		return err
	}
	return c.list(c.userLimitsOf(name))
}

func (c *call) putUserLimit() error {
	name, err := c.userOf()
	if err != nil {
		return err
	}
	n, err := c.limitOf(c.arg("limit"))
	if err != nil {
		return err
	}
	if err := c.s.opts.Access.SetUserLimit(c.actor(), name, c.arg("limit"), n); err != nil {
		return asInvalid(err)
	}
	return c.none()
}

func (c *call) deleteUserLimit() error {
	name, err := c.userOf()
	if err != nil {
		return err
	}
	if err := c.s.opts.Access.ClearUserLimit(c.actor(), name, c.arg("limit")); err != nil {
		return asInvalid(err)
	}
	return c.none()
}
