package broker

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/store"
)

// distinct makes an exchange "x" that routes each name once to a queue "q".
func (r *rig) distinct(args ...any) *Exchange {
	r.t.Helper()
	x, err := r.s.DeclareExchange("x", ExchangeOptions{Type: typeDistinct, Durable: true, Args: arguments(args...)})
	if err != nil {
		r.t.Fatal(err)
	}
	r.queue("q", QueueOptions{Durable: true})
	r.bind("x", "q", "")
	return x
}

// send publishes messages of those names to "x", in one batch, and says which were routed.
func (r *rig) sendNamed(names ...string) (routed []string) {
	r.t.Helper()
	p := r.s.NewPublisher()
	for i, name := range names {
		if r.publishNamed(p, name, uint64(i)+1) {
			routed = append(routed, name)
		}
	}
	flush(r.t, p)
	return routed
}

func (r *rig) publishNamed(p *Publisher, name string, ref uint64, more ...any) bool {
	r.t.Helper()
	in := &Inbound{Exchange: []byte("x"), Key: []byte("k"), Body: []byte(name), Properties: field.NoProperties, Persistent: true, TimestampMs: time.Now().UnixMilli(), Ref: ref}
	if name != "" {
		in.Properties = named(name, more...)
	}
	var props field.Properties
	must(r.t, props.Parse(in.Properties))
	in.Headers = props.Headers
	routed, err := p.Publish(in)
	must(r.t, err)
	return routed
}

func (r *rig) wantRouted(names []string, want ...string) {
	r.t.Helper()
	if got := r.sendNamed(names...); !slices.Equal(got, want) {
		r.t.Errorf("of %q were routed %q, want %q", names, got, want)
	}
}

func TestAnExchangeRoutesEachNameOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.distinct(argCacheSize, 100)
		r.wantRouted([]string{"a", "b", "a", "", ""}, "a", "b", "", "")
		r.wantRouted([]string{"b", "c"}, "c")
		q, _ := r.v.Queue("q")
		drain(t, q) // that it has left the queue makes no difference
		r.wantRouted([]string{"a", "c"})
		if n := r.Counters().Duplicates.Load(); n != 4 {
			t.Errorf("%d counted", n)
		}
		if n := r.Counters().Unroutable.Load(); n != 4 {
			t.Errorf("%d unroutable", n)
		}
	})
}

func TestArgumentsOfADistinctExchange(t *testing.T) {
	r := start(t)
	const size, ttl, where = "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0",
		"Invalid argument, 'x-cache-ttl' must be an integer greater than 0", "Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'"
	for i, c := range []struct {
		args []any
		want string
	}{
		{nil, size},
		{[]any{argCacheSize, 0}, size},
		{[]any{argCacheSize, -1}, size},
		{[]any{argCacheSize, "foo"}, size},
		{[]any{argCacheSize, "10x"}, size},
		{[]any{argCacheSize, true}, size},
		{[]any{argCacheSize, 1.5}, size},
		{[]any{argCacheSize, 100_000_001}, "Invalid argument, 'x-cache-size' must be at most 100000000"},
		{[]any{argCacheSize, 10, argCacheTTL, 0}, ttl},
		{[]any{argCacheSize, 10, argCacheTTL, "bar"}, ttl},
		{[]any{argCacheSize, 10, argCacheTTL, math.MaxInt64}, ttl},
		{[]any{argCacheSize, 10, argCachePersistence, "ssd"}, where},
		{[]any{argCacheSize, 10, argCachePersistence, 1}, where},
		{[]any{argCacheSize, int16(10), argCacheTTL, int16(1000), argCachePersistence, "memory"}, ""},
		{[]any{argCacheSize, "10", argCacheTTL, "1000", argCachePersistence, "disk"}, ""},
	} {
		_, err := r.s.DeclareExchange(fmt.Sprint("x", i), ExchangeOptions{Type: typeDistinct, Durable: true, Args: arguments(c.args...)})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%v: %v", c.args, err)
		case c.want != "" && (err == nil || err.Error() != c.want || KindOf(err) != Precondition):
			t.Errorf("%v: %v, want %s", c.args, err, c.want)
		}
	}
}

