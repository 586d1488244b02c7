package amqp

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/fakeclock"
)

var root = audit.Actor{User: "root", Protocol: "test"}

func (r *rig) host(name string) {
	r.t.Helper()
	if _, err := r.broker.PutVHost(root, name, broker.VHostMeta{}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) limit(vhost, name string, n int64) {
	r.t.Helper()
	if err := r.broker.SetVHostLimit(root, vhost, name, n); err != nil {
		r.t.Fatal(err)
	}
}

// atDoor is a client that has logged in and not opened a virtual host yet.
func (r *rig) atDoor() *peer {
	r.t.Helper()
	p := r.peer(r.dial())
	p.login()
	p.expect(0, wire.IDConnectionTune)
	p.send(0, &wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072})
	return p
}

// in is a client in a virtual host, with channel 1.
func (r *rig) in(vhost string) *peer {
	r.t.Helper()
	p := r.atDoor()
	p.call(0, &wire.ConnectionOpen{VirtualHost: vhost}, wire.IDConnectionOpenOk)
	p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	return p
}

// shut checks that the connection is closed by the broker, with a code and a text.
func (p *peer) shut(code wire.Code, text string) {
	p.t.Helper()
	m := p.expect(0, wire.IDConnectionClose).method.(*wire.ConnectionClose)
	if m.ReplyCode != code || m.ReplyText != text {
		p.t.Errorf("closed with %d %s, want %d %s", m.ReplyCode, m.ReplyText, code, text)
	}
	p.send(0, &wire.ConnectionCloseOk{})
	p.closed()
	p.nc.Close() // for which the broker waits
}

// limitedUser has limits that a test changes.
type limitedUser struct {
	atomic.Pointer[map[string]int64]
}

func (u *limitedUser) of(string) map[string]int64 {
	if m := u.Load(); m != nil {
		return *m
	}
	return nil
}

func (u *limitedUser) set(r *rig, name string, n int64) {
	u.Store(&map[string]int64{name: n})
	r.broker.PolicyChanged()
}

func TestConnectionsOverALimitAreRefusedInRabbitMQsWords(t *testing.T) {
	var user limitedUser
	r := newRig(t, rigOptions{broker: broker.Options{UserLimits: user.of}})
	r.host("v")
	r.limit("v", broker.MaxConnections, 1)
	first := r.in("v")
	for range 3 { // who is refused does not count
		p := r.atDoor()
		p.send(0, &wire.ConnectionOpen{VirtualHost: "v"})
		p.shut(wire.NotAllowed, "NOT_ALLOWED - access to vhost 'v' refused for user 'guest': connection limit (1) is reached")
	}
	first.nc.Close()
	for len(r.broker.Connections()) > 0 {
		time.Sleep(time.Millisecond)
	}
	r.in("v")
	user.set(r, broker.MaxConnections, 1)
	p := r.atDoor()
	p.send(0, &wire.ConnectionOpen{VirtualHost: "/"})
	p.shut(wire.NotAllowed, "NOT_ALLOWED - connection refused for user 'guest': user connection limit (1) is reached")
	user.set(r, broker.MaxConnections, 2)
	r.in("/")
}

