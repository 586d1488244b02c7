package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// raw is a client that sends exactly what a test says.
type raw struct {
	t           testing.TB
	nc          net.Conn
	correlation int32
}

func (r *rig) raw() *raw {
	r.t.Helper()
	var nc net.Conn
	if r.pipes != nil {
		here, there := net.Pipe()
		r.pipes <- pipeEnd{there}
		nc = here // on which a fake clock needs no bound
	} else {
		var err error
		if nc, err = net.Dial("tcp", r.addr); err != nil {
			r.t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(patience))
	}
	r.t.Cleanup(func() { nc.Close() })
	c := &raw{t: r.t, nc: nc}
	r.raws = append(r.raws, c)
	return c
}

func (c *raw) write(b []byte) {
	c.t.Helper()
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

var formatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw"))

func (c *raw) send(req kmsg.Request, version int16) {
	c.t.Helper()
	c.correlation++
	req.SetVersion(version)
	c.write(formatter.AppendRequest(nil, req, c.correlation))
}

// frame reads one answer: correlation and body.
func (c *raw) frame() (int32, []byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.nc, size[:]); err != nil {
		return 0, nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c.nc, b); err != nil {
		return 0, nil, err
	}
	return int32(binary.BigEndian.Uint32(b)), b[4:], nil
}

// receive reads the answer to a request sent before.
func (c *raw) receive(res kmsg.Response, version int16) int32 {
	c.t.Helper()
	correlation, body, err := c.frame()
	if err != nil {
		c.t.Fatal(err)
	}
	res.SetVersion(version)
	if res.IsFlexible() && res.Key() != 18 {
		body = body[1:]
	}
	if err := res.ReadFrom(body); err != nil {
		c.t.Fatal(err)
	}
	return correlation
}

