package broker

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// offer publishes bodies to an exchange or queue in one batch, and returns those that were refused.
func (r *rig) offer(p *Publisher, exchange, key string, bodies ...string) (refused []string) {
	r.t.Helper()
	return r.offerEach(p, exchange, key, bodies, func(*Inbound) {})
}

// offerEach is offer of messages to which edit does something.
func (r *rig) offerEach(p *Publisher, exchange, key string, bodies []string, edit func(in *Inbound)) (refused []string) {
	r.t.Helper()
	for i, body := range bodies {
		in := &Inbound{Exchange: []byte(exchange), Key: []byte(key), Body: []byte(body), TimestampMs: time.Now().UnixMilli(), Ref: uint64(i) + 1}
		edit(in)
		if _, err := p.Publish(in); err != nil {
			r.t.Fatal(err)
		}
	}
	p.Store()
	for _, ref := range p.Refused() {
		refused = append(refused, bodies[ref-1])
	}
	flush(r.t, p)
	return refused
}

func numbers(from, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%04d", from+i))
	}
	return out
}

func (r *rig) limited(name string, args ...any) *Queue {
	r.t.Helper()
	return r.queue(name, QueueOptions{Durable: true, Args: arguments(args...)})
}

// TestLimitsAreExact in one batch and in many, whatever counts.
func TestLimitsAreExact(t *testing.T) {
	for name, c := range map[string]struct {
		args          []any
		bodies        []string
		want, refused []string
	}{
		"the newest stay":              {[]any{"x-max-length", 3}, numbers(0, 9), numbers(6, 3), nil},
		"none stays":                   {[]any{"x-max-length", 0}, numbers(0, 9), []string{}, nil},
		"the newest bytes stay":        {[]any{"x-max-length-bytes", 10}, []string{"1234", "123456", "", "", "1"}, []string{"123456", "", "", "1"}, nil},
		"just as many bytes stay":      {[]any{"x-max-length-bytes", 10}, []string{"12345", "67890"}, []string{"12345", "67890"}, nil},
		"just as many are taken":       {[]any{"x-max-length-bytes", 10, "x-overflow", "reject-publish"}, []string{"12345", "67890"}, []string{"12345", "67890"}, nil},
		"one too large takes all":      {[]any{"x-max-length-bytes", 10}, []string{"1234", "12345678901", "1"}, []string{"1"}, nil},
		"both limits":                  {[]any{"x-max-length-bytes", 10, "x-max-length", 2}, []string{"1", "2", "3", "1234567890", ""}, []string{"1234567890", ""}, nil},
		"the oldest stay":              {[]any{"x-max-length", 3, "x-overflow", "reject-publish"}, numbers(0, 9), numbers(0, 3), numbers(3, 6)},
		"all are refused":              {[]any{"x-max-length", 0, "x-overflow", "reject-publish"}, numbers(0, 9), []string{}, numbers(0, 9)},
		"what fits is taken":           {[]any{"x-max-length-bytes", 10, "x-overflow", "reject-publish"}, []string{"1234567", "1234", "123", "", "1", ""}, []string{"1234567", "123", "", ""}, []string{"1234", "1"}},
		"what fits, up to both limits": {[]any{"x-max-length-bytes", 10, "x-max-length", 4, "x-overflow", "reject-publish"}, []string{"1234567", "1234", "123", "", "1", "", ""}, []string{"1234567", "123", "", ""}, []string{"1234", "1", ""}},
		"a quorum queue that drops":    {[]any{"x-queue-type", "quorum", "x-max-length", 2, "x-overflow", "reject-publish-dlx"}, numbers(0, 4), numbers(2, 2), nil},
	} {
		for _, batch := range []int{1, 2, 100} {
			t.Run(fmt.Sprint(name, " by ", batch), func(t *testing.T) {
				r := start(t)
				q := r.limited("q", c.args...)
				p := r.s.NewPublisher()
				var refused []string
				for chunk := range slices.Chunk(c.bodies, batch) {
					refused = append(refused, r.offer(p, "", "q", chunk...)...)
					ready, err := q.count(true)
					if s := q.Settings(); err != nil || s.overfull(ready, 0) {
						t.Errorf("%d ready: %v", ready, err)
					}
				}
				if !slices.Equal(refused, c.refused) {
					t.Errorf("refused %q, want %q", refused, c.refused)
				}
				want(t, "left", drain(t, q), c.want)
			})
		}
	}
}

