package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/leveret-mq/leveret/config"
)

func configCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "config", Short: "Print the settings in force and where each comes from", Args: cobra.NoArgs,
		Long: `Reads the file of settings, the environment and the flags as serve does, and prints what
holds then, with the place that each value comes from. Passwords are not shown. What is
printed is a file of settings itself: leveret config > leveret.toml
Something that makes no sense is refused as serve refuses it, with its file and line.`,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := config.Load(c.Flags(), os.Environ())
			if err != nil {
				return err
			}
			if err := settings.Validate(); err != nil {
				return err
			}
			return settings.Print(c.OutOrStdout())
		},
	}
	c.Flags().SortFlags = false
	config.Bind(c.Flags())
	return c
}
