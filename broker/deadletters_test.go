package broker

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/logged"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// dying declares a queue whose dead letters go to a queue by its name, or through an
// exchange if the name is empty.
func (r *rig) dying(name, to string, more ...any) *Queue {
	r.t.Helper()
	args := append([]any{argDeadLetterExchange, "", argDeadLetterKey, to}, more...)
	if to == "" {
		args = more
	}
	return r.queue(name, QueueOptions{Durable: true, Args: arguments(args...)})
}

// buried waits until no dead letter is under way.
func (r *rig) buried() {
	r.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		r.undertakers.mu.Lock()
		moving := len(r.undertakers.moving)
		r.undertakers.mu.Unlock()
		if moving == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	r.t.Fatal("dead letters are still under way")
}

// reject takes up to n messages of a queue and rejects them.
func (r *rig) reject(queue string, n int) {
	r.t.Helper()
	sub := r.subscribe(queue, SubscribeOptions{})
	for _, d := range pull(r.t, sub, n, 1<<30) {
		if err := d.Lease.Reject(d.Offset, d.Offset); err != nil {
			r.t.Fatal(err)
		}
	}
	sub.Close()
}

// deaths are what the messages of a queue say they died of: `queue/reason/count key,key` for
// each, the newest first, and then the first and the last.
func deathsOf(t *testing.T, properties []byte) string {
	t.Helper()
	var p field.Properties
	if err := p.Parse(properties); err != nil {
		t.Fatal(err)
	}
	if err := p.Headers.Check(); err != nil {
		t.Fatal(err)
	}
	text := func(table field.Table, name string) string {
		f, _ := table.Get(name)
		return string(f.Value)
	}
	var out []string
	f, _ := p.Headers.Get("x-death")
	for array := f.Value; ; {
		e, rest, ok := field.NextElement(array)
		if !ok {
			break
		}
		array = rest
		d, _ := e.Table()
		count, _ := d.Get("count")
		n, _ := count.Int()
		keys, _ := d.Get("routing-keys")
		line := fmt.Sprintf("%s/%s/%d %s", text(d, "queue"), text(d, "reason"), n, text(d, "exchange"))
		for k := keys.Value; ; {
			key, rest, ok := field.NextElement(k)
			if !ok {
				break
			}
			line += "," + string(key.Value)
			k = rest
		}
		if e := text(d, "original-expiration"); e != "" {
			line += " expiration " + e
		}
		out = append(out, line)
	}
	ends := []string{}
	for _, n := range []string{"first", "last"} {
		ends = append(ends, fmt.Sprintf("%s %s/%s %s", n, text(p.Headers, "x-"+n+"-death-queue"), text(p.Headers, "x-"+n+"-death-reason"), text(p.Headers, "x-"+n+"-death-exchange")))
	}
	if p.Flags&field.FlagExpiration != 0 {
		t.Errorf("a dead letter expires after %q", p.Expiration)
	}
	return strings.Join(append(out, ends...), "; ")
}

func (r *rig) get(queue string) *Got {
	r.t.Helper()
	g, err := r.s.Get(queue, true)
	if err != nil || g == nil {
		r.t.Fatalf("get from %s: %v %v", queue, g, err)
	}
	return g
}

