package management

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/pattern"
)

// healthRows are questions that are answered by the status: 200, or 503 with the reason.
var healthRows = []row{
	{path: "health/checks/alarms", method: get, who: management, do: (*call).checkAlarms, about: "Is there no alarm?"},
	{path: "health/checks/local-alarms", method: get, who: management, do: (*call).checkAlarms, about: "The same"},
	{path: "health/checks/virtual-hosts", method: get, who: management, do: (*call).checkVHosts, about: "Are all virtual hosts there?"},
	{path: "health/checks/node-is-quorum-critical", method: get, who: management, do: (*call).checkSingle, about: "Would queues be lost without this node?"},
	{path: "health/checks/node-is-mirror-sync-critical", method: get, who: management, do: (*call).checkSingle, about: "The same, of mirrors"},
	{path: "health/checks/port-listener/{port}", method: get, who: management, do: (*call).checkPort, about: "Is there a listener at the port?"},
	{path: "health/checks/protocol-listener/{protocols}", method: get, who: management, do: (*call).checkProtocol, about: "Is there one for the protocol, or for one of several?"},
	{path: "health/checks/certificate-expiration/{within}/{unit}", method: get, who: management, do: (*call).checkCertificates, about: "Will no certificate have expired by then?"},
	{path: "health/checks/is-in-service", method: get, who: management, do: (*call).checkService, about: "Does it serve clients?"},
	{path: "health/checks/ready-to-serve-clients", method: get, who: management, do: (*call).checkService, about: "The same"},
	{path: "health/checks/below-node-connection-limit", method: get, who: management, do: (*call).checkRoom, about: "Is there room for connections?"},
	{path: "health/checks/reached-target-cluster-size", method: get, who: management, do: (*call).checkSingle, about: "Are all nodes there?"},
	{path: "health/checks/metadata-store/initialized", method: get, who: management, do: (*call).checkService, about: "Are the definitions read?"},
	{path: "health/checks/metadata-store/initialized/with-data", method: get, who: management, do: (*call).checkService, about: "The same"},
	{path: "health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}", method: get, who: management, do: (*call).checkLeaders, about: "Does every quorum queue have a leader?"},
	{path: "health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}", method: get, who: management, do: (*call).checkLeaders, about: "The same, of one virtual host"},
	{path: "healthchecks/node", method: get, who: management, do: (*call).checkAlarms, about: "Is the node well?"},
	{path: "healthchecks/node/{node}", method: get, who: management, do: (*call).checkAlarms, about: "The same"},
	{path: "aliveness-test/{vhost}", method: get, who: management, scope: worked, do: (*call).aliveness, about: "Declares a queue, publishes to it and gets the message"},
}

func (c *call) checkOK() error { return c.json(object{{"status", "ok"}}) }

func (c *call) checkSingle() error {
	return c.json(object{{"status", "ok"}, {"reason", "single node cluster"}})
}

// checkService asks whether every listener accepts and the definitions, which are read before, are there.
func (c *call) checkService() error {
	if err := c.s.opts.Ready(); err != nil {
		return c.ill(err.Error())
	}
	return c.checkOK()
}

// checkVHosts asks whether the virtual hosts take messages: they do or do not together, as one store holds them.
func (c *call) checkVHosts() error {
	why := c.s.opts.Broker.Stats().Err
	if why == "" {
		return c.checkOK()
	}
	down := []string{}
	for _, v := range c.s.opts.Broker.VHosts() {
		down = append(down, v.Name)
	}
	return c.ill("Some virtual hosts are down: "+why, pair{"virtual-hosts", down})
}

func (c *call) checkRoom() error {
	m := c.s.opts.Machine()
	if m.SocketLimit > 0 && m.Sockets >= m.SocketLimit {
		return c.ill("node connection limit is reached", pair{"limit", m.SocketLimit}, pair{"connections", m.Sockets})
	}
	return c.json(object{{"status", "ok"}, {"limit", m.SocketLimit}, {"connections", m.Sockets}})
}

// checkLeaders asks for quorum queues that take nothing: what the loss of its leader is there, a log that a fault of
// the disk has made read-only is here.
func (c *call) checkLeaders() error {
	names, err := pattern.Compile(c.arg("pattern"))
	if err != nil {
		return badRequest("Invalid pattern: %v", err)
	}
	list := []object{}
	for _, v := range c.s.opts.Broker.VHosts() {
		if c.vhost != nil && v != c.vhost {
			continue
		}
		for _, q := range v.Queues() {
			if q.Type() == "quorum" && names.MatchString(q.Name) && q.Stats().ReadOnly != "" {
				list = append(list, object{{"name", q.Name}, {"virtual_host", v.Name}, {"type", "quorum"}, {"readable_name", "queue '" + q.Name + "' in vhost '" + v.Name + "'"}})
			}
		}
	}
	if len(list) == 0 {
		return c.checkOK()
	}
	return c.ill("There are quorum queues that take no messages", pair{"queues", list})
}

