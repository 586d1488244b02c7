package web

import (
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// functions are what templates write with.
var functions = template.FuncMap{
	"count": count, "rate": rate, "bytes": bytesText, "age": age, "seconds": secondsText, "since": since, "clock": clock, "path": place, "query": query, "plural": plural,
	"json": jsonText, "cut": cut, "join": strings.Join, "list": func(v ...any) []any { return v }, "contains": slices.Contains[[]string], "add": func(a, b int) int { return a + b },
	"dict": dict,
}

// dict makes a map of names and values in turn, for templates that take several things.
func dict(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %v is no name", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// number is a number of any of the types that views have.
func number(v any) (n float64, ok bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// count is a number with thin spaces between its thousands.
func count(v any) string {
	n, ok := number(v)
	if !ok {
		return fmt.Sprint(v)
	}
	digits := strconv.FormatFloat(math.Abs(math.Round(n)), 'f', 0, 64)
	var b strings.Builder
	if n < 0 {
		b.WriteString("−")
	}
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteRune('\u202f')
		}
		b.WriteByte(digits[i])
	}
	return b.String()
}

// rate is a number a second.
func rate(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	}
	return count(v)
}

// bytesText is a size.
func bytesText(v any) string {
	n, _ := number(v)
	for _, unit := range []string{"B", "KiB", "MiB", "GiB", "TiB"} {
		if n < 1024 || unit == "TiB" {
			if n < 10 && unit != "B" {
				return strings.TrimSuffix(strconv.FormatFloat(n, 'f', 1, 64), ".0") + "\u202f" + unit
			}
			return strconv.FormatFloat(n, 'f', 0, 64) + "\u202f" + unit
		}
		n /= 1024
	}
	return ""
}

// age is a duration in its one or two largest units.
func age(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return two(int(d.Minutes()), "min", int(d.Seconds())%60, "s")
	case d < 48*time.Hour:
		return two(int(d.Hours()), "h", int(d.Minutes())%60, "min")
	}
	return two(int(d.Hours())/24, "d", int(d.Hours())%24, "h")
}

func two(a int, unitA string, b int, unitB string) string {
	if b == 0 || a >= 10 {
		return fmt.Sprintf("%d %s", a, unitA)
	}
	return fmt.Sprintf("%d %s %d %s", a, unitA, b, unitB)
}

func secondsText(s float64) string { return age(time.Duration(s * float64(time.Second))) }

// since is how long ago a moment was, given in milliseconds.
func since(ms int64) string {
	if ms <= 0 {
		return "–"
	}
	return age(max(0, time.Since(time.UnixMilli(ms))))
}

// clock is a moment, given in milliseconds.
func clock(ms int64) string {
	if ms <= 0 {
		return "–"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05") + " UTC"
}

// place is a place on this server, of a beginning and names that are escaped here.
func place(begin string, names ...string) string {
	for _, n := range names {
		begin += "/" + url.PathEscape(n)
	}
	return begin
}

// query is a place with parameters: names and values in turn; those without a value are left out.
func query(at string, pairs ...any) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		if value := fmt.Sprint(pairs[i+1]); value != "" {
			b.WriteString(map[bool]string{true: "?", false: "&"}[b.Len() == 0])
			b.WriteString(url.QueryEscape(fmt.Sprint(pairs[i])) + "=" + url.QueryEscape(value))
		}
	}
	return at + b.String()
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// jsonText is a value as people read JSON.
func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(text))
}

// cut is the beginning of a text.
func cut(n int, text string) string {
	if runes := []rune(text); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return text
}
