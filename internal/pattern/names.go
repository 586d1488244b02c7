package pattern

import (
	"regexp"
	"strings"
	"sync"
)

// Names is a pattern as permissions have it: it is not anchored, and the empty one, as
// "^$", is for the name of length 0 alone.
type Names struct {
	text string // "": as all says
	all  bool
	once sync.Once
	re   *regexp.Regexp // made of text once it is asked; many users never come
}

// NewNames reads a pattern.
func NewNames(text string) (*Names, error) {
	switch text {
	case "", "^$":
		return &Names{}, nil
	case ".*":
		return &Names{all: true}, nil
	}
	if err := check(text); err != nil {
		return nil, err
	}
	return &Names{text: text}, nil
}

// pattern is what is matched; nil: nothing.
func (n *Names) pattern() *regexp.Regexp {
	n.once.Do(func() { n.re, _ = Compile(n.text) }) // it was checked
	return n.re
}

// Match says whether the pattern is for the name.
func (n *Names) Match(name string) bool {
	if n.text == "" {
		return n.all || name == ""
	}
	re := n.pattern()
	return re != nil && re.MatchString(name)
}

// MatchBytes is Match.
func (n *Names) MatchBytes(name []byte) bool {
	if n.text == "" {
		return n.all || len(name) == 0
	}
	re := n.pattern()
	return re != nil && re.Match(name)
}

// Nothing says that the pattern is for no name that anything has.
func (n *Names) Nothing() bool { return n.text == "" && !n.all }

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
