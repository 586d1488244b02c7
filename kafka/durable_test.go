package kafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// flushes are the operations that make something durable.
func flushes(op fs.Op, _ string) bool {
	return op == fs.OpSync || op == fs.OpSyncAll || op == fs.OpSyncDir
}

// silent fails if the server answers. The flush that the answer has to wait for was seen
// waiting before, so that a short look is enough: an answer in time would be there.
func (c *raw) silent() {
	c.t.Helper()
	_ = c.nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, body, err := c.frame(); !isTimeout(err) {
		c.t.Fatalf("before the flush the server answered %x (%v)", body, err)
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
}

func createTopics(name string) *kmsg.CreateTopicsRequest {
	q := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, 1, 1
	q.Topics = append(q.Topics, t)
	q.TimeoutMillis = 20_000
	return q
}

func offsetCommit(group, topic string, offset int64) *kmsg.OffsetCommitRequest {
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Group, q.Generation = group, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topic
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = offset
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	return q
}

// What is answered for good must be on the disk before, in the modes that promise it.
func TestAnAnswerThatPromisesWaitsForItsFlush(t *testing.T) {
	value := makeBatch(nil, "v")
	cases := []struct {
		name    string
		ask     kmsg.Request
		version int16
	}{
		{"produce with acks=all", produceRequest("t", 0, -1, value), 9},
		{"produce with acks=all into an exchange", produceRequest("feed", 0, -1, value), 9},
		{"a group's commit", offsetCommit("g", "t", 1), 7},
		{"a new topic", createTopics("new"), 5},
	}
	for _, c := range cases {
		for _, mode := range []store.Mode{store.ModeGroup, store.ModeAlways} {
			t.Run(c.name+", "+mode.String(), func(t *testing.T) {
				r, disk := newFrozenRig(t, mode)
				client := r.raw()
				disk.Freeze(flushes)
				client.send(c.ask, c.version)
				disk.AwaitWaiting(1)
				client.silent()
				disk.Thaw()
				res := c.ask.ResponseKind()
				client.receive(res, c.version)
			})
		}
	}
}

// What promises no disk does not wait for one.
func TestAnAnswerThatPromisesNoDiskDoesNotWaitForOne(t *testing.T) {
	for name, c := range map[string]struct {
		mode store.Mode
		acks int16
	}{"acks=1": {store.ModeGroup, 1}, "mode os": {store.ModeOS, -1}} {
		t.Run(name, func(t *testing.T) {
			r, disk := newFrozenRig(t, c.mode)
			client := r.raw()
			disk.Freeze(flushes)
			if p := client.produce("t", c.acks, makeBatch(nil, "v")); p.ErrorCode != 0 {
				t.Errorf("produce: %d", p.ErrorCode)
			}
		})
	}
}

// newFrozenRig is a rig over a disk that can stop answering, with a topic t and an
// exchange that takes what is produced to the topic feed.
func newFrozenRig(t *testing.T, mode store.Mode) (*rig, *fs.Freezer) {
	disk := fs.NewFreezer()
	r := &rig{t: t, mem: fs.Failing(fs.NewMem(1), disk.Hook), mode: mode}
	r.start()
	t.Cleanup(r.stop)
	t.Cleanup(disk.Thaw)
	r.topic("t", 1, nil)
	v, err := r.broker.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	s := v.NewSession(auth.Identity{Name: "guest"})
	args := field.AppendString(field.AppendName(nil, "x-kafka-topic"), []byte("feed"))
	if _, err := s.DeclareExchange("x", broker.ExchangeOptions{Type: "fanout", Durable: true, Args: args}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeclareQueue("q", broker.QueueOptions{Durable: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.Bind(broker.Binding{Source: "x", Dest: "q"}); err != nil {
		t.Fatal(err)
	}
	// The first message makes a log's files, which are flushed in every mode: only what
	// comes after it shows what a flush is for.
	c := r.raw()
	c.produce("t", -1, makeBatch(nil, "first"))
	c.produce("feed", -1, makeBatch(nil, "first"))
	return r, disk
}
