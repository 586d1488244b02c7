package kafka

import (
	"errors"
	"fmt"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

// Clients from before Kafka 0.11 produce message sets and want them back, see message.LegacyMessage. Logs hold
// record batches alone, so sets are converted on their way in, and batches on their way out.
const (
	noLegacySince = 3 // of Produce
	// Of Fetch: before version 2 sets are of format 0, before 4 of format 1.
	format1Since = 2
	format2Since = 4

	// legacyFetchBytes bounds what one answer in an old format holds, for which there is memory of
	// its own, but for a message that is longer.
	legacyFetchBytes = 1 << 20
	// legacyReadBytes is how much of a log is read at a time for it.
	legacyReadBytes = 256 << 10
	// recordGrows is how much longer than as a message a record can be, with its batch's header
	// divided among them: it is mostly shorter.
	recordGrows = 12
)

// upConvert makes a batch of a message set: packed as the set was, with the messages' own times. A packed message must
// stand alone, as in Kafka. It takes the memory of what it makes from the client's account, until release.
func (a *arrival) upConvert(set []byte, settings *broker.Settings) ([]byte, error) {
	first, rest, err := message.NextLegacy(set)
	if err != nil {
		return nil, err
	}
	codec := first.Codec()
	if codec != message.CodecNone {
		if len(rest) > 0 {
			return nil, fmt.Errorf("%w: a packed message must stand alone", message.ErrLegacy)
		}
		if codec == message.CodecLZ4 && first.Magic == 0 {
			message.MendLZ4(first.Value)
		}
		if set, err = a.unpackLegacy(first.Value, codec, unpackedBytes(settings)); err != nil {
			return nil, err
		}
	}
	if err := a.take(2 * int64(len(set)+len(set)/legacyLeast*recordGrows+batch.HeaderBytes)); err != nil {
		return nil, err
	}
	b := new(message.Builder)
	if err := b.AddLegacy(set); err != nil {
		return nil, err
	}
	switch {
	case b.Len() == 0:
		return nil, fmt.Errorf("%w: there is none in it", message.ErrLegacy)
	case codec == message.CodecNone:
		return b.Seal(), nil
	}
	if err := a.take(int64(b.SizeBytes())); err != nil {
		return nil, err
	}
	return b.SealPacked(nil, codec)
}

// legacyLeast is the shortest message of a set.
const legacyLeast = 26

func (a *arrival) unpackLegacy(packed []byte, codec, limit int) ([]byte, error) {
	if codec >= message.CodecZstd {
		return nil, fmt.Errorf("%w: %d in a message of format 0 or 1", message.ErrCodec, codec)
	}
	n, err := a.walk(func() message.Walker { return message.Measure{} }, codec, packed, limit)
	if err != nil {
		return nil, err
	}
	if err := a.take(int64(n)); err != nil {
		return nil, err
	}
	return message.Unpack(make([]byte, 0, n), codec, packed, message.MaxUnpackedBytes)
}

// take adds to what the arrival holds of its client's memory.
func (a *arrival) take(n int64) error {
	if err := a.memory.Take(n, a.gone()); err != nil {
		return err
	}
	a.held += n
	return nil
}

// release gives back what check took for a message set.
func (a *arrival) release() {
	if a.held > 0 {
		a.memory.Give(a.held)
		a.held = 0
	}
}

// legacyFetch is what is being converted for one partition of a Fetch request.
type legacyFetch struct {
	c       *conn
	magic   byte
	from    message.Offset // messages before it are left out
	limit   int            // of bytes of out, but for the first message of an answer
	whole   bool
	out     []byte
	full    bool
	records int64
}

// readLegacy is readPartition for versions of Fetch that know message sets only.
func (c *conn) readLegacy(part *broker.Partition, p wire.FetchPartition, left int, state *wire.FetchState) ([]byte, error) {
	f := &c.fetch
	l := legacyFetch{c: c, from: message.Offset(p.Offset), limit: min(int(p.MaxBytes), left), whole: f.bytes == 0}
	if f.req.Version >= format1Since {
		l.magic = 1
	}
	for at := l.from; ; {
		got, pieces, err := c.session.Fetch(part, broker.Fetch{From: at, MaxBytes: legacyReadBytes, Whole: true}, nil)
		if err != nil {
			return nil, err
		}
		state.HighWatermark, state.LogStartOffset = int64(got.End), int64(got.Start)
		next := at
		for i := range pieces {
			if err == nil {
				err = pieces[i].Use(func(data []byte) error { return l.batches(data, &next) })
			}
			pieces[i].Release()
		}
		if err != nil && len(l.out) == 0 {
			return nil, err
		}
		// What held nothing for this client (the broker's own records) is passed, or it would come back for it for ever.
		if err != nil || l.full || len(l.out) > 0 || next == at {
			break
		}
		at = next
	}
	state.Records = len(l.out)
	f.count += l.records
	return l.out, nil
}

// batches converts whole batches; next is the offset behind those that were.
func (l *legacyFetch) batches(data []byte, next *message.Offset) error {
	for len(data) > 0 && !l.full {
		b, rest, err := batch.Next(data)
		if err != nil {
			return err
		}
		if !b.IsControl() {
			if err := l.batch(b); err != nil {
				return err
			}
		}
		*next = message.Offset(b.LastOffset()) + 1
		data = rest
	}
	return nil
}

func (l *legacyFetch) batch(b batch.Batch) error {
	raw := b.Records()
	if codec := b.Codec(); codec != message.CodecNone {
		if codec == message.CodecZstd {
			return faultf(wire.UnsupportedCompression, "the topic has batches packed with zstd, which this version of Fetch does not know")
		}
		a := l.c.arrived(0)
		defer a.release()
		var err error
		if raw, err = a.unpackLegacy(raw, codec, message.MaxUnpackedBytes); err != nil {
			return err
		}
	}
	records := message.NewRecords(raw)
	var rec message.Record
	for {
		more, err := records.Next(&rec)
		if err != nil || !more {
			return err
		}
		offset := b.BaseOffset() + int64(rec.OffsetDelta)
		if offset < int64(l.from) {
			continue
		}
		n := message.LegacyBytes(&rec, l.magic)
		first := l.whole && len(l.out) == 0
		if len(l.out)+n > l.limit && !first {
			l.full = true
			return nil
		}
		if first && n > legacyFetchBytes {
			if err := l.c.memory.Try(int64(n)); err != nil {
				return err
			}
			l.c.fetch.taken += int64(n)
		}
		appended := b.Attributes()&batch.LogAppendTime != 0
		ms := b.BaseTimestamp() + rec.TimestampDelta
		if appended {
			ms = b.MaxTimestamp()
		}
		l.out = message.AppendLegacy(l.out, &rec, l.magic, offset, ms, appended)
		l.records++
	}
}

// legacyError is the code of what stops a conversion.
func legacyError(err error) wire.Code {
	if batch.Wrong(err) || errors.Is(err, message.ErrRecord) {
		return wire.CorruptMessage
	}
	if errors.Is(err, message.ErrMemory) {
		return wire.MessageTooLarge
	}
	return codeOf(err)
}