// closed checks that the server ends the connection without an answer.
func (c *raw) closed(what string) {
	c.t.Helper()
	if _, body, err := c.frame(); err == nil {
		c.t.Errorf("%s: answered %x", what, body)
	} else if errors.Is(err, net.ErrClosed) || isTimeout(err) {
		c.t.Errorf("%s: %v", what, err)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// record encodes one record of a batch with a value.
func record(delta int, value string) []byte {
	body := []byte{0, 0} // attributes, timestamp delta
	body = binary.AppendVarint(body, int64(delta))
	body = append(body, 1) // null key
	body = binary.AppendVarint(body, int64(len(value)))
	body = append(body, value...)
	body = append(body, 0)
	return append(binary.AppendVarint(nil, int64(len(body))), body...)
}

// makeBatch builds a batch of values; edit may change its header before it is sealed.
func makeBatch(edit func(*batch.Header), values ...string) batch.Batch {
	b := make([]byte, batch.HeaderBytes)
	for i, v := range values {
		b = append(b, record(i, v)...)
	}
	now := time.Now().UnixMilli()
	h := batch.Header{LastOffsetDelta: int32(len(values) - 1), Count: int32(len(values)), BaseTimestamp: now, MaxTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
	if edit != nil {
		edit(&h)
	}
	batch.Batch(b).Seal(h)
	return b
}

func produceRequest(topic string, partition int32, acks int16, records []byte) *kmsg.ProduceRequest {
	q := kmsg.NewPtrProduceRequest()
	q.Acks, q.TimeoutMillis = acks, 5000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	return q
}

// produce sends one batch and returns what the partition's answer is.
func (c *raw) produce(topic string, acks int16, records []byte) kmsg.ProduceResponseTopicPartition {
	c.t.Helper()
	c.send(produceRequest(topic, 0, acks, records), 9)
	var res kmsg.ProduceResponse
	c.receive(&res, 9)
	return res.Topics[0].Partitions[0]
}

func (r *rig) topic(name string, partitions int, config map[string]string) {
	r.t.Helper()
	v, err := r.broker.VHost("/")
	if err != nil {
		r.t.Fatal(err)
	}
	settings := map[string]*string{}
	for k, val := range config {
		settings[k] = &val
	}
	if _, err := v.NewSession(auth.Identity{Name: "guest"}).CreateTopic(name, partitions, settings); err != nil {
		r.t.Fatal(err)
	}
}

func TestProduceRules(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, map[string]string{"max.message.bytes": "1000"})
	good := func() batch.Batch { return makeBatch(nil, "a", "b") }
	bent := func(at int, v byte) []byte {
		b := good()
		b[at] = v
		return b
	}
	header := func(edit func(*batch.Header)) []byte { return makeBatch(edit, "a", "b") }
	for _, tc := range []struct {
		name    string
		records []byte
		want    wire.Code
	}{
		{"good", good(), wire.None},
		{"null records", nil, wire.InvalidRecord},
		{"empty records", []byte{}, wire.InvalidRecord},
		{"a few bytes", []byte("hello"), wire.InvalidRecord},
		{"old format", bent(16, 1), wire.InvalidRecord},
		{"checksum wrong", bent(len(good())-1, 'z'), wire.CorruptMessage},
		{"cut short", good()[:70], wire.InvalidRecord},
		{"two batches", append(good(), good()...), wire.InvalidRecord},
		{"bytes behind", append(good(), 0), wire.InvalidRecord},
		{"count too small", header(func(h *batch.Header) { h.Count = 1 }), wire.InvalidRecord},
		{"count and last delta too large", header(func(h *batch.Header) { h.Count, h.LastOffsetDelta = 3, 2 }), wire.InvalidRecord},
		{"no record", header(func(h *batch.Header) { h.Count, h.LastOffsetDelta = 0, -1 }), wire.InvalidRecord},
		{"a producer's batch without a sequence", header(func(h *batch.Header) { h.ProducerID, h.ProducerEpoch = 4, 0 }), wire.InvalidRecord},
		{"control batch", header(func(h *batch.Header) { h.Attributes = batch.Control }), wire.InvalidRecord},
		{"a batch with a time at which ends of keys go", header(func(h *batch.Header) { h.Attributes = batch.HasDeleteHorizon }), wire.InvalidRecord},
		{"transactional batch", header(func(h *batch.Header) { h.Attributes = batch.Transactional }), wire.TransactionalIDAuthFailed},
		{"unknown codec", header(func(h *batch.Header) { h.Attributes = 5 }), wire.UnsupportedCompression},
		{"too large", makeBatch(nil, string(make([]byte, 1000))), wire.MessageTooLarge},
		{"from the future", header(func(h *batch.Header) { h.BaseTimestamp += 2 * 3600_000 }), wire.InvalidTimestamp},
		{"from the future as its header claims", header(func(h *batch.Header) { h.MaxTimestamp += 2 * 3600_000 }), wire.None},
		{"compressed", packBatch(message.CodecZstd, nil, "a", "b"), wire.None},
		{"said to be compressed", header(func(h *batch.Header) { h.Attributes = 4 }), wire.InvalidRecord},
		{"good again", good(), wire.None},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := r.raw().produce("t", -1, tc.records)
			if wire.Code(got.ErrorCode) != tc.want || (tc.want != wire.None) != (got.BaseOffset == -1) {
				t.Errorf("%+v, want %v", got, tc.want)
			}
		})
	}
	if got := r.raw().produce("t", 2, good()); got.ErrorCode != 21 {
		t.Errorf("acks 2: %+v", got)
	}
	if got := r.raw().produce("unknown", 1, good()); got.ErrorCode != 3 {
		t.Errorf("unknown topic: %+v", got)
	}
	q := produceRequest("t", 7, 1, good())
	c := r.raw()
	c.send(q, 9)
	var res kmsg.ProduceResponse
	if c.receive(&res, 9); res.Topics[0].Partitions[0].ErrorCode != 3 {
		t.Errorf("unknown partition: %+v", res)
	}
	q = produceRequest("t", 0, 1, good())
	q.TransactionID = kmsg.StringPtr("tx")
	c.send(q, 9)
	if c.receive(&res, 9); res.Topics[0].Partitions[0].ErrorCode != 49 {
		t.Errorf("transactional id: %+v", res)
	}
}

