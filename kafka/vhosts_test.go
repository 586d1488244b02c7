package kafka

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
)

var root = audit.Actor{User: "root", Protocol: "test"}

// newHostsRig is a server with the virtual hosts a and b and the user joe, whose password is secret.
func newHostsRig(t *testing.T, edit func(*Options)) *rig {
	t.Helper()
	users := usersWith(t, "joe", "secret")
	r := newRig(t, func(o *Options) {
		o.Users = users
		if edit != nil {
			edit(o)
		}
	})
	r.host("a")
	r.host("b")
	return r
}

func (r *rig) host(name string) {
	r.t.Helper()
	if _, err := r.broker.PutVHost(root, name, broker.VHostMeta{}); err != nil {
		r.t.Fatal(err)
	}
}

func as(user string) kgo.Opt { return kgo.SASL(plainAuth(user, "secret")) }

// Clients in two virtual hosts use the same names of topics and groups, and never see what the other does.
func TestVirtualHostsHaveTopicsAndGroupsOfTheirOwn(t *testing.T) {
	r := newHostsRig(t, nil)
	hosts := []string{"a", "b", "/"}
	committed := map[string]int64{"a": 10, "b": 20, "/": 30}
	for i, host := range hosts {
		cl := r.client(as("joe@" + host))
		produce(t, cl, "t", 1000*i, 100)
		group := r.client(as("joe@"+host), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.DisableAutoCommit())
		got := consume(t, group, 100)
		inOrder(t, got, 1000*i)
		if err := group.CommitRecords(testContext(t), got[committed[host]-1]); err != nil {
			t.Fatal(err)
		}
		group.Close()
	}
	for range 2 {
		for i, host := range hosts {
			admin := kadm.NewClient(r.client(as("joe@" + host)))
			offsets, err := admin.FetchOffsets(testContext(t), "g")
			if err != nil {
				t.Fatal(err)
			}
			if at, ok := offsets.Lookup("t", 0); !ok || at.At != committed[host] {
				t.Errorf("%s: the group is at %d, want %d", host, at.At, committed[host])
			}
			topics, err := admin.ListTopics(testContext(t))
			if err != nil || len(topics) != 1 {
				t.Errorf("%s: topics %v, %v", host, topics.Names(), err)
			}
			group := r.client(as("joe@"+host), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.DisableAutoCommit())
			inOrder(t, consume(t, group, int(100-committed[host])), 1000*i+int(committed[host]))
			group.Close()
		}
		r.restart()
	}
}

// A virtual host that is deleted closes the sockets of its clients, parked ones too, and those alone.
func TestClientsOfADeletedVirtualHostAreClosed(t *testing.T) {
	r := newHostsRig(t, nil)
	for _, host := range []string{"a", "b"} {
		cl := r.client(as("joe@" + host))
		produce(t, cl, "t", 0, 10)
		if err := kadm.NewClient(cl).CommitAllOffsets(testContext(t), "g", kadm.OffsetsFromFetches(kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "t",
			Partitions: []kgo.FetchPartition{{Records: []*kgo.Record{{Topic: "t", Offset: 4}}}}}}}})); err != nil {
			t.Fatal(err)
		}
	}
	inside, other := r.login("joe@a"), r.login("joe@b")
	for _, c := range []*raw{inside, other} { // which waits for what does not come
		c.send(fetchRequest("t", 10, forEver), 11)
	}
	for len(r.broker.Connections()) < 2 {
		time.Sleep(time.Millisecond)
	}
	v, _ := r.broker.VHost("a")
	old := r.server.groupsOf(v)
	if err := r.broker.DeleteVHost(root, "a"); err != nil {
		t.Fatal(err)
	}
	inside.closed("a parked fetch")
	r.host("a")
	admin := kadm.NewClient(r.client(as("joe@a")))
	if topics, err := admin.ListTopics(testContext(t)); err != nil || len(topics) != 0 {
		t.Errorf("the new one has topics %v, %v", topics.Names(), err)
	}
	if offsets, err := admin.FetchOffsets(testContext(t), "g"); err != nil || len(offsets) != 0 {
		t.Errorf("the new one has offsets %v, %v", offsets, err)
	}
	if again, _ := r.broker.VHost("a"); r.server.groupsOf(again) == old || r.server.groupsOf(v) == old {
		t.Error("its groups are those of the old one")
	}
	offsets, err := kadm.NewClient(r.client(as("joe@b"))).FetchOffsets(testContext(t), "g")
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := offsets.Lookup("t", 0); !ok || at.At != 5 {
		t.Errorf("the other's group is at %v", at)
	}
	r.server.mu.Lock()
	kept := r.server.groups[v]
	r.server.mu.Unlock()
	if kept != nil {
		t.Error("a coordinator of what is gone is kept")
	}
	produce(t, r.client(as("joe@b")), "t", 10, 1)
	var res kmsg.FetchResponse
	if other.receive(&res, 11); len(res.Topics[0].Partitions[0].RecordBatches) == 0 {
		t.Error("the other's fetch got nothing")
	}
}

