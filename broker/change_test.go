package broker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// frozenRig is a broker whose disk stops answering on demand.
type frozenRig struct {
	t    *testing.T
	mem  *fs.Mem
	disk *fs.Freezer
	st   *local.Store
	b    *Broker
	s    *Session
}

func startFrozen(t *testing.T, mem *fs.Mem) *frozenRig {
	t.Helper()
	r := &frozenRig{t: t, mem: mem, disk: fs.NewFreezer()}
	var err error
	if r.st, err = local.Open(local.Options{Dir: "data", FS: fs.Failing(mem, r.disk.Hook), Mode: store.ModeGroup}); err != nil {
		t.Fatal(err)
	}
	if r.b, err = Open(r.st, Options{}); err != nil {
		t.Fatal(err)
	}
	v, _ := r.b.VHost("/")
	r.s = v.NewSession(auth.Identity{Name: "guest"})
	if _, err := r.b.store.NewLogs(t.Context(), store.LogOptions{}, nil, 1); err != nil { // so that no declare has to reserve ids
		t.Fatal(err)
	}
	return r
}

func (r *frozenRig) close() {
	r.disk.Thaw()
	if err := errors.Join(r.b.Close(), r.st.Close()); err != nil {
		r.t.Error(err)
	}
}

// freezeDefs has the flush of the definitions wait.
func (r *frozenRig) freezeDefs() {
	r.disk.Freeze(func(op fs.Op, name string) bool {
		return op == fs.OpSync && strings.HasSuffix(filepath.Dir(name), "defs")
	})
}

// begin does something on a goroutine, and fails when that does not wait.
func begin[T any](t *testing.T, do func() (T, error)) (wait func() (T, error)) {
	t.Helper()
	done := make(chan struct{})
	var got T
	var err error
	go func() {
		defer close(done)
		got, err = do()
	}()
	synctest.Wait()
	select {
	case <-done:
		t.Fatalf("it did not wait: %v, %v", got, err)
	default:
	}
	return func() (T, error) {
		<-done
		return got, err
	}
}

var durable = QueueOptions{Durable: true}

func TestAFlushOfDefinitionsHoldsUpNobodyElse(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := startFrozen(t, fs.NewMem(1))
		defer r.close()
		if _, err := r.s.DeclareQueue("there", durable); err != nil {
			t.Fatal(err)
		}
		r.freezeDefs()
		wait := begin(t, func() (*Queue, error) { return r.s.DeclareQueue("q", durable) })
		// A call that waited for a lock would hang: the bubble deadlocks.
		if _, err := r.s.Queue(Look, "q"); KindOf(err) != NotFound {
			t.Errorf("a queue that is not written yet is seen: %v", err)
		}
		if _, err := r.s.DeclareQueue("there", durable); err != nil {
			t.Error(err)
		}
		if q, err := r.s.DeclareQueue("", QueueOptions{Exclusive: true}); err != nil {
			t.Error(err)
		} else if err := r.s.Bind(Binding{Source: "amq.fanout", Dest: q.Name}); err != nil {
			t.Error(err)
		} else if _, err := r.s.DeleteQueue(q.Name, false, false); err != nil {
			t.Error(err)
		}
		r.s.vhost.LikeTopic("t.t")
		r.s.vhost.Bindings(r.s.vhost.Exchanges()[0])
		r.disk.Thaw()
		if q, err := wait(); err != nil || q.Name != "q" {
			t.Fatal(q, err)
		}
	})
}

