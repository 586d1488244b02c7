package access

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

func TestTheDefaultUserIsMadeOnceAndStored(t *testing.T) {
	r := start(t)
	u, err := r.User("root")
	if err != nil || len(u.Tags) != 1 || u.Tags[0] != TagAdministrator || u.WellKnown || !strings.HasPrefix(string(u.Hash), "$argon2id$") || len(u.Scram) != 3 {
		t.Fatalf("%+v, %v", u, err)
	}
	if p, ok := r.Permission("/", "root"); !ok || p != (Permission{"/", "root", ".*", ".*", ".*"}) {
		t.Errorf("%+v", p)
	}
	var log bytes.Buffer
	r.opts.Log = slog.New(slog.NewTextHandler(&log, nil))
	r.restart()
	if log.Len() > 0 {
		t.Errorf("the second start says %s", &log)
	}
	for name, c := range map[string]struct{ user, password, want string }{
		"another password": {"root", "xyzzy", "another password"},
		"another user":     {"ann", "s3cret", "no such user"},
	} {
		r.behind.Wait() // a login has its cheap hash of the tests renewed
		log.Reset()
		r.opts.DefaultUser, r.opts.DefaultPassword = c.user, c.password
		r.restart()
		if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, c.want) || strings.Contains(text, c.password) {
			t.Errorf("%s: the log says %s", name, text)
		}
		if len(r.Users()) != 1 || r.login("root", "s3cret", there) != nil {
			t.Errorf("%s changed the users to %+v", name, r.Users())
		}
	}
	r.behind.Wait()
	log.Reset()
	r.opts.DefaultUser, r.opts.DefaultPassword = "guest", "guest" // nobody asked for anything
	r.restart()
	if log.Len() > 0 {
		t.Errorf("the log says %s", &log)
	}
}

// Nobody is let in from elsewhere by a password that everybody knows.
func TestTheWellKnownPasswordWorksFromThisMachineOnly(t *testing.T) {
	for name, c := range map[string]struct {
		user, password  string
		remote          bool
		in, anonymously bool // from elsewhere
	}{
		"as it comes":                   {"guest", "guest", false, false, false},
		"another name":                  {"ann", "guest", false, false, false},
		"said to be let in":             {"guest", "guest", true, true, true},
		"guest with a password":         {"guest", "s3cret", false, true, false},
		"another name, with a password": {"ann", "s3cret", false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.must(r.DeleteUser(tester, "root"))
			r.opts.DefaultUser, r.opts.DefaultPassword, r.opts.Remote = c.user, c.password, c.remote
			for range 2 { // as it is made, and as it is stored
				r.restart()
				if err := r.login(c.user, c.password, here); err != nil {
					t.Fatal(err)
				}
				if err := r.login(c.user, c.password, there); (err == nil) != c.in {
					t.Errorf("from elsewhere: %v", err)
				}
				if _, err := r.Logins().Anonymous(there); (err == nil) != c.anonymously {
					t.Errorf("from elsewhere, without a login: %v", err)
				}
				if _, err := r.Logins().Anonymous(here); (err == nil) != (c.password == "guest") {
					t.Errorf("without a login: %v", err)
				}
			}
		})
	}
}

// A credential of the default user's that is made of that password, over Kafka, makes it no secret.
func TestTheWellKnownPasswordIsKnownAsACredential(t *testing.T) {
	r := start(t)
	r.opts.DefaultUser, r.opts.DefaultPassword = "ann", "guest"
	r.restart()
	r.must(r.PutUser(tester, NewUser{Name: "ann", Password: text("guest")}))
	r.must(r.PutUser(tester, NewUser{Name: "joe", Password: text("guest")}))
	for _, c := range []struct {
		user, password string
		want           bool
	}{{"ann", "guest", true}, {"ann", "other", false}, {"ann", "guest", true}, {"joe", "guest", false}} {
		s, err := cheapSecret("", []byte(c.password))
		r.must(err)
		other, err := cheapSecret("", []byte("one more"))
		r.must(err)
		put := []auth.Credential{other.Credentials[0], s.Credentials[1]}
		r.must(r.Change(tester, func(d *Draft) error { return d.AlterScram(c.user, put, nil) }))
		if u, _ := r.User(c.user); u.WellKnown != c.want || u.LoopbackOnly != c.want {
			t.Errorf("%s, %s: %+v", c.user, c.password, u)
		}
	}
}