// TestLimitsAreExactWithSeveralPublishers: neither one more nor one less than there is room for.
func TestLimitsAreExactWithSeveralPublishers(t *testing.T) {
	for _, overflow := range []string{"drop-head", "reject-publish"} {
		r := startWith(t, 0)
		q := r.limited("q", "x-max-length", 100, "x-overflow", overflow)
		var refused sync.Map
		var all sync.WaitGroup
		for w := range 4 {
			all.Go(func() {
				p := r.s.NewPublisher()
				for i := 0; i < 500; i += 5 {
					for _, body := range r.offer(p, "", "q", numbers(w*1000+i, 5)...) {
						refused.Store(body, true)
					}
				}
			})
		}
		all.Wait()
		got := drain(t, q)
		if len(got) != 100 {
			t.Errorf("%s: %d messages", overflow, len(got))
		}
		n := 0
		refused.Range(func(body, _ any) bool {
			n++
			if slices.Contains(got, body.(string)) {
				t.Errorf("%s was refused and is there", body)
			}
			return true
		})
		if wanted := map[string]int{"drop-head": 0, "reject-publish": 1900}[overflow]; n != wanted {
			t.Errorf("%s: %d refused", overflow, n)
		}
		if left := r.leftBy()[LengthLimit]; overflow == "drop-head" && left != 1900 {
			t.Errorf("%d dropped", left)
		}
	}
}

// TestOnlyReadyMessagesCount, and what comes back does.
func TestOnlyReadyMessagesCount(t *testing.T) {
	r := start(t)
	q := r.limited("q", "x-max-length", 2)
	p := r.s.NewPublisher()
	r.offer(p, "", "q", "0", "1")
	sub := r.subscribe("q", SubscribeOptions{Prefetch: 2})
	held := pull(t, sub, 10, 1<<20)
	r.offer(p, "", "q", "2", "3", "4")
	if len(held) != 2 || q.Ready() != 2 || q.Unacked() != 2 {
		t.Fatalf("%d held, %d ready, %d unacked", len(held), q.Ready(), q.Unacked())
	}
	sub.Close()
	for _, d := range held {
		if err := d.Lease.Requeue(d.Offset, d.Offset); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "left", drain(t, q), []string{"3", "4"})
}

// TestWhoCountsWaitsForALookThatIsUnderWay, which has not dropped what is too many yet.
func TestWhoCountsWaitsForALookThatIsUnderWay(t *testing.T) {
	r := start(t)
	q := r.limited("q", "x-max-length", 2)
	r.offer(r.s.NewPublisher(), "", "q", "0")
	p := q.Partitions()[0]
	p.trim()
	if err := p.trimNow(false); err != nil {
		t.Error(err)
	}
	p.limiter().looking.Store(true)
	if err := p.trimNow(false); !errors.Is(err, store.ErrNotYet) {
		t.Errorf("%v while it is under way", err)
	}
}

