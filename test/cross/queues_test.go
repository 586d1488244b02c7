package cross

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/testkit"
)

// Queues that Kafka clients write to, read and administer while AMQP clients work on them.

func TestRecordsObeyTheLimitsOfTheirQueue(t *testing.T) {
	s := start(t)
	w := newWorld(t, s)
	dead := amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
	with := func(args amqp.Table) amqp.Table {
		for k, v := range dead {
			args[k] = v
		}
		return args
	}
	w.queue("dead", nil)
	w.queue("drops", with(amqp.Table{"x-max-length": 2}))
	w.queue("refuses", with(amqp.Table{"x-max-length": 2, "x-overflow": "reject-publish"}))
	w.queue("buries", with(amqp.Table{"x-max-length-bytes": 2, "x-overflow": "reject-publish-dlx"}))
	w.queue("expires", with(amqp.Table{"x-message-ttl": 30}))
	for _, q := range []string{"refuses", "buries"} {
		w.produce(q, "0", "1")
		if err := w.put(&kgo.Record{Topic: q, Value: []byte("2")}); !errors.Is(err, kerr.PolicyViolation) {
			t.Errorf("%s: a producer is told %v", q, err)
		}
		if w.publish("", q, persistent("3")) {
			t.Errorf("%s: a publisher's is confirmed", q)
		}
		if got := w.bodies(q); fmt.Sprint(got) != "[0 1]" {
			t.Errorf("%s: %v", q, got)
		}
	}
	if d := w.taken("dead"); string(d.Body) != "3" || d.Headers["x-first-death-reason"] != "maxlen" {
		t.Errorf("%q %v", d.Body, d.Headers)
	}
	w.produce("drops", "0", "1", "2")
	if d := w.taken("dead"); string(d.Body) != "0" || d.Headers["x-first-death-reason"] != "maxlen" || d.Headers["x-first-death-queue"] != "drops" {
		t.Errorf("%q %v", d.Body, d.Headers)
	}
	if n := w.ready("drops"); n != 2 {
		t.Errorf("%d are ready", n)
	}
	w.produce("expires", "soon")
	if d := w.taken("dead"); string(d.Body) != "soon" || d.Headers["x-first-death-reason"] != "expired" {
		t.Errorf("%q %v", d.Body, d.Headers)
	}
}

func TestAQueueWithPrioritiesIsWrittenToThroughAnExchange(t *testing.T) {
	s := start(t)
	w := newWorld(t, s)
	w.queue("levels", amqp.Table{"x-max-priority": 5})
	w.exchange("to-levels", "fanout", amqp.Table{"x-kafka-topic": "levels-in"}, "", "levels")
	if !w.missing("levels") {
		t.Error("its levels are shown as a topic")
	}
	if _, err := w.admin.CreateTopic(background, 1, 1, nil, "levels"); !errors.Is(err, kerr.TopicAlreadyExists) {
		t.Errorf("a topic of its name: %v", err)
	}
	w.must(w.put(&kgo.Record{Topic: "levels-in", Value: []byte("record")}))
	w.publish("", "levels", amqp.Publishing{Priority: 4, Body: []byte("first")})
	if a, b := w.take("levels"), w.take("levels"); a != "first" || b != "record" {
		t.Errorf("%q, %q", a, b)
	}
}

