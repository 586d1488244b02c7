package broker

import (
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/field"
)

// BenchmarkExpiry ends messages of 100 bytes, in batches as a publisher's buffer makes them,
// by the queue's time, and for comparison by one of their own.
func BenchmarkExpiry(b *testing.B) {
	for name, c := range map[string]struct {
		ttl   int
		props []byte
	}{"queue": {1 << 30, field.NoProperties}, "own": {1 << 31, expiring("1073741824")}} {
		b.Run(name, func(b *testing.B) {
			s := benchRig(b)
			q, err := s.DeclareQueue("q", QueueOptions{Durable: true, Args: arguments("x-message-ttl", c.ttl)})
			if err != nil {
				b.Fatal(err)
			}
			p := s.NewPublisher()
			now := time.Now().UnixMilli()
			in := &Inbound{Key: []byte("q"), Properties: c.props, Body: make([]byte, 100), TimestampMs: now}
			for i := range b.N {
				if _, err := p.Publish(in); err != nil {
					b.Fatal(err)
				}
				if i%100 == 99 {
					p.Store()
					p.Commit(nil)
				}
			}
			p.Store()
			p.Commit(nil)
			b.ReportAllocs()
			b.ResetTimer()
			if err := q.Partitions()[0].expireIfDue(now+1<<31-1, true); err != nil || q.Ready() != 0 {
				b.Fatalf("%d left, %v", q.Ready(), err)
			}
		})
	}
}
