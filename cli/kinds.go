package cli

import (
	"github.com/spf13/cobra"
)

// kind is something that can be listed, shown and deleted.
type kind struct {
	plural, singular string
	also             []string // other words for it
	// list is the path of all; where inVHost is said, of one virtual host: with its name behind, or as below.
	list    string
	inVHost bool
	below   string // "vhosts/V/<below>" instead of "<list>/V"
	// item is the path of one, from the virtual host and its name; without it there is nothing to show.
	item func(vhost, name string) string
	// named is what one is told apart by.
	named   string
	columns []column
	// hide leaves out of lists what nobody made, unless --all is given.
	hide func(map[string]any) bool
	// empty is what to do when there are none.
	empty string
	// unsorted says that the API sorts no such list.
	unsorted bool
	// deletes says what becomes of one; without it none can be deleted.
	deletes string
	done    string // what was done, when it was
	example string
}

// column is one of a table.
type column struct {
	field, title string
	show         cell
	right        bool
}

func text(field, title string) column   { return column{field, title, plain, false} }
func number(field, title string) column { return column{field, title, plain, true} }
func size(field, title string) column   { return column{field, title, bytesCell, true} }
func moment(field, title string) column { return column{field, title, timeCell, false} }

// inPath is the path of one in a virtual host.
func inPath(list string) func(vhost, name string) string {
	return func(vhost, name string) string { return at(list, vhost, name) }
}

// alone is the path of one that is in no virtual host.
func alone(list string) func(vhost, name string) string {
	return func(_, name string) string { return at(list, name) }
}

