package server

import (
	"fmt"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/leveret-mq/leveret/config"
)

// memoryUsed is the memory that the process holds of its own, in bytes: what the Go runtime
// has mapped and not given back. Pages of the logs are the page cache's, and go when others
// want them.
func memoryUsed() int64 {
	read := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(read)
	return int64(read[0].Value.Uint64() - read[1].Value.Uint64())
}

// memory is what /metrics shows.
func (s *Server) memory() (used, watermark int64) { return memoryUsed(), s.watermark.Load() }

// setWatermark sets the memory at which publishers wait, and the collector to it.
func (s *Server) setWatermark(c *config.Config) {
	watermark := c.MemoryHighWatermark.Of(memoryBytes())
	s.watermark.Store(watermark)
	tuneMemory(watermark)
}

// memoryAlarm is the check that the broker makes.
func (s *Server) memoryAlarm() func() error {
	g := &memoryGuard{watermark: s.watermark.Load, used: memoryUsed, free: debug.FreeOSMemory, now: time.Now}
	return g.check
}

const (
	// calmBelow is the part of the watermark below which an alarm is over, so that it
	// does not come and go with every check.
	calmBelow = 0.95
	// freeEvery is how often garbage is given back while there is an alarm: nobody
	// allocates then, so the collector would not run by itself.
	freeEvery = 10 * time.Second
)

// memoryGuard compares what is used with the watermark. It belongs to one goroutine.
type memoryGuard struct {
	watermark func() int64 // 0 is none
	used      func() int64
	free      func() // collects, and gives back to the system what can be
	now       func() time.Time

	raised bool
	freed  time.Time
}

// check fails when more is used than should be, garbage apart.
func (g *memoryGuard) check() error {
	watermark := g.watermark()
	if watermark == 0 {
		g.raised = false
		return nil
	}
	limit := watermark
	if g.raised {
		limit = int64(calmBelow * float64(limit))
	}
	used := g.used()
	if now := g.now(); used > limit && now.Sub(g.freed) >= freeEvery {
		g.free()
		used, g.freed = g.used(), now
	}
	if g.raised = used > limit; !g.raised {
		return nil
	}
	return fmt.Errorf("low on memory: the broker uses %d MiB, above its watermark of %d MiB", used>>20, watermark>>20)
}
