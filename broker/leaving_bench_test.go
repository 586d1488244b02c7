package broker

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkDeleteBound is the end of an exchange, and of a queue, with so many bindings: each must cost the
// same however many there are, and nobody who needs VHost.mu may wait for all of them (held-ms).
func BenchmarkDeleteBound(b *testing.B) {
	for _, what := range []string{"exchange", "queue"} {
		for _, n := range []int{100, 1000, 10_000, 50_000} {
			b.Run(fmt.Sprintf("%s/%d", what, n), func(b *testing.B) {
				s := benchRig(b)
				held := time.Duration(0)
				for range b.N {
					b.StopTimer()
					declareBound(b, s, what, n)
					stop, longest := make(chan struct{}), make(chan time.Duration)
					go func() { longest <- longestWait(s.vhost, stop) }()
					b.StartTimer()
					var err error
					if what == "exchange" {
						err = s.DeleteExchange("x", false)
					} else {
						_, err = s.DeleteQueue("q0", false, false)
					}
					b.StopTimer()
					close(stop)
					held = max(held, <-longest)
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/binding")
				b.ReportMetric(float64(held.Microseconds())/1000, "held-ms")
			})
		}
	}
}

// declareBound has a topic exchange x with so many bindings, to a queue each, or to q0.
func declareBound(b *testing.B, s *Session, what string, n int) {
	if _, err := s.DeclareExchange("x", ExchangeOptions{Type: "topic", Durable: true}); err != nil {
		b.Fatal(err)
	}
	for i := range n {
		q := "q0"
		if what == "exchange" {
			q = fmt.Sprint("q", i)
		}
		if what == "exchange" || i == 0 {
			if _, err := s.DeclareQueue(q, QueueOptions{Durable: true}); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Bind(Binding{Source: "x", Dest: q, Key: fmt.Sprintf([]string{"k.%d.#", "*.%d.x", "#.%d", "%d.*.x"}[i%4], i)}); err != nil {
			b.Fatal(err)
		}
	}
}

// longestWait is for VHost.mu, until stop is closed.
func longestWait(v *VHost, stop chan struct{}) (longest time.Duration) {
	for {
		select {
		case <-stop:
			return longest
		case <-time.After(100 * time.Microsecond):
		}
		began := time.Now()
		v.mu.Lock()
		longest = max(longest, time.Since(began))
		v.mu.Unlock()
	}
}
