package stompload

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
)

// Limits of a load.
const (
	dialTimeout = 10 * time.Second
	perWrite    = 50 // messages that a publisher sends with one call
)

// Load says what to do to a broker: one publisher, one queue, one consumer, each with a connection of its own.
type Load struct {
	Address         string // host:port
	Login, Passcode string
	Name            string // of the queue

	BodyBytes int // at least 12
	Window    int // messages not yet acknowledged by a receipt, which is asked for with the last one of a write; 0: none are asked for
	Prefetch  int // of the consumer
	AckEvery  int // messages an ACK covers (ack:client); 0: ack:auto
	Messages  int64
	For       time.Duration // no message is sent later than this
}

// Result is what a load did. Elapsed goes from the first message sent to the last receipt or delivery.
type Result struct {
	Published, Delivered int64
	Elapsed              time.Duration
	Latency              *measure.Latencies // from SEND to delivery
	Confirm              *measure.Latencies // from SEND to its receipt
}

// client is a connection that is signed in.
type client struct {
	nc net.Conn
	r  *bufio.Reader
}

func (l *Load) dial(ctx context.Context) (*client, error) {
	d := net.Dialer{Timeout: dialTimeout}
	nc, err := d.DialContext(ctx, "tcp", l.Address)
	if err != nil {
		return nil, err
	}
	c := &client{nc, bufio.NewReaderSize(nc, 256<<10)}
	_ = nc.SetDeadline(time.Now().Add(dialTimeout))
	if err := c.send("CONNECT\naccept-version:1.2\nhost:/\nheart-beat:0,0\nlogin:" + l.Login + "\npasscode:" + l.Passcode + "\n\n\x00"); err == nil {
		_, err = c.expect("CONNECTED")
		if err == nil {
			_ = nc.SetDeadline(time.Time{})
			return c, nil
		}
		nc.Close()
		return nil, fmt.Errorf("connect to the STOMP broker %s: %w", l.Address, err)
	}
	nc.Close()
	return nil, err
}

func (c *client) send(frame string) error {
	_, err := io.WriteString(c.nc, frame)
	return err
}

// frame reads one: its head, without the empty line, and its body. Both hold until the next one is read.
func (c *client) frame() (head, body []byte, err error) {
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return nil, nil, err
		}
		if b != '\n' && b != '\r' {
			break
		}
	}
	_ = c.r.UnreadByte()
	if _, err := c.r.Peek(1); err != nil {
		return nil, nil, err
	}
	for {
		buf, _ := c.r.Peek(c.r.Buffered())
		end := bytes.Index(buf, []byte("\n\n"))
		if end < 0 {
			if _, err := c.r.Peek(len(buf) + 1); err != nil {
				return nil, nil, err
			}
			continue
		}
		size := 0
		if _, length, ok := bytes.Cut(buf[:end+1], []byte("\ncontent-length:")); ok {
			digits, _, _ := bytes.Cut(length, []byte("\n"))
			if size, err = strconv.Atoi(string(digits)); err != nil {
				return nil, nil, err
			}
		}
		whole := end + 2 + size + 1
		if buf, err = c.r.Peek(whole); err != nil {
			return nil, nil, err
		}
		if buf[whole-1] != 0 {
			return nil, nil, errors.New("no NUL behind a body")
		}
		_, err := c.r.Discard(whole)
		return buf[:end], buf[end+2 : whole-1], err
	}
}

// idle says that nothing of a frame is there: line feeds behind the last one are nothing.
func (c *client) idle() bool {
	for c.r.Buffered() > 0 {
		if b, _ := c.r.Peek(1); b[0] != '\n' {
			return false
		}
		_, _ = c.r.Discard(1)
	}
	return true
}

// expect reads a frame of that command.
func (c *client) expect(command string) (body []byte, err error) {
	head, body, err := c.frame()
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(head, []byte(command+"\n")) {
		return nil, fmt.Errorf("%.300q %.300q where %s was to come", head, body, command)
	}
	return body, nil
}

