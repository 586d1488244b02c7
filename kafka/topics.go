package kafka

import (
	"strconv"
	"time"

	"github.com/leveret-mq/leveret/broker"
)

// topic is what a connection remembers of a topic it produces to or fetches from.
type topic struct {
	name    string
	queue   *broker.Queue
	feed    *broker.Exchange // a topic that only leads into an exchange; queue is nil
	checked time.Time

	maxBatchBytes int
	logAppendTime bool
}

// settingsAge is how long a changed setting may take to reach a connection.
const settingsAge = time.Second

// topicOf finds a topic by its name on the wire, mostly in the connection's own
// map. nil is an unknown one.
func (c *conn) topicOf(name []byte) *topic {
	t := c.topics[string(name)]
	now := c.frames.now
	if t != nil && now.Sub(t.checked) < settingsAge && (t.queue == nil || !t.queue.Deleted()) {
		return t
	}
	t = c.lookup(string(name))
	if t == nil {
		delete(c.topics, string(name))
		return nil
	}
	t.checked = now
	if len(c.topics) > 10_000 {
		clear(c.topics)
	}
	c.topics[t.name] = t
	return t
}

// lookup finds a topic in the broker.
func (c *conn) lookup(name string) *topic {
	if q := c.queueOf(name); q != nil {
		t := &topic{name: name, queue: q, maxBatchBytes: c.s.broker.MaxBatchBytes()}
		config := q.Config()
		if n, err := strconv.Atoi(config["max.message.bytes"]); err == nil {
			t.maxBatchBytes = n
		}
		t.logAppendTime = config["message.timestamp.type"] == "LogAppendTime"
		return t
	}
	if x := c.vhost.Feed(name); x != nil {
		return &topic{name: name, feed: x, maxBatchBytes: c.s.broker.MaxBatchBytes()}
	}
	return nil
}

// queueOf finds the queue that Kafka clients see under a name: an exclusive one
// is its owner's alone.
func (c *conn) queueOf(name string) *broker.Queue {
	if !broker.LegalTopicName(name) {
		return nil
	}
	q, err := c.vhost.Queue(name)
	if err != nil || q.Exclusive {
		return nil
	}
	return q
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
