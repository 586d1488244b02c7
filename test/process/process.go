// Package process runs the built broker for programs that hurt it: it starts, kills and
// stops the process on a data directory of theirs and keeps what it printed.
package process

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/leveret-mq/leveret/internal/program"
)

// startTimeout bounds a start, recovery included.
const startTimeout = 20 * time.Second

// Broker is one data directory and the process that serves it, one life after the other.
// Its methods belong to one goroutine, but for Died.
type Broker struct {
	AMQP, Kafka, Metrics string // addresses, the same in each life
	HTTP                 string // "off" unless WithHTTP was called
	XMPP                 string // "off" unless WithXMPP was called
	DataDir, LogFile     string

	binary     string
	http, xmpp string // where the two would be served
	process    *exec.Cmd
	exited     chan struct{}
	log        *os.File
}

// New prepares a broker with its data and its log below dir.
func New(binary, dir string) (*Broker, error) {
	path, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("no broker to start: %w (make build)", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	b := &Broker{binary: path, HTTP: "off", XMPP: "off", DataDir: filepath.Join(dir, "data"), LogFile: filepath.Join(dir, "broker.log")}
	addrs, err := program.FreeAddresses(5)
	if err != nil {
		return nil, err
	}
	b.AMQP, b.Kafka, b.Metrics, b.http, b.xmpp = addrs[0], addrs[1], addrs[2], addrs[3], addrs[4]
	return b, nil
}

// WithHTTP has the HTTP management API served as well, in all lives that begin from now on.
func (b *Broker) WithHTTP() { b.HTTP = b.http }

// WithXMPP has XMPP served as well, in all lives that begin from now on.
func (b *Broker) WithXMPP() { b.XMPP = b.xmpp }

// Begin starts the process with further flags and does not wait until it is ready.
func (b *Broker) Begin(flags ...string) error {
	log, err := os.OpenFile(b.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	p := exec.Command(b.binary, append([]string{"serve", "--data-dir", b.DataDir,
		"--amqp-addr", b.AMQP, "--kafka-addr", b.Kafka, "--stomp-addr", "off", "--stomp-ws-addr", "off", "--xmpp-addr", b.XMPP, "--xmpps-addr", "off", "--http-addr", b.HTTP, "--metrics-addr", b.Metrics}, flags...)...)
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

// Start is Begin and waits until the listeners take connections.
func (b *Broker) Start(flags ...string) error {
	if err := b.Begin(flags...); err != nil {
		return err
	}
	return b.AwaitReady()
}

// AwaitReady waits until the listeners of AMQP, Kafka, HTTP and XMPP take connections.
func (b *Broker) AwaitReady() error {
	deadline := time.Now().Add(startTimeout)
	for _, addr := range []string{b.AMQP, b.Kafka, b.HTTP, b.XMPP} {
		if addr == "off" {
			continue
		}
		for {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				_ = c.Close()
				break
			}
			select {
			case <-b.exited:
				return fmt.Errorf("the broker ended by itself: %s", b.LastWords())
			case <-time.After(2 * time.Millisecond):
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("the broker took no connection within %v: %s", startTimeout, b.LastWords())
			}
		}
	}
	return nil
}

// Kill ends the process with SIGKILL and waits for its end. One that does not run is fine.
func (b *Broker) Kill() {
	if b.process == nil {
		return
	}
	_ = b.process.Process.Kill()
	b.gone()
}

// Stop ends the process with SIGTERM. One that is not gone in time is killed, and an error.
func (b *Broker) Stop(limit time.Duration) error {
	if b.process == nil {
		return nil
	}
	if err := b.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-b.exited:
		b.gone()
		return nil
	case <-time.After(limit):
		_ = b.process.Process.Signal(syscall.SIGQUIT) // its goroutines go to the log
		select {
		case <-b.exited:
		case <-time.After(time.Second):
		}
		b.Kill()
		return fmt.Errorf("the broker did not end within %v of SIGTERM", limit)
	}
}

// gone waits for the end and forgets the process.
func (b *Broker) gone() {
	<-b.exited
	_ = b.log.Close()
	b.process = nil
}

// Died tells whether the process ended without being told to.
func (b *Broker) Died() bool {
	select {
	case <-b.exited:
		return true
	default:
		return false
	}
}

// PID is the process of this life.
func (b *Broker) PID() int { return b.process.Process.Pid }

// Log is all that the broker printed, in all of its lives.
func (b *Broker) Log() string {
	raw, err := os.ReadFile(b.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// LastWords is the end of Log.
func (b *Broker) LastWords() string {
	all := b.Log()
	return strings.TrimSpace(all[max(0, len(all)-2000):])
}
