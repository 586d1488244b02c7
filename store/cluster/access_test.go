package cluster

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/leveret-mq/leveret/access"
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
)

var tester = audit.Process("test")

// guarded is a broker over the cluster with the users there.
type guarded struct {
	t      *testing.T
	store  *Store
	users  *access.Keeper
	broker *broker.Broker
}

func startGuarded(t *testing.T, c *kfake.Cluster) *guarded {
	t.Helper()
	s, quiet := openStore(t, c), slog.New(slog.DiscardHandler)
	k, err := access.Open(s, access.Options{DefaultUser: "root", DefaultPassword: "s3cret", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	k.AwaitFirst()
	b, err := broker.Open(s, broker.Options{Policy: k.Policy, KeyPolicy: k.Keys, UserLimits: k.Limits, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	k.Serve(b)
	return &guarded{t, s, k, b}
}

func (g *guarded) stop() {
	g.t.Helper()
	if err := g.broker.Close(); err != nil {
		g.t.Error(err)
	}
	g.users.Close()
	if err := g.store.Close(); err != nil {
		g.t.Error(err)
	}
}

func (g *guarded) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// logsIn tells whether somebody gets in.
func (g *guarded) logsIn(user, password string) bool {
	_, err := g.users.Logins().Login(g.t.Context(), user, []byte(password), nil)
	return err == nil
}

// session is one of a user, whether that may be there or not.
func (g *guarded) session(vhost, user string) *broker.Session {
	g.t.Helper()
	v, err := g.broker.VHost(vhost)
	g.must(err)
	s := v.NewSession(auth.Identity{Name: user})
	g.t.Cleanup(s.Close)
	return s
}

// kept is all that a start must find again.
func (g *guarded) kept() []any {
	v, err := g.broker.VHost("v")
	g.must(err)
	return []any{g.users.Users(), g.users.Permissions(), g.users.TopicPermissions(), v.Meta(), v.Policies(), v.Limits()}
}

// furnish makes a virtual host v with a user ann.
func (g *guarded) furnish() {
	g.t.Helper()
	_, err := g.broker.PutVHost(tester, "v", broker.VHostMeta{Description: "d", DefaultQueueType: "quorum"})
	g.must(err)
	password := "pw"
	g.must(g.users.PutUser(tester, access.NewUser{Name: "ann", Password: &password, Tags: []string{"monitoring"}, Limits: map[string]int64{broker.MaxConnections: 5}}))
	g.must(g.users.SetPermission(tester, access.Permission{VHost: "v", User: "ann", Configure: "^q", Write: "^q", Read: "^q"}))
	g.must(g.users.SetTopicPermission(tester, access.TopicPermission{VHost: "v", User: "ann", Exchange: "amq.topic", Write: "^{username}", Read: ""}))
	g.must(g.broker.SetVHostLimit(tester, "v", broker.MaxQueues, 3))
	v, err := g.broker.VHost("v")
	g.must(err)
	g.must(v.PutPolicies(tester, broker.SettingPolicy{Name: "p", Pattern: "^q", Definition: []byte(`{"max-length":2}`)}))
}

// Users, what they may do, virtual hosts with their limits, and policies are those of the cluster: a broker that
// comes later on an empty disk has them all, and makes no first user.
func TestUsersAndRightsAreTheClusters(t *testing.T) {
	c := fakeCluster(t)
	g := startGuarded(t, c)
	g.furnish()
	before := g.kept()
	g.stop()
	g = startGuarded(t, c)
	defer g.stop()
	for i, now := range g.kept() {
		if !reflect.DeepEqual(before[i], now) {
			t.Errorf("got  %+v\nwant %+v", now, before[i])
		}
	}
	for user, password := range map[string]string{"root": "s3cret", "ann": "pw"} {
		if !g.logsIn(user, password) {
			t.Errorf("%s does not get in", user)
		}
	}
	if g.logsIn("ann", "s3cret") {
		t.Error("ann gets in with another's password")
	}
	s := g.session("v", "ann")
	if err := s.Enter(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeclareQueue("other", broker.QueueOptions{Durable: true}); broker.KindOf(err) != broker.Refused {
		t.Errorf("without the right: %v", err)
	}
	for i, name := range []string{"q1", "q2", "q3", "q4"} {
		if _, err := s.DeclareQueue(name, broker.QueueOptions{Durable: true}); (err == nil) != (i < 3) {
			t.Errorf("queue %s, of three at most: %v", name, err)
		}
	}
	gate := &gateway{t, g.store, g.broker, g.session("v", "root")}
	g.must(g.users.SetPermission(tester, access.Permission{VHost: "v", User: "root", Configure: ".*", Write: ".*", Read: ".*"}))
	gate.publish("", "q1", 0, 5)
	v, err := g.broker.VHost("v")
	g.must(err)
	q, err := v.Queue("q1")
	g.must(err)
	soon(t, "two messages to be left, as the policy has it", func() bool { return q.Ready() == 2 })
}

// What one process changes holds in the others: who is made gets in, who loses a right loses it for what runs,
// too, and who is deleted gets in no more.
func TestUsersAndRightsAreTheSameEverywhere(t *testing.T) {
	c := fakeCluster(t)
	a := startGuarded(t, c)
	defer a.stop()
	b := startGuarded(t, c)
	defer b.stop()
	a.furnish()
	soon(t, "the user with the right", func() bool {
		_, ok := b.users.Permission("v", "ann")
		_, err := b.broker.VHost("v")
		return ok && err == nil && len(b.users.TopicPermissions()) == 1
	})
	if !b.logsIn("ann", "pw") {
		t.Error("ann does not get in")
	}
	s := b.session("v", "ann")
	b.must(s.Enter())
	_, err := s.DeclareQueue("q", broker.QueueOptions{Durable: true})
	b.must(err)
	changed := s.PolicyChange()
	a.must(a.users.SetPermission(tester, access.Permission{VHost: "v", User: "ann", Configure: "^q", Write: "^q", Read: "^$"}))
	select {
	case <-changed:
	case <-time.After(time.Minute):
		t.Fatal("who may do what is not asked again")
	}
	if _, err := s.Subscribe("q", broker.SubscribeOptions{}); broker.KindOf(err) != broker.Refused {
		t.Errorf("without the right: %v", err)
	}
	a.must(a.users.SetUserLimit(tester, "ann", broker.MaxConnections, 1))
	soon(t, "the limit", func() bool { return b.users.Limit("ann", broker.MaxConnections) == 1 })
	if err := b.session("v", "ann").Enter(); broker.KindOf(err) != broker.LimitReached {
		t.Errorf("over the limit: %v", err)
	}
	other := "other"
	a.must(a.users.PutUser(tester, access.NewUser{Name: "ann", Password: &other}))
	soon(t, "the other password", func() bool { return b.logsIn("ann", other) })
	if b.logsIn("ann", "pw") {
		t.Error("ann gets in with the old password")
	}
	a.must(a.users.DeleteUser(tester, "ann"))
	soon(t, "the end of ann", func() bool { _, err := b.users.User("ann"); return err != nil })
	if _, ok := b.users.Permission("v", "ann"); ok || b.logsIn("ann", other) || len(b.users.TopicPermissions()) != 0 {
		t.Error("something of ann is left")
	}
	a.must(a.users.SetPermission(tester, access.Permission{VHost: "v", User: "root"}))
	a.must(a.broker.DeleteVHost(tester, "v"))
	soon(t, "the end of what was permitted in the virtual host", func() bool {
		_, here := a.users.Permission("v", "root")
		_, there := b.users.Permission("v", "root")
		return !here && !there
	})
}

// Processes that change something at a time do not wait for each other for ever, and agree on what came of it.
func TestChangesAtATimeEndAlike(t *testing.T) {
	c := fakeCluster(t)
	all := []*guarded{startGuarded(t, c), startGuarded(t, c)}
	var work sync.WaitGroup
	for i, g := range all {
		defer g.stop()
		work.Go(func() {
			for n := range 10 {
				own, both := fmt.Sprintf("own-%d-%d", i, n), fmt.Sprintf("both-%d", n)
				for _, u := range []access.NewUser{{Name: own}, {Name: both, Tags: []string{fmt.Sprint(i)}}} {
					if err := g.users.PutUser(tester, u); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	work.Wait()
	soon(t, "the same users everywhere", func() bool {
		one, two := all[0].users.Users(), all[1].users.Users()
		return len(one) == 31 && reflect.DeepEqual(one, two)
	})
}

// Processes that start at a time agree on the first user, and show the same of a name that nobody has.
func TestStartsAtATimeAgreeOnWhoIsFirst(t *testing.T) {
	c := fakeCluster(t)
	const processes = 3
	all := make([]*guarded, processes)
	done := make(chan int)
	for i := range all {
		go func() { all[i] = startGuarded(t, c); done <- i }()
	}
	for range all {
		<-done
	}
	said := map[string]bool{}
	for _, g := range all {
		defer g.stop()
		soon(t, "the first user", func() bool { return g.logsIn("root", "s3cret") })
		soon(t, "one user with one permission", func() bool { return len(g.users.Users()) == 1 && len(g.users.Permissions()) == 1 })
	}
	soon(t, "one answer about nobody", func() bool {
		clear(said)
		for _, g := range all {
			x, err := g.users.Logins().Scram(auth.ScramSHA256, nil)
			g.must(err)
			answer, _, err := x.Step(t.Context(), []byte("n,,n=nobody,r=abc"), nil)
			g.must(err)
			_, salt, _ := strings.Cut(string(answer), ",s=")
			said[salt] = true
		}
		return len(said) == 1
	})
}
