package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/store"
)

func TestAPolicyCutsALiveQueueAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		definition string
		left       int64
	}{
		"by messages": {`{"max-length":3}`, 3},
		"by bytes":    {`{"max-length-bytes":5}`, 5},
		"to nothing":  {`{"max-length":0}`, 0},
		"refusing":    {`{"max-length":3,"overflow":"reject-publish"}`, 10},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				q := r.queue("q", QueueOptions{Durable: true})
				r.fill("q", strings.Split("0123456789", "")...)
				r.policy("p", "q", c.definition)
				time.Sleep(time.Second) // nobody asks
				if n := r.leftBy()[LengthLimit]; int64(n) != 10-c.left {
					t.Errorf("%d went", n)
				}
				if n := q.Ready(); n != c.left {
					t.Errorf("%d are left, want %d", n, c.left)
				}
				if c.left > 0 {
					if g := r.get("q"); string(g.Body) != fmt.Sprint(10-c.left) {
						t.Errorf("%s is the first", g.Body)
					}
				}
				r.unpolicy("p")
				r.fill("q", strings.Split("abcdefghij", "")...)
				if n := q.Ready(); n != max(c.left-1, 0)+10 {
					t.Errorf("%d without the policy", n)
				}
			})
		})
	}
}

// TestALimitInBytesCountsWhatCameWithoutIt has a limit come, go and come again.
func TestALimitInBytesCountsWhatCameWithoutIt(t *testing.T) {
	r := start(t)
	q := r.queue("q", QueueOptions{Durable: true})
	r.policy("p", "q", `{"max-length-bytes":100}`)
	r.fill("q", "aaaa", "bbbb")
	r.unpolicy("p")
	r.fill("q", "cccc", "dddd")
	r.hold("q").Lease.Requeue(0, 0)
	r.policy("p", "q", `{"max-length-bytes":9}`)
	r.fill("q", "e")
	if n := q.Ready(); n != 3 {
		t.Errorf("%d ready, want c, d and e", n)
	}
}

func TestAPolicysTimeToLiveIsOfWhatIsPublishedFromThenOn(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				again := func() *Queue {
					if restart {
						r.restart()
					}
					q, err := r.v.Queue("q")
					if err != nil {
						t.Fatal(err)
					}
					return q
				}
				r.queue("q", QueueOptions{Durable: true})
				r.put("q", 3, field.NoProperties, time.Now())
				r.policy("p", "q", `{"message-ttl":2000}`)
				again()
				r.put("q", 5, field.NoProperties, time.Now())
				r.policy("p", "q", `{"message-ttl":60000}`)
				again()
				r.put("q", 7, field.NoProperties, time.Now())
				r.unpolicy("p")
				q := again()
				r.put("q", 11, field.NoProperties, time.Now())
				want := func(n int64) {
					t.Helper()
					if got := q.Ready(); got != n {
						t.Errorf("%d ready, want %d", got, n)
					}
				}
				time.Sleep(time.Second)
				want(26)
				time.Sleep(2 * time.Second) // those that live for ever stand before those that are over
				want(26)
				for range 3 {
					if g, err := r.s.Get("q", true); g == nil || err != nil {
						t.Fatal(g, err)
					}
				}
				want(18)
				time.Sleep(time.Minute)
				want(11)
				time.Sleep(time.Hour)
				q = again()
				want(11)
				defs := r.defsWith("t/")
				if restart && len(defs) != 0 {
					t.Errorf("what is passed is written down still: %v", defs)
				}
			})
		})
	}
}

