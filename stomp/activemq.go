package stomp

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/stomp/frame"
)

// ActiveMQ's dialect, and Artemis's, as far as RabbitMQ's says nothing else.
//
//	SUBSCRIBE    activemq.subscriptionName   a durable subscription: the name and the client-id of CONNECT are what it is
//	             activemq.prefetchSize       prefetch-count
//	             destination:/topic/a.>      the pattern a.#
//	             selector                    refused: who asks for some messages must not get all
//	UNSUBSCRIBE  activemq.subscriptionName   deletes the subscription, when nobody consumes it
//	SEND         AMQ_SCHEDULED_DELAY         through an exchange that delays
//	             expires                     when the message expires, in ms since 1970
//	both         destination-type            ANYCAST or MULTICAST: what a name alone is

// durableNames are what brokers call the header with the name of a durable subscription.
var durableNames = [...]string{"activemq.subscriptionName", "durable-subscription-name", "durable-subscriber-name"}

// subscriptionName is the name of the durable subscription that a frame is about.
func subscriptionName(f *frame.Frame) (name string, ok bool) {
	for _, header := range durableNames {
		if value, ok := f.Get(header); ok {
			return string(value), true
		}
	}
	return "", false
}

// durableQueue is the queue of a durable subscription; two clients under one name have two.
func (c *conn) durableQueue(name string) (string, error) {
	if c.clientID == "" {
		return "", fail("Missing Header", "the durable subscription '%s' needs the header 'client-id' on CONNECT", clip([]byte(name)))
	}
	return lastingName("client "+c.clientID, name), nil
}

// subscribeDurably makes the queue of a durable subscription to d, or finds it. One that was to something else is to d
// from now on.
func (c *conn) subscribeDurably(name string, d *destination, args []byte) (queue string, err error) {
	if queue, err = c.durableQueue(name); err != nil {
		return "", err
	}
	_, err = c.session.LookAt(queue)
	known := err == nil
	if _, err = c.session.DeclareQueue(queue, broker.QueueOptions{Durable: true, Args: args}); err != nil {
		return "", err
	}
	b := broker.Binding{Source: d.exchange, Dest: queue, Key: d.key}
	if err := c.session.Bind(b); err != nil || !known {
		return queue, err
	}
	return queue, c.unbindOthers(b)
}

// unbindOthers leaves a queue the one binding, of those from exchanges.
func (c *conn) unbindOthers(b broker.Binding) error {
	for _, other := range c.session.BindingsTo(b.Dest) {
		if other.Source == "" || other.Source == b.Source && other.Key == b.Key {
			continue
		}
		if err := c.session.Unbind(other); err != nil && broker.KindOf(err) != broker.NotFound {
			return err
		}
	}
	return nil
}

// deleteDurable is UNSUBSCRIBE of a durable subscription.
func (c *conn) deleteDurable(name string) error {
	queue, err := c.durableQueue(name)
	if err != nil {
		return err
	}
	if _, err := c.session.LookAt(queue); err != nil {
		return fail("No subscription found", "No durable subscription exists for client-id '%s' and the name '%s'.", clip([]byte(c.clientID)), clip([]byte(name)))
	}
	_, err = c.session.DeleteQueue(queue, true, false)
	if broker.KindOf(err) == broker.Precondition {
		return c.inUse(name)
	}
	return err
}

func (c *conn) inUse(name string) error {
	return fail("Durable consumer is in use", "Durable consumer is in use for client-id '%s' and the name '%s'.", clip([]byte(c.clientID)), clip([]byte(name)))
}

// destinationOf reads the destination of a SEND or SUBSCRIBE.
func destinationOf(f *frame.Frame, text string) (destination, error) {
	d, err := parseDestination(text)
	if err != nil {
		return d, err
	}
	value, ok := f.Get("destination-type")
	switch {
	case !ok:
	case string(value) == "MULTICAST":
		if d.kind == toQueue && !strings.HasPrefix(text, "/") {
			d = destination{kind: toTopic, exchange: topicExchange, key: d.key}
		}
	case string(value) != "ANYCAST":
		return d, fail("Invalid header", "'destination-type' is neither ANYCAST nor MULTICAST: '%s'", clip(value))
	}
	if f.Command == frame.Subscribe && d.kind == toTopic && (d.key == ">" || strings.HasSuffix(d.key, ".>")) {
		d.key = d.key[:len(d.key)-1] + "#"
	}
	return d, nil
}

const (
	headerScheduled = "AMQ_SCHEDULED_DELAY"
	headerDelay     = "x-delay" // of the exchange that delays
	headerExpires   = "expires"
	// delayedPrefix is before the names of exchanges that delay what goes to another.
	delayedPrefix = "stomp-delayed/"
	// leastExpires tells the times of ActiveMQ from what others call so: it is in 2001.
	leastExpires = 1_000_000_000_000
)

// scheduled reads by how many ms a message is to be delayed; 0 is at once.
func scheduled(f *frame.Frame) (ms int64, err error) {
	for _, name := range [...]string{"AMQ_SCHEDULED_CRON", "AMQ_SCHEDULED_PERIOD", "AMQ_SCHEDULED_REPEAT"} {
		if value, ok := f.Get(name); ok && trim(value) != "" && trim(value) != "0" {
			return 0, fail("Invalid header", "'%s' is not supported: a message can be delayed once, by %s", name, headerScheduled)
		}
	}
	value, ok := f.Get(headerScheduled)
	if !ok {
		return 0, nil
	}
	if ms, err = strconv.ParseInt(trim(value), 10, 64); err != nil || ms < 0 {
		return 0, fail("Invalid header", "'%s' is not a number of milliseconds: '%s'", headerScheduled, clip(value))
	}
	return ms, nil
}

// delaying makes, once a connection, the exchange that delays what goes to d, and says its name.
//
//	/queue/N             stomp-delayed/      direct, bound to N as N
//	/exchange/X, /topic  stomp-delayed/X     topic, bound to X with #
func (c *conn) delaying(d *destination) (string, error) {
	name, kind := delayedPrefix+d.exchange, "topic"
	b := broker.Binding{Source: name, Dest: d.exchange, ToExchange: true, Key: "#"}
	if d.exchange == "" {
		kind, b = "direct", broker.Binding{Source: name, Dest: d.key, Key: d.key}
	}
	known := "\x00" + b.Source + "\x00" + b.Dest
	if c.ensured[known] {
		return name, nil
	}
	args := field.AppendString(field.AppendName(nil, "x-delayed-type"), []byte(kind))
	if _, err := c.session.DeclareExchange(name, broker.ExchangeOptions{Type: "x-delayed-message", Durable: true, Args: args}); err != nil {
		return "", err
	}
	if err := c.session.Bind(b); err != nil {
		return "", err
	}
	c.ensure(known)
	return name, nil
}

// undelayed is the exchange that a message was sent to by its client, when it has come through one that delays.
func undelayed(exchange []byte) []byte {
	name, _ := bytes.CutPrefix(exchange, []byte(delayedPrefix))
	return name
}

// expires reads when a message expires, as a duration; ok is false when nothing of the kind is said.
func expires(f *frame.Frame, now time.Time) (ms int64, ok bool) {
	value, _ := f.Get(headerExpires)
	at, err := strconv.ParseInt(trim(value), 10, 64)
	if err != nil || at < leastExpires {
		return 0, false
	}
	return max(at-now.UnixMilli(), 0), true
}
