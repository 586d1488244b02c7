package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/test/process"
)

// sums consumes numbers from one topic and produces their sums to another, each with the offset of its group in one transaction, some of
// which it aborts or leaves open. After a kill, and all along, the sums that are committed add up to the numbers before the group's offset: each was worked
// off once. The next life's producer has a larger epoch, and that of the life before, which may have a transaction open, is fenced.
type sums struct {
	watched
	in, out  [16]byte
	producer int64
	epoch    int16 // the largest that was answered

	committed, aborted, fenced int
}

const (
	sumsID  = "crash.sums"
	sumsIn  = "crash.sums.in"
	sumsOut = "crash.sums.out"
)

func newSums() *sums { return &sums{producer: -1} }

func (s *sums) summary() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("sums: %d transactions committed, %d aborted, fenced %d times", s.committed, s.aborted, s.fenced)
}

func (s *sums) declare(a *asker) (err error) {
	for name, id := range map[string]*[16]byte{sumsIn: &s.in, sumsOut: &s.out} {
		var code int16
		if *id, code, err = newTopic(a, name, 1, nil); err != nil {
			return err
		}
		if err := must("create topic "+name, code); err != nil {
			return err
		}
	}
	return nil
}

// begin takes the transactional id over.
func (s *sums) begin(a *asker) error {
	q := kmsg.NewPtrInitProducerIDRequest()
	q.TransactionalID, q.TransactionTimeoutMillis = kmsg.StringPtr(sumsID), 60_000
	res, err := process.Ask[*kmsg.InitProducerIDResponse](a, q, 5)
	if err == nil {
		err = must("take "+sumsID+" over", res.ErrorCode)
	}
	if err != nil {
		return err
	}
	return s.goesOn(res.ProducerID, res.ProducerEpoch, true)
}

// goesOn takes an epoch that was answered.
func (s *sums) goesOn(producer int64, epoch int16, larger bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if producer == s.producer && (epoch < s.epoch || larger && epoch == s.epoch) {
		return wrongf("producer %d of %s is in epoch %d, and was in %d", producer, sumsID, epoch, s.epoch)
	}
	if s.producer >= 0 && producer != s.producer {
		return wrongf("the producer of %s is %d, and was %d in epoch %d", sumsID, producer, s.producer, s.epoch)
	}
	s.producer, s.epoch = producer, epoch
	return nil
}

func (s *sums) load(l *life) error {
	rng := l.h.fork()
	return l.work(&s.watched, "sums", func(a *asker) error {
		if err := s.begin(a); err != nil {
			return err
		}
		values, err := readValues(a, s.in)
		if err != nil {
			return err
		}
		for range produceMax {
			value := binary.BigEndian.AppendUint64(nil, rng.Uint64()>>32)
			p, err := produce(a, 1, sumsIn, nil, process.Batch(process.Nobody, value))
			if err == nil {
				err = must("produce to "+sumsIn, p.ErrorCode)
			}
			if err != nil {
				return err
			}
			if values = append(values, value); rng.IntN(4) > 0 {
				continue
			}
			if err := s.transact(a, values, rng); err != nil {
				return err
			}
		}
		return nil
	})
}

// transact works off some of what the group has before it.
func (s *sums) transact(a *asker, values [][]byte, rng *rand.Rand) error {
	from, err := committedAt(a, sumsID, sumsIn)
	if err != nil {
		return err
	}
	to := from + rng.Int64N(int64(len(values))-from+1)
	if to == from {
		return nil
	}
	sum := binary.BigEndian.AppendUint64(nil, total(values[from:to]))
	p, err := produce(a, -1, sumsOut, kmsg.StringPtr(sumsID), process.Batch(process.Producer{ID: s.producer, Epoch: s.epoch, Transactional: true}, sum))
	if err == nil {
		err = must("produce a sum", p.ErrorCode)
	}
	if err != nil {
		return err
	}
	if code, err := s.commitOffset(a, s.epoch, to); err != nil {
		return err
	} else if err := must("commit the offset of a sum", code); err != nil {
		return err
	}
	commit := rng.IntN(4) > 0
	res, err := s.end(a, s.epoch, commit)
	if err == nil {
		err = must("end a transaction", res.ErrorCode)
	}
	if err == nil {
		err = s.goesOn(res.ProducerID, res.ProducerEpoch, true)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = true
	if commit {
		s.committed++
	} else {
		s.aborted++
	}
	return nil
}

func (s *sums) commitOffset(a *asker, epoch int16, at int64) (int16, error) {
	q := kmsg.NewPtrTxnOffsetCommitRequest()
	q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Group, q.Generation = sumsID, s.producer, epoch, sumsID, -1
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic = sumsIn
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Offset = at
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	res, err := process.Ask[*kmsg.TxnOffsetCommitResponse](a, q, 5)
	if err != nil {
		return 0, err
	}
	return res.Topics[0].Partitions[0].ErrorCode, nil
}

func (s *sums) end(a *asker, epoch int16, commit bool) (*kmsg.EndTxnResponse, error) {
	q := kmsg.NewPtrEndTxnRequest()
	q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Commit = sumsID, s.producer, epoch, commit
	return process.Ask[*kmsg.EndTxnResponse](a, q, 5)
}

func total(values [][]byte) (sum uint64) {
	for _, v := range values {
		if len(v) == 8 {
			sum += binary.BigEndian.Uint64(v)
		}
	}
	return sum
}

func (s *sums) verify(a *asker) error {
	before := s.epoch
	known := s.producer >= 0
	for range 2 { // the second is two ahead, so that nothing of the first looks like its last request again
		if err := s.begin(a); err != nil {
			return err
		}
	}
	if known {
		if err := s.zombies(a, before); err != nil {
			return err
		}
	}
	at, err := committedAt(a, sumsID, sumsIn)
	if err != nil {
		return err
	}
	in, err := readValues(a, s.in)
	if err != nil {
		return err
	}
	out, err := readValues(a, s.out)
	if err != nil {
		return err
	}
	if at > int64(len(in)) {
		return wrongf("group %s stands at %d, there are %d numbers", sumsID, at, len(in))
	}
	if want, got := total(in[:at]), total(out); got != want {
		return wrongf("%d sums add up to %d, the %d numbers before the group's offset to %d", len(out), got, at, want)
	}
	if len(out) < s.committed || len(out) > s.committed+1 {
		return wrongf("%d sums are there, of %d the transaction was answered as committed", len(out), s.committed)
	}
	s.committed = len(out)
	return nil
}

// zombies are refused in all they do.
func (s *sums) zombies(a *asker, epoch int16) error {
	p, err := produce(a, -1, sumsOut, kmsg.StringPtr(sumsID), process.Batch(process.Producer{ID: s.producer, Epoch: epoch, Transactional: true}, make([]byte, 8)))
	if err == nil {
		err = must("a record of the producer before", p.ErrorCode, kerr.InvalidProducerEpoch)
	}
	if err != nil {
		return err
	}
	code, err := s.commitOffset(a, epoch, 1<<40)
	if err == nil {
		err = must("an offset of the producer before", code, kerr.InvalidProducerEpoch, kerr.ProducerFenced)
	}
	if err != nil {
		return err
	}
	res, err := s.end(a, epoch, true)
	if err == nil {
		err = must("a commit of the producer before", res.ErrorCode, kerr.ProducerFenced)
	}
	s.fenced++
	return err
}

func (s *sums) finish(a *asker) error { return s.verify(a) }