// Run is a load with its connections open.
type Run struct {
	load      Load
	publisher *client
	consumer  *client
	moved     atomic.Int64
	sent      atomic.Int64
	published int64
	epoch     time.Time
	latency   *measure.Latencies
	confirm   *measure.Latencies
	asked     []asked // receipts under way
}

// asked is a receipt that was asked for.
type asked struct {
	n  int64
	at time.Time
}

// Open connects, and makes the queue. Close must follow.
func (l Load) Open(ctx context.Context) (*Run, error) {
	r := &Run{load: l}
	var err error
	if r.publisher, err = l.dial(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// Subscribe opens the consumer.
func (r *Run) Subscribe(ctx context.Context) (err error) {
	if r.consumer, err = r.load.dial(ctx); err != nil {
		return err
	}
	mode := "auto"
	if r.load.AckEvery > 0 {
		mode = "client\nprefetch-count:" + strconv.Itoa(max(r.load.Prefetch, 1))
	}
	if err := r.consumer.send("SUBSCRIBE\nid:1\nreceipt:s\ndestination:/queue/" + r.load.Name + "\nack:" + mode + "\n\n\x00"); err != nil {
		return err
	}
	if r.published > 0 {
		return nil // messages may come before the receipt
	}
	_, err = r.consumer.expect("RECEIPT")
	return err
}

// Close ends the connections; the queue stays, empty.
func (r *Run) Close() {
	for _, c := range []*client{r.publisher, r.consumer} {
		if c != nil {
			c.nc.Close()
		}
	}
}

// Publish sends alone.
func (r *Run) Publish(ctx context.Context) (Result, error) { return r.run(ctx, true, false) }

// Drain takes what was published.
func (r *Run) Drain(ctx context.Context) (Result, error) { return r.run(ctx, false, true) }

// PublishAndConsume does both at once.
func (r *Run) PublishAndConsume(ctx context.Context) (Result, error) { return r.run(ctx, true, true) }

func (r *Run) run(ctx context.Context, publish, consume bool) (out Result, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, r.Close)
	defer stop()
	go measure.WatchProgress(ctx, cancel, func() int64 { return r.moved.Load() + r.sent.Load() },
		func() string { return fmt.Sprintf("%d sent", r.sent.Load()) })
	began := time.Now()
	r.epoch, r.latency, r.confirm = began, measure.NewLatencies(), measure.NewLatencies()
	taken, last := make(chan error, 1), make(chan int64, 1)
	if consume {
		go func() { taken <- r.take(last) }()
	}
	if publish {
		if err := r.publish(began); err != nil {
			return out, errors.Join(err, context.Cause(ctx))
		}
	}
	if consume {
		last <- r.published
		if err := <-taken; err != nil {
			return out, errors.Join(err, context.Cause(ctx))
		}
		out.Delivered = r.published
	}
	out.Published, out.Elapsed = r.published, time.Since(began)
	out.Latency, out.Confirm = r.latency, r.confirm
	return out, nil
}

// publish sends until the time or the messages are over.
func (r *Run) publish(began time.Time) error {
	l := &r.load
	size := max(l.BodyBytes, 12)
	head := "SEND\ndestination:/queue/" + l.Name + "\npersistent:true\ncontent-length:" + strconv.Itoa(size) + "\n"
	body := make([]byte, size)
	var buf []byte
	var last int64 // with a receipt
	window := int64(l.Window)
	for n := int64(0); n < l.Messages && time.Since(began) < l.For; {
		buf = buf[:0]
		now := time.Now()
		binary.BigEndian.PutUint32(body[8:], uint32(now.Sub(r.epoch).Microseconds()))
		for range min(perWrite, l.Messages-n) {
			buf = append(buf, head...)
			n++
			if window > 0 && (n%perWrite == 0 || n == l.Messages) {
				buf = append(strconv.AppendInt(append(buf, "receipt:"...), n, 10), '\n')
				last = n
				r.asked = append(r.asked, asked{n, now})
			}
			binary.BigEndian.PutUint64(body, uint64(n))
			buf = append(append(append(buf, '\n'), body...), 0)
		}
		if _, err := r.publisher.nc.Write(buf); err != nil {
			return r.why(err)
		}
		r.published = n
		r.sent.Store(n)
		for window > 0 && last-r.confirmed() >= window {
			if err := r.receipt(); err != nil {
				return err
			}
		}
	}
	for window > 0 && r.confirmed() < last {
		if err := r.receipt(); err != nil {
			return err
		}
	}
	return nil
}

// why is what the broker has to say of a connection that it ended.
func (r *Run) why(err error) error {
	_ = r.publisher.nc.SetReadDeadline(time.Now().Add(time.Second))
	if head, body, e := r.publisher.frame(); e == nil {
		return fmt.Errorf("%w: %.300q %.300q", err, head, body)
	}
	return err
}

func (r *Run) confirmed() int64 { return r.moved.Load() }

// receipt reads one, which is for all messages up to its number.
func (r *Run) receipt() error {
	head, body, err := r.publisher.frame()
	if err != nil {
		return err
	}
	_, id, ok := bytes.Cut(head, []byte("receipt-id:"))
	id, _, _ = bytes.Cut(id, []byte("\n"))
	n, bad := strconv.ParseInt(string(id), 10, 64)
	if !ok || bad != nil {
		return fmt.Errorf("%.300q %.300q where a receipt was to come", head, body)
	}
	r.moved.Store(n)
	for len(r.asked) > 0 && r.asked[0].n <= n {
		r.confirm.AddDuration(time.Since(r.asked[0].at))
		r.asked = r.asked[1:]
	}
	return nil
}

// take takes messages until all that were sent have come; last says how many these are, when it is known.
func (r *Run) take(last <-chan int64) error {
	c, every := r.consumer, r.load.AckEvery
	var ack []byte
	all := int64(-1)
	for n := int64(0); n != all; {
		if all < 0 && c.idle() {
			select {
			case all = <-last:
				continue
			default:
			}
			_ = c.nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, err := c.r.Peek(1)
			_ = c.nc.SetReadDeadline(time.Time{})
			if err != nil {
				var late net.Error
				if errors.As(err, &late) && late.Timeout() {
					continue
				}
				return err
			}
		}
		head, body, err := c.frame()
		if err != nil {
			return err
		}
		if bytes.HasPrefix(head, []byte("RECEIPT\n")) {
			continue
		}
		n++
		if !bytes.HasPrefix(head, []byte("MESSAGE\n")) || len(body) < 12 || binary.BigEndian.Uint64(body) != uint64(n) {
			return fmt.Errorf("%.300q %.100q where message %d was to come", head, body, n)
		}
		r.sent.Add(1) // something moves
		if n%16 == 1 {
			sent := time.Duration(binary.BigEndian.Uint32(body[8:])) * time.Microsecond
			r.latency.AddDuration(max(time.Since(r.epoch)-sent, 0))
		}
		if every > 0 && (n%int64(every) == 0 || n == all) {
			_, id, _ := bytes.Cut(head, []byte("\nack:"))
			id, _, _ = bytes.Cut(id, []byte("\n"))
			ack = append(append(append(ack[:0], "ACK\nid:"...), id...), "\n\n\x00"...)
			if _, err := c.nc.Write(ack); err != nil {
				return err
			}
		}
	}
	return r.leave()
}

// leave ends the consumer in order, so that its acks are taken. The end of the stream is an answer, too: Artemis at times
// closes before its receipt is written.
func (r *Run) leave() error {
	if err := r.consumer.send("DISCONNECT\nreceipt:bye\n\n\x00"); err != nil {
		return err
	}
	if _, err := r.consumer.expect("RECEIPT"); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
