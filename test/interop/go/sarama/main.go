// The sarama program runs the Kafka scenario with IBM's sarama.
package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"

	"github.com/leveret-mq/leveret/test/interop/go/check"
	"github.com/leveret-mq/leveret/test/interop/go/scenario"
)

func main() {
	admin, err := sarama.NewClusterAdmin([]string{check.Kafka}, config())
	if err != nil {
		fmt.Println("FAIL connect:", err)
		return
	}
	scenario.Register(client{admin}, scenario.Options{
		Codecs: []string{"none", "gzip", "snappy", "lz4", "zstd"}, Idempotent: true, Nulls: false,
	})
	old()
	transactions()
	scalers()
	check.Logins(login)
	check.Main()
}

// old has sarama be as old as the brokers that it takes this one for: from before record batches it sends
// message sets and wants them back, in Produce 0 to 2 and Fetch 0 to 3, and asks with the first versions of all else.
func old() {
	for _, version := range []sarama.KafkaVersion{sarama.V0_8_2_0, sarama.V0_9_0_0, sarama.V0_10_0_0, sarama.V0_10_2_0, sarama.V1_0_0_0} {
		check.Add("as of "+version.String()+": each codec, read back and by a client of today, offsets of a group", 40*time.Second, func(ctx context.Context) {
			c := config()
			c.Version, c.ApiVersionsRequest = version, false
			c.Producer.RequiredAcks, c.Producer.Return.Successes = sarama.WaitForAll, true
			topic := check.Name("old" + version.String())
			now := config()
			check.OK(client{check.Get(sarama.NewClusterAdmin([]string{check.Kafka}, now))}.CreateTopic(ctx, topic, 1), "create")
			want := 0
			for name, codec := range codecs {
				if name == "zstd" || name == "lz4" && !version.IsAtLeast(sarama.V0_10_0_0) {
					continue
				}
				c.Producer.Compression = codec
				producer := check.Get(sarama.NewSyncProducer([]string{check.Kafka}, c))
				var messages []*sarama.ProducerMessage
				for range 50 {
					messages = append(messages, &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder("key"), Value: sarama.StringEncoder(fmt.Sprint(want))})
					want++
				}
				check.OK(producer.SendMessages(messages), "send "+name)
				check.OK(producer.Close(), "close")
			}
			for _, conf := range []*sarama.Config{c, now} {
				consumer := check.Get(sarama.NewConsumer([]string{check.Kafka}, conf))
				from := check.Get(consumer.ConsumePartition(topic, 0, sarama.OffsetOldest))
				for i := range want {
					select {
					case m := <-from.Messages():
						check.Equal(string(m.Key)+string(m.Value), fmt.Sprint("key", i), "message")
						check.Equal(m.Offset, int64(i), "offset")
					case err := <-from.Errors():
						check.OK(err, "consume")
					case <-ctx.Done():
						check.Fail("%d of %d messages", i, want)
					}
				}
				check.OK(from.Close(), "close")
				check.OK(consumer.Close(), "close")
			}
			cl := check.Get(sarama.NewClient([]string{check.Kafka}, c))
			manager := check.Get(sarama.NewOffsetManagerFromClient(check.Name("group"+version.String()), cl))
			at := check.Get(manager.ManagePartition(topic, 0))
			at.MarkOffset(7, "seven")
			manager.Commit()
			at.AsyncClose()
			check.OK(manager.Close(), "commit")
			manager = check.Get(sarama.NewOffsetManagerFromClient(check.Name("group"+version.String()), cl))
			offset, text := check.Get(manager.ManagePartition(topic, 0)).NextOffset()
			check.Equal(fmt.Sprint(offset, text), "7seven", "committed")
			check.OK(cl.Close(), "close")
		})
	}
}

