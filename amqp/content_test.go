package amqp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/fs"
)

// numbered is a body that differs from any other at every place.
func numbered(n, size int) []byte {
	b := make([]byte, size)
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	for i := 0; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	return b
}

// begin announces a body; piece sends some of it.
func (p *peer) begin(channel uint16, queue string, size int) {
	p.t.Helper()
	p.send(channel, &wire.BasicPublish{RoutingKey: queue})
	p.raw(wire.AppendContentHeader(nil, channel, uint64(size), nil))
}

func (p *peer) piece(channel uint16, b []byte) {
	p.t.Helper()
	p.raw(wire.AppendFrame(nil, wire.FrameBody, channel, b))
}

// until waits for what is about to be.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatal("it does not come about")
		}
	}
}

func smallBudget() *budget.Budget { return budget.New(budget.Options{Bytes: 2 << 20, Free: 4 << 10}) }

// Whatever the memory for requests, the unfinished bodies of all channels are taken, and the connection goes on.
func TestInterleavedBodiesAreStoredInBoundedMemory(t *testing.T) {
	const channels, size, part = 20, 1 << 20, 100_000
	memory := smallBudget()
	r := newRig(t, rigOptions{server: func(o *Options) { o.Budget = memory }})
	p := r.connect()
	q := p.declare(1)
	for ch := range uint16(channels) {
		p.call(ch+2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
		p.begin(ch+2, q, size)
	}
	for at := 0; at < size; at += part {
		for ch := range uint16(channels) {
			p.piece(ch+2, numbered(int(ch), size)[at:min(at+part, size)])
		}
	}
	if n := p.ready(1, q); n != channels {
		t.Fatalf("%d messages are stored", n)
	}
	for ch := range channels {
		if m := p.call(1, &wire.BasicGet{Queue: q, NoAck: true}, wire.IDBasicGetOk); !bytes.Equal(m.body, numbered(ch, size)) {
			t.Fatalf("body %d came back different", ch)
		}
	}
	if s := memory.Stats(); s.Peak > s.Bytes || s.Used != 0 {
		t.Errorf("%+v", s)
	}
	if n := r.scratches.Load(); n != 0 {
		t.Errorf("%d scratch files are open", n)
	}
}

func TestBodiesThatAreNeverFinishedAreLetGo(t *testing.T) {
	memory := smallBudget()
	ends := map[string]func(p *peer){
		"a method within a body": func(p *peer) { p.send(2, &wire.ChannelClose{}); p.refused(wire.UnexpectedFrame) },
		"socket cut":             func(p *peer) { p.nc.Close() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{server: func(o *Options) { o.Budget = memory }})
			p := r.connect()
			p.t = t
			q := p.declare(1)
			for ch := range uint16(10) {
				p.call(ch+2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
				p.begin(ch+2, q, 1<<20)
			}
			for range 10 {
				for ch := range uint16(10) {
					p.piece(ch+2, make([]byte, 100_000))
				}
			}
			p.ready(1, q)
			if r.scratches.Load() != 1 {
				t.Fatalf("%d scratch files are open, %+v", r.scratches.Load(), memory.Stats())
			}
			end(p)
			until(t, func() bool { return r.scratches.Load()+int32(memory.Stats().Used) == 0 })
		})
	}
}

// Who stops within a body holds memory for as long as it stays; others must get on.
func TestUnfinishedBodiesLeaveMemoryForThoseThatAreFinished(t *testing.T) {
	memory := budget.New(budget.Options{Bytes: 2 << 20, Free: 4 << 10, Patience: time.Millisecond})
	r := newRig(t, rigOptions{server: func(o *Options) { o.Budget = memory }})
	for range 5 { // each holds what it can get
		p := r.connect()
		q := p.declare(1)
		p.begin(1, q, 1<<20)
		p.piece(1, make([]byte, 100_000))
		p.piece(1, make([]byte, 100_000))
		p.piece(1, make([]byte, 100_000))
		p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	}
	p := r.connect()
	q := p.declare(1)
	want := numbered(1, 1<<20)
	p.begin(1, q, len(want))
	for at := 0; at < len(want); at += 100_000 {
		p.piece(1, want[at:min(at+100_000, len(want))])
	}
	if m := p.call(1, &wire.BasicGet{Queue: q, NoAck: true}, wire.IDBasicGetOk); !bytes.Equal(m.body, want) {
		t.Error("the body came back different")
	}
}

