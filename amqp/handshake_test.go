package amqp

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
)

func TestWrongProtocolHeaderIsAnsweredWithOurs(t *testing.T) {
	r := newRig(t, rigOptions{})
	for _, header := range []string{"AMQP\x00\x00\x0a\x00", "GET / HTTP/1.1\r\n\r\n", "AMQP\x01\x01\x00\x09"} {
		nc := r.dial()
		io.WriteString(nc, header)
		nc.SetReadDeadline(time.Now().Add(patience))
		if got, _ := io.ReadAll(nc); string(got) != wire.ProtocolHeader {
			t.Errorf("%q was answered with %q", header, got)
		}
		nc.Close()
	}
}

func TestServerAnnouncesWhatItCanDo(t *testing.T) {
	r := newRig(t, rigOptions{server: func(o *Options) { o.Version = "9.8.7" }})
	p := r.peer(r.dial())
	p.raw([]byte(wire.ProtocolHeader))
	start := p.expect(0, wire.IDConnectionStart).method.(*wire.ConnectionStart)
	if string(start.Mechanisms) != "PLAIN AMQPLAIN" || string(start.Locales) != "en_US" || start.VersionMinor != 9 {
		t.Errorf("%+v", start)
	}
	f, _ := start.ServerProperties.Get("capabilities")
	caps, ok := f.Table()
	for _, name := range announced {
		if f, there := caps.Get(name); !ok || !there {
			t.Errorf("capability %s: %v", name, f)
		}
	}
	for name, want := range map[string]string{"product": "RabbitMQ", "version": "3.13.7", "broker": "Leveret", "broker_version": "9.8.7"} {
		if v, ok := start.ServerProperties.Get(name); !ok || v.Tag != 'S' || string(v.Value) != want {
			t.Errorf("%s is %q, want %q", name, v.Value, want)
		}
	}
}

func TestLogins(t *testing.T) {
	amqPlain := wire.AppendTableString(wire.AppendTableString(nil, "LOGIN", "guest"), "PASSWORD", "guest")
	cases := []struct {
		name  string
		start wire.ConnectionStartOk
		code  wire.Code // 0: let in
		drop  bool      // the socket is closed without a word
	}{
		{"PLAIN", wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest")}, 0, false},
		{"AMQPLAIN", wire.ConnectionStartOk{Mechanism: "AMQPLAIN", Response: amqPlain}, 0, false},
		{"wrong password", wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00no"), ClientProperties: capabilities()}, wire.AccessRefused, false},
		{"wrong password, old client", wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00no")}, 0, true},
		{"malformed PLAIN", wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("guest"), ClientProperties: capabilities()}, wire.AccessRefused, false},
		{"malformed AMQPLAIN", wire.ConnectionStartOk{Mechanism: "AMQPLAIN", Response: []byte{9}, ClientProperties: capabilities()}, wire.AccessRefused, false},
		{"unknown mechanism", wire.ConnectionStartOk{Mechanism: "SCRAM", ClientProperties: capabilities()}, wire.CommandInvalid, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				r := newRig(t, rigOptions{})
				p := r.peer(r.pipe())
				p.raw([]byte(wire.ProtocolHeader))
				p.expect(0, wire.IDConnectionStart)
				p.send(0, &c.start)
				switch {
				case c.drop:
					p.closed()
				case c.code == 0:
					p.expect(0, wire.IDConnectionTune)
				default:
					p.refused(c.code)
				}
				p.nc.Close()
			})
		})
	}
}

// refused reads a connection.close with the code, answers it, and sees the socket closed.
func (p *peer) refused(code wire.Code) *wire.ConnectionClose {
	p.t.Helper()
	m := p.expect(0, wire.IDConnectionClose).method.(*wire.ConnectionClose)
	if m.ReplyCode != code || !strings.HasPrefix(m.ReplyText, code.String()+" - ") {
		p.t.Errorf("closed with %d %q, want %d", m.ReplyCode, m.ReplyText, code)
	}
	p.send(0, &wire.ConnectionCloseOk{})
	p.closed()
	return m
}

