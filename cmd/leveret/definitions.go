package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/leveret-mq/leveret/server"
)

// exportDirectory writes the definitions of a data directory.
func exportDirectory(out, lines io.Writer, dir, vhost string) error {
	warnings, err := server.ExportDefinitions(out, dir, vhost)
	warn(lines, warnings)
	return err
}

func warn(lines io.Writer, warnings []string) {
	for _, w := range warnings {
		fmt.Fprintln(lines, "warning:", w)
	}
}

func definitionsCommand() *cobra.Command {
	c := &cobra.Command{Use: "definitions", Short: "Work with files of definitions", Args: cobra.NoArgs}
	c.AddCommand(&cobra.Command{
		Use: "check FILE", Short: "Say whether an empty broker would take a file of definitions", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			size, warnings, err := server.CheckDefinitions(args[0])
			warn(c.ErrOrStderr(), warnings)
			if err == nil {
				fmt.Fprintln(c.OutOrStdout(), size)
			}
			return err
		},
	})
	return c
}
