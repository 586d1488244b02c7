package broker

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// rig is a broker over a store in memory that can be stopped and started again.
type rig struct {
	*Broker
	t     *testing.T
	dir   string
	files fs.FS // nil: real ones
	lines *slog.Logger
	gap   int32 // offsets left unused behind each append
	mode  store.Mode
	store store.Store
	edit  func(*Options) // nil: options are the defaults
	v     *VHost
	s     *Session
}

// patience is for what is to come, which a busy machine may take long for.
const patience = time.Minute

func start(t *testing.T) *rig { return startWith(t, 3) }

func startWith(t *testing.T, gap int32) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), gap: gap}
	r.open()
	t.Cleanup(func() {
		r.Close()
		r.store.Close()
	})
	return r
}

// bubble runs a test on a rig in memory, whose clock is the test's.
func bubble(t *testing.T, test func(t *testing.T, r *rig)) {
	bubbleOn(t, fs.NewMem(1), test)
}

// bubbleOn is bubble on files of the test's own.
func bubbleOn(t *testing.T, files fs.FS, test func(t *testing.T, r *rig)) {
	fakeclock.Test(t, func(t *testing.T) {
		r := &rig{t: t, dir: "data", files: files}
		r.open()
		defer func() {
			if err := errors.Join(r.Close(), r.store.Close()); err != nil {
				t.Error(err)
			}
		}()
		test(t, r)
	})
}

