package broker

import (
	"slices"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
)

// lasting declares a durable queue whose messages live for so many ms.
func (r *rig) lasting(name string, ttl int) *Queue {
	r.t.Helper()
	return r.queue(name, QueueOptions{Durable: true, Args: arguments("x-message-ttl", ttl)})
}

func TestAQueuesTimeToLiveEndsItsMessagesWithoutAConsumer(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.lasting("q", 3000)
		r.put("q", 20, field.NoProperties, time.Now())
		time.Sleep(2 * time.Second)
		r.put("q", 5, field.NoProperties, time.Now())
		if n := q.Ready(); n != 25 {
			t.Fatalf("%d ready before their time", n)
		}
		time.Sleep(1001 * time.Millisecond)
		if n := q.Ready(); n != 5 {
			t.Errorf("%d ready, want those that came later", n)
		}
		time.Sleep(4 * time.Second) // nobody asks
		if got := r.leftBy(); len(got) != 1 || got[Expired] != 25 {
			t.Errorf("left %v", got)
		}
		p := q.Partitions()[0]
		floor, _ := p.cursor.Load().Progress()
		if _, end, _ := p.log.Bounds(); floor != end || p.expiry.Load().listed.Load() {
			t.Errorf("floor %d of %d: their space is not free, or the empty queue is looked at", floor, end)
		}
	})
}

func TestTheLesserOfTwoTimesHolds(t *testing.T) {
	for _, c := range []struct {
		queue int
		own   string
		want  time.Duration
	}{{1000, "60000", time.Second}, {60000, "1000", time.Second}, {2000, "", 2 * time.Second}, {1000, "0", 0}, {0, "1000", 0}} {
		bubble(t, func(t *testing.T, r *rig) {
			q := r.lasting("q", c.queue)
			props := field.NoProperties
			if c.own != "" {
				props = expiring(c.own)
			}
			r.put("q", 3, props, time.Now())
			if c.want > 0 {
				time.Sleep(c.want)
				if n := q.Ready(); n != 3 {
					t.Errorf("%+v: %d ready before their time", c, n)
				}
				time.Sleep(time.Millisecond)
			}
			if n := q.Ready(); n != 0 {
				t.Errorf("%+v: %d ready", c, n)
			}
		})
	}
}

// TestABatchOfManyTimesExpiresMessageByMessage has one batch, as a publisher's buffer makes it,
// of which a part is over, and messages of shorter times of their own in it.
func TestABatchOfManyTimesExpiresMessageByMessage(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.lasting("q", 5000)
		p := r.s.NewPublisher()
		now := time.Now().UnixMilli()
		for i := range 10 {
			in := &Inbound{Key: []byte("q"), Properties: field.NoProperties, Body: []byte{byte('0' + i)}, TimestampMs: now + int64(i)*100}
			if i == 4 {
				in.Properties = expiring("1")
			}
			if _, err := p.Publish(in); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, p)
		time.Sleep(5*time.Second + 250*time.Millisecond) // 0 to 2 are over
		if n := q.Ready(); n != 7 {
			t.Errorf("%d ready", n)
		}
		want(t, "what lives", drain(t, q), []string{"3", "5", "6", "7", "8", "9"})
		time.Sleep(time.Minute)
		if got := r.leftBy(); got[Expired] != 4 {
			t.Errorf("left %v", got)
		}
	})
}

func TestWhatWasHeldPastItsTimeExpiresWhenItComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.lasting("q", 1000)
		r.put("q", 4, field.NoProperties, time.Now())
		sub := r.subscribe("q", SubscribeOptions{Prefetch: 2})
		held := pull(t, sub, 10, 1<<20)
		time.Sleep(3 * time.Second)
		if len(held) != 2 || q.Unacked() != 2 || q.Ready() != 0 || r.leftBy()[Expired] != 2 {
			t.Fatalf("%d held, %d ready, left %v", len(held), q.Ready(), r.leftBy())
		}
		if err := held[0].Lease.Ack(0, 0); err != nil { // credit, and nothing for it
			t.Fatal(err)
		}
		if err := held[1].Lease.Requeue(1, 1); err != nil {
			t.Fatal(err)
		}
		if got := pull(t, sub, 10, 1<<20); len(got) != 0 {
			t.Errorf("%d came again", len(got))
		}
		if got := r.leftBy(); got[Expired] != 3 || got[Acked] != 1 && got[Acked] != 0 {
			t.Errorf("left %v", got)
		}
		sub.Close()
	})
}

