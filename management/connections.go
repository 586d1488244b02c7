package management

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/leveret-mq/leveret/broker"
)

// connectionRows are about connections, channels and consumers. A user sees their own, who may look at everything all.
var connectionRows = []row{
	{path: "connections", method: get, who: management, paged: true, do: (*call).allConnections, about: "The connections that are open"},
	{path: "vhosts/{vhost}/connections", method: get, who: management, scope: seen, paged: true, do: (*call).allConnections, about: "Those of one virtual host"},
	{path: "connections/{name}", method: get, who: management, do: (*call).oneConnection, about: "One connection"},
	{path: "connections/{name}", method: del, who: management, do: (*call).closeConnection, about: "Closes a connection; the header X-Reason is what its client is told"},
	{path: "connections/username/{user}", method: get, who: management, do: (*call).connectionsOfUser, about: "The connections of one user"},
	{path: "connections/username/{user}", method: del, who: management, do: (*call).closeConnectionsOfUser, about: "Closes them"},
	{path: "connections/{name}/channels", method: get, who: management, do: (*call).channelsOf, about: "The channels of one connection"},
	{path: "channels", method: get, who: management, paged: true, do: (*call).allChannels, about: "The channels that are open"},
	{path: "vhosts/{vhost}/channels", method: get, who: management, scope: seen, paged: true, do: (*call).allChannels, about: "Those of one virtual host"},
	{path: "channels/{name}", method: get, who: management, do: (*call).oneChannel, about: "One channel, with its consumers"},
	{path: "consumers", method: get, who: management, do: (*call).allConsumers, about: "All consumers of the virtual hosts that the user may see"},
	{path: "consumers/{vhost}", method: get, who: management, scope: seen, do: (*call).consumersOf, about: "Those of one virtual host"},
}

