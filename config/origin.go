package config

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// Origin is where a setting's value comes from. A later rank wins over those before it.
type Origin struct {
	Rank Rank
	Name string // of the flag, the environment variable or the file
	Line int    // in the file
}

// Rank is one of the places where values come from.
type Rank int

// The ranks, the last of which wins.
const (
	FromDefault Rank = iota
	FromFile
	FromAlias // an environment variable of another broker
	FromEnv
	FromFlag
)

// String names the origin as people do.
func (o Origin) String() string {
	switch o.Rank {
	case FromFile:
		if o.Line == 0 {
			return o.Name
		}
		return fmt.Sprintf("%s:%d", o.Name, o.Line)
	case FromAlias, FromEnv:
		return "environment variable " + o.Name
	case FromFlag:
		return "flag --" + o.Name
	}
	return "default"
}

// Origin tells where the value of a flag comes from.
func (c *Config) Origin(flag string) Origin { return c.origins[flag] }

// Called is how an error names a setting: by what its owner wrote.
func (c *Config) Called(flag string) string {
	switch o := c.origins[flag]; o.Rank {
	case FromFile:
		return o.String() + ": " + flag
	case FromAlias, FromEnv:
		return o.Name
	}
	return "--" + flag
}

// File is the file that settings were read from; "" when there is none.
func (c *Config) File() string { return c.fileRead }

// Warnings is what the owner should hear about where values come from.
func (c *Config) Warnings() []string { return c.warnings }

// maxPasswordBytes bounds a file that holds a password.
const maxPasswordBytes = 4096

// readPassword takes the default user's password from its file, unless one of a
// higher rank is given.
func (c *Config) readPassword() error {
	const flag, direct = "default-password-file", "default-password"
	from, other := c.origins[flag], c.origins[direct]
	switch {
	case c.DefaultPasswordFile == "" || other.Rank > from.Rank:
		return nil
	case other.Rank == from.Rank:
		return fmt.Errorf("%s: %s is given, too; give one of them", c.Called(flag), c.Called(direct))
	}
	text, readable, err := readPasswordFile(c.DefaultPasswordFile)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Called(flag), err)
	}
	if readable {
		c.warnings = append(c.warnings, fmt.Sprintf("%s: %s can be read by everybody on this machine; take that from them with chmod o-r", c.Called(flag), c.DefaultPasswordFile))
	}
	c.DefaultPassword = text
	c.origins[direct] = Origin{Rank: from.Rank, Name: from.Name, Line: from.Line}
	return nil
}

// readPasswordFile reads a password, and says whether others may do so, too.
func readPasswordFile(name string) (password string, readable bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", false, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPasswordBytes+1))
	if err != nil {
		return "", false, err
	}
	if len(text) > maxPasswordBytes {
		return "", false, fmt.Errorf("%s has more than %d bytes: that is no password", name, maxPasswordBytes)
	}
	password = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if password == "" {
		return "", false, fmt.Errorf("%s is empty; a password has at least one character", name)
	}
	return password, info.Mode().Perm()&0o004 != 0, nil
}
