package wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

func samplePublish(bodyBytes int) *Publish {
	return &Publish{
		Channel: 7, Mandatory: true, Exchange: []byte("logs"), Key: []byte("shop.error"),
		Properties: RawProperties{0x10, 0, 2}, Body: bytes.Repeat([]byte("0123456789"), bodyBytes/10+1)[:bodyBytes],
	}
}

func samePublish(a, b *Publish) bool {
	return a.Channel == b.Channel && a.Mandatory == b.Mandatory && a.Immediate == b.Immediate &&
		bytes.Equal(a.Exchange, b.Exchange) && bytes.Equal(a.Key, b.Key) &&
		bytes.Equal(a.Properties, b.Properties) && bytes.Equal(a.Body, b.Body)
}

func TestParsePublishTakesAWholeOneAndAsksForTheRestOfACutOne(t *testing.T) {
	for _, size := range []int{0, 1, 12, 99, 100, 101, 250} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			want := samplePublish(size)
			in := AppendPublish(nil, want, 100)
			total := len(in)
			in = append(in, AppendHeartbeat(nil)...)
			for cut := range total {
				n, found := parsePublish(bytes.Clone(in[:cut]), 100, new(Publish))
				if found != Short || n <= cut || n > total {
					t.Fatalf("cut to %d of %d: outcome %d, %d bytes", cut, total, found, n)
				}
			}
			var got Publish
			n, found := parsePublish(in, 100, &got)
			if found != Whole || n != total || !samePublish(&got, want) {
				t.Fatalf("outcome %d, %d of %d bytes, %+v", found, n, total, got)
			}
		})
	}
}

// Whatever came before, the parser finds what parsePublish finds, and says SameHead when only the body differs.
func TestThePublishParserIsNotMisledByTheLastPublish(t *testing.T) {
	names := [][]byte{nil, []byte("a"), []byte("b"), []byte("ab"), bytes.Repeat([]byte("z"), 255)}
	lists := []RawProperties{{0, 0}, {0x10, 0, 1}, {0x10, 0, 2}, fullProperties().AppendTo(nil), append(RawProperties{0x20, 0, 0, 0, 8, 0}, make([]byte, 2048)...)}
	r := rand.New(rand.NewPCG(1, 2))
	var p PublishParser
	last, again := Publish{}, 0
	for i := range 50_000 {
		m := last
		m.Body = bytes.Repeat([]byte{byte(i)}, r.IntN(250))
		if r.IntN(3) > 0 { // else like the last one
			m = Publish{Channel: uint16(1 + r.IntN(2)), Mandatory: r.IntN(2) == 0, Immediate: r.IntN(9) == 0, Exchange: names[r.IntN(5)], Key: names[r.IntN(5)], Properties: lists[r.IntN(5)], Body: m.Body}
		}
		in := AppendPublish(nil, &m, 4096)
		if parts := AppendPublish(nil, &m, 100); r.IntN(3) == 0 && len(parts) < 1000 {
			in = parts // the body in several frames
		}
		switch r.IntN(10) {
		case 0: // cut first, as at the end of a read
			if _, found := p.Parse(bytes.Clone(in[:r.IntN(len(in))]), 4096); found != Short {
				t.Fatalf("%d: cut, outcome %d", i, found)
			}
			last = Publish{}
		case 1:
			bad := bytes.Clone(in)
			bad[len(bad)-1] = 0
			if _, found := p.Parse(bad, 4096); found != Other {
				t.Fatalf("%d: bad end, outcome %d", i, found)
			}
			last = Publish{}
		case 2:
			p.Forget()
			last = Publish{}
		}
		n, found := p.Parse(in, 4096)
		if found != Whole || n != len(in) || !samePublish(&p.Publish, &m) {
			t.Fatalf("%d: outcome %d, %d of %d bytes, %+v, want %+v", i, found, n, len(in), p.Publish, m)
		}
		clear(in[:len(in)-len(m.Body)-1]) // what is not the body is not the buffer's any more
		if p.SameHead {
			again++
			body := last.Body
			last.Body = m.Body
			if !samePublish(&last, &m) {
				t.Fatalf("%d: again, %+v after %+v (%x)", i, m, last, body)
			}
		}
		last = m
	}
	if again < 2_000 {
		t.Errorf("only %d of 50,000 were like the last one", again)
	}
}