func TestMessagesThatEndBecomeDeadLetters(t *testing.T) {
	for name, c := range map[string]struct {
		more  []any
		props []byte
		end   func(r *rig)
		why   Reason
		want  string
	}{
		"rejected": {nil, expiring("060000"), func(r *rig) { r.reject("q", 10) }, Rejected, "q/rejected/1 ,q expiration 60000; first q/rejected ; last q/rejected "},
		"expired by the queue's time": {[]any{"x-message-ttl", 100}, field.NoProperties, func(r *rig) { time.Sleep(200 * time.Millisecond) }, Expired,
			"q/expired/1 ,q; first q/expired ; last q/expired "},
		"expired by their own": {nil, expiring("100"), func(r *rig) { time.Sleep(200 * time.Millisecond) }, Expired,
			"q/expired/1 ,q expiration 100; first q/expired ; last q/expired "},
		"expired on the way to a consumer": {nil, expiring("100"), func(r *rig) { // before anybody looks
			if got := pull(r.t, r.subscribe("q", SubscribeOptions{}), 100, 1<<20); len(got) != 0 {
				r.t.Errorf("%d delivered", len(got))
			}
		}, Expired, "q/expired/1 ,q expiration 100; first q/expired ; last q/expired "},
		"too many deliveries": {[]any{"x-delivery-limit", 1}, field.NoProperties, func(r *rig) {
			for range 2 {
				sub := r.subscribe("q", SubscribeOptions{})
				for _, d := range pull(r.t, sub, 100, 1<<20) {
					if err := d.Lease.Requeue(d.Offset, d.Offset); err != nil {
						r.t.Fatal(err)
					}
				}
				sub.Close()
			}
		}, DeliveryLimit, "q/delivery_limit/1 ,q; first q/delivery_limit ; last q/delivery_limit "},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				dead := r.queue("dead", QueueOptions{Durable: true})
				q := r.dying("q", "dead", c.more...)
				came := time.Now()
				if strings.Contains(name, "on the way") {
					came = came.Add(-time.Hour)
				}
				r.put("q", 10, c.props, came)
				c.end(r)
				r.buried()
				if q.Ready() != 0 || q.Unacked() != 0 || dead.Ready() != 10 {
					t.Fatalf("%d ready, %d unacked, %d dead letters", q.Ready(), q.Unacked(), dead.Ready())
				}
				for i := range 10 {
					g := r.get("dead")
					if string(g.Body) != fmt.Sprint(i) || string(g.Key) != "dead" {
						t.Errorf("letter %d is %q by %q", i, g.Body, g.Key)
					}
					if got := deathsOf(t, g.Properties); got != c.want {
						t.Errorf("it died of %s\nwant %s", got, c.want)
					}
				}
				p := q.Partitions()[0]
				floor, _ := p.cursor.Load().Progress()
				if _, end, _ := p.log.Bounds(); floor != end {
					t.Errorf("floor %d of %d", floor, end)
				}
				if got := r.leftBy(); got[c.why] != 10 || r.Counters().DeadLettered[c.why].Load() != 10 {
					t.Errorf("left %v, %d dead letters counted", got, r.Counters().DeadLettered[c.why].Load())
				}
			})
		})
	}
}

// TestDeadLettersComeInTime is for those who build retries of it: the queue is looked at when
// its head is due, whatever was before it.
func TestDeadLettersComeInTime(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		dead := r.queue("dead", QueueOptions{Durable: true})
		r.dying("q", "dead", "x-message-ttl", 3_030)
		came := func(n int64, after time.Duration) {
			t.Helper()
			time.Sleep(after)
			if got := dead.Ready(); got != n {
				t.Errorf("%d dead letters, want %d", got, n)
			}
		}
		r.put("q", 1, field.NoProperties, time.Now())
		time.Sleep(500 * time.Millisecond)
		r.put("q", 1, field.NoProperties, time.Now())
		came(0, 2_529*time.Millisecond)
		came(1, 30*time.Millisecond)
		came(1, 440*time.Millisecond)
		came(2, 60*time.Millisecond)
		r.put("q", 1, expiring("70"), time.Now())
		came(2, 69*time.Millisecond)
		came(3, 30*time.Millisecond)
	})
}

