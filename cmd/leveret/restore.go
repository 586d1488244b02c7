package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/leveret-mq/leveret/store/local"
)

func restoreCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "restore FILE", Short: "Make a data directory of a backup", Args: cobra.ExactArgs(1),
		Long: `Makes a data directory of a backup, which GET /api/backup of a running broker gives.
Everything in it is checked, messages by their checksums, before the directory comes into being;
it must be empty or not be there. FILE may be - for what is piped in. Then start a broker in it.`,
		Example: `  curl -u guest:guest localhost:15672/api/backup > backup.tar
  leveret restore backup.tar --data-dir restored
  leveret serve --data-dir restored`,
		RunE: func(c *cobra.Command, args []string) error {
			if dir == "" {
				return errors.New("say with --data-dir where to: a directory that is empty or not there")
			}
			var from io.Reader = os.Stdin
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				from = f
			}
			got, err := local.Restore(from, dir)
			if err != nil {
				return fmt.Errorf("restore %s: %w", args[0], err)
			}
			fmt.Fprintf(c.OutOrStdout(), "restored %s as of %s; logs: %d, segments: %d, messages: %d, bytes: %d\n", dir, got.Begun, got.Logs, got.Segments, got.Records, got.Bytes)
			return nil
		},
	}
	c.Flags().StringVar(&dir, "data-dir", "", "the directory to be made")
	return c
}
