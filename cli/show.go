package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func showCommand() *cobra.Command {
	var commands []*cobra.Command
	for _, k := range kinds {
		if k.item != nil {
			commands = append(commands, showKind(k))
		}
	}
	c := group("show", "Show all that is known of a queue, an exchange, a user, …", "Shows all that is known of one thing, by the names of the HTTP API.", "show", commands...)
	c.Aliases = []string{"describe", "info"}
	c.Example = `  leveret show queue jobs
  leveret show exchange logs --output json
  leveret show user ann`
	return c
}

// example is a word that is a name of the kind.
func (k *kind) exampleName() string {
	if k.example == "" {
		return "NAME"
	}
	return k.example
}

func showKind(k *kind) *cobra.Command {
	c := &cobra.Command{
		Use: k.singular + " NAME", Aliases: k.words(k.singular), Short: "Show " + article(k.singular), Args: takes(1, 1, "the name"),
		Example: fmt.Sprintf("  leveret show %s %s", k.singular, k.exampleName()),
	}
	t, o := reach(c), shaped(c)
	if k.inVHost && k.below != "connections" && k.below != "channels" {
		t.inVHost(c, inOne)
	}
	c.ValidArgsFunction = completeNames(k.list, k.named)
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, asJSON, err := t.settleFor(c, o)
		if err != nil {
			return err
		}
		if err := someName(k, args[0]); err != nil {
			return err
		}
		var raw json.RawMessage
		if err := cl.get(c.Context(), k.item(t.vhost, args[0]), &raw); err != nil {
			return missing(err, k.singular, args[0], t.vhost, k.plural)
		}
		if asJSON {
			return writeJSON(c.OutOrStdout(), raw)
		}
		return showTable(k, raw).write(c.OutOrStdout(), 0)
	}
	return c
}

// someName refuses an empty one, of which a path would be another's.
func someName(k *kind, name string) error {
	if name == "" && k.singular != "exchange" {
		return usagef("the name of the %s is empty", k.singular)
	}
	return nil
}

// article puts one before a word.
func article(word string) string {
	switch {
	case strings.HasSuffix(word, "permissions"):
		return "the " + word + " of a user"
	case strings.ContainsRune("aeio", rune(word[0])):
		return "an " + word
	}
	return "a " + word
}

// showTable is what is known of one, a field a line; of several, as a list has them.
func showTable(k *kind, raw json.RawMessage) *table {
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")) {
		var list []json.RawMessage
		_ = json.Unmarshal(raw, &list) // it is JSON: it was read
		l := &listing{k: k}
		var objects []object
		for _, one := range list {
			fields, err := decode(one)
			if err == nil {
				objects = append(objects, object{one, fields})
			}
		}
		return l.table(objects)
	}
	t := &table{titles: []string{"", ""}, right: []bool{false, false}, bare: true}
	fields, err := decode(raw)
	if err != nil {
		return t
	}
	for _, line := range flatten("", raw, fields, k) {
		t.rows = append(t.rows, line[:])
	}
	return t
}

// flatten makes lines of an object, in its own order; what is empty, and the details of figures beside their rates, are left out.
func flatten(prefix string, raw json.RawMessage, fields map[string]any, k *kind) (out [][2]string) {
	for _, name := range order(raw) {
		v := fields[name]
		full := prefix + name
		switch below := v.(type) {
		case map[string]any:
			if strings.HasSuffix(name, "_details") && below["rate"] != nil {
				if rate := plain(below["rate"]); rate != "0" && rate != "0.0" {
					out = append(out, [2]string{strings.TrimSuffix(full, "_details") + " a second", rate})
				}
				continue
			}
			inner := map[string]json.RawMessage{}
			_ = json.Unmarshal(raw, &inner) // it is an object: order says so
			out = append(out, flatten(full+".", inner[name], below, k)...)
			continue
		case []any:
			if len(below) > 0 {
				if _, objects := below[0].(map[string]any); objects {
					for i, one := range below {
						out = append(out, [2]string{fmt.Sprintf("%s %d", full, i+1), plain(one)})
					}
					continue
				}
			}
		}
		show := plain
		if i := slices.IndexFunc(k.columns, func(c column) bool { return c.field == full }); i >= 0 {
			show = k.columns[i].show
		}
		if text := show(v); text != "" {
			out = append(out, [2]string{full, text})
		}
	}
	return out
}

