package kafka

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/store"
)

// shareBeat is a heartbeat of a member of group "s"; epoch 0 joins, -1 leaves.
func (c *raw) shareBeat(member string, epoch int32, topics ...string) {
	c.t.Helper()
	q := kmsg.NewPtrShareGroupHeartbeatRequest()
	q.GroupID, q.MemberID, q.MemberEpoch, q.SubscribedTopicNames = "s", member, epoch, topics
	c.send(q, 1)
	var res kmsg.ShareGroupHeartbeatResponse
	if c.receive(&res, 1); res.ErrorCode != 0 {
		c.t.Fatalf("heartbeat of %s: %+v", member, res)
	}
}

// shareOffsets is what is told of group "s": topic/partition=start,lag of each partition.
func (c *raw) shareOffsets(topics ...string) string {
	c.t.Helper()
	q := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
	g := kmsg.NewDescribeShareGroupOffsetsRequestGroup()
	g.GroupID = "s"
	for _, name := range topics {
		t := kmsg.NewDescribeShareGroupOffsetsRequestGroupTopic()
		t.Topic, t.Partitions = name, []int32{0}
		g.Topics = append(g.Topics, t)
	}
	q.Groups = append(q.Groups, g)
	c.send(q, 1)
	var res kmsg.DescribeShareGroupOffsetsResponse
	c.receive(&res, 1)
	if len(res.Groups) != 1 || res.Groups[0].ErrorCode != 0 {
		c.t.Fatalf("%+v", res)
	}
	var out []string
	for _, t := range res.Groups[0].Topics {
		for _, p := range t.Partitions {
			out = append(out, fmt.Sprintf("%s/%d=%d,%d", t.Topic, p.Partition, p.StartOffset, p.Lag))
			if p.ErrorCode != 0 {
				out = append(out, fmt.Sprint("error ", p.ErrorCode))
			}
		}
	}
	return strings.Join(out, " ")
}

// moveShare alters one offset of group "s", and says with which codes it was answered.
func (c *raw) moveShare(topic string, partition int32, to int64) string {
	c.t.Helper()
	q := kmsg.NewPtrAlterShareGroupOffsetsRequest()
	q.GroupID = "s"
	t := kmsg.NewAlterShareGroupOffsetsRequestTopic()
	p := kmsg.NewAlterShareGroupOffsetsRequestTopicPartition()
	p.Partition, p.StartOffset = partition, to
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	c.send(q, 0)
	var res kmsg.AlterShareGroupOffsetsResponse
	if c.receive(&res, 0); res.ErrorCode != 0 {
		return fmt.Sprintf("group %d %s", res.ErrorCode, *res.ErrorMessage)
	}
	return fmt.Sprint(res.Topics[0].Partitions[0].ErrorCode)
}

func (c *raw) deleteShare(topic string) string {
	c.t.Helper()
	q := kmsg.NewPtrDeleteShareGroupOffsetsRequest()
	q.GroupID = "s"
	t := kmsg.NewDeleteShareGroupOffsetsRequestTopic()
	t.Topic = topic
	q.Topics = append(q.Topics, t)
	c.send(q, 0)
	var res kmsg.DeleteShareGroupOffsetsResponse
	if c.receive(&res, 0); res.ErrorCode != 0 {
		return fmt.Sprintf("group %d %s", res.ErrorCode, *res.ErrorMessage)
	}
	return fmt.Sprint(res.Topics[0].ErrorCode)
}

func (c *raw) wants(what, got, want string) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s: %s, not %s", what, got, want)
	}
}

