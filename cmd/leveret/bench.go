package main

import (
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/leveret-mq/leveret/internal/program"
)

// benchCommand becomes leveret-bench: the load generators are no part of the broker.
func benchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "bench", Short: "Measure a broker: runs leveret-bench", DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			bench, err := program.Find("leveret-bench")
			if err != nil {
				return err
			}
			return syscall.Exec(bench, append([]string{bench}, args...), os.Environ())
		},
	}
}
