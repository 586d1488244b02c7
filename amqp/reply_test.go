package amqp

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
)

// requester is a client on channel 1 with a reply consumer called "r".
func (r *rig) requester() *peer {
	r.t.Helper()
	p := r.connect()
	p.call(1, &wire.BasicConsume{Queue: broker.ReplyQueue, ConsumerTag: "r", NoAck: true}, wire.IDBasicConsumeOk)
	return p
}

// asking are the properties of a request.
func asking(p wire.Properties) wire.RawProperties {
	p.ReplyTo = []byte(broker.ReplyQueue)
	return props(p)
}

// address publishes a request to the queue on a channel, and gives the address that who gets it from there sees.
func (p *peer) address(channel uint16, queue string, server *peer) string {
	p.t.Helper()
	p.publish(channel, wire.Publish{Key: []byte(queue), Properties: asking(wire.Properties{CorrelationID: []byte("7")})})
	for {
		server.send(1, &wire.BasicGet{Queue: queue, NoAck: true})
		_, m, err := server.next()
		if err != nil {
			p.t.Fatal(err)
		}
		if m.method.ID() == wire.IDBasicGetOk {
			return m.properties(p.t).ReplyTo
		}
	}
}

// said are properties as text.
type said struct{ ReplyTo, CorrelationID, Headers string }

func (m *received) properties(t testing.TB) said {
	t.Helper()
	var all wire.Properties
	if err := m.header.Properties.Parse(&all); err != nil {
		t.Fatal(err)
	}
	return said{string(all.ReplyTo), string(all.CorrelationID), string(all.Headers)}
}

func (p *peer) queue(name string) {
	p.t.Helper()
	p.call(1, &wire.QueueDeclare{Queue: name, Durable: true}, wire.IDQueueDeclareOk)
}

// gone waits until nobody has the address any more.
func (p *peer) gone(address string) {
	p.t.Helper()
	for {
		p.send(1, &wire.QueueDeclare{Queue: address, Passive: true})
		_, m, err := p.next()
		if err != nil {
			p.t.Fatal(err)
		}
		if m.method.ID() == wire.IDChannelClose {
			p.send(1, &wire.ChannelCloseOk{}, &wire.ChannelOpen{})
			p.expect(1, wire.IDChannelOpenOk)
			return
		}
	}
}

func TestRepliesReachTheirRequesterAlone(t *testing.T) {
	r := newRig(t, rigOptions{})
	server, other := r.connect(), r.requester()
	server.queue("rpc")
	client := r.handshake(&wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 4096})
	client.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	client.call(1, &wire.BasicConsume{Queue: broker.ReplyQueue, ConsumerTag: "r", NoAck: true}, wire.IDBasicConsumeOk)

	address := client.address(1, "rpc", server)
	if !strings.HasPrefix(address, broker.ReplyQueue+".") || len(address) < len(broker.ReplyQueue)+20 {
		t.Fatalf("address %q", address)
	}
	bodies := [][]byte{nil, []byte("pong"), bytes.Repeat([]byte("x"), 100_000), []byte("pong")}
	for _, body := range bodies {
		server.publish(1, wire.Publish{Key: []byte(address), Body: body, Properties: props(wire.Properties{CorrelationID: []byte("7")})})
	}
	for i, body := range bodies {
		m := client.expect(1, wire.IDBasicDeliver)
		d := m.method.(*wire.BasicDeliver)
		if d.ConsumerTag != "r" || d.Exchange != "" || d.RoutingKey != address || d.Redelivered || d.DeliveryTag != uint64(i+1) {
			t.Fatalf("%+v", d)
		}
		if !bytes.Equal(m.body, body) || m.properties(t) != (said{"", "7", ""}) {
			t.Fatalf("%d bytes, %+v", len(m.body), m.properties(t))
		}
	}
	if other.call(1, &wire.BasicQos{}, wire.IDBasicQosOk); len(other.in) != 0 {
		t.Error("somebody else got something")
	}
	if got := r.broker.Counters().Replies.Load(); got != uint64(len(bodies)) {
		t.Errorf("%d replies counted", got)
	}
	if got := r.broker.Counters().Stored.Load(); got != 1 {
		t.Errorf("%d messages stored, want the request alone", got)
	}
	vhost, _ := r.broker.VHost("/")
	if n := len(vhost.Queues()); n != 1 {
		t.Errorf("%d queues", n)
	}
}

