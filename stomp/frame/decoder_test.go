package frame

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

var roomy = Limits{Headers: 10, HeadBytes: 200, BodyBytes: 1000}

// show writes a frame in a line.
func show(f *Frame) string {
	var b strings.Builder
	b.WriteString(f.Command.String())
	for _, h := range f.Headers {
		fmt.Fprintf(&b, " %s=%q", h.Name, h.Value)
	}
	if len(f.Body) > 0 {
		fmt.Fprintf(&b, " [%q]", f.Body)
	}
	return b.String()
}

// decode decodes all of in, given so many bytes at a time, in a buffer of room bytes.
func decode(in string, step, room int, l Limits, v Version) (out []string, err error) {
	d := Decoder{Limits: l}
	var buf []byte
	var body []byte
	var large *Frame
	rest := []byte(in)
	for {
		n := min(step, len(rest), max(room-len(buf), 0))
		buf = append(buf, rest[:n]...)
		rest = rest[n:]
		for {
			if large != nil {
				piece, used, done, err := d.Rest(buf)
				if err != nil {
					return out, err
				}
				body = append(body, piece...)
				buf = bytes.Clone(buf[used:])
				if done {
					large.Body, body = body, nil
					out = append(out, show(large))
					large = nil
					continue
				}
				break
			}
			used, found, err := d.Next(buf, room)
			if err != nil {
				return out, err
			}
			if found == Head {
				large = &Frame{Command: d.Command}
				for _, h := range d.Headers {
					large.Headers = append(large.Headers, Header{bytes.Clone(h.Name), bytes.Clone(h.Value)})
				}
				if err := large.Unescape(v); err != nil {
					return out, err
				}
			}
			if found == Whole {
				if err := d.Unescape(v); err != nil {
					return out, err
				}
				out = append(out, show(&d.Frame))
			}
			buf = bytes.Clone(buf[used:])
			if found == Nothing {
				break
			}
		}
		if n == 0 && len(rest) == 0 {
			return out, nil
		}
		if n == 0 && len(buf) >= room {
			return out, errors.New("stuck")
		}
	}
}

func TestFramesAreFoundHoweverTheyCome(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		v    Version
		want []string
	}{
		"one":                     {"SEND\ndestination:/queue/a\n\nhello\x00", V12, []string{`SEND destination="/queue/a" ["hello"]`}},
		"CR LF":                   {"SEND\r\na:b\r\n\r\nhi\r\n\x00\r\n", V12, []string{`SEND a="b" ["hi\r\n"]`}},
		"several, noise between":  {"\n\r\n\x00BEGIN\ntransaction:t\n\n\x00\nABORT\ntransaction:t\n\n\x00\n\n", V11, []string{`BEGIN transaction="t"`, `ABORT transaction="t"`}},
		"NUL in a body":           {"SEND\ncontent-length:3\n\na\x00b\x00", V10, []string{`SEND content-length="3" ["a\x00b"]`}},
		"empty body by length":    {"SEND\ncontent-length:0\n\n\x00", V10, []string{`SEND content-length="0"`}},
		"length with a blank":     {"SEND\ncontent-length: 2\n\nhi\x00", V10, []string{`SEND content-length="2" ["hi"]`}},
		"the first of a name":     {"SEND\ncontent-length:1\ncontent-length:5\n\nx\x00", V11, []string{`SEND content-length="1" content-length="5" ["x"]`}},
		"colons in a value":       {"SEND\nx:y:z\n\n\x00", V12, []string{`SEND x="y:z"`}},
		"empty value":             {"SEND\nx:\n\n\x00", V12, []string{`SEND x=""`}},
		"escapes":                 {"SEND\na\\cb:c\\nd\\\\e\\cf\\rg\n\n\x00", V12, []string{`SEND a:b="c\nd\\e:f\rg"`}},
		"no escapes in 1.0":       {"SEND\na:\\n\\q\n\n\x00", V10, []string{`SEND a="\\n\\q"`}},
		"blanks before it in 1.0": {"SEND\na: \t b \n\n\x00", V10, []string{`SEND a="b "`}},
		"blanks before it in 1.1": {"SEND\na: b\n\n\x00", V11, []string{`SEND a=" b"`}},
		"a body of lines":         {"SEND\n\n\n\nSEND\n\n\x00", V12, []string{`SEND ["\n\nSEND\n\n"]`}},
		"larger than the buffer":  {"SEND\na:b\n\n" + strings.Repeat("x", 300) + "\x00ACK\nid:1\n\n\x00", V12, []string{`SEND a="b" ["` + strings.Repeat("x", 300) + `"]`, `ACK id="1"`}},
		"and with its length":     {"SEND\ncontent-length:300\n\n" + strings.Repeat("\x00", 300) + "\x00ACK\nid:1\n\n\x00", V12, []string{`SEND content-length="300" ["` + strings.Repeat(`\x00`, 300) + `"]`, `ACK id="1"`}},
	} {
		for _, step := range []int{1, 2, 3, 7, 50, 1000} {
			got, err := decode(c.in, step, 220, roomy, c.v)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%s, by %d: %v %v, want %v", name, step, got, err, c.want)
			}
		}
	}
}

func TestWhatIsNoFrameIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want error
	}{
		"another protocol":      {"GET / HTTP/1.1\r\n", ErrCommand},
		"without a line end":    {"AMQP\x00\x00\x09\x01", ErrCommand},
		"a longer command":      {"SENDER\n", ErrCommand},
		"a command of a server": {"MESSAGE\n\n\x00", ErrCommand},
		"no colon":              {"SEND\nabc\n\n\x00", ErrHeader},
		"no name":               {"SEND\n:abc\n\n\x00", ErrHeader},
		"a NUL for a line end":  {"SEND\nab\x00", ErrHeader},
		"a NUL in a header":     {"SEND\na:b\x00c\n\n\x00", ErrHeader},
		"a length of letters":   {"SEND\ncontent-length:x\n\n\x00", ErrLength},
		"a negative length":     {"SEND\ncontent-length:-1\n\n\x00", ErrLength},
		"a wrong length":        {"SEND\ncontent-length:1\n\nab\x00", ErrUnfinished},
		"a huge length":         {"SEND\ncontent-length:99999999999999999999999\n\n", ErrLargeBody},
		"too long a body":       {"SEND\n\n" + strings.Repeat("x", 1001), ErrLargeBody},
		"one byte too long":     {"SEND\n\n" + strings.Repeat("x", 1001) + "\x00", ErrLargeBody},
		"too many headers":      {"SEND\n" + strings.Repeat("a:b\n", 11), ErrManyHeads},
		"too long a header":     {"SEND\na:" + strings.Repeat("x", 200), ErrLongHead},
		"too long a head":       {"SEND\n" + strings.Repeat("a:"+strings.Repeat("x", 30)+"\n", 8), ErrLongHead},
		"an unknown escape":     {"SEND\na:\\t\n\n\x00", ErrEscape},
		"half an escape":        {"SEND\na:b\\\n\n\x00", ErrEscape},
	} {
		for _, step := range []int{1, 3, 2000} {
			if got, err := decode(c.in, step, 4000, roomy, V12); !errors.Is(err, c.want) || len(got) > 0 {
				t.Errorf("%s, by %d: %v %v, want %v", name, step, got, err, c.want)
			}
		}
	}
	if got, err := decode("SEND\n\n"+strings.Repeat("x", 1001), 50, 220, roomy, V12); !errors.Is(err, ErrLargeBody) {
		t.Errorf("a body that outgrows its limit piece by piece: %v %v", got, err)
	}
	if got, err := decode("SEND\ncontent-length:300\n\n"+strings.Repeat("x", 301), 50, 220, roomy, V12); !errors.Is(err, ErrUnfinished) {
		t.Errorf("a body with more behind it, piece by piece: %v %v", got, err)
	}
}

func TestLimitsAreInclusive(t *testing.T) {
	head := "SEND\n" + strings.Repeat("a:b\n", 10)
	if got, err := decode(head+"\n"+strings.Repeat("x", 1000)+"\x00", 50, 4000, roomy, V12); err != nil || len(got) != 1 {
		t.Errorf("ten headers and a thousand bytes: %v %v", got, err)
	}
	if got, err := decode("SEND\na:"+strings.Repeat("x", 191)+"\n\n\x00", 50, 4000, roomy, V12); err != nil || len(got) != 1 {
		t.Errorf("a head of 200 bytes: %v %v", got, err)
	}
}

