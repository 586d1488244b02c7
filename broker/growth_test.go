package broker

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestNothingIsLostOrDoubledOnATopicThatGrows adds partitions, and purges, under
// publishers that hold cached routes and under consumers of several priorities with
// and without acks. Each message ends exactly once: acked, sent without
// acks, or purged.
func TestNothingIsLostOrDoubledOnATopicThatGrows(t *testing.T) {
	const publishers, each, partitions = 3, 4000, 9
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := startWith(t, 0)
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.exchange("x", "topic")
	r.bind("x", "t", "#")
	var ended [publishers * each]atomic.Int32
	var left, purged, published atomic.Int64
	left.Store(publishers * each)
	var all sync.WaitGroup
	for p := range publishers {
		all.Go(func() {
			pub := r.s.NewPublisher()
			var body [4]byte
			for i := range each {
				binary.BigEndian.PutUint32(body[:], uint32(p*each+i))
				if routed, err := pub.Publish(&Inbound{Exchange: []byte("x"), Key: fmt.Appendf(nil, "k%d", i%31), Body: body[:], Persistent: true}); !routed || err != nil {
					t.Errorf("routed %v, %v", routed, err)
				}
				if i%40 == 39 {
					flush(t, pub)
					published.Add(40)
				}
			}
		})
	}
	end := func(d *Delivery) {
		if n := binary.BigEndian.Uint32(d.Body); ended[n].Add(1) > 1 {
			t.Errorf("message %d came twice", n)
		}
		left.Add(-1)
	}
	shared := NewCredit(30)
	for c := range 6 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(c)))
			for left.Load() > 0 {
				o := SubscribeOptions{Priority: c % 3, NoAck: c%2 == 0, Prefetch: rng.IntN(9)}
				if c%3 == 1 {
					o.Shared = shared
				}
				consumeGrowing(t, q, o, rng, &left, end)
			}
		})
	}
	all.Go(func() {
		for n := 2; n <= partitions; n++ {
			for published.Load() < int64(n-1)*publishers*each/(partitions+1) {
				time.Sleep(time.Millisecond)
			}
			if err := r.s.AddPartitions(q, n); err != nil {
				t.Error(err)
			}
			k, err := r.s.Purge(q.Name)
			if err != nil {
				t.Error(err)
			}
			purged.Add(k)
			left.Add(-k)
		}
	})
	all.Wait()
	if n := q.Ready() + q.Unacked(); n != 0 || left.Load() != 0 {
		t.Errorf("%d messages are left in the queue, %d are not accounted for", n, left.Load())
	}
	missing := int64(0)
	for n := range ended {
		if ended[n].Load() == 0 {
			missing++
		}
	}
	if missing != purged.Load() {
		t.Errorf("%d messages never came, %d were purged", missing, purged.Load())
	}
	if n := shared.Used(); n != 0 {
		t.Errorf("%d of the shared credit are lost", n)
	}
}

// consumeGrowing is one consumer's life. Having nothing to pull, it waits for its
// wake-up, and calls a late one lost.
func consumeGrowing(t *testing.T, q *Queue, o SubscribeOptions, rng *rand.Rand, left *atomic.Int64, end func(*Delivery)) {
	wake := make(chan struct{}, 1)
	o.Wake = func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	sub, err := asOwner(q).Subscribe(q.Name, o)
	if err != nil {
		t.Error(err)
		return
	}
	defer sub.Close()
	for range 30 + rng.IntN(40) {
		var got []Delivery
		n, err := sub.pull(1+rng.IntN(40), 1<<10, func(d *Delivery) { got = append(got, *d) })
		if err != nil {
			t.Error(err)
		}
		for i := range got {
			d := &got[i]
			if !o.NoAck && rng.IntN(10) == 0 {
				if err := d.Lease.Requeue(d.Offset, d.Offset); err != nil {
					t.Error(err)
				}
				continue
			}
			end(d)
			if !o.NoAck {
				if err := d.Lease.Ack(d.Offset, d.Offset); err != nil {
					t.Error(err)
				}
			}
		}
		sub.Release()
		if left.Load() <= 0 {
			return
		}
		if n == 0 {
			select {
			case <-wake:
			case <-time.After(20 * time.Millisecond): // credit may be with others, who wait as well
			}
		}
	}
}
