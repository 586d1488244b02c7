package kafka

import (
	"errors"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

// produceToFeed routes the records of a batch one by one through the exchange
// that the topic stands for. They are stored at the request's end.
// unpacked is how large they are when they are compressed.
func (c *conn) produceToFeed(t *topic, b batch.Batch, unpacked int, p *wire.ProducePartition) {
	if p.Index != 0 {
		p.Fail(wire.UnknownTopicOrPartition, "")
		return
	}
	if c.publisher == nil {
		c.publisher = c.session.NewPublisher()
	}
	raw := b.Records()
	if b.Codec() != message.CodecNone {
		err := c.memory.Take(int64(unpacked), c.patient())
		if err == nil {
			defer c.memory.Give(int64(unpacked))
			raw, err = message.Unpack(make([]byte, 0, unpacked), b.Codec(), raw, message.MaxUnpackedBytes)
		}
		switch {
		case errors.Is(err, budget.ErrShare): // producers send less at once then
			p.Fail(wire.MessageTooLarge, err.Error())
			return
		case err != nil:
			p.Fail(codeOf(err), err.Error())
			return
		}
	}
	out, err := c.publisher.PublishBatch(t.exchange, b, raw)
	c.fed = true
	if err != nil {
		p.Fail(codeOf(err), err.Error())
		return
	}
	p.BaseOffset, p.LogAppendTimeMillis, p.LogStartOffset = int64(out.Base), out.Timestamp, 0
	c.routed = append(c.routed, p)
}

// storeRouted stores what was routed, and fails it if a queue that is full refused a record of
// it: the others are where they belong, and no client sends any of them again for that code.
// It says whether it did. An acks=all answer waits for what was stored to be durable.
func (c *conn) storeRouted(a *answer) (failed bool) {
	if !c.fed {
		return false
	}
	c.fed = false
	c.publisher.Store()
	if len(c.publisher.Refused()) > 0 {
		for _, p := range c.routed {
			p.Fail(wire.PolicyViolation, "a queue has reached its maximum length, or has the record already")
		}
		failed = true
	}
	clear(c.routed)
	c.routed = c.routed[:0]
	if done := a.Wait(); c.produce.Acks == -1 {
		_ = c.publisher.Commit(done)
	} else {
		done(c.publisher.Commit(nil))
	}
	return failed
}
