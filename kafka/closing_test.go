package kafka

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// However a connection ends, a client that has bytes under way can write them, reads every answer that was due, and then
// the end of the stream: never a reset.
func TestTheLastAnswerIsReadThoughBytesAreUnderWay(t *testing.T) {
	for name, end := range map[string]func(*rig, *raw){
		"malformed request": func(_ *rig, c *raw) { c.write([]byte{0, 0, 0, 12, 0, 3, 0, 9, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff}) },
		"unknown key":       func(_ *rig, c *raw) { c.write([]byte{0, 0, 0, 12, 0x7f, 3, 0, 9, 0, 0, 0, 9, 0, 0, 0, 0}) },
		"no Kafka":          func(_ *rig, c *raw) { c.write([]byte("GET / HTTP/1.1\r\nHost: leveret\r\n\r\n")) },
		"stop":              func(r *rig, _ *raw) { r.server.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			c := r.raw()
			c.t = t
			c.send(kmsg.NewPtrApiVersionsRequest(), 0)
			if name == "stop" {
				var res kmsg.ApiVersionsResponse
				c.receive(&res, 0)
				c.correlation = 0
			}
			// A stop takes what comes for a second (netx.Part), in which a busy machine may not get to write.
			began := time.Now()
			end(r, c)
			late := func() bool { return name == "stop" && time.Since(began) > time.Second }
			for range 1000 {
				if _, err := c.nc.Write(make([]byte, 4096)); err != nil {
					if late() {
						return
					}
					t.Fatal(err)
				}
			}
			if name != "stop" {
				var res kmsg.ApiVersionsResponse
				if c.receive(&res, 0); len(res.ApiKeys) == 0 {
					t.Errorf("%+v", res)
				}
			}
			if _, err := c.nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !late() {
				t.Errorf("then %v, want the end of the stream", err)
			}
		})
	}
}

func TestARefusedLoginIsAnsweredLateAndLast(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Users = usersWith(t, "joe", "secret") })
	for _, token := range []string{"\x00joe\x00wrong", "\x00nobody\x00secret"} {
		c := r.raw()
		h := kmsg.NewPtrSASLHandshakeRequest()
		h.Mechanism = "PLAIN"
		c.send(h, 1)
		var res kmsg.SASLHandshakeResponse
		c.receive(&res, 1)
		a := kmsg.NewPtrSASLAuthenticateRequest()
		a.SASLAuthBytes = []byte(token)
		begun := time.Now()
		c.send(a, 1)
		c.send(a, 1) // one who does not wait gets no second try
		var refused kmsg.SASLAuthenticateResponse
		if c.receive(&refused, 1); refused.ErrorCode != 58 || refused.ErrorMessage == nil || time.Since(begun) < 100*time.Millisecond {
			t.Errorf("%q: %+v after %v", token, refused, time.Since(begun))
		}
		if _, err := c.nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("then %v, want the end of the stream", err)
		}
	}
}
