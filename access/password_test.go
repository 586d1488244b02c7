package access

import (
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
)

var (
	here  = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5000}
	there = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 5000}
)

// rabbitHash is of "test12", from RabbitMQ's documentation.
const rabbitHash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"

func (r *rig) login(name, password string, from net.Addr) error {
	_, err := r.Logins().Login(r.t.Context(), name, []byte(password), from)
	return err
}

// An imported password is stored in our form at the first login, and stays so when the file
// that it came in is read again.
func TestAnImportedPasswordIsStoredAnewAtTheFirstLogin(t *testing.T) {
	r := start(t)
	ann := NewUser{Name: "ann", Hash: rabbitHash, Algorithm: auth.RabbitSHA256, Tags: []string{"monitoring"}}
	r.must(r.PutUser(tester, ann))
	if u, _ := r.User("ann"); len(u.Scram) != 0 || !strings.HasPrefix(string(u.Hash), auth.RabbitSHA256) {
		t.Fatalf("%+v", u)
	}
	r.must(r.login("ann", "test12", there))
	r.behind.Wait()
	r.restart()
	renewed, _ := r.User("ann")
	if !strings.HasPrefix(string(renewed.Hash), "$argon2id$") || len(renewed.Scram) != len(auth.Mechanisms) || len(renewed.Tags) != 1 {
		t.Fatalf("%+v", renewed)
	}
	ann.Tags = nil
	r.must(r.PutUser(tester, ann))
	if u, _ := r.User("ann"); u.Hash != renewed.Hash || len(u.Scram) != len(auth.Mechanisms) || len(u.Tags) != 0 {
		t.Errorf("the same once more made %+v", u)
	}
	r.must(r.PutUser(tester, NewUser{Name: "ann", Hash: string(renewed.Hash)}))
	if u, _ := r.User("ann"); u.Hash != renewed.Hash || len(u.Scram) != len(auth.Mechanisms) {
		t.Errorf("what was exported made %+v", u)
	}
	ann.Hash = strings.Replace(rabbitHash, "k", "l", 1)
	r.must(r.PutUser(tester, ann))
	if u, _ := r.User("ann"); len(u.Scram) != 0 || r.login("ann", "test12", there) == nil {
		t.Errorf("another hash left %+v", u)
	}
}

// A password that was changed meanwhile is not put back by a login with the old one.
func TestARenewalDoesNotBringBackAnOldPassword(t *testing.T) {
	r := start(t)
	r.must(r.PutUser(tester, NewUser{Name: "ann", Hash: rabbitHash}))
	old := r.current.Load().users["ann"].secret()
	r.must(r.PutUser(tester, NewUser{Name: "ann", Password: text("new")}))
	want, _ := r.User("ann")
	s, err := auth.NewUsers().NewSecret("ann", []byte("test12"))
	r.must(err)
	r.renew("ann", old, s)
	if u, _ := r.User("ann"); u.Hash != want.Hash {
		t.Error("the old password is back")
	}
	r.must(r.DeleteUser(tester, "ann"))
	r.renew("ann", old, s)
	if _, err := r.User("ann"); err == nil {
		t.Error("the user is back")
	}
}

// A renewal must not trip one who is in the middle of a login.
func TestARenewalLeavesTheCredentialsThatThereAre(t *testing.T) {
	r := start(t)
	s, err := cheapSecret("", []byte("pw"))
	r.must(err)
	put := s.Credentials[1:2]
	r.must(r.Change(tester, func(d *Draft) error { return d.AlterScram("joe", put, nil) }))
	r.must(r.login("joe", "pw", there))
	r.behind.Wait()
	r.restart()
	u, _ := r.User("joe")
	if got := r.ScramCredentials("joe"); u.Hash == "" || len(got) != 3 || !reflect.DeepEqual(got[1], put[0]) || got[0].Iterations == put[0].Iterations {
		t.Errorf("%+v", got)
	}
	r.must(r.login("joe", "pw", there))
}

// A credential is a new password: what was known of the old one is forgotten.
func TestACredentialEndsTheOldPassword(t *testing.T) {
	r := start(t)
	s, err := cheapSecret("", []byte("pw"))
	r.must(err)
	alter := func(name string, drop ...auth.Mechanism) {
		t.Helper()
		put := s.Credentials[:1]
		if len(drop) > 0 {
			put = nil
		}
		r.must(r.Change(tester, func(d *Draft) error { return d.AlterScram(name, put, drop) }))
	}
	r.must(r.PutUser(tester, NewUser{Name: "guest", Password: text("guest")}))
	alter("guest")
	if u, _ := r.User("guest"); u.WellKnown || u.Hash != "" || r.login("guest", "guest", here) == nil || r.login("guest", "pw", here) != nil {
		t.Errorf("%+v", u)
	}
	ann := NewUser{Name: "ann", Hash: rabbitHash, Tags: []string{"x"}}
	r.must(r.PutUser(tester, ann))
	alter("ann")
	r.must(r.PutUser(tester, ann)) // which is another password now
	if r.login("ann", "pw", here) == nil || r.login("ann", "test12", here) != nil {
		t.Error("the hash that came in again was left aside")
	}
	r.behind.Wait()
	alter("ann", auth.ScramSHA256, auth.ScramSHA1)
	if u, _ := r.User("ann"); len(u.Scram) != 1 || u.Hash == "" || len(u.Tags) != 1 {
		t.Errorf("%+v", u)
	}
	err = r.Change(tester, func(d *Draft) error {
		return d.AlterScram("ann", nil, []auth.Mechanism{auth.ScramSHA512, auth.ScramSHA256})
	})
	if broker.KindOf(err) != broker.NotFound || len(r.ScramCredentials("ann")) != 1 {
		t.Errorf("half of it was done: %v", err)
	}
}

