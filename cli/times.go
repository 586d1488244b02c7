package cli

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// days matches what time.ParseDuration has no unit for.
var days = regexp.MustCompile(`^(\d+)([dw])`)

// parseSpan reads a length of time: 90s, 10m, 1h30m, 7d, 2w.
func parseSpan(text string) (time.Duration, error) {
	total, rest := time.Duration(0), text
	for {
		m := days.FindStringSubmatch(rest)
		if m == nil {
			break
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || n > 36500 {
			return 0, badSpan(text)
		}
		total += time.Duration(n) * map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour}[m[2]]
		rest = rest[len(m[0]):]
	}
	if rest == "" && total > 0 {
		return total, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 {
		return 0, badSpan(text)
	}
	return total + d, nil
}

// parseStart is parseMoment of where something begins: a time of the clock that is still to come today is a mistake.
func parseStart(text string, now time.Time) (time.Time, error) {
	t, err := parseMoment(text, now)
	if err == nil && t.After(now) && len(text) <= len("15:04:05") {
		return t, fmt.Errorf("%s is still to come today; yesterday's is %s", text, t.AddDate(0, 0, -1).Format("2006-01-02T15:04:05"))
	}
	return t, err
}

// parsePeriod reads the words of --from and --to; nil is what was not given.
func parsePeriod(from, to string, now time.Time) (since, until *time.Time, err error) {
	if since, err = parseGiven("from", from, now, parseStart); err == nil {
		until, err = parseGiven("to", to, now, parseMoment)
	}
	return since, until, err
}

func parseGiven(flag, text string, now time.Time, parse func(string, time.Time) (time.Time, error)) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	t, err := parse(text, now)
	if err != nil {
		return nil, usagef("--%s: %v", flag, err)
	}
	return &t, nil
}

func badSpan(text string) error {
	return fmt.Errorf("%q is no length of time; one is written 90s, 10m, 1h30m or 7d", text)
}

// The forms of a time, in the zone of this machine where none is said.
var timeForms = []string{
	"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02",
}

// parseMoment reads a time: one of the clock, a date, a length of time ago (10m), now, today, yesterday, or milliseconds since 1970.
func parseMoment(text string, now time.Time) (time.Time, error) {
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch strings.ToLower(text) {
	case "now":
		return now, nil
	case "today":
		return midnight, nil
	case "yesterday":
		return midnight.AddDate(0, 0, -1), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	for _, form := range timeForms {
		if t, err := time.ParseInLocation(form, text, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, form := range []string{"15:04:05", "15:04"} { // of today
		if t, err := time.ParseInLocation(form, text, now.Location()); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location()), nil
		}
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 1e11 && n < 1e14 {
		return time.UnixMilli(n), nil
	}
	if d, err := parseSpan(strings.TrimPrefix(text, "-")); err == nil {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time; one is written 2026-11-29T10:00, 10:00 (today), 10m (ago), today or yesterday", text)
}
