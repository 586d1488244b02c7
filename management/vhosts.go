package management

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/broker"
)

// vhostRows are about virtual hosts.
var vhostRows = []row{
	{path: "vhosts", method: get, who: management, do: (*call).listVHosts, about: "All virtual hosts that the user may see"},
	{path: "vhosts/{vhost}", method: get, who: management, scope: seen, do: (*call).getVHost, about: "A virtual host"},
	{path: "vhosts/{vhost}", method: put, who: administrator, scope: unasked, do: (*call).putVHost, body: vhostBody{},
		about: "Makes a virtual host, in which its maker may do everything, or says other things of one"},
	{path: "vhosts/{vhost}", method: del, who: administrator, scope: unasked, do: (*call).deleteVHost, gives: http.StatusNoContent, also: []int{http.StatusPreconditionFailed},
		about: "Deletes a virtual host with all that is in it; its clients are told to go"},
	{path: "vhosts/{vhost}/permissions", method: get, who: administrator, scope: seen, do: (*call).listVHostPermissions,
		about: "The permissions of all users in a virtual host"},
	{path: "vhosts/{vhost}/topic-permissions", method: get, who: administrator, scope: seen, do: (*call).listVHostTopicPermissions,
		about: "The topic permissions of all users in a virtual host"},
	{path: "vhosts/{vhost}/start/{node}", method: post, who: administrator, scope: seen, do: (*call).startVHost, gives: http.StatusNoContent,
		about: "Starts a virtual host on a node, on which every one runs"},
	{path: "vhosts/{vhost}/deletion/protection", method: post, who: administrator, scope: seen, do: (*call).protectVHost, gives: http.StatusNoContent,
		about: "Keeps a virtual host from being deleted"},
	{path: "vhosts/{vhost}/deletion/protection", method: del, who: administrator, scope: seen, do: (*call).freeVHost, gives: http.StatusNoContent,
		about: "Lets a virtual host be deleted again"},
}

// vhostBody is what is said of a virtual host. The type of queue and the protection stay as they are where it says nothing of them.
type vhostBody struct {
	Description      string          `json:"description"`
	Tags             json.RawMessage `json:"tags" schema:"tags"`
	DefaultQueueType *string         `json:"default_queue_type"`
	Tracing          bool            `json:"tracing"`
	Protected        *bool           `json:"protected_from_deletion"`
}

func (c *call) listVHosts() error {
	list := c.vhosts(true)
	out := make([]object, 0, len(list))
	for _, v := range list {
		out = append(out, c.vhostObject(v))
	}
	return c.list(out)
}

func (c *call) getVHost() error { return c.one(c.vhostObject(c.vhost)) }

// defaultQueueType is what a queue becomes of which nobody says its type.
const defaultQueueType = "classic"

// vhostObject is a virtual host as it is shown.
func (c *call) vhostObject(v *broker.VHost) object {
	m := v.Meta()
	kind := cmp.Or(m.DefaultQueueType, defaultQueueType)
	metadata := object{{"description", m.Description}, {"tags", tagList(m.Tags)}, {"default_queue_type", kind}}
	o := object{
		{"name", v.Name}, {"description", m.Description}, {"tags", tagList(m.Tags)}, {"default_queue_type", kind}, {"metadata", metadata},
		{"tracing", false}, {"protected_from_deletion", m.Protected}, {"cluster_state", object{{c.s.opts.Node, "running"}}},
	}
	return append(o, c.vhostFigures(v)...)
}

func (c *call) putVHost() error {
	var b vhostBody
	if err := c.body(&b); err != nil {
		return err
	}
	tags, err := readTags(b.Tags)
	if err != nil {
		return err
	}
	name := c.arg("vhost")
	if b.Tracing {
		c.log.Warn("'tracing' of a virtual host has no effect: there is no firehose here", "vhost", name)
	}
	created, err := c.s.opts.Broker.AlterVHost(c.actor(), name, func(was broker.VHostMeta, _ bool) (broker.VHostMeta, error) {
		m := broker.VHostMeta{Description: b.Description, Tags: tags, DefaultQueueType: was.DefaultQueueType, Protected: was.Protected}
		if b.DefaultQueueType != nil {
			m.DefaultQueueType = *b.DefaultQueueType
		}
		if b.Protected != nil {
			m.Protected = *b.Protected
		}
		return m, nil
	})
	if err != nil {
		return err
	}
	if created {
		all := access.Permission{VHost: name, User: c.user.Name, Configure: ".*", Write: ".*", Read: ".*"}
		if err := c.s.opts.Access.SetPermission(c.actor(), all); err != nil {
			return err
		}
	}
	return c.put(created)
}

// readTags reads tags: a list of them, or a text with commas.
func readTags(text json.RawMessage) ([]string, error) {
	var list []string
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	if text[0] != '"' {
		if json.Unmarshal(text, &list) != nil {
			return nil, badRequest("'tags' must be a list of strings or a string with commas, it is %s", short(text))
		}
		return list, nil
	}
	var line string
	if err := json.Unmarshal(text, &line); err != nil {
		return nil, badRequest("'tags' can't be read: %v", err)
	}
	for tag := range strings.SplitSeq(line, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			list = append(list, tag)
		}
	}
	return list, nil
}

func (c *call) deleteVHost() error {
	v, err := c.s.opts.Broker.VHost(c.arg("vhost"))
	if err != nil {
		return missing()
	}
	err = c.s.opts.Broker.DeleteVHost(c.actor(), v.Name)
	switch {
	case broker.KindOf(err) == broker.NotFound: // somebody was quicker
		return missing()
	case broker.KindOf(err) == broker.Precondition:
		return &failure{status: http.StatusPreconditionFailed, err: "precondition_failed", reason: err.Error()}
	case err != nil:
		return err
	}
	return c.none()
}

func (c *call) protectVHost() error { return c.setProtection(true) }
func (c *call) freeVHost() error    { return c.setProtection(false) }

func (c *call) setProtection(on bool) error {
	_, err := c.s.opts.Broker.AlterVHost(c.actor(), c.vhost.Name, func(was broker.VHostMeta, there bool) (broker.VHostMeta, error) {
		if !there {
			return was, missing()
		}
		was.Protected = on
		return was, nil
	})
	if err != nil {
		return err
	}
	return c.none()
}

func (c *call) startVHost() error {
	if c.arg("node") != c.s.opts.Node {
		return missing()
	}
	return c.none()
}

// vhostFigures are what is in a virtual host, all queues together.
func (c *call) vhostFigures(v *broker.VHost) object {
	t, key := c.totalsOf([]*broker.VHost{v}), rateKey{vhost: v.Name}
	return append(c.queueTotals(key, t), pair{"message_stats", c.messageStats(key, t.flow)})
}
