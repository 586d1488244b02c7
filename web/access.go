package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// userRow is a user.
type userRow struct {
	Name   string
	Tags   []string
	Limits map[string]any
	Hash   string `json:"password_hash"`

	Rights []right `json:"-"`
}

// allLimits are the limits that users and virtual hosts can have.
var allLimits = []string{"max-connections", "max-channels", "max-queues", "max-consumers", "max-message-size", "producer_byte_rate", "consumer_byte_rate"}

// Settings are the user's limits.
func (u *userRow) Settings() []setting { return settingsOf(u.Limits) }

// right is what a user may do in a virtual host.
type right struct {
	User, VHost, Configure, Write, Read string
}

// vhostRow is a virtual host.
type vhostRow struct {
	Name, Description string
	Tags              []string
	Kind              string  `json:"default_queue_type"`
	Protected         bool    `json:"protected_from_deletion"`
	Ready             float64 `json:"messages_ready"`
	Unacked           float64 `json:"messages_unacknowledged"`

	Limits map[string]any `json:"-"`
}

// Settings are the limits of the virtual host.
func (h *vhostRow) Settings() []setting { return settingsOf(h.Limits) }

// usersData is what the page of users shows.
type usersData struct {
	*listing
	List   *paged[userRow]
	Hosts  []vhostRow
	Admin  bool
	Choice []string // tags
	Limits []string
}

var allTags = []string{"management", "policymaker", "monitoring", "administrator"}

func (v *visit) users() (string, any, error) {
	l, err := v.look("/users", "name")
	if err != nil {
		return "", nil, err
	}
	d := &usersData{listing: l, Admin: v.has("administrator"), Choice: allTags, Limits: allLimits, List: &paged[userRow]{}}
	l.VHost = ""
	if d.Admin {
		if d.List, err = pagedList[userRow](v, l, "users"); err != nil {
			return "", nil, err
		}
		if err := v.rightsOf(d.List.Items); err != nil {
			return "", nil, err
		}
	}
	if err := v.get(&d.Hosts, "vhosts", "columns", "name,description,tags,default_queue_type,protected_from_deletion,messages_ready,messages_unacknowledged"); err != nil {
		return "", nil, err
	}
	var limits []struct {
		VHost string
		Value map[string]any
	}
	if err := v.get(&limits, "vhost-limits"); err != nil {
		return "", nil, err
	}
	for _, l := range limits {
		if i := slices.IndexFunc(d.Hosts, func(h vhostRow) bool { return h.Name == l.VHost }); i >= 0 {
			d.Hosts[i].Limits = l.Value
		}
	}
	return "Users", d, nil
}

// rightsOf adds what users may do.
func (v *visit) rightsOf(users []userRow) error {
	for i := range users {
		if err := v.get(&users[i].Rights, api("users", users[i].Name, "permissions")); err != nil && statusOf(err) != http.StatusNotFound { // one that was deleted since
			return err
		}
	}
	return nil
}

// userData is what the page of a user shows.
type userData struct {
	userRow
	Topics []struct{ VHost, Exchange, Write, Read string } `json:"-"`
	VHosts []string                                        `json:"-"`
	Choice []string                                        `json:"-"`
	All    []string                                        `json:"-"` // limits
	Self   bool                                            `json:"-"`
}

func (v *visit) user() (string, any, error) {
	name := v.r.URL.Query().Get("name")
	d := &userData{Choice: allTags, All: allLimits, Self: name == v.name}
	if err := v.get(d, api("users", name)); err != nil {
		return "", nil, err
	}
	list := []userRow{d.userRow}
	if err := v.rightsOf(list); err != nil {
		return "", nil, err
	}
	d.userRow = list[0]
	if err := v.get(&d.Topics, api("users", name, "topic-permissions")); err != nil {
		return "", nil, err
	}
	var err error
	d.VHosts, err = v.vhosts()
	return d.Name, d, err
}

func userPlace(name string) string { return query("/user", "name", name) }

// putUser makes a user, or changes one.
func (v *visit) putUser() (string, string, error) {
	name := v.r.PostFormValue("user")
	if name == "" {
		return "", "", wrong("a user needs a name")
	}
	body := map[string]any{"tags": strings.Join(v.r.PostForm["tags"], ",")}
	password := v.r.PostFormValue("password")
	switch {
	case password != v.r.PostFormValue("again"):
		return "", "", wrong("the password was not typed the same twice")
	case password != "":
		body["password"] = password
	case v.form("keep") == "": // nobody can sign in with it: say so, rather than make it by accident
		return "", "", wrong("a user needs a password")
	default:
		var was userRow
		if err := v.get(&was, api("users", name)); err != nil {
			return "", "", err
		}
		body["password_hash"] = was.Hash
	}
	if err := v.act(http.MethodPut, api("users", name), body, nil); err != nil {
		return "", "", err
	}
	return userPlace(name), fmt.Sprintf("The user %s is as you said.", name), nil
}

