package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

const (
	txnTopic      = "crash.tx"
	txnPartitions = 2
	txnProducers  = 3 // the last one speaks the protocol from before KIP-890
)

// txnModel knows what transactions promised: each puts its number into every partition and commits it as an offset of a group, all of
// that or nothing.
type txnModel struct {
	mu        sync.Mutex
	producers [txnProducers]txnProducer
	topicID   [16]byte
	failed    error

	commits, aborts, unknown int
}

// txnProducer is one transactional id. Numbers begin at 1.
type txnProducer struct {
	next      uint64
	committed map[uint64]bool // answered so
	aborted   map[uint64]bool
	trying    uint64 // of which nobody knows whether it was committed; 0: none
}

func newTxnModel() *txnModel {
	m := new(txnModel)
	for i := range m.producers {
		m.producers[i] = txnProducer{committed: map[uint64]bool{}, aborted: map[uint64]bool{}}
	}
	return m
}

func txnID(i int) string { return fmt.Sprint("crash.tx.", i) }

func (m *txnModel) client(k *kafkaModel, addr string, i int) (*kgo.Client, error) {
	opts := []kgo.Opt{kgo.TransactionalID(txnID(i)), kgo.TransactionTimeout(time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0)}
	if i == txnProducers-1 {
		opts = append(opts, kgo.MaxVersions(kversion.V3_0_0()))
	}
	return k.client(addr, opts...)
}

func (m *txnModel) declare(ctx context.Context, k *kafkaModel, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, kafkaDeadline)
	defer cancel()
	c, err := k.client(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	made, err := kadm.NewClient(c).CreateTopic(ctx, txnPartitions, 1, nil, txnTopic)
	if err != nil {
		return fmt.Errorf("create topic %s: %w", txnTopic, err)
	}
	m.topicID = made.ID
	return nil
}

// startLoad has every producer run transactions until ctx ends.
func (m *txnModel) startLoad(ctx context.Context, k *kafkaModel, addr string, h *harness, wg *sync.WaitGroup) error {
	for i := range txnProducers {
		c, err := m.client(k, addr, i)
		if err != nil {
			return err
		}
		rng := h.fork()
		wg.Go(func() {
			defer c.Close()
			for ctx.Err() == nil {
				if err := m.transact(ctx, c, i, rng); err != nil {
					m.note(ctx, err)
					return
				}
			}
		})
	}
	return nil
}

// note keeps an error that no kill explains.
func (m *txnModel) note(ctx context.Context, err error) {
	var code *kerr.Error
	if ctx.Err() == nil && errors.As(err, &code) && !code.Retriable {
		m.mu.Lock()
		m.failed = errors.Join(m.failed, err)
		m.mu.Unlock()
	}
}

// transact is one transaction.
func (m *txnModel) transact(ctx context.Context, c *kgo.Client, i int, rng *rand.Rand) error {
	p := &m.producers[i]
	m.mu.Lock()
	p.next++
	n := p.next
	m.mu.Unlock()
	if err := c.BeginTransaction(); err != nil {
		return err
	}
	for part := range txnPartitions {
		value := binary.BigEndian.AppendUint64([]byte{byte(i)}, n)
		if err := produceOne(ctx, c, &kgo.Record{Topic: txnTopic, Partition: int32(part), Value: value}); err != nil {
			return err
		}
	}
	if err := m.commitOffset(ctx, c, i, n); err != nil {
		return err
	}
	commit := rng.IntN(3) > 0
	if commit {
		m.mu.Lock()
		p.trying = n
		m.mu.Unlock()
	}
	if err := c.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if commit {
		p.trying = 0
		p.committed[n] = true
		m.commits++
	} else {
		p.aborted[n] = true
		m.aborts++
	}
	return nil
}