func TestTuneIsHeldToWhatWasOffered(t *testing.T) {
	r := newRig(t, rigOptions{server: func(o *Options) { o.ChannelMax = 100 }})
	good := wire.ConnectionTuneOk{ChannelMax: 100, FrameMax: 131072}
	cases := []struct {
		name string
		edit func(*wire.ConnectionTuneOk)
		ok   bool
	}{
		{"as offered", func(*wire.ConnectionTuneOk) {}, true},
		{"smallest frames", func(m *wire.ConnectionTuneOk) { m.FrameMax = 4096 }, true},
		{"a heartbeat of its own", func(m *wire.ConnectionTuneOk) { m.Heartbeat = 600 }, true},
		{"unlimited channels", func(m *wire.ConnectionTuneOk) { m.ChannelMax = 0 }, false},
		{"too many channels", func(m *wire.ConnectionTuneOk) { m.ChannelMax = 101 }, false},
		{"unlimited frames", func(m *wire.ConnectionTuneOk) { m.FrameMax = 0 }, false},
		{"too large frames", func(m *wire.ConnectionTuneOk) { m.FrameMax = 131073 }, false},
		{"too small frames", func(m *wire.ConnectionTuneOk) { m.FrameMax = 4095 }, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := r.peer(r.dial())
			p.t = t
			p.login()
			if offer := p.expect(0, wire.IDConnectionTune).method.(*wire.ConnectionTune); offer.ChannelMax != 100 || offer.FrameMax != 131072 {
				t.Fatalf("%+v", offer)
			}
			tune := good
			c.edit(&tune)
			p.send(0, &tune)
			if !c.ok {
				p.refused(wire.NotAllowed)
				return
			}
			p.call(0, &wire.ConnectionOpen{VirtualHost: "/"}, wire.IDConnectionOpenOk)
		})
	}
}

func TestUnknownVirtualHostIsRefused(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.peer(r.dial())
	p.login()
	p.expect(0, wire.IDConnectionTune)
	p.send(0, &wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 131072}, &wire.ConnectionOpen{VirtualHost: "nowhere"})
	if m := p.refused(wire.NotAllowed); m.ReplyText != "NOT_ALLOWED - vhost nowhere not found" {
		t.Error(m.ReplyText)
	}
}

func TestHandshakeRefusesWhatIsOutOfTurn(t *testing.T) {
	cases := []struct {
		name  string
		bytes []byte
		code  wire.Code
	}{
		{"another method", wire.AppendMethod(nil, 0, &wire.ConnectionTuneOk{}), wire.CommandInvalid},
		{"unknown method", wire.AppendFrame(nil, wire.FrameMethod, 0, []byte{0, 10, 0, 99}), wire.CommandInvalid},
		{"malformed arguments", wire.AppendFrame(nil, wire.FrameMethod, 0, []byte{0, 10, 0, 11, 0xff}), wire.SyntaxError},
		{"a channel", wire.AppendMethod(nil, 1, &wire.ChannelOpen{}), wire.UnexpectedFrame},
		{"garbage", []byte("GET / HTTP/1.1\r\n"), wire.FrameError},
		{"a frame of 8 KiB and one byte", []byte{1, 0, 0, 0, 0, 0x1f, 0xf9}, wire.FrameError},
		{"no frame end", append(bytes.Repeat([]byte{0}, 0), 8, 0, 0, 0, 0, 0, 0, 0), wire.FrameError},
	}
	r := newRig(t, rigOptions{})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := r.peer(r.dial())
			p.t = t
			p.raw([]byte(wire.ProtocolHeader))
			p.expect(0, wire.IDConnectionStart)
			p.raw(c.bytes)
			p.refused(c.code)
		})
	}
}

func TestHandshakeHasADeadline(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		for _, sent := range []string{"", "AMQP", wire.ProtocolHeader} {
			nc := r.pipe()
			begun := time.Now()
			io.WriteString(nc, sent)
			io.Copy(io.Discard, nc)
			if took := time.Since(begun); took < 9*time.Second || took > 13*time.Second {
				t.Errorf("after %q the connection was closed in %v", sent, took)
			}
			nc.Close()
		}
	})
}

