package broker

import "testing"

// TestAGetCountsExactlyWhatIsNotInMemory: how many offsets there are is not how many messages.
func TestAGetCountsExactlyWhatIsNotInMemory(t *testing.T) {
	r := startWith(t, 7) // offsets that are no messages lie between the batches
	r.queue("q", QueueOptions{Durable: true})
	p := r.s.NewPublisher()
	for i := range 9 {
		size := 10
		if i > 2 {
			size = 1 << 20 // not read with those before
		}
		if _, err := p.Publish(&Inbound{Key: []byte("q"), Properties: []byte{0x10, 0, 2}, Body: make([]byte, size), TimestampMs: 1}); err != nil {
			t.Fatal(err)
		}
		p.Store()
	}
	r.restart()
	sub := r.subscribe("q", SubscribeOptions{Prefetch: 1})
	if got := pull(t, sub, 1, 1<<20); len(got) != 1 { // which counts nothing, and leaves the next one in memory
		t.Fatalf("%d messages", len(got))
	}
	g, err := r.s.Get("q", true)
	if err != nil || g == nil || len(g.Body) != 10 || g.Remaining != 7 {
		t.Fatalf("%v: %d bytes, %d remaining, want 7", err, len(g.Body), g.Remaining)
	}
}