// TestDeadLettersKeepTheirOrder over many turns, however they ended.
func TestDeadLettersKeepTheirOrder(t *testing.T) {
	r := startWith(t, 0)
	dead := r.queue("dead", QueueOptions{Durable: true})
	q := r.dying("q", "dead")
	const n = 3*turnMessages + 7
	p := r.s.NewPublisher()
	for i := range n {
		in := Inbound{Key: []byte("q"), Body: fmt.Append(nil, i), TimestampMs: time.Now().UnixMilli()}
		if i%3 == 0 {
			in.Properties = expiring(fmt.Sprint(100_000 + i%17))
		}
		if _, err := p.Publish(&in); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, p)
	sub := r.subscribe("q", SubscribeOptions{})
	for at := 0; at < n; {
		for _, d := range pull(t, sub, 997, 1<<30) {
			if at++; at%2 == 0 || at == n {
				first := max(d.Offset-1, 0)
				if at%2 == 1 {
					first = d.Offset
				}
				if err := d.Lease.Reject(first, d.Offset); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	r.buried()
	if q.Ready()+q.Unacked() != 0 {
		t.Errorf("%d ready, %d unacked", q.Ready(), q.Unacked())
	}
	for i, body := range drain(t, dead) {
		if body != fmt.Sprint(i) {
			t.Fatalf("letter %d is %s", i, body)
		}
	}
	if got := r.Counters().DeadLettered[Rejected].Load(); got != n {
		t.Errorf("%d dead letters counted", got)
	}
}

func TestDeathsAreCountedByQueueAndReason(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.dying("work", "wait")
		r.dying("wait", "work", "x-message-ttl", 100)
		r.put("work", 1, field.NoProperties, time.Now())
		for range 3 {
			r.reject("work", 1)
			time.Sleep(200 * time.Millisecond)
		}
		want := "wait/expired/3 ,wait; work/rejected/3 ,work; first work/rejected ; last wait/expired "
		if got := deathsOf(t, r.get("work").Properties); got != want {
			t.Errorf("died of %s\nwant %s", got, want)
		}
	})
}

// TestACircleWithoutARejectionEnds in each form that RabbitMQ knows.
func TestACircleWithoutARejectionEnds(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.dying("a", "b", "x-message-ttl", 50), r.dying("b", "a", "x-message-ttl", 50)
		self := r.dying("self", "self", "x-message-ttl", 50)
		r.exchange("fan", "fanout")
		out := r.queue("out", QueueOptions{Durable: true})
		wide := r.queue("wide", QueueOptions{Durable: true, Args: arguments(argDeadLetterExchange, "fan", "x-message-ttl", 50)})
		r.bind("fan", "wide", "")
		r.bind("fan", "out", "")
		for _, q := range []*Queue{a, self, wide} {
			r.put(q.Name, 5, field.NoProperties, time.Now())
		}
		time.Sleep(time.Second)
		if a.Ready()+b.Ready()+self.Ready()+wide.Ready() != 0 || out.Ready() != 5 {
			t.Errorf("%d %d %d %d in the circles, %d out", a.Ready(), b.Ready(), self.Ready(), wide.Ready(), out.Ready())
		}
		c := r.Counters()
		if c.DeadLettersLost[LostCycle].Load() != 15 || c.Left[Expired].Load() != 20 || c.DeadLettered[Expired].Load() != 10 {
			t.Errorf("%d lost, %d expired, %d copied", c.DeadLettersLost[LostCycle].Load(), c.Left[Expired].Load(), c.DeadLettered[Expired].Load())
		}
		// A rejection breaks it, at any time.
		for range 4 {
			r.put("a", 1, field.NoProperties, time.Now())
			r.reject("a", 1)
			time.Sleep(10 * time.Millisecond)
			r.reject("b", 1)
			time.Sleep(200 * time.Millisecond)
			if n := a.Ready() + b.Ready(); n != 0 {
				t.Fatalf("%d left", n)
			}
		}
	})
}

func TestAQueueMayDeadLetterIntoItself(t *testing.T) {
	r := start(t)
	q := r.dying("q", "q")
	r.put("q", 3, field.NoProperties, time.Now())
	for range 4 {
		r.reject("q", 3)
		r.buried()
	}
	if q.Ready() != 3 {
		t.Fatalf("%d ready", q.Ready())
	}
	for i := range 3 {
		g := r.get("q")
		if got := deathsOf(t, g.Properties); string(g.Body) != fmt.Sprint(i) || got != "q/rejected/4 ,q; first q/rejected ; last q/rejected " {
			t.Errorf("%q died of %s", g.Body, got)
		}
	}
}

