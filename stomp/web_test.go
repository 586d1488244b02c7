package stomp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/deliver"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/websocket"
)

// socket is the client's side of a WebSocket, as a stream; what it is sent is noted.
type socket struct {
	net.Conn
	op    ws.OpCode // of what is written
	piece int       // bytes of a frame that is written; 0: all
	rest  []byte
	got   []ws.Frame // data and control
	code  ws.StatusCode
}

// upgraded does the handshake.
func upgraded(t testing.TB, nc net.Conn) *socket {
	t.Helper()
	d := ws.Dialer{Protocols: []string{"v10.stomp", "v12.stomp", "v11.stomp"}}
	_, hs, err := d.Upgrade(nc, &url.URL{Scheme: "ws", Host: "h", Path: "/ws"})
	if err != nil || hs.Protocol != "v12.stomp" {
		t.Fatal(hs, err)
	}
	return &socket{Conn: nc, op: ws.OpText}
}

func (s *socket) Write(b []byte) (int, error) {
	var out bytes.Buffer
	op, size := s.op, len(b)
	if s.piece > 0 {
		size = s.piece
	}
	for rest := b; len(rest) > 0; op = ws.OpContinuation {
		n := min(size, len(rest))
		_ = ws.WriteFrame(&out, ws.MaskFrame(ws.NewFrame(op, n == len(rest), bytes.Clone(rest[:n]))))
		rest = rest[n:]
	}
	_, err := s.Conn.Write(out.Bytes())
	return len(b), err
}

