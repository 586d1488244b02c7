package demo

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Size writes bytes in units of a thousand.
func Size(bytes float64) string {
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		if bytes < 1000 {
			return strconv.FormatFloat(bytes, 'f', min(1, len(unit)-1), 64) + " " + unit
		}
		bytes /= 1000
	}
	return strconv.FormatFloat(bytes, 'f', 1, 64) + " TB"
}

// Short writes a duration with three digits.
func Short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.3g µs", float64(d)/1e3)
}

// Cut is a text of others as one line of a terminal, of at most so many letters.
func Cut(s string, width int) string {
	s = strings.Map(func(r rune) rune { // a log may hold anything, a terminal should not get it
		if r < ' ' || r == 0x7f {
			return '.'
		}
		return r
	}, strings.ToValidUTF8(s, "."))
	if r := []rune(s); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}

// Grouped writes a number with commas.
func Grouped[T int | int64 | uint64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Patience is how long a stage may go without being done before the program gives up.
const Patience = 3 * time.Minute

// Until looks every few milliseconds whether done is true.
func Until(ctx context.Context, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}