// A login may take as long as its check and its delay; that is not held against the client.
func TestALoginThatTakesLongIsAnsweredAfterTheHandshakesTime(t *testing.T) {
	wrong := &wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00no"), ClientProperties: capabilities()}
	right := &wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest")}
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		begin := func() *peer {
			p := r.peer(r.pipe())
			p.raw([]byte(wire.ProtocolHeader))
			p.expect(0, wire.IDConnectionStart)
			return p
		}
		for range 6 { // the next refusal is as late as any
			p := begin()
			p.send(0, wrong)
			p.refused(wire.AccessRefused)
			p.nc.Close()
		}
		p, begun := begin(), time.Now()
		time.Sleep(9 * time.Second)
		p.send(0, wrong)
		p.refused(wire.AccessRefused)
		if took := time.Since(begun); took != 14*time.Second {
			t.Errorf("the refusal came after %v", took)
		}
		p.nc.Close()

		p = begin()
		time.Sleep(9 * time.Second)
		p.send(0, right)
		p.expect(0, wire.IDConnectionTune)
		time.Sleep(9 * time.Second)
		p.send(0, &wire.ConnectionTuneOk{ChannelMax: 10, FrameMax: 8192})
		p.send(0, &wire.ConnectionOpen{VirtualHost: "/"})
		p.expect(0, wire.IDConnectionOpenOk)
		p.nc.Close()
	})
}

func TestHeartbeatsAreSentAndWaitedFor(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{server: func(o *Options) { o.Heartbeat = 10 * time.Second }})
		p := r.peer(r.pipe())
		p.login()
		if offer := p.expect(0, wire.IDConnectionTune).method.(*wire.ConnectionTune); offer.Heartbeat != 10 {
			t.Errorf("offered %d s", offer.Heartbeat)
		}
		p.send(0, &wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 131072, Heartbeat: 4})
		p.call(0, &wire.ConnectionOpen{VirtualHost: "/"}, wire.IDConnectionOpenOk)
		begun := time.Now()
		beats := 0
		for {
			if time.Since(begun) < time.Minute {
				p.raw(wire.AppendHeartbeat(nil))
			}
			f, err := p.frame()
			if err != nil {
				break
			}
			if f.Type == wire.FrameHeartbeat {
				beats++
			}
		}
		took := time.Since(begun)
		if took < 58*time.Second+8*time.Second || took > 60*time.Second+12*time.Second {
			t.Errorf("closed %v after the beginning, want two to three heartbeats after the last sign of life at 1 min", took)
		}
		if beats < 30 {
			t.Errorf("%d heartbeats from the server in %v", beats, took)
		}
		p.nc.Close()
	})
}

func TestADiskThatStallsIsNotHeldAgainstTheClient(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var stall atomic.Bool
		disk := fs.Failing(fs.NewMem(1), func(op fs.Op, _ string) error {
			if op == fs.OpAllocate && stall.Swap(false) {
				time.Sleep(15 * time.Second)
			}
			return nil
		})
		r := newRig(t, rigOptions{fs: disk, server: func(o *Options) { o.Heartbeat = 10 * time.Second }})
		p := r.handshakeOver(r.pipe(), &wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 131072, Heartbeat: 4})
		p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
		p.call(1, &wire.QueueDeclare{Queue: "q", Durable: true}, wire.IDQueueDeclareOk)
		stall.Store(true)
		p.publish(1, text("q", "slow"))
		var beating sync.WaitGroup
		beating.Go(func() { // as a client does, whatever the server is busy with
			for {
				p.nc.SetWriteDeadline(time.Now().Add(time.Minute))
				if _, err := p.nc.Write(wire.AppendHeartbeat(nil)); err != nil {
					return
				}
				time.Sleep(2 * time.Second)
			}
		})
		time.Sleep(20 * time.Second)
		if stall.Load() {
			t.Fatal("nothing stalled")
		}
		p.send(1, &wire.BasicGet{Queue: "q", NoAck: true})
		if m := p.expect(1, wire.IDBasicGetOk); string(m.body) != "slow" {
			t.Errorf("got %q", m.body)
		}
		p.nc.Close()
		beating.Wait()
	})
}

// TestALoginHasRoomFor8KiB, as on RabbitMQ: that is what may come before frame_max is agreed on.
func TestALoginHasRoomFor8KiB(t *testing.T) {
	r := newRig(t, rigOptions{})
	for _, c := range []struct {
		frame int
		in    bool
	}{{8 << 10, true}, {8<<10 + 1, false}} {
		p := r.peer(r.dial())
		p.raw([]byte(wire.ProtocolHeader))
		p.expect(0, wire.IDConnectionStart)
		start := &wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest"), Locale: "en_US"}
		more := c.frame - len(wire.AppendMethod(nil, 0, start)) - len(wire.AppendTableString(nil, "token", ""))
		start.ClientProperties = wire.AppendTableString(nil, "token", strings.Repeat("x", more))
		p.send(0, start)
		if c.in {
			p.expect(0, wire.IDConnectionTune)
		} else {
			p.refused(wire.FrameError)
		}
	}
}
