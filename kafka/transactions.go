package kafka

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/txn"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// txnsOf is the coordinator of transactions of a virtual host; of one that is gone one that is closed.
func (s *Server) txnsOf(v *broker.VHost) *txn.Coordinator {
	groups := s.groupsOf(v)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.txns[v]
	if c == nil {
		ends := ender{v}
		c = txn.New(txn.Options{
			MaxTimeout: s.opts.MaxTransactionTimeout, Expiration: s.opts.TransactionalIDExpiration,
			MaxBytes: s.members.Share() / 2, Memory: memory{s.members},
			Keep: func(id string, state []byte, offsets []group.Change) error {
				return v.KeepTransaction(id, state, ends.committed(offsets))
			},
			Commit: groups.CommitAll, End: ends.end, Flush: ends.flush,
			NewProducer: v.NewProducerID, Logger: s.opts.Logger.With("listener", "kafka", "vhost", v.Name), Failed: s.log.Failed,
		})
		if s.closed.Load() || v.Gone() {
			c.Close()
			return c
		}
		s.txns[v] = c
	}
	return c
}

// restoreTransactions goes on with the transactions that the last process knew of.
func (s *Server) restoreTransactions() error {
	err := s.broker.Transactions(func(v *broker.VHost, id string, state []byte) error {
		return s.txnsOf(v).Restore(id, state)
	})
	if err != nil {
		return err
	}
	for _, v := range s.broker.VHosts() {
		list, err := v.OpenTransactions()
		if err != nil { // of a log that can't be read; nobody reads what is committed there either
			s.opts.Logger.Error("not all open transactions are known", "listener", "kafka", "vhost", v.Name, "error", err)
		}
		open := make([]txn.Open, len(list))
		for i, o := range list {
			open[i] = txn.Open{Place: placeOf(o.Partition), Producer: o.Producer, Epoch: o.Epoch}
		}
		s.txnsOf(v).Recover(open)
	}
	return nil
}

func placeOf(p *broker.Partition) txn.Place {
	return txn.Place{Topic: p.Queue().Name, ID: p.Queue().TopicID, Partition: p.Index()}
}

// ender is what the coordinator of a virtual host does with its partitions.
type ender struct{ v *broker.VHost }

// partition finds the partition of a place, nil if it is gone.
func (e ender) partition(p txn.Place) *broker.Partition {
	q, err := e.v.Queue(p.Topic)
	if err != nil || q.TopicID != p.ID {
		return nil
	}
	return partitionOf(q, p.Partition)
}

func (e ender) end(p txn.Place, producer int64, epoch, next int16, commit bool) error {
	if part := e.partition(p); part != nil {
		return e.v.EndTransaction(part, producer, epoch, next, commit)
	}
	return nil
}

func (e ender) flush(places []txn.Place, done func(error)) {
	var parts []*broker.Partition
	for _, p := range places {
		if part := e.partition(p); part != nil {
			parts = append(parts, part)
		}
	}
	e.v.FlushTransactions(parts, done)
}

// committed are offsets of several groups as the broker keeps them.
func (e ender) committed(changes []group.Change) []broker.GroupOffset {
	out := committed(changes)
	for i := range out {
		out[i].Group = changes[i].Group
	}
	return out
}

// entered is the transaction that a Produce request is of.
type entered struct {
	*txn.Entered
	producer int64
	epoch    int16
	code     wire.Code // why there is none
	why      string
}