// scalers ask as KEDA does (as of 1.0, its default) and lag exporters (as of 2.0): for topics, committed offsets and ends.
func scalers() {
	for _, version := range []sarama.KafkaVersion{sarama.V1_0_0_0, sarama.V2_0_0_0} {
		check.Add("as of "+version.String()+", lag as KEDA and kafka_exporter take it", 40*time.Second, func(ctx context.Context) {
			topic, group := check.Name("scaled"+version.String()), check.Name("scaled-group"+version.String())
			c := config()
			c.Version, c.ApiVersionsRequest = version, false
			c.Producer.RequiredAcks, c.Producer.Return.Successes = sarama.WaitForAll, true
			cl := check.Get(sarama.NewClient([]string{check.Kafka}, c))
			defer cl.Close()
			admin := check.Get(sarama.NewClusterAdminFromClient(cl))
			check.OK(client{admin}.CreateTopic(ctx, topic, 2), "create")
			producer := check.Get(sarama.NewSyncProducerFromClient(cl))
			for range 30 {
				_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder("x")})
				check.OK(err, "send")
			}
			described := check.Get(admin.DescribeTopics([]string{topic, check.Name("missing")}))
			check.Equal([]int{len(described[0].Partitions), int(described[1].Err)}, []int{2, int(sarama.ErrUnknownTopicOrPartition)}, "topics")
			unset := check.Get(admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0, 1}}))
			check.Equal([]any{unset.Err, unset.GetBlock(topic, 0).Offset, unset.GetBlock(topic, 0).Err}, []any{sarama.ErrNoError, int64(-1), sarama.ErrNoError}, "a group that is not there")
			manager := check.Get(sarama.NewOffsetManagerFromClient(group, cl))
			for p := range int32(2) {
				at := check.Get(manager.ManagePartition(topic, p))
				at.MarkOffset(4, "")
				defer at.AsyncClose()
			}
			manager.Commit()
			lag := int64(0)
			offsets := check.Get(admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0, 1}}))
			for p := range int32(2) {
				lag += check.Get(cl.GetOffset(topic, p, sarama.OffsetNewest)) - offsets.GetBlock(topic, p).Offset
			}
			check.Equal(lag, int64(30-2*4), "lag")
			groups := check.Get(admin.DescribeConsumerGroups([]string{group}))
			check.Equal([]any{groups[0].Err, groups[0].State}, []any{sarama.ErrNoError, "Empty"}, "the group as described")
			_, listed := check.Get(admin.ListConsumerGroups())[group]
			check.Equal(listed, true, "the group is listed")
		})
	}
}

// transactions are sarama's, which announces every partition.
func transactions() {
	check.Add("transactions: what is committed is read, what is aborted is not", 40*time.Second, func(ctx context.Context) {
		topic := check.Name("tx")
		check.OK(client{check.Get(sarama.NewClusterAdmin([]string{check.Kafka}, config()))}.CreateTopic(ctx, topic, 1), "create")
		c := config()
		c.Producer.RequiredAcks, c.Producer.Return.Successes, c.Producer.Idempotent, c.Net.MaxOpenRequests = sarama.WaitForAll, true, true, 1
		c.Producer.Transaction.ID, c.Producer.Transaction.Timeout = topic, 10*time.Second
		producer := check.Get(sarama.NewSyncProducer([]string{check.Kafka}, c))
		want := []string{}
		for turn := range 6 {
			check.OK(producer.BeginTxn(), "begin")
			for i := range 10 {
				value := fmt.Sprint(turn, "-", i)
				_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)})
				check.OK(err, "send")
				if turn%2 == 0 {
					want = append(want, value)
				}
			}
			if turn%2 == 0 {
				check.OK(producer.CommitTxn(), "commit")
			} else {
				check.OK(producer.AbortTxn(), "abort")
			}
		}
		check.OK(producer.Close(), "close")
		c = config()
		c.Consumer.IsolationLevel = sarama.ReadCommitted
		consumer := check.Get(sarama.NewConsumer([]string{check.Kafka}, c))
		from := check.Get(consumer.ConsumePartition(topic, 0, sarama.OffsetOldest))
		for _, value := range want {
			select {
			case m := <-from.Messages():
				check.Equal(string(m.Value), value, "message")
			case <-ctx.Done():
				check.Fail("no %s", value)
			}
		}
		check.OK(from.Close(), "close")
		check.OK(consumer.Close(), "close")
	})
}

func login(_ context.Context, mechanism, user, password string) error {
	c := config()
	c.Net.SASL.Enable, c.Net.SASL.User, c.Net.SASL.Password = true, user, password
	c.Net.SASL.Mechanism, c.Metadata.Retry.Max = sarama.SASLMechanism(mechanism), 0
	c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient {
		if mechanism == sarama.SASLTypeSCRAMSHA512 {
			return &scramClient{hash: scram.SHA512}
		}
		return &scramClient{hash: scram.SHA256}
	}
	cl, err := sarama.NewClient([]string{check.Kafka}, c)
	if err != nil {
		return err
	}
	return cl.Close()
}

// scramClient is what sarama wants of a library.
type scramClient struct {
	hash scram.HashGeneratorFcn
	*scram.ClientConversation
}

