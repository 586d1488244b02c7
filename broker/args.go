package broker

import (
	"strconv"
	"time"

	"github.com/leveret-mq/leveret/message"
)

// queueSettings are the arguments that change what a queue does.
type queueSettings struct {
	kind      string        // x-queue-type; "" is classic
	retention time.Duration // x-retention
}

// Arguments of a queue, by what is done with them.
const (
	argType      = "x-queue-type"
	argRetention = "x-retention"
)

// laterQueueArgs come with a later release; they are refused by name, not ignored.
var laterQueueArgs = map[string]bool{
	"x-message-ttl": true, "x-expires": true, "x-max-length": true, "x-max-length-bytes": true, "x-overflow": true,
	"x-dead-letter-exchange": true, "x-dead-letter-routing-key": true, "x-dead-letter-strategy": true,
	"x-delivery-limit": true, "x-max-priority": true, "x-single-active-consumer": true, "x-max-age": true,
	"x-stream-max-segment-size-bytes": true, "x-stream-filter-size-bytes": true, "x-consumer-timeout": true,
	"x-consumer-disconnected-timeout": true, "x-delayed-retry-type": true, "x-delayed-retry-min": true, "x-delayed-retry-max": true,
}

// parseQueueArgs reads the arguments of a declaration. Unknown ones are ignored, as
// RabbitMQ does; those that only place a queue in a cluster have no effect here.
func parseQueueArgs(queue string, raw []byte) (queueSettings, error) {
	var s queueSettings
	t := message.NewTableReader(raw)
	for t.Next() {
		name := string(t.Name())
		switch {
		case laterQueueArgs[name]:
			return s, fail(Precondition, "invalid arg '%s' for queue '%s': not supported yet", name, queue)
		case name == argType:
			s.kind = string(t.Text())
			switch s.kind {
			case "classic", "quorum":
			case "stream":
				return s, fail(Precondition, "invalid arg '%s' for queue '%s': type 'stream' is not supported yet; '%s' keeps a queue's history", name, queue, argRetention)
			default:
				return s, fail(Precondition, "invalid arg '%s' for queue '%s': unknown type '%s'", name, queue, s.kind)
			}
		case name == argRetention:
			d, ok := ParseAge(string(t.Text()))
			if !ok {
				return s, fail(Precondition, "invalid arg '%s' for queue '%s': want a number and one of Y, M, D, h, m, s, such as \"7D\"", name, queue)
			}
			s.retention = d
		}
	}
	if t.Err() != nil {
		return s, fail(Precondition, "malformed arguments for queue '%s'", queue)
	}
	return s, nil
}

// ParseAge reads a duration as RabbitMQ writes x-max-age: a whole number and a
// unit, of Y, M, D, h, m and s; a year has 365 days and a month 30.
func ParseAge(s string) (time.Duration, bool) {
	if len(s) < 2 {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 31)
	if err != nil {
		return 0, false
	}
	const day = 24 * time.Hour
	units := map[byte]time.Duration{'Y': 365 * day, 'M': 30 * day, 'D': day, 'h': time.Hour, 'm': time.Minute, 's': time.Second}
	unit, ok := units[s[len(s)-1]]
	if !ok || time.Duration(n) > (1<<62)/unit {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// same is RabbitMQ's check of a second declaration: the flags, and of the
// arguments those that this type of queue knows, by value.
func (q *Queue) same(o QueueOptions) error {
	inequivalent := func(what string, got, have any) error {
		return fail(Precondition, "inequivalent arg '%s' for queue '%s' in vhost '%s': received '%v' but current is '%v'", what, q.Name, q.vhost.Name, got, have)
	}
	switch {
	case q.Durable != o.Durable:
		return inequivalent("durable", o.Durable, q.Durable)
	case q.AutoDelete != o.AutoDelete:
		return inequivalent("auto_delete", o.AutoDelete, q.AutoDelete)
	case q.Exclusive != o.Exclusive:
		return fail(Locked, "cannot obtain exclusive access to locked queue '%s' in vhost '%s'", q.Name, q.vhost.Name)
	}
	set, err := parseQueueArgs(q.Name, o.Args)
	if err != nil {
		return err
	}
	if q.Topic { // made by a Kafka client: arguments of a work queue say nothing about it
		return nil
	}
	if a, b := orClassic(set.kind), orClassic(q.settings.kind); a != b {
		return inequivalent(argType, a, b)
	}
	if set.retention != q.settings.retention {
		return inequivalent(argRetention, set.retention, q.settings.retention)
	}
	return nil
}

func orClassic(kind string) string {
	if kind == "" {
		return "classic"
	}
	return kind
}
