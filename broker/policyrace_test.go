package broker

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/message"
)

func TestPoliciesSurviveAKill(t *testing.T) {
	r := start(t)
	r.queue("q", QueueOptions{Durable: true})
	r.policy("p", "q", `{"max-length":3}`, priority(4), to("queues"))
	r.policy("o/ü", "q", `{"max-length":2}`, byOperator)
	was := r.v.Policies()
	r.kill()
	if got := r.v.Policies(); fmt.Sprint(got) != fmt.Sprint(was) || len(got) != 2 {
		t.Errorf("%v, were %v", got, was)
	}
	if q, _ := r.v.Queue("q"); q.Settings().MaxLength != 2 {
		t.Errorf("%+v", q.Policies())
	}
}

// TestAChangeOfPoliciesMakesFewSettings has very many queues of few kinds.
func TestAChangeOfPoliciesMakesFewSettings(t *testing.T) {
	r := startWith(t, 0)
	const n = 2000
	for i := range n {
		o := QueueOptions{Durable: true}
		if i%2 == 0 {
			o.Args = arguments("x-max-length", 100)
		}
		r.queue(fmt.Sprintf("q%d", i), o)
	}
	for i := range 400 { // of which more than are kept by key
		r.queue(fmt.Sprintf("odd%d", i), QueueOptions{Durable: true, Args: arguments("x-max-length", 1000+i)})
	}
	made := func() int {
		different := map[*Settings]bool{}
		for _, q := range r.v.Queues() {
			different[q.Settings()] = true
		}
		return len(different)
	}
	before := made()
	r.policy("p", "q", `{"max-length":50}`)
	r.policy("o", "q", `{"message-ttl":50000}`, byOperator)
	if got := made(); got != before {
		t.Errorf("%d settings of %d queues, were %d", got, n, before)
	}
	r.unpolicy("p")
	if err := r.v.DeletePolicy(audit.Process("test"), "o", true); err != nil {
		t.Fatal(err)
	}
	if got := made(); got != before {
		t.Errorf("%d settings afterwards", got)
	}
}

// TestDeclaresAndPoliciesMeet has each queue under the last policy, whoever was first.
func TestDeclaresAndPoliciesMeet(t *testing.T) {
	r := startWith(t, 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 300 {
			if _, err := r.s.DeclareQueue(fmt.Sprintf("q%d", i), QueueOptions{Durable: i%3 > 0}); err != nil {
				t.Error(err)
			}
			if _, err := r.s.CreateTopic(fmt.Sprintf("qt-%d", i), 1, nil); err != nil {
				t.Error(err)
			}
		}
	}()
	go func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			if q, err := r.v.Queue("qt-0"); err == nil {
				_ = r.s.SetConfig(q, configs("retention.ms", fmt.Sprint(1000+i)))
			}
		}
	}()
	last := 0
	for running := true; running; last++ {
		select {
		case <-done:
			running = false
		default:
		}
		r.policy("p", "q", fmt.Sprintf(`{"max-length-bytes":%d}`, 1000+last))
	}
	<-done
	for _, q := range r.v.Queues() {
		if v, _ := q.Settings().Value(byArg("x-max-length-bytes")); v != fmt.Sprint(1000+last-1) {
			t.Errorf("%s is under %s", q.Name, v)
		}
	}
}

