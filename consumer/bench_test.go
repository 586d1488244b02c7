package consumer

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/message"
)

// endless is a log that is always longer, in batches of 256 messages.
type endless struct{ limit offset }

func (e *endless) Next(from message.Offset, _ bool) (first, last message.Offset, ok bool, err error) {
	return from, from | 255, from < e.limit, nil
}
func (e *endless) Bounds() (start, end message.Offset) { return 0, e.limit }
func (e *endless) Records(from, to message.Offset, _ bool) (int64, bool) {
	return int64(to - from), true
}
func (e *endless) Later(func()) {}

func newEndless() *endless { return &endless{limit: 1 << 60} }

// BenchmarkOneConsumerInRuns is a message of a consumer that takes and acks 1,000 at a time.
func BenchmarkOneConsumerInRuns(b *testing.B) {
	for _, noAck := range []bool{false, true} {
		b.Run(fmt.Sprintf("noAck=%v", noAck), func(b *testing.B) {
			c := newCursor(b, newEndless(), State{})
			k := add(b, c, ConsumerOptions{NoAck: noAck})
			var runs []Run
			b.ReportAllocs()
			for n := 0; n < b.N; n += int(total(runs)) {
				runs = k.Take(1000, runs[:0])
				if !noAck {
					check(b, k.AckRuns(runs))
				}
			}
		})
	}
}

// BenchmarkPrefetchSingleAcks is a message with prefetch 200, each acked by itself
// in order, the credit taken up every 50.
func BenchmarkPrefetchSingleAcks(b *testing.B) {
	c := newCursor(b, newEndless(), State{})
	k := add(b, c, ConsumerOptions{Prefetch: 200})
	runs := k.Take(1000, nil)
	next := offset(0)
	b.ReportAllocs()
	for n := 0; n < b.N; n++ {
		check(b, k.Ack(next, next))
		if next++; next%50 == 0 {
			runs = k.Take(1000, runs[:0])
		}
	}
}

// BenchmarkTenConsumers is a message over ten consumers, acked in the order taken.
func BenchmarkTenConsumers(b *testing.B) {
	for _, prefetch := range []int{0, 1, 200} {
		b.Run(fmt.Sprintf("prefetch=%d", prefetch), func(b *testing.B) {
			c := newCursor(b, newEndless(), State{})
			var ks []*Consumer
			for range 10 {
				ks = append(ks, add(b, c, ConsumerOptions{Prefetch: prefetch}))
			}
			var runs []Run
			b.ReportAllocs()
			for n := 0; n < b.N; {
				for _, k := range ks {
					runs = k.Take(256, runs[:0])
					check(b, k.AckRuns(runs))
					n += int(total(runs))
				}
			}
		})
	}
}

// BenchmarkSmallBacklogOverTen alternates message by message.
func BenchmarkSmallBacklogOverTen(b *testing.B) {
	log := &endless{}
	c := newCursor(b, log, State{})
	var ks []*Consumer
	for range 10 {
		ks = append(ks, add(b, c, ConsumerOptions{}))
	}
	var runs []Run
	b.ReportAllocs()
	for n := 0; n < b.N; n += 100 {
		log.limit += 100
		c.Notify()
		for _, k := range ks {
			runs = k.Take(256, runs[:0])
			check(b, k.AckRuns(runs))
		}
	}
}

