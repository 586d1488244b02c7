// The franz program runs the Kafka scenario with franz-go.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/leveret-mq/leveret/test/interop/go/check"
	"github.com/leveret-mq/leveret/test/interop/go/scenario"
)

func main() {
	cl, err := newClient()
	if err != nil {
		fmt.Println("FAIL connect:", err)
		return
	}
	client := franz{kadm.NewClient(cl)}
	scenario.Register(client, scenario.Options{
		Codecs: []string{"none", "gzip", "snappy", "lz4", "zstd"}, Idempotent: true, Nulls: true,
		Assigned: func(group, topic string) (scenario.Member, error) {
			return client.member(group, topic, kgo.ServerSideBalancer())
		},
	})
	transactions()
	shares()
	lag()
	check.Logins(login)
	check.Main()
}

// transactions copy a topic in transactions with the offsets of their group: as franz-go does it today (KIP-890), and as before that.
func transactions() {
	for name, age := range map[string]*kversion.Versions{"new": kversion.Stable(), "as-of-3.0": kversion.V3_0_0()} {
		check.Add("transactions "+name+": a copy with its offsets, of which some are aborted, arrives once and in order; a zombie is fenced", 60*time.Second, func(ctx context.Context) {
			source, target := check.Name("tx-in."+name), check.Name("tx-out."+name)
			cl := check.Get(newClient(kgo.DefaultProduceTopic(source)))
			defer cl.Close()
			for _, topic := range []string{source, target} {
				check.Get(kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, topic))
			}
			var records []*kgo.Record
			for i := range 300 {
				records = append(records, &kgo.Record{Value: fmt.Append(nil, i)})
			}
			check.OK(cl.ProduceSync(ctx, records...).FirstErr(), "produce")
			options := func(more ...kgo.Opt) []kgo.Opt {
				opts := []kgo.Opt{kgo.SeedBrokers(check.Kafka), kgo.TransactionalID(target), kgo.DefaultProduceTopic(target), kgo.MaxVersions(age), kgo.FetchMaxWait(100 * time.Millisecond)}
				if user, password, ok := check.Credentials(); ok {
					opts = append(opts, kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))
				}
				return append(opts, more...)
			}
			session := check.Get(kgo.NewGroupTransactSession(options(kgo.ConsumerGroup(target), kgo.ConsumeTopics(source),
				kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...))
			for copied, turn := 0, 1; copied < 300; turn++ {
				fetches := session.PollRecords(ctx, 20)
				check.OK(fetches.Err(), "poll")
				check.OK(session.Begin(), "begin")
				n := 0
				fetches.EachRecord(func(r *kgo.Record) {
					n++
					session.Produce(ctx, &kgo.Record{Value: r.Value}, nil)
				})
				commit := turn%3 != 0
				committed := check.Get(session.End(ctx, kgo.TransactionEndTry(commit)))
				check.Equal(committed, commit, "committed")
				if committed {
					copied += n
				}
			}
			session.Close()
			want := func(n int) {
				reader := check.Get(newClient(kgo.ConsumeTopics(target), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())))
				defer reader.Close()
				for i := 0; i < n; {
					fetches := reader.PollFetches(ctx)
					check.OK(fetches.Err(), "read")
					fetches.EachRecord(func(r *kgo.Record) {
						check.Equal(string(r.Value), fmt.Sprint(i), "copy")
						i++
					})
				}
			}
			want(300)
			zombie, heir := check.Get(kgo.NewClient(options()...)), check.Get(kgo.NewClient(options()...))
			defer zombie.Close()
			defer heir.Close()
			check.OK(zombie.BeginTransaction(), "begin")
			check.OK(zombie.ProduceSync(ctx, kgo.StringRecord("zombie")).FirstErr(), "produce")
			check.OK(heir.BeginTransaction(), "begin")
			check.OK(heir.ProduceSync(ctx, kgo.StringRecord("300")).FirstErr(), "produce")
			check.OK(heir.EndTransaction(ctx, kgo.TryCommit), "commit")
			if zombie.EndTransaction(ctx, kgo.TryCommit) == nil {
				check.Fail("the zombie commits")
			}
			want(301)
		})
	}
}

