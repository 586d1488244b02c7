package kafka

import (
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

// feedInto makes the topic "ingest", which leads through an exchange into the queue "q".
func (r *rig) feedInto() *broker.Session {
	r.t.Helper()
	v, err := r.broker.VHost("/")
	if err != nil {
		r.t.Fatal(err)
	}
	args := field.AppendString(field.AppendName(nil, "x-kafka-topic"), []byte("ingest"))
	s := v.NewSession(auth.Identity{Name: "guest"})
	if _, err := s.DeclareExchange("logs", broker.ExchangeOptions{Type: "fanout", Args: args}); err != nil {
		r.t.Fatal(err)
	}
	if _, err := s.DeclareQueue("q", broker.QueueOptions{}); err != nil {
		r.t.Fatal(err)
	}
	if err := s.Bind(broker.Binding{Source: "logs", Dest: "q"}); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// What is routed is unpacked, so it is looked into whatever the server trusts; what a
// trusted producer sends to a log is not.
func TestOnlyWhatIsNotUnpackedAnywayIsTrusted(t *testing.T) {
	for _, trust := range []bool{false, true} {
		r := newRig(t, func(o *Options) { o.TrustCompressed = trust })
		r.topic("t", 1, nil)
		r.feedInto()
		c := r.raw()
		for codec := message.CodecGzip; codec <= message.CodecZstd; codec++ {
			rubbish := sealed(codec, []byte("rubbish"), 1, nil)
			want := wire.InvalidRecord
			if trust {
				want = wire.None
			}
			if got := wire.Code(c.produce("t", -1, rubbish).ErrorCode); got != want {
				t.Errorf("trust %t, codec %d, into a log: %d, want %d", trust, codec, got, want)
			}
			if got := wire.Code(c.produce("ingest", -1, rubbish).ErrorCode); got != wire.InvalidRecord {
				t.Errorf("trust %t, codec %d, into an exchange: %d", trust, codec, got)
			}
		}
	}
}

func TestWhatIsUnpackedToBeRoutedIsChargedAndGivenBack(t *testing.T) {
	r := newRig(t, nil)
	s := r.feedInto()
	c := r.raw()
	large := strings.Repeat("large ", 1<<20)
	for codec := message.CodecNone; codec <= message.CodecZstd; codec++ {
		batch := packBatch(codec, nil, "small", large)
		if codec == message.CodecNone {
			batch = packBatch(codec, nil, "small", large[:1<<19])
		}
		if got := c.produce("ingest", -1, batch); got.ErrorCode != 0 {
			t.Fatalf("codec %d: %d %v", codec, got.ErrorCode, got.ErrorMessage)
		}
		for _, want := range []string{"small", large} {
			g, err := s.Get("q", true)
			if err != nil || g == nil || !strings.HasPrefix(want, string(g.Body)) || len(g.Body) < 5 {
				t.Fatalf("codec %d: %v, %v", codec, g, err)
			}
		}
		b := r.server.opts.Budget
		eventually(t, "what was taken is given back", func() bool { return b.Stats().Used == 0 }) // behind the answer
		// gzip is looked into in memory that is there anyway.
		if used := b.Stats(); codec == message.CodecGzip && used.Peak < int64(len(large))-64<<10 { // some is free
			t.Errorf("codec %d: %d bytes were taken at most", codec, used.Peak)
		}
	}
}

func TestLimitsOfTimeAreTheTopicsOwn(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	v, _ := r.broker.VHost("/")
	q, err := v.Queue("t")
	if err != nil {
		t.Fatal(err)
	}
	c := r.raw()
	set := func(name, value string) {
		t.Helper()
		if err := v.NewSession(auth.Identity{Name: "guest"}).SetConfig(q, map[string]*string{name: &value}); err != nil {
			t.Fatal(err)
		}
	}
	send := func(hours int64, want wire.Code) {
		t.Helper()
		at := testNow.UnixMilli() + hours*3600_000
		if got := wire.Code(c.produce("t", 1, timed(message.CodecNone, at, nil, at)).ErrorCode); got != want {
			t.Errorf("%d hours from now: %d, want %d", hours, got, want)
		}
	}
	send(3, wire.InvalidTimestamp)
	send(-3, wire.None)
	set("message.timestamp.after.max.ms", "14400000")
	set("message.timestamp.before.max.ms", "7200000")
	send(3, wire.None)
	send(5, wire.InvalidTimestamp)
	send(-1, wire.None)
	send(-3, wire.InvalidTimestamp)
}
