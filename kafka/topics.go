package kafka

import (
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// topic is what a connection remembers of a topic it produces to or fetches from.
type topic struct {
	name     string
	queue    *broker.Queue
	exchange *broker.Exchange // a topic that only leads into an exchange; queue is nil
	checked  time.Time
}

// settings are what a batch for the topic obeys; read them once for each batch.
func (t *topic) settings(b *broker.Broker) *broker.Settings {
	if t.queue != nil {
		return t.queue.Settings()
	}
	return b.TopicDefaults()
}

// topicAge is how long it may take until a connection sees that a topic leads elsewhere.
const topicAge = time.Second

// internalTopics are those in which Kafka's brokers keep what we keep elsewhere. Tools
// look whether they are there; nobody is to make them by that, or to write to them.
var internalTopics = []string{"__consumer_offsets", "__transaction_state", "__share_group_state"}

// topicOf finds a topic by its name on the wire for what is to be done with it,
// mostly in the connection's own map.
func (c *conn) topicOf(verb broker.Verb, name []byte) (*topic, error) {
	t := c.topics[string(name)]
	now := c.frames.Now()
	switch {
	case t == nil:
	case t.queue != nil && !t.queue.Deleted(), t.queue == nil && now.Sub(t.checked) < topicAge:
		return t, t.allow(c, verb)
	}
	t, err := c.lookup(verb, string(name))
	if err != nil {
		delete(c.topics, string(name))
		return nil, err
	}
	t.checked = now
	if len(c.topics) > 10_000 {
		clear(c.topics)
	}
	c.topics[t.name] = t
	return t, nil
}

// allow asks whether the client may do that with the topic.
func (t *topic) allow(c *conn, verb broker.Verb) error {
	if t.exchange != nil {
		return c.session.May(verb, broker.OnExchange, t.exchange.Name)
	}
	return c.session.May(verb, broker.OnQueue, t.name)
}

// lookup finds a topic in the broker for what is to be done with it.
func (c *conn) lookup(verb broker.Verb, name string) (*topic, error) {
	if x := c.vhost.FeedExchange(name); x != nil {
		t := &topic{name: name, exchange: x}
		return t, t.allow(c, verb)
	}
	q, err := c.queueFor(verb, name)
	if err != nil {
		return nil, err
	}
	return &topic{name: name, queue: q}, nil
}

// queueFor finds the queue that Kafka clients see under a name, for what is to be
// done with it: an exclusive one is its owner's alone. For those who may
// ask it does not exist otherwise.
func (c *conn) queueFor(verb broker.Verb, name string) (*broker.Queue, error) {
	if broker.LegalTopicName(name) {
		q, err := c.session.Queue(verb, name)
		if err == nil && q.Readable() {
			return q, nil
		}
		if k := broker.KindOf(err); err != nil && k != broker.NotFound && k != broker.Locked {
			return nil, err
		}
	}
	return nil, faultf(wire.UnknownTopicOrPartition, "topic '%s' does not exist", name)
}

// place names a partition.
type place struct {
	topic     string
	partition int32
}

// partition finds a partition by its number; nil is an unknown one.
func (t *topic) partition(index int32) *broker.Partition {
	if t == nil || t.queue == nil {
		return nil
	}
	return partitionOf(t.queue, index)
}

func partitionOf(q *broker.Queue, index int32) *broker.Partition {
	parts := q.Partitions()
	if index < 0 || int(index) >= len(parts) {
		return nil
	}
	return parts[index]
}
