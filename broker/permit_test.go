package broker

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/message"
)

// Every verb of a session is refused to one who may nothing, by itself: no listener
// can leave the question out.
func TestEveryVerbOfASessionAsks(t *testing.T) {
	r := start(t)
	r.Broker.opts.Policy = func(q Request) error {
		if q.User == "nobody" {
			return errors.New("says the test")
		}
		return nil
	}
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.exchange("x", "fanout")
	x, _ := r.v.Exchange("x")
	part := q.Partitions()[0]
	s := r.v.NewSession(auth.Identity{Name: "nobody"})
	last := func(_ any, err error) error { return err }
	over := make(chan struct{})
	close(over)
	r.jobs.loaded, r.jobs.all = true, map[string]*job{"j": {now: Job{ID: "j", Kind: RedriveJob, State: JobFailed, VHost: "/", Spec: spec("t", nil)}, over: over}}
	verbs := map[string]func() error{
		"NewProducerID":        func() error { return last(s.NewProducerID()) },
		"Queue":                func() error { return last(s.Queue(Look, "t")) },
		"LookAt":               func() error { return last(s.LookAt("t")) },
		"Exchange":             func() error { return last(s.Exchange(Look, "x")) },
		"DeclareQueue":         func() error { return last(s.DeclareQueue("new", QueueOptions{})) },
		"DeleteQueue":          func() error { return last(s.DeleteQueue("t", false, false)) },
		"DeclareExchange":      func() error { return last(s.DeclareExchange("new", ExchangeOptions{Type: "fanout"})) },
		"DeleteExchange":       func() error { return s.DeleteExchange("x", false) },
		"CreateTopic":          func() error { return last(s.CreateTopic("new", 1, nil)) },
		"AddPartitions":        func() error { return s.AddPartitions(q, 2) },
		"SetConfig":            func() error { return s.SetConfig(q, map[string]*string{"retention.ms": new(string)}) },
		"Bind":                 func() error { return s.Bind(Binding{Source: "x", Dest: "t"}) },
		"Unbind":               func() error { return s.Unbind(Binding{Source: "x", Dest: "t"}) },
		"Purge":                func() error { return last(s.Purge("t")) },
		"Get":                  func() error { return last(s.Get("t", true)) },
		"Subscribe":            func() error { return last(s.Subscribe("t", SubscribeOptions{})) },
		"ProduceInTransaction": func() error { return last(s.ProduceInTransaction(part, transactionally(1, 0, 0, "v"))) },
		"EndTransaction":       func() error { return last(s.EndTransaction(part, 1, 0, false)) },
		"Produce":              func() error { return last(s.Produce(part, produced(-1, -1, -1, "v"))) },
		"Truncate":             func() error { return last(s.Truncate(part, -1)) },
		"SubscribePartition": func() error {
			return last(s.SubscribePartition(part, func() {}, func() {}))
		},
		"CommitOffsets": func() error { return s.CommitOffsets("g", []GroupOffset{{Topic: "t"}}) },
		"DeleteOffsets": func() error { return s.DeleteOffsets("g", []GroupOffset{{Topic: "t"}}) },
		"Bounds": func() error {
			_, _, err := s.Bounds(part)
			return err
		},
		"Extent": func() error {
			_, _, err := s.Extent(part)
			return err
		},
		"Browse": func() error {
			_, _, err := s.Browse(part, 0, 1, func(*Delivery) bool { return true })
			return err
		},
		"Between": func() error {
			_, _, err := s.Between(part, 0, 1)
			return err
		},
		"States":    func() error { return last(s.States(part)) },
		"StartJob":  func() error { return last(s.StartJob(ReplayJob, spec("t", intoExchange("x")))) },
		"ResumeJob": func() error { return last(s.ResumeJob("j")) },
		"SizeOf":    func() error { return last(s.SizeOf(part)) },
		"Fetch": func() error {
			_, _, err := s.Fetch(part, Fetch{MaxBytes: 1}, nil)
			return err
		},
		"StableOffset": func() error { return last(s.StableOffset(part)) },
		"Producers":    func() error { return last(s.Producers(part)) },
		"OffsetForTime": func() error {
			_, _, _, err := s.OffsetForTime(part, 0)
			return err
		},
		"LatestOffset": func() error {
			_, _, _, err := s.LatestOffset(part)
			return err
		},
		"WorkPlace": func() error { return last(s.WorkPlace(part)) },
		"MoveWork":  func() error { return s.MoveWork(part, 0) },
		"BeginWork": func() error { return s.BeginWork(part, func() (message.Offset, error) { return 0, nil }) },
		"NewPublisher": func() error {
			p := s.NewPublisher()
			if _, err := publishBatch(p, x, produced(-1, -1, -1, "v")); KindOf(err) != Refused {
				return err
			}
			return last(p.Publish(&Inbound{Exchange: []byte("x")}))
		},
		"NewTransaction": func() error { return last(s.NewTransaction().Publish(&Inbound{Exchange: []byte("x")})) },
		"May":            func() error { return s.May(Look, OnCluster, "") },
		"Stand":          func() error { return s.Stand(Consume, OnGroup, "g", "m", func() {}) },
		"Enter":          s.Enter,
		"Visit":          s.Visit,
	}
	// These show or do nothing of the broker's.
	others := map[string]bool{"Close": true, "GiveUp": true,
		"AwaitReplies": true, "LookAtReplies": true, // get what is sent to an address that the session made
		"OpenChannel": true, "CloseChannel": true, "MaxMessageBytes": true, "Pacer": true, // of limits
		"VHost":          true,
		"Commit":         true,                        // waits for what Produce wrote
		"CountConfirmed": true, "CountReturned": true, // of what was published
		"Count":  true,                                                        // of what was declared or looked at
		"Queues": true, "FeedTopics": true, "Watch": true, "BindingsTo": true, // leave out what may not be seen
		"PolicyChange": true, "Stopped": true, "ClientID": true, "SetClientID": true}
	for i := range reflect.TypeOf(s).NumMethod() {
		name := reflect.TypeOf(s).Method(i).Name
		verb := verbs[name]
		switch {
		case verb == nil && !others[name]:
			t.Errorf("Session.%s stands in no list of this test", name)
		case verb != nil:
			if err := verb(); KindOf(err) != Refused || RefusedOn(err) == 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if err := r.s.Bind(Binding{Source: "x", Dest: "t"}); err != nil {
		t.Fatal(err)
	}
	if len(s.BindingsTo("t")) != 0 || len(r.s.BindingsTo("t")) == 0 {
		t.Error("bindings were shown to nobody, or not to who may see them")
	}
	if len(s.Queues()) != 0 || len(s.FeedTopics()) != 0 || len(r.v.Queues()) != 1 || len(q.Partitions()) != 1 {
		t.Error("something was shown or done")
	}
	woken := false
	s.Watch(part, func() { woken = true })
	if _, err := r.s.Produce(part, produced(-1, -1, -1, "v")); err != nil || woken {
		t.Errorf("%v; woken: %v", err, woken)
	}
}

// A quota or an alarm answers in its own kind.
func TestThePolicyMayAnswerInItsOwnKind(t *testing.T) {
	r := start(t)
	r.Broker.opts.Policy = func(q Request) error { return fail(Full, "user '%s' has as many queues as it may", q.User) }
	_, err := r.s.DeclareQueue("q", QueueOptions{})
	kind(t, err, Full)
}

// What is not a method of Session does nothing that a client asks for: it looks, or it is the broker's own
// housekeeping. Whoever adds a method says here which of both it is.
func TestTheSessionIsTheOneDoor(t *testing.T) {
	looks := []string{"VHost", "VHosts", "Meta", "Gone", "TopicsVersion", "Limits", "OnVHostDeleted", "Queue", "Queues", "Exchange", "Exchanges", "Bindings", "Partitions", "Index", "FeedExchange", "FeedTopics", "LikeTopic", "Readable", "OfKafka",
		"Deleted", "Ready", "Unacked", "Consumers", "Settings", "CheckConfig", "Definition", "LogName", "Stats", "QueueStats", "PartitionStats", "Ends", "Counters", "Connections", "ConnectionCounts", "Logins", "CountLogins", "Pulse",
		"ClusterID", "MaxMessageBytes", "TopicConfig", "TopicDefaults", "Alarm", "Alarms", "OnAlarm", "OnDeleted", "OnExchangeDeleted", "Attachments", "GroupOffsets", "Groups", "GroupSettings", "Transactions", "OpenTransactions", "Policies", "Parameters", "GlobalParameters", "Defined",
		"GlobalParameter", "Type", "Predeclared", "BindingsTo", "BindingsToExchange"}
	looks = append(looks, "ConsumerInfos", "ActiveConsumer", "Owner", "Flow", "Churn", "KeepsAcked", "Job", "Jobs", "Oldest", "Age", "Attached", "OnPurged") // of who manages the broker
	looks = append(looks, "Whither", "Transactional")
	keeps := []string{
		"NewSession", "NewInnerSession", "Clients", // how clients come to the door
		"PolicyChanged", "LimitMessages", "Close", // the server's
		"PutVHost", "DeleteVHost", "SetVHostLimits", "SetVHostLimit", "ClearVHostLimit", // an administrator's, who is named
		"ForgetOffsets", "KeepGroup", "KeepGroupSettings", "Attach", // of what was allowed when it was asked for
		"KeepTransaction", "EndTransaction", "FlushTransactions", "NewProducerID", // the same
		"Scratch",                                                                           // memory of unfinished messages
		"PutPolicies", "DeletePolicy", "PutParameters", "PutGlobalParameters", "NewChecker", // administration
		"CancelJob", "DropJob", // of who began it, or an administrator
		"Backup", // an administrator's, who is named
		"EvictConnection", "AlterVHost", "DeleteParameter", "DeleteGlobalParameter",
	}
	for _, of := range []any{(*Broker)(nil), (*VHost)(nil), (*Queue)(nil), (*Exchange)(nil), (*Partition)(nil)} {
		typ := reflect.TypeOf(of)
		for i := range typ.NumMethod() {
			name := typ.Method(i).Name
			if !slices.Contains(looks, name) && !slices.Contains(keeps, name) {
				t.Errorf("%v.%s stands in no list of this test: what a client can cause belongs to Session", typ.Elem(), name)
			}
		}
	}
}

// What a policy said is remembered by name until it changes, and found again without a lock or an allocation.
func TestAnAnswerIsRememberedUntilThePolicyChanges(t *testing.T) {
	r := start(t)
	asked, no := 0, map[string]bool{}
	r.Broker.opts.Policy = func(q Request) error {
		asked++
		if no[q.On.Name] {
			return ErrDenied
		}
		return nil
	}
	s := r.v.NewSession(auth.Identity{Name: "guest"})
	names := make([]string, 3*maxPermits/2)
	for i := range names {
		names[i] = fmt.Sprint("q", i)
	}
	for range 3 {
		for _, name := range names[:maxPermits] {
			if err := s.May(Consume, OnQueue, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if asked != maxPermits {
		t.Errorf("asked %d times for %d names", asked, maxPermits)
	}
	s.mu.Lock() // what is remembered takes no lock
	if n := alloc.Least(0, 100, func() {
		if s.May(Consume, OnQueue, "q7") != nil {
			t.Error("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations for an answer that is remembered", n)
	}
	s.mu.Unlock()
	no["q7"] = true
	if s.May(Consume, OnQueue, "q7") != nil {
		t.Error("asked although nothing was said to have changed")
	}
	r.Broker.PolicyChanged()
	for range 3 {
		if err := s.May(Consume, OnQueue, "q7"); RefusedOn(err) != OnQueue {
			t.Errorf("%v", err)
		}
		if err := s.May(Consume, OnQueue, "q8"); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		for _, name := range names {
			s.May(Publish, OnQueue, name)
		}
	}
	if n := len(s.fresh.said); n > maxPermits {
		t.Errorf("%d answers are kept", n)
	}
}

func TestARefusalSaysWhatWasAskedFor(t *testing.T) {
	r := start(t)
	r.Broker.opts.Policy = func(Request) error { return ErrDenied }
	s := r.v.NewSession(auth.Identity{Name: "u"})
	for _, c := range []struct {
		verb Verb
		kind ResourceKind
		name string
		want string
	}{
		{Create, OnQueue, "q", "configure access to queue 'q' in vhost '/' refused for user 'u'"},
		{Delete, OnExchange, "x", "configure access to exchange 'x' in vhost '/' refused for user 'u'"},
		{Alter, OnQueue, "q", "configure access to queue 'q' in vhost '/' refused for user 'u'"},
		{Truncate, OnQueue, "q", "configure access to queue 'q' in vhost '/' refused for user 'u'"},
		{Publish, OnExchange, "", "write access to exchange 'amq.default' in vhost '/' refused for user 'u'"},
		{BindDest, OnQueue, "q", "write access to queue 'q' in vhost '/' refused for user 'u'"},
		{BindSource, OnExchange, "x", "read access to exchange 'x' in vhost '/' refused for user 'u'"},
		{Consume, OnGroup, "g", "read access to group 'g' in vhost '/' refused for user 'u'"},
		{Purge, OnQueue, "q", "read access to queue 'q' in vhost '/' refused for user 'u'"},
		{Look, OnQueue, "q", "access to queue 'q' in vhost '/' refused for user 'u'"},
		{Alter, OnCluster, "", "configure access to the cluster refused for user 'u'"},
		{Enter, OnVHost, "/", "access to vhost '/' refused for user 'u'"},
	} {
		if err := s.May(c.verb, c.kind, c.name); err == nil || err.Error() != c.want || RefusedOn(err) != c.kind {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

// Between the question and the entry among those that are asked again nothing may fall.
func TestASubscriptionIsNotMissedByAChange(t *testing.T) {
	r := start(t)
	var no atomic.Bool
	r.Broker.opts.Policy = func(q Request) error {
		if q.Verb == Consume && no.Load() {
			return ErrDenied
		}
		return nil
	}
	r.queue("q", QueueOptions{})
	s := r.v.NewSession(auth.Identity{Name: "u"})
	sub, err := s.subscribe("q", SubscribeOptions{}) // it was allowed
	if err != nil {
		t.Fatal(err)
	}
	no.Store(true)
	r.Broker.PolicyChanged() // which does not know of it yet
	kind(t, s.subscribed(sub), Refused)
	sub.Close()
	if len(s.subs) != 0 {
		t.Error("it is asked for for ever")
	}
	_, err = s.Subscribe("q", SubscribeOptions{})
	kind(t, err, Refused)
	policy := r.Broker.opts.Policy
	r.Broker.opts.Policy = func(q Request) error {
		if q.Verb == Consume && no.CompareAndSwap(false, true) { // it is lost right behind the answer
			r.Broker.PolicyChanged()
			return nil
		}
		return policy(q)
	}
	no.Store(false)
	r.Broker.PolicyChanged()
	_, err = s.Subscribe("q", SubscribeOptions{})
	kind(t, err, Refused)
	if q, _ := r.v.Queue("q"); q.Consumers() != 0 {
		t.Error("a consumer that was refused is there")
	}
	r.Broker.opts.Policy = policy
	no.Store(false)
	r.Broker.PolicyChanged()
	if sub, err = s.Subscribe("q", SubscribeOptions{}); err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	select {
	case <-s.PolicyChange():
		t.Error("changed")
	default:
	}
	changed := s.PolicyChange()
	r.Broker.PolicyChanged()
	<-changed
}

// A queue that is on its way out answers for none of what is declared in its place.
func TestAQueueThatFollowsAnotherAsksForItsDeadLetters(t *testing.T) {
	r := start(t)
	r.Broker.opts.Policy = func(q Request) error {
		if q.Verb == Publish {
			return ErrDenied
		}
		return nil
	}
	r.queue("q", QueueOptions{})
	leaving, leave, left := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		left <- r.v.change(func(c *change) error {
			if err := c.alone(queueClaim("q")); err != nil {
				return err
			}
			q, _ := r.v.Queue("q")
			return c.delete([]*Queue{q}, func() error {
				close(leaving)
				<-leave
				q.end(false)
				return nil
			})
		})
	}()
	<-leaving
	declared := make(chan error)
	go func() {
		_, err := r.v.NewSession(auth.Identity{Name: "u"}).DeclareQueue("q", QueueOptions{Args: arguments("x-dead-letter-exchange", "amq.fanout")})
		declared <- err
	}()
	for waits := false; !waits; runtime.Gosched() {
		r.v.mu.Lock()
		waits = r.v.claims[queueClaim("q")].free != nil
		r.v.mu.Unlock()
	}
	close(leave)
	if err := <-left; err != nil {
		t.Fatal(err)
	}
	kind(t, <-declared, Refused)
}

// A Kafka client may name groups of 16 MiB: what is remembered of it stays small.
func TestAnswersAboutLongNamesAreNotRemembered(t *testing.T) {
	r := start(t)
	asked := 0
	r.Broker.opts.Policy = func(Request) error { asked++; return ErrDenied }
	s := r.v.NewSession(auth.Identity{Name: "u"})
	for _, c := range []struct{ bytes, asked, known int }{{255, 1, 1}, {256, 3, 1}} {
		for range 3 {
			kind(t, s.May(Look, OnGroup, strings.Repeat("x", c.bytes)), Refused)
		}
		if asked != c.asked || len(s.fresh.said) != c.known {
			t.Errorf("%d bytes: asked %d times, %d are remembered", c.bytes, asked, len(s.fresh.said))
		}
		asked = 0
	}
}

// noKeys are none.
type noKeys struct{}

func (noKeys) MatchBytes([]byte) bool { return false }

// A binding that waits for its exchange to be made asks for the key when it knows what it is.
func TestABindingToAnExchangeThatIsBeingMadeAsksForItsKey(t *testing.T) {
	r := start(t)
	r.Broker.opts.Policy = func(Request) error { return nil }
	r.Broker.opts.KeyPolicy = func(KeyRequest) Keys { return noKeys{} }
	r.queue("q", QueueOptions{})
	making, ready, made, bound := make(chan struct{}), make(chan struct{}), make(chan error), make(chan error)
	go func() {
		made <- r.v.change(func(c *change) error {
			if err := c.alone(exchangeClaim("x")); err != nil {
				return err
			}
			x, err := r.v.newExchange("x", ExchangeOptions{Type: "topic"})
			if err != nil {
				return err
			}
			c.makeExchange(x)
			c.prepare = func() error { close(making); <-ready; return nil }
			return nil
		})
	}()
	<-making
	go func() {
		bound <- r.v.NewSession(auth.Identity{Name: "u"}).Bind(Binding{Source: "x", Dest: "q", Key: "k"})
	}()
	for waits := false; !waits; runtime.Gosched() {
		r.v.mu.Lock()
		waits = r.v.claims[exchangeClaim("x")].free != nil
		r.v.mu.Unlock()
	}
	close(ready)
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	kind(t, <-bound, Refused)
}
