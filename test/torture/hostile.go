package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// attack is one way to behave badly. It opens what it likes through a and returns when
// it has done its worst; it is run again and again while the round lasts.
type attack struct {
	name string
	run  func(a *attacker) error
}

func attacks() []attack {
	return []attack{
		{"noise", noise}, {"cut frames", cutFrames}, {"huge lengths", hugeLengths}, {"wrong logins", wrongLogins},
		{"a crowd that says nothing", silence}, {"bodies that never end", endlessBodies},
		{"readers that do not read", slowReaders}, {"one name ten thousand times", manyNames},
	}
}

const (
	attackTime = 4 * time.Second
	attackers  = 4 // of each kind, at the same time
	// What the broker is told that requests may take, and what the process may have
	// resident at the most then: the collector's share, sockets, passwords' hashes and
	// mapped segments come on top.
	requestMemory = "128MiB"
	memoryLimit   = 1 << 30
	calmLimit     = 20 * time.Second
	calmFiles     = 40 // descriptors beyond those before, once all have left
)

// hostile runs a few kinds of attack at once, beside the witness. What must hold: the
// witness gets through, memory is bounded, descriptors come back, and a stop ends.
func hostile(t *trial) (string, error) {
	if err := t.broker.Start("--request-memory", requestMemory); err != nil {
		return "", err
	}
	all := attacks()
	t.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	all = all[:2+t.rng.IntN(3)]
	var names []string
	for _, a := range all {
		names = append(names, a.name)
	}
	did := strings.Join(names, ", ")
	before := descriptors(t.broker.PID())
	w := watch(t.ctx, t)
	ctx, cancel := context.WithTimeout(t.ctx, attackTime)
	var wg sync.WaitGroup
	for _, kind := range all {
		for range attackers {
			rng := rand.New(rand.NewPCG(t.rng.Uint64(), 2))
			wg.Go(func() {
				for ctx.Err() == nil {
					a := &attacker{ctx: ctx, rng: rng, amqp: t.broker.AMQP, kafka: t.broker.Kafka}
					_ = kind.run(a) // that the broker ends it is what is meant to happen
					a.leave()
				}
			})
		}
	}
	wg.Wait()
	cancel()
	trips, slowest, err := w.end()
	did += fmt.Sprintf("; %d round trips, slowest %d ms", trips, slowest.Milliseconds())
	if err := errors.Join(err, t.alive()); err != nil {
		return did, err
	}
	peak := peakMemory(t.broker.PID())
	did += fmt.Sprintf(", %d MiB at most", peak>>20)
	if peak > memoryLimit {
		return did, errors.New("that is too much memory")
	}
	for deadline := time.Now().Add(calmLimit); descriptors(t.broker.PID()) > before+calmFiles; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return did, fmt.Errorf("%d descriptors are open, %d were before the attack", descriptors(t.broker.PID()), before)
		}
	}
	return did, t.broker.Stop(stopGrace)
}

// attacker is one client and what it opened.
type attacker struct {
	ctx         context.Context
	rng         *rand.Rand
	amqp, kafka string
	open        []net.Conn
}

func (a *attacker) leave() {
	for _, c := range a.open {
		_ = c.Close()
	}
	a.open = nil
}

func (a *attacker) dial(addr string) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	a.open = append(a.open, c)
	return c, nil
}

func (a *attacker) either() string { return []string{a.amqp, a.kafka}[a.rng.IntN(2)] }

func (a *attacker) noiseOf(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(a.rng.Uint32())
	}
	return b
}

// wait lets time pass, or the round end.
func (a *attacker) wait(d time.Duration) {
	select {
	case <-a.ctx.Done():
	case <-time.After(d):
	}
}

func noise(a *attacker) error {
	c, err := a.dial(a.either())
	if err != nil {
		return err
	}
	_, err = c.Write(a.noiseOf(1 + a.rng.IntN(64<<10)))
	a.wait(time.Duration(a.rng.IntN(20)) * time.Millisecond)
	return err
}

