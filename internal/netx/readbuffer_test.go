package netx

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
)

// fakeConn gives what it is told to and counts deadlines.
type fakeConn struct {
	net.Conn
	give      []byte
	most      int // bytes in one call; 0 is all
	took      []byte
	deadlines int
}

func (c *fakeConn) Read(b []byte) (int, error) {
	if c.most > 0 {
		b = b[:min(len(b), c.most)]
	}
	n := copy(b, c.give)
	if c.give = c.give[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (c *fakeConn) Write(b []byte) (int, error) {
	c.took = append(c.took, b...)
	return len(b), nil
}
func (c *fakeConn) SetReadDeadline(time.Time) error  { c.deadlines++; return nil }
func (c *fakeConn) SetWriteDeadline(time.Time) error { c.deadlines++; return nil }

// pipe is both ends of a connection in memory, whose deadlines follow the fake clock.
func pipe(t *testing.T) (here, there net.Conn) {
	here, there = net.Pipe()
	t.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}

func TestAReaderGrowsWithWhatComes(t *testing.T) {
	sent := someBytes(2 << 20)
	c := &fakeConn{give: sent}
	r := NewReadBuffer(c, MaxReadBytes)
	defer r.Free()
	var got []byte
	for {
		n, err := r.Fill(time.Minute)
		got = append(got, r.Unread()...)
		r.Advance(len(r.Unread()))
		if err != nil {
			break
		}
		if n == 0 {
			t.Fatal("nothing read")
		}
	}
	if !bytes.Equal(got, sent) || len(r.buf) != MaxReadBytes || r.Bytes() != uint64(len(sent)) {
		t.Fatalf("%d bytes, buffer of %d, %d counted", len(got), len(r.buf), r.Bytes())
	}
	c.give = someBytes(200)
	c.most = 1
	for range 200 {
		if _, err := r.Fill(time.Minute); err != nil {
			t.Fatal(err)
		}
		r.Advance(len(r.Unread()))
	}
	if len(r.buf) > 64<<10 {
		t.Errorf("%d bytes are held for reads of one", len(r.buf))
	}
}

// A buffer grows to the smallest class that holds what is asked for, and never above the largest.
func TestABufferGrowsAsFarAsIsAsked(t *testing.T) {
	for _, c := range []struct{ asked, most int }{
		{0, readClasses[0]},
		{readClasses[0], readClasses[0]},
		{readClasses[0] + 1, readClasses[1]},
		{MaxReadBytes, MaxReadBytes},
		{MaxReadBytes + 1, MaxReadBytes},
		{math.MaxInt, MaxReadBytes},
	} {
		r := NewReadBuffer(&fakeConn{give: someBytes(20 * MaxReadBytes)}, c.asked)
		for range 4 * len(readClasses) {
			if _, err := r.Fill(time.Minute); err != nil {
				t.Fatal(err)
			}
			r.Advance(len(r.Unread()))
		}
		if len(r.buf) != c.most {
			t.Errorf("%d asked for: a buffer of %d, want %d", c.asked, len(r.buf), c.most)
		}
		r.Free()
	}
}

func TestAMessageStaysWholeWhileTheBufferMoves(t *testing.T) {
	sent := someBytes(100_000)
	c := &fakeConn{give: sent, most: 700}
	r := NewReadBuffer(c, 64<<10)
	defer r.Free()
	at := 0
	for n := 1; at+n < len(sent); n = n*5%40_009 + 1 {
		r.Want(n)
		for len(r.Unread()) < n {
			if _, err := r.Fill(0); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(r.Unread()[:n], sent[at:at+n]) {
			t.Fatalf("%d bytes at %d differ", n, at)
		}
		r.Advance(n)
		at += n
	}
	// What is longer than the read buffer may hold is read around it.
	rest := make([]byte, 0, len(sent))
	for at+len(rest) < len(sent) {
		n, err := r.ReadInto(rest[len(rest):cap(rest)], 0)
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[:len(rest)+n]
	}
	if !bytes.Equal(rest, sent[at:]) {
		t.Error("what was read around the buffer differs")
	}
	c.give, c.most = someBytes(1<<20), 0
	for {
		if _, err := r.Fill(0); err != nil {
			if !errors.Is(err, io.ErrShortBuffer) || len(r.Unread()) != 64<<10 {
				t.Errorf("%v with %d bytes unread", err, len(r.Unread()))
			}
			return
		}
	}
}

func TestASilentPeerIsWaitedForAsLongAsItMay(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		here, there := pipe(t)
		r := NewReadBuffer(here, MaxReadBytes)
		go there.Write(make([]byte, 3000)) // so that it holds more than the smallest buffer
		for len(r.Unread()) < 3000 {
			if _, err := r.Fill(time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		r.Advance(3000)
		began := time.Now()
		n, err := r.Fill(time.Minute)
		if waited := time.Since(began); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || waited < time.Minute || waited > 70*time.Second {
			t.Errorf("%d bytes, %v after %v", n, err, waited)
		}
		if len(r.buf) != readClasses[0] {
			t.Errorf("holds %d bytes after a minute of silence", len(r.buf))
		}
		r.Free()
	})
}

// Whoever was busy while a peer's time ran out has not listened: what came is taken.
func TestBytesThatCameWhileNobodyReadAreNotTooLate(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		here, there := pipe(t)
		r := NewReadBuffer(here, MaxReadBytes)
		go func() {
			there.Write([]byte("a"))
			there.Write([]byte("b"))
		}()
		if _, err := r.Fill(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n, err := r.Fill(10 * time.Second); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if got := string(r.Unread()); got != "ab" {
			t.Error(got)
		}
		if !r.Now().Equal(time.Now()) || r.NowMs() != r.Seen().UnixMilli() {
			t.Error("the clock was not taken")
		}
		r.Free()
	})
}

func TestUntilEndsReadsWhateverTheyWaitFor(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		here, _ := pipe(t)
		r := NewReadBuffer(here, MaxReadBytes)
		go func() {
			time.Sleep(time.Second)
			r.Until(time.Now().Add(time.Second))
		}()
		for range 2 { // the second finds it over
			began := time.Now()
			if _, err := r.Fill(0); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > 2*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		}
		r.Until(time.Time{})
		began := time.Now()
		if _, err := r.Fill(8 * time.Second); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) < 6*time.Second {
			t.Errorf("lifted, and yet %v after %v", err, time.Since(began))
		}
		r.Free()
	})
}