// TestWhoIsFreeIsServedBeforeAnythingIsTooMuch: as if each message had been handed over when it came.
func TestWhoIsFreeIsServedBeforeAnythingIsTooMuch(t *testing.T) {
	for name, c := range map[string]struct {
		args              []any
		o                 SubscribeOptions
		got, left, refuse int
	}{
		"dropped, no prefetch":         {[]any{"x-max-length", 1}, SubscribeOptions{}, 500, 0, 0},
		"dropped, two may be held":     {[]any{"x-max-length", 1}, SubscribeOptions{Prefetch: 2}, 2, 1, 0},
		"without acks":                 {[]any{"x-max-length", 0}, SubscribeOptions{NoAck: true}, 500, 0, 0},
		"refused, no prefetch":         {[]any{"x-max-length", 1, "x-overflow", "reject-publish"}, SubscribeOptions{}, 500, 0, 0},
		"refused, two may be held":     {[]any{"x-max-length", 1, "x-overflow", "reject-publish"}, SubscribeOptions{Prefetch: 2}, 2, 1, 497},
		"refused whoever is there":     {[]any{"x-max-length", 0, "x-overflow", "reject-publish"}, SubscribeOptions{}, 0, 0, 500},
		"each the first of its level":  {[]any{"x-max-length", 0, "x-max-priority", 255}, SubscribeOptions{}, 500, 0, 0},
		"of levels, three may be held": {[]any{"x-max-length", 0, "x-max-priority", 255}, SubscribeOptions{Prefetch: 3}, 3, 0, 0},
		"refused, of levels":           {[]any{"x-max-length", 1, "x-max-priority", 255, "x-overflow", "reject-publish"}, SubscribeOptions{Prefetch: 2}, 2, 1, 497},
		"a credit of the channel":      {[]any{"x-max-length", 1, "x-overflow", "reject-publish"}, SubscribeOptions{Shared: NewCredit(3)}, 3, 1, 496},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			q := r.limited("q", c.args...)
			sub := r.subscribe("q", c.o)
			if got := pull(t, sub, 10, 1<<20); len(got) != 0 {
				t.Fatal(got)
			}
			n := -1
			refused := r.offerEach(r.s.NewPublisher(), "", "q", numbers(0, 500), func(in *Inbound) { // of as many levels as there are
				n++
				in.Properties = urgent(n%256, "")
			})
			got := pull(t, sub, 1000, 1<<20)
			if len(got) != c.got || len(refused) != c.refuse || q.Ready() != int64(c.left) {
				t.Errorf("%d delivered, %d refused, %d left; want %d, %d, %d", len(got), len(refused), q.Ready(), c.got, c.refuse, c.left)
			}
		})
	}
}

// TestASlowConsumerDoesNotLiftTheLimit: what waits for it is bounded.
func TestASlowConsumerDoesNotLiftTheLimit(t *testing.T) {
	r := startWith(t, 0)
	q := r.limited("q", "x-max-length", 10)
	r.subscribe("q", SubscribeOptions{}) // and never pulls
	p := r.s.NewPublisher()
	for range 40 {
		r.offer(p, "", "q", numbers(0, 1000)...)
	}
	if n := q.Unacked(); q.Ready() != 10 || n < 500 || n > 10_000 {
		t.Errorf("%d ready, %d on their way", q.Ready(), n)
	}
}

func TestDroppedMessagesBecomeDeadLettersInOrder(t *testing.T) {
	r := startWith(t, 0)
	dead := r.queue("dead", QueueOptions{Durable: true})
	q := r.dying("q", "dead", "x-max-length", 5)
	p := r.s.NewPublisher()
	for i := 0; i < 300; i += 30 {
		r.offer(p, "", "q", numbers(i, 30)...)
	}
	r.buried()
	want(t, "left", drain(t, q), numbers(295, 5))
	g := r.get("dead")
	if got := deathsOf(t, g.Properties); string(g.Body) != "0000" || got != "q/maxlen/1 ,q; first q/maxlen ; last q/maxlen " {
		t.Errorf("%q died of %s", g.Body, got)
	}
	want(t, "dead letters", drain(t, dead), numbers(1, 294))
}

