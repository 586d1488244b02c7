package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/test/process"
)

// sequence is an idempotent producer that goes on over kills with the numbers it had, as one does whose broker is gone for a while. A batch that was
// not answered is sent again, and is there once; one that was is answered again with its offset; one ahead of its turn, or of an older epoch, is refused.
type sequence struct {
	watched
	topic    [16]byte
	producer int64
	next     int32 // sequence number
	doubt    bool  // whether next is there
	offsets  []int64
	zombies  int
}

const sequenceTopic = "crash.sequence"

func newSequence() *sequence { return &sequence{producer: -1} }

func (s *sequence) summary() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("idempotent producer: %d records, %d refused", len(s.offsets), s.zombies)
}

// Bits of a batch's attributes, and where things stand in it.
const (
	controlBit = 1 << 5

	batchAttributes = 22
	batchLastDelta  = 23
	batchProducer   = 43
	batchRecords    = 61
)

// produce sends a batch to partition 0.
func produce(a *asker, acks int16, name string, txn *string, batch []byte) (p kmsg.ProduceResponseTopicPartition, err error) {
	q := kmsg.NewPtrProduceRequest()
	q.TransactionID, q.Acks, q.TimeoutMillis = txn, acks, int32(kafkaDeadline.Milliseconds())
	t := kmsg.NewProduceRequestTopic()
	t.Topic = name
	one := kmsg.NewProduceRequestTopicPartition()
	one.Records = batch
	t.Partitions = append(t.Partitions, one)
	q.Topics = append(q.Topics, t)
	res, err := process.Ask[*kmsg.ProduceResponse](a, q, 12)
	if err != nil {
		return p, err
	}
	return res.Topics[0].Partitions[0], nil
}

func (s *sequence) declare(a *asker) error {
	var code int16
	var err error
	if s.topic, code, err = newTopic(a, sequenceTopic, 1, nil); err == nil {
		err = must("create topic "+sequenceTopic, code)
	}
	if err != nil {
		return err
	}
	res, err := process.Ask[*kmsg.InitProducerIDResponse](a, kmsg.NewPtrInitProducerIDRequest(), 5)
	if err == nil {
		err = must("a producer's id", res.ErrorCode)
	}
	if err == nil {
		s.producer = res.ProducerID
	}
	return err
}

func (s *sequence) batch(number int32) []byte {
	return process.Batch(process.Producer{ID: s.producer, Epoch: 1, Sequence: number}, binary.BigEndian.AppendUint32(nil, uint32(number)))
}