// What a client sends again and again is remembered, but an address is a channel's own.
func TestEachChannelAsksWithItsOwnAddress(t *testing.T) {
	r := newRig(t, rigOptions{})
	server, client := r.connect(), r.requester()
	server.queue("rpc")
	client.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	client.call(2, &wire.BasicConsume{Queue: broker.ReplyQueue, NoAck: true}, wire.IDBasicConsumeOk)
	one, two := client.address(1, "rpc", server), client.address(2, "rpc", server)
	if one == two || client.address(1, "rpc", server) != one || client.address(2, "rpc", server) != two {
		t.Errorf("%q and %q", one, two)
	}
	for channel, address := range map[uint16]string{1: one, 2: two} {
		server.publish(1, wire.Publish{Key: []byte(address)})
		client.expect(channel, wire.IDBasicDeliver)
	}
}

// Only what asks by the name of the pseudo queue is changed, and nothing else in it.
func TestOnlyTheReplyToOfARequestIsChanged(t *testing.T) {
	r := newRig(t, rigOptions{})
	server, client := r.connect(), r.requester()
	server.queue("rpc")
	own := client.address(1, "rpc", server)
	headers := wire.AppendTableString(nil, "k", "v")
	array := func(s string) wire.Field {
		return wire.Field{Tag: 'A', Value: append([]byte{'S', 0, 0, 0, byte(len(s))}, s...)}
	}
	cc := wire.AppendTableField(nil, "CC", array("cc"))
	server.queue("cc")
	for _, c := range []struct {
		name       string
		in         wire.Properties
		want       wire.Properties
		copies     string
		otherReply bool
	}{
		{name: "headers", in: wire.Properties{Headers: headers, DeliveryMode: 2, Expiration: []byte("60000"), AppID: []byte("a")},
			want: wire.Properties{Headers: headers, DeliveryMode: 2, Expiration: []byte("60000"), AppID: []byte("a")}},
		{name: "CC", in: wire.Properties{Headers: cc}, want: wire.Properties{Headers: cc}, copies: "cc"},
		{name: "BCC", in: wire.Properties{Headers: wire.AppendTableField(headers, "BCC", array("cc")), MessageID: []byte("m")},
			want: wire.Properties{Headers: headers, MessageID: []byte("m")}, copies: "cc"},
		{name: "another queue", in: wire.Properties{ReplyTo: []byte("mine"), Headers: headers}, want: wire.Properties{ReplyTo: []byte("mine"), Headers: headers}, otherReply: true},
		{name: "an address", in: wire.Properties{ReplyTo: []byte(own)}, want: wire.Properties{ReplyTo: []byte(own)}, otherReply: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, want := props(c.in), c.want
			if !c.otherReply {
				raw, want.ReplyTo = asking(c.in), []byte(own)
			}
			for range 2 {
				client.publish(1, wire.Publish{Key: []byte("rpc"), Properties: raw, Body: []byte("b")})
			}
			client.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
			for range 2 {
				for _, q := range append([]string{"rpc"}, strings.Fields(c.copies)...) {
					m := server.call(1, &wire.BasicGet{Queue: q, NoAck: true}, wire.IDBasicGetOk)
					if got := props(want); !bytes.Equal(m.header.Properties, got) {
						t.Errorf("from %s: %q, want %q", q, m.header.Properties, got)
					}
				}
			}
		})
	}
}

