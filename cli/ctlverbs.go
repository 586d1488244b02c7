package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// constant is a path that no virtual host changes.
func constant(path string) func(string) string { return func(string) string { return path } }

// of is a path of a virtual host.
func of(list string) func(string) string { return func(vhost string) string { return at(list, vhost) } }

// below is a path below a virtual host.
func below(what string) func(string) string {
	return func(vhost string) string { return at("vhosts", vhost) + "/" + what }
}

// user is a failure that names the user who is not there.
func (x *ctl) user(err error, name string) error { return missing(err, "user", name, "", "users") }

// verbs are all that are known, by what they are about.
var verbs = slices.Concat(listVerbs, userVerbs, vhostVerbs, permissionVerbs, policyVerbs, actionVerbs, stateVerbs, pluginVerbs, foreignVerbs)

var listVerbs = []verb{
	listing0("list_queues", "[COLUMN…]", "Lists queues", true, ctlList{intro: "Listing queues for vhost %s ...", path: of("queues"), defaults: []string{"name", "messages"},
		fixed: map[string]any{"pid": "", "owner_pid": "", "slave_pids": []any{}, "synchronised_slave_pids": []any{}, "leader": "", "members": []any{}, "online": []any{}, "exclusive_consumer_pid": ""},
		known: []string{"durable", "auto_delete", "arguments", "policy", "messages_ready", "messages_unacknowledged", "consumers", "memory", "state", "type"}}),
	listing0("list_exchanges", "[COLUMN…]", "Lists exchanges", true, ctlList{intro: "Listing exchanges for vhost %s ...", path: of("exchanges"), defaults: []string{"name", "type"}, known: []string{"durable", "auto_delete", "internal", "arguments", "policy"}}),
	listing0("list_bindings", "[COLUMN…]", "Lists bindings", true, ctlList{intro: "Listing bindings for vhost %s ...", path: of("bindings"),
		defaults: []string{"source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments"},
		fields:   map[string]string{"source_name": "source", "destination_name": "destination", "destination_kind": "destination_type"}, fixed: map[string]any{"source_kind": "exchange"}}),
	listing0("list_connections", "[COLUMN…]", "Lists connections", false, ctlList{intro: "Listing connections ...", path: constant("connections"), defaults: []string{"user", "peer_host", "peer_port", "state"},
		fields: map[string]string{"pid": "name"}, known: []string{"name", "vhost", "protocol", "channels", "ssl"}}),
	listing0("list_channels", "[COLUMN…]", "Lists channels", false, ctlList{intro: "Listing channels ...", path: constant("channels"), defaults: []string{"pid", "user", "consumer_count", "messages_unacknowledged"},
		fields: map[string]string{"pid": "name", "connection": "connection_details.name"}, known: []string{"name", "vhost", "prefetch_count", "number"}}),
	listing0("list_consumers", "[COLUMN…]", "Lists consumers", true, ctlList{intro: "Listing consumers in vhost %s ...", path: of("consumers"),
		defaults: []string{"queue_name", "channel_pid", "consumer_tag", "ack_required", "prefetch_count", "active", "arguments"},
		fields:   map[string]string{"queue_name": "queue.name", "channel_pid": "channel_details.name"}}),
	listing0("list_users", "", "Lists users and their tags", false, ctlList{intro: "Listing users ...", path: constant("users"), defaults: []string{"user", "tags"}, fields: map[string]string{"user": "name"}}),
	listing0("list_vhosts", "[COLUMN…]", "Lists virtual hosts", false, ctlList{intro: "Listing vhosts ...", path: constant("vhosts"), defaults: []string{"name"}, known: []string{"description", "tags", "default_queue_type", "tracing"}}),
	listing0("list_permissions", "", "Lists permissions in a virtual host", true, ctlList{intro: "Listing permissions for vhost \"%s\" ...", path: below("permissions"), defaults: []string{"user", "configure", "write", "read"}}),
	listing0("list_topic_permissions", "", "Lists topic permissions in a virtual host", true, ctlList{intro: "Listing topic permissions for vhost \"%s\" ...", path: below("topic-permissions"), defaults: []string{"user", "exchange", "write", "read"}}),
	listing0("list_policies", "", "Lists policies", true, ctlList{intro: "Listing policies for vhost \"%s\" ...", path: of("policies"), defaults: []string{"vhost", "name", "pattern", "apply-to", "definition", "priority"}}),
	listing0("list_operator_policies", "", "Lists operators' policies", true, ctlList{intro: "Listing operator policy overrides for vhost \"%s\" ...", path: of("operator-policies"), defaults: []string{"vhost", "name", "pattern", "apply-to", "definition", "priority"}}),
	listing0("list_parameters", "", "Lists parameters of a virtual host", true, ctlList{intro: "Listing runtime parameters for vhost \"%s\" ...", path: constant("parameters"), defaults: []string{"component", "name", "value"}}),
	listing0("list_global_parameters", "", "Lists parameters of no virtual host", false, ctlList{intro: "Listing global runtime parameters ...", path: constant("global-parameters"), defaults: []string{"name", "value"}}),
	listing0("list_vhost_limits", "", "Lists limits of virtual hosts", true, ctlList{intro: "Listing limits for vhost \"%s\" ...", path: of("vhost-limits"), defaults: []string{"vhost", "limit", "value"}, tables: limitsOf("vhost")}),
	listing0("list_user_limits", "", "Lists limits of users", false, ctlList{intro: "Listing limits for all users ...", path: constant("user-limits"), defaults: []string{"user", "limit", "value"}, tables: limitsOf("user")}),
	listing0("list_feature_flags", "[COLUMN…]", "Lists feature flags", false, ctlList{intro: "Listing feature flags ...", path: constant("feature-flags"), defaults: []string{"name", "state"}}),
	listing0("list_deprecated_features", "", "Lists deprecated features", false, ctlList{intro: "Listing deprecated features ...", path: constant("deprecated-features"), defaults: []string{"name", "deprecation_phase"}}),
	listing0("list_unresponsive_queues", "", "Lists queues that do not answer: none", true, ctlList{intro: "Listing unresponsive queues for vhost %s ...", path: of("queues"), defaults: []string{"name"}, hide: func(map[string]any) bool { return true }}),
	{name: "list_user_permissions", words: "USER", least: 1, most: 1, about: "Lists the permissions of a user", run: func(x *ctl, a []string) error {
		l := ctlList{intro: fmt.Sprintf("Listing permissions for user \"%s\" ...", strings.ReplaceAll(a[0], "%", "%%")), path: constant(at("users", a[0], "permissions")), defaults: []string{"vhost", "configure", "write", "read"}}
		return x.user(l.run(x, nil), a[0])
	}},
	{name: "list_user_topic_permissions", words: "USER", least: 1, most: 1, about: "Lists the topic permissions of a user", run: func(x *ctl, a []string) error {
		l := ctlList{intro: fmt.Sprintf("Listing topic permissions for user \"%s\" ...", strings.ReplaceAll(a[0], "%", "%%")), path: constant(at("users", a[0], "topic-permissions")), defaults: []string{"vhost", "exchange", "write", "read"}}
		return x.user(l.run(x, nil), a[0])
	}},
}

