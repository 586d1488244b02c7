package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// verb is one of rabbitmqctl's, rabbitmq-diagnostics' or rabbitmq-plugins'.
type verb struct {
	name        string
	words       string // as it is written
	least, most int    // words; most -1 is any number
	about       string
	vhost       bool // it takes -p
	run         func(*ctl, []string) error
	instead     string // it is none of ours, and what to do
	options     []option
}

// option is a flag of one verb.
type option struct {
	name, short, usage string
	value              bool // it has one
	number             bool
}

// ctl is a call of a verb.
type ctl struct {
	c      *cobra.Command
	cl     *client
	t      *target
	quiet  bool
	silent bool
	bare   bool // without titles
	format string
	dry    bool
}

// ctlTools are the programs whose words these are.
var ctlTools = []string{"rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-plugins", "rabbitmq-queues", "rabbitmq-upgrade", "rabbitmq-streams"}

// ctlName is the command that has them all.
const ctlName = "rabbitmqctl"

func addCtl(root *cobra.Command) {
	parent := group(ctlName, "Verbs of rabbitmqctl, rabbitmq-diagnostics and rabbitmq-plugins",
		`Understands what people type for RabbitMQ: leveret list_queues name messages, or leveret rabbitmqctl list_queues; and as rabbitmqctl, where a
link of that name leads to leveret. It asks the HTTP API; -n and --longnames mean nothing. What is not Leveret's says what to do instead.`, "do")
	parent.Hidden = true
	for i := range verbs {
		parent.AddCommand(ctlCommand(&verbs[i]))
	}
	root.AddCommand(parent)
}

// ctlCommand makes a command of a verb.
func ctlCommand(v *verb) *cobra.Command {
	c := &cobra.Command{Use: strings.TrimSpace(v.name + " " + v.words), Short: v.about, DisableFlagsInUseLine: true}
	if v.instead != "" {
		c.Short = "Not here: " + v.instead
		c.DisableFlagParsing = true
		c.RunE = func(*cobra.Command, []string) error {
			return usagef("%s is not done so with Leveret: %s", v.name, v.instead)
		}
		return c
	}
	t := reach(c, "timeout")
	x := &ctl{c: c, t: t}
	f := c.Flags()
	if v.vhost {
		f.StringVarP(&t.vhost, "vhost", "p", "", inOne)
	}
	var seconds string
	f.StringVarP(&seconds, "timeout", "t", "60", "seconds to wait for an answer, or infinity")
	f.BoolVarP(&x.quiet, "quiet", "q", false, "say only what was asked for")
	f.BoolVarP(&x.silent, "silent", "s", false, "the same, and no titles")
	f.BoolVar(&x.bare, "no-table-headers", false, "no titles")
	f.BoolVar(&x.dry, "dry-run", false, "do nothing")
	f.StringVar(&x.format, "formatter", "table", "table, pretty_table, json or csv")
	ignored := f.BoolP("longnames", "l", false, "means nothing here")
	f.BoolVar(ignored, "script-mode", false, "means nothing here")
	f.StringP("node", "n", "", "means nothing here: --http names the broker")
	for _, o := range v.options {
		switch {
		case o.number:
			f.IntP(o.name, o.short, 0, o.usage)
		case o.value:
			f.StringP(o.name, o.short, "", o.usage)
		default:
			f.BoolP(o.name, o.short, false, o.usage)
		}
	}
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) < v.least || v.most >= 0 && len(args) > v.most {
			return usagef("%s is written: %s %s", v.name, v.name, v.words)
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if !slices.Contains([]string{"table", "pretty_table", "json", "csv"}, x.format) {
			return usagef("--formatter: %q is none of table, pretty_table, json, csv", x.format)
		}
		t.timeout = time.Minute
		if n, err := strconv.ParseFloat(seconds, 64); err == nil && n > 0 && n < 1e9 {
			t.timeout = time.Duration(n * float64(time.Second))
		} else if seconds == "infinity" || err == nil && n == 0 {
			t.timeout = math.MaxInt64
		} else {
			return usagef("--timeout: %q is no number of seconds", seconds)
		}
		x.quiet = x.quiet || x.silent
		x.bare = x.bare || x.silent
		var err error
		if x.cl, err = t.settle(c); err != nil {
			return err
		}
		return v.run(x, args)
	}
	return c
}