func TestIdempotentProducerAcrossARestart(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	send := func(epoch int16, sequence int32, n int) kmsg.ProduceResponseTopicPartition {
		t.Helper()
		values := make([]string, n)
		return r.raw().produce("t", -1, makeBatch(func(h *batch.Header) {
			h.ProducerID, h.ProducerEpoch, h.BaseSequence = 77, epoch, sequence
		}, values...))
	}
	check := func(name string, got kmsg.ProduceResponseTopicPartition, code int16, base int64) {
		t.Helper()
		if got.ErrorCode != code || got.BaseOffset != base {
			t.Errorf("%s: %+v, want code %d offset %d", name, got, code, base)
		}
	}
	check("unknown producer, any sequence", send(0, 10, 2), 0, 0)
	for i := range int32(6) {
		check("next", send(0, 12+i, 1), 0, int64(2+i))
	}
	dup := send(0, 13, 1)
	check("duplicate of one of the last five", dup, 0, 3)
	if dup.LogAppendTime <= 0 {
		t.Errorf("a duplicate tells the first one's time: %+v", dup)
	}
	check("older than five", send(0, 10, 2), 45, -1)
	check("gap", send(0, 20, 1), 45, -1)
	check("overlap", send(0, 17, 3), 45, -1)
	r.restart()
	check("duplicate after a restart", send(0, 17, 1), 0, 7)
	check("next after a restart", send(0, 18, 1), 0, 8)
	check("new epoch not from 0", send(1, 5, 1), 45, -1)
	check("new epoch", send(1, 0, 1), 0, 9)
	check("old epoch", send(0, 19, 1), 47, -1)
}

func TestPipelinedProducesAreAnsweredInOrder(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	c := r.raw()
	const n = 300 // more than may wait at a time
	go func() {
		for range n {
			c.send(produceRequest("t", 0, -1, makeBatch(nil, "x")), 7)
		}
		c.send(kmsg.NewPtrMetadataRequest(), 4)
	}()
	for i := range int32(n) {
		var res kmsg.ProduceResponse
		if got := c.receive(&res, 7); got != i+1 || res.Topics[0].Partitions[0].BaseOffset != int64(i) {
			t.Fatalf("answer %d is to request %d: %+v", i+1, got, res)
		}
	}
	var res kmsg.MetadataResponse
	if got := c.receive(&res, 4); got != n+1 {
		t.Errorf("the last answer is to request %d", got)
	}
}

func TestProduceWithoutAnswer(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	c := r.raw()
	c.send(produceRequest("t", 0, 0, makeBatch(nil, "x")), 7)
	if got := c.produce("t", 1, makeBatch(nil, "y")); got.BaseOffset != 1 {
		t.Errorf("%+v", got)
	}
	c.send(produceRequest("unknown", 0, 0, makeBatch(nil, "x")), 7)
	c.closed("acks 0 to an unknown topic")
}