// limitsOf makes a row of each limit.
func limitsOf(who string) func(map[string]any) []map[string]any {
	return func(o map[string]any) (out []map[string]any) {
		limits, _ := o["value"].(map[string]any)
		for name, value := range limits {
			out = append(out, map[string]any{who: o[who], "limit": name, "value": value})
		}
		slices.SortFunc(out, func(a, b map[string]any) int { return strings.Compare(plain(a["limit"]), plain(b["limit"])) })
		return out
	}
}

var userVerbs = []verb{
	{name: "add_user", words: "USER [PASSWORD]", least: 1, most: 2, about: "Makes a user", options: []option{{name: "pre-hashed-password"}}, run: func(x *ctl, a []string) error {
		x.say("Adding user \"%s\" ...", a[0])
		var there map[string]any
		switch err := x.get(at("users", a[0]), &there); {
		case err == nil:
			return fmt.Errorf("user %q is there already: leveret change_password %s gives another password", a[0], a[0])
		case !isStatus(err, http.StatusNotFound):
			return err
		}
		password, err := x.passwordOf(a)
		if err != nil {
			return err
		}
		body := map[string]any{"password": password, "tags": ""}
		if x.flag("pre-hashed-password") {
			body = map[string]any{"password_hash": password, "tags": ""}
		}
		if err := x.put(at("users", a[0]), body); err != nil {
			return err
		}
		x.say("Done. Don't forget to grant the user permissions to some virtual hosts: leveret set_permissions -p / %s '.*' '.*' '.*'", a[0])
		return nil
	}},
	{name: "change_password", words: "USER [PASSWORD]", least: 1, most: 2, about: "Gives a user another password", run: func(x *ctl, a []string) error {
		x.say("Changing password for user \"%s\" ...", a[0])
		var there struct {
			Tags []string `json:"tags"`
		}
		if err := x.get(at("users", a[0]), &there); err != nil {
			return x.user(err, a[0])
		}
		password, err := x.passwordOf(a)
		if err != nil {
			return err
		}
		return x.put(at("users", a[0]), map[string]any{"password": password, "tags": strings.Join(there.Tags, ",")})
	}},
	{name: "clear_password", words: "USER", least: 1, most: 1, about: "Has nobody log in as a user by password", run: func(x *ctl, a []string) error {
		x.say("Clearing password for user \"%s\" ...", a[0])
		var there struct {
			Tags []string `json:"tags"`
		}
		if err := x.get(at("users", a[0]), &there); err != nil {
			return x.user(err, a[0])
		}
		return x.put(at("users", a[0]), map[string]any{"password_hash": "", "tags": strings.Join(there.Tags, ",")})
	}},
	{name: "delete_user", words: "USER", least: 1, most: 1, about: "Deletes a user", run: func(x *ctl, a []string) error {
		x.say("Deleting user \"%s\" ...", a[0])
		return x.user(x.del(at("users", a[0])), a[0])
	}},
	{name: "set_user_tags", words: "USER [TAG…]", least: 1, most: -1, about: "Gives a user tags in place of those there are", run: func(x *ctl, a []string) error {
		x.say("Setting tags for user \"%s\" to [%s] ...", a[0], strings.Join(a[1:], ", "))
		if x.dry {
			return nil
		}
		return setTags(x.c, x.cl, a[0], a[1:])
	}},
	{name: "authenticate_user", words: "USER [PASSWORD]", least: 1, most: 2, about: "Says whether a name and a password are right", run: func(x *ctl, a []string) error {
		x.say("Authenticating user \"%s\" ...", a[0])
		password, err := x.passwordOf(a)
		if err != nil {
			return err
		}
		other := *x.cl
		other.user, other.password, other.userGiven = a[0], password, true
		var who map[string]any
		err = other.get(x.c.Context(), "whoami", &who)
		if err != nil && !strings.Contains(err.Error(), "may not use the HTTP API") { // which is told to who is known
			return err
		}
		x.say("Success")
		return nil
	}},
	{name: "hash_password", words: "[PASSWORD]", most: 1, about: "Makes the hash of a password", run: func(x *ctl, a []string) error {
		password, err := x.passwordOf(append([]string{""}, a...))
		if err != nil {
			return err
		}
		var said struct {
			OK string `json:"ok"`
		}
		if err := x.get(at("auth", "hash_password", password), &said); err != nil {
			return err
		}
		fmt.Fprintln(x.c.OutOrStdout(), said.OK)
		return nil
	}},
	{name: "set_user_limits", words: "USER JSON", least: 2, most: 2, about: "Limits what a user may have", run: func(x *ctl, a []string) error {
		x.say("Setting user limits to \"%s\" for user \"%s\" ...", a[1], a[0])
		return x.user(x.limits("user-limits", a[0], a[1]), a[0])
	}},
	{name: "clear_user_limits", words: "USER LIMIT|all", least: 2, most: 2, about: "Takes a limit of a user away", run: func(x *ctl, a []string) error {
		x.say("Clearing \"%s\" limit for user \"%s\" ...", a[1], a[0])
		return x.user(x.clearLimits("user-limits", a[0], a[1], "max-connections", "max-channels"), a[0])
	}},
}