func TestOneQueueThatRefusesCostsTheOthersNothing(t *testing.T) {
	r := start(t)
	r.exchange("x", "fanout")
	full, free := r.limited("full", "x-max-length", 2, "x-overflow", "reject-publish"), r.limited("free")
	r.bind("x", "full", "")
	r.bind("x", "free", "")
	p := r.s.NewPublisher()
	if refused := r.offer(p, "x", "", numbers(0, 5)...); !slices.Equal(refused, numbers(2, 3)) {
		t.Errorf("refused %q", refused)
	}
	if _, err := p.Publish(&Inbound{Exchange: []byte("x"), Body: []byte("0005")}); err != nil {
		t.Fatal(err)
	}
	p.Store()
	kind(t, p.Commit(nil), LimitReached) // of one who does not ask
	want(t, "full", drain(t, full), numbers(0, 2))
	want(t, "free", drain(t, free), numbers(0, 6))
}

// TestRefusedMessagesBecomeDeadLetters, one queue after the other, and circles end.
func TestRefusedMessagesBecomeDeadLetters(t *testing.T) {
	r := start(t)
	r.dying("q", "next", "x-max-length", 1, "x-overflow", "reject-publish-dlx")
	next := r.dying("next", "q", "x-max-length", 1, "x-overflow", "reject-publish-dlx")
	p := r.s.NewPublisher()
	if refused := r.offer(p, "", "q", numbers(0, 4)...); !slices.Equal(refused, numbers(1, 3)) {
		t.Errorf("refused %q", refused)
	}
	g := r.get("q")
	if string(g.Body) != "0000" {
		t.Errorf("%q stayed", g.Body)
	}
	g = r.get("next")
	if got := deathsOf(t, g.Properties); string(g.Body) != "0001" || got != "q/maxlen/1 ,q; first q/maxlen ; last q/maxlen " {
		t.Errorf("%q died of %s", g.Body, got)
	}
	if n := next.Ready(); n != 0 {
		t.Errorf("%d left", n)
	}
	c := r.Counters()
	if c.DeadLettersLost[LostCycle].Load() != 2 || c.DeadLettered[LengthLimit].Load() != 3 {
		t.Errorf("%d lost in the circle, %d copied", c.DeadLettersLost[LostCycle].Load(), c.DeadLettered[LengthLimit].Load())
	}
	// A chain that is too long ends, too.
	const long = maxRefusals + 5
	for i := range long {
		r.dying(fmt.Sprint("chain", i), fmt.Sprint("chain", i+1), "x-max-length", 0, "x-overflow", "reject-publish-dlx")
	}
	r.queue(fmt.Sprint("chain", long), QueueOptions{Durable: true})
	r.offer(p, "", "chain0", "a")
	if c.DeadLettersLost[LostRefused].Load() != 1 {
		t.Errorf("%d lost in the chain", c.DeadLettersLost[LostRefused].Load())
	}
}

// TestDeadLettersThatAreRefusedAreDroppedAndTold, and kept where that is asked for.
func TestDeadLettersThatAreRefusedAreDroppedAndTold(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		dead := r.limited("dead", "x-max-length", 2, "x-overflow", "reject-publish")
		r.dying("q", "dead", "x-message-ttl", 50)
		kept := r.dying("kept", "dead", "x-message-ttl", 50, "x-queue-type", "quorum", "x-dead-letter-strategy", "at-least-once", "x-overflow", "reject-publish")
		r.put("q", 5, field.NoProperties, time.Now())
		time.Sleep(time.Second)
		c := r.Counters()
		if c.DeadLettersLost[LostRefused].Load() != 3 || c.DeadLettered[Expired].Load() != 2 || r.leftBy()[Expired] != 5 {
			t.Errorf("%d lost, %d copied, left %v", c.DeadLettersLost[LostRefused].Load(), c.DeadLettered[Expired].Load(), r.leftBy())
		}
		want(t, "dead letters", drain(t, dead), []string{"0", "1"})
		r.put("kept", 5, field.NoProperties, time.Now())
		for _, part := range [][]string{{"0", "1"}, {"2", "3"}, {"4"}} {
			time.Sleep(2 * lastRetry)
			want(t, "dead letters", drain(t, dead), part)
		}
		if c.DeadLettersLost[LostRefused].Load() != 3 || kept.Partitions()[0].lettersUnderWay() {
			t.Errorf("%d lost", c.DeadLettersLost[LostRefused].Load())
		}
	})
}

