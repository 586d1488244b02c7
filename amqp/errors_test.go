package amqp

import (
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/logged"
)

// props are raw properties of a publish.
func props(p wire.Properties) wire.RawProperties { return p.AppendTo(nil) }

// nested is a table so deep.
func nested(depth int) (t wire.Table) {
	for range depth {
		t = wire.AppendTableTable(nil, "t", t)
	}
	return t
}

func method(m wire.Method) func(*peer, string) {
	return func(p *peer, _ string) { p.send(1, m) }
}

func publishing(m wire.Publish) func(*peer, string) {
	return func(p *peer, q string) {
		if m.Key == nil {
			m.Key = []byte(q)
		}
		p.publish(1, m)
	}
}

// Each case runs on its own connection, with channel 1 open and a queue of the connection's own.
func TestErrorsHaveTheirCodes(t *testing.T) {
	table := func(name string, f wire.Field) wire.Table { return wire.AppendTableField(nil, name, f) }
	cases := []struct {
		name string
		do   func(*peer, string)
		code wire.Code
		text string // after "NAME - ", with QUEUE for the queue's name; "" is not looked at
		id   wire.MethodID
	}{
		{"passive declare of a missing queue", method(&wire.QueueDeclare{Queue: "none", Passive: true}), wire.NotFound, "no queue 'none' in vhost '/'", wire.IDQueueDeclare},
		{"passive declare of a missing exchange", method(&wire.ExchangeDeclare{Exchange: "none", Passive: true}), wire.NotFound, "no exchange 'none' in vhost '/'", wire.IDExchangeDeclare},
		{"bind of a missing queue", method(&wire.QueueBind{Queue: "none", Exchange: "amq.direct"}), wire.NotFound, "no queue 'none' in vhost '/'", wire.IDQueueBind},
		{"bind to a missing exchange", func(p *peer, q string) { p.send(1, &wire.QueueBind{Queue: q, Exchange: "none"}) }, wire.NotFound, "no exchange 'none' in vhost '/'", wire.IDQueueBind},
		{"consume from a missing queue", method(&wire.BasicConsume{Queue: "none"}), wire.NotFound, "no queue 'none' in vhost '/'", wire.IDBasicConsume},
		{"get from a missing queue", method(&wire.BasicGet{Queue: "none"}), wire.NotFound, "no queue 'none' in vhost '/'", wire.IDBasicGet},
		{"purge of a missing queue", method(&wire.QueuePurge{Queue: "none"}), wire.NotFound, "no queue 'none' in vhost '/'", wire.IDQueuePurge},
		{"publish to a missing exchange", publishing(wire.Publish{Exchange: []byte("none")}), wire.NotFound, "no exchange 'none' in vhost '/'", wire.IDBasicPublish},
		{"empty queue name on a fresh channel", func(p *peer, _ string) {
			p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
			p.send(2, &wire.BasicGet{})
		}, wire.NotFound, "no previously declared queue", wire.IDBasicGet},
		{"passive declare of no name", method(&wire.QueueDeclare{Passive: true}), wire.NotFound, "no queue '' in vhost '/'", wire.IDQueueDeclare},
		{"declare of a reserved queue name", method(&wire.QueueDeclare{Queue: "amq.mine"}), wire.AccessRefused, "queue name 'amq.mine' contains reserved prefix 'amq.*'", wire.IDQueueDeclare},
		{"declare of a reserved exchange name", method(&wire.ExchangeDeclare{Exchange: "amq.mine", Type: "direct"}), wire.AccessRefused, "", wire.IDExchangeDeclare},
		{"delete of a predeclared exchange", method(&wire.ExchangeDelete{Exchange: "amq.topic"}), wire.AccessRefused, "", wire.IDExchangeDelete},
		{"bind to the default exchange", func(p *peer, q string) { p.send(1, &wire.QueueBind{Queue: q, RoutingKey: "k"}) }, wire.AccessRefused, "", wire.IDQueueBind},
		{"passive declare of the default exchange", method(&wire.ExchangeDeclare{Type: "direct", Passive: true}), wire.AccessRefused, "operation not permitted on the default exchange", wire.IDExchangeDeclare},
		{"declare of the default exchange", method(&wire.ExchangeDeclare{Type: "direct"}), wire.AccessRefused, "operation not permitted on the default exchange", wire.IDExchangeDeclare},
		{"publish to an internal exchange", func(p *peer, _ string) {
			p.call(1, &wire.ExchangeDeclare{Exchange: "inner", Type: "fanout", Internal: true}, wire.IDExchangeDeclareOk)
			p.publish(1, wire.Publish{Exchange: []byte("inner")})
		}, wire.AccessRefused, "", wire.IDBasicPublish},
		{"unknown exchange type", method(&wire.ExchangeDeclare{Exchange: "x", Type: "strange"}), wire.PreconditionFailed, "unknown exchange type 'strange'", wire.IDExchangeDeclare},
		{"redeclare of another type", method(&wire.ExchangeDeclare{Exchange: "amq.fanout", Type: "direct", Durable: true}), wire.PreconditionFailed, "inequivalent arg 'type' for exchange 'amq.fanout' in vhost '/': received 'direct' but current is 'fanout'", wire.IDExchangeDeclare},
		{"redeclare as not exclusive", func(p *peer, q string) { p.send(1, &wire.QueueDeclare{Queue: q, Durable: true, Exclusive: true}) }, wire.PreconditionFailed, "", wire.IDQueueDeclare},
		{"expiration that is not a number", publishing(wire.Publish{Properties: props(wire.Properties{Expiration: []byte("1.5")})}), wire.PreconditionFailed, "invalid expiration '1.5': {leftover_string,\".5\"}", wire.IDBasicPublish},
		{"user id of somebody else", publishing(wire.Publish{Properties: props(wire.Properties{UserID: []byte("admin")})}), wire.PreconditionFailed, "user_id property set to 'admin' but authenticated user was 'guest'", wire.IDBasicPublish},
		{"CC that is not an array", publishing(wire.Publish{Properties: props(wire.Properties{Headers: wire.AppendTableString(nil, "CC", "x")})}), wire.PreconditionFailed, `invalid message: {unacceptable_type_in_header,"CC",longstr}`, wire.IDBasicPublish},
		{"BCC that is a number", publishing(wire.Publish{Properties: props(wire.Properties{Headers: table("BCC", wire.Field{Tag: 'I', Value: []byte{0, 0, 0, 1}})})}), wire.PreconditionFailed, `invalid message: {unacceptable_type_in_header,"BCC",signedint}`, wire.IDBasicPublish},
		{"request before its reply consumer", publishing(wire.Publish{Properties: props(wire.Properties{ReplyTo: []byte(broker.ReplyQueue)})}), wire.PreconditionFailed, "fast reply consumer does not exist", wire.IDBasicPublish},
		{"arguments nested too deep", method(&wire.QueueDeclare{Queue: "deep", Arguments: nested(300)}), wire.PreconditionFailed, "", wire.IDQueueDeclare},
		{"arguments of a binding nested too deep", func(p *peer, q string) {
			p.call(1, &wire.QueueBind{Queue: q, Exchange: "amq.topic", RoutingKey: "k", Arguments: nested(200)}, wire.IDQueueBindOk)
			p.send(1, &wire.QueueBind{Queue: q, Exchange: "amq.topic", RoutingKey: "k", Arguments: nested(300)})
		}, wire.PreconditionFailed, "", wire.IDQueueBind},
		{"headers nested too deep", func(p *peer, q string) {
			p.publish(1, wire.Publish{Key: []byte(q), Properties: props(wire.Properties{Headers: nested(200)})})
			p.publish(1, wire.Publish{Key: []byte(q), Properties: props(wire.Properties{Headers: nested(300)})})
		}, wire.PreconditionFailed, "", wire.IDBasicPublish},
		{"malformed properties", publishing(wire.Publish{Properties: wire.RawProperties{0x80, 0}}), wire.SyntaxError, "", wire.IDBasicPublish},
		{"immediate", publishing(wire.Publish{Immediate: true}), wire.NotImplemented, "immediate=true", wire.IDBasicPublish},
		{"message above the limit", func(p *peer, q string) {
			p.send(1, &wire.BasicPublish{RoutingKey: q})
			p.raw(wire.AppendContentHeader(nil, 1, 1<<20+1, nil))
		}, wire.PreconditionFailed, "message size 1048577 is larger than configured max size 1048576", wire.IDBasicPublish},
		{"message above the limit, whole", publishing(wire.Publish{Body: make([]byte, 1<<20+1)}), wire.PreconditionFailed, "", wire.IDBasicPublish},
		{"ack of an unknown tag", method(&wire.BasicAck{DeliveryTag: 7}), wire.PreconditionFailed, "unknown delivery tag 7", wire.IDBasicAck},
		{"ack of tag 0", method(&wire.BasicAck{}), wire.PreconditionFailed, "unknown delivery tag 0", wire.IDBasicAck},
		{"nack of an unknown tag, multiple", method(&wire.BasicNack{DeliveryTag: 7, Multiple: true}), wire.PreconditionFailed, "unknown delivery tag 7", wire.IDBasicNack},
		{"reject of an unknown tag", method(&wire.BasicReject{DeliveryTag: 7}), wire.PreconditionFailed, "unknown delivery tag 7", wire.IDBasicReject},
		{"ack twice", func(p *peer, q string) {
			p.publish(1, text(q, "x"))
			p.call(1, &wire.BasicGet{Queue: q}, wire.IDBasicGetOk)
			p.send(1, &wire.BasicAck{DeliveryTag: 1}, &wire.BasicAck{DeliveryTag: 1})
		}, wire.PreconditionFailed, "unknown delivery tag 1", wire.IDBasicAck},
		{"ack of an auto-acked message", func(p *peer, q string) {
			p.publish(1, text(q, "x"))
			p.call(1, &wire.BasicGet{Queue: q, NoAck: true}, wire.IDBasicGetOk)
			p.send(1, &wire.BasicAck{DeliveryTag: 1})
		}, wire.PreconditionFailed, "unknown delivery tag 1", wire.IDBasicAck},
		{"consumer tag used twice", func(p *peer, q string) {
			p.send(1, &wire.BasicConsume{Queue: q, ConsumerTag: "t", NoWait: true}, &wire.BasicConsume{Queue: q, ConsumerTag: "t"})
		}, wire.NotAllowed, "attempt to reuse consumer tag 't'", wire.IDBasicConsume},
		{"exclusive consumer beside another", func(p *peer, q string) {
			p.call(1, &wire.BasicConsume{Queue: q}, wire.IDBasicConsumeOk)
			p.send(1, &wire.BasicConsume{Queue: q, Exclusive: true})
		}, wire.AccessRefused, "queue 'QUEUE' in vhost '/' in exclusive use", wire.IDBasicConsume},
		{"consumer beside an exclusive one", func(p *peer, q string) {
			p.call(1, &wire.BasicConsume{Queue: q, Exclusive: true}, wire.IDBasicConsumeOk)
			p.send(1, &wire.BasicConsume{Queue: q})
		}, wire.AccessRefused, "queue 'QUEUE' in vhost '/' in exclusive use", wire.IDBasicConsume},
		{"consumer priority that is no number", func(p *peer, q string) {
			p.send(1, &wire.BasicConsume{Queue: q, Arguments: wire.AppendTableString(nil, "x-priority", "high")})
		}, wire.PreconditionFailed, "invalid arg 'x-priority' for queue 'QUEUE' in vhost '/': \"expected integer, got longstr\"", wire.IDBasicConsume},
		{"argument of a stream's consumer", func(p *peer, q string) {
			p.send(1, &wire.BasicConsume{Queue: q, Arguments: wire.AppendTableString(nil, "x-stream-offset", "first")})
		}, wire.PreconditionFailed, "invalid arg 'x-stream-offset' for queue 'QUEUE' in vhost '/' of queue type rabbit_classic_queue", wire.IDBasicConsume},
		{"delete of a queue that is not empty", func(p *peer, q string) {
			p.publish(1, text(q, "x"))
			p.send(1, &wire.QueueDelete{Queue: q, IfEmpty: true})
		}, wire.PreconditionFailed, "", wire.IDQueueDelete},
		{"delete of a queue in use", func(p *peer, q string) {
			p.call(1, &wire.BasicConsume{Queue: q}, wire.IDBasicConsumeOk)
			p.send(1, &wire.QueueDelete{Queue: q, IfUnused: true})
		}, wire.PreconditionFailed, "", wire.IDQueueDelete},
		{"prefetch size", method(&wire.BasicQos{PrefetchSize: 1}), wire.NotImplemented, "prefetch_size!=0 (1)", wire.IDBasicQos},
		{"recover without requeue", method(&wire.BasicRecover{}), wire.NotImplemented, "requeue=false", wire.IDBasicRecover},
		{"flow off", method(&wire.ChannelFlow{}), wire.NotImplemented, "active=false", wire.IDChannelFlow},
		{"commit without tx.select", method(&wire.TxCommit{}), wire.PreconditionFailed, "channel is not transactional", wire.IDTxCommit},
		{"rollback without tx.select", method(&wire.TxRollback{}), wire.PreconditionFailed, "channel is not transactional", wire.IDTxRollback},
		{"confirms on a channel with transactions", func(p *peer, _ string) {
			p.send(1, &wire.TxSelect{})
			p.expect(1, wire.IDTxSelectOk)
			p.send(1, &wire.ConfirmSelect{})
		}, wire.PreconditionFailed, "cannot switch from tx to confirm mode", wire.IDConfirmSelect},
		{"transactions on a channel with confirms", func(p *peer, _ string) { p.send(1, &wire.ConfirmSelect{NoWait: true}, &wire.TxSelect{}) }, wire.PreconditionFailed, "cannot switch from confirm to tx mode", wire.IDTxSelect},
		{"heartbeat on a channel", func(p *peer, _ string) { p.raw(wire.AppendFrame(nil, wire.FrameHeartbeat, 1, nil)) }, wire.UnexpectedFrame, "heartbeat on channel 1", 0},
		{"connection.open in the midst", func(p *peer, _ string) { p.send(0, &wire.ConnectionOpen{VirtualHost: "/"}) }, wire.ChannelError, "unexpected method in connection state running", wire.IDConnectionOpen},
		{"a channel's method on channel 0", func(p *peer, _ string) { p.send(0, &wire.BasicQos{}) }, wire.ChannelError, "unexpected method in connection state running", wire.IDBasicQos},
		{"a connection's method on a channel", method(&wire.ConnectionOpen{VirtualHost: "/"}), wire.CommandInvalid, "unimplemented method", wire.IDConnectionOpen},
		{"flow-ok that nobody waits for", method(&wire.ChannelFlowOk{}), wire.CommandInvalid, "unimplemented method", wire.IDChannelFlowOk},
		{"close-ok that nobody waits for", method(&wire.ChannelCloseOk{}), wire.CommandInvalid, "unimplemented method", wire.IDChannelCloseOk},
		{"two publishes without a header", func(p *peer, q string) {
			p.send(1, &wire.BasicPublish{RoutingKey: q}, &wire.BasicPublish{RoutingKey: q})
		}, wire.UnexpectedFrame, "expected content header for class 60, got non content header frame instead", wire.IDBasicPublish},
		{"two headers", func(p *peer, q string) {
			p.send(1, &wire.BasicPublish{RoutingKey: q})
			p.raw(wire.AppendContentHeader(nil, 1, 1, nil))
			p.raw(wire.AppendContentHeader(nil, 1, 1, nil))
		}, wire.UnexpectedFrame, "expected content body, got non content body frame instead", wire.IDBasicPublish},
		{"second channel.open", method(&wire.ChannelOpen{}), wire.ChannelError, "second 'channel.open' seen", wire.IDChannelOpen},
		{"method on a channel that is not open", func(p *peer, _ string) { p.send(5, &wire.BasicQos{}) }, wire.ChannelError, "expected 'channel.open'", wire.IDBasicQos},
		{"publish on a channel that is not open", func(p *peer, q string) { p.publish(5, text(q, "x")) }, wire.ChannelError, "expected 'channel.open'", wire.IDBasicPublish},
		{"header without a method", func(p *peer, _ string) { p.raw(wire.AppendContentHeader(nil, 1, 0, nil)) }, wire.UnexpectedFrame, "expected method frame, got non method frame instead", 0},
		{"body without a header", func(p *peer, _ string) { p.raw(wire.AppendFrame(nil, wire.FrameBody, 1, []byte("x"))) }, wire.UnexpectedFrame, "", 0},
		{"body larger than announced", func(p *peer, q string) {
			p.send(1, &wire.BasicPublish{RoutingKey: q})
			p.raw(wire.AppendContentHeader(nil, 1, 1, nil))
			p.raw(wire.AppendFrame(nil, wire.FrameBody, 1, []byte("xy")))
		}, wire.UnexpectedFrame, "", wire.IDBasicPublish},
		{"method in the middle of a message", func(p *peer, q string) { p.send(1, &wire.BasicPublish{RoutingKey: q}, &wire.BasicQos{}) }, wire.UnexpectedFrame, "expected content header for class 60, got non content header frame instead", wire.IDBasicPublish},
		{"ack in the middle of a message", func(p *peer, q string) { p.send(1, &wire.BasicPublish{RoutingKey: q}, &wire.BasicAck{DeliveryTag: 1}) }, wire.UnexpectedFrame, "", wire.IDBasicPublish},
		{"content header of another class", func(p *peer, q string) {
			p.send(1, &wire.BasicPublish{RoutingKey: q})
			p.raw(wire.AppendFrame(nil, wire.FrameHeader, 1, make([]byte, 14)))
		}, wire.UnexpectedFrame, "expected content header for class 60, got one for class 0 instead", wire.IDBasicPublish},
		{"frame without its end", func(p *peer, _ string) { p.raw([]byte{1, 0, 1, 0, 0, 0, 4, 0, 20, 0, 40, 'X'}) }, wire.FrameError, "", 0},
		{"frame above frame_max", func(p *peer, _ string) { p.raw([]byte{3, 0, 1, 0, 2, 0, 0}) }, wire.FrameError, "", 0},
		{"unknown method", func(p *peer, _ string) { p.raw(wire.AppendFrame(nil, wire.FrameMethod, 1, []byte{0, 60, 0, 99})) }, wire.CommandInvalid, "unknown method 60/99", wire.ClassBasic<<16 | 99},
		{"malformed arguments", func(p *peer, _ string) { p.raw(wire.AppendFrame(nil, wire.FrameMethod, 1, []byte{0, 50, 0, 10, 0})) }, wire.SyntaxError, "", wire.IDQueueDeclare},
		{"method for a server to send", method(&wire.BasicGetEmpty{}), wire.CommandInvalid, "unimplemented method", wire.IDBasicGetEmpty},
		{"content on channel 0", func(p *peer, _ string) { p.raw(wire.AppendFrame(nil, wire.FrameBody, 0, nil)) }, wire.UnexpectedFrame, "", 0},
	}
	r := newRig(t, rigOptions{broker: broker.Options{MaxMessageBytes: 1 << 20}})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := r.connect()
			p.t = t
			q := p.declare(1)
			c.do(p, q)
			code, text, id := p.closing(c.code.Hard())
			if code != c.code || id != c.id {
				t.Errorf("code %d %q of %s, want %d of %s", code, text, id, c.code, c.id)
			}
			if want := c.code.String() + " - " + strings.ReplaceAll(c.text, "QUEUE", q); c.text != "" && text != want || !strings.HasPrefix(text, want[:len(c.code.String())+3]) {
				t.Errorf("text %q, want %q", text, want)
			}
			p.nc.Close()
		})
	}
}