// limits sets those of an object.
func (x *ctl) limits(list, name, text string) error {
	v, err := jsonWord("limits", text)
	if err != nil {
		return err
	}
	for limit, value := range v {
		if err := x.put(at(list, name, limit), map[string]any{"value": value}); err != nil {
			return err
		}
	}
	return nil
}

// clearLimits takes one away, or all.
func (x *ctl) clearLimits(list, name, limit string, all ...string) error {
	if limit != "all" {
		all = []string{limit}
	}
	for _, l := range all {
		if err := x.del(at(list, name, l)); err != nil {
			return err
		}
	}
	return nil
}

var vhostVerbs = []verb{
	{name: "add_vhost", words: "NAME", least: 1, most: 1, about: "Makes a virtual host", options: []option{{name: "description", value: true}, {name: "tags", value: true}, {name: "default-queue-type", value: true}}, run: func(x *ctl, a []string) error {
		x.say("Adding vhost \"%s\" ...", a[0])
		body := map[string]any{"description": x.text("description"), "tags": x.text("tags")}
		if kind := x.text("default-queue-type"); kind != "" {
			body["default_queue_type"] = kind
		}
		return x.put(at("vhosts", a[0]), body)
	}},
	{name: "update_vhost_metadata", words: "NAME", least: 1, most: 1, about: "Changes what is said of a virtual host", options: []option{{name: "description", value: true}, {name: "tags", value: true}, {name: "default-queue-type", value: true}}, run: func(x *ctl, a []string) error {
		x.say("Updating metadata of vhost \"%s\" ...", a[0])
		return x.vhostMetadata(a[0], func(m map[string]any) {
			for flag, field := range map[string]string{"description": "description", "tags": "tags", "default-queue-type": "default_queue_type"} {
				if x.c.Flags().Changed(flag) {
					m[field] = x.text(flag)
				}
			}
		})
	}},
	{name: "set_vhost_tags", words: "NAME [TAG…]", least: 1, most: -1, about: "Gives a virtual host tags", run: func(x *ctl, a []string) error {
		x.say("Setting tags for virtual host \"%s\" to [%s] ...", a[0], strings.Join(a[1:], ", "))
		return x.vhostMetadata(a[0], func(m map[string]any) { m["tags"] = strings.Join(a[1:], ",") })
	}},
	{name: "delete_vhost", words: "NAME", least: 1, most: 1, about: "Deletes a virtual host with all that is in it", run: func(x *ctl, a []string) error {
		x.say("Deleting vhost \"%s\" ...", a[0])
		return missing(x.del(at("vhosts", a[0])), "virtual host", a[0], "", "vhosts")
	}},
	{name: "enable_vhost_deletion_protection", words: "NAME", least: 1, most: 1, about: "Protects a virtual host from deletion", run: func(x *ctl, a []string) error {
		return missing(x.change(http.MethodPost, at("vhosts", a[0])+"/deletion/protection", nil), "virtual host", a[0], "", "vhosts")
	}},
	{name: "disable_vhost_deletion_protection", words: "NAME", least: 1, most: 1, about: "Lets a virtual host be deleted", run: func(x *ctl, a []string) error {
		return missing(x.del(at("vhosts", a[0])+"/deletion/protection"), "virtual host", a[0], "", "vhosts")
	}},
	{name: "set_vhost_limits", words: "JSON", least: 1, most: 1, vhost: true, about: "Limits what a virtual host may have", run: func(x *ctl, a []string) error {
		x.say("Setting vhost limits to \"%s\" for vhost \"%s\" ...", a[0], x.t.vhost)
		return missing(x.limits("vhost-limits", x.t.vhost, a[0]), "virtual host", x.t.vhost, "", "vhosts")
	}},
	{name: "clear_vhost_limits", most: 0, vhost: true, about: "Takes the limits of a virtual host away", run: func(x *ctl, _ []string) error {
		x.say("Clearing vhost \"%s\" limits ...", x.t.vhost)
		return missing(x.clearLimits("vhost-limits", x.t.vhost, "all", "max-connections", "max-queues"), "virtual host", x.t.vhost, "", "vhosts")
	}},
}

