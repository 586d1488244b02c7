// The kafkago program runs the Kafka scenario with segmentio/kafka-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"github.com/leveret-mq/leveret/test/interop/go/check"
	"github.com/leveret-mq/leveret/test/interop/go/scenario"
)

func main() {
	c := client{
		Client:    kafka.Client{Addr: kafka.TCP(check.Kafka), Timeout: 10 * time.Second},
		dialer:    &kafka.Dialer{ClientID: "interop-kafka-go", Timeout: 10 * time.Second, DualStack: true},
		transport: &kafka.Transport{ClientID: "interop-kafka-go"},
	}
	if user, password, ok := check.Credentials(); ok {
		mechanism := plain.Mechanism{Username: user, Password: password}
		c.dialer.SASLMechanism, c.transport.SASL = mechanism, mechanism
	}
	c.Transport = c.transport
	// Its producer has no idempotence, and its reader makes empty values of nulls.
	scenario.Register(&c, scenario.Options{Codecs: []string{"none", "gzip", "snappy", "lz4", "zstd"}})
	check.Add("transactions: offsets are committed with one, and not with one that is aborted; an older epoch is fenced", 40*time.Second, c.transactions)
	check.Logins(login)
	check.Main()
}

// transactions is all that kafka-go has of them: its requests to coordinators. The batches that it writes have no producer, and so
// can't be part of one.
func (c *client) transactions(ctx context.Context) {
	topic, group := check.Name("transactions"), check.Name("transactions-group")
	check.OK(c.CreateTopic(ctx, topic, 2), "create the topic")
	begin := func() *kafka.ProducerSession {
		res := check.Get(c.InitProducerID(ctx, &kafka.InitProducerIDRequest{TransactionalID: topic, TransactionTimeoutMs: 10_000, ProducerID: -1, ProducerEpoch: -1}))
		check.OK(res.Error, "InitProducerId")
		return res.Producer
	}
	run := func(p *kafka.ProducerSession, offset int64, commit bool) error {
		parts := map[string][]kafka.AddPartitionToTxn{topic: {{Partition: 0}, {Partition: 1}}}
		added := check.Get(c.AddPartitionsToTxn(ctx, &kafka.AddPartitionsToTxnRequest{TransactionalID: topic, ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch, Topics: parts}))
		for _, a := range added.Topics[topic] {
			if a.Error != nil {
				return a.Error
			}
		}
		with := check.Get(c.AddOffsetsToTxn(ctx, &kafka.AddOffsetsToTxnRequest{TransactionalID: topic, ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch, GroupID: group}))
		check.OK(with.Error, "AddOffsetsToTxn")
		offsets := map[string][]kafka.TxnOffsetCommit{topic: {{Partition: 1, Offset: offset}}}
		sent := check.Get(c.TxnOffsetCommit(ctx, &kafka.TxnOffsetCommitRequest{TransactionalID: topic, GroupID: group, ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch,
			GenerationID: -1, Topics: offsets}))
		check.OK(sent.Topics[topic][0].Error, "TxnOffsetCommit")
		ended := check.Get(c.EndTxn(ctx, &kafka.EndTxnRequest{TransactionalID: topic, ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch, Committed: commit}))
		return ended.Error
	}
	committed := func() int64 {
		res := check.Get(c.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {1}}}))
		return res.Topics[topic][0].CommittedOffset
	}
	old := begin()
	check.OK(run(old, 3, true), "commit")
	for range 100 { // a real Kafka answers before the offsets are there
		if committed() == 3 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	check.Equal(committed(), int64(3), "committed offset")
	p := begin()
	check.OK(run(p, 5, false), "abort")
	check.Equal(committed(), int64(3), "committed offset after an abort")
	if err := run(old, 7, true); !errors.Is(err, kafka.ProducerFenced) && !errors.Is(err, kafka.InvalidProducerEpoch) {
		check.Fail("the older epoch hears %v", err)
	}
	check.OK(c.DeleteTopic(ctx, topic), "delete the topic")
}

func login(ctx context.Context, mechanism, user, password string) error {
	algorithm := scram.SHA256
	if mechanism == "SCRAM-SHA-512" {
		algorithm = scram.SHA512
	}
	m, err := scram.Mechanism(algorithm, user, password)
	if err != nil {
		return err
	}
	d := kafka.Dialer{Timeout: time.Minute, SASLMechanism: m}
	conn, err := d.DialContext(ctx, "tcp", check.Kafka)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Brokers()
	return err
}

type client struct {
	kafka.Client
	dialer    *kafka.Dialer
	transport *kafka.Transport
}

func (c *client) CreateTopic(ctx context.Context, topic string, partitions int32) error {
	res, err := c.CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: int(partitions), ReplicationFactor: 1}},
	})
	if err != nil {
		return err
	}
	return res.Errors[topic]
}

func (c *client) DeleteTopic(ctx context.Context, topic string) error {
	res, err := c.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return res.Errors[topic]
}

