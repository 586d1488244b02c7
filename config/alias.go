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
	if given {
		found["kafka-advertised"] = variable{kafkaAdvertised, advertised}
	}
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
	var bound []string
	for _, item := range strings.Split(list, ",") {
		called, at, named := strings.Cut(strings.TrimSpace(item), "://")
		if !named {
			return fmt.Errorf("%s: %q is not NAME://host:port", name, clip(item))
		}
		if control[strings.ToUpper(called)] {
			continue
		}
		if p := protocolOf(env[kafkaProtocols], called); strings.HasSuffix(p, "SSL") {
			return fmt.Errorf("%s: %s is a listener with TLS (%s), which is not set this way", name, called, p)
		}
		if name == kafkaAdvertised {
			at = at[max(strings.LastIndexByte(at, ':'), 0):]
		}
		bound = append(bound, called+"://"+at)
	}
	if len(bound) > 0 {
		found["kafka-addr"] = variable{name, strings.Join(bound, ",")}
	}
	return nil
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