func TestChannelsOverALimitEndTheConnection(t *testing.T) {
	var user limitedUser
	r := newRig(t, rigOptions{broker: broker.Options{UserLimits: user.of}})
	user.set(r, broker.MaxChannels, 3)
	one, two := r.connect(), r.connect()
	one.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	two.send(7, &wire.ChannelOpen{})
	two.shut(wire.NotAllowed, "NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user limit of 3")
	one.call(3, &wire.ChannelOpen{}, wire.IDChannelOpenOk) // that of the connection that ended
	one.call(3, &wire.ChannelClose{}, wire.IDChannelCloseOk)
	one.send(2, &wire.QueueDeclare{Queue: "none", Passive: true}) // a channel that the broker closes is closed
	one.expect(2, wire.IDChannelClose)
	one.send(2, &wire.ChannelCloseOk{})
	one.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	one.call(3, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	one.send(4, &wire.ChannelOpen{})
	one.expect(0, wire.IDConnectionClose)
}

func TestQueuesConsumersAndMessagesOverALimitAreRefused(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.limit("/", broker.MaxQueues, 1)
	r.limit("/", broker.MaxConsumers, 1)
	r.limit("/", broker.MaxMessageSize, 1000)
	p := r.connect()
	p.queue("q")
	p.send(1, &wire.QueueDeclare{Queue: "b"})
	m := p.expect(1, wire.IDChannelClose).method.(*wire.ChannelClose)
	if want := "PRECONDITION_FAILED - cannot declare queue 'b': queue limit in vhost '/' (1) is reached"; m.ReplyCode != wire.PreconditionFailed || m.ReplyText != want {
		t.Errorf("%d %s", m.ReplyCode, m.ReplyText)
	}
	p.send(1, &wire.ChannelCloseOk{})
	p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	for size, send := range map[int]func(size int){
		1001:    func(size int) { p.publish(1, text("q", strings.Repeat("x", size))) },
		300_000: func(size int) { p.begin(1, "q", size) }, // which comes in pieces, and is refused before they do
	} {
		send(size)
		m := p.expect(1, wire.IDChannelClose).method.(*wire.ChannelClose)
		if want := fmt.Sprintf("PRECONDITION_FAILED - message size %d is larger than configured max size 1000", size); m.ReplyCode != wire.PreconditionFailed || m.ReplyText != want {
			t.Errorf("%d %s", m.ReplyCode, m.ReplyText)
		}
		p.send(1, &wire.ChannelCloseOk{})
		p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	}
	p.publish(1, text("q", strings.Repeat("x", 1000)))
	p.call(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "a"}, wire.IDBasicConsumeOk)
	p.expect(1, wire.IDBasicDeliver)
	p.call(1, &wire.BasicCancel{ConsumerTag: "a"}, wire.IDBasicCancelOk)
	p.call(1, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
	p.send(1, &wire.BasicConsume{Queue: "q"})
	p.shut(wire.NotAllowed, "NOT_ALLOWED - number of consumers in vhost '/' has reached the maximum allowed limit of 1")
}

func TestClientsOfADeletedVirtualHostHearWhy(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.host("v")
	r.host("w")
	in, busy, other := r.in("v"), r.in("v"), r.in("w")
	for _, p := range []*peer{in, other} {
		p.queue("q")
		p.fill("q", 1)
		if n := p.ready(1, "q"); n != 1 {
			t.Errorf("%d ready", n)
		}
		p.call(1, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
		p.expect(1, wire.IDBasicDeliver)
	}
	busy.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
	if err := r.broker.DeleteVHost(root, "v"); err != nil {
		t.Fatal(err)
	}
	for { // the consumer may hear of its queue's end, too
		_, m, err := in.next()
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := m.method.(*wire.ConnectionClose); ok {
			if want := "CONNECTION_FORCED - vhost 'v' is deleted"; c.ReplyCode != wire.ConnectionForced || c.ReplyText != want {
				t.Errorf("%d %s", c.ReplyCode, c.ReplyText)
			}
			break
		}
		if m.method.ID() != wire.IDBasicCancel {
			t.Errorf("got %+v", m.method)
		}
	}
	in.send(0, &wire.ConnectionCloseOk{})
	in.closed()
	busy.send(1, &wire.QueueDeclare{Queue: "late"}) // and is not told a second time
	if m := busy.expect(0, wire.IDConnectionClose).method.(*wire.ConnectionClose); m.ReplyText != "CONNECTION_FORCED - vhost 'v' is deleted" {
		t.Error(m.ReplyText)
	}
	if f, err := busy.frame(); err == nil {
		t.Errorf("then came %+v", f)
	}
	p := r.atDoor()
	p.send(0, &wire.ConnectionOpen{VirtualHost: "v"})
	p.shut(wire.NotAllowed, "NOT_ALLOWED - vhost v not found")
	r.host("v")
	p = r.in("v")
	p.send(1, &wire.QueueDeclare{Queue: "q", Passive: true})
	p.expect(1, wire.IDChannelClose)
	other.publish(1, text("q", "2"))
	other.expect(1, wire.IDBasicDeliver)
}

// A publisher over its rate is not read for as long as that takes, and nobody else waits.
func TestPublishersOverTheirRateAreNotRead(t *testing.T) {
	for name, send := range map[string]func(p *peer, body string){
		"at once": func(p *peer, body string) { p.publish(1, text("q", body)) },
		"in pieces": func(p *peer, body string) {
			p.begin(1, "q", len(body))
			p.piece(1, []byte(body[:len(body)/2]))
			synctest.Wait()
			p.piece(1, []byte(body[len(body)/2:]))
		},
	} {
		t.Run(name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				r := newRig(t, rigOptions{})
				defer r.stop()
				p, consumer := r.through(), r.through()
				p.queue("q")
				consumer.call(1, &wire.BasicConsume{Queue: "q", NoAck: true}, wire.IDBasicConsumeOk)
				r.limit("/", broker.ProducerByteRate, 1000)
				time.Sleep(time.Hour) // what was not used is not saved up
				began := time.Now()
				for i := range 10 {
					send(p, fmt.Sprint(i, strings.Repeat("x", 1000)))
					consumer.expect(1, wire.IDBasicDeliver) // what was read is stored at once
				}
				p.call(1, &wire.QueueDeclare{Queue: "q", Passive: true}, wire.IDQueueDeclareOk)
				if took := time.Since(began); took < 9*time.Second || took > 11*time.Second {
					t.Errorf("10 kB at 1 kB a second took %v", took)
				}
				send(p, strings.Repeat("x", 5000))
				consumer.expect(1, wire.IDBasicDeliver)
				began = time.Now()
				consumer.call(1, &wire.QueueDeclare{Queue: "q", Passive: true}, wire.IDQueueDeclareOk) // who publishes nothing does not wait
				if took := time.Since(began); took != 0 {
					t.Errorf("another connection waited %v", took)
				}
				if err := r.broker.SetVHostLimits(root, "/", nil); err != nil {
					t.Fatal(err)
				}
				p.call(1, &wire.QueueDeclare{Queue: "q", Passive: true}, wire.IDQueueDeclareOk)
				if took := time.Since(began); took > time.Second {
					t.Errorf("it waited %v for a limit that is no more", took)
				}
				p.nc.Close()
				consumer.nc.Close()
			})
		})
	}
}

