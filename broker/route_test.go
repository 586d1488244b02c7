package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/field"
)

// exchangeWith declares an exchange with arguments: names and texts in turn.
func (r *rig) exchangeWith(name, kind string, args ...string) {
	r.t.Helper()
	var raw []byte
	for i := 0; i < len(args); i += 2 {
		raw = field.AppendString(field.AppendName(raw, args[i]), []byte(args[i+1]))
	}
	if _, err := r.s.DeclareExchange(name, ExchangeOptions{Type: kind, Durable: true, Args: raw}); err != nil {
		r.t.Fatal(err)
	}
}

// send publishes a message and says whether any queue got it.
func send(t *testing.T, p *Publisher, in Inbound) bool {
	t.Helper()
	if in.Properties == nil {
		in.Properties = field.NoProperties
	}
	in.TimestampMs = 1
	routed, err := p.Publish(&in)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, p)
	return routed
}

func TestAnAlternateExchangeGetsWhatIsRoutedNowhere(t *testing.T) {
	r := start(t)
	r.exchange("last", "fanout")
	r.exchangeWith("middle", "direct", "alternate-exchange", "last")
	r.exchangeWith("x", "topic", "alternate-exchange", "middle")
	bound, lost, here := r.queue("bound", QueueOptions{}), r.queue("lost", QueueOptions{}), r.queue("here", QueueOptions{})
	r.bind("x", "here", "here")
	r.bind("middle", "bound", "m")
	r.bind("last", "lost", "")
	p := r.s.NewPublisher()
	for range 2 { // from the cache too
		publish(t, p, "x", "here=1", "m=2", "other=3")
	}
	want(t, "here", drain(t, here), []string{"1", "1"})
	want(t, "bound", drain(t, bound), []string{"2", "2"})
	want(t, "lost", drain(t, lost), []string{"3", "3"})

	// Several keys are one message: one that is routed is enough.
	send(t, p, Inbound{Exchange: []byte("x"), Key: []byte("other"), MoreKeys: [][]byte{[]byte("here"), []byte("another")}, Body: []byte("4")})
	send(t, p, Inbound{Exchange: []byte("x"), Key: []byte("other"), MoreKeys: [][]byte{[]byte("m")}, Body: []byte("5")})
	send(t, p, Inbound{Exchange: []byte("x"), Key: []byte("other"), MoreKeys: [][]byte{}, Body: []byte("6")})
	want(t, "here", drain(t, here), []string{"4"})
	want(t, "bound", drain(t, bound), []string{"5"})
	want(t, "lost", drain(t, lost), []string{"6"})
}

func TestAnAlternateExchangeMayComeAndGo(t *testing.T) {
	r := start(t)
	r.exchangeWith("x", "fanout", "alternate-exchange", "alt")
	q := r.queue("q", QueueOptions{Durable: true})
	p := r.s.NewPublisher()
	m := Inbound{Exchange: []byte("x"), Body: []byte("1")}
	for range 2 {
		if send(t, p, m) {
			t.Fatal("routed by an alternate exchange that is not there")
		}
	}
	for range 2 {
		r.exchange("alt", "fanout")
		if send(t, p, m) {
			t.Fatal("routed by an alternate exchange without bindings")
		}
		r.bind("alt", "q", "")
		if !send(t, p, m) {
			t.Fatal("not routed by the alternate exchange")
		}
		want(t, "q", drain(t, q), []string{"1"})
		if err := r.s.DeleteExchange("alt", false); err != nil {
			t.Fatal(err)
		}
		if send(t, p, m) {
			t.Fatal("routed by an alternate exchange that is gone")
		}
	}
	r.exchange("alt", "fanout")
	r.bind("alt", "q", "")
	r.restart()
	q, _ = r.v.Queue("q")
	if !send(t, r.s.NewPublisher(), m) || len(drain(t, q)) != 1 {
		t.Error("the alternate exchange is forgotten at a restart")
	}
}

