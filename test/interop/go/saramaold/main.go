// The saramaold program runs sarama 1.16 and sarama-cluster, of the days of Kafka 1.0, as Beats and exporters of those days have
// them within: groups are theirs, in another dialect than sarama's of today.
package main

import (
	"context"
	"fmt"
	"time"

	today "github.com/IBM/sarama"
	"github.com/Shopify/sarama"
	cluster "github.com/bsm/sarama-cluster"

	"github.com/leveret-mq/leveret/test/interop/go/check"
)

func main() {
	for _, version := range []sarama.KafkaVersion{sarama.V0_9_0_1, sarama.V0_10_2_0, sarama.V0_11_0_0, sarama.V1_0_0_0} {
		check.Add("as of "+version.String()+": each codec, by a group of two that is one later, and its offsets", 40*time.Second, func(ctx context.Context) { group(ctx, version) })
	}
	check.Main()
}

// config is what Beats' output has: acks of the leader, and of what it is sent.
func config(version sarama.KafkaVersion) *cluster.Config {
	c := cluster.NewConfig()
	c.ClientID, c.Version = "beats", version
	c.Producer.Return.Successes, c.Producer.RequiredAcks = true, sarama.WaitForLocal
	c.Consumer.Offsets.Initial, c.Consumer.Return.Errors = sarama.OffsetOldest, true
	c.Consumer.MaxWaitTime = 100 * time.Millisecond
	c.Group.Return.Notifications, c.Group.Heartbeat.Interval = true, 300*time.Millisecond
	if user, password, ok := check.Credentials(); ok {
		c.Net.SASL.Enable, c.Net.SASL.User, c.Net.SASL.Password = true, user, password
	}
	return c
}

// member takes what comes, and marks it.
type member struct {
	*cluster.Consumer
	got  chan string
	held chan int // how many partitions it has, after each rebalance
}

func join(topic, group string, version sarama.KafkaVersion) *member {
	m := &member{check.Get(cluster.NewConsumer([]string{check.Kafka}, group, []string{topic}, config(version))), make(chan string, 10_000), make(chan int, 100)}
	go func() {
		for message := range m.Messages() {
			m.MarkOffset(message, "")
			m.got <- string(message.Value)
		}
	}()
	go func() {
		for n := range m.Notifications() {
			if n.Type == cluster.RebalanceOK {
				m.held <- len(n.Current[topic])
			}
		}
	}()
	go func() {
		for range m.Errors() { // a rebalance under way
		}
	}()
	return m
}

// holds waits for a rebalance after which the member has so many partitions.
func (m *member) holds(ctx context.Context, n int) {
	for {
		select {
		case held := <-m.held:
			if held == n {
				return
			}
		case <-ctx.Done():
			check.Fail("it never held %d partitions", n)
		}
	}
}

func group(ctx context.Context, version sarama.KafkaVersion) {
	topic, name := check.Name("old"+version.String()), check.Name("group"+version.String())
	c := config(version)
	cl := check.Get(sarama.NewClient([]string{check.Kafka}, &c.Config))
	defer cl.Close()
	now := today.NewConfig() // it could not make topics then
	if user, password, ok := check.Credentials(); ok {
		now.Net.SASL.Enable, now.Net.SASL.User, now.Net.SASL.Password = true, user, password
	}
	admin := check.Get(today.NewClusterAdmin([]string{check.Kafka}, now))
	check.OK(admin.CreateTopic(topic, &today.TopicDetail{NumPartitions: 4, ReplicationFactor: 1}, false), "create")
	check.OK(admin.Close(), "close")
	sent := 0
	send := func(codec sarama.CompressionCodec) {
		conf := config(version).Config
		conf.Producer.Compression, conf.Producer.Partitioner = codec, sarama.NewRoundRobinPartitioner
		producer := check.Get(sarama.NewSyncProducer([]string{check.Kafka}, &conf))
		var messages []*sarama.ProducerMessage
		for range 40 {
			messages = append(messages, &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(fmt.Sprint(sent))})
			sent++
		}
		check.OK(producer.SendMessages(messages), "send")
		check.OK(producer.Close(), "close")
	}
	seen := map[string]bool{}
	take := func(members ...*member) {
		check.Until(ctx, "all messages", func() bool {
			for _, m := range members {
				for len(m.got) > 0 {
					seen[<-m.got] = true
				}
			}
			return len(seen) == sent
		})
	}
	codecs := []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy}
	if version.IsAtLeast(sarama.V0_10_0_0) {
		codecs = append(codecs, sarama.CompressionLZ4)
	}
	one := join(topic, name, version)
	one.holds(ctx, 4)
	for _, codec := range codecs {
		send(codec)
	}
	take(one)
	two := join(topic, name, version)
	two.holds(ctx, 2)
	one.holds(ctx, 2)
	send(codecs[len(codecs)-1])
	take(one, two)
	check.OK(two.Close(), "close") // which commits
	one.holds(ctx, 4)
	send(sarama.CompressionNone)
	take(one)
	check.OK(one.Close(), "close")
	three := join(topic, name, version)
	three.holds(ctx, 4)
	before := sent
	send(sarama.CompressionNone)
	take(three)
	check.OK(three.Close(), "close")
	committed := int64(0)
	coordinator := check.Get(cl.Coordinator(name))
	request := &sarama.OffsetFetchRequest{Version: 1, ConsumerGroup: name}
	for p := range int32(4) {
		request.AddPartition(topic, p)
	}
	offsets := check.Get(coordinator.FetchOffset(request))
	for p := range int32(4) {
		committed += offsets.GetBlock(topic, p).Offset
	}
	check.Equal(committed, int64(before+40), "committed")
}
