package stomp

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/stomp/frame"
)

// sink is a socket that swallows what is written, and on which in comes in.
type sink struct {
	net.Conn
	in []byte
}

func (*sink) Write(b []byte) (int, error) { return len(b), nil }

func (s *sink) Read(b []byte) (int, error) {
	n := copy(b, s.in)
	if s.in = s.in[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// played is a connection whose two goroutines are played by the caller, with one subscription.
type played struct {
	c     *conn
	nc    *sink
	k     *subscription
	block []byte // SENDs that fill a read buffer
	n     int    // how many
	acks  []byte
}

func play(t testing.TB, r *rig, subscribe string) *played {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close(); server.Close() })
	p := &played{nc: &sink{Conn: server}}
	c := newConn(r.server, p.nc, r.server.log)
	p.c = c
	c.version, c.id = frame.V12, "session-x"
	c.session = r.vhost.NewSession(auth.Identity{Name: "guest"})
	c.publisher = c.session.NewPublisher()
	p.take([]byte(subscribe + "\n\n\x00"))
	if p.k = c.byNumber[1]; p.k == nil {
		t.Fatal("not subscribed")
	}
	return p
}

// take plays the read loop for what came in with one read.
func (p *played) take(in []byte) {
	p.nc.in = in
	p.c.rb.Want(len(in))
	p.c.rb.Fill(0)
	p.c.takeAll()
}

// fill makes a block of frames.
func (p *played) fill(one func(i int) string) {
	for {
		f := one(p.n)
		if len(p.block)+len(f)+1 > netx.MaxReadBytes {
			return
		}
		p.block = append(append(p.block, f...), 0)
		p.n++
	}
}

// deliver plays the writer until all is delivered: the first of it waits for a disk.
func (p *played) deliver() {
	for want := p.k.unacked.Last() + uint64(p.n); p.k.unacked.Last() < want && !p.c.ended; {
		p.k.Look()
		p.c.w.turns()
		runtime.Gosched()
	}
}

// ack plays the read loop for acks of everything that was delivered.
func (p *played) ack() {
	p.acks = p.acks[:0]
	for tag := p.k.unacked.Last() - uint64(p.n) + 1; tag <= p.k.unacked.Last(); tag++ {
		p.acks = fmt.Appendf(p.acks, "ACK\nid:1@@session-x@@%d\n\n\x00\n", tag)
		if len(p.acks) > netx.MaxReadBytes-100 || tag == p.k.unacked.Last() {
			p.take(p.acks)
			p.acks = p.acks[:0]
		}
	}
}

func TestSendDeliverAndAckAllocateNothingAMessage(t *testing.T) {
	for name, one := range map[string]func(int) string{
		"alike":    func(int) string { return "SEND\ndestination:/queue/q\npersistent:true\ncontent-length:5\n\nhello" },
		"receipts": func(i int) string { return fmt.Sprintf("SEND\ndestination:/queue/q\nreceipt:%d\n\nhello", i) },
		"by turns": func(i int) string { return fmt.Sprintf("SEND\ndestination:/queue/q\nn:%d\n\nhello", i%4) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{})
			p := play(t, r, "SUBSCRIBE\nid:s\ndestination:/queue/q\nack:client-individual")
			p.fill(one)
			round := func() {
				p.take(p.block)
				p.deliver()
			}
			round()
			if p.c.ended || p.k.unacked.Len() != p.n || p.n < 1000 {
				t.Fatalf("%d of %d were delivered: %v %d %s %d", p.k.unacked.Len(), p.n, p.c.ended, r.ready("q"), p.c.out, p.k.unacked.Last())
			}
			p.ack()
			if p.k.unacked.Len() != 0 {
				t.Fatalf("%d are unacked", p.k.unacked.Len())
			}
			n := alloc.Least(float64(p.n)/20, 5, func() { // those of the acks are fmt's
				round()
				p.k.unacked.SettleAll(0)
				p.k.unacked.Tell()
			})
			if n > float64(p.n)/20 {
				t.Errorf("%.0f allocations for %d messages", n, p.n)
			}
			round()
			first := p.k.unacked.Last() - uint64(p.n) + 1
			var runs [2][]byte
			for i := range uint64(1000) {
				runs[i/500] = fmt.Appendf(runs[i/500], "ACK\nid:1@@session-x@@%d\n\n\x00\n", first+i)
			}
			before, at := p.k.unacked.Len(), 0
			if n := testing.AllocsPerRun(1, func() { p.take(runs[at]); at++ }); n > 20 {
				t.Errorf("%v allocations for 500 acks", n)
			}
			if p.k.unacked.Len() != before-1000 || p.c.ended {
				t.Errorf("%d of 1000 acks were taken", before-p.k.unacked.Len())
			}
		})
	}
}

