package broker

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/store"
)

// named are properties of a message that has that name.
func named(name any, more ...any) []byte {
	p := field.Properties{Flags: field.FlagHeaders, Headers: arguments(append([]any{headerDuplicate, name}, more...)...)}
	return p.Append(nil)
}

// named publishes messages in one batch, one of each name; "" is no name. It returns those that were refused.
func (r *rig) named(p *Publisher, exchange, key string, names ...string) (refused []string) {
	r.t.Helper()
	return r.offerEach(p, exchange, key, names, func(in *Inbound) {
		in.Properties, in.Persistent = field.NoProperties, true
		if len(in.Body) > 0 {
			in.Properties = named(string(in.Body))
		}
		var props field.Properties
		must(r.t, props.Parse(in.Properties))
		in.Headers = props.Headers
	})
}

// refuses publishes to "q", which is to refuse some of it.
func (r *rig) refuses(names []string, want ...string) {
	r.t.Helper()
	if got := r.named(r.s.NewPublisher(), "", "q", names...); !slices.Equal(got, want) {
		r.t.Errorf("of %q were refused %q, want %q", names, got, want)
	}
}

func TestAQueueTakesNoNameThatItHas(t *testing.T) {
	for name, args := range map[string][]any{
		"classic":     nil,
		"quorum":      {"x-queue-type", "quorum"},
		"drop-head":   {"x-max-length", 100},
		"reject":      {"x-max-length", 100, "x-overflow", "reject-publish"},
		"by priority": {"x-max-priority", 3},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.limited("q", append(args, argDistinct, true)...)
				r.refuses([]string{"a", "b", "", "a", "", "c", "b"}, "a", "b")
				r.refuses([]string{"c", "d", ""}, "c")
				if n := r.Counters().Duplicates.Load(); n != 3 {
					t.Errorf("%d counted", n)
				}
				held := r.hold("q")
				if string(held.Body) != "a" {
					t.Fatalf("%q came first", held.Body)
				}
				r.refuses([]string{"a"}, "a") // it is in the queue while somebody holds it
				must(t, held.Lease.Requeue(held.Offset, held.Offset))
				r.refuses([]string{"a"}, "a")
				held = r.hold("q")
				must(t, held.Lease.Ack(held.Offset, held.Offset))
				r.refuses([]string{"a", "b"}, "b")
				r.get("q") // b, without an ack
				r.refuses([]string{"b", "d"}, "d")
				if _, err := r.s.Purge("q"); err != nil {
					t.Fatal(err)
				}
				r.refuses([]string{"a", "b", "c", "d", "d"}, "d")
			})
		})
	}
}

// What waits for a retry, and what is a dead letter that is not copied yet, is in the queue.
func TestANameIsTakenUntilItsMessageLeft(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.retrying("all", 1000, 1000, argDistinct, true)
		r.refuses([]string{"a", "b"})
		g := r.hold("q")
		must(t, g.Lease.Requeue(g.Offset, g.Offset))
		r.refuses([]string{"a"}, "a")
		g = r.hold("q")
		must(t, g.Lease.Reject(g.Offset, g.Offset))
		r.refuses([]string{"b"})
	})
}

func TestNamesEndWithTheirTime(t *testing.T) {
	for name, c := range map[string]struct {
		args  []any
		props []any
		ends  bool
	}{
		"the queue's time to live": {[]any{"x-message-ttl", 1000}, nil, true},
		"the cache's":              {[]any{"x-cache-ttl", 1000}, nil, true},
		"none":                     {nil, nil, false},
		"a longer one":             {[]any{"x-cache-ttl", 5000}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.limited("q", append(c.args, argDistinct, true)...)
				r.refuses([]string{"a"})
				r.hold("q") // which keeps it from expiring
				in(999 * time.Millisecond)
				r.refuses([]string{"a"}, "a")
				in(2 * time.Millisecond)
				if c.ends {
					r.refuses([]string{"a"})
				} else {
					r.refuses([]string{"a"}, "a")
				}
			})
		})
	}
}

func TestAQueueThatTakesNoNameTwiceKeepsItsLimits(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.limited("q", argDistinct, true, "x-max-length", 2, "x-overflow", "reject-publish")
		r.refuses([]string{"a", "a", "b", "c", "c"}, "a", "c", "c")
		r.get("q")
		r.refuses([]string{"c", "d"}, "d") // c was never in it
		if ready := r.queueReady("q"); ready != 2 {
			t.Errorf("%d ready", ready)
		}
	})
	bubble(t, func(t *testing.T, r *rig) {
		r.limited("q", argDistinct, true, "x-max-length", 1)
		r.refuses([]string{"this"})
		r.refuses([]string{"that"})
		r.refuses([]string{"this"}) // the first was dropped
	})
}