// The codes are those of Kafka 4.4, asked the same, but where a comment says so.
func TestHowFarAShareGroupIsCanBeToldAndChanged(t *testing.T) {
	r := newRig(t, nil)
	r.filled(t, "t", 10)
	r.filled(t, "u", 3)
	c := r.raw()
	c.wants("a group that is not there", c.shareOffsets(), "")
	c.wants("its topics", c.shareOffsets("t", "none"), "t/0=-1,-1 none/0=-1,-1")
	c.wants("nothing to delete", c.deleteShare("t"), "group 69 Group s not found.")
	c.shareBeat("m", 0, "t")
	c.wants("a topic that was begun", c.shareOffsets(), "t/0=0,10")
	c.wants("others", c.shareOffsets("t", "u", "none"), "t/0=0,10 u/0=-1,-1 none/0=-1,-1")
	c.wants("moved with members", c.moveShare("t", 0, 3), "group 68 The group is not empty.")
	c.wants("deleted with members", c.deleteShare("t"), "group 68 The group is not empty.")
	a := r.sharer(t, "m", "t")
	a.got("some", a.fetch(4), []string{"0-3:1"})
	a.got("one kept", a.fetch(1, verdictsAt{1, 3, []int8{shareAccept}}), []string{"4-4:1"})
	c.wants("what is held is left", c.shareOffsets(), "t/0=0,7")
	c.shareBeat("m", -1)
	c.wants("back while somebody holds", c.moveShare("t", 0, 0), "0") // it is there already
	a.nc.Close()
	queue, _ := mustVHost(t, r).Queue("t")
	eventually(t, "what it held comes back", func() bool { return queue.Unacked() == 0 })
	c.wants("which moves nothing", c.shareOffsets(), "t/0=0,7")
	c.wants("moved on", c.moveShare("t", 0, 6), "0")
	c.wants("after that", c.shareOffsets(), "t/0=6,4")
	c.wants("beyond the end", c.moveShare("t", 0, 11), "1") // Kafka takes it
	c.wants("before the start", c.moveShare("t", 0, -1), "1")
	c.wants("no such topic", c.moveShare("none", 0, 1), "3")
	c.wants("no such partition", c.moveShare("t", 7, 1), "3")
	b := r.sharer(t, "b", "t")
	b.got("from there on", b.fetch(2), []string{"6-7:1"})
	c.wants("back to what somebody holds", c.moveShare("t", 0, 2), "42") // Kafka's groups have no part in each other's
	b.fetch(0, verdictsAt{6, 7, []int8{shareAccept}})
	c.wants("back", c.moveShare("t", 0, 2), "0")
	c.wants("after that", c.shareOffsets(), "t/0=2,8")
	b.got("all again", b.fetch(100), []string{"2-9:1"})
	b.fetch(0, verdictsAt{2, 9, []int8{shareAccept}})
	c.wants("to the end", c.shareOffsets(), "t/0=10,0")
	c.wants("begun by it", c.moveShare("u", 0, 1), "0")
	c.wants("both", c.shareOffsets("t", "u"), "t/0=10,0 u/0=1,2")
	c.wants("deleted", c.deleteShare("u"), "0")
	c.wants("not again", c.deleteShare("u"), "3")
	c.wants("no such topic", c.deleteShare("none"), "3")
	c.wants("the other", c.shareOffsets("t", "u"), "t/0=10,0 u/0=-1,-1")
	r.sharer(t, "c", "u").acquires("work stays where it is", "1-2:1")
}

// acquires fetches all, and says which that should be.
func (s *sharer) acquires(what, want string) {
	s.t.Helper()
	fetch := s.fetch
	if want == "" {
		fetch = s.glance
	}
	s.wants(what, strings.Join(runsOf(fetch(100)), " "), want)
}

// A queue's consumers settle for good: its work goes on only.
func TestTheWorkOfAQueueDoesNotGoBack(t *testing.T) {
	r := newRig(t, nil)
	s := mustVHost(t, r).NewSession(auth.Identity{})
	defer s.Close()
	if _, err := s.DeclareQueue("q", broker.QueueOptions{Durable: true}); err != nil {
		t.Fatal(err)
	}
	c := r.raw()
	if p := c.produce("q", -1, makeBatch(nil, "1", "2", "3", "4", "5")); p.ErrorCode != 0 {
		t.Fatal(p)
	}
	c.wants("on", c.moveShare("q", 0, 3), "0")
	c.wants("on", c.shareOffsets(), "q/0=3,2")
	c.wants("back", c.moveShare("q", 0, 1), fmt.Sprint(int(wire.InvalidRequest)))
	c.wants("unchanged", c.shareOffsets(), "q/0=3,2")
}