func (c *scramClient) Begin(user, password, as string) error {
	cl, err := c.hash.NewClient(user, password, as)
	if err == nil {
		c.ClientConversation = cl.NewConversation()
	}
	return err
}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID = "interop-sarama"
	c.Version = sarama.V3_6_0_0
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Return.Errors = true
	c.Consumer.MaxWaitTime = 100 * time.Millisecond // closing waits for the fetch under way
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	if user, password, ok := check.Credentials(); ok {
		c.Net.SASL.Enable, c.Net.SASL.User, c.Net.SASL.Password = true, user, password
		c.Net.SASL.Mechanism, c.Net.SASL.Handshake = sarama.SASLTypePlaintext, true
	}
	return c
}

type client struct{ admin sarama.ClusterAdmin }

func (c client) CreateTopic(_ context.Context, topic string, partitions int32) error {
	return c.admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false)
}

func (c client) DeleteTopic(_ context.Context, topic string) error { return c.admin.DeleteTopic(topic) }

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func (c client) Produce(_ context.Context, topic string, records []scenario.Record, codec string, idempotent bool) error {
	conf := config()
	conf.Producer.Partitioner = sarama.NewManualPartitioner
	conf.Producer.RequiredAcks = sarama.WaitForAll
	conf.Producer.Return.Successes = true
	conf.Producer.Compression = codecs[codec]
	conf.Producer.Idempotent = idempotent
	conf.Producer.Flush.Frequency = 5 * time.Millisecond
	conf.Producer.Flush.MaxMessages = 100
	conf.Net.MaxOpenRequests = 1
	producer, err := sarama.NewSyncProducer([]string{check.Kafka}, conf)
	if err != nil {
		return err
	}
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for _, r := range records {
		m := &sarama.ProducerMessage{Topic: topic, Partition: r.Partition, Timestamp: r.Time}
		if r.Key != nil {
			m.Key = sarama.ByteEncoder(r.Key)
		}
		if r.Value != nil {
			m.Value = sarama.ByteEncoder(r.Value)
		}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		messages = append(messages, m)
	}
	return producer.SendMessages(messages)
}

func (c client) Read(ctx context.Context, topic string, partition int32, offset int64, count int) ([]scenario.Record, error) {
	consumer, err := sarama.NewConsumer([]string{check.Kafka}, config())
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	from, err := consumer.ConsumePartition(topic, partition, offset)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	var out []scenario.Record
	for len(out) < count {
		select {
		case m := <-from.Messages():
			out = append(out, record(m))
		case err := <-from.Errors():
			return nil, err
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d records: %w", len(out), count, ctx.Err())
		}
	}
	return out, nil
}

func record(m *sarama.ConsumerMessage) scenario.Record {
	out := scenario.Record{Partition: m.Partition, Key: m.Key, Value: m.Value, Time: m.Timestamp, Offset: m.Offset}
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, scenario.Header{Key: string(h.Key), Value: h.Value})
	}
	return out
}

func (c client) OffsetAt(_ context.Context, topic string, partition int32, t time.Time) (int64, error) {
	cl, err := sarama.NewClient([]string{check.Kafka}, config())
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	return cl.GetOffset(topic, partition, t.UnixMilli())
}

// member runs sarama's session loop; Poll takes what its claims have read and committed.
type member struct {
	group   sarama.ConsumerGroup
	cancel  context.CancelFunc
	done    chan struct{}
	mu      sync.Mutex // guards the rest
	held    []int32
	records []scenario.Record
	err     error
}

func (c client) Member(group, topic string) (scenario.Member, error) {
	g, err := sarama.NewConsumerGroup([]string{check.Kafka}, group, config())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{group: g, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		for ctx.Err() == nil { // one turn a rebalance
			if err := g.Consume(ctx, []string{topic}, m); err != nil {
				m.fail(err)
				return
			}
		}
	}()
	go func() {
		for err := range g.Errors() {
			m.fail(err)
		}
	}()
	return m, nil
}

func (m *member) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = err
	}
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, partitions := range s.Claims() {
		m.held = partitions
	}
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = nil
	return nil
}

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for msg := range claim.Messages() {
		m.mu.Lock()
		m.records = append(m.records, record(msg))
		m.mu.Unlock()
		s.MarkMessage(msg, "")
		if len(claim.Messages()) == 0 {
			s.Commit()
		}
	}
	s.Commit()
	return nil
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
	m.cancel()
	<-m.done
	return m.group.Close()
}
