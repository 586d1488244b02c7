package kafka

import (
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/store"
)

// sink is a socket whose writes go nowhere.
type sink struct{ net.Conn }

func (sink) Write(b []byte) (int, error)      { return len(b), nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }
func (sink) SetReadDeadline(time.Time) error  { return nil }
func (sink) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (sink) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (sink) Close() error                     { return nil }

// direct is a connection of r without a socket, to call handlers on.
func (r *rig) direct(t testing.TB) *conn {
	nc := sink{}
	c := r.server.newConn(nc)
	c.entry = r.server.clients.Connect(nc, c)
	if err := c.enter(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// framed is a request as it comes behind its size field.
func framed(req kmsg.Request, version int16) []byte {
	req.SetVersion(version)
	return formatter.AppendRequest(nil, req, 1)[4:]
}

// permissive has a rig ask for everything, as a broker does that runs.
func permissive(r *rig) { r.policy = func(broker.Request) error { return nil } }

func TestProduceStaysWithinItsAllocations(t *testing.T) {
	r := newRigWith(t, store.ModeOS, permissive)
	r.topic("t", 1, nil)
	c := r.direct(t)
	frame := framed(produceRequest("t", 0, -1, makeBatch(nil, "some value")), 9)
	c.frames.Touch()
	n := alloc.Least(1+poolSpill, 500, func() {
		if err := c.serve(frame); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1+poolSpill {
		t.Errorf("%v allocations for a Produce request, at most 1 is allowed", n)
	}
}

// fetchFrame asks for what one partition of a topic holds from an offset on.
func fetchFrame(name string, offset int64, maxBytes int32) []byte {
	q := kmsg.NewPtrFetchRequest()
	q.MaxBytes = maxBytes
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = name
	part := kmsg.NewFetchRequestTopicPartition()
	part.FetchOffset, part.PartitionMaxBytes = offset, maxBytes
	topic.Partitions = append(topic.Partitions, part)
	q.Topics = append(q.Topics, topic)
	return framed(q, 12)
}

// BenchmarkProduce is a request in, stored and answered, without a socket; the topic is
// bounded, so that its segments are recycled.
func BenchmarkProduce(b *testing.B) {
	for _, n := range []int{1, 64, 500} {
		b.Run(fmt.Sprintf("%dx1KiB", n), func(b *testing.B) {
			r := newRigMode(b, store.ModeOS, nil)
			r.topic("t", 1, map[string]string{"retention.bytes": "67108864", "segment.bytes": "16777216"})
			c := r.direct(b)
			values := slices.Repeat([]string{string(make([]byte, 1024))}, n)
			frame := framed(produceRequest("t", 0, 1, makeBatch(nil, values...)), 9)
			c.frames.Touch()
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if err := c.serve(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFetch is a request answered with stored bytes, without a socket.
func BenchmarkFetch(b *testing.B) {
	for _, size := range []int32{1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			r := newRigMode(b, store.ModeOS, nil)
			r.topic("t", 1, nil)
			raw := r.raw()
			values := slices.Repeat([]string{string(make([]byte, 1024))}, 15)
			for range 128 {
				raw.produce("t", 1, makeBatch(nil, values...))
			}
			c := r.direct(b)
			frame := fetchFrame("t", 15, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := c.serve(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestFetchStaysWithinItsAllocations(t *testing.T) {
	r := newRigWith(t, store.ModeOS, permissive)
	r.topic("t", 1, nil)
	r.raw().produce("t", 1, makeBatch(nil, "some value"))
	c := r.direct(t)
	frame := fetchFrame("t", 0, 1<<20)
	n := alloc.Least(3+poolSpill, 500, func() {
		if err := c.serve(frame); err != nil {
			t.Fatal(err)
		}
	})
	if n > 3+poolSpill {
		t.Errorf("%v allocations for a Fetch request, at most 3 are allowed", n)
	}
}

func BenchmarkParseAndCheck16KiB(b *testing.B) {
	frames := make([]string, 15)
	for i := range frames {
		frames[i] = string(make([]byte, 1024))
	}
	frame := framed(produceRequest("t", 0, 1, makeBatch(nil, frames...)), 9)
	var q wire.ProduceRequest
	set, a := testSettings(), &arrival{now: time.Now(), version: 9}
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		h, body, err := wire.ParseHeader(frame)
		if err != nil || q.Parse(h.Version, body) != nil {
			b.Fatal(err)
		}
		if _, code, _ := a.check(q.Partitions[0].Records, set); code != wire.None {
			b.Fatal(code)
		}
	}
}

func TestFramesAreReadInEverySplit(t *testing.T) {
	var stream []byte
	var want []int
	for _, n := range []int{8, 100, 600, readBytes - 4, readBytes, 200_000, 3 << 20, 9} {
		body := make([]byte, n)
		body[1] = byte(wire.Produce)
		body[n-1] = byte(n)
		stream = append(stream, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		stream = append(stream, body...)
		want = append(want, n)
	}
	for _, piece := range []int{1 << 30, 70_000, 513, 4097} {
		here, there := net.Pipe()
		go func() {
			for rest := stream; len(rest) > 0; {
				n, err := there.Write(rest[:min(piece, len(rest))])
				if err != nil {
					return
				}
				rest = rest[n:]
			}
			there.Close()
		}()
		f := newFrames(here, budget.New(budget.Options{}).Open(), time.Minute)
		for i, n := range want {
			got, err := f.next(func(wire.Key) int { return wire.MaxFrameBytes })
			if err != nil || len(got) != n || got[n-1] != byte(n) {
				t.Fatalf("pieces of %d, frame %d: %d bytes, %v", piece, i, len(got), err)
			}
		}
		if _, err := f.next(func(wire.Key) int { return 100 }); err != io.EOF {
			t.Errorf("pieces of %d: the end is %v", piece, err)
		}
		f.release()
	}
}

func TestFrameThatStopsHalfwayIsNotAllocatedWhole(t *testing.T) {
	here, there := net.Pipe()
	go func() {
		there.Write([]byte{0x06, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0})
		there.Close()
	}()
	f := newFrames(here, budget.New(budget.Options{}).Open(), time.Minute)
	if _, err := f.next(func(wire.Key) int { return 200 << 20 }); err == nil {
		t.Fatal("half a frame was handed out")
	}
	if f.big == nil || len(*f.big) > trustBytes {
		t.Errorf("a frame's claim reserved more than %d bytes", trustBytes)
	}
	f.release()
}