func TestANameIsFreeWhenItsTimeIsOver(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.distinct(argCacheSize, 100, argCacheTTL, 1000)
		send := func(name string, want bool, more ...any) {
			t.Helper()
			p := r.s.NewPublisher()
			if got := r.publishNamed(p, name, 1, more...); got != want {
				t.Errorf("%s was routed: %v", name, got)
			}
			flush(t, p)
		}
		send("a", true)
		send("b", true, headerCacheTTL, 3000)
		send("c", true, headerCacheTTL, "0")
		send("c", true, headerCacheTTL, -5)
		in(999 * time.Millisecond)
		send("a", false)
		in(time.Millisecond)
		send("a", true)
		send("b", false)
		in(2 * time.Second)
		send("b", true)
		p := r.s.NewPublisher()
		props := named("d", headerCacheTTL, "soon")
		var parsed field.Properties
		must(t, parsed.Parse(props))
		_, err := p.Publish(&Inbound{Exchange: []byte("x"), Properties: props, Headers: parsed.Headers})
		if KindOf(err) != Precondition {
			t.Errorf("a time that is none: %v", err)
		}
		send("d", true) // that took no name
	})
}

func TestNamesWhoseTimeIsOverTakeNoMemory(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.distinct(argCacheSize, 100, argCacheTTL, 1000)
		r.sendNamed(numbers(0, 50)...)
		in(time.Second)
		r.sendNamed("new")
		if x.seen.ids.n != 1 || x.seen.ring.n != 1 {
			t.Errorf("%d names, %d in the ring", x.seen.ids.n, x.seen.ring.n)
		}
	})
}

// TestNamesWhoseTimeIsOverGoThoughNoOthersCome, from memory and from the disk.
func TestNamesWhoseTimeIsOverGoThoughNoOthersCome(t *testing.T) {
	for _, args := range [][]any{nil, {argCachePersistence, "memory"}} {
		bubble(t, func(t *testing.T, r *rig) {
			x := r.distinct(append([]any{argCacheSize, 100_000, argCacheTTL, 10_000}, args...)...)
			r.sendNamed(numbers(0, 3*noteNames)...)
			time.Sleep(5 * time.Second)
			r.sendNamed(numbers(3*noteNames, 10)...)
			look := func() (names, ring int, listed bool) {
				x.seen.mu.Lock()
				defer x.seen.mu.Unlock()
				return x.seen.ids.n, x.seen.ring.n, x.seen.listed
			}
			time.Sleep(7 * time.Second)
			if names, ring, listed := look(); names != 10 || ring != 10 || !listed {
				t.Errorf("%d names, %d in the ring, listed %v", names, ring, listed)
			}
			if x.seen.log != nil {
				st, err := x.seen.log.log.LoadCursor(t.Context())
				if must(t, err); st.Floor != 3*noteNames {
					t.Errorf("floor %d", st.Floor)
				}
			}
			time.Sleep(5 * time.Second)
			if names, ring, listed := look(); names != 0 || ring != 0 || listed {
				t.Errorf("in the end %d names, %d in the ring, listed %v", names, ring, listed)
			}
			r.wantRouted([]string{"5"}, "5")
		})
	}
}

func TestADeletedExchangeIsNotLookedAfter(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.distinct(argCacheSize, 100, argCacheTTL, 1_000_000, argCachePersistence, "memory")
		r.sendNamed("a")
		must(t, r.s.DeleteExchange("x", false))
		time.Sleep(2 * time.Second)
		r.v.b.tidying.mu.Lock()
		defer r.v.b.tidying.mu.Unlock()
		if n := len(r.v.b.tidying.list); n != 0 {
			t.Errorf("%d are looked after", n)
		}
	})
}

func TestTheOldestNamesAreForgottenFirst(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.distinct(argCacheSize, 2)
		r.wantRouted([]string{"this"}, "this")
		r.wantRouted([]string{"that"}, "that")
		r.wantRouted([]string{"this"})
		r.wantRouted([]string{"other"}, "other")
		r.wantRouted([]string{"that", "other"})
		r.wantRouted([]string{"this"}, "this")
		for i := range 5000 {
			r.sendNamed(fmt.Sprint(i))
		}
		if x.seen.ids.n != 2 || x.seen.ring.n != 2 || len(x.seen.ring.pieces) > 2 {
			t.Errorf("%d names, %d in %d pieces", x.seen.ids.n, x.seen.ring.n, len(x.seen.ring.pieces))
		}
	})
}