// closing reads the close of the channel or connection and checks that the other one goes on.
func (p *peer) closing(hard bool) (wire.Code, string, wire.MethodID) {
	p.t.Helper()
	ch, m, err := p.next()
	if err != nil {
		p.t.Fatal(err)
	}
	switch m := m.method.(type) {
	case *wire.ConnectionClose:
		if !hard || ch != 0 {
			p.t.Errorf("the connection was closed, on channel %d", ch)
		}
		p.send(0, &wire.ConnectionCloseOk{})
		p.closed()
		return m.ReplyCode, m.ReplyText, wire.MethodID(m.ClassID)<<16 | wire.MethodID(m.MethodID)
	case *wire.ChannelClose:
		if hard || ch == 0 {
			p.t.Errorf("channel %d was closed", ch)
		}
		p.send(ch, &wire.ChannelCloseOk{}, &wire.ChannelOpen{})
		p.expect(ch, wire.IDChannelOpenOk)
		return m.ReplyCode, m.ReplyText, wire.MethodID(m.ClassID)<<16 | wire.MethodID(m.MethodID)
	}
	p.t.Fatalf("got %s %+v on channel %d", m.method.ID(), m.method, ch)
	return 0, "", 0
}

func TestFramesOfAClosingChannelAreDropped(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	q := p.declare(1)
	p.send(1, &wire.QueueDeclare{Queue: "none", Passive: true}, &wire.BasicAck{DeliveryTag: 9}, &wire.TxSelect{})
	p.publish(1, text(q, "lost"))
	p.expect(1, wire.IDChannelClose)
	p.publish(1, text(q, "lost too"))
	p.send(1, &wire.ChannelClose{ReplyCode: wire.ReplySuccess}, &wire.ChannelCloseOk{})
	p.expect(1, wire.IDChannelCloseOk)
	p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	if n := p.ready(1, q); n != 0 {
		t.Errorf("%d messages of the closing channel were stored", n)
	}
}

