package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Redriven is what a redrive of dead letters did, as the broker counts it.
type Redriven struct {
	LookedAt int    `json:"looked_at"`
	Matched  int    `json:"matched"`
	Copied   int    `json:"copied"` // and on disk
	State    string `json:"state"`
	Reason   string `json:"reason"`
}

// redrive has the broker send the dead letters of one reason back to the queue in
// which they died, as mails that have not been tried yet. The others stay where they
// are. A dry run only counts.
func redrive(ctx context.Context, b *demo.Broker, reason string, dryRun bool) (r Redriven, err error) {
	body, err := json.Marshal(map[string]any{"filter": map[string]string{"reason": reason}, "dry_run": dryRun, "wait": 30})
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+b.HTTP+"/api/queues/%2F/"+deadQueue+"/redrive", bytes.NewReader(body))
	if err != nil {
		return r, err
	}
	req.SetBasicAuth("guest", "guest")
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, fmt.Errorf("redrive by the broker's HTTP API, which -http names: %w", err)
	}
	defer res.Body.Close()
	said, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	switch {
	case err != nil:
		return r, fmt.Errorf("redrive: %w", err)
	case res.StatusCode != http.StatusOK: // 202 would be: it goes on
		return r, fmt.Errorf("redrive: %s: %s", res.Status, bytes.TrimSpace(said))
	}
	if err := json.Unmarshal(said, &r); err != nil {
		return r, fmt.Errorf("redrive: %w", err)
	}
	if r.State != "done" {
		return r, fmt.Errorf("redrive: %s: %s", r.State, r.Reason)
	}
	return r, nil
}
