package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func listCommand() *cobra.Command {
	var commands []*cobra.Command
	for _, k := range kinds {
		commands = append(commands, listKind(k))
	}
	c := group("list", "List queues, exchanges, users, connections, …", `Lists what there is. Words behind are the columns that are wanted, by the names of the HTTP API, which
--output json shows; without them it is those that most people want.`, "list", commands...)
	c.Aliases = []string{"ls"}
	c.Example = `  leveret list queues
  leveret list queues name messages consumers --sort -messages
  leveret list connections --output json
  leveret list bindings --vhost shop --match '^logs'`
	return c
}

// listing is what a list is asked for.
type listing struct {
	k       *kind
	columns []string
	sort    string
	match   string
	all     bool
	bare    bool
}

func listKind(k *kind) *cobra.Command {
	l := &listing{k: k}
	c := &cobra.Command{
		Use: k.plural + " [COLUMN…]", Aliases: k.words(k.plural), Short: "List " + k.plural,
		Long:    fmt.Sprintf("Lists %s. Columns are fields of the HTTP API; those shown by itself:\n  %s", k.plural, strings.Join(k.fields(), " ")),
		Example: fmt.Sprintf("  leveret list %s\n  leveret list %s %s --output json", k.plural, k.plural, strings.Join(k.fields()[:2], " ")),
	}
	t, o := reach(c), shaped(c)
	if k.inVHost {
		t.inVHost(c, "only those of this virtual host, default all that the user may see")
	}
	c.Flags().StringVar(&l.sort, "sort", "", "column to sort by, with - before it from the largest down")
	c.Flags().StringVar(&l.match, "match", "", "only those whose "+k.named+" matches this regular expression")
	c.Flags().BoolVar(&l.bare, "no-titles", false, "leave the titles of a table out")
	if k.hide != nil {
		c.Flags().BoolVar(&l.all, "all", false, "also those that are there by themselves")
	}
	c.ValidArgsFunction = cobra.FixedCompletions(k.fields(), cobra.ShellCompDirectiveNoFileComp)
	c.RunE = func(c *cobra.Command, args []string) error {
		l.columns = nil
		for _, a := range args { // commas, as some tools have them
			l.columns = append(l.columns, strings.FieldsFunc(a, func(r rune) bool { return r == ',' })...)
		}
		cl, asJSON, err := t.settleFor(c, o)
		if err != nil {
			return err
		}
		rows, err := l.ask(c.Context(), cl, t, asJSON)
		if err != nil {
			return err
		}
		if asJSON {
			return writeJSON(c.OutOrStdout(), raws(rows))
		}
		if len(rows) == 0 && isTerminal(c.ErrOrStderr()) {
			fmt.Fprintf(c.ErrOrStderr(), "There are no %s%s.\n", k.plural, prefixed(": ", k.empty))
			return nil
		}
		return l.table(rows).write(c.OutOrStdout(), widthOf(c.OutOrStdout()))
	}
	return c
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// fields are those of the columns that are shown by themselves.
func (k *kind) fields() []string {
	out := make([]string, len(k.columns))
	for i, c := range k.columns {
		out[i] = c.field
	}
	return out
}

// object is one of a list, as it came and read.
type object struct {
	raw    json.RawMessage
	fields map[string]any
}

func raws(list []object) []json.RawMessage {
	out := make([]json.RawMessage, len(list))
	for i := range list {
		out[i] = list[i].raw
	}
	return out
}

// ask reads the list.
func (l *listing) ask(ctx context.Context, cl *client, t *target, asJSON bool) ([]object, error) {
	match, err := regexp.Compile(l.match)
	if err != nil {
		return nil, usagef("--match: %v", err)
	}
	q := url.Values{}
	wanted := slices.Clone(l.columns)
	if len(wanted) == 0 && !asJSON {
		wanted = l.k.fields() // what is not shown need not be worked out
	}
	if len(wanted) > 0 && !l.k.unsorted {
		wanted = append(wanted, l.k.named)
		if l.k.hide != nil {
			wanted = append(wanted, "source")
		}
		q.Set("columns", strings.Join(wanted, ","))
	}
	if l.sort != "" && l.k.unsorted {
		return nil, usagef("--sort: %s are listed in one order only", l.k.plural)
	}
	if l.sort != "" {
		name, down := strings.CutPrefix(l.sort, "-")
		q.Set("sort", name)
		if down {
			q.Set("sort_reverse", "true")
		}
	}
	path := l.k.path(t)
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	var list []json.RawMessage
	if err := cl.get(ctx, path, &list); err != nil {
		if t.vhostGiven {
			err = missing(err, "virtual host", t.vhost, "", "vhosts")
		}
		return nil, err
	}
	out := make([]object, 0, len(list))
	for _, raw := range list {
		o := object{raw: raw}
		if o.fields, err = decode(raw); err != nil {
			return nil, err
		}
		if l.k.hide != nil && !l.all && l.k.hide(o.fields) || l.match != "" && !match.MatchString(plain(lookup(o.fields, l.k.named))) {
			continue
		}
		if len(l.columns) > 0 {
			if o.raw, err = only(o.fields, l.columns); err != nil {
				return nil, err
			}
		}
		out = append(out, o)
	}
	if len(out) > 0 {
		for _, name := range l.columns {
			if !slices.ContainsFunc(out, func(o object) bool { return has(o.fields, name) }) {
				return nil, usagef("%s have no column %q; leveret list %s --output json shows all that there are", l.k.plural, name, l.k.plural)
			}
		}
	}
	return out, nil
}

// has says whether a field is there, be it empty.
func has(o map[string]any, path string) bool {
	if _, ok := o[path]; ok {
		return true
	}
	name, rest, ok := strings.Cut(path, ".")
	if !ok {
		return false
	}
	below, isObject := o[name].(map[string]any)
	if !isObject { // what is not used has no figures below
		_, there := o[name]
		return there
	}
	return has(below, rest) || len(below) == 0
}

// only is an object of the fields that are wanted, in their order.
func only(fields map[string]any, columns []string) (json.RawMessage, error) {
	out := []byte{'{'}
	for i, name := range columns {
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(lookup(fields, name))
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, key...), ':'), value...)
	}
	return append(out, '}'), nil
}

