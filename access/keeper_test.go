package access

import (
	"log/slog"
	"reflect"
	"testing"

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

// start opens one whose only user is root.
func start(t testing.TB) *rig {
	t.Helper()
	st, err := local.Open(local.Options{Dir: t.TempDir(), Mode: store.ModeOS, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: st, opts: Options{DefaultUser: "root", DefaultPassword: "s3cret", Log: slog.New(slog.DiscardHandler)}}
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
	b, err := broker.Open(r.store, broker.Options{Policy: k.Policy, KeyPolicy: k.Keys, Log: slog.New(slog.DiscardHandler)})
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
	r.must(r.PutUser(tester, NewUser{Name: "a/b%", Password: text("pw"), Tags: []string{"monitoring", " x "}, Limits: map[string]int64{MaxConnections: 5}}))
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
