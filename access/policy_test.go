package access

import (
	"fmt"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
)

// Every verb of every kind of thing takes one right, and nothing else does for it.
func TestEveryVerbTakesItsRight(t *testing.T) {
	r := start(t)
	const yes, no = "^(n|g)$", "^(?:other|amq\\.default2)$"
	verbs := map[broker.Verb]broker.Right{
		broker.Create: broker.RightConfigure, broker.Delete: broker.RightConfigure, broker.Alter: broker.RightConfigure, broker.Truncate: broker.RightConfigure,
		broker.Publish: broker.RightWrite, broker.BindDest: broker.RightWrite,
		broker.Consume: broker.RightRead, broker.Purge: broker.RightRead, broker.BindSource: broker.RightRead,
		broker.Look: broker.AnyRight,
	}
	for n := range 8 {
		name := fmt.Sprint("u", n)
		r.must(r.PutUser(tester, NewUser{Name: name}))
		pattern := func(bit int) string {
			if n>>bit&1 == 1 {
				return yes
			}
			return no
		}
		r.must(r.SetPermission(tester, Permission{VHost: "/", User: name, Configure: pattern(0), Write: pattern(1), Read: pattern(2)}))
		for verb, right := range verbs {
			want := map[broker.Right]bool{broker.RightConfigure: n&1 != 0, broker.RightWrite: n&2 != 0, broker.RightRead: n&4 != 0, broker.AnyRight: n != 0}[right]
			for _, kind := range []broker.ResourceKind{broker.OnQueue, broker.OnExchange, broker.OnGroup} {
				err := r.Policy(broker.Request{User: name, VHost: "/", Verb: verb, On: broker.Resource{Kind: kind, Name: "n"}})
				if (err == nil) != want || err != nil && err != broker.ErrDenied {
					t.Errorf("verb %d of a %s with permissions %03b: %v", verb, kind, n, err)
				}
			}
		}
	}
	for verb := broker.Look; verb < broker.Enter; verb++ {
		if _, listed := verbs[verb]; !listed {
			t.Errorf("verb %d stands in no list of this test", verb)
		}
	}
}

func TestWhoMayBeWhereAndAskOfTheWhole(t *testing.T) {
	r := start(t)
	for _, u := range []NewUser{{Name: "admin", Tags: []string{TagAdministrator}}, {Name: "monitor", Tags: []string{TagMonitoring}}, {Name: "writer"}, {Name: "reader"}, {Name: "none", Tags: []string{TagAdministrator}}} {
		r.must(r.PutUser(tester, u))
	}
	for _, p := range []Permission{{"/", "admin", "", "^$", ""}, {"/", "monitor", "", "", ""}, {"/", "writer", "", "^x$", ""}, {"/", "reader", "", "", ".*"}} {
		r.must(r.SetPermission(tester, p))
	}
	cluster, vhost := broker.Resource{Kind: broker.OnCluster}, broker.Resource{Kind: broker.OnVHost, Name: "/"}
	for _, c := range []struct {
		verb broker.Verb
		on   broker.Resource
		may  string
	}{
		{broker.Enter, vhost, "admin monitor writer reader"},
		{broker.Look, cluster, "admin monitor"},
		{broker.Alter, cluster, "admin"},
		{broker.Publish, cluster, "writer"},
		{broker.Publish, broker.Resource{Kind: broker.OnExchange, Name: "x"}, "writer"},
		{broker.Consume, broker.Resource{Kind: broker.OnQueue, Name: "x"}, "reader"},
	} {
		may := ""
		for _, name := range []string{"admin", "monitor", "writer", "reader", "none", "nobody"} {
			if r.Policy(broker.Request{User: name, VHost: "/", Verb: c.verb, On: c.on}) == nil {
				may += " " + name
			}
		}
		if may != " "+c.may {
			t.Errorf("verb %d of %v: %s may", c.verb, c.on, may)
		}
	}
	if err := r.Policy(broker.Request{User: "writer", VHost: "other", Verb: broker.Enter, On: vhost}); err != broker.ErrDenied {
		t.Errorf("another virtual host: %v", err)
	}
	if err := r.Policy(broker.Request{User: "nobody", VHost: "/", Verb: broker.Enter, On: vhost}); err == nil || err.Error() != "user 'nobody' is deleted" {
		t.Errorf("%v", err)
	}
}