// What was confirmed is not forgotten by a start, nor by a kill.
func TestAnExchangeRemembersItsNamesAfterAStart(t *testing.T) {
	for name, restart := range map[string]func(*rig){"clean": (*rig).restart, "after a kill": (*rig).kill} {
		for _, c := range []struct {
			args      []any
			remembers bool
		}{
			{[]any{argCacheSize, 3}, true},
			{[]any{argCacheSize, 3, argCachePersistence, "disk"}, true},
			{[]any{argCacheSize, 3, argCachePersistence, "memory"}, false},
		} {
			t.Run(fmt.Sprint(name, c.args), func(t *testing.T) {
				r := start(t)
				r.distinct(c.args...)
				r.wantRouted([]string{"1", "2", "3"}, "1", "2", "3")
				r.wantRouted([]string{"4"}, "4")
				restart(r)
				if !c.remembers {
					r.wantRouted([]string{"2", "4"}, "2", "4")
					return
				}
				r.wantRouted([]string{"2", "3", "4"})
				r.wantRouted([]string{"1"}, "1")
				r.wantRouted([]string{"2"}, "2")
			})
		}
	}
}

func TestWhatIsForgottenGoesFromTheDisk(t *testing.T) {
	r := startWith(t, 0)
	x := r.distinct(argCacheSize, 10)
	for range 3 {
		for i := range noteNames {
			p := r.s.NewPublisher()
			r.publishNamed(p, fmt.Sprint(i), 0)
			r.publishNamed(p, fmt.Sprint("and ", i), 0)
			flush(t, p)
		}
	}
	st, err := x.seen.log.log.LoadCursor(t.Context())
	must(t, err)
	if _, end, _ := x.seen.log.log.Bounds(); end-st.Floor > 2*noteNames || end != 6*noteNames {
		t.Errorf("floor %d of %d", st.Floor, end)
	}
	if f := x.seen.log.log.Figures(); f.Segments > 4 || f.Bytes > 300<<10 {
		t.Errorf("%d bytes in %d segments for 10 names", f.Bytes, f.Segments)
	}
	r.restart()
	x, err = r.v.Exchange("x")
	must(t, err)
	r.wantRouted([]string{"and 1023"})
	if x.seen.ring.n != 10 {
		t.Errorf("%d names after a start", x.seen.ring.n)
	}
}

func TestAMessageThatGoesNowhereLeavesItsNameFree(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.distinct(argCacheSize, 10)
		if err := r.s.Unbind(Binding{Source: "x", Dest: "q"}); err != nil {
			t.Fatal(err)
		}
		r.wantRouted([]string{"a"})
		r.bind("x", "q", "")
		r.wantRouted([]string{"a"}, "a")
		if x.seen.ids.n != 1 {
			t.Errorf("%d names", x.seen.ids.n)
		}
	})
}

func TestDuplicatesGoToTheAlternateExchange(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.exchange("others", "fanout")
		r.distinct(argCacheSize, 10, argAlternate, "others")
		r.queue("rest", QueueOptions{Durable: true})
		r.bind("others", "rest", "")
		r.wantRouted([]string{"a", "a"}, "a", "a")
		if q, rest := r.queueReady("q"), r.queueReady("rest"); q != 1 || rest != 1 {
			t.Errorf("%d in the queue, %d in the other", q, rest)
		}
	})
}

func TestABoundExchangeRoutesEachNameOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.distinct(argCacheSize, 10)
		r.exchange("outer", "topic")
		if err := r.s.Bind(Binding{Source: "outer", Dest: "x", Key: "#", ToExchange: true}); err != nil {
			t.Fatal(err)
		}
		r.named(r.s.NewPublisher(), "outer", "k", "a", "a", "b")
		r.wantRouted([]string{"a", "c"}, "c")
		if n := r.queueReady("q"); n != 3 {
			t.Errorf("%d ready", n)
		}
	})
}