func (v *visit) deleteUser() (string, string, error) {
	name := v.r.URL.Query().Get("name")
	if v.r.PostFormValue("confirm") != name {
		return "", "", wrong("type the user's name into the field to delete it")
	}
	if err := v.act(http.MethodDelete, api("users", name), nil, nil); err != nil {
		return "", "", err
	}
	return "/users", fmt.Sprintf("The user %s is deleted, and its connections are closed.", name), nil
}

// putRight lets a user into a virtual host.
func (v *visit) putRight() (string, string, error) {
	name, vhost := v.r.URL.Query().Get("name"), v.r.PostFormValue("vhost")
	body := map[string]string{"configure": v.r.PostFormValue("configure"), "write": v.r.PostFormValue("write"), "read": v.r.PostFormValue("read")}
	if err := v.act(http.MethodPut, api("permissions", vhost, name), body, nil); err != nil {
		return "", "", err
	}
	return userPlace(name), fmt.Sprintf("What %s may do in %s holds from now on, for connections that are open, too.", name, vhost), nil
}

func (v *visit) dropRight() (string, string, error) {
	name, vhost := v.r.URL.Query().Get("name"), v.r.PostFormValue("vhost")
	if err := v.act(http.MethodDelete, api("permissions", vhost, name), nil, nil); err != nil {
		return "", "", err
	}
	return userPlace(name), fmt.Sprintf("%s may not enter %s any more.", name, vhost), nil
}

// putTopicRight bounds the routing keys that a user publishes with to a topic exchange, and binds with.
func (v *visit) putTopicRight() (string, string, error) {
	name, exchange := v.r.URL.Query().Get("name"), v.r.PostFormValue("exchange")
	body := map[string]string{"exchange": exchange, "write": v.r.PostFormValue("write"), "read": v.r.PostFormValue("read")}
	if err := v.act(http.MethodPut, api("topic-permissions", v.r.PostFormValue("vhost"), name), body, nil); err != nil {
		return "", "", err
	}
	return userPlace(name), fmt.Sprintf("The routing keys of %s at %s are bounded from now on.", name, exchange), nil
}

func (v *visit) dropTopicRight() (string, string, error) {
	name, exchange := v.r.URL.Query().Get("name"), v.r.PostFormValue("exchange")
	if exchange == "" { // to the API this is all of them
		return "", "", wrong("the exchange is missing; one without a name bounds nothing")
	}
	if err := v.act(http.MethodDelete, api("topic-permissions", v.r.PostFormValue("vhost"), name, exchange), nil, nil); err != nil {
		return "", "", err
	}
	return userPlace(name), fmt.Sprintf("The routing keys of %s at %s are not bounded any more.", name, exchange), nil
}

func (v *visit) putUserLimit() (string, string, error) {
	name := v.r.URL.Query().Get("name")
	done, err := v.setLimit("user-limits", name)
	return userPlace(name), done, err
}

func (v *visit) putVHostLimit() (string, string, error) {
	done, err := v.setLimit("vhost-limits", v.r.PostFormValue("vhost"))
	return "/users", done, err
}

// setLimit sets a limit of a user or a virtual host, or takes it away where no number was typed.
func (v *visit) setLimit(kind, name string) (done string, err error) {
	limit, text := v.form("limit"), v.form("value")
	if text == "" {
		return fmt.Sprintf("%s has no limit %s any more.", name, limit), v.act(http.MethodDelete, api(kind, name, limit), nil, nil)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return "", wrong("a limit is a whole number, it is %q", text)
	}
	return fmt.Sprintf("The limit %s of %s is %d from now on.", limit, name, n), v.act(http.MethodPut, api(kind, name, limit), map[string]int64{"value": n}, nil)
}

// putVHost makes a virtual host.
func (v *visit) putVHost() (string, string, error) {
	name := v.r.PostFormValue("vhost")
	if name == "" {
		return "", "", wrong("a virtual host needs a name")
	}
	if err := v.act(http.MethodPut, api("vhosts", name), map[string]any{"description": v.form("description")}, nil); err != nil {
		return "", "", err
	}
	return "/users", fmt.Sprintf("The virtual host %s is there, and you may do everything in it.", name), nil
}

