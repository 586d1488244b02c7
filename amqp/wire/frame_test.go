package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseFrameSaysWhatIsMissingOrWrong(t *testing.T) {
	heartbeat := AppendHeartbeat(nil)
	cases := []struct {
		name string
		in   []byte
		n    int
		need int
		err  error
	}{
		{"nothing", nil, 0, 7, nil},
		{"part of a header", heartbeat[:6], 0, 7, nil},
		{"header only", heartbeat[:7], 0, 8, nil},
		{"whole", heartbeat, 8, 0, nil},
		{"whole and more", append(bytes.Clone(heartbeat), 1), 8, 0, nil},
		{"payload missing", []byte{1, 0, 1, 0, 0, 0, 4, 0}, 0, 12, nil},
		{"wrong end", []byte{8, 0, 0, 0, 0, 0, 0, 0}, 0, 0, ErrFrameEnd},
		{"unknown type", []byte{9, 0, 0, 0, 0, 0, 0, FrameEnd}, 0, 0, ErrFrameType},
		{"unknown type, first byte alone", []byte{'G'}, 0, 0, ErrFrameType},
		{"too large", []byte{3, 0, 0, 0, 0, 1, 1}, 0, 0, ErrFrameLarge},
		{"absurd size", []byte{3, 0, 0, 0xff, 0xff, 0xff, 0xff}, 0, 0, ErrFrameLarge},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, n, need, err := ParseFrame(c.in, 256)
			if n != c.n || need != c.need || !errors.Is(err, c.err) {
				t.Fatalf("n %d need %d err %v, want %d %d %v", n, need, err, c.n, c.need, c.err)
			}
		})
	}
}

// The bytes were written down from the specification, by hand.
func TestMethodsHaveTheSpecifiedBytes(t *testing.T) {
	cases := []struct {
		name string
		m    Method
		want string
	}{
		{"tune", &ConnectionTune{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60},
			"01 0000 0000000c 000a001e 07ff 00020000 003c ce"},
		{"open", &ConnectionOpen{VirtualHost: "/"}, "01 0000 00000008 000a0028 01 2f 00 00 ce"},
		{"close", &ConnectionClose{ReplyCode: NotFound, ReplyText: "x", ClassID: 60, MethodID: 40},
			"01 0000 0000000c 000a0032 0194 01 78 003c 0028 ce"},
		{"queue.declare", &QueueDeclare{Queue: "q", Durable: true, NoWait: true, Arguments: Table{1, 'a', 't', 1}},
			"01 0000 00000011 0032000a 0000 01 71 12 00000004 01 61 74 01 ce"},
		{"exchange.unbind-ok is 51", &ExchangeUnbindOk{}, "01 0000 00000004 00280033 ce"},
		{"basic.consume", &BasicConsume{Queue: "q", ConsumerTag: "t", NoAck: true},
			"01 0000 0000000f 003c0014 0000 01 71 01 74 02 00000000 ce"},
		{"basic.publish", &BasicPublish{Exchange: "e", RoutingKey: "kk", Mandatory: true},
			"01 0000 0000000c 003c0028 0000 01 65 02 6b6b 01 ce"},
		{"basic.nack", &BasicNack{DeliveryTag: 258, Multiple: true, Requeue: true},
			"01 0000 0000000d 003c0078 0000000000000102 03 ce"},
		{"get-ok", &BasicGetOk{DeliveryTag: 1, Redelivered: true, Exchange: "e", RoutingKey: "k", MessageCount: 3},
			"01 0000 00000015 003c0047 0000000000000001 01 01 65 01 6b 00000003 ce"},
		{"confirm.select", &ConfirmSelect{NoWait: true}, "01 0000 00000005 0055000a 01 ce"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := AppendMethod(nil, 0, c.m)
			if want := unhex(t, c.want); !bytes.Equal(got, want) {
				t.Fatalf("got  %x\nwant %x", got, want)
			}
			back, err := Decode(got[FrameHeaderBytes : len(got)-1])
			if err != nil || back.ID() != c.m.ID() {
				t.Fatalf("decode: %v %v", back, err)
			}
			if again := AppendMethod(nil, 0, back); !bytes.Equal(again, got) {
				t.Fatalf("encoded again %x", again)
			}
		})
	}
}

