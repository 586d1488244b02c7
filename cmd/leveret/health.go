package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/leveret-mq/leveret/config"
)

// maxHealthBytes bounds the answer that is read.
const maxHealthBytes = 1 << 20

func healthCommand() *cobra.Command {
	var addr string
	var timeout time.Duration
	c := &cobra.Command{
		Use: "health", Short: "Ask a running broker whether it is well", Args: cobra.NoArgs,
		Long: `Asks /health of the broker that runs with the settings in force here, and ends with
status 0 when every listener is up and the store takes writes, else with 1 and the reasons: for
containers and probes that have no curl.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if addr == "" {
				var err error
				if addr, err = configuredHealth(); err != nil {
					return err
				}
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			return health(ctx, c.OutOrStdout(), addr)
		},
	}
	c.Flags().StringVar(&addr, "addr", "", "host:port of /health; by default metrics-addr of the settings")
	c.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "how long to wait for the answer")
	return c
}

// configuredHealth is where serve would answer /health without flags.
func configuredHealth() (string, error) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.Bind(flags)
	settings, err := config.Load(flags, os.Environ())
	if err != nil {
		return "", err
	}
	if settings.MetricsAddr == "off" {
		return "", errors.New("metrics-addr is off, which serves /health: name another with --addr")
	}
	return settings.MetricsAddr, nil
}

func health(ctx context.Context, out io.Writer, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("addr %s: %w", addr, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/health", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("no broker answers: %w", err)
	}
	defer res.Body.Close()
	var state struct {
		Version string   `json:"version"`
		Uptime  int64    `json:"uptime_seconds"`
		Reasons []string `json:"reasons"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxHealthBytes)).Decode(&state); err != nil {
		return fmt.Errorf("%s does not answer as a broker does: %s, %w", addr, res.Status, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the broker is not well: %s", strings.Join(state.Reasons, "; "))
	}
	fmt.Fprintf(out, "leveret %s is well, up for %s\n", state.Version, time.Duration(state.Uptime)*time.Second)
	return nil
}