func TestOneClientsQueueAndOneThatIsGoneAreNoTopics(t *testing.T) {
	s := start(t)
	w := newWorld(t, s)
	_, err := w.ch.QueueDeclare("mine", false, false, true, false, nil)
	w.must(err)
	if !w.missing("mine") {
		t.Error("an exclusive queue is shown")
	}
	w.queue("brief", nil)
	w.produce("brief", "m")
	w.must(w.commit("g", "brief", 1))
	w.policy("^brief$", amqp.Table{"expires": 100})                                            // not before: it would be gone on a busy machine
	for end := time.Now().Add(limit); !w.missing("brief"); time.Sleep(10 * time.Millisecond) { // which is no use of a queue
		if time.Now().After(end) {
			t.Fatal("it did not expire")
		}
	}
	if _, err := w.ch.QueueDeclare("brief", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	offsets, err := w.admin.FetchOffsets(background, "g")
	w.must(err)
	if at, ok := offsets.Lookup("brief", 0); ok && at.At >= 0 {
		t.Errorf("the new queue has the old one's offset: %+v", at)
	}
}

func (w *world) commit(group, topic string, at int64) error {
	o := kadm.Offsets{}
	o.AddOffset(topic, 0, at, -1)
	res, err := w.admin.CommitOffsets(background, group, o)
	if err != nil {
		return err
	}
	return res.Error()
}

func (w *world) lag(group, topic string) (int64, error) {
	w.Helper()
	lags, err := w.admin.Lag(background, group)
	w.must(err)
	l, ok := lags[group].Lag.Lookup(topic, 0)
	if !ok {
		w.Fatalf("%s says nothing of %s", group, topic)
	}
	return l.Lag, l.Err
}

// grouped is a Kafka consumer of a group, which commits what it has seen when it is told to.
func (w *world) grouped(group, topic string) *kgo.Client {
	w.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(w.s.Addr("kafka")), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.FetchMaxWait(100*time.Millisecond), kgo.MetadataMinAge(50*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	w.must(err)
	w.Cleanup(k.Close)
	return k
}

func (w *world) poll(k *kgo.Client, n int) (out []string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(background, limit)
	defer cancel()
	for len(out) < n {
		f := k.PollRecords(ctx, n-len(out))
		w.must(f.Err())
		for _, r := range f.Records() {
			out = append(out, string(r.Value))
		}
	}
	return out
}

func TestAGroupReadsABusyQueueAndDisturbsNobody(t *testing.T) {
	s := start(t)
	w := newWorld(t, s)
	for i := range places {
		p := &places[i]
		name := p.make(w, "busy", nil)
		const n = 200
		c := w.consume(name, 20, nil)
		k := w.grouped("readers-"+p.name, name)
		done := make(chan map[string]int)
		go func() {
			seen := map[string]int{}
			for i := range n + n/10 {
				d := c.next()
				seen[string(d.Body)]++
				if i%11 == 10 && !d.Redelivered {
					_ = d.Nack(false, true)
				} else {
					_ = d.Ack(false)
				}
				if len(seen) == n && c.ready(name) == 0 {
					break
				}
			}
			done <- seen
		}()
		for i := range n {
			if i%2 == 0 {
				w.must(w.put(&kgo.Record{Topic: name, Partition: int32(i) % max(p.partitions, 1), Value: fmt.Append(nil, i)}))
			} else {
				w.send(name, fmt.Sprint(i), fmt.Sprint(i))
			}
		}
		select {
		case seen := <-done:
			if len(seen) != n {
				t.Errorf("%s: consumers saw %d of %d", name, len(seen), n)
			}
		case <-time.After(limit):
			t.Fatalf("%s: consumers are not done", name)
		}
		if p.isTopic() { // a queue may drop what is acked before the group has read it
			w.poll(k, n)
			w.must(k.CommitUncommittedOffsets(background))
			lags, err := w.admin.Lag(background, "readers-"+p.name)
			w.must(err)
			if total := lags["readers-"+p.name].Lag.Total(); total != 0 {
				t.Errorf("%s: a lag of %d", name, total)
			}
		}
		k.Close()
	}
}

// What is acked, purged or expired is there for readers by offset as long as its segment, which are short here.
func TestAGroupsLagAndPlaceInAQueueThatIsWorkedOff(t *testing.T) {
	s := testkit.Start(t, func(c *config.Config) { c.Sync, c.SegmentBytes = config.SyncOS, 64<<10 })
	w := newWorld(t, s)
	padding := strings.Repeat(" ", 30_000)
	w.queue("work", nil)
	for i := range 10 {
		w.produce("work", fmt.Sprint(i, padding))
	}
	polled := func(k *kgo.Client, n int) (out []string) {
		for _, body := range w.poll(k, n) {
			out = append(out, strings.TrimSpace(body))
		}
		return out
	}
	k := w.grouped("g", "work")
	if got := polled(k, 3); fmt.Sprint(got) != "[0 1 2]" {
		t.Errorf("%v", got)
	}
	w.must(k.CommitRecords(background, &kgo.Record{Topic: "work", Offset: 2, LeaderEpoch: -1}))
	if lag, err := w.lag("g", "work"); lag != 7 || err != nil {
		t.Errorf("a lag of %d, %v", lag, err)
	}
	if n := w.ready("work"); n != 10 {
		t.Errorf("a group took messages: %d are left", n)
	}
	k.Close()
	for range 7 {
		w.take("work")
	}
	var start int64
	w.eventually("the start does not follow the acks", func() bool { start = w.bounds("work")[0]; return start > 4 })
	// What it had yet to see is gone: it goes on at the first that is there.
	k = w.grouped("g", "work")
	if got := polled(k, 1); fmt.Sprint(got) != fmt.Sprint([]int64{start}) {
		t.Errorf("%v, and the log starts at %d", got, start)
	}
	k.Close()
	if n, err := w.ch.QueuePurge("work", false); n != 3 || err != nil {
		t.Errorf("%d purged, %v", n, err)
	}
	w.produce("work", "new"+padding)
	start = w.bounds("work")[0] // which follows a purge within seconds
	late := w.grouped("late", "work")
	if got := polled(late, int(11-start)); got[len(got)-1] != "new" {
		t.Errorf("%v", got)
	}
	late.Close()

	w.queue("expiring", amqp.Table{"x-message-ttl": 1})
	for range 10 {
		w.produce("expiring", padding)
	}
	w.eventually("the start does not follow what expires", func() bool { w.take("expiring"); return w.bounds("expiring")[0] > 4 })
	fresh := w.grouped("fresh", "expiring")
	if got := polled(fresh, 1); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func TestOffsetsAreFoundThoughMessagesBetweenThemAreGone(t *testing.T) {
	s := start(t)
	w := newWorld(t, s)
	w.queue("holes", nil)
	base := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for i := range 10 {
		w.must(w.put(&kgo.Record{Topic: "holes", Value: fmt.Append(nil, i), Timestamp: base.Add(time.Duration(i) * time.Second)}))
	}
	c := w.consume("holes", 10, nil)
	for i, d := range c.get(10) {
		if i != 0 && i != 5 {
			w.must(d.Ack(false))
		}
	}
	w.eventually("not acked", func() bool {
		q, err := w.ch.QueueDeclarePassive("holes", true, false, false, false, nil)
		return err == nil && q.Messages == 0
	})
	if got := w.bounds("holes"); got != [2]int64{0, 10} {
		t.Errorf("%v", got)
	}
	for after, want := range map[time.Duration]int64{-time.Minute: 0, 500 * time.Millisecond: 1, 5 * time.Second: 5, 9 * time.Second: 9, 10 * time.Second: 10} {
		got, err := w.admin.ListOffsetsAfterMilli(background, base.Add(after).UnixMilli(), "holes")
		w.must(err)
		if at, _ := got.Lookup("holes", 0); at.Offset != want {
			t.Errorf("after %v: %d, want %d", after, at.Offset, want)
		}
	}
	latest, err := w.admin.ListMaxTimestampOffsets(background, "holes")
	w.must(err)
	if at, _ := latest.Lookup("holes", 0); at.Offset != 9 || at.Timestamp != base.Add(9*time.Second).UnixMilli() {
		t.Errorf("latest: %+v", at)
	}
	w.must(c.ch.Close())
	for _, want := range []string{"0", "5", ""} {
		if got := w.take("holes"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestKafkaDeletesRecordsUnderConsumersOfAMQP(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "cut", nil)
		for i := range 6 {
			w.produce(name, fmt.Sprint(i))
		}
		c := w.consume(name, 2, nil)
		held := c.get(2)
		o := kadm.Offsets{}
		o.AddOffset(name, 0, 4, -1)
		res, err := w.admin.DeleteRecords(background, o)
		w.must(err)
		r, _ := res.Lookup(name, 0)
		if !p.isTopic() { // its messages go by acks, or by a purge
			if !errors.Is(r.Err, kerr.PolicyViolation) || w.ready(name) != 4 {
				t.Errorf("%+v, %d are ready", r, w.ready(name))
			}
			return
		}
		if r.Err != nil || r.LowWatermark != 4 {
			t.Errorf("%+v", r)
		}
		w.must(held[0].Ack(false))
		w.must(held[1].Nack(false, true)) // it has no place to come back to
		for i, want := range []string{"4", "5"} {
			if d := c.next(); string(d.Body) != want {
				t.Errorf("message %d is %q", i, d.Body)
			} else {
				w.must(d.Ack(false))
			}
		}
		c.nothing()
		w.produce(name, "6")
		if d := c.next(); string(d.Body) != "6" {
			t.Errorf("%q", d.Body)
		}
		if got := w.bodies(name); fmt.Sprint(got) != "[4 5 6]" {
			t.Errorf("%v", got)
		}
	})
}

func TestEverythingOfARecordReachesAMQP(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "record", nil)
		at := time.UnixMilli(1_600_000_000_123)
		long := bytes.Repeat([]byte("k"), 300)
		for i, r := range []*kgo.Record{
			{Key: []byte("key"), Value: []byte("v"), Timestamp: at, Headers: []kgo.RecordHeader{
				{Key: "text", Value: []byte("é")}, {Key: "binary", Value: []byte{0xff, 0}}, {Key: "null"}, {Key: "empty", Value: []byte{}},
				{Key: "twice", Value: []byte("1")}, {Key: "twice", Value: []byte("2")}, {Key: strings.Repeat("n", 256), Value: []byte("x")}}},
			{Key: nil, Value: nil},
			{Key: long, Value: []byte{}},
			{Key: []byte{0xfe}, Value: []byte{0, 1}},
		} {
			r.Topic, r.Partition = name, int32(i)%max(1, p.partitions)
			w.must(w.put(r))
		}
		byBody := map[string]amqp.Delivery{}
		c := w.consume(name, 10, nil)
		for _, d := range c.get(4) {
			if d.Exchange != "" || d.DeliveryMode != amqp.Persistent || d.ContentType != "" {
				t.Errorf("%+v", d)
			}
			what := string(d.Body)
			if tombstone, _ := d.Headers["x-kafka-tombstone"].(bool); tombstone {
				what = "tombstone"
			}
			byBody[what] = d
			if part, ok := d.Headers["x-kafka-partition"].(int64); ok != (p.partitions > 1) || part >= 3 {
				t.Errorf("partition %v", d.Headers["x-kafka-partition"])
			}
		}
		d := byBody["v"]
		if h := d.Headers; d.RoutingKey != "key" || h["text"] != "é" || !bytes.Equal(h["binary"].([]byte), []byte{0xff, 0}) || h["empty"] != "" || fmt.Sprint(h["twice"]) != "[1 2]" {
			t.Errorf("%+v", d)
		} else if null, there := h["null"]; !there || null != nil || h["timestamp_in_ms"] != int64(1_600_000_000_123) || d.Timestamp.Unix() != 1_600_000_000 {
			t.Errorf("%+v", d)
		}
		if d := byBody["tombstone"]; d.RoutingKey != "" || len(d.Body) != 0 {
			t.Errorf("%+v", d)
		}
		if d := byBody[""]; d.RoutingKey != "" || !bytes.Equal(d.Headers["x-kafka-key"].([]byte), long) {
			t.Errorf("%+v", d)
		}
		if d := byBody["\x00\x01"]; d.RoutingKey != "\xfe" {
			t.Errorf("%+v", d)
		}
	})
}