// Arguments stand in the specification's order, each with a value of its own; by hand, too.
func TestArgumentsStandInTheSpecifiedOrder(t *testing.T) {
	table := Table{1, 'a', 't', 1} // 00000004 01617401
	listed := map[MethodID]bool{}
	for _, c := range []struct {
		m    Method
		want string
	}{
		{&ConnectionStart{VersionMajor: 0, VersionMinor: 9, ServerProperties: table, Mechanisms: []byte("M"), Locales: []byte("L")},
			"00 09 00000004 01617401 00000001 4d 00000001 4c"},
		{&ConnectionStartOk{ClientProperties: table, Mechanism: "M", Response: []byte("R"), Locale: "L"}, "00000004 01617401 01 4d 00000001 52 01 4c"},
		{&ConnectionSecure{Challenge: []byte("C")}, "00000001 43"},
		{&ConnectionSecureOk{Response: []byte("R")}, "00000001 52"},
		{&ConnectionTune{ChannelMax: 1, FrameMax: 2, Heartbeat: 3}, "0001 00000002 0003"},
		{&ConnectionTuneOk{ChannelMax: 1, FrameMax: 2, Heartbeat: 3}, "0001 00000002 0003"},
		{&ConnectionOpen{VirtualHost: "v", Insist: true}, "01 76 00 01"},
		{&ConnectionOpenOk{}, "00"},
		{&ConnectionClose{ReplyCode: 1, ReplyText: "t", ClassID: 2, MethodID: 3}, "0001 01 74 0002 0003"},
		{&ConnectionBlocked{Reason: "r"}, "01 72"},
		{&ConnectionUpdateSecret{NewSecret: []byte("s"), Reason: "r"}, "00000001 73 01 72"},
		{&ChannelOpen{}, "00"},
		{&ChannelOpenOk{}, "00000000"},
		{&ChannelFlow{Active: true}, "01"},
		{&ChannelFlowOk{Active: true}, "01"},
		{&ChannelClose{ReplyCode: 1, ReplyText: "t", ClassID: 2, MethodID: 3}, "0001 01 74 0002 0003"},
		{&AccessRequest{Realm: "r", Passive: true, Write: true}, "01 72 0a"},
		{&AccessRequest{Realm: "r", Exclusive: true, Active: true, Read: true}, "01 72 15"},
		{&AccessRequestOk{Ticket: 1}, "0001"},
		{&ExchangeDeclare{Exchange: "e", Type: "t", Durable: true, Internal: true, Arguments: table}, "0000 01 65 01 74 0a 00000004 01617401"},
		{&ExchangeDeclare{Exchange: "e", Type: "t", Passive: true, AutoDelete: true, NoWait: true}, "0000 01 65 01 74 15 00000000"},
		{&ExchangeDelete{Exchange: "e", IfUnused: true}, "0000 01 65 01"},
		{&ExchangeDelete{Exchange: "e", NoWait: true}, "0000 01 65 02"},
		{&ExchangeBind{Destination: "d", Source: "s", RoutingKey: "k", NoWait: true, Arguments: table}, "0000 01 64 01 73 01 6b 01 00000004 01617401"},
		{&ExchangeUnbind{Destination: "d", Source: "s", RoutingKey: "k", NoWait: true, Arguments: table}, "0000 01 64 01 73 01 6b 01 00000004 01617401"},
		{&QueueDeclare{Queue: "q", Durable: true, AutoDelete: true, Arguments: table}, "0000 01 71 0a 00000004 01617401"},
		{&QueueDeclare{Queue: "q", Passive: true, Exclusive: true, NoWait: true}, "0000 01 71 15 00000000"},
		{&QueueDeclareOk{Queue: "q", MessageCount: 1, ConsumerCount: 2}, "01 71 00000001 00000002"},
		{&QueueBind{Queue: "q", Exchange: "e", RoutingKey: "k", NoWait: true, Arguments: table}, "0000 01 71 01 65 01 6b 01 00000004 01617401"},
		{&QueueUnbind{Queue: "q", Exchange: "e", RoutingKey: "k", Arguments: table}, "0000 01 71 01 65 01 6b 00000004 01617401"},
		{&QueuePurge{Queue: "q", NoWait: true}, "0000 01 71 01"},
		{&QueuePurgeOk{MessageCount: 1}, "00000001"},
		{&QueueDelete{Queue: "q", IfUnused: true, NoWait: true}, "0000 01 71 05"},
		{&QueueDelete{Queue: "q", IfEmpty: true}, "0000 01 71 02"},
		{&QueueDeleteOk{MessageCount: 1}, "00000001"},
		{&BasicQos{PrefetchSize: 1, PrefetchCount: 2, Global: true}, "00000001 0002 01"},
		{&BasicConsume{Queue: "q", ConsumerTag: "t", NoLocal: true, Exclusive: true, Arguments: table}, "0000 01 71 01 74 05 00000004 01617401"},
		{&BasicConsume{Queue: "q", ConsumerTag: "t", NoAck: true, NoWait: true}, "0000 01 71 01 74 0a 00000000"},
		{&BasicConsumeOk{ConsumerTag: "t"}, "01 74"},
		{&BasicCancel{ConsumerTag: "t", NoWait: true}, "01 74 01"},
		{&BasicCancelOk{ConsumerTag: "t"}, "01 74"},
		{&BasicPublish{Exchange: "e", RoutingKey: "k", Immediate: true}, "0000 01 65 01 6b 02"},
		{&BasicReturn{ReplyCode: 1, ReplyText: "t", Exchange: "e", RoutingKey: "k"}, "0001 01 74 01 65 01 6b"},
		{&BasicDeliver{ConsumerTag: "t", DeliveryTag: 1, Redelivered: true, Exchange: "e", RoutingKey: "k"}, "01 74 0000000000000001 01 01 65 01 6b"},
		{&BasicGet{Queue: "q", NoAck: true}, "0000 01 71 01"},
		{&BasicGetOk{DeliveryTag: 1, Redelivered: true, Exchange: "e", RoutingKey: "k", MessageCount: 2}, "0000000000000001 01 01 65 01 6b 00000002"},
		{&BasicGetEmpty{}, "00"},
		{&BasicAck{DeliveryTag: 1, Multiple: true}, "0000000000000001 01"},
		{&BasicReject{DeliveryTag: 1, Requeue: true}, "0000000000000001 01"},
		{&BasicRecoverAsync{Requeue: true}, "01"},
		{&BasicRecover{Requeue: true}, "01"},
		{&BasicNack{DeliveryTag: 1, Multiple: true}, "0000000000000001 01"},
		{&BasicNack{DeliveryTag: 1, Requeue: true}, "0000000000000001 02"},
		{&ConfirmSelect{NoWait: true}, "01"},
	} {
		listed[c.m.ID()] = true
		frame := AppendMethod(nil, 0, c.m)
		payload := frame[FrameHeaderBytes : len(frame)-1]
		if want := unhex(t, c.want); !bytes.Equal(payload[4:], want) {
			t.Errorf("%s: %x, want %x", c.m.ID(), payload[4:], want)
		}
		if back, err := Decode(payload); err != nil || !bytes.Equal(AppendMethod(nil, 0, back), frame) {
			t.Errorf("%s: read as %+v, %v", c.m.ID(), back, err)
		}
	}
	for id, newMethod := range methodTypes {
		if frame := AppendMethod(nil, 0, newMethod()); !listed[id] && len(frame) != FrameOverheadBytes+4 {
			t.Errorf("%s has arguments and stands in no row", id)
		}
	}
}