// send appends the next record.
func (s *sequence) send(a *asker) error {
	s.mu.Lock()
	s.doubt = true
	s.mu.Unlock()
	p, err := produce(a, -1, sequenceTopic, nil, s.batch(s.next))
	if err == nil {
		err = must(fmt.Sprintf("record %d of an idempotent producer", s.next), p.ErrorCode)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offsets = append(s.offsets, p.BaseOffset)
	s.next++
	s.doubt, s.heard = false, true
	return nil
}

func (s *sequence) load(l *life) error {
	return l.work(&s.watched, "idempotent producer", func(a *asker) error {
		for range produceMax {
			if err := s.send(a); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *sequence) verify(a *asker) error {
	if s.next == 0 {
		return nil
	}
	// The last ones once more: what was answered has the same offset.
	for n := max(s.next-3, 0); n < s.next; n++ {
		p, err := produce(a, -1, sequenceTopic, nil, s.batch(n))
		if err != nil {
			return err
		}
		if err := must(fmt.Sprintf("record %d once more", n), p.ErrorCode); err != nil {
			return err
		}
		if p.BaseOffset != s.offsets[n] && p.BaseOffset != -1 {
			return wrongf("record %d is at offset %d, and was answered at %d", n, p.BaseOffset, s.offsets[n])
		}
	}
	for what, z := range map[string]struct {
		batch []byte
		want  []*kerr.Error
	}{
		"a record two ahead of its turn": {process.Batch(process.Producer{ID: s.producer, Epoch: 1, Sequence: s.next + 2}, []byte("zombie")), []*kerr.Error{kerr.OutOfOrderSequenceNumber}},
		"a record of the epoch before":   {process.Batch(process.Producer{ID: s.producer, Epoch: 0, Sequence: s.next}, []byte("zombie")), []*kerr.Error{kerr.InvalidProducerEpoch}},
		"a new epoch that begins with 7": {process.Batch(process.Producer{ID: s.producer, Epoch: 2, Sequence: 7}, []byte("zombie")), []*kerr.Error{kerr.OutOfOrderSequenceNumber}},
	} {
		p, err := produce(a, -1, sequenceTopic, nil, z.batch)
		if err == nil {
			err = must(what, p.ErrorCode, z.want...)
		}
		if err != nil {
			return err
		}
		s.zombies++
	}
	return s.send(a) // what was in doubt, or the next
}

// finish reads all of it: each record is there once, in order, where it was answered.
func (s *sequence) finish(a *asker) error {
	numbers, err := readValues(a, s.topic)
	if err != nil {
		return err
	}
	if len(numbers) != int(s.next) {
		return wrongf("an idempotent producer sent %d records, %d are there", s.next, len(numbers))
	}
	for i, v := range numbers {
		if len(v) != 4 || binary.BigEndian.Uint32(v) != uint32(i) {
			return wrongf("at place %d of an idempotent producer's records stands %x", i, v)
		}
	}
	return nil
}

// readValues reads the values of partition 0 of a topic whose batches have one record each: those that are committed.
func readValues(a *asker, id [16]byte) (values [][]byte, err error) {
	for at := int64(0); ; {
		q := kmsg.NewPtrFetchRequest()
		q.MaxBytes, q.MinBytes, q.SessionEpoch, q.IsolationLevel = 8<<20, 0, -1, 1
		t := kmsg.NewFetchRequestTopic()
		t.TopicID = id
		p := kmsg.NewFetchRequestTopicPartition()
		p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = at, 8<<20, -1
		t.Partitions = append(t.Partitions, p)
		q.Topics = append(q.Topics, t)
		res, err := process.Ask[*kmsg.FetchResponse](a, q, 13)
		if err != nil {
			return nil, err
		}
		got := &res.Topics[0].Partitions[0]
		if err := must("fetch", got.ErrorCode); err != nil {
			return nil, err
		}
		if len(got.RecordBatches) == 0 {
			if got.LastStableOffset != got.HighWatermark {
				return nil, wrongf("a topic ends at %d, and is stable up to %d only with every transaction ended", got.HighWatermark, got.LastStableOffset)
			}
			return values, nil
		}
		aborted := map[int64][]int64{} // by producer, where transactions begin
		for _, t := range got.AbortedTransactions {
			aborted[t.ProducerID] = append(aborted[t.ProducerID], t.FirstOffset)
		}
		for b := got.RecordBatches; len(b) >= batchRecords; {
			size := 12 + int(binary.BigEndian.Uint32(b[8:]))
			if size > len(b) {
				break
			}
			base, producer := int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[batchProducer:]))
			control := b[batchAttributes]&controlBit != 0
			skip := len(aborted[producer]) > 0 && aborted[producer][0] <= base && b[batchAttributes]&process.TransactionalBit != 0
			switch {
			case control && skip:
				aborted[producer] = aborted[producer][1:]
			case !control && !skip && base >= at:
				v, err := valueOf(b[batchRecords:size])
				if err != nil {
					return nil, err
				}
				values = append(values, v)
			}
			at = base + int64(binary.BigEndian.Uint32(b[batchLastDelta:])) + 1
			b = b[size:]
		}
	}
}

// valueOf is the value of a record without a key.
func valueOf(r []byte) ([]byte, error) {
	bad := errors.New("a record that nobody wrote")
	_, n := binary.Varint(r)
	if n <= 0 || len(r) < n+4 {
		return nil, bad
	}
	r = r[n+3:] // behind attributes, timestamp and offset, a byte each
	_, n = binary.Varint(r)
	if n <= 0 {
		return nil, bad
	}
	size, m := binary.Varint(r[n:])
	if m <= 0 || size < 0 || int(size) > len(r)-n-m {
		return nil, bad
	}
	return r[n+m : n+m+int(size)], nil
}