func (r *rig) queueReady(name string) int64 {
	q, err := r.v.Queue(name)
	must(r.t, err)
	return q.Ready()
}

// Each name stands for its own message, whatever was refused before it in the batch, and
// whichever priority it has.
func TestANameIsThatOfItsMessage(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.limited("q", argDistinct, true, "x-max-length", 2, "x-overflow", "reject-publish")
		r.refuses([]string{"a", "a", "b", "c"}, "a", "c")
		held := r.hold("q")
		if g := r.get("q"); string(g.Body) != "b" {
			t.Fatalf("%q", g.Body)
		}
		r.refuses([]string{"b", "a"}, "a")
		must(t, held.Lease.Ack(held.Offset, held.Offset))
		r.refuses([]string{"a"})
	})
	bubble(t, func(t *testing.T, r *rig) {
		r.limited("q", argDistinct, true, "x-max-priority", 2)
		p := r.s.NewPublisher()
		send := func() (refused int) {
			props := field.Properties{Flags: field.FlagHeaders | field.FlagPriority, Headers: arguments(headerDuplicate, "a"), Priority: 2}
			if _, err := p.Publish(&Inbound{Key: []byte("q"), Properties: props.Append(nil), Headers: props.Headers, TimestampMs: time.Now().UnixMilli()}); err != nil {
				t.Fatal(err)
			}
			p.Store()
			refused = len(p.Refused())
			flush(t, p)
			return refused
		}
		if send() != 0 || send() != 1 {
			t.Error("a name was not refused the second time, or the first")
		}
		r.get("q")
		if send() != 0 {
			t.Error("a name was refused whose message left")
		}
	})
}

// What is refused is a dead letter, as RabbitMQ makes it one; what there is no room for is not, unless the queue
// does that.
func TestDuplicatesAreDeadLetters(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("dead", QueueOptions{Durable: true})
		r.limited("q", argDistinct, true, "x-max-length", 2, "x-overflow", "reject-publish", "x-dead-letter-exchange", "", "x-dead-letter-routing-key", "dead")
		r.refuses([]string{"a", "a", "b", "c"}, "a", "c")
		r.buried()
		if n := r.queueReady("dead"); n != 1 {
			t.Fatalf("%d dead letters", n)
		}
		if g := r.get("dead"); string(g.Body) != "a" {
			t.Errorf("%q is one", g.Body)
		}
	})
}

// After a start, and after a kill, a queue knows what is left in it.
func TestAQueueKnowsItsNamesAfterAStart(t *testing.T) {
	for name, restart := range map[string]func(*rig){"clean": (*rig).restart, "after a kill": (*rig).kill} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.limited("q", argDistinct, true, "x-max-priority", 2)
			r.refuses([]string{"a", "b", "c"})
			r.get("q")
			held := r.hold("q")
			must(t, held.Lease.Ack(held.Offset, held.Offset))
			restart(r)
			r.refuses([]string{"c", "a", "b", "b"}, "c", "b")
		})
	}
}

// A batch that is not stored leaves no names behind.
func TestNamesOfWhatIsNotStoredAreFree(t *testing.T) {
	r, st := startFaulty(t)
	r.limited("q", argDistinct, true)
	r.refuses([]string{"a"})
	q, err := r.v.Queue("q")
	must(t, err)
	id := q.Partitions()[0].log.ID()
	st.fail(id, store.ErrFull)
	p := r.s.NewPublisher()
	in := &Inbound{Key: []byte("q"), Properties: named("b"), Body: []byte("b"), Persistent: true}
	if _, err := p.Publish(in); err != nil {
		t.Fatal(err)
	}
	p.Store()
	if err := p.Commit(nil); err == nil {
		t.Fatal("a failing disk took it")
	}
	st.fail(id, nil)
	r.refuses([]string{"b", "a"}, "a")
}

func TestWhichNamesAreEqual(t *testing.T) {
	id := func(name any) messageID {
		id, ok := idOf(arguments(headerDuplicate, name))
		if !ok {
			t.Fatal(name)
		}
		return id
	}
	groups := [][]any{
		{42, byte(42), int16(42), int32(42)},
		{"42", []byte("42")},
		{4.25, float32(4.25)},
		{42.0}, {math.Float64frombits(42)},
		{true}, {false}, {nil}, {""}, {"i"}, {0}, {math.MinInt64},
	}
	for i, a := range groups {
		for j, b := range groups {
			for _, x := range a {
				for _, y := range b {
					if (id(x) == id(y)) != (i == j) {
						t.Errorf("%T %v and %T %v: equal %v", x, x, y, y, id(x) == id(y))
					}
				}
			}
		}
	}
	if _, ok := idOf(arguments("other", 1)); ok {
		t.Error("a message without a name has one")
	}
}