// enterTransaction holds the transaction of a Produce request with a transactional id, until leave is called: its first batch
// says of which producer it is.
func (c *conn) enterTransaction(q *wire.ProduceRequest) *entered {
	e := &entered{producer: batch.NoProducer}
	id := string(q.TransactionID)
	if !c.s.broker.Transactional() {
		e.code, e.why = wire.UnsupportedVersion, noTransactions
		return e
	}
	if err := c.session.May(broker.Publish, broker.OnTransaction, id); err != nil {
		e.code, e.why = codeOf(err), err.Error()
		return e
	}
	var places []txn.Place
	for _, t := range q.Topics {
		known, err := c.topicNamed(broker.Publish, t.Name, t.ID)
		for _, p := range q.Of(t) {
			b := batch.Batch(p.Records)
			if len(b) < batch.HeaderBytes || b.Magic() != batch.Magic {
				continue
			}
			if e.producer < 0 {
				e.producer, e.epoch = b.ProducerID(), b.ProducerEpoch()
			}
			if part := known.partition(p.Index); err == nil && part != nil {
				places = append(places, placeOf(part))
			}
		}
	}
	e.Entered, e.code = c.txns.Enter(id, e.producer, e.epoch, places, q.Version >= implicitSince)
	switch e.code {
	case wire.None:
	case wire.ProducerFenced:
		e.code, e.why = wire.InvalidProducerEpoch, "another producer has the transactional id, or the transaction's time was up"
	case wire.InvalidRequest:
		e.why = "the transactional id is empty"
	case wire.TransactionAbortable:
		e.code, e.why = notPart(q.Version), "there is no memory for more partitions in transactions of this virtual host: abort, and try with fewer"
	case wire.CoordinatorLoadInProgress:
		e.why = "there is no memory for more partitions in transactions just now: try again"
	default:
		e.why = "the transactional id has no such producer"
	}
	return e
}

// implicitSince is the version of Produce, and implicitOffsetsSince that of TxnOffsetCommit, from which on what is sent takes part in
// the transaction without being announced (KIP-890). Clients before them are told of a partition that does not take part by 48.
const (
	implicitSince         = 12
	implicitOffsetsSince  = 5
	bumpSince             = 5 // of EndTxn: the producer's epoch goes up with each transaction
	abortableSince        = 11
	abortableOffsetsSince = 4
)

func (e *entered) leave() {
	if e != nil && e.Entered != nil {
		e.Leave()
	}
}

// admits says why a batch is not of the transaction, "" if it is.
func (e *entered) admits(b batch.Batch, part *broker.Partition, version int16) (wire.Code, string) {
	switch {
	case e.code != wire.None:
		return e.code, e.why
	case !b.IsTransactional():
		return wire.InvalidTxnState, "a batch without a transaction in a request with a transactional id"
	case b.ProducerID() != e.producer || b.ProducerEpoch() != e.epoch:
		return wire.InvalidProducerIDMapping, "batches of several producers in one transaction"
	case part != nil && !e.Has(placeOf(part)):
		return notPart(version), "the partition is not part of the transaction: add it first"
	}
	return wire.None, ""
}

// notPart is what a producer is told of what can't be part of its transaction.
func notPart(version int16) wire.Code {
	if version >= abortableSince {
		return wire.TransactionAbortable
	}
	return wire.InvalidTxnState
}

const noTransactions = "this broker keeps its messages where there are no transactions: produce without a transactional id"

// mayTransact asks whether the client may do that with a transactional id.
func (c *conn) mayTransact(verb broker.Verb, id string) wire.Code {
	if verb == broker.Publish && !c.s.broker.Transactional() {
		return wire.UnsupportedVersion
	}
	return codeOf(c.session.May(verb, broker.OnTransaction, id))
}

// olderFence is what a fenced producer is told by versions that do not know error 90.
func olderFence(code wire.Code, version, since int16) wire.Code {
	if code == wire.ProducerFenced && version < since {
		return wire.InvalidProducerEpoch
	}
	return code
}