// shares has two members of a share group work a topic off: what one releases comes again, what is rejected does not.
func shares() {
	check.Add("share group of two: each record to one of them, what is released comes again, what is rejected does not", 40*time.Second, func(ctx context.Context) {
		const count = 300
		topic, group := check.Name("share"), check.Name("share-group")
		admin := check.Get(newClient(kgo.DefaultProduceTopic(topic)))
		defer admin.Close()
		check.Get(kadm.NewClient(admin).CreateTopic(ctx, 2, 1, nil, topic))
		earliest := kmsg.NewPtrIncrementalAlterConfigsRequest()
		earliest.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: group,
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "share.auto.offset.reset", Op: kmsg.IncrementalAlterConfigOpSet, Value: kmsg.StringPtr("earliest")}}}}
		check.Equal(check.Get(earliest.RequestWith(ctx, admin)).Resources[0].ErrorCode, int16(0), "share.auto.offset.reset")
		var members []*kgo.Client
		for range 2 {
			member := check.Get(newClient(kgo.ShareGroup(group), kgo.ConsumeTopics(topic), kgo.ShareMaxRecords(20), kgo.FetchMaxWait(100*time.Millisecond)))
			defer member.Close()
			members = append(members, member)
		}
		var records []*kgo.Record
		for i := range count {
			records = append(records, &kgo.Record{Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)})
		}
		check.OK(admin.ProduceSync(ctx, records...).FirstErr(), "produce")
		accepted, released, rejected := map[string]int{}, map[string]bool{}, map[string]bool{}
		check.Until(ctx, "all records", func() bool {
			for _, member := range members {
				short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
				fetches := member.PollFetches(short)
				cancel()
				fetches.EachRecord(func(r *kgo.Record) {
					value := string(r.Value)
					switch {
					case len(value)%3 == 0 && value[2] == '0' && !released[value]:
						released[value] = true
						r.Ack(kgo.AckRelease)
					case len(value)%3 == 0 && value[2] == '1':
						check.Equal(rejected[value], false, value+" was rejected before")
						rejected[value] = true
						r.Ack(kgo.AckReject)
					default:
						accepted[value]++
						r.Ack(kgo.AckAccept)
					}
				})
			}
			return len(accepted)+len(rejected) == count
		})
		for value, n := range accepted {
			check.Equal(n, 1, "times that "+value+" was taken")
		}
		check.Equal([]int{len(released), len(rejected)}, []int{20, 20}, "released, rejected")
	})
}

// lag is taken as kminion and Burrow take it: from the records of __consumer_offsets, and the ends of partitions.
func lag() {
	check.Add("__consumer_offsets, read as lag exporters do: offsets and members of groups as they come, and that a group is gone", 40*time.Second, func(ctx context.Context) {
		topic, group := check.Name("lag"), check.Name("lag-group")
		cl := check.Get(newClient(kgo.DefaultProduceTopic(topic)))
		defer cl.Close()
		admin := kadm.NewClient(cl)
		check.Get(admin.CreateTopic(ctx, 1, 1, nil, topic))
		var records []*kgo.Record
		for range 100 {
			records = append(records, kgo.StringRecord("x"))
		}
		check.OK(cl.ProduceSync(ctx, records...).FirstErr(), "produce")
		commit := func(at int64) {
			check.OK(check.Get(admin.CommitOffsets(ctx, group, kadm.OffsetsFromRecords(kgo.Record{Topic: topic, Offset: at - 1}))).Error(), "commit")
		}
		commit(40)
		reader := check.Get(newClient(kgo.ConsumeTopics("__consumer_offsets"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond)))
		defer reader.Close()
		at, gone, members := int64(-1), false, map[string]int{}
		follow := func(what string, until func() bool) {
			check.Until(ctx, what, func() bool {
				short, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				reader.PollFetches(short).EachRecord(func(r *kgo.Record) {
					switch binary.BigEndian.Uint16(r.Key) {
					case 0, 1:
						var key kmsg.OffsetCommitKey
						check.OK(key.ReadFrom(r.Key), "key of an offset")
						if key.Group != group || key.Topic != topic {
							return
						}
						if gone = r.Value == nil; !gone {
							var value kmsg.OffsetCommitValue
							check.OK(value.ReadFrom(r.Value), "an offset")
							at = value.Offset
						}
					case 2:
						var key kmsg.GroupMetadataKey
						check.OK(key.ReadFrom(r.Key), "key of a group")
						if r.Value != nil {
							var value kmsg.GroupMetadataValue
							check.OK(value.ReadFrom(r.Value), "a group")
							members[key.Group] = len(value.Members)
						}
					}
				})
				return until()
			})
		}
		follow("the offset that was there", func() bool { return at == 40 })
		ends := check.Get(admin.ListEndOffsets(ctx, topic))
		end, _ := ends.Lookup(topic, 0)
		check.Equal(end.Offset-at, int64(60), "lag")
		commit(75)
		follow("the next offset", func() bool { return at == 75 })
		worker := check.Name("lag-worker")
		member := check.Get(newClient(kgo.ConsumerGroup(worker), kgo.ConsumeTopics(topic)))
		follow("a member", func() bool { return members[worker] == 1 })
		member.Close()
		check.Get(admin.DeleteGroup(ctx, group))
		follow("that the group is gone", func() bool { return gone })
	})
}

