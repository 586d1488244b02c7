package cross

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/testkit"
)

// stomper is a STOMP 1.2 client. The bytes of a test's headers need no escaping.
type stomper struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	last map[string]string // headers of the frame that was read last,
	body string            // and its body
}

func dialSTOMP(t testing.TB, s *testkit.Server) *stomper {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr("stomp"))
	if err != nil {
		t.Fatal(err)
	}
	c := &stomper{t: t, conn: conn, r: bufio.NewReader(conn)}
	t.Cleanup(c.cut)
	c.send("CONNECT", "", "accept-version:1.2", "host:/", "login:guest", "passcode:guest")
	c.frame("CONNECTED")
	return c
}

func (c *stomper) cut() { c.conn.Close() }

func (c *stomper) send(command, body string, headers ...string) {
	c.t.Helper()
	if body != "" {
		headers = append(headers, fmt.Sprint("content-length:", len(body)))
	}
	if _, err := io.WriteString(c.conn, command+"\n"+strings.Join(headers, "\n")+"\n\n"+body+"\x00"); err != nil {
		c.t.Fatal(err)
	}
}

// frame reads the next frame, which has to be of that command, and returns its body.
func (c *stomper) frame(command string) string {
	c.t.Helper()
	if got := c.any(); got != command {
		c.t.Fatalf("%s, not %s: %v %s", got, command, c.last, c.body)
	}
	return c.body
}

// any reads the next frame and returns its command.
func (c *stomper) any() string {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(limit))
	line := func() string {
		text, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		return strings.TrimSuffix(text, "\n")
	}
	got := line()
	for got == "" {
		got = line()
	}
	c.last = map[string]string{}
	for h := line(); h != ""; h = line() {
		name, value, _ := strings.Cut(h, ":")
		c.last[name] = strings.NewReplacer(`\c`, ":", `\n`, "\n", `\\`, `\`).Replace(value)
	}
	n, err := strconv.Atoi(c.last["content-length"])
	body := make([]byte, n)
	if err == nil {
		_, err = io.ReadFull(c.r, body)
	} else if text, e := c.r.ReadString(0); e == nil {
		body, err = []byte(strings.TrimSuffix(text, "\x00")), c.r.UnreadByte()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	if b, err := c.r.ReadByte(); err != nil || b != 0 {
		c.t.Fatalf("no end of the frame: %q %v", b, err)
	}
	c.body = string(body)
	return got
}

func (c *stomper) publish(queue string, m message) {
	c.t.Helper()
	headers := []string{"destination:/amq/queue/" + queue, "receipt:1", "content-type:" + m.contentType}
	if m.persistent {
		headers = append(headers, "persistent:true")
	}
	for name, value := range m.headers {
		headers = append(headers, name+":"+value)
	}
	c.send("SEND", m.body, headers...)
	c.frame("RECEIPT")
}

func (c *stomper) work(queue string) {
	c.t.Helper()
	c.send("SUBSCRIBE", "", "id:1", "destination:/amq/queue/"+queue, "ack:client-individual", "prefetch-count:1")
}

func (c *stomper) receive() message {
	c.t.Helper()
	body := c.frame("MESSAGE")
	h := c.last
	m := message{body: body, contentType: h["content-type"], persistent: h["persistent"] == "true", redelivered: h["redelivered"] == "true", headers: map[string]string{}}
	for name, value := range h {
		m.headers[name] = value
	}
	return m
}
