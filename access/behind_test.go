package access

import (
	"context"
	"errors"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
)

// A change at the start returns without a hash being made. Until all are nobody logs in, by an old password neither, and
// then by the new one.
func TestAStartDoesNotWaitForHashes(t *testing.T) {
	r := start(t)
	r.must(r.PutUser(tester, NewUser{Name: "old", Password: text("before")}))
	r.must(r.PutUser(tester, NewUser{Name: "same", Password: text("pw")}))
	r.must(r.PutUser(tester, NewUser{Name: "changed", Password: text("before")}))
	hash := make(chan struct{})
	hashed := []string{}
	r.opts.newSecret = func(name string, password []byte) (auth.Secret, error) {
		if name != "changed" || string(password) != "third" {
			<-hash
			hashed = append(hashed, name)
		}
		return cheapSecret(name, password)
	}
	r.restart()
	r.must(r.ChangeBehind(tester, func(d *Draft) error {
		for name, password := range map[string]string{"old": "after", "same": "pw", "changed": "after", "new": "pw", "none": ""} {
			if err := d.PutUser(NewUser{Name: name, Password: text(password), Tags: []string{"monitoring"}}); err != nil {
				return err
			}
			if err := d.SetPermission(Permission{VHost: "/", User: name}); err != nil {
				return err
			}
		}
		return nil
	}))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, password := range map[string]string{"old": "before", "same": "pw", "new": "pw", "nobody": "pw"} {
		if _, err := r.Logins().Login(over, name, []byte(password), nil); !errors.Is(err, auth.ErrBusy) {
			t.Errorf("%s does not wait: %v", name, err)
		}
		x, err := r.Logins().Scram(auth.ScramSHA256, nil)
		r.must(err)
		if _, _, err := x.Step(over, []byte("n,,n="+name+",r=x"), nil); !errors.Is(err, auth.ErrBusy) {
			t.Errorf("%s does not wait, by SCRAM: %v", name, err)
		}
	}
	r.must(r.PutUser(tester, NewUser{Name: "changed", Password: text("third")})) // by who is logged in by a certificate
	r.must(r.SetUserLimit(tester, "new", broker.MaxConnections, 3))
	waits := make(chan error, 1)
	go func() {
		_, err := r.Logins().Login(t.Context(), "new", []byte("pw"), nil)
		waits <- err
	}()
	close(hash)
	r.must(<-waits)
	r.behind.Wait()
	for who, in := range map[[2]string]bool{
		{"old", "before"}: false, {"old", "after"}: true, {"same", "pw"}: true, {"new", "pw"}: true, {"none", ""}: false,
		{"changed", "before"}: false, {"changed", "after"}: false, {"changed", "third"}: true,
	} {
		if _, err := r.Logins().Login(t.Context(), who[0], []byte(who[1]), nil); (err == nil) != in {
			t.Errorf("%v: %v", who, err)
		}
	}
	if r.Limit("new", broker.MaxConnections) != 3 {
		t.Error("what was changed meanwhile is gone")
	}
	if len(hashed) != 3 { // old, changed, new
		t.Errorf("hashed were %v", hashed)
	}
	r.behind.Wait() // these logins have passwords hashed as dearly as the rest
	before := r.Generation()
	r.must(r.ChangeBehind(tester, func(d *Draft) error {
		return d.PutUser(NewUser{Name: "old", Password: text("after"), Tags: []string{"monitoring"}})
	}))
	r.behind.Wait()
	if r.Generation() != before || len(hashed) != 3 {
		t.Error("what comes again is written again")
	}
	r.restart()
	if _, err := r.Logins().Login(t.Context(), "new", []byte("pw"), nil); err != nil {
		t.Errorf("behind another start: %v", err)
	}
}

// Nothing of a change that fails is done behind it, and logins go on.
func TestNothingIsBehindAChangeThatFails(t *testing.T) {
	r := start(t)
	err := r.ChangeBehind(tester, func(d *Draft) error {
		if err := d.PutUser(NewUser{Name: "root", Password: text("other")}); err != nil {
			return err
		}
		return d.SetPermission(Permission{VHost: "nowhere", User: "root"})
	})
	if broker.KindOf(err) != broker.NotFound {
		t.Fatal(err)
	}
	r.behind.Wait()
	if _, err := r.Logins().Login(t.Context(), "root", []byte("s3cret"), nil); err != nil {
		t.Error(err)
	}
}

// The well known password lets nobody in from elsewhere before it is hashed neither.
func TestAWellKnownPasswordIsKnownBehindAStart(t *testing.T) {
	r := start(t)
	r.opts.DefaultUser = "root"
	r.must(r.ChangeBehind(tester, func(d *Draft) error { return d.PutUser(NewUser{Name: "root", Password: text("guest")}) }))
	r.behind.Wait()
	if u, err := r.User("root"); err != nil || !u.WellKnown || !u.LoopbackOnly {
		t.Errorf("%+v, %v", u, err)
	}
}
