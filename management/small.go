package management

import (
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/leveret-mq/leveret/broker"
)

// smallRows are what tools ask for that has little to say here.
var smallRows = []row{
	{path: "feature-flags", method: get, who: management, do: (*call).featureFlags, about: "Feature flags: all that RabbitMQ 4 has, and all enabled"},
	{path: "feature-flags/{name}/enable", method: put, who: administrator, do: (*call).enableFlag, gives: http.StatusNoContent, about: "Enables one, which it is"},
	{path: "deprecated-features", method: get, who: management, do: (*call).deprecated, about: "Features that RabbitMQ 4 calls deprecated. Those that are here stay"},
	{path: "deprecated-features/used", method: get, who: management, do: (*call).deprecatedUsed, about: "Those of them in use that the broker can tell of"},
	{path: "rebalance/queues", method: post, who: administrator, do: (*call).none, gives: http.StatusNoContent, about: "Spreads leaders over nodes, of which there is one"},
	{path: "reset", method: del, who: administrator, do: (*call).resetRates, about: "Forgets the samples of rates"},
	{path: "reset/{node}", method: del, who: administrator, do: (*call).resetRates, about: "The same"},
	{path: "auth", method: get, who: anybody, do: func(c *call) error { return c.json(object{{"oauth_enabled", false}}) }, about: "How a page logs in"},
	{path: "login", method: post, who: anybody, do: (*call).logIn, about: "Checks a name and a password of a form"},
	{path: "auth/attempts/{node}", method: get, who: monitoring, do: (*call).attempts, about: "How many logins there were"},
	{path: "auth/attempts/{node}", method: del, who: monitoring, do: (*call).none, about: "Counts them anew: they are not kept"},
	{path: "auth/attempts/{node}/source", method: get, who: monitoring, do: (*call).attempts, about: "The same"},
	{path: "auth/attempts/{node}/source", method: del, who: monitoring, do: (*call).none, about: "Counts them anew: they are not kept"},
	{path: "queues/{vhost}/{name}/actions", method: post, who: administrator, do: (*call).queueAction, body: actionBody{}, gives: http.StatusNoContent, about: "Acts on mirrors, of which there are none"},
	{path: "stream/connections", method: get, who: management, do: (*call).noneOfThese, about: "Connections of the stream protocol: none"},
	{path: "stream/connections/{vhost}", method: get, who: management, do: (*call).noneOfThese, about: "The same, of a virtual host"},
	{path: "stream/publishers", method: get, who: management, do: (*call).noneOfThese, about: "Publishers of the stream protocol: none"},
	{path: "stream/publishers/{vhost}", method: get, who: management, do: (*call).noneOfThese, about: "The same, of a virtual host"},
	{path: "stream/consumers", method: get, who: management, do: (*call).noneOfThese, about: "Consumers of the stream protocol: none"},
	{path: "stream/consumers/{vhost}", method: get, who: management, do: (*call).noneOfThese, about: "The same, of a virtual host"},
	{path: "traces", method: get, who: administrator, do: (*call).noneOfThese, about: "Traces: none"},
	{path: "traces/{vhost}", method: get, who: administrator, do: (*call).noneOfThese, about: "The same, of a virtual host"},
}

// flags are RabbitMQ's that a tool may look for. They mean nothing here.
var flags = []string{"classic_mirrored_queue_version", "classic_queue_type_delivery_support", "detailed_queues_endpoint", "direct_exchange_routing_v2", "drop_unroutable_metric", "empty_basic_get_metric",
	"feature_flags_v2", "implicit_default_bindings", "khepri_db", "listener_records_in_ets", "maintenance_mode_status", "message_containers", "quorum_queue", "quorum_queue_non_voters", "rabbitmq_4.0.0",
	"rabbit_mqtt_qos0_queue", "restart_streams", "stream_filtering", "stream_queue", "stream_sac_coordinator_unblock_group", "stream_single_active_consumer", "stream_update_config_command",
	"tracking_records_in_ets", "user_limits", "virtual_host_metadata"}

