package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Worker is one process that transcodes, a job at a time.
type Worker struct {
	Name      string
	AMQP      string // host:port
	FFmpeg    ffmpeg
	Heartbeat time.Duration
	DieLate   bool // die once, when a result is published and its job not acked yet
}

// run works until ctx ends. A connection that ends is made again.
func (w *Worker) run(ctx context.Context) error {
	for failed := 0; ctx.Err() == nil; {
		worked, err := w.connected(ctx)
		if worked {
			failed = 0
		}
		if failed++; failed > 20 {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}

// connected works over one connection until that ends; worked tells that it was made.
func (w *Worker) connected(ctx context.Context) (worked bool, err error) {
	conn, err := amqp.DialConfig("amqp://guest:guest@"+w.AMQP+"/", amqp.Config{Heartbeat: w.Heartbeat, Properties: amqp.Table{"connection_name": w.Name}})
	if err != nil {
		return false, fmt.Errorf("connect to AMQP at %s: %w", w.AMQP, err)
	}
	defer conn.Close()
	// Heartbeats are the library's own goroutine: they go on while ffmpeg works, and stop
	// when the process does.
	ended := conn.NotifyClose(make(chan *amqp.Error, 1))
	p, err := demo.NewPublisher(conn)
	if err != nil {
		return true, err
	}
	// One job at a time: a second one in hand would wait for the first, though another
	// worker may be free.
	if err := p.Qos(1, 0, false); err != nil {
		return true, err
	}
	jobs, err := p.Consume(jobQueue, w.Name, false, false, false, false, nil)
	if err != nil {
		return true, fmt.Errorf("consume %s: %w", jobQueue, err)
	}
	// Work is for a connection: when that has ended, the job is somebody else's.
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		<-ended
		cancel()
	}()
	for {
		select {
		case <-working.Done():
			return true, working.Err()
		case d, ok := <-jobs:
			if !ok {
				return true, amqp.ErrClosed
			}
			err := w.do(working, p, d)
			if errors.Is(err, errDropped) {
				return true, w.tellDropped(ctx, d)
			}
			if err != nil {
				return true, err
			}
		}
	}
}

var errDropped = errors.New("the connection ended while the job was done")

// do does one job.
func (w *Worker) do(ctx context.Context, p *demo.Publisher, d amqp.Delivery) error {
	var job Job
	if err := json.Unmarshal(d.Body, &job); err != nil {
		return d.Reject(false)
	}
	began := time.Now()
	h := w.headers(&job, d)
	if err := p.Send(ctx, exchangeName, begunKey, amqp.Publishing{Headers: h}); err != nil {
		return err
	}
	// Into a file of this worker's: another may be at the same job, and a name that others
	// look for must be a whole video.
	part := job.Out + "." + w.Name + ".part"
	defer os.Remove(part)
	err := w.FFmpeg.transcode(ctx, job.In, part, job.Length, func(percent int) {
		// Nobody waits for the confirm: the next one tells more.
		h := w.headers(&job, d)
		h[percentHeader] = int32(percent)
		_, _ = p.Begin(ctx, exchangeName, progressKey, amqp.Publishing{Headers: h})
	})
	var no *unreadable
	switch {
	case ctx.Err() != nil:
		return errDropped
	case errors.As(err, &no):
		h[reasonHeader] = no.why
		if err := p.Send(ctx, exchangeName, brokenKey, amqp.Publishing{Headers: h}); err != nil {
			return err
		}
		return d.Reject(false)
	case err != nil:
		return errors.Join(err, d.Reject(true))
	}
	if err := os.Rename(part, job.Out); err != nil {
		return errors.Join(err, d.Reject(true))
	}
	h[onceHeader], h[tookHeader] = job.ID, time.Since(began).Milliseconds()
	if err := p.Send(ctx, resultsExchange, "", amqp.Publishing{Headers: h}); err != nil {
		return err
	}
	// Told behind the result: who reads it knows that the result is there, or went nowhere.
	if err := p.Send(ctx, exchangeName, finishedKey, amqp.Publishing{Headers: h}); err != nil {
		return err
	}
	if w.DieLate {
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill()
		}
		time.Sleep(time.Minute) // until that has happened
		return err
	}
	return d.Ack(false)
}

func (w *Worker) headers(job *Job, d amqp.Delivery) amqp.Table {
	returned, _ := d.Headers[countHeader].(int64) // none the first time
	return amqp.Table{idHeader: job.ID, workerHeader: w.Name, attemptHeader: returned + 1}
}

// tellDropped says over a new connection that a job was given up.
func (w *Worker) tellDropped(ctx context.Context, d amqp.Delivery) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	conn, err := (&demo.Broker{AMQP: w.AMQP}).Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	p, err := demo.NewPublisher(conn)
	if err != nil {
		return err
	}
	var job Job
	if err := json.Unmarshal(d.Body, &job); err != nil {
		return err
	}
	return p.Send(ctx, exchangeName, droppedKey, amqp.Publishing{Headers: w.headers(&job, d)})
}
