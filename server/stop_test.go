package server

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
)

// hostile is what a client does that will not go when it is asked to. It returns when its connection is cut.
var hostile = map[string]struct {
	listener string
	act      func(nc net.Conn)
}{
	"says nothing":           {"amqp", func(nc net.Conn) { wait(nc) }},
	"stops in its handshake": {"amqp", func(nc net.Conn) { io.WriteString(nc, "AMQP\x00\x00"); wait(nc) }},
	"guesses passwords":      {"amqp", func(nc net.Conn) { login(nc, "wrong"); wait(nc) }},
	"does not answer connection.close": {"amqp", func(nc net.Conn) {
		opened(nc)
		wait(nc)
	}},
	"stops within a body": {"amqp", func(nc net.Conn) {
		opened(nc)
		b := wire.AppendMethod(nil, 1, &wire.BasicPublish{RoutingKey: "q"})
		b = wire.AppendContentHeader(b, 1, 100<<20, nil)
		nc.Write(wire.AppendFrame(b, wire.FrameBody, 1, make([]byte, 100_000)))
		wait(nc)
	}},
	"does not close after close-ok": {"amqp", func(nc net.Conn) {
		opened(nc)
		nc.Write(wire.AppendMethod(nil, 0, &wire.ConnectionClose{}))
		wait(nc)
	}},
	"sends for ever and never reads": {"amqp", func(nc net.Conn) {
		opened(nc)
		// Each is returned as unroutable, so that answers pile up.
		b := wire.AppendPublish(nil, &wire.Publish{Channel: 1, Mandatory: true, Key: []byte("none"), Body: make([]byte, 10_000)}, 131064)
		for {
			if _, err := nc.Write(b); err != nil {
				return
			}
		}
	}},
	"a Kafka client that says nothing":     {"kafka", func(nc net.Conn) { wait(nc) }},
	"a Kafka client that stops in a frame": {"kafka", func(nc net.Conn) { nc.Write([]byte{0, 0, 1, 0, 0, 3, 0, 9}); wait(nc) }},
	"a Kafka client that sends rubbish for ever": {"kafka", func(nc net.Conn) {
		for {
			if _, err := nc.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}},
	"a Kafka client that never reads": {"kafka", func(nc net.Conn) {
		request := []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff} // ApiVersions
		for {
			if _, err := nc.Write(request); err != nil {
				return
			}
		}
	}},
}

// wait stays until the connection is cut, and reads nothing that would have it end in order.
func wait(nc net.Conn) {
	for {
		if _, err := nc.Read(make([]byte, 1)); err != nil {
			break
		}
	}
	for { // the end of the stream is not the end of the connection
		if _, err := nc.Write([]byte{0}); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func login(nc net.Conn, password string) {
	io.WriteString(nc, wire.ProtocolHeader)
	nc.Write(wire.AppendMethod(nil, 0, &wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00" + password)}))
}

func opened(nc net.Conn) {
	login(nc, "guest")
	b := wire.AppendMethod(nil, 0, &wire.ConnectionTuneOk{ChannelMax: 10, FrameMax: 131072})
	b = wire.AppendMethod(b, 0, &wire.ConnectionOpen{VirtualHost: "/"})
	nc.Write(wire.AppendMethod(b, 1, &wire.ChannelOpen{}))
}

func TestAStopEndsWithinItsGraceWhateverClientsDo(t *testing.T) {
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	var clients sync.WaitGroup
	begin := make(chan struct{}) // when all are there: some of them leave others no time
	for name, c := range hostile {
		for range 4 {
			nc, err := net.Dial("tcp", s.Addr(c.listener))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			clients.Go(func() {
				defer nc.Close()
				<-begin
				c.act(nc)
			})
		}
	}
	close(begin)
	time.Sleep(300 * time.Millisecond) // they are all in the middle of it
	// Of which the broker and its store get a quarter: on a busy machine that may be too little, and they go on.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil && !strings.Contains(err.Error(), "did not end in time") {
		t.Error(err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 25*time.Second) // less than what gives such clients up by itself
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	ended := make(chan struct{})
	go func() { clients.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(longEnough):
		t.Error("a client is still connected")
	}
}
