package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/leveret-mq/leveret/bench/amqpload"
	"github.com/leveret-mq/leveret/bench/measure"
	"github.com/leveret-mq/leveret/internal/program"
)

// Limits of a broker that bench starts itself.
const (
	startLimit = 15 * time.Second
	stopLimit  = time.Minute // a hundred thousand logs are flushed, sealed and trimmed first
	idleAfter  = 500 * time.Millisecond
	tailBytes  = 4 << 10
)

// started is a broker of our own, in a data directory of its own.
type started struct {
	cmd     *exec.Cmd
	dataDir string
	mode    string
	output  *tail
	target  target
	ready   time.Duration // from its start to its first confirmed message
	idle    measure.Memory
	exited  chan error
}

// startBroker runs the binary with an empty data directory, and waits until it has
// confirmed a message.
func startBroker(ctx context.Context, o *options, mode string) (*started, error) {
	dir, err := os.MkdirTemp(o.tempDir, "leveret-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a data directory: %w", err)
	}
	s, err := launch(ctx, o, mode, dir)
	if err != nil {
		os.RemoveAll(dir)
		os.RemoveAll(secureDir(dir))
	}
	return s, err
}

// launch runs the binary on a data directory with listeners on free ports of the loopback
// address. If it fails, nothing runs any more, and the directory stays.
func launch(ctx context.Context, o *options, mode, dir string) (*started, error) {
	binary, err := o.binary, error(nil)
	if binary == "" {
		if binary, err = program.Find("leveret"); err != nil {
			return nil, fmt.Errorf("find the broker, to start it (or --binary PATH): %w", err)
		}
	}
	ports, err := program.FreeAddresses(7)
	if err != nil {
		return nil, err
	}
	s := &started{dataDir: dir, mode: mode, output: &tail{}, exited: make(chan error, 1)}
	args := []string{"serve", "--data-dir", dir, "--sync", mode, "--amqp-addr", ports[0], "--kafka-addr", ports[1], "--metrics-addr", ports[2]}
	if knows(ctx, binary, "--http-addr") {
		args = append(args, "--http-addr", "off")
	}
	speaksXMPP := knows(ctx, binary, "--xmpp-addr")
	if speaksXMPP {
		args = append(args, "--xmpp-addr", ports[6], "--xmpps-addr", "off")
	}
	speaksSTOMP := knows(ctx, binary, "--stomp-addr")
	if speaksSTOMP {
		args = append(args, "--stomp-addr", ports[5])
	}
	if knows(ctx, binary, "--stomp-ws-addr") {
		args = append(args, "--stomp-ws-addr", "off", "--stomp-wss-addr", "off")
	}
	secure, err := o.secureArgs(dir, ports[3], ports[4])
	if err != nil {
		return nil, err
	}
	args = append(args, secure...)
	s.cmd = exec.Command(binary, append(args, strings.Fields(o.startArgs)...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	go func() { s.exited <- s.cmd.Wait() }()
	s.target = target{amqp: o.login(ports[0]), kafka: ports[1], pidAMQP: s.cmd.Process.Pid, pidKafka: s.cmd.Process.Pid, dataDir: dir, metrics: ports[2],
		settings: map[string]string{"flags": strings.TrimSpace("--sync " + mode + " " + o.startArgs)}}
	if speaksSTOMP {
		s.target.stomp = ports[5]
	}
	if speaksXMPP {
		s.target.xmpp = ports[6]
	}
	if len(secure) > 0 {
		s.target.amqps, s.target.kafkaTLS = o.secureLogin(ports[3]), secureKafka(ports[4])
	}
	if err := s.waitReady(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start the broker: %w; it printed:\n%s", err, s.output), s.halt())
	}
	s.ready = time.Since(began)
	if err := s.weigh(ctx); err != nil {
		return nil, errors.Join(err, s.halt())
	}
	return s, nil
}

// knows tells whether a build has a flag: one that is compared with may be from before.
func knows(ctx context.Context, binary, flag string) bool {
	help, err := exec.CommandContext(ctx, binary, "serve", "--help").Output()
	return err == nil && bytes.Contains(help, []byte(flag))
}

// restart starts another broker on the data of one that was halted.
func (s *started) restart(ctx context.Context, o *options) (*started, error) {
	return launch(ctx, o, s.mode, s.dataDir)
}

// weigh looks at the memory of the broker while it has nothing to do.
func (s *started) weigh(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(idleAfter):
	}
	m, err := measure.MemoryOf(s.cmd.Process.Pid)
	if errors.Is(err, measure.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	s.idle = m
	return nil
}

// waitReady publishes one message as soon as the broker lets it.
func (s *started) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		l := amqpload.Load{Address: s.target.amqp, Name: "leveret-bench-first", BodyBytes: 100, Window: 1, Messages: 1, For: startLimit}
		run, err := l.Open(ctx)
		if err == nil {
			_, err = run.Publish(ctx)
			defer run.Close()
			return err
		}
		select {
		case exit := <-s.exited:
			s.exited <- exit
			return fmt.Errorf("it ended: %w", errors.Join(exit, err))
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// stop ends the broker and removes its data.
func (s *started) stop() error {
	return errors.Join(s.halt(), os.RemoveAll(s.dataDir), os.RemoveAll(secureDir(s.dataDir)))
}

// halt ends the broker, kindly at first. Ending one that has ended is no error.
func (s *started) halt() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // one that has ended needs none
	select {
	case exit := <-s.exited:
		s.exited <- exit
		return nil
	case <-time.After(stopLimit):
		_ = s.cmd.Process.Kill()
		s.exited <- <-s.exited
		return fmt.Errorf("the broker did not stop within %s and was killed", stopLimit)
	}
}

// tail keeps the last output of a process.
type tail struct {
	mu sync.Mutex // guards b
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 2*tailBytes {
		t.b = append(t.b[:0], t.b[len(t.b)-tailBytes:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