// Key 24, AddPartitionsToTxn, versions 0 to 5. All partitions are added or none: beside one that can't be the others are 55. From
// version 4 on, which is for administrators, it is of several transactions, and may only ask.
func (c *conn) addPartitionsToTxn(r *kmsg.AddPartitionsToTxnRequest) kmsg.Response {
	res := kmsg.NewPtrAddPartitionsToTxnResponse()
	if r.Version >= 4 {
		if err := c.session.May(broker.Alter, broker.OnCluster, ""); err != nil { // it is what brokers ask each other
			res.ErrorCode = int16(codeOf(err))
			return res
		}
		for i := range r.Transactions {
			t := &r.Transactions[i]
			out := kmsg.NewAddPartitionsToTxnResponseTransaction()
			out.TransactionalID = t.TransactionalID
			one := added{c: c, id: t.TransactionalID, producer: t.ProducerID, epoch: t.ProducerEpoch, verify: t.VerifyOnly}
			for _, topic := range t.Topics {
				one.topic(topic.Topic, topic.Partitions)
			}
			one.add(r.Version)
			for _, topic := range t.Topics {
				to := kmsg.NewAddPartitionsToTxnResponseTransactionTopic()
				to.Topic = topic.Topic
				for _, p := range topic.Partitions {
					of := kmsg.NewAddPartitionsToTxnResponseTransactionTopicPartition()
					of.Partition, of.ErrorCode = p, one.next()
					to.Partitions = append(to.Partitions, of)
				}
				out.Topics = append(out.Topics, to)
			}
			res.Transactions = append(res.Transactions, out)
		}
		return res
	}
	one := added{c: c, id: r.TransactionalID, producer: r.ProducerID, epoch: r.ProducerEpoch}
	for _, topic := range r.Topics {
		one.topic(topic.Topic, topic.Partitions)
	}
	one.add(r.Version)
	for _, topic := range r.Topics {
		to := kmsg.NewAddPartitionsToTxnResponseTopic()
		to.Topic = topic.Topic
		for _, p := range topic.Partitions {
			of := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
			of.Partition, of.ErrorCode = p, one.next()
			to.Partitions = append(to.Partitions, of)
		}
		res.Topics = append(res.Topics, to)
	}
	return res
}

// errFeedInTransaction is told to who would produce to the topic of an exchange in a transaction. What is routed is one message among
// others in each queue, held against its limits, delays and priorities when it comes: it can't be taken back. The code is one after which
// clients abort and may go on, be they older than it or not.
var errFeedInTransaction = faultf(wire.TransactionAbortable, "an exchange takes no transactions: produce to a queue or a topic, or without a transaction")

// added is what AddPartitionsToTxn adds to one transaction.
type added struct {
	c        *conn
	id       string
	producer int64
	epoch    int16
	verify   bool
	places   []txn.Place
	codes    []wire.Code
	bad      bool
	feed     bool
}

func (a *added) topic(name string, partitions []int32) {
	known, err := a.c.lookup(broker.Publish, name)
	if err == nil && known.exchange != nil {
		err, a.feed = errFeedInTransaction, true
	}
	if err != nil && slices.Contains(internalTopics, name) {
		err = faultf(wire.TopicAuthorizationFailed, "nobody writes to '%s'", name)
	}
	for _, n := range partitions {
		part := known.partition(n)
		code := codeOf(err)
		if err == nil && part == nil {
			code = wire.UnknownTopicOrPartition
		}
		if code == wire.None {
			a.places = append(a.places, placeOf(part))
		} else {
			a.places = append(a.places, txn.Place{})
			a.bad = true
		}
		a.codes = append(a.codes, code)
	}
}

func (a *added) add(version int16) {
	all := a.c.mayTransact(broker.Publish, a.id)
	var has []bool
	switch {
	case all != wire.None:
	case a.bad:
		if a.feed { // there is something to abort then, which librdkafka does
			if all = a.c.txns.Add(a.id, a.producer, a.epoch, nil); all != wire.None {
				break
			}
		}
		for i := range a.codes {
			a.codes[i] = cmp.Or(a.codes[i], wire.OperationNotAttempted)
		}
		return
	case a.verify:
		has, all = a.c.txns.Has(a.id, a.producer, a.epoch, a.places)
		for i := range has {
			if !has[i] {
				a.codes[i] = wire.TransactionAbortable
			}
		}
	default:
		all = a.c.txns.Add(a.id, a.producer, a.epoch, a.places)
	}
	if all = olderFence(all, version, 2); all != wire.None {
		for i := range a.codes {
			a.codes[i] = all
		}
	}
}

func (a *added) next() int16 {
	code := a.codes[0]
	a.codes = a.codes[1:]
	return int16(code)
}

// Key 25, AddOffsetsToTxn, versions 0 to 4.
func (c *conn) addOffsetsToTxn(r *kmsg.AddOffsetsToTxnRequest) kmsg.Response {
	res := kmsg.NewPtrAddOffsetsToTxnResponse()
	code := cmp.Or(c.mayTransact(broker.Publish, r.TransactionalID), c.mayGroup(broker.Consume, r.Group))
	if code == wire.None {
		code = c.txns.AddGroup(r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Group)
	}
	res.ErrorCode = int16(olderFence(code, r.Version, 2))
	return res
}

