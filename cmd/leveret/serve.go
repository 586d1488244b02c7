package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/notify"
	"github.com/leveret-mq/leveret/server"
)

func serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "Run the broker; needs no argument", Args: cobra.NoArgs,
		Long: `Runs the broker until SIGINT or SIGTERM, which stop it in order; a second signal
ends it at once. Every flag is an environment variable too, named in brackets, and a
line of leveret.toml; leveret config shows what is in force, and SIGHUP has it read anew.
What was confirmed survives either way; docs/configuration.md has the details.`,
		RunE: func(c *cobra.Command, _ []string) error {
			load := func() (*config.Config, error) { return config.Load(c.Flags(), os.Environ()) }
			return serve(load, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().SortFlags = false
	config.Bind(c.Flags())
	return c
}

// serve runs the broker until a signal comes or a listener fails.
func serve(load func() (*config.Config, error), out, errOut io.Writer) error {
	settings, err := load()
	if err != nil {
		return err
	}
	lines, err := openLines(settings, errOut)
	if err != nil {
		return err
	}
	defer lines.close()
	lines.warn(settings)
	signals, hangups := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	signal.Notify(hangups, syscall.SIGHUP)
	systemd, err := notify.FromEnv(os.Getenv)
	if err != nil {
		lines.logger.Warn("systemd is not told how the broker is", "error", err)
	}
	defer systemd.Close()
	s, err := server.Start(settings, server.Options{Version: versionText(), Logger: lines.logger})
	if err != nil {
		return err
	}
	fmt.Fprint(out, s.Banner())
	systemd.Ready(status(settings))
	r := &running{server: s, settings: settings, load: load, lines: lines, systemd: systemd}
	stopWatch := r.watch()
	failure := r.until(signals, hangups, out)
	stopWatch()
	systemd.Stopping("Stopping: connections are told to end")
	// From here on a signal does what it does to any process, but for a hangup.
	signal.Ignore(syscall.SIGHUP)
	signal.Stop(signals)
	signal.Reset(syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), r.settings.ShutdownGrace)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		return err
	}
	if failure == nil {
		fmt.Fprintln(out, "Stopped.")
	}
	return failure
}

// status is what systemd shows of a broker that runs.
func status(c *config.Config) string {
	amqp, _ := c.AMQPListeners() // errors refuse the settings
	kafka, _ := c.KafkaListeners()
	stomp, _ := c.STOMPListeners()
	xmpp, _ := c.XMPPListeners()
	var on []string
	for _, l := range slices.Concat(amqp, kafka, stomp, xmpp, c.MetricsListeners()) {
		on = append(on, strings.TrimSpace(l.Kind+" "+l.Name)+" "+l.Addr)
	}
	return "Serving " + strings.Join(on, ", ")
}

// running is a broker that was started, with all that a signal may change.
type running struct {
	server   *server.Server
	settings *config.Config // in force in this process
	load     func() (*config.Config, error)
	lines    *lines
	systemd  *notify.Notifier
}

// until returns when the broker is to stop, with the reason if it is a failure.
func (r *running) until(signals, hangups <-chan os.Signal, out io.Writer) error {
	for {
		select {
		case <-hangups:
			r.reload()
		case got := <-signals:
			fmt.Fprintf(out, "Stopping (%v); a second signal ends it at once.\n", got)
			return nil
		case failure := <-r.server.Failed():
			r.lines.logger.Error("a listener failed, stopping", "error", failure)
			return failure
		}
	}
}

// watch answers systemd's watchdog while the broker is alive. The function that it
// returns ends that.
func (r *running) watch() (stop func()) {
	if r.systemd == nil || r.systemd.Watchdog == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		every := time.NewTicker(r.systemd.Watchdog / 3)
		defer every.Stop()
		for {
			r.beat(ctx)
			select {
			case <-every.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return cancel
}

// beat is one answer to the watchdog, or none.
func (r *running) beat(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, r.systemd.Watchdog/3)
	defer cancel()
	err := r.server.Pulse(limited)
	switch {
	case err == nil:
		r.systemd.Alive()
	case ctx.Err() == nil:
		r.lines.logger.Error("the watchdog is not answered: systemd will restart the broker if this goes on", "error", err)
		r.systemd.Trouble("Not alive: " + err.Error())
	}
}
