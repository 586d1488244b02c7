package config

import (
	"fmt"
	"strings"
)

// What images of other brokers are set up with is read, too, so that their deployments
// can start this one. LEVERET_… variables win over these.
const (
	rabbitUser      = "RABBITMQ_DEFAULT_USER"
	rabbitPassword  = "RABBITMQ_DEFAULT_PASS"
	rabbitVHost     = "RABBITMQ_DEFAULT_VHOST"
	kafkaListeners  = "KAFKA_LISTENERS"
	kafkaAdvertised = "KAFKA_ADVERTISED_LISTENERS"
	kafkaProtocols  = "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"
	kafkaControl    = "KAFKA_CONTROLLER_LISTENER_NAMES"
)

// aliases is what these say, by flag. An empty one says nothing.
func aliases(environ []string) (map[string]variable, error) {
	env := map[string]string{}
	for _, line := range environ {
		if name, value, _ := strings.Cut(line, "="); value != "" {
			env[name] = value
		}
	}
	found := map[string]variable{}
	take := func(flag, name string) {
		if value, ok := env[name]; ok {
			found[flag] = variable{name, value}
		}
	}
	take("default-user", rabbitUser)
	take("default-password", rabbitPassword)
	take("default-vhost", rabbitVHost)
	return found, kafkaAliases(env, found)
}

// kafkaAliases reads listeners in Kafka's own form. Those of Kafka's controllers have
// no meaning here. Where only the advertised ones are given, as images allow, the ports
// to listen at are theirs.
func kafkaAliases(env map[string]string, found map[string]variable) error {
	advertised, given := env[kafkaAdvertised]
	var told, toldTLS []string
	for _, item := range strings.Split(advertised, ",") {
		called, _, _ := strings.Cut(strings.TrimSpace(item), "://")
		if overTLS(env, called) {
			toldTLS = append(toldTLS, item)
		} else if given {
			told = append(told, item)
		}
	}
	set := func(flag, name string, list []string) {
		if len(list) > 0 {
			found[flag] = variable{name, strings.Join(list, ",")}
		}
	}
	set("kafka-advertised", kafkaAdvertised, told)
	set("kafka-tls-advertised", kafkaAdvertised, toldTLS)
	name, list := kafkaListeners, env[kafkaListeners]
	if list == "" && given {
		name, list = kafkaAdvertised, advertised
	}
	if list == "" {
		return nil
	}
	control := map[string]bool{"CONTROLLER": true}
	for _, c := range strings.Split(env[kafkaControl], ",") {
		control[strings.ToUpper(strings.TrimSpace(c))] = true
	}
	var bound, boundTLS []string
	for _, item := range strings.Split(list, ",") {
		called, at, named := strings.Cut(strings.TrimSpace(item), "://")
		if !named {
			return fmt.Errorf("%s: %q is not NAME://host:port", name, clip(item))
		}
		if control[strings.ToUpper(called)] {
			continue
		}
		if name == kafkaAdvertised {
			at = at[max(strings.LastIndexByte(at, ':'), 0):]
		}
		if overTLS(env, called) {
			boundTLS = append(boundTLS, called+"://"+at)
		} else {
			bound = append(bound, called+"://"+at)
		}
	}
	if len(bound) == 0 && len(boundTLS) > 0 {
		bound = []string{Off} // nobody asked for the usual port without TLS
	}
	set("kafka-addr", name, bound)
	set("kafka-tls-addr", name, boundTLS)
	return nil
}

// overTLS tells whether a listener is one with TLS: SSL or SASL_SSL.
func overTLS(env map[string]string, listener string) bool {
	return strings.HasSuffix(protocolOf(env[kafkaProtocols], listener), "SSL")
}

// protocolOf is the security protocol of a listener: what the map says, or its name.
func protocolOf(protocols, listener string) string {
	for _, pair := range strings.Split(protocols, ",") {
		if name, protocol, ok := strings.Cut(strings.TrimSpace(pair), ":"); ok && strings.EqualFold(name, listener) {
			return strings.ToUpper(protocol)
		}
	}
	return strings.ToUpper(listener)
}