func TestAReplyConsumerIsRefusedAsOnRabbitMQ(t *testing.T) {
	consume := func(tag string, noAck bool) *wire.BasicConsume {
		return &wire.BasicConsume{Queue: broker.ReplyQueue, ConsumerTag: tag, NoAck: noAck}
	}
	r := newRig(t, rigOptions{})
	for _, c := range []struct {
		name string
		m    wire.Method
		code wire.Code
		text string
	}{
		{"with acks", consume("a", false), wire.PreconditionFailed, "reply consumer cannot acknowledge"},
		{"a second one", consume("b", true), wire.PreconditionFailed, "reply consumer already set"},
		{"a second one of the same tag", consume("r", true), wire.PreconditionFailed, "reply consumer already set"},
		{"the tag of a queue's consumer", consume("q", true), wire.NotAllowed, "attempt to reuse consumer tag 'q'"},
		{"a queue's consumer with its tag", &wire.BasicConsume{Queue: "rpc", ConsumerTag: "r"}, wire.NotAllowed, "attempt to reuse consumer tag 'r'"},
		{"get", &wire.BasicGet{Queue: broker.ReplyQueue}, wire.NotFound, "no queue 'amq.rabbitmq.reply-to' in vhost '/'"},
		{"purge", &wire.QueuePurge{Queue: broker.ReplyQueue}, wire.NotFound, "no queue 'amq.rabbitmq.reply-to' in vhost '/'"},
		{"bind", &wire.QueueBind{Queue: broker.ReplyQueue, Exchange: "amq.direct"}, wire.NotFound, "no queue 'amq.rabbitmq.reply-to' in vhost '/'"},
		{"declare of an address that nobody has", &wire.QueueDeclare{Queue: broker.ReplyQueue + ".x"}, wire.NotFound, "no queue 'amq.rabbitmq.reply-to.x' in vhost '/'"},
		{"declare of a like name", &wire.QueueDeclare{Queue: broker.ReplyQueue + "x", Durable: true}, wire.NotFound, "no queue 'amq.rabbitmq.reply-tox' in vhost '/'"},
		{"consume from an address", &wire.BasicConsume{Queue: broker.ReplyQueue + ".x", NoAck: true}, wire.NotFound, "no queue 'amq.rabbitmq.reply-to.x' in vhost '/'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := r.requester()
			p.t = t
			p.queue("rpc")
			p.call(1, &wire.BasicConsume{Queue: "rpc", ConsumerTag: "q"}, wire.IDBasicConsumeOk)
			p.send(1, c.m)
			code, text, id := p.closing(c.code.Hard())
			if code != c.code || text != code.String()+" - "+c.text || id != c.m.ID() {
				t.Errorf("%d %q of %s", code, text, id)
			}
		})
	}
}

func TestDeclaringTellsWhetherARequesterIsThere(t *testing.T) {
	r := newRig(t, rigOptions{})
	server, client := r.connect(), r.requester()
	server.queue("rpc")
	address := client.address(1, "rpc", server)
	for _, m := range []*wire.QueueDeclare{{Queue: broker.ReplyQueue}, {Queue: broker.ReplyQueue, Passive: true}, {Queue: address}, {Queue: address, Passive: true}} {
		ok := server.call(1, m, wire.IDQueueDeclareOk).method.(*wire.QueueDeclareOk)
		if *ok != (wire.QueueDeclareOk{Queue: m.Queue, ConsumerCount: 1}) {
			t.Errorf("%+v: %+v", m, ok)
		}
	}
	server.call(1, &wire.QueueDelete{Queue: broker.ReplyQueue}, wire.IDQueueDeleteOk)
	server.call(1, &wire.QueueDeclare{Queue: address, Passive: true}, wire.IDQueueDeclareOk)
	client.call(1, &wire.ChannelClose{ReplyCode: 200}, wire.IDChannelCloseOk)
	server.gone(address)
}

