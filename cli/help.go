package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// interruptible is a command's context that ends with the first Ctrl-C; the second ends the process.
func interruptible(c *cobra.Command) (context.Context, func()) {
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// brokerTopic is what leveret help broker says.
func brokerTopic() *cobra.Command {
	return &cobra.Command{
		Use: "broker", Short: "How a command finds the broker, and as whom it logs in",
		Long: `Commands that ask a running broker talk to its HTTP API, ` + defaultHTTP + ` unless it is said otherwise:

  --http ADDRESS      http://HOST:15672, https://HOST:15671, or just HOST     ` + envHTTP + `
  --user NAME         default guest                                          ` + envUser + `
  --password TEXT     default guest's; asked for on a terminal               ` + envPassword + `
  --netrc FILE        names and passwords by host, default ~/.netrc          NETRC
                      machine broker.example.com login ann password s3cret
  --ca FILE           authority that signed the broker's certificate         ` + envCA + `
  --cert FILE         a certificate of one's own, where it is asked for; its key by --cert-key
  --insecure          don't check the broker's certificate
  --timeout 1m        how long to wait for an answer
  --vhost NAME        virtual host, default /                                ` + envVHost + `

Flags win over the environment, and that over ~/.netrc. The user needs the tag management, and permissions for what is done.

A command ends with status 0 when it was done, 1 when the broker refused it or it failed, 2 when the command line makes no
sense, and 69 when no broker answers or it can't do it for now.`,
	}
}

// teach makes the help of all commands ours: flags that say where the broker is stand in one line.
func teach(root *cobra.Command) {
	root.SetUsageFunc(usage)
}

// helpWidth is how wide help is at most.
const helpWidth = 110

// usage writes what stands below the description of a command.
func usage(c *cobra.Command) error {
	var b strings.Builder
	out := c.OutOrStderr()
	width := helpWidth
	if w := widthOf(out); w > 20 {
		width = min(w, helpWidth)
	}
	b.WriteString("Usage:\n")
	if c.Runnable() && !c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s\n", c.UseLine())
	}
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s COMMAND\n", c.CommandPath())
	}
	if len(c.Aliases) > 0 {
		fmt.Fprintf(&b, "\nAlso called:\n  %s\n", strings.Join(c.Aliases, ", "))
	}
	if c.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", c.Example)
	}
	listCommands(&b, c)
	local, where := pflag.NewFlagSet("", pflag.ContinueOnError), []string(nil)
	local.SortFlags = false
	c.LocalFlags().SortFlags = c.Flags().SortFlags
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if _, ok := f.Annotations[connection]; ok {
			where = append(where, "--"+f.Name)
		} else {
			local.AddFlag(f)
		}
	})
	if text := local.FlagUsagesWrapped(width); text != "" {
		fmt.Fprintf(&b, "\nFlags:\n%s", text)
	}
	if len(where) > 0 {
		fmt.Fprintf(&b, "\nWhere the broker is (leveret help broker):\n  %s\n", strings.Join(where, " "))
	}
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n%s COMMAND --help says more, with examples.\n", c.CommandPath())
	}
	_, err := fmt.Fprint(out, b.String())
	return err
}

// listCommands lists the commands below one, by group.
func listCommands(b *strings.Builder, c *cobra.Command) {
	line := func(sub *cobra.Command) {
		fmt.Fprintf(b, "  %-*s %s\n", sub.NamePadding(), sub.Name(), sub.Short)
	}
	shown := func(sub *cobra.Command) bool { return sub.IsAvailableCommand() || sub.Name() == "help" }
	for _, g := range c.Groups() {
		fmt.Fprintf(b, "\n%s\n", g.Title)
		for _, sub := range c.Commands() {
			if sub.GroupID == g.ID && shown(sub) {
				line(sub)
			}
		}
	}
	rest := slices.DeleteFunc(slices.Clone(c.Commands()), func(sub *cobra.Command) bool { return sub.GroupID != "" || !shown(sub) })
	if len(rest) > 0 {
		b.WriteString("\nCommands:\n")
		for _, sub := range rest {
			line(sub)
		}
	}
	for i, sub := range slices.DeleteFunc(slices.Clone(c.Commands()), func(sub *cobra.Command) bool { return !sub.IsAdditionalHelpTopicCommand() }) {
		if i == 0 {
			b.WriteString("\nMore to read:\n")
		}
		fmt.Fprintf(b, "  %-*s %s\n", sub.NamePadding()+5, "help "+sub.Name(), sub.Short)
	}
}

// completing is how long a shell waits for names.
const completing = time.Second

// completeNames completes names of what there is, by asking the broker; when it does not answer, there are none.
func completeNames(list, field string) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		t := &target{timeout: completing}
		flag := func(name string) string {
			if f := c.Flags().Lookup(name); f != nil {
				return f.Value.String()
			}
			return ""
		}
		t.http, t.user, t.password, t.ca, t.cert, t.key, t.netrc, t.vhost = flag("http"), flag("user"), flag("password"), flag("ca"), flag("cert"), flag("cert-key"), flag("netrc"), flag("vhost")
		t.insecure = flag("insecure") == "true"
		c.SetIn(strings.NewReader("")) // nobody is asked for a password
		cl, err := t.settle(c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.Background(), completing)
		defer cancel()
		path := list
		for _, k := range kinds {
			if k.list == list && k.inVHost {
				t.vhostGiven = true
				path = k.path(t)
			}
		}
		var all []json.RawMessage
		if cl.get(ctx, path+"?columns="+field, &all) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, raw := range all {
			fields, err := decode(raw)
			if name := plain(lookup(fields, field)); err == nil && name != "" && strings.HasPrefix(name, word) && name == cleanLine(name) {
				names = append(names, name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFirst is completeNames for the first word alone.
func completeFirst(list, field string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return completeNames(list, field)(c, args, word)
	}
}
