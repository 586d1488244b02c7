package amqpload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
)

// blockBytes is how much one write carries in an unpaced load.
const blockBytes = 64 << 10

// publisher writes blocks on one connection. Its run method writes, a second goroutine
// reads confirms; the two share confirmed and wake.
type publisher struct {
	conn   *Conn
	load   *Load
	index  int
	blocks []*Block // written in turn
	turn   int
	epoch  time.Time
	total  int64
	until  time.Duration // from the epoch: no block is begun after it

	sent      atomic.Int64
	confirmed atomic.Int64
	wake      chan struct{} // capacity 1: confirmed grew
	open      chan openBlock
	finished  chan struct{} // closed when the reading goroutine ends
	readErr   error         // valid once finished is closed
	confirm   *measure.Latencies
	late      time.Duration
}

// openBlock says when the block that ends with a tag was written.
type openBlock struct {
	tag uint64
	at  time.Time
}

func newPublisher(ctx context.Context, l *Load, index int) (*publisher, error) {
	c, err := Dial(ctx, l.Address)
	if err != nil {
		return nil, err
	}
	p := &publisher{conn: c, load: l, index: index, confirm: measure.NewLatencies(),
		wake: make(chan struct{}, 1), finished: make(chan struct{})}
	o := BlockOptions{Exchange: l.Exchange, Keys: l.keys(index), BodyBytes: l.BodyBytes, Persistent: !l.Transient, FrameMaxBytes: c.FrameMaxBytes, Varied: l.Varied, Priorities: l.Priorities, DelayMs: l.DelayMs}
	p.blocks, err = newBlocks(o, l.messagesPerBlock(MessageBytes(o)))
	if err == nil && l.Window > 0 {
		p.open = make(chan openBlock, l.Window/p.blocks[0].Messages()+2)
		_, err = c.Call(method(confirmSelect).u8(0), confirmSelectOk)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("prepare publisher %d: %w", index, err)
	}
	return p, nil
}

// run publishes until the count or the time is reached, and returns when the broker has
// answered for all of it: with the last confirm, and with the answer to closing the
// channel, which it gives only after everything before.
func (p *publisher) run(epoch time.Time, total int64, until time.Duration) error {
	p.epoch, p.total, p.until = epoch, total, until
	go p.readConfirms()
	err := p.publish()
	if err == nil && p.load.Window > 0 {
		err = p.waitConfirmed(p.sent.Load())
	}
	if err == nil {
		err = p.conn.send(1, method(channelClose).u16(200).short("").u32(0))
	}
	if err != nil {
		p.conn.Close()
	}
	<-p.finished
	if p.readErr != nil {
		err = p.readErr // the broker's reason says more than a failed write
	}
	if err != nil {
		return fmt.Errorf("publisher %d after %d messages: %w", p.index, p.sent.Load(), err)
	}
	return nil
}

func (p *publisher) publish() error {
	if p.load.Rate > 0 {
		return p.publishPaced()
	}
	for {
		sent := p.sent.Load()
		block := p.blocks[p.turn]
		n := min(int64(block.Messages()), p.total-sent)
		if n <= 0 || time.Since(p.epoch) >= p.until {
			return nil
		}
		if w := int64(p.load.Window); w > 0 {
			if err := p.waitConfirmed(sent + n - w); err != nil {
				return err
			}
		}
		if err := p.writeBlock(block, sent, int(n)); err != nil {
			return err
		}
		p.turn = (p.turn + 1) % len(p.blocks)
	}
}

func (p *publisher) writeBlock(block *Block, sent int64, n int) error {
	now := time.Now()
	block.Stamp(measure.Seq(p.index, uint64(sent)), measure.Micros(now.Sub(p.epoch)))
	if p.load.Window > 0 {
		p.open <- openBlock{uint64(sent) + uint64(n), now}
	}
	if p.load.WritePerMessage {
		for i := range n {
			if _, err := p.conn.Write(block.Message(i)); err != nil {
				return err
			}
			p.sent.Store(sent + int64(i) + 1)
		}
		return nil
	}
	_, err := p.conn.Write(block.Frames[:block.end(n-1)])
	p.sent.Store(sent + int64(n))
	return err
}

// publishPaced writes each message by itself when it is due, and stamps it with the time
// at which it was due.
func (p *publisher) publishPaced() error {
	runtime.LockOSThread() // never unlocked: the thread with its timer setting ends with the goroutine
	measure.PrepareThread()
	pace := measure.NewPacer(p.epoch, p.load.Rate/float64(p.load.Publishers))
	for i := int64(0); i < p.total && pace.Due(i) < p.until; i++ {
		due := pace.Wait(i)
		if p.load.Window > 0 {
			if err := p.waitConfirmed(i + 1 - int64(p.load.Window)); err != nil {
				return err
			}
			p.open <- openBlock{uint64(i + 1), p.epoch.Add(due)}
		}
		block := p.blocks[i%int64(len(p.blocks))]
		block.Stamp(measure.Seq(p.index, uint64(i)), measure.Micros(due))
		if _, err := p.conn.Write(block.Frames); err != nil {
			return err
		}
		p.sent.Store(i + 1)
	}
	p.late = pace.Late
	return nil
}

// waitConfirmed blocks until so many publishes are confirmed.
func (p *publisher) waitConfirmed(count int64) error {
	for p.confirmed.Load() < count {
		select {
		case <-p.wake:
		case <-p.finished:
			if p.confirmed.Load() < count {
				return errors.New("connection ended with publishes unconfirmed")
			}
		}
	}
	return nil
}

// readConfirms reads until the channel is closed.
func (p *publisher) readConfirms() {
	defer close(p.finished)
	c := newConfirms(p.load.Window)
	var next openBlock
	for {
		kind, b, err := p.conn.next()
		if err != nil {
			p.readErr = err
			return
		}
		if kind != frameMethod || len(b) < 4 {
			continue
		}
		switch id := args(b).id(); id {
		case channelCloseOk:
			return
		case basicAck:
			if err := p.settle(c, b[4:], &next); err != nil {
				p.readErr = err
				return
			}
		case basicNack:
			p.readErr = errors.New("the broker refused a publish (basic.nack)")
			return
		default:
			if p.readErr = closed(id, b[4:]); p.readErr != nil {
				return
			}
		}
	}
}

// settle takes one basic.ack and times the blocks that it completes.
func (p *publisher) settle(c *confirms, b []byte, next *openBlock) error {
	if len(b) < 9 {
		return errors.New("confirm cut short")
	}
	n, err := c.ack(binary.BigEndian.Uint64(b), b[8]&1 != 0)
	if err != nil {
		return err
	}
	var now time.Time
	for {
		if next.tag == 0 {
			select {
			case *next = <-p.open:
			default:
			}
		}
		if next.tag == 0 || c.low < next.tag {
			break
		}
		if now.IsZero() {
			now = time.Now()
		}
		p.confirm.AddDuration(now.Sub(next.at))
		next.tag = 0
	}
	p.confirmed.Add(n)
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return nil
}
