package demo

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Main reads the command line, has it checked, runs an example until it is over or interrupted, and ends the process: with 2 for a
// command line that is wrong, with 1 for a run that failed or was not ok.
func Main(name string, check func() error, run func(context.Context) (ok bool, err error)) {
	flag.Parse()
	if err := check(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}
