package access

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/pattern"
)

// Bounds on what is stored of one user or permission.
const (
	maxNameBytes = 255 // as a message's user-id can hold
	maxTags      = 64
)

func bad(format string, args ...any) error {
	return &broker.Error{Kind: broker.Precondition, Text: fmt.Sprintf(format, args...)}
}

func missing(format string, args ...any) error {
	return &broker.Error{Kind: broker.NotFound, Text: fmt.Sprintf(format, args...)}
}

// checkName holds what names of users, virtual hosts and exchanges have in common.
func checkName(what, name string) error {
	switch {
	case len(name) > maxNameBytes:
		return bad("%s has %d bytes, more than %d", what, len(name), maxNameBytes)
	case !utf8.ValidString(name) || strings.ContainsRune(name, 0):
		return bad("%s %q is not text in UTF-8", what, name)
	}
	return nil
}

func checkUser(r *userRecord) error {
	if r.Name == "" {
		return bad("user name must not be empty")
	}
	if err := checkName("user name", r.Name); err != nil {
		return err
	}
	if err := new(r.secret()).Check(); err != nil {
		return bad("user '%s': %v", r.Name, err)
	}
	if len(r.Tags) > maxTags {
		return bad("user '%s' has more than %d tags", r.Name, maxTags)
	}
	for _, tag := range r.Tags {
		if err := checkName("tag", tag); err != nil {
			return err
		}
	}
	for name, n := range r.Limits {
		if err := broker.CheckLimit(name, n); err != nil {
			return err
		}
	}
	return nil
}

// tidyTags drops what people leave between commas. Of more than there may be it returns one too many.
func tidyTags(tags []string) []string {
	var out []string
	for _, tag := range tags {
		if len(out) > maxTags {
			break // each is looked for among those before it
		}
		if tag = strings.TrimSpace(tag); tag != "" && !slices.Contains(out, tag) {
			out = append(out, tag)
		}
	}
	return out
}

// compiles says what is wrong with patterns, to who sets them: the record in which they are stored is not theirs to know.
func compiles(texts ...string) error {
	for _, text := range texts {
		if _, err := compile(text); err != nil {
			return err
		}
	}
	return nil
}

// compile reads a pattern of names.
func compile(text string) (*pattern.Names, error) {
	names, err := pattern.NewNames(text)
	if err != nil {
		return nil, &broker.Error{Kind: broker.Precondition, Text: err.Error()}
	}
	return names, nil
}