func (s *socket) Read(b []byte) (int, error) {
	for len(s.rest) == 0 {
		h, err := ws.ReadHeader(s.Conn)
		if err == nil {
			err = ws.CheckHeader(h, ws.StateClientSide)
		}
		if err != nil {
			return 0, err
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(s.Conn, payload); err != nil {
			return 0, err
		}
		s.got = append(s.got, ws.Frame{Header: h, Payload: payload})
		switch {
		case h.OpCode == ws.OpClose:
			s.code, _ = ws.ParseCloseFrameData(payload)
		case h.OpCode.IsData():
			s.rest = payload
		}
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// raw sends frames as they are.
func (s *socket) raw(t testing.TB, list ...ws.Frame) {
	t.Helper()
	var out bytes.Buffer
	for _, f := range list {
		_ = ws.WriteFrame(&out, f)
	}
	if _, err := s.Conn.Write(out.Bytes()); err != nil {
		t.Fatal(err)
	}
}

func webRig(t testing.TB, o rigOptions) *rig {
	r := newRig(t, o)
	r.web = true
	return r
}

func TestOverWebSocketAFrameIsAMessage(t *testing.T) {
	r := webRig(t, rigOptions{})
	p := r.connect("1.2")
	s := p.nc.(*socket)
	p.call("SUBSCRIBE\nid:1\ndestination:/queue/q\nack:client-individual")
	text, binary := "grüße\x00 1", "\xff\x00\n2"
	bodies := []string{text, binary, "", strings.Repeat("ä", 20<<10), strings.Repeat("x", deliver.InPlaceBytes) + "\xfe", strings.Repeat("y", 300<<10)}
	var sends []string
	for _, b := range bodies {
		sends = append(sends, fmt.Sprintf("SEND\ndestination:/queue/q\ncontent-length:%d\n\n%s", len(b), b))
	}
	s.op = ws.OpBinary
	s.got = nil
	p.send(sends...)
	for i, want := range bodies {
		g := p.read()
		if g.command != "MESSAGE" || g.body != want {
			t.Fatalf("%d: %.100q", i, g)
		}
		if len(s.rest) > 0 || len(s.got) != i+1 {
			t.Errorf("%d: %d messages, and %q of another frame", i, len(s.got), s.rest)
		}
		if op := s.got[i].Header.OpCode; (op == ws.OpText) != (want != binary && !strings.Contains(want, "\xfe")) {
			t.Errorf("%d is of kind %x", i, op)
		}
	}
	list := r.broker.Connections()
	if c := list[len(list)-1]; c.Protocol != "web-stomp" || c.Name != "" || c.User != "guest" || c.Traffic.FramesOut == 0 {
		t.Errorf("%+v", c)
	}
	if n := r.broker.ConnectionCounts(); n["web-stomp"] != 1 || n["stomp"] != 0 {
		t.Error(n)
	}
	p.send("DISCONNECT\nreceipt:bye\n\n")
	p.expect("RECEIPT receipt-id:bye")
	if g, ok := p.next(); ok || s.code != ws.StatusNormalClosure {
		t.Error(g, s.code)
	}
}

// A conversation goes as over TCP, however its bytes are cut into frames, with empty messages and pings between.
func TestOverWebSocketPiecesAreOfAnySize(t *testing.T) {
	for _, piece := range []int{1, 2, 7, 1000} {
		r := webRig(t, rigOptions{})
		p := r.open()
		s := p.nc.(*socket)
		s.piece = piece
		p.send("CONNECT\naccept-version:1.1\nlogin:guest\npasscode:guest\n\n")
		p.expect("CONNECTED version:1.1 heart-beat:0,0")
		s.raw(t, ws.MaskFrame(ws.NewTextFrame(nil)), ws.MaskFrame(ws.NewFrame(ws.OpBinary, false, nil)), ws.MaskFrame(ws.NewPingFrame([]byte("now"))), ws.MaskFrame(ws.NewFrame(ws.OpContinuation, true, nil)))
		p.call("SUBSCRIBE\nid:1\ndestination:/topic/t")
		s.op = ws.OpBinary
		p.send("SEND\ndestination:/topic/t\ncontent-length:3\n\na\x00b", "SEND\ndestination:/topic/t\n\n"+strings.Repeat("c", 3000))
		if m := p.messages(2); m[0].body != "a\x00b" || len(m[1].body) != 3000 {
			t.Errorf("by %d: %q", piece, m)
		}
		pongs := 0
		for _, f := range s.got {
			if f.Header.OpCode == ws.OpPong && string(f.Payload) == "now" {
				pongs++
			}
		}
		if pongs != 1 {
			t.Errorf("%d pongs", pongs)
		}
		s.Close()
		r.stop()
	}
}

func TestOverWebSocketARefusedSignInCloses(t *testing.T) {
	r := webRig(t, rigOptions{})
	p := r.open()
	p.nc.(*socket).raw(t, ws.MaskFrame(ws.NewPingFrame([]byte("early")))) // answered before the client has signed in
	p.send("CONNECT\nlogin:guest\npasscode:wrong\n\n")
	p.ended("Bad CONNECT", "Access refused")
	s := p.nc.(*socket)
	if s.code != ws.StatusNormalClosure || string(s.got[0].Payload) != "early" {
		t.Error(s.code, s.got)
	}
	p = r.connect("1.2")
	p.send("SEND\n\n")
	p.ended("Missing destination", "must include")
	r.server.CloseAll("the broker is stopping")
}

func TestOverWebSocketHeartBeatsAreMessagesOfTheirOwn(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := webRig(t, rigOptions{})
		r.piped = true
		p := r.open()
		s := p.nc.(*socket)
		p.send("CONNECT\naccept-version:1.2\nheart-beat:100,100\nlogin:guest\npasscode:guest\n\n")
		p.expect("CONNECTED version:1.2 heart-beat:100,100")
		s.got, s.rest = nil, nil
		begun := time.Now()
		if _, err := io.Copy(io.Discard, p.nc); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if waited := time.Since(begun); waited < leastSilence {
			t.Errorf("given up after %v", waited)
		}
		if len(s.got) < 5 || s.got[0].Header.OpCode != ws.OpText || string(s.got[0].Payload) != "\n" || !strings.Contains(r.log.String(), "no sign of life") {
			t.Errorf("%v, log %s", s.got, r.log)
		}
	})
}

// A client that closes the WebSocket is answered as that has it, and what it held comes again.
func TestAClosedWebSocketIsAnsweredAndWhatItHeldComesAgain(t *testing.T) {
	r := webRig(t, rigOptions{})
	p := r.connect("1.2")
	p.call("SUBSCRIBE\nid:1\ndestination:/queue/q\nack:client")
	p.send("SEND\ndestination:/queue/q\n\nx")
	p.messages(1)
	s := p.nc.(*socket)
	s.raw(t, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusGoingAway, "the page is left"))))
	if g, ok := p.next(); ok || s.code != ws.StatusGoingAway {
		t.Error(g, s.code)
	}
	q := r.connect("1.2")
	q.call("SUBSCRIBE\nid:1\ndestination:/queue/q")
	if m := q.messages(1); m[0].get("redelivered") != "true" {
		t.Error(m)
	}
}