// vhostMetadata changes what is said of a virtual host and keeps the rest.
func (x *ctl) vhostMetadata(name string, change func(map[string]any)) error {
	var there struct {
		Description string   `json:"description"`
		Tags        []string `json:"tags"`
	}
	if err := x.get(at("vhosts", name), &there); err != nil {
		return missing(err, "virtual host", name, "", "vhosts")
	}
	body := map[string]any{"description": there.Description, "tags": strings.Join(there.Tags, ",")}
	change(body)
	return x.put(at("vhosts", name), body)
}

var permissionVerbs = []verb{
	{name: "set_permissions", words: "USER CONFIGURE WRITE READ", least: 4, most: 4, vhost: true, about: "Says what a user may do in a virtual host", run: func(x *ctl, a []string) error {
		x.say("Setting permissions for user \"%s\" in vhost \"%s\" ...", a[0], x.t.vhost)
		return x.put(at("permissions", x.t.vhost, a[0]), map[string]any{"configure": a[1], "write": a[2], "read": a[3]})
	}},
	{name: "set_permissions_globally", words: "USER CONFIGURE WRITE READ", least: 4, most: 4, about: "Says it for all virtual hosts that there are", run: func(x *ctl, a []string) error {
		x.say("Setting permissions for user \"%s\" in all virtual hosts ...", a[0])
		var list []struct {
			Name string `json:"name"`
		}
		if err := x.get("vhosts?columns=name", &list); err != nil {
			return err
		}
		for _, v := range list {
			if err := x.put(at("permissions", v.Name, a[0]), map[string]any{"configure": a[1], "write": a[2], "read": a[3]}); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "clear_permissions", words: "USER", least: 1, most: 1, vhost: true, about: "Takes the permissions of a user away", run: func(x *ctl, a []string) error {
		x.say("Clearing permissions for user \"%s\" in vhost \"%s\" ...", a[0], x.t.vhost)
		return x.user(x.del(at("permissions", x.t.vhost, a[0])), a[0])
	}},
	{name: "set_topic_permissions", words: "USER EXCHANGE WRITE READ", least: 4, most: 4, vhost: true, about: "Says which keys of an exchange a user may use", run: func(x *ctl, a []string) error {
		x.say("Setting topic permissions on \"%s\" for user \"%s\" in vhost \"%s\" ...", a[1], a[0], x.t.vhost)
		return x.put(at("topic-permissions", x.t.vhost, a[0]), map[string]any{"exchange": a[1], "write": a[2], "read": a[3]})
	}},
	{name: "clear_topic_permissions", words: "USER [EXCHANGE]", least: 1, most: 2, vhost: true, about: "Takes topic permissions away", run: func(x *ctl, a []string) error {
		x.say("Clearing topic permissions for user \"%s\" in vhost \"%s\" ...", a[0], x.t.vhost)
		return x.user(x.del(at(append([]string{"topic-permissions", x.t.vhost}, a...)...)), a[0])
	}},
}

// setPolicy makes the verb of one kind of policies.
func setPolicy(name, list, about string) verb {
	return verb{name: name, words: "NAME PATTERN JSON", least: 3, most: 3, vhost: true, about: about,
		options: []option{{name: "priority", value: true}, {name: "apply-to", value: true}}, run: func(x *ctl, a []string) error {
			definition, err := jsonWord("definition", a[2])
			if err != nil {
				return err
			}
			body := map[string]any{"pattern": a[1], "definition": definition, "priority": 0, "apply-to": "all"}
			if p := x.text("priority"); p != "" {
				n, err := strconv.Atoi(p)
				if err != nil {
					return usagef("--priority: %q is no number", p)
				}
				body["priority"] = n
			}
			if to := x.text("apply-to"); to != "" {
				body["apply-to"] = to
			}
			x.say("Setting policy \"%s\" for pattern \"%s\" to \"%s\" with priority \"%v\" for vhost \"%s\" ...", a[0], a[1], a[2], body["priority"], x.t.vhost)
			return missing(x.put(at(list, x.t.vhost, a[0]), body), "virtual host", x.t.vhost, "", "vhosts")
		}}
}

func clearPolicy(name, list, about string) verb {
	return verb{name: name, words: "NAME", least: 1, most: 1, vhost: true, about: about, run: func(x *ctl, a []string) error {
		x.say("Clearing policy \"%s\" on vhost \"%s\" ...", a[0], x.t.vhost)
		return missing(x.del(at(list, x.t.vhost, a[0])), "policy", a[0], x.t.vhost, list)
	}}
}

var policyVerbs = []verb{
	setPolicy("set_policy", "policies", "Makes a policy"), setPolicy("set_operator_policy", "operator-policies", "Makes an operator's policy"),
	clearPolicy("clear_policy", "policies", "Deletes a policy"), clearPolicy("clear_operator_policy", "operator-policies", "Deletes an operator's policy"),
	{name: "set_parameter", words: "COMPONENT NAME JSON", least: 3, most: 3, vhost: true, about: "Sets a parameter of a virtual host", run: func(x *ctl, a []string) error {
		x.say("Setting runtime parameter \"%s\" for component \"%s\" to \"%s\" in vhost \"%s\" ...", a[1], a[0], a[2], x.t.vhost)
		if !json.Valid([]byte(a[2])) {
			return usagef("the value should be JSON")
		}
		return x.put(at("parameters", a[0], x.t.vhost, a[1]), map[string]any{"component": a[0], "vhost": x.t.vhost, "name": a[1], "value": json.RawMessage(a[2])})
	}},
	{name: "clear_parameter", words: "COMPONENT NAME", least: 2, most: 2, vhost: true, about: "Deletes a parameter of a virtual host", run: func(x *ctl, a []string) error {
		x.say("Clearing runtime parameter \"%s\" for component \"%s\" on vhost \"%s\" ...", a[1], a[0], x.t.vhost)
		return x.del(at("parameters", a[0], x.t.vhost, a[1]))
	}},
	{name: "set_global_parameter", words: "NAME JSON", least: 2, most: 2, about: "Sets a parameter of no virtual host", run: func(x *ctl, a []string) error {
		x.say("Setting global runtime parameter \"%s\" to \"%s\" ...", a[0], a[1])
		if !json.Valid([]byte(a[1])) {
			return usagef("the value should be JSON")
		}
		return x.put(at("global-parameters", a[0]), map[string]any{"name": a[0], "value": json.RawMessage(a[1])})
	}},
	{name: "clear_global_parameter", words: "NAME", least: 1, most: 1, about: "Deletes a parameter of no virtual host", run: func(x *ctl, a []string) error {
		x.say("Clearing global runtime parameter \"%s\" ...", a[0])
		return x.del(at("global-parameters", a[0]))
	}},
	{name: "set_cluster_name", words: "NAME", least: 1, most: 1, about: "Calls the broker so", run: func(x *ctl, a []string) error {
		x.say("Setting cluster name to %s ...", a[0])
		return x.put("cluster-name", map[string]any{"name": a[0]})
	}},
	{name: "enable_feature_flag", words: "NAME|all", least: 1, most: -1, about: "Enables a feature flag, which it is", run: func(x *ctl, a []string) error {
		x.say("Enabling feature flag: %s ... all that there are, are enabled", strings.Join(a, " "))
		return nil
	}},
}

var actionVerbs = []verb{
	{name: "purge_queue", words: "QUEUE", least: 1, most: 1, vhost: true, about: "Drops the messages of a queue", run: func(x *ctl, a []string) error {
		x.say("Purging queue '%s' in vhost '%s' ...", a[0], x.t.vhost)
		return missing(x.del(at("queues", x.t.vhost, a[0], "contents")), "queue", a[0], x.t.vhost, "queues")
	}},
	{name: "delete_queue", words: "QUEUE", least: 1, most: 1, vhost: true, about: "Deletes a queue", options: []option{{name: "if-empty", short: "e"}, {name: "if-unused", short: "u"}}, run: func(x *ctl, a []string) error {
		x.say("Deleting queue '%s' on vhost '%s' ...", a[0], x.t.vhost)
		q := "?"
		for _, name := range []string{"if-empty", "if-unused"} {
			if x.flag(name) {
				q += name + "=true&"
			}
		}
		return missing(x.del(at("queues", x.t.vhost, a[0])+strings.TrimRight(q, "?&")), "queue", a[0], x.t.vhost, "queues")
	}},
	{name: "close_connection", words: "NAME REASON", least: 1, most: 2, about: "Closes a connection, by the name that list_connections pid shows", run: func(x *ctl, a []string) error {
		x.say("Closing connection %s ...", a[0])
		return missing(x.closeAt(at("connections", a[0]), a[1:]), "connection", a[0], "", "connections")
	}},
	{name: "close_all_user_connections", words: "USER REASON", least: 1, most: 2, about: "Closes the connections of a user", run: func(x *ctl, a []string) error {
		x.say("Closing connections of user %s ...", a[0])
		return x.closeAt(at("connections", "username", a[0]), a[1:])
	}},
	{name: "close_all_connections", words: "REASON", most: 1, vhost: true, about: "Closes the connections of a virtual host, or with --global all",
		options: []option{{name: "global"}, {name: "limit", number: true}, {name: "per-connection-delay", number: true}}, run: func(x *ctl, a []string) error {
			path := at("vhosts", x.t.vhost) + "/connections"
			if x.flag("global") {
				path = "connections"
			}
			var list []struct {
				Name string `json:"name"`
			}
			if err := x.get(path+"?columns=name", &list); err != nil {
				return missing(err, "virtual host", x.t.vhost, "", "vhosts")
			}
			if n, err := strconv.Atoi(x.text("limit")); err == nil && n > 0 {
				list = list[:min(n, len(list))]
			}
			x.say("Closing %d connections ...", len(list))
			for _, k := range list {
				if err := x.closeAt(at("connections", k.Name), a); err != nil && !isStatus(err, http.StatusNotFound) { // it went by itself
					return err
				}
			}
			return nil
		}},
	{name: "export_definitions", words: "FILE|-", least: 1, most: 1, about: "Writes what is declared", options: []option{{name: "format", value: true}}, run: func(x *ctl, a []string) error {
		if f := x.text("format"); f != "" && f != "json" {
			return usagef("--format: %q is not written, only json", f)
		}
		if a[0] != "-" {
			x.say("Exporting definitions in JSON to a file at \"%s\" ...", a[0])
		}
		return writeTo(x.c.OutOrStdout(), a[0], func(out io.Writer) error { return x.cl.export(x.c, out, "") })
	}},
	{name: "import_definitions", words: "[FILE|-]", most: 1, about: "Declares what a file says", options: []option{{name: "format", value: true}, {name: "skip-if-unchanged"}}, run: func(x *ctl, a []string) error {
		x.say("Importing definitions in JSON from %s ...", strings.Join(append(a, "standard input")[:1], ""))
		text, err := x.readFileOr(a)
		if err != nil {
			return err
		}
		return x.change(http.MethodPost, "definitions", text)
	}},
	{name: "rebalance", words: "", most: -1, about: "Spreads leaders over nodes, of which there is one", run: func(x *ctl, _ []string) error {
		x.say("There is one node: nothing to do")
		return nil
	}},
}

// closeAt closes connections, with the reason that their clients are told.
func (x *ctl) closeAt(path string, reason []string) error {
	if x.dry {
		return nil
	}
	r, err := x.cl.request(x.c.Context(), http.MethodDelete, path, nil)
	if err != nil {
		return err
	}
	if len(reason) > 0 {
		r.Header.Set("X-Reason", cleanLine(reason[0]))
	}
	res, err := x.cl.send(r)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

var stateVerbs = []verb{
	{name: "status", most: 0, about: "Shows how the broker is", options: []option{{name: "unit", value: true}}, run: func(x *ctl, _ []string) error {
		r, err := x.cl.status(x.c)
		if err != nil {
			return err
		}
		if x.format == "json" {
			return writeJSON(x.c.OutOrStdout(), r)
		}
		return r.table().write(x.c.OutOrStdout(), 0)
	}},
	{name: "cluster_status", most: 0, about: "Shows the nodes, of which there is one", run: func(x *ctl, _ []string) error {
		r, err := x.cl.status(x.c)
		if err != nil {
			return err
		}
		if x.format == "json" {
			return writeJSON(x.c.OutOrStdout(), map[string]any{"cluster_name": r.ClusterName, "disk_nodes": []string{r.Node}, "ram_nodes": []string{}, "running_nodes": []string{r.Node}, "alarms": r.Alarms, "partitions": map[string]any{}, "listeners": r.Listeners})
		}
		x.say("Cluster status of node %s ...", r.Node)
		fmt.Fprintf(x.c.OutOrStdout(), "Basics\n\nCluster name: %s\n\nRunning Nodes\n\n%s\n\nAlarms\n\n%s\n", cleanLine(r.ClusterName), r.Node, orNone(r.Alarms))
		return nil
	}},
	{name: "version", most: 0, about: "Prints the version of the program", run: func(x *ctl, _ []string) error {
		fmt.Fprintln(x.c.OutOrStdout(), x.c.Root().Version)
		return nil
	}},
	{name: "server_version", most: 0, about: "Prints the version of the broker", run: func(x *ctl, _ []string) error {
		r, err := x.cl.status(x.c)
		if err == nil {
			fmt.Fprintln(x.c.OutOrStdout(), cleanLine(r.Version))
		}
		return err
	}},
	{name: "ping", most: 0, about: "Says whether a broker answers", run: func(x *ctl, _ []string) error {
		var v any
		if err := x.get("whoami", &v); err != nil && !isStatus(err, http.StatusUnauthorized) { // it answers, whoever may enter
			return err
		}
		x.say("Ping succeeded")
		return nil
	}},
	{name: "await_startup", most: 0, about: "Waits until a broker answers", run: awaitStartup},
	{name: "await_online_nodes", words: "COUNT", least: 1, most: 1, about: "The same: there is one node", run: awaitStartup},
	{name: "wait", words: "[PIDFILE]", most: 1, about: "The same", options: []option{{name: "pid", short: "P", value: true}}, run: awaitStartup},
	{name: "check_running", most: 0, about: "Says whether the broker serves clients", run: check("health/checks/is-in-service", "the broker runs and serves clients")},
	{name: "check_local_alarms", most: 0, about: "Says whether there is an alarm", run: check("health/checks/local-alarms", "there is no alarm")},
	{name: "check_alarms", most: 0, about: "The same", run: check("health/checks/alarms", "there is no alarm")},
	{name: "check_virtual_hosts", most: 0, about: "Says whether all virtual hosts are there", run: check("health/checks/virtual-hosts", "all virtual hosts are there")},
	{name: "check_port_listener", words: "PORT", least: 1, most: 1, about: "Says whether something listens there", run: check("health/checks/port-listener/{0}", "there is a listener on port {0}")},
	{name: "check_protocol_listener", words: "PROTOCOL", least: 1, most: 1, about: "Says whether a protocol is served", run: check("health/checks/protocol-listener/{0}", "{0} is served")},
	{name: "check_port_connectivity", most: 0, about: "Says whether the listeners are there", options: []option{{name: "address", value: true}}, run: check("health/checks/is-in-service", "the listeners are there")},
	{name: "check_certificate_expiration", most: 0, about: "Says whether certificates stay good", options: []option{{name: "within", value: true}, {name: "unit", value: true}}, run: func(x *ctl, _ []string) error {
		within, unit := x.text("within"), x.text("unit")
		if within == "" {
			within = "4"
		}
		if unit == "" {
			unit = "weeks"
		}
		return check("health/checks/certificate-expiration/{0}/{1}", "no certificate expires by then")(x, []string{within, unit})
	}},
	{name: "check_if_node_is_quorum_critical", most: 0, about: "There is one node, which is", run: check("health/checks/node-is-quorum-critical", "no queue would be lost")},
	{name: "alarms", most: 0, about: "Lists alarms", run: func(x *ctl, _ []string) error {
		r, err := x.cl.status(x.c)
		if err != nil {
			return err
		}
		if x.format == "json" {
			return writeJSON(x.c.OutOrStdout(), map[string]any{"alarms": r.Alarms})
		}
		fmt.Fprintln(x.c.OutOrStdout(), orNone(r.Alarms))
		return nil
	}},
	{name: "listeners", most: 0, about: "Lists what listens where", run: func(x *ctl, _ []string) error {
		r, err := x.cl.status(x.c)
		if err != nil {
			return err
		}
		var rows [][]any
		for _, l := range r.Listeners {
			rows = append(rows, []any{l.Address, json.Number(strconv.Itoa(l.Port)), l.Protocol})
		}
		return x.rows([]string{"interface", "port", "protocol"}, rows)
	}},
	{name: "memory_breakdown", most: 0, about: "Shows what the memory is for", options: []option{{name: "unit", value: true}}, run: func(x *ctl, _ []string) error {
		r, err := x.cl.status(x.c)
		if err != nil {
			return err
		}
		var said struct {
			Memory map[string]any `json:"memory"`
		}
		if err := x.get(at("nodes", r.Node, "memory"), &said); err != nil {
			return err
		}
		var rows [][]any
		for name, value := range said.Memory {
			if n, ok := value.(json.Number); ok && n != "0" {
				rows = append(rows, []any{name, n})
			}
		}
		slices.SortFunc(rows, func(a, b []any) int { return strings.Compare(plain(a[0]), plain(b[0])) })
		return x.rows([]string{"what", "bytes"}, rows)
	}},
	{name: "is_running", most: 0, about: "Says whether the broker runs", run: check("health/checks/is-in-service", "the broker runs")},
	{name: "is_booting", most: 0, about: "Says whether it is starting", run: check("health/checks/is-in-service", "the broker has started")},
	{name: "cluster_name", most: 0, about: "Prints what the broker is called", run: func(x *ctl, _ []string) error {
		var said struct {
			Name string `json:"name"`
		}
		if err := x.get("cluster-name", &said); err != nil {
			return err
		}
		fmt.Fprintln(x.c.OutOrStdout(), cleanLine(said.Name))
		return nil
	}},
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "(none)"
	}
	return cleanLine(strings.Join(list, "\n"))
}

// pluginVerbs are those of rabbitmq-plugins, with its name before them.
var pluginVerbs = []verb{
	{name: "plugins_enable", words: "PLUGIN…", most: -1, about: "There are no plugins: all is in the program", options: []option{{name: "all"}, {name: "offline"}, {name: "online"}}, run: func(x *ctl, a []string) error {
		x.say("Nothing to enable: management, metrics, STOMP, streams, deduplication and delayed messages are in the program (%s)", strings.Join(a, " "))
		return nil
	}},
	{name: "plugins_disable", words: "PLUGIN…", most: -1, about: "Nothing to do", options: []option{{name: "all"}, {name: "offline"}, {name: "online"}}, run: func(x *ctl, _ []string) error {
		x.say("There are no plugins: a listener is turned off with its address, --stomp-addr off")
		return nil
	}},
	{name: "plugins_set", words: "PLUGIN…", most: -1, about: "Nothing to do", options: []option{{name: "offline"}, {name: "online"}}, run: func(x *ctl, _ []string) error {
		x.say("There are no plugins: all is in the program")
		return nil
	}},
	{name: "plugins_list", words: "[PATTERN]", most: 1, about: "Lists what RabbitMQ has plugins for, and is in the program", options: []option{{name: "enabled", short: "E"}, {name: "implicitly-enabled", short: "e"}, {name: "minimal", short: "m"}, {name: "verbose", short: "v"}, {name: "offline"}, {name: "online"}}, run: func(x *ctl, a []string) error {
		for _, p := range plugins {
			if len(a) > 0 && !strings.Contains(p, a[0]) {
				continue
			}
			if x.flag("minimal") || x.bare {
				fmt.Fprintln(x.c.OutOrStdout(), p)
			} else {
				fmt.Fprintln(x.c.OutOrStdout(), "[E*] "+p)
			}
		}
		return nil
	}},
	{name: "plugins_is_enabled", words: "PLUGIN…", least: 1, most: -1, about: "Says whether it is in the program", options: []option{{name: "offline"}, {name: "online"}}, run: func(x *ctl, a []string) error {
		for _, p := range a {
			if !slices.Contains(plugins, p) {
				return fmt.Errorf("plugin %s is not enabled: Leveret has nothing like it", p)
			}
		}
		x.say("%s: in the program", strings.Join(a, ", "))
		return nil
	}},
}

// plugins of RabbitMQ that do what the program does by itself.
var plugins = []string{
	"rabbitmq_consistent_hash_exchange", "rabbitmq_delayed_message_exchange", "rabbitmq_management", "rabbitmq_management_agent", "rabbitmq_message_deduplication", "rabbitmq_prometheus", "rabbitmq_random_exchange",
	"rabbitmq_stomp", "rabbitmq_stream", "rabbitmq_web_dispatch", "rabbitmq_web_stomp",
}