// Key 28, TxnOffsetCommit, versions 0 to 6. The offsets are committed with the transaction, and are nobody's until then. From
// version 5 on the group need not be announced, from version 6 on topics are named by their ids.
func (c *conn) txnOffsetCommit(r *kmsg.TxnOffsetCommitRequest) kmsg.Response {
	var positions []group.Position
	for i := range r.Topics {
		t := &r.Topics[i]
		known, err := c.topicAsked(broker.Consume, r.Version >= 6, &t.Topic, t.TopicID)
		for _, p := range t.Partitions {
			pos := group.Position{Topic: t.Topic, Partition: p.Partition,
				Offset: group.Offset{Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: deref(p.Metadata), Committed: time.Now()}}
			switch pos.Err = codeOf(err); {
			case err != nil:
			case known.partition(p.Partition) == nil:
				pos.Err = wire.UnknownTopicOrPartition
			default:
				pos.Offset.TopicID = known.queue.TopicID
			}
			positions = append(positions, pos)
		}
	}
	denied := cmp.Or(c.mayTransact(broker.Publish, r.TransactionalID), c.mayGroup(broker.Consume, r.Group))
	code := denied
	if code == wire.None && r.Group == "" {
		code = wire.InvalidGroupID
	}
	if code == wire.None && r.Version >= 3 && (r.MemberID != "" || r.Generation >= 0) {
		code = c.groups.MayCommit(group.Identity{Group: r.Group, MemberID: r.MemberID, InstanceID: deref(r.InstanceID), Generation: r.Generation}, positions)
	}
	if code == wire.None && slices.ContainsFunc(positions, good) {
		c.groups.Fit(r.Group, positions)
		var changes []group.Change
		for i := range positions {
			if p := &positions[i]; p.Err == wire.None {
				changes = append(changes, group.Change{Group: r.Group, Topic: p.Topic, Partition: p.Partition, Offset: p.Offset})
			}
		}
		code = c.txns.CommitOffsets(r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Group, changes, r.Version >= implicitOffsetsSince)
	}
	switch {
	case code == wire.ProducerFenced:
		code = wire.InvalidProducerEpoch // which is what Kafka has here, in every version
	case code == wire.InvalidTxnState && r.Version >= abortableOffsetsSince:
		code = wire.TransactionAbortable
	}
	res := kmsg.NewPtrTxnOffsetCommitResponse()
	at := 0
	for _, t := range r.Topics {
		out := kmsg.NewTxnOffsetCommitResponseTopic()
		out.Topic, out.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			one := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			one.Partition, one.ErrorCode = p.Partition, int16(cmp.Or(denied, positions[at].Err, code))
			at++
			out.Partitions = append(out.Partitions, one)
		}
		res.Topics = append(res.Topics, out)
	}
	return res
}

// Key 26, EndTxn, versions 0 to 5. It is answered when the decision is durable and its markers are written: the next
// transaction may begin at once. From version 5 on (KIP-890) each transaction has an epoch of its own.
func (c *conn) endTxn(r *kmsg.EndTxnRequest) kmsg.Response {
	res := kmsg.NewPtrEndTxnResponse()
	res.ProducerID, res.ProducerEpoch = -1, -1
	code := c.mayTransact(broker.Publish, r.TransactionalID)
	if code == wire.None {
		res.ProducerID, res.ProducerEpoch, code = c.txns.End(r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Commit, r.Version >= bumpSince)
	}
	res.ErrorCode = int16(olderFence(code, r.Version, 2))
	return res
}

// Key 27, WriteTxnMarkers, versions 1 and 2: an administrator ends what a producer has open in partitions, whatever its coordinator
// thinks of it (kafka-transactions.sh abort). Where nothing is open nothing is written. There is one coordinator, and its epoch is not looked at.
func (c *conn) writeTxnMarkers(r *kmsg.WriteTxnMarkersRequest) kmsg.Response {
	res := kmsg.NewPtrWriteTxnMarkersResponse()
	denied := c.session.May(broker.Alter, broker.OnCluster, "")
	for i := range r.Markers {
		m := &r.Markers[i]
		out := kmsg.NewWriteTxnMarkersResponseMarker()
		out.ProducerID = m.ProducerID
		for _, t := range m.Topics {
			to := kmsg.NewWriteTxnMarkersResponseMarkerTopic()
			to.Topic = t.Topic
			for _, n := range t.Partitions {
				one := kmsg.NewWriteTxnMarkersResponseMarkerTopicPartition()
				one.Partition = n
				err := denied
				if err == nil {
					err = c.endByHand(m, t.Topic, n)
				}
				one.ErrorCode = int16(codeOf(err))
				to.Partitions = append(to.Partitions, one)
			}
			out.Topics = append(out.Topics, to)
		}
		res.Markers = append(res.Markers, out)
	}
	return res
}

