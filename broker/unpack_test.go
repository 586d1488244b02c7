package broker

import (
	"bytes"
	"errors"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
)

// compressed is a Kafka producer's batch in zstd.
func compressed(t *testing.T, values ...string) batch.Batch {
	t.Helper()
	plain := produced(-1, -1, -1, values...)
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	b := batch.Batch(w.EncodeAll(plain.Records(), make([]byte, batch.HeaderBytes)))
	b.Seal(batch.Header{Attributes: message.CodecZstd, LastOffsetDelta: int32(len(values) - 1), BaseTimestamp: 1_000, MaxTimestamp: 1_000,
		ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, Count: int32(len(values))})
	return b
}

func TestReadersOfOneBatchShareWhatItUnpacksTo(t *testing.T) {
	r := startWith(t, 0)
	topic, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := topic.Partitions()[0]
	one, other := compressed(t, "a", "b"), compressed(t, "c", "d")
	other.SetBaseOffset(2)
	first, err := p.unpack(one)
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.unpack(other)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := p.unpack(one); again != first || err != nil || second == first {
		t.Errorf("unpacked twice: %v", err)
	}
	runtime.KeepAlive(second)
	first, second = nil, nil
	runtime.GC()
	if u := p.active().unpacker.Load().batches[0].records.Value(); u != nil {
		t.Error("it stays in memory though nobody reads it")
	}
}

func TestLargeBatchesAreUnpackedWithinALimitAndOrdinaryOnesAlways(t *testing.T) {
	r := startWith(t, 0)
	x := newUnpacking(6 << 20)
	r.v.b.unpacking = x
	large := string(make([]byte, 2<<20))
	topics := map[string]*Partition{}
	for _, name := range []string{"one", "two", "three", "four"} {
		topic, err := r.s.CreateTopic(name, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		topics[name] = topic.Partitions()[0]
		if _, err := r.s.Produce(topics[name], compressed(t, name, large)); err != nil {
			t.Fatal(err)
		}
	}
	small, err := r.s.CreateTopic("small", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.s.Produce(small.Partitions()[0], compressed(t, "x", "y")); err != nil {
		t.Fatal(err)
	}
	read := func(name string) (*reader, []string, error) {
		p := topics[name]
		if name == "small" {
			p = small.Partitions()[0]
		}
		rd := &reader{part: p, lease: &p.active().getter, heads: new(uint64)}
		var got []string
		_, _, _, err := rd.read(0, 0, 1<<30, func(d *Delivery) { got = append(got, string(d.Body)) })
		return rd, got, err
	}
	var held []*reader
	var refused string
	for _, name := range []string{"one", "two", "three", "four"} {
		rd, got, err := read(name)
		switch {
		case err == nil && len(got) == 1 && got[0] == name:
			held = append(held, rd)
		case errors.Is(err, errUnpackMemory) && len(rd.gone) == 0:
			refused = name
		default:
			t.Fatalf("%s: %q, %v, %d runs left out", name, got, err, len(rd.gone))
		}
	}
	if len(held) == 0 || refused == "" || x.held.Load() > x.limit+4<<20 {
		t.Fatalf("%d are in memory, %d bytes", len(held), x.held.Load())
	}
	if _, got, err := read("small"); err != nil || len(got) != 1 {
		t.Errorf("an ordinary one: %q, %v", got, err)
	}
	for _, rd := range held {
		rd.release()
		if rd.unpacked != nil && x.scarce() {
			t.Error("a reader that rests keeps a large batch while memory is scarce")
		}
	}
	clear(held)
	for i := 0; ; i++ {
		runtime.GC()
		if _, got, err := read(refused); err == nil && len(got) == 1 {
			break
		} else if i == 100 {
			t.Fatalf("never again: %v; %d bytes are in use", err, x.held.Load())
		}
		runtime.Gosched()
	}
}

func TestTheOnlyBatchMayBeOfAnySize(t *testing.T) {
	x := newUnpacking(1)
	raw, err := x.unpack(message.CodecZstd, compressed(t, string(make([]byte, 3<<20))).Records())
	if err != nil || !bytes.Contains(raw, make([]byte, 3<<20)) {
		t.Fatal(err)
	}
	if _, err := x.unpack(message.CodecZstd, compressed(t, string(make([]byte, 3<<20))).Records()); !errors.Is(err, errUnpackMemory) {
		t.Errorf("a second one: %v", err)
	}
	runtime.KeepAlive(raw)
}
