package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// The statuses with which a command ends, besides 0. They are documented in docs/cli.md.
const (
	// Failed is that what was asked for was not done.
	Failed = 1
	// Usage is that the command line makes no sense; nobody was asked.
	Usage = 2
	// Unavailable is that no broker answers, or that it can't do it for now: EX_UNAVAILABLE of sysexits.h, as
	// rabbitmqctl has it.
	Unavailable = 69
	// Interrupted is that somebody ended it before it was done, as shells have it.
	Interrupted = 130
)

// usageError is what is wrong with a command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// Execute runs a command line, whose first word is the program as it was called, says what went wrong on errOut and
// returns the status to end with. Root has the commands of Add besides its own.
func Execute(root *cobra.Command, args []string, errOut io.Writer) int {
	line, err := translate(args)
	if err == nil {
		err = execute(root, line)
	}
	if err == nil {
		return 0
	}
	text := err.Error()
	status := statusOf(err)
	if word, ok := strings.CutPrefix(text, `unknown command "`); ok { // cobra's own words
		status = Usage
		word, _, _ = strings.Cut(word, `"`)
		text = unknownWord(root, word)
	}
	if text != "" {
		fmt.Fprintln(errOut, "leveret:", clean(text))
	}
	return status
}

// execute runs a line of ours.
func execute(root *cobra.Command, line []string) error {
	if line == nil {
		line = []string{} // nil would be those of the process
	}
	root.SetArgs(line)
	root.InitDefaultCompletionCmd() // here, since it takes where to write to
	if c, _, err := root.Find([]string{"completion"}); err == nil {
		c.Short = "Print a script that completes commands in your shell"
		checkWords(c)
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%v; %s --help lists what there is", err, c.CommandPath())
	})
	return root.ExecuteContext(context.Background())
}

// statusOf is the status of what went wrong.
func statusOf(err error) int {
	var u *usageError
	var a *failure
	switch {
	case errors.As(err, &u):
		return Usage
	case errors.Is(err, context.Canceled):
		return Interrupted
	case errors.As(err, &a) && a.unavailable():
		return Unavailable
	}
	return Failed
}

// Add adds the commands of this package to the program's.
func Add(root *cobra.Command, offline Offline) {
	cobra.EnableCommandSorting = false // help has the order of what people need
	own := root.Commands()
	root.AddGroup(&cobra.Group{ID: "messages", Title: "Messages:"}, &cobra.Group{ID: "objects", Title: "Queues, users and all that is declared:"},
		&cobra.Group{ID: "broker", Title: "The broker:"})
	group := func(id string, list ...*cobra.Command) {
		for _, c := range list {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	group("messages", publishCommand(), consumeCommand(), tailCommand(), browseCommand(), replayCommand(), redriveCommand(), jobCommand(), purgeCommand())
	group("objects", listCommand(), showCommand(), declareCommand(), deleteCommand(), bindCommand(), unbindCommand(), exportCommand(offline), importCommand(), backupCommand())
	group("broker", statusCommand())
	for _, c := range own {
		c.GroupID = "broker"
		checkWords(c)
	}
	root.SetHelpCommandGroupID("broker")
	root.SetCompletionCommandGroupID("broker")
	addCtl(root)
	root.AddCommand(brokerTopic())
	teach(root)
}

// checkWords has a command say that a wrong number of words is misuse, and which word is missing or too many.
func checkWords(c *cobra.Command) {
	names := strings.Fields(c.Use)[1:]
	check := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		switch {
		case check == nil || check(c, args) == nil:
			return nil
		case len(args) < len(names):
			return usagef("%s: %s is missing; %s --help shows how it is written", c.CommandPath(), strings.TrimSuffix(names[len(args)], "…"), c.CommandPath())
		case c.HasSubCommands():
			return usagef("there is no command %q of %s; %s --help lists what there is", args[0], c.CommandPath(), c.CommandPath())
		}
		return usagef("%s: %q is one word too many; %s --help shows how it is written", c.CommandPath(), args[len(names)], c.CommandPath())
	}
	if c.HasSubCommands() && !c.Runnable() {
		c.RunE = func(c *cobra.Command, _ []string) error {
			_ = c.Help()
			return usagef("%s what?", c.CommandPath())
		}
	}
	for _, sub := range c.Commands() {
		checkWords(sub)
	}
}

// takes says how many words a command takes, and names those that are missing.
func takes(least, most int, names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("%s: %s is missing; %s --help shows how it is written", c.CommandPath(), names[len(args)], c.CommandPath())
		case most >= 0 && len(args) > most:
			return usagef("%s: %q is one word too many; write what has spaces in quotes", c.CommandPath(), args[most])
		}
		return nil
	}
}
