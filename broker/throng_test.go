package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/consumer"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
)

// TestScatteredDeadLettersTakeLittleMemory, however many wait: no more than so many stand in a list,
// and each comes once, by reason.
func TestScatteredDeadLettersTakeLittleMemory(t *testing.T) {
	const n = 5 * maxWaiting
	var l deadLetters
	for i := range message.Offset(n) {
		l.add(ended{first: 2 * i, last: 2 * i, why: []Reason{Expired, Rejected}[i%2]})
	}
	seen := map[message.Offset]Reason{}
	longest := 0
	for !l.rest() {
		longest = max(longest, len(l.waiting))
		list := l.take(turnMessages, nil)
		if len(list) == 0 {
			t.Fatalf("none is taken after %d", len(seen))
		}
		for _, e := range list {
			if _, twice := seen[e.first]; twice || e.first != e.last {
				t.Fatalf("%d to %d comes twice", e.first, e.last)
			}
			seen[e.first] = e.why
		}
		l.hadTurn(lenOf(list))
	}
	if longest > maxWaiting || len(seen) != n || l.turned != l.added {
		t.Errorf("%d runs in a list, %d of %d came, %d of %d had their turn", longest, len(seen), n, l.turned, l.added)
	}
	for o, why := range seen {
		if why != []Reason{Expired, Rejected}[o/2%2] {
			t.Fatalf("%d came as %s", o, why)
		}
	}
}

// TestAThrongOfACursorThatWasLostIsForgotten: another process has its messages.
func TestAThrongOfACursorThatWasLostIsForgotten(t *testing.T) {
	var l deadLetters
	l.waiting = make([]ended, maxWaiting)
	l.add(ended{cursor: new(consumer.Cursor), first: 0, last: 9})
	l.add(ended{cursor: new(consumer.Cursor), first: 5, last: 6})
	if n := l.throng.len(); n != 2 || l.turned != 10 {
		t.Errorf("%d wait, %d have had their turn", n, l.turned)
	}
}

// TestManyScatteredDeadLettersAreCopiedOnce, none is lost, and one of a queue that is deleted is told of.
func TestManyScatteredDeadLettersAreCopiedOnce(t *testing.T) {
	const n = 2*maxWaiting + 100
	bubble(t, func(t *testing.T, r *rig) {
		dead := r.queue("dead", QueueOptions{Durable: true})
		q := r.dying("q", "dead")
		r.put("q", 2*n, field.NoProperties, time.Now())
		release := r.holdLetters()
		sub := r.subscribe("q", SubscribeOptions{})
		for at := 0; at < 2*n; {
			for _, d := range pull(t, sub, 1<<14, 1<<30) {
				if at++; at%2 == 1 {
					must(t, d.Lease.Reject(d.Offset, d.Offset))
				}
			}
		}
		if l := q.Partitions()[0].active().letters.Load(); len(l.waiting) != maxWaiting || l.throng.len() != n-maxWaiting {
			t.Errorf("%d runs and a throng of %d wait", len(l.waiting), l.throng.len())
		}
		release()
		r.buried()
		got := drain(t, dead)
		if len(got) != n {
			t.Fatalf("%d of %d came", len(got), n)
		}
		for i, body := range got {
			if body != fmt.Sprint(2*i) {
				t.Fatalf("letter %d is %s", i, body)
			}
		}
	})
}

// TestAThrongGoesWithItsQueue, and is told of.
func TestAThrongGoesWithItsQueue(t *testing.T) {
	r := start(t)
	p := r.queue("q", QueueOptions{}).Partitions()[0]
	l := p.active().lettersOf()
	l.waiting = make([]ended, maxWaiting)
	l.add(ended{first: 0, last: 9})
	p.dropLetters()
	if n := r.Counters().DeadLettersLost[LostSource].Load(); n != maxWaiting+10 || l.throng != nil {
		t.Errorf("%d are told of", n)
	}
}