// frame is one AMQP frame.
func frame(kind byte, channel uint16, payload []byte) []byte {
	b := append([]byte{kind}, binary.BigEndian.AppendUint16(nil, channel)...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(append(b, payload...), 0xCE)
}

func method(class, id uint16, rest string) []byte {
	b := binary.BigEndian.AppendUint16(nil, class)
	return append(binary.BigEndian.AppendUint16(b, id), rest...)
}

// handshake is all that a client sends until its connection and channel 1 are open.
func handshake(password string) []byte {
	response := "\x00guest\x00" + password
	start := "\x00\x00\x00\x00" + "\x05PLAIN" + string(binary.BigEndian.AppendUint32(nil, uint32(len(response)))) + response + "\x05en_US"
	b := []byte("AMQP\x00\x00\x09\x01")
	b = append(b, frame(1, 0, method(10, 11, start))...)
	b = append(b, frame(1, 0, method(10, 31, "\x00\x40\x00\x02\x00\x00\x00\x00"))...)
	b = append(b, frame(1, 0, method(10, 40, "\x01/\x00\x00"))...)
	return append(b, frame(1, 1, method(20, 10, "\x00"))...)
}

func cutFrames(a *attacker) error {
	c, err := a.dial(a.amqp)
	if err != nil {
		return err
	}
	whole := handshake("guest")
	whole = append(whole, frame(1, 1, method(60, 40, "\x00\x00\x00\x0ftorture.witness\x00"))...)
	if _, err := c.Write(whole[:1+a.rng.IntN(len(whole)-1)]); err != nil {
		return err
	}
	k, err := a.dial(a.kafka)
	if err != nil {
		return err
	}
	q := kafkaRequest(kmsg.NewPtrMetadataRequest(), 7)
	_, err = k.Write(q[:1+a.rng.IntN(len(q)-1)])
	a.wait(time.Duration(a.rng.IntN(100)) * time.Millisecond)
	return err
}

func hugeLengths(a *attacker) error {
	c, err := a.dial(a.amqp)
	if err != nil {
		return err
	}
	bad := [][]byte{
		{1, 0, 0, 0xff, 0xff, 0xff, 0xff},
		frame(2, 1, append(method(60, 0, ""), "\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"...)),
		frame(1, 1, method(50, 10, "\x00\x00\xff")),
		frame(1, 1, append(method(50, 10, "\x00\x00\x01q\x00"), "\x7f\xff\xff\xff"...)),
	}[a.rng.IntN(4)]
	_, _ = c.Write(append(append(handshake("guest"), frame(1, 1, method(60, 40, "\x00\x00\x00\x01q\x00"))...), bad...))
	k, err := a.dial(a.kafka)
	if err != nil {
		return err
	}
	size := []uint32{0x7fffffff, 0xffffffff, 0x80000000, 0, 100 << 20}[a.rng.IntN(5)]
	b := binary.BigEndian.AppendUint32(nil, size)
	// An array that says it has two thousand million entries.
	b = append(b, 0, byte(a.rng.IntN(70)), 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff)
	_, err = k.Write(b)
	_, _ = io.CopyN(io.Discard, k, 1)
	return err
}

func wrongLogins(a *attacker) error {
	c, err := a.dial(a.amqp)
	if err != nil {
		return err
	}
	if _, err := c.Write(handshake(strconv.Itoa(a.rng.Int()))); err != nil {
		return err
	}
	k, err := a.dial(a.kafka)
	if err != nil {
		return err
	}
	h := kmsg.NewPtrSASLHandshakeRequest()
	h.Mechanism = "PLAIN"
	l := kmsg.NewPtrSASLAuthenticateRequest()
	l.SASLAuthBytes = []byte("\x00guest\x00" + strconv.Itoa(a.rng.Int()))
	_, err = k.Write(append(kafkaRequest(h, 1), kafkaRequest(l, 1)...))
	return err
}

func silence(a *attacker) error {
	for range 60 {
		c, err := a.dial(a.either())
		if err != nil {
			return err
		}
		if a.rng.IntN(2) == 0 {
			_, _ = c.Write([]byte("AMQP\x00\x00\x09\x01")[:a.rng.IntN(9)])
		}
	}
	a.wait(time.Second)
	return nil
}

func endlessBodies(a *attacker) error {
	c, err := a.dial(a.amqp)
	if err != nil {
		return err
	}
	b := handshake("guest")
	for ch := uint16(2); ch < 40; ch++ {
		b = append(b, frame(1, ch, method(20, 10, "\x00"))...)
	}
	if _, err := c.Write(b); err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, c) }()
	part := make([]byte, 100<<10)
	for round := range 20 {
		for ch := uint16(1); ch < 40 && a.ctx.Err() == nil; ch++ {
			var f []byte
			if round == 0 {
				f = frame(1, ch, method(60, 40, "\x00\x00\x00\x0ftorture.nothing\x00"))
				f = append(f, frame(2, ch, append(method(60, 0, ""), "\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00"...))...)
			}
			if _, err := c.Write(append(f, frame(3, ch, part)...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// kafkaRequest is a request with its size and header.
func kafkaRequest(r kmsg.Request, version int16) []byte {
	r.SetVersion(version)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("torture")).AppendRequest(nil, r, 1)
}

func slowReaders(a *attacker) error {
	c, err := a.dial(a.amqp)
	if err != nil {
		return err
	}
	b := append(handshake("guest"), frame(1, 1, method(50, 10, "\x00\x00\x0ctorture.slow\x02\x00\x00\x00\x00"))...)
	b = append(b, frame(1, 1, method(60, 20, "\x00\x00\x0ctorture.slow\x00\x02\x00\x00\x00\x00"))...)
	message := append(frame(1, 1, method(60, 40, "\x00\x00\x00\x0ctorture.slow\x00")), frame(2, 1, append(method(60, 0, ""), "\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"...))...)
	message = append(message, frame(3, 1, make([]byte, 64<<10))...)
	for range 200 {
		b = append(b, message...)
	}
	if _, err := c.Write(b); err != nil {
		return err
	}
	k, err := a.dial(a.kafka)
	if err != nil {
		return err
	}
	meta := kafkaRequest(kmsg.NewPtrMetadataRequest(), 7)
	for range 2000 {
		if _, err := k.Write(meta); err != nil {
			break
		}
	}
	a.wait(500 * time.Millisecond)
	return nil
}

func manyNames(a *attacker) error {
	k, err := a.dial(a.kafka)
	if err != nil {
		return err
	}
	m := kmsg.NewPtrMetadataRequest()
	d := kmsg.NewPtrDescribeGroupsRequest()
	name := "torture.witness.topic"
	for range 10_000 {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		m.Topics = append(m.Topics, t)
		d.Groups = append(d.Groups, "g")
	}
	_, err = k.Write(append(kafkaRequest(m, 7), kafkaRequest(d, 4)...))
	if a.rng.IntN(2) == 0 {
		_, _ = io.CopyN(io.Discard, k, 1<<20)
	} else {
		a.wait(200 * time.Millisecond)
	}
	return err
}

// descriptors counts the open files of a process.
func descriptors(pid int) int {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0
	}
	return len(list)
}

// peakMemory is the most that a process ever had resident, in bytes.
func peakMemory(pid int) int64 {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}
