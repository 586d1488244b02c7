// The management program administers a broker over its HTTP API with rabbit-hole, the client that Terraform's
// provider and the Kubernetes operators are made with.
package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/test/interop/go/check"
)

func main() {
	check.Add("virtual hosts come, change, are protected and go", 20*time.Second, vhosts)
	check.Add("users come with a password or a hash, change and go", 30*time.Second, users)
	check.Add("permissions and topic permissions", 20*time.Second, permissions)
	check.Add("policies and operators' policies hold at once", 20*time.Second, policies)
	check.Add("limits of users and virtual hosts", 20*time.Second, limits)
	check.Add("parameters, global ones and the name of the cluster", 20*time.Second, parameters)
	check.Add("definitions of all, and of one virtual host into another", 20*time.Second, definitions)
	check.Add("connections of who is deleted are closed", 20*time.Second, evictions)
	check.Add("Terraform: made, planned again without a change, changed, destroyed", 30*time.Second, terraform)
	check.Add("errors have words for what is wrong", 20*time.Second, failures)
	check.Add("queues, exchanges and bindings by their properties", 20*time.Second, topology)
	check.Add("connections and channels are listed, closed with a reason", 20*time.Second, connections)
	check.Add("overview, nodes and health checks", 20*time.Second, wellbeing)
	check.Main()
}

// topology declares, lists and deletes what messages go through.
func topology(context.Context) {
	c := guest()
	_, err := c.DeclareQueue("/", "rh a/b", rabbithole.QueueSettings{Durable: true, Arguments: map[string]interface{}{"x-max-length": 10}})
	check.OK(err, "declare a queue")
	defer func() { _, _ = c.DeleteQueue("/", "rh a/b"); _, _ = c.DeleteExchange("/", "rh.x") }()
	_, err = c.DeclareExchange("/", "rh.x", rabbithole.ExchangeSettings{Type: "topic", Durable: true})
	check.OK(err, "declare an exchange")
	for _, key := range []string{"", "a b.#", "~"} {
		_, err = c.DeclareBinding("/", rabbithole.BindingInfo{Source: "rh.x", Destination: "rh a/b", DestinationType: "queue", RoutingKey: key})
		check.OK(err, "bind by "+key)
	}
	list, err := c.ListQueueBindingsBetween("/", "rh.x", "rh a/b")
	check.OK(err, "list bindings")
	check.Equal(len(list), 3, "bindings")
	for _, b := range list {
		_, err = c.DeleteBinding("/", b)
		check.OK(err, "unbind "+b.PropertiesKey)
	}
	list, err = c.ListQueueBindings("/", "rh a/b")
	check.OK(err, "list bindings")
	check.Equal(len(list), 1, "the default binding alone")
	q, err := c.GetQueue("/", "rh a/b")
	check.OK(err, "get the queue")
	check.Equal(q.Durable && q.Arguments["x-max-length"] == float64(10), true, "durable, with its argument")
	page, err := c.PagedListQueuesWithParameters(url.Values{"page": {"1"}, "name": {"rh a/b"}})
	check.OK(err, "a page")
	check.Equal(page.FilteredCount, 1, "found")
	_, err = c.PurgeQueue("/", "rh a/b")
	check.OK(err, "purge")
}

// connections closes one.
func connections(ctx context.Context) {
	c := guest()
	conn, err := dial("guest", "guest", "/")
	check.OK(err, "connect")
	_, err = conn.Channel()
	check.OK(err, "channel")
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	list, err := c.ListConnections()
	check.OK(err, "list connections")
	for _, one := range list {
		if one.Name != conn.LocalAddr().String()+" -> "+conn.RemoteAddr().String() {
			continue
		}
		channels, err := c.ListChannels()
		check.OK(err, "list channels")
		check.Equal(slices.ContainsFunc(channels, func(ch rabbithole.ChannelInfo) bool { return ch.ConnectionDetails.Name == one.Name }), true, "its channel")
		_, err = c.CloseConnection(one.Name)
		check.OK(err, "close")
		select {
		case why := <-closed:
			check.Equal(why.Reason, "CONNECTION_FORCED - Closed via management plugin", "reason")
		case <-ctx.Done():
			check.OK(ctx.Err(), "the connection is closed")
		}
		return
	}
	check.Equal("no connection", "the connection", "found")
}