func TestWhoBreaksTheRulesOfWebSocketIsTold(t *testing.T) {
	r := webRig(t, rigOptions{})
	other := r.connect("1.2")
	for name, c := range map[string]struct {
		frames []ws.Frame
		code   ws.StatusCode
		log    string
	}{
		"no mask":       {[]ws.Frame{ws.NewTextFrame([]byte("SEND\n"))}, ws.StatusProtocolError, "must be masked"},
		"not UTF-8":     {[]ws.Frame{ws.MaskFrame(ws.NewTextFrame([]byte("SEND\na:\xff")))}, ws.StatusInvalidFramePayloadData, "not UTF-8"},
		"compressed":    {[]ws.Frame{{Header: ws.Header{Fin: true, Rsv: ws.Rsv(true, false, false), OpCode: ws.OpText, Masked: true}}}, ws.StatusProtocolError, "rsv bits"},
		"long ping":     {[]ws.Frame{ws.MaskFrame(ws.NewPingFrame(make([]byte, 126)))}, ws.StatusProtocolError, "payload limit"},
		"no beginning":  {[]ws.Frame{ws.MaskFrame(ws.NewFrame(ws.OpContinuation, true, nil))}, ws.StatusProtocolError, "continuation"},
		"unknown frame": {[]ws.Frame{ws.MaskFrame(ws.NewFrame(5, true, nil))}, ws.StatusProtocolError, "reserved op code"},
	} {
		for _, signedIn := range []bool{true, false} {
			p := r.open()
			if signedIn {
				p = r.connect("1.2")
			}
			s := p.nc.(*socket)
			s.raw(t, c.frames...)
			if g, ok := p.next(); ok || s.code != c.code {
				t.Errorf("%s: %v %d", name, g, s.code)
			}
			if !strings.Contains(r.log.String(), c.log) {
				t.Errorf("%s: %s", name, r.log)
			}
		}
	}
	other.call("BEGIN\ntransaction:t")
}

