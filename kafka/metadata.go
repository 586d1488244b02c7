package kafka

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// Operations there are, as bits of Kafka's AclOperation.
const (
	notAsked          = -2147483648
	topicOperations   = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	groupOperations   = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11
	clusterOperations = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
)

// operationsOf are the operations that a verb of the broker stands for.
var operationsOf = map[broker.Verb]int32{
	broker.Consume: 1 << 3, broker.Publish: 1<<4 | 1<<12, broker.Create: 1 << 5, broker.Delete: 1 << 6,
	broker.Alter: 1<<7 | 1<<9 | 1<<11, broker.Look: 1<<8 | 1<<10,
}

// operations are those of all that the client may do.
func (c *conn) operations(all int32, kind broker.ResourceKind, name string) int32 {
	for verb, bits := range operationsOf {
		if c.session.May(verb, kind, name) != nil {
			all &^= bits
		}
	}
	return all
}

// topicOperations are those of a topic that was described. Of one that was not they tell nothing.
func (c *conn) topicOperations(t *kmsg.MetadataResponseTopic) int32 {
	name := deref(t.Topic)
	if t.ErrorCode != 0 {
		return notAsked
	}
	if x := c.vhost.FeedExchange(name); x != nil {
		return c.operations(topicOperations, broker.OnExchange, x.Name)
	}
	return c.operations(topicOperations, broker.OnQueue, name)
}

// Key 3, Metadata, versions 0 to 13.
//
// There is one node, which leads everything. A null list of topics (an empty
// one in version 0) asks for all: queues with legal names that are nobody's
// exclusive ones, and exchanges that have a topic. A topic that is not there is
// made when both the client and the server's settings allow it. From version 9
// on it is answered at once: clients wait up to seconds before they ask again.
// Older versions get Kafka's own answer, 3, and find the topic the next time:
// kafka-go takes what it reads here for what existed before it asked. Versions
// 10 and up may ask by topic id.
func (c *conn) metadata(r *kmsg.MetadataRequest) (kmsg.Response, error) {
	res := kmsg.NewPtrMetadataResponse()
	host, port := c.address()
	node := kmsg.NewMetadataResponseBroker()
	node.NodeID, node.Host, node.Port = NodeID, host, port
	res.Brokers = append(res.Brokers, node)
	res.ClusterID = kmsg.StringPtr(c.s.broker.ClusterID())
	res.ControllerID = NodeID
	res.AuthorizedOperations = notAsked
	if r.IncludeClusterAuthorizedOperations {
		res.AuthorizedOperations = c.operations(clusterOperations, broker.OnCluster, "")
	}
	if r.Topics == nil || (r.Version == 0 && len(r.Topics) == 0) {
		if err := c.allTopics(res); err != nil {
			return nil, fmt.Errorf("metadata of all topics: %w", err)
		}
	}
	r.Topics = onlyOnce(r.Topics, func(t *kmsg.MetadataRequestTopic) topicName { return nameOf(t.Topic, t.TopicID) })
	create := !c.s.made.Load().NoAutoCreate && (r.Version < 4 || r.AllowAutoTopicCreation)
	ids := c.topicIDs()
	for i := range r.Topics {
		if t := nameOf(r.Topics[i].Topic, r.Topics[i].TopicID); t.byID {
			res.Topics = append(res.Topics, c.describeID(ids, t.id))
		} else {
			res.Topics = append(res.Topics, c.describeNamed(t.name, create, r.Version))
		}
	}
	for i := range res.Topics {
		res.Topics[i].AuthorizedOperations = notAsked
		if r.IncludeTopicAuthorizedOperations {
			res.Topics[i].AuthorizedOperations = c.topicOperations(&res.Topics[i])
		}
	}
	return res, nil
}

// topicName is what a topic is asked for by.
type topicName struct {
	byID bool
	name string
	id   [16]byte
}

// nameOf is what a request means by name and id. An id counts, whatever stands beside
// it: some clients write an empty name for none.
func nameOf(name *string, id [16]byte) topicName {
	if name == nil || id != [16]byte{} {
		return topicName{byID: true, id: id}
	}
	return topicName{name: *name}
}

// allTopics describes every topic, or fails: clients take what is not on the list
// for deleted.
func (c *conn) allTopics(res *kmsg.MetadataResponse) error {
	var failed error
	add := func(t kmsg.MetadataResponseTopic, err error) {
		failed = cmp.Or(failed, err)
		if failed == nil {
			res.Topics = append(res.Topics, t)
		}
	}
	for _, q := range c.session.Queues() {
		if q.Readable() {
			add(c.describeTopic(q))
		}
	}
	for _, name := range c.session.FeedTopics() {
		add(c.describeFeed(name))
	}
	slices.SortFunc(res.Topics, func(a, b kmsg.MetadataResponseTopic) int { return strings.Compare(*a.Topic, *b.Topic) })
	return failed
}

// describeID answers for a topic asked for by id.
func (c *conn) describeID(ids func([16]byte) (*broker.Queue, error), id [16]byte) kmsg.MetadataResponseTopic {
	if id == offsetsID && c.session.May(broker.Look, broker.OnQueue, offsetsTopic) == nil {
		return noted(c.describeOffsets())
	}
	q, err := ids(id)
	if err == nil {
		return noted(c.describeTopic(q))
	}
	out := kmsg.NewMetadataResponseTopic()
	out.TopicID = id
	return noted(out, err)
}

