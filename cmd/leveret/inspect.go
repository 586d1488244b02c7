package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
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
				errs = append(errs, inspect(c.OutOrStdout(), name))
			}
			return errors.Join(errs...)
		},
	}
}

// inspect asks the package that the file belongs to.
func inspect(out io.Writer, name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a directory; name its files", name)
	}
	switch ext := filepath.Ext(name); {
	case filepath.Base(name) == "leveret.lock":
		_, err := fmt.Fprintf(out, "file\t%s\nkind\tlock of a data directory, always empty\n", name)
		return err
	case ext == segment.LogSuffix || ext == ".free":
		return segment.Dump(out, fs.Real(), name)
	case ext == segment.IndexSuffix:
		return index.Dump(out, fs.Real(), name)
	}
	return local.Inspect(out, name)
}