func TestAProduceIntoAnExchangeThatIsNotStoredSaysSo(t *testing.T) {
	var full atomic.Bool
	r := &rig{t: t, mode: store.ModeOS, mem: fs.Failing(fs.NewMem(1), func(op fs.Op, _ string) error {
		if op == fs.OpAllocate && full.Load() {
			return syscall.ENOSPC
		}
		return nil
	})}
	r.start()
	t.Cleanup(r.stop)
	v, _ := r.broker.VHost("/")
	args := field.AppendString(field.AppendName(nil, "x-kafka-topic"), []byte("ingest"))
	s := v.NewSession(auth.Identity{Name: "guest"})
	if _, err := s.DeclareExchange("logs", broker.ExchangeOptions{Type: "fanout", Args: args}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeclareQueue("q", broker.QueueOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Bind(broker.Binding{Source: "logs", Dest: "q"}); err != nil {
		t.Fatal(err)
	}
	for _, acks := range []int16{1, -1} {
		c := r.raw()
		full.Store(true)
		if p := c.produce("ingest", acks, makeBatch(nil, "a")); p.ErrorCode != int16(wire.StorageError) || p.BaseOffset != -1 {
			t.Errorf("acks %d on a full disk: code %d, offset %d", acks, p.ErrorCode, p.BaseOffset)
		}
		full.Store(false)
		if p := c.produce("ingest", acks, makeBatch(nil, "a")); p.ErrorCode != 0 {
			t.Errorf("acks %d with room again: code %d", acks, p.ErrorCode)
		}
		if q, err := v.Queue("q"); err != nil || q.Ready() != 1 {
			t.Errorf("acks %d: %d messages, %v", acks, q.Ready(), err)
		} else if _, err := s.Purge(q.Name); err != nil {
			t.Fatal(err)
		}
		if _, err := s.DeleteQueue("q", false, false); err != nil {
			t.Fatal(err)
		}
		if _, err := s.DeclareQueue("q", broker.QueueOptions{}); err != nil { // with no segment yet
			t.Fatal(err)
		}
		if err := s.Bind(broker.Binding{Source: "logs", Dest: "q"}); err != nil {
			t.Fatal(err)
		}
	}
	full.Store(true)
	c := r.raw()
	c.send(produceRequest("ingest", 0, 0, makeBatch(nil, "a")), 9)
	c.closed("a produce without acks on a full disk")
	full.Store(false)
}

func TestLogAppendTimeIsTheBrokersClock(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, map[string]string{"message.timestamp.type": "LogAppendTime"})
	c := r.raw()
	before := time.Now().UnixMilli()
	got := c.produce("t", 1, makeBatch(func(h *batch.Header) { h.BaseTimestamp, h.MaxTimestamp = 1, 1 }, "x"))
	if got.LogAppendTime < before-1000 || got.LogAppendTime > time.Now().UnixMilli() {
		t.Errorf("%+v, now %d", got, before)
	}
	stored := c.fetch("t", 0, 1<<20, 0)
	b, _, err := batch.Next(stored.RecordBatches)
	if err != nil || b.Check() != nil || b.MaxTimestamp() != got.LogAppendTime || b.Attributes()&batch.LogAppendTime == 0 {
		t.Errorf("stored batch: %v %v", err, b.Check())
	}
}

func TestAChangedSettingHoldsForTheNextBatch(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	c, adm := r.raw(), r.admin()
	if got := c.produce("t", 1, makeBatch(nil, string(make([]byte, 1000)))); got.ErrorCode != 0 {
		t.Fatalf("%+v", got)
	}
	value := "500"
	res, err := adm.AlterTopicConfigs(testContext(t), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &value}}, "t")
	if err != nil || res[0].Err != nil {
		t.Fatal(err, res)
	}
	if got := c.produce("t", 1, makeBatch(nil, string(make([]byte, 1000)))); wire.Code(got.ErrorCode) != wire.MessageTooLarge {
		t.Errorf("on a connection that produced before: %+v", got)
	}
}

func (c *raw) fetch(topic string, offset int64, maxBytes, waitMillis int32) kmsg.FetchResponseTopicPartition {
	c.t.Helper()
	q := kmsg.NewPtrFetchRequest()
	q.MaxBytes, q.MaxWaitMillis, q.MinBytes = maxBytes, waitMillis, 1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes = offset, maxBytes
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	c.send(q, 12)
	var res kmsg.FetchResponse
	c.receive(&res, 12)
	return res.Topics[0].Partitions[0]
}

