package broker

import (
	"encoding/binary"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
)

// timed is a plain batch of records with these times.
func timed(attributes int16, times ...int64) batch.Batch {
	b := batch.Batch(make([]byte, batch.HeaderBytes))
	latest := int64(message.NoTime)
	for i, ms := range times {
		body := binary.AppendVarint([]byte{0}, ms-times[0])
		body = append(binary.AppendVarint(body, int64(i)), 2, 'k', 2, 'v', 0)
		b = append(append(b, byte(2*len(body))), body...)
		latest = max(latest, ms)
	}
	b.Seal(batch.Header{Attributes: attributes, LastOffsetDelta: int32(len(times) - 1), BaseTimestamp: times[0], MaxTimestamp: latest,
		ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, Count: int32(len(times))})
	return b
}

func TestALookUpByTimeFindsNothingThatWasCutOff(t *testing.T) {
	r := startWith(t, 0)
	topic, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := topic.Partitions()[0]
	for _, b := range []batch.Batch{
		timed(0, 100, 900, 300, 200, 250, 700), // offsets 0 to 5
		timed(0, 150, 260),                     // 6, 7
		timed(batch.LogAppendTime, 500, 500),   // 8, 9
	} {
		if _, err := r.s.Produce(p, b); err != nil {
			t.Fatal(err)
		}
	}
	type lookup struct{ ms, offset, at int64 }
	check := func(start message.Offset, latest lookup, lookups ...lookup) {
		t.Helper()
		if _, err := r.s.Truncate(p, start); err != nil {
			t.Fatal(err)
		}
		for _, l := range lookups {
			offset, at, ok, err := r.s.OffsetForTime(p, l.ms)
			if err != nil || ok != (l.offset >= 0) || ok && (int64(offset) != l.offset || at != l.at) {
				t.Errorf("start %d, first at or after %d: %d at %d, %t, %v; want %d at %d", start, l.ms, offset, at, ok, err, l.offset, l.at)
			}
		}
		if offset, at, ok, err := r.s.LatestOffset(p); err != nil || !ok || int64(offset) != latest.offset || at != latest.at {
			t.Errorf("start %d, the latest: %d at %d, %t, %v; want %d at %d", start, offset, at, ok, err, latest.offset, latest.at)
		}
	}
	check(0, lookup{0, 1, 900}, lookup{0, 0, 100}, lookup{101, 1, 900}, lookup{900, 1, 900}, lookup{901, -1, 0})
	check(2, lookup{0, 5, 700}, lookup{0, 2, 300}, lookup{301, 5, 700}, lookup{700, 5, 700}, lookup{701, -1, 0}, lookup{900, -1, 0})
	check(3, lookup{0, 5, 700}, lookup{0, 3, 200}, lookup{201, 4, 250}, lookup{251, 5, 700})
	check(6, lookup{0, 8, 500}, lookup{0, 6, 150}, lookup{200, 7, 260}, lookup{261, 8, 500}, lookup{501, -1, 0})
	check(9, lookup{0, 9, 500}, lookup{0, 9, 500}, lookup{501, -1, 0})
}

func TestRecordsWithoutATimeAreRoutedAsOfTheirArrival(t *testing.T) {
	r := start(t)
	args := field.AppendString(field.AppendName(nil, "x-kafka-topic"), []byte("ingest"))
	x, err := r.s.DeclareExchange("logs", ExchangeOptions{Type: "fanout", Args: args})
	if err != nil {
		t.Fatal(err)
	}
	q := r.queue("q", QueueOptions{Durable: true})
	r.bind("logs", "q", "")
	p := r.s.NewPublisher()
	if _, err := publishBatch(p, x, timed(0, message.NoTime)); err != nil {
		t.Fatal(err)
	}
	flush(t, p)
	now := r.v.b.opts.Now().UnixMilli()
	if g, err := r.s.Get(q.Name, true); err != nil || g == nil || g.TimestampMs < now-60_000 || g.TimestampMs > now {
		t.Fatalf("got %+v, %v; now is %d", g, err, now)
	}
}
