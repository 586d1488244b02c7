package amqp

import (
	"slices"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
)

func TestAConnectionIsSeenWithItsChannelsAndTraffic(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	queue := p.declare(1)
	p.call(9, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	for range 3 {
		p.publish(9, text(queue, "m"))
	}
	p.publish(1, wire.Publish{Key: []byte(queue), Body: make([]byte, 300_000)}) // three frames long
	p.call(9, &wire.BasicConsume{Queue: queue, ConsumerTag: "c"}, wire.IDBasicConsumeOk)
	for range 4 {
		p.expect(9, wire.IDBasicDeliver)
	}
	p.send(9, &wire.BasicAck{DeliveryTag: 1})
	var list []broker.ConnectionInfo
	want := []broker.ChannelInfo{{Number: 1, Published: 1}, {Number: 9, Consumers: 1, Unacked: 3, Published: 3, Delivered: 4}}
	// In: 3 of the handshake, 4 methods, 3 publishes of three frames, one of five, an ack. Out: start, tune, open-ok, and
	// declare-ok, two open-ok, consume-ok; 3 deliveries of three frames and one of five.
	const framesIn, framesOut = 3 + 4 + 3*3 + 5 + 1, 3 + 4 + 3*3 + 5
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) { // the ack is not answered
		list = r.broker.Connections()
		if len(list) == 1 && slices.Equal(list[0].Channels, want) && list[0].Traffic.FramesIn == framesIn && list[0].Traffic.FramesOut == framesOut {
			break
		}
	}
	if len(list) != 1 {
		t.Fatalf("%+v", list)
	}
	got := list[0]
	if !slices.Equal(got.Channels, want) {
		t.Errorf("channels %+v, want %+v", got.Channels, want)
	}
	if got.Protocol != "amqp" || got.User != "guest" || got.VHost != "/" || got.Peer != p.nc.LocalAddr().String() || got.Local != p.nc.RemoteAddr().String() {
		t.Errorf("%+v", got)
	}
	if !slices.Contains(got.Properties, broker.Property{Name: "capabilities.consumer_cancel_notify", Value: "true"}) {
		t.Errorf("properties %v", got.Properties)
	}
	if got.Traffic.FramesIn != framesIn || got.Traffic.FramesOut != framesOut || got.Traffic.BytesIn < 300_000 || got.Traffic.BytesOut < 300_000 {
		t.Errorf("%+v", got.Traffic)
	}
	p.call(9, &wire.ChannelClose{}, wire.IDChannelCloseOk)
	if list = r.broker.Connections(); len(list[0].Channels) != 1 {
		t.Errorf("%+v", list[0].Channels)
	}
	p.call(0, &wire.ConnectionClose{}, wire.IDConnectionCloseOk)
	p.nc.Close()
	for deadline := time.Now().Add(patience); len(r.broker.Connections()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("seen after its end")
		}
	}
}
