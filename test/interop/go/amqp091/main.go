// The amqp091 program makes the calls of RabbitMQ's Go tutorials with amqp091-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/test/interop/go/check"
)

var quorum = amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}

func main() {
	check.Add("tutorial 1, hello world", 20*time.Second, hello)
	check.Add("tutorial 2, work queues; a worker dies", 30*time.Second, workQueues)
	check.Add("tutorials 3 to 5, fanout, direct, topic", 20*time.Second, exchanges)
	check.Add("headers exchange", 20*time.Second, headers)
	check.Add("tutorial 6, remote procedure calls", 20*time.Second, rpc)
	check.Add("tutorial 7, publisher confirms", 30*time.Second, confirms)
	check.Add("mandatory messages return before their confirm", 20*time.Second, returns)
	check.Add("every table type comes back as sent", 20*time.Second, tables)
	check.Add("streams are followed from an offset", 20*time.Second, streams)
	check.Add("errors carry RabbitMQ's codes", 20*time.Second, codes)
	check.Main()
}

func dial() *amqp.Connection {
	conn, err := amqp.Dial("amqp://guest:guest@" + check.AMQP + "/")
	check.OK(err, "dial")
	return conn
}

func channel(conn *amqp.Connection) *amqp.Channel {
	ch, err := conn.Channel()
	check.OK(err, "channel")
	return ch
}

func send(ctx context.Context, ch *amqp.Channel, exchange, key string, p amqp.Publishing) {
	check.OK(ch.PublishWithContext(ctx, exchange, key, false, false, p), "publish")
}

// next reads count deliveries.
func next(ctx context.Context, from <-chan amqp.Delivery, count int) []amqp.Delivery {
	var got []amqp.Delivery
	for len(got) < count {
		select {
		case d, ok := <-from:
			if !ok {
				check.Fail("deliveries ended after %d of %d", len(got), count)
			}
			got = append(got, d)
		case <-ctx.Done():
			check.Fail("%d of %d messages in time", len(got), count)
		}
	}
	return got
}

func bodies(ds []amqp.Delivery) []string {
	var out []string
	for _, d := range ds {
		out = append(out, string(d.Body))
	}
	return out
}

func hello(ctx context.Context) {
	conn := dial()
	defer conn.Close()
	ch := channel(conn)
	for i, args := range []amqp.Table{nil, quorum} {
		q := check.Get(ch.QueueDeclare(check.Name("hello"+strconv.Itoa(i)), args != nil, false, false, false, args))
		send(ctx, ch, "", q.Name, amqp.Publishing{ContentType: "text/plain", Body: []byte("Hello World!")})
		msgs := check.Get(ch.Consume(q.Name, "", true, false, false, false, nil))
		d := next(ctx, msgs, 1)[0]
		check.Equal([]string{d.ContentType, d.RoutingKey, string(d.Body)}, []string{"text/plain", q.Name, "Hello World!"}, "message")
		check.Get(ch.QueueDelete(q.Name, false, false, false))
	}
}

func workQueues(ctx context.Context) {
	boss := dial()
	defer boss.Close()
	ch := channel(boss)
	q := check.Get(ch.QueueDeclare(check.Name("task_queue"), true, false, false, false, quorum))
	for i := range 10 {
		send(ctx, ch, "", q.Name, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(strconv.Itoa(i))})
	}
	doomed := dial()
	dying := channel(doomed)
	check.OK(dying.Qos(1, 0, false), "qos")
	next(ctx, check.Get(dying.Consume(q.Name, "", false, false, false, false, nil)), 1)
	check.OK(doomed.Close(), "close") // without an ack
	check.Until(ctx, "the task to come back", func() bool {
		return check.Get(ch.QueueDeclarePassive(q.Name, true, false, false, false, quorum)).Messages == 10
	})
	var done []string
	redelivered := 0
	worker := channel(boss)
	check.OK(worker.Qos(1, 0, false), "qos")
	for d := range take(ctx, check.Get(worker.Consume(q.Name, "", false, false, false, false, nil)), 10) {
		done = append(done, string(d.Body))
		if d.Redelivered {
			redelivered++
		}
		check.OK(d.Ack(false), "ack")
	}
	check.Equal(done, strings.Split("0123456789", ""), "tasks in order")
	check.Equal(redelivered, 1, "redelivered")
	check.OK(worker.Close(), "close the worker's channel")
	check.Equal(check.Get(ch.QueueDelete(q.Name, false, false, false)), 0, "what was left")
}

