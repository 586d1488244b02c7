package deliver

import (
	"bytes"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/internal/logged"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// rig is a broker with one connection, whose writer the test plays.
type rig struct {
	t       *testing.T
	session *broker.Session
	pub     *broker.Publisher
	conn    *socket
	w       Writer
	outMu   sync.Mutex
	mu      sync.Mutex // of the lanes
	signals chan struct{}
	log     logged.Lines
}

// socket keeps what is written, unless it stands still.
type socket struct {
	net.Conn
	writes [][]byte
	still  chan struct{} // not nil: a write waits until it is closed
	began  chan struct{}
}

func (s *socket) Write(b []byte) (int, error) {
	if s.still != nil {
		close(s.began)
		<-s.still
		s.still = nil
	}
	s.writes = append(s.writes, bytes.Clone(b))
	return len(b), nil
}

func start(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, signals: make(chan struct{}, 1)}
	st, err := local.Open(local.Options{Dir: "data", FS: fs.NewMem(1), Mode: store.ModeOS, SegmentBytes: 4 << 20, Logger: r.log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.Open(st, broker.Options{Log: r.log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	v, err := b.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	r.conn = &socket{Conn: server}
	r.session = v.NewSession(auth.Identity{Name: "guest"})
	r.pub = r.session.NewPublisher()
	signal := func() {
		select {
		case r.signals <- struct{}{}:
		default:
		}
	}
	r.w.Open(netx.NewWriter(r.conn, time.Minute, func() bool { return false }), netx.NewLog("test", r.log.Logger()).Client(server.RemoteAddr()), &r.outMu, signal)
	t.Cleanup(func() {
		r.session.Close()
		client.Close()
		server.Close()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// consumer is a protocol: a frame is a letter, the body, and a line's end.
type consumer struct {
	Lane
	letter  string
	held    bool
	answer  bool // the client has been told what comes before its cancellation
	told    int
	offsets int
	extra   int // further bytes of a frame
}

func (k *consumer) Deliver(d *broker.Delivery) {
	k.w.Turn.Buf = append(k.w.Turn.Buf, k.letter...)
	k.w.Turn.Buf = append(k.w.Turn.Buf, make([]byte, k.extra)...)
	if len(d.Body) < InPlaceBytes {
		k.w.Turn.Buf = append(k.w.Turn.Buf, d.Body...)
	} else {
		k.Lend(d.Body)
	}
	k.w.Turn.Buf = append(k.w.Turn.Buf, '\n')
	k.w.Sized(d.Body)
	k.w.Frames++
	k.offsets++
}

func (k *consumer) Held() bool { return k.held }

func (k *consumer) Cancelled() bool {
	if k.answer {
		k.told++
	}
	return k.answer
}

// consume subscribes to a queue, which it declares, and each delivery counts as acked.
func (r *rig) consume(letter, queue string) *consumer {
	r.t.Helper()
	return r.consumeWith(letter, queue, broker.SubscribeOptions{NoAck: true})
}

func (r *rig) consumeWith(letter, queue string, o broker.SubscribeOptions) *consumer {
	r.t.Helper()
	if _, err := r.session.DeclareQueue(queue, broker.QueueOptions{}); err != nil {
		r.t.Fatal(err)
	}
	k := &consumer{letter: letter}
	k.Open(&r.w, k, &r.mu)
	o.Wake, o.Busy, o.Cancelled = k.Look, r.w.Busy, k.Gone
	var err error
	if k.Sub, err = r.session.Subscribe(queue, o); err != nil {
		r.t.Fatal(err)
	}
	r.outMu.Lock()
	k.Show()
	r.outMu.Unlock()
	return k
}

func (r *rig) publish(queue string, bodies ...string) {
	r.t.Helper()
	for _, body := range bodies {
		if _, err := r.pub.Publish(&broker.Inbound{Key: []byte(queue), Body: []byte(body)}); err != nil {
			r.t.Fatal(err)
		}
	}
	r.pub.Store()
	if err := r.pub.Commit(nil); err != nil {
		r.t.Fatal(err)
	}
}

// turn plays one look of the writer at what there is.
func (r *rig) turn() (more bool) {
	r.t.Helper()
	r.outMu.Lock()
	r.w.Take()
	r.outMu.Unlock()
	more, err := r.w.Deliver(r.session)
	if err != nil {
		r.t.Fatal(err)
	}
	return more
}

// until plays the writer until something holds: the first reads of a queue wait for the disk on a goroutine of its own.
func (r *rig) until(holds func() bool) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); runtime.Gosched() {
		r.turn()
		if time.Now().After(end) {
			r.t.Fatalf("written: %q", r.written())
		}
	}
}

func (r *rig) written() string { return string(bytes.Join(r.conn.writes, nil)) }

// Short bodies in long frames must not make a turn so long that its buffer can't be used again.
func TestATurnFitsItsBuffer(t *testing.T) {
	r := start(t)
	k := r.consume("a", "q")
	k.extra = 50 // a frame is far longer than its body, which is all that a Pull knows of
	const n = 20_000
	for range n / 1000 {
		r.publish("q", slices.Repeat([]string{"0123456789"}, 1000)...)
	}
	r.until(func() bool { return k.offsets == n })
	for i, b := range r.conn.writes[1:] { // the first is before anybody knows how long frames are
		if len(b) > writeBytes+writeBytes/8 {
			t.Errorf("write %d has %d bytes", i+1, len(b))
		}
	}
	if len(r.conn.writes) > 2*n*62/writeBytes+20 {
		t.Errorf("%d writes", len(r.conn.writes))
	}
}

func TestNobodyWaitsForAllOfAnothersMessages(t *testing.T) {
	r := start(t)
	a, b := r.consume("a", "long"), r.consume("b", "short")
	r.publish("long", slices.Repeat([]string{strings.Repeat("x", 100)}, 20_000)...)
	r.publish("short", "1", "2")
	r.until(func() bool { return a.offsets == 20_000 && b.offsets == 2 })
	if at := strings.Index(r.written(), "b2\n"); at < 0 || at > 8*writeBytes {
		t.Errorf("the second of two came behind %d bytes of the other's", at)
	}
}

func TestWhatWasLentIsGivenBackWhenItIsWritten(t *testing.T) {
	r := start(t)
	k := r.consume("a", "q")
	large := strings.Repeat("x", 2*InPlaceBytes)
	r.publish("q", large, "small", large)
	r.until(func() bool { return k.offsets == 3 })
	if want := "a" + large + "\nasmall\na" + large + "\n"; r.written() != want {
		t.Errorf("%d bytes were written, not %d", len(r.written()), len(want))
	}
	if k.borrowed || len(r.w.lenders) != 0 {
		t.Error("it is still lent")
	}
	r.mu.Lock()
	k.Close()
	k.Close()
	r.mu.Unlock()
	if !k.Closed() {
		t.Error("not closed")
	}
}

func TestAnAnswerGoesBeforeTheNextDelivery(t *testing.T) {
	r := start(t)
	k := r.consume("a", "q")
	k.held = true
	r.publish("q", "1")
	for range 3 {
		if r.turn() {
			t.Fatal("the writer would look again and again")
		}
	}
	if k.offsets != 0 {
		t.Fatal("delivered before the answer")
	}
	k.held = false
	r.until(func() bool { return r.written() == "a1\n" })
}

func TestACancelledLaneIsToldOnceItCanBe(t *testing.T) {
	r := start(t)
	k := r.consume("a", "q")
	r.until(func() bool { return !k.ready.Load() }) // it has found nothing
	if _, err := r.session.DeleteQueue("q", false, false); err != nil {
		t.Fatal(err)
	}
	for !k.cancelled.Load() {
		runtime.Gosched()
	}
	for range 3 {
		if r.turn() {
			t.Fatal("the writer would look again and again")
		}
	}
	k.answer = true
	r.turn()
	r.turn()
	if k.told != 1 {
		t.Errorf("told %d times", k.told)
	}
}

// reader consumes as a connection would whose client reads.
type reader struct {
	r     *rig
	sub   *broker.Subscription
	woken chan struct{}
	got   int
}

func (r *rig) reader(queue string) *reader {
	r.t.Helper()
	o := &reader{r: r, woken: make(chan struct{}, 1)}
	var err error
	if o.sub, err = r.session.Subscribe(queue, broker.SubscribeOptions{NoAck: true, Wake: func() {
		select {
		case o.woken <- struct{}{}:
		default:
		}
	}}); err != nil {
		r.t.Fatal(err)
	}
	o.pull()
	return o
}

func (o *reader) pull() {
	o.r.t.Helper()
	if _, err := o.sub.Pull(100, 1<<20, func(*broker.Delivery) { o.got++ }); err != nil {
		o.r.t.Error(err)
	}
	o.sub.Release()
}

// reaches pulls whenever it is woken, until it has n messages.
func (o *reader) reaches(n int) {
	o.r.t.Helper()
	for end := time.After(20 * time.Second); o.got < n; {
		select {
		case <-o.woken:
			o.pull()
		case <-end:
			o.r.t.Fatalf("who reads has %d messages, not %d", o.got, n)
		}
	}
}

func TestOthersAreWokenWhileAWriteStandsStill(t *testing.T) {
	r := start(t)
	k := r.consume("a", "q")
	r.until(func() bool { return !k.ready.Load() })
	other := r.reader("q")
	r.publish("q", "0")
	r.until(func() bool { other.pull(); return other.got+k.offsets == 1 })
	r.turn()
	other.pull() // now both wait, and k has waited for longer
	before, had := k.offsets, other.got
	r.conn.still, r.conn.began = make(chan struct{}), make(chan struct{})
	still := r.conn.still
	ended := make(chan error)
	go func() { ended <- r.w.Write([]byte("to a client that does not read\n")) }()
	<-r.conn.began
	if !r.w.Busy() {
		t.Error("a writer that writes is not busy")
	}
	r.publish("q", "1")
	other.reaches(had + 1)
	close(still)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	r.turn()
	if k.offsets != before || r.w.Busy() {
		t.Errorf("it came twice: %v; busy: %v", k.offsets != before, r.w.Busy())
	}
}

// What was woken before a write stood still is passed over, but for what its prefetch lets it have.
func TestWokenLanesArePassedOverWhenAWriteStandsStill(t *testing.T) {
	r := start(t)
	k := r.consumeWith("a", "q", broker.SubscribeOptions{Prefetch: 1})
	r.until(func() bool { return !k.ready.Load() })
	other := r.reader("q")
	r.publish("q", "1", "2", "3")
	for !k.ready.Load() {
		runtime.Gosched()
	}
	r.w.writing.Store(true)
	r.w.passOn()
	other.reaches(2)
	r.w.writing.Store(false)
	r.until(func() bool { return k.offsets == 1 })
}
