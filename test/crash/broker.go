package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// startTimeout bounds a start, recovery included.
const startTimeout = 20 * time.Second

// broker is the process that is killed.
type broker struct {
	binary, dir                      string
	amqpAddr, kafkaAddr, metricsAddr string
	segmentBytes                     string

	process *exec.Cmd
	exited  chan struct{}
	log     *os.File
}

func newBroker(binary, dir string, rng *rand.Rand) (*broker, error) {
	path, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("no broker to kill: %w (make build)", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	b := &broker{binary: path, dir: dir}
	for _, addr := range []*string{&b.amqpAddr, &b.kafkaAddr, &b.metricsAddr} {
		if *addr, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	// Small segments, so that a short run rolls and recycles many.
	b.segmentBytes = []string{"64KiB", "256KiB", "1MiB"}[rng.IntN(3)]
	return b, nil
}

// freeAddress asks the system for a port that nobody uses.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// startProcess starts the broker and does not wait until it is ready. The mode
// is drawn anew for each life: a kill must not cost a confirm in any of them.
func (b *broker) startProcess(rng *rand.Rand) error {
	mode := []string{"group", "group", "group", "os", "always"}[rng.IntN(5)]
	log, err := os.OpenFile(b.logName(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	p := exec.Command(b.binary, "serve", "--data-dir", filepath.Join(b.dir, "data"), "--sync", mode, "--segment-bytes", b.segmentBytes,
		"--amqp-addr", b.amqpAddr, "--kafka-addr", b.kafkaAddr, "--metrics-addr", b.metricsAddr)
	p.Stdout, p.Stderr = log, log
	if err := p.Start(); err != nil {
		_ = log.Close()
		return fmt.Errorf("start the broker: %w", err)
	}
	b.process, b.log, b.exited = p, log, make(chan struct{})
	go func(exited chan struct{}) {
		_ = p.Wait()
		close(exited)
	}(b.exited)
	return nil
}

// start is startProcess and waits until both listeners take connections.
func (b *broker) start(rng *rand.Rand) error {
	if err := b.startProcess(rng); err != nil {
		return err
	}
	deadline := time.Now().Add(startTimeout)
	for _, addr := range []string{b.amqpAddr, b.kafkaAddr} {
		for {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				_ = c.Close()
				break
			}
			select {
			case <-b.exited:
				return fmt.Errorf("the broker ended by itself: %s", b.lastWords())
			case <-time.After(2 * time.Millisecond):
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("the broker took no connection within %v: %s", startTimeout, b.lastWords())
			}
		}
	}
	return nil
}

// kill ends the process with SIGKILL and waits for its end.
func (b *broker) kill() {
	if b.process == nil {
		return
	}
	_ = b.process.Process.Kill()
	<-b.exited
	_ = b.log.Close()
	b.process = nil
}

// died tells whether the broker ended without being killed.
func (b *broker) died() bool {
	select {
	case <-b.exited:
		return true
	default:
		return false
	}
}

func (b *broker) logName() string { return filepath.Join(b.dir, "broker.log") }

func (b *broker) lastWords() string {
	raw, err := os.ReadFile(b.logName())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(raw[max(0, len(raw)-2000):]))
}
