package main

import (
	"testing"
	"time"
)

func TestParseLine(t *testing.T) {
	at := time.Date(2000, time.October, 10, 20, 55, 36, 0, time.UTC)
	for _, c := range []struct {
		name, text                 string
		vhost, client, method, pth string
		status                     int
		bytes                      int64
		took                       time.Duration
		hasTook                    bool
	}{
		{name: "common", text: `127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326`,
			client: "127.0.0.1", method: "GET", pth: "/apache_pb.gif", status: 200, bytes: 2326},
		{name: "combined", text: `127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.0" 404 - "http://x/" "Mozilla/4.08 [en] (Win98; I ;Nav)"`,
			client: "127.0.0.1", method: "GET", pth: "/a", status: 404},
		{name: "with a virtual host", text: `shop.example.com:443 ::1 - - [10/Oct/2000:13:55:36 -0700] "POST /buy?id=7&x=1 HTTP/2.0" 503 12 "-" "-"`,
			vhost: "shop.example.com", client: "::1", method: "POST", pth: "/buy", status: 503, bytes: 12},
		{name: "virtual host without a port", text: `shop.example.com 10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/2.0" 200 1 "-" "-"`,
			vhost: "shop.example.com", client: "10.0.0.1", method: "GET", pth: "/", status: 200, bytes: 1},
		{name: "host name as client", text: `unicomp6.unicomp.net - - [10/Oct/2000:16:55:36 -0400] "GET /shuttle/countdown/ HTTP/1.0" 200 3985`,
			client: "unicomp6.unicomp.net", method: "GET", pth: "/shuttle/countdown/", status: 200, bytes: 3985},
		{name: "nginx request time", text: `1.2.3.4 - - [10/Oct/2000:20:55:36 +0000] "GET / HTTP/1.1" 200 5 "-" "curl/8" 0.034`,
			client: "1.2.3.4", method: "GET", pth: "/", status: 200, bytes: 5, took: 34 * time.Millisecond, hasTook: true},
		{name: "nginx named times", text: `1.2.3.4 - - [10/Oct/2000:20:55:36 +0000] "GET / HTTP/1.1" 200 5 "-" "curl/8" "-" rt=1.500 uct="0.000"`,
			client: "1.2.3.4", method: "GET", pth: "/", status: 200, bytes: 5, took: 1500 * time.Millisecond, hasTook: true},
		{name: "apache microseconds", text: `1.2.3.4 - - [10/Oct/2000:22:25:36 +0130] "GET / HTTP/1.1" 200 5 "-" "curl/8" 1234`,
			client: "1.2.3.4", method: "GET", pth: "/", status: 200, bytes: 5, took: 1234 * time.Microsecond, hasTook: true},
		{name: "quotes in the request", text: `1.2.3.4 - - [10/Oct/2000:20:55:36 +0000] "GET /\"x\" HTTP/1.1" 400 5 "a \" b" "c"`,
			client: "1.2.3.4", method: "GET", pth: `/\"x\"`, status: 400, bytes: 5},
		{name: "garbage for a request", text: `1.2.3.4 - - [10/Oct/2000:20:55:36 +0000] "\x16\x03\x01" 400 5 "-" "-"`,
			client: "1.2.3.4", status: 400, bytes: 5},
		{name: "no request", text: `1.2.3.4 - - [10/Oct/2000:20:55:36 +0000] "-" 408 0`, client: "1.2.3.4", status: 408},
		{name: "user with a blank", text: `1.2.3.4 - Jane Doe [10/Oct/2000:20:55:36 +0000] "GET / HTTP/1.1" 401 0`,
			client: "1.2.3.4", method: "GET", pth: "/", status: 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := parseLine([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if string(l.VHost) != c.vhost || string(l.Client) != c.client || string(l.Method) != c.method || string(l.Path) != c.pth ||
				l.Status != c.status || l.Bytes != c.bytes || l.Took != c.took || l.HasTook != c.hasTook || !l.Time.Equal(at) {
				t.Errorf("got vhost %q client %q time %v method %q path %q status %d bytes %d took %v (%v)",
					l.VHost, l.Client, l.Time, l.Method, l.Path, l.Status, l.Bytes, l.Took, l.HasTook)
			}
		})
	}
}

func TestLinesOfOtherKindsAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"empty":          "",
		"prose":          "Nov 23 09:00:00 host sshd[1]: Accepted publickey for x",
		"no time":        `1.2.3.4 - - "GET / HTTP/1.1" 200 5`,
		"bad month":      `1.2.3.4 - - [10/Okt/2000:20:55:36 +0000] "GET / HTTP/1.1" 200 5`,
		"month astride":  `1.2.3.4 - - [10/anF/2000:20:55:36 +0000] "GET / HTTP/1.1" 200 5`,
		"bad zone":       `1.2.3.4 - - [10/Oct/2000:20:55:36 *0000] "GET / HTTP/1.1" 200 5`,
		"hour 25":        `1.2.3.4 - - [10/Oct/2000:25:55:36 +0000] "GET / HTTP/1.1" 200 5`,
		"cut in quotes":  `1.2.3.4 - - [10/Oct/2000:20:55:36 +0000] "GET / HT`,
		"cut after them": `1.2.3.4 - - [10/Oct/2000:20:55:36 +0000] "GET / HTTP/1.1"`,
		"status of two":  `1.2.3.4 - - [10/Oct/2000:20:55:36 +0000] "GET / HTTP/1.1" 20 5`,
		"binary":         "\x00\x01[\xff]\x02",
	} {
		t.Run(name, func(t *testing.T) {
			if l, err := parseLine([]byte(text)); err == nil {
				t.Errorf("taken as %+v", l)
			}
		})
	}
}

func TestLevelFollowsTheStatus(t *testing.T) {
	for status, want := range map[int]string{100: "info", 200: "info", 304: "info", 399: "info", 400: "warn", 499: "warn", 500: "error", 599: "error"} {
		if got := (&Line{Status: status}).Level(); got != want {
			t.Errorf("status %d is %s, want %s", status, got, want)
		}
	}
}

func TestParseTimeAgreesWithTheStandardLibrary(t *testing.T) {
	const layout = "02/Jan/2006:15:04:05 -0700"
	for _, zone := range []int{0, 3600, -25200, 20700} {
		for i := range 500 {
			want := time.Unix(int64(i)*7_654_321, 0).In(time.FixedZone("", zone))
			got, ok := parseTime([]byte(want.Format(layout)))
			if !ok || !got.Equal(want) {
				t.Fatalf("%s read as %v, %v", want.Format(layout), got, ok)
			}
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte(`shop.example.com:443 ::1 - - [10/Oct/2000:13:55:36 -0700] "POST /buy?id=7&x=1 HTTP/2.0" 503 12 "-" "-" 0.003`))
	f.Add([]byte(`1.2.3.4 - - [10/Oct/2000:20:55:36 +0000] "\x16\x03" 400 - "\\" "\"" rt=1`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parseLine(text)
		if err == nil && (l.Status < 100 || l.Status > 999 || l.Bytes < 0 || l.Took < 0) {
			t.Errorf("%q read as %+v", text, l)
		}
	})
}

func BenchmarkParseLine(b *testing.B) {
	text := []byte(`shop.example.com:443 203.0.113.9 - - [10/Oct/2000:13:55:36 -0700] "POST /buy?id=7&x=1 HTTP/2.0" 503 12 "-" "Mozilla/5.0" 0.003`)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseLine(text); err != nil {
			b.Fatal(err)
		}
	}
}
