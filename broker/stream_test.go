package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/internal/logged"
	"github.com/leveret-mq/leveret/message"
)

// stream declares a stream.
func (r *rig) stream(name string, args ...any) *Queue {
	r.t.Helper()
	return r.queue(name, QueueOptions{Durable: true, Args: arguments(append([]any{"x-queue-type", "stream"}, args...)...)})
}

// from subscribes to a stream with room for so many messages.
func (r *rig) from(queue string, prefetch int, args ...any) *Subscription {
	r.t.Helper()
	return r.subscribe(queue, SubscribeOptions{Prefetch: prefetch, Args: arguments(args...)})
}

// streamed is what a consumer gets: offsets, as its headers tell, and bodies.
func streamed(t *testing.T, sub *Subscription) []string {
	t.Helper()
	out := []string{}
	for _, d := range pull(t, sub, 1000, 1<<20) {
		var p field.Properties
		if err := p.Parse(d.Properties); err != nil {
			t.Fatal(err)
		}
		f, ok := field.Find(p.Headers, headerOffset)
		if n, _ := f.Int(); !ok || f.Tag() != field.TagInt64 || message.Offset(n) != d.Offset {
			t.Errorf("offset %d is told as %q", d.Offset, f.Raw())
		}
		if d.Redelivered {
			t.Errorf("%d is marked", d.Offset)
		}
		out = append(out, fmt.Sprintf("%d=%s", d.Offset, d.Body))
	}
	return out
}

func TestConsumersOfAStreamShareNothing(t *testing.T) {
	r := startWith(t, 0)
	r.stream("s")
	r.put("s", 4, field.NoProperties, time.Now())
	a, b := r.from("s", 2, headerOffset, "first"), r.from("s", 100, headerOffset, "first")
	want(t, "a", streamed(t, a), []string{"0=0", "1=1"})
	want(t, "b", streamed(t, b), []string{"0=0", "1=1", "2=2", "3=3"})
	if n, err := r.s.Count(a.q); n != 4 || err != nil {
		t.Errorf("%d messages, %v", n, err)
	}
	lease := &a.stream.parts[0].Lease
	for i, settle := range []func(first, last message.Offset) error{lease.Ack, lease.Requeue, lease.Reject} {
		if err := settle(message.Offset(i), message.Offset(i)); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			want(t, "a, with credit again", streamed(t, a), []string{fmt.Sprintf("%d=%d", i+2, i+2)})
		}
	}
	r.put("s", 1, field.NoProperties, time.Now())
	want(t, "a, of what is new", streamed(t, a), []string{"4=0"})
	want(t, "b, of what is new", streamed(t, b), []string{"4=0"})
	want(t, "one that comes", streamed(t, r.from("s", 9, headerOffset, "first")), []string{"0=0", "1=1", "2=2", "3=3", "4=0"})
	if q := a.q; q.Consumers() != 3 || q.Unacked() != 0 || q.Stats().Ready != 5 || q.Partitions()[0].cursor.Load() != nil {
		t.Errorf("%d consumers, %d unacked, %+v, or a cursor", q.Consumers(), q.Unacked(), q.Stats())
	}
	if left := r.leftBy(); len(left) > 0 {
		t.Errorf("messages left: %v", left)
	}
}

// Offsets that are no messages, here those behind each append, are stepped over.
func TestAStreamIsReadFromWhereItsConsumerAsks(t *testing.T) {
	r := startWith(t, 3)
	r.stream("s")
	old := time.Now().Add(-time.Hour).Truncate(time.Second)
	r.put("s", 2, field.NoProperties, old)
	p := r.s.NewPublisher()
	for i := range 3 { // of one batch, in which time passes
		in := &Inbound{Key: []byte("s"), Body: fmt.Append(nil, "new", i), Persistent: true, TimestampMs: old.Add(time.Duration(i+20) * time.Minute).UnixMilli()}
		if _, err := p.Publish(in); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, p)
	all := []string{"0=0", "4=1", "8=new0", "9=new1", "10=new2"}
	at := func(came time.Time) []byte {
		return binary.BigEndian.AppendUint64(append(field.AppendName(nil, headerOffset), field.TagTimestamp), uint64(came.Unix()))
	}
	for name, c := range map[string]struct {
		args []byte
		want []string
	}{
		"first":           {arguments(headerOffset, "first"), all},
		"0":               {arguments(headerOffset, 0), all},
		"below 0":         {arguments(headerOffset, -1), all},
		"1":               {arguments(headerOffset, 1), all[1:]},
		"4":               {arguments(headerOffset, 4), all[1:]},
		"within a batch":  {arguments(headerOffset, 9), all[3:]},
		"last":            {arguments(headerOffset, "last"), all[2:]},
		"next":            {arguments(headerOffset, "next"), nil},
		"nothing said":    {nil, nil},
		"a year":          {arguments(headerOffset, "1Y"), all},
		"some minutes":    {arguments(headerOffset, "2350s"), all[3:]},
		"its time":        {at(old), all},
		"a second later":  {at(old.Add(time.Second)), all[2:]},
		"time in a batch": {at(old.Add(21 * time.Minute)), all[3:]},
		"the future":      {at(old.Add(time.Hour * 1e5)), nil},
		"the end of time": {binary.BigEndian.AppendUint64(append(field.AppendName(nil, headerOffset), field.TagTimestamp), 1<<63), nil},
	} {
		t.Run(name, func(t *testing.T) {
			sub := r.subscribe("s", SubscribeOptions{Prefetch: 100, Args: c.args})
			want(t, "got", streamed(t, sub), c.want)
		})
	}
	ahead := r.from("s", 100, headerOffset, 19)
	want(t, "ahead of the end", streamed(t, ahead), nil)
	r.put("s", 3, field.NoProperties, time.Now()) // 14, 18, 22
	want(t, "when the end has come there", streamed(t, ahead), []string{"22=2"})
}

