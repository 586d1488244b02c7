package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// source is a connection that hands out its bytes in pieces of a size.
type source struct {
	net.Conn
	in   []byte
	step int
}

func (s *source) Read(b []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), s.step)], s.in)
	s.in = s.in[n:]
	return n, nil
}

// frames are what a client sends, masked.
func frames(list ...ws.Frame) []byte {
	var b bytes.Buffer
	for _, f := range list {
		_ = ws.WriteFrame(&b, ws.MaskFrameWith(f, [4]byte{1, 2, 3, 4}))
	}
	return b.Bytes()
}

// read is all that a Conn makes of in, and what it pinged with.
func read(in []byte, step, room int) (out string, pings []string, err error) {
	c := NewConn(&source{in: in[min(len(in), 7):], step: step}, in[:min(len(in), 7)])
	c.OnPing = func(b []byte) { pings = append(pings, string(b)) }
	buf := make([]byte, room)
	var all []byte
	for {
		n, err := c.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			return string(all), pings, err
		}
	}
}

func TestMessagesAreAStreamHoweverTheyAreCut(t *testing.T) {
	long := strings.Repeat("ä€𝄞x", 7000)
	in := frames(
		ws.NewFrame(ws.OpText, false, []byte("one")), ws.NewFrame(ws.OpPing, true, []byte("p")), ws.NewFrame(ws.OpContinuation, false, nil),
		ws.NewFrame(ws.OpContinuation, true, []byte("€")[:3]), ws.NewFrame(ws.OpBinary, true, []byte{0xff, 0}), ws.NewFrame(ws.OpPong, true, []byte("unasked")),
		ws.NewFrame(ws.OpText, false, []byte("€")[:2]), ws.NewFrame(ws.OpPing, true, nil), ws.NewFrame(ws.OpContinuation, true, []byte("€")[2:]),
		ws.NewFrame(ws.OpText, true, []byte(long)), ws.NewCloseFrame(ws.NewCloseFrameBody(1001, "bye")), ws.NewTextFrame([]byte("behind the close")))
	for _, step := range []int{1, 2, 3, 5, 14, 1000, 1 << 20} {
		for _, room := range []int{1, 13, 512, 1 << 20} {
			out, pings, err := read(bytes.Clone(in), step, room)
			var closed *Closed
			if out != "one€\xff\x00€"+long || fmt.Sprintf("%q", pings) != `["p" ""]` || !errors.As(err, &closed) || closed.Code != 1001 || closed.Reason != "bye" || !errors.Is(err, io.EOF) {
				t.Fatalf("by %d into %d: %.20q %q %v", step, room, out, pings, err)
			}
		}
	}
}