// wellbeing asks how the broker is.
func wellbeing(context.Context) {
	c := guest()
	o, err := c.Overview()
	check.OK(err, "overview")
	check.Equal(o.ObjectTotals.Exchanges >= 7, true, "exchanges are counted")
	nodes, err := c.ListNodes()
	check.OK(err, "nodes")
	check.Equal(len(nodes), 1, "nodes")
	_, err = c.GetNode(nodes[0].Name)
	check.OK(err, "the node")
	health, err := c.HealthCheckAlarms()
	check.OK(err, "alarms")
	check.Equal(health.Status, "ok", "no alarm")
	protocol, err := c.HealthCheckProtocolListener("amqp091")
	check.OK(err, "protocol")
	check.Equal(protocol.Status, "ok", "AMQP listens")
}

func client(user, password string) *rabbithole.Client {
	c, err := rabbithole.NewClient("http://"+check.HTTP, user, password)
	check.OK(err, "client")
	c.SetTimeout(time.Minute)
	return c
}

func guest() *rabbithole.Client { return client("guest", "guest") }

// status fails unless the answer has that status.
func status(want int) func(*http.Response, error) {
	return func(res *http.Response, err error) {
		check.OK(err, "call")
		check.Equal(res.StatusCode, want, "status of "+res.Request.Method+" "+res.Request.URL.Path)
		_ = res.Body.Close()
	}
}

// refused returns what the broker said no with.
func refused(want int, err error) string {
	var e rabbithole.ErrorResponse
	if !errors.As(err, &e) {
		check.Fail("no error of the API: %v", err)
	}
	check.Equal(e.StatusCode, want, "status of "+e.Reason)
	if e.Message == "" || e.Reason == "" {
		check.Fail("an error without words: %+v", e)
	}
	return e.Reason
}

// host makes a virtual host of this run.
func host(c *rabbithole.Client, what string) string {
	name := check.Name(what)
	status(http.StatusCreated)(c.PutVhost(name, rabbithole.VhostSettings{}))
	return name
}

// dial opens a connection.
func dial(user, password, vhost string) (*amqp.Connection, error) {
	return amqp.DialConfig("amqp://"+check.AMQP+"/", amqp.Config{Vhost: vhost, SASL: []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}}})
}

func vhosts(context.Context) {
	c := guest()
	name := check.Name("vhost") + "/ä b+c"
	status(http.StatusCreated)(c.PutVhost(name, rabbithole.VhostSettings{Description: "d", Tags: rabbithole.VhostTags{"x", "y"}, DefaultQueueType: "quorum"}))
	status(http.StatusNoContent)(c.PutVhost(name, rabbithole.VhostSettings{Description: "e", Tags: rabbithole.VhostTags{"x"}, DefaultQueueType: "quorum"}))
	v := check.Get(c.GetVhost(name))
	check.Equal([]any{v.Name, v.Description, []string(v.Tags), v.DefaultQueueType}, []any{name, "e", []string{"x"}, "quorum"}, "virtual host")
	if !slices.ContainsFunc(check.Get(c.ListVhosts()), func(v rabbithole.VhostInfo) bool { return v.Name == name }) {
		check.Fail("it is not in the list")
	}
	status(http.StatusNoContent)(c.EnableVhostDeletionProtection(name))
	_, err := c.DeleteVhost(name)
	refused(http.StatusPreconditionFailed, err)
	status(http.StatusNoContent)(c.DisableVhostDeletionProtection(name))
	status(http.StatusNoContent)(c.DeleteVhost(name))
	_, err = c.GetVhost(name)
	refused(http.StatusNotFound, err)
}

