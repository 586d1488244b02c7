package management

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/auth"
)

// userRows are about users.
var userRows = []row{
	{path: "users", method: get, who: administrator, paged: true, do: (*call).listUsers, about: "All users"},
	{path: "users/without-permissions", method: get, who: administrator, paged: true, do: (*call).listUsersWithout, about: "The users who may enter no virtual host"},
	{path: "users/bulk-delete", method: post, who: administrator, do: (*call).deleteUsers, body: usersBody{}, gives: http.StatusNoContent,
		about: "Deletes several users, of whom those are left out who are not there"},
	{path: "users/{user}", method: get, who: administrator, do: (*call).getUser, about: "A user"},
	{path: "users/{user}", method: put, who: administrator, do: (*call).putUser, body: userBody{},
		about: "Makes a user, or gives one another password and other tags"},
	{path: "users/{user}", method: del, who: administrator, do: (*call).deleteUser, gives: http.StatusNoContent,
		about: "Deletes a user with all permissions; the user's connections are closed"},
	{path: "users/{user}/permissions", method: get, who: administrator, do: (*call).listUserPermissions, about: "The permissions of a user in all virtual hosts"},
	{path: "users/{user}/topic-permissions", method: get, who: administrator, do: (*call).listUserTopicPermissions,
		about: "The topic permissions of a user in all virtual hosts"},
	{path: "auth/hash_password/{password}", method: get, who: management, do: (*call).hashPassword, about: "The hash of a password, as PUT users takes it"},
}

// userBody is what is said of a user. At most one of password and password_hash stands in it; with neither nobody can log in by
// password.
type userBody struct {
	Tags          json.RawMessage `json:"tags" schema:"tags"`
	Administrator *bool           `json:"administrator"` // what there was before tags
	Password      *string         `json:"password"`
	Hash          *string         `json:"password_hash"`
	Algorithm     string          `json:"hashing_algorithm"`
}

type usersBody struct {
	Users []string `json:"users" needed:"true"`
}

// tagProtected is RabbitMQ's for who is not changed over HTTP.
const tagProtected = "protected"

func (c *call) listUsers() error { return c.list(userObjects(c.s.opts.Access.Users())) }

func (c *call) listUsersWithout() error {
	may := map[string]bool{}
	for _, p := range c.s.opts.Access.Permissions() {
		may[p.User] = true
	}
	return c.list(userObjects(slices.DeleteFunc(c.s.opts.Access.Users(), func(u access.User) bool { return may[u.Name] })))
}

func userObjects(list []access.User) []object {
	out := make([]object, len(list))
	for i := range list {
		out[i] = userObject(&list[i])
	}
	return out
}

// userObject is a user as administrators see one.
func userObject(u *access.User) object {
	algorithm, hash := u.Hash.Export()
	if u.Hash == "" {
		algorithm = auth.RabbitSHA256
	}
	return object{{"name", u.Name}, {"password_hash", hash}, {"hashing_algorithm", algorithm}, {"tags", tagList(u.Tags)}, {"limits", limitsObject(u.Limits)}}
}

func (c *call) getUser() error {
	u, err := c.s.opts.Access.User(c.arg("user"))
	if err != nil {
		return missing()
	}
	return c.one(userObject(&u))
}

func (c *call) putUser() error {
	var b userBody
	if err := c.body(&b); err != nil {
		return err
	}
	u := access.NewUser{Name: c.arg("user"), Password: b.Password, Algorithm: b.Algorithm}
	var err error
	switch {
	case len(b.Tags) > 0 && string(b.Tags) != "null":
		if u.Tags, err = readTags(b.Tags); err != nil {
			return err
		}
	case b.Administrator == nil:
		return badRequest("tags_not_present: 'tags' must be there, and may be \"\"")
	case *b.Administrator:
		u.Tags = []string{access.TagAdministrator}
	}
	switch {
	case b.Hash != nil && b.Password != nil:
		return badRequest("both_password_and_password_hash_are_provided")
	case b.Hash != nil:
		u.Hash = *b.Hash
	}
	created := false
	err = c.s.opts.Access.Change(c.actor(), func(d *access.Draft) error {
		have, err := d.User(u.Name)
		if created = err != nil; !created {
			if err := mayChange(&have); err != nil {
				return err
			}
		}
		return d.PutUser(u)
	})
	if err != nil {
		return err
	}
	return c.put(created)
}

// mayChange refuses to change who is protected from that.
func mayChange(u *access.User) error {
	if slices.Contains(u.Tags, tagProtected) {
		return notAuthorised("User '%s' is protected: it has the tag %s and can't be changed or deleted over HTTP", u.Name, tagProtected)
	}
	return nil
}

func (c *call) deleteUser() error {
	if err := c.dropUsers(true, c.arg("user")); err != nil {
		return err
	}
	return c.none()
}

func (c *call) deleteUsers() error {
	var b usersBody
	if err := c.body(&b); err != nil {
		return err
	}
	if err := c.dropUsers(false, b.Users...); err != nil {
		return err
	}
	return c.none()
}

// dropUsers deletes users, all of them or none. Who is not there is left out, or missing.
func (c *call) dropUsers(all bool, names ...string) error {
	return c.s.opts.Access.Change(c.actor(), func(d *access.Draft) error {
		for _, name := range names {
			u, err := d.User(name)
			switch {
			case err != nil && all:
				return missing()
			case err != nil:
				continue
			}
			if err := mayChange(&u); err != nil {
				return err
			}
			if err := d.DeleteUser(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// hashPath is what stands before a password in a path.
const hashPath = base + "/auth/hash_password/"

// shownPath is the path of the request for the log, in which no password may stand.
func (c *call) shownPath() string {
	if strings.HasPrefix(c.r.URL.Path, hashPath) {
		return hashPath + "…"
	}
	return c.r.URL.Path
}

func (c *call) hashPassword() error {
	return c.json(object{{"ok", auth.MakeRabbitHash([]byte(c.arg("password")))}})
}
