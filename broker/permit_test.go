package broker

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/leveret-mq/leveret/auth"
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
	verbs := map[string]func() error{
		"NewProducerID":   func() error { return last(s.NewProducerID()) },
		"Queue":           func() error { return last(s.Queue(Look, "t")) },
		"LookAt":          func() error { return last(s.LookAt("t")) },
		"Exchange":        func() error { return last(s.Exchange(Look, "x")) },
		"DeclareQueue":    func() error { return last(s.DeclareQueue("new", QueueOptions{})) },
		"DeleteQueue":     func() error { return last(s.DeleteQueue("t", false, false)) },
		"DeclareExchange": func() error { return last(s.DeclareExchange("new", ExchangeOptions{Type: "fanout"})) },
		"DeleteExchange":  func() error { return s.DeleteExchange("x", false) },
		"CreateTopic":     func() error { return last(s.CreateTopic("new", 1, nil)) },
		"AddPartitions":   func() error { return s.AddPartitions(q, 2) },
		"SetConfig":       func() error { return s.SetConfig(q, map[string]*string{"retention.ms": new(string)}) },
		"Bind":            func() error { return s.Bind(Binding{Source: "x", Dest: "t"}) },
		"Unbind":          func() error { return s.Unbind(Binding{Source: "x", Dest: "t"}) },
		"Purge":           func() error { return last(s.Purge("t")) },
		"Get":             func() error { return last(s.Get("t", true)) },
		"Subscribe":       func() error { return last(s.Subscribe("t", SubscribeOptions{})) },
		"Produce":         func() error { return last(s.Produce(part, produced(-1, -1, -1, "v"))) },
		"Truncate":        func() error { return last(s.Truncate(part, -1)) },
		"CommitOffsets":   func() error { return s.CommitOffsets("g", []GroupOffset{{Topic: "t"}}) },
		"DeleteOffsets":   func() error { return s.DeleteOffsets("g", []GroupOffset{{Topic: "t"}}) },
		"Bounds": func() error {
			_, _, err := s.Bounds(part)
			return err
		},
		"SizeOf": func() error { return last(s.SizeOf(part)) },
		"Fetch": func() error {
			_, _, err := s.Fetch(part, Fetch{MaxBytes: 1}, nil)
			return err
		},
		"OffsetForTime": func() error {
			_, _, _, err := s.OffsetForTime(part, 0)
			return err
		},
		"LatestOffset": func() error {
			_, _, _, err := s.LatestOffset(part)
			return err
		},
		"NewPublisher": func() error {
			p := s.NewPublisher()
			if _, err := publishBatch(p, x, produced(-1, -1, -1, "v")); KindOf(err) != Refused {
				return err
			}
			return last(p.Publish(&Inbound{Exchange: []byte("x")}))
		},
		"NewTransaction": func() error { return last(s.NewTransaction().Publish(&Inbound{Exchange: []byte("x")})) },
		"May":            func() error { return s.May(Look, OnCluster, "") },
		"Enter":          s.Enter,
	}
	// These show or do nothing of the broker's.
	others := map[string]bool{"Close": true, "GiveUp": true,
		"AwaitReplies": true, "LookAtReplies": true, // get what is sent to an address that the session made
		"Commit": true,                                    // waits for what Produce wrote
		"Count":  true,                                    // of what was declared or looked at
		"Queues": true, "FeedTopics": true, "Watch": true} // leave out what may not be seen
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
	looks := []string{"VHost", "VHosts", "Meta", "Gone", "OnVHostDeleted", "Queue", "Queues", "Exchange", "Exchanges", "Bindings", "Partitions", "Index", "FeedExchange", "LikeTopic", "Readable", "OfKafka",
		"Deleted", "Ready", "Unacked", "Consumers", "Settings", "CheckConfig", "Definition", "LogName", "Stats", "QueueStats", "Counters", "Connections", "ConnectionCounts",
		"ClusterID", "MaxMessageBytes", "TopicConfig", "TopicDefaults", "Alarm", "Alarms", "OnAlarm", "OnDeleted", "GroupOffsets", "Groups"}
	keeps := []string{
		"NewSession", "Clients", // how clients come to the door
		"PolicyChanged", "CloseUser", "Close", // the server's
		"PutVHost", "DeleteVHost", // an administrator's, who is named
		"ForgetOffsets", "KeepGroup", // of what was allowed when it was asked for
		"Scratch", // memory of unfinished messages
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
