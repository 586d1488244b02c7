package amqp

import (
	"net"
	"testing"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
)

// FuzzConnection feeds any bytes to a connection that is open, with one channel and one consumer: they may
// end it, never the process, and never leave something held behind.
func FuzzConnection(f *testing.F) {
	r := newRig(f, rigOptions{broker: broker.Options{MaxMessageBytes: 1 << 20}})
	seeds := [][]wire.Method{
		{&wire.QueueDeclare{Queue: "q", Durable: true}, &wire.QueueBind{Queue: "q", Exchange: "amq.topic", RoutingKey: "#"}},
		{&wire.BasicConsume{Queue: "fuzz", ConsumerTag: "c"}, &wire.BasicCancel{ConsumerTag: "c"}, &wire.BasicCancel{ConsumerTag: "tag"}},
		{&wire.BasicGet{Queue: "fuzz"}, &wire.BasicAck{DeliveryTag: 1}, &wire.BasicNack{Multiple: true, Requeue: true}, &wire.BasicRecover{Requeue: true}},
		{&wire.ConfirmSelect{}, &wire.BasicQos{PrefetchCount: 1, Global: true}, &wire.QueuePurge{Queue: "fuzz"}, &wire.QueueDelete{Queue: "fuzz"}},
		{&wire.ChannelClose{}, &wire.ChannelOpen{}, &wire.ChannelOpen{}}, {&wire.ConnectionClose{}},
		{&wire.ExchangeDeclare{Exchange: "x", Type: "headers", AutoDelete: true}, &wire.ExchangeBind{Source: "x", Destination: "amq.fanout"}, &wire.ExchangeDelete{Exchange: "x"}},
	}
	for _, methods := range seeds {
		b := wire.AppendPublish(nil, &wire.Publish{Channel: 1, Key: []byte("fuzz"), Mandatory: true, Body: []byte("body")}, 1000)
		for _, m := range methods {
			b = wire.AppendMethod(b, 1, m)
		}
		f.Add(wire.AppendPublish(b, &wire.Publish{Channel: 1, Key: []byte("fuzz"), Properties: props(wire.Properties{Headers: wire.AppendTableBool(nil, "a", true)}), Body: make([]byte, 9000)}, 1000))
	}
	f.Fuzz(func(t *testing.T, in []byte) { feed(t, r, in) })
}

// feed plays the read loop and writer for the bytes of one client.
func feed(t *testing.T, r *rig, in []byte) {
	client, server := net.Pipe()
	defer client.Close()
	vhost, err := r.broker.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	nc := &sink{Conn: server, in: in}
	c := newConn(r.server, nc)
	c.session = vhost.NewSession(auth.Identity{Name: "guest"})
	c.publisher = c.session.NewPublisher()
	c.frameMax, c.maxPayload, c.channelMax = 4096, 4088, 10
	defer c.rb.Free()
	ch := newChannel(c, 1)
	c.channels.add(ch)
	q, err := c.session.DeclareQueue("fuzz", broker.QueueOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.consume(&wire.BasicConsume{Queue: "fuzz", ConsumerTag: "tag"}); err != nil {
		t.Fatal(err)
	}
	for !c.ended && !c.closing {
		if n, _ := c.rb.Fill(0); n == 0 {
			break // the end, or it waits for more than a buffer holds
		}
		c.takeAll()
		if _, err := c.w.turns(); err != nil {
			t.Fatal(err)
		}
	}
	c.closeChannels()
	c.session.Close()
	if q.Consumers() != 0 || q.Unacked() != 0 {
		t.Errorf("%d consumers and %d unacked messages were left behind", q.Consumers(), q.Unacked())
	}
	c.session.Purge(q.Name)
}
