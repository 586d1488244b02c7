// Package demo is what the examples share besides the clients that they show: a
// broker of their own, the bars that tell how far they are, and numbers for people.
// It knows no job, and imports nothing of the broker.
package demo

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/internal/program"
)

// Broker is where the clients connect; one that was started here is stopped by Stop.
type Broker struct {
	AMQP, Kafka   string // host:port
	Metrics, HTTP string // host:port; may be empty for one that ran already
	Own           bool

	process *exec.Cmd
	done    chan error
	stop    sync.Once
	dir     string
	output  bytes.Buffer // of the process; read after it ended
}

// Flags are the settings by which every example finds its broker.
type Flags struct {
	Binary, Sync               string
	AMQP, Kafka, HTTP, Metrics string
}

// Register adds the flags; what says which names of the broker the example makes anew.
func (f *Flags) Register(set *flag.FlagSet, what string) {
	set.StringVar(&f.Binary, "broker", "bin/leveret", "the broker to start, on free ports with a data directory of its own")
	set.StringVar(&f.Sync, "sync", "", "durability mode of that broker: os, group or always (default: the broker's)")
	set.StringVar(&f.AMQP, "amqp", "", "host:port of a broker that runs already, for AMQP; needs -kafka too. Its "+what+" are made anew")
	set.StringVar(&f.Kafka, "kafka", "", "host:port of the same broker for Kafka clients")
}

// Check refuses half an address.
func (f *Flags) Check() error {
	if (f.AMQP == "") != (f.Kafka == "") {
		return errors.New("-amqp and -kafka come together: both are addresses of the same broker")
	}
	return nil
}

// Open is the broker that the flags name, or one that is started now and told about on out.
func (f *Flags) Open(ctx context.Context) (*Broker, error) {
	if f.AMQP != "" {
		return &Broker{AMQP: f.AMQP, Kafka: f.Kafka, HTTP: f.HTTP, Metrics: f.Metrics}, nil
	}
	b, err := Start(ctx, f.Binary, f.Sync)
	if err != nil {
		return nil, err
	}
	fmt.Printf("Started %s: AMQP %s, Kafka %s, metrics http://%s/metrics\n", f.Binary, b.AMQP, b.Kafka, b.Metrics)
	return b, nil
}

// Start runs the binary on free ports of the loopback interface, with a data
// directory of its own that Stop removes. An empty durability is the broker's default.
func Start(ctx context.Context, binary, durability string) (*Broker, error) {
	ports, err := program.FreeAddresses(4)
	if err != nil {
		return nil, err
	}
	b := &Broker{AMQP: ports[0], Kafka: ports[1], Metrics: ports[2], HTTP: ports[3], Own: true, done: make(chan error, 1)}
	if b.dir, err = os.MkdirTemp("", "leveret-example-"); err != nil {
		return nil, fmt.Errorf("directory for the broker's data: %w", err)
	}
	args := []string{"serve", "--data-dir", filepath.Join(b.dir, "data"),
		"--amqp-addr", b.AMQP, "--kafka-addr", b.Kafka, "--stomp-addr", "off", "--stomp-ws-addr", "off", "--xmpp-addr", "off", "--http-addr", b.HTTP, "--metrics-addr", b.Metrics}
	if durability != "" {
		args = append(args, "--sync", durability)
	}
	b.process = exec.Command(binary, args...)
	b.process.Stdout, b.process.Stderr = &b.output, &b.output
	// A Ctrl-C in the terminal is for this program, which then stops the broker in order.
	b.process.SysProcAttr = OwnGroup()
	if err := b.process.Start(); err != nil {
		_ = os.RemoveAll(b.dir)
		return nil, fmt.Errorf("start the broker (build it with: make build): %w", err)
	}
	go func() { b.done <- b.process.Wait() }()
	if err := b.ready(ctx); err != nil {
		b.Stop()
		return nil, fmt.Errorf("%w; its output:\n%s", err, &b.output)
	}
	return b, nil
}

// ready waits until the broker says that it is healthy.
func (b *Broker) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	client := http.Client{Timeout: time.Second}
	for {
		if res, err := client.Get("http://" + b.Metrics + "/health"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-b.done:
			b.done <- err
			return fmt.Errorf("the broker ended at once: %v", err)
		case <-ctx.Done():
			return errors.New("the broker is not ready after 15 s")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends a broker that was started here and removes its data. A second call does nothing.
func (b *Broker) Stop() {
	if b.Own {
		b.stop.Do(b.end)
	}
}

func (b *Broker) end() {
	if b.process.Process.Signal(syscall.SIGTERM) != nil { // as on Windows, which has no such signal
		_ = b.process.Process.Kill()
	}
	select {
	case <-b.done:
	case <-time.After(10 * time.Second):
		_ = b.process.Process.Kill()
		<-b.done
	}
	_ = os.RemoveAll(b.dir)
}

// Dial opens an AMQP connection.
func (b *Broker) Dial() (*amqp.Connection, error) {
	c, err := amqp.Dial("amqp://guest:guest@" + b.AMQP + "/")
	if err != nil {
		return nil, fmt.Errorf("connect to AMQP at %s: %w", b.AMQP, err)
	}
	return c, nil
}