func TestAlternateExchangesInACircleEnd(t *testing.T) {
	r := start(t)
	r.exchangeWith("a", "direct", "alternate-exchange", "b")
	r.exchangeWith("b", "direct", "alternate-exchange", "c")
	r.exchangeWith("c", "direct", "alternate-exchange", "a")
	r.exchangeWith("self", "direct", "alternate-exchange", "self")
	r.exchangeWith("default", "direct", "alternate-exchange", "")
	q := r.queue("q", QueueOptions{})
	p := r.s.NewPublisher()
	for _, x := range []string{"a", "self", "default"} {
		if send(t, p, Inbound{Exchange: []byte(x), Key: []byte("q")}) {
			t.Errorf("%s routes to nowhere", x)
		}
	}
	r.bind("c", "q", "q")
	if !send(t, p, Inbound{Exchange: []byte("a"), Key: []byte("q"), Body: []byte("1")}) {
		t.Error("not routed along the circle")
	}
	want(t, "q", drain(t, q), []string{"1"})
}

func TestAnAlternateExchangeThatComesWithOneOfItsOwnIsSeen(t *testing.T) {
	r := start(t)
	r.exchangeWith("x", "fanout", "alternate-exchange", "alt")
	r.exchange("last", "fanout")
	q := r.queue("q", QueueOptions{})
	r.bind("last", "q", "")
	p := r.s.NewPublisher()
	m := Inbound{Exchange: []byte("x"), Body: []byte("1")}
	if send(t, p, m) {
		t.Fatal("routed by an alternate exchange that is not there")
	}
	r.exchangeWith("alt", "fanout", "alternate-exchange", "last") // nothing is bound to it
	if !send(t, p, m) {
		t.Error("not routed by the alternate exchange's alternate")
	}
	want(t, "q", drain(t, q), []string{"1"})
}

func TestFurtherKeysChooseNoFurtherQueue(t *testing.T) {
	r := start(t)
	for _, kind := range []string{"x-consistent-hash", "x-random"} {
		r.exchange(kind, kind)
		for i := range 4 {
			r.bind(kind, r.queue(fmt.Sprint("q", i), QueueOptions{}).Name, "1")
		}
		got := spread(t, r, r.s.NewPublisher(), kind, 20, func(i int, in *Inbound) {
			in.MoreKeys = [][]byte{[]byte("a"), []byte("b"), []byte("c"), []byte("d"), []byte("e")}
		})
		if n := got["q0"] + got["q1"] + got["q2"] + got["q3"]; n != 20 {
			t.Errorf("%s: %d copies of 20 messages", kind, n)
		}
	}
}

func TestAnAlternateExchangeIsAskedFor(t *testing.T) {
	for refused, name := range map[Verb]string{BindSource: "x", Publish: "alt"} {
		r := start(t)
		r.opts.Policy = func(q Request) error {
			if q.Verb == refused && q.On == (Resource{OnExchange, name}) {
				return fmt.Errorf("no")
			}
			return nil
		}
		s := r.v.NewSession(auth.Identity{Name: "guest"})
		args := field.AppendString(field.AppendName(nil, argAlternate), []byte("alt"))
		if _, err := s.DeclareExchange("x", ExchangeOptions{Type: "direct", Args: args}); KindOf(err) != Refused {
			t.Errorf("without %d of %s: %v", refused, name, err)
		}
		if _, err := s.DeclareExchange("x", ExchangeOptions{Type: "direct"}); err != nil {
			t.Error(err)
		}
	}
}