var codecs = map[string]kafka.Compression{"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}

// byHeader sends each message to the partition that rides along in WriterData.
type byHeader struct{}

func (byHeader) Balance(m kafka.Message, _ ...int) int { return int(m.WriterData.(int32)) }

func (c *client) Produce(ctx context.Context, topic string, records []scenario.Record, codec string, _ bool) error {
	w := &kafka.Writer{
		Addr: kafka.TCP(check.Kafka), Topic: topic, Balancer: byHeader{}, RequiredAcks: kafka.RequireAll, Compression: codecs[codec],
		BatchTimeout: 5 * time.Millisecond, BatchSize: 50, Transport: c.transport,
	}
	defer w.Close()
	var messages []kafka.Message
	for _, r := range records {
		m := kafka.Message{Key: r.Key, Value: r.Value, Time: r.Time, WriterData: r.Partition}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
		messages = append(messages, m)
	}
	return w.WriteMessages(ctx, messages...)
}

func (c *client) Read(ctx context.Context, topic string, partition int32, offset int64, count int) ([]scenario.Record, error) {
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{check.Kafka}, Topic: topic, Partition: int(partition), Dialer: c.dialer, MinBytes: 1, MaxBytes: 10 << 20, MaxWait: 200 * time.Millisecond,
	})
	defer r.Close()
	if err := r.SetOffset(offset); err != nil {
		return nil, err
	}
	var out []scenario.Record
	for len(out) < count {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			return nil, fmt.Errorf("%d of %d records: %w", len(out), count, err)
		}
		out = append(out, record(m))
	}
	return out, nil
}

func record(m kafka.Message) scenario.Record {
	out := scenario.Record{Partition: int32(m.Partition), Key: m.Key, Value: m.Value, Time: m.Time, Offset: m.Offset}
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, scenario.Header{Key: h.Key, Value: h.Value})
	}
	return out
}

func (c *client) OffsetAt(ctx context.Context, topic string, partition int32, t time.Time) (int64, error) {
	conn, err := c.dialer.DialLeader(ctx, "tcp", check.Kafka, topic, int(partition))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return conn.ReadOffset(t)
}

// member uses ConsumerGroup, the part of kafka-go that tells the assignment, and
// reads each assigned partition of a generation with a reader of its own.
type member struct {
	c       *client
	topic   string
	group   *kafka.ConsumerGroup
	cancel  context.CancelFunc
	done    chan struct{}
	mu      sync.Mutex // guards the rest
	held    []int32
	records []scenario.Record
	err     error
}

func (c *client) Member(group, topic string) (scenario.Member, error) {
	g, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: group, Brokers: []string{check.Kafka}, Dialer: c.dialer, Topics: []string{topic}, StartOffset: kafka.FirstOffset,
		HeartbeatInterval: 500 * time.Millisecond, SessionTimeout: 10 * time.Second, RebalanceTimeout: 10 * time.Second,
		GroupBalancers: []kafka.GroupBalancer{kafka.RangeGroupBalancer{}},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{c: c, topic: topic, group: g, cancel: cancel, done: make(chan struct{})}
	go m.run(ctx)
	return m, nil
}

func (m *member) run(ctx context.Context) {
	defer close(m.done)
	for {
		generation, err := m.group.Next(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, kafka.ErrGroupClosed) {
				m.set(nil, err)
			}
			return
		}
		var held []int32
		for _, a := range generation.Assignments[m.topic] {
			held = append(held, int32(a.ID))
			generation.Start(func(ctx context.Context) { m.read(ctx, generation, a) })
		}
		m.set(held, nil)
		generation.Start(func(ctx context.Context) { <-ctx.Done(); m.set(nil, nil) })
	}
}

func (m *member) read(ctx context.Context, generation *kafka.Generation, a kafka.PartitionAssignment) {
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{check.Kafka}, Topic: m.topic, Partition: a.ID, Dialer: m.c.dialer, MinBytes: 1, MaxBytes: 10 << 20, MaxWait: 100 * time.Millisecond,
	})
	defer r.Close()
	_ = r.SetOffset(a.Offset)
	for {
		msg, err := r.ReadMessage(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, kafka.ErrGenerationEnded) {
				m.set(nil, err)
			}
			return
		}
		m.mu.Lock()
		m.records = append(m.records, record(msg))
		m.mu.Unlock()
		if err := generation.CommitOffsets(map[string]map[int]int64{m.topic: {a.ID: msg.Offset + 1}}); err != nil {
			m.set(nil, err)
			return
		}
	}
}

func (m *member) set(held []int32, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = held
	if m.err == nil {
		m.err = err
	}
}

func (m *member) Poll(ctx context.Context) ([]scenario.Record, error) {
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.records
	m.records = nil
	return out, m.err
}

func (m *member) Assigned() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]int32(nil), m.held...)
}

func (m *member) Close() error {
	err := m.group.Close()
	m.cancel()
	<-m.done
	return err
}