func users(context.Context) {
	c := guest()
	name := check.Name("user")
	status(http.StatusCreated)(c.PutUser(name, rabbithole.UserSettings{Password: "one", Tags: rabbithole.UserTags{"management", "policymaker"}}))
	check.Equal([]string(check.Get(client(name, "one").Whoami()).Tags), []string{"management", "policymaker"}, "tags")
	if !slices.ContainsFunc(check.Get(c.ListUsersWithoutPermissions()), func(u rabbithole.UserInfo) bool { return u.Name == name }) {
		check.Fail("a user without permissions is not in that list")
	}
	hash := rabbithole.Base64EncodedSaltedPasswordHashSHA256("two")
	status(http.StatusNoContent)(c.PutUser(name, rabbithole.UserSettings{PasswordHash: hash, HashingAlgorithm: rabbithole.HashingAlgorithmSHA256, Tags: rabbithole.UserTags{"monitoring"}}))
	u := check.Get(c.GetUser(name))
	check.Equal([]any{u.PasswordHash, u.HashingAlgorithm, []string(u.Tags)}, []any{hash, rabbithole.HashingAlgorithmSHA256, []string{"monitoring"}}, "user")
	check.Get(client(name, "two").Whoami())
	_, err := client(name, "one").Whoami()
	check.Equal(err != nil, true, "the old password is refused")
	status(http.StatusNoContent)(c.PutUser(name, rabbithole.UserSettings{PasswordHash: rabbithole.Base64EncodedSaltedPasswordHashSHA512("three"),
		HashingAlgorithm: rabbithole.HashingAlgorithmSHA512, Tags: rabbithole.UserTags{"management"}}))
	check.Get(client(name, "three").Whoami())
	status(http.StatusCreated)(c.PutUserWithoutPassword(name+".x", rabbithole.UserSettings{Tags: rabbithole.UserTags{}}))
	status(http.StatusNoContent)(c.BulkDeleteUsers([]string{name, name + ".x", name + ".unknown"}))
	_, err = c.GetUser(name)
	refused(http.StatusNotFound, err)
}

func permissions(context.Context) {
	c := guest()
	name, v := check.Name("permitted"), host(c, "permitted")
	status(http.StatusCreated)(c.PutUser(name, rabbithole.UserSettings{Password: "p"}))
	status(http.StatusCreated)(c.UpdatePermissionsIn(v, name, rabbithole.Permissions{Configure: "^a", Write: "^b", Read: ".*"}))
	status(http.StatusNoContent)(c.UpdatePermissionsIn(v, name, rabbithole.Permissions{Configure: "^a", Write: "^b", Read: "^c"}))
	want := rabbithole.PermissionInfo{User: name, Vhost: v, Configure: "^a", Write: "^b", Read: "^c"}
	check.Equal(check.Get(c.GetPermissionsIn(v, name)), want, "permission")
	check.Equal(check.Get(c.ListPermissionsOf(name)), []rabbithole.PermissionInfo{want}, "permissions of a user")
	if !slices.Contains(check.Get(c.ListPermissions()), want) {
		check.Fail("it is not in the list")
	}
	status(http.StatusCreated)(c.UpdateTopicPermissionsIn(v, name, rabbithole.TopicPermissions{Exchange: "amq.topic", Write: "^w", Read: "^r"}))
	topic := rabbithole.TopicPermissionInfo{User: name, Vhost: v, Exchange: "amq.topic", Write: "^w", Read: "^r"}
	check.Equal(check.Get(c.GetTopicPermissionsIn(v, name)), []rabbithole.TopicPermissionInfo{topic}, "topic permission")
	check.Equal(check.Get(c.ListTopicPermissionsOf(name)), []rabbithole.TopicPermissionInfo{topic}, "topic permissions of a user")
	status(http.StatusNoContent)(c.DeleteTopicPermissionsIn(v, name, "amq.topic"))
	status(http.StatusNoContent)(c.ClearPermissionsIn(v, name))
	_, err := c.GetPermissionsIn(v, name)
	refused(http.StatusNotFound, err)
	_, err = c.UpdatePermissionsIn(v, name+".unknown", rabbithole.Permissions{})
	if why := refused(http.StatusBadRequest, err); !strings.Contains(why, "vhost_or_user_not_found") {
		check.Fail("%s", why)
	}
	status(http.StatusNoContent)(c.DeleteUser(name))
	status(http.StatusNoContent)(c.DeleteVhost(v))
}

// queued is how many messages a queue has.
func queued(ch *amqp.Channel, name string) int {
	return check.Get(ch.QueueDeclarePassive(name, false, false, false, false, nil)).Messages
}

