package broker

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// BenchmarkDeclares is a durable declare on a real disk, by so many connections that
// declare at a time: they share the flushes of the definitions.
func BenchmarkDeclares(b *testing.B) {
	for _, conns := range []int{1, 16} {
		b.Run(fmt.Sprint(conns), func(b *testing.B) {
			st, err := local.Open(local.Options{Dir: b.TempDir(), Mode: store.ModeGroup})
			if err != nil {
				b.Fatal(err)
			}
			defer st.Close()
			br, err := Open(st, Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer br.Close()
			v, _ := br.VHost("/")
			var next atomic.Int64
			var group sync.WaitGroup
			b.ResetTimer()
			for range conns {
				s := v.NewSession(auth.Identity{Name: "guest"})
				group.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						if _, err := s.DeclareQueue(fmt.Sprint("q", n), QueueOptions{Durable: true}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "declares/s")
		})
	}
}