// All of a message survives a program that reads it by Kafka and produces what it read elsewhere.
func TestAMessageIsTheSameBehindABridgeOfKafka(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		from, to := p.make(w, "from", nil), (&place{"queue", 0}).make(w, "to-"+p.name, nil)
		want := amqp.Publishing{
			Headers: amqp.Table{"s": "é", "i": int32(-5), "l": int64(1) << 40, "b": true, "d": 1.5, "n": nil, "bytes": []byte{0xff}, "time": time.Unix(5, 0).UTC(),
				"table": amqp.Table{"in": []any{int32(1), "x"}}},
			ContentType: "text/plain", ContentEncoding: "gzip", DeliveryMode: 1, Priority: 7, CorrelationId: "c", ReplyTo: "r", Expiration: "600000",
			MessageId: "m", Timestamp: time.Unix(1000, 0).UTC(), Type: "t", UserId: "guest", AppId: "a", Body: []byte("body"),
		}
		w.publish(from, "the.key", want)
		for _, r := range w.read(from) {
			h := headersOf(r)
			if string(r.Key) != "the.key" || h["s"] != "é" || h["i"] != "-5" || h["l"] != "1099511627776" || h["b"] != "true" || h["amqp.content-type"] != "text/plain" ||
				h["amqp.message-id"] != "m" || h["amqp.correlation-id"] != "c" || h["amqp.reply-to"] != "r" || h["amqp.type"] != "t" || h["amqp.app-id"] != "a" {
				t.Errorf("as Kafka sees it: %q %v", r.Key, h)
			}
			w.must(w.put(&kgo.Record{Topic: to, Key: r.Key, Value: r.Value, Headers: r.Headers}))
		}
		first, second := w.taken(from), w.taken(to)
		got := amqp.Publishing{Headers: second.Headers, ContentType: second.ContentType, ContentEncoding: second.ContentEncoding, DeliveryMode: second.DeliveryMode,
			Priority: second.Priority, CorrelationId: second.CorrelationId, ReplyTo: second.ReplyTo, Expiration: second.Expiration, MessageId: second.MessageId,
			Timestamp: second.Timestamp.UTC(), Type: second.Type, UserId: second.UserId, AppId: second.AppId, Body: second.Body}
		if when, ok := got.Headers["time"].(time.Time); ok {
			got.Headers["time"] = when.UTC()
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || second.RoutingKey != "the.key" || second.Exchange != from || first.MessageId != "m" {
			t.Errorf("got  %v %q %q\nwant %v", got, second.RoutingKey, second.Exchange, want)
		}
	})
}