// TestATimeToLiveOfZeroIsNowOrNever: who is free when a message comes gets it, also when the
// way there takes a moment; who is busy, or comes later, does not.
func TestATimeToLiveOfZeroIsNowOrNever(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.lasting("q", 0)
		r.put("q", 1, field.NoProperties, time.Now())
		if n := q.Ready(); n != 0 {
			t.Errorf("%d ready without a consumer", n)
		}
		if g, err := r.s.Get("q", true); err != nil || g != nil {
			t.Errorf("got %v %v", g, err)
		}
		r.put("q", 1, field.NoProperties, time.Now())
		time.Sleep(time.Millisecond)
		sub := r.subscribe("q", SubscribeOptions{Prefetch: 1})
		if got := pull(t, sub, 10, 1<<20); len(got) != 0 {
			t.Error("a message was there before the consumer, and came to it")
		}
		time.Sleep(time.Minute)
		r.put("q", 2, field.NoProperties, time.Now())
		time.Sleep(20 * time.Millisecond) // the machine is busy
		r.expirer.sweep(time.Now().UnixMilli())
		got := pull(t, sub, 10, 1<<20)
		if len(got) != 1 {
			t.Fatalf("%d came to the consumer that was free for one", len(got))
		}
		time.Sleep(time.Millisecond)
		if err := got[0].Lease.Ack(got[0].Offset, got[0].Offset); err != nil {
			t.Fatal(err)
		}
		if got := pull(t, sub, 10, 1<<20); len(got) != 0 || q.Ready() != 0 {
			t.Error("a message came while the consumer was busy, and was kept for it")
		}
		r.put("q", 1, field.NoProperties, time.Now())
		time.Sleep(3 * time.Second)
		if got := pull(t, sub, 10, 1<<20); len(got) != 0 {
			t.Error("what nobody fetched for seconds was kept")
		}
		sub.Close()
		if got := r.leftBy(); got[Expired] != 4 {
			t.Errorf("left %v", got)
		}
	})
}

// TestWhoHasJustAckedIsFreeForAMessageOfNoTime: also when the message comes before anybody saw that.
func TestWhoHasJustAckedIsFreeForAMessageOfNoTime(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.lasting("q", 0)
		sub := r.subscribe("q", SubscribeOptions{Prefetch: 1})
		pull(t, sub, 10, 1<<20)
		for n := range 10 {
			r.put("q", 1, field.NoProperties, time.Now())
			time.Sleep(time.Millisecond)
			got := pull(t, sub, 10, 1<<20)
			if len(got) != 1 {
				t.Fatalf("message %d: %d came to the consumer that was free for it", n, len(got))
			}
			if err := got[0].Lease.Ack(got[0].Offset, got[0].Offset); err != nil {
				t.Fatal(err)
			}
		}
		sub.Close()
	})
}

// TestTheFirstMessageOfAPriorityFindsWhoIsFree: also when nobody has pulled since, and not who is busy.
func TestTheFirstMessageOfAPriorityFindsWhoIsFree(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.levelled(255, "x-message-ttl", 0)
		sub := r.subscribe("q", SubscribeOptions{Prefetch: 1})
		for _, priority := range []int{7, 3, 0, 255, 4} {
			r.put("q", 1, urgent(priority, ""), time.Now())
			time.Sleep(time.Millisecond)
			got := pull(t, sub, 10, 1<<20)
			if len(got) != 1 {
				t.Fatalf("priority %d: %d came to the consumer that was free for it", priority, len(got))
			}
			for _, other := range []int{priority, priority + 1, priority - 1} { // of which two are new
				if other >= 0 && other <= 255 {
					r.put("q", 1, urgent(other, ""), time.Now())
				}
			}
			time.Sleep(time.Millisecond)
			if err := got[0].Lease.Ack(got[0].Offset, got[0].Offset); err != nil {
				t.Fatal(err)
			}
			if late := pull(t, sub, 10, 1<<20); len(late) != 0 {
				t.Errorf("priority %d: %d came while the consumer was busy, and were kept for it", priority, len(late))
			}
		}
		if n := q.Ready(); n != 0 {
			t.Errorf("%d ready", n)
		}
		sub.Close()
	})
}

