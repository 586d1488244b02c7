package kafka

import (
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

// TestAProducerIsToldThatAQueueIsFull by a code that no client tries again: into the queue
// itself, and through an exchange.
func TestAProducerIsToldThatAQueueIsFull(t *testing.T) {
	r := newRig(t, nil)
	s := r.feedInto()
	args := field.AppendInt(field.AppendName(nil, "x-max-length"), 3)
	args = field.AppendString(field.AppendName(args, "x-overflow"), []byte("reject-publish"))
	if _, err := s.DeclareQueue("full", broker.QueueOptions{Args: args}); err != nil {
		t.Fatal(err)
	}
	if err := s.Bind(broker.Binding{Source: "logs", Dest: "full"}); err != nil {
		t.Fatal(err)
	}
	v, _ := r.broker.VHost("/")
	ready := func(name string) int64 {
		q, err := v.Queue(name)
		if err != nil {
			t.Fatal(err)
		}
		return q.Ready()
	}
	c := r.raw()
	for i, want := range []struct {
		code       wire.Code
		full, free int64
	}{{wire.None, 2, 2}, {wire.PolicyViolation, 3, 4}, {wire.PolicyViolation, 3, 6}} {
		got := c.produce("ingest", -1, packBatch(message.CodecNone, nil, "a", "b"))
		if wire.Code(got.ErrorCode) != want.code || ready("full") != want.full || ready("q") != want.free {
			t.Errorf("%d: code %d, %d and %d records", i, got.ErrorCode, ready("full"), ready("q"))
		}
	}
	if got := c.produce("full", 1, packBatch(message.CodecGzip, nil, "a")); wire.Code(got.ErrorCode) != wire.PolicyViolation || got.BaseOffset != -1 {
		t.Errorf("into the queue: code %d, offset %d", got.ErrorCode, got.BaseOffset)
	}
	if _, err := v.NewSession(auth.Identity{Name: "guest"}).Purge("full"); err != nil {
		t.Fatal(err)
	}
	if got := c.produce("full", -1, packBatch(message.CodecGzip, nil, "a")); got.ErrorCode != 0 {
		t.Errorf("into the queue with room again: code %d", got.ErrorCode)
	}
}
