package broker

import (
	"math"
	"slices"
	"strings"
)

// Limits of a user or of a virtual host: the first three by RabbitMQ's names, the last two by
// Kafka's. -1 is no limit, 0 lets nothing through.
const (
	MaxConnections   = "max-connections"
	MaxChannels      = "max-channels"
	MaxQueues        = "max-queues"
	MaxConsumers     = "max-consumers"
	MaxMessageSize   = "max-message-size"   // bytes of a body; of a batch, for a Kafka producer
	ProducerByteRate = "producer_byte_rate" // bytes a second that come in with what is published
	ConsumerByteRate = "consumer_byte_rate" // bytes a second that go out with what is consumed
)

// limitKind is a limit's place in limits.
type limitKind uint8

const (
	limitConnections limitKind = iota
	limitChannels
	limitQueues
	limitConsumers
	limitMessage
	limitIn
	limitOut
	limitKinds

	countedKinds = limitMessage // those before are counted
)

var limitNames = [limitKinds]string{limitConnections: MaxConnections, limitChannels: MaxChannels, limitQueues: MaxQueues, limitConsumers: MaxConsumers,
	limitMessage: MaxMessageSize, limitIn: ProducerByteRate, limitOut: ConsumerByteRate}

// MaxByteRate is the highest byte rate that is kept, and the largest message size.
const MaxByteRate = 1 << 50

const maxCountLimit = 1<<31 - 1

// CheckLimit says what is wrong with a limit.
func CheckLimit(name string, n int64) error {
	at := slices.Index(limitNames[:], name)
	most := int64(MaxByteRate)
	if at >= 0 && limitKind(at) < countedKinds {
		most = maxCountLimit
	}
	switch {
	case at < 0:
		return fail(Precondition, "unrecognised limit '%s'; should be one of: %s", name, strings.Join(limitNames[:], ", "))
	case n < -1:
		return fail(Precondition, "%s = %d is not a number of 0 or more, or -1 for no limit", name, n)
	case n > most:
		return fail(Precondition, "%s = %d is more than %d", name, n, most)
	case n == 0 && limitKind(at) >= limitIn:
		return fail(Precondition, "%s = 0 would let nothing through for ever; 1 is the least, -1 no limit", name)
	}
	return nil
}

// limits are those of a user or a virtual host; math.MaxInt64 is none.
type limits [limitKinds]int64

// compileLimits is nil when there is no limit.
func compileLimits(said map[string]int64) *limits {
	var l *limits
	for name, n := range said {
		at := slices.Index(limitNames[:], name)
		if at < 0 || n < 0 {
			continue
		}
		if l == nil {
			l = new(limits)
			for i := range l {
				l[i] = math.MaxInt64
			}
		}
		l[at] = n
	}
	return l
}