// order is the names of an object as they stand there.
func order(raw json.RawMessage) (names []string) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return names
		}
		names = append(names, name)
		var skip json.RawMessage
		if d.Decode(&skip) != nil {
			return names
		}
	}
	return names
}

func deleteCommand() *cobra.Command {
	var commands []*cobra.Command
	for _, k := range kinds {
		if k.deletes != "" {
			commands = append(commands, deleteKind(k))
		}
	}
	commands = append(commands, unbindAs("binding"))
	c := group("delete", "Delete queues, exchanges, users, …; close connections", "Deletes what is named. There is no question before it, and no way back.", "delete", commands...)
	c.Aliases = []string{"rm", "remove", "del", "close", "clear"}
	c.Example = `  leveret delete queue jobs jobs.old
  leveret delete queue jobs --if-empty
  leveret delete connection '10.0.0.1:4711 -> 10.0.0.2:5672' --reason 'maintenance'`
	return c
}

func deleteKind(k *kind) *cobra.Command {
	c := &cobra.Command{
		Use: k.singular + " NAME…", Aliases: k.words(k.singular), Short: k.deletes, Args: takes(1, -1, "the name"),
		Example: fmt.Sprintf("  leveret delete %s %s", k.singular, k.exampleName()),
	}
	t := reach(c)
	if k.inVHost && k.below != "connections" {
		t.inVHost(c, inOne)
	}
	var ifEmpty, ifUnused bool
	var reason string
	switch k.singular {
	case "queue":
		c.Flags().BoolVar(&ifEmpty, "if-empty", false, "only when nothing is in it")
		c.Flags().BoolVar(&ifUnused, "if-unused", false, "only when nobody consumes it")
	case "exchange":
		c.Flags().BoolVar(&ifUnused, "if-unused", false, "only when nothing is bound to it")
	case "connection":
		c.Flags().StringVar(&reason, "reason", "", "what its client is told")
	}
	c.ValidArgsFunction = completeNames(k.list, k.named)
	c.RunE = func(c *cobra.Command, names []string) error {
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := someName(k, name); err != nil {
				return err
			}
			var q []string
			if ifEmpty {
				q = append(q, "if-empty=true")
			}
			if ifUnused {
				q = append(q, "if-unused=true")
			}
			path := k.item(t.vhost, name)
			if len(q) > 0 {
				path += "?" + strings.Join(q, "&")
			}
			r, err := cl.request(c.Context(), http.MethodDelete, path, nil)
			if err != nil {
				return err
			}
			if reason != "" {
				r.Header.Set("X-Reason", reason)
			}
			res, err := cl.send(r)
			if err != nil {
				return missing(err, k.singular, name, t.vhost, k.plural)
			}
			_ = res.Body.Close()
			fmt.Fprintf(c.OutOrStdout(), "%s %s: %s\n", k.singular, cleanLine(name), k.done)
		}
		return nil
	}
	return c
}

func purgeCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "purge QUEUE…", Short: "Drop the messages of queues", Args: takes(1, -1, "the name of a queue"),
		Long: `Drops the messages that are ready in queues. Those that consumers hold and have not acked stay, and so does
what a queue with x-retention keeps for readers.`,
		Example: `  leveret purge jobs`,
	}
	t := reach(c)
	t.inVHost(c, inOne)
	c.ValidArgsFunction = completeNames("queues", "name")
	c.RunE = func(c *cobra.Command, names []string) error {
		cl, err := t.settle(c)
		if err != nil {
			return err
		}
		if len(names) > 1 && slices.Contains([]string{"queue", "queues"}, names[0]) { // purge queue jobs, as rabbitmqadmin says it
			names = names[1:]
		}
		for _, name := range names {
			if name == "" {
				return usagef("the name of the queue is empty")
			}
			if _, err := cl.ask(c.Context(), http.MethodDelete, at("queues", t.vhost, name, "contents"), nil, nil); err != nil {
				return missing(err, "queue", name, t.vhost, "queues")
			}
			fmt.Fprintf(c.OutOrStdout(), "queue %s: purged\n", cleanLine(name))
		}
		return nil
	}
	return c
}