func TestParsePublishLeavesToOthersWhatItDoesNotKnow(t *testing.T) {
	whole := AppendPublish(nil, samplePublish(150), 100)
	methodEnd := FrameHeaderBytes + int(whole[6])
	bodyAt := methodEnd + 1 + FrameOverheadBytes + 15
	change := func(at int, to byte) []byte {
		b := bytes.Clone(whole)
		b[at] = to
		return b
	}
	between := append(bytes.Clone(whole[:methodEnd+1]), AppendHeartbeat(nil)...)
	cases := map[string][]byte{
		"another method":            AppendMethod(nil, 1, &BasicAck{}),
		"heartbeat first":           append(AppendHeartbeat(nil), whole...),
		"heartbeat in between":      append(between, whole[methodEnd+1:]...),
		"no end of the method":      change(methodEnd, 0),
		"exchange beyond the frame": change(13, 200),
		"tiny method frame":         change(6, 0),
		"huge method frame":         change(4, 0x10),
		"header of another channel": change(methodEnd+3, 9),
		"header of another class":   change(methodEnd+1+FrameHeaderBytes+1, 50),
		"no end of the header":      change(bodyAt-1, 0),
		"body of another channel":   change(bodyAt+2, 9),
		"body larger than said":     change(bodyAt+6, 151),
		"no end of the body":        change(len(whole)-1, 0),
	}
	for name, in := range cases {
		in = append(in, make([]byte, 600)...)
		if _, found := parsePublish(in, 500, new(Publish)); found != Other {
			t.Errorf("%s: outcome %d", name, found)
		}
	}
}

// A header that is too short is found when it is there, and not when what it lacks has come.
func TestParsePublishWaitsForNothingBehindAShortHeader(t *testing.T) {
	in := AppendMethod(nil, 1, &BasicPublish{RoutingKey: "k"})
	for size := range 14 {
		header := append(appendFrameHeader(bytes.Clone(in), FrameHeader, 1, size), make([]byte, size)...)
		if _, found := parsePublish(append(header, FrameEnd), 500, new(Publish)); found != Other {
			t.Errorf("a header of %d bytes: outcome %d", size, found)
		}
	}
}

func TestSettlesAreParsedInPlace(t *testing.T) {
	cases := []struct {
		m    Method
		want Settle
	}{
		{&BasicAck{DeliveryTag: 5, Multiple: true}, Settle{Channel: 4, Tag: 5, Method: IDBasicAck, Multiple: true}},
		{&BasicNack{DeliveryTag: 1 << 40, Requeue: true}, Settle{Channel: 4, Tag: 1 << 40, Method: IDBasicNack, Requeue: true}},
		{&BasicReject{DeliveryTag: 6, Requeue: true}, Settle{Channel: 4, Tag: 6, Method: IDBasicReject, Requeue: true}},
	}
	for _, c := range cases {
		in := AppendMethod(nil, 4, c.m)
		var got Settle
		if n := ParseSettle(in, &got); n != len(in) || got != c.want {
			t.Errorf("%s: %d bytes, %+v", c.m.ID(), n, got)
		}
		if n := ParseSettle(in[:len(in)-1], &got); n != 0 {
			t.Errorf("%s: a cut frame was parsed", c.m.ID())
		}
	}
	if n := ParseSettle(AppendMethod(nil, 1, &BasicGet{Queue: "123456"}), new(Settle)); n != 0 {
		t.Error("a get was taken for a settle")
	}
	ack := AppendMethod(nil, 9, &BasicAck{DeliveryTag: 77, Multiple: true})
	if got := AppendConfirm(nil, 9, 77, true, false); !bytes.Equal(got, ack) {
		t.Errorf("%x", got)
	}
	nack := AppendMethod(nil, 9, &BasicNack{DeliveryTag: 77})
	if got := AppendConfirm(nil, 9, 77, false, true); !bytes.Equal(got, nack) {
		t.Errorf("%x", got)
	}
}

// plainDelivery is a delivery by the general encoders, which the fast one must match byte for byte.
func plainDelivery(channel uint16, consumer string, tag uint64, redelivered bool, c *Content, frameMax int) []byte {
	m := &BasicDeliver{ConsumerTag: consumer, DeliveryTag: tag, Redelivered: redelivered, Exchange: string(c.Exchange), RoutingKey: string(c.Key)}
	return AppendContent(nil, channel, m, c.Properties, c.Body, frameMax)
}

