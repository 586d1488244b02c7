// Package testkit starts a whole broker inside a test: on ports that the system
// chooses, in a directory that goes with the test.
//
//	s := testkit.Start(t)
//	conn, err := amqp.Dial(s.AMQPURL())
//
// It owns the server that it starts and stops it at the end of the test. It is a
// mechanism for tests of listeners and for test/…; it must not grow into a place
// for anything else that tests share.
package testkit

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/server"
)

// Server is a broker that runs in the test's process.
type Server struct {
	*server.Server
	t      testing.TB
	config *config.Config
}

// Option changes a setting before the start.
type Option func(*config.Config)

// Start starts a broker with every listener on a free port of 127.0.0.1. It ends
// with the test, and the test fails when it does not end well. What the broker
// logs is shown when the test fails.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	c := config.Default()
	c.DataDir = t.TempDir()
	c.AMQPAddr, c.KafkaAddr, c.STOMPAddr, c.STOMPWSAddr, c.XMPPAddr, c.HTTPAddr, c.MetricsAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	for _, o := range options {
		o(c)
	}
	s := &Server{t: t, config: c}
	if err := s.start(); err != nil {
		t.Fatalf("start the broker: %v", err)
	}
	t.Cleanup(s.Stop)
	return s
}

func (s *Server) start() error {
	running, err := server.Start(s.config, server.Options{
		Version: "test",
		Logger:  slog.New(slog.NewTextHandler(testWriter{s.t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err == nil {
		s.Server = running
	}
	return err
}

// patience is for what should take a moment: a slow machine is no fault.
const patience = 40 * time.Second

// Stop stops the broker in order. A second call does nothing.
func (s *Server) Stop() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Server.Stop(ctx); err != nil {
		s.t.Errorf("stop the broker: %v", err)
	}
}

// Restart stops the broker and starts it over the same directory, on the same ports. A connection of some other
// process may have taken one of them meanwhile, and is waited for.
func (s *Server) Restart() {
	s.t.Helper()
	s.config.AMQPAddr, s.config.KafkaAddr, s.config.STOMPAddr, s.config.XMPPAddr, s.config.HTTPAddr, s.config.MetricsAddr = s.Addr("amqp"), s.Addr("kafka"), s.Addr("stomp"), s.Addr("xmpp"), s.Addr("http"), s.Addr("metrics")
	s.config.STOMPWSAddr = s.Addr("stomp-ws")
	s.Stop()
	err := s.start()
	for begun := time.Now(); errors.Is(err, syscall.EADDRINUSE) && time.Since(begun) < patience; err = s.start() {
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		s.t.Fatalf("start the broker again: %v", err)
	}
}

// DataDir is the broker's data directory.
func (s *Server) DataDir() string { return s.config.DataDir }

// AMQPURL is where AMQP clients connect, as the default user.
func (s *Server) AMQPURL() string { return "amqp://guest:guest@" + s.Addr("amqp") + "/" }

// testWriter gives the broker's lines to the test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}