// produceOne waits for the answer, or for ctx: the client goes on trying for ever to send what it may have sent.
func produceOne(ctx context.Context, c *kgo.Client, r *kgo.Record) error {
	answered := make(chan error, 1)
	c.Produce(ctx, r, func(_ *kgo.Record, err error) { answered <- err })
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commitOffset has the group of a producer stand at a number with the transaction.
func (m *txnModel) commitOffset(ctx context.Context, c *kgo.Client, i int, n uint64) error {
	id, epoch, err := c.ProducerID(ctx)
	if err != nil {
		return err
	}
	if i == txnProducers-1 {
		add := kmsg.NewPtrAddOffsetsToTxnRequest()
		add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = txnID(i), id, epoch, txnID(i)
		res, err := add.RequestWith(ctx, c)
		if err == nil {
			err = kerr.ErrorForCode(res.ErrorCode)
		}
		if err != nil {
			return err
		}
	}
	q := kmsg.NewPtrTxnOffsetCommitRequest()
	q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Group, q.Generation = txnID(i), id, epoch, txnID(i), -1
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic, t.TopicID = txnTopic, m.topicID
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Offset = int64(n)
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	res, err := q.RequestWith(ctx, c)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(res.Topics[0].Partitions[0].ErrorCode)
}

// verify has what is open aborted, as producers do that begin anew, and compares what is committed with what was answered.
func (m *txnModel) verify(ctx context.Context, k *kafkaModel, addr string) error {
	if m.failed != nil {
		return fmt.Errorf("transactions: %w", m.failed)
	}
	ctx, cancel := context.WithTimeout(ctx, kafkaDeadline)
	defer cancel()
	for i := range txnProducers {
		c, err := m.client(k, addr, i)
		if err != nil {
			return err
		}
		_, _, err = c.ProducerID(ctx)
		c.Close()
		if err != nil {
			return fmt.Errorf("initialize the transactional id %s: %w", txnID(i), err)
		}
	}
	c, err := k.client(addr, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{txnTopic: {0: kgo.NewOffset().AtStart(), 1: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(50*time.Millisecond), kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	ends, err := admin.ListEndOffsets(ctx, txnTopic)
	if err != nil {
		return err
	}
	stable, err := admin.ListCommittedOffsets(ctx, txnTopic)
	if err != nil {
		return err
	}
	seen, err := m.read(ctx, c, ends, stable)
	if err != nil {
		return err
	}
	for i := range m.producers {
		if err := m.compare(ctx, admin, i, seen); err != nil {
			return fmt.Errorf("%s: %w", txnID(i), err)
		}
	}
	return nil
}

// read returns the committed numbers of each partition and producer, in their order.
func (m *txnModel) read(ctx context.Context, c *kgo.Client, ends, stable kadm.ListedOffsets) (seen [txnPartitions][txnProducers][]uint64, err error) {
	left := map[int32]int64{}
	for part := range int32(txnPartitions) {
		end, _ := ends.Lookup(txnTopic, part)
		at, _ := stable.Lookup(txnTopic, part)
		if end.Offset != at.Offset {
			return seen, fmt.Errorf("partition %d ends at %d, and is stable up to %d only with every transaction ended", part, end.Offset, at.Offset)
		}
		if end.Offset > 0 {
			left[part] = end.Offset
		}
	}
	for len(left) > 0 {
		fetches := c.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return seen, fmt.Errorf("read %s up to %v: %w", txnTopic, left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset >= left[r.Partition]-1 { // the last is a marker
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				list := &seen[r.Partition][r.Value[0]]
				*list = append(*list, binary.BigEndian.Uint64(r.Value[1:]))
			}
		})
	}
	return seen, nil
}

func (m *txnModel) compare(ctx context.Context, admin *kadm.Client, i int, seen [txnPartitions][txnProducers][]uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &m.producers[i]
	list := seen[0][i]
	for part := range txnPartitions {
		if !slices.Equal(seen[part][i], list) {
			return fmt.Errorf("partition %d has %v, partition 0 %v", part, seen[part][i], list)
		}
	}
	for at, n := range list {
		switch {
		case at > 0 && n <= list[at-1]:
			return fmt.Errorf("%d comes after %d", n, list[at-1])
		case p.aborted[n]:
			return fmt.Errorf("%d was aborted, and is there", n)
		case n == p.trying:
			p.committed[n] = true // as is known now
			m.unknown++
		case !p.committed[n]:
			return fmt.Errorf("%d was not committed, and is there", n)
		}
	}
	p.trying = 0
	if len(list) != len(p.committed) {
		return fmt.Errorf("%d transactions were committed, %d are there", len(p.committed), len(list))
	}
	if len(list) == 0 {
		return nil
	}
	offsets, err := admin.FetchOffsets(ctx, txnID(i))
	if err != nil {
		return err
	}
	if o, ok := offsets.Lookup(txnTopic, 0); !ok || o.At != int64(list[len(list)-1]) {
		return fmt.Errorf("the group stands at %d, the last transaction is %d", o.At, list[len(list)-1])
	}
	return nil
}

// answers is how many transactions were.
func (m *txnModel) answers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commits + m.aborts
}

func (m *txnModel) summary() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("transactions %d committed, %d aborted, %d committed by a kill", m.commits, m.aborts, m.unknown)
}