func TestConsumersThatAStreamRefuses(t *testing.T) {
	r := start(t)
	r.stream("s")
	r.queue("q", QueueOptions{})
	for _, c := range []struct {
		queue string
		o     SubscribeOptions
		kind  Kind
		want  string
	}{
		{"s", SubscribeOptions{}, Precondition, "consumer prefetch count is not set for stream queue 's' in vhost '/'"},
		{"s", SubscribeOptions{NoAck: true}, Precondition, "consumer prefetch count is not set for stream queue 's' in vhost '/'"},
		{"s", SubscribeOptions{Prefetch: 1, NoAck: true}, Unsupported, "automatic acknowledgement not supported by stream queue 's' in vhost '/'"},
		{"s", SubscribeOptions{Prefetch: 1, Shared: NewCredit(1)}, Unsupported, "queue 's' in vhost '/' does not support global qos"},
		{"s", SubscribeOptions{Prefetch: 1, Shared: NewCredit(0)}, 0, ""},
		{"s", SubscribeOptions{Prefetch: 1, Exclusive: true}, 0, ""},
		{"s", SubscribeOptions{Prefetch: 1, Args: arguments("x-priority", 1)}, Precondition, "invalid arg 'x-priority' for queue 's' in vhost '/' of queue type rabbit_stream_queue"},
		{"s", SubscribeOptions{Prefetch: 1, Args: arguments(headerOffset, "2")}, Precondition,
			`invalid arg 'x-stream-offset' for queue 's' in vhost '/': {invalid_stream_offset_arg,{longstr,<<"2">>}}`},
		{"s", SubscribeOptions{Prefetch: 1, Args: arguments(headerOffset, "0s")}, Precondition,
			`invalid arg 'x-stream-offset' for queue 's' in vhost '/': {invalid_stream_offset_arg,{longstr,<<"0s">>}}`},
		{"s", SubscribeOptions{Prefetch: 1, Args: arguments(headerOffset, true)}, Precondition,
			`invalid arg 'x-stream-offset' for queue 's' in vhost '/': {invalid_stream_offset_arg,bool}`},
		{"q", SubscribeOptions{Prefetch: 1, Args: arguments(headerOffset, "first")}, Precondition,
			"invalid arg 'x-stream-offset' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"},
		{"q", SubscribeOptions{Prefetch: 1, Args: arguments(argFilter, "a")}, Precondition,
			"invalid arg 'x-stream-filter' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"},
	} {
		sub, err := r.s.Subscribe(c.queue, c.o)
		if c.kind == 0 && err == nil {
			sub.Close()
			continue
		}
		if err == nil || err.Error() != c.want || KindOf(err) != c.kind {
			t.Errorf("got %v of kind %d, want %s", err, KindOf(err), c.want)
		}
	}
	_, err := r.s.Get("s", true)
	kind(t, err, Unsupported)
	_, err = r.s.Purge("s")
	kind(t, err, Unsupported)
	if n := r.stream("s").Consumers(); n != 0 {
		t.Errorf("%d consumers", n)
	}
}

