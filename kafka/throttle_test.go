package kafka

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
)

// rate is so many bytes a second that a batch of paced bytes takes 1.5 s more than what is free.
const paced, rate = 25_000, 10_000

func pacedBatch() []byte { return makeBatch(nil, strings.Repeat("x", paced)) }

// sent reads the answer to a produce, with how long the connection is not read.
func (c *raw) sent() time.Duration {
	c.t.Helper()
	var res kmsg.ProduceResponse
	c.receive(&res, 9)
	if res.Topics[0].Partitions[0].ErrorCode != 0 {
		c.t.Fatalf("%+v", res)
	}
	return time.Duration(res.ThrottleMillis) * time.Millisecond
}

// costs says whether a wait is what a batch of paced bytes costs, or so many of them.
func costs(t *testing.T, what string, got time.Duration, batches int) {
	t.Helper()
	want := time.Duration(batches*paced-rate) * time.Second / rate
	if got < want || got > want+50*time.Millisecond { // a request is more than its batch
		t.Errorf("%s: throttled for %v, want %v", what, got, want)
	}
}

// unreadFor checks that a connection is not read before a time from now has passed, by a request that is answered at
// once when it is.
func (c *raw) unreadFor(d time.Duration) {
	c.t.Helper()
	began := time.Now()
	c.send(kmsg.NewPtrMetadataRequest(), 9)
	c.receive(&kmsg.MetadataResponse{}, 9)
	if took := time.Since(began); took < d-time.Millisecond || took > d+netx.HoldPoll {
		c.t.Errorf("it was read after %v, want %v", took, d)
	}
}

// withPaces runs a test with a rig as newHostsRig makes it, on a fake clock, and a topic t in the host a.
func withPaces(t *testing.T, test func(t *testing.T, r *rig, c *raw)) {
	users := usersWith(t, "joe", "secret")
	onAFakeClock(t, func(r *rig) { r.edit = func(o *Options) { o.Users = users } }, func(t *testing.T, r *rig) {
		r.host("a")
		r.host("b")
		c := r.login("joe@a")
		c.send(createTopics("t"), 5)
		c.receive(&kmsg.CreateTopicsResponse{}, 5)
		test(t, r, c)
	})
}

func (r *rig) limit(name string, n int64) {
	r.t.Helper()
	if err := r.broker.SetVHostLimit(root, "a", name, n); err != nil {
		r.t.Fatal(err)
	}
}

func TestProducersOverTheirRateAreToldAndNotRead(t *testing.T) {
	withPaces(t, func(t *testing.T, r *rig, c *raw) {
		two, other := r.login("joe@a"), r.login("joe@b")
		other.send(createTopics("t"), 5)
		other.receive(&kmsg.CreateTopicsResponse{}, 5)
		c.send(produceRequest("t", 0, 1, pacedBatch()), 9)
		if wait := c.sent(); wait != 0 {
			t.Errorf("without a limit: %v", wait)
		}
		r.limit(broker.ProducerByteRate, rate)
		c.send(produceRequest("t", 0, -1, pacedBatch()), 9)
		began := time.Now()
		wait := c.sent()
		costs(t, "one", wait, 1)
		two.send(produceRequest("t", 0, 1, pacedBatch()), 9)
		costs(t, "another of the same", two.sent(), 2)
		other.send(produceRequest("t", 0, 1, pacedBatch()), 9)
		if wait := other.sent(); wait != 0 {
			t.Errorf("one that is not limited: %v", wait)
		}
		other.unreadFor(0)
		if took := time.Since(began); took != 0 {
			t.Errorf("the answers came after %v", took)
		}
		c.unreadFor(wait)
		c.send(fetchRequest("t", 0, 0), 11)
		var res kmsg.FetchResponse
		if c.receive(&res, 11); res.ThrottleMillis != 0 {
			t.Errorf("a fetch is throttled for %d ms", res.ThrottleMillis)
		}
		r.limit(broker.ProducerByteRate, -1) // which ends the wait of the second
		two.unreadFor(0)
		if n := r.records("a", "t"); n != 3 {
			t.Errorf("%d records were stored, want 3", n)
		}
	})
}

func TestConsumersOverTheirRateAreToldAndNotRead(t *testing.T) {
	withPaces(t, func(t *testing.T, r *rig, c *raw) {
		c.send(produceRequest("t", 0, 1, pacedBatch()), 9)
		c.sent()
		r.limit(broker.ConsumerByteRate, rate)
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
		if fetch() == 0 {
			t.Error("a second fetch is not throttled")
		}
		began := time.Now()
		if err := r.broker.DeleteVHost(root, "a"); err != nil { // nobody waits for what is over
			t.Fatal(err)
		}
		c.closed("a muted connection")
		if took := time.Since(began); took > netx.HoldPoll {
			t.Errorf("it was closed after %v", took)
		}
	})
}

// A producer that wants no answer is not told, and not read either.
func TestProducersWithoutAnswersAreNotRead(t *testing.T) {
	withPaces(t, func(t *testing.T, r *rig, c *raw) {
		r.limit(broker.ProducerByteRate, rate)
		began := time.Now()
		c.send(produceRequest("t", 0, 0, pacedBatch()), 9)
		c.send(kmsg.NewPtrMetadataRequest(), 9)
		c.receive(&kmsg.MetadataResponse{}, 9)
		costs(t, "one", time.Since(began), 1)
	})
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
	eventually(t, "its connection is gone", func() bool { return len(r.broker.Connections()) == 0 })
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
	r.stop() // fails the test when somebody is waited for
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