func TestVersionsAreNegotiated(t *testing.T) {
	for list, want := range map[string]Version{"1.0": V10, "1.1,1.0": V11, "1.0,1.1,1.2": V12, " 1.1 , 1.2 ": V12, "1.2,2.0": V12, "": 0, "2.0": 0, "1": 0} {
		if got := Newest([]byte(list)); got != want {
			t.Errorf("%q: %d, want %d", list, got, want)
		}
	}
}

// Whatever is written is read back by a client of the same version.
func TestWhatIsEscapedIsReadBack(t *testing.T) {
	for _, text := range []string{"", "plain", "a:b", "a\nb", `a\b`, "a\r\nb", "\\n", ":::", "ü"} {
		for _, v := range []Version{V11, V12} {
			got, err := Unescape(AppendEscaped(nil, v, text, true), v)
			if err != nil || string(got) != text {
				t.Errorf("%q in %v: %q, %v", text, v, got, err)
			}
		}
		if b := AppendEscaped(nil, V10, text, false); bytes.ContainsAny(b, "\n\r") {
			t.Errorf("%q ends a line of 1.0", text)
		}
	}
	if got := string(AppendEscaped(nil, V10, `a:\b`, false)); got != `a:\b` {
		t.Errorf("1.0 has no escapes, and got %s", got)
	}
	if got := string(AppendEscaped(nil, V12, "a\x00b", false)); got != "ab" {
		t.Errorf("a NUL is %q in a header", got)
	}
}

func TestDecodingDoesNotAllocate(t *testing.T) {
	d := Decoder{Limits: Limits{Headers: 100, HeadBytes: 64 << 10, BodyBytes: 1 << 20}}
	in := []byte("SEND\ndestination:/queue/a\ncontent-type:text/plain\ncontent-length:5\n\nhello\x00\n")
	n := testing.AllocsPerRun(100, func() {
		if _, found, err := d.Next(in, len(in)); found != Whole || err != nil {
			t.Fatal(found, err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestEncodingADeliveryDoesNotAllocate(t *testing.T) {
	e := NewDeliveryEncoder(V12, "s", "1@@x@@", true)
	e.Headers(7, func(b []byte) []byte { return append(b, "destination:/queue/a\n"...) })
	if !e.Knows(7) || e.Knows(0) || e.Knows(8) {
		t.Error("the headers are not told apart")
	}
	if got, want := string(e.Append(nil, 12, true, []byte("hi"))), "MESSAGE\nsubscription:s\nmessage-id:1@@x@@12\nack:1@@x@@12\nredelivered:true\ndestination:/queue/a\ncontent-length:2\n\nhi\x00\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	buf := make([]byte, 0, 1000)
	if n := testing.AllocsPerRun(100, func() { buf = e.Append(buf[:0], 12, false, []byte("hi")) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzDecoder gives any bytes in pieces of any size: what is found does not depend on the pieces, and never more is
// kept than the limits allow.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte("SEND\na:b\\n\ncontent-length:3\n\na\x00b\x00\nACK\nid:1\n\n\x00"), 1)
	f.Add([]byte("\r\n\x00CONNECT\r\naccept-version:1.2\r\n\r\n\x00"), 3)
	f.Add([]byte("SEND\n\n"+strings.Repeat("x", 300)+"\x00"), 7)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		const room = 220
		step = max(1, min(step, room))
		all, err1 := decode(string(in), room, room, roomy, V12)
		some, err2 := decode(string(in), step, room, roomy, V12)
		if fmt.Sprint(all) != fmt.Sprint(some) || (err1 == nil) != (err2 == nil) {
			t.Errorf("%v %v by %d, but %v %v", some, err2, step, all, err1)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	d := Decoder{Limits: Limits{Headers: 100, HeadBytes: 64 << 10, BodyBytes: 1 << 20}}
	in := []byte("SEND\ndestination:/queue/a\ncontent-type:text/plain\nreceipt:1234\ncontent-length:12\n\nhello, world\x00")
	for b.Loop() {
		d.Next(in, len(in))
	}
}
