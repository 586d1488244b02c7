package broker

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/internal/logged"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/segment"
)

// expiring are properties of a message that expires that many milliseconds after it came.
func expiring(ms string) []byte {
	p := field.Properties{Flags: field.FlagExpiration, Expiration: []byte(ms)}
	return p.Append(nil)
}

// put publishes n messages to a queue, each as a batch of its own, that came at that time.
func (r *rig) put(queue string, n int, properties []byte, came time.Time) {
	r.t.Helper()
	p := r.s.NewPublisher()
	for i := range n {
		in := &Inbound{Key: []byte(queue), Properties: properties, Body: fmt.Append(nil, i), Persistent: true, TimestampMs: came.UnixMilli()}
		if routed, err := p.Publish(in); err != nil || !routed {
			r.t.Fatal(routed, err)
		}
		flush(r.t, p)
	}
}

// leftBy are the messages that left by each reason.
func (r *rig) leftBy() map[Reason]uint64 {
	out := map[Reason]uint64{}
	for why := range Reasons {
		if n := r.Counters().Left[why].Load(); n > 0 {
			out[why] = n
		}
	}
	return out
}

// pull takes what is there.
func pull(t *testing.T, sub *Subscription, most, maxBytes int) []Delivery {
	t.Helper()
	var out []Delivery
	if _, err := sub.pull(most, maxBytes, func(d *Delivery) {
		out = append(out, *d)
		own := &out[len(out)-1]
		own.Properties, own.Body = bytes.Clone(d.Properties), bytes.Clone(d.Body)
	}); err != nil {
		t.Fatal(err)
	}
	sub.Release()
	return out
}

func (r *rig) subscribe(queue string, o SubscribeOptions) *Subscription {
	r.t.Helper()
	sub, err := r.s.Subscribe(queue, o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(sub.Close)
	return sub
}

// TestMessagesLeaveForAReason has ten messages leave in each way there is: afterwards
// nothing is ready or unacked, the log may go, and they are counted once.
func TestMessagesLeaveForAReason(t *testing.T) {
	now := time.Now()
	old := now.Add(-time.Hour)
	held := func(r *rig, settle func(*Lease, message.Offset) error) {
		for _, d := range pull(r.t, r.subscribe("q", SubscribeOptions{}), 100, 1<<20) {
			if err := settle(d.Lease, d.Offset); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		properties []byte
		came       time.Time
		leave      func(r *rig)
		want       Reason
	}{
		"acked": {field.NoProperties, now, func(r *rig) {
			held(r, func(l *Lease, o message.Offset) error { return l.Ack(o, o) })
		}, Acked},
		"taken without acks": {field.NoProperties, now, func(r *rig) { pull(r.t, r.subscribe("q", SubscribeOptions{NoAck: true}), 100, 1<<20) }, Acked},
		"got without acks": {field.NoProperties, now, func(r *rig) {
			q, _ := r.v.Queue("q")
			drain(r.t, q)
		}, Acked},
		"rejected": {field.NoProperties, now, func(r *rig) {
			held(r, func(l *Lease, o message.Offset) error { return l.Reject(o, o) })
		}, Rejected},
		"purged": {field.NoProperties, now, func(r *rig) {
			if n, err := r.s.Purge("q"); n != 10 || err != nil {
				r.t.Fatal(n, err)
			}
		}, Purged},
		"expired before a consumer": {expiring("1000"), old, func(r *rig) { pull(r.t, r.subscribe("q", SubscribeOptions{}), 100, 1<<20) }, Expired},
		"expired before one without acks": {expiring("1000"), old, func(r *rig) {
			pull(r.t, r.subscribe("q", SubscribeOptions{NoAck: true}), 100, 1<<20)
		}, Expired},
		"expired before a get": {expiring("1000"), old, func(r *rig) {
			if g, err := r.s.Get("q", false); g != nil || err != nil {
				r.t.Fatal(g, err)
			}
		}, Expired},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			q := r.queue("q", QueueOptions{Durable: true})
			r.put("q", 10, c.properties, c.came)
			c.leave(r)
			if got := r.leftBy(); len(got) != 1 || got[c.want] != 10 {
				t.Errorf("counted %v, want 10 %v", got, c.want)
			}
			p := q.Partitions()[0]
			floor, _ := p.cursor.Load().Progress()
			if _, end, _ := p.log.Bounds(); q.Ready() != 0 || q.Unacked() != 0 || floor < end-4 {
				t.Errorf("ready %d, unacked %d, floor %d of %d", q.Ready(), q.Unacked(), floor, end)
			}
			q.idleDisk()
			if st, err := p.log.LoadCursor(t.Context()); err != nil || st.Floor < floor-4 { // but for the gap at the end
				t.Errorf("the store knows of floor %d, and it is %d: %v", st.Floor, floor, err)
			}
		})
	}
}

