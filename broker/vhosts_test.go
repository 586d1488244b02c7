package broker

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

var root = audit.Actor{User: "root", From: "192.0.2.1:1", Protocol: "test"}

// host makes a virtual host, and a session in it.
func (r *rig) host(name string) (*VHost, *Session) {
	r.t.Helper()
	if _, err := r.PutVHost(root, name, VHostMeta{}); err != nil {
		r.t.Fatal(err)
	}
	return r.in(name)
}

// in is a session in a virtual host that is there.
func (r *rig) in(name string) (*VHost, *Session) {
	r.t.Helper()
	v, err := r.VHost(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return v, v.NewSession(auth.Identity{Name: "guest"})
}

// drop deletes a virtual host and waits until all of it is gone.
func (r *rig) drop(name string) {
	r.t.Helper()
	if err := r.DeleteVHost(root, name); err != nil {
		r.t.Fatal(err)
	}
	r.await(name)
}

func (r *rig) await(name string) {
	r.t.Helper()
	if e := r.goingVHost(name); e != nil {
		if err := r.awaitVHost(r.t.Context(), name, e); err != nil {
			r.t.Fatal(err)
		}
	}
}

// furnish puts one of everything into a virtual host, and messages of the given body.
func furnish(t *testing.T, s *Session, body string) {
	t.Helper()
	v := s.vhost
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.DeclareQueue("q", QueueOptions{Durable: true, Args: field.AppendInt(field.AppendName(nil, "x-expires"), 3_600_000)})
	must(err)
	_, err = s.DeclareQueue("transient", QueueOptions{})
	must(err)
	_, err = s.DeclareQueue("own", QueueOptions{Exclusive: true})
	must(err)
	_, err = s.DeclareExchange("x", ExchangeOptions{Type: "topic", Durable: true})
	must(err)
	_, err = s.DeclareExchange("feed", ExchangeOptions{Type: "fanout", Durable: true, Args: field.AppendString(field.AppendName(nil, argFeed), []byte("fed"))})
	must(err)
	_, err = s.DeclareExchange("later", ExchangeOptions{Type: typeDelayed, Durable: true, Args: field.AppendString(field.AppendName(nil, argDelayedType), []byte("direct"))})
	must(err)
	_, err = s.DeclareExchange("once", ExchangeOptions{Type: typeDistinct, Durable: true, Args: field.AppendInt(field.AppendName(nil, argCacheSize), 100)})
	must(err)
	must(s.Bind(Binding{Source: "x", Dest: "q", Key: "k.#"}))
	must(s.Bind(Binding{Source: "later", Dest: "q", Key: "k"}))
	topic, err := s.CreateTopic("t", 2, nil)
	must(err)
	publish(t, s.NewPublisher(), "", "q="+body, "transient="+body)
	publish(t, s.NewPublisher(), "x", "k.1="+body)
	p := s.NewPublisher()
	_, err = p.Publish(&Inbound{Exchange: []byte("later"), Key: []byte("k"), Body: []byte(body), Persistent: true, TimestampMs: time.Now().UnixMilli(),
		Headers: field.AppendInt(field.AppendName(nil, headerDelay), 3_600_000)})
	must(err)
	flush(t, p)
	_, err = s.Produce(topic.Partitions()[1], produced(7, 0, 0, body))
	must(err)
	must(s.CommitOffsets("g", []GroupOffset{{Topic: "t", TopicID: topic.TopicID, Partition: 1, Offset: int64(len(body)), Committed: time.UnixMilli(1)}}))
	must(v.KeepGroup("g", []byte(body)))
	v.b.expirer.sweep(0)
}

// holds looks whether a virtual host has what furnish put in; what is transient only if it did not stop since.
func holds(t *testing.T, v *VHost, body string) {
	t.Helper()
	q, err := v.Queue("q")
	if err != nil {
		t.Fatal(err)
	}
	want(t, "the queue of "+v.Name, drain(t, q), []string{body, body})
	x, err := v.Exchange("later")
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); x.delays.waiting() != 1; time.Sleep(time.Millisecond) { // a lane is opened after a kill
		if time.Now().After(deadline) {
			t.Fatalf("%d messages wait in the exchange of %s", x.delays.waiting(), v.Name)
		}
	}
	topic, err := v.Queue("t")
	if err != nil {
		t.Fatal(err)
	}
	part := topic.Partitions()[1]
	start, end, err := part.log.Bounds()
	if n, err2 := part.log.Records(start, end); n != 1 || err != nil || err2 != nil {
		t.Errorf("the topic of %s has %d records, %v, %v", v.Name, n, err, err2)
	}
	var offsets, groups []string
	if err := v.b.GroupOffsets(func(in *VHost, o GroupOffset) {
		if in == v {
			offsets = append(offsets, fmt.Sprint(o.Group, o.Topic, o.Partition, o.Offset))
		}
	}); err != nil {
		t.Error(err)
	}
	if err := v.b.Groups(func(in *VHost, group string, state []byte) {
		if in == v {
			groups = append(groups, group+string(state))
		}
	}); err != nil {
		t.Error(err)
	}
	want(t, "offsets of "+v.Name, offsets, []string{fmt.Sprint("g", "t", 1, len(body))})
	want(t, "groups of "+v.Name, groups, []string{"g" + body})
}