func TestAStreamIsDeclaredAsOnRabbitMQ(t *testing.T) {
	r := start(t)
	const of = "' for queue 's' in vhost '/'"
	for _, c := range []struct {
		o    QueueOptions
		args []any
		want string
	}{
		{QueueOptions{Durable: true, AutoDelete: true}, nil, "invalid property 'auto-delete" + of},
		{QueueOptions{Durable: true, Exclusive: true}, nil, "invalid property 'exclusive-owner" + of},
		{QueueOptions{}, nil, "invalid property 'non-durable" + of},
		{QueueOptions{Durable: true}, []any{"x-message-ttl", 1}, "invalid arg 'x-message-ttl" + of + " of queue type rabbit_stream_queue"},
		{QueueOptions{Durable: true}, []any{"x-max-age", "0s"}, "invalid arg 'x-max-age" + of + ": invalid_max_age"},
		{QueueOptions{Durable: true}, []any{"x-max-age", 5}, "invalid arg 'x-max-age" + of + ": {unacceptable_type,long}"},
		{QueueOptions{Durable: true}, []any{"x-max-length-bytes", -1}, "invalid arg 'x-max-length-bytes" + of + ": {value_negative,-1}"},
		{QueueOptions{Durable: true}, []any{"x-initial-cluster-size", 0}, "invalid arg 'x-initial-cluster-size" + of + ": {value_zero,0}"},
		{QueueOptions{Durable: true}, []any{"x-stream-max-segment-size-bytes", maxStreamSegmentBytes + 1}, "Exceeded max value for x-stream-max-segment-size-bytes"},
		{QueueOptions{Durable: true}, []any{"x-stream-filter-size-bytes", 15}, "Invalid value for  x-stream-filter-size-bytes"},
		{QueueOptions{Durable: true}, []any{"x-stream-filter-size-bytes", 256}, "Invalid value for  x-stream-filter-size-bytes"},
		{QueueOptions{Durable: true}, []any{"x-stream-filter-size-bytes", "a"}, "Invalid value for  x-stream-filter-size-bytes"},
	} {
		c.o.Args = arguments(append([]any{"x-queue-type", "stream"}, c.args...)...)
		if _, err := r.s.DeclareQueue("s", c.o); err == nil || err.Error() != c.want || KindOf(err) != Precondition {
			t.Errorf("%v: got %v, want %s", c.args, err, c.want)
		}
	}
	if _, err := r.s.DeclareQueue("", QueueOptions{Durable: true, Args: arguments("x-queue-type", "stream")}); err == nil || err.Error() != "Cannot declare a server-named queue for type rabbit_stream_queue" {
		t.Error(err)
	}
	r.stream("s", "x-max-age", "60m", "x-stream-filter-size-bytes", 16)
	r.stream("s", "x-max-age", "60m", "x-stream-filter-size-bytes", 1)
	for _, args := range [][]any{{"x-max-age", "1h"}, {"x-max-age", "61m"}, {}, {"x-max-age", "60m", "x-max-length-bytes", 5}} {
		_, err := r.s.DeclareQueue("s", QueueOptions{Durable: true, Args: arguments(append([]any{"x-queue-type", "stream"}, args...)...)})
		kind(t, err, Precondition)
	}
	if _, err := r.s.CreateTopic("t", 1, nil); err != nil {
		t.Fatal(err)
	}
	r.stream("t") // a topic is one for whoever asks
}

// What a stream's arguments say is what Kafka clients are told, and nothing that they may change.
func TestAStreamIsATopicToKafkaClients(t *testing.T) {
	r := start(t)
	r.stream("s", "x-max-age", "1h", "x-max-length-bytes", 0, "x-stream-max-segment-size-bytes", 5)
	r.stream("plain.s")
	r.restart()
	for _, c := range []struct {
		queue, config, want string
		from                SettingSource
	}{
		{"s", "retention.ms", "3600000", FromDeclared}, {"s", "retention.bytes", "1", FromDeclared}, {"s", "segment.bytes", "65536", FromDeclared},
		{"plain.s", "retention.ms", "-1", FromDefault}, {"plain.s", "retention.bytes", "-1", FromDefault}, {"plain.s", "segment.bytes", "67108864", FromDefault},
	} {
		q, err := r.v.Queue(c.queue)
		if err != nil {
			t.Fatal(err)
		}
		if v, from := q.Settings().Value(TopicSetting(c.config)); v != c.want || from != c.from {
			t.Errorf("%s of %s is %s from %d, want %s", c.config, c.queue, v, from, c.want)
		}
	}
	q, _ := r.v.Queue("s")
	if o := q.logOptions(); o.Retention.Consumed || o.Retention.Age != time.Hour || o.Retention.Bytes != 1 || o.SegmentBytes != 65536 || o.Transient {
		t.Errorf("%+v", o)
	}
	if q.Settings().limited() || !q.Readable() {
		t.Error("a stream is limited by messages, or can't be read")
	}
	kind(t, r.s.SetConfig(q, configs("retention.ms", "1")), Precondition)
	kind(t, r.s.AddPartitions(q, 2), Precondition)
	if _, err := r.s.CreateTopic("plain_s", 1, nil); err != nil {
		t.Error(err) // what AMQP clients declared may be as much alike as they want
	}
}

