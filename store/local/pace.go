package local

import (
	"context"
	"time"
)

// pace slows a long piece of work down to half of its speed, so that the disk has
// time for others in between: freeing the blocks of a large file keeps the file
// system's journal busy, behind which their flushes wait.
type pace struct {
	ctx   context.Context
	began time.Time // of the last piece
}

// maxPause bounds one pause.
const maxPause = time.Second

func newPace(ctx context.Context) *pace { return &pace{ctx: ctx} }

// next waits for as long as the last piece took. Its error says that the work has to end.
func (p *pace) next() error {
	if took := time.Since(p.began); !p.began.IsZero() && took > time.Millisecond {
		select {
		case <-p.ctx.Done():
		case <-time.After(min(took, maxPause)):
		}
	}
	p.began = time.Now()
	return p.ctx.Err()
}