// However its password comes in, everybody knows it.
func TestTheWellKnownPasswordIsKnownAgain(t *testing.T) {
	r := start(t)
	r.opts.DefaultUser, r.opts.DefaultPassword = "ann", "guest"
	r.restart()
	ours := auth.HashPassword([]byte("guest"))
	for name, c := range map[string]struct {
		u    NewUser
		want bool
	}{
		"in clear":          {NewUser{Name: "guest", Password: text("guest")}, true},
		"in clear, default": {NewUser{Name: "ann", Password: text("guest")}, true},
		"RabbitMQ's":        {NewUser{Name: "guest", Hash: "AAAAAPEoQ8a3jY6DABRiJzkoKooQbXiBp2iGLke7d+FVKzJx"}, true},
		"ours":              {NewUser{Name: "guest", Hash: string(ours)}, true},
		"another password":  {NewUser{Name: "guest", Password: text("other")}, false},
		"another user":      {NewUser{Name: "joe", Password: text("guest")}, false},
		"none":              {NewUser{Name: "guest"}, false},
	} {
		if h, err := auth.ImportHash("", c.u.Hash); err != nil || c.want && h != "" && !h.Matches([]byte("guest")) {
			t.Fatalf("%s: the test's hash is wrong: %v", name, err)
		}
		r.must(r.PutUser(tester, NewUser{Name: c.u.Name, Password: text("x")}))
		r.must(r.PutUser(tester, c.u))
		if u, _ := r.User(c.u.Name); u.WellKnown != c.want {
			t.Errorf("%s: %v", name, u.WellKnown)
		}
	}
	r.must(r.PutUser(tester, NewUser{Name: "guest", Password: text("other")}))
	if r.login("guest", "other", here) != nil || r.login("guest", "other", there) == nil {
		t.Error("guest comes from elsewhere, as not in RabbitMQ")
	}
}

// What is changed before the default user is stored is not undone by that.
func TestTheDefaultUserIsNotStoredOverAChange(t *testing.T) {
	for name, change := range map[string]func(*rig) error{
		"password":   func(r *rig) error { return r.PutUser(tester, NewUser{Name: "first", Password: text("other")}) },
		"permission": func(r *rig) error { return r.SetPermission(tester, Permission{VHost: "/", User: "first", Read: "x"}) },
		"gone":       func(r *rig) error { return r.DeleteUser(tester, "first") },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.must(r.DeleteUser(tester, "root"))
			all := Permission{"/", "first", ".*", ".*", ".*"}
			u := &userRecord{Name: "first", Tags: []string{TagAdministrator}}
			p := r.current.Load().copy()
			r.must(p.putUser(u))
			r.must(p.putPermission(all))
			r.current.Store(p)
			r.must(change(r))
			want, _ := r.User("first")
			r.must(r.storeDefault(u, all, "pw"))
			r.restart()
			got, err := r.User("first")
			if name == "gone" {
				if err == nil && got.Hash != "" {
					t.Errorf("the user is back: %+v", got)
				}
				return
			}
			if name == "password" && got.Hash != want.Hash || name == "permission" && got.Hash == "" {
				t.Errorf("%+v, %v", got, err)
			}
			if p, ok := r.Permission("/", "first"); !ok || (p == all) != (name == "password") {
				t.Errorf("the permission is %+v", p)
			}
		})
	}
}

func TestAStartWithoutAUserMakesNone(t *testing.T) {
	r := start(t)
	r.must(r.DeleteUser(tester, "root"))
	r.opts.DefaultUser = ""
	r.restart()
	if len(r.Users()) != 0 {
		t.Errorf("%+v", r.Users())
	}
}

// The key of decoys stays, so that a start does not tell who is nobody.
func TestWhatIsShownOfNobodyStays(t *testing.T) {
	r := start(t)
	shown := func() string {
		r.behind.Wait()
		x, err := r.Logins().Scram(auth.ScramSHA256, nil)
		r.must(err)
		answer, _, err := x.Step(t.Context(), []byte("n,,n=nobody,r=x"), here)
		r.must(err)
		_, shown, _ := strings.Cut(string(answer), ",s=")
		return shown
	}
	before := shown()
	r.restart()
	if shown() != before {
		t.Error("it changed")
	}
	e, err := r.table.Get(t.Context(), keyDecoy)
	if err != nil || len(e.Value) < 32 {
		t.Errorf("%+v, %v", e, err)
	}
	r.must(r.table.Put(t.Context(), store.Entry{Key: keyDecoy}))
	r.restart()
	if shown() == before {
		t.Error("the key is foretold")
	}
}

// A data directory may be older than users are, and have other virtual hosts than the configuration names.
func TestTheDefaultUserOfOlderDataIsInWhatThereIs(t *testing.T) {
	st, err := local.Open(local.Options{Dir: t.TempDir(), Mode: store.ModeOS, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	b, err := broker.Open(st, broker.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: st, opts: Options{DefaultUser: "root", DefaultPassword: "s3cret", DefaultVHost: "new", Log: slog.New(slog.DiscardHandler), newSecret: cheapSecret}}
	r.open()
	defer r.close()
	for range 2 {
		if p := r.Permissions(); len(p) != 1 || p[0] != (Permission{"/", "root", ".*", ".*", ".*"}) {
			t.Errorf("%+v", p)
		}
		r.restart()
	}
}