// A Kafka topic is consumed as a work queue, or as a stream by who asks for that; of several
// partitions each message tells its own offset.
func TestATopicIsReadAsAStreamByWhoAsks(t *testing.T) {
	r := startWith(t, 3)
	q, err := r.s.CreateTopic("t", 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, body := range []string{"a", "b", "c"} {
		if _, err := r.s.Produce(q.Partitions()[i%2], produced(-1, -1, -1, body)); err != nil {
			t.Fatal(err)
		}
	}
	sub := r.from("t", 10, headerOffset, "first")
	got := streamed(t, sub)
	slices.Sort(got)
	want(t, "as a stream", got, []string{"0=a", "0=b", "4=c"})
	if err := r.s.AddPartitions(q, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := r.s.Produce(q.Partitions()[2], produced(-1, -1, -1, "d", "e")); err != nil {
		t.Fatal(err)
	}
	want(t, "of a partition that came since", streamed(t, sub), []string{"0=d", "1=e"})
	want(t, "as a work queue", drain(t, q), []string{"a", "c", "b", "d", "e"})
	want(t, "from the middle", streamed(t, r.from("t", 10, headerOffset, 1)), []string{"4=c", "1=e"})
}

func TestAConsumerGoesOnWhereRetentionLeftSomething(t *testing.T) {
	var said logged.Lines
	r := &rig{t: t, dir: t.TempDir(), lines: said.Logger()}
	r.open()
	t.Cleanup(func() { _ = errors.Join(r.Close(), r.store.Close()) })
	q := r.stream("s")
	r.put("s", 9, field.NoProperties, time.Now())
	sub := r.from("s", 2, headerOffset, "first")
	want(t, "before", streamed(t, sub), []string{"0=0", "1=1"})
	for _, before := range []message.Offset{5, 6} {
		if _, err := r.s.Truncate(q.Partitions()[0], before); err != nil {
			t.Fatal(err)
		}
		if err := sub.stream.parts[0].Ack(before-5, before-5); err != nil {
			t.Fatal(err)
		}
		if before == 5 {
			want(t, "after", streamed(t, sub), []string{"5=5"})
		}
	}
	want(t, "when nothing was missed", streamed(t, sub), []string{"6=6"})
	if n := r.Counters().Passed.Load(); n != 3 {
		t.Errorf("%d were passed", n)
	}
	if got := said.String(); strings.Count(got, "slower than its retention") != 1 || !strings.Contains(got, "missed=3") {
		t.Error(got)
	}
}

// However many consumers fall behind, one line in a while tells of all.
func TestWhatManyConsumersMissIsToldOnce(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var said logged.Lines
		r := &rig{t: t, dir: "data", files: fs.NewMem(1), lines: said.Logger()}
		r.open()
		defer func() { must(t, errors.Join(r.Close(), r.store.Close())) }()
		q := r.stream("s")
		r.put("s", 9, field.NoProperties, time.Now())
		var subs []*Subscription
		for range 50 {
			subs = append(subs, r.from("s", 2, headerOffset, "first"))
		}
		if _, err := r.s.Truncate(q.Partitions()[0], 5); err != nil {
			t.Fatal(err)
		}
		for _, sub := range subs {
			want(t, "behind it", streamed(t, sub), []string{"5=5", "6=6"})
			sub.Close()
		}
		in(2 * tellEvery)
		told := strings.Count(said.String(), "slower than")
		if n := r.Counters().Passed.Load(); n != 250 || told != 2 || !strings.Contains(said.String(), "missed=5\n") || !strings.Contains(said.String(), "missed=245\n") {
			t.Errorf("%d were passed, told in %d lines: %s", n, told, said.String())
		}
	})
}

func TestAStreamAndItsMessagesSurviveARestart(t *testing.T) {
	r := startWith(t, 0)
	r.stream("s")
	r.put("s", 3, expiring("1"), time.Now().Add(-time.Hour))
	r.from("s", 10, headerOffset, "first")
	r.restart()
	q, err := r.v.Queue("s")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.s.Count(q); n != 3 || err != nil {
		t.Errorf("%d messages, %v", n, err)
	}
	want(t, "what expires elsewhere stays", streamed(t, r.from("s", 10, headerOffset, 1)), []string{"1=1", "2=2"})
	r.expirer.sweep(time.Now().UnixMilli())
	if n, err := r.s.Count(q); n != 3 || err != nil || len(r.expirer.list) > 0 || q.Partitions()[0].cursor.Load() != nil {
		t.Errorf("%d messages, %v, %d to be looked at", n, err, len(r.expirer.list))
	}
}

