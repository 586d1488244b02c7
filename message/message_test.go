package message

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/field"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with testdata/name, which holds hex, sixteen bytes a line.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	var text strings.Builder
	for i := 0; i < len(got); i += 16 {
		text.WriteString(hex.EncodeToString(got[i:min(i+16, len(got))]) + "\n")
	}
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != text.String() {
		t.Errorf("%s: the format changed\ngot\n%swant\n%s", name, text.String(), want)
	}
}

func table(t *testing.T) []byte {
	t.Helper()
	b := field.AppendInt(field.AppendName(nil, "n"), -5)
	b = field.AppendString(field.AppendName(b, "s"), []byte("text"))
	b = field.AppendBool(field.AppendName(b, "yes"), true)
	b = field.AppendVoid(field.AppendName(b, "none"))
	b = field.AppendByteArray(field.AppendName(b, "raw"), []byte{0, 255})
	b = field.AppendTable(field.AppendName(b, "nested"), field.AppendInt(field.AppendName(nil, "x"), 1))
	return field.AppendArray(field.AppendName(b, "list"), field.AppendInt(field.AppendString(nil, []byte("a")), 2))
}

func properties(t *testing.T) []byte {
	t.Helper()
	p := field.Properties{Flags: field.FlagContentType | field.FlagHeaders | field.FlagDeliveryMode | field.FlagMessageID | field.FlagTimestamp,
		ContentType: []byte("text/plain"), Headers: table(t), DeliveryMode: 2, MessageID: []byte("m-1"), Timestamp: 1700000000}
	return p.Append(nil)
}

func sample(t *testing.T) []byte {
	t.Helper()
	var b Builder
	b.Add(&Publish{Exchange: []byte("logs"), Key: []byte("web.error"), Properties: properties(t), Body: []byte("boom"), TimestampMs: 1_700_000_000_000, Plain: true})
	b.Add(&Publish{Key: nil, Body: nil, TimestampMs: 1_700_000_000_007})
	b.Add(&Publish{Exchange: []byte("x"), Key: bytes.Repeat([]byte("k"), 200), Body: bytes.Repeat([]byte("v"), 300), TimestampMs: 1_700_000_000_003})
	return b.Seal()
}

func TestBatchFormatIsKept(t *testing.T) { golden(t, "batch.hex", sample(t)) }

// TestDeadLetterFormatIsKept is version 2 of the envelope.
func TestDeadLetterFormatIsKept(t *testing.T) {
	var w DeathWriter
	var b Builder
	b.Add(&Publish{Exchange: []byte("dlx"), Key: []byte("k"), Body: []byte("boom"), TimestampMs: 1_700_000_000_000, Died: true,
		Properties: w.Append(nil, properties(t), false, died("q", "expired"))})
	sealed := b.Seal()
	golden(t, "deadletter.hex", sealed)
	var rec Record
	r := NewRecords(batch.Batch(sealed).Records())
	if ok, err := r.Next(&rec); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if e, ok := rec.Envelope(); !ok || !e.Died || string(e.Exchange) != "dlx" {
		t.Errorf("envelope %v %+v", ok, e)
	}
}

