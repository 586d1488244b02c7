package pattern

import (
	"regexp"
	"strings"
)

// Names is a pattern as permissions have it: it is not anchored, and the empty one, as
// "^$", is for the name of length 0 alone.
type Names struct {
	re  *regexp.Regexp // nil: as all says
	all bool
}

// NewNames reads a pattern.
func NewNames(text string) (*Names, error) {
	switch text {
	case "", "^$":
		return &Names{}, nil
	case ".*":
		return &Names{all: true}, nil
	}
	re, err := Compile(text)
	if err != nil {
		return nil, err
	}
	return &Names{re: re}, nil
}

// Match says whether the pattern is for the name.
func (n *Names) Match(name string) bool {
	if n.re == nil {
		return n.all || name == ""
	}
	return n.re.MatchString(name)
}

// MatchBytes is Match.
func (n *Names) MatchBytes(name []byte) bool {
	if n.re == nil {
		return n.all || len(name) == 0
	}
	return n.re.Match(name)
}

// Nothing says that the pattern is for no name that anything has.
func (n *Names) Nothing() bool { return n.re == nil && !n.all }

// Variables are what may stand in a pattern of routing keys, by RabbitMQ's names: {username},
// {vhost} and {client_id}. A value that is not known is left out of the map, and its variable
// then stands for itself.
type Variables map[string]string

// Expand puts values in. They stand for themselves: a user who is named like a pattern is
// no pattern.
func (v Variables) Expand(text string) string {
	for name, value := range v {
		text = strings.ReplaceAll(text, "{"+name+"}", regexp.QuoteMeta(value))
	}
	return text
}