func (c *conn) endByHand(m *kmsg.WriteTxnMarkersRequestMarker, topic string, partition int32) error {
	q, err := c.vhost.Queue(topic)
	if err != nil {
		return err
	}
	part := partitionOf(q, partition)
	if part == nil {
		return faultf(wire.UnknownTopicOrPartition, "topic '%s' has no partition %d", topic, partition)
	}
	ended, err := c.session.EndTransaction(part, m.ProducerID, m.ProducerEpoch, m.Committed)
	if ended {
		c.log.Warn("an administrator ended a transaction in a partition", "topic", topic, "partition", partition, "producer", m.ProducerID,
			"epoch", m.ProducerEpoch, "commit", m.Committed)
	}
	return err
}

// initTransaction is InitProducerId with a transactional id.
func (c *conn) initTransaction(r *kmsg.InitProducerIDRequest, res *kmsg.InitProducerIDResponse) kmsg.Response {
	id := *r.TransactionalID
	code := c.mayTransact(broker.Publish, id)
	if code == wire.None {
		producer, epoch := r.ProducerID, r.ProducerEpoch
		if r.Version < 3 {
			producer, epoch = -1, -1
		}
		res.ProducerID, res.ProducerEpoch, code = c.txns.Init(c.who.Name, id, time.Duration(r.TransactionTimeoutMillis)*time.Millisecond, producer, epoch)
	}
	res.ErrorCode = int16(olderFence(code, r.Version, 4))
	return res
}

// Key 61, DescribeProducers, version 0.
func (c *conn) describeProducers(r *kmsg.DescribeProducersRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeProducersResponse()
	for _, t := range r.Topics {
		out := kmsg.NewDescribeProducersResponseTopic()
		out.Topic = t.Topic
		known, err := c.lookup(broker.Consume, t.Topic)
		err = orIllegal(err, t.Topic)
		for _, n := range t.Partitions {
			one := kmsg.NewDescribeProducersResponseTopicPartition()
			one.Partition = n
			part := known.partition(n)
			cause := err
			if err == nil && part == nil {
				cause = faultf(wire.UnknownTopicOrPartition, "topic '%s' has no partition %d", t.Topic, n)
			}
			if cause == nil {
				cause = c.producersOf(part, &one)
			}
			one.ErrorCode, one.ErrorMessage = outcome(cause)
			out.Partitions = append(out.Partitions, one)
		}
		res.Topics = append(res.Topics, out)
	}
	return res
}

func (c *conn) producersOf(part *broker.Partition, out *kmsg.DescribeProducersResponseTopicPartition) error {
	list, err := c.session.Producers(part)
	if err == nil {
		err = c.charge(producerBytes * len(list))
	}
	if err != nil {
		return err
	}
	for _, p := range list {
		one := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		one.ProducerID, one.ProducerEpoch, one.LastSequence, one.LastTimestamp = p.ID, int32(p.Epoch), p.Sequence, p.Seen.UnixMilli()
		one.CoordinatorEpoch, one.CurrentTxnStartOffset = -1, -1
		if p.Ended {
			one.CoordinatorEpoch = 0
		}
		if p.Open >= 0 {
			one.CurrentTxnStartOffset = int64(p.Open)
		}
		out.ActiveProducers = append(out.ActiveProducers, one)
	}
	return nil
}