// TestChangesOfOneNameFollowEachOther begins one change, holds its flush, and then
// begins another that has to do with it: that one sees what became of the first.
func TestChangesOfOneNameFollowEachOther(t *testing.T) {
	type step func(s *Session) error
	declare := func(name string, o QueueOptions) step {
		return func(s *Session) error { _, err := s.DeclareQueue(name, o); return err }
	}
	declareX := func(kind string) step {
		return func(s *Session) error {
			_, err := s.DeclareExchange("x", ExchangeOptions{Type: kind, Durable: true})
			return err
		}
	}
	feed := func(s *Session) error {
		_, err := s.DeclareExchange("x", ExchangeOptions{Type: "fanout", Durable: true, Args: feedArgs("q")})
		return err
	}
	topicStep := func(name string) step {
		return func(s *Session) error { _, err := s.CreateTopic(name, 1, nil); return err }
	}
	remove := func(name string) step {
		return func(s *Session) error { _, err := s.DeleteQueue(name, false, false); return err }
	}
	removeX := func(s *Session) error { return s.DeleteExchange("x", false) }
	bind := func(s *Session) error { return s.Bind(Binding{Source: "x", Dest: "q", Key: "k"}) }
	unbind := func(s *Session) error { return s.Unbind(Binding{Source: "x", Dest: "q", Key: "k"}) }
	for _, tc := range []struct {
		name          string
		given         []step
		first, second step
		want          Kind // of the second's error
	}{
		{"declare, the same", nil, declare("q", durable), declare("q", durable), 0},
		{"declare, another", nil, declare("q", durable), declare("q", QueueOptions{}), Precondition},
		{"declare, a topic of the name", nil, declare("q", durable), topicStep("q"), Exists},
		{"a topic, one like it", nil, topicStep("a.b"), topicStep("a_b"), Collides},
		{"declare, an exchange that feeds it", nil, declare("q", durable), feed, Precondition},
		{"an exchange that feeds it, declare", nil, feed, declare("q", durable), Precondition},
		{"declare an exchange, another", nil, declareX("fanout"), declareX("topic"), Precondition},
		{"delete, declare", []step{declare("q", durable)}, remove("q"), declare("q", QueueOptions{}), 0},
		{"delete, delete", []step{declare("q", durable)}, remove("q"), remove("q"), 0},
		{"delete, bind", []step{declareX("fanout"), declare("q", durable)}, remove("q"), bind, NotFound},
		{"delete the exchange, bind", []step{declareX("fanout"), declare("q", durable)}, removeX, bind, NotFound},
		{"bind, delete", []step{declareX("fanout"), declare("q", durable)}, bind, remove("q"), 0},
		{"bind, delete the exchange", []step{declareX("fanout"), declare("q", durable)}, bind, removeX, 0},
		{"bind, bind", []step{declareX("fanout"), declare("q", durable)}, bind, bind, 0},
		{"bind, unbind", []step{declareX("fanout"), declare("q", durable)}, bind, unbind, 0},
		{"unbind, bind", []step{declareX("fanout"), declare("q", durable), bind}, unbind, bind, 0},
		{"unbind, delete", []step{declareX("fanout"), declare("q", durable), bind}, unbind, remove("q"), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				r := startFrozen(t, fs.NewMem(1))
				defer func() { r.close() }()
				for _, do := range tc.given {
					if err := do(r.s); err != nil {
						t.Fatal(err)
					}
				}
				r.freezeDefs()
				first := begin(t, func() (int, error) { return 0, tc.first(r.s) })
				second := begin(t, func() (int, error) { return 0, tc.second(r.s) })
				r.disk.Thaw()
				if _, err := first(); err != nil {
					t.Fatal(err)
				}
				if _, err := second(); KindOf(err) != tc.want {
					t.Fatalf("%v, want kind %d", err, tc.want)
				}
				before := topologyOf(r.s.vhost)
				r.close()
				mem := r.mem
				r = startFrozen(t, mem)
				if after := topologyOf(r.s.vhost); after != before {
					t.Errorf("after a restart\n%s, before\n%s", after, before)
				}
			})
		})
	}
}

// feedArgs are the arguments of an exchange with a Kafka topic.
func feedArgs(topic string) []byte {
	name := "x-kafka-topic"
	out := append([]byte{byte(len(name))}, name...)
	return append(append(out, 'S', 0, 0, 0, byte(len(topic))), topic...)
}

// topologyOf is what is defined durably, in words.
func topologyOf(v *VHost) string {
	var lines []string
	for _, q := range v.Queues() {
		if q.lives() {
			lines = append(lines, fmt.Sprint("queue ", q.Name, " ", q.Topic, " ", len(q.Partitions())))
		}
	}
	for _, x := range v.Exchanges() {
		if !x.predeclared {
			lines = append(lines, fmt.Sprint("exchange ", x.Name, " ", x.Type))
		}
		for _, b := range v.Bindings(x) {
			if q, err := v.Queue(b.Dest); err == nil && q.lives() {
				lines = append(lines, fmt.Sprint("binding ", b.Source, " ", b.Dest, " ", b.Key))
			}
		}
	}
	return sortedLines(lines)
}

// TestWhoWantsANameAloneIsNotKeptWaiting: while a deletion waits for a binding under
// way, no further binding joins that one.
func TestWhoWantsANameAloneIsNotKeptWaiting(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := startFrozen(t, fs.NewMem(1))
		defer r.close()
		if _, err := r.s.DeclareQueue("q", durable); err != nil {
			t.Fatal(err)
		}
		bind := func(key string) func() (int, error) {
			return begin(t, func() (int, error) { return 0, r.s.Bind(Binding{Source: "amq.topic", Dest: "q", Key: key}) })
		}
		r.freezeDefs()
		first := bind("first")
		remove := begin(t, func() (int64, error) { return r.s.DeleteQueue("q", false, false) })
		second := bind("second")
		v := r.s.vhost
		v.mu.Lock()
		if n := v.claims[queueClaim("q")].along; n != 1 {
			t.Errorf("%d changes hold the queue along, want the first alone", n)
		}
		v.mu.Unlock()
		r.disk.Thaw()
		if _, err := first(); err != nil {
			t.Error(err)
		}
		if _, err := remove(); err != nil {
			t.Error(err)
		}
		if _, err := second(); err != nil && KindOf(err) != NotFound {
			t.Error(err)
		}
		if len(v.claims) != 0 {
			t.Errorf("%d names are still claimed", len(v.claims))
		}
	})
}

