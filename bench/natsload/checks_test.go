package natsload

import (
	"context"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/bench/measure"
	"github.com/nats-io/nats.go/jetstream"
)

// delivered is a message of a stream that counts how often it was acknowledged.
type delivered struct {
	jetstream.Msg
	body []byte
	acks *[]uint64
}

func (d *delivered) Data() []byte { return d.body }

func (d *delivered) Ack() error {
	seq, _ := measure.Stamp(d.body)
	*d.acks = append(*d.acks, seq)
	return nil
}

// consuming is a consumer without a server, and the acknowledgements that it gave.
func consuming(l Load) (*consumer, *[]uint64, func(seq uint64), func() error) {
	k := &consumer{load: &l, check: measure.NewSequence(1), latency: measure.NewLatencies(), done: make(chan struct{}, 1), consume: over{}}
	k.expected.Store(-1)
	ctx, cancel := context.WithCancelCause(context.Background())
	k.fail = cancel
	acks := new([]uint64)
	take := func(seq uint64) {
		body := make([]byte, 20)
		measure.PutStamp(body, seq, 0)
		k.take(&delivered{body: body, acks: acks})
	}
	return k, acks, take, func() error { return context.Cause(ctx) }
}

// over is a consumption that has ended.
type over struct{ jetstream.ConsumeContext }

func (over) Stop() {}

func (over) Closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func TestConsumerAcknowledgesEveryNthAndTheRest(t *testing.T) {
	k, acks, take, failure := consuming(Load{BodyBytes: 20, AckEvery: 3})
	for i := range uint64(7) {
		take(i)
	}
	if err := k.wait(context.Background(), 7); err != nil {
		t.Fatal(err)
	}
	if got := *acks; len(got) != 3 || got[0] != 2 || got[1] != 5 || got[2] != 6 {
		t.Fatalf("acknowledged were %v, it should be 2, 5 and the last, 6", got)
	}
	if err := k.check.Err([]int64{7}); err != nil || failure() != nil {
		t.Fatalf("in order, and yet: %v, %v", err, failure())
	}
}

func TestConsumerDoesNotAcknowledgeTheLastTwice(t *testing.T) {
	k, acks, take, _ := consuming(Load{BodyBytes: 20, AckEvery: 2})
	take(0)
	take(1)
	if err := k.wait(context.Background(), 2); err != nil || len(*acks) != 1 {
		t.Fatalf("acknowledged %v, %v", *acks, err)
	}
}

func TestConsumerNoticesWhatIsMissingOrRepeated(t *testing.T) {
	for name, order := range map[string][]uint64{"missing": {0, 2}, "repeated": {0, 0}, "swapped": {1, 0}} {
		k, _, take, _ := consuming(Load{BodyBytes: 20, AckEvery: 1})
		for _, seq := range order {
			take(seq)
		}
		if err := k.check.Err([]int64{2}); err == nil {
			t.Errorf("%s: not noticed", name)
		}
	}
}

func TestConsumerRefusesABodyOfAnotherSize(t *testing.T) {
	k, acks, take, failure := consuming(Load{BodyBytes: 21, AckEvery: 1})
	take(0)
	if err := failure(); err == nil || !strings.Contains(err.Error(), "body of 20 bytes") || len(*acks) != 0 || k.got.Load() != 0 {
		t.Fatalf("got %v, acknowledged %v", err, *acks)
	}
}

func TestConsumerThatWaitsInVainSaysHowFarItGot(t *testing.T) {
	k, _, take, _ := consuming(Load{BodyBytes: 20, AckEvery: 1})
	take(0)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := k.wait(ctx, 2); err == nil || !strings.Contains(err.Error(), "1 of 2 messages") {
		t.Fatalf("got %v", err)
	}
}

func TestPublishThatIsGivenAnotherPlaceIsRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		ack  jetstream.PubAck
		good bool
	}{
		{"the next", jetstream.PubAck{Sequence: 5}, true},
		{"one too far", jetstream.PubAck{Sequence: 6}, false},
		{"a duplicate", jetstream.PubAck{Sequence: 5, Duplicate: true}, false},
	} {
		p := &publisher{}
		err := p.take(&c.ack, 4)
		if (err == nil) != c.good || (p.acked.Load() == 1) != c.good {
			t.Errorf("%s: %v, %d acknowledged", c.name, err, p.acked.Load())
		}
	}
}