// TestDeadLettersWithoutAPlaceAreDroppedAndTold, and kept where that is asked for.
func TestDeadLettersWithoutAPlaceAreDroppedAndTold(t *testing.T) {
	for _, kept := range []bool{false, true} {
		for why, exchange := range map[Loss]string{LostExchange: "none", LostUnbound: "unbound", LostCycle: "back"} {
			t.Run(fmt.Sprint(why, " kept ", kept), func(t *testing.T) {
				var said logged.Lines
				fakeclock.Test(t, func(t *testing.T) {
					r := &rig{t: t, dir: t.TempDir(), lines: said.Logger()}
					r.open()
					defer func() {
						if err := errors.Join(r.Close(), r.store.Close()); err != nil {
							t.Error(err)
						}
					}()
					r.exchange("unbound", "direct")
					r.exchange("back", "direct")
					args := []any{argDeadLetterExchange, exchange, "x-message-ttl", 50}
					if kept {
						args = append(args, "x-queue-type", "quorum", "x-dead-letter-strategy", "at-least-once", "x-overflow", "reject-publish")
					}
					q := r.dying("q", "", args...)
					r.bind("back", "q", "q")
					r.put("q", 7, field.NoProperties, time.Now())
					time.Sleep(3 * time.Second)
					lost := r.Counters().DeadLettersLost[why].Load()
					if kept {
						if lost != 0 || len(r.leftBy()) != 0 {
							t.Errorf("%d lost, left %v", lost, r.leftBy())
						}
						dead := r.queue("dead", QueueOptions{Durable: true})
						if exchange == "none" {
							r.exchange("none", "direct")
						}
						r.bind(exchange, "dead", "q")
						time.Sleep(lastRetry)
						want(t, "kept", drain(t, dead), []string{"0", "1", "2", "3", "4", "5", "6"})
						return
					}
					if lost != 7 || r.leftBy()[Expired] != 7 || r.Counters().DeadLettered[Expired].Load() != 0 || q.Ready() != 0 {
						t.Errorf("%d lost, left %v", lost, r.leftBy())
					}
					if !strings.Contains(said.String(), "messages=7 why="+why.String()) {
						t.Errorf("nobody was told:\n%s", said.String())
					}
				})
			})
		}
	}
}

// TestWhatCantBeStoredStaysInItsQueue until it can; it is on hold, and nobody gets it.
func TestWhatCantBeStoredStaysInItsQueue(t *testing.T) {
	r, s := startFaulty(t)
	dead := r.queue("dead", QueueOptions{Durable: true})
	q := r.dying("q", "dead")
	r.put("q", 5, field.NoProperties, time.Now())
	id := dead.Partitions()[0].log.ID()
	s.append[id] = store.ErrFull
	r.reject("q", 5)
	r.buried() // it waits for the next try
	if n := q.Ready(); n != 0 || len(r.leftBy()) != 0 {
		t.Errorf("%d ready, left %v", n, r.leftBy())
	}
	if floor, _ := q.Partitions()[0].cursor.Load().Progress(); floor != 0 {
		t.Errorf("floor %d: they would not come back after a crash", floor)
	}
	delete(s.append, id)
	l := q.Partitions()[0].active().letters.Load()
	for end := time.Now().Add(patience); q.Partitions()[0].lettersUnderWay() && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	want(t, "dead letters", drain(t, dead), []string{"0", "1", "2", "3", "4"})
	if l.tries != 0 || r.leftBy()[Rejected] != 5 {
		t.Errorf("%d tries, left %v", l.tries, r.leftBy())
	}
}

// TestOneTargetThatFailsCostsTheOthersNothing: a retry would give them everything again.
func TestOneTargetThatFailsCostsTheOthersNothing(t *testing.T) {
	r, s := startFaulty(t)
	r.exchange("fan", "fanout")
	broken, fine := r.queue("broken", QueueOptions{Durable: true}), r.queue("fine", QueueOptions{Durable: true})
	r.bind("fan", "broken", "")
	r.bind("fan", "fine", "")
	s.append[broken.Partitions()[0].log.ID()] = store.ErrReadOnly
	r.dying("q", "", argDeadLetterExchange, "fan")
	r.put("q", 5, field.NoProperties, time.Now())
	r.reject("q", 5)
	r.buried()
	want(t, "the queue that works", drain(t, fine), []string{"0", "1", "2", "3", "4"})
	if n := r.Counters().DeadLettersLost[LostRefused].Load(); n != 5 || r.leftBy()[Rejected] != 5 {
		t.Errorf("%d copies lost, left %v", n, r.leftBy())
	}
}