// ill answers that something is not as it should be.
func (c *call) ill(reason string, more ...pair) error {
	o := append(object{{"status", "failed"}, {"reason", reason}}, more...)
	return c.stream(http.StatusServiceUnavailable, "application/json", func(out *output) { out.buf = o.append(out.buf) })
}

func (c *call) checkAlarms() error {
	disk, memory := c.s.opts.Broker.Alarms()
	list := []object{}
	if disk != "" {
		list = append(list, object{{"node", c.s.opts.Node}, {"resource", "disk"}})
	}
	if memory != "" {
		list = append(list, object{{"node", c.s.opts.Node}, {"resource", "memory"}})
	}
	if len(list) == 0 {
		return c.checkOK()
	}
	return c.ill("There are alarms in effect in the cluster: "+c.s.opts.Broker.Alarm(), pair{"alarms", list})
}

func (c *call) checkPort() error {
	port, err := strconv.Atoi(c.arg("port"))
	if err != nil {
		return badRequest("Invalid port: %s", c.arg("port"))
	}
	ports := []any{}
	for _, l := range c.s.opts.Listeners() {
		if p := portOf(l.Addr); l.Up {
			if p == port {
				return c.json(object{{"status", "ok"}, {"port", port}})
			}
			ports = append(ports, p)
		}
	}
	return c.ill("No active listener", pair{"missing", port}, pair{"ports", ports})
}

func portOf(addr net.Addr) int {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// protocol is what RabbitMQ calls the protocol of a listener.
func (l *Listener) protocol() string {
	name, _, _ := strings.Cut(l.Name, " ")
	switch name {
	case "amqps":
		return "amqp/ssl"
	case "metrics":
		return "http/prometheus"
	case "metrics-tls":
		return "https/prometheus"
	}
	if plain, ok := strings.CutSuffix(name, "-tls"); ok {
		return plain + "/ssl"
	}
	return name
}

// protocolAliases are other names for a protocol.
var protocolAliases = map[string]string{"amqp091": "amqp", "amqp0-9-1": "amqp", "amqp0.9.1": "amqp", "amqp10": "amqp", "amqps": "amqp/ssl", "stomps": "stomp/ssl", "kafka-tls": "kafka/ssl", "prometheus": "http/prometheus"}

func (c *call) checkProtocol() error {
	var up []string
	for _, l := range c.s.opts.Listeners() {
		if l.Up && !slices.Contains(up, l.protocol()) {
			up = append(up, l.protocol())
		}
	}
	for want := range strings.SplitSeq(c.arg("protocols"), ",") {
		want = strings.TrimSpace(want)
		name := strings.ToLower(want)
		if alias, ok := protocolAliases[name]; ok {
			name = alias
		}
		if slices.Contains(up, name) {
			return c.json(object{{"status", "ok"}, {"protocol", want}})
		}
	}
	return c.ill("No active listener", pair{"missing", c.arg("protocols")}, pair{"protocols", up})
}

// units are those in which the time may be told before which a certificate expires.
var units = map[string]time.Duration{"days": 24 * time.Hour, "weeks": 7 * 24 * time.Hour, "months": 30 * 24 * time.Hour, "years": 365 * 24 * time.Hour}

func (c *call) checkCertificates() error {
	n, err := strconv.Atoi(c.arg("within"))
	unit, ok := units[c.arg("unit")]
	if err != nil || n < 0 || n > 10_000 || !ok {
		return badRequest("Invalid expiration: want a number and one of days, weeks, months, years")
	}
	end := c.s.opts.CertificateEnd
	if end == nil || end().After(time.Now().Add(time.Duration(n)*unit)) {
		return c.checkOK()
	}
	expired := []object{}
	for _, l := range c.s.opts.Listeners() {
		if l.TLS {
			expired = append(expired, object{{"node", c.s.opts.Node}, {"protocol", l.protocol()}, {"port", portOf(l.Addr)}, {"cert_expires_on", []string{end().UTC().Format("2006-01-02 15:04:05")}}})
		}
	}
	return c.ill("Certificates expiring", pair{"expired", expired})
}

// alivenessQueue is RabbitMQ's name for the queue of the test.
const alivenessQueue = "aliveness-test"

func (c *call) aliveness() error {
	s, err := c.session()
	if err != nil {
		return err
	}
	if _, err := s.DeclareQueue(alivenessQueue, broker.QueueOptions{}); err != nil {
		return err
	}
	m := &broker.Inbound{Key: []byte(alivenessQueue), Body: []byte("test_message"), Properties: []byte{0, 0}, TimestampMs: time.Now().UnixMilli(), Ref: 1}
	if _, err := c.store(s, m); err != nil {
		return err
	}
	got, err := s.Get(alivenessQueue, true)
	if err != nil {
		return err
	}
	if got == nil {
		return unavailable("the message of the test did not come back")
	}
	return c.checkOK()
}