// A body that waits on disk for memory waits for as long as it takes, and others who want as much come after it.
func TestASpilledBodyKeepsItsPlaceInTheLine(t *testing.T) {
	memory := budget.New(budget.Options{Bytes: 2 << 20, Free: 4 << 10, Patience: 10 * time.Millisecond})
	r := newRig(t, rigOptions{server: func(o *Options) { o.Budget = memory }})
	one, two := memory.Open(), memory.Open()
	if err := errors.Join(one.Try(900_000), two.Try(700_000)); err != nil {
		t.Fatal(err)
	}
	p := r.connect()
	q := p.declare(1)
	want := numbered(1, 1<<20)
	p.begin(1, q, len(want))
	for at := 0; at < len(want); at += 100_000 {
		p.piece(1, want[at:min(at+100_000, len(want))])
	}
	waits := func() uint64 { return memory.Stats().Waits }
	until(t, func() bool { return waits() == 1 })
	gone := make(chan struct{})
	var others sync.WaitGroup
	for range 8 { // who gets it keeps it
		others.Go(func() {
			for errors.Is(memory.Open().Take(1<<20-8<<10, gone), budget.ErrFull) {
			}
		})
	}
	until(t, func() bool { return waits() > 50 }) // its patience ended again and again
	one.Give(900_000)
	if m := p.call(1, &wire.BasicGet{Queue: q, NoAck: true}, wire.IDBasicGetOk); !bytes.Equal(m.body, want) {
		t.Error("the body came back different")
	}
	close(gone)
	others.Wait()
}

// Who waits for memory is no reason to wait with a stop.
func TestAStopEndsTheWaitForMemory(t *testing.T) {
	memory := budget.New(budget.Options{Bytes: 2 << 20, Free: 4 << 10, Patience: time.Hour})
	r := newRig(t, rigOptions{server: func(o *Options) { o.Budget = memory }})
	if err := errors.Join(memory.Open().Try(900_000), memory.Open().Try(700_000)); err != nil {
		t.Fatal(err)
	}
	p := r.connect()
	p.begin(1, p.declare(1), 1<<20)
	for left := 1 << 20; left > 0; left -= 100_000 {
		p.piece(1, make([]byte, min(left, 100_000)))
	}
	until(t, func() bool { return memory.Stats().Waiting == 1 })
	r.server.CloseAll("test")
	p.expect(0, wire.IDConnectionClose)
	until(t, func() bool { return memory.Stats().Waiting == 0 })
}

