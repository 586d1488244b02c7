package broker

// queueType is a bundle: what a type of queue stands for. What can be set one by one
// stands in defaults, the rest are its rules.
type queueType struct {
	name     string
	set      typeSet           // itself, alone
	defaults map[string]string // of settings, by config or argument, where they differ from the table
}

// typeSet is a set of types.
type typeSet uint8

// The types of queue. A topic is what a Kafka client created: kept by time and bytes,
// not by consumption.
var (
	classic = &queueType{name: "classic", set: 1 << 0, defaults: map[string]string{"retention.ms": "-1"}}
	quorum  = &queueType{name: "quorum", set: 1 << 1, defaults: map[string]string{"retention.ms": "-1"}}
	topic   = &queueType{name: "topic", set: 1 << 2}
)

const (
	workTypes typeSet = 1<<0 | 1<<1
	everyType typeSet = workTypes | 1<<2
)

var queueTypes = map[string]*queueType{"": classic, "classic": classic, "quorum": quorum}
