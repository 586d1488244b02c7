package kafkaload

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// batches makes n numbered batches with their offsets.
func batches(t testing.TB, n, valueBytes, batchBytes int) (wire []byte, perBatch int) {
	tpl, err := NewTemplate(valueBytes, batchBytes, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		tpl.Number(uint32(i), 0)
		binary.BigEndian.PutUint64(tpl.Bytes, uint64(i*tpl.Records))
		wire = append(wire, tpl.Bytes...)
	}
	return wire, tpl.Records
}

// fetched is an answer with its length.
func fetched(code int16, records []byte) []byte {
	resp := kmsg.NewPtrFetchResponse()
	resp.SetVersion(versionFetch)
	topic := kmsg.NewFetchResponseTopic()
	topic.Topic = "topic"
	p := kmsg.NewFetchResponseTopicPartition()
	p.ErrorCode, p.RecordBatches = code, records
	topic.Partitions = append(topic.Partitions, p)
	resp.Topics = append(resp.Topics, topic)
	b := resp.AppendTo(make([]byte, 8)) // length and correlation id
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// readAnswerOnly has a reader take one answer that comes in pieces.
func readAnswerOnly(answer []byte, reading Reading, pieces func(io.Reader) io.Reader) (*fetching, error) {
	var mu sync.Mutex
	f := &fetching{load: &Load{}, reading: &reading, mu: &mu, in: newStream(pieces(bytes.NewReader(answer)))}
	size, err := f.answerHead()
	if err == nil {
		err = f.batchesIn(size)
	}
	if err == nil {
		_, err = f.in.skip(f.in.left, 0, false)
	}
	return f, err
}

func whole(r io.Reader) io.Reader { return r }

func TestFetchTakesAnswersHoweverTheyArrive(t *testing.T) {
	wire, per := batches(t, 5, 100, 9000)
	answer := fetched(0, wire)
	for name, pieces := range map[string]func(io.Reader) io.Reader{"whole": whole, "byte by byte": iotest.OneByteReader, "halves": iotest.HalfReader} {
		for _, checksums := range []bool{false, true} {
			f, err := readAnswerOnly(answer, Reading{RecordsPerBatch: per, Checksums: checksums}, pieces)
			if err != nil || f.at != int64(5*per) || f.batches != 5 || f.bytes != int64(len(wire)) || f.in.left != 0 {
				t.Fatalf("%s, checksums %v: offset %d, %d batches, %d bytes, %d left, %v", name, checksums, f.at, f.batches, f.bytes, f.in.left, err)
			}
		}
	}
}

func TestFetchTakesBatchesLargerThanItsBuffer(t *testing.T) {
	wire, per := batches(t, 3, 1024, 3*streamBytes)
	values := 0
	for _, r := range []Reading{
		{RecordsPerBatch: per, Checksums: true},
		{Value: func(_ int, v []byte, _ uint32) error { values++; return nil }},
	} {
		if f, err := readAnswerOnly(fetched(0, wire), r, whole); err != nil || f.at != int64(3*per) {
			t.Fatalf("offset %d, %v", f.at, err)
		}
	}
	if values != 3*per {
		t.Fatalf("%d values of %d", values, 3*per)
	}
}

func TestFetchBeginsWhereTheTopicDoes(t *testing.T) {
	wire, per := batches(t, 3, 100, 4096)
	one := len(wire) / 3
	l := &Load{Address: serveAnswers(t, fetched(0, wire[one:])), Topic: "topic", Partitions: 1, FetchBytes: 1 << 20}
	r := Reading{RecordsPerBatch: per, Checksums: true, Starts: []int64{int64(per)}, Ends: []int64{int64(3 * per)}}
	if f, err := l.Fetch(context.Background(), r); err != nil || f.Records != int64(2*per) {
		t.Fatalf("%d records of %d, %v", f.Records, 2*per, err)
	}
	r.Starts = nil
	if _, err := l.Fetch(context.Background(), r); err == nil {
		t.Fatal("a missing beginning was not missed")
	}
}

func TestFetchLeavesABatchCutShortForTheNextAnswer(t *testing.T) {
	wire, per := batches(t, 3, 100, 4096)
	one := len(wire) / 3
	for _, cut := range []int{1, 60, 61, 62, one - 1} {
		f, err := readAnswerOnly(fetched(0, wire[:2*one+cut]), Reading{RecordsPerBatch: per, Checksums: true}, whole)
		if err != nil || f.at != int64(2*per) || f.in.left != 0 {
			t.Fatalf("cut at %d: offset %d, %d left, %v", cut, f.at, f.in.left, err)
		}
	}
}

func TestFetchFindsWhatIsWrong(t *testing.T) {
	good, per := batches(t, 3, 100, 4096)
	one := len(good) / 3
	changed := func(change func(b []byte)) []byte {
		b := bytes.Clone(good)
		change(b)
		return b
	}
	errValue := errors.New("value refused")
	for _, c := range []struct {
		name, want string
		wire       []byte
		reading    Reading
	}{
		{"a batch is missing", "offset", append(bytes.Clone(good[:one]), good[2*one:]...), Reading{}},
		{"a batch comes twice", "offset", append(bytes.Clone(good[:one]), good...), Reading{}},
		{"another batch in its place", "batch number 2", changed(func(b []byte) {
			copy(b[one+8:2*one], good[2*one+8:])
		}), Reading{RecordsPerBatch: per}},
		{"a byte has changed", "checksum", changed(func(b []byte) { b[one+200]++ }), Reading{RecordsPerBatch: per, Checksums: true}},
		{"a byte has changed, values", "checksum", changed(func(b []byte) { b[one+200]++ }), Reading{Value: func(int, []byte, uint32) error { return nil }}},
		{"a value is wrong", errValue.Error(), good, Reading{Value: func(int, []byte, uint32) error { return errValue }}},
		{"other records in a batch", "all had", good, Reading{RecordsPerBatch: per + 1}},
		{"magic of another format", "magic 1", changed(func(b []byte) { b[posMagic] = 1 }), Reading{}},
		{"a length below the header's", "batch of 12 bytes", changed(func(b []byte) { binary.BigEndian.PutUint32(b[posLength:], 0) }), Reading{}},
		{"compressed", "compressed", changed(func(b []byte) { b[22] = 3 }), Reading{Value: func(int, []byte, uint32) error { return nil }}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readAnswerOnly(fetched(0, c.wire), c.reading, whole)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error is %v, it should say %q", err, c.want)
			}
		})
	}
	if _, err := readAnswerOnly(fetched(3, nil), Reading{}, whole); err == nil || !strings.Contains(err.Error(), "error code 3") {
		t.Fatalf("an error code gave %v", err)
	}
}