// However a requester leaves, its address is nobody's from then on, and the next one is another.
func TestAnAddressEndsWithItsConsumer(t *testing.T) {
	r := newRig(t, rigOptions{})
	server := r.connect()
	server.queue("rpc")
	for _, c := range []struct {
		name  string
		leave func(*peer)
	}{
		{"cancel", func(p *peer) { p.call(1, &wire.BasicCancel{ConsumerTag: "r"}, wire.IDBasicCancelOk) }},
		{"channel.close", func(p *peer) { p.call(1, &wire.ChannelClose{ReplyCode: 200}, wire.IDChannelCloseOk) }},
		{"an error of the channel", func(p *peer) { p.call(1, &wire.BasicAck{DeliveryTag: 9}, wire.IDChannelClose) }},
		{"connection.close", func(p *peer) { p.call(0, &wire.ConnectionClose{ReplyCode: 200}, wire.IDConnectionCloseOk) }},
		{"an error of the connection", func(p *peer) { p.call(0, &wire.ConnectionTune{}, wire.IDConnectionClose) }},
		{"the end of the socket", func(p *peer) { p.nc.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := r.requester()
			client.t = t
			address := client.address(1, "rpc", server)
			c.leave(client)
			server.gone(address)
			server.publish(1, wire.Publish{Key: []byte(address), Mandatory: true})
			if ret := server.expect(1, wire.IDBasicReturn).method.(*wire.BasicReturn); ret.ReplyCode != wire.NoRoute {
				t.Errorf("%+v", ret)
			}
			if c.name == "cancel" {
				client.call(1, &wire.BasicConsume{Queue: broker.ReplyQueue, NoAck: true}, wire.IDBasicConsumeOk)
				if next := client.address(1, "rpc", server); next == address {
					t.Error("the address is used again")
				}
			}
		})
	}
	if got := r.broker.Counters().Replies.Load() + r.broker.Counters().RepliesDropped.Load(); got != 0 {
		t.Errorf("%d replies went somewhere", got)
	}
}

// An address is no queue: as on RabbitMQ up to 4.1 a mandatory reply comes back, whether it was delivered or not.
func TestAMandatoryReplyIsReturnedAndDelivered(t *testing.T) {
	r := newRig(t, rigOptions{})
	server, client := r.connect(), r.requester()
	server.queue("rpc")
	address := client.address(1, "rpc", server)
	server.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
	server.publish(1, wire.Publish{Key: []byte(address), Mandatory: true, Body: []byte("pong")})
	if m := server.expect(1, wire.IDBasicReturn); string(m.body) != "pong" || m.method.(*wire.BasicReturn).RoutingKey != address {
		t.Errorf("%+v", m)
	}
	server.confirms(1, 1, 1)
	if m := client.expect(1, wire.IDBasicDeliver); string(m.body) != "pong" {
		t.Errorf("%+v", m)
	}
}

// Routes are remembered, replies' are not: the second of two that are alike goes where the first went, and
// nowhere when its requester has left between them.
func TestRoutesOfRepliesAreNotRemembered(t *testing.T) {
	r := newRig(t, rigOptions{})
	server, client := r.connect(), r.requester()
	server.queue("rpc")
	server.queue("copy")
	address := client.address(1, "rpc", server)
	cc := wire.AppendTableField(nil, "CC", wire.Field{Tag: 'A', Value: append([]byte{'S', 0, 0, 0, byte(len(address))}, address...)})
	reply := wire.Publish{Key: []byte(address), Body: []byte("alike")}
	copied := wire.Publish{Key: []byte("copy"), Body: []byte("copy"), Properties: props(wire.Properties{Headers: cc})}
	for range 2 {
		server.publish(1, reply)
		server.publish(1, reply)
		server.publish(1, copied)
		server.publish(1, copied)
		for _, want := range []string{"alike", "alike", "copy", "copy"} {
			if m := client.expect(1, wire.IDBasicDeliver); string(m.body) != want {
				t.Fatalf("%q, want %q", m.body, want)
			}
		}
	}
	client.call(1, &wire.BasicCancel{ConsumerTag: "r"}, wire.IDBasicCancelOk)
	server.publish(1, reply)
	server.publish(1, copied)
	if n := server.ready(1, "copy"); n != 5 {
		t.Errorf("%d messages in the queue, want 5", n)
	}
	if client.call(1, &wire.BasicQos{}, wire.IDBasicQosOk); len(client.in) > 0 {
		t.Error("a reply came after cancel-ok")
	}
}

