package admin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// CheckTimeout is how long a health request waits for a check.
const CheckTimeout = 2 * time.Second

// checkEvery is how long the outcome of a check is taken as current: a busy
// prober must not turn into load on the disk.
const checkEvery = time.Second

// Check is one thing that must hold for the broker to be healthy.
type Check struct {
	// Name is what the answer calls it.
	Name string
	// Run returns nil or the reason. It may block.
	Run func() error
}

// Listener is the state of one listener.
type Listener struct {
	// Name is the protocol.
	Name string `json:"name"`
	// Address is where it listens.
	Address string `json:"address"`
	// Up says that it accepts connections.
	Up bool `json:"up"`
	// TLS says that clients speak TLS with it.
	TLS bool `json:"tls"`
	// Connections is how many are open.
	Connections int `json:"connections"`
}

// CheckResult is the outcome of one check.
type CheckResult struct {
	// Name is the check's.
	Name string `json:"name"`
	// OK says that it held.
	OK bool `json:"ok"`
	// Reason is why it did not.
	Reason string `json:"reason,omitempty"`
}

// Health is the answer of /health.
type Health struct {
	// Status is "ok" or "failing".
	Status string `json:"status"`
	// Version is the broker's.
	Version string `json:"version"`
	// Durability is the mode that confirms follow by default.
	Durability string `json:"durability"`
	// UptimeSeconds is the time since the start.
	UptimeSeconds int64 `json:"uptime_seconds"`
	// Listeners is the state of each.
	Listeners []Listener `json:"listeners"`
	// Checks is the outcome of each.
	Checks []CheckResult `json:"checks"`
	// Reasons says what is wrong, a line each; empty when Status is "ok".
	Reasons []string `json:"reasons,omitempty"`
}

// checker runs one Check, never twice at a time, and keeps its last outcome.
type checker struct {
	check Check
	now   func() time.Time

	mu      sync.Mutex // guards all below
	running chan struct{}
	at      time.Time
	err     error
}

// result is the outcome of a run that is at most checkEvery old, or of a new one.
func (c *checker) result(ctx context.Context) error {
	c.mu.Lock()
	if c.running == nil {
		if !c.at.IsZero() && c.now().Sub(c.at) < checkEvery {
			defer c.mu.Unlock()
			return c.err
		}
		c.running = make(chan struct{})
		go c.run(c.running)
	}
	running := c.running
	c.mu.Unlock()
	select {
	case <-running:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.err
	case <-ctx.Done():
		return fmt.Errorf("no answer within %v", CheckTimeout)
	}
}

func (c *checker) run(done chan struct{}) {
	defer close(done)
	err := errors.New("check panicked")
	defer func() {
		_ = recover() // err still says that it panicked
		c.mu.Lock()
		c.err, c.at, c.running = err, c.now(), nil
		c.mu.Unlock()
	}()
	err = c.check.Run()
}
