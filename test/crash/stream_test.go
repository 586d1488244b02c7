package main

import (
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestAStreamIsHeldToItsWord: each way to break it is found.
func TestAStreamIsHeldToItsWord(t *testing.T) {
	at := func(offset any, number int) *amqp.Delivery {
		return &amqp.Delivery{Headers: amqp.Table{"x-stream-offset": offset}, Body: body(0, number, 3)}
	}
	for name, c := range map[string]struct {
		deliver *amqp.Delivery
		want    int
		wrong   string
	}{
		"the next one":            {at(int64(2), 3), 2, ""},
		"one that was read":       {at(int64(1), 1), 1, ""},
		"a gap":                   {at(int64(3), 3), 2, "offset 3 came where 2 is next"},
		"one twice":               {at(int64(2), 1), 2, "behind message 1"},
		"another at its place":    {at(int64(1), 3), 1, "where 1 stood"},
		"one that was never sent": {at(int64(2), 9), 2, "never sent"},
		"no offset":               {at(nil, 2), 2, "a delivery of"},
		"rubbish":                 {&amqp.Delivery{Headers: amqp.Table{"x-stream-offset": int64(2)}}, 2, "a delivery of"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &streamModel{}
			for range 4 {
				m.send()
			}
			m.deliver(0, at(int64(0), 0))
			m.deliver(1, at(int64(1), 1))
			ok := m.deliver(c.want, c.deliver)
			if err := m.violation(); ok != (c.wrong == "") || err == nil != ok || err != nil && !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("it says %v", err)
			}
		})
	}
	m := &streamModel{}
	for range 3 {
		m.send()
	}
	m.confirm(0)
	m.deliver(0, at(int64(0), 0))
	m.deliver(1, at(int64(1), 2))
	if err := m.whole(); err != nil {
		t.Errorf("without one that was not confirmed: %v", err)
	}
	m.confirm(1)
	if err := m.whole(); err == nil {
		t.Error("without one that was confirmed it is whole")
	}
}
