package broker

import (
	"fmt"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/leveret-mq/leveret/internal/alloc"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

func benchRig(b testing.TB) *Session {
	b.Helper()
	st, err := local.Open(local.Options{Dir: b.TempDir(), Mode: store.ModeOS})
	if err != nil {
		b.Fatal(err)
	}
	br, err := Open(st, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		br.Close()
		st.Close()
	})
	v, _ := br.VHost("/")
	return v.NewSession(auth.Identity{Name: "guest"})
}

// BenchmarkPublishPull is a message in and out without a socket: routed, encoded,
// appended, taken, read, acked, in rounds of what a read buffer holds.
func BenchmarkPublishPull(b *testing.B) {
	for _, size := range []int{12, 100, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			s := benchRig(b)
			q, err := s.DeclareQueue("q", QueueOptions{Durable: true})
			if err != nil {
				b.Fatal(err)
			}
			sub, err := s.Subscribe(q.Name, SubscribeOptions{NoAck: true})
			if err != nil {
				b.Fatal(err)
			}
			defer sub.Close()
			p := s.NewPublisher()
			in := &Inbound{Key: []byte("q"), Properties: []byte{0x10, 0, 2}, Body: make([]byte, size), TimestampMs: 1}
			round := max(1, 128<<10/(size+60))
			sum := 0
			emit := func(d *Delivery) { sum += len(d.Body) }
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for n := 0; n < b.N; n += round {
				for range round {
					if _, err := p.Publish(in); err != nil {
						b.Fatal(err)
					}
				}
				p.Store()
				p.Commit(nil)
				for got := 0; got < round; {
					k, err := sub.Pull(1<<20, 1<<17, emit)
					if err != nil || k == 0 {
						b.Fatal(k, err)
					}
					got += k
					sub.Release()
				}
			}
		})
	}
}

// BenchmarkConsumersOnAQueue is a message in and out with its ack, over so many
// consumers of one queue with a prefetch of 100, of which each pulls when it is its turn.
func BenchmarkConsumersOnAQueue(b *testing.B) {
	for _, consumers := range []int{1, 10, 100} {
		b.Run(fmt.Sprint(consumers), func(b *testing.B) {
			s := benchRig(b)
			q, err := s.DeclareQueue("q", QueueOptions{Durable: true})
			if err != nil {
				b.Fatal(err)
			}
			subs := make([]*Subscription, consumers)
			for i := range subs {
				if subs[i], err = s.Subscribe(q.Name, SubscribeOptions{Prefetch: 100}); err != nil {
					b.Fatal(err)
				}
				defer subs[i].Close()
			}
			p := s.NewPublisher()
			in := &Inbound{Key: []byte("q"), Properties: []byte{0x10, 0, 2}, Body: make([]byte, 100), TimestampMs: 1}
			const round = 2000
			b.ReportAllocs()
			for n := 0; n < b.N; n += round {
				for range round {
					if _, err := p.Publish(in); err != nil {
						b.Fatal(err)
					}
				}
				p.Store()
				p.Commit(nil)
				for got, turn := 0, 0; got < round; turn++ {
					got += pullAndAck(b, subs[turn%consumers])
				}
			}
		})
	}
}

// pullAndAck takes what a consumer may have and acks it in the runs it came in.
func pullAndAck(b *testing.B, sub *Subscription) int {
	b.Helper()
	var lease *Lease
	first, last := message.Offset(0), message.Offset(-1)
	ack := func() {
		if lease != nil {
			if err := lease.Ack(first, last); err != nil {
				b.Fatal(err)
			}
		}
	}
	n, err := sub.Pull(1024, 1<<17, func(d *Delivery) {
		if lease != d.Lease || d.Offset != last+1 {
			ack()
			lease, first = d.Lease, d.Offset
		}
		last = d.Offset
	})
	if err != nil {
		b.Fatal(err)
	}
	ack()
	sub.Release()
	return n
}

// BenchmarkPullOfACompressedBatch takes few messages at a time out of batches of a
// thousand: each batch may be unpacked once only, whatever the prefetch is.
func BenchmarkPullOfACompressedBatch(b *testing.B) {
	for _, prefetch := range []int{10, 1000} {
		b.Run(fmt.Sprint("prefetch ", prefetch), func(b *testing.B) {
			s := benchRig(b)
			q, err := s.CreateTopic("t", 1, nil)
			if err != nil {
				b.Fatal(err)
			}
			var bl message.Builder
			const records = 1000
			for i := range records {
				bl.Add(&message.Publish{Key: []byte("k"), Body: fmt.Appendf(nil, "%0100d", i), TimestampMs: 1})
			}
			packed := append(make(batch.Batch, batch.HeaderBytes), s2.EncodeSnappy(nil, batch.Batch(bl.Seal()).Records())...)
			packed.Seal(batch.Header{Attributes: message.CodecSnappy, LastOffsetDelta: records - 1, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, Count: records})
			sub, err := s.Subscribe(q.Name, SubscribeOptions{Prefetch: prefetch})
			if err != nil {
				b.Fatal(err)
			}
			defer sub.Close()
			b.ReportAllocs()
			for n := 0; n < b.N; n += records {
				if _, err := q.Partitions()[0].log.Append(packed); err != nil {
					b.Fatal(err)
				}
				for got := 0; got < records; {
					got += pullAndAck(b, sub)
				}
			}
		})
	}
}

