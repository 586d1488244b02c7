package netx

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
)

// A peer that reads slowly gets everything, once and in order, while patience lasts.
func TestAWriteGoesOnWhereItStoodStill(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		here, there := pipe(t)
		asked := 0
		w := NewWriter(here, 10*time.Second, func() bool { asked++; return true })
		sent := someBytes(1200)
		got := make(chan []byte)
		go func() {
			var all []byte
			for len(all) < 2*len(sent) {
				time.Sleep(time.Minute)
				b := make([]byte, 500)
				n, _ := there.Read(b)
				all = append(all, b[:n]...)
			}
			got <- all
		}()
		if err := w.Write(sent); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteVector([][]byte{sent[:100], sent[100:700], nil, sent[700:]}); err != nil {
			t.Fatal(err)
		}
		if all := <-got; !bytes.Equal(all, append(bytes.Clone(sent), sent...)) || asked < 4 || w.Bytes() != 2400 {
			t.Errorf("%d bytes, asked %d times, %d counted", len(all), asked, w.Bytes())
		}
	})
}

func TestAWriteEndsWhenPatienceDoes(t *testing.T) {
	for name, patience := range map[string]func() bool{"none": nil, "lost": func() bool { return false }} {
		t.Run(name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				here, _ := pipe(t)
				w := NewWriter(here, 10*time.Second, patience)
				began := time.Now()
				err := w.Write([]byte("x"))
				if waited := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || waited < 5*time.Second || waited > 10*time.Second {
					t.Errorf("%v after %v", err, waited)
				}
			})
		})
	}
}

func TestUntilEndsWritesOfThePatientToo(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		here, _ := pipe(t)
		w := NewWriter(here, 10*time.Second, func() bool { return true })
		go func() {
			time.Sleep(time.Minute)
			w.Until(time.Now().Add(time.Second))
		}()
		began := time.Now()
		if err := w.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > 62*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestLargeVectorsArriveInOrder(t *testing.T) {
	accepted, client := pair(t)
	sent := someBytes(5<<20 + 3)
	var pieces [][]byte
	for at, n := 0, 1; at < len(sent); n = n*7%2_000_003 + 1 {
		end := min(at+n, len(sent))
		pieces = append(pieces, sent[at:end])
		at = end
	}
	w := NewWriter(accepted, time.Minute, nil)
	written := make(chan error, 1)
	go func() {
		err := w.WriteVector(pieces)
		_ = accepted.Close()
		written <- err
	}()
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes arrived, or others than the %d that were sent: %v", len(got), len(sent), err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	for _, p := range w.memory[:cap(w.memory)] {
		if p != nil {
			t.Fatal("the writer still holds bytes that are not its own")
		}
	}
}

func TestWritingAllocatesNothing(t *testing.T) {
	c := &fakeConn{took: make([]byte, 0, 1<<20)}
	w := NewWriter(c, time.Minute, nil)
	b := make([]byte, 100)
	pieces := make([][]byte, 3)
	n := testing.AllocsPerRun(100, func() {
		c.took = c.took[:0]
		for i := range pieces {
			pieces[i] = b
		}
		if err := errors.Join(w.Write(b), w.WriteVector(pieces)); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAFailedVectorIsNotHeld(t *testing.T) {
	here, there := pipe(t)
	there.Close()
	w := NewWriter(here, time.Minute, nil)
	if err := w.WriteVector([][]byte{[]byte("a"), []byte("b")}); err == nil {
		t.Fatal("written")
	}
	for _, p := range w.memory[:cap(w.memory)] {
		if p != nil {
			t.Errorf("the writer still holds %q", p)
		}
	}
}

// A plain write tells at once, not when half of its time is over.
func TestAWriteTellsAtOnceThatItStandsStill(t *testing.T) {
	here, there := pair(t)
	stalled := make(chan struct{}, 1)
	w := NewWriter(here, time.Hour, nil)
	w.OnStall(func() { stalled <- struct{}{} })
	done := make(chan error, 1)
	go func() { done <- w.Write(someBytes(32 << 20)) }()
	select {
	case <-stalled:
	case <-time.After(30 * time.Second):
		t.Error("nobody was told")
	}
	there.Close()
	<-done
}

// A write tells that it has to wait for the peer, once, and the peer gets it all in order. A vectored one tells
// beforehand when the one before it took long.
func TestAWriteThatStandsStillTells(t *testing.T) {
	for name, write := range map[string]func(w *Writer, b []byte) error{
		"plain": func(w *Writer, b []byte) error {
			for ; len(b) > 0; b = b[64<<10:] {
				if err := w.Write(b[:64<<10]); err != nil {
					return err
				}
			}
			return nil
		},
		"vectored": func(w *Writer, b []byte) error { return w.WriteVector([][]byte{b[:1000], b[1000:]}) },
	} {
		t.Run(name, func(t *testing.T) {
			here, there := pair(t)
			stalled := make(chan struct{}, 10_000)
			w := NewWriter(here, 20*time.Millisecond, func() bool { return true })
			w.OnStall(func() { stalled <- struct{}{} })
			sent := someBytes(32 << 20) // more than sockets hold
			done := make(chan error, 1)
			go func() { done <- write(w, sent) }()
			select {
			case <-stalled:
			case <-time.After(30 * time.Second):
				t.Fatal("the write waits, and nobody was told")
			}
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(there, got); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("what was read is not what was written (%v)", err)
			}
			if err := <-done; err != nil || w.Bytes() != uint64(len(sent)) {
				t.Errorf("%v, %d bytes counted", err, w.Bytes())
			}
			for len(stalled) > 0 {
				<-stalled
			}
			// There is room: a vector is warned by the one before alone, which stood still only if it took long.
			w.timeout = time.Minute
			if name == "vectored" && !w.slow {
				t.Error("a vector that waited for its reader was not slow")
			}
			for calls, slow := 0, true; slow; calls++ {
				want := 0
				if slow = w.slow; slow {
					want = 1
				}
				if err := w.WriteVector([][]byte{{1}}); err != nil || len(stalled) != want || calls > 1000 {
					t.Fatalf("small vector %d: %v, told %d times, want %d", calls, err, len(stalled), want)
				}
				for len(stalled) > 0 {
					<-stalled
				}
			}
		})
	}
}
