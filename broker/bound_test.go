package broker

import (
	"fmt"
	"testing"

	"github.com/leveret-mq/leveret/store"
)

// TestBindingsLeaveTheirListInAnyOrder takes each of three out first, second and last.
func TestBindingsLeaveTheirListInAnyOrder(t *testing.T) {
	for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		var l boundList
		all := [3]bound{}
		left := map[*bound]bool{}
		for i := range all {
			l.add(&all[i])
			left[&all[i]] = true
		}
		for _, i := range order {
			l.remove(&all[i])
			delete(left, &all[i])
			n := 0
			for b := range l.all() {
				if n++; !left[b] {
					t.Errorf("%v: %d is still there", order, i)
				}
			}
			if n != len(left) {
				t.Errorf("%v: %d of %d are there", order, n, len(left))
			}
		}
		l.add(&all[1]) // it may come again
		if l.first != &all[1] || all[1].next != nil || all[1].prev != nil {
			t.Errorf("%v: it came back with others", order)
		}
	}
}

// TestAnUnboundQueueTakesNoExchangeAlong deletes a queue, and an exchange, that were bound to
// auto-delete exchanges and are not any more: others still are.
func TestAnUnboundQueueTakesNoExchangeAlong(t *testing.T) {
	r := start(t)
	for _, to := range []string{"queue", "exchange"} {
		t.Run(to, func(t *testing.T) {
			auto := "auto-" + to
			if _, err := r.s.DeclareExchange(auto, ExchangeOptions{Type: "topic", Durable: true, AutoDelete: true}); err != nil {
				t.Fatal(err)
			}
			r.queue("stays", QueueOptions{Durable: true})
			r.queue("goes", QueueOptions{Durable: true})
			r.exchange("goes", "fanout")
			b := Binding{Source: auto, Dest: "goes", ToExchange: to == "exchange", Key: "k"}
			for _, err := range []error{
				r.s.Bind(b), r.s.Bind(Binding{Source: auto, Dest: "stays", Key: "k"}), r.s.Unbind(b),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			q, _ := r.v.Queue("goes")
			x, _ := r.v.Exchange("goes")
			if q.incoming.first != nil || x.incoming.first != nil {
				t.Error("the binding stayed in its list")
			}
			if _, err := r.s.DeleteQueue("goes", false, false); err != nil {
				t.Fatal(err)
			}
			if err := r.s.DeleteExchange("goes", false); err != nil {
				t.Fatal(err)
			}
			if _, err := r.v.Exchange(auto); err != nil {
				t.Errorf("the exchange went with what it does not lead to: %v", err)
			}
		})
	}
}

// figuresLog is a log of which no more than figures is known.
type figuresLog struct {
	store.Log
	figures store.Figures
}

func (l figuresLog) Figures() store.Figures { return l.figures }

func TestALogIsUnusedIfItIsKnownToHoldNothing(t *testing.T) {
	for want, figures := range map[bool][]store.Figures{
		true:  {{Certain: true}, {Certain: true, Start: 5, End: 5}},
		false: {{}, {Certain: true, End: 1}, {Start: 5, End: 5}, {Certain: true, Start: 4, End: 5}},
	} {
		for _, f := range figures {
			if p := (&Partition{log: figuresLog{figures: f}}); p.unused() != want {
				t.Error(fmt.Sprintf("%+v: unused is not", f), want)
			}
		}
	}
}

// TestABindingMadeWhileOthersRouteLeavesTheirTableAlone binds beside one who routes by the
// table as it was: at a start alone tables are changed in their place.
func TestABindingMadeWhileOthersRouteLeavesTheirTableAlone(t *testing.T) {
	r := start(t)
	r.queue("q", QueueOptions{Durable: true})
	x, _ := r.v.Exchange("amq.topic")
	r.bind(x.Name, "q", "a.*")
	before := x.table.Load()
	r.bind(x.Name, "q", "b.*")
	if before.Len() != 1 || x.table.Load().Len() != 2 {
		t.Errorf("%d bindings in the old table, %d in the new one", before.Len(), x.table.Load().Len())
	}
	r.restart()
	if x, _ = r.v.Exchange("amq.topic"); x.table.Load().Len() != 2 {
		t.Errorf("%d bindings after a restart", x.table.Load().Len())
	}
}