func TestAFailedDeclareLeavesTheNameToTheNext(t *testing.T) {
	st, err := local.Open(local.Options{Dir: t.TempDir(), Mode: store.ModeOS})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	faulty := &faultyStore{Store: st, append: map[store.LogID]error{}}
	faulty.puts.Store(1 << 30)
	b, err := Open(faulty, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	v, _ := b.VHost("/")
	s := v.NewSession(auth.Identity{Name: "guest"})
	faulty.puts.Store(0)
	if _, err := s.DeclareQueue("q", durable); err == nil {
		t.Fatal("declared without a definition")
	}
	if _, err := s.Queue(Look, "q"); KindOf(err) != NotFound {
		t.Fatal(err)
	}
	faulty.puts.Store(1 << 30)
	if _, err := s.DeclareQueue("q", QueueOptions{Durable: true, AutoDelete: true}); err != nil {
		t.Fatal(err)
	}
	if n := len(v.claims); n != 0 {
		t.Errorf("%d names are still claimed", n)
	}
}

func TestAnAutoDeleteExchangeGoesThoughItsLastBindingsGoAtOnce(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := startFrozen(t, fs.NewMem(1))
		defer r.close()
		if _, err := r.s.DeclareExchange("x", ExchangeOptions{Type: "fanout", Durable: true, AutoDelete: true}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b"} {
			if _, err := r.s.DeclareQueue(name, durable); err != nil {
				t.Fatal(err)
			}
			if err := r.s.Bind(Binding{Source: "x", Dest: name}); err != nil {
				t.Fatal(err)
			}
		}
		r.freezeDefs()
		unbind := begin(t, func() (int, error) { return 0, r.s.Unbind(Binding{Source: "x", Dest: "a"}) })
		remove := begin(t, func() (int64, error) { return r.s.DeleteQueue("b", false, false) })
		r.disk.Thaw()
		if _, err := unbind(); err != nil {
			t.Error(err)
		}
		if _, err := remove(); err != nil {
			t.Error(err)
		}
		if _, err := r.s.vhost.Exchange("x"); KindOf(err) != NotFound {
			t.Errorf("an exchange without bindings stayed: %v", err)
		}
	})
}

// TestWhatWasAnsweredSurvivesAKill has many sessions change the topology at a time,
// kills the process at a random moment, and compares: each name is as its last answer
// said, or as the change under way would have it, and nothing leads nowhere.
func TestWhatWasAnsweredSurvivesAKill(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			mem := fs.NewMem(seed)
			r := startFrozen(t, mem)
			if _, err := r.s.DeclareExchange("x", ExchangeOptions{Type: "fanout", Durable: true}); err != nil {
				t.Fatal(err)
			}
			const names = 8
			var told, doing [names]atomic.Pointer[step]
			for i := range names {
				told[i].Store(&step{state: "gone"})
				doing[i].Store(&step{state: "gone"})
			}
			var group sync.WaitGroup
			stop := make(chan struct{})
			kill := make(chan struct{})
			steps := 40 + rng.IntN(200)
			for i := range names {
				group.Go(func() {
					name := fmt.Sprint("q", i)
					rng := rand.New(rand.NewPCG(seed, uint64(i)+2))
					state := "gone"
					for n := 0; ; n++ {
						select {
						case <-stop:
							return
						default:
						}
						next, err := state, error(nil)
						do := rng.IntN(3)
						switch {
						case state == "gone":
							next = "there"
						case do == 0:
							next = "gone"
						default:
							next = "bound"
						}
						doing[i].Store(&step{state: next})
						switch next {
						case "there":
							_, err = r.s.DeclareQueue(name, durable)
						case "gone":
							_, err = r.s.DeleteQueue(name, false, false)
						case "bound":
							err = r.s.Bind(Binding{Source: "x", Dest: name})
						}
						if err != nil {
							t.Error(err)
							return
						}
						state = next
						told[i].Store(&step{state: state})
						if i == 0 && n == steps {
							close(kill)
						}
					}
				})
			}
			<-kill
			var before, meant, now [names]*step
			for i := range names { // what was answered before the kill holds after it
				before[i] = told[i].Load()
			}
			after := mem.Crash(rng)
			for i := range names {
				meant[i] = doing[i].Load()
			}
			for i := range names { // unless there were further answers meanwhile, of the same state perhaps
				now[i] = told[i].Load()
			}
			close(stop)
			group.Wait()
			r.close()

			r = startFrozen(t, after)
			defer r.close()
			v := r.s.vhost
			x, err := v.Exchange("x")
			if err != nil {
				t.Fatal(err)
			}
			bound := map[string]bool{}
			for _, b := range v.Bindings(x) {
				bound[b.Dest] = true
				if _, err := v.Queue(b.Dest); err != nil {
					t.Errorf("a binding leads nowhere: %v", err)
				}
			}
			for i := range names {
				name := fmt.Sprint("q", i)
				got := "gone"
				if _, err := v.Queue(name); err == nil {
					got = "there"
				}
				if bound[name] {
					got = "bound"
				}
				if before[i] == now[i] && got != before[i].state && got != meant[i].state {
					t.Errorf("%s is %s, was answered %s and about to be %s", name, got, before[i].state, meant[i].state)
				}
			}
		})
	}
}

// step is one answer: two of the same state are not the same.
type step struct{ state string }
