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
files, told apart by their first bytes. It changes nothing and takes no lock, so a
running broker's files may be inspected too. Damage is shown, and the exit status is 1.`,
		RunE: func(c *cobra.Command, files []string) error {
			var errs []error
			for _, f := range files {
				if err := local.Inspect(c.OutOrStdout(), f); err != nil {
					errs = append(errs, err)
				}
				fmt.Fprintln(c.OutOrStdout())
			}
			return errors.Join(errs...)
		},
	}
}
