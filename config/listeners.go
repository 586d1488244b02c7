package config

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Listener is one address at which clients of a protocol connect.
type Listener struct {
	// Kind is what it is called in figures and in the log.
	Kind string
	// Flag is the setting that its address is from.
	Flag string
	// TLS says that clients speak TLS with it.
	TLS bool
	// Name tells the listeners of a protocol apart; "" for one that needs none.
	Name string
	// Addr is where it listens, host:port with a host that may be empty.
	Addr string
	// Advertised is where its clients are told to connect to; "" is where they did.
	Advertised string
}

// maxListeners bounds the listeners of one protocol.
const maxListeners = 32

var listenerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)

// parseListeners reads host:port, or several with commas, each with a name before it as
// Kafka has it: NAME://host:port. check looks at each address.
func parseListeners(text string, check func(string) error) ([]Listener, error) {
	var list []Listener
	for _, item := range strings.Split(text, ",") {
		var l Listener
		var named bool
		item = strings.TrimSpace(item)
		if l.Name, l.Addr, named = strings.Cut(item, "://"); !named {
			l.Name, l.Addr = "", item
		}
		if named && !listenerName.MatchString(l.Name) {
			return nil, fmt.Errorf("%q has a name that is not of letters, digits, '.', '_', '-' and '+'", item)
		}
		if err := check(l.Addr); err != nil {
			return nil, err
		}
		for _, other := range list {
			if strings.EqualFold(other.Name, l.Name) && named {
				return nil, fmt.Errorf("the name %s stands twice", l.Name)
			}
			if other.Addr == l.Addr && !anyPort(l.Addr) {
				return nil, fmt.Errorf("the address %s stands twice", l.Addr)
			}
		}
		if list = append(list, l); len(list) > maxListeners {
			return nil, fmt.Errorf("there are more than %d", maxListeners)
		}
	}
	return list, nil
}

func anyPort(addr string) bool {
	_, port, _ := net.SplitHostPort(addr)
	return port == "0"
}

// KafkaListeners is where Kafka clients connect, and what those of each listener are told
// of the broker's address. None is no listener.
func (c *Config) KafkaListeners() ([]Listener, error) {
	plain, err := listenersFor(Listener{Kind: "kafka", Flag: "kafka-addr"}, c.KafkaAddr, c.KafkaAdvertised)
	if err != nil {
		return nil, err
	}
	secured, err := listenersFor(Listener{Kind: "kafka-tls", Flag: "kafka-tls-addr", TLS: true}, c.tlsAddress(c.KafkaTLSAddr, "9093"), c.KafkaTLSAdvertised)
	return append(plain, secured...), err
}

// listenersFor are those of one setting; like is what they have in common.
func listenersFor(like Listener, addrs, advertised string) ([]Listener, error) {
	if addrs == Off {
		return nil, nil
	}
	list, err := parseListeners(addrs, address)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Addr == Off {
			return nil, errors.New("off stands alone")
		}
		list[i].Kind, list[i].Flag, list[i].TLS = like.Kind, like.Flag, like.TLS
	}
	return list, advertise(list, advertised, like.Flag)
}

// AMQPListeners is where AMQP 0-9-1 clients connect.
func (c *Config) AMQPListeners() ([]Listener, error) {
	var list []Listener
	if c.AMQPAddr != Off {
		list = append(list, Listener{Kind: "amqp", Flag: "amqp-addr", Addr: c.AMQPAddr})
	}
	if addr := c.tlsAddress(c.AMQPSAddr, "5671"); addr != Off {
		list = append(list, Listener{Kind: "amqps", Flag: "amqps-addr", Addr: addr, TLS: true})
	}
	return list, nil
}

// The kinds of listeners whose clients speak STOMP over WebSocket.
const (
	STOMPOverWebSocket    = "stomp-ws"
	STOMPOverWebSocketTLS = "stomp-wss"
)

// STOMPListeners is where STOMP clients connect.
func (c *Config) STOMPListeners() ([]Listener, error) {
	var list []Listener
	if c.STOMPAddr != Off {
		list = append(list, Listener{Kind: "stomp", Flag: "stomp-addr", Addr: c.STOMPAddr})
	}
	if addr := c.tlsAddress(c.STOMPTLSAddr, "61614"); addr != Off {
		list = append(list, Listener{Kind: "stomp-tls", Flag: "stomp-tls-addr", Addr: addr, TLS: true})
	}
	if c.STOMPWSAddr != Off {
		list = append(list, Listener{Kind: STOMPOverWebSocket, Flag: "stomp-ws-addr", Addr: c.STOMPWSAddr})
	}
	if addr := c.tlsAddress(c.STOMPWSSAddr, "15673"); addr != Off {
		list = append(list, Listener{Kind: STOMPOverWebSocketTLS, Flag: "stomp-wss-addr", Addr: addr, TLS: true})
	}
	return list, nil
}

// STOMPOrigins are from where pages may connect to STOMP over WebSocket, in small letters; none is anywhere.
func (c *Config) STOMPOrigins() ([]string, error) {
	if c.STOMPWSOrigins == "" {
		return nil, nil
	}
	var list []string
	for one := range strings.SplitSeq(c.STOMPWSOrigins, ",") {
		one = strings.ToLower(strings.TrimSpace(one))
		scheme, host, ok := strings.Cut(one, "://")
		if !ok || scheme == "" || host == "" || strings.ContainsAny(host, "/ ") {
			return nil, fmt.Errorf("%q is not scheme://host or scheme://host:port, nothing behind it", one)
		}
		list = append(list, one)
	}
	return list, nil
}

