package amqp

import (
	"testing"
	"testing/synctest"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/internal/fakeclock"
)

// atOnce publishes bodies in one write, so that they are stored at once.
func (p *peer) atOnce(queue string, bodies ...string) {
	p.t.Helper()
	var b []byte
	for _, body := range bodies {
		m := text(queue, body)
		m.Channel = 1
		b = wire.AppendPublish(b, &m, p.max)
	}
	p.raw(b)
}

// A client that does not read keeps nothing from others but what its prefetch lets it have, whoever
// has waited for longer and whatever priority it has.
func TestAClientThatDoesNotReadKeepsNoMessageFromOthers(t *testing.T) {
	for name, args := range map[string]wire.Table{"equals": nil, "of a higher priority": wire.AppendTableInt(nil, "x-priority", 5)} {
		t.Run(name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				r := newRig(t, rigOptions{})
				defer r.stop()
				stuck, free, pub := r.through(), r.through(), r.through()
				for _, q := range []string{"flood", "q"} {
					pub.call(1, &wire.QueueDeclare{Queue: q, Durable: true}, wire.IDQueueDeclareOk)
				}
				stuck.call(1, &wire.BasicConsume{Queue: "flood"}, wire.IDBasicConsumeOk)
				stuck.call(1, &wire.BasicQos{PrefetchCount: 1}, wire.IDBasicQosOk)
				stuck.call(1, &wire.BasicConsume{Queue: "q", Arguments: args}, wire.IDBasicConsumeOk)
				free.call(1, &wire.BasicConsume{Queue: "q", NoAck: true}, wire.IDBasicConsumeOk)
				pub.publish(1, text("flood", "that stuck does not read"))
				synctest.Wait()
				got := map[string]int{}
				for range 3 {
					pub.atOnce("q", "1", "2", "3")
					synctest.Wait()
					for range 2 { // a third is the other's, as far as it may have more
						got[string(free.expect(1, wire.IDBasicDeliver).body)]++
					}
				}
				for range 2 {
					got[string(free.expect(1, wire.IDBasicDeliver).body)]++
				}
				if len(got) != 3 {
					t.Error(got)
				}
				free.nc.Close()
				synctest.Wait()
				pub.publish(1, text("q", "nobody else can have it"))
				synctest.Wait()
				stuck.delivery(1, "that stuck does not read")
				first := stuck.expect(1, wire.IDBasicDeliver).method.(*wire.BasicDeliver)
				stuck.send(1, &wire.BasicAck{DeliveryTag: first.DeliveryTag})
				stuck.delivery(1, "nobody else can have it")
				stuck.nc.Close()
				pub.nc.Close()
			})
		})
	}
}