// defsWith are the keys of definitions with a prefix.
func (r *rig) defsWith(prefix string) (keys []string) {
	r.t.Helper()
	err := r.defs.Load(r.t.Context(), func(e store.Entry) error {
		if strings.HasPrefix(e.Key, prefix) && e.Value != nil {
			keys = append(keys, e.Key)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return keys
}

func TestTheStepsOfADeletedQueueAreNotThoseOfTheNext(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("q", QueueOptions{Durable: true})
		r.put("q", 3, field.NoProperties, time.Now())
		r.policy("p", "q", `{"message-ttl":2000}`)
		if n := len(r.defsWith("t/")); n != 1 {
			t.Fatalf("%d steps written", n)
		}
		if _, err := r.s.DeleteQueue("q", false, false); err != nil {
			t.Fatal(err)
		}
		if n := len(r.defsWith("t/")); n != 0 {
			t.Errorf("%d steps are left", n)
		}
		q := r.queue("q", QueueOptions{Durable: true})
		// As a kill beside a change might leave it: of logs that are gone.
		if err := r.putJSON(store.Key(prefixTTL, "/", "q"), ttlDef{VHost: "/", Queue: "q", Logs: []ttlLogSteps{{Log: q.Partitions()[0].log.ID() + "0", Steps: []ttlStep{{100, -1}}}}}); err != nil {
			t.Fatal(err)
		}
		r.restart()
		r.put("q", 3, field.NoProperties, time.Now())
		time.Sleep(3 * time.Second)
		if q, _ := r.v.Queue("q"); q.Ready() != 0 {
			t.Errorf("%d live by the steps of another", q.Ready())
		}
		if n := len(r.defsWith("t/")); n != 0 {
			t.Errorf("%d steps are left", n)
		}
	})
}

func TestAPolicysDeadLettersAndLimitOfReturns(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("dead", QueueOptions{Durable: true})
		q := r.queue("q", QueueOptions{Durable: true, Args: arguments("x-queue-type", "quorum")})
		r.put("q", 2, field.NoProperties, time.Now())
		r.policy("p", "q", `{"dead-letter-exchange":"","dead-letter-routing-key":"dead","delivery-limit":1}`)
		for range 2 {
			g := r.hold("q")
			if err := g.Lease.Fail(g.Offset, g.Offset); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		dead, _ := r.v.Queue("dead")
		if q.Ready() != 1 || dead.Ready() != 1 {
			t.Errorf("%d in the queue, %d dead letters", q.Ready(), dead.Ready())
		}
		r.unpolicy("p")
		g := r.hold("q")
		if err := g.Lease.Reject(g.Offset, g.Offset); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if q.Ready() != 0 || dead.Ready() != 1 {
			t.Errorf("%d in the queue, %d dead letters without the policy", q.Ready(), dead.Ready())
		}
	})
}

func TestAPolicysExpiryDeletesUnusedQueues(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, name := range []string{"q1", "q2", "other"} {
			r.queue(name, QueueOptions{Durable: true})
		}
		own := r.lapsing("qown", 20_000)
		time.Sleep(time.Hour)
		r.lapsing("qown", 20_000)
		r.policy("p", "q", `{"expires":5000}`, byOperator)
		time.Sleep(2 * time.Second)
		r.policy("p", "q", `{"expires":6000}`, byOperator)
		if n := len(r.lapses.queues); n != 3 {
			t.Errorf("%d queues are looked at", n)
		}
		r.policy("p", "q", `{"expires":5000}`, byOperator)
		time.Sleep(4 * time.Second)
		r.policy("p", "q1", `{"expires":5000}`, byOperator)
		time.Sleep(2 * time.Second)
		if r.there("q1") || !r.there("q2") || !r.there("other") || !r.there("qown") {
			t.Errorf("q1 %v q2 %v other %v qown %v", r.there("q1"), r.there("q2"), r.there("other"), r.there("qown"))
		}
		_ = own
		time.Sleep(time.Minute)
		if !r.there("q2") || r.there("qown") {
			t.Error("a queue goes by a policy that is gone, or stays by it")
		}
	})
}

