package netx

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
)

// ownCertificate is a certificate for 127.0.0.1, made once. The first who asks may have a clock of its own, those behind it
// have others: it holds at all times.
var ownCertificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func serverTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{ownCertificate()}, DynamicRecordSizingDisabled: true}
}

// trusting is a client that looks at no certificate.
func trusting(version uint16) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
}

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// securePair is an accepted connection with TLS, as a handler gets it, and its client's end.
func securePair(t *testing.T, version uint16) (accepted net.Conn, client *tls.Conn) {
	t.Helper()
	l := quiet(t, Options{Name: "test", TLS: serverTLS})
	got, finish := make(chan net.Conn), make(chan struct{})
	go func() {
		_ = l.Serve(func(c net.Conn) {
			got <- c
			<-finish
		})
	}()
	t.Cleanup(func() { close(finish) })
	client = tls.Client(dial(t, l), trusting(version))
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	accepted = <-got
	_ = accepted.SetDeadline(time.Now().Add(time.Minute))
	return accepted, client
}

func TestEverythingArrivesOnceAndInOrderWithTLS(t *testing.T) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			accepted, client := securePair(t, version)
			sent := someBytes(5<<20 + 3)
			// to the client: by Write, by a Writer, and by its vectors
			written := make(chan error, 1)
			w := NewWriter(accepted, time.Minute, nil)
			go func() {
				n, err := accepted.Write(sent[:1<<20])
				if err == nil && n != 1<<20 {
					err = io.ErrShortWrite
				}
				err = errors.Join(err, w.Write(sent[1<<20:2<<20]), w.Write(nil))
				var pieces [][]byte
				for at, n := 2<<20, 1; at < len(sent); n = n*7%200_003 + 1 {
					end := min(at+n, len(sent))
					pieces = append(pieces, sent[at:end], nil)
					at = end
				}
				written <- errors.Join(err, w.WriteVector(pieces), accepted.(*secure).CloseWrite())
			}()
			got, err := io.ReadAll(client)
			if err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("%d bytes arrived, or others than the %d that were sent: %v", len(got), len(sent), err)
			}
			if err := <-written; err != nil {
				t.Fatal(err)
			}
			if want := uint64(len(sent) - 1<<20); w.Bytes() != want {
				t.Errorf("%d bytes are counted, want %d", w.Bytes(), want)
			}
			// and from the client, which still may send
			go func() {
				_, _ = client.Write(sent)
				_ = client.Close()
			}()
			var back bytes.Buffer
			for size := 1; ; size = size*3%100_003 + 1 {
				if _, err = io.CopyN(&back, accepted, int64(size)); err != nil {
					break
				}
			}
			if !errors.Is(err, io.EOF) || !bytes.Equal(back.Bytes(), sent) {
				t.Fatalf("%d bytes came back, or others than the %d that were sent: %v", back.Len(), len(sent), err)
			}
		})
	}
}

// gathering is a client's socket that writes many records by one call.
type gathering struct {
	net.Conn
	out *bufio.Writer
}

func (g *gathering) Write(b []byte) (int, error) { return g.out.Write(b) }

func TestAReadTakesManyRecords(t *testing.T) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			here, there := pipe(t)
			g := &gathering{there, bufio.NewWriterSize(there, fewRecordsBytes)}
			client := tls.Client(g, trusting(version))
			greeted := make(chan *secure, 1)
			go func() { greeted <- secureOver(t, here) }()
			if err := handshakeBy(client, g); err != nil {
				t.Fatal(err)
			}
			accepted := <-greeted
			for range 10 {
				if _, err := client.Write(someBytes(1000)); err != nil {
					t.Fatal(err)
				}
			}
			flushed := make(chan error, 1)
			go func() { flushed <- g.out.Flush() }()
			// A buffer with room for some records only leaves the rest of one for the next read.
			b := make([]byte, 20_000)
			for _, c := range []struct{ room, want int }{{3500, 3500}, {20_000, 6500}} {
				if n, err := accepted.Read(b[:c.room]); n != c.want || err != nil {
					t.Errorf("a read of %d took %d bytes, want %d: %v", c.room, n, c.want, err)
				}
			}
			if accepted.recs.lent != nil {
				t.Error("a connection on which nothing is unread holds a buffer")
			}
			_ = accepted.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			if n, err := accepted.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a read with nothing there: %d, %v", n, err)
			}
			_ = accepted.SetReadDeadline(time.Time{})
			if accepted.recs.lent != nil {
				t.Error("it holds one after a read for which nothing came")
			}
			if err := <-flushed; err != nil {
				t.Fatal(err)
			}
			go func() {
				_, _ = client.Write(someBytes(10))
				_ = g.out.Flush()
			}()
			if n, err := accepted.Read(b); n != 10 || err != nil {
				t.Errorf("after a read that was too early: %d, %v", n, err)
			}
		})
	}
}

// handshakeBy has the client's flights written.
func handshakeBy(client *tls.Conn, g *gathering) error {
	done := make(chan error, 1)
	g.out = bufio.NewWriterSize(g.Conn, 1) // at once
	go func() { done <- client.Handshake() }()
	err := <-done
	g.out = bufio.NewWriterSize(g.Conn, fewRecordsBytes)
	return err
}