func TestConsumersOfADeletedStreamAreToldAndCostNothing(t *testing.T) {
	r := start(t)
	q := r.stream("s")
	cancelled := 0
	sub := r.subscribe("s", SubscribeOptions{Prefetch: 1, Args: arguments(headerOffset, "first"), Cancelled: func() { cancelled++ }})
	r.put("s", 2, field.NoProperties, time.Now())
	want(t, "before", streamed(t, sub), []string{"0=0"})
	lease := &sub.stream.parts[0].Lease
	_, err := r.s.DeleteQueue("s", true, false)
	kind(t, err, Precondition)
	_, err = r.s.DeleteQueue("s", false, true)
	kind(t, err, Precondition)
	if n, err := r.s.DeleteQueue("s", false, false); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if err := lease.Ack(0, 0); err != nil || cancelled != 1 {
		t.Error(err, cancelled)
	}
	want(t, "after", streamed(t, sub), nil)
	sub.Close()
	want(t, "closed", streamed(t, sub), nil)
	if n := q.Consumers(); n != 0 {
		t.Errorf("%d consumers", n)
	}
	_, err = r.s.Subscribe("s", SubscribeOptions{Prefetch: 1})
	kind(t, err, NotFound)
}

// A consumer that has no credit, or has read all, is woken once by what changes that.
func TestAStreamsConsumerIsWokenWhenItHasSomethingToDo(t *testing.T) {
	r := startWith(t, 0)
	r.stream("s")
	woken := 0
	sub := r.subscribe("s", SubscribeOptions{Prefetch: 2, Wake: func() { woken++ }})
	expect := func(n int, after string) {
		t.Helper()
		if woken != n {
			t.Errorf("woken %d times after %s, want %d", woken, after, n)
		}
		woken = 0
	}
	r.put("s", 1, field.NoProperties, time.Now())
	expect(0, "an append before the first pull")
	want(t, "first", streamed(t, sub), []string{"0=0"})
	r.put("s", 3, field.NoProperties, time.Now())
	expect(1, "appends at the end of the log")
	want(t, "second", streamed(t, sub), []string{"1=0"})
	r.put("s", 1, field.NoProperties, time.Now())
	lease := &sub.stream.parts[0].Lease
	expect(0, "an append without credit")
	_ = lease.Ack(0, 0)
	_ = lease.Ack(1, 1)
	expect(1, "acks without credit")
	want(t, "third", streamed(t, sub), []string{"2=1", "3=2"})
	_ = lease.Ack(2, 3)
	woken = 0
	want(t, "fourth", streamed(t, sub), []string{"4=0"})
	_ = lease.Ack(4, 4)
	expect(0, "acks with credit")
	sub.Close()
	r.put("s", 1, field.NoProperties, time.Now())
	expect(0, "an append when it has left")
}

func TestAStreamsConsumerGetsWhatItsFilterWants(t *testing.T) {
	r := startWith(t, 3)
	r.stream("s")
	with := func(value any) []byte {
		p := field.Properties{Flags: field.FlagHeaders | field.FlagContentType, ContentType: []byte("text"), Headers: arguments(headerFilterValue, value)}
		return p.Append(nil)
	}
	for i, props := range [][]byte{with("a"), with("b"), field.NoProperties, with("a"), with("c"), with(5), with("")} {
		r.put("s", 1, props, time.Now().Add(time.Duration(i)))
	}
	offset := func(list ...int) (out []string) {
		for _, n := range list {
			out = append(out, fmt.Sprintf("%d=0", 4*n))
		}
		return out
	}
	array := func(list ...string) []byte {
		var values []byte
		for _, v := range list {
			values = field.AppendString(values, []byte(v))
		}
		return field.AppendArray(field.AppendName(nil, argFilter), field.AppendInt(values, 1))
	}
	for name, c := range map[string]struct {
		args []byte
		want []string
	}{
		"one value":               {arguments(argFilter, "a"), offset(0, 3)},
		"several":                 {array("a", "c"), offset(0, 3, 4)},
		"one that nobody has":     {arguments(argFilter, "none"), nil},
		"and what has none":       {arguments(argFilter, "b", argMatchUnfiltered, true), offset(1, 2, 5)},
		"and nothing else":        {arguments(argFilter, "b", argMatchUnfiltered, false), offset(1)},
		"not a flag":              {arguments(argFilter, "b", argMatchUnfiltered, "yes"), offset(1)},
		"the empty one":           {arguments(argFilter, ""), offset(2, 5, 6)},
		"not a filter":            {arguments(argFilter, 5), offset(0, 1, 2, 3, 4, 5, 6)},
		"no filter, but the flag": {arguments(argMatchUnfiltered, true), offset(0, 1, 2, 3, 4, 5, 6)},
	} {
		t.Run(name, func(t *testing.T) {
			args := append(slices.Clone(c.args), arguments(headerOffset, "first")...)
			want(t, "got", streamed(t, r.subscribe("s", SubscribeOptions{Prefetch: 100, Args: args})), c.want)
			one := r.subscribe("s", SubscribeOptions{Prefetch: 1, Args: args})
			var got []string
			for {
				more := streamed(t, one)
				if len(more) == 0 {
					break
				}
				got = append(got, more...)
				if err := one.stream.parts[0].Ack(0, 0); err != nil {
					t.Fatal(err)
				}
			}
			want(t, "got one by one", got, c.want)
		})
	}
	_, err := r.s.Subscribe("s", SubscribeOptions{Prefetch: 1, Args: array()})
	kind(t, err, Precondition)
}

