package broker

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/internal/logged"
	"github.com/leveret-mq/leveret/message"
)

func TestMessagesExpireWithoutAConsumer(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.queue("q", QueueOptions{Durable: true})
		p := q.Partitions()[0]
		r.put("q", 50, expiring("5000"), time.Now())
		time.Sleep(4 * time.Second)
		if n := q.Ready(); n != 50 {
			t.Fatalf("%d ready before their time", n)
		}
		time.Sleep(3 * time.Second) // nobody asks
		floor, _ := p.cursor.Load().Progress()
		if _, end, _ := p.log.Bounds(); floor != end {
			t.Errorf("floor %d of %d: their space is not free", floor, end)
		}
		if got := r.leftBy(); len(got) != 1 || got[Expired] != 50 {
			t.Errorf("left %v", got)
		}
		if p.expiry.Load().listed.Load() {
			t.Error("the empty queue is still looked at")
		}
		r.put("q", 2, field.NoProperties, time.Now())
		if n := q.Ready(); n != 2 {
			t.Errorf("%d ready, want the live ones", n)
		}
	})
}

// TestACountHasNoExpiredMessages asks at once, before anybody was on the way to look.
func TestACountHasNoExpiredMessages(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.queue("q", QueueOptions{Durable: true})
		r.put("q", 9, expiring("100"), time.Now())
		time.Sleep(101 * time.Millisecond)
		if n := q.Ready(); n != 0 {
			t.Errorf("%d ready", n)
		}
		r.put("q", 1, expiring("0"), time.Now())
		r.put("q", 2, field.NoProperties, time.Now())
		time.Sleep(time.Millisecond)
		g, err := r.s.Get("q", true)
		if err != nil || g == nil || g.Remaining != 1 {
			t.Fatalf("%+v %v", g, err)
		}
		r.put("q", 1, expiring("100"), time.Now())
		if _, err := r.s.DeleteQueue("q", false, true); KindOf(err) != Precondition {
			t.Errorf("if-empty with two messages: %v", err)
		}
		if g, err = r.s.Get("q", true); err != nil || g == nil {
			t.Fatal(err)
		}
		time.Sleep(101 * time.Millisecond)
		if _, err := r.s.DeleteQueue("q", false, true); err != nil {
			t.Errorf("if-empty with an expired message: %v", err)
		}
	})
}

// TestOnlyTheHeadExpires is RabbitMQ's rule: who stands behind a live message waits.
func TestOnlyTheHeadExpires(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.queue("q", QueueOptions{Durable: true})
		r.put("q", 1, expiring("60000"), time.Now())
		r.put("q", 1, field.NoProperties, time.Now())
		r.put("q", 3, expiring("1000"), time.Now())
		time.Sleep(10 * time.Second)
		if n := q.Ready(); n != 5 {
			t.Errorf("%d ready behind a head that lives", n)
		}
		time.Sleep(time.Minute)
		if n := q.Ready(); n != 4 {
			t.Errorf("%d ready behind a head that does not expire", n)
		}
		sub := r.subscribe("q", SubscribeOptions{Prefetch: 1})
		if got := pull(t, sub, 10, 1<<20); len(got) != 1 || got[0].Offset != 1 {
			t.Fatalf("%v", got)
		}
		time.Sleep(2 * time.Second) // the three are the head now
		if got := r.leftBy(); got[Expired] != 4 || q.Ready() != 0 || q.Unacked() != 1 {
			t.Errorf("left %v, %d ready, %d unacked", got, q.Ready(), q.Unacked())
		}
		sub.Close()
	})
}

func TestWhatComesBackExpires(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.queue("q", QueueOptions{Durable: true})
		r.put("q", 2, expiring("1000"), time.Now())
		sub := r.subscribe("q", SubscribeOptions{})
		held := pull(t, sub, 10, 1<<20)
		time.Sleep(time.Minute)
		if len(held) != 2 || q.Unacked() != 2 {
			t.Fatalf("%d held", len(held))
		}
		sub.Close()
		if err := held[0].Lease.Requeue(0, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if got := r.leftBy(); got[Expired] != 2 {
			t.Errorf("left %v", got)
		}
	})
}