func (c *call) featureFlags() error {
	list := objects{}
	for _, name := range flags {
		list = append(list, object{{"name", name}, {"state", "enabled"}, {"desc", "of RabbitMQ's; here nothing depends on it"}, {"doc_url", ""}, {"stability", "stable"}, {"provided_by", "rabbit"}})
	}
	return c.listOf(list)
}

// deprecatedFeatures are those of RabbitMQ 4 that a tool may look for.
var deprecatedFeatures = []struct{ name, description, phase string }{
	{"amqp_address_v1", "AMQP 1.0 addresses of version 1; not here", "permitted_by_default"},
	{"global_qos", "A prefetch that the consumers of a channel share; it is here, and stays", "permitted_by_default"},
	{"management_metrics_collection", "Rates by the management API; they are here, and stay", "permitted_by_default"},
	{"queue_master_locator", "x-queue-master-locator, which does nothing on one node", "permitted_by_default"},
	{"ram_node_type", "Nodes that keep nothing on disk; not here", "permitted_by_default"},
	{"transient_nonexcl_queues", "Queues that are neither durable nor exclusive; they are here, and stay", "permitted_by_default"},
}

func (c *call) deprecated() error {
	return c.listDeprecated(func(string) bool { return true })
}

// deprecatedUsed lists queues that are neither durable nor exclusive, where there are any: of the others nobody can tell.
func (c *call) deprecatedUsed() error {
	passing := slices.ContainsFunc(c.s.opts.Broker.VHosts(), func(v *broker.VHost) bool {
		return slices.ContainsFunc(v.Queues(), func(q *broker.Queue) bool { return !q.Durable && !q.Exclusive })
	})
	return c.listDeprecated(func(name string) bool { return passing && name == "transient_nonexcl_queues" })
}

func (c *call) listDeprecated(is func(name string) bool) error {
	list := objects{}
	for _, f := range deprecatedFeatures {
		if is(f.name) {
			list = append(list, object{{"name", f.name}, {"desc", f.description}, {"deprecation_phase", f.phase}, {"doc_url", ""}, {"provided_by", "rabbit"}})
		}
	}
	return c.listOf(list)
}

func (c *call) enableFlag() error {
	for _, name := range append(flags, "all") {
		if name == c.arg("name") {
			return c.none()
		}
	}
	return badRequest("unsupported: there is no feature flag %q", c.arg("name"))
}

func (c *call) resetRates() error {
	c.s.rates.forget()
	return c.none()
}

// logIn checks what a form says; a session is nobody's yet.
func (c *call) logIn() error {
	body, err := c.raw(8 << 10)
	if err != nil {
		return err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !form.Has("username") {
		return badRequest("the body is not a form with username and password")
	}
	if err := c.identify(form.Get("username"), form.Get("password")); err != nil {
		return err
	}
	if !c.is(management) {
		return notAuthorised("%s", management.refusal())
	}
	return c.json("ok")
}

// attemptNames are the protocols that RabbitMQ has. Its client for Rust takes no answer that names another, and those
// are counted in /metrics.
var attemptNames = map[string]string{"amqp": "amqp091", "http": "http", "stomp": "stomp"}

// attempts are the logins since the start, by protocol.
func (c *call) attempts() error {
	if c.arg("node") != c.s.opts.Node {
		return missing()
	}
	list, logins := objects{}, c.s.opts.Broker.Logins()
	for _, protocol := range slices.Sorted(maps.Keys(logins)) {
		n, name := logins[protocol], attemptNames[protocol]
		if name == "" {
			continue
		}
		list = append(list, object{{"protocol", name}, {"auth_attempts", n.In + n.Refused}, {"auth_attempts_failed", n.Refused}, {"auth_attempts_succeeded", n.In}})
	}
	return c.listOf(list)
}

// actionBody is what is to be done to a queue.
type actionBody struct {
	Action string `json:"action" needed:"true"`
}

func (c *call) queueAction() error {
	var b actionBody
	if err := c.body(&b); err != nil {
		return err
	}
	if _, err := c.queue(); err != nil {
		return err
	}
	return badRequest("unknown action '%s'", b.Action)
}
