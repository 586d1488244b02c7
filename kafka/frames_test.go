package kafka

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// anySize lets a frame of any key be as large as it wants.
func anySize(wire.Key) int { return maxFrameBytes }

// frameHead is the beginning of a Produce frame of n bytes.
func frameHead(n int) []byte {
	head := make([]byte, wire.HeadBytes)
	binary.BigEndian.PutUint32(head, uint32(n))
	return head
}

func TestALargeFrameIsChargedAsItArrives(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		b := budget.New(budget.Options{Bytes: 100 << 20, Free: -1})
		here, there := net.Pipe()
		defer there.Close()
		f := newFrames(here, b.Open(), time.Minute)
		go func() { _, _ = f.next(anySize) }()
		_, _ = there.Write(frameHead(90 << 20))
		synctest.Wait()
		if used := b.Stats().Used; used > trustBytes {
			t.Errorf("%d bytes are taken because the size field claims so", used)
		}
		_, _ = there.Write(make([]byte, 5<<20))
		synctest.Wait()
		if used := b.Stats().Used; used < 5<<20 || used > 12<<20 {
			t.Errorf("%d bytes are taken for 5 MiB that came", used)
		}
		here.Close()
		synctest.Wait()
		f.release()
		if used := b.Stats().Used; used != 0 {
			t.Errorf("%d bytes are kept for a client that is gone", used)
		}
	})
}

func TestALargeFrameWaitsForMemoryAndThenGivesUp(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		b := budget.New(budget.Options{Bytes: 10 << 20, Free: -1, Reserve: -1, Patience: 5 * time.Second})
		holder := b.Open()
		_ = holder.Try(5 << 20)
		other := b.Open()
		_ = other.Try(5 << 20)
		here, there := net.Pipe()
		defer there.Close()
		go func() { _, _ = there.Write(append(frameHead(1<<20), make([]byte, 1<<20+4-wire.HeadBytes)...)) }()
		f := newFrames(here, b.Open(), time.Minute)
		time.AfterFunc(3*time.Second, func() { other.Give(5 << 20) })
		if frame, err := f.next(anySize); err != nil || len(frame) != 1<<20 {
			t.Errorf("a frame of %d bytes, error %v", len(frame), err)
		}
		f.releaseBig()
		_ = other.Try(5 << 20)
		go func() { _, _ = there.Write(frameHead(1 << 20)) }()
		if _, err := f.next(anySize); !errors.Is(err, budget.ErrFull) {
			t.Errorf("without memory: %v", err)
		}
	})
}

func TestAClientThatStopsInsideAFrameIsLetGo(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes []byte
	}{
		{"inside the size", []byte{0, 0}},
		{"inside the head", frameHead(100)[:7]},
		{"behind the head", frameHead(100)},
		{"inside a frame of a few KiB", append(frameHead(8<<10), make([]byte, 4<<10)...)},
		{"inside a large frame", append(frameHead(1<<20), make([]byte, 300<<10)...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				defer here.Close()
				defer there.Close()
				f := newFrames(here, budget.New(budget.Options{}).Open(), time.Hour)
				go func() { _, _ = there.Write(c.bytes) }()
				began := time.Now()
				_, err := f.next(anySize)
				if waited := time.Since(began); err == nil || waited > frameTimeout+frameTimeout/8+time.Second {
					t.Errorf("after %v: %v", waited, err)
				}
			})
		})
	}
}

func TestALargeFrameThatHardlyComesIsNotWaitedFor(t *testing.T) {
	for _, c := range []struct {
		name  string
		piece int // bytes a second
		taken bool
	}{{"at a slow line's pace", 64 << 10, true}, {"by the byte", 1, false}} {
		t.Run(c.name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				const n = 8 << 20
				var sending sync.WaitGroup
				sending.Go(func() {
					_, _ = there.Write(append(frameHead(n), make([]byte, 300<<10)...))
					for sent := 300<<10 + wire.HeadBytes - 4; sent < n; sent += c.piece {
						time.Sleep(time.Second)
						if _, err := there.Write(make([]byte, min(c.piece, n-sent))); err != nil {
							return
						}
					}
				})
				b := budget.New(budget.Options{})
				f := newFrames(here, b.Open(), time.Hour)
				began := time.Now()
				_, err := f.next(anySize)
				if (err == nil) != c.taken || time.Since(began) > 4*time.Minute {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
				f.release()
				here.Close()
				sending.Wait()
				if used := b.Stats().Used; used != 0 {
					t.Errorf("%d bytes are kept", used)
				}
			})
		})
	}
}

func TestAFrameTooShortForAHeaderIsNotWaitedFor(t *testing.T) {
	for _, size := range []uint32{0, 3, 7, 1 << 31} {
		fakeclock.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()
			defer there.Close()
			f := newFrames(here, budget.New(budget.Options{}).Open(), time.Hour)
			go func() { _, _ = there.Write(binary.BigEndian.AppendUint32(nil, size)) }() // and nothing more
			began := time.Now()
			if _, err := f.next(anySize); !errors.Is(err, wire.ErrMalformed) || time.Since(began) > 0 {
				t.Errorf("%d bytes: %v after %v", size, err, time.Since(began))
			}
		})
	}
}