// TestPoliciesAreExactForWhatIsPublishedAfterThem has publishers run while policies fight: what was confirmed before
// one came keeps its time to live, what is published after it has the new one, and no limit is ever passed.
func TestPoliciesAreExactForWhatIsPublishedAfterThem(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.queue("q", QueueOptions{Durable: true})
		limited := r.queue("limited", QueueOptions{Durable: true})
		stop := make(chan struct{})
		var running sync.WaitGroup
		var published [3]atomic.Int64
		for i := range published {
			running.Go(func() {
				p := r.s.NewPublisher()
				for {
					select {
					case <-stop:
						return
					default:
					}
					for _, key := range []string{"q", "limited"} {
						in := &Inbound{Key: []byte(key), Body: []byte("b"), Properties: field.NoProperties, TimestampMs: time.Now().UnixMilli(), Persistent: true}
						if _, err := p.Publish(in); err != nil {
							t.Error(err)
						}
					}
					flush(t, p)
					published[i].Add(1)
					time.Sleep(time.Millisecond)
				}
			})
		}
		confirmed := func() (n int64) {
			for i := range published {
				n += published[i].Load()
			}
			return n
		}
		time.Sleep(50 * time.Millisecond)
		least := confirmed()
		r.policy("short", "q", `{"message-ttl":100}`, priority(1))
		for i := range 20 {
			r.policy("l", "limited", fmt.Sprintf(`{"max-length":%d}`, 3+i%5))
			if n := limited.Ready(); n > int64(3+i%5) {
				t.Errorf("%d messages where %d may be", n, 3+i%5)
			}
			time.Sleep(5 * time.Millisecond)
		}
		before := confirmed()
		r.policy("long", "q", `{"message-ttl":100000000}`, priority(2))
		most := confirmed() + int64(len(published))
		time.Sleep(50 * time.Millisecond)
		close(stop)
		running.Wait()
		all := confirmed()
		part := q.Partitions()[0]
		steps := part.ttlSteps()
		if len(steps) != 2 || steps[0].TTL != -1 || steps[1].TTL != 100 {
			t.Fatalf("%+v", steps)
		}
		if at := int64(steps[0].Before); at < least || at > least+int64(len(published)) {
			t.Errorf("the short time is of what came from %d on, %d were there before", at, least)
		}
		if at := int64(steps[1].Before); at < before || at > most {
			t.Errorf("the long time is of what came from %d on, %d to %d were there before", at, before, most)
		}
		time.Sleep(time.Minute)
		got := int64(0)
		for g, err := r.s.Get("q", true); g != nil || err != nil; g, err = r.s.Get("q", true) {
			if err != nil || g.Offset >= steps[0].Before && g.Offset < steps[1].Before {
				t.Fatalf("%d came, %v", g.Offset, err)
			}
			got++
		}
		if want := all - int64(steps[1].Before-steps[0].Before); got != want {
			t.Errorf("%d are left, want %d", got, want)
		}
	})
}