func TestPublishComesBackAsItWasSent(t *testing.T) {
	b := batch.Batch(sample(t))
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	if b.Count() != 3 || b.BaseTimestamp() != 1_700_000_000_000 || b.MaxTimestamp() != 1_700_000_000_007 {
		t.Fatalf("header: count %d, times %d to %d", b.Count(), b.BaseTimestamp(), b.MaxTimestamp())
	}
	r := NewRecords(b.Records())
	var rec Record
	next := func() {
		if ok, err := r.Next(&rec); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	next()
	e, ok := rec.Envelope()
	if !ok || string(e.Exchange) != "logs" || !bytes.Equal(e.Properties, properties(t)) {
		t.Errorf("envelope %v %q", ok, e.Exchange)
	}
	if string(rec.Key) != "web.error" || string(rec.Value) != "boom" {
		t.Errorf("record %q %q", rec.Key, rec.Value)
	}
	got := map[string]string{}
	for h := rec.Headers; ; {
		name, value, ok := h.Next()
		if !ok {
			break
		}
		if value == nil {
			value = []byte("<null>")
		}
		got[string(name)] = string(value)
	}
	delete(got, EnvelopeName)
	want := map[string]string{"n": "-5", "s": "text", "yes": "true", "none": "<null>", "raw": "\x00\xff", "amqp.content-type": "text/plain", "amqp.message-id": "m-1"}
	if len(got) != len(want) {
		t.Errorf("plain headers %q", got)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("plain header %s: got %q, want %q", k, got[k], v)
		}
	}
	next()
	if rec.Key != nil || rec.Value == nil || len(rec.Value) != 0 || rec.TimestampDelta != 7 {
		t.Errorf("empty publish: key %v value %v delta %d", rec.Key, rec.Value, rec.TimestampDelta)
	}
	if e, ok := rec.Envelope(); !ok || !bytes.Equal(e.Properties, field.NoProperties) {
		t.Error("a publish without properties has an envelope without properties")
	}
	next()
	if len(rec.Key) != 200 || len(rec.Value) != 300 || rec.OffsetDelta != 2 {
		t.Errorf("long record: key %d, value %d, delta %d", len(rec.Key), len(rec.Value), rec.OffsetDelta)
	}
	if ok, err := r.Next(&rec); ok || err != nil {
		t.Error("there is a fourth record", err)
	}
}

func TestPropertiesKeepEveryField(t *testing.T) {
	p := field.Properties{Flags: 0xFFFC, ContentType: []byte("a"), ContentEncoding: []byte("b"), Headers: table(t), DeliveryMode: 1, Priority: 9,
		CorrelationID: []byte("c"), ReplyTo: []byte("d"), Expiration: []byte("10"), MessageID: []byte("e"), Timestamp: 1 << 40,
		Type: []byte("f"), UserID: []byte("g"), AppID: []byte("h"), ClusterID: []byte("i")}
	raw := p.Append(nil)
	var q field.Properties
	if err := q.Parse(raw); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(q.Append(nil), raw) {
		t.Error("parsed and written again they differ")
	}
	for n := range raw {
		if err := q.Parse(raw[:n]); err == nil {
			t.Errorf("%d of %d bytes were taken as whole", n, len(raw))
		}
	}
}

func record(key, value []byte, headers ...[2]string) *Record {
	r := &Record{Key: key, Value: value}
	for _, h := range headers {
		var v []byte
		if h[1] != "<null>" {
			v = []byte(h[1])
		}
		r.Headers.Raw = appendBytes(appendBytes(r.Headers.Raw, []byte(h[0])), v)
		r.Headers.Count++
	}
	return r
}

func TestKafkaRecordsBecomeAMQPMessages(t *testing.T) {
	long := bytes.Repeat([]byte("k"), 256)
	for name, c := range map[string]struct {
		rec  *Record
		part int32
		key  string
		want map[string]string
	}{
		"plain":          {record([]byte("k"), []byte("v"), [2]string{"h", "1"}), -1, "k", map[string]string{"h": "S1", "timestamp_in_ms": "i1500"}},
		"null key":       {record(nil, []byte("v")), -1, "", map[string]string{"timestamp_in_ms": "i1500"}},
		"long key":       {record(long, []byte("v")), -1, "", map[string]string{"x-kafka-key": "x" + string(long), "timestamp_in_ms": "i1500"}},
		"tombstone":      {record([]byte("k"), nil), -1, "k", map[string]string{"x-kafka-tombstone": "t", "timestamp_in_ms": "i1500"}},
		"partition":      {record(nil, []byte{}), 3, "", map[string]string{"x-kafka-partition": "i3", "timestamp_in_ms": "i1500"}},
		"binary, null":   {record(nil, []byte{}, [2]string{"b", "\xff\x00"}, [2]string{"n", "<null>"}), -1, "", map[string]string{"b": "x\xff\x00", "n": "V", "timestamp_in_ms": "i1500"}},
		"repeated names": {record(nil, []byte{}, [2]string{"a", "1"}, [2]string{"b", "2"}, [2]string{"a", "3"}), -1, "", map[string]string{"a": "A13", "b": "S2", "timestamp_in_ms": "i1500"}},
		"name too long":  {record(nil, []byte{}, [2]string{string(long), "1"}), -1, "", map[string]string{"timestamp_in_ms": "i1500"}},
	} {
		t.Run(name, func(t *testing.T) {
			props, key := KafkaToAMQP(nil, c.rec, 1500, c.part)
			if string(key) != c.key {
				t.Errorf("routing key %q, want %q", key, c.key)
			}
			var p field.Properties
			if err := p.Parse(props); err != nil {
				t.Fatal(err)
			}
			if p.DeliveryMode != 2 || p.Timestamp != 1 {
				t.Errorf("delivery mode %d, timestamp %d", p.DeliveryMode, p.Timestamp)
			}
			got := map[string]string{}
			for r := field.NewIterator(p.Headers); r.Next(); {
				got[string(r.Name())] = valueText(&r)
			}
			if len(got) != len(c.want) {
				t.Errorf("headers %q", got)
			}
			for k, v := range c.want {
				if got[k] != v {
					t.Errorf("header %q: got %q, want %q", k, got[k], v)
				}
			}
		})
	}
}