// A partition that never gives its last records must end the load, not hang it.
func TestFetchGivesUpOnRecordsThatAreNotThere(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go func() {
		in := make([]byte, 4096)
		for {
			if _, err := server.Read(in); err != nil {
				return
			}
			if _, err := server.Write(fetched(0, nil)); err != nil {
				return
			}
		}
	}()
	var mu sync.Mutex
	f := &fetching{load: &Load{Topic: "topic", FetchBytes: 1 << 20}, reading: &Reading{}, mu: &mu, ends: &atomic.Pointer[[]int64]{}, conn: client, in: newStream(client)}
	f.ends.Store(&[]int64{5})
	if err := f.run(time.Now()); err == nil || !strings.Contains(err.Error(), "5 of 5 records are not there") {
		t.Fatalf("got %v", err)
	}
}

// serveAnswers answers every connection's Fetches with the given answers in turn.
func serveAnswers(t *testing.T, answers ...[]byte) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := make([]byte, 4096)
				for i := 0; ; i++ {
					if _, err := c.Read(in); err != nil {
						return
					}
					if _, err := c.Write(answers[min(i, len(answers)-1)]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestFollowersReadWhatIsWrittenMeanwhile(t *testing.T) {
	wire, per := batches(t, 3, 100, 4096)
	one := len(wire) / 3
	nothing := fetched(0, nil)
	answers := [][]byte{nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing}
	answers = append(answers, fetched(0, wire[:one]), nothing, fetched(0, wire[one:]), nothing)
	l := &Load{Address: serveAnswers(t, answers...), Topic: "topic", Partitions: 1, FetchBytes: 1 << 20}
	// More empty answers than a reader bears once it knows the end: it must not know it yet.
	asked := make(chan struct{})
	write := func(ctx context.Context, _ time.Time) ([]int64, error) {
		<-asked
		return []int64{int64(3 * per)}, nil
	}
	var values atomic.Int64
	reading := Reading{Readers: 3, Value: func(_ int, _ []byte, _ uint32) error {
		if values.Add(1) == int64(3*3*per) {
			close(asked)
		}
		return nil
	}}
	f, err := l.Follow(context.Background(), reading, write)
	if err != nil || f.Records != int64(3*3*per) {
		t.Fatalf("%d records of %d, %v", f.Records, 3*3*per, err)
	}
	reading = Reading{RecordsPerBatch: per}
	f, err = l.Follow(context.Background(), reading, func(context.Context, time.Time) ([]int64, error) {
		return []int64{int64(3 * per)}, nil
	})
	if err == nil {
		t.Fatal("a reader that knows the end bore any number of empty answers")
	}
	if _, err = l.Follow(context.Background(), reading, func(context.Context, time.Time) ([]int64, error) { return nil, io.ErrUnexpectedEOF }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("the writer's failure became %v", err)
	}
}

func TestProduceToAClosedPortIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	load := &Load{Address: address, Partitions: 1, ValueBytes: 16, BatchBytes: 2048, Acks: 1, InFlight: 1}
	if _, err := load.Producers(context.Background()); err == nil {
		t.Fatal("it was none")
	}
}

func FuzzFetchAnswer(f *testing.F) {
	wire, per := batches(f, 2, 20, 2048)
	f.Add(fetched(0, wire))
	f.Add(fetched(3, nil))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = readAnswerOnly(b, Reading{RecordsPerBatch: per, Checksums: true}, whole) // must not panic
		_, _ = readAnswerOnly(b, Reading{Value: func(int, []byte, uint32) error { return nil }}, whole)
	})
}
