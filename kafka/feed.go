package kafka

import (
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// produceToFeed routes the records of a batch one by one through the exchange
// that the topic stands for. They are stored by the flush at the request's end.
func (c *conn) produceToFeed(t *topic, b batch.Batch, p *wire.ProducePartition) {
	if p.Index != 0 {
		p.Fail(wire.UnknownTopicOrPartition, "")
		return
	}
	if c.publisher == nil {
		c.publisher = c.session.NewPublisher()
	}
	out, err := c.publisher.PublishBatch(t.feed, b)
	c.fed = true
	if err != nil {
		p.Fail(codeOf(err), err.Error())
		return
	}
	p.BaseOffset, p.LogAppendTimeMillis, p.LogStartOffset = int64(out.Base), out.Timestamp, 0
}

// flushFeed stores what was routed; an acks=all answer waits for it to be durable.
func (c *conn) flushFeed(a *answer) {
	if !c.fed {
		return
	}
	c.fed = false
	if c.produce.Acks != -1 {
		stored := a.Wait()
		stored(c.publisher.Store())
		return
	}
	c.publisher.Flush(a.Wait())
}