func TestFetchAtTheEdges(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	c := r.raw()
	first := makeBatch(nil, "a", "b", "c")
	for range 3 {
		c.produce("t", 1, first)
	}
	for _, tc := range []struct {
		name   string
		offset int64
		max    int32
		code   wire.Code
		bases  []int64
	}{
		{"from the start", 0, 1 << 20, wire.None, []int64{0, 3, 6}},
		{"inside a batch", 4, 1 << 20, wire.None, []int64{3, 6}},
		{"smaller than a batch", 0, 1, wire.None, []int64{0}},
		{"one batch and a bit", 0, int32(len(first)) + 10, wire.None, []int64{0}},
		{"at the end", 9, 1 << 20, wire.None, nil},
		{"behind the end", 10, 1 << 20, wire.OffsetOutOfRange, nil},
		{"negative", -1, 1 << 20, wire.OffsetOutOfRange, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := c.fetch("t", tc.offset, tc.max, 0)
			if wire.Code(got.ErrorCode) != tc.code || got.RecordBatches == nil {
				t.Fatalf("%+v", got)
			}
			if tc.code == wire.None && (got.HighWatermark != 9 || got.LastStableOffset != 9 || got.LogStartOffset != 0) {
				t.Errorf("%+v", got)
			}
			var bases []int64
			for rest := got.RecordBatches; len(rest) > 0; {
				b, next, err := batch.Next(rest)
				if err != nil || b.Check() != nil {
					t.Fatal(err, b.Check())
				}
				bases, rest = append(bases, b.BaseOffset()), next
			}
			if len(bases) != len(tc.bases) || (len(bases) > 0 && bases[0] != tc.bases[0]) {
				t.Errorf("batches %v, want %v", bases, tc.bases)
			}
		})
	}
	if got := c.fetch("unknown", 0, 100, 1000); got.ErrorCode != 3 {
		t.Errorf("unknown topic: %+v", got)
	}
}

func TestALogThatCantBeOpenedIsNotTakenForEmpty(t *testing.T) {
	var broken atomic.Bool
	r := &rig{t: t, mode: store.ModeOS, mem: fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
		if broken.Load() && (op == fs.OpOpen || op == fs.OpReadDir) && strings.Contains(name, "queues") {
			return syscall.EIO
		}
		return nil
	})}
	r.start()
	t.Cleanup(r.stop)
	r.topic("t", 1, nil)
	sent := makeBatch(func(h *batch.Header) { h.ProducerID, h.ProducerEpoch, h.BaseSequence = 9, 0, 0 }, "a", "b")
	if p := r.raw().produce("t", -1, sent); p.ErrorCode != 0 {
		t.Fatalf("%+v", p)
	}
	r.restart()
	broken.Store(true)
	c := r.raw()
	if got := c.fetch("t", 2, 1<<20, 0); wire.Code(got.ErrorCode) != wire.StorageError {
		t.Errorf("fetch: code %d, want %d: a consumer would begin elsewhere", got.ErrorCode, wire.StorageError)
	}
	for _, ask := range []int64{askEnd, askStart, 0} {
		if got := c.listOffset("t", ask); wire.Code(got.ErrorCode) != wire.StorageError {
			t.Errorf("offset for time %d: %+v", ask, got)
		}
	}
	if p := c.produce("t", -1, sent); wire.Code(p.ErrorCode) == wire.None {
		t.Errorf("produced to it: %+v", p)
	}
	broken.Store(false)
	if p := c.produce("t", -1, sent); p.ErrorCode != 0 || p.BaseOffset != 0 {
		t.Errorf("sent again: %+v, want the duplicate's offset 0", p)
	}
	if got := c.listOffset("t", askEnd); got.Offset != 2 {
		t.Errorf("ends at %d, want 2", got.Offset)
	}
}

// listOffset asks for one timestamp of partition 0.
func (c *raw) listOffset(topic string, ms int64) kmsg.ListOffsetsResponseTopicPartition {
	c.t.Helper()
	q := kmsg.NewPtrListOffsetsRequest()
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp = ms
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	c.send(q, 5)
	var res kmsg.ListOffsetsResponse
	c.receive(&res, 5)
	return res.Topics[0].Partitions[0]
}

func TestAFetchOfNothingDoesNotWait(t *testing.T) {
	r := newRig(t, nil)
	q := kmsg.NewPtrFetchRequest()
	q.MaxWaitMillis, q.MinBytes = forEver, 1
	c := r.raw()
	c.send(q, 11)
	var res kmsg.FetchResponse
	c.receive(&res, 11) // within the client's patience
}