// TestALowerLimitDropsNoDeadLetter: what was taken under a higher one is as good as before.
func TestALowerLimitDropsNoDeadLetter(t *testing.T) {
	r := start(t)
	dead := r.queue("dead", QueueOptions{Durable: true})
	r.dying("q", "dead")
	r.put("q", 3, field.NoProperties, time.Now())
	r.opts.MaxMessageBytes = 0
	r.reject("q", 3)
	r.buried()
	want(t, "dead letters", drain(t, dead), []string{"0", "1", "2"})
}

// TestAKillBeforeTheCopyLosesNothing: what is on hold is in its queue at the next start.
func TestAKillBeforeTheCopyLosesNothing(t *testing.T) {
	r := start(t)
	r.queue("dead", QueueOptions{Durable: true})
	r.dying("q", "dead")
	r.put("q", 5, field.NoProperties, time.Now())
	r.undertakers.mu.Lock()
	r.undertakers.closed = true // nobody copies any more
	r.undertakers.mu.Unlock()
	r.reject("q", 3)
	r.undertakers.mu.Lock()
	clear(r.undertakers.moving)
	r.undertakers.mu.Unlock()
	r.restart()
	q, _ := r.v.Queue("q")
	want(t, "the queue", drain(t, q), []string{"0", "1", "2", "3", "4"})
}

func TestAStopCopiesWhatHasEnded(t *testing.T) {
	r := startWith(t, 0)
	r.queue("dead", QueueOptions{Durable: true})
	r.dying("q", "dead")
	r.put("q", 300, field.NoProperties, time.Now())
	r.reject("q", 300)
	r.restart()
	q, _ := r.v.Queue("q")
	dead, _ := r.v.Queue("dead")
	if q.Ready() != 0 || dead.Ready() != 300 {
		t.Errorf("%d ready, %d dead letters", q.Ready(), dead.Ready())
	}
}

