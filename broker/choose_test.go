package broker

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/exchange"
	"github.com/leveret-mq/leveret/internal/field"
)

// A pattern in a filter means what it means in a binding.
func FuzzKeyPattern(f *testing.F) {
	f.Add("a.*.#", "a.b.c.d")
	f.Add("#.a.#.b", "x.a.y.a.b")
	f.Add("#", "")
	f.Add("*", "")
	f.Add("*.#", "a.")
	f.Add("#.#.*", "a")
	f.Fuzz(func(t *testing.T, pattern, key string) {
		if len(pattern) > 255 || len(key) > 255 || !strings.ContainsAny(pattern, "*#") {
			return
		}
		got := Filter{Key: &pattern}.Chooser()(&Delivery{Key: []byte(key)})
		if want := routesTopic(t, pattern, key); got != want {
			t.Errorf("%q and %q: %v, a binding says %v", pattern, key, got, want)
		}
	})
}

func routesTopic(t testing.TB, pattern, key string) bool {
	t.Helper()
	table, err := exchange.New(exchange.Topic, nil)
	if err != nil {
		t.Fatal(err)
	}
	if table, err = table.With(exchange.Binding{Key: pattern, Target: 1}); err != nil {
		t.Fatal(err)
	}
	return len(table.Route(exchange.Message{Key: []byte(key)}, nil)) > 0
}

func TestKeyPatternsMeanWhatBindingsMean(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	words := func(from string, n int) string {
		var list []string
		for range r.IntN(n) {
			list = append(list, strings.Split(from, " ")[r.IntN(len(strings.Split(from, " ")))])
		}
		return strings.Join(list, ".")
	}
	yes := 0
	for range 20000 {
		pattern, key := words("a b * #", 6), words("a b", 6)
		if !strings.ContainsAny(pattern, "*#") {
			continue
		}
		got, want := Filter{Key: &pattern}.Chooser()(&Delivery{Key: []byte(key)}), routesTopic(t, pattern, key)
		if got != want {
			t.Fatalf("%q and %q: %v, a binding says %v", pattern, key, got, want)
		}
		if want {
			yes++
		}
	}
	if yes < 1000 {
		t.Errorf("only %d matched", yes)
	}
}

// All that a filter says must hold.
func TestAFilterChooses(t *testing.T) {
	s := func(v string) *string { return &v }
	headers := field.AppendTableString(nil, "tenant", "acme")
	headers = field.AppendTableInt(headers, "tries", 3)
	headers = field.AppendTableBool(headers, "paid", true)
	headers = field.AppendTableTable(headers, "nested", nil)
	props := (&field.Properties{Type: []byte("order"), Priority: 5, Headers: headers}).AppendTo(nil)
	d := &Delivery{Exchange: []byte("shop"), Key: []byte("eu.orders.new"), Properties: props, Body: []byte("hello world"), Head: 7}
	for _, c := range []struct {
		name string
		f    Filter
		want bool
	}{
		{"nothing", Filter{}, true},
		{"the key", Filter{Key: s("eu.orders.new")}, true},
		{"another key", Filter{Key: s("eu.orders")}, false},
		{"a pattern", Filter{Key: s("eu.#")}, true},
		{"another pattern", Filter{Key: s("us.#")}, false},
		{"the exchange", Filter{Exchange: s("shop")}, true},
		{"the default exchange", Filter{Exchange: s("amq.default")}, false},
		{"text", Filter{Contains: []byte("o w")}, true},
		{"other text", Filter{Contains: []byte("ow")}, false},
		{"a header", Filter{Headers: map[string]string{"tenant": "acme", "tries": "3", "paid": "true"}}, true},
		{"a header that is there", Filter{Headers: map[string]string{"tenant": "", "nested": ""}}, true},
		{"one header of two", Filter{Headers: map[string]string{"tenant": "acme", "tries": "4"}}, false},
		{"a header that is not there", Filter{Headers: map[string]string{"x": ""}}, false},
		{"a table as text", Filter{Headers: map[string]string{"nested": "x"}}, false},
		{"properties", Filter{Properties: map[string]string{"type": "order", "priority": "5"}}, true},
		{"a property that is there", Filter{Properties: map[string]string{"type": ""}}, true},
		{"another property", Filter{Properties: map[string]string{"type": "order", "priority": "4"}}, false},
		{"a property that is not there", Filter{Properties: map[string]string{"app_id": ""}}, false},
		{"a reason", Filter{Reason: s("rejected")}, false},
		{"an origin", Filter{Origin: s("")}, false},
	} {
		if err := c.f.Check(); err != nil {
			t.Error(c.name, err)
		}
		choose := c.f.Chooser()
		if got := choose(d); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		if got := choose(d); got != c.want { // of the same head
			t.Errorf("%s, again: %v", c.name, got)
		}
	}
	plain := *d
	plain.Exchange, plain.Head = nil, 8
	if !(Filter{Exchange: s("amq.default")}).Chooser()(&plain) {
		t.Error("the default exchange has two names")
	}
	again := Filter{Contains: []byte("other")}.Chooser()
	other := *d
	other.Body = []byte("the other")
	if again(d) || !again(&other) {
		t.Error("bodies of messages with the same head are each looked at")
	}
	if err := (&Filter{Properties: map[string]string{"colour": ""}}).Check(); KindOf(err) != BadSetting {
		t.Error(err)
	}
}

// Deaths that a client wrote into its message itself are none.
func TestAFilterKnowsDeadLetters(t *testing.T) {
	r := startWith(t, 0)
	q := r.queue("q", QueueOptions{Durable: true, Args: arguments("x-dead-letter-exchange", "", "x-dead-letter-routing-key", "dead")})
	r.queue("dead", QueueOptions{Durable: true})
	p := r.s.NewPublisher()
	publish(t, p, "", "q", "x")
	flush(t, p)
	g, err := r.s.Get(q.Name, false)
	if err != nil || g == nil {
		t.Fatal(err)
	}
	if err := g.Lease.Reject(g.Offset, g.Offset); err != nil {
		t.Fatal(err)
	}
	d, err := r.s.Get("dead", false)
	if err != nil || d == nil {
		t.Fatal(err)
	}
	yes, no, queue := "rejected", "expired", "q"
	for _, c := range []struct {
		f    Filter
		want bool
	}{{Filter{Reason: &yes}, true}, {Filter{Reason: &no}, false}, {Filter{Origin: &queue, Reason: &yes}, true}, {Filter{Origin: &no}, false}} {
		if got := c.f.Chooser()(&d.Delivery); got != c.want {
			t.Errorf("%+v: %v", c.f, got)
		}
	}
	d.died = false
	if (Filter{Reason: &yes}).Chooser()(&d.Delivery) {
		t.Error("headers that a client wrote were believed")
	}
}