func TestAPIVersions(t *testing.T) {
	r := newRig(t, nil)
	c := r.raw()
	q := kmsg.NewPtrApiVersionsRequest()
	q.ClientSoftwareName, q.ClientSoftwareVersion = "raw", "1.0"
	for version := int16(0); version <= 5; version++ {
		c.send(q, version)
		var res kmsg.ApiVersionsResponse
		c.receive(&res, version)
		if res.ErrorCode != 0 || len(res.ApiKeys) != len(wire.Supported) || res.ApiKeys[0].MinVersion != 0 {
			t.Errorf("version %d: %+v", version, res)
		}
	}
	var res kmsg.ApiVersionsResponse
	for about, want := range map[string]int16{"us": 0, "others": 129, "half": 42} {
		q.ClusterID, q.NodeID = kmsg.StringPtr(r.broker.ClusterID()), NodeID
		switch about {
		case "others":
			q.ClusterID = kmsg.StringPtr("another")
		case "half":
			q.NodeID = -1
		}
		c.send(q, 5)
		if c.receive(&res, 5); res.ErrorCode != want {
			t.Errorf("a client that takes us for %s: %+v", about, res)
		}
	}
	q.ClusterID, q.NodeID = nil, -1
	c.send(q, 6)
	c.receive(&res, 0)
	if res.ErrorCode != 35 || len(res.ApiKeys) != 1 || res.ApiKeys[0].ApiKey != 18 || res.ApiKeys[0].MaxVersion != 5 {
		t.Errorf("newer version: %+v", res)
	}
	q.ClientSoftwareName = "no spaces please"
	c.send(q, 3)
	if c.receive(&res, 3); res.ErrorCode != 42 {
		t.Errorf("odd name: %+v", res)
	}
}

// header is a frame of a request without a body.
func header(key, version int16, correlation int32) []byte {
	b := []byte{0, 0, 0, 10}
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	return append(binary.BigEndian.AppendUint32(b, uint32(correlation)), 0xff, 0xff)
}

// Every key and version, on one connection.
func TestWhatIsNotServedIsAnsweredAndTheConnectionGoesOn(t *testing.T) {
	r := newRig(t, nil)
	c := r.raw()
	said := 0
	for key := int16(0); key < 130; key++ {
		for version := int16(0); version < 25; version++ {
			if s := wire.Lookup(wire.Key(key)); key == 0 || s != nil && s.Serves(version) {
				continue
			}
			correlation := int32(key)<<16 | int32(version)
			c.write(header(key, version, correlation))
			got, body, err := c.frame()
			if err != nil || got != correlation {
				t.Fatalf("key %d version %d: correlation %d, %v", key, version, got, err)
			}
			req := kmsg.RequestForKey(key)
			if req == nil {
				if !bytes.Equal(body, []byte{0, 0, 0, 0, 0, 0, 35}) {
					t.Errorf("key %d version %d: %x", key, version, body)
				}
				continue
			}
			res := req.ResponseKind()
			res.SetVersion(min(version, req.MaxVersion()))
			if key == 18 {
				res.SetVersion(0)
			} else if res.IsFlexible() {
				body = body[1:]
			}
			if err := res.ReadFrom(body); err != nil {
				t.Errorf("key %d version %d: %v", key, version, err)
			}
			if codes := (map[wire.Code]bool{}); true {
				codesIn(reflect.ValueOf(res), codes)
				if codes[wire.UnsupportedVersion] {
					said++
				}
			}
		}
	}
	if said < 1000 {
		t.Errorf("%d answers say so", said)
	}
	q := kmsg.NewPtrMetadataRequest()
	c.send(q, 9)
	var res kmsg.MetadataResponse
	if c.receive(&res, 9); len(res.Brokers) != 1 {
		t.Errorf("the connection does not go on: %+v", res)
	}
}

func TestAProduceOfANewerVersionIsRefusedForEachPartition(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	newer := func(acks int16) []byte {
		req := produceRequest("t", 0, acks, makeBatch(nil, "x"))
		req.Topics[0].TopicID = r.idOf("t")
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
		req.SetVersion(13)
		b := formatter.AppendRequest(nil, req, 7)
		b[7] = 14
		return b
	}
	c := r.raw()
	c.write(newer(1))
	var res kmsg.ProduceResponse
	c.receive(&res, 13)
	if parts := res.Topics[0].Partitions; len(parts) != 2 || parts[0].ErrorCode != 35 || parts[1].ErrorCode != 35 {
		t.Errorf("%+v", res)
	}
	if got := c.produce("t", 1, makeBatch(nil, "y")); got.ErrorCode != 0 || got.BaseOffset != 0 {
		t.Errorf("the connection does not go on: %+v", got)
	}
	c.write(newer(0))
	c.closed("acks 0")
	c = r.raw()
	c.write(header(0, 14, 1))
	c.closed("one without a body")
}