// BenchmarkOutOfOrderAcks acks ten million messages in random order, one by one,
// and reports what the cursor weighs half-way.
func BenchmarkOutOfOrderAcks(b *testing.B) {
	const messages = 10_000_000
	order := make([]uint32, messages)
	for i := range order {
		order[i] = uint32(i)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(messages, func(i, j int) { order[i], order[j] = order[j], order[i] })
	for b.Loop() {
		b.StopTimer()
		before := heapBytes()
		c := newCursor(b, newEndless(), State{})
		k := add(b, c, ConsumerOptions{})
		take(k, messages)
		b.StartTimer()
		for i, o := range order {
			if i == messages/2 {
				b.StopTimer()
				b.ReportMetric(float64(heapBytes()-before)/1e6, "MB")
				b.ReportMetric(float64(len(c.AppendState(nil)))/1e6, "stateMB")
				b.StartTimer()
			}
			check(b, k.Ack(offset(o), offset(o)))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/messages, "ns/ack")
}

// check is must without its Helper, which costs more than an ack.
func check(b *testing.B, err error) {
	if err != nil {
		b.Fatal(err)
	}
}

func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkNotify is what a publisher pays while nobody waits.
func BenchmarkNotify(b *testing.B) {
	c := newCursor(b, newEndless(), State{})
	add(b, c, ConsumerOptions{Prefetch: 1}).Take(10, nil)
	for b.Loop() {
		c.Notify()
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	for name, o := range map[string]ConsumerOptions{
		"unlimited": {}, "prefetch": {Prefetch: 200}, "no ack": {NoAck: true}, "shared": {Shared: NewCredit(500)},
	} {
		for _, consumers := range []int{1, 3} {
			c := newCursor(t, newEndless(), State{})
			var ks []*Consumer
			for range consumers {
				ks = append(ks, add(t, c, o))
			}
			runs := make([]Run, 0, 1000)
			turn := func() {
				for _, k := range ks {
					runs = runs[:0]
					for before := -1; len(runs) > before && total(runs) < 700; {
						before = len(runs)
						runs = k.Take(700-int(total(runs)), runs)
					}
					if o.NoAck {
						continue
					}
					for i := len(runs) - 1; i >= 0; i-- { // a little out of order
						if r := runs[i]; r.Len() > 2 {
							must(t, k.Ack(r.First+1, r.Last))
							must(t, k.Requeue(r.First, r.First))
						} else {
							must(t, k.Ack(r.First, r.Last))
						}
					}
				}
				c.Notify()
				c.Progress()
			}
			for range 300 {
				turn()
			}
			if n := alloc.Least(0, 2000, turn); n >= 1 {
				t.Errorf("%s, %d consumers: %v allocations a turn", name, consumers, n)
			}
		}
	}
}

// TestMillionsOfAcksAheadStaySmall holds memory to a bit a message where acks are
// mixed, and to nothing where only a straggler is left.
func TestMillionsOfAcksAheadStaySmall(t *testing.T) {
	const messages = 2_000_000
	before := heapBytes()
	c := newCursor(t, newEndless(), State{})
	k := add(t, c, ConsumerOptions{})
	take(k, messages)
	for o := offset(1); o < messages; o += 2 {
		must(t, k.Ack(o, o))
	}
	if got := int64(heapBytes() - before); got > 500_000 {
		t.Errorf("%d bytes for a million acks ahead", got)
	}
	for o := offset(2); o < messages; o += 2 {
		must(t, k.Ack(o, o))
	}
	if got := int64(heapBytes() - before); got > 200_000 {
		t.Errorf("%d bytes for one straggler", got)
	}
	if c.Floor() != 0 || c.Unacked() != 1 {
		t.Errorf("floor %d, unacked %d", c.Floor(), c.Unacked())
	}
}

// BenchmarkManyConsumers is a message over so many consumers with a prefetch, each of which
// acks when it is its turn in a random order: all of one priority, or each of its own.
func BenchmarkManyConsumers(b *testing.B) {
	for _, consumers := range []int{1, 100, 1000, 10_000} {
		for _, prefetch := range []int{1, 20} {
			for _, own := range []bool{false, true} {
				b.Run(fmt.Sprintf("consumers=%d/prefetch=%d/priorities=%v", consumers, prefetch, own), func(b *testing.B) {
					c := newCursor(b, newEndless(), State{})
					rng := rand.New(rand.NewPCG(1, 2))
					ks := make([]*Consumer, consumers)
					held := make([][]Run, consumers)
					for i := range ks {
						o := ConsumerOptions{Prefetch: prefetch}
						if own {
							o.Priority = i
						}
						ks[i] = add(b, c, o)
					}
					for i, k := range ks {
						held[i] = k.Take(prefetch, held[i])
					}
					b.ReportAllocs()
					for n := 0; n < b.N; n++ {
						i := rng.IntN(consumers)
						if len(held[i]) > 0 {
							check(b, ks[i].AckRuns(held[i]))
						}
						held[i] = ks[i].Take(prefetch, held[i][:0])
					}
				})
			}
		}
	}
}
