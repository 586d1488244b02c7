package kafka

import (
	"fmt"
	"slices"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// Key 0, Produce, versions 0 to 13. Message sets of versions up to 2 become batches (legacy.go); version 13
// names topics by their ids.
//
// A batch is stored as it came, whatever its codec, but for what its header says of
// times, which is checked against the records (validate.go). acks=0 gets no answer and
// closes the connection on an error; acks=1 answers once the batch is in the
// log; acks=all once it is as durable as the queue promises. While an acks=all
// answer waits for its flush the connection's next Produce is taken in.
//
// A request with a transactional id holds its transaction until all of it is in the logs (transactions.go); a
// transactional batch without one is 53.
func (c *conn) serveProduce(h wire.Header, body []byte) error {
	q := &c.produce
	if err := q.Parse(h.Version, body); err != nil {
		return h.Malformed(err)
	}
	if len(q.Partitions) > fewPartitions {
		defer c.releaseMany()
		if err := c.charge(len(q.Partitions) * producedBytes); err != nil {
			return fmt.Errorf("%s of %d partitions: %w", h.Key, len(q.Partitions), err)
		}
	}
	if err := c.hold(); err != nil {
		return err
	}
	var throttle time.Duration
	if p := c.session.Pacer(); p != nil {
		throttle = p.Came(len(body), c.frames.Now())
		q.ThrottleMillis = throttleMillis(throttle)
	}
	c.entered = nil
	if q.TransactionID != nil {
		c.entered = c.enterTransaction(q)
		defer c.leaveTransaction()
	}
	a := c.out.answer()
	sl := &a.Value
	made := a.Wait()
	failed := false
	for _, t := range q.Topics {
		known, err := c.topicNamed(broker.Publish, t.Name, t.ID)
		parts := q.Of(t)
		for i := range parts {
			c.produceOne(sl, t.Name, known, err, &parts[i])
			if p := &parts[i]; p.Err != wire.None {
				failed = true
				c.refused(h.Key.String(), called(t.Name, t.ID), p.Err, p.Message)
			}
		}
	}
	c.leaveTransaction()
	failed = c.storeRouted(a) || failed
	if q.Acks == 0 {
		failed = failed || a.Failed()
		made(nil)
		c.out.drop(a)
		if failed {
			return errProduceUnanswered
		}
		return c.mute(throttle)
	}
	sl.ver = h.Version
	sl.frame = wire.AppendResponseHeader(sl.frame[:0], h)
	sl.body = len(sl.frame)
	sl.frame = wire.Finish(q.AppendResponse(sl.frame), 0, 0)
	if q.Acks == -1 && !sl.wrote.Empty() {
		c.session.Commit(&sl.wrote, a.Wait())
	}
	made(nil)
	sl.taken, c.bill.taken = c.bill.taken, 0 // it waits with its answer
	if err := c.out.produce(a); err != nil || throttle == 0 {
		return err
	}
	return c.mute(throttle)
}

// leaveTransaction lets go of the request's transaction.
func (c *conn) leaveTransaction() {
	c.entered.leave()
	c.entered = nil
}

// fewPartitions are so many as are not counted: what they take is little beside the
// buffers of their connection.
const fewPartitions = 256

// releaseMany ends a request of more than that: its memory is not kept for the next.
func (c *conn) releaseMany() {
	c.releaseBill()
	c.produce, c.fetch.req, c.fetch.found, c.fetch.pieces = wire.ProduceRequest{}, wire.FetchRequest{}, nil, nil
	c.fetch.res = wire.FetchResponse{}
}

type refusal string

func (r refusal) Error() string { return string(r) }

const errProduceUnanswered = refusal("a produce that wants no answer failed")

// deniedCode is why there is no topic to produce to. Kafka's own are there for it, but
// not for its clients: they hear at once what asking again would not change.
func deniedCode(name []byte, denied error) wire.Code {
	if code := codeOf(denied); code != wire.UnknownTopicOrPartition || !slices.Contains(internalTopics, string(name)) {
		return code
	}
	return wire.InvalidTopic
}

// produceOne stores one partition's batch and notes the outcome in p. denied is why
// there is no topic for it.
func (c *conn) produceOne(sl *slot, name []byte, t *topic, denied error, p *wire.ProducePartition) {
	q := &c.produce
	switch {
	case q.Acks < -1 || q.Acks > 1:
		p.Fail(wire.InvalidRequiredAcks, "")
		return
	case c.entered != nil && c.entered.code == wire.TransactionalIDAuthFailed:
		p.Fail(c.entered.code, c.entered.why)
		return
	case denied != nil:
		p.Fail(deniedCode(name, denied), denied.Error())
		return
	}
	set := t.settings(c.s.broker)
	a := c.arrived(q.Version)
	a.trust = a.trust && t.exchange == nil // those are unpacked anyway
	defer a.release()
	b, code, why := a.check(p.Records, set)
	if code != wire.None {
		p.Fail(code, why)
		p.Faults = c.chargeFaults(a.faults)
		return
	}
	switch {
	case c.entered != nil && t.exchange != nil:
		p.Fail(notPart(q.Version), errFeedInTransaction.Error())
		return
	case c.entered != nil:
		if code, why := c.entered.admits(b, t.partition(p.Index), q.Version); code != wire.None {
			p.Fail(code, why)
			return
		}
	case b.IsTransactional():
		p.Fail(wire.TransactionalIDAuthFailed, "a transactional batch without a transactional id")
		return
	}
	if t.exchange != nil {
		c.produceToFeed(t, b, a.unpacked, p)
		return
	}
	c.produceToLog(sl, t, set, b, p)
}

// chargeFaults are those that there is memory to tell of.
func (c *conn) chargeFaults(faults []wire.RecordFault) []wire.RecordFault {
	if len(faults) == 0 || c.charge(len(faults)*faultBytes) != nil {
		return nil
	}
	return faults
}

// faultBytes is what it takes to tell of one record: what is kept of it, and its place in the answer.
const faultBytes = 400

func (c *conn) produceToLog(sl *slot, t *topic, set *broker.Settings, b batch.Batch, p *wire.ProducePartition) {
	part := t.partition(p.Index)
	if part == nil {
		p.Fail(wire.UnknownTopicOrPartition, "")
		return
	}
	stamp := int64(-1)
	if set.LogAppendTime {
		stamp = b.MaxTimestamp()
	}
	var out broker.Produced
	var err error
	if c.entered != nil && c.produce.Version >= implicitSince {
		out, err = c.session.ProduceInTransaction(part, b)
	} else {
		out, err = c.session.Produce(part, b)
	}
	if err != nil {
		p.Fail(codeOf(err), err.Error())
		return
	}
	if out.Duplicate {
		stamp = out.Timestamp
	}
	p.BaseOffset, p.LogAppendTimeMillis, p.LogStartOffset = int64(out.Base), stamp, int64(out.LogStart)
	sl.wrote.Add(part)
}
