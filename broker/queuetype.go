package broker

import "github.com/leveret-mq/leveret/internal/field"

// queueType is a bundle: what a type of queue stands for. What can be set one by one
// stands in defaults, the rest are its rules.
type queueType struct {
	name     string
	set      typeSet           // itself, alone
	defaults map[string]string // of settings, by config or argument, where they differ from the table
	counts   bool              // a message that came back says how often it did
	lasting  bool              // its promise holds for a durable queue of everybody's alone, which has a name
	kept     bool              // by time and bytes, not by consumption
}

// typeSet is a set of types.
type typeSet uint8

// The types of queue. A topic is what a Kafka client created, a stream the same by AMQP:
// its settings are arguments, and it is consumed as RabbitMQ's streams are.
var (
	classic = &queueType{name: "classic", set: 1 << 0, defaults: map[string]string{"retention.ms": "-1"}}
	quorum  = &queueType{name: "quorum", set: 1 << 1, defaults: map[string]string{"retention.ms": "-1", argDeliveryLimit: "20"},
		counts: true, lasting: true}
	topic  = &queueType{name: "topic", set: 1 << 2, kept: true}
	stream = &queueType{name: "stream", set: 1 << 3, defaults: map[string]string{"retention.ms": "-1"}, lasting: true, kept: true}
)

var allQueueTypes = []*queueType{classic, quorum, topic, stream}

const (
	workTypes  typeSet = 1<<0 | 1<<1
	topicType  typeSet = 1 << 2
	streamType typeSet = 1 << 3
	keptTypes          = topicType | streamType
	takenTypes         = workTypes | topicType // of which AMQP consumers take messages, each by one of them
	everyType          = takenTypes | streamType
)

// queueTypes are those that a declaration may ask for.
var queueTypes = map[string]*queueType{"": classic, "classic": classic, "quorum": quorum, "stream": stream}

// check holds a new queue's flags against its type, in RabbitMQ's order and words.
func (t *queueType) check(v *VHost, name string, o *QueueOptions) error {
	if !t.lasting {
		return nil
	}
	property := ""
	switch {
	case o.AutoDelete:
		property = "auto-delete"
	case o.Exclusive:
		property = "exclusive-owner"
	case !o.Durable:
		property = "non-durable"
	case t == stream:
		return checkStream(o.Args)
	default:
		return nil
	}
	return fail(Precondition, "invalid property '%s' for queue '%s' in vhost '%s'", property, name, v.Name)
}

// checkStream holds a new stream's sizes against RabbitMQ's bounds. The size of its filters is
// of no effect here, where each message is looked at (streamfilter.go), and no argument to RabbitMQ's
// other types, nor one that a second declaration must repeat: so it stands in no table.
func checkStream(args []byte) error {
	if f, ok := field.Find(args, argSegmentBytes); ok {
		if n, _ := f.Int(); n > maxStreamSegmentBytes {
			return fail(Precondition, "Exceeded max value for %s", argSegmentBytes)
		}
	}
	if f, ok := field.Find(args, "x-stream-filter-size-bytes"); ok {
		if n, isInt := f.Int(); !isInt || n < 16 || n > 255 {
			return fail(Precondition, "Invalid value for  x-stream-filter-size-bytes")
		}
	}
	return nil
}