// Deliveries of queues and replies of one channel are numbered together.
func TestRepliesAndDeliveriesHaveTagsOfTheirOwn(t *testing.T) {
	r := newRig(t, rigOptions{})
	server, client := r.connect(), r.requester()
	server.queue("rpc")
	server.queue("work")
	address := client.address(1, "rpc", server)
	client.call(1, &wire.BasicConsume{Queue: "work", ConsumerTag: "w"}, wire.IDBasicConsumeOk)
	const n = 300
	for range n {
		server.publish(1, text("work", "w"))
		server.publish(1, wire.Publish{Key: []byte(address), Body: []byte("r")})
	}
	seen, work := map[uint64]bool{}, []uint64{}
	for range 2 * n {
		m := client.expect(1, wire.IDBasicDeliver)
		d := m.method.(*wire.BasicDeliver)
		if seen[d.DeliveryTag] {
			t.Fatalf("tag %d twice", d.DeliveryTag)
		}
		seen[d.DeliveryTag] = true
		if d.ConsumerTag == "w" {
			work = append(work, d.DeliveryTag)
		}
		if d.ConsumerTag != string(m.body) {
			t.Fatalf("%q for %s", m.body, d.ConsumerTag)
		}
	}
	for _, tag := range work {
		client.send(1, &wire.BasicAck{DeliveryTag: tag})
	}
	if got := client.ready(1, "work"); len(work) != n || got != 0 {
		t.Errorf("%d of the queue, %d left", len(work), got)
	}
	info := r.broker.Connections()[1].Channels[0]
	if info.Consumers != 2 || info.Delivered != 2*n {
		t.Errorf("%+v", info)
	}
}

// A requester that does not read holds up nobody and takes bounded memory; what it has no room for is counted.
func TestARequesterThatDoesNotReadTakesBoundedMemory(t *testing.T) {
	b := budget.New(budget.Options{Bytes: 256 << 20})
	r := newRig(t, rigOptions{server: func(o *Options) { o.Budget = b }})
	server := r.connect()
	server.queue("rpc")
	client := r.peer(r.pipe()) // it has no buffer of its own
	client.login()
	client.expect(0, wire.IDConnectionTune)
	client.send(0, &wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072})
	client.call(0, &wire.ConnectionOpen{VirtualHost: "/"}, wire.IDConnectionOpenOk)
	client.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	client.call(1, &wire.BasicConsume{Queue: broker.ReplyQueue, ConsumerTag: "r", NoAck: true}, wire.IDBasicConsumeOk)
	address := client.address(1, "rpc", server)

	const n, size = 100, 1 << 20
	body := bytes.Repeat([]byte("x"), size)
	for i := range n {
		server.publish(1, wire.Publish{Key: []byte(address), Body: append(body, fmt.Sprint(i)...)})
	}
	server.call(1, &wire.BasicQos{}, wire.IDBasicQosOk) // all of them were taken from the socket
	counters := r.broker.Counters()
	taken, dropped := counters.Replies.Load(), counters.RepliesDropped.Load()
	if taken+dropped != n || dropped == 0 || taken < maxReplyBytes/size-1 || taken > maxReplyBytes/size+1 {
		t.Errorf("%d taken, %d dropped", taken, dropped)
	}
	if used := b.Stats().Peak; used > 2*(maxReplyBytes+2*size)+8<<20 {
		t.Errorf("%d bytes of memory", used)
	}
	for i := range taken {
		if m := client.expect(1, wire.IDBasicDeliver); string(m.body[size:]) != fmt.Sprint(i) {
			t.Fatalf("reply %q, want %d", m.body[size:], i)
		}
	}
	// It reads again, and gets what comes now.
	server.publish(1, wire.Publish{Key: []byte(address), Body: []byte("late")})
	if m := client.expect(1, wire.IDBasicDeliver); string(m.body) != "late" {
		t.Errorf("%d bytes", len(m.body))
	}
	// What was written is given back; what never will be, too.
	for b.Stats().Used > 0 {
		time.Sleep(time.Millisecond)
	}
	for range 5 {
		server.publish(1, wire.Publish{Key: []byte(address), Body: body})
	}
	server.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
	if b.Stats().Used == 0 {
		t.Error("nothing waits")
	}
	client.nc.Close()
	for b.Stats().Used > 0 {
		time.Sleep(time.Millisecond)
	}
}

