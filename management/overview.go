package management

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/leveret-mq/leveret/broker"
)

// overviewRows are about the broker as a whole.
var overviewRows = []row{
	{path: "overview", method: get, who: management, do: (*call).overview, about: "The broker as a whole"},
	{path: "version", method: get, who: management, do: (*call).version, about: "The version of RabbitMQ whose API this is"},
	{path: "extensions", method: get, who: management, do: func(c *call) error { return c.json([]any{}) }, about: "Pages of plugins: none"},
	{path: "cluster-name", method: get, who: management, do: (*call).clusterName, about: "What the broker is called"},
	{path: "cluster-name", method: put, who: administrator, do: (*call).putClusterName, body: clusterNameBody{}, gives: http.StatusNoContent, about: "Calls it so"},
	{path: "shovels", method: get, who: management, do: (*call).noneOfThese, about: "Shovels: none"},
	{path: "shovels/{vhost}", method: get, who: management, do: (*call).noneOfThese, about: "Shovels of a virtual host: none"},
	{path: "federation-links", method: get, who: management, do: (*call).noneOfThese, about: "Federation links: none"},
	{path: "federation-links/{vhost}", method: get, who: management, do: (*call).noneOfThese, about: "Federation links of a virtual host: none"},
	{path: "whoami", method: get, who: management, do: (*call).whoami, about: "The user whom the request is of"},
}

// apiVersion is the version of RabbitMQ whose API this is: tools compare it.
const apiVersion = "4.0.5"

func (c *call) version() error { return c.json(apiVersion) }

func (c *call) whoami() error {
	return c.json(object{{"name", c.user.Name}, {"tags", tagList(c.user.Tags)}, {"is_internal_user", true}})
}

// noneOfThese answers for what there is none of.
func (c *call) noneOfThese() error { return c.list(nil) }

// clusterNameBody is what the broker is to be called.
type clusterNameBody struct {
	Name string `json:"name" needed:"true"`
}

// clusterParameter is the global parameter that RabbitMQ keeps the name in, too.
const clusterParameter = "cluster_name"

func (s *Server) nameOfCluster() string { return ClusterName(s.opts.Broker, s.opts.Node) }

// ClusterName is what the broker is called: the node where nobody said otherwise, as on RabbitMQ.
func ClusterName(b *broker.Broker, node string) string {
	for _, p := range b.GlobalParameters() {
		var name string
		if p.Name == clusterParameter && json.Unmarshal(p.Value, &name) == nil {
			return name
		}
	}
	return node
}

func (c *call) clusterName() error { return c.one(object{{"name", c.s.nameOfCluster()}}) }

func (c *call) putClusterName() error {
	var b clusterNameBody
	if err := c.body(&b); err != nil {
		return err
	}
	value, err := json.Marshal(b.Name)
	if err == nil {
		err = c.s.opts.Broker.PutGlobalParameters(c.actor(), broker.Parameter{Name: clusterParameter, Value: value})
	}
	if err != nil {
		return err
	}
	return c.none()
}

// tagList is a list of tags, never null.
func tagList(tags []string) []string {
	if tags == nil {
		return []string{}
	}
	return tags
}

func (c *call) overview() error {
	s := c.s
	vhosts := c.vhosts(true)
	t := c.totalsOf(vhosts)
	list, err := c.connections()
	if err != nil {
		return err
	}
	connections, channels := len(list), 0
	for i := range list {
		if list[i].Protocol != "kafka" {
			channels += len(list[i].Channels)
		}
	}
	key := c.rateKeyOf(vhosts)
	churn := s.opts.Broker.Churn()
	o := object{
		{"management_version", apiVersion}, {"rabbitmq_version", apiVersion}, {"leveret_version", s.opts.Version}, {"product_name", "Leveret"}, {"product_version", s.opts.Version},
		{"cluster_name", s.nameOfCluster()}, {"erlang_version", "none"}, {"erlang_full_version", runtime.Version()}, {"rates_mode", "basic"}, {"exchange_types", exchangeTypes},
		{"message_stats", c.messageStats(key, t.flow)},
		{"churn_rates", c.churn(churn)},
		{"queue_totals", c.queueTotals(key, t)},
		{"object_totals", object{{"connections", connections}, {"channels", channels}, {"queues", t.queues}, {"exchanges", t.exchanges}, {"consumers", t.consumers}}},
		{"statistics_db_event_queue", 0}, {"cluster_tags", object{}}, {"node_tags", object{}}, {"default_queue_type", "classic"},
		{"is_op_policy_updating_enabled", true}, {"disable_stats", false}, {"enable_queue_totals", false}, {"release_series_support_status", "supported"},
		{"sample_retention_policies", object{{"global", []any{60}}, {"basic", []any{60}}, {"detailed", []any{60}}}},
	}
	// Also for who may not look at nodes: clients can't read the answer without it.
	o = append(o, pair{"node", s.opts.Node}, pair{"listeners", []any{}}, pair{"contexts", []any{}})
	if c.is(monitoring) {
		o[len(o)-2].value, o[len(o)-1].value = c.listeners(), c.contexts()
	}
	return c.one(o)
}

// rateKeyOf is what the sums over virtual hosts are remembered by. Users who see different ones have different sums, of which one must
// not be taken for the past of another.
func (c *call) rateKeyOf(vhosts []*broker.VHost) rateKey {
	switch {
	case len(vhosts) == 1:
		return rateKey{vhost: vhosts[0].Name}
	case len(vhosts) == len(c.s.opts.Broker.VHosts()):
		return rateKey{}
	}
	names := make([]string, len(vhosts))
	for i, v := range vhosts {
		names[i] = v.Name
	}
	slices.Sort(names)
	sum := sha256.New()
	for _, name := range names {
		_, _ = fmt.Fprintf(sum, "%d %s", len(name), name) // a hash takes everything
	}
	return rateKey{several: string(sum.Sum(nil))}
}

// churn is what came and went.
func (c *call) churn(n broker.Churn) object {
	o := object{}
	for _, k := range []struct {
		name  string
		value uint64
	}{
		{"connection_created", n.ConnectionsOpened}, {"connection_closed", n.ConnectionsClosed}, {"channel_created", n.ChannelsOpened}, {"channel_closed", n.ChannelsClosed},
		{"queue_declared", n.QueuesDeclared}, {"queue_created", n.QueuesCreated}, {"queue_deleted", n.QueuesDeleted},
	} {
		o = append(o, pair{k.name, k.value}, pair{k.name + "_details", c.rate(rateKey{what: k.name}, k.value)})
	}
	return o
}

// listeners are the addresses at which clients connect.
func (c *call) listeners() []object {
	out := []object{}
	for _, l := range c.s.opts.Listeners() {
		host, port := hostPort(l.Addr.String())
		out = append(out, object{{"node", c.s.opts.Node}, {"protocol", l.protocol()}, {"ip_address", host}, {"port", port}, {"socket_opts", object{}}})
	}
	return out
}

// contexts are those of HTTP.
func (c *call) contexts() []object {
	out := []object{}
	for _, l := range c.s.opts.Listeners() {
		if strings.HasPrefix(l.Name, "http") {
			host, port := hostPort(l.Addr.String())
			out = append(out, object{{"node", c.s.opts.Node}, {"description", "RabbitMQ Management"}, {"path", "/"}, {"ip", host}, {"port", strconv.Itoa(port)}, {"ssl", l.TLS}, {"cowboy_opts", "[]"}})
		}
	}
	return out
}