// TestKafkaProducersMeetTheLimits: the oldest go, or a batch is refused as a whole.
func TestKafkaProducersMeetTheLimits(t *testing.T) {
	r := startWith(t, 0)
	drop, refuse := r.limited("drop", "x-max-length", 3), r.limited("refuse", "x-max-length-bytes", 3, "x-overflow", "reject-publish")
	for i, b := range []struct {
		values []string
		kind   Kind
	}{{[]string{"a", "b"}, 0}, {[]string{"c", "d"}, LimitReached}, {[]string{"e"}, 0}, {[]string{""}, 0}} {
		batch := produced(-1, -1, -1, b.values...)
		if i == 1 {
			batch = compressed(t, b.values...)
		}
		if _, err := r.s.Produce(refuse.Partitions()[0], batch); KindOf(err) != b.kind {
			t.Errorf("batch %d: %v", i, err)
		}
		if _, err := r.s.Produce(drop.Partitions()[0], batch); err != nil {
			t.Errorf("batch %d: %v", i, err)
		}
	}
	want(t, "where the oldest go", drain(t, drop), []string{"d", "e", ""})
	want(t, "where batches are refused", drain(t, refuse), []string{"a", "b", "e", ""})
	q := r.limited("bytes", "x-max-length-bytes", 2)
	for _, b := range [][]byte{compressed(t, "aa", "b", "c"), produced(-1, -1, -1, "dd", "")} {
		if _, err := r.s.Produce(q.Partitions()[0], b); err != nil {
			t.Error(err)
		}
	}
	want(t, "within two bytes", drain(t, q), []string{"dd", ""})
}

// TestALimitHoldsAfterARestart: what consumers held is ready again.
func TestALimitHoldsAfterARestart(t *testing.T) {
	for name, look := range map[string]func(r *rig) int{
		"declared": func(r *rig) int {
			q, _ := r.s.LookAt("q")
			return int(q.Ready())
		},
		"consumed": func(r *rig) int { return len(pull(r.t, r.subscribe("q", SubscribeOptions{}), 100, 1<<20)) },
		"got": func(r *rig) int {
			q, _ := r.v.Queue("q")
			return len(drain(r.t, q))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := startWith(t, 0)
			r.limited("q", "x-max-length", 3)
			p := r.s.NewPublisher()
			r.offer(p, "", "q", numbers(0, 3)...)
			pull(t, r.subscribe("q", SubscribeOptions{Prefetch: 3}), 10, 1<<20)
			r.offer(p, "", "q", numbers(3, 3)...)
			r.restart()
			if n := look(r); n != 3 {
				t.Errorf("%d messages", n)
			}
		})
	}
}

// TestAQueueFarBeyondItsLimitDropsInRuns: a limit that is lowered below what is there.
func TestAQueueFarBeyondItsLimitDropsInRuns(t *testing.T) {
	for name, lower := range map[string]func(*Settings){
		"messages": func(s *Settings) { s.MaxLength = 1000 },
		"bytes":    func(s *Settings) { s.MaxLengthBytes = 4000 },
	} {
		r := startWith(t, 0)
		q := r.limited("q", "x-max-length", 1<<40)
		p := r.s.NewPublisher()
		in := Inbound{Key: []byte("q"), Body: []byte("four"), TimestampMs: 1}
		for i := range 300_000 {
			in.SameHead = i > 0
			if _, err := p.Publish(&in); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, p)
		s := *q.Settings()
		lower(&s)
		q.settings.Store(&s)
		turns := 1
		for q.Partitions()[0].trimOnce() {
			turns++
		}
		if n := q.Ready(); n != 1000 || turns > 60 {
			t.Errorf("%s: %d left after %d turns", name, n, turns)
		}
	}
}

