package broker

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
)

func (r *rig) attach(list ...Attachment) {
	r.t.Helper()
	if err := r.v.Attach(list...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) attached() (out []string) {
	for _, a := range r.v.Attachments() {
		out = append(out, fmt.Sprintf("%v %s %s %s", a.ToExchange, a.Of, a.Key, a.Value))
	}
	return out
}

// What is attached to durable queues and exchanges outlasts a kill; of others it lasts as long as they do.
func TestAttachmentsOutlastAKill(t *testing.T) {
	r := start(t)
	r.queue("kept", QueueOptions{Durable: true})
	r.queue("passing", QueueOptions{})
	r.exchange("x/ <&é", "topic")
	r.attach(Attachment{Of: "kept", Key: "a/b", Value: json.RawMessage(`{"n":1}`)}, Attachment{Of: "passing", Key: "a", Value: json.RawMessage(`2`)},
		Attachment{ToExchange: true, Of: "x/ <&é", Key: "é", Value: json.RawMessage(`"v"`)}, Attachment{ToExchange: true, Of: "amq.topic", Key: "k", Value: json.RawMessage(`3`)})
	r.attach(Attachment{Of: "kept", Key: "a/b", Value: json.RawMessage(`{"n":2}`)}, Attachment{Of: "kept", Key: "c", Value: json.RawMessage(`1`)})
	r.attach(Attachment{Of: "kept", Key: "c"})
	want(t, "before", r.attached(), []string{`false kept a/b {"n":2}`, "false passing a 2", "true amq.topic k 3", `true x/ <&é é "v"`})
	r.kill()
	want(t, "after", r.attached(), []string{`false kept a/b {"n":2}`, "true amq.topic k 3", `true x/ <&é é "v"`})
}

// What is attached goes in the same write as what it is of, however that goes.
func TestAttachmentsGoWithWhatTheyAreOf(t *testing.T) {
	r := start(t)
	r.exchange("x", "direct")
	for _, name := range []string{"q", "other"} {
		r.queue(name, QueueOptions{Durable: true})
		r.attach(Attachment{Of: name, Key: "k", Value: json.RawMessage(`1`)})
	}
	if _, err := r.s.DeclareExchange("auto", ExchangeOptions{Type: "direct", Durable: true, AutoDelete: true}); err != nil {
		t.Fatal(err)
	}
	r.bind("auto", "q", "k")
	for _, name := range []string{"x", "auto"} {
		r.attach(Attachment{ToExchange: true, Of: name, Key: "k", Value: json.RawMessage(`1`)})
	}
	if _, err := r.s.DeleteQueue("q", false, false); err != nil {
		t.Fatal(err)
	}
	if err := r.s.DeleteExchange("x", false); err != nil {
		t.Fatal(err)
	}
	want(t, "left", r.attached(), []string{"false other k 1"})
	want(t, "written", r.keys(prefixAttachment), []string{"a/%2F/q/other/k"})
	r.queue("q", QueueOptions{Durable: true})
	r.kill()
	want(t, "after a kill", r.attached(), []string{"false other k 1"})
	kind(t, r.v.Attach(Attachment{Of: "none", Key: "k", Value: json.RawMessage(`1`)}), NotFound)
	kind(t, r.v.Attach(Attachment{Of: "other", Key: "k", Value: make(json.RawMessage, maxAttachmentBytes+1)}), TooLarge)
	if err := r.DeleteVHost(audit.Actor{}, "/"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); len(r.keys(prefixAttachment)) > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	want(t, "after the virtual host", r.keys(prefixAttachment), nil)
}

func TestOnExchangeDeletedTellsOfEach(t *testing.T) {
	r := start(t)
	gone := make(chan string, 4)
	defer r.OnExchangeDeleted(func(v *VHost, x *Exchange) { gone <- v.Name + " " + x.Name })()
	r.exchange("x", "direct")
	r.queue("q", QueueOptions{})
	if _, err := r.s.DeleteQueue("q", false, false); err != nil {
		t.Fatal(err)
	}
	if err := r.s.DeleteExchange("x", false); err != nil {
		t.Fatal(err)
	}
	select {
	case name := <-gone:
		want(t, "gone", []string{name}, []string{"/ x"})
	case <-time.After(patience):
		t.Fatal("nobody was told")
	}
}

// An attachment whose queue is not there any more is forgotten at the start, so that the next queue of that name
// does not get it.
func TestAttachmentsWithoutTheirQueueAreForgotten(t *testing.T) {
	r := start(t)
	r.queue("q", QueueOptions{Durable: true})
	r.attach(Attachment{Of: "q", Key: "k", Value: json.RawMessage(`1`)})
	if err := r.putJSON(attachedTo{name: "gone"}.key("/", "k"), attachmentDef{VHost: "/", Of: "gone", Key: "k", Value: json.RawMessage(`1`)}); err != nil {
		t.Fatal(err)
	}
	r.restart()
	want(t, "attached", r.attached(), []string{"false q k 1"})
	want(t, "written", r.keys(prefixAttachment), []string{"a/%2F/q/q/k"})
}

func (r *rig) browse(q *Queue, from message.Offset, most int) (bodies []string, next message.Offset) {
	r.t.Helper()
	next, _, err := r.s.Browse(q.Partitions()[0], from, 1<<20, func(d *Delivery) bool {
		if len(bodies) == most {
			r.t.Error("emitted more than was wanted")
		}
		bodies = append(bodies, string(d.Body))
		return len(bodies) < most
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return bodies, next
}

// Browse reads from any place, takes nothing, and goes on where it stopped; gaps in the log are passed over.
func TestBrowseReadsWithoutTaking(t *testing.T) {
	r := start(t)
	q := r.queue("q", QueueOptions{Durable: true})
	p := r.s.NewPublisher()
	var all []string
	for i := range 200 {
		all = append(all, fmt.Sprint("m", i))
		publish(t, p, "", "q=m"+fmt.Sprint(i))
	}
	var got []string
	from := message.Offset(0)
	for _, most := range []int{1, 3, 64, 65, 1000} {
		bodies, next := r.browse(q, from, most)
		got, from = append(got, bodies...), next
	}
	want(t, "browsed", got, all)
	bodies, next := r.browse(q, from, 1)
	if start, end, err := r.s.Extent(q.Partitions()[0]); err != nil || start != 0 || next != end || len(bodies) != 0 {
		t.Errorf("extent %d to %d, %v; browsed to %d: %v", start, end, err, next, bodies)
	}
	if n := r.queueReady("q"); n != 200 {
		t.Errorf("%d are ready", n)
	}
}

// What was settled is not in a work queue's extent any more, unless the queue keeps it.
func TestExtentIsWhatTheQueueHolds(t *testing.T) {
	r := start(t)
	p := r.s.NewPublisher()
	for name, o := range map[string]QueueOptions{"plain": {Durable: true}, "kept": {Durable: true, Args: arguments("x-retention", "1h")}} {
		q := r.queue(name, o)
		publish(t, p, "", name+"=a", name+"=b", name+"=c")
		if got := r.get(name); string(got.Body) != "a" {
			t.Fatal("not the first")
		}
		read := func() []string {
			start, _, err := r.s.Extent(q.Partitions()[0])
			if err != nil {
				t.Fatal(err)
			}
			bodies, _ := r.browse(q, start, 10)
			return bodies
		}
		left := map[string][]string{"plain": {"b", "c"}, "kept": {"a", "b", "c"}}[name]
		want(t, name, read(), left)
		if _, err := r.s.Purge(name); err != nil {
			t.Fatal(err)
		}
		if left = slices.Clone(left); name == "plain" {
			left = nil
		}
		want(t, name+" purged", read(), left)
	}
}

// Of a transaction that is not decided nothing is browsed, nor of one that was aborted.
func TestBrowseReadsWhatIsCommitted(t *testing.T) {
	r := startWith(t, 0)
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := q.Partitions()[0]
	put := func(b batch.Batch) {
		t.Helper()
		if _, err := r.s.Produce(p, b); err != nil {
			t.Fatal(err)
		}
	}
	put(produced(-1, -1, -1, "before"))
	put(transactionally(1, 0, 0, "aborted"))
	if err := r.v.EndTransaction(p, 1, 0, 0, false); err != nil {
		t.Fatal(err)
	}
	put(transactionally(2, 0, 0, "later"))
	put(produced(-1, -1, -1, "behind"))
	got, next := r.browse(q, 0, 10)
	want(t, "while one is open", got, []string{"before"})
	if _, end, err := r.s.Extent(p); err != nil || end != next {
		t.Errorf("it ends at %d, browsed to %d: %v", end, next, err)
	}
	if err := r.v.EndTransaction(p, 2, 0, 0, true); err != nil {
		t.Fatal(err)
	}
	got, _ = r.browse(q, next, 10)
	want(t, "when it is decided", got, []string{"later", "behind"})
}

// What is attached to the virtual host itself hangs on no queue, and goes with the virtual host.
func TestAttachmentsOfAVirtualHostGoWithIt(t *testing.T) {
	r := start(t)
	other := func() *VHost {
		t.Helper()
		if _, err := r.PutVHost(audit.Actor{}, "other", VHostMeta{}); err != nil {
			t.Fatal(err)
		}
		v, err := r.VHost("other")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := other()
	for _, key := range []string{"one", "two", "gone"} {
		if err := v.Attach(Attachment{ToVHost: true, Of: "ann@x/ y", Key: key, Value: json.RawMessage(`"` + key + `"`)}); err != nil {
			t.Fatal(err)
		}
	}
	r.attach(Attachment{ToVHost: true, Of: "ann@x/ y", Key: "here", Value: json.RawMessage(`1`)})
	if err := v.Attach(Attachment{ToVHost: true, Of: "ann@x/ y", Key: "gone"}); err != nil {
		t.Fatal(err)
	}
	r.kill()
	v = other()
	if got := v.Attached("ann@x/ y"); len(got) != 2 || string(got["one"]) != `"one"` || string(got["two"]) != `"two"` {
		t.Errorf("%v", got)
	}
	if err := r.DeleteVHost(audit.Actor{}, "other"); err != nil {
		t.Fatal(err)
	}
	other()
	r.kill()
	v = other()
	if got := v.Attached("ann@x/ y"); len(got) != 0 {
		t.Errorf("%v is there again", got)
	}
	if got := r.v.Attached("ann@x/ y"); len(got) != 1 {
		t.Errorf("%v", got)
	}
}
