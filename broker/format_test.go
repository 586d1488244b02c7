package broker

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/store"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestDefinitionsFormatIsKept holds keys and values of the table "defs", which every
// data directory has.
func TestDefinitionsFormatIsKept(t *testing.T) {
	r := startWith(t, 0)
	args := field.AppendString(field.AppendName(nil, "x-retention"), []byte("1h"))
	if _, err := r.s.DeclareExchange("log/s ü", ExchangeOptions{Type: "topic", Durable: true, Internal: true}); err != nil {
		t.Fatal(err)
	}
	r.queue("jobs", QueueOptions{Durable: true, AutoDelete: true, Args: args})
	r.bind("log/s ü", "jobs", "a.*/b")
	if _, err := r.s.CreateTopic("t", 2, configs("retention.ms", "5")); err != nil {
		t.Fatal(err)
	}
	r.put("jobs", 1, expiring("60000"), time.Now())
	r.expirer.sweep(0)
	if _, err := r.s.NewProducerID(); err != nil {
		t.Fatal(err)
	}
	r.policy("for jobs/ü", "j", `{"message-ttl":60000,"dead-letter-exchange":"<dead>"}`, priority(-3), to("queues"))
	r.policy("limits", "", `{"max-length":100}`, byOperator)
	defs, err := r.store.Table(t.Context(), "defs")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	topic, _ := r.v.Queue("t")
	jobs, _ := r.v.Queue("jobs")
	err = defs.Load(t.Context(), func(e store.Entry) error {
		value := string(e.Value)
		value = strings.ReplaceAll(value, r.ClusterID(), "<cluster>")
		for _, q := range []*Queue{topic, jobs} {
			value = strings.ReplaceAll(value, topicID64(q), "<topic id>")
		}
		text.WriteString(e.Key + " " + value + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "defs.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := text.String(); got != string(want) {
		t.Errorf("the format changed\ngot\n%s\nwant\n%s", got, want)
	}
}

func TestDamagedDefinitionsAreRefusedWithTheirNames(t *testing.T) {
	for name, c := range map[string]struct{ key, value, want string }{
		"unknown kind":       {"z/odd", `{}`, "z/odd"},
		"not JSON":           {"q/%2F/q", `{`, "q/%2F/q"},
		"a later field":      {"q/%2F/q", `{"vhost":"/","name":"q","logs":[9],"later":1}`, "later"},
		"a queue nowhere":    {"q/x/q", `{"vhost":"x","name":"q","logs":[9]}`, "queue 'q' is in vhost 'x'"},
		"an exchange":        {"x/x/e", `{"vhost":"x","name":"e","type":"topic"}`, "exchange 'e' is in vhost 'x'"},
		"a binding":          {"b/x/e/q/d/k/", `{"vhost":"x","source":"e","destination":"d"}`, "a binding of exchange 'e' is in vhost 'x'"},
		"a policy":           {"o/x/p", `{"vhost":"x","name":"p","pattern":".","apply_to":"all","definition":{"max-length":1}}`, "policy 'p' is in vhost 'x'"},
		"a parameter":        {"P/x/c/n", `{"vhost":"x","component":"c","name":"n","value":1}`, "parameter 'n' is in vhost 'x'"},
		"limits":             {"l/x", `{"max-queues":1}`, "a limit of 'x' is in vhost 'x'"},
		"an attachment":      {"a/x/q/q/k", `{"vhost":"x","of":"q","key":"k"}`, "an attachment of 'q' is in vhost 'x'"},
		"a queue of nothing": {"q/%2F/q", `{"vhost":"/","name":"q","logs":[]}`, "no log"},
		"an unknown type":    {"x/%2F/x", `{"vhost":"/","name":"x","type":"odd"}`, "odd"},
	} {
		t.Run(name, func(t *testing.T) {
			r := startWith(t, 0)
			defs, _ := r.store.Table(t.Context(), "defs")
			if err := defs.Put(t.Context(), store.Entry{Key: c.key, Value: []byte(c.value)}); err != nil {
				t.Fatal(err)
			}
			_, err := Open(r.store, Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error that names %s", err, c.want)
			}
		})
	}
}

func TestBindingsWithoutTheirEndsAreLeftOut(t *testing.T) {
	r := startWith(t, 0)
	r.exchange("x", "direct")
	r.queue("q", QueueOptions{Durable: true})
	r.bind("x", "q", "k")
	defs, _ := r.store.Table(t.Context(), "defs")
	if err := defs.Put(t.Context(), store.Entry{Key: store.Key(prefixQueue, "/", "q")}); err != nil { // as a kill between two writes leaves it
		t.Fatal(err)
	}
	r.restart()
	if x, err := r.v.Exchange("x"); err != nil || len(r.v.Bindings(x)) != 0 {
		t.Errorf("the exchange did not come back alone: %v", err)
	}
}

func FuzzDefinitions(f *testing.F) {
	f.Add("q/%2F/q", []byte(`{"vhost":"/","name":"q","logs":[9]}`))
	f.Add("x/%2F/x", []byte(`{"vhost":"/","name":"x","type":"topic","args":"AAAA"}`))
	f.Add("b/%2F/x/q/q/k/", []byte(`{"vhost":"/","source":"x","destination":"q"}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		for _, into := range []any{new(vhostDef), new(exchangeDef), new(queueDef), new(bindingDef), new(int64)} {
			_ = decodeDef(store.Entry{Key: key, Value: value}, into)
		}
	})
}

func FuzzQueueArguments(f *testing.F) {
	f.Add(field.AppendString(field.AppendName(nil, "x-retention"), []byte("1h")))
	f.Add(field.AppendString(field.AppendName(nil, "x-queue-type"), []byte("stream")))
	f.Add(field.AppendInt(field.AppendName(nil, "x-max-length"), 1))
	b := &Broker{}
	b.opts.defaults()
	b.makePlain()
	v := newVHost(b, "/")
	f.Fuzz(func(t *testing.T, raw []byte) {
		kind, declared, err := v.declaredArgs("q", raw)
		if err != nil && KindOf(err) != Precondition {
			t.Fatalf("a bad argument is of kind %d: %v", KindOf(err), err)
		}
		if err == nil && v.b.settingsOf(kind, declared, matched{}).History < 0 {
			t.Fatal("negative retention")
		}
		for _, kind := range []string{"direct", "x-consistent-hash"} {
			x := &Exchange{Name: "x", Type: kind, Args: raw}
			if err := x.configure(v); err != nil && KindOf(err) != Precondition {
				t.Fatalf("a bad argument is of kind %d: %v", KindOf(err), err)
			}
		}
	})
}

func TestPublishAndPullDoNotAllocate(t *testing.T) {
	r := startWith(t, 0)
	r.exchange("x", "topic")
	names := []string{"a", "b", "c"}
	subs := make([]*Subscription, len(names))
	for i, name := range names {
		q := r.queue(name, QueueOptions{})
		r.bind("x", name, "k."+name)
		r.bind("x", name, "k.#")
		var err error
		if subs[i], err = r.s.Subscribe(q.Name, SubscribeOptions{NoAck: true}); err != nil {
			t.Fatal(err)
		}
		defer subs[i].Close()
	}
	p := r.s.NewPublisher()
	in := &Inbound{Exchange: []byte("x"), Properties: []byte{0x10, 0, 2}, Body: make([]byte, 100), TimestampMs: 1}
	keys := [][]byte{[]byte("k.a"), []byte("k.b"), []byte("k.c"), []byte("k.none")}
	emit := func(*Delivery) {}
	round := func() {
		for i := range 64 {
			in.Key = keys[i%4]
			if _, err := p.Publish(in); err != nil {
				t.Fatal(err)
			}
		}
		p.Store()
		p.Commit(nil)
		for _, s := range subs {
			for {
				n, err := s.pull(1000, 1<<20, emit)
				if err != nil {
					t.Fatal(err)
				}
				s.Release()
				if n == 0 {
					break
				}
			}
		}
	}
	for range 20 {
		round()
	}
	// A roll to the next segment allocates; it comes once in thousands of messages.
	if n := alloc.Least(2, 100, round); n > 2 {
		t.Errorf("%v allocations for 64 publishes to 3 queues and their 192 deliveries", n)
	}
}
