package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/store"
)

// commit has a group without members commit for partition 0 of a topic.
func (r *rig) commit(group, topic string, at int64) {
	r.t.Helper()
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, At: at, LeaderEpoch: -1})
	admin := r.admin()
	defer admin.Close() // an end of the server would wait for it
	res, err := admin.CommitOffsets(r.t.Context(), group, offsets)
	if err != nil || !res.Ok() {
		r.t.Fatal(err, res.Error())
	}
}

// committed is what the group committed for partition 0 of a topic, asked for by the
// topic's name and in the list of everything; -1 is nothing.
func (r *rig) committed(group, topic string) (named, listed int64) {
	r.t.Helper()
	named, listed = -1, -1
	admin := r.admin()
	defer admin.Close()
	got, err := admin.FetchOffsetsForTopics(r.t.Context(), group, topic)
	if err != nil {
		r.t.Fatal(err)
	}
	if o, ok := got.Lookup(topic, 0); ok {
		named = o.At
	}
	if got, err = admin.FetchOffsets(r.t.Context(), group); err != nil {
		r.t.Fatal(err)
	}
	if o, ok := got.Lookup(topic, 0); ok {
		listed = o.At
	}
	return named, listed
}

// kept counts the offsets on disk.
func (r *rig) kept() (n int) {
	r.t.Helper()
	table, err := r.store.Table(r.t.Context(), "groups")
	if err == nil {
		err = table.Load(r.t.Context(), func(store.Entry) error { n++; return nil })
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// TestOffsetsGoWithTheirQueue deletes a queue in each way there is and makes another
// of its name at once.
func TestOffsetsGoWithTheirQueue(t *testing.T) {
	session := func(r *rig) *broker.Session {
		v, _ := r.broker.VHost("/")
		return v.NewSession(auth.Identity{Name: "guest"})
	}
	ways := map[string]func(r *rig){
		"topic, by a Kafka client": func(r *rig) {
			r.topic("q", 1, nil)
			r.commit("g", "q", 5)
			if res, err := r.admin().DeleteTopics(r.t.Context(), "q"); err != nil || res.Error() != nil {
				r.t.Fatal(err, res.Error())
			}
		},
		"topic, by another listener": func(r *rig) {
			r.topic("q", 1, nil)
			r.commit("g", "q", 5)
			if _, err := session(r).DeleteQueue("q", false, false); err != nil {
				r.t.Fatal(err)
			}
		},
		"queue": func(r *rig) {
			s := session(r)
			if _, err := s.DeclareQueue("q", broker.QueueOptions{Durable: true}); err != nil {
				r.t.Fatal(err)
			}
			r.commit("g", "q", 5)
			if _, err := s.DeleteQueue("q", true, false); err != nil {
				r.t.Fatal(err)
			}
		},
		"queue that deletes itself": func(r *rig) {
			s := session(r)
			if _, err := s.DeclareQueue("q", broker.QueueOptions{Durable: true, AutoDelete: true}); err != nil {
				r.t.Fatal(err)
			}
			r.commit("g", "q", 5)
			sub, err := s.Subscribe("q", broker.SubscribeOptions{})
			if err != nil {
				r.t.Fatal(err)
			}
			sub.Close()
		},
	}
	for name, end := range ways {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.topic("other", 1, nil)
			r.commit("g", "other", 3)
			end(r)
			r.topic("q", 1, nil)
			if named, listed := r.committed("g", "q"); named != -1 || listed != -1 {
				t.Errorf("the next queue of the name begins at %d, in the list at %d", named, listed)
			}
			eventually(t, "its offsets go from the disk", func() bool { return r.kept() <= 1 })
		})
		t.Run(name+", then a kill", func(t *testing.T) {
			r := newRig(t, nil)
			r.topic("other", 1, nil)
			r.commit("g", "other", 3)
			r.server.unsubscribe() // nobody hears of it any more
			end(r)
			r.topic("q", 1, nil)
			if n := r.kept(); n != 2 {
				t.Fatalf("%d offsets on disk", n)
			}
			r.restart()
			if n := r.kept(); n != 1 {
				t.Errorf("%d offsets on disk after the start", n)
			}
			for topic, want := range map[string]int64{"q": -1, "other": 3} {
				if named, listed := r.committed("g", topic); named != want || listed != want {
					t.Errorf("after the start %s is at %d, in the list at %d, and should be at %d", topic, named, listed, want)
				}
			}
		})
	}
}