func login(ctx context.Context, mechanism, user, password string) error {
	a := scram.Auth{User: user, Pass: password}
	m := a.AsSha256Mechanism()
	if mechanism == "SCRAM-SHA-512" {
		m = a.AsSha512Mechanism()
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(check.Kafka), kgo.SASL(m), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer cl.Close()
	return cl.Ping(ctx)
}

func newClient(more ...kgo.Opt) (*kgo.Client, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(check.Kafka), kgo.ClientID("interop-franz")}
	if user, password, ok := check.Credentials(); ok {
		opts = append(opts, kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))
	}
	return kgo.NewClient(append(opts, more...)...)
}

type franz struct{ admin *kadm.Client }

func (f franz) CreateTopic(ctx context.Context, topic string, partitions int32) error {
	_, err := f.admin.CreateTopic(ctx, partitions, 1, nil, topic)
	return err
}

func (f franz) DeleteTopic(ctx context.Context, topic string) error {
	_, err := f.admin.DeleteTopic(ctx, topic)
	return err
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func (f franz) Produce(ctx context.Context, topic string, records []scenario.Record, codec string, idempotent bool) error {
	opts := []kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codecs[codec]),
		kgo.ProducerBatchMaxBytes(16 << 10), kgo.ProducerLinger(5 * time.Millisecond),
	}
	if !idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	cl, err := newClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	var rs []*kgo.Record
	for _, r := range records {
		k := &kgo.Record{Topic: topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: r.Time}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		rs = append(rs, k)
	}
	return cl.ProduceSync(ctx, rs...).FirstErr()
}

func (f franz) Read(ctx context.Context, topic string, partition int32, offset int64, count int) ([]scenario.Record, error) {
	cl, err := newClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(offset)}}))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var out []scenario.Record
	for len(out) < count {
		fetches := cl.PollRecords(ctx, count-len(out))
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("after %d of %d records: %w", len(out), count, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { out = append(out, record(r)) })
	}
	return out, nil
}

func record(r *kgo.Record) scenario.Record {
	out := scenario.Record{Partition: r.Partition, Key: r.Key, Value: r.Value, Time: r.Timestamp, Offset: r.Offset}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, scenario.Header{Key: h.Key, Value: h.Value})
	}
	return out
}

func (f franz) OffsetAt(ctx context.Context, topic string, partition int32, t time.Time) (int64, error) {
	offsets, err := f.admin.ListOffsetsAfterMilli(ctx, t.UnixMilli(), topic)
	if err != nil {
		return 0, err
	}
	o, _ := offsets.Lookup(topic, partition)
	return o.Offset, o.Err
}

type member struct {
	cl   *kgo.Client
	mu   sync.Mutex // guards held
	held []int32
}

func (f franz) Member(group, topic string) (scenario.Member, error) { return f.member(group, topic) }

func (f franz) member(group, topic string, more ...kgo.Opt) (scenario.Member, error) {
	m := &member{}
	var err error
	m.cl, err = newClient(append(more,
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.Balancers(kgo.RangeBalancer()), kgo.HeartbeatInterval(500*time.Millisecond), kgo.SessionTimeout(10*time.Second),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, a map[string][]int32) { m.add(a[topic]) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, a map[string][]int32) { m.drop(a[topic]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, a map[string][]int32) { m.drop(a[topic]) }),
	)...)
	return m, err
}

func (m *member) add(partitions []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = append(m.held, partitions...)
}

func (m *member) drop(partitions []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = slices.DeleteFunc(m.held, func(p int32) bool { return slices.Contains(partitions, p) })
}

func (m *member) Assigned() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.held)
}

func (m *member) Poll(ctx context.Context) ([]scenario.Record, error) {
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	fetches := m.cl.PollFetches(short)
	defer m.cl.AllowRebalance()
	var out []scenario.Record
	fetches.EachRecord(func(r *kgo.Record) { out = append(out, record(r)) })
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled) {
			return out, e.Err
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, m.cl.CommitUncommittedOffsets(context.Background())
}

func (m *member) Close() error {
	m.cl.CloseAllowingRebalance()
	return nil
}
