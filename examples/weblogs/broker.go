package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Names on the broker.
const (
	exchangeName = "weblogs"
	feedTopic    = "weblogs-in"     // what a Kafka producer writes into the exchange through
	allQueue     = "weblogs-all"    // bound to #; read as a topic
	errorQueue   = "weblogs-errors" // bound to *.error; worked on and kept
	reportGroup  = "weblogs-report"
)

// Broker is where the clients connect; one that was started here is stopped by Stop.
type Broker struct {
	AMQP, Kafka, Metrics string // host:port; Metrics may be empty
	Own                  bool

	process *exec.Cmd
	done    chan error
	dir     string
	output  bytes.Buffer // of the process; read after it ended
}

// startBroker runs the binary on free ports of the loopback interface, with a
// data directory of its own that Stop removes.
func startBroker(ctx context.Context, binary, sync string) (*Broker, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	b := &Broker{AMQP: ports[0], Kafka: ports[1], Metrics: ports[2], Own: true, done: make(chan error, 1)}
	if b.dir, err = os.MkdirTemp("", "leveret-weblogs-"); err != nil {
		return nil, fmt.Errorf("directory for the broker's data: %w", err)
	}
	args := []string{"serve", "--data-dir", filepath.Join(b.dir, "data"),
		"--amqp-addr", b.AMQP, "--kafka-addr", b.Kafka, "--stomp-addr", "off", "--stomp-ws-addr", "off", "--xmpp-addr", "off", "--http-addr", "off", "--metrics-addr", b.Metrics}
	if sync != "" {
		args = append(args, "--sync", sync)
	}
	b.process = exec.Command(binary, args...)
	b.process.Stdout, b.process.Stderr = &b.output, &b.output
	// A Ctrl-C in the terminal is for this program, which then stops the broker in order.
	b.process.SysProcAttr = ownGroup()
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

// Stop ends a broker that was started here and removes its data.
func (b *Broker) Stop() {
	if !b.Own {
		return
	}
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

func freePorts(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // held until all are found, so that they differ
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

func (b *Broker) dial() (*amqp.Connection, error) {
	c, err := amqp.Dial("amqp://guest:guest@" + b.AMQP + "/")
	if err != nil {
		return nil, fmt.Errorf("connect to AMQP at %s: %w", b.AMQP, err)
	}
	return c, nil
}

// declare makes the exchange, its topic for Kafka producers, and the two queues.
// What an earlier run left behind is removed first.
func declare(b *Broker) error {
	conn, err := b.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	for _, q := range []string{allQueue, errorQueue} {
		if _, err := ch.QueueDelete(q, false, false, false); err != nil {
			return fmt.Errorf("delete queue %s: %w", q, err)
		}
	}
	if err := ch.ExchangeDelete(exchangeName, false, false); err != nil {
		return fmt.Errorf("delete exchange: %w", err)
	}
	if err := ch.ExchangeDeclare(exchangeName, "topic", true, false, false, false, amqp.Table{"x-kafka-topic": feedTopic}); err != nil {
		return fmt.Errorf("declare exchange %s: %w", exchangeName, err)
	}
	for _, q := range []struct {
		name, key string
		args      amqp.Table
	}{
		// Nobody acks in this queue, so it keeps all that comes.
		{allQueue, "#", nil},
		// Acked lines stay for replay. The age counts from the record's time, which for an
		// archived line is the line's own: the retention must reach back to the oldest log.
		{errorQueue, "*.error", amqp.Table{"x-retention": "100Y"}},
	} {
		if _, err := ch.QueueDeclare(q.name, true, false, false, false, q.args); err != nil {
			return fmt.Errorf("declare queue %s: %w", q.name, err)
		}
		if err := ch.QueueBind(q.name, q.key, exchangeName, false, nil); err != nil {
			return fmt.Errorf("bind queue %s: %w", q.name, err)
		}
	}
	return nil
}
