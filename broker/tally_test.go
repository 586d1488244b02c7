package broker

import (
	"fmt"
	"testing"
)

// offerKeys publishes a message with each key, and does not commit.
func offerKeys(t *testing.T, p *Publisher, exchange string, keys ...string) {
	t.Helper()
	for i, key := range keys {
		in := &Inbound{Exchange: []byte(exchange), Key: []byte(key), Body: []byte("m"), SameHead: i > 0 && key == keys[i-1]}
		if _, err := p.Publish(in); err != nil {
			t.Fatal(err)
		}
	}
}

// What clients published is counted at the exchange they named, and as often as a log got it.
func TestExchangesCountWhatIsPublishedToThem(t *testing.T) {
	r := start(t)
	for _, q := range []string{"q", "o", "dead"} {
		r.queue(q, QueueOptions{Durable: true})
	}
	r.queue("short", QueueOptions{Durable: true, Args: arguments("x-max-length", 1, "x-dead-letter-exchange", "dlx")})
	r.exchange("first", "fanout")
	r.exchange("behind", "fanout")
	r.exchange("dlx", "fanout")
	r.bind("first", "q", "")
	r.bind("dlx", "dead", "")
	if err := r.s.Bind(Binding{Source: "first", Dest: "behind", ToExchange: true}); err != nil {
		t.Fatal(err)
	}
	r.bind("behind", "o", "")
	p := r.s.NewPublisher()
	offerKeys(t, p, "first", "", "")
	offerKeys(t, p, "", "q", "nobody")
	offerKeys(t, p, "first", "")
	flush(t, p)
	offerKeys(t, p, "first", "")
	offerKeys(t, p, "", "short", "short") // the first is a dead letter
	flush(t, p)
	tx := r.s.NewTransaction()
	offerKeys(t, tx, "behind", "")
	tx.Discard()
	offerKeys(t, tx, "first", "")
	tx.Store()
	flush(t, tx)
	for name, want := range map[string]ExchangeFlow{"first": {5, 10}, "": {4, 3}, "behind": {}, "dlx": {}} {
		x, err := r.v.Exchange(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := x.Flow(); got != want {
			t.Errorf("'%s': %+v, want %+v", name, got, want)
		}
	}
}

// However many exchanges a publisher uses in turns, and if they go meanwhile.
func TestManyExchangesCountWhatIsPublishedToThem(t *testing.T) {
	r := start(t)
	r.queue("q", QueueOptions{Durable: true})
	const n = 3 * maxTallies
	name := func(i int) string { return fmt.Sprint("x", i) }
	for i := range n {
		r.exchange(name(i), "fanout")
		r.bind(name(i), "q", "")
	}
	p := r.s.NewPublisher()
	for range 3 {
		for i := range n {
			offerKeys(t, p, name(i), "")
		}
	}
	if err := r.s.DeleteExchange(name(0), false); err != nil {
		t.Fatal(err)
	}
	r.exchange(name(0), "fanout")
	offerKeys(t, p, name(0), "")
	flush(t, p)
	for i := range n {
		x, err := r.v.Exchange(name(i))
		if err != nil {
			t.Fatal(err)
		}
		want := ExchangeFlow{3, 3}
		if i == 0 {
			want = ExchangeFlow{1, 0} // to the new one, to which nothing is bound
		}
		if got := x.Flow(); got != want {
			t.Fatalf("'%s': %+v, want %+v", x.Name, got, want)
		}
	}
}