// A consumer over its rate gets its messages later; others of its queue get them instead.
func TestDeliveriesKeepTheirRate(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		defer r.stop()
		r.host("v")
		p, slow := r.through(), r.through()
		p.queue("q")
		slow.call(1, &wire.BasicQos{PrefetchCount: 1}, wire.IDBasicQosOk)
		slow.call(1, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
		r.limit("/", broker.ConsumerByteRate, 1000)
		time.Sleep(time.Hour)
		began := time.Now()
		for i := range 10 {
			p.publish(1, text("q", strings.Repeat("x", 920))) // 1000 with its frames
			slow.expect(1, wire.IDBasicDeliver)
			slow.send(1, &wire.BasicAck{DeliveryTag: uint64(i + 1)})
		}
		if took := time.Since(began); took < 8*time.Second || took > 10*time.Second {
			t.Errorf("10 kB at 1 kB a second took %v", took)
		}
		p.publish(1, text("q", strings.Repeat("x", 5000)))
		slow.expect(1, wire.IDBasicDeliver)
		p.publish(1, text("q", "late"))
		slow.send(1, &wire.BasicAck{DeliveryTag: 11})
		synctest.Wait()
		began = time.Now()
		p.call(1, &wire.QueueDeclare{Queue: "q", Passive: true}, wire.IDQueueDeclareOk) // what is asked is answered
		slow.call(1, &wire.QueueDeclare{Queue: "q", Passive: true}, wire.IDQueueDeclareOk)
		if took := time.Since(began); took != 0 {
			t.Errorf("an answer took %v", took)
		}
		if err := r.broker.SetVHostLimits(root, "/", nil); err != nil {
			t.Fatal(err)
		}
		slow.expect(1, wire.IDBasicDeliver)
		if took := time.Since(began); took > time.Second {
			t.Errorf("it waited %v for a limit that is no more", took)
		}
		p.nc.Close()
		slow.nc.Close()
	})
}

