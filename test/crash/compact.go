package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	compactTopic = "crash.compact"
	compactKeys  = 300
)

// compactModel knows what a compacted topic of one partition promises: of each key the last record that was acked, or one that
// was sent behind it; and of what went, nothing comes back.
type compactModel struct {
	mu    sync.Mutex
	next  uint64
	keys  [compactKeys]compactKey
	acked int
	least int // records that were there at one time, of those that were sent
	sent  int
}

// compactKey is what is known of a key: the numbers of records, of which an odd one ends the key.
type compactKey struct {
	acked uint64 // the last that was
	sent  uint64 // the last
	ends  uint64 // the last one sent that ends the key
}

func newCompactModel() *compactModel { return &compactModel{least: 1 << 30} }

func (m *compactModel) declare(ctx context.Context, k *kafkaModel, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, kafkaDeadline)
	defer cancel()
	c, err := k.client(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	config := map[string]*string{}
	for name, value := range map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "100", "segment.bytes": "65536", "delete.retention.ms": "100"} {
		config[name] = kadm.StringPtr(value)
	}
	if _, err := kadm.NewClient(c).CreateTopic(ctx, 1, 1, config, compactTopic); err != nil {
		return fmt.Errorf("create topic %s: %w", compactTopic, err)
	}
	return nil
}

// startLoad produces with acks=all until ctx ends.
func (m *compactModel) startLoad(ctx context.Context, k *kafkaModel, addr string, rng *rand.Rand, wg *sync.WaitGroup) error {
	c, err := k.client(addr, kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(time.Millisecond), kgo.ProducerBatchCompression(codec(rng)), kgo.MaxBufferedRecords(500))
	if err != nil {
		return err
	}
	wg.Go(func() {
		defer c.Close()
		for range produceMax {
			m.produce(ctx, c, rng)
			if rng.IntN(50) == 0 && !pause(ctx, time.Millisecond) {
				break
			}
		}
		<-ctx.Done()
	})
	return nil
}

func (m *compactModel) produce(ctx context.Context, c *kgo.Client, rng *rand.Rand) {
	key := rng.IntN(compactKeys)
	m.mu.Lock()
	m.next += 2
	number := m.next
	r := &kgo.Record{Topic: compactTopic, Key: strconv.AppendInt(nil, int64(key), 10)}
	if rng.IntN(4) == 0 {
		number++
		m.keys[key].ends = number
		r.Headers = []kgo.RecordHeader{{Key: "n", Value: value(int(number), 0)}}
	} else {
		r.Value = value(int(number), rng.IntN(300))
	}
	m.keys[key].sent = number
	m.sent++
	m.mu.Unlock()
	c.Produce(ctx, r, func(_ *kgo.Record, err error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if err == nil {
			m.keys[key].acked = number
			m.acked++
		}
	})
}

// verify reads the topic after a restart.
func (m *compactModel) verify(ctx context.Context, k *kafkaModel, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, kafkaDeadline)
	defer cancel()
	seen, records, err := m.read(ctx, k, addr)
	if err != nil {
		return fmt.Errorf("read topic %s: %w", compactTopic, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.least = min(m.least, records)
	return m.hold(seen)
}

// hold holds the last number seen of each key, 0 for none, against what was promised.
func (m *compactModel) hold(seen [compactKeys]uint64) error {
	for i := range m.keys {
		key := &m.keys[i]
		last := seen[i]
		switch {
		case last > key.sent:
			return fmt.Errorf("%s: key %d has record %d, the last that was sent is %d", compactTopic, i, last, key.sent)
		case last < key.acked && !(last == 0 && key.ends >= key.acked): // what ends a key goes, with all before it
			return fmt.Errorf("%s: key %d has record %d last, %d was acked", compactTopic, i, last, key.acked)
		}
		*key = compactKey{acked: last, sent: last, ends: last * (last % 2)} // so it must stay from here on
	}
	return nil
}

// read returns the last number of each key, and how many records there are.
func (m *compactModel) read(ctx context.Context, k *kafkaModel, addr string) (seen [compactKeys]uint64, records int, err error) {
	c, err := k.client(addr, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{compactTopic: {0: kgo.NewOffset().AtStart()}}), kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		return seen, 0, err
	}
	defer c.Close()
	// A last record says where the end is, whatever is missing before it.
	end := &kgo.Record{Topic: compactTopic, Key: []byte("end"), Value: []byte{}}
	if err := c.ProduceSync(ctx, end).FirstErr(); err != nil {
		return seen, 0, err
	}
	for offset := int64(-1); offset < end.Offset; {
		fetches := c.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return seen, 0, fmt.Errorf("as far as %d of %d: %w", offset, end.Offset, err)
		}
		var broken error
		fetches.EachError(func(_ string, _ int32, err error) { broken = errors.Join(broken, err) })
		last := uint64(0)
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset <= offset {
				broken = fmt.Errorf("offset %d came after %d", r.Offset, offset)
			}
			offset = r.Offset
			if string(r.Key) == "end" {
				return
			}
			key, err := strconv.Atoi(string(r.Key))
			number := r.Value
			if r.Value == nil && len(r.Headers) == 1 {
				number = r.Headers[0].Value
			}
			if err != nil || key >= compactKeys || len(number) < 8 {
				broken = fmt.Errorf("offset %d: key %q with %d bytes was never written", r.Offset, r.Key, len(number))
				return
			}
			n := binary.BigEndian.Uint64(number)
			if n <= last || n <= seen[key] {
				broken = fmt.Errorf("offset %d: record %d follows %d", r.Offset, n, max(last, seen[key]))
			}
			seen[key], last = n, n
			records++
		})
		if broken != nil {
			return seen, 0, broken
		}
	}
	return seen, records, nil
}

func (m *compactModel) summary() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("compacted: %d of %d records acked, at least %d left", m.acked, m.sent, m.least)
}