// take yields count deliveries one by one.
func take(ctx context.Context, from <-chan amqp.Delivery, count int) func(func(amqp.Delivery) bool) {
	return func(yield func(amqp.Delivery) bool) {
		for range count {
			if !yield(next(ctx, from, 1)[0]) {
				return
			}
		}
	}
}

func exchanges(ctx context.Context) {
	conn := dial()
	defer conn.Close()
	ch := channel(conn)
	for _, c := range []struct {
		kind       string
		bind       []string
		keys, want []string
	}{
		{"fanout", []string{""}, []string{"", "x"}, []string{"", "x"}},
		{"direct", []string{"info", "error"}, []string{"info", "debug", "error"}, []string{"info", "error"}},
		{"topic", []string{"kern.*", "*.critical"}, []string{"kern.critical", "a.b.critical", "kern.info", "kern"}, []string{"kern.critical", "kern.info"}},
		{"topic", []string{"#"}, []string{"", "a", "a..b"}, []string{"", "a", "a..b"}},
	} {
		exchange := check.Name(c.kind)
		check.OK(ch.ExchangeDeclare(exchange, c.kind, true, false, false, false, nil), c.kind)
		q := check.Get(ch.QueueDeclare("", false, false, true, false, nil))
		for _, key := range c.bind {
			check.OK(ch.QueueBind(q.Name, key, exchange, false, nil), "bind")
		}
		for _, key := range c.keys {
			send(ctx, ch, exchange, key, amqp.Publishing{Body: []byte(key)})
		}
		msgs := check.Get(ch.Consume(q.Name, "", true, true, false, false, nil))
		check.Equal(bodies(next(ctx, msgs, len(c.want))), c.want, c.kind)
		select {
		case d := <-msgs:
			check.Fail("%s: unexpected %q", c.kind, d.Body)
		case <-time.After(50 * time.Millisecond):
		}
		check.OK(ch.ExchangeDelete(exchange, false, false), "delete")
	}
}

func headers(ctx context.Context) {
	conn := dial()
	defer conn.Close()
	ch := channel(conn)
	exchange := check.Name("headers")
	check.OK(ch.ExchangeDeclare(exchange, "headers", false, false, false, false, nil), "declare")
	defer ch.ExchangeDelete(exchange, false, false)
	q := check.Get(ch.QueueDeclare("", false, false, true, false, nil))
	check.OK(ch.QueueBind(q.Name, "", exchange, false, amqp.Table{"x-match": "any", "n": int32(1), "s": "v"}), "bind")
	for i, h := range []amqp.Table{{"n": int64(1)}, {"n": int32(2)}, {"s": "v", "n": int32(9)}, {}} {
		send(ctx, ch, exchange, "", amqp.Publishing{Headers: h, Body: []byte(strconv.Itoa(i))})
	}
	msgs := check.Get(ch.Consume(q.Name, "", true, false, false, false, nil))
	check.Equal(bodies(next(ctx, msgs, 2)), []string{"0", "2"}, "matched")
}

