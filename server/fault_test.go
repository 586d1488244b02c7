package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/devcert"
	"github.com/leveret-mq/leveret/internal/testkit"
)

// faultRig is a broker with a queue "cut" whose files are cut under its mappings,
// and a queue "fine".
type faultRig struct {
	*testkit.Server
	t   *testing.T
	tls *tls.Config // nil without
}

func startFaultRig(t *testing.T, secure bool) *faultRig {
	t.Helper()
	if !secure {
		return &faultRig{testkit.Start(t, func(c *config.Config) { c.Sync = config.SyncOS }), t, nil}
	}
	a, _, err := devcert.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.Server("server", []string{"127.0.0.1"}, devcert.DefaultTime, false)
	if err != nil {
		t.Fatal(err)
	}
	s := testkit.Start(t, func(c *config.Config) {
		c.Sync, c.TLSCert, c.TLSKey = config.SyncOS, pair.Cert, pair.Key
		c.AMQPSAddr, c.KafkaTLSAddr, c.STOMPTLSAddr, c.STOMPWSSAddr, c.HTTPTLSAddr, c.MetricsTLSAddr = "127.0.0.1:0", "127.0.0.1:0", config.Off, config.Off, config.Off, config.Off
	})
	return &faultRig{s, t, &tls.Config{InsecureSkipVerify: true}}
}

// dial connects with TLS, if there is any.
func (r *faultRig) dial(c amqp.Config) (*amqp.Connection, error) {
	if r.tls == nil {
		return amqp.DialConfig(r.AMQPURL(), c)
	}
	c.TLSClientConfig = r.tls
	return amqp.DialConfig("amqps://guest:guest@"+r.Addr("amqps")+"/", c)
}

func (r *faultRig) channel() (*amqp.Connection, *amqp.Channel) {
	r.t.Helper()
	conn, err := r.dial(amqp.Config{})
	if err != nil {
		r.t.Fatalf("the broker does not answer: %v", err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		r.t.Fatal(err)
	}
	return conn, ch
}

func (r *faultRig) client(o ...kgo.Opt) *kgo.Client {
	r.t.Helper()
	if r.tls != nil {
		o = append(o, kgo.DialTLSConfig(r.tls), kgo.SeedBrokers(r.Addr("kafka-tls")))
	}
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(r.Addr("kafka"))}, o...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

// body is that of message i.
func body(i, size int) []byte {
	return append(bytes.Repeat([]byte{'x'}, size-10), fmt.Sprintf("%010d", i)...)
}

// fill declares a queue and publishes n messages of size bytes to it.
func (r *faultRig) fill(queue string, n, size int) {
	r.t.Helper()
	conn, ch := r.channel()
	defer conn.Close()
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		r.t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		r.t.Fatal(err)
	}
	for i := range n {
		d, err := ch.PublishWithDeferredConfirm("", queue, false, false, amqp.Publishing{Body: body(i, size)})
		if err != nil || (i%10 == 9 || i == n-1) && !d.Wait() {
			r.t.Fatalf("publish: %v", err)
		}
	}
}

// cut takes the end of every segment away that there is.
func (r *faultRig) cut() {
	r.t.Helper()
	names, err := filepath.Glob(r.DataDir() + "/queues/*/*/*.log")
	if err != nil || len(names) == 0 {
		r.t.Fatalf("segments: %v, %v", names, err)
	}
	for _, name := range names {
		if err := os.Truncate(name, 20_000); err != nil {
			r.t.Fatal(err)
		}
	}
}

// fine holds that another queue works.
func (r *faultRig) fine() {
	r.t.Helper()
	r.fill("fine", 3, 100)
	conn, ch := r.channel()
	defer conn.Close()
	for i := range 3 {
		d, ok, err := ch.Get("fine", true)
		if err != nil || !ok {
			r.t.Fatalf("message %d of another queue: %t, %v", i, ok, err)
		}
		if len(d.Body) != 100 {
			r.t.Errorf("message %d of another queue has %d bytes", i, len(d.Body))
		}
	}
}

// refuses holds that the queue takes nothing more: a publish is not confirmed.
func (r *faultRig) refuses(queue string) {
	r.t.Helper()
	conn, ch := r.channel()
	defer conn.Close()
	if err := ch.Confirm(false); err != nil {
		r.t.Fatal(err)
	}
	d, err := ch.PublishWithDeferredConfirm("", queue, false, false, amqp.Publishing{Body: []byte("more")})
	if err == nil && d.Wait() {
		r.t.Errorf("a publish into what can't be read was confirmed")
	}
}

