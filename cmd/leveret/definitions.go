package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/server"
)

func exportCommand() *cobra.Command {
	var dir, vhost, output string
	c := &cobra.Command{
		Use: "export", Short: "Write the definitions of a data directory", Args: cobra.NoArgs,
		Long: `Writes users, virtual hosts, permissions, policies, queues, exchanges and bindings as
RabbitMQ's definitions.json, from the data directory of a broker that runs or is stopped.
It changes nothing and takes no lock. What does not outlive a broker is not in it. Without --output it is
printed; a file is made readable for its owner alone, since it holds hashes of passwords.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" {
				var err error
				if dir, err = configuredDir(); err != nil {
					return err
				}
			}
			return export(c.OutOrStdout(), c.ErrOrStderr(), dir, vhost, output)
		},
	}
	c.Flags().StringVar(&dir, "data-dir", "", "data directory; by default that of the settings")
	c.Flags().StringVar(&vhost, "vhost", "", "write one virtual host only, in a form that can be imported into another")
	c.Flags().StringVar(&output, "output", "", "file to write instead of standard output")
	return c
}

// configuredDir is the data directory that serve would use without flags.
func configuredDir() (string, error) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.Bind(flags)
	settings, err := config.Load(flags, os.Environ())
	if err != nil {
		return "", err
	}
	return settings.DataDir, nil
}

func export(out, lines io.Writer, dir, vhost, output string) (err error) {
	if output != "" {
		file, err := os.OpenFile(output, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer func() {
			if e := file.Close(); err == nil {
				err = e
			}
		}()
		if info, err := file.Stat(); err != nil || info.Mode().IsRegular() { // one that was there may be for everybody
			if err := errors.Join(err, file.Chmod(0o600)); err != nil {
				return err
			}
		}
		out = file
	}
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
