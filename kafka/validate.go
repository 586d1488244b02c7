package kafka

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

// ratioMax bounds what a compressed batch may unpack to, as a multiple of what the
// topic takes in one batch. The answer, too large, has producers send less at once.
const ratioMax = 64

// unpackedBytes is the most that a batch may unpack to.
func unpackedBytes(set *broker.Settings) int {
	return int(min(max(int64(set.MaxBatchBytes), 1<<18)*ratioMax, message.MaxUnpackedBytes))
}

// arrival is how a batch came: when, by which version of Produce, and whose memory
// there is for unpacking it.
type arrival struct {
	now     time.Time
	version int16
	trust   bool // compressed records are not looked into
	memory  *budget.Account
	held    int64 // of memory, for a message set that was made a batch
	wide    wide
	client  interface{ patient() <-chan struct{} } // nil: one that waits

	unpacked int // bytes of the records when they are unpacked, once they were checked
	faults   []wire.RecordFault
}

func (c *conn) arrived(version int16) arrival {
	return arrival{now: c.frames.Now(), version: version, trust: c.s.made.Load().TrustCompressed, memory: c.memory, wide: c.s.wide, client: c}
}

// wide is held by the one inspection of a server that takes more than ordinary memory.
type wide chan struct{}

// widePatience is how long others wait for it.
const widePatience = 10 * time.Second

// take waits for the turn to hold w.
func (w wide) take(gone <-chan struct{}) error {
	select {
	case w <- struct{}{}:
		return nil
	default:
	}
	patience := time.NewTimer(widePatience)
	defer patience.Stop()
	select {
	case w <- struct{}{}:
		return nil
	case <-patience.C:
		return budget.ErrFull
	case <-gone:
		return budget.ErrGone
	}
}

func (w wide) give() { <-w }

// gone is closed when the client is.
func (a *arrival) gone() <-chan struct{} {
	if a.client == nil {
		return nil
	}
	return a.client.patient()
}

// check holds the records of one partition of a Produce request against the rules,
// and returns the one batch they must be. What its header says of the records' times
// is then what the records say: producers' claims are not believed (old ones leave -1).
//
//	null or empty records, several batches, a batch that is cut,
//	magic 0 or 1 from version 3 of Produce on                    87
//	count 0, count not last delta + 1, control batch, a time at
//	which what ends a key goes (attribute 0x40)                  87
//	producer id without a sequence number                        87
//	producer's epoch below -1                                    47
//	checksum wrong, magic 3 and up, a length less than a header   2
//	larger than the topic's max.message.bytes, or 64 times that
//	when it is unpacked                                          10
//	unknown codec, zstd by a Produce request before version 7    76
//	records that can't be unpacked or decoded, that are not as
//	many as the header says, or not numbered 0…n                 87
//	too far before or behind our clock (message.timestamp.before.max.ms
//	and .after.max.ms), unless the topic keeps the broker's time 32
//	a record without a key, where the topic is compacted         87
//	a record of a compressed batch that is larger than
//	max.decompressed.message.bytes                               87
//
// Compressed records are not looked into when the server trusts its producers, but for a compacted topic, and one
// whose records have a limit.
//
// A message set of older versions is made a batch first; whoever calls this calls release when the batch is stored.
func (a *arrival) check(records []byte, set *broker.Settings) (batch.Batch, wire.Code, string) {
	if a.version < noLegacySince && message.IsLegacy(records) {
		var err error
		if records, err = a.upConvert(records, set); err != nil {
			code, why := verdict(err, set)
			return nil, code, why
		}
	}
	b, code, why := a.checkHeader(records, set)
	if code != wire.None {
		return nil, code, why
	}
	times, code, why := a.checkRecords(b, set)
	if code != wire.None {
		return nil, code, why
	}
	now := a.now.UnixMilli()
	if set.LogAppendTime {
		b.SetTimes(true, now)
		return b, wire.None, ""
	}
	incomputable := times.Oldest() < math.MinInt64+now // a number of milliseconds from our clock that there is not
	if incomputable || times.Latest()-set.TimeAfterMs > now || set.TimeBeforeMs < now && times.Oldest() < now-set.TimeBeforeMs {
		a.findFaults(b, set)
		return nil, wire.InvalidTimestamp, "a timestamp is too far from the broker's: see message.timestamp.after.max.ms and message.timestamp.before.max.ms"
	}
	b.SetTimes(false, times.Latest())
	return b, wire.None, ""
}