func TestOpenInPlaceOfCloseOkIsToldSo(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect()
	p.call(1, &wire.QueueDeclare{Queue: "none", Passive: true}, wire.IDChannelClose)
	p.send(1, &wire.ChannelOpen{})
	if m := p.refused(wire.ChannelError); wire.MethodID(m.ClassID)<<16|wire.MethodID(m.MethodID) != wire.IDChannelOpen {
		t.Errorf("%+v", m)
	}
}

func TestChannelsAreCountedNotNumbered(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.handshake(&wire.ConnectionTuneOk{ChannelMax: 3, FrameMax: 131072})
	numbers := []uint16{7, lowChannels, 65535}
	for _, n := range numbers {
		p.call(n, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	}
	for _, n := range numbers { // each is a channel of its own, and one that goes makes room for another
		p.call(n, &wire.ExchangeDeclare{Exchange: "amq.direct", Passive: true}, wire.IDExchangeDeclareOk)
		p.call(n, &wire.ChannelClose{}, wire.IDChannelCloseOk)
		p.call(n-1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	}
	p.send(1, &wire.ChannelOpen{})
	if m := p.refused(wire.NotAllowed); m.ReplyText != "NOT_ALLOWED - number of channels opened (3) has reached the negotiated channel_max (3)" {
		t.Error(m.ReplyText)
	}
}

// What is wrong is told when it is there: half of a publish is no reason to wait for the rest.
func TestWhatIsWrongIsToldAtOnce(t *testing.T) {
	publish := func(channel uint16) []byte {
		return wire.AppendMethod(nil, channel, &wire.BasicPublish{RoutingKey: "k"})
	}
	for name, c := range map[string]struct {
		sent []byte
		code wire.Code
	}{
		"on channel 0":                  {publish(0), wire.ChannelError},
		"on a channel that is not open": {publish(2), wire.ChannelError},
		"before an empty header":        {append(publish(1), wire.FrameHeader, 0, 1, 0, 0, 0, 0, wire.FrameEnd), wire.SyntaxError},
		"the answer to no question":     {wire.AppendMethod(nil, 0, &wire.ConnectionCloseOk{}), wire.ChannelError},
	} {
		t.Run(name, func(t *testing.T) {
			p := newRig(t, rigOptions{}).connect()
			p.raw(c.sent)
			p.refused(c.code)
		})
	}
}

func TestRefusalsStandInTheLogOnceACause(t *testing.T) {
	log := &logged.Lines{}
	r := newRig(t, rigOptions{server: func(o *Options) { o.Logger = log.Logger() }})
	for range 20 { // a tool that tries again for ever
		p := r.connect()
		p.call(1, &wire.QueueDeclare{Queue: "none", Passive: true}, wire.IDChannelClose)
		p.send(1, &wire.ChannelCloseOk{})
		p.send(2, &wire.BasicQos{})
		p.refused(wire.ChannelError)
		p.nc.Close()
	}
	got := log.Take()
	for _, want := range []string{
		`level=WARN msg="client refused" listener=amqp client=127.0.0.1:`,
		"user=guest what=queue.declare error=\"NOT_FOUND - no queue 'none' in vhost '/'\" do=\"declare it",
		"user=guest what=basic.qos error=\"CHANNEL_ERROR - expected 'channel.open'\" do=",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the log:\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\n"); n != 2 {
		t.Errorf("%d lines about two causes:\n%s", n, got)
	}
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{server: func(o *Options) { o.Logger = log.Logger() }})
		for range 3 {
			p := r.peer(r.pipe())
			p.raw([]byte(wire.ProtocolHeader))
			p.expect(0, wire.IDConnectionStart)
			p.send(0, &wire.ConnectionStartOk{ClientProperties: capabilities(), Mechanism: "PLAIN", Response: []byte("\x00guest\x00no")})
			p.refused(wire.AccessRefused)
			p.nc.Close()
		}
	})
	if got := log.Take(); !strings.Contains(got, `act=login by=guest from=pipe protocol=amqp outcome=refused reason="wrong password`) || strings.Contains(got, "\x00no") {
		t.Errorf("the refused login reads\n%s", got)
	}
}
