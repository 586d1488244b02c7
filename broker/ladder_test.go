package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// ladder declares what kombu's native delayed delivery and NServiceBus declare: 28 levels, each a topic
// exchange and a quorum queue in which messages stand for 2 to the level seconds, if
// the routing key has a 1 in the level's place, and from which they go to the next level as
// dead letters.
func (r *rig) ladder(levels int) {
	r.t.Helper()
	name := func(level int) string {
		if level < 0 {
			return "delivery"
		}
		return fmt.Sprintf("delay-%02d", level)
	}
	bind := func(b Binding) {
		if err := r.s.Bind(b); err != nil {
			r.t.Fatal(err)
		}
	}
	r.exchange(name(-1), "topic")
	for level := range levels {
		r.exchange(name(level), "topic")
		r.queue(name(level), QueueOptions{Durable: true, Args: arguments("x-queue-type", "quorum", "x-dead-letter-strategy", "at-least-once", "x-overflow", "reject-publish",
			"x-message-ttl", 1000<<level, "x-dead-letter-exchange", name(level-1))})
		place := strings.Repeat("*.", levels-1-level)
		r.bind(name(level), name(level), place+"1.#")
		bind(Binding{Source: name(level), Dest: name(level - 1), ToExchange: true, Key: place + "0.#"})
	}
}

// ladderKey is the routing key of a message for a queue that is delayed by so many seconds.
func ladderKey(levels, seconds int, queue string) string {
	var key strings.Builder
	for level := levels - 1; level >= 0; level-- {
		fmt.Fprintf(&key, "%d.", seconds>>level&1)
	}
	return key.String() + queue
}

func TestTheDelayLadderDelivers(t *testing.T) {
	const levels = 28
	bubble(t, func(t *testing.T, r *rig) {
		r.ladder(levels)
		q := r.queue("tasks", QueueOptions{Durable: true})
		r.bind("delivery", "tasks", "#.tasks")
		idle := func(when string) {
			t.Helper()
			r.expirer.mu.Lock()
			defer r.expirer.mu.Unlock()
			if n := len(r.expirer.list); n != 0 {
				t.Errorf("%s: %d queues are looked at", when, n)
			}
		}
		idle("at first")
		p := r.s.NewPublisher()
		for _, seconds := range []int{0, 1, 2, 3, 13, 100} {
			in := Inbound{Exchange: []byte(fmt.Sprintf("delay-%02d", levels-1)), Key: []byte(ladderKey(levels, seconds, "tasks")),
				Properties: persistentProperties, Body: fmt.Append(nil, seconds), Persistent: true}
			r.at(p, in)
		}
		sent := time.Now()
		came := map[string]time.Duration{}
		for time.Since(sent) < 2*time.Minute {
			for _, body := range drain(t, q) {
				came[body] = time.Since(sent)
			}
			time.Sleep(100 * time.Millisecond)
		}
		for _, seconds := range []int{0, 1, 2, 3, 13, 100} {
			at, due := came[fmt.Sprint(seconds)], time.Duration(seconds)*time.Second
			if steps := time.Duration(strings.Count(fmt.Sprintf("%b", seconds), "1")); at < due || at > due+steps*1100*time.Millisecond+200*time.Millisecond {
				t.Errorf("the message for %d s came after %v", seconds, at)
			}
		}
		time.Sleep(2 * time.Second)
		idle("when all is delivered")
		r.restart()
		time.Sleep(2 * time.Second)
		idle("after a restart")
	})
}

// persistentProperties are those of a message with delivery mode 2 alone.
var persistentProperties = []byte{0x10, 0, 2}