// Many small beginnings are as much as a few large ones.
func TestTheBeginningsOfManyMessagesLeaveMemoryForOthers(t *testing.T) {
	table := wire.AppendTableString(nil, "name", strings.Repeat("x", 40_000))
	heavy := props(wire.Properties{Headers: table})
	for name, begin := range map[string]func(p *peer, channel uint16){
		"bodies": func(p *peer, channel uint16) { p.begin(channel, "", 200_000); p.piece(channel, []byte("x")) },
		"properties": func(p *peer, channel uint16) {
			p.send(channel, &wire.BasicPublish{})
			p.raw(wire.AppendContentHeader(nil, channel, 10, heavy))
		},
	} {
		t.Run(name, func(t *testing.T) {
			memory := smallBudget()
			r := newRig(t, rigOptions{server: func(o *Options) { o.Budget = memory }})
			for range 3 {
				p := r.connect()
				for ch := range uint16(30) {
					p.call(ch+2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
					begin(p, ch+2)
				}
				p.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
			}
			if s := memory.Stats(); s.Used < s.Bytes/4 || s.Used > s.Bytes/2+3*budget.LittleStanding {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A client that makes many bodies whole with one write, and reads nothing, gets no more of them into memory
// than one that sends them one by one.
func TestReturnedBodiesWaitForTheirClient(t *testing.T) {
	const channels, size = 16, 600_000
	r := newRig(t, rigOptions{})
	p := r.handshakeOver(r.pipe(), &wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072})
	var last []byte
	for ch := range uint16(channels) {
		p.call(ch+1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
		p.send(ch+1, &wire.BasicPublish{RoutingKey: "nowhere", Mandatory: true})
		p.raw(wire.AppendContentHeader(nil, ch+1, size, nil))
		p.raw(wire.AppendBody(nil, ch+1, make([]byte, size-1), p.max))
		last = wire.AppendFrame(last, wire.FrameBody, ch+1, []byte("x"))
	}
	p.raw(last)
	waits := 0
	for begun := time.Now(); time.Since(begun) < 200*time.Millisecond; time.Sleep(time.Millisecond) {
		r.server.clients.Each(func(client broker.Client) {
			c := client.(*conn)
			c.outMu.Lock()
			waits = max(waits, len(c.out))
			c.outMu.Unlock()
		})
	}
	if waits > maxOutboxBytes+size+1000 {
		t.Errorf("%d bytes wait to be written", waits)
	}
	for range channels {
		if _, m, err := p.next(); err != nil || len(m.body) != size {
			t.Fatalf("%d bytes came back: %v", len(m.body), err)
		}
	}
}

func TestAFullDiskIsAnErrorOfThatPublish(t *testing.T) {
	var full atomic.Bool
	disk := fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
		if full.Load() && strings.Contains(name, "scratch-") {
			return syscall.ENOSPC
		}
		return nil
	})
	big := numbered(1, 3<<20)
	send := func(p *peer, channel uint16, q string) {
		p.begin(channel, q, len(big))
		for at := 0; at < len(big); at += 100_000 {
			p.piece(channel, big[at:min(at+100_000, len(big))])
		}
	}
	memory := func(o *Options) { o.Budget = smallBudget() }
	t.Run("with confirms", func(t *testing.T) {
		r := newRig(t, rigOptions{fs: disk, server: memory})
		p := r.connect()
		p.t = t
		q := p.declare(1)
		p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
		p.publish(1, text(q, "before"))
		p.expect(1, wire.IDBasicAck)
		full.Store(true)
		send(p, 1, q)
		p.expect(0, wire.IDConnectionBlocked)
		if m := p.expect(1, wire.IDBasicNack).method.(*wire.BasicNack); m.DeliveryTag != 2 || m.Multiple {
			t.Errorf("%+v", m)
		}
		full.Store(false)
		p.expect(0, wire.IDConnectionUnblocked)
		p.publish(1, text(q, "after"))
		if m := p.expect(1, wire.IDBasicAck).method.(*wire.BasicAck); m.DeliveryTag != 3 {
			t.Errorf("%+v", m)
		}
		if n := p.ready(1, q); n != 2 {
			t.Errorf("%d messages are stored", n)
		}
	})
	t.Run("without", func(t *testing.T) {
		r := newRig(t, rigOptions{fs: disk, server: memory})
		p := r.connect()
		p.t = t
		q := p.declare(1)
		p.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
		full.Store(true)
		send(p, 2, q)
		p.expect(0, wire.IDConnectionBlocked)
		if m := p.expect(2, wire.IDChannelClose).method.(*wire.ChannelClose); m.ReplyCode != wire.PreconditionFailed {
			t.Errorf("%+v", m)
		}
		full.Store(false)
		p.expect(0, wire.IDConnectionUnblocked)
		p.publish(1, text(q, "the connection lives"))
		if n := p.ready(1, q); n != 1 {
			t.Errorf("%d messages are stored", n)
		}
	})
}

// Unfinished bodies may not have the whole disk.
func TestBodiesTakeABoundedPartOfTheDisk(t *testing.T) {
	const size = 2 << 20
	r := newRig(t, rigOptions{server: func(o *Options) { o.Budget = smallBudget() },
		broker: broker.Options{ScratchBytes: 12 << 20, MaxMessageBytes: size}})
	unfinished := func(p *peer, channel uint16) {
		p.call(channel, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
		p.begin(channel, "q", size)
		for range 20 {
			p.piece(channel, make([]byte, 100_000))
		}
		p.call(1, &wire.BasicQos{}, wire.IDBasicQosOk)
	}
	refused := func(p *peer, channel uint16, why string) {
		t.Helper()
		p.piece(channel, make([]byte, size-20*100_000))
		m := p.expect(channel, wire.IDChannelClose).method.(*wire.ChannelClose)
		if m.ReplyCode != wire.PreconditionFailed || !strings.Contains(m.ReplyText, why) {
			t.Errorf("%d %s", m.ReplyCode, m.ReplyText)
		}
		if r.broker.Alarm() != "" {
			t.Errorf("an alarm, and the disk has room: %s", r.broker.Alarm())
		}
	}
	p := r.connect()
	unfinished(p, 2)
	unfinished(p, 3) // more than a quarter
	refused(p, 3, "of this client take more than 3145728 bytes")
	for range 5 {
		unfinished(r.connect(), 2)
	}
	last := r.connect()
	unfinished(last, 2)
	refused(last, 2, "of all clients take 12582912 bytes")
	p.nc.Close()
	until(t, func() bool { return r.broker.Stats().Scratch < 11<<20 })
	q := last.declare(1)
	last.send(2, &wire.ChannelCloseOk{})
	last.call(2, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
	last.begin(2, q, size)
	for left := size; left > 0; left -= 100_000 {
		last.piece(2, make([]byte, min(left, 100_000)))
	}
	if n := last.ready(2, q); n != 1 {
		t.Errorf("when there is room again %d messages are stored", n)
	}
}

var _ broker.Scratch = (*countedFile)(nil)