// Where a group begins is asked of its setting once, on a topic that nobody has taken from.
func TestAShareGroupBeginsWhereItsSettingSays(t *testing.T) {
	for _, tc := range []struct{ set, want string }{{"", "0-9:1"}, {"earliest", "0-9:1"}, {"latest", ""}, {"by_duration:PT1H", "0-9:1"}} {
		t.Run(tc.set, func(t *testing.T) {
			r := newRig(t, nil)
			r.filled(t, "t", 10)
			c := r.raw()
			if tc.set != "" {
				c.alterGroup("s", "share.auto.offset.reset", tc.set)
			}
			c.shareBeat("m", 0, "t")
			a := r.sharer(t, "m", "t")
			a.acquires("first", tc.want)
			if p := c.produce("t", -1, makeBatch(nil, "1", "2", "3", "4", "5")); p.ErrorCode != 0 {
				t.Fatal(p)
			}
			c.shareBeat("n", 0, "t") // which moves nothing
			a.acquires("what came then", "10-14:1")
		})
	}
	r := newRig(t, nil)
	r.filled(t, "t", 10)
	c := r.raw()
	a := r.sharer(t, "first", "t")
	a.got("first", a.fetch(2), []string{"0-1:1"})
	c.alterGroup("s", "share.auto.offset.reset", "latest")
	c.shareBeat("m", 0, "t")
	a.acquires("of whom somebody has taken", "2-9:1")
}

// A kill between a member's joining and the move of the work to where its group begins leaves that to be done.
func TestAShareGroupBeginsAfterAKillWhereItsSettingSays(t *testing.T) {
	r := newRigWith(t, store.ModeGroup, func(r *rig) { r.memory = func() error { return nil } })
	r.filled(t, "t", 10)
	r.raw().alterGroup("s", "share.auto.offset.reset", "latest")
	groups := r.server.groupsOf(mustVHost(t, r))
	if joined := groups.EpochHeartbeat(group.EpochHeartbeat{Type: group.Share, Group: "s", MemberID: "m", RebalanceTimeout: -1, Names: []string{"t"}}); joined.Err != wire.None {
		t.Fatal(joined)
	}
	after := &rig{t: t, mem: r.mem.(*fs.Mem).Kill(), mode: store.ModeGroup}
	after.start()
	defer after.stop()
	c := after.raw()
	c.shareBeat("m", 1, "t")
	a := after.sharer(t, "m", "t")
	a.acquires("first", "")
	if p := c.produce("t", -1, makeBatch(nil, "1", "2")); p.ErrorCode != 0 {
		t.Fatal(p)
	}
	a.acquires("what came then", "10-11:1")
}

// What a share group has settled stays settled after a kill from the answer on, in whatever order, how often messages were delivered
// is known, and so is the group.
func TestAShareGroupGoesOnAfterAKill(t *testing.T) {
	r := newRigWith(t, store.ModeGroup, func(r *rig) { r.under = func(o *broker.Options) { o.SaveEvery = time.Hour } })
	r.filled(t, "t", 20)
	c := r.raw()
	c.shareBeat("m", 0, "t")
	c.alterGroup("s", "share.record.lock.duration.ms", "20000")
	a := r.sharer(t, "m", "t")
	a.got("ten", a.fetch(10), []string{"0-9:1"})
	a.fetch(0, verdictsAt{0, 4, []int8{shareAccept}}, verdictsAt{5, 5, []int8{shareRelease}}, verdictsAt{7, 7, []int8{shareAccept}})
	after := &rig{t: t, mem: r.mem.(*fs.Mem).Kill(), mode: store.ModeGroup}
	after.start()
	defer after.stop()
	e := after.raw()
	e.wants("how far it is", strings.Split(e.shareOffsets(), ",")[0], "t/0=5")
	b := after.sharer(t, "m", "t")
	if runs := strings.Join(runsOf(b.fetch(100)), " "); !strings.HasPrefix(runs, "5-5:2 6-6:1 8-") || strings.Contains(runs, " 7-") {
		t.Errorf("what comes is %s", runs)
	}
	d := after.raw()
	if lock := after.server.groupsOf(mustVHost(t, after)).Settings("s").ShareLock; lock != 20*time.Second {
		t.Errorf("locks last %v", lock)
	}
	beat := kmsg.NewPtrShareGroupHeartbeatRequest()
	beat.GroupID, beat.MemberID, beat.MemberEpoch = "s", "m", 1
	d.send(beat, 1)
	var res kmsg.ShareGroupHeartbeatResponse
	if d.receive(&res, 1); res.ErrorCode != 0 {
		t.Errorf("the member goes on: %+v", res)
	}
}