// TestReadyBytesAreThoseOfReadyMessages whatever becomes of them, against a count of all.
func TestReadyBytesAreThoseOfReadyMessages(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			r := startWith(t, int32(seed%2*3))
			q := r.limited("q", "x-max-length-bytes", 1<<40)
			p := r.s.NewPublisher()
			part := q.Partitions()[0]
			sizes := map[message.Offset]int64{}
			held := map[message.Offset]*Lease{}
			subs := []*Subscription{r.subscribe("q", SubscribeOptions{Prefetch: 3000}), r.subscribe("q", SubscribeOptions{Prefetch: 50})}
			l := part.limiter()
			for step := range 150 {
				switch rnd.IntN(7) {
				case 0, 1:
					var bodies []string
					for range rnd.IntN(400) {
						bodies = append(bodies, strings.Repeat("x", rnd.IntN(50)))
					}
					r.offer(p, "", "q", bodies...)
				case 2, 3:
					for _, d := range pull(t, subs[rnd.IntN(2)], 1+rnd.IntN(2000), 1<<20) {
						held[d.Offset] = d.Lease
					}
				case 4, 5:
					verdict, n := rnd.IntN(3), 0
					for o, lease := range held {
						if n++; n > 60 {
							break
						}
						delete(held, o)
						var err error
						switch verdict {
						case 0:
							err = lease.Ack(o, o)
						case 1:
							err = lease.Requeue(o, o)
						default:
							err = lease.Reject(o, o)
						}
						if err != nil {
							t.Fatal(err)
						}
					}
				default:
					if rnd.IntN(10) == 0 {
						if _, err := r.s.Purge("q"); err != nil {
							t.Fatal(err)
						}
					}
				}
				c, err := part.work()
				if err != nil {
					t.Fatal(err)
				}
				var got, wanted int64
				for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // an errand may deal in between, and drop
					for l.sent.Load() {
						time.Sleep(time.Millisecond)
					}
					l.mu.Lock()
					got, err = l.bytesOf(part).count(part, c)
					l.mu.Unlock()
					if err != nil {
						t.Fatal(err)
					}
					if wanted = readyBytesOf(t, part, c, sizes); got == wanted || time.Now().After(end) {
						break
					}
				}
				if got != wanted {
					t.Fatalf("step %d: %d bytes, want %d", step, got, wanted)
				}
			}
		})
	}
}

// readyBytesOf counts anew.
func readyBytesOf(t *testing.T, p *Partition, c *consumer.Cursor, sizes map[message.Offset]int64) (sum int64) {
	t.Helper()
	_, end, err := p.log.Bounds()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.bodies(message.Offset(sizes[-1]), end, func(o message.Offset, size int64) { sizes[o] = size }); err != nil {
		t.Fatal(err)
	}
	sizes[-1] = int64(end) // from where on to read the next time
	runs := c.HoldFirst(1<<40, nil)
	for _, run := range runs {
		for o := run.First; o <= run.Last; o++ {
			sum += sizes[o]
		}
		c.Unhold(run.First, run.Last)
	}
	return sum
}

func TestALimitCostsNoAllocationAMessage(t *testing.T) {
	for _, args := range [][]any{{"x-max-length", 100}, {"x-max-length-bytes", 1200}, {"x-max-length", 100, "x-overflow", "reject-publish"}} {
		r := startWith(t, 0)
		r.limited("q", args...)
		p := r.s.NewPublisher()
		in := Inbound{Key: []byte("q"), Body: bytes.Repeat([]byte("x"), 12), TimestampMs: 1}
		allocs := alloc.Least(50, 50, func() {
			for i := range 1000 {
				in.SameHead, in.Ref = i > 0, uint64(i)
				_, _ = p.Publish(&in)
			}
			p.Store()
			p.Refused()
			_ = p.Commit(nil)
		})
		if allocs > 50 {
			t.Errorf("%v: %.1f allocations for 1000 messages", args, allocs)
		}
	}
}