// secureOver makes the server's side of TLS over any connection.
func secureOver(t *testing.T, here net.Conn) *secure {
	t.Helper()
	l := &Listener{tls: serverTLS, conns: map[net.Conn]bool{}}
	c, err := l.greet(here, NewHandshakes().begin(here))
	if err != nil {
		t.Error(err)
		return nil
	}
	return c.(*secure)
}

// What crypto/tls can't do: a write that timed out goes on where it stood still.
func TestAWriteWithTLSGoesOnWhereItStoodStill(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		here, there := pipe(t)
		greeted := make(chan *secure, 1)
		go func() { greeted <- secureOver(t, here) }()
		client := tls.Client(there, trusting(tls.VersionTLS13))
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		asked, stalled := 0, 0
		w := NewWriter(<-greeted, 10*time.Second, func() bool { asked++; return true })
		w.OnStall(func() { stalled++ })
		sent := someBytes(200_000)
		got := make(chan []byte)
		go func() {
			all := make([]byte, 0, 2*len(sent))
			for len(all) < 2*len(sent) {
				time.Sleep(time.Minute)
				b := make([]byte, 50_000)
				n, err := client.Read(b)
				if all = append(all, b[:n]...); err != nil {
					t.Error(err)
					break
				}
			}
			got <- all
		}()
		if err := w.Write(sent); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteVector([][]byte{sent[:100], sent[100:70_000], nil, sent[70_000:]}); err != nil {
			t.Fatal(err)
		}
		if all := <-got; !bytes.Equal(all, append(bytes.Clone(sent), sent...)) || asked < 4 || stalled < 4 || w.Bytes() != 400_000 {
			t.Errorf("%d bytes, asked %d times, told %d times, %d counted", len(all), asked, stalled, w.Bytes())
		}
	})
}

// A page that can't be read costs this connection and nobody else.
func TestAFaultWhileEncryptingIsAnErrorOfTheWrite(t *testing.T) {
	file, err := fs.Real().Open(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Truncate(64 * fs.PageBytes); err != nil {
		t.Fatal(err)
	}
	m, err := file.Map(64 * fs.PageBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = m.Close(), file.Close() })
	if err := file.Truncate(20 * fs.PageBytes); err != nil {
		t.Fatal(err)
	}
	accepted, client := securePair(t, tls.VersionTLS13)
	w := NewWriter(accepted, time.Minute, nil)
	if err := w.WriteVector([][]byte{someBytes(1000), m.Bytes()}); !errors.Is(err, syscall.EFAULT) {
		t.Fatalf("want EFAULT: %v", err)
	}
	_ = accepted.Close()
	got, err := io.ReadAll(client)
	if err != nil || len(got) > 1000+20*fs.PageBytes {
		t.Errorf("the client has %d bytes of what could be read: %v", len(got), err)
	}
}

func TestTheEndIsSaidInTLSToo(t *testing.T) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			for what, end := range map[string]func(*secure) error{"Close": (*secure).Close, "CloseWrite": (*secure).CloseWrite} {
				accepted, client := securePair(t, version)
				if err := end(accepted.(*secure)); err != nil {
					t.Fatal(err)
				}
				raw, err := io.ReadAll(client.NetConn())
				if err != nil || len(raw) < recordHeadBytes || raw[0] == 22 {
					t.Errorf("%s: the client got % x, %v", what, raw, err)
				}
				if err := end(accepted.(*secure)); what == "Close" && !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s once more: %v", what, err)
				}
			}
		})
	}
}

// Whoever closes a connection is not held up by a write that waits for its client.
func TestCloseWaitsForNoWriteThatIsUnderWay(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		here, there := pipe(t)
		greeted := make(chan *secure, 1)
		go func() { greeted <- secureOver(t, here) }()
		if err := tls.Client(there, trusting(tls.VersionTLS13)).Handshake(); err != nil {
			t.Fatal(err)
		}
		accepted, began := <-greeted, time.Now()
		ended := make(chan error, 1)
		go func() { ended <- NewWriter(accepted, time.Minute, nil).Write(make([]byte, 1<<20)) }()
		synctest.Wait()
		_ = accepted.Close()
		if err := <-ended; !errors.Is(err, io.ErrClosedPipe) || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestPartingLetsTheClientReadTheLastWordWithTLS(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Minute} {
		accepted, client := securePair(t, tls.VersionTLS13)
		if _, err := client.Write(make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.WriteString(accepted, "bye")
			Part(t.Context(), accepted, wait)
		}()
		if _, err := client.Write(make([]byte, 4<<20)); err != nil {
			t.Fatalf("while it still sends: %v", err)
		}
		got := make([]byte, 3)
		if _, err := io.ReadFull(client, got); err != nil || string(got) != "bye" {
			t.Fatalf("got %q, %v", got, err)
		}
		if wait == 0 {
			if _, err := client.Read(got); err != io.EOF {
				t.Errorf("behind the last word: %v", err)
			}
		}
		_ = client.Close()
		<-done
	}
}

