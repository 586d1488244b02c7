package netx

import "sync"

// GatherBytes is how much is gathered, as a rule, before it is written.
const GatherBytes = 128 << 10

var gatherPool sync.Pool // of *[]byte with GatherBytes and some room

// Gathered is what is written with one call as a rule: bytes, and between them pieces that are
// written from where they lie. The zero value is ready. One goroutine uses it.
type Gathered struct {
	// Buf is what was gathered, but for the pieces. Append to it, after Begin.
	Buf     []byte
	cuts    []cut
	inPlace int // bytes in cuts
	vec     [][]byte
}

// cut is a piece that is written behind Buf[:at].
type cut struct {
	at    int
	piece []byte
}

// Begin sees to it that there is a buffer.
func (g *Gathered) Begin() {
	if g.Buf != nil {
		return
	}
	if b, ok := gatherPool.Get().(*[]byte); ok {
		g.Buf = (*b)[:0]
		return
	}
	g.Buf = make([]byte, 0, GatherBytes+GatherBytes/4)
}

// Len is how many bytes were gathered.
func (g *Gathered) Len() int { return len(g.Buf) + g.inPlace }

// Lend puts a piece behind what was gathered, without copying it. It must hold until it was written.
func (g *Gathered) Lend(piece []byte) {
	g.cuts = append(g.cuts, cut{at: len(g.Buf), piece: piece})
	g.inPlace += len(piece)
}

// WriteTo writes what was gathered. After it, Free.
func (g *Gathered) WriteTo(w *Writer) error {
	if len(g.cuts) == 0 {
		return w.Write(g.Buf)
	}
	g.vec = g.vec[:0]
	from := 0
	for _, cut := range g.cuts {
		g.vec = append(g.vec, g.Buf[from:cut.at], cut.piece)
		from = cut.at
	}
	g.vec = append(g.vec, g.Buf[from:])
	err := w.WriteVector(g.vec)
	clear(g.vec)
	clear(g.cuts)
	g.cuts, g.inPlace = g.cuts[:0], 0
	return err
}

// Free gives the buffer back: an idle connection holds none.
func (g *Gathered) Free() {
	if b := g.Buf; cap(b) <= 2*GatherBytes {
		gatherPool.Put(&b)
	}
	g.Buf = nil
}
