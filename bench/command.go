package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// Command is the program leveret-bench.
func Command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "leveret-bench [flags]",
		Short: "Measure a broker: throughput, CPU a message, latency, memory, disk",
		Long: `Measures any broker that speaks AMQP 0-9-1, Kafka, STOMP or XMPP, and checks
that it loses, repeats and reorders nothing. Without an address it starts a
Leveret of its own.`,
		Example: `  leveret-bench                                   a Leveret of its own, a choice of rows, about two minutes
  leveret-bench --runs 5 --time 4s --out ours.jsonl
  leveret-bench --amqp 127.0.0.1:5672 --mode os --tag rabbitmq --out rabbitmq.jsonl
  leveret-bench --kafka 127.0.0.1:9092 --mode os --data-dir DIR --only 'ingest.*1k'
  leveret-bench --curves --only 'queues|bindings' --curve-max 10000
  leveret-bench --compare ours.jsonl rabbitmq.jsonl kafka.jsonl`,
		SilenceUsage: true, SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			return o.checkFiles(args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			if ctx == nil {
				ctx = context.Background()
			}
			ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
			defer stop()
			return execute(ctx, &o, args, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	o.flags(c.Flags())
	return c
}

func execute(ctx context.Context, o *options, args []string, out, log io.Writer) error {
	switch {
	case o.compare:
		return compareFiles(out, o.unequal, args[0], args[1:]...)
	case o.format != "":
		return printFiles(out, o.format, args)
	case len(args) > 0:
		return reportFiles(o.report, args)
	}
	only, err := o.check()
	if err != nil {
		return err
	}
	if o.curves {
		return runCurves(ctx, o, only, out, log)
	}
	selected := o.choose(only)
	if o.list {
		if o.only == "" {
			selected = rows()
		}
		return listRows(out, selected)
	}
	if len(selected) == 0 {
		return fmt.Errorf("no row matches %q; --list prints them", o.only)
	}
	if o.against != "" {
		return runGuard(ctx, o, selected, out, log)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("the time limit of %s", o.limit))
	defer cancel()
	s := &session{options: o, rows: selected, log: log}
	err = s.run(ctx)
	if len(s.results) == 0 {
		return err
	}
	return errors.Join(err, s.failures(), s.report(), printTable(out, s.results))
}

func printTable(w io.Writer, results []Result) error {
	rows := summarize(results)
	if err := writeTable(w, rows); err != nil {
		return err
	}
	writeNotes(w, rows)
	return nil
}

// printFiles prints what earlier runs left, in another format.
func printFiles(w io.Writer, format string, files []string) error {
	results, err := readResultFiles(files)
	if err != nil {
		return err
	}
	if format == formatBenchstat {
		return writeBenchstat(w, results)
	}
	return printTable(w, results)
}

// choose takes the rows that --only matches; without it, and without --all, the short ones.
// Those whose program is not there can be listed, but not run.
func (o *options) choose(only *regexp.Regexp) []row {
	var out []row
	for _, r := range rows() {
		if only.MatchString(r.name) && (r.short || o.all || o.only != "") && (o.list || o.found.has(r.tool)) {
			out = append(out, r)
			o.secure = o.secure || r.protocol == amqpTLS || r.protocol == kafkaTLS
		}
	}
	return out
}

func listRows(w io.Writer, rs []row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rs {
		mark := ""
		if r.short {
			mark = "*"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.name, mark, r.workload, r.about)
	}
	return t.Flush()
}