func TestWhatWasSealedByOthersGoesWithTheNextWriteWithinBounds(t *testing.T) {
	r := &records{}
	for n := 0; ; n++ {
		if _, err := r.Write(make([]byte, 1000)); err != nil {
			if !errors.Is(err, errUnwritten) || n != maxSealedBytes/1000 {
				t.Errorf("%v after %d", err, n)
			}
			break
		}
	}
	if b := r.take(); len(*b) != maxSealedBytes/1000*1000 {
		t.Errorf("%d bytes", len(*b))
	}
	if r.take() != nil {
		t.Error("taken twice")
	}
}

func TestAStreamThatEndsWithinARecordIsCutShort(t *testing.T) {
	accepted, client := securePair(t, tls.VersionTLS13)
	raw := client.NetConn()
	if _, err := raw.Write([]byte{23, 3, 3, 1, 0, 9, 9}); err != nil {
		t.Fatal(err)
	}
	_ = raw.(*net.TCPConn).CloseWrite()
	if _, err := accepted.Read(make([]byte, 10)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func TestWritingWithTLSAllocatesNothing(t *testing.T) {
	accepted, client := securePair(t, tls.VersionTLS13)
	go func() { _, _ = io.Copy(io.Discard, client.NetConn()) }()
	w := NewWriter(accepted, time.Minute, nil)
	b := make([]byte, 100_000)
	pieces := make([][]byte, 3)
	n := alloc.Least(poolSpill, 100, func() {
		for i := range pieces {
			pieces[i] = b
		}
		if err := errors.Join(w.Write(b), w.WriteVector(pieces)); err != nil {
			t.Fatal(err)
		}
	})
	if n > poolSpill {
		t.Errorf("%v allocations", n)
	}
}

// A record is handed out by itself, and what has not come yet is waited for only by who wants to wait.
func TestRecordsAreHandedOutOneByOne(t *testing.T) {
	here, there := pipe(t)
	r := &records{inner: here}
	go func() {
		_, _ = there.Write([]byte{23, 3, 3, 0, 2, 'a', 'b', 23, 3, 3, 0, 1, 'c', 23, 3, 3, 0, 4, 'd'})
		_, _ = there.Write([]byte("efg"))
	}()
	b := make([]byte, 100)
	read := func(room int, want string) {
		t.Helper()
		if n, err := r.Read(b[:room]); err != nil || string(b[:n]) != want {
			t.Errorf("%q, %v; want %q", b[:n], err, want)
		}
	}
	read(3, "\x17\x03\x03")
	if r.whole() {
		t.Error("one that was begun is whole")
	}
	read(100, "\x00\x02ab")
	if !r.whole() {
		t.Error("the second is not whole")
	}
	r.there = true
	read(100, "\x17\x03\x03\x00\x01c")
	if r.whole() {
		t.Error("the third is whole")
	}
	read(100, "\x17\x03\x03\x00\x04d")
	if n, err := r.Read(b); n != 0 || !errors.Is(err, errNotThere) {
		t.Errorf("%d, %v", n, err)
	}
	r.there = false
	read(100, "efg")
}

func TestAConnectionOutlivesTheTimeOfItsHandshake(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		here, there := pipe(t)
		greeted := make(chan *secure, 1)
		go func() { greeted <- secureOver(t, here) }()
		client := tls.Client(there, trusting(tls.VersionTLS13))
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		accepted := <-greeted
		go func() {
			time.Sleep(2 * handshakeTime)
			_, _ = client.Write([]byte("late"))
		}()
		b := make([]byte, 10)
		if n, err := accepted.Read(b); err != nil || string(b[:n]) != "late" {
			t.Errorf("%q, %v", b[:n], err)
		}
		go func() { _, _ = io.Copy(io.Discard, client) }()
		if _, err := accepted.Write([]byte("later")); err != nil {
			t.Error(err)
		}
	})
}

func TestAClientsConnectionIsSecuredAsAnAcceptedOne(t *testing.T) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			l := quiet(t, Options{Name: "test", TLS: serverTLS})
			go func() {
				_ = l.Serve(func(c net.Conn) { _, _ = io.Copy(c, c) })
			}()
			client, err := Secured(dial(t, l), trusting(version))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			_ = client.SetDeadline(time.Now().Add(10 * time.Second))
			sent, back := someBytes(1<<20+3), make([]byte, 1<<20+3)
			wrote := make(chan error, 1)
			go func() { _, err := client.Write(sent); wrote <- err }()
			if _, err := io.ReadFull(client, back); err != nil || !bytes.Equal(back, sent) {
				t.Fatalf("what came back is not what was sent: %v", err)
			}
			if err := <-wrote; err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAClientThatTrustsNobodyIsNotSecured(t *testing.T) {
	l := quiet(t, Options{Name: "test", TLS: serverTLS})
	go func() { _ = l.Serve(func(net.Conn) {}) }()
	var unknown x509.UnknownAuthorityError
	if _, err := Secured(dial(t, l), &tls.Config{ServerName: "127.0.0.1"}); !errors.As(err, &unknown) {
		t.Errorf("the certificate of nobody known: %v", err)
	}
}
