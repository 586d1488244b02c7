package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/config"
)

const (
	keyedTopic = "weight.keys"
	// keyedBytes is what a record takes in a log: 10 GB are 100 million.
	keyedBytes = 100
	// keyedHeaders is about what its lengths, its time and its part of the batch's header are of that.
	keyedHeaders = 10
	// keyedAgain is of how many keys one is written again, twice as far in.
	keyedAgain = 10
)

// keys fills a compacted topic with a record of each key, and another one of some, and reads it when it is compacted: of each
// key there must be one record, its last.
func keys(w *weighing) (string, error) {
	config := map[string]*string{}
	for name, value := range map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "3600000", "retention.ms": "-1"} {
		config[name] = kadm.StringPtr(value)
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(w.broker.Kafka), kgo.DefaultProduceTopic(keyedTopic), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(5*time.Millisecond),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(unconfirmed), kgo.DisableClientMetrics())
	if err != nil {
		return "", err
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	if _, err := admin.CreateTopic(w.ctx, 1, 1, config, keyedTopic); err != nil {
		return "", err
	}
	began := time.Now()
	if err := produceKeyed(w, c); err != nil {
		return "", fmt.Errorf("produce: %w", err)
	}
	produced := time.Since(began)
	full, err := diskBytes(w.broker.DataDir)
	if err != nil {
		return "", err
	}
	// What is being written is not compacted: it is ended by its time.
	if _, err := admin.AlterTopicConfigs(w.ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "segment.ms", Value: kadm.StringPtr("1000")}}, keyedTopic); err != nil {
		return "", err
	}
	compacting := time.Now()
	if err := awaitCompacted(w); err != nil {
		return "", err
	}
	took := time.Since(compacting)
	if err := readKeyed(w); err != nil {
		return "", err
	}
	left, err := diskBytes(w.broker.DataDir)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("produced in %.0f s, compacted %.0f s later, files of %.0f MB before and %.0f MB behind it", produced.Seconds(), took.Seconds(), mb(full), mb(left)), nil
}

// produceKeyed writes key 0, 1, … and behind each keyedAgain of them the one half as far in again.
func produceKeyed(w *weighing, c *kgo.Client) error {
	var failed atomic.Pointer[error]
	value := make([]byte, keyedBytes-keyedHeaders-8)
	put := func(key uint64, again byte) {
		r := &kgo.Record{Key: binary.BigEndian.AppendUint64(nil, key), Value: append([]byte{again}, value[1:]...)}
		c.Produce(w.ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	for i := range uint64(w.n) {
		if put(i, 0); i%keyedAgain == keyedAgain-1 {
			put(i/2, 1)
		}
		if err := failed.Load(); err != nil {
			return *err
		}
	}
	if err := c.Flush(w.ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// rewritten says whether a key was written again.
func rewritten(w *weighing, key uint64) bool {
	i := 2*key + 1 // keyedAgain is even
	return i < uint64(w.n) && i%keyedAgain == keyedAgain-1
}

// awaitCompacted waits until as many records are gone as were written again.
func awaitCompacted(w *weighing) error {
	want := int64(w.n / keyedAgain)
	for until := time.Now().Add(keyedPatience); ; time.Sleep(200 * time.Millisecond) {
		n, err := w.counter("leveret_compaction_removed_total")
		switch {
		case err != nil:
			return err
		case n == want:
			return nil
		case n > want:
			return fmt.Errorf("%d records went, of %d", n, want)
		case w.ctx.Err() != nil:
			return w.ctx.Err()
		case time.Now().After(until):
			return fmt.Errorf("after %v %d records went, of %d", keyedPatience, n, want)
		}
	}
}

// keysBound is what the keys may take, and beside them what a producer at full rate and its garbage do.
func keysBound() (int64, error) {
	var keys config.Size
	if err := keys.Set(*keyMemory); err != nil {
		return 0, fmt.Errorf("-memory: %w", err)
	}
	return int64(keys) + 64<<20, nil
}

// keyedPatience is for the largest load on a busy machine.
const keyedPatience = 3 * time.Hour

// readKeyed holds what is left against what was written.
func readKeyed(w *weighing) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(w.broker.Kafka), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{keyedTopic: {0: kgo.NewOffset().AtStart()}}), kgo.DisableClientMetrics())
	if err != nil {
		return err
	}
	defer c.Close()
	seen := make([]uint64, w.n/64+1)
	for n, last := 0, int64(-1); n < w.n; {
		ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
		fetches := c.PollFetches(ctx)
		cancel()
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("%d of %d records were read: %w", n, w.n, err)
		}
		var wrong error
		fetches.EachRecord(func(r *kgo.Record) {
			if len(r.Key) != 8 || len(r.Value) == 0 || r.Offset <= last {
				wrong = errors.Join(wrong, fmt.Errorf("offset %d behind %d: a key of %d bytes", r.Offset, last, len(r.Key)))
				return
			}
			last = r.Offset
			key := binary.BigEndian.Uint64(r.Key)
			if key >= uint64(w.n) || seen[key/64]>>(key%64)&1 == 1 || (r.Value[0] == 1) != rewritten(w, key) {
				wrong = errors.Join(wrong, fmt.Errorf("offset %d: key %d is there again, or is not its last record", r.Offset, key))
				return
			}
			seen[key/64] |= 1 << (key % 64)
			n++
		})
		if wrong != nil {
			return wrong
		}
	}
	return nil
}