// kinds are all there are, in the order of help.
var kinds = []*kind{
	{
		plural: "queues", singular: "queue", also: []string{"q", "streams", "stream", "topics", "topic"}, list: "queues", inVHost: true, item: inPath("queues"), named: "name",
		columns: []column{text("name", "NAME"), text("vhost", "VHOST"), text("type", "TYPE"), number("messages_ready", "READY"), number("messages_unacknowledged", "UNACKED"),
			number("consumers", "CONSUMERS"), size("disk_bytes", "ON DISK"), text("policy", "POLICY")},
		empty: "leveret declare queue NAME makes one", deletes: "Deletes queues with all that is in them", done: "deleted", example: "jobs",
	},
	{
		plural: "exchanges", singular: "exchange", also: []string{"x"}, list: "exchanges", inVHost: true, item: func(vhost, name string) string { return at("exchanges", vhost, exchangeName(name)) }, named: "name",
		columns: []column{text("name", "NAME"), text("vhost", "VHOST"), text("type", "TYPE"), text("durable", "DURABLE"), text("internal", "INTERNAL"), text("policy", "POLICY"), text("arguments", "ARGUMENTS")},
		empty:   "leveret declare exchange NAME makes one", deletes: "Deletes exchanges with their bindings", done: "deleted", example: "logs",
	},
	{
		plural: "bindings", singular: "binding", list: "bindings", inVHost: true, named: "source",
		columns: []column{text("source", "FROM"), text("vhost", "VHOST"), text("destination", "TO"), text("destination_type", "KIND"), text("routing_key", "KEY"), text("arguments", "ARGUMENTS")},
		hide:    func(o map[string]any) bool { return plain(o["source"]) == "" },
		empty:   "leveret bind EXCHANGE QUEUE KEY makes one; --all shows those of the default exchange, too",
	},
	{
		plural: "users", singular: "user", list: "users", item: alone("users"), named: "name",
		columns: []column{text("name", "NAME"), text("tags", "TAGS"), text("limits", "LIMITS")},
		deletes: "Deletes users with their permissions", done: "deleted", example: "ann",
	},
	{
		plural: "permissions", singular: "permissions", also: []string{"permission"}, list: "permissions", inVHost: true, below: "permissions", item: inPath("permissions"), named: "user",
		columns: []column{text("user", "USER"), text("vhost", "VHOST"), text("configure", "CONFIGURE"), text("write", "WRITE"), text("read", "READ")},
		empty:   "leveret declare permissions USER gives some", deletes: "Takes the permissions of users in a virtual host away: they may not enter it then", done: "taken away", example: "ann",
	},
	{
		plural: "topic-permissions", singular: "topic-permissions", also: []string{"topic-permission"}, list: "topic-permissions", inVHost: true, below: "topic-permissions", item: inPath("topic-permissions"), named: "user",
		columns: []column{text("user", "USER"), text("vhost", "VHOST"), text("exchange", "EXCHANGE"), text("write", "WRITE"), text("read", "READ")},
		empty:   "leveret declare topic-permissions USER EXCHANGE gives some", deletes: "Takes the topic permissions of users in a virtual host away", done: "taken away", example: "ann",
	},
	{
		plural: "policies", singular: "policy", list: "policies", inVHost: true, item: inPath("policies"), named: "name",
		columns: []column{text("name", "NAME"), text("vhost", "VHOST"), text("pattern", "PATTERN"), text("apply-to", "APPLIES TO"), number("priority", "PRIORITY"), text("definition", "DEFINITION")},
		empty:   "leveret declare policy NAME PATTERN SETTING=VALUE makes one", deletes: "Deletes policies: what they changed is as before", done: "deleted", example: "short",
	},
	{
		plural: "operator-policies", singular: "operator-policy", list: "operator-policies", inVHost: true, item: inPath("operator-policies"), named: "name",
		columns: []column{text("name", "NAME"), text("vhost", "VHOST"), text("pattern", "PATTERN"), text("apply-to", "APPLIES TO"), number("priority", "PRIORITY"), text("definition", "DEFINITION")},
		empty:   "leveret declare operator-policy NAME PATTERN SETTING=VALUE makes one", deletes: "Deletes operators' policies", done: "deleted", example: "cap",
	},
	{
		plural: "vhosts", singular: "vhost", also: []string{"virtual-hosts", "virtual-host"}, list: "vhosts", item: alone("vhosts"), named: "name",
		columns: []column{text("name", "NAME"), text("description", "DESCRIPTION"), text("tags", "TAGS"), number("messages", "MESSAGES"), text("default_queue_type", "QUEUES ARE"), text("protected_from_deletion", "PROTECTED")},
		deletes: "Deletes virtual hosts with all that is in them", done: "deleted", example: "shop",
	},
	{
		plural: "connections", singular: "connection", list: "connections", inVHost: true, below: "connections", item: alone("connections"), named: "name",
		columns: []column{text("name", "NAME"), text("vhost", "VHOST"), text("user", "USER"), text("protocol", "PROTOCOL"), text("ssl", "TLS"), text("state", "STATE"), number("channels", "CHANNELS"), moment("connected_at", "SINCE")},
		empty:   "nobody is connected", deletes: "Closes connections; their clients are told why", done: "closed", example: "'10.0.0.1:4711 -> 10.0.0.2:5672'",
	},
	{
		plural: "channels", singular: "channel", list: "channels", inVHost: true, below: "channels", item: alone("channels"), named: "name",
		columns: []column{text("name", "NAME"), text("vhost", "VHOST"), text("user", "USER"), number("consumer_count", "CONSUMERS"), number("prefetch_count", "PREFETCH"), number("messages_unacknowledged", "UNACKED"), text("confirm", "CONFIRMS")},
		empty:   "nobody has one open",
	},
	{
		plural: "consumers", singular: "consumer", list: "consumers", inVHost: true, named: "queue.name",
		columns: []column{text("queue.name", "QUEUE"), text("queue.vhost", "VHOST"), text("consumer_tag", "TAG"), text("channel_details.connection_name", "CONNECTION"), number("prefetch_count", "PREFETCH"), text("ack_required", "ACKS"), text("active", "ACTIVE")},
		empty:   "nobody consumes: leveret consume QUEUE does",
	},
	{
		plural: "groups", singular: "group", also: []string{"consumer-groups", "consumer-group"}, list: "groups", inVHost: true, item: inPath("groups"), named: "name",
		columns: []column{text("name", "NAME"), text("vhost", "VHOST"), text("state", "STATE"), number("members", "MEMBERS"), text("topics", "TOPICS"), number("partitions", "PARTITIONS"), number("lag", "LAG")},
		empty:   "one is there as soon as a Kafka client of a group has committed an offset", deletes: "Deletes consumer groups that have no members, with how far they are", done: "deleted", example: "billing",
	},
	{
		plural: "jobs", singular: "job", list: "jobs", item: alone("jobs"), named: "id", unsorted: true,
		columns: []column{text("id", "ID"), text("kind", "KIND"), text("state", "STATE"), text("queue", "QUEUE"), text("vhost", "VHOST"), text("user", "USER"), number("copied", "COPIED"), number("total", "OF"), moment("started", "STARTED"), text("reason", "WHY")},
		empty:   "leveret replay and leveret redrive begin one", deletes: "Forgets jobs that are over", done: "forgotten", example: "7r2k",
	},
}

// exchangeName is what the API calls the default exchange.
func exchangeName(name string) string {
	if name == "" {
		return "amq.default"
	}
	return name
}

// path is that of a list.
func (k *kind) path(t *target) string {
	switch {
	case !k.inVHost || !t.vhostGiven:
		return k.list
	case k.below != "":
		return at("vhosts", t.vhost) + "/" + k.below
	}
	return at(k.list, t.vhost)
}

// words are all that somebody may call it by, in lists and of one.
func (k *kind) words(first string) []string {
	var out []string
	for _, w := range append([]string{k.plural, k.singular}, k.also...) {
		if w != first {
			out = append(out, w)
		}
	}
	return out
}

// group makes a command of the subcommands, which are one for each kind.
func group(use, short, long, singularVerb string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: long}
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		hint := ";"
		if list := c.SuggestionsFor(args[0]); len(list) > 0 {
			hint = ": did you mean " + list[0] + "?"
		}
		return usagef("there is nothing called %q to %s%s %s --help lists what there is", args[0], singularVerb, hint, c.CommandPath())
	}
	c.SuggestionsMinimumDistance = 2
	c.RunE = func(c *cobra.Command, _ []string) error {
		_ = c.Help()
		return usagef("%s what?", c.CommandPath())
	}
	c.AddCommand(commands...)
	return c
}
