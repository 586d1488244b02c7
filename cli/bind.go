package cli

import (
	"fmt"
	"net/http"
	"reflect"

	"github.com/spf13/cobra"
)

func bindCommand() *cobra.Command   { return bindAs("bind") }
func unbindCommand() *cobra.Command { return unbindAs("unbind") }

// ends is what a binding is between.
type ends struct {
	toExchange bool
	arguments  func(map[string]any) error
}

func (e *ends) flags(c *cobra.Command) {
	c.Flags().BoolVar(&e.toExchange, "to-exchange", false, "the second name is an exchange's")
	e.arguments = argumentFlag(c, "argument of the binding, NAME=VALUE, as an exchange of type headers wants them; may be given several times")
	c.ValidArgsFunction = func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) == 0 || len(args) == 1 && e.toExchange:
			return completeNames("exchanges", "name")(c, nil, word)
		case len(args) == 1:
			return completeNames("queues", "name")(c, nil, word)
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// read is the path of all bindings between two names, the key and the arguments.
func (e *ends) read(t *target, args []string) (path, key string, arguments map[string]any, err error) {
	arguments = map[string]any{}
	if err := e.arguments(arguments); err != nil {
		return "", "", nil, err
	}
	if args[1] == "" {
		return "", "", nil, usagef("the name behind the exchange is empty")
	}
	kind := "q"
	if e.toExchange {
		kind = "e"
	}
	if len(args) > 2 {
		key = args[2]
	}
	return at("bindings", t.vhost, "e", exchangeName(args[0]), kind, args[1]), key, arguments, nil
}

// endMissing says which of the two is not there.
func (e *ends) endMissing(err error, t *target, args []string) error {
	switch {
	case !isStatus(err, http.StatusNotFound):
		return err
	case err.Error() == "exchange_not_found" && e.toExchange:
		return missing(err, "exchange", args[0]+" or "+args[1], t.vhost, "exchanges")
	case err.Error() == "exchange_not_found":
		return missing(err, "exchange", args[0], t.vhost, "exchanges")
	case err.Error() == "queue_not_found":
		return missing(err, "queue", args[1], t.vhost, "queues")
	}
	return missing(err, "virtual host", t.vhost, "", "vhosts")
}

func bindAs(use string) *cobra.Command {
	c := &cobra.Command{
		Use: use + " EXCHANGE QUEUE [KEY]", Short: "Bind a queue to an exchange", Args: takes(2, 3, "the name of the exchange", "the name of the queue"),
		Long: "Binds a queue to an exchange: what is published there with a matching key goes to the queue, too.",
		Example: `  leveret bind logs errors '*.error'
  leveret bind logs archive '#'
  leveret bind events billing -a x-match=all -a kind=invoice
  leveret bind logs audit 'auth.*' --to-exchange`,
	}
	t := reach(c)
	t.inVHost(c, inOne)
	var e ends
	e.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		path, key, arguments, err := e.read(t, args)
		if err != nil {
			return err
		}
		if _, err := cl.ask(c.Context(), http.MethodPost, path, map[string]any{"routing_key": key, "arguments": arguments}, nil); err != nil {
			return e.endMissing(err, t, args)
		}
		fmt.Fprintf(c.OutOrStdout(), "%s: bound to %s with key %q\n", cleanLine(args[1]), cleanLine(exchangeName(args[0])), key)
		return nil
	}
	return c
}

func unbindAs(use string) *cobra.Command {
	c := &cobra.Command{
		Use: use + " EXCHANGE QUEUE [KEY]", Short: "Take a binding away", Args: takes(2, 3, "the name of the exchange", "the name of the queue"),
		Example: `  leveret unbind logs errors '*.error'
  leveret unbind logs errors --all`,
	}
	t := reach(c)
	t.inVHost(c, inOne)
	var e ends
	var all bool
	e.flags(c)
	c.Flags().BoolVar(&all, "all", false, "all bindings between the two, whatever their keys")
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		path, key, arguments, err := e.read(t, args)
		if err != nil {
			return err
		}
		var list []map[string]any
		if err := cl.get(c.Context(), path, &list); err != nil {
			return e.endMissing(err, t, args)
		}
		done := 0
		for _, b := range list {
			if !all && (plain(b["routing_key"]) != key || !sameArguments(b["arguments"], arguments)) {
				continue
			}
			if _, err := cl.ask(c.Context(), http.MethodDelete, path+"/"+at(plain(b["properties_key"])), nil, nil); err != nil {
				return e.endMissing(err, t, args)
			}
			done++
			fmt.Fprintf(c.OutOrStdout(), "%s: no longer bound to %s with key %q\n", cleanLine(args[1]), cleanLine(exchangeName(args[0])), plain(b["routing_key"]))
		}
		if done == 0 {
			return fmt.Errorf("there is no such binding from %s to %s with key %q: leveret list bindings shows what there is", exchangeName(args[0]), args[1], key)
		}
		return nil
	}
	return c
}

// sameArguments compares arguments as they came with those that were given.
func sameArguments(there any, wanted map[string]any) bool {
	m, _ := there.(map[string]any)
	return len(m) == len(wanted) && (len(m) == 0 || reflect.DeepEqual(m, wanted))
}