// TestAPolicyThatComesBesideADeclarationApplies has one come when a queue, an exchange and the configs of a topic are
// written and not yet shown.
func TestAPolicyThatComesBesideADeclarationApplies(t *testing.T) {
	r := start(t)
	topic, err := r.s.CreateTopic("topic", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	beside := func(plan func(c *change) error) {
		t.Helper()
		err := r.v.change(func(c *change) error {
			if err := plan(c); err != nil {
				return err
			}
			prepare := c.prepare
			c.prepare = func() error {
				if prepare != nil {
					if err := prepare(); err != nil {
						return err
					}
				}
				r.policy("p", "", `{"max-length-bytes":77,"alternate-exchange":"a"}`)
				return nil
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limited := func(name string) bool {
		q, err := r.v.Queue(name)
		return err == nil && q.Policies().Policy == "p"
	}
	beside(func(c *change) error {
		q, err := r.v.declared(r.s, "queue", QueueOptions{Durable: true})
		if err == nil {
			c.create(r.s, q, 1)
		}
		return err
	})
	if !limited("queue") {
		t.Error("a queue")
	}
	r.unpolicy("p")
	beside(func(c *change) error {
		x, err := r.v.newExchange("exchange", ExchangeOptions{Type: "direct"})
		if err == nil {
			c.makeExchange(x)
		}
		return err
	})
	if x, err := r.v.Exchange("exchange"); err != nil || x.Policies().Policy != "p" {
		t.Errorf("an exchange: %v", err)
	}
	r.unpolicy("p")
	beside(func(c *change) error {
		declared, err := topic.Settings().with(configs("retention.ms", "5000"))
		if err != nil {
			return err
		}
		return c.obey(topic, r.v.settingsOf("topic", topic.Settings().kind, declared))
	})
	if !limited("topic") {
		t.Error("a topic's configs")
	}
}

// TestWhatIsStoredAfterALimitCameIsRefused has a batch that was begun before its queue began to refuse.
func TestWhatIsStoredAfterALimitCameIsRefused(t *testing.T) {
	r := start(t)
	q := r.queue("q", QueueOptions{Durable: true})
	p := r.s.NewPublisher()
	for range 5 {
		if _, err := p.Publish(&Inbound{Key: []byte("q"), Body: []byte("b"), Properties: field.NoProperties}); err != nil {
			t.Fatal(err)
		}
	}
	r.policy("p", "q", `{"max-length":2,"overflow":"reject-publish"}`)
	p.Store()
	if err := p.Commit(nil); KindOf(err) != LimitReached {
		t.Errorf("%v", err)
	}
	if n := q.Ready(); n != 2 {
		t.Errorf("%d ready", n)
	}
}

// TestWhatWasAppendedBesideAChangeIsSeenTo has an append that looked at the settings before they were others.
func TestWhatWasAppendedBesideAChangeIsSeenTo(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.queue("q", QueueOptions{Durable: true})
		part := q.Partitions()[0]
		r.fill("q", "1", "2", "3", "4")
		r.policy("p", "q", `{"max-length":3,"message-ttl":60000}`)
		time.Sleep(time.Second)
		var b message.Builder
		for range 5 {
			b.Add(&message.Publish{Key: []byte("q"), Properties: field.NoProperties, Body: []byte("b"), TimestampMs: time.Now().UnixMilli()})
		}
		if _, err := part.log.Append(b.Seal()); err != nil {
			t.Fatal(err)
		}
		part.settingsCame()
		time.Sleep(time.Second) // nobody asks
		if n := r.leftBy()[LengthLimit]; n != 6 {
			t.Errorf("%d went", n)
		}
		if !part.expiry.Load().listed.Load() {
			t.Error("nobody looks for what expires")
		}
	})
}

// TestAPolicyThatCantBeWrittenChangesNothing has a disk that takes no definitions for a while.
func TestAPolicyThatCantBeWrittenChangesNothing(t *testing.T) {
	var broken atomic.Bool
	files := fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
		if broken.Load() && op == fs.OpWrite && strings.Contains(name, "defs/") {
			return syscall.ENOSPC
		}
		return nil
	})
	bubbleOn(t, files, func(t *testing.T, r *rig) {
		q := r.queue("q", QueueOptions{Durable: true})
		r.policy("old", "q", `{"max-length":5}`)
		r.put("q", 3, field.NoProperties, time.Now())
		broken.Store(true)
		p := SettingPolicy{Name: "new", Pattern: "q", Priority: 1, Definition: json.RawMessage(`{"message-ttl":1000}`)}
		if err := r.v.PutPolicies(audit.Process("test"), p); KindOf(err) != Full {
			t.Errorf("%v", err)
		}
		if err := r.v.DeletePolicy(audit.Process("test"), "old", false); KindOf(err) != Full {
			t.Errorf("%v", err)
		}
		if a := q.Policies(); a.Policy != "old" || len(r.v.Policies()) != 1 || q.Settings().MaxLength != 5 {
			t.Errorf("%+v, %d policies", a, len(r.v.Policies()))
		}
		broken.Store(false)
		if err := r.v.PutPolicies(audit.Process("test"), p); err != nil {
			t.Fatal(err)
		}
		if a := q.Policies(); a.Policy != "new" {
			t.Errorf("%+v", a)
		}
		time.Sleep(2 * time.Second)
		if n := q.Ready(); n != 3 {
			t.Errorf("%d of those that were there are left", n)
		}
	})
}