func TestPurgesAndDeletionsMakeNoDeadLetters(t *testing.T) {
	r := start(t)
	dead := r.queue("dead", QueueOptions{Durable: true})
	for _, end := range []func(){
		func() { _, _ = r.s.Purge("q") },
		func() { drain(t, r.dying("q", "dead")) },
		func() { _, _ = r.s.DeleteQueue("q", false, false) },
	} {
		r.dying("q", "dead")
		r.put("q", 5, field.NoProperties, time.Now())
		end()
		r.buried()
	}
	if n := dead.Ready(); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// TestWhatEndedBeforeItsQueueWasDeletedIsCopied: the log goes when that is done.
func TestWhatEndedBeforeItsQueueWasDeletedIsCopied(t *testing.T) {
	r := startWith(t, 0)
	dead := r.queue("dead", QueueOptions{Durable: true})
	q := r.dying("q", "dead")
	const n = 5 * turnMessages
	p := r.s.NewPublisher()
	in := Inbound{Key: []byte("q"), Body: []byte("x"), TimestampMs: 1}
	for i := range n {
		in.SameHead = i > 0
		if _, err := p.Publish(&in); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, p)
	c, err := q.Partitions()[0].work()
	if err != nil {
		t.Fatal(err)
	}
	for run, ok := c.Head(n); ok; run, ok = c.Head(n) {
		if _, err := q.Partitions()[0].retire(nil, run.First, run.Last, Rejected); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.s.DeleteQueue("q", false, false); err != nil {
		t.Fatal(err)
	}
	r.buried()
	if got := dead.Ready(); got != n {
		t.Errorf("%d dead letters of %d", got, n)
	}
}

// TestDeadLettersOfADeletedQueueThatCantBeStoredAreTold instead of keeping its log for ever.
func TestDeadLettersOfADeletedQueueThatCantBeStoredAreTold(t *testing.T) {
	var later atomic.Bool
	r, s := startFaultyWith(t, Options{Now: func() time.Time {
		if later.Load() {
			return time.Now().Add(time.Hour)
		}
		return time.Now()
	}})
	dead := r.queue("dead", QueueOptions{Durable: true})
	r.dying("q", "dead")
	r.put("q", 5, field.NoProperties, time.Now())
	s.append[dead.Partitions()[0].log.ID()] = store.ErrFull
	r.reject("q", 5)
	if _, err := r.s.DeleteQueue("q", false, false); err != nil {
		t.Fatal(err)
	}
	later.Store(true)
	for end := time.Now().Add(patience); time.Now().Before(end); { // what came in two pieces is tried again after a second, and then after two
		if r.Counters().DeadLettersLost[LostSource].Load() == 5 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d told", r.Counters().DeadLettersLost[LostSource].Load())
}

func TestRoutingKeysOfDeadLetters(t *testing.T) {
	r := start(t)
	r.exchange("dlx", "topic")
	all := map[string]*Queue{}
	for _, key := range []string{"q", "copied", "mine"} {
		all[key] = r.queue("by-"+key, QueueOptions{Durable: true})
		r.bind("dlx", "by-"+key, key)
	}
	cc := field.AppendArray(field.AppendName(nil, "CC"), field.AppendString(nil, []byte("copied")))
	props := (&field.Properties{Flags: field.FlagHeaders, Headers: cc}).Append(nil)
	r.dying("q", "", argDeadLetterExchange, "dlx")
	r.put("q", 1, props, time.Now())
	r.reject("q", 1)
	r.buried()
	for _, key := range []string{"q", "copied"} {
		g := r.get("by-" + key)
		if got := deathsOf(t, g.Properties); string(g.Key) != "q" || string(g.Exchange) != "dlx" || got != "q/rejected/1 ,q,copied; first q/rejected ; last q/rejected " {
			t.Errorf("%s: by %q from %q, died of %s", key, g.Key, g.Exchange, got)
		}
	}
	// A key of the queue's own stands for all of them; the header stays, and is no key any more.
	r.queue("keyed", QueueOptions{Durable: true, Args: arguments(argDeadLetterExchange, "dlx", argDeadLetterKey, "mine")})
	r.queue("next", QueueOptions{Durable: true, Args: arguments(argDeadLetterExchange, "dlx")})
	r.bind("dlx", "next", "mine")
	r.put("keyed", 1, props, time.Now())
	r.reject("keyed", 1)
	r.buried()
	if n := all["copied"].Ready() + all["q"].Ready(); n != 0 {
		t.Errorf("%d by other keys", n)
	}
	r.get("by-mine")
	r.reject("next", 1)
	r.buried()
	for i, want := range []string{"next/rejected/1 dlx,mine; keyed/rejected/1 ,keyed,copied; first keyed/rejected ; last next/rejected dlx"} {
		if got := deathsOf(t, r.get("by-mine").Properties); got != want {
			t.Errorf("%d: died of %s\nwant %s", i, got, want)
		}
	}
	if n := all["copied"].Ready(); n != 0 {
		t.Errorf("%d by the key of a header that stands for nothing any more", n)
	}
}

// TestDeathsThatClientsTellOfMeanNothing: RabbitMQ 4 counts from its own alone.
func TestDeathsThatClientsTellOfMeanNothing(t *testing.T) {
	r := start(t)
	r.queue("dead", QueueOptions{Durable: true})
	r.dying("q", "dead")
	r.put("q", 1, field.NoProperties, time.Now())
	r.reject("q", 1)
	r.buried()
	g := r.get("dead")
	r.put("q", 1, g.Properties, time.Now()) // as a client sends it again
	r.reject("q", 1)
	r.buried()
	if got := deathsOf(t, r.get("dead").Properties); got != "q/rejected/1 ,q; first q/rejected ; last q/rejected " {
		t.Errorf("died of %s", got)
	}
}

func TestDeadLettersNeedNobodysPermission(t *testing.T) {
	r := start(t)
	r.opts.Policy = func(q Request) error {
		if q.User == "limited" && (q.Verb == Publish && q.On.Name != "allowed" || q.Verb == Consume && q.On.Name == "unread") {
			return errors.New("says the test")
		}
		if q.User == "" {
			t.Error("somebody asked for the broker itself")
		}
		return nil
	}
	r.exchange("allowed", "fanout")
	r.queue("dead", QueueOptions{Durable: true})
	r.bind("allowed", "dead", "")
	s := r.v.NewSession(auth.Identity{Name: "limited"})
	for name, c := range map[string]struct {
		exchange string
		kind     Kind
	}{"q": {"allowed", 0}, "other": {"forbidden", Refused}, "unread": {"allowed", Refused}} {
		_, err := s.DeclareQueue(name, QueueOptions{Durable: true, Args: arguments(argDeadLetterExchange, c.exchange)})
		if KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.s.DeclareExchange("inner", ExchangeOptions{Type: "fanout", Internal: true}); err != nil {
		t.Fatal(err)
	}
	r.bind("inner", "dead", "")
	r.dying("p", "", argDeadLetterExchange, "inner")
	r.put("q", 1, field.NoProperties, time.Now())
	r.put("p", 1, field.NoProperties, time.Now())
	r.reject("q", 1)
	r.reject("p", 1)
	r.buried()
	dead, _ := r.v.Queue("dead")
	if n := dead.Ready(); n != 2 {
		t.Errorf("%d dead letters", n)
	}
}

// TestRecordsOfKafkaProducersBecomeDeadLetters, compressed ones too; a batch that can't be
// decoded holds up nothing.
func TestRecordsOfKafkaProducersBecomeDeadLetters(t *testing.T) {
	r := startWith(t, 0)
	dead := r.queue("dead", QueueOptions{Durable: true})
	q := r.dying("q", "dead")
	p := q.Partitions()[0]
	for _, b := range [][]byte{produced(-1, -1, -1, "a", "b"), compressed(t, "c", "d"), lying(2), produced(-1, -1, -1, "e")} {
		if _, err := p.log.Append(b); err != nil {
			t.Fatal(err)
		}
	}
	d, err := p.depart(nil, 0, 6, Expired)
	if err != nil {
		t.Fatal(err)
	}
	if c, _ := p.work(); c != nil {
		c.Head(1)
		d, _ = p.depart(nil, 0, 6, Expired)
	}
	d.die()
	for _, o := range []message.Offset{2, 4, 6} {
		p.cursor.Load().Head(1)
		d, _ = p.depart(nil, o, 6, Expired)
		d.die()
	}
	r.buried()
	want(t, "dead letters", drain(t, dead), []string{"a", "b", "c", "d", "e"})
	if got := r.leftBy(); got[Expired] != 5 || got[Damaged] != 2 || q.Ready() != 0 {
		t.Errorf("left %v, %d ready", got, q.Ready())
	}
}

func TestDeadLettersAllocateByTheTurn(t *testing.T) {
	r := startWith(t, 0)
	dead := r.queue("dead", QueueOptions{Durable: true})
	q := r.dying("q", "dead")
	p := r.s.NewPublisher()
	in := Inbound{Key: []byte("q"), Body: bytes.Repeat([]byte("x"), 12), TimestampMs: 1}
	const perMessage = 0.05
	rounds := int64(0)
	allocs := alloc.Least(perMessage*turnMessages, 5, func() {
		rounds++
		for i := range turnMessages {
			in.SameHead = i > 0
			_, _ = p.Publish(&in)
		}
		p.Store()
		_ = p.Commit(nil)
		c, _ := q.Partitions()[0].work()
		run, _ := c.Head(1 << 30)
		if _, err := q.Partitions()[0].retire(nil, run.First, run.Last, Expired); err != nil {
			t.Fatal(err)
		}
		r.buried()
	})
	if allocs > perMessage*turnMessages {
		t.Errorf("%.3f allocations a message", allocs/turnMessages)
	}
	if n := dead.Ready(); n != rounds*turnMessages {
		t.Errorf("%d dead letters", n)
	}
}
