package management

import (
	"net/http"
	"slices"

	"github.com/leveret-mq/leveret/access"
)

// permissionRows are about what users may do.
var permissionRows = []row{
	{path: "permissions", method: get, who: administrator, do: (*call).listPermissions, about: "The permissions of all users in all virtual hosts"},
	{path: "permissions/{vhost}/{user}", method: get, who: administrator, scope: unasked, do: (*call).getPermission, about: "What a user may do in a virtual host"},
	{path: "permissions/{vhost}/{user}", method: put, who: administrator, scope: unasked, do: (*call).putPermission, body: permissionBody{},
		about: "Says what a user may do in a virtual host: three regular expressions of names"},
	{path: "permissions/{vhost}/{user}", method: del, who: administrator, scope: unasked, do: (*call).deletePermission, gives: http.StatusNoContent,
		about: "Shuts a user out of a virtual host; the user's connections to it are closed"},
	{path: "topic-permissions", method: get, who: administrator, do: (*call).listTopicPermissions, about: "The topic permissions of all users in all virtual hosts"},
	{path: "topic-permissions/{vhost}/{user}", method: get, who: administrator, scope: unasked, do: (*call).getTopicPermissions,
		about: "The topic permissions of a user in a virtual host"},
	{path: "topic-permissions/{vhost}/{user}", method: put, who: administrator, scope: unasked, do: (*call).putTopicPermission, body: topicPermissionBody{},
		about: "Says with which routing keys a user may publish to a topic exchange, and with which bind it"},
	{path: "topic-permissions/{vhost}/{user}", method: del, who: administrator, scope: unasked, do: (*call).deleteTopicPermissions, gives: http.StatusNoContent,
		about: "Takes a user's topic permissions in a virtual host away, which leaves all keys allowed"},
	{path: "topic-permissions/{vhost}/{user}/{exchange}", method: get, who: administrator, scope: unasked, do: (*call).getTopicPermission,
		about: "The topic permission of a user for one exchange, as a list"},
	{path: "topic-permissions/{vhost}/{user}/{exchange}", method: del, who: administrator, scope: unasked, do: (*call).deleteTopicPermission, gives: http.StatusNoContent,
		about: "Takes a user's topic permission for one exchange away"},
}

type permissionBody struct {
	Configure string `json:"configure" needed:"true"`
	Write     string `json:"write" needed:"true"`
	Read      string `json:"read" needed:"true"`
}

type topicPermissionBody struct {
	Exchange string `json:"exchange" needed:"true"`
	Write    string `json:"write" needed:"true"`
	Read     string `json:"read" needed:"true"`
}

func permissionObject(p access.Permission) object {
	return object{{"user", p.User}, {"vhost", p.VHost}, {"configure", p.Configure}, {"write", p.Write}, {"read", p.Read}}
}

func topicPermissionObject(p access.TopicPermission) object {
	return object{{"user", p.User}, {"vhost", p.VHost}, {"exchange", p.Exchange}, {"write", p.Write}, {"read", p.Read}}
}

// permissions answers with the permissions for which which is true.
func (c *call) permissions(which func(vhost, user string) bool) error {
	out := []object{}
	for _, p := range c.s.opts.Access.Permissions() {
		if which(p.VHost, p.User) {
			out = append(out, permissionObject(p))
		}
	}
	return c.list(out)
}

// topicPermissions are those for which which is true.
func (c *call) topicPermissions(which func(vhost, user string) bool) []object {
	out := []object{}
	for _, p := range c.s.opts.Access.TopicPermissions() {
		if which(p.VHost, p.User) {
			out = append(out, topicPermissionObject(p))
		}
	}
	return out
}

func everyOne(string, string) bool { return true }

func (c *call) listPermissions() error      { return c.permissions(everyOne) }
func (c *call) listTopicPermissions() error { return c.list(c.topicPermissions(everyOne)) }

func (c *call) listVHostPermissions() error {
	return c.permissions(func(vhost, _ string) bool { return vhost == c.vhost.Name })
}

func (c *call) listVHostTopicPermissions() error {
	return c.list(c.topicPermissions(func(vhost, _ string) bool { return vhost == c.vhost.Name }))
}