func (v *visit) deleteVHost() (string, string, error) {
	name := v.r.PostFormValue("vhost")
	if v.r.PostFormValue("confirm") != name {
		return "", "", wrong("type the virtual host's name into the field to delete it with all that is in it")
	}
	if err := v.act(http.MethodDelete, api("vhosts", name), nil, nil); err != nil {
		return "", "", err
	}
	return "/users", fmt.Sprintf("The virtual host %s is deleted with all that was in it.", name), nil
}

// policyRow is a policy.
type policyRow struct {
	Name, VHost, Pattern string
	To                   string `json:"apply-to"`
	Priority             int
	Definition           map[string]any

	Operator  bool `json:"-"`
	Queues    int  `json:"-"` // whose names match; -1 is not known
	Exchanges int  `json:"-"`
}

// Settings are what the policy sets.
func (p *policyRow) Settings() []setting { return settingsOf(p.Definition) }

// policiesData is what the page of policies shows.
type policiesData struct {
	List   []policyRow
	VHosts []string
	May    bool // write them
	Admin  bool
}

// maxPolicies is for how many policies it is counted what they match.
const maxPolicies = 50

func (v *visit) policies() (string, any, error) {
	d := &policiesData{May: v.has("policymaker"), Admin: v.has("administrator")}
	var operators []policyRow
	if err := v.get(&d.List, "policies"); err != nil {
		return "", nil, err
	}
	if err := v.get(&operators, "operator-policies"); err != nil {
		return "", nil, err
	}
	for _, o := range operators {
		o.Operator = true
		d.List = append(d.List, o)
	}
	slices.SortStableFunc(d.List, func(a, b policyRow) int {
		return slices.Compare([]string{a.VHost, fmt.Sprintf("%020d", 1<<40-a.Priority), a.Name}, []string{b.VHost, fmt.Sprintf("%020d", 1<<40-b.Priority), b.Name})
	})
	for i := range d.List {
		p := &d.List[i]
		p.Queues, p.Exchanges = -1, -1
		if i >= maxPolicies {
			continue
		}
		if p.To != "exchanges" {
			p.Queues = v.matched("queues", p)
		}
		if p.To == "all" || p.To == "exchanges" {
			p.Exchanges = v.matched("exchanges", p)
		}
	}
	var err error
	d.VHosts, err = v.vhosts()
	return "Policies", d, err
}

// matched is how many queues or exchanges have names that a policy's pattern takes; -1 where that can't be told.
func (v *visit) matched(what string, p *policyRow) int {
	var list paged[struct{}]
	if v.get(&list, api(what, p.VHost), "page", "1", "page_size", "1", "columns", "name", "use_regex", "true", "name", p.Pattern) != nil {
		return -1 // a virtual host that the user may not enter, or a pattern for which there is no search
	}
	return list.Filtered
}

// putPolicy makes a policy, or changes one.
func (v *visit) putPolicy() (string, string, error) {
	name, vhost, kind := v.r.PostFormValue("name"), v.r.PostFormValue("vhost"), "policies"
	if v.form("operator") == "on" {
		kind = "operator-policies"
	}
	if name == "" {
		return "", "", wrong("a policy needs a name")
	}
	definition, err := readSettings(v.r.PostFormValue("definition"))
	if err != nil {
		return "", "", err
	}
	var priority int
	if text := v.form("priority"); text != "" && json.Unmarshal([]byte(text), &priority) != nil {
		return "", "", wrong("the priority must be a whole number, it is %q", text)
	}
	body := map[string]any{"pattern": v.r.PostFormValue("pattern"), "apply-to": v.form("to"), "priority": priority, "definition": definition}
	if err := v.act(http.MethodPut, api(kind, vhost, name), body, nil); err != nil {
		return "", "", err
	}
	return "/policies", fmt.Sprintf("The policy %s holds.", name), nil
}

func (v *visit) deletePolicy() (string, string, error) {
	name, kind := v.r.PostFormValue("name"), "policies"
	if v.form("operator") == "on" {
		kind = "operator-policies"
	}
	if err := v.act(http.MethodDelete, api(kind, v.r.PostFormValue("vhost"), name), nil, nil); err != nil {
		return "", "", err
	}
	return "/policies", fmt.Sprintf("The policy %s holds no more.", name), nil
}
