package broker

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/store"
)

// appends counts the batches of each append, and can fail.
type appends struct {
	store.Log
	batches []int
	bytes   int
	err     error
}

func (l *appends) Append(b []byte) (store.Position, error) {
	if l.err != nil {
		return store.Position{}, l.err
	}
	n := 0
	for rest := b; len(rest) > 0; n++ {
		rest = rest[batch.Batch(rest).SizeBytes():]
	}
	l.batches, l.bytes = append(l.batches, n), l.bytes+len(b)
	return l.Log.Append(b)
}

// watch puts itself between a queue and its log.
func (r *rig) watchAppends(queue string) *appends {
	r.t.Helper()
	q, err := r.s.Queue(Look, queue)
	if err != nil {
		r.t.Fatal(err)
	}
	part := q.Partitions()[0]
	l := &appends{Log: part.log}
	part.log = l
	return l
}

// commit stores and commits.
func commit(p *Publisher, done func(error)) error {
	p.Store()
	return p.Commit(done)
}

// next takes a message if there is one.
func (r *rig) next(queue string) *Got {
	r.t.Helper()
	g, err := r.s.Get(queue, true)
	if err != nil {
		r.t.Fatal(err)
	}
	return g
}

// What a log gets of a transaction is one batch, however much it is, wherever else it goes and whatever changes
// meanwhile: a batch is there after a kill, or it is not.
func TestEachLogGetsATransactionAsOneBatch(t *testing.T) {
	r := start(t)
	names := []string{"a", "b", "c"}
	r.exchange("all", "fanout")
	r.exchange("some", "headers")
	for _, q := range names {
		r.queue(q, QueueOptions{})
		r.bind("all", q, "")
	}
	r.bind("some", "b", "")
	var logs []*appends
	for _, q := range names {
		logs = append(logs, r.watchAppends(q))
	}
	p := r.s.NewTransaction()
	want := map[string][]string{}
	body := make([]byte, 4096)
	publish := func(exchange, key string, same bool, i int, to ...string) {
		t.Helper()
		b := append([]byte(fmt.Sprintf("%d-", i)), body...)
		routed, err := p.Publish(&Inbound{Exchange: []byte(exchange), Key: []byte(key), Body: b, SameHead: same, TimestampMs: 1})
		if err != nil || routed != (len(to) > 0) {
			t.Fatal(routed, err)
		}
		for _, q := range to {
			want[q] = append(want[q], string(b))
		}
	}
	for i := range 600 {
		switch i % 5 {
		case 0:
			publish("all", "", false, i, slices.Clone(names)...)
		case 1:
			publish("", "a", false, i, "a")
		case 2:
			publish("", "a", true, i, "a")
		case 3:
			publish("some", "", false, i, "b")
		case 4:
			publish("", "none", false, i)
		}
		if i%100 == 50 {
			more := fmt.Sprint("more", i)
			r.queue(more, QueueOptions{})
			r.bind("all", more, "") // which is not for what was published before
			names = append(names, more)
			logs = append(logs, r.watchAppends(more))
		}
	}
	for i, l := range logs {
		if len(l.batches) > 0 {
			t.Errorf("%s got something before Store", names[i])
		}
	}
	if held := p.HeldBytes(); held < 600*4096 || held > 3*600*4300 {
		t.Errorf("%d bytes are held", held)
	}
	before := time.Now().UnixMilli()
	var done []error
	if err := commit(p, func(err error) { done = append(done, err) }); err != nil || len(done) != 1 || done[0] != nil {
		t.Fatal(err, done)
	}
	if p.HeldBytes() != 0 {
		t.Errorf("%d bytes are held afterwards", p.HeldBytes())
	}
	for i, q := range names {
		if !slices.Equal(logs[i].batches, []int{1}) {
			t.Errorf("%s got batches %v", q, logs[i].batches)
		}
		for n, body := range want[q] {
			d := r.next(q)
			if d == nil || string(d.Body) != body {
				t.Fatalf("%s: message %d is %v", q, n, d)
			}
			if d.TimestampMs < before {
				t.Fatalf("%s: message %d came at %d, before the commit", q, n, d.TimestampMs)
			}
		}
		if d := r.next(q); d != nil {
			t.Errorf("%s has one more", q)
		}
	}
	if c := r.Counters(); c.Published.Load() != 600 || c.Routed.Load() != 480 || c.Unroutable.Load() != 120 {
		t.Errorf("%d published, %d routed, %d not", c.Published.Load(), c.Routed.Load(), c.Unroutable.Load())
	}
}