// What a filter leaves out takes no credit, and no more of a turn than its share.
func TestAConsumerThatWantsLittleLetsOthersHaveTheirTurn(t *testing.T) {
	r := startWith(t, 0)
	r.stream("s")
	p := r.s.NewPublisher()
	const n = 3 * streamLook
	for i := range n {
		in := &Inbound{Key: []byte("s"), Body: []byte("x"), TimestampMs: 1}
		if i == n-1 {
			headers := field.Properties{Flags: field.FlagHeaders, Headers: arguments(headerFilterValue, "a")}
			in.Properties = headers.Append(nil)
		}
		if _, err := p.Publish(in); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 || i == n-1 {
			flush(t, p)
		}
	}
	woken := 0
	sub := r.subscribe("s", SubscribeOptions{Prefetch: 1, Args: arguments(headerOffset, "first", argFilter, "a"), Wake: func() { woken++ }})
	turns := 0
	for got := 0; got == 0; turns++ {
		if turns > 10 || turns > 0 && woken == 0 {
			t.Fatalf("nothing in %d turns, woken %d times", turns, woken)
		}
		woken = 0
		r.stream("s").idleDisk()
		var err error
		if got, err = sub.Pull(1, 1<<20, func(d *Delivery) {}); err != nil {
			t.Fatal(err)
		}
		if views := len(sub.stream.parts[0].reader.views); got == 0 && views > 0 {
			t.Errorf("%d views are borrowed for nothing", views)
		}
	}
	if turns < 3 {
		t.Errorf("all in %d turns", turns)
	}
	sub.Release()
}

// A turn is as short where messages are large.
func TestAConsumerThatWantsNoLargeMessageLetsOthersHaveTheirTurn(t *testing.T) {
	r := startWith(t, 0)
	r.stream("s")
	p := r.s.NewPublisher()
	body := make([]byte, 1<<20)
	const n = 3 * streamLookBytes >> 20
	for range n {
		if _, err := p.Publish(&Inbound{Key: []byte("s"), Body: body, TimestampMs: 1}); err != nil {
			t.Fatal(err)
		}
		flush(t, p)
	}
	woken := 0
	sub := r.subscribe("s", SubscribeOptions{Prefetch: 1, Args: arguments(headerOffset, "first", argFilter, "a"), Wake: func() { woken++ }})
	turns := 0
	for sub.stream.parts[0].next < n {
		if turns > 10 || turns > 0 && woken == 0 {
			t.Fatalf("nothing in %d turns, woken %d times", turns, woken)
		}
		woken = 0
		r.stream("s").idleDisk()
		if _, err := sub.Pull(1, 1<<20, func(d *Delivery) {}); err != nil {
			t.Fatal(err)
		}
		turns++
	}
	if turns < 3 {
		t.Errorf("all in %d turns", turns)
	}
}

