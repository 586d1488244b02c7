package broker

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/leveret-mq/leveret/message"
)

// Readers that begin in the middle of batches, go back to what was requeued and
// leave each other marks get the message of each offset, as one reader would.
func TestManyConsumersFindTheirPlaceInABatch(t *testing.T) {
	for _, gap := range []int32{0, 3} {
		t.Run(fmt.Sprint("gap ", gap), func(t *testing.T) {
			seed := rand.Uint64()
			t.Log("seed", seed)
			random := rand.New(rand.NewPCG(seed, 1))
			r := startWith(t, gap)
			q := r.queue("q", QueueOptions{})
			p := r.s.NewPublisher()
			const messages = 12_000
			for n := uint64(0); n < messages; {
				for range min(1+random.Uint64N(3000), messages-n) {
					body := make([]byte, 8+random.IntN(50))
					binary.BigEndian.PutUint64(body, n)
					if _, err := p.Publish(&Inbound{Key: []byte("q"), Properties: []byte{0, 0}, Body: body, TimestampMs: 1}); err != nil {
						t.Fatal(err)
					}
					n++
				}
				p.Store()
				p.Commit(nil)
			}
			subs := make([]*Subscription, 9)
			for i := range subs {
				var err error
				if subs[i], err = r.s.Subscribe(q.Name, SubscribeOptions{Prefetch: 1 + random.IntN(50)}); err != nil {
					t.Fatal(err)
				}
				defer subs[i].Close()
			}
			at := map[message.Offset]uint64{} // what was seen at an offset
			acked := make([]bool, messages)
			for left := messages; left > 0; {
				var held []Delivery
				sub := subs[random.IntN(len(subs))]
				if _, err := sub.pull(1+random.IntN(30), 1<<20, func(d *Delivery) {
					n := binary.BigEndian.Uint64(d.Body)
					if before, again := at[d.Offset]; again != d.Redelivered || again && before != n || acked[n] {
						t.Fatalf("message %d at offset %d: redelivered %v, %d before, acked %v", n, d.Offset, d.Redelivered, before, acked[n])
					}
					at[d.Offset] = n
					held = append(held, Delivery{Lease: d.Lease, Offset: d.Offset})
				}); err != nil {
					t.Fatal(err)
				}
				sub.Release()
				for _, d := range held {
					settle := d.Lease.Ack
					if random.IntN(4) == 0 {
						settle = d.Lease.Requeue
					} else {
						acked[at[d.Offset]] = true
						left--
					}
					if err := settle(d.Offset, d.Offset); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

func TestMarksStaySparseAndInOrder(t *testing.T) {
	var g guide
	random := rand.New(rand.NewPCG(1, 2))
	const base, size, records = 1000, 5, 100_000
	id := func(base message.Offset) batchID { return batchID{base, size, 0} }
	for range 50_000 {
		at := message.Offset(random.IntN(records))
		g.note(id(base), mark{base + at, int(at) * 3})
		if n := len(g.find(id(base)).marks); n > guideMarks {
			t.Fatalf("%d marks", n)
		}
	}
	far := message.Offset(0)
	for range 10_000 {
		next := base + message.Offset(random.IntN(records))
		m := g.before(id(base), next)
		if m.next > next || m.position != int(m.next-base)*3 {
			t.Fatalf("%+v for offset %d", m, next)
		}
		far = max(far, next-m.next)
	}
	if far > 4*records/guideMarks {
		t.Errorf("a reader has to walk %d records", far)
	}
	for other := message.Offset(1); other <= guideBatches; other++ {
		g.note(id(base+other*records), mark{base + other*records + 50, 1})
	}
	if m := g.before(id(base), base+50); m != (mark{next: base}) {
		t.Errorf("%+v of a batch that others have displaced", m)
	}
	for _, other := range []batchID{{base + records, size + 1, 0}, {base + records, size, 1}} {
		if m := g.before(other, base+records+60); m.position != 0 {
			t.Errorf("%+v of another batch at the same offset", m)
		}
	}
}
