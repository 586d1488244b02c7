package broker

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/message"
)

// TestNothingIsLostOrDoubledUnderLoad has publishers, consumers that ack, requeue
// and leave, getters, and others that change the topology meanwhile. Each message
// must be acked exactly once, and come again only with the redelivered flag.
func TestNothingIsLostOrDoubledUnderLoad(t *testing.T) {
	const publishers, consumers, each = 3, 4, 4000
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := startWith(t, 0)
	r.exchange("x", "topic")
	q := r.queue("work", QueueOptions{Durable: true})
	r.bind("x", "work", "job.#")
	var acked [publishers * each]atomic.Int32
	var seen [publishers * each]atomic.Int32
	var left atomic.Int64
	left.Store(publishers * each)
	stop := make(chan struct{})
	var all, churn sync.WaitGroup

	for p := range publishers {
		all.Go(func() {
			pub := r.s.NewPublisher()
			body := make([]byte, 4)
			for i := range each {
				binary.BigEndian.PutUint32(body, uint32(p*each+i))
				in := &Inbound{Exchange: []byte("x"), Key: fmt.Appendf(nil, "job.%d", i%7), Body: body, Persistent: i%2 == 0}
				if routed, err := pub.Publish(in); !routed || err != nil {
					t.Errorf("message %d: routed %v, %v", p*each+i, routed, err)
					left.Add(-1)
				}
				if i%50 == 49 {
					flush(t, pub)
				}
			}
		})
	}
	settle := func(rng *rand.Rand, d *Delivery) {
		n := binary.BigEndian.Uint32(d.Body)
		if seen[n].Add(1) > 1 && !d.Redelivered {
			t.Errorf("message %d came again without the flag", n)
		}
		if rng.IntN(10) == 0 {
			if err := d.Lease.Requeue(d.Offset, d.Offset); err != nil {
				t.Errorf("requeue %d: %v", n, err)
			}
			return
		}
		if err := d.Lease.Ack(d.Offset, d.Offset); err != nil {
			t.Errorf("ack %d: %v", n, err)
			return
		}
		if acked[n].Add(1) > 1 {
			t.Errorf("message %d was acked twice", n)
		}
		left.Add(-1)
	}
	for c := range consumers {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(c)))
			for left.Load() > 0 {
				consume(t, q, rng, &left, settle)
			}
		})
	}
	all.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 99))
		for left.Load() > 0 {
			g, err := r.s.Get(q.Name, false)
			if err != nil {
				t.Error(err)
				return
			}
			if g != nil {
				settle(rng, &g.Delivery)
			}
			time.Sleep(time.Millisecond)
		}
	})
	churn.Go(func() {
		pub := r.s.NewPublisher()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := fmt.Sprint("side", i%5)
			s := r.v.NewSession(auth.Identity{Name: "guest"})
			if _, err := s.DeclareQueue(name, QueueOptions{Exclusive: true}); err != nil {
				t.Error(err)
			}
			if err := s.Bind(Binding{Source: "x", Dest: name, Key: "job.*"}); err != nil {
				t.Error(err)
			}
			if _, err := pub.Publish(&Inbound{Key: []byte(name), Body: []byte("side")}); err != nil {
				t.Error(err)
			}
			pub.Store()
			pub.Commit(nil)
			if i%3 == 0 {
				if err := s.Unbind(Binding{Source: "x", Dest: name, Key: "job.*"}); err != nil {
					t.Error(err)
				}
			}
			r.Stats()
			r.QueueStats()
			s.Close()
		}
	})
	all.Wait()
	close(stop)
	churn.Wait()
	if n := q.Ready() + q.Unacked(); n != 0 {
		t.Errorf("%d messages are left in the queue", n)
	}
	for n := range acked {
		if acked[n].Load() != 1 {
			t.Errorf("message %d was acked %d times", n, acked[n].Load())
		}
	}
}

// consume is one consumer's life: it takes for a while and leaves with messages held.
func consume(t *testing.T, q *Queue, rng *rand.Rand, left *atomic.Int64, settle func(*rand.Rand, *Delivery)) {
	wake := make(chan struct{}, 1)
	sub, err := asOwner(q).Subscribe(q.Name, SubscribeOptions{Prefetch: rng.IntN(20), Wake: func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}})
	if err != nil {
		t.Error(err)
		return
	}
	for range 20 + rng.IntN(50) {
		var got []Delivery
		n, err := sub.pull(1+rng.IntN(40), 1<<20, func(d *Delivery) { got = append(got, *d) })
		if err != nil {
			t.Error(err)
		}
		for i := range got {
			settle(rng, &got[i])
		}
		sub.Release()
		if left.Load() <= 0 {
			break
		}
		if n == 0 {
			select {
			case <-wake:
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	var held []Delivery
	sub.pull(3, 1<<20, func(d *Delivery) {
		held = append(held, Delivery{Lease: d.Lease, Offset: d.Offset, Body: append([]byte(nil), d.Body...)})
	})
	sub.Close()
	for _, d := range held { // as a channel does that closes
		if err := d.Lease.Requeue(d.Offset, d.Offset); err != nil {
			t.Errorf("requeue of a consumer that left: %v", err)
		}
	}
}

// TestDeletingAQueueInUseHarmsNobody deletes and declares a queue again while others
// publish to it and consume from it.
func TestDeletingAQueueInUseHarmsNobody(t *testing.T) {
	r := startWith(t, 0)
	var all sync.WaitGroup
	stop := make(chan struct{})
	all.Go(func() {
		p := r.s.NewPublisher()
		for {
			select {
			case <-stop:
				return
			default:
			}
			for range 20 {
				if _, err := p.Publish(&Inbound{Key: []byte("q"), Body: []byte("x"), Persistent: true}); err != nil {
					t.Error(err)
				}
			}
			flush(t, p)
		}
	})
	for range 2 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				q, err := r.v.Queue("q")
				if err != nil {
					time.Sleep(time.Millisecond)
					continue
				}
				sub, err := r.s.Subscribe(q.Name, SubscribeOptions{})
				if err != nil {
					if KindOf(err) != NotFound {
						t.Error(err)
					}
					continue
				}
				for range 5 {
					var first, last message.Offset
					var lease *Lease
					n, err := sub.pull(10, 1<<20, func(d *Delivery) {
						if lease == nil {
							lease, first = d.Lease, d.Offset
						}
						last = d.Offset
					})
					if err != nil && !q.Deleted() {
						t.Error(err)
					}
					if n > 0 && last-first == message.Offset(n-1) {
						if err := lease.Ack(first, last); err != nil {
							t.Error(err)
						}
					}
					sub.Release()
				}
				sub.Close()
			}
		})
	}
	for range 60 {
		if _, err := r.s.DeclareQueue("q", QueueOptions{Durable: true}); err != nil {
			t.Error(err)
		}
		time.Sleep(3 * time.Millisecond)
		if _, err := r.s.DeleteQueue("q", false, false); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	all.Wait()
}
