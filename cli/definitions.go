package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"

	"github.com/spf13/cobra"
)

// Offline is what the program does without a running broker, and package cli must not: it reads data directories.
type Offline struct {
	// Export writes the definitions of a data directory, and warnings.
	Export func(out, warnings io.Writer, dir, vhost string) error
}

func exportCommand(offline Offline) *cobra.Command {
	var dir, output string
	c := &cobra.Command{
		Use: "export [FILE]", Short: "Write what is declared as RabbitMQ's definitions.json", Args: takes(0, 1),
		Long: `Writes users, virtual hosts, permissions, policies, queues, exchanges and bindings as RabbitMQ's definitions.json: of the broker that
runs, or with --data-dir from the data directory of one that runs or is stopped, which changes nothing and takes no lock. What does not outlive a
broker is not in it. A file is made readable for its owner alone, since it holds hashes of passwords.`,
		Example: `  leveret export definitions.json
  leveret export --vhost shop shop.json
  leveret export --data-dir /var/lib/leveret > definitions.json`,
	}
	t := reach(c)
	t.inVHost(c, "write one virtual host only, in a form that can be imported into another")
	c.Flags().StringVar(&dir, "data-dir", "", "read this data directory instead of asking a broker")
	c.Flags().StringVar(&output, "output", "", "the same as FILE")
	_ = c.MarkFlagDirname("data-dir")
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 1 {
			output = args[0]
		}
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		vhost := ""
		if t.vhostGiven {
			vhost = t.vhost
		}
		return writeTo(c.OutOrStdout(), output, func(out io.Writer) error {
			if dir != "" {
				return offline.Export(out, c.ErrOrStderr(), dir, vhost)
			}
			return cl.export(c, out, vhost)
		})
	}
	return c
}

// export copies what the broker writes.
func (cl *client) export(c *cobra.Command, out io.Writer, vhost string) error {
	r, err := cl.request(c.Context(), http.MethodGet, definitionsPath(vhost), nil)
	if err != nil {
		return err
	}
	res, err := cl.send(r)
	if err != nil {
		if isStatus(err, http.StatusBadRequest) && err.Error() == "vhost_not_found" {
			return &failure{status: http.StatusNotFound, reason: fmt.Sprintf("there is no virtual host %s: leveret list vhosts shows what there is", vhost)}
		}
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(out, res.Body); err != nil {
		return &failure{reason: "the broker's answer broke off: " + err.Error(), cause: err}
	}
	_, err = io.WriteString(out, "\n")
	return err
}

func definitionsPath(vhost string) string {
	if vhost == "" {
		return "definitions"
	}
	return at("definitions", vhost)
}

// writeTo has something written to standard output or to a file for its owner alone. A file of that name is replaced only
// when all was written.
func writeTo(out io.Writer, name string, write func(io.Writer) error) (err error) {
	if name == "" || name == "-" {
		return write(out)
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() { // a pipe, a device
		file, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(file), file.Close())
	}
	part := name + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by one that was killed, or somebody else's for all to read
		return err
	}
	file, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	if err := errors.Join(write(file), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(part, name)
}

func importCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "import FILE", Short: "Declare what a file of definitions says", Args: takes(1, 1, "the file, or - for standard input"),
		Long: `Adds and overwrites what a definitions.json says, RabbitMQ's or of leveret export: all of it or, when something in it is wrong, nothing.
What is there and not in the file stays. leveret definitions check looks at a file without a broker.`,
		Example: `  leveret import definitions.json
  leveret import --vhost shop shop.json
  leveret export --http http://old:15672 | leveret import -`,
	}
	t := reach(c)
	t.inVHost(c, "put it into this virtual host: a file of one")
	c.RunE = func(c *cobra.Command, args []string) error {
		in := c.InOrStdin()
		if args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			in = f
		}
		text, err := io.ReadAll(io.LimitReader(in, maxAnswer))
		if err != nil {
			return err
		}
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		vhost := ""
		if t.vhostGiven {
			vhost = t.vhost
		}
		if _, err := cl.ask(c.Context(), http.MethodPost, definitionsPath(vhost), text, nil); err != nil {
			if isStatus(err, http.StatusBadRequest) {
				return fmt.Errorf("%s: nothing was done: %w", args[0], err)
			}
			return missing(err, "virtual host", vhost, "", "vhosts")
		}
		fmt.Fprintln(c.OutOrStdout(), "imported")
		return nil
	}
	return c
}