func TestAQueueGetsAMessageOnceWhateverItsKeys(t *testing.T) {
	r := start(t)
	for _, kind := range []string{"topic", "fanout", "x-consistent-hash", "x-random"} {
		x := "to " + kind
		r.exchange(x, kind)
		q := r.queue("q "+kind, QueueOptions{})
		r.bind(x, q.Name, "1")
		if kind == "topic" {
			r.bind(x, q.Name, "#")
		}
		send(t, r.s.NewPublisher(), Inbound{Exchange: []byte(x), Key: []byte("1"), MoreKeys: [][]byte{[]byte("1"), []byte("2")}, Body: []byte("m")})
		want(t, kind, drain(t, q), []string{"m"})
	}
	topic, err := r.s.CreateTopic("parts", 8, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.exchange("fan", "topic")
	r.bind("fan", topic.Name, "#")
	send(t, r.s.NewPublisher(), Inbound{Exchange: []byte("fan"), Key: []byte("1"), MoreKeys: [][]byte{[]byte("2"), []byte("3"), []byte("4")}})
	if n := topic.Ready(); n != 1 {
		t.Errorf("a topic got it in %d partitions", n)
	}
}

// spread publishes messages with keys of their own and counts what each queue gets of them.
func spread(t *testing.T, r *rig, p *Publisher, x string, messages int, each func(i int, in *Inbound)) map[string]int {
	t.Helper()
	for i := range messages {
		in := &Inbound{Exchange: []byte(x), Key: []byte("k"), Properties: field.NoProperties, TimestampMs: 1}
		each(i, in)
		if routed, err := p.Publish(in); err != nil || !routed {
			t.Fatal(routed, err)
		}
	}
	flush(t, p)
	got := map[string]int{}
	for _, q := range r.v.Queues() {
		n, err := q.purge(func() bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		got[q.Name] += int(n)
	}
	return got
}

func TestARandomExchangeChoosesAnewForEachMessage(t *testing.T) {
	r := start(t)
	r.exchange("x", "x-random")
	r.exchange("before", "fanout")
	if err := r.s.Bind(Binding{Source: "before", Dest: "x", ToExchange: true}); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		r.bind("x", r.queue(fmt.Sprint("q", i), QueueOptions{}).Name, "")
	}
	for _, x := range []string{"x", "before"} {
		p := r.s.NewPublisher()
		got := spread(t, r, p, x, 400, func(i int, in *Inbound) { in.SameHead = i > 0 })
		for name, n := range got {
			if n < 50 || n > 150 {
				t.Errorf("%s: %s got %d of 400", x, name, n)
			}
		}
	}
}

func TestAHashExchangeKeepsEachValueInOneQueue(t *testing.T) {
	r := start(t)
	r.exchange("x", "x-consistent-hash")
	r.exchangeWith("header", "x-consistent-hash", "hash-header", "h")
	r.exchangeWith("id", "x-consistent-hash", "hash-property", "message_id")
	for i := range 5 {
		q := r.queue(fmt.Sprint("q", i), QueueOptions{Durable: true})
		for _, x := range []string{"x", "header", "id"} {
			r.bind(x, q.Name, "10")
		}
	}
	each := map[string]func(i int, in *Inbound){
		"x":      func(i int, in *Inbound) { in.Key = fmt.Append(nil, "k", i%50) },
		"header": func(i int, in *Inbound) { in.Headers = field.AppendInt(field.AppendName(nil, "h"), int64(i%50)) },
		"id": func(i int, in *Inbound) {
			in.Properties = (&field.Properties{MessageID: fmt.Append(nil, i%50)}).AppendTo(nil)
		},
	}
	homes := func() map[string][]map[string]int {
		out := map[string][]map[string]int{}
		for x, fill := range each {
			p := r.s.NewPublisher()
			for value := range 50 {
				out[x] = append(out[x], spread(t, r, p, x, 6, func(i int, in *Inbound) { fill(50*i+value, in) }))
			}
		}
		return out
	}
	before := homes()
	for x, list := range before {
		used := map[string]bool{}
		for value, got := range list {
			for q, n := range got {
				if n != 0 && n != 6 {
					t.Errorf("%s: value %d is in several queues: %v", x, value, got)
				}
				used[q] = used[q] || n > 0
			}
		}
		if len(used) != 5 || slices.Contains([]bool{used["q0"], used["q1"], used["q2"], used["q3"], used["q4"]}, false) {
			t.Errorf("%s: 50 values use %v", x, used)
		}
	}
	r.restart()
	if after := homes(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after a restart values go elsewhere:\n%v\n%v", after, before)
	}
}

func TestBindingsOfAHashExchangeAreChecked(t *testing.T) {
	r := start(t)
	r.exchange("x", "x-consistent-hash")
	r.queue("q", QueueOptions{})
	err := r.s.Bind(Binding{Source: "x", Dest: "q", Key: "half"})
	if KindOf(err) != Precondition || err.Error() != `The binding key must be an integer: <<"half">>` {
		t.Error(err)
	}
	err = r.s.Bind(Binding{Source: "amq.headers", Dest: "q", Args: field.AppendString(field.AppendName(nil, "x-match"), []byte("some"))})
	if KindOf(err) != Precondition || !strings.HasPrefix(err.Error(), `Invalid x-match field value <<"some">>; expected all`) {
		t.Error(err)
	}
	_, err = r.s.DeclareExchange("y", ExchangeOptions{Type: "x-consistent-hash", Args: field.AppendString(field.AppendName(nil, "hash-property"), []byte("app_id"))})
	if KindOf(err) != Precondition || err.Error() != "Unsupported property: app_id" {
		t.Error(err)
	}
}