// A consumer over its rate keeps nothing from others but what its prefetch lets it have.
func TestOthersGetWhatAConsumerOverItsRateCannot(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var users limitedUser
		r := newRig(t, rigOptions{broker: broker.Options{UserLimits: users.of}})
		defer r.stop()
		slow, p := r.through(), r.through()
		slow.queue("q")
		slow.call(1, &wire.BasicQos{PrefetchCount: 1}, wire.IDBasicQosOk)
		slow.call(1, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
		users.set(r, broker.ConsumerByteRate, 10)
		p.publish(1, text("q", strings.Repeat("x", 1000)))
		slow.expect(1, wire.IDBasicDeliver) // which is paid in a minute and a half
		v, _ := r.broker.VHost("/")
		got := 0
		var sub *broker.Subscription
		woken := make(chan struct{}, 1)
		sub, err := v.NewSession(auth.Identity{Name: "other"}).Subscribe("q", broker.SubscribeOptions{NoAck: true, Wake: func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		pull := func() {
			for {
				n, err := sub.Pull(10, 1<<20, func(*broker.Delivery) { got++ })
				if err != nil {
					t.Fatal(err)
				}
				sub.Release()
				if n == 0 {
					return
				}
			}
		}
		pull()
		slow.send(1, &wire.BasicAck{DeliveryTag: 1})
		synctest.Wait()
		for range 10 {
			p.publish(1, text("q", "m"))
			synctest.Wait()
			select {
			case <-woken:
				pull()
			default:
			}
		}
		if got < 9 {
			t.Errorf("the other got %d of 10", got)
		}
		sub.Close()
		slow.nc.Close()
		p.nc.Close()
	})
}

// Gets count as deliveries do: the next request waits.
func TestGetsKeepTheRate(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		defer r.stop()
		p := r.through()
		p.queue("q")
		for range 5 {
			p.publish(1, text("q", strings.Repeat("x", 1000)))
		}
		p.ready(1, "q")
		r.limit("/", broker.ConsumerByteRate, 1000)
		time.Sleep(time.Hour)
		began := time.Now()
		for range 5 {
			p.call(1, &wire.BasicGet{Queue: "q", NoAck: true}, wire.IDBasicGetOk)
		}
		p.call(1, &wire.BasicGet{Queue: "q"}, wire.IDBasicGetEmpty)
		if took := time.Since(began); took < 3900*time.Millisecond || took > 4200*time.Millisecond {
			t.Errorf("5 kB at 1 kB a second took %v", took)
		}
		p.nc.Close()
	})
}

// Whoever waits for its rate still gets heartbeats, hears that it has to go, and is missed when it has gone.
func TestWhoWaitsForItsRateIsAlive(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		r.limit("/", broker.ProducerByteRate, 10)
		for i, end := range []func(p *peer){
			func(p *peer) { p.nc.Close() },
			func(p *peer) {
				if err := r.broker.DeleteVHost(root, "/"); err != nil {
					t.Fatal(err)
				}
				p.shut(wire.ConnectionForced, "CONNECTION_FORCED - vhost '/' is deleted")
			},
		} {
			p := r.handshakeOver(r.pipe(), &wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 1})
			p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
			p.publish(1, text("q", strings.Repeat("x", 10_000)))
			for range 5 { // for longer than two intervals, in which nothing is read of it
				if f, err := p.frame(); err != nil || f.Type != wire.FrameHeartbeat {
					t.Fatal(i, f, err)
				}
			}
			end(p)
			began := time.Now()
			until(t, func() bool { return len(r.broker.Connections()) == 0 })
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%d: it took %v", i, took)
			}
		}
	})
}
