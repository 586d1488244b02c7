package management

import (
	"encoding/json"
	"net/http"

	"github.com/leveret-mq/leveret/broker"
)

// overviewRows are about the broker as a whole.
var overviewRows = []row{
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

// nameOfCluster is what the broker is called: the node where nobody said otherwise, as on RabbitMQ.
func (s *Server) nameOfCluster() string {
	for _, p := range s.opts.Broker.GlobalParameters() {
		var name string
		if p.Name == clusterParameter && json.Unmarshal(p.Value, &name) == nil {
			return name
		}
	}
	return s.opts.Node
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