// keys are those of a table, of one virtual host or of all.
func keysIn(t *testing.T, table store.Table, vhost string) (keys []string) {
	t.Helper()
	err := table.Load(t.Context(), func(e store.Entry) error {
		if vhost == "" || ofVHost(e.Key, vhost) {
			keys = append(keys, e.Key)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

// leftOf is what the store has of a virtual host, and what is still to be removed.
func (r *rig) leftOf(vhost string) (keys []string) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		keys = append(keysIn(r.t, r.defs, vhost), keysIn(r.t, r.groups, vhost)...)
		for _, key := range keysIn(r.t, r.defs, "") {
			if isRemoval(key) || strings.HasPrefix(key, prefixVHostEnd) {
				keys = append(keys, key)
			}
		}
		if len(keys) == 0 || time.Now().After(deadline) {
			return keys
		}
	}
}

// logDirs counts the logs on the disk of a store of real files.
func logDirs(t *testing.T, dir string) int {
	t.Helper()
	list, err := filepath.Glob(dir + "/queues/*/*")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestVirtualHostsHaveTheSameNamesAndShareNothing(t *testing.T) {
	r := start(t)
	for _, name := range []string{"a", "a/b", "ü %2F"} {
		_, s := r.host(name)
		furnish(t, s, "of "+name)
		want(t, "the transient queue", drain(t, func() *Queue { q, _ := s.vhost.Queue("transient"); return q }()), []string{"of " + name})
	}
	for range 2 {
		r.restart()
		for _, name := range []string{"a", "a/b", "ü %2F"} {
			v, s := r.in(name)
			holds(t, v, "of "+name)
			publish(t, s.NewPublisher(), "", "q=of "+name, "q=of "+name)
		}
		if len(r.v.Queues()) != 0 {
			t.Error("something came into the virtual host of others")
		}
	}
}

func TestADeletedVirtualHostTakesAllThatIsInItAndNothingElse(t *testing.T) {
	r := start(t)
	before := keysIn(t, r.defs, "")
	_, other := r.host("other")
	furnish(t, other, "kept")
	logs := logDirs(t, r.dir)
	transient := func() int {
		list, _ := filepath.Glob(r.dir + "/transient/*/*")
		return len(list)
	}
	passing := transient()
	if passing == 0 {
		t.Fatal("queues that do not last have no logs where they are looked for")
	}
	for range 2 { // its name is free at once
		v, s := r.host("a")
		furnish(t, s, "lost")
		var told []string
		defer r.OnVHostDeleted(func(name string) error {
			if e := r.goingVHost(name); e == nil {
				t.Error("told when there can be another of the name")
			}
			told = append(told, name)
			return nil
		})()
		if err := r.DeleteVHost(root, "a"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.VHost("a"); KindOf(err) != NotFound || !v.Gone() {
			t.Errorf("it is still found: %v", err)
		}
		again, s2 := r.host("a") // waits for the rest
		if n := len(again.Queues()); n != 0 || len(again.Exchanges()) != 6 || len(told) == 0 {
			t.Errorf("the new one has %d queues and %d exchanges; told %v", n, len(again.Exchanges()), told)
		}
		if keys := append(keysIn(t, r.defs, "a"), keysIn(t, r.groups, "a")...); len(keys) != 0 {
			t.Errorf("%q are in the new one", keys)
		}
		furnish(t, s2, "new")
		holds(t, again, "new")
		r.drop("a")
		if keys := r.leftOf("a"); len(keys) != 0 {
			t.Errorf("left: %q", keys)
		}
		if n := logDirs(t, r.dir); n != logs {
			t.Errorf("%d logs are left, want %d", n, logs)
		}
		for deadline := time.Now().Add(patience); transient() != passing; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d logs of queues that do not last are left, want %d", transient(), passing)
			}
		}
		s.Close()
		s2.Close()
	}
	v, _ := r.VHost("other")
	holds(t, v, "kept")
	r.restart()
	r.drop("other")
	if keys := r.leftOf("other"); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
	if after := keysIn(t, r.defs, ""); !slices.Equal(before, after) {
		t.Errorf("%q, want %q", after, before)
	}
	if n := logDirs(t, r.dir); n != 0 {
		t.Errorf("%d logs are left", n)
	}
}

// The deletion of a virtual host is cut off behind each of its writes, as by a kill, and goes on at the next start.
func TestADeletionOfAVirtualHostThatWasKilledGoesOn(t *testing.T) {
	const many = 2 * vhostStep
	for writes := int64(0); ; writes++ {
		r, faulty := startFaulty(t)
		_, s := r.host("a")
		furnish(t, s, "lost")
		if writes > 2 {
			for i := range many {
				if _, err := s.DeclareQueue(fmt.Sprint(i), QueueOptions{Durable: true}); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, other := r.host("b")
		furnish(t, other, "kept")
		faulty.puts.Store(writes)
		err := r.DeleteVHost(root, "a")
		if (err == nil) != (writes > 0) {
			t.Fatalf("%d writes: %v", writes, err)
		}
		if writes == 0 { // nothing has happened, and all goes on
			faulty.puts.Store(math.MaxInt64)
			v, s := r.in("a")
			if _, err := s.DeclareQueue("more", QueueOptions{}); err != nil {
				t.Error(err)
			}
			holds(t, v, "lost")
			continue
		}
		for faulty.puts.Load() > 0 && r.goingVHost("a") != nil {
			time.Sleep(time.Millisecond)
		}
		done := r.goingVHost("a") == nil
		if faulty.puts.Swap(0) > 0 {
			time.Sleep(10 * time.Millisecond) // a write that is under way
		}
		killed := &rig{t: t, dir: copied(t, r.dir)}
		killed.open()
		if _, err := killed.VHost("a"); err == nil {
			t.Fatalf("%d writes: it is there again", writes)
		}
		if killed.v, _ = killed.VHost("b"); killed.v == nil {
			t.Fatalf("%d writes: the other is gone", writes)
		}
		holds(t, killed.v, "kept")
		killed.await("a")
		if keys := killed.leftOf("a"); len(keys) != 0 {
			t.Errorf("%d writes: left %q", writes, keys)
		}
		v, _ := killed.host("a")
		if len(v.Queues()) != 0 || len(v.Exchanges()) != 6 {
			t.Errorf("%d writes: the new one has %d queues", writes, len(v.Queues()))
		}
		if err := errors.Join(killed.Close(), killed.store.Close()); err != nil {
			t.Error(err)
		}
		faulty.puts.Store(math.MaxInt64)
		if done {
			if writes < 6 {
				t.Errorf("it took %d writes only", writes)
			}
			return
		}
	}
}

// copied is what a process that is killed now leaves in the page cache. Files come and go at their own pace meanwhile: the segments
// that are behind everybody, the parts of tables.
func copied(t testing.TB, from string) string {
	t.Helper()
	for range 100 {
		dir := t.TempDir()
		err := os.CopyFS(dir, os.DirFS(from))
		if err == nil {
			return dir
		}
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	t.Fatal("the files do not rest")
	return ""
}

// Whoever is at work in a virtual host that goes ends soon, with an error that says why.
func TestWhoIsInAVirtualHostThatGoesIsSentAway(t *testing.T) {
	var lines bytes.Buffer
	r := &rig{t: t, dir: t.TempDir(), lines: slog.New(slog.NewTextHandler(&lines, nil))}
	r.open()
	defer func() { r.Close(); r.store.Close() }()
	v, _ := r.host("a")
	list := r.Clients("x")
	inside, k := connect(t, list, "inside")
	outside, k2 := connect(t, list, "outside")
	s := k.NewSession(v, auth.Identity{Name: "ann"})
	k2.NewSession(r.v, auth.Identity{Name: "ann"})
	furnish(t, s, "m")
	cancelled := make(chan struct{})
	sub, err := s.Subscribe("q", SubscribeOptions{Cancelled: func() { close(cancelled) }})
	if err != nil {
		t.Fatal(err)
	}
	p := s.NewPublisher()
	publish(t, p, "", "q=m")
	r.drop("a")
	if reason := <-inside.closed; reason != "vhost 'a' is deleted" {
		t.Error(reason)
	}
	<-cancelled
	if len(outside.closed) != 0 {
		t.Error("a client of another virtual host was sent away")
	}
	if _, err := s.DeclareQueue("late", QueueOptions{}); KindOf(err) != Closed || !strings.Contains(err.Error(), "vhost 'a' is deleted") {
		t.Errorf("a declaration: %v", err)
	}
	if err := s.CommitOffsets("g", []GroupOffset{{Topic: "t"}}); KindOf(err) != Closed {
		t.Errorf("a commit of offsets: %v", err)
	}
	if err := v.KeepGroup("g", []byte("x")); KindOf(err) != Closed {
		t.Errorf("a group: %v", err)
	}
	if _, err := s.Subscribe("q", SubscribeOptions{}); KindOf(err) != NotFound {
		t.Errorf("a consumer: %v", err)
	}
	publish(t, p, "", "q=nobody gets it")
	sub.Close()
	s.Close()
	if err := k.NewSession(v, auth.Identity{Name: "ann"}).Enter(); KindOf(err) != NotFound {
		t.Errorf("a late session: %v", err)
	}
	if keys := r.leftOf("a"); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
	text := lines.String()
	if strings.Contains(text, "level=ERROR ") || strings.Contains(text, "level=WARN") {
		t.Errorf("the log has\n%s", text)
	}
	if !strings.Contains(text, `act=vhost.delete on="vhost 'a'" by=root from=192.0.2.1:1`) || !strings.Contains(text, "act=vhost.put") {
		t.Errorf("no line of audit in\n%s", text)
	}
}

// Declarations that are under way end before the virtual host does, whatever comes first.
func TestDeclarationsRaceWithTheEndOfTheirVirtualHost(t *testing.T) {
	r := start(t)
	for round := range 20 {
		v, _ := r.host("a")
		ended := make(chan error, 8)
		for g := range cap(ended) {
			go func() {
				s := v.NewSession(auth.Identity{Name: "guest"})
				defer s.Close()
				for i := 0; ; i++ {
					name := fmt.Sprint(g, " ", i%9)
					_, err := s.DeclareQueue(name, QueueOptions{Durable: i%3 > 0, Exclusive: i%3 == 0})
					if err == nil && i%4 == 0 {
						_, err = s.DeleteQueue(name, false, false)
					}
					if err != nil {
						ended <- err
						return
					}
				}
			}()
		}
		time.Sleep(time.Duration(round) * time.Millisecond / 4)
		r.drop("a")
		for range cap(ended) {
			if err := <-ended; KindOf(err) != Closed {
				t.Fatal(err)
			}
		}
		if keys := r.leftOf("a"); len(keys) != 0 {
			t.Fatalf("left: %q", keys)
		}
	}
	r.restart()
	if n := logDirs(t, r.dir); n != 0 {
		t.Errorf("%d logs are left", n)
	}
}

func TestVirtualHostsAreMadeOnceAndKeepWhatIsSaidOfThem(t *testing.T) {
	r := start(t)
	full := VHostMeta{Description: "of the shop", Tags: []string{"a", "b"}, DefaultQueueType: "quorum", Protected: true}
	for i, meta := range []VHostMeta{full, full, {}, full} {
		if created, err := r.PutVHost(root, "v", meta); err != nil || created != (i == 0) {
			t.Fatal(created, err)
		}
		for range 2 {
			v, _ := r.VHost("v")
			if got := v.Meta(); fmt.Sprint(got) != fmt.Sprint(meta) {
				t.Errorf("%+v, want %+v", got, meta)
			}
			r.restart()
		}
	}
	err := r.DeleteVHost(root, "v")
	if KindOf(err) != Precondition || err.Error() != "Refusing to delete virtual host 'v' because it is protected from deletion" {
		t.Error(err)
	}
	if err := r.DeleteVHost(root, "nobody"); KindOf(err) != NotFound {
		t.Error(err)
	}
	if names := r.VHosts(); len(names) != 2 || names[0].Name != "/" || names[1].Name != "v" {
		t.Error(names)
	}
}

// TestVirtualHostsFormatIsKept holds what stands in the definitions of every version.
func TestVirtualHostsFormatIsKept(t *testing.T) {
	r, faulty := startFaulty(t)
	if _, err := r.PutVHost(root, "a/b", VHostMeta{Description: "d", Tags: []string{"t"}, DefaultQueueType: "stream", Protected: true}); err != nil {
		t.Fatal(err)
	}
	r.host("gone")
	faulty.puts.Store(1)
	if err := r.DeleteVHost(root, "gone"); err != nil {
		t.Fatal(err)
	}
	var got []string
	_ = r.defs.Load(t.Context(), func(e store.Entry) error {
		if strings.HasPrefix(e.Key, prefixVHost) || strings.HasPrefix(e.Key, prefixVHostEnd) {
			got = append(got, e.Key+" "+string(e.Value))
		}
		return nil
	})
	want(t, "the definitions", got, []string{`v/%2F {"name":"/"}`,
		`v/a%2Fb {"name":"a/b","description":"d","tags":["t"],"default_queue_type":"stream","protected_from_deletion":true}`,
		`w/gone {"name":"gone"}`})
}

func TestVirtualHostsWithWrongNamesOrMetadataAreRefused(t *testing.T) {
	r := start(t)
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name string
		meta VHostMeta
		want string
	}{
		{"", VHostMeta{}, "virtual host name cannot be empty"},
		{long, VHostMeta{}, "longer than 255"},
		{"\xff", VHostMeta{}, "not valid UTF-8"},
		{"v", VHostMeta{DefaultQueueType: "bogus"}, "bogus is not a valid queue type"},
		{"v", VHostMeta{DefaultQueueType: "topic"}, "topic is not a valid queue type"},
		{"v", VHostMeta{Tags: []string{""}}, "not a valid tag"},
		{"v", VHostMeta{Tags: []string{long}}, "not a valid tag"},
		{"v", VHostMeta{Tags: make([]string, 65)}, "more than 64 tags"},
		{"v", VHostMeta{Description: strings.Repeat("x", 4097)}, "description"},
		{"v", VHostMeta{Description: "\xff"}, "description"},
	} {
		if _, err := r.PutVHost(root, c.name, c.meta); KindOf(err) != Precondition || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.10q %.40v: %v", c.name, c.meta, err)
		}
	}
	if _, err := r.PutVHost(root, long[:255], VHostMeta{DefaultQueueType: "undefined"}); err != nil {
		t.Error(err)
	}
	if len(r.VHosts()) != 2 {
		t.Error(r.VHosts())
	}
}

func TestQueuesAreOfTheDefaultTypeOfTheirVirtualHost(t *testing.T) {
	r := start(t)
	if _, err := r.PutVHost(root, "v", VHostMeta{DefaultQueueType: "quorum"}); err != nil {
		t.Fatal(err)
	}
	_, s := r.in("v")
	said := field.AppendString(field.AppendName(nil, argType), []byte("classic"))
	other := field.AppendInt(field.AppendName(nil, "x-max-length"), 3)
	for i, c := range []struct {
		o    QueueOptions
		want *queueType
	}{
		{QueueOptions{Durable: true}, quorum},
		{QueueOptions{Durable: true, Args: other[:len(other):len(other)]}, quorum},
		{QueueOptions{Durable: true, Args: said}, classic},
		{QueueOptions{}, classic},
		{QueueOptions{Durable: true, AutoDelete: true}, classic},
		{QueueOptions{Durable: true, Exclusive: true}, classic},
	} {
		name := fmt.Sprint(i)
		for range 2 {
			q, err := s.DeclareQueue(name, c.o)
			if err != nil {
				t.Fatal(i, err)
			}
			if got := q.Settings().kind; got != c.want {
				t.Errorf("%+v: %s, want %s", c.o, got.name, c.want.name)
			}
		}
		if name == "0" {
			if f, ok := field.Find(r.queueOf(s, name).Args, argType); !ok || string(f.Text()) != "quorum" {
				t.Error("its arguments do not say so")
			}
		}
	}
	if _, err := s.DeclareQueue("", QueueOptions{Durable: true}); KindOf(err) != Precondition || !strings.Contains(err.Error(), "rabbit_quorum_queue") {
		t.Errorf("a queue that the server names: %v", err)
	}
	r.restart()
	v, s := r.in("v")
	if q, _ := v.Queue("0"); q.Settings().kind != quorum {
		t.Error("after a restart it is of another type")
	}
	if _, err := r.PutVHost(root, "v", VHostMeta{}); err != nil { // those that are there stay what they are
		t.Fatal(err)
	}
	_, err := s.DeclareQueue("0", QueueOptions{Durable: true})
	if KindOf(err) != Precondition || !strings.Contains(err.Error(), "received 'classic' but current is 'quorum'") {
		t.Error(err)
	}
}

func (r *rig) queueOf(s *Session, name string) *Queue {
	r.t.Helper()
	q, err := s.vhost.Queue(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return q
}

// The virtual host that a new broker has can be deleted as any other, and does not come back by itself.
func TestTheFirstVirtualHostIsMadeOnce(t *testing.T) {
	r := start(t)
	r.host("a")
	r.drop("/")
	if err := errors.Join(r.Close(), r.store.Close()); err != nil {
		t.Fatal(err)
	}
	st, err := local.Open(local.Options{Dir: r.dir, Mode: store.ModeOS})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(st, Options{FirstVHost: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	if list := b.VHosts(); len(list) != 1 || list[0].Name != "a" {
		t.Errorf("%d virtual hosts, %v", len(list), list)
	}
	if err := b.DeleteVHost(root, "a"); err != nil {
		t.Fatal(err)
	}
	r.Broker = b
	r.await("a")
	b.Close()
	if b, err = Open(st, Options{FirstVHost: "mine"}); err != nil { // there is none at all
		t.Fatal(err)
	}
	if list := b.VHosts(); len(list) != 1 || list[0].Name != "mine" {
		t.Errorf("%d virtual hosts, %v", len(list), list)
	}
	b.Close()
	r.Broker, r.store = b, st
}

// Who is in a virtual host that is deleted gets nothing more while the farewell takes its time.
func TestConsumersInADeletedVirtualHostAreCancelledFirst(t *testing.T) {
	r := start(t)
	if _, err := r.PutVHost(audit.Process("test"), "v", VHostMeta{}); err != nil {
		t.Fatal(err)
	}
	v, err := r.VHost("v")
	if err != nil {
		t.Fatal(err)
	}
	r.Broker.opts.Policy = func(Request) error { return nil }
	c, k := connect(t, r.Clients("test"), "c")
	s := k.NewSession(v, auth.Identity{Name: "u"})
	if _, err := s.DeclareQueue("q", QueueOptions{Durable: true}); err != nil {
		t.Fatal(err)
	}
	told := make(chan int, 2)
	sub, err := s.Subscribe("q", SubscribeOptions{Cancelled: func() { told <- len(c.closed) }})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if err := r.DeleteVHost(audit.Process("test"), "v"); err != nil {
		t.Fatal(err)
	}
	if gone := <-told; gone != 0 || <-c.closed != "vhost 'v' is deleted" {
		t.Errorf("%d had been told to go", gone)
	}
	// That the permissions for it go as well is nothing to tell anybody.
	r.Broker.opts.Policy = func(Request) error { return ErrDenied }
	r.Broker.PolicyChanged()
	if n := len(c.closed); n != 0 {
		t.Errorf("the client was told to go %d times more", n)
	}
}

// Two who change different things of a virtual host do not undo each other.
func TestAVirtualHostIsAlteredFromWhatItIs(t *testing.T) {
	r := start(t)
	by := audit.Process("test")
	created, err := r.AlterVHost(by, "v", func(was VHostMeta, there bool) (VHostMeta, error) {
		if there {
			t.Error("there is one already")
		}
		return VHostMeta{Description: "d"}, nil
	})
	if !created || err != nil {
		t.Fatal(created, err)
	}
	created, err = r.AlterVHost(by, "v", func(was VHostMeta, there bool) (VHostMeta, error) {
		was.Protected = there
		return was, nil
	})
	if v, _ := r.VHost("v"); created || err != nil || v.Meta().Description != "d" || !v.Meta().Protected {
		t.Errorf("%v %v %+v", created, err, v.Meta())
	}
	no := fail(NotFound, "none")
	_, err = r.AlterVHost(by, "w", func(VHostMeta, bool) (VHostMeta, error) { return VHostMeta{}, no })
	if _, there := r.VHost("w"); err != no || there == nil {
		t.Errorf("%v; made: %v", err, there == nil)
	}
}
