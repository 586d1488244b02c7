package kafka

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/store"
)

// An answer that is on its way stays what it was, whatever becomes of its topic: the bytes lie in segments that others
// would like to have, and leave as their reader takes them.
func TestAFetchInFlightIsWholeWhateverBecomesOfItsTopic(t *testing.T) {
	for name, change := range map[string]func(r *rig) error{
		"truncated": func(r *rig) error {
			_, err := r.session().Truncate(r.partition(part{"t", 0}), -1)
			return err
		},
		"deleted": func(r *rig) error {
			_, err := r.session().DeleteQueue("t", false, false)
			return err
		},
		"read by one who goes away": nil,
	} {
		t.Run(name, func(t *testing.T) {
			b := budget.New(budget.Options{})
			r := newRigMode(t, store.ModeOS, func(o *Options) { o.Budget = b })
			r.topic("t", 1, nil)
			r.topic("other", 1, nil)
			const batches, size = 60, 100_000
			value := func(i int) string { return string(bytes.Repeat([]byte{byte(i)}, size)) }
			for i := range batches {
				r.appendTo(part{"t", 0}, value(i))
			}
			c := r.raw()
			if err := c.nc.(*net.TCPConn).SetReadBuffer(32 << 10); err != nil {
				t.Fatal(err)
			}
			q := longFetch("t", 0)
			q.MaxBytes, q.Topics[0].Partitions[0].PartitionMaxBytes = 16<<20, 16<<20
			c.send(q, 11)
			var head [4]byte
			if _, err := io.ReadFull(c.nc, head[:]); err != nil {
				t.Fatal(err)
			}
			n := int(binary.BigEndian.Uint32(head[:]))
			if used := b.Stats().Used; n < 4<<20 || used < int64(n)/2 {
				t.Fatalf("an answer of %d bytes, counted with %d", n, used)
			}
			if change == nil {
				c.nc.Close()
				eventually(t, "all is let go of", func() bool { return b.Stats().Used == 0 })
				return
			}
			if err := change(r); err != nil {
				t.Fatal(err)
			}
			for i := range batches { // into what has become free
				r.appendTo(part{"other", 0}, value(200-i))
			}
			answer := make([]byte, n)
			_ = c.nc.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.ReadFull(c.nc, answer); err != nil {
				t.Fatal(err)
			}
			var res kmsg.FetchResponse
			res.SetVersion(11)
			if err := res.ReadFrom(answer[4:]); err != nil {
				t.Fatal(err)
			}
			p := res.Topics[0].Partitions[0]
			i := 0
			for data := p.RecordBatches; len(data) > 0; i++ {
				one, rest, err := batch.Next(data)
				if err != nil || one.Check() != nil || one.BaseOffset() != int64(i) || !bytes.Contains(one.Records(), []byte(value(i))) {
					t.Fatalf("batch %d is not what was stored: offset %d, %v", i, one.BaseOffset(), err)
				}
				data = rest
			}
			if i < 40 || wire.Code(p.ErrorCode) != wire.None {
				t.Errorf("%d batches, code %d", i, p.ErrorCode)
			}
		})
	}
}

// Many large answers leave by reference to the pages of their files, which are with the kernel for longer than anybody here knows of. So
// nothing may be written into such a file, though its segment is gone.
func TestAFetchThatWasWrittenAndNotReadStaysWhatItWas(t *testing.T) {
	const size, from = 100_000, 33 // in a segment of the size that those behind it have
	value := func(i int) string { return string(bytes.Repeat([]byte{byte(i)}, size)) }
	r := newRigWith(t, store.ModeOS, func(r *rig) { r.mem, r.dir = fs.Real(), t.TempDir() })
	r.topic("t", 1, nil)
	for i := range 50 {
		r.appendTo(part{"t", 0}, value(i))
	}
	c := r.raw()
	if err := c.nc.(*net.TCPConn).SetReadBuffer(1 << 20); err != nil {
		t.Fatal(err)
	}
	r.server.largeFetches.Store(fewFetches) // as if there were others
	q := longFetch("t", 0)
	q.Topics[0].Partitions[0].FetchOffset = from
	q.MaxBytes, q.Topics[0].Partitions[0].PartitionMaxBytes = 3*size+10_000, 3*size+10_000
	c.send(q, 11)
	var head [4]byte
	if _, err := io.ReadFull(c.nc, head[:]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the answer is written", func() bool { return r.server.largeFetches.Load() == fewFetches })
	if _, err := r.session().Truncate(r.partition(part{"t", 0}), -1); err != nil {
		t.Fatal(err)
	}
	for i := range 60 { // into what has become free
		r.appendTo(part{"t", 0}, value(200-i))
	}
	answer := make([]byte, binary.BigEndian.Uint32(head[:]))
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c.nc, answer); err != nil {
		t.Fatal(err)
	}
	var res kmsg.FetchResponse
	res.SetVersion(11)
	if err := res.ReadFrom(answer[4:]); err != nil {
		t.Fatal(err)
	}
	i := from
	for data := res.Topics[0].Partitions[0].RecordBatches; len(data) > 0; i++ {
		one, rest, err := batch.Next(data)
		if err != nil || one.Check() != nil || one.BaseOffset() != int64(i) || !bytes.Contains(one.Records(), []byte(value(i))) {
			t.Fatalf("batch %d is not what was stored: offset %d, %v", i, one.BaseOffset(), err)
		}
		data = rest
	}
	if i < from+2 { // the segment may end
		t.Errorf("%d batches came", i-from)
	}
}
