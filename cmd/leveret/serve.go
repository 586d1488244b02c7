package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/server"
)

func serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "Run the broker; needs no argument", Args: cobra.NoArgs,
		Long: `Runs the broker until SIGINT or SIGTERM, which stop it in order; a second signal
ends it at once. Every flag is an environment variable too, named in brackets, and a
line of leveret.toml; leveret config shows what is in force.
What was confirmed survives either way; docs/configuration.md has the details.`,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := config.Load(c.Flags(), os.Environ())
			if err != nil {
				return err
			}
			return serve(settings, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().SortFlags = false
	config.Bind(c.Flags())
	return c
}

// serve runs the broker until a signal comes or a listener fails.
func serve(settings *config.Config, out, errOut io.Writer) error {
	logger, closeLog, err := newLogger(settings, errOut)
	if err != nil {
		return err
	}
	defer func() { _ = closeLog() }()
	for _, text := range settings.Warnings() {
		logger.Warn(text)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	s, err := server.Start(settings, server.Options{Version: versionText(), Logger: logger})
	if err != nil {
		return err
	}
	fmt.Fprint(out, s.Banner())
	var failure error
	select {
	case got := <-signals:
		fmt.Fprintf(out, "Stopping (%v); a second signal ends it at once.\n", got)
	case failure = <-s.Failed():
		logger.Error("a listener failed, stopping", "error", failure)
	}
	// From here on a signal does what it does to any process.
	signal.Stop(signals)
	signal.Reset(syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), settings.ShutdownGrace)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		return err
	}
	if failure == nil {
		fmt.Fprintln(out, "Stopped.")
	}
	return failure
}

// newLogger makes the logger that the settings ask for, and the process's default.
func newLogger(settings *config.Config, to io.Writer) (*slog.Logger, func() error, error) {
	level, err := settings.Level()
	if err != nil {
		return nil, nil, fmt.Errorf("--log-level: %w", err)
	}
	var file io.Writer
	closed := func() error { return nil }
	if settings.AuditLog != "" {
		f, err := os.OpenFile(settings.AuditLog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, nil, fmt.Errorf("--audit-log: %w", err)
		}
		file, closed = f, f.Close
	}
	logger := slog.New(audit.NewHandler(settings.LogFormat, level, to, file))
	slog.SetDefault(logger)
	return logger, closed, nil
}