// HTTPListeners is where the management API is served.
func (c *Config) HTTPListeners() []Listener {
	return webListeners(
		Listener{Kind: "http", Flag: "http-addr", Addr: c.HTTPAddr},
		Listener{Kind: "https", Flag: "http-tls-addr", Addr: c.tlsAddress(c.HTTPTLSAddr, "15671"), TLS: true})
}

// webListeners are those of a plain one and one with TLS that are not off.
func webListeners(both ...Listener) []Listener {
	return slices.DeleteFunc(both, func(l Listener) bool { return l.Addr == Off })
}

// Origins are those of HTTPCORSOrigins.
func (c *Config) Origins() []string {
	var list []string
	for _, o := range strings.Split(c.HTTPCORSOrigins, ",") {
		if o = strings.TrimSpace(o); o != "" {
			list = append(list, o)
		}
	}
	return list
}

// XMPPListeners is where XMPP clients connect. All of them have TLS; those that begin without it are not marked so.
func (c *Config) XMPPListeners() ([]Listener, error) {
	var list []Listener
	if c.XMPPAddr != Off {
		list = append(list, Listener{Kind: "xmpp", Flag: "xmpp-addr", Addr: c.XMPPAddr})
	}
	addr := c.XMPPSAddr
	if addr == Auto {
		if addr = Off; c.XMPPAddr == ":5222" {
			addr = ":5223"
		}
	}
	if addr != Off {
		list = append(list, Listener{Kind: "xmpps", Flag: "xmpps-addr", Addr: addr, TLS: true})
	}
	return list, nil
}

// XMPPDomain is a domain of XMPP clients' addresses.
type XMPPDomain struct {
	Name  string // in lower case
	VHost string // "" where none is named
}

// XMPPDomainList are the domains, at least one.
func (c *Config) XMPPDomainList() ([]XMPPDomain, error) {
	var list []XMPPDomain
	for _, item := range strings.Split(c.XMPPDomains, ",") {
		name, vhost, named := strings.Cut(strings.TrimSpace(item), "=")
		name = strings.ToLower(name)
		switch {
		case !domainName.MatchString(name) || len(name) > 253:
			return nil, fmt.Errorf("%q is not a domain of letters, digits, '-' and '.'", name)
		case named && (vhost == "" || len(vhost) > 255):
			return nil, fmt.Errorf("%q has no name of a virtual host of 1 to 255 bytes behind '='", item)
		case slices.ContainsFunc(list, func(d XMPPDomain) bool { return d.Name == name }):
			return nil, fmt.Errorf("the domain %s stands twice", name)
		}
		if list = append(list, XMPPDomain{name, vhost}); len(list) > maxListeners {
			return nil, fmt.Errorf("there are more than %d", maxListeners)
		}
	}
	return list, nil
}

var domainName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// MetricsListeners is where /metrics and /health are served.
func (c *Config) MetricsListeners() []Listener {
	return webListeners(
		Listener{Kind: "metrics", Flag: "metrics-addr", Addr: c.MetricsAddr},
		Listener{Kind: "metrics-tls", Flag: "metrics-tls-addr", Addr: c.tlsAddress(c.MetricsTLSAddr, "15691"), TLS: true})
}

// validateKafkaListeners checks the settings, and blames the one that is wrong.
func (c *Config) validateKafkaListeners(check func(flag string, err error)) {
	for _, l := range []struct{ flag, addrs, toldFlag, told string }{
		{"kafka-addr", c.KafkaAddr, "kafka-advertised", c.KafkaAdvertised},
		{"kafka-tls-addr", c.tlsAddress(c.KafkaTLSAddr, "9093"), "kafka-tls-advertised", c.KafkaTLSAdvertised},
	} {
		_, err := listenersFor(Listener{Flag: l.flag}, l.addrs, l.told)
		if _, alone := listenersFor(Listener{}, l.addrs, ""); alone != nil {
			check(l.flag, alone)
		} else {
			check(l.toldFlag, err)
		}
	}
}

// advertise gives each listener what its clients are told: what bears its name, or what bears none.
func advertise(list []Listener, text, flag string) error {
	if text == "" {
		return nil
	}
	told, err := parseListeners(text, advertised)
	if err != nil {
		return err
	}
	if len(list) == 1 && len(told) == 1 && list[0].Name == "" {
		told[0].Name = "" // there is only one that it can be
	}
	for i, t := range told {
		if t.Name == "" && i > 0 && told[0].Name == "" {
			return fmt.Errorf("%q: only one can be without the name of a listener", t.Addr)
		}
		found := false
		for j := range list {
			if l := &list[j]; strings.EqualFold(l.Name, t.Name) || t.Name == "" && l.Advertised == "" {
				l.Advertised, found = t.Addr, true
			}
		}
		if !found && t.Name != "" {
			return fmt.Errorf("%s://%s: no listener of --%s is called so", t.Name, t.Addr, flag)
		}
	}
	return nil
}

// advertised accepts host:port with both parts.
func advertised(a string) error {
	host, port, err := net.SplitHostPort(a)
	n, perr := strconv.Atoi(port)
	if err != nil || host == "" || perr != nil || n < 1 || n > 65535 {
		return fmt.Errorf("%q is not host:port", a)
	}
	return nil
}
