package cli

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestATableFitsItsTerminal(t *testing.T) {
	make := func() *table {
		return &table{titles: []string{"NAME", "N", "ARGUMENTS"}, right: []bool{false, true, false},
			rows: [][]string{{"日本語の名前はとても長い", "5", "x=1"}, {"a\x1b[2J\nb", "1234567", strings.Repeat("long ", 20) + "end"}, {"short", "", ""}}}
	}
	for _, width := range []int{0, 200, 60, 30, 5} {
		var b bytes.Buffer
		if err := make().write(&b, width); err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") {
			if strings.ContainsRune(line, '\x1b') || strings.HasSuffix(line, " ") {
				t.Errorf("%q", line)
			}
			if w := widthOfText(line); width >= 30 && w > width {
				t.Errorf("line %d is %d wide in %d: %s", i, w, width, line)
			}
		}
		if strings.Count(b.String(), "\n") != 4 || width > 0 && width < 100 != strings.Contains(b.String(), "…") {
			t.Errorf("at %d:\n%s", width, b.String())
		}
	}
}

func TestWhatSteersATerminalIsShown(t *testing.T) {
	for in, want := range map[string]string{
		"plain käse 日本 🐇\n\t": "plain käse 日本 🐇\n\t", "\x1b[31m": `\x1b[31m`, "a\rb": `a\x0db`, "\u202egnp": `\u202egnp`, "\u009b": `\x9b`, "\xff�": `\xff�`, "\u2028": `\u2028`, "\x7f\x00": `\x7f\x00`,
	} {
		if got := clean(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := cleanLine("a\nb\t"); got != `a\nb\t` {
		t.Errorf("%q", got)
	}
}

func TestJSONStaysTheSameAndSteersNothing(t *testing.T) {
	in := "{\n \"a\": \"\u009b\u202e käse � \U000e0041 \x7f\"}\n"
	got := cleanJSON([]byte(in))
	var before, after any
	if json.Unmarshal([]byte(in), &before) != nil || json.Unmarshal(got, &after) != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("%q", got)
	}
	if want := "{\n \"a\": \"\\u009b\\u202e käse � \\udb40\\udc41 \\u007f\"}\n"; string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTheFirstUserIsNotToldToOthers(t *testing.T) {
	t.Setenv("LEVERET_DEFAULT_USER", "first")
	t.Setenv("LEVERET_DEFAULT_PASSWORD", "p")
	for host, want := range map[string]string{"127.0.0.1": "first", "localhost": "first", "::1": "first", "10.0.0.1": "", "broker.example.com": ""} {
		if name, _ := firstUser(host); name != want {
			t.Errorf("%s: %q", host, name)
		}
	}
	for addr, want := range map[string]string{":80": "http://127.0.0.1:80", "[::]:80": "http://127.0.0.1:80", "10.0.0.1:80": "http://10.0.0.1:80", "off": "", "": "", "127.0.0.1:0": ""} {
		t.Setenv("LEVERET_HTTP_ADDR", addr)
		if got := besideBroker(); got != want {
			t.Errorf("%s: %q", addr, got)
		}
	}
}

func TestTimesAreReadAsPeopleWriteThem(t *testing.T) {
	zone := time.FixedZone("here", 2*3600)
	now := time.Date(2026, 11, 29, 12, 30, 15, 0, zone)
	for text, want := range map[string]string{
		"now": "2026-11-29T12:30:15", "today": "2026-11-29T00:00:00", "Yesterday": "2026-11-28T00:00:00", "10m": "2026-11-29T12:20:15", "-10m": "2026-11-29T12:20:15", "1d12h": "2026-11-28T00:30:15",
		"2w": "2026-11-15T12:30:15", "2026-11-29T10:00": "2026-11-29T10:00:00", "2026-11-29 10:00:01": "2026-11-29T10:00:01", "2026-11-29": "2026-11-29T00:00:00", "10:20": "2026-11-29T10:20:00", "10:20:30": "2026-11-29T10:20:30",
		"2026-11-29T10:00:00Z": "2026-11-29T12:00:00", "2026-11-29T10:00:00+01:00": "2026-11-29T11:00:00", "1795978758498": time.UnixMilli(1795978758498).In(zone).Format("2006-01-02T15:04:05"),
	} {
		got, err := parseMoment(text, now)
		if err != nil || got.In(zone).Format("2006-01-02T15:04:05") != want {
			t.Errorf("%s: %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "25:00", "2026-13-01", "17", "10 m", "99999999d", "--5m"} {
		if got, err := parseMoment(text, now); err == nil || !strings.Contains(err.Error(), "one is written") {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{"10:20": "", "12:30:15": "", "2026-11-30T10:00": "", "13:00": "yesterday's is 2026-11-28T13:00:00"} {
		if _, err := parseStart(text, now); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("a start at %s: %v", text, err)
		}
	}
	for _, text := range []string{"-5m", "d", "99999999999999999999d", "1x"} {
		if got, err := parseSpan(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestSizesAreReadAndShown(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "1000": 1000, "1KiB": 1024, "1.5 MiB": 3 << 19, "2GB": 2e9, "1TiB": 1 << 40} {
		if got, err := readSize(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "x", "1e30TiB", "MiB"} {
		if got, err := readSize(text); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
	for f, want := range map[float64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 5e9: "4.7 GiB", 1 << 60: "1048576.0 TiB"} {
		if got := sizeText(f); got != want {
			t.Errorf("%v: %s", f, got)
		}
	}
}

func TestNetrcIsReadAsCurlReadsIt(t *testing.T) {
	text := "# a comment\nmachine a login one password two\nmacdef init\nmachine b login no password no\n\nmachine b\n\tlogin three\n\taccount x\n\tpassword four\ndefault login five password six\n"
	for host, want := range map[string]netrcEntry{"a": {"one", "two"}, "b": {"three", "four"}, "c": {"five", "six"}} {
		if got := parseNetrc([]byte(text), host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
	if got := parseNetrc([]byte("machine a\nmachine b login x password y"), "a"); got != (netrcEntry{}) {
		t.Error(got)
	}
	if got := parseNetrc([]byte("machine a login"), "a"); got != (netrcEntry{}) {
		t.Error(got)
	}
}

func FuzzNetrc(f *testing.F) {
	f.Add([]byte("machine a login b password c\ndefault login d"), "a")
	f.Add([]byte("macdef x\n\nmachine\n"), "")
	f.Fuzz(func(_ *testing.T, text []byte, host string) { parseNetrc(text, host) })
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(": hello\n\nid: 0-1\ndata: {}\n\ndata: a\ndata: b\r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		_ = events(bytes.NewReader(text), func(_ string, data []byte) error {
			if len(data) == 0 && !bytes.Contains(text, []byte("data")) {
				t.Error("an event of nothing")
			}
			return nil
		})
	})
}

func TestEventsAreReadAsTheirStandardSays(t *testing.T) {
	var got []string
	err := events(strings.NewReader(": comment\n\nid: 1\ndata: a\n\ndata:b\ndata: c\n\nid\nretry: 5\n\nid: 2\r\ndata: d\r\n\r\ndata: never ended\n"), func(id string, data []byte) error {
		got = append(got, id+"="+string(data))
		return nil
	})
	if want := []string{"1=a", "1=b\nc", "2=d"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestProgressSaysHowLongItTakes(t *testing.T) {
	p := newProgress(&bytes.Buffer{}, "published", 1000)
	p.done = 250
	if got := p.line(p.begun.Add(10 * time.Second)); got != "published [######..................]  25 %, 30s left" {
		t.Errorf("%q", got)
	}
	p.done, p.note = 1000, "7 messages"
	if got := p.line(p.begun.Add(10 * time.Second)); got != "published [########################] 100 %, 7 messages" {
		t.Errorf("%q", got)
	}
	p.total = 0
	if got := p.line(p.begun.Add(10 * time.Second)); got != "published 10s 7 messages" {
		t.Errorf("%q", got)
	}
	var b bytes.Buffer
	q := newProgress(&b, "x", 10)
	q.add(5)
	q.close()
	if b.Len() > 0 {
		t.Errorf("what is no terminal was shown %q", b.String())
	}
}