// checkHeader is the part of check that looks at no record.
func (a *arrival) checkHeader(records []byte, set *broker.Settings) (batch.Batch, wire.Code, string) {
	switch {
	case a.version >= noLegacySince && message.IsLegacy(records):
		return nil, wire.InvalidRecord, "messages of format 0 or 1 in a Produce request from version 3 on"
	case len(records) > 16 && records[16] > batch.Magic:
		return nil, wire.CorruptMessage, "the records are of a format after 2"
	case len(records) <= 16 || records[16] != batch.Magic:
		return nil, wire.InvalidRecord, "the records are not one batch of format 2"
	}
	b, rest, err := batch.Next(records)
	switch {
	case errors.Is(err, batch.ErrLength):
		return nil, wire.CorruptMessage, err.Error()
	case err != nil:
		return nil, wire.InvalidRecord, err.Error()
	case len(rest) > 0:
		return nil, wire.InvalidRecord, "more than one batch for a partition"
	case len(b) > set.MaxBatchBytes:
		return nil, wire.MessageTooLarge, "the batch is larger than max.message.bytes"
	case b.Codec() > message.CodecZstd:
		return nil, wire.UnsupportedCompression, "unknown compression"
	case b.Codec() == message.CodecZstd && a.version < zstdSince:
		return nil, wire.UnsupportedCompression, "zstd by a Produce request before version 7"
	case b.Count() <= 0 || int64(b.Count()) != int64(b.LastOffsetDelta())+1:
		return nil, wire.InvalidRecord, "the batch's record count does not fit its last offset"
	case int64(b.Count())*message.MinRecordBytes > message.MaxUnpackedBytes:
		return nil, wire.InvalidRecord, "the batch's record count is more than a batch can hold"
	case b.IsControl():
		return nil, wire.InvalidRecord, "control batches are the broker's own"
	case b.Attributes()&batch.HasDeleteHorizon != 0:
		return nil, wire.InvalidRecord, "attribute 0x40, the time at which ends of keys go, is for the broker to set"
	case b.ProducerID() >= 0 && b.ProducerEpoch() < -1:
		return nil, wire.InvalidProducerEpoch, "a producer's epoch below zero"
	case b.ProducerID() >= 0 && b.BaseSequence() < 0:
		return nil, wire.InvalidRecord, "a producer's batch without a sequence number"
	}
	if err := b.Check(); err != nil {
		return nil, wire.CorruptMessage, err.Error()
	}
	return b, wire.None, ""
}

// zstdSince is the version of Produce that came with zstd. Who sends an older one may
// read with clients that have no zstd.
const zstdSince = 7

// checkRecords walks the records of a batch and tells their times.
func (a *arrival) checkRecords(b batch.Batch, set *broker.Settings) (message.Check, wire.Code, string) {
	var c message.Check
	var err error
	switch {
	case b.Codec() == message.CodecNone:
		var used int
		c = newCheck(b, set)
		if used, err = c.Records(b.Records()); err == nil {
			err = c.End(len(b.Records()) - used)
		}
	case a.trust && !set.Compact && set.MaxRecordBytes == 0:
		c = message.Claimed(b.BaseTimestamp(), b.MaxTimestamp())
	default:
		c, err = a.unpack(b, set)
	}
	if errors.Is(err, message.ErrNoKey) {
		a.findFaults(b, set)
	}
	code, why := verdict(err, set)
	return c, code, why
}

