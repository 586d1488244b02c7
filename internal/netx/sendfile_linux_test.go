package netx

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fileOf has bytes behind a first one in a file.
func fileOf(t *testing.T, b []byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteAt(b, 1); err != nil {
		t.Fatal(err)
	}
	return f
}

// placed is where the bytes of fileOf lie; asked counts how often it was.
func placed(f *os.File, b []byte, asked *int) Place {
	return func(piece []byte) (fd uintptr, at int64, ok bool) {
		*asked++
		if i := cap(b) - cap(piece); i >= 0 && i < len(b) && &b[i] == &piece[0] {
			return f.Fd(), int64(i) + 1, true
		}
		return 0, 0, false
	}
}

// TestPiecesOfAFileArriveInOrder has what is in memory differ from the file, so that it shows whence a piece came.
func TestPiecesOfAFileArriveInOrder(t *testing.T) {
	accepted, client := pair(t)
	content := someBytes(4 << 20)
	f := fileOf(t, content)
	elsewhere := bytes.Repeat([]byte{'m'}, fileBytes)
	pieces := [][]byte{
		[]byte("head"), content[:fileBytes], content[fileBytes:][:1<<20], []byte("between"), content[3<<20:][:100], elsewhere,
		content[2<<20:][:fileBytes+1], []byte("end"),
	}
	sent := bytes.Join(pieces, nil)
	asked := 0
	w := NewWriter(accepted, time.Minute, nil)
	written := make(chan error, 1)
	go func() { written <- w.WritePlaced(pieces, placed(f, content, &asked)) }()
	got := make([]byte, len(sent))
	_ = client.SetReadDeadline(time.Now().Add(30 * time.Second)) // nothing of it stays in the kernel
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("what arrived is not what was sent (%v)", err)
	}
	if err := <-written; err != nil || w.Bytes() != uint64(len(sent)) || asked != 4 {
		t.Errorf("%v, %d bytes of %d are counted, %d pieces were looked for", err, w.Bytes(), len(sent), asked)
	}
	corked := -1
	if err := accepted.(*conn).raw.Control(func(fd uintptr) { corked, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK) }); err != nil || corked != 0 {
		t.Errorf("corked is %d behind it (%v)", corked, err)
	}
}

// TestPiecesOfAFileAreSentFromThere changes the bytes in memory.
func TestPiecesOfAFileAreSentFromThere(t *testing.T) {
	accepted, client := pair(t)
	content := someBytes(fileBytes)
	f := fileOf(t, content)
	w := NewWriter(accepted, time.Minute, nil)
	written := make(chan error, 1)
	go func() {
		other := make([]byte, len(content))
		written <- w.WritePlaced([][]byte{other}, func([]byte) (uintptr, int64, bool) { return f.Fd(), 1, true })
	}()
	got := make([]byte, len(content))
	_ = client.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, content) {
		t.Errorf("it was copied (%v)", err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func TestAFileThatIsShorterThanItWasIsAFault(t *testing.T) {
	accepted, client := pair(t)
	go func() { _, _ = io.Copy(io.Discard, client) }()
	content := someBytes(2 * fileBytes)
	f := fileOf(t, content[:fileBytes])
	asked := 0
	err := NewWriter(accepted, time.Minute, nil).WritePlaced([][]byte{content}, placed(f, content, &asked))
	if !errors.Is(err, syscall.EFAULT) {
		t.Errorf("%v", err)
	}
}

func TestAPeerThatReadsNothingOfAFileIsNotWaitedForForEver(t *testing.T) {
	accepted, _ := pair(t)
	content := someBytes(32 << 20)
	f := fileOf(t, content)
	asked, patient := 0, 0
	w := NewWriter(accepted, 20*time.Millisecond, func() bool { patient++; return patient < 3 })
	err := w.WritePlaced([][]byte{content}, placed(f, content, &asked))
	if !errors.Is(err, os.ErrDeadlineExceeded) || patient != 3 {
		t.Errorf("%v, asked %d times for patience", err, patient)
	}
	var o *net.OpError
	if !errors.As(err, &o) || o.Op != "sendfile" {
		t.Errorf("%v does not say what failed", err)
	}
	if n := w.Bytes(); n == 0 || n >= uint64(len(content)) {
		t.Errorf("%d bytes are counted", n)
	}
}
