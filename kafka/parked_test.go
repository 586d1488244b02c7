package kafka

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/store"
)

// eventually waits for what is about to be true.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// longFetch waits for records of a topic that has none.
func longFetch(topic string, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = forEver, 1, 1<<20
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic = topic
	fp := kmsg.NewFetchRequestTopicPartition()
	fp.FetchOffset, fp.PartitionMaxBytes = offset, 1<<20
	ft.Partitions = append(ft.Partitions, fp)
	req.Topics = append(req.Topics, ft)
	return req
}

func joinOf(name, member string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = name, member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 300_000, 300_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = "range"
	req.Protocols = append(req.Protocols, p)
	return req
}

// session is one of an administrator, as other listeners have them.
func (r *rig) session() *broker.Session {
	v, err := r.broker.VHost(broker.DefaultVHost)
	if err != nil {
		r.t.Fatal(err)
	}
	s := v.NewSession(auth.Identity{Name: "other"})
	r.t.Cleanup(s.Close)
	return s
}

func (r *rig) groups() *group.Coordinator {
	v, err := r.broker.VHost(broker.DefaultVHost)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.server.groupsOf(v)
}

func TestRequestsThatWaitEndWithTheirClients(t *testing.T) {
	for _, c := range []struct {
		name string
		park func(c *raw)
	}{
		{"fetch", func(c *raw) { c.send(longFetch("t", 0), 11) }},
		{"fetch with requests behind it", func(c *raw) {
			for range 50 {
				c.send(longFetch("t", 0), 11)
			}
		}},
		{"join", func(c *raw) { c.send(joinOf("busy", ""), 3) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.topic("t", 1, nil)
			stays := r.raw() // a member that does not join again keeps others waiting
			stays.send(joinOf("busy", ""), 3)
			stays.receive(kmsg.NewPtrJoinGroupResponse(), 3)
			var clients []*raw
			for range 20 {
				client := r.raw()
				clients = append(clients, client)
				c.park(client)
			}
			time.Sleep(50 * time.Millisecond) // most are parked by now; each must end either way
			for _, client := range clients {
				client.nc.Close()
			}
			eventually(t, "the connections end", func() bool { return len(r.broker.Connections()) == 1 })
			if d := r.groups().Describe("busy"); len(d.Members) != 1 {
				t.Errorf("%d members are kept, of which %d can't come back", len(d.Members), len(d.Members)-1)
			}
		})
	}
}

func TestASyncThatWaitsEndsWithItsClient(t *testing.T) {
	r := newRig(t, func(o *Options) { o.InitialRebalanceDelay = 100 * time.Millisecond })
	leader, client := r.raw(), r.raw()
	leader.send(joinOf("unled", ""), 3)
	eventually(t, "the leader's join", func() bool { return len(r.groups().Describe("unled").Members) == 1 })
	client.send(joinOf("unled", ""), 3)
	var in kmsg.JoinGroupResponse
	client.receive(&in, 3)
	if in.LeaderID == in.MemberID {
		t.Fatal("the second member leads")
	}
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = "unled", in.MemberID, in.Generation
	client.send(req, 2)
	time.Sleep(20 * time.Millisecond)
	client.nc.Close()
	eventually(t, "the connection ends", func() bool { return len(r.broker.Connections()) == 1 })
}

// Clients that know one age of Kafka only ask for nothing before the request that waits.
func TestWhoWaitsWithItsFirstRequestMakesNoRoom(t *testing.T) {
	r := newRig(t, func(o *Options) { o.InitialRebalanceDelay = time.Hour })
	r.raw().send(joinOf("g", ""), 3)
	eventually(t, "it waits", func() bool { return len(r.groups().Describe("g").Members) == 1 })
	r.listener.Bound(1)
	late := r.raw()
	if _, err := late.nc.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) || len(r.groups().Describe("g").Members) != 1 {
		t.Errorf("it was closed for one that says nothing (%v)", err)
	}
}

