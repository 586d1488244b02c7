package broker

// queueType is a bundle: what a type of queue stands for. What can be set one by one
// stands in defaults, the rest are its rules.
type queueType struct {
	name     string
	set      typeSet           // itself, alone
	defaults map[string]string // of settings, by config or argument, where they differ from the table
	counts   bool              // a message that came back says how often it did
	lasting  bool              // its promise holds for a durable queue of everybody's alone
}

// typeSet is a set of types.
type typeSet uint8

// The types of queue. A topic is what a Kafka client created: kept by time and bytes,
// not by consumption.
var (
	classic = &queueType{name: "classic", set: 1 << 0, defaults: map[string]string{"retention.ms": "-1"}}
	quorum  = &queueType{name: "quorum", set: 1 << 1, defaults: map[string]string{"retention.ms": "-1", argDeliveryLimit: "20"},
		counts: true, lasting: true}
	topic = &queueType{name: "topic", set: 1 << 2}
)

const (
	workTypes typeSet = 1<<0 | 1<<1
	everyType typeSet = workTypes | 1<<2

	// streamType is a type that there is not yet, so that its arguments are refused
	// of others in the right words.
	streamType typeSet = 1 << 3
)

var queueTypes = map[string]*queueType{"": classic, "classic": classic, "quorum": quorum}

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
	default:
		return nil
	}
	return fail(Precondition, "invalid property '%s' for queue '%s' in vhost '%s'", property, name, v.Name)
}