func rpc(ctx context.Context) {
	conn := dial()
	defer conn.Close()
	server := channel(conn)
	q := check.Get(server.QueueDeclare(check.Name("rpc_queue"), true, false, false, false, quorum))
	requests := check.Get(server.Consume(q.Name, "", false, false, false, false, nil))
	go func() {
		for d := range requests {
			n, _ := strconv.Atoi(string(d.Body))
			_ = server.PublishWithContext(ctx, "", d.ReplyTo, false, false,
				amqp.Publishing{CorrelationId: d.CorrelationId, Body: []byte(strconv.Itoa(n * n))})
			_ = d.Ack(false)
		}
	}()
	client := channel(conn)
	replies := check.Get(client.QueueDeclare("", false, false, true, false, nil))
	answers := check.Get(client.Consume(replies.Name, "", true, false, false, false, nil))
	for _, n := range []int{2, 7, 30} {
		send(ctx, client, "", q.Name, amqp.Publishing{CorrelationId: fmt.Sprint("c", n), ReplyTo: replies.Name, Body: []byte(strconv.Itoa(n))})
		d := next(ctx, answers, 1)[0]
		check.Equal([]string{d.CorrelationId, string(d.Body)}, []string{fmt.Sprint("c", n), strconv.Itoa(n * n)}, "answer")
	}
	check.Get(client.QueueDelete(q.Name, false, false, false))
}

func confirms(ctx context.Context) {
	conn := dial()
	defer conn.Close()
	ch := channel(conn)
	check.OK(ch.Confirm(false), "confirm.select")
	q := check.Get(ch.QueueDeclare(check.Name("confirms"), true, false, false, false, nil))
	publish := func(i int) *amqp.DeferredConfirmation {
		return check.Get(ch.PublishWithDeferredConfirm("", q.Name, false, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(strconv.Itoa(i))}))
	}
	for i := range 20 { // one by one
		if !check.Get(publish(i).WaitContext(ctx)) {
			check.Fail("message %d was nacked", i)
		}
	}
	var waiting []*amqp.DeferredConfirmation
	for i := range 2000 { // all at once
		waiting = append(waiting, publish(20+i))
	}
	for _, c := range waiting {
		if !check.Get(c.WaitContext(ctx)) {
			check.Fail("message %d was nacked", c.DeliveryTag)
		}
	}
	msgs := check.Get(ch.Consume(q.Name, "", true, false, false, false, nil))
	for i, d := range next(ctx, msgs, 2020) {
		check.Equal(string(d.Body), strconv.Itoa(i), "order")
	}
	check.Get(ch.QueueDelete(q.Name, false, false, false))
}

func returns(ctx context.Context) {
	conn := dial()
	defer conn.Close()
	ch := channel(conn)
	check.OK(ch.Confirm(false), "confirm.select")
	returned := ch.NotifyReturn(make(chan amqp.Return, 1))
	c := check.Get(ch.PublishWithDeferredConfirm("amq.direct", check.Name("nowhere"), true, false, amqp.Publishing{Body: []byte("x")}))
	if !check.Get(c.WaitContext(ctx)) {
		check.Fail("an unroutable message was nacked")
	}
	select {
	case r := <-returned:
		check.Equal(int(r.ReplyCode), 312, "reply code")
		check.Equal(string(r.Body), "x", "body")
	default:
		check.Fail("the confirm came without the return")
	}
}