func TestWhatHasNoAnswerClosesTheConnection(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxFrameBytes = 1 << 20 })
	for name, bytes := range map[string][]byte{
		"garbage":              []byte("\x00\x00\x00\x20 this is not a Kafka request at all"),
		"HTTP":                 []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"a key beyond all":     header(1000, 0, 1),
		"a negative key":       header(-1, 0, 1),
		"a negative version":   header(3, -1, 1),
		"a version beyond all": header(3, 100, 1),
		"cut transactions":     header(24, 0, 1),
		"negative size":        {0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"tiny size":            {0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0},
		"frame too large":      {0, 0x20, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0},
		"body cut in a frame":  append(header(3, 9, 1), 0),
	} {
		c := r.raw()
		c.write(bytes)
		c.closed(name)
	}
	c := r.raw()
	c.write([]byte{0, 0, 0, 100, 0}) // half a frame, and gone
	c.nc.Close()
	if err := r.client().Ping(testContext(t)); err != nil {
		t.Errorf("others noticed: %v", err)
	}
}

func TestHandshakeWithRawToken(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Users = usersWith(t, "joe", "secret") })
	for _, password := range []string{"secret", "wrong"} { // the first has nobody beside it
		c, ok := r.raw(), password == "secret"
		h := kmsg.NewPtrSASLHandshakeRequest()
		h.Mechanism = "PLAIN"
		c.send(h, 0)
		var res kmsg.SASLHandshakeResponse
		if c.receive(&res, 0); res.ErrorCode != 0 {
			t.Fatalf("%+v", res)
		}
		token := "\x00joe\x00" + password
		c.write(append([]byte{0, 0, 0, byte(len(token))}, token...))
		var size [4]byte
		if _, err := io.ReadFull(c.nc, size[:]); (err == nil) != ok || size != [4]byte{} {
			t.Fatalf("%s: %v %v", password, size, err)
		}
		if ok {
			r.listener.Bound(1)
			r.raw().closed("it is known who has logged in, and makes no room")
			r.listener.Bound(0)
			c.send(kmsg.NewPtrMetadataRequest(), 4)
			var md kmsg.MetadataResponse
			if c.receive(&md, 4); len(md.Brokers) != 1 {
				t.Errorf("%+v", md)
			}
		}
	}
	c := r.raw()
	h := kmsg.NewPtrSASLHandshakeRequest()
	h.Mechanism = "GSSAPI"
	c.send(h, 1)
	var res kmsg.SASLHandshakeResponse
	if c.receive(&res, 1); res.ErrorCode != 33 || len(res.SupportedMechanisms) != 3 {
		t.Errorf("%+v", res)
	}
	c.send(kmsg.NewPtrSASLAuthenticateRequest(), 1)
	var auth kmsg.SASLAuthenticateResponse
	if c.receive(&auth, 1); auth.ErrorCode != 34 {
		t.Errorf("%+v", auth)
	}
	c.send(kmsg.NewPtrMetadataRequest(), 4)
	c.closed("a request before the login")
	c = r.raw()
	c.write([]byte{0, 2, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0})
	c.closed("a large frame before the login")
}

func TestIdleConnectionIsClosed(t *testing.T) {
	const idle = 10 * time.Minute
	onAFakeClock(t, func(r *rig) { r.edit = func(o *Options) { o.IdleTimeout = idle } }, func(t *testing.T, r *rig) {
		c := r.raw()
		c.send(kmsg.NewPtrMetadataRequest(), 4)
		var md kmsg.MetadataResponse
		c.receive(&md, 4)
		began := time.Now()
		c.closed("idle")
		if took := time.Since(began); took < idle-idle/8 || took > idle+idle/8 {
			t.Errorf("it was closed after %v", took)
		}
	})
}