// Pings are answered as they come, or of many the last one, when the client does not read: nothing piles up.
func TestAFloodOfPingsPilesNothingUp(t *testing.T) {
	r := webRig(t, rigOptions{})
	p := r.connect("1.2")
	s := p.nc.(*socket)
	ping := bytes.NewBuffer(nil)
	for range 1000 {
		_ = ws.WriteFrame(ping, ws.MaskFrame(ws.NewPingFrame(make([]byte, 125))))
	}
	for range 300 { // 38 MB, of which no answer is read
		if _, err := s.Conn.Write(ping.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	s.raw(t, ws.MaskFrame(ws.NewPingFrame([]byte("last"))))
	p.call("BEGIN\ntransaction:t")
	p.call("ABORT\ntransaction:t") // behind which the last pong has come
	n, last := 0, ""
	for _, f := range s.got {
		if f.Header.OpCode == ws.OpPong {
			n, last = n+1, string(f.Payload)
		}
	}
	if n > 200_000 || last != "last" {
		t.Errorf("%d pongs, the last %q", n, last)
	}
}

// Half a handshake, an endless one and what is none at all end with an answer or in time, and with a line in the log.
func TestHandshakesThatAreNoneEnd(t *testing.T) {
	at := func(timeout time.Duration) *rig {
		r := newRig(t, rigOptions{server: func(o *Options) {
			o.ConnectTimeout = timeout
			o.Origins = []string{"https://a.example"}
		}})
		r.web = true
		return r
	}
	r, short := at(patience), at(100*time.Millisecond)
	good := "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for name, c := range map[string]struct{ in, answer, log string }{
		"nothing":         {"", "", ""},
		"half":            {good, "", ""},
		"endless":         {good + strings.Repeat("X-A: "+strings.Repeat("x", 1000)+"\r\n", 20), "HTTP/1.1 431 ", "longer than 16384 bytes"},
		"an endless line": {good + "X-A: " + strings.Repeat("x", 20_000), "HTTP/1.1 431 ", "longer than 16384 bytes"},
		"no upgrade":      {"GET /ws HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400 ", "Upgrade"},
		"another path":    {strings.Replace(good, "/ws", "/", 1) + "\r\n", "HTTP/1.1 404 ", "WebSocket is at /ws"},
		"an origin":       {good + "Origin: https://b.example\r\n\r\n", "HTTP/1.1 403 ", "may not connect"},
		"STOMP itself":    {"CONNECT\nlogin:guest\npasscode:guest\n\n\x00", "HTTP/1.1 400 ", "STOMP without WebSocket has a port of its own"},
		"TLS":             {"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "", "speaks TLS"},
		"noise":           {strings.Repeat("\n", 5000), "HTTP/1.1 400 ", ""},
	} {
		r := r
		if c.answer+c.log == "" {
			r = short
		}
		nc := r.dial()
		_ = nc.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(nc, c.in); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(nc)
		if !strings.HasPrefix(string(answer), c.answer) || c.answer == "" && len(answer) > 0 || !strings.Contains(r.log.String(), c.log) {
			t.Errorf("%s: %q %v, log: %s", name, answer, err, r.log)
		}
		nc.Close()
	}
	for _, origin := range []string{"", "https://A.example"} {
		d := ws.Dialer{}
		if origin != "" {
			d.Header = ws.HandshakeHeaderHTTP(http.Header{"Origin": {origin}})
		}
		nc, _, hs, err := d.Dial(context.Background(), "ws://"+r.socket.Addr().String()+"/ws")
		if err != nil || hs.Protocol != "" {
			t.Fatal(hs, err)
		}
		nc.Close()
	}
}

// What a client sends behind its request, without waiting for the answer, is not lost.
func TestBytesBehindTheRequestAreOfTheStream(t *testing.T) {
	r := webRig(t, rigOptions{})
	nc := r.dial()
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	out := bytes.NewBufferString("GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	_ = ws.WriteFrame(out, ws.MaskFrame(ws.NewTextFrame([]byte("CONNECT\nlogin:guest\npasscode:guest\n\n\x00"))))
	if _, err := nc.Write(out.Bytes()); err != nil {
		t.Fatal(err)
	}
	var head []byte
	for one := make([]byte, 1); websocket.RequestBytes(head, 0) == 0; head = append(head, one...) {
		if _, err := nc.Read(one); err != nil {
			t.Fatal(err)
		}
	}
	p := &peer{t: t, nc: &socket{Conn: nc}}
	p.expect("CONNECTED version:1.0 heart-beat:0,0")
}

// certified is a connection whose client has shown a certificate, as all connections of its browser do.
type certified struct{ net.Conn }

func (certified) ConnectionState() tls.ConnectionState {
	cert := &x509.Certificate{}
	return tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
}

// What a browser reaches or shows by itself signs no page of another site in: a user of this machine only, a certificate.
func TestAPageOfAnotherSiteNeedsAPasswordOfItsOwn(t *testing.T) {
	users := auth.NewUsers()
	for _, u := range []auth.User{{Name: "guest", LoopbackOnly: true}, {Name: "ann"}} {
		if err := users.PutPassword(u, u.Name); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		listed, origin, frame string
		want, log             string
	}{
		{"", "", "CONNECT\nlogin:guest\npasscode:guest", "CONNECTED", ""},
		{"", "http://localhost:3000", "CONNECT\nlogin:guest\npasscode:guest", "CONNECTED", ""},
		{"", "https://evil.example", "CONNECT\nlogin:guest\npasscode:guest", "ERROR", "not by way of a page of another site"},
		{"", "https://evil.example", "CONNECT\nlogin:ann\npasscode:ann", "CONNECTED", ""},
		{"https://app.example", "https://app.example", "CONNECT\nlogin:guest\npasscode:guest", "CONNECTED", ""},
		{"", "", "CONNECT", "CONNECTED", ""},
		{"", "https://evil.example", "CONNECT", "ERROR", "--stomp-ws-origins"},
		{"https://app.example", "https://app.example", "CONNECT", "CONNECTED", ""},
	} {
		r := newRig(t, rigOptions{server: func(o *Options) {
			o.Users = users
			o.CertifiedName = func(*x509.Certificate) (string, error) { return "ann", nil }
			if c.listed != "" {
				o.Origins = []string{c.listed}
			}
		}})
		client, server := net.Pipe()
		r.served.Go(func() { r.server.HandleWeb(certified{server}) })
		d := ws.Dialer{}
		if c.origin != "" {
			d.Header = ws.HandshakeHeaderHTTP(http.Header{"Origin": {c.origin}})
		}
		_ = client.SetDeadline(time.Now().Add(patience))
		if _, _, err := d.Upgrade(client, &url.URL{Scheme: "ws", Host: "h", Path: "/ws"}); err != nil {
			t.Fatal(c, err)
		}
		p := &peer{t: t, nc: &socket{Conn: client, op: ws.OpText}}
		p.send(c.frame + "\n\n")
		if g := p.read(); g.command != c.want || !strings.Contains(r.log.String(), c.log) {
			t.Errorf("%+v: %s, log %s", c, g, r.log)
		}
		client.Close()
	}
}

// Somebody who sends what nobody need answer, and never anything else, is sent away like others.
func TestAFloodOfControlFramesKeepsNobodyFromClosing(t *testing.T) {
	r := webRig(t, rigOptions{})
	p := r.connect("1.2")
	s := p.nc.(*socket)
	flood := bytes.NewBuffer(nil)
	for range 500 {
		_ = ws.WriteFrame(flood, ws.MaskFrame(ws.NewFrame(ws.OpPong, true, nil)))
	}
	flooding := make(chan error, 1)
	go func() {
		for {
			if _, err := s.Conn.Write(flood.Bytes()); err != nil {
				flooding <- err
				return
			}
		}
	}()
	r.server.webClients.Each(func(c broker.Client) { c.Evict("enough") })
	p.ended("connection_forced", "enough")
	s.Close()
	<-flooding
}

// Thousands that begin and do not go on take what they may send, and no more.
func TestWhoHasNotSignedInTakesLittle(t *testing.T) {
	const n, most = 300, 32 << 10
	good := "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for name, c := range map[string]struct {
		web bool
		in  string
	}{
		"handshake":     {true, good + "X-A: " + strings.Repeat("x", websocket.MaxRequestBytes-len(good)-6)},
		"CONNECT":       {false, "CONNECT\na:" + strings.Repeat("x", maxEarlyHeadBytes-20)},
		"CONNECT, body": {false, "CONNECT\na:" + strings.Repeat("x", maxEarlyHeadBytes-20) + "\n\n" + strings.Repeat("x", maxEarlyBodyBytes)},
	} {
		r := newRig(t, rigOptions{})
		r.web = c.web
		inUse := func() int64 {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapInuse + m.StackInuse)
		}
		before := inUse()
		var list []net.Conn
		for range n {
			nc := r.dial()
			if _, err := io.WriteString(nc, c.in); err != nil {
				t.Fatal(err)
			}
			list = append(list, nc)
		}
		read := func() (sum uint64) {
			for _, one := range r.broker.Connections() {
				sum += one.Traffic.BytesIn
			}
			return sum
		}
		for end := time.Now().Add(patience); read() < uint64(n*len(c.in)) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		each := (inUse() - before) / n
		if got := read(); got != uint64(n*len(c.in)) || each > most {
			t.Errorf("%s: %d bytes each, %d read of %d", name, each, got, n*len(c.in))
		}
		t.Logf("%s: %d bytes each", name, each)
		for _, nc := range list {
			nc.Close()
		}
		r.stop()
	}
}

func TestAnIdleConnectionAllocatesLittle(t *testing.T) {
	const n, most = 1000, 24 << 10
	for name, web := range map[string]bool{"TCP": false, "WebSocket": true} {
		r := newRig(t, rigOptions{})
		r.web = web
		r.connect("1.2")
		used := func() int64 {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapInuse + m.StackInuse)
		}
		before := used()
		for i := range n {
			p := r.connect("1.2")
			p.in = nil
			p.call(fmt.Sprintf("SUBSCRIBE\nid:1\ndestination:/queue/%d", i%10))
			p.in = nil
		}
		if each := (used() - before) / n; each > most {
			t.Errorf("%s: %d bytes each", name, each)
		} else {
			t.Logf("%s: %d bytes each", name, each)
		}
		r.stop()
	}
}
