package server_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/server"
)

// startOn starts a broker over a file system.
func startOn(t *testing.T, dir string, files fs.FS) *server.Server {
	t.Helper()
	c := config.Default()
	c.DataDir = dir
	c.AMQPAddr, c.KafkaAddr, c.STOMPAddr, c.STOMPWSAddr, c.XMPPAddr, c.HTTPAddr, c.MetricsAddr = "127.0.0.1:0", config.Off, config.Off, config.Off, config.Off, config.Off, config.Off
	s, err := server.Start(c, server.Options{Version: "test", Files: files, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func dial(t *testing.T, s *server.Server) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial("amqp://guest:guest@" + s.Addr("amqp") + "/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// TestAStopEndsInTimeThoughTheDiskHangs: a client waits in a get, another has the last
// consumer of an auto-delete queue, and no read and no flush comes back.
func TestAStopEndsInTimeThoughTheDiskHangs(t *testing.T) {
	dir, disk := t.TempDir(), fs.NewFreezer()
	files := fs.Failing(fs.Real(), disk.Hook)
	s := startOn(t, dir, files)
	ch := dial(t, s)
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	if d, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{DeliveryMode: 2, Body: []byte("kept")}); err != nil || !d.Wait() {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}

	s = startOn(t, dir, files)
	consuming := dial(t, s) // its queue is to go with it, which has to be written
	if _, err := consuming.QueueDeclare("auto", true, true, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := consuming.Consume("auto", "", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	disk.Freeze(nil)
	ch = dial(t, s)
	failed := ch.NotifyClose(make(chan *amqp.Error, 1))
	got := make(chan error, 1)
	go func() {
		_, _, err := ch.Get("q", false)
		got <- err
	}()
	disk.AwaitWaiting(1)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := s.Stop(ctx); err == nil || !strings.Contains(err.Error(), "did not end in time") {
		t.Errorf("stopped with %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the stop took %v", took)
	}
	if err := <-got; err == nil {
		t.Error("the get was answered")
	}
	if e := <-failed; e != nil && e.Code != amqp.ConnectionForced {
		t.Errorf("the client was told %v", e)
	}
	disk.Thaw()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}

	s = startOn(t, dir, files)
	defer func() { _ = s.Stop(t.Context()) }()
	if m, ok, err := dial(t, s).Get("q", true); err != nil || !ok || string(m.Body) != "kept" {
		t.Errorf("after the next start: %q, %v, %v", m.Body, ok, err)
	}
}
