package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
)

func ask(t *testing.T, h http.Handler, path string) (int, Health, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	var s Health
	if path == "/health" {
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
			t.Fatalf("%v in %s", err, w.Body)
		}
	}
	return w.Code, s, w.Body.String()
}

func options(up bool, checks ...Check) Options {
	return Options{
		Version: "v1", Durability: "group", Started: time.Now(),
		Listeners: func() []Listener { return []Listener{{Name: "amqp", Address: ":5672", Up: up, Connections: 3}} },
		Checks:    checks,
		Metrics:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("figures")) }),
	}
}

func TestHealth(t *testing.T) {
	good := Check{"store", func() error { return nil }}
	for _, c := range []struct {
		name    string
		options Options
		code    int
		reason  string
	}{
		{"all well", options(true, good), 200, ""},
		{"listener down", options(false, good), 503, "amqp listener at :5672 is down"},
		{"store fails", options(true, good, Check{"disk", func() error { return errors.New("no space left") }}), 503, "disk: no space left"},
		{"check panics", options(true, Check{"disk", func() error { panic("x") }}), 503, "disk: check panicked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, s, body := ask(t, Handler(c.options), "/health")
			if code != c.code || (s.Status == "ok") != (c.code == 200) || s.Listeners[0].Connections != 3 || s.Durability != "group" {
				t.Fatalf("%d %s", code, body)
			}
			if !strings.Contains(strings.Join(s.Reasons, "\n"), c.reason) {
				t.Fatalf("reasons %q do not say %q", s.Reasons, c.reason)
			}
		})
	}
}

func TestHangingCheckFailsAndIsNotStartedTwice(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		release := make(chan struct{})
		h := Handler(options(true, Check{"disk", func() error {
			runs.Add(1)
			<-release
			return nil
		}}))
		for range 2 {
			if code, s, _ := ask(t, h, "/health"); code != 503 || !strings.Contains(s.Reasons[0], "no answer within 2s") {
				t.Fatalf("%d %q", code, s.Reasons)
			}
		}
		if runs.Load() != 1 {
			t.Fatalf("the check was started %d times", runs.Load())
		}
		close(release)
		synctest.Wait()
		if code, _, body := ask(t, h, "/health"); code != 200 {
			t.Fatalf("%d %s", code, body)
		}
	})
}

func TestChecksRunAtMostOnceASecond(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		runs := 0
		h := Handler(options(true, Check{"disk", func() error { runs++; return nil }}))
		for range 10 {
			ask(t, h, "/health")
		}
		if runs != 1 {
			t.Fatalf("%d runs", runs)
		}
		time.Sleep(checkEvery)
		ask(t, h, "/health")
		if runs != 2 {
			t.Fatalf("%d runs", runs)
		}
	})
}

func TestRoutes(t *testing.T) {
	h := Handler(options(true))
	for path, want := range map[string]string{"/": "/metrics", "/metrics": "figures"} {
		if code, _, body := ask(t, h, path); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if code, _, _ := ask(t, h, "/nothing"); code != 404 {
		t.Errorf("got %d", code)
	}
}
