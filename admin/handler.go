package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Options are what a Handler shows.
type Options struct {
	// Version is the broker's.
	Version string
	// Durability is the mode that confirms follow by default.
	Durability string
	// Started is when the broker started.
	Started time.Time
	// Listeners reads the state of each listener.
	Listeners func() []Listener
	// Ready returns nil from when every listener accepts until the stop, else what the
	// broker is about; nil is always ready.
	Ready func() error
	// Checks must all hold for the broker to be healthy.
	Checks []Check
	// Metrics answers /metrics.
	Metrics http.Handler
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Handler returns the routes.
func Handler(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &handler{Options: o}
	for _, c := range o.Checks {
		h.checkers = append(h.checkers, &checker{check: c, now: o.Now})
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.Metrics)
	mux.Handle("GET /metrics/", o.Metrics)
	mux.HandleFunc("GET /health", h.health)
	mux.HandleFunc("GET /{$}", h.index)
	return mux
}

type handler struct {
	Options
	checkers []*checker
}

func (h *handler) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "Leveret %s\n\n/health   is it well?\n/metrics  figures for Prometheus, /metrics/per-object those of each queue\n", h.Version)
}

func (h *handler) health(w http.ResponseWriter, r *http.Request) {
	state := h.state(r.Context())
	code := http.StatusOK
	if state.Status != "ok" {
		code = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	_ = out.Encode(state) // the client is gone: nothing to do
}

// state runs every check; all share one deadline.
func (h *handler) state(ctx context.Context) Health {
	s := Health{
		Status: "ok", Version: h.Version, Durability: h.Durability,
		UptimeSeconds: int64(h.Now().Sub(h.Started).Seconds()), Listeners: h.Listeners(),
	}
	for _, l := range s.Listeners {
		if !l.Up {
			s.Reasons = append(s.Reasons, fmt.Sprintf("the %s listener at %s is down", l.Name, l.Address))
		}
	}
	if h.Ready != nil {
		if err := h.Ready(); err != nil {
			s.Reasons = append(s.Reasons, err.Error())
		}
	}
	ctx, cancel := context.WithTimeout(ctx, CheckTimeout)
	defer cancel()
	for _, c := range h.checkers {
		r := CheckResult{Name: c.check.Name, OK: true}
		if err := c.result(ctx); err != nil {
			r.OK, r.Reason = false, err.Error()
			s.Reasons = append(s.Reasons, c.check.Name+": "+r.Reason)
		}
		s.Checks = append(s.Checks, r)
	}
	if len(s.Reasons) > 0 {
		s.Status = "failing"
	}
	return s
}
