package management

import "github.com/leveret-mq/leveret/broker"

// messageStats are the counters of a queue, a virtual host or all, in RabbitMQ's names; an empty object before there was any traffic.
// What is 0 is there, too, as on RabbitMQ: of what came in where there are several queues, and of what went out as soon as something did. Tools
// take what they do not find for a fault.
func (c *call) messageStats(key rateKey, f broker.Flow) object {
	if f == (broker.Flow{}) {
		return object{}
	}
	several, out := key.queue == "", f.Handed() > 0 || f.GotNothing > 0
	o := object{}
	for _, k := range []struct {
		name  string
		value uint64
		all   bool // also when it is 0
	}{
		{"publish", f.Published, true}, {"confirm", f.Confirmed, several}, {"return_unroutable", f.Returned, several}, {"drop_unroutable", f.Dropped, several},
		{"deliver", f.Delivered, out}, {"deliver_no_ack", f.DeliveredNoAck, out}, {"get", f.Got, out}, {"get_no_ack", f.GotNoAck, out},
		{"get_empty", f.GotNothing, out}, {"deliver_get", f.Handed(), true}, {"redeliver", f.Redelivered, out}, {"ack", f.Acked, true},
	} {
		if k.all && k.value == 0 {
			o = append(o, pair{k.name, 0}, pair{k.name + "_details", object{{"rate", 0.0}}})
			continue
		}
		o = o.counter(c, key, k.name, k.value)
	}
	return o
}

// gauge is a figure that rises and falls, with how fast.
func (c *call) gauge(key rateKey, name string, value int64) object {
	key.what = name
	return object{{name, value}, {name + "_details", c.rate(key, uint64(max(0, value)))}}
}

// totals are the figures of messages in some virtual hosts.
type totals struct {
	ready, unacked, messages int64
	queues, exchanges        int
	consumers                int
	flow                     broker.Flow
}

func (c *call) totalsOf(vhosts []*broker.VHost) (t totals) {
	for _, v := range vhosts {
		for _, q := range v.Queues() {
			s := q.Stats()
			t.ready += s.Ready
			t.unacked += s.Unacked
			t.messages += s.Ready + s.Unacked + s.Retrying
			t.consumers += s.Consumers
			t.queues++
		}
		t.exchanges += len(v.Exchanges())
		t.flow.Add(v.Flow())
	}
	return t
}

// queueTotals are the figures of messages, with rates.
func (c *call) queueTotals(key rateKey, t totals) (o object) {
	o = append(o, c.gauge(key, "messages", t.messages)...)
	o = append(o, c.gauge(key, "messages_ready", t.ready)...)
	return append(o, c.gauge(key, "messages_unacknowledged", t.unacked)...)
}
