package broker

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/store"
)

// ofUsers are limits of users that a test changes.
type ofUsers struct {
	atomic.Pointer[map[string]map[string]int64]
}

func (u *ofUsers) of(user string) map[string]int64 {
	if m := u.Load(); m != nil {
		return (*m)[user]
	}
	return nil
}

// startLimited is a broker whose users have limits.
func startLimited(t *testing.T) (r *rig, set func(user, name string, n int64)) {
	t.Helper()
	var users ofUsers
	r, _ = startFaultyWith(t, Options{UserLimits: users.of})
	return r, func(user, name string, n int64) {
		users.Store(&map[string]map[string]int64{user: {name: n}})
		r.PolicyChanged()
	}
}

func (r *rig) limit(vhost, name string, n int64) {
	r.t.Helper()
	if err := r.SetVHostLimit(root, vhost, name, n); err != nil {
		r.t.Fatal(err)
	}
}

// enter begins a session of a client.
func (r *rig) enter(v *VHost, user string) (*Session, error) {
	r.t.Helper()
	_, k := connect(r.t, r.Clients("test"), user)
	s := k.NewSession(v, auth.Identity{Name: user})
	err := s.Enter()
	if err != nil {
		s.Close()
	}
	return s, err
}

func (r *rig) mustEnter(v *VHost, user string) *Session {
	r.t.Helper()
	s, err := r.enter(v, user)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// refusedBy checks a refusal by a limit.
func refusedBy(t *testing.T, err error, want string) {
	t.Helper()
	if KindOf(err) != LimitReached || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLimitsAreCheckedByNameAndValue(t *testing.T) {
	for _, c := range []struct {
		name string
		n    int64
		want string
	}{
		{MaxConnections, 0, ""}, {MaxConnections, -1, ""}, {MaxChannels, 7, ""}, {MaxQueues, math.MaxInt32, ""}, {MaxConsumers, 1, ""},
		{MaxMessageSize, 0, ""}, {MaxMessageSize, 1 << 40, ""}, {ProducerByteRate, 1, ""}, {ConsumerByteRate, -1, ""}, {ConsumerByteRate, 1 << 50, ""},
		{"max-x", 1, "unrecognised limit 'max-x'; should be one of: max-connections, max-channels, max-queues, max-consumers, max-message-size, producer_byte_rate, consumer_byte_rate"},
		{"", 1, "unrecognised limit ''"},
		{MaxQueues, math.MaxInt32 + 1, "is more than 2147483647"},
		{MaxQueues, -2, "max-queues = -2 is not a number of 0 or more, or -1 for no limit"},
		{MaxMessageSize, 1<<50 + 1, "is more than"},
		{ProducerByteRate, 0, "would let nothing through"}, {ConsumerByteRate, 0, "would let nothing through"},
	} {
		err := CheckLimit(c.name, c.n)
		if (err == nil) != (c.want == "") || err != nil && (KindOf(err) != Precondition || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s = %d: %v, want %q", c.name, c.n, err, c.want)
		}
	}
}

func TestConnectionsAreLimitedByUserAndVirtualHost(t *testing.T) {
	r, user := startLimited(t)
	v, _ := r.host("v")
	a := r.mustEnter(v, "ann")
	r.limit("v", MaxConnections, 1) // who is there stays, and counts
	full := "access to vhost 'v' refused for user 'ben': connection limit (1) is reached"
	_, err := r.enter(v, "ben")
	refusedBy(t, err, full)
	r.mustEnter(r.v, "ben").Close() // elsewhere there is room
	a.Close()
	a.Close()
	b := r.mustEnter(v, "ben")
	if err := b.Enter(); err != nil { // it is asked again whenever rights change
		t.Error(err)
	}
	_, err = r.enter(v, "ben")
	refusedBy(t, err, full)
	r.limit("v", MaxConnections, 0)
	b.Close()
	_, err = r.enter(v, "ben")
	refusedBy(t, err, "access to vhost 'v' refused for user 'ben': connection limit (0) is reached")
	r.limit("v", MaxConnections, -1)
	user("ann", MaxConnections, 2)
	a, b = r.mustEnter(v, "ann"), r.mustEnter(r.v, "ann")
	_, err = r.enter(v, "ann")
	refusedBy(t, err, "connection refused for user 'ann': user connection limit (2) is reached")
	c := r.mustEnter(v, "ben")
	user("ann", MaxConnections, -1)
	d := r.mustEnter(v, "ann")
	user("ann", MaxConnections, 0)
	a.Close()
	_, err = r.enter(v, "ann")
	refusedBy(t, err, "connection refused for user 'ann': user connection limit (0) is reached")
	r.PolicyChanged() // the connections of sessions that are closed are in the registry still
	for _, s := range []*Session{b, c, d} {
		s.Close()
		if err := s.Enter(); err != nil { // as a change of rights has it, which comes at the same time
			t.Error(err)
		}
	}
	r.PolicyChanged()
	if n, m := v.account.held[limitConnections].Load(), len(r.accounts.list); n != 0 || m != 0 {
		t.Errorf("%d connections are counted, and %d users", n, m)
	}
}

// However many come at once, as many get in as may.
func TestALimitIsNotPassedByManyAtOnce(t *testing.T) {
	r, user := startLimited(t)
	user("ann", MaxConnections, 5)
	r.limit("/", MaxConnections, 7)
	var in, out atomic.Int32
	var all sync.WaitGroup
	for range 50 {
		_, k := connect(t, r.Clients("test"), "")
		all.Go(func() {
			s := k.NewSession(r.v, auth.Identity{Name: "ann"})
			if s.Enter() != nil {
				out.Add(1)
				s.Close()
				return
			}
			in.Add(1)
		})
	}
	all.Wait()
	if in.Load() != 5 || out.Load() != 45 || r.v.account.held[limitConnections].Load() != 5 {
		t.Errorf("%d got in, %d did not, %d are counted", in.Load(), out.Load(), r.v.account.held[limitConnections].Load())
	}
}

func TestChannelsAndConsumersAreLimited(t *testing.T) {
	r, user := startLimited(t)
	user("ann", MaxChannels, 2)
	a, b := r.mustEnter(r.v, "ann"), r.mustEnter(r.v, "ann")
	for _, s := range []*Session{a, b} {
		if err := s.OpenChannel(); err != nil {
			t.Fatal(err)
		}
	}
	refusedBy(t, a.OpenChannel(), "number of channels opened for user 'ann' has reached the maximum allowed user limit of 2")
	b.CloseChannel()
	if err := a.OpenChannel(); err != nil {
		t.Error(err)
	}
	b.Close()
	a.Close() // with its two
	a = r.mustEnter(r.v, "ann")
	r.limit("/", MaxChannels, 1)
	if err := a.OpenChannel(); err != nil {
		t.Error(err)
	}
	refusedBy(t, a.OpenChannel(), "number of channels opened in vhost '/' has reached the maximum allowed limit of 1")

	if _, err := a.DeclareQueue("q", QueueOptions{Durable: true}); err != nil {
		t.Fatal(err)
	}
	stream := field.AppendString(field.AppendName(nil, argType), []byte("stream"))
	if _, err := a.DeclareQueue("s", QueueOptions{Durable: true, Args: stream}); err != nil {
		t.Fatal(err)
	}
	consume := func(queue string, o SubscribeOptions) (*Subscription, error) { return a.Subscribe(queue, o) }
	user("ann", MaxConsumers, 2)
	for range 3 { // those that fail are not counted
		if _, err := consume("none", SubscribeOptions{}); KindOf(err) != NotFound {
			t.Fatal(err)
		}
		if _, err := consume("s", SubscribeOptions{}); KindOf(err) != Precondition {
			t.Fatal(err)
		}
	}
	one, err := consume("q", SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := consume("q", SubscribeOptions{Exclusive: true}); KindOf(err) != Refused {
			t.Fatal(err)
		}
	}
	two, err := consume("s", SubscribeOptions{Prefetch: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = consume("q", SubscribeOptions{})
	refusedBy(t, err, "number of consumers of user 'ann' has reached the maximum allowed user limit of 2")
	one.Close()
	one.Leave()
	user("ann", MaxConsumers, -1)
	r.limit("/", MaxConsumers, 2)
	if one, err = consume("q", SubscribeOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = consume("q", SubscribeOptions{})
	refusedBy(t, err, "number of consumers in vhost '/' has reached the maximum allowed limit of 2")
	if n := a.user.Load().held[limitConsumers].Load(); n != 2 {
		t.Errorf("%d consumers of the user are counted", n)
	}
	a.Close()
	one.Close()
	two.Close()
	for k := range countedKinds {
		if n := r.v.account.held[k].Load(); n != 0 && k != limitQueues {
			t.Errorf("%s: %d are counted when nobody is there", limitNames[k], n)
		}
	}
}

func TestQueuesOfAVirtualHostAreLimited(t *testing.T) {
	r, faulty := startFaulty(t)
	v, s := r.host("v")
	declare := func(name string, o QueueOptions) error {
		_, err := s.DeclareQueue(name, o)
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(declare("a", QueueOptions{Durable: true}))
	r.limit("v", MaxQueues, 3)
	must(declare("b", QueueOptions{Exclusive: true}))
	faulty.puts.Store(0)
	for range 3 {
		if err := declare("c", QueueOptions{Durable: true}); KindOf(err) != Full {
			t.Fatal(err)
		}
	}
	faulty.puts.Store(math.MaxInt64)
	_, err := s.CreateTopic("c", 2, nil)
	must(err)
	full := "cannot declare queue 'd': queue limit in vhost 'v' (3) is reached"
	refusedBy(t, declare("d", QueueOptions{}), full)
	_, err = s.CreateTopic("d", 1, nil)
	refusedBy(t, err, full)
	must(declare("a", QueueOptions{Durable: true})) // it is there
	if q := r.queue("d", QueueOptions{Durable: true}); q == nil {
		t.Error("there is no room in another virtual host")
	}
	_, err = s.DeleteQueue("a", false, false)
	must(err)
	must(declare("d", QueueOptions{}))
	s.Close() // with its own
	s = v.NewSession(auth.Identity{Name: "guest"})
	must(declare("b", QueueOptions{Durable: true}))
	refusedBy(t, declare("e", QueueOptions{}), "cannot declare queue 'e': queue limit in vhost 'v' (3) is reached")
	r.limit("v", MaxQueues, 0)
	refusedBy(t, declare("e", QueueOptions{}), "cannot declare queue 'e': queue limit in vhost 'v' (0) is reached")
	must(r.ClearVHostLimit(root, "v", MaxQueues))
	must(declare("e", QueueOptions{Durable: true}))
	r.limit("v", MaxQueues, 4)
	for range 2 {
		must(r.Close())
		b, err := Open(r.store, Options{})
		must(err)
		r.Broker = b
		v, s = r.in("v")
		refusedBy(t, func() error { must(declare("f", QueueOptions{Durable: true})); return declare("g", QueueOptions{}) }(),
			"cannot declare queue 'g': queue limit in vhost 'v' (4) is reached") // b, c, e and this one are there
		if got := v.Limits(); len(got) != 1 || got[MaxQueues] != 4 {
			t.Error(got)
		}
	}
}

// Declarations at a time get as many queues as there may be.
func TestTheQueueLimitHoldsForManyAtOnce(t *testing.T) {
	r := start(t)
	r.limit("/", MaxQueues, 10)
	var made atomic.Int32
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 10 {
				if _, err := r.s.DeclareQueue(fmt.Sprint(g, " ", i), QueueOptions{Durable: true}); err == nil {
					made.Add(1)
				} else if KindOf(err) != LimitReached {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if made.Load() != 10 || len(r.v.Queues()) != 10 {
		t.Errorf("%d were made, %d are there", made.Load(), len(r.v.Queues()))
	}
}

// What counts of a user are the queues that he declared while he had a limit, wherever they are, until they go.
func TestQueuesOfAUserAreLimited(t *testing.T) {
	r, user := startLimited(t)
	v, _ := r.host("v")
	ann, elsewhere, ben := r.mustEnter(r.v, "ann"), r.mustEnter(v, "ann"), r.mustEnter(r.v, "ben")
	declare := func(s *Session, name string) error {
		_, err := s.DeclareQueue(name, QueueOptions{Durable: true})
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(declare(ann, "before"))
	user("ann", MaxQueues, 2)
	must(declare(ann, "one"))
	must(declare(elsewhere, "two"))
	full := "cannot declare queue 'three': queue limit of user 'ann' (2) is reached"
	refusedBy(t, declare(ann, "three"), full)
	must(declare(ann, "one"))
	must(declare(ben, "three"))
	_, err := ben.DeleteQueue("one", false, false) // whoever does it
	must(err)
	must(declare(ann, "four"))
	refusedBy(t, declare(elsewhere, "five"), "cannot declare queue 'five': queue limit of user 'ann' (2) is reached")
	r.limit("v", MaxQueues, 1) // what one refuses the other does not count
	user("ann", MaxQueues, 3)
	refusedBy(t, declare(elsewhere, "five"), "cannot declare queue 'five': queue limit in vhost 'v' (1) is reached")
	must(declare(ann, "five"))
	user("ann", MaxQueues, 2)
	ann.Close()
	elsewhere.Close()
	must(r.Close())
	b, err := Open(r.store, r.opts)
	must(err)
	r.Broker = b
	r.v, _ = r.in("/")
	ann = r.mustEnter(r.v, "ann")
	refusedBy(t, declare(ann, "six"), "cannot declare queue 'six': queue limit of user 'ann' (2) is reached")
	r.drop("v")
	_, err = ann.DeleteQueue("four", false, false)
	must(err)
	must(declare(ann, "six"))
	refusedBy(t, declare(ann, "seven"), "cannot declare queue 'seven': queue limit of user 'ann' (2) is reached")
}

func TestTheSizeOfMessagesIsLimited(t *testing.T) {
	r, user := startLimited(t)
	s := r.mustEnter(r.v, "ann")
	r.queue("q", QueueOptions{Durable: true})
	topic, err := s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := s.NewPublisher()
	send := func(n int) error {
		_, err := p.Publish(&Inbound{Key: []byte("q"), Body: make([]byte, n), TimestampMs: 1})
		return err
	}
	like := func(n int) error {
		_, err := p.Publish(&Inbound{Key: []byte("q"), Body: make([]byte, n), TimestampMs: 1, SameHead: true})
		return err
	}
	small, large := produced(-1, -1, -1, "v"), produced(-1, -1, -1, strings.Repeat("v", 2000))
	check := func(most int) {
		t.Helper()
		if s.MaxMessageBytes() != most {
			t.Errorf("%d, want %d", s.MaxMessageBytes(), most)
		}
		for name, do := range map[string]func(int) error{"a new one": send, "one like the last": like} {
			if err := send(most); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := do(most + 1); KindOf(err) != TooLarge || err.Error() != fmt.Sprintf("message size %d is larger than configured max size %d", most+1, most) {
				t.Errorf("%s: %v", name, err)
			}
			if err := like(most); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := s.Produce(topic.Partitions()[0], small); err != nil {
			t.Error(err)
		}
		if _, err := s.Produce(topic.Partitions()[0], large); KindOf(err) != TooLarge {
			t.Error(err)
		}
	}
	if err := send(5000); err != nil {
		t.Error(err)
	}
	user("ann", MaxMessageSize, 1000)
	check(1000)
	r.limit("/", MaxMessageSize, 500)
	check(500)
	if err := r.ClearVHostLimit(root, "/", MaxMessageSize); err != nil {
		t.Fatal(err)
	}
	check(1000)
	user("ann", MaxMessageSize, -1)
	if err := send(5000); err != nil {
		t.Error(err)
	}
	if _, err := s.Produce(topic.Partitions()[0], large); err != nil {
		t.Error(err)
	}
	flush(t, p)
}

func TestLimitsOfVirtualHostsAreKept(t *testing.T) {
	r := start(t)
	r.host("a/b")
	if err := r.SetVHostLimits(root, "a/b", map[string]int64{MaxQueues: 10, MaxConnections: -1}); err != nil {
		t.Fatal(err)
	}
	r.limit("a/b", ProducerByteRate, 7)
	r.limit("/", MaxQueues, 1)
	if err := r.SetVHostLimits(root, "/", nil); err != nil {
		t.Fatal(err)
	}
	stored := func() (got []string) {
		_ = r.defs.Load(t.Context(), func(e store.Entry) error {
			if strings.HasPrefix(e.Key, prefixVHostLimits) {
				got = append(got, e.Key+" "+string(e.Value))
			}
			return nil
		})
		return got
	}
	r.PutVHost(root, "a/b", VHostMeta{Description: "written after its limits"})
	r.restart()
	want(t, "the definitions", stored(), []string{`l/a%2Fb {"max-connections":-1,"max-queues":10,"producer_byte_rate":7}`})
	v, _ := r.in("a/b")
	if got := v.Limits(); len(got) != 3 || got[MaxQueues] != 10 || got[MaxConnections] != -1 || got[ProducerByteRate] != 7 || v.Meta().Description == "" {
		t.Error(got)
	}
	for what, err := range map[string]error{
		"an unknown name":      r.SetVHostLimit(root, "a/b", "max-x", 1),
		"a value out of range": r.SetVHostLimits(root, "a/b", map[string]int64{MaxQueues: 1, MaxConnections: -7}),
		"clearing nothing":     r.ClearVHostLimit(root, "a/b", "max-x"),
	} {
		if KindOf(err) != Precondition {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := r.SetVHostLimit(root, "none", MaxQueues, 1); KindOf(err) != NotFound {
		t.Error(err)
	}
	want(t, "after what was refused", stored(), []string{`l/a%2Fb {"max-connections":-1,"max-queues":10,"producer_byte_rate":7}`})
	r.drop("a/b")
	want(t, "when it is deleted", stored(), nil)
	v, _ = r.host("a/b")
	if len(v.Limits()) != 0 {
		t.Error("the new one has limits")
	}
}

func TestDamagedLimitsAreRefusedWithTheirNames(t *testing.T) {
	for key, value := range map[string]string{
		"l/%2F":  `{"max-x":1}`,
		"l/%2f":  `{"max-queues":-7}`,
		"l/none": `{"max-queues":1}`,
		"l/%zz":  `{}`,
		"l/":     `[`,
	} {
		r := startWith(t, 0)
		if err := r.defs.Put(t.Context(), store.Entry{Key: key, Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(r.store, Options{}); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(key, "l/")) {
			t.Errorf("%s %s: %v", key, value, err)
		}
	}
}

func FuzzVHostLimits(f *testing.F) {
	f.Add("l/%2F", []byte(`{"max-queues":10,"max-connections":-1}`))
	f.Add("l/v", []byte(`{"producer_byte_rate":1e300}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		said, err := readVHostLimits(store.Entry{Key: key, Value: value})
		if err != nil {
			return
		}
		for name, n := range said {
			if CheckLimit(name, n) != nil {
				t.Errorf("%s = %d was taken", name, n)
			}
		}
		var a account
		a.setLimits(compileLimits(said))
		if wait := a.in.spend(math.MaxInt32, time.Unix(1, 0)); wait < 0 {
			t.Error(wait)
		}
	})
}

func TestWhatGoesOverARateIsWaitedFor(t *testing.T) {
	at := func(d time.Duration) time.Time { return time.Unix(1_000_000, 0).Add(d) }
	var p pace
	if wait := p.spend(1<<30, at(0)); wait != 0 || p.owed(at(0)) != 0 {
		t.Errorf("without a rate: %v", wait)
	}
	p.set(1000)
	for i, c := range []struct {
		at   time.Duration
		n    int
		wait time.Duration
	}{
		{0, 1000, 0}, // of a second before that
		{0, 500, 500 * time.Millisecond},
		{0, 250, 750 * time.Millisecond}, // another, behind the first
		{500 * time.Millisecond, 0, 250 * time.Millisecond},
		{750 * time.Millisecond, 0, 0},
		{1250 * time.Millisecond, 500, 0}, // half a second was saved
		{time.Hour, 2000, time.Second},    // never more than one
		{time.Hour, 1 << 40, 24*time.Hour + time.Second},
	} {
		if wait := p.spend(c.n, at(c.at)); wait != c.wait {
			t.Errorf("%d: %v, want %v", i, wait, c.wait)
		}
		if owed := p.owed(at(c.at)); owed != c.wait {
			t.Errorf("%d: %v is owed", i, owed)
		}
	}
	p.set(math.MaxInt64)
	if wait := p.spend(1<<30, at(0)); wait != 0 || p.owed(at(0)) != 0 {
		t.Errorf("without a rate again: %v", wait)
	}
}

// Whatever comes when, no more goes through than the rate and a second of it, and no less is waited for than that.
func TestARateIsKeptByManyOverTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var p pace
		rate := 1 + rng.Int64N(1<<rng.IntN(30))
		p.set(rate)
		began := time.Unix(1_000_000, 0)
		free := [3]time.Time{began, began, began} // when each of three may go on
		sent := int64(0)
		var last time.Time
		for range 500 {
			i := 0
			for k := range free {
				if free[k].Before(free[i]) {
					i = k
				}
			}
			now := free[i]
			if last = now; float64(sent) > float64(rate)*(now.Sub(began)+paceBurst).Seconds()*1.0001+3*float64(rate)*5 {
				t.Fatalf("%d bytes in %v at %d a second", sent, now.Sub(began), rate)
			}
			n := rng.Int64N(rate * 5)
			sent += n
			free[i] = now.Add(p.spend(int(n), now))
		}
		if took := last.Sub(began).Seconds(); float64(sent) < float64(rate)*took*0.98-1 || float64(sent) > float64(rate)*(took+1)*1.02+15*float64(rate) {
			t.Errorf("%d bytes in %.1f s at %d a second", sent, took, rate)
		}
	}
}

func TestOnlyWhoHasARateHasAPacer(t *testing.T) {
	r, user := startLimited(t)
	s, other := r.mustEnter(r.v, "ann"), r.mustEnter(r.v, "ben")
	if s.Pacer() != nil {
		t.Error("without limits")
	}
	user("ann", MaxChannels, 5)
	if s.Pacer() != nil {
		t.Error("with another limit")
	}
	user("ann", ProducerByteRate, 1000)
	p := s.Pacer()
	if p == nil || other.Pacer() != nil {
		t.Fatal("of one user alone")
	}
	r.PolicyChanged()
	if s.Pacer() != p {
		t.Error("nothing has changed")
	}
	now := time.Now()
	if wait := p.Came(3000, now); wait < 1990*time.Millisecond || p.Owed(now) != 0 || p.Left(1<<20, now) != 0 {
		t.Errorf("%v", wait)
	}
	r.limit("/", ConsumerByteRate, 100)
	if p = s.Pacer(); p.Left(300, now) < 1990*time.Millisecond || other.Pacer().Owed(now) == 0 {
		t.Error("it is not shared by the virtual host")
	}
	third := r.mustEnter(r.v, "cat") // who comes later
	if third.Pacer() == nil {
		t.Error("a new session has none")
	}
	user("ann", ProducerByteRate, -1)
	if err := r.SetVHostLimits(root, "/", nil); err != nil {
		t.Fatal(err)
	}
	if s.Pacer() != nil || other.Pacer() != nil || third.Pacer() != nil {
		t.Error("when there is none again")
	}
}

// What is refused for a limit is counted by the limit, and the time that rates ask for.
func TestRefusalsAndWaitsAreCounted(t *testing.T) {
	r, set := startLimited(t)
	set("ann", MaxConnections, 1)
	s := r.mustEnter(r.v, "ann")
	for range 2 {
		if _, err := r.enter(r.v, "ann"); KindOf(err) != LimitReached {
			t.Fatal(err)
		}
	}
	r.limit("/", MaxQueues, 0)
	if _, err := s.DeclareQueue("q", QueueOptions{}); KindOf(err) != LimitReached {
		t.Fatal(err)
	}
	set("ann", MaxChannels, 0)
	if err := s.OpenChannel(); KindOf(err) != LimitReached {
		t.Fatal(err)
	}
	r.limit("/", MaxConnections, 1)
	if _, err := r.enter(r.v, "ben"); KindOf(err) != LimitReached {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	r.Counters().OverLimit(func(limit, of string, n uint64) {
		if n > 0 {
			got[limit+" of "+of] = n
		}
	})
	want := map[string]uint64{"max-connections of user": 2, "max-queues of vhost": 1, "max-channels of user": 1, "max-connections of vhost": 1}
	if !maps.Equal(got, want) {
		t.Errorf("counted were %v, want %v", got, want)
	}
	set("ann", ProducerByteRate, 1000)
	now := time.Now()
	if wait := s.Pacer().Came(1000, now); wait != 0 {
		t.Fatal(wait) // a second's worth may go at once
	}
	if wait := s.Pacer().Came(3000, now); wait != 3*time.Second || r.Counters().Throttled[0].Load() != uint64(wait) || r.Counters().Throttled[1].Load() != 0 {
		t.Errorf("a wait of %v, counted are %d and %d ns", wait, r.Counters().Throttled[0].Load(), r.Counters().Throttled[1].Load())
	}
}