func fetched(r *faultRig) {
	c := r.client(kgo.ConsumeTopics("cut"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	wait, cancel := context.WithTimeout(r.t.Context(), 2*time.Second)
	defer cancel()
	for wait.Err() == nil {
		c.PollFetches(wait)
	}
}

// TestAFileThatIsCutUnderItsMappingFailsItsQueueOnly holds for everything that
// looks at stored bytes: the process lives, the log with the fault takes no more,
// and other queues do not notice.
func TestAFileThatIsCutUnderItsMappingFailsItsQueueOnly(t *testing.T) {
	for name, use := range map[string]struct {
		messages, size int
		touch          func(r *faultRig)
		tls            bool
	}{
		"an AMQP consumer": {100, 1000, func(r *faultRig) {
			_, ch := r.channel()
			deliveries, err := ch.Consume("cut", "", false, false, false, false, nil)
			if err != nil {
				r.t.Fatal(err)
			}
			for i := range 10 {
				select {
				case d := <-deliveries:
					if !bytes.Equal(d.Body, body(i, 1000)) {
						r.t.Fatalf("delivery %d is %.10q…, %d bytes", i, d.Body, len(d.Body))
					}
				case <-time.After(time.Minute):
					r.t.Fatalf("%d messages that can be read were delivered", i)
				}
			}
		}, false},
		"basic.get": {100, 1000, func(r *faultRig) {
			for range 120 {
				conn, ch := r.channel()
				for {
					d, ok, err := ch.Get("cut", false)
					if err != nil || !ok {
						break
					}
					if err := d.Ack(false); err != nil {
						break
					}
				}
				if _, err := conn.Channel(); err == nil {
					return // the queue was read to its end
				}
			}
			r.t.Error("every connection was ended")
		}, false},
		"a Kafka fetch":                            {100, 1000, fetched, false},
		"a Kafka fetch of large records":           {20, 100_000, fetched, false},
		"a Kafka fetch of large records, with TLS": {20, 100_000, fetched, true},
		"an AMQP consumer of large messages, with TLS": {20, 100_000, func(r *faultRig) {
			for range 5 { // each ends, when it is sent what can't be read
				conn, ch := r.channel()
				if deliveries, err := ch.Consume("cut", "", true, false, false, false, nil); err == nil {
					wait := time.After(time.Second)
					for open := true; open; {
						select {
						case _, open = <-deliveries:
						case <-wait:
							open = false
						}
					}
				}
				_ = conn.Close()
			}
		}, true},
		"a look-up by time": {100, 1000, func(r *faultRig) {
			admin := kadm.NewClient(r.client())
			ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
			defer cancel()
			at := time.Now().Add(-time.Hour).UnixMilli()
			for range 3 {
				_, _ = admin.ListOffsetsAfterMilli(ctx, at, "cut")
				_, _ = admin.ListMaxTimestampOffsets(ctx, "cut")
			}
		}, false},
		"an idempotent produce": {100, 1000, func(r *faultRig) {
			wait, cancel := context.WithTimeout(r.t.Context(), 2*time.Second)
			defer cancel()
			if err := r.client().ProduceSync(wait, &kgo.Record{Topic: "cut", Value: []byte("x")}).FirstErr(); err == nil {
				r.t.Error("it was taken")
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some wait for what does not come
			r := startFaultRig(t, use.tls)
			r.fill("cut", use.messages, use.size)
			r.cut()
			use.touch(r)
			r.fine()
			if name != "a look-up by time" { // which needs only the index, as a rule
				r.refuses("cut")
			}
		})
	}
}

// slowConn is a client's socket that reads nothing while it is held.
type slowConn struct {
	net.Conn
	held sync.RWMutex
}

func (c *slowConn) Read(b []byte) (int, error) {
	c.held.RLock()
	defer c.held.RUnlock()
	return c.Conn.Read(b[:min(len(b), 4096)])
}

// The kernel may be the one who finds out, in the middle of a message.
func TestABodyThatIsLostWhileItIsSentEndsItsConnectionOnly(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) { bodyLost(t, startFaultRig(t, secure)) })
	}
}

func bodyLost(t *testing.T, r *faultRig) {
	const size = 12 << 20 // more than the sockets hold
	r.fill("cut", 1, size)
	slow := &slowConn{}
	conn, err := r.dial(amqp.Config{Dial: func(network, addr string) (net.Conn, error) {
		var err error
		slow.Conn, err = net.Dial(network, addr)
		return slow, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	deliveries, err := ch.Consume("cut", "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	slow.held.Lock() // whatever is under way then: not all of it
	r.cut()
	slow.held.Unlock()
	select {
	case d, ok := <-deliveries:
		if ok {
			t.Fatalf("a body of %d bytes came", len(d.Body))
		}
	case <-time.After(time.Minute):
		t.Fatal("the connection stays and nothing comes")
	}
	r.fine()
	r.refuses("cut")
}
