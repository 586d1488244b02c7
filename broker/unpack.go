package broker

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
)

// errUnpackMemory says that a batch can't be unpacked for now.
var errUnpackMemory = errors.New("the memory for unpacked batches is in use; it is tried again later, or raise --request-memory")

// unpacked is the records of a compressed batch. Deliveries refer to raw alone, so
// its memory may stay longer than this.
type unpacked struct{ raw []byte }

// unpacker has the readers of a partition unpack a batch once: many consumers take
// short runs of a batch by turns, and a get takes one record. It keeps nothing in
// memory that no reader is in.
type unpacker struct {
	mu      sync.Mutex // held while a batch is unpacked: who waits for it mostly wants the same
	batches [guideBatches]struct {
		batchID
		records weak.Pointer[unpacked]
	}
	turn int // whose place the next batch takes
}

// unpack returns the records of a compressed batch.
func (p *Partition) unpack(b batch.Batch) (*unpacked, error) {
	a := p.active()
	x := a.unpacker.Load()
	if x == nil {
		a.unpacker.CompareAndSwap(nil, new(unpacker))
		x = a.unpacker.Load()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	id := idOfBatch(b)
	for i := range x.batches {
		if k := &x.batches[i]; k.batchID == id {
			if u := k.records.Value(); u != nil {
				return u, nil
			}
		}
	}
	raw, err := p.q.vhost.b.unpacking.unpack(b.Codec(), b.Records())
	if err != nil {
		return nil, fmt.Errorf("offset %d: %w", id.base, err)
	}
	u := &unpacked{raw}
	k := &x.batches[x.turn]
	k.batchID, k.records = id, weak.Make(u)
	x.turn = (x.turn + 1) % len(x.batches)
	return u, nil
}

// unpacking bounds the memory of unpacked batches. Ordinary ones are not counted:
// they go with their readers, of which there are no more than connections. A batch
// that grows beyond that is, for as long as anything refers to it; while the limit is
// reached there are no more of them.
type unpacking struct {
	slots chan struct{} // as many at a time as there are processors
	limit int64
	held  atomic.Int64
	swept atomic.Int64 // when the collector was last asked to look, Unix ns
}

func newUnpacking(limit int64) *unpacking {
	return &unpacking{slots: make(chan struct{}, runtime.GOMAXPROCS(0)), limit: limit}
}

func (x *unpacking) unpack(codec int, packed []byte) ([]byte, error) {
	x.slots <- struct{}{}
	defer func() { <-x.slots }()
	if x.held.Load() >= x.limit {
		raw, err := message.Unpack(nil, codec, packed, message.OrdinaryBytes)
		if errors.Is(err, message.ErrUnpacked) {
			x.sweep()
			err = errUnpackMemory
		}
		return raw, err
	}
	raw, err := message.Unpack(nil, codec, packed, message.MaxUnpackedBytes)
	if n := int64(cap(raw)); err == nil && n > message.OrdinaryBytes {
		x.held.Add(n)
		runtime.AddCleanup(&raw[0], func(n int64) { x.held.Add(-n) }, n)
	}
	return raw, err
}

// sweep has the collector find out what nobody refers to any more, once a second at
// most. Who tries again finds the memory then.
func (x *unpacking) sweep() {
	now := time.Now().UnixNano()
	if last := x.swept.Load(); now-last > int64(time.Second) && x.swept.CompareAndSwap(last, now) {
		runtime.GC()
	}
}

// scarce says that a reader that rests had better not keep a large batch: it would
// keep others from reading theirs.
func (x *unpacking) scarce() bool { return x.held.Load() > x.limit/2 }
