package kafka

import (
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

// maxPartitions bounds one topic, and all that one request makes.
const maxPartitions = 10_000

// fault is an error with the code that a client gets for it.
type fault struct {
	code wire.Code
	text string
}

func (f *fault) Error() string { return f.text }

func faultf(code wire.Code, format string, args ...any) *fault {
	return &fault{code, fmt.Sprintf(format, args...)}
}

// outcome is the code and sentence of an error of any kind.
func outcome(err error) (int16, *string) {
	if err == nil {
		return 0, nil
	}
	text := wire.Text(err.Error())
	return int16(codeOf(err)), &text
}

// Key 19, CreateTopics, versions 0 to 7. Partitions and replication factor -1
// are the defaults; there is one node, so the factor can only be 1.
func (c *conn) createTopics(r *kmsg.CreateTopicsRequest) kmsg.Response {
	res := kmsg.NewPtrCreateTopicsResponse()
	name := func(t *kmsg.CreateTopicsRequestTopic) string { return t.Topic }
	named := timesNamed(r.Topics, name)
	once, total := onlyOnce(r.Topics, name), 0
	for i := range once {
		if n, err := c.partitionsOf(&once[i]); err == nil {
			total += n
		}
	}
	for _, asked := range once {
		t := &asked
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic = t.Topic
		var err error
		switch {
		case named[t.Topic] > 1:
			err = faultf(wire.InvalidRequest, "topic '%s' is named twice in the request", t.Topic)
		case total > maxPartitions:
			err = faultf(wire.PolicyViolation, "the topics of one request may have %d partitions together, not %d: make them by several", maxPartitions, total)
		default:
			err = c.createTopic(t, r.ValidateOnly, &out)
		}
		out.ErrorCode, out.ErrorMessage = outcome(err)
		if err != nil {
			out.NumPartitions, out.ReplicationFactor = -1, -1
		}
		if wire.Code(out.ErrorCode) == wire.TopicAuthorizationFailed {
			out.Configs = []kmsg.CreateTopicsResponseTopicConfig{} // not null, which is of other errors
		}
		res.Topics = append(res.Topics, out)
	}
	return res
}

func (c *conn) createTopic(t *kmsg.CreateTopicsRequestTopic, validateOnly bool, out *kmsg.CreateTopicsResponseTopic) error {
	if len(t.Topic) > maxTopicBytes {
		return faultf(wire.InvalidTopic, "topic name of %d bytes is longer than %d", len(t.Topic), maxTopicBytes)
	}
	if err := c.session.May(broker.Create, broker.OnQueue, t.Topic); err != nil {
		return err
	}
	if !broker.LegalTopicName(t.Topic) {
		return faultf(wire.InvalidTopic, "topic name '%s' is illegal", t.Topic)
	}
	if t.Topic == offsetsTopic {
		return faultf(wire.TopicAlreadyExists, "topic '%s' already exists", t.Topic)
	}
	if slices.Contains(internalTopics, t.Topic) {
		return faultf(wire.InvalidTopic, "topic name '%s' belongs to the broker, which does without the topic", t.Topic)
	}
	partitions, err := c.partitionsOf(t)
	if err != nil {
		return err
	}
	if err := c.charge(configBytes * len(broker.TopicSettings())); err != nil {
		return err // the answer lists them all
	}
	config := map[string]*string{}
	for _, kv := range t.Configs {
		if kv.Value == nil {
			return faultf(wire.InvalidConfig, "Null value not supported for topic configs: %s", kv.Name)
		}
		config[kv.Name] = kv.Value
	}
	set, err := c.s.broker.TopicConfig(config)
	if err != nil {
		return err
	}
	out.NumPartitions, out.ReplicationFactor = int32(partitions), 1
	if validateOnly {
		if _, err := c.vhost.Queue(t.Topic); err == nil || c.vhost.FeedExchange(t.Topic) != nil {
			return faultf(wire.TopicAlreadyExists, "topic '%s' already exists", t.Topic)
		}
		if other := c.vhost.LikeTopic(t.Topic); other != "" {
			return faultf(wire.InvalidTopic, "topic '%s' collides with existing topic '%s'", t.Topic, other)
		}
		rand.Read(out.TopicID[:]) // of a topic that won't be, as Kafka has it; never fails
	} else {
		q, err := c.session.CreateTopic(t.Topic, partitions, config)
		if err != nil {
			return err
		}
		out.TopicID = q.TopicID
	}
	for _, s := range describeSettings(set) {
		one := kmsg.NewCreateTopicsResponseTopicConfig()
		one.Name, one.Value, one.Source = s.name, kmsg.StringPtr(s.value), int8(s.source)
		out.Configs = append(out.Configs, one)
	}
	return nil
}

// partitionsOf checks what a request says of partitions and replicas.
func (c *conn) partitionsOf(t *kmsg.CreateTopicsRequestTopic) (int, error) {
	if len(t.ReplicaAssignment) > 0 {
		return assigned(t)
	}
	n := int(t.NumPartitions)
	if n == -1 {
		n = c.s.made.Load().Partitions
	}
	switch {
	case n < 1:
		return 0, faultf(wire.InvalidPartitions, "the number of partitions must be 1 to %d", maxPartitions)
	case n > maxPartitions:
		return 0, faultf(wire.PolicyViolation, "the number of partitions must be 1 to %d", maxPartitions)
	case t.ReplicationFactor != -1 && t.ReplicationFactor != 1:
		return 0, faultf(wire.InvalidReplicationFactor, "replication factor %d: there is one broker", t.ReplicationFactor)
	}
	return n, nil
}

// assigned checks an assignment by hand: partitions 0 to n-1, each on this node.
func assigned(t *kmsg.CreateTopicsRequestTopic) (int, error) {
	n := len(t.ReplicaAssignment)
	if n > maxPartitions {
		return 0, faultf(wire.PolicyViolation, "the number of partitions must be 1 to %d", maxPartitions)
	}
	if t.NumPartitions != -1 || t.ReplicationFactor != -1 {
		return 0, faultf(wire.InvalidRequest, "an assignment leaves no choice of partitions and replication factor")
	}
	seen := make([]bool, n)
	for _, a := range t.ReplicaAssignment {
		if a.Partition < 0 || int(a.Partition) >= n || seen[a.Partition] {
			return 0, faultf(wire.InvalidReplicaAssignment, "the assignment's partitions must be 0 to %d", n-1)
		}
		seen[a.Partition] = true
		if len(a.Replicas) != 1 || a.Replicas[0] != NodeID {
			return 0, faultf(wire.InvalidReplicaAssignment, "there is one broker, number %d", NodeID)
		}
	}
	return n, nil
}

// Key 20, DeleteTopics, versions 0 to 6; version 6 may name topics by id. What
// groups committed for a topic goes with it.
func (c *conn) deleteTopics(r *kmsg.DeleteTopicsRequest) kmsg.Response {
	res := kmsg.NewPtrDeleteTopicsResponse()
	asked := r.Topics
	for _, name := range r.TopicNames {
		asked = append(asked, kmsg.DeleteTopicsRequestTopic{Topic: kmsg.StringPtr(name)})
	}
	ids := c.topicIDs()
	named := map[topicName]int{} // how often a topic is, by its name or its id
	found := make([]*broker.Queue, len(asked))
	names := make([]topicName, len(asked))
	wrong := make([]error, len(asked))
	for i, t := range asked {
		switch name := nameOf(t.Topic, t.TopicID); {
		case name.byID && deref(t.Topic) != "":
			wrong[i] = faultf(wire.InvalidRequest, "topic '%s' is named by an id too: one of them must do", *t.Topic)
		case name.byID && name.id == [16]byte{}:
			wrong[i] = faultf(wire.InvalidRequest, "neither a name nor an id")
		case name.byID:
			names[i] = name
			found[i], wrong[i] = ids(name.id)
		default:
			names[i] = name
			found[i], wrong[i] = c.queueFor(broker.Delete, name.name)
		}
		if q := found[i]; q != nil {
			names[i] = topicName{name: q.Name}
		}
		named[names[i]]++
	}
	for i, t := range asked {
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.Topic, out.TopicID = t.Topic, t.TopicID
		q, err := found[i], wrong[i]
		switch n := named[names[i]]; {
		case names[i] == topicName{}: // it has none
		case n == answeredOnce:
			continue
		case n > 1:
			err = faultf(wire.InvalidRequest, "a topic is named twice in the request")
			named[names[i]] = answeredOnce
		case err == nil:
			err = c.deleteTopic(q)
			out.Topic, out.TopicID = kmsg.StringPtr(q.Name), q.TopicID
		}
		out.ErrorCode, out.ErrorMessage = outcome(err)
		res.Topics = append(res.Topics, out)
	}
	return res
}

// answeredOnce stands for a topic whose answer is given.
const answeredOnce = -1

func (c *conn) deleteTopic(q *broker.Queue) error {
	_, err := c.session.DeleteQueue(q.Name, false, false)
	return err
}

// Key 37, CreatePartitions, versions 0 to 3.
func (c *conn) createPartitions(r *kmsg.CreatePartitionsRequest) kmsg.Response {
	res := kmsg.NewPtrCreatePartitionsResponse()
	name := func(t *kmsg.CreatePartitionsRequestTopic) string { return t.Topic }
	named := timesNamed(r.Topics, name)
	for _, t := range onlyOnce(r.Topics, name) {
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic = t.Topic
		err := error(nil)
		if named[t.Topic] > 1 {
			err = faultf(wire.InvalidRequest, "topic '%s' is named twice in the request", t.Topic)
		} else {
			err = c.addPartitions(&t, r.ValidateOnly)
		}
		out.ErrorCode, out.ErrorMessage = outcome(err)
		res.Topics = append(res.Topics, out)
	}
	return res
}

func (c *conn) addPartitions(t *kmsg.CreatePartitionsRequestTopic, validateOnly bool) error {
	q, err := c.queueFor(broker.Alter, t.Topic)
	if err != nil {
		return err
	}
	have, want := len(q.Partitions()), int(t.Count)
	switch {
	case !q.OfKafka():
		return faultf(wire.InvalidPartitions, "'%s' is a queue, which has one partition", t.Topic)
	case want > maxPartitions:
		return faultf(wire.PolicyViolation, "the number of partitions is %d at most", maxPartitions)
	case want <= have:
		return faultf(wire.InvalidPartitions, "topic '%s' has %d partitions; the new number must be larger, and at most %d", t.Topic, have, maxPartitions)
	case t.Assignment != nil && len(t.Assignment) != want-have:
		return faultf(wire.InvalidReplicaAssignment, "%d partitions are new, %d are assigned", want-have, len(t.Assignment))
	}
	for _, a := range t.Assignment {
		if len(a.Replicas) != 1 || a.Replicas[0] != NodeID {
			return faultf(wire.InvalidReplicaAssignment, "there is one broker, number %d", NodeID)
		}
	}
	if validateOnly {
		return nil
	}
	return c.session.AddPartitions(q, want)
}

// Key 21, DeleteRecords, versions 0 to 2. A work queue's messages belong to its
// consumers, so only topics can be cut, and of these, as in Kafka, none that is only compacted.
func (c *conn) deleteRecords(r *kmsg.DeleteRecordsRequest) kmsg.Response {
	res := kmsg.NewPtrDeleteRecordsResponse()
	at := map[string]int{}
	done := map[place]bool{}
	for _, t := range r.Topics {
		known, err := c.lookup(broker.Truncate, t.Topic)
		i, named := at[t.Topic]
		if !named {
			i = len(res.Topics)
			at[t.Topic] = i
			out := kmsg.NewDeleteRecordsResponseTopic()
			out.Topic = t.Topic
			res.Topics = append(res.Topics, out)
		}
		out := &res.Topics[i]
		for _, p := range t.Partitions {
			if done[place{t.Topic, p.Partition}] {
				continue
			}
			done[place{t.Topic, p.Partition}] = true
			one := kmsg.NewDeleteRecordsResponseTopicPartition()
			one.Partition, one.LowWatermark = p.Partition, -1
			low, code := int64(-1), codeOf(err)
			if err == nil {
				low, code = c.cutBefore(known.partition(p.Partition), p.Offset)
			}
			one.ErrorCode = int16(code)
			if code == wire.None {
				one.LowWatermark = low
			}
			out.Partitions = append(out.Partitions, one)
		}
	}
	return res
}

// cutBefore moves a partition's start; -1 is its end.
func (c *conn) cutBefore(part *broker.Partition, offset int64) (low int64, code wire.Code) {
	switch {
	case part == nil:
		return 0, wire.UnknownTopicOrPartition
	case !part.Queue().Topic:
		return 0, wire.PolicyViolation
	case part.Queue().Settings().Compact && !part.Queue().Settings().DeleteOld:
		return 0, wire.PolicyViolation
	case offset < -1:
		return 0, wire.OffsetOutOfRange
	}
	start, err := c.session.Truncate(part, message.Offset(offset))
	return int64(start), codeOf(err)
}

// Key 22, InitProducerId, versions 0 to 5. Every call without a transactional
// id gets a fresh producer id; with one it is the id's own, with the next epoch.
func (c *conn) initProducerID(r *kmsg.InitProducerIDRequest) kmsg.Response {
	res := kmsg.NewPtrInitProducerIDResponse()
	res.ProducerID, res.ProducerEpoch = -1, -1
	if r.Version >= 3 && (r.ProducerID == -1) != (r.ProducerEpoch == -1) {
		res.ErrorCode = int16(wire.InvalidRequest)
		return res
	}
	if r.TransactionalID != nil {
		return c.initTransaction(r, res)
	}
	id, err := c.session.NewProducerID()
	if broker.RefusedOn(err) != 0 {
		res.ErrorCode = int16(codeOf(err))
		return res
	}
	if err != nil {
		c.log.Warn("can't give out a producer id", "error", err)
		res.ErrorCode = int16(wire.CoordinatorNotAvailable)
		return res
	}
	res.ProducerID, res.ProducerEpoch = id, 0
	return res
}
