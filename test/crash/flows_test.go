package main

import (
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A checker that finds nothing is worth nothing: each case breaks one promise.
func TestFlowModelSeesEachBrokenPromise(t *testing.T) {
	const now = 1000
	for _, c := range []struct {
		name string
		flow string
		play func(m *flowModel) error
		want string // part of the violation; empty = none
	}{
		{"confirmed and lost on the way to its dead letters", "expire", func(m *flowModel) error {
			m.tell(confirmed, m.send(0, 0, unknown))
			return m.drained()
		}, "is lost"},
		{"not confirmed and not there", "expire", func(m *flowModel) error {
			m.send(0, 0, unknown)
			return m.drained()
		}, ""},
		{"acked on the way", "reject", func(m *flowModel) error {
			m.tell(confirmed, m.send(0, 0, unknown))
			m.ack(0)
			return m.drained()
		}, ""},
		{"dead letters out of order", "expire", func(m *flowModel) error {
			m.send(0, 0, unknown)
			m.deliver(0, m.send(0, 0, unknown), false, now)
			m.deliver(0, 0, false, now)
			return m.violation()
		}, "came after message 1"},
		{"each level in its order", "levels", func(m *flowModel) error {
			m.send(1, 0, unknown)
			m.deliver(0, m.send(3, 0, unknown), false, now)
			m.deliver(0, 0, false, now)
			return m.violation()
		}, ""},
		{"a level out of order", "levels", func(m *flowModel) error {
			m.send(1, 0, unknown)
			m.deliver(0, m.send(1, 0, unknown), false, now)
			m.deliver(0, 0, false, now)
			return m.violation()
		}, "came after message 1"},
		{"twice without a kill", "drop", func(m *flowModel) error {
			m.deliver(1, m.send(0, 0, unknown), false, now)
			m.deliver(1, 0, false, now)
			return m.violation()
		}, "is there 2 times"},
		{"twice after a kill", "drop", func(m *flowModel) error {
			m.deliver(1, m.send(0, 0, unknown), false, now)
			m.killed()
			m.deliver(1, 0, false, now)
			return m.violation()
		}, ""},
		{"three times after a kill", "drop", func(m *flowModel) error {
			m.send(0, 0, unknown)
			m.killed()
			for range 3 {
				m.deliver(1, 0, false, now)
			}
			return m.violation()
		}, "is there 3 times"},
		{"refused and there", "refuse", func(m *flowModel) error {
			m.deliver(0, m.send(0, 0, unknown), false, now)
			m.tell(absent, 0)
			return m.violation()
		}, "was refused"},
		{"refused, and there later", "refuse", func(m *flowModel) error {
			m.tell(absent, m.send(0, 0, unknown))
			m.deliver(0, 0, false, now)
			return m.violation()
		}, "was refused"},
		{"before its time", "delay", func(m *flowModel) error {
			m.deliver(0, m.send(0, now+1, unknown), false, now)
			return m.violation()
		}, "before its time"},
		{"at its time", "delay", func(m *flowModel) error {
			m.deliver(0, m.send(0, now, unknown), false, now)
			return m.violation()
		}, ""},
		{"rolled back and there", "tx", func(m *flowModel) error {
			m.deliver(0, m.send(0, 0, absent), false, now)
			return m.violation()
		}, "not committed"},
		{"rolled back and delivered on the way", "tx", func(m *flowModel) error {
			m.take(m.send(0, 0, absent))
			return m.violation()
		}, "not committed"},
		{"committed and in one queue of two", "tx", func(m *flowModel) error {
			m.tell(confirmed, m.send(0, 0, unknown))
			m.deliver(0, 0, false, now)
			return m.drained()
		}, "is lost"},
		{"committed and moved on", "tx", func(m *flowModel) error {
			m.tell(confirmed, m.send(0, 0, unknown))
			m.deliver(0, 0, false, now)
			m.deliver(2, 0, false, now)
			return m.drained()
		}, ""},
		{"a torn transaction", "tx", func(m *flowModel) error {
			m.begin()
			m.send(0, 0, unknown)
			m.send(0, 0, unknown)
			m.deliver(0, 0, false, now)
			return m.drained()
		}, "of one transaction"},
		{"two transactions, one of them there", "tx", func(m *flowModel) error {
			m.begin()
			m.send(0, 0, unknown)
			m.begin()
			m.send(0, 0, unknown)
			m.deliver(0, 0, false, now)
			return m.drained()
		}, ""},
		{"back after the transaction with its ack", "tx", func(m *flowModel) error {
			m.move([]int{m.send(0, 0, unknown)})
			m.take(0)
			return m.violation()
		}, "came back"},
		{"never sent", "tx", func(m *flowModel) error {
			m.deliver(0, 0, false, now)
			return m.violation()
		}, "never sent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, m := range newFlowModels() {
				if m.name != c.flow {
					continue
				}
				switch err := c.play(m); {
				case c.want == "" && err != nil:
					t.Fatal(err)
				case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
					t.Fatalf("got %v, want %q", err, c.want)
				}
				return
			}
			t.Fatalf("no flow %s", c.flow)
		})
	}
}

func TestADeathMustBeTheRightOne(t *testing.T) {
	death := func(queue, reason string, count int64) amqp.Table {
		return amqp.Table{"x-death": []any{amqp.Table{"queue": queue, "reason": reason, "count": count}}}
	}
	for _, c := range []struct {
		headers amqp.Table
		good    bool
	}{
		{death("q", "expired", 1), true},
		{death("q", "rejected", 1), false},
		{death("other", "expired", 1), false},
		{death("q", "expired", 0), false},
		{amqp.Table{}, false},
	} {
		if err := checkDeath(c.headers, "q", "expired"); (err == nil) != c.good {
			t.Errorf("%v: %v", c.headers, err)
		}
	}
}
