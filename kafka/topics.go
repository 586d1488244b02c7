package kafka

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// topic is what a connection remembers of a topic it produces to or fetches from.
type topic struct {
	name     string
	id       wire.TopicID
	queue    *broker.Queue
	exchange *broker.Exchange // a topic that only leads into an exchange; queue is nil
	offsets  bool             // it is offsetsTopic; queue and exchange are nil
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
// look whether they are there; nobody is to make them by that, or to write to them. The first can be read.
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

// topicNamed finds a topic as a request names it: by its name, or without one by its id.
func (c *conn) topicNamed(verb broker.Verb, name []byte, id wire.TopicID) (*topic, error) {
	if name != nil {
		return c.topicOf(verb, name)
	}
	if known, ok := c.byID[id]; ok {
		t, err := c.topicOf(verb, known)
		switch {
		case err == nil && t.id == id:
			return t, nil
		case err != nil && codeOf(err) != wire.UnknownTopicOrPartition:
			return nil, err
		}
		delete(c.byID, id) // it was deleted; another may have its name
	} else if looked, ok := c.noID[id]; ok && c.frames.Now().Sub(looked) < topicAge {
		return nil, errNoSuchID
	}
	return c.findID(verb, id)
}

// manyScans is how often one request looks through all topics for an id, until it makes a list of them.
const manyScans = 8

// findID looks through all topics for one of that id. Ids that there are not are remembered for a
// while, since who reads a topic that was deleted asks for it again and again.
func (c *conn) findID(verb broker.Verb, id wire.TopicID) (*topic, error) {
	name := ""
	if c.scans++; c.scans > manyScans {
		if err := c.listIDs(); err != nil {
			return nil, err
		}
		name = c.allIDs[id]
	} else {
		c.eachID(func(of wire.TopicID, called string) {
			if of == id {
				name = called
			}
		})
	}
	if name == "" {
		if c.noID == nil || len(c.noID) > 1000 {
			c.noID = map[wire.TopicID]time.Time{}
		}
		c.noID[id] = c.frames.Now()
		return nil, errNoSuchID
	}
	t, err := c.topicOf(verb, []byte(name))
	if err != nil {
		return nil, err
	}
	if c.byID == nil || len(c.byID) > 10_000 {
		c.byID = map[wire.TopicID][]byte{}
	}
	c.byID[id] = []byte(name)
	return t, nil
}

// eachID goes through the ids of all topics.
func (c *conn) eachID(each func(id wire.TopicID, name string)) {
	each(offsetsID, offsetsTopic)
	for _, q := range c.vhost.Queues() {
		if q.Readable() {
			each(q.TopicID, q.Name)
		}
	}
	for _, feed := range c.vhost.FeedTopics() {
		each(feedID(feed), feed)
	}
}

// forgetIDs ends what findID knows for one request.
func (c *conn) forgetIDs() {
	if c.scans = 0; c.allIDs != nil {
		c.allIDs = nil
		c.releaseBill()
	}
}

// listIDs makes the list of the request under way.
func (c *conn) listIDs() error {
	if c.allIDs != nil {
		return nil
	}
	if err := c.charge(idBytes * len(c.vhost.Queues())); err != nil {
		return err
	}
	c.allIDs = map[wire.TopicID]string{}
	c.eachID(func(id wire.TopicID, name string) { c.allIDs[id] = name })
	return nil
}

var errNoSuchID = faultf(wire.UnknownTopicID, "there is no topic of that id")

// called is what a topic is called in the log.
func called(name []byte, id wire.TopicID) string {
	if name != nil {
		return string(name)
	}
	return fmt.Sprintf("%x", id)
}

// feedID is the id of a topic that leads into an exchange. It follows from
// its name: nothing is stored under it that another topic could be taken for.
func feedID(name string) wire.TopicID {
	sum := sha256.Sum256([]byte(name))
	return wire.TopicID(sum[:16])
}

// allow asks whether the client may do that with the topic.
func (t *topic) allow(c *conn, verb broker.Verb) error {
	if t.exchange != nil {
		return c.session.May(verb, broker.OnExchange, t.exchange.Name)
	}
	if t.offsets && verb != broker.Consume && verb != broker.Look {
		return faultf(wire.InvalidTopic, "'%s' can only be read", t.name)
	}
	return c.session.May(verb, broker.OnQueue, t.name)
}

// maxTopicBytes bounds the names of topics, those of exchanges' topics included. A longer one is nobody's, and is not even
// asked about: a compact string may be very long.
const maxTopicBytes = 255

// lookup finds a topic in the broker for what is to be done with it.
func (c *conn) lookup(verb broker.Verb, name string) (*topic, error) {
	if len(name) > maxTopicBytes {
		return nil, faultf(wire.UnknownTopicOrPartition, "there is no topic with a name of %d bytes", len(name))
	}
	if x := c.vhost.FeedExchange(name); x != nil {
		t := &topic{name: name, id: feedID(name), exchange: x}
		return t, t.allow(c, verb)
	}
	if name == offsetsTopic {
		return c.lookupOffsets(verb)
	}
	q, err := c.queueFor(verb, name)
	if err != nil {
		return nil, err
	}
	return &topic{name: name, id: q.TopicID, queue: q}, nil
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

// orIllegal is err, or what is wrong with the name of a topic that is not there and can't be.
func orIllegal(err error, name string) error {
	if codeOf(err) != wire.UnknownTopicOrPartition || broker.LegalTopicName(name) {
		return err
	}
	return faultf(wire.InvalidTopic, "topic name '%s' is illegal", wire.Text(name[:min(len(name), maxTopicBytes)]))
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