// BenchmarkRouteOverlapping alternates routes whose sets of queues overlap.
func BenchmarkRouteOverlapping(b *testing.B) {
	s := benchRig(b)
	if _, err := s.DeclareExchange("x", ExchangeOptions{Type: "topic"}); err != nil {
		b.Fatal(err)
	}
	for i := range 8 {
		name := fmt.Sprint("q", i)
		q, err := s.DeclareQueue(name, QueueOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Bind(Binding{Source: "x", Dest: name, Key: fmt.Sprintf("s%d.#", i)}); err != nil {
			b.Fatal(err)
		}
		sub, _ := s.Subscribe(q.Name, SubscribeOptions{NoAck: true})
		defer sub.Close()
	}
	if _, err := s.DeclareQueue("all", QueueOptions{}); err != nil {
		b.Fatal(err)
	}
	if err := s.Bind(Binding{Source: "x", Dest: "all", Key: "#"}); err != nil {
		b.Fatal(err)
	}
	p := s.NewPublisher()
	in := &Inbound{Exchange: []byte("x"), Body: make([]byte, 100), TimestampMs: 1}
	keys := make([][]byte, 8)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "s%d.info", i)
	}
	b.ReportAllocs()
	for n := range b.N {
		in.Key = keys[n%8]
		if _, err := p.Publish(in); err != nil {
			b.Fatal(err)
		}
		if n%1000 == 999 {
			p.Store()
			p.Commit(nil)
		}
		if n%1_000_000 == 999_999 {
			for i := range 8 {
				q, _ := s.vhost.Queue(fmt.Sprint("q", i))
				s.Purge(q.Name)
			}
			q, _ := s.vhost.Queue("all")
			s.Purge(q.Name)
		}
	}
}

// BenchmarkPublishManyKeys publishes over a topic exchange with 1,000 further bindings: with
// the same few keys, which the route cache holds, and with more than it holds.
func BenchmarkPublishManyKeys(b *testing.B) {
	for _, n := range []int{64, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p, keys := manyKeysRig(b, n)
			in := &Inbound{Exchange: []byte("x"), Properties: []byte{0x10, 0, 2}, Body: make([]byte, 12), TimestampMs: 1}
			q, _ := p.v.Queue("q")
			b.ReportAllocs()
			b.SetBytes(int64(len(in.Body)))
			for i := range b.N {
				in.Key = keys[i%n]
				if _, err := p.Publish(in); err != nil {
					b.Fatal(err)
				}
				if i%1000 == 999 {
					p.Store()
					p.Commit(nil)
				}
				if i%1_000_000 == 999_999 {
					if _, err := p.s.Purge(q.Name); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// manyKeysRig is a topic exchange x whose keys all lead to one queue, and n of them.
func manyKeysRig(tb testing.TB, n int) (*Publisher, [][]byte) {
	s := benchRig(tb)
	if _, err := s.DeclareExchange("x", ExchangeOptions{Type: "topic"}); err != nil {
		tb.Fatal(err)
	}
	if _, err := s.DeclareQueue("q", QueueOptions{}); err != nil {
		tb.Fatal(err)
	}
	bind := func(key string) {
		if err := s.Bind(Binding{Source: "x", Dest: "q", Key: key}); err != nil {
			tb.Fatal(err)
		}
	}
	bind("k.*.x")
	for i := range 1000 {
		bind(fmt.Sprintf([]string{"k.%d.#", "*.%d.x", "#.y%d", "s%d.*.x"}[i%4], 1_000_000+i))
	}
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "k.%d.x", i)
	}
	return s.NewPublisher(), keys
}

// A routing key that was not seen before costs its place in the cache and nothing else.
func TestPublishWithEverNewKeysStaysInItsAllocationBudget(t *testing.T) {
	p, keys := manyKeysRig(t, 20_000)
	in := &Inbound{Exchange: []byte("x"), Properties: []byte{0x10, 0, 2}, Body: make([]byte, 12), TimestampMs: 1}
	i := 0
	round := func() {
		for range 1000 {
			in.Key = keys[i%len(keys)]
			i++
			if _, err := p.Publish(in); err != nil {
				t.Fatal(err)
			}
		}
		p.Store()
		p.Commit(nil)
	}
	for range 2 * maxRoutes / 1000 {
		round()
	}
	if n := alloc.Least(1010, 20, round); n > 1010 {
		t.Errorf("%.0f allocations for 1,000 publishes", n)
	}
	if len(p.routes) > maxRoutes {
		t.Errorf("%d routes are kept", len(p.routes))
	}
}

// BenchmarkSubscribers is a consumer that comes to a queue with a backlog and goes
// again, when so many are there: it must not cost more the more there are.
func BenchmarkSubscribers(b *testing.B) {
	for _, consumers := range []int{100, 1000, 10_000, 30_000} {
		b.Run(fmt.Sprint(consumers), func(b *testing.B) {
			s := benchRig(b)
			if _, err := s.DeclareQueue("q", QueueOptions{Durable: true}); err != nil {
				b.Fatal(err)
			}
			p := s.NewPublisher()
			if _, err := p.Publish(&Inbound{Key: []byte("q"), Properties: []byte{0x10, 0, 2}, Body: make([]byte, 100), TimestampMs: 1}); err != nil {
				b.Fatal(err)
			}
			p.Store()
			p.Commit(nil)
			credit := NewCredit(0) // of the one channel that all of them are on
			subs := make([]*Subscription, consumers)
			for b.Loop() {
				for i := range subs {
					var err error
					if subs[i], err = s.Subscribe("q", SubscribeOptions{Prefetch: 1, Shared: credit}); err != nil {
						b.Fatal(err)
					}
				}
				for _, sub := range subs {
					sub.Close()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(consumers), "ns/consumer")
		})
	}
}
