package access

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/argon2"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// tester is who acts in tests.
var tester = audit.Process("test")

// rig is a keeper with its broker, over a store in a directory of the test.
type rig struct {
	*Keeper
	t      testing.TB
	opts   Options
	store  store.Store
	broker *broker.Broker
}

var cheap sync.Map // password → auth.Secret

// cheapSecret is that of auth.Users in little time.
func cheapSecret(_ string, password []byte) (auth.Secret, error) {
	if s, ok := cheap.Load(string(password)); ok {
		return s.(auth.Secret), nil
	}
	b64, salt := base64.RawStdEncoding.EncodeToString, []byte("salt of "+string(password)+"salt of ")
	s := auth.Secret{Hash: auth.Hash("$argon2id$v=19$m=8,t=1,p=1$" + b64(salt) + "$" + b64(argon2.IDKey(password, salt, 1, 8, 1, 32)))}
	for _, m := range auth.Mechanisms {
		h := map[auth.Mechanism]func() hash.Hash{auth.ScramSHA1: sha1.New, auth.ScramSHA256: sha256.New, auth.ScramSHA512: sha512.New}[m]
		salted, err := pbkdf2.Key(h, string(password), salt, auth.MinIterations, h().Size())
		if err != nil {
			return s, err
		}
		c, err := auth.SaltedCredential(m, salt, auth.MinIterations, salted)
		if err != nil {
			return s, err
		}
		s.Credentials = append(s.Credentials, c)
	}
	cheap.Store(string(password), s)
	return s, nil
}