// Key 65, DescribeTransactions, version 0.
func (c *conn) describeTransactions(r *kmsg.DescribeTransactionsRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeTransactionsResponse()
	for _, id := range onlyOnce(r.TransactionalIDs, itself) {
		one := kmsg.NewDescribeTransactionsResponseTransactionState()
		one.TransactionalID = id
		code := c.mayTransact(broker.Look, id)
		switch {
		case code == wire.None && id == "":
			code = wire.InvalidRequest
		case code == wire.None:
			code = c.describeTransaction(id, &one)
		}
		one.ErrorCode = int16(code)
		res.TransactionStates = append(res.TransactionStates, one)
	}
	return res
}

func (c *conn) describeTransaction(id string, out *kmsg.DescribeTransactionsResponseTransactionState) wire.Code {
	d, ok := c.txns.Describe(id)
	if !ok {
		return wire.TransactionalIDNotFound
	}
	if err := c.charge(partitionBytes * (len(d.Parts) + len(d.Groups))); err != nil {
		return groupCode(err)
	}
	out.State, out.TimeoutMillis, out.StartTimestamp = d.State.String(), int32(d.Timeout.Milliseconds()), -1
	if !d.Started.IsZero() {
		out.StartTimestamp = d.Started.UnixMilli()
	}
	out.ProducerID, out.ProducerEpoch = d.Producer, d.Epoch
	for _, g := range d.Groups { // as Kafka has it, whose offsets are records of this topic
		p := txn.Place{Topic: offsetsTopic, Partition: int32(group.OffsetPartition(g))}
		if c.session.May(broker.Look, broker.OnGroup, g) == nil && !slices.Contains(d.Parts, p) {
			d.Parts = append(d.Parts, p)
		}
	}
	slices.SortFunc(d.Parts, func(a, b txn.Place) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	for _, p := range d.Parts {
		if p.Topic != offsetsTopic && c.session.May(broker.Look, broker.OnQueue, p.Topic) != nil {
			continue
		}
		if n := len(out.Topics); n == 0 || out.Topics[n-1].Topic != p.Topic {
			t := kmsg.NewDescribeTransactionsResponseTransactionStateTopic()
			t.Topic = p.Topic
			out.Topics = append(out.Topics, t)
		}
		t := &out.Topics[len(out.Topics)-1]
		t.Partitions = append(t.Partitions, p.Partition)
	}
	return wire.None
}

// Key 66, ListTransactions, versions 0 to 2: some by state, producer, how long they are open (version 1), or a pattern of their
// ids (version 2).
func (c *conn) listTransactions(r *kmsg.ListTransactionsRequest) kmsg.Response {
	res := kmsg.NewPtrListTransactionsResponse()
	var re *regexp.Regexp
	if p := deref(r.TransactionalIDPattern); r.Version >= 2 && p != "" {
		var err error
		if re, err = txn.Pattern(p); err != nil {
			res.ErrorCode = int16(wire.InvalidRegularExpression)
			return res
		}
	}
	if err := c.charge(groupBytes * c.txns.Count()); err != nil {
		res.ErrorCode = int16(groupCode(err))
		return res
	}
	for _, s := range r.StateFilters {
		if !slices.Contains(allStates, s) {
			res.UnknownStateFilters = append(res.UnknownStateFilters, s)
		}
	}
	for _, d := range c.txns.List() {
		switch {
		case len(r.StateFilters) > 0 && !slices.Contains(r.StateFilters, d.State.String()),
			len(r.ProducerIDFilters) > 0 && !slices.Contains(r.ProducerIDFilters, d.Producer),
			r.Version >= 1 && r.DurationFilterMillis >= 0 && (!d.Open() || time.Since(d.Started).Milliseconds() < r.DurationFilterMillis),
			re != nil && !re.MatchString(d.ID),
			c.mayTransact(broker.Look, d.ID) != wire.None:
			continue
		}
		one := kmsg.NewListTransactionsResponseTransactionState()
		one.TransactionalID, one.ProducerID, one.TransactionState = d.ID, d.Producer, d.State.String()
		res.TransactionStates = append(res.TransactionStates, one)
	}
	return res
}

// allStates are those that a client may ask for. In the last two nothing is here; Kafka has them.
var allStates = []string{txn.Empty.String(), txn.Ongoing.String(), txn.PrepareCommit.String(), txn.PrepareAbort.String(),
	txn.CompleteCommit.String(), txn.CompleteAbort.String(), "Dead", "PrepareEpochFence"}