func TestAPolicysAlternateExchange(t *testing.T) {
	r := start(t)
	r.exchange("x", "direct")
	r.exchange("alt", "fanout")
	r.exchangeWith("own", "direct", "alternate-exchange", "nowhere")
	r.queue("q", QueueOptions{Durable: true})
	r.bind("alt", "q", "")
	p := r.s.NewPublisher()
	routed := func(exchange string) bool {
		t.Helper()
		ok, err := p.Publish(&Inbound{Exchange: []byte(exchange), Key: []byte("k"), Body: []byte("b")})
		if err != nil {
			t.Fatal(err)
		}
		flush(t, p)
		return ok
	}
	if routed("x") || routed("own") {
		t.Fatal("without a policy")
	}
	r.policy("p", ".*", `{"alternate-exchange":"alt"}`)
	if !routed("x") || routed("own") {
		t.Error("with the policy, and with an argument that says otherwise")
	}
	if !routed("amq.direct") || routed("") {
		t.Error("what every virtual host has, and the default exchange")
	}
	r.exchange("later", "direct")
	r.restart()
	p = r.s.NewPublisher()
	if !routed("x") || !routed("later") || !routed("amq.direct") {
		t.Error("after a restart")
	}
	r.unpolicy("p")
	if routed("x") || routed("later") {
		t.Error("without the policy")
	}
}

func TestAPolicysLimitRefusesFromThenOn(t *testing.T) {
	r := start(t)
	r.queue("q", QueueOptions{Durable: true})
	p := r.s.NewPublisher()
	r.refuses(r.offer(p, "", "q", "a", "b"))
	r.policy("p", "q", `{"max-length":3,"overflow":"reject-publish"}`)
	r.refuses(r.offer(p, "", "q", "c", "d"), "d")
	r.policy("p", "q", `{"x-message-deduplication":true}`)
	r.refuses(r.named(p, "", "q", "n", "n"), "n")
	r.unpolicy("p")
	r.refuses(r.offer(p, "", "q", "e"))
	r.refuses(r.named(p, "", "q", "n", "m"))
	r.policy("p", "q", `{"x-message-deduplication":true}`)
	r.refuses(r.named(p, "", "q", "m", "o"), "m")
}

// TestWhatIsStoredBesideAPolicyIsWithinIt has a batch stored that was begun before the policy came.
func TestWhatIsStoredBesideAPolicyIsWithinIt(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.queue("q", QueueOptions{Durable: true})
		p := r.s.NewPublisher()
		for range 10 {
			if _, err := p.Publish(&Inbound{Key: []byte("q"), Body: []byte("b"), TimestampMs: time.Now().UnixMilli()}); err != nil {
				t.Fatal(err)
			}
		}
		r.policy("p", "q", `{"max-length":3,"message-ttl":5000}`)
		flush(t, p)
		if n := q.Ready(); n != 3 {
			t.Errorf("%d ready", n)
		}
		time.Sleep(6 * time.Second)
		if n := q.Ready(); n != 0 {
			t.Errorf("%d ready after their time", n)
		}
	})
}

func TestAConsumerIsToldOfAnotherTimeout(t *testing.T) {
	r := start(t)
	r.queue("q", QueueOptions{Durable: true})
	told := make(chan time.Duration, 2)
	sub := r.subscribe("q", SubscribeOptions{Timeout: func(d time.Duration) { told <- d }})
	defer sub.Close()
	r.policy("p", "q", `{"consumer-timeout":1500}`)
	if d := <-told; d != 1500*time.Millisecond || sub.Timeout() != d {
		t.Errorf("%v, %v", d, sub.Timeout())
	}
}

// TestWhatHasATimeOfAPolicyThatIsGoneExpiresAfterAStart has nobody ask for it.
func TestWhatHasATimeOfAPolicyThatIsGoneExpiresAfterAStart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("q", QueueOptions{Durable: true})
		r.policy("p", "q", `{"message-ttl":5000}`)
		r.put("q", 3, field.NoProperties, time.Now())
		r.unpolicy("p")
		r.restart()
		time.Sleep(time.Minute)
		if n := r.leftBy()[Expired]; n != 3 {
			t.Errorf("%d expired", n)
		}
	})
}

func TestAQueueWhosePolicyIsGoneDoesNotLapse(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.queue("q", QueueOptions{})
		r.policy("p", "q", `{"expires":5000}`)
		r.unpolicy("p")
		r.lapses.put(q, 0) // as one who looked at it meanwhile
		time.Sleep(time.Minute)
		if _, ok := q.lapsesAt(r.lapses.now()); ok || !r.there("q") {
			t.Error("it lapses")
		}
	})
}
