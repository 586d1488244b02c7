package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"
)

// cell shows a value of an API's answer to a person.
type cell func(any) string

// plain shows a value as it is: a list with commas, an object as name=value.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = plain(v[i])
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		parts := make([]string, 0, len(v))
		for name, value := range v {
			parts = append(parts, name+"="+plain(value))
		}
		slices.Sort(parts)
		return strings.Join(parts, " ")
	}
	return fmt.Sprint(v)
}

// bytesCell shows a number of bytes.
func bytesCell(v any) string {
	n, ok := v.(json.Number)
	if !ok {
		return plain(v)
	}
	f, err := n.Float64()
	if err != nil {
		return n.String()
	}
	return sizeText(f)
}

// sizeText is a number of bytes for people.
func sizeText(f float64) string {
	for _, unit := range []string{"B", "KiB", "MiB", "GiB", "TiB"} {
		if f < 1024 || unit == "TiB" {
			if unit == "B" {
				return strconv.FormatFloat(f, 'f', 0, 64) + " B"
			}
			return strconv.FormatFloat(f, 'f', 1, 64) + " " + unit
		}
		f /= 1024
	}
	return ""
}

// timeCell shows a time that is told in milliseconds.
func timeCell(v any) string {
	n, ok := v.(json.Number)
	if !ok {
		return plain(v)
	}
	ms, err := n.Int64()
	if err != nil || ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).Format(time.DateTime)
}

// table is rows under titles, as wide as they are, or as the terminal is.
type table struct {
	titles []string
	right  []bool // numbers
	rows   [][]string
	bare   bool // without titles
}

// gap is between columns.
const gap = "  "

// leastColumn is how narrow a column gets to fit a terminal.
const leastColumn = 6

// write writes it, no wider than width unless that is 0.
func (t *table) write(out io.Writer, width int) error {
	rows := t.rows
	if !t.bare {
		rows = append([][]string{t.titles}, rows...)
	}
	widths := make([]int, len(t.titles))
	for _, row := range rows {
		for i, text := range row {
			row[i] = cleanLine(text)
			widths[i] = max(widths[i], widthOfText(row[i]))
		}
	}
	if width > 0 {
		narrow(widths, width-len(gap)*(len(widths)-1))
	}
	var b strings.Builder
	for _, row := range rows {
		for i, text := range row {
			if widthOfText(text) > widths[i] {
				text = runewidth.Truncate(text, widths[i], "…")
			}
			if !slices.ContainsFunc(row[i:], func(s string) bool { return s != "" }) {
				break
			}
			pad := strings.Repeat(" ", widths[i]-widthOfText(text))
			switch {
			case t.right[i]:
				b.WriteString(pad + text)
			case !slices.ContainsFunc(row[i+1:], func(s string) bool { return s != "" }):
				b.WriteString(text)
			default:
				b.WriteString(text + pad)
			}
			if slices.ContainsFunc(row[i+1:], func(s string) bool { return s != "" }) {
				b.WriteString(gap)
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// narrow takes from the widest column until all fit, or none can give more.
func narrow(widths []int, most int) {
	total := 0
	for _, w := range widths {
		total += w
	}
	for total > most {
		widest := 0
		for i, w := range widths {
			if w > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= leastColumn {
			return
		}
		widths[widest]--
		total--
	}
}

// output is how a command answers.
type output struct{ format string }

// formats are those of --output.
var formats = []string{"table", "json"}

// shaped gives a command the flag --output.
func shaped(c *cobra.Command) *output {
	o := &output{}
	c.Flags().StringVarP(&o.format, "output", "o", "table", "table for people, json for programs")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return o
}

// json says whether a program reads the answer.
func (o *output) json() (bool, error) {
	if !slices.Contains(formats, o.format) {
		return false, usagef("--output: %q is none of %s", o.format, strings.Join(formats, ", "))
	}
	return o.format == "json", nil
}

// writeJSON writes a value in lines, indented.
func writeJSON(out io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := out.Write(cleanJSON(b.Bytes()))
	return err
}

// lookup finds a field by a path with dots.
func lookup(o map[string]any, path string) any {
	if v, ok := o[path]; ok {
		return v
	}
	name, rest, ok := strings.Cut(path, ".")
	if !ok {
		return nil
	}
	below, ok := o[name].(map[string]any)
	if !ok {
		return nil
	}
	return lookup(below, rest)
}

// widthOfText is how many columns of a terminal a text takes.
func widthOfText(text string) int { return runewidth.StringWidth(text) }