func TestAFetchThatWaitsHearsThatItsTopicIsDeleted(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *rig, s *broker.Session) error
		want   wire.Code
	}{
		{"deleted", func(_ *rig, s *broker.Session) error {
			_, err := s.DeleteQueue("t", false, false)
			return err
		}, wire.UnknownTopicOrPartition},
		{"deleted and made again", func(r *rig, s *broker.Session) error {
			if _, err := s.DeleteQueue("t", false, false); err != nil {
				return err
			}
			r.topic("t", 1, nil)
			return nil
		}, wire.None},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.topic("t", 1, nil)
			client, s := r.raw(), r.session()
			client.send(longFetch("t", 0), 11)
			time.Sleep(30 * time.Millisecond)
			if err := c.change(r, s); err != nil {
				t.Fatal(err)
			}
			var res kmsg.FetchResponse
			client.receive(&res, 11)
			got := wire.Code(res.Topics[0].Partitions[0].ErrorCode)
			if got != c.want && got != wire.UnknownTopicOrPartition {
				t.Errorf("answered %v", got)
			}
		})
	}
}

// A topic that was made again under the name is not the one that is waited for.
func TestATopicThatWasReplacedIsNotWaitedFor(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	c, s := r.direct(t), r.session()
	if err := c.fetch.req.Parse(11, framedBody(longFetch("t", 0), 11)); err != nil {
		t.Fatal(err)
	}
	c.fetch.notify = func() {}
	c.watch()
	defer c.unwatch()
	if c.fetch.replaced() {
		t.Error("replaced, though nothing happened")
	}
	if _, err := s.DeleteQueue("t", false, false); err != nil {
		t.Fatal(err)
	}
	r.topic("t", 1, nil)
	if !c.fetch.replaced() {
		t.Error("the new one is taken for the old one")
	}
}

// A topic that goes between its being found and being read is unknown by what it was named by.
func TestATopicThatGoesWhileItIsReadIsUnknownByItsName(t *testing.T) {
	for name, want := range map[string]wire.Code{"t": wire.UnknownTopicOrPartition, "": wire.UnknownTopicID} {
		r := newRig(t, nil)
		r.topic("t", 1, nil)
		c := r.direct(t)
		asked := wire.FetchTopic{ID: queueID(t, r, "t")}
		if name != "" {
			asked = wire.FetchTopic{Name: []byte(name)}
		}
		known, err := c.topicNamed(broker.Consume, asked.Name, asked.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.session().DeleteQueue("t", false, false); err != nil {
			t.Fatal(err)
		}
		if got := c.lookAt(known, nil, asked, wire.FetchPartition{MaxBytes: 100}, 100).state.Err; got != want {
			t.Errorf("named %q: %v, want %v", name, got, want)
		}
	}
}

// framedBody is a request without its header.
func framedBody(req kmsg.Request, version int16) []byte {
	req.SetVersion(version)
	return req.AppendTo(nil)
}

func TestWhatIsParkedHoldsLittle(t *testing.T) {
	b := budget.New(budget.Options{})
	r := newRig(t, func(o *Options) { o.InitialRebalanceDelay, o.Budget = time.Hour, b })
	join := joinOf("g", "")
	join.Protocols[0].Metadata = make([]byte, 1<<20)
	r.raw().send(join, 3)
	eventually(t, "the join is parked", func() bool { return len(r.groups().Describe("g").Members) == 1 })
	eventually(t, "only the member is counted", func() bool { return b.Stats().Used < 3<<19 })
	if used := b.Stats().Used; used < 900<<10 {
		t.Errorf("the member is counted with %d bytes", used)
	}
}

// What a Fetch names many times is waited for once.
func TestAFetchWatchesEachPartitionOnce(t *testing.T) {
	for _, n := range []int{3, 1000} {
		r := newRigMode(t, store.ModeOS, nil)
		r.topic("t", 2, nil)
		c := r.direct(t)
		q := kmsg.NewPtrFetchRequest()
		for i := range n {
			part := kmsg.NewFetchRequestTopicPartition()
			part.Partition = int32(i % 2)
			q.Topics = append(q.Topics, kmsg.FetchRequestTopic{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{part}})
		}
		h, body, err := wire.ParseHeader(framed(q, 11))
		if err == nil {
			err = c.fetch.req.Parse(h.Version, body)
		}
		if err != nil {
			t.Fatal(err)
		}
		c.watch()
		if len(c.fetch.watched) != 2 || len(c.fetch.stops) != 2 {
			t.Errorf("of %d that are named %d are watched", n, len(c.fetch.watched))
		}
		c.unwatch()
	}
}
