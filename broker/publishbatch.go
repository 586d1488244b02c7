package broker

import (
	"fmt"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
)

// feedProducers is what an exchange keeps of the Kafka producers that write to it
// through its topic (argument x-kafka-topic). The topic can't be read, so its
// offsets only count, and they and the producers are forgotten at a restart.
type feedProducers struct {
	producers
	next message.Offset
}

// PublishBatch routes the records of a Kafka producer's batch one by one, each by
// its key, through an exchange that was declared with x-kafka-topic. The batch was
// checked by the caller; raw are its records, unpacked. A duplicate of an idempotent producer is not routed
// again. As with Publish, it is stored by the Store after it.
func (p *Publisher) PublishBatch(x *Exchange, b batch.Batch, raw []byte) (Produced, error) {
	if err := p.s.May(Publish, OnExchange, x.Name); err != nil {
		return Produced{}, err
	}
	if id := p.s.ClientID(); id != p.clientID { // which keys it may use may depend on that
		p.clientID = id
		p.Store()
		p.forget()
	}
	f := &x.producers
	f.mu.Lock()
	defer f.mu.Unlock()
	s := sent{first: b.BaseSequence(), last: lastSequence(b), timestamp: b.MaxTimestamp()}
	if b.ProducerID() >= 0 {
		dup, err := f.byID[b.ProducerID()].check(b.ProducerEpoch(), s, false)
		if err != nil {
			return Produced{}, err
		}
		if dup != nil {
			return Produced{Base: dup.base, Duplicate: true, Timestamp: dup.timestamp}, nil
		}
	}
	if err := p.publishRecords(x, b, raw); err != nil {
		return Produced{}, err
	}
	if p.err != nil {
		return Produced{}, p.err // some of it was stored already, in vain
	}
	out := Produced{Base: f.next, Timestamp: -1}
	f.next += message.Offset(b.LastOffsetDelta()) + 1
	if b.ProducerID() >= 0 {
		s.base = out.Base
		if f.byID == nil {
			f.byID, f.room = map[int64]*producer{}, &p.v.b.producerRoom
		}
		f.note(b.ProducerID(), b.ProducerEpoch(), s, p.v.b.opts.Now())
		p.fed = append(p.fed, routedBatch{f, b.ProducerID()})
	}
	return out, nil
}

// routedBatch is a batch that a feed topic's producer was told of before it was stored.
type routedBatch struct {
	producers *feedProducers
	producer  int64
}

// forgetUnstored forgets the producers whose batches could not be stored, so that what
// they send again is not taken for a duplicate. err is what the Commit knows by now;
// with commit the returned done hears of the rest.
func (p *Publisher) forgetUnstored(err error, commit bool, done func(error)) func(error) {
	if len(p.fed) == 0 {
		return done
	}
	fed := p.fed
	p.fed = nil
	undo := func() {
		for _, b := range fed {
			b.producers.mu.Lock()
			b.producers.forget(b.producer)
			b.producers.mu.Unlock()
		}
	}
	if err != nil {
		undo()
		return done
	}
	if !commit || done == nil {
		return done
	}
	return func(err error) {
		if err != nil {
			undo()
		}
		done(err)
	}
}

// routingKey is the key by which a record of a Kafka producer is routed.
func routingKey(rec *message.Record) []byte {
	if _, ours := rec.Envelope(); ours {
		return rec.Key
	}
	_, key := message.KafkaToAMQP(nil, rec, message.NoTime, -1)
	return key
}

func (p *Publisher) publishRecords(x *Exchange, b batch.Batch, raw []byte) error {
	// All are decoded before the first is routed, so that a bad batch does nothing.
	check, keys := message.NewRecords(raw), p.s.keysOf(Publish, x)
	var rec message.Record
	for {
		more, err := check.Next(&rec)
		if err != nil {
			return &Error{Kind: Precondition, Text: "records can't be decoded", Err: err}
		}
		if !more {
			break
		}
		if len(rec.Value) > p.most {
			return fail(TooLarge, "record of %d bytes is larger than the maximum of %d", len(rec.Value), p.most)
		}
		if keys != nil {
			if err := p.s.mayKey(keys, Publish, x, routingKey(&rec)); err != nil {
				return err
			}
		}
	}
	in := Inbound{Exchange: []byte(x.Name), Persistent: true}
	p.arrivalMs = p.v.b.opts.Now().UnixMilli()
	defer func() { p.arrivalMs = 0 }()
	var props []byte
	records := message.NewRecords(raw)
	for {
		more, err := records.Next(&rec)
		if err != nil {
			return fmt.Errorf("decoded before, now not: %w", err)
		}
		if !more {
			return nil
		}
		in.TimestampMs = b.BaseTimestamp() + rec.TimestampDelta
		if in.TimestampMs == message.NoTime {
			in.TimestampMs = p.arrivalMs // or it would be long expired
		}
		if e, ok := rec.Envelope(); ok { // copied from one of our logs by a Kafka bridge
			in.Key, in.Properties = rec.Key, e.Properties
			rec.Headers.Next() // the envelope, which is written anew
		} else {
			props, in.Key = message.KafkaToAMQP(props[:0], &rec, in.TimestampMs, -1)
			in.Properties = props
		}
		var parsed field.Properties
		if err := parsed.Parse(in.Properties); err == nil {
			in.Headers = parsed.Headers
		}
		in.Body = rec.Value
		in.Raw = rec.Headers
		if in.Body == nil {
			in.Body = []byte{}
		}
		if _, err := p.Publish(&in); err != nil {
			return err
		}
	}
}