func (r *rig) open() {
	r.t.Helper()
	o := Options{Log: r.lines}
	if r.edit != nil {
		r.edit(&o)
	}
	st, err := local.Open(local.Options{Dir: r.dir, FS: r.files, Mode: max(r.mode, store.ModeOS), Gap: r.gap, Now: o.Now})
	if err != nil {
		r.t.Fatal(err)
	}
	b, err := Open(st, o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Broker, r.store = b, st
	if r.v, err = b.VHost("/"); err != nil {
		r.t.Fatal(err)
	}
	r.s = r.v.NewSession(auth.Identity{Name: "guest"})
}

func (r *rig) restart() {
	r.t.Helper()
	if err := errors.Join(r.Close(), r.store.Close()); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

func (r *rig) queue(name string, o QueueOptions) *Queue {
	r.t.Helper()
	q, err := r.s.DeclareQueue(name, o)
	if err != nil {
		r.t.Fatal(err)
	}
	return q
}

// configs are settings of a topic: names and values in turn.
func configs(list ...string) map[string]*string {
	out := map[string]*string{}
	for i := 0; i < len(list); i += 2 {
		out[list[i]] = &list[i+1]
	}
	return out
}

func (r *rig) exchange(name, kind string) {
	r.t.Helper()
	if _, err := r.s.DeclareExchange(name, ExchangeOptions{Type: kind, Durable: true}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) bind(src, dst, key string) {
	r.t.Helper()
	if err := r.s.Bind(Binding{Source: src, Dest: dst, Key: key}); err != nil {
		r.t.Fatal(err)
	}
}

// publish sends bodies to an exchange, each with its key, and waits for the confirm.
func publish(t *testing.T, p *Publisher, exchange string, keyBody ...string) {
	t.Helper()
	for _, kb := range keyBody {
		key, body, _ := strings.Cut(kb, "=")
		in := &Inbound{Exchange: []byte(exchange), Key: []byte(key), Body: []byte(body), Persistent: true, TimestampMs: 1}
		if _, err := p.Publish(in); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, p)
}

func flush(t *testing.T, p *Publisher) {
	t.Helper()
	done := make(chan error, 1)
	p.Store()
	p.Commit(func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// asOwner is a session that may use the queue.
func asOwner(q *Queue) *Session {
	if q.Exclusive {
		return q.owner()
	}
	return q.vhost.NewSession(auth.Identity{Name: "guest"})
}

// drain gets and acks everything that is ready.
func drain(t *testing.T, q *Queue) []string {
	t.Helper()
	out := []string{}
	for {
		g, err := asOwner(q).Get(q.Name, true)
		if err != nil {
			t.Fatal(err)
		}
		if g == nil {
			return out
		}
		out = append(out, string(g.Body))
	}
}

func want(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func kind(t *testing.T, err error, want Kind) {
	t.Helper()
	if KindOf(err) != want {
		t.Errorf("got kind %d (%v), want %d", KindOf(err), err, want)
	}
}

func TestOrderHoldsInEachQueueWhateverTheRoutes(t *testing.T) {
	r := start(t)
	r.exchange("logs", "topic")
	names := []string{"all", "errors", "web", "db", "mail", "x1", "x2", "x3"}
	for _, n := range names {
		r.queue(n, QueueOptions{Durable: true})
	}
	for _, b := range [][2]string{{"all", "#"}, {"errors", "*.error"}, {"web", "web.*"}, {"db", "db.*"}, {"mail", "#"}, {"x1", "#.error"}, {"x2", "web.#"}, {"x3", "#"}} {
		r.bind("logs", b[0], b[1])
	}
	p := r.s.NewPublisher()
	expect := map[string][]string{}
	var sends []string
	for i := range 500 {
		svc, level := []string{"web", "db", "mail"}[i*7%3], []string{"info", "error", "info", "warn"}[i*5%4]
		body := fmt.Sprint(i)
		sends = append(sends, svc+"."+level+"="+body)
		for _, n := range []string{"all", "mail", "x3"} {
			expect[n] = append(expect[n], body)
		}
		if level == "error" {
			expect["errors"] = append(expect["errors"], body)
			expect["x1"] = append(expect["x1"], body)
		}
		if svc == "web" {
			expect["x2"] = append(expect["x2"], body)
		}
		if svc == "web" || svc == "db" {
			expect[svc] = append(expect[svc], body)
		}
	}
	publish(t, p, "logs", sends[:200]...)
	publish(t, p, "logs", sends[200:]...)
	for _, n := range names {
		q, _ := r.v.Queue(n)
		want(t, n, drain(t, q), expect[n])
	}
}

func TestUnroutableIsReportedAndConfirmed(t *testing.T) {
	r := start(t)
	p := r.s.NewPublisher()
	in := &Inbound{Exchange: []byte(""), Key: []byte("nobody"), Body: []byte("x"), Persistent: true}
	routed, err := p.Publish(in)
	if routed || err != nil {
		t.Errorf("routed %v, %v", routed, err)
	}
	flush(t, p)
	r.queue("nobody", QueueOptions{})
	if routed, _ = p.Publish(in); !routed {
		t.Error("a queue declared meanwhile is not found")
	}
	flush(t, p)
	if _, err := r.s.DeleteQueue("nobody", false, false); err != nil {
		t.Fatal(err)
	}
	if routed, _ = p.Publish(in); routed {
		t.Error("a deleted queue still gets messages")
	}
	in.Exchange = []byte("none")
	_, err = p.Publish(in)
	kind(t, err, NotFound)
}

func TestDefinitionsAndMessagesSurviveARestart(t *testing.T) {
	r := start(t)
	r.exchange("x", "direct")
	q := r.queue("q", QueueOptions{Durable: true})
	r.queue("gone", QueueOptions{})
	r.bind("x", "q", "k")
	topic, err := r.s.CreateTopic("t", 3, configs("retention.ms", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	id := topic.TopicID
	publish(t, r.s.NewPublisher(), "x", "k=1", "k=2", "k=3", "k=4")
	if _, err := r.s.Get(q.Name, false); err != nil {
		t.Fatal(err)
	}
	sub, err := r.s.Subscribe(q.Name, SubscribeOptions{Prefetch: 2})
	if err != nil {
		t.Fatal(err)
	}
	var held []Delivery
	if _, err := sub.pull(10, 1<<20, func(d *Delivery) { held = append(held, *d) }); err != nil || len(held) != 2 {
		t.Fatal(len(held), err)
	}
	if err := held[1].Lease.Ack(held[1].Offset, held[1].Offset); err != nil { // "3", ahead of 1 and 2
		t.Fatal(err)
	}
	sub.Release()
	cluster := r.ClusterID()
	r.restart()
	if r.ClusterID() != cluster {
		t.Error("the cluster has another id")
	}
	if _, err := r.v.Queue("gone"); err == nil {
		t.Error("a queue that is not durable came back")
	}
	if topic, err = r.v.Queue("t"); err != nil || len(topic.Partitions()) != 3 || topic.TopicID != id || topic.Settings().RetentionAge != time.Second {
		t.Errorf("topic: %v", err)
	}
	q, err = r.v.Queue("q")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		g, err := r.s.Get(q.Name, true)
		if err != nil {
			t.Fatal(err)
		}
		if g == nil {
			break
		}
		got = append(got, fmt.Sprintf("%s %v", g.Body, g.Redelivered))
	}
	want(t, "after the restart", got, []string{"1 true", "2 true", "4 false"})
	publish(t, r.s.NewPublisher(), "x", "k=5")
	want(t, "binding", drain(t, q), []string{"5"})
}

func TestRequeuedMessagesGoBackToTheirPlace(t *testing.T) {
	r := start(t)
	q := r.queue("q", QueueOptions{})
	publish(t, r.s.NewPublisher(), "", "q=1", "q=2", "q=3", "q=4")
	sub, err := r.s.Subscribe(q.Name, SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var held []Delivery
	sub.pull(3, 1<<20, func(d *Delivery) { held = append(held, *d) })
	if len(held) != 3 || q.Unacked() < 3 {
		t.Fatalf("%d held, %d unacked", len(held), q.Unacked())
	}
	if err := held[1].Lease.Requeue(held[1].Offset, held[1].Offset); err != nil {
		t.Fatal(err)
	}
	sub.Release()
	sub.Close()
	g, _ := r.s.Get(q.Name, true)
	if string(g.Body) != "2" || !g.Redelivered || g.Remaining != 1 {
		t.Errorf("got %q redelivered %v, %d remain", g.Body, g.Redelivered, g.Remaining)
	}
	if err := held[0].Lease.Ack(held[0].Offset, held[0].Offset); err != nil {
		t.Error("an ack after the subscription was closed:", err)
	}
	kind(t, held[0].Lease.Ack(held[0].Offset, held[0].Offset), Precondition)
}

func TestExclusiveQueuesBelongToTheirSession(t *testing.T) {
	r := start(t)
	q := r.queue("mine", QueueOptions{Exclusive: true})
	other := r.v.NewSession(auth.Identity{Name: "guest"})
	_, err := other.Queue(Look, "mine")
	kind(t, err, Locked)
	_, err = other.Subscribe(q.Name, SubscribeOptions{})
	kind(t, err, Locked)
	_, err = other.DeclareQueue("mine", QueueOptions{Exclusive: true})
	kind(t, err, Locked)
	_, err = other.DeleteQueue("mine", false, false)
	kind(t, err, Locked)
	r.s.Close()
	_, err = r.v.Queue("mine")
	kind(t, err, NotFound)
}

func TestAutoDeleteQueueGoesWithItsLastConsumer(t *testing.T) {
	r := start(t)
	q := r.queue("q", QueueOptions{AutoDelete: true})
	a, _ := r.s.Subscribe(q.Name, SubscribeOptions{})
	b, _ := r.s.Subscribe(q.Name, SubscribeOptions{})
	a.Close()
	if _, err := r.v.Queue("q"); err != nil {
		t.Error("gone with one of two consumers")
	}
	b.Close()
	if _, err := r.v.Queue("q"); err == nil {
		t.Error("still there without consumers")
	}
}

func TestAutoDeleteExchangesGoWithTheirLastBinding(t *testing.T) {
	r := start(t)
	for _, name := range []string{"a", "b"} {
		if _, err := r.s.DeclareExchange(name, ExchangeOptions{Type: "fanout", AutoDelete: true}); err != nil {
			t.Fatal(err)
		}
	}
	r.queue("q", QueueOptions{})
	r.bind("b", "q", "")
	if err := r.s.Bind(Binding{Source: "a", Dest: "b", ToExchange: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.s.DeleteQueue("q", false, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if _, err := r.v.Exchange(name); err == nil {
			t.Errorf("exchange %s is still there", name)
		}
	}
}

func TestExchangesReachExchangesOnceEach(t *testing.T) {
	r := start(t)
	r.exchange("a", "topic")
	r.exchange("b", "fanout")
	r.exchange("c", "direct")
	for _, b := range []Binding{{Source: "a", Dest: "b", Key: "log.#", ToExchange: true}, {Source: "b", Dest: "c", ToExchange: true}, {Source: "c", Dest: "a", Key: "log.x", ToExchange: true}} {
		if err := r.s.Bind(b); err != nil {
			t.Fatal(err)
		}
	}
	q1, q2 := r.queue("q1", QueueOptions{}), r.queue("q2", QueueOptions{})
	r.bind("b", "q1", "")
	r.bind("c", "q2", "log.x")
	r.bind("a", "q1", "log.*")
	p := r.s.NewPublisher()
	publish(t, p, "a", "log.x=1", "log.y=2", "no=3")
	want(t, "q1", drain(t, q1), []string{"1", "2"})
	want(t, "q2", drain(t, q2), []string{"1"})
	if err := r.s.Unbind(Binding{Source: "a", Dest: "b", Key: "log.#", ToExchange: true}); err != nil {
		t.Fatal(err)
	}
	publish(t, p, "a", "log.x=4")
	want(t, "q1 after unbind", drain(t, q1), []string{"4"})
	want(t, "q2 after unbind", drain(t, q2), []string{})
}

func TestDeclaringAgain(t *testing.T) {
	r := start(t)
	args := func(name, value string) []byte {
		return field.AppendString(field.AppendName(nil, name), []byte(value))
	}
	r.queue("q", QueueOptions{Durable: true, Args: args("x-retention", "1h")})
	for name, c := range map[string]struct {
		o    QueueOptions
		want Kind
	}{
		"the same":              {QueueOptions{Durable: true, Args: args("x-retention", "1h")}, 0},
		"the same in minutes":   {QueueOptions{Durable: true, Args: args("x-retention", "60m")}, 0},
		"other durable":         {QueueOptions{Args: args("x-retention", "1h")}, Precondition},
		"other auto-delete":     {QueueOptions{Durable: true, AutoDelete: true, Args: args("x-retention", "1h")}, Precondition},
		"other retention":       {QueueOptions{Durable: true, Args: args("x-retention", "2h")}, Precondition},
		"no retention":          {QueueOptions{Durable: true}, Precondition},
		"exclusive":             {QueueOptions{Durable: true, Exclusive: true, Args: args("x-retention", "1h")}, Locked},
		"an unknown type":       {QueueOptions{Durable: true, Args: args("x-queue-type", "odd")}, Precondition},
		"an unknown x-argument": {QueueOptions{Durable: true, Args: append(args("x-retention", "1h"), args("x-foo", "1")...)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.s.DeclareQueue("q", c.o)
			kind(t, err, c.want)
		})
	}
	_, err := r.s.DeclareQueue("amq.mine", QueueOptions{})
	kind(t, err, Refused)
	_, err = r.s.DeclareExchange("amq.mine", ExchangeOptions{Type: "direct"})
	kind(t, err, Refused)
	_, err = r.s.DeclareQueue("\xff", QueueOptions{})
	kind(t, err, Precondition)
	_, err = r.s.DeclareExchange("\xff", ExchangeOptions{Type: "direct"})
	kind(t, err, Precondition)
	_, err = r.s.DeclareExchange("odd", ExchangeOptions{Type: "odd"})
	kind(t, err, UnknownType)
	_, err = r.s.DeclareExchange("amq.topic", ExchangeOptions{Type: "topic", Durable: true})
	kind(t, err, 0)
	_, err = r.s.DeclareExchange("amq.topic", ExchangeOptions{Type: "direct", Durable: true})
	kind(t, err, Precondition)
}

// produced is one batch of a Kafka producer.
func produced(pid int64, epoch int16, seq int32, values ...string) batch.Batch {
	var b message.Builder
	for _, v := range values {
		b.Add(&message.Publish{Key: []byte("k"), Body: []byte(v), TimestampMs: 1_000})
	}
	out := batch.Batch(slices.Clone(b.Seal()))
	out.Seal(batch.Header{LastOffsetDelta: int32(len(values) - 1), BaseTimestamp: 1_000, MaxTimestamp: 1_000,
		ProducerID: pid, ProducerEpoch: epoch, BaseSequence: seq, Count: int32(len(values))})
	return out
}

func TestIdempotentProducers(t *testing.T) {
	r := startWith(t, 0) // sequences and gaps inside a batch do not go together
	topic, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	part := func() *Partition { return topic.Partitions()[0] }
	first, err := r.s.Produce(part(), produced(7, 0, 5, "a", "b"))
	if err != nil {
		t.Fatal("an unknown producer may begin anywhere:", err)
	}
	if _, err := r.s.Produce(part(), produced(7, 0, 7, "c")); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		dup, err := r.s.Produce(part(), produced(7, 0, 5, "a", "b"))
		if err != nil || !dup.Duplicate || dup.Base != first.Base || dup.Timestamp != 1_000 {
			t.Errorf("%s: duplicate: %+v, %v", when, dup, err)
		}
		if _, err := r.s.Produce(part(), produced(7, 0, 9, "x")); !errors.Is(err, ErrOutOfOrderSequence) {
			t.Errorf("%s: gap: %v", when, err)
		}
		if _, err := r.s.Produce(part(), produced(7, 1, 3, "x")); !errors.Is(err, ErrOutOfOrderSequence) {
			t.Errorf("%s: new epoch not from 0: %v", when, err)
		}
	}
	check("live")
	r.restart()
	topic, _ = r.v.Queue("t")
	check("after a restart")
	if _, err := r.s.Produce(part(), produced(7, 1, 0, "d")); err != nil {
		t.Error("new epoch from 0:", err)
	}
	if _, err := r.s.Produce(part(), produced(7, 0, 8, "x")); !errors.Is(err, ErrProducerFenced) {
		t.Error("old epoch:", err)
	}
	if n := topic.Stats().Ready; n != 4 {
		t.Errorf("%d records, want 4", n)
	}
}

func TestSequencesWrap(t *testing.T) {
	r := start(t)
	topic, _ := r.s.CreateTopic("t", 1, nil)
	p := topic.Partitions()[0]
	if _, err := r.s.Produce(p, produced(1, 0, 1<<31-2, "a", "b", "c")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.s.Produce(p, produced(1, 0, 1, "d")); err != nil {
		t.Error("after 2^31-1 comes 0:", err)
	}
}

func TestKafkaRecordsAreRoutedByTheirKeys(t *testing.T) {
	r := start(t)
	args := field.AppendString(field.AppendName(nil, "x-kafka-topic"), []byte("ingest"))
	x, err := r.s.DeclareExchange("logs", ExchangeOptions{Type: "topic", Durable: true, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	q := r.queue("q", QueueOptions{Durable: true})
	r.bind("logs", "q", "k")
	if r.v.FeedExchange("ingest") != x {
		t.Fatal("the topic does not lead to the exchange")
	}
	_, err = r.s.DeclareQueue("ingest", QueueOptions{})
	kind(t, err, Precondition)
	p := r.s.NewPublisher()
	b := produced(3, 0, 0, "one", "two")
	if _, err := publishBatch(p, x, b); err != nil {
		t.Fatal(err)
	}
	if again, err := publishBatch(p, x, b); err != nil || !again.Duplicate {
		t.Error("sent again:", again, err)
	}
	flush(t, p)
	g, _ := r.s.Get(q.Name, true)
	if g == nil || string(g.Body) != "one" || string(g.Exchange) != "logs" || string(g.Key) != "k" || g.TimestampMs != 1_000 {
		t.Fatalf("got %+v", g)
	}
	want(t, "the rest", drain(t, q), []string{"two"})
}

func TestTopicsAreConsumedWithAcksToo(t *testing.T) {
	r := start(t)
	topic, _ := r.s.CreateTopic("t", 2, nil)
	for i, v := range []string{"a", "b", "c", "d"} {
		if _, err := r.s.Produce(topic.Partitions()[i%2], produced(-1, -1, -1, v)); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := r.s.Subscribe(topic.Name, SubscribeOptions{Prefetch: 3})
	if err != nil {
		t.Fatal(err)
	}
	var held []Delivery
	sub.pull(10, 1<<20, func(d *Delivery) { held = append(held, *d) })
	if len(held) != 3 {
		t.Fatalf("prefetch of 3 over two partitions gave %d", len(held))
	}
	for _, d := range held {
		if err := d.Lease.Ack(d.Offset, d.Offset); err != nil {
			t.Error(err)
		}
	}
	sub.Release()
	sub.Close()
	if n := len(drain(t, topic)); n != 1 {
		t.Errorf("%d left, want 1", n)
	}
	for i, p := range topic.Partitions() {
		first, end, _ := p.log.Bounds()
		if n, err := p.log.Records(first, end); n != 2 || err != nil {
			t.Errorf("partition %d lost its history", i)
		}
	}
}

func TestCancelledWhenTheQueueIsDeleted(t *testing.T) {
	r := start(t)
	q := r.queue("q", QueueOptions{})
	told := make(chan struct{}, 1)
	sub, _ := r.s.Subscribe(q.Name, SubscribeOptions{Cancelled: func() { told <- struct{}{} }})
	if n, err := r.s.DeleteQueue("q", false, false); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	select {
	case <-told:
	case <-time.After(patience):
		t.Fatal("not told")
	}
	sub.Close()
	_, err := r.s.Subscribe(q.Name, SubscribeOptions{})
	kind(t, err, NotFound)
}

func TestWakeComesAfterAnAppend(t *testing.T) {
	r := start(t)
	q := r.queue("q", QueueOptions{})
	wake := make(chan struct{}, 1)
	sub, _ := r.s.Subscribe(q.Name, SubscribeOptions{Wake: func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}})
	defer sub.Close()
	p := r.s.NewPublisher()
	for i := range 20 {
		if n, _ := sub.pull(10, 1<<20, func(*Delivery) {}); n != 0 {
			t.Fatalf("round %d: %d messages before any was published", i, n)
		}
		publish(t, p, "", "q=x")
		select {
		case <-wake:
		case <-time.After(patience):
			t.Fatal("no wake-up")
		}
		got := 0
		for got == 0 {
			n, err := sub.pull(10, 1<<20, func(d *Delivery) {
				if err := d.Lease.Ack(d.Offset, d.Offset); err != nil {
					t.Error(err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
		sub.Release()
	}
}

func TestMessagesExpireBeforeTheyAreDelivered(t *testing.T) {
	r := start(t)
	q := r.queue("q", QueueOptions{})
	p := r.s.NewPublisher()
	now := time.Now().UnixMilli()
	for _, m := range []struct {
		body, expiration string
		age              int64
	}{{"old", "1000", 5000}, {"young", "60000", 5000}, {"none", "", 5000}, {"old too", "1", 5000}, {"last", "60000", 0}} {
		props := field.Properties{Flags: field.FlagExpiration, Expiration: []byte(m.expiration)}
		if m.expiration == "" {
			props.Flags = 0
		}
		in := &Inbound{Key: []byte("q"), Body: []byte(m.body), Properties: props.Append(nil), TimestampMs: now - m.age}
		if _, err := p.Publish(in); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, p)
	g, err := r.s.Get(q.Name, true)
	if err != nil || string(g.Body) != "young" {
		t.Fatalf("get: %v, %v", g, err)
	}
	sub, _ := r.s.Subscribe(q.Name, SubscribeOptions{Prefetch: 10})
	defer sub.Close()
	var got []string
	sub.pull(10, 1<<20, func(d *Delivery) { got = append(got, string(d.Body)) })
	want(t, "pulled", got, []string{"none", "last"})
	if n := q.Unacked(); n != 2 {
		t.Errorf("%d unacked, want 2", n)
	}
}

func TestWhatWasTakenAndNeverSentIsNotRedelivered(t *testing.T) {
	r := start(t)
	q := r.queue("q", QueueOptions{})
	publish(t, r.s.NewPublisher(), "", "q=1", "q=2", "q=3")
	sub, _ := r.s.Subscribe(q.Name, SubscribeOptions{})
	var held []Delivery
	sub.pull(10, 1, func(d *Delivery) { held = append(held, *d) }) // one byte: the first message only
	sub.Release()
	sub.Close()
	if len(held) != 1 {
		t.Fatalf("%d were sent", len(held))
	}
	if err := held[0].Lease.Requeue(held[0].Offset, held[0].Offset); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 3 {
		g, _ := r.s.Get(q.Name, true)
		got = append(got, fmt.Sprintf("%s %v", g.Body, g.Redelivered))
	}
	want(t, "flags", got, []string{"1 true", "2 false", "3 false"})
	c := r.Counters()
	if d, b, a := c.Delivered.Load(), c.DeliveredBytes.Load(), c.Redelivered.Load(); d != 4 || b != 4 || a != 1 {
		t.Errorf("counted %d deliveries of %d bytes, %d of them again", d, b, a)
	}
}

func TestLegalTopicNames(t *testing.T) {
	for name, legal := range map[string]bool{"a": true, "a.b_c-D9": true, "": false, ".": false, "..": false, "a b": false, "ü": false, strings.Repeat("x", 249): true, strings.Repeat("x", 250): false} {
		if LegalTopicName(name) != legal {
			t.Errorf("%q: legal is not %v", name, legal)
		}
	}
}

func TestTopicsThatKafkaHoldsToBeAlike(t *testing.T) {
	r := start(t)
	for _, name := range []string{"a.b", "c", "d_e_f"} {
		if _, err := r.s.CreateTopic(name, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	r.queue("q.r", QueueOptions{Durable: true})
	r.restart()
	for name, want := range map[string]Kind{"a_b": Collides, "a.b": Exists, "d.e.f": Collides, "d.e_f": Collides, "q_r": 0, "ab": 0} {
		_, err := r.s.CreateTopic(name, 1, nil)
		kind(t, err, want)
	}
	r.queue("c.d", QueueOptions{}) // AMQP knows no such rule
	r.queue("c_d", QueueOptions{})
	if _, err := r.s.DeleteQueue("a.b", false, false); err != nil {
		t.Fatal(err)
	}
	if _, err := r.s.CreateTopic("a_b", 1, nil); err != nil {
		t.Error(err)
	}
}

func TestAges(t *testing.T) {
	for s, want := range map[string]time.Duration{"1h": time.Hour, "7D": 7 * 24 * time.Hour, "90s": 90 * time.Second, "2m": 2 * time.Minute, "1M": 30 * 24 * time.Hour, "1Y": 365 * 24 * time.Hour,
		"0s": 0, "9999999999Y": math.MaxInt64 / (365 * 24 * time.Hour) * (365 * 24 * time.Hour), "99999999999999999999999s": math.MaxInt64 / time.Second * time.Second} {
		if d, ok := parseAge(s); !ok || d != want {
			t.Errorf("%s: %v %v", s, d, ok)
		}
	}
	for _, s := range []string{"", "h", "1", "-1h", "1.5h", "1d", "1 h", "99999999999999999999999x"} {
		if d, ok := parseAge(s); ok {
			t.Errorf("%q was read as %v", s, d)
		}
	}
}

// topicID64 is a queue's topic id as its definition writes it.
func topicID64(q *Queue) string { return base64.StdEncoding.EncodeToString(q.TopicID[:]) }

// publishBatch is PublishBatch with plain records.
func publishBatch(p *Publisher, x *Exchange, b batch.Batch) (Produced, error) {
	return p.PublishBatch(x, b, b.Records())
}
