package broker

import (
	"errors"
	"strconv"
	"testing"
)

// TestWhatAConsumerIsFreeForIsItsOwn has a consumer that did not come for what is there yet:
// on RabbitMQ it would have been handed over when it came.
func TestWhatAConsumerIsFreeForIsItsOwn(t *testing.T) {
	for _, ask := range []struct {
		name string
		of   func(s *Session, q *Queue) (int64, error)
	}{
		{"a get", func(s *Session, _ *Queue) (n int64, err error) {
			for {
				if g, err := s.Get("q", true); g == nil || err != nil {
					return n, err
				}
				n++
			}
		}},
		{"a count", func(s *Session, q *Queue) (int64, error) { return s.Count(q) }},
		{"a purge", func(s *Session, _ *Queue) (int64, error) { return s.Purge("q") }},
		{"a deletion if empty", func(s *Session, _ *Queue) (int64, error) {
			_, err := s.DeleteQueue("q", false, true)
			if e := (*Error)(nil); errors.As(err, &e) && e.Kind == Precondition {
				return 1, nil
			}
			return 0, err
		}},
	} {
		for prefetch, left := range map[int]int64{0: 0, 3: 0, 2: 1} { // of three messages
			t.Run(ask.name+", prefetch "+strconv.Itoa(prefetch), func(t *testing.T) {
				r := start(t)
				q := r.queue("q", durable)
				sub, err := r.s.Subscribe("q", SubscribeOptions{Prefetch: prefetch})
				if err != nil {
					t.Fatal(err)
				}
				defer sub.Close()
				publish(t, r.s.NewPublisher(), "", "q=0", "q=1", "q=2")
				if n, err := ask.of(r.s, q); n != left || err != nil {
					t.Errorf("%d are left for others, %v; want %d", n, err, left)
				}
				if q.deleted.Load() {
					return
				}
				var got []string
				if _, err := sub.pull(10, 1<<20, func(d *Delivery) { got = append(got, string(d.Body)) }); err != nil {
					t.Fatal(err)
				}
				want(t, "delivered", got, []string{"0", "1", "2"}[:3-left])
			})
		}
	}
}