// A message that is not stored, or is refused, can be published again; one whose transaction is
// rolled back, too.
func TestNamesAreTakenWithTheirMessages(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.distinct(argCacheSize, 10)
			if _, err := r.s.DeleteQueue("q", false, false); err != nil {
				t.Fatal(err)
			}
			r.limited("q", "x-max-length", 1, "x-overflow", "reject-publish")
			r.bind("x", "q", "")
			if refused := r.named(r.s.NewPublisher(), "x", "", "a", "b"); !slices.Equal(refused, []string{"b"}) {
				t.Fatalf("refused %q", refused)
			}
			r.get("q")
			r.wantRouted([]string{"a", "b"}, "b")
		})
	})
	t.Run("not stored", func(t *testing.T) {
		r, st := startFaulty(t)
		r.distinct(argCacheSize, 10)
		q, _ := r.v.Queue("q")
		st.fail(q.Partitions()[0].log.ID(), store.ErrFull)
		p := r.s.NewPublisher()
		r.publishNamed(p, "a", 1)
		p.Store()
		if err := p.Commit(nil); err == nil {
			t.Fatal("it was stored")
		}
		st.fail(q.Partitions()[0].log.ID(), nil)
		r.wantRouted([]string{"a"}, "a")
	})
	t.Run("not durable", func(t *testing.T) {
		r, st := startFaulty(t)
		r.distinct(argCacheSize, 10)
		st.failFlush(errors.New("the disk is gone"))
		p := r.s.NewPublisher()
		r.publishNamed(p, "a", 1)
		p.Store()
		done := make(chan error, 1)
		_ = p.Commit(func(err error) { done <- err })
		if err := <-done; err == nil {
			t.Fatal("it was durable")
		}
		st.failFlush(nil)
		r.wantRouted([]string{"a"}, "a")
	})
	t.Run("its name can't be written", func(t *testing.T) {
		r, st := startFaulty(t)
		x := r.distinct(argCacheSize, 10)
		st.fail(x.seen.log.log.ID(), store.ErrFull)
		p := r.s.NewPublisher()
		r.publishNamed(p, "a", 1)
		p.Store()
		done := make(chan error, 1)
		_ = p.Commit(func(err error) { done <- err })
		if err := <-done; err == nil {
			t.Fatal("it was confirmed")
		}
		st.fail(x.seen.log.log.ID(), nil)
		r.wantRouted([]string{"a"}, "a")
	})
	t.Run("rolled back", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.distinct(argCacheSize, 10)
			tx := r.s.NewTransaction()
			if !r.publishNamed(tx, "a", 1) || r.publishNamed(tx, "a", 2) {
				t.Fatal("in a transaction")
			}
			tx.Discard()
			r.wantRouted([]string{"a"}, "a")
			r.publishNamed(tx, "b", 1)
			flush(t, tx)
			r.wantRouted([]string{"b"})
		})
	})
	t.Run("abandoned", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.distinct(argCacheSize, 10)
			p := r.s.NewPublisher()
			r.publishNamed(p, "a", 1)
			p.Abandon()
			r.wantRouted([]string{"a"}, "a")
		})
	})
}

// A duplicate of what is under way is confirmed with it, and fails with it.
func TestADuplicateIsConfirmedWithWhatItIsOneOf(t *testing.T) {
	for name, fails := range map[string]bool{"stored": false, "not stored": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.distinct(argCacheSize, 10)
				first, second := r.s.NewPublisher(), r.s.NewPublisher()
				r.publishNamed(first, "a", 1)
				if r.publishNamed(second, "a", 1) {
					t.Fatal("a duplicate was routed")
				}
				second.Store()
				done := make(chan error, 1)
				must(t, second.Commit(func(err error) { done <- err }))
				in(time.Second)
				if len(done) > 0 {
					t.Fatal("it was confirmed before the other was stored")
				}
				if fails {
					first.Abandon()
				} else {
					flush(t, first)
				}
				in(0)
				if err := <-done; (err != nil) != fails {
					t.Errorf("confirmed with %v", err)
				}
			})
		})
	}
}

