package amqpload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
)

// consumerTag is short because every delivery carries it, and the same for every broker.
const consumerTag = "c"

// consumer reads one queue on one connection. All fields but the atomic ones are its own
// goroutine's until that has ended.
type consumer struct {
	conn  *Conn
	load  *Load
	queue string
	epoch time.Time

	got  atomic.Int64 // deliveries, published once a read buffer
	want atomic.Int64 // how many there will be; -1 until the publishers have ended

	check   *measure.Sequence
	latency *measure.Latencies
	lastAt  time.Duration // when the latest delivery was read
	scan    scanState
	acks    []byte // frames to send after this read buffer
	unacked int64
}

// scanState is what the scanner keeps between frames.
type scanState struct {
	tag       uint64 // of the latest delivery
	left      uint64 // body bytes still to come
	inContent bool   // a delivery's header or body is due
	inBody    bool
	ended     bool // channel.close-ok came
	consuming bool // basic.consume-ok came
	cancelled bool // basic.cancel-ok came
}

func newConsumer(ctx context.Context, l *Load, queue string) (*consumer, error) {
	c, err := Dial(ctx, l.Address)
	if err != nil {
		return nil, err
	}
	k := &consumer{conn: c, load: l, queue: queue, check: measure.NewClasses(l.Publishers, max(l.Priorities, 1)), latency: measure.NewLatencies()}
	k.want.Store(-1)
	if !l.AutoAck {
		if _, err := c.Call(method(basicQos).u32(0).u16(uint16(l.Prefetch)).u8(0), basicQosOk); err != nil {
			c.Close()
			return nil, fmt.Errorf("prepare consumer of %s: %w", queue, err)
		}
	}
	return k, nil
}

// run consumes until everything that is wanted has come, then closes the channel and
// makes sure that nothing more came with it.
func (k *consumer) run(epoch time.Time) error {
	k.epoch = epoch
	if err := k.consume(); err != nil {
		return fmt.Errorf("consumer of %s after %d deliveries: %w", k.queue, k.check.Count, err)
	}
	return nil
}

// start asks for deliveries.
func (k *consumer) start() error {
	var flags byte
	if k.load.AutoAck {
		flags = 2
	}
	from := ""
	if k.load.Stream {
		from = table("x-stream-offset", "first")
	}
	return k.conn.send(1, method(basicConsume).u16(0).short(k.queue).short(consumerTag).u8(flags).long(from))
}

func (k *consumer) consume() error {
	if err := k.start(); err != nil {
		return err
	}
	for !k.complete() {
		if err := k.read(); err != nil && !isTimeout(err) {
			return err
		}
	}
	if err := k.ack(true); err != nil {
		return err
	}
	if err := k.conn.send(1, method(channelClose).u16(200).short("").u32(0)); err != nil {
		return err
	}
	_ = k.conn.SetReadDeadline(time.Now().Add(handshakeTimeout))
	for !k.scan.ended {
		if err := k.read(); err != nil {
			return fmt.Errorf("close channel: %w", err)
		}
	}
	if want := k.want.Load(); k.check.Count != want {
		return fmt.Errorf("%d messages were published to it, %d delivered", want, k.check.Count)
	}
	return nil
}

// complete says that all is there; a message counts from the first piece of its body on,
// so the last one's must have ended.
func (k *consumer) complete() bool {
	want := k.want.Load()
	return want >= 0 && k.check.Count >= want && k.scan.consuming && !k.scan.inContent
}

