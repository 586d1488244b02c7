package cli

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

// lastEntry ends a backup that is whole.
const lastEntry = "complete.json"

func backupCommand() *cobra.Command {
	var queues []string
	c := &cobra.Command{
		Use: "backup FILE", Short: "Write a backup of all messages and definitions while the broker runs", Args: takes(1, 1, "the file, or - for standard output"),
		Long: `Writes a backup, a tape archive: definitions, users with hashes of their passwords, messages, and how far consumers and groups are. The broker goes
on meanwhile. A file is readable for its owner alone, and comes into being when the backup is whole. leveret restore makes a data directory of it.`,
		Example: `  leveret backup backup.tar
  leveret backup --queue jobs --queue mail some.tar
  leveret backup - | zstd > backup.tar.zst
  leveret restore backup.tar --data-dir restored`,
	}
	t := reach(c)
	t.inVHost(c, "only the messages of this virtual host, default those of all")
	c.Flags().StringArrayVar(&queues, "queue", nil, "only the messages of this queue; may be given several times")
	_ = c.RegisterFlagCompletionFunc("queue", completeNames("queues", "name"))
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		q := url.Values{"queue": queues}
		if t.vhostGiven {
			q.Set("vhost", t.vhost)
		}
		if args[0] == "-" && isTerminal(c.OutOrStdout()) {
			return usagef("a backup is nothing for a terminal: name a file, or pipe it on")
		}
		ctx, stop := interruptible(c)
		defer stop()
		r, err := cl.request(ctx, http.MethodGet, "backup?"+q.Encode(), nil)
		if err != nil {
			return err
		}
		bar := newProgress(c.ErrOrStderr(), "backed up", cl.sizeOf(c, t, queues))
		var size int64
		err = writeTo(c.OutOrStdout(), args[0], func(out io.Writer) error {
			res, err := cl.send(r)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			size, err = copyWhole(out, bar.reader(res.Body))
			if ctx.Err() != nil {
				return &failure{reason: "interrupted: there is no backup", cause: ctx.Err()}
			}
			return err
		})
		bar.close()
		if err == nil && args[0] != "-" {
			fmt.Fprintf(c.OutOrStdout(), "backed up to %s, %s\n", cleanLine(args[0]), sizeText(float64(size)))
		}
		return err
	}
	return c
}

// copyWhole copies a backup, and fails unless it is whole: its last entry says so.
func copyWhole(out io.Writer, in io.Reader) (size int64, err error) {
	look, tee := io.Pipe()
	last := make(chan string, 1)
	go func() {
		name := ""
		entries := tar.NewReader(look)
		for {
			h, err := entries.Next()
			if err != nil {
				break
			}
			name = h.Name
		}
		_, _ = io.Copy(io.Discard, look) // what is behind is written all the same
		last <- name
	}()
	size, err = io.Copy(io.MultiWriter(out, tee), in)
	_ = tee.Close()
	if name := <-last; err == nil && name != lastEntry {
		err = errors.New("its end is missing")
	}
	if err != nil {
		return size, &failure{reason: fmt.Sprintf("the backup broke off after %s: %v; the broker's log says why", sizeText(float64(size)), err), cause: err}
	}
	return size, nil
}

// sizeOf is about how much will come, in bytes; 0 is not known.
func (cl *client) sizeOf(c *cobra.Command, t *target, queues []string) int64 {
	if !isTerminal(c.ErrOrStderr()) {
		return 0
	}
	path := "queues"
	if t.vhostGiven || len(queues) > 0 {
		path = at("queues", t.vhost)
	}
	var list []struct {
		Name string `json:"name"`
		Disk int64  `json:"disk_bytes"`
	}
	if cl.get(c.Context(), path+"?columns=name,disk_bytes", &list) != nil {
		return 0
	}
	total := int64(0)
	for _, q := range list {
		wanted := len(queues) == 0
		for _, name := range queues {
			wanted = wanted || q.Name == name
		}
		if wanted {
			total += q.Disk
		}
	}
	return total
}
