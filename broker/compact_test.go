package broker

import (
	"slices"
	"strings"
	"testing"
)

// TestACompactedTopicRefusesMessagesWithoutARoutingKey and takes those beside them, which other queues get too.
func TestACompactedTopicRefusesMessagesWithoutARoutingKey(t *testing.T) {
	r := start(t)
	if _, err := r.s.CreateTopic("c", 1, configs("cleanup.policy", "compact")); err != nil {
		t.Fatal(err)
	}
	q := r.queue("q", QueueOptions{Durable: true})
	r.exchange("x", "fanout")
	r.bind("x", "c", "")
	r.bind("x", "q", "")
	p := r.s.NewPublisher()
	refused := r.offerEach(p, "x", "", []string{"a", "", "b", ""}, func(in *Inbound) { in.Key = slices.Clone(in.Body) })
	if strings.Join(refused, ",") != "," {
		t.Errorf("refused %q, want the two without a key", refused)
	}
	topic, _ := r.v.Queue("c")
	if n, all := topic.Ready(), q.Ready(); n != 2 || all != 4 {
		t.Errorf("%d in the topic, want 2; %d in the queue, want 4", n, all)
	}
	if err := r.s.SetConfig(topic, configs("cleanup.policy", "delete")); err != nil {
		t.Fatal(err)
	}
	if refused = r.offer(p, "x", "", "c"); len(refused) != 0 || topic.Ready() != 3 {
		t.Errorf("not compacted any more: refused %q, %d are there", refused, topic.Ready())
	}
}
