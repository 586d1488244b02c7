package server

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/admin"
	"github.com/leveret-mq/leveret/config"
)

func settings(t *testing.T) *config.Config {
	t.Helper()
	c := config.Default()
	c.DataDir = filepath.Join(t.TempDir(), "new")
	c.AMQPAddr, c.KafkaAddr, c.STOMPAddr, c.STOMPWSAddr, c.XMPPAddr, c.HTTPAddr, c.MetricsAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	return c
}

// longEnough is for what should take a moment: a slow machine is no fault.
const longEnough = 40 * time.Second

func start(t *testing.T, c *config.Config) (*Server, error) {
	t.Helper()
	s, err := Start(c, Options{Version: "v-test", Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		t.Cleanup(func() { stop(t, s) })
	}
	return s, err
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longEnough)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func TestBannerNamesEverythingANewcomerNeeds(t *testing.T) {
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	banner := s.Banner()
	for _, want := range []string{"v-test", s.config.DataDir, "group: a confirm means", s.Addr("amqp"), s.Addr("kafka"), s.Addr("metrics"),
		"from this machine only", "basic_publish", "kcat -b " + s.Addr("kafka"), "http://" + s.Addr("http") + "/ in a browser", "Ready after"} {
		if want == "" || !strings.Contains(banner, want) {
			t.Errorf("the banner lacks %q:\n%s", want, banner)
		}
	}
}

func TestBannerShowsNoPassword(t *testing.T) {
	c := settings(t)
	c.DefaultUser, c.DefaultPassword = "ann", "s3cret"
	s, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if banner := s.Banner(); strings.Contains(banner, "s3cret") || !strings.Contains(banner, "ann, from anywhere") {
		t.Error(banner)
	}
}

func TestHealthShowsEachListener(t *testing.T) {
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Get("http://" + s.Addr("metrics") + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var h admin.Health
	if err := json.NewDecoder(answer.Body).Decode(&h); err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != 200 || h.Status != "ok" || len(h.Listeners) != 7 || len(h.Checks) != 3 {
		t.Fatalf("%d %+v", answer.StatusCode, h)
	}
}

// Whoever waits for /health must be able to connect to every listener then, and is sent away before they end.
func TestHealthIsReadyOnlyWhileEveryListenerIs(t *testing.T) {
	status := func(s *Server) (int, string) {
		answer, err := http.Get("http://" + s.Addr("metrics") + "/health")
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		defer func() { _ = answer.Body.Close() }()
		body, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(body)
	}
	asked := 0
	all := protocols
	defer func() { protocols = all }()
	protocols = append(slices.Clone(all), protocol{name: "last", listeners: func(*config.Config) ([]config.Listener, error) {
		return []config.Listener{{Kind: "last", Addr: "127.0.0.1:0"}}, nil
	}, open: func(s *Server) (handler, error) {
		asked++
		if code, body := status(s); code != 503 || !strings.Contains(body, "the broker is starting") {
			t.Errorf("while it starts: %d %s", code, body)
		}
		return handler{of: func(config.Listener) (func(net.Conn), error) { return func(net.Conn) {}, nil }, finish: func() {
			asked++
			if code, body := status(s); code != 503 || !strings.Contains(body, "the broker is stopping") {
				t.Errorf("while it stops: %d %s", code, body)
			}
		}}, nil
	}})
	s, err := start(t, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	if code, body := status(s); code != 200 {
		t.Errorf("when it has started: %d %s", code, body)
	}
	stop(t, s)
	if asked != 2 {
		t.Errorf("it was asked %d times, want once at the start and once at the stop", asked)
	}
}

func TestHealthFailsOnAFullDisk(t *testing.T) {
	for _, c := range []struct {
		free uint64
		full bool
	}{{0, true}, {minFreeBytes - 1, true}, {minFreeBytes, false}, {1 << 40, false}} {
		err := diskFull(c.free, 1<<41)
		if (err != nil) != c.full {
			t.Errorf("%d bytes free: %v", c.free, err)
		}
		if err != nil && !strings.Contains(err.Error(), "disk is full") {
			t.Error(err)
		}
	}
}

func TestStopEndsEveryListenerAndFreesTheDirectory(t *testing.T) {
	c := settings(t)
	s, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	addresses := []string{s.Addr("amqp"), s.Addr("kafka"), s.Addr("metrics")}
	idle, err := net.Dial("tcp", addresses[0]) // a client that says nothing holds up nobody
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close() }()
	stop(t, s)
	for _, a := range addresses {
		if conn, err := net.Dial("tcp", a); err == nil {
			_ = conn.Close()
			t.Errorf("%s still takes connections", a)
		}
	}
	if _, err := start(t, c); err != nil {
		t.Fatalf("start again over the same directory: %v", err)
	}
}

func TestStartIsRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	running := settings(t)
	if _, err := start(t, running); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*config.Config)
		want   []string
	}{
		{"bad setting", func(c *config.Config) { c.Sync = "never" }, []string{"--sync"}},
		{"amqp port taken", func(c *config.Config) { c.AMQPAddr = taken.Addr().String() }, []string{"amqp", "in use", "--amqp-addr", "LEVERET_AMQP_ADDR"}},
		{"kafka port taken", func(c *config.Config) { c.KafkaAddr = taken.Addr().String() }, []string{"kafka", "in use", "--kafka-addr"}},
		{"directory in use", func(c *config.Config) { c.DataDir = running.DataDir }, []string{running.DataDir, "another process"}},
		{"directory of something else", func(c *config.Config) {
			c.DataDir = t.TempDir()
			if err := os.WriteFile(filepath.Join(c.DataDir, "letters.txt"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"holds something else", "letters.txt"}},
		{"directory is a file", func(c *config.Config) {
			c.DataDir = filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(c.DataDir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"not a directory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := settings(t)
			c.change(conf)
			_, err := start(t, conf)
			if err == nil {
				t.Fatal("started")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %q", err, want)
				}
			}
		})
	}
}

func TestListenersThatAreOffAreNotThere(t *testing.T) {
	c := settings(t)
	c.KafkaAddr, c.STOMPAddr, c.STOMPWSAddr, c.XMPPAddr, c.HTTPAddr, c.MetricsAddr = config.Off, config.Off, config.Off, config.Off, config.Off, config.Off
	s, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if s.Addr("kafka") != "" || s.Addr("metrics") != "" || s.Addr("amqp") == "" || strings.Contains(s.Banner(), "kcat") {
		t.Fatal(s.Banner())
	}
}