func TestTopicPermissionsAreByUserExchangeAndVariables(t *testing.T) {
	r := start(t)
	for _, name := range []string{"u.v", ".*"} {
		r.must(r.PutUser(tester, NewUser{Name: name}))
		r.must(r.SetPermission(tester, Permission{"/", name, "", ".*", ".*"}))
		r.must(r.SetTopicPermission(tester, TopicPermission{VHost: "/", User: name, Exchange: "x", Write: "^{username}-{vhost}-{client_id}$", Read: "^$"}))
	}
	ask := func(user, x, client string, verb broker.Verb) broker.Keys {
		return r.Keys(broker.KeyRequest{User: user, VHost: "/", Exchange: x, ClientID: client, Verb: verb})
	}
	for _, c := range []struct {
		keys broker.Keys
		key  string
		want bool
	}{
		{ask("u.v", "x", "c+", broker.Publish), "u.v-/-c+", true},
		{ask("u.v", "x", "c+", broker.Publish), "uav-/-c+", false},
		{ask("u.v", "x", "c+", broker.Publish), "u.v-/-cc", false},
		{ask("u.v", "x", "", broker.Publish), "u.v-/-", false},
		{ask("u.v", "x", "", broker.Publish), "u.v-/-{client_id}", true},
		{ask(".*", "x", "", broker.Publish), "u.v-/-{client_id}", false},
		{ask(".*", "x", "", broker.Publish), ".*-/-{client_id}", true},
		{ask("u.v", "x", "", broker.BindSource), "", true},
		{ask("u.v", "x", "", broker.BindSource), "k", false},
	} {
		if got := c.keys.MatchBytes([]byte(c.key)); got != c.want {
			t.Errorf("%q: %v", c.key, got)
		}
	}
	if ask("u.v", "y", "", broker.Publish) != nil || ask("root", "x", "", broker.Publish) != nil {
		t.Error("bounds where there is no topic permission")
	}
	r.must(r.ClearTopicPermission(tester, "/", "u.v", "x"))
	if ask("u.v", "x", "", broker.Publish) != nil {
		t.Error("bounds that were taken away")
	}
}

// A change reaches sessions by itself.
func TestAChangeOfRightsReachesTheSessionsThatAreThere(t *testing.T) {
	r := start(t)
	r.must(r.PutUser(tester, NewUser{Name: "u"}))
	r.must(r.SetPermission(tester, Permission{"/", "u", ".*", "", ""}))
	v, err := r.broker.VHost("/")
	r.must(err)
	s := v.NewSession(auth.Identity{Name: "u"})
	_, err = s.DeclareQueue("q", broker.QueueOptions{})
	r.must(err)
	if err := s.Enter(); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func() error{
		func() error { return r.SetPermission(tester, Permission{"/", "u", "^x", ".*", ".*"}) },
		func() error { return r.ClearPermission(tester, "/", "u") },
	} {
		r.must(change())
		if _, err := s.DeclareQueue("q2", broker.QueueOptions{}); broker.RefusedOn(err) != broker.OnQueue {
			t.Errorf("%v", err)
		}
	}
	if err := s.Enter(); err == nil || err.Error() != "access to vhost '/' refused for user 'u'" {
		t.Errorf("%v", err)
	}
	r.must(r.DeleteUser(tester, "u"))
	if err := s.Enter(); err == nil || err.Error() != "user 'u' is deleted" || broker.KindOf(err) != broker.Refused {
		t.Errorf("%v", err)
	}
}
