package amqp

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/internal/fakeclock"
)

// What comes back because something failed is told from what is merely given back, as on RabbitMQ 4.3.
func TestWhichVerbsFailAMessage(t *testing.T) {
	for name, c := range map[string]struct {
		giveBack func(r *rig, p *peer)
		failed   bool
	}{
		"basic.reject":  {func(_ *rig, p *peer) { p.send(2, &wire.BasicReject{DeliveryTag: 1, Requeue: true}) }, true},
		"basic.nack":    {func(_ *rig, p *peer) { p.send(2, &wire.BasicNack{DeliveryTag: 1, Requeue: true}) }, false},
		"basic.recover": {func(_ *rig, p *peer) { p.call(2, &wire.BasicRecover{Requeue: true}, wire.IDBasicRecoverOk) }, false},
		"channel.close": {func(_ *rig, p *peer) { p.call(2, &wire.ChannelClose{ReplyCode: 200}, wire.IDChannelCloseOk) }, true},
		"a channel error": {func(_ *rig, p *peer) {
			p.call(2, &wire.BasicAck{DeliveryTag: 99}, wire.IDChannelClose)
		}, true},
		"a transaction": {func(_ *rig, p *peer) {
			p.call(2, &wire.TxSelect{}, wire.IDTxSelectOk)
			p.send(2, &wire.BasicReject{DeliveryTag: 1, Requeue: true})
			p.call(2, &wire.TxCommit{}, wire.IDTxCommitOk)
		}, true},
	} {
		for _, kind := range []string{"failed", "returned"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				fakeclock.Test(t, func(t *testing.T) {
					r := newRig(t, rigOptions{})
					defer r.stop()
					p := r.through()
					args := wire.AppendTableInt(wire.AppendTableString(nil, "x-delayed-retry-type", kind), "x-delayed-retry-min", 1000)
					p.call(1, &wire.QueueDeclare{Queue: "q", Durable: true, Arguments: args}, wire.IDQueueDeclareOk)
					p.fill("q", 1)
					p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
					p.call(2, &wire.BasicGet{Queue: "q"}, wire.IDBasicGetOk)
					c.giveBack(r, p)
					p.nothing()
					synctest.Wait()
					waits := c.failed == (kind == "failed")
					if n := p.ready(1, "q"); (n == 0) != waits {
						t.Errorf("%d ready, want it to wait: %v", n, waits)
					}
					time.Sleep(time.Second)
					synctest.Wait()
					if n := p.ready(1, "q"); n != 1 {
						t.Errorf("%d ready a second later", n)
					}
					p.nc.Close()
				})
			})
		}
	}
}