func decode(raw json.RawMessage) (map[string]any, error) {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	out := map[string]any{}
	if err := d.Decode(&out); err != nil {
		return nil, fmt.Errorf("the broker's answer is no list of objects: %w", err)
	}
	return out, nil
}

// table is the list for people.
func (l *listing) table(list []object) *table {
	columns := l.k.columns
	if len(l.columns) > 0 {
		columns = nil
		for _, name := range l.columns {
			i := slices.IndexFunc(l.k.columns, func(c column) bool { return c.field == name })
			if i >= 0 {
				columns = append(columns, l.k.columns[i])
				continue
			}
			columns = append(columns, column{name, strings.ToUpper(name), plain, allNumbers(list, name)})
		}
	}
	if len(l.columns) == 0 {
		columns = slices.DeleteFunc(slices.Clone(columns), func(c column) bool { return c.title == "VHOST" && allIn(list, c.field) })
	}
	t := &table{bare: l.bare}
	for _, c := range columns {
		t.titles = append(t.titles, c.title)
		t.right = append(t.right, c.right)
	}
	for i := range list {
		var row []string
		for _, c := range columns {
			row = append(row, c.show(lookup(list[i].fields, c.field)))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// allIn says whether all are in one virtual host, which then need not be shown.
func allIn(list []object, field string) bool {
	for i := range list {
		if plain(lookup(list[i].fields, field)) != plain(lookup(list[0].fields, field)) {
			return false
		}
	}
	return true
}

func allNumbers(list []object, field string) bool {
	for i := range list {
		if _, ok := lookup(list[i].fields, field).(json.Number); !ok {
			return false
		}
	}
	return true
}