// TestADamagedHeadIsNotInTheWay has the disk lose the head while nobody reads: what lies behind it expires.
func TestADamagedHeadIsNotInTheWay(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.queue("q", QueueOptions{Durable: true})
		r.put("q", 4, expiring("1000"), time.Now())
		sub := r.subscribe("q", SubscribeOptions{})
		held := pull(t, sub, 10, 1<<20)
		sub.Close()
		for _, n := range []int{1, 2} {
			r.damage(n)
		}
		if err := held[0].Lease.Requeue(0, 3); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		if got := r.leftBy(); got[Expired] != 2 || got[Damaged] != 2 || q.Ready() != 0 {
			t.Errorf("left %v, %d ready", got, q.Ready())
		}
	})
}

// TestADiskThatFailsIsAskedOnceAMinute has messages come while the head of their queue can't be read.
func TestADiskThatFailsIsAskedOnceAMinute(t *testing.T) {
	for name, args := range map[string][]byte{"plain": nil, "with dead letters": arguments("x-dead-letter-exchange", "amq.fanout")} {
		t.Run(name, func(t *testing.T) {
			var broken atomic.Bool
			var asked atomic.Int64
			files := fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
				if broken.Load() && op == fs.OpRead && strings.Contains(name, "/queues/") {
					asked.Add(1)
					return syscall.EIO
				}
				return nil
			})
			bubbleOn(t, files, func(t *testing.T, r *rig) {
				var said logged.Lines
				r.queue(name, QueueOptions{Durable: true, Args: args})
				r.put(name, 1, expiring("1000"), time.Now())
				r.lines = said.Logger()
				if err := errors.Join(r.Close(), r.store.Close()); err != nil {
					t.Fatal(err)
				}
				r.open()
				broken.Store(true)
				q, _ := r.v.Queue(name)
				for range 100 {
					q.Partitions()[0].expects(true) // as after an append
					time.Sleep(3 * time.Second)
				}
				broken.Store(false)
				synctest.Wait()
				if n := asked.Load(); n > 60 {
					t.Errorf("the disk was asked %d times in five minutes", n)
				}
				if n := strings.Count(said.String(), "can't look for expired messages"); n < 3 || n > 6 {
					t.Errorf("%d lines in five minutes: %s", n, said.String())
				}
				time.Sleep(2 * time.Minute)
				if got := r.leftBy(); got[Expired] != 1 {
					t.Errorf("left %v when the disk is well again", got)
				}
				if q.Ready() != 0 {
					t.Errorf("%d are left when the disk is well again", q.Ready())
				}
			})
		})
	}
}

// TestARestartKnowsWhichQueuesHoldMessagesThatExpire: those are looked at without
// anybody asking, and no other log is opened.
func TestARestartKnowsWhichQueuesHoldMessagesThatExpire(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("q", QueueOptions{Durable: true})
		r.queue("plain", QueueOptions{Durable: true})
		r.queue("gone", QueueOptions{Durable: true})
		r.put("q", 5, expiring("10000"), time.Now())
		r.put("gone", 5, expiring("10000"), time.Now())
		r.put("plain", 5, field.NoProperties, time.Now())
		time.Sleep(2 * time.Second) // it is noted by now
		if _, err := r.s.DeleteQueue("gone", false, false); err != nil {
			t.Fatal(err)
		}
		r.queue("gone", QueueOptions{Durable: true})
		r.queue("late", QueueOptions{Durable: true})
		r.put("late", 5, expiring("10000"), time.Now()) // a moment before the stop
		r.restart()
		time.Sleep(20 * time.Second)
		if got := r.leftBy(); got[Expired] != 10 {
			t.Errorf("left %v", got)
		}
		for _, name := range []string{"plain", "gone"} {
			q, _ := r.v.Queue(name)
			if q.Partitions()[0].cursor.Load() != nil || q.Partitions()[0].expiry.Load() != nil {
				t.Errorf("queue %s was looked at", name)
			}
		}
	})
}