func policies(context.Context) {
	c := guest()
	v := host(c, "policies")
	conn := check.Get(dial("guest", "guest", v))
	defer conn.Close()
	ch := check.Get(conn.Channel())
	check.Get(ch.QueueDeclare("q", true, false, false, false, nil))
	check.OK(ch.Confirm(false), "confirm")
	for range 5 {
		d := check.Get(ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{Body: []byte("x")}))
		check.Equal(d.Wait(), true, "confirm")
	}
	p := rabbithole.Policy{Pattern: "^q", ApplyTo: "queues", Priority: 3, Definition: rabbithole.PolicyDefinition{"max-length": 3}}
	status(http.StatusCreated)(c.PutPolicy(v, "p", p))
	check.Equal(queued(ch, "q"), 3, "messages under a policy")
	got := check.Get(c.GetPolicy(v, "p"))
	check.Equal([]any{got.Vhost, got.Name, got.Pattern, got.ApplyTo, got.Priority, got.Definition["max-length"]}, []any{v, "p", "^q", "queues", 3, 3.0}, "policy")
	status(http.StatusCreated)(c.PutOperatorPolicy(v, "o", rabbithole.OperatorPolicy{Pattern: "^q", ApplyTo: "queues", Definition: rabbithole.PolicyDefinition{"max-length": 2}}))
	check.Equal(queued(ch, "q"), 2, "messages under an operators' policy")
	check.Equal(len(check.Get(c.ListPoliciesIn(v))), 1, "policies")
	check.Equal(len(check.Get(c.ListOperatorPoliciesIn(v))), 1, "operators' policies")
	status(http.StatusNoContent)(c.DeleteOperatorPolicy(v, "o"))
	status(http.StatusNoContent)(c.DeletePolicy(v, "p"))
	_, err := c.PutPolicy(v, "p", rabbithole.Policy{Pattern: "^q", Definition: rabbithole.PolicyDefinition{"ha-mode": "all"}})
	if why := refused(http.StatusBadRequest, err); !strings.Contains(why, "ha-mode") {
		check.Fail("%s", why)
	}
	status(http.StatusNoContent)(c.DeleteVhost(v))
}

func limits(context.Context) {
	c := guest()
	name, v := check.Name("limited"), host(c, "limited")
	status(http.StatusCreated)(c.PutUser(name, rabbithole.UserSettings{Password: "p"}))
	status(http.StatusCreated)(c.UpdatePermissionsIn(v, name, rabbithole.Permissions{Configure: ".*", Write: ".*", Read: ".*"}))
	status(http.StatusNoContent)(c.PutVhostLimits(v, rabbithole.VhostLimitsValues{"max-connections": 1, "max-queues": 5}))
	check.Equal(check.Get(c.GetVhostLimits(v))[0].Value, rabbithole.VhostLimitsValues{"max-connections": 1, "max-queues": 5}, "limits of a virtual host")
	conn := check.Get(dial(name, "p", v))
	_, err := dial(name, "p", v)
	check.Equal(err != nil && strings.Contains(err.Error(), "connection limit (1) is reached"), true, "the second connection is refused")
	status(http.StatusNoContent)(c.DeleteVhostLimits(v, rabbithole.VhostLimits{"max-connections", "max-queues"}))
	check.Equal(len(check.Get(c.GetVhostLimits(v))), 0, "limits left")
	status(http.StatusNoContent)(c.PutUserLimits(name, rabbithole.UserLimitsValues{"max-channels": 1}))
	check.Equal(check.Get(c.GetUserLimits(name))[0].Value, rabbithole.UserLimitsValues{"max-channels": 1}, "limits of a user")
	check.Get(conn.Channel())
	_, err = conn.Channel()
	check.Equal(err != nil, true, "the second channel is refused")
	_ = conn.Close()
	status(http.StatusNoContent)(c.DeleteUserLimits(name, rabbithole.UserLimits{"max-channels"}))
	status(http.StatusNoContent)(c.DeleteUser(name))
	status(http.StatusNoContent)(c.DeleteVhost(v))
}

func parameters(context.Context) {
	c := guest()
	v := host(c, "parameters")
	status(http.StatusCreated)(c.PutRuntimeParameter("vhost-limits", v, "limits", map[string]any{"max-queues": 9}))
	p := check.Get(c.GetRuntimeParameter("vhost-limits", v, "limits"))
	check.Equal(p.Value, map[string]any{"max-queues": 9.0}, "parameter")
	check.Equal(len(check.Get(c.ListRuntimeParametersIn("vhost-limits", v))), 1, "parameters")
	status(http.StatusNoContent)(c.DeleteRuntimeParameter("vhost-limits", v, "limits"))
	name := check.Name("global")
	status(http.StatusCreated)(c.PutGlobalParameter(name, map[string]any{"a": []any{"b", 1}}))
	check.Equal(check.Get(c.GetGlobalParameter(name)).Value, map[string]any{"a": []any{"b", 1.0}}, "global parameter")
	status(http.StatusNoContent)(c.DeleteGlobalParameter(name))
	_, err := c.GetGlobalParameter(name)
	refused(http.StatusNotFound, err)
	was := check.Get(c.GetClusterName())
	status(http.StatusNoContent)(c.SetClusterName(rabbithole.ClusterName{Name: name}))
	check.Equal(check.Get(c.GetClusterName()).Name, name, "name of the cluster")
	status(http.StatusNoContent)(c.SetClusterName(*was))
	status(http.StatusNoContent)(c.DeleteVhost(v))
}