// connections are those that the user may see, of the virtual host of the path, or of the one of the header, only.
func (c *call) connections() ([]broker.ConnectionInfo, error) {
	all := c.s.opts.Broker.Connections()
	if err := c.take(int64(len(all)) * connectionFigures); err != nil {
		return nil, err
	}
	vhost := c.r.Header.Get("X-Vhost")
	if c.vhost != nil {
		vhost = c.vhost.Name
	}
	all = slices.DeleteFunc(all, func(i broker.ConnectionInfo) bool {
		return vhost != "" && i.VHost != vhost || !c.maySee(i.User)
	})
	slices.SortFunc(all, func(a, b broker.ConnectionInfo) int {
		return cmp.Or(cmp.Compare(a.VHost, b.VHost), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

// connectionFigures is what a connection takes while a list is made, in bytes.
const connectionFigures = 2 << 10

// maySee says whether what is another user's is for the user to see.
func (c *call) maySee(user string) bool { return user == c.user.Name || c.is(monitoring) }

func (c *call) allConnections() error {
	list, err := c.connections()
	if err != nil {
		return err
	}
	out := make(objects, len(list))
	for i := range list {
		out[i] = c.connectionObject(&list[i])
	}
	return c.listOf(out)
}

// protocolName is what RabbitMQ calls a protocol.
func protocolName(i *broker.ConnectionInfo) string {
	switch i.Protocol {
	case "amqp":
		return "AMQP 0-9-1"
	case "stomp":
		for _, p := range i.Properties {
			if p.Name == "version" {
				return "STOMP " + p.Value
			}
		}
		return "STOMP"
	case "kafka":
		return "Kafka"
	}
	return strings.ToUpper(i.Protocol)
}

// clientProperties are those that a client told; what stands behind a dot is an object of its own, as clients send it.
func clientProperties(list []broker.Property) object {
	o := object{}
	for _, p := range list {
		name, inner, nested := strings.Cut(p.Name, ".")
		if !nested {
			o = append(o, pair{p.Name, p.Value})
			continue
		}
		if n := len(o) - 1; n >= 0 && o[n].name == name {
			if below, ok := o[n].value.(object); ok {
				o[n].value = append(below, pair{inner, flagOrText(p.Value)})
				continue
			}
		}
		o = append(o, pair{name, object{{inner, flagOrText(p.Value)}}})
	}
	return o
}

func flagOrText(v string) any {
	if b, err := strconv.ParseBool(v); err == nil && len(v) > 1 {
		return b
	}
	return v
}

// hostPort takes an address apart.
func hostPort(addr string) (host string, port int) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, 0
	}
	port, _ = strconv.Atoi(text) // it is one
	return host, port
}

func (c *call) connectionObject(i *broker.ConnectionInfo) object {
	host, port := hostPort(i.Local)
	peerHost, peerPort := hostPort(i.Peer)
	state := "running"
	switch {
	case i.VHost == "":
		state = "opening"
	case c.s.opts.Broker.Alarm() != "":
		state = "blocking"
	}
	var name any
	for _, p := range i.Properties {
		if p.Name == "connection_name" {
			name = p.Value
		}
	}
	if i.Protocol != "amqp" && i.Name != "" {
		name = i.Name
	}
	o := object{
		{"name", i.Label()}, {"node", c.s.opts.Node}, {"vhost", i.VHost}, {"user", i.User}, {"protocol", protocolName(i)}, {"state", state}, {"type", "network"},
		{"channels", len(i.Channels)}, {"client_properties", clientProperties(i.Properties)}, {"user_provided_name", name}, {"connected_at", i.Since.UnixMilli()},
		{"host", host}, {"port", port}, {"peer_host", peerHost}, {"peer_port", peerPort}, {"channel_max", i.ChannelMax}, {"frame_max", i.FrameMax},
		{"timeout", int64(i.Heartbeat.Seconds())}, {"auth_mechanism", cmp.Or(i.Mechanism, "PLAIN")},
		{"recv_oct", i.Traffic.BytesIn}, {"recv_oct_details", c.rate(rateKey{connection: i.ID, what: "recv_oct"}, i.Traffic.BytesIn)},
		{"send_oct", i.Traffic.BytesOut}, {"send_oct_details", c.rate(rateKey{connection: i.ID, what: "send_oct"}, i.Traffic.BytesOut)},
		{"recv_cnt", i.Traffic.FramesIn}, {"send_cnt", i.Traffic.FramesOut}, {"send_pend", 0}, {"user_who_performed_action", i.User}, {"id", i.ID},
	}
	return append(o, tlsObject(i.TLS)...)
}

func tlsObject(t *broker.TLS) object {
	o := object{{"ssl", t != nil}}
	var version, group, cipher, subject, issuer, validity any
	if t != nil {
		version, group, cipher = t.Version, t.Group, t.Cipher
		if p := t.Peer; p != nil {
			subject, issuer = p.Subject, p.Issuer
			validity = p.NotBefore.UTC().Format("2006-01-02T15:04:05Z") + " - " + p.NotAfter.UTC().Format("2006-01-02T15:04:05Z")
		}
	}
	return append(o, object{{"ssl_protocol", version}, {"ssl_key_exchange", group}, {"ssl_cipher", cipher}, {"ssl_hash", nil},
		{"peer_cert_subject", subject}, {"peer_cert_issuer", issuer}, {"peer_cert_validity", validity}}...)
}

// connection finds the connection of the path, if the user may see it.
func (c *call) connection(name string) (*broker.ConnectionInfo, error) {
	for _, i := range c.s.opts.Broker.Connections() {
		if i.Label() != name {
			continue
		}
		if !c.maySee(i.User) {
			return nil, notAuthorised("User not authorised to access object")
		}
		return &i, nil
	}
	return nil, missing()
}

func (c *call) oneConnection() error {
	i, err := c.connection(c.arg("name"))
	if err != nil {
		return err
	}
	return c.one(c.connectionObject(i))
}

// defaultReason is what a client is told whose connection is closed without a reason: RabbitMQ's words.
const defaultReason = "Closed via management plugin"

// evict closes a connection.
func (c *call) evict(i *broker.ConnectionInfo) {
	reason := cmp.Or(c.r.Header.Get("X-Reason"), defaultReason)
	c.s.opts.Broker.EvictConnection(c.actor(), i.ID, reason[:min(len(reason), 200)])
}

// mayClose says whether a connection is for the user to close.
func (c *call) mayClose(user string) error {
	if user != c.user.Name && !c.is(administrator) {
		return notAuthorised("User not authorised to access object")
	}
	return nil
}

func (c *call) closeConnection() error {
	i, err := c.connection(c.arg("name"))
	if err == nil {
		err = c.mayClose(i.User)
	}
	if err != nil {
		return err
	}
	c.evict(i)
	return c.none()
}

// ofUser are the connections of the user of the path.
func (c *call) ofUser() (list []broker.ConnectionInfo, err error) {
	user := c.arg("user")
	if !c.maySee(user) {
		return nil, notAuthorised("User not authorised to access object")
	}
	for _, i := range c.s.opts.Broker.Connections() {
		if i.User == user {
			list = append(list, i)
		}
	}
	return list, nil
}

func (c *call) connectionsOfUser() error {
	list, err := c.ofUser()
	if err != nil {
		return err
	}
	out := objects{}
	for _, i := range list {
		out = append(out, object{{"name", i.Label()}, {"vhost", i.VHost}, {"user", i.User}, {"node", c.s.opts.Node}})
	}
	return c.listOf(out)
}

func (c *call) closeConnectionsOfUser() error {
	list, err := c.ofUser()
	if err == nil {
		err = c.mayClose(c.arg("user"))
	}
	if err != nil {
		return err
	}
	for i := range list {
		c.evict(&list[i])
	}
	return c.none()
}

// channelLabel is what tools call a channel.
func channelLabel(connection string, number int) string {
	return connection + " (" + strconv.Itoa(number) + ")"
}

func (c *call) channelObjects(list []broker.ConnectionInfo) (out objects) {
	out = objects{}
	for k := range list {
		i := &list[k]
		if i.Protocol == "kafka" {
			continue
		}
		for n := range i.Channels {
			out = append(out, c.channelObject(i, &i.Channels[n]))
		}
	}
	return out
}

func (c *call) channelObject(i *broker.ConnectionInfo, ch *broker.ChannelInfo) object {
	host, port := hostPort(i.Peer)
	return object{
		{"name", channelLabel(i.Label(), ch.Number)}, {"number", ch.Number}, {"node", c.s.opts.Node}, {"user", i.User}, {"vhost", i.VHost}, {"state", "running"},
		{"confirm", ch.Confirms}, {"transactional", ch.Transactional}, {"consumer_count", ch.Consumers}, {"prefetch_count", ch.Prefetch}, {"global_prefetch_count", ch.SharedPrefetch},
		{"messages_unacknowledged", ch.Unacked}, {"messages_unconfirmed", ch.Unconfirmed}, {"messages_uncommitted", ch.Uncommitted}, {"acks_uncommitted", ch.UncommittedAcks},
		{"user_who_performed_action", i.User},
		{"connection_details", object{{"name", i.Label()}, {"peer_host", host}, {"peer_port", port}}},
		{"message_stats", c.channelStats(i, ch)},
	}
}

func (c *call) channelStats(i *broker.ConnectionInfo, ch *broker.ChannelInfo) object {
	if ch.Published+ch.Delivered == 0 {
		return object{}
	}
	key := rateKey{connection: i.ID, channel: ch.Number}
	return object{}.counter(c, key, "publish", ch.Published).counter(c, key, "deliver_get", ch.Delivered)
}

func (c *call) allChannels() error {
	list, err := c.connections()
	if err != nil {
		return err
	}
	return c.listOf(c.channelObjects(list))
}

func (c *call) channelsOf() error {
	i, err := c.connection(c.arg("name"))
	if err != nil {
		return err
	}
	return c.listOf(c.channelObjects([]broker.ConnectionInfo{*i}))
}

func (c *call) oneChannel() error {
	name := c.arg("name")
	at := strings.LastIndex(name, " (")
	if at < 0 {
		return missing()
	}
	i, err := c.connection(name[:at])
	if err != nil {
		return err
	}
	for n := range i.Channels {
		ch := &i.Channels[n]
		if channelLabel(i.Label(), ch.Number) != name {
			continue
		}
		consumers := []object{}
		if v, err := c.s.opts.Broker.VHost(i.VHost); err == nil {
			for _, k := range c.consumersIn([]*broker.VHost{v}) {
				if k.Connection != nil && k.Connection.ID == i.ID && k.Channel == ch.Number {
					consumers = append(consumers, c.consumerObject(&k))
				}
			}
		}
		return c.one(append(c.channelObject(i, ch), object{{"consumer_details", consumers}, {"publishes", []any{}}, {"deliveries", []any{}}}...))
	}
	return missing()
}

// consumersIn are the consumers of all queues there, by virtual host and queue.
func (c *call) consumersIn(vhosts []*broker.VHost) (out []broker.ConsumerInfo) {
	for _, v := range vhosts {
		var list []broker.ConsumerInfo
		for _, q := range v.Queues() {
			if q.Consumers() > 0 {
				list = append(list, q.ConsumerInfos()...)
			}
		}
		slices.SortStableFunc(list, func(a, b broker.ConsumerInfo) int { return cmp.Compare(a.Queue.Name, b.Queue.Name) })
		out = append(out, list...)
	}
	return out
}

func (c *call) allConsumers() error { return c.listConsumers(c.vhosts(true)) }
func (c *call) consumersOf() error  { return c.listConsumers([]*broker.VHost{c.vhost}) }

func (c *call) listConsumers(vhosts []*broker.VHost) error {
	list := c.consumersIn(vhosts)
	if err := c.take(int64(len(list)) * connectionFigures / 2); err != nil {
		return err
	}
	return c.listOf(consumerList{c, list})
}

type consumerList struct {
	c    *call
	list []broker.ConsumerInfo
}

func (l consumerList) length() int                    { return len(l.list) }
func (l consumerList) name(i int) string              { return l.list[i].Tag }
func (l consumerList) value(i int, path []string) any { return lookup(l.object(i, nil), path) }
func (l consumerList) object(i int, _ *wanted) object { return l.c.consumerObject(&l.list[i]) }

func (c *call) consumerObject(k *broker.ConsumerInfo) object {
	active, status := true, "up"
	switch {
	case k.Waits:
		active, status = false, "waiting"
	case k.Single:
		status = "single_active"
	}
	var channel any
	if i := k.Connection; i != nil {
		host, port := hostPort(i.Peer)
		channel = object{{"name", channelLabel(i.Label(), k.Channel)}, {"number", k.Channel}, {"connection_name", i.Label()}, {"node", c.s.opts.Node},
			{"peer_host", host}, {"peer_port", port}, {"user", i.User}}
	}
	return object{
		{"consumer_tag", k.Tag}, {"ack_required", k.Acks}, {"active", active}, {"activity_status", status}, {"exclusive", k.Exclusive}, {"prefetch_count", k.Prefetch},
		{"arguments", tableObject(k.Args)}, {"consumer_timeout", k.Timeout.Milliseconds()}, {"queue", object{{"name", k.Queue.Name}, {"vhost", k.Queue.VHost().Name}}},
		{"channel_details", channel},
	}
}