// TestMessagesLostToRetentionStayNotUnacked: a consumer took them, and before they
// were read the log's start passed them.
func TestMessagesLostToRetentionStayNotUnacked(t *testing.T) {
	r := start(t)
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.put("t", 10, field.NoProperties, time.Now())
	sub := r.subscribe("t", SubscribeOptions{Prefetch: 10})
	first := pull(t, sub, 10, 1) // all are taken, and one is read
	if len(first) != 1 {
		t.Fatalf("%d deliveries", len(first))
	}
	_, end, _ := q.Partitions()[0].log.Bounds()
	if err := q.Partitions()[0].log.Truncate(t.Context(), end-4); err != nil { // with gaps of three, the last message
		t.Fatal(err)
	}
	if rest := pull(t, sub, 10, 1<<20); len(rest) != 1 || string(rest[0].Body) != "9" {
		t.Fatalf("%d deliveries", len(rest))
	}
	if n := q.Unacked(); n != 2 {
		t.Errorf("%d unacked, want the two that were delivered", n)
	}
	if got := r.leftBy(); len(got) != 1 || got[Retention] == 0 {
		t.Errorf("counted %v", got)
	}
	r.put("t", 9, field.NoProperties, time.Now())
	if more := pull(t, sub, 10, 1<<20); len(more) != 8 {
		t.Errorf("%d deliveries under a prefetch of 10 with 2 unacked", len(more))
	}
}