func TestDeadlinesAreSetSeldom(t *testing.T) {
	c := &fakeConn{give: someBytes(1 << 20), most: 500}
	r := NewReadBuffer(c, MaxReadBytes)
	defer r.Free()
	for {
		if _, err := r.Fill(time.Minute); err != nil {
			break
		}
		r.Advance(len(r.Unread()) / 2)
		r.Advance(len(r.Unread()))
	}
	if c.deadlines > 10 {
		t.Errorf("%d deadlines for 2,000 reads", c.deadlines)
	}
	w := NewWriter(c, time.Minute, nil)
	for range 1000 {
		if err := w.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if c.deadlines > 12 || w.Bytes() != 1000 {
		t.Errorf("%d deadlines, %d bytes counted", c.deadlines, w.Bytes())
	}
}

// Until may come at any moment, also while the read buffer sets a deadline of its own.
func TestUntilIsNotUndoneByAReadThatBegins(t *testing.T) {
	var r *ReadBuffer
	var last time.Time
	end := time.Now().Add(time.Hour)
	set := func(at time.Time) error {
		if last.IsZero() {
			last = at
			r.Until(end)
		}
		last = at
		return nil
	}
	r = NewReadBuffer(&fakeConn{give: []byte("x")}, 0)
	r.deadline.set = set
	if _, err := r.Fill(time.Minute); err != nil {
		t.Fatal(err)
	}
	if !last.Equal(end) {
		t.Errorf("reads end at %v, want %v", last, end)
	}
}

// What a freed ReadBuffer has is nobody's buffer, and must not become another ReadBuffer's.
func TestAReaderThatWasFreedGivesNothingToOthers(t *testing.T) {
	for range 16 {
		r := NewReadBuffer(&fakeConn{give: someBytes(64 << 10)}, MaxReadBytes)
		r.Want(8 << 10)
		r.Free()
		r.Free()
		if n, err := r.Fill(time.Minute); n == 0 || err != nil {
			t.Fatalf("read %d bytes: %v", n, err)
		}
		r.Advance(len(r.Unread()))
		r.Free()
		r.Want(8 << 10) // has it change buffers without one
		r.Free()
		for class := range readClasses {
			if b := takeReadBuffer(class); len(b) != readClasses[class] {
				t.Fatalf("the next ReadBuffer gets %d bytes of class %d", len(b), class)
			}
		}
	}
}