// A turn is no longer for a topic of many partitions, each of which has its turn.
func TestAConsumerThatWantsLittleOfManyPartitionsLetsOthersHaveTheirTurn(t *testing.T) {
	const parts, each = 4, streamLookBytes >> 20
	r := startWith(t, 0)
	q, err := r.s.CreateTopic("t", parts, nil)
	must(t, err)
	body := strings.Repeat("x", 1<<20)
	for _, p := range q.Partitions() {
		for range each {
			if _, err := r.s.Produce(p, produced(-1, -1, -1, body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	woken := 0
	sub := r.subscribe("t", SubscribeOptions{Prefetch: 1, Args: arguments(headerOffset, "first", argFilter, "a"), Wake: func() { woken++ }})
	looked := func() (n message.Offset) {
		for _, p := range sub.stream.parts {
			n += p.next
		}
		return n
	}
	for turn := range parts {
		woken = 0
		q.idleDisk()
		if _, err := sub.Pull(1, 1<<20, func(d *Delivery) {}); err != nil {
			t.Fatal(err)
		}
		if n := looked(); n != message.Offset(turn+1)*each || woken == 0 {
			t.Fatalf("%d were looked at in turn %d, and woken %d times", n, turn, woken)
		}
	}
}

func TestAStreamsDeliveryAllocatesNothing(t *testing.T) {
	r := startWith(t, 0)
	r.stream("s")
	p := r.s.NewPublisher()
	for i := range 60_000 {
		if _, err := p.Publish(&Inbound{Key: []byte("s"), Body: []byte("body"), TimestampMs: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, p)
	sub := r.from("s", 1<<16, headerOffset, "first")
	emit := func(*Delivery) {}
	turn := func() {
		if n, err := sub.Pull(100, 1<<20, emit); n != 100 || err != nil {
			t.Fatal(n, err)
		}
		sub.Release()
	}
	turn()
	if got := alloc.Least(0, 100, turn); got > 0 {
		t.Errorf("%v allocations for a hundred messages", got)
	}
}

// What is not in memory is fetched behind the consumer's back, on the way of which it waits for nothing.
func TestAStreamsPullWaitsForNoDisk(t *testing.T) {
	for name, freeze := range map[string]func(r *frozenRig){
		"its batches": (*frozenRig).freezeReads,
		"all files":   func(r *frozenRig) { r.disk.Freeze(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				r := startFrozen(t, fs.NewMem(1))
				args := arguments("x-queue-type", "stream")
				if _, err := r.s.DeclareQueue("s", QueueOptions{Durable: true, Args: args}); err != nil {
					t.Fatal(err)
				}
				publish(t, r.s.NewPublisher(), "", "s=cold", "s=colder")
				r.close()
				r.mem.Evict(true)
				r = startFrozen(t, r.mem)
				defer r.close()
				k := r.puller("s", SubscribeOptions{Prefetch: 10, Args: arguments(headerOffset, "first")})
				defer k.Close()
				gone := r.puller("s", SubscribeOptions{Prefetch: 10, Args: arguments(headerOffset, "first")})
				freeze(r)
				early := append(k.now(), k.now()...)
				if got := gone.now(); len(got) != len(early) {
					t.Errorf("one has got %d, the other %d", len(got), len(early))
				}
				gone.Close()
				synctest.Wait()
				r.disk.Thaw()
				got := append(early, k.soon(2-len(early))...)
				if len(got) != 2 || string(got[0].Body) != "cold" || string(got[1].Body) != "colder" {
					t.Errorf("got %v", got)
				}
			})
		})
	}
}

// What is too old, or too much, goes by segments, and who reads them goes on behind it.
func TestAStreamKeepsWhatItsArgumentsSay(t *testing.T) {
	for name, c := range map[string]struct {
		args []any
		stay int // of 40 messages of 32 KiB, the last of them an hour younger
	}{
		"an age":           {[]any{"x-max-age", "30m"}, 1},
		"bytes":            {[]any{"x-max-length-bytes", 256 << 10}, 7},
		"a byte":           {[]any{"x-max-length-bytes", 0}, 1},
		"neither":          {nil, 40},
		"more than it has": {[]any{"x-max-age", "1D", "x-max-length-bytes", 1 << 30}, 40},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				q := r.stream("s", append([]any{"x-stream-max-segment-size-bytes", 1}, c.args...)...)
				p := r.s.NewPublisher()
				sub := r.from("s", 1, headerOffset, "first")
				got := len(pull(t, sub, 1, 1<<20)) // nothing, but now it stands at the first
				for i := range 40 {
					if i == 39 {
						time.Sleep(time.Hour)
					}
					in := &Inbound{Key: []byte("s"), Body: make([]byte, 32<<10), Persistent: true, TimestampMs: time.Now().UnixMilli()}
					if _, err := p.Publish(in); err != nil {
						t.Fatal(err)
					}
					flush(t, p)
				}
				got += len(pull(t, sub, 1, 1<<20))
				time.Sleep(10 * time.Minute) // the store looks at times in its own time
				synctest.Wait()
				start, end, err := q.Partitions()[0].log.Bounds()
				if left := int(end - start); err != nil || end != 40 || left != c.stay {
					t.Errorf("%d to %d are left, want %d, %v", start, end, c.stay, err)
				}
				if n, err := r.s.Count(q); n != int64(end-start) || err != nil {
					t.Errorf("%d are counted, %v", n, err)
				}
				for {
					_ = sub.stream.parts[0].Ack(0, 0)
					more := len(pull(t, sub, 1, 1<<20))
					sub.Release()
					if got += more; more == 0 {
						break
					}
				}
				if passed := r.Counters().Passed.Load(); got+int(passed) != 40 || (c.stay == 40) != (passed == 0) {
					t.Errorf("%d came, %d were passed", got, passed)
				}
			})
		})
	}
}