func TestReadyMessagesThatRetentionTakesAreCounted(t *testing.T) {
	r := startWith(t, 0)
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.put("t", 10, field.NoProperties, time.Now())
	sub := r.subscribe("t", SubscribeOptions{})
	pull(t, sub, 2, 1<<20)
	if err := q.Partitions()[0].log.Truncate(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	if n := q.Ready(); n != 3 {
		t.Errorf("%d ready", n)
	}
	if got := r.leftBy(); len(got) != 1 || got[Retention] != 5 {
		t.Errorf("counted %v, want the 5 that nobody had", got)
	}
}

func TestMessagesThatCantBeDecodedLeaveAsDamaged(t *testing.T) {
	for _, noAck := range []bool{false, true} {
		r := startWith(t, 0)
		q, err := r.s.CreateTopic("t", 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.put("t", 1, field.NoProperties, time.Now())
		if _, err := q.Partitions()[0].log.Append(lying(3)); err != nil {
			t.Fatal(err)
		}
		r.put("t", 1, field.NoProperties, time.Now())
		sub := r.subscribe("t", SubscribeOptions{NoAck: noAck})
		if got := pull(t, sub, 10, 1<<20); len(got) != 2 {
			t.Fatalf("%d deliveries", len(got))
		}
		want := map[Reason]uint64{Damaged: 3}
		if noAck {
			want[Acked] = 2
		}
		if got := r.leftBy(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("no ack %v: counted %v, want %v", noAck, got, want)
		}
	}
}

// TestAMessageStaysUntilItsCopyIsCommitted is the seam for what copies messages that
// leave: on hold they are in the queue and go to nobody.
func TestAMessageStaysUntilItsCopyIsCommitted(t *testing.T) {
	r := startWith(t, 0)
	q := r.queue("q", QueueOptions{Durable: true})
	r.put("q", 10, field.NoProperties, time.Now())
	sub := r.subscribe("q", SubscribeOptions{Prefetch: 3})
	taken := pull(t, sub, 2, 1<<20)
	p := q.Partitions()[0]
	rejected, err := p.depart(taken[1].Lease.member, 1, 1, Rejected)
	if err != nil {
		t.Fatal(err)
	}
	expired, err := p.depart(nil, 2, 4, Expired)
	if err != nil {
		t.Fatal(err)
	}
	if err := taken[1].Lease.Ack(1, 1); KindOf(err) != Precondition {
		t.Errorf("acked what is leaving: %v", err)
	}
	if err := taken[0].Lease.Ack(0, 0); err != nil {
		t.Fatal(err)
	}
	if floor, _ := p.cursor.Load().Progress(); floor != 1 || len(r.leftBy()) != 1 {
		t.Errorf("floor %d, left %v", floor, r.leftBy())
	}
	if next := pull(t, sub, 1, 1<<20); len(next) != 1 || next[0].Offset != 5 {
		t.Fatalf("next is %v", next)
	}
	rejected.leave()
	expired.leave()
	if got := r.leftBy(); got[Rejected] != 1 || got[Expired] != 3 || q.Ready() != 4 {
		t.Errorf("left %v, %d ready", got, q.Ready())
	}
}

// deliveryCounts delivers the only message of q and returns it, until it does not
// come any more; what its header says each time, -1 for nothing.
func deliveryCounts(r *rig, each func(i int)) (counts []int64) {
	r.t.Helper()
	for i := 0; i < 100; i++ {
		sub := r.subscribe("q", SubscribeOptions{})
		got := pull(r.t, sub, 1, 1<<20)
		sub.Close()
		if len(got) == 0 {
			return counts
		}
		count := int64(-1)
		var p field.Properties
		if err := p.Parse(got[0].Properties); err != nil {
			r.t.Fatal(err)
		}
		if f, ok := field.Find(p.Headers, "x-delivery-count"); ok {
			count, _ = f.Int()
		}
		if f, ok := field.Find(p.Headers, "mine"); !ok || string(f.Text()) != "kept" {
			r.t.Fatalf("headers %q", p.Headers)
		}
		counts = append(counts, count)
		if err := got[0].Lease.Requeue(got[0].Offset, got[0].Offset); err != nil {
			r.t.Fatal(err)
		}
		each(i)
	}
	return counts
}

func TestDeliveryLimits(t *testing.T) {
	limited := func(n int) (out []int64) {
		out = []int64{-1}
		for i := range n {
			out = append(out, int64(i)+1)
		}
		return out
	}
	none := slices.Repeat([]int64{-1}, 100)
	headers := field.Properties{Flags: field.FlagHeaders, Headers: arguments("mine", "kept")}
	published := field.Properties{Flags: field.FlagHeaders, Headers: arguments("x-delivery-count", 7, "mine", "kept")}
	for name, c := range map[string]struct {
		args       []byte
		properties field.Properties
		want       []int64
	}{
		"classic":                      {nil, headers, none},
		"classic with a limit":         {arguments("x-delivery-limit", 2), headers, limited(2)},
		"quorum":                       {arguments("x-queue-type", "quorum"), headers, limited(20)},
		"quorum with a limit":          {arguments("x-queue-type", "quorum", "x-delivery-limit", 3), headers, limited(3)},
		"quorum, delivered once":       {arguments("x-queue-type", "quorum", "x-delivery-limit", 0), headers, limited(0)},
		"quorum without any limit":     {arguments("x-queue-type", "quorum", "x-delivery-limit", -1), headers, limited(99)},
		"quorum, restarted in between": {arguments("x-queue-type", "quorum"), headers, limited(20)},
		"a publisher's own count":      {arguments("x-delivery-limit", 2), published, []int64{7, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.queue("q", QueueOptions{Durable: true, Args: c.args})
			r.put("q", 1, c.properties.Append(nil), time.Now())
			got := deliveryCounts(r, func(i int) {
				if strings.Contains(name, "restarted") && i%7 == 0 {
					r.restart()
				}
			})
			if !slices.Equal(got, c.want) {
				t.Errorf("counts %v, want %v", got, c.want)
			}
			if n := r.Counters().Left[DeliveryLimit].Load(); (n == 1) != (len(got) < 100) {
				t.Errorf("%d left for the limit", n)
			}
		})
	}
}

func TestOnlyTheSpentOnesOfARangeLeave(t *testing.T) {
	r := startWith(t, 0)
	q := r.queue("q", QueueOptions{Durable: true, Args: arguments("x-delivery-limit", 1)})
	r.put("q", 6, field.NoProperties, time.Now())
	sub := r.subscribe("q", SubscribeOptions{})
	all := pull(t, sub, 10, 1<<20)
	l := all[0].Lease
	for _, o := range []message.Offset{1, 2, 4} {
		if err := l.Requeue(o, o); err != nil {
			t.Fatal(err)
		}
	}
	pull(t, sub, 10, 1<<20)
	if err := l.Requeue(0, 5); err != nil {
		t.Fatal(err)
	}
	var left []message.Offset
	for _, d := range pull(t, sub, 10, 1<<20) {
		left = append(left, d.Offset)
	}
	if !slices.Equal(left, []message.Offset{0, 3, 5}) || r.leftBy()[DeliveryLimit] != 3 || q.Unacked() != 3 {
		t.Errorf("left are %v, counted %v, %d unacked", left, r.leftBy(), q.Unacked())
	}
}

func TestQuorumQueuesMustBeAbleToKeepTheirPromise(t *testing.T) {
	r := start(t)
	args := arguments("x-queue-type", "quorum")
	for want, o := range map[string]QueueOptions{
		"invalid property 'non-durable' for queue 'q' in vhost '/'":     {Args: args},
		"invalid property 'auto-delete' for queue 'q' in vhost '/'":     {Durable: true, AutoDelete: true, Args: args},
		"invalid property 'exclusive-owner' for queue 'q' in vhost '/'": {Durable: true, Exclusive: true, Args: args},
	} {
		if _, err := r.s.DeclareQueue("q", o); err == nil || err.Error() != want || KindOf(err) != Precondition {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
	r.queue("q", QueueOptions{Durable: true, Args: args})
}

// TestDroppedMessagesAreToldOfOnceAnInterval has a poison message every second.
func TestDroppedMessagesAreToldOfOnceAnInterval(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var said logged.Lines
		r.lines = said.Logger()
		r.restart()
		r.queue("q", QueueOptions{Durable: true, Args: arguments("x-delivery-limit", 0)})
		sub := r.subscribe("q", SubscribeOptions{})
		time.Sleep(time.Second / 2) // the saver comes at whole seconds
		for range 25 {
			r.put("q", 1, field.NoProperties, time.Now())
			d := pull(t, sub, 1, 1<<20)[0]
			if err := d.Lease.Requeue(d.Offset, d.Offset); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if n := strings.Count(said.String(), "came back too often"); n != 4 {
			t.Errorf("%d lines\n%s", n, said.String())
		}
		for _, want := range []string{"queue=q messages=1 ", "queue=q messages=10 "} {
			if !strings.Contains(said.String(), want) {
				t.Errorf("no line says %q\n%s", want, said.String())
			}
		}
		sub.Close()
	})
}

// TestAGetTellsHowOftenAMessageCameBack as a delivery does.
func TestAGetTellsHowOftenAMessageCameBack(t *testing.T) {
	r := start(t)
	r.queue("q", QueueOptions{Durable: true, Args: arguments("x-queue-type", "quorum")})
	r.put("q", 1, field.NoProperties, time.Now())
	for want := range int64(3) {
		g, err := r.s.Get("q", false)
		if err != nil || g == nil {
			t.Fatal(g, err)
		}
		var p field.Properties
		if err := p.Parse(g.Properties); err != nil {
			t.Fatal(err)
		}
		f, ok := field.Find(p.Headers, "x-delivery-count")
		if ok != (want > 0) {
			t.Errorf("get %d: headers %q", want, p.Headers)
		} else if n, _ := f.Int(); ok && n != want {
			t.Errorf("get %d: count %d", want, n)
		}
		if err := g.Lease.Requeue(g.Offset, g.Offset); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatIsHeldOfALostCursorLeavesNothing: another process has the queue's cursor,
// and what consumers say of what they had of ours changes nothing and breaks nothing.
func TestWhatIsHeldOfALostCursorLeavesNothing(t *testing.T) {
	r := startWith(t, 0)
	q := r.queue("q", QueueOptions{Durable: true, Args: arguments("x-delivery-limit", 0)})
	r.put("q", 4, field.NoProperties, time.Now())
	sub := r.subscribe("q", SubscribeOptions{})
	l := pull(t, sub, 10, 1<<20)[0].Lease
	p := q.Partitions()[0]
	p.lose(p.cursor.Load())
	for _, settle := range []func() error{
		func() error { return l.Ack(0, 0) }, func() error { return l.Reject(1, 1) }, func() error { return l.Requeue(2, 2) },
		func() error { _, err := p.retire(nil, 3, 3, Expired); return err },
	} {
		if err := settle(); err != nil {
			t.Error(err)
		}
	}
	if p.cursor.Load() != nil {
		t.Error("the cursor came back")
	}
}

// Of messages that are handed out together, those behind a batch that the disk lost meanwhile are delivered.
func TestMessagesBehindADamagedBatchAreDelivered(t *testing.T) {
	r := startWith(t, 0)
	q := r.queue("q", QueueOptions{Durable: true})
	p := r.s.NewPublisher()
	for _, bodies := range [][]string{{"0", "1", "2"}, {"3", "4", "5"}, {"6", "7", "8"}, {"9", "10", "11"}} {
		for _, body := range bodies {
			if _, err := p.Publish(&Inbound{Key: []byte("q"), Body: []byte(body)}); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, p)
	}
	sub := r.subscribe("q", SubscribeOptions{})
	taken := pull(t, sub, 8, 1<<20)
	if err := taken[0].Lease.Requeue(0, 7); err != nil { // one run over three batches
		t.Fatal(err)
	}
	r.damage(2)
	var got []string
	faults := 0
	for len(got) < 9 && faults < 3 {
		n, err := sub.pull(100, 1<<20, func(d *Delivery) { got = append(got, string(d.Body)) })
		sub.Release()
		if err != nil {
			faults++ // the store finds the damage now; it is isolated by the next read
		} else if n == 0 {
			break
		}
	}
	want(t, "with a damaged batch", got, []string{"0", "1", "2", "6", "7", "8", "9", "10", "11"})
	if left := r.leftBy(); fmt.Sprint(left) != fmt.Sprint(map[Reason]uint64{Damaged: 3}) || q.Ready() != 0 {
		t.Errorf("counted %v, want 3 that are damaged", left)
	}
}

// damage overwrites the beginning of the records of the n-th batch in the only file of the only log.
func (r *rig) damage(n int) {
	r.t.Helper()
	files := cmp.Or(r.files, fs.Real())
	dir := r.dir + "/queues"
	for range 2 {
		names, err := files.ReadDir(dir)
		if err != nil || len(names) != 1 {
			r.t.Fatalf("%s: %v, %v", dir, names, err)
		}
		dir += "/" + names[0]
	}
	f, err := files.Open(dir+"/"+segment.FileName(0), os.O_RDWR)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	at, data := int64(128), make([]byte, 4096)
	for ; n > 1; n-- {
		_, _ = f.ReadAt(data, at) // which may be at the end
		b, _, err := batch.Next(data)
		if err != nil {
			r.t.Fatal(err)
		}
		at += int64(len(b))
	}
	if _, err := f.WriteAt([]byte{0xff, 0xff, 0xff}, at+batch.HeaderBytes); err != nil {
		r.t.Fatal(err)
	}
}