func TestPackedAndLargeRecordsAreMessages(t *testing.T) {
	s := start(t)
	everywhere(t, s, func(w *world, p *place) {
		name := p.make(w, "packed", nil)
		large := strings.Repeat("large ", 120_000)
		total := 0
		for i, codec := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(), kgo.NoCompression()} {
			k, err := kgo.NewClient(kgo.SeedBrokers(s.Addr("kafka")), kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			w.must(err)
			var recs []*kgo.Record
			for j := range 5 {
				recs = append(recs, &kgo.Record{Topic: name, Partition: int32(i) % max(1, p.partitions), Value: fmt.Appendf(nil, "%d.%d", i, j)})
			}
			recs[4].Value = append(recs[4].Value, large...)
			w.must(k.ProduceSync(background, recs...).FirstErr())
			k.Close()
			total += len(recs)
		}
		c := w.consume(name, 100, nil)
		got := map[string]int{}
		for i, d := range c.get(total) {
			got[string(d.Body[:3])] = len(d.Body)
			if i%2 == 0 { // so that batches are settled in part
				w.must(d.Ack(false))
			}
		}
		if len(got) != total || got["3.4"] != len(large)+3 || got["4.0"] != 3 {
			t.Errorf("%v", got)
		}
		w.must(c.ch.Close())
		for range total / 2 {
			if d := w.taken(name); !d.Redelivered {
				t.Errorf("%.10q is not marked", d.Body)
			}
		}
		if got := w.take(name); got != "" {
			t.Errorf("%.10q came again", got)
		}
	})
}