// expectTotal tells the consumer how many messages there are in all, and wakes it.
func (k *consumer) expectTotal(n int64) {
	k.want.Store(n)
	_ = k.conn.SetReadDeadline(time.Now())
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// read takes one read's worth of frames.
func (k *consumer) read() error {
	c := k.conn
	if err := c.fill(); err != nil {
		if isTimeout(err) {
			_ = c.SetReadDeadline(time.Time{}) // it was expectTotal's knock
		}
		return err
	}
	now := time.Since(k.epoch)
	before := k.check.Count
	n, err := k.scanFrames(c.buf[c.start:c.end], measure.Micros(now))
	c.start += n
	if k.check.Count != before {
		k.lastAt = now
		k.got.Store(k.check.Count)
	}
	if err != nil {
		return err
	}
	return k.ack(false)
}

// scanFrames handles every whole frame in b and returns how many bytes those took. This
// loop is the cost of a delivery on the generator's side: no calls, no allocation.
func (k *consumer) scanFrames(b []byte, now uint32) (taken int, err error) {
	s := &k.scan
	for len(b)-taken >= frameOverhead {
		size := int(binary.BigEndian.Uint32(b[taken+3:]))
		if size > frameMaxBytes {
			return taken, fmt.Errorf("frame of %d bytes, above the agreed maximum", size)
		}
		n := size + frameOverhead
		if len(b)-taken < n {
			return taken, nil
		}
		f := b[taken : taken+n]
		if f[n-1] != frameEnd {
			return taken, fmt.Errorf("frame ends with %#x", f[n-1])
		}
		taken += n
		p := f[7 : n-1]
		switch f[0] {
		case frameMethod:
			if len(p) >= 14 && binary.BigEndian.Uint32(p) == basicDeliver {
				at := 5 + int(p[4])
				if len(p) < at+9 {
					return taken, errors.New("delivery cut short")
				}
				tag := binary.BigEndian.Uint64(p[at:])
				if tag != s.tag+1 || p[at+8] != 0 || s.inContent {
					return taken, fmt.Errorf("delivery tag %d after %d, redelivered %d, content open: %v", tag, s.tag, p[at+8], s.inContent)
				}
				s.tag, s.inContent, s.inBody = tag, true, false
				continue
			}
			if err := k.method(p); err != nil {
				return taken, err
			}
		case frameHeader:
			if len(p) < 14 || !s.inContent || s.inBody {
				return taken, errors.New("content header out of place")
			}
			if s.left = binary.BigEndian.Uint64(p[4:]); s.left != uint64(k.load.BodyBytes) {
				return taken, fmt.Errorf("body of %d bytes, %d were published", s.left, k.load.BodyBytes)
			}
			s.inBody = true
		case frameBody:
			if !s.inBody || uint64(len(p)) > s.left {
				return taken, errors.New("body frame out of place")
			}
			if s.left == uint64(k.load.BodyBytes) {
				if len(p) < measure.StampBytes {
					return taken, errors.New("first body frame too short for its stamp")
				}
				seq, at := measure.Stamp(p)
				k.check.Add(seq)
				k.latency.Add(now, at)
			}
			if s.left -= uint64(len(p)); s.left == 0 {
				s.inContent, s.inBody = false, false
				if !k.load.AutoAck {
					k.collectAck()
				}
				if k.check.Count == k.load.SkipLatencies {
					k.latency.Reset()
				}
			}
		}
	}
	return taken, nil
}

// method handles what is not a delivery.
func (k *consumer) method(p []byte) error {
	if len(p) < 4 {
		return errors.New("method frame cut short")
	}
	switch id := args(p).id(); id {
	case basicConsumeOk:
		k.scan.consuming = true
		return nil
	case basicCancelOk:
		k.scan.cancelled = true
		return nil
	case channelCloseOk:
		k.scan.ended = true
		return nil
	default:
		return closed(id, p[4:])
	}
}

// collectAck adds an acknowledgement for the latest delivery if one is due.
func (k *consumer) collectAck() {
	k.unacked++
	if k.unacked >= int64(k.load.AckEvery) {
		k.appendAck()
	}
}

func (k *consumer) appendAck() {
	multiple := byte(0)
	if k.unacked > 1 {
		multiple = 1
	}
	b := append(k.acks, frameMethod, 0, 1, 0, 0, 0, 13, 0, 60, 0, 80)
	b = binary.BigEndian.AppendUint64(b, k.scan.tag)
	k.acks = append(b, multiple, frameEnd)
	k.unacked = 0
}

// ack sends the collected acknowledgements; with rest also one for those below AckEvery.
func (k *consumer) ack(rest bool) error {
	if rest && k.unacked > 0 {
		k.appendAck()
	}
	if len(k.acks) == 0 {
		return nil
	}
	_, err := k.conn.Write(k.acks)
	k.acks = k.acks[:0]
	return err
}