func tables(ctx context.Context) {
	conn := dial()
	defer conn.Close()
	ch := channel(conn)
	q := check.Get(ch.QueueDeclare("", false, false, true, false, nil))
	sent := amqp.Publishing{
		Headers: amqp.Table{
			"bool": true, "byte": byte(7), "int8": int8(-7), "int16": int16(-300), "int32": int32(70000), "int64": int64(1) << 40,
			"float32": float32(1.5), "float64": 2.25, "decimal": amqp.Decimal{Scale: 2, Value: 314}, "string": "ž",
			"bytes": []byte{0, 255}, "time": time.Unix(1700000000, 0), "void": nil,
			"array": []any{"a", int32(1), amqp.Table{"x": "y"}}, "table": amqp.Table{"deep": amqp.Table{"er": true}},
		},
		ContentType: "a/b", ContentEncoding: "gzip", DeliveryMode: 2, Priority: 9, CorrelationId: "c", ReplyTo: "r",
		Expiration: "99999", MessageId: "m", Timestamp: time.Unix(1700000001, 0), Type: "t", UserId: "guest", AppId: "a",
		Body: []byte(strings.Repeat("x", 200000)),
	}
	send(ctx, ch, "", q.Name, sent)
	got := next(ctx, check.Get(ch.Consume(q.Name, "", true, false, false, false, nil)), 1)[0]
	for key, want := range sent.Headers {
		if t, ok := want.(time.Time); ok {
			check.Equal(got.Headers[key].(time.Time).Unix(), t.Unix(), key)
			continue
		}
		check.Equal(got.Headers[key], want, key)
	}
	check.Equal(len(got.Headers), len(sent.Headers), "number of headers")
	g, w := reflect.ValueOf(got), reflect.ValueOf(sent)
	for i := range w.NumField() {
		field := w.Type().Field(i).Name
		if !slices.Contains([]string{"Headers", "Timestamp"}, field) {
			check.Equal(g.FieldByName(field).Interface(), w.Field(i).Interface(), field)
		}
	}
	check.Equal(got.Timestamp.Unix(), sent.Timestamp.Unix(), "timestamp")
}

func codes(context.Context) {
	conn := dial()
	defer conn.Close()
	for _, c := range []struct {
		what string
		code int
		call func(ch *amqp.Channel) error
	}{
		{"missing queue", 404, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive(check.Name("missing"), true, false, false, false, nil)
			return err
		}},
		{"missing exchange", 404, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(check.Name("missing"), "topic", true, false, false, false, nil)
		}},
		{"reserved name", 403, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("amq.mine", true, false, false, false, nil)
			return err
		}},
		{"another type", 406, func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("amq.topic", "direct", true, false, false, false, nil)
		}},
	} {
		var e *amqp.Error
		if err := c.call(channel(conn)); !errors.As(err, &e) {
			check.Fail("%s: %v", c.what, err)
		}
		check.Equal(e.Code, c.code, c.what)
	}
}

// streams follows a stream from where another consumer stopped, with the offsets that it was told.
func streams(ctx context.Context) {
	conn := dial()
	defer conn.Close()
	ch := channel(conn)
	q, err := ch.QueueDeclare(check.Name("stream"), true, false, false, false, amqp.Table{
		amqp.QueueTypeArg: amqp.QueueTypeStream, amqp.StreamMaxAgeArg: "1h", amqp.StreamMaxLenBytesArg: int64(5_000_000_000),
		amqp.StreamMaxSegmentSizeBytesArg: 500_000,
	})
	check.OK(err, "declare")
	for i := range 30 {
		send(ctx, ch, "", q.Name, amqp.Publishing{Body: []byte(strconv.Itoa(i)), DeliveryMode: amqp.Persistent})
	}
	var from any = "first"
	for first := range 3 {
		follower := channel(conn)
		check.OK(follower.Qos(4, 0, false), "qos")
		deliveries, err := follower.ConsumeWithContext(ctx, q.Name, "", false, false, false, false, amqp.Table{"x-stream-offset": from})
		check.OK(err, "consume")
		for i := range 10 {
			d := next(ctx, deliveries, 1)[0]
			offset, _ := d.Headers["x-stream-offset"].(int64)
			if want := int64(10*first + i); offset != want || string(d.Body) != strconv.Itoa(int(want)) {
				check.Fail("got %q at offset %v, want %d", d.Body, d.Headers["x-stream-offset"], want)
			}
			check.OK(d.Ack(false), "ack")
			from = offset + 1
		}
		check.OK(follower.Close(), "close")
	}
	_, err = ch.QueueDelete(q.Name, false, false, false)
	check.OK(err, "delete")
}
