package broker

import (
	"fmt"
	"testing"
)

// TestAnExchangeGoesWithAllItsBindings deletes one with more bindings than leave at a time: to queues, to exchanges and itself,
// and with some that lead to it. Nothing of it is written or routed any more, and what is not its is there still.
func TestAnExchangeGoesWithAllItsBindings(t *testing.T) {
	const queues = 3*forgetStep + 1
	for _, how := range []string{"deleted", "with its last binding"} {
		t.Run(how, func(t *testing.T) {
			r := start(t)
			auto := how != "deleted"
			if _, err := r.s.DeclareExchange("x", ExchangeOptions{Type: "topic", Durable: true, AutoDelete: auto}); err != nil {
				t.Fatal(err)
			}
			r.exchange("before", "fanout")
			r.exchange("behind", "fanout")
			r.queue("q", QueueOptions{Durable: true})
			r.bind("behind", "q", "")
			r.bind("before", "q", "")
			for i := range queues {
				name := "q"
				if !auto {
					name = fmt.Sprint("q", i)
					r.queue(name, QueueOptions{Durable: true})
					r.bind("amq.topic", name, "stays")
				}
				r.bind("x", name, fmt.Sprintf("*.%d.#", i))
			}
			list := []Binding{{Source: "before", Dest: "x", ToExchange: true}}
			if !auto {
				list = append(list, Binding{Source: "x", Dest: "behind", Key: "k", ToExchange: true}, Binding{Source: "x", Dest: "x", Key: "k", ToExchange: true})
			}
			for _, b := range list {
				if err := r.s.Bind(b); err != nil {
					t.Fatal(err)
				}
			}
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() { // who looks at it meanwhile sees all or a part
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					default:
					}
					for _, x := range r.v.Exchanges() {
						r.v.Bindings(x)
					}
				}
			}()
			if auto {
				if _, err := r.s.DeleteQueue("q", false, false); err != nil {
					t.Fatal(err)
				}
			} else if err := r.s.DeleteExchange("x", false); err != nil {
				t.Fatal(err)
			}
			close(stop)
			<-stopped
			left := 2 + queues
			if auto {
				left = 0
			}
			for _, when := range []string{"at once", "after a restart"} {
				if keys := r.defsWith(prefixBinding); len(keys) != left {
					t.Errorf("%s: %d bindings are written down, %d were to stay: %.300v", when, len(keys), left, keys)
				}
				n := 0
				for _, x := range r.v.Exchanges() {
					n += len(r.v.Bindings(x))
				}
				if n != left {
					t.Errorf("%s: %d bindings, not %d", when, n, left)
				}
				for _, q := range r.v.Queues() {
					if to := r.v.BindingsTo(q); len(to) > 2 {
						t.Errorf("%s: %v lead to %s", when, to, q.Name)
					}
				}
				if _, err := r.v.Exchange("x"); err == nil {
					t.Errorf("%s: the exchange is there", when)
				}
				r.restart()
			}
			r.exchange("x", "topic") // another of its name has none of them
			publish(t, r.s.NewPublisher(), "x", "a.1.b=1", "k=2")
			if queue, err := r.v.Queue("q"); err == nil {
				want(t, "q", drain(t, queue), []string{})
			}
		})
	}
}
