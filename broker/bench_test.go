package broker

import (
	"fmt"
	"testing"

	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

func benchRig(b *testing.B) *VHost {
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
	return v
}

// BenchmarkPublishPull is a message in and out without a socket: routed, encoded,
// appended, taken, read, acked, in rounds of what a read buffer holds.
func BenchmarkPublishPull(b *testing.B) {
	for _, size := range []int{12, 100, 1024} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			v := benchRig(b)
			q, err := v.DeclareQueue(nil, "q", QueueOptions{Durable: true})
			if err != nil {
				b.Fatal(err)
			}
			sub, err := q.Subscribe(nil, SubscribeOptions{NoAck: true})
			if err != nil {
				b.Fatal(err)
			}
			defer sub.Close()
			p := v.NewPublisher()
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
				p.Flush(nil)
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

// BenchmarkRouteOverlapping alternates routes whose sets of queues overlap.
func BenchmarkRouteOverlapping(b *testing.B) {
	v := benchRig(b)
	if _, err := v.DeclareExchange("x", ExchangeOptions{Type: "topic"}); err != nil {
		b.Fatal(err)
	}
	for i := range 8 {
		name := fmt.Sprint("q", i)
		q, err := v.DeclareQueue(nil, name, QueueOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if err := v.Bind(nil, Binding{Source: "x", Dest: name, Key: fmt.Sprintf("s%d.#", i)}); err != nil {
			b.Fatal(err)
		}
		sub, _ := q.Subscribe(nil, SubscribeOptions{NoAck: true})
		defer sub.Close()
	}
	if _, err := v.DeclareQueue(nil, "all", QueueOptions{}); err != nil {
		b.Fatal(err)
	}
	if err := v.Bind(nil, Binding{Source: "x", Dest: "all", Key: "#"}); err != nil {
		b.Fatal(err)
	}
	p := v.NewPublisher()
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
			p.Flush(nil)
		}
		if n%1_000_000 == 999_999 {
			for i := range 8 {
				q, _ := v.Queue(fmt.Sprint("q", i))
				q.Purge()
			}
			q, _ := v.Queue("all")
			q.Purge()
		}
	}
}
