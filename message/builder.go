package message

import (
	"encoding/binary"
	"slices"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/field"
)

// Builder encodes publishes into one record batch. It keeps its buffer, so a
// Builder in steady state allocates nothing. It is not safe for concurrent use.
//
// Measured on a 2-core machine: BenchmarkBuilder, 256 messages a batch.
type Builder struct {
	buf    []byte
	extra  []byte // the plain headers of the message being added
	count  int32
	baseMs int64
	maxMs  int64
	flags  byte // the upper half of the property flags that any message has
	// Of the message that Add added last: where in buf its key stands, and what follows its body.
	keyAt, keyEnd, tailAt, tailEnd int
}

// Publish is one message on its way in. All slices are borrowed for the call.
type Publish struct {
	Exchange    []byte // at most 255 bytes
	Key         []byte // routing key; empty is stored as null
	Properties  []byte // AMQP flags and list, as received; empty means none
	Body        []byte
	TimestampMs int64
	// Plain asks for readable copies of the user's headers beside the envelope.
	Plain bool
	// Died says that the headers among Properties tell of deaths that the broker wrote.
	Died bool
	// Raw are further record headers, encoded, for records that came from Kafka.
	Raw Headers
}

// Len is the number of messages in the batch.
func (b *Builder) Len() int { return int(b.count) }

// SizeBytes is the size of the batch so far.
func (b *Builder) SizeBytes() int { return len(b.buf) }

// MayExpire says whether a message in the batch has an expiration.
func (b *Builder) MayExpire() bool { return b.flags&(field.FlagExpiration>>8) != 0 }

// Reset forgets everything. A buffer above keepBytes is given back, so that one
// huge message does not stay in memory for ever.
func (b *Builder) Reset(keepBytes int) {
	if cap(b.buf) > keepBytes {
		b.buf = nil
	}
	b.buf = b.buf[:0]
	b.count = 0
}

// Add encodes one message behind the others.
func (b *Builder) Add(p *Publish) {
	if b.count == 0 {
		b.buf = append(b.buf[:0], make([]byte, batch.HeaderBytes)...)
		b.baseMs, b.maxMs, b.flags = p.TimestampMs, p.TimestampMs, 0
	}
	b.maxMs = max(b.maxMs, p.TimestampMs)
	props := p.Properties
	if len(props) == 0 {
		props = field.NoProperties
	}
	b.flags |= props[0]
	headers := int64(1 + p.Raw.Count)
	b.extra = b.extra[:0]
	if p.Plain && props[0]&(field.FlagHeaders>>8) != 0 {
		var n int
		b.extra, n = appendPlainHeaders(b.extra, props)
		headers += int64(n)
	}
	key := p.Key
	if len(key) == 0 {
		key = nil
	}
	value := p.Body
	if value == nil {
		value = []byte{}
	}
	delta := int64(b.count)
	ts := p.TimestampMs - b.baseMs
	envelope := 2 + len(p.Exchange) + len(props)
	size := 1 + varintLen(ts) + varintLen(delta) + bytesLen(key) + bytesLen(value) + varintLen(headers) +
		1 + len(EnvelopeName) + varintLen(int64(envelope)) + envelope + len(b.extra) + len(p.Raw.Raw)

	d := appendVarint(b.buf, int64(size))
	d = append(d, 0)
	d = appendVarint(d, ts)
	d = appendVarint(d, delta)
	b.keyAt = len(d)
	d = appendBytes(d, key)
	b.keyEnd = len(d)
	d = appendBytes(d, value)
	b.tailAt = len(d)
	d = appendVarint(d, headers)
	d = append(d, 2*byte(len(EnvelopeName)))
	d = append(d, EnvelopeName...)
	d = appendVarint(d, int64(envelope))
	version := byte(envelopeVersion)
	if p.Died {
		version = envelopeDied
	}
	d = append(d, version, byte(len(p.Exchange)))
	d = append(d, p.Exchange...)
	d = append(d, props...)
	d = append(d, b.extra...)
	d = append(d, p.Raw.Raw...)
	b.buf, b.tailEnd = d, len(d)
	b.count++
}

// AddLike encodes a message that differs from the last one that Add got only in
// body and time. There must have been one since the last Reset.
//
// Measured on a 2-core machine, 12 B (BenchmarkBuilder): 15 ns, Add 24 ns.
func (b *Builder) AddLike(body []byte, timestampMs int64) {
	b.maxMs = max(b.maxMs, timestampMs)
	delta, ts := int64(b.count), timestampMs-b.baseMs
	key, tail := b.keyEnd-b.keyAt, b.tailEnd-b.tailAt
	size := 1 + varintLen(ts) + varintLen(delta) + key + varintLen(int64(len(body))) + len(body) + tail
	d := slices.Grow(b.buf, binary.MaxVarintLen64+size)
	d = appendVarint(d, int64(size))
	d = append(d, 0)
	d = appendVarint(d, ts)
	d = appendVarint(d, delta)
	d = append(d, d[b.keyAt:b.keyEnd]...)
	d = appendVarint(d, int64(len(body)))
	d = append(d, body...)
	d = append(d, d[b.tailAt:b.tailEnd]...)
	b.buf = d
	b.count++
}

// AddRecord encodes a record of another batch behind the others, as it is but for its number.
func (b *Builder) AddRecord(rec *Record, timestampMs int64) {
	if b.count == 0 {
		b.buf = append(b.buf[:0], make([]byte, batch.HeaderBytes)...)
		b.baseMs, b.maxMs = timestampMs, timestampMs
	}
	b.maxMs = max(b.maxMs, timestampMs)
	delta, ts := int64(b.count), timestampMs-b.baseMs
	size := 1 + varintLen(ts) + varintLen(delta) + bytesLen(rec.Key) + bytesLen(rec.Value) + varintLen(int64(rec.Headers.Count)) + len(rec.Headers.Raw)
	d := appendVarint(b.buf, int64(size))
	d = append(d, 0)
	d = appendVarint(d, ts)
	d = appendVarint(d, delta)
	d = appendBytes(appendBytes(d, rec.Key), rec.Value)
	d = appendVarint(d, int64(rec.Headers.Count))
	b.buf = append(d, rec.Headers.Raw...)
	b.count++
}

// Date has the first message of the batch come at that time, and the others as much later as they were.
func (b *Builder) Date(ms int64) { b.baseMs, b.maxMs = ms, b.maxMs-b.baseMs+ms }

// Seal finishes the batch and returns its bytes, which are valid until Reset.
func (b *Builder) Seal() []byte {
	b.seal(b.buf, CodecNone)
	return b.buf
}

// SealPacked is Seal for a batch with its records packed, which is appended to dst, an empty slice.
func (b *Builder) SealPacked(dst []byte, codec int) ([]byte, error) {
	dst = append(dst, b.buf[:batch.HeaderBytes]...)
	dst, err := Pack(dst, codec, b.buf[batch.HeaderBytes:])
	if err == nil {
		b.seal(dst, codec)
	}
	return dst, err
}

func (b *Builder) seal(buf []byte, codec int) {
	batch.Batch(buf).Seal(batch.Header{
		Attributes:      int16(codec),
		LastOffsetDelta: b.count - 1,
		BaseTimestamp:   b.baseMs,
		MaxTimestamp:    b.maxMs,
		ProducerID:      batch.NoProducer,
		ProducerEpoch:   batch.NoProducerEpoch,
		BaseSequence:    batch.NoSequence,
		Count:           b.count,
	})
}