// describeNamed answers for a topic asked for by name. One that is made by that is there at once since version 9. Before that a client
// is told to ask again, as Kafka told it up to 2.7: some clients of that time (pykafka) take what it says today for a refusal.
func (c *conn) describeNamed(name string, create bool, version int16) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic = &name
	if !broker.LegalTopicName(name) {
		out.ErrorCode = int16(wire.InvalidTopic)
		return out
	}
	t, err := c.lookup(broker.Look, name)
	code := codeOf(err)
	if code == wire.UnknownTopicOrPartition && create && !slices.Contains(internalTopics, name) {
		code = c.autoCreate(name)
		switch {
		case version >= 9:
			t, err = c.lookup(broker.Look, name)
		case code == wire.UnknownTopicOrPartition:
			code = wire.LeaderNotAvailable
		}
	}
	switch {
	case err != nil:
		out.ErrorCode = int16(code)
		return out
	case t.exchange != nil:
		return noted(c.describeFeed(name))
	case t.offsets:
		return noted(c.describeOffsets())
	}
	return noted(c.describeTopic(t.queue))
}

// noted has a topic that could not be described say why.
func noted(t kmsg.MetadataResponseTopic, err error) kmsg.MetadataResponseTopic {
	t.ErrorCode = int16(codeOf(err))
	return t
}

// autoCreate makes a topic, unless somebody else just did, and returns what the
// client that asked for it is told.
func (c *conn) autoCreate(name string) wire.Code {
	_, err := c.session.CreateTopic(name, c.s.made.Load().Partitions, nil)
	switch {
	case err == nil:
		return wire.UnknownTopicOrPartition
	case broker.KindOf(err) == broker.Exists:
		if _, err := c.queueFor(broker.Look, name); err != nil {
			return wire.TopicAuthorizationFailed // somebody's exclusive queue
		}
		return wire.UnknownTopicOrPartition
	}
	if broker.RefusedOn(err) == 0 { // which is no fault, and said as a refusal
		c.log.Warn("can't create a topic", "topic", name, "error", err)
	}
	return codeOf(err)
}

// topicIDs looks topics up by their ids, for one request: the list is made when the
// first is asked for.
func (c *conn) topicIDs() func(id [16]byte) (*broker.Queue, error) {
	var byID map[[16]byte]*broker.Queue
	return func(id [16]byte) (*broker.Queue, error) {
		if byID == nil {
			queues := c.session.Queues()
			if err := c.charge(idBytes * len(queues)); err != nil {
				return nil, err
			}
			byID = make(map[[16]byte]*broker.Queue, len(queues))
			for _, q := range queues {
				if q.Readable() {
					byID[q.TopicID] = q
				}
			}
		}
		if q := byID[id]; q != nil {
			return q, nil
		}
		return nil, errNoSuchID
	}
}

func (c *conn) describeTopic(q *broker.Queue) (kmsg.MetadataResponseTopic, error) {
	return c.describe(q.Name, q.TopicID, len(q.Partitions()))
}

// describeFeed shows a topic that leads into an exchange.
func (c *conn) describeFeed(name string) (kmsg.MetadataResponseTopic, error) {
	return c.describe(name, feedID(name), 1)
}

func (c *conn) describeOffsets() (kmsg.MetadataResponseTopic, error) {
	t, err := c.describe(offsetsTopic, offsetsID, group.OffsetPartitions)
	t.IsInternal = true
	return t, err
}

func (c *conn) describe(name string, id [16]byte, partitions int) (kmsg.MetadataResponseTopic, error) {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID = &name, id
	if err := c.charge(topicBytes + 2*len(name) + partitions*partitionBytes); err != nil {
		return t, err
	}
	t.Partitions = make([]kmsg.MetadataResponseTopicPartition, 0, partitions)
	for i := range partitions {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.LeaderEpoch = int32(i), NodeID, leaderEpoch
		p.Replicas, p.ISR = onlyNode, onlyNode
		t.Partitions = append(t.Partitions, p)
	}
	return t, nil
}

var onlyNode = []int32{NodeID}

// Key 60, DescribeCluster, versions 0 to 2. No broker is fenced.
func (c *conn) describeCluster(r *kmsg.DescribeClusterRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeClusterResponse()
	if r.Version >= 1 && r.EndpointType != 1 {
		code := wire.UnsupportedEndpointType
		if r.EndpointType == 2 {
			code = wire.MismatchedEndpointType // controllers have no address of their own
		}
		res.ErrorCode, res.ErrorMessage = outcome(faultf(code, "only brokers (endpoint type 1) can be described"))
		return res
	}
	host, port := c.address()
	node := kmsg.NewDescribeClusterResponseBroker()
	node.NodeID, node.Host, node.Port = NodeID, host, port
	res.ClusterID, res.ControllerID = c.s.broker.ClusterID(), NodeID
	res.Brokers = append(res.Brokers, node)
	res.ClusterAuthorizedOperations = notAsked
	if r.IncludeClusterAuthorizedOperations {
		res.ClusterAuthorizedOperations = c.operations(clusterOperations, broker.OnCluster, "")
	}
	return res
}
