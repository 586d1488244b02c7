package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/leveret-mq/leveret/store/local"
)

func inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use: "inspect FILE…", Short: "Print any file of a data directory", Args: cobra.MinimumNArgs(1),
		Long: `Prints what each file holds: segments, indexes, cursors, tables, meta and format
files, told apart by their names and first bytes. It changes nothing and takes no lock, so
a running broker's files may be inspected too. Damage is shown as such.`,
		RunE: func(c *cobra.Command, files []string) error {
			var errs []error
			for i, name := range files {
				if i > 0 {
					fmt.Fprintln(c.OutOrStdout())
				}
				errs = append(errs, local.Inspect(c.OutOrStdout(), name))
			}
			return errors.Join(errs...)
		},
	}
}