// A policy says the same of a stream as its arguments do, and holds over them.
func TestPoliciesOfAStream(t *testing.T) {
	age, bytes := byArg("x-max-age"), byArg("x-max-length-bytes")
	s := newSettings(stream, layers{declared: layer{age: "1000"}, policy: layer{age: "2000", bytes: "5"}})
	if s.RetentionAge != 2*time.Second || s.RetentionBytes != 5 || s.limited() {
		t.Errorf("%+v", s)
	}
	if v, from := s.Value(TopicSetting("retention.bytes")); v != "5" || from != FromPolicy {
		t.Errorf("%s from %d", v, from)
	}
	if s := newSettings(classic, layers{policy: layer{age: "2000", bytes: "5"}}); s.MaxLengthBytes != 5 || s.RetentionBytes != 0 {
		t.Errorf("a queue: %+v", s)
	}
}

func FuzzStreamArguments(f *testing.F) {
	f.Add(arguments(headerOffset, "first", argFilter, "a", argMatchUnfiltered, true), []byte{0, 0})
	f.Add(arguments(headerOffset, "7D"), []byte{0x20, 0, 0, 0, 0, 0})
	f.Add(arguments(headerOffset, 5), []byte{0xb0, 0, 1, 'a', 0, 0, 0, 0, 2})
	f.Add(field.AppendArray(field.AppendName(nil, argFilter), field.AppendString(nil, []byte("a"))), []byte{})
	b := &Broker{}
	b.opts.defaults()
	q := &Queue{Name: "q", vhost: newVHost(b, "/")}
	q.settings.Store(newSettings(stream, layers{}))
	f.Fuzz(func(t *testing.T, args, props []byte) {
		o := SubscribeOptions{Args: args}
		if err := q.consumeArgs(&o); err != nil && KindOf(err) != Precondition {
			t.Fatalf("of kind %d: %v", KindOf(err), err)
		}
		if o.filter != nil {
			o.filter.has(props)
		}
		if len(props) > 0 && !field.CheckProperties(props) {
			return
		}
		out, digits := appendOffset(nil, props)
		binary.BigEndian.PutUint64(digits, 77)
		var p field.Properties
		if err := p.Parse(out); err != nil {
			t.Fatal(err)
		}
		if f, ok := field.Find(p.Headers, headerOffset); ok { // or a table behind it is damaged
			if n, _ := f.Int(); n != 77 {
				t.Fatalf("%x tells %d", out, n)
			}
		}
	})
}

// One that looks far ahead for what it wants, and finds more than there is credit for, comes back to it.
func TestAFilterLosesNothingThatIsBeyondTheCredit(t *testing.T) {
	r := startWith(t, 0)
	r.stream("s")
	p := r.s.NewPublisher()
	var wanted []string
	for i := range 300 { // of one batch, and so of one run
		in := &Inbound{Key: []byte("s"), Body: fmt.Append(nil, i), TimestampMs: 1}
		if i > 50 && i%50 < 7 {
			headers := field.Properties{Flags: field.FlagHeaders, Headers: arguments(headerFilterValue, "a")}
			in.Properties = headers.Append(nil)
			wanted = append(wanted, fmt.Sprintf("%d=%d", i, i))
		}
		if _, err := p.Publish(in); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, p)
	for _, prefetch := range []int{1, 2, 5} {
		sub := r.from("s", prefetch, headerOffset, "first", argFilter, "a")
		var got []string
		for {
			more := streamed(t, sub)
			if len(more) == 0 {
				break
			}
			if len(more) > prefetch {
				t.Errorf("%d came at a time", len(more))
			}
			got = append(got, more...)
			_ = sub.stream.parts[0].Ack(0, message.Offset(len(more)-1))
		}
		want(t, fmt.Sprint("prefetch ", prefetch), got, wanted)
	}
}

// Times need not grow: what comes behind the first of a time comes, whenever it is from.
func TestWhatIsOlderThanItsTimeComesBehindTheFirst(t *testing.T) {
	r := startWith(t, 0)
	r.stream("s")
	now := time.Now()
	for _, came := range []time.Time{now.Add(-3 * time.Hour), now, now.Add(-2 * time.Hour), now} {
		r.put("s", 1, field.NoProperties, came)
	}
	want(t, "from an hour ago", streamed(t, r.from("s", 9, headerOffset, "1h")), []string{"1=0", "2=0", "3=0"})
}
