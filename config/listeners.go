package config

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
)

// Listener is one address at which clients of a protocol connect.
type Listener struct {
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
	if c.KafkaAddr == Off {
		return nil, nil
	}
	list, err := parseListeners(c.KafkaAddr, address)
	if err != nil {
		return nil, err
	}
	for _, l := range list {
		if l.Addr == Off {
			return nil, errors.New("off stands alone")
		}
	}
	return list, advertise(list, c.KafkaAdvertised)
}

// validateKafkaListeners checks both settings, and blames the one that is wrong.
func (c *Config) validateKafkaListeners(check func(flag string, err error)) {
	_, err := c.KafkaListeners()
	plain := Config{KafkaAddr: c.KafkaAddr}
	if _, alone := plain.KafkaListeners(); alone != nil {
		check("kafka-addr", alone)
	} else {
		check("kafka-advertised", err)
	}
}

// advertise gives each listener what its clients are told: what bears its name, or what bears none.
func advertise(list []Listener, text string) error {
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
			return fmt.Errorf("%s://%s: no listener of --kafka-addr is called so", t.Name, t.Addr)
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
