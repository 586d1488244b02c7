package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	topic           = "crash.topic"
	group           = "crash.group"
	kafkaPartitions = 3
	kafkaDeadline   = 15 * time.Second
	// produceMax bounds the records of one life.
	produceMax = 3000
)

// kafkaModel knows what Kafka was promised.
type kafkaModel struct {
	mu    sync.Mutex
	next  int                               // number of the next record
	acked [kafkaPartitions]map[int64]record // offset → what was acked there
	from  [kafkaPartitions]int64            // verify reads from here: what lies before was verified once

	committed [kafkaPartitions]int64 // last commit that was answered
	trying    [kafkaPartitions]int64 // last commit that was sent

	ackedTotal, unknown, commits int
}

// record is a record that was acked.
type record struct{ number, round int }

func newKafkaModel() *kafkaModel {
	k := new(kafkaModel)
	for p := range k.acked {
		k.acked[p] = map[int64]record{}
	}
	return k
}

func (k *kafkaModel) client(addr string, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addr), kgo.ClientID("crash"),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }),
	}, opts...)...)
}

func (k *kafkaModel) declare(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, kafkaDeadline)
	defer cancel()
	c, err := k.client(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(ctx, kafkaPartitions, 1, nil, topic); err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	return nil
}

// startLoad produces with acks=all and commits group offsets until ctx ends.
func (k *kafkaModel) startLoad(ctx context.Context, addr string, round int, rng *rand.Rand, wg *sync.WaitGroup) error {
	c, err := k.client(addr, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(time.Millisecond), kgo.ProducerBatchCompression(codec(rng)), kgo.MaxBufferedRecords(500))
	if err != nil {
		return err
	}
	wg.Go(func() {
		defer c.Close()
		k.produce(ctx, c, round, rng)
	})
	commit, err := k.client(addr)
	if err != nil {
		return err
	}
	wg.Go(func() {
		defer commit.Close()
		k.commit(ctx, kadm.NewClient(commit))
	})
	return nil
}

func codec(rng *rand.Rand) kgo.CompressionCodec {
	return []kgo.CompressionCodec{kgo.NoCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.GzipCompression(), kgo.ZstdCompression()}[rng.IntN(5)]
}

func (k *kafkaModel) produce(ctx context.Context, c *kgo.Client, round int, rng *rand.Rand) {
	for range produceMax {
		k.mu.Lock()
		number := k.next
		k.next++
		k.mu.Unlock()
		r := &kgo.Record{Topic: topic, Partition: int32(rng.IntN(kafkaPartitions)), Value: value(number, rng.IntN(1000))}
		c.Produce(ctx, r, func(r *kgo.Record, err error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			if err != nil {
				k.unknown++ // it may be there or not
				return
			}
			k.acked[r.Partition][r.Offset] = record{number, round}
			k.ackedTotal++
		})
		if number%50 == 0 && !pause(ctx, time.Millisecond) {
			break
		}
	}
	<-ctx.Done()
}

func value(number, padding int) []byte {
	b := make([]byte, 8+padding)
	binary.BigEndian.PutUint64(b, uint64(number))
	return b
}

// commit moves the group's offsets on, as fast as they are answered.
func (k *kafkaModel) commit(ctx context.Context, admin *kadm.Client) {
	for ctx.Err() == nil {
		var offsets kadm.Offsets
		k.mu.Lock()
		for p := range kafkaPartitions {
			k.trying[p]++
			offsets.Add(kadm.Offset{Topic: topic, Partition: int32(p), At: k.trying[p], LeaderEpoch: -1})
		}
		sent := k.trying
		k.mu.Unlock()
		answers, err := admin.CommitOffsets(ctx, group, offsets)
		if err != nil || answers.Error() != nil {
			return
		}
		k.mu.Lock()
		k.committed = sent
		k.commits++
		k.mu.Unlock()
	}
}

// verify checks, after a restart, the group offsets and what was acked since
// the last verification.
func (k *kafkaModel) verify(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, kafkaDeadline)
	defer cancel()
	c, err := k.client(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	if err := k.verifyOffsets(ctx, admin); err != nil {
		return err
	}
	ends, err := k.verifyRecords(ctx, admin, addr, k.from)
	if err != nil {
		return err
	}
	k.from = ends
	return nil
}

// verifyOffsets checks that the group stands where an answered commit put it,
// or where one did that was on its way.
func (k *kafkaModel) verifyOffsets(ctx context.Context, admin *kadm.Client) error {
	got, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return fmt.Errorf("fetch the group's offsets: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for p := range kafkaPartitions {
		at, found := int64(0), false
		if o, ok := got.Lookup(topic, int32(p)); ok && o.Err == nil && o.At >= 0 {
			at, found = o.At, true
		}
		if k.committed[p] > 0 && (!found || at < k.committed[p] || at > k.trying[p]) {
			return fmt.Errorf("group %s partition %d: offset %d was committed, %d was tried, %d is there", group, p, k.committed[p], k.trying[p], at)
		}
		k.committed[p] = max(at, k.committed[p])
		k.trying[p] = k.committed[p]
	}
	return nil
}