func definitions(context.Context) {
	c := guest()
	from, to := host(c, "from"), host(c, "to")
	conn := check.Get(dial("guest", "guest", from))
	ch := check.Get(conn.Channel())
	check.Get(ch.QueueDeclare("q", true, false, false, false, amqp.Table{"x-max-length": int64(5)}))
	check.OK(ch.ExchangeDeclare("x", "topic", true, false, false, false, nil), "exchange")
	check.OK(ch.QueueBind("q", "a.#", "x", false, nil), "binding")
	_ = conn.Close()
	all := check.Get(c.ListDefinitions())
	if !slices.ContainsFunc(*all.Queues, func(q rabbithole.QueueInfo) bool { return q.Vhost == from && q.Name == "q" }) || len(*all.Users) == 0 {
		check.Fail("definitions lack a queue or users")
	}
	one := check.Get(c.ListVhostDefinitions(from))
	check.Equal(len(*one.Queues), 1, "queues")
	check.Equal(len(*one.Bindings), 1, "bindings")
	status(http.StatusNoContent)(c.UploadVhostDefinitions(one, to))
	conn = check.Get(dial("guest", "guest", to))
	ch = check.Get(conn.Channel())
	check.Get(ch.QueueDeclare("q", true, false, false, false, amqp.Table{"x-max-length": int64(5)}))
	check.OK(ch.Publish("x", "a.b", false, false, amqp.Publishing{}), "publish")
	check.Equal(queued(ch, "q"), 1, "messages over an imported binding")
	_ = conn.Close()
	_, err := c.UploadDefinitions(&rabbithole.ExportedDefinitions{Queues: &[]rabbithole.QueueInfo{{Name: "q", Vhost: from + ".unknown"}}})
	if why := refused(http.StatusBadRequest, err); !strings.Contains(why, "Please create virtual host") {
		check.Fail("%s", why)
	}
	status(http.StatusNoContent)(c.DeleteVhost(from))
	status(http.StatusNoContent)(c.DeleteVhost(to))
}

func evictions(ctx context.Context) {
	c := guest()
	name, v := check.Name("evicted"), host(c, "evicted")
	all := rabbithole.Permissions{Configure: ".*", Write: ".*", Read: ".*"}
	for what, end := range map[string]func(){
		"user '" + name + "' is deleted": func() { status(http.StatusNoContent)(c.DeleteUser(name)) },
		"refused for user '" + name:      func() { status(http.StatusNoContent)(c.ClearPermissionsIn(v, name)) },
		"vhost '" + v + "' is deleted":   func() { status(http.StatusNoContent)(c.DeleteVhost(v)) },
	} {
		_, err := c.PutVhost(v, rabbithole.VhostSettings{})
		check.OK(err, "virtual host")
		_, err = c.PutUser(name, rabbithole.UserSettings{Password: "p"})
		check.OK(err, "user")
		_, err = c.UpdatePermissionsIn(v, name, all)
		check.OK(err, "permission")
		conn := check.Get(dial(name, "p", v))
		closed := conn.NotifyClose(make(chan *amqp.Error, 1))
		end()
		select {
		case why := <-closed:
			if why == nil || !strings.Contains(why.Reason, what) {
				check.Fail("closed with %v, not for %s", why, what)
			}
		case <-ctx.Done():
			check.Fail("%s: the connection stays", what)
		}
	}
	_, _ = c.DeleteVhost(v)
	_, _ = c.DeleteUser(name)
}