func TestAPurgeCountsNothingThatHasExpired(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.lasting("q", 0)
		r.lasting("later", 1000)
		for _, name := range []string{"q", "later"} {
			r.put(name, 3, field.NoProperties, time.Now())
		}
		for name, want := range map[string]int64{"q": 0, "later": 3} {
			if n, err := r.s.Purge(name); err != nil || n != want {
				t.Errorf("%s: %d %v", name, n, err)
			}
		}
		if got := r.leftBy(); got[Expired] != 3 || got[Purged] != 3 {
			t.Errorf("left %v", got)
		}
	})
}

// TestTheFirstMessageOfNoTimeFindsItsConsumer has a plain queue, in which nobody
// counted on messages that expire.
func TestTheFirstMessageOfNoTimeFindsItsConsumer(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("q", QueueOptions{Durable: true})
		sub := r.subscribe("q", SubscribeOptions{Prefetch: 1})
		pull(t, sub, 10, 1<<20)
		time.Sleep(time.Minute)
		r.put("q", 1, expiring("0"), time.Now())
		time.Sleep(5 * time.Millisecond)
		if got := pull(t, sub, 10, 1<<20); len(got) != 1 {
			t.Errorf("%d came", len(got))
		}
		sub.Close()
	})
}

func TestARestartGoesOnCountingATimeToLive(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.lasting("q", 10_000)
		r.lasting("empty", 10_000)
		r.put("q", 5, field.NoProperties, time.Now())
		time.Sleep(8 * time.Second)
		r.restart()
		time.Sleep(4 * time.Second)
		if got := r.leftBy(); got[Expired] != 5 {
			t.Errorf("left %v", got)
		}
		q, _ := r.v.Queue("empty")
		if q.Settings().MessageTTL != 10_000 || q.Partitions()[0].cursor.Load() != nil || q.Partitions()[0].expiry.Load() != nil {
			t.Error("the empty queue was looked at, or forgot its time")
		}
		r.put("empty", 1, field.NoProperties, time.Now())
		time.Sleep(12 * time.Second)
		if got := r.leftBy(); got[Expired] != 6 {
			t.Errorf("left %v", got)
		}
	})
}

// TestALoweredClockLosesNothingAndEndsInTime has messages from a time that is ahead.
func TestALoweredClockLosesNothingAndEndsInTime(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.lasting("q", 1000)
		r.put("q", 2, field.NoProperties, time.Now().Add(10*time.Second))
		r.put("q", 2, field.NoProperties, time.Now())
		time.Sleep(5 * time.Second)
		if n := q.Ready(); n != 4 {
			t.Errorf("%d ready behind a head whose time is to come", n)
		}
		time.Sleep(8 * time.Second)
		if got := r.leftBy(); got[Expired] != 4 || q.Ready() != 0 {
			t.Errorf("left %v", got)
		}
		zero := r.lasting("zero", 0)
		r.put("zero", 2, field.NoProperties, time.Now().Add(time.Hour))
		if n := zero.Ready(); n != 0 {
			t.Errorf("%d ready in a queue that keeps nothing", n)
		}
	})
}

func TestADeletionIfEmptySeesNothingThatExpired(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.lasting("q", 1000)
		r.put("q", 3, field.NoProperties, time.Now())
		if _, err := r.s.DeleteQueue("q", false, true); KindOf(err) != Precondition {
			t.Errorf("with messages: %v", err)
		}
		time.Sleep(1001 * time.Millisecond)
		if _, err := r.s.DeleteQueue("q", false, true); err != nil {
			t.Errorf("with expired ones: %v", err)
		}
	})
}

