package broker

import (
	"slices"
	"sync"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
)

// guide remembers where records stand in the batches that a partition's readers
// were in last. Many consumers of a queue take short runs of a batch by turns, and
// only that of the first begins where its own reader stopped: without a guide each
// would walk the batch from its start.
type guide struct {
	mu      sync.Mutex // guards the following
	batches [guideBatches]guided
	turn    int // whose place the next batch takes
}

const (
	guideBatches = 4    // consumers are seldom spread over more
	guideEvery   = 8    // records between two marks, at least
	guideMarks   = 1024 // of one batch; then every other one goes
)

// guided are marks in one batch.
type guided struct {
	batchID
	every message.Offset
	marks []mark // by offset
}

// mark says that the record at a position, in the records' bytes, is the first
// whose offset may be next or more.
type mark struct {
	next     message.Offset
	position int
}

// batchID tells a batch from any other, and from what it was before it was compacted.
type batchID struct {
	base message.Offset
	size int
	crc  uint32
}

func idOfBatch(b batch.Batch) batchID {
	return batchID{message.Offset(b.BaseOffset()), len(b), b.CRC()}
}

func (g *guide) find(id batchID) *guided {
	for i := range g.batches {
		if b := &g.batches[i]; b.batchID == id {
			return b
		}
	}
	return nil
}

// before returns the last mark of a batch that is not behind an offset, or its start.
func (g *guide) before(id batchID, next message.Offset) mark {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b := g.find(id); b != nil {
		if i := b.index(next); i > 0 {
			return b.marks[i-1]
		}
	}
	return mark{next: id.base}
}

// index is that of the first mark behind an offset.
func (b *guided) index(next message.Offset) int {
	i, _ := slices.BinarySearchFunc(b.marks, next+1, func(m mark, o message.Offset) int { return int(m.next - o) })
	return i
}

// note adds a mark, if there is none close before or behind it.
func (g *guide) note(id batchID, m mark) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.find(id)
	if b == nil {
		b = &g.batches[g.turn]
		g.turn = (g.turn + 1) % guideBatches
		b.batchID, b.every, b.marks = id, guideEvery, b.marks[:0]
	}
	i := b.index(m.next)
	if m.next-b.from(i-1) < b.every || i < len(b.marks) && b.marks[i].next-m.next < b.every {
		return
	}
	b.marks = slices.Insert(b.marks, i, m)
	if len(b.marks) > guideMarks {
		b.thin()
	}
}

// from is where the mark of an index is, and for the one before the first the start.
func (b *guided) from(i int) message.Offset {
	if i < 0 {
		return b.base
	}
	return b.marks[i].next
}

// thin lets every other mark go.
func (b *guided) thin() {
	kept := b.marks[:0]
	for i := 1; i < len(b.marks); i += 2 {
		kept = append(kept, b.marks[i])
	}
	b.marks = kept
	b.every *= 2
}