// start opens one whose only user is root.
func start(t testing.TB) *rig {
	t.Helper()
	st, err := local.Open(local.Options{Dir: t.TempDir(), Mode: store.ModeOS, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: st, opts: Options{DefaultUser: "root", DefaultPassword: "s3cret", Log: slog.New(slog.DiscardHandler), newSecret: cheapSecret}}
	r.open()
	t.Cleanup(func() {
		r.close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) open() {
	r.t.Helper()
	k, err := Open(r.store, r.opts)
	if err != nil {
		r.t.Fatal(err)
	}
	k.behind.Wait() // the default user is stored
	b, err := broker.Open(r.store, broker.Options{Policy: k.Policy, KeyPolicy: k.Keys, UserLimits: k.Limits, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		r.t.Fatal(err)
	}
	k.Serve(b)
	r.Keeper, r.broker = k, b
}

func (r *rig) close() {
	if err := r.broker.Close(); err != nil {
		r.t.Error(err)
	}
	r.Keeper.Close()
}

// restart closes the keeper and opens another over the same store.
func (r *rig) restart() {
	r.t.Helper()
	r.close()
	r.open()
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func text(s string) *string { return &s }

func TestUsersAndRightsSurviveARestart(t *testing.T) {
	r := start(t)
	r.must(r.PutUser(tester, NewUser{Name: "a/b%", Password: text("pw"), Tags: []string{"monitoring", " x "}, Limits: map[string]int64{broker.MaxConnections: 5}}))
	r.must(r.SetPermission(tester, Permission{VHost: "/", User: "a/b%", Configure: "", Write: "^w", Read: ".*"}))
	r.must(r.SetTopicPermission(tester, TopicPermission{VHost: "/", User: "a/b%", Exchange: "amq.topic", Write: "^{username}", Read: ""}))
	before := []any{r.Users(), r.Permissions(), r.TopicPermissions()}
	r.restart()
	for i, now := range []any{r.Users(), r.Permissions(), r.TopicPermissions()} {
		if !reflect.DeepEqual(before[i], now) {
			t.Errorf("got  %+v\nwant %+v", now, before[i])
		}
	}
	if _, err := r.Logins().Login(t.Context(), "a/b%", []byte("pw"), nil); err != nil {
		t.Error(err)
	}
	r.must(r.DeleteUser(tester, "a/b%"))
	r.restart()
	if len(r.Users()) != 1 || len(r.Permissions()) != 1 || len(r.TopicPermissions()) != 0 {
		t.Errorf("left: %+v %+v %+v", r.Users(), r.Permissions(), r.TopicPermissions())
	}
}

func TestAUserIsAtHomeInTheOnlyVirtualHostThatHeMayEnter(t *testing.T) {
	r := start(t)
	home := func(want string) {
		t.Helper()
		if got := r.Home("ann"); got != want {
			t.Errorf("at home in %q, want %q", got, want)
		}
	}
	r.must(r.PutUser(tester, NewUser{Name: "ann"}))
	r.must(r.PutUser(tester, NewUser{Name: "ben"}))
	for _, vhost := range []string{"a", "b"} {
		_, err := r.broker.PutVHost(tester, vhost, broker.VHostMeta{})
		r.must(err)
		r.must(r.SetPermission(tester, Permission{VHost: vhost, User: "ben"}))
	}
	home("")
	r.must(r.SetPermission(tester, Permission{VHost: "b", User: "ann"}))
	home("b")
	r.must(r.SetPermission(tester, Permission{VHost: "a", User: "ann"}))
	home("")
	r.must(r.ClearPermission(tester, "b", "ann"))
	home("a")
}

func TestPermissionsGoWithTheirVirtualHost(t *testing.T) {
	r := start(t)
	_, err := r.broker.PutVHost(tester, "v", broker.VHostMeta{})
	r.must(err)
	grant := func() {
		r.must(r.SetPermission(tester, Permission{VHost: "v", User: "root", Configure: ".*"}))
		r.must(r.SetTopicPermission(tester, TopicPermission{VHost: "v", User: "root", Exchange: "amq.topic"}))
	}
	gone := func(when string) {
		t.Helper()
		if len(r.Permissions()) != 1 || len(r.TopicPermissions()) != 0 {
			t.Errorf("%s: %+v %+v", when, r.Permissions(), r.TopicPermissions())
		}
	}
	grant()
	r.must(r.broker.DeleteVHost(tester, "v"))
	_, err = r.broker.PutVHost(tester, "v", broker.VHostMeta{}) // waits until all of the first is gone
	r.must(err)
	gone("after the deletion")
	r.must(r.broker.DeleteVHost(tester, "v"))
	if err := r.SetPermission(tester, Permission{VHost: "v", User: "root"}); broker.KindOf(err) != broker.NotFound {
		t.Errorf("for a virtual host that is gone: %v", err)
	}
	// As a kill between the two deletions leaves it.
	e, err := encodeRecord(store.Key(prefixPermission, "v", "root"), permissionRecord{VHost: "v", User: "root"})
	r.must(err)
	r.must(r.table.Put(t.Context(), e))
	r.restart()
	gone("after a restart")
}

func TestAChangeIsWholeOrNotAtAll(t *testing.T) {
	r := start(t)
	before := r.Generation()
	err := r.Change(tester, func(d *Draft) error {
		if err := d.PutUser(NewUser{Name: "ann"}); err != nil {
			return err
		}
		return d.SetPermission(Permission{VHost: "/", User: "bob"})
	})
	if broker.KindOf(err) != broker.NotFound || !strings.Contains(err.Error(), "bob") || len(r.Users()) != 1 || r.Generation() != before {
		t.Errorf("%v; %+v", err, r.Users())
	}
	if err := r.Check(func(d *Draft) error {
		if err := d.PutUser(NewUser{Name: "ann", Password: text("pw")}); err != nil {
			return err
		}
		return d.SetPermission(Permission{VHost: "later", User: "ann"})
	}, "later"); err != nil || len(r.Users()) != 1 {
		t.Errorf("%v; %+v", err, r.Users())
	}
	r.must(r.store.Close())
	if err := r.PutUser(tester, NewUser{Name: "ann"}); broker.KindOf(err) != broker.Closed || len(r.Users()) != 1 {
		t.Errorf("what can't be written: %v; %+v", err, r.Users())
	}
}

// Only a change of rights has everybody asked again.
func TestTheBrokerIsToldOfChangedRightsOnly(t *testing.T) {
	r := start(t)
	r.must(r.PutUser(tester, NewUser{Name: "ann", Password: text("pw")}))
	v, err := r.broker.VHost("/")
	r.must(err)
	s := v.NewSession(auth.Identity{Name: "root"})
	defer s.Close()
	for name, c := range map[string]struct {
		change func() error
		told   bool
	}{
		"password":   {func() error { return r.PutUser(tester, NewUser{Name: "ann", Password: text("other")}) }, false},
		"limit":      {func() error { return r.SetUserLimit(tester, "ann", broker.MaxChannels, 3) }, true},
		"permission": {func() error { return r.SetPermission(tester, Permission{VHost: "/", User: "ann"}) }, true},
		"topic": {func() error {
			return r.SetTopicPermission(tester, TopicPermission{VHost: "/", User: "ann", Exchange: "x"})
		}, true},
		"tags": {func() error {
			return r.PutUser(tester, NewUser{Name: "root", Password: text("s3cret"), Tags: []string{"x"}})
		}, true},
		"a new user": {func() error { return r.PutUser(tester, NewUser{Name: "joe"}) }, true},
	} {
		changed := s.PolicyChange()
		r.must(c.change())
		told := false
		select {
		case <-changed:
			told = true
		default:
		}
		if told != c.told {
			t.Errorf("%s: told is %v", name, told)
		}
	}
}

// A limit holds from its change on for a user who is there already.
func TestALimitHoldsForWhoIsConnected(t *testing.T) {
	r := start(t)
	v, err := r.broker.VHost("/")
	r.must(err)
	enter := func() error {
		s := v.NewSession(auth.Identity{Name: "root"})
		t.Cleanup(s.Close)
		return s.Enter()
	}
	r.must(enter())
	r.must(r.SetUserLimit(tester, "root", broker.MaxConnections, 1))
	if err := enter(); broker.KindOf(err) != broker.LimitReached {
		t.Errorf("over the limit: %v", err)
	}
	r.must(r.PutUser(tester, NewUser{Name: "root", Password: text("s3cret"), Limits: map[string]int64{broker.MaxConnections: 2}}))
	r.must(enter())
	if err := enter(); broker.KindOf(err) != broker.LimitReached {
		t.Errorf("over the limit of a user who was put: %v", err)
	}
	r.must(r.ClearUserLimit(tester, "root", broker.MaxConnections))
	r.must(enter())
}

func TestLimitsOfAUser(t *testing.T) {
	r := start(t)
	r.must(r.SetUserLimit(tester, "root", broker.MaxConnections, 0))
	r.must(r.SetUserLimit(tester, "root", broker.MaxChannels, -1))
	r.must(r.PutUser(tester, NewUser{Name: "root", Password: text("pw")})) // leaves them
	r.restart()
	if n, m := r.Limit("root", broker.MaxConnections), r.Limit("root", broker.MaxChannels); n != 0 || m != -1 {
		t.Errorf("%d and %d", n, m)
	}
	if u, _ := r.User("root"); len(u.Limits) != 2 {
		t.Errorf("%+v", u)
	}
	r.must(r.ClearUserLimit(tester, "root", broker.MaxConnections))
	if n := r.Limit("root", broker.MaxConnections); n != -1 {
		t.Errorf("%d", n)
	}
	if r.Limit("nobody", broker.MaxChannels) != -1 {
		t.Error("nobody has a limit")
	}
	for name, err := range map[string]error{
		"nobody": r.SetUserLimit(tester, "nobody", broker.MaxChannels, 1), "unknown": r.SetUserLimit(tester, "root", "max-x", 1), "low": r.SetUserLimit(tester, "root", broker.MaxChannels, -2),
	} {
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// Each administrative act is one line of audit, with how it ended and no secret.
func TestActsAreAudited(t *testing.T) {
	r := start(t)
	var log bytes.Buffer
	r.opts.Log = slog.New(audit.NewHandler("text", slog.LevelError, &log, nil))
	r.restart()
	log.Reset()
	by := audit.Actor{User: "root", From: "192.0.2.7:1", Protocol: "kafka"}
	for _, c := range []struct {
		do   func() error
		want string
	}{
		{func() error { return r.PutUser(by, NewUser{Name: "ann", Password: text("s3cret")}) }, `act=user.put on="user 'ann'" by=root from=192.0.2.7:1 protocol=kafka outcome=done`},
		{func() error { return r.PutUser(by, NewUser{Name: "", Password: text("s3cret")}) }, `act=user.put on="user ''" by=root from=192.0.2.7:1 protocol=kafka outcome=failed`},
		{func() error { return r.SetPermission(by, Permission{VHost: "/", User: "ann"}) }, `act=permission.set on="user 'ann'" vhost=/ by=root`},
		{func() error { return r.SetTopicPermission(by, TopicPermission{VHost: "/", User: "ann", Exchange: "x"}) }, `act=topic-permission.set on="exchange 'x' of user 'ann'" vhost=/`},
		{func() error { return r.ClearTopicPermissions(by, "/", "ann") }, `act=topic-permission.clear on="exchange 'x' of user 'ann'" vhost=/`},
		{func() error { return r.ClearPermission(by, "/", "ann") }, `act=permission.clear on="user 'ann'" vhost=/`},
		{func() error { return r.SetUserLimit(by, "ann", broker.MaxChannels, 1) }, `act=user-limit.set on="max-channels of user 'ann'"`},
		{func() error { return r.ClearUserLimit(by, "ann", broker.MaxChannels) }, `act=user-limit.clear on="max-channels of user 'ann'"`},
		{func() error { return r.DeleteUser(by, "ann") }, `act=user.delete on="user 'ann'"`},
		{func() error { return r.DeleteUser(by, "ann") }, `outcome=failed reason="no such user 'ann'"`},
	} {
		log.Reset()
		err := c.do()
		if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, c.want) || strings.Contains(text, "s3cret") || (err == nil) != strings.Contains(text, "outcome=done") {
			t.Errorf("%v; want %s\n%s", err, c.want, text)
		}
	}
}

func TestKafkasQuotasAreLimitsOfUsers(t *testing.T) {
	r := start(t)
	r.must(r.PutUser(tester, NewUser{Name: "ann", Limits: map[string]int64{broker.MaxChannels: 7}}))
	by, from := auth.Identity{Name: "root"}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
	alter := func(user string, set map[string]int64, dry bool, clear ...string) error {
		return r.AlterLimits(by, from, user, set, clear, dry)
	}
	rates := map[string]int64{broker.ProducerByteRate: 5, broker.ConsumerByteRate: 6}
	r.must(alter("ann", rates, true))
	if len(r.Limits("ann")) != 1 {
		t.Error("a dry run has changed something")
	}
	r.must(alter("ann", rates, false))
	r.must(alter("ann", map[string]int64{broker.ProducerByteRate: 7}, false, broker.ConsumerByteRate))
	for what, err := range map[string]error{
		"nobody":         alter("none", rates, false),
		"nobody, dry":    alter("none", rates, true),
		"half is wrong":  alter("ann", map[string]int64{broker.ProducerByteRate: 9, broker.ConsumerByteRate: 0}, false),
		"wrong, and dry": alter("ann", map[string]int64{broker.ConsumerByteRate: 0}, true),
	} {
		if err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	r.restart()
	if got := r.Limits("ann"); len(got) != 2 || got[broker.MaxChannels] != 7 || got[broker.ProducerByteRate] != 7 {
		t.Error(got)
	}
	if got := r.Limited(); len(got) != 1 || got[0] != "ann" || r.Limits("none") != nil {
		t.Error(got)
	}
}
