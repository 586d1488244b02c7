// The machinery program makes the calls by which RichardKnop/machinery sends and delays tasks: for each
// delay a queue of its own that expires, whose messages expire into the exchange of the tasks.
// The module itself is in no registry that the tests reach.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/test/interop/go/check"
)

func main() {
	check.Add("a task and its result", 20*time.Second, result)
	check.Add("delayed tasks come when they are due, in that order", 30*time.Second, delayed)
	check.Add("the queue of a delay goes when it is not asked for again", 30*time.Second, goes)
	check.Add("a delay's queue is declared again for each task", 30*time.Second, again)
	check.Add("tasks of many delays share one queue", 30*time.Second, oneQueue)
	check.Add("a retried task comes back later", 30*time.Second, retried)
	check.Main()
}

// task is what machinery sends, as far as these tests look at it.
type task struct {
	UUID       string
	Name       string
	RetryCount int
}

// broker is a connection with the exchange and the queue of tasks, as machinery sets them up.
type broker struct {
	conn     *amqp.Connection
	ch       *amqp.Channel
	confirms chan amqp.Confirmation
	exchange string
	queue    string
	prefix   string // of the names of the queues of delays
}

func connect(what string) *broker {
	conn, err := amqp.Dial("amqp://guest:guest@" + check.AMQP + "/")
	check.OK(err, "dial")
	b := &broker{conn: conn, exchange: check.Name(what + "_exchange"), queue: check.Name(what + "_tasks"), prefix: check.Name(what)}
	b.ch = check.Get(conn.Channel())
	check.OK(b.ch.ExchangeDeclare(b.exchange, "direct", true, false, false, false, nil), "exchange.declare")
	check.Get(b.ch.QueueDeclare(b.queue, true, false, false, false, nil))
	check.OK(b.ch.QueueBind(b.queue, b.queue, b.exchange, false, nil), "queue.bind")
	check.OK(b.ch.Confirm(false), "confirm.select")
	b.confirms = b.ch.NotifyPublish(make(chan amqp.Confirmation, 1))
	return b
}

func (b *broker) close() {
	_, _ = b.ch.QueueDelete(b.queue, false, false, false)
	_ = b.ch.ExchangeDelete(b.exchange, false, false)
	_ = b.conn.Close()
}

func (b *broker) publish(ctx context.Context, key string, t task, expiration string) {
	body := check.Get(json.Marshal(t))
	check.OK(b.ch.PublishWithContext(ctx, b.exchange, key, false, false, amqp.Publishing{
		ContentType: "application/json", Body: body, DeliveryMode: amqp.Persistent, Expiration: expiration,
	}), "publish")
	select {
	case c := <-b.confirms:
		check.Equal(c.Ack, true, "confirm")
	case <-ctx.Done():
		check.Fail("no confirm")
	}
}

// delay sends a task that is due later, on a connection of its own, as machinery does.
func (b *broker) delay(ctx context.Context, t task, ms int64) {
	other := *b
	other.conn = check.Get(amqp.Dial("amqp://guest:guest@" + check.AMQP + "/"))
	defer other.conn.Close()
	other.ch = check.Get(other.conn.Channel())
	name := b.delayQueue(ms)
	check.Get(other.ch.QueueDeclare(name, true, false, false, false, amqp.Table{
		"x-dead-letter-exchange": b.exchange, "x-dead-letter-routing-key": b.queue,
		"x-message-ttl": ms, "x-expires": ms * 2,
	}))
	check.OK(other.ch.QueueBind(name, name, b.exchange, false, nil), "bind the queue of a delay")
	check.OK(other.ch.Confirm(false), "confirm.select")
	other.confirms = other.ch.NotifyPublish(make(chan amqp.Confirmation, 1))
	other.publish(ctx, name, t, "")
}

func (b *broker) delayQueue(ms int64) string {
	return fmt.Sprintf("delay.%d.%s.%s", ms, b.exchange, b.queue)
}

// work consumes as a worker does: one task at a time, acked when it is done.
func (b *broker) work(ctx context.Context, count int, do func(task, amqp.Delivery)) {
	ch := check.Get(b.conn.Channel())
	check.OK(ch.Qos(1, 0, false), "qos")
	deliveries := check.Get(ch.Consume(b.queue, "worker", false, false, false, false, nil))
	for range count {
		select {
		case d := <-deliveries:
			var t task
			check.OK(json.Unmarshal(d.Body, &t), "task")
			do(t, d)
			check.OK(d.Ack(false), "ack")
		case <-ctx.Done():
			check.Fail("a task is missing")
		}
	}
	check.OK(ch.Close(), "close the worker's channel")
}

