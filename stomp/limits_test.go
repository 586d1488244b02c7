package stomp

import (
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/fakeclock"
)

func (r *rig) limit(name string, n int64) {
	r.t.Helper()
	if err := r.broker.SetVHostLimit(audit.Actor{User: "root"}, "/", name, n); err != nil {
		r.t.Fatal(err)
	}
}

func TestLimitsOfAVirtualHostRefuse(t *testing.T) {
	r := newRig(t, rigOptions{})
	for _, c := range []struct {
		limit         string
		n             int64
		frame         string
		message, text string
		advice        string
	}{
		{broker.MaxQueues, 0, "SEND\ndestination:/queue/a\n\n", "precondition_failed", "queue limit", "raise the limit"},
		{broker.MaxMessageSize, 10, "SEND\ndestination:/topic/a\n\n12345678901", "Message too large", "where 10 are allowed", "or the limit of the user"},
		{broker.MaxConnections, 0, "", "Bad CONNECT", "connection limit (0) is reached", "close other connections"},
	} {
		p := r.connect("1.2")
		r.limit(c.limit, c.n)
		if c.frame == "" {
			p = r.open()
			c.frame = "CONNECT\nlogin:guest\npasscode:guest\n\n"
		}
		p.send(c.frame)
		p.ended(c.message, c.text)
		if text := r.log.Take(); !strings.Contains(text, c.advice) {
			t.Errorf("an operator reads %s", text)
		}
		r.limit(c.limit, -1)
	}
}

// through connects without a system, so that time is the test's.
func (r *rig) through() *peer {
	r.piped = true
	p := &peer{t: r.t, nc: r.dial()}
	p.send("CONNECT\naccept-version:1.2\nlogin:guest\npasscode:guest\n\n")
	p.expect("CONNECTED version:1.2 heart-beat:0,0")
	return p
}

func TestRatesSlowDownWhoGoesOverThem(t *testing.T) {
	for name, limit := range map[string]string{"in": broker.ProducerByteRate, "out": broker.ConsumerByteRate} {
		t.Run(name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				r := newRig(t, rigOptions{})
				defer r.stop()
				p, q := r.through(), r.through()
				defer q.nc.Close()
				defer p.nc.Close()
				q.call("SUBSCRIBE\nid:1\ndestination:/queue/q")
				r.limit(limit, 1000)
				time.Sleep(time.Hour) // what was not used is not saved up
				began := time.Now()
				for i := range 10 {
					p.send("SEND\ndestination:/queue/q\n\n" + strings.Repeat("x", 960))
					if m := q.messages(1); len(m[0].body) != 960 {
						t.Fatal(i, m)
					}
				}
				if took := time.Since(began); took < 7*time.Second || took > 12*time.Second {
					t.Errorf("10 kB at 1 kB a second took %v", took)
				}
				q.call("BEGIN\ntransaction:t") // what is asked is answered
			})
		})
	}
}
