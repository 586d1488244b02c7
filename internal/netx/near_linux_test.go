package netx

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sendBuffer is what the kernel would keep for the peer.
func sendBuffer(t *testing.T, nc net.Conn) (n int) {
	t.Helper()
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return n
}

// A peer on this machine has little waiting for it in the kernel once answers are long, and gets all of them.
func TestWhatWaitsForANearPeerStaysSmall(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	w := NewWriter(nc, time.Minute, nil)
	before := sendBuffer(t, nc)
	const pieces = 9
	if err := w.WriteVector([][]byte{make([]byte, 100)}); err != nil || sendBuffer(t, nc) != before {
		t.Fatalf("a short answer changed the buffer from %d to %d: %v", before, sendBuffer(t, nc), err)
	}
	read := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, peer)
		read <- n
	}()
	var long [][]byte
	for range pieces {
		long = append(long, make([]byte, 1<<20))
	}
	if err := w.WriteVector(long); err != nil {
		t.Fatal(err)
	}
	if n := sendBuffer(t, nc); n > 2*nearBuffer {
		t.Errorf("%d bytes may wait in the kernel", n)
	}
	nc.Close()
	if n := <-read; n != 100+pieces<<20 {
		t.Errorf("%d bytes came", n)
	}
}
