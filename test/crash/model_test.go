package main

import (
	"strings"
	"testing"
)

// A checker that finds nothing is worth nothing: each case breaks one promise.
func TestModelSeesEachBrokenPromise(t *testing.T) {
	inRound := func(queue string, round int) *session { return &session{queue: queue, round: round} }
	for _, c := range []struct {
		name string
		play func(m *model) error
		want string // part of the violation; empty = none
	}{
		{"delivered in order, acked, drained", func(m *model) error {
			s := inRound(queueOrder, 1)
			for n := range 3 {
				m.send(0, 1)
				m.confirm(0, n)
				m.deliver(s, 0, n, false)
				m.deliver(inRound(queueAll, 1), 0, n, false)
			}
			return m.drained()
		}, ""},
		{"confirmed and lost", func(m *model) error {
			m.send(0, 1)
			m.confirm(0, 0)
			return m.drained()
		}, "is lost"},
		{"not confirmed and not there", func(m *model) error {
			m.send(0, 1)
			return m.drained()
		}, ""},
		{"a hole before a message that is there", func(m *model) error {
			m.send(0, 1)
			m.send(0, 1)
			m.deliver(inRound(queueAll, 2), 0, 1, false)
			m.deliver(inRound(queueOrder, 2), 0, 1, false)
			return m.drained()
		}, "but not message 0"},
		{"the lost end of one life is no hole in the next", func(m *model) error {
			m.send(0, 1)
			m.send(0, 2)
			m.deliver(inRound(queueAll, 2), 0, 1, false)
			m.deliver(inRound(queueOrder, 2), 0, 1, false)
			return m.drained()
		}, ""},
		{"back without the flag", func(m *model) error {
			m.send(0, 1)
			m.deliver(inRound(queueAll, 1), 0, 0, false)
			m.deliver(inRound(queueAll, 2), 0, 0, false)
			return m.violation()
		}, "without the redelivered flag"},
		{"flagged in the life in which it was sent", func(m *model) error {
			m.send(0, 1)
			m.deliver(inRound(queueAll, 1), 0, 0, true)
			return m.violation()
		}, "nobody was given it"},
		{"flagged because it was on its way", func(m *model) error {
			m.send(0, 1)
			m.deliver(inRound(queueAll, 2), 0, 0, true)
			return m.violation()
		}, ""},
		{"more flagged than can have been on their way", func(m *model) error {
			s := inRound(queueAll, 2)
			for n := range prefetch + 1 {
				m.send(0, 1)
				m.deliver(s, 0, n, true)
			}
			return m.violation()
		}, "no consumer can have seen"},
		{"out of order", func(m *model) error {
			s := inRound(queueAll, 1)
			m.send(0, 1)
			m.send(0, 1)
			m.deliver(s, 0, 1, false)
			m.deliver(s, 0, 0, false)
			return m.violation()
		}, "came after message 1"},
		{"out of order because it was put back", func(m *model) error {
			s := inRound(queueAll, 1)
			m.send(0, 1)
			m.send(0, 1)
			m.deliver(s, 0, 0, false)
			m.requeue(s, 0, 0)
			m.deliver(s, 0, 1, false)
			m.deliver(s, 0, 0, true)
			return m.violation()
		}, ""},
		{"back after its ack was processed", func(m *model) error {
			m.send(0, 1)
			m.deliver(inRound(queueOrder, 1), 0, 0, false)
			m.gone(queueOrder, []delivered{{0, 0}})
			m.deliver(inRound(queueOrder, 2), 0, 0, true)
			return m.violation()
		}, "its ack had been processed"},
		{"never sent", func(m *model) error {
			m.deliver(inRound(queueAll, 1), 0, 0, false)
			return m.violation()
		}, "never sent there"},
		{"routed to a queue that it does not belong in", func(m *model) error {
			m.send(0, 1)
			m.deliver(inRound(queuePair, 1), 0, 0, false)
			return m.violation()
		}, "never sent there"},
		{"turns up after a drain found it missing", func(m *model) error {
			m.send(0, 1)
			if err := m.drained(); err != nil {
				return err
			}
			m.settle()
			m.deliver(inRound(queueAll, 2), 0, 0, false)
			return m.violation()
		}, "came back"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.play(newModel())
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestKafkaModelSeesEachBrokenPromise(t *testing.T) {
	acked := func() *kafkaModel {
		k := newKafkaModel()
		for n := range 3 {
			k.acked[0][int64(n)] = record{number: n, round: 1}
		}
		return k
	}
	read := func(numbers ...int) (got [kafkaPartitions]map[int64]int) {
		for p := range got {
			got[p] = map[int64]int{}
		}
		for o, n := range numbers {
			got[0][int64(o)] = n
		}
		return got
	}
	for _, c := range []struct {
		name string
		got  [kafkaPartitions]map[int64]int
		want string
	}{
		{"all there", read(0, 1, 2), ""},
		{"and one that was not acked", read(0, 1, 2, 3), ""},
		{"one lost", read(0, 1), "record 2, acked in round 1 at partition 0 offset 2, is lost"},
		{"another in its place", read(0, 7, 2), "holds record 7"},
		{"one twice", read(0, 1, 2, 2), "follows record 2"},
	} {
		err := acked().compare(c.got, [kafkaPartitions]int64{})
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestBodySurvives(t *testing.T) {
	for _, d := range []delivered{{0, 0}, {2, 1 << 40}} {
		if got, ok := parseBody(body(d.publisher, d.number, 17)); !ok || got != d {
			t.Errorf("got %v %v, want %v", got, ok, d)
		}
	}
	if _, ok := parseBody([]byte("short")); ok {
		t.Error("a short body was taken")
	}
}
