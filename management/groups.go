package management

import (
	"cmp"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/broker"
)

// groupRows are about Kafka's consumer groups, of which RabbitMQ's API knows nothing.
var groupRows = []row{
	{path: "groups", method: get, who: management, paged: true, do: (*call).allGroups, about: "The consumer groups of the virtual hosts that the user may enter, with how far they are"},
	{path: "groups/{vhost}", method: get, who: management, paged: true, do: (*call).groupsOf, about: "Those of one virtual host"},
	{path: "groups/{vhost}/{name}", method: get, who: management, do: (*call).oneGroup, about: "One consumer group"},
	{path: "groups/{vhost}/{name}/reset", method: post, who: management, do: (*call).resetGroup, body: resetBody{}, gives: http.StatusNoContent,
		about: "Has a consumer group that has no members go on elsewhere in a topic"},
	{path: "groups/{vhost}/{name}", method: del, who: management, do: (*call).deleteGroup, about: "Deletes a consumer group that has no members, with what it has committed"},
}

func (c *call) allGroups() error { return c.listGroups(c.vhosts(false)) }
func (c *call) groupsOf() error  { return c.listGroups([]*broker.VHost{c.vhost}) }

// groupsIn are the groups of virtual hosts, by name.
func (c *call) groupsIn(vhosts []*broker.VHost) []broker.GroupStats {
	list := slices.DeleteFunc(c.s.opts.Groups(), func(g broker.GroupStats) bool {
		return !slices.ContainsFunc(vhosts, func(v *broker.VHost) bool { return v.Name == g.VHost })
	})
	slices.SortFunc(list, func(a, b broker.GroupStats) int {
		return cmp.Or(cmp.Compare(a.VHost, b.VHost), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// groupFigures is what a group takes while a list is made, in bytes.
const groupFigures = 1 << 10

func (c *call) listGroups(vhosts []*broker.VHost) error {
	list := c.groupsIn(vhosts)
	if err := c.take(int64(len(list)) * groupFigures); err != nil {
		return err
	}
	return c.listOf(groupList(list))
}

// groupList is a listing of groups.
type groupList []broker.GroupStats

func (l groupList) length() int                    { return len(l) }
func (l groupList) name(i int) string              { return l[i].Name }
func (l groupList) value(i int, path []string) any { return lookup(groupObject(&l[i]), path) }
func (l groupList) object(i int, _ *wanted) object { return groupObject(&l[i]) }

// groupObject is a group in lists.
func groupObject(g *broker.GroupStats) object {
	lag, topics, oldest := int64(0), []string{}, broker.Age{}
	for _, p := range g.Positions {
		lag += p.Lag
		if p.Lag > 0 && p.Age.Known && p.Age.Ms >= oldest.Ms {
			oldest = p.Age
		}
		if n := len(topics); n == 0 || topics[n-1] != p.Topic {
			topics = append(topics, p.Topic)
		}
	}
	state := "empty"
	if g.Members > 0 {
		state = "active"
	}
	return object{{"name", g.Name}, {"vhost", g.VHost}, {"state", state}, {"members", g.Members}, {"topics", topics}, {"partitions", len(g.Positions)}, {"lag", lag}, {"oldest_message_age", ageOrNone(oldest)}}
}

// ageOrNone is an age in milliseconds, or null for none.
func ageOrNone(a broker.Age) any {
	if !a.Known {
		return nil
	}
	return a.Ms
}

func (c *call) oneGroup() error {
	for _, g := range c.groupsIn([]*broker.VHost{c.vhost}) {
		if g.Name != c.arg("name") {
			continue
		}
		list := make([]object, len(g.Positions))
		for i, p := range g.Positions {
			list[i] = object{{"topic", p.Topic}, {"partition", int64(p.Partition)}, {"offset", p.Offset}, {"lag", p.Lag}, {"oldest_message_age", ageOrNone(p.Age)}}
		}
		return c.one(append(groupObject(&g), pair{"offsets", list}))
	}
	return missing()
}

func (c *call) deleteGroup() error {
	s, err := c.session()
	if err != nil {
		return err
	}
	if err := c.s.opts.DeleteGroup(s, c.arg("name")); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// resetBody is where a group is to go on.
type resetBody struct {
	Topic     string          `json:"topic" needed:"true"`
	To        json.RawMessage `json:"to"`
	Offset    *int64          `json:"offset"`
	Partition *int64          `json:"partition"`
}

func (c *call) resetGroup() error {
	var b resetBody
	if err := c.body(&b); err != nil {
		return err
	}
	r := broker.GroupReset{Group: c.arg("name"), Topic: b.Topic, Partition: -1}
	to := strings.Trim(string(b.To), `"`)
	var err error
	switch {
	case (b.Offset == nil) == (to == "" || to == "null"):
		return badRequest("either 'to' says where to go on (first, last, or a time), or 'offset'")
	case b.Offset != nil && *b.Offset < 0, b.Partition != nil && (*b.Partition < 0 || *b.Partition > math.MaxInt32):
		return badRequest("'offset' and 'partition' must not be negative nor very large")
	case b.Offset != nil:
		r.To, r.At = broker.ResetToOffset, *b.Offset
	case to == "first":
		r.To = broker.ResetToFirst
	case to == "last":
		r.To = broker.ResetToLast
	default:
		r.To = broker.ResetToTime
		if r.At, err = readTime("to", to); err != nil {
			return err
		}
	}
	if b.Partition != nil {
		r.Partition = int(*b.Partition)
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	if err := c.s.opts.ResetGroup(s, r); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