func TestAPasswordThatIsGivenAgainChangesNothing(t *testing.T) {
	r := start(t)
	r.must(r.PutUser(tester, NewUser{Name: "ann", Password: text("pw")}))
	before, _ := r.User("ann")
	r.must(r.PutUser(tester, NewUser{Name: "ann", Password: text("pw")}))
	if after, _ := r.User("ann"); after.Hash != before.Hash {
		t.Error("it was hashed anew")
	}
	r.must(r.PutUser(tester, NewUser{Name: "ann", Password: text("other")}))
	if r.login("ann", "pw", there) == nil || r.login("ann", "other", there) != nil {
		t.Error("another one was not taken")
	}
}

func TestWhoHasNoPasswordLogsInByNone(t *testing.T) {
	r := start(t)
	for name, u := range map[string]NewUser{"neither": {}, "no hash": {Hash: "", Algorithm: auth.RabbitSHA512}, "an empty password": {Password: text("")}} {
		u.Name = name
		r.must(r.PutUser(tester, u))
		if err := r.login(name, "", here); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatCanNotBeAUserIsRefused(t *testing.T) {
	r := start(t)
	long := strings.Repeat("x", 256)
	for name, c := range map[string]struct {
		u    NewUser
		want string
	}{
		"no name":           {NewUser{}, "user name must not be empty"},
		"a long name":       {NewUser{Name: long}, "256 bytes"},
		"no text":           {NewUser{Name: "a\xff"}, "UTF-8"},
		"NUL":               {NewUser{Name: "a\x00b"}, "UTF-8"},
		"both":              {NewUser{Name: "a", Password: text("pw"), Hash: rabbitHash}, "both_password_and_password_hash_are_provided"},
		"unknown algorithm": {NewUser{Name: "a", Hash: rabbitHash, Algorithm: "rabbit_password_hashing_sha1"}, "rabbit_password_hashing_sha1"},
		"half a hash":       {NewUser{Name: "a", Hash: rabbitHash[4:]}, "bytes"},
		"a long tag":        {NewUser{Name: "a", Tags: []string{long}}, "tag"},
		"many tags":         {NewUser{Name: "a", Tags: strings.Split(tags(65), ",")}, "more than 64 tags"},
		"a million tags":    {NewUser{Name: "a", Tags: strings.Split(tags(1_000_000), ",")}, "more than 64 tags"}, // in no time that grows with their square
		"an unknown limit":  {NewUser{Name: "a", Limits: map[string]int64{"max-x": 1}}, "max-x"},
		"a low limit":       {NewUser{Name: "a", Limits: map[string]int64{broker.MaxChannels: -2}}, "-2"},
	} {
		err := r.PutUser(tester, c.u)
		if broker.KindOf(err) != broker.Precondition || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), rabbitHash) {
			t.Errorf("%s: %v", name, err)
		}
		if checked := r.Check(func(d *Draft) error { return d.PutUser(c.u) }); (checked == nil) != (err == nil) {
			t.Errorf("%s: a check says %v", name, checked)
		}
	}
	if len(r.Users()) != 1 {
		t.Errorf("there are %+v", r.Users())
	}
	r.must(r.PutUser(tester, NewUser{Name: long[:255]}))
	for _, name := range []string{".*", "^$", "(", "a/b", "%2F", "*", "'; --", "ü"} {
		r.must(r.PutUser(tester, NewUser{Name: name, Password: text(name)}))
		r.must(r.SetPermission(tester, Permission{VHost: "/", User: name, Configure: ".*"}))
		if err := r.Policy(broker.Request{User: name, VHost: "/", Verb: broker.Enter, On: broker.Resource{Kind: broker.OnVHost, Name: "/"}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.restart()
	if len(r.Users()) != 2+8 || r.login("(", "(", there) != nil {
		t.Errorf("after a restart there are %+v", r.Users())
	}
}

func tags(n int) string {
	var list []string
	for i := range n {
		list = append(list, string(rune('a'+i/26))+string(rune('a'+i%26)))
	}
	return strings.Join(list, ",")
}