// One that is discarded leaves nothing behind for the next.
func TestADiscardedTransactionIsForgotten(t *testing.T) {
	r := start(t)
	r.queue("a", QueueOptions{})
	r.queue("b", QueueOptions{})
	in := r.s.inbox()
	p := r.s.NewTransaction()
	for _, key := range []string{in.Name, "b", "a"} {
		if _, err := p.Publish(&Inbound{Key: []byte(key), Body: []byte("dropped"), Persistent: true}); err != nil {
			t.Fatal(err)
		}
	}
	p.Discard()
	if p.HeldBytes() != 0 {
		t.Errorf("%d bytes are held", p.HeldBytes())
	}
	p.Publish(&Inbound{Key: []byte("a"), Body: []byte("kept"), SameHead: true})
	if len(in.got) > 0 || commit(p, nil) != nil {
		t.Errorf("replies %q", in.got)
	}
	if d := r.next("a"); d == nil || string(d.Body) != "kept" {
		t.Errorf("a: %v", d)
	}
	if r.next("a") != nil || r.next("b") != nil {
		t.Error("what was discarded is there")
	}
	if c := r.Counters(); c.Published.Load() != 1 || c.Stored.Load() != 1 {
		t.Errorf("%d published, %d stored", c.Published.Load(), c.Stored.Load())
	}
}

// A log that fails fails the transaction, and so does a queue that went meanwhile; no reply is sent then.
func TestATransactionFailsWithOneOfItsLogs(t *testing.T) {
	for name, breaks := range map[string]func(*rig){
		"a full disk": func(r *rig) { r.watchAppends("a").err = store.ErrFull },
		"a deletion": func(r *rig) {
			if _, err := r.s.DeleteQueue("a", false, false); err != nil {
				r.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.t = t
			r.queue("a", QueueOptions{})
			r.queue("b", QueueOptions{})
			in := r.s.inbox()
			p := r.s.NewTransaction()
			for _, key := range []string{"a", "b", in.Name} {
				p.Publish(&Inbound{Key: []byte(key), Body: []byte("x")})
			}
			breaks(r)
			var told error
			if err := commit(p, func(err error) { told = err }); err == nil || told == nil || !errors.Is(told, err) {
				t.Errorf("%v, told %v", err, told)
			}
			if len(in.got) > 0 {
				t.Error("a reply was sent")
			}
			p.Publish(&Inbound{Key: []byte("b"), Body: []byte("y")})
			if err := commit(p, nil); err != nil {
				t.Errorf("the next one: %v", err)
			}
		})
	}
}

// A message's time begins when it is stored, not when it is published.
func TestTimesOfATransactionBeginWithItsCommit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("q", QueueOptions{})
		p := r.s.NewTransaction()
		props := (&field.Properties{Expiration: []byte("1000")}).AppendTo(nil)
		for range 2 {
			p.Publish(&Inbound{Key: []byte("q"), Body: []byte("x"), Properties: props, TimestampMs: time.Now().UnixMilli()})
			time.Sleep(700 * time.Millisecond)
		}
		commit(p, nil)
		time.Sleep(900 * time.Millisecond)
		if d := r.next("q"); d == nil {
			t.Error("the first has expired")
		}
		time.Sleep(200 * time.Millisecond)
		if d := r.next("q"); d != nil {
			t.Error("the second has not")
		}
	})
}