// Names of messages that left do not pile up, and there are never more than the queue is to remember.
func TestNamesTakeMemoryForWhatIsThere(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.limited("q", argDistinct, true)
		for i := range 2000 {
			r.refuses([]string{fmt.Sprint(i)})
			r.get("q")
		}
		if n := q.Partitions()[0].turns().names.seen.n; n > 50 {
			t.Errorf("%d names of an empty queue", n)
		}
	})
	bubble(t, func(t *testing.T, r *rig) {
		q := r.limited("q", argDistinct, true, argCacheSize, 10)
		r.refuses(numbers(0, 50))
		if n := q.Partitions()[0].turns().names.seen.n; n != 10 {
			t.Errorf("%d names, want 10", n)
		}
		if r.restart(); r.queueReady("q") != 50 {
			t.Fatal("messages are missing")
		}
		r.refuses(nil)
		r.refuses([]string{"new"})
		q, _ = r.v.Queue("q")
		if n := q.Partitions()[0].turns().names.seen.n; n != 10 {
			t.Errorf("%d names after a start, want 10", n)
		}
	})
}

// Names that were many make room for a few, whoever publishes.
func TestNamesThatWereManyCostNothingLater(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.limited("q", argDistinct, true)
		r.refuses(numbers(0, 4*fewNames))
		d := &q.Partitions()[0].turns().names
		if n := d.seen.n; n != 4*fewNames || len(d.seen.shards) != nameShards {
			t.Fatalf("%d names in %d maps, want %d", n, len(d.seen.shards), 4*fewNames)
		}
		var kept []string
		for round := range 40 {
			if _, err := r.s.Purge("q"); err != nil {
				t.Fatal(err)
			}
			kept = numbers(4*fewNames+100*round, 100)
			r.refuses(kept)
		}
		peak := 0
		for _, s := range d.seen.shards {
			peak += s.peak
		}
		if peak > 4*fewNames && d.seen.n > 8*len(kept) {
			t.Errorf("there is room for %d names, and there are %d", peak, d.seen.n)
		}
		r.refuses(kept, kept...)
	})
}

// TestNamesGoWithTheirMessages, or when their time is over, though nobody publishes any more.
func TestNamesGoWithTheirMessages(t *testing.T) {
	const all, left = 20 * fewNames, 2 * fewNames
	for what, c := range map[string]struct {
		args  []any
		leave func(t *testing.T, r *rig)
		rest  int
	}{
		"taken": {nil, func(t *testing.T, r *rig) {
			for range all - left {
				r.get("q")
			}
		}, left},
		"time over": {[]any{argCacheTTL, 40_000}, func(*testing.T, *rig) { time.Sleep(40 * time.Second) }, 0},
		"none":      {nil, func(*testing.T, *rig) {}, all},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				q := r.limited("q", append([]any{argDistinct, true}, c.args...)...)
				r.refuses(numbers(0, all))
				c.leave(t, r)
				time.Sleep(2 * restNames)
				l := q.Partitions()[0].turns()
				l.mu.Lock()
				n, rests := l.names.seen.n, l.names.rest
				l.mu.Unlock()
				if n > max(c.rest, fewNames) || n < c.rest {
					t.Errorf("%d names are left of %d messages", n, c.rest)
				}
				if c.rest > fewNames && rests.Before(time.Now().Add(-time.Second)) {
					t.Error("names that stay are looked through all the time")
				}
				if c.rest > 0 {
					r.refuses([]string{fmt.Sprint(all - 1)}, fmt.Sprint(all-1))
				} else {
					r.refuses([]string{fmt.Sprint(all - 1)})
				}
				r.v.b.tidying.mu.Lock()
				defer r.v.b.tidying.mu.Unlock()
				if listed := len(r.v.b.tidying.list); listed != min(c.rest/fewNames, 1) {
					t.Errorf("%d are looked after", listed)
				}
			})
		})
	}
}

func TestAQueueThatRemembersFewNames(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for most := 1; most <= 5; most++ {
			name := fmt.Sprint("q", most)
			q := r.limited(name, argDistinct, true, argCacheSize, most)
			r.named(r.s.NewPublisher(), "", name, numbers(0, 20)...)
			if n := q.Partitions()[0].turns().names.seen.n; n != most {
				t.Errorf("%d names, want %d", n, most)
			}
		}
	})
}
