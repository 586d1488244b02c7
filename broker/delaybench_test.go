//go:build unix

package broker

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// BenchmarkDelayed publishes messages of 1 KiB that wait, and has them come: what each costs with all
// its moves.
func BenchmarkDelayed(b *testing.B) {
	for _, ms := range []int64{0, 100, 1000, 5000} {
		b.Run(fmt.Sprint(ms, "ms"), func(b *testing.B) {
			session := benchRig(b)
			args := arguments(argDelayedType, "direct")
			if _, err := session.DeclareExchange("x", ExchangeOptions{Type: typeDelayed, Durable: true, Args: args}); err != nil {
				b.Fatal(err)
			}
			q, err := session.DeclareQueue("q", QueueOptions{Durable: true})
			if err != nil {
				b.Fatal(err)
			}
			if err := session.Bind(Binding{Source: "x", Dest: "q", Key: "k"}); err != nil {
				b.Fatal(err)
			}
			p := session.NewPublisher()
			in := delayedBy("x", "k", string(make([]byte, 1<<10)), ms)
			b.ReportAllocs()
			n, before := 0, processorTime(b)
			for b.Loop() {
				in.TimestampMs, in.SameHead = time.Now().UnixMilli(), n > 0
				if _, err := p.Publish(&in); err != nil {
					b.Fatal(err)
				}
				if n++; n%100 == 0 {
					p.Store()
					_ = p.Commit(nil)
				}
			}
			p.Store()
			_ = p.Commit(nil)
			for q.Ready() < int64(n) {
				time.Sleep(10 * time.Millisecond)
			}
			b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(n), "cpu-ns/op")
		})
	}
}

// processorTime is what the process has used.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