func TestDeliveriesMatchThePlainEncoding(t *testing.T) {
	contents := []Content{
		{Exchange: []byte("logs"), Key: []byte("k"), Properties: RawProperties{0x10, 0, 2}, Body: []byte("hello")},
		{},
		{Key: bytes.Repeat([]byte("k"), 255), Properties: fullProperties().AppendTo(nil), Body: make([]byte, 4088)},
		{Key: bytes.Repeat([]byte("k"), 300), Body: make([]byte, 4089)},
		{Body: make([]byte, 3*4088)},
	}
	for i, c := range contents {
		e := NewDeliveryEncoder(300, "ctag", 4096)
		want := plainDelivery(300, "ctag", 1<<33, true, &c, 4096)
		for range 2 { // without a template, and with one
			got := e.Append([]byte("x"), 1<<33, true, &c)
			if !bytes.Equal(got[1:], want) {
				t.Errorf("content %d: %d bytes, want %d", i, len(got)-1, len(want))
			}
		}
		pieces := e.AppendHead(nil, 1<<33, true, &c)
		for body, first := c.Body, true; len(body) > 0; first = false {
			n := min(len(body), e.MaxPartBytes())
			pieces = e.AppendBodyBorder(pieces, n, first)
			pieces = append(pieces, body[:n]...)
			if body = body[n:]; len(body) == 0 {
				pieces = append(pieces, FrameEnd)
			}
		}
		if !bytes.Equal(pieces, want) {
			t.Errorf("content %d in pieces differs", i)
		}
	}
}

// Whatever differs from the delivery before, the template must not shine through.
func TestDeliveriesThatDifferInOnePartAreEncodedAnew(t *testing.T) {
	values := [][]byte{nil, []byte("a"), []byte("b"), []byte("ab"), bytes.Repeat([]byte("z"), 255)}
	lists := []RawProperties{nil, {0, 0}, {0x10, 0, 1}, {0x10, 0, 2}, fullProperties().AppendTo(nil)}
	bodies := [][]byte{nil, []byte("x"), []byte("longer"), make([]byte, 5000)}
	e := NewDeliveryEncoder(9, "tag", 4096)
	r := rand.New(rand.NewPCG(1, 2))
	known := 0
	for i := range 20_000 {
		x, k, l := r.IntN(5), r.IntN(2), r.IntN(5)
		c := Content{Exchange: values[x], Key: values[k], Properties: lists[l], Body: bodies[r.IntN(4)]}
		if r.IntN(2) == 0 { // named, so that it can be told without comparing
			c.Head = uint64(1 + 100*x + 10*k + l)
		}
		again := r.IntN(2) == 0
		want := plainDelivery(9, "tag", uint64(i), again, &c, 4096)
		got, ok := e.AppendSameHead([]byte{}, uint64(i), again, c.Head, c.Body)
		if ok {
			known++
		} else if len(got) != 0 {
			t.Fatalf("%d: %d bytes of a delivery that was refused", i, len(got))
		} else {
			got = e.Append(nil, uint64(i), again, &c)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d, again %v: %+v\n%x\n%x", i, ok, c, got, want)
		}
	}
	if known < 20 {
		t.Errorf("only %d deliveries were known by their head", known)
	}
}