// verdict is what a producer is told of what was found in its records.
func verdict(err error, set *broker.Settings) (wire.Code, string) {
	switch {
	case err == nil:
		return wire.None, ""
	case errors.Is(err, message.ErrUnpacked):
		return wire.MessageTooLarge, fmt.Sprintf("the batch unpacks to more than %d bytes", unpackedBytes(set))
	case errors.Is(err, budget.ErrShare), errors.Is(err, message.ErrMemory):
		return wire.MessageTooLarge, "the batch takes more memory to look into than one client may hold"
	case errors.Is(err, budget.ErrFull), errors.Is(err, budget.ErrGone):
		return wire.RequestTimedOut, err.Error()
	case errors.Is(err, message.ErrLegacyCRC):
		return wire.CorruptMessage, err.Error()
	case errors.Is(err, message.ErrNoKey):
		return wire.InvalidRecord, "a compacted topic takes no record without a key (" + err.Error() + "): give the record a key, or set cleanup.policy=delete"
	case errors.Is(err, message.ErrRecordSize):
		return wire.InvalidRecord, err.Error() + ": send smaller records, or raise the topic's max.decompressed.message.bytes"
	}
	return wire.InvalidRecord, err.Error()
}

// maxFaults is how many records of a batch that was refused are told.
const maxFaults = 100

// findFaults looks for the records for which a batch is refused. What it can't look into for want of memory it says nothing of.
func (a *arrival) findFaults(b batch.Batch, set *broker.Settings) {
	if a.version < faultsSince {
		return
	}
	now := a.now.UnixMilli()
	oldest, latest := int64(math.MinInt64), int64(math.MaxInt64)
	if !set.LogAppendTime {
		oldest = now - min(set.TimeBeforeMs, now)
		latest = now + min(set.TimeAfterMs, math.MaxInt64-now)
	}
	var f message.Faults
	fresh := func() message.Walker {
		f = message.NewFaults(b.Count(), b.BaseTimestamp(), set.Compact, oldest, latest, maxFaults)
		return &f
	}
	if b.Codec() == message.CodecNone {
		_, _ = fresh().Records(b.Records())
	} else {
		_, _ = a.walk(fresh, b.Codec(), b.Records(), unpackedBytes(set))
	}
	for _, one := range f.Found {
		fault := wire.RecordFault{Record: one.Record, Message: "a compacted topic takes no record without a key"}
		if !one.NoKey {
			fault.Message = fmt.Sprintf("its timestamp %d is not from %d to %d, which the topic takes", one.TimestampMs, oldest, latest)
		}
		a.faults = append(a.faults, fault)
	}
}

// faultsSince is the version of Produce whose answer has a place for them.
const faultsSince = 8

// newCheck is of a batch for a topic with these settings.
func newCheck(b batch.Batch, set *broker.Settings) message.Check {
	c := message.NewCheck(b.Count(), b.BaseTimestamp())
	if set.Compact {
		c.WantKeys()
	}
	return c
}

// unpack checks compressed records.
func (a *arrival) unpack(b batch.Batch, set *broker.Settings) (c message.Check, err error) {
	fresh := func() message.Walker {
		c = newCheck(b, set)
		if set.MaxRecordBytes > 0 {
			c.AtMost(set.MaxRecordBytes)
		}
		return &c
	}
	a.unpacked, err = a.walk(fresh, b.Codec(), b.Records(), unpackedBytes(set))
	return c, err
}

// walk goes through what is packed, and returns how long it is unpacked. What takes more memory than there is anyway
// takes it from the client's account, and only once it is its turn to use it.
func (a *arrival) walk(fresh func() message.Walker, codec int, packed []byte, limit int) (unpacked int, err error) {
	unpacked, err = message.Walk(fresh(), codec, packed, limit, message.OrdinaryBytes)
	if !errors.Is(err, message.ErrMemory) {
		return unpacked, err
	}
	if err := a.wide.take(a.gone()); err != nil {
		return 0, err
	}
	defer a.wide.give()
	allowed := min(int64(limit), a.memory.Share()-a.memory.Held())
	if err := a.memory.Take(allowed, a.gone()); err != nil {
		return 0, err
	}
	defer a.memory.Give(allowed)
	return message.Walk(fresh(), codec, packed, limit, int(allowed))
}
