package server

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/config"
)

// exchange sends something and reads until what is awaited has come.
func exchange(t *testing.T, nc net.Conn, text, until string) {
	t.Helper()
	_ = nc.SetDeadline(time.Now().Add(longEnough))
	if _, err := io.WriteString(nc, text); err != nil {
		t.Fatal(err)
	}
	b, got := make([]byte, 1), ""
	for !strings.HasSuffix(got, until) {
		if _, err := nc.Read(b); err != nil {
			t.Fatalf("%q, %v; want %q", got, err, until)
		}
		got += string(b)
	}
}

// signIn makes a connection whose client is known; the check fails the test unless it still works.
var signIn = map[string]func(t *testing.T, addr string) (check func()){
	"amqp": func(t *testing.T, addr string) func() {
		conn, err := amqp.Dial("amqp://guest:guest@" + addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return func() {
			if _, err := conn.Channel(); err != nil {
				t.Fatal(err)
			}
		}
	},
	"kafka": func(t *testing.T, addr string) func() {
		nc := raw(t, addr)
		check := func() { // asks for the versions of requests
			_ = nc.SetDeadline(time.Now().Add(longEnough))
			if _, err := io.WriteString(nc, "\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff"); err != nil {
				t.Fatal(err)
			}
			size := make([]byte, 4)
			if _, err := io.ReadFull(nc, size); err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, nc, int64(binary.BigEndian.Uint32(size))); err != nil {
				t.Fatal(err)
			}
		}
		check()
		return check
	},
	"stomp": func(t *testing.T, addr string) func() {
		nc := raw(t, addr)
		exchange(t, nc, "CONNECT\naccept-version:1.2\nlogin:guest\npasscode:guest\n\n\x00", "\x00")
		return func() { exchange(t, nc, "SEND\ndestination:/queue/q\nreceipt:r\n\nx\x00", "receipt-id:r\n\n\x00") }
	},
	"xmpp": func(t *testing.T, addr string) func() {
		const header = "<stream:stream to='localhost' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
		nc, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) // of this test's own
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		exchange(t, nc, header, "</stream:features>")
		exchange(t, nc, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+base64.StdEncoding.EncodeToString([]byte("\x00guest\x00guest"))+"</auth>",
			"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
		return func() { exchange(t, nc, header, "</stream:features>") }
	},
}

func raw(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(longEnough))
	return nc
}

func TestClientsThatSayNothingMakeRoomForThoseWhoLogIn(t *testing.T) {
	for protocol, in := range signIn {
		t.Run(protocol, func(t *testing.T) {
			c := settings(t)
			c.MaxConnections = 2
			s, err := start(t, c) // of its own: the places of the others come back in their own time
			if err != nil {
				t.Fatal(err)
			}
			addr := s.Addr(protocol)
			checks := []func(){in(t, addr)}
			var idle []net.Conn
			for range 20 {
				idle = append(idle, raw(t, addr))
			}
			for n, nc := range idle[:19] { // and so the last was accepted
				if _, err := io.Copy(io.Discard, nc); err != nil && strings.Contains(err.Error(), "timeout") {
					t.Fatalf("the idle connection %d is still there", n)
				}
			}
			checks = append(checks, in(t, addr))
			for _, check := range checks {
				check()
			}
		})
	}
}

func TestRequestsThatDoNotComeMakeRoomForThoseThatDo(t *testing.T) {
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	began, finish := make(chan struct{}), make(chan struct{})
	at := config.Listener{Kind: "test", Flag: "test-addr", Addr: "127.0.0.1:0"}
	err = s.serveHTTP(at, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			_, _ = io.Copy(io.Discard, r.Body)
			close(began)
			<-finish
		}
		fmt.Fprint(w, "done")
	}))
	if err != nil {
		t.Fatal(err)
	}
	long := raw(t, s.Addr("test"))
	go io.WriteString(long, "POST /long HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
	<-began
	half := []string{"", "GET / HTTP/1.1\r\nHost:", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"}
	for n := range maxWebConnections + 100 {
		nc := raw(t, s.Addr("test"))
		if _, err := io.WriteString(nc, half[n%len(half)]); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 { // with connections of their own
		client := &http.Client{Transport: new(http.Transport), Timeout: longEnough}
		res, err := client.Get("http://" + s.Addr("test") + "/")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	close(finish)
	res, err := http.ReadResponse(bufio.NewReader(long), nil)
	if err != nil {
		t.Fatalf("the request that was being answered: %v", err)
	}
	res.Body.Close()
}
