package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// MaxFileBytes bounds a file of settings.
const MaxFileBytes = 64 << 10

// NoFile as the name of the file has none read.
const NoFile = "none"

// defaultFiles are where settings are looked for when no file is named: the first
// that is there is read, alone.
var defaultFiles = []string{"leveret.toml", "/etc/leveret/leveret.toml"}

// entry is one line of a file of settings.
type entry struct {
	key   string // as it is written
	line  int
	value any
}

// text is the value as a flag would have it.
func (e entry) text(s Setting) (string, error) {
	switch v := e.value.(type) {
	case string:
		if _, ok := s.pointer.(*bool); ok {
			return "", fmt.Errorf("want true or false without quotes, not a text")
		}
		if _, ok := s.pointer.(*int); ok {
			return "", fmt.Errorf("want a number without quotes, not a text")
		}
		return v, nil
	case bool:
		if _, ok := s.pointer.(*bool); ok {
			return strconv.FormatBool(v), nil
		}
	case int64:
		switch s.pointer.(type) {
		case *int, *Size, *Watermark:
			return strconv.FormatInt(v, 10), nil
		}
	case float64:
		if _, ok := s.pointer.(*Watermark); ok {
			return strconv.FormatFloat(v, 'g', -1, 64), nil
		}
	case []any:
		if s.List {
			return joined(v)
		}
	}
	return "", fmt.Errorf("want %s, not %s", s.wants(), kindOf(e.value))
}

// joined makes one text of a list.
func joined(list []any) (string, error) {
	texts := make([]string, 0, len(list))
	for _, one := range list {
		text, ok := one.(string)
		if !ok {
			return "", fmt.Errorf("want texts in quotes in the list, not %s", kindOf(one))
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ","), nil
}

// wants says what a setting's value looks like in a file.
func (s Setting) wants() string {
	switch s.pointer.(type) {
	case *bool:
		return "true or false"
	case *int:
		return "a whole number"
	case *time.Duration:
		return `a duration in quotes such as "5s"`
	case *Size:
		return `a size in quotes such as "64MiB", or a number of bytes`
	case *Watermark:
		return `a part such as 0.6, or a size in quotes such as "2GiB"`
	}
	if s.List {
		return "a text in quotes, or a list of such"
	}
	return "a text in quotes"
}

// kindOf names what stands in a file instead.
func kindOf(value any) string {
	switch value.(type) {
	case string:
		return "a text"
	case bool:
		return "true or false"
	case int64:
		return "a whole number"
	case float64:
		return "a number with a fraction"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return "a date or time"
}

// readFile reads a file of settings whole, and says whether others may read it.
func readFile(name string) (text []byte, open bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	if info.IsDir() {
		return nil, false, fmt.Errorf("%s is a directory", name)
	}
	text, err = io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return nil, false, err
	}
	if len(text) > MaxFileBytes {
		return nil, false, fmt.Errorf("%s has more than %d bytes: it is no file of settings", name, MaxFileBytes)
	}
	return text, info.Mode().Perm()&0o004 != 0, nil
}

// find is the file to read: the one that is named, or the first of the usual ones that is there.
func find(named string) (string, error) {
	if named == NoFile {
		return "", nil
	}
	if named != "" {
		return named, nil
	}
	for _, name := range defaultFiles {
		info, err := os.Stat(name)
		if err == nil {
			if err := trusted(name, info); err != nil {
				return "", err
			}
			return filepath.Abs(name)
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", err // one that can't be looked at may well be meant
		}
	}
	return "", nil
}

// parseFile takes a file of settings apart, which is called name in errors. All that is wrong
// with names and types of values is reported at once.
func parseFile(name string, text []byte) (map[string]entry, error) {
	lines, err := linesOf(name, text)
	if err != nil {
		return nil, err
	}
	var values map[string]any
	if err := toml.Unmarshal(text, &values); err != nil {
		return nil, parseError(name, err)
	}
	known := map[string]string{}
	for _, s := range settings(new(Config)) {
		if !s.NoFile {
			known[s.Flag] = s.Flag
		}
	}
	found := map[string]entry{}
	var wrong []error
	for key, value := range values {
		e := entry{key: key, line: lines[key], value: value}
		flag := strings.ReplaceAll(key, "_", "-")
		switch other, twice := found[flag]; {
		case kindOf(value) == "a table", kindOf(value) == "a list" && tables(value):
			wrong = append(wrong, e.errorf(name, "%s is a table; settings stand without one, as in amqp-addr = \":5672\"", key))
		case known[flag] == "":
			wrong = append(wrong, e.errorf(name, "%q is not a setting; %sdocs/configuration.md lists them all", clip(key), meant(flag, known)))
		case twice:
			wrong = append(wrong, e.errorf(name, "%s stands in line %d, too, as %s", key, other.line, other.key))
		default:
			found[flag] = e
		}
	}
	sortByLine(wrong)
	return found, joinAll(wrong)
}

// tables tells whether a list is one of tables.
func tables(list any) bool {
	l, _ := list.([]any)
	return len(l) > 0 && kindOf(l[0]) == "a table"
}

// linesOf tells in which line each key stands. The library says it of keys that it has
// no place for, and in an empty struct it has for none.
func linesOf(name string, text []byte) (map[string]int, error) {
	lines := map[string]int{}
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&struct{}{})
	var all *toml.StrictMissingError
	if err == nil {
		return lines, nil
	}
	if !errors.As(err, &all) {
		return nil, parseError(name, err)
	}
	for i := range all.Errors {
		row, _ := all.Errors[i].Position()
		key := all.Errors[i].Key()
		if len(key) > 0 && lines[key[0]] == 0 {
			lines[key[0]] = row
		}
	}
	return lines, nil
}

// parseError names the line in which a file is no TOML.
func parseError(name string, err error) error {
	text := strings.TrimPrefix(err.Error(), "toml: ")
	var at *toml.DecodeError
	if errors.As(err, &at) {
		row, column := at.Position()
		if strings.HasSuffix(text, "at start of value") {
			text += "; texts stand in quotes"
		}
		return fmt.Errorf("%s:%d:%d: %s", name, row, column, text)
	}
	return fmt.Errorf("%s: %s", name, text)
}

// fileError is an error about a line of a file.
type fileError struct {
	line int
	text string
}

func (e *fileError) Error() string { return e.text }

func (e entry) errorf(name, format string, args ...any) error {
	return &fileError{e.line, fmt.Sprintf("%s:%d: ", name, e.line) + fmt.Sprintf(format, args...)}
}

// maxWrong is how many errors of one file are shown.
const maxWrong = 20

// joinAll is errors.Join of not too many.
func joinAll(list []error) error {
	if len(list) > maxWrong {
		list = append(list[:maxWrong:maxWrong], fmt.Errorf("and %d more", len(list)-maxWrong))
	}
	return errors.Join(list...)
}

// sortByLine puts errors of one file in the order of its lines.
func sortByLine(list []error) {
	slices.SortStableFunc(list, func(a, b error) int {
		var x, y *fileError
		if !errors.As(a, &x) || !errors.As(b, &y) {
			return 0
		}
		if x.line != y.line {
			return x.line - y.line
		}
		return strings.Compare(x.text, y.text)
	})
}

// clip bounds what is repeated of somebody's words.
func clip(text string) string {
	if len(text) > 60 {
		return strings.ToValidUTF8(text[:60], "") + "..."
	}
	return text
}