// FuzzConnection feeds any bytes to a connection that is signed in and has a subscription: they may end it, never the
// process, and never leave something held behind.
func FuzzConnection(f *testing.F) {
	r := newRig(f, rigOptions{broker: broker.Options{MaxMessageBytes: 1 << 20}})
	for _, seed := range []string{
		"SEND\ndestination:/queue/fuzz\nreceipt:r\n\nhello\x00ACK\nid:1@@session-x@@1\n\n\x00NACK\nid:1@@session-x@@2\n\n\x00",
		"BEGIN\ntransaction:t\n\n\x00SEND\ntransaction:t\ndestination:/topic/a\n\n\x00ACK\ntransaction:t\nid:1@@session-x@@1\n\n\x00COMMIT\ntransaction:t\n\n\x00ABORT\ntransaction:t\n\n\x00",
		"SUBSCRIBE\nid:2\ndestination:/topic/a.#\nack:client\nprefetch-count:1\nx-max-length:3\n\n\x00UNSUBSCRIBE\nid:2\n\n\x00UNSUBSCRIBE\nid:1\n\n\x00DISCONNECT\nreceipt:x\n\n\x00",
		"SEND\ndestination:/exchange/amq.fanout\nreply-to:/temp-queue/t\nexpiration:1\npriority:9\nx\\c:y\\n\ncontent-length:2\n\nab\x00",
		"SUBSCRIBE\nid:3\ndestination:/amq/queue/fuzz\nx-stream-offset:offset=3\nx-stream-filter:a,b\nx-priority:-1\n\n\x00\n\r\n\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p := play(t, r, "SUBSCRIBE\nid:1\ndestination:/queue/fuzz\nack:client")
		c := p.c
		p.nc.in = in
		c.takeAll()
		for !c.ended {
			if n, _ := c.rb.Fill(0); n == 0 {
				break
			}
			c.takeAll()
			if _, err := c.w.turns(); err != nil {
				t.Fatal(err)
			}
		}
		c.dropLarge()
		c.endSubscriptions()
		c.endTransactions()
		c.session.Close()
		c.rb.Free()
		q, err := r.vhost.Queue("fuzz")
		if err == nil && (q.Consumers() != 0 || q.Unacked() != 0) {
			t.Errorf("%d consumers and %d unacked messages were left behind", q.Consumers(), q.Unacked())
		}
		if used := r.server.opts.Budget.Stats().Used; used != 0 {
			t.Errorf("%d bytes are still counted", used)
		}
		for _, q := range r.vhost.Queues() {
			_, _ = r.session.DeleteQueue(q.Name, false, false)
		}
	})
}

func BenchmarkSendAndDeliver(b *testing.B) {
	for name, ack := range map[string]string{"auto": "auto", "client": "client-individual"} {
		b.Run(name, func(b *testing.B) {
			p := play(b, newRig(b, rigOptions{}), "SUBSCRIBE\nid:s\ndestination:/queue/q\nack:"+ack)
			p.fill(func(int) string { return "SEND\ndestination:/queue/q\ncontent-length:12\n\nhello, world" })
			for done := 0; done < b.N; done += p.n {
				p.take(p.block)
				p.deliver()
				p.k.unacked.SettleAll(0)
				p.k.unacked.Tell()
			}
		})
	}
}
