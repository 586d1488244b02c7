// Command leveret is the broker and what an operator needs beside it, in one binary.
//
//	leveret serve            run the broker; needs no argument
//	leveret config           print the settings in force and where they come from
//	leveret inspect FILE…    print any file of a data directory
//	leveret definitions      check a file of definitions
//	leveret cert             make certificates for development
//	leveret health           ask a running broker whether it is well
//	leveret restore FILE     make a data directory of a backup
//	leveret bench            measure a broker: runs leveret-bench, a program of its own
//	leveret version          print the version
//	leveret completion SHELL print a completion script
//
// and the verbs of package cli, which ask a running broker.
//
// It owns the command line and the signals, and no logic: serving is package server's,
// settings are package config's, verbs and statuses package cli's.
package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/leveret-mq/leveret/cli"
	"github.com/leveret-mq/leveret/internal/program"
)

// version is set by the build (-X main.version=…).
var version = ""

func main() {
	os.Exit(cli.Execute(rootCommand(), os.Args, os.Stderr))
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "leveret",
		Short: "Message broker: RabbitMQ's routing at Kafka's throughput, in one binary",
		Long: `Leveret keeps messages in memory-mapped logs, one a queue, and serves them to
unmodified AMQP 0-9-1, Kafka, STOMP, XMPP and HTTP clients. Start one with: leveret serve`,
		SilenceUsage: true, SilenceErrors: true,
		Version: versionText(),
	}
	root.AddCommand(serveCommand(), configCommand(), inspectCommand(), definitionsCommand(), certCommand(), healthCommand(), restoreCommand(), benchCommand(), versionCommand())
	cli.Add(root, cli.Offline{Export: exportDirectory})
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) {
			fmt.Fprintf(c.OutOrStdout(), "leveret %s %s %s/%s\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}

// versionText is the version that people are shown.
func versionText() string { return program.Version(version) }