// say says what is done, unless nobody wants to hear it.
func (x *ctl) say(format string, args ...any) {
	if !x.quiet && (x.format == "table" || x.format == "pretty_table") {
		fmt.Fprintln(x.c.OutOrStdout(), cleanLine(fmt.Sprintf(format, args...)))
	}
}

func (x *ctl) text(name string) string {
	f := x.c.Flags().Lookup(name)
	if f == nil {
		return ""
	}
	return f.Value.String()
}

func (x *ctl) flag(name string) bool { return x.text(name) == "true" }

// put, post and del change something, unless it is a dry run.
func (x *ctl) put(path string, body any) error { return x.change(http.MethodPut, path, body) }
func (x *ctl) del(path string) error           { return x.change(http.MethodDelete, path, nil) }

func (x *ctl) change(method, path string, body any) error {
	if x.dry {
		return nil
	}
	_, err := x.cl.ask(x.c.Context(), method, path, body, nil)
	return err
}

func (x *ctl) get(path string, into any) error { return x.cl.get(x.c.Context(), path, into) }

// rows prints rows by the formatter.
func (x *ctl) rows(columns []string, rows [][]any) error {
	out := x.c.OutOrStdout()
	text := func(v any) string { return ctlText(v) }
	switch x.format {
	case "json":
		list := make([]json.RawMessage, 0, len(rows))
		for _, row := range rows {
			m := map[string]any{}
			for i, name := range columns {
				m[name] = row[i]
			}
			raw, err := only(m, columns)
			if err != nil {
				return err
			}
			list = append(list, raw)
		}
		raw, err := json.Marshal(list)
		if err != nil {
			return err
		}
		_, err = out.Write(append(cleanJSON(raw), '\n'))
		return err
	case "pretty_table":
		t := &table{titles: slices.Clone(columns), right: make([]bool, len(columns)), bare: x.bare}
		for _, row := range rows {
			var line []string
			for _, v := range row {
				line = append(line, text(v))
			}
			t.rows = append(t.rows, line)
		}
		return t.write(out, 0)
	}
	join := "\t"
	if x.format == "csv" {
		join = ","
		text = csvText
	}
	var b strings.Builder
	if !x.bare && (len(rows) > 0 || x.format == "csv") { // rabbitmqctl has no titles over nothing
		b.WriteString(strings.Join(columns, join) + "\n")
	}
	for _, row := range rows {
		for i, v := range row {
			if i > 0 {
				b.WriteString(join)
			}
			b.WriteString(cleanLine(text(v)))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// ctlText is a value as rabbitmqctl prints it, but for Erlang's terms, which are JSON here.
func ctlText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case []any:
		if !slices.ContainsFunc(v, func(e any) bool { _, isText := e.(string); return !isText }) {
			parts := make([]string, len(v))
			for i := range v {
				parts[i], _ = v[i].(string)
			}
			return "[" + strings.Join(parts, ", ") + "]"
		}
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

func csvText(v any) string {
	text := ctlText(v)
	if strings.ContainsAny(text, "\",\n") {
		return `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
	}
	return text
}

// ctlList is a verb that lists.
type ctlList struct {
	intro    string // %s is the virtual host
	path     func(vhost string) string
	defaults []string
	fields   map[string]string // where a column has another name in the API
	fixed    map[string]any    // what all have, and the API does not say
	known    []string          // columns besides those that came
	hide     func(map[string]any) bool
	tables   func(map[string]any) []map[string]any // one becomes several
}

func listing0(name, words, about string, vhost bool, l ctlList) verb {
	return verb{name: name, words: words, most: -1, about: about, vhost: vhost, run: l.run, options: []option{{name: "online"}, {name: "offline"}, {name: "local"}, {name: "verbose"}}}
}

func (l *ctlList) run(x *ctl, columns []string) error {
	if len(columns) == 0 {
		columns = l.defaults
	}
	if l.intro != "" {
		if strings.Contains(l.intro, "%s") {
			x.say(l.intro, x.t.vhost)
		} else {
			x.say("%s", l.intro)
		}
	}
	var list []map[string]any
	if err := x.get(l.path(x.t.vhost)+l.only(columns), &list); err != nil {
		return missing(err, "virtual host", x.t.vhost, "", "vhosts")
	}
	if l.tables != nil {
		var more []map[string]any
		for _, o := range list {
			more = append(more, l.tables(o)...)
		}
		list = more
	}
	if l.hide != nil {
		list = slices.DeleteFunc(list, l.hide)
	}
	for _, name := range columns {
		if !l.knows(list, name) {
			return usagef("there is no column %q; there are %s", name, strings.Join(l.columns(list), " "))
		}
	}
	rows := make([][]any, len(list))
	for i, o := range list {
		for _, name := range columns {
			rows[i] = append(rows[i], l.value(o, name))
		}
	}
	return x.rows(columns, rows)
}

// only asks for what is wanted and nothing else, where that is known: the rest would be worked out for nothing.
func (l *ctlList) only(columns []string) string {
	if l.tables != nil {
		return ""
	}
	wanted := []string{}
	for _, name := range columns {
		if !slices.Contains(l.columns(nil), name) {
			return ""
		}
		if _, fixed := l.fixed[name]; !fixed {
			wanted = append(wanted, cmp.Or(l.fields[name], name))
		}
	}
	if len(wanted) == 0 {
		return ""
	}
	return "?" + url.Values{"columns": {strings.Join(wanted, ",")}}.Encode()
}

func (l *ctlList) value(o map[string]any, name string) any {
	if v, ok := l.fixed[name]; ok {
		return v
	}
	return lookup(o, cmp.Or(l.fields[name], name))
}

// columns are those there are.
func (l *ctlList) columns(list []map[string]any) []string {
	set := map[string]bool{}
	for _, name := range slices.Concat(l.defaults, l.known) {
		set[name] = true
	}
	for name := range l.fields {
		set[name] = true
	}
	for name := range l.fixed {
		set[name] = true
	}
	if len(list) > 0 {
		for name := range list[0] {
			set[name] = true
		}
	}
	var out []string
	for name := range set {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func (l *ctlList) knows(list []map[string]any, name string) bool {
	return slices.Contains(l.columns(list), name) || len(list) > 0 && has(list[0], name)
}

// passwordOf is the word behind a user's name, or what comes in on standard input.
func (x *ctl) passwordOf(args []string) (string, error) {
	if len(args) > 1 {
		return args[1], nil
	}
	if isTerminal(x.c.InOrStdin()) {
		return askPassword(x.c, "Password: ")
	}
	return firstLine(x.c.InOrStdin())
}

// jsonWord reads a word that is JSON.
func jsonWord(what, text string) (map[string]json.RawMessage, error) {
	var v map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, usagef("the %s should be a JSON object: %v", what, err)
	}
	return v, nil
}

// awaitStartup waits until a broker answers.
func awaitStartup(x *ctl, _ []string) error {
	x.say("Waiting for the broker at %s ...", x.cl.base.Redacted())
	end := time.Now().Add(min(x.t.timeout, 24*time.Hour))
	if !x.c.Flags().Changed("timeout") {
		end = time.Now().Add(5 * time.Minute)
	}
	x.cl.http.Timeout = 5 * time.Second
	for {
		var who map[string]any
		err := x.get("whoami", &who)
		var f *failure
		if err == nil || errors.As(err, &f) && f.status == http.StatusUnauthorized { // it is there, whoever may enter
			return nil
		}
		if statusOf(err) != Unavailable || time.Now().After(end) {
			return err
		}
		select {
		case <-x.c.Context().Done():
			return x.c.Context().Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// check asks a health check of the API.
func check(path, well string) func(*ctl, []string) error {
	return func(x *ctl, args []string) error {
		p := path
		for i, a := range args {
			p = strings.ReplaceAll(p, "{"+strconv.Itoa(i)+"}", at(a))
		}
		var said map[string]any
		if err := x.get(p, &said); err != nil {
			var f *failure
			if errors.As(err, &f) && f.status == http.StatusServiceUnavailable { // the answer of a check is no absence
				return errors.New(f.reason)
			}
			return err
		}
		x.say("%s", strings.ReplaceAll(well, "{0}", strings.Join(args, " ")))
		return nil
	}
}

// readFileOr reads a file, or standard input for - and nothing.
func (x *ctl) readFileOr(args []string) ([]byte, error) {
	in := x.c.InOrStdin()
	if len(args) > 0 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, maxAnswer))
}