// TestUnmarkedQueuesAreLookedAtWhenTheyAreUsed has what an older version leaves, or a
// kill before the mark was written; after a kill the logs that changed are opened.
func TestUnmarkedQueuesAreLookedAtWhenTheyAreUsed(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.queue("q", QueueOptions{Durable: true})
		q.expires.Store(true) // so that it is not marked
		r.put("q", 5, expiring("1000"), time.Now())
		r.put("q", 1, field.NoProperties, time.Now())
		r.restart()
		time.Sleep(5 * time.Second)
		q, _ = r.v.Queue("q")
		if q.Partitions()[0].cursor.Load() != nil {
			t.Fatal("it was looked at")
		}
		r.subscribe("q", SubscribeOptions{}).Close()
		if n := q.Ready(); n != 1 {
			t.Errorf("%d ready", n)
		}
		drain(t, q)
		time.Sleep(2 * time.Second)
		if q.Partitions()[0].expiry.Load().listed.Load() {
			t.Error("it is looked at although it was empty since the start")
		}
	})
}

func TestQueuesWithoutExpirationsCostNothing(t *testing.T) {
	r := start(t)
	q := r.queue("q", QueueOptions{Durable: true})
	r.put("q", 3, field.NoProperties, time.Now())
	if q.Ready() != 3 || q.Partitions()[0].expiry.Load() != nil || len(r.expirer.list) != 0 {
		t.Error("it is looked at")
	}
}

// TestManyExpireAtOnce has far more than one look's worth, in batches of many.
func TestManyExpireAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.queue("q", QueueOptions{})
		p := r.s.NewPublisher()
		const n = 5*headRun + 7
		in := &Inbound{Key: []byte("q"), Properties: expiring("1000"), Body: []byte("x"), TimestampMs: time.Now().UnixMilli()}
		for i := range n {
			if _, err := p.Publish(in); err != nil {
				t.Fatal(err)
			}
			if i%5000 == 0 {
				p.Store()
				p.Commit(nil)
			}
		}
		p.Store()
		p.Commit(nil)
		time.Sleep(3 * time.Second)
		if got := r.leftBy(); got[Expired] != n || q.Ready() != 0 {
			t.Errorf("left %v of %d", got, n)
		}
	})
}

func TestExpiredMessagesOfATopicLeaveItsWorkers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q, err := r.s.CreateTopic("t", 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.put("t", 5, expiring("1000"), time.Now())
		time.Sleep(5 * time.Second)
		if len(r.leftBy()) != 0 || q.Partitions()[0].cursor.Load() != nil {
			t.Errorf("left %v: nobody works on the topic", r.leftBy())
		}
		sub := r.subscribe("t", SubscribeOptions{Prefetch: 1})
		sub.Close()
		if n := q.Ready(); n != 0 || r.leftBy()[Expired] != 5 {
			t.Errorf("%d ready, left %v", n, r.leftBy())
		}
		if start, end, _ := q.Partitions()[0].log.Bounds(); end-start != 5 {
			t.Errorf("the topic's records are %d to %d", start, end)
		}
	})
}

// FuzzHeadScan walks what a log may give as batches: nothing may be taken for expired
// that lies outside the run.
func FuzzHeadScan(f *testing.F) {
	var b message.Builder
	b.Add(&message.Publish{Properties: expiring("5"), Body: []byte("a"), TimestampMs: 1})
	b.Add(&message.Publish{Properties: expiring("5000"), Body: []byte("b"), TimestampMs: 1})
	f.Add(b.Seal(), int64(0), int64(1), int64(1000))
	f.Add([]byte(lying(3, 0, 1)), int64(0), int64(2), int64(1000))
	f.Fuzz(func(t *testing.T, data []byte, first, last, now int64) {
		if first < 0 || last < first || last-first > 1<<20 {
			return
		}
		s := headScan{next: message.Offset(first), last: message.Offset(last), nowMs: now, due: never}
		_ = s.batches(data)
		if s.next < message.Offset(first) || s.next > message.Offset(last)+1 {
			t.Fatalf("from %d to %d it came to %d", first, last, s.next)
		}
	})
}

// TestNobodyLooksForExpiredMessagesOfADeletedQueue: its logs may stay for long, or, when they
// can't be removed, until the next start.
func TestNobodyLooksForExpiredMessagesOfADeletedQueue(t *testing.T) {
	r := start(t)
	q := r.queue("q", QueueOptions{Durable: true})
	r.put("q", 3, expiring("1"), time.Now().Add(-time.Hour))
	p := q.Partitions()[0]
	if _, err := p.work(); err != nil {
		t.Fatal(err)
	}
	p.removed.Store(true)
	done := make(chan error, 1)
	go func() { done <- p.expireIfDue(time.Now().UnixMilli(), true) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it looks for ever, and the broker could not close")
	}
}
