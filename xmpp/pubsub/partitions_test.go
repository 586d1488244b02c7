package pubsub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/field"
)

// spread is a topic t with three partitions behind the exchange e, and a key that leads into each of them.
func spread(t *testing.T, r *rig) (keys [3]string) {
	t.Helper()
	s := r.vhost().NewInnerSession()
	q, err := s.CreateTopic("t", len(keys), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeclareExchange("e", broker.ExchangeOptions{Type: "fanout", Durable: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.Bind(broker.Binding{Source: "e", Dest: "t"}); err != nil {
		t.Fatal(err)
	}
	w := r.peer("probe@localhost/r")
	for i, found := 0, 0; found < len(keys); i++ {
		key := fmt.Sprint("key", i)
		w.put(key, "probe", "", 1)
		for n, p := range q.Partitions() {
			if start, end, err := s.Bounds(p); err != nil {
				t.Fatal(err)
			} else if start < end {
				if keys[n] == "" {
					keys[n] = key
					found++
				}
			}
		}
		w.must("set", owner("<purge node='t'/>"))
	}
	return keys
}

// put publishes an item with a time of its own.
func (p *peer) put(key, id, body string, ms int64) {
	p.r.t.Helper()
	props := field.Properties{Flags: field.FlagMessageID | field.FlagContentType, MessageID: []byte(id), ContentType: []byte("application/xml")}
	if _, err := p.Publish(&broker.Inbound{
		Exchange: []byte("e"), Key: []byte(key), Properties: props.Append(nil), Body: []byte("<p xmlns='t'>" + body + "</p>"), TimestampMs: ms,
	}, nil); err != nil {
		p.r.t.Fatal(err)
	}
}

// The last items of a node are those of all partitions, whoever has published them, in the order of time.
func TestTheLastItemsAreThoseOfAllPartitions(t *testing.T) {
	r := start(t)
	keys := spread(t, r)
	who := [...]*peer{r.peer("one@localhost/r"), r.peer("two@localhost/r"), r.peer("three@localhost/r")}
	for i := range 12 {
		who[i%3].put(keys[(i*i+i/3)%3], fmt.Sprint("i", i), "x", int64(1000+i))
	}
	p := who[0]
	p.wantIDs("all", pub("<items node='t'/>"), "i0 i1 i2 i3 i4 i5 i6 i7 i8 i9 i10 i11")
	p.wantIDs("the last four", pub("<items node='t' max_items='4'/>"), "i8 i9 i10 i11")

	// What was published again is newer, in whichever partition it is now.
	for i, key := range keys {
		who[i].put(key, "i3", fmt.Sprint("again", i), int64(2000+i))
	}
	who[0].put(keys[2], "i11", "late", 2003)
	p.wantIDs("again", pub("<items node='t' max_items='3'/>"), "i10 i3 i11")
	e := p.must("get", pub("<items node='t' max_items='3'/>"))
	if text := e.String(); !strings.Contains(text, "again2") || strings.Contains(text, "again0") || strings.Contains(text, "again1") || !strings.Contains(text, "late") {
		t.Errorf("not the newest of each id: %s", text)
	}
}

// An answer is bounded however many partitions there are, holds the newest, and takes the memory of one.
func TestTheLastItemsOfPartitionsAreBounded(t *testing.T) {
	r := start(t)
	keys := spread(t, r)
	r.s.budget = budget.New(budget.Options{Bytes: 100 << 20, Share: treeBytes * maxItemsBytes * 17 / 10, Free: -1, Reserve: -1, Patience: time.Nanosecond})
	p := r.peer("one@localhost/r")
	body := strings.Repeat("x", maxItemsBytes/3)
	p.put(keys[2], "small", "", 1) // for which there would be room behind what there is none for
	for i := range 6 {
		p.put(keys[i%3], fmt.Sprint("i", i), body, int64(1000+i))
	}
	p.wantIDs("large ones", pub("<items node='t'/>"), "i4 i5")
	p.put(keys[0], "last", "", 3000)
	p.wantIDs("with a small one", pub("<items node='t'/>"), "i4 i5 last")
}
