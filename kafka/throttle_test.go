package kafka

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
)

// rate is so many bytes a second that a batch of paced bytes takes 1.5 s more than what is free.
const paced, rate = 25_000, 10_000

func pacedBatch() []byte { return makeBatch(nil, strings.Repeat("x", paced)) }

// sent reads the answer to a produce, which comes at once, with how long the connection is not read.
func (c *raw) sent() time.Duration {
	c.t.Helper()
	began := time.Now()
	var res kmsg.ProduceResponse
	c.receive(&res, 9)
	if res.Topics[0].Partitions[0].ErrorCode != 0 {
		c.t.Fatalf("%+v", res)
	}
	if took := time.Since(began); took > time.Second {
		c.t.Errorf("the answer came after %v", took)
	}
	return time.Duration(res.ThrottleMillis) * time.Millisecond
}

// costs says whether a wait is what a batch of paced bytes costs, or so many of them.
func costs(t *testing.T, what string, got time.Duration, batches int) {
	t.Helper()
	want := time.Duration(batches*paced-rate) * time.Second / rate
	if got < want-500*time.Millisecond || got > want+100*time.Millisecond {
		t.Errorf("%s: throttled for %v, want %v", what, got, want)
	}
}

// unreadFor checks that a connection is not read before a time from now has passed, by a request that is answered at
// once when it is.
func (c *raw) unreadFor(d time.Duration) {
	c.t.Helper()
	before, now := c.asked, time.Now() // the wait began between them
	c.send(kmsg.NewPtrMetadataRequest(), 9)
	c.receive(&kmsg.MetadataResponse{}, 9)
	if time.Since(before) < d-50*time.Millisecond || time.Since(now) > d+2*time.Second {
		c.t.Errorf("it was read after %v to %v, want %v", time.Since(now), time.Since(before), d)
	}
}

func TestProducersOverTheirRateAreToldAndNotRead(t *testing.T) {
	for name, limit := range map[string]func(r *rig, n int64) error{
		"of a virtual host": func(r *rig, n int64) error { return r.broker.SetVHostLimit(root, "a", broker.ProducerByteRate, n) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newHostsRig(t, nil)
			c, two, other := r.login("joe@a"), r.login("joe@a"), r.login("joe@b")
			for _, c := range []*raw{c, other} {
				c.send(createTopics("t"), 5)
				c.receive(&kmsg.CreateTopicsResponse{}, 5)
			}
			c.send(produceRequest("t", 0, 1, pacedBatch()), 9)
			if wait := c.sent(); wait != 0 {
				t.Errorf("without a limit: %v", wait)
			}
			if err := limit(r, rate); err != nil {
				t.Fatal(err)
			}
			c.send(produceRequest("t", 0, -1, pacedBatch()), 9)
			wait := c.sent()
			costs(t, "one", wait, 1)
			two.send(produceRequest("t", 0, 1, pacedBatch()), 9)
			costs(t, "another of the same", two.sent(), 2)
			other.send(produceRequest("t", 0, 1, pacedBatch()), 9)
			if wait := other.sent(); wait != 0 {
				t.Errorf("one that is not limited: %v", wait)
			}
			other.unreadFor(0)
			c.unreadFor(wait)
			c.send(fetchRequest("t", 0, 0), 11)
			var res kmsg.FetchResponse
			if c.receive(&res, 11); res.ThrottleMillis != 0 {
				t.Errorf("a fetch is throttled for %d ms", res.ThrottleMillis)
			}
			if err := limit(r, -1); err != nil { // which ends the wait of the second
				t.Fatal(err)
			}
			two.unreadFor(0)
			if n := r.records("a", "t"); n != 3 {
				t.Errorf("%d records were stored, want 3", n)
			}
		})
	}
}

func TestConsumersOverTheirRateAreToldAndNotRead(t *testing.T) {
	r := newHostsRig(t, nil)
	c := r.login("joe@a")
	c.send(createTopics("t"), 5)
	c.receive(&kmsg.CreateTopicsResponse{}, 5)
	c.send(produceRequest("t", 0, 1, pacedBatch()), 9)
	c.sent()
	if err := r.broker.SetVHostLimit(root, "a", broker.ConsumerByteRate, rate); err != nil {
		t.Fatal(err)
	}
	fetch := func() time.Duration {
		c.send(fetchRequest("t", 0, 0), 11)
		var res kmsg.FetchResponse
		c.receive(&res, 11)
		if n := len(res.Topics[0].Partitions[0].RecordBatches); n < paced {
			t.Errorf("%d bytes came", n)
		}
		return time.Duration(res.ThrottleMillis) * time.Millisecond
	}
	wait := fetch()
	costs(t, "a fetch", wait, 1)
	c.unreadFor(wait)
	c.send(produceRequest("t", 0, 1, pacedBatch()), 9)
	if wait := c.sent(); wait != 0 {
		t.Errorf("a produce is throttled for %v", wait)
	}
	wait = fetch()
	if err := r.broker.DeleteVHost(root, "a"); err != nil { // nobody waits for what is over
		t.Fatal(err)
	}
	began := time.Now()
	c.closed("a muted connection")
	if took := time.Since(began); took > wait-500*time.Millisecond {
		t.Errorf("it was closed after %v of %v", took, wait)
	}
}

// A producer that wants no answer is not told, and not read either.
func TestProducersWithoutAnswersAreNotRead(t *testing.T) {
	r := newHostsRig(t, nil)
	c := r.login("joe@a")
	c.send(createTopics("t"), 5)
	c.receive(&kmsg.CreateTopicsResponse{}, 5)
	if err := r.broker.SetVHostLimit(root, "a", broker.ProducerByteRate, rate); err != nil {
		t.Fatal(err)
	}
	c.send(produceRequest("t", 0, 0, pacedBatch()), 9)
	c.unreadFor(1500 * time.Millisecond)
}

// A client that goes while it is not read is missed at once.
func TestTheMutedMayGo(t *testing.T) {
	r := newHostsRig(t, nil)
	c := r.login("joe@a")
	c.send(createTopics("t"), 5)
	c.receive(&kmsg.CreateTopicsResponse{}, 5)
	if err := r.broker.SetVHostLimit(root, "a", broker.ProducerByteRate, 10); err != nil {
		t.Fatal(err)
	}
	c.send(produceRequest("t", 0, 1, pacedBatch()), 9)
	c.sent()
	c.nc.Close()
	for deadline := time.Now().Add(10 * time.Second); len(r.broker.Connections()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("its connection is still there")
		}
	}
}

// A stop does not wait for who is not read.
func TestAStopDoesNotWaitForTheMuted(t *testing.T) {
	r := newHostsRig(t, nil)
	c := r.login("joe@a")
	c.send(createTopics("t"), 5)
	c.receive(&kmsg.CreateTopicsResponse{}, 5)
	if err := r.broker.SetVHostLimit(root, "a", broker.ProducerByteRate, 10); err != nil {
		t.Fatal(err)
	}
	c.send(produceRequest("t", 0, 1, pacedBatch()), 9)
	if c.sent() < time.Hour/2 {
		t.Error("it is not throttled for long")
	}
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// records counts what a topic holds.
func (r *rig) records(vhost, topic string) (n int64) {
	r.t.Helper()
	v, err := r.broker.VHost(vhost)
	if err != nil {
		r.t.Fatal(err)
	}
	q, err := v.Queue(topic)
	if err != nil {
		r.t.Fatal(err)
	}
	return q.Stats().Ready
}
