package xmpp

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// Bounds of a roster. Anybody can ask a user to be shown its presence, so those who only have asked are few.
const (
	maxContacts     = 1000
	maxAskers       = 100
	maxRosterBytes  = 256 << 10
	maxContactName  = 1023
	maxGroups       = 64
	maxRostersBytes = 16 << 20 // of the rosters that are kept ready
	// smallGrowth is what a full roster takes still: the state of a contact that is there.
	smallGrowth = 64
)

// contact is one address in an account's roster (RFC 6121 section 2), as it is kept. The zero value is none.
type contact struct {
	Name     string   `json:"name,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	Listed   bool     `json:"listed,omitempty"`   // it is in the list that the account sees; else it only has asked
	To       bool     `json:"to,omitempty"`       // the account is shown the contact's presence
	From     bool     `json:"from,omitempty"`     // the contact is shown the account's
	Ask      bool     `json:"ask,omitempty"`      // the account has asked for it
	Asked    bool     `json:"asked,omitempty"`    // the contact has
	Approved bool     `json:"approved,omitempty"` // the account will say yes when the contact asks
}

func (c *contact) none() bool { return !c.Listed && !c.Asked }

// subscription is the attribute of that name.
func (c *contact) subscription() string {
	switch {
	case c.To && c.From:
		return "both"
	case c.To:
		return "to"
	case c.From:
		return "from"
	}
	return "none"
}

// item is the contact as its account sees it.
func (c *contact) item(jid string) *stanza.Element {
	if !c.Listed {
		return stanza.New(nsRoster, "item", "jid", jid, "subscription", "remove")
	}
	e := stanza.New(nsRoster, "item", "jid", jid)
	if c.Name != "" {
		e.Set("name", c.Name)
	}
	e.Set("subscription", c.subscription())
	if c.Ask {
		e.Set("ask", "subscribe")
	}
	if c.Approved {
		e.Set("approved", "true")
	}
	for _, g := range c.Groups {
		e.Add(stanza.New(nsRoster, "group").AddText(g))
	}
	return e
}

// roster is what is known of an account's contacts. It is not changed: a change makes another one.
type roster struct {
	contacts map[string]contact // by bare address
	bytes    int                // as it is kept
	askers   int                // contacts that are not listed
}

// order is the addresses of those that are listed, in order.
func (r *roster) order() []string {
	list := make([]string, 0, len(r.contacts))
	for jid, c := range r.contacts {
		if c.Listed {
			list = append(list, jid)
		}
	}
	slices.Sort(list)
	return list
}

// version is the same for the same list.
func (r *roster) version() string {
	h := sha256.New()
	for _, jid := range r.order() {
		c := r.contacts[jid]
		c.Asked = false // which the list does not show
		b, _ := json.Marshal(c)
		_, _ = h.Write(append(append([]byte(jid), 0), append(b, 0)...))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}

// rosters are those of all accounts. They are kept with the virtual host that the account's domain stands for: one
// attachment a contact.
//
//	change: what is there ─► edit ─► checked ─► one write ─► pushes, presence
type rosters struct {
	changing sync.Mutex // one change at a time; held while the disk is waited for

	mu    sync.Mutex // guards the rest
	ready map[rosterKey]*roster
	bytes int // of these
}

// rosterKey is whose roster it is.
type rosterKey struct {
	v       *broker.VHost
	account string // bare address
}

// of is the roster of an account.
func (r *rosters) of(v *broker.VHost, account string) *roster {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := rosterKey{v, account}
	if have := r.ready[key]; have != nil {
		return have
	}
	list := &roster{contacts: map[string]contact{}}
	for jid, value := range v.Attached(rosterOf(account)) {
		var c contact
		if json.Unmarshal(value, &c) == nil && !c.none() { // what is there was written by put
			list.contacts[jid] = c
			list.bytes += len(jid) + len(value)
			if !c.Listed {
				list.askers++
			}
		}
	}
	if r.bytes += list.bytes + 64; r.ready == nil || r.bytes > maxRostersBytes {
		r.ready, r.bytes = map[rosterKey]*roster{}, list.bytes+64
	}
	r.ready[key] = list
	return list
}

// forget has rosters be read anew.
func (r *rosters) forget(which func(rosterKey) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.ready, func(key rosterKey, _ *roster) bool { return which(key) })
}

// rosterPrefix begins the names under which rosters are attached to a virtual host.
const rosterPrefix = "roster "

func rosterOf(account string) string { return rosterPrefix + account }

// draft is a change of contacts under way: rosters.changing is held.
type draft struct {
	r       *rosters
	d       *domain
	v       *broker.VHost
	changed map[draftKey]contact
	order   []draftKey
}

type draftKey struct{ account, jid string }

// contact is one of an account's as it is by now.
func (t *draft) contact(account, jid string) contact {
	if c, ok := t.changed[draftKey{account, jid}]; ok {
		return c
	}
	return t.r.of(t.v, account).contacts[jid]
}

// put has it be another; one that is none goes.
func (t *draft) put(account, jid string, c contact) {
	key := draftKey{account, jid}
	if _, ok := t.changed[key]; !ok {
		t.order = append(t.order, key)
	}
	t.changed[key] = c
}

var (
	errTooManyContacts = stanza.Fail("resource-constraint", "a contact list has room for 1000 contacts, 100 who have only asked, and 256 KiB")
	errNoRoom          = stanza.Fail("resource-constraint", "too many ask that user")
)

// check holds the bounds of rosters, and lists what is to be written.
func (t *draft) check() (list []broker.Attachment, err error) {
	type sums struct{ count, askers, bytes int }
	of := map[string]*sums{}
	for _, key := range t.order {
		was, is := t.r.of(t.v, key.account).contacts[key.jid], t.changed[key]
		if reflect.DeepEqual(was, is) || was.none() && is.none() {
			continue
		}
		a := broker.Attachment{ToVHost: true, Of: rosterOf(key.account), Key: key.jid}
		if !is.none() {
			a.Value, _ = json.Marshal(is) // of a plain struct
		}
		list = append(list, a)
		s := of[key.account]
		if s == nil {
			have := t.r.of(t.v, key.account)
			s = &sums{len(have.contacts) - have.askers, have.askers, have.bytes}
			of[key.account] = s
		}
		listed, asks := is.Listed && !was.Listed, is.Asked && !is.Listed && was.none()
		if listed {
			s.count++
		}
		if asks {
			s.askers++
		}
		grown := len(a.Value)
		if !was.none() {
			old, _ := json.Marshal(was)
			grown -= len(old)
		} else {
			grown += len(key.jid)
		}
		if s.bytes += grown; s.count > maxContacts && listed || s.bytes > maxRosterBytes && grown > smallGrowth {
			return nil, errTooManyContacts
		}
		if s.askers > maxAskers && asks {
			return nil, errNoRoom
		}
	}
	return list, nil
}

// change carries out a change of contacts, and tells the clients whose list is another now.
func (d *domain) change(edit func(t *draft) error) error {
	v, err := d.vhostOf()
	if err != nil {
		return errUnserved
	}
	r := &d.s.rosters
	r.changing.Lock()
	defer r.changing.Unlock()
	t := &draft{r: r, d: d, v: v, changed: map[draftKey]contact{}}
	if err := edit(t); err != nil {
		return err
	}
	list, err := t.check()
	if err != nil || len(list) == 0 {
		return err
	}
	type seen struct {
		key  draftKey
		item contact
	}
	var push []seen
	for _, key := range t.order {
		if was, is := r.of(v, key.account).contacts[key.jid], t.changed[key]; was.Listed || is.Listed {
			push = append(push, seen{key, is})
		}
	}
	if err := v.Attach(list...); err != nil {
		return err
	}
	r.forget(func(key rosterKey) bool {
		return key.v == v && slices.ContainsFunc(t.order, func(k draftKey) bool { return k.account == key.account })
	})
	for _, p := range push { // in the order of the changes, as long as changing is held
		d.push(v, p.key.account, p.item.item(p.key.jid))
	}
	return nil
}

// push tells an account's clients who have asked for the list that an item is another.
func (d *domain) push(v *broker.VHost, account string, item *stanza.Element) {
	var version string
	jid, _ := stanza.ParseJID(account)
	for _, k := range d.s.registry.of(jid) {
		k.mu.Lock()
		wants := k.interested
		k.mu.Unlock()
		if !wants {
			continue
		}
		if version == "" {
			version = d.s.rosters.of(v, account).version()
		}
		k.Send(stanza.New(stanza.NSClient, "iq", "type", "set", "id", "push-"+randomResource(), "to", k.full).Add(
			stanza.New(nsRoster, "query", "ver", version).Add(item)))
	}
}

// roster serves the list of contacts (RFC 6121 section 2).
func (d *domain) roster(k *Client, e *stanza.Element, set bool, q *stanza.Element) error {
	if set {
		return d.setContact(k, e, q)
	}
	v, err := d.vhostOf()
	if err != nil {
		return errUnserved
	}
	k.mu.Lock()
	k.interested = true // before it is read: a change in between is pushed
	k.mu.Unlock()
	list := d.s.rosters.of(v, k.bare())
	version := list.version()
	if have, asks := q.Get("ver"); asks && have == version {
		k.Reply(e)
		return nil
	}
	answer := stanza.New(nsRoster, "query", "ver", version)
	for _, jid := range list.order() {
		c := list.contacts[jid]
		answer.Add(c.item(jid))
	}
	k.Reply(e, answer)
	return nil
}

func (k *Client) bare() string { return k.jid.Bare().String() }

// setContact adds, changes or removes one.
func (d *domain) setContact(k *Client, e, q *stanza.Element) error {
	items := q.Children()
	if len(items) != 1 || !items[0].Is(nsRoster, "item") {
		return stanza.Fail("bad-request", "one item at a time is set")
	}
	item := items[0]
	jid, err := stanza.ParseJID(item.Attr("jid"))
	switch {
	case err != nil || jid.Resource != "":
		return stanza.Fail("bad-request", "an item has the bare address of a contact")
	case jid == k.jid.Bare():
		return stanza.Fail("not-allowed", "nobody is a contact of their own")
	}
	if item.Attr("subscription") == "remove" {
		if err := d.removeContact(k, jid); err != nil {
			return err
		}
		k.Reply(e)
		return nil
	}
	name, groups, bad := textOf(item)
	if bad != nil {
		return bad
	}
	if err := d.change(func(t *draft) error {
		c := t.contact(k.bare(), jid.String())
		c.Listed, c.Name, c.Groups = true, name, groups
		t.put(k.bare(), jid.String(), c)
		return nil
	}); err != nil {
		return err
	}
	k.Reply(e)
	return nil
}

// textOf is what a client says of a contact.
func textOf(item *stanza.Element) (name string, groups []string, bad error) {
	name = item.Attr("name")
	if len(name) > maxContactName {
		return "", nil, stanza.Fail("not-acceptable", "the name of a contact has at most 1023 bytes")
	}
	for _, g := range item.Children() {
		if !g.Is(nsRoster, "group") {
			continue
		}
		text := g.Text()
		switch {
		case text == "" || len(text) > maxContactName:
			return "", nil, stanza.Fail("not-acceptable", "the name of a group has 1 to 1023 bytes")
		case slices.Contains(groups, text):
			return "", nil, stanza.Fail("bad-request", "a group stands twice in the item")
		case len(groups) == maxGroups:
			return "", nil, stanza.Fail("not-acceptable", "a contact is in at most 64 groups")
		}
		groups = append(groups, text)
	}
	return name, groups, nil
}