// One reply may be longer than what may wait together, as long as there is memory for it.
func TestOneLargeReplyIsTaken(t *testing.T) {
	r := newRig(t, rigOptions{broker: broker.Options{MaxMessageBytes: 32 << 20}})
	server, client := r.connect(), r.requester()
	server.queue("rpc")
	address := client.address(1, "rpc", server)
	go server.publish(1, wire.Publish{Key: []byte(address), Body: make([]byte, maxReplyBytes+1)})
	if m := client.expect(1, wire.IDBasicDeliver); len(m.body) != maxReplyBytes+1 {
		t.Errorf("%d bytes", len(m.body))
	}
}

// A client that has much to read is still read itself: or requests and replies could wait for each other.
func TestWaitingRepliesDoNotHoldUpTheRequester(t *testing.T) {
	r := newRig(t, rigOptions{})
	server := r.connect()
	server.queue("rpc")
	client := r.handshakeOver(r.pipe(), &wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072})
	client.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	client.call(1, &wire.BasicConsume{Queue: broker.ReplyQueue, ConsumerTag: "r", NoAck: true}, wire.IDBasicConsumeOk)
	address := client.address(1, "rpc", server)
	for range 3 {
		server.publish(1, wire.Publish{Key: []byte(address), Body: make([]byte, maxOutboxBytes)})
	}
	server.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
	for range 100 { // it reads nothing meanwhile
		client.publish(1, wire.Publish{Key: []byte("rpc"), Properties: asking(wire.Properties{})})
		client.send(1, &wire.BasicAck{Multiple: true}) // nothing is to be acked, which is fine
	}
	for server.ready(1, "rpc") < 100 {
		time.Sleep(time.Millisecond)
	}
}

// One who publishes may have found the address just before it ended.
func TestAReplyThatComesLateIsNotDelivered(t *testing.T) {
	b := newBench(t, 0, false, true)
	if err := b.ch.consume(&wire.BasicConsume{Queue: broker.ReplyQueue, ConsumerTag: "r", NoAck: true}); err != nil {
		t.Fatal(err)
	}
	late := b.ch.replies
	if err := b.ch.cancel(&wire.BasicCancel{ConsumerTag: "r"}); err != nil {
		t.Fatal(err)
	}
	before := len(b.c.out)
	if !late.deliver(&broker.Inbound{Body: []byte("late")}) || len(b.c.out) != before || b.c.replies.held != 0 {
		t.Errorf("%d bytes in the outbox, want %d; %d held", len(b.c.out), before, b.c.replies.held)
	}
}

// Requesters come and go while replies are sent: none reaches a channel that has not, or no longer, a consumer.
func TestRepliesToRequestersThatComeAndGo(t *testing.T) {
	r := newRig(t, rigOptions{})
	server, client := r.connect(), r.connect()
	server.queue("rpc")
	var mu sync.Mutex
	address := broker.ReplyQueue + ".x"
	stop, sent := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sent)
		for {
			select {
			case <-stop:
				return
			default:
			}
			mu.Lock()
			to := address
			mu.Unlock()
			server.publish(1, wire.Publish{Key: []byte(to), Body: []byte("r")})
		}
	}()
	reader := r.connect()
	for i := range 200 {
		tag := fmt.Sprint(i)
		client.call(1, &wire.BasicConsume{Queue: broker.ReplyQueue, ConsumerTag: tag, NoAck: true}, wire.IDBasicConsumeOk)
		own := client.address(1, "rpc", reader)
		mu.Lock()
		address = own
		mu.Unlock()
		client.expect(1, wire.IDBasicDeliver)
		client.send(1, &wire.BasicCancel{ConsumerTag: tag})
		for {
			_, m, err := client.next()
			if err != nil {
				t.Fatal(err)
			}
			if d, ok := m.method.(*wire.BasicDeliver); ok && d.ConsumerTag == tag {
				continue
			}
			if m.method.ID() != wire.IDBasicCancelOk {
				t.Fatalf("%s %+v", m.method.ID(), m.method)
			}
			break
		}
	}
	close(stop)
	<-sent
}