// Publish decode and delivery encode may not allocate: they run once per message.
func TestHotPathsDoNotAllocate(t *testing.T) {
	in := AppendPublish(nil, samplePublish(100), 1<<17)
	ack := AppendMethod(nil, 1, &BasicAck{DeliveryTag: 1})
	var p Publish
	var parser PublishParser
	var s Settle
	var props Properties
	e := NewDeliveryEncoder(1, "ctag", 1<<17)
	buf := make([]byte, 0, 4096)
	budgets := map[string]func(){
		"parse publish":       func() { parsePublish(in, 1<<17, &p); _ = p.Properties.Parse(&props) },
		"parse the same head": func() { parser.Parse(in, 1<<17) },
		"parse ack":           func() { ParseSettle(ack, &s) },
		"append deliver": func() {
			buf = e.Append(buf[:0], 1, false, &Content{Exchange: p.Exchange, Key: p.Key, Properties: p.Properties, Body: p.Body})
		},
		"append confirm": func() { buf = AppendConfirm(buf[:0], 1, 1, true, false) },
	}
	for name, f := range budgets {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func FuzzParsePublish(f *testing.F) {
	f.Add(AppendPublish(nil, samplePublish(10), 100))
	f.Add(AppendPublish(nil, samplePublish(250), 100))
	f.Fuzz(func(t *testing.T, in []byte) {
		var p Publish
		before := bytes.Clone(in)
		n, found := parsePublish(in, 1000, &p)
		var parser PublishParser
		for range 2 { // the second one knows the head
			m, again := parser.Parse(bytes.Clone(before), 1000)
			if m != n || again != found || found == Whole && !samePublish(&parser.Publish, &p) {
				t.Fatalf("the parser finds %d, %d bytes, %+v; want %d, %d, %+v", again, m, parser.Publish, found, n, p)
			}
		}
		switch found {
		case Short:
			if n <= len(in) || !bytes.Equal(before, in) {
				t.Fatalf("asks for %d bytes having %d", n, len(in))
			}
		case Other:
			if !bytes.Equal(before, in) {
				t.Fatal("buffer changed")
			}
		case Whole:
			checkByFrames(t, before[:n], &p)
		}
	})
}

// checkByFrames parses the same bytes frame by frame and compares.
func checkByFrames(t *testing.T, in []byte, p *Publish) {
	var body []byte
	for i := 0; len(in) > 0; i++ {
		frame, n, _, err := ParseFrame(in, 1000)
		if err != nil || n == 0 || frame.Channel != p.Channel {
			t.Fatalf("frame %d: %v", i, err)
		}
		switch i {
		case 0:
			m, err := Decode(frame.Payload)
			got, ok := m.(*BasicPublish)
			if err != nil || !ok || got.Exchange != string(p.Exchange) || got.RoutingKey != string(p.Key) || got.Mandatory != p.Mandatory {
				t.Fatalf("method %v: %v", m, err)
			}
		case 1:
			h, err := ParseContentHeader(frame.Payload)
			if err != nil || h.BodySize != uint64(len(p.Body)) || !bytes.Equal(h.Properties, p.Properties) {
				t.Fatalf("header %v: %v", h, err)
			}
		default:
			body = append(body, frame.Payload...)
		}
		in = in[n:]
	}
	if !bytes.Equal(body, p.Body) {
		t.Fatal("bodies differ")
	}
}

func BenchmarkParsePublish(b *testing.B) {
	for _, size := range []int{12, 100, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var in []byte
			for len(in) < 200<<10 {
				in = AppendPublish(in, samplePublish(size), 1<<17)
			}
			var p Publish
			var props Properties
			b.ReportAllocs()
			for i, at := 0, 0; i < b.N; i++ {
				n, found := parsePublish(in[at:], 1<<17, &p)
				if found != Whole || p.Properties.Parse(&props) != nil {
					b.Fatal(found)
				}
				if at += n; at == len(in) {
					at = 0
				}
			}
		})
		b.Run(fmt.Sprint(size, " same head"), func(b *testing.B) {
			var in []byte
			for len(in) < 200<<10 {
				in = AppendPublish(in, samplePublish(size), 1<<17)
			}
			var p PublishParser
			b.ReportAllocs()
			for i, at := 0, 0; i < b.N; i++ {
				n, found := p.Parse(in[at:], 1<<17)
				if found != Whole || !p.SameHead && i > 0 {
					b.Fatal(found)
				}
				if at += n; at == len(in) {
					at = 0
				}
			}
		})
	}
}

func BenchmarkAppendDelivery(b *testing.B) {
	for _, size := range []int{12, 100, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			p := samplePublish(size)
			c := Content{Exchange: p.Exchange, Key: p.Key, Properties: p.Properties, Body: p.Body}
			e := NewDeliveryEncoder(1, "ctag1.0123456789", 1<<17)
			buf := make([]byte, 0, 128<<10)
			b.ReportAllocs()
			for i := range b.N {
				if len(buf) > 120<<10 {
					buf = buf[:0]
				}
				buf = e.Append(buf, uint64(i), false, &c)
			}
		})
	}
}

func BenchmarkParseAck(b *testing.B) {
	in := AppendMethod(nil, 1, &BasicAck{DeliveryTag: rand.Uint64()})
	var s Settle
	for range b.N {
		if ParseSettle(in, &s) == 0 {
			b.Fatal("not parsed")
		}
	}
}