func TestEveryMethodIsReadAsItWasWritten(t *testing.T) {
	for id, newMethod := range methodTypes {
		m := newMethod()
		if m.ID() != id {
			t.Errorf("%s is registered as %s", m.ID(), id)
		}
		if methodNames[id] == "" {
			t.Errorf("%d/%d has no name", id.Class(), id.Number())
		}
		frame := AppendMethod(nil, 3, m)
		payload := frame[FrameHeaderBytes : len(frame)-1]
		back, err := Decode(payload)
		if err != nil || back.ID() != id {
			t.Errorf("%s: %v", id, err)
			continue
		}
		for cut := 4; cut < len(payload); cut++ {
			if _, err := Decode(payload[:cut]); !errors.Is(err, ErrSyntax) {
				t.Errorf("%s cut to %d bytes: %v", id, cut, err)
			}
		}
		if _, err := Decode(append(bytes.Clone(payload), 0)); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s with a byte too many: %v", id, err)
		}
	}
}

func TestUnknownMethodIsNamed(t *testing.T) {
	_, err := Decode([]byte{0, 60, 0, 99})
	var unknown *UnknownMethodError
	if !errors.As(err, &unknown) || unknown.ID.Class() != 60 || unknown.ID.Number() != 99 {
		t.Fatal(err)
	}
}

func TestCodesCloseWhatTheSpecificationSays(t *testing.T) {
	for code, name := range codeNames {
		soft := code == ContentTooLarge || code == NoRoute || code == NoConsumers || (code >= 403 && code <= 406)
		if code.Hard() == soft {
			t.Errorf("%d %s: hard is %v", code, name, code.Hard())
		}
	}
	if text := ReplyText(NotFound, strings.Repeat("x", 300)); len(text) != MaxShortStringBytes || !strings.HasPrefix(text, "NOT_FOUND - xxx") {
		t.Error(text)
	}
}

func FuzzParseFrame(f *testing.F) {
	f.Add(AppendHeartbeat(nil))
	f.Add(AppendMethod(nil, 1, &BasicAck{DeliveryTag: 7}))
	f.Add([]byte(ProtocolHeader))
	f.Fuzz(func(t *testing.T, in []byte) {
		frame, n, need, err := ParseFrame(in, 1<<16)
		switch {
		case err != nil:
		case n == 0 && need <= len(in):
			t.Fatalf("need %d of %d bytes", need, len(in))
		case n > 0:
			if again := AppendFrame(nil, frame.Type, frame.Channel, frame.Payload); !bytes.Equal(again, in[:n]) {
				t.Fatalf("%x became %x", in[:n], again)
			}
		}
	})
}

func FuzzDecodeMethod(f *testing.F) {
	for _, newMethod := range methodTypes {
		frame := AppendMethod(nil, 0, newMethod())
		f.Add(frame[FrameHeaderBytes : len(frame)-1])
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := Decode(payload)
		if err != nil {
			return
		}
		frame := AppendMethod(nil, 0, m)
		again, err := Decode(frame[FrameHeaderBytes : len(frame)-1])
		if err != nil {
			t.Fatalf("%x: %v", payload, err)
		}
		if twice := AppendMethod(nil, 0, again); !bytes.Equal(frame, twice) {
			t.Fatalf("%x and %x", frame, twice)
		}
	})
}
