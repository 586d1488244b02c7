package amqp

import (
	"testing"

	"github.com/leveret-mq/leveret/amqp/wire"
)

// declareSingle makes a queue with a single active consumer.
func (p *peer) declareSingle(queue string) {
	p.t.Helper()
	args := wire.AppendTableBool(nil, "x-single-active-consumer", true)
	p.call(1, &wire.QueueDeclare{Queue: queue, Durable: true, Arguments: args}, wire.IDQueueDeclareOk)
}

// However the active consumer ends, the next in order begins with what it held.
func TestTheNextConsumerBeginsWithWhatTheFormerHeld(t *testing.T) {
	for _, end := range []struct {
		name string
		do   func(p *peer)
	}{
		{"channel.close", func(p *peer) { p.call(2, &wire.ChannelClose{ReplyCode: 200}, wire.IDChannelCloseOk) }},
		{"a channel error", func(p *peer) { p.call(2, &wire.BasicAck{DeliveryTag: 99}, wire.IDChannelClose) }},
		{"connection.close", func(p *peer) { p.call(0, &wire.ConnectionClose{ReplyCode: 200}, wire.IDConnectionCloseOk) }},
		{"the end of the socket", func(p *peer) { p.nc.Close() }},
		{"cancel and recover", func(p *peer) {
			p.send(2, &wire.BasicRecoverAsync{Requeue: true}) // what it held is its own again, before it is cancelled
			for _, body := range []string{"0", "1", "2"} {
				p.delivery(2, body)
			}
			p.call(2, &wire.ChannelClose{ReplyCode: 200}, wire.IDChannelCloseOk)
		}},
	} {
		t.Run(end.name, func(t *testing.T) {
			r := newRig(t, rigOptions{})
			former, next, last := r.connect(), r.connect(), r.connect()
			former.declareSingle("q")
			former.fill("q", 5)
			former.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
			former.call(2, &wire.BasicQos{PrefetchCount: 3}, wire.IDBasicQosOk)
			former.call(2, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
			for _, body := range []string{"0", "1", "2"} {
				former.delivery(2, body)
			}
			for _, p := range []*peer{next, last} {
				p.call(1, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
				p.nothing()
			}
			end.do(former)
			for i, body := range []string{"0", "1", "2", "3", "4"} {
				if d := next.delivery(1, body); d.Redelivered != (i < 3) {
					t.Errorf("%s: redelivered %v", body, d.Redelivered)
				}
			}
			last.nothing()
		})
	}
}

func TestACancelledConsumerKeepsWhatItHoldsFromTheNext(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	p.declareSingle("q")
	p.call(1, &wire.BasicQos{PrefetchCount: 2}, wire.IDBasicQosOk)
	p.call(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "a"}, wire.IDBasicConsumeOk)
	p.call(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "b"}, wire.IDBasicConsumeOk)
	p.fill("q", 4)
	p.delivery(1, "0")
	p.delivery(1, "1")
	p.call(1, &wire.BasicCancel{ConsumerTag: "a"}, wire.IDBasicCancelOk)
	for _, body := range []string{"2", "3"} {
		if d := p.delivery(1, body); d.ConsumerTag != "b" {
			t.Errorf("%s went to %s", body, d.ConsumerTag)
		}
	}
	p.send(1, &wire.BasicAck{DeliveryTag: 3}, &wire.BasicNack{DeliveryTag: 2, Requeue: true})
	if d := p.delivery(1, "1"); d.ConsumerTag != "b" || !d.Redelivered {
		t.Errorf("%+v", d)
	}
}

// As on RabbitMQ a prefetch for later consumers ends the channel's own.
func TestAPrefetchForLaterConsumersEndsTheChannels(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	q := p.declare(1)
	p.fill(q, 4)
	p.call(1, &wire.BasicQos{PrefetchCount: 2, Global: true}, wire.IDBasicQosOk)
	p.call(1, &wire.BasicConsume{Queue: q}, wire.IDBasicConsumeOk)
	p.delivery(1, "0")
	p.delivery(1, "1")
	p.nothing()
	p.send(1, &wire.BasicQos{PrefetchCount: 1})
	got := map[wire.MethodID]int{}
	for range 3 {
		_, m, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		got[m.method.ID()]++
	}
	if got[wire.IDBasicQosOk] != 1 || got[wire.IDBasicDeliver] != 2 {
		t.Fatalf("got %v", got)
	}
}
