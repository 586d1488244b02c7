package broker

import (
	"fmt"
	"testing"
)

// BenchmarkPriorities is messages of ten priorities in turn, in and out with their acks, through
// a queue that tells none apart and through one that tells ten: in rounds of a full read
// buffer, and of a few messages.
func BenchmarkPriorities(b *testing.B) {
	for _, round := range []int{2000, 20, 1} {
		for _, highest := range []int{0, 9} {
			b.Run(fmt.Sprintf("round=%d/highest=%d", round, highest), func(b *testing.B) {
				s := benchRig(b)
				var args []byte
				if highest > 0 {
					args = arguments("x-max-priority", highest)
				}
				if _, err := s.DeclareQueue("q", QueueOptions{Durable: true, Args: args}); err != nil {
					b.Fatal(err)
				}
				sub, err := s.Subscribe("q", SubscribeOptions{Prefetch: 100})
				if err != nil {
					b.Fatal(err)
				}
				defer sub.Close()
				p := s.NewPublisher()
				in := make([]*Inbound, 10)
				for i := range in {
					in[i] = &Inbound{Key: []byte("q"), Properties: urgent(i, ""), Body: make([]byte, 100), TimestampMs: 1}
				}
				b.ReportAllocs()
				for n := 0; n < b.N; n += round {
					for i := range round {
						if _, err := p.Publish(in[(n+i)%len(in)]); err != nil {
							b.Fatal(err)
						}
					}
					p.Store()
					p.Commit(nil)
					for got := 0; got < round; {
						got += pullAndAck(b, sub)
					}
				}
			})
		}
	}
}