// terraform does what Terraform's provider does with rabbit-hole: a resource is put, read back until it is as it should be, and read
// again before each plan; a read that says 404 is a resource that somebody has deleted.
func terraform(context.Context) {
	c := guest()
	name := check.Name("terraform")
	read := func() []any {
		v := check.Get(c.GetVhost(name))
		u := check.Get(c.GetUser(name))
		p := check.Get(c.GetPermissionsIn(name, name))
		t := check.Get(c.GetTopicPermissionsIn(name, name))
		y := check.Get(c.GetPolicy(name, name))
		o := check.Get(c.GetOperatorPolicy(name, name))
		l := check.Get(c.GetVhostLimits(name))
		return []any{v.Description, v.DefaultQueueType, u.Tags, p, t, y, o, l}
	}
	apply := func(made int, length int) {
		status(made)(c.PutVhost(name, rabbithole.VhostSettings{Description: "managed"}))
		status(made)(c.PutUser(name, rabbithole.UserSettings{Password: "p", Tags: rabbithole.UserTags{"management"}}))
		status(made)(c.UpdatePermissionsIn(name, name, rabbithole.Permissions{Configure: ".*", Write: ".*", Read: ".*"}))
		status(made)(c.UpdateTopicPermissionsIn(name, name, rabbithole.TopicPermissions{Exchange: "amq.topic", Write: ".*", Read: ".*"}))
		status(made)(c.PutPolicy(name, name, rabbithole.Policy{Pattern: ".*", ApplyTo: "queues", Definition: rabbithole.PolicyDefinition{"max-length": length}}))
		status(made)(c.PutOperatorPolicy(name, name, rabbithole.OperatorPolicy{Pattern: ".*", ApplyTo: "queues", Definition: rabbithole.PolicyDefinition{"message-ttl": 60000}}))
		status(http.StatusNoContent)(c.PutVhostLimits(name, rabbithole.VhostLimitsValues{"max-queues": length}))
	}
	apply(http.StatusCreated, 10)
	first := read()
	check.Equal(read(), first, "a plan without a change")
	apply(http.StatusNoContent, 10)
	check.Equal(read(), first, "the same applied again")
	apply(http.StatusNoContent, 20)
	if got := check.Get(c.GetPolicy(name, name)).Definition["max-length"]; got != 20.0 {
		check.Fail("a changed policy has %v", got)
	}
	for _, destroy := range []func() (*http.Response, error){
		func() (*http.Response, error) { return c.DeleteVhostLimits(name, rabbithole.VhostLimits{"max-queues"}) },
		func() (*http.Response, error) { return c.DeleteOperatorPolicy(name, name) },
		func() (*http.Response, error) { return c.DeletePolicy(name, name) },
		func() (*http.Response, error) { return c.ClearTopicPermissionsIn(name, name) },
		func() (*http.Response, error) { return c.ClearPermissionsIn(name, name) },
		func() (*http.Response, error) { return c.DeleteUser(name) },
		func() (*http.Response, error) { return c.DeleteVhost(name) },
	} {
		status(http.StatusNoContent)(destroy())
	}
	for _, look := range []func() error{
		func() error { _, err := c.GetVhost(name); return err },
		func() error { _, err := c.GetUser(name); return err },
		func() error { _, err := c.GetPermissionsIn(name, name); return err },
		func() error { _, err := c.GetPolicy(name, name); return err },
	} {
		refused(http.StatusNotFound, look())
	}
}

func failures(context.Context) {
	c := guest()
	_, err := client("guest", "wrong").Whoami()
	check.Equal(err != nil, true, "a wrong password is refused")
	_, err = c.PutVhost(strings.Repeat("x", 300), rabbithole.VhostSettings{})
	refused(http.StatusBadRequest, err)
	_, err = c.PutUser(check.Name("nobody"), rabbithole.UserSettings{PasswordHash: "?"})
	refused(http.StatusBadRequest, err)
	_, err = c.PutPolicy("/", "p", rabbithole.Policy{Pattern: "(", Definition: rabbithole.PolicyDefinition{"max-length": 1}})
	if why := refused(http.StatusBadRequest, err); !strings.Contains(why, "regular expression") {
		check.Fail("%s", why)
	}
	_, err = c.PutRuntimeParameter("shovel", "/", "s", map[string]any{"src-uri": "amqp://"})
	if why := refused(http.StatusBadRequest, err); !strings.Contains(why, "component shovel not found") {
		check.Fail("%s", why)
	}
	_, err = c.PutPolicy(check.Name("unknown"), "p", rabbithole.Policy{Pattern: "x", Definition: rabbithole.PolicyDefinition{"max-length": 1}})
	refused(http.StatusNotFound, err)
	res, err := http.Get("http://" + check.HTTP + "/api/" + url.PathEscape("whoami"))
	check.OK(err, "GET without a login")
	check.Equal(res.StatusCode, http.StatusUnauthorized, "status without a login")
	_ = res.Body.Close()
}