func TestWhatBreaksTheRulesIsNamed(t *testing.T) {
	masked := func(b ...byte) []byte { return append(b, 0, 0, 0, 0) }
	for name, c := range map[string]struct {
		in   []byte
		code uint16
		text string
	}{
		"no mask":                       {[]byte{0x81, 1, 'x'}, 1002, "must be masked"},
		"reserved opcode":               {masked(0x83, 0x80), 1002, "reserved op code"},
		"compressed, unasked":           {masked(0xc1, 0x80), 1002, "rsv"},
		"fragmented ping":               {masked(0x09, 0x80), 1002, "not final"},
		"long ping":                     {append([]byte{0x89, 0xfe, 0, 126}, 0, 0, 0, 0), 1002, "payload limit"},
		"nothing to continue":           {masked(0x80, 0x80), 1002, "unexpected continuation"},
		"another message in the middle": {frames(ws.NewFrame(ws.OpText, false, nil), ws.NewTextFrame(nil)), 1002, "non-continuation"},
		"negative length":               {append([]byte{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, 0), 1002, "first bit"},
		"half a code":                   {frames(ws.NewCloseFrame([]byte{3})), 1002, "half a code"},
		"a code that nobody may send":   {frames(ws.NewCloseFrame(ws.NewCloseFrameBody(1005, ""))), 1002, "status code"},
		"text that is none":             {frames(ws.NewTextFrame([]byte("a\xffb"))), 1007, "UTF-8"},
		"text with half a letter":       {frames(ws.NewTextFrame([]byte("a\xe2\x82"))), 1007, "UTF-8"},
		"half a letter, then another":   {frames(ws.NewFrame(ws.OpText, false, []byte("a\xe2\x82")), ws.NewFrame(ws.OpContinuation, true, []byte("b"))), 1007, "UTF-8"},
	} {
		for _, step := range []int{1, 100} {
			_, _, err := read(bytes.Clone(c.in), step, 100)
			var bad *Violation
			if !errors.As(err, &bad) || bad.Code != c.code || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func request(lines ...string) []byte {
	return []byte(strings.Join(append(append([]string{"GET /ws HTTP/1.1", "Host: h"}, lines...), "", ""), "\r\n"))
}

func TestHandshakes(t *testing.T) {
	good := []string{"Upgrade: websocket", "Connection: keep-alive, Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
	with := func(more ...string) []byte { return request(append(good[:4:4], more...)...) }
	o := Options{Path: "/ws", Protocols: []string{"v12.stomp", "v11.stomp"}}
	from := o
	from.Origins = Origins{"https://a.example", "http://*.b.example:*"}
	for name, c := range map[string]struct {
		o      Options
		in     []byte
		status string
		has    string
		not    string
	}{
		"none offered":      {o, with(), "101", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-WebSocket-Protocol"},
		"the best of them":  {o, with("Sec-WebSocket-Protocol: v10.stomp, v11.stomp,v12.stomp"), "101", "Sec-WebSocket-Protocol: v12.stomp\r\n", "v11"},
		"none of ours":      {o, with("Sec-WebSocket-Protocol: mqtt"), "101", "", "Sec-WebSocket-Protocol"},
		"compression":       {o, with("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"), "101", "", "Extensions"},
		"any origin":        {o, with("Origin: https://x"), "101", "", "\xff"},
		"its own origin":    {from, with("Origin: HTTPS://A.example"), "101", "", "\xff"},
		"a pattern":         {from, with("Origin: http://x.b.example:81"), "101", "", "\xff"},
		"another origin":    {from, with("Origin: https://a.example.evil.example"), "403", "may not connect", "Upgrade:"},
		"a pattern's slash": {from, with("Origin: http://evil.example/.b.example:81"), "403", "", "Upgrade:"},
		"null origin":       {from, with("Origin: null"), "403", "", "Upgrade:"},
		"no origin":         {from, with(), "101", "", "\xff"},
		"with a query":      {o, bytes.Replace(with(), []byte("/ws"), []byte("/ws?a=b"), 1), "101", "", "\xff"},
		"another path":      {o, bytes.Replace(with(), []byte("/ws"), []byte("/wsx"), 1), "404", "is at /ws", "Upgrade:"},
		"plain GET":         {o, request(), "400", "Upgrade", "\xff"},
		"another method":    {o, bytes.Replace(with(), []byte("GET"), []byte("POST"), 1), "405", "", "\xff"},
		"an old version":    {o, []byte(strings.Replace(string(with()), "Version: 13", "Version: 8", 1)), "426", "Sec-WebSocket-Version: 13", "\xff"},
		"HTTP/1.0":          {o, bytes.Replace(with(), []byte("HTTP/1.1"), []byte("HTTP/1.0"), 1), "505", "", "\xff"},
		"no host":           {o, bytes.Replace(with(), []byte("Host: h\r\n"), nil, 1), "400", "Host", "\xff"},
		"no HTTP":           {o, []byte("CONNECT\nlogin:guest\n\n"), "400", "", "\xff"},
		"a broken header":   {o, with("no colon"), "400", "", "\xff"},
		"in small letters":  {from, with("origin: https://evil.example"), "403", "", "Upgrade:"},
		"two origins":       {from, with("Origin: https://a.example", "Origin: https://evil.example"), "403", "", "Upgrade:"},
		"a long cookie":     {o, with("Cookie: a=" + strings.Repeat("x", 12<<10)), "101", "", "\xff"},
		"a path of script":  {o, bytes.Replace(with(), []byte("/ws"), []byte("/<script>\xff"), 1), "404", `"/<script>\xff"`, "text/html"},
	} {
		if n := RequestBytes(c.in, 0); n != len(c.in) {
			t.Errorf("%s: the request ends at %d of %d", name, n, len(c.in))
		}
		var answer bytes.Buffer
		_, err := c.o.Accept(c.in, &answer)
		if text := answer.String(); !strings.HasPrefix(text, "HTTP/1.1 "+c.status+" ") || !strings.Contains(text, c.has) || strings.Contains(text, c.not) || (err == nil) != (c.status == "101") {
			t.Errorf("%s: %q %v", name, text, err)
		}
	}
}

// A page of another site has a browser of this machine, and the certificate that is in it, do as it likes.
func TestPagesOfOtherSitesAreForeign(t *testing.T) {
	for _, c := range []struct {
		origins Origins
		headers []string
		foreign bool
	}{
		{nil, nil, false}, // no browser
		{nil, []string{"Origin: https://evil.example"}, true},
		{nil, []string{"origin: http://h"}, true}, // of the Host that it names: which a name server of its own may have led here
		{nil, []string{"Origin: null"}, true},
		{nil, []string{"Origin: file://"}, true},
		{nil, []string{"Origin: http://localhost.evil.example"}, true},
		{nil, []string{"Origin: http://127.0.0.1.evil.example:80"}, true},
		{nil, []string{"Origin: http://localhost@evil.example"}, true},
		{nil, []string{"Origin: http://[::2]"}, true},
		{nil, []string{"Origin: http://%"}, true},
		{nil, []string{"Origin: http://localhost:3000"}, false},
		{nil, []string{"Origin: HTTP://App.LocalHost"}, false},
		{nil, []string{"Origin: https://127.0.0.1"}, false},
		{nil, []string{"Origin: http://[::1]:8080"}, false},
		{nil, []string{"Origin: http://localhost", "Origin: https://evil.example"}, true},
		{nil, []string{"Origin: https://evil.example", "Origin: http://localhost"}, true},
		{Origins{"https://a.example"}, []string{"Origin: https://a.example"}, false},
		{Origins{"*"}, []string{"Origin: null"}, false},
	} {
		o := Options{Path: "/ws", Origins: c.origins}
		in := request(append(c.headers, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")...)
		foreign, err := o.Accept(in, io.Discard)
		if err != nil || foreign != c.foreign {
			t.Errorf("%q for %q: foreign %v %v", c.headers, c.origins, foreign, err)
		}
	}
}

// frame reads one, with all that is left as its payload.
func frame(b []byte) (ws.Frame, error) {
	r := bytes.NewReader(b)
	h, err := ws.ReadHeader(r)
	f := ws.Frame{Header: h, Payload: b[len(b)-r.Len():]}
	if err == nil && h.Length != int64(len(f.Payload)) {
		err = fmt.Errorf("%d bytes where the frame has %d", len(f.Payload), h.Length)
	}
	return f, err
}

func TestWhatIsSealedIsOneMessage(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 100_000} {
		for _, kind := range []string{"text", "binary", "binary rest"} {
			body := bytes.Repeat([]byte("x"), size)
			rest := []byte("ä\x00\n")
			op := ws.OpText
			if kind == "binary" {
				body, op = append(body, 0xff), ws.OpBinary
			} else if kind == "binary rest" {
				rest, op = []byte("\xff"), ws.OpBinary
			}
			out := append(Seal(append([]byte("before"), body...), 6, rest), rest...)
			out, ok := bytes.CutPrefix(out, []byte("before"))
			f, err := frame(out)
			if err != nil || !ok || f.Header.OpCode != op || !f.Header.Fin || !bytes.Equal(f.Payload, append(body, rest...)) || len(out) != ws.HeaderSize(f.Header)+len(f.Payload) {
				t.Errorf("%d bytes, %s: %v %v", size, kind, f.Header, err)
			}
		}
	}
	buf := make([]byte, 0, 1000)
	if n := testing.AllocsPerRun(100, func() { buf = Seal(append(buf[:0], "some text that is sent"...), 0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTheLastWordsOfWebSocketAreBounded(t *testing.T) {
	long := strings.Repeat("ä", 100)
	f, err := frame(AppendClose(nil, 1002, long))
	if code, reason := ws.ParseCloseFrameData(f.Payload); err != nil || code != 1002 || !strings.HasPrefix(long, reason) || len(reason) < 120 || !utf8.ValidString(reason) || len(f.Payload) > 125 {
		t.Errorf("%v %d %q", err, code, reason)
	}
	if f, err = frame(AppendClose(nil, 0, "unsaid")); err != nil || f.Header.OpCode != ws.OpClose || len(f.Payload) != 0 {
		t.Errorf("%v %v", f, err)
	}
	if f, err = frame(AppendPong(nil, []byte("p"))); err != nil || f.Header.OpCode != ws.OpPong || string(f.Payload) != "p" {
		t.Errorf("%v %v", f, err)
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	in := frames(ws.NewTextFrame([]byte("some text")), ws.NewPingFrame([]byte("p")), ws.NewBinaryFrame([]byte{0xff}))
	s := &source{step: 1000}
	c := NewConn(s, nil)
	buf, again := make([]byte, 1000), make([]byte, len(in))
	if n := testing.AllocsPerRun(100, func() {
		copy(again, in)
		s.in = again
		if n, err := c.Read(buf); n != 10 || err != nil {
			t.Fatal(n, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzConn gives any bytes, in pieces of any size: what is read does not depend on the pieces, is never more than came,
// and a text is UTF-8.
func FuzzConn(f *testing.F) {
	f.Add(frames(ws.NewFrame(ws.OpText, false, []byte("a€b")), ws.NewPingFrame([]byte("p")), ws.NewFrame(ws.OpContinuation, true, []byte("c"))), 3, 100)
	f.Add(frames(ws.NewBinaryFrame([]byte{0xff}), ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "r"))), 1, 1)
	f.Add([]byte{0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5}, 2, 10)
	f.Fuzz(func(t *testing.T, in []byte, step, room int) {
		step, room = max(1, step%1000), max(1, room%1000)
		all, pings1, err1 := read(bytes.Clone(in), 1<<20, 1<<20)
		some, pings2, err2 := read(bytes.Clone(in), step, room)
		if code := new(Violation); errors.As(err1, &code) && code.Code == 1007 {
			all = all[:min(len(all), len(some))] // what comes with the bad letter is not handed out
			some = some[:len(all)]
		}
		if all != some || fmt.Sprintf("%q", pings1) != fmt.Sprintf("%q", pings2) || err1.Error() != err2.Error() || len(all) > len(in) {
			t.Errorf("%q %q %v, but by %d into %d %q %q %v", all, pings1, err1, step, room, some, pings2, err2)
		}
	})
}

// FuzzAccept gives any request: it is answered, and never with more than some bytes.
func FuzzAccept(f *testing.F) {
	f.Add(request("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Origin: https://a"), "https://a")
	f.Add([]byte("GET /ws HTTP/1.1\nHost: h\n\n"), "*://*")
	f.Fuzz(func(t *testing.T, in []byte, origin string) {
		n, by := RequestBytes(in, 0), 0
		for looked := 0; by == 0 && looked < len(in); looked++ {
			by = RequestBytes(in[:looked+1], looked)
		}
		if n != by {
			t.Fatalf("it ends at %d, byte by byte at %d", n, by)
		}
		if n == 0 {
			return
		}
		var out bytes.Buffer
		o := Options{Path: "/ws", Protocols: []string{"v12.stomp"}, Origins: Origins{origin}}
		_, err := o.Accept(in[:n], &out)
		if !strings.HasPrefix(out.String(), "HTTP/1.1 ") || out.Len() > 2000 || (err == nil) != strings.HasPrefix(out.String(), "HTTP/1.1 101 ") {
			t.Errorf("%q %v", &out, err)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	var in []byte
	for range 500 {
		in = append(in, frames(ws.NewTextFrame(bytes.Repeat([]byte("x"), 50+rand.IntN(100))))...)
	}
	s := &source{step: 1 << 20}
	c := NewConn(s, nil)
	buf, again := make([]byte, 1<<20), make([]byte, len(in))
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		copy(again, in)
		s.in = again
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}