func TestARecordWithoutATimeGetsNone(t *testing.T) {
	props, _ := KafkaToAMQP(nil, &Record{Value: []byte("v")}, NoTime, -1)
	var p field.Properties
	if err := p.Parse(props); err != nil {
		t.Fatal(err)
	}
	if p.Flags&field.FlagTimestamp != 0 || len(p.Headers) > 0 || p.DeliveryMode != 2 {
		t.Errorf("flags %x, headers %x, delivery mode %d", p.Flags, p.Headers, p.DeliveryMode)
	}
}

// valueText is a value with its type's letter.
func valueText(r *field.Iterator) string {
	if n, ok := r.Int(); ok {
		return "i" + strconv.FormatInt(n, 10)
	}
	switch r.Tag() {
	case field.TagBool:
		return "t"
	case field.TagVoid:
		return "V"
	case field.TagArray:
		s := "A"
		for a := field.NewArrayIterator(r.Raw()); a.Next(); {
			s += string(a.Text())
		}
		return s
	}
	return string(r.Tag()) + string(r.Text())
}

func TestEveryCodecUnpacksWhatItsClientsPack(t *testing.T) {
	want := bytes.Repeat([]byte("some log line, much like the next\n"), 1000)
	var gz, lz bytes.Buffer
	g := gzip.NewWriter(&gz)
	g.Write(want)
	g.Close()
	l := lz4.NewWriter(&lz)
	l.Write(want)
	l.Close()
	z, _ := zstd.NewWriter(nil)
	snappy := s2.EncodeSnappy(nil, want)
	framed := append([]byte{}, xerial...)
	framed = append(framed, 0, 0, 0, 1, 0, 0, 0, 1)
	for at := 0; at < len(want); at += 10000 {
		block := s2.EncodeSnappy(nil, want[at:min(at+10000, len(want))])
		framed = append(framed, 0, 0, byte(len(block)>>8), byte(len(block)))
		framed = append(framed, block...)
	}
	for name, c := range map[string]struct {
		codec int
		data  []byte
	}{
		"none": {CodecNone, want}, "gzip": {CodecGzip, gz.Bytes()}, "snappy": {CodecSnappy, snappy}, "snappy in Java's framing": {CodecSnappy, framed},
		"lz4": {CodecLZ4, lz.Bytes()}, "zstd": {CodecZstd, z.EncodeAll(want, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Unpack([]byte("before"), c.codec, c.data, MaxUnpackedBytes)
			if err != nil || string(got) != "before"+string(want) {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
			if c.codec != CodecNone {
				if _, err := Unpack(nil, c.codec, c.data[:len(c.data)/2], MaxUnpackedBytes); err == nil {
					t.Error("half of it was taken as whole")
				}
			}
		})
	}
	if _, err := Unpack(nil, 7, want, MaxUnpackedBytes); err == nil {
		t.Error("codec 7 was taken")
	}
}

func TestBuilderDoesNotAllocate(t *testing.T) {
	var b Builder
	pub := Publish{Exchange: []byte("logs"), Key: []byte("web.error"), Properties: []byte{0x10, 0, 2}, Body: make([]byte, 100), TimestampMs: 1}
	round := func() {
		for range 64 {
			b.Add(&pub)
		}
		b.Seal()
		b.Reset(1 << 20)
	}
	round()
	if n := testing.AllocsPerRun(50, round); n != 0 {
		t.Errorf("%v allocations for 64 messages", n)
	}
}

// Headers that are copied in readable form, of every kind, cost no allocation either.
func TestAddDoesNotAllocate(t *testing.T) {
	for _, plain := range []bool{false, true} {
		var bl Builder
		p := Publish{Exchange: []byte("logs"), Key: []byte("web.error"), Properties: properties(t), Body: make([]byte, 100), Plain: plain}
		n := alloc.Least(0, 100, func() {
			if bl.Add(&p); bl.Len() == 50 {
				bl.Reset(1 << 20)
			}
		})
		if n > 0 {
			t.Errorf("with plain headers %v: %v allocations a message", plain, n)
		}
	}
}

func TestAddLikeEncodesWhatAddDoes(t *testing.T) {
	heads := []Publish{
		{Exchange: []byte("logs"), Key: []byte("web.error"), Properties: []byte{0x10, 0, 2}},
		{},
		{Key: bytes.Repeat([]byte("k"), 200), Properties: properties(t), Plain: true},
		{Key: []byte("k"), Raw: Headers{Count: 1, Raw: []byte{2, 'h', 2, 'v'}}},
	}
	for i, head := range heads {
		var plain, like Builder
		for round := range 2 { // the second one in a buffer that has been used
			for n := range 300 {
				p := head
				p.Body, p.TimestampMs = bytes.Repeat([]byte{byte(n)}, n*n%9000), int64(1000+n*n%777)
				plain.Add(&p)
				if n%100 == 0 {
					like.Add(&p)
				} else {
					like.AddLike(p.Body, p.TimestampMs)
				}
			}
			if !bytes.Equal(plain.Seal(), like.Seal()) || plain.Len() != like.Len() {
				t.Errorf("head %d, round %d: the batches differ", i, round)
			}
			plain.Reset(1 << 30)
			like.Reset(1 << 10)
		}
	}
}

func BenchmarkBuilder(b *testing.B) {
	for _, size := range []int{12, 100, 1024} {
		b.Run(strconv.Itoa(size)+"B", func(b *testing.B) {
			var bl Builder
			pub := Publish{Exchange: []byte("logs"), Key: []byte("web.error"), Properties: []byte{0x10, 0, 2}, Body: make([]byte, size), TimestampMs: 1}
			b.SetBytes(int64(size))
			for i := range b.N {
				bl.Add(&pub)
				if i%256 == 255 {
					bl.Seal()
					bl.Reset(1 << 20)
				}
			}
		})
		b.Run(strconv.Itoa(size)+"B like the last", func(b *testing.B) {
			var bl Builder
			pub := Publish{Exchange: []byte("logs"), Key: []byte("web.error"), Properties: []byte{0x10, 0, 2}, Body: make([]byte, size), TimestampMs: 1}
			b.SetBytes(int64(size))
			bl.Add(&pub)
			for i := range b.N {
				bl.AddLike(pub.Body, 1)
				if i%256 == 255 {
					bl.Seal()
					bl.Reset(1 << 20)
					bl.Add(&pub)
				}
			}
		})
	}
}

func BenchmarkRecords(b *testing.B) {
	var bl Builder
	pub := Publish{Exchange: []byte("logs"), Key: []byte("web.error"), Properties: []byte{0x10, 0, 2}, Body: make([]byte, 100), TimestampMs: 1}
	for range 256 {
		bl.Add(&pub)
	}
	raw := batch.Batch(bl.Seal()).Records()
	b.ReportAllocs()
	var rec Record
	r := NewRecords(raw)
	for b.Loop() {
		if ok, _ := r.Next(&rec); !ok {
			r = NewRecords(raw)
			continue
		}
		if _, ok := rec.Envelope(); !ok {
			b.Fatal("no envelope")
		}
	}
}