// TestWhatKafkaProducersSendLivesFromItsArrival: their own times may be years away.
func TestWhatKafkaProducersSendLivesFromItsArrival(t *testing.T) {
	old := produced(-1, -1, -1, "a", "b")
	for name, send := range map[string]func(r *rig, q *Queue) error{
		"to the queue": func(r *rig, q *Queue) error {
			old.SetTimes(q.Settings().LogAppendTime, time.Now().UnixMilli()) // as the listener does it
			_, err := r.s.Produce(q.Partitions()[0], slices.Clone(old))
			return err
		},
		"to an exchange": func(r *rig, q *Queue) error {
			x, err := r.s.DeclareExchange("x", ExchangeOptions{Type: "fanout", Durable: true, Args: arguments("x-kafka-topic", "feed")})
			if err != nil {
				return err
			}
			r.bind("x", "q", "")
			p := r.s.NewPublisher()
			if _, err := publishBatch(p, x, produced(-1, -1, -1, "a", "b")); err != nil {
				return err
			}
			p.Store()
			return p.Commit(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				q := r.lasting("q", 5000)
				if err := send(r, q); err != nil {
					t.Fatal(err)
				}
				time.Sleep(4 * time.Second)
				if n := q.Ready(); n != 2 {
					t.Errorf("%d ready before their time", n)
				}
				time.Sleep(3 * time.Second)
				if got := r.leftBy(); got[Expired] != 2 {
					t.Errorf("left %v", got)
				}
			})
		})
	}
}

func TestAQueueWithATimeToLiveSaysThatItStampsBatches(t *testing.T) {
	r := start(t)
	s := r.lasting("q", 5000).Settings()
	if v, from := s.Value(TopicSetting("message.timestamp.type")); !s.LogAppendTime || v != "LogAppendTime" || from != FromDeclared {
		t.Errorf("%v, %s from %d", s.LogAppendTime, v, from)
	}
}

// TestACompressedBatchExpiresAsAWhole: its header says when the last of it came, and
// nothing is unpacked for that.
func TestACompressedBatchExpiresAsAWhole(t *testing.T) {
	b := produced(-1, -1, -1, "a", "b", "c")
	b.Seal(batch.Header{Attributes: int16(message.CodecGzip) | batch.LogAppendTime, LastOffsetDelta: 2, Count: 3, BaseTimestamp: 1, MaxTimestamp: 1000,
		ProducerID: batch.NoProducer})
	for _, c := range []struct {
		nowMs, ttl, last int64
		next             message.Offset
		due              int64
	}{
		{1100, 100, 9, 0, 1101},
		{1101, 100, 9, 3, never},
		{1101, 100, 1, 2, never}, // no further than the run
		{1101, -1, 9, 0, never},
	} {
		s := headScan{last: message.Offset(c.last), nowMs: c.nowMs, ttlNow: c.ttl, due: never}
		if err := s.batches(b); err != nil || s.next != c.next || s.due != c.due {
			t.Errorf("%+v: next %d, due %d, %v", c, s.next, s.due, err)
		}
	}
}

// TestWhatIsDealtToAConsumerBeforeItAsksHasNoMoreTime: it came when the consumer was not there, or was busy.
func TestWhatIsDealtToAConsumerBeforeItAsksHasNoMoreTime(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.lasting("q", 10)
		busy := r.subscribe("q", SubscribeOptions{Prefetch: 1})
		r.put("q", 1, field.NoProperties, time.Now())
		held := pull(t, busy, 10, 1<<20)
		if len(held) != 1 {
			t.Fatal(len(held))
		}
		r.put("q", 3, field.NoProperties, time.Now())
		time.Sleep(20 * time.Millisecond) // nobody looks for what expired just then
		later := r.subscribe("q", SubscribeOptions{Prefetch: 1})
		if err := held[0].Lease.Ack(held[0].Offset, held[0].Offset); err != nil {
			t.Fatal(err)
		}
		for name, sub := range map[string]*Subscription{"busy": busy, "later": later} {
			if got := pull(t, sub, 10, 1<<20); len(got) != 0 {
				t.Errorf("%s: %d that had expired before it was free", name, len(got))
			}
			sub.Close()
		}
		if got := r.leftBy(); got[Expired] != 3 {
			t.Errorf("left %v", got)
		}
	})
}