// Two that wait for each other are both confirmed.
func TestPublishersWaitForEachOthersNames(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.distinct(argCacheSize, 10)
		p, o := r.s.NewPublisher(), r.s.NewPublisher()
		r.publishNamed(p, "a", 1)
		r.publishNamed(o, "b", 1)
		r.publishNamed(p, "b", 2)
		r.publishNamed(o, "a", 2)
		done := make(chan error, 2)
		for _, p := range []*Publisher{p, o} {
			p.Store()
			must(t, p.Commit(func(err error) { done <- err }))
		}
		must(t, <-done)
		must(t, <-done)
	})
}

// Dead letters are messages like others; one that would go round in a circle leaves its name free.
func TestAnExchangeRoutesDeadLettersOfEachNameOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.distinct(argCacheSize, 10)
		r.limited("source", "x-dead-letter-exchange", "x")
		r.named(r.s.NewPublisher(), "", "source", "a", "b", "a")
		for range 3 {
			g := r.hold("source")
			must(t, g.Lease.Reject(g.Offset, g.Offset))
		}
		r.buried()
		if n := r.queueReady("q"); n != 2 {
			t.Errorf("%d dead letters", n)
		}
		r.limited("round", "x-dead-letter-exchange", "x", "x-message-ttl", 100)
		must(t, r.s.Unbind(Binding{Source: "x", Dest: "q"}))
		r.bind("x", "round", "")
		r.named(r.s.NewPublisher(), "", "round", "c")
		in(time.Second)
		r.buried()
		if x.seen.ids.n != 2 || r.queueReady("round") != 0 {
			t.Errorf("%d names, %d ready", x.seen.ids.n, r.queueReady("round"))
		}
	})
}

// An exchange that is deleted takes its names with it.
func TestADeletedExchangeForgets(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.distinct(argCacheSize, 10)
		r.wantRouted([]string{"a"}, "a")
		must(t, r.s.DeleteExchange("x", false))
		in(time.Second)
		r.distinct(argCacheSize, 10)
		r.wantRouted([]string{"a"}, "a")
		r.restart()
		r.wantRouted([]string{"a"})
	})
}

// When definitions are lost, no queue is made of names.
func TestNoQueueIsMadeOfNames(t *testing.T) {
	if name := (seenLog{"my host", "my exchange"}).LogName(); strings.Contains(name, " ") {
		t.Errorf("%q is read as that of a queue", name)
	}
}

func TestTheFormatOfNamesIsKept(t *testing.T) {
	id, ok := idOf(arguments(headerDuplicate, "order-17"))
	if !ok {
		t.Fatal("no name")
	}
	got := hex.EncodeToString(appendSeen(nil, id, 1_700_000_000_000)) + "\n" + hex.EncodeToString(appendSeen(nil, id, never)) + "\n"
	path := filepath.Join("testdata", "seen-v1.hex")
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got != string(want) {
		t.Errorf("a name is written as\n%swant\n%s", got, want)
	}
	for _, line := range strings.Fields(string(want)) {
		value, err := hex.DecodeString(line)
		must(t, err)
		if read, freeMs, err := decodeSeen(value); err != nil || read != id || freeMs != 1_700_000_000_000 && freeMs != never {
			t.Errorf("%s is read as %x, %d: %v", line, read, freeMs, err)
		}
	}
}

func TestDamagedNamesAreTold(t *testing.T) {
	good := appendSeen(nil, messageID{1}, 5)
	for name, value := range map[string][]byte{
		"empty": {}, "short": good[:24], "long": append(slices.Clone(good), 0), "version 0": append([]byte{0}, good[1:]...),
		"a time before 1970": append(slices.Clone(good[:24]), 0x80),
	} {
		if _, _, err := decodeSeen(value); !errors.Is(err, errSeen) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := decodeSeen(append([]byte{2}, good[1:]...)); err == nil || errors.Is(err, errSeen) {
		t.Errorf("a newer version: %v", err)
	}
}

func FuzzDecodeSeen(f *testing.F) {
	f.Add(appendSeen(nil, messageID{1}, 5))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, value []byte) {
		id, freeMs, err := decodeSeen(value)
		if err == nil && string(appendSeen(nil, id, freeMs)) != string(value) {
			t.Errorf("%x is not what it was read from", value)
		}
	})
}
