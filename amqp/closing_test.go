package amqp

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/internal/fakeclock"
)

// However a connection ends, a client that has frames under way can write them, and then reads our last word and, unless
// it is the one to close, the end of the stream: never a reset.
func TestTheLastWordIsReadThoughFramesAreUnderWay(t *testing.T) {
	start := func(ok *wire.ConnectionStartOk) func(*rig, *peer) {
		return func(_ *rig, p *peer) {
			p.raw([]byte(wire.ProtocolHeader))
			p.expect(0, wire.IDConnectionStart)
			p.send(0, ok)
		}
	}
	open := func(end func(*rig, *peer)) func(*rig, *peer) {
		return func(r *rig, p *peer) {
			p.login()
			p.expect(0, wire.IDConnectionTune)
			p.send(0, &wire.ConnectionTuneOk{ChannelMax: 10, FrameMax: 131072}, &wire.ConnectionOpen{VirtualHost: "/"})
			p.expect(0, wire.IDConnectionOpenOk)
			p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
			end(r, p)
		}
	}
	cases := []struct {
		name string
		end  func(*rig, *peer)
		last wire.MethodID // 0: the protocol header
		ours bool          // we end the stream
	}{
		{"protocol header refused", func(_ *rig, p *peer) { p.raw([]byte("GET / HTTP/1.1\r\n")) }, 0, true},
		{"unknown mechanism", start(&wire.ConnectionStartOk{Mechanism: "NONE", ClientProperties: capabilities()}), wire.IDConnectionClose, true},
		{"login refused", start(&wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00no"), ClientProperties: capabilities()}), wire.IDConnectionClose, true},
		{"close-ok", open(func(_ *rig, p *peer) { p.send(0, &wire.ConnectionClose{}) }), wire.IDConnectionCloseOk, false},
		{"connection error", open(func(_ *rig, p *peer) { p.send(1, &wire.BasicQos{PrefetchSize: 1}) }), wire.IDConnectionClose, true},
		{"frame error", open(func(_ *rig, p *peer) { p.raw([]byte{1, 0, 1, 0, 0, 0, 4, 0, 20, 0, 40, 'X'}) }), wire.IDConnectionClose, true},
		{"shutdown", open(func(r *rig, _ *peer) { r.server.CloseAll("maintenance") }), wire.IDConnectionClose, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, rigOptions{})
			p := r.peer(r.dial())
			p.t = t
			c.end(r, p)
			burst := wire.AppendPublish(nil, &wire.Publish{Channel: 1, Key: []byte("nowhere"), Body: make([]byte, 1000)}, p.max)
			for range 2000 {
				p.raw(burst)
			}
			if c.last == 0 {
				if got, err := io.ReadAll(p.nc); err != nil || string(got) != wire.ProtocolHeader {
					t.Errorf("got %q, %v", got, err)
				}
				return
			}
			p.expect(0, c.last)
			if !c.ours {
				p.nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if n, err := p.nc.Read(make([]byte, 1)); n > 0 || errors.Is(err, io.EOF) {
					t.Errorf("then %d bytes and %v: the client is to close", n, err)
				}
				return
			}
			p.send(0, &wire.ConnectionCloseOk{})
			if _, err := p.frame(); !errors.Is(err, io.EOF) {
				t.Errorf("then %v, want the end of the stream", err)
			}
		})
	}
}

func TestAClientMayTakeAWhileToCloseAfterCloseOk(t *testing.T) {
	for _, closes := range []time.Duration{3 * time.Second, time.Hour} {
		fakeclock.Test(t, func(t *testing.T) {
			r := newRig(t, rigOptions{})
			p := r.handshakeOver(r.pipe(), &wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 131072})
			p.call(0, &wire.ConnectionClose{}, wire.IDConnectionCloseOk)
			begun := time.Now()
			timer := time.AfterFunc(closes, func() { p.nc.Close() })
			r.served.Wait()
			if took := time.Since(begun); took != min(closes, closeWait) {
				t.Errorf("the connection ended after %v, want %v", took, min(closes, closeWait))
			}
			timer.Stop()
			p.nc.Close()
		})
	}
}