func (c *call) listUserPermissions() error {
	if _, err := c.s.opts.Access.User(c.arg("user")); err != nil {
		return missing()
	}
	return c.permissions(func(_, user string) bool { return user == c.arg("user") })
}

func (c *call) listUserTopicPermissions() error {
	if _, err := c.s.opts.Access.User(c.arg("user")); err != nil {
		return missing()
	}
	return c.list(c.topicPermissions(func(_, user string) bool { return user == c.arg("user") }))
}

func (c *call) getPermission() error {
	p, ok := c.s.opts.Access.Permission(c.arg("vhost"), c.arg("user"))
	if !ok || !c.bothThere() {
		return missing()
	}
	return c.one(permissionObject(p))
}

// bothThere says whether the virtual host and the user of the path are there.
func (c *call) bothThere() bool {
	_, noVHost := c.s.opts.Broker.VHost(c.arg("vhost"))
	_, noUser := c.s.opts.Access.User(c.arg("user"))
	return noVHost == nil && noUser == nil
}

// errNoOne is what one hears who would give a permission for what is not there.
func errNoOne() error { return badRequest("vhost_or_user_not_found") }

func (c *call) putPermission() error {
	if !c.bothThere() {
		return errNoOne()
	}
	var b permissionBody
	if err := c.body(&b); err != nil {
		return err
	}
	p := access.Permission{VHost: c.arg("vhost"), User: c.arg("user"), Configure: b.Configure, Write: b.Write, Read: b.Read}
	created := false
	err := c.s.opts.Access.Change(c.actor(), func(d *access.Draft) error {
		_, had := d.Permission(p.VHost, p.User)
		created = !had
		return d.SetPermission(p)
	})
	if err != nil {
		return err
	}
	return c.put(created)
}

func (c *call) deletePermission() error {
	err := c.s.opts.Access.Change(c.actor(), func(d *access.Draft) error {
		if _, had := d.Permission(c.arg("vhost"), c.arg("user")); !had {
			return missing()
		}
		return d.ClearPermission(c.arg("vhost"), c.arg("user"))
	})
	if err != nil {
		return err
	}
	return c.none()
}

func (c *call) getTopicPermissions() error {
	list := c.topicPermissionsOf()
	if len(list) == 0 {
		return missing()
	}
	return c.list(list)
}

func (c *call) getTopicPermission() error {
	list := slices.DeleteFunc(c.topicPermissionsOf(), func(o object) bool { return lookup(o, []string{"exchange"}) != c.arg("exchange") })
	if len(list) == 0 {
		return missing()
	}
	return c.list(list)
}

// topicPermissionsOf are those of the user in the virtual host of the path.
func (c *call) topicPermissionsOf() []object {
	return c.topicPermissions(func(vhost, user string) bool { return vhost == c.arg("vhost") && user == c.arg("user") })
}

func (c *call) putTopicPermission() error {
	if !c.bothThere() {
		return errNoOne()
	}
	var b topicPermissionBody
	if err := c.body(&b); err != nil {
		return err
	}
	created := len(c.topicPermissionsOf()) == 0 // as RabbitMQ counts
	p := access.TopicPermission{VHost: c.arg("vhost"), User: c.arg("user"), Exchange: b.Exchange, Write: b.Write, Read: b.Read}
	if err := c.s.opts.Access.SetTopicPermission(c.actor(), p); err != nil {
		return err
	}
	return c.put(created)
}

func (c *call) deleteTopicPermissions() error {
	if len(c.topicPermissionsOf()) == 0 {
		return missing()
	}
	if err := c.s.opts.Access.ClearTopicPermissions(c.actor(), c.arg("vhost"), c.arg("user")); err != nil {
		return err
	}
	return c.none()
}

func (c *call) deleteTopicPermission() error {
	exchange, there := c.arg("exchange"), false
	for _, o := range c.topicPermissionsOf() {
		name, _ := o.get("exchange")
		there = there || name == exchange
	}
	if !there {
		return missing()
	}
	if err := c.s.opts.Access.ClearTopicPermission(c.actor(), c.arg("vhost"), c.arg("user"), exchange); err != nil {
		return err
	}
	return c.none()
}
