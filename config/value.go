package config

import (
	"fmt"
	"strconv"
	"time"
)

// number is a whole number as a pflag.Value, and says in plain words what is none.
type number int

// Set reads one.
func (n *number) Set(text string) error {
	v, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%q is no whole number", text)
	}
	*n = number(v)
	return nil
}

// String writes it in digits.
func (n *number) String() string { return strconv.Itoa(int(*n)) }

// Type names the kind of value in --help.
func (n *number) Type() string { return "int" }

// span is a length of time as a pflag.Value.
type span time.Duration

// Set reads one with its units.
func (s *span) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is no length of time such as 5s, 15m or 168h", text)
	}
	*s = span(d)
	return nil
}

// String writes it with its units.
func (s *span) String() string { return time.Duration(*s).String() }

// Type names the kind of value in --help.
func (s *span) Type() string { return "duration" }
