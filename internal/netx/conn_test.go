package netx

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// pair is an accepted connection, as a handler gets it, and its client's end.
func pair(t *testing.T) (accepted, client net.Conn) {
	t.Helper()
	l := quiet(t, Options{Name: "test"})
	got, finish := make(chan net.Conn), make(chan struct{})
	go func() {
		_ = l.Serve(func(c net.Conn) {
			got <- c
			<-finish
		})
	}()
	t.Cleanup(func() { close(finish) })
	client = dial(t, l)
	accepted = <-got
	_ = accepted.SetDeadline(time.Now().Add(time.Minute))
	return accepted, client
}

// someBytes differ from place to place, so that a piece lost or doubled shows.
func someBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16*31)
	}
	return b
}

func TestLargeWritesArriveWholeHoweverTheClientReads(t *testing.T) {
	accepted, client := pair(t)
	sent := someBytes(9<<20 + 5)
	wrote := make(chan error, 1)
	go func() {
		n, err := accepted.Write(sent)
		if err == nil && n != len(sent) {
			err = io.ErrShortWrite
		}
		wrote <- errors.Join(err, accepted.Close())
	}()
	var got bytes.Buffer
	for size := 1; ; size = size*3%100_003 + 1 {
		if _, err := io.CopyN(&got, client, int64(size)); err != nil {
			break
		}
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), sent) {
		t.Fatalf("%d bytes arrived, or others than the %d that were sent", got.Len(), len(sent))
	}
}

func TestVectoredWritesArriveInOrder(t *testing.T) {
	accepted, client := pair(t)
	sent := someBytes(3 << 20)
	var pieces net.Buffers
	for at := 0; at < len(sent); at += 100_000 {
		pieces = append(pieces, sent[at:min(at+100_000, len(sent))], nil)
	}
	go func() {
		_, _ = pieces.WriteTo(accepted)
		_ = accepted.Close()
	}()
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes arrived, or others than the %d that were sent: %v", len(got), len(sent), err)
	}
}

func TestReadsTakeWhatIsThereAndThenTheEnd(t *testing.T) {
	accepted, client := pair(t)
	sent := someBytes(1 << 20)
	go func() {
		_, _ = client.Write(sent)
		_ = client.Close()
	}()
	var got []byte
	for b := make([]byte, 300<<10); ; {
		n, err := accepted.Read(b)
		got = append(got, b[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil || n == 0 {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	if !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes arrived, or others than the %d that were sent", len(got), len(sent))
	}
	if n, err := accepted.Read(nil); n != 0 || err != nil {
		t.Fatalf("a read of nothing: %d, %v", n, err)
	}
}

func TestDeadlinesEndReadsAndWrites(t *testing.T) {
	accepted, client := pair(t)
	past := time.Now().Add(20 * time.Millisecond)
	_ = accepted.SetDeadline(past)
	if _, err := accepted.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	sent := someBytes(32 << 20) // more than the socket's buffers hold
	n, err := accepted.Write(sent)
	if !errors.Is(err, os.ErrDeadlineExceeded) || n != 0 {
		t.Errorf("write behind the deadline: %d bytes, %v", n, err)
	}
	for wait := 50 * time.Millisecond; n == 0; wait *= 2 { // it is over before it begins, where nobody gets his turn
		_ = accepted.SetDeadline(time.Now().Add(wait))
		n, err = accepted.Write(sent)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == len(sent) {
		t.Fatalf("write to a client that does not read: %d bytes, %v", n, err)
	}
	var e *net.OpError
	if !errors.As(err, &e) || e.Op != "write" || !e.Timeout() {
		t.Errorf("%v is not worded as a timeout of package net", err)
	}
	// It goes on where it stopped: what was told as written was, and no more.
	_ = accepted.SetDeadline(time.Now().Add(time.Minute))
	go func() {
		_, _ = accepted.Write(sent[n:])
		_ = accepted.Close()
	}()
	if got, err := io.ReadAll(client); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes arrived, or others than the %d that were sent: %v", len(got), len(sent), err)
	}
}

func TestCloseEndsAReadThatWaits(t *testing.T) {
	accepted, _ := pair(t)
	ended := make(chan error, 1)
	go func() {
		_, err := accepted.Read(make([]byte, 1))
		ended <- err
	}()
	_ = accepted.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if _, err := accepted.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write: %v", err)
	}
}

func TestACutConnectionIsAnError(t *testing.T) {
	accepted, client := pair(t)
	if _, err := accepted.Write([]byte("x")); err != nil { // unread, so that closing resets
		t.Fatal(err)
	}
	_ = client.(*net.TCPConn).SetLinger(0)
	_ = client.Close()
	n, err := accepted.Read(make([]byte, 1))
	var e *net.OpError
	if n != 0 || !errors.As(err, &e) || e.Op != "read" {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := accepted.Write([]byte("y")); err == nil {
		t.Error("written")
	}
}

// Reads and writes run once per buffer, by the thousand a second.
func TestReadsAndWritesDoNotAllocate(t *testing.T) {
	accepted, client := pair(t)
	b, back := someBytes(1000), make([]byte, 1000)
	n := testing.AllocsPerRun(100, func() {
		_, err := accepted.Write(b)
		if err == nil {
			_, err = io.ReadFull(client, back)
		}
		if err == nil {
			_, err = client.Write(back)
		}
		if err == nil {
			_, err = io.ReadFull(accepted, back)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