// A client that names no virtual host is in the one that its user has, or in the default one.
func TestUsersHaveAHome(t *testing.T) {
	homes := map[string]string{"joe": "a"}
	r := newHostsRig(t, func(o *Options) {
		o.VHost = "b"
		o.Home = func(user string) string { return homes[user] }
	})
	for user, want := range map[string]string{"joe": "a", "joe@b": "b", "joe@/": "/"} {
		c := r.login(user)
		var got []string
		for _, i := range r.broker.Connections() {
			got = append(got, i.VHost)
		}
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s is in %q, want %q", user, got, want)
		}
		c.nc.Close()
		for len(r.broker.Connections()) > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	homes["joe"] = ""
	r.login("joe")
	if got := r.broker.Connections()[0].VHost; got != "b" {
		t.Errorf("without a home in %q", got)
	}
	if err := r.client(as("joe@none"), kgo.RequestRetries(0)).Ping(testContext(t)); codeIn(err) != 58 {
		t.Errorf("no such virtual host: %v", err)
	}
}

func TestConnectionLimitsRefuseLogins(t *testing.T) {
	r := newHostsRig(t, nil)
	if err := r.broker.SetVHostLimit(root, "a", broker.MaxConnections, 1); err != nil {
		t.Fatal(err)
	}
	c := r.login("joe@a")
	refused := r.raw()
	want := "login refused: access to vhost 'a' refused for user 'joe': connection limit (1) is reached"
	if code, text := refused.tryLogin("joe@a"); code != 58 || text != want {
		t.Errorf("%d %s", code, text)
	}
	refused.closed("a connection too many")
	refused.nc.Close()
	r.login("joe@b")
	c.nc.Close()
	for r.broker.ConnectionCounts()["kafka"] > 1 {
		time.Sleep(time.Millisecond)
	}
	r.login("joe@a")
	if err := r.broker.SetVHostLimit(root, "b", broker.MaxQueues, 1); err != nil {
		t.Fatal(err)
	}
	admin := kadm.NewClient(r.client(as("joe@b")))
	for i, want := range []int16{0, 44} {
		res, err := admin.CreateTopic(testContext(t), 1, 1, nil, fmt.Sprint("t", i))
		if code := codeIn(res.Err); code != want {
			t.Errorf("topic %d: %v, %v", i, res.Err, err)
		} else if want != 0 && res.ErrMessage != "cannot declare queue 't1': queue limit in vhost 'b' (1) is reached" {
			t.Error(res.ErrMessage)
		}
	}
}

// Who finds no place without a login may log in all the same, as somebody else or for another virtual host.
func TestALoginDoesNotNeedThePlaceOfAStranger(t *testing.T) {
	for name, full := range map[string]func(*rig) error{
		"a limit": func(r *rig) error { return r.broker.SetVHostLimit(root, "b", broker.MaxConnections, 0) },
		"no home": func(r *rig) error { return r.broker.DeleteVHost(root, "b") },
	} {
		t.Run(name, func(t *testing.T) {
			users := usersWith(t, "joe", "secret")
			users.SetAnonymous("joe")
			r := newHostsRig(t, func(o *Options) { o.Users, o.VHost = users, "b" })
			if err := full(r); err != nil {
				t.Fatal(err)
			}
			r.login("joe@a")
			stranger := r.raw()
			stranger.send(metadataOf("t"), 9)
			stranger.closed("a stranger for whom there is no place")
		})
	}
}

// login is a client that has logged in with PLAIN, whose password is secret.
func (r *rig) login(user string) *raw {
	r.t.Helper()
	c := r.raw()
	if code, text := c.tryLogin(user); code != 0 {
		r.t.Fatalf("%s: %d %s", user, code, text)
	}
	return c
}

func (c *raw) tryLogin(user string) (code int16, text string) {
	c.t.Helper()
	h := kmsg.NewPtrSASLHandshakeRequest()
	h.Mechanism = "PLAIN"
	c.send(h, 1)
	c.receive(&kmsg.SASLHandshakeResponse{}, 1)
	a := kmsg.NewPtrSASLAuthenticateRequest()
	a.SASLAuthBytes = []byte("\x00" + user + "\x00secret")
	c.send(a, 1)
	var res kmsg.SASLAuthenticateResponse
	c.receive(&res, 1)
	if res.ErrorMessage != nil {
		text = *res.ErrorMessage
	}
	return res.ErrorCode, text
}

// fetchRequest asks for one partition from an offset on, and waits up to that many ms.
func fetchRequest(topic string, offset int64, waitMs int32) *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes = waitMs, 1, 1<<20
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = offset, 1<<20, -1
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	return q
}
