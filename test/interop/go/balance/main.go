// The balance program is one member of a classic group, in a process that may
// be killed: py/balance_member.py says what it prints.
//
//	balance CLIENT GROUP TOPIC BALANCER,BALANCER [INSTANCE]
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
	segplain "github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/leveret-mq/leveret/test/interop/go/check"
)

const heartbeat = 300 * time.Millisecond

var session = func() time.Duration {
	ms, _ := strconv.Atoi(os.Getenv("SESSION_MS"))
	return time.Duration(ms) * time.Millisecond
}()

// what a member was told to be
type what struct {
	group, topic string
	balancers    []string
	instance     string
}

func main() {
	args := append(os.Args[2:], "")
	w := what{group: args[0], topic: args[1], balancers: strings.Split(args[2], ","), instance: args[3]}
	ctx, leave := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		leave()
	}()
	clients := map[string]func(context.Context, what) error{"franz-go": franz, "sarama": ofSarama, "kafka-go": segmentio}
	if err := clients[os.Args[1]](ctx, w); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var mu sync.Mutex // guards standard output

func say(format string, args ...any) {
	mu.Lock()
	defer mu.Unlock()
	fmt.Printf(format+"\n", args...)
}

func sayHeld(partitions []int32) { say("held %s", strings.Trim(fmt.Sprint(partitions), "[]")) }

func franz(ctx context.Context, w what) error {
	known := map[string]kgo.GroupBalancer{"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(), "sticky": kgo.StickyBalancer(),
		"cooperative-sticky": kgo.CooperativeStickyBalancer()}
	var balancers []kgo.GroupBalancer
	for _, b := range w.balancers {
		balancers = append(balancers, known[b])
	}
	var held []int32 // the callbacks come one at a time
	drop := func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
		held = slices.DeleteFunc(held, func(p int32) bool { return slices.Contains(lost[w.topic], p) })
		sayHeld(held)
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(check.Kafka), kgo.ConsumerGroup(w.group), kgo.ConsumeTopics(w.topic), kgo.Balancers(balancers...), kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), kgo.SessionTimeout(session), kgo.HeartbeatInterval(heartbeat), kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.OnPartitionsRevoked(drop), kgo.OnPartitionsLost(drop),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, more map[string][]int32) {
			held = append(held, more[w.topic]...)
			sayHeld(held)
		}),
	}
	if w.instance != "" {
		opts = append(opts, kgo.InstanceID(w.instance))
	}
	if user, password, ok := check.Credentials(); ok {
		opts = append(opts, kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		fetches := cl.PollFetches(short)
		cancel()
		ends := map[int32]int64{}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if n := len(p.Records); n > 0 {
				say("got %d %d %d", p.Partition, p.Records[0].Offset, p.Records[n-1].Offset)
				ends[p.Partition] = p.Records[n-1].Offset + 1
			}
		})
		if len(ends) > 0 {
			if err := cl.CommitUncommittedOffsets(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, "commit:", err)
			} else {
				for p, end := range ends {
					say("done %d %d", p, end)
				}
			}
		}
		cl.AllowRebalance()
	}
	cl.CloseAllowingRebalance()
	return nil
}

// claims is what sarama calls for each generation.
type claims struct{ topic string }

func ofSarama(ctx context.Context, w what) error {
	known := map[string]sarama.BalanceStrategy{"range": sarama.NewBalanceStrategyRange(), "roundrobin": sarama.NewBalanceStrategyRoundRobin(),
		"sticky": sarama.NewBalanceStrategySticky()}
	conf := sarama.NewConfig()
	conf.Version = sarama.V3_6_0_0
	conf.Consumer.Group.Rebalance.GroupStrategies = nil
	for _, b := range w.balancers {
		conf.Consumer.Group.Rebalance.GroupStrategies = append(conf.Consumer.Group.Rebalance.GroupStrategies, known[b])
	}
	conf.Consumer.Group.Session.Timeout, conf.Consumer.Group.Heartbeat.Interval, conf.Consumer.Group.InstanceId = session, heartbeat, w.instance
	conf.Consumer.MaxWaitTime = 100 * time.Millisecond
	conf.Consumer.Offsets.Initial, conf.Consumer.Offsets.AutoCommit.Enable = sarama.OffsetOldest, false
	if user, password, ok := check.Credentials(); ok {
		conf.Net.SASL.Enable, conf.Net.SASL.User, conf.Net.SASL.Password = true, user, password
	}
	g, err := sarama.NewConsumerGroup([]string{check.Kafka}, w.group, conf)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := g.Consume(ctx, []string{w.topic}, claims{w.topic}); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "consume:", err)
		}
	}
	return g.Close()
}

func (c claims) Setup(s sarama.ConsumerGroupSession) error { sayHeld(s.Claims()[c.topic]); return nil }

func (c claims) Cleanup(sarama.ConsumerGroupSession) error { sayHeld(nil); return nil }

func (c claims) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for m := range claim.Messages() {
		if s.Context().Err() != nil {
			return nil // the rest is for whom the partition goes to
		}
		say("got %d %d %d", m.Partition, m.Offset, m.Offset)
		s.MarkMessage(m, "")
		if len(claim.Messages()) == 0 {
			s.Commit()
			say("done %d %d", m.Partition, m.Offset+1)
		}
	}
	return nil
}

func segmentio(ctx context.Context, w what) error {
	known := map[string]kafka.GroupBalancer{"range": kafka.RangeGroupBalancer{}, "roundrobin": kafka.RoundRobinGroupBalancer{}}
	dialer := &kafka.Dialer{Timeout: 10 * time.Second}
	if user, password, ok := check.Credentials(); ok {
		dialer.SASLMechanism = segplain.Mechanism{Username: user, Password: password}
	}
	conf := kafka.ConsumerGroupConfig{ID: w.group, Brokers: []string{check.Kafka}, Dialer: dialer, Topics: []string{w.topic}, StartOffset: kafka.FirstOffset,
		HeartbeatInterval: heartbeat, SessionTimeout: session, RebalanceTimeout: 10 * time.Second}
	for _, b := range w.balancers {
		conf.GroupBalancers = append(conf.GroupBalancers, known[b])
	}
	g, err := kafka.NewConsumerGroup(conf)
	if err != nil {
		return err
	}
	for {
		generation, err := g.Next(ctx)
		if ctx.Err() != nil {
			return g.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "join:", err)
			continue
		}
		var held []int32
		for _, a := range generation.Assignments[w.topic] {
			held = append(held, int32(a.ID))
			generation.Start(func(ctx context.Context) { read(ctx, dialer, w.topic, generation, a) })
		}
		sayHeld(held)
		generation.Start(func(ctx context.Context) { <-ctx.Done(); sayHeld(nil) })
	}
}

// read reads a partition for as long as a generation lasts. The generation ends when this has returned.
func read(ctx context.Context, dialer *kafka.Dialer, topic string, generation *kafka.Generation, a kafka.PartitionAssignment) {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{check.Kafka}, Topic: topic, Partition: a.ID, Dialer: dialer, MinBytes: 1, MaxBytes: 10 << 20,
		MaxWait: 100 * time.Millisecond})
	defer r.Close()
	_ = r.SetOffset(a.Offset)
	for {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			if ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "read:", err)
			}
			return
		}
		say("got %d %d %d", m.Partition, m.Offset, m.Offset)
		if err := generation.CommitOffsets(map[string]map[int]int64{topic: {a.ID: m.Offset + 1}}); err != nil {
			fmt.Fprintln(os.Stderr, "commit:", err)
			return
		}
		say("done %d %d", m.Partition, m.Offset+1)
	}
}
