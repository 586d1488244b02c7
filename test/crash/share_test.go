package main

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/test/process"
)

// A checker that finds nothing is worth nothing: each case breaks one promise, or none.
func TestShareModelSeesEachBrokenPromise(t *testing.T) {
	released := []verdict{{0, releases}}
	for _, c := range []struct {
		name string
		play func(s *share) error
		want string // part of the violation; empty = none
	}{
		{"delivered again", func(s *share) error { return errors.Join(s.deliver(0, 1), s.deliver(0, 1)) }, ""},
		{"settled and delivered again", func(s *share) error {
			first := s.deliver(0, 1)
			s.settle([]verdict{{0, accepts}})
			return errors.Join(first, s.deliver(0, 2))
		}, "answered as settled"},
		{"released and counted", func(s *share) error {
			first := s.deliver(0, 1)
			s.settle(released)
			return errors.Join(first, s.deliver(0, 2))
		}, ""},
		{"released and not counted", func(s *share) error {
			first := s.deliver(0, 1)
			s.settle(released)
			return errors.Join(first, s.deliver(0, 1))
		}, "for the time 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.play(newShare())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// What the harness writes by hand is a batch as clients write it.
func TestBatchesOfTheHarness(t *testing.T) {
	b, rest, err := batch.Next(process.Batch(process.Producer{ID: 7, Epoch: 1, Sequence: 9, Transactional: true}, []byte("value")))
	if err != nil || len(rest) > 0 {
		t.Fatal(err, rest)
	}
	if err := b.Check(); err != nil {
		t.Error(err)
	}
	if b.ProducerID() != 7 || b.ProducerEpoch() != 1 || b.BaseSequence() != 9 || b.Count() != 1 || b.Attributes() != batch.Transactional {
		t.Errorf("%+v", b)
	}
	list := message.NewRecords(b.Records())
	var r message.Record
	if more, err := list.Next(&r); err != nil || !more || string(r.Value) != "value" {
		t.Errorf("%v, %v: %q", more, err, r.Value)
	}
	if v, err := valueOf(b[batchRecords:]); err != nil || string(v) != "value" {
		t.Errorf("%q, %v", v, err)
	}
	if p := binary.BigEndian.Uint64(b[batchProducer:]); p != 7 {
		t.Errorf("producer %d", p)
	}
}