// verifyRecords reads each partition from an offset to its end, and compares
// with what was acked. It returns the ends.
func (k *kafkaModel) verifyRecords(ctx context.Context, admin *kadm.Client, addr string, from [kafkaPartitions]int64) (ends [kafkaPartitions]int64, err error) {
	listed, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return ends, fmt.Errorf("list end offsets: %w", err)
	}
	if err := listed.Error(); err != nil {
		return ends, fmt.Errorf("list end offsets: %w", err)
	}
	starts := map[int32]kgo.Offset{}
	for p := range kafkaPartitions {
		o, ok := listed.Lookup(topic, int32(p))
		if !ok {
			return ends, fmt.Errorf("partition %d of topic %s is not there", p, topic)
		}
		ends[p] = o.Offset
		if o.Offset < from[p] {
			return ends, fmt.Errorf("partition %d ends at %d, it had %d", p, o.Offset, from[p])
		}
		if o.Offset > from[p] {
			starts[int32(p)] = kgo.NewOffset().At(from[p])
		}
	}
	got, err := k.read(ctx, addr, starts, ends)
	if err != nil {
		return ends, err
	}
	return ends, k.compare(got, from)
}

// read returns the numbers of the records up to the ends, by offset.
func (k *kafkaModel) read(ctx context.Context, addr string, starts map[int32]kgo.Offset, ends [kafkaPartitions]int64) (got [kafkaPartitions]map[int64]int, err error) {
	for p := range got {
		got[p] = map[int64]int{}
	}
	if len(starts) == 0 {
		return got, nil
	}
	c, err := k.client(addr, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}), kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		return got, err
	}
	defer c.Close()
	left := len(starts)
	last := map[int32]int64{}
	for left > 0 {
		fetches := c.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return got, fmt.Errorf("read the topic up to %v, got as far as %v: %w", ends, last, err)
		}
		var broken error
		fetches.EachError(func(_ string, p int32, err error) {
			broken = errors.Join(broken, fmt.Errorf("read partition %d: %w", p, err))
		})
		if broken != nil {
			return got, broken
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if before, ok := last[r.Partition]; ok && r.Offset <= before {
				broken = fmt.Errorf("partition %d: offset %d came after %d", r.Partition, r.Offset, before)
			}
			last[r.Partition] = r.Offset
			if len(r.Value) < 8 || len(bytes.Trim(r.Value[8:], "\x00")) != 0 {
				broken = fmt.Errorf("partition %d offset %d: the value of %d bytes was never written", r.Partition, r.Offset, len(r.Value))
				return
			}
			got[r.Partition][r.Offset] = int(binary.BigEndian.Uint64(r.Value))
			if r.Offset == ends[r.Partition]-1 {
				left--
			}
		})
		if broken != nil {
			return got, broken
		}
	}
	return got, nil
}

// compare holds what was read against what was acked from these offsets on.
func (k *kafkaModel) compare(got [kafkaPartitions]map[int64]int, from [kafkaPartitions]int64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p := range kafkaPartitions {
		for offset, want := range k.acked[p] {
			if offset < from[p] {
				continue
			}
			number, there := got[p][offset]
			if !there {
				return fmt.Errorf("record %d, acked in round %d at partition %d offset %d, is lost", want.number, want.round, p, offset)
			}
			if number != want.number {
				return fmt.Errorf("partition %d offset %d holds record %d, record %d was acked there in round %d", p, offset, number, want.number, want.round)
			}
		}
		if err := inOrder(p, got[p]); err != nil {
			return err
		}
	}
	return nil
}

// inOrder checks that the producer's records stand in the order in which it
// sent them, and none twice. One producer numbers all of them.
func inOrder(partition int, got map[int64]int) error {
	offsets := slices.Sorted(maps.Keys(got))
	for i := 1; i < len(offsets); i++ {
		if a, b := got[offsets[i-1]], got[offsets[i]]; b <= a {
			return fmt.Errorf("partition %d: record %d at offset %d follows record %d", partition, b, offsets[i], a)
		}
	}
	return nil
}

// finish reads the whole topic once more from its beginning, and then as a
// member of the group from where the group stands.
func (k *kafkaModel) finish(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 4*kafkaDeadline)
	defer cancel()
	c, err := k.client(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	ends, err := k.verifyRecords(ctx, kadm.NewClient(c), addr, [kafkaPartitions]int64{})
	if err != nil {
		return fmt.Errorf("the whole topic: %w", err)
	}
	return k.finishGroup(ctx, addr, ends)
}

// finishGroup joins the group and checks where it goes on.
func (k *kafkaModel) finishGroup(ctx context.Context, addr string, ends [kafkaPartitions]int64) error {
	c, err := k.client(addr, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		return err
	}
	defer c.Close()
	first := map[int32]int64{}
	want := 0
	for p := range kafkaPartitions {
		if k.committed[p] < ends[p] {
			want++
		}
	}
	for len(first) < want {
		fetches := c.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("a member of group %s got records of %d of %d partitions: %w", group, len(first), want, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if _, seen := first[r.Partition]; !seen {
				first[r.Partition] = r.Offset
			}
		})
	}
	for p, offset := range first {
		if offset != k.trying[p] {
			return fmt.Errorf("a member of group %s begins partition %d at %d, the group stands at %d", group, p, offset, k.trying[p])
		}
	}
	return nil
}

func (k *kafkaModel) summary() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fmt.Sprintf("kafka %d sent, %d acked, %d commits", k.next, k.ackedTotal, k.commits)
}