func result(ctx context.Context) {
	b := connect("result")
	defer b.close()
	b.publish(ctx, b.queue, task{UUID: "one", Name: "add"}, "")
	b.work(ctx, 1, func(t task, d amqp.Delivery) {
		check.Equal(t.Name, "add", "name")
		// The AMQP result backend: a queue for each task, which expires when nobody asks.
		q := check.Get(b.ch.QueueDeclare(check.Name("result-"+t.UUID), false, true, false, false, amqp.Table{"x-expires": int32(3_600_000)}))
		check.OK(b.ch.QueueBind(q.Name, q.Name, b.exchange, false, nil), "bind the result's queue")
		b.publish(ctx, q.Name, task{UUID: t.UUID, Name: "SUCCESS"}, "")
	})
	q := check.Name("result-one")
	check.Equal(check.Get(b.ch.QueueDeclarePassive(q, false, true, false, false, nil)).Messages, 1, "states in the result's queue")
	d, ok, err := b.ch.Get(q, false)
	check.OK(err, "get")
	check.Equal(ok, true, "a result")
	check.OK(d.Ack(false), "ack")
	check.Get(b.ch.QueueDelete(q, false, false, false))
}

func delayed(ctx context.Context) {
	b := connect("delayed")
	defer b.close()
	delays := map[string]int64{"late": 1500, "soon": 500, "between": 1000, "now": 0}
	due := map[string][2]time.Time{} // each between these times, which are far from each other on a machine that is busy
	for name, ms := range delays {
		begin := time.Now()
		if ms == 0 {
			b.publish(ctx, b.queue, task{Name: name}, "")
		} else {
			b.delay(ctx, task{UUID: name, Name: name}, ms)
		}
		delay := time.Duration(ms) * time.Millisecond
		due[name] = [2]time.Time{begin.Add(delay), time.Now().Add(delay)}
	}
	var before []string
	b.work(ctx, 4, func(t task, d amqp.Delivery) {
		if early := time.Until(due[t.Name][0]); early > 0 {
			check.Fail("%s came %v before it was due", t.Name, early)
		}
		for _, other := range before {
			if due[other][0].After(due[t.Name][1]) {
				check.Fail("%s came before %s", other, t.Name)
			}
		}
		before = append(before, t.Name)
		ms := delays[t.Name]
		later := ms > 0
		deaths, _ := d.Headers["x-death"].([]any)
		check.Equal(len(deaths) == 1, later, "one death of "+t.Name)
		if later {
			death := deaths[0].(amqp.Table)
			check.Equal([]any{death["reason"], death["queue"], death["count"]}, []any{"expired", b.delayQueue(ms), int64(1)}, "death of "+t.Name)
		}
	})
	slices.Sort(before)
	check.Equal(before, []string{"between", "late", "now", "soon"}, "tasks")
}

// missing says whether a queue is not there. It looks at it without using it.
func (b *broker) missing(queue string) bool {
	ch := check.Get(b.conn.Channel())
	_, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err == nil {
		check.OK(ch.Close(), "close")
	}
	return err != nil
}

func goes(ctx context.Context) {
	b := connect("goes")
	defer b.close()
	b.delay(ctx, task{Name: "once"}, 400)
	check.Equal(b.missing(b.delayQueue(400)), false, "the queue of the delay is missing at once")
	b.work(ctx, 1, func(t task, _ amqp.Delivery) { check.Equal(t.Name, "once", "task") })
	for pause := time.Second; ; pause *= 2 { // a passive declare is a use of the queue, which would keep it
		time.Sleep(pause)
		if b.missing(b.delayQueue(400)) {
			return
		}
		if pause > 8*time.Second {
			check.Fail("the queue of the delay stays")
		}
	}
}

func again(ctx context.Context) {
	b := connect("again")
	defer b.close()
	for i := range 20 {
		b.delay(ctx, task{UUID: fmt.Sprint(i), Name: "again"}, 600)
	}
	seen := map[string]int{}
	b.work(ctx, 20, func(t task, _ amqp.Delivery) { seen[t.UUID]++ })
	check.Equal(len(seen), 20, "tasks")
}

func oneQueue(ctx context.Context) {
	b := connect("onequeue")
	defer b.close()
	name := check.Name("delayed_queue")
	check.Get(b.ch.QueueDeclare(name, true, false, false, false, amqp.Table{
		"x-dead-letter-exchange": b.exchange, "x-dead-letter-routing-key": b.queue,
	}))
	check.OK(b.ch.QueueBind(name, name, b.exchange, false, nil), "bind")
	for _, ms := range []string{"300", "600", "900"} {
		b.publish(ctx, name, task{Name: ms}, ms)
	}
	var order []string
	b.work(ctx, 3, func(t task, d amqp.Delivery) {
		order = append(order, t.Name)
		check.Equal(d.Expiration, "", "expiration of what expired")
		deaths := d.Headers["x-death"].([]any)
		check.Equal(deaths[0].(amqp.Table)["original-expiration"], t.Name, "original-expiration")
	})
	check.Equal(order, []string{"300", "600", "900"}, "order")
	check.Get(b.ch.QueueDelete(name, false, false, false))
}

func retried(ctx context.Context) {
	b := connect("retried")
	defer b.close()
	b.publish(ctx, b.queue, task{UUID: "r", Name: "fails", RetryCount: 2}, "")
	var left []int
	b.work(ctx, 3, func(t task, _ amqp.Delivery) {
		left = append(left, t.RetryCount)
		if t.RetryCount > 0 {
			t.RetryCount--
			b.delay(ctx, t, 300)
		}
	})
	check.Equal(left, []int{2, 1, 0}, "retries left")
}
